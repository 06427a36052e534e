/* The daemon's state as JSON, and the socket where it is told.
 *
 * The object is described in twamp-server(8); its field `schema` is 1, and fields are only added.
 * Main thread only. */
#ifndef TWD_STATUS_H
#define TWD_STATUS_H

#include <glib.h>
#include <stdbool.h>

#include "lib/sys/clock.h"
#include "reflector/connection.h"
#include "reflector/plane.h"
#include "reflector/poller.h"

/* What the status is about. */
struct twd_status {
    const struct twd_service *service;
    const struct twd_plane *plane;
    struct tw_clock *clock;
    tw_mono since; /* start of the daemon */
};

/* One line; to be freed. */
char *twd_status_print(const struct twd_status *status);

struct twd_status_socket;

/* Listens at `path` for local users, and takes the place of a socket that nobody listens at. NULL
 * with an error; the daemon can do without. `status` must outlive it. */
struct twd_status_socket *twd_status_socket_new(const char *path, struct twd_poller *poller,
                                                const struct twd_status *status, GError **error);

/* Before the identity is changed: lets that user own the socket. */
void twd_status_socket_give(const struct twd_status_socket *socket, const char *user);
void twd_status_socket_free(struct twd_status_socket *socket);

/* The other end: what the daemon at `path` says; to be freed. NULL with an error. */
char *twd_status_ask(const char *path, GError **error);

#endif
