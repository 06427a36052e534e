/* The Control-Client machine with Individual Session Control (RFC 5938): Start-N and Stop-N for all
 * sessions or one, acknowledgments in any grouping and order, and those that nobody asked for. */
#include "secured_server.h"

enum { START_N = 7, START_N_ACK = 8, STOP_N = 9, STOP_N_ACK = 10 };

/* The SID of session i, from 0. */
static void make_sid(unsigned i, uint8_t sid[16])
{
    memset(sid, 0x40, 16);
    sid[15] = (uint8_t)i;
}

static void rig_individual(struct rig *rig)
{
    struct stream in = {.n = 0};
    rig_begin(rig);
    rig->config.features = 0x10;
    add_greeting(&in, 0x11);
    add_server_start(&in, 0);
    deliver_all(rig, &in);
    assert_int_equal(only_event(rig)->ready.mode, 0x11);
    forget(rig);
}

static void accept_one(struct rig *rig, unsigned i)
{
    struct stream in = {.n = 0};
    ask_session(rig);
    make_sid(i, add_accept_session(&in, 0, (uint16_t)(9000 + i)) + 4);
    forget(rig);
    deliver_all(rig, &in);
    assert_int_equal(only_event(rig)->type, TW_CLIENT_SESSION);
    forget(rig);
}

static void accept_many(struct rig *rig, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        accept_one(rig, i);
}

/* An acknowledgment for the sessions first to first + n - 1. */
static void say_ack(struct rig *rig, unsigned command, unsigned accept, unsigned first, unsigned n)
{
    struct stream in = {.n = 0};
    uint8_t sids[256 * 16];
    for (unsigned i = 0; i < n; i++)
        make_sid(first + i, sids + (size_t)16 * i);
    add_sids_ack(&in, command, accept, sids, n);
    deliver(rig, in.octets, in.n, SIZE_MAX);
}

static void rig_running(struct rig *rig, unsigned n)
{
    rig_individual(rig);
    accept_many(rig, n);
    ask_start(rig);
    say_ack(rig, START_N_ACK, 0, 0, n);
    assert_int_equal(only_event(rig)->type, TW_CLIENT_STARTED);
    assert_int_equal(rig->client.step, TW_CLIENT_STEP_TEST);
    forget(rig);
}

static void ask_stop(struct rig *rig)
{
    assert_int_equal(tw_client_stop(&rig->client, TW_ACCEPT_OK, rig->now), TW_OK);
    settle(rig);
}

static void assert_sids_message(const uint8_t *octets, size_t size, unsigned command,
                                unsigned first, unsigned n)
{
    assert_int_equal(size, 32 + 16 * n);
    assert_int_equal(octets[0], command);
    assert_zero(octets + 1, 11);
    assert_int_equal(tw_get32(octets + 12), n);
    for (unsigned i = 0; i < n; i++) {
        uint8_t sid[16];
        make_sid(first + i, sid);
        assert_memory_equal(octets + 16 + (size_t)16 * i, sid, 16);
    }
    assert_zero(octets + 16 + (size_t)16 * n, 16);
}

static void start_and_stop_are_the_messages_of_the_figures(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= TW_CLIENT_SESSIONS_MAX; n++) {
        struct rig rig;
        rig_individual(&rig);
        accept_many(&rig, n);
        ask_start(&rig);
        assert_sids_message(rig.out.octets, rig.out.n, START_N, 0, n);
        assert_int_equal(tw_client_deadline(&rig.client).ns, rig.now.ns + STEP);
        forget(&rig);
        say_ack(&rig, START_N_ACK, 0, 0, n);
        assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
        assert_int_equal(only_event(&rig)->acked.refused, 0);
        forget(&rig);
        ask_stop(&rig);
        assert_sids_message(rig.out.octets, rig.out.n, STOP_N, 0, n);
        assert_int_equal(rig.client.step, TW_CLIENT_STEP_STOP);
        assert_int_equal(rig.event_count, 0);
        say_ack(&rig, STOP_N_ACK, 0, 0, n);
        assert_int_equal(only_event(&rig)->type, TW_CLIENT_STOPPED);
        assert_int_equal(only_event(&rig)->acked.refused, 0);
        assert_int_equal(rig.client.step, TW_CLIENT_STEP_IDLE);
        assert_still_works(&rig);
    }
}

static void acknowledgments_come_in_any_grouping_and_order(void **state)
{
    (void)state;
    static const uint8_t orders[][5] = {{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}};
    for (size_t order = 0; order < ARRAY_SIZE(orders); order++) {
        for (unsigned grouping = 0; grouping < 16; grouping++) {
            for (size_t chunk = 1; chunk < 200; chunk += 13) {
                struct rig rig;
                struct stream in = {.n = 0};
                uint8_t sids[5 * 16];
                unsigned first = 0;
                rig_individual(&rig);
                accept_many(&rig, 5);
                ask_start(&rig);
                for (unsigned i = 0; i < 5; i++)
                    make_sid(orders[order][i], sids + (size_t)16 * i);
                for (unsigned i = 0; i < 5; i++) {
                    if (i < 4 && (grouping >> i & 1) == 0)
                        continue; /* the next one is in the same message */
                    add_sids_ack(&in, START_N_ACK, 0, sids + (size_t)16 * first, i + 1 - first);
                    first = i + 1;
                }
                assert_int_equal(deliver(&rig, in.octets, in.n - 1, chunk), in.n - 1);
                assert_int_equal(rig.event_count, 0);
                deliver(&rig, in.octets + in.n - 1, 1, 1);
                assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
                assert_int_equal(rig.client.sessions.started, 5);
            }
        }
    }
}

static void refused_start_leaves_its_session_to_be_started_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_individual(&rig);
    accept_many(&rig, 4);
    ask_start(&rig);
    forget(&rig);
    say_ack(&rig, START_N_ACK, 0, 0, 2);
    say_ack(&rig, START_N_ACK, 5, 2, 1);
    assert_int_equal(rig.event_count, 0);
    say_ack(&rig, START_N_ACK, 2, 3, 1);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
    assert_int_equal(only_event(&rig)->acked.refused, 2);
    assert_int_equal(only_event(&rig)->acked.accept, 5);
    forget(&rig);
    ask_start(&rig);
    assert_sids_message(rig.out.octets, rig.out.n, START_N, 2, 2);
    say_ack(&rig, START_N_ACK, 0, 2, 2);
    assert_int_equal(only_event(&rig)->acked.refused, 0);
    forget(&rig);
    ask_stop(&rig);
    assert_sids_message(rig.out.octets, rig.out.n, STOP_N, 0, 4);
}

static void start_that_is_refused_for_all_is_a_failure(void **state)
{
    (void)state;
    struct rig rig;
    rig_individual(&rig);
    accept_many(&rig, 2);
    ask_start(&rig);
    forget(&rig);
    say_ack(&rig, START_N_ACK, 4, 1, 1);
    say_ack(&rig, START_N_ACK, 5, 0, 1);
    assert_failed(&rig, TW_CLIENT_REFUSED, TW_CLIENT_STEP_START, 4);
}

static void refused_stop_is_told_and_the_session_forgotten(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig, 2);
    ask_stop(&rig);
    forget(&rig);
    say_ack(&rig, STOP_N_ACK, 3, 0, 1);
    say_ack(&rig, STOP_N_ACK, 0, 1, 1);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_STOPPED);
    assert_int_equal(only_event(&rig)->acked.refused, 1);
    assert_int_equal(only_event(&rig)->acked.accept, 3);
    assert_int_equal(rig.client.step, TW_CLIENT_STEP_IDLE);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_ERR_STATE);
    assert_still_works(&rig);
}

static void sessions_come_and_go_while_others_run(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t sid[16];
    rig_running(&rig, 2);
    accept_one(&rig, 2);
    assert_int_equal(rig.client.step, TW_CLIENT_STEP_TEST);
    accept_one(&rig, 3);
    make_sid(3, sid);
    assert_int_equal(tw_client_start_one(&rig.client, sid, rig.now), TW_OK);
    settle(&rig);
    assert_sids_message(rig.out.octets, rig.out.n, START_N, 3, 1);
    forget(&rig);
    say_ack(&rig, START_N_ACK, 0, 3, 1);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
    forget(&rig);
    make_sid(1, sid);
    assert_int_equal(tw_client_stop_one(&rig.client, sid, rig.now), TW_OK);
    settle(&rig);
    assert_sids_message(rig.out.octets, rig.out.n, STOP_N, 1, 1);
    forget(&rig);
    say_ack(&rig, STOP_N_ACK, 0, 1, 1);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_STOPPED);
    assert_int_equal(rig.client.step, TW_CLIENT_STEP_TEST);
    forget(&rig);
    ask_start(&rig); /* only the one that was accepted and not started */
    assert_sids_message(rig.out.octets, rig.out.n, START_N, 2, 1);
    say_ack(&rig, START_N_ACK, 0, 2, 1);
    forget(&rig);
    ask_stop(&rig);
    assert_int_equal(tw_get32(rig.out.octets + 12), 3);
}

static void one_session_is_started_and_stopped_in_the_right_state_only(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t sid[16];
    rig_individual(&rig);
    make_sid(0, sid);
    assert_int_equal(tw_client_start_one(&rig.client, sid, rig.now), TW_ERR_STATE);
    accept_one(&rig, 0);
    assert_int_equal(tw_client_stop_one(&rig.client, sid, rig.now), TW_ERR_STATE);
    assert_int_equal(tw_client_start_one(&rig.client, sid, rig.now), TW_OK);
    assert_int_equal(tw_client_start_one(&rig.client, sid, rig.now), TW_ERR_STATE);
    settle(&rig);
    say_ack(&rig, START_N_ACK, 0, 0, 1);
    assert_int_equal(tw_client_start_one(&rig.client, sid, rig.now), TW_ERR_STATE);
    assert_int_equal(tw_client_stop_one(&rig.client, sid, rig.now), TW_OK);
    assert_int_equal(tw_client_stop_one(&rig.client, sid, rig.now), TW_ERR_STATE);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_ERR_STATE);

    uint8_t of_the_rig[16];
    memset(of_the_rig, 0x51, 16);
    rig_accepted(&rig); /* without RFC 5938 */
    assert_int_equal(tw_client_start_one(&rig.client, of_the_rig, rig.now), TW_ERR_STATE);
    rig_test(&rig);
    assert_int_equal(tw_client_stop_one(&rig.client, of_the_rig, rig.now), TW_ERR_STATE);
}

static void event_must_be_taken_before_the_next_question(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_request request;
    struct stream in = {.n = 0};
    uint8_t sid[16];
    size_t room;
    make_request(&request);
    make_sid(0, sid);
    rig_individual(&rig);
    accept_one(&rig, 0);
    ask_start(&rig);
    add_sids_ack(&in, START_N_ACK, 0, sid, 1);
    deliver(&rig, in.octets, in.n - 1, SIZE_MAX);
    *tw_client_input(&rig.client, &room) = in.octets[in.n - 1];
    tw_client_received(&rig.client, 1, rig.now);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_ERR_STATE);
    assert_int_equal(tw_client_stop_one(&rig.client, sid, rig.now), TW_ERR_STATE);
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_ERR_STATE);
    settle(&rig);
    assert_int_equal(tw_client_stop_one(&rig.client, sid, rig.now), TW_OK);
}

static void acknowledgment_that_nobody_asked_for_is_fatal(void **state)
{
    (void)state;
    for (unsigned stopping = 0; stopping < 2; stopping++) {
        const unsigned right = stopping ? STOP_N_ACK : START_N_ACK;
        const unsigned wrong = stopping ? START_N_ACK : STOP_N_ACK;
        const struct {
            unsigned command, first, n;
        } bad[] = {
            {right, 3, 1},   /* unknown SID */
            {right, 2, 2},   /* one known, one not */
            {right, 0, 4},   /* more than were asked for */
            {right, 0, 128}, /* many more */
            {right, 0, 129}, /* too many to be read */
            {right, 0, 0},   {wrong, 0, 3},
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
            struct rig rig;
            if (stopping) {
                rig_running(&rig, 3);
                ask_stop(&rig);
            } else {
                rig_individual(&rig);
                accept_many(&rig, 3);
                ask_start(&rig);
            }
            forget(&rig);
            say_ack(&rig, bad[i].command, 0, bad[i].first, bad[i].n);
            assert_failed(&rig, TW_CLIENT_UNEXPECTED,
                          stopping ? TW_CLIENT_STEP_STOP : TW_CLIENT_STEP_START, 0);
        }
    }
}

static void sid_is_acknowledged_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_individual(&rig);
    accept_many(&rig, 3);
    ask_start(&rig);
    forget(&rig);
    say_ack(&rig, START_N_ACK, 0, 1, 1);
    say_ack(&rig, START_N_ACK, 0, 1, 1);
    assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_START, 0);
}

static void acknowledgment_out_of_the_blue_is_fatal(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig, 1);
    say_ack(&rig, START_N_ACK, 0, 0, 1);
    assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_TEST, 0);

    for (unsigned command = START_N_ACK; command <= STOP_N_ACK; command += 2) {
        rig_running(&rig, 1);
        ask_session(&rig);
        forget(&rig);
        say_ack(&rig, command, 0, 0, 1);
        assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_REQUEST, 0);
    }
}

/* RFC 5357 section 3.5: so a server answers a command that it does not know or like. */
static void accept_session_in_place_of_an_acknowledgment_is_a_refusal(void **state)
{
    (void)state;
    for (unsigned accept = 0; accept < 7; accept++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_individual(&rig);
        accept_many(&rig, 1);
        ask_start(&rig);
        forget(&rig);
        add_accept_session(&in, accept, 0);
        deliver_all(&rig, &in);
        assert_failed(&rig, accept == 0 ? TW_CLIENT_UNEXPECTED : TW_CLIENT_REFUSED,
                      TW_CLIENT_STEP_START, (uint8_t)accept);
    }
}

static void stop_sessions_of_the_server_is_skipped_everywhere(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    add_stop(&in, 1);
    rig_individual(&rig);
    accept_many(&rig, 1);
    ask_start(&rig);
    forget(&rig);
    deliver_all(&rig, &in);
    say_ack(&rig, START_N_ACK, 0, 0, 1);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
    deliver_all(&rig, &in);
    ask_stop(&rig);
    forget(&rig);
    deliver_all(&rig, &in);
    say_ack(&rig, STOP_N_ACK, 0, 0, 1);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_STOPPED);
    assert_int_equal(rig.client.quirks, TW_QUIRK_SERVER_STOP);
}

static void sid_given_twice_is_fatal_where_sids_matter(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_individual(&rig);
    accept_one(&rig, 0);
    ask_session(&rig);
    forget(&rig);
    make_sid(0, add_accept_session(&in, 0, 9000) + 4);
    deliver_all(&rig, &in);
    assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_REQUEST, 0);
}

static void sessions_are_limited(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_request request;
    make_request(&request);
    rig_individual(&rig);
    accept_many(&rig, TW_CLIENT_SESSIONS_MAX);
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_ERR_STATE);
    ask_start(&rig);
    say_ack(&rig, START_N_ACK, 0, 0, TW_CLIENT_SESSIONS_MAX);
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_ERR_STATE);
    ask_stop(&rig);
    say_ack(&rig, STOP_N_ACK, 0, 0, TW_CLIENT_SESSIONS_MAX);
    forget(&rig);
    accept_one(&rig, 99);
}

/* Longer than an answer can be: it is not waited for. */
static void acknowledgment_of_more_sessions_than_there_can_be_is_fatal(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    uint8_t sids[(TW_CLIENT_SESSIONS_MAX + 1) * 16] = {0};
    rig_individual(&rig);
    accept_many(&rig, TW_CLIENT_SESSIONS_MAX);
    ask_start(&rig);
    forget(&rig);
    add_sids_ack(&in, START_N_ACK, 0, sids, TW_CLIENT_SESSIONS_MAX + 1);
    deliver(&rig, in.octets, TW_COMMAND_HEAD_SIZE, SIZE_MAX);
    assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_START, 0);
}

static void waits_for_acknowledgments_have_their_limit(void **state)
{
    (void)state;
    for (unsigned stopping = 0; stopping < 2; stopping++) {
        struct rig rig;
        if (stopping) {
            rig_running(&rig, 2);
            ask_stop(&rig);
        } else {
            rig_individual(&rig);
            accept_many(&rig, 2);
            ask_start(&rig);
        }
        forget(&rig);
        const int64_t end = rig.now.ns + STEP;
        rig.now.ns = end - 1;
        say_ack(&rig, stopping ? STOP_N_ACK : START_N_ACK, 0, 0, 1); /* half of it */
        assert_int_equal(tw_client_deadline(&rig.client).ns, end);
        tw_client_expire(&rig.client, rig.now);
        settle(&rig);
        assert_int_equal(rig.event_count, 0);
        rig.now.ns = end;
        tw_client_expire(&rig.client, rig.now);
        assert_failed(&rig, TW_CLIENT_TIMED_OUT,
                      stopping ? TW_CLIENT_STEP_STOP : TW_CLIENT_STEP_START, 0);
    }
}

/* The HMAC covers all SIDs, and each message its own. */
static void acknowledgments_are_verified_on_a_secured_stream(void **state)
{
    (void)state;
    struct secured_rig it;
    struct stream clear;
    uint8_t sids[3 * 16];
    secured_idle(&it, 0x14);
    for (unsigned i = 0; i < 3; i++) {
        make_sid(i, sids + (size_t)16 * i);
        ask_session(&it.rig);
        clear.n = 0;
        memcpy(add_accept_session(&clear, 0, 9000) + 4, sids + (size_t)16 * i, 16);
        say_secured(&it, &clear);
    }
    forget(&it.rig);
    ask_start(&it.rig);
    /* The server deciphers what came before, too: the stream is one. */
    assert_int_equal(it.rig.out.n, 32 + 3 * 16);
    clear.n = 0;
    add_sids_ack(&clear, START_N_ACK, 0, sids + 16, 2);
    say_secured(&it, &clear);
    assert_int_equal(it.rig.event_count, 0);
    struct secured_rig unknown = it;
    rig_moved(&unknown.rig);
    clear.n = 0;
    add_sids_ack(&clear, START_N_ACK, 0, sids, 1);
    say_secured(&it, &clear);
    assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_STARTED);

    clear.n = 0;
    add_sids_ack(&clear, START_N_ACK, 0, sids + 16, 1); /* authentic, but not asked for any more */
    say_secured(&unknown, &clear);
    assert_failed(&unknown.rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_START, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_and_stop_are_the_messages_of_the_figures),
        cmocka_unit_test(acknowledgments_come_in_any_grouping_and_order),
        cmocka_unit_test(refused_start_leaves_its_session_to_be_started_again),
        cmocka_unit_test(start_that_is_refused_for_all_is_a_failure),
        cmocka_unit_test(refused_stop_is_told_and_the_session_forgotten),
        cmocka_unit_test(sessions_come_and_go_while_others_run),
        cmocka_unit_test(one_session_is_started_and_stopped_in_the_right_state_only),
        cmocka_unit_test(event_must_be_taken_before_the_next_question),
        cmocka_unit_test(acknowledgment_that_nobody_asked_for_is_fatal),
        cmocka_unit_test(sid_is_acknowledged_once),
        cmocka_unit_test(acknowledgment_out_of_the_blue_is_fatal),
        cmocka_unit_test(accept_session_in_place_of_an_acknowledgment_is_a_refusal),
        cmocka_unit_test(stop_sessions_of_the_server_is_skipped_everywhere),
        cmocka_unit_test(sid_given_twice_is_fatal_where_sids_matter),
        cmocka_unit_test(sessions_are_limited),
        cmocka_unit_test(acknowledgment_of_more_sessions_than_there_can_be_is_fatal),
        cmocka_unit_test(waits_for_acknowledgments_have_their_limit),
        cmocka_unit_test(acknowledgments_are_verified_on_a_secured_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
