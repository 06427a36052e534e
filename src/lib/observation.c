/* Hops, DSCP, clock states and timestamp sources of a session; observation.h says of which
 * samples. */
#include "lib/observation.h"

#include <math.h>
#include <stddef.h>

/* What our packets leave with, and as RFC 5357 section 4.2.1 has it those of reflectors. */
enum { TTL_MAX = 255 };

/* More routers than this are on no path. */
enum { HOPS_MOST = 64 };

static void follow(struct tw_tick *tick, int64_t value_ns, int64_t sent_ns)
{
    if (!tick->known || tick->value_ns != value_ns) {
        *tick = (struct tw_tick){
            .known = true, .moved = tick->known, .value_ns = value_ns, .since_ns = sent_ns};
        return;
    }
    const int64_t later_ns = (int64_t)((uint64_t)sent_ns - (uint64_t)tick->since_ns);
    const int64_t span_ns = later_ns < 0 ? -later_ns : later_ns;
    if (span_ns > tick->span_ns)
        tick->span_ns = span_ns;
}

void tw_reflector_clock_add(struct tw_reflector_clock *clock, const struct tw_sample *sample)
{
    if ((sample->flags & TW_SAMPLE_NO_RECEIVE) == 0)
        follow(&clock->receive, sample->t2.ns, sample->t1.ns);
    if ((sample->flags & TW_SAMPLE_NO_TRANSMIT) == 0)
        follow(&clock->transmit, sample->t3.ns, sample->t1.ns);
}

void tw_observation_init(struct tw_observation *observation,
                         const struct tw_reflector_clock *before)
{
    *observation = (struct tw_observation){
        .transmit_source = TW_SOURCE_HARDWARE,
        .receive_source = TW_SOURCE_HARDWARE,
        .clock_error_ns = -1,
        .sender_ttl = -1,
        .ttl = -1,
        .sender_tos = -1,
        .tos = -1,
    };
    if (before == NULL)
        return;
    observation->clock = *before;
    observation->clock.receive.moved = false;
    observation->clock.transmit.moved = false;
}

static void keep_if_told(int16_t value, int16_t *last)
{
    if (value >= 0)
        *last = value;
}

static void keep_worse(enum tw_source source, enum tw_source *worst)
{
    if (source > *worst)
        *worst = source;
}

void tw_observation_add(struct tw_observation *observation, const struct tw_sample *sample)
{
    bool first = !observation->any;
    observation->any = true;
    observation->local_synchronized =
        sample->local_synchronized && (first || observation->local_synchronized);
    observation->remote_synchronized =
        sample->remote_synchronized && (first || observation->remote_synchronized);
    keep_worse(sample->transmit_source, &observation->transmit_source);
    keep_worse(sample->receive_source, &observation->receive_source);
    observation->receive_missing |= (sample->flags & TW_SAMPLE_NO_RECEIVE) != 0;
    observation->transmit_missing |= (sample->flags & TW_SAMPLE_NO_TRANSMIT) != 0;
    tw_reflector_clock_add(&observation->clock, sample);

    if (sample->error_ns < 0)
        observation->clock_error_unknown = true;
    if (sample->error_ns > observation->clock_error_ns)
        observation->clock_error_ns = sample->error_ns;

    if (sample->sender_ttl >= TTL_MAX - HOPS_MOST) {
        observation->sender_ttl = sample->sender_ttl;
        observation->sender_ttl_filled |= sample->sender_ttl < TTL_MAX;
    } else if (sample->sender_ttl >= 0) {
        observation->sender_ttl_foreign = true;
    }
    keep_if_told(sample->ttl, &observation->ttl);
    keep_if_told(sample->sender_tos, &observation->sender_tos);
    keep_if_told(sample->tos, &observation->tos);
}

static int initial_ttl(int16_t ttl)
{
    if (ttl <= 64)
        return 64;
    return ttl <= 128 ? 128 : TTL_MAX;
}

static double dscp(int16_t tos)
{
    return tos < 0 ? (double)NAN : tos >> 2;
}

bool tw_observation_ttl_unset(const struct tw_observation *observation)
{
    if (observation->sender_ttl < 0)
        return observation->sender_ttl_foreign;
    return tw_observation_hops_reverse(observation) > 0 && !observation->sender_ttl_filled;
}

double tw_observation_hops_forward(const struct tw_observation *observation)
{
    if (observation->sender_ttl < 0 || tw_observation_ttl_unset(observation))
        return (double)NAN;
    return TTL_MAX - observation->sender_ttl;
}

double tw_observation_hops_reverse(const struct tw_observation *observation)
{
    const int16_t ttl = observation->ttl;
    return ttl < 0 ? (double)NAN : initial_ttl(ttl) - ttl;
}

double tw_observation_dscp_forward(const struct tw_observation *observation)
{
    return dscp(observation->sender_tos);
}

double tw_observation_dscp_reverse(const struct tw_observation *observation)
{
    return dscp(observation->tos);
}

static bool stands(const struct tw_tick *tick, int64_t least_ns)
{
    return tick->known && !tick->moved && tick->span_ns >= least_ns;
}

bool tw_observation_receive_unknown(const struct tw_observation *observation)
{
    return observation->any &&
           (observation->receive_missing || stands(&observation->clock.receive, 1));
}

bool tw_observation_transmit_unknown(const struct tw_observation *observation)
{
    return observation->any &&
           (observation->transmit_missing || stands(&observation->clock.transmit, 1));
}

bool tw_observation_clock_stands(const struct tw_observation *observation)
{
    return observation->any && (stands(&observation->clock.receive, TW_NS_PER_S) ||
                                stands(&observation->clock.transmit, TW_NS_PER_S));
}
