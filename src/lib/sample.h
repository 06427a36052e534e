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
#define TW_SAMPLE_ANOMALY    0x04u /* an impossible delay: keep it out of delay statistics */
#define TW_SAMPLE_NO_RECEIVE 0x08u /* no T2 came: T3 stands for it, processing is unknown */

struct tw_sample {
    uint32_t sequence;           /* of the sender's packet */
    uint32_t reflector_sequence; /* of the reply */
    tw_wall t1, t2, t3, t4;
    int64_t rtt_ns;        /* of the path: (T4 - T1) - (T3 - T2) */
    int64_t rtt_total_ns;  /* T4 - T1 */
    int64_t forward_ns;    /* T2 - T1 */
    int64_t reverse_ns;    /* T4 - T3 */
    int64_t processing_ns; /* T3 - T2 */
    int64_t error_ns;      /* bound of a one-way delay: both error estimates; -1 unknown */
    bool local_synchronized, remote_synchronized;
    enum tw_source transmit_source, receive_source; /* of T1 and T4 */
    int16_t sender_ttl; /* of the sender's packet as the reflector saw it; -1 unknown */
    int16_t ttl;        /* of the reply; -1 unknown */
    int16_t sender_tos; /* as the reflector saw it (RFC 7750); -1 unknown */
    int16_t tos;        /* of the reply; -1 unknown */
    unsigned flags;     /* TW_SAMPLE_* */
};

/* Fills the five delays from t1..t4, differences taken modulo 2^64, and sets or clears
 * TW_SAMPLE_ANOMALY: set if T3 < T2, or the path's round trip is below -resolution_ns (which is not
 * negative), or the sender's clock moved against its monotonic clock by more than 1 ms between T1
 * and T4 (`step_ns`, signed). forward + reverse == rtt and rtt + processing == rtt_total on every
 * sample. */
void tw_sample_compute(struct tw_sample *sample, int64_t resolution_ns, int64_t step_ns);

#endif
