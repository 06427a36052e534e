/* The two-host world of sim.h: an event list in virtual time around the machines of src/lib. */
#include "sim/sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"

enum { CONNECTIONS = 64, SESSIONS = 256, PIECE = 4096 };

/* The monotonic clocks of the hosts begin at different, arbitrary values. */
static const int64_t CLIENT_BOOT_NS = INT64_C(5000000000000);
static const int64_t SERVER_BOOT_NS = INT64_C(777000000000);

enum event_type {
    SYN,        /* at the server */
    SYN_ANSWER, /* at the client: error 0 = open */
    TO_SERVER,  /* TCP octets */
    TO_CLIENT,
    FIN_SERVER,  /* the client closed */
    FIN_CLIENT,  /* the server closed */
    TEST_PACKET, /* at the reflector */
    TEST_REPLY,  /* at the sender */
    NAME_ANSWER,
};

struct event {
    struct event *next;
    int64_t at;
    enum event_type type;
    unsigned connection;
    int error;
    uint8_t ttl, tos;
    size_t n;
    uint8_t data[];
};

struct connection {
    unsigned id; /* connections are numbered from 1 in the order of opening */
    bool open;   /* at the server */
    struct tw_server machine;
    uint64_t written;
    uint8_t backlog[PIECE * 4]; /* arrived, not yet read by the machine */
    size_t backlog_n;
};

struct session {
    bool used;
    unsigned connection; /* its id */
    bool orphan;         /* its connection is gone */
    uint8_t dscp;
    struct tw_reflector machine;
};

struct sim {
    int64_t now;
    struct event *events;
    struct tw_random random;
    size_t cut;
    struct sim_clock client_clock, server_clock;
    struct sim_link forward, reverse;
    struct sim_server server;
    uint8_t name_host, server_host;
    struct tw_probe_config config;
    struct tw_probe probe;
    struct tw_probe_storage storage;
    unsigned connection; /* the probe's, 0 = none */
    struct connection connections[CONNECTIONS];
    struct session sessions[SESSIONS];
    struct sim_counts counts;
    struct tw_measurement *measurements;
    size_t measured, measured_room;
    uint16_t sender_port;
    int64_t tcp_last[2]; /* arrival of the last piece: TCP keeps its order */
};

static const uint16_t TEST_PORT = 863;

static struct tw_reading read_clock(const struct sim_clock *clock, int64_t boot_ns, int64_t at)
{
    int64_t drift = (int64_t)((double)at * clock->drift);
    return (struct tw_reading){
        .mono = {boot_ns + at},
        .wall = {clock->epoch_ns + at + drift + clock->offset_ns},
        .error = tw_error_encode(clock->error_ns, clock->synchronized),
    };
}

static struct tw_reading client_now(const struct sim *sim)
{
    return read_clock(&sim->client_clock, CLIENT_BOOT_NS, sim->now);
}

static struct tw_reading server_now(const struct sim *sim)
{
    return read_clock(&sim->server_clock, SERVER_BOOT_NS, sim->now);
}

static double uniform(struct sim *sim)
{
    return (double)tw_random_below(&sim->random, UINT32_C(1) << 30) / (double)(1 << 30);
}

static struct event *add_event(struct sim *sim, int64_t at, enum event_type type,
                               unsigned connection, const uint8_t *data, size_t n)
{
    struct event *event = calloc(1, sizeof *event + n);
    assert(event != NULL);
    event->at = at;
    event->type = type;
    event->connection = connection;
    event->n = n;
    if (n > 0)
        memcpy(event->data, data, n);
    struct event **place = &sim->events;
    while (*place != NULL && (*place)->at <= at)
        place = &(*place)->next;
    event->next = *place;
    *place = event;
    return event;
}

/* TCP neither loses nor reorders: a piece never overtakes the one before it. Returns the last one.
 */
static struct event *send_tcp(struct sim *sim, enum event_type type, unsigned connection,
                              const uint8_t *data, size_t n)
{
    bool to_server = type == TO_SERVER || type == FIN_SERVER || type == SYN;
    int64_t *last = &sim->tcp_last[to_server];
    int64_t at = sim->now + (to_server ? sim->forward.delay_ns : sim->reverse.delay_ns);
    if (at < *last)
        at = *last;
    size_t piece = sim->cut == 0 ? n : sim->cut;
    size_t done = 0;
    struct event *event;
    do {
        size_t part = n - done < piece ? n - done : piece;
        event = add_event(sim, at, type, connection, data == NULL ? NULL : data + done, part);
        done += part;
        at++;
    } while (done < n);
    *last = at;
    return event;
}

static struct sim_fate decide(struct sim *sim, struct sim_link *link)
{
    uint64_t n = link->n++;
    struct sim_fate fate = {.copies = 1};
    if (link->fate != NULL)
        fate = link->fate(link->user, n);
    else if (uniform(sim) < link->loss)
        fate.copies = 0;
    else if (uniform(sim) < link->duplication)
        fate.copies = 2;
    if (link->down)
        fate.copies = 0;
    link->lost += fate.copies == 0;
    link->doubled += fate.copies > 1 ? fate.copies - 1 : 0;
    return fate;
}

static void send_udp(struct sim *sim, struct sim_link *link, enum event_type type, int64_t leaves,
                     const uint8_t *data, size_t n, uint8_t tos)
{
    struct sim_fate fate = decide(sim, link);
    for (unsigned i = 0; i < fate.copies; i++) {
        int64_t at = leaves + link->delay_ns + fate.extra_ns + (int64_t)i;
        if (link->jitter_ns > 0)
            at += (int64_t)(uniform(sim) * (double)link->jitter_ns);
        struct event *event = add_event(sim, at, type, 0, data, n);
        event->ttl = (uint8_t)(255 - link->hops);
        event->tos = tos;
    }
}

/* NULL when so many came after it that it is forgotten. */
static struct connection *find_connection(struct sim *sim, unsigned id)
{
    struct connection *connection = &sim->connections[id % CONNECTIONS];
    return connection->id == id ? connection : NULL;
}

/* ---- the server host ---- */

static void drop_connection(struct sim *sim, struct connection *connection, bool tell_client)
{
    if (!connection->open)
        return;
    connection->open = false;
    if (tell_client)
        send_tcp(sim, FIN_CLIENT, connection->id, NULL, 0);
    for (unsigned s = 0; s < SESSIONS; s++) {
        struct session *session = &sim->sessions[s];
        if (!session->used || session->connection != connection->id || session->orphan)
            continue;
        session->orphan = true;
        tw_reflector_stop(&session->machine, server_now(sim).mono);
    }
}

static void answer_request(struct sim *sim, struct connection *connection,
                           const struct tw_request *request)
{
    tw_mono now = server_now(sim).mono;
    enum tw_accept accept = (enum tw_accept)sim->server.session_accept;
    uint8_t sid[TW_SID_SIZE];
    tw_random_fill(&sim->random, sid, sizeof sid);
    for (unsigned s = 0; accept == TW_ACCEPT_OK && s < SESSIONS; s++) {
        struct session *session = &sim->sessions[s];
        if (session->used)
            continue;
        *session = (struct session){.used = true, .connection = connection->id};
        session->dscp = (uint8_t)tw_type_p_to_dscp(request->type_p);
        struct tw_reflector_config config = {
            .modes = connection->machine.mode,
            .refwait_ns = sim->server.refwait_ns,
            .timeout_ns = tw_interval_to_ns(request->timeout),
        };
        tw_reflector_init(&session->machine, &config);
        sim->counts.sessions++;
        break;
    }
    enum tw_result result =
        tw_server_answer_session(&connection->machine, accept, TEST_PORT, sid, now);
    assert(result == TW_OK);
    (void)result;
}

static void serve_server_events(struct sim *sim, struct connection *connection)
{
    struct tw_server_event event;
    while (connection->open && tw_server_next_event(&connection->machine, &event)) {
        tw_mono now = server_now(sim).mono;
        enum tw_result result = TW_OK;
        switch (event.type) {
        case TW_SERVER_REQUEST:
            answer_request(sim, connection, &event.request);
            break;
        case TW_SERVER_START:
            for (unsigned s = 0; s < SESSIONS; s++) {
                struct session *session = &sim->sessions[s];
                if (session->used && session->connection == connection->id && !session->orphan &&
                    sim->server.start_accept == 0)
                    tw_reflector_start(&session->machine, now);
            }
            result = tw_server_answer_start(&connection->machine,
                                            (enum tw_accept)sim->server.start_accept, now);
            break;
        case TW_SERVER_STOP:
            sim->counts.stops++;
            for (unsigned s = 0; s < SESSIONS; s++) {
                struct session *session = &sim->sessions[s];
                if (session->used && session->connection == connection->id && !session->orphan)
                    tw_reflector_stop(&session->machine, now);
            }
            break;
        case TW_SERVER_CLOSE:
            sim->counts.closes++;
            sim->counts.last_close_reason = (int64_t)event.close;
            drop_connection(sim, connection, true);
            break;
        case TW_SERVER_SET_UP:
        case TW_SERVER_REJECT:
            break;
        }
        assert(result == TW_OK);
        (void)result;
    }
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
                send_tcp(sim, TO_CLIENT, connection->id, out, pass);
            connection->written += pass;
            tw_server_sent(&connection->machine, n, server_now(sim).mono);
            if (sim->server.close_after != 0 && connection->written >= sim->server.close_after)
                drop_connection(sim, connection, true);
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
        tw_server_received(&connection->machine, part, server_now(sim).mono);
    }
}

static void accept_connection(struct sim *sim, struct connection *connection)
{
    if (sim->server.tcp_filtered)
        return;
    bool listening = !sim->server.process_down && sim->server_host == sim->probe.peer.octets[3];
    struct event *answer = send_tcp(sim, SYN_ANSWER, connection->id, NULL, 0);
    answer->error = listening ? 0 : ECONNREFUSED;
    if (!listening)
        return;
    connection->open = true;
    tw_server_init(&connection->machine, &sim->server.config, &sim->random, server_now(sim).mono);
    serve_connection(sim, connection);
}

static void reflect(struct sim *sim, const struct event *event)
{
    if (sim->server.process_down)
        return;
    struct tw_reading now = server_now(sim);
    struct tw_arrival arrival = {.at = now.wall,
                                 .source = TW_SOURCE_KERNEL,
                                 .read = now,
                                 .ttl = event->ttl,
                                 .tos = event->tos};
    for (unsigned s = 0; s < SESSIONS; s++) {
        struct session *session = &sim->sessions[s];
        uint8_t reply[2048];
        size_t n = 0;
        if (!session->used ||
            tw_reflector_prepare(&session->machine, event->data, event->n, &arrival, &sim->random,
                                 reply, sizeof reply, &n) != TW_REFLECT)
            continue;
        struct tw_reading departure =
            read_clock(&sim->server_clock, SERVER_BOOT_NS, sim->now + sim->server.turnaround_ns);
        tw_reflector_stamp(&session->machine, reply, &departure);
        if (sim->server.stateless)
            memcpy(reply, event->data, 4);
        sim->counts.replies++;
        send_udp(sim, &sim->reverse, TEST_REPLY, sim->now + sim->server.turnaround_ns, reply, n,
                 (uint8_t)(session->dscp << 2));
        return; /* one sender: the first session that takes it */
    }
}

static void expire_server(struct sim *sim)
{
    tw_mono now = server_now(sim).mono;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &sim->connections[i];
        if (!connection->open || !tw_mono_reached(tw_server_deadline(&connection->machine), now))
            continue;
        tw_server_expire(&connection->machine, now);
        serve_connection(sim, connection);
    }
    for (unsigned s = 0; s < SESSIONS; s++) {
        struct session *session = &sim->sessions[s];
        if (!session->used)
            continue;
        tw_reflector_expire(&session->machine, now);
        if (session->machine.state != TW_REFLECTOR_ENDED)
            continue;
        session->used = false;
        unsigned left = 0;
        for (unsigned other = 0; other < SESSIONS; other++)
            left += sim->sessions[other].used && !sim->sessions[other].orphan &&
                    sim->sessions[other].connection == session->connection;
        struct connection *connection = find_connection(sim, session->connection);
        if (left == 0 && !session->orphan && connection != NULL && connection->open)
            tw_server_sessions_ended(&connection->machine, now);
    }
}

/* ---- the client host ---- */

static void flush_client(struct sim *sim)
{
    size_t n = 0;
    const uint8_t *out = tw_probe_output(&sim->probe, &n);
    if (n == 0 || sim->connection == 0)
        return;
    send_tcp(sim, TO_SERVER, sim->connection, out, n);
    tw_probe_sent(&sim->probe, n, client_now(sim).mono);
}

static void keep(struct sim *sim, const struct tw_measurement *measurement)
{
    if (sim->measured == sim->measured_room) {
        sim->measured_room = sim->measured_room * 2 + 16;
        sim->measurements =
            realloc(sim->measurements, sim->measured_room * sizeof *sim->measurements);
        assert(sim->measurements != NULL);
    }
    sim->measurements[sim->measured++] = *measurement;
}

static void open_connection(struct sim *sim)
{
    sim->connection = ++sim->counts.connections;
    struct connection *connection = &sim->connections[sim->connection % CONNECTIONS];
    drop_connection(sim, connection, false);
    *connection = (struct connection){.id = sim->connection};
    send_tcp(sim, SYN, sim->connection, NULL, 0);
}

static void close_connection(struct sim *sim)
{
    if (sim->connection == 0)
        return;
    send_tcp(sim, FIN_SERVER, sim->connection, NULL, 0);
    sim->connection = 0;
}

static void send_due(struct sim *sim)
{
    while (tw_probe_send_due(&sim->probe, client_now(sim).mono)) {
        uint8_t packet[2048];
        size_t n = 0;
        enum tw_result result = tw_probe_prepare(&sim->probe, packet, sizeof packet, &n);
        assert(result == TW_OK);
        (void)result;
        struct tw_reading now = client_now(sim);
        tw_probe_stamp(&sim->probe, packet, &now);
        sim->counts.test_packets++;
        send_udp(sim, &sim->forward, TEST_PACKET, sim->now, packet, n,
                 (uint8_t)(sim->config.dscp << 2));
    }
}

static void serve_client(struct sim *sim)
{
    struct tw_probe_event event;
    for (;;) {
        flush_client(sim);
        send_due(sim);
        if (!tw_probe_next_event(&sim->probe, &event))
            return;
        switch (event.type) {
        case TW_PROBE_RESOLVE:
            sim->counts.resolutions++;
            add_event(sim, sim->now + TW_NS_PER_MS, NAME_ANSWER, 0, NULL, 0);
            break;
        case TW_PROBE_CONNECT:
            open_connection(sim);
            break;
        case TW_PROBE_DISCONNECT:
            flush_client(sim);
            close_connection(sim);
            break;
        case TW_PROBE_RESULT:
            keep(sim, event.measurement);
            break;
        }
    }
}

static void client_input(struct sim *sim, const struct event *event)
{
    size_t done = 0;
    while (done < event->n && event->connection == sim->connection) {
        size_t room = 0;
        uint8_t *in = tw_probe_input(&sim->probe, &room);
        size_t part = event->n - done < room ? event->n - done : room;
        if (part == 0)
            return; /* the machine is done with this connection */
        memcpy(in, event->data + done, part);
        tw_probe_received(&sim->probe, part, client_now(sim).mono);
        done += part;
        serve_client(sim);
    }
}

static void answer_name(struct sim *sim)
{
    struct tw_address address = {.family = 4, .octets = {192, 0, 2, sim->name_host}};
    bool known = sim->name_host != 0;
    tw_probe_resolved(&sim->probe, &address, known ? 1 : 0, known ? 0 : -2, client_now(sim).mono);
}

static void client_connected(struct sim *sim, const struct event *event)
{
    if (event->connection != sim->connection)
        return;
    if (event->error != 0) {
        sim->connection = 0;
        tw_probe_connect_failed(&sim->probe, event->error, client_now(sim).mono);
        return;
    }
    struct tw_address local = {.family = 4, .octets = {198, 51, 100, 7}, .port = sim->sender_port};
    tw_probe_connected(&sim->probe, &local, client_now(sim).mono);
}

/* ---- the world ---- */

static void server_input(struct sim *sim, const struct event *event)
{
    struct connection *connection = find_connection(sim, event->connection);
    if (connection == NULL || !connection->open || sim->server.tcp_filtered)
        return;
    assert(connection->backlog_n + event->n <= sizeof connection->backlog);
    memcpy(connection->backlog + connection->backlog_n, event->data, event->n);
    connection->backlog_n += event->n;
    serve_connection(sim, connection);
}

static void happen(struct sim *sim, const struct event *event)
{
    struct tw_reading now = client_now(sim);
    struct tw_arrival arrival = {.at = now.wall,
                                 .source = TW_SOURCE_KERNEL,
                                 .read = now,
                                 .ttl = event->ttl,
                                 .tos = event->tos};
    bool filtered = sim->server.tcp_filtered;
    struct connection *connection = find_connection(sim, event->connection);
    switch (event->type) {
    case SYN:
        if (connection != NULL)
            accept_connection(sim, connection);
        break;
    case SYN_ANSWER:
        client_connected(sim, event);
        break;
    case TO_SERVER:
        server_input(sim, event);
        break;
    case TO_CLIENT:
        if (!filtered)
            client_input(sim, event);
        break;
    case FIN_SERVER:
        if (!filtered && connection != NULL)
            drop_connection(sim, connection, false);
        break;
    case FIN_CLIENT:
        if (filtered || event->connection != sim->connection)
            break;
        sim->connection = 0;
        tw_probe_disconnected(&sim->probe, now.mono);
        break;
    case TEST_PACKET:
        reflect(sim, event);
        break;
    case TEST_REPLY:
        tw_probe_receive(&sim->probe, event->data, event->n, &arrival);
        break;
    case NAME_ANSWER:
        answer_name(sim);
        break;
    }
    serve_client(sim);
}

/* The next moment at which anything happens. */
static int64_t next_moment(const struct sim *sim)
{
    int64_t at = sim->events == NULL ? INT64_MAX : sim->events->at;
    tw_mono client = tw_probe_deadline(&sim->probe);
    if (!tw_mono_is_never(client) && client.ns - CLIENT_BOOT_NS < at)
        at = client.ns - CLIENT_BOOT_NS;
    tw_mono server = TW_NEVER;
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (sim->connections[i].open)
            server = tw_mono_earlier(server, tw_server_deadline(&sim->connections[i].machine));
    for (unsigned s = 0; s < SESSIONS; s++)
        if (sim->sessions[s].used)
            server = tw_mono_earlier(server, tw_reflector_deadline(&sim->sessions[s].machine));
    if (!tw_mono_is_never(server) && server.ns - SERVER_BOOT_NS < at)
        at = server.ns - SERVER_BOOT_NS;
    return at;
}

void sim_run(struct sim *sim, int64_t until_ns)
{
    unsigned stuck = 0;
    for (;;) {
        int64_t at = next_moment(sim);
        if (at > until_ns)
            break;
        stuck = at > sim->now ? 0 : stuck + 1;
        assert(stuck < 100000); /* a machine asks to be called again and again */
        if (at > sim->now)
            sim->now = at;
        while (sim->events != NULL && sim->events->at <= sim->now) {
            struct event *event = sim->events;
            sim->events = event->next;
            happen(sim, event);
            free(event);
        }
        expire_server(sim);
        struct tw_reading now = client_now(sim);
        if (tw_mono_reached(tw_probe_deadline(&sim->probe), now.mono))
            tw_probe_expire(&sim->probe, &now);
        serve_client(sim);
    }
    sim->now = until_ns;
}

struct sim *sim_new(const struct tw_probe_config *config, uint64_t seed)
{
    struct sim *sim = calloc(1, sizeof *sim);
    assert(sim != NULL);
    uint8_t octets[TW_RANDOM_SEED_SIZE] = {0};
    tw_put64(octets, seed);
    tw_random_seed(&sim->random, octets);
    sim->config = *config;
    sim->client_clock = (struct sim_clock){
        .epoch_ns = INT64_C(1700000000000000000), .synchronized = true, .error_ns = 1000};
    sim->server_clock = sim->client_clock;
    sim->forward = (struct sim_link){.delay_ns = TW_NS_PER_MS, .hops = 3};
    sim->reverse = (struct sim_link){.delay_ns = TW_NS_PER_MS, .hops = 5};
    sim->server.config = (struct tw_server_config){
        .modes = TW_MODE_UNAUTHENTICATED,
        .count = 32768,
        .start_time = UINT64_C(0xe900000000000000),
        .servwait_ns = 900 * TW_NS_PER_S,
        .stall_ns = 60 * TW_NS_PER_S,
        .max_payload = 9000,
        .max_timeout_ns = 60 * TW_NS_PER_S,
    };
    sim->server.refwait_ns = 300 * TW_NS_PER_S;
    sim->name_host = sim->server_host = 1;
    sim->sender_port = 40000;
    uint32_t slots = tw_probe_slots(config);
    for (unsigned i = 0; i < 2; i++)
        sim->storage.slots[i] = calloc(slots, sizeof *sim->storage.slots[i]);
    sim->storage.packets = calloc(slots, sizeof *sim->storage.packets);
    sim->storage.scratch = calloc(slots, sizeof *sim->storage.scratch);
    sim->storage.slot_count = slots;
    tw_probe_init(&sim->probe, &sim->config, &sim->storage, &sim->random, client_now(sim).mono);
    return sim;
}

void sim_free(struct sim *sim)
{
    while (sim->events != NULL) {
        struct event *event = sim->events;
        sim->events = event->next;
        free(event);
    }
    for (unsigned i = 0; i < 2; i++)
        free(sim->storage.slots[i]);
    free(sim->storage.packets);
    free(sim->storage.scratch);
    free(sim->measurements);
    free(sim);
}

struct sim_clock *sim_client_clock(struct sim *sim)
{
    return &sim->client_clock;
}

struct sim_clock *sim_server_clock(struct sim *sim)
{
    return &sim->server_clock;
}

struct sim_link *sim_forward(struct sim *sim)
{
    return &sim->forward;
}

struct sim_link *sim_reverse(struct sim *sim)
{
    return &sim->reverse;
}

struct sim_server *sim_server(struct sim *sim)
{
    return &sim->server;
}

void sim_cut_tcp(struct sim *sim, size_t octets)
{
    sim->cut = octets;
}

void sim_kill_server(struct sim *sim)
{
    sim->server.process_down = true;
    for (unsigned i = 0; i < CONNECTIONS; i++)
        drop_connection(sim, &sim->connections[i], true);
    memset(sim->sessions, 0, sizeof sim->sessions);
}

void sim_start_server(struct sim *sim)
{
    sim->server.process_down = false;
    sim->server.config.start_time += UINT64_C(1) << 32;
}

void sim_set_name(struct sim *sim, uint8_t host)
{
    sim->name_host = host;
}

void sim_move_server(struct sim *sim, uint8_t host)
{
    sim->server_host = host;
}

size_t sim_measurements(const struct sim *sim, const struct tw_measurement **measurements)
{
    *measurements = sim->measurements;
    return sim->measured;
}

struct sim_counts sim_counts(const struct sim *sim)
{
    struct sim_counts counts = sim->counts;
    for (unsigned s = 0; s < SESSIONS; s++)
        counts.live_sessions += sim->sessions[s].used;
    return counts;
}
