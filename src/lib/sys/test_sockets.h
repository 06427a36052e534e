/* The UDP sockets that the targets of an engine share.
 *
 * Thousands of targets fit into few descriptors, because a datagram's sender tells whose it is: on
 * one socket no two members have the same remote host. A member keeps its socket, and so its port,
 * for life, so that equal-cost paths do not flip; it moves only when its address family changes,
 * its host becomes another member's, or the device was made anew and has another number.
 *
 * Owned by the engine's thread. */
#ifndef TW_SYS_TEST_SOCKETS_H
#define TW_SYS_TEST_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/sys/departures.h"
#include "lib/sys/udp.h"

/* Embedded in whoever shares a socket; all zero before the first join. */
struct tw_test_member {
    struct tw_test_socket *socket;      /* NULL: none */
    struct tw_address host;             /* remote, port 0 */
    struct tw_address former;           /* the one before on this socket; family 0: none */
    struct tw_test_member *next;        /* with the same hash of the host */
    struct tw_test_member *next_former; /* of the former one */
    struct tw_test_member *next_due;    /* see tw_test_socket.due */
    bool is_due;
};

enum { TW_TEST_BUCKETS = 64 };

struct tw_test_socket {
    struct tw_udp udp;
    struct tw_departures departures;
    bool by_nic;            /* departures are asked of interfaces, too */
    struct tw_address bind; /* as asked for */
    const char *device;     /* as asked for; NULL: any */
    unsigned interface;     /* the number that `device` had: the socket is bound to that */
    size_t index;
    size_t members;
    struct tw_test_member *buckets[TW_TEST_BUCKETS];
    struct tw_test_member *former[TW_TEST_BUCKETS]; /* by the former host, where there is one */
    struct tw_test_member *due, **due_end; /* members with a packet to send now, first come first */
};

struct tw_test_sockets {
    int epoll;    /* where sockets are registered */
    uint64_t tag; /* epoll data of socket i: tag + i */
    uint32_t seed;
    bool raise;
    int stamping;                    /* see tw_udp_keep_stamping; -1 none */
    struct tw_test_socket **sockets; /* NULL in unused places */
    size_t count;                    /* places */
};

/* `seed` is random, see tw_address_hash. Never fails; without a descriptor to keep the kernel
 * stamping the first packets are stamped when read. */
void tw_test_sockets_init(struct tw_test_sockets *pool, int epoll, uint64_t tag, uint32_t seed,
                          bool raise);

/* Closes all; the members must not be used any more. */
void tw_test_sockets_free(struct tw_test_sockets *pool);

/* Gives the member a socket bound to `bind` (unspecified address: any; port 0: any) on `device`
 * (NULL: any; outlives the pool) from which it alone talks to `host`. Keeps the one it has if that
 * is possible. 0 or -errno, and then the member has none; -EADDRINUSE when a port was asked for
 * that another member uses with the same host, -ENODEV while there is no such device. */
int tw_test_sockets_join(struct tw_test_sockets *pool, struct tw_test_member *member,
                         const struct tw_address *bind, const char *device,
                         const struct tw_address *host);

/* The member that talks to this host, whatever the port; if there is none, one that did so before
 * it took its present host, since replies may still be under way; else NULL. */
struct tw_test_member *tw_test_sockets_find(const struct tw_test_sockets *pool,
                                            const struct tw_test_socket *socket,
                                            const struct tw_address *remote);

/* The queue of members with something to send; a member stands in it once. */
void tw_test_socket_push_due(struct tw_test_member *member);
struct tw_test_member *tw_test_socket_pop_due(struct tw_test_socket *socket);

#endif
