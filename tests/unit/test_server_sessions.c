/* The Server machine's count of sessions: Start-Sessions and Stop-Sessions. */
#include "server_rig.h"

static void start_without_session_is_refused_and_the_connection_kept(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    add_start(&in);
    deliver_all(&rig, &in);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_REJECT);
    assert_int_equal(only_event(&rig)->reject.reason, TW_SERVER_REJECT_NO_SESSION);
    assert_int_equal(only_event(&rig)->reject.accept, TW_ACCEPT_FAILURE);
    assert_int_equal(only_event(&rig)->reject.command, 2);
    assert_int_equal(rig.out.n, 32);
    assert_int_not_equal(rig.out.octets[0], 0);
    assert_zero(rig.out.octets + 1, 31);
    assert_still_serves(&rig);
}

static void sessions_whose_start_the_driver_refuses_are_forgotten(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    add_request(&in);
    deliver_all(&rig, &in);
    forget(&rig);
    in.n = 0;
    add_start(&in);
    rig.accept = TW_ACCEPT_FAILURE;
    deliver_all(&rig, &in);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_START);
    assert_int_equal(rig.out.n, 32);
    assert_int_equal(rig.out.octets[0], TW_ACCEPT_FAILURE);
    assert_int_equal(rig.server.state, TW_SERVER_STATE_IDLE);
    forget(&rig);
    rig.accept = TW_ACCEPT_OK;
    deliver_all(&rig, &in);
    assert_int_equal(only_event(&rig)->reject.reason, TW_SERVER_REJECT_NO_SESSION);
    assert_int_equal(rig.server.state, TW_SERVER_STATE_IDLE);
    forget(&rig);
    request_and_start(&rig, 1);
    forget(&rig);
    in.n = 0;
    add_stop(&in, 1);
    deliver_all(&rig, &in);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_STOP);
    assert_false(only_event(&rig)->stop.zero_count);
}

/* `closes`, or a STOP event unless nothing was started. */
static void assert_stop(unsigned started, uint32_t count, bool strict, bool closes)
{
    struct rig rig;
    struct stream in = {.n = 0};
    rig_prepare(&rig);
    rig.config.strict_stop = strict;
    rig_set_up(&rig);
    if (started > 0)
        request_and_start(&rig, started);
    add_stop(&in, count);
    deliver_all(&rig, &in);
    assert_int_equal(rig.out.n, 0); /* never an answer */
    if (closes) {
        assert_only_closed(&rig, TW_SERVER_CLOSE_STOP_COUNT);
        return;
    }
    if (started > 0) {
        assert_int_equal(only_event(&rig)->type, TW_SERVER_STOP);
        assert_int_equal(only_event(&rig)->stop.accept, 0);
        assert_int_equal(only_event(&rig)->stop.zero_count, count == 0);
    } else {
        assert_int_equal(rig.event_count, 0);
    }
    request_and_start(&rig, 1);
}

static void stop_must_count_the_started_sessions(void **state)
{
    (void)state;
    for (int strict = 0; strict < 2; strict++) {
        for (unsigned started = 0; started <= 3; started++) {
            for (uint32_t count = 0; count <= 5; count++) {
                const bool tolerated = count == 0 && !strict;
                assert_stop(started, count, strict, count != started && !tolerated);
            }
            assert_stop(started, UINT32_MAX, strict, true);
            assert_stop(started, UINT32_C(0x01000000), strict, true);
        }
    }
}

static void sessions_that_were_refused_or_never_started_do_not_count(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    rig.accept = TW_ACCEPT_TEMPORARY_LIMIT;
    add_request(&in);
    deliver_all(&rig, &in);
    rig.accept = TW_ACCEPT_OK;
    request_and_start(&rig, 2);
    in.n = 0;
    add_stop(&in, 2);
    add_request(&in); /* accepted, not started */
    add_stop(&in, 1);
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 3);
    assert_int_equal(rig.events[0].type, TW_SERVER_STOP);
    assert_int_equal(rig.events[1].type, TW_SERVER_REQUEST);
    assert_int_equal(rig.events[2].close, TW_SERVER_CLOSE_STOP_COUNT);
}

static void sessions_that_refwait_ended_count(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_testing(&rig, 2);
    tw_server_sessions_ended(&rig.server, rig.now);
    add_stop(&in, 2);
    deliver_all(&rig, &in);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_STOP);
    assert_false(only_event(&rig)->stop.zero_count);
}

static void stop_hands_on_what_the_client_thinks_of_the_results(void **state)
{
    (void)state;
    for (unsigned accept = 0; accept < 256; accept++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_testing(&rig, 1);
        uint8_t *stop = add_stop(&in, 1);
        stop[1] = (uint8_t)accept;
        deliver_all(&rig, &in);
        assert_int_equal(only_event(&rig)->type, TW_SERVER_STOP);
        assert_int_equal(only_event(&rig)->stop.accept, accept);
        assert_still_serves(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_without_session_is_refused_and_the_connection_kept),
        cmocka_unit_test(sessions_whose_start_the_driver_refuses_are_forgotten),
        cmocka_unit_test(stop_must_count_the_started_sessions),
        cmocka_unit_test(sessions_that_were_refused_or_never_started_do_not_count),
        cmocka_unit_test(sessions_that_refwait_ended_count),
        cmocka_unit_test(stop_hands_on_what_the_client_thinks_of_the_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
