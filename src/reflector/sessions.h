/* All test sessions of the daemon: who may have one, which worker has it, when it is over.
 *
 * A session is asked for by a control connection, accepted, started, stopped, and reflects for its
 * Timeout after that (it lingers). Accepted and started sessions count against the limits;
 * lingering ones are bounded by the same numbers, but apart, so that who stops a session may ask
 * for the next at once: when there are too many the client's oldest one ends early, or the oldest
 * of all when the client has none. Clients with a key have a limit in all of their own.
 *
 * Behind NAT (the key `nat`) a request tells neither the address nor the port that test packets
 * come from: the address is the control peer's, and the port is learnt from the first packet that
 * is answered. Nothing else tells such sessions apart, so each has a receiver port to itself. Main
 * thread only. */
#ifndef TWD_SESSIONS_H
#define TWD_SESSIONS_H

#include <glib.h>
#include <net/if.h>
#include <stdbool.h>

#include "lib/server.h"
#include "reflector/clients.h"
#include "reflector/config.h"
#include "reflector/plane.h"
#include "reflector/refusal.h"
#include "reflector/sids.h"

enum twd_session_state {
    TWD_SESSION_ADDING,   /* not in its worker's table yet */
    TWD_SESSION_ACCEPTED, /* in it: ignores packets */
    TWD_SESSION_STARTING,
    TWD_SESSION_STARTED,
    TWD_SESSION_LINGERING,
    TWD_SESSION_ENDED, /* waits for the worker to let go of it */
};

struct twd_session {
    struct twd_flow flow;             /* the worker's, but for the key */
    struct tw_protection *protection; /* of its packets: the worker's as well; NULL: none */
    enum twd_session_state state;
    enum twd_class class;
    struct twd_worker *worker;
    struct twd_port *opened;   /* for it, and others perhaps; NULL: comes by a shared test port */
    struct twd_client *client; /* whose request it was */
    void *owner;               /* the connection; NULL once that is done with it */
    uint64_t number;           /* of the connection */
    char *keyid;               /* of the connection; empty: none */
    char device[IF_NAMESIZE];  /* of the connection's listener */
    GList link;                /* the owner's; then in the client's lingering ones */
    GList lingering_link;      /* in all lingering ones */
    bool was_started;
    uint16_t port; /* the reflector's */
    uint8_t sid[TW_SID_SIZE];
    char sid_text[TWD_SID_TEXT];
};

/* What a request says beyond its own octets. */
struct twd_asker {
    struct tw_address peer, local;  /* of the control connection */
    char device[IF_NAMESIZE];       /* that its listener is bound to; empty: none */
    uint32_t mode;                  /* chosen at set-up */
    const char *keyid;              /* that it was set up with, printable; empty: none */
    const struct tw_server *server; /* whose keys protect its test packets; NULL: no keys */
    struct twd_client *client;
    void *owner;
    uint64_t number; /* of the connection: a later one has a higher */
};

/* Called for sessions that have an owner. After `ended` the session is not the owner's any more. */
struct twd_sessions_calls {
    void (*ready)(void *owner, struct twd_session *session);   /* packets find it */
    void (*started)(void *owner, struct twd_session *session); /* it reflects */
    /* By REFWAIT, or because the client asked for it anew on another connection. */
    void (*ended)(void *owner, struct twd_session *session);
    /* When the owner's client last said anything to it. */
    tw_mono (*heard)(void *owner);
};

struct twd_sessions;

struct twd_sessions *twd_sessions_new(struct twd_plane *plane, struct twd_clients *clients,
                                      const struct twd_sessions_calls *calls);

/* After the plane's threads have ended. */
void twd_sessions_free(struct twd_sessions *sessions);

/* For sessions asked for from now on; `config` stays the caller's and must outlive the next call.
 */
void twd_sessions_configure(struct twd_sessions *sessions, const struct twd_config *config);

/* For twd_plane_start; `user` is the sessions. */
void twd_sessions_report(void *user, enum twd_order order, struct twd_flow *flow);

/* Judges the request and has the session added; calls ready() when that is done. NULL with the
 * reason when it is refused. */
struct twd_session *twd_sessions_request(struct twd_sessions *sessions,
                                         const struct tw_request *request,
                                         const struct twd_asker *asker, enum twd_refusal *refusal);

/* started() follows. */
void twd_sessions_start(struct twd_sessions *sessions, struct twd_session *session);

/* The owner is done with it: a started session lingers for its Timeout, any other ends. */
void twd_sessions_stop(struct twd_sessions *sessions, struct twd_session *session);

/* The owner is done with it and it ends at once. */
void twd_sessions_end(struct twd_sessions *sessions, struct twd_session *session);

/* For the status. */
struct twd_sessions_counts {
    unsigned active; /* accepted or started */
    unsigned lingering;
    uint64_t started, ended; /* ended: of those that were started */
};
struct twd_sessions_counts twd_sessions_count(const struct twd_sessions *sessions);

#endif
