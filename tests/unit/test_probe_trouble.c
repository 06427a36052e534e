/* What a probe says went wrong in an interval, and what it makes of a connection that breaks. */
#include "probe_rig.h"

#include <errno.h>
#include <math.h>

static void assert_no_session(const struct tw_measurement *m, enum tw_measurement_state state)
{
    assert_int_equal(m->state, state);
    assert_false(m->session);
    assert_int_equal(m->summary.sent, 0);
    assert_true(isnan(m->summary.rtt.mean));
    assert_int_equal(m->remote.family, 0);
    assert_int_equal(m->local.family, 0);
    assert_int_equal(m->mode, 0);
}

static void assert_control_trouble(const struct tw_measurement *m, enum tw_client_failure failure,
                                   enum tw_client_step step)
{
    assert_true(m->trouble.valid);
    assert_int_equal(m->trouble.failure, failure);
    assert_int_equal(m->trouble.step, step);
    assert_int_equal(m->trouble.error, 0);
}

static void connection_lost_in_a_session_is_made_anew_for_the_next(void **state)
{
    (void)state;
    for (unsigned answered = 0; answered < 2; answered++) {
        struct rig rig;
        rig_testing(&rig);
        send_packet(&rig);
        if (answered)
            reflect_packet(&rig);
        tw_probe_disconnected(&rig.probe, rig.now.mono);
        assert_quiet(&rig); /* no other connection while packets are under way */
        send_session(&rig);
        const struct tw_measurement m = wait_for_result(&rig);
        assert_int_equal(m.summary.sent, 4);
        assert_int_equal(m.state, answered ? TW_MEASUREMENT_OK : TW_MEASUREMENT_UNREACHABLE);
        if (answered)
            assert_false(m.trouble.valid);
        else
            assert_control_trouble(&m, TW_CLIENT_ENDED, TW_CLIENT_STEP_TEST);
        wait_for(&rig, TW_PROBE_CONNECT);
        assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 10 * S);
        assert_int_equal(count_commands(&rig, 3), 0);
    }
}

static void refusal_is_kept_although_the_server_hangs_up_after_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_requested(&rig);
    say_accept_session(&rig, 5);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    wait_for(&rig, TW_PROBE_CONNECT); /* and is still under way at the end */
    rig_set_time(&rig, RIG_FIRST_NS + 7600 * MS);
    rig.probe.connect_by = TW_NEVER;
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    const struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_no_session(&m, TW_MEASUREMENT_REFUSED);
    assert_control_trouble(&m, TW_CLIENT_REFUSED, TW_CLIENT_STEP_REQUEST);
    assert_int_equal(m.trouble.accept, 5);
}

/* A last attempt that the end of set-up cuts short proves nothing. */
static void attempt_without_time_does_not_hide_what_went_wrong_before(void **state)
{
    (void)state;
    struct rig rig;
    rig_requested(&rig);
    say_accept_session(&rig, 4);
    rig.probe.retry_at.ns = RIG_FIRST_NS + 7600 * MS - 1;
    rig_set_time(&rig, rig.probe.retry_at.ns);
    rig_expire(&rig);
    assert_int_equal(rig.probe.client.step, TW_CLIENT_STEP_REQUEST);
    wait_for(&rig, TW_PROBE_DISCONNECT); /* its answer would belong to no interval */
    struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_no_session(&m, TW_MEASUREMENT_REFUSED);
    assert_int_equal(m.trouble.accept, 4);

    rig_connecting(&rig);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    rig.probe.retry_at.ns = RIG_FIRST_NS + 7600 * MS - 1;
    rig_set_time(&rig, rig.probe.retry_at.ns);
    rig_expire(&rig);
    take(&rig, TW_PROBE_CONNECT);
    wait_for(&rig, TW_PROBE_DISCONNECT);
    m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_no_session(&m, TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(m.trouble.error, ECONNREFUSED);
}

static void attempt_that_took_its_full_time_counts(void **state)
{
    (void)state;
    struct rig rig;
    rig_connecting(&rig);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    rig.probe.retry_at.ns = RIG_FIRST_NS + 4600 * MS;
    rig_set_time(&rig, rig.probe.retry_at.ns);
    rig_expire(&rig);
    take(&rig, TW_PROBE_CONNECT);
    accept_connection(&rig);                  /* and then it says nothing for 3 s */
    rig_set_time(&rig, RIG_FIRST_NS + 9 * S); /* both deadlines have passed unserved */
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    const struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_no_session(&m, TW_MEASUREMENT_SILENT);
    assert_control_trouble(&m, TW_CLIENT_TIMED_OUT, TW_CLIENT_STEP_GREETING);
    assert_quiet(&rig);
}

static void stale_connection_found_at_the_very_end_is_silent_and_not_tried_anew(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    wait_for_result(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
    rig_expire(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 18 * S); /* the answer is overdue, and so is set-up */
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    const struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_no_session(&m, TW_MEASUREMENT_SILENT);
    assert_control_trouble(&m, TW_CLIENT_TIMED_OUT, TW_CLIENT_STEP_REQUEST);
    assert_quiet(&rig);
}

static void interval_without_a_session_has_no_addresses(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    assert_int_equal(wait_for_result(&rig).remote.port, 50000);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    wait_for(&rig, TW_PROBE_CONNECT);
    wait_for(&rig, TW_PROBE_DISCONNECT);
    wait_for(&rig, TW_PROBE_RESOLVE);
    wait_for(&rig, TW_PROBE_CONNECT);
    wait_for(&rig, TW_PROBE_DISCONNECT);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_no_session(&m, TW_MEASUREMENT_UNREACHABLE);
}

static void every_failure_has_its_state(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_connected(&rig);
    add_greeting(&in, 0);
    say(&rig, &in);
    take(&rig, TW_PROBE_DISCONNECT);
    assert_int_equal(rig_window(&rig)->measurement.state, TW_MEASUREMENT_REFUSED);
    assert_int_equal(rig_window(&rig)->measurement.trouble.failure, TW_CLIENT_MODES_ZERO);

    rig_connected(&rig);
    in.n = 0;
    add_greeting(&in, 4);
    say(&rig, &in);
    take(&rig, TW_PROBE_DISCONNECT);
    assert_int_equal(rig_window(&rig)->measurement.state, TW_MEASUREMENT_REFUSED);
    assert_int_equal(rig_window(&rig)->measurement.trouble.failure, TW_CLIENT_MODE_MISSING);

    rig_requested(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 3 * S);
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    assert_int_equal(rig_window(&rig)->measurement.state, TW_MEASUREMENT_SILENT);

    rig_starting(&rig);
    say_start_ack(&rig, 2);
    take(&rig, TW_PROBE_DISCONNECT);
    assert_int_equal(rig_window(&rig)->measurement.state, TW_MEASUREMENT_REFUSED);
    assert_int_equal(rig_window(&rig)->measurement.trouble.accept, 2);
    assert_int_equal(rig_window(&rig)->measurement.trouble.step, TW_CLIENT_STEP_START);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connection_lost_in_a_session_is_made_anew_for_the_next),
        cmocka_unit_test(refusal_is_kept_although_the_server_hangs_up_after_it),
        cmocka_unit_test(attempt_without_time_does_not_hide_what_went_wrong_before),
        cmocka_unit_test(attempt_that_took_its_full_time_counts),
        cmocka_unit_test(stale_connection_found_at_the_very_end_is_silent_and_not_tried_anew),
        cmocka_unit_test(interval_without_a_session_has_no_addresses),
        cmocka_unit_test(every_failure_has_its_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
