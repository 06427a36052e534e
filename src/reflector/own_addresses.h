/* The IP addresses of this host, as its interfaces have them at the moment. */
#ifndef TWD_OWN_ADDRESSES_H
#define TWD_OWN_ADDRESSES_H

#include <stdbool.h>

#include "lib/address.h"

/* In 127/8, all of which is the host's without being on any interface. */
bool twd_own_is_loopback4(const struct tw_address *address);

/* An IPv4 address that is not loopback; family 0: there is none. */
struct tw_address twd_own_ip4(void);

/* Whether the address, its port and scope apart, is the host's. */
bool twd_own_has(const struct tw_address *address);

#endif
