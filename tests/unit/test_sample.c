/* lib/sample.h: delays are what their definitions say (RFC 2681, 7679), and only the impossible is
 * marked: as the fault of our clock or of the reflector's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/sample.h"

static struct tw_sample computed(int64_t t1, int64_t t2, int64_t t3, int64_t t4)
{
    struct tw_sample sample = {.t1 = {t1}, .t2 = {t2}, .t3 = {t3}, .t4 = {t4}};
    tw_sample_compute(&sample, 0, 0);
    return sample;
}

static void delays_follow_from_the_timestamps(void **state)
{
    (void)state;
    struct tw_sample sample = computed(1000, 5000, 5300, 10300);
    assert_int_equal(sample.rtt_total_ns, 9300);
    assert_int_equal(sample.processing_ns, 300);
    assert_int_equal(sample.rtt_ns, 9000);
    assert_int_equal(sample.forward_ns, 4000);
    assert_int_equal(sample.reverse_ns, 5000);
    assert_int_equal(sample.flags, 0);
}

static void negative_one_way_delay_is_kept_as_it_is(void **state)
{
    (void)state;
    /* the reflector's clock is 10 s behind */
    const int64_t behind = -10 * TW_NS_PER_S;
    struct tw_sample sample = computed(1000, 5000 + behind, 5300 + behind, 10300);
    assert_int_equal(sample.forward_ns, 4000 + behind);
    assert_int_equal(sample.reverse_ns, 5000 - behind);
    assert_int_equal(sample.rtt_ns, 9000);
    assert_int_equal(sample.flags, 0);
}

static unsigned flags_of(int64_t t2, int64_t t3, int64_t t4, int64_t resolution_ns)
{
    struct tw_sample sample = {.t2 = {t2}, .t3 = {t3}, .t4 = {t4}};
    tw_sample_compute(&sample, resolution_ns, 0);
    return sample.flags;
}

static void reply_sent_before_its_packet_came_is_a_contradiction(void **state)
{
    (void)state;
    assert_int_equal(flags_of(50, 50, 100, 0), 0);
    assert_int_equal(flags_of(50, 49, 100, 0), TW_SAMPLE_CONTRADICTORY);
    assert_int_equal(flags_of(50, 40, 100, 10), 0);
    assert_int_equal(flags_of(50, 39, 100, 10), TW_SAMPLE_CONTRADICTORY);
}

static void processing_longer_than_the_round_trip_is_a_contradiction(void **state)
{
    (void)state;
    assert_int_equal(flags_of(-50, 50, 100, 0), 0);
    assert_int_equal(flags_of(-50, 51, 100, 0), TW_SAMPLE_CONTRADICTORY);
    assert_int_equal(flags_of(-50, 60, 100, 10), 0);
    assert_int_equal(flags_of(-50, 61, 100, 10), TW_SAMPLE_CONTRADICTORY);
}

static void reply_that_came_before_its_packet_left_is_an_anomaly(void **state)
{
    (void)state;
    assert_int_equal(flags_of(0, 0, -10, 10), 0);
    assert_int_equal(flags_of(0, 0, -11, 10), TW_SAMPLE_ANOMALY);
    assert_int_equal(flags_of(20, 0, -11, 10), TW_SAMPLE_ANOMALY);
}

static void clock_step_excuses_the_reflector(void **state)
{
    (void)state;
    struct tw_sample sample = computed(0, 50, 40, 100);
    assert_int_equal(sample.flags, TW_SAMPLE_CONTRADICTORY);
    tw_sample_compute(&sample, 0, TW_NS_PER_S);
    assert_int_equal(sample.flags, TW_SAMPLE_ANOMALY);
}

static void clock_step_is_an_anomaly_beyond_a_millisecond(void **state)
{
    (void)state;
    struct tw_sample sample = computed(0, 50, 50, 100);
    static const struct {
        int64_t step;
        unsigned flags;
    } cases[] = {
        {TW_NS_PER_MS, 0},
        {-TW_NS_PER_MS, 0},
        {TW_NS_PER_MS + 1, TW_SAMPLE_ANOMALY},
        {-TW_NS_PER_MS - 1, TW_SAMPLE_ANOMALY},
        {INT64_MAX, TW_SAMPLE_ANOMALY},
        {INT64_MIN, TW_SAMPLE_ANOMALY},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tw_sample_compute(&sample, 0, cases[i].step);
        assert_int_equal(sample.flags, cases[i].flags);
        assert_int_equal(sample.rtt_ns, 100);
    }
}

static void other_flags_are_left_alone(void **state)
{
    (void)state;
    const unsigned others = TW_SAMPLE_DUPLICATE | TW_SAMPLE_LATE;
    struct tw_sample sample = {.t3 = {-1}, .t4 = {5}, .flags = others};
    tw_sample_compute(&sample, 0, 0);
    assert_int_equal(sample.flags, others | TW_SAMPLE_CONTRADICTORY);
    tw_sample_compute(&sample, 0, -TW_NS_PER_S);
    assert_int_equal(sample.flags, others | TW_SAMPLE_ANOMALY);
    sample.t3.ns = 1;
    tw_sample_compute(&sample, 0, 0);
    assert_int_equal(sample.flags, others);
}

static void identities_hold_for_any_timestamps(void **state)
{
    (void)state;
    static const int64_t edges[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    const size_t n = sizeof(edges) / sizeof(edges[0]);
    for (size_t i = 0; i < n * n * n * n; i++) {
        struct tw_sample s =
            computed(edges[i % n], edges[i / n % n], edges[i / n / n % n], edges[i / n / n / n]);
        assert_true((uint64_t)s.forward_ns + (uint64_t)s.reverse_ns == (uint64_t)s.rtt_ns);
        assert_true((uint64_t)s.rtt_ns + (uint64_t)s.processing_ns == (uint64_t)s.rtt_total_ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_follow_from_the_timestamps),
        cmocka_unit_test(negative_one_way_delay_is_kept_as_it_is),
        cmocka_unit_test(reply_sent_before_its_packet_came_is_a_contradiction),
        cmocka_unit_test(processing_longer_than_the_round_trip_is_a_contradiction),
        cmocka_unit_test(reply_that_came_before_its_packet_left_is_an_anomaly),
        cmocka_unit_test(clock_step_excuses_the_reflector),
        cmocka_unit_test(clock_step_is_an_anomaly_beyond_a_millisecond),
        cmocka_unit_test(other_flags_are_left_alone),
        cmocka_unit_test(identities_hold_for_any_timestamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
