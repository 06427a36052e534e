/* The Control-Client machine and its stream: messages in pieces, messages that nobody asked for, a
 * captured server of another implementation, and random servers. */
#include "client_rig.h"

/* What the server says after `step` when all goes well, until the test runs. */
static void play(struct rig *rig, size_t chunk, size_t gap)
{
    struct stream in = {.n = 0};
    rig_begin(rig);
    add_greeting(&in, 1);
    add_server_start(&in, 0);
    for (unsigned i = 0; i < 3; i++)
        add_accept_session(&in, i == 1 ? 3 : 0, 0);
    add_start_ack(&in, 0);

    static const size_t asked_after[] = {112, 160, 208, 256};
    size_t done = 0;
    for (size_t i = 0; i <= ARRAY_SIZE(asked_after); i++) {
        const size_t end = i < ARRAY_SIZE(asked_after) ? asked_after[i] : in.n;
        /* The cut at `gap` is one more than those that `chunk` makes. */
        if (gap > done && gap < end)
            done += deliver(rig, in.octets + done, gap - done, chunk);
        done += deliver(rig, in.octets + done, end - done, chunk);
        assert_int_equal(done, end);
        if (i < 3)
            ask_session(rig);
        else if (i == 3)
            ask_start(rig);
    }
    assert_int_equal(tw_client_stop(&rig->client, TW_ACCEPT_OK, rig->now), TW_OK);
    settle(rig);
}

static void segments_of_any_size_make_no_difference(void **state)
{
    (void)state;
    struct rig whole;
    play(&whole, SIZE_MAX, 0);
    static const enum tw_client_event_type expected[] = {
        TW_CLIENT_READY, TW_CLIENT_SESSION, TW_CLIENT_SESSION, TW_CLIENT_SESSION, TW_CLIENT_STARTED,
    };
    assert_int_equal(whole.event_count, ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        assert_int_equal(whole.events[i].type, expected[i]);
    assert_int_equal(whole.out.n, 164 + 3 * 112 + 32 + 32);
    assert_int_equal(tw_get32(whole.out.octets + whole.out.n - 32 + 4), 2);

    for (size_t cut = 1; cut < 288; cut++) {
        struct rig rig;
        play(&rig, cut < 70 ? cut : SIZE_MAX, cut);
        assert_int_equal(rig.out.n, whole.out.n);
        assert_memory_equal(rig.out.octets, whole.out.octets, whole.out.n);
        assert_int_equal(rig.event_count, whole.event_count);
        for (size_t i = 0; i < rig.event_count; i++)
            assert_int_equal(rig.events[i].type, whole.events[i].type);
    }
}

static void add_answer(struct stream *in, enum tw_client_step step)
{
    if (step == TW_CLIENT_STEP_GREETING)
        add_greeting(in, 1);
    else if (step == TW_CLIENT_STEP_SET_UP)
        add_server_start(in, 0);
    else if (step == TW_CLIENT_STEP_REQUEST)
        add_accept_session(in, 0, 5);
    else if (step == TW_CLIENT_STEP_START)
        add_start_ack(in, 0);
}

static void part_of_an_answer_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rig_steps); i++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_steps[i](&rig);
        const enum tw_client_step step = rig.client.step;
        add_answer(&in, step);
        for (size_t n = 0; n < in.n; n++) {
            struct rig ended = rig;
            rig_moved(&ended);
            assert_int_equal(deliver(&ended, in.octets, n, SIZE_MAX), n);
            assert_int_equal(ended.event_count, 0);
            assert_int_equal(ended.client.step, step);
            struct rig late = ended;
            rig_moved(&late);
            tw_client_end(&ended.client);
            assert_failed(&ended, TW_CLIENT_ENDED, step, 0);
            tw_client_expire(&late.client, (tw_mono){late.now.ns + STEP});
            assert_failed(&late, TW_CLIENT_TIMED_OUT, step, 0);
        }
    }
}

static void only_a_stop_is_tolerated_unasked(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        struct rig rigs[3];
        rig_idle(&rigs[0]);
        rig_accepted(&rigs[1]);
        rig_test(&rigs[2]);
        for (size_t i = 0; i < ARRAY_SIZE(rigs); i++) {
            struct stream in = {.n = 0};
            const enum tw_client_step step = rigs[i].client.step;
            uint8_t *message = stream_add(&in, 32);
            memset(message, 0xff, 32);
            message[0] = (uint8_t)first;
            const size_t taken = deliver(&rigs[i], in.octets, in.n, SIZE_MAX);
            if (first == 3) {
                assert_int_equal(taken, 32);
                assert_int_equal(rigs[i].event_count, 0);
                assert_int_equal(rigs[i].client.step, step);
                assert_true(room_of(&rigs[i]) > 0);
            } else {
                assert_int_equal(taken, 16);
                assert_failed(&rigs[i], TW_CLIENT_UNEXPECTED, step, 0);
            }
        }
    }
}

static void server_that_says_more_than_asked_is_left(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_request(&rig);
    add_accept_session(&in, 0, 9);
    add_accept_session(&in, 0, 9);
    deliver(&rig, in.octets, in.n, SIZE_MAX);
    assert_int_equal(rig.event_count, 2);
    assert_int_equal(rig.events[0].type, TW_CLIENT_SESSION);
    assert_int_equal(rig.events[1].type, TW_CLIENT_FAILED);
    assert_int_equal(rig.events[1].failed.failure, TW_CLIENT_UNEXPECTED);
    assert_int_equal(rig.events[1].failed.step, TW_CLIENT_STEP_IDLE);
}

static void receive_unsent(struct rig *rig, const struct stream *in)
{
    for (size_t done = 0; done < in->n && room_of(rig) > 0; done++) {
        size_t room;
        *tw_client_input(&rig->client, &room) = in->octets[done];
        tw_client_received(&rig->client, 1, rig->now);
    }
}

static void answer_before_the_question_is_sent_is_none(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_request request;
    struct stream in = {.n = 0};
    make_request(&request);

    rig_begin(&rig);
    add_greeting(&in, 1);
    add_server_start(&in, 0);
    receive_unsent(&rig, &in);
    assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_SET_UP, 0);

    rig_idle(&rig);
    in.n = 0;
    add_accept_session(&in, 0, 9);
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_OK);
    tw_client_sent(&rig.client, 111, rig.now);
    receive_unsent(&rig, &in);
    assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_REQUEST, 0);

    rig_accepted(&rig);
    in.n = 0;
    add_start_ack(&in, 0);
    assert_int_equal(tw_client_start(&rig.client, rig.now), TW_OK);
    receive_unsent(&rig, &in);
    assert_failed(&rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_START, 0);
}

/* A server's own Stop-Sessions, with what such servers may put into it, before each answer, and
 * begun before or after the question. */
static void assert_stop_is_skipped(uint8_t accept, uint32_t sessions, size_t early, unsigned answer,
                                   size_t chunk)
{
    struct rig rig;
    struct stream in = {.n = 0};
    rig_test(&rig);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_OK);
    settle(&rig);
    forget(&rig);
    uint8_t *stop = add_stop(&in, sessions);
    stop[1] = accept;
    add_accept_session(&in, answer, answer == 0 ? 9 : 0);
    deliver(&rig, in.octets, early, chunk);
    assert_int_equal(rig.event_count, 0);
    ask_session(&rig);
    assert_int_equal(deliver(&rig, in.octets + early, in.n - early, chunk), in.n - early);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_SESSION);
    assert_int_equal(only_event(&rig)->session.accept, answer);
    assert_still_works(&rig);
}

static void stop_of_the_server_is_skipped_before_accept_session(void **state)
{
    (void)state;
    for (size_t early = 0; early <= 32; early++) {
        for (size_t chunk = 1; chunk < 100; chunk += 7) {
            for (unsigned answer = 0; answer < 6; answer++) {
                assert_stop_is_skipped(0, 0, early, answer, chunk);
                assert_stop_is_skipped(0, 1, early, answer, chunk);
                assert_stop_is_skipped(2, 1, early, answer, chunk);
            }
        }
    }
}

static void stop_of_the_server_is_skipped_before_start_ack(void **state)
{
    (void)state;
    for (size_t early = 0; early <= 32; early++) {
        for (unsigned kind = 0; kind < 3; kind++) {
            struct rig rig;
            struct stream in = {.n = 0};
            const bool looks_like_start_ack = kind == 0;
            if (looks_like_start_ack && early == 0)
                continue; /* a Start-Ack with Accept 3 for all that anybody can tell */
            rig_accepted(&rig);
            uint8_t *stop = add_stop(&in, kind == 1 ? 1 : 0);
            stop[1] = kind == 2 ? 1 : 0;
            add_start_ack(&in, 0);
            deliver(&rig, in.octets, early, SIZE_MAX);
            ask_start(&rig);
            forget(&rig);
            deliver(&rig, in.octets + early, in.n - early, 5);
            assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
        }
    }
}

static void stop_of_the_server_is_skipped_during_a_test(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_test(&rig);
    add_stop(&in, 0);
    add_stop(&in, 1);
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 0);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_OK);
    settle(&rig);
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 0);
    assert_still_works(&rig);
}

/* Fed with what the captured server said and asked for what the captured client asked for, the
 * machine must say what that client said. */
static void captured_server_is_understood(void **state)
{
    (void)state;
    struct stream server = {.n = 0};
    struct stream client = {.n = 0};
    stream_add_hex(&server, PERFSONAR_SERVER);
    stream_add_hex(&client, PERFSONAR_CLIENT);
    for (size_t chunk = 1; chunk < 65; chunk++) {
        struct rig rig;
        rig_begin(&rig);
        deliver(&rig, server.octets, 112, chunk);
        assert_int_equal(only_event(&rig)->type, TW_CLIENT_READY);
        assert_int_equal(only_event(&rig)->ready.offered, 15);
        assert_int_equal(only_event(&rig)->ready.mode, 1);
        assert_true(only_event(&rig)->ready.start_time == UINT64_C(0xeeae404e56d45e91));

        const struct tw_request request = {
            .ipvn = 4,
            .sender_port = 9417,
            .receiver_port = 9417,
            .sender_address = {127, 0, 0, 1},
            .receiver_address = {127, 0, 0, 1},
            .padding_length = 64,
            .start_time = UINT64_C(0xeeae4052d8477ff2),
            .timeout = tw_interval_from_ns(TW_NS_PER_S),
            .type_p = tw_type_p_from_dscp(46),
        };
        assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_OK);
        deliver(&rig, server.octets + 112, 48, chunk);
        assert_int_equal(rig.event_count, 2);
        assert_int_equal(rig.events[1].type, TW_CLIENT_SESSION);
        assert_int_equal(rig.events[1].session.accept, 0);
        assert_int_equal(rig.events[1].session.port, 18785);
        assert_memory_equal(rig.events[1].session.sid, server.octets + 112 + 4, 16);

        ask_start(&rig);
        deliver(&rig, server.octets + 160, 32, chunk);
        assert_int_equal(rig.event_count, 3);
        assert_int_equal(rig.events[2].type, TW_CLIENT_STARTED);
        assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_OK);
        settle(&rig);
        assert_int_equal(rig.out.n, client.n);
        assert_memory_equal(rig.out.octets, client.octets, client.n);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Whatever the server says and the driver does, there is room until the failure, one failure, and
 * no more output than the channel holds. */
static void random_servers_do_no_harm(void **state)
{
    (void)state;
    uint64_t random = 5357;
    print_message("# seed %llu\n", (unsigned long long)random);
    for (unsigned i = 0; i < 4000; i++) {
        struct rig rig;
        rig_steps[next_random(&random) % ARRAY_SIZE(rig_steps)](&rig);
        for (unsigned j = 0; j < 60 && rig.client.step != TW_CLIENT_STEP_CLOSED; j++) {
            uint8_t noise[48];
            struct tw_request request;
            const bool calm = next_random(&random) % 4 != 0;
            for (size_t k = 0; k < sizeof(noise); k++)
                noise[k] = calm ? 0 : (uint8_t)(next_random(&random) % 5);
            if (next_random(&random) % 8 == 0)
                noise[0] = 3;
            make_request(&request);
            const uint64_t choice = next_random(&random) % 4;
            enum tw_result result = TW_OK;
            if (choice == 0)
                result = tw_client_request(&rig.client, &request, rig.now);
            else if (choice == 1)
                result = tw_client_start(&rig.client, rig.now);
            else if (choice == 2)
                result = tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now);
            assert_true(result == TW_OK || result == TW_ERR_STATE);
            if (next_random(&random) % 16 == 0)
                receive_unsent(&rig, &(const struct stream){.octets = {3}, .n = 32});
            assert_true(room_of(&rig) > 0 || rig.client.step == TW_CLIENT_STEP_CLOSED);
            deliver(&rig, noise, 1 + next_random(&random) % 48, 1 + next_random(&random) % 48);
            forget(&rig);
        }
        if (rig.client.step == TW_CLIENT_STEP_CLOSED)
            assert_int_equal(room_of(&rig), 0);
        else
            assert_true(room_of(&rig) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_of_any_size_make_no_difference),
        cmocka_unit_test(part_of_an_answer_is_none),
        cmocka_unit_test(only_a_stop_is_tolerated_unasked),
        cmocka_unit_test(server_that_says_more_than_asked_is_left),
        cmocka_unit_test(answer_before_the_question_is_sent_is_none),
        cmocka_unit_test(stop_of_the_server_is_skipped_before_accept_session),
        cmocka_unit_test(stop_of_the_server_is_skipped_before_start_ack),
        cmocka_unit_test(stop_of_the_server_is_skipped_during_a_test),
        cmocka_unit_test(captured_server_is_understood),
        cmocka_unit_test(random_servers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
