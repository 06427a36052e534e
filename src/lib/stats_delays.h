/* The delays of one session and what they vary by: a part of stats.h, for stats.c alone.
 *
 * Works on the fields of struct tw_stats that are about delays and clocks, in nanoseconds, and on
 * the packets in its window; says nothing of loss, order and copies. Nothing here fails. */
#ifndef TW_LIB_STATS_DELAYS_H
#define TW_LIB_STATS_DELAYS_H

#include <stdint.h>

#include "lib/sample.h"
#include "lib/stats.h"

/* From TW_PACKET_ANOMALY on the reply came in time. */
enum tw_stats_packet_state {
    TW_PACKET_NONE,
    TW_PACKET_LATE,
    TW_PACKET_ANOMALY,
    TW_PACKET_CONTRADICTORY,
    TW_PACKET_MEASURED,
};

static inline struct tw_stats_packet *tw_stats_packet_at(const struct tw_stats *stats,
                                                         int64_t position)
{
    return &stats->config.packets[(uint64_t)position & (stats->config.capacity - 1)];
}

/* A count for the summary, which has no more bits. */
static inline uint32_t tw_stats_count32(uint64_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* After all else of tw_stats_init. */
void tw_stats_delays_init(struct tw_stats *stats);

/* The first reply to a packet, which came in time and was not under way when our clock was stepped:
 * notes its delays in the packet, and the state that they leave it in. */
void tw_stats_delays_take(struct tw_stats *stats, const struct tw_sample *sample,
                          struct tw_stats_packet *packet);

/* The packet at this position leaves the window: the oldest one that is there (RFC 3393 goes by the
 * order of sending). */
void tw_stats_delays_settle(struct tw_stats *stats, int64_t position);

/* One whose place in the window is another packet's by now has no variation. */
void tw_stats_delays_outdated(struct tw_stats *stats, const struct tw_stats_packet *packet);

/* All delays, variations (RFC 3393, RFC 5481) and what they say of the clocks; after what else is
 * in the summary. Settles what is left in the window. `scratch` as of tw_stats_finish. */
void tw_stats_delays_finish(struct tw_stats *stats, int64_t *scratch, struct tw_summary *summary);

#endif
