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
        cmocka_unit_test(first_copy_gives_the_delay),
        cmocka_unit_test(offset_is_taken_at_the_least_round_trip),
        cmocka_unit_test(one_way_delays_are_valid_above_their_error_only),
        cmocka_unit_test(path_is_told_by_the_samples),
        cmocka_unit_test(neighbours_stay_neighbours_where_the_numbers_wrap),
        cmocka_unit_test(session_beyond_its_window_without_histograms_has_no_percentiles),
        cmocka_unit_test(reply_to_a_packet_beyond_the_window_is_taken_at_its_word),
        cmocka_unit_test(reply_beyond_a_window_that_was_empty_has_a_percentile),
        cmocka_unit_test(window_of_one_packet_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
