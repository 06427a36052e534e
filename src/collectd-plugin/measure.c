/* Configuration to engine, results to values; see measure.h. */
#include "collectd-plugin/measure.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "lib/time.h"
#include "lib/wire.h"

/* From percentiles on this many samples say something (conformance D.8: 100 / (100 - P)). */
enum { SAMPLES_P95 = 20, SAMPLES_P99 = 100 };

/* How long one step may take. A step that hangs must fail while there is time for a second attempt
 * in the same interval, if the interval is long enough for that. A continuous session may begin at
 * any time of an interval, so all of it is there for that. */
static int64_t step_limit(const struct tw_settings *settings)
{
    const int64_t session_ns =
        settings->session == TW_SESSION_CONTINUOUS
            ? 0
            : settings->count * settings->packet_interval_ns + settings->timeout_ns;
    const int64_t half_ns = (settings->interval_ns - session_ns) / 2;
    if (half_ns < TW_NS_PER_S)
        return TW_NS_PER_S;
    return half_ns < 5 * TW_NS_PER_S ? half_ns : 5 * TW_NS_PER_S;
}

/* The UDP port to ask the server for: it may choose another, and a modern one does. A simple
 * reflector opens a socket per session, so every target asks for a port of its own, always the
 * same, in the range that firewalls of TWAMP's users already know (18760 to 19960). */
static uint16_t receiver_port(const char *instance)
{
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a */
    for (const char *c = instance; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT32_C(16777619);
    return (uint16_t)(18760 + hash % 1201);
}

void tw_measure_configure(const struct tw_target *target, struct tw_engine_target *out)
{
    const struct tw_settings *s = target->settings;
    const bool continuous = s->session == TW_SESSION_CONTINUOUS;
    const int64_t step_ns = step_limit(s);
    /* reflectors that know whole seconds only must not read 0: they would stop at once */
    const int64_t grace_ns = (s->timeout_ns + TW_NS_PER_S - 1) / TW_NS_PER_S * TW_NS_PER_S;
    *out = (struct tw_engine_target){
        .host = s->host,
        .family = s->family != 0 ? (int)s->family : s->source.family,
        .source = s->source,
        .source_zone = s->source_zone[0] == '\0' ? NULL : s->source_zone,
        .device = s->device[0] == '\0' ? NULL : s->device,
        .probe =
            {
                .interval_ns = s->interval_ns,
                .count = s->count,
                .packet_interval_ns =
                    continuous ? s->interval_ns / s->count : s->packet_interval_ns,
                .timeout_ns = grace_ns,
                .connect_ns = step_ns,
                .resolve_ns = 300 * TW_NS_PER_S,
                .control_port = (uint16_t)s->port,
                .receiver_port = receiver_port(target->instance),
                .dscp = target->dscp,
                .stateful = s->stateful,
                .continuous = continuous,
                .client = {.mode = s->mode, .features = s->features, .step_ns = step_ns},
                .sender = {.padding_length = s->padding, .wait_ns = s->timeout_ns},
            },
    };
    (void)tw_probe_gather(&out->probe);
    out->source.port = target->source_port;
    if (target->secret == NULL)
        return;
    memcpy(out->probe.client.keyid, target->secret->keyid, TW_KEYID_SIZE);
    out->passphrase = target->secret->passphrase;
    out->passphrase_size = target->secret->size;
}

/* Where the values of one interval are collected. */
struct sheet {
    struct tw_measure_value *out;
    size_t count;
};

/* A NaN may have a sign, which printf shows: Prometheus would refuse a whole page for "-nan". */
static void put(struct sheet *sheet, const char *type, const char *type_instance, double gauge)
{
    assert(sheet->count < TW_MEASURE_VALUES);
    sheet->out[sheet->count++] = (struct tw_measure_value){
        .type = type, .type_instance = type_instance, .gauge = isnan(gauge) ? NAN : gauge};
}

static void put_total(struct sheet *sheet, const char *type_instance, uint64_t total)
{
    assert(sheet->count < TW_MEASURE_VALUES);
    sheet->out[sheet->count++] = (struct tw_measure_value){.type = "packets",
                                                           .type_instance = type_instance,
                                                           .derive = true,
                                                           .total = (int64_t)total,
                                                           .gauge = NAN};
}

static double ms(double ns)
{
    return ns / (double)TW_NS_PER_MS;
}

static void put_rtt(struct sheet *sheet, const struct tw_summary *s)
{
    const struct tw_delay *rtt = &s->rtt;
    put(sheet, "latency", "rtt-min", ms(rtt->min));
    put(sheet, "latency", "rtt-average", ms(rtt->mean));
    put(sheet, "latency", "rtt-max", ms(rtt->max));
    put(sheet, "latency", "rtt-stddev", ms(rtt->stddev));
    put(sheet, "latency", "rtt-p50", ms(rtt->p50));
    put(sheet, "latency", "rtt-p95", rtt->n >= SAMPLES_P95 ? ms(rtt->p95) : NAN);
    put(sheet, "latency", "rtt-p99", rtt->n >= SAMPLES_P99 ? ms(rtt->p99) : NAN);
    put(sheet, "latency", "rtt-total-average", ms(s->rtt_total.mean));
    put(sheet, "latency", "processing", ms(s->processing.mean));
}

/* Type delay: latency has the minimum 0, and these are negative when clocks disagree. */
static void put_oneway(struct sheet *sheet, const struct tw_summary *s)
{
    put(sheet, "delay", "forward-min", ms(s->forward.min));
    put(sheet, "delay", "forward-average", ms(s->forward.mean));
    put(sheet, "delay", "forward-max", ms(s->forward.max));
    put(sheet, "delay", "reverse-min", ms(s->reverse.min));
    put(sheet, "delay", "reverse-average", ms(s->reverse.mean));
    put(sheet, "delay", "reverse-max", ms(s->reverse.max));
    put(sheet, "latency", "clock-error", ms(s->clock_error));
    put(sheet, "gauge", "one-way-valid", s->any_sample ? s->one_way_valid : NAN);
}

static void put_jitter(struct sheet *sheet, const struct tw_summary *s)
{
    put(sheet, "latency", "jitter-rtt", ms(s->rtt_variation.jitter));
    put(sheet, "latency", "jitter-forward", ms(s->forward_variation.jitter));
    put(sheet, "latency", "jitter-reverse", ms(s->reverse_variation.jitter));
    put(sheet, "latency", "pdv-forward-p95", ms(s->forward_variation.pdv_p95));
    put(sheet, "latency", "pdv-reverse-p95", ms(s->reverse_variation.pdv_p95));
}

/* All shares are of the packets sent, so that those by direction add up to the loss. Nothing is
 * known of directions without an answer, nor from numbers that contradict one another, and without
 * a packet the loss is complete by definition: a dead target must show. */
static void put_loss(struct sheet *sheet, const struct tw_measurement *m)
{
    const struct tw_summary *s = &m->summary;
    const bool believed =
        (!s->direction_clamped && !s->direction_doubtful) || s->lost_forward + s->lost_reverse == 0;
    const bool directions = s->direction_known && believed && s->received + s->late > 0;
    put(sheet, "percent", "loss", s->sent == 0 ? 100.0 : 100.0 * s->lost / s->sent);
    put(sheet, "percent", "loss-forward", directions ? 100.0 * s->lost_forward / s->sent : NAN);
    put(sheet, "percent", "loss-reverse", directions ? 100.0 * s->lost_reverse / s->sent : NAN);
    put(sheet, "percent", "loss-undecided", directions ? 100.0 * s->lost_undecided / s->sent : NAN);
    put_total(sheet, "sent", m->counters.sent);
    put_total(sheet, "received", m->counters.received);
    put_total(sheet, "lost", m->counters.lost);
    put_total(sheet, "duplicate", m->counters.duplicate);
    put_total(sheet, "reordered", m->counters.reordered);
    put_total(sheet, "late", m->counters.late);
}

static void put_path(struct sheet *sheet, const struct tw_measurement *m)
{
    const struct tw_summary *s = &m->summary;
    put(sheet, "count", "hops-forward", s->hops_forward);
    put(sheet, "count", "hops-reverse", s->hops_reverse);
    put(sheet, "gauge", "dscp-forward", s->dscp_forward);
    put(sheet, "gauge", "dscp-reverse", s->dscp_reverse);
    put(sheet, "gauge", "reachable", m->state == TW_MEASUREMENT_OK);
    put(sheet, "gauge", "state", m->state);
}

size_t tw_measure_values(const struct tw_measurement *measurement, unsigned groups,
                         struct tw_measure_value out[TW_MEASURE_VALUES])
{
    struct sheet sheet = {.out = out};
    if ((groups & TW_VALUES_RTT) != 0)
        put_rtt(&sheet, &measurement->summary);
    if ((groups & TW_VALUES_ONEWAY) != 0)
        put_oneway(&sheet, &measurement->summary);
    if ((groups & TW_VALUES_JITTER) != 0)
        put_jitter(&sheet, &measurement->summary);
    if ((groups & TW_VALUES_LOSS) != 0)
        put_loss(&sheet, measurement);
    if ((groups & TW_VALUES_PATH) != 0)
        put_path(&sheet, measurement);
    return sheet.count;
}
