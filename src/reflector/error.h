/* The daemon's errors: a GError whose code is the exit status that the program ends with when the
 * error stops it. Messages are one line, say what is wrong and what to write instead, and end
 * without a full stop. */
#ifndef TWD_ERROR_H
#define TWD_ERROR_H

#include <glib.h>

enum twd_exit {
    TWD_EXIT_OK = 0,
    TWD_EXIT_FAILURE = 1,
    TWD_EXIT_USAGE = 2,
    TWD_EXIT_CONFIG = 78, /* EX_CONFIG of sysexits.h: no use in starting again */
};

#define TWD_ERROR (twd_error_quark())

GQuark twd_error_quark(void);

/* Sets an error with the given exit status; returns false, for `return twd_fail(...)`. */
gboolean twd_fail(GError **error, enum twd_exit status, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

#endif
