/* Percentiles of many values in little memory: counts in bins of bounded relative width.
 *
 * Values are unsigned nanoseconds (take the difference to some reference for signed ones). Below
 * 256 ns every value has its own bin; above, each power of two is cut into 128 bins, so that a
 * percentile is at most 0.4 % (1/256) away from the value it stands for. Minimum and maximum are
 * kept exactly elsewhere (stats.h). Counts are 64 bits wide: nothing overflows in the life of a
 * session. */
#ifndef TW_LIB_HISTOGRAM_H
#define TW_LIB_HISTOGRAM_H

#include <stdint.h>

/* Up to 2^40 ns, about 18 minutes; larger values count into the last bin. */
enum { TW_HISTOGRAM_BINS = 256 + 32 * 128 };

struct tw_histogram {
    uint64_t total;
    uint64_t bins[TW_HISTOGRAM_BINS];
};

void tw_histogram_init(struct tw_histogram *histogram);
void tw_histogram_add(struct tw_histogram *histogram, uint64_t value);

/* Nearest rank: ceil(percent * total / 100), at least 1 and at most `total`. 0 when total is 0. */
uint64_t tw_histogram_rank(double percent, uint64_t total);

/* The `rank`-th smallest value, counted from 1: the middle of its bin. 0 when the histogram has
 * fewer values. */
uint64_t tw_histogram_value(const struct tw_histogram *histogram, uint64_t rank);

/* The value at the nearest rank of `percent`, 0 < percent <= 100: the middle of its bin. 0 when the
 * histogram is empty. */
uint64_t tw_histogram_percentile(const struct tw_histogram *histogram, double percent);

#endif
