/* How soon a target is measured right again when what it has of its server died without a word, in
 * virtual time: a continuous session whose reflector forgot it, or is somewhere else; and
 * connections on which the server accepts no more sessions. What must not be taken for such a
 * death: loss. Faults that tell of themselves are in test_faults.c. */
#include "sim/continuous_plan.h"

enum { MOMENTS = 37 }; /* of an interval, at which each fault comes */

/* In interval 2. */
static int64_t moment_ns(unsigned moment)
{
    return begin_of(2) + (int64_t)moment * (10 * S / MOMENTS) + (int64_t)(moment % 7) * MS;
}

static void assert_whole(const struct tw_measurement *m)
{
    assert_int_equal(m->state, TW_MEASUREMENT_OK);
    assert_int_equal(m->summary.sent, 10);
    assert_int_equal(m->summary.received, 10);
}

/* Nobody tells the client that its session and its connection are gone. */
static void restart_unseen(struct sim *sim, int64_t now_ns)
{
    sim_server(sim)->tcp_filtered = true;
    sim_kill_server(sim);
    sim_run(sim, now_ns + 5 * MS);
    sim_server(sim)->tcp_filtered = false;
    sim_start_server(sim);
}

static void restart_elsewhere(struct sim *sim, int64_t now_ns)
{
    restart_unseen(sim, now_ns);
    sim_move_server(sim, 2);
    sim_set_name(sim, 2);
}

static void assert_found_again(void (*fault)(struct sim *sim, int64_t now_ns), unsigned moment)
{
    struct sim *sim = new_continuous();
    sim_server(sim)->elsewhere_void = true;
    sim_run(sim, moment_ns(moment));
    fault(sim, moment_ns(moment));
    sim_run(sim, told(6));
    assert_int_equal(results(sim), 7);
    const struct tw_measurement *next = result(sim, 3);
    if (moment < MOMENTS / 3) { /* known by the end of the interval */
        assert_int_equal(next->state, TW_MEASUREMENT_OK);
        assert_int_equal(next->summary.lost, 0);
        assert_true(next->summary.sent >= 7); /* the old connection had to time out */
    }
    for (size_t i = 4; i < 7; i++)
        assert_int_equal(result(sim, i)->summary.lost, 0);
    assert_true(result(sim, 4)->summary.sent >= 7);
    assert_whole(result(sim, 5));
    assert_whole(result(sim, 6));
    sim_free(sim);
}

static void server_that_was_restarted_unseen_is_asked_anew_within_two_intervals(void **state)
{
    (void)state;
    for (unsigned moment = 0; moment < MOMENTS; moment++)
        assert_found_again(restart_unseen, moment);
}

/* The address that it had swallows everything, the open connection too. */
static void server_that_moved_unseen_is_found_within_two_intervals(void **state)
{
    (void)state;
    for (unsigned moment = 0; moment < MOMENTS; moment++)
        assert_found_again(restart_elsewhere, moment);
}

static void moved_name_of_a_silent_session_costs_no_waiting(void **state)
{
    (void)state;
    for (unsigned moment = 0; moment < MOMENTS / 3; moment++) {
        struct sim *sim = new_continuous();
        sim_server(sim)->elsewhere_void = true;
        sim_run(sim, moment_ns(moment));
        restart_elsewhere(sim, moment_ns(moment));
        sim_run(sim, told(3));
        assert_whole(result(sim, 3));
        sim_free(sim);
    }
}

/* All that silence leads to before the interval ends is a question to the name server. */
static void name_of_a_silent_session_is_looked_up_once_in_an_interval(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    config.resolve_ns = 3600 * S;
    struct sim *sim = sim_new(&config, 1);
    sim_run(sim, begin_of(2));
    assert_int_equal(sim_counts(sim).resolutions, 1);
    sim_reverse(sim)->down = true;
    sim_run(sim, begin_of(2) + 4 * S);
    assert_int_equal(sim_counts(sim).resolutions, 1);
    sim_run(sim, begin_of(3) - 1);
    assert_int_equal(sim_counts(sim).resolutions, 2);
    sim_run(sim, begin_of(12));
    assert_true(sim_counts(sim).resolutions <= 2 + 9);
    assert_int_equal(sim_counts(sim).connections, 1);
    sim_free(sim);
}

/* Which of the packets, of both directions, are lost: a burst, or some at random. */
struct losses {
    uint64_t first, n;
    uint64_t random_of; /* one of so many; 0 none */
    uint64_t state, lost;
};

static struct sim_fate lose(void *user, uint64_t n)
{
    struct losses *losses = user;
    losses->state = losses->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const bool burst = n - losses->first < losses->n;
    const bool random = losses->random_of != 0 && (losses->state >> 33) % losses->random_of == 0;
    losses->lost += burst || random;
    return (struct sim_fate){.copies = burst || random ? 0 : 1};
}

static void lose_on(struct sim_link *link, struct losses *losses)
{
    link->fate = lose;
    link->user = losses;
}

/* Wherever it begins, across the cut too. */
static void burst_of_half_an_interval_keeps_its_direction(void **state)
{
    (void)state;
    for (uint64_t first = 20; first < 30; first++)
        for (unsigned backward = 0; backward < 2; backward++) {
            struct sim *sim = new_continuous();
            struct losses losses = {.first = first, .n = 5};
            lose_on(backward ? sim_reverse(sim) : sim_forward(sim), &losses);
            sim_run(sim, told(4));
            assert_int_equal(sim_counts(sim).sessions, 1);
            uint64_t lost[2] = {0, 0};
            uint64_t undecided = 0;
            for (size_t i = 0; i < 5; i++) {
                const struct tw_summary *s = &result(sim, i)->summary;
                assert_int_equal(s->sent, 10);
                assert_false(s->direction_doubtful);
                lost[0] += s->lost_forward;
                lost[1] += s->lost_reverse;
                undecided += s->lost_undecided;
            }
            assert_int_equal(lost[!backward], 0);
            assert_int_equal(lost[backward] + undecided, 5);
            if (first < 25) /* none of them is the last of its interval */
                assert_int_equal(undecided, 0);
            sim_free(sim);
        }
}

static void random_loss_keeps_its_session_and_its_direction(void **state)
{
    (void)state;
    enum { INTERVALS = 1000 };
    struct sim *sim = new_continuous();
    struct losses forward = {.random_of = 20, .state = seed_or(20260907)};
    struct losses reverse = {.random_of = 20, .state = seed_or(20260907) + 1};
    lose_on(sim_forward(sim), &forward);
    lose_on(sim_reverse(sim), &reverse);
    sim_run(sim, told(INTERVALS - 1));
    assert_int_equal(results(sim), INTERVALS);
    uint64_t lost[2] = {0, 0};
    uint64_t undecided = 0;
    for (size_t i = 0; i < INTERVALS; i++) {
        const struct tw_summary *s = &result(sim, i)->summary;
        assert_int_equal(s->sent, 10);
        lost[0] += s->lost_forward;
        lost[1] += s->lost_reverse;
        undecided += s->lost_undecided;
    }
    assert_int_equal(sim_counts(sim).connections, 1);
    /* only for the sake of the server's idle limit */
    assert_true(sim_counts(sim).sessions <= 1 + INTERVALS * 10 / 600);
    assert_true(lost[0] <= forward.lost && lost[0] + undecided >= forward.lost);
    assert_true(lost[1] <= reverse.lost && lost[1] + undecided >= reverse.lost);
    assert_true(undecided < INTERVALS / 2);
    sim_free(sim);
}

/* Nothing was sent meanwhile; what had been answered waits. */
static void pause_of_the_driver_is_no_silence(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    config.resolve_ns = 3600 * S;
    for (int64_t ms = 0; ms < 10000; ms += 210) {
        struct sim *sim = sim_new(&config, 1);
        sim_run(sim, begin_of(1) + ms * MS);
        sim_sleep(sim, SIM_STOPPED, 8 * S);
        sim_run(sim, told(4));
        assert_int_equal(sim_counts(sim).sessions, 1);
        assert_int_equal(sim_counts(sim).resolutions, 1);
        assert_whole(last_result(sim));
        assert_int_equal(last_result(sim)->counters.lost, 0);
        sim_free(sim);
    }
}

/* Servers that let go of a session only with its connection. */
static void server_of_one_session_per_connection_is_measured_in_every_interval(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server(sim)->sessions_each = 1;
    sim_run(sim, after_interval(9));
    assert_int_equal(results(sim), 10);
    for (size_t i = 0; i < 10; i++)
        assert_clean(result(sim, i));
    assert_int_equal(sim_counts(sim).connections, 10);
    sim_free(sim);
}

/* A session that is renewed for the sake of the idle limit is refused, and had anew. */
static void continuous_session_of_such_a_server_is_renewed_on_a_new_connection(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_server(sim)->sessions_each = 1;
    sim_run(sim, told(139));
    assert_int_equal(results(sim), 140);
    for (size_t i = 0; i < 140; i++)
        assert_whole(result(sim, i));
    assert_int_equal(sim_counts(sim).sessions, 3);
    assert_int_equal(sim_counts(sim).connections, 3);
    sim_free(sim);
}

/* One new connection shows that it was not the old one's fault, and the state is told. */
static void server_that_refuses_for_good_is_not_stormed_with_connections(void **state)
{
    (void)state;
    for (unsigned continuous = 0; continuous < 2; continuous++) {
        struct sim *sim = continuous ? new_continuous() : new_world();
        sim_run(sim, begin_of(3) - 100 * MS);
        sim_server(sim)->session_accept = TW_ACCEPT_PERMANENT_LIMIT;
        if (continuous)
            sim_close_connections(sim);
        const unsigned before = sim_counts(sim).connections;
        sim_run(sim, begin_of(23) - 100 * MS);
        assert_int_equal(sim_counts(sim).connections, before + 1);
        for (size_t i = 4; i < 20; i++) {
            assert_no_session(result(sim, i), TW_MEASUREMENT_REFUSED);
            assert_int_equal(result(sim, i)->trouble.accept, TW_ACCEPT_PERMANENT_LIMIT);
        }
        sim_server(sim)->session_accept = TW_ACCEPT_OK;
        sim_run(sim, told(23));
        if (continuous)
            assert_whole(result(sim, 23));
        else
            assert_clean(result(sim, 23));
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_that_was_restarted_unseen_is_asked_anew_within_two_intervals),
        cmocka_unit_test(server_that_moved_unseen_is_found_within_two_intervals),
        cmocka_unit_test(moved_name_of_a_silent_session_costs_no_waiting),
        cmocka_unit_test(name_of_a_silent_session_is_looked_up_once_in_an_interval),
        cmocka_unit_test(burst_of_half_an_interval_keeps_its_direction),
        cmocka_unit_test(random_loss_keeps_its_session_and_its_direction),
        cmocka_unit_test(pause_of_the_driver_is_no_silence),
        cmocka_unit_test(server_of_one_session_per_connection_is_measured_in_every_interval),
        cmocka_unit_test(continuous_session_of_such_a_server_is_renewed_on_a_new_connection),
        cmocka_unit_test(server_that_refuses_for_good_is_not_stormed_with_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
