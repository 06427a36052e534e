/* A TWAMP server and reflector on loopback for tests of what drives the sender's side: the core's
 * own machines on one thread, a handful of connections with one session each, and nothing that a
 * real server needs beyond that. Offers all security modes, and knows one KeyID.
 *
 * Start and stop are the test's; the numbers may be read at any time. */
#ifndef TW_TESTS_UNIT_LOOPBACK_PEER_H
#define TW_TESTS_UNIT_LOOPBACK_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/address.h"

#define LOOPBACK_PEER_KEYID      "noc"
#define LOOPBACK_PEER_PASSPHRASE "twamp-kat-secret"

struct loopback_peer {
    struct tw_address control; /* where it listens */
    atomic_uint sessions;      /* requested */
    atomic_uint reflected;
    atomic_uint stops;          /* Stop-Sessions with Accept 0 */
    atomic_uint dscp;           /* of the last test packet */
    atomic_uint_least64_t from; /* IPv4 address << 16 | port of the last test packet's sender */
    atomic_bool new_salts;      /* to be set: each connection gets a salt of its own */
    atomic_uint hold_ms;        /* to be set: each reply leaves so much later */
    atomic_bool astray;         /* to be set: replies go to the sender's port at 127.0.0.66 */
    atomic_int_least64_t clock_offset_ns; /* to be set: its wall clock is ahead by that */

    /* private */
    struct loopback_peer_inside *inside;
    pthread_t thread;
};

/* Listens for control on `host`, a literal, at `port` (0: any); test packets are taken at any
 * address of its family. False when the host has no such address. */
bool loopback_peer_start(struct loopback_peer *peer, const char *host, uint16_t port);

/* The same with the port that test packets are taken at (0: any). */
bool loopback_peer_start_at(struct loopback_peer *peer, const char *host, uint16_t port,
                            uint16_t test_port);

/* As if the process was killed: connections are closed without a word. The port can be used
 * again at once. */
void loopback_peer_stop(struct loopback_peer *peer);

#endif
