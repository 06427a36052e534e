/* A probe with a driver that does anything it may, at any time: answers late, never or twice;
 * servers that lie, fall silent or hang up at any octet; datagrams of any kind; long sleeps, of
 * which it tells or not. Nothing is known of what a measurement should say, but what must always
 * hold is held after every step.
 *
 * TWAMP_SEED repeats a run. */
#include "probe_rig.h"
#include "secured_client.h"
#include "seed.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

enum { RUNS = 150, ACTIONS = 2000, REMEMBERED = 200, ENOUGH = 20 };

enum tcp { CLOSED, OPENING, OPEN };

enum temper { HONEST, MUTE, BABBLING, HASTY, REFUSING, NOT_STARTING, TALKATIVE, STRICT, TEMPERS };

/* What a client's octets on one connection come to. */
struct reader {
    unsigned messages;
    uint8_t message[256]; /* the one under way, in the clear */
    size_t have;
    bool secured;
    uint8_t aes_key[16], chain[16];
    uint8_t block[16]; /* not deciphered yet */
    size_t in_block;
    unsigned requests, starts, stops;
};

struct totals {
    uint64_t results[TW_MEASUREMENT_NAME + 1];
    uint64_t sessions, packets, unsent, stops, connections, left_out, closes, keys, individual,
        continuous, sleeps;
};

struct world {
    struct rig rig;
    struct tw_random dice; /* not the probe's, so that it changes nothing there */
    struct totals *totals;

    uint32_t virtue; /* percent of turns in which all goes as it should */
    bool resolving;
    enum tcp tcp;
    bool slow; /* to open */
    enum temper temper;
    size_t patience; /* octets that a server in a temper still writes */
    struct reader reader;
    bool deriving;
    struct tw_probe_salt salt;     /* for which */
    struct secured_client secrets; /* the server's, of this connection */
    struct stream in;              /* the server's octets on this connection */
    size_t in_done;
    unsigned started; /* sessions, on this connection */

    bool testing;         /* between a Start-Ack and its result; not used of continuous sessions */
    int64_t tested;       /* the interval of that */
    int64_t stopped_in;   /* up to this interval some may be left out: those without packets, */
    int64_t suspended_in; /* and any */
    bool session_has_connection;
    struct {
        int64_t number;
        uint32_t sent;
    } intervals[3]; /* the newest in which packets left */
    uint8_t packets[REMEMBERED][RIG_PACKET];
    size_t packet_count;

    int64_t last_result; /* number of its interval; -1 none */
    int64_t owed[4];     /* intervals that have begun, or should have, and have no result yet */
    size_t owed_count;
    struct tw_measurement_counters counters; /* as last told */
    bool closed;
};

static uint32_t below(struct world *world, uint32_t bound)
{
    return tw_random_below(&world->dice, bound);
}

static bool chance(struct world *world, uint32_t percent)
{
    return below(world, 100) < percent;
}

static int64_t span(struct world *world, int64_t limit_ns)
{
    return limit_ns / 1000000 * below(world, 1000001);
}

/* Which interval an instant of it belongs to. */
static int64_t number_of(const struct world *world, int64_t at_ns)
{
    const struct tw_probe_config *config = &world->rig.config;
    return (at_ns - RIG_BOOT_NS - config->phase_ns) / config->interval_ns;
}

static int64_t begin_of(const struct world *world, int64_t number)
{
    const struct tw_probe_config *config = &world->rig.config;
    return RIG_BOOT_NS + config->phase_ns + number * config->interval_ns;
}

/* Packets that have left in an interval, one of the newest few. */
static uint32_t *sent_in(struct world *world, int64_t number)
{
    size_t oldest = 0;
    for (size_t i = 0; i < ARRAY_SIZE(world->intervals); i++) {
        if (world->intervals[i].number == number)
            return &world->intervals[i].sent;
        if (world->intervals[i].number < world->intervals[oldest].number)
            oldest = i;
    }
    world->intervals[oldest].number = number;
    world->intervals[oldest].sent = 0;
    return &world->intervals[oldest].sent;
}

/* How long after its begin an interval's result is told at the latest. */
static int64_t told_ns(const struct world *world)
{
    const struct tw_probe_config *config = &world->rig.config;
    return config->interval_ns + (config->continuous ? config->sender.wait_ns : 0);
}

static bool may_be_left_out(struct world *world, int64_t number)
{
    return number <= world->suspended_in ||
           (number <= world->stopped_in && *sent_in(world, number) == 0);
}

static void owe(struct world *world, int64_t number)
{
    if (number <= world->last_result || may_be_left_out(world, number))
        return;
    for (size_t i = 0; i < world->owed_count; i++)
        if (world->owed[i] == number)
            return;
    assert_true(world->owed_count < ARRAY_SIZE(world->owed));
    world->owed[world->owed_count++] = number;
}

/* The server. */

static const uint8_t derived_key[16] = "a derived secret";

/* The end of the message under way, as far as that is known. */
static size_t size_of_message(const struct reader *reader)
{
    if (reader->messages == 0)
        return 164;
    if (reader->have < 16)
        return 16;
    return command_length(reader->message);
}

/* Opens the Token of a client whose mode has keys. */
static void take_keys(struct reader *reader, struct world *world)
{
    struct secured_client *secrets = &world->secrets;
    uint8_t zero[16] = {0};
    uint8_t token[64];
    reader->secured = tw_get32(reader->message) & 0xe;
    memcpy(token, reader->message + 84, sizeof token);
    cbc_decrypt_octets(derived_key, zero, token, sizeof token);
    memcpy(secrets->aes_key, token + 16, 16);
    memcpy(secrets->hmac_key, token + 32, 32);
    memcpy(reader->aes_key, token + 16, 16);
    memcpy(reader->chain, reader->message + 148, 16);
    hmac_sha1_set_key(&secrets->send_mac, 32, secrets->hmac_key);
}

static void say_server_start(struct world *world, const struct reader *reader)
{
    struct secured_client *secrets = &world->secrets;
    const bool refuses = reader->secured && world->temper == STRICT;
    uint8_t *start = add_server_start(&world->in, refuses ? 1 : 0);
    if (refuses || !reader->secured)
        return;
    tw_random_fill(&world->dice, start + 16, 16);
    memcpy(secrets->send_chain, start + 16, 16);
    hmac_sha1_update(&secrets->send_mac, 16, start + 32);
    cbc_encrypt_octets(secrets->aes_key, secrets->send_chain, start + 32, 16);
}

/* What is in `clear` is the server's next message. */
static void say_clear(struct world *world, const struct stream *clear)
{
    if (world->reader.secured)
        secured_send(&world->secrets, &world->in, clear->octets, clear->n);
    else
        stream_append(&world->in, clear->octets, clear->n);
}

static void acknowledge(struct stream *clear, const struct reader *reader, unsigned accept)
{
    const uint8_t *command = reader->message;
    uint8_t *ack = stream_add(clear, reader->have);
    memcpy(ack, command, reader->have - 16);
    ack[0] = command[0] + 1;
    ack[1] = (uint8_t)accept;
}

static void reply_to(struct world *world, struct reader *reader)
{
    struct stream clear = {.n = 0};
    const uint8_t command = reader->message[0];
    const unsigned start_accept = world->temper == NOT_STARTING && chance(world, 70) ? 1 : 0;
    if (world->in.n > sizeof(world->in.octets) - 512)
        return;
    if (reader->messages == 1) {
        take_keys(reader, world);
        say_server_start(world, reader);
        return;
    }
    if (command == 5) {
        const uint16_t port = (uint16_t)(50000 + below(world, 3));
        const unsigned accept = world->temper == REFUSING && chance(world, 70) ? 5 : 0;
        tw_random_fill(&world->dice, add_accept_session(&clear, accept, port) + 4, 16);
    } else if (command == 2) {
        add_start_ack(&clear, start_accept);
    } else if (command == 7) {
        acknowledge(&clear, reader, start_accept);
    } else if (command == 9) {
        acknowledge(&clear, reader, chance(world, 20) ? 3 : 0);
    }
    if (clear.n > 0)
        say_clear(world, &clear);
}

static void count_message(struct reader *reader)
{
    const uint8_t command = reader->message[0];
    if (reader->messages++ == 0)
        return;
    assert_true(command == 2 || command == 3 || command == 5 || command == 7 || command == 9);
    reader->requests += command == 5;
    reader->starts += command == 2 || command == 7;
    reader->stops += command == 3 || command == 9;
    /* A question is never asked before the one before it is answered, see RFC 5357 3.6. */
    assert_true(reader->starts <= reader->requests);
    assert_true(reader->stops <= reader->starts);
}

static void read_clear(struct reader *reader, const uint8_t *octets, size_t n, struct world *world)
{
    for (size_t i = 0; i < n; i++) {
        assert_true(reader->have < sizeof reader->message);
        reader->message[reader->have++] = octets[i];
        if (reader->have < size_of_message(reader))
            continue;
        count_message(reader);
        if (world != NULL)
            reply_to(world, reader);
        reader->have = 0;
    }
}

/* Octets of the probe; world is NULL when only looked at. */
static void read_octets(struct reader *reader, const uint8_t *octets, size_t n, struct world *world)
{
    for (size_t i = 0; i < n; i++) {
        if (!reader->secured) {
            read_clear(reader, octets + i, 1, world);
            continue;
        }
        reader->block[reader->in_block++] = octets[i];
        if (reader->in_block < sizeof reader->block)
            continue;
        reader->in_block = 0;
        cbc_decrypt_octets(reader->aes_key, reader->chain, reader->block, sizeof reader->block);
        read_clear(reader, reader->block, sizeof reader->block, world);
    }
}

static void write_some(struct world *world, size_t limit)
{
    struct tw_probe *probe = &world->rig.probe;
    size_t n;
    const uint8_t *out = tw_probe_output(probe, &n);
    assert_true(n == 0 || world->tcp == OPEN || probe->parting);
    n = n < limit ? n : limit;
    if (n == 0 || world->tcp != OPEN)
        return;
    read_octets(&world->reader, out, n, world);
    tw_probe_sent(probe, n, world->rig.now.mono);
}

static void hear(struct world *world, size_t n)
{
    struct tw_probe *probe = &world->rig.probe;
    if (world->tcp != OPEN)
        return;
    size_t room;
    uint8_t *place = tw_probe_input(probe, &room);
    n = n < room ? n : room;
    n = n < world->in.n - world->in_done ? n : world->in.n - world->in_done;
    if (world->temper == MUTE || world->temper == HASTY) {
        n = n < world->patience ? n : world->patience;
        world->patience -= n;
    }
    if (n == 0)
        return;
    memcpy(place, world->in.octets + world->in_done, n);
    if (world->temper == BABBLING && chance(world, 30))
        tw_random_fill(&world->dice, place, n);
    world->in_done += n;
    const enum tw_probe_phase before = probe->phase;
    tw_probe_received(probe, n, world->rig.now.mono);
    if (probe->phase == before || probe->phase != TW_PROBE_TEST)
        return;
    assert_int_equal(before, TW_PROBE_SET_UP);
    world->totals->sessions++;
    world->totals->individual += (probe->client.mode & TW_MODE_SESSION_CONTROL) != 0;
    if (world->rig.config.continuous)
        return;
    assert_true(!world->testing || may_be_left_out(world, world->tested));
    world->testing = world->session_has_connection = true;
    world->tested = number_of(world, probe->begun.ns);
    world->started++;
}

static void lose_connection(struct world *world)
{
    if (world->tcp != OPEN)
        return;
    world->tcp = CLOSED;
    world->session_has_connection = false;
    tw_probe_disconnected(&world->rig.probe, world->rig.now.mono);
}

static void answer_connect(struct world *world)
{
    if (world->tcp != OPENING || (world->slow && chance(world, 98)))
        return;
    if (chance(world, 20)) {
        world->tcp = CLOSED;
        tw_probe_connect_failed(&world->rig.probe, ECONNREFUSED, world->rig.now.mono);
        return;
    }
    world->tcp = OPEN;
    accept_connection(&world->rig);
}

static void answer_resolve(struct world *world)
{
    struct tw_address addresses[6];
    if (!world->resolving)
        return;
    world->resolving = false;
    const size_t n = chance(world, 15) ? 0 : 1 + below(world, 6);
    for (size_t i = 0; i < n; i++)
        addresses[i] = rig_host((uint8_t)(1 + below(world, 8)));
    tw_probe_resolved(&world->rig.probe, addresses, n, n == 0 ? EAI_AGAIN : 0, world->rig.now.mono);
}

/* Perhaps for a connection that is gone; and perhaps for something else. */
static void answer_key(struct world *world)
{
    if (!world->deriving)
        return;
    struct tw_probe_salt salt = world->salt;
    if (chance(world, 10))
        salt.salt[below(world, 16)] ^= 1;
    else if (chance(world, 10))
        salt.count ^= 3072;
    else
        world->deriving = chance(world, 5);
    tw_probe_key(&world->rig.probe, &salt, derived_key, world->rig.now.mono);
}

/* Test packets. */

static void send_one(struct world *world)
{
    struct rig *rig = &world->rig;
    if (!tw_probe_send_due(&rig->probe, rig->now.mono)) {
        size_t n;
        if (rig->probe.phase != TW_PROBE_TEST)
            assert_int_equal(tw_probe_prepare(&rig->probe, rig->packet, sizeof rig->packet, &n),
                             TW_ERR_STATE);
        return;
    }
    const bool continuous = rig->config.continuous;
    assert_true(world->testing || continuous);
    const int64_t since = rig->now.mono.ns - rig->probe.begun.ns;
    assert_true(since >= 0 &&
                since < rig->config.interval_ns - (continuous ? 0 : rig->config.sender.wait_ns));
    send_packet(rig);
    if (chance(world, 5)) {
        tw_probe_unsend(&rig->probe, ENOBUFS, rig->now.mono);
        world->totals->unsent++;
        return;
    }
    assert_true(++*sent_in(world, number_of(world, rig->now.mono.ns)) <= rig->config.count);
    world->totals->packets++;
    memcpy(world->packets[world->packet_count++ % REMEMBERED], rig->packet, RIG_PACKET);
}

/* No more than a probe may send at once, see conformance SND-13. */
static void send_due(struct world *world)
{
    for (unsigned i = 0; tw_probe_send_due(&world->rig.probe, world->rig.now.mono); i++) {
        assert_true(i < 3);
        send_one(world);
    }
}

static void receive_datagram(struct world *world)
{
    struct rig *rig = &world->rig;
    uint8_t datagram[RIG_PACKET];
    size_t n = 41;
    const size_t known = world->packet_count < REMEMBERED ? world->packet_count : REMEMBERED;
    if (known == 0 || chance(world, 10)) {
        n = below(world, sizeof datagram + 1);
        tw_random_fill(&world->dice, datagram, n);
    } else {
        const uint32_t recent = (uint32_t)(known < 8 ? known : 8);
        const size_t which = chance(world, 80) ? world->packet_count - 1 - below(world, recent)
                                               : below(world, (uint32_t)known);
        make_reply(world->packets[which % REMEMBERED], below(world, 70), datagram);
        if (chance(world, 10)) {
            const uint32_t bit = below(world, 41 * 8);
            datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    struct tw_arrival arrival = arrival_now(rig);
    arrival.at.ns -= span(world, chance(world, 90) ? 1 * MS : 10 * S);
    struct tw_sample sample;
    tw_probe_receive(&rig->probe, datagram, n, &arrival, &sample);
}

/* Results. */

static void check_counters(struct world *world, const struct tw_measurement *m)
{
    const struct tw_summary *summary = &m->summary;
    struct tw_measurement_counters *told = &world->counters;
    assert_int_equal(m->counters.sent - told->sent, summary->sent);
    assert_int_equal(m->counters.received - told->received, summary->received);
    assert_int_equal(m->counters.lost - told->lost, summary->lost);
    assert_int_equal(m->counters.duplicate - told->duplicate, summary->duplicates);
    assert_int_equal(m->counters.reordered - told->reordered, summary->reordered);
    assert_true(m->counters.late >= told->late + summary->late);
    *told = m->counters;
}

static void check_state(const struct tw_measurement *m)
{
    const bool answered = m->summary.received + m->summary.late > 0;
    assert_int_equal(m->state == TW_MEASUREMENT_OK, answered);
    assert_int_equal(m->remote.family, m->session ? 4 : 0);
    assert_int_equal(m->local.family, m->session ? 4 : 0);
    if (m->state == TW_MEASUREMENT_OK) {
        assert_false(m->trouble.valid);
        assert_int_equal(m->trouble.error, 0);
    }
    if (m->trouble.valid)
        assert_int_equal(m->trouble.error, 0);
    if (m->state == TW_MEASUREMENT_REFUSED)
        assert_true(m->trouble.valid);
    if (m->state == TW_MEASUREMENT_NAME)
        assert_false(m->session || m->trouble.valid);
}

static void take_result(struct world *world, const struct tw_measurement *m)
{
    const int64_t number = number_of(world, m->begun.ns);
    assert_int_equal(begin_of(world, number), m->begun.ns);
    assert_true(number > world->last_result);
    for (size_t i = 0; i < world->owed_count; i++)
        assert_true(world->owed[i] >= number);
    if (world->owed_count > 0 && world->owed[0] == number) {
        world->owed_count--;
        memmove(world->owed, world->owed + 1, world->owed_count * sizeof *world->owed);
    }
    world->totals->left_out += (uint64_t)(number - world->last_result - 1);
    world->last_result = number;

    const uint32_t sent = *sent_in(world, number);
    assert_int_equal(m->summary.sent, sent);
    if (world->rig.config.continuous) {
        assert_true(m->session || sent == 0);
        assert_int_equal(m->time.ns - rig_wall(m->begun).ns, told_ns(world));
        world->totals->continuous++;
    } else {
        world->testing = world->testing && world->tested == number;
        assert_int_equal(m->session, world->testing);
    }
    assert_int_equal(m->summary.sent, m->summary.received + m->summary.lost);
    assert_true(m->summary.late <= m->summary.lost);
    check_counters(world, m);
    check_state(m);
    if (world->testing && world->session_has_connection) {
        struct reader reader = world->reader;
        size_t n;
        const uint8_t *out = tw_probe_output(&world->rig.probe, &n);
        read_octets(&reader, out, n, NULL);
        assert_int_equal(reader.stops, world->started);
    }
    world->testing = false;
    world->totals->results[m->state]++;
}

static void take_disconnect(struct world *world)
{
    assert_int_not_equal(world->tcp, CLOSED);
    const bool was_testing = world->testing && world->session_has_connection;
    if (world->tcp == OPEN && chance(world, 80))
        write_some(world, chance(world, 90) ? SIZE_MAX : 10);
    size_t n;
    tw_probe_output(&world->rig.probe, &n);
    if (world->closed && was_testing && n == 0 && world->reader.have == 0)
        assert_int_equal(world->reader.stops, world->started);
    world->tcp = CLOSED;
    world->session_has_connection = false;
}

static void begin_connection(struct world *world, const struct tw_address *address)
{
    assert_int_equal(world->tcp, CLOSED);
    assert_int_equal(address->family, 4);
    assert_int_equal(address->port, 862);
    world->tcp = OPENING;
    world->reader = (struct reader){.messages = 0};
    world->in.n = world->in_done = 0;
    world->started = 0;
    world->temper = chance(world, 60) ? HONEST : (enum temper)below(world, TEMPERS);
    world->slow = chance(world, 15);
    world->patience = below(world, 64 + 48 + 2 * (48 + 32));
    const uint32_t wanted = world->rig.config.client.mode | world->rig.config.client.features;
    uint8_t *greeting = add_greeting(&world->in, chance(world, 98) ? wanted : below(world, 16));
    tw_random_fill(&world->dice, greeting + 16, 32);
    if (chance(world, 2))
        tw_put32(greeting + 48, below(world, 70000));
    world->totals->connections++;
    if (chance(world, 5)) { /* the kernel knows at once that it cannot be */
        world->tcp = CLOSED;
        tw_probe_connect_failed(&world->rig.probe, ENETUNREACH, world->rig.now.mono);
    }
}

static bool take_event(struct world *world)
{
    struct tw_probe_event event;
    if (!tw_probe_next_event(&world->rig.probe, &event))
        return false;
    assert_true(!world->closed || event.type == TW_PROBE_DISCONNECT);
    switch (event.type) {
    case TW_PROBE_RESOLVE:
        assert_false(world->resolving);
        world->resolving = true;
        if (chance(world, 5))
            answer_resolve(world);
        break;
    case TW_PROBE_KEY:
        assert_int_equal(world->tcp, OPEN);
        world->deriving = true;
        world->salt = event.key;
        world->totals->keys++;
        break;
    case TW_PROBE_CONNECT:
        begin_connection(world, &event.address);
        break;
    case TW_PROBE_DISCONNECT:
        take_disconnect(world);
        break;
    case TW_PROBE_RESULT:
        take_result(world, event.measurement);
        break;
    }
    return true;
}

/* All that a good driver does in a turn. Afterwards nothing may be due any more. */
static void serve(struct world *world)
{
    struct rig *rig = &world->rig;
    for (unsigned turns = 0;; turns++) {
        write_some(world, SIZE_MAX);
        send_due(world);
        for (unsigned events = 0; take_event(world); events++)
            assert_true(events < ENOUGH);
        if (tw_probe_deadline(&rig->probe).ns > rig->now.mono.ns)
            break;
        assert_true(turns < ENOUGH); /* else it asks for ever */
        rig_expire(rig);
    }
    const int64_t now = rig->now.mono.ns;
    const struct tw_probe_config *config = &rig->config;
    for (size_t i = 0; i < world->owed_count; i++)
        assert_true(begin_of(world, world->owed[i]) + told_ns(world) > now);
    if (world->closed || now < begin_of(world, 0))
        return;
    const int64_t number = number_of(world, now);
    const int64_t packets_ns = config->count * config->packet_interval_ns;
    const int64_t begins_by_ns =
        config->continuous ? packets_ns : config->interval_ns - packets_ns - config->sender.wait_ns;
    if (now < begin_of(world, number) + begins_by_ns)
        owe(world, number);
}

static void wait_for_deadline(struct world *world)
{
    struct rig *rig = &world->rig;
    const tw_mono deadline = tw_probe_deadline(&rig->probe);
    if (deadline.ns > rig->now.mono.ns && !tw_mono_is_never(deadline))
        rig_set_time(rig, deadline.ns + (chance(world, 20) ? span(world, 5 * MS) : 0));
}

static void pass_time(struct world *world)
{
    const int64_t interval_ns = world->rig.config.interval_ns;
    const uint32_t kind = below(world, 1000);
    int64_t ns = span(world, 50 * MS);
    if (kind < 5)
        ns = span(world, interval_ns * 50);
    else if (kind < 20)
        ns = span(world, interval_ns);
    else if (kind < 100)
        ns = span(world, interval_ns / 4);
    rig_set_time(&world->rig, world->rig.now.mono.ns + ns);
}

/* A turn in which all goes as it should. */
static void be_good(struct world *world)
{
    serve(world);
    answer_resolve(world);
    serve(world);
    answer_connect(world);
    for (unsigned i = 0; i < 6; i++) {
        hear(world, SIZE_MAX);
        answer_key(world);
        serve(world);
    }
    for (unsigned i = 0; i < 3; i++)
        receive_datagram(world);
    wait_for_deadline(world);
}

static void forgive(struct world *world)
{
    size_t kept = 0;
    for (size_t i = 0; i < world->owed_count; i++) {
        if (!may_be_left_out(world, world->owed[i]))
            world->owed[kept++] = world->owed[i];
    }
    world->owed_count = kept;
}

static void be_stopped(struct world *world)
{
    struct tw_probe *probe = &world->rig.probe;
    const bool late = world->rig.now.mono.ns - tw_probe_deadline(probe).ns >= TW_PROBE_ASLEEP_NS;
    if (late)
        world->stopped_in = number_of(world, world->rig.now.mono.ns);
    tw_probe_slept(probe, TW_PROBE_STOPPED, world->rig.now.mono);
}

/* The monotonic clock stood still meanwhile. */
static void be_suspended(struct world *world)
{
    struct tw_probe *probe = &world->rig.probe;
    world->suspended_in = number_of(world, world->rig.now.mono.ns);
    tw_probe_slept(probe, TW_PROBE_SUSPENDED, world->rig.now.mono);
    assert_int_equal(probe->link, TW_PROBE_DOWN);
    const struct tw_probe_window *window = rig_window(&world->rig);
    const bool told = probe->want_result; /* and to be taken yet */
    world->testing = world->testing && (told || (window->open && window->measurement.session));
}

/* And the driver notices it when it wakes. */
static void sleep_awhile(struct world *world)
{
    world->totals->sleeps++;
    if (chance(world, 20)) {
        be_suspended(world);
    } else {
        pass_time(world);
        if (chance(world, 20)) /* reflectors give up sessions meanwhile */
            rig_set_time(&world->rig, world->rig.now.mono.ns + span(world, 1000 * S));
        be_stopped(world);
    }
    forgive(world);
}

/* What must hold whatever has happened. */
static void check_always(struct world *world)
{
    const struct tw_probe *probe = &world->rig.probe;
    const struct tw_measurement_counters *c = &probe->counters;
    assert_true(c->sent >= world->counters.sent && c->received >= world->counters.received);
    assert_true(c->lost >= world->counters.lost && c->late >= world->counters.late);
    assert_true(c->duplicate >= world->counters.duplicate);
    assert_true(c->reordered >= world->counters.reordered);
    assert_int_equal(c->sent, c->received + c->lost);
    if (probe->phase != TW_PROBE_WAIT)
        owe(world, number_of(world, probe->begun.ns));
    size_t n;
    tw_probe_output(probe, &n);
    assert_true(n == 0 || world->tcp == OPEN || probe->parting);
    if (probe->link == TW_PROBE_UP)
        assert_int_equal(world->tcp, OPEN);
    assert_int_equal(tw_mono_is_never(tw_probe_deadline(probe)), world->closed);
}

/* A Stop-Sessions, as servers made from OWAMP send it. */
static void talk(struct world *world)
{
    struct stream clear = {.n = 0};
    if (world->rig.config.client.mode != 1 && world->reader.messages == 0)
        return; /* not before there are keys */
    add_stop(&clear, below(world, 3));
    say_clear(world, &clear);
}

static void misbehave(struct world *world)
{
    switch (below(world, 19)) {
    case 0:
    case 1:
        pass_time(world);
        break;
    case 2:
    case 3:
    case 4:
        wait_for_deadline(world);
        serve(world);
        break;
    case 5:
        rig_expire(&world->rig);
        world->slow = false; /* perhaps it answers what was just given up */
        if (chance(world, 50))
            answer_connect(world);
        break;
    case 6:
        (void)take_event(world);
        break;
    case 7:
        write_some(world, chance(world, 50) ? SIZE_MAX : 1 + below(world, 40));
        break;
    case 8:
    case 9:
        hear(world, chance(world, 80) ? SIZE_MAX : 1 + below(world, 20));
        break;
    case 10:
        hear(world, SIZE_MAX);
        if (chance(world, world->temper == HASTY && world->patience == 0 ? 50 : 1))
            lose_connection(world);
        if (world->temper == TALKATIVE && world->in.n < 4000 && chance(world, 20))
            talk(world);
        break;
    case 11:
        if (chance(world, 60))
            answer_connect(world);
        break;
    case 12:
        if (chance(world, 40))
            answer_resolve(world);
        break;
    case 13:
        send_one(world);
        break;
    case 14:
        answer_key(world);
        break;
    case 15:
        if (chance(world, 10))
            sleep_awhile(world);
        break;
    default:
        receive_datagram(world);
        break;
    }
}

static void act(struct world *world)
{
    if (chance(world, 1))
        world->virtue = (uint32_t[]){0, 50, 90, 100}[below(world, 4)];
    if (chance(world, world->virtue))
        be_good(world);
    else
        misbehave(world);
    check_always(world);
}

/* After close() a driver may still have anything to say. */
static void close_and_linger(struct world *world)
{
    if (chance(world, 50))
        serve(world);
    tw_probe_close(&world->rig.probe, world->rig.now.mono);
    world->closed = true;
    world->owed_count = 0;
    world->totals->closes++;
    for (unsigned i = 0; i < 100; i++) {
        act(world);
        assert_false(tw_probe_send_due(&world->rig.probe, world->rig.now.mono));
    }
    while (take_event(world))
        ;
    assert_int_equal(world->tcp, CLOSED);
}

static struct tw_probe_config random_plan(struct world *world)
{
    static const int64_t intervals_ns[] = {1 * S, 3 * S, 10 * S, 60 * S, 3600 * S};
    static const uint32_t counts[] = {1, 2, 4, 33, 64};
    struct tw_probe_config config = rig_plan();
    config.interval_ns = intervals_ns[below(world, ARRAY_SIZE(intervals_ns))];
    config.phase_ns = span(world, config.interval_ns);
    config.count = counts[below(world, ARRAY_SIZE(counts))];
    const int64_t share = 2 + below(world, 5); /* of the interval that the session takes */
    config.packet_interval_ns = config.interval_ns / share / config.count;
    config.sender.wait_ns = chance(world, 10) ? 0 : config.interval_ns / (2 + below(world, 10));
    config.continuous = chance(world, 50);
    if (config.continuous) {
        config.packet_interval_ns = config.interval_ns / config.count;
        config.sender.wait_ns =
            chance(world, 10) ? config.interval_ns - 1 : span(world, config.interval_ns - 1);
    }
    if (!tw_probe_fits(&config))
        config.sender.wait_ns = config.interval_ns / 10; /* leaves almost half of it for set-up */
    (void)tw_probe_gather(&config);
    config.connect_ns = 1 * MS + span(world, config.interval_ns);
    config.client.step_ns = 1 * MS + span(world, config.interval_ns);
    config.resolve_ns = 1 * S + span(world, 300 * S);
    config.stateful = chance(world, 50);
    config.receiver_port = chance(world, 50) ? 18760 : 0;
    /* Test packets are clear in both. */
    config.client.mode = chance(world, 50) ? TW_MODE_UNAUTHENTICATED : TW_MODE_MIXED;
    config.client.features = chance(world, 50) ? TW_MODE_SESSION_CONTROL : 0;
    assert_true(tw_probe_fits(&config));
    return config;
}

static void run(uint64_t seed, struct totals *totals)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    uint8_t octets[TW_RANDOM_SEED_SIZE] = {1};
    tw_put64(octets + 8, seed);
    tw_random_seed(&world->dice, octets);
    world->totals = totals;
    world->last_result = world->stopped_in = world->suspended_in = -1;
    for (size_t i = 0; i < ARRAY_SIZE(world->intervals); i++)
        world->intervals[i].number = -1;
    const struct tw_probe_config config = random_plan(world);
    rig_begin_with(&world->rig, &config, seed);
    for (unsigned i = 0; i < ACTIONS; i++)
        act(world);
    close_and_linger(world);
    totals->stops += world->reader.stops;
    free(world);
}

static void whatever_the_driver_does_the_probe_keeps_its_promises(void **state)
{
    (void)state;
    const uint64_t base = seed_or(20260402);
    struct totals totals = {.sessions = 0};
    for (uint64_t i = 0; i < RUNS; i++)
        run(base + i, &totals);
    const uint64_t *results = totals.results;
    print_message("%llu connections, %llu sessions, %llu packets, %llu not taken\n",
                  (unsigned long long)totals.connections, (unsigned long long)totals.sessions,
                  (unsigned long long)totals.packets, (unsigned long long)totals.unsent);
    print_message("%llu keys asked for, %llu sessions with individual control\n",
                  (unsigned long long)totals.keys, (unsigned long long)totals.individual);
    print_message("results: %llu ok, %llu unreachable, %llu refused, %llu silent, %llu key, "
                  "%llu name; %llu intervals left out\n",
                  (unsigned long long)results[TW_MEASUREMENT_OK],
                  (unsigned long long)results[TW_MEASUREMENT_UNREACHABLE],
                  (unsigned long long)results[TW_MEASUREMENT_REFUSED],
                  (unsigned long long)results[TW_MEASUREMENT_SILENT],
                  (unsigned long long)results[TW_MEASUREMENT_KEY],
                  (unsigned long long)results[TW_MEASUREMENT_NAME],
                  (unsigned long long)totals.left_out);
    /* Every corner was seen, or the driver is not random enough. */
    assert_true(totals.continuous > 1000);
    assert_true(totals.sleeps > 100);
    assert_true(totals.sessions > 100 && totals.packets > 1000 && totals.unsent > 10);
    for (unsigned i = 0; i <= TW_MEASUREMENT_NAME; i++)
        assert_true(results[i] > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_the_driver_does_the_probe_keeps_its_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
