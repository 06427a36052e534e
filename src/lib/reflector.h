/* The Session-Reflector: one session's part of answering test packets (RFC 5357 section 4.2).
 *
 * The driver finds the session by the datagram's 4-tuple, calls prepare(), and just before the
 * reply leaves stamp(). The two halves let it read the clock as late as possible for each packet of
 * a batch; replies leave in the order they were prepared. Owned by one thread. */
#ifndef TW_LIB_REFLECTOR_H
#define TW_LIB_REFLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/protection.h"
#include "lib/time.h"
#include "lib/wire.h"

/* Packet Padding of replies (RFC 5357 section 4.2.1), but for the R octets that were agreed to be
 * reflected (RFC 6038). */
enum tw_padding {
    TW_PADDING_REUSE, /* the sender's, its last octets dropped */
    TW_PADDING_RANDOM,
    TW_PADDING_ZERO,
};

struct tw_reflector_config {
    uint32_t modes;
    enum tw_padding padding;
    int64_t refwait_ns;      /* REFWAIT: a started session without valid packets ends; 0 = never */
    int64_t timeout_ns;      /* of the request: how long to reflect after the stop */
    uint32_t max_rate;       /* packets per second; 0 = no limit */
    int tai_utc_s;           /* TAI - UTC, for PTP timestamps (TW_MODE_PTP) */
    bool strict;             /* ignore packets whose Error Estimate has Multiplier 0 (E-17) */
    uint32_t padding_length; /* PL of the request */
    uint16_t reflect_length; /* R of it; counts in TW_MODE_REFLECT_OCTETS only */
    struct tw_protection *protection; /* of this session, the owner's; NULL in modes without */
};

enum tw_reflector_state {
    TW_REFLECTOR_ACCEPTED, /* not started: packets are ignored (conformance E-16) */
    TW_REFLECTOR_STARTED,
    TW_REFLECTOR_STOPPING, /* reflects until its deadline */
    TW_REFLECTOR_ENDED,
};

/* What became of a packet. All but REFLECT mean silence; the names are reason codes in the daemon's
 * status. RATE and NO_ROOM are of valid packets, too: they restart REFWAIT. */
#define TW_REFLECTOR_VERDICTS(X)                                                                   \
    X(TW_REFLECT, "reflected")                                                                     \
    X(TW_IGNORE_SHORT, "short")                   /* shorter than a sender packet's header */      \
    X(TW_IGNORE_HMAC, "hmac")                     /* not authentic */                              \
    X(TW_IGNORE_ERROR_ESTIMATE, "error-estimate") /* Multiplier 0, and the session is strict */    \
    X(TW_IGNORE_NOT_STARTED, "not-started")                                                        \
    X(TW_IGNORE_STOPPED, "stopped") /* after stop + Timeout, or after REFWAIT */                   \
    X(TW_IGNORE_RATE, "rate")       /* above max_rate */                                           \
    X(TW_IGNORE_NO_ROOM, "no-room") /* the reply is larger than the buffer */

enum tw_reflector_verdict {
#define TW_REFLECTOR_VERDICT_ENUM(name, text) name,
    TW_REFLECTOR_VERDICTS(TW_REFLECTOR_VERDICT_ENUM)
#undef TW_REFLECTOR_VERDICT_ENUM
        TW_REFLECTOR_VERDICT_COUNT
};

const char *tw_reflector_verdict_name(enum tw_reflector_verdict verdict);

struct tw_reflector {
    struct tw_reflector_config config;
    struct tw_test_layout layout; /* of its packets */
    enum tw_reflector_state state;
    uint32_t sequence;            /* of the next reply */
    tw_mono last;                 /* start or last valid packet: REFWAIT counts from here */
    tw_mono stop_at;              /* in STOPPING */
    uint64_t rate_credit;         /* token bucket, in 10^-9 packets: at most one second's worth */
    tw_mono rate_at;              /* up to when the credit was given */
    uint64_t received, reflected; /* valid packets; replies stamped */
    uint64_t zero_error;          /* packets whose Error Estimate has Multiplier 0 (E-17) */
    uint16_t padding_at;          /* where Packet Padding begins in replies */
};

void tw_reflector_init(struct tw_reflector *reflector, const struct tw_reflector_config *config);
void tw_reflector_start(struct tw_reflector *reflector, tw_mono now);

/* Stop-Sessions, Stop-N-Sessions or loss of the control connection: reflects for the session's
 * Timeout, then ends. A session that was not started ends at once; a second stop changes nothing.
 */
void tw_reflector_stop(struct tw_reflector *reflector, tw_mono now);

/* When expire() has something to do; TW_NEVER if never. */
tw_mono tw_reflector_deadline(const struct tw_reflector *reflector);

/* Ends the session if its REFWAIT or its Timeout after the stop has passed; at the very instant of
 * the deadline it has. prepare() does the same by itself. */
void tw_reflector_expire(struct tw_reflector *reflector, tw_mono now);

/* Judges a packet and writes the reply, all but T3 and the Sequence Number that stamp() writes.
 * `in` and `out` must not overlap. *out_len is set on TW_REFLECT only. Padding that does not come
 * from the sender comes from `random`. */
TW_MUST_CHECK enum tw_reflector_verdict tw_reflector_prepare(struct tw_reflector *reflector,
                                                             const uint8_t *in, size_t n,
                                                             const struct tw_arrival *arrival,
                                                             struct tw_random *random, uint8_t *out,
                                                             size_t cap, size_t *out_len);

/* Gives the reply its Sequence Number, T3 and Error Estimate, and in secured modes enciphers and
 * signs it. T3 is never before T2. `out` is what prepare() filled and may be anywhere by now; it is
 * stamped once, and a reply that is not to leave never. One that cannot leave for all that keeps
 * its number: its packet did arrive, and what is missing is lost on the way back. */
void tw_reflector_stamp(struct tw_reflector *reflector, uint8_t *out, const struct tw_reading *now);

#endif
