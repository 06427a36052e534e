/* A target's probe in the simulated world, whose path, server, names and clocks go wrong as the
 * script says.
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
    return (struct tw_probe_config){
        .interval_ns = 10 * TW_NS_PER_S,
        .phase_ns = TW_NS_PER_S,
        .count = 1 + fuzz_octet(input) % 8,
        .packet_interval_ns = 100 * TW_NS_PER_MS,
        .timeout_ns = 2 * TW_NS_PER_S,
        .connect_ns = 3 * TW_NS_PER_S,
        .resolve_ns = 30 * TW_NS_PER_S,
        .control_port = 862,
        .stateful = (fuzz_octet(input) & 1) != 0,
        .client = {.mode = modes[fuzz_octet(input) % 4],
                   .features = (uint32_t)fuzz_number(input, 2) & TW_MODE_FEATURES & ~TW_MODE_IKEV2,
                   .step_ns = 3 * TW_NS_PER_S},
        .sender = {.padding_length = fuzz_octet(input), .wait_ns = 2 * TW_NS_PER_S},
    };
}

static void turn_server(struct fuzz_input *input, struct sim *sim)
{
    struct sim_server *server = sim_server(sim);
    switch (fuzz_octet(input) % 9) {
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

static void turn(struct fuzz_input *input, struct sim *sim)
{
    switch (fuzz_octet(input) % 7) {
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
}

static void check(const struct tw_measurement *m, const struct tw_measurement *before)
{
    const struct tw_summary *s = &m->summary;
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
    for (unsigned i = 0; i < STEPS && input.left > 0; i++) {
        turn(&input, sim);
        until_ns += (int64_t)fuzz_octet(&input) * 50 * TW_NS_PER_MS;
        sim_run(sim, until_ns);
    }
    const struct tw_measurement *results;
    const size_t n = sim_measurements(sim, &results);
    struct tw_measurement before;
    memset(&before, 0, sizeof before);
    for (size_t i = 0; i < n; i++) {
        check(&results[i], &before);
        before = results[i];
    }
    FUZZ_CHECK((int64_t)n <= until_ns / config.interval_ns + 1);
    sim_free(sim);
    return 0;
}
