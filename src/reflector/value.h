/* The values that a configuration key can have: from text and back.
 *
 * Every parser takes the whole text of a value, refuses what it does not understand to the last
 * character, and says in the error what it wants instead; the caller puts file, line and key before
 * that. Every printer writes a text that its parser reads as the same value. */
#ifndef TWD_VALUE_H
#define TWD_VALUE_H

#include <glib.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/address.h"

/* An address to listen on. */
struct twd_listen {
    struct tw_address address; /* port 0; a link-local address carries its interface as scope */
    char device[IF_NAMESIZE];  /* VRF or interface to bind to; empty: none */
};

/* A CIDR prefix. */
struct twd_prefix {
    struct tw_address address;
    unsigned bits;
};

/* Ports from `first` to `last`; both 0: none. */
struct twd_port_range {
    uint16_t first, last;
};

/* A whole number from `min` to `max`. */
bool twd_value_number(const char *text, uint64_t min, uint64_t max, uint64_t *out, GError **error);

/* "90s", "1.5m", "20ms"; us, ms, s, m (min), h. A bare number counts `bare_ns`. */
bool twd_value_duration(const char *text, int64_t bare_ns, int64_t min_ns, int64_t max_ns,
                        int64_t *out_ns, GError **error);
void twd_value_print_duration(int64_t ns, GString *out);

/* Octets: "4194304", "512K", "4M"; K counts 1024, M 1024 of these. */
bool twd_value_size(const char *text, uint64_t min, uint64_t max, uint64_t *out, GError **error);
void twd_value_print_size(uint64_t octets, GString *out);

/* "yes" or "no". */
bool twd_value_boolean(const char *text, bool *out, GError **error);

/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "fe80::1%eth0", "192.0.2.1%vrf-blue". The interface
 * of a link-local address must exist now; a device is looked up when it is bound to. */
bool twd_value_listen(const char *text, struct twd_listen *out, GError **error);
void twd_value_print_listen(const struct twd_listen *listen, GString *out);

/* "20000-20999", or nothing for none. */
bool twd_value_port_range(const char *text, struct twd_port_range *out, GError **error);
void twd_value_print_port_range(const struct twd_port_range *range, GString *out);

/* "192.0.2.0/24", "2001:db8::/32", or an address alone. */
bool twd_value_prefix(const char *text, struct twd_prefix *out, GError **error);
void twd_value_print_prefix(const struct twd_prefix *prefix, GString *out);

/* "unauthenticated, encrypted": security bits of Modes, at least one. */
bool twd_value_modes(const char *text, uint32_t *out, GError **error);
void twd_value_print_modes(uint32_t modes, GString *out);

/* "all", "none", or "session-control, dscp": feature bits of Modes. */
bool twd_value_features(const char *text, uint32_t *out, GError **error);
void twd_value_print_features(uint32_t features, GString *out);

#endif
