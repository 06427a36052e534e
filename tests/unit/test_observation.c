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
    tw_observation_init(&o);
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
    tw_observation_init(&o);
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
    o = hops_of(0, 0);
    assert_true(tw_observation_hops_forward(&o) == 255.0);
    assert_true(tw_observation_hops_reverse(&o) == 255.0);
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
        {255, 254, true},  {255, 0, true},   {255, 255, false}, /* no router on the way */
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
    tw_observation_init(&o);
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
    tw_observation_init(&o);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_seen_is_unknown),
        cmocka_unit_test(hops_are_counted_down_from_255),
        cmocka_unit_test(sender_ttl_that_is_never_filled_in_is_unknown),
        cmocka_unit_test(sender_ttl_is_unset_if_255_was_told_over_a_routed_path),
        cmocka_unit_test(last_sample_that_told_counts),
        cmocka_unit_test(clock_is_synchronised_if_it_always_was),
        cmocka_unit_test(worst_source_and_largest_error_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
