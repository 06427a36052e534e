/* The registry of sessions with a real test plane of two workers on loopback, for its test
 * programs. They ask for sessions as a control connection would, and turn the main loop themselves.
 */
#ifndef TW_TESTS_UNIT_SESSIONS_RIG_H
#define TW_TESTS_UNIT_SESSIONS_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/sys/clock.h"
#include "lib/sys/socket.h"
#include "reflector/sessions.h"
#include "reflector/value.h"

struct fixture {
    struct twd_config *config;
    struct twd_poller *poller;
    struct twd_plane *plane;
    struct twd_clients clients;
    struct twd_sessions *sessions;
    struct twd_asker asker;
    unsigned ready, started, ended; /* calls */
    tw_mono heard;                  /* of the connections */
};

static inline void note_ready(void *owner, struct twd_session *session)
{
    assert_int_equal(session->state, TWD_SESSION_ACCEPTED);
    ((struct fixture *)owner)->ready++;
}

static inline void note_started(void *owner, struct twd_session *session)
{
    assert_int_equal(session->state, TWD_SESSION_STARTED);
    ((struct fixture *)owner)->started++;
}

static inline void note_ended(void *owner, struct twd_session *session)
{
    (void)session;
    ((struct fixture *)owner)->ended++;
}

static inline tw_mono when_heard(void *owner)
{
    return ((const struct fixture *)owner)->heard;
}

static inline struct tw_address at(const char *text)
{
    struct tw_address address;
    assert_true(tw_address_parse(text, &address));
    return address;
}

static inline int make(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    struct twd_config *config = twd_config_new();
    const struct twd_listen listen = {.address = at("127.0.0.1")};
    g_array_append_val(config->listen, listen);
    config->test_port = 0;
    config->workers = 2;
    config->max_sessions = 4;
    config->max_sessions_per_client = 3;
    fixture->config = config;

    GError *error = NULL;
    GArray *passed = g_array_new(FALSE, FALSE, sizeof(int));
    fixture->poller = twd_poller_new(&error);
    fixture->plane = twd_plane_new(config, passed, fixture->poller, &error);
    g_array_unref(passed);
    if (fixture->plane == NULL)
        fail_msg("%s", error->message);
    twd_clients_init(&fixture->clients);
    const struct twd_sessions_calls calls = {
        .ready = note_ready, .started = note_started, .ended = note_ended, .heard = when_heard};
    fixture->sessions = twd_sessions_new(fixture->plane, &fixture->clients, &calls);
    twd_sessions_configure(fixture->sessions, config);
    assert_true(twd_plane_start(fixture->plane, twd_sessions_report, fixture->sessions, &error));

    fixture->asker = (struct twd_asker){
        .peer = at("127.0.0.1"),
        .local = at("127.0.0.1"),
        .mode = TW_MODE_UNAUTHENTICATED,
        .keyid = "",
        .owner = fixture,
    };
    fixture->asker.client = twd_clients_hold(&fixture->clients, &fixture->asker.peer);
    fixture->heard = tw_clock_mono();
    *state = fixture;
    return 0;
}

static inline int destroy(void **state)
{
    struct fixture *fixture = *state;
    twd_plane_free(fixture->plane);
    twd_sessions_free(fixture->sessions);
    twd_clients_free(&fixture->clients);
    twd_poller_free(fixture->poller);
    twd_config_free(fixture->config);
    free(fixture);
    return 0;
}

/* Turns the main loop until the count is reached. */
static inline void wait_for(const unsigned *count, unsigned wanted)
{
    const gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (*count < wanted && g_get_monotonic_time() < end)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    assert_int_equal(*count, wanted);
}

static inline void settle(void)
{
    for (int i = 0; i < 20; i++) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_usleep(1000);
    }
}

/* For as long as a busy machine keeps the workers from running. */
static inline void settle_until_none_is_left(const struct fixture *fixture)
{
    const gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    struct twd_sessions_counts counts = twd_sessions_count(fixture->sessions);
    while (counts.active + counts.lingering > 0 && g_get_monotonic_time() < end) {
        settle();
        counts = twd_sessions_count(fixture->sessions);
    }
    assert_int_equal(counts.active, 0);
    assert_int_equal(counts.lingering, 0);
}

static inline struct tw_request a_request(uint16_t sender_port)
{
    return (struct tw_request){
        .ipvn = 4,
        .sender_port = sender_port,
        .receiver_port = 1,
        .timeout = UINT64_C(30) << 32,
    };
}

static inline struct twd_session *ask(struct fixture *fixture, uint16_t sender_port)
{
    const struct tw_request request = a_request(sender_port);
    enum twd_refusal refusal;
    return twd_sessions_request(fixture->sessions, &request, &fixture->asker, &refusal);
}

static inline void assert_refused(struct fixture *fixture, const struct tw_request *request,
                                  enum twd_refusal wanted)
{
    enum twd_refusal refusal = TWD_REFUSAL_COUNT;
    assert_null(twd_sessions_request(fixture->sessions, request, &fixture->asker, &refusal));
    assert_string_equal(twd_refusal_name(refusal), twd_refusal_name(wanted));
}

static inline void assert_port_refused(struct fixture *fixture, uint16_t port,
                                       enum twd_refusal wanted)
{
    const struct tw_request request = a_request(port);
    assert_refused(fixture, &request, wanted);
}

static inline void become(struct fixture *fixture, const char *peer)
{
    twd_clients_release(&fixture->clients, fixture->asker.client);
    fixture->asker.peer = at(peer);
    fixture->asker.client = twd_clients_hold(&fixture->clients, &fixture->asker.peer);
}

#endif
