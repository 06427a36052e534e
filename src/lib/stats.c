/* The metrics of one session; stats.h says what each sample counts for. What becomes of its delays
 * is in stats_delays.c.
 *
 * Whatever needs only the order of arrival is counted at once. What needs the order of sending
 * waits in a ring indexed by position, from which packets are settled one by one, oldest first:
 * when a newer one needs the place, or at the end. Percentiles are taken from the ring as long as
 * every packet is still there. */
#include "lib/stats.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "lib/stats_delays.h"

/* A peer that lets its number leap on every reply must not get past 64 bits. */
static const int64_t REFLECTOR_LIMIT = INT64_C(1) << 61;

_Static_assert(sizeof(struct tw_stats) < 1024, "there are thousands");
_Static_assert(sizeof(struct tw_stats_packet) == 64, "one cache line");

/* The position within 2^31 of `near` that `sequence` stands for, counted from `first`. */
static int64_t position_of(uint32_t sequence, uint32_t first, int64_t near)
{
    return near + (int32_t)(sequence - (first + (uint32_t)near));
}

/* Moves the window on so that `position` is in it. */
static void make_room(struct tw_stats *stats, int64_t position)
{
    if (position <= stats->last)
        return;
    stats->last = position;
    int64_t end = stats->oldest + stats->config.capacity;
    if (position < end)
        return;
    int64_t oldest = position - stats->config.capacity + 1;
    for (int64_t p = stats->oldest; p < oldest && p < end; p++) {
        if (tw_stats_packet_at(stats, p)->state == TW_PACKET_NONE)
            continue;
        stats->overflowed = true;
        tw_stats_delays_settle(stats, p);
    }
    stats->oldest = oldest;
}

/* Arrival. */

static struct tw_stats_reply reply_of(const struct tw_sample *sample)
{
    uint64_t hash = (uint64_t)sample->t2.ns * UINT64_C(0x9e3779b97f4a7c15);
    hash = ((hash ^ hash >> 32) + (uint64_t)sample->t3.ns) * UINT64_C(0xd6e8feb86659fd93);
    return (struct tw_stats_reply){sample->reflector_sequence, (uint32_t)(hash >> 32)};
}

/* One more reply, late ones and copies included, for the direction of loss: whether the reflector's
 * number is new for this packet, and whether the packet had an answer before. */
static void attribute(struct tw_stats *stats, int64_t position, int64_t number, bool is_new,
                      bool is_first)
{
    if (number > stats->reflector_last && number < REFLECTOR_LIMIT)
        stats->reflector_last = number;
    if (number < 0 && !stats->config.base_from_first)
        stats->number_before_first = true;
    bool counted = is_first && position >= stats->base;
    if (counted)
        stats->answered_from_base++;
    if (is_new && number >= 0 && !counted)
        stats->excess++;
    if (counted && number < 0)
        stats->excess--;
}

static void add_order(struct tw_stats *stats, int64_t position, int64_t number)
{
    if (position < stats->expected)
        stats->reordered++;
    else
        stats->expected = position + 1;
    if (number < stats->reflector_expected)
        stats->reordered_reverse++;
    else
        stats->reflector_expected = number + 1;
}

/* Counts the first reply to a packet, and notes what is known of its delays and the state that it
 * leaves the packet in. */
static void take_first(struct tw_stats *stats, const struct tw_sample *sample, int64_t position,
                       int64_t number, struct tw_stats_packet *packet)
{
    attribute(stats, position, number, true, true);
    if ((sample->flags & TW_SAMPLE_LATE) != 0) {
        stats->late++;
        packet->state = TW_PACKET_LATE;
        return;
    }
    stats->received++;
    add_order(stats, position, number);
    if (number < REFLECTOR_LIMIT && number - (position - stats->base) > stats->ahead)
        stats->ahead = number - (position - stats->base);
    if ((sample->flags & TW_SAMPLE_ANOMALY) != 0) {
        stats->anomalies++;
        stats->clock_stepped = true;
        packet->state = TW_PACKET_ANOMALY;
        return;
    }
    tw_stats_delays_take(stats, sample, packet);
}

static void take_copy(struct tw_stats *stats, const struct tw_sample *sample, int64_t position,
                      int64_t number, struct tw_stats_packet *packet)
{
    struct tw_stats_reply reply = reply_of(sample);
    bool new_sequence = true;
    bool new_stamps = true;
    for (unsigned i = 0; i < packet->reply_count; i++) {
        new_sequence = new_sequence && packet->replies[i].sequence != reply.sequence;
        new_stamps = new_stamps && packet->replies[i].stamps != reply.stamps;
    }
    if (new_sequence || new_stamps) {
        if (packet->reply_count == 3)
            packet->replies[1] = packet->replies[2];
        else
            packet->reply_count++;
        packet->replies[packet->reply_count - 1] = reply;
    }
    attribute(stats, position, number, new_sequence, false);
    if (packet->state == TW_PACKET_LATE || (sample->flags & TW_SAMPLE_LATE) != 0)
        return;
    stats->duplicates++;
    if (new_sequence)
        stats->duplicates_forward_by_sequence++;
    if (new_stamps)
        stats->duplicates_forward_by_stamps++;
    if (!packet->replicated)
        stats->replicated++;
    packet->replicated = true;
}

/* A packet that has left the window: only the flags can tell what this reply is. */
static void take_outdated(struct tw_stats *stats, const struct tw_sample *sample, int64_t position,
                          int64_t number)
{
    if ((sample->flags & TW_SAMPLE_DUPLICATE) == 0) {
        struct tw_stats_packet packet = {.state = TW_PACKET_NONE};
        stats->overflowed = true;
        take_first(stats, sample, position, number, &packet);
        tw_stats_delays_outdated(stats, &packet);
    } else if ((sample->flags & TW_SAMPLE_LATE) == 0) {
        stats->duplicates++;
        stats->duplicates_undirected++;
    }
}

void tw_stats_init(struct tw_stats *stats, const struct tw_stats_config *config)
{
    assert(config->capacity > 0 && (config->capacity & (config->capacity - 1)) == 0);
    *stats = (struct tw_stats){
        .config = *config,
        .last = -1,
        .reflector_first = config->first_reflector_sequence,
        .reflector_last = -1,
        .reflector_expected = INT64_MIN,
    };
    tw_observation_init(&stats->observation, config->clock);
    stats->config.clock = NULL;
    memset(config->packets, 0, config->capacity * sizeof(*config->packets));
    tw_stats_delays_init(stats);
}

void tw_stats_skip(struct tw_stats *stats)
{
    assert(!stats->observation.any);
    stats->base++;
}

void tw_stats_doubt(struct tw_stats *stats)
{
    stats->doubted = true;
}

void tw_stats_add(struct tw_stats *stats, const struct tw_sample *sample)
{
    int64_t position = position_of(sample->sequence, stats->config.first_sequence, stats->last);
    if (position < 0)
        return;
    if (!stats->observation.any && stats->config.base_from_first) {
        stats->base = position;
        stats->reflector_first = sample->reflector_sequence;
    }
    int64_t number =
        position_of(sample->reflector_sequence, stats->reflector_first, stats->reflector_last);
    tw_observation_add(&stats->observation, sample);
    if (sample->reflector_sequence != sample->sequence)
        stats->reflector_counts = true;
    make_room(stats, position);
    if (position < stats->oldest) {
        take_outdated(stats, sample, position, number);
        return;
    }
    struct tw_stats_packet *packet = tw_stats_packet_at(stats, position);
    if (packet->state != TW_PACKET_NONE) {
        take_copy(stats, sample, position, number, packet);
        return;
    }
    *packet = (struct tw_stats_packet){
        .t2_ns = sample->t2.ns,
        .replies = {reply_of(sample)},
        .reply_count = 1,
    };
    take_first(stats, sample, position, number, packet);
}

/* The end. */

/* Loss by direction, from the highest numbers seen. With distinct numbers r and packets s in the
 * replies: reverse = (highest r + 1) - distinct r; forward = (highest s + 1) + forward duplicates -
 * (highest r + 1); the two add up to the packets missing up to the highest s. */
static void finish_loss(const struct tw_stats *stats, uint64_t sent, struct tw_summary *summary)
{
    uint64_t lost = sent > stats->received ? sent - stats->received : 0;
    summary->sent = tw_stats_count32(sent);
    summary->received = tw_stats_count32(stats->received);
    summary->lost = tw_stats_count32(lost);
    summary->late = tw_stats_count32(stats->late);
    summary->direction_known =
        stats->observation.any && (stats->config.stateful || stats->reflector_counts);
    if (!summary->direction_known)
        return;
    int64_t seen = stats->last - stats->base + 1;
    int64_t missing = seen - (int64_t)stats->answered_from_base;
    if (missing > (int64_t)lost)
        missing = (int64_t)lost; /* `sent` was less than what was answered */
    int64_t forward = seen + stats->excess - (stats->reflector_last + 1);
    summary->direction_clamped = forward < 0 || forward > missing;
    if (forward > missing)
        forward = missing;
    if (forward < 0)
        forward = 0;
    summary->lost_forward = tw_stats_count32((uint64_t)forward);
    summary->lost_reverse = tw_stats_count32((uint64_t)(missing - forward));
    summary->lost_undecided = tw_stats_count32(lost - (uint64_t)missing);
}

/* Forward reordering (RFC 4737) without sorting: a packet is reordered if one sent later reached
 * the reflector earlier, by the reflector's number or, if that tells nothing, by T2. Equal T2 leave
 * the order, and so the count, unknown. */
static void finish_order(const struct tw_stats *stats, struct tw_summary *summary)
{
    summary->reordered = tw_stats_count32(stats->reordered);
    if (stats->overflowed || stats->received == 0)
        return;
    bool counts = stats->config.stateful || stats->reflector_counts;
    int64_t earliest = INT64_MAX;
    uint32_t reordered = 0;
    bool distinct = true;
    for (int64_t p = stats->last; p >= stats->oldest; p--) {
        const struct tw_stats_packet *packet = tw_stats_packet_at(stats, p);
        if (packet->state < TW_PACKET_ANOMALY)
            continue;
        int64_t reached = counts ? position_of(packet->replies[0].sequence, stats->reflector_first,
                                               stats->reflector_last)
                                 : packet->t2_ns;
        if (reached > earliest)
            reordered++;
        if (reached == earliest)
            distinct = false;
        if (reached < earliest)
            earliest = reached;
    }
    summary->reordered_direction_known = counts;
    summary->reordered_forward_known = counts || distinct;
    summary->reordered_forward = summary->reordered_forward_known ? reordered : 0;
    summary->reordered_reverse = counts ? tw_stats_count32(stats->reordered_reverse) : 0;
}

/* Whether the direction of loss may be believed; after finish_order. Once packets have left the
 * window nobody knows whether they were overtaken. */
static void finish_doubt(const struct tw_stats *stats, struct tw_summary *summary)
{
    const int64_t duplicates = stats->excess > 0 ? stats->excess : 0;
    const bool ahead =
        stats->ahead > duplicates && !stats->overflowed && summary->reordered_forward == 0;
    summary->direction_doubtful =
        summary->direction_known && (stats->number_before_first || stats->doubted || ahead);
}

static void finish_duplicates(const struct tw_stats *stats, struct tw_summary *summary)
{
    bool counts = stats->config.stateful || stats->reflector_counts;
    uint64_t forward =
        counts ? stats->duplicates_forward_by_sequence : stats->duplicates_forward_by_stamps;
    summary->duplicates = tw_stats_count32(stats->duplicates);
    summary->duplicates_forward = tw_stats_count32(forward);
    summary->duplicates_reverse =
        tw_stats_count32(stats->duplicates - stats->duplicates_undirected - forward);
    summary->replicated = tw_stats_count32(stats->replicated);
}

static void finish_observation(const struct tw_stats *stats, struct tw_summary *summary)
{
    const struct tw_observation *seen = &stats->observation;
    summary->hops_forward = tw_observation_hops_forward(seen);
    summary->hops_reverse = tw_observation_hops_reverse(seen);
    summary->dscp_forward = tw_observation_dscp_forward(seen);
    summary->dscp_reverse = tw_observation_dscp_reverse(seen);
    summary->any_sample = seen->any;
    summary->transmit_source = seen->transmit_source;
    summary->receive_source = seen->receive_source;
    summary->local_synchronized = seen->local_synchronized;
    summary->remote_synchronized = seen->remote_synchronized;
}

void tw_stats_finish(struct tw_stats *stats, uint64_t sent, int64_t *scratch,
                     struct tw_summary *summary)
{
    tw_summary_none(summary);
    finish_loss(stats, sent, summary);
    finish_order(stats, summary);
    finish_doubt(stats, summary);
    finish_duplicates(stats, summary);
    summary->clock_anomalies = tw_stats_count32(stats->anomalies);
    summary->reflector_counts = stats->reflector_counts;
    finish_observation(stats, summary);
    tw_stats_delays_finish(stats, scratch, summary);
}

void tw_summary_none(struct tw_summary *summary)
{
    const struct tw_delay no_delay = {0, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    const struct tw_variation no_variation = {0, NAN, NAN};
    *summary = (struct tw_summary){
        .rtt = no_delay,
        .rtt_total = no_delay,
        .forward = no_delay,
        .reverse = no_delay,
        .processing = no_delay,
        .rtt_variation = no_variation,
        .forward_variation = no_variation,
        .reverse_variation = no_variation,
        .hops_forward = NAN,
        .hops_reverse = NAN,
        .dscp_forward = NAN,
        .dscp_reverse = NAN,
        .clock_error = NAN,
        .offset_estimate = NAN,
    };
}
