/* The Server's half of the cryptography of TWAMP-Control for tests of the Control-Client, from the
 * same primitives as secured_client.h, and the client at each step of a secured connection. */
#ifndef TW_TESTS_UNIT_SECURED_SERVER_H
#define TW_TESTS_UNIT_SECURED_SERVER_H

#include "client_rig.h"
#include "secured_client.h"

static const uint8_t vector_keyid[TW_KEYID_SIZE] = "alice";

struct secured_rig {
    struct rig rig;
    struct tw_random random;
    struct secured_client server; /* its end of the connection */
    uint32_t mode;                /* security bit and features, all of them offered */
};

static inline uint8_t *add_vector_greeting(struct stream *stream, uint32_t modes)
{
    uint8_t *greeting = add_greeting(stream, modes);
    octets_from_hex(VECTOR_CHALLENGE, greeting + 16, 16);
    octets_from_hex(VECTOR_SALT, greeting + 32, 16);
    tw_put32(greeting + 48, VECTOR_COUNT);
    return greeting;
}

/* Gives out what the client of the vectors drew: its keys and its Client-IV, one after the other.
 */
static inline void seed_with_vectors(struct tw_random *random)
{
    memset(random, 0, sizeof(*random));
    octets_from_hex(VECTOR_AES_KEY VECTOR_HMAC_KEY VECTOR_CLIENT_IV, random->block,
                    sizeof(random->block));
    random->used = 0;
}

static inline void begin_secured(struct secured_rig *it, uint32_t mode)
{
    memset(it, 0, sizeof(*it));
    rig_begin(&it->rig);
    it->mode = mode;
    it->rig.config.mode = mode & 0xf;
    it->rig.config.features = mode & ~UINT32_C(0xf);
    memcpy(it->rig.config.keyid, vector_keyid, sizeof(vector_keyid));
    seed_with_vectors(&it->random);
}

/* Up to the question for the key, which is taken. */
static inline void secured_key(struct secured_rig *it, uint32_t mode)
{
    struct stream in = {.n = 0};
    begin_secured(it, mode);
    add_vector_greeting(&in, mode);
    deliver_all(&it->rig, &in);
    assert_int_equal(only_event(&it->rig)->type, TW_CLIENT_KEY);
    forget(&it->rig);
}

static inline void answer_key(struct secured_rig *it)
{
    uint8_t derived[16];
    octets_from_hex(VECTOR_DERIVED, derived, sizeof(derived));
    assert_int_equal(tw_client_answer_key(&it->rig.client, derived, &it->random, it->rig.now),
                     TW_OK);
    settle(&it->rig);
}

/* The server opens the Token that came out, and takes keys and Client-IV from it. */
static inline void take_set_up(struct secured_rig *it)
{
    struct secured_client *server = &it->server;
    uint8_t chain[16] = {0};
    uint8_t token[64];
    uint8_t challenge[16];
    assert_int_equal(it->rig.out.n, 164);
    secured_init(server);
    memcpy(token, it->rig.out.octets + 84, sizeof(token));
    cbc_decrypt_octets(server->derived, chain, token, sizeof(token));
    octets_from_hex(VECTOR_CHALLENGE, challenge, sizeof(challenge));
    assert_memory_equal(token, challenge, sizeof(challenge));
    memcpy(server->aes_key, token + 16, 16);
    memcpy(server->hmac_key, token + 32, 32);
    memcpy(server->receive_chain, it->rig.out.octets + 148, 16);
    hmac_sha1_set_key(&server->send_mac, 32, server->hmac_key);
    hmac_sha1_set_key(&server->receive_mac, 32, server->hmac_key);
}

static inline void secured_set_up_sent(struct secured_rig *it, uint32_t mode)
{
    secured_key(it, mode);
    answer_key(it);
    assert_int_equal(it->rig.client.step, TW_CLIENT_STEP_SET_UP);
    take_set_up(it);
    forget(&it->rig);
}

/* Server-Start with Accept 0. */
static inline void add_secured_server_start(struct secured_rig *it, struct stream *stream)
{
    struct secured_client *server = &it->server;
    uint8_t *start = add_server_start(stream, 0);
    octets_from_hex(VECTOR_SERVER_IV, start + 16, 16);
    tw_put64(start + 32, VECTOR_START_TIME);
    memcpy(server->send_chain, start + 16, 16);
    hmac_sha1_update(&server->send_mac, 16, start + 32);
    cbc_encrypt_octets(server->aes_key, server->send_chain, start + 32, 16);
}

static inline void secured_idle(struct secured_rig *it, uint32_t mode)
{
    struct stream in = {.n = 0};
    secured_set_up_sent(it, mode);
    add_secured_server_start(it, &in);
    deliver_all(&it->rig, &in);
    assert_int_equal(it->rig.client.step, TW_CLIENT_STEP_IDLE);
    forget(&it->rig);
}

/* Adds what the server says, written in the clear to the end of `clear` with its HMAC as zero. */
static inline void add_secured(struct secured_rig *it, struct stream *stream,
                               const struct stream *clear)
{
    secured_send(&it->server, stream, clear->octets, clear->n);
}

/* One clear message of n octets, as it comes out of add_...() of control.h. */
static inline void say_secured(struct secured_rig *it, const struct stream *clear)
{
    struct stream in = {.n = 0};
    add_secured(it, &in, clear);
    deliver_all(&it->rig, &in);
}

static inline void make_accept_session(struct stream *clear, uint16_t port)
{
    clear->n = 0;
    uint8_t *answer = add_accept_session(clear, 0, port);
    octets_from_hex(VECTOR_SID, answer + 4, 16);
}

static inline void secured_request_sent(struct secured_rig *it, uint32_t mode)
{
    secured_idle(it, mode);
    ask_session(&it->rig);
    forget(&it->rig);
}

static inline void secured_start_sent(struct secured_rig *it, uint32_t mode)
{
    struct stream clear;
    secured_request_sent(it, mode);
    make_accept_session(&clear, 9002);
    say_secured(it, &clear);
    assert_int_equal(only_event(&it->rig)->type, TW_CLIENT_SESSION);
    ask_start(&it->rig);
    forget(&it->rig);
}

/* An acknowledgment of RFC 5938 for `count` SIDs. */
static inline void add_sids_ack(struct stream *stream, unsigned command, unsigned accept,
                                const uint8_t *sids, uint32_t count)
{
    uint8_t *ack = stream_add(stream, 32 + 16 * (size_t)count);
    ack[0] = (uint8_t)command;
    ack[1] = (uint8_t)accept;
    tw_put32(ack + 12, count);
    memcpy(ack + 16, sids, 16 * (size_t)count);
}

#endif
