/* The test plane as the main thread sees it: which test sockets there are, which worker owns the
 * sessions of a peer, and what all workers counted.
 *
 * Sockets of one local address and port form a group: the kernel spreads datagrams over them by the
 * sender's address, the same way for ever, so that a session has one owner. Sockets of our own make
 * a group of one per worker; of those passed by systemd each has a worker to itself, since no
 * socket of ours could join their port. These are the shared test ports; those that are opened for
 * sessions (ports.h) have one socket each. Main thread only. */
#ifndef TWD_PLANE_H
#define TWD_PLANE_H

#include <glib.h>
#include <stdbool.h>

#include "reflector/config.h"
#include "reflector/poller.h"
#include "reflector/ports.h"
#include "reflector/worker.h"

struct twd_plane;

/* Called on the main thread for every report of a flow. */
typedef void twd_plane_report(void *user, enum twd_order order, struct twd_flow *flow);

/* Opens the sockets that the configuration asks for or takes over `passed` (descriptors, may be
 * empty; theirs are then the only ones). NULL with an error. */
struct twd_plane *twd_plane_new(const struct twd_config *config, const GArray *passed,
                                struct twd_poller *poller, GError **error);

/* From here on reports come. */
bool twd_plane_start(struct twd_plane *plane, twd_plane_report *report, void *user, GError **error);

/* Stops the threads; waits for them. Flows that were not released are the caller's. */
void twd_plane_free(struct twd_plane *plane);

/* The address of the first test socket, for people. */
struct tw_address twd_plane_address(const struct twd_plane *plane);

/* The port at which packets to that address of this host arrive: `wanted` if there is a test socket
 * with it, else another one; 0 if none. Sockets bound to `device` (empty: to none), which the
 * control connection came by, are preferred. The group's number goes to *found. */
uint16_t twd_plane_find(const struct twd_plane *plane, const struct tw_address *local,
                        const char *device, uint16_t wanted, unsigned *found);

/* A key for a flow of this plane. */
void twd_plane_key(const struct twd_plane *plane, const struct tw_address *remote,
                   const struct tw_address *local, struct twd_flow_key *key);

/* Of the flows from that remote address in that group. */
struct twd_worker *twd_plane_owner(const struct twd_plane *plane, unsigned group,
                                   const struct tw_address *remote);

/* A port of `range` for one more session whose packets would else come to that group: bound to the
 * same address and device. See twd_ports_take; to be closed. */
struct twd_port *twd_plane_open(struct twd_plane *plane, unsigned group,
                                const struct twd_port_range *range, uint16_t wanted, bool alone);

/* The session is over. */
void twd_plane_close(struct twd_port *port);

void twd_plane_tune(struct twd_plane *plane, int64_t error_floor_ns);

/* Whether all workers have answered the last check; starts the next one. */
bool twd_plane_check(struct twd_plane *plane);

unsigned twd_plane_workers(const struct twd_plane *plane);

/* What that worker has counted, and what the kernel has thrown away at its sockets until now. */
struct twd_counts twd_plane_count(const struct twd_plane *plane, unsigned worker);

/* The smallest receive buffer of that worker's shared sockets, in octets as tw_udp_buffer has them.
 */
unsigned twd_plane_receive_buffer(const struct twd_plane *plane, unsigned worker);

#endif
