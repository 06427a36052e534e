/* lib/stats.h on sessions longer than its window: a small window against a large one, and
 * histograms against sorting. */
#include "stats_path.h"

/* Half of histogram.h's bin width, relative. */
static void check_bound(double got, double exact, double distance)
{
    assert_int_equal(isnan(got), isnan(exact));
    assert_true(isnan(exact) || fabs(got - exact) <= fabs(distance) / 256);
}

static void check_same_delay(const struct tw_delay *a, const struct tw_delay *b)
{
    assert_int_equal(a->n, b->n);
    check_close(a->min, b->min);
    check_close(a->max, b->max);
    check_close(a->mean, b->mean);
    check_close(a->stddev, b->stddev);
}

static void check_same_variation(const struct tw_variation *small, const struct tw_variation *large)
{
    assert_int_equal(small->pairs, large->pairs);
    check_close(small->jitter, large->jitter);
    /* the first window saw all but the least delays: its minimum is as good as the session's */
    assert_true(fabs(small->pdv_p95 - large->pdv_p95) <= large->pdv_p95 / 100);
}

static void small_window_agrees_with_a_large_one(void **state)
{
    (void)state;
    for (int session = 0; session < 20; session++) {
        struct path path = random_path();
        path.sent = 1500 + (uint32_t)below(MOST_SENT - 1500);
        run_path(&path);
        struct tw_summary large = summarise(&path, 2048);
        struct tw_summary small = summarise(&path, 128);
        assert_int_equal(small.received, large.received);
        assert_int_equal(small.lost, large.lost);
        assert_int_equal(small.direction_known, large.direction_known);
        assert_int_equal(small.lost_forward, large.lost_forward);
        assert_int_equal(small.lost_reverse, large.lost_reverse);
        assert_int_equal(small.lost_undecided, large.lost_undecided);
        assert_int_equal(small.duplicates, large.duplicates);
        assert_int_equal(small.duplicates_forward, large.duplicates_forward);
        assert_int_equal(small.duplicates_reverse, large.duplicates_reverse);
        assert_int_equal(small.replicated, large.replicated);
        assert_int_equal(small.late, large.late);
        assert_int_equal(small.reordered, large.reordered);
        assert_int_equal(small.clock_anomalies, large.clock_anomalies);
        check_close(small.offset_estimate, large.offset_estimate);
        check_same_delay(&small.rtt, &large.rtt);
        check_same_delay(&small.rtt_total, &large.rtt_total);
        check_same_delay(&small.forward, &large.forward);
        check_same_delay(&small.reverse, &large.reverse);
        check_same_delay(&small.processing, &large.processing);
        if (large.rtt.n < 200)
            continue; /* the small window may never have been left */
        check_bound(small.rtt.p50, large.rtt.p50, large.rtt.p50);
        check_bound(small.rtt.p99, large.rtt.p99, large.rtt.p99);
        check_bound(small.rtt_total.p95, large.rtt_total.p95, large.rtt_total.p95);
        check_bound(small.processing.p95, large.processing.p95, large.processing.p95);
        check_same_variation(&small.rtt_variation, &large.rtt_variation);
        check_same_variation(&small.forward_variation, &large.forward_variation);
        check_same_variation(&small.reverse_variation, &large.reverse_variation);
    }
}

/* Feeds 100,000 replies, from the `from`-th on with `shift` added to the reverse delay. */
static struct tw_summary summarise_long(uint32_t capacity, uint32_t from, int64_t shift)
{
    struct tw_stats stats;
    struct tw_summary summary;
    const struct tw_stats_config config = {
        .stateful = true, .packets = packets, .capacity = capacity, .histograms = histograms};
    tw_stats_init(&stats, &config);
    random_state = seed;
    for (uint32_t s = 0; s < 100000; s++) {
        struct tw_sample sample = {.sequence = s, .reflector_sequence = s, .t1 = {s * MS}};
        /* queues are short mostly and long at times */
        int64_t forward = 10 * MS + below(1 + below(1 + below(3 * MS)));
        int64_t reverse = 10 * MS + below(1 + below(1 + below(3 * MS))) + (s >= from ? shift : 0);
        sample.t2.ns = sample.t1.ns + TW_NS_PER_S + forward;
        sample.t3.ns = sample.t2.ns + 20 * US + below(5 * US);
        sample.t4.ns = sample.t3.ns - TW_NS_PER_S + reverse;
        tw_sample_compute(&sample, 0, 0);
        tw_stats_add(&stats, &sample);
    }
    tw_stats_finish(&stats, 100000, scratch, &summary);
    return summary;
}

static void long_session_keeps_its_percentiles_within_the_bound(void **state)
{
    (void)state;
    struct tw_summary exact = summarise_long(LARGE, UINT32_MAX, 0);
    struct tw_summary binned = summarise_long(1024, UINT32_MAX, 0);
    const struct tw_delay *pairs[][2] = {{&exact.rtt, &binned.rtt},
                                         {&exact.rtt_total, &binned.rtt_total},
                                         {&exact.processing, &binned.processing},
                                         {&exact.forward, &binned.forward},
                                         {&exact.reverse, &binned.reverse}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const struct tw_delay *a = pairs[i][0];
        const struct tw_delay *b = pairs[i][1];
        check_same_delay(a, b);
        check_bound(b->p50, a->p50, a->p50);
        check_bound(b->p95, a->p95, a->p95);
        check_bound(b->p99, a->p99, a->p99);
    }
    /* of the variation itself, though the clocks are a second apart */
    check_bound(binned.rtt_variation.pdv_p95, exact.rtt_variation.pdv_p95,
                exact.rtt_variation.pdv_p95);
    check_bound(binned.forward_variation.pdv_p95, exact.forward_variation.pdv_p95,
                exact.forward_variation.pdv_p95);
    check_bound(binned.reverse_variation.pdv_p95, exact.reverse_variation.pdv_p95,
                exact.reverse_variation.pdv_p95);
    check_close(binned.rtt_variation.jitter, exact.rtt_variation.jitter);
    assert_int_equal(binned.rtt_variation.pairs, 99999);
}

static void faster_path_later_on_keeps_the_stated_bound(void **state)
{
    (void)state;
    struct tw_summary exact = summarise_long(LARGE, 3000, -9 * MS);
    struct tw_summary binned = summarise_long(1024, 3000, -9 * MS);
    check_bound(binned.rtt.p95, exact.rtt.p95, exact.rtt.p95);
    check_bound(binned.rtt.p50, exact.rtt.p50, exact.rtt.p50);
    /* 95 % are below the first window's minimum, about 10 ms with the clock's offset */
    double distance = 10e6 - 1e9 - exact.reverse.p95;
    check_bound(binned.reverse.p95, exact.reverse.p95, distance * 1.01);
    check_bound(binned.reverse_variation.pdv_p95, exact.reverse_variation.pdv_p95, distance * 1.01);
    assert_true(binned.reverse.min == exact.reverse.min);
}

int main(void)
{
    seed_randomly();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_window_agrees_with_a_large_one),
        cmocka_unit_test(long_session_keeps_its_percentiles_within_the_bound),
        cmocka_unit_test(faster_path_later_on_keeps_the_stated_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
