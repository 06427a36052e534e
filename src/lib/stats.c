/* The metrics of one session; stats.h says what each sample counts for.
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

enum packet_state { PACKET_NONE, PACKET_LATE, PACKET_ANOMALY, PACKET_MEASURED };

/* Those before VARIED have a variation. */
enum kind { RTT, FORWARD, REVERSE, VARIED, RTT_TOTAL = VARIED, PROCESSING, KINDS };

/* In config.histograms: a pair for the differences of each varied kind, then one for the values of
 * each kind that is never negative, so that those keep their bound whatever the reference is. */
static size_t histogram_pair(enum kind kind)
{
    return (size_t)kind * TW_DISTRIBUTION_PAIR;
}

static size_t value_histogram(enum kind kind)
{
    return VARIED * TW_DISTRIBUTION_PAIR + (kind == RTT ? 0 : kind - RTT_TOTAL + 1);
}

enum { P50, P95, P99, PERCENTS };
static const double percents[PERCENTS] = {[P50] = 50, [P95] = 95, [P99] = 99};

/* A peer that lets its number leap on every reply must not get past 64 bits. */
static const int64_t REFLECTOR_LIMIT = INT64_C(1) << 61;

_Static_assert(sizeof(struct tw_stats) < 1024, "there are thousands");
_Static_assert(sizeof(struct tw_stats_packet) == 64, "one cache line");

/* The position within 2^31 of `near` that `sequence` stands for, counted from `first`. */
static int64_t position_of(uint32_t sequence, uint32_t first, int64_t near)
{
    return near + (int32_t)(sequence - (first + (uint32_t)near));
}

static struct tw_stats_packet *packet_at(const struct tw_stats *stats, int64_t position)
{
    return &stats->config.packets[(uint64_t)position & (stats->config.capacity - 1)];
}

static int64_t packet_delay(const struct tw_stats_packet *packet, enum kind kind)
{
    switch (kind) {
    case RTT:
        return packet->rtt_ns;
    case FORWARD:
        return packet->forward_ns;
    case REVERSE:
        return tw_distribution_difference(packet->rtt_ns, packet->forward_ns);
    case RTT_TOTAL:
        return (int64_t)((uint64_t)packet->rtt_ns + (uint64_t)packet->processing_ns);
    case PROCESSING:
        return packet->processing_ns;
    case KINDS:
        break;
    }
    assert(false);
    return 0;
}

/* Settling: in order of sending. */

static void add_to_histograms(struct tw_stats *stats, const struct tw_stats_packet *packet)
{
    struct tw_histogram *histograms = stats->config.histograms;
    if (histograms == NULL)
        return;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        int64_t delay = packet_delay(packet, kind);
        if (kind < VARIED)
            tw_distribution_bin(&stats->delays[kind], &histograms[histogram_pair(kind)], delay);
        if (kind != FORWARD && kind != REVERSE)
            tw_histogram_add(&histograms[value_histogram(kind)], delay > 0 ? (uint64_t)delay : 0);
    }
}

/* IPDV (RFC 3393): defined when the packet sent just before has a delay too. */
static void add_variation(struct tw_stats *stats, int64_t position,
                          const struct tw_stats_packet *packet)
{
    bool defined = stats->previous == position - 1;
    if (defined)
        stats->pairs++;
    for (enum kind kind = 0; kind < VARIED; kind++) {
        int64_t delay = packet_delay(packet, kind);
        if (defined) {
            double ipdv = fabs((double)tw_distribution_difference(delay, stats->previous_ns[kind]));
            stats->jitter[kind] += (ipdv - stats->jitter[kind]) / (double)stats->pairs;
        }
        stats->previous_ns[kind] = delay;
    }
    stats->previous = position;
}

static void settle(struct tw_stats *stats, int64_t position)
{
    struct tw_stats_packet *packet = packet_at(stats, position);
    if (packet->state == PACKET_MEASURED) {
        add_variation(stats, position, packet);
        if (stats->overflowed)
            add_to_histograms(stats, packet);
    }
    memset(packet, 0, sizeof(*packet));
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
        if (packet_at(stats, p)->state == PACKET_NONE)
            continue;
        stats->overflowed = true;
        settle(stats, p);
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

static void add_delays(struct tw_stats *stats, const struct tw_sample *sample)
{
    bool least = stats->delays[RTT].n == 0 || sample->rtt_ns < stats->delays[RTT].min;
    if (least)
        stats->least_theta2_ns = tw_distribution_difference(sample->forward_ns, sample->reverse_ns);
    tw_distribution_add(&stats->delays[RTT], sample->rtt_ns);
    tw_distribution_add(&stats->delays[FORWARD], sample->forward_ns);
    tw_distribution_add(&stats->delays[REVERSE], sample->reverse_ns);
    tw_distribution_add(&stats->delays[RTT_TOTAL], sample->rtt_total_ns);
    tw_distribution_add(&stats->delays[PROCESSING], sample->processing_ns);
}

/* Counts the first reply to a packet; returns the state that it leaves the packet in. */
static enum packet_state take_first(struct tw_stats *stats, const struct tw_sample *sample,
                                    int64_t position, int64_t number)
{
    attribute(stats, position, number, true, true);
    if ((sample->flags & TW_SAMPLE_LATE) != 0) {
        stats->late++;
        return PACKET_LATE;
    }
    stats->received++;
    add_order(stats, position, number);
    if (number < REFLECTOR_LIMIT && number - (position - stats->base) > stats->ahead)
        stats->ahead = number - (position - stats->base);
    if ((sample->flags & TW_SAMPLE_ANOMALY) != 0) {
        stats->anomalies++;
        return PACKET_ANOMALY;
    }
    if ((sample->flags & TW_SAMPLE_NO_RECEIVE) != 0)
        stats->processing_unknown = true;
    add_delays(stats, sample);
    return PACKET_MEASURED;
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
    if (packet->state == PACKET_LATE || (sample->flags & TW_SAMPLE_LATE) != 0)
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
        struct tw_stats_packet packet = {
            .rtt_ns = sample->rtt_ns,
            .forward_ns = sample->forward_ns,
            .processing_ns = sample->processing_ns,
        };
        stats->overflowed = true;
        if (take_first(stats, sample, position, number) == PACKET_MEASURED)
            add_to_histograms(stats, &packet);
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
        .previous = -2,
    };
    tw_observation_init(&stats->observation);
    memset(config->packets, 0, config->capacity * sizeof(*config->packets));
    for (unsigned i = 0; config->histograms != NULL && i < TW_STATS_HISTOGRAMS; i++)
        tw_histogram_init(&config->histograms[i]);
}

void tw_stats_skip(struct tw_stats *stats)
{
    assert(!stats->observation.any);
    stats->base++;
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
    struct tw_stats_packet *packet = packet_at(stats, position);
    if (packet->state != PACKET_NONE) {
        take_copy(stats, sample, position, number, packet);
        return;
    }
    enum packet_state after = take_first(stats, sample, position, number);
    *packet = (struct tw_stats_packet){
        .rtt_ns = sample->rtt_ns,
        .forward_ns = sample->forward_ns,
        .processing_ns = sample->processing_ns,
        .t2_ns = sample->t2.ns,
        .replies = {reply_of(sample)},
        .reply_count = 1,
        .state = (uint8_t)after,
    };
}

/* The end. */

static uint32_t count32(uint64_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void exact_percentiles(const struct tw_stats *stats, enum kind kind, int64_t *scratch,
                              int64_t *out)
{
    size_t n = 0;
    for (int64_t p = stats->oldest; p <= stats->last; p++)
        if (packet_at(stats, p)->state == PACKET_MEASURED)
            scratch[n++] = packet_delay(packet_at(stats, p), kind);
    assert(n == stats->delays[kind].n);
    tw_distribution_sort(scratch, n);
    for (unsigned i = 0; i < PERCENTS; i++)
        out[i] = scratch[tw_histogram_rank(percents[i], n) - 1];
}

static int64_t value_percentile(const struct tw_stats *stats, enum kind kind, double percent)
{
    const struct tw_histogram *histogram = &stats->config.histograms[value_histogram(kind)];
    int64_t value = (int64_t)tw_histogram_percentile(histogram, percent);
    if (value < stats->delays[kind].min)
        return stats->delays[kind].min;
    return value > stats->delays[kind].max ? stats->delays[kind].max : value;
}

static int64_t spread_percentile(const struct tw_stats *stats, enum kind kind, double percent)
{
    const struct tw_histogram *pair = &stats->config.histograms[histogram_pair(kind)];
    return tw_distribution_percentile(&stats->delays[kind], pair, percent);
}

static void histogram_percentiles(const struct tw_stats *stats, enum kind kind, int64_t *out)
{
    for (unsigned i = 0; i < PERCENTS; i++)
        out[i] = kind == FORWARD || kind == REVERSE ? spread_percentile(stats, kind, percents[i])
                                                    : value_percentile(stats, kind, percents[i]);
}

/* Gives all delays and, of the varied kinds, pdv_p95. Settles what is left in the window. */
static void finish_delays(struct tw_stats *stats, int64_t *scratch, struct tw_summary *summary)
{
    int64_t values[KINDS][PERCENTS] = {0};
    bool measured = stats->delays[RTT].n > 0;
    bool known = measured && (!stats->overflowed || stats->config.histograms != NULL);
    for (enum kind kind = 0; kind < KINDS && measured && !stats->overflowed; kind++)
        exact_percentiles(stats, kind, scratch, values[kind]);
    for (int64_t p = stats->oldest; p <= stats->last; p++)
        settle(stats, p);
    for (enum kind kind = 0; kind < KINDS && known && stats->overflowed; kind++)
        histogram_percentiles(stats, kind, values[kind]);

    struct tw_delay *delays[KINDS] = {&summary->rtt, &summary->forward, &summary->reverse,
                                      &summary->rtt_total, &summary->processing};
    struct tw_variation *variations[VARIED] = {&summary->rtt_variation, &summary->forward_variation,
                                               &summary->reverse_variation};
    for (enum kind kind = 0; kind < KINDS; kind++) {
        const struct tw_distribution *from = &stats->delays[kind];
        if (kind == PROCESSING && stats->processing_unknown)
            continue;
        delays[kind]->n = count32(from->n);
        delays[kind]->mean = tw_distribution_mean(from);
        delays[kind]->stddev = tw_distribution_stddev(from);
        if (from->n == 0)
            continue;
        delays[kind]->min = (double)from->min;
        delays[kind]->max = (double)from->max;
        if (!known)
            continue;
        delays[kind]->p50 = (double)values[kind][P50];
        delays[kind]->p95 = (double)values[kind][P95];
        delays[kind]->p99 = (double)values[kind][P99];
    }
    for (enum kind kind = 0; kind < VARIED; kind++) {
        variations[kind]->pairs = count32(stats->pairs);
        if (stats->pairs > 0)
            variations[kind]->jitter = stats->jitter[kind];
        if (!known)
            continue;
        /* not from rtt.p95, whose error may be large beside the variation */
        int64_t p95 =
            stats->overflowed ? spread_percentile(stats, kind, percents[P95]) : values[kind][P95];
        variations[kind]->pdv_p95 =
            (double)tw_distribution_difference(p95, stats->delays[kind].min);
    }
}

/* Loss by direction, from the highest numbers seen. With distinct numbers r and packets s in the
 * replies: reverse = (highest r + 1) - distinct r; forward = (highest s + 1) + forward duplicates -
 * (highest r + 1); the two add up to the packets missing up to the highest s. */
static void finish_loss(const struct tw_stats *stats, uint64_t sent, struct tw_summary *summary)
{
    uint64_t lost = sent > stats->received ? sent - stats->received : 0;
    summary->sent = count32(sent);
    summary->received = count32(stats->received);
    summary->lost = count32(lost);
    summary->late = count32(stats->late);
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
    summary->lost_forward = count32((uint64_t)forward);
    summary->lost_reverse = count32((uint64_t)(missing - forward));
    summary->lost_undecided = count32(lost - (uint64_t)missing);
}

/* Forward reordering (RFC 4737) without sorting: a packet is reordered if one sent later reached
 * the reflector earlier, by the reflector's number or, if that tells nothing, by T2. Equal T2 leave
 * the order, and so the count, unknown. */
static void finish_order(const struct tw_stats *stats, struct tw_summary *summary)
{
    summary->reordered = count32(stats->reordered);
    if (stats->overflowed || stats->received == 0)
        return;
    bool counts = stats->config.stateful || stats->reflector_counts;
    int64_t earliest = INT64_MAX;
    uint32_t reordered = 0;
    bool distinct = true;
    for (int64_t p = stats->last; p >= stats->oldest; p--) {
        const struct tw_stats_packet *packet = packet_at(stats, p);
        if (packet->state != PACKET_ANOMALY && packet->state != PACKET_MEASURED)
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
    summary->reordered_reverse = counts ? count32(stats->reordered_reverse) : 0;
}

/* Whether the direction of loss may be believed; after finish_order. Once packets have left the
 * window nobody knows whether they were overtaken. */
static void finish_doubt(const struct tw_stats *stats, struct tw_summary *summary)
{
    const int64_t duplicates = stats->excess > 0 ? stats->excess : 0;
    const bool ahead =
        stats->ahead > duplicates && !stats->overflowed && summary->reordered_forward == 0;
    summary->direction_doubtful = summary->direction_known && (stats->number_before_first || ahead);
}

static void finish_duplicates(const struct tw_stats *stats, struct tw_summary *summary)
{
    bool counts = stats->config.stateful || stats->reflector_counts;
    uint64_t forward =
        counts ? stats->duplicates_forward_by_sequence : stats->duplicates_forward_by_stamps;
    summary->duplicates = count32(stats->duplicates);
    summary->duplicates_forward = count32(forward);
    summary->duplicates_reverse =
        count32(stats->duplicates - stats->duplicates_undirected - forward);
    summary->replicated = count32(stats->replicated);
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
    if (seen->clock_error_ns >= 0)
        summary->clock_error = (double)seen->clock_error_ns;
    if (stats->delays[RTT].n == 0)
        return;
    summary->offset_estimate = (double)stats->least_theta2_ns / 2;
    double forward = fabs(tw_distribution_mean(&stats->delays[FORWARD]));
    double reverse = fabs(tw_distribution_mean(&stats->delays[REVERSE]));
    bool synchronized = seen->local_synchronized && seen->remote_synchronized;
    summary->one_way_valid = synchronized && !seen->clock_error_unknown &&
                             summary->clock_error < forward && summary->clock_error < reverse;
}

void tw_stats_finish(struct tw_stats *stats, uint64_t sent, int64_t *scratch,
                     struct tw_summary *summary)
{
    tw_summary_none(summary);
    finish_loss(stats, sent, summary);
    finish_order(stats, summary);
    finish_doubt(stats, summary);
    finish_duplicates(stats, summary);
    summary->clock_anomalies = count32(stats->anomalies);
    summary->reflector_counts = stats->reflector_counts;
    finish_observation(stats, summary);
    finish_delays(stats, scratch, summary);
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
