/* When the stamps of an interface's own clock are believed, and what they are turned into. The
 * truth is two made-up clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/sys/nic_relation.h"
#include "lib/time.h"

#define MS TW_NS_PER_MS
#define S  TW_NS_PER_S

/* A monotonic clock that gains `rate` on the interface's, which began elsewhere. */
struct clocks {
    int64_t nic_ns, ahead_ns;
    double rate;
    struct tw_nic_relation relation;
};

static int64_t mono_of(const struct clocks *c, int64_t nic_ns)
{
    return c->ahead_ns + nic_ns + (int64_t)(c->rate * (double)nic_ns);
}

/* Readings every 250 ms; the middle is off by `wrong_ns`. */
static void read_for(struct clocks *c, int64_t ns, int64_t width_ns, int64_t wrong_ns)
{
    for (int64_t end = c->nic_ns + ns; c->nic_ns < end; c->nic_ns += 250 * MS) {
        const struct tw_nic_reading reading = {
            .nic_ns = c->nic_ns, .mono_ns = mono_of(c, c->nic_ns) + wrong_ns, .width_ns = width_ns};
        tw_nic_relation_add(&c->relation, &reading);
    }
}

static struct clocks begin(double rate)
{
    return (struct clocks){.nic_ns = 5 * S, .ahead_ns = INT64_C(-1700000000) * S, .rate = rate};
}

/* The newest reading lies 250 ms before nic_ns. */
static bool knows(const struct clocks *c, int64_t from_now_ns)
{
    tw_mono mono;
    return tw_nic_relation_mono(&c->relation, c->nic_ns + from_now_ns, &mono);
}

static void assert_right(const struct clocks *c, int64_t from_now_ns, int64_t tolerance_ns)
{
    tw_mono mono = {0};
    const int64_t nic_ns = c->nic_ns + from_now_ns;
    assert_true(tw_nic_relation_mono(&c->relation, nic_ns, &mono));
    const int64_t off_ns = mono.ns - mono_of(c, nic_ns);
    if (off_ns > tolerance_ns || off_ns < -tolerance_ns)
        fail_msg("%lld ns off", (long long)off_ns);
}

static void stamps_become_what_the_monotonic_clock_showed(void **state)
{
    (void)state;
    static const double rates[] = {0, 40e-6, -40e-6, 450e-6};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct clocks c = begin(rates[i]);
        /* at all times: also while the line is moved on */
        read_for(&c, S, 1000, 0);
        for (int round = 0; round < 60; round++) {
            read_for(&c, 250 * MS, 1000, 0);
            assert_right(&c, -500 * MS, 50);
            assert_right(&c, -1, 50);
            assert_right(&c, 250 * MS, 50);
        }
    }
}

static void error_of_readings_stays_within_its_bound(void **state)
{
    (void)state;
    struct clocks c = begin(10e-6);
    read_for(&c, S, 2000, 0);
    for (int round = 0; round < 100; round++) {
        read_for(&c, 250 * MS, 2000, round % 2 == 0 ? 1000 : -1000);
        if (knows(&c, 0))
            assert_right(&c, 0, TW_NIC_ERROR_NS);
    }
    assert_true(knows(&c, 0));
}

static void nothing_is_known_of_two_readings_or_of_inexact_ones(void **state)
{
    (void)state;
    struct clocks c = begin(0);
    assert_false(knows(&c, 0));
    read_for(&c, 500 * MS, 1000, 0);
    assert_false(knows(&c, -250 * MS));
    struct clocks wide = begin(0);
    read_for(&wide, 10 * S, TW_NIC_ERROR_NS + 1, 0);
    assert_false(knows(&wide, -250 * MS));
    read_for(&wide, 10 * S, -1, 0);
    assert_false(knows(&wide, -250 * MS));
}

static void stamp_far_from_the_newest_reading_is_not_believed(void **state)
{
    (void)state;
    struct clocks c = begin(0);
    read_for(&c, 3 * S, 1000, 0);
    assert_true(knows(&c, -250 * MS + S));
    assert_false(knows(&c, -250 * MS + S + 1));
    assert_true(knows(&c, -250 * MS - S));
    assert_false(knows(&c, -250 * MS - S - 1));
}

static void step_of_either_clock_is_noticed_and_learnt(void **state)
{
    (void)state;
    static const int64_t steps[] = {S, -S, 20000, -20000, 37 * S};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct clocks c = begin(20e-6);
        read_for(&c, 5 * S, 1000, 0);
        c.ahead_ns += steps[i];
        read_for(&c, 250 * MS, 1000, 0);
        assert_false(knows(&c, 0));
        read_for(&c, S, 1000, 0);
        assert_right(&c, 0, 50);
        c.nic_ns += steps[i]; /* the interface's clock jumps, and the other does not */
        c.ahead_ns -= steps[i];
        read_for(&c, 250 * MS, 1000, 0);
        assert_false(knows(&c, 0));
        read_for(&c, S, 1000, 0);
        assert_right(&c, 0, 1000);
    }
}

static void clock_that_stands_or_runs_wild_is_never_believed(void **state)
{
    (void)state;
    struct clocks c = begin(0);
    struct tw_nic_reading reading = {.nic_ns = 7, .mono_ns = S, .width_ns = 100};
    for (int i = 0; i < 40; i++, reading.mono_ns += 250 * MS)
        tw_nic_relation_add(&c.relation, &reading);
    c.nic_ns = 7;
    assert_false(knows(&c, 0));
    c = begin(2000e-6);
    read_for(&c, 10 * S, 1000, 0);
    assert_false(knows(&c, -250 * MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stamps_become_what_the_monotonic_clock_showed),
        cmocka_unit_test(error_of_readings_stays_within_its_bound),
        cmocka_unit_test(nothing_is_known_of_two_readings_or_of_inexact_ones),
        cmocka_unit_test(stamp_far_from_the_newest_reading_is_not_believed),
        cmocka_unit_test(step_of_either_clock_is_noticed_and_learnt),
        cmocka_unit_test(clock_that_stands_or_runs_wild_is_never_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
