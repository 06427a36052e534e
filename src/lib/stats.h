/* What a session's samples say of the path: loss and its direction, delay, variation, order,
 * duplicates (RFC 2681, 7679, 7680, 3393, 5481, 4737, 5560).
 *
 * Fed with every sample of the session in order of arrival and with nothing else; how many packets
 * were sent is told at the end. Memory is the owner's: one tw_stats_packet per packet while all
 * fit, which makes percentiles exact. A longer session uses the array as a window in order of
 * sending and histograms for what has left it; everything but the percentiles and the direction of
 * reordering is exact in both cases.
 *
 * Error of a percentile once packets have left the window: for rtt, rtt_total and processing at
 * most 0.4 % of the percentile. For forward and reverse and for all of pdv_p95 at most 0.4 % of the
 * distance between the percentile and the least delay seen before the first packet left the window;
 * a clock offset has no part in that, and it is within 0.4 % of pdv_p95 itself unless 95 % of all
 * packets were faster than that least delay.
 *
 * Which samples count for what: the first copy of a reply that came in time is `received` and
 * enters order and, unless it is an anomaly, the delays. A first copy that came late makes the
 * packet `late` and lost. Further copies count as duplicates if they and the first came in time
 * (RFC 5560), else as nothing. All of them, late ones and copies too, tell the direction of loss,
 * TTL, DSCP, the clocks' states and the timestamps' sources.
 *
 * No clock's fault shows as a variation of the path, nor drops a sample that still tells something:
 * - Our own clock, when stepped between two packets: all one-way delays are by what it showed for
 *   the first packet with a delay; the sample's clock_offset_ns knows how much it differs later.
 *   Only packets that were under way at the step (TW_SAMPLE_ANOMALY) have no delay.
 * - The reflector's processing, when some reply with a delay has none (no T2 or T3, or one that
 *   stands still): T2 then stands for T3 in all packets, so that rtt is rtt_total in delay and
 *   variation, reverse begins with T2 unless just that is unknown, and `processing` is unknown.
 *   Taken out of some only, it would look like jitter.
 * - T2 and T3 that exclude one another (TW_SAMPLE_CONTRADICTORY): that packet has no delay. But if
 *   there is no other one, it is as without a T3, rather than nothing.
 * A step of the reflector's clock cannot be told from the path and shows in both directions. */
#ifndef TW_LIB_STATS_H
#define TW_LIB_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/distribution.h"
#include "lib/histogram.h"
#include "lib/observation.h"
#include "lib/sample.h"

/* Delays in nanoseconds. NaN = no value. */
struct tw_delay {
    uint32_t n;                    /* samples behind the figures */
    double min, mean, max, stddev; /* stddev of the sample (n - 1); NaN below two */
    double p50, p95, p99; /* nearest rank, over received packets; given from one sample on */
};

/* Variation in nanoseconds. NaN = no value. */
struct tw_variation {
    uint32_t pairs; /* neighbours in order of sending that both arrived (RFC 3393) */
    double jitter;  /* mean of |IPDV| over these pairs */
    double pdv_p95; /* 95th percentile of delay - minimum (RFC 5481) */
};

/* Counts stop at UINT32_MAX. */
struct tw_summary {
    uint32_t sent;
    uint32_t received; /* distinct packets answered in time; sent = received + lost */
    uint32_t lost;

    /* The reflector counts its own replies and one was seen: the next three mean something, else
     * they are 0. forward + reverse + undecided = lost; undecided are those after the last reply
     * seen, those before the first if it is the base, and the late ones. What has the same numbers
     * is one to us: a packet doubled on its way, whose second reply is lost, and a packet lost on
     * its way behind it, look like one reply lost. */
    bool direction_known;
    uint32_t lost_forward, lost_reverse, lost_undecided;
    bool direction_clamped;  /* the Sequence Numbers contradict one another (a duplicate whose reply
                                was lost, reordering at the edge, a peer that does not count as it
                                should): the split was cut to what was lost */
    bool direction_doubtful; /* a reply was numbered as if more packets had reached the reflector
                                before its own than had been sent before it, and none was seen to
                                overtake it: perhaps it does not count from 0; or the owner knows
                                that packets of another part have numbers of this one */

    /* Extra copies in time (RFC 5560); forward + reverse = all, but for copies of packets that have
     * left the window. By Sequence Number if the reflector counts, else by T2 and T3; exact up to
     * three different replies to one packet. */
    uint32_t duplicates, duplicates_forward, duplicates_reverse;
    uint32_t replicated; /* packets with extra copies: RFC 5560's rate is replicated / received */
    uint32_t late;       /* packets answered after the loss threshold: lost all the same */

    /* RFC 4737. The direction is known while no packet has left the window; forward is also known
     * of a reflector that does not count, if its T2 tell the order. */
    uint32_t reordered; /* round trip, in order of arrival at the sender */
    bool reordered_direction_known, reordered_forward_known;
    uint32_t reordered_forward, reordered_reverse;

    uint32_t clock_anomalies; /* packets without a delay: those under way at a step of our clock,
                                 and those whose T2 and T3 contradict one another */
    bool clock_stepped;       /* our clock, among the packets or between two with a delay */
    bool reflector_counts;    /* a reply with a Sequence Number of the reflector's own was seen */

    /* processing has no value when that of some reply is unknown, which leaves it in rtt (see
     * above), and when all had one time for T2 and T3: that was read once and stands for both. When
     * T2 or T3 means nothing (tw_observation_receive_unknown and transmit_unknown), it has none
     * either, nor has offset_estimate, and one_way_valid is false; without T2 forward and its
     * variation have none, without T3 reverse, its variation and clock_error, since the Error
     * Estimate is of T3 */
    struct tw_delay rtt, rtt_total, forward, reverse, processing;
    struct tw_variation rtt_variation, forward_variation, reverse_variation;

    /* Of the last sample that told; NaN unknown. hops_forward is unknown too when the reflector
     * does not fill in the Sender TTL, as far as that shows (tw_observation_ttl_unset). */
    double hops_forward, hops_reverse;
    double dscp_forward, dscp_reverse; /* as seen by the reflector and by us */

    double clock_error; /* ns, largest known bound of a one-way delay; NaN unknown */
    bool local_synchronized, remote_synchronized; /* claimed on every sample */
    double offset_estimate; /* ns, remote ahead = positive, for a symmetric path, by the packet
                               with the least rtt */
    bool one_way_valid;     /* both synchronised, the bound of every sample known, clock_error below
                               both means, and nothing speaks against it: no single delay below
                               -clock_error, no contradictory T2 and T3, no step of our clock */

    bool any_sample;                                /* the next two mean something */
    enum tw_source transmit_source, receive_source; /* the worst seen */
};

/* One packet in the window; private to stats.c. */
struct tw_stats_packet {
    int64_t rtt_ns, forward_ns, processing_ns; /* the other two follow */
    int64_t t2_ns;
    struct tw_stats_reply {
        uint32_t sequence; /* the reflector's */
        uint32_t stamps;   /* hash of T2 and T3 */
    } replies[3];          /* different ones, the first and the newest */
    uint8_t reply_count;
    uint8_t state;
    bool replicated;
};

/* Histograms of a session that may outgrow its window: about 440 KiB. */
enum { TW_STATS_HISTOGRAMS = 13 };

struct tw_stats_config {
    bool stateful; /* the reflector is known to count its own replies */

    /* When the session is a part of a longer one: its first packet's Sequence Number, and the first
     * that the reflector uses in it. 0 in a session of its own. */
    uint32_t first_sequence;
    uint32_t first_reflector_sequence;
    /* TWAMP Light, STAMP, parts of a session: it is not known where the reflector's counter stands,
     * the first reply seen is the base and loss before it undecided; first_reflector_sequence is
     * not used then. */
    bool base_from_first;

    /* What earlier sessions showed of the reflector's clock; may be NULL. Copied. */
    const struct tw_reflector_clock *clock;

    /* `capacity` of them, a power of two: more than are under way at any time. A reply to a packet
     * that has left the window is taken at its flags' word, without IPDV and direction. */
    struct tw_stats_packet *packets;
    uint32_t capacity;
    /* TW_STATS_HISTOGRAMS of them. May be NULL: percentiles are then NaN if more than `capacity`
     * packets are sent. */
    struct tw_histogram *histograms;
};

struct tw_stats {
    struct tw_stats_config config;

    /* The rest is private to stats.c. A position is a Sequence Number, the sender's or the
     * reflector's, less the first one, in 64 bits: it does not wrap. */
    int64_t oldest; /* of the window */
    int64_t last;   /* highest answered; -1 none */
    int64_t expected;
    bool overflowed; /* a packet has left the window */

    bool reflector_counts;
    uint32_t reflector_first;
    int64_t base;           /* loss before this position is not attributed */
    int64_t reflector_last; /* highest seen; -1 none */
    int64_t ahead;          /* by how much a reply's number exceeded its packet's at most */
    bool number_before_first;
    bool doubted; /* tw_stats_doubt */
    int64_t reflector_expected;
    uint64_t answered_from_base; /* late ones included */
    int64_t excess;              /* replies seen, less packets that they were replies to */

    uint64_t received, late, anomalies, duplicates, replicated;
    uint64_t duplicates_forward_by_sequence, duplicates_forward_by_stamps;
    uint64_t duplicates_undirected;
    bool processing_unknown; /* of some sample with a delay */
    bool contradictory;      /* some packet would have a delay, had it other timestamps */
    bool consistent;         /* some has one, and they do not exclude one another */
    bool clock_stepped;      /* while some packet was under way */
    bool stepped_between;    /* some two with a delay */
    int64_t clock_offset_ns; /* of the first sample with a delay: all go by that */
    uint64_t reordered, reordered_reverse;

    struct tw_distribution delays[6]; /* by kind, see stats_delays.c */
    uint64_t pairs;
    double jitter[5]; /* by kind, see stats_delays.c */
    int64_t previous; /* position of the last packet to leave the window with a delay; -2 none */
    int64_t previous_ns[5];
    int64_t least_theta2_ns; /* forward - reverse at the least rtt */

    struct tw_observation observation;
};

void tw_stats_init(struct tw_stats *stats, const struct tw_stats_config *config);

/* The first packet is no part of the session, or the first of the rest when there were others: it
 * was withdrawn (tw_sender_withdraw). Before any sample. */
void tw_stats_skip(struct tw_stats *stats);

/* Packets of another part of the session, or of another session, are known to have numbers of the
 * reflector's that this one's would have, or the other way round: the direction of loss is not to
 * be believed. At any time before finish. */
void tw_stats_doubt(struct tw_stats *stats);

/* A sample with a Sequence Number before the session's first is ignored. */
void tw_stats_add(struct tw_stats *stats, const struct tw_sample *sample);

/* `sent` packets left in all. `scratch` has room for `capacity` values and may be shared by all
 * sessions of a thread. The session ends here: add() must not follow. */
void tw_stats_finish(struct tw_stats *stats, uint64_t sent, int64_t *scratch,
                     struct tw_summary *summary);

/* The summary of a session that did not come about: nothing sent, every figure unknown. */
void tw_summary_none(struct tw_summary *summary);

#endif
