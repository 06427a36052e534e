/* The command line of twamp-server. */
#ifndef TWD_OPTIONS_H
#define TWD_OPTIONS_H

#include <glib.h>
#include <stdbool.h>

#include "reflector/config.h"
#include "reflector/log.h"

struct twd_options {
    char *file;          /* NULL: the default one, which need not exist */
    int control_port;    /* -1: as configured */
    int test_port;       /* -1: as configured */
    GArray *listen;      /* struct twd_listen; empty: as configured */
    bool test;           /* only look at the configuration */
    bool status;         /* ask the running daemon */
    char *status_socket; /* NULL: as configured */
    bool version;
    enum twd_log_level level;
};

/* NULL with an error for the user. -h prints and exits. */
struct twd_options *twd_options_parse(int argc, char **argv, GError **error);
void twd_options_free(struct twd_options *options);

/* The configuration file with what the command line overrides; NULL with an error. */
struct twd_config *twd_options_load(const struct twd_options *options, GError **error);

#endif
