/* One target of an engine: its probe, with the memory and the kernel's things that belong to it.
 *
 * Made on the owner's thread while nothing runs, used by the engine's thread. */
#ifndef TW_SYS_TARGET_H
#define TW_SYS_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/probe.h"
#include "lib/sys/control.h"
#include "lib/sys/engine.h"
#include "lib/sys/heap.h"
#include "lib/sys/target_key.h"
#include "lib/sys/test_sockets.h"

struct tw_target {
    struct tw_heap_item deadline;
    struct tw_test_member member;
    struct tw_control control;
    struct tw_target *next_touched;
    bool touched; /* something happened in this turn of the loop: it must be served */
    bool expired; /* its deadline was served in this turn */

    size_t index;
    char *host;
    char *device;             /* NULL: any */
    int family;               /* of the addresses asked for: 4, 6 or 0 */
    struct tw_address source; /* family 0: any; the port is the test packets' */
    char *source_zone;        /* its interface; NULL: source.scope */
    struct tw_target_key key;
    void *user;
    struct tw_probe_config config;
    struct tw_probe_storage storage; /* scratch is the engine's */
    struct tw_probe probe;
};

/* Copies what `spec` names. 0 or -errno: -EINVAL when it makes no sense (see tw_engine_add),
 * -ENOMEM. */
int tw_target_new(const struct tw_engine_target *spec, size_t index, struct tw_target **out);
void tw_target_free(struct tw_target *target);

struct tw_target *tw_target_of_deadline(struct tw_heap_item *item);
struct tw_target *tw_target_of_member(struct tw_test_member *member);

#endif
