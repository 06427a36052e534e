/* What a target's probe makes of clocks that are stepped and of a client that does not run for a
 * while, at any moment, in virtual time: no interval is corrupted. */
#include "sim/scenario.h"

/* Where the packets of an interval leave and come back: behind its set-up over a path of 80 ms, ten
 * of them 100 ms apart. */
static bool has_packets(int64_t since_begun_ns)
{
    return since_begun_ns > 450 * MS && since_begun_ns < 1200 * MS;
}

static bool may_have_packets(int64_t since_begun_ns)
{
    return since_begun_ns > 200 * MS && since_begun_ns < 1500 * MS;
}

/* An interval in which our own clock was stepped by step_ns: at most a packet under way has no
 * delay, and the others' are by one clock, whichever it is. */
static void assert_stepped(const struct tw_summary *s, int64_t since_begun_ns, int64_t step_ns)
{
    assert_true(s->clock_anomalies <= 1);
    assert_near(s->rtt_variation.jitter, 0, WIRE_NS);
    assert_near(s->forward.max, s->forward.min, WIRE_NS);
    assert_near(s->reverse.max, s->reverse.min, WIRE_NS);
    assert_near(s->forward_variation.jitter, 0, WIRE_NS);
    assert_near(s->reverse_variation.jitter, 0, WIRE_NS);
    assert_near(s->forward_variation.pdv_p95, 0, WIRE_NS);
    assert_near(s->reverse_variation.pdv_p95, 0, WIRE_NS);
    const bool after = fabs(s->forward.mean - 40e6) > WIRE_NS;
    assert_near(s->forward.mean, 40e6 - (after ? (double)step_ns : 0), WIRE_NS);
    assert_near(s->reverse.mean, 40e6 + (after ? (double)step_ns : 0), WIRE_NS);
    if (has_packets(since_begun_ns)) {
        assert_true(s->clock_stepped);
        assert_false(s->one_way_valid);
    }
    if (!may_have_packets(since_begun_ns))
        assert_false(s->clock_stepped);
    if (!s->clock_stepped && !after)
        assert_true(s->one_way_valid);
}

/* A step of either clock at any moment costs at most the delay of a packet that is under way. */
static void step_clock_at(int64_t at, bool server, int64_t step_ns)
{
    struct sim *sim = new_world();
    sim_forward(sim)->delay_ns = sim_reverse(sim)->delay_ns = 40 * MS;
    sim_run(sim, at);
    struct sim_clock *clock = server ? sim_server_clock(sim) : sim_client_clock(sim);
    clock->offset_ns = step_ns;
    sim_run(sim, after_interval(3));
    assert_int_equal(results(sim), 4);
    for (size_t i = 0; i < 4; i++) {
        const struct tw_measurement *m = result(sim, i);
        const struct tw_summary *s = &m->summary;
        const int64_t begun = S + 10 * S * (int64_t)i;
        assert_int_equal(m->state, TW_MEASUREMENT_OK);
        assert_int_equal(s->sent, 10);
        assert_int_equal(s->received, 10);
        const bool hit = begun <= at && at < begun + 10 * S;
        assert_true(s->clock_anomalies <= (hit && !server ? 1 : 0));
        assert_near(s->rtt.min, 80 * MS, WIRE_NS);
        assert_near(s->rtt.max, 80 * MS, WIRE_NS);
        assert_int_equal(m->begun.ns - result(sim, 0)->begun.ns, 10 * S * (int64_t)i);
        assert_int_equal(m->quirks & TW_QUIRK_CONTRADICTORY, 0);
        if (hit && !server)
            assert_stepped(s, at - begun, step_ns);
        if (hit)
            continue; /* the reflector's clock cannot be told from the path */
        const int64_t ahead = at < begun ? (server ? step_ns : -step_ns) : 0;
        assert_false(s->clock_stepped);
        assert_int_equal(s->one_way_valid, llabs(ahead) < 40 * MS);
        assert_near(s->forward.mean, (double)(40 * MS + ahead), WIRE_NS);
        assert_near(s->reverse.mean, (double)(40 * MS - ahead), WIRE_NS);
        assert_near(s->forward_variation.jitter, 0, WIRE_NS);
        if (i > 0 && (server || at < begun - 10 * S || at >= begun + 10 * S))
            assert_near((double)(m->time.ns - result(sim, i - 1)->time.ns), 10 * S, 500 * MS);
    }
    sim_free(sim);
}

static void clock_stepped_at_any_moment_corrupts_no_interval(void **state)
{
    (void)state;
    static const int64_t steps[] = {20 * MS, -20 * MS, 3 * S, -3 * S, 3600 * S, -86400 * S};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        for (int64_t at = 0; at < 13 * S; at += 173 * MS)
            for (unsigned server = 0; server < 2; server++)
                step_clock_at(at, server != 0, steps[i]);
}

/* Some take T2 and T3 from two clocks: those packets have no delay, and the others have theirs. */
static void reflector_with_two_clocks_costs_what_it_spoils(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server(sim)->turnaround_ns = 300 * TW_NS_PER_US;
    sim_server(sim)->early_ns = 5 * TW_NS_PER_US;
    sim_run(sim, after_interval(2));
    for (size_t i = 0; i < 3; i++) {
        const struct tw_measurement *m = result(sim, i);
        const struct tw_summary *s = &m->summary;
        assert_int_equal(m->state, TW_MEASUREMENT_OK);
        assert_int_equal(m->quirks, TW_QUIRK_CONTRADICTORY);
        assert_int_equal(s->received, 10);
        assert_int_equal(s->rtt.n, 5);
        assert_int_equal(s->clock_anomalies, 5);
        assert_near(s->rtt.min, 2 * MS, WIRE_NS);
        assert_near(s->rtt.max, 2 * MS, WIRE_NS);
        assert_near(s->rtt_total.mean, 2300 * TW_NS_PER_US, WIRE_NS);
        assert_near(s->forward.mean, 1 * MS, WIRE_NS);
        assert_near(s->reverse.mean, 1 * MS, WIRE_NS);
        assert_near(s->processing.max, 300 * TW_NS_PER_US, WIRE_NS);
        assert_false(s->one_way_valid || s->clock_stepped);
    }
    sim_free(sim);
}

/* The windows of one session: only the one with the step in it has no valid one-way delays, and
 * none has a variation. */
static void step_clock_of_a_continuous_session(int64_t at, int64_t step_ns)
{
    struct tw_probe_config config = plan();
    config.continuous = true;
    config.packet_interval_ns = config.interval_ns / config.count;
    struct sim *sim = sim_new(&config, 1);
    sim_forward(sim)->delay_ns = sim_reverse(sim)->delay_ns = 40 * MS;
    sim_run(sim, at);
    const tw_mono stepped_at = sim_client_mono(sim);
    sim_client_clock(sim)->offset_ns = step_ns;
    sim_run(sim, at + 45 * S);
    assert_int_equal(sim_counts(sim).sessions, 1);
    unsigned stepped = 0;
    for (size_t i = 0; i < results(sim); i++) {
        const struct tw_measurement *m = result(sim, i);
        const struct tw_summary *s = &m->summary;
        const bool after = m->begun.ns > stepped_at.ns;
        assert_int_equal(s->received, 10);
        assert_int_equal(s->rtt.n, 10 - s->clock_anomalies);
        assert_near(s->forward_variation.jitter, 0, WIRE_NS);
        assert_near(s->reverse_variation.jitter, 0, WIRE_NS);
        assert_near(s->forward_variation.pdv_p95, 0, WIRE_NS);
        assert_near(s->forward.mean, 40e6 - (after ? (double)step_ns : 0), WIRE_NS);
        assert_near(s->reverse.mean, 40e6 + (after ? (double)step_ns : 0), WIRE_NS);
        assert_int_equal(s->one_way_valid, !s->clock_stepped && (!after || step_ns < 40 * MS));
        stepped += s->clock_stepped;
    }
    /* a packet may be under way across the end of its window, and the next one be the first after
     * the step */
    assert_int_equal(stepped, 1);
    sim_free(sim);
}

static void clock_stepped_in_a_continuous_session_spoils_one_window(void **state)
{
    (void)state;
    static const int64_t steps[] = {20 * MS, 3 * S};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        for (int64_t at = 22 * S + 500 * MS; at < 30 * S; at += 173 * MS)
            step_clock_of_a_continuous_session(at, steps[i]);
}

/* Each result is of an interval of its own, right as far as it goes, and those that begin after the
 * client woke up are complete. Returns the packets lost. */
static uint64_t assert_after_sleep(const struct sim *sim, int64_t woke_mono_ns)
{
    int64_t begun_before = result(sim, 0)->begun.ns - 10 * S;
    for (size_t i = 0; i < results(sim); i++) {
        const struct tw_measurement *m = result(sim, i);
        const struct tw_summary *s = &m->summary;
        assert_int_equal(m->state, TW_MEASUREMENT_OK);
        assert_int_equal(s->sent, s->received + s->lost);
        assert_near(s->rtt.min, 2 * MS, WIRE_NS);
        assert_near(s->rtt.max, 2 * MS, WIRE_NS);
        assert_true(m->begun.ns > begun_before);
        assert_int_equal((m->begun.ns - begun_before) % (10 * S), 0);
        begun_before = m->begun.ns;
        if (m->begun.ns > woke_mono_ns)
            assert_clean(m);
    }
    assert_true(begun_before > woke_mono_ns + 10 * S);
    return last_result(sim)->counters.lost;
}

/* Returns the packets lost. */
static uint64_t sleep_at(int64_t at, enum sim_sleep kind, int64_t duration_ns)
{
    struct sim *sim = new_world();
    sim_run(sim, at);
    sim_sleep(sim, kind, duration_ns);
    sim_run(sim, at + duration_ns + 45 * S);
    const int64_t boot = result(sim, 0)->begun.ns - S;
    const uint64_t lost =
        assert_after_sleep(sim, boot + at + (kind == SIM_STOPPED ? duration_ns : 0));
    sim_free(sim);
    return lost;
}

/* What came meanwhile waited in the socket with its time of arrival: nothing is lost. What was to
 * be sent is not made up for, nor is it told as loss. */
static void stopped_client_tells_no_loss(void **state)
{
    (void)state;
    static const int64_t durations[] = {1 * S, 7 * S, 42 * S, 400 * S, 7200 * S};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        for (int64_t at = 21 * S + 5 * MS; at < 31 * S; at += 97 * MS)
            assert_int_equal(sleep_at(at, SIM_STOPPED, durations[i]), 0);
}

/* A reply that arrives during the suspend is lost, but no loss of the path. */
static void suspended_client_tells_no_loss(void **state)
{
    (void)state;
    static const int64_t durations[] = {1 * S, 7 * S, 42 * S};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        for (int64_t at = 21 * S; at < 31 * S; at += 97 * MS)
            assert_int_equal(sleep_at(at, SIM_SUSPENDED, durations[i]), 0);
        for (int64_t at = 21 * S; at < 21 * S + 20 * MS; at += MS / 2)
            assert_int_equal(sleep_at(at, SIM_SUSPENDED, durations[i]), 0);
    }
    /* Hours, in which the server gives up connection and session. */
    for (int64_t at = 22 * S; at < 31 * S; at += 97 * MS)
        assert_int_equal(sleep_at(at, SIM_SUSPENDED, 7200 * S), 0);
}

/* A stop or a suspend in the middle of an interval's set-up, or one so long that the server has
 * given up the session, is the client's fault: it must not show as the target's. Nothing is told of
 * such an interval, or what was measured before it. */
static void sleep_in_set_up_is_no_fault_of_the_target(void **state)
{
    (void)state;
    static const int64_t durations[] = {7 * S, 42 * S, 7200 * S};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        for (int64_t at = 21 * S; at < 21 * S + 20 * MS; at += MS / 2)
            assert_int_equal(sleep_at(at, SIM_STOPPED, durations[i]), 0);
    for (int64_t at = 21 * S; at < 22 * S; at += 33 * MS)
        assert_int_equal(sleep_at(at, SIM_SUSPENDED, 7200 * S), 0);
}

static uint64_t continuous_sleep_at(int64_t at, enum sim_sleep kind, int64_t duration_ns)
{
    struct tw_probe_config config = plan();
    config.continuous = true;
    config.packet_interval_ns = config.interval_ns / config.count;
    struct sim *sim = sim_new(&config, 1);
    const int64_t boot = sim_client_mono(sim).ns;
    sim_run(sim, at);
    sim_sleep(sim, kind, duration_ns);
    sim_run(sim, at + duration_ns + 45 * S);
    int64_t begun_before = boot;
    const int64_t woke = boot + at + (kind == SIM_STOPPED ? duration_ns : 0);
    for (size_t i = 0; i < results(sim); i++) {
        const struct tw_measurement *m = result(sim, i);
        assert_int_equal(m->state, TW_MEASUREMENT_OK);
        assert_int_equal(m->summary.lost, 0);
        assert_true(m->summary.sent > 0);
        assert_near(m->summary.rtt.max, 2 * MS, WIRE_NS);
        assert_true(m->begun.ns > begun_before);
        begun_before = m->begun.ns;
        if (m->begun.ns > woke + 10 * S)
            assert_clean(m);
    }
    assert_true(begun_before > woke + 10 * S);
    const uint64_t lost = last_result(sim)->counters.lost;
    sim_free(sim);
    return lost;
}

static void sleep_of_a_continuous_session_is_no_fault_of_the_target(void **state)
{
    (void)state;
    static const int64_t durations[] = {200 * MS, 1 * S, 7 * S, 42 * S, 400 * S, 7200 * S};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        for (unsigned kind = SIM_STOPPED; kind <= SIM_SUSPENDED; kind++) {
            for (int64_t at = S; at < S + 12 * MS; at += MS / 2) /* in the set-up */
                assert_int_equal(continuous_sleep_at(at, (enum sim_sleep)kind, durations[i]), 0);
            for (int64_t at = 20 * S + 900 * MS; at < 32 * S; at += 97 * MS)
                assert_int_equal(continuous_sleep_at(at, (enum sim_sleep)kind, durations[i]), 0);
            for (int64_t at = 21 * S + 500 * MS; at < 21 * S + 504 * MS; at += MS / 4)
                assert_int_equal(continuous_sleep_at(at, (enum sim_sleep)kind, durations[i]), 0);
        }
    }
}

/* A stop excuses nobody who was found dead without it. */
static void short_stops_do_not_hide_a_dead_target(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, after_interval(1));
    sim_server(sim)->tcp_filtered = true;
    sim_close_connections(sim);
    for (int64_t at = after_interval(1); at < after_interval(6); at += 700 * MS) {
        sim_run(sim, at);
        sim_sleep(sim, SIM_STOPPED, 300 * MS);
    }
    sim_run(sim, after_interval(6));
    assert_int_equal(results(sim), 7);
    for (size_t i = 3; i < 7; i++)
        assert_no_session(result(sim, i), TW_MEASUREMENT_UNREACHABLE);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock_stepped_at_any_moment_corrupts_no_interval),
        cmocka_unit_test(clock_stepped_in_a_continuous_session_spoils_one_window),
        cmocka_unit_test(reflector_with_two_clocks_costs_what_it_spoils),
        cmocka_unit_test(stopped_client_tells_no_loss),
        cmocka_unit_test(sleep_in_set_up_is_no_fault_of_the_target),
        cmocka_unit_test(suspended_client_tells_no_loss),
        cmocka_unit_test(sleep_of_a_continuous_session_is_no_fault_of_the_target),
        cmocka_unit_test(short_stops_do_not_hide_a_dead_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
