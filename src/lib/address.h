/* An IP address with a UDP or TCP port, as the core sees it; sockaddrs live in sys/socket.h. */
#ifndef TW_LIB_ADDRESS_H
#define TW_LIB_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

/* IPv4-mapped IPv6 addresses never appear: the driver turns them into IPv4. */
struct tw_address {
    uint8_t octets[16]; /* network order; IPv4 in the first four, the rest zero */
    uint32_t scope;     /* interface index of an IPv6 link-local address, else 0 */
    uint16_t port;      /* host order */
    uint8_t family;     /* 4, 6, or 0 = none (then all else is 0) */
};

/* Same address and scope, whatever the ports. */
bool tw_address_same_host(const struct tw_address *a, const struct tw_address *b);

/* Same address, scope and port. */
bool tw_address_equal(const struct tw_address *a, const struct tw_address *b);

/* 0.0.0.0, :: or none. */
bool tw_address_is_unspecified(const struct tw_address *a);

/* Whether the first `bits` bits of both addresses are equal; false if the families differ or
 * are none. More bits than the address has count as all of them. */
bool tw_address_in_prefix(const struct tw_address *a, const struct tw_address *prefix,
                          unsigned bits);

/* For hash tables that a hostile peer may fill: `seed` is secret and random. Port and scope
 * count. */
uint32_t tw_address_hash(const struct tw_address *a, uint32_t seed);

#endif
