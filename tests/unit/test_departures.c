/* lib/sys/departures.h: which packet a number stands for. The kernel's side of the numbers is shown
 * in test_udp_notices.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/sys/departures.h"

static struct tw_departures departures;
static struct tw_departure found;

static int set_up(void **state)
{
    (void)state;
    departures = (struct tw_departures){.known = false};
    return 0;
}

static void remember(uint32_t target, uint32_t session, uint32_t sequence)
{
    const struct tw_probe_packet packet = {session, sequence};
    tw_departures_remember(&departures, target, packet);
}

static void assert_found(uint32_t number, uint32_t target, uint32_t session, uint32_t sequence)
{
    const tw_wall left = {1000 + (int64_t)number};
    struct tw_departure again;
    assert_true(tw_departures_given(&departures, number));
    assert_false(tw_departures_recall(&departures, number, &again));
    assert_true(tw_departures_find(&departures, number, left, &found));
    assert_true(tw_departures_recall(&departures, number, &again));
    assert_int_equal(again.left.ns, left.ns);
    assert_int_equal(again.packet.session, session);
    assert_int_equal(again.packet.sequence, sequence);
    assert_int_equal(again.target, target);
    assert_int_equal(found.left.ns, left.ns);
    assert_int_equal(found.target, target);
    assert_int_equal(found.packet.session, session);
    assert_int_equal(found.packet.sequence, sequence);
}

static void assert_past(uint32_t number)
{
    assert_true(tw_departures_given(&departures, number));
    assert_false(tw_departures_find(&departures, number, (tw_wall){1}, &found));
}

static void assert_not_given(uint32_t number)
{
    assert_false(tw_departures_given(&departures, number));
    assert_false(tw_departures_recall(&departures, number, &found));
    assert_false(tw_departures_find(&departures, number, (tw_wall){1}, &found));
}

static tw_mono at_ms(int64_t ms)
{
    return (tw_mono){(INT64_C(86400) * 1000 + ms) * TW_NS_PER_MS};
}

static void packets_are_numbered_in_the_order_of_sending(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    remember(7, 1, 100);
    remember(8, 3, 0);
    remember(7, 1, 101);
    assert_int_equal(departures.awaited, 3);
    assert_found(2, 7, 1, 101);
    assert_found(0, 7, 1, 100);
    assert_found(1, 8, 3, 0);
    assert_int_equal(departures.awaited, 0);
}

static void a_number_is_found_once(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    remember(1, 1, 1);
    assert_found(0, 1, 1, 1);
    assert_past(0);
    assert_int_equal(departures.awaited, 0);
}

static void a_number_that_was_not_given_is_known_as_such(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    assert_not_given(0);
    remember(1, 1, 1);
    assert_not_given(1);
    assert_not_given(TW_DEPARTURES);
    assert_not_given(INT32_MAX);
}

static void the_newest_are_remembered_and_no_more(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    for (uint32_t i = 0; i < TW_DEPARTURES + 2; i++)
        remember(i, 1, i);
    assert_int_equal(departures.awaited, TW_DEPARTURES);
    assert_past(0);
    assert_past(1);
    assert_false(tw_departures_recall(&departures, 1, &found));
    for (uint32_t i = 2; i < TW_DEPARTURES + 2; i++)
        assert_found(i, i, 1, i);
    assert_int_equal(departures.awaited, 0);
}

/* Four thousand million packets later. */
static void numbers_wrap(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    departures.next = UINT32_MAX - 1;
    for (uint32_t i = 0; i < 4; i++)
        remember(i, 1, i);
    assert_int_equal(departures.next, 2);
    assert_found(UINT32_MAX - 1, 0, 1, 0);
    assert_found(UINT32_MAX, 1, 1, 1);
    assert_found(0, 2, 1, 2);
    assert_found(1, 3, 1, 3);
    assert_not_given(2);
}

/* Not even a whole round of the ring, or half of all numbers, makes one of another packet. */
static void a_number_of_another_round_is_not_found(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    departures.next = 10 * TW_DEPARTURES;
    remember(1, 1, 1);
    assert_past(9 * TW_DEPARTURES);
    assert_not_given(11 * TW_DEPARTURES);
    assert_not_given(10 * TW_DEPARTURES + (UINT32_C(1) << 31));
    assert_found(10 * TW_DEPARTURES, 1, 1, 1);
}

static void nothing_is_remembered_before_the_numbers_are_known(void **state)
{
    (void)state;
    remember(1, 1, 1);
    assert_int_equal(departures.awaited, 0);
    assert_not_given(0);
}

static void what_left_before_the_numbers_were_lost_is_still_found(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    remember(1, 1, 1);
    tw_departures_lose(&departures, at_ms(0));
    remember(2, 1, 1);
    assert_not_given(1);
    assert_found(0, 1, 1, 1);
}

static void numbers_begin_anew_when_no_old_one_is_under_way(void **state)
{
    (void)state;
    assert_true(tw_departures_may_begin(&departures, at_ms(0)));
    tw_departures_begin(&departures);
    assert_false(tw_departures_may_begin(&departures, at_ms(0)));
    remember(1, 1, 1);
    remember(2, 1, 1);
    tw_departures_lose(&departures, at_ms(0));
    remember(3, 1, 1); /* has a number that nobody knows */
    assert_found(0, 1, 1, 1);
    assert_found(1, 2, 1, 1);
    assert_true(tw_departures_awaits(&departures));
    assert_false(tw_departures_may_begin(&departures, at_ms(999)));
    assert_true(tw_departures_may_begin(&departures, at_ms(1000))); /* it never comes */
    assert_false(tw_departures_find(&departures, 3, (tw_wall){1}, &found));
    assert_false(tw_departures_awaits(&departures));
    assert_true(tw_departures_may_begin(&departures, at_ms(1)));
    tw_departures_lose(&departures, at_ms(900)); /* lost already */
    remember(4, 1, 1);
    assert_true(tw_departures_may_begin(&departures, at_ms(1000)));
    tw_departures_begin(&departures);
    assert_false(tw_departures_awaits(&departures));
}

static void a_new_beginning_forgets_all(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    remember(1, 1, 1);
    remember(2, 1, 1);
    tw_departures_begin(&departures);
    assert_int_equal(departures.awaited, 0);
    remember(3, 1, 1);
    assert_not_given(1);
    assert_found(0, 3, 1, 1);
}

static void doubt_costs_the_numbers_at_most_once_a_second(void **state)
{
    (void)state;
    tw_departures_begin(&departures);
    tw_departures_doubt(&departures, at_ms(0));
    assert_false(departures.known);
    tw_departures_begin(&departures);
    tw_departures_doubt(&departures, at_ms(999));
    assert_true(departures.known);
    tw_departures_doubt(&departures, at_ms(1000));
    assert_false(departures.known);
    tw_departures_doubt(&departures, at_ms(5000)); /* already lost: this is no new doubt */
    tw_departures_begin(&departures);
    tw_departures_doubt(&departures, at_ms(5001));
    assert_false(departures.known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(packets_are_numbered_in_the_order_of_sending, set_up),
        cmocka_unit_test_setup(a_number_is_found_once, set_up),
        cmocka_unit_test_setup(a_number_that_was_not_given_is_known_as_such, set_up),
        cmocka_unit_test_setup(the_newest_are_remembered_and_no_more, set_up),
        cmocka_unit_test_setup(numbers_wrap, set_up),
        cmocka_unit_test_setup(a_number_of_another_round_is_not_found, set_up),
        cmocka_unit_test_setup(nothing_is_remembered_before_the_numbers_are_known, set_up),
        cmocka_unit_test_setup(what_left_before_the_numbers_were_lost_is_still_found, set_up),
        cmocka_unit_test_setup(numbers_begin_anew_when_no_old_one_is_under_way, set_up),
        cmocka_unit_test_setup(a_new_beginning_forgets_all, set_up),
        cmocka_unit_test_setup(doubt_costs_the_numbers_at_most_once_a_second, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
