/* Mean, deviation, extremes and percentiles of one delay; see distribution.h for what clock offsets
 * have to do with it. */
#include "lib/distribution.h"

#include <math.h>

/* Welford. */
void tw_distribution_add(struct tw_distribution *distribution, int64_t value)
{
    if (distribution->n++ == 0)
        distribution->first = distribution->min = distribution->max = value;
    if (value < distribution->min)
        distribution->min = value;
    if (value > distribution->max)
        distribution->max = value;
    double x = (double)tw_distribution_difference(value, distribution->first);
    double before = x - distribution->mean;
    distribution->mean += before / (double)distribution->n;
    distribution->m2 += before * (x - distribution->mean);
}

double tw_distribution_mean(const struct tw_distribution *distribution)
{
    if (distribution->n == 0)
        return (double)NAN;
    return (double)distribution->first + distribution->mean;
}

double tw_distribution_stddev(const struct tw_distribution *distribution)
{
    if (distribution->n < 2)
        return (double)NAN;
    return sqrt(distribution->m2 / (double)(distribution->n - 1));
}

static void sift_down(int64_t *values, size_t root, size_t n)
{
    int64_t value = values[root];
    for (size_t child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && values[child + 1] > values[child])
            child++;
        if (values[child] <= value)
            break;
        values[root] = values[child];
        root = child;
    }
    values[root] = value;
}

/* Heapsort: no memory, and no input that makes it slow. */
void tw_distribution_sort(int64_t *values, size_t n)
{
    for (size_t i = n / 2; i > 0; i--)
        sift_down(values, i - 1, n);
    for (size_t end = n; end > 1; end--) {
        int64_t largest = values[0];
        values[0] = values[end - 1];
        values[end - 1] = largest;
        sift_down(values, 0, end - 1);
    }
}

void tw_distribution_bin(struct tw_distribution *distribution, struct tw_histogram *pair,
                         int64_t value)
{
    if (!distribution->referenced) {
        distribution->reference = distribution->n > 0 ? distribution->min : value;
        distribution->referenced = true;
    }
    int64_t apart = tw_distribution_difference(value, distribution->reference);
    if (apart >= 0)
        tw_histogram_add(&pair[TW_DISTRIBUTION_ABOVE], (uint64_t)apart);
    else
        tw_histogram_add(&pair[TW_DISTRIBUTION_BELOW], 0 - (uint64_t)apart);
}

int64_t tw_distribution_percentile(const struct tw_distribution *distribution,
                                   const struct tw_histogram *pair, double percent)
{
    const struct tw_histogram *above = &pair[TW_DISTRIBUTION_ABOVE];
    const struct tw_histogram *below = &pair[TW_DISTRIBUTION_BELOW];
    uint64_t rank = tw_histogram_rank(percent, below->total + above->total);
    /* the smallest values are the farthest below */
    uint64_t apart = rank <= below->total ? 0 - tw_histogram_value(below, below->total - rank + 1)
                                          : tw_histogram_value(above, rank - below->total);
    int64_t value = (int64_t)((uint64_t)distribution->reference + apart);
    if (value < distribution->min)
        return distribution->min;
    return value > distribution->max ? distribution->max : value;
}
