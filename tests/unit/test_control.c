/* Control-Client and Server machine with each other, through two queues of octets that stand for
 * TCP: however the octets are cut, both must see the same connection. */
#include "control.h"

#include <stdbool.h>

#include "lib/client.h"
#include "lib/server.h"

enum { SESSIONS = 3, CYCLES = 2 };

/* Two machines, their drivers and the octets in flight. The client's driver asks for SESSIONS
 * sessions, of which the server refuses the second, starts and stops them, CYCLES times. */
struct connection {
    struct tw_client_config client_config;
    struct tw_server_config server_config;
    struct tw_random random;
    struct tw_client client;
    struct tw_server server;
    tw_mono now;
    struct stream to_server, to_client;      /* all that was ever sent */
    size_t server_has, client_has;           /* octets of it that arrived */
    size_t server_may_have, client_may_have; /* octets of it that may arrive */
    unsigned asked, cycle, started, stopped, refused;
};

static void connection_begin(struct connection *c)
{
    static const uint8_t seed[TW_RANDOM_SEED_SIZE] = {2};
    memset(c, 0, sizeof(*c));
    c->client_config = (struct tw_client_config){.mode = 1, .step_ns = TW_NS_PER_S};
    c->server_config = (struct tw_server_config){
        .modes = 1, .servwait_ns = TW_NS_PER_S, .stall_ns = TW_NS_PER_S, .strict_stop = true};
    tw_random_seed(&c->random, seed);
    tw_client_init(&c->client, &c->client_config, NULL, c->now);
    tw_server_init(&c->server, &c->server_config, &c->random, c->now);
}

static void ask_next(struct connection *c)
{
    enum tw_result result;
    if (c->asked < SESSIONS) {
        const struct tw_request request = {
            .ipvn = 6, .sender_port = (uint16_t)(9000 + c->asked), .receiver_port = 863};
        result = tw_client_request(&c->client, &request, c->now);
        c->asked++;
    } else {
        result = tw_client_start(&c->client, c->now);
    }
    assert_int_equal(result, TW_OK);
}

static void stop_test(struct connection *c)
{
    assert_int_equal(tw_client_stop(&c->client, TW_ACCEPT_OK, c->now), TW_OK);
    c->asked = 0;
    c->cycle++;
    if (c->cycle < CYCLES)
        ask_next(c);
}

static void drive_client(struct connection *c)
{
    struct tw_client_event event;
    while (tw_client_next_event(&c->client, &event)) {
        assert_int_not_equal(event.type, TW_CLIENT_FAILED);
        if (event.type == TW_CLIENT_STARTED) {
            stop_test(c);
            continue;
        }
        if (event.type == TW_CLIENT_SESSION) {
            assert_int_equal(event.session.accept, c->asked == 2 ? 5 : 0);
            assert_int_equal(event.session.port, c->asked == 2 ? 0 : 20000 + c->asked);
            c->refused += event.session.accept != 0;
        }
        ask_next(c);
    }
}

static void drive_server(struct connection *c)
{
    static const uint8_t sid[TW_SID_SIZE] = {9};
    struct tw_server_event event;
    while (tw_server_next_event(&c->server, &event)) {
        enum tw_result result = TW_OK;
        assert_int_not_equal(event.type, TW_SERVER_REJECT);
        assert_int_not_equal(event.type, TW_SERVER_CLOSE);
        if (event.type == TW_SERVER_REQUEST) {
            const unsigned n = event.request.sender_port - 9000u;
            result = tw_server_answer_session(&c->server,
                                              n == 1 ? TW_ACCEPT_TEMPORARY_LIMIT : TW_ACCEPT_OK,
                                              (uint16_t)(20001 + n), sid, c->now);
        } else if (event.type == TW_SERVER_START) {
            result = tw_server_answer_start(&c->server, TW_ACCEPT_OK, c->now);
            c->started++;
        } else if (event.type == TW_SERVER_STOP) {
            assert_false(event.stop.zero_count);
            c->stopped++;
        }
        assert_int_equal(result, TW_OK);
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* One write and one read of at most `chunk` octets at each end; false when nothing moved. */
static bool move_octets(struct connection *c, size_t chunk)
{
    size_t n;
    size_t room;
    size_t moved = 0;

    const uint8_t *out = tw_client_output(&c->client, &n);
    n = least(n, chunk);
    stream_append(&c->to_server, out, n);
    tw_client_sent(&c->client, n, c->now);
    moved += n;
    out = tw_server_output(&c->server, &n);
    n = least(n, chunk);
    stream_append(&c->to_client, out, n);
    tw_server_sent(&c->server, n, c->now);
    moved += n;

    uint8_t *place = tw_server_input(&c->server, &room);
    n = least(least(room, chunk), least(c->to_server.n, c->server_may_have) - c->server_has);
    memcpy(place, c->to_server.octets + c->server_has, n);
    tw_server_received(&c->server, n, c->now);
    c->server_has += n;
    moved += n;
    place = tw_client_input(&c->client, &room);
    n = least(least(room, chunk), least(c->to_client.n, c->client_may_have) - c->client_has);
    memcpy(place, c->to_client.octets + c->client_has, n);
    tw_client_received(&c->client, n, c->now);
    c->client_has += n;
    return moved + n > 0;
}

static void run(struct connection *c, size_t chunk)
{
    do {
        drive_client(c);
        drive_server(c);
    } while (move_octets(c, chunk));
}

static void assert_done(const struct connection *c)
{
    assert_int_equal(c->cycle, CYCLES);
    assert_int_equal(c->refused, CYCLES);
    assert_int_equal(c->started, CYCLES);
    assert_int_equal(c->stopped, CYCLES);
    assert_int_equal(c->to_server.n, 164 + CYCLES * (SESSIONS * 112 + 32 + 32));
    assert_int_equal(c->to_client.n, 64 + 48 + CYCLES * (SESSIONS * 48 + 32));
    assert_int_equal(c->server_has, c->to_server.n);
    assert_int_equal(c->client_has, c->to_client.n);
    assert_int_equal(c->client.step, TW_CLIENT_STEP_IDLE);
    assert_int_equal(c->server.state, TW_SERVER_STATE_IDLE);
}

static void client_and_server_understand_each_other(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk < 200; chunk++) {
        struct connection c;
        connection_begin(&c);
        c.server_may_have = c.client_may_have = SIZE_MAX;
        run(&c, chunk);
        assert_done(&c);
    }
}

static void cut_at_every_octet_towards_the_server(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 164 + CYCLES * (SESSIONS * 112 + 64); cut++) {
        struct connection c;
        connection_begin(&c);
        c.server_may_have = cut;
        c.client_may_have = SIZE_MAX;
        run(&c, SIZE_MAX);
        assert_true(c.server_has == cut);
        c.server_may_have = SIZE_MAX;
        run(&c, SIZE_MAX);
        assert_done(&c);
    }
}

static void cut_at_every_octet_towards_the_client(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 112 + CYCLES * (SESSIONS * 48 + 32); cut++) {
        struct connection c;
        connection_begin(&c);
        c.server_may_have = SIZE_MAX;
        c.client_may_have = cut;
        run(&c, SIZE_MAX);
        assert_true(c.client_has == cut);
        c.client_may_have = SIZE_MAX;
        run(&c, SIZE_MAX);
        assert_done(&c);
    }
}

/* The connection breaks for good at an octet: both ends notice in time. */
static void connection_that_falls_silent_ends_at_both_ends(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 164 + 112; cut++) {
        struct connection c;
        struct tw_client_event client_event;
        struct tw_server_event server_event;
        connection_begin(&c);
        c.server_may_have = cut;
        c.client_may_have = SIZE_MAX;
        run(&c, SIZE_MAX);
        c.now.ns = TW_NS_PER_S;
        tw_client_expire(&c.client, c.now);
        tw_server_expire(&c.server, c.now);
        assert_true(tw_client_next_event(&c.client, &client_event));
        assert_int_equal(client_event.type, TW_CLIENT_FAILED);
        assert_int_equal(client_event.failed.failure, TW_CLIENT_TIMED_OUT);
        assert_int_equal(client_event.failed.step,
                         cut < 164 ? TW_CLIENT_STEP_SET_UP : TW_CLIENT_STEP_REQUEST);
        assert_true(tw_server_next_event(&c.server, &server_event));
        assert_int_equal(server_event.type, TW_SERVER_CLOSE);
        assert_int_equal(server_event.close,
                         cut == 164 ? TW_SERVER_CLOSE_SERVWAIT : TW_SERVER_CLOSE_STALLED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_and_server_understand_each_other),
        cmocka_unit_test(cut_at_every_octet_towards_the_server),
        cmocka_unit_test(cut_at_every_octet_towards_the_client),
        cmocka_unit_test(connection_that_falls_silent_ends_at_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
