/* One target, measured interval after interval: schedule, control connection, sessions, results.
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
 * Only intervals are left out of which nothing could be told that is the target's: those that the
 * driver met too late for a session, and those of tw_probe_slept in which no packet left because
 * the driver did not run, or of which a reply may have come while its host was suspended.
 *
 * What an old connection does not tell of is no reason to fail: a request that it refuses, or that
 * is not answered on it, is repeated on a new one, once in an interval.
 *
 * An interval's packets, and what became of them, are its window; a reply counts for the window
 * that its packet was sent in until the result of that is final.
 *
 * A continuous session serves all intervals: count packets each, in the middle of as many equal
 * parts of the interval, which are packet_interval_ns long. At an interval's end its window is cut
 * and drains for the loss threshold beside the next one's, so that results are final exactly one
 * interval after one another, whatever happens. The next window goes on with the same session,
 * without any control traffic, unless
 * - the session ended with its connection or never came about: it is set up, with the same delays
 *   as above but across intervals, and may begin at any time. It then sends what is left of its
 *   interval's packets, beginning with the one whose part has begun: an interval may send fewer
 *   packets than count, and what was sent is what counts;
 * - nothing at all was answered in the window, or none of its last packets for more than half an
 *   interval, or not for so long that the reflector may have ended the session, or the name has
 *   moved: set up anew. The name is looked up as soon as silence has lasted for the loss threshold
 *   and a few packets, so that a target that has moved is not looked for where it was;
 * - the connection would be idle for too long (see idle_limit_ns): stopped, asked for and started
 *   again between two packets. That costs none while two round trips fit into packet_interval_ns.
 * The packets of one window are of one session: when that ends after some have left, the rest of
 * the interval sends none, and the next interval begins with the set-up. When the driver stalls,
 * three packets at most leave at once, and what would have had to leave before them does not.
 * Reordering and IPDV are told of the packets of one window, not across a cut.
 *
 * Use: init; then for ever { slept(), if it was so; serve next_event(); write output(), read into
 * input(); send packets while send_due(); receive(); arm deadline(); expire() when it has passed }.
 */
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
    bool stateful;   /* the reflector is known to count its own replies */
    bool continuous; /* one session for all intervals: packet_interval_ns is interval_ns / count */
    struct tw_client_config client;
    struct tw_sender_config sender; /* wait_ns is the loss threshold; modes, protection and what RFC
                                       6038 knows are taken from the connection */
};

/* For sender.padding_length: as much as makes both directions equally long in the modes that the
 * connection turns out to have. */
#define TW_PROBE_PADDING_EQUAL UINT32_MAX

/* A reflector may end a session in which nothing comes for REFWAIT (RFC 5357 section 4.2), without
 * a word, so that everything behind it is lost. The default is 900 s in RFC 5357, less for some. */
#define TW_PROBE_REFWAIT_NS (300 * TW_NS_PER_S)

/* The packets of a session that is to last are no further apart than this: it survives when two of
 * them in a row are lost on their way to the reflector. */
#define TW_PROBE_DISTANCE_NS (TW_PROBE_REFWAIT_NS / 4)

/* True when a whole session fits into an interval: count * packet_interval + wait < interval; or,
 * if it is continuous, all packets do and are lost before one more interval has passed: count *
 * packet_interval <= interval, wait < interval; and no reflector ends it between them:
 * packet_interval <= TW_PROBE_DISTANCE_NS. */
bool tw_probe_fits(const struct tw_probe_config *config);

/* For a continuous session that would not last only because count and interval leave its packets
 * too far apart: makes it a session for each interval that fits, with all packets in the earlier
 * part of it, as far apart as is safe. False: it is not continuous, or stays so. */
bool tw_probe_gather(struct tw_probe_config *config);

enum tw_probe_event_type {
    TW_PROBE_RESOLVE,    /* look up the target's name, then call tw_probe_resolved */
    TW_PROBE_CONNECT,    /* open TCP to `address`, then call connected or connect_failed */
    TW_PROBE_KEY,        /* derive the key for `key`, then call tw_probe_key */
    TW_PROBE_DISCONNECT, /* close TCP, also one that is still connecting; what is queued may be sent
                            first if that does not block */
    TW_PROBE_RESULT,     /* an interval's result is final */
};

/* A driver that comes so much too late was not merely delayed: it was stopped. */
#define TW_PROBE_ASLEEP_NS (100 * TW_NS_PER_MS)

/* Why the driver did not run. */
enum tw_probe_sleep {
    TW_PROBE_STOPPED,   /* its process, or it was kept from the processor: the kernel ran, and what
                           came waits in the sockets */
    TW_PROBE_SUSPENDED, /* its host: the monotonic clock stood still, and nobody knows what came */
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

/* The packets of one interval and what is known of them. */
struct tw_probe_window {
    bool open;               /* from the interval's begin until its result is final */
    bool follows;            /* the session's packets before its first were another window's */
    uint32_t session;        /* whose packets they are, by the probe's count; 0: none yet */
    uint32_t first_sequence; /* Sequence Numbers used: so many from this one on */
    uint32_t numbers;
    uint32_t sent;    /* of them, those that were not withdrawn */
    int send_error;   /* of the last packet that the kernel did not take; 0 none */
    bool suspended;   /* the host was, while it was open */
    int64_t slept_ns; /* for so long in it, at least, the driver was stopped; the whole interval if
                         it was too late for a session afterwards */
    tw_mono due;      /* when the result is final; TW_NEVER: not yet known */
    bool numbered; /* a reply to one of its packets came; then the reflector's numbers in them: */
    uint32_t lowest, highest;
    struct tw_stats stats;
    struct tw_measurement measurement;
};

/* What only targets in modes with keys need. The probe wipes it. */
struct tw_probe_secrets {
    struct tw_channel_ciphers control;
    struct tw_protection protections[2]; /* of the senders, in modes that have it */
};

/* Memory that depends on the kind of session, the mode and the number of packets, provided by the
 * owner. */
struct tw_probe_storage {
    struct tw_probe_secrets *secrets;   /* NULL in modes without keys */
    struct tw_sender_slot *slots[2];    /* slot_count each */
    uint32_t slot_count;                /* a power of two, at least tw_probe_slots() */
    struct tw_probe_window *windows;    /* tw_probe_windows() of them */
    struct tw_stats_packet *packets[2]; /* one for each window, packet_count each */
    uint32_t packet_count;              /* a power of two, at least config->count */
    int64_t *scratch;                   /* packet_count; may be shared by all probes of a thread */
};

/* One packet that has left, by the probe's count of its sessions and the Sequence Number. */
struct tw_probe_packet {
    uint32_t session;
    uint32_t sequence;
};

enum tw_probe_phase {
    TW_PROBE_WAIT,   /* for the next interval; a continuous session may be running */
    TW_PROBE_SET_UP, /* works towards a started session */
    TW_PROBE_TEST,   /* packets leave */
    TW_PROBE_DRAIN,  /* no more of this interval's will leave */
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
    tw_mono set_up_by;     /* last moment at which a session of this interval may start; TW_NEVER
                              when it is continuous */
    tw_mono send_by;       /* last moment at which a packet of it may leave */
    tw_mono next_send;
    tw_mono awake;  /* since then the driver runs; 0: it was never stopped */
    uint8_t window; /* of this interval, in storage.windows; the other one may be draining */
    uint8_t told;   /* whose result is to be taken */

    enum tw_probe_link link;
    bool reused;       /* the connection is older than this interval: it may be stale */
    bool refused_anew; /* the last request was refused, and not for being on an old connection */
    tw_mono connect_by;
    tw_mono retry_at;  /* in SET_UP: next attempt of what failed */
    uint32_t failures; /* in a row: sets the delay */
    struct tw_client client;
    tw_mono talked;        /* last octets on the connection, of either end */
    int64_t idled_ns;      /* before the newest request */
    int64_t idle_limit_ns; /* servers end a connection that is idle for so long: the default of
                              RFC 5357's SERVWAIT, or what this one did twice
                              since it was started; twice as long is tried now and then */
    int64_t idle_ended_ns; /* after so long it did so last; 0 never */
    uint32_t renewals, renewals_enough; /* in time since the limit was learnt; when to doubt it */
    bool retried;                       /* it was doubted */
    uint64_t server_started;            /* Start-Time of its newest Server-Start; 0 none */

    bool resolving;
    tw_mono refresh_at; /* when the name is to be looked up (again) */
    bool looked_again;  /* in this interval, since nothing could be connected to, or answered */
    struct tw_hosts hosts;
    struct tw_address peer; /* of the control connection */

    struct tw_probe_salt salt;         /* of the key that is asked for */
    struct tw_accept_session accepted; /* of the newest session */
    tw_mono started;                   /* when the current sender's was */
    bool answered;                     /* some packet of that */
    bool strayed;                      /* it has reflected packets of the session before */
    tw_mono heard;                     /* its newest reply came */
    struct tw_reflector_clock clock;   /* as seen in all sessions */
    uint32_t newest, reflector_newest; /* the highest numbers in its replies; -1 none */
    uint8_t recent, reflector_recent;  /* bit i: that number less i was in one too, or is of before
                                          the first packet */
    struct tw_address local, remote;   /* of the test path */
    struct tw_address remotes[2];      /* of the senders: late replies come from there */
    struct tw_sender senders[2]; /* of the newest session and the one before, for late replies */
    bool sender_live[2];
    uint32_t sessions; /* begun so far: the number of the current sender's */
    uint8_t current;
    struct tw_probe_storage storage;

    struct tw_measurement_counters counters;
    bool want_resolve, want_connect, want_disconnect, want_key, want_result;
    bool last_words; /* what is to be disconnected was up */
    bool parting; /* the driver is serving DISCONNECT: output() still gives the old stream's rest */
};

/* Powers of two for tw_probe_storage: packets are remembered until their result is final. */
uint32_t tw_probe_slots(const struct tw_probe_config *config);
uint32_t tw_probe_packets(const struct tw_probe_config *config);

/* How many windows there are at most: 1, or 2 of a continuous session. */
unsigned tw_probe_windows(const struct tw_probe_config *config);

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
struct tw_probe_packet tw_probe_stamp(struct tw_probe *probe, uint8_t *out,
                                      const struct tw_reading *now);
void tw_probe_unsend(struct tw_probe *probe, int error, tw_mono now);

/* A transmit timestamp of that packet, which came after it had left; call it before the replies
 * that arrived meanwhile are handed in. False when it cannot be: see tw_sender_departed. */
bool tw_probe_departed(struct tw_probe *probe, struct tw_probe_packet packet, tw_wall t1,
                       enum tw_source source);

/* The reflector's host refused a packet (ICMP). Within the first second of a session, and before
 * any reply, that is a reflector that warms up (TW_QUIRK_WARM_UP): that packet is no loss of the
 * path, and but in a continuous session another one is sent in its place. Any other refusal is
 * loss. */
void tw_probe_refused(struct tw_probe *probe, tw_mono now);

/* Whether test packets may come from there: from the reflector's address and port, or those of a
 * session before. */
bool tw_probe_expects(const struct tw_probe *probe, const struct tw_address *remote);

/* A datagram that came from where one is expected to probe->local. True if it is a reply of ours,
 * and what it says is in *sample: for who wants to see single packets. */
bool tw_probe_receive(struct tw_probe *probe, const uint8_t *in, size_t n,
                      const struct tw_arrival *arrival, struct tw_sample *sample);

/* The driver did not run until `now`: to be called before anything that came meanwhile is handed
 * in. Calls that were not late by TW_PROBE_ASLEEP_NS are no stop.
 *
 * Stopped: what was sent is told as ever, since the replies wait. When no packet has left, and
 * nothing is known to have failed, the interval is left out if it was too late for a session
 * afterwards or more than half of the time for its set-up was slept away. When packets were to
 * leave for so long that the reflector may have ended the session, it sends none any more.
 * Suspended: the connection and its session are given up. An interval is left out if a packet of it
 * is not answered yet, or if none leaves in it at all; one whose packets were all answered is told
 * with those. */
void tw_probe_slept(struct tw_probe *probe, enum tw_probe_sleep sleep, tw_mono now);

/* TW_NEVER only after close: there is always a next interval. */
tw_mono tw_probe_deadline(const struct tw_probe *probe);
void tw_probe_expire(struct tw_probe *probe, const struct tw_reading *now);

/* Ends for good: stops a running session (Accept 0) and asks for DISCONNECT. No result follows. */
void tw_probe_close(struct tw_probe *probe, tw_mono now);

#endif
