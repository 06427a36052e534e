/* lib/observation.h: hops, DSCP, clocks and sources, known and unknown. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/observation.h"

static const struct tw_sample silent = {
    .sender_ttl = -1, .ttl = -1, .sender_tos = -1, .tos = -1, .error_ns = -1};

static struct tw_observation hops_of(int16_t sender_ttl, int16_t ttl)
{
    struct tw_observation o;
    tw_observation_init(&o, NULL);
    struct tw_sample sample = silent;
    sample.sender_ttl = sender_ttl;
    sample.ttl = ttl;
    tw_observation_add(&o, &sample);
    return o;
}

static void nothing_seen_is_unknown(void **state)
{
    (void)state;
    struct tw_observation o;
    tw_observation_init(&o, NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(isnan(tw_observation_hops_forward(&o)));
        assert_true(isnan(tw_observation_hops_reverse(&o)));
        assert_true(isnan(tw_observation_dscp_forward(&o)));
        assert_true(isnan(tw_observation_dscp_reverse(&o)));
        assert_int_equal(o.clock_error_ns, -1);
        assert_int_equal(o.any, i == 1);
        tw_observation_add(&o, &silent);
    }
}

static void hops_are_counted_down_from_255(void **state)
{
    (void)state;
    struct tw_observation o = hops_of(250, 252);
    assert_true(tw_observation_hops_forward(&o) == 5.0);
    assert_true(tw_observation_hops_reverse(&o) == 3.0);
    o = hops_of(255, 255);
    assert_true(tw_observation_hops_forward(&o) == 0.0);
    assert_true(tw_observation_hops_reverse(&o) == 0.0);
    o = hops_of(255, -1);
    assert_true(tw_observation_hops_forward(&o) == 0.0);
    assert_true(isnan(tw_observation_hops_reverse(&o)));
    o = hops_of(191, 193);
    assert_true(tw_observation_hops_forward(&o) == 64.0);
    assert_true(tw_observation_hops_reverse(&o) == 62.0);
}

/* Whole operating systems answer with 64 or 128 (RFC 1700 has 64), whatever RFC 5357 says. */
static void reverse_hops_are_counted_from_the_nearest_usual_ttl(void **state)
{
    (void)state;
    static const struct {
        int16_t ttl;
        double hops;
    } rows[] = {
        {255, 0}, {254, 1}, {192, 63}, {129, 126}, {128, 0}, {127, 1},
        {65, 63}, {64, 0},  {63, 1},   {1, 63},    {0, 64},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tw_observation o = hops_of(250, rows[i].ttl);
        assert_true(tw_observation_hops_reverse(&o) == rows[i].hops);
        assert_true(tw_observation_hops_forward(&o) == 5.0);
    }
}

/* Our packets leave with 255: what says less than 191 was written by somebody else. */
static void sender_ttl_that_no_packet_of_ours_has_is_unset(void **state)
{
    (void)state;
    static const int16_t foreign[] = {0, 1, 64, 128, 190};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        struct tw_observation o = hops_of(foreign[i], 255);
        assert_true(isnan(tw_observation_hops_forward(&o)));
        assert_true(tw_observation_hops_reverse(&o) == 0.0);
        assert_true(tw_observation_ttl_unset(&o));
        o = hops_of(foreign[i], -1);
        assert_true(tw_observation_ttl_unset(&o));

        /* beside others it says as little as a reply without one */
        struct tw_sample sample = silent;
        sample.sender_ttl = 253;
        tw_observation_add(&o, &sample);
        sample.sender_ttl = foreign[i];
        tw_observation_add(&o, &sample);
        assert_true(tw_observation_hops_forward(&o) == 2.0);
        assert_false(tw_observation_ttl_unset(&o));
    }
}

static void sender_ttl_that_is_never_filled_in_is_unknown(void **state)
{
    (void)state;
    struct tw_observation o = hops_of(255, 254);
    assert_true(isnan(tw_observation_hops_forward(&o)));
    assert_true(tw_observation_hops_reverse(&o) == 1.0);
    struct tw_sample sample = silent;
    sample.sender_ttl = 253;
    tw_observation_add(&o, &sample);
    assert_true(tw_observation_hops_forward(&o) == 2.0);
    sample.sender_ttl = 255; /* no longer "always 255" */
    tw_observation_add(&o, &sample);
    assert_true(tw_observation_hops_forward(&o) == 0.0);
}

static void sender_ttl_is_unset_if_255_was_told_over_a_routed_path(void **state)
{
    (void)state;
    static const struct {
        int16_t sender_ttl, ttl;
        bool unset;
    } rows[] = {
        {255, 254, true},  {255, 63, true},   {255, 0, true},
        {255, 255, false}, {255, 128, false}, {255, 64, false}, /* no router on the way */
        {255, -1, false},                                       /* nobody knows */
        {254, 254, false}, {-1, 254, false}, /* never told: replies too short for it */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tw_observation o = hops_of(rows[i].sender_ttl, rows[i].ttl);
        assert_int_equal(tw_observation_ttl_unset(&o), rows[i].unset);
    }
    struct tw_observation o = hops_of(254, 254);
    struct tw_sample sample = silent;
    sample.sender_ttl = 255;
    tw_observation_add(&o, &sample);
    assert_false(tw_observation_ttl_unset(&o));
}

static void last_sample_that_told_counts(void **state)
{
    (void)state;
    struct tw_observation o = hops_of(250, 252);
    struct tw_sample sample = silent;
    sample.ttl = 240;
    sample.sender_tos = 0xb9; /* EF with an ECN bit */
    sample.tos = 0x28;
    tw_observation_add(&o, &sample);
    tw_observation_add(&o, &silent);
    assert_true(tw_observation_hops_forward(&o) == 5.0);
    assert_true(tw_observation_hops_reverse(&o) == 15.0);
    assert_true(tw_observation_dscp_forward(&o) == 46.0);
    assert_true(tw_observation_dscp_reverse(&o) == 10.0);
}

static void clock_is_synchronised_if_it_always_was(void **state)
{
    (void)state;
    struct tw_observation o;
    tw_observation_init(&o, NULL);
    assert_false(o.local_synchronized);
    struct tw_sample sample = silent;
    sample.local_synchronized = sample.remote_synchronized = true;
    tw_observation_add(&o, &sample);
    assert_true(o.local_synchronized && o.remote_synchronized);
    sample.remote_synchronized = false;
    tw_observation_add(&o, &sample);
    sample.remote_synchronized = true;
    tw_observation_add(&o, &sample);
    assert_true(o.local_synchronized);
    assert_false(o.remote_synchronized);
}

static void worst_source_and_largest_error_count(void **state)
{
    (void)state;
    struct tw_observation o;
    tw_observation_init(&o, NULL);
    static const int64_t errors[] = {30, 50, 40};
    static const enum tw_source sources[] = {TW_SOURCE_HARDWARE, TW_SOURCE_USER, TW_SOURCE_KERNEL};
    for (unsigned i = 0; i < 3; i++) {
        struct tw_sample sample = silent;
        sample.error_ns = errors[i];
        sample.transmit_source = sources[i];
        sample.receive_source = i == 1 ? TW_SOURCE_KERNEL : TW_SOURCE_HARDWARE;
        tw_observation_add(&o, &sample);
    }
    assert_int_equal(o.transmit_source, TW_SOURCE_USER);
    assert_int_equal(o.receive_source, TW_SOURCE_KERNEL);
    assert_int_equal(o.clock_error_ns, 50);
    assert_false(o.clock_error_unknown);
    tw_observation_add(&o, &silent);
    assert_int_equal(o.clock_error_ns, 50);
    assert_true(o.clock_error_unknown);
}

struct times {
    int64_t t1, t2, t3;
};

static void show(struct tw_observation *o, struct times times, unsigned flags)
{
    struct tw_sample sample = silent;
    sample.t1.ns = times.t1;
    sample.t2.ns = times.t2;
    sample.t3.ns = times.t3;
    sample.flags = flags;
    tw_observation_add(o, &sample);
}

static void check_unknown(const struct tw_observation *o, bool receive, bool transmit)
{
    assert_int_equal(tw_observation_receive_unknown(o), receive);
    assert_int_equal(tw_observation_transmit_unknown(o), transmit);
}

static void timestamp_that_is_missing_once_is_unknown(void **state)
{
    (void)state;
    struct tw_observation o;
    tw_observation_init(&o, NULL);
    check_unknown(&o, false, false);
    show(&o, (struct times){0, 10, 20}, 0);
    check_unknown(&o, false, false);
    show(&o, (struct times){100, 120, 120}, TW_SAMPLE_NO_RECEIVE);
    check_unknown(&o, true, false);
    show(&o, (struct times){200, 210, 210}, TW_SAMPLE_NO_TRANSMIT);
    check_unknown(&o, true, true);
    show(&o, (struct times){300, 310, 320}, 0);
    check_unknown(&o, true, true);
    assert_false(tw_observation_clock_stands(&o));
}

static void timestamp_that_all_replies_have_is_unknown(void **state)
{
    (void)state;
    static const struct {
        struct times times[3];
        bool receive, transmit;
    } rows[] = {
        {{{0, 5, 6}, {100, 105, 106}, {200, 205, 206}}, false, false},
        {{{0, 5, 5}, {100, 5, 5}, {200, 5, 5}}, true, true},
        {{{0, 5, 6}, {100, 5, 6}, {200, 5, 6}}, true, true},
        {{{0, 5, 6}, {100, 5, 106}, {200, 5, 206}}, true, false},
        {{{0, 5, 6}, {100, 105, 6}, {200, 205, 6}}, false, true},
        {{{200, 5, 5}, {100, 5, 5}, {0, 5, 5}}, true, true}, /* in whatever order */
        {{{0, 5, 5}, {0, 5, 5}, {0, 5, 5}}, false, false},   /* copies of one reply */
        {{{0, 5, 5}, {0, 5, 5}, {1, 5, 5}}, true, true},
        /* a coarse clock, not one that stands */
        {{{0, 5, 5}, {100, 5, 5}, {200, 205, 205}}, false, false},
        {{{0, 5, 5}, {100, 205, 205}, {200, 205, 205}}, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tw_observation o;
        tw_observation_init(&o, NULL);
        for (size_t j = 0; j < 3; j++)
            show(&o, rows[i].times[j], 0);
        check_unknown(&o, rows[i].receive, rows[i].transmit);
        assert_false(tw_observation_clock_stands(&o)); /* 200 ns are no proof */
    }
}

/* Whole seconds and packets within one of them: known from how it was before. */
static void coarse_clock_that_moved_between_sessions_runs(void **state)
{
    (void)state;
    const int64_t s = TW_NS_PER_S;
    struct tw_reflector_clock clock = {0};
    struct tw_observation o;
    for (int64_t session = 0; session < 3; session++) {
        tw_observation_init(&o, &clock);
        check_unknown(&o, false, false);
        for (int64_t i = 0; i < 5; i++) {
            const struct times times = {10 * s * session + i, 10 * s * session, 10 * s * session};
            show(&o, times, 0);
            struct tw_sample sample = silent;
            sample.t1.ns = times.t1;
            sample.t2.ns = times.t2;
            sample.t3.ns = times.t3;
            tw_reflector_clock_add(&clock, &sample);
        }
        check_unknown(&o, session == 0, session == 0);
        assert_false(tw_observation_clock_stands(&o));
    }
}

static void clock_stands_when_it_was_the_same_for_a_second(void **state)
{
    (void)state;
    const int64_t s = TW_NS_PER_S;
    struct tw_reflector_clock clock = {0};
    struct tw_sample sample = silent;
    sample.t2.ns = sample.t3.ns = 5;
    tw_reflector_clock_add(&clock, &sample);
    struct tw_observation o;
    tw_observation_init(&o, &clock);
    assert_false(tw_observation_clock_stands(&o));
    show(&o, (struct times){s - 1, 5, 5}, 0);
    check_unknown(&o, true, true); /* one sample, and what was before */
    assert_false(tw_observation_clock_stands(&o));
    show(&o, (struct times){s, 5, 5}, 0);
    assert_true(tw_observation_clock_stands(&o));
    show(&o, (struct times){s + 1, 6, 6}, 0);
    check_unknown(&o, false, false);
    assert_false(tw_observation_clock_stands(&o));

    /* and where nothing came since it stood, nothing is said */
    sample.t1.ns = s;
    tw_reflector_clock_add(&clock, &sample);
    tw_observation_init(&o, &clock);
    check_unknown(&o, false, false);
    assert_false(tw_observation_clock_stands(&o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_seen_is_unknown),
        cmocka_unit_test(hops_are_counted_down_from_255),
        cmocka_unit_test(reverse_hops_are_counted_from_the_nearest_usual_ttl),
        cmocka_unit_test(sender_ttl_that_no_packet_of_ours_has_is_unset),
        cmocka_unit_test(sender_ttl_that_is_never_filled_in_is_unknown),
        cmocka_unit_test(sender_ttl_is_unset_if_255_was_told_over_a_routed_path),
        cmocka_unit_test(last_sample_that_told_counts),
        cmocka_unit_test(clock_is_synchronised_if_it_always_was),
        cmocka_unit_test(timestamp_that_is_missing_once_is_unknown),
        cmocka_unit_test(timestamp_that_all_replies_have_is_unknown),
        cmocka_unit_test(coarse_clock_that_moved_between_sessions_runs),
        cmocka_unit_test(clock_stands_when_it_was_the_same_for_a_second),
        cmocka_unit_test(worst_source_and_largest_error_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
