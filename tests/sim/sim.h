/* A world of two hosts in virtual time: a target's probe on one, a TWAMP server on the other.
 *
 * The simulator is a driver like the engine and the daemon, but its clocks, its wires and its
 * faults are data, so that a scenario knows the true answer exactly and a day passes in
 * milliseconds. It contains no protocol: both ends are the machines of src/lib. Everything random
 * comes from one seed.
 */
#ifndef TW_TESTS_SIM_H
#define TW_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/probe.h"
#include "lib/reflector.h"
#include "lib/server.h"

/* Times in nanoseconds. A host's wall clock shows epoch + true time * (1 + drift) + offset. */
struct sim_clock {
    int64_t epoch_ns;
    int64_t offset_ns; /* change it between runs: a step */
    double drift;      /* 50e-6 = 50 ppm fast */
    bool synchronized; /* what the host claims */
    int64_t error_ns;
};

/* What happens to one datagram. */
struct sim_fate {
    unsigned copies;  /* 0 lost, 1 normal, 2 duplicated */
    int64_t extra_ns; /* on top of the link's delay */
};

/* One direction of the path. */
struct sim_link {
    int64_t delay_ns;
    int64_t jitter_ns;        /* uniform in [0, jitter) on each copy, which may reorder */
    double loss, duplication; /* probabilities */
    bool down;                /* all UDP is lost */
    uint8_t hops;             /* taken off the TTL */
    /* NULL, or decides in place of the probabilities; n counts the datagrams of this direction */
    struct sim_fate (*fate)(void *user, uint64_t n);
    void *user;
    uint64_t n;    /* datagrams put on the link */
    uint64_t lost; /* of them */
    uint64_t doubled;
};

/* How the server host behaves, beyond its machines. */
struct sim_server {
    bool process_down;      /* nobody listens: TCP is refused, UDP falls silent */
    bool tcp_filtered;      /* SYNs and everything else of TCP vanish */
    bool elsewhere_void;    /* what is sent to addresses but the server's vanishes, also SYNs */
    bool mute;              /* accepts TCP and never writes an octet */
    uint64_t mute_after;    /* ... or only so many octets of each connection; 0 = no limit */
    uint64_t close_after;   /* closes after writing so many octets of each connection; 0 = never */
    uint8_t session_accept; /* answer to requests */
    unsigned sessions_each; /* accepted on each connection, any more are refused; 0: any number */
    uint8_t start_accept;   /* answer to starts, of each session where there are several */
    uint8_t stop_accept;    /* answer to Stop-N-Sessions */
    const char *secret;     /* of SIM_KEYID, the only one it knows */
    uint64_t flip_octet;    /* of each connection: its bits are turned over on the way; 0 = none */
    bool stateless;         /* copies the sender's number into its replies, as some routers do */
    int64_t turnaround_ns;  /* T3 - T2 */
    int64_t early_ns;    /* so much before T2 is T3 in every second reply, as if of another clock;
                            0: in none. In clear test packets only */
    int64_t control_ns;  /* that each piece of the control stream comes later than it could */
    uint16_t reply_port; /* from which replies leave; 0: from the one that was announced */
    int64_t warm_up_ns;  /* for so long after a start its host refuses test packets (ICMP) */
    bool ptp_utc;        /* its PTP timestamps count from UTC, as if TAI were the same */
    struct tw_server_config config;
    int64_t refwait_ns;
    int64_t idle_close_ns; /* ends every connection that is idle for so long, whether or not a
                              session is running on it; 0 = never */
};

/* What the target is configured with; at first the server has the same. */
#define SIM_KEYID  "sim"
#define SIM_SECRET "correct horse battery staple"

struct sim;

/* A world with a plain path of 1 ms each way, both clocks exact and synchronised, and a server that
 * works; `config` is the target's. The name resolves to one address. */
struct sim *sim_new(const struct tw_probe_config *config, uint64_t seed);
void sim_free(struct sim *sim);

/* The knobs; may be turned between runs. */
struct sim_clock *sim_client_clock(struct sim *sim);
struct sim_clock *sim_server_clock(struct sim *sim);
struct sim_link *sim_forward(struct sim *sim);
struct sim_link *sim_reverse(struct sim *sim);
struct sim_server *sim_server(struct sim *sim);

/* TCP arrives in pieces of at most this many octets; 0 = as written. */
void sim_cut_tcp(struct sim *sim, size_t octets);

/* Ends the server process with all its connections and sessions, or begins a new one. */
void sim_kill_server(struct sim *sim);
void sim_start_server(struct sim *sim);

/* What the name resolves to from now on: a number for the last octet of 192.0.2.0/24, 0 = nothing.
 * The server listens on `sim_move_server`'s address, at first on 1, as the name says. */
void sim_set_name(struct sim *sim, uint8_t host);
void sim_move_server(struct sim *sim, uint8_t host);

/* Closes all connections at the server, which lives on: their sessions end after their Timeout. */
void sim_close_connections(struct sim *sim);

/* What keeps the client from running. */
enum sim_sleep {
    SIM_STOPPED,   /* its process: clocks go on, and what comes waits in its sockets */
    SIM_SUSPENDED, /* its machine: the monotonic clock stands still and datagrams are lost; TCP
                      repeats itself afterwards */
};

/* The client's monotonic clock. */
tw_mono sim_client_mono(const struct sim *sim);

/* From now on the client does not run for so long. */
void sim_sleep(struct sim *sim, enum sim_sleep kind, int64_t duration_ns);

/* Runs until the virtual time `until_ns` from the beginning. */
void sim_run(struct sim *sim, int64_t until_ns);

/* Results so far, oldest first; valid until the next run. */
size_t sim_measurements(const struct sim *sim, const struct tw_measurement **measurements);

/* Forgets them, so that a long run needs no memory for them. */
void sim_forget_measurements(struct sim *sim);

/* For assertions on what happened on the wire. */
struct sim_counts {
    unsigned connections; /* TCP connections opened */
    unsigned sessions;    /* sessions accepted by the server */
    unsigned stops;       /* Stop-Sessions that reached the server, and sessions of Stop-N */
    unsigned keys;        /* derived for the client */
    unsigned closes;      /* connections that the Server machine closed */
    unsigned resolutions;
    uint64_t test_packets;          /* that left the sender */
    uint64_t replies;               /* that left the reflector */
    uint64_t bad_packets;           /* that came to it and were not authentic */
    uint64_t strange_replies;       /* that came from where the client expects none */
    size_t packet_size, reply_size; /* octets of the newest */
    uint16_t reflect_length;        /* asked for by the newest session (RFC 6038) */
    unsigned live_sessions;         /* at the server now */
    int64_t last_close_reason;
};
struct sim_counts sim_counts(const struct sim *sim);

#endif
