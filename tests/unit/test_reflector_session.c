/* lib/reflector.h: from when until when a Session-Reflector answers, and how often: start, stop and
 * Timeout, REFWAIT, the rate limit. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "reflector_rig.h"

static void nothing_is_answered_before_the_start(void **state)
{
    (void)state;
    struct session s;
    accept_session(&s, (struct tw_reflector_config){.refwait_ns = 1});
    for (int i = 0; i < 3; i++)
        assert_int_equal(exchange(&s, i * TW_NS_PER_S), TW_IGNORE_NOT_STARTED);
    assert_true(tw_mono_is_never(tw_reflector_deadline(&s.reflector)));
    tw_reflector_expire(&s.reflector, mono(INT64_MAX - 1));
    tw_reflector_start(&s.reflector, mono(9 * TW_NS_PER_S));
    assert_int_equal(exchange(&s, 9 * TW_NS_PER_S), TW_REFLECT);
    assert_int_equal(reply_sequence(), 0);
    assert_int_equal(s.reflector.received, 1);
}

static void stopped_session_reflects_until_its_timeout(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.timeout_ns = 2 * TW_NS_PER_S});
    assert_true(tw_mono_is_never(tw_reflector_deadline(&s.reflector)));
    const int64_t stop_ns = 10 * TW_NS_PER_S;
    const int64_t end_ns = 12 * TW_NS_PER_S;
    tw_reflector_stop(&s.reflector, mono(stop_ns));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_STOPPING);
    assert_int_equal(tw_reflector_deadline(&s.reflector).ns, end_ns);
    assert_int_equal(exchange(&s, stop_ns + TW_NS_PER_S), TW_REFLECT);
    assert_int_equal(exchange(&s, end_ns - 1), TW_REFLECT);
    tw_reflector_expire(&s.reflector, mono(end_ns - 1));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_STOPPING);
    assert_int_equal(exchange(&s, end_ns), TW_IGNORE_STOPPED);
    assert_int_equal(exchange(&s, end_ns + TW_NS_PER_S), TW_IGNORE_STOPPED);
    assert_int_equal(s.reflector.state, TW_REFLECTOR_ENDED);
    assert_true(tw_mono_is_never(tw_reflector_deadline(&s.reflector)));
    assert_int_equal(s.reflector.reflected, 2);
}

static void timeout_zero_is_silent_at_once(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    assert_int_equal(exchange(&s, 5), TW_REFLECT);
    tw_reflector_stop(&s.reflector, mono(5));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_ENDED);
    assert_int_equal(exchange(&s, 5), TW_IGNORE_STOPPED);
}

static void session_that_was_not_started_ends_with_the_stop(void **state)
{
    (void)state;
    struct session s;
    accept_session(&s, (struct tw_reflector_config){.timeout_ns = TW_NS_PER_S});
    tw_reflector_stop(&s.reflector, mono(0));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_ENDED);
    assert_int_equal(exchange(&s, 0), TW_IGNORE_STOPPED);
}

static void second_stop_does_not_prolong(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.timeout_ns = 2 * TW_NS_PER_S});
    tw_reflector_stop(&s.reflector, mono(0));
    tw_reflector_stop(&s.reflector, mono(TW_NS_PER_S));
    assert_int_equal(tw_reflector_deadline(&s.reflector).ns, 2 * TW_NS_PER_S);
    tw_reflector_expire(&s.reflector, mono(2 * TW_NS_PER_S));
    tw_reflector_stop(&s.reflector, mono(3 * TW_NS_PER_S));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_ENDED);
}

/* It ended when REFWAIT did, though nobody has said so: there is nothing left to stop. */
static void stop_after_refwait_gains_no_timeout(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.refwait_ns = 10, .timeout_ns = 10});
    tw_reflector_stop(&s.reflector, mono(10));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_ENDED);
    assert_int_equal(exchange(&s, 11), TW_IGNORE_STOPPED);
}

static void longest_timeout_does_not_overflow(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.timeout_ns = INT64_MAX});
    tw_reflector_stop(&s.reflector, mono(10));
    assert_true(tw_mono_is_never(tw_reflector_deadline(&s.reflector)));
    assert_int_equal(exchange(&s, INT64_C(4000000000) * TW_NS_PER_S), TW_REFLECT);
}

static void idle_session_ends_after_refwait(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.refwait_ns = 2 * TW_NS_PER_S});
    assert_int_equal(tw_reflector_deadline(&s.reflector).ns, 2 * TW_NS_PER_S);
    tw_reflector_expire(&s.reflector, mono(2 * TW_NS_PER_S - 1));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_STARTED);
    tw_reflector_expire(&s.reflector, mono(2 * TW_NS_PER_S));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_ENDED);
    assert_int_equal(exchange(&s, 3 * TW_NS_PER_S), TW_IGNORE_STOPPED);
}

static void packet_after_refwait_is_ignored_though_nobody_called_expire(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.refwait_ns = 2 * TW_NS_PER_S});
    assert_int_equal(exchange(&s, 3 * TW_NS_PER_S), TW_IGNORE_STOPPED);
}

static void refwait_restarts_on_valid_packets_alone(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.refwait_ns = 2 * TW_NS_PER_S});
    assert_int_equal(exchange(&s, TW_NS_PER_S), TW_REFLECT);
    assert_int_equal(tw_reflector_deadline(&s.reflector).ns, 3 * TW_NS_PER_S);
    const struct tw_arrival arrival = arrival_at(2 * TW_NS_PER_S);
    assert_int_equal(offer(&s, SENDER_HEADER - 1, &arrival), TW_IGNORE_SHORT);
    assert_int_equal(tw_reflector_deadline(&s.reflector).ns, 3 * TW_NS_PER_S);
    tw_reflector_expire(&s.reflector, mono(3 * TW_NS_PER_S));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_ENDED);
}

static void refwait_zero_never_ends_a_session(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    assert_true(tw_mono_is_never(tw_reflector_deadline(&s.reflector)));
    tw_reflector_expire(&s.reflector, mono(INT64_MAX - 1));
    assert_int_equal(s.reflector.state, TW_REFLECTOR_STARTED);
}

static void rate_limit_allows_one_second_of_burst(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.max_rate = 3, .refwait_ns = TW_NS_PER_S});
    for (int i = 0; i < 3; i++)
        assert_int_equal(exchange(&s, 0), TW_REFLECT);
    assert_int_equal(exchange(&s, 0), TW_IGNORE_RATE);
    assert_int_equal(exchange(&s, 333333333), TW_IGNORE_RATE);
    assert_int_equal(exchange(&s, 333333334), TW_REFLECT);
    assert_int_equal(exchange(&s, 333333334), TW_IGNORE_RATE);
    /* What is above the rate is valid all the same, and takes no number. */
    assert_int_equal(s.reflector.received, 7);
    assert_int_equal(s.reflector.reflected, 4);
    assert_int_equal(tw_reflector_deadline(&s.reflector).ns, 333333334 + TW_NS_PER_S);
    assert_int_equal(exchange(&s, TW_NS_PER_S), TW_REFLECT);
    assert_int_equal(reply_sequence(), 4);
}

static void rate_limit_saves_up_no_more_than_a_second(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.max_rate = 3});
    const int64_t day_ns = 86400 * TW_NS_PER_S;
    for (int i = 0; i < 3; i++)
        assert_int_equal(exchange(&s, day_ns), TW_REFLECT);
    assert_int_equal(exchange(&s, day_ns), TW_IGNORE_RATE);
}

static void rate_limit_is_exact_in_the_long_run(void **state)
{
    (void)state;
    /* A packet each millisecond for ten seconds: the burst and ten times the rate are answered, or
     * all 10001 while the bucket does not run dry. */
    static const unsigned cases[][2] = {{1, 11}, {7, 77}, {300, 3300}, {909, 9999}, {999, 10001}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct session s;
        start_session(&s, (struct tw_reflector_config){.max_rate = cases[i][0]});
        unsigned reflected = 0;
        for (int ms = 0; ms <= 10000; ms++)
            reflected += exchange(&s, ms * TW_NS_PER_MS) == TW_REFLECT;
        assert_int_equal(reflected, cases[i][1]);
    }
}

static void largest_rate_does_not_overflow(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.max_rate = UINT32_MAX});
    assert_int_equal(exchange(&s, 0), TW_REFLECT);
    assert_int_equal(exchange(&s, TW_NS_PER_S - 1), TW_REFLECT);
    assert_int_equal(s.reflector.rate_credit, (UINT32_MAX - UINT64_C(1)) * 1000000000);
    /* 2^33 ns at 2^31 packets per second: a product of 2^64. */
    start_session(&s, (struct tw_reflector_config){.max_rate = UINT32_C(1) << 31});
    assert_int_equal(exchange(&s, 0), TW_REFLECT);
    assert_int_equal(exchange(&s, INT64_C(1) << 33), TW_REFLECT);
    assert_int_equal(s.reflector.rate_credit, ((UINT64_C(1) << 31) - 1) * 1000000000);
}

static void clock_that_another_thread_read_earlier_gives_no_credit(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.max_rate = 1});
    assert_int_equal(exchange(&s, 100), TW_REFLECT);
    assert_int_equal(exchange(&s, 50), TW_IGNORE_RATE);
    assert_int_equal(exchange(&s, TW_NS_PER_S), TW_IGNORE_RATE);
    assert_int_equal(exchange(&s, TW_NS_PER_S + 100), TW_REFLECT);
}

static void stop_of_one_session_does_not_touch_another(void **state)
{
    (void)state;
    struct session a, b;
    start_session(&a, (struct tw_reflector_config){0});
    start_session(&b, (struct tw_reflector_config){0});
    assert_int_equal(exchange(&a, 0), TW_REFLECT);
    tw_reflector_stop(&a.reflector, mono(0));
    assert_int_equal(exchange(&b, 0), TW_REFLECT);
    assert_int_equal(reply_sequence(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_answered_before_the_start),
        cmocka_unit_test(stopped_session_reflects_until_its_timeout),
        cmocka_unit_test(timeout_zero_is_silent_at_once),
        cmocka_unit_test(session_that_was_not_started_ends_with_the_stop),
        cmocka_unit_test(second_stop_does_not_prolong),
        cmocka_unit_test(stop_after_refwait_gains_no_timeout),
        cmocka_unit_test(longest_timeout_does_not_overflow),
        cmocka_unit_test(idle_session_ends_after_refwait),
        cmocka_unit_test(packet_after_refwait_is_ignored_though_nobody_called_expire),
        cmocka_unit_test(refwait_restarts_on_valid_packets_alone),
        cmocka_unit_test(refwait_zero_never_ends_a_session),
        cmocka_unit_test(rate_limit_allows_one_second_of_burst),
        cmocka_unit_test(rate_limit_saves_up_no_more_than_a_second),
        cmocka_unit_test(rate_limit_is_exact_in_the_long_run),
        cmocka_unit_test(largest_rate_does_not_overflow),
        cmocka_unit_test(clock_that_another_thread_read_earlier_gives_no_credit),
        cmocka_unit_test(stop_of_one_session_does_not_touch_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
