/* What of the targets' settings is no error, but perhaps not what was meant: in words, for the log
 * at the start, without collectd.
 *
 * A line for each kind of remark, however many targets it is about: it names the first of them. */
#ifndef TW_PLUGIN_REMARKS_H
#define TW_PLUGIN_REMARKS_H

#include <stdbool.h>

#include "collectd-plugin/targets.h"

enum tw_remark {
    TW_REMARK_SPARSE,  /* packets of a continuous session are too far apart for it to last */
    TW_REMARK_DISTANT, /* those of a session for each interval are */
    TW_REMARK_TIGHT,   /* the interval has nearly no time to set its session up */
    TW_REMARKS,
};

/* Room for a line. */
enum { TW_REMARK_TEXT = 512 };

/* After tw_targets_finish. False: there is nothing of this kind to say. */
bool tw_remarks_make(const struct tw_targets *targets, enum tw_remark remark,
                     char text[TW_REMARK_TEXT]);

#endif
