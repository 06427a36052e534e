/* The replies that `load` gets: kept while it measures, judged afterwards.
 *
 * The beginning of every reply is kept, with all that is known of it when it comes in; what is
 * behind that beginning is padding, which whoever received it has compared. Judging opens and reads
 * every reply by the RFC and by what its packet was, so that a server that is fast because it is
 * wrong does not pass. Memory is mapped once and becomes resident only where it is used. */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/packets.h"

/* What can be wrong with a reply. One can be wrong in several ways, and counts in each. */
#define BENCH_FAULTS(X)                                                                            \
    X(BENCH_FAULT_STRANGER, "stranger") /* not from where, or not to where, a flow goes */         \
    X(BENCH_FAULT_LENGTH, "length")                                                                \
    X(BENCH_FAULT_UNASKED, "unasked") /* no packet had that Sender Sequence Number lately */       \
    X(BENCH_FAULT_DUPLICATE, "duplicate")                                                          \
    X(BENCH_FAULT_HMAC, "hmac")                                                                    \
    X(BENCH_FAULT_OCTETS, "octets") /* of a mirror: not the same */                                \
    X(BENCH_FAULT_SENDER_SEQUENCE, "sender_sequence")                                              \
    X(BENCH_FAULT_SENDER_STAMP, "sender_stamp") /* Sender Timestamp or Error Estimate */           \
    X(BENCH_FAULT_SENDER_TTL, "sender_ttl")                                                        \
    X(BENCH_FAULT_MBZ, "mbz")                                                                      \
    X(BENCH_FAULT_PADDING, "padding")                                                              \
    X(BENCH_FAULT_REFLECTOR_SEQUENCE, "reflector_sequence") /* not one more than the last */       \
    X(BENCH_FAULT_REFLECTOR_STAMP, "reflector_stamp") /* T1 <= T2 <= T3 <= T4 does not hold, or */ \
                                                      /* Multiplier 0 */

enum bench_fault {
#define BENCH_FAULT_ENUM(name, text) name,
    BENCH_FAULTS(BENCH_FAULT_ENUM)
#undef BENCH_FAULT_ENUM
        BENCH_FAULT_COUNT
};

const char *bench_fault_name(enum bench_fault fault);

enum { BENCH_REPLY_KEPT = 112 }; /* octets: the longest header of a reply */

struct bench_reply {
    uint64_t number;    /* of its packet; nothing when STRANGER or UNASKED */
    int64_t sent_ns;    /* wall clock, just before the system call; so is this */
    int64_t arrived_ns; /* wall clock, by the kernel */
    uint32_t flow;      /* nothing when STRANGER */
    uint16_t length;
    uint16_t faults;  /* bit by bench_fault: those known when it came */
    uint8_t octets[]; /* min(length, tally->kept) of them */
};

struct bench_tally {
    size_t kept;  /* octets of each reply */
    size_t entry; /* octets of a struct bench_reply with them */
    uint64_t room, count;
    uint8_t *replies;
};

/* `size` is that of the largest right reply, `room` how many replies are expected at most: there
 * may be less room, a quarter of the machine's memory at most. False with one line on stderr. */
bool bench_tally_init(struct bench_tally *tally, size_t size, uint64_t room);
void bench_tally_free(struct bench_tally *tally);

static inline struct bench_reply *bench_tally_at(const struct bench_tally *tally, uint64_t i)
{
    return (struct bench_reply *)(void *)(tally->replies + i * tally->entry);
}

/* The next entry, to be filled; NULL when there is no more room. */
static inline struct bench_reply *bench_tally_next(struct bench_tally *tally)
{
    return tally->count < tally->room ? bench_tally_at(tally, tally->count++) : NULL;
}

/* Judges all replies, in the order they came; counts[fault] becomes how many are wrong in that way.
 * False with one line on stderr when there is no memory for it. */
bool bench_tally_judge(const struct bench_tally *tally, const struct bench_packets *packets,
                       uint64_t counts[BENCH_FAULT_COUNT]);

#endif
