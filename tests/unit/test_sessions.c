/* The registry of sessions: addresses, limits, 4-tuples, SIDs, and the end of a session. Packets
 * are the business of tests/net/test_server_blackbox. */
#include "sessions_rig.h"

#include <stdatomic.h>

#include "lib/bytes.h"

static void a_session_goes_through_its_states(void **state)
{
    struct fixture *fixture = *state;
    struct twd_session *session = ask(fixture, 1000);
    assert_non_null(session);
    assert_int_equal(session->state, TWD_SESSION_ADDING);
    assert_int_equal(fixture->ready, 0);
    wait_for(&fixture->ready, 1);
    assert_int_equal(session->port, twd_plane_address(fixture->plane).port);
    twd_sessions_start(fixture->sessions, session);
    wait_for(&fixture->started, 1);
    struct twd_sessions_counts counts = twd_sessions_count(fixture->sessions);
    assert_int_equal(counts.active, 1);
    assert_int_equal(counts.started, 1);
    twd_sessions_stop(fixture->sessions, session);
    assert_int_equal(session->state, TWD_SESSION_LINGERING);
    counts = twd_sessions_count(fixture->sessions);
    assert_int_equal(counts.active, 0);
    assert_int_equal(counts.lingering, 1);
    assert_int_equal(counts.ended, 0);
    twd_sessions_end(fixture->sessions, session);
    counts = twd_sessions_count(fixture->sessions);
    assert_int_equal(counts.lingering, 0);
    assert_int_equal(counts.ended, 1);
    settle();
    assert_int_equal(fixture->ended, 0); /* it was ours to end */
}

static void a_session_without_packets_ends_by_itself(void **state)
{
    struct fixture *fixture = *state;
    fixture->config->session_timeout_ns = 50 * TW_NS_PER_MS;
    struct twd_session *session = ask(fixture, 1000);
    wait_for(&fixture->ready, 1);
    twd_sessions_start(fixture->sessions, session);
    wait_for(&fixture->started, 1);
    wait_for(&fixture->ended, 1);
    settle();
    const struct twd_sessions_counts counts = twd_sessions_count(fixture->sessions);
    assert_int_equal(counts.active, 0);
    assert_int_equal(counts.ended, 1);
    assert_non_null(ask(fixture, 1000)); /* its 4-tuple is free */
}

static void orders_that_cross_the_end_are_harmless(void **state)
{
    struct fixture *fixture = *state;
    fixture->config->session_timeout_ns = TW_NS_PER_MS;
    for (int i = 0; i < 50; i++) {
        const unsigned ended = fixture->ended;
        struct tw_request request = a_request(1000);
        request.timeout = UINT64_C(1) << 22; /* 1 ms: should a busy machine stop it before that */
        enum twd_refusal refusal;
        struct twd_session *session =
            twd_sessions_request(fixture->sessions, &request, &fixture->asker, &refusal);
        wait_for(&fixture->ready, fixture->ready + 1);
        twd_sessions_start(fixture->sessions, session);
        g_usleep(3000); /* it has ended, but that has not been read */
        if (i % 2 == 0)
            twd_sessions_stop(fixture->sessions, session);
        else
            twd_sessions_end(fixture->sessions, session);
        settle();
        settle_until_none_is_left(fixture);
        assert_int_equal(fixture->ended, ended);
    }
}

static void limits_are_told_apart(void **state)
{
    struct fixture *fixture = *state;
    for (uint16_t port = 1; port <= 3; port++)
        assert_non_null(ask(fixture, port));
    assert_port_refused(fixture, 4, TWD_REFUSE_CLIENT_SESSIONS);
    become(fixture, "127.0.0.2");
    assert_non_null(ask(fixture, 1));
    assert_port_refused(fixture, 2, TWD_REFUSE_SESSIONS);
    assert_int_equal(twd_refusal_accept(TWD_REFUSE_SESSIONS), TW_ACCEPT_TEMPORARY_LIMIT);
    fixture->config->max_sessions = 0;
    fixture->config->max_sessions_per_client = 0;
    for (uint16_t port = 2; port <= 100; port++)
        assert_non_null(ask(fixture, port));
}

static struct twd_session *start_one(struct fixture *fixture, uint16_t sender_port)
{
    struct twd_session *session = ask(fixture, sender_port);
    assert_non_null(session);
    wait_for(&fixture->ready, fixture->ready + 1);
    twd_sessions_start(fixture->sessions, session);
    wait_for(&fixture->started, fixture->started + 1);
    return session;
}

/* RFC 4656 section 6.5: neither can keep the other out. */
static void clients_with_a_key_have_a_limit_of_their_own(void **state)
{
    struct fixture *fixture = *state;
    fixture->config->max_sessions = 1;
    fixture->config->max_sessions_authenticated = 2;
    assert_non_null(ask(fixture, 1));
    assert_port_refused(fixture, 2, TWD_REFUSE_SESSIONS);
    become(fixture, "127.0.0.2");
    fixture->asker.mode = TW_MODE_MIXED | TW_MODE_REFLECT_OCTETS;
    assert_non_null(ask(fixture, 2));
    assert_non_null(ask(fixture, 3));
    assert_port_refused(fixture, 4, TWD_REFUSE_SESSIONS_AUTHENTICATED);
    assert_int_equal(twd_refusal_accept(TWD_REFUSE_SESSIONS_AUTHENTICATED),
                     TW_ACCEPT_TEMPORARY_LIMIT);
    assert_int_equal(twd_sessions_count(fixture->sessions).active, 3);

    fixture->config->max_sessions_per_client = 2;
    fixture->config->max_sessions_authenticated = 0;
    assert_port_refused(fixture, 4, TWD_REFUSE_CLIENT_SESSIONS);
    become(fixture, "127.0.0.3");
    assert_non_null(ask(fixture, 4));
    assert_non_null(ask(fixture, 5));
}

static void room_that_one_class_gives_back_is_its_own(void **state)
{
    struct fixture *fixture = *state;
    fixture->config->max_sessions = 1;
    fixture->config->max_sessions_authenticated = 1;
    struct twd_session *open = start_one(fixture, 1);
    fixture->asker.mode = TW_MODE_MIXED;
    struct twd_session *keyed = start_one(fixture, 2);
    twd_sessions_stop(fixture->sessions, keyed);
    twd_sessions_stop(fixture->sessions, open);
    assert_int_equal(twd_sessions_count(fixture->sessions).lingering, 2);
    twd_sessions_stop(fixture->sessions, start_one(fixture, 3));
    assert_int_equal(open->state, TWD_SESSION_LINGERING); /* not pushed out by the other class */
    assert_int_equal(twd_sessions_count(fixture->sessions).lingering, 2);
    assert_int_equal(twd_sessions_count(fixture->sessions).active, 0);
}

/* Whoever stops and asks again for ever has a bounded number of sessions that linger. */
static void lingering_sessions_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    for (uint16_t i = 1; i <= 20; i++) {
        struct twd_session *session = ask(fixture, i);
        assert_non_null(session);
        wait_for(&fixture->ready, i);
        twd_sessions_start(fixture->sessions, session);
        wait_for(&fixture->started, i);
        twd_sessions_stop(fixture->sessions, session);
        const unsigned lingering = twd_sessions_count(fixture->sessions).lingering;
        assert_int_equal(lingering, i < 3 ? i : 3);
    }
    assert_int_equal(twd_sessions_count(fixture->sessions).ended, 17);
}

/* Not even by coming from ever other addresses: then the oldest of all makes room. */
static void lingering_sessions_of_many_clients_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    for (uint16_t i = 1; i <= 20; i++) {
        char peer[TW_ADDRESS_TEXT];
        g_snprintf(peer, sizeof(peer), "127.0.1.%u", i);
        become(fixture, peer);
        struct twd_session *session = ask(fixture, 1);
        assert_non_null(session);
        wait_for(&fixture->ready, i);
        twd_sessions_start(fixture->sessions, session);
        wait_for(&fixture->started, i);
        twd_sessions_stop(fixture->sessions, session);
        assert_int_equal(session->state, TWD_SESSION_LINGERING);
        assert_int_equal(twd_sessions_count(fixture->sessions).lingering, i < 4 ? i : 4);
    }
    assert_int_equal(twd_sessions_count(fixture->sessions).ended, 16);
    settle();
    assert_int_equal(fixture->ended, 0);
}

/* Nobody makes room at the expense of others who could make it among its own. */
static void a_client_that_lingers_makes_room_for_itself(void **state)
{
    struct fixture *fixture = *state;
    static const char *const peers[] = {"127.0.1.1", "127.0.1.2", "127.0.1.2", "127.0.1.2",
                                        "127.0.1.2"};
    struct twd_session *sessions[G_N_ELEMENTS(peers)];
    for (unsigned i = 0; i < G_N_ELEMENTS(peers); i++) {
        become(fixture, peers[i]);
        sessions[i] = ask(fixture, (uint16_t)(i + 1));
        assert_non_null(sessions[i]);
        wait_for(&fixture->ready, i + 1);
        twd_sessions_start(fixture->sessions, sessions[i]);
        wait_for(&fixture->started, i + 1);
        twd_sessions_stop(fixture->sessions, sessions[i]);
    }
    assert_int_equal(sessions[0]->state, TWD_SESSION_LINGERING);
    assert_int_equal(twd_sessions_count(fixture->sessions).lingering, 4);
}

static void the_same_four_tuple_is_refused_unless_its_session_was_stopped(void **state)
{
    struct fixture *fixture = *state;
    struct twd_session *session = ask(fixture, 7);
    assert_non_null(session);
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE);
    wait_for(&fixture->ready, 1);
    twd_sessions_start(fixture->sessions, session);
    wait_for(&fixture->started, 1);
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE);
    twd_sessions_stop(fixture->sessions, session);

    /* Another client cannot push it out. */
    fixture->config->third_party = true;
    become(fixture, "127.0.0.2");
    struct tw_request request = a_request(7);
    memcpy(request.sender_address, "\x7f\0\0\1", 4);
    assert_refused(fixture, &request, TWD_REFUSE_DUPLICATE);
    become(fixture, "127.0.0.1");
    assert_non_null(ask(fixture, 7));
    assert_int_equal(twd_sessions_count(fixture->sessions).lingering, 0);
}

static tw_mono seconds_ago(int seconds)
{
    return (tw_mono){.ns = tw_clock_mono().ns - seconds * TW_NS_PER_S};
}

/* As if neither a packet nor a command had come since; the next request is another connection's. */
static void leave_behind(struct fixture *fixture, struct twd_session *session)
{
    fixture->heard = seconds_ago(3);
    atomic_store(&session->flow.heard_ns, seconds_ago(3).ns);
    fixture->asker.number++;
}

static void a_session_left_behind_ends_for_a_later_connection(void **state)
{
    struct fixture *fixture = *state;
    struct twd_session *session = start_one(fixture, 7);
    leave_behind(fixture, session);
    struct twd_session *next = ask(fixture, 7);
    assert_non_null(next);
    assert_int_equal(fixture->ended, 1);
    wait_for(&fixture->ready, 2);
    leave_behind(fixture, next); /* accepted, not started */
    fixture->asker.number -= 2;
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE); /* an older connection's */
    fixture->asker.number += 2;
    assert_non_null(ask(fixture, 7));
    assert_int_equal(fixture->ended, 2);
    assert_int_equal(twd_sessions_count(fixture->sessions).active, 1);
}

/* Two hosts behind one address may have the same port by chance. */
static void a_session_that_is_not_quiet_is_not_left_behind(void **state)
{
    struct fixture *fixture = *state;
    struct twd_session *session = start_one(fixture, 7);
    leave_behind(fixture, session);
    atomic_store(&session->flow.heard_ns, seconds_ago(1).ns);
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE);
    leave_behind(fixture, session);
    fixture->heard = seconds_ago(1);
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE);
    assert_int_equal(session->state, TWD_SESSION_STARTED);
    assert_int_equal(fixture->ended, 0);
    leave_behind(fixture, session);
    assert_non_null(ask(fixture, 7));
}

static void the_start_is_heard(void **state)
{
    struct fixture *fixture = *state;
    struct twd_session *session = ask(fixture, 7);
    assert_non_null(session);
    wait_for(&fixture->ready, 1);
    leave_behind(fixture, session);
    twd_sessions_start(fixture->sessions, session);
    wait_for(&fixture->started, 1);
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE);
}

static void only_the_same_key_and_device_leave_a_session_behind(void **state)
{
    struct fixture *fixture = *state;
    const struct twd_asker open = fixture->asker;
    fixture->asker.mode = TW_MODE_MIXED;
    fixture->asker.keyid = "one";
    const struct twd_asker one = fixture->asker;
    struct twd_session *session = start_one(fixture, 7);
    leave_behind(fixture, session);
    const uint64_t later = fixture->asker.number;

    fixture->asker.keyid = "two";
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE);
    fixture->asker = open;
    fixture->asker.number = later;
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE);
    fixture->asker = one;
    fixture->asker.number = later;
    g_strlcpy(fixture->asker.device, "lo", sizeof(fixture->asker.device));
    assert_port_refused(fixture, 7, TWD_REFUSE_DUPLICATE);
    fixture->asker.device[0] = '\0';
    assert_non_null(ask(fixture, 7));
    assert_int_equal(fixture->ended, 1);
    wait_for(&fixture->ready, 2);

    /* Nor does one with a key end one without. */
    fixture->asker = open;
    session = start_one(fixture, 8);
    leave_behind(fixture, session);
    fixture->asker.mode = TW_MODE_MIXED;
    fixture->asker.keyid = "one";
    assert_port_refused(fixture, 8, TWD_REFUSE_DUPLICATE);
}

/* It counts no more, whichever limit is reached. */
static void a_session_left_behind_makes_room_for_the_next(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 2; i++) {
        fixture->config->max_sessions = i == 0 ? 1 : 4;
        fixture->config->max_sessions_per_client = i == 0 ? 4 : 1;
        struct twd_session *session = start_one(fixture, 7);
        assert_port_refused(fixture, 8, i == 0 ? TWD_REFUSE_SESSIONS : TWD_REFUSE_CLIENT_SESSIONS);
        leave_behind(fixture, session);
        assert_port_refused(fixture, 8, i == 0 ? TWD_REFUSE_SESSIONS : TWD_REFUSE_CLIENT_SESSIONS);
        assert_int_equal(session->state, TWD_SESSION_STARTED);
        struct twd_session *next = ask(fixture, 7);
        assert_non_null(next);
        assert_int_equal(twd_sessions_count(fixture->sessions).active, 1);
        twd_sessions_end(fixture->sessions, next);
        settle_until_none_is_left(fixture);
    }
}

static void addresses_are_checked(void **state)
{
    struct fixture *fixture = *state;
    struct tw_request request = a_request(1);
    memcpy(request.sender_address, "\x7f\0\0\2", 4);
    assert_refused(fixture, &request, TWD_REFUSE_SENDER_ADDRESS);
    fixture->config->third_party = true;
    enum twd_refusal refusal;
    assert_non_null(twd_sessions_request(fixture->sessions, &request, &fixture->asker, &refusal));

    static const uint8_t strangers[][4] = {
        {192, 0, 2, 1}, {224, 0, 0, 1}, {255, 255, 255, 255}, {127, 0, 0, 2}, /* not bound */
    };
    request = a_request(2);
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        memcpy(request.receiver_address, strangers[i], 4);
        assert_refused(fixture, &request, TWD_REFUSE_RECEIVER_ADDRESS);
    }
    request = a_request(3);
    request.ipvn = 6;
    assert_refused(fixture, &request, TWD_REFUSE_FAMILY);
    request.sender_address[15] = 1;
    assert_refused(fixture, &request, TWD_REFUSE_FAMILY);
    request.receiver_address[15] = 1; /* ::1 is ours, but no test socket is there */
    assert_refused(fixture, &request, TWD_REFUSE_RECEIVER_ADDRESS);
}

static void sids_are_unique_and_hold_the_time(void **state)
{
    struct fixture *fixture = *state;
    fixture->config->max_sessions = 0;
    fixture->config->max_sessions_per_client = 0;
    GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    uint64_t last = 0;
    for (uint16_t port = 1; port <= 2000; port++) {
        const struct twd_session *session = ask(fixture, port);
        assert_non_null(session);
        assert_int_equal(strlen(session->sid_text), 32);
        assert_true(g_hash_table_add(seen, g_strdup(session->sid_text)));
        const uint64_t time = tw_get64(session->sid + 4);
        assert_true(time > last);
        last = time;
    }
    g_hash_table_unref(seen);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make, destroy)
    const struct CMUnitTest tests[] = {
        CASE(a_session_goes_through_its_states),
        CASE(a_session_without_packets_ends_by_itself),
        CASE(orders_that_cross_the_end_are_harmless),
        CASE(limits_are_told_apart),
        CASE(clients_with_a_key_have_a_limit_of_their_own),
        CASE(room_that_one_class_gives_back_is_its_own),
        CASE(lingering_sessions_are_bounded),
        CASE(lingering_sessions_of_many_clients_are_bounded),
        CASE(a_client_that_lingers_makes_room_for_itself),
        CASE(the_same_four_tuple_is_refused_unless_its_session_was_stopped),
        CASE(a_session_left_behind_ends_for_a_later_connection),
        CASE(a_session_that_is_not_quiet_is_not_left_behind),
        CASE(the_start_is_heard),
        CASE(only_the_same_key_and_device_leave_a_session_behind),
        CASE(a_session_left_behind_makes_room_for_the_next),
        CASE(addresses_are_checked),
        CASE(sids_are_unique_and_hold_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
