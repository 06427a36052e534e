/* Reads the machine's clocks, for every driver of the core.
 *
 * Both clocks come from the vDSO, so that a reading costs no system call; adjtimex does and is
 * asked once a second. Nothing here disciplines a clock or judges a peer's. */
#include "lib/sys/clock.h"

#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>

#define REFRESH_NS        TW_NS_PER_S
#define DEFAULT_FLOOR_NS  TW_NS_PER_MS
#define UNKNOWN_ERROR_NS  (INT64_C(16) * TW_NS_PER_S) /* the kernel's NTP_PHASE_LIMIT */
#define DEFAULT_TAI_UTC_S 37

/* Two reads of the monotonic clock that lie further apart were interrupted; reading again is
 * cheaper than the error. A slow machine gets the best of a few attempts. */
#define CLOSE_READS_NS (INT64_C(2) * TW_NS_PER_US)
enum { ATTEMPTS = 4 };

/* The wall clock counts as undisturbed since a reading when no more than this seems to have passed:
 * a batch takes less, and a clock step of this size is what marks a sample as an anomaly. */
#define FRESH_NS TW_NS_PER_MS

/* A suspend takes longer; what the two clocks may differ by otherwise is far less. */
#define SUSPENDED_NS (100 * TW_NS_PER_MS)

static int64_t read_ns(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0)
        abort(); /* only for a clock that does not exist */
    return tw_clock_ns(&t);
}

tw_mono tw_clock_mono(void)
{
    return (tw_mono){read_ns(CLOCK_MONOTONIC)};
}

static void refresh_quality(struct tw_clock *clock, tw_mono now)
{
    struct timex kernel = {.modes = 0};
    struct tw_clock_quality quality = {
        .synchronized = false,
        .error_ns = UNKNOWN_ERROR_NS,
        .tai_utc_s = DEFAULT_TAI_UTC_S,
    };
    /* Fails in a service with ProtectClock= or a seccomp filter: then nothing is known. */
    if (adjtimex(&kernel) >= 0) {
        if (kernel.maxerror >= 0)
            quality.error_ns = (int64_t)kernel.maxerror * TW_NS_PER_US;
        quality.synchronized =
            (kernel.status & STA_UNSYNC) == 0 && quality.error_ns < UNKNOWN_ERROR_NS;
        if (kernel.tai != 0)
            quality.tai_utc_s = kernel.tai;
    }
    if (quality.error_ns < clock->error_floor_ns)
        quality.error_ns = clock->error_floor_ns;
    clock->quality = quality;
    clock->error = tw_error_encode(quality.error_ns, quality.synchronized);
    clock->refresh_at = tw_mono_after(now, REFRESH_NS);
}

/* CLOCK_MONOTONIC stands still while the host is suspended, CLOCK_BOOTTIME does not. In this order
 * an interruption in between makes it too little, never too much. */
static int64_t read_suspended_ns(const struct tw_clock *clock)
{
    const int64_t boot_ns = read_ns(CLOCK_BOOTTIME);
    return boot_ns - read_ns(CLOCK_MONOTONIC) + clock->test_suspended_ns;
}

bool tw_clock_was_suspended(struct tw_clock *clock)
{
    const int64_t suspended_ns = read_suspended_ns(clock);
    if (suspended_ns - clock->suspended_ns <= SUSPENDED_NS)
        return false;
    clock->suspended_ns = suspended_ns;
    return true;
}

void tw_clock_init(struct tw_clock *clock, int64_t error_floor_ns)
{
    *clock = (struct tw_clock){
        .error_floor_ns = error_floor_ns > 0 ? error_floor_ns : DEFAULT_FLOOR_NS,
    };
    clock->suspended_ns = read_suspended_ns(clock);
    for (int i = 1; i < ATTEMPTS; i++) {
        const int64_t suspended_ns = read_suspended_ns(clock);
        if (suspended_ns > clock->suspended_ns)
            clock->suspended_ns = suspended_ns;
    }
    refresh_quality(clock, tw_clock_mono());
}

/* Returns how long that took: the two are of one instant to within half of it. */
static int64_t read_both(struct tw_reading *reading)
{
    int64_t best_ns = INT64_MAX;
    for (int i = 0; i < ATTEMPTS && best_ns > CLOSE_READS_NS; i++) {
        const int64_t before = read_ns(CLOCK_MONOTONIC);
        const int64_t wall = read_ns(CLOCK_REALTIME);
        const int64_t gap_ns = read_ns(CLOCK_MONOTONIC) - before;
        if (gap_ns >= best_ns)
            continue;
        best_ns = gap_ns;
        reading->mono.ns = before + gap_ns / 2;
        reading->wall.ns = wall;
    }
    return best_ns;
}

int64_t tw_clock_offset(int64_t *apart_ns)
{
    struct tw_reading reading;
    *apart_ns = read_both(&reading);
    return reading.wall.ns - reading.mono.ns;
}

struct tw_reading tw_clock_read(struct tw_clock *clock)
{
    struct tw_reading reading;
    (void)read_both(&reading);
    reading.wall.ns += clock->test_offset_ns;
    if (tw_mono_reached(clock->refresh_at, reading.mono))
        refresh_quality(clock, reading.mono);
    reading.error = clock->error;
    return reading;
}

struct tw_reading tw_clock_departure(const struct tw_clock *clock, const struct tw_reading *reading)
{
    struct tw_reading departure = *reading;
    departure.wall.ns = read_ns(CLOCK_REALTIME) + clock->test_offset_ns;
    const int64_t passed_ns = departure.wall.ns - reading->wall.ns;
    /* After a long time, or a step of the wall clock, only the monotonic clock knows how long. */
    if (passed_ns >= 0 && passed_ns <= FRESH_NS)
        departure.mono.ns += passed_ns;
    else
        departure.mono = tw_clock_mono();
    return departure;
}
