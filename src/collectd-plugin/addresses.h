/* What the addresses of a target say before anything is measured: those that can never be connected
 * to, with what to write in their place, and those of two targets that want one and the same port.
 *
 * Asks no name server: names are judged by their letters alone. Used by targets.c, which words the
 * rest of the message. */
#ifndef TW_PLUGIN_ADDRESSES_H
#define TW_PLUGIN_ADDRESSES_H

#include <stdbool.h>

#include "collectd-plugin/options.h"

/* Whether Host, SourceAddress, AddressFamily and Device make sense together. False, with the reason
 * and what to write instead in `why`. */
bool tw_addresses_check(const struct tw_settings *settings, char why[TW_OPTION_TEXT]);

/* Whether two targets with the same source port can never both have it: they would share a socket,
 * on which the server's address tells them apart, and it is the same; or they would have one each,
 * which the system refuses. Two names or spellings of one server are not seen. */
bool tw_addresses_collide(const struct tw_settings *a, const struct tw_settings *b);

#endif
