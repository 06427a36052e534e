/* lib/sys/udp.h: what the kernel tells of datagrams that were sent, on loopback. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/net_tstamp.h>

#include "lib/sys/socket.h"
#include "lib/sys/udp.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

enum { PATIENCE_MS = 10000, MANY = 3 * TW_UDP_NOTICES + 5 };

/* One side asks for notices, the other takes what is sent. */
struct fixture {
    struct tw_clock clock;
    struct tw_udp_batch *batch;
    const char *host;
    struct tw_udp a, b;
    struct tw_udp_notice notices[MANY];
};

int __real_setsockopt(int, int, int, const void *, socklen_t);
int __wrap_setsockopt(int, int, int, const void *, socklen_t);
static bool no_transmit_stamps; /* as on a kernel that does not know them */
static bool no_nic_stamps;      /* nor those of interfaces, or where they are from */

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    int flags = 0;
    if (length >= sizeof flags)
        memcpy(&flags, value, sizeof flags);
    const int refused = (no_transmit_stamps ? SOF_TIMESTAMPING_OPT_ID : 0) |
                        (no_nic_stamps ? SOF_TIMESTAMPING_OPT_PKTINFO : 0);
    if (level == SOL_SOCKET && option == SO_TIMESTAMPING && (flags & refused) != 0) {
        errno = EINVAL;
        return -1;
    }
    return __real_setsockopt(fd, level, option, value, length);
}

static int open_on(const char *text, int receive_buffer, struct tw_udp *udp)
{
    struct tw_udp_options options = {.receive_buffer = receive_buffer};
    assert_true(tw_address_parse(text, &options.bind));
    return tw_udp_open(udp, &options);
}

static bool begin(struct fixture *f, const char *host)
{
    *f = (struct fixture){.host = host, .a = {.fd = -1}, .b = {.fd = -1}};
    no_transmit_stamps = false;
    no_nic_stamps = false;
    if (open_on(host, 0, &f->a) != 0)
        return false;
    assert_int_equal(open_on(host, 1024 * 1024, &f->b), 0);
    tw_clock_init(&f->clock, 0);
    f->batch = tw_udp_batch_new();
    assert_non_null(f->batch);
    return true;
}

static void finish(struct fixture *f)
{
    tw_udp_batch_free(f->batch);
    tw_udp_close(&f->a);
    tw_udp_close(&f->b);
}

static void put(const struct fixture *f, unsigned i, const struct tw_address *to, size_t length)
{
    struct tw_datagram *datagram = tw_udp_batch_at(f->batch, i);
    memset(datagram->data, 'x', length);
    datagram->length = length;
    datagram->remote = *to;
    datagram->local = (struct tw_address){.family = 0};
    datagram->interface = 0;
    datagram->tos = 0;
}

static void send_one(struct fixture *f, const struct tw_address *to)
{
    put(f, 0, to, 41);
    assert_int_equal(tw_udp_send(&f->a, f->batch, 1), 1);
}

static struct tw_address closed_port(const struct fixture *f)
{
    struct tw_udp gone;
    assert_int_equal(open_on(f->host, 0, &gone), 0);
    const struct tw_address address = gone.local;
    tw_udp_close(&gone);
    return address;
}

/* Waits until `count` notices have come, and takes them. */
static void take(struct fixture *f, unsigned count)
{
    unsigned n = 0;
    while (n < count) {
        struct pollfd ready = {.fd = f->a.fd, .events = 0};
        assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        struct tw_udp_notice notices[TW_UDP_NOTICES];
        const int taken = tw_udp_take_notices(&f->a, &f->clock, notices);
        assert_true(taken > 0 && (unsigned)taken <= TW_UDP_NOTICES && n + (unsigned)taken <= count);
        memcpy(&f->notices[n], notices, (unsigned)taken * sizeof notices[0]);
        n += (unsigned)taken;
    }
}

static void assert_no_notice(struct fixture *f)
{
    struct tw_udp_notice notices[TW_UDP_NOTICES];
    assert_int_equal(tw_udp_take_notices(&f->a, &f->clock, notices), 0);
    struct pollfd ready = {.fd = f->a.fd, .events = 0};
    assert_int_equal(poll(&ready, 1, 0), 0);
}

static void with_host(const char *host, void (*test)(struct fixture *f))
{
    struct fixture f;
    if (!begin(&f, host)) {
        skip();
        return;
    }
    test(&f);
    finish(&f);
}

#define ON_BOTH_FAMILIES(test)                                                                     \
    static void test##_ipv4(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        with_host("127.0.0.1", test);                                                              \
    }                                                                                              \
    static void test##_ipv6(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        with_host("::1", test);                                                                    \
    }

/* Whoever wants to know is told who refused, and sends to the others at the second attempt. */
static void refusals_are_told_to_whom_they_concern(struct fixture *f)
{
    const struct tw_address gone = closed_port(f);
    assert_int_equal(tw_udp_report_errors(&f->a), 0);
    assert_no_notice(f);
    send_one(f, &gone);
    struct pollfd ready = {.fd = f->a.fd, .events = 0};
    assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
    assert_int_equal(ready.revents, POLLERR);
    put(f, 0, &f->b.local, 41);
    assert_int_equal(tw_udp_send(&f->a, f->batch, 1), -ECONNREFUSED);
    assert_int_equal(tw_udp_send(&f->a, f->batch, 1), 1);
    take(f, 1);
    assert_int_equal(f->notices[0].kind, TW_UDP_ERROR);
    assert_int_equal(f->notices[0].error, ECONNREFUSED);
    assert_true(tw_address_equal(&f->notices[0].remote, &gone));
    assert_no_notice(f);
}
ON_BOTH_FAMILIES(refusals_are_told_to_whom_they_concern)

/* An error that was taken fails nothing any more. */
static void who_takes_refusals_first_sends_at_the_first_attempt(struct fixture *f)
{
    const struct tw_address gone = closed_port(f);
    assert_int_equal(tw_udp_report_errors(&f->a), 0);
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    for (int i = 0; i < 3; i++) {
        send_one(f, &gone);
        take(f, 2);
        send_one(f, &f->b.local);
        take(f, 1);
    }
    assert_no_notice(f);
}
ON_BOTH_FAMILIES(who_takes_refusals_first_sends_at_the_first_attempt)

/* The stamp of each lies between two readings of the clock around its departure. */
static void tell_departures(struct fixture *f, bool by_nic)
{
    assert_int_equal(tw_udp_report_departures(&f->a, by_nic), 0);
    assert_true(f->a.departures);
    for (uint32_t i = 0; i < 5; i++) {
        const struct tw_reading before = tw_clock_read(&f->clock);
        send_one(f, &f->b.local);
        take(f, 1);
        const struct tw_reading after = tw_clock_read(&f->clock);
        const struct tw_udp_notice *notice = &f->notices[0];
        assert_int_equal(notice->kind, TW_UDP_DEPARTURE);
        assert_int_equal(notice->id, i);
        assert_true(notice->at.ns >= before.wall.ns && notice->at.ns <= after.wall.ns);
    }
    assert_no_notice(f);
}

static void departures_are_told_by_number_and_time(struct fixture *f)
{
    assert_false(f->a.departures);
    tell_departures(f, false);
}
ON_BOTH_FAMILIES(departures_are_told_by_number_and_time)

/* Whether or not the kernel knows how, loopback has no clock of its own. */
static void departures_are_told_where_interfaces_do_not_stamp(struct fixture *f)
{
    tell_departures(f, true);
    no_nic_stamps = true;
    tell_departures(f, true);
    tell_departures(f, false);
}
ON_BOTH_FAMILIES(departures_are_told_where_interfaces_do_not_stamp)

/* More than one call sends, more than one call takes; in the order of sending, on loopback. */
static void every_datagram_of_a_batch_has_a_stamp_of_its_own(struct fixture *f)
{
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    unsigned sent = 0;
    while (sent < MANY) {
        const unsigned n = MANY - sent < TW_UDP_BATCH ? MANY - sent : TW_UDP_BATCH;
        for (unsigned i = 0; i < n; i++)
            put(f, i, &f->b.local, 41);
        assert_int_equal(tw_udp_send(&f->a, f->batch, n), n);
        sent += n;
    }
    take(f, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(f->notices[i].kind, TW_UDP_DEPARTURE);
        assert_int_equal(f->notices[i].id, i);
        assert_true(i == 0 || f->notices[i].at.ns >= f->notices[i - 1].at.ns);
    }
    assert_no_notice(f);
}
ON_BOTH_FAMILIES(every_datagram_of_a_batch_has_a_stamp_of_its_own)

/* What is cut into fragments leaves once. */
static void a_large_datagram_has_one_stamp(struct fixture *f)
{
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    static const size_t sizes[] = {65000, 0, 1472};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        put(f, 0, &f->b.local, sizes[i]);
        assert_int_equal(tw_udp_send(&f->a, f->batch, 1), 1);
        take(f, 1);
        assert_int_equal(f->notices[0].id, i);
    }
    assert_no_notice(f);
}
ON_BOTH_FAMILIES(a_large_datagram_has_one_stamp)

static void stamps_and_refusals_come_mixed(struct fixture *f)
{
    const struct tw_address gone = closed_port(f);
    assert_int_equal(tw_udp_report_errors(&f->a), 0);
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    send_one(f, &f->b.local);
    send_one(f, &gone);
    struct pollfd ready = {.fd = f->a.fd, .events = 0};
    assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
    take(f, 3);
    unsigned stamps = 0;
    unsigned errors = 0;
    for (unsigned i = 0; i < 3; i++)
        if (f->notices[i].kind == TW_UDP_DEPARTURE) {
            assert_int_equal(f->notices[i].id, stamps++);
        } else {
            assert_int_equal(f->notices[i].kind, TW_UDP_ERROR);
            assert_true(tw_address_equal(&f->notices[i].remote, &gone));
            errors++;
        }
    assert_int_equal(stamps, 2);
    assert_int_equal(errors, 1);
    assert_no_notice(f);
}
ON_BOTH_FAMILIES(stamps_and_refusals_come_mixed)

/* A stamp, unlike a refusal, makes neither a send nor a receive fail. */
static void stamps_that_nobody_takes_harm_nothing(struct fixture *f)
{
    assert_int_equal(tw_udp_report_errors(&f->a), 0);
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    for (unsigned i = 0; i < MANY; i++)
        send_one(f, &f->a.local);
    unsigned received = 0;
    while (received < MANY) {
        struct pollfd ready = {.fd = f->a.fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        const int n = tw_udp_receive(&f->a, f->batch, &f->clock);
        assert_true(n > 0);
        for (unsigned i = 0; i < (unsigned)n; i++)
            assert_int_equal(tw_udp_batch_at(f->batch, i)->arrival.ttl, 255);
        received += (unsigned)n;
    }
    assert_int_equal(f->a.kernel_drops, 0);
    take(f, MANY);
    assert_no_notice(f);
}
ON_BOTH_FAMILIES(stamps_that_nobody_takes_harm_nothing)

/* However an error has left the count: asked again, the kernel begins anew. */
static void numbers_begin_anew_when_asked_again(struct fixture *f)
{
    const struct tw_address broadcast = {.family = 4, .octets = {255, 255, 255, 255}, .port = 9};
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    send_one(f, &f->b.local);
    put(f, 0, &f->b.local, 41);
    put(f, 1, &broadcast, 41);
    if (f->a.local.family == 4)
        assert_int_equal(tw_udp_send(&f->a, f->batch, 2), 1);
    else
        assert_int_equal(tw_udp_send(&f->a, f->batch, 1), 1);
    take(f, 2);
    assert_int_equal(f->notices[1].id, 1);
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    send_one(f, &f->b.local);
    send_one(f, &f->b.local);
    take(f, 2);
    assert_int_equal(f->notices[0].id, 0);
    assert_int_equal(f->notices[1].id, 1);
}
ON_BOTH_FAMILIES(numbers_begin_anew_when_asked_again)

/* What arrives has its stamps as before, also while numbers begin anew. */
static void arrivals_are_stamped_too(struct fixture *f)
{
    const int stamping = tw_udp_keep_stamping();
    assert_true(stamping >= 0);
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    for (int i = 0; i < 200 && !f->a.stamped; i++) {
        assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
        send_one(f, &f->a.local);
        struct pollfd ready = {.fd = f->a.fd, .events = POLLIN};
        do {
            assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        } while ((ready.revents & POLLIN) == 0);
        assert_int_equal(tw_udp_receive(&f->a, f->batch, &f->clock), 1);
        take(f, 1);
        if (!f->a.stamped)
            nanosleep(&(struct timespec){.tv_nsec = 10 * TW_NS_PER_MS}, NULL);
    }
    assert_true(f->a.stamped);
    tw_udp_close(&(struct tw_udp){.fd = stamping});
}
ON_BOTH_FAMILIES(arrivals_are_stamped_too)

static void departures_follow_the_tests_offset(struct fixture *f)
{
    static const int64_t offsets[] = {INT64_C(-86400) * TW_NS_PER_S, 12345,
                                      INT64_C(86400) * TW_NS_PER_S};
    assert_int_equal(tw_udp_report_departures(&f->a, false), 0);
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        f->clock.test_offset_ns = offsets[i];
        const struct tw_reading before = tw_clock_read(&f->clock);
        send_one(f, &f->b.local);
        take(f, 1);
        const struct tw_reading after = tw_clock_read(&f->clock);
        assert_true(f->notices[0].at.ns >= before.wall.ns);
        assert_true(f->notices[0].at.ns <= after.wall.ns);
    }
}
ON_BOTH_FAMILIES(departures_follow_the_tests_offset)

static void without_asking_nothing_is_told(struct fixture *f)
{
    send_one(f, &f->b.local);
    assert_int_equal(tw_udp_receive(&f->b, f->batch, &f->clock), 1);
    assert_no_notice(f);
}
ON_BOTH_FAMILIES(without_asking_nothing_is_told)

/* A kernel without transmit timestamps: no departure, and everything else as ever. */
static void kernel_that_does_not_know_the_option_says_so(struct fixture *f)
{
    no_transmit_stamps = true;
    assert_int_equal(tw_udp_report_departures(&f->a, false), -EINVAL);
    assert_false(f->a.departures);
    no_transmit_stamps = false;
    int flags = 0;
    socklen_t length = sizeof flags;
    assert_int_equal(getsockopt(f->a.fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, &length), 0);
    assert_int_equal(flags, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE);
    send_one(f, &f->b.local);
    assert_no_notice(f);
}
ON_BOTH_FAMILIES(kernel_that_does_not_know_the_option_says_so)

static void closed_descriptor_is_an_error(void **state)
{
    (void)state;
    struct tw_udp udp = {.fd = -1};
    struct tw_clock clock;
    struct tw_udp_notice notices[TW_UDP_NOTICES];
    tw_clock_init(&clock, 0);
    assert_int_equal(tw_udp_report_departures(&udp, false), -EBADF);
    assert_int_equal(tw_udp_report_errors(&udp), -EBADF);
    assert_int_equal(tw_udp_take_notices(&udp, &clock, notices), -EBADF);
}

#define BOTH(test) cmocka_unit_test(test##_ipv4), cmocka_unit_test(test##_ipv6)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(refusals_are_told_to_whom_they_concern),
        BOTH(who_takes_refusals_first_sends_at_the_first_attempt),
        BOTH(departures_are_told_by_number_and_time),
        BOTH(departures_are_told_where_interfaces_do_not_stamp),
        BOTH(every_datagram_of_a_batch_has_a_stamp_of_its_own),
        BOTH(a_large_datagram_has_one_stamp),
        BOTH(stamps_and_refusals_come_mixed),
        BOTH(stamps_that_nobody_takes_harm_nothing),
        BOTH(numbers_begin_anew_when_asked_again),
        BOTH(arrivals_are_stamped_too),
        BOTH(departures_follow_the_tests_offset),
        BOTH(without_asking_nothing_is_told),
        BOTH(kernel_that_does_not_know_the_option_says_so),
        cmocka_unit_test(closed_descriptor_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
