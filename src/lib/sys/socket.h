/* Between the core's addresses and the kernel's, and TCP sockets for TWAMP-Control. */
#ifndef TW_SYS_SOCKET_H
#define TW_SYS_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "lib/address.h"

/* Length of the sockaddr; `out` is filled for connect, bind or sendto. address->family is not 0. */
socklen_t tw_sockaddr_from_address(const struct tw_address *address, struct sockaddr_storage *out);

/* IPv4-mapped addresses become IPv4. Family 0 for anything but IPv4 and IPv6. */
struct tw_address tw_address_from_sockaddr(const struct sockaddr *sockaddr, socklen_t length);

/* Room for any tw_address_format result. */
enum { TW_ADDRESS_TEXT = 80 };

/* "192.0.2.1:862", "[2001:db8::1]:862", "[fe80::1%eth0]:862"; without the port (and brackets) when
 * `with_port` is false; "none" for family 0. Returns `text`. */
char *tw_address_format(const struct tw_address *address, bool with_port,
                        char text[TW_ADDRESS_TEXT]);

/* A literal address, optionally with %interface (name or index), without port or brackets. False
 * when it is not one. */
bool tw_address_parse(const char *text, struct tw_address *address);

/* Whether it is a link-local IPv6 address without an interface: there may be one like it on each.
 */
bool tw_address_needs_zone(const struct tw_address *address);

/* Gives such an address the interface of this name, if there is one now; NULL: none. */
void tw_address_add_zone(struct tw_address *address, const char *device);

/* Room for the name of an interface. */
enum { TW_ZONE_SIZE = 16 };

/* The same, but with the %interface as text, for whoever needs it later, when it may be there
 * again under another number: `scope` is 0, and `zone` "" without one. False also when the text
 * can be no interface's. */
bool tw_address_parse_zone(const char *text, struct tw_address *address, char zone[TW_ZONE_SIZE]);

/* Index of an interface given by name or index; 0 if there is none of that name now. */
uint32_t tw_zone_index(const char *zone);

/* Moves a descriptor to 1024 or above, where select() users of the same process cannot trip over it
 * (a collectd plugin is a guest). Below a limit of 1024 it stays where it is. Returns the
 * descriptor to use; or -1 with errno EMFILE, and it is closed, when there is no room above, or,
 * below such a limit, only a quarter is left: what remains is for the files of others. -1 is passed
 * through with its errno. */
int tw_descriptor_raise(int fd);

struct tw_tcp_options {
    struct tw_address source; /* family 0: any; port 0: any */
    const char *device;       /* SO_BINDTODEVICE; NULL: any */
    uint8_t dscp;             /* of the control packets */
    bool raise;               /* tw_descriptor_raise */
};

/* Starts a non-blocking connect. Returns the descriptor (wait until writable, then ask
 * tw_tcp_connected) or -errno. */
int tw_tcp_connect(const struct tw_address *remote, const struct tw_tcp_options *options);

/* After the descriptor became writable: 0 connected, -errno failed. */
int tw_tcp_connected(int fd);

/* Own and peer address of a connected or bound socket; 0 or -errno. */
int tw_socket_local(int fd, struct tw_address *local);
int tw_socket_peer(int fd, struct tw_address *peer);

#endif
