/* The two-host world of sim.h: an event list in virtual time around the machines of src/lib. Here
 * is the client host, a driver like the engine, and what moves the world. */
#include "sim/sim_world.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"

const uint8_t *sim_derive(struct derivation *last, const char *secret, const uint8_t *salt,
                          uint32_t count)
{
    if (last->secret == secret && last->count == count &&
        memcmp(last->salt, salt, sizeof last->salt) == 0)
        return last->key;
    *last = (struct derivation){.secret = secret, .count = count};
    memcpy(last->salt, salt, sizeof last->salt);
    tw_derive_key((const uint8_t *)secret, strlen(secret), salt, count, last->key);
    return last->key;
}

static void flush_client(struct sim *sim)
{
    size_t n = 0;
    const uint8_t *out = tw_probe_output(&sim->probe, &n);
    if (n == 0 || sim->connection == 0)
        return;
    sim_net_tcp(sim, TO_SERVER, sim->connection, out, n);
    tw_probe_sent(&sim->probe, n, sim_net_client_now(sim).mono);
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
    sim_host_drop(sim, connection, false);
    *connection = (struct connection){.id = sim->connection};
    sim_net_tcp(sim, SYN, sim->connection, NULL, 0);
}

static void close_connection(struct sim *sim)
{
    if (sim->connection == 0)
        return;
    sim_net_tcp(sim, FIN_SERVER, sim->connection, NULL, 0);
    sim->connection = 0;
}

static void send_due(struct sim *sim)
{
    while (tw_probe_send_due(&sim->probe, sim_net_client_now(sim).mono)) {
        uint8_t packet[2048];
        size_t n = 0;
        enum tw_result result = tw_probe_prepare(&sim->probe, packet, sizeof packet, &n);
        assert(result == TW_OK);
        (void)result;
        struct tw_reading now = sim_net_client_now(sim);
        (void)tw_probe_stamp(&sim->probe, packet, &now);
        sim->counts.test_packets++;
        sim->counts.packet_size = n;
        sim_net_udp(sim, &sim->forward, TEST_PACKET, sim->now, packet, n,
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
            sim_net_add(sim, sim->now + TW_NS_PER_MS, NAME_ANSWER, 0, NULL, 0);
            break;
        case TW_PROBE_CONNECT:
            open_connection(sim);
            break;
        case TW_PROBE_KEY:
            sim->counts.keys++;
            sim_net_add(sim, sim->now + 5 * TW_NS_PER_MS, DERIVED, 0, (const uint8_t *)&event.key,
                        sizeof event.key);
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
        tw_probe_received(&sim->probe, part, sim_net_client_now(sim).mono);
        done += part;
        serve_client(sim);
    }
}

static void answer_name(struct sim *sim)
{
    struct tw_address address = {.family = 4, .octets = {192, 0, 2, sim->name_host}};
    bool known = sim->name_host != 0;
    tw_probe_resolved(&sim->probe, &address, known ? 1 : 0, known ? 0 : -2,
                      sim_net_client_now(sim).mono);
}

static void answer_client_key(struct sim *sim, const struct event *event)
{
    struct tw_probe_salt salt;
    memcpy(&salt, event->data, sizeof salt);
    const uint8_t *key = sim_derive(&sim->derivations[0], SIM_SECRET, salt.salt, salt.count);
    tw_probe_key(&sim->probe, &salt, key, sim_net_client_now(sim).mono);
}

static void client_connected(struct sim *sim, const struct event *event)
{
    if (event->connection != sim->connection)
        return;
    if (event->error != 0) {
        sim->connection = 0;
        tw_probe_connect_failed(&sim->probe, event->error, sim_net_client_now(sim).mono);
        return;
    }
    struct tw_address local = {.family = 4, .octets = {198, 51, 100, 7}, .port = sim->sender_port};
    tw_probe_connected(&sim->probe, &local, sim_net_client_now(sim).mono);
}

static bool is_asleep(const struct sim *sim)
{
    return sim->now < sim->asleep_until;
}

static bool is_for_client(enum event_type type)
{
    switch (type) {
    case SYN_ANSWER:
    case TO_CLIENT:
    case FIN_CLIENT:
    case TEST_REPLY:
    case REFUSAL:
    case NAME_ANSWER:
    case DERIVED:
        return true;
    case SYN:
    case TO_SERVER:
    case FIN_SERVER:
    case TEST_PACKET:
        return false;
    }
    return false;
}

/* What comes to a client that sleeps waits for it, in order. */
static void put_off(struct sim *sim, const struct event *event)
{
    const bool datagram = event->type == TEST_REPLY || event->type == REFUSAL;
    if (datagram && sim->sleep == SIM_SUSPENDED)
        return;
    struct event *later =
        sim_net_add(sim, sim->asleep_until, event->type, event->connection, event->data, event->n);
    later->arrived = event->arrived != 0 ? event->arrived : event->at;
    later->error = event->error;
    later->ttl = event->ttl;
    later->tos = event->tos;
    later->port = event->port;
}

static void take_reply(struct sim *sim, const struct event *event, const struct tw_arrival *arrival)
{
    struct tw_address from = sim->probe.remote;
    if (event->port != 0)
        from.port = event->port;
    struct tw_sample sample;
    if (tw_probe_expects(&sim->probe, &from))
        tw_probe_receive(&sim->probe, event->data, event->n, arrival, &sample);
    else
        sim->counts.strange_replies++;
}

static void happen(struct sim *sim, const struct event *event)
{
    if (is_asleep(sim) && is_for_client(event->type)) {
        put_off(sim, event);
        return;
    }
    struct tw_reading now = sim_net_client_now(sim);
    const int64_t arrived = event->arrived != 0 ? event->arrived : sim->now;
    struct tw_arrival arrival = {.at = sim_net_read(&sim->client_clock, 0, arrived).wall,
                                 .source = TW_SOURCE_KERNEL,
                                 .read = now,
                                 .ttl = event->ttl,
                                 .tos = event->tos};
    bool filtered = sim->server.tcp_filtered;
    struct connection *connection = sim_host_find(sim, event->connection);
    switch (event->type) {
    case SYN:
        if (connection != NULL)
            sim_host_accept(sim, connection);
        break;
    case SYN_ANSWER:
        client_connected(sim, event);
        break;
    case TO_SERVER:
        sim_host_input(sim, event);
        break;
    case TO_CLIENT:
        if (!filtered)
            client_input(sim, event);
        break;
    case FIN_SERVER:
        if (!filtered && connection != NULL)
            sim_host_drop(sim, connection, false);
        break;
    case FIN_CLIENT:
        if (filtered || event->connection != sim->connection)
            break;
        sim->connection = 0;
        tw_probe_disconnected(&sim->probe, now.mono);
        break;
    case TEST_PACKET:
        sim_host_reflect(sim, event);
        break;
    case TEST_REPLY:
        take_reply(sim, event, &arrival);
        break;
    case REFUSAL:
        tw_probe_refused(&sim->probe, now.mono);
        break;
    case NAME_ANSWER:
        answer_name(sim);
        break;
    case DERIVED:
        answer_client_key(sim, event);
        break;
    }
    if (!is_asleep(sim))
        serve_client(sim);
}

static void expire_client(struct sim *sim)
{
    if (is_asleep(sim))
        return;
    const struct tw_reading now = sim_net_client_now(sim);
    if (tw_mono_reached(tw_probe_deadline(&sim->probe), now.mono))
        tw_probe_expire(&sim->probe, &now);
    serve_client(sim);
}

/* When the client does something by itself. */
static int64_t client_moment(const struct sim *sim)
{
    const tw_mono deadline = tw_probe_deadline(&sim->probe);
    if (tw_mono_is_never(deadline))
        return INT64_MAX;
    const int64_t at = deadline.ns - sim_net_client_boot_ns(sim);
    return at < sim->asleep_until ? sim->asleep_until : at;
}

/* As the engine notices it: before anything that came meanwhile. */
static void wake_client(struct sim *sim)
{
    if (sim->woken || is_asleep(sim))
        return;
    sim->woken = true;
    tw_probe_slept(&sim->probe, sim->sleep == SIM_STOPPED ? TW_PROBE_STOPPED : TW_PROBE_SUSPENDED,
                   sim_net_client_now(sim).mono);
    serve_client(sim);
}

/* The next moment at which anything happens. */
static int64_t next_moment(const struct sim *sim)
{
    int64_t at = sim->events == NULL ? INT64_MAX : sim->events->at;
    if (client_moment(sim) < at)
        at = client_moment(sim);
    if (!sim->woken && sim->asleep_until < at)
        at = sim->asleep_until;
    tw_mono server = sim_host_deadline(sim);
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
        wake_client(sim);
        while (sim->events != NULL && sim->events->at <= sim->now) {
            struct event *event = sim->events;
            sim->events = event->next;
            happen(sim, event);
            free(event);
        }
        sim_host_expire(sim);
        expire_client(sim);
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
        .count = TW_KEYS_COUNT_MIN,
        .salt = "salt of the sim",
        .start_time = UINT64_C(0xe900000000000000),
        .servwait_ns = 900 * TW_NS_PER_S,
        .stall_ns = 60 * TW_NS_PER_S,
        .max_payload = 9000,
        .max_timeout_ns = 60 * TW_NS_PER_S,
    };
    sim->server.secret = SIM_SECRET;
    sim->server.refwait_ns = 300 * TW_NS_PER_S;
    sim->name_host = sim->server_host = 1;
    sim->sender_port = 40000;
    sim->woken = true;
    struct tw_probe_storage *storage = &sim->storage;
    storage->slot_count = tw_probe_slots(config);
    storage->packet_count = tw_probe_packets(config);
    storage->windows = calloc(tw_probe_windows(config), sizeof *storage->windows);
    storage->scratch = calloc(storage->packet_count, sizeof *storage->scratch);
    for (unsigned i = 0; i < 2; i++)
        storage->slots[i] = calloc(storage->slot_count, sizeof *storage->slots[i]);
    storage->secrets = calloc(1, sizeof *storage->secrets);
    for (unsigned i = 0; i < tw_probe_windows(config); i++)
        storage->packets[i] = calloc(storage->packet_count, sizeof *storage->packets[i]);
    tw_probe_init(&sim->probe, &sim->config, &sim->storage, &sim->random,
                  sim_net_client_now(sim).mono);
    return sim;
}

void sim_free(struct sim *sim)
{
    while (sim->events != NULL) {
        struct event *event = sim->events;
        sim->events = event->next;
        free(event);
    }
    for (unsigned i = 0; i < 2; i++) {
        free(sim->storage.slots[i]);
        free(sim->storage.packets[i]);
    }
    free(sim->storage.windows);
    free(sim->storage.secrets);
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
        sim_host_drop(sim, &sim->connections[i], true);
    memset(sim->sessions, 0, sizeof sim->sessions);
}

void sim_close_connections(struct sim *sim)
{
    for (unsigned i = 0; i < CONNECTIONS; i++)
        sim_host_drop(sim, &sim->connections[i], true);
}

void sim_sleep(struct sim *sim, enum sim_sleep kind, int64_t duration_ns)
{
    sim->sleep = kind;
    sim->asleep_until = sim->now + duration_ns;
    sim->woken = false;
    if (kind == SIM_SUSPENDED)
        sim->suspended_ns += duration_ns;
}

tw_mono sim_client_mono(const struct sim *sim)
{
    return sim_net_client_now(sim).mono;
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

void sim_forget_measurements(struct sim *sim)
{
    sim->measured = 0;
}

struct sim_counts sim_counts(const struct sim *sim)
{
    struct sim_counts counts = sim->counts;
    for (unsigned s = 0; s < SESSIONS; s++)
        counts.live_sessions += sim->sessions[s].used;
    return counts;
}
