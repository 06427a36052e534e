/* Receiver ports of test_port_range: opened, shared and closed as sessions come and go, and, behind
 * NAT, one for each session, which learns its sender's port. Addresses of 127.0.0.0/8 are the
 * hosts. */
#include "sessions_rig.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of ports that nobody uses by chance: the system's own begin at 32768. */
enum { FIRST = 21700, COUNT = 3, LAST = FIRST + COUNT - 1 };

static int make_ranged(void **state)
{
    const int result = make(state);
    if (result == 0)
        ((struct fixture *)*state)->config->test_port_range =
            (struct twd_port_range){.first = FIRST, .last = LAST};
    return result;
}

static int make_nat(void **state)
{
    const int result = make_ranged(state);
    if (result == 0)
        ((struct fixture *)*state)->config->nat = true;
    return result;
}

static int bind_at(const char *text, uint16_t port)
{
    struct tw_address address = at(text);
    address.port = port;
    struct sockaddr_storage name;
    const socklen_t length = tw_sockaddr_from_address(&address, &name);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (bind(fd, (const struct sockaddr *)&name, length) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool is_open(uint16_t port)
{
    const int fd = bind_at("127.0.0.1", port);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

/* The main thread closes a port when its worker has let go of it. */
static void assert_closes(uint16_t port)
{
    const gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (is_open(port) && g_get_monotonic_time() < end)
        settle();
    assert_false(is_open(port));
}

static struct twd_session *ask_port(struct fixture *fixture, uint16_t sender_port,
                                    uint16_t receiver_port)
{
    struct tw_request request = a_request(sender_port);
    request.receiver_port = receiver_port;
    enum twd_refusal refusal;
    return twd_sessions_request(fixture->sessions, &request, &fixture->asker, &refusal);
}

static void start(struct fixture *fixture, struct twd_session *session)
{
    assert_non_null(session);
    wait_for(&fixture->ready, fixture->ready + 1);
    twd_sessions_start(fixture->sessions, session);
    wait_for(&fixture->started, fixture->started + 1);
}

static void send_packet(int fd, uint16_t port, size_t length)
{
    static const uint8_t packet[100] = {[13] = 1};
    struct tw_address to = at("127.0.0.1");
    to.port = port;
    struct sockaddr_storage name;
    const socklen_t size = tw_sockaddr_from_address(&to, &name);
    assert_int_equal(sendto(fd, packet, length, 0, (const struct sockaddr *)&name, size), length);
}

/* Octets of what comes in that time; 0: nothing. */
static size_t receive(int fd, int patience_ms)
{
    uint8_t reply[200];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, patience_ms) == 0)
        return 0;
    const ssize_t n = recv(fd, reply, sizeof(reply), MSG_DONTWAIT);
    assert_true(n > 0);
    return (size_t)n;
}

static void assert_reflects(int fd, uint16_t port, size_t length)
{
    send_packet(fd, port, length);
    assert_int_equal(receive(fd, 10000), length);
}

static void assert_silent(int fd, uint16_t port, size_t length)
{
    send_packet(fd, port, length);
    assert_int_equal(receive(fd, 100), 0);
}

static uint16_t port_of(int fd)
{
    struct tw_address local;
    assert_int_equal(tw_socket_local(fd, &local), 0);
    return local.port;
}

static struct twd_counts count_all(const struct fixture *fixture)
{
    struct twd_counts sum = {.received = 0};
    for (unsigned i = 0; i < twd_plane_workers(fixture->plane); i++) {
        const struct twd_counts counts = twd_plane_count(fixture->plane, i);
        sum.received += counts.received;
        sum.reflected += counts.reflected;
    }
    return sum;
}

static void a_port_of_the_range_is_opened_as_asked(void **state)
{
    struct fixture *fixture = *state;
    const int one = bind_at("127.0.0.1", 0);
    const int other = bind_at("127.0.0.1", 0);
    struct twd_session *session = ask_port(fixture, port_of(one), FIRST + 1);
    start(fixture, session);
    assert_int_equal(session->port, FIRST + 1);
    assert_true(is_open(FIRST + 1));
    assert_false(is_open(FIRST));
    assert_reflects(one, FIRST + 1, 41);
    assert_silent(other, FIRST + 1, 41);

    struct twd_session *second = ask_port(fixture, port_of(other), FIRST + 1);
    start(fixture, second);
    assert_int_equal(second->port, FIRST + 1);
    assert_reflects(other, FIRST + 1, 41);
    settle();
    assert_int_equal(count_all(fixture).received, 3);
    assert_int_equal(count_all(fixture).reflected, 2);

    /* It is there until the last session has ended, lingering included. */
    twd_sessions_end(fixture->sessions, session);
    settle();
    assert_reflects(other, FIRST + 1, 41);
    twd_sessions_stop(fixture->sessions, second);
    settle();
    assert_reflects(other, FIRST + 1, 41);
    twd_sessions_end(fixture->sessions, second);
    assert_closes(FIRST + 1);
    close(one);
    close(other);
}

static void other_requests_come_by_the_shared_port(void **state)
{
    struct fixture *fixture = *state;
    const uint16_t shared = twd_plane_address(fixture->plane).port;
    static const uint16_t wanted[] = {0, FIRST - 1, LAST + 1};
    fixture->config->max_sessions_per_client = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++)
        assert_int_equal(ask_port(fixture, (uint16_t)(i + 1), wanted[i])->port, shared);
    assert_int_equal(ask_port(fixture, 9, shared)->port, shared);
    for (int port = FIRST; port <= LAST; port++)
        assert_false(is_open((uint16_t)port));
}

static void a_busy_port_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    const uint16_t shared = twd_plane_address(fixture->plane).port;
    fixture->config->max_sessions = fixture->config->max_sessions_per_client = 0;
    const int first = bind_at("127.0.0.1", FIRST);
    const int last = bind_at("127.0.0.1", LAST);
    struct twd_session *session = ask_port(fixture, 1, FIRST);
    assert_int_equal(session->port, FIRST + 1);
    assert_int_equal(ask_port(fixture, 2, LAST)->port, shared); /* none is free */
    assert_int_equal(ask_port(fixture, 3, FIRST + 1)->port, FIRST + 1);
    assert_null(ask_port(fixture, 3, FIRST + 1)); /* the same 4-tuple takes nothing along */
    close(first);
    close(last);
}

/* The port is being closed by the worker when it is asked for again. */
static void a_port_can_be_had_again_at_once(void **state)
{
    struct fixture *fixture = *state;
    const int fd = bind_at("127.0.0.1", 0);
    for (int i = 0; i < 50; i++) {
        struct twd_session *session = ask_port(fixture, port_of(fd), LAST);
        start(fixture, session);
        assert_int_equal(session->port, LAST);
        assert_reflects(fd, LAST, 41);
        twd_sessions_end(fixture->sessions, session);
        if (i % 3 == 0) { /* taken and given back before the worker has answered */
            struct twd_session *brief = ask_port(fixture, port_of(fd), LAST);
            assert_int_equal(brief->port, LAST);
            twd_sessions_end(fixture->sessions, brief);
        }
        if (i % 5 == 0)
            assert_closes(LAST);
    }
    assert_closes(LAST);
    close(fd);
}

/* However busy its worker is. A sender for each session: a later one of the same 4-tuple might
 * answer what has waited that long. */
static void a_packet_behind_the_end_is_not_answered(void **state)
{
    struct fixture *fixture = *state;
    int senders[200];
    const int stranger = bind_at("127.0.0.1", 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(senders); i++) {
        senders[i] = bind_at("127.0.0.1", 0);
        struct twd_session *session =
            ask_port(fixture, port_of(senders[i]), i % 2 == 0 ? 0 : FIRST);
        start(fixture, session);
        const uint16_t port = session->port;
        for (int j = 0; j < 10; j++)
            send_packet(stranger, port, 41);
        twd_sessions_end(fixture->sessions, session);
        send_packet(senders[i], port, 41);
    }
    settle();
    for (unsigned i = 0; i < G_N_ELEMENTS(senders); i++) {
        assert_int_equal(receive(senders[i], 1), 0);
        close(senders[i]);
    }
    close(stranger);
}

static void a_session_behind_nat_has_a_port_to_itself(void **state)
{
    struct fixture *fixture = *state;
    fixture->config->max_sessions_per_client = 0;
    bool given[COUNT] = {false};
    struct twd_session *sessions[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        sessions[i] = ask_port(fixture, 7, i == 0 ? FIRST + 1 : 1); /* one Sender Port for all */
        assert_non_null(sessions[i]);
        assert_in_range(sessions[i]->port, FIRST, LAST);
        assert_false(given[sessions[i]->port - FIRST]);
        given[sessions[i]->port - FIRST] = true;
    }
    assert_int_equal(sessions[0]->port, FIRST + 1);
    assert_port_refused(fixture, 8, TWD_REFUSE_PORTS);
    assert_int_equal(twd_refusal_accept(TWD_REFUSE_PORTS), TW_ACCEPT_TEMPORARY_LIMIT);
    const uint16_t back = sessions[2]->port;
    twd_sessions_end(fixture->sessions, sessions[2]);
    assert_int_equal(ask(fixture, 9)->port, back);
}

/* Else who stops sessions could not ask for others before their Timeout has passed. */
static void lingering_sessions_give_way_behind_nat(void **state)
{
    struct fixture *fixture = *state;
    struct twd_session *sessions[COUNT];
    become(fixture, "127.0.0.2");
    for (unsigned i = 0; i < COUNT; i++) {
        sessions[i] = ask(fixture, 7);
        assert_non_null(sessions[i]);
    }
    wait_for(&fixture->ready, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        twd_sessions_start(fixture->sessions, sessions[i]);
    wait_for(&fixture->started, COUNT);
    const uint16_t first = sessions[1]->port;
    twd_sessions_stop(fixture->sessions, sessions[1]);
    const uint16_t second = sessions[0]->port;
    twd_sessions_stop(fixture->sessions, sessions[0]);

    struct twd_session *again = ask(fixture, 7);
    assert_int_equal(again->port, first); /* stopped first */
    wait_for(&fixture->ready, COUNT + 1);
    twd_sessions_start(fixture->sessions, again);
    wait_for(&fixture->started, COUNT + 1);
    const int sender = bind_at("127.0.0.2", 0);
    assert_reflects(sender, first, 41);
    close(sender);

    become(fixture, "127.0.0.3"); /* others have to give way, too */
    assert_int_equal(ask(fixture, 7)->port, second);
    assert_port_refused(fixture, 8, TWD_REFUSE_PORTS);
}

/* What a busy host leaves is found, whatever the turn. */
static void ports_of_others_are_passed_over(void **state)
{
    struct fixture *fixture = *state;
    const int first = bind_at("127.0.0.1", FIRST);
    const int last = bind_at("127.0.0.1", LAST);
    struct twd_session *session = ask_port(fixture, 1, FIRST);
    assert_int_equal(session->port, FIRST + 1);
    assert_port_refused(fixture, 2, TWD_REFUSE_PORTS);
    close(last);
    assert_int_equal(ask(fixture, 2)->port, LAST);
    close(first);
}

static void the_senders_port_is_learnt_from_a_valid_packet(void **state)
{
    struct fixture *fixture = *state;
    become(fixture, "127.0.0.2");
    const int early = bind_at("127.0.0.2", 0);
    const int sender = bind_at("127.0.0.2", 0);
    const int neighbour = bind_at("127.0.0.2", 0);
    const int stranger = bind_at("127.0.0.3", 0);
    struct twd_session *session = ask(fixture, port_of(neighbour)); /* what it says is not so */
    wait_for(&fixture->ready, 1);
    const uint16_t port = session->port;
    assert_silent(early, port, 41); /* not started */
    twd_sessions_start(fixture->sessions, session);
    wait_for(&fixture->started, 1);
    assert_silent(stranger, port, 41);
    assert_silent(early, port, 13); /* too short to be valid */
    assert_reflects(sender, port, 41);
    assert_silent(neighbour, port, 41);
    assert_silent(early, port, 41);
    assert_silent(stranger, port, 41);
    assert_reflects(sender, port, 100);

    twd_sessions_stop(fixture->sessions, session);
    settle();
    assert_reflects(sender, port, 41); /* within its Timeout */
    twd_sessions_end(fixture->sessions, session);
    assert_closes(port);
    close(early);
    close(sender);
    close(neighbour);
    close(stranger);
}

static void sessions_of_one_address_learn_apart(void **state)
{
    struct fixture *fixture = *state;
    const int one = bind_at("127.0.0.1", 0);
    const int two = bind_at("127.0.0.1", 0);
    struct twd_session *first = ask(fixture, 7);
    start(fixture, first);
    struct twd_session *second = ask(fixture, 7);
    start(fixture, second);
    assert_reflects(two, second->port, 41);
    assert_reflects(one, first->port, 41);
    assert_silent(one, second->port, 41);
    assert_silent(two, first->port, 41);
    assert_silent(two, twd_plane_address(fixture->plane).port, 41);
    close(one);
    close(two);
}

static void behind_nat_the_sender_is_where_the_control_peer_is(void **state)
{
    struct fixture *fixture = *state;
    struct tw_request request = a_request(7);
    memcpy(request.sender_address, "\x0a\1\2\3", 4);
    enum twd_refusal refusal;
    fixture->config->third_party = true; /* makes no difference */
    struct twd_session *session =
        twd_sessions_request(fixture->sessions, &request, &fixture->asker, &refusal);
    start(fixture, session);
    const int sender = bind_at("127.0.0.1", 0);
    assert_reflects(sender, session->port, 41);
    close(sender);
    request.ipvn = 6;
    assert_refused(fixture, &request, TWD_REFUSE_FAMILY);
}

/* A reload may change the key while sessions of the other kind have ports. */
static void a_port_to_itself_stays_one_without_nat(void **state)
{
    struct fixture *fixture = *state;
    const uint16_t shared = twd_plane_address(fixture->plane).port;
    fixture->config->max_sessions = fixture->config->max_sessions_per_client = 0;
    assert_int_equal(ask_port(fixture, 1, FIRST)->port, FIRST);
    fixture->config->nat = false;
    assert_int_not_equal(ask_port(fixture, 2, FIRST)->port, FIRST);
    assert_int_not_equal(ask_port(fixture, 3, FIRST)->port, FIRST);
    assert_int_equal(ask_port(fixture, 4, FIRST)->port, shared);
    fixture->config->nat = true;
    assert_port_refused(fixture, 5, TWD_REFUSE_PORTS);
    fixture->config->nat = false;
    fixture->config->test_port_range = (struct twd_port_range){.first = 0};
    assert_int_equal(ask_port(fixture, 6, FIRST)->port, shared);
}

int main(void)
{
#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, destroy)
    const struct CMUnitTest tests[] = {
        CASE(a_port_of_the_range_is_opened_as_asked, make_ranged),
        CASE(other_requests_come_by_the_shared_port, make_ranged),
        CASE(a_busy_port_is_replaced, make_ranged),
        CASE(a_port_can_be_had_again_at_once, make_ranged),
        CASE(a_packet_behind_the_end_is_not_answered, make_ranged),
        CASE(a_session_behind_nat_has_a_port_to_itself, make_nat),
        CASE(lingering_sessions_give_way_behind_nat, make_nat),
        CASE(ports_of_others_are_passed_over, make_nat),
        CASE(the_senders_port_is_learnt_from_a_valid_packet, make_nat),
        CASE(sessions_of_one_address_learn_apart, make_nat),
        CASE(behind_nat_the_sender_is_where_the_control_peer_is, make_nat),
        CASE(a_port_to_itself_stays_one_without_nat, make_nat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
