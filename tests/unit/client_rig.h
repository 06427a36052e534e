/* A Control-Client machine with a driver that a test leads: configuration, clock, and all that came
 * out. */
#ifndef TW_TESTS_UNIT_CLIENT_RIG_H
#define TW_TESTS_UNIT_CLIENT_RIG_H

#include <stdbool.h>

#include "control.h"
#include "lib/client.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define START_TIME UINT64_C(0xe8fe6f8040000000)
#define STEP       (5 * TW_NS_PER_S)

struct rig {
    struct tw_client_config config;
    struct tw_client client;
    struct tw_channel_ciphers ciphers;
    tw_mono now;
    struct stream out;
    struct tw_client_event events[16];
    size_t event_count;
};

static inline void rig_begin(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->config.mode = 1;
    rig->config.step_ns = STEP;
    rig->now.ns = 1000;
    tw_client_init(&rig->client, &rig->config, &rig->ciphers, rig->now);
}

/* To be called after a rig was copied: what the channel points to is then the copy's. */
static inline void rig_moved(struct rig *rig)
{
    struct tw_channel_memory *memory = &rig->client.channel.memory;
    memory->in = rig->client.in;
    memory->out = rig->client.out;
    memory->ciphers = &rig->ciphers;
}

static inline void take_output(struct rig *rig)
{
    size_t n;
    const uint8_t *out = tw_client_output(&rig->client, &n);
    stream_append(&rig->out, out, n);
    tw_client_sent(&rig->client, n, rig->now);
}

static inline void settle(struct rig *rig)
{
    take_output(rig);
    struct tw_client_event event;
    while (tw_client_next_event(&rig->client, &event)) {
        assert_true(rig->event_count < ARRAY_SIZE(rig->events));
        rig->events[rig->event_count++] = event;
    }
}

static inline size_t room_of(struct rig *rig)
{
    size_t room;
    tw_client_input(&rig->client, &room);
    return room;
}

/* Hands over at most `chunk` octets a time while the client reads; returns how many it took. */
static inline size_t deliver(struct rig *rig, const uint8_t *octets, size_t n, size_t chunk)
{
    size_t done = 0;
    settle(rig);
    while (done < n) {
        size_t room;
        uint8_t *place = tw_client_input(&rig->client, &room);
        if (room == 0)
            break;
        size_t part = n - done < room ? n - done : room;
        if (part > chunk)
            part = chunk;
        memcpy(place, octets + done, part);
        tw_client_received(&rig->client, part, rig->now);
        done += part;
        settle(rig);
    }
    return done;
}

static inline void deliver_all(struct rig *rig, const struct stream *in)
{
    assert_int_equal(deliver(rig, in->octets, in->n, SIZE_MAX), in->n);
}

/* What came out before is forgotten. */
static inline void forget(struct rig *rig)
{
    rig->out.n = 0;
    rig->event_count = 0;
}

static inline void make_request(struct tw_request *request)
{
    memset(request, 0, sizeof(*request));
    request->ipvn = 4;
    request->sender_port = 9001;
    request->receiver_port = 9002;
    request->padding_length = 27;
}

static inline void ask_session(struct rig *rig)
{
    struct tw_request request;
    make_request(&request);
    assert_int_equal(tw_client_request(&rig->client, &request, rig->now), TW_OK);
    settle(rig);
}

static inline void ask_start(struct rig *rig)
{
    assert_int_equal(tw_client_start(&rig->client, rig->now), TW_OK);
    settle(rig);
}

static inline const struct tw_client_event *only_event(const struct rig *rig)
{
    assert_int_equal(rig->event_count, 1);
    return &rig->events[0];
}

/* One FAILED event, and nothing moves any more. */
static inline void assert_failed(struct rig *rig, enum tw_client_failure failure,
                                 enum tw_client_step step, uint8_t accept)
{
    settle(rig);
    assert_int_equal(only_event(rig)->type, TW_CLIENT_FAILED);
    assert_int_equal(only_event(rig)->failed.failure, failure);
    assert_int_equal(only_event(rig)->failed.step, step);
    assert_int_equal(only_event(rig)->failed.accept, accept);
    assert_int_equal(rig->client.step, TW_CLIENT_STEP_CLOSED);
    assert_int_equal(room_of(rig), 0);
    assert_true(tw_mono_is_never(tw_client_deadline(&rig->client)));

    struct tw_request request;
    struct tw_client_event event;
    size_t n;
    make_request(&request);
    assert_int_equal(tw_client_request(&rig->client, &request, rig->now), TW_ERR_STATE);
    assert_int_equal(tw_client_start(&rig->client, rig->now), TW_ERR_STATE);
    assert_int_equal(tw_client_stop(&rig->client, TW_ACCEPT_OK, rig->now), TW_ERR_STATE);
    tw_client_expire(&rig->client, (tw_mono){INT64_MAX});
    tw_client_end(&rig->client);
    tw_client_output(&rig->client, &n);
    assert_int_equal(n, 0);
    assert_false(tw_client_next_event(&rig->client, &event));
}

/* The machine at each step of a connection on which all goes well. */

static inline void rig_greeting(struct rig *rig)
{
    rig_begin(rig);
}

static inline void rig_set_up(struct rig *rig)
{
    struct stream in = {.n = 0};
    rig_begin(rig);
    add_greeting(&in, 1);
    deliver_all(rig, &in);
    assert_int_equal(rig->client.step, TW_CLIENT_STEP_SET_UP);
    forget(rig);
}

static inline void rig_idle(struct rig *rig)
{
    struct stream in = {.n = 0};
    rig_set_up(rig);
    add_server_start(&in, 0);
    deliver_all(rig, &in);
    assert_int_equal(rig->client.step, TW_CLIENT_STEP_IDLE);
    forget(rig);
}

static inline void rig_request(struct rig *rig)
{
    rig_idle(rig);
    ask_session(rig);
    assert_int_equal(rig->client.step, TW_CLIENT_STEP_REQUEST);
    forget(rig);
}

static inline void rig_accepted(struct rig *rig)
{
    struct stream in = {.n = 0};
    rig_request(rig);
    add_accept_session(&in, 0, 9002);
    deliver_all(rig, &in);
    assert_int_equal(rig->client.step, TW_CLIENT_STEP_IDLE);
    forget(rig);
}

static inline void rig_start(struct rig *rig)
{
    rig_accepted(rig);
    ask_start(rig);
    assert_int_equal(rig->client.step, TW_CLIENT_STEP_START);
    forget(rig);
}

static inline void rig_test(struct rig *rig)
{
    struct stream in = {.n = 0};
    rig_start(rig);
    add_start_ack(&in, 0);
    deliver_all(rig, &in);
    assert_int_equal(rig->client.step, TW_CLIENT_STEP_TEST);
    forget(rig);
}

static void (*const rig_steps[])(struct rig *) = {rig_greeting, rig_set_up, rig_idle,
                                                  rig_request,  rig_start,  rig_test};

/* A request is possible, and its answer understood. */
static inline void assert_still_works(struct rig *rig)
{
    struct stream in = {.n = 0};
    forget(rig);
    ask_session(rig);
    add_accept_session(&in, 0, 40000);
    deliver_all(rig, &in);
    assert_int_equal(only_event(rig)->type, TW_CLIENT_SESSION);
    assert_int_equal(only_event(rig)->session.port, 40000);
}

#endif
