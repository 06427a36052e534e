/* Where the engine's T1 comes from: lib/sys/engine.h against a peer on loopback.
 *
 * Some functions are the test's own (--wrap). What sends waits, as a busy machine makes it wait,
 * and notes between which two times each datagram was really handed over: the truth that every T1
 * of the kernel's is held against. Where the kernel is to fail, the other two make it: it does not
 * know the option, or never stamps, or stops. And an interface with a clock of its own is made up:
 * it stamps what leaves a little after the kernel, and what comes a little before. */
#include "twamp-config.h" /* GNU extensions: sendmmsg */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>

#include "lib/sys/clock.h"
#include "lib/sys/engine.h"
#include "lib/sys/nic_clock.h"
#include "lib/sys/socket.h"
#include "lib/sys/udp.h"

#include "loopback_peer.h"

#define MS TW_NS_PER_MS

enum { TARGETS = 3, PATIENCE_S = 60, COUNT = 5, WINDOWS = 4096, DELAY_MS = 5, WAIT_MS = 200 };

/* When the kernel had the datagrams of one call. */
struct window {
    int64_t from_ns, to_ns;
};

struct fixture {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned measurements[TARGETS];
    enum tw_source source[TARGETS]; /* of the last measurement */
    unsigned samples, by_interface, by_kernel, by_program, arrived_by_interface;
    unsigned wrong; /* samples whose T1 is not what its source says */
    bool lost;      /* a packet was, in any measurement */
    struct tw_engine *engine;
    pthread_t thread;
    struct loopback_peer peer;
};

static pthread_mutex_t windows_lock = PTHREAD_MUTEX_INITIALIZER;
static struct window windows[WINDOWS];
static unsigned window_count;

static _Thread_local bool is_engine; /* this is the engine's thread */
static struct tw_udp sink;           /* where datagrams go that the engine knows nothing of */
static atomic_bool fail_sends;       /* every second, after the kernel has given it a number */
static atomic_bool send_another;     /* once, behind the engine's back */
static atomic_bool silent;           /* no stamp gets through */
static atomic_bool late;             /* none is there yet when a send has returned */
static bool just_sent;               /* of the engine's thread */
static atomic_bool late_reads;       /* replies are read long after each send, and not at once */
static bool read_fails;              /* of the engine's thread: once, for somebody's ICMP error */

/* What the interface's clock shows less than the wall clock, and by how much its stamps differ from
 * the kernel's. */
enum { NIC_AFTER_NS = 900, NIC_BEFORE_NS = 700 };
static const int64_t nic_behind_ns = INT64_C(1234567) * MS;
static atomic_bool nic_stamps;   /* there is such an interface */
static atomic_bool nic_known;    /* and its clock is known */
static atomic_int nic_odd_in_ns; /* what comes is stamped by so much too late */
static atomic_int nic_odd_out_ns;
static atomic_uint nic_asked; /* sockets, that it is to stamp what leaves */

/* What the kernel can do. */
enum ability { KNOWS_ALL, KNOWS_NO_OPTION, NEVER_STAMPS };
static enum ability kernel;

int __real_setsockopt(int, int, int, const void *, socklen_t);
int __wrap_setsockopt(int, int, int, const void *, socklen_t);
int __real_sendmmsg(int, struct mmsghdr *, unsigned, int);
int __wrap_sendmmsg(int, struct mmsghdr *, unsigned, int);
int __real_recvmmsg(int, struct mmsghdr *, unsigned, int, struct timespec *);
int __wrap_recvmmsg(int, struct mmsghdr *, unsigned, int, struct timespec *);

bool __wrap_tw_nic_clocks_wall(struct tw_nic_clocks *, unsigned, int64_t, const struct tw_reading *,
                               tw_wall *);

bool __wrap_tw_nic_clocks_wall(struct tw_nic_clocks *clocks, unsigned interface, int64_t nic_ns,
                               const struct tw_reading *now, tw_wall *wall)
{
    (void)clocks;
    (void)now;
    wall->ns = nic_ns + nic_behind_ns;
    return atomic_load(&nic_known) && interface == if_nametoindex("lo");
}

static struct cmsghdr *stamps_of(struct msghdr *message, struct scm_timestamping *stamps)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    while (header != NULL &&
           (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SO_TIMESTAMPING))
        header = CMSG_NXTHDR(message, header);
    if (header != NULL)
        memcpy(stamps, CMSG_DATA(header), sizeof *stamps);
    return header;
}

/* The interface's stamp, `after_ns` from the kernel's; `alone`: that one is told elsewhere. */
static void add_nic_stamp(struct msghdr *message, int64_t after_ns, bool alone)
{
    struct scm_timestamping stamps;
    struct cmsghdr *header = stamps_of(message, &stamps);
    if (header == NULL)
        return;
    const int64_t ns = (int64_t)stamps.ts[0].tv_sec * TW_NS_PER_S + stamps.ts[0].tv_nsec +
                       after_ns - nic_behind_ns;
    stamps.ts[2] = (struct timespec){.tv_sec = (time_t)(ns / TW_NS_PER_S),
                                     .tv_nsec = (long)(ns % TW_NS_PER_S)};
    if (alone)
        stamps.ts[0] = (struct timespec){.tv_sec = 0};
    memcpy(CMSG_DATA(header), &stamps, sizeof stamps);
}

/* What leaves is told twice, as drivers do: by the kernel, and then by the interface. */
static int tell_twice(struct mmsghdr *messages, int n, unsigned room)
{
    if (n <= 0 || 2 * (unsigned)n > room)
        return n;
    for (int i = 0; i < n; i++) {
        struct msghdr *second = &messages[n + i].msg_hdr;
        memcpy(second->msg_control, messages[i].msg_hdr.msg_control,
               messages[i].msg_hdr.msg_controllen);
        second->msg_controllen = messages[i].msg_hdr.msg_controllen;
        second->msg_namelen = 0;
        add_nic_stamp(second, NIC_AFTER_NS + atomic_load(&nic_odd_out_ns), true);
    }
    return 2 * n;
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    int flags = 0;
    if (length >= sizeof flags)
        memcpy(&flags, value, sizeof flags);
    const bool stamping = is_engine && level == SOL_SOCKET && option == SO_TIMESTAMPING;
    if (stamping && (flags & SOF_TIMESTAMPING_TX_HARDWARE) != 0)
        atomic_fetch_add(&nic_asked, 1);
    if (!stamping || (flags & SOF_TIMESTAMPING_TX_SOFTWARE) == 0 || kernel == KNOWS_ALL)
        return __real_setsockopt(fd, level, option, value, length);
    if (kernel == KNOWS_NO_OPTION) {
        errno = EINVAL;
        return -1;
    }
    flags &= ~SOF_TIMESTAMPING_TX_SOFTWARE;
    return __real_setsockopt(fd, level, option, &flags, sizeof flags);
}

int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags,
                    struct timespec *timeout)
{
    if (!is_engine)
        return __real_recvmmsg(fd, messages, n, flags, timeout);
    if ((flags & MSG_ERRQUEUE) == 0 && read_fails) {
        read_fails = false;
        errno = ECONNREFUSED;
        return -1;
    }
    if ((flags & MSG_ERRQUEUE) == 0) {
        const int result = __real_recvmmsg(fd, messages, n, flags, timeout);
        for (int i = 0; i < result && atomic_load(&nic_stamps); i++)
            add_nic_stamp(&messages[i].msg_hdr, atomic_load(&nic_odd_in_ns) - NIC_BEFORE_NS, false);
        return result;
    }
    const bool too_early = just_sent && atomic_load(&late);
    just_sent = false;
    if (!too_early) {
        const int result = __real_recvmmsg(fd, messages, n, flags, timeout);
        if (!atomic_load(&silent))
            return atomic_load(&nic_asked) > 0 ? tell_twice(messages, result, n) : result;
    }
    errno = EAGAIN;
    return -1;
}

static int64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * TW_NS_PER_S + t.tv_nsec;
}

static void use_a_number(int fd)
{
    struct sockaddr_storage name;
    const socklen_t length = tw_sockaddr_from_address(&sink.local, &name);
    if (sendto(fd, "x", 1, MSG_DONTWAIT, (const struct sockaddr *)&name, length) != 1)
        abort();
}

int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
    static unsigned calls;
    if (!is_engine)
        return __real_sendmmsg(fd, messages, n, flags);
    if (atomic_load(&fail_sends) && calls++ % 2 == 0) {
        use_a_number(fd);
        errno = ECONNREFUSED;
        return -1;
    }
    just_sent = true;
    usleep(1000 * DELAY_MS);
    if (atomic_exchange(&send_another, false))
        use_a_number(fd);
    const int64_t from_ns = wall_ns();
    const int sent = __real_sendmmsg(fd, messages, n, flags);
    pthread_mutex_lock(&windows_lock);
    windows[window_count++ % WINDOWS] = (struct window){from_ns, wall_ns()};
    pthread_mutex_unlock(&windows_lock);
    if (atomic_load(&late_reads)) {
        read_fails = true;
        usleep(1000 * (WAIT_MS + 100));
    }
    return sent;
}

static bool was_sending_at(tw_wall t)
{
    bool was = false;
    pthread_mutex_lock(&windows_lock);
    for (unsigned i = 0; i < window_count && i < WINDOWS && !was; i++)
        was = t.ns >= windows[i].from_ns && t.ns <= windows[i].to_ns;
    pthread_mutex_unlock(&windows_lock);
    return was;
}

static void on_sample(void *user, void *target_user, const struct tw_sample *sample)
{
    struct fixture *f = user;
    (void)target_user;
    const enum tw_source source = sample->transmit_source;
    tw_wall handed_over = sample->t1;
    pthread_mutex_lock(&f->lock);
    f->samples++;
    if (source == TW_SOURCE_HARDWARE) {
        f->by_interface++;
        handed_over.ns -= NIC_AFTER_NS;
    } else if (source == TW_SOURCE_KERNEL) {
        f->by_kernel++;
    } else {
        f->by_program++;
    }
    if (sample->receive_source == TW_SOURCE_HARDWARE)
        f->arrived_by_interface++;
    if (was_sending_at(handed_over) != (source != TW_SOURCE_USER) || sample->t1.ns > sample->t4.ns)
        f->wrong++;
    pthread_mutex_unlock(&f->lock);
}

static void on_measurement(void *user, void *target_user, const struct tw_measurement *m)
{
    struct fixture *f = user;
    const size_t number = (size_t)((unsigned *)target_user - f->measurements);
    pthread_mutex_lock(&f->lock);
    f->measurements[number]++;
    f->source[number] = m->summary.transmit_source;
    if (m->summary.lost != 0 || m->summary.duplicates != 0)
        f->lost = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void add_with_count(struct fixture *f, unsigned number, const char *host, unsigned count)
{
    const struct tw_engine_target target = {
        .host = host,
        .probe =
            {
                .interval_ns = 400 * MS,
                .count = count,
                .packet_interval_ns = 20 * MS,
                .timeout_ns = 1000 * MS,
                .connect_ns = 2000 * MS,
                .resolve_ns = INT64_C(60000) * MS,
                .control_port = f->peer.control.port,
                .stateful = true,
                .client = {.mode = TW_MODE_UNAUTHENTICATED, .step_ns = 2000 * MS},
                .sender = {.padding_length = 27, .wait_ns = WAIT_MS * MS, .tai_utc_s = 37},
            },
        .user = &f->measurements[number],
    };
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
}

static void add(struct fixture *f, unsigned number, const char *host)
{
    add_with_count(f, number, host, COUNT);
}

static void *run_engine(void *argument)
{
    struct fixture *f = argument;
    is_engine = true;
    return tw_engine_run(f->engine) == 0 ? f : NULL;
}

static struct fixture *begin(const char *host)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    if (!loopback_peer_start(&f->peer, host, 0)) {
        free(f);
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    const struct tw_engine_config config = {
        .on_measurement = on_measurement,
        .on_sample = on_sample,
        .user = f,
    };
    f->engine = tw_engine_new(&config);
    assert_non_null(f->engine);
    window_count = 0;
    atomic_store(&fail_sends, false);
    atomic_store(&send_another, false);
    atomic_store(&silent, false);
    atomic_store(&late, false);
    atomic_store(&nic_stamps, false);
    atomic_store(&nic_known, false);
    atomic_store(&nic_odd_in_ns, 0);
    atomic_store(&nic_odd_out_ns, 0);
    atomic_store(&nic_asked, 0);
    atomic_store(&late_reads, false);
    kernel = KNOWS_ALL;
    return f;
}

static void run(struct fixture *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, run_engine, f), 0);
}

/* Until that target has been measured so many times more, the last time with this source. */
static void wait_for(struct fixture *f, unsigned number, unsigned more, enum tw_source source)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&f->lock);
    const unsigned least = f->measurements[number] + more;
    int result = 0;
    while ((f->measurements[number] < least || f->source[number] != source) && result == 0)
        result = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(result, 0);
}

/* What was counted may be looked at after this. */
static void stop(struct fixture *f)
{
    void *result;
    tw_engine_stop(f->engine);
    assert_int_equal(pthread_join(f->thread, &result), 0);
    assert_non_null(result);
    assert_true(f->samples > 0);
    assert_int_equal(f->wrong, 0);
}

static void finish(struct fixture *f)
{
    loopback_peer_stop(&f->peer);
    tw_engine_free(f->engine);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}

static int64_t processor_ns(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (int64_t)t.tv_sec * TW_NS_PER_S + t.tv_nsec;
}

/* However long the program waits between its own stamp and the send; and without a spinning
 * thread, although each stamp wakes it. */
static void stamp_the_kernel(const char *host)
{
    struct fixture *f = begin(host);
    if (f == NULL) {
        skip();
        return;
    }
    add(f, 0, host);
    const int64_t processor = processor_ns();
    const tw_mono begun = tw_clock_mono();
    run(f);
    wait_for(f, 0, 4, TW_SOURCE_KERNEL);
    assert_true(processor_ns() - processor < (tw_clock_mono().ns - begun.ns) / 2);
    stop(f);
    assert_int_equal(f->by_program, 0);
    assert_true(f->by_kernel >= 3 * COUNT);
    assert_int_equal(tw_engine_counters(f->engine).wrong_stamps, 0);
    assert_int_equal(tw_engine_counters(f->engine).kernel_drops, 0);
    finish(f);
}

static void t1_is_when_the_kernel_had_the_packet(void **state)
{
    (void)state;
    stamp_the_kernel("127.0.0.1");
}

static void t1_is_when_the_kernel_had_the_ipv6_packet(void **state)
{
    (void)state;
    stamp_the_kernel("::1");
}

/* A driver may stamp when the send has long returned; but not after the reply. */
static void a_stamp_that_comes_before_the_reply_is_in_time(void **state)
{
    (void)state;
    struct fixture *f = begin("127.0.0.1");
    assert_non_null(f);
    add(f, 0, "127.0.0.1");
    atomic_store(&late, true);
    run(f);
    wait_for(f, 0, 3, TW_SOURCE_KERNEL);
    stop(f);
    assert_int_equal(f->by_program, 0);
    finish(f);
}

static void targets_on_one_socket_have_stamps_of_their_own(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};
    struct fixture *f = begin("0.0.0.0");
    assert_non_null(f);
    for (unsigned i = 0; i < TARGETS; i++)
        add(f, i, hosts[i]);
    run(f);
    for (unsigned i = 0; i < TARGETS; i++)
        wait_for(f, i, 3, TW_SOURCE_KERNEL);
    stop(f);
    assert_int_equal(f->by_program, 0);
    finish(f);
}

static void the_program_stamps_for_a_kernel(enum ability ability)
{
    struct fixture *f = begin("127.0.0.1");
    assert_non_null(f);
    add(f, 0, "127.0.0.1");
    kernel = ability;
    run(f);
    wait_for(f, 0, 3, TW_SOURCE_USER);
    stop(f);
    assert_int_equal(f->by_kernel, 0);
    finish(f);
}

static void the_program_stamps_for_a_kernel_without_the_option(void **state)
{
    (void)state;
    the_program_stamps_for_a_kernel(KNOWS_NO_OPTION);
}

static void the_program_stamps_for_a_driver_that_never_does(void **state)
{
    (void)state;
    the_program_stamps_for_a_kernel(NEVER_STAMPS);
}

static void stamps_may_stop_and_come_again(void **state)
{
    (void)state;
    struct fixture *f = begin("127.0.0.1");
    assert_non_null(f);
    add(f, 0, "127.0.0.1");
    run(f);
    wait_for(f, 0, 1, TW_SOURCE_KERNEL);
    atomic_store(&silent, true);
    wait_for(f, 0, 2, TW_SOURCE_USER);
    atomic_store(&silent, false);
    wait_for(f, 0, 1, TW_SOURCE_KERNEL);
    stop(f);
    assert_int_equal(tw_engine_counters(f->engine).wrong_stamps, 0);
    finish(f);
}

/* And is not asked about departures before its clock is known: it may have room for one only, which
 * others need. */
static void prefer_the_interface(const char *host)
{
    struct fixture *f = begin(host);
    if (f == NULL) {
        skip();
        return;
    }
    add(f, 0, host);
    atomic_store(&nic_stamps, true);
    run(f);
    wait_for(f, 0, 2, TW_SOURCE_KERNEL);
    assert_int_equal(atomic_load(&nic_asked), 0);
    atomic_store(&nic_known, true);
    wait_for(f, 0, 3, TW_SOURCE_HARDWARE);
    stop(f);
    assert_int_equal(atomic_load(&nic_asked), 1);
    assert_int_equal(f->by_program, 0);
    assert_true(f->by_interface >= 2 * COUNT);
    assert_true(f->arrived_by_interface >= f->by_interface);
    assert_int_equal(tw_engine_counters(f->engine).wrong_stamps, 0);
    finish(f);
}

static void an_interface_that_stamps_by_itself_is_preferred(void **state)
{
    (void)state;
    prefer_the_interface("127.0.0.1");
}

static void an_interface_that_stamps_ipv6_by_itself_is_preferred(void **state)
{
    (void)state;
    prefer_the_interface("::1");
}

/* Of a clock that is believed and wrong, or of one that is right while ours was stepped between two
 * stamps. */
static const int odds_ns[] = {1000000000, -1000000000, 50000000, -50000000};
enum { ODDS = sizeof odds_ns / sizeof odds_ns[0] };

/* An interface whose stamps are off by each of the odds, some results of each. */
static struct fixture *measure_beside_odds(atomic_int *off_ns)
{
    struct fixture *f = begin("127.0.0.1");
    assert_non_null(f);
    add(f, 0, "127.0.0.1");
    atomic_store(&nic_stamps, true);
    atomic_store(&nic_known, true);
    atomic_store(off_ns, odds_ns[0]);
    run(f);
    for (int i = 0; i < ODDS; i++) {
        atomic_store(off_ns, odds_ns[i]);
        wait_for(f, 0, 2, TW_SOURCE_KERNEL);
    }
    stop(f);
    return f;
}

static void arrivals_that_do_not_fit_the_kernels_are_left_alone(void **state)
{
    (void)state;
    struct fixture *f = measure_beside_odds(&nic_odd_in_ns);
    assert_int_equal(atomic_load(&nic_asked), 0);
    assert_int_equal(f->by_interface + f->arrived_by_interface + f->by_program, 0);
    assert_int_equal(tw_engine_counters(f->engine).wrong_stamps, 0);
    finish(f);
}

static void departures_that_do_not_fit_the_kernels_are_left_alone(void **state)
{
    (void)state;
    struct fixture *f = measure_beside_odds(&nic_odd_out_ns);
    assert_int_equal(atomic_load(&nic_asked), 1);
    assert_int_equal(f->by_interface + f->by_program, 0);
    assert_true(f->arrived_by_interface >= ODDS * COUNT);
    assert_int_equal(tw_engine_counters(f->engine).wrong_stamps, 0);
    finish(f);
}

/* The kernel has given each a number, as older kernels do; no stamp goes to another packet. */
static void sends_that_fail_do_not_confuse_the_stamps(void **state)
{
    (void)state;
    struct fixture *f = begin("0.0.0.0");
    assert_non_null(f);
    add(f, 0, "127.0.0.1");
    add(f, 1, "127.0.0.2");
    atomic_store(&fail_sends, true);
    run(f);
    for (unsigned i = 0; i < 2; i++)
        wait_for(f, i, 3, TW_SOURCE_KERNEL);
    stop(f);
    assert_int_equal(f->by_program, 0);
    assert_int_equal(tw_engine_counters(f->engine).send_failures, 0);
    assert_int_equal(tw_engine_counters(f->engine).wrong_stamps, 0);
    finish(f);
}

/* For a reason that nobody knows: the stamps of some packets are lost, none is wrong, and then the
 * numbers are right again. */
static void numbers_that_are_out_of_step_are_found_out(void **state)
{
    (void)state;
    struct fixture *f = begin("127.0.0.1");
    assert_non_null(f);
    add(f, 0, "127.0.0.1");
    run(f);
    wait_for(f, 0, 1, TW_SOURCE_KERNEL);
    for (int i = 0; i < 2; i++) {
        atomic_store(&send_another, true);
        wait_for(f, 0, 1, TW_SOURCE_USER);
        wait_for(f, 0, 1, TW_SOURCE_KERNEL);
    }
    stop(f);
    assert_true(tw_engine_counters(f->engine).wrong_stamps >= 2);
    finish(f);
}

/* What ICMP says of others comes before what has arrived: that is still read in the same turn,
 * before a packet is given up. */
static void reply_behind_an_icmp_error_is_in_time(void **state)
{
    (void)state;
    struct fixture *f = begin("127.0.0.1");
    assert_non_null(f);
    add_with_count(f, 0, "127.0.0.1", 1);
    atomic_store(&late_reads, true);
    run(f);
    wait_for(f, 0, 3, TW_SOURCE_KERNEL);
    stop(f);
    assert_false(f->lost);
    finish(f);
}

static int open_sink(void **state)
{
    (void)state;
    const struct tw_udp_options options = {.bind = {.family = 4, .octets = {127, 0, 0, 99}}};
    return tw_udp_open(&sink, &options);
}

static int close_sink(void **state)
{
    (void)state;
    tw_udp_close(&sink);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(t1_is_when_the_kernel_had_the_packet),
        cmocka_unit_test(t1_is_when_the_kernel_had_the_ipv6_packet),
        cmocka_unit_test(a_stamp_that_comes_before_the_reply_is_in_time),
        cmocka_unit_test(targets_on_one_socket_have_stamps_of_their_own),
        cmocka_unit_test(the_program_stamps_for_a_kernel_without_the_option),
        cmocka_unit_test(the_program_stamps_for_a_driver_that_never_does),
        cmocka_unit_test(stamps_may_stop_and_come_again),
        cmocka_unit_test(an_interface_that_stamps_by_itself_is_preferred),
        cmocka_unit_test(an_interface_that_stamps_ipv6_by_itself_is_preferred),
        cmocka_unit_test(arrivals_that_do_not_fit_the_kernels_are_left_alone),
        cmocka_unit_test(departures_that_do_not_fit_the_kernels_are_left_alone),
        cmocka_unit_test(sends_that_fail_do_not_confuse_the_stamps),
        cmocka_unit_test(numbers_that_are_out_of_step_are_found_out),
        cmocka_unit_test(reply_behind_an_icmp_error_is_in_time),
    };
    return cmocka_run_group_tests(tests, open_sink, close_sink);
}
