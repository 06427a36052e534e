/* The engine's inside: what its files share. engine.c makes and ends it, engine_loop.c runs it,
 * with test packets in engine_packets.c and keys in engine_keys.c.
 *
 * Everything below `while it runs` belongs to the thread in tw_engine_run. */
#ifndef TW_SYS_ENGINE_LOOP_H
#define TW_SYS_ENGINE_LOOP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "lib/crypto.h"
#include "lib/sys/clock.h"
#include "lib/sys/deriver.h"
#include "lib/sys/engine.h"
#include "lib/sys/heap.h"
#include "lib/sys/nic_clock.h"
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
#define TW_TAG_DERIVER  (UINT64_C(6) << 32)
#define TW_TAG_KIND     (~UINT64_C(0) << 32)
#define TW_TAG_NUMBER   (~TW_TAG_KIND)

/* tw_engine.armed when the timer has fired, and stays ready until it is set again. */
#define TW_NOT_ARMED ((tw_mono){-1})

/* Keys handed over at a time: enough that no thread waits for its next. */
enum { TW_ENGINE_KEYS_ASKED = 4 };

/* One that is being derived. */
struct tw_engine_key {
    const struct tw_target *target; /* whose secret it is from; NULL: the place is free */
    struct tw_probe_salt salt;
};

struct tw_engine_keys {
    struct tw_engine_key asked[TW_ENGINE_KEYS_ASKED];
    uint64_t turn; /* the newest that was given to a target */
    bool wanted;   /* perhaps somebody waits whose key is not asked for */
};

struct tw_engine {
    struct tw_engine_config config;
    struct tw_target **targets;
    size_t count, capacity;
    int64_t *scratch;
    uint32_t scratch_count;
    int stop; /* eventfd */
    struct tw_udp_batch *in, *out;
    struct tw_heap heap; /* of deadlines; room for all targets */
    _Atomic uint64_t kernel_drops, unknown, send_failures, wrong_stamps;

    /* while it runs */
    struct tw_clock clock;
    struct tw_random random;
    struct tw_target *touched;
    struct tw_test_sockets sockets;
    struct tw_nic_clocks nics;
    struct tw_resolver *resolver;
    struct tw_deriver *deriver;
    struct tw_engine_keys keys;
    int tai_utc_s; /* as the targets have it */
    int epoll, timer;
    tw_mono armed; /* what the timer is set to; TW_NOT_ARMED: it has fired */
};

/* With all descriptors open: starts every target, serves them until the stop or an error, and says
 * goodbye. 0 or -errno. */
int tw_engine_loop(struct tw_engine *engine);

/* Something happened to the target: it is served before this turn of the loop ends. */
void tw_engine_touch(struct tw_engine *engine, struct tw_target *target);

/* Has the target served when its deadline, as it is now, has passed. */
void tw_engine_set_deadline(struct tw_engine *engine, struct tw_target *target, tw_mono now);

/* A test socket is readable or has errors. */
void tw_engine_take_datagrams(struct tw_engine *engine, const struct epoll_event *event,
                              tw_mono now);

/* Sends the packets of all targets in the socket's queue that are due. */
void tw_engine_send_due(struct tw_engine *engine, struct tw_test_socket *socket);

/* Answers the probe's KEY event, now or later by take_keys(): does not wait. */
void tw_engine_want_key(struct tw_engine *engine, struct tw_target *target,
                        const struct tw_probe_salt *salt, tw_mono now);

/* Hands over what is wanted and can be derived now; to be called in each turn. */
void tw_engine_ask_keys(struct tw_engine *engine);

/* The deriver has answers. */
void tw_engine_take_keys(struct tw_engine *engine, tw_mono now);

#endif
