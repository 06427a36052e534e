/* The engine's inside: what its two files share. engine.c makes and ends it, engine_loop.c runs it.
 *
 * Everything below `while it runs` belongs to the thread in tw_engine_run. */
#ifndef TW_SYS_ENGINE_LOOP_H
#define TW_SYS_ENGINE_LOOP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/sys/clock.h"
#include "lib/sys/engine.h"
#include "lib/sys/heap.h"
#include "lib/sys/resolver.h"
#include "lib/sys/target.h"
#include "lib/sys/test_sockets.h"
#include "lib/sys/udp.h"

/* Epoll data: what kind of descriptor it is, and which one. */
#define TW_TAG_TARGET   (UINT64_C(1) << 32)
#define TW_TAG_SOCKET   (UINT64_C(2) << 32)
#define TW_TAG_RESOLVER (UINT64_C(3) << 32)
#define TW_TAG_TIMER    (UINT64_C(4) << 32)
#define TW_TAG_STOP     (UINT64_C(5) << 32)
#define TW_TAG_KIND     (~UINT64_C(0) << 32)
#define TW_TAG_NUMBER   (~TW_TAG_KIND)

/* tw_engine.armed when the timer has fired, and stays ready until it is set again. */
#define TW_NOT_ARMED ((tw_mono){-1})

struct tw_engine {
    struct tw_engine_config config;
    struct tw_target **targets;
    size_t count, capacity;
    int64_t *scratch;
    uint32_t scratch_count;
    int stop; /* eventfd */
    struct tw_udp_batch *in, *out;
    struct tw_heap heap; /* of deadlines; room for all targets */
    _Atomic uint64_t kernel_drops, unknown, send_failures;

    /* while it runs */
    struct tw_clock clock;
    struct tw_random random;
    struct tw_target *touched;
    struct tw_test_sockets sockets;
    struct tw_resolver *resolver;
    int epoll, timer;
    tw_mono armed; /* what the timer is set to; TW_NOT_ARMED: it has fired */
};

/* With all descriptors open: starts every target, serves them until the stop or an error, and says
 * goodbye. 0 or -errno. */
int tw_engine_loop(struct tw_engine *engine);

#endif
