/* The main loop's descriptors and deadlines behind one GSource.
 *
 * poll() over thousands of connections is what a GMainContext would cost; here they are all under
 * one epoll descriptor, which is all that the context sees. Main thread only. */
#ifndef TWD_POLLER_H
#define TWD_POLLER_H

#include <glib.h>
#include <stdint.h>

#include "reflector/timers.h"

/* Embedded in what owns the descriptor. */
struct twd_watch {
    void (*ready)(struct twd_watch *watch, uint32_t events); /* EPOLL* */
    void *owner;
    int fd;
    uint32_t events; /* asked for */
};

struct twd_poller;

/* Attached to the default context. NULL with an error when the kernel has no descriptor left. */
struct twd_poller *twd_poller_new(GError **error);
void twd_poller_free(struct twd_poller *poller);

/* Level-triggered; 0 or -errno. After remove() the watch is not called again, not even for events
 * that were already found: it may be freed within any callback. */
int twd_poller_add(struct twd_poller *poller, struct twd_watch *watch, uint32_t events);
void twd_poller_change(struct twd_poller *poller, struct twd_watch *watch, uint32_t events);
void twd_poller_remove(struct twd_poller *poller, struct twd_watch *watch);

/* TW_NEVER disarms, which is needed before the timer's owner is freed. */
void twd_poller_arm(struct twd_poller *poller, struct twd_timer *timer, tw_mono at);

#endif
