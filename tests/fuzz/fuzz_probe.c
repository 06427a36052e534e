/* A target's probe in the simulated world, whose path, server, names and clocks go wrong as the
 * script says, and whose client sleeps.
 *
 * Held: one result for each interval at most and in order, figures that add up, counters that only
 * grow, no packet measured that was not sent. */
#include "fuzz/fuzz.h"

#include "sim/sim.h"

const char fuzz_name[] = "probe";

enum { STEPS = 24 };

static struct tw_probe_config plan(struct fuzz_input *input)
{
    static const uint32_t modes[] = {TW_MODE_UNAUTHENTICATED, TW_MODE_AUTHENTICATED,
                                     TW_MODE_ENCRYPTED, TW_MODE_MIXED};
    const int64_t interval_ns = 10 * TW_NS_PER_S;
    const uint32_t count = 1 + fuzz_octet(input) % 8;
    const uint8_t kind = fuzz_octet(input);
    const bool continuous = (kind & 2) != 0;
    return (struct tw_probe_config){
        .interval_ns = interval_ns,
        .phase_ns = TW_NS_PER_S,
        .count = count,
        .packet_interval_ns = continuous ? interval_ns / count : 100 * TW_NS_PER_MS,
        .timeout_ns = 2 * TW_NS_PER_S,
        .connect_ns = 3 * TW_NS_PER_S,
        .resolve_ns = 30 * TW_NS_PER_S,
        .control_port = 862,
        .stateful = (kind & 1) != 0,
        .continuous = continuous,
        .client = {.mode = modes[fuzz_octet(input) % 4],
                   .features = (uint32_t)fuzz_number(input, 2) & TW_MODE_FEATURES & ~TW_MODE_IKEV2,
                   .step_ns = 3 * TW_NS_PER_S},
        .sender = {.padding_length = fuzz_octet(input), .wait_ns = 2 * TW_NS_PER_S},
    };
}

static void turn_server(struct fuzz_input *input, struct sim *sim)
{
    struct sim_server *server = sim_server(sim);
    switch (fuzz_octet(input) % 10) {
    case 0:
        server->tcp_filtered = (fuzz_octet(input) & 1) != 0;
        break;
    case 1:
        server->mute_after = fuzz_number(input, 2) % 600;
        break;
    case 2:
        server->close_after = fuzz_number(input, 2) % 600;
        break;
    case 3:
        server->session_accept = fuzz_octet(input) % 6;
        break;
    case 4:
        server->start_accept = fuzz_octet(input) % 6;
        break;
    case 5:
        server->stateless = (fuzz_octet(input) & 1) != 0;
        break;
    case 6:
        sim_kill_server(sim);
        break;
    case 7:
        server->warm_up_ns = fuzz_duration_ns(input) % (2 * TW_NS_PER_S);
        break;
    case 8:
        server->idle_close_ns = fuzz_duration_ns(input) % (20 * TW_NS_PER_S);
        break;
    default:
        server->turnaround_ns = fuzz_duration_ns(input) % TW_NS_PER_S;
        break;
    }
}

static void turn_path(struct fuzz_input *input, struct sim *sim)
{
    struct sim_link *link = (fuzz_octet(input) & 1) != 0 ? sim_forward(sim) : sim_reverse(sim);
    switch (fuzz_octet(input) % 5) {
    case 0:
        link->loss = fuzz_octet(input) / 255.0;
        break;
    case 1:
        link->duplication = fuzz_octet(input) / 255.0;
        break;
    case 2:
        link->jitter_ns = fuzz_duration_ns(input) % (3 * TW_NS_PER_S);
        break;
    case 3:
        link->delay_ns = fuzz_duration_ns(input) % (3 * TW_NS_PER_S);
        break;
    default:
        link->down = (fuzz_octet(input) & 1) != 0;
        break;
    }
}

static int64_t sleep_awhile(struct fuzz_input *input, struct sim *sim)
{
    const uint8_t kind = fuzz_octet(input);
    const int64_t longest_ns = (kind & 2) != 0 ? 1000 * TW_NS_PER_S : 15 * TW_NS_PER_S;
    const int64_t duration_ns = 1 + (int64_t)fuzz_number(input, 2) * (longest_ns / UINT16_MAX);
    sim_sleep(sim, (kind & 1) != 0 ? SIM_STOPPED : SIM_SUSPENDED, duration_ns);
    return duration_ns;
}

/* Returns for how long the client sleeps. */
static int64_t turn(struct fuzz_input *input, struct sim *sim)
{
    const uint8_t what = fuzz_octet(input);
    if (what >= 0xf0)
        return sleep_awhile(input, sim);
    switch (what % 7) {
    case 0:
        turn_server(input, sim);
        break;
    case 1:
        sim_start_server(sim);
        break;
    case 2:
        sim_cut_tcp(sim, fuzz_octet(input));
        break;
    case 3:
        sim_set_name(sim, fuzz_octet(input) % 3);
        break;
    case 4:
        sim_client_clock(sim)->offset_ns += fuzz_duration_ns(input);
        break;
    case 5:
        sim_server_clock(sim)->offset_ns -= fuzz_duration_ns(input);
        break;
    default:
        turn_path(input, sim);
        break;
    }
    return 0;
}

static void check(const struct tw_probe_config *config, const struct tw_measurement *m,
                  const struct tw_measurement *before, bool slept)
{
    const struct tw_summary *s = &m->summary;
    FUZZ_CHECK(s->sent <= config->count);
    FUZZ_CHECK(s->late <= s->lost);
    if (config->continuous && before->begun.ns != 0 && !slept)
        FUZZ_CHECK(m->begun.ns == before->begun.ns + config->interval_ns);
    FUZZ_CHECK(m->begun.ns > before->begun.ns);
    FUZZ_CHECK(s->received + s->lost == s->sent);
    FUZZ_CHECK(m->session || s->sent == 0);
    FUZZ_CHECK(m->state != TW_MEASUREMENT_OK || m->session);
    FUZZ_CHECK(m->counters.sent == before->counters.sent + s->sent);
    FUZZ_CHECK(m->counters.received == before->counters.received + s->received);
    FUZZ_CHECK(m->counters.lost == before->counters.lost + s->lost);
    FUZZ_CHECK(m->counters.late >= before->counters.late);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    const struct tw_probe_config config = plan(&input);
    struct sim *sim = sim_new(&config, fuzz_octet(&input));
    int64_t until_ns = 0;
    bool slept = false;
    for (unsigned i = 0; i < STEPS && input.left > 0; i++) {
        const int64_t slept_ns = turn(&input, sim);
        slept = slept || slept_ns > 0;
        until_ns += slept_ns;
        until_ns += (int64_t)fuzz_octet(&input) * 50 * TW_NS_PER_MS;
        sim_run(sim, until_ns);
    }
    const struct tw_measurement *results;
    const size_t n = sim_measurements(sim, &results);
    struct tw_measurement before;
    memset(&before, 0, sizeof before);
    for (size_t i = 0; i < n; i++) {
        check(&config, &results[i], &before, slept);
        before = results[i];
    }
    FUZZ_CHECK((int64_t)n <= until_ns / config.interval_ns + 1);
    sim_free(sim);
    return 0;
}
