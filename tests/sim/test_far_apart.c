/* Packets that are minutes apart, intervals of an hour: what a reflector makes of a session in
 * which nothing comes for long (REFWAIT, RFC 5357 section 4.2), and a server of a connection on
 * which nothing is said (SERVWAIT, section 3.1), must not be told as the path's loss. */
#include "sim/scenario.h"

#include "lib/bytes.h"

static struct tw_probe_config sparse_plan(uint32_t count, int64_t interval_ns)
{
    struct tw_probe_config config = plan();
    config.continuous = true;
    config.interval_ns = interval_ns;
    config.count = count;
    config.packet_interval_ns = interval_ns / count;
    return config;
}

static int64_t begin_of(const struct tw_probe_config *config, size_t i)
{
    return config->phase_ns + config->interval_ns * (int64_t)i;
}

/* The result of interval i is final by then, whatever the kind of session. */
static int64_t told(const struct tw_probe_config *config, size_t i)
{
    return begin_of(config, i + 1) + config->sender.wait_ns;
}

static void assert_all_answered(const struct tw_measurement *m, uint32_t count)
{
    assert_int_equal(m->state, TW_MEASUREMENT_OK);
    assert_int_equal(m->summary.sent, count);
    assert_int_equal(m->summary.received, count);
    assert_int_equal(m->summary.lost, 0);
    assert_near(m->summary.rtt.max, 2 * MS, WIRE_NS);
}

static void sparse_packets_find_a_session(void **state)
{
    (void)state;
    static const struct {
        uint32_t count;
        int64_t interval_ns, wait_ns;
    } cases[] = {{1, 76 * S, 60 * S},   {1, 101 * S, 60 * S},   {1, 700 * S, 2 * S},
                 {1, 1800 * S, 2 * S},  {2, 700 * S, 60 * S},   {2, 3600 * S, 2 * S},
                 {10, 3600 * S, 2 * S}, {30, 3600 * S, 60 * S}, {1, 86400 * S, 2 * S}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct tw_probe_config config = sparse_plan(cases[c].count, cases[c].interval_ns);
        config.sender.wait_ns = cases[c].wait_ns;
        assert_true(tw_probe_gather(&config));
        struct sim *sim = sim_new(&config, 1);
        sim_run(sim, told(&config, 5));
        assert_int_equal(results(sim), 6);
        for (size_t i = 0; i < 6; i++)
            assert_all_answered(result(sim, i), cases[c].count);
        sim_free(sim);
    }
}

/* Two packets in a row that never come to the reflector are two lost packets and no more. */
static void loss_in_a_row_ends_no_session(void **state)
{
    (void)state;
    static const struct {
        uint32_t count;
        int64_t interval_ns;
    } cases[] = {{48, 3600 * S}, {12, 900 * S}, {10, 3600 * S}, {60, 3600 * S}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const uint32_t count = cases[c].count;
        struct tw_probe_config config = sparse_plan(count, cases[c].interval_ns);
        (void)tw_probe_gather(&config);
        struct sim *sim = sim_new(&config, 1);
        struct script forward = {.lost = LIST(count + 3, count + 4)};
        obey(sim_forward(sim), &forward);
        sim_run(sim, told(&config, 3));
        assert_int_equal(results(sim), 4);
        for (size_t i = 0; i < 4; i++) {
            if (i != 1)
                assert_all_answered(result(sim, i), count);
        }
        const struct tw_summary *s = &result(sim, 1)->summary;
        assert_int_equal(s->lost, 2);
        assert_int_equal(s->lost_forward, 2);
        sim_free(sim);
    }
}

/* Whatever the server does about a connection on which nothing is said for an hour. */
static void sessions_an_hour_apart_are_no_trouble(void **state)
{
    (void)state;
    static const int64_t idle_close_ns[] = {0, 60 * S, 3595 * S, 3600 * S - 5 * MS};
    for (size_t c = 0; c < sizeof idle_close_ns / sizeof *idle_close_ns; c++) {
        struct tw_probe_config config = plan();
        config.interval_ns = 3600 * S;
        struct sim *sim = sim_new(&config, 1);
        sim_server(sim)->idle_close_ns = idle_close_ns[c];
        if (idle_close_ns[c] > 900 * S)
            sim_server(sim)->config.servwait_ns = 0;
        sim_run(sim, told(&config, 23));
        assert_int_equal(results(sim), 24);
        for (size_t i = 0; i < 24; i++)
            assert_clean(result(sim, i));
        assert_int_equal(sim_counts(sim).connections, 24 + 1);
        assert_int_equal(sim_counts(sim).sessions, 24 + 1);
        sim_free(sim);
    }
}

static void session_with_a_packet_each_minute_lasts_an_hour(void **state)
{
    (void)state;
    struct tw_probe_config config = sparse_plan(60, 3600 * S);
    assert_false(tw_probe_gather(&config));
    struct sim *sim = sim_new(&config, 1);
    sim_run(sim, told(&config, 23));
    assert_int_equal(results(sim), 24);
    for (size_t i = 0; i < 24; i++)
        assert_all_answered(result(sim, i), 60);
    assert_int_equal(sim_counts(sim).connections, 1); /* SERVWAIT rests */
    sim_free(sim);
}

/* Nothing came to the reflector for longer than it keeps a session. It is set up anew with the next
 * interval, although there were answers in the one that ends. */
static void session_that_an_outage_has_ended_is_not_carried_on(void **state)
{
    (void)state;
    static const struct {
        int64_t interval_ns, outage_ns, before_ns; /* so long before the first cut */
    } cases[] = {
        {330 * S, 305 * S, 5 * S}, {330 * S, 305 * S, 15 * S}, {3600 * S, 400 * S, 30 * S}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct tw_probe_config config = sparse_plan(60, cases[c].interval_ns);
        struct sim *sim = sim_new(&config, 1);
        const int64_t ends = begin_of(&config, 1) - cases[c].before_ns;
        sim_run(sim, ends - cases[c].outage_ns);
        sim_forward(sim)->down = true;
        sim_run(sim, ends);
        sim_forward(sim)->down = false;
        sim_run(sim, told(&config, 3));
        assert_int_equal(results(sim), 4);
        assert_int_equal(result(sim, 0)->state, TW_MEASUREMENT_OK);
        for (size_t i = 1; i < 4; i++)
            assert_all_answered(result(sim, i), 60);
        sim_free(sim);
    }
}

/* While the client was stopped the reflector has ended the session: the rest of that interval's
 * packets would come to nobody. */
static void session_that_a_stop_has_ended_is_not_carried_on(void **state)
{
    (void)state;
    static const int64_t stops_ns[] = {30 * S, 230 * S, 299 * S, 301 * S, 400 * S, 700 * S};
    for (size_t c = 0; c < 2 * sizeof stops_ns / sizeof *stops_ns; c++) {
        struct tw_probe_config config = sparse_plan(60, 3600 * S);
        config.continuous = c % 2 == 0;
        if (!config.continuous)
            config.packet_interval_ns = 50 * S;
        for (unsigned n = 0; n < 40; n++) { /* in the set-up, and between packets */
            const int64_t at = n < 24 ? n * MS / 2 : n * 17 * S;
            struct sim *sim = sim_new(&config, 1);
            sim_run(sim, begin_of(&config, 1) + at);
            sim_sleep(sim, SIM_STOPPED, stops_ns[c / 2]);
            sim_run(sim, told(&config, 3));
            assert_true(results(sim) >= 3);
            for (size_t i = 0; i < results(sim); i++)
                assert_all_answered(result(sim, i), result(sim, i)->summary.sent);
            assert_all_answered(last_result(sim), 60);
            sim_free(sim);
        }
    }
}

struct pause {
    enum sim_sleep kind;
    int64_t at_ns, duration_ns;
};

/* From hours to microseconds, and about the beginning of the intervals, where sessions are made. */
static struct pause random_pause(struct tw_random *dice, const struct tw_probe_config *config,
                                 int64_t after_ns)
{
    const int64_t until_begin_ns =
        config->interval_ns - (after_ns - config->phase_ns) % config->interval_ns;
    const bool set_up = tw_random_below(dice, 2) == 0;
    const int64_t wait_ns = set_up ? until_begin_ns : tw_random_below(dice, 2000) * S;
    const int64_t longest_ms = tw_random_below(dice, 2) == 0 ? 10000 : 1000000;
    return (struct pause){
        .kind = tw_random_below(dice, 4) == 0 ? SIM_SUSPENDED : SIM_STOPPED,
        .at_ns = after_ns + wait_ns + tw_random_below(dice, 12000) * TW_NS_PER_US,
        .duration_ns = tw_random_below(dice, (uint32_t)longest_ms) * MS,
    };
}

/* Whatever the reflector has ended meanwhile, and whenever: what was sent is answered. */
static void random_pauses_are_no_loss(void **state)
{
    (void)state;
    static const struct {
        uint32_t count;
        int64_t interval_ns;
    } plans[] = {{60, 3600 * S}, {10, 10 * S}, {5, 300 * S},
                 {1, 60 * S},    {1, 700 * S}, {100, 330 * S}};
    enum { RUNS = 600, PAUSES = 4, PLANS = sizeof plans / sizeof *plans };
    const uint64_t base = seed_or(20260404);
    for (uint64_t run = 0; run < RUNS; run++) {
        uint8_t octets[TW_RANDOM_SEED_SIZE] = {2};
        tw_put64(octets + 8, base + run);
        struct tw_random dice;
        tw_random_seed(&dice, octets);
        struct tw_probe_config config =
            sparse_plan(plans[run % PLANS].count, plans[run % PLANS].interval_ns);
        config.continuous = run / PLANS % 2 == 0;
        if (!config.continuous)
            config.packet_interval_ns = config.interval_ns / 3 / config.count;
        (void)tw_probe_gather(&config);
        struct sim *sim = sim_new(&config, base + run);
        int64_t at = 0;
        for (unsigned i = 0; i < PAUSES; i++) {
            const struct pause pause = random_pause(&dice, &config, at);
            sim_run(sim, pause.at_ns);
            sim_sleep(sim, pause.kind, pause.duration_ns);
            at = pause.at_ns + pause.duration_ns;
        }
        sim_run(sim, at + 3 * config.interval_ns);
        assert_true(results(sim) > 0);
        for (size_t i = 0; i < results(sim); i++)
            assert_all_answered(result(sim, i), result(sim, i)->summary.sent);
        assert_int_equal(last_result(sim)->summary.sent, config.count);
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sparse_packets_find_a_session),
        cmocka_unit_test(loss_in_a_row_ends_no_session),
        cmocka_unit_test(sessions_an_hour_apart_are_no_trouble),
        cmocka_unit_test(session_with_a_packet_each_minute_lasts_an_hour),
        cmocka_unit_test(session_that_an_outage_has_ended_is_not_carried_on),
        cmocka_unit_test(session_that_a_stop_has_ended_is_not_carried_on),
        cmocka_unit_test(random_pauses_are_no_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
