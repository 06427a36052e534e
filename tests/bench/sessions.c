/* The client side of many control connections at once; see sessions.h.
 *
 * The server speaks first, so a connection waits to be readable from its connect() on, and what the
 * client sends fits into an empty socket buffer: no descriptor is ever waited for to be writable.
 * PBKDF2 is done once for a salt. What is left is what the client machine costs. */
#include "bench/sessions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/client.h"
#include "lib/sys/clock.h"
#include "lib/sys/random.h"
#include "lib/sys/socket.h"

enum {
    IN_FLIGHT = 128, /* connections being set up at once: fewer than a server's backlog */
    EVENTS = 64,
    STEP_S = 20, /* longest wait for one answer */
    LOOK_MS = 1000,
    FIRST_PORT = 1024, /* of the sessions, where they follow each other */
};

struct connection {
    struct tw_client client;
    struct tw_channel_ciphers ciphers;
    int fd;            /* -1: none */
    uint64_t first;    /* its first session, counted from that of the plan */
    unsigned wanted;   /* sessions */
    unsigned accepted; /* of them */
    tw_mono began;
};

struct bench_sessions {
    struct bench_plan plan;
    struct tw_client_config config;
    struct tw_random random;
    uint8_t salt[TW_SALT_SIZE]; /* that `key` was derived for with `count`; 0: none yet */
    uint32_t count;
    uint8_t key[TW_AES_KEY_SIZE];
    int epoll;
    struct connection *connections;
    unsigned under_way;            /* connections that are not started yet */
    struct bench_session *session; /* of bench_sessions_open; NULL: only their rate is wanted */
    uint64_t begun, done, total;   /* connections */
    int64_t *latency_ns;           /* of each that is done, for the rate */
};

/* The one line on stderr. */
static bool fail(const struct connection *connection, const char *what, const char *why)
{
    fprintf(stderr, "sessions: connection of session %llu: %s: %s\n",
            (unsigned long long)connection->first, what, why);
    return false;
}

/* A question that the machine does not take is a fault of ours. */
static bool was_taken(const struct connection *connection, enum tw_result result)
{
    return result == TW_OK ||
           fail(connection, tw_client_step_name(connection->client.step), "not now");
}

/* The address that follows by n. */
static void move_address(struct tw_address *address, uint64_t n)
{
    uint8_t *last = address->octets + (address->family == 4 ? 0 : 12);
    tw_put32(last, tw_get32(last) + (uint32_t)n);
}

/* Where packets of session `i` come from: sessions that stay have an address each, those that come
 * and go a port each. */
static struct tw_address sender_of(const struct bench_sessions *sessions, uint64_t i)
{
    struct tw_address sender = sessions->plan.sender;
    if (sessions->session != NULL) {
        move_address(&sender, i);
        return sender;
    }
    const uint64_t ports = UINT16_MAX + 1 - FIRST_PORT;
    const unsigned base = sender.port < FIRST_PORT ? FIRST_PORT : sender.port;
    const uint64_t place = base - FIRST_PORT + i;
    sender.port = (uint16_t)(FIRST_PORT + place % ports);
    move_address(&sender, place / ports);
    return sender;
}

static bool flush(struct connection *connection, tw_mono now)
{
    size_t n;
    const uint8_t *out = tw_client_output(&connection->client, &n);
    if (n == 0)
        return true;
    const ssize_t sent = send(connection->fd, out, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return fail(connection, "send", strerror(errno));
    if ((size_t)sent != n)
        return fail(connection, "send", "the server does not read");
    tw_client_sent(&connection->client, n, now);
    return true;
}

static bool begin(struct bench_sessions *sessions, struct connection *connection, uint64_t first,
                  unsigned wanted)
{
    const tw_mono now = tw_clock_mono();
    const struct tw_tcp_options options = {.source = {.family = 0}};
    connection->first = first;
    connection->wanted = wanted;
    connection->accepted = 0;
    connection->began = now;
    const int fd = tw_tcp_connect(&sessions->plan.server, &options);
    if (fd < 0)
        return fail(connection, "connect", strerror(-fd));
    connection->fd = fd;
    tw_client_init(&connection->client, &sessions->config, &connection->ciphers, now);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = connection}};
    if (epoll_ctl(sessions->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return fail(connection, "epoll", strerror(errno));
    sessions->begun++;
    sessions->under_way++;
    return true;
}

/* Leaves the epoll set by itself. */
static void hang_up(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    tw_client_wipe(&connection->client);
}

static bool answer_key(struct bench_sessions *sessions, struct connection *connection,
                       const struct tw_client_event *event, tw_mono now)
{
    const char *secret = sessions->plan.secret;
    if (sessions->count != event->key.count ||
        memcmp(sessions->salt, event->key.salt, sizeof(sessions->salt)) != 0) {
        sessions->count = event->key.count;
        memcpy(sessions->salt, event->key.salt, sizeof(sessions->salt));
        tw_derive_key((const uint8_t *)secret, strlen(secret), sessions->salt, sessions->count,
                      sessions->key);
    }
    return was_taken(connection, tw_client_answer_key(&connection->client, sessions->key,
                                                      &sessions->random, now));
}

static bool ask(const struct bench_sessions *sessions, struct connection *connection, tw_mono now)
{
    const struct tw_address sender = sender_of(sessions, connection->first + connection->accepted);
    struct tw_request request = {
        .ipvn = sender.family,
        .sender_port = sender.port,
        .padding_length = sessions->plan.padding,
        .timeout = tw_interval_from_ns(sessions->plan.timeout_ns),
    };
    memcpy(request.sender_address, sender.octets, sizeof(request.sender_address));
    return was_taken(connection, tw_client_request(&connection->client, &request, now));
}

static void keep_session(struct bench_sessions *sessions, struct connection *connection,
                         const struct tw_accept_session *answer)
{
    const uint64_t i = connection->first + connection->accepted;
    struct bench_session *session = &sessions->session[i];
    session->local = sender_of(sessions, i);
    session->remote = sessions->plan.server;
    session->remote.port = answer->port;
    session->modes = connection->client.mode;
    memcpy(session->sid, answer->sid, sizeof(session->sid));
    struct tw_keys keys;
    session->is_protected = tw_client_session_keys(&connection->client, session->sid, &keys);
    if (!session->is_protected)
        return;
    tw_protection_init(&session->protection, session->modes, &keys);
    explicit_bzero(&keys, sizeof(keys));
}

static bool take_session(struct bench_sessions *sessions, struct connection *connection,
                         const struct tw_accept_session *answer, tw_mono now)
{
    if (answer->accept != TW_ACCEPT_OK)
        return fail(connection, "session refused", tw_accept_text(answer->accept));
    if (sessions->session != NULL)
        keep_session(sessions, connection, answer);
    if (++connection->accepted < connection->wanted)
        return ask(sessions, connection, now);
    return was_taken(connection, tw_client_start(&connection->client, now));
}

/* For the rate the next connection takes this one's place. */
static bool take_start(struct bench_sessions *sessions, struct connection *connection, tw_mono now)
{
    sessions->under_way--;
    if (sessions->session != NULL) {
        sessions->done++;
        return true;
    }
    sessions->latency_ns[sessions->done++] = now.ns - connection->began.ns;
    if (!was_taken(connection, tw_client_stop(&connection->client, TW_ACCEPT_OK, now)) ||
        !flush(connection, now))
        return false;
    hang_up(connection);
    return sessions->begun == sessions->total || begin(sessions, connection, sessions->begun, 1);
}

static bool take_failure(const struct connection *connection, const struct tw_client_event *event)
{
    const enum tw_client_failure failure = event->failed.failure;
    if (failure == TW_CLIENT_REFUSED || failure == TW_CLIENT_KEY_REFUSED)
        return fail(connection, tw_client_failure_text(failure),
                    tw_accept_text(event->failed.accept));
    return fail(connection, tw_client_step_name(event->failed.step),
                tw_client_failure_text(failure));
}

static bool take_event(struct bench_sessions *sessions, struct connection *connection,
                       const struct tw_client_event *event, tw_mono now)
{
    switch (event->type) {
    case TW_CLIENT_KEY:
        return answer_key(sessions, connection, event, now);
    case TW_CLIENT_READY:
        return ask(sessions, connection, now);
    case TW_CLIENT_SESSION:
        return take_session(sessions, connection, &event->session, now);
    case TW_CLIENT_STARTED:
        return take_start(sessions, connection, now);
    case TW_CLIENT_STOPPED:
        return true;
    case TW_CLIENT_FAILED:
        return take_failure(connection, event);
    }
    return false;
}

/* Each answer of the server is one message, and none comes before the next question. */
static bool read_once(struct bench_sessions *sessions, struct connection *connection, tw_mono now)
{
    size_t room;
    uint8_t *in = tw_client_input(&connection->client, &room);
    const ssize_t n = recv(connection->fd, in, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return true;
    if (n < 0)
        return fail(connection, tw_client_step_name(connection->client.step), strerror(errno));
    if (n == 0)
        tw_client_end(&connection->client);
    tw_client_received(&connection->client, (size_t)n, now);
    struct tw_client_event event;
    if (tw_client_next_event(&connection->client, &event) &&
        !take_event(sessions, connection, &event, now))
        return false;
    return connection->fd < 0 || flush(connection, now);
}

static bool look_for_silence(struct bench_sessions *sessions, tw_mono now)
{
    for (unsigned i = 0; i < sessions->plan.connections; i++) {
        struct connection *connection = &sessions->connections[i];
        struct tw_client_event event;
        if (connection->fd < 0)
            continue;
        tw_client_expire(&connection->client, now);
        if (tw_client_next_event(&connection->client, &event))
            return take_event(sessions, connection, &event, now);
    }
    return true;
}

/* Until nothing is under way, or only `under_way` connections are. */
static bool serve(struct bench_sessions *sessions, unsigned under_way)
{
    struct epoll_event events[EVENTS];
    tw_mono look_at = tw_mono_after(tw_clock_mono(), LOOK_MS * TW_NS_PER_MS);
    while (sessions->under_way > under_way) {
        const int n = epoll_wait(sessions->epoll, events, EVENTS, LOOK_MS);
        const tw_mono now = tw_clock_mono();
        for (int i = 0; i < n; i++)
            if (!read_once(sessions, events[i].data.ptr, now))
                return false;
        if (!tw_mono_reached(look_at, now))
            continue;
        if (!look_for_silence(sessions, now))
            return false;
        look_at = tw_mono_after(now, LOOK_MS * TW_NS_PER_MS);
    }
    return true;
}

static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void release(struct bench_sessions *sessions)
{
    for (unsigned i = 0; sessions->connections != NULL && i < sessions->plan.connections; i++)
        hang_up(&sessions->connections[i]);
    if (sessions->epoll >= 0)
        close(sessions->epoll);
    free(sessions->connections);
    free(sessions->session);
    free(sessions->latency_ns);
    free(sessions);
}

static struct bench_sessions *prepare(const struct bench_plan *plan)
{
    struct bench_sessions *sessions = calloc(1, sizeof(*sessions));
    struct connection *connections = calloc(plan->connections, sizeof(*connections));
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (sessions == NULL || connections == NULL || epoll < 0) {
        fprintf(stderr, "sessions: %s\n", strerror(errno));
        abort();
    }
    raise_limit();
    sessions->plan = *plan;
    sessions->connections = connections;
    sessions->epoll = epoll;
    for (unsigned i = 0; i < plan->connections; i++)
        connections[i].fd = -1;
    tw_random_init(&sessions->random);
    sessions->config.mode = plan->mode;
    sessions->config.step_ns = STEP_S * TW_NS_PER_S;
    if (plan->keyid != NULL)
        memcpy(sessions->config.keyid, plan->keyid, strnlen(plan->keyid, TW_KEYID_SIZE));
    return sessions;
}

static bool plan_is_good(const struct bench_plan *plan, unsigned sessions)
{
    const char *fault = NULL;
    if (plan->connections == 0 || sessions < plan->connections)
        fault = "fewer sessions than connections";
    else if (sessions > plan->connections * TW_CLIENT_SESSIONS_MAX)
        fault = "too many sessions for so few connections";
    else if (plan->sender.family == 0 || plan->server.family == 0)
        fault = "no address";
    else if (tw_keys_needed(plan->mode) && (plan->keyid == NULL || plan->secret == NULL))
        fault = "this mode needs KeyID and secret";
    if (fault != NULL)
        fprintf(stderr, "sessions: %s\n", fault);
    return fault == NULL;
}

static bool open_all(struct bench_sessions *sessions)
{
    const struct bench_plan *plan = &sessions->plan;
    for (unsigned i = 0; i < plan->connections; i++) {
        const uint64_t first = (uint64_t)plan->sessions * i / plan->connections;
        const uint64_t next = (uint64_t)plan->sessions * (i + 1) / plan->connections;
        if (!begin(sessions, &sessions->connections[i], first, (unsigned)(next - first)) ||
            !serve(sessions, IN_FLIGHT - 1))
            return false;
    }
    return serve(sessions, 0);
}

struct bench_sessions *bench_sessions_open(const struct bench_plan *plan)
{
    if (!plan_is_good(plan, plan->sessions))
        return NULL;
    struct bench_sessions *sessions = prepare(plan);
    sessions->session = calloc(plan->sessions, sizeof(*sessions->session));
    if (sessions->session != NULL && open_all(sessions))
        return sessions;
    release(sessions);
    return NULL;
}

unsigned bench_sessions_count(const struct bench_sessions *sessions)
{
    return sessions->plan.sessions;
}

struct bench_session *bench_sessions_at(struct bench_sessions *sessions, unsigned i)
{
    return &sessions->session[i];
}

void bench_sessions_close(struct bench_sessions *sessions)
{
    const tw_mono now = tw_clock_mono();
    for (unsigned i = 0; i < sessions->plan.connections; i++) {
        struct connection *connection = &sessions->connections[i];
        size_t n;
        if (tw_client_stop(&connection->client, TW_ACCEPT_OK, now) != TW_OK)
            continue;
        const uint8_t *out = tw_client_output(&connection->client, &n);
        (void)send(connection->fd, out, n, MSG_DONTWAIT | MSG_NOSIGNAL); /* it may be gone */
    }
    release(sessions);
}

static int compare(const void *a, const void *b)
{
    const int64_t one = *(const int64_t *)a;
    const int64_t other = *(const int64_t *)b;
    return (one > other) - (one < other);
}

bool bench_sessions_rate(const struct bench_plan *plan, uint64_t total, struct bench_rate *rate)
{
    if (total == 0 || !plan_is_good(plan, plan->connections))
        return false;
    struct bench_sessions *sessions = prepare(plan);
    sessions->total = total;
    sessions->latency_ns = calloc(total, sizeof(*sessions->latency_ns));
    bool good = sessions->latency_ns != NULL;
    const tw_mono began = tw_clock_mono();
    for (unsigned i = 0; good && i < plan->connections && sessions->begun < total; i++)
        good = begin(sessions, &sessions->connections[i], sessions->begun, 1);
    good = good && serve(sessions, 0);
    rate->elapsed_ns = tw_clock_mono().ns - began.ns;
    rate->done = sessions->done;
    if (good) {
        qsort(sessions->latency_ns, total, sizeof(*sessions->latency_ns), compare);
        rate->latency_p50_ns = sessions->latency_ns[total / 2];
        rate->latency_p99_ns = sessions->latency_ns[total - 1 - total / 100];
    }
    release(sessions);
    return good;
}
