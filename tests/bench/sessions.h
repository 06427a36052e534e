/* Many control connections to one TWAMP server at the same time, and their test sessions: the
 * control part of the bench programs.
 *
 * Drives lib/client over non-blocking TCP in one epoll set, on the caller's thread, so that what is
 * measured at the other end is the server and not the client. Test packets are others' business:
 * here it ends with what they need to be sent. */
#ifndef BENCH_SESSIONS_H
#define BENCH_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/protection.h"
#include "lib/wire.h"

struct bench_plan {
    struct tw_address server; /* of control */
    uint32_t mode;            /* one security bit (lib/wire.h) */
    const char *keyid;        /* NULL in unauthenticated mode */
    const char *secret;
    unsigned connections;     /* kept open at the same time */
    unsigned sessions;        /* in all, shared out evenly; at most 16 for a connection */
    uint32_t padding;         /* Padding Length of the requests */
    struct tw_address sender; /* of the first session; the others have the addresses that follow,
                                 and the same port (the server needs third_party = yes) */
    int64_t timeout_ns;       /* Timeout of the requests */
};

struct bench_session {
    struct tw_address local;  /* packets come from */
    struct tw_address remote; /* and go to */
    uint32_t modes;           /* chosen */
    uint8_t sid[TW_SID_SIZE];
    struct tw_protection protection; /* in secured modes */
    bool is_protected;
};

struct bench_sessions;

/* Opens all connections, asks for all sessions and starts them. NULL with one line on stderr that
 * says what failed: bad secret, refusal (Accept in words), timeout. To be closed. Connections stay
 * open, and answers of the server are not read, until then. */
struct bench_sessions *bench_sessions_open(const struct bench_plan *plan);

unsigned bench_sessions_count(const struct bench_sessions *sessions);
struct bench_session *bench_sessions_at(struct bench_sessions *sessions, unsigned i);

/* Stop-Sessions on all connections, then closes them. */
void bench_sessions_close(struct bench_sessions *sessions);

/* How long it takes: `total` times { connect, set up, one session, start, stop, close }, with
 * plan->connections of them under way at any time; plan->sessions is not looked at. The ports of
 * the sessions follow each other, from that of plan->sender on, and when they are used up those of
 * the next address do: no two sessions have the same. A client that closes first keeps its TCP port
 * for a minute unless net.ipv4.tcp_tw_reuse is 1, or 2 and the server is this host. False as
 * above. */
struct bench_rate {
    uint64_t done;
    int64_t elapsed_ns;
    int64_t latency_p50_ns, latency_p99_ns; /* from connect to Start-Ack */
};
bool bench_sessions_rate(const struct bench_plan *plan, uint64_t total, struct bench_rate *rate);

#endif
