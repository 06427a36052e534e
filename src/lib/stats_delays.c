/* Delays, variations and percentiles, and whether clocks may be believed; stats_delays.h says when.
 *
 * Percentiles are taken from the ring as long as every packet is still there, then from the
 * histograms, into which packets go as they leave it. */
#include "lib/stats_delays.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* Those before VARIED have a variation. */
enum kind { RTT, RTT_TOTAL, FORWARD, REVERSE, REVERSE_TOTAL, VARIED, PROCESSING = VARIED, KINDS };

/* In config.histograms: a pair for the differences of each varied kind, then one for the values of
 * each kind that is never negative, so that those keep their bound whatever the reference is. */
static size_t histogram_pair(enum kind kind)
{
    return (size_t)kind * TW_DISTRIBUTION_PAIR;
}

static size_t value_histogram(enum kind kind)
{
    return VARIED * TW_DISTRIBUTION_PAIR + (kind == PROCESSING ? 2 : kind);
}

static bool is_never_negative(enum kind kind)
{
    return kind == RTT || kind == RTT_TOTAL || kind == PROCESSING;
}

enum { P50, P95, P99, PERCENTS };
static const double percents[PERCENTS] = {[P50] = 50, [P95] = 95, [P99] = 99};

enum { NO_POSITION = -2 }; /* nor is it the one before any */

static int64_t packet_delay(const struct tw_stats_packet *packet, enum kind kind)
{
    switch (kind) {
    case RTT:
        return packet->rtt_ns;
    case FORWARD:
        return packet->forward_ns;
    case REVERSE:
        return tw_distribution_difference(packet->rtt_ns, packet->forward_ns);
    case REVERSE_TOTAL: /* with the time in the reflector: T4 - T2 */
        return tw_distribution_difference(packet_delay(packet, RTT_TOTAL), packet->forward_ns);
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

static void add_to_histograms(struct tw_stats *stats, const struct tw_stats_packet *packet)
{
    struct tw_histogram *histograms = stats->config.histograms;
    if (histograms == NULL)
        return;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        int64_t delay = packet_delay(packet, kind);
        if (kind < VARIED)
            tw_distribution_bin(&stats->delays[kind], &histograms[histogram_pair(kind)], delay);
        if (is_never_negative(kind))
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

/* Contradictory ones only as long as there is no other. */
static bool has_delay(const struct tw_stats *stats, const struct tw_stats_packet *packet)
{
    return packet->state == TW_PACKET_MEASURED ||
           (packet->state == TW_PACKET_CONTRADICTORY && !stats->consistent);
}

void tw_stats_delays_settle(struct tw_stats *stats, int64_t position)
{
    struct tw_stats_packet *packet = tw_stats_packet_at(stats, position);
    if (has_delay(stats, packet)) {
        add_variation(stats, position, packet);
        if (stats->overflowed)
            add_to_histograms(stats, packet);
    }
    memset(packet, 0, sizeof(*packet));
}

void tw_stats_delays_outdated(struct tw_stats *stats, const struct tw_stats_packet *packet)
{
    if (has_delay(stats, packet))
        add_to_histograms(stats, packet);
}

/* The sample's forward delay by the clock of the first one: both count T1 from different times. */
static int64_t forward_by_one_clock(struct tw_stats *stats, const struct tw_sample *sample)
{
    if (stats->delays[RTT].n == 0)
        stats->clock_offset_ns = sample->clock_offset_ns;
    const int64_t step_ns =
        tw_distribution_difference(sample->clock_offset_ns, stats->clock_offset_ns);
    if (step_ns >= -TW_CLOCK_STEP_NS && step_ns <= TW_CLOCK_STEP_NS)
        return sample->forward_ns;
    stats->stepped_between = true;
    return (int64_t)((uint64_t)sample->forward_ns + (uint64_t)step_ns);
}

static void add_delays(struct tw_stats *stats, const struct tw_stats_packet *packet)
{
    for (enum kind kind = 0; kind < KINDS; kind++)
        tw_distribution_add(&stats->delays[kind], packet_delay(packet, kind));
}

/* Before the packet is in the delays. */
static void estimate_offset(struct tw_stats *stats, const struct tw_stats_packet *packet)
{
    if (stats->delays[RTT].n == 0 || packet->rtt_ns < stats->delays[RTT].min)
        stats->least_theta2_ns =
            tw_distribution_difference(packet->forward_ns, packet_delay(packet, REVERSE));
}

static void init_histograms(const struct tw_stats *stats)
{
    for (unsigned i = 0; stats->config.histograms != NULL && i < TW_STATS_HISTOGRAMS; i++)
        tw_histogram_init(&stats->config.histograms[i]);
}

/* Forgets the delays of contradictory packets, now that there is one that is not. */
static void begin_consistent(struct tw_stats *stats)
{
    stats->consistent = true;
    if (!stats->contradictory)
        return;
    memset(stats->delays, 0, sizeof stats->delays);
    memset(stats->jitter, 0, sizeof stats->jitter);
    stats->pairs = 0;
    stats->previous = NO_POSITION;
    stats->stepped_between = false;
    init_histograms(stats);
}

void tw_stats_delays_init(struct tw_stats *stats)
{
    stats->previous = NO_POSITION;
    init_histograms(stats);
}

void tw_stats_delays_take(struct tw_stats *stats, const struct tw_sample *sample,
                          struct tw_stats_packet *packet)
{
    const bool contradictory = (sample->flags & TW_SAMPLE_CONTRADICTORY) != 0;
    packet->state = contradictory ? TW_PACKET_CONTRADICTORY : TW_PACKET_MEASURED;
    if (contradictory) {
        stats->anomalies++;
        stats->contradictory = true;
    } else if (!stats->consistent) {
        begin_consistent(stats);
    }
    if (!has_delay(stats, packet))
        return;
    packet->rtt_ns = sample->rtt_ns;
    packet->forward_ns = forward_by_one_clock(stats, sample);
    packet->processing_ns = sample->processing_ns;
    if (!contradictory)
        estimate_offset(stats, packet);
    add_delays(stats, packet);
    if ((sample->flags & TW_SAMPLE_NO_RECEIVE) != 0)
        stats->processing_unknown = true;
}

static void exact_percentiles(const struct tw_stats *stats, enum kind kind, int64_t *scratch,
                              int64_t *out)
{
    size_t n = 0;
    for (int64_t p = stats->oldest; p <= stats->last; p++)
        if (has_delay(stats, tw_stats_packet_at(stats, p)))
            scratch[n++] = packet_delay(tw_stats_packet_at(stats, p), kind);
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
        out[i] = is_never_negative(kind) ? value_percentile(stats, kind, percents[i])
                                         : spread_percentile(stats, kind, percents[i]);
}

static void give_delay(const struct tw_distribution *from, bool percentiles, const int64_t *values,
                       struct tw_delay *delay)
{
    delay->n = tw_stats_count32(from->n);
    delay->mean = tw_distribution_mean(from);
    delay->stddev = tw_distribution_stddev(from);
    if (from->n == 0)
        return;
    delay->min = (double)from->min;
    delay->max = (double)from->max;
    if (!percentiles)
        return;
    delay->p50 = (double)values[P50];
    delay->p95 = (double)values[P95];
    delay->p99 = (double)values[P99];
}

static void give_variation(const struct tw_stats *stats, enum kind kind, bool percentiles,
                           int64_t p95, struct tw_variation *variation)
{
    variation->pairs = tw_stats_count32(stats->pairs);
    if (stats->pairs > 0)
        variation->jitter = stats->jitter[kind];
    if (!percentiles)
        return;
    /* not from the values' histogram, whose error may be large beside the variation */
    if (stats->overflowed)
        p95 = spread_percentile(stats, kind, percents[P95]);
    variation->pdv_p95 = (double)tw_distribution_difference(p95, stats->delays[kind].min);
}

/* Gives all delays and variations. Settles what is left in the window. */
static void finish_delays(struct tw_stats *stats, int64_t *scratch, struct tw_summary *summary)
{
    int64_t values[KINDS][PERCENTS] = {0};
    bool measured = stats->delays[RTT].n > 0;
    bool known = measured && (!stats->overflowed || stats->config.histograms != NULL);
    for (enum kind kind = 0; kind < KINDS && measured && !stats->overflowed; kind++)
        exact_percentiles(stats, kind, scratch, values[kind]);
    for (int64_t p = stats->oldest; p <= stats->last; p++)
        tw_stats_delays_settle(stats, p);
    for (enum kind kind = 0; kind < KINDS && known && stats->overflowed; kind++)
        histogram_percentiles(stats, kind, values[kind]);

    /* what cannot be taken out of every round trip is taken out of none */
    const enum kind round_trip = stats->processing_unknown ? RTT_TOTAL : RTT;
    const bool receive_known = !tw_observation_receive_unknown(&stats->observation);
    const enum kind reverse = stats->processing_unknown && receive_known ? REVERSE_TOTAL : REVERSE;
    give_delay(&stats->delays[round_trip], known, values[round_trip], &summary->rtt);
    give_delay(&stats->delays[RTT_TOTAL], known, values[RTT_TOTAL], &summary->rtt_total);
    give_delay(&stats->delays[FORWARD], known, values[FORWARD], &summary->forward);
    give_delay(&stats->delays[reverse], known, values[reverse], &summary->reverse);
    const struct tw_distribution *processing = &stats->delays[PROCESSING];
    if (!stats->processing_unknown && (processing->min != 0 || processing->max != 0))
        give_delay(processing, known, values[PROCESSING], &summary->processing);
    give_variation(stats, round_trip, known, values[round_trip][P95], &summary->rtt_variation);
    give_variation(stats, FORWARD, known, values[FORWARD][P95], &summary->forward_variation);
    give_variation(stats, reverse, known, values[reverse][P95], &summary->reverse_variation);
}

/* Whether a delay is large beside the clocks' error, and nowhere so far below zero that the clocks
 * cannot be as right as they claim. */
static bool is_beyond(const struct tw_distribution *delay, double error)
{
    return tw_distribution_mean(delay) > error && (double)delay->min >= -error;
}

static void finish_clocks(const struct tw_stats *stats, struct tw_summary *summary)
{
    const struct tw_observation *seen = &stats->observation;
    if (seen->clock_error_ns >= 0)
        summary->clock_error = (double)seen->clock_error_ns;
    if (stats->consistent)
        summary->offset_estimate = (double)stats->least_theta2_ns / 2;
    summary->clock_stepped = stats->clock_stepped || stats->stepped_between;
    summary->one_way_valid = seen->local_synchronized && seen->remote_synchronized &&
                             !seen->clock_error_unknown && !summary->clock_stepped &&
                             !stats->contradictory &&
                             is_beyond(&stats->delays[FORWARD], summary->clock_error) &&
                             is_beyond(&stats->delays[REVERSE], summary->clock_error);
}

/* Takes back what was made of reflector's timestamps that mean nothing; after all others. */
static void withhold_one_way(const struct tw_stats *stats, struct tw_summary *summary)
{
    const bool receive_unknown = tw_observation_receive_unknown(&stats->observation);
    const bool transmit_unknown = tw_observation_transmit_unknown(&stats->observation);
    struct tw_summary none;
    tw_summary_none(&none);
    if (receive_unknown) {
        summary->forward = none.forward;
        summary->forward_variation = none.forward_variation;
    }
    if (transmit_unknown) {
        summary->reverse = none.reverse;
        summary->reverse_variation = none.reverse_variation;
        summary->clock_error = none.clock_error;
    }
    if (receive_unknown || transmit_unknown) {
        summary->offset_estimate = none.offset_estimate;
        summary->one_way_valid = false;
    }
}

void tw_stats_delays_finish(struct tw_stats *stats, int64_t *scratch, struct tw_summary *summary)
{
    finish_clocks(stats, summary);
    if (tw_observation_receive_unknown(&stats->observation) ||
        tw_observation_transmit_unknown(&stats->observation) || !stats->consistent)
        stats->processing_unknown = true;
    finish_delays(stats, scratch, summary);
    withhold_one_way(stats, summary);
}
