/* The inside of the two-host world of sim.h, for its own files: the state of it all, its clocks and
 * wires (sim_net.c), and the server host (sim_host.c). The client host and what moves the world are
 * in sim.c. */
#ifndef TW_TESTS_SIM_WORLD_H
#define TW_TESTS_SIM_WORLD_H

#include "sim/sim.h"

enum { CONNECTIONS = 64, SESSIONS = 256, PIECE = 4096 };

/* The monotonic clocks of the hosts begin at different, arbitrary values. */
static const int64_t CLIENT_BOOT_NS = INT64_C(5000000000000);
static const int64_t SERVER_BOOT_NS = INT64_C(777000000000);

enum event_type {
    SYN,        /* at the server */
    SYN_ANSWER, /* at the client: error 0 = open */
    TO_SERVER,  /* TCP octets */
    TO_CLIENT,
    FIN_SERVER,  /* the client closed */
    FIN_CLIENT,  /* the server closed */
    TEST_PACKET, /* at the reflector */
    TEST_REPLY,  /* at the sender */
    REFUSAL,     /* likewise: ICMP says that nobody listened */
    NAME_ANSWER,
    DERIVED, /* a key, for the client */
};

struct event {
    struct event *next;
    int64_t at;
    int64_t arrived; /* when a sleeping client's machine got it; 0: at `at` */
    enum event_type type;
    unsigned connection;
    int error;
    uint8_t ttl, tos;
    uint16_t port; /* a reply's */
    size_t n;
    uint8_t data[];
};

struct connection {
    unsigned id; /* connections are numbered from 1 in the order of opening */
    bool open;   /* at the server */
    struct tw_server machine;
    unsigned accepted; /* sessions */
    uint64_t written;
    int64_t talked;             /* true time of the last octets, of either end */
    uint8_t backlog[PIECE * 4]; /* arrived, not yet read by the machine */
    size_t backlog_n;
};

struct session {
    bool used;
    unsigned number;     /* sessions are numbered from 1 in the order of requests */
    unsigned connection; /* its id */
    bool orphan;         /* its connection is gone */
    uint8_t dscp;
    int64_t started; /* true time */
    uint8_t sid[TW_SID_SIZE];
    struct tw_protection protection;
    struct tw_reflector machine;
};

/* The key derived last, since that takes long. */
struct derivation {
    const char *secret;
    uint8_t salt[TW_SALT_SIZE];
    uint32_t count;
    uint8_t key[TW_AES_KEY_SIZE];
};

struct sim {
    int64_t now;
    struct event *events;
    struct tw_random random;
    size_t cut;
    struct sim_clock client_clock, server_clock;
    struct sim_link forward, reverse;
    struct sim_server server;
    uint8_t name_host, server_host;
    struct tw_probe_config config;
    struct tw_probe probe;
    struct tw_probe_storage storage;
    unsigned connection; /* the probe's, 0 = none */
    struct connection connections[CONNECTIONS];
    struct session sessions[SESSIONS];
    unsigned session_places; /* of them, used at any time: the others are not looked at */
    struct sim_counts counts;
    struct tw_measurement *measurements;
    size_t measured, measured_room;
    uint16_t sender_port;
    struct derivation derivations[2]; /* the client's, the server's */
    int64_t tcp_last[2];              /* arrival of the last piece: TCP keeps its order */
    enum sim_sleep sleep;
    int64_t asleep_until;
    bool woken;           /* the probe knows of the newest sleep */
    int64_t suspended_ns; /* for which the client's monotonic clock stood still */
};

struct tw_reading sim_net_read(const struct sim_clock *clock, int64_t boot_ns, int64_t at);
struct tw_reading sim_net_client_now(const struct sim *sim);
struct tw_reading sim_net_server_now(const struct sim *sim);

/* Something that will happen; `data` is copied. */
struct event *sim_net_add(struct sim *sim, int64_t at, enum event_type type, unsigned connection,
                          const uint8_t *data, size_t n);

/* TCP neither loses nor reorders: a piece never overtakes the one before it. Returns the last one.
 */
struct event *sim_net_tcp(struct sim *sim, enum event_type type, unsigned connection,
                          const uint8_t *data, size_t n);

/* A datagram, which the link may lose, double and delay. */
void sim_net_udp(struct sim *sim, struct sim_link *link, enum event_type type, int64_t leaves,
                 const uint8_t *data, size_t n, uint8_t tos);

/* Where the client's monotonic clock would have begun if it had never stood still. */
int64_t sim_net_client_boot_ns(const struct sim *sim);

/* The key of a secret; the last one is remembered in `last`. */
const uint8_t *sim_derive(struct derivation *last, const char *secret, const uint8_t *salt,
                          uint32_t count);

/* NULL when so many came after it that it is forgotten. */
struct connection *sim_host_find(struct sim *sim, unsigned id);

void sim_host_accept(struct sim *sim, struct connection *connection);
void sim_host_drop(struct sim *sim, struct connection *connection, bool tell_client);
void sim_host_input(struct sim *sim, const struct event *event);
void sim_host_reflect(struct sim *sim, const struct event *event);

tw_mono sim_host_deadline(const struct sim *sim);
void sim_host_expire(struct sim *sim);

#endif
