/* The test packets that `load` sends: their number, session, contents and padding, and what a reply
 * must bring back of them.
 *
 * Packets are numbered from 0 through all sessions, which take turns of `run` packets each. All
 * that differs from packet to packet follows from its number, so that nothing of it need be kept:
 * its session, the Sequence Number, the Timestamp (a running number that begins at the time of
 * preparation) and the Error Estimate. In secured modes headers are sealed ahead, since that costs
 * the sender as much as it costs the server that is to be measured; there are BENCH_PACKETS_LAP of
 * them at most, and then they come again. */
#ifndef BENCH_PACKETS_H
#define BENCH_PACKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/protection.h"
#include "lib/wire.h"

/* One million: more than 200 ms of packets at any rate, so that an answer to a packet of this lap
 * is never taken for one of the lap before. */
enum { BENCH_PACKETS_LAP = 1 << 20 };

/* Where a flow of packets comes from and goes to. */
struct bench_flow {
    struct tw_address local, remote;
    struct tw_protection *protection; /* NULL: nothing is sealed */
};

struct bench_packets {
    uint32_t modes;
    const struct bench_flow *flows;
    unsigned count;      /* of flows */
    unsigned run;        /* packets of a flow that follow each other */
    bool mirrored;       /* what comes back are the same octets, and no TWAMP-Test */
    size_t size;         /* octets of UDP payload */
    size_t header;       /* of them not the same in all packets */
    size_t reply_size;   /* octets that a reply must have */
    size_t reply_header; /* of them not padding */
    uint32_t lap;        /* packets until slots come again: a multiple of count * run */
    uint64_t first_bits; /* Timestamp of packet 0 */
    uint8_t *sealed;     /* headers by slot; NULL when nothing is sealed */
    uint8_t *padded;     /* a packet without header */
};

/* False with one line on stderr. `flows` stay the caller's; count * run is at most the lap. */
bool bench_packets_init(struct bench_packets *packets, uint32_t modes, size_t size,
                        const struct bench_flow *flows, unsigned count, unsigned run,
                        bool mirrored);
void bench_packets_free(struct bench_packets *packets);

static inline unsigned bench_packets_flow(const struct bench_packets *packets, uint64_t number)
{
    return (unsigned)(number / packets->run % packets->count);
}

/* The clear header of that packet. */
struct tw_test_packet bench_packets_header(const struct bench_packets *packets, uint64_t number);

/* Writes the header as it is sent; `out` has packets->size octets and holds packets->padded. */
void bench_packets_write(const struct bench_packets *packets, uint64_t number, uint8_t *out);

/* Where the header of that packet is, among packets->lap of them, by what its reply says. */
static inline uint32_t bench_packets_slot(const struct bench_packets *packets, unsigned flow,
                                          uint32_t sequence)
{
    const uint32_t turns = packets->lap / (packets->count * packets->run);
    const uint32_t turn = sequence / packets->run % turns;
    return (turn * packets->count + flow) * packets->run + sequence % packets->run;
}

/* The Sender Sequence Number of a reply of that flow as it came in, of which n octets are at hand:
 * deciphers one block at most. False when it is too short to have one. */
bool bench_packets_sequence(const struct bench_packets *packets, unsigned flow,
                            const uint8_t *reply, size_t n, uint32_t *sequence);

/* Whether the octets of a reply from offset `from` (behind the header) to its end are its packet's
 * padding or zero. */
bool bench_packets_padding_is_right(const struct bench_packets *packets, const uint8_t *octets,
                                    size_t from, size_t to);

#endif
