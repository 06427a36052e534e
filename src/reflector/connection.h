/* A control connection: moves octets between TCP and its Server machine, and carries the machine's
 * questions to the sessions and their answers back. Main thread only. */
#ifndef TWD_CONNECTION_H
#define TWD_CONNECTION_H

#include <glib.h>
#include <stdint.h>

#include "lib/server.h"
#include "reflector/clients.h"
#include "reflector/keystore.h"
#include "reflector/log.h"
#include "reflector/poller.h"
#include "reflector/refusal.h"
#include "reflector/roster.h"
#include "reflector/sessions.h"

/* How many reasons lib/server.h has. */
#define TWD_ONE_MORE(name, text) +1
enum {
    TWD_REJECT_COUNT = 0 TW_SERVER_REJECT_REASONS(TWD_ONE_MORE),
    TWD_CLOSE_COUNT = 0 TW_SERVER_CLOSE_REASONS(TWD_ONE_MORE),
};
#undef TWD_ONE_MORE

/* The service: what all connections share, and what they counted since the start. */
struct twd_service {
    struct twd_poller *poller;
    struct twd_sessions *sessions;
    struct twd_clients *clients;
    struct twd_keystore *keys;
    const struct twd_config *config;
    struct tw_server_config server; /* for connections from now on, but for salt and count */
    struct tw_random random;
    GQueue connections; /* struct twd_connection, served ones */
    uint64_t accepted;  /* connections that were served */
    uint64_t refused[TWD_REFUSAL_COUNT];
    uint64_t rejected[TWD_REJECT_COUNT];
    uint64_t closed[TWD_CLOSE_COUNT];
    uint64_t zero_stops;             /* Stop-Sessions with count 0, tolerated */
    uint64_t made_way;               /* unused connections closed for later ones of their clients */
    uint64_t quirks[TW_QUIRK_COUNT]; /* connections that showed it */
    struct twd_log_limit connection_log, session_log, quirk_log;
};

/* Takes over a descriptor accepted from `peer`: judges that, serves it or sends it away with Modes
 * 0. `device` is what the listener is bound to. */
void twd_connection_take(struct twd_service *service, int fd, const struct tw_address *peer,
                         const char *device);

/* Closes all; their sessions end at once. */
void twd_connection_close_all(struct twd_service *service);

/* For twd_sessions_new. */
extern const struct twd_sessions_calls twd_connection_calls;

#endif
