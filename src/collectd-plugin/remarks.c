/* What is remarked of targets, and in which words; see remarks.h. How long a reflector keeps a
 * session in which nothing comes, and what is done about that, is known to lib/probe.h. */
#include "collectd-plugin/remarks.h"

#include <stdio.h>

#include "lib/probe.h"
#include "lib/time.h"

/* To ask for a session and to start it takes two round trips of a connection that is there, and
 * what does not begin in time has packets that are not sent. */
#define SET_UP_NS (100 * TW_NS_PER_MS)

/* What an interval has left when its packets have been sent and waited for. */
static int64_t left_ns(const struct tw_settings *s)
{
    return s->interval_ns - s->count * s->packet_interval_ns - s->timeout_ns;
}

static bool concerns(const struct tw_settings *s, enum tw_remark remark)
{
    const bool continuous = s->session == TW_SESSION_CONTINUOUS;
    switch (remark) {
    case TW_REMARK_SPARSE:
        return continuous && s->interval_ns / s->count > TW_PROBE_DISTANCE_NS;
    case TW_REMARK_DISTANT:
        return !continuous && s->count > 1 && s->packet_interval_ns >= TW_PROBE_REFWAIT_NS;
    case TW_REMARK_TIGHT:
        return !continuous && left_ns(s) < SET_UP_NS;
    case TW_REMARKS:
        break;
    }
    return false;
}

static double seconds(int64_t ns)
{
    return (double)ns / (double)TW_NS_PER_S;
}

static void tell_tight(const struct tw_target *target, const char *more, char text[TW_REMARK_TEXT])
{
    const struct tw_settings *s = target->settings;
    const int64_t room_ns = s->interval_ns - s->timeout_ns - SET_UP_NS;
    const int64_t most = room_ns < 0 ? 0 : room_ns / s->packet_interval_ns;
    char advice[64] = "";
    if (most > 0)
        snprintf(advice, sizeof advice, ", or Count at most %lld", (long long)most);
    snprintf(
        text, TW_REMARK_TEXT,
        "target \"%s\"%s: Count %u x PacketInterval %g s + Timeout %g s leave %g s of Interval "
        "%g s to set the session up, which may be too little: make Interval longer%s",
        target->instance, more, s->count, seconds(s->packet_interval_ns), seconds(s->timeout_ns),
        seconds(left_ns(s)), seconds(s->interval_ns), advice);
}

static void put_into_words(const struct tw_target *target, enum tw_remark remark, const char *more,
                           char text[TW_REMARK_TEXT])
{
    const struct tw_settings *s = target->settings;
    if (remark == TW_REMARK_TIGHT) {
        tell_tight(target, more, text);
        return;
    }
    if (remark == TW_REMARK_DISTANT) {
        snprintf(
            text, TW_REMARK_TEXT,
            "target \"%s\"%s: reflectors may end a session in which nothing comes for %g s: with "
            "PacketInterval %g s all packets but the first are lost then",
            target->instance, more, seconds(TW_PROBE_REFWAIT_NS), seconds(s->packet_interval_ns));
        return;
    }
    const int64_t enough = (s->interval_ns + TW_PROBE_DISTANCE_NS - 1) / TW_PROBE_DISTANCE_NS;
    snprintf(
        text, TW_REMARK_TEXT,
        "target \"%s\"%s: Session \"continuous\" needs a packet every %g s, which Count %u in "
        "Interval %g s is not: each interval has a session of its own instead; Count %lld would do",
        target->instance, more, seconds(TW_PROBE_DISTANCE_NS), s->count, seconds(s->interval_ns),
        (long long)enough);
}

bool tw_remarks_make(const struct tw_targets *targets, enum tw_remark remark,
                     char text[TW_REMARK_TEXT])
{
    const struct tw_target *first = NULL;
    size_t others = 0;
    for (size_t i = 0; i < targets->count; i++) {
        const struct tw_target *target = &targets->targets[i];
        if (!concerns(target->settings, remark))
            continue;
        others += first != NULL;
        first = first == NULL ? target : first;
    }
    if (first == NULL)
        return false;
    char more[32] = "";
    if (others > 0)
        snprintf(more, sizeof more, " and %zu more", others);
    put_into_words(first, remark, more, text);
    return true;
}
