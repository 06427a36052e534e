/* The seed of a test that draws: any run can be repeated with the TWAMP_SEED that it printed. */
#ifndef TW_TESTS_SEED_H
#define TW_TESTS_SEED_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* What the environment says, else the test's own; told as a comment of TAP. */
static inline uint64_t seed_or(uint64_t own)
{
    const char *given = getenv("TWAMP_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : own;
    printf("# TWAMP_SEED=%" PRIu64 "\n", seed);
    return seed;
}

#endif
