/* One reply as measured: four timestamps, what follows from them, what the packets said of the
 * path.
 *
 * Made by the Session-Sender (sender.h), read by the statistics (stats.h) and by whoever prints
 * single packets. All delays are signed nanoseconds; a negative one-way delay means that the clocks
 * disagree and is kept as it is (RFC 7679). */
#ifndef TW_LIB_SAMPLE_H
#define TW_LIB_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/time.h"

#define TW_SAMPLE_DUPLICATE  0x01u /* another copy of this Sender Sequence Number came before */
#define TW_SAMPLE_LATE       0x02u /* came after the loss threshold: the packet counts as lost */
#define TW_SAMPLE_ANOMALY    0x04u /* our clock was stepped between T1 and T4: no delay is known */
#define TW_SAMPLE_NO_RECEIVE 0x08u /* no T2 came: T3 stands for it, processing is unknown */
/* T2 and T3 cannot both be right: processing and rtt mean nothing, rtt_total does. */
#define TW_SAMPLE_CONTRADICTORY 0x10u
/* No T3 came: T2 stands for it, processing is unknown. With NO_RECEIVE, too, both are one
 * time that means nothing. */
#define TW_SAMPLE_NO_TRANSMIT 0x20u

/* A clock whose readings are off by more than this was stepped; less is a reading that was
 * interrupted. */
#define TW_CLOCK_STEP_NS TW_NS_PER_MS

struct tw_sample {
    uint32_t sequence;           /* of the sender's packet */
    uint32_t reflector_sequence; /* of the reply */
    tw_wall t1, t2, t3, t4;
    tw_wall read;   /* when the reply was read: what T4 would be if nobody knew better; no value
                       comes from it */
    int64_t rtt_ns; /* of the path: (T4 - T1) - (T3 - T2) */
    int64_t rtt_total_ns;    /* T4 - T1 */
    int64_t forward_ns;      /* T2 - T1 */
    int64_t reverse_ns;      /* T4 - T3 */
    int64_t processing_ns;   /* T3 - T2 */
    int64_t error_ns;        /* bound of a one-way delay: both error estimates; -1 unknown */
    int64_t clock_offset_ns; /* our wall clock less our monotonic clock at T1: T1 and T4 of two
                                samples are by one clock only if this is the same */
    bool local_synchronized, remote_synchronized;
    enum tw_source transmit_source, receive_source; /* of T1 and T4 */
    int16_t sender_ttl; /* of the sender's packet as the reflector saw it; -1 unknown */
    int16_t ttl;        /* of the reply; -1 unknown */
    int16_t sender_tos; /* as the reflector saw it (RFC 7750); -1 unknown */
    int16_t tos;        /* of the reply; -1 unknown */
    unsigned flags;     /* TW_SAMPLE_* */
};

/* Fills the five delays from t1..t4, differences taken modulo 2^64. forward + reverse == rtt and
 * rtt + processing == rtt_total on every sample, whatever its flags, of which two are set or
 * cleared. `resolution_ns`, which is not negative, is by how much a time may come out below zero
 * without being impossible.
 *
 * TW_SAMPLE_ANOMALY: the sender's clock moved against its monotonic clock by more than
 * TW_CLOCK_STEP_NS between T1 and T4 (`step_ns`, signed), or T4 is before T1.
 *
 * TW_SAMPLE_CONTRADICTORY, unless that: T3 is before T2, or further behind it than T4 is behind T1.
 * The reflector's clock was stepped in between, is coarse, or there are two of them. T1 and T4 have
 * no part in that, so the round trip is known as if T2 and T3 were one time. */
void tw_sample_compute(struct tw_sample *sample, int64_t resolution_ns, int64_t step_ns);

#endif
