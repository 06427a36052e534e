/* The running daemon: puts its parts together, obeys signals, tells systemd. */
#ifndef TWD_DAEMON_H
#define TWD_DAEMON_H

#include <glib.h>

#include "reflector/options.h"

/* Runs until SIGTERM or SIGINT. `config` is taken over. The exit status; an error is set when it is
 * not TWD_EXIT_OK. */
int twd_daemon_run(const struct twd_options *options, struct twd_config *config, GError **error);

#endif
