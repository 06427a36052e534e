/* What the process was given by whoever started it: sockets from systemd, limits, an identity. */
#ifndef TWD_INHERIT_H
#define TWD_INHERIT_H

#include <glib.h>
#include <stdbool.h>

/* Sorts the descriptors that systemd passed (sd_listen_fds): listening TCP sockets and UDP sockets,
 * appended as int. False with an error when one is neither. */
bool twd_inherit_sockets(GArray *tcp, GArray *udp, GError **error);

/* As many descriptors as the hard limit allows: one for each connection. */
void twd_inherit_raise_limits(void);

/* Becomes the user for good: groups, group, user. Nothing to do for an empty name and when we are
 * that user already; any other user but root cannot. */
bool twd_inherit_become(const char *user, GError **error);

#endif
