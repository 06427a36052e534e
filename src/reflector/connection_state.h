/* A control connection from inside, for its parts: connection_admission.c (who is served),
 * connection.c (octets, set-up, the end) and connection_sessions.c. Others use connection.h alone.
 */
#ifndef TWD_CONNECTION_STATE_H
#define TWD_CONNECTION_STATE_H

#include <net/if.h>
#include <stdbool.h>

#include "lib/sys/socket.h"
#include "reflector/connection.h"

/* Each octet as \xNN, and the end. */
enum { TWD_KEYID_TEXT = 4 * TW_KEYID_SIZE + 1 };

struct twd_connection {
    uint64_t number; /* connections are numbered in the order of coming */
    struct twd_service *service;
    struct twd_watch watch;
    struct twd_timer timer;
    GList link;        /* in service->connections */
    GList client_link; /* in client->connections */
    struct tw_server server;
    struct tw_server_config config; /* as it was when the connection came */
    tw_mono heard;                  /* last octet received, or when it came */
    struct twd_client *client;
    struct tw_address peer, local;
    char device[IF_NAMESIZE];
    char peer_text[TW_ADDRESS_TEXT];
    struct twd_keyset *keys; /* of the salt in the greeting, until the key is found; NULL: none */
    bool key_known;
    char keyid[TWD_KEYID_TEXT]; /* as the client named it, printable; empty: not yet */
    uint32_t quirks;            /* enum tw_quirk, told already */
    struct twd_roster roster;
    uint8_t accepts[TW_SIDS_MAX]; /* the answer to Start-N-Sessions, while sessions start */
    bool draining;                /* our end is closed */
};

/* Serves the client at `fd`; takes over both. */
void twd_connection_serve(struct twd_service *service, int fd, const struct tw_address *peer,
                          struct twd_client *client, const char *device);

/* It ends at once and is gone; its sessions that were started go on for their Timeout. */
void twd_connection_lose(struct twd_connection *connection, const char *why);

/* Writes all answers and takes all events. False when the connection is gone. */
bool twd_connection_settle(struct twd_connection *connection);

/* Waits for what the machine can use now. */
void twd_connection_rearm(struct twd_connection *connection);

/* The events of the machine that are about sessions; answers are queued at once, or when the
 * workers have done what was asked for. */
void twd_connection_request(struct twd_connection *connection, const struct tw_request *request);
void twd_connection_start(struct twd_connection *connection);
void twd_connection_stop(struct twd_connection *connection, const struct tw_server_event *event);
void twd_connection_start_n(struct twd_connection *connection, const struct tw_server_event *event);
void twd_connection_stop_n(struct twd_connection *connection, const struct tw_server_event *event);

#endif
