/* lib/sys/socket.h: addresses against what inet_pton and the RFCs (4291, 4007) say, TCP against
 * listeners on loopback. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/sys/socket.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

static struct tw_address address_of(const char *text, uint16_t port)
{
    struct tw_address address;
    assert_true(tw_address_parse(text, &address));
    address.port = port;
    return address;
}

static void literal_is_read_and_written_in_its_shortest_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *with_port, *without;
        uint8_t family;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1:862", "192.0.2.1", 4},
        {"0.0.0.0", "0.0.0.0:862", "0.0.0.0", 4},
        {"255.255.255.255", "255.255.255.255:862", "255.255.255.255", 4},
        {"::", "[::]:862", "::", 6},
        {"2001:DB8:0:0:0::1", "[2001:db8::1]:862", "2001:db8::1", 6},
        {"2001:db8:1111:2222:3333:4444:5555:6666", "[2001:db8:1111:2222:3333:4444:5555:6666]:862",
         "2001:db8:1111:2222:3333:4444:5555:6666", 6},
        {"::ffff:192.0.2.1", "192.0.2.1:862", "192.0.2.1", 4},
        {"fe80::1", "[fe80::1]:862", "fe80::1", 6},
        {"fe80::1%lo", "[fe80::1%lo]:862", "fe80::1%lo", 6},
        {"febf::1%1000000", "[febf::1%1000000]:862", "febf::1%1000000", 6},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[TW_ADDRESS_TEXT];
        const struct tw_address address = address_of(cases[i].text, 862);
        assert_int_equal(address.family, cases[i].family);
        assert_string_equal(tw_address_format(&address, true, text), cases[i].with_port);
        assert_string_equal(tw_address_format(&address, false, text), cases[i].without);
    }
}

static void zone_by_name_and_by_number_is_the_same(void **state)
{
    (void)state;
    char text[64];
    snprintf(text, sizeof text, "fe80::1%%%u", if_nametoindex("lo"));
    const struct tw_address by_name = address_of("fe80::1%lo", 0);
    const struct tw_address by_number = address_of(text, 0);
    assert_int_equal(by_name.scope, if_nametoindex("lo"));
    assert_true(tw_address_equal(&by_name, &by_number));
}

static void zone_is_added_where_one_is_missing(void **state)
{
    (void)state;
    const uint32_t lo = if_nametoindex("lo");
    static const struct {
        const char *text;
        bool needs;
    } cases[] = {{"fe80::1", true},     {"febf::1", true},      {"fe80::1%lo", false},
                 {"fec0::1", false},    {"2001:db8::1", false}, {"192.0.2.1", false},
                 {"254.128.0.1", false}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tw_address address = address_of(cases[i].text, 862);
        const struct tw_address before = address;
        assert_int_equal(tw_address_needs_zone(&address), cases[i].needs);
        tw_address_add_zone(&address, NULL);
        assert_true(tw_address_equal(&address, &before));
        tw_address_add_zone(&address, "no-such-device");
        assert_true(tw_address_equal(&address, &before));
        tw_address_add_zone(&address, "lo");
        assert_int_equal(address.scope, cases[i].needs ? lo : before.scope);
        assert_false(tw_address_needs_zone(&address));
    }
    struct tw_address other = {.octets = {0xfe, 0x80, [15] = 1}, .scope = lo + 1, .family = 6};
    tw_address_add_zone(&other, "lo");
    assert_int_equal(other.scope, lo + 1);
}

static void what_is_no_literal_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.1 ",
        "192.0.2.1:862",
        "192.0.2.1%lo",
        "0x7f.0.0.1",
        "[::1]",
        "::1%lo",
        "2001:db8::1%lo",
        "fe80::1%",
        "fe80::1%no-such-interface",
        "fe80::1%-1",
        "fe80::1%0",
        "fe80::1%4294967297",
        "fe80::1%99999999999999999999",
        ":",
        "1:2:3:4:5:6:7:8:9",
        "2001:db8:1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tw_address address;
        assert_false(tw_address_parse(cases[i], &address));
    }
}

static void zone_may_be_kept_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *address, *zone;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", ""},
        {"2001:db8::1", "2001:db8::1", ""},
        {"fe80::1", "fe80::1", ""},
        {"fe80::1%lo", "fe80::1", "lo"},
        {"fe80::1%not-there-yet", "fe80::1", "not-there-yet"},
        {"fe80::1%7", "fe80::1", "7"},
        {"fe80::1%fifteen-letters", "fe80::1", "fifteen-letters"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tw_address address;
        char zone[TW_ZONE_SIZE];
        assert_true(tw_address_parse_zone(cases[i].text, &address, zone));
        const struct tw_address expected = address_of(cases[i].address, 0);
        assert_true(tw_address_equal(&address, &expected));
        assert_string_equal(zone, cases[i].zone);
    }
    static const char *const wrong[] = {"fe80::1%",   "fe80::1%sixteen--letters", "fe80::1%a b",
                                        "fe80::1%a/", "2001:db8::1%lo",           "192.0.2.1%lo"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct tw_address address;
        char zone[TW_ZONE_SIZE];
        assert_false(tw_address_parse_zone(wrong[i], &address, zone));
    }
    assert_int_equal(tw_zone_index("lo"), if_nametoindex("lo"));
    assert_int_equal(tw_zone_index("no-such-one"), 0);
}

static void no_address_is_called_none(void **state)
{
    (void)state;
    const struct tw_address none = {.family = 0};
    char text[TW_ADDRESS_TEXT];
    assert_string_equal(tw_address_format(&none, true, text), "none");
    assert_string_equal(tw_address_format(&none, false, text), "none");
}

/* The longest address, zone and port there can be: the result must not be cut. */
static void longest_text_has_room(void **state)
{
    (void)state;
    struct tw_address address = address_of("fe80:1111:2222:3333:4444:5555:6666:7777", 65535);
    address.scope = INT32_MAX;
    char text[TW_ADDRESS_TEXT];
    assert_string_equal(tw_address_format(&address, true, text),
                        "[fe80:1111:2222:3333:4444:5555:6666:7777%2147483647]:65535");
}

static void sockaddr_and_back_is_the_same_address(void **state)
{
    (void)state;
    static const char *const cases[] = {"192.0.2.1", "2001:db8::1", "fe80::1%lo", "::", "0.0.0.0"};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct tw_address address = address_of(cases[i], 0x1234);
        struct sockaddr_storage sockaddr;
        const socklen_t length = tw_sockaddr_from_address(&address, &sockaddr);
        const struct tw_address back =
            tw_address_from_sockaddr((const struct sockaddr *)&sockaddr, length);
        assert_true(tw_address_equal(&address, &back));
        for (socklen_t shorter = 0; shorter < length; shorter++)
            assert_int_equal(
                tw_address_from_sockaddr((const struct sockaddr *)&sockaddr, shorter).family, 0);
    }
}

static void mapped_sockaddr_becomes_ipv4(void **state)
{
    (void)state;
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(862),
        .sin6_addr.s6_addr = {[10] = 0xff, 0xff, 192, 0, 2, 1},
        .sin6_scope_id = 1,
    };
    const struct tw_address address =
        tw_address_from_sockaddr((const struct sockaddr *)&in6, sizeof in6);
    const struct tw_address expected = address_of("192.0.2.1", 862);
    assert_true(tw_address_equal(&address, &expected));
}

static void sockaddr_of_another_family_is_no_address(void **state)
{
    (void)state;
    const struct sockaddr_storage sockaddr = {.ss_family = AF_UNIX};
    const struct tw_address address =
        tw_address_from_sockaddr((const struct sockaddr *)&sockaddr, sizeof sockaddr);
    assert_int_equal(address.family, 0);
}

static void scope_belongs_to_link_local_addresses_alone(void **state)
{
    (void)state;
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_scope_id = 1};
    in6.sin6_addr = in6addr_loopback;
    assert_int_equal(tw_address_from_sockaddr((const struct sockaddr *)&in6, sizeof in6).scope, 0);
    in6.sin6_addr = (struct in6_addr){.s6_addr = {0xfe, 0x80, [15] = 1}};
    assert_int_equal(tw_address_from_sockaddr((const struct sockaddr *)&in6, sizeof in6).scope, 1);
}

static void raised_descriptor_is_out_of_the_way_of_select(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit old = limit;
    if (limit.rlim_max <= 1100)
        skip();
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    const int low = dup(STDERR_FILENO);
    const int raised = tw_descriptor_raise(low);
    assert_true(raised >= 1024);
    assert_true((fcntl(raised, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(fcntl(low, F_GETFD), -1);
    assert_int_equal(tw_descriptor_raise(raised), raised);
    close(raised);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(tw_descriptor_raise(-1), -1);
}

static void descriptor_stays_where_it_is_below_a_low_limit(void **state)
{
    (void)state;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit low = {.rlim_cur = 512, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    const int fd = dup(STDERR_FILENO);
    assert_int_equal(tw_descriptor_raise(fd), fd);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    close(fd);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

/* Takes raised descriptors until there are no more; returns how many, and the limit is `most`. */
static int raise_all(rlim_t most)
{
    int taken[2048];
    int count = 0;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit limit = {.rlim_cur = most, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (;;) {
        const int low = dup(STDERR_FILENO);
        assert_true(low >= 0);
        const int raised = tw_descriptor_raise(low);
        if (raised < 0) {
            assert_int_equal(errno, EMFILE);
            assert_int_equal(fcntl(low, F_GETFD), -1);
            break;
        }
        assert_true(count < 2048);
        taken[count++] = raised;
    }
    for (int i = 0; i < count; i++)
        close(taken[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    return count;
}

/* A guest that takes the last descriptor leaves its host without log, files and libraries. */
static void raised_descriptors_leave_some_to_the_host(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 1024 + 40)
        skip();
    const int few = raise_all(256);
    assert_true(few > 128 && few <= 192);
    assert_int_equal(raise_all(1024 + 40), 40);
}

/* A listening socket on any port of `text`; -1 when the host has no such address. */
static int listen_on(const char *text, struct tw_address *where)
{
    const struct tw_address address = address_of(text, 0);
    struct sockaddr_storage sockaddr;
    const socklen_t length = tw_sockaddr_from_address(&address, &sockaddr);
    const int fd = socket(sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)&sockaddr, length) != 0 || listen(fd, 8) != 0) {
        close(fd);
        return -1;
    }
    assert_int_equal(tw_socket_local(fd, where), 0);
    return fd;
}

/* What tw_tcp_connect and, after the wait, tw_tcp_connected say. The descriptor, if any, in *fd. */
static int connect_and_wait(const struct tw_address *remote, const struct tw_tcp_options *options,
                            int *fd)
{
    *fd = tw_tcp_connect(remote, options);
    if (*fd < 0)
        return *fd;
    struct pollfd ready = {.fd = *fd, .events = POLLOUT};
    assert_int_equal(poll(&ready, 1, 10000), 1);
    return tw_tcp_connected(*fd);
}

static int int_option(int fd, int level, int option)
{
    int value = -1;
    socklen_t length = sizeof value;
    assert_int_equal(getsockopt(fd, level, option, &value, &length), 0);
    return value;
}

static void connection_has_the_wanted_source_and_dscp(void **state)
{
    (void)state;
    struct tw_address server;
    const int listener = listen_on("127.0.0.1", &server);
    assert_true(listener >= 0);
    const struct tw_tcp_options options = {.source = address_of("127.0.0.2", 0), .dscp = 46};
    int fd;
    assert_int_equal(connect_and_wait(&server, &options, &fd), 0);
    struct tw_address local;
    struct tw_address peer;
    assert_int_equal(tw_socket_local(fd, &local), 0);
    assert_int_equal(tw_socket_peer(fd, &peer), 0);
    assert_true(tw_address_same_host(&local, &options.source));
    assert_true(local.port != 0);
    assert_true(tw_address_equal(&peer, &server));
    assert_int_equal(int_option(fd, IPPROTO_IP, IP_TOS), 46 << 2);
    assert_int_equal(int_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    close(fd);
    close(listener);
}

static void connection_works_over_ipv6(void **state)
{
    (void)state;
    struct tw_address server;
    const int listener = listen_on("::1", &server);
    if (listener < 0)
        skip();
    const struct tw_tcp_options options = {.dscp = 8};
    int fd;
    assert_int_equal(connect_and_wait(&server, &options, &fd), 0);
    struct tw_address local;
    assert_int_equal(tw_socket_local(fd, &local), 0);
    assert_true(tw_address_same_host(&local, &server));
    assert_int_equal(int_option(fd, IPPROTO_IPV6, IPV6_TCLASS), 8 << 2);
    close(fd);
    close(listener);
}

static void closed_port_refuses(void **state)
{
    (void)state;
    struct tw_address server;
    const int listener = listen_on("127.0.0.1", &server);
    assert_true(listener >= 0);
    close(listener);
    const struct tw_tcp_options options = {.dscp = 0};
    int fd;
    assert_int_equal(connect_and_wait(&server, &options, &fd), -ECONNREFUSED);
    if (fd >= 0)
        close(fd);
}

/* TCP's simultaneous open lets a socket connect to itself: that is no server. */
static void connection_to_itself_counts_as_refused(void **state)
{
    (void)state;
    struct tw_address server;
    const int listener = listen_on("127.0.0.1", &server);
    assert_true(listener >= 0);
    close(listener);
    const struct tw_tcp_options options = {.source = server};
    int fd;
    assert_int_equal(connect_and_wait(&server, &options, &fd), -ECONNREFUSED);
    assert_true(fd >= 0);
    close(fd);
}

static void connect_that_cannot_begin_says_why(void **state)
{
    (void)state;
    const struct tw_address ip4 = address_of("127.0.0.1", 9);
    const struct tw_address none = {.family = 0};
    struct tw_tcp_options options = {.dscp = 0};
    assert_int_equal(tw_tcp_connect(&none, &options), -EAFNOSUPPORT);
    options.source = address_of("::1", 0);
    assert_int_equal(tw_tcp_connect(&ip4, &options), -EAFNOSUPPORT);
    options.source = address_of("192.0.2.77", 0);
    assert_int_equal(tw_tcp_connect(&ip4, &options), -EADDRNOTAVAIL);
    options.source.family = 0;
    options.device = "no-such-device";
    assert_true(tw_tcp_connect(&ip4, &options) < 0);
}

static void descriptor_that_is_no_socket_is_an_error(void **state)
{
    (void)state;
    struct tw_address address;
    assert_int_equal(tw_socket_local(-1, &address), -EBADF);
    assert_int_equal(tw_socket_peer(-1, &address), -EBADF);
    assert_int_equal(tw_tcp_connected(-1), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literal_is_read_and_written_in_its_shortest_form),
        cmocka_unit_test(zone_by_name_and_by_number_is_the_same),
        cmocka_unit_test(zone_is_added_where_one_is_missing),
        cmocka_unit_test(zone_may_be_kept_as_text),
        cmocka_unit_test(what_is_no_literal_is_refused),
        cmocka_unit_test(no_address_is_called_none),
        cmocka_unit_test(longest_text_has_room),
        cmocka_unit_test(sockaddr_and_back_is_the_same_address),
        cmocka_unit_test(mapped_sockaddr_becomes_ipv4),
        cmocka_unit_test(sockaddr_of_another_family_is_no_address),
        cmocka_unit_test(scope_belongs_to_link_local_addresses_alone),
        cmocka_unit_test(raised_descriptor_is_out_of_the_way_of_select),
        cmocka_unit_test(descriptor_stays_where_it_is_below_a_low_limit),
        cmocka_unit_test(raised_descriptors_leave_some_to_the_host),
        cmocka_unit_test(connection_has_the_wanted_source_and_dscp),
        cmocka_unit_test(connection_works_over_ipv6),
        cmocka_unit_test(closed_port_refuses),
        cmocka_unit_test(connection_to_itself_counts_as_refused),
        cmocka_unit_test(connect_that_cannot_begin_says_why),
        cmocka_unit_test(descriptor_that_is_no_socket_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
