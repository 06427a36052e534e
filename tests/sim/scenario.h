/* What scenarios have in common: the target's plan, worlds made from it, and the truth to hold
 * measurements against. */
#ifndef TW_TESTS_SIM_SCENARIO_H
#define TW_TESTS_SIM_SCENARIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "seed.h"
#include "sim/sim.h"

#define MS TW_NS_PER_MS
#define S  TW_NS_PER_S

/* Ten packets 100 ms apart, lost after 2 s, every 10 s. */
static inline struct tw_probe_config plan(void)
{
    return (struct tw_probe_config){
        .interval_ns = 10 * S,
        .phase_ns = 1 * S,
        .count = 10,
        .packet_interval_ns = 100 * MS,
        .timeout_ns = 2 * S,
        .connect_ns = 2 * S,
        .resolve_ns = 60 * S,
        .control_port = 862,
        .stateful = true,
        .client = {.mode = TW_MODE_UNAUTHENTICATED, .step_ns = 2 * S},
        .sender = {.padding_length = 27, .wait_ns = 2 * S},
    };
}

/* Interval i of plan() begins at 1 s + 10 s * i and its result is final long before this. */
static inline int64_t after_interval(unsigned i)
{
    return 10 * S * ((int64_t)i + 1) + S - MS;
}

static inline struct sim *new_world(void)
{
    struct tw_probe_config config = plan();
    return sim_new(&config, 1);
}

static inline const struct tw_measurement *result(const struct sim *sim, size_t i)
{
    const struct tw_measurement *all;
    size_t n = sim_measurements(sim, &all);
    assert_true(i < n);
    return &all[i];
}

static inline size_t results(const struct sim *sim)
{
    const struct tw_measurement *all;
    return sim_measurements(sim, &all);
}

static inline const struct tw_measurement *last_result(const struct sim *sim)
{
    return result(sim, results(sim) - 1);
}

static inline void assert_near(double value, double truth, double tolerance)
{
    if (!(fabs(value - truth) <= tolerance))
        fail_msg("%.3f is not within %.3f of %.3f", value, tolerance, truth);
}

/* A timestamp of the wire resolves a quarter of a nanosecond; four of them make a round trip. */
enum { WIRE_NS = 2 };

static inline void assert_clean(const struct tw_measurement *m)
{
    assert_int_equal(m->state, TW_MEASUREMENT_OK);
    assert_true(m->session);
    assert_int_equal(m->summary.sent, 10);
    assert_int_equal(m->summary.received, 10);
    assert_int_equal(m->summary.lost, 0);
    assert_int_equal(m->summary.duplicates, 0);
    assert_int_equal(m->summary.reordered, 0);
    assert_int_equal(m->summary.clock_anomalies, 0);
    assert_near(m->summary.rtt.mean, 2 * MS, WIRE_NS);
}

static inline void assert_no_session(const struct tw_measurement *m,
                                     enum tw_measurement_state state)
{
    assert_int_equal(m->state, state);
    assert_false(m->session);
    assert_int_equal(m->summary.sent, 0);
    assert_true(isnan(m->summary.rtt.mean));
    assert_true(isnan(m->summary.forward.mean));
}

/* Fates by number: a list ended by UINT64_MAX. */
struct script {
    const uint64_t *lost;
    const uint64_t *doubled;
    const uint64_t *slow;
    int64_t extra_ns;
};

static inline bool listed(const uint64_t *list, uint64_t n)
{
    for (; list != NULL && *list != UINT64_MAX; list++)
        if (*list == n)
            return true;
    return false;
}

static inline struct sim_fate follow(void *user, uint64_t n)
{
    const struct script *script = user;
    struct sim_fate fate = {.copies = listed(script->lost, n)      ? 0
                                      : listed(script->doubled, n) ? 2
                                                                   : 1};
    if (listed(script->slow, n))
        fate.extra_ns = script->extra_ns;
    return fate;
}

#define LIST(...)                                                                                  \
    (const uint64_t[])                                                                             \
    {                                                                                              \
        __VA_ARGS__, UINT64_MAX                                                                    \
    }

static inline void obey(struct sim_link *link, struct script *script)
{
    link->fate = follow;
    link->user = script;
}

/* Loss, duplication and jitter of both directions, another combination in each run; which packets
 * they hit is the seed's. */
static inline void impair(struct sim *sim, uint64_t run)
{
    sim_forward(sim)->loss = (double)(run % 5) * 0.1;
    sim_reverse(sim)->loss = (double)(run / 5 % 5) * 0.1;
    sim_forward(sim)->duplication = (double)(run % 3) * 0.1;
    sim_reverse(sim)->duplication = (double)(run / 3 % 3) * 0.1;
    sim_forward(sim)->jitter_ns = (int64_t)(run % 4) * 30 * MS + 1;
    sim_reverse(sim)->jitter_ns = (int64_t)(run / 4 % 4) * 30 * MS + 1;
}

/* Copies of replies that came: packets answered and duplicates. */
static inline uint64_t arrived(struct sim *sim)
{
    return sim_reverse(sim)->n - sim_reverse(sim)->lost + sim_reverse(sim)->doubled;
}

#endif
