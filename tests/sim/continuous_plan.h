/* The continuous session of the simulator's scenarios: ten packets in each interval of ten seconds,
 * whose result is final two seconds after its end. */
#ifndef TW_TESTS_CONTINUOUS_PLAN_H
#define TW_TESTS_CONTINUOUS_PLAN_H

#include "sim/scenario.h"

/* Ten packets, each in the middle of a second, lost after 2 s. */
static inline struct tw_probe_config continuous_plan(void)
{
    struct tw_probe_config config = plan();
    config.continuous = true;
    config.packet_interval_ns = 1 * S;
    return config;
}

static inline int64_t begin_of(size_t i)
{
    return 1 * S + 10 * S * (int64_t)i;
}

/* The result of interval i is final by then, and not a millisecond earlier. */
static inline int64_t told(size_t i)
{
    return begin_of(i + 1) + 2 * S;
}

static inline struct sim *new_continuous(void)
{
    const struct tw_probe_config config = continuous_plan();
    return sim_new(&config, 1);
}

#endif
