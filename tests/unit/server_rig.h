/* A Server machine with a driver that a test leads: configuration, clock, answers, and all that
 * came out. */
#ifndef TW_TESTS_UNIT_SERVER_RIG_H
#define TW_TESTS_UNIT_SERVER_RIG_H

#include <stdbool.h>

#include "control.h"
#include "lib/server.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Every mode bit there is, but for IKEv2's. */
#define ALL_MODES UINT32_C(0x37f)

#define START_TIME UINT64_C(0xe8fe6f8040000000)
#define SERVWAIT   (900 * TW_NS_PER_S)
#define STALL      (60 * TW_NS_PER_S)

/* A session as its driver knows it; with RFC 5938 each has a state of its own. */
enum rig_session { RIG_NONE, RIG_ACCEPTED, RIG_STARTED, RIG_STOPPED };

enum { RIG_FIRST_PORT = 30001, RIG_SESSIONS_MAX = 256 };

/* A server, its driver and all that came out of it. Unless `silent`, the driver answers questions
 * at once: with `accept`, ports from RIG_FIRST_PORT on, SIDs by the state of their session, and
 * with `derived` as the key of any KeyID, which is `known`. */
struct rig {
    struct tw_server_config config;
    struct tw_random random;
    struct tw_server server;
    tw_mono now;
    bool silent;
    bool deaf; /* the client reads nothing */
    enum tw_accept accept;
    uint16_t port;
    uint8_t derived[TW_AES_KEY_SIZE];
    bool unknown; /* the KeyID */
    enum rig_session sessions[RIG_SESSIONS_MAX];
    struct stream sids; /* all that were asked about, in order */
    struct stream out;
    struct tw_server_event events[256];
    size_t event_count;
};

static inline void rig_begin(struct rig *rig)
{
    tw_server_init(&rig->server, &rig->config, &rig->random, rig->now);
}

/* To be called after a rig was copied: what the channel points to is then the copy's. */
static inline void rig_moved(struct rig *rig)
{
    struct tw_channel_memory *memory = &rig->server.channel.memory;
    memory->in = rig->server.in;
    memory->out = rig->server.out;
    memory->ciphers = &rig->server.ciphers;
}

/* Not yet begun, so that a test can change the configuration. */
static inline void rig_prepare(struct rig *rig)
{
    static const uint8_t seed[TW_RANDOM_SEED_SIZE] = {1};
    memset(rig, 0, sizeof(*rig));
    rig->config.modes = 1;
    rig->config.count = 2048;
    memset(rig->config.salt, 0x77, sizeof(rig->config.salt));
    rig->config.start_time = START_TIME;
    rig->config.servwait_ns = SERVWAIT;
    rig->config.stall_ns = STALL;
    rig->config.max_payload = 9000;
    rig->config.max_timeout_ns = 60 * TW_NS_PER_S;
    rig->now.ns = 1000;
    rig->port = RIG_FIRST_PORT - 1;
    tw_random_seed(&rig->random, seed);
}

static inline void fill_sid(uint8_t sid[TW_SID_SIZE], uint16_t port)
{
    memset(sid, 0x51, TW_SID_SIZE);
    tw_put16(sid, port);
}

/* The session with that SID, which may be nobody's. */
static inline enum rig_session *find_session(struct rig *rig, const uint8_t sid[TW_SID_SIZE])
{
    uint8_t known[TW_SID_SIZE];
    const uint16_t port = tw_get16(sid);
    fill_sid(known, port);
    if (port < RIG_FIRST_PORT || port > rig->port || memcmp(known, sid, TW_SID_SIZE) != 0)
        return NULL;
    return &rig->sessions[port - RIG_FIRST_PORT];
}

/* Each SID moves on from the state that it must be in, or gets Accept 3. */
static inline enum tw_result answer_sids(struct rig *rig, const struct tw_server_event *event)
{
    const bool start = event->type == TW_SERVER_START_N;
    const enum rig_session before = start ? RIG_ACCEPTED : RIG_STARTED;
    uint8_t accepts[TW_SIDS_MAX];
    for (uint32_t i = 0; i < event->sids.count; i++) {
        enum rig_session *session = find_session(rig, event->sids.at + (size_t)16 * i);
        accepts[i] = rig->accept != TW_ACCEPT_OK             ? (uint8_t)rig->accept
                     : session != NULL && *session == before ? 0
                                                             : 3;
        if (accepts[i] == 0)
            *session = start ? RIG_STARTED : RIG_STOPPED;
    }
    return tw_server_answer_sids(&rig->server, accepts, rig->now);
}

static inline enum tw_result answer_request(struct rig *rig)
{
    uint8_t sid[TW_SID_SIZE];
    fill_sid(sid, ++rig->port);
    assert_true(rig->port - RIG_FIRST_PORT < RIG_SESSIONS_MAX);
    if (rig->accept == TW_ACCEPT_OK)
        rig->sessions[rig->port - RIG_FIRST_PORT] = RIG_ACCEPTED;
    return tw_server_answer_session(&rig->server, rig->accept, rig->port, sid, rig->now);
}

static inline enum tw_result give_answer(struct rig *rig, const struct tw_server_event *event)
{
    switch (event->type) {
    case TW_SERVER_KEY:
        return tw_server_answer_key(&rig->server, rig->derived, !rig->unknown, rig->now);
    case TW_SERVER_REQUEST:
        return answer_request(rig);
    case TW_SERVER_START:
        return tw_server_answer_start(&rig->server, rig->accept, rig->now);
    case TW_SERVER_START_N:
    case TW_SERVER_STOP_N:
        return answer_sids(rig, event);
    case TW_SERVER_SET_UP:
    case TW_SERVER_STOP:
    case TW_SERVER_REJECT:
    case TW_SERVER_CLOSE:
        break;
    }
    return TW_OK;
}

static inline void answer_event(struct rig *rig, const struct tw_server_event *event)
{
    assert_int_equal(give_answer(rig, event), TW_OK);
}

static inline void answer_question(struct rig *rig, enum tw_server_event_type question)
{
    answer_event(rig, &(const struct tw_server_event){.type = question});
}

static inline void take_output(struct rig *rig)
{
    size_t n;
    const uint8_t *out = tw_server_output(&rig->server, &n);
    assert_true(n <= TW_SERVER_OUT);
    if (rig->deaf)
        return;
    stream_append(&rig->out, out, n);
    tw_server_sent(&rig->server, n, rig->now);
}

static inline void take_events(struct rig *rig)
{
    struct tw_server_event event;
    while (tw_server_next_event(&rig->server, &event)) {
        assert_true(rig->event_count < ARRAY_SIZE(rig->events));
        rig->events[rig->event_count++] = event;
        if (event.type == TW_SERVER_START_N || event.type == TW_SERVER_STOP_N)
            stream_append(&rig->sids, event.sids.at, (size_t)16 * event.sids.count);
        if (!rig->silent)
            answer_event(rig, &event);
    }
}

/* Output first, so that CLOSE comes when it can. */
static inline void settle(struct rig *rig)
{
    take_events(rig);
    take_output(rig);
    take_events(rig);
}

/* Hands over at most `chunk` octets a time while the server reads; returns how many it took. */
static inline size_t deliver(struct rig *rig, const uint8_t *octets, size_t n, size_t chunk)
{
    size_t done = 0;
    settle(rig);
    while (done < n) {
        size_t room;
        uint8_t *place = tw_server_input(&rig->server, &room);
        if (room == 0)
            break;
        size_t part = n - done < room ? n - done : room;
        if (part > chunk)
            part = chunk;
        memcpy(place, octets + done, part);
        tw_server_received(&rig->server, part, rig->now);
        done += part;
        settle(rig);
    }
    return done;
}

static inline void deliver_all(struct rig *rig, const struct stream *in)
{
    assert_int_equal(deliver(rig, in->octets, in->n, SIZE_MAX), in->n);
}

static inline size_t room_of(struct rig *rig)
{
    size_t room;
    tw_server_input(&rig->server, &room);
    return room;
}

/* What came out before is forgotten. */
static inline void forget(struct rig *rig)
{
    rig->out.n = 0;
    rig->sids.n = 0;
    rig->event_count = 0;
}

/* In an unauthenticated mode that is offered, with features. */
static inline void rig_set_up_mode(struct rig *rig, uint32_t mode)
{
    struct stream in = {.n = 0};
    rig_begin(rig);
    add_set_up(&in, mode);
    deliver_all(rig, &in);
    assert_int_equal(rig->event_count, 1);
    assert_int_equal(rig->events[0].type, TW_SERVER_SET_UP);
    assert_int_equal(rig->events[0].mode, mode);
    forget(rig);
}

static inline void rig_set_up(struct rig *rig)
{
    rig_set_up_mode(rig, 1);
}

static inline void rig_idle(struct rig *rig)
{
    rig_prepare(rig);
    rig_set_up(rig);
}

static inline void request_and_start(struct rig *rig, unsigned sessions)
{
    struct stream in = {.n = 0};
    for (unsigned i = 0; i < sessions; i++)
        add_request(&in);
    add_start(&in);
    deliver_all(rig, &in);
    assert_int_equal(rig->server.state, TW_SERVER_STATE_TESTING);
    forget(rig);
}

static inline void rig_testing(struct rig *rig, unsigned sessions)
{
    rig_idle(rig);
    request_and_start(rig, sessions);
}

static inline const struct tw_server_event *only_event(const struct rig *rig)
{
    assert_int_equal(rig->event_count, 1);
    return &rig->events[0];
}

static inline void assert_only_closed(const struct rig *rig, enum tw_server_close_reason reason)
{
    assert_int_equal(only_event(rig)->type, TW_SERVER_CLOSE);
    assert_int_equal(only_event(rig)->close, reason);
    assert_int_equal(rig->server.state, TW_SERVER_STATE_CLOSED);
}

/* An Accept-Session with Accept 3, Port 0, SID 0, and a REJECT event. */
static inline void assert_rejected(const struct rig *rig, enum tw_server_reject_reason reason,
                                   unsigned command)
{
    assert_int_equal(rig->out.n, 48);
    assert_int_equal(rig->out.octets[0], 3);
    assert_zero(rig->out.octets + 1, 47);
    assert_true(rig->event_count >= 1);
    assert_int_equal(rig->events[0].type, TW_SERVER_REJECT);
    assert_int_equal(rig->events[0].reject.reason, reason);
    assert_int_equal(rig->events[0].reject.command, command);
    assert_int_equal(rig->events[0].reject.accept, TW_ACCEPT_UNSUPPORTED);
}

/* A request, answered with Accept 0: the connection still serves. */
static inline void assert_still_serves(struct rig *rig)
{
    struct stream in = {.n = 0};
    forget(rig);
    add_request(&in);
    deliver_all(rig, &in);
    assert_int_equal(only_event(rig)->type, TW_SERVER_REQUEST);
    assert_int_equal(rig->out.n, 48);
    assert_int_equal(rig->out.octets[0], 0);
}

/* Command `number` with one SID and all the rest zero, which is a whole message of any kind. */
static inline void add_command(struct stream *in, unsigned number)
{
    uint8_t *command = stream_add(in, number == 5 ? 112 : number == 7 || number == 9 ? 48 : 32);
    command[0] = (uint8_t)number;
    if (number == 7 || number == 9)
        tw_put32(command + 12, 1);
}

#endif
