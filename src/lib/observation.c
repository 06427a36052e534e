/* Hops, DSCP, clock states and timestamp sources of a session; observation.h says of which
 * samples. */
#include "lib/observation.h"

#include <math.h>

void tw_observation_init(struct tw_observation *observation)
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

    if (sample->error_ns < 0)
        observation->clock_error_unknown = true;
    if (sample->error_ns > observation->clock_error_ns)
        observation->clock_error_ns = sample->error_ns;

    if (sample->sender_ttl >= 0 && sample->sender_ttl != 255)
        observation->sender_ttl_filled = true;
    keep_if_told(sample->sender_ttl, &observation->sender_ttl);
    keep_if_told(sample->ttl, &observation->ttl);
    keep_if_told(sample->sender_tos, &observation->sender_tos);
    keep_if_told(sample->tos, &observation->tos);
}

static double hops(int16_t ttl)
{
    return ttl < 0 ? (double)NAN : 255 - ttl;
}

static double dscp(int16_t tos)
{
    return tos < 0 ? (double)NAN : tos >> 2;
}

bool tw_observation_ttl_unset(const struct tw_observation *observation)
{
    const bool hops_away = observation->ttl >= 0 && observation->ttl < 255;
    const bool told = observation->sender_ttl >= 0;
    return told && hops_away && !observation->sender_ttl_filled;
}

double tw_observation_hops_forward(const struct tw_observation *observation)
{
    return tw_observation_ttl_unset(observation) ? (double)NAN : hops(observation->sender_ttl);
}

double tw_observation_hops_reverse(const struct tw_observation *observation)
{
    return hops(observation->ttl);
}

double tw_observation_dscp_forward(const struct tw_observation *observation)
{
    return dscp(observation->sender_tos);
}

double tw_observation_dscp_reverse(const struct tw_observation *observation)
{
    return dscp(observation->tos);
}
