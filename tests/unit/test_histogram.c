/* lib/histogram.h: every value keeps within its bound, ranks are nearest ranks. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/histogram.h"

static struct tw_histogram histogram;

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* What the histogram makes of a single value. */
static uint64_t seen_as(uint64_t value)
{
    tw_histogram_init(&histogram);
    tw_histogram_add(&histogram, value);
    return tw_histogram_value(&histogram, 1);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 256; value++)
        assert_int_equal(seen_as(value), value);
}

static void every_value_is_within_its_bound(void **state)
{
    (void)state;
    for (unsigned bit = 8; bit < 40; bit++) {
        uint64_t octave = UINT64_C(1) << bit;
        uint64_t width = octave / 128;
        for (uint64_t bin = 0; bin < 128; bin++) {
            uint64_t edges[] = {octave + bin * width, octave + (bin + 1) * width - 1};
            uint64_t seen[] = {seen_as(edges[0]), seen_as(edges[1])};
            assert_int_equal(seen[0], seen[1]);
            assert_true(distance(seen[0], edges[0]) * 256 <= edges[0]);
            assert_true(distance(seen[1], edges[1]) * 256 <= edges[1]);
            assert_true(seen_as(edges[0] - 1) < seen[0]);
        }
    }
}

static void values_beyond_the_last_bin_count_into_it(void **state)
{
    (void)state;
    uint64_t last = seen_as((UINT64_C(1) << 40) - 1);
    assert_int_equal(seen_as(UINT64_C(1) << 40), last);
    assert_int_equal(seen_as(UINT64_MAX), last);
}

static void empty_histogram_gives_zero(void **state)
{
    (void)state;
    tw_histogram_init(&histogram);
    assert_int_equal(tw_histogram_percentile(&histogram, 50), 0);
    assert_int_equal(tw_histogram_value(&histogram, 1), 0);
    assert_int_equal(tw_histogram_rank(50, 0), 0);
}

static void rank_is_the_nearest_rank(void **state)
{
    (void)state;
    static const struct {
        double percent;
        uint64_t total, rank;
    } cases[] = {
        {50, 1, 1},        {50, 2, 1},
        {50, 3, 2},        {50, 4, 2},
        {95, 1, 1},        {95, 5, 5},
        {95, 20, 19},      {95, 21, 20},
        {95, 100, 95},     {99, 99, 99},
        {99, 100, 99},     {99, 101, 100},
        {99.9, 1000, 999}, {100, 7, 7},
        {0.0001, 10, 1},   {99, UINT64_C(10000000000), UINT64_C(9900000000)},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(tw_histogram_rank(cases[i].percent, cases[i].total), cases[i].rank);
    /* by definition the least k with 100 k >= percent * n */
    for (uint64_t n = 1; n <= 2000; n++) {
        for (uint64_t percent = 1; percent <= 100; percent++) {
            uint64_t k = tw_histogram_rank((double)percent, n);
            assert_true(100 * k >= percent * n);
            assert_true(100 * (k - 1) < percent * n);
        }
    }
}

static void percentile_is_the_value_at_its_rank(void **state)
{
    (void)state;
    tw_histogram_init(&histogram);
    for (uint64_t value = 200; value > 0; value--)
        tw_histogram_add(&histogram, value);
    assert_int_equal(tw_histogram_percentile(&histogram, 50), 100);
    assert_int_equal(tw_histogram_percentile(&histogram, 95), 190);
    assert_int_equal(tw_histogram_percentile(&histogram, 100), 200);
    assert_int_equal(tw_histogram_value(&histogram, 1), 1);
    assert_int_equal(tw_histogram_value(&histogram, 0), 0);
    assert_int_equal(tw_histogram_value(&histogram, 201), 0);
}

static void counts_go_beyond_32_bits(void **state)
{
    (void)state;
    tw_histogram_init(&histogram);
    tw_histogram_add(&histogram, 10);
    tw_histogram_add(&histogram, 20);
    histogram.bins[10] = UINT64_C(1) << 33;
    histogram.total = (UINT64_C(1) << 33) + 1;
    tw_histogram_add(&histogram, 10);
    assert_int_equal(tw_histogram_percentile(&histogram, 99), 10);
    assert_int_equal(tw_histogram_percentile(&histogram, 100), 20);
    assert_int_equal(tw_histogram_value(&histogram, (UINT64_C(1) << 33) + 1), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(every_value_is_within_its_bound),
        cmocka_unit_test(values_beyond_the_last_bin_count_into_it),
        cmocka_unit_test(empty_histogram_gives_zero),
        cmocka_unit_test(rank_is_the_nearest_rank),
        cmocka_unit_test(percentile_is_the_value_at_its_rank),
        cmocka_unit_test(counts_go_beyond_32_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
