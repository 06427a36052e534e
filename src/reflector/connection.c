/* Control connections; see connection.h. The protocol is lib/server.c's alone. */
#include "reflector/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "lib/sys/socket.h"

/* How long what the peer still sends is read and thrown away after our end was closed: closing a
 * socket with unread octets would reset the connection and could take our last answer with it. */
#define DRAIN_NS TW_NS_PER_S

enum {
    MESSAGES_PER_TURN = 32, /* of one connection, before the others have theirs */
};

struct twd_connection {
    struct twd_service *service;
    struct twd_watch watch;
    struct twd_timer timer;
    GList link; /* in service->connections */
    struct tw_server server;
    struct tw_server_config config; /* as it was when the connection came */
    struct twd_client *client;
    struct tw_address peer, local;
    char device[IF_NAMESIZE];
    char peer_text[TW_ADDRESS_TEXT];
    GQueue sessions;   /* struct twd_session, owned: asked for, accepted or started */
    unsigned starting; /* of them, ordered to start */
    unsigned running;  /* of them, started */
    bool draining;     /* our end is closed */
};

/* Which end a session comes to when its connection is done with it. */
enum parting {
    PARTING_STOP, /* goes on for its Timeout */
    PARTING_END,  /* at once */
};

static void part(struct twd_connection *connection, enum parting parting)
{
    GList *link;
    while ((link = g_queue_peek_head_link(&connection->sessions)) != NULL) {
        struct twd_session *session = link->data;
        g_queue_unlink(&connection->sessions, link);
        if (parting == PARTING_STOP)
            twd_sessions_stop(connection->service->sessions, session);
        else
            twd_sessions_end(connection->service->sessions, session);
    }
    connection->starting = connection->running = 0;
}

static void free_connection(struct twd_connection *connection, enum parting parting)
{
    struct twd_service *service = connection->service;
    twd_poller_remove(service->poller, &connection->watch);
    twd_poller_arm(service->poller, &connection->timer, TW_NEVER);
    close(connection->watch.fd);
    part(connection, parting);
    connection->client->connections--;
    twd_clients_release(service->clients, connection->client);
    g_queue_unlink(&service->connections, &connection->link);
    explicit_bzero(connection, sizeof(*connection));
    g_free(connection);
}

static void lose(struct twd_connection *connection, const char *why)
{
    twd_log(TWD_LOG_DEBUG, TWD_LOG_ABOUT(connection->peer_text, NULL, -1), "connection lost: %s",
            why);
    free_connection(connection, PARTING_STOP); /* SRV-50 */
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
        free_connection(connection, PARTING_END);
        return false;
    }
    return true;
}

/* The machine has said its last: closes our end, and the rest when the peer has followed. */
static void begin_drain(struct twd_connection *connection, enum tw_server_close_reason reason)
{
    struct twd_service *service = connection->service;
    service->closed[reason]++;
    twd_log_limited(&service->connection_log,
                    reason == TW_SERVER_CLOSE_CLIENT_QUIT ? TWD_LOG_DEBUG : TWD_LOG_INFO,
                    TWD_LOG_ABOUT(connection->peer_text, NULL, -1), "connection closed: %s",
                    tw_server_close_reason_name(reason));
    /* Conformance E-11: a wrong count means that the two ends disagree on what is running. */
    part(connection, reason == TW_SERVER_CLOSE_STOP_COUNT ? PARTING_END : PARTING_STOP);
    connection->draining = true;
    shutdown(connection->watch.fd, SHUT_WR);
    twd_poller_change(service->poller, &connection->watch, EPOLLIN);
    twd_poller_arm(service->poller, &connection->timer, tw_mono_after(tw_clock_mono(), DRAIN_NS));
}

static void log_session(struct twd_connection *connection, const struct twd_session *session,
                        const struct tw_request *request)
{
    char remote[TW_ADDRESS_TEXT];
    char local[TW_ADDRESS_TEXT];
    twd_log(TWD_LOG_DEBUG, TWD_LOG_ABOUT(connection->peer_text, session->sid_text, 0),
            "accepted: %s to %s, DSCP %d, padding %u",
            tw_address_format(&session->flow.key.remote, true, remote),
            tw_address_format(&session->flow.key.local, true, local),
            tw_type_p_to_dscp(request->type_p), (unsigned)request->padding_length);
}

/* When a session is made the answer follows from its worker, see ready(). */
static void take_request(struct twd_connection *connection, const struct tw_request *request)
{
    struct twd_service *service = connection->service;
    struct twd_asker asker = {
        .peer = connection->peer,
        .local = connection->local,
        .mode = connection->server.mode,
        .client = connection->client,
        .owner = connection,
    };
    memcpy(asker.device, connection->device, sizeof(asker.device));
    enum twd_refusal refusal = TWD_REFUSAL_COUNT;
    struct twd_session *session =
        twd_sessions_request(service->sessions, request, &asker, &refusal);
    if (session != NULL) {
        session->link = (GList){.data = session};
        g_queue_push_tail_link(&connection->sessions, &session->link);
        log_session(connection, session, request);
        return;
    }
    const enum tw_accept accept = twd_refusal_accept(refusal);
    service->refused[refusal]++;
    twd_log_limited(&service->session_log, TWD_LOG_INFO,
                    TWD_LOG_ABOUT(connection->peer_text, NULL, (int)accept),
                    "session refused (%s): %s", twd_refusal_name(refusal),
                    twd_refusal_text(refusal));
    static const uint8_t no_sid[TW_SID_SIZE];
    const enum tw_result result =
        tw_server_answer_session(&connection->server, accept, 0, no_sid, tw_clock_mono());
    g_assert(result == TW_OK);
}

/* The answer follows when every worker concerned has reported, see started(). */
static void take_start(struct twd_connection *connection)
{
    for (const GList *at = connection->sessions.head; at != NULL; at = at->next) {
        struct twd_session *session = at->data;
        if (session->state != TWD_SESSION_ACCEPTED)
            continue;
        connection->starting++;
        twd_sessions_start(connection->service->sessions, session);
    }
}

static void take_stop(struct twd_connection *connection, const struct tw_server_event *event)
{
    if (event->stop.zero_count)
        connection->service->zero_stops++;
    if (event->stop.accept != TW_ACCEPT_OK)
        twd_log_limited(&connection->service->session_log, TWD_LOG_INFO,
                        TWD_LOG_ABOUT(connection->peer_text, NULL, event->stop.accept),
                        "the client holds its results invalid: %s",
                        tw_accept_text(event->stop.accept));
    part(connection, PARTING_STOP);
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
    case TW_SERVER_SET_UP:
        twd_log(TWD_LOG_DEBUG, TWD_LOG_ABOUT(connection->peer_text, NULL, -1), "set up, mode %u",
                (unsigned)event->mode);
        return;
    case TW_SERVER_REQUEST:
        take_request(connection, &event->request);
        return;
    case TW_SERVER_START:
        take_start(connection);
        return;
    case TW_SERVER_STOP:
        take_stop(connection, event);
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

/* Waits for what the machine can use now. */
static void rearm(struct twd_connection *connection)
{
    struct twd_poller *poller = connection->service->poller;
    size_t room;
    size_t queued;
    tw_server_input(&connection->server, &room);
    tw_server_output(&connection->server, &queued);
    const uint32_t events = (room > 0 ? EPOLLIN : 0u) | (queued > 0 ? EPOLLOUT : 0u);
    twd_poller_change(poller, &connection->watch, events);
    twd_poller_arm(poller, &connection->timer, tw_server_deadline(&connection->server));
}

static bool take_events(struct twd_connection *connection)
{
    struct tw_server_event event;
    bool any = false;
    while (!connection->draining && tw_server_next_event(&connection->server, &event)) {
        take_event(connection, &event);
        any = true;
    }
    return any;
}

/* Writes all answers and takes all events: an event may bring an answer, and with the last octet
 * gone there may be the event to close. False when the connection is gone. */
static bool settle(struct twd_connection *connection)
{
    do {
        if (!flush(connection)) {
            lose(connection, g_strerror(errno));
            return false;
        }
    } while (take_events(connection));
    if (connection->draining)
        return drain(connection);
    rearm(connection);
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
            lose(connection, n == 0 ? "closed by the client" : g_strerror(errno));
            return false;
        }
        tw_server_received(&connection->server, (size_t)n, tw_clock_mono());
        if (!settle(connection) || connection->draining)
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
        lose(connection, "reset by the client");
        return;
    }
    if (receive(connection))
        settle(connection);
}

static void take_deadline(struct twd_timer *timer, tw_mono now)
{
    struct twd_connection *connection = timer->owner;
    if (connection->draining) {
        free_connection(connection, PARTING_END);
        return;
    }
    tw_server_expire(&connection->server, now);
    settle(connection);
}

static void session_ready(void *owner, struct twd_session *session)
{
    struct twd_connection *connection = owner;
    const enum tw_result result = tw_server_answer_session(
        &connection->server, TW_ACCEPT_OK, session->port, session->sid, tw_clock_mono());
    g_assert(result == TW_OK);
    settle(connection);
}

static void session_started(void *owner, struct twd_session *session)
{
    (void)session;
    struct twd_connection *connection = owner;
    connection->running++;
    if (--connection->starting > 0)
        return;
    const enum tw_result result =
        tw_server_answer_start(&connection->server, TW_ACCEPT_OK, tw_clock_mono());
    g_assert(result == TW_OK);
    settle(connection);
}

/* By REFWAIT: SERVWAIT counts again when it was the last one (RFC 5357 section 3.1). */
static void session_ended(void *owner, struct twd_session *session)
{
    struct twd_connection *connection = owner;
    g_queue_unlink(&connection->sessions, &session->link);
    if (--connection->running > 0)
        return;
    tw_server_sessions_ended(&connection->server, tw_clock_mono());
    rearm(connection);
}

const struct twd_sessions_calls twd_connection_calls = {
    .ready = session_ready,
    .started = session_started,
    .ended = session_ended,
};

static bool is_refused(const struct twd_service *service, const struct tw_address *peer,
                       const struct twd_client *client, enum twd_refusal *refusal)
{
    const struct twd_config *config = service->config;
    if (!twd_config_admits(config, peer))
        *refusal = TWD_REFUSE_DENIED;
    else if (config->max_connections != 0 && service->connections.length >= config->max_connections)
        *refusal = TWD_REFUSE_CONNECTIONS;
    else if (config->max_connections_per_client != 0 &&
             client->connections >= config->max_connections_per_client)
        *refusal = TWD_REFUSE_CLIENT_CONNECTIONS;
    else
        return false;
    return true;
}

/* A greeting with Modes 0; it always fits into a new socket's buffer. */
static void refuse(struct twd_service *service, int fd, const struct tw_address *peer,
                   enum twd_refusal refusal)
{
    service->refused[refusal]++;
    char text[TW_ADDRESS_TEXT];
    twd_log_limited(&service->connection_log, TWD_LOG_INFO,
                    TWD_LOG_ABOUT(tw_address_format(peer, true, text), NULL, -1),
                    "connection refused (%s): %s", twd_refusal_name(refusal),
                    twd_refusal_text(refusal));
    struct tw_server_config config = service->server;
    config.modes = 0;
    struct tw_server server;
    size_t n;
    tw_server_init(&server, &config, &service->random, tw_clock_mono());
    const uint8_t *greeting = tw_server_output(&server, &n);
    (void)send(fd, greeting, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    close(fd);
}

static void serve(struct twd_service *service, int fd, const struct tw_address *peer,
                  struct twd_client *client, const char *device)
{
    struct twd_connection *connection = g_new0(struct twd_connection, 1);
    connection->service = service;
    connection->client = client;
    connection->config = service->server;
    tw_random_fill(&service->random, connection->config.salt, sizeof(connection->config.salt));
    connection->peer = *peer;
    (void)tw_socket_local(fd, &connection->local);
    g_strlcpy(connection->device, device, sizeof(connection->device));
    tw_address_format(peer, true, connection->peer_text);
    connection->watch = (struct twd_watch){.ready = take_readiness, .owner = connection, .fd = fd};
    connection->timer = (struct twd_timer){.expire = take_deadline, .owner = connection};
    connection->link.data = connection;
    g_queue_init(&connection->sessions);
    tw_server_init(&connection->server, &connection->config, &service->random, tw_clock_mono());

    client->connections++;
    service->accepted++;
    g_queue_push_tail_link(&service->connections, &connection->link);
    const int result = twd_poller_add(service->poller, &connection->watch, EPOLLIN);
    if (result != 0)
        lose(connection, g_strerror(-result));
    else
        settle(connection);
}

void twd_connection_take(struct twd_service *service, int fd, const char *device)
{
    struct tw_address peer;
    if (tw_socket_peer(fd, &peer) != 0 || peer.family == 0) { /* gone already */
        close(fd);
        return;
    }
    struct twd_client *client = twd_clients_hold(service->clients, &peer);
    enum twd_refusal refusal = TWD_REFUSAL_COUNT;
    if (!is_refused(service, &peer, client, &refusal)) {
        serve(service, fd, &peer, client, device);
        return;
    }
    refuse(service, fd, &peer, refusal);
    twd_clients_release(service->clients, client);
}

void twd_connection_close_all(struct twd_service *service)
{
    GList *link;
    while ((link = g_queue_peek_head_link(&service->connections)) != NULL)
        free_connection(link->data, PARTING_END);
}
