/* SIGTERM, SIGINT and SIGHUP as events of the main loop.
 *
 * They stay blocked in all threads, for good, and are read from a descriptor. No handler runs,
 * which a sanitizer could lose, and at the end a second SIGTERM has no default effect that would
 * cut it short. Main thread only. */
#ifndef TWD_SIGNALS_H
#define TWD_SIGNALS_H

#include <glib.h>
#include <stdbool.h>

#include "reflector/poller.h"

struct twd_signals {
    struct twd_watch watch;
    struct twd_poller *poller; /* NULL: they are not taken */
    void (*came)(void *user, int number);
    void *user;
};

/* Before any thread begins: what comes from now on waits for twd_signals_begin. */
void twd_signals_hold(void);

/* Calls `came`, which is set by the caller, for each signal; the poller must outlive it. */
bool twd_signals_begin(struct twd_signals *signals, struct twd_poller *poller, GError **error);

/* They have no effect any more. After a begin that failed, or none, it does nothing. */
void twd_signals_end(struct twd_signals *signals);

#endif
