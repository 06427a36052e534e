/* Control connections, from the first octet to the last; see connection.h. The protocol is
 * lib/server.c's alone, who is served connection_admission.c's, and what a client asks of its
 * sessions connection_sessions.c's. */
#include "reflector/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/keys.h"
#include "lib/sys/clock.h"
#include "lib/sys/socket.h"
#include "reflector/connection_state.h"

/* How long what the peer still sends is read and thrown away after our end was closed: closing a
 * socket with unread octets would reset the connection and could take our last answer with it. */
#define DRAIN_NS TW_NS_PER_S

enum { MESSAGES_PER_TURN = 32 }; /* of one connection, before the others have theirs */

static void release_keys(struct twd_connection *connection)
{
    if (connection->keys != NULL)
        twd_keyset_release(connection->keys);
    connection->keys = NULL;
}

/* Neither the machine nor its keys are needed any more. */
static void wipe(struct twd_connection *connection)
{
    release_keys(connection);
    tw_server_wipe(&connection->server);
}

static void free_connection(struct twd_connection *connection, enum twd_parting parting)
{
    struct twd_service *service = connection->service;
    twd_poller_remove(service->poller, &connection->watch);
    twd_poller_arm(service->poller, &connection->timer, TW_NEVER);
    close(connection->watch.fd);
    twd_roster_part(&connection->roster, parting);
    twd_roster_free(&connection->roster);
    wipe(connection);
    g_queue_unlink(&connection->client->connections, &connection->client_link);
    twd_clients_release(service->clients, connection->client);
    g_queue_unlink(&service->connections, &connection->link);
    explicit_bzero(connection, sizeof(*connection));
    g_free(connection);
}

void twd_connection_lose(struct twd_connection *connection, const char *why)
{
    twd_log(TWD_LOG_DEBUG, TWD_LOG_ABOUT(connection->peer_text, NULL, -1), "connection lost: %s",
            why);
    free_connection(connection, TWD_PARTING_STOP); /* SRV-50 */
}

/* Throws away what comes; false when the connection is gone. */
static bool drain(struct twd_connection *connection)
{
    uint8_t rest[1024];
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        const ssize_t n = recv(connection->watch.fd, rest, sizeof(rest), MSG_DONTWAIT);
        if (n > 0 || (n < 0 && errno == EINTR))
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        free_connection(connection, TWD_PARTING_END);
        return false;
    }
    return true;
}

/* What the client was told in Server-Start; -1: nothing. */
static int accept_at_close(enum tw_server_close_reason reason)
{
    if (reason == TW_SERVER_CLOSE_KEY)
        return TW_ACCEPT_FAILURE;
    return reason == TW_SERVER_CLOSE_MODE ? TW_ACCEPT_UNSUPPORTED : -1;
}

/* Who cannot authenticate is named, so that the administrator can help; what the client sent as
 * KeyID is no secret, but may be anything. */
static void log_close(struct twd_connection *connection, enum tw_server_close_reason reason)
{
    struct twd_log_limit *limit = &connection->service->connection_log;
    const enum twd_log_level level =
        reason == TW_SERVER_CLOSE_CLIENT_QUIT ? TWD_LOG_DEBUG : TWD_LOG_INFO;
    const struct twd_log_about about = {
        .peer = connection->peer_text,
        .accept = accept_at_close(reason),
    };
    if (reason == TW_SERVER_CLOSE_KEY)
        twd_log_limited(limit, level, &about, "connection closed: key: %s \"%s\"",
                        connection->key_known ? "wrong secret for KeyID" : "unknown KeyID",
                        connection->keyid);
    else
        twd_log_limited(limit, level, &about, "connection closed: %s",
                        tw_server_close_reason_name(reason));
}

/* The machine has said its last: closes our end, and the rest when the peer has followed. */
static void begin_drain(struct twd_connection *connection, enum tw_server_close_reason reason)
{
    struct twd_service *service = connection->service;
    service->closed[reason]++;
    log_close(connection, reason);
    /* Conformance E-11: a wrong count means that the two ends disagree on what is running. */
    twd_roster_part(&connection->roster,
                    reason == TW_SERVER_CLOSE_STOP_COUNT ? TWD_PARTING_END : TWD_PARTING_STOP);
    wipe(connection);
    connection->draining = true;
    shutdown(connection->watch.fd, SHUT_WR);
    twd_poller_change(service->poller, &connection->watch, EPOLLIN);
    twd_poller_arm(service->poller, &connection->timer, tw_mono_after(tw_clock_mono(), DRAIN_NS));
}

/* Printable ASCII as it is, any other octet as \xNN. */
static void print_keyid(const uint8_t keyid[TW_KEYID_SIZE], char text[TWD_KEYID_TEXT])
{
    for (size_t i = 0; i < TW_KEYID_SIZE && keyid[i] != 0; i++) {
        const char octet = (char)keyid[i];
        const bool plain = g_ascii_isprint(octet) && octet != '"' && octet != '\\';
        text += g_snprintf(text, 5, plain ? "%c" : "\\x%02x", keyid[i]);
    }
    *text = '\0';
}

static void take_key(struct twd_connection *connection, const uint8_t keyid[TW_KEYID_SIZE])
{
    uint8_t key[TW_AES_KEY_SIZE];
    print_keyid(keyid, connection->keyid);
    connection->key_known = twd_keyset_find(connection->keys, keyid, key);
    const enum tw_result result =
        tw_server_answer_key(&connection->server, key, connection->key_known, tw_clock_mono());
    explicit_bzero(key, sizeof(key));
    g_assert(result == TW_OK);
    release_keys(connection);
}

static void take_set_up(struct twd_connection *connection, uint32_t mode)
{
    release_keys(connection); /* the mode needs none */
    const struct twd_log_about about = {.peer = connection->peer_text, .accept = TW_ACCEPT_OK};
    if (connection->keyid[0] == '\0')
        twd_log(TWD_LOG_DEBUG, &about, "set up, mode %u", (unsigned)mode);
    else
        twd_log(TWD_LOG_DEBUG, &about, "set up, mode %u, KeyID \"%s\"", (unsigned)mode,
                connection->keyid);
}

static void take_reject(struct twd_connection *connection, const struct tw_server_event *event)
{
    struct twd_service *service = connection->service;
    service->rejected[event->reject.reason]++;
    twd_log_limited(&service->session_log, TWD_LOG_INFO,
                    TWD_LOG_ABOUT(connection->peer_text, NULL, event->reject.accept),
                    "command %u answered with Accept %u: %s", event->reject.command,
                    event->reject.accept, tw_server_reject_reason_name(event->reject.reason));
}

static void take_event(struct twd_connection *connection, const struct tw_server_event *event)
{
    switch (event->type) {
    case TW_SERVER_KEY:
        take_key(connection, event->keyid);
        return;
    case TW_SERVER_SET_UP:
        take_set_up(connection, event->mode);
        return;
    case TW_SERVER_REQUEST:
        twd_connection_request(connection, &event->request);
        return;
    case TW_SERVER_START:
        twd_connection_start(connection);
        return;
    case TW_SERVER_STOP:
        twd_connection_stop(connection, event);
        return;
    case TW_SERVER_START_N:
        twd_connection_start_n(connection, event);
        return;
    case TW_SERVER_STOP_N:
        twd_connection_stop_n(connection, event);
        return;
    case TW_SERVER_REJECT:
        take_reject(connection, event);
        return;
    case TW_SERVER_CLOSE:
        begin_drain(connection, event->close);
        return;
    }
}

/* Writes what the machine has; false with errno when the connection is lost. */
static bool flush(struct twd_connection *connection)
{
    size_t n;
    for (;;) {
        const uint8_t *out = tw_server_output(&connection->server, &n);
        if (n == 0)
            return true;
        const ssize_t sent = send(connection->watch.fd, out, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        tw_server_sent(&connection->server, (size_t)sent, tw_clock_mono());
    }
}

void twd_connection_rearm(struct twd_connection *connection)
{
    struct twd_poller *poller = connection->service->poller;
    size_t room;
    size_t queued;
    tw_server_input(&connection->server, &room);
    tw_server_output(&connection->server, &queued);
    /* Most answers are there before the client says more: until it does, see take_readiness(),
     * it costs nothing to wait for what cannot be used. */
    const uint32_t in = room > 0 ? EPOLLIN : connection->watch.events & EPOLLIN;
    const uint32_t out = queued > 0 ? EPOLLOUT : 0;
    twd_poller_change(poller, &connection->watch, in | out);
    twd_poller_arm(poller, &connection->timer, tw_server_deadline(&connection->server));
}

/* Each once for a connection. */
static void tell_quirks(struct twd_connection *connection)
{
    const uint32_t fresh = connection->server.quirks & ~connection->quirks;
    if (fresh == 0)
        return;
    connection->quirks |= fresh;
    for (unsigned bit = 0; bit < TW_QUIRK_COUNT; bit++) {
        if ((fresh & UINT32_C(1) << bit) == 0)
            continue;
        connection->service->quirks[bit]++;
        twd_log_limited(&connection->service->quirk_log, TWD_LOG_INFO,
                        TWD_LOG_ABOUT(connection->peer_text, NULL, -1),
                        "the client departs from the standard, and is served: %s",
                        tw_quirk_name(bit));
    }
}

static bool take_events(struct twd_connection *connection)
{
    struct tw_server_event event;
    bool any = false;
    tell_quirks(connection);
    while (!connection->draining && tw_server_next_event(&connection->server, &event)) {
        take_event(connection, &event);
        any = true;
    }
    return any;
}

/* An event may bring an answer, and with the last octet gone there may be the event to close. */
bool twd_connection_settle(struct twd_connection *connection)
{
    do {
        if (!flush(connection)) {
            twd_connection_lose(connection, g_strerror(errno));
            return false;
        }
    } while (take_events(connection));
    if (connection->draining)
        return drain(connection);
    twd_connection_rearm(connection);
    return true;
}

/* Reads what the machine has room for now; false when the connection is gone. */
static bool receive(struct twd_connection *connection)
{
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        size_t room;
        uint8_t *in = tw_server_input(&connection->server, &room);
        if (room == 0)
            return true;
        const ssize_t n = recv(connection->watch.fd, in, room, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n <= 0) {
            twd_connection_lose(connection, n == 0 ? "closed by the client" : g_strerror(errno));
            return false;
        }
        connection->heard = tw_clock_mono();
        tw_server_received(&connection->server, (size_t)n, connection->heard);
        if (!twd_connection_settle(connection) || connection->draining)
            return false;
    }
    return true;
}

static void take_readiness(struct twd_watch *watch, uint32_t events)
{
    struct twd_connection *connection = watch->owner;
    if (connection->draining) {
        drain(connection);
        return;
    }
    size_t room;
    tw_server_input(&connection->server, &room);
    if (room == 0 && (events & (EPOLLERR | EPOLLHUP)) != 0) { /* nobody is there for the answer */
        twd_connection_lose(connection, "reset by the client");
        return;
    }
    if (room == 0) /* or epoll would tell of what waits for ever */
        twd_poller_change(connection->service->poller, watch, watch->events & ~(uint32_t)EPOLLIN);
    if (receive(connection))
        twd_connection_settle(connection);
}

static void take_deadline(struct twd_timer *timer, tw_mono now)
{
    struct twd_connection *connection = timer->owner;
    if (connection->draining) {
        free_connection(connection, TWD_PARTING_END);
        return;
    }
    tw_server_expire(&connection->server, now);
    twd_connection_settle(connection);
}

/* Modes that need keys are offered with the salt that these were derived for. */
static void choose_salt(struct twd_connection *connection)
{
    struct tw_server_config *config = &connection->config;
    if (tw_keys_needed(config->modes))
        connection->keys = twd_keystore_hold(connection->service->keys);
    if (connection->keys != NULL) {
        memcpy(config->salt, twd_keyset_salt(connection->keys), sizeof(config->salt));
        config->count = twd_keyset_count(connection->keys);
        return;
    }
    config->modes &= ~TW_MODE_SECURITY | TW_MODE_UNAUTHENTICATED;
    tw_random_fill(&connection->service->random, config->salt, sizeof(config->salt));
}

void twd_connection_serve(struct twd_service *service, int fd, const struct tw_address *peer,
                          struct twd_client *client, const char *device)
{
    struct twd_connection *connection = g_new0(struct twd_connection, 1);
    connection->service = service;
    connection->client = client;
    connection->config = service->server;
    choose_salt(connection);
    connection->peer = *peer;
    (void)tw_socket_local(fd, &connection->local);
    g_strlcpy(connection->device, device, sizeof(connection->device));
    tw_address_format(peer, true, connection->peer_text);
    static uint64_t connections; /* main thread only */
    connection->number = ++connections;
    connection->watch = (struct twd_watch){.ready = take_readiness, .owner = connection, .fd = fd};
    connection->timer = (struct twd_timer){.expire = take_deadline, .owner = connection};
    connection->link.data = connection->client_link.data = connection;
    twd_roster_init(&connection->roster, service->sessions);
    connection->heard = tw_clock_mono();
    tw_server_init(&connection->server, &connection->config, &service->random, connection->heard);

    g_queue_push_tail_link(&client->connections, &connection->client_link);
    service->accepted++;
    g_queue_push_tail_link(&service->connections, &connection->link);
    const int result = twd_poller_add(service->poller, &connection->watch, EPOLLIN);
    if (result != 0)
        twd_connection_lose(connection, g_strerror(-result));
    else
        twd_connection_settle(connection);
}

void twd_connection_close_all(struct twd_service *service)
{
    GList *link;
    while ((link = g_queue_peek_head_link(&service->connections)) != NULL)
        free_connection(link->data, TWD_PARTING_END);
}
