/* Messages of TWAMP-Control for the tests of both machines, written by offset from the figures of
 * RFC 4656 and RFC 5357 and not with lib/wire, and one connection of another implementation. */
#ifndef TW_TESTS_UNIT_CONTROL_H
#define TW_TESTS_UNIT_CONTROL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "hex.h"
#include "lib/bytes.h"

/* Octets in the order in which they cross the connection in one direction. */
struct stream {
    uint8_t octets[8192];
    size_t n;
};

/* A message of n zero octets at the end; valid until the next one is added. */
static inline uint8_t *stream_add(struct stream *stream, size_t n)
{
    assert_true(n <= sizeof(stream->octets) - stream->n);
    uint8_t *message = stream->octets + stream->n;
    memset(message, 0, n);
    stream->n += n;
    return message;
}

static inline void stream_append(struct stream *stream, const uint8_t *octets, size_t n)
{
    memcpy(stream_add(stream, n), octets, n);
}

static inline void stream_add_hex(struct stream *stream, const char *hex)
{
    stream->n +=
        octets_from_hex(hex, stream->octets + stream->n, sizeof(stream->octets) - stream->n);
}

static inline void assert_zero(const uint8_t *octets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(octets[i], 0);
}

/* From the Control-Client */

static inline void add_set_up(struct stream *stream, uint32_t mode)
{
    tw_put32(stream_add(stream, 164), mode);
}

/* A request that nothing is wrong with: IPv4, ports 9001 and 9002, 27 octets of padding, Timeout
 * 2 s, DSCP 46. */
static inline uint8_t *add_request(struct stream *stream)
{
    uint8_t *request = stream_add(stream, 112);
    request[0] = 5;
    request[1] = 4;
    tw_put16(request + 12, 9001);
    tw_put16(request + 14, 9002);
    tw_put32(request + 64, 27);
    tw_put32(request + 76, 2);
    request[84] = 46;
    return request;
}

static inline void add_start(struct stream *stream)
{
    stream_add(stream, 32)[0] = 2;
}

/* Sent by the Control-Client, and by servers made from OWAMP. */
static inline uint8_t *add_stop(struct stream *stream, uint32_t sessions)
{
    uint8_t *stop = stream_add(stream, 32);
    stop[0] = 3;
    tw_put32(stop + 4, sessions);
    return stop;
}

/* From the Server */

static inline uint8_t *add_greeting(struct stream *stream, uint32_t modes)
{
    uint8_t *greeting = stream_add(stream, 64);
    tw_put32(greeting + 12, modes);
    memset(greeting + 16, 0xc5, 16);
    memset(greeting + 32, 0x5a, 16);
    tw_put32(greeting + 48, 2048);
    return greeting;
}

static inline uint8_t *add_server_start(struct stream *stream, unsigned accept)
{
    uint8_t *start = stream_add(stream, 48);
    start[15] = (uint8_t)accept;
    return start;
}

static inline uint8_t *add_accept_session(struct stream *stream, unsigned accept, uint16_t port)
{
    uint8_t *answer = stream_add(stream, 48);
    answer[0] = (uint8_t)accept;
    tw_put16(answer + 2, port);
    if (accept == 0)
        memset(answer + 4, 0x51, 16);
    return answer;
}

static inline void add_start_ack(struct stream *stream, unsigned accept)
{
    stream_add(stream, 32)[0] = (uint8_t)accept;
}

/* A control connection of perfSONAR twping 5.2.3 with twampd 5.2.3, unauthenticated, as captured:
 * one session; the client asks for port 9417 on both sides and is given 18785, padding 64, EF,
 * Timeout 1 s. */

#define PERFSONAR_GREETING                                                                         \
    "0000000000000000000000000000000f1f2624d2f0fe8c2346a7a2cb34722e7a"                             \
    "4e4f8973ab97bf180a092408a5f7c7e900000800000000000000000000000000"

#define PERFSONAR_SET_UP                                                                           \
    "0000000100000000000000000000000000000000000000000000000000000000"                             \
    "0000000000000000000000000000000000000000000000000000000000000000"                             \
    "0000000000000000000000000000000000000000000000000000000000000000"                             \
    "0000000000000000000000000000000000000000000000000000000000000000"                             \
    "0000000000000000000000000000000000000000000000000000000000000000"                             \
    "00000000"

#define PERFSONAR_SERVER_START                                                                     \
    "0000000000000000000000000000000000000000000000000000000000000000"                             \
    "eeae404e56d45e910000000000000000"

#define PERFSONAR_REQUEST                                                                          \
    "05040000000000000000000024c924c97f000001000000000000000000000000"                             \
    "7f00000100000000000000000000000000000000000000000000000000000000"                             \
    "00000040eeae4052d8477ff200000001000000002e0000000000000000000000"                             \
    "00000000000000000000000000000000"

#define PERFSONAR_ACCEPT_SESSION                                                                   \
    "000049617f000001eeae4051d836006db42b2d47000000000000000000000000"                             \
    "00000000000000000000000000000000"

#define PERFSONAR_START_SESSIONS "0200000000000000000000000000000000000000000000000000000000000000"

#define PERFSONAR_START_ACK "0000000000000000000000000000000000000000000000000000000000000000"

#define PERFSONAR_STOP_SESSIONS "0300000000000001000000000000000000000000000000000000000000000000"

/* All that the client and all that the server sent. */
#define PERFSONAR_CLIENT                                                                           \
    PERFSONAR_SET_UP PERFSONAR_REQUEST PERFSONAR_START_SESSIONS PERFSONAR_STOP_SESSIONS
#define PERFSONAR_SERVER                                                                           \
    PERFSONAR_GREETING PERFSONAR_SERVER_START PERFSONAR_ACCEPT_SESSION PERFSONAR_START_ACK

#endif
