/* The command line of `load`. */
#ifndef BENCH_LOAD_OPTIONS_H
#define BENCH_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/address.h"

enum bench_load_kind {
    BENCH_LOAD_SESSIONS, /* of a TWAMP server, asked for by TWAMP-Control */
    BENCH_LOAD_FLOOR,    /* packets go straight to where they are to be turned round */
    BENCH_LOAD_UNKNOWN,  /* packets of no session: nothing is to come back */
};

enum { BENCH_LOAD_SECRET_MAX = 256 };

struct bench_load_options {
    enum bench_load_kind kind;
    struct tw_address server;
    struct tw_address sender; /* of the first session; family 0: whatever leads to the server */
    const char *mode_name;
    uint32_t mode; /* security bit */
    const char *keyid;
    char secret[BENCH_LOAD_SECRET_MAX];
    unsigned connections, sessions;
    size_t payload; /* octets of UDP payload */
    uint32_t window;
    uint64_t rate;
    bool in_bursts; /* see bench_socket_open */
    unsigned run;   /* packets of a session that follow each other */
    int64_t duration_ns, warm_up_ns;
    pid_t pid; /* 0: none */
};

/* False when it is wrong: then what is wrong, or how it is done, is on stderr. */
bool bench_load_options_read(struct bench_load_options *options, int argc, char **argv);

#endif
