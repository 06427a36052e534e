/* The Control-Client machine against scripted servers: every step, every Accept value, every
 * deadline. */
#include "client_rig.h"

static void client_waits_for_the_greeting(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    settle(&rig);
    assert_int_equal(rig.out.n, 0);
    assert_int_equal(rig.event_count, 0);
    assert_int_equal(room_of(&rig), 64);
}

static void greeting_is_answered_without_key(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_begin(&rig);
    add_greeting(&in, 0xf);
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 0);
    assert_int_equal(rig.out.n, 164);
    assert_int_equal(tw_get32(rig.out.octets), 1);
    assert_zero(rig.out.octets + 4, 160);
}

static void server_that_offers_nothing_is_left(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_begin(&rig);
    add_greeting(&in, 0);
    deliver_all(&rig, &in);
    assert_int_equal(rig.out.n, 0);
    assert_failed(&rig, TW_CLIENT_MODES_ZERO, TW_CLIENT_STEP_GREETING, 0);
}

static void mode_that_is_not_offered_is_not_replaced(void **state)
{
    (void)state;
    static const uint32_t modes[] = {2, 4, 8, 14, 0x3fe, UINT32_C(0xfffffffe)};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_begin(&rig);
        add_greeting(&in, modes[i]);
        deliver_all(&rig, &in);
        assert_int_equal(rig.out.n, 0);
        assert_failed(&rig, TW_CLIENT_MODE_MISSING, TW_CLIENT_STEP_GREETING, 0);
    }
}

static void count_is_ignored_where_no_key_is_derived(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 1000, 65536, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_begin(&rig);
        uint8_t *greeting = add_greeting(&in, 1);
        memset(greeting + 16, 0, 32); /* as are Challenge and Salt */
        tw_put32(greeting + 48, counts[i]);
        memset(greeting, 0xff, 12);
        memset(greeting + 52, 0xff, 12);
        deliver_all(&rig, &in);
        assert_int_equal(rig.out.n, 164);
    }
}

static void assert_mode(uint32_t features, uint32_t offered, uint32_t mode)
{
    struct rig rig;
    struct stream in = {.n = 0};
    rig_begin(&rig);
    rig.config.features = features;
    add_greeting(&in, offered);
    tw_put64(add_server_start(&in, 0) + 32, START_TIME);
    deliver_all(&rig, &in);
    assert_int_equal(tw_get32(rig.out.octets), mode);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_READY);
    assert_int_equal(only_event(&rig)->ready.offered, offered);
    assert_int_equal(only_event(&rig)->ready.mode, mode);
    assert_int_equal(only_event(&rig)->ready.start_time, START_TIME);
}

static void features_are_used_if_offered(void **state)
{
    (void)state;
    assert_mode(0, 1, 1);
    assert_mode(0, UINT32_MAX, 1);
    assert_mode(0x40, 1, 1);
    assert_mode(0x40, 0x41, 0x41);
    assert_mode(0x360, 0x3ff, 0x361);
    assert_mode(0x360, 0x201, 0x201);
}

static void every_accept_of_server_start(void **state)
{
    (void)state;
    for (unsigned accept = 0; accept < 256; accept++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_set_up(&rig);
        uint8_t *start = add_server_start(&in, accept);
        memset(start, 0xff, 15);
        memset(start + 40, 0xff, 8);
        deliver_all(&rig, &in);
        if (accept == 0)
            assert_int_equal(only_event(&rig)->type, TW_CLIENT_READY);
        else
            assert_failed(&rig, TW_CLIENT_REFUSED, TW_CLIENT_STEP_SET_UP, (uint8_t)accept);
    }
}

static void request_has_its_fields_where_the_figure_has_them(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_request request;
    rig_idle(&rig);
    make_request(&request);
    request.ipvn = 6;
    memset(request.sender_address, 0xaa, 16);
    memset(request.receiver_address, 0xbb, 16);
    request.start_time = START_TIME;
    request.timeout = UINT64_C(0x0000000280000000);
    request.type_p = UINT32_C(0x2e000000);
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_OK);
    settle(&rig);

    struct stream expected = {.n = 0};
    uint8_t *octets = add_request(&expected);
    octets[1] = 6;
    memset(octets + 16, 0xaa, 16);
    memset(octets + 32, 0xbb, 16);
    tw_put64(octets + 68, START_TIME);
    tw_put32(octets + 80, UINT32_C(0x80000000));
    assert_int_equal(rig.out.n, 112);
    assert_memory_equal(rig.out.octets, octets, 112);
}

static void fields_that_twamp_fixes_are_sent_as_zero(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_request request;
    rig_idle(&rig);
    memset(&request, 0xff, sizeof(request));
    request.ipvn = 4;
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_OK);
    settle(&rig);
    const uint8_t *octets = rig.out.octets;
    assert_int_equal(octets[0], 5);
    assert_int_equal(octets[1], 4);
    assert_zero(octets + 2, 10);
    assert_zero(octets + 20, 12);
    assert_zero(octets + 36, 12);
    assert_zero(octets + 48, 16);
    assert_zero(octets + 88, 24);
}

static void reflected_octets_are_asked_for_when_negotiated(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_request request;
    struct stream in = {.n = 0};
    rig_begin(&rig);
    rig.config.features = TW_MODE_REFLECT_OCTETS;
    add_greeting(&in, 0x21);
    add_server_start(&in, 0);
    deliver_all(&rig, &in);
    forget(&rig);
    make_request(&request);
    request.reflect_octets = 0x1234;
    request.reflect_length = 8;
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_OK);
    settle(&rig);
    assert_int_equal(tw_get32(rig.out.octets + 88), 0x12340008);
    in.n = 0;
    tw_put32(add_accept_session(&in, 0, 9) + 20, 0x12345678);
    deliver_all(&rig, &in);
    assert_int_equal(only_event(&rig)->session.reflected_octets, 0x1234);
    assert_int_equal(only_event(&rig)->session.server_octets, 0x5678);
}

static void every_accept_of_accept_session(void **state)
{
    (void)state;
    for (unsigned accept = 0; accept < 256; accept++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_request(&rig);
        uint8_t *answer = add_accept_session(&in, accept, 9999);
        answer[1] = 0xff;
        memset(answer + 20, 0xff, 28); /* MBZ and HMAC */
        deliver_all(&rig, &in);
        const struct tw_client_event *event = only_event(&rig);
        assert_int_equal(event->type, TW_CLIENT_SESSION);
        assert_int_equal(event->session.accept, accept);
        assert_int_equal(event->session.port, accept == 0 ? 9999 : 0);
        assert_int_equal(event->session.reflected_octets, 0);
        assert_int_equal(event->session.server_octets, 0);
        if (accept == 0)
            assert_memory_equal(event->session.sid, answer + 4, 16);
        assert_int_equal(rig.client.sessions.accepted, accept == 0 ? 1 : 0);
        assert_still_works(&rig);
    }
}

static void refusal_with_accept_3_is_no_stop_sessions(void **state)
{
    (void)state;
    static const uint8_t hmacs[][16] = {{0}, {0, 1}, {1, 0, 1}, {0xff, 0xff}};
    for (size_t i = 0; i < ARRAY_SIZE(hmacs); i++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_request(&rig);
        uint8_t *answer = add_accept_session(&in, 3, 0);
        memcpy(answer + 32, hmacs[i], sizeof(hmacs[i]));
        deliver_all(&rig, &in);
        assert_int_equal(only_event(&rig)->type, TW_CLIENT_SESSION);
        assert_int_equal(only_event(&rig)->session.accept, 3);
        assert_still_works(&rig);
    }
}

static void port_zero_confirms_the_one_asked_for(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_request(&rig);
    add_accept_session(&in, 0, 0);
    deliver_all(&rig, &in);
    assert_int_equal(only_event(&rig)->session.port, 9002);
}

static void server_that_was_to_choose_a_port_must_name_one(void **state)
{
    (void)state;
    for (uint16_t port = 0; port < 2; port++) {
        struct rig rig;
        struct tw_request request;
        struct stream in = {.n = 0};
        rig_idle(&rig);
        make_request(&request);
        request.receiver_port = 0;
        assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_OK);
        add_accept_session(&in, 0, port);
        deliver_all(&rig, &in);
        if (port == 0)
            assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_REQUEST, 0);
        else
            assert_int_equal(only_event(&rig)->session.port, port);
    }
}

static void every_accept_of_start_ack(void **state)
{
    (void)state;
    for (unsigned accept = 0; accept < 256; accept++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_start(&rig);
        add_start_ack(&in, accept);
        memset(in.octets + 1, 0xff, 31);
        deliver_all(&rig, &in);
        if (accept == 0) {
            assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
            assert_int_equal(rig.client.step, TW_CLIENT_STEP_TEST);
        } else {
            assert_failed(&rig, TW_CLIENT_REFUSED, TW_CLIENT_STEP_START, (uint8_t)accept);
        }
    }
}

static void plain_refusal_of_start_with_accept_3_is_no_stop_sessions(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_start(&rig);
    add_start_ack(&in, 3);
    deliver_all(&rig, &in);
    assert_failed(&rig, TW_CLIENT_REFUSED, TW_CLIENT_STEP_START, 3);
}

static void start_and_stop_are_the_messages_of_the_figures(void **state)
{
    (void)state;
    struct rig rig;
    rig_accepted(&rig);
    ask_start(&rig);
    assert_int_equal(rig.out.n, 32);
    assert_int_equal(rig.out.octets[0], 2);
    assert_zero(rig.out.octets + 1, 31);

    rig_test(&rig);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_INTERNAL_ERROR, rig.now), TW_OK);
    settle(&rig);
    assert_int_equal(rig.event_count, 0);
    assert_int_equal(rig.out.n, 32);
    assert_int_equal(rig.out.octets[0], 3);
    assert_int_equal(rig.out.octets[1], 2);
    assert_zero(rig.out.octets + 2, 2);
    assert_int_equal(tw_get32(rig.out.octets + 4), 1);
    assert_zero(rig.out.octets + 8, 24);
    assert_int_equal(rig.client.step, TW_CLIENT_STEP_IDLE);
}

/* `accepts` of the server's answers; the sessions counted are those with 0. */
static void run_cycle(struct rig *rig, const uint8_t *accepts, size_t n, uint32_t sessions)
{
    for (size_t i = 0; i < n; i++) {
        struct stream in = {.n = 0};
        ask_session(rig);
        add_accept_session(&in, accepts[i], 9002);
        deliver_all(rig, &in);
    }
    struct stream in = {.n = 0};
    ask_start(rig);
    add_start_ack(&in, 0);
    deliver_all(rig, &in);
    forget(rig);
    assert_int_equal(tw_client_stop(&rig->client, TW_ACCEPT_OK, rig->now), TW_OK);
    settle(rig);
    assert_int_equal(tw_get32(rig->out.octets + 4), sessions);
    forget(rig);
}

static void stop_counts_the_accepted_sessions_of_its_cycle(void **state)
{
    (void)state;
    struct rig rig;
    rig_idle(&rig);
    run_cycle(&rig, (const uint8_t[]){0}, 1, 1);
    run_cycle(&rig, (const uint8_t[]){0, 5, 0, 3, 0, 0, 77, 0}, 8, 5);
    run_cycle(&rig, (const uint8_t[]){1, 0}, 2, 1);
}

static void questions_are_possible_when_idle_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rig_steps); i++) {
        struct rig rig;
        struct tw_request request;
        rig_steps[i](&rig);
        make_request(&request);
        const bool idle = rig.client.step == TW_CLIENT_STEP_IDLE;
        const bool testing = rig.client.step == TW_CLIENT_STEP_TEST;
        assert_int_equal(tw_client_start(&rig.client, rig.now), TW_ERR_STATE);
        if (!testing)
            assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_ERR_STATE);
        settle(&rig);
        assert_int_equal(rig.out.n, 0);
        assert_int_equal(tw_client_request(&rig.client, &request, rig.now),
                         idle ? TW_OK : TW_ERR_STATE);
    }
}

static void nothing_can_be_started_that_was_not_accepted(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_request(&rig);
    add_accept_session(&in, 5, 0);
    deliver_all(&rig, &in);
    assert_int_equal(tw_client_start(&rig.client, rig.now), TW_ERR_STATE);

    rig_test(&rig);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_OK);
    settle(&rig);
    assert_int_equal(tw_client_start(&rig.client, rig.now), TW_ERR_STATE);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_ERR_STATE);
}

static void answer_must_be_taken_before_the_next_question(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_request request;
    struct stream in = {.n = 0};
    size_t room;
    rig_request(&rig);
    make_request(&request);
    add_accept_session(&in, 0, 9002);
    deliver(&rig, in.octets, 47, SIZE_MAX);
    *tw_client_input(&rig.client, &room) = in.octets[47];
    tw_client_received(&rig.client, 1, rig.now);
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_ERR_STATE);
    assert_int_equal(tw_client_start(&rig.client, rig.now), TW_ERR_STATE);
    settle(&rig);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_SESSION);
    ask_start(&rig);
}

static void every_wait_has_its_limit(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rig_steps); i++) {
        struct rig rig;
        rig_steps[i](&rig);
        const enum tw_client_step step = rig.client.step;
        if (step == TW_CLIENT_STEP_IDLE || step == TW_CLIENT_STEP_TEST) {
            assert_true(tw_mono_is_never(tw_client_deadline(&rig.client)));
            tw_client_expire(&rig.client, (tw_mono){INT64_MAX});
            settle(&rig);
            assert_int_equal(rig.event_count, 0);
            continue;
        }
        const int64_t end = rig.now.ns + STEP;
        rig.now.ns = end - 1;
        deliver(&rig, (const uint8_t[]){0, 0, 0}, 3, 1); /* drop by drop gains no time */
        assert_int_equal(tw_client_deadline(&rig.client).ns, end);
        tw_client_expire(&rig.client, rig.now);
        settle(&rig);
        assert_int_equal(rig.event_count, 0);
        rig.now.ns = end;
        tw_client_expire(&rig.client, rig.now);
        assert_failed(&rig, TW_CLIENT_TIMED_OUT, step, 0);
    }
}

static void every_step_has_a_limit_of_its_own(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_begin(&rig);
    rig.now.ns += STEP - 1;
    add_greeting(&in, 1);
    deliver_all(&rig, &in);
    assert_int_equal(tw_client_deadline(&rig.client).ns, rig.now.ns + STEP);
    rig.now.ns += STEP - 1;
    in.n = 0;
    add_server_start(&in, 0);
    deliver_all(&rig, &in);
    assert_true(tw_mono_is_never(tw_client_deadline(&rig.client)));
    rig.now.ns += 100 * STEP;
    ask_session(&rig);
    assert_int_equal(tw_client_deadline(&rig.client).ns, rig.now.ns + STEP);
    in.n = 0;
    add_accept_session(&in, 0, 1);
    deliver_all(&rig, &in);
    assert_true(tw_mono_is_never(tw_client_deadline(&rig.client)));
    rig.now.ns += 100 * STEP;
    ask_start(&rig);
    assert_int_equal(tw_client_deadline(&rig.client).ns, rig.now.ns + STEP);
}

static void end_of_the_connection_is_a_failure_at_any_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rig_steps); i++) {
        struct rig rig;
        rig_steps[i](&rig);
        const enum tw_client_step step = rig.client.step;
        tw_client_end(&rig.client);
        assert_failed(&rig, TW_CLIENT_ENDED, step, 0);
    }
}

static void failure_replaces_what_was_not_taken(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    size_t room;
    rig_start(&rig);
    add_start_ack(&in, 0);
    deliver(&rig, in.octets, 31, SIZE_MAX);
    *tw_client_input(&rig.client, &room) = 0;
    tw_client_received(&rig.client, 1, rig.now);
    tw_client_end(&rig.client);
    assert_failed(&rig, TW_CLIENT_ENDED, TW_CLIENT_STEP_TEST, 0);
}

static void output_of_a_failed_connection_is_dropped(void **state)
{
    (void)state;
    struct rig rig;
    rig_test(&rig);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_OK);
    tw_client_end(&rig.client);
    assert_failed(&rig, TW_CLIENT_ENDED, TW_CLIENT_STEP_IDLE, 0);
    assert_int_equal(rig.out.n, 0);
}

static void steps_and_failures_have_words(void **state)
{
    (void)state;
    assert_string_equal(tw_client_step_name(TW_CLIENT_STEP_GREETING), "greeting");
    assert_string_equal(tw_client_step_name(TW_CLIENT_STEP_CLOSED), "closed");
    assert_string_equal(tw_client_failure_text(TW_CLIENT_TIMED_OUT), "no answer in time");
    assert_string_equal(tw_client_failure_text(TW_CLIENT_REFUSED), "the server refused");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_waits_for_the_greeting),
        cmocka_unit_test(greeting_is_answered_without_key),
        cmocka_unit_test(server_that_offers_nothing_is_left),
        cmocka_unit_test(mode_that_is_not_offered_is_not_replaced),
        cmocka_unit_test(count_is_ignored_where_no_key_is_derived),
        cmocka_unit_test(features_are_used_if_offered),
        cmocka_unit_test(every_accept_of_server_start),
        cmocka_unit_test(request_has_its_fields_where_the_figure_has_them),
        cmocka_unit_test(fields_that_twamp_fixes_are_sent_as_zero),
        cmocka_unit_test(reflected_octets_are_asked_for_when_negotiated),
        cmocka_unit_test(every_accept_of_accept_session),
        cmocka_unit_test(refusal_with_accept_3_is_no_stop_sessions),
        cmocka_unit_test(port_zero_confirms_the_one_asked_for),
        cmocka_unit_test(server_that_was_to_choose_a_port_must_name_one),
        cmocka_unit_test(every_accept_of_start_ack),
        cmocka_unit_test(plain_refusal_of_start_with_accept_3_is_no_stop_sessions),
        cmocka_unit_test(start_and_stop_are_the_messages_of_the_figures),
        cmocka_unit_test(stop_counts_the_accepted_sessions_of_its_cycle),
        cmocka_unit_test(questions_are_possible_when_idle_only),
        cmocka_unit_test(nothing_can_be_started_that_was_not_accepted),
        cmocka_unit_test(answer_must_be_taken_before_the_next_question),
        cmocka_unit_test(every_wait_has_its_limit),
        cmocka_unit_test(every_step_has_a_limit_of_its_own),
        cmocka_unit_test(end_of_the_connection_is_a_failure_at_any_step),
        cmocka_unit_test(failure_replaces_what_was_not_taken),
        cmocka_unit_test(output_of_a_failed_connection_is_dropped),
        cmocka_unit_test(steps_and_failures_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
