/* Deadlines in a heap: the main loop's and each worker's. Owned by one thread. */
#ifndef TWD_TIMERS_H
#define TWD_TIMERS_H

#include <glib.h>

#include "lib/time.h"

/* Embedded in what it is for; zeroed means not armed. */
struct twd_timer {
    void (*expire)(struct twd_timer *timer, tw_mono now);
    void *owner;
    tw_mono at;
    guint place; /* in the heap, counted from 1; 0: not armed */
};

struct twd_timers {
    GPtrArray *heap;
};

void twd_timers_init(struct twd_timers *timers);

/* Timers that are still armed are forgotten, not called. */
void twd_timers_free(struct twd_timers *timers);

/* Sets or moves the deadline; TW_NEVER disarms. O(log n). */
void twd_timers_arm(struct twd_timers *timers, struct twd_timer *timer, tw_mono at);
void twd_timers_disarm(struct twd_timers *timers, struct twd_timer *timer);

/* The earliest deadline; TW_NEVER if none. */
tw_mono twd_timers_next(const struct twd_timers *timers);

/* Disarms and calls each timer whose deadline has been reached. A run ends even when timers arm
 * themselves anew for the past: it makes as many calls as there were timers, at most. */
void twd_timers_run(struct twd_timers *timers, tw_mono now);

#endif
