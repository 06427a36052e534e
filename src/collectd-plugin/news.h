/* What is worth a line in the log about one target: its first result, a change of state, and what
 * its reflector does otherwise than the standard says. In words, without collectd.
 *
 * Nothing is said twice: a target that stays down is silent until it changes. */
#ifndef TW_PLUGIN_NEWS_H
#define TW_PLUGIN_NEWS_H

#include <stdbool.h>

#include "collectd-plugin/targets.h"
#include "lib/probe.h"

/* Room for a line. A notification of collectd's holds 255 characters and loses the end, a line of
 * its log 1023. */
enum { TW_NEWS_TEXT = 960 };

/* One per target, zero at the start; owned by the thread that publishes. */
struct tw_news {
    bool known; /* the next two mean something */
    enum tw_measurement_state state;
    tw_mono since;
    bool counts;     /* the reflector was seen to count its own replies */
    unsigned gaps;   /* intervals with a loss that has a direction, while not `counts` */
    uint32_t quirks; /* enum tw_quirk, seen so far */
};

enum tw_news_kind {
    TW_NEWS_NONE,
    TW_NEWS_FIRST,   /* the first result, and it is ok: for the log only */
    TW_NEWS_OKAY,    /* ok again */
    TW_NEWS_FAILURE, /* not ok, at first or by a change */
};

/* To be called with every result, in order. `text` is filled unless NONE. */
enum tw_news_kind tw_news_state(struct tw_news *news, const struct tw_target *target,
                                const struct tw_measurement *measurement, char text[TW_NEWS_TEXT]);

/* To be called with every result, in order. True once: packets were missing between others in three
 * intervals, and no reply ever had a number other than its packet's. Some routers copy the number
 * (then loss-forward and loss-reverse mean nothing), or all of the loss is on the way back. */
bool tw_news_copied_numbers(struct tw_news *news, const struct tw_target *target,
                            const struct tw_measurement *measurement, char text[TW_NEWS_TEXT]);

/* From that on, and until a reply has a number of the reflector's own: loss by direction is not
 * known, whatever the results say. */
bool tw_news_doubts_directions(const struct tw_news *news);

/* To be called with every result, in order. True when a quirk shows that was never seen of this
 * target: the line has all that are known. One that is not shown again stays known, or whatever
 * comes and goes would be told without end. */
bool tw_news_quirks(struct tw_news *news, const struct tw_target *target,
                    const struct tw_measurement *measurement, char text[TW_NEWS_TEXT]);

#endif
