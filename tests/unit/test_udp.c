/* lib/sys/udp.h on loopback: what arrives is compared with what other sockets sent and with what
 * the kernel was asked for. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/sys/socket.h"
#include "lib/sys/udp.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

enum { PATIENCE_MS = 10000 };

struct fixture {
    struct tw_clock clock;
    struct tw_udp_batch *in, *out;
    int stamping;
    bool ip6;
};

static struct tw_address address_of(const char *text, uint16_t port)
{
    struct tw_address address;
    assert_true(tw_address_parse(text, &address));
    address.port = port;
    return address;
}

static struct tw_udp open_on(const char *text)
{
    struct tw_udp udp;
    const struct tw_udp_options options = {.bind = address_of(text, 0)};
    assert_int_equal(tw_udp_open(&udp, &options), 0);
    assert_true(udp.local.port != 0);
    return udp;
}

static bool have_ipv6(void)
{
    struct tw_udp udp;
    const struct tw_udp_options options = {.bind = address_of("::1", 0)};
    const bool have = tw_udp_open(&udp, &options) == 0;
    tw_udp_close(&udp);
    return have;
}

/* Waits until something is there and reads one batch. */
static unsigned receive(struct fixture *f, struct tw_udp *udp)
{
    struct pollfd ready = {.fd = udp->fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
    const int n = tw_udp_receive(udp, f->in, &f->clock);
    assert_true(n > 0);
    return (unsigned)n;
}

static void fill(struct tw_datagram *datagram, const void *data, size_t length,
                 const struct tw_address *remote)
{
    memcpy(datagram->data, data, length);
    datagram->length = length;
    datagram->remote = *remote;
    datagram->local = (struct tw_address){.family = 0};
    datagram->interface = 0;
    datagram->tos = 0;
}

static void send_text(struct fixture *f, struct tw_udp *from, const struct tw_address *to,
                      const char *text)
{
    fill(tw_udp_batch_at(f->out, 0), text, strlen(text), to);
    assert_int_equal(tw_udp_send(from, f->out, 1), 1);
}

/* The kernel begins to stamp some time after it was asked for the first time. */
static void wait_for_stamps(struct fixture *f)
{
    struct tw_udp udp = open_on("127.0.0.1");
    for (int i = 0; i < 200 && !udp.stamped; i++) {
        send_text(f, &udp, &udp.local, "?");
        receive(f, &udp);
        if (!udp.stamped)
            usleep(10000);
    }
    assert_true(udp.stamped);
    tw_udp_close(&udp);
}

static int set_up(void **state)
{
    static struct fixture f;
    tw_clock_init(&f.clock, 0);
    f.stamping = tw_udp_keep_stamping();
    assert_true(f.stamping >= 0);
    f.in = tw_udp_batch_new();
    f.out = tw_udp_batch_new();
    assert_non_null(f.in);
    assert_non_null(f.out);
    f.ip6 = have_ipv6();
    wait_for_stamps(&f);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tw_udp_batch_free(f->in);
    tw_udp_batch_free(f->out);
    close(f->stamping);
    return 0;
}

static void kernel_tells_all_of_a_datagram(struct fixture *f, const char *text)
{
    struct tw_udp a = open_on(text);
    struct tw_udp b = open_on(text);
    struct tw_datagram *out = tw_udp_batch_at(f->out, 0);
    fill(out, "hello", 5, &b.local);
    out->tos = 46 << 2 | 1;
    const struct tw_reading before = tw_clock_read(&f->clock);
    assert_int_equal(tw_udp_send(&a, f->out, 1), 1);
    assert_int_equal(receive(f, &b), 1);
    const struct tw_reading after = tw_clock_read(&f->clock);

    const struct tw_datagram *in = tw_udp_batch_at(f->in, 0);
    assert_int_equal(in->length, 5);
    assert_memory_equal(in->data, "hello", 5);
    assert_true(tw_address_equal(&in->remote, &a.local));
    assert_true(tw_address_equal(&in->local, &b.local));
    assert_true(in->interface != 0);
    assert_int_equal(in->arrival.ttl, 255);
    assert_int_equal(in->arrival.tos, 46 << 2 | 1);
    assert_int_equal(in->arrival.source, TW_SOURCE_KERNEL);
    assert_true(in->arrival.at.ns >= before.wall.ns && in->arrival.at.ns <= after.wall.ns);
    assert_true(in->arrival.read.mono.ns >= before.mono.ns);
    assert_true(in->arrival.read.mono.ns <= after.mono.ns);
    assert_true(in->arrival.at.ns <= in->arrival.read.wall.ns);
    assert_true((fcntl(b.fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(b.fd, F_GETFD) & FD_CLOEXEC) != 0);
    tw_udp_close(&a);
    tw_udp_close(&b);
}

static void kernel_tells_all_of_an_ipv4_datagram(void **state)
{
    kernel_tells_all_of_a_datagram(*state, "127.0.0.1");
}

static void kernel_tells_all_of_an_ipv6_datagram(void **state)
{
    struct fixture *f = *state;
    if (!f->ip6)
        skip();
    kernel_tells_all_of_a_datagram(f, "::1");
}

/* A foreign sender's TTL and TOS, and no more than its own. */
static void ttl_and_tos_are_those_of_the_packet(void **state)
{
    struct fixture *f = *state;
    struct tw_udp a = open_on("127.0.0.1");
    struct tw_udp b = open_on("127.0.0.1");
    const int ttl = 7;
    assert_int_equal(setsockopt(a.fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl), 0);
    send_text(f, &a, &b.local, "x");
    assert_int_equal(receive(f, &b), 1);
    assert_int_equal(tw_udp_batch_at(f->in, 0)->arrival.ttl, 7);
    assert_int_equal(tw_udp_batch_at(f->in, 0)->arrival.tos, 0);
    tw_udp_close(&a);
    tw_udp_close(&b);
}

/* A host with several addresses answers from the one that it was asked at. */
static void datagram_leaves_from_the_local_address_it_names(void **state)
{
    struct fixture *f = *state;
    struct tw_udp client = open_on("127.0.0.1");
    struct tw_udp server = open_on("0.0.0.0");
    const struct tw_address asked = address_of("127.0.0.77", server.local.port);
    send_text(f, &client, &asked, "request");
    assert_int_equal(receive(f, &server), 1);
    const struct tw_datagram *request = tw_udp_batch_at(f->in, 0);
    assert_true(tw_address_equal(&request->local, &asked));

    struct tw_datagram *reply = tw_udp_batch_at(f->out, 0);
    fill(reply, "reply", 5, &request->remote);
    reply->local = request->local;
    reply->interface = request->interface;
    assert_int_equal(tw_udp_send(&server, f->out, 1), 1);
    assert_int_equal(receive(f, &client), 1);
    assert_true(tw_address_equal(&tw_udp_batch_at(f->in, 0)->remote, &asked));
    tw_udp_close(&client);
    tw_udp_close(&server);
}

static void ipv6_datagram_leaves_from_the_local_address_it_names(void **state)
{
    struct fixture *f = *state;
    if (!f->ip6)
        skip();
    struct tw_udp client = open_on("::1");
    struct tw_udp server = open_on("::");
    const struct tw_address asked = address_of("::1", server.local.port);
    send_text(f, &client, &asked, "request");
    assert_int_equal(receive(f, &server), 1);
    const struct tw_datagram *request = tw_udp_batch_at(f->in, 0);
    assert_true(tw_address_equal(&request->local, &asked));
    fill(tw_udp_batch_at(f->out, 0), "reply", 5, &request->remote);
    tw_udp_batch_at(f->out, 0)->local = asked;
    assert_int_equal(tw_udp_send(&server, f->out, 1), 1);
    assert_int_equal(receive(f, &client), 1);
    assert_true(tw_address_equal(&tw_udp_batch_at(f->in, 0)->remote, &asked));
    tw_udp_close(&client);
    tw_udp_close(&server);
}

static void ipv6_socket_leaves_ipv4_alone(void **state)
{
    struct fixture *f = *state;
    if (!f->ip6)
        skip();
    struct tw_udp six = open_on("::");
    struct tw_udp four;
    const struct tw_udp_options options = {.bind = address_of("0.0.0.0", six.local.port)};
    assert_int_equal(tw_udp_open(&four, &options), 0);
    tw_udp_close(&four);
    tw_udp_close(&six);
}

static void every_size_arrives_whole(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0, 1, 14, 41, 1472, 9000, 65507};
    static uint8_t pattern[65507];
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 7 + i / 256);
    struct tw_udp a = open_on("127.0.0.1");
    struct tw_udp b = open_on("127.0.0.1");
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        fill(tw_udp_batch_at(f->out, 0), pattern, sizes[i], &b.local);
        assert_int_equal(tw_udp_send(&a, f->out, 1), 1);
        assert_int_equal(receive(f, &b), 1);
        assert_int_equal(tw_udp_batch_at(f->in, 0)->length, sizes[i]);
        assert_memory_equal(tw_udp_batch_at(f->in, 0)->data, pattern, sizes[i]);
    }
    tw_udp_close(&a);
    tw_udp_close(&b);
}

static void batch_keeps_the_order(void **state)
{
    struct fixture *f = *state;
    struct tw_udp a = open_on("127.0.0.1");
    struct tw_udp b = open_on("127.0.0.1");
    assert_int_equal(tw_udp_receive(&b, f->in, &f->clock), 0);
    for (unsigned i = 0; i < TW_UDP_BATCH; i++) {
        const uint8_t octet = (uint8_t)i;
        fill(tw_udp_batch_at(f->out, i), &octet, 1, &b.local);
    }
    assert_int_equal(tw_udp_send(&a, f->out, TW_UDP_BATCH), TW_UDP_BATCH);
    send_text(f, &a, &b.local, "last");
    unsigned next = 0;
    while (next < TW_UDP_BATCH + 1) {
        const unsigned n = receive(f, &b);
        for (unsigned i = 0; i < n; i++, next++)
            if (next < TW_UDP_BATCH)
                assert_int_equal(tw_udp_batch_at(f->in, i)->data[0], next);
            else
                assert_int_equal(tw_udp_batch_at(f->in, i)->length, 4);
    }
    assert_int_equal(tw_udp_receive(&b, f->in, &f->clock), 0);
    tw_udp_close(&a);
    tw_udp_close(&b);
}

/* One destination that fails must cost only its own packet. */
static void sending_goes_on_behind_a_datagram_that_is_not_taken(void **state)
{
    struct fixture *f = *state;
    struct tw_udp a = open_on("127.0.0.1");
    struct tw_udp b = open_on("127.0.0.1");
    const struct tw_address broadcast = address_of("255.255.255.255", 9);
    fill(tw_udp_batch_at(f->out, 0), "first", 5, &b.local);
    fill(tw_udp_batch_at(f->out, 1), "never", 5, &broadcast);
    fill(tw_udp_batch_at(f->out, 2), "third", 5, &b.local);
    assert_int_equal(tw_udp_send(&a, f->out, 3), 1);
    assert_int_equal(tw_udp_send_from(&a, f->out, 1, 2), -EACCES);
    assert_int_equal(tw_udp_send_from(&a, f->out, 2, 1), 1);
    unsigned got = 0;
    while (got < 2) {
        const unsigned n = receive(f, &b);
        for (unsigned i = 0; i < n; i++, got++)
            assert_memory_equal(tw_udp_batch_at(f->in, i)->data, got == 0 ? "first" : "third", 5);
    }
    tw_udp_close(&a);
    tw_udp_close(&b);
}

/* ICMP from a closed port must not fail the next send, which may be to somebody else. */
static void unreachable_peer_does_not_fail_the_next_send(void **state)
{
    struct fixture *f = *state;
    struct tw_udp a = open_on("127.0.0.1");
    struct tw_udp b = open_on("127.0.0.1");
    struct tw_udp gone = open_on("127.0.0.1");
    tw_udp_close(&gone);
    for (int i = 0; i < 3; i++)
        send_text(f, &a, &gone.local, "anybody there?");
    send_text(f, &a, &b.local, "x");
    assert_int_equal(receive(f, &b), 1);
    assert_int_equal(tw_udp_receive(&a, f->in, &f->clock), 0);
    tw_udp_close(&a);
    tw_udp_close(&b);
}

static void kernel_stamps_follow_the_tests_offset(void **state)
{
    struct fixture *f = *state;
    static const int64_t offsets[] = {INT64_C(-86400) * TW_NS_PER_S, 12345,
                                      INT64_C(86400) * TW_NS_PER_S};
    struct tw_udp a = open_on("127.0.0.1");
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        f->clock.test_offset_ns = offsets[i];
        const struct tw_reading before = tw_clock_read(&f->clock);
        send_text(f, &a, &a.local, "x");
        assert_int_equal(receive(f, &a), 1);
        const struct tw_arrival *arrival = &tw_udp_batch_at(f->in, 0)->arrival;
        assert_int_equal(arrival->source, TW_SOURCE_KERNEL);
        assert_true(arrival->at.ns >= before.wall.ns);
        assert_true(arrival->at.ns <= arrival->read.wall.ns);
    }
    f->clock.test_offset_ns = 0;
    tw_udp_close(&a);
}

static void missing_stamp_is_replaced_by_the_time_of_reading(void **state)
{
    struct fixture *f = *state;
    struct tw_udp a = open_on("127.0.0.1");
    const int none = 0;
    assert_int_equal(setsockopt(a.fd, SOL_SOCKET, SO_TIMESTAMPING, &none, sizeof none), 0);
    send_text(f, &a, &a.local, "x");
    assert_int_equal(receive(f, &a), 1);
    const struct tw_arrival *arrival = &tw_udp_batch_at(f->in, 0)->arrival;
    assert_int_equal(arrival->source, TW_SOURCE_USER);
    assert_int_equal(arrival->at.ns, arrival->read.wall.ns);
    assert_false(a.stamped);
    tw_udp_close(&a);
}

/* Everything sent was either received or counted by the kernel. */
static void datagrams_that_find_no_room_are_counted(void **state)
{
    struct fixture *f = *state;
    struct tw_udp a = open_on("127.0.0.1");
    struct tw_udp b;
    const struct tw_udp_options options = {
        .bind = address_of("127.0.0.1", 0),
        .receive_buffer = 4096,
    };
    assert_int_equal(tw_udp_open(&b, &options), 0);
    static const uint8_t large[1000];
    unsigned received = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 64; i++) {
            fill(tw_udp_batch_at(f->out, 0), large, sizeof large, &b.local);
            assert_int_equal(tw_udp_send(&a, f->out, 1), 1);
        }
        int n;
        while ((n = tw_udp_receive(&b, f->in, &f->clock)) > 0)
            received += (unsigned)n;
    }
    send_text(f, &a, &b.local, "and what was lost?");
    received += receive(f, &b);
    assert_true(received < 129);
    assert_int_equal(b.kernel_drops + received, 129);
    tw_udp_close(&a);
    tw_udp_close(&b);
}

static void receive_buffer_is_as_large_as_asked(void **state)
{
    (void)state;
    struct tw_udp udp;
    const struct tw_udp_options options = {
        .bind = address_of("127.0.0.1", 0),
        .receive_buffer = 32768,
    };
    assert_int_equal(tw_udp_open(&udp, &options), 0);
    int octets = 0;
    socklen_t length = sizeof octets;
    assert_int_equal(getsockopt(udp.fd, SOL_SOCKET, SO_RCVBUF, &octets, &length), 0);
    assert_int_equal(octets, 2 * 32768); /* the kernel doubles it for its own needs */
    tw_udp_close(&udp);
}

static void socket_that_cannot_be_opened_says_why(void **state)
{
    (void)state;
    struct tw_udp udp;
    struct tw_udp_options options = {.bind = {.family = 0}};
    assert_int_equal(tw_udp_open(&udp, &options), -EAFNOSUPPORT);
    options.bind = address_of("192.0.2.77", 0);
    assert_int_equal(tw_udp_open(&udp, &options), -EADDRNOTAVAIL);
    assert_int_equal(udp.fd, -1);
    tw_udp_close(&udp);
    struct tw_udp first = open_on("127.0.0.1");
    options.bind = first.local;
    assert_int_equal(tw_udp_open(&udp, &options), -EADDRINUSE);
    tw_udp_close(&first);
}

static void passed_descriptor_is_prepared_in_the_same_way(void **state)
{
    struct fixture *f = *state;
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct tw_udp udp;
    assert_int_equal(tw_udp_adopt(&udp, fd), -EINVAL); /* not bound */
    const struct sockaddr_in any = {.sin_family = AF_INET};
    assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(tw_udp_adopt(&udp, fd), 0);
    assert_int_equal(udp.fd, fd);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    struct tw_udp a = open_on("127.0.0.1");
    const struct tw_address to = address_of("127.0.0.9", udp.local.port);
    send_text(f, &a, &to, "x");
    assert_int_equal(receive(f, &udp), 1);
    const struct tw_datagram *in = tw_udp_batch_at(f->in, 0);
    assert_true(tw_address_equal(&in->local, &to));
    assert_int_equal(in->arrival.ttl, 255);
    assert_int_equal(in->arrival.tos, 0);
    assert_int_equal(in->arrival.source, TW_SOURCE_KERNEL);
    tw_udp_close(&a);
    tw_udp_close(&udp);
}

static void unsuitable_descriptors_are_not_taken_over(void **state)
{
    struct fixture *f = *state;
    struct tw_udp udp;
    assert_int_equal(tw_udp_adopt(&udp, -1), -EINVAL);
    const int stream = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(tw_udp_adopt(&udp, stream), -EINVAL);
    assert_int_equal(close(stream), 0);
    const int local = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(tw_udp_adopt(&udp, local), -EAFNOSUPPORT);
    assert_int_equal(close(local), 0);
    if (!f->ip6)
        return;
    const int both = socket(AF_INET6, SOCK_DGRAM, 0);
    const int off = 0;
    assert_int_equal(setsockopt(both, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), 0);
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    assert_int_equal(bind(both, (const struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(tw_udp_adopt(&udp, both), -EAFNOSUPPORT);
    assert_int_equal(close(both), 0);
}

/* One of `sources`, a datagram from each: it must come out of the socket that the index names. */
static void check_spread(struct fixture *f, struct tw_udp *group, unsigned count,
                         const struct tw_address *to, struct tw_udp *sources, unsigned n,
                         unsigned *hits)
{
    for (unsigned i = 0; i < n; i++) {
        send_text(f, &sources[i], to, "x");
        const unsigned index = tw_udp_spread_index(&sources[i].local, count);
        assert_true(index < count);
        assert_int_equal(receive(f, &group[index]), 1);
        assert_true(tw_address_equal(&tw_udp_batch_at(f->in, 0)->remote, &sources[i].local));
        hits[index]++;
    }
}

static void spread_over(struct fixture *f, const char *any, const char *to_text,
                        struct tw_udp *sources, unsigned n)
{
    for (unsigned count = 1; count <= 4; count++) {
        struct tw_udp group[4];
        struct tw_udp_options options = {.bind = address_of(any, 0), .reuse_port = true};
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(tw_udp_open(&group[i], &options), 0);
            options.bind.port = group[0].local.port;
        }
        assert_int_equal(tw_udp_spread(&group[count / 2], count), 0);
        const struct tw_address to = address_of(to_text, group[0].local.port);
        unsigned hits[4] = {0};
        check_spread(f, group, count, &to, sources, n, hits);
        for (unsigned i = 0; i < count; i++) {
            /* Fewer than one run in a million leaves a socket out by chance. */
            assert_true(hits[i] > 0);
            assert_int_equal(tw_udp_receive(&group[i], f->in, &f->clock), 0);
            tw_udp_close(&group[i]);
        }
    }
}

enum { SOURCES = 60 };

static void close_all(struct tw_udp *sources, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        tw_udp_close(&sources[i]);
}

static void ipv4_datagram_reaches_the_socket_that_the_index_names(void **state)
{
    struct fixture *f = *state;
    struct tw_udp sources[SOURCES];
    for (unsigned i = 0; i < SOURCES; i++) {
        const struct tw_udp_options options = {
            .bind = {.family = 4, .octets = {127, (uint8_t)(i * 37), (uint8_t)i, 1}},
        };
        assert_int_equal(tw_udp_open(&sources[i], &options), 0);
    }
    spread_over(f, "0.0.0.0", "127.0.0.1", sources, SOURCES);
    close_all(sources, SOURCES);
}

/* Behind one translator all sessions have one address: the port must count. */
static void ports_of_one_address_are_spread(void **state)
{
    struct fixture *f = *state;
    struct tw_udp sources[SOURCES];
    for (unsigned i = 0; i < SOURCES; i++)
        sources[i] = open_on("127.0.0.1");
    spread_over(f, "127.0.0.1", "127.0.0.1", sources, SOURCES);
    close_all(sources, SOURCES);
}

static void ip_options_do_not_hide_the_port(void **state)
{
    struct fixture *f = *state;
    static const uint8_t no_operations[8] = {1, 1, 1, 1, 1, 1, 1, 0};
    struct tw_udp sources[SOURCES];
    for (unsigned i = 0; i < SOURCES; i++) {
        sources[i] = open_on("127.0.0.1");
        assert_int_equal(
            setsockopt(sources[i].fd, IPPROTO_IP, IP_OPTIONS, no_operations, sizeof no_operations),
            0);
    }
    spread_over(f, "127.0.0.1", "127.0.0.1", sources, SOURCES);
    close_all(sources, SOURCES);
}

static void ipv6_datagram_reaches_the_socket_that_the_index_names(void **state)
{
    struct fixture *f = *state;
    if (!f->ip6)
        skip();
    struct tw_udp sources[SOURCES];
    for (unsigned i = 0; i < SOURCES; i++)
        sources[i] = open_on("::1");
    spread_over(f, "::", "::1", sources, SOURCES);
    close_all(sources, SOURCES);
}

/* Loopback has only one IPv6 address; that each of the four words counts is shown by calculation.
 */
static void every_part_of_an_ipv6_address_counts(void **state)
{
    (void)state;
    for (size_t octet = 0; octet < 16; octet++) {
        struct tw_address address = address_of("2001:db8::1", 20000);
        unsigned seen = 0;
        for (unsigned value = 0; value < 64; value++) {
            address.octets[octet] = (uint8_t)value;
            seen |= 1U << tw_udp_spread_index(&address, 4);
        }
        assert_int_equal(seen, 0xf);
    }
}

static void spread_over_nothing_is_refused(void **state)
{
    (void)state;
    struct tw_udp udp = open_on("127.0.0.1");
    assert_int_equal(tw_udp_spread(&udp, 0), -EINVAL);
    tw_udp_close(&udp);
}

static void unused_part_of_a_batch_takes_no_memory(void **state)
{
    (void)state;
    struct tw_udp_batch *batch = tw_udp_batch_new();
    assert_non_null(batch);
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned resident = 0;
    for (unsigned i = 0; i < TW_UDP_BATCH; i++) {
        uint8_t *middle = tw_udp_batch_at(batch, i)->data + TW_UDP_BUFFER / 2;
        unsigned char in_core = 0;
        middle -= (uintptr_t)middle % page;
        assert_int_equal(mincore(middle, (size_t)page, &in_core), 0);
        resident += in_core & 1;
    }
    assert_int_equal(resident, 0);
    tw_udp_batch_free(batch);
    tw_udp_batch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_tells_all_of_an_ipv4_datagram),
        cmocka_unit_test(kernel_tells_all_of_an_ipv6_datagram),
        cmocka_unit_test(ttl_and_tos_are_those_of_the_packet),
        cmocka_unit_test(datagram_leaves_from_the_local_address_it_names),
        cmocka_unit_test(ipv6_datagram_leaves_from_the_local_address_it_names),
        cmocka_unit_test(ipv6_socket_leaves_ipv4_alone),
        cmocka_unit_test(every_size_arrives_whole),
        cmocka_unit_test(batch_keeps_the_order),
        cmocka_unit_test(sending_goes_on_behind_a_datagram_that_is_not_taken),
        cmocka_unit_test(unreachable_peer_does_not_fail_the_next_send),
        cmocka_unit_test(kernel_stamps_follow_the_tests_offset),
        cmocka_unit_test(missing_stamp_is_replaced_by_the_time_of_reading),
        cmocka_unit_test(datagrams_that_find_no_room_are_counted),
        cmocka_unit_test(receive_buffer_is_as_large_as_asked),
        cmocka_unit_test(socket_that_cannot_be_opened_says_why),
        cmocka_unit_test(passed_descriptor_is_prepared_in_the_same_way),
        cmocka_unit_test(unsuitable_descriptors_are_not_taken_over),
        cmocka_unit_test(ipv4_datagram_reaches_the_socket_that_the_index_names),
        cmocka_unit_test(ports_of_one_address_are_spread),
        cmocka_unit_test(ip_options_do_not_hide_the_port),
        cmocka_unit_test(ipv6_datagram_reaches_the_socket_that_the_index_names),
        cmocka_unit_test(every_part_of_an_ipv6_address_counts),
        cmocka_unit_test(spread_over_nothing_is_refused),
        cmocka_unit_test(unused_part_of_a_batch_takes_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
