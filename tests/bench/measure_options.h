/* The command line of `measure`. */
#ifndef BENCH_MEASURE_OPTIONS_H
#define BENCH_MEASURE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/sys/engine.h"

enum { BENCH_MEASURE_SECRET_MAX = 256 };

struct bench_measure_options {
    char **hosts; /* of the command line */
    unsigned host_count;
    struct tw_address
        first; /* family 0: the targets are `hosts`; else the addresses from here on */
    unsigned targets;
    unsigned intervals;             /* of each target; 0: until told to end */
    struct tw_engine_target target; /* what all of them have in common: all but host and user */
    char secret[BENCH_MEASURE_SECRET_MAX];
    const char *samples, *measurements; /* files; NULL: not wanted */
};

/* False when it is wrong: then what is wrong, or how it is done, is on stderr. */
bool bench_measure_options_read(struct bench_measure_options *options, int argc, char **argv);

#endif
