/* The Server machine's deadlines, to the nanosecond. */
#include "server_rig.h"

static void assert_expires_at(struct rig *rig, int64_t ns, enum tw_server_close_reason reason)
{
    assert_int_equal(tw_server_deadline(&rig->server).ns, ns);
    rig->now.ns = ns - 1;
    tw_server_expire(&rig->server, rig->now);
    settle(rig);
    assert_int_equal(rig->event_count, 0);
    rig->now.ns = ns;
    tw_server_expire(&rig->server, rig->now);
    settle(rig);
    assert_only_closed(rig, reason);
    assert_true(tw_mono_is_never(tw_server_deadline(&rig->server)));
    assert_int_equal(room_of(rig), 0);
}

static void set_up_must_come_in_time(void **state)
{
    (void)state;
    struct stream in = {.n = 0};
    add_set_up(&in, 1);
    static const int64_t servwaits[] = {0, 2 * TW_NS_PER_S, SERVWAIT};
    for (size_t i = 0; i < ARRAY_SIZE(servwaits); i++) {
        struct rig rig;
        rig_prepare(&rig);
        rig.config.servwait_ns = servwaits[i];
        const int64_t limit = i == 1 ? 2 * TW_NS_PER_S : STALL;
        const int64_t begin = rig.now.ns;
        rig_begin(&rig);
        settle(&rig);
        rig.now.ns += TW_NS_PER_S;
        deliver(&rig, in.octets, 163, 1); /* drop by drop gains no time */
        assert_expires_at(&rig, begin + limit, TW_SERVER_CLOSE_STALLED);
    }
}

static void idle_connection_ends_after_servwait(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    struct rig before = rig;
    rig_moved(&before);
    assert_expires_at(&before, before.now.ns + SERVWAIT, TW_SERVER_CLOSE_SERVWAIT);
    rig.now.ns += SERVWAIT - 1;
    add_stop(&in, 0); /* says nothing, but is a sign of life */
    deliver_all(&rig, &in);
    assert_expires_at(&rig, rig.now.ns + SERVWAIT, TW_SERVER_CLOSE_SERVWAIT);
}

static void refused_commands_are_signs_of_life(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    rig.now.ns += SERVWAIT - 1;
    add_command(&in, 7);
    deliver_all(&rig, &in);
    forget(&rig);
    assert_expires_at(&rig, rig.now.ns + SERVWAIT, TW_SERVER_CLOSE_SERVWAIT);
}

static void time_of_the_driver_is_not_the_clients(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    rig.silent = true;
    add_request(&in);
    deliver_all(&rig, &in);
    rig.now.ns += 2 * SERVWAIT;
    tw_server_expire(&rig.server, rig.now);
    answer_question(&rig, TW_SERVER_REQUEST);
    settle(&rig);
    forget(&rig);
    assert_expires_at(&rig, rig.now.ns + SERVWAIT, TW_SERVER_CLOSE_SERVWAIT);
}

static void servwait_zero_means_no_limit_but_for_messages(void **state)
{
    (void)state;
    struct rig rig;
    rig_prepare(&rig);
    rig.config.servwait_ns = 0;
    rig_set_up(&rig);
    assert_true(tw_mono_is_never(tw_server_deadline(&rig.server)));
    rig.now.ns = INT64_MAX;
    tw_server_expire(&rig.server, rig.now);
    assert_int_equal(rig.server.state, TW_SERVER_STATE_IDLE);
    rig.now.ns = 5000;
    deliver(&rig, (const uint8_t[]){5}, 1, 1);
    assert_expires_at(&rig, 5000 + STALL, TW_SERVER_CLOSE_STALLED);
}

static void servwait_rests_during_a_test(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_testing(&rig, 1);
    assert_true(tw_mono_is_never(tw_server_deadline(&rig.server)));
    rig.now.ns += 10 * SERVWAIT;
    tw_server_expire(&rig.server, rig.now);
    add_request(&in); /* not legal, and no reason for SERVWAIT to run */
    deliver_all(&rig, &in);
    assert_true(tw_mono_is_never(tw_server_deadline(&rig.server)));
    in.n = 0;
    add_stop(&in, 1);
    deliver_all(&rig, &in);
    forget(&rig);
    assert_expires_at(&rig, rig.now.ns + SERVWAIT, TW_SERVER_CLOSE_SERVWAIT);
}

static void servwait_runs_on_when_refwait_has_ended_all_sessions(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig, 2);
    rig.now.ns += 10 * SERVWAIT;
    tw_server_sessions_ended(&rig.server, rig.now);
    tw_server_sessions_ended(&rig.server, (tw_mono){rig.now.ns + 7}); /* said once is enough */
    assert_expires_at(&rig, rig.now.ns + SERVWAIT, TW_SERVER_CLOSE_SERVWAIT);
}

static void message_under_way_must_be_completed_even_during_a_test(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_testing(&rig, 1);
    const int64_t begin = rig.now.ns;
    add_stop(&in, 1);
    deliver(&rig, in.octets, 16, 1);
    rig.now.ns += STALL - 2;
    deliver(&rig, in.octets + 16, 15, 1);
    assert_expires_at(&rig, begin + STALL, TW_SERVER_CLOSE_STALLED);
}

static void stall_limit_is_never_above_servwait(void **state)
{
    (void)state;
    struct rig rig;
    rig_prepare(&rig);
    rig.config.servwait_ns = STALL - 1;
    rig_set_up(&rig);
    rig.now.ns += 77;
    deliver(&rig, (const uint8_t[]){3}, 1, 1);
    assert_expires_at(&rig, rig.now.ns + STALL - 1, TW_SERVER_CLOSE_STALLED);
}

static void last_words_are_not_waited_for_without_end(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    rig.deaf = true;
    add_command(&in, 200);
    deliver(&rig, in.octets, 16, 16);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_REJECT);
    forget(&rig);
    const int64_t begin = rig.now.ns;
    assert_expires_at(&rig, begin + STALL, TW_SERVER_CLOSE_UNKNOWN_COMMAND);
}

static void idle_client_that_reads_nothing_is_closed_all_the_same(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    rig.deaf = true;
    add_command(&in, 7);
    deliver_all(&rig, &in);
    forget(&rig);
    assert_expires_at(&rig, rig.now.ns + SERVWAIT, TW_SERVER_CLOSE_SERVWAIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_up_must_come_in_time),
        cmocka_unit_test(idle_connection_ends_after_servwait),
        cmocka_unit_test(refused_commands_are_signs_of_life),
        cmocka_unit_test(time_of_the_driver_is_not_the_clients),
        cmocka_unit_test(servwait_zero_means_no_limit_but_for_messages),
        cmocka_unit_test(servwait_rests_during_a_test),
        cmocka_unit_test(servwait_runs_on_when_refwait_has_ended_all_sessions),
        cmocka_unit_test(message_under_way_must_be_completed_even_during_a_test),
        cmocka_unit_test(stall_limit_is_never_above_servwait),
        cmocka_unit_test(last_words_are_not_waited_for_without_end),
        cmocka_unit_test(idle_client_that_reads_nothing_is_closed_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
