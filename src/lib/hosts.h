/* The addresses that a target's name stands for, and whose turn it is to be tried.
 *
 * For the probe. An address that works stays in use while the name still has it; one that fails
 * makes way for the next. */
#ifndef TW_LIB_HOSTS_H
#define TW_LIB_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"

/* Most addresses of one name that are tried. */
enum { TW_HOSTS_MAX = 4 };

struct tw_hosts {
    struct tw_address addresses[TW_HOSTS_MAX];
    uint8_t count; /* 0: the name was never resolved */
    uint8_t turn;  /* in use, or to be tried next */
    bool renewed;  /* the one in use is no longer the name's; whose turn it is was not tried yet */
};

/* Whose turn it is, which is then tried; count must not be 0. */
struct tw_address tw_hosts_try(struct tw_hosts *hosts);

/* That one failed: moves on to the next. False when all have had their turn; it is the first one's
 * again. */
bool tw_hosts_next(struct tw_hosts *hosts);

/* Takes the `n` > 0 addresses of a look-up, in order of preference; `tried` is the one tried last,
 * and `in_use` tells that it is in use. Returns whether it is among them. */
bool tw_hosts_take(struct tw_hosts *hosts, const struct tw_address *addresses, size_t n,
                   const struct tw_address *tried, bool in_use);

#endif
