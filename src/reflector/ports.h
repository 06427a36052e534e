/* Test ports that are opened at run time, out of test_port_range: each is a socket of its own,
 * served by one worker, for as long as sessions use it.
 *
 * Several sessions share a port, told apart by their 4-tuples, unless one has it alone. Ports are
 * given out in turn, so that one that was in use a moment ago, to which packets may still be under
 * way, comes last. Main thread only. */
#ifndef TWD_PORTS_H
#define TWD_PORTS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/sys/udp.h"
#include "reflector/log.h"
#include "reflector/value.h"
#include "reflector/worker.h"

struct twd_port {
    struct tw_udp udp;         /* first: by it a worker's report names the port */
    struct twd_listen bound;   /* to this address, with the port, and device */
    struct twd_worker *worker; /* who serves it */
    unsigned users;            /* sessions; with 0 it waits for its worker to let go of it */
    unsigned parting;          /* reports of that which are awaited */
    bool alone;                /* one session has it to itself */
};

struct twd_ports {
    GHashTable *table; /* struct twd_port by address, port and device */
    GHashTable *drops; /* of the kernel at ports that were closed, as a pointer, by worker */
    int receive_buffer;
    uint32_t next; /* counts turns */
    struct twd_log_limit log;
};

/* Turns begin anywhere: with a random number, so that a restart does not begin with the same. */
void twd_ports_init(struct twd_ports *ports, int receive_buffer, uint32_t first_turn);

/* After the workers' threads have ended; closes all. */
void twd_ports_free(struct twd_ports *ports);

/* A port of `range` at the address and device `at`, for one more session: `wanted` if it is in the
 * range and nobody else has it, else one that no session uses, which `worker` will serve. With
 * `alone` no other session shares it. To be released; NULL when there is none. */
struct twd_port *twd_ports_take(struct twd_ports *ports, const struct twd_listen *at,
                                const struct twd_port_range *range, uint16_t wanted, bool alone,
                                struct twd_worker *worker);

/* A session less; behind the last one the port is closed. */
void twd_ports_release(struct twd_port *port);

/* Adds what the kernel threw away at the ports that this worker serves or has served, modulo 2^32;
 * see tw_udp_drops. 0 or -errno. */
int twd_ports_drops(const struct twd_ports *ports, const struct twd_worker *worker,
                    uint32_t *drops);

/* For TWD_ORDER_FORGET. */
void twd_ports_forgotten(struct twd_ports *ports, struct tw_udp *udp);

#endif
