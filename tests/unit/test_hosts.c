/* Whose turn it is among the addresses of a name. What the probe makes of it is in
 * test_probe_names.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/hosts.h"

static struct tw_address host(uint8_t n)
{
    return (struct tw_address){.family = 4, .octets = {192, 0, 2, n}};
}

static bool take(struct tw_hosts *hosts, uint8_t first, size_t n, uint8_t tried, bool in_use)
{
    struct tw_address addresses[8];
    for (size_t i = 0; i < n; i++)
        addresses[i] = host((uint8_t)(first + i));
    const struct tw_address last = host(tried);
    return tw_hosts_take(hosts, addresses, n, &last, in_use);
}

static uint8_t whose_turn(struct tw_hosts *hosts)
{
    return tw_hosts_try(hosts).octets[3];
}

static void all_have_their_turn_and_then_the_first_again(void **state)
{
    (void)state;
    struct tw_hosts hosts = {.count = 0};
    assert_false(take(&hosts, 1, 3, 0, false));
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(whose_turn(&hosts), 1);
        assert_true(tw_hosts_next(&hosts));
        assert_int_equal(whose_turn(&hosts), 2);
        assert_true(tw_hosts_next(&hosts));
        assert_int_equal(whose_turn(&hosts), 3);
        assert_false(tw_hosts_next(&hosts));
    }
}

static void more_than_are_tried_are_left_out(void **state)
{
    (void)state;
    struct tw_hosts hosts = {.count = 0};
    take(&hosts, 1, 8, 0, false);
    assert_int_equal(hosts.count, TW_HOSTS_MAX);
}

static void address_in_use_stays_wherever_the_name_has_it(void **state)
{
    (void)state;
    for (uint8_t used = 1; used <= 8; used++) {
        struct tw_hosts hosts = {.count = 0};
        assert_true(take(&hosts, 1, 8, used, true));
        assert_false(hosts.renewed);
        assert_int_equal(whose_turn(&hosts), used);
    }
}

static void address_that_the_name_has_lost_makes_way_without_skipping_the_first(void **state)
{
    (void)state;
    struct tw_hosts hosts = {.count = 0};
    assert_false(take(&hosts, 1, 2, 9, true));
    assert_true(hosts.renewed);
    assert_true(tw_hosts_next(&hosts)); /* it is the old one that failed */
    assert_false(hosts.renewed);
    assert_int_equal(whose_turn(&hosts), 1);
    assert_true(tw_hosts_next(&hosts));
    assert_int_equal(whose_turn(&hosts), 2);
}

static void new_addresses_begin_at_the_first_while_none_is_in_use(void **state)
{
    (void)state;
    struct tw_hosts hosts = {.count = 0};
    take(&hosts, 1, 3, 0, false);
    tw_hosts_next(&hosts);
    assert_true(take(&hosts, 1, 3, 2, false));
    assert_false(hosts.renewed);
    assert_int_equal(whose_turn(&hosts), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_have_their_turn_and_then_the_first_again),
        cmocka_unit_test(more_than_are_tried_are_left_out),
        cmocka_unit_test(address_in_use_stays_wherever_the_name_has_it),
        cmocka_unit_test(address_that_the_name_has_lost_makes_way_without_skipping_the_first),
        cmocka_unit_test(new_addresses_begin_at_the_first_while_none_is_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
