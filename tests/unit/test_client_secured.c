/* The Control-Client machine in the modes with keys: octet for octet as other libraries compute
 * them, against a server that signs, and against one whose octets are changed on the way. */
#include "secured_server.h"

static const uint32_t modes_with_keys[] = {2, 4, 8};

static void captured_vectors_cross_in_both_directions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes_with_keys); i++) {
        struct secured_rig it;
        struct rig *rig = &it.rig;
        struct stream in = {.n = 0};
        struct stream expected = {.n = 0};
        secured_key(&it, modes_with_keys[i]);
        answer_key(&it);
        uint8_t *response = stream_add(&expected, 164);
        tw_put32(response, modes_with_keys[i]);
        memcpy(response + 4, vector_keyid, sizeof(vector_keyid));
        octets_from_hex(VECTOR_TOKEN VECTOR_CLIENT_IV, response + 84, 80);
        assert_int_equal(rig->out.n, 164);
        assert_memory_equal(rig->out.octets, response, 164);

        forget(rig);
        stream_add_hex(&in, VECTOR_SERVER_START);
        deliver_all(rig, &in);
        assert_int_equal(only_event(rig)->type, TW_CLIENT_READY);
        assert_int_equal(only_event(rig)->ready.mode, modes_with_keys[i]);
        assert_true(only_event(rig)->ready.start_time == VECTOR_START_TIME);

        const struct tw_request request = {
            .ipvn = 4,
            .sender_port = 20000,
            .receiver_port = VECTOR_RECEIVER_PORT,
            .sender_address = {192, 0, 2, 10},
            .receiver_address = {192, 0, 2, 1},
            .padding_length = 64,
            .timeout = tw_interval_from_ns(2 * TW_NS_PER_S),
            .type_p = tw_type_p_from_dscp(46),
        };
        assert_int_equal(tw_client_request(&rig->client, &request, rig->now), TW_OK);
        settle(rig);
        in.n = 0;
        stream_add_hex(&in, VECTOR_ACCEPT_SESSION);
        rig->event_count = 0;
        deliver_all(rig, &in);
        const struct tw_client_event *event = only_event(rig);
        uint8_t sid[16];
        octets_from_hex(VECTOR_SID, sid, 16);
        assert_int_equal(event->type, TW_CLIENT_SESSION);
        assert_int_equal(event->session.accept, 0);
        assert_int_equal(event->session.port, VECTOR_RECEIVER_PORT);
        assert_memory_equal(event->session.sid, sid, 16);

        ask_start(rig);
        in.n = 0;
        stream_add_hex(&in, VECTOR_START_ACK);
        rig->event_count = 0;
        deliver_all(rig, &in);
        assert_int_equal(only_event(rig)->type, TW_CLIENT_STARTED);
        assert_int_equal(tw_client_stop(&rig->client, TW_ACCEPT_OK, rig->now), TW_OK);
        settle(rig);
        expected.n = 0;
        stream_add_hex(&expected, VECTOR_COMMANDS);
        assert_int_equal(rig->out.n, expected.n);
        assert_memory_equal(rig->out.octets, expected.octets, expected.n);
    }
}

static void session_keys_are_those_of_the_sid_where_packets_are_protected(void **state)
{
    (void)state;
    static const uint32_t features[] = {0, 0x10, 0x360};
    uint8_t sid[16];
    uint8_t aes[16];
    uint8_t hmac[32];
    octets_from_hex(VECTOR_SID, sid, 16);
    octets_from_hex(VECTOR_SESSION_AES, aes, 16);
    octets_from_hex(VECTOR_SESSION_HMAC, hmac, 32);
    for (size_t i = 0; i < ARRAY_SIZE(modes_with_keys); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(features); j++) {
            struct secured_rig it;
            struct tw_keys keys = {.aes = {1}};
            secured_idle(&it, modes_with_keys[i] | features[j]);
            const bool protects = modes_with_keys[i] != 8;
            assert_int_equal(tw_client_session_keys(&it.rig.client, sid, &keys), protects);
            if (protects) {
                assert_memory_equal(keys.aes, aes, 16);
                assert_memory_equal(keys.hmac, hmac, 32);
            } else {
                assert_int_equal(keys.aes[0], 1);
            }
        }
    }
    struct rig clear;
    struct tw_keys keys;
    rig_idle(&clear);
    assert_false(tw_client_session_keys(&clear.client, sid, &keys));
}

/* Whatever became of it, nothing of the message was believed. */
static void assert_not_authentic(struct rig *rig, enum tw_client_step step)
{
    assert_failed(rig, TW_CLIENT_HMAC, step, 0);
}

static void first_hmac_must_cover_the_last_block_of_server_start(void **state)
{
    (void)state;
    struct secured_rig it;
    struct stream clear;
    struct stream in = {.n = 0};
    secured_request_sent(&it, 4);
    hmac_sha1_set_key(&it.server.send_mac, 32, it.server.hmac_key); /* forgets Server-Start */
    make_accept_session(&clear, 9002);
    add_secured(&it, &in, &clear);
    deliver(&it.rig, in.octets, in.n, SIZE_MAX);
    assert_not_authentic(&it.rig, TW_CLIENT_STEP_REQUEST);
}

static void every_changed_bit_of_accept_session_is_noticed(void **state)
{
    (void)state;
    struct secured_rig asked;
    struct stream clear;
    struct stream in = {.n = 0};
    secured_request_sent(&asked, 2);
    make_accept_session(&clear, 9002);
    add_secured(&asked, &in, &clear);
    for (size_t bit = 0; bit < in.n * 8; bit++) {
        struct secured_rig it = asked;
        rig_moved(&it.rig);
        in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
        deliver(&it.rig, in.octets, in.n, SIZE_MAX);
        assert_not_authentic(&it.rig, TW_CLIENT_STEP_REQUEST);
        in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    deliver_all(&asked.rig, &in);
    assert_int_equal(only_event(&asked.rig)->type, TW_CLIENT_SESSION);
}

static void every_changed_bit_of_start_ack_is_noticed(void **state)
{
    (void)state;
    for (unsigned individual = 0; individual < 2; individual++) {
        struct secured_rig asked;
        struct stream clear = {.n = 0};
        struct stream in = {.n = 0};
        uint8_t sid[16];
        octets_from_hex(VECTOR_SID, sid, 16);
        secured_start_sent(&asked, individual ? 0x14 : 4);
        if (individual)
            add_sids_ack(&clear, 8, 0, sid, 1);
        else
            add_start_ack(&clear, 0);
        add_secured(&asked, &in, &clear);
        for (size_t bit = 0; bit < in.n * 8; bit++) {
            struct secured_rig it = asked;
            rig_moved(&it.rig);
            in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
            deliver(&it.rig, in.octets, in.n, SIZE_MAX);
            assert_not_authentic(&it.rig, TW_CLIENT_STEP_START);
            in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        deliver_all(&asked.rig, &in);
        assert_int_equal(only_event(&asked.rig)->type, TW_CLIENT_STARTED);
    }
}

/* Server-Start itself has no HMAC: what was changed in it shows in the first answer. Its first 15
 * octets say nothing, and the 16th refuses. */
static void every_changed_bit_of_server_start_is_noticed(void **state)
{
    (void)state;
    struct secured_rig sent;
    struct stream start = {.n = 0};
    struct stream clear;
    secured_set_up_sent(&sent, 8);
    add_secured_server_start(&sent, &start);
    for (size_t bit = 16 * 8; bit < 48 * 8; bit++) {
        struct secured_rig it = sent;
        rig_moved(&it.rig);
        struct stream in = start;
        in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
        deliver_all(&it.rig, &in);
        assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_READY);
        ask_session(&it.rig);
        forget(&it.rig);
        in.n = 0;
        make_accept_session(&clear, 9002);
        add_secured(&it, &in, &clear);
        deliver(&it.rig, in.octets, in.n, SIZE_MAX);
        assert_not_authentic(&it.rig, TW_CLIENT_STEP_REQUEST);
    }
}

/* Not even the right message in the wrong place. */
static void messages_cannot_be_swapped_repeated_or_left_out(void **state)
{
    (void)state;
    struct secured_rig it;
    struct stream clear;
    struct stream first = {.n = 0};
    struct stream second = {.n = 0};
    secured_request_sent(&it, 4);
    make_accept_session(&clear, 9002);
    add_secured(&it, &first, &clear);
    clear.octets[4] ^= 1; /* another SID */
    add_secured(&it, &second, &clear);

    struct secured_rig skipped = it;
    rig_moved(&skipped.rig);
    deliver(&skipped.rig, second.octets, second.n, SIZE_MAX);
    assert_not_authentic(&skipped.rig, TW_CLIENT_STEP_REQUEST);

    deliver_all(&it.rig, &first);
    ask_session(&it.rig);
    struct secured_rig repeated = it;
    rig_moved(&repeated.rig);
    forget(&repeated.rig);
    deliver(&repeated.rig, first.octets, first.n, SIZE_MAX);
    assert_not_authentic(&repeated.rig, TW_CLIENT_STEP_REQUEST);

    forget(&it.rig);
    deliver_all(&it.rig, &second);
    assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_SESSION);
}

static void clear_answer_on_a_secured_stream_is_not_authentic(void **state)
{
    (void)state;
    struct secured_rig it;
    struct stream clear;
    secured_request_sent(&it, 4);
    make_accept_session(&clear, 9002);
    deliver(&it.rig, clear.octets, clear.n, SIZE_MAX);
    assert_not_authentic(&it.rig, TW_CLIENT_STEP_REQUEST);
}

/* Accept-Session with Accept 3 begins like a Stop-Sessions, whatever follows; the HMAC decides. */
static void refusal_with_accept_3_is_no_stop_sessions(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        for (size_t chunk = 1; chunk <= 48; chunk += 5) {
            struct secured_rig it;
            struct stream clear = {.n = 0};
            struct stream in = {.n = 0};
            secured_request_sent(&it, 0x24);
            uint8_t *answer = add_accept_session(&clear, 3, 0);
            if (kind & 1)
                memset(answer + 20, 0x77, 4); /* RFC 6038 */
            if (kind & 2)
                memset(answer + 24, 0xff, 8); /* MBZ */
            add_secured(&it, &in, &clear);
            assert_int_equal(deliver(&it.rig, in.octets, in.n, chunk), in.n);
            assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_SESSION);
            assert_int_equal(only_event(&it.rig)->session.accept, 3);
            assert_int_equal(only_event(&it.rig)->session.port, 0);
        }
    }
}

static void stop_of_the_server_is_verified_and_skipped(void **state)
{
    (void)state;
    for (unsigned answer = 0; answer < 6; answer++) {
        for (size_t early = 0; early <= 32; early += 4) {
            for (size_t chunk = 1; chunk < 90; chunk += 11) {
                struct secured_rig it;
                struct stream clear = {.n = 0};
                struct stream in = {.n = 0};
                secured_idle(&it, 4);
                add_stop(&clear, answer & 1);
                add_secured(&it, &in, &clear);
                clear.n = 0;
                add_accept_session(&clear, answer, answer == 0 ? 9 : 0);
                add_secured(&it, &in, &clear);
                deliver(&it.rig, in.octets, early, chunk);
                assert_int_equal(it.rig.event_count, 0);
                ask_session(&it.rig);
                deliver(&it.rig, in.octets + early, in.n - early, chunk);
                assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_SESSION);
                assert_int_equal(only_event(&it.rig)->session.accept, answer);
                assert_int_equal(it.rig.client.quirks, TW_QUIRK_SERVER_STOP);
            }
        }
    }
}

static void stop_that_is_not_authentic_is_not_skipped(void **state)
{
    (void)state;
    for (unsigned asked = 0; asked < 2; asked++) {
        struct secured_rig idle;
        struct stream clear = {.n = 0};
        struct stream in = {.n = 0};
        secured_idle(&idle, 4);
        add_stop(&clear, 1);
        add_secured(&idle, &in, &clear);
        clear.n = 0;
        add_accept_session(&clear, 0, 9);
        add_secured(&idle, &in, &clear);
        if (asked)
            ask_session(&idle.rig);
        for (size_t bit = 0; bit < (size_t)32 * 8; bit++) {
            struct secured_rig it = idle;
            rig_moved(&it.rig);
            in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
            deliver(&it.rig, in.octets, in.n, SIZE_MAX);
            assert_not_authentic(&it.rig, asked ? TW_CLIENT_STEP_REQUEST : TW_CLIENT_STEP_IDLE);
            in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void segments_of_any_size_make_no_difference(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk <= 128; chunk++) {
        struct secured_rig it;
        struct stream clear;
        struct stream in = {.n = 0};
        secured_set_up_sent(&it, 4);
        add_secured_server_start(&it, &in);
        deliver(&it.rig, in.octets, in.n, chunk);
        ask_session(&it.rig);
        make_accept_session(&clear, 9002);
        in.n = 0;
        add_secured(&it, &in, &clear);
        deliver(&it.rig, in.octets, in.n, chunk);
        ask_start(&it.rig);
        clear.n = in.n = 0;
        add_start_ack(&clear, 0);
        add_secured(&it, &in, &clear);
        deliver(&it.rig, in.octets, in.n, chunk);
        assert_int_equal(it.rig.event_count, 3);
        assert_int_equal(it.rig.events[2].type, TW_CLIENT_STARTED);
        assert_int_equal(it.rig.client.quirks, 0);
    }
}

/* Both streams are one for the connection's life. */
static void many_cycles_stay_in_step(void **state)
{
    (void)state;
    struct secured_rig it;
    secured_idle(&it, 2);
    for (unsigned cycle = 0; cycle < 50; cycle++) {
        struct stream clear;
        ask_session(&it.rig);
        assert_int_equal(it.rig.out.n, 112);
        secured_receive(&it.server, it.rig.out.octets, 112);
        assert_int_equal(tw_get16(it.rig.out.octets + 12), 9001);
        make_accept_session(&clear, 9002);
        say_secured(&it, &clear);
        forget(&it.rig);
        ask_start(&it.rig);
        secured_receive(&it.server, it.rig.out.octets, 32);
        assert_int_equal(it.rig.out.octets[0], 2);
        clear.n = 0;
        add_start_ack(&clear, 0);
        say_secured(&it, &clear);
        assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_STARTED);
        forget(&it.rig);
        assert_int_equal(tw_client_stop(&it.rig.client, TW_ACCEPT_OK, it.rig.now), TW_OK);
        settle(&it.rig);
        secured_receive(&it.server, it.rig.out.octets, 32);
        assert_int_equal(tw_get32(it.rig.out.octets + 4), 1);
        forget(&it.rig);
    }
}

static bool holds(const void *memory, size_t n, const uint8_t *octets, size_t length)
{
    const uint8_t *at = memory;
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(at + i, octets, length) == 0)
            return true;
    return false;
}

static void keys_are_forgotten_with_the_connection(void **state)
{
    (void)state;
    uint8_t aes[16];
    uint8_t hmac[32];
    octets_from_hex(VECTOR_AES_KEY, aes, 16);
    octets_from_hex(VECTOR_HMAC_KEY, hmac, 32);
    for (unsigned way = 0; way < 3; way++) {
        struct secured_rig it;
        struct tw_client *client = &it.rig.client;
        secured_start_sent(&it, 4);
        assert_true(holds(client, sizeof(*client), aes, 16));
        assert_true(holds(client, sizeof(*client), hmac, 32));
        if (way == 0)
            tw_client_wipe(client);
        else if (way == 1)
            tw_client_end(client);
        else
            tw_client_expire(client, (tw_mono){INT64_MAX});
        assert_false(holds(client, sizeof(*client), aes, 16));
        assert_false(holds(client, sizeof(*client), hmac, 32));
        size_t n;
        tw_client_output(client, &n);
        assert_int_equal(n, 0);
        assert_int_equal(room_of(&it.rig), 0);
        assert_true(tw_mono_is_never(tw_client_deadline(client)));
    }
}

static void random_octets_of_a_secured_server_do_no_harm(void **state)
{
    (void)state;
    uint64_t random = 4656;
    for (unsigned i = 0; i < 3000; i++) {
        struct secured_rig it;
        const uint32_t mode = (i % 2 == 0 ? 4u : 0x14u);
        if (i % 3 == 0)
            secured_request_sent(&it, mode);
        else
            secured_start_sent(&it, mode);
        uint8_t noise[256];
        for (size_t j = 0; j < sizeof(noise); j++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            noise[j] = (uint8_t)(random >> 40);
        }
        deliver(&it.rig, noise, sizeof(noise), 1 + i % 50);
        assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_FAILED);
        assert_int_equal(only_event(&it.rig)->failed.failure, TW_CLIENT_HMAC);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_vectors_cross_in_both_directions),
        cmocka_unit_test(session_keys_are_those_of_the_sid_where_packets_are_protected),
        cmocka_unit_test(first_hmac_must_cover_the_last_block_of_server_start),
        cmocka_unit_test(every_changed_bit_of_accept_session_is_noticed),
        cmocka_unit_test(every_changed_bit_of_start_ack_is_noticed),
        cmocka_unit_test(every_changed_bit_of_server_start_is_noticed),
        cmocka_unit_test(messages_cannot_be_swapped_repeated_or_left_out),
        cmocka_unit_test(clear_answer_on_a_secured_stream_is_not_authentic),
        cmocka_unit_test(refusal_with_accept_3_is_no_stop_sessions),
        cmocka_unit_test(stop_of_the_server_is_verified_and_skipped),
        cmocka_unit_test(stop_that_is_not_authentic_is_not_skipped),
        cmocka_unit_test(segments_of_any_size_make_no_difference),
        cmocka_unit_test(many_cycles_stay_in_step),
        cmocka_unit_test(keys_are_forgotten_with_the_connection),
        cmocka_unit_test(random_octets_of_a_secured_server_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
