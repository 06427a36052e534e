/* Instants, intervals and the timestamps of the wire.
 *
 * Two clocks that must never be mixed have two types: tw_mono for deadlines and pacing, tw_wall for
 * what is measured and sent. The core never reads a clock: every instant is an argument. All
 * intervals are signed nanoseconds in an int64_t named *_ns. */
#ifndef TW_LIB_TIME_H
#define TW_LIB_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define TW_NS_PER_US INT64_C(1000)
#define TW_NS_PER_MS INT64_C(1000000)
#define TW_NS_PER_S  INT64_C(1000000000)

/* CLOCK_MONOTONIC: deadlines and pacing only. */
typedef struct {
    int64_t ns;
} tw_mono;

/* CLOCK_REALTIME, nanoseconds since 1970-01-01 UTC: timestamps, and differences of two of one
 * clock. */
typedef struct {
    int64_t ns;
} tw_wall;

/* A deadline that never comes. Adding to it keeps it. */
#define TW_NEVER ((tw_mono){INT64_MAX})

static inline bool tw_mono_is_never(tw_mono t)
{
    return t.ns == INT64_MAX;
}

static inline bool tw_mono_reached(tw_mono deadline, tw_mono now)
{
    return deadline.ns <= now.ns;
}

static inline tw_mono tw_mono_earlier(tw_mono a, tw_mono b)
{
    return a.ns <= b.ns ? a : b;
}

/* Saturates at TW_NEVER; ns must not be negative. */
tw_mono tw_mono_after(tw_mono t, int64_t ns);

/* Both clocks read together, as closely as the driver can, with the wall clock's Error Estimate in
 * wire form (see tw_error_encode). wall - mono changes only when the wall clock is stepped. */
struct tw_reading {
    tw_mono mono;
    tw_wall wall;
    uint16_t error;
};

/* Who took a timestamp, best first. */
enum tw_source {
    TW_SOURCE_HARDWARE,
    TW_SOURCE_KERNEL,
    TW_SOURCE_USER,
};

/* "hardware", "kernel" or "user" (interface field timestamps{}). */
const char *tw_source_name(enum tw_source source);

/* What the driver knows of a datagram's arrival. */
struct tw_arrival {
    tw_wall at;             /* T4, or T2 at a reflector */
    enum tw_source source;  /* of `at` */
    struct tw_reading read; /* both clocks when the datagram was read from the socket */
    int16_t ttl;            /* -1 unknown */
    int16_t tos;            /* TOS or Traffic Class octet; -1 unknown */
};

/* A timestamp as on the wire, so that it can be echoed bit for bit: 64 bits of NTP or, when the
 * error's Z bit says so, truncated PTPv2 format (RFC 5905, RFC 8186), and its Error Estimate. */
struct tw_stamp {
    uint64_t bits;
    uint16_t error;
};

/* Error Estimate, RFC 4656 section 4.1.2 and RFC 8186 section 2.1. */
#define TW_ERROR_SYNCHRONIZED 0x8000u
#define TW_ERROR_PTP          0x4000u

/* NTP 64-bit format (RFC 4656 section 4.1.2): seconds since 1900 in the high 32 bits, 2^-32 s in
 * the low ones; the fraction is rounded to nearest. */
uint64_t tw_ntp_from_wall(tw_wall t);

/* The instant that `bits` names, in the NTP era that puts it within 68 years of `near`; rounded to
 * the nearest nanosecond, so that tw_wall -> NTP -> tw_wall is exact. */
tw_wall tw_wall_from_ntp(uint64_t bits, tw_wall near);

/* Truncated PTPv2 format (RFC 8186): low 32 bits of PTP seconds, then nanoseconds. PTP time is TAI:
 * `tai_utc_s` is TAI - UTC in seconds (37 since 2017). */
uint64_t tw_ptp_from_wall(tw_wall t, int tai_utc_s);
tw_wall tw_wall_from_ptp(uint64_t bits, tw_wall near, int tai_utc_s);

/* A stamp in PTP or else NTP format. The Z bit that the error comes with is replaced by the right
 * one. */
struct tw_stamp tw_stamp_from_wall(tw_wall t, uint16_t error, bool ptp, int tai_utc_s);

/* Reads a stamp by the Z bit of its own Error Estimate. */
tw_wall tw_wall_from_stamp(struct tw_stamp stamp, tw_wall near, int tai_utc_s);

/* The Timeout field of Request-TW-Session: an interval in 32.32 seconds (RFC 5357 section 3.5).
 * From nanoseconds: negative becomes 0, more than 32 bits of seconds saturates.
 * To nanoseconds: always fits, since 2^32 s is less than 2^63 ns. */
uint64_t tw_interval_from_ns(int64_t ns);
int64_t tw_interval_to_ns(uint64_t bits);

/* Error Estimate for an error of `error_ns`, NTP format: the smallest Scale whose Multiplier fits,
 * Multiplier rounded up and never 0. A negative error means an unknown one and gives the largest,
 * Scale 63 and Multiplier 255. */
uint16_t tw_error_encode(int64_t error_ns, bool synchronized);

/* Nanoseconds, rounded up, saturated at INT64_MAX; -1 when the Multiplier is 0 (error unknown). */
int64_t tw_error_ns(uint16_t error);

static inline bool tw_error_synchronized(uint16_t error)
{
    return (error & TW_ERROR_SYNCHRONIZED) != 0;
}

#endif
