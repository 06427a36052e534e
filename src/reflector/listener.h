/* Listening TCP sockets for TWAMP-Control: opens or takes them over, and hands each accepted
 * descriptor to its service. Main thread only. */
#ifndef TWD_LISTENER_H
#define TWD_LISTENER_H

#include <glib.h>

#include "lib/address.h"
#include "reflector/config.h"
#include "reflector/connection.h"

struct twd_listeners;

/* Opens the sockets that the configuration asks for, or takes over `passed` (listening descriptors,
 * may be empty; theirs are then the only ones). They do not accept yet. NULL with an error. */
struct twd_listeners *twd_listeners_new(const struct twd_config *config, const GArray *passed,
                                        GError **error);

/* Accepts from here on. */
bool twd_listeners_start(struct twd_listeners *listeners, struct twd_service *service,
                         GError **error);

void twd_listeners_free(struct twd_listeners *listeners);

/* The address of the first one, for people. */
struct tw_address twd_listeners_address(const struct twd_listeners *listeners);

#endif
