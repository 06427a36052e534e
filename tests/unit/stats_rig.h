/* A session's statistics and the memory they need, led by a test: samples that are made up, and the
 * summary. */
#ifndef TW_TESTS_UNIT_STATS_RIG_H
#define TW_TESTS_UNIT_STATS_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>

#include "lib/stats.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

#define MS TW_NS_PER_MS

enum { CAPACITY = 1024 };

static struct tw_stats_packet packets[CAPACITY];
static struct tw_histogram histograms[TW_STATS_HISTOGRAMS];
static int64_t scratch[CAPACITY];
static struct tw_stats stats;
static struct tw_summary summary;

/* A reply to a packet sent at s milliseconds; the reflector's clock is 1 s ahead. */
static inline struct tw_sample reply(uint32_t s, uint32_t r, int64_t forward_ns, int64_t reverse_ns)
{
    struct tw_sample sample = {
        .sequence = s,
        .reflector_sequence = r,
        .t1 = {(int64_t)s * MS},
        .sender_ttl = -1,
        .ttl = -1,
        .sender_tos = -1,
        .tos = -1,
        .error_ns = -1,
    };
    sample.t2.ns = sample.t1.ns + TW_NS_PER_S + forward_ns;
    sample.t3.ns = sample.t2.ns + 100;
    sample.t4.ns = sample.t3.ns - TW_NS_PER_S + reverse_ns;
    tw_sample_compute(&sample, 0, 0);
    return sample;
}

static inline void begin(struct tw_stats_config config)
{
    config.packets = packets;
    if (config.capacity == 0)
        config.capacity = CAPACITY;
    tw_stats_init(&stats, &config);
}

static inline void begin_stateful(void)
{
    begin((struct tw_stats_config){.stateful = true});
}

static inline void feed(struct tw_sample sample)
{
    tw_stats_add(&stats, &sample);
}

static inline void feed_flagged(uint32_t s, uint32_t r, unsigned flags)
{
    struct tw_sample sample = reply(s, r, 5 * MS, 5 * MS);
    sample.flags |= flags;
    feed(sample);
}

/* Each reply has T2 and T3 of its own unless it repeats the pair before. */
static inline void feed_pairs(const uint32_t (*pairs)[2], size_t n)
{
    int64_t forward = 5 * MS;
    for (size_t i = 0; i < n; i++) {
        bool again = i > 0 && pairs[i][0] == pairs[i - 1][0] && pairs[i][1] == pairs[i - 1][1];
        forward += again ? 0 : 1;
        feed(reply(pairs[i][0], pairs[i][1], forward, 5 * MS));
    }
}

static inline void finish(uint64_t sent)
{
    tw_stats_finish(&stats, sent, scratch, &summary);
}

static inline void check_loss(uint32_t lost, uint32_t forward, uint32_t reverse, uint32_t undecided)
{
    assert_true(summary.direction_known);
    assert_int_equal(summary.lost, lost);
    assert_int_equal(summary.lost_forward, forward);
    assert_int_equal(summary.lost_reverse, reverse);
    assert_int_equal(summary.lost_undecided, undecided);
}

static inline void check_no_delays(const struct tw_summary *s)
{
    const struct tw_delay *delays[] = {&s->rtt, &s->rtt_total, &s->forward, &s->reverse,
                                       &s->processing};
    for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
        const struct tw_delay *d = delays[i];
        assert_int_equal(d->n, 0);
        assert_true(isnan(d->min) && isnan(d->mean) && isnan(d->max) && isnan(d->stddev));
        assert_true(isnan(d->p50) && isnan(d->p95) && isnan(d->p99));
    }
    const struct tw_variation *variations[] = {&s->rtt_variation, &s->forward_variation,
                                               &s->reverse_variation};
    for (size_t i = 0; i < ARRAY_SIZE(variations); i++) {
        assert_int_equal(variations[i]->pairs, 0);
        assert_true(isnan(variations[i]->jitter) && isnan(variations[i]->pdv_p95));
    }
    assert_true(isnan(s->offset_estimate));
    assert_false(s->one_way_valid);
}

#endif
