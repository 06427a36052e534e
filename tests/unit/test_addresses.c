/* collectd-plugin/addresses.h: what is said of addresses that cannot work, and which targets cannot
 * have one source port. What the kernel does with two sockets and one port is tried out here. */
#include "twamp-config.h" /* GNU extensions: SO_BINDTODEVICE */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collectd-plugin/addresses.h"
#include "lib/sys/socket.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof *(a))

struct written {
    const char *host, *source, *device; /* NULL: not given */
    uint32_t family;
};

static struct tw_settings settings_of(const struct written *written)
{
    struct tw_settings settings;
    tw_settings_init(&settings);
    snprintf(settings.host, sizeof settings.host, "%s", written->host);
    if (written->source != NULL)
        assert_true(tw_address_parse(written->source, &settings.source));
    if (written->device != NULL)
        snprintf(settings.device, sizeof settings.device, "%s", written->device);
    settings.family = written->family;
    return settings;
}

static void what_may_work_is_taken(void **state)
{
    (void)state;
    static const struct written cases[] = {
        {.host = "192.0.2.1"},
        {.host = "2001:db8::1"},
        {.host = "::1"},
        {.host = "ams1.example.net"},
        {.host = "localhost"},
        {.host = "fe80::1%lo"},
        {.host = "fe80::1%tun7"}, /* may come later */
        {.host = "fe80::1", .device = "eth0"},
        {.host = "fe80::1%lo", .source = "fe80::2%lo"},
        {.host = "fe80::1", .source = "fe80::2", .device = "eth0"},
        {.host = "192.0.2.1", .source = "0.0.0.0"},
        {.host = "2001:db8::1", .source = "2001:db8::2", .family = 6},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct tw_settings settings = settings_of(&cases[i]);
        char why[TW_OPTION_TEXT];
        assert_true(tw_addresses_check(&settings, why));
    }
}

static void what_cannot_work_says_what_to_write(void **state)
{
    (void)state;
    static const struct {
        struct written written;
        const char *why;
    } cases[] = {
        {{.host = "fe80::1"},
         "Host \"fe80::1\" is a link-local address: write it with its interface, such as "
         "\"fe80::1%eth0\", or set Device"},
        {{.host = "fe80::1%lo", .source = "fe80::2"},
         "SourceAddress \"fe80::2\" is a link-local address: write it with its interface, such as "
         "\"fe80::2%eth0\", or set Device"},
        {{.host = "192.0.2.1:862"},
         "Host \"192.0.2.1:862\": write Host \"192.0.2.1\" and Port 862"},
        {{.host = "ams1.example.net:8620"},
         "Host \"ams1.example.net:8620\": write Host \"ams1.example.net\" and Port 8620"},
        {{.host = "[::1]"}, "Host \"[::1]\": write \"::1\""},
        {{.host = "[2001:db8::1]:862"},
         "Host \"[2001:db8::1]:862\": write Host \"2001:db8::1\" and Port 862"},
        {{.host = "192.0.2.1:"}, "Host \"192.0.2.1:\": write \"192.0.2.1\""},
        {{.host = "2001:db8::zz"}, "Host \"2001:db8::zz\" is neither a name nor an address"},
        {{.host = "2001:db8::1%lo"}, "Host \"2001:db8::1%lo\" is neither a name nor an address"},
        {{.host = "fe80::1%"}, "Host \"fe80::1%\" is neither a name nor an address"},
        {{.host = "[::1"}, "Host \"[::1\" is neither a name nor an address"},
        {{.host = "[::1]x"}, "Host \"[::1]x\" is neither a name nor an address"},
        {{.host = "ams:twamp"}, "Host \"ams:twamp\" is neither a name nor an address"},
        {{.host = "[]"}, "Host \"[]\" is neither a name nor an address"},
        {{.host = ":862"}, "Host \":862\" is neither a name nor an address"},
        {{.host = "0.0.0.0"},
         "Host \"0.0.0.0\" is the address of no server: write the server's own, or \"127.0.0.1\" "
         "for one on this host"},
        {{.host = "::"},
         "Host \"::\" is the address of no server: write the server's own, or \"::1\" for one on "
         "this host"},
        {{.host = "192.0.2.1", .family = 6},
         "Host \"192.0.2.1\" is an IPv4 address, but AddressFamily asks for IPv6"},
        {{.host = "192.0.2.1", .source = "2001:db8::1"},
         "Host \"192.0.2.1\" is an IPv4 address, but SourceAddress asks for IPv6"},
        {{.host = "ams1.example.net", .source = "2001:db8::1", .family = 4},
         "SourceAddress is an IPv6 address, but AddressFamily is \"ipv4\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct tw_settings settings = settings_of(&cases[i].written);
        char why[TW_OPTION_TEXT] = "";
        assert_false(tw_addresses_check(&settings, why));
        assert_string_equal(why, cases[i].why);
    }
}

/* The longest host that the option takes. */
static void a_long_host_is_cut_in_the_message(void **state)
{
    (void)state;
    struct tw_settings settings;
    tw_settings_init(&settings);
    memset(settings.host, 'h', sizeof settings.host - 1);
    memcpy(settings.host + sizeof settings.host - 5, ":862", 5);
    char why[TW_OPTION_TEXT];
    assert_false(tw_addresses_check(&settings, why));
    assert_non_null(strstr(why, "and Port 862"));
}

static const struct {
    struct written a, b;
    bool collide;
} pairs[] = {
    /* of one socket: it tells servers apart by their addresses */
    {{.host = "127.0.0.1"}, {.host = "127.0.0.1"}, true},
    {{.host = "127.0.0.1"}, {.host = "127.0.0.2"}, false},
    {{.host = "localhost"}, {.host = "LocalHost"}, true},
    {{.host = "localhost"}, {.host = "localhost", .family = 4}, false}, /* perhaps */
    {{.host = "127.0.0.1", .source = "0.0.0.0"}, {.host = "127.0.0.1"}, true},
    /* of a socket each: the kernel's business */
    {{.host = "127.0.0.1"}, {.host = "127.0.0.2", .device = "lo"}, true},
    {{.host = "127.0.0.1"}, {.host = "127.0.0.1", .device = "lo"}, true},
    {{.host = "127.0.0.1", .device = "lo"}, {.host = "127.0.0.2", .device = "lo"}, false},
    {{.host = "127.0.0.1"}, {.host = "127.0.0.2", .source = "127.0.0.3"}, true},
    {{.host = "127.0.0.1", .source = "127.0.0.4"},
     {.host = "127.0.0.1", .source = "127.0.0.3"},
     false},
    {{.host = "127.0.0.1"}, {.host = "::1"}, false},
    {{.host = "::1"}, {.host = "::2", .source = "::1"}, true},
    {{.host = "localhost"}, {.host = "example.net", .device = "lo"}, false}, /* perhaps */
    {{.host = "localhost"}, {.host = "localhost", .device = "lo"}, true},
};

static void one_port_is_not_for_two_that_need_it_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        const struct tw_settings a = settings_of(&pairs[i].a), b = settings_of(&pairs[i].b);
        assert_int_equal(tw_addresses_collide(&a, &b), pairs[i].collide);
        assert_int_equal(tw_addresses_collide(&b, &a), pairs[i].collide);
    }
}

/* 0 or an errno. */
static int open_port(const struct tw_settings *settings, uint16_t port, int *fd)
{
    struct tw_address host;
    assert_true(tw_address_parse(settings->host, &host));
    const uint8_t family = host.family;
    struct tw_address bind_to = settings->source;
    if (tw_address_is_unspecified(&bind_to))
        bind_to = (struct tw_address){.family = family};
    bind_to.port = port;
    *fd = socket(family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    if (*fd < 0 ||
        (family == 6 && setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) != 0) ||
        (settings->device[0] != '\0' &&
         setsockopt(*fd, SOL_SOCKET, SO_BINDTODEVICE, settings->device,
                    (socklen_t)strlen(settings->device)) != 0))
        return errno;
    struct sockaddr_storage sockaddr;
    const socklen_t length = tw_sockaddr_from_address(&bind_to, &sockaddr);
    return bind(*fd, (const struct sockaddr *)&sockaddr, length) == 0 ? 0 : errno;
}

/* 0 or an errno; nothing stays open. */
static int open_both(const struct tw_settings *a, const struct tw_settings *b)
{
    int first, second = -1;
    struct tw_address local;
    int error = open_port(a, 0, &first);
    if (error == 0 && tw_socket_local(first, &local) == 0)
        error = open_port(b, local.port, &second);
    if (first >= 0)
        close(first);
    if (second >= 0)
        close(second);
    return error;
}

/* Of literals, where each has a socket of its own. */
static void the_kernel_agrees(void **state)
{
    (void)state;
    unsigned tried = 0;
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        const struct tw_settings a = settings_of(&pairs[i].a), b = settings_of(&pairs[i].b);
        struct tw_address one, other;
        const bool literals = tw_address_parse(a.host, &one) && tw_address_parse(b.host, &other);
        if (!literals || (one.family == other.family && strcmp(a.device, b.device) == 0 &&
                          a.source.family == 0 && b.source.family == 0))
            continue;
        if (one.family == 4 && tw_address_is_unspecified(&a.source) &&
            tw_address_is_unspecified(&b.source) && a.source.family != b.source.family)
            continue; /* 0.0.0.0 is any address: one socket */
        const int error = open_both(&a, &b);
        if (error == EPERM || error == EAFNOSUPPORT || error == EADDRNOTAVAIL)
            continue; /* no right to use devices, or no IPv6 */
        assert_int_equal(error, pairs[i].collide ? EADDRINUSE : 0);
        tried++;
    }
    assert_true(tried >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_work_is_taken),
        cmocka_unit_test(what_cannot_work_says_what_to_write),
        cmocka_unit_test(a_long_host_is_cut_in_the_message),
        cmocka_unit_test(one_port_is_not_for_two_that_need_it_alone),
        cmocka_unit_test(the_kernel_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
