/* The server host of the two-host world: a driver like the daemon, and the faults that a scenario
 * wishes for; see sim_world.h. */
#include "sim/sim_world.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "lib/bytes.h"

static const uint16_t TEST_PORT = 863;

struct connection *sim_host_find(struct sim *sim, unsigned id)
{
    struct connection *connection = &sim->connections[id % CONNECTIONS];
    return connection->id == id ? connection : NULL;
}

void sim_host_drop(struct sim *sim, struct connection *connection, bool tell_client)
{
    if (!connection->open)
        return;
    connection->open = false;
    if (tell_client)
        sim_net_tcp(sim, FIN_CLIENT, connection->id, NULL, 0);
    for (unsigned s = 0; s < SESSIONS; s++) {
        struct session *session = &sim->sessions[s];
        if (!session->used || session->connection != connection->id || session->orphan)
            continue;
        session->orphan = true;
        tw_reflector_stop(&session->machine, sim_net_server_now(sim).mono);
    }
}

static bool is_of(const struct session *session, const struct connection *connection)
{
    return session->used && session->connection == connection->id && !session->orphan;
}

static void make_session(struct sim *sim, struct session *session, struct connection *connection,
                         const struct tw_request *request)
{
    const struct tw_server *server = &connection->machine;
    *session = (struct session){.used = true, .connection = connection->id};
    tw_random_fill(&sim->random, session->sid, sizeof session->sid);
    session->dscp = (uint8_t)tw_type_p_to_dscp(request->type_p);
    struct tw_reflector_config config = {
        .modes = server->mode,
        .refwait_ns = sim->server.refwait_ns,
        .timeout_ns = tw_interval_to_ns(request->timeout),
        .tai_utc_s = sim->server.ptp_utc ? 0 : sim->config.sender.tai_utc_s,
        .padding_length = request->padding_length,
        .reflect_length = request->reflect_length,
    };
    struct tw_keys keys;
    if (tw_server_session_keys(server, session->sid, &keys)) {
        tw_protection_init(&session->protection, server->mode, &keys);
        config.protection = &session->protection;
    }
    tw_reflector_init(&session->machine, &config);
    session->number = ++sim->counts.sessions;
    sim->counts.reflect_length = request->reflect_length;
}

static void answer_request(struct sim *sim, struct connection *connection,
                           const struct tw_request *request)
{
    const tw_mono now = sim_net_server_now(sim).mono;
    const unsigned most = sim->server.sessions_each;
    const enum tw_accept accept = most != 0 && connection->accepted >= most
                                      ? TW_ACCEPT_PERMANENT_LIMIT
                                      : (enum tw_accept)sim->server.session_accept;
    unsigned s = 0;
    while (s < SESSIONS && sim->sessions[s].used)
        s++;
    assert(s < SESSIONS);
    if (s >= sim->session_places)
        sim->session_places = s + 1;
    if (accept == TW_ACCEPT_OK) {
        connection->accepted++;
        make_session(sim, &sim->sessions[s], connection, request);
    }
    enum tw_result result = tw_server_answer_session(&connection->machine, accept, TEST_PORT,
                                                     sim->sessions[s].sid, now);
    assert(result == TW_OK);
    (void)result;
}

static void answer_key(struct sim *sim, struct connection *connection, const uint8_t *keyid)
{
    static const uint8_t known[TW_KEYID_SIZE] = SIM_KEYID;
    const struct tw_server_config *config = &sim->server.config;
    const uint8_t *key =
        sim_derive(&sim->derivations[1], sim->server.secret, config->salt, config->count);
    enum tw_result result =
        tw_server_answer_key(&connection->machine, key, memcmp(keyid, known, sizeof known) == 0,
                             sim_net_server_now(sim).mono);
    assert(result == TW_OK);
    (void)result;
}

static struct session *find_session(struct sim *sim, const struct connection *connection,
                                    const uint8_t *sid)
{
    for (unsigned s = 0; s < SESSIONS; s++) {
        struct session *session = &sim->sessions[s];
        if (is_of(session, connection) && memcmp(session->sid, sid, TW_SID_SIZE) == 0)
            return session;
    }
    return NULL;
}

static void begin(struct sim *sim, struct session *session)
{
    session->started = sim->now;
    tw_reflector_start(&session->machine, sim_net_server_now(sim).mono);
}

static uint8_t start_one(struct sim *sim, struct session *session)
{
    if (session == NULL || session->machine.state != TW_REFLECTOR_ACCEPTED)
        return TW_ACCEPT_UNSUPPORTED;
    if (sim->server.start_accept == TW_ACCEPT_OK)
        begin(sim, session);
    return sim->server.start_accept;
}

static uint8_t stop_one(struct sim *sim, struct session *session)
{
    if (session == NULL || session->machine.state != TW_REFLECTOR_STARTED)
        return TW_ACCEPT_UNSUPPORTED;
    sim->counts.stops++;
    if (sim->server.stop_accept == TW_ACCEPT_OK)
        tw_reflector_stop(&session->machine, sim_net_server_now(sim).mono);
    return sim->server.stop_accept;
}

static void answer_sids(struct sim *sim, struct connection *connection,
                        const struct tw_server_event *event)
{
    uint8_t accepts[TW_SIDS_MAX];
    for (uint32_t i = 0; i < event->sids.count; i++) {
        struct session *session =
            find_session(sim, connection, event->sids.at + (size_t)i * TW_SID_SIZE);
        accepts[i] =
            event->type == TW_SERVER_START_N ? start_one(sim, session) : stop_one(sim, session);
    }
    enum tw_result result =
        tw_server_answer_sids(&connection->machine, accepts, sim_net_server_now(sim).mono);
    assert(result == TW_OK);
    (void)result;
}

static void start_all(struct sim *sim, struct connection *connection)
{
    const tw_mono now = sim_net_server_now(sim).mono;
    const enum tw_accept accept = (enum tw_accept)sim->server.start_accept;
    for (unsigned s = 0; s < SESSIONS && accept == TW_ACCEPT_OK; s++)
        if (is_of(&sim->sessions[s], connection) &&
            sim->sessions[s].machine.state == TW_REFLECTOR_ACCEPTED)
            begin(sim, &sim->sessions[s]);
    enum tw_result result = tw_server_answer_start(&connection->machine, accept, now);
    assert(result == TW_OK);
    (void)result;
}

static void stop_all(struct sim *sim, struct connection *connection)
{
    sim->counts.stops++;
    for (unsigned s = 0; s < SESSIONS; s++)
        if (is_of(&sim->sessions[s], connection))
            tw_reflector_stop(&sim->sessions[s].machine, sim_net_server_now(sim).mono);
}

static void serve_server_events(struct sim *sim, struct connection *connection)
{
    struct tw_server_event event;
    while (connection->open && tw_server_next_event(&connection->machine, &event)) {
        switch (event.type) {
        case TW_SERVER_KEY:
            answer_key(sim, connection, event.keyid);
            break;
        case TW_SERVER_REQUEST:
            answer_request(sim, connection, &event.request);
            break;
        case TW_SERVER_START:
            start_all(sim, connection);
            break;
        case TW_SERVER_STOP:
            stop_all(sim, connection);
            break;
        case TW_SERVER_START_N:
        case TW_SERVER_STOP_N:
            answer_sids(sim, connection, &event);
            break;
        case TW_SERVER_CLOSE:
            sim->counts.closes++;
            sim->counts.last_close_reason = (int64_t)event.close;
            sim_host_drop(sim, connection, true);
            break;
        case TW_SERVER_SET_UP:
        case TW_SERVER_REJECT:
            break;
        }
    }
}

/* The server's octets reach the wire, one of them damaged if that is wished for. */
static void write_out(struct sim *sim, struct connection *connection, const uint8_t *out, size_t n)
{
    uint8_t octets[TW_SERVER_OUT];
    const uint64_t at = sim->server.flip_octet;
    assert(n <= sizeof octets);
    memcpy(octets, out, n);
    if (at != 0 && at >= connection->written && at - connection->written < n)
        octets[at - connection->written] ^= 0xff;
    sim_net_tcp(sim, TO_CLIENT, connection->id, octets, n);
}

/* How much of n octets the server's faults let through. */
static size_t let_write(const struct sim *sim, const struct connection *connection, size_t n)
{
    uint64_t limit = sim->server.mute_after != 0    ? sim->server.mute_after
                     : sim->server.close_after != 0 ? sim->server.close_after
                                                    : UINT64_MAX;
    if (sim->server.mute || connection->written >= limit)
        return 0;
    return n < limit - connection->written ? n : (size_t)(limit - connection->written);
}

static void serve_connection(struct sim *sim, struct connection *connection)
{
    while (connection->open) {
        serve_server_events(sim, connection);
        if (!connection->open)
            return;
        size_t n = 0;
        const uint8_t *out = tw_server_output(&connection->machine, &n);
        if (n > 0) {
            size_t pass = let_write(sim, connection, n);
            if (pass > 0)
                write_out(sim, connection, out, pass);
            connection->written += pass;
            tw_server_sent(&connection->machine, n, sim_net_server_now(sim).mono);
            if (sim->server.close_after != 0 && connection->written >= sim->server.close_after)
                sim_host_drop(sim, connection, true);
            continue;
        }
        size_t room = 0;
        uint8_t *in = tw_server_input(&connection->machine, &room);
        size_t part = room < connection->backlog_n ? room : connection->backlog_n;
        if (part == 0)
            return;
        memcpy(in, connection->backlog, part);
        connection->backlog_n -= part;
        memmove(connection->backlog, connection->backlog + part, connection->backlog_n);
        tw_server_received(&connection->machine, part, sim_net_server_now(sim).mono);
    }
}

void sim_host_accept(struct sim *sim, struct connection *connection)
{
    if (sim->server.tcp_filtered)
        return;
    const bool there = sim->server_host == sim->probe.peer.octets[3];
    if (!there && sim->server.elsewhere_void)
        return;
    bool listening = !sim->server.process_down && there;
    struct event *answer = sim_net_tcp(sim, SYN_ANSWER, connection->id, NULL, 0);
    answer->error = listening ? 0 : ECONNREFUSED;
    if (!listening)
        return;
    connection->open = true;
    connection->talked = sim->now;
    tw_server_init(&connection->machine, &sim->server.config, &sim->random,
                   sim_net_server_now(sim).mono);
    serve_connection(sim, connection);
}

/* The newest of the sessions with a number below that, NULL if there is none. */
static struct session *newest_below(struct sim *sim, unsigned number)
{
    struct session *found = NULL;
    for (unsigned s = 0; s < sim->session_places; s++) {
        struct session *session = &sim->sessions[s];
        if (session->used && session->number < number &&
            (found == NULL || session->number > found->number))
            found = session;
    }
    return found;
}

void sim_host_reflect(struct sim *sim, const struct event *event)
{
    if (sim->server.process_down)
        return;
    struct tw_reading now = sim_net_server_now(sim);
    struct tw_arrival arrival = {.at = now.wall,
                                 .source = TW_SOURCE_KERNEL,
                                 .read = now,
                                 .ttl = event->ttl,
                                 .tos = event->tos};
    struct session *session = NULL;
    while ((session = newest_below(sim, session == NULL ? UINT_MAX : session->number)) != NULL) {
        uint8_t reply[2048];
        size_t n = 0;
        if (session->machine.state == TW_REFLECTOR_STARTED &&
            sim->now < session->started + sim->server.warm_up_ns) {
            sim_net_udp(sim, &sim->reverse, REFUSAL, sim->now, NULL, 0, 0);
            return;
        }
        const enum tw_reflector_verdict verdict =
            tw_reflector_prepare(&session->machine, event->data, event->n, &arrival, &sim->random,
                                 reply, sizeof reply, &n);
        sim->counts.bad_packets += verdict == TW_IGNORE_HMAC;
        if (verdict != TW_REFLECT)
            continue;
        struct tw_reading departure =
            sim_net_read(&sim->server_clock, SERVER_BOOT_NS, sim->now + sim->server.turnaround_ns);
        tw_reflector_stamp(&session->machine, reply, &departure);
        if (sim->server.stateless)
            memcpy(reply, event->data, 4);
        if (sim->server.early_ns > 0 && sim->counts.replies % 2 != 0)
            tw_put64(reply + 4, tw_ntp_from_wall((tw_wall){now.wall.ns - sim->server.early_ns}));
        sim->counts.replies++;
        sim->counts.reply_size = n;
        sim_net_udp(sim, &sim->reverse, TEST_REPLY, sim->now + sim->server.turnaround_ns, reply, n,
                    (uint8_t)(session->dscp << 2));
        return; /* one sender: the newest session that takes it, as the daemon has it */
    }
}

/* When a server without patience ends the connection, in true time. */
static int64_t ends_at(const struct sim *sim, const struct connection *connection)
{
    const int64_t limit_ns = sim->server.idle_close_ns;
    return connection->open && limit_ns > 0 ? connection->talked + limit_ns : INT64_MAX;
}

void sim_host_expire(struct sim *sim)
{
    tw_mono now = sim_net_server_now(sim).mono;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &sim->connections[i];
        if (ends_at(sim, connection) <= sim->now)
            sim_host_drop(sim, connection, true);
        if (!connection->open || !tw_mono_reached(tw_server_deadline(&connection->machine), now))
            continue;
        tw_server_expire(&connection->machine, now);
        serve_connection(sim, connection);
    }
    for (unsigned s = 0; s < sim->session_places; s++) {
        struct session *session = &sim->sessions[s];
        if (!session->used)
            continue;
        tw_reflector_expire(&session->machine, now);
        if (session->machine.state != TW_REFLECTOR_ENDED)
            continue;
        session->used = false;
        unsigned left = 0;
        for (unsigned other = 0; other < sim->session_places; other++)
            left += sim->sessions[other].used && !sim->sessions[other].orphan &&
                    sim->sessions[other].connection == session->connection;
        struct connection *connection = sim_host_find(sim, session->connection);
        if (left == 0 && !session->orphan && connection != NULL && connection->open)
            tw_server_sessions_ended(&connection->machine, now);
    }
}

void sim_host_input(struct sim *sim, const struct event *event)
{
    struct connection *connection = sim_host_find(sim, event->connection);
    if (connection == NULL || !connection->open || sim->server.tcp_filtered)
        return;
    assert(connection->backlog_n + event->n <= sizeof connection->backlog);
    memcpy(connection->backlog + connection->backlog_n, event->data, event->n);
    connection->backlog_n += event->n;
    connection->talked = sim->now;
    serve_connection(sim, connection);
}

tw_mono sim_host_deadline(const struct sim *sim)
{
    tw_mono first = TW_NEVER;
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (sim->connections[i].open) {
            const int64_t ends_ns = ends_at(sim, &sim->connections[i]);
            if (ends_ns != INT64_MAX)
                first = tw_mono_earlier(first, (tw_mono){SERVER_BOOT_NS + ends_ns});
            first = tw_mono_earlier(first, tw_server_deadline(&sim->connections[i].machine));
        }
    for (unsigned s = 0; s < sim->session_places; s++)
        if (sim->sessions[s].used)
            first = tw_mono_earlier(first, tw_reflector_deadline(&sim->sessions[s].machine));
    return first;
}
