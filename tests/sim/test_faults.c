/* Every fault that a target must survive, beginning and ending at every moment of an interval, in
 * virtual time: the intervals before it are right, those within it have the right state and no
 * value that was not measured, and the first one that begins after it is right again.
 *
 * What others see of it at the same time needs the real engine: tests/net/test_plugin_faults. */
#include "sim/scenario.h"

enum {
    MOMENTS = 41,  /* at which each fault begins and ends */
    DURATION = 35, /* seconds: three intervals, and part of one */
};

/* What an interval wholly within the fault shows. */
struct outcome {
    enum tw_measurement_state state;
    bool session; /* packets leave; then `received` of them are answered */
    uint32_t received;
};

struct fault {
    const char *name;
    void (*begin)(struct sim *sim);
    void (*end)(struct sim *sim);
    struct outcome outcome;
    uint32_t mode;                        /* 0: unauthenticated */
    uint8_t session_accept, start_accept; /* for begin */
    uint64_t mute_after, close_after;     /* likewise */
};

static void kill_server(struct sim *sim)
{
    sim_kill_server(sim);
}

static void start_server(struct sim *sim)
{
    sim_start_server(sim);
}

static void restart_server(struct sim *sim)
{
    sim_kill_server(sim);
    sim_start_server(sim);
}

/* What the fault says of the server; the end of it is a server that does as it should. */
static void misbehave(struct sim *sim, const struct fault *fault)
{
    struct sim_server *server = sim_server(sim);
    server->session_accept = fault->session_accept;
    server->start_accept = fault->start_accept;
    server->mute_after = fault->mute_after;
    server->close_after = fault->close_after;
}

static void nothing(struct sim *sim)
{
    (void)sim;
}

static void filter_tcp(struct sim *sim)
{
    sim_server(sim)->tcp_filtered = true;
}

static void pass_tcp(struct sim *sim)
{
    sim_server(sim)->tcp_filtered = false;
}

static void filter_forward(struct sim *sim)
{
    sim_forward(sim)->down = true;
}

static void pass_forward(struct sim *sim)
{
    sim_forward(sim)->down = false;
}

static void filter_reverse(struct sim *sim)
{
    sim_reverse(sim)->down = true;
}

static void pass_reverse(struct sim *sim)
{
    sim_reverse(sim)->down = false;
}

/* An interface that is down, at either end. */
static void cut_wire(struct sim *sim)
{
    filter_tcp(sim);
    filter_forward(sim);
    filter_reverse(sim);
}

static void join_wire(struct sim *sim)
{
    pass_tcp(sim);
    pass_forward(sim);
    pass_reverse(sim);
}

static void fall_mute(struct sim *sim)
{
    sim_server(sim)->mute = true;
}

static void speak(struct sim *sim)
{
    sim_server(sim)->mute = false;
}

static void answer_late(struct sim *sim)
{
    sim_server(sim)->control_ns = 1 * S;
}

static void answer_too_late(struct sim *sim)
{
    sim_server(sim)->control_ns = 3 * S;
}

static void answer_at_once(struct sim *sim)
{
    sim_server(sim)->control_ns = 0;
}

static void reflect_late(struct sim *sim)
{
    sim_server(sim)->turnaround_ns = 1 * S;
}

static void reflect_too_late(struct sim *sim)
{
    sim_server(sim)->turnaround_ns = 5 * S;
}

static void reflect_at_once(struct sim *sim)
{
    sim_server(sim)->turnaround_ns = 0;
}

static void use_other_port(struct sim *sim)
{
    sim_server(sim)->reply_port = 864;
}

static void use_own_port(struct sim *sim)
{
    sim_server(sim)->reply_port = 0;
}

static void change_secret(struct sim *sim)
{
    sim_server(sim)->secret = "wrong horse battery staple";
    restart_server(sim); /* a connection that has its keys lives on without the secret */
}

static void restore_secret(struct sim *sim)
{
    sim_server(sim)->secret = SIM_SECRET;
}

static void offer_nothing(struct sim *sim)
{
    sim_server(sim)->config.modes = 0;
    restart_server(sim);
}

static void offer_all(struct sim *sim)
{
    sim_server(sim)->config.modes = TW_MODE_UNAUTHENTICATED;
}

/* A name that is not known any more is no fault while its address answers. */
static void forget_name(struct sim *sim)
{
    sim_set_name(sim, 0);
    restart_server(sim);
}

static void remember_name(struct sim *sim)
{
    sim_set_name(sim, 1);
}

/* The server is where the name does not tell. */
static void move_alone(struct sim *sim)
{
    restart_server(sim);
    sim_move_server(sim, 2);
}

static void let_name_follow(struct sim *sim)
{
    sim_set_name(sim, 2);
}

/* Name and server move together. */
static void move_with_name(struct sim *sim)
{
    move_alone(sim);
    let_name_follow(sim);
}

static void lose_name_and_server(struct sim *sim)
{
    sim_set_name(sim, 0);
    move_alone(sim);
}

#define CLEAN                                                                                      \
    {                                                                                              \
        TW_MEASUREMENT_OK, true, 10                                                                \
    }
#define UNREACHABLE                                                                                \
    {                                                                                              \
        TW_MEASUREMENT_UNREACHABLE, false, 0                                                       \
    }
#define REFUSED                                                                                    \
    {                                                                                              \
        TW_MEASUREMENT_REFUSED, false, 0                                                           \
    }
#define MUTE                                                                                       \
    {                                                                                              \
        TW_MEASUREMENT_SILENT, false, 0                                                            \
    }
#define NO_REPLIES                                                                                 \
    {                                                                                              \
        TW_MEASUREMENT_SILENT, true, 0                                                             \
    }
#define NO_KEY                                                                                     \
    {                                                                                              \
        TW_MEASUREMENT_KEY, false, 0                                                               \
    }

static const struct fault faults[] = {
    {.name = "killed", .begin = kill_server, .end = start_server, .outcome = UNREACHABLE},
    {.name = "restarted", .begin = restart_server, .end = nothing, .outcome = CLEAN},
    {.name = "connections closed",
     .begin = sim_close_connections,
     .end = nothing,
     .outcome = CLEAN},
    {.name = "TCP filtered", .begin = filter_tcp, .end = pass_tcp, .outcome = UNREACHABLE},
    {.name = "packets filtered",
     .begin = filter_forward,
     .end = pass_forward,
     .outcome = NO_REPLIES},
    {.name = "replies filtered",
     .begin = filter_reverse,
     .end = pass_reverse,
     .outcome = NO_REPLIES},
    {.name = "wire cut", .begin = cut_wire, .end = join_wire, .outcome = UNREACHABLE},
    {.name = "mute", .begin = fall_mute, .end = speak, .outcome = MUTE},
    {.name = "control slow", .begin = answer_late, .end = answer_at_once, .outcome = CLEAN},
    {.name = "control too slow", .begin = answer_too_late, .end = answer_at_once, .outcome = MUTE},
    {.name = "reflection slow", .begin = reflect_late, .end = reflect_at_once, .outcome = CLEAN},
    {.name = "reflection too slow",
     .begin = reflect_too_late,
     .end = reflect_at_once,
     .outcome = NO_REPLIES},
    {.name = "other port", .begin = use_other_port, .end = use_own_port, .outcome = NO_REPLIES},
    {.name = "wrong key",
     .begin = change_secret,
     .end = restore_secret,
     .outcome = NO_KEY,
     .mode = TW_MODE_ENCRYPTED},
    {.name = "no mode", .begin = offer_nothing, .end = offer_all, .outcome = REFUSED},
    {.name = "name lost", .begin = forget_name, .end = remember_name, .outcome = CLEAN},
    {.name = "name wrong", .begin = move_alone, .end = let_name_follow, .outcome = UNREACHABLE},
    {.name = "name moved", .begin = move_with_name, .end = nothing, .outcome = CLEAN},
    {.name = "name lost, server moved",
     .begin = lose_name_and_server,
     .end = let_name_follow,
     .outcome = UNREACHABLE},
};

/* Prime parts of an interval, so that set-up, session and what follows are all hit. */
static int64_t begin_of(unsigned moment)
{
    return 21 * S + (int64_t)moment * (10 * S / MOMENTS) + (int64_t)(moment % 7) * MS;
}

static int64_t end_of(unsigned moment)
{
    return begin_of(moment) + DURATION * S + (int64_t)(moment % 5) * 2 * S;
}

/* The milliseconds in which interval 2 sets itself up. */
static int64_t begin_in_set_up(unsigned moment)
{
    return 21 * S + (int64_t)moment * MS / 2;
}

static void assert_outcome(const struct tw_measurement *m, const struct outcome *outcome)
{
    assert_int_equal(m->state, outcome->state);
    assert_int_equal(m->session, outcome->session);
    assert_int_equal(m->summary.sent, outcome->session ? 10 : 0);
    assert_int_equal(m->summary.received, outcome->received);
    assert_int_equal(m->summary.lost, m->summary.sent - m->summary.received);
    if (outcome->received == 0)
        assert_true(isnan(m->summary.rtt.mean) && isnan(m->summary.forward.mean));
    else
        assert_near(m->summary.rtt.mean, 2 * MS, WIRE_NS);
}

/* What holds in every interval, also where the fault begins or ends. */
static void assert_consistent(const struct sim *sim, size_t i)
{
    const struct tw_measurement *m = result(sim, i);
    const struct tw_summary *s = &m->summary;
    assert_int_equal(s->sent, s->received + s->lost);
    assert_true(s->sent <= 10);
    assert_int_equal(s->clock_anomalies, 0);
    assert_true(s->received == 0 || m->state == TW_MEASUREMENT_OK);
    if (s->received > 0) {
        assert_near(s->rtt.min, 2 * MS, WIRE_NS);
        assert_near(s->rtt.max, 2 * MS, WIRE_NS);
    }
    if (i == 0)
        return;
    const struct tw_measurement *before = result(sim, i - 1);
    assert_int_equal(m->begun.ns - before->begun.ns, 10 * S); /* none is left out */
    assert_int_equal(m->counters.sent, before->counters.sent + s->sent);
    assert_int_equal(m->counters.received, before->counters.received + s->received);
    assert_int_equal(m->counters.lost, before->counters.lost + s->lost);
}

static void assert_fault(const struct fault *fault, const struct sim *sim, int64_t begins,
                         int64_t ends)
{
    const size_t n = results(sim);
    assert_int_equal(n, 12);
    unsigned within = 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t begun = S + 10 * S * (int64_t)i;
        assert_consistent(sim, i);
        if (begun + 10 * S <= begins || begun >= ends)
            assert_clean(result(sim, i));
        else if (begun > begins && begun + 10 * S <= ends) {
            assert_outcome(result(sim, i), &fault->outcome);
            within++;
        }
    }
    assert_true(within >= 2);
}

static const struct fault faultless = {.name = "none"};

static void secure(struct tw_probe_config *config, uint32_t mode)
{
    config->client.mode = mode;
    config->sender.padding_length = TW_PROBE_PADDING_EQUAL;
    memcpy(config->client.keyid, SIM_KEYID, sizeof SIM_KEYID);
}

/* Twelve intervals of that. */
static void afflict(struct sim *sim, const struct fault *fault, int64_t begins, int64_t ends)
{
    if (fault->mode != 0)
        sim_server(sim)->config.modes = fault->mode;
    /* Sessions and connections whose end was lost. */
    sim_server(sim)->refwait_ns = 60 * S;
    sim_server(sim)->config.servwait_ns = 60 * S;
    sim_run(sim, begins);
    misbehave(sim, fault);
    fault->begin(sim);
    sim_run(sim, ends);
    misbehave(sim, &faultless);
    fault->end(sim);
    sim_run(sim, after_interval(11));
}

static void survive(const struct fault *fault, int64_t begins, int64_t ends)
{
    struct tw_probe_config config = plan();
    if (fault->mode != 0)
        secure(&config, fault->mode);
    struct sim *sim = sim_new(&config, (uint64_t)begins);
    afflict(sim, fault, begins, ends);
    assert_fault(fault, sim, begins, ends);
    assert_int_equal(sim_counts(sim).live_sessions, 0);
    sim_free(sim);
}

/* At moments of the whole interval, and of the few milliseconds of its set-up. */
static void survive_whenever(const struct fault *fault)
{
    for (unsigned moment = 0; moment < MOMENTS; moment++) {
        survive(fault, begin_of(moment), end_of(moment));
        survive(fault, begin_in_set_up(moment), end_of(moment));
    }
}

static void every_fault_is_survived_whenever_it_begins_and_ends(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof faults / sizeof *faults; f++)
        survive_whenever(&faults[f]);
}

/* A continuous session need not notice a fault of the control connection; and what it sends in the
 * interval in which it is found again is what is left of that. */
static void assert_carried_on(const struct fault *fault, const struct sim *sim, int64_t begins,
                              int64_t ends)
{
    const bool harmless = fault->outcome.state == TW_MEASUREMENT_OK;
    const int64_t since = (harmless ? begins : ends) + 10 * S;
    const size_t n = results(sim);
    assert_int_equal(n, 11);
    for (size_t i = 0; i < n; i++) {
        const struct tw_measurement *m = result(sim, i);
        const int64_t begun = S + 10 * S * (int64_t)i;
        assert_consistent(sim, i);
        if (begun + 10 * S <= begins || begun >= ends + 20 * S) {
            assert_clean(m);
        } else if (begun >= since) {
            assert_int_equal(m->state, TW_MEASUREMENT_OK);
            assert_int_equal(m->summary.lost, 0);
            assert_true(m->summary.sent > 0);
        }
    }
}

static void carry_on(const struct fault *fault, int64_t begins, int64_t ends)
{
    struct tw_probe_config config = plan();
    config.continuous = true;
    config.packet_interval_ns = 1 * S;
    if (fault->mode != 0)
        secure(&config, fault->mode);
    struct sim *sim = sim_new(&config, (uint64_t)begins);
    afflict(sim, fault, begins, ends);
    assert_carried_on(fault, sim, begins, ends);
    sim_free(sim);
}

static void every_fault_is_survived_by_a_continuous_session(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof faults / sizeof *faults; f++)
        for (unsigned moment = 0; moment < MOMENTS; moment++)
            carry_on(&faults[f], begin_of(moment), end_of(moment));
}

static void every_refusal_is_survived_whenever_it_begins_and_ends(void **state)
{
    (void)state;
    for (uint8_t accept = 1; accept <= 6; accept++) {
        const struct fault request = {.name = "refused",
                                      .begin = nothing,
                                      .end = nothing,
                                      .outcome = REFUSED,
                                      .session_accept = accept};
        survive_whenever(&request);
        const struct fault start = {.name = "start refused",
                                    .begin = nothing,
                                    .end = nothing,
                                    .outcome = REFUSED,
                                    .start_accept = accept};
        survive_whenever(&start);
    }
}

/* Greeting 64, Server-Start 48, Accept-Session 48, Start-Ack 32 octets: after each of them, and in
 * the middle of the next; at once on a connection that is older than the fault. */
static void silence_and_end_at_every_step_are_survived(void **state)
{
    (void)state;
    static const uint64_t octets[] = {1, 64, 90, 112, 113, 160, 191};
    for (size_t i = 0; i < sizeof octets / sizeof *octets; i++) {
        const struct fault silence = {.name = "silent",
                                      .begin = nothing,
                                      .end = nothing,
                                      .outcome = MUTE,
                                      .mute_after = octets[i]};
        survive_whenever(&silence);
        const struct fault end = {.name = "closing",
                                  .begin = nothing,
                                  .end = nothing,
                                  .outcome = REFUSED,
                                  .close_after = octets[i]};
        survive_whenever(&end);
    }
}

/* However long it lasted, and however rarely was tried meanwhile. */
static void an_outage_of_hours_is_over_with_the_next_interval(void **state)
{
    (void)state;
    enum { INTERVALS = 2000 };
    for (unsigned wire = 0; wire < 2; wire++) {
        struct sim *sim = new_world();
        sim_run(sim, after_interval(1));
        (wire ? cut_wire : kill_server)(sim);
        sim_run(sim, after_interval(INTERVALS) + 4321 * MS);
        (wire ? join_wire : start_server)(sim);
        sim_run(sim, after_interval(INTERVALS + 3));
        assert_int_equal(results(sim), INTERVALS + 4);
        for (size_t i = 2; i <= INTERVALS; i++)
            assert_no_session(result(sim, i), TW_MEASUREMENT_UNREACHABLE);
        assert_clean(result(sim, INTERVALS + 2));
        assert_clean(result(sim, INTERVALS + 3));
        sim_free(sim);
    }
}

/* The connection of a running session ends, and its packets are answered for the time that was
 * asked for: nothing is lost. */
static void connection_that_ends_under_a_session_costs_no_packet(void **state)
{
    (void)state;
    for (int64_t ms = 20; ms < 950; ms += 33) {
        struct sim *sim = new_world();
        sim_run(sim, 11 * S + ms * MS);
        sim_close_connections(sim);
        sim_run(sim, after_interval(2));
        for (size_t i = 0; i < 3; i++)
            assert_clean(result(sim, i));
        assert_int_equal(sim_counts(sim).connections, 2);
        sim_free(sim);
    }
}

static void replies_from_another_port_are_counted_as_strange(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, S + 350 * MS); /* four packets are answered */
    use_other_port(sim);
    sim_run(sim, after_interval(1));
    assert_int_equal(result(sim, 0)->summary.received, 4);
    assert_int_equal(result(sim, 0)->summary.lost, 6);
    assert_int_equal(result(sim, 1)->state, TW_MEASUREMENT_SILENT);
    assert_int_equal(sim_counts(sim).strange_replies, 16);
    use_own_port(sim);
    sim_run(sim, after_interval(2));
    assert_clean(last_result(sim));
    sim_free(sim);
}

/* A server, or a path, that is slow by a second is measured if that is within what may be waited
 * for, and silent if not; nothing of it is left when it is fast again. */
static void a_second_of_delay_is_measured_where_it_is(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, after_interval(0));
    reflect_late(sim);
    sim_run(sim, after_interval(1));
    assert_clean(last_result(sim));
    assert_near(last_result(sim)->summary.processing.mean, 1 * S, WIRE_NS);
    assert_near(last_result(sim)->summary.rtt_total.mean, 1 * S + 2 * MS, WIRE_NS);
    reflect_at_once(sim);
    sim_forward(sim)->delay_ns = 1 * S;
    sim_run(sim, after_interval(3));
    for (size_t i = 2; i < 4; i++) {
        assert_int_equal(result(sim, i)->state, TW_MEASUREMENT_OK);
        assert_int_equal(result(sim, i)->summary.received, 10);
        assert_near(result(sim, i)->summary.rtt.mean, 1 * S + 1 * MS, WIRE_NS);
        assert_near(result(sim, i)->summary.forward.mean, 1 * S, WIRE_NS);
        assert_near(result(sim, i)->summary.reverse.mean, 1 * MS, WIRE_NS);
    }
    sim_forward(sim)->delay_ns = 1 * MS;
    sim_run(sim, after_interval(5));
    assert_clean(result(sim, 4));
    assert_clean(result(sim, 5));
    sim_free(sim);
}

static void replies_behind_the_loss_threshold_are_lost_and_late(void **state)
{
    (void)state;
    struct tw_probe_config config = plan();
    config.sender.wait_ns = 600 * MS;
    struct sim *sim = sim_new(&config, 1);
    sim_run(sim, after_interval(0));
    reflect_late(sim);
    sim_run(sim, after_interval(2));
    for (size_t i = 1; i < 3; i++) {
        const struct tw_measurement *m = result(sim, i);
        assert_int_equal(m->state, TW_MEASUREMENT_OK); /* it answers, if late */
        assert_int_equal(m->summary.lost, 10);
        assert_true(isnan(m->summary.rtt.mean));
    }
    reflect_at_once(sim);
    sim_run(sim, after_interval(4));
    assert_clean(result(sim, 3));
    assert_clean(result(sim, 4));
    assert_int_equal(last_result(sim)->counters.late, 20);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_is_survived_whenever_it_begins_and_ends),
        cmocka_unit_test(every_fault_is_survived_by_a_continuous_session),
        cmocka_unit_test(every_refusal_is_survived_whenever_it_begins_and_ends),
        cmocka_unit_test(silence_and_end_at_every_step_are_survived),
        cmocka_unit_test(an_outage_of_hours_is_over_with_the_next_interval),
        cmocka_unit_test(connection_that_ends_under_a_session_costs_no_packet),
        cmocka_unit_test(replies_from_another_port_are_counted_as_strange),
        cmocka_unit_test(a_second_of_delay_is_measured_where_it_is),
        cmocka_unit_test(replies_behind_the_loss_threshold_are_lost_and_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
