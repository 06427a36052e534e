/* The Server machine and its stream: messages in pieces and in heaps, when it reads and when not, a
 * captured client of another implementation, and random clients. */
#include "server_rig.h"

/* A whole connection: two cycles, a rejection, and a command that is not legal during the test. */
static void add_conversation(struct stream *in)
{
    add_set_up(in, 1);
    add_request(in);
    add_request(in)[1] = 5;
    add_request(in);
    add_start(in);
    add_request(in);
    stream_add(in, 32)[0] = 2;
    add_stop(in, 2);
    add_request(in);
    add_start(in);
    add_stop(in, 0);
    stream_add(in, 16)[0] = 200;
}

static void segments_of_any_size_make_no_difference(void **state)
{
    (void)state;
    struct stream in = {.n = 0};
    struct rig whole;
    add_conversation(&in);
    rig_prepare(&whole);
    rig_begin(&whole);
    deliver_all(&whole, &in);
    static const enum tw_server_event_type expected[] = {
        TW_SERVER_SET_UP, TW_SERVER_REQUEST, TW_SERVER_REJECT, TW_SERVER_REQUEST, TW_SERVER_START,
        TW_SERVER_REJECT, TW_SERVER_REJECT,  TW_SERVER_STOP,   TW_SERVER_REQUEST, TW_SERVER_START,
        TW_SERVER_STOP,   TW_SERVER_REJECT,  TW_SERVER_CLOSE,
    };
    assert_int_equal(whole.event_count, ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        assert_int_equal(whole.events[i].type, expected[i]);
    assert_int_equal(whole.out.n, 64 + 48 + 3 * 48 + 32 + 2 * 48 + 48 + 32 + 48);

    for (size_t chunk = 1; chunk < 170; chunk++) {
        struct rig rig;
        rig_prepare(&rig);
        rig_begin(&rig);
        assert_int_equal(deliver(&rig, in.octets, in.n, chunk), in.n);
        assert_int_equal(rig.out.n, whole.out.n);
        assert_memory_equal(rig.out.octets, whole.out.octets, whole.out.n);
        assert_int_equal(rig.event_count, whole.event_count);
        for (size_t i = 0; i < rig.event_count; i++)
            assert_int_equal(rig.events[i].type, whole.events[i].type);
    }
}

static void no_part_of_a_message_is_acted_upon(void **state)
{
    (void)state;
    struct rig set_up;
    struct stream in = {.n = 0};
    rig_prepare(&set_up);
    rig_begin(&set_up);
    settle(&set_up);
    forget(&set_up);
    add_set_up(&in, 1);
    for (size_t n = 0; n < in.n; n++) {
        struct rig rig = set_up;
        rig_moved(&rig);
        deliver(&rig, in.octets, n, SIZE_MAX);
        assert_int_equal(rig.event_count + rig.out.n, 0);
    }

    static const unsigned numbers[] = {2, 3, 5, 7, 9};
    struct rig idle;
    struct rig testing;
    rig_idle(&idle);
    rig_testing(&testing, 1);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        in.n = 0;
        add_command(&in, numbers[i]);
        for (size_t n = 1; n < in.n; n++) {
            struct rig rigs[] = {idle, testing};
            for (size_t j = 0; j < ARRAY_SIZE(rigs); j++) {
                struct rig *rig = &rigs[j];
                rig_moved(rig);
                assert_int_equal(deliver(rig, in.octets, n, SIZE_MAX), n);
                assert_int_equal(rig->event_count + rig->out.n, 0);
                assert_int_equal(tw_server_deadline(&rig->server).ns, rig->now.ns + STALL);
                rig->now.ns += STALL;
                tw_server_expire(&rig->server, rig->now);
                settle(rig);
                assert_int_equal(rig->out.n, 0);
                assert_only_closed(rig, TW_SERVER_CLOSE_STALLED);
            }
        }
    }
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    for (unsigned i = 0; i < 10; i++)
        tw_put16(add_request(&in) + 12, (uint16_t)(9000 + i));
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 10);
    assert_int_equal(rig.out.n, 10 * 48);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(rig.events[i].request.sender_port, 9000 + i);
        assert_int_equal(tw_get16(rig.out.octets + (size_t)48 * i + 2), 30001 + i);
    }
    assert_int_equal(rig.server.accepted, 10);
}

static void nothing_is_read_while_a_question_is_open(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    struct tw_server_event event;
    rig_idle(&rig);
    rig.silent = true;
    add_request(&in);
    add_request(&in);
    assert_int_equal(deliver(&rig, in.octets, in.n, SIZE_MAX), 112);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_REQUEST);
    assert_false(tw_server_next_event(&rig.server, &event));
    assert_int_equal(room_of(&rig), 0);
    assert_true(tw_mono_is_never(tw_server_deadline(&rig.server)));
    answer_question(&rig, TW_SERVER_REQUEST);
    assert_int_equal(room_of(&rig), 16);

    in.n = 0;
    add_start(&in);
    add_stop(&in, 1);
    forget(&rig);
    assert_int_equal(deliver(&rig, in.octets, in.n, SIZE_MAX), 32);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_START);
    assert_int_equal(room_of(&rig), 0);
    assert_true(tw_mono_is_never(tw_server_deadline(&rig.server)));
    answer_question(&rig, TW_SERVER_START);
    assert_int_equal(room_of(&rig), 16);
}

static void nothing_is_read_while_an_event_waits(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    struct tw_server_event event;
    size_t room;
    rig_testing(&rig, 1);
    add_request(&in);
    memcpy(tw_server_input(&rig.server, &room), in.octets, 16);
    tw_server_received(&rig.server, 16, rig.now);
    memcpy(tw_server_input(&rig.server, &room), in.octets + 16, 96);
    tw_server_received(&rig.server, 96, rig.now);
    assert_int_equal(room_of(&rig), 0);
    assert_true(tw_server_next_event(&rig.server, &event));
    assert_int_equal(event.type, TW_SERVER_REJECT);
    assert_int_equal(room_of(&rig), 16);
}

static void client_that_reads_nothing_is_not_read_from(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    enum { REQUESTS = 60 };
    rig_testing(&rig, 1);
    rig.deaf = true;
    for (unsigned i = 0; i < REQUESTS; i++)
        add_request(&in);
    const size_t taken = deliver(&rig, in.octets, in.n, SIZE_MAX);
    assert_int_equal(taken, TW_SERVER_OUT / 48 * 112);
    assert_int_equal(room_of(&rig), 0);
    rig.deaf = false;
    assert_int_equal(deliver(&rig, in.octets + taken, in.n - taken, SIZE_MAX), in.n - taken);
    assert_int_equal(rig.out.n, REQUESTS * 48);
    assert_int_equal(rig.event_count, REQUESTS);
}

static void close_comes_when_the_last_octet_is_taken(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    struct tw_server_event event;
    rig_idle(&rig);
    rig.deaf = true;
    add_command(&in, 0);
    deliver(&rig, in.octets, 16, 16);
    forget(&rig);
    for (size_t i = 0; i < 48; i++) {
        assert_false(tw_server_next_event(&rig.server, &event));
        tw_server_sent(&rig.server, 1, rig.now);
    }
    assert_true(tw_server_next_event(&rig.server, &event));
    assert_int_equal(event.type, TW_SERVER_CLOSE);
    assert_false(tw_server_next_event(&rig.server, &event));
}

/* Calls that are not due change nothing. */
static void assert_no_answer_is_due(struct rig *rig)
{
    uint8_t sid[TW_SID_SIZE] = {1};
    const enum tw_server_state state = rig->server.state;
    size_t before;
    size_t after;
    tw_server_output(&rig->server, &before);
    assert_int_equal(tw_server_answer_session(&rig->server, TW_ACCEPT_OK, 5, sid, rig->now),
                     TW_ERR_STATE);
    assert_int_equal(tw_server_answer_start(&rig->server, TW_ACCEPT_OK, rig->now), TW_ERR_STATE);
    assert_int_equal(tw_server_answer_key(&rig->server, sid, true, rig->now), TW_ERR_STATE);
    assert_int_equal(tw_server_answer_sids(&rig->server, sid, rig->now), TW_ERR_STATE);
    tw_server_sessions_ended(&rig->server, rig->now);
    tw_server_output(&rig->server, &after);
    assert_int_equal(before, after);
    assert_int_equal(rig->server.state, state);
}

static void answers_to_no_question_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    uint8_t sid[TW_SID_SIZE] = {1};
    size_t room;
    rig_prepare(&rig);
    rig_begin(&rig);
    assert_no_answer_is_due(&rig);
    settle(&rig);
    add_set_up(&in, 1);
    deliver_all(&rig, &in);
    assert_no_answer_is_due(&rig);

    in.n = 0;
    add_request(&in);
    memcpy(tw_server_input(&rig.server, &room), in.octets, 16);
    tw_server_received(&rig.server, 16, rig.now);
    memcpy(tw_server_input(&rig.server, &room), in.octets + 16, 96);
    tw_server_received(&rig.server, 96, rig.now);
    assert_no_answer_is_due(&rig); /* the question has not been taken */
    rig.silent = true;
    settle(&rig);
    assert_int_equal(tw_server_answer_start(&rig.server, TW_ACCEPT_OK, rig.now), TW_ERR_STATE);
    answer_question(&rig, TW_SERVER_REQUEST);
    assert_no_answer_is_due(&rig);

    in.n = 0;
    add_start(&in);
    deliver_all(&rig, &in);
    assert_int_equal(tw_server_answer_session(&rig.server, TW_ACCEPT_OK, 5, sid, rig.now),
                     TW_ERR_STATE);
    tw_server_sessions_ended(&rig.server, rig.now);
    answer_question(&rig, TW_SERVER_START);
    assert_true(tw_mono_is_never(tw_server_deadline(&rig.server)));
    assert_no_answer_is_due(&rig);

    in.n = 0;
    add_stop(&in, 7);
    rig.deaf = true;
    deliver(&rig, in.octets, in.n, SIZE_MAX);
    assert_no_answer_is_due(&rig);
    rig.deaf = false;
    settle(&rig);
    assert_int_equal(rig.server.state, TW_SERVER_STATE_CLOSED);
    assert_no_answer_is_due(&rig);
}

static void captured_client_is_served(void **state)
{
    (void)state;
    struct stream in = {.n = 0};
    struct stream captured = {.n = 0};
    struct rig rig;
    stream_add_hex(&in, PERFSONAR_CLIENT);
    stream_add_hex(&captured, PERFSONAR_SERVER);
    rig_prepare(&rig);
    rig.config.modes = 1;
    rig.config.start_time = tw_get64(captured.octets + 64 + 32);
    rig_begin(&rig);
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 4);
    assert_int_equal(rig.events[0].type, TW_SERVER_SET_UP);
    const struct tw_request *request = &rig.events[1].request;
    assert_int_equal(rig.events[1].type, TW_SERVER_REQUEST);
    assert_int_equal(request->sender_port, 9417);
    assert_int_equal(request->receiver_port, 9417);
    assert_memory_equal(request->sender_address, ((const uint8_t[]){127, 0, 0, 1}), 4);
    assert_int_equal(request->padding_length, 64);
    assert_int_equal(request->timeout, UINT64_C(1) << 32);
    assert_int_equal(tw_type_p_to_dscp(request->type_p), 46);
    assert_int_equal(rig.events[2].type, TW_SERVER_START);
    assert_int_equal(rig.events[3].type, TW_SERVER_STOP);
    assert_int_equal(rig.events[3].stop.accept, 0);
    assert_false(rig.events[3].stop.zero_count);
    assert_int_equal(rig.server.state, TW_SERVER_STATE_IDLE);

    /* The same messages as the captured server's, but for what is each server's own. */
    assert_int_equal(rig.out.n, captured.n);
    assert_memory_equal(rig.out.octets + 64, captured.octets + 64, 48);
    assert_memory_equal(rig.out.octets + 112 + 20, captured.octets + 112 + 20, 28 + 32);
}

/* Random commands, mostly whole and legal ones, then junk. */
static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void add_random_command(struct stream *in, uint64_t *random, uint32_t started)
{
    const uint64_t choice = next_random(random) % 32;
    if (choice < 12)
        add_request(in);
    else if (choice < 16)
        add_request(in)[1 + next_random(random) % 111] ^= (uint8_t)next_random(random);
    else if (choice < 22)
        add_start(in);
    else if (choice < 28)
        add_stop(in, next_random(random) % 8 == 0 ? 0 : started);
    else if (choice < 30)
        add_command(in, next_random(random) % 2 == 0 ? 7 : 9);
    else if (choice < 31)
        add_stop(in, (uint32_t)next_random(random) % 4);
    else
        stream_add(in, 16)[0] = (uint8_t)(next_random(random) | 0x80); /* of unknown length */
}

static size_t answer_size(const struct rig *rig, const struct tw_server_event *event)
{
    switch (event->type) {
    case TW_SERVER_REQUEST:
        return 48;
    case TW_SERVER_START:
        return 32;
    case TW_SERVER_REJECT:
        return event->reject.reason == TW_SERVER_REJECT_NO_SESSION ? 32 : 48;
    case TW_SERVER_KEY:
    case TW_SERVER_SET_UP:
    case TW_SERVER_STOP:
    case TW_SERVER_START_N:
    case TW_SERVER_STOP_N:
    case TW_SERVER_CLOSE:
        break;
    }
    assert_true(rig->event_count > 0);
    return 0;
}

/* One connection until it ends or `commands` are through; every answer has its command, every
 * event its state, and what is counted agrees with what was said. */
static bool run_random_connection(uint64_t *random, unsigned commands)
{
    struct rig rig;
    uint32_t accepted = 0;
    uint32_t started = 0;
    rig_idle(&rig);
    for (unsigned i = 0; i < commands; i++) {
        struct stream in = {.n = 0};
        forget(&rig);
        rig.accept = next_random(random) % 8 == 0 ? TW_ACCEPT_TEMPORARY_LIMIT : TW_ACCEPT_OK;
        add_random_command(&in, random, started);
        const size_t taken = deliver(&rig, in.octets, in.n, 1 + next_random(random) % 64);
        size_t expected = 0;
        for (size_t j = 0; j < rig.event_count; j++) {
            const struct tw_server_event *event = &rig.events[j];
            expected += answer_size(&rig, event);
            if (event->type == TW_SERVER_REQUEST && rig.accept == TW_ACCEPT_OK)
                accepted++;
            if (event->type == TW_SERVER_START) {
                started = rig.accept == TW_ACCEPT_OK ? accepted : 0;
                accepted = 0;
            }
            if (event->type == TW_SERVER_STOP) {
                assert_true(started > 0);
                started = 0;
            }
        }
        assert_int_equal(rig.out.n, expected);
        assert_true(rig.event_count <= 2);
        if (rig.event_count > 0 && rig.events[rig.event_count - 1].type == TW_SERVER_CLOSE) {
            assert_int_equal(rig.server.state, TW_SERVER_STATE_CLOSED);
            assert_int_equal(room_of(&rig), 0);
            return true;
        }
        assert_int_equal(taken, in.n);
        assert_int_equal(rig.server.accepted, accepted);
        assert_int_equal(rig.server.started, started);
        assert_int_equal(rig.server.running, started > 0);
        assert_int_equal(rig.server.state,
                         started > 0 ? TW_SERVER_STATE_TESTING : TW_SERVER_STATE_IDLE);
        assert_true(room_of(&rig) > 0);
    }
    return false;
}

static void random_commands_never_break_the_rules(void **state)
{
    (void)state;
    uint64_t random = 20080818;
    unsigned closed = 0;
    print_message("# seed %llu\n", (unsigned long long)random);
    for (unsigned i = 0; i < 2000; i++)
        closed += run_random_connection(&random, 60);
    assert_true(closed > 0 && closed < 2000);
}

/* Nothing but noise, in noisy portions, from a client that may not read. */
static void random_octets_end_by_close_alone(void **state)
{
    (void)state;
    uint64_t random = 5357;
    print_message("# seed %llu\n", (unsigned long long)random);
    for (unsigned i = 0; i < 2000; i++) {
        struct rig rig;
        uint8_t noise[64];
        rig_idle(&rig);
        for (unsigned j = 0; j < 40 && rig.server.state != TW_SERVER_STATE_CLOSED; j++) {
            for (size_t k = 0; k < sizeof(noise); k++)
                noise[k] = (uint8_t)(next_random(&random) % 12);
            rig.deaf = next_random(&random) % 3 == 0;
            deliver(&rig, noise, sizeof(noise), 1 + next_random(&random) % 64);
            rig.now.ns += (int64_t)next_random(&random) % (TW_NS_PER_S / 4);
            tw_server_expire(&rig.server, rig.now);
        }
        rig.deaf = false;
        settle(&rig);
        const bool closed = rig.server.state == TW_SERVER_STATE_CLOSED;
        for (size_t j = 0; j < rig.event_count; j++)
            assert_int_equal(rig.events[j].type == TW_SERVER_CLOSE,
                             closed && j == rig.event_count - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_of_any_size_make_no_difference),
        cmocka_unit_test(no_part_of_a_message_is_acted_upon),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(nothing_is_read_while_a_question_is_open),
        cmocka_unit_test(nothing_is_read_while_an_event_waits),
        cmocka_unit_test(client_that_reads_nothing_is_not_read_from),
        cmocka_unit_test(close_comes_when_the_last_octet_is_taken),
        cmocka_unit_test(answers_to_no_question_are_refused),
        cmocka_unit_test(captured_client_is_served),
        cmocka_unit_test(random_commands_never_break_the_rules),
        cmocka_unit_test(random_octets_end_by_close_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
