/* lib/stats.h, delays and all but loss and order: the vectors of the RFCs, sessions without
 * figures, clocks, and what happens when a session outgrows its window. Random sessions are in
 * test_stats_random. */
#include "stats_rig.h"

static void check_unknown(const struct tw_summary *s)
{
    check_no_delays(s);
    assert_true(isnan(s->hops_forward) && isnan(s->hops_reverse));
    assert_true(isnan(s->dscp_forward) && isnan(s->dscp_reverse));
    assert_true(isnan(s->clock_error));
    assert_false(s->any_sample);
    assert_false(s->direction_known);
    assert_false(s->reordered_direction_known);
    assert_false(s->reordered_forward_known);
    assert_false(s->local_synchronized || s->remote_synchronized);
    assert_int_equal(s->lost_forward + s->lost_reverse + s->lost_undecided, 0);
    assert_int_equal(s->received + s->duplicates + s->late + s->reordered, 0);
}

static void session_that_never_was_has_no_figures(void **state)
{
    (void)state;
    tw_summary_none(&summary);
    check_unknown(&summary);
    assert_int_equal(summary.sent + summary.lost, 0);
}

static void nothing_sent_is_nothing_known(void **state)
{
    (void)state;
    begin_stateful();
    finish(0);
    check_unknown(&summary);
    assert_int_equal(summary.sent + summary.lost, 0);
}

static void no_answer_is_all_lost_without_direction(void **state)
{
    (void)state;
    begin_stateful();
    finish(10);
    check_unknown(&summary);
    assert_int_equal(summary.sent, 10);
    assert_int_equal(summary.lost, 10);
}

/* RFC 5481 section 4: delays 20, 10, 20, 25, 20 have IPDV -10, 10, 5, -5 and PDV 10, 0, 10, 15, 10.
 */
static void variation_of_rfc_5481_is_reproduced(void **state)
{
    (void)state;
    static const int64_t delays[] = {20, 10, 20, 25, 20};
    begin_stateful();
    for (uint32_t s = 0; s < ARRAY_SIZE(delays); s++)
        feed(reply(s, s, delays[s], 7));
    finish(5);
    assert_int_equal(summary.forward_variation.pairs, 4);
    assert_true(summary.forward_variation.jitter == 7.5);
    assert_true(summary.forward_variation.pdv_p95 == 15);
    assert_true(summary.rtt_variation.jitter == 7.5);
    assert_true(summary.rtt_variation.pdv_p95 == 15);
    assert_true(summary.reverse_variation.jitter == 0);
    assert_true(summary.reverse_variation.pdv_p95 == 0);
    assert_true(summary.forward.p50 == 1e9 + 20);
    assert_true(summary.rtt.min == 17 && summary.rtt.max == 32);
}

/* RFC 5481, delays 3, 4, five lost, 5, 4, 3: IPDV 1, -1, -1 and PDV 0, 1, 2, 1, 0. */
static void lost_packet_has_no_variation(void **state)
{
    (void)state;
    static const struct {
        uint32_t s;
        int64_t delay;
    } answered[] = {{0, 3}, {1, 4}, {7, 5}, {8, 4}, {9, 3}};
    begin_stateful();
    for (uint32_t i = 0; i < ARRAY_SIZE(answered); i++)
        feed(reply(answered[i].s, i, 50, answered[i].delay));
    finish(10);
    assert_int_equal(summary.reverse_variation.pairs, 3);
    assert_true(summary.reverse_variation.jitter == 1);
    assert_true(summary.reverse_variation.pdv_p95 == 2);
    check_loss(5, 5, 0, 0);
}

static void variation_is_in_order_of_sending(void **state)
{
    (void)state;
    begin_stateful();
    static const uint32_t arrivals[] = {0, 2, 1, 3};
    for (uint32_t i = 0; i < 4; i++)
        feed(reply(arrivals[i], arrivals[i], 1000 + 10 * arrivals[i], 50));
    finish(4);
    assert_int_equal(summary.forward_variation.pairs, 3);
    assert_true(summary.forward_variation.jitter == 10);
}

static void single_sample_has_percentiles_but_no_deviation(void **state)
{
    (void)state;
    begin_stateful();
    feed(reply(0, 0, 3 * MS, 4 * MS));
    finish(1);
    assert_int_equal(summary.rtt.n, 1);
    assert_true(summary.rtt.p50 == 7e6 && summary.rtt.p95 == 7e6 && summary.rtt.p99 == 7e6);
    assert_true(summary.rtt_total.mean == 7e6 + 100 && summary.processing.max == 100);
    assert_true(isnan(summary.rtt.stddev));
    assert_true(isnan(summary.rtt_variation.jitter));
    assert_true(summary.rtt_variation.pdv_p95 == 0);
}

static void impossible_delay_counts_for_loss_and_order_only(void **state)
{
    (void)state;
    begin_stateful();
    feed_flagged(0, 0, 0);
    feed_flagged(2, 2, TW_SAMPLE_ANOMALY);
    feed_flagged(1, 1, 0);
    feed_flagged(3, 3, 0);
    finish(4);
    assert_int_equal(summary.received, 4);
    assert_int_equal(summary.lost, 0);
    assert_int_equal(summary.clock_anomalies, 1);
    assert_int_equal(summary.reordered, 1);
    assert_int_equal(summary.rtt.n, 3);
    assert_int_equal(summary.rtt_variation.pairs, 1);
}

static void anomalies_only_leave_the_delays_unknown(void **state)
{
    (void)state;
    begin_stateful();
    feed_flagged(0, 0, TW_SAMPLE_ANOMALY);
    feed_flagged(0, 0, TW_SAMPLE_ANOMALY);
    finish(1);
    check_no_delays(&summary);
    assert_int_equal(summary.received, 1);
    assert_int_equal(summary.clock_anomalies, 1);
    assert_int_equal(summary.duplicates, 1);
}

static void processing_without_a_receive_timestamp_is_unknown_not_zero(void **state)
{
    (void)state;
    begin_stateful();
    feed(reply(0, 0, MS, MS));
    feed_flagged(1, 1, TW_SAMPLE_NO_RECEIVE);
    finish(2);
    assert_int_equal(summary.received, 2);
    assert_int_equal(summary.rtt.n, 2);
    assert_int_equal(summary.processing.n, 0);
    assert_true(isnan(summary.processing.mean) && isnan(summary.processing.p50));
}

static void check_no_variation(const struct tw_variation *variation)
{
    assert_int_equal(variation->pairs, 0);
    assert_true(isnan(variation->jitter) && isnan(variation->pdv_p95));
}

/* What is left of one direction, and of what needs both. */
static void check_withheld(bool forward, bool reverse)
{
    assert_int_equal(summary.rtt.n, 3);
    assert_true(summary.rtt.mean == summary.rtt_total.mean);
    assert_int_equal(summary.rtt_variation.pairs, 2);
    assert_int_equal(summary.processing.n, 0);
    assert_true(isnan(summary.processing.mean));
    assert_int_equal(summary.forward.n, forward ? 0 : 3);
    assert_int_equal(isnan(summary.forward.mean), forward);
    assert_int_equal(isnan(summary.forward_variation.jitter), forward);
    if (forward)
        check_no_variation(&summary.forward_variation);
    assert_int_equal(summary.reverse.n, reverse ? 0 : 3);
    assert_int_equal(isnan(summary.reverse.p50), reverse);
    assert_int_equal(isnan(summary.reverse_variation.pdv_p95), reverse);
    if (reverse)
        check_no_variation(&summary.reverse_variation);
    assert_int_equal(isnan(summary.clock_error), reverse);
    assert_true(isnan(summary.offset_estimate));
    assert_false(summary.one_way_valid);
}

/* Claims that would make one-way delays valid. */
static struct tw_sample trusted(uint32_t s)
{
    struct tw_sample sample = reply(s, s, 5 * MS, 5 * MS);
    sample.error_ns = 1;
    sample.local_synchronized = sample.remote_synchronized = true;
    return sample;
}

static void delays_without_their_timestamp_are_unknown(void **state)
{
    (void)state;
    static const unsigned flags[] = {TW_SAMPLE_NO_RECEIVE, TW_SAMPLE_NO_TRANSMIT,
                                     TW_SAMPLE_NO_RECEIVE | TW_SAMPLE_NO_TRANSMIT};
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        begin_stateful();
        for (uint32_t s = 0; s < 3; s++) {
            struct tw_sample sample = trusted(s);
            if (flags[i] == TW_SAMPLE_NO_RECEIVE)
                sample.t2 = sample.t3;
            else
                sample.t3 = sample.t2;
            sample.flags = flags[i];
            tw_sample_compute(&sample, 0, 0);
            feed(sample);
        }
        finish(3);
        check_withheld((flags[i] & TW_SAMPLE_NO_RECEIVE) != 0,
                       (flags[i] & TW_SAMPLE_NO_TRANSMIT) != 0);
    }
}

/* Three replies of a reflector whose clock stands. */
static void feed_standing_clock(void)
{
    for (uint32_t s = 0; s < 3; s++) {
        struct tw_sample sample = trusted(s);
        sample.t2.ns = sample.t3.ns = 42 * TW_NS_PER_S;
        tw_sample_compute(&sample, 0, 0);
        feed(sample);
    }
    finish(3);
}

static void delays_by_a_clock_that_stands_are_unknown(void **state)
{
    (void)state;
    begin_stateful();
    feed_standing_clock();
    check_withheld(true, true);
    assert_true(summary.rtt.mean == 10e6 + 100);
    assert_true(summary.rtt_variation.jitter == 0);
}

/* Whatever they make of the processing: more than the round trip or less than nothing. */
static void single_timestamp_that_stands_costs_what_needs_it_alone(void **state)
{
    (void)state;
    static const int64_t stands_ns[] = {0, 42 * TW_NS_PER_S};
    for (unsigned i = 0; i < 3 * ARRAY_SIZE(stands_ns); i++) {
        const bool receive = i % 3 != 1;
        const bool transmit = i % 3 != 0;
        begin_stateful();
        for (uint32_t s = 0; s < 3; s++) {
            struct tw_sample sample = trusted(s);
            if (receive)
                sample.t2.ns = stands_ns[i / 3];
            if (transmit)
                sample.t3.ns = stands_ns[i / 3] + 50;
            tw_sample_compute(&sample, 0, 0);
            feed(sample);
        }
        finish(3);
        check_withheld(receive, transmit);
        assert_true(summary.rtt.mean == 10e6 + 100 && summary.rtt_variation.jitter == 0);
        if (!receive)
            assert_true(summary.forward.mean == 1e9 + 5e6);
        if (!transmit)
            assert_true(summary.reverse.mean == -1e9 + 5e6 && summary.reverse.stddev == 0);
    }
}

static void delays_by_a_clock_that_moved_since_earlier_sessions_are_known(void **state)
{
    (void)state;
    struct tw_reflector_clock clock = {0};
    struct tw_sample before = trusted(0);
    before.t2.ns = before.t3.ns = 41 * TW_NS_PER_S;
    tw_reflector_clock_add(&clock, &before);
    begin((struct tw_stats_config){.stateful = true, .clock = &clock});
    feed_standing_clock();
    assert_int_equal(summary.forward.n, 3);
    assert_int_equal(summary.reverse.n, 3);
    assert_true(summary.clock_error == 1);
}

static struct tw_sample reply_at_once(uint32_t s)
{
    struct tw_sample sample = reply(s, s, MS, MS);
    sample.t3 = sample.t2;
    sample.t4.ns = sample.t3.ns - TW_NS_PER_S + MS;
    tw_sample_compute(&sample, 0, 0);
    return sample;
}

/* Nobody sends a packet back at the very moment at which it came. */
static void one_time_for_arrival_and_departure_leaves_the_processing_unknown(void **state)
{
    (void)state;
    begin_stateful();
    feed(reply_at_once(0));
    feed(reply_at_once(1));
    finish(2);
    assert_int_equal(summary.rtt.n, 2);
    assert_int_equal(summary.processing.n, 0);
    assert_true(isnan(summary.processing.mean) && isnan(summary.processing.max));
    assert_true(summary.rtt.mean == 2e6 && summary.rtt_total.mean == 2e6);

    begin_stateful(); /* a coarse clock is not that */
    feed(reply_at_once(0));
    feed(reply(1, 1, MS, MS));
    finish(2);
    assert_int_equal(summary.processing.n, 2);
    assert_true(summary.processing.mean == 50);
}

static void first_copy_gives_the_delay(void **state)
{
    (void)state;
    begin_stateful();
    feed(reply(0, 0, 5 * MS, 5 * MS));
    feed(reply(0, 0, 5 * MS, 500 * MS));
    finish(1);
    assert_true(summary.rtt.max == 10e6);
}

static void offset_is_taken_at_the_least_round_trip(void **state)
{
    (void)state;
    begin_stateful();
    feed(reply(0, 0, 40 * MS, 5 * MS));
    feed(reply(1, 1, 5 * MS, 7 * MS)); /* 1 s ahead, less half of the 2 ms of asymmetry */
    feed(reply(2, 2, 6 * MS, 90 * MS));
    finish(3);
    assert_true(summary.offset_estimate == 999e6);
}

static void path_is_told_by_the_samples(void **state)
{
    (void)state;
    begin_stateful();
    struct tw_sample sample = reply(0, 0, MS, MS);
    sample.sender_ttl = 250;
    sample.ttl = 249;
    sample.sender_tos = 0xb8;
    sample.tos = 0;
    sample.transmit_source = TW_SOURCE_KERNEL;
    sample.receive_source = TW_SOURCE_USER;
    feed(sample);
    finish(1);
    assert_true(summary.hops_forward == 5 && summary.hops_reverse == 6);
    assert_true(summary.dscp_forward == 46 && summary.dscp_reverse == 0);
    assert_true(summary.any_sample);
    assert_int_equal(summary.transmit_source, TW_SOURCE_KERNEL);
    assert_int_equal(summary.receive_source, TW_SOURCE_USER);
}

static void neighbours_stay_neighbours_where_the_numbers_wrap(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = true,
                                   .first_sequence = UINT32_MAX - 20,
                                   .capacity = 16,
                                   .base_from_first = true,
                                   .histograms = histograms});
    for (uint32_t i = 0; i < 50; i++)
        feed(reply(UINT32_MAX - 20 + i, UINT32_MAX - 30 + i, 5 * MS + i % 2, 5 * MS));
    finish(50);
    assert_int_equal(summary.received, 50);
    assert_int_equal(summary.rtt_variation.pairs, 49);
    assert_true(summary.rtt_variation.jitter == 1);
    assert_int_equal(summary.reordered, 0);
    check_loss(0, 0, 0, 0);
}

static void session_beyond_its_window_without_histograms_has_no_percentiles(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = true, .capacity = 8});
    for (uint32_t i = 0; i < 9; i++)
        feed(reply(i, i, 5 * MS + i, 5 * MS));
    finish(9);
    assert_true(isnan(summary.rtt.p50) && isnan(summary.rtt_variation.pdv_p95));
    assert_true(summary.rtt.mean == 10e6 + 4);
    assert_true(summary.rtt_variation.jitter == 1);
    assert_false(summary.reordered_direction_known);

    /* a window that moved over nothing but loss has lost nothing */
    begin((struct tw_stats_config){.stateful = true, .capacity = 8});
    for (uint32_t i = 0; i < 8; i++)
        feed(reply(100 + i, i, 5 * MS + i, 5 * MS));
    finish(108);
    assert_true(summary.rtt.p50 == 10e6 + 3);
    assert_true(summary.reordered_direction_known);
    check_loss(100, 100, 0, 0);
}

static void reply_to_a_packet_beyond_the_window_is_taken_at_its_word(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = true, .capacity = 8, .histograms = histograms});
    feed_flagged(0, 0, 0);
    feed_flagged(20, 4, 0);
    feed_flagged(0, 0, TW_SAMPLE_DUPLICATE);
    feed_flagged(1, 1, TW_SAMPLE_LATE);
    feed_flagged(1, 1, TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE);
    feed_flagged(2, 2, 0);
    feed_flagged(3, 3, TW_SAMPLE_ANOMALY);
    finish(21);
    assert_int_equal(summary.received, 4);
    assert_int_equal(summary.duplicates, 1);
    assert_int_equal(summary.duplicates_forward + summary.duplicates_reverse, 0);
    assert_int_equal(summary.late, 1);
    assert_int_equal(summary.reordered, 2);
    assert_int_equal(summary.clock_anomalies, 1);
    assert_int_equal(summary.rtt.n, 3);
    assert_true(summary.rtt.p99 == 10e6);
    check_loss(17, 16, 0, 1);
}

static void reply_beyond_a_window_that_was_empty_has_a_percentile(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = true, .capacity = 8, .histograms = histograms});
    feed_flagged(20, 0, 0);
    feed_flagged(2, 1, 0);
    finish(21);
    assert_int_equal(summary.rtt.n, 2);
    assert_true(summary.rtt.p50 == 10e6 && summary.rtt_variation.pdv_p95 == 0);
}

static void window_of_one_packet_works(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = true, .capacity = 1, .histograms = histograms});
    for (uint32_t i = 0; i < 100; i++)
        feed(reply(i, i, 5 * MS + 10 * (i % 2), 5 * MS));
    finish(100);
    assert_int_equal(summary.rtt_variation.pairs, 99);
    assert_true(summary.rtt_variation.jitter == 10);
    assert_true(summary.rtt_variation.pdv_p95 == 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_that_never_was_has_no_figures),
        cmocka_unit_test(nothing_sent_is_nothing_known),
        cmocka_unit_test(no_answer_is_all_lost_without_direction),
        cmocka_unit_test(variation_of_rfc_5481_is_reproduced),
        cmocka_unit_test(lost_packet_has_no_variation),
        cmocka_unit_test(variation_is_in_order_of_sending),
        cmocka_unit_test(single_sample_has_percentiles_but_no_deviation),
        cmocka_unit_test(impossible_delay_counts_for_loss_and_order_only),
        cmocka_unit_test(anomalies_only_leave_the_delays_unknown),
        cmocka_unit_test(processing_without_a_receive_timestamp_is_unknown_not_zero),
        cmocka_unit_test(one_time_for_arrival_and_departure_leaves_the_processing_unknown),
        cmocka_unit_test(delays_without_their_timestamp_are_unknown),
        cmocka_unit_test(delays_by_a_clock_that_stands_are_unknown),
        cmocka_unit_test(single_timestamp_that_stands_costs_what_needs_it_alone),
        cmocka_unit_test(delays_by_a_clock_that_moved_since_earlier_sessions_are_known),
        cmocka_unit_test(first_copy_gives_the_delay),
        cmocka_unit_test(offset_is_taken_at_the_least_round_trip),
        cmocka_unit_test(path_is_told_by_the_samples),
        cmocka_unit_test(neighbours_stay_neighbours_where_the_numbers_wrap),
        cmocka_unit_test(session_beyond_its_window_without_histograms_has_no_percentiles),
        cmocka_unit_test(reply_to_a_packet_beyond_the_window_is_taken_at_its_word),
        cmocka_unit_test(reply_beyond_a_window_that_was_empty_has_a_percentile),
        cmocka_unit_test(window_of_one_packet_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
