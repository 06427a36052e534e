/* One end of a TWAMP-Control stream: cuts the octets of TCP into messages and queues the answers.
 *
 * Shared by the Server and Control-Client machines, which say how long the current message is; the
 * driver only moves octets. In the secured modes the CBC chains and running HMACs of both
 * directions live here as well (RFC 4656 section 3.2), between these buffers and the machines.
 *
 * Memory is bounded by construction: a message larger than TW_CHANNEL_IN cannot be expected, and
 * while an answer would not fit into TW_CHANNEL_OUT nothing is read, so that TCP pushes back. */
#ifndef TW_LIB_CHANNEL_H
#define TW_LIB_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/wire.h"

enum {
    TW_CHANNEL_IN = 2 * TW_COMMAND_HEAD_SIZE + TW_SIDS_MAX * TW_SID_SIZE,
    TW_CHANNEL_OUT = 512,
};

struct tw_channel {
    uint8_t in[TW_CHANNEL_IN];
    uint8_t out[TW_CHANNEL_OUT];
    uint16_t have; /* octets of the current message that have come */
    uint16_t need; /* octets of it that are needed before the next step */
    uint16_t sent; /* octets of out that the driver has taken */
    uint16_t queued;
};

/* Waits for a first message part of `need` octets. */
void tw_channel_init(struct tw_channel *channel, size_t need);

/* Where to put the next octets; *room is how many are still needed, 0 when all are here. */
uint8_t *tw_channel_input(struct tw_channel *channel, size_t *room);

/* n <= the room that input() gave. */
void tw_channel_received(struct tw_channel *channel, size_t n);

/* The octets asked for are all here, at channel->in. */
bool tw_channel_complete(const struct tw_channel *channel);

/* The current message goes on: `need` octets in all, at most TW_CHANNEL_IN. */
void tw_channel_expect(struct tw_channel *channel, size_t need);

/* The current message is done with; the next begins with `need` octets. */
void tw_channel_next(struct tw_channel *channel, size_t need);

/* Whether `n` more octets can be queued. */
bool tw_channel_has_room(const struct tw_channel *channel, size_t n);

/* A place for a message of n octets, queued at once; has_room(n) must hold. The caller fills it
 * before any other call. */
uint8_t *tw_channel_queue(struct tw_channel *channel, size_t n);

/* What is to be written to TCP; *n is 0 when nothing is. Valid until the next call. */
const uint8_t *tw_channel_output(const struct tw_channel *channel, size_t *n);

/* The first n octets of output() were written. */
void tw_channel_sent(struct tw_channel *channel, size_t n);

#endif
