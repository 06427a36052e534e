/* A simulated path for the statistics: packets that are lost, doubled, delayed and reordered on
 * each way, and the samples that a Session-Sender would make of the replies. Also the memory that
 * the statistics need, and a session's summary.
 *
 * TWAMP_SEED in the environment repeats a run; the seed is printed. */
#ifndef TW_TESTS_UNIT_STATS_PATH_H
#define TW_TESTS_UNIT_STATS_PATH_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/stats.h"
#include "seed.h"

enum {
    LARGE = 1 << 17,
    MOST_SENT = 2000,
    MOST_REPLIES = MOST_SENT * 9, /* each packet tripled each way */
};

#define US TW_NS_PER_US
#define MS TW_NS_PER_MS

static uint64_t seed;
static uint64_t random_state;
static struct tw_stats_packet packets[LARGE];
static struct tw_histogram histograms[TW_STATS_HISTOGRAMS];
static int64_t scratch[LARGE];

static inline uint64_t next_random(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 31;
}

static inline void seed_randomly(void)
{
    seed = seed_or((uint64_t)time(NULL));
    random_state = seed;
}

static inline int64_t below(int64_t bound)
{
    return (int64_t)(next_random() % (uint64_t)bound);
}

static inline bool chance(int64_t percent)
{
    return below(100) < percent;
}

struct path {
    uint32_t sent, first_sequence, first_reflector_sequence;
    bool counts, stateful;
    int64_t loss_forward, loss_reverse, duplication_forward, duplication_reverse, late;
    int64_t contradictory;       /* T3 before T2 */
    int64_t spread_ns;           /* of delays: beyond the 1 ms between packets they reorder */
    int64_t offset_ns;           /* of the reflector's clock */
    int64_t step_at_ns, step_ns; /* of the sender's, at a true time */
    int64_t wait_ns;
};

struct visit {
    uint32_t position;
    int64_t t1, at;
};

static struct visit visits[MOST_REPLIES];
static struct tw_sample replies[MOST_REPLIES];
static size_t reply_count;

static inline int by_visit(const void *a, const void *b)
{
    const struct visit *x = a;
    const struct visit *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->position < y->position ? -1 : 1;
}

static inline int by_arrival(const void *a, const void *b)
{
    const struct tw_sample *x = a;
    const struct tw_sample *y = b;
    if (x->t4.ns != y->t4.ns)
        return x->t4.ns < y->t4.ns ? -1 : 1;
    return (x->t3.ns > y->t3.ns) - (x->t3.ns < y->t3.ns);
}

static inline int64_t copies(int64_t loss, int64_t duplication)
{
    if (chance(loss))
        return 0;
    return chance(duplication) ? 2 + below(2) : 1;
}

static inline size_t send_all(const struct path *path)
{
    size_t n = 0;
    for (uint32_t i = 0; i < path->sent; i++) {
        int64_t t1 = i * MS + below(100 * US);
        int64_t slow = chance(path->late) ? path->wait_ns - 5 * MS : 0;
        for (int64_t c = copies(path->loss_forward, path->duplication_forward); c > 0; c--)
            visits[n++] = (struct visit){i, t1, t1 + 5 * MS + slow + below(path->spread_ns)};
    }
    qsort(visits, n, sizeof(visits[0]), by_visit);
    return n;
}

static inline struct tw_sample reflected(const struct path *path, const struct visit *visit,
                                         uint32_t number)
{
    struct tw_sample sample = {
        .sequence = path->first_sequence + visit->position,
        .t1 = {visit->t1},
        .t2 = {visit->at + path->offset_ns},
        .sender_ttl = -1,
        .ttl = -1,
        .sender_tos = -1,
        .tos = -1,
        .error_ns = -1,
    };
    sample.reflector_sequence =
        path->counts ? path->first_reflector_sequence + number : sample.sequence;
    sample.t3.ns =
        sample.t2.ns + (chance(path->contradictory) ? -1 - below(1000) : below(200 * US));
    return sample;
}

/* Turns true times of the sender into what its clock showed. */
static inline void step_clock(const struct path *path, struct tw_sample *sample)
{
    int64_t ahead = sample->t4.ns >= path->step_at_ns ? path->step_ns : 0;
    sample->t4.ns += ahead;
    if (sample->t1.ns >= path->step_at_ns) {
        sample->clock_offset_ns = path->step_ns;
        sample->t1.ns += path->step_ns;
        ahead = 0;
    }
    tw_sample_compute(sample, 0, ahead);
}

/* Fills `replies` in order of arrival, flagged as a Session-Sender would. */
static inline void run_path(const struct path *path)
{
    size_t n = send_all(path);
    reply_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct tw_sample sample = reflected(path, &visits[i], (uint32_t)i);
        for (int64_t c = copies(path->loss_reverse, path->duplication_reverse); c > 0; c--) {
            sample.t4.ns = visits[i].at + 300 * US + 5 * MS + below(path->spread_ns);
            replies[reply_count++] = sample;
        }
    }
    qsort(replies, reply_count, sizeof(replies[0]), by_arrival);
    for (size_t i = 0; i < reply_count; i++) {
        if (replies[i].t4.ns - replies[i].t1.ns > path->wait_ns)
            replies[i].flags |= TW_SAMPLE_LATE;
        for (size_t j = 0; j < i; j++)
            if (replies[j].sequence == replies[i].sequence)
                replies[i].flags |= TW_SAMPLE_DUPLICATE;
    }
    for (size_t i = 0; i < reply_count; i++)
        step_clock(path, &replies[i]);
}

static inline struct path random_path(void)
{
    struct path path = {
        .sent = 1 + (uint32_t)below(chance(20) ? 8 : 150),
        .counts = chance(70),
        .spread_ns = chance(50) ? 500 * US : 1 + below(12 * MS),
        .offset_ns = below(4 * TW_NS_PER_S) - 2 * TW_NS_PER_S,
        .wait_ns = 60 * MS,
    };
    path.stateful = path.counts && chance(70);
    int64_t *rates[] = {&path.loss_forward,        &path.loss_reverse, &path.duplication_forward,
                        &path.duplication_reverse, &path.late,         &path.contradictory};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
        *rates[i] = chance(50) ? 0 : below(chance(10) ? 101 : 30);
    if (chance(5))
        path.contradictory = 100; /* of whole sessions it is too rare with the rates above */
    if (chance(40)) {
        path.step_at_ns = below(path.sent * MS + 20 * MS);
        path.step_ns =
            (chance(50) ? 1 : -1) * (MS + 1 + below(chance(50) ? 20 * MS : 9 * 1000 * MS));
    }
    if (chance(50))
        path.first_sequence = path.first_reflector_sequence = 0u - (uint32_t)below(100);
    return path;
}

static inline struct tw_summary summarise(const struct path *path, uint32_t capacity)
{
    struct tw_stats stats;
    struct tw_summary summary;
    const struct tw_stats_config config = {
        .stateful = path->stateful,
        .first_sequence = path->first_sequence,
        .first_reflector_sequence = path->first_reflector_sequence,
        .packets = packets,
        .capacity = capacity,
        .histograms = histograms,
    };
    tw_stats_init(&stats, &config);
    for (size_t i = 0; i < reply_count; i++)
        tw_stats_add(&stats, &replies[i]);
    tw_stats_finish(&stats, path->sent, scratch, &summary);
    return summary;
}

static inline void check_close(double got, double expected)
{
    if (isnan(expected))
        assert_true(isnan(got));
    else
        assert_true(fabs(got - expected) <= 1e-3 + 1e-12 * fabs(expected));
}

#endif
