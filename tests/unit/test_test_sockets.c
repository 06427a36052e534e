/* lib/sys/test_sockets.h: who shares a socket with whom. Sockets are opened on loopback, nothing is
 * sent. The numbers of interfaces are the test's own (--wrap). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/sys/socket.h"
#include "lib/sys/test_sockets.h"

static unsigned interface; /* the number of any there is; 0: none */

unsigned __wrap_if_nametoindex(const char *name);

unsigned __wrap_if_nametoindex(const char *name)
{
    (void)name;
    errno = ENODEV;
    return interface;
}

static struct tw_address address_of(const char *text, uint16_t port)
{
    struct tw_address address;
    assert_true(tw_address_parse(text, &address));
    address.port = port;
    return address;
}

static int set_up(void **state)
{
    static struct tw_test_sockets pool;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_true(epoll >= 0);
    tw_test_sockets_init(&pool, epoll, 1000, 0x12345678, false);
    assert_true(pool.stamping >= 0);
    *state = &pool;
    return 0;
}

static int tear_down(void **state)
{
    struct tw_test_sockets *pool = *state;
    close(pool->epoll);
    tw_test_sockets_free(pool);
    return 0;
}

static size_t open_sockets(const struct tw_test_sockets *pool)
{
    size_t n = 0;
    for (size_t i = 0; i < pool->count; i++)
        n += pool->sockets[i] != NULL;
    return n;
}

static struct tw_address any4(void)
{
    return (struct tw_address){.family = 4};
}

static int join(struct tw_test_sockets *pool, struct tw_test_member *member, const char *host)
{
    const struct tw_address bind = any4();
    const struct tw_address remote = address_of(host, 862);
    return tw_test_sockets_join(pool, member, &bind, NULL, &remote);
}

static void members_with_different_hosts_share_a_socket(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member a = {.socket = NULL};
    struct tw_test_member b = {.socket = NULL};
    assert_int_equal(join(pool, &a, "192.0.2.1"), 0);
    assert_int_equal(join(pool, &b, "192.0.2.2"), 0);
    assert_ptr_equal(a.socket, b.socket);
    assert_int_equal(open_sockets(pool), 1);
    const struct tw_address from_b = address_of("192.0.2.2", 20000);
    const struct tw_address stranger = address_of("192.0.2.3", 862);
    assert_ptr_equal(tw_test_sockets_find(pool, a.socket, &from_b), &b);
    assert_null(tw_test_sockets_find(pool, a.socket, &stranger));
}

static void members_with_one_host_have_sockets_of_their_own(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member members[3] = {{.socket = NULL}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(join(pool, &members[i], "192.0.2.1"), 0);
    assert_int_equal(open_sockets(pool), 3);
    assert_true(members[0].socket != members[1].socket);
    assert_true(members[1].socket != members[2].socket);
    assert_true(members[0].socket != members[2].socket);
    assert_true(members[0].socket->udp.local.port != members[1].socket->udp.local.port);
}

static void number_of_members_is_limited(void **state)
{
    struct tw_test_sockets *pool = *state;
    static struct tw_test_member members[200];
    memset(members, 0, sizeof members);
    for (unsigned i = 0; i < 200; i++) {
        const struct tw_address bind = any4();
        const struct tw_address host = {.family = 4, .octets = {192, 0, 2, (uint8_t)i}};
        assert_int_equal(tw_test_sockets_join(pool, &members[i], &bind, NULL, &host), 0);
    }
    assert_int_equal(open_sockets(pool), 4);
    for (unsigned i = 0; i < 200; i++) {
        const struct tw_address host = {.family = 4, .octets = {192, 0, 2, (uint8_t)i}, .port = 9};
        assert_true(members[i].socket->members <= 64);
        assert_ptr_equal(tw_test_sockets_find(pool, members[i].socket, &host), &members[i]);
    }
}

static void member_keeps_its_socket_when_its_host_changes(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member a = {.socket = NULL};
    struct tw_test_member b = {.socket = NULL};
    assert_int_equal(join(pool, &a, "192.0.2.1"), 0);
    assert_int_equal(join(pool, &b, "192.0.2.2"), 0);
    struct tw_test_socket *socket = a.socket;
    assert_int_equal(join(pool, &a, "192.0.2.1"), 0);
    assert_ptr_equal(a.socket, socket);
    assert_int_equal(join(pool, &a, "192.0.2.3"), 0);
    assert_ptr_equal(a.socket, socket);
    assert_int_equal(socket->members, 2);
    const struct tw_address old = address_of("192.0.2.1", 0);
    const struct tw_address new = address_of("192.0.2.3", 0);
    assert_ptr_equal(tw_test_sockets_find(pool, socket, &old), &a);
    assert_ptr_equal(tw_test_sockets_find(pool, socket, &new), &a);
}

/* Replies may be under way from the host that a member leaves, though not for longer than it takes
 * another in; and who talks to a host now comes first. */
static void member_is_found_by_its_former_host(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member a = {.socket = NULL};
    struct tw_test_member b = {.socket = NULL};
    const struct tw_address first = address_of("192.0.2.1", 0);
    const struct tw_address second = address_of("192.0.2.2", 0);
    const struct tw_address third = address_of("192.0.2.3", 0);
    assert_int_equal(join(pool, &a, "192.0.2.1"), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(join(pool, &a, "192.0.2.2"), 0);
        assert_ptr_equal(tw_test_sockets_find(pool, a.socket, &first), &a);
        assert_ptr_equal(tw_test_sockets_find(pool, a.socket, &second), &a);
    }
    assert_int_equal(join(pool, &b, "192.0.2.1"), 0);
    assert_ptr_equal(b.socket, a.socket);
    assert_ptr_equal(tw_test_sockets_find(pool, a.socket, &first), &b);
    assert_int_equal(join(pool, &b, "192.0.2.4"), 0);
    assert_int_equal(join(pool, &a, "192.0.2.3"), 0);
    assert_ptr_equal(tw_test_sockets_find(pool, a.socket, &first), &b);
    assert_ptr_equal(tw_test_sockets_find(pool, a.socket, &second), &a);
    assert_ptr_equal(tw_test_sockets_find(pool, a.socket, &third), &a);
    assert_int_equal(open_sockets(pool), 1);
}

/* Its former host's replies come to the socket that it has left. */
static void member_that_moves_has_no_former_host(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member a = {.socket = NULL};
    struct tw_test_member b = {.socket = NULL};
    const struct tw_address first = address_of("192.0.2.1", 0);
    assert_int_equal(join(pool, &a, "192.0.2.1"), 0);
    assert_int_equal(join(pool, &b, "192.0.2.2"), 0);
    struct tw_test_socket *shared = a.socket;
    assert_int_equal(join(pool, &a, "192.0.2.2"), 0);
    assert_null(tw_test_sockets_find(pool, shared, &first));
    assert_null(tw_test_sockets_find(pool, a.socket, &first));
}

/* The kernel binds a socket to a device's number, not to its name. */
static void device_that_was_made_anew_gets_a_socket_of_its_own(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member members[2] = {{.socket = NULL}};
    const struct tw_address bind = any4();
    const struct tw_address hosts[2] = {address_of("192.0.2.1", 0), address_of("192.0.2.2", 0)};
    interface = 1;
    for (int i = 0; i < 2; i++)
        assert_int_equal(tw_test_sockets_join(pool, &members[i], &bind, "lo", &hosts[i]), 0);
    struct tw_test_socket *old = members[0].socket;
    assert_ptr_equal(members[1].socket, old);
    assert_int_equal(tw_test_sockets_join(pool, &members[0], &bind, "lo", &hosts[0]), 0);
    assert_ptr_equal(members[0].socket, old);

    interface = 7;
    assert_int_equal(tw_test_sockets_join(pool, &members[0], &bind, "lo", &hosts[0]), 0);
    struct tw_test_socket *new = members[0].socket;
    assert_ptr_not_equal(new, old);
    assert_int_equal(tw_test_sockets_join(pool, &members[1], &bind, "lo", &hosts[1]), 0);
    assert_ptr_equal(members[1].socket, new);
    assert_int_equal(open_sockets(pool), 1);

    interface = 0;
    assert_int_equal(tw_test_sockets_join(pool, &members[0], &bind, "lo", &hosts[0]), -ENODEV);
    assert_null(members[0].socket);
    assert_int_equal(open_sockets(pool), 1);
}

static void member_moves_when_its_new_host_is_another_members(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member a = {.socket = NULL};
    struct tw_test_member b = {.socket = NULL};
    assert_int_equal(join(pool, &a, "192.0.2.1"), 0);
    assert_int_equal(join(pool, &b, "192.0.2.2"), 0);
    struct tw_test_socket *shared = a.socket;
    assert_int_equal(join(pool, &a, "192.0.2.2"), 0);
    assert_true(a.socket != shared);
    assert_ptr_equal(b.socket, shared);
    const struct tw_address host = address_of("192.0.2.2", 0);
    assert_ptr_equal(tw_test_sockets_find(pool, shared, &host), &b);
    assert_ptr_equal(tw_test_sockets_find(pool, a.socket, &host), &a);
}

static void socket_without_members_is_closed(void **state)
{
    struct tw_test_sockets *pool = *state;
    const struct tw_address four = any4();
    const struct tw_address six = {.family = 6};
    const struct tw_address remote4 = address_of("192.0.2.1", 0);
    const struct tw_address remote6 = address_of("2001:db8::1", 0);
    struct tw_test_member a = {.socket = NULL};
    assert_int_equal(tw_test_sockets_join(pool, &a, &four, NULL, &remote4), 0);
    if (tw_test_sockets_join(pool, &a, &six, NULL, &remote6) == -EAFNOSUPPORT) {
        assert_null(a.socket);
        assert_int_equal(open_sockets(pool), 0);
        skip();
        return;
    }
    assert_int_equal(a.socket->udp.local.family, 6);
    assert_int_equal(open_sockets(pool), 1);
    assert_int_equal(tw_test_sockets_join(pool, &a, &four, NULL, &remote4), 0);
    assert_int_equal(a.socket->udp.local.family, 4);
    assert_int_equal(open_sockets(pool), 1);
}

static void different_sources_do_not_share(void **state)
{
    struct tw_test_sockets *pool = *state;
    static const char *const sources[] = {"0.0.0.0", "127.0.0.1", "127.0.0.2"};
    struct tw_test_member members[3] = {{.socket = NULL}};
    const struct tw_address remote = address_of("192.0.2.1", 0);
    for (int i = 0; i < 3; i++) {
        const struct tw_address bind = address_of(sources[i], 0);
        assert_int_equal(tw_test_sockets_join(pool, &members[i], &bind, NULL, &remote), 0);
        assert_true(tw_address_same_host(&members[i].socket->udp.local, &bind));
    }
    assert_int_equal(open_sockets(pool), 3);
}

/* A port that was asked for can be shared by any number, but not with one host. */
static void fixed_port_is_shared_as_far_as_hosts_differ(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_udp free_port;
    const struct tw_udp_options options = {.bind = address_of("127.0.0.1", 0)};
    assert_int_equal(tw_udp_open(&free_port, &options), 0);
    const struct tw_address bind = free_port.local;
    tw_udp_close(&free_port);

    static struct tw_test_member members[100];
    memset(members, 0, sizeof members);
    for (unsigned i = 0; i < 100; i++) {
        const struct tw_address host = {.family = 4, .octets = {192, 0, 2, (uint8_t)i}};
        assert_int_equal(tw_test_sockets_join(pool, &members[i], &bind, NULL, &host), 0);
        assert_int_equal(members[i].socket->udp.local.port, bind.port);
    }
    assert_int_equal(open_sockets(pool), 1);
    struct tw_test_member one_more = {.socket = NULL};
    const struct tw_address taken = address_of("192.0.2.7", 0);
    assert_int_equal(tw_test_sockets_join(pool, &one_more, &bind, NULL, &taken), -EADDRINUSE);
    assert_null(one_more.socket);
    assert_int_equal(open_sockets(pool), 1);
}

static void socket_that_cannot_be_opened_leaves_no_trace(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member a = {.socket = NULL};
    const struct tw_address foreign = address_of("192.0.2.77", 0);
    const struct tw_address remote = address_of("192.0.2.1", 0);
    assert_int_equal(tw_test_sockets_join(pool, &a, &foreign, NULL, &remote), -EADDRNOTAVAIL);
    assert_null(a.socket);
    assert_int_equal(open_sockets(pool), 0);
}

static void member_is_due_once_and_in_turn(void **state)
{
    struct tw_test_sockets *pool = *state;
    struct tw_test_member a = {.socket = NULL};
    struct tw_test_member b = {.socket = NULL};
    assert_int_equal(join(pool, &a, "192.0.2.1"), 0);
    assert_int_equal(join(pool, &b, "192.0.2.2"), 0);
    assert_null(tw_test_socket_pop_due(a.socket));
    for (int i = 0; i < 2; i++) {
        tw_test_socket_push_due(&a);
        tw_test_socket_push_due(&b);
        tw_test_socket_push_due(&a);
        assert_ptr_equal(tw_test_socket_pop_due(a.socket), &a);
        tw_test_socket_push_due(&a);
        assert_ptr_equal(tw_test_socket_pop_due(a.socket), &b);
        assert_ptr_equal(tw_test_socket_pop_due(a.socket), &a);
        assert_null(tw_test_socket_pop_due(a.socket));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_with_different_hosts_share_a_socket, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(members_with_one_host_have_sockets_of_their_own, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(number_of_members_is_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(member_keeps_its_socket_when_its_host_changes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(member_is_found_by_its_former_host, set_up, tear_down),
        cmocka_unit_test_setup_teardown(member_that_moves_has_no_former_host, set_up, tear_down),
        cmocka_unit_test_setup_teardown(device_that_was_made_anew_gets_a_socket_of_its_own, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(member_moves_when_its_new_host_is_another_members, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(socket_without_members_is_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(different_sources_do_not_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fixed_port_is_shared_as_far_as_hosts_differ, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(socket_that_cannot_be_opened_leaves_no_trace, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(member_is_due_once_and_in_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
