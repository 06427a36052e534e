/* One end of a TWAMP-Control stream: cuts the octets of TCP into messages and queues the answers.
 *
 * Shared by the Server and Control-Client machines, which say how long the current message is; the
 * driver only moves octets. In the secured modes the channel deciphers what comes in, enciphers
 * what goes out and keeps the running HMACs (RFC 4656 section 3.2, RFC 5357 section 3.2): each
 * direction is one CBC stream for the connection's life, and each HMAC covers what its side sent
 * since the one before. The machines see clear octets only.
 *
 * Memory is bounded by construction: it is the owner's, who knows how long the messages of its side
 * can be. A message longer than the buffer for what comes in cannot be expected, and while an
 * answer would not fit into the buffer for what goes out nothing is read, so that TCP pushes back.
 */
#ifndef TW_LIB_CHANNEL_H
#define TW_LIB_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/keys.h"
#include "lib/wire.h"

/* One direction of a secured stream. */
struct tw_channel_stream {
    struct tw_cipher cipher;
    struct tw_mac mac;
    uint8_t chain[TW_AES_BLOCK_SIZE]; /* last block of ciphertext, at first the IV */
};

struct tw_channel_ciphers {
    struct tw_channel_stream receive, send;
};

/* Memory of the owner's, which stays where it is for as long as the channel is used. */
struct tw_channel_memory {
    uint8_t *in, *out;
    uint16_t in_size, out_size;         /* octets */
    struct tw_channel_ciphers *ciphers; /* NULL: the stream is never secured */
};

struct tw_channel {
    struct tw_channel_memory memory;
    uint16_t have;  /* octets of the current message that have come */
    uint16_t need;  /* octets of it that are needed before the next step */
    uint16_t clear; /* octets of it that are deciphered */
    uint16_t sent;  /* octets of out that the driver has taken */
    uint16_t queued;
    bool secured;
};

/* Waits for a first message part of `need` octets. */
void tw_channel_init(struct tw_channel *channel, const struct tw_channel_memory *memory,
                     size_t need);

/* Where to put the next octets; *room is how many are still needed, 0 when all are here. */
uint8_t *tw_channel_input(struct tw_channel *channel, size_t *room);

/* n <= the room that input() gave. */
void tw_channel_received(struct tw_channel *channel, size_t n);

/* The octets asked for are all here, at channel->memory.in. */
bool tw_channel_complete(const struct tw_channel *channel);

/* The current message goes on: `need` octets in all, at most memory.in_size. */
void tw_channel_expect(struct tw_channel *channel, size_t need);

/* The current message is done with; the next begins with `need` octets. */
void tw_channel_next(struct tw_channel *channel, size_t need);

/* The current message is complete and ends with its HMAC, which is right. To be asked once for each
 * message, before anything it says is believed; always true while the stream is not secured. */
TW_MUST_CHECK bool tw_channel_verify(struct tw_channel *channel);

/* On a secured stream: the same where a message may end here or go on. If false, nothing has
 * happened. */
TW_MUST_CHECK bool tw_channel_ends_here(struct tw_channel *channel);

/* Whether `n` more octets can be queued. */
bool tw_channel_has_room(const struct tw_channel *channel, size_t n);

/* A place for a message of n octets; has_room(n) must hold. The caller fills it and calls
 * tw_channel_queue before any other call. */
uint8_t *tw_channel_place(struct tw_channel *channel, size_t n);

/* The n octets at the place are a message: it is queued, on a secured stream with its HMAC in its
 * last 16 octets, and enciphered. */
void tw_channel_queue(struct tw_channel *channel, size_t n);

/* From here on both directions are secured; there are ciphers. `receive_iv` begins what the peer
 * sends. */
void tw_channel_secure(struct tw_channel *channel, const struct tw_keys *keys,
                       const uint8_t receive_iv[TW_IV_SIZE], const uint8_t send_iv[TW_IV_SIZE]);

/* Server-Start is clear but for its last block, which begins the server's stream and is covered by
 * its first HMAC. For the server: after secure(), instead of queue(). For the client: after
 * secure(), when the message is complete in channel->memory.in. */
void tw_channel_queue_server_start(struct tw_channel *channel);
void tw_channel_open_server_start(struct tw_channel *channel);

/* Wipes all of it, and what is in its memory; one that is all zero has none. */
void tw_channel_wipe(struct tw_channel *channel);

/* What is to be written to TCP; *n is 0 when nothing is. Valid until the next call. */
const uint8_t *tw_channel_output(const struct tw_channel *channel, size_t *n);

/* The first n octets of output() were written. */
void tw_channel_sent(struct tw_channel *channel, size_t n);

#endif
