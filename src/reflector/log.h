/* The daemon's log: the journal with fields when systemd started us, else lines on stderr.
 *
 * For the main thread alone: what workers see is counted, never logged. What a peer can cause at
 * will goes through a twd_log_limit. */
#ifndef TWD_LOG_H
#define TWD_LOG_H

#include <glib.h>
#include <stdbool.h>

#include "lib/time.h"

enum twd_log_level {
    TWD_LOG_ERROR,
    TWD_LOG_WARNING,
    TWD_LOG_INFO,
    TWD_LOG_DEBUG,
};

/* What a line is about; becomes the journal's fields TWAMP_PEER, TWAMP_SID and TWAMP_ACCEPT. On
 * stderr the peer and the SID stand before the text. */
struct twd_log_about {
    const char *peer; /* NULL: none */
    const char *sid;  /* NULL: none */
    int accept;       /* -1: none */
};
#define TWD_LOG_ABOUT(who, session, answer)                                                        \
    (&(const struct twd_log_about){.peer = (who), .sid = (session), .accept = (answer)})

/* Finds out where the log goes; before that it goes to stderr. */
void twd_log_open(void);
void twd_log_set_level(enum twd_log_level level);

/* False when the name is none of error, warning, info, debug. */
bool twd_log_level_from_name(const char *name, enum twd_log_level *level);

/* One line without a newline. `about` may be NULL. */
void twd_log(enum twd_log_level level, const struct twd_log_about *about, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* At most a handful of lines in ten seconds; the next line tells how many were left out. */
struct twd_log_limit {
    tw_mono since;
    unsigned lines;
    unsigned left_out;
};

void twd_log_limited(struct twd_log_limit *limit, enum twd_log_level level,
                     const struct twd_log_about *about, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

#endif
