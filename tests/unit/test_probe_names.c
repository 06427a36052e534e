/* How a probe uses its target's name: when it is looked up, which of its addresses are tried and
 * kept, and what a resolver that fails or never answers comes to. */
#include "probe_rig.h"

#include <errno.h>
#include <netdb.h>

static void name_is_asked_for_before_the_first_interval_begins(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    assert_int_equal(tw_probe_deadline(&rig.probe).ns, RIG_BOOT_NS);
    rig_expire(&rig);
    take(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 1);
    assert_quiet_until(&rig, RIG_FIRST_NS - 1);
    const struct tw_probe_event event = wait_for(&rig, TW_PROBE_CONNECT);
    assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS);
    assert_int_equal(event.address.octets[3], 1);
    assert_int_equal(event.address.port, 862);
}

static void at_most_four_addresses_are_tried_in_turn(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 6);
    wait_for(&rig, TW_PROBE_CONNECT);
    for (unsigned i = 2; i <= TW_HOSTS_MAX; i++) {
        tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
        assert_int_equal(take(&rig, TW_PROBE_CONNECT).address.octets[3], i);
    }
    assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS); /* without any delay so far */
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    assert_quiet(&rig);
    assert_int_equal(wait_for(&rig, TW_PROBE_CONNECT).address.octets[3], 1);
    assert_true(rig.now.mono.ns > RIG_FIRST_NS);
}

static void address_that_worked_is_used_first_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 3);
    wait_for(&rig, TW_PROBE_CONNECT);
    tw_probe_connect_failed(&rig.probe, ENETUNREACH, rig.now.mono);
    take(&rig, TW_PROBE_CONNECT);
    accept_connection(&rig);
    say_greeting(&rig);
    finish_set_up(&rig);
    send_session(&rig);
    wait_for_result(&rig);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    assert_int_equal(wait_for(&rig, TW_PROBE_CONNECT).address.octets[3], 2);
}

/* An address that swallows everything must not keep the others from being tried for ever: here
 * connecting may take longer than there is time in an interval. */
static void address_that_uses_up_the_interval_is_not_tried_first_again(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.connect_ns = 8 * S;
    config.client.step_ns = 8 * S;
    for (unsigned mute = 0; mute < 2; mute++) {
        struct rig rig;
        rig_begin_with(&rig, &config, 1);
        wait_for(&rig, TW_PROBE_RESOLVE);
        answer_name(&rig, 2);
        assert_int_equal(wait_for(&rig, TW_PROBE_CONNECT).address.octets[3], 1);
        if (mute)
            accept_connection(&rig);
        wait_for(&rig, TW_PROBE_DISCONNECT);
        const struct tw_measurement m = wait_for_result(&rig);
        assert_int_equal(m.state, mute ? TW_MEASUREMENT_SILENT : TW_MEASUREMENT_UNREACHABLE);
        assert_int_equal(wait_for(&rig, TW_PROBE_CONNECT).address.octets[3], 2);
    }
}

static void resolver_that_never_answers_is_asked_once_and_waited_for(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    wait_for(&rig, TW_PROBE_RESOLVE);
    for (unsigned i = 0; i < 3; i++) {
        const struct tw_measurement m = wait_for_result(&rig);
        assert_int_equal(m.state, TW_MEASUREMENT_NAME);
        assert_int_equal(m.trouble.error, 0);
        assert_false(m.session);
    }
    assert_quiet_until(&rig, RIG_FIRST_NS + 30 * S + 100 * MS);
    answer_name(&rig, 1);
    take(&rig, TW_PROBE_CONNECT); /* in the middle of an interval, at once */
}

static void name_that_is_known_too_late_is_told_as_such(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    wait_for(&rig, TW_PROBE_RESOLVE);
    rig_set_time(&rig, RIG_FIRST_NS);
    rig_expire(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 7600 * MS);
    answer_name(&rig, 1);
    rig_expire(&rig);
    const struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_int_equal(m.state, TW_MEASUREMENT_NAME);
    assert_quiet(&rig);
    wait_for(&rig, TW_PROBE_CONNECT);
    assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 10 * S);
}

static void resolver_error_is_told_and_tried_again(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_probe_event event;
    unsigned asked = 0;
    rig_begin(&rig);
    for (;;) {
        assert_true(next_within(&rig, INT64_MAX - 1, &event));
        if (event.type == TW_PROBE_RESULT)
            break;
        assert_int_equal(event.type, TW_PROBE_RESOLVE);
        tw_probe_resolved(&rig.probe, NULL, 0, EAI_AGAIN, rig.now.mono);
        asked++;
    }
    assert_int_equal(event.measurement->state, TW_MEASUREMENT_NAME);
    assert_int_equal(event.measurement->trouble.error, EAI_AGAIN);
    assert_false(event.measurement->trouble.valid);
    assert_true(asked >= 3 && asked <= 6);
}

static void answer_nobody_asked_for_is_ignored(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    answer_name(&rig, 1);
    assert_int_equal(rig.probe.hosts.count, 0);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 1);
    answer_name_with(&rig, 9);
    assert_int_equal(wait_for(&rig, TW_PROBE_CONNECT).address.octets[3], 1);
}

static void old_addresses_serve_while_the_name_cannot_be_resolved(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.resolve_ns = 5 * S;
    struct rig rig;
    rig_connecting_with(&rig, &config);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    tw_probe_resolved(&rig.probe, NULL, 0, EAI_FAIL, rig.now.mono);
    assert_int_equal(wait_for(&rig, TW_PROBE_CONNECT).address.octets[3], 1);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    struct tw_probe_event event;
    for (unsigned asked = 0;;) {
        assert_true(next_within(&rig, INT64_MAX - 1, &event));
        if (event.type == TW_PROBE_RESULT)
            break;
        if (event.type == TW_PROBE_RESOLVE) {
            assert_true(++asked < 2); /* not more often than once an interval */
            tw_probe_resolved(&rig.probe, NULL, 0, EAI_FAIL, rig.now.mono);
        } else {
            assert_int_equal(event.type, TW_PROBE_CONNECT);
            tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
        }
    }
    assert_int_equal(event.measurement->state, TW_MEASUREMENT_UNREACHABLE); /* not NAME */
    assert_int_equal(event.measurement->trouble.error, ECONNREFUSED);
}

/* All that a server and its reflector answer, until the name is to be looked up. */
static void serve_until_resolve(struct rig *rig)
{
    for (;;) {
        struct tw_probe_event event;
        while (tw_probe_next_event(&rig->probe, &event))
            if (event.type == TW_PROBE_RESOLVE)
                return;
        rig_set_time(rig, tw_probe_deadline(&rig->probe).ns);
        rig_expire(rig);
        if (rig->probe.client.step == TW_CLIENT_STEP_REQUEST)
            finish_set_up(rig);
        while (tw_probe_send_due(&rig->probe, rig->now.mono)) {
            send_packet(rig);
            reflect_packet(rig);
        }
    }
}

/* A resolver that fails for a while: nothing that happens to the connection is needed for the next
 * look-up. */
static void refresh_that_failed_is_tried_again_an_interval_later(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.resolve_ns = 1100 * MS; /* from before the first interval: in its session */
    struct rig rig;
    rig_requested_with(&rig, &config);
    finish_set_up(&rig);
    send_packet(&rig);
    rig.config.resolve_ns = 3600 * S;
    for (int64_t failed = 0; failed < 3; failed++) {
        serve_until_resolve(&rig);
        assert_int_equal(rig.now.mono.ns, RIG_BOOT_NS + 1100 * MS + failed * 10 * S);
        tw_probe_resolved(&rig.probe, NULL, 0, EAI_AGAIN, rig.now.mono);
    }
}

static void name_is_looked_up_anew_once_in_an_interval_of_failures(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_probe_event event;
    rig_connecting(&rig);
    unsigned asked = 0;
    for (;;) {
        tw_probe_connect_failed(&rig.probe, EHOSTUNREACH, rig.now.mono);
        do {
            assert_true(next_within(&rig, INT64_MAX - 1, &event));
            if (event.type == TW_PROBE_RESOLVE) {
                answer_name(&rig, 1);
                asked++;
            }
        } while (event.type == TW_PROBE_RESOLVE);
        if (event.type == TW_PROBE_RESULT)
            break;
    }
    assert_int_equal(asked, 1);
}

static void name_that_has_moved_is_followed_without_delay(void **state)
{
    (void)state;
    struct rig rig;
    rig_connecting(&rig);
    rig.probe.failures = 10; /* after a long time without the target */
    tw_probe_connect_failed(&rig.probe, EHOSTUNREACH, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    assert_quiet(&rig);
    answer_name_with(&rig, 5);
    assert_int_equal(take(&rig, TW_PROBE_CONNECT).address.octets[3], 5);
}

static void new_addresses_that_come_while_connecting_are_tried_from_the_first(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.resolve_ns = 2 * S;
    struct rig rig;
    rig_connecting_with(&rig, &config);
    wait_for(&rig, TW_PROBE_RESOLVE);
    const struct tw_address moved[] = {rig_host(7), rig_host(8)};
    tw_probe_resolved(&rig.probe, moved, 2, 0, rig.now.mono);
    assert_quiet(&rig); /* the attempt under way may still succeed */
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    assert_int_equal(take(&rig, TW_PROBE_CONNECT).address.octets[3], 7);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    assert_int_equal(take(&rig, TW_PROBE_CONNECT).address.octets[3], 8);
}

static void connection_to_an_address_the_name_lost_is_replaced_between_sessions(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.resolve_ns = 1100 * MS; /* from before the first interval: in its session */
    struct rig rig;
    rig_requested_with(&rig, &config);
    finish_set_up(&rig);
    send_packet(&rig);
    wait_for(&rig, TW_PROBE_RESOLVE);
    assert_int_equal(rig.probe.phase, TW_PROBE_TEST);
    rig.config.resolve_ns = 60 * S;
    answer_name_with(&rig, 2);
    assert_quiet(&rig);
    send_session(&rig);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.summary.sent, 4);
    assert_int_equal(m.remote.octets[3], 1);
    wait_for(&rig, TW_PROBE_DISCONNECT);
    assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 10 * S);
    write_output(&rig); /* the rest of the old stream: the stop, unless written before */
    assert_int_equal(count_commands(&rig, 3), 1);
    assert_int_equal(take(&rig, TW_PROBE_CONNECT).address.octets[3], 2);
}

static void address_in_use_is_kept_wherever_it_stands_in_the_list(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.resolve_ns = 12 * S;
    for (uint8_t place = 0; place < 7; place++) {
        struct rig rig;
        rig_begin_with(&rig, &config, 1);
        wait_for(&rig, TW_PROBE_RESOLVE);
        answer_name_with(&rig, 77);
        wait_for(&rig, TW_PROBE_CONNECT);
        accept_connection(&rig);
        say_greeting(&rig);
        finish_set_up(&rig);
        send_session(&rig);
        wait_for_result(&rig);
        /* The second interval is begun with a request on the open connection. */
        rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
        rig_expire(&rig);
        finish_set_up(&rig);
        send_session(&rig);
        wait_for(&rig, TW_PROBE_RESOLVE);
        struct tw_address addresses[7];
        for (uint8_t i = 0; i < 7; i++)
            addresses[i] = rig_host(i == place ? 77 : (uint8_t)(i + 1));
        tw_probe_resolved(&rig.probe, addresses, 7, 0, rig.now.mono);
        wait_for_result(&rig);
        rig_set_time(&rig, RIG_FIRST_NS + 20 * S);
        rig_expire(&rig);
        assert_quiet(&rig);
        assert_int_equal(rig.probe.client.step, TW_CLIENT_STEP_REQUEST);
        assert_int_equal(rig.probe.hosts.count, TW_HOSTS_MAX);
        assert_int_equal(rig.probe.hosts.addresses[rig.probe.hosts.turn].octets[3], 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_is_asked_for_before_the_first_interval_begins),
        cmocka_unit_test(at_most_four_addresses_are_tried_in_turn),
        cmocka_unit_test(address_that_worked_is_used_first_again),
        cmocka_unit_test(address_that_uses_up_the_interval_is_not_tried_first_again),
        cmocka_unit_test(resolver_that_never_answers_is_asked_once_and_waited_for),
        cmocka_unit_test(name_that_is_known_too_late_is_told_as_such),
        cmocka_unit_test(resolver_error_is_told_and_tried_again),
        cmocka_unit_test(answer_nobody_asked_for_is_ignored),
        cmocka_unit_test(old_addresses_serve_while_the_name_cannot_be_resolved),
        cmocka_unit_test(refresh_that_failed_is_tried_again_an_interval_later),
        cmocka_unit_test(name_is_looked_up_anew_once_in_an_interval_of_failures),
        cmocka_unit_test(name_that_has_moved_is_followed_without_delay),
        cmocka_unit_test(new_addresses_that_come_while_connecting_are_tried_from_the_first),
        cmocka_unit_test(connection_to_an_address_the_name_lost_is_replaced_between_sessions),
        cmocka_unit_test(address_in_use_is_kept_wherever_it_stands_in_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
