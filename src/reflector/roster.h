/* The sessions of one control connection: found by their SID, started and stopped together (RFC
 * 5357) or one by one (RFC 5938).
 *
 * It orders what the protocol asks for and counts what runs; sessions themselves are made, limited
 * and ended by sessions.h, and what is said to the client is connection.c's. Main thread only. */
#ifndef TWD_ROSTER_H
#define TWD_ROSTER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/wire.h"
#include "reflector/sessions.h"

/* How a connection parts from its sessions. */
enum twd_parting {
    TWD_PARTING_STOP, /* started ones go on for their Timeout */
    TWD_PARTING_END,  /* at once */
};

struct twd_roster {
    struct twd_sessions *sessions;
    GQueue all;          /* struct twd_session: asked for, accepted or started */
    GHashTable *by_sid;  /* the same */
    unsigned starting;   /* of them, ordered to start */
    unsigned running;    /* of them, started */
    GByteArray *expired; /* SIDs of those that ended by REFWAIT and were not stopped; NULL: none */
};

void twd_roster_init(struct twd_roster *roster, struct twd_sessions *sessions);

/* After all have been parted from. */
void twd_roster_free(struct twd_roster *roster);

void twd_roster_add(struct twd_roster *roster, struct twd_session *session);
void twd_roster_part(struct twd_roster *roster, enum twd_parting parting);

/* Orders all accepted sessions to start. */
void twd_roster_start_all(struct twd_roster *roster);

/* Orders the session to start, or stops it for good: TW_ACCEPT_OK; or TW_ACCEPT_UNSUPPORTED when
 * there is none with this SID, or none that is accepted or runs, as it has to (conformance E-22).
 * One that ended by REFWAIT is still to be stopped, once: the client cannot know of that. */
enum tw_accept twd_roster_start(struct twd_roster *roster, const uint8_t sid[TW_SID_SIZE]);
enum tw_accept twd_roster_stop(struct twd_roster *roster, const uint8_t sid[TW_SID_SIZE]);

/* A session that was ordered to start does reflect; true when it is the last of them. */
bool twd_roster_started(struct twd_roster *roster);

/* The session, accepted or started, ended without its connection: by REFWAIT, say. */
void twd_roster_ended(struct twd_roster *roster, struct twd_session *session);

/* When a packet of one of the sessions last came, or one was made or started; far in the past when
 * there is none. */
tw_mono twd_roster_heard(const struct twd_roster *roster);

#endif
