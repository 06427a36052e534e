/* One target, measured interval after interval: schedule, control connection, session, result.
 *
 * This machine holds everything about a target that is hard to get right and needs no kernel: when
 * an interval begins, when to look up the name, to connect, to try again and with what delay, when
 * each test packet is due, when the interval's result is final, and what state the target is in. It
 * drives the Control-Client, the Session-Sender and the statistics, and asks its driver for names,
 * connections and datagrams. The drivers are the engine (sys/engine.h) and the simulator, so that
 * weeks of intervals and every fault can be run in virtual time.
 *
 * One interval: the session must be set up in time for all packets and the loss threshold to fit in
 * what remains of the interval; until then a failed step is tried again with growing, jittered
 * delays. When it cannot be any more, or when the loss threshold of the last packet has passed, the
 * result is final and comes as an event: exactly one result for each interval, whatever happens.
 * Only intervals are left out in which the driver itself did not run (a suspended machine) before
 * it was too late for a session.
 *
 * Use: init; then for ever { serve next_event(); write output(), read into input(); send packets
 * while send_due(); receive(); arm deadline(); expire() when it has passed }. */
#ifndef TW_LIB_PROBE_H
#define TW_LIB_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/client.h"
#include "lib/crypto.h"
#include "lib/hosts.h"
#include "lib/measurement.h"
#include "lib/sender.h"
#include "lib/stats.h"
#include "lib/time.h"

struct tw_probe_config {
    int64_t interval_ns;
    int64_t phase_ns; /* the first interval begins this long after init: spreads targets */
    uint32_t count;   /* packets a session */
    int64_t packet_interval_ns; /* from packet to packet */
    int64_t timeout_ns;     /* how long the reflector keeps reflecting after the stop (request) */
    int64_t connect_ns;     /* longest wait for TCP to connect */
    int64_t resolve_ns;     /* how long an address stays in use before the name is looked up anew */
    uint16_t control_port;  /* of the server */
    uint16_t receiver_port; /* asked for; 0: the sender's own port number, as perfSONAR asks */
    uint8_t dscp;
    bool stateful; /* the reflector is known to count its own replies */
    struct tw_client_config client;
    struct tw_sender_config sender; /* wait_ns is the loss threshold; modes, protection and what RFC
                                       6038 knows are taken from the connection */
};

/* For sender.padding_length: as much as makes both directions equally long in the modes that the
 * connection turns out to have. */
#define TW_PROBE_PADDING_EQUAL UINT32_MAX

/* True when a whole session fits into an interval: count * packet_interval + wait < interval. */
bool tw_probe_fits(const struct tw_probe_config *config);

enum tw_probe_event_type {
    TW_PROBE_RESOLVE,    /* look up the target's name, then call tw_probe_resolved */
    TW_PROBE_CONNECT,    /* open TCP to `address`, then call connected or connect_failed */
    TW_PROBE_KEY,        /* derive the key for `key`, then call tw_probe_key */
    TW_PROBE_DISCONNECT, /* close TCP, also one that is still connecting; what is queued may be sent
                            first if that does not block */
    TW_PROBE_RESULT,     /* an interval's result is final */
};

/* What a key is derived from, besides the target's secret. */
struct tw_probe_salt {
    uint8_t salt[TW_SALT_SIZE];
    uint32_t count;
};

struct tw_probe_event {
    enum tw_probe_event_type type;
    struct tw_address address;                /* CONNECT */
    struct tw_probe_salt key;                 /* KEY */
    const struct tw_measurement *measurement; /* RESULT; valid until the next call */
};

/* Memory that grows with the number of packets, provided by the owner. */
struct tw_probe_storage {
    struct tw_sender_slot *slots[2]; /* slot_count each */
    uint32_t slot_count;             /* a power of two, at least config->count */
    struct tw_stats_packet *packets; /* slot_count */
    int64_t *scratch;                /* slot_count; may be shared by all probes of a thread */
};

enum tw_probe_phase {
    TW_PROBE_WAIT,   /* for the next interval */
    TW_PROBE_SET_UP, /* works towards a started session */
    TW_PROBE_TEST,   /* packets leave */
    TW_PROBE_DRAIN,  /* all have left; some are neither answered nor lost */
};

enum tw_probe_link {
    TW_PROBE_DOWN,
    TW_PROBE_CONNECTING,
    TW_PROBE_UP, /* TCP is open; `client` is live */
};

struct tw_probe {
    const struct tw_probe_config *config; /* outlives the machine */
    struct tw_random *random;             /* of the driver's thread: jitter, padding */

    enum tw_probe_phase phase;
    tw_mono begun;         /* current interval */
    tw_mono next_interval; /* TW_NEVER after close */
    tw_mono set_up_by;     /* last moment at which a session of this interval may start */
    tw_mono send_by;       /* last moment at which a packet of it may leave */
    tw_mono drain_by;      /* in DRAIN: when the last packet counts as lost */
    tw_mono next_send;
    uint32_t sent;
    int send_error; /* of the last packet that the kernel did not take; 0 none */

    enum tw_probe_link link;
    bool reused; /* the connection is older than this interval: it may be stale */
    tw_mono connect_by;
    tw_mono retry_at;  /* in SET_UP: next attempt of what failed */
    uint32_t failures; /* in a row: sets the delay */
    struct tw_client client;

    bool resolving;
    tw_mono refresh_at; /* when the name is to be looked up (again) */
    bool looked_again;  /* in this interval, since nothing could be connected to */
    struct tw_hosts hosts;
    struct tw_address peer; /* of the control connection */

    struct tw_probe_salt salt;           /* of the key that is asked for */
    struct tw_accept_session accepted;   /* of the newest session */
    tw_mono started;                     /* when that was started */
    struct tw_address local, remote;     /* of the test path */
    struct tw_address remote_before;     /* of the session before: late replies come from there */
    struct tw_protection protections[2]; /* of the senders, in modes that have it */
    struct tw_sender senders[2];         /* this interval's and the one before, for late replies */
    bool sender_live[2];
    uint8_t current;
    struct tw_stats stats;
    struct tw_probe_storage storage;

    struct tw_measurement measurement;
    struct tw_measurement_counters counters;
    bool want_resolve, want_connect, want_disconnect, want_key, want_result;
    bool last_words; /* what is to be disconnected was up */
    bool parting; /* the driver is serving DISCONNECT: output() still gives the old stream's rest */
};

/* The power of two for tw_probe_storage.slot_count. */
uint32_t tw_probe_slots(const struct tw_probe_config *config);

void tw_probe_init(struct tw_probe *probe, const struct tw_probe_config *config,
                   const struct tw_probe_storage *storage, struct tw_random *random, tw_mono now);

/* Events in order; false when there is none. */
bool tw_probe_next_event(struct tw_probe *probe, struct tw_probe_event *event);

/* Answer to RESOLVE: `count` addresses in order of preference (more than TW_HOSTS_MAX are
 * ignored; ports are ignored), or 0 and the resolver's `error`. */
void tw_probe_resolved(struct tw_probe *probe, const struct tw_address *addresses, size_t count,
                       int error, tw_mono now);

/* Answers to CONNECT. `local` is the connection's own address with, as its port, the UDP port that
 * this target's test packets leave from. `error` is an errno. */
void tw_probe_connected(struct tw_probe *probe, const struct tw_address *local, tw_mono now);
void tw_probe_connect_failed(struct tw_probe *probe, int error, tw_mono now);

/* Answer to KEY, whenever it comes: the key derived from the target's secret and `salt`. Not looked
 * at unless the connection still waits for just that. */
void tw_probe_key(struct tw_probe *probe, const struct tw_probe_salt *salt,
                  const uint8_t derived[TW_AES_KEY_SIZE], tw_mono now);

/* Whether the connection still waits for just that; who gave up needs no key. */
bool tw_probe_waits_for_key(const struct tw_probe *probe, const struct tw_probe_salt *salt);

/* The control stream; as in client.h. Room and output are 0 while no connection is up, but for the
 * rest of a stream between its DISCONNECT event and the next call of next_event. */
uint8_t *tw_probe_input(struct tw_probe *probe, size_t *room);
void tw_probe_received(struct tw_probe *probe, size_t n, tw_mono now);
const uint8_t *tw_probe_output(const struct tw_probe *probe, size_t *n);
void tw_probe_sent(struct tw_probe *probe, size_t n, tw_mono now);

/* The peer closed or reset the connection; the driver has closed it. */
void tw_probe_disconnected(struct tw_probe *probe, tw_mono now);

/* Whether a test packet is due. Then: prepare, stamp as late as possible, send to probe->remote
 * from probe->local; if the kernel does not take it: unsend, with its errno. The packet was then
 * not sent, and is no loss of the path. */
bool tw_probe_send_due(const struct tw_probe *probe, tw_mono now);
TW_MUST_CHECK enum tw_result tw_probe_prepare(struct tw_probe *probe, uint8_t *out, size_t cap,
                                              size_t *len);
void tw_probe_stamp(struct tw_probe *probe, uint8_t *out, const struct tw_reading *now);
void tw_probe_unsend(struct tw_probe *probe, int error, tw_mono now);

/* The reflector's host refused a packet (ICMP). Within the first second of a session, and before
 * any reply, that is a reflector that warms up (TW_QUIRK_WARM_UP): another packet is sent in place
 * of that one, which is no loss of the path. Any other refusal is loss. */
void tw_probe_refused(struct tw_probe *probe, tw_mono now);

/* Whether test packets may come from there: from the reflector's address and port, or those of the
 * session before. */
bool tw_probe_expects(const struct tw_probe *probe, const struct tw_address *remote);

/* A datagram that came from where one is expected to probe->local. */
void tw_probe_receive(struct tw_probe *probe, const uint8_t *in, size_t n,
                      const struct tw_arrival *arrival);

/* TW_NEVER only after close: there is always a next interval. */
tw_mono tw_probe_deadline(const struct tw_probe *probe);
void tw_probe_expire(struct tw_probe *probe, const struct tw_reading *now);

/* Ends for good: stops a running session (Accept 0) and asks for DISCONNECT. No result follows. */
void tw_probe_close(struct tw_probe *probe, tw_mono now);

#endif
