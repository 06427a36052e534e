/* lib/stats.h where clocks are wrong: steps of our own, timestamps of the reflector that contradict
 * one another, and when one-way delays are to be believed (RFC 7679). */
#include "stats_rig.h"

static void check_round_trips_are_whole(void)
{
    assert_int_equal(summary.rtt.n, summary.received);
    assert_true(summary.rtt.min == summary.rtt_total.min);
    assert_true(summary.rtt.mean == summary.rtt_total.mean);
    assert_true(summary.rtt.max == summary.rtt_total.max);
    assert_true(summary.rtt.stddev == summary.rtt_total.stddev);
    assert_true(summary.rtt.p50 == summary.rtt_total.p50);
    assert_true(summary.rtt.p95 == summary.rtt_total.p95);
    assert_true(summary.rtt.p99 == summary.rtt_total.p99);
    assert_int_equal(summary.processing.n, 0);
    assert_true(isnan(summary.processing.mean) && isnan(summary.processing.max));
}

/* T2 and T3 as told, T4 as ever: both ways take 5 ms and the reflector 100 us. */
static struct tw_sample reflected(uint32_t s, int64_t t2_late_ns, int64_t t3_late_ns)
{
    struct tw_sample sample = reply(s, s, 5 * MS, 5 * MS);
    sample.t2.ns += t2_late_ns;
    sample.t3.ns += MS / 10 - 100 + t3_late_ns;
    sample.t4.ns += MS / 10 - 100;
    tw_sample_compute(&sample, TW_NS_PER_US, 0);
    return sample;
}

/* Nor do those of the others change. */
static void packets_with_contradictory_timestamps_have_no_delay(void **state)
{
    (void)state;
    static const int64_t lates[][2] = {
        {200000, 0},            /* T3 before T2 */
        {0, -10 * TW_NS_PER_S}, /* stepped while it had the packet */
        {0, 10 * TW_NS_PER_S},  /* the other way */
        {-10 * TW_NS_PER_S, 0},
        {10 * TW_NS_PER_S, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(lates); i++) {
        begin_stateful();
        for (uint32_t s = 0; s < 10; s++)
            feed(s == 3 || s == 9 ? reflected(s, lates[i][0], lates[i][1]) : reflected(s, 0, 0));
        finish(10);
        assert_int_equal(summary.received, 10);
        assert_int_equal(summary.clock_anomalies, 2);
        assert_false(summary.clock_stepped);
        assert_int_equal(summary.rtt.n, 8);
        assert_int_equal(summary.rtt_total.n, 8);
        assert_true(summary.rtt.min == 10e6 && summary.rtt.max == 10e6 && summary.rtt.p99 == 10e6);
        assert_true(summary.rtt_total.max == 10.1e6 && summary.processing.max == 1e5);
        assert_true(summary.forward.min == 1005e6 && summary.forward.max == 1005e6);
        assert_true(summary.reverse.min == -995e6 && summary.reverse.max == -995e6);
        assert_int_equal(summary.rtt_variation.pairs, 6); /* 3-4 and 8-9 are none, nor is 2-3 */
        assert_true(summary.reverse_variation.jitter == 0 && summary.rtt_variation.pdv_p95 == 0);
        assert_true(summary.offset_estimate == 1e9);
        assert_false(summary.one_way_valid);
    }
}

static void reply_without_a_receive_timestamp_leaves_the_processing_in_all_round_trips(void **state)
{
    (void)state;
    begin_stateful();
    for (uint32_t s = 0; s < 10; s++) {
        struct tw_sample sample = reflected(s, s % 2 == 1 ? MS / 10 : 0, 0);
        sample.flags |= s % 2 == 1 ? TW_SAMPLE_NO_RECEIVE : 0;
        feed(sample);
    }
    finish(10);
    check_round_trips_are_whole();
    assert_true(summary.rtt.min == 10.1e6 && summary.rtt_variation.jitter == 0);
}

/* By our wall clock, which is `ahead_ns` ahead of what it was at first. */
static struct tw_sample by_stepped_clock(struct tw_sample sample, int64_t ahead_ns)
{
    sample.t1.ns += ahead_ns;
    sample.t4.ns += ahead_ns;
    sample.clock_offset_ns = INT64_C(1700000000) * TW_NS_PER_S + ahead_ns;
    tw_sample_compute(&sample, 0, 0);
    return sample;
}

/* To be blind would be worse than to count the time in the reflector. */
static void contradictions_only_leave_the_processing_in_all_round_trips(void **state)
{
    (void)state;
    begin_stateful();
    for (uint32_t s = 0; s < 4; s++)
        feed(reflected(s, 0, -MS));
    finish(4);
    check_round_trips_are_whole();
    assert_int_equal(summary.clock_anomalies, 4);
    assert_true(summary.rtt.mean == 10.1e6 && summary.rtt.p99 == 10.1e6);
    assert_int_equal(summary.rtt_variation.pairs, 3);
    assert_true(summary.rtt_variation.jitter == 0);
    assert_true(summary.forward.mean == 1005e6 && summary.reverse.mean == 10.1e6 - 1005e6);
    assert_true(isnan(summary.offset_estimate));
    assert_false(summary.one_way_valid);
}

/* Whatever they were, before and behind the window. */
static void contradictions_count_for_nothing_once_there_is_another_reply(void **state)
{
    (void)state;
    for (uint32_t good = 0; good < 100; good += 9) {
        begin((struct tw_stats_config){.stateful = true, .capacity = 8, .histograms = histograms});
        for (uint32_t s = 0; s < 100; s++)
            feed(s % 9 == good % 9 && s >= good
                     ? reflected(s, 0, 0)
                     : by_stepped_clock(reflected(s, 3 * MS, -MS - s), 2 * MS * s));
        finish(100);
        assert_int_equal(summary.rtt.n, 12 - good / 9);
        assert_int_equal(summary.clock_anomalies, 88 + good / 9);
        assert_true(summary.rtt.min == 10e6 && summary.rtt.max == 10e6 && summary.rtt.p95 == 10e6);
        assert_true(summary.processing.max == 1e5 && summary.rtt_total.p50 == 10.1e6);
        assert_true(summary.forward.max == 1005e6 && summary.reverse.min == -995e6);
        assert_int_equal(summary.rtt_variation.pairs, 0);
        assert_true(isnan(summary.rtt_variation.jitter) && summary.offset_estimate == 1e9);
        assert_false(summary.clock_stepped);
    }
}

/* Late ones and copies have no delay anyway. */
static void contradiction_of_a_late_reply_or_a_copy_is_no_anomaly(void **state)
{
    (void)state;
    begin_stateful();
    feed(reflected(0, 0, 0));
    feed(reflected(0, 0, -MS));
    struct tw_sample late = reflected(1, 0, -MS);
    late.flags |= TW_SAMPLE_LATE;
    feed(late);
    finish(2);
    assert_int_equal(summary.clock_anomalies, 0);
    assert_true(summary.rtt.mean == 10e6 && summary.processing.mean == 1e5);
}

static void contradiction_has_no_delay_beyond_the_window_either(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = true, .capacity = 8, .histograms = histograms});
    for (uint32_t s = 0; s < 1000; s++)
        feed(reflected(s, 0, s == 500 ? -MS : 0));
    finish(1000);
    assert_int_equal(summary.rtt.n, 999);
    assert_int_equal(summary.rtt_variation.pairs, 997);
    assert_true(summary.rtt.min == 10e6 && summary.rtt.max == 10e6);
    assert_true(summary.rtt_variation.jitter == 0 && summary.rtt_variation.pdv_p95 == 0);
    assert_true(summary.reverse.p50 == -995e6 && summary.reverse_variation.jitter == 0);
}

static void step_of_our_clock_is_no_variation_of_the_path(void **state)
{
    (void)state;
    static const int64_t steps[] = {MS + 1, -MS - 1, 20 * MS, 3 * TW_NS_PER_S, -3 * TW_NS_PER_S};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        begin((struct tw_stats_config){.stateful = true, .capacity = 8, .histograms = histograms});
        for (uint32_t s = 0; s < 20; s++) /* and back again */
            feed(
                by_stepped_clock(reply(s, s, 5 * MS + s, 6 * MS), s >= 4 && s < 16 ? steps[i] : 0));
        finish(20);
        assert_true(summary.forward.min == 1005e6 && summary.forward.max == 1005e6 + 19);
        assert_true(summary.reverse.min == -994e6 && summary.reverse.max == -994e6);
        assert_true(summary.forward_variation.jitter == 1);
        assert_true(summary.reverse_variation.jitter == 0);
        assert_true(summary.forward_variation.pdv_p95 <= 19);
        assert_true(summary.reverse_variation.pdv_p95 == 0);
        assert_true(summary.rtt.min == 11e6 && summary.rtt_variation.jitter == 1);
        assert_true(summary.offset_estimate == (1005e6 + 994e6) / 2);
        assert_true(summary.clock_stepped);
        assert_int_equal(summary.clock_anomalies, 0);
    }
}

static void packet_beyond_the_window_goes_by_the_first_clock_too(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = true, .capacity = 8, .histograms = histograms});
    feed(by_stepped_clock(reply(20, 0, 5 * MS, 6 * MS), 0));
    feed(by_stepped_clock(reply(2, 1, 5 * MS, 6 * MS), -TW_NS_PER_S));
    finish(21);
    assert_int_equal(summary.forward.n, 2);
    assert_true(summary.forward.min == 1005e6 && summary.forward.max == 1005e6);
    assert_true(summary.forward.p95 == 1005e6 && summary.reverse.p50 == -994e6);
}

/* Both clocks are not read at one moment: that is not taken for a step. */
static void clocks_read_apart_were_not_stepped(void **state)
{
    (void)state;
    begin_stateful();
    for (uint32_t s = 0; s < 3; s++) {
        struct tw_sample sample = reply(s, s, 5 * MS, 6 * MS);
        sample.clock_offset_ns = s == 1 ? MS : s == 2 ? -MS : 0;
        feed(sample);
    }
    finish(3);
    assert_true(summary.forward.min == 1005e6 && summary.forward.max == 1005e6);
    assert_true(summary.forward_variation.jitter == 0);
    assert_false(summary.clock_stepped);
}

/* A packet that was under way does not say by which clock the others go. */
static void packet_under_way_at_a_step_is_no_reference(void **state)
{
    (void)state;
    begin_stateful();
    struct tw_sample hit = by_stepped_clock(reply(0, 0, 5 * MS, 6 * MS), 0);
    tw_sample_compute(&hit, 0, 3 * TW_NS_PER_S);
    feed(hit);
    for (uint32_t s = 1; s < 4; s++)
        feed(by_stepped_clock(reply(s, s, 5 * MS, 6 * MS), 3 * TW_NS_PER_S));
    finish(4);
    assert_int_equal(summary.clock_anomalies, 1);
    assert_true(summary.clock_stepped);
    assert_true(summary.forward.min == -1995e6 && summary.forward.max == -1995e6);
}

static struct tw_sample synchronized(uint32_t s, int64_t error_ns)
{
    struct tw_sample sample = reply(s, s, 5 * MS - TW_NS_PER_S, 6 * MS + TW_NS_PER_S);
    sample.local_synchronized = sample.remote_synchronized = true;
    sample.error_ns = error_ns;
    return sample;
}

static void one_way_delays_are_valid_above_their_error_only(void **state)
{
    (void)state;
    static const struct {
        int64_t errors[2];
        bool local, remote, valid;
    } cases[] = {
        {{MS, 5 * MS - 1}, true, true, true}, {{MS, 5 * MS}, true, true, false},
        {{MS, -1}, true, true, false},        {{-1, -1}, true, true, false},
        {{MS, MS}, false, true, false},       {{MS, MS}, true, false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin_stateful();
        feed(synchronized(0, cases[i].errors[0]));
        struct tw_sample sample = synchronized(1, cases[i].errors[1]);
        sample.local_synchronized = cases[i].local;
        sample.remote_synchronized = cases[i].remote;
        feed(sample);
        finish(2);
        assert_true(summary.forward.mean == 5e6);
        assert_int_equal(summary.one_way_valid, cases[i].valid);
        int64_t largest =
            cases[i].errors[0] > cases[i].errors[1] ? cases[i].errors[0] : cases[i].errors[1];
        if (largest < 0)
            assert_true(isnan(summary.clock_error));
        else
            assert_true(summary.clock_error == (double)largest);
        assert_int_equal(summary.local_synchronized, cases[i].local);
        assert_int_equal(summary.remote_synchronized, cases[i].remote);
    }
}

/* All replies but the last have a forward delay of `first` microseconds and that one of `last`,
 * their reverse delay is the other one of 40 in all. True if the one-way delays are valid with an
 * error of `error` microseconds. */
static bool is_valid(int64_t first, int64_t last, int64_t error)
{
    begin_stateful();
    for (uint32_t s = 0; s < 4; s++) {
        const int64_t forward_ns = (s < 3 ? first : last) * TW_NS_PER_US;
        struct tw_sample sample =
            reply(s, s, forward_ns - TW_NS_PER_S, 40 * TW_NS_PER_US - forward_ns + TW_NS_PER_S);
        sample.local_synchronized = sample.remote_synchronized = true;
        sample.error_ns = error * TW_NS_PER_US;
        feed(sample);
    }
    finish(4);
    return summary.one_way_valid;
}

static void one_way_delays_are_valid_if_both_averages_are_above_the_error(void **state)
{
    (void)state;
    assert_true(is_valid(20, 20, 19));
    assert_false(is_valid(20, 20, 20));
    assert_true(is_valid(15, 15, 14));
    assert_false(is_valid(15, 15, 15)); /* forward alone is below */
    assert_true(is_valid(25, 25, 14));
    assert_false(is_valid(25, 25, 15)); /* reverse alone is */
    /* a single delay below the error is none below zero: averages 16 and 24, 24 and 16 */
    assert_true(is_valid(20, 4, 15));
    assert_true(is_valid(20, 36, 15));
    assert_false(is_valid(20, 4, 16));
    assert_false(is_valid(20, 36, 16));
}

/* Averages 11 and 29, or 29 and 11, with a single delay of -10. */
static void single_delay_below_minus_the_error_makes_both_ways_invalid(void **state)
{
    (void)state;
    assert_true(is_valid(18, -10, 10));
    assert_false(is_valid(18, -10, 9));
    assert_true(is_valid(22, 50, 10));
    assert_false(is_valid(22, 50, 9));
}

/* Each alone, of delays that are valid without it. */
static void clocks_that_show_a_fault_are_not_believed(void **state)
{
    (void)state;
    for (unsigned fault = 0; fault < 4; fault++) {
        begin_stateful();
        for (uint32_t s = 0; s < 4; s++) {
            struct tw_sample sample = synchronized(s, MS);
            if (fault == 1 && s == 2)
                sample = by_stepped_clock(sample, 2 * MS);
            else
                sample.clock_offset_ns = INT64_C(1700000000) * TW_NS_PER_S;
            if (fault == 2 && s == 2)
                sample.flags |= TW_SAMPLE_ANOMALY;
            if (fault == 3 && s == 2)
                sample.flags |= TW_SAMPLE_CONTRADICTORY;
            feed(sample);
        }
        finish(4);
        assert_true(summary.forward.min == 5e6 && summary.forward.max == 5e6);
        assert_int_equal(summary.one_way_valid, fault == 0);
        assert_int_equal(summary.clock_stepped, fault == 1 || fault == 2);
    }
}

/* Then one of the clocks is wrong, whatever both claim. */
static void one_way_delay_below_minus_its_error_is_not_valid(void **state)
{
    (void)state;
    for (unsigned ahead = 0; ahead < 2; ahead++) {
        const int64_t offset_ns = ahead != 0 ? 10 * TW_NS_PER_S : -10 * TW_NS_PER_S;
        begin_stateful();
        for (uint32_t i = 0; i < 10; i++) {
            struct tw_sample sample = synchronized(i, 2 * MS);
            sample.forward_ns += offset_ns;
            sample.reverse_ns -= offset_ns;
            feed(sample);
        }
        finish(10);
        assert_true(summary.clock_error == 2e6);
        assert_false(summary.one_way_valid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_with_contradictory_timestamps_have_no_delay),
        cmocka_unit_test(
            reply_without_a_receive_timestamp_leaves_the_processing_in_all_round_trips),
        cmocka_unit_test(contradictions_only_leave_the_processing_in_all_round_trips),
        cmocka_unit_test(contradictions_count_for_nothing_once_there_is_another_reply),
        cmocka_unit_test(contradiction_of_a_late_reply_or_a_copy_is_no_anomaly),
        cmocka_unit_test(contradiction_has_no_delay_beyond_the_window_either),
        cmocka_unit_test(step_of_our_clock_is_no_variation_of_the_path),
        cmocka_unit_test(packet_beyond_the_window_goes_by_the_first_clock_too),
        cmocka_unit_test(clocks_read_apart_were_not_stepped),
        cmocka_unit_test(packet_under_way_at_a_step_is_no_reference),
        cmocka_unit_test(one_way_delays_are_valid_above_their_error_only),
        cmocka_unit_test(one_way_delays_are_valid_if_both_averages_are_above_the_error),
        cmocka_unit_test(single_delay_below_minus_the_error_makes_both_ways_invalid),
        cmocka_unit_test(clocks_that_show_a_fault_are_not_believed),
        cmocka_unit_test(one_way_delay_below_minus_its_error_is_not_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
