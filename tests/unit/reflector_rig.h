/* A Session-Reflector led by a test: packets at chosen instants, and the reply to the last of them.
 * Packets are built at the offsets of RFC 5357 section 4.1.2, not with lib/wire.h. */
#ifndef TW_TESTS_UNIT_REFLECTOR_RIG_H
#define TW_TESTS_UNIT_REFLECTOR_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/reflector.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* 1700000000.25 s is e8fe6f80 40000000 in NTP format. */
#define WALL_NS    INT64_C(1700000000250000000)
#define WALL_NTP   UINT64_C(0xe8fe6f8040000000)
#define ERROR_1_MS 0x8f84

enum {
    SENDER_HEADER = 14,
    HEADER = 41,
    ROOM = TW_UDP_PAYLOAD_MAX + 1,
    GUARD = 0xa5, /* what no reply is expected to leave behind */
};

static uint8_t packet_room[ROOM], reply_room[ROOM];

struct session {
    struct tw_reflector reflector;
    struct tw_random random;
    size_t len; /* of the reply in reply_room */
};

static inline tw_mono mono(int64_t ns)
{
    return (tw_mono){ns};
}

static inline void seed_random(struct tw_random *random, uint8_t number)
{
    const uint8_t seed[TW_RANDOM_SEED_SIZE] = {number};
    tw_random_seed(random, seed);
}

/* Zero means the default: unauthenticated, padding re-used, no limit. */
static inline void accept_session(struct session *s, struct tw_reflector_config config)
{
    if (config.modes == 0)
        config.modes = TW_MODE_UNAUTHENTICATED;
    tw_reflector_init(&s->reflector, &config);
    seed_random(&s->random, 1);
}

static inline void start_session(struct session *s, struct tw_reflector_config config)
{
    accept_session(s, config);
    tw_reflector_start(&s->reflector, mono(0));
}

static inline struct tw_arrival arrival_at(int64_t ns)
{
    return (struct tw_arrival){
        .at = {WALL_NS + ns},
        .source = TW_SOURCE_KERNEL,
        .read = {.mono = {ns}, .wall = {WALL_NS + ns}, .error = ERROR_1_MS},
        .ttl = 64,
        .tos = 0,
    };
}

/* A sender packet of n octets with recognisable padding. */
static inline void put_packet(size_t n, uint32_t sequence, uint64_t t1, uint16_t error)
{
    for (size_t i = 0; i < n; i++)
        packet_room[i] = (uint8_t)(i * 7 + i / 256 + 1);
    tw_put32(packet_room, sequence);
    tw_put64(packet_room + 4, t1);
    tw_put16(packet_room + 12, error);
}

/* Hands in the first n octets of packet_room, from memory that ends there. */
static inline enum tw_reflector_verdict offer(struct session *s, size_t n,
                                              const struct tw_arrival *arrival)
{
    uint8_t *in = malloc(n > 0 ? n : 1);
    assert_non_null(in);
    memcpy(in, packet_room, n);
    memset(reply_room, GUARD, sizeof(reply_room));
    s->len = 0;
    const enum tw_reflector_verdict verdict = tw_reflector_prepare(
        &s->reflector, in, n, arrival, &s->random, reply_room, sizeof(reply_room), &s->len);
    free(in);
    return verdict;
}

static inline void stamp_at(struct session *s, uint8_t *out, int64_t ns)
{
    const struct tw_reading now = {.mono = {ns}, .wall = {WALL_NS + ns}, .error = ERROR_1_MS};
    tw_reflector_stamp(&s->reflector, out, &now);
}

/* A usual packet at `ns` after the start; stamped if it is to be answered. */
static inline enum tw_reflector_verdict exchange(struct session *s, int64_t ns)
{
    put_packet(SENDER_HEADER + 27, 0, WALL_NTP, ERROR_1_MS);
    const struct tw_arrival arrival = arrival_at(ns);
    const enum tw_reflector_verdict verdict = offer(s, SENDER_HEADER + 27, &arrival);
    if (verdict == TW_REFLECT)
        stamp_at(s, reply_room, ns);
    return verdict;
}

static inline uint32_t reply_sequence(void)
{
    return tw_get32(reply_room);
}

#endif
