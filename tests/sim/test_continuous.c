/* What becomes of a continuous session: its intervals, cut by the time of sending, in virtual time
 * and with the truth known. Interval sessions are in test_scenarios.c. */
#include "sim/continuous_plan.h"

#include <errno.h>
#include <malloc.h>

static struct sim *new_slow_continuous(int64_t delay_ns)
{
    struct sim *sim = new_continuous();
    sim_forward(sim)->delay_ns = delay_ns;
    sim_reverse(sim)->delay_ns = delay_ns;
    return sim;
}

/* Whatever happens: one result for each interval, one interval apart; what was sent is counted. */
static void assert_orderly(const struct sim *sim, size_t n)
{
    assert_int_equal(results(sim), n);
    struct tw_measurement_counters sums = {.sent = 0};
    for (size_t i = 0; i < n; i++) {
        const struct tw_measurement *m = result(sim, i);
        assert_int_equal(m->begun.ns - result(sim, 0)->begun.ns, 10 * S * (int64_t)i);
        assert_int_equal(m->summary.sent, m->summary.received + m->summary.lost);
        assert_true(m->summary.sent <= 10);
        sums.sent += m->summary.sent;
        sums.received += m->summary.received;
        sums.lost += m->summary.lost;
        assert_int_equal(m->counters.sent, sums.sent);
        assert_int_equal(m->counters.received, sums.received);
        assert_int_equal(m->counters.lost, sums.lost);
    }
}

static void assert_whole(const struct tw_measurement *m)
{
    assert_int_equal(m->state, TW_MEASUREMENT_OK);
    assert_int_equal(m->summary.sent, 10);
    assert_int_equal(m->summary.received, 10);
    assert_int_equal(m->summary.duplicates, 0);
    assert_int_equal(m->summary.late, 0);
}

static void plain_path_is_measured_exactly_by_one_session(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_server(sim)->turnaround_ns = 300 * TW_NS_PER_US;
    sim_forward(sim)->delay_ns = 4 * MS;
    sim_reverse(sim)->delay_ns = 1 * MS;
    sim_run(sim, told(2));
    assert_orderly(sim, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct tw_measurement *m = result(sim, i);
        assert_whole(m);
        assert_near(m->summary.rtt.min, 5 * MS, WIRE_NS);
        assert_near(m->summary.rtt.max, 5 * MS, WIRE_NS);
        assert_near(m->summary.rtt.p95, 5 * MS, WIRE_NS);
        assert_near(m->summary.rtt_total.mean, 5 * MS + 300000, WIRE_NS);
        assert_near(m->summary.processing.mean, 300000, WIRE_NS);
        assert_near(m->summary.forward.mean, 4 * MS, WIRE_NS);
        assert_near(m->summary.reverse.mean, 1 * MS, WIRE_NS);
        assert_near(m->summary.rtt_variation.jitter, 0, WIRE_NS);
        assert_int_equal(m->summary.rtt_variation.pairs, 9);
        assert_int_equal(m->summary.reordered, 0);
        assert_true(m->summary.one_way_valid);
        assert_true(m->summary.direction_known);
        assert_false(m->summary.direction_clamped || m->summary.direction_doubtful);
        assert_int_equal(m->remote.port, 863);
        assert_int_equal(m->mode, TW_MODE_UNAUTHENTICATED);
    }
    const struct sim_counts counts = sim_counts(sim);
    assert_int_equal(counts.connections, 1);
    assert_int_equal(counts.sessions, 1);
    assert_int_equal(counts.stops, 0);
    assert_int_equal(counts.test_packets, 30 + 2);
    sim_free(sim);
}

static void results_are_final_one_interval_apart(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    for (size_t i = 0; i < 4; i++) {
        sim_run(sim, told(i) - 1);
        assert_int_equal(results(sim), i);
        sim_run(sim, told(i));
        assert_int_equal(results(sim), i + 1);
        assert_int_equal(last_result(sim)->time.ns - sim_client_clock(sim)->epoch_ns, told(i));
    }
    sim_free(sim);
}

static void packets_leave_in_the_middle_of_equal_parts(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    for (unsigned i = 0; i < 30; i++) {
        const int64_t at = begin_of(0) + i * S + 500 * MS;
        sim_run(sim, at - 1);
        assert_int_equal(sim_counts(sim).test_packets, i);
        sim_run(sim, at);
        assert_int_equal(sim_counts(sim).test_packets, i + 1);
    }
    sim_free(sim);
}

/* 0 to 9 are the first interval's, and so on. */
static void loss_keeps_its_direction_across_the_cut(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    struct script forward = {.lost = LIST(10, 24, 49, 50)};
    struct script reverse = {.lost = LIST(15, 28, 29)}; /* replies to 16, 30 and 31 */
    obey(sim_forward(sim), &forward);
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, told(5));
    assert_orderly(sim, 6);
    static const struct {
        uint32_t lost, forward, reverse, undecided;
    } truth[] = {
        {0, 0, 0, 0}, {2, 1, 1, 0}, /* the packet before it was answered: the first one's loss is
                                       decided */
        {1, 1, 0, 0}, {2, 0, 2, 0}, {1, 0, 0, 1}, /* nothing came after the last one */
        {1, 0, 0, 1},                             /* nor was there an answer before the first */
    };
    for (size_t i = 0; i < 6; i++) {
        const struct tw_summary *s = &result(sim, i)->summary;
        assert_int_equal(s->lost, truth[i].lost);
        assert_int_equal(s->lost_forward, truth[i].forward);
        assert_int_equal(s->lost_reverse, truth[i].reverse);
        assert_int_equal(s->lost_undecided, truth[i].undecided);
        assert_false(s->direction_clamped || s->direction_doubtful);
    }
    sim_free(sim);
}

static bool is_believed(const struct tw_summary *s)
{
    return s->direction_known && !s->direction_clamped && !s->direction_doubtful;
}

/* What the packets of two intervals that overtake one another do to the reflector's numbers must
 * not be taken for loss the other way. */
static void overtaking_across_the_cut_turns_no_loss_around(void **state)
{
    (void)state;
    const struct {
        struct script forward;
    } cases[] = {
        {{.lost = LIST(13), .slow = LIST(19), .extra_ns = 1200 * MS}}, /* overtaken by 20 */
        {{.lost = LIST(21), .slow = LIST(19), .extra_ns = 1200 * MS}},
        {{.lost = LIST(20), .slow = LIST(18), .extra_ns = 1600 * MS}}, /* by 19, not by 20 */
        {{.lost = LIST(20), .slow = LIST(18), .extra_ns = 3200 * MS}}, /* by 19 and 21: late */
        {{.lost = LIST(23), .slow = LIST(18), .extra_ns = 6200 * MS}}, /* its interval is told */
        {{.lost = LIST(33), .slow = LIST(18), .extra_ns = 16 * S}},    /* and forgotten */
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct sim *sim = new_continuous();
        struct script forward = cases[c].forward;
        obey(sim_forward(sim), &forward);
        sim_run(sim, told(4));
        assert_orderly(sim, 5);
        uint32_t lost = 0;
        for (size_t i = 0; i < 5; i++) {
            const struct tw_summary *s = &result(sim, i)->summary;
            lost += s->lost;
            assert_true(s->lost == s->lost_undecided + s->lost_forward || !is_believed(s));
        }
        assert_true(lost > 0);
        assert_true(is_believed(&result(sim, 4)->summary)); /* that was all */
        sim_free(sim);
    }
}

static void random_overtaking_turns_no_loss_around(void **state)
{
    (void)state;
    enum { RUNS = 24, INTERVALS = 60 }; /* of one session each */
    const uint64_t base = seed_or(5);
    unsigned right = 0;
    for (unsigned run = 0; run < RUNS; run++) {
        const bool back = run % 2 == 1;
        struct tw_probe_config config = continuous_plan();
        config.count = 50;
        config.packet_interval_ns = 200 * MS;
        struct sim *sim = sim_new(&config, base + run);
        sim_forward(sim)->loss = back ? 0 : 0.02;
        sim_reverse(sim)->loss = back ? 0.02 : 0;
        sim_forward(sim)->jitter_ns = 300 * MS;
        sim_run(sim, told(INTERVALS - 1));
        assert_int_equal(results(sim), INTERVALS);
        for (size_t i = 0; i < INTERVALS; i++) {
            const struct tw_summary *s = &result(sim, i)->summary;
            if (!is_believed(s))
                continue;
            assert_int_equal(back ? s->lost_forward : s->lost_reverse, 0);
            right += (back ? s->lost_reverse : s->lost_forward) > 0;
        }
        sim_free(sim);
    }
    assert_true(right > RUNS * INTERVALS / 8); /* most of what can be known is still told */
}

static void duplicates_and_reordering_belong_to_the_packets_interval(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    struct script forward = {.doubled = LIST(9, 15), .slow = LIST(18, 22), .extra_ns = 1200 * MS};
    obey(sim_forward(sim), &forward);
    sim_run(sim, told(2));
    assert_orderly(sim, 3);
    assert_int_equal(result(sim, 0)->summary.duplicates, 1);
    assert_int_equal(result(sim, 1)->summary.duplicates, 1);
    assert_int_equal(result(sim, 1)->summary.duplicates_forward, 1);
    assert_int_equal(result(sim, 1)->summary.reordered, 1);
    assert_int_equal(result(sim, 1)->summary.reordered_forward, 1);
    assert_int_equal(result(sim, 2)->summary.duplicates, 0);
    assert_int_equal(result(sim, 2)->summary.reordered, 1);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(result(sim, i)->summary.received, 10);
    sim_free(sim);
}

static void late_reply_counts_to_the_interval_of_its_packet(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    /* 9 leaves half a second before the cut and is answered 2.2 s later: 0.3 s before the result */
    struct script reverse = {.slow = LIST(5, 9), .extra_ns = 2200 * MS};
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, told(1));
    assert_orderly(sim, 2);
    assert_int_equal(result(sim, 0)->summary.received, 8);
    assert_int_equal(result(sim, 0)->summary.lost, 2);
    assert_int_equal(result(sim, 0)->summary.late, 2);
    assert_whole(result(sim, 1));
    assert_int_equal(result(sim, 1)->counters.late, 2);
    sim_free(sim);
}

static void reply_after_the_result_only_moves_the_counter(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    struct script reverse = {.slow = LIST(8, 9), .extra_ns = 6 * S, .doubled = LIST(9)};
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, told(1));
    assert_orderly(sim, 2);
    assert_int_equal(result(sim, 0)->summary.lost, 2);
    assert_int_equal(result(sim, 0)->summary.late, 0);
    assert_int_equal(result(sim, 0)->counters.late, 0);
    assert_whole(result(sim, 1));
    assert_int_equal(result(sim, 1)->counters.late, 2); /* a copy is none */
    sim_free(sim);
}

static void packets_under_way_at_the_cut_are_measured(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    config.count = 100;
    config.packet_interval_ns = 100 * MS;
    struct sim *sim = sim_new(&config, 1);
    sim_forward(sim)->delay_ns = 300 * MS;
    sim_reverse(sim)->delay_ns = 300 * MS;
    sim_run(sim, told(5));
    assert_int_equal(results(sim), 6);
    /* Set-up took 2.4 s: what would have left within it was not sent. */
    assert_int_equal(result(sim, 0)->summary.sent, 100 - 24);
    assert_int_equal(result(sim, 0)->summary.received, 100 - 24);
    for (size_t i = 1; i < 6; i++) {
        const struct tw_summary *s = &result(sim, i)->summary;
        assert_int_equal(s->sent, 100);
        assert_int_equal(s->received, 100);
        assert_int_equal(s->reordered + s->duplicates + s->late, 0);
        assert_near(s->rtt.max, 600 * MS, WIRE_NS);
        assert_near(s->rtt.p50, 600 * MS, WIRE_NS);
    }
    assert_int_equal(sim_counts(sim).sessions, 1);
    sim_free(sim);
}

/* Random paths: whatever is lost, doubled and delayed, the counts agree with what the links did. */
static void random_paths_are_counted_right(void **state)
{
    (void)state;
    enum { RUNS = 120, INTERVALS = 4 };
    const uint64_t base = seed_or(20260403);
    for (uint64_t run = 0; run < RUNS; run++) {
        struct tw_probe_config config = continuous_plan();
        config.count = 50;
        config.packet_interval_ns = 200 * MS;
        struct sim *sim = sim_new(&config, base + run);
        impair(sim, run);
        sim_run(sim, begin_of(INTERVALS));
        sim_forward(sim)->down = true; /* from here on nothing more comes to be counted */
        const uint64_t lost = sim_forward(sim)->lost;
        sim_run(sim, told(INTERVALS - 1));
        assert_int_equal(results(sim), INTERVALS);
        uint64_t received = 0;
        uint64_t decided = 0;
        uint64_t undecided = 0;
        for (size_t i = 0; i < INTERVALS; i++) {
            const struct tw_summary *s = &result(sim, i)->summary;
            assert_int_equal(s->sent, 50);
            assert_int_equal(s->received + s->lost, 50);
            assert_int_equal(s->lost_forward + s->lost_reverse + s->lost_undecided, s->lost);
            received += s->received + s->duplicates;
            decided += s->lost_forward;
            undecided += s->lost_undecided;
        }
        /* Copies of the last packet's reply may come up to 180 ms later. */
        assert_int_equal(received, arrived(sim));
        if (run % 3 == 0 && run / 3 % 3 == 0) /* no duplication, and none overtakes another */
            assert_true(decided <= lost && decided + undecided >= lost);
        sim_free(sim);
    }
}

static void killed_server_ends_the_interval_and_comes_back_within_two(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_run(sim, 25 * S);
    sim_kill_server(sim);
    sim_run(sim, 45 * S + 200 * MS);
    sim_start_server(sim);
    sim_run(sim, told(7));
    assert_orderly(sim, 8);
    assert_whole(result(sim, 1));
    assert_int_equal(result(sim, 2)->state, TW_MEASUREMENT_OK);
    assert_int_equal(result(sim, 2)->summary.sent, 4); /* 21.5 to 24.5 s */
    assert_int_equal(result(sim, 2)->summary.received, 4);
    assert_no_session(result(sim, 3), TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(result(sim, 3)->trouble.error, ECONNREFUSED);
    for (size_t i = 6; i < 8; i++)
        assert_whole(result(sim, i));
    assert_int_equal(last_result(sim)->counters.sent, sim_counts(sim).test_packets - 2);
    sim_free(sim);
}

static void server_that_comes_back_in_mid_interval_is_measured_for_the_rest(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_server(sim)->process_down = true;
    sim_run(sim, begin_of(1) + 100 * MS);
    sim_start_server(sim);
    sim_run(sim, told(2));
    assert_orderly(sim, 3);
    assert_no_session(result(sim, 0), TW_MEASUREMENT_UNREACHABLE);
    const struct tw_measurement *m = result(sim, 1);
    assert_int_equal(m->state, TW_MEASUREMENT_OK);
    assert_true(m->summary.sent > 0 && m->summary.sent < 10);
    assert_int_equal(m->summary.received, m->summary.sent);
    assert_whole(result(sim, 2));
    sim_free(sim);
}

static void server_that_was_restarted_unseen_is_found_out_by_its_silence(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_run(sim, 25 * S);
    sim_server(sim)->tcp_filtered = true; /* nobody tells the client */
    sim_kill_server(sim);
    sim_run(sim, 26 * S);
    sim_server(sim)->tcp_filtered = false;
    sim_start_server(sim);
    sim_run(sim, told(6));
    assert_orderly(sim, 7);
    assert_int_equal(result(sim, 2)->summary.sent, 10);
    assert_int_equal(result(sim, 2)->summary.received, 4);
    assert_int_equal(result(sim, 3)->state, TW_MEASUREMENT_SILENT);
    assert_int_equal(result(sim, 3)->summary.sent, 10);
    assert_int_equal(result(sim, 4)->state, TW_MEASUREMENT_OK); /* once the old connection failed */
    assert_int_equal(result(sim, 4)->summary.received, result(sim, 4)->summary.sent);
    assert_whole(result(sim, 5));
    assert_whole(result(sim, 6));
    sim_free(sim);
}

static void session_without_its_control_connection_goes_on(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_run(sim, 15 * S);
    sim_server(sim)->tcp_filtered = true;
    sim_run(sim, told(9));
    assert_orderly(sim, 10);
    for (size_t i = 0; i < 10; i++)
        assert_whole(result(sim, i));
    sim_free(sim);
}

static void silent_path_is_told_and_tried_anew_each_interval(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_run(sim, begin_of(1));
    sim_reverse(sim)->down = true;
    sim_run(sim, begin_of(4));
    assert_int_equal(sim_counts(sim).sessions, 1 + 2);
    sim_reverse(sim)->down = false;
    sim_run(sim, told(5));
    assert_orderly(sim, 6);
    for (size_t i = 1; i < 4; i++) {
        const struct tw_measurement *m = result(sim, i);
        assert_int_equal(m->state, TW_MEASUREMENT_SILENT);
        assert_int_equal(m->summary.sent, 10);
        assert_int_equal(m->summary.lost, 10);
        assert_true(isnan(m->summary.rtt.mean));
        assert_false(m->summary.direction_known);
    }
    assert_whole(result(sim, 4));
    assert_whole(result(sim, 5));
    assert_int_equal(sim_counts(sim).connections, 1);
    sim_free(sim);
}

static void every_refusal_is_told_and_recovered_from(void **state)
{
    (void)state;
    for (uint8_t accept = 1; accept <= 5; accept++) {
        struct sim *sim = new_continuous();
        sim_server(sim)->session_accept = accept;
        sim_run(sim, begin_of(2) - 100 * MS);
        sim_server(sim)->session_accept = 0;
        sim_run(sim, told(3));
        assert_orderly(sim, 4);
        for (size_t i = 0; i < 2; i++) {
            assert_no_session(result(sim, i), TW_MEASUREMENT_REFUSED);
            assert_int_equal(result(sim, i)->trouble.accept, accept);
        }
        assert_whole(result(sim, 2)); /* the new interval asks at once */
        assert_whole(result(sim, 3));
        sim_free(sim);
    }
}

static void server_that_closes_in_mid_session_is_measured_until_then(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_server(sim)->idle_close_ns = 3 * S;
    sim_run(sim, told(4));
    assert_orderly(sim, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct tw_measurement *m = result(sim, i);
        assert_int_equal(m->state, TW_MEASUREMENT_OK);
        assert_int_equal(m->summary.sent, 3);
        assert_int_equal(m->summary.received, 3);
        assert_near(m->summary.rtt.mean, 2 * MS, WIRE_NS);
    }
    assert_int_equal(sim_counts(sim).connections, 6); /* one an interval */
    sim_free(sim);
}

static void server_that_closes_once_started_is_not_stormed(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_server(sim)->close_after = 64 + 48 + 48 + 32;
    sim_run(sim, told(4));
    assert_orderly(sim, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(result(sim, i)->summary.sent <= 1); /* what leaves before it is known is told */
        assert_int_equal(result(sim, i)->summary.lost, 0);
    }
    assert_true(sim_counts(sim).connections < 5 * 6);
    assert_true(sim_counts(sim).connections >= 5);
    sim_free(sim);
}

static void close_at_every_octet_of_the_control_stream_is_survived(void **state)
{
    (void)state;
    for (uint64_t octets = 1; octets < 64 + 48 + 48 + 32; octets++) {
        struct sim *sim = new_continuous();
        sim_server(sim)->close_after = octets;
        sim_run(sim, begin_of(1) - 100 * MS);
        sim_server(sim)->close_after = 0;
        sim_run(sim, told(2));
        assert_orderly(sim, 3);
        assert_no_session(result(sim, 0), TW_MEASUREMENT_REFUSED);
        assert_whole(result(sim, 1));
        assert_whole(result(sim, 2));
        sim_free(sim);
    }
}

static void silence_at_every_octet_of_the_control_stream_ends_as_silent(void **state)
{
    (void)state;
    for (uint64_t octets = 1; octets < 64 + 48 + 48 + 32; octets++) {
        struct sim *sim = new_continuous();
        sim_server(sim)->mute_after = octets;
        sim_run(sim, begin_of(1) - 100 * MS);
        sim_server(sim)->mute_after = 0;
        sim_run(sim, told(3));
        assert_orderly(sim, 4);
        assert_no_session(result(sim, 0), TW_MEASUREMENT_SILENT);
        assert_int_equal(result(sim, 1)->state, TW_MEASUREMENT_OK);
        assert_whole(result(sim, 2));
        assert_whole(result(sim, 3));
        sim_free(sim);
    }
}

/* Set-up takes longer than what is left of an interval after each failed one. */
static void slow_set_up_goes_on_across_intervals(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    config.interval_ns = 1 * S;
    config.count = 2;
    config.packet_interval_ns = 500 * MS;
    config.sender.wait_ns = 900 * MS;
    struct sim *sim = sim_new(&config, 1);
    sim_forward(sim)->delay_ns = sim_reverse(sim)->delay_ns = 350 * MS; /* 2.8 s to a session */
    sim_run(sim, 11 * S + 900 * MS);
    assert_int_equal(results(sim), 10);
    for (size_t i = 0; i < 2; i++)
        assert_no_session(result(sim, i), TW_MEASUREMENT_SILENT);
    for (size_t i = 3; i < 10; i++) {
        assert_int_equal(result(sim, i)->summary.sent, 2);
        assert_int_equal(result(sim, i)->summary.received, 2);
    }
    assert_int_equal(sim_counts(sim).connections, 1);
    sim_free(sim);
}

static void moved_name_is_followed_at_the_next_cut(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_run(sim, begin_of(1) + 500 * MS);
    sim_move_server(sim, 2); /* the open connection lives on */
    sim_set_name(sim, 2);
    sim_run(sim, told(9)); /* names are looked up every 60 s */
    assert_orderly(sim, 10);
    for (size_t i = 0; i < 10; i++)
        assert_whole(result(sim, i));
    assert_int_equal(last_result(sim)->remote.octets[3], 2);
    assert_int_equal(sim_counts(sim).sessions, 2);
    sim_free(sim);
}

static void stepped_clock_spoils_only_the_samples_it_hits(void **state)
{
    (void)state;
    static const int64_t steps_ns[] = {3 * S, -3 * S, 86400 * S, -86400 * S};
    for (size_t i = 0; i < sizeof steps_ns / sizeof *steps_ns; i++) {
        struct sim *sim = new_slow_continuous(40 * MS);
        sim_run(sim, begin_of(1) + 1540 * MS); /* the packet sent at 1.5 s is under way */
        sim_client_clock(sim)->offset_ns = steps_ns[i];
        sim_run(sim, begin_of(2)); /* and here one just cut off is waited for */
        sim_client_clock(sim)->offset_ns = 0;
        sim_run(sim, told(3));
        assert_orderly(sim, 4);
        for (size_t r = 0; r < 4; r++) {
            assert_whole(result(sim, r));
            assert_int_equal(result(sim, r)->summary.clock_anomalies, r == 1 ? 1 : 0);
            assert_near(result(sim, r)->summary.rtt.max, 80 * MS, WIRE_NS);
        }
        sim_free(sim);
    }
}

static void reflector_that_warms_up_costs_no_loss(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    config.count = 100;
    config.packet_interval_ns = 100 * MS;
    struct sim *sim = sim_new(&config, 1);
    sim_server(sim)->warm_up_ns = 300 * MS;
    sim_run(sim, told(1));
    const struct tw_measurement *m = result(sim, 0);
    assert_int_equal(m->summary.sent, 97);
    assert_int_equal(m->summary.received, 97);
    assert_int_equal(m->counters.lost, 0);
    assert_false(m->summary.direction_doubtful || m->summary.direction_clamped);
    assert_true((m->quirks & TW_QUIRK_WARM_UP) != 0);
    assert_int_equal(result(sim, 1)->summary.received, 100);
    assert_true((result(sim, 1)->quirks & TW_QUIRK_WARM_UP) == 0);
    sim_free(sim);
}

/* Servers that know of SERVWAIT but not that it does not count while a session is running. */
static void session_is_renewed_before_its_connection_idles_too_long(void **state)
{
    (void)state;
    static const int64_t delays_ns[] = {1 * MS, 100 * MS, 245 * MS};
    for (size_t d = 0; d < sizeof delays_ns / sizeof *delays_ns; d++) {
        struct sim *sim = new_slow_continuous(delays_ns[d]);
        sim_server(sim)->idle_close_ns = 900 * S;
        sim_run(sim, told(299));
        assert_orderly(sim, 300);
        for (size_t i = 1; i < 300; i++) {
            assert_whole(result(sim, i));
            assert_near(result(sim, i)->summary.rtt.max, 2 * (double)delays_ns[d], WIRE_NS);
            assert_false(result(sim, i)->summary.direction_doubtful);
        }
        const struct sim_counts counts = sim_counts(sim);
        assert_int_equal(counts.connections, 1);
        assert_true(counts.sessions > 3 && counts.sessions < 8);
        assert_int_equal(counts.stops, counts.sessions - 1);
        sim_free(sim);
    }
}

/* It comes from where the packets of the old session came from, and takes one of its numbers. */
static void packet_that_meets_the_renewed_session_turns_no_loss_around(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    /* 669 is the old session's last; 677 is overtaken too, in the new one */
    struct script forward = {.lost = LIST(675), .slow = LIST(669, 677), .extra_ns = 1200 * MS};
    obey(sim_forward(sim), &forward);
    sim_run(sim, begin_of(67));
    assert_int_equal(sim_counts(sim).sessions, 1);
    sim_run(sim, told(68));
    assert_int_equal(sim_counts(sim).sessions, 2);
    assert_whole(result(sim, 66));
    const struct tw_summary *s = &result(sim, 67)->summary;
    assert_int_equal(s->lost, 1);
    assert_int_equal(s->received, 9);
    assert_false(is_believed(s));
    assert_true(is_believed(&result(sim, 65)->summary));
    assert_true(is_believed(&result(sim, 68)->summary));
    sim_free(sim);
}

static void session_is_renewed_in_every_mode(void **state)
{
    (void)state;
    static const uint32_t security[] = {TW_MODE_UNAUTHENTICATED, TW_MODE_AUTHENTICATED,
                                        TW_MODE_ENCRYPTED, TW_MODE_MIXED};
    static const uint32_t features[] = {0, TW_MODE_SESSION_CONTROL,
                                        TW_MODE_FEATURES & ~TW_MODE_IKEV2};
    for (size_t i = 0; i < 4 * 3; i++) {
        const uint32_t mode = security[i % 4] | features[i / 4];
        struct tw_probe_config config = continuous_plan();
        config.client.mode = mode & TW_MODE_SECURITY;
        config.client.features = mode & TW_MODE_FEATURES;
        memcpy(config.client.keyid, SIM_KEYID, sizeof SIM_KEYID);
        config.sender.padding_length = TW_PROBE_PADDING_EQUAL;
        struct sim *sim = sim_new(&config, 1);
        sim_server(sim)->config.modes = mode;
        sim_server(sim)->idle_close_ns = 900 * S;
        sim_run(sim, told(139));
        assert_orderly(sim, 140);
        for (size_t r = 0; r < 140; r++) {
            assert_whole(result(sim, r));
            assert_int_equal(result(sim, r)->mode, mode);
        }
        assert_int_equal(sim_counts(sim).connections, 1);
        assert_true(sim_counts(sim).sessions >= 3);
        assert_int_equal(sim_counts(sim).stops, sim_counts(sim).sessions - 1);
        assert_int_equal(sim_counts(sim).bad_packets, 0);
        sim_free(sim);
    }
}

static void idle_limit_is_learnt_from_the_server(void **state)
{
    (void)state;
    struct sim *sim = new_continuous();
    sim_server(sim)->idle_close_ns = 57 * S;
    sim_run(sim, told(99));
    assert_orderly(sim, 100);
    size_t broken = 0;
    for (size_t i = 0; i < 100; i++) {
        const struct tw_measurement *m = result(sim, i);
        assert_int_equal(m->state, TW_MEASUREMENT_OK);
        assert_int_equal(m->summary.lost, 0);
        broken += m->summary.sent < 10;
    }
    assert_int_equal(broken, 2 + 1); /* once is chance; and once it was doubted */
    assert_int_equal(sim_counts(sim).connections, 3 + 1);
    sim_free(sim);
}

static void restarts_at_one_moment_of_the_interval_are_no_idle_limit(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, begin_of(5) + 8 * S);
    sim_kill_server(sim);
    sim_start_server(sim);
    sim_run(sim, begin_of(20) + 8 * S);
    sim_kill_server(sim);
    sim_start_server(sim);
    sim_run(sim, begin_of(120));
    assert_int_equal(sim_counts(sim).connections, 3);
    sim_free(sim);
    sim = new_continuous();
    for (size_t i = 3; i < 10; i += 3) {
        sim_run(sim, begin_of(i) + 100 * MS);
        sim_kill_server(sim);
        sim_start_server(sim);
    }
    sim_run(sim, begin_of(70));
    assert_int_equal(sim_counts(sim).sessions, 4);
    sim_free(sim);
}

static void another_server_has_an_idle_limit_of_its_own(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server(sim)->idle_close_ns = 7094 * MS + 500 * TW_NS_PER_US;
    sim_run(sim, begin_of(10));
    const unsigned before = sim_counts(sim).connections;
    assert_true(before > 6); /* one an interval, once it was learnt */
    sim_server(sim)->idle_close_ns = 0;
    sim_move_server(sim, 2);
    sim_set_name(sim, 2);
    sim_run(sim, begin_of(18));
    const unsigned moved = sim_counts(sim).connections;
    sim_run(sim, begin_of(40));
    assert_int_equal(sim_counts(sim).connections, moved);
    sim_free(sim);
}

static void learnt_idle_limit_is_doubted_after_a_while(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server(sim)->idle_close_ns = 7094 * MS + 500 * TW_NS_PER_US;
    sim_run(sim, begin_of(6));
    sim_server(sim)->idle_close_ns = 0; /* from now on it has none, and nobody tells */
    sim_run(sim, begin_of(40));
    const unsigned connections = sim_counts(sim).connections;
    assert_true(connections > 16 && connections < 30);
    sim_run(sim, begin_of(60));
    assert_int_equal(sim_counts(sim).connections, connections);
    sim_free(sim);
}

static void interval_session_asks_on_no_connection_that_is_about_to_be_closed(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    /* Its end and a request meet on the way: the connection was idle for 7.096 s, and both need 1
     * ms.
     */
    sim_server(sim)->idle_close_ns = 7094 * MS + 500 * TW_NS_PER_US;
    sim_run(sim, after_interval(11));
    const int64_t session_ns = 8 * MS + 9 * 100 * MS + 2 * S; /* on a new connection */
    unsigned delayed = 0;
    for (size_t i = 0; i < 12; i++) {
        const struct tw_measurement *m = result(sim, i);
        const int64_t begun_ns = sim_client_clock(sim)->epoch_ns + begin_of(i);
        assert_clean(m);
        delayed += m->time.ns - begun_ns > session_ns + WIRE_NS;
        if (i > 5)
            assert_near((double)(m->time.ns - begun_ns), (double)session_ns, WIRE_NS);
    }
    assert_int_equal(delayed, 2); /* twice is no chance */
    sim_free(sim);
}

/* 24 days. */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { DAYS = 3 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
enum { DAYS = 3 };
#else
enum { DAYS = 24 };
#endif
#else
enum { DAYS = 24 };
#endif

enum { DAY = 8640 }; /* intervals */

/* Every so many packets one is lost, comes twice, or is late; a prime each, so that they meet
 * every place in an interval. The truth is counted here. */
struct fates {
    uint64_t lost, doubled, slow;
};

static struct sim_fate be_fate(void *user, uint64_t n)
{
    struct fates *fates = user;
    if (n % 997 == 1) {
        fates->lost++;
        return (struct sim_fate){.copies = 0};
    }
    if (n % 1009 == 2) {
        fates->doubled++;
        return (struct sim_fate){.copies = 2};
    }
    if (n % 1013 == 3) {
        fates->slow++;
        return (struct sim_fate){.copies = 1, .extra_ns = 2100 * MS};
    }
    return (struct sim_fate){.copies = 1};
}

/* Octets in use; 0 where nobody knows. */
static size_t allocated(void)
{
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

/* Results come `result_ns` after their intervals' ends at the latest, and are an interval apart,
 * but for `spread_ns`. */
static void run_days(const struct tw_probe_config *config, int64_t result_ns, double spread_ns)
{
    struct sim *sim = sim_new(config, 1);
    /* 2036-02-07 06:28:16 UTC is in the middle of these days, in the middle of an interval. */
    const int64_t epoch_ns =
        INT64_C(2085978496) * S - INT64_C(86400) * S * DAYS / 2 - 6 * S - 1 * MS;
    sim_client_clock(sim)->epoch_ns = epoch_ns;
    sim_server_clock(sim)->epoch_ns = epoch_ns;
    struct fates fates = {.lost = 0};
    sim_forward(sim)->fate = be_fate;
    sim_forward(sim)->user = &fates;
    struct tw_measurement last = {.begun = {0}};
    size_t allocated_first = 0;
    for (int64_t day = 1; day <= DAYS; day++) {
        sim_run(sim, begin_of((size_t)day * DAY) + result_ns);
        assert_int_equal(results(sim), DAY);
        for (size_t i = 0; i < DAY; i++) {
            const struct tw_measurement *m = result(sim, i);
            if (last.begun.ns != 0) {
                assert_int_equal(m->begun.ns - last.begun.ns, 10 * S);
                assert_near((double)(m->time.ns - last.time.ns), 10 * S, spread_ns);
            }
            assert_int_equal(m->state, TW_MEASUREMENT_OK);
            assert_int_equal(m->summary.sent, 10);
            assert_near(m->summary.rtt.min, 2 * MS, WIRE_NS);
            assert_near(m->summary.forward.mean, 1 * MS, WIRE_NS);
            assert_int_equal(m->summary.clock_anomalies, 0);
            last = *m;
        }
        sim_forget_measurements(sim);
        assert_true(sim_counts(sim).live_sessions <= 2);
        if (day == 1)
            allocated_first = allocated();
        assert_true(allocated() <= allocated_first + 1024); /* a packet or two on their way */
    }
    /* Nobody may be doubled or late whose result is not told yet. */
    assert_int_equal(last.counters.sent, 10 * DAY * DAYS);
    assert_int_equal(last.counters.lost, fates.lost + fates.slow);
    assert_int_equal(last.counters.late, fates.slow);
    assert_int_equal(last.counters.duplicate, fates.doubled);
    assert_int_equal(last.counters.received, last.counters.sent - last.counters.lost);
    assert_true(fates.lost > 0 && fates.doubled > 0 && fates.slow > 0);
    assert_int_equal(sim_counts(sim).connections, 1);
    sim_free(sim);
}

static void days_of_a_continuous_session_stay_exact(void **state)
{
    (void)state;
    const struct tw_probe_config config = continuous_plan();
    run_days(&config, 2 * S, 0);
}

static void days_of_interval_sessions_stay_exact(void **state)
{
    (void)state;
    const struct tw_probe_config config = plan();
    run_days(&config, -1 * MS, 5 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_path_is_measured_exactly_by_one_session),
        cmocka_unit_test(results_are_final_one_interval_apart),
        cmocka_unit_test(packets_leave_in_the_middle_of_equal_parts),
        cmocka_unit_test(loss_keeps_its_direction_across_the_cut),
        cmocka_unit_test(overtaking_across_the_cut_turns_no_loss_around),
        cmocka_unit_test(random_overtaking_turns_no_loss_around),
        cmocka_unit_test(duplicates_and_reordering_belong_to_the_packets_interval),
        cmocka_unit_test(late_reply_counts_to_the_interval_of_its_packet),
        cmocka_unit_test(reply_after_the_result_only_moves_the_counter),
        cmocka_unit_test(packets_under_way_at_the_cut_are_measured),
        cmocka_unit_test(random_paths_are_counted_right),
        cmocka_unit_test(killed_server_ends_the_interval_and_comes_back_within_two),
        cmocka_unit_test(server_that_comes_back_in_mid_interval_is_measured_for_the_rest),
        cmocka_unit_test(server_that_was_restarted_unseen_is_found_out_by_its_silence),
        cmocka_unit_test(session_without_its_control_connection_goes_on),
        cmocka_unit_test(silent_path_is_told_and_tried_anew_each_interval),
        cmocka_unit_test(every_refusal_is_told_and_recovered_from),
        cmocka_unit_test(server_that_closes_in_mid_session_is_measured_until_then),
        cmocka_unit_test(server_that_closes_once_started_is_not_stormed),
        cmocka_unit_test(close_at_every_octet_of_the_control_stream_is_survived),
        cmocka_unit_test(silence_at_every_octet_of_the_control_stream_ends_as_silent),
        cmocka_unit_test(slow_set_up_goes_on_across_intervals),
        cmocka_unit_test(moved_name_is_followed_at_the_next_cut),
        cmocka_unit_test(stepped_clock_spoils_only_the_samples_it_hits),
        cmocka_unit_test(reflector_that_warms_up_costs_no_loss),
        cmocka_unit_test(session_is_renewed_before_its_connection_idles_too_long),
        cmocka_unit_test(packet_that_meets_the_renewed_session_turns_no_loss_around),
        cmocka_unit_test(session_is_renewed_in_every_mode),
        cmocka_unit_test(idle_limit_is_learnt_from_the_server),
        cmocka_unit_test(restarts_at_one_moment_of_the_interval_are_no_idle_limit),
        cmocka_unit_test(another_server_has_an_idle_limit_of_its_own),
        cmocka_unit_test(learnt_idle_limit_is_doubted_after_a_while),
        cmocka_unit_test(interval_session_asks_on_no_connection_that_is_about_to_be_closed),
        cmocka_unit_test(days_of_a_continuous_session_stay_exact),
        cmocka_unit_test(days_of_interval_sessions_stay_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
