/* A probe with a driver that a test leads: clocks, memory, TCP octets of an honest server, replies
 * of an honest reflector. */
#ifndef TW_TESTS_UNIT_PROBE_RIG_H
#define TW_TESTS_UNIT_PROBE_RIG_H

#include <stdbool.h>

#include "control.h"
#include "lib/probe.h"

#define MS TW_NS_PER_MS
#define S  TW_NS_PER_S

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { RIG_SLOTS = 128, RIG_PACKET = 128 };

struct rig {
    struct tw_probe_config config;
    struct tw_sender_slot slots[2][RIG_SLOTS];
    struct tw_stats_packet packets[2][RIG_SLOTS];
    struct tw_probe_window windows[2];
    int64_t scratch[RIG_SLOTS];
    struct tw_random random;
    struct tw_probe probe;
    struct tw_probe_secrets secrets;
    struct tw_reading now;
    struct stream out; /* written on the connections, one after the other */
    uint8_t packet[RIG_PACKET];
};

/* The probe is made at this moment; the first interval begins 1 s later. */
static const int64_t RIG_BOOT_NS = 1000 * S;
static const int64_t RIG_FIRST_NS = 1001 * S;

/* Four packets 100 ms apart, lost after 2 s, every 10 s: a session of 2.4 s, so set-up has until
 * 7.6 s and packets may leave until 8 s after the interval's beginning. */
static inline struct tw_probe_config rig_plan(void)
{
    return (struct tw_probe_config){
        .interval_ns = 10 * S,
        .phase_ns = 1 * S,
        .count = 4,
        .packet_interval_ns = 100 * MS,
        .timeout_ns = 2 * S,
        .connect_ns = 3 * S,
        .resolve_ns = 60 * S,
        .control_port = 862,
        .stateful = true,
        .client = {.mode = TW_MODE_UNAUTHENTICATED, .step_ns = 3 * S},
        .sender = {.padding_length = 27, .wait_ns = 2 * S},
    };
}

static inline tw_wall rig_wall(tw_mono mono)
{
    return (tw_wall){INT64_C(1700000000) * S + mono.ns};
}

static inline void rig_set_time(struct rig *rig, int64_t mono_ns)
{
    assert_true(mono_ns >= rig->now.mono.ns);
    rig->now.mono.ns = mono_ns;
    rig->now.wall = rig_wall(rig->now.mono);
    rig->now.error = tw_error_encode(1000, true);
}

static inline void rig_begin_with(struct rig *rig, const struct tw_probe_config *config,
                                  uint64_t seed)
{
    memset(rig, 0, sizeof(*rig));
    rig->config = *config;
    uint8_t octets[TW_RANDOM_SEED_SIZE] = {0};
    tw_put64(octets, seed);
    tw_random_seed(&rig->random, octets);
    rig_set_time(rig, RIG_BOOT_NS);
    const struct tw_probe_storage storage = {
        .secrets = &rig->secrets,
        .slots = {rig->slots[0], rig->slots[1]},
        .slot_count = RIG_SLOTS,
        .windows = rig->windows,
        .packets = {rig->packets[0], rig->packets[1]},
        .packet_count = RIG_SLOTS,
        .scratch = rig->scratch,
    };
    tw_probe_init(&rig->probe, &rig->config, &storage, &rig->random, rig->now.mono);
}

static inline void rig_begin(struct rig *rig)
{
    const struct tw_probe_config config = rig_plan();
    rig_begin_with(rig, &config, 1);
}

/* This interval's. */
static inline struct tw_probe_window *rig_window(struct rig *rig)
{
    return &rig->windows[rig->probe.window];
}

static inline void rig_expire(struct rig *rig)
{
    tw_probe_expire(&rig->probe, &rig->now);
}

static inline void assert_quiet(struct rig *rig)
{
    struct tw_probe_event event;
    if (tw_probe_next_event(&rig->probe, &event))
        fail_msg("event %d that nobody expects", (int)event.type);
}

static inline struct tw_probe_event take(struct rig *rig, enum tw_probe_event_type type)
{
    struct tw_probe_event event;
    assert_true(tw_probe_next_event(&rig->probe, &event));
    assert_int_equal(event.type, type);
    return event;
}

/* Lets time pass from deadline to deadline, at the latest until `until_ns`, until there is an
 * event; false if none came. */
static inline bool next_within(struct rig *rig, int64_t until_ns, struct tw_probe_event *event)
{
    for (int i = 0; i < 1000; i++) {
        if (tw_probe_next_event(&rig->probe, event))
            return true;
        const tw_mono deadline = tw_probe_deadline(&rig->probe);
        if (deadline.ns > until_ns) {
            rig_set_time(rig, until_ns);
            return false;
        }
        if (deadline.ns > rig->now.mono.ns)
            rig_set_time(rig, deadline.ns);
        rig_expire(rig);
    }
    fail_msg("the probe asks to be called again and again");
    return false;
}

/* The next event, and it is of this type. */
static inline struct tw_probe_event wait_for(struct rig *rig, enum tw_probe_event_type type)
{
    struct tw_probe_event event;
    assert_true(next_within(rig, rig->now.mono.ns + 1000 * S, &event));
    assert_int_equal(event.type, type);
    return event;
}

static inline void assert_quiet_until(struct rig *rig, int64_t until_ns)
{
    struct tw_probe_event event;
    if (next_within(rig, until_ns, &event))
        fail_msg("event %d at %lld ms", (int)event.type, (long long)(rig->now.mono.ns / MS));
}

static inline struct tw_measurement wait_for_result(struct rig *rig)
{
    return *wait_for(rig, TW_PROBE_RESULT).measurement;
}

/* 192.0.2.`host` */
static inline struct tw_address rig_host(uint8_t host)
{
    return (struct tw_address){.family = 4, .octets = {192, 0, 2, host}};
}

/* Hosts 1 to n. */
static inline void answer_name(struct rig *rig, uint8_t n)
{
    struct tw_address addresses[16] = {{.family = 0}};
    assert_true(n <= ARRAY_SIZE(addresses));
    for (uint8_t i = 0; i < n; i++)
        addresses[i] = rig_host((uint8_t)(i + 1));
    tw_probe_resolved(&rig->probe, addresses, n, 0, rig->now.mono);
}

static inline void answer_name_with(struct rig *rig, uint8_t host)
{
    const struct tw_address address = rig_host(host);
    tw_probe_resolved(&rig->probe, &address, 1, 0, rig->now.mono);
}

static inline struct tw_address rig_local(void)
{
    return (struct tw_address){.family = 4, .octets = {198, 51, 100, 7}, .port = 40000};
}

static inline void accept_connection(struct rig *rig)
{
    const struct tw_address local = rig_local();
    tw_probe_connected(&rig->probe, &local, rig->now.mono);
}

static inline void write_output(struct rig *rig)
{
    size_t n;
    const uint8_t *out = tw_probe_output(&rig->probe, &n);
    if (n == 0)
        return;
    stream_append(&rig->out, out, n);
    tw_probe_sent(&rig->probe, n, rig->now.mono);
}

/* The server's octets, as far as the probe takes them. */
static inline void say(struct rig *rig, const struct stream *in)
{
    size_t done = 0;
    write_output(rig);
    while (done < in->n) {
        size_t room;
        uint8_t *place = tw_probe_input(&rig->probe, &room);
        if (room == 0)
            return;
        const size_t part = in->n - done < room ? in->n - done : room;
        memcpy(place, in->octets + done, part);
        tw_probe_received(&rig->probe, part, rig->now.mono);
        done += part;
        write_output(rig);
    }
}

static inline void say_greeting(struct rig *rig)
{
    struct stream in = {.n = 0};
    add_greeting(&in, 1);
    add_server_start(&in, 0);
    say(rig, &in);
}

static inline void say_accept_session(struct rig *rig, unsigned accept)
{
    struct stream in = {.n = 0};
    add_accept_session(&in, accept, accept == 0 ? 50000 : 0);
    say(rig, &in);
}

static inline void say_start_ack(struct rig *rig, unsigned accept)
{
    struct stream in = {.n = 0};
    add_start_ack(&in, accept);
    say(rig, &in);
}

/* The first interval up to each step; the name has one address. */

static inline void rig_resolved_with(struct rig *rig, const struct tw_probe_config *config)
{
    rig_begin_with(rig, config, 1);
    wait_for(rig, TW_PROBE_RESOLVE);
    answer_name(rig, 1);
}

static inline void rig_connecting_with(struct rig *rig, const struct tw_probe_config *config)
{
    rig_resolved_with(rig, config);
    wait_for(rig, TW_PROBE_CONNECT);
}

static inline void rig_connected_with(struct rig *rig, const struct tw_probe_config *config)
{
    rig_connecting_with(rig, config);
    accept_connection(rig);
}

static inline void rig_requested_with(struct rig *rig, const struct tw_probe_config *config)
{
    rig_connected_with(rig, config);
    say_greeting(rig);
    assert_int_equal(rig->probe.client.step, TW_CLIENT_STEP_REQUEST);
}

/* The same of rig_plan(). */

static inline void rig_resolved(struct rig *rig)
{
    const struct tw_probe_config config = rig_plan();
    rig_resolved_with(rig, &config);
}

static inline void rig_connecting(struct rig *rig)
{
    const struct tw_probe_config config = rig_plan();
    rig_connecting_with(rig, &config);
}

static inline void rig_connected(struct rig *rig)
{
    const struct tw_probe_config config = rig_plan();
    rig_connected_with(rig, &config);
}

static inline void rig_requested(struct rig *rig)
{
    const struct tw_probe_config config = rig_plan();
    rig_requested_with(rig, &config);
}

static inline void rig_starting(struct rig *rig)
{
    rig_requested(rig);
    say_accept_session(rig, 0);
    assert_int_equal(rig->probe.client.step, TW_CLIENT_STEP_START);
}

static inline void rig_testing(struct rig *rig)
{
    rig_starting(rig);
    say_start_ack(rig, 0);
    assert_int_equal(rig->probe.phase, TW_PROBE_TEST);
}

static inline void finish_set_up(struct rig *rig)
{
    say_accept_session(rig, 0);
    say_start_ack(rig, 0);
    assert_int_equal(rig->probe.phase, TW_PROBE_TEST);
}

/* One test packet, which must be due. */
static inline void send_packet(struct rig *rig)
{
    size_t n;
    assert_true(tw_probe_send_due(&rig->probe, rig->now.mono));
    assert_int_equal(tw_probe_prepare(&rig->probe, rig->packet, sizeof rig->packet, &n), TW_OK);
    (void)tw_probe_stamp(&rig->probe, rig->packet, &rig->now);
}

static inline unsigned send_all_due(struct rig *rig)
{
    unsigned sent = 0;
    while (tw_probe_send_due(&rig->probe, rig->now.mono)) {
        send_packet(rig);
        assert_true(++sent <= rig->config.count);
    }
    return sent;
}

/* Sends every packet at its time. */
static inline void send_session(struct rig *rig)
{
    for (unsigned i = 0; rig->probe.phase == TW_PROBE_TEST; i++) {
        assert_true(i <= rig->config.count);
        send_all_due(rig);
        if (rig->probe.phase == TW_PROBE_TEST)
            rig_set_time(rig, tw_probe_deadline(&rig->probe).ns);
    }
}

/* What an honest reflector makes of a test packet that took no time (RFC 5357 section 4.2.1). */
static inline void make_reply(const uint8_t *packet, uint32_t number, uint8_t reply[41])
{
    memset(reply, 0, 41);
    tw_put32(reply, number);
    memcpy(reply + 4, packet + 4, 10);
    memcpy(reply + 16, packet + 4, 8);
    memcpy(reply + 24, packet, 14);
    reply[40] = 255;
}

static inline struct tw_arrival arrival_now(const struct rig *rig)
{
    return (struct tw_arrival){
        .at = rig->now.wall, .source = TW_SOURCE_KERNEL, .read = rig->now, .ttl = 60, .tos = 0};
}

/* The newest packet is answered. */
static inline void reflect_packet(struct rig *rig)
{
    uint8_t reply[41];
    make_reply(rig->packet, tw_get32(rig->packet), reply);
    const struct tw_arrival arrival = arrival_now(rig);
    struct tw_sample sample;
    tw_probe_receive(&rig->probe, reply, sizeof reply, &arrival, &sample);
}

static inline unsigned count_commands(const struct rig *rig, uint8_t command)
{
    /* Each connection: Set-Up-Response, then commands (RFC 4656 section 3, RFC 5357 section 3). */
    unsigned count = 0;
    for (size_t at = 0; at < rig->out.n;) {
        const uint8_t number = rig->out.octets[at];
        at += number == 0 ? 164 : number == 5 ? 112 : 32;
        count += number == command;
    }
    return count;
}

#endif
