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

struct tw_observation {
    bool any; /* a sample was observed: the rest means something */
    bool local_synchronized, remote_synchronized;   /* claimed on every sample */
    enum tw_source transmit_source, receive_source; /* the worst seen */
    int64_t clock_error_ns;                         /* largest known bound; -1 none known */
    bool clock_error_unknown;                       /* of some sample */
    bool sender_ttl_filled;                         /* a Sender TTL other than 255 was seen */
    int16_t sender_ttl, ttl, sender_tos, tos;       /* of the last that told; -1 none did */
};

void tw_observation_init(struct tw_observation *observation);
void tw_observation_add(struct tw_observation *observation, const struct tw_sample *sample);

/* The Sender TTL was always 255 although reverse hops are at least 1: that reflector does not fill
 * it in. */
bool tw_observation_ttl_unset(const struct tw_observation *observation);

/* 255 - TTL: both ends send with 255. NaN when unknown; forward hops also when the TTL is unset. */
double tw_observation_hops_forward(const struct tw_observation *observation);
double tw_observation_hops_reverse(const struct tw_observation *observation);

/* Whether that is so: Sender TTL was told, 255 every time, over a path that is routed (quirk
 * ttl-unset). */
bool tw_observation_ttl_unset(const struct tw_observation *observation);

/* The upper six bits of the octet; NaN when unknown. */
double tw_observation_dscp_forward(const struct tw_observation *observation);
double tw_observation_dscp_reverse(const struct tw_observation *observation);

#endif
