/* The Server machine in the modes with keys: octets computed with other libraries, a client with a
 * cryptography of its own, and whatever a man in the middle may change. */
#include "secured_client.h"
#include "server_rig.h"

static const uint32_t secured_modes[] = {TW_MODE_AUTHENTICATED, TW_MODE_ENCRYPTED, TW_MODE_MIXED};

/* A client and a server that know the same secret. */
struct pair {
    struct rig rig;
    struct secured_client client;
};

static void pair_begin(struct pair *pair)
{
    rig_begin(&pair->rig);
    settle(&pair->rig);
}

static void pair_prepare(struct pair *pair)
{
    secured_init(&pair->client);
    rig_prepare(&pair->rig);
    pair->rig.config.modes = ALL_MODES;
    memcpy(pair->rig.derived, pair->client.derived, 16);
}

/* Delivers the Set-Up-Response to the greeting that has come; for one mode. */
static void pair_respond(struct pair *pair, uint32_t mode)
{
    struct stream in = {.n = 0};
    secured_set_up(&pair->client, &in, mode, pair->rig.out.octets + 16);
    forget(&pair->rig);
    deliver_all(&pair->rig, &in);
}

static void pair_set_up(struct pair *pair, uint32_t mode)
{
    pair_prepare(pair);
    pair_begin(pair);
    pair_respond(pair, mode);
    assert_int_equal(pair->rig.event_count, 2);
    assert_int_equal(pair->rig.events[0].type, TW_SERVER_KEY);
    assert_int_equal(pair->rig.events[1].type, TW_SERVER_SET_UP);
    assert_int_equal(pair->rig.events[1].mode, mode);
    assert_int_equal(pair->rig.out.n, 48);
    secured_server_start(&pair->client, pair->rig.out.octets);
    forget(&pair->rig);
}

/* Sends clear commands as the client would, in pieces. */
static void pair_send(struct pair *pair, const struct stream *clear, size_t chunk)
{
    struct stream in = {.n = 0};
    secured_send_all(&pair->client, &in, clear);
    assert_int_equal(deliver(&pair->rig, in.octets, in.n, chunk), in.n);
}

/* A generator that gives just these octets next. */
static void draw_next(struct tw_random *random, const char *hex)
{
    uint8_t octets[sizeof(random->block)];
    const size_t n = octets_from_hex(hex, octets, sizeof(octets));
    random->used = sizeof(random->block) - n;
    memcpy(random->block + random->used, octets, n);
}

/* Both ends draw what they drew for the vectors. */
static void vector_prepare(struct rig *rig, uint32_t mode)
{
    uint8_t salt[16];
    rig_prepare(rig);
    rig->config.modes = mode;
    rig->config.count = VECTOR_COUNT;
    rig->config.start_time = VECTOR_START_TIME;
    octets_from_hex(VECTOR_SALT, salt, sizeof(salt));
    memcpy(rig->config.salt, salt, sizeof(salt));
    tw_derive_key((const uint8_t *)VECTOR_SECRET, strlen(VECTOR_SECRET), salt, VECTOR_COUNT,
                  rig->derived);
    draw_next(&rig->random, VECTOR_CHALLENGE VECTOR_SERVER_IV);
    rig->silent = true;
    rig_begin(rig);
    settle(rig);
}

static void vector_respond(struct stream *in, uint32_t mode)
{
    tw_put32(stream_add(in, 4), mode);
    memcpy(stream_add(in, 80), "somebody", 8);
    stream_add_hex(in, VECTOR_TOKEN VECTOR_CLIENT_IV);
}

/* Answers the last question as the vectors' server did. */
static void vector_answer(struct rig *rig)
{
    uint8_t sid[16];
    octets_from_hex(VECTOR_SID, sid, sizeof(sid));
    const struct tw_server_event *event = &rig->events[rig->event_count - 1];
    if (event->type == TW_SERVER_REQUEST)
        assert_int_equal(tw_server_answer_session(&rig->server, TW_ACCEPT_OK, VECTOR_RECEIVER_PORT,
                                                  sid, rig->now),
                         TW_OK);
    else
        answer_event(rig, event);
    settle(rig);
}

static void vector_deliver(struct rig *rig, const struct stream *in, size_t chunk)
{
    for (size_t done = 0; done < in->n;) {
        done += deliver(rig, in->octets + done, in->n - done, chunk);
        if (rig->server.state == TW_SERVER_STATE_ASKED)
            vector_answer(rig);
    }
}

static void vector_connection(struct rig *rig, uint32_t mode, size_t chunk)
{
    struct stream in = {.n = 0};
    vector_prepare(rig, mode);
    vector_respond(&in, mode);
    stream_add_hex(&in, VECTOR_COMMANDS);
    vector_deliver(rig, &in, chunk);
}

static void vectors_of_other_libraries_are_reproduced(void **state)
{
    (void)state;
    struct stream expected = {.n = 0};
    stream_add_hex(&expected, VECTOR_CHALLENGE VECTOR_SALT "00000400");
    stream_add(&expected, 12);
    stream_add_hex(&expected, VECTOR_ANSWERS);
    for (size_t i = 0; i < ARRAY_SIZE(secured_modes); i++) {
        for (size_t chunk = 1; chunk < 200; chunk += chunk < 20 ? 1 : 45) {
            static const enum tw_server_event_type types[] = {TW_SERVER_KEY, TW_SERVER_SET_UP,
                                                              TW_SERVER_REQUEST, TW_SERVER_START,
                                                              TW_SERVER_STOP};
            struct rig rig;
            vector_connection(&rig, secured_modes[i], chunk);
            assert_int_equal(rig.out.n, 16 + expected.n);
            assert_int_equal(tw_get32(rig.out.octets + 12), secured_modes[i]);
            assert_memory_equal(rig.out.octets + 16, expected.octets, expected.n);
            assert_int_equal(rig.event_count, ARRAY_SIZE(types));
            for (size_t j = 0; j < ARRAY_SIZE(types); j++)
                assert_int_equal(rig.events[j].type, types[j]);
            const struct tw_request *request = &rig.events[2].request;
            assert_int_equal(request->sender_port, 20000);
            assert_int_equal(request->receiver_port, 20001);
            assert_memory_equal(request->sender_address, ((const uint8_t[]){192, 0, 2, 10}), 4);
            assert_memory_equal(request->receiver_address, ((const uint8_t[]){192, 0, 2, 1}), 4);
            assert_int_equal(request->padding_length, 64);
            assert_int_equal(request->timeout, UINT64_C(2) << 32);
            assert_int_equal(tw_type_p_to_dscp(request->type_p), 46);
        }
    }
}

static void sessions_get_keys_where_test_packets_are_protected(void **state)
{
    (void)state;
    uint8_t sid[16];
    struct tw_keys expected;
    octets_from_hex(VECTOR_SID, sid, sizeof(sid));
    octets_from_hex(VECTOR_SESSION_AES, expected.aes, sizeof(expected.aes));
    octets_from_hex(VECTOR_SESSION_HMAC, expected.hmac, sizeof(expected.hmac));
    for (size_t i = 0; i < ARRAY_SIZE(secured_modes); i++) {
        struct rig rig;
        struct tw_keys keys;
        vector_prepare(&rig, secured_modes[i]);
        assert_false(tw_server_session_keys(&rig.server, sid, &keys)); /* not set up */
        vector_connection(&rig, secured_modes[i], SIZE_MAX);
        if (secured_modes[i] == TW_MODE_MIXED) {
            assert_false(tw_server_session_keys(&rig.server, sid, &keys));
            continue;
        }
        assert_true(tw_server_session_keys(&rig.server, sid, &keys));
        assert_memory_equal(keys.aes, expected.aes, sizeof(keys.aes));
        assert_memory_equal(keys.hmac, expected.hmac, sizeof(keys.hmac));
    }
    struct rig rig;
    struct tw_keys keys;
    rig_idle(&rig);
    assert_false(tw_server_session_keys(&rig.server, sid, &keys));
}

/* KeyID as it came; while it is open nothing is read and no time runs. */
static void key_is_asked_for(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t sid[16] = {1};
    pair_prepare(&pair);
    pair_begin(&pair);
    pair.rig.silent = true;
    struct rig *rig = &pair.rig;
    pair_respond(&pair, TW_MODE_ENCRYPTED);
    const uint8_t *keyid = only_event(rig)->keyid;
    assert_int_equal(only_event(rig)->type, TW_SERVER_KEY);
    assert_memory_equal(keyid, "alice", 5);
    assert_zero(keyid + 5, 75);
    assert_int_equal(rig->out.n, 0);
    assert_int_equal(room_of(rig), 0);
    rig->now.ns += 2 * SERVWAIT;
    assert_true(tw_mono_is_never(tw_server_deadline(&rig->server)));
    assert_int_equal(tw_server_answer_session(&rig->server, TW_ACCEPT_OK, 1, sid, rig->now),
                     TW_ERR_STATE);
    assert_int_equal(tw_server_answer_start(&rig->server, TW_ACCEPT_OK, rig->now), TW_ERR_STATE);
    assert_int_equal(tw_server_answer_sids(&rig->server, sid, rig->now), TW_ERR_STATE);
    answer_question(rig, TW_SERVER_KEY);
    assert_int_equal(tw_server_deadline(&rig->server).ns, rig->now.ns + SERVWAIT);
    assert_int_equal(tw_server_answer_key(&rig->server, rig->derived, true, rig->now),
                     TW_ERR_STATE);
}

/* What the server says to a Set-Up-Response with which something is wrong. */
static void assert_key_refused(const struct rig *rig, struct stream *answer)
{
    assert_int_equal(rig->event_count, 2);
    assert_int_equal(rig->events[0].type, TW_SERVER_KEY);
    assert_int_equal(rig->events[1].type, TW_SERVER_CLOSE);
    assert_int_equal(rig->events[1].close, TW_SERVER_CLOSE_KEY);
    assert_int_equal(rig->server.state, TW_SERVER_STATE_CLOSED);
    *answer = rig->out;
    assert_int_equal(rig->out.n, 48);
    assert_zero(rig->out.octets, 15);
    assert_int_equal(rig->out.octets[15], 1);
    assert_zero(rig->out.octets + 16, 32);
}

static void unknown_keyid_is_answered_like_a_wrong_secret(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(secured_modes); i++) {
        struct stream answers[3];
        for (size_t j = 0; j < ARRAY_SIZE(answers); j++) {
            struct pair pair;
            pair_prepare(&pair);
            pair_begin(&pair);
            pair.rig.unknown = j > 0;
            if (j < 2) /* the last one's secret would even be right */
                pair.rig.derived[15] ^= 1;
            pair_respond(&pair, secured_modes[i]);
            assert_key_refused(&pair.rig, &answers[j]);
            const struct tw_keys none = {.aes = {0}};
            assert_memory_equal(&pair.rig.server.keys, &none, sizeof(none));
            assert_memory_equal(answers[j].octets, answers[0].octets, 48);
        }
    }
}

static void set_up_response_of_another_connection_is_refused(void **state)
{
    (void)state;
    struct pair first;
    struct stream in = {.n = 0};
    struct stream answer;
    pair_prepare(&first);
    pair_begin(&first);
    secured_set_up(&first.client, &in, TW_MODE_ENCRYPTED, first.rig.out.octets + 16);
    struct rig again = first.rig;
    rig_moved(&again);
    forget(&first.rig);
    deliver_all(&first.rig, &in);
    assert_int_equal(first.rig.server.state, TW_SERVER_STATE_IDLE);

    rig_begin(&again); /* the same daemon, the next connection */
    settle(&again);
    forget(&again);
    deliver_all(&again, &in);
    assert_key_refused(&again, &answer);
}

/* The Token has no integrity of its own: with a changed challenge it does not open, with changed
 * keys no command is ever authentic. So it is with a changed Client-IV. */
static void changed_token_and_client_iv_open_nothing(void **state)
{
    (void)state;
    struct stream request = {.n = 0};
    struct pair pair;
    pair_prepare(&pair);
    pair_begin(&pair);
    add_request(&request);
    for (size_t bit = 84 * 8; bit < 164 * 8; bit++) {
        struct pair copy = pair;
        rig_moved(&copy.rig);
        struct stream in = {.n = 0};
        struct stream answer;
        uint8_t *response =
            secured_set_up(&copy.client, &in, TW_MODE_ENCRYPTED, copy.rig.out.octets + 16);
        response[bit / 8] ^= (uint8_t)(1 << bit % 8);
        forget(&copy.rig);
        deliver_all(&copy.rig, &in);
        if (bit < (84 + 16) * 8) {
            assert_key_refused(&copy.rig, &answer);
            continue;
        }
        assert_int_equal(copy.rig.server.state, TW_SERVER_STATE_IDLE);
        forget(&copy.rig);
        in.n = 0;
        secured_send_all(&copy.client, &in, &request);
        deliver(&copy.rig, in.octets, in.n, SIZE_MAX);
        assert_only_closed(&copy.rig, TW_SERVER_CLOSE_HMAC);
        assert_int_equal(copy.rig.out.n, 0);
    }
}

/* Each command of a cycle of its own, at the state of the pair in which it is legal. */
static void add_cycle(struct stream clear[3])
{
    clear[0].n = clear[1].n = clear[2].n = 0;
    add_request(&clear[0]);
    add_start(&clear[1]);
    add_stop(&clear[2], 1);
}

static void flipped_bit_ends_the_connection_and_nothing_else(void **state)
{
    (void)state;
    struct stream clear[3];
    add_cycle(clear);
    for (size_t mode = 0; mode < ARRAY_SIZE(secured_modes); mode++) {
        struct pair pair;
        pair_set_up(&pair, secured_modes[mode]);
        for (size_t i = 0; i < ARRAY_SIZE(clear); i++) {
            struct stream in = {.n = 0};
            secured_send_all(&pair.client, &in, &clear[i]);
            for (size_t bit = 0; bit < in.n * 8; bit++) {
                struct rig rig = pair.rig;
                rig_moved(&rig);
                in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
                deliver(&rig, in.octets, in.n, SIZE_MAX);
                in.octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
                if (bit < 16 * 8 && rig.event_count == 0) /* the head became a longer command's */
                    deliver(&rig, in.octets, 112 - in.n, SIZE_MAX);
                assert_only_closed(&rig, TW_SERVER_CLOSE_HMAC);
                assert_int_equal(rig.out.n, 0);
                assert_int_equal(rig.server.quirks, 0);
            }
            deliver_all(&pair.rig, &in);
            assert_int_equal(pair.rig.event_count, 1);
            forget(&pair.rig);
        }
    }
}

static void no_part_of_a_secured_command_is_acted_upon(void **state)
{
    (void)state;
    struct pair pair;
    struct stream clear[3];
    add_cycle(clear);
    pair_set_up(&pair, TW_MODE_AUTHENTICATED);
    for (size_t i = 0; i < ARRAY_SIZE(clear); i++) {
        struct stream in = {.n = 0};
        secured_send_all(&pair.client, &in, &clear[i]);
        for (size_t n = 1; n < in.n; n++) {
            struct rig rig = pair.rig;
            rig_moved(&rig);
            deliver(&rig, in.octets, n, SIZE_MAX);
            assert_int_equal(rig.event_count + rig.out.n, 0);
            rig.now.ns += STALL;
            tw_server_expire(&rig.server, rig.now);
            settle(&rig);
            assert_only_closed(&rig, TW_SERVER_CLOSE_STALLED);
        }
        deliver_all(&pair.rig, &in);
        assert_int_equal(pair.rig.event_count, 1);
        forget(&pair.rig);
    }
}

/* Repeated or moved forward: each command is authentic at its place alone. */
static void command_out_of_its_place_is_not_authentic(void **state)
{
    (void)state;
    struct pair pair;
    struct stream two = {.n = 0};
    struct stream in = {.n = 0};
    add_request(&two);
    add_request(&two);
    pair_set_up(&pair, TW_MODE_ENCRYPTED);
    secured_send_all(&pair.client, &in, &two);
    struct rig forward = pair.rig;
    rig_moved(&forward);
    deliver(&forward, in.octets + 112, 112, SIZE_MAX);
    assert_only_closed(&forward, TW_SERVER_CLOSE_HMAC);
    assert_int_equal(forward.out.n, 0);

    deliver(&pair.rig, in.octets, 112, SIZE_MAX);
    forget(&pair.rig);
    deliver(&pair.rig, in.octets, 112, SIZE_MAX);
    assert_only_closed(&pair.rig, TW_SERVER_CLOSE_HMAC);
    assert_int_equal(pair.rig.out.n, 0);
}

static bool is_of_known_length(unsigned number)
{
    return number == 2 || number == 3 || number == 5;
}

/* RFC 5357 section 3.5. Where a command of unknown length ends its HMAC alone can tell, if it is
 * one of the shortest; a number of SIDs out of bounds is told by no acknowledgment. */
static void authentic_command_of_unknown_length_is_refused_and_closes(void **state)
{
    (void)state;
    for (unsigned individual = 0; individual < 2; individual++) {
        struct pair pair;
        pair_set_up(&pair, TW_MODE_ENCRYPTED | (individual != 0 ? TW_MODE_SESSION_CONTROL : 0));
        for (unsigned number = 0; number < 256; number++) {
            if (is_of_known_length(number))
                continue;
            struct pair copy = pair;
            rig_moved(&copy.rig);
            struct stream in = {.n = 0};
            uint8_t command[32] = {(uint8_t)number}; /* 7 and 9 with no SID */
            secured_send(&copy.client, &in, command, sizeof(command));
            deliver_all(&copy.rig, &in);
            const struct tw_server_event *last = &copy.rig.events[copy.rig.event_count - 1];
            assert_int_equal(last->type, TW_SERVER_CLOSE);
            assert_int_equal(last->close, TW_SERVER_CLOSE_UNKNOWN_COMMAND);
            if (individual != 0 && (number == 7 || number == 9)) {
                assert_int_equal(copy.rig.event_count, 1);
                assert_int_equal(copy.rig.out.n, 0);
                continue;
            }
            assert_int_equal(copy.rig.event_count, 2);
            assert_int_equal(copy.rig.out.n, 48);
            secured_receive(&copy.client, copy.rig.out.octets, 48);
            assert_rejected(&copy.rig, TW_SERVER_REJECT_COMMAND, number);
        }
    }
}

/* What may be anybody's is not answered, however it looks deciphered; and not waited for. */
static void command_of_unknown_length_that_is_not_authentic_just_closes(void **state)
{
    (void)state;
    struct pair pair;
    pair_set_up(&pair, TW_MODE_ENCRYPTED | TW_MODE_SESSION_CONTROL);
    for (unsigned number = 0; number < 256; number++) {
        if (is_of_known_length(number))
            continue;
        for (size_t spoilt = 16; spoilt < 64; spoilt += 15) {
            struct pair copy = pair;
            rig_moved(&copy.rig);
            struct stream in = {.n = 0};
            uint8_t command[64] = {(uint8_t)number}; /* as long as nobody here can know */
            secured_send(&copy.client, &in, command, spoilt < 32 ? 32 : sizeof(command));
            if (spoilt < 32)
                in.octets[spoilt] ^= 1;
            assert_int_equal(deliver(&copy.rig, in.octets, in.n, SIZE_MAX), 32);
            assert_only_closed(&copy.rig, TW_SERVER_CLOSE_HMAC);
            assert_int_equal(copy.rig.out.n, 0);
        }
    }
}

/* Two cycles with refusals of all kinds: each answer is one more link of one chain. */
static void add_long_conversation(struct stream *clear)
{
    add_start(clear); /* the first answer is not an Accept-Session */
    for (unsigned cycle = 0; cycle < 2; cycle++) {
        add_request(clear);
        add_request(clear)[1] = 7;
        add_request(clear);
        add_command(clear, 9);
        add_start(clear);
        add_request(clear);
        add_stop(clear, 2);
    }
}

static void both_directions_are_one_chain_each(void **state)
{
    (void)state;
    static const uint8_t cycle[][2] = {{48, 0}, {48, 3}, {48, 0}, {48, 3}, {32, 0}, {48, 3}};
    struct stream clear = {.n = 0};
    add_long_conversation(&clear);
    for (size_t i = 0; i < ARRAY_SIZE(secured_modes); i++) {
        for (size_t chunk = 1; chunk < 300; chunk += 13) {
            struct pair pair;
            pair_set_up(&pair, secured_modes[i]);
            pair_send(&pair, &clear, chunk);
            uint8_t *answer = pair.rig.out.octets;
            secured_receive(&pair.client, answer, 32);
            assert_int_equal(answer[0], 1);
            answer += 32;
            for (size_t j = 0; j < 2 * ARRAY_SIZE(cycle); j++) {
                const uint8_t *expected = cycle[j % ARRAY_SIZE(cycle)];
                secured_receive(&pair.client, answer, expected[0]);
                assert_int_equal(answer[0], expected[1]);
                if (expected[0] == 32 || expected[1] != 0)
                    assert_zero(answer + 1, (size_t)expected[0] - 1);
                answer += expected[0];
            }
            assert_int_equal(answer - pair.rig.out.octets, pair.rig.out.n);
            assert_int_equal(pair.rig.server.state, TW_SERVER_STATE_IDLE);
        }
    }
}

static void hmac_covers_all_sids(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 3, 50, 128};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        struct pair pair;
        struct stream in = {.n = 0};
        uint8_t command[32 + 128 * 16] = {7};
        tw_put32(command + 12, counts[i]);
        for (uint32_t j = 0; j < counts[i]; j++)
            tw_put32(command + 16 + 16 * j, j);
        pair_set_up(&pair, TW_MODE_ENCRYPTED | TW_MODE_SESSION_CONTROL);
        const size_t n = 32 + 16 * (size_t)counts[i];
        secured_send(&pair.client, &in, command, n);
        for (size_t at = 0; at < n; at += 5) {
            struct rig rig = pair.rig;
            rig_moved(&rig);
            in.octets[at] ^= 0x10;
            deliver(&rig, in.octets, in.n, SIZE_MAX);
            in.octets[at] ^= 0x10;
            assert_only_closed(&rig, TW_SERVER_CLOSE_HMAC);
        }
        deliver_all(&pair.rig, &in);
        assert_int_equal(pair.rig.out.n, n);
        secured_receive(&pair.client, pair.rig.out.octets, n);
        assert_int_equal(pair.rig.out.octets[0], 8);
        assert_int_equal(pair.rig.out.octets[1], 3);
        assert_memory_equal(pair.rig.out.octets + 12, command + 12, n - 16 - 12);
    }
}

/* An answer that was queued before the forgery still leaves; it was for an authentic command. */
static void answers_before_a_forgery_still_leave(void **state)
{
    (void)state;
    struct pair pair;
    struct stream clear = {.n = 0};
    struct stream in = {.n = 0};
    pair_set_up(&pair, TW_MODE_AUTHENTICATED);
    add_request(&clear);
    add_start(&clear);
    secured_send_all(&pair.client, &in, &clear);
    in.octets[in.n - 1] ^= 1;
    pair.rig.deaf = true;
    deliver(&pair.rig, in.octets, in.n, SIZE_MAX);
    assert_int_equal(only_event(&pair.rig)->type, TW_SERVER_REQUEST);
    forget(&pair.rig);
    pair.rig.deaf = false;
    settle(&pair.rig);
    assert_only_closed(&pair.rig, TW_SERVER_CLOSE_HMAC);
    assert_int_equal(pair.rig.out.n, 48);
    secured_receive(&pair.client, pair.rig.out.octets, 48);
    assert_int_equal(pair.rig.out.octets[0], 0);
}

static bool holds(const void *memory, size_t size, const uint8_t *octets, size_t n)
{
    const uint8_t *at = memory;
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(at + i, octets, n) == 0)
            return true;
    return false;
}

static void keys_are_forgotten(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(secured_modes); i++) {
        struct pair pair;
        struct tw_server *server = &pair.rig.server;
        struct tw_server_event event;
        pair_set_up(&pair, secured_modes[i]);
        const bool needed = secured_modes[i] != TW_MODE_MIXED;
        const uint8_t *aes = pair.client.aes_key;
        const uint8_t *hmac = pair.client.hmac_key;
        struct tw_cipher cipher; /* an expanded key begins with the key, word by word */
        tw_cipher_init_encrypt(&cipher, aes);
        const uint8_t *expanded = (const uint8_t *)&cipher;
        assert_int_equal(holds(&server->keys, sizeof(server->keys), aes, 16), needed);
        assert_false(
            holds(&server->response, sizeof(server->response), (const uint8_t *)"alice", 5));
        assert_true(holds(server, sizeof(*server), expanded, 16));

        tw_server_wipe(server);
        assert_false(holds(server, sizeof(*server), expanded, 16));
        assert_false(holds(server, sizeof(*server), aes, 16));
        assert_false(holds(server, sizeof(*server), hmac, 16));
        assert_false(holds(server, sizeof(*server), hmac + 16, 16));
        const uint8_t *keys = (const uint8_t *)&server->ciphers;
        const size_t size = sizeof server->ciphers;
        assert_zero(keys, size);
        assert_int_equal(room_of(&pair.rig), 0);
        assert_true(tw_mono_is_never(tw_server_deadline(server)));
        assert_false(tw_server_next_event(server, &event));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_other_libraries_are_reproduced),
        cmocka_unit_test(sessions_get_keys_where_test_packets_are_protected),
        cmocka_unit_test(key_is_asked_for),
        cmocka_unit_test(unknown_keyid_is_answered_like_a_wrong_secret),
        cmocka_unit_test(set_up_response_of_another_connection_is_refused),
        cmocka_unit_test(changed_token_and_client_iv_open_nothing),
        cmocka_unit_test(flipped_bit_ends_the_connection_and_nothing_else),
        cmocka_unit_test(no_part_of_a_secured_command_is_acted_upon),
        cmocka_unit_test(command_out_of_its_place_is_not_authentic),
        cmocka_unit_test(authentic_command_of_unknown_length_is_refused_and_closes),
        cmocka_unit_test(command_of_unknown_length_that_is_not_authentic_just_closes),
        cmocka_unit_test(both_directions_are_one_chain_each),
        cmocka_unit_test(hmac_covers_all_sids),
        cmocka_unit_test(answers_before_a_forgery_still_leave),
        cmocka_unit_test(keys_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
