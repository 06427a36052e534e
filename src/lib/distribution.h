/* How the values of one delay are distributed: mean and deviation, extremes, percentiles.
 *
 * For the statistics (stats.h). Values are signed nanoseconds and may carry a clock offset of any
 * size: sums are of differences to the first value and histograms of differences to a reference, so
 * that an offset costs no precision. Differences are taken modulo 2^64. */
#ifndef TW_LIB_DISTRIBUTION_H
#define TW_LIB_DISTRIBUTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/histogram.h"

/* All zero is the empty one. */
struct tw_distribution {
    uint64_t n;
    int64_t first, min, max; /* exact; without meaning while n is 0 */
    double mean, m2;         /* of value - first; private */
    int64_t reference;       /* of the binned values; private */
    bool referenced;
};

static inline int64_t tw_distribution_difference(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

void tw_distribution_add(struct tw_distribution *distribution, int64_t value);

/* NaN when n is 0. */
double tw_distribution_mean(const struct tw_distribution *distribution);

/* Of the sample (n - 1); NaN when n is below 2. */
double tw_distribution_stddev(const struct tw_distribution *distribution);

/* Ascending, in place. */
void tw_distribution_sort(int64_t *values, size_t n);

/* Values also go, now or later than into add(), into a pair of histograms of their distance above
 * and below a reference: the minimum when the first of them is binned. */
enum { TW_DISTRIBUTION_ABOVE, TW_DISTRIBUTION_BELOW, TW_DISTRIBUTION_PAIR };
void tw_distribution_bin(struct tw_distribution *distribution, struct tw_histogram *pair,
                         int64_t value);

/* Nearest rank over the binned values, 0 < percent <= 100; at most 0.4 % of its distance to the
 * reference away and never outside [min, max]. n must not be 0. */
int64_t tw_distribution_percentile(const struct tw_distribution *distribution,
                                   const struct tw_histogram *pair, double percent);

#endif
