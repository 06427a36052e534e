/* lib/time.h: known answers were computed with exact rational arithmetic elsewhere, or come from
 * the clock of a capture; the edges of int64_t and of the NTP era are walked over. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/time.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

/* 2036-02-07 06:28:16 UTC. */
#define NTP_ERA_1_NS (INT64_C(2085978496) * TW_NS_PER_S)

static tw_wall wall(int64_t ns)
{
    return (tw_wall){ns};
}

/* Pseudo-random numbers for inputs (Knuth's MMIX constants); the seed is fixed. */
static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state ^ *state >> 29;
}

static void deadline_that_never_comes_is_never_reached(void **state)
{
    (void)state;
    assert_true(tw_mono_is_never(TW_NEVER));
    assert_false(tw_mono_is_never((tw_mono){INT64_MAX - 1}));
    assert_false(tw_mono_reached(TW_NEVER, (tw_mono){INT64_MAX - 1}));
    assert_true(tw_mono_reached((tw_mono){5}, (tw_mono){5}));
    assert_false(tw_mono_reached((tw_mono){5}, (tw_mono){4}));
    assert_int_equal(tw_mono_earlier(TW_NEVER, (tw_mono){7}).ns, 7);
    assert_int_equal(tw_mono_earlier((tw_mono){6}, (tw_mono){7}).ns, 6);
}

static void adding_to_a_deadline_saturates_at_never(void **state)
{
    (void)state;
    assert_int_equal(tw_mono_after((tw_mono){40}, 2).ns, 42);
    assert_int_equal(tw_mono_after((tw_mono){INT64_MIN}, INT64_MAX).ns, -1);
    assert_int_equal(tw_mono_after((tw_mono){INT64_MAX - 2}, 1).ns, INT64_MAX - 1);
    assert_true(tw_mono_is_never(tw_mono_after((tw_mono){INT64_MAX - 2}, 3)));
    assert_true(tw_mono_is_never(tw_mono_after((tw_mono){1}, INT64_MAX)));
    assert_true(tw_mono_is_never(tw_mono_after(TW_NEVER, 0)));
    assert_true(tw_mono_is_never(tw_mono_after(TW_NEVER, INT64_MAX)));
}

static void sources_have_the_names_of_the_interface(void **state)
{
    (void)state;
    assert_string_equal(tw_source_name(TW_SOURCE_HARDWARE), "hardware");
    assert_string_equal(tw_source_name(TW_SOURCE_KERNEL), "kernel");
    assert_string_equal(tw_source_name(TW_SOURCE_USER), "user");
}

static void ntp_timestamps_have_their_known_values(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        uint64_t bits;
    } known[] = {
        {INT64_C(1700000000250000000), UINT64_C(0xe8fe6f8040000000)},
        {0, UINT64_C(0x83aa7e8000000000)},
        {1, UINT64_C(0x83aa7e8000000004)},
        {-1, UINT64_C(0x83aa7e7ffffffffc)},
        {1073, UINT64_C(0x83aa7e8000001200)}, /* 4608.4999 and 5205.5004 units of 2^-32 s */
        {1212, UINT64_C(0x83aa7e8000001456)},
        {123456789, UINT64_C(0x83aa7e801f9add37)},
        {999999999, UINT64_C(0x83aa7e80fffffffc)},
        {-999999999, UINT64_C(0x83aa7e7f00000004)},
        {INT64_C(-2208988800) * TW_NS_PER_S, 0},
        {NTP_ERA_1_NS - 1, UINT64_C(0xfffffffffffffffc)},
        {NTP_ERA_1_NS, 0},
        {INT64_MAX, UINT64_C(0xa96bfb84dad29658)},
        {INT64_MIN, UINT64_C(0x5de9017b252d69a3)},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        assert_int_equal(tw_ntp_from_wall(wall(known[i].ns)), known[i].bits);
        assert_int_equal(tw_wall_from_ntp(known[i].bits, wall(known[i].ns)).ns, known[i].ns);
    }
}

/* perfsonar-open.pcap: T1 and T2 as two other programs wrote them, and what the kernel's clock said
 * when it captured the packet (nanosecond pcap). The packet was captured after T1, and its reply
 * after T2, by less than a tenth of a millisecond. */
static void foreign_timestamps_agree_with_the_capture_clock(void **state)
{
    (void)state;
    static const struct {
        uint64_t bits;
        int64_t captured_ns;
    } packets[] = {
        {UINT64_C(0xeeae4052f7aa582d), INT64_C(1795408338967505624)},
        {UINT64_C(0xeeae4052f7b1e18e), INT64_C(1795408338967588071)},
        {UINT64_C(0xeeae4053092fc265), INT64_C(1795408339035889228)},
        {UINT64_C(0xeeae40530930489d), INT64_C(1795408339035898052)},
    };
    for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
        const tw_wall near = wall(packets[i].captured_ns);
        const int64_t after = near.ns - tw_wall_from_ntp(packets[i].bits, near).ns;
        assert_in_range(after, 0, 100 * TW_NS_PER_US);
    }
}

static void ntp_is_read_in_the_era_of_the_near_instant(void **state)
{
    (void)state;
    /* One second on either side of the wrap, seen from the other side. */
    const tw_wall before = wall(NTP_ERA_1_NS - TW_NS_PER_S);
    const tw_wall after = wall(NTP_ERA_1_NS + TW_NS_PER_S);
    assert_int_equal(tw_wall_from_ntp(tw_ntp_from_wall(after), before).ns, after.ns);
    assert_int_equal(tw_wall_from_ntp(tw_ntp_from_wall(before), after).ns, before.ns);

    /* Half an era is just over 68 years. */
    const int64_t half = (INT64_C(1) << 31) * TW_NS_PER_S;
    const tw_wall near = wall(INT64_C(1795408338) * TW_NS_PER_S);
    const tw_wall late = wall(near.ns + half - 1);
    const tw_wall early = wall(near.ns - half);
    assert_int_equal(tw_wall_from_ntp(tw_ntp_from_wall(late), near).ns, late.ns);
    assert_int_equal(tw_wall_from_ntp(tw_ntp_from_wall(early), near).ns, early.ns);
    assert_int_equal(tw_wall_from_ntp(tw_ntp_from_wall(wall(late.ns + 1)), near).ns, early.ns);
}

static void every_instant_survives_the_way_through_ntp_and_ptp(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 100000; i++) {
        const tw_wall t = wall((int64_t)(next_random(&seed) >> 1) - (i % 2 ? INT64_MAX : 0));
        const int64_t apart = (int64_t)(next_random(&seed) % UINT64_C(2147483647)) * TW_NS_PER_S;
        tw_wall near = t;
        if (t.ns < 0)
            near.ns += apart;
        else
            near.ns -= apart;
        assert_int_equal(tw_wall_from_ntp(tw_ntp_from_wall(t), near).ns, t.ns);
        assert_int_equal(tw_wall_from_ptp(tw_ptp_from_wall(t, 37), near, 37).ns, t.ns);
    }
}

static void fraction_is_rounded_to_the_nearest_nanosecond(void **state)
{
    (void)state;
    /* 1142.49997 and 3288.50001 ns. */
    assert_int_equal(tw_wall_from_ntp(UINT64_C(0x83aa7e800000132b), wall(0)).ns, 1142);
    assert_int_equal(tw_wall_from_ntp(UINT64_C(0x83aa7e800000372c), wall(0)).ns, 3289);
    const tw_wall t = tw_wall_from_ntp(UINT64_C(0x83aa7e80ffffffff), wall(0));
    assert_int_equal(t.ns, TW_NS_PER_S);
}

static void ptp_timestamps_have_their_known_values(void **state)
{
    (void)state;
    const tw_wall t = wall(INT64_C(1700000000250000000));
    assert_int_equal(tw_ptp_from_wall(t, 37), UINT64_C(0x6553f1250ee6b280));
    assert_int_equal(tw_ptp_from_wall(t, 0), UINT64_C(0x6553f1000ee6b280));
    assert_int_equal(tw_wall_from_ptp(UINT64_C(0x6553f1250ee6b280), wall(0), 37).ns, t.ns);
    assert_int_equal(tw_ptp_from_wall(wall(-1), 0), UINT64_C(0xffffffff3b9ac9ff));
    assert_int_equal(tw_wall_from_ptp(UINT64_C(0xffffffff3b9ac9ff), wall(0), 0).ns, -1);

    /* 2106: PTP's 32 bits of seconds wrap. */
    const tw_wall wrap = wall((INT64_C(1) << 32) * TW_NS_PER_S);
    assert_int_equal(tw_ptp_from_wall(wrap, 0), 0);
    assert_int_equal(tw_wall_from_ptp(0, wall(wrap.ns - 5), 0).ns, wrap.ns);
}

static void ptp_with_too_many_nanoseconds_is_still_a_number(void **state)
{
    (void)state;
    assert_int_equal(tw_wall_from_ptp(UINT64_C(0x00000000ffffffff), wall(0), 0).ns, UINT32_MAX);
}

static void stamp_is_read_by_its_own_z_bit(void **state)
{
    (void)state;
    const tw_wall near = wall(INT64_C(1700000001000000000));
    const struct tw_stamp ntp = {UINT64_C(0xe8fe6f8040000000), TW_ERROR_SYNCHRONIZED | 0x0f84};
    const struct tw_stamp ptp = {UINT64_C(0x6553f1250ee6b280), TW_ERROR_PTP | 0x0f84};
    assert_int_equal(tw_wall_from_stamp(ntp, near, 37).ns, INT64_C(1700000000250000000));
    assert_int_equal(tw_wall_from_stamp(ptp, near, 37).ns, INT64_C(1700000000250000000));
}

static void stamp_has_the_z_bit_of_its_format(void **state)
{
    (void)state;
    const tw_wall t = wall(INT64_C(1700000000250000000));
    static const uint16_t errors[] = {0x8f84, 0xcf84};
    for (int i = 0; i < 2; i++) {
        const struct tw_stamp ntp = tw_stamp_from_wall(t, errors[i], false, 37);
        assert_int_equal(ntp.bits, UINT64_C(0xe8fe6f8040000000));
        assert_int_equal(ntp.error, 0x8f84);
        const struct tw_stamp ptp = tw_stamp_from_wall(t, errors[i], true, 37);
        assert_int_equal(ptp.bits, UINT64_C(0x6553f1250ee6b280));
        assert_int_equal(ptp.error, 0xcf84);
    }
}

static void instants_beyond_int64_saturate(void **state)
{
    (void)state;
    const uint64_t last = tw_ntp_from_wall(wall(INT64_MAX));
    const uint64_t first = tw_ntp_from_wall(wall(INT64_MIN));
    const uint64_t second = UINT64_C(1) << 32;
    assert_int_equal(tw_wall_from_ntp(last + second, wall(INT64_MAX)).ns, INT64_MAX);
    assert_int_equal(tw_wall_from_ntp(last + (second << 30), wall(INT64_MAX)).ns, INT64_MAX);
    assert_int_equal(tw_wall_from_ntp(first - second, wall(INT64_MIN)).ns, INT64_MIN);
    assert_int_equal(tw_wall_from_ntp(first - (second << 30), wall(INT64_MIN)).ns, INT64_MIN);
    assert_int_equal(tw_wall_from_ptp(tw_ptp_from_wall(wall(INT64_MAX), 0), wall(INT64_MAX), -1).ns,
                     INT64_MAX);
}

/* Nothing to compare with: the sanitizers judge. */
static void no_input_is_undefined(void **state)
{
    (void)state;
    static const int64_t instants[] = {INT64_MIN, INT64_MIN + 1, -1,       0,
                                       1,         INT64_MAX - 1, INT64_MAX};
    static const uint64_t bits[] = {0,
                                    1,
                                    UINT32_MAX,
                                    UINT64_C(1) << 32,
                                    INT64_MAX,
                                    UINT64_C(1) << 63,
                                    UINT64_MAX - UINT32_MAX,
                                    UINT64_MAX};
    static const int offsets[] = {INT32_MIN, -1, 0, 37, INT32_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(instants); i++) {
        (void)tw_ntp_from_wall(wall(instants[i]));
        (void)tw_interval_from_ns(instants[i]);
        (void)tw_error_encode(instants[i], true);
        for (size_t k = 0; k < ARRAY_SIZE(offsets); k++) {
            (void)tw_ptp_from_wall(wall(instants[i]), offsets[k]);
            for (size_t j = 0; j < ARRAY_SIZE(bits); j++) {
                (void)tw_wall_from_ntp(bits[j], wall(instants[i]));
                (void)tw_wall_from_ptp(bits[j], wall(instants[i]), offsets[k]);
            }
        }
    }
}

static void intervals_are_32_32_seconds(void **state)
{
    (void)state;
    assert_int_equal(tw_interval_from_ns(0), 0);
    assert_int_equal(tw_interval_from_ns(2 * TW_NS_PER_S), UINT64_C(0x0000000200000000));
    assert_int_equal(tw_interval_from_ns(500 * TW_NS_PER_MS), UINT64_C(0x0000000080000000));
    assert_int_equal(tw_interval_to_ns(UINT64_C(0x0000000200000000)), 2 * TW_NS_PER_S);
    assert_int_equal(tw_interval_to_ns(UINT64_C(0x0000000140000000)), 1250 * TW_NS_PER_MS);
    for (int64_t ns = 0; ns < 5 * TW_NS_PER_S; ns += 7654321)
        assert_int_equal(tw_interval_to_ns(tw_interval_from_ns(ns)), ns);
}

static void intervals_that_do_not_fit_saturate(void **state)
{
    (void)state;
    const int64_t longest = (INT64_C(1) << 32) * TW_NS_PER_S;
    assert_int_equal(tw_interval_from_ns(-1), 0);
    assert_int_equal(tw_interval_from_ns(INT64_MIN), 0);
    assert_int_equal(tw_interval_from_ns(longest - 1), UINT64_C(0xfffffffffffffffc));
    assert_int_equal(tw_interval_from_ns(longest), UINT64_MAX);
    assert_int_equal(tw_interval_from_ns(INT64_MAX), UINT64_MAX);
    assert_int_equal(tw_interval_to_ns(UINT64_MAX), longest);
}

static void error_estimates_have_their_known_values(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        uint16_t error;
    } known[] = {
        {500 * TW_NS_PER_MS, 0x9880},
        {TW_NS_PER_MS, 0x8f84},
        {TW_NS_PER_US, 0x8587},
        {1, 0x8005},
        {0, 0x8001},
        {59, 0x80fe},
        {60, 0x8181},
        {1234567, 0x8fa2},
        {TW_NS_PER_S, 0x9980},
        {16 * TW_NS_PER_S, 0x9d80},
        {255 * TW_NS_PER_S, 0xa0ff},
        {256 * TW_NS_PER_S, 0xa180},
        {INT64_MAX, 0xba8a},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        assert_int_equal(tw_error_encode(known[i].ns, true), known[i].error);
        assert_int_equal(tw_error_encode(known[i].ns, false), known[i].error & 0x7fff);
    }
    assert_true(tw_error_synchronized(0x8f84));
    assert_false(tw_error_synchronized(0x4f84));
}

static void unknown_error_is_encoded_as_the_largest(void **state)
{
    (void)state;
    assert_int_equal(tw_error_encode(-1, false), 0x3fff);
    assert_int_equal(tw_error_encode(INT64_MIN, true), 0xbfff);
}

static void error_estimates_are_read_rounded_up(void **state)
{
    (void)state;
    static const struct {
        uint16_t error;
        int64_t ns;
    } known[] = {
        {0x8005, 2},
        {0x8587, 1006},
        {0x8f84, 1007081},
        {0x9880, 500000000},
        {0x0001, 1},
        {0x0101, 1},
        {0x1f01, 500000000},
        {0x2001, 1000000000},
        {0x20ff, INT64_C(255000000000)},
        {0x3a89, INT64_C(9193914368000000000)},
        {0x3a8a, INT64_MAX},
        {0x3b89, INT64_MAX},
        {0xffff, INT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        assert_int_equal(tw_error_ns(known[i].error), known[i].ns);
}

static void error_with_multiplier_zero_is_unknown(void **state)
{
    (void)state;
    for (uint32_t scale = 0; scale < 256; scale++)
        assert_int_equal(tw_error_ns((uint16_t)(scale << 8)), -1);
}

/* Exact in double: 38 bits of product, moved by powers of two only. */
static double error_value(uint32_t scale, uint32_t multiplier)
{
    double value = multiplier * 1e9;
    for (uint32_t i = scale; i < 32; i++)
        value *= 0.5;
    for (uint32_t i = 32; i < scale; i++)
        value *= 2.0;
    return value;
}

static void encoded_error_is_the_least_that_is_not_smaller(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int i = 0; i < 100000; i++) {
        /* All magnitudes that double holds exactly. */
        const int64_t ns = (int64_t)(next_random(&seed) >> 11 >> (i % 53));
        const uint16_t error = tw_error_encode(ns, false);
        const uint32_t scale = error >> 8;
        const uint32_t multiplier = error & 0xff;
        assert_in_range(multiplier, 1, 255);
        assert_true(error_value(scale, multiplier) >= (double)ns);
        assert_true(multiplier == 1 || error_value(scale, multiplier - 1) < (double)ns);
        assert_true(scale == 0 || error_value(scale - 1, 255) < (double)ns);
        assert_true(tw_error_ns(error) >= ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadline_that_never_comes_is_never_reached),
        cmocka_unit_test(adding_to_a_deadline_saturates_at_never),
        cmocka_unit_test(sources_have_the_names_of_the_interface),
        cmocka_unit_test(ntp_timestamps_have_their_known_values),
        cmocka_unit_test(foreign_timestamps_agree_with_the_capture_clock),
        cmocka_unit_test(ntp_is_read_in_the_era_of_the_near_instant),
        cmocka_unit_test(every_instant_survives_the_way_through_ntp_and_ptp),
        cmocka_unit_test(fraction_is_rounded_to_the_nearest_nanosecond),
        cmocka_unit_test(ptp_timestamps_have_their_known_values),
        cmocka_unit_test(ptp_with_too_many_nanoseconds_is_still_a_number),
        cmocka_unit_test(stamp_is_read_by_its_own_z_bit),
        cmocka_unit_test(stamp_has_the_z_bit_of_its_format),
        cmocka_unit_test(instants_beyond_int64_saturate),
        cmocka_unit_test(no_input_is_undefined),
        cmocka_unit_test(intervals_are_32_32_seconds),
        cmocka_unit_test(intervals_that_do_not_fit_saturate),
        cmocka_unit_test(error_estimates_have_their_known_values),
        cmocka_unit_test(unknown_error_is_encoded_as_the_largest),
        cmocka_unit_test(error_estimates_are_read_rounded_up),
        cmocka_unit_test(error_with_multiplier_zero_is_unknown),
        cmocka_unit_test(encoded_error_is_the_least_that_is_not_smaller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
