/* The sessions of one Control-Client: which were accepted, which run, and which SIDs of a Start-N
 * or Stop-N are still to be acknowledged (RFC 5357 sections 3.5 to 3.8, RFC 5938 sections 3.2
 * to 3.5).
 *
 * For client.c. Keeps count only: it knows no message, no time and no key. Without RFC 5938 SIDs do
 * not matter, and all accepted sessions start and stop together. */
#ifndef TW_LIB_CLIENT_SESSIONS_H
#define TW_LIB_CLIENT_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/wire.h"

/* Sessions of one connection at a time. */
enum { TW_CLIENT_SESSIONS_MAX = 16 };

struct tw_client_session {
    uint8_t sid[TW_SID_SIZE];
    uint8_t state; /* private to client_sessions.c; 0 = the place is free */
};

struct tw_client_sessions {
    struct tw_client_session of[TW_CLIENT_SESSIONS_MAX];
    uint32_t accepted;      /* and not started */
    uint32_t started;       /* and not stopped: the count of Stop-Sessions */
    uint32_t asked;         /* SIDs of the open Start-N or Stop-N */
    uint32_t open;          /* of them, not acknowledged yet */
    uint32_t refused;       /* of them, acknowledged with an Accept other than 0 */
    uint8_t refused_accept; /* of the first of these */
};

bool tw_client_sessions_full(const struct tw_client_sessions *sessions);
bool tw_client_sessions_has(const struct tw_client_sessions *sessions,
                            const uint8_t sid[TW_SID_SIZE]);

/* A session was accepted; there is room for it. */
void tw_client_sessions_add(struct tw_client_sessions *sessions, const uint8_t sid[TW_SID_SIZE]);

/* All accepted ones run; none that runs is left. */
void tw_client_sessions_start(struct tw_client_sessions *sessions);
void tw_client_sessions_stop(struct tw_client_sessions *sessions);

/* A Start-N (Stop-N) for all that can be started (stopped), or with `sid` not NULL for that one:
 * copies their SIDs one after the other to `sids`, which has room for TW_CLIENT_SESSIONS_MAX.
 * Returns how many; with 0 nothing has changed. */
uint32_t tw_client_sessions_ask_start(struct tw_client_sessions *sessions, const uint8_t *sid,
                                      uint8_t *sids);
uint32_t tw_client_sessions_ask_stop(struct tw_client_sessions *sessions, const uint8_t *sid,
                                     uint8_t *sids);

/* An acknowledgment of what was asked, for `count` SIDs. False when one of them was not asked for
 * or is acknowledged already. A session that is not started can be asked for again; one that is not
 * stopped is forgotten all the same, since most often it has ended by itself and nothing can be
 * done about another. */
bool tw_client_sessions_acknowledge(struct tw_client_sessions *sessions, uint8_t accept,
                                    const uint8_t *sids, uint32_t count);

#endif
