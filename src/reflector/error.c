/* The daemon's error domain; see error.h. */
#include "reflector/error.h"

#include <stdarg.h>

GQuark twd_error_quark(void)
{
    return g_quark_from_static_string("twamp-server-error");
}

gboolean twd_fail(GError **error, enum twd_exit status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    GError *made = g_error_new_valist(TWD_ERROR, (gint)status, format, arguments);
    va_end(arguments);
    g_propagate_error(error, made);
    return FALSE;
}
