/* A Session-Sender with its slots and its clocks, led by a test: packets that leave, replies that
 * come back. Replies are built at the offsets of RFC 5357 section 4.2.1, not with lib/wire.h. */
#ifndef TW_TESTS_UNIT_SENDER_RIG_H
#define TW_TESTS_UNIT_SENDER_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/sender.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The wall clock when the monotonic one is 0; e8fe6f80 40000000 in NTP format. */
#define WALL_NS    INT64_C(1700000000250000000)
#define WALL_NTP   UINT64_C(0xe8fe6f8040000000)
#define ERROR_1_MS 0x8f84
#define WAIT_NS    (2 * TW_NS_PER_S)
#define MS         TW_NS_PER_MS

enum {
    SENDER_HEADER = 14,
    HEADER = 41,
    SLOTS = 8,
    ROOM = 2000,
    GUARD = 0xa5, /* what nobody writes */
};

struct session {
    struct tw_sender sender;
    struct tw_sender_slot slots[SLOTS];
    struct tw_random random;
    int64_t wall_ns; /* wall clock at mono 0: a step changes it */
    uint8_t packet[ROOM];
    size_t len;
    struct tw_sample sample;
};

/* What a reflector writes of its own into a reply. */
struct reply {
    uint32_t sequence;
    uint64_t t2, t3;
    uint16_t error;
    uint8_t ttl;
};

static inline void seed_random(struct tw_random *random, uint8_t number)
{
    const uint8_t seed[TW_RANDOM_SEED_SIZE] = {number};
    tw_random_seed(random, seed);
}

/* Zero means the default: unauthenticated, W of 2 s. */
static inline void open_session(struct session *s, struct tw_sender_config config)
{
    memset(s, 0, sizeof(*s));
    if (config.modes == 0)
        config.modes = TW_MODE_UNAUTHENTICATED;
    if (config.wait_ns == 0)
        config.wait_ns = WAIT_NS;
    s->wall_ns = WALL_NS;
    seed_random(&s->random, 1);
    tw_sender_init(&s->sender, &config, s->slots, SLOTS, &s->random);
}

static inline struct tw_reading reading_at(const struct session *s, int64_t ns)
{
    return (struct tw_reading){
        .mono = {ns},
        .wall = {s->wall_ns + ns},
        .error = ERROR_1_MS,
    };
}

/* Sends the next packet at `ns`; it stays in s->packet. */
static inline void send_at(struct session *s, int64_t ns)
{
    assert_int_equal(tw_sender_prepare(&s->sender, s->packet, sizeof(s->packet), &s->len), TW_OK);
    const struct tw_reading now = reading_at(s, ns);
    tw_sender_stamp(&s->sender, s->packet, &now);
}

/* The reply to the packet in s->packet. */
static inline void put_reply(const struct session *s, struct reply reply, uint8_t out[HEADER])
{
    memset(out, 0, HEADER);
    tw_put32(out, reply.sequence);
    tw_put64(out + 4, reply.t3);
    tw_put16(out + 12, reply.error);
    tw_put64(out + 16, reply.t2);
    memcpy(out + 24, s->packet, SENDER_HEADER);
    out[40] = reply.ttl;
}

/* Hands in a datagram, from memory that ends with it, which came at `ns` and is read at read_ns. */
static inline enum tw_sender_verdict receive_late(struct session *s, const uint8_t *in, size_t n,
                                                  int64_t ns, int64_t read_ns)
{
    const struct tw_arrival arrival = {
        .at = {s->wall_ns + ns},
        .source = TW_SOURCE_KERNEL,
        .read = reading_at(s, read_ns),
        .ttl = 250,
        .tos = 0xb8,
    };
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, in, n);
    const enum tw_sender_verdict verdict =
        tw_sender_receive(&s->sender, copy, n, &arrival, &s->sample);
    free(copy);
    return verdict;
}

static inline enum tw_sender_verdict receive_at(struct session *s, const uint8_t *in, size_t n,
                                                int64_t ns)
{
    return receive_late(s, in, n, ns, ns);
}

/* A reply to `sequence`, which must still be remembered, as an ordinary reflector would write it.
 */
static inline enum tw_sender_verdict answer_at(struct session *s, uint32_t sequence, int64_t ns,
                                               int64_t read_ns)
{
    uint8_t reply[HEADER];
    const uint64_t t1 = s->slots[sequence % SLOTS].t1_bits;
    tw_put32(s->packet, sequence);
    tw_put64(s->packet + 4, t1);
    put_reply(s, (struct reply){.t2 = t1, .t3 = t1, .error = ERROR_1_MS, .ttl = 250}, reply);
    return receive_late(s, reply, HEADER, ns, read_ns);
}

static inline void assert_answered(struct session *s, uint32_t sequence, int64_t ns, unsigned flags)
{
    assert_int_equal(answer_at(s, sequence, ns, ns), TW_SENDER_SAMPLE);
    assert_int_equal(s->sample.sequence, sequence);
    assert_int_equal(s->sample.flags, flags);
}

static inline void assert_lost(struct session *s, uint32_t sequence, int64_t ns)
{
    uint32_t lost;
    assert_true(tw_sender_next_lost(&s->sender, (tw_mono){ns}, &lost));
    assert_int_equal(lost, sequence);
}

static inline void assert_none_lost(struct session *s, int64_t ns)
{
    uint32_t lost;
    assert_false(tw_sender_next_lost(&s->sender, (tw_mono){ns}, &lost));
}

static inline int64_t deadline_ns(const struct session *s)
{
    return tw_sender_deadline(&s->sender).ns;
}

/* Inputs that repeat exactly: the top bits of Knuth's MMIX generator. */
static inline uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

#endif
