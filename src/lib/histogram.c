/* Counts in bins of bounded relative width; see histogram.h for who needs that and why.
 *
 * A value of 256 or more is shifted right until eight bits are left: the shift names the power of
 * two, the lower seven of the eight bits name the bin in it. */
#include "lib/histogram.h"

#include <string.h>

enum {
    LINEAR = 256,     /* values below have a bin each */
    PER_OCTAVE = 128, /* bins of each power of two above */
    OCTAVES = (TW_HISTOGRAM_BINS - LINEAR) / PER_OCTAVE,
};

static unsigned bin_of(uint64_t value)
{
    if (value < LINEAR)
        return (unsigned)value;
    unsigned shift = 56u - (unsigned)__builtin_clzll(value);
    if (shift > OCTAVES)
        return TW_HISTOGRAM_BINS - 1;
    return LINEAR + (shift - 1) * PER_OCTAVE + ((unsigned)(value >> shift) - PER_OCTAVE);
}

static uint64_t middle_of(unsigned bin)
{
    if (bin < LINEAR)
        return bin;
    unsigned shift = (bin - LINEAR) / PER_OCTAVE + 1;
    uint64_t lowest = (uint64_t)(PER_OCTAVE + (bin - LINEAR) % PER_OCTAVE) << shift;
    return lowest + (UINT64_C(1) << (shift - 1));
}

void tw_histogram_init(struct tw_histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

void tw_histogram_add(struct tw_histogram *histogram, uint64_t value)
{
    histogram->total++;
    histogram->bins[bin_of(value)]++;
}

uint64_t tw_histogram_rank(double percent, uint64_t total)
{
    double exact = percent * (double)total / 100.0;
    uint64_t rank = exact > 0 ? (uint64_t)exact : 0;
    if ((double)rank < exact)
        rank++;
    if (rank == 0)
        rank = 1;
    return rank < total ? rank : total;
}

uint64_t tw_histogram_value(const struct tw_histogram *histogram, uint64_t rank)
{
    if (rank == 0 || rank > histogram->total)
        return 0;
    unsigned bin = 0;
    for (uint64_t below = histogram->bins[0]; below < rank; below += histogram->bins[bin])
        bin++;
    return middle_of(bin);
}

uint64_t tw_histogram_percentile(const struct tw_histogram *histogram, double percent)
{
    return tw_histogram_value(histogram, tw_histogram_rank(percent, histogram->total));
}
