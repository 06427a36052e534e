/* lib/distribution.h: moments and percentiles against sums and sorting done here, at clock offsets
 * from none to decades. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/distribution.h"

enum { N = 5000 };

static struct tw_histogram pair[TW_DISTRIBUTION_PAIR];
static int64_t values[N];

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void nothing_is_nan(void **state)
{
    (void)state;
    struct tw_distribution d = {0};
    assert_true(isnan(tw_distribution_mean(&d)));
    assert_true(isnan(tw_distribution_stddev(&d)));
    tw_distribution_add(&d, -7);
    assert_true(tw_distribution_mean(&d) == -7.0);
    assert_true(isnan(tw_distribution_stddev(&d)));
    assert_int_equal(d.min, -7);
    assert_int_equal(d.max, -7);
}

static void deviation_is_that_of_the_sample(void **state)
{
    (void)state;
    struct tw_distribution d = {0};
    /* sum of squared deviations 32, n - 1 = 7 */
    static const int64_t known[] = {2, 4, 4, 4, 5, 5, 7, 9};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        tw_distribution_add(&d, known[i]);
    assert_true(fabs(tw_distribution_mean(&d) - 5.0) < 1e-12);
    assert_true(fabs(tw_distribution_stddev(&d) - sqrt(32.0 / 7)) < 1e-12);
}

static void offset_of_decades_costs_no_deviation(void **state)
{
    (void)state;
    static const int64_t offsets[] = {0, 1000000000, -2000000000000000000, 2000000000000000000};
    for (size_t o = 0; o < sizeof(offsets) / sizeof(offsets[0]); o++) {
        struct tw_distribution d = {0};
        for (int64_t i = 0; i < 1000; i++)
            tw_distribution_add(&d, offsets[o] + i % 2);
        assert_true(fabs(tw_distribution_stddev(&d) - sqrt(250.0 / 999)) < 1e-9);
        assert_int_equal(d.min, offsets[o]);
        assert_int_equal(d.max, offsets[o] + 1);
    }
}

static void values_at_the_ends_of_int64_are_defined(void **state)
{
    (void)state;
    struct tw_distribution d = {0};
    tw_histogram_init(&pair[0]);
    tw_histogram_init(&pair[1]);
    static const int64_t ends[] = {INT64_MIN, INT64_MAX, 0, -1, INT64_MIN};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        tw_distribution_add(&d, ends[i]);
        tw_distribution_bin(&d, pair, ends[i]);
    }
    assert_true(isfinite(tw_distribution_mean(&d)));
    assert_true(tw_distribution_stddev(&d) >= 0);
    (void)tw_distribution_percentile(&d, pair, 50);
}

static void sort_is_ascending_for_every_length(void **state)
{
    (void)state;
    uint64_t random = 1;
    static int64_t expected[N];
    for (size_t n = 0; n <= 300; n++) {
        for (size_t i = 0; i < n; i++) {
            values[i] = (int64_t)(next_random(&random) % (n + 1)) - 20;
            expected[i] = values[i];
        }
        tw_distribution_sort(values, n);
        if (n > 0)
            qsort(expected, n, sizeof(expected[0]), ascending);
        assert_memory_equal(values, expected, n * sizeof(values[0]));
    }
}

/* The reference is the least of the first 500 values; the others are `shift` away. */
static void check_percentiles(int64_t offset, int64_t shift)
{
    struct tw_distribution d = {0};
    tw_histogram_init(&pair[0]);
    tw_histogram_init(&pair[1]);
    uint64_t random = 42;
    int64_t reference = INT64_MAX;
    for (size_t i = 0; i < N; i++) {
        values[i] = offset + 10000000 + (int64_t)(next_random(&random) % 3000000);
        if (i >= 500)
            values[i] += shift;
        else if (values[i] < reference)
            reference = values[i];
        tw_distribution_add(&d, values[i]);
        for (size_t j = 0; j < 500 && i == 499; j++)
            tw_distribution_bin(&d, pair, values[j]);
        if (i >= 500)
            tw_distribution_bin(&d, pair, values[i]);
    }
    qsort(values, N, sizeof(values[0]), ascending);
    static const unsigned percents[] = {1, 5, 25, 50, 75, 95, 99, 100};
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        int64_t exact = values[percents[i] * N / 100 - 1];
        int64_t got = tw_distribution_percentile(&d, pair, percents[i]);
        double bound = fabs((double)(exact - reference)) / 256;
        assert_true(fabs((double)(got - exact)) <= bound);
        assert_true(got >= d.min && got <= d.max);
    }
}

static void percentile_error_does_not_grow_with_the_offset(void **state)
{
    (void)state;
    check_percentiles(0, 0);
    check_percentiles(1000000000, 0);
    check_percentiles(-1000000000000000000, 0);
}

static void values_below_the_reference_keep_the_bound(void **state)
{
    (void)state;
    check_percentiles(0, -8000000);
    check_percentiles(-1000000000, -1000000);
    check_percentiles(1000000000, -900000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_nan),
        cmocka_unit_test(deviation_is_that_of_the_sample),
        cmocka_unit_test(offset_of_decades_costs_no_deviation),
        cmocka_unit_test(values_at_the_ends_of_int64_are_defined),
        cmocka_unit_test(sort_is_ascending_for_every_length),
        cmocka_unit_test(percentile_error_does_not_grow_with_the_offset),
        cmocka_unit_test(values_below_the_reference_keep_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
