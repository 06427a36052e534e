/* The machine's two clocks and what the kernel knows of their quality. Linux only. */
#ifndef TW_SYS_CLOCK_H
#define TW_SYS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "lib/time.h"

/* The state of the wall clock as the kernel tells it (adjtimex). */
struct tw_clock_quality {
    bool synchronized; /* not STA_UNSYNC, and error_ns is below 16 s */
    int64_t error_ns;  /* bound claimed: maxerror, at least the floor; what an unsynchronised clock
                          claims is the kernel's maxerror */
    int tai_utc_s;     /* 37 when the kernel does not know */
};

/* One per thread. */
struct tw_clock {
    int64_t error_floor_ns; /* smallest error claimed: some daemons report 0 */
    struct tw_clock_quality quality;
    uint16_t error; /* quality in wire form */
    tw_mono refresh_at;
    int64_t suspended_ns; /* for so long the host was suspended since its boot, as known so far */
    int64_t test_suspended_ns; /* added to that: how tests suspend a host that runs */
    int64_t test_offset_ns; /* added to the wall clock: how tests step a clock without setting it */
};

/* `error_floor_ns` 0: the default of 1 ms. If adjtimex is forbidden the clock counts as not
 * synchronised. */
void tw_clock_init(struct tw_clock *clock, int64_t error_floor_ns);

/* As the kernel tells an instant or a time. */
static inline int64_t tw_clock_ns(const struct timespec *t)
{
    return (int64_t)t->tv_sec * TW_NS_PER_S + t->tv_nsec;
}

tw_mono tw_clock_mono(void);

/* CLOCK_REALTIME less CLOCK_MONOTONIC; *apart_ns is how long reading them took, and what the result
 * may be off. Without any test's offset. */
int64_t tw_clock_offset(int64_t *apart_ns);

/* Both clocks, read as closely together as possible: the wall clock between two reads of the
 * monotonic one. Looks at the quality again once a second. */
struct tw_reading tw_clock_read(struct tw_clock *clock);

/* Whether the host was suspended, for more than a tenth of a second, since init or the last call
 * that said so. Costs two readings of clocks and no system call. */
bool tw_clock_was_suspended(struct tw_clock *clock);

/* Only the wall clock, for a departure that was prepared with `reading`: the cheapest call, with
 * the monotonic time and error of `reading` moved along. */
struct tw_reading tw_clock_departure(const struct tw_clock *clock,
                                     const struct tw_reading *reading);

#endif
