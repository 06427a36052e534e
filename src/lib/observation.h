/* What the replies of a session tell beside delay and order: hops, DSCP, the state of both clocks,
 * who took the timestamps.
 *
 * For the statistics (stats.h). Every reply counts, copies and late ones too. */
#ifndef TW_LIB_OBSERVATION_H
#define TW_LIB_OBSERVATION_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/sample.h"
#include "lib/time.h"

/* One of the reflector's timestamps from reply to reply. A value that stays the same while packets
 * leave at different times is no time. */
struct tw_tick {
    bool known;       /* a value came: the rest means something */
    bool moved;       /* and then another one */
    int64_t value_ns; /* the newest */
    int64_t since_ns; /* T1 of the first packet that got it */
    int64_t span_ns;  /* how far T1 of others with it was from that at most */
};

/* T2 and T3; all zero before the first reply. What an owner knows from sessions and parts of them
 * before goes into the next one: a coarse clock may not move within one. */
struct tw_reflector_clock {
    struct tw_tick receive, transmit;
};

/* Late and further replies, too. Those without a timestamp say nothing of it. */
void tw_reflector_clock_add(struct tw_reflector_clock *clock, const struct tw_sample *sample);

struct tw_observation {
    bool any; /* a sample was observed: the rest means something */
    bool local_synchronized, remote_synchronized;   /* claimed on every sample */
    enum tw_source transmit_source, receive_source; /* the worst seen */
    int64_t clock_error_ns;                         /* largest known bound; -1 none known */
    bool clock_error_unknown;                       /* of some sample */
    bool sender_ttl_filled;                         /* a Sender TTL of ours below 255 was seen */
    bool sender_ttl_foreign;                        /* one was seen that cannot be of ours */
    int16_t sender_ttl, ttl, sender_tos, tos;       /* of the last that told; -1 none did */
    bool receive_missing, transmit_missing;         /* T2, T3 of some sample */
    struct tw_reflector_clock clock; /* `moved` since the beginning of this session */
};

/* `before` is what was seen of the reflector's clock in earlier sessions; NULL: nothing. */
void tw_observation_init(struct tw_observation *observation,
                         const struct tw_reflector_clock *before);
void tw_observation_add(struct tw_observation *observation, const struct tw_sample *sample);

/* Forward: 255 - Sender TTL, since our packets leave with 255; a value of 0 or below 191 is no TTL
 * of ours. Reverse: replies should leave with 255, but those of many hosts do with 64 or 128; taken
 * is the nearest of them at or above what arrives. NaN when unknown; forward hops also when the TTL
 * is unset. */
double tw_observation_hops_forward(const struct tw_observation *observation);
double tw_observation_hops_reverse(const struct tw_observation *observation);

/* The Sender TTL was told, and it was 255 every time although reverse hops are at least 1, or never
 * one of ours: that reflector does not fill it in (quirk ttl-unset). */
bool tw_observation_ttl_unset(const struct tw_observation *observation);

/* T2, or T3, means nothing: it was missing in some sample, or the same in all of them. One sample
 * alone says nothing of that without an earlier session. */
bool tw_observation_receive_unknown(const struct tw_observation *observation);
bool tw_observation_transmit_unknown(const struct tw_observation *observation);

/* One of them was the same for a second at least, which no clock's resolution explains (quirk
 * constant-timestamps). */
bool tw_observation_clock_stands(const struct tw_observation *observation);

/* The upper six bits of the octet; NaN when unknown. */
double tw_observation_dscp_forward(const struct tw_observation *observation);
double tw_observation_dscp_reverse(const struct tw_observation *observation);

#endif
