/* The Session-Sender: makes the test packets of one session and turns replies into samples (RFC
 * 5357 section 4.1).
 *
 * Knows no schedule and no socket: the driver decides when to send, stamps as late as it can and
 * hands in every datagram that came from the reflector's address and port. Replies are matched by
 * Sender Sequence Number and by the echoed T1, so that an old reply to a re-used port is never
 * taken for one of this session. */
#ifndef TW_LIB_SENDER_H
#define TW_LIB_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/protection.h"
#include "lib/sample.h"
#include "lib/time.h"
#include "lib/wire.h"

struct tw_sender_config {
    uint32_t modes;          /* of the control connection: decides the packet layout */
    uint32_t padding_length; /* PL */
    bool zero_padding;       /* else pseudo-random, from a seed drawn once per session */
    int64_t wait_ns;         /* loss threshold W, from departure */
    int tai_utc_s;           /* for PTP timestamps, the reflector's and (TW_MODE_PTP) ours */
    struct tw_protection *protection; /* of this session, the owner's; NULL in modes without */
    uint16_t reflect_length; /* R: so much padding is to come back (TW_MODE_REFLECT_OCTETS) */
    uint16_t server_octets;  /* RFC 6038: not 0 = first in the padding; counts if R is 2 or more */
};

/* One packet on its way; the owner provides the memory. */
struct tw_sender_slot {
    uint64_t t1_bits; /* as sent: what the reflector must echo */
    tw_wall t1;       /* best knowledge of departure */
    tw_mono sent;
    int64_t offset_ns; /* wall - mono when stamped: a change of it is a step of the wall clock */
    uint32_t sequence;
    uint16_t error;
    uint8_t state;  /* private to sender.c */
    uint8_t source; /* enum tw_source of t1 */
};

struct tw_sender {
    struct tw_sender_config config;
    struct tw_sender_slot *slots;
    uint32_t mask;          /* number of slots - 1 */
    uint32_t next_sequence; /* of the next packet */
    uint32_t next_lost;     /* oldest sequence not settled, else next_sequence */
    uint32_t unanswered;    /* sent, not answered, not reported lost */
    bool prepared;          /* prepare() was called, stamp() not yet */
    uint64_t padding_seed;
    uint8_t same_times; /* replies with T2 = T3, as far as counted for its quirk */
    bool times_differ;  /* a reply had them different */
    bool never_ptp;     /* a timestamp had 10^9 or more below its seconds */
    /* for the user; each counts datagrams, none of them touches a metric */
    uint64_t short_replies; /* below 41 octets: no TTL; used all the same */
    uint64_t bad_length;    /* too short for a reply */
    uint64_t foreign;       /* sequence never sent, or T1 not ours */
    uint64_t zero_receive;  /* Receive Timestamp 0: T3 is taken for T2, processing is unknown */
    uint64_t zero_transmit; /* Timestamp 0: the other way round */
    uint64_t zero_error;    /* Error Estimate with Multiplier 0: the error is unknown */
    uint64_t wrong_format;  /* Z bit is plainly wrong: read in the other format */
    uint64_t bad_hmac;      /* not authentic */
    uint64_t not_reflected; /* the R octets of padding did not come back */
    uint32_t quirks;        /* enum tw_quirk, of the replies so far; see below */
};

/* Quirks are only noted: no reply is refused, and no delay corrected, for one. All stay once shown
 * but TW_QUIRK_SAME_TIMES, which says "always": it takes three replies, and goes when one differs.
 *
 * TW_QUIRK_PTP_UTC (conformance E-30) is known from a single reply whose T2 and T3 were read as PTP
 * and whose one-way delays are both off by TAI - UTC, to within a second: T2 looks as much too
 * early as T3 does. Such a round trip takes less than two seconds, and a clock that is wrong by
 * just that much looks the same. Not known when tai_utc_s is 0 or the round trip is longer. */

/* How a datagram was taken. */
enum tw_sender_verdict {
    TW_SENDER_SAMPLE, /* *sample is filled; look at its flags for duplicates and late ones */
    TW_SENDER_BAD_LENGTH,
    TW_SENDER_FOREIGN,
    TW_SENDER_BAD_HMAC,
};

/* `count` slots, a power of two; at most `count` packets are remembered, so it must be more than
 * leave within wait_ns. Draws the padding seed from `random`. */
void tw_sender_init(struct tw_sender *sender, const struct tw_sender_config *config,
                    struct tw_sender_slot *slots, uint32_t count, struct tw_random *random);

/* Writes the next packet, all but its stamp, to `out`; *len is its size. TW_ERR_SPACE when cap is
 * too small, TW_ERR_STATE when the oldest remembered packet is neither answered nor reported lost.
 */
TW_MUST_CHECK enum tw_result tw_sender_prepare(struct tw_sender *sender, uint8_t *out, size_t cap,
                                               size_t *len);

/* Writes T1 and its Error Estimate into the prepared packet, in PTP format if that was agreed, and
 * in encrypted mode enciphers and signs it. It counts as sent from here on. */
void tw_sender_stamp(struct tw_sender *sender, uint8_t *out, const struct tw_reading *now);

/* The kernel did not take the packet just stamped: it was never sent, and the next prepare() uses
 * its number again. For a batch cut short: once for each packet, the newest first. */
void tw_sender_unsend(struct tw_sender *sender);

/* The oldest packet without a reply did not reach the other end: it is forgotten, and its number is
 * not used again. False when there is none, or only a late reply came. */
bool tw_sender_withdraw(struct tw_sender *sender);

/* A transmit timestamp that came after departure, of the packet with that Sequence Number; the
 * newest counts. False when it cannot be of that packet, which is no longer remembered, was stamped
 * later than that or a whole loss threshold earlier: nothing has changed then. Replies that came
 * before are not touched. */
bool tw_sender_departed(struct tw_sender *sender, uint32_t sequence, tw_wall t1,
                        enum tw_source source);

/* Judges a datagram. Whether it is late is decided by when it arrived, not by when it was read; but
 * a packet that next_lost() has reported stays lost, so read all that has come before asking it.
 * Every copy of a reply to a lost packet is LATE. A copy that is both LATE and DUPLICATE says
 * nothing about whether its packet is lost (the threshold counts for duplicates too, RFC 5560). */
TW_MUST_CHECK enum tw_sender_verdict tw_sender_receive(struct tw_sender *sender, const uint8_t *in,
                                                       size_t n, const struct tw_arrival *arrival,
                                                       struct tw_sample *sample);

/* The next packet whose loss threshold has passed without a reply; each is reported once. */
bool tw_sender_next_lost(struct tw_sender *sender, tw_mono now, uint32_t *sequence);

/* When next_lost() will have something to say; TW_NEVER when nothing is unanswered. */
tw_mono tw_sender_deadline(const struct tw_sender *sender);

#endif
