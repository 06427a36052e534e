/* How a probe gets to a session: its configuration, connections and retries, seen from its driver.
 * Names are in test_probe_names.c, what it measures in test_probe_session.c. */
#include "probe_rig.h"

#include <errno.h>

static void session_must_end_before_the_next_interval(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    assert_true(tw_probe_fits(&config));
    config.interval_ns = 2400 * MS + 1;
    assert_true(tw_probe_fits(&config));
    config.interval_ns = 2400 * MS;
    assert_false(tw_probe_fits(&config));
    config.interval_ns = 0;
    assert_false(tw_probe_fits(&config));
    config.interval_ns = -10 * S;
    assert_false(tw_probe_fits(&config));

    config = rig_plan();
    config.count = 0;
    assert_false(tw_probe_fits(&config));
    config = rig_plan();
    config.packet_interval_ns = 0;
    assert_false(tw_probe_fits(&config));
    config.packet_interval_ns = -1;
    assert_false(tw_probe_fits(&config));
    config = rig_plan();
    config.sender.wait_ns = 0;
    assert_true(tw_probe_fits(&config));
    config.sender.wait_ns = -1;
    assert_false(tw_probe_fits(&config));
}

static void fitting_is_judged_without_overflow(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.sender.wait_ns = INT64_MAX;
    assert_false(tw_probe_fits(&config));
    config.count = UINT32_MAX;
    assert_false(tw_probe_fits(&config));
    config.packet_interval_ns = INT64_MAX;
    assert_false(tw_probe_fits(&config));
    config.sender.wait_ns = 0;
    assert_false(tw_probe_fits(&config));

    config.interval_ns = INT64_MAX;
    config.count = 1;
    config.packet_interval_ns = INT64_MAX / 2;
    config.sender.wait_ns = INT64_MAX / 2;
    assert_true(tw_probe_fits(&config)); /* 2^63 - 2 < 2^63 - 1 */
    config.sender.wait_ns++;
    assert_false(tw_probe_fits(&config));
    config.sender.wait_ns = INT64_MAX - 1;
    assert_false(tw_probe_fits(&config));
}

static void slots_are_the_next_power_of_two(void **state)
{
    (void)state;
    static const struct {
        uint32_t count, slots;
    } truth[] = {{1, 1},       {2, 2},       {3, 4},
                 {4, 4},       {5, 8},       {100, 128},
                 {1024, 1024}, {1025, 2048}, {UINT32_C(1) << 31, UINT32_C(1) << 31}};
    for (size_t i = 0; i < ARRAY_SIZE(truth); i++) {
        const struct tw_probe_config config = {.count = truth[i].count};
        assert_int_equal(tw_probe_slots(&config), truth[i].slots);
    }
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(tw_measurement_state_name(TW_MEASUREMENT_OK), "ok");
    assert_string_equal(tw_measurement_state_name(TW_MEASUREMENT_NAME), "name");
    assert_string_equal(tw_measurement_state_name((enum tw_measurement_state)77), "unknown");
}

static void nothing_moves_on_a_connection_that_is_not_up(void **state)
{
    (void)state;
    struct rig rig;
    size_t n;
    rig_connecting(&rig);
    assert_null(tw_probe_input(&rig.probe, &n));
    assert_int_equal(n, 0);
    tw_probe_output(&rig.probe, &n);
    assert_int_equal(n, 0);
    tw_probe_received(&rig.probe, 0, rig.now.mono);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
    assert_int_equal(tw_probe_prepare(&rig.probe, rig.packet, sizeof rig.packet, &n), TW_ERR_STATE);
    accept_connection(&rig);
    assert_non_null(tw_probe_input(&rig.probe, &n));
    assert_int_equal(n, 64);
}

static void connection_is_closed_before_the_next_one_is_opened(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 2);
    wait_for(&rig, TW_PROBE_CONNECT);
    rig_set_time(&rig, RIG_FIRST_NS + 3 * S); /* connecting takes too long */
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    assert_int_equal(take(&rig, TW_PROBE_CONNECT).address.octets[3], 2);
    assert_quiet(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 6 * S);
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    take(&rig, TW_PROBE_RESOLVE); /* none is left: perhaps the name has moved */
    assert_quiet(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 7 * S);
    rig_expire(&rig);
    take(&rig, TW_PROBE_CONNECT);
    rig_set_time(&rig, RIG_FIRST_NS + 7600 * MS);
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    take(&rig, TW_PROBE_RESULT);
    assert_quiet(&rig);
}

/* The delays between the attempts on a single address that refuses, over one long interval. */
static unsigned collect_delays(uint64_t seed, int64_t *delays, unsigned room)
{
    struct tw_probe_config config = rig_plan();
    config.interval_ns = 1000 * S;
    struct rig rig;
    struct tw_probe_event event;
    unsigned n = 0;
    rig_begin_with(&rig, &config, seed);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 1);
    wait_for(&rig, TW_PROBE_CONNECT);
    int64_t failed = rig.now.mono.ns;
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    for (;;) {
        assert_true(next_within(&rig, INT64_MAX - 1, &event));
        if (event.type == TW_PROBE_RESOLVE) {
            answer_name(&rig, 1);
            continue;
        }
        if (event.type == TW_PROBE_RESULT)
            return n;
        assert_int_equal(event.type, TW_PROBE_CONNECT);
        assert_true(n < room);
        delays[n++] = rig.now.mono.ns - failed;
        failed = rig.now.mono.ns;
        tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    }
}

static void retries_slow_down_and_are_spread(void **state)
{
    (void)state;
    int64_t least = INT64_MAX, most = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        int64_t delays[16] = {0};
        const unsigned n = collect_delays(seed, delays, ARRAY_SIZE(delays));
        assert_true(n >= 3); /* 62.5 + 125 + 250 s at most, then 500 s are too much */
        int64_t full = 1000 * S / 16;
        for (unsigned i = 0; i < n; i++, full *= 2) {
            assert_true(delays[i] >= full * 3 / 4);
            assert_true(delays[i] <= full + 16);
        }
        least = delays[0] < least ? delays[0] : least;
        most = delays[0] > most ? delays[0] : most;
    }
    assert_true(most - least > 1000 * S / 16 / 8);
}

static void retry_never_waits_longer_than_an_interval_nor_past_the_next_one(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_probe_event event;
    unsigned attempts = 0;
    rig_resolved(&rig);
    for (unsigned i = 0; i < 200;) {
        assert_true(next_within(&rig, INT64_MAX - 1, &event));
        if (event.type == TW_PROBE_RESOLVE)
            answer_name(&rig, 1);
        if (event.type == TW_PROBE_CONNECT) {
            attempts++;
            tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
            const int64_t delay = rig.probe.retry_at.ns - rig.now.mono.ns;
            assert_true(delay > 0 && delay <= 10 * S);
        }
        if (event.type == TW_PROBE_RESULT) {
            assert_int_equal(event.measurement->begun.ns, RIG_FIRST_NS + i * 10 * S);
            assert_int_equal(event.measurement->trouble.error, ECONNREFUSED);
            assert_true(attempts >= 1); /* every interval tries, however often it failed */
            assert_true(i < 8 || attempts <= 2);
            attempts = 0;
            i++;
        }
    }
}

static void long_intervals_have_retry_delays_too(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.interval_ns = 365 * 86400 * S;
    struct rig rig;
    rig_begin_with(&rig, &config, 3);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 1);
    wait_for(&rig, TW_PROBE_CONNECT);
    for (unsigned i = 0; i < 8; i++) {
        tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
        const int64_t delay = rig.probe.retry_at.ns - rig.now.mono.ns;
        const int64_t full = config.interval_ns / 16 * (INT64_C(1) << (i < 4 ? i : 4));
        assert_true(delay >= full / 4 * 3 && delay <= full + 16);
        rig.probe.link = TW_PROBE_CONNECTING; /* again at once */
    }
}

static void answer_to_a_connection_that_was_given_up_is_ignored(void **state)
{
    (void)state;
    for (unsigned success = 0; success < 2; success++) {
        struct rig rig;
        rig_begin(&rig);
        wait_for(&rig, TW_PROBE_RESOLVE);
        answer_name(&rig, 2);
        wait_for(&rig, TW_PROBE_CONNECT);
        rig_set_time(&rig, RIG_FIRST_NS + 3 * S);
        rig_expire(&rig); /* now it wants the second address, and has not said so yet */
        if (success)
            accept_connection(&rig);
        else
            tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
        if (success)
            take(&rig, TW_PROBE_DISCONNECT);
        assert_int_equal(take(&rig, TW_PROBE_CONNECT).address.octets[3], 2);
        assert_quiet(&rig);
        assert_int_equal(rig.probe.link, TW_PROBE_CONNECTING);
        accept_connection(&rig);
        say_greeting(&rig);
        finish_set_up(&rig);
    }
}

static void answers_after_the_end_of_set_up_change_nothing(void **state)
{
    (void)state;
    for (unsigned success = 0; success < 2; success++) {
        struct tw_probe_config config = rig_plan();
        config.connect_ns = 20 * S;
        struct rig rig;
        rig_connecting_with(&rig, &config);
        rig_set_time(&rig, RIG_FIRST_NS + 7600 * MS);
        rig_expire(&rig);
        if (success)
            accept_connection(&rig);
        else
            tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
        assert_int_equal(rig.probe.link, TW_PROBE_DOWN);
        if (success)
            take(&rig, TW_PROBE_DISCONNECT);
        const struct tw_probe_event event = take(&rig, TW_PROBE_RESULT);
        assert_int_equal(event.measurement->state, TW_MEASUREMENT_UNREACHABLE);
        assert_int_equal(event.measurement->trouble.error, ETIMEDOUT);
        assert_quiet(&rig);
    }
}

/* The stop that a blocked connection never took must not be written on the next one. */
static void rest_of_an_old_stream_is_never_given_for_a_connection_that_did_not_open(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    wait_for_result(&rig); /* the stop is queued and not written */
    rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
    rig_expire(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 13 * S); /* no answer to the request either: stale */
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    size_t n;
    tw_probe_output(&rig.probe, &n); /* the machine failed, its words are gone */
    assert_int_equal(n, 0);
    take(&rig, TW_PROBE_CONNECT);

    rig_testing(&rig);
    send_session(&rig);
    wait_for_result(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 9 * S);
    rig.probe.hosts.renewed = true; /* as when the name has lost the address */
    rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    tw_probe_output(&rig.probe, &n);
    assert_int_equal(n, 32);
    take(&rig, TW_PROBE_CONNECT); /* the driver could not write it */
    tw_probe_output(&rig.probe, &n);
    assert_int_equal(n, 0);
    wait_for(&rig, TW_PROBE_DISCONNECT); /* it did not open in time */
    tw_probe_output(&rig.probe, &n);
    assert_int_equal(n, 0);
}

static void connection_that_the_driver_has_not_begun_needs_no_closing(void **state)
{
    (void)state;
    struct rig rig;
    rig_resolved(&rig);
    rig_set_time(&rig, RIG_FIRST_NS);
    rig_expire(&rig);
    assert_int_equal(rig.probe.link, TW_PROBE_CONNECTING);
    tw_probe_close(&rig.probe, rig.now.mono);
    assert_quiet(&rig);
}

static void stale_connection_is_replaced_at_once_and_only_once(void **state)
{
    (void)state;
    for (unsigned ended = 0; ended < 2; ended++) {
        struct rig rig;
        rig_testing(&rig);
        send_session(&rig);
        wait_for_result(&rig);
        rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
        rig_expire(&rig); /* a request on the old connection */
        assert_quiet(&rig);
        write_output(&rig);
        assert_int_equal(count_commands(&rig, 5), 2);
        if (ended) {
            tw_probe_disconnected(&rig.probe, rig.now.mono);
        } else {
            rig_set_time(&rig, RIG_FIRST_NS + 13 * S);
            rig_expire(&rig);
            take(&rig, TW_PROBE_DISCONNECT);
        }
        take(&rig, TW_PROBE_CONNECT);
        accept_connection(&rig);
        tw_probe_disconnected(&rig.probe, rig.now.mono); /* and the new one fails too */
        take(&rig, TW_PROBE_RESOLVE);
        assert_quiet(&rig);
        assert_true(rig.probe.retry_at.ns > rig.now.mono.ns);
    }
}

static void connection_that_was_answered_on_is_not_stale(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    wait_for_result(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
    rig_expire(&rig);
    say_accept_session(&rig, 0);
    tw_probe_disconnected(&rig.probe, rig.now.mono); /* in place of the Start-Ack */
    take(&rig, TW_PROBE_RESOLVE);
    assert_quiet(&rig);
    answer_name(&rig, 1);
    assert_quiet_until(&rig, RIG_FIRST_NS + 10 * S + 100 * MS); /* a delay, as after any fault */
}

/* What close() leaves must be quiet for ever, whatever the driver still has to say. */
static void assert_closed(struct rig *rig, bool disconnect)
{
    const unsigned stops = count_commands(rig, 3);
    const bool testing = rig->probe.client.step == TW_CLIENT_STEP_TEST;
    const bool resolving = rig->probe.resolving;
    tw_probe_close(&rig->probe, rig->now.mono);
    if (disconnect) {
        take(rig, TW_PROBE_DISCONNECT);
        write_output(rig);
        assert_int_equal(count_commands(rig, 3), stops + testing);
    }
    assert_quiet(rig);
    assert_true(tw_mono_is_never(tw_probe_deadline(&rig->probe)));
    if (resolving)
        answer_name(rig, 2);
    accept_connection(rig);
    tw_probe_connect_failed(&rig->probe, ECONNREFUSED, rig->now.mono);
    tw_probe_disconnected(&rig->probe, rig->now.mono);
    assert_false(tw_probe_send_due(&rig->probe, rig->now.mono));
    assert_true(tw_mono_is_never(tw_probe_deadline(&rig->probe)));
    rig_set_time(rig, rig->now.mono.ns + 1000 * S);
    rig_expire(rig);
    assert_quiet(rig);
    tw_probe_close(&rig->probe, rig->now.mono);
    assert_quiet(rig);
}

static void close_is_possible_at_every_step(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    assert_closed(&rig, false);
    rig_begin(&rig);
    rig_expire(&rig); /* RESOLVE is not taken */
    assert_closed(&rig, false);
    rig_begin(&rig);
    wait_for(&rig, TW_PROBE_RESOLVE);
    assert_closed(&rig, false);
    rig_resolved(&rig);
    assert_closed(&rig, false);
    static void (*const steps[])(struct rig *) = {rig_connecting, rig_connected, rig_requested,
                                                  rig_starting, rig_testing};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        steps[i](&rig);
        assert_closed(&rig, true);
    }
    rig_testing(&rig);
    send_session(&rig); /* in DRAIN */
    assert_int_equal(rig.probe.phase, TW_PROBE_DRAIN);
    assert_closed(&rig, true);
    rig_testing(&rig);
    send_session(&rig);
    wait_for_result(&rig);
    write_output(&rig);
    assert_closed(&rig, true); /* the connection that waits for the next interval */
    rig_testing(&rig);
    send_session(&rig);
    rig_set_time(&rig, rig.now.mono.ns + 3 * S);
    rig_expire(&rig);
    write_output(&rig);
    assert_closed(&rig, true); /* a result that was not taken is not given */
    rig_connecting(&rig);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    assert_closed(&rig, false); /* waiting for a retry and for a name */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_must_end_before_the_next_interval),
        cmocka_unit_test(fitting_is_judged_without_overflow),
        cmocka_unit_test(slots_are_the_next_power_of_two),
        cmocka_unit_test(states_have_names),
        cmocka_unit_test(nothing_moves_on_a_connection_that_is_not_up),
        cmocka_unit_test(connection_is_closed_before_the_next_one_is_opened),
        cmocka_unit_test(retries_slow_down_and_are_spread),
        cmocka_unit_test(retry_never_waits_longer_than_an_interval_nor_past_the_next_one),
        cmocka_unit_test(long_intervals_have_retry_delays_too),
        cmocka_unit_test(answer_to_a_connection_that_was_given_up_is_ignored),
        cmocka_unit_test(answers_after_the_end_of_set_up_change_nothing),
        cmocka_unit_test(rest_of_an_old_stream_is_never_given_for_a_connection_that_did_not_open),
        cmocka_unit_test(connection_that_the_driver_has_not_begun_needs_no_closing),
        cmocka_unit_test(stale_connection_is_replaced_at_once_and_only_once),
        cmocka_unit_test(connection_that_was_answered_on_is_not_stale),
        cmocka_unit_test(close_is_possible_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
