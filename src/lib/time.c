/* Conversions between nanoseconds and the timestamps, intervals and Error Estimates of the wire,
 * for every machine of the core and for the drivers.
 *
 * Everything is integer arithmetic, exactly rounded, and saturates where a result would not fit. It
 * reads no clock and knows no leap seconds table: TAI - UTC is an argument. */
#include "lib/time.h"

#include <assert.h>

/* 1900-01-01 to 1970-01-01: 70 years, 17 of them leap years. */
#define NTP_UNIX_OFFSET_S INT64_C(2208988800)

#define SCALE_SHIFT     8
#define SCALE_MASK      0x3fu
#define SCALE_MAX       63u
#define MULTIPLIER_MASK 0xffu
#define MULTIPLIER_MAX  255u

tw_mono tw_mono_after(tw_mono t, int64_t ns)
{
    assert(ns >= 0);
    tw_mono after;
    if (__builtin_add_overflow(t.ns, ns, &after.ns))
        return TW_NEVER;
    return after;
}

const char *tw_source_name(enum tw_source source)
{
    switch (source) {
    case TW_SOURCE_HARDWARE:
        return "hardware";
    case TW_SOURCE_KERNEL:
        return "kernel";
    case TW_SOURCE_USER:
        break;
    }
    return "user";
}

/* Seconds and nanoseconds of an instant, the latter in 0..999999999 also before 1970. */
static int64_t split_wall(tw_wall t, uint32_t *ns)
{
    int64_t s = t.ns / TW_NS_PER_S;
    int64_t rest = t.ns % TW_NS_PER_S;
    if (rest < 0) {
        rest += TW_NS_PER_S;
        s--;
    }
    *ns = (uint32_t)rest;
    return s;
}

static tw_wall join_wall(int64_t s, uint32_t ns)
{
    /* Both parts of one sign, so that the product does not overflow where the sum would fit. */
    int64_t rest = ns;
    if (s < 0) {
        s++;
        rest -= TW_NS_PER_S;
    }
    int64_t total;
    if (__builtin_mul_overflow(s, TW_NS_PER_S, &total) ||
        __builtin_add_overflow(total, rest, &total))
        total = s < 0 ? INT64_MIN : INT64_MAX;
    return (tw_wall){total};
}

/* ns < 10^9, so that the result never rounds up to a whole second. */
static uint32_t fraction_from_ns(uint32_t ns)
{
    uint64_t half = (uint64_t)TW_NS_PER_S / 2;
    return (uint32_t)((((uint64_t)ns << 32) + half) / (uint64_t)TW_NS_PER_S);
}

/* 0..10^9: a fraction in the last half nanosecond of a second rounds up to a whole one. */
static uint32_t ns_from_fraction(uint32_t fraction)
{
    uint64_t half = UINT64_C(1) << 31;
    return (uint32_t)(((uint64_t)fraction * (uint64_t)TW_NS_PER_S + half) >> 32);
}

/* The number of seconds closest to `near_s` whose low 32 bits are `low`. */
static int64_t nearest_seconds(uint32_t low, int64_t near_s)
{
    uint32_t ahead = low - (uint32_t)(uint64_t)near_s;
    if (ahead <= INT32_MAX)
        return near_s + (int64_t)ahead;
    return near_s - (INT64_C(0x100000000) - (int64_t)ahead);
}

uint64_t tw_ntp_from_wall(tw_wall t)
{
    uint32_t ns;
    int64_t s = split_wall(t, &ns) + NTP_UNIX_OFFSET_S;
    return (uint64_t)s << 32 | fraction_from_ns(ns);
}

tw_wall tw_wall_from_ntp(uint64_t bits, tw_wall near)
{
    uint32_t near_ns;
    int64_t near_s = split_wall(near, &near_ns) + NTP_UNIX_OFFSET_S;
    int64_t s = nearest_seconds((uint32_t)(bits >> 32), near_s);
    return join_wall(s - NTP_UNIX_OFFSET_S, ns_from_fraction((uint32_t)bits));
}

uint64_t tw_ptp_from_wall(tw_wall t, int tai_utc_s)
{
    uint32_t ns;
    int64_t s = split_wall(t, &ns) + tai_utc_s;
    return (uint64_t)s << 32 | ns;
}

/* A peer's nanoseconds may exceed 999999999: they are added all the same, as any other wrong
 * timestamp is taken at its word. */
tw_wall tw_wall_from_ptp(uint64_t bits, tw_wall near, int tai_utc_s)
{
    uint32_t near_ns;
    int64_t near_s = split_wall(near, &near_ns) + tai_utc_s;
    int64_t s = nearest_seconds((uint32_t)(bits >> 32), near_s);
    return join_wall(s - tai_utc_s, (uint32_t)bits);
}

struct tw_stamp tw_stamp_from_wall(tw_wall t, uint16_t error, bool ptp, int tai_utc_s)
{
    if (ptp)
        return (struct tw_stamp){
            .bits = tw_ptp_from_wall(t, tai_utc_s),
            .error = (uint16_t)(error | TW_ERROR_PTP),
        };
    return (struct tw_stamp){
        .bits = tw_ntp_from_wall(t),
        .error = (uint16_t)(error & ~TW_ERROR_PTP),
    };
}

tw_wall tw_wall_from_stamp(struct tw_stamp stamp, tw_wall near, int tai_utc_s)
{
    if ((stamp.error & TW_ERROR_PTP) != 0)
        return tw_wall_from_ptp(stamp.bits, near, tai_utc_s);
    return tw_wall_from_ntp(stamp.bits, near);
}

uint64_t tw_interval_from_ns(int64_t ns)
{
    if (ns < 0)
        return 0;
    int64_t s = ns / TW_NS_PER_S;
    if (s > UINT32_MAX)
        return UINT64_MAX;
    return (uint64_t)s << 32 | fraction_from_ns((uint32_t)(ns % TW_NS_PER_S));
}

int64_t tw_interval_to_ns(uint64_t bits)
{
    return (int64_t)(bits >> 32) * TW_NS_PER_S + ns_from_fraction((uint32_t)bits);
}

/* multiplier * 2^(scale-32) seconds in nanoseconds; saturates. */
static uint64_t error_value_ns(uint32_t scale, uint32_t multiplier, bool round_up)
{
    const uint64_t value = multiplier * (uint64_t)TW_NS_PER_S;
    if (scale >= 32) {
        const uint32_t left = scale - 32;
        return value > UINT64_MAX >> left ? UINT64_MAX : value << left;
    }
    const uint32_t right = 32 - scale;
    const uint64_t below_one = (UINT64_C(1) << right) - 1;
    return (value + (round_up ? below_one : 0)) >> right;
}

uint16_t tw_error_encode(int64_t error_ns, bool synchronized)
{
    const uint32_t flags = synchronized ? TW_ERROR_SYNCHRONIZED : 0;
    if (error_ns < 0)
        return (uint16_t)(flags | SCALE_MAX << SCALE_SHIFT | MULTIPLIER_MAX);

    /* The smallest pair whose exact value is not below the error. */
    const uint64_t error = (uint64_t)error_ns;
    uint32_t scale = 0;
    while (scale < SCALE_MAX && error > error_value_ns(scale, MULTIPLIER_MAX, false))
        scale++;
    uint32_t multiplier = 1;
    while (multiplier < MULTIPLIER_MAX && error > error_value_ns(scale, multiplier, false))
        multiplier++;
    return (uint16_t)(flags | scale << SCALE_SHIFT | multiplier);
}

int64_t tw_error_ns(uint16_t error)
{
    const uint32_t multiplier = error & MULTIPLIER_MASK;
    if (multiplier == 0)
        return -1;
    const uint32_t scale = (uint32_t)error >> SCALE_SHIFT & SCALE_MASK;
    const uint64_t ns = error_value_ns(scale, multiplier, true);
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}
