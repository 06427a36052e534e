/* lib/sys/engine.h against a real peer on loopback, in real time. Other work on the machine may
 * delay anything: a test waits for what must come at last, and holds only what holds at any speed
 * against every measurement.
 *
 * Three functions are the test's own (--wrap): names that hang, are unknown or known, a kernel that
 * does not take every datagram of the engine's thread, and keys that are counted or take long. */
#include "twamp-config.h" /* GNU extensions: pthread_getname_np */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "lib/sys/engine.h"
#include "lib/sys/engine_loop.h"
#include "lib/sys/socket.h"
#include "lib/sys/udp.h"

#include "loopback_peer.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])
#define MS            TW_NS_PER_MS
#define STEP_NS       (INT64_C(3600) * TW_NS_PER_S)

enum { TARGETS = 12, PATIENCE_S = 60, COUNT = 5 };

/* What the targets told, as seen by the test's thread. */
struct news {
    struct tw_measurement last;
    tw_mono first;  /* when the first one's interval began */
    unsigned count; /* measurements */
    unsigned good;  /* of them: everything sent and answered, quickly */
    unsigned states[TW_MEASUREMENT_NAME + 1];
    unsigned stepped; /* of them: everything answered, though a clock step spoilt a delay */
    bool broken;      /* something was seen that must never be */
};

struct fixture {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct news news[TARGETS];
    struct tw_engine *engine;
    pthread_t thread;
    int result;
    struct loopback_peer peer;
};

static sem_t let_go;
static atomic_uint hanging;
static atomic_uint moves;        /* of a name to another address, at each look-up */
static atomic_bool refuse;       /* some of what the engine's thread sends */
static atomic_bool refusals;     /* ICMP errors of others fail what it sends */
static atomic_bool unreachables; /* the same with errors that the kernel may say by itself */
static atomic_int forbidden;     /* errno of all that it sends */
static atomic_uint forbidden_calls;
static struct tw_clock *stepped;     /* by hours to and fro, behind packets that it sent */
static struct tw_clock *suspended;   /* for an hour, behind a packet that it sent; once */
static atomic_uint stop_ms;          /* so long the engine's thread is stopped; once */
static _Thread_local bool is_engine; /* this is the engine's thread */
static atomic_uint derivations;
static atomic_bool derive_on_engine; /* a key was derived on the engine's thread */
static atomic_uint derive_ms;        /* how long it takes the engine's helpers, at least */

int __real_getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int __wrap_getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int __real_sendmmsg(int, struct mmsghdr *, unsigned, int);
int __wrap_sendmmsg(int, struct mmsghdr *, unsigned, int);
void __real_tw_derive_key(const uint8_t *, size_t, const uint8_t[16], uint32_t,
                          uint8_t[TW_AES_KEY_SIZE]);
void __wrap_tw_derive_key(const uint8_t *, size_t, const uint8_t[16], uint32_t,
                          uint8_t[TW_AES_KEY_SIZE]);

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    if (strcmp(host, "nowhere") == 0)
        return EAI_NONAME;
    if (strcmp(host, "hang") == 0) {
        atomic_fetch_add(&hanging, 1);
        while (sem_wait(&let_go) != 0)
            ;
        return EAI_AGAIN;
    }
    if (strcmp(host, "moves") == 0)
        host = atomic_fetch_add(&moves, 1) % 2 == 0 ? "127.0.0.2" : "127.0.0.1";
    if (strcmp(host, "here") == 0)
        host = "127.0.0.1";
    return __real_getaddrinfo(host, service, hints, list);
}

void __wrap_tw_derive_key(const uint8_t *passphrase, size_t n, const uint8_t salt[16],
                          uint32_t count, uint8_t key[TW_AES_KEY_SIZE])
{
    atomic_fetch_add(&derivations, 1);
    if (is_engine)
        atomic_store(&derive_on_engine, true);
    if (n == 4 && memcmp(passphrase, "hang", n) == 0) {
        atomic_fetch_add(&hanging, 1);
        while (sem_wait(&let_go) != 0)
            ;
    }
    char name[16] = "";
    (void)pthread_getname_np(pthread_self(), name, sizeof name);
    if (strcmp(name, "twamp-keys") == 0)
        usleep(1000 * atomic_load(&derive_ms));
    __real_tw_derive_key(passphrase, n, salt, count, key);
}

/* A real error for a packet of nobody's, to a port where nobody is. */
static void provoke_icmp(int fd)
{
    const struct tw_address nobody = {.family = 4, .octets = {127, 0, 0, 1}, .port = 1};
    struct sockaddr_storage name;
    const socklen_t length = tw_sockaddr_from_address(&nobody, &name);
    (void)sendto(fd, "x", 1, MSG_DONTWAIT, (const struct sockaddr *)&name, length);
}

int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
    static const int errors[] = {ENETUNREACH, EAGAIN};
    static unsigned calls;
    if (is_engine && atomic_load(&forbidden) != 0) {
        atomic_fetch_add(&forbidden_calls, 1);
        errno = atomic_load(&forbidden);
        return -1;
    }
    if (is_engine && atomic_load(&unreachables) && calls++ % 5 != 4) {
        provoke_icmp(fd);
        errno = EHOSTUNREACH;
        return -1;
    }
    if (is_engine && atomic_load(&refusals) && calls++ % 5 != 4) {
        errno = ECONNREFUSED;
        return -1;
    }
    if (is_engine && atomic_load(&refuse) && calls++ % 3 == 0) {
        errno = errors[calls % 2];
        return -1;
    }
    const int sent = __real_sendmmsg(fd, messages, n, flags);
    if (is_engine && stepped != NULL && calls++ % 7 == 0)
        stepped->test_offset_ns += calls % 2 == 0 ? STEP_NS : -STEP_NS / 3;
    if (is_engine && suspended != NULL && calls++ % 32 == 12) {
        suspended->test_suspended_ns += STEP_NS;
        suspended = NULL;
    }
    if (is_engine)
        usleep(1000 * atomic_exchange(&stop_ms, 0));
    return sent;
}

static bool is_good(const struct tw_measurement *m)
{
    return m->state == TW_MEASUREMENT_OK && m->session && m->summary.sent == COUNT &&
           m->summary.received == COUNT && m->summary.rtt.n == COUNT && m->summary.rtt.min >= 0 &&
           m->summary.rtt.mean > 0 && m->summary.rtt.max < 50.0 * 1e6;
}

/* Likewise, but that the clock was stepped while some of it was under way. */
static bool is_stepped(const struct tw_measurement *m)
{
    const struct tw_summary *s = &m->summary;
    return m->state == TW_MEASUREMENT_OK && s->received == COUNT && s->clock_anomalies > 0 &&
           s->rtt.n + s->clock_anomalies == COUNT && (s->rtt.n == 0 || s->rtt.max < 50.0 * 1e6);
}

/* What holds however slow the machine is, and however wrong its clock. */
static bool is_consistent(const struct tw_measurement *m,
                          const struct tw_measurement_counters *before)
{
    const struct tw_summary *s = &m->summary;
    const struct tw_measurement_counters *c = &m->counters;
    return s->sent <= COUNT && s->sent == s->received + s->lost && s->duplicates == 0 &&
           c->sent == before->sent + s->sent && c->received == before->received + s->received &&
           c->lost == before->lost + s->lost &&
           (m->state == TW_MEASUREMENT_OK || s->received == 0) && (m->session || s->sent == 0) &&
           !(s->rtt.min < 0) && !(s->rtt.max > PATIENCE_S * 1e9);
}

static void on_measurement(void *user, void *target_user, const struct tw_measurement *m)
{
    struct fixture *f = user;
    struct news *news = target_user;
    pthread_mutex_lock(&f->lock);
    if (!is_consistent(m, &news->last.counters))
        news->broken = true;
    news->last = *m;
    if (news->count++ == 0)
        news->first = m->begun;
    news->states[m->state]++;
    if (is_good(m))
        news->good++;
    if (is_stepped(m))
        news->stepped++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static struct fixture *begin(bool raise)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    const struct tw_engine_config config = {
        .on_measurement = on_measurement,
        .user = f,
        .raise_descriptors = raise,
    };
    f->engine = tw_engine_new(&config);
    assert_non_null(f->engine);
    return f;
}

/* Five packets in each interval of 400 ms; lost after 250 ms. */
static struct tw_engine_target target_for(struct fixture *f, unsigned number, const char *host)
{
    return (struct tw_engine_target){
        .host = host,
        .probe =
            {
                .interval_ns = 400 * MS,
                .count = COUNT,
                .packet_interval_ns = 10 * MS,
                .timeout_ns = 1000 * MS,
                .connect_ns = 2000 * MS,
                .resolve_ns = INT64_C(60000) * MS,
                .control_port = f->peer.control.port,
                .dscp = 46,
                .stateful = true,
                .client = {.mode = TW_MODE_UNAUTHENTICATED, .step_ns = 2000 * MS},
                .sender = {.padding_length = 27, .wait_ns = 250 * MS, .tai_utc_s = 37},
            },
        .user = &f->news[number],
    };
}

static void add(struct fixture *f, unsigned number, const char *host)
{
    const struct tw_engine_target target = target_for(f, number, host);
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
}

static void *run_engine(void *argument)
{
    struct fixture *f = argument;
    is_engine = true;
    f->result = tw_engine_run(f->engine);
    return NULL;
}

static void run(struct fixture *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, run_engine, f), 0);
}

/* Waits until `*number`, one of the news, is at least `least`. */
static void wait_for(struct fixture *f, const unsigned *number, unsigned least)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&f->lock);
    int result = 0;
    while (*number < least && result == 0)
        result = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    const bool reached = *number >= least;
    pthread_mutex_unlock(&f->lock);
    assert_true(reached);
}

static void wait_for_more(struct fixture *f, const unsigned *number, unsigned more)
{
    pthread_mutex_lock(&f->lock);
    const unsigned now = *number;
    pthread_mutex_unlock(&f->lock);
    wait_for(f, number, now + more);
}

/* The same for what the peer counts, which nobody announces. */
static void wait_for_peer(atomic_uint *number, unsigned least)
{
    for (int i = 0; i < PATIENCE_S * 1000 && atomic_load(number) < least; i++)
        usleep(1000);
    assert_true(atomic_load(number) >= least);
}

static struct tw_measurement last(struct fixture *f, unsigned number)
{
    pthread_mutex_lock(&f->lock);
    const struct tw_measurement measurement = f->news[number].last;
    pthread_mutex_unlock(&f->lock);
    return measurement;
}

static void stop(struct fixture *f)
{
    const tw_mono begun = tw_clock_mono();
    tw_engine_stop(f->engine);
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    assert_int_equal(f->result, 0);
    assert_true(tw_clock_mono().ns - begun.ns < TW_NS_PER_S);
}

static void discard(struct fixture *f)
{
    for (unsigned i = 0; i < TARGETS; i++)
        assert_false(f->news[i].broken);
    loopback_peer_stop(&f->peer);
    tw_engine_free(f->engine);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}

static void finish(struct fixture *f)
{
    stop(f);
    discard(f);
}

static void measure(const char *host)
{
    struct fixture *f = begin(false);
    if (!loopback_peer_start(&f->peer, host, 0)) {
        tw_engine_free(f->engine);
        free(f);
        skip();
        return;
    }
    add(f, 0, host);
    run(f);
    wait_for(f, &f->news[0].good, 4);
    const struct tw_measurement m = last(f, 0);
    assert_true(tw_address_same_host(&m.remote, &f->peer.control));
    assert_true(tw_address_same_host(&m.local, &f->peer.control)); /* loopback talks to itself */
    assert_true(m.local.port != 0 && m.remote.port != 0);
    assert_int_equal(m.mode, TW_MODE_UNAUTHENTICATED);
    assert_true(m.counters.sent >= 4 * COUNT);
    assert_int_equal(atomic_load(&f->peer.dscp), 46);
    assert_int_equal(m.summary.transmit_source, TW_SOURCE_KERNEL);
    assert_int_equal(m.summary.hops_forward, 0);
    assert_int_equal(m.summary.hops_reverse, 0);
    assert_int_equal(tw_engine_counters(f->engine).kernel_drops, 0);
    assert_int_equal(tw_engine_counters(f->engine).send_failures, 0);
    finish(f);
}

static void target_is_measured_interval_after_interval(void **state)
{
    (void)state;
    measure("127.0.0.1");
}

static void continuous_session_is_kept_from_interval_to_interval(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    struct tw_engine_target target = target_for(f, 0, "127.0.0.1");
    target.probe.continuous = true;
    target.probe.packet_interval_ns = target.probe.interval_ns / COUNT;
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
    run(f);
    wait_for(f, &f->news[0].good, 6);
    assert_true(atomic_load(&f->peer.sessions) < 4); /* one, if nothing ever stalls */
    finish(f);
}

/* With the right secret, which must outlive the call of tw_engine_add. */
static struct tw_engine_target secured_target_for(struct fixture *f, unsigned number, uint32_t mode)
{
    struct tw_engine_target target = target_for(f, number, "127.0.0.1");
    target.probe.client.mode = mode;
    memcpy(target.probe.client.keyid, LOOPBACK_PEER_KEYID, strlen(LOOPBACK_PEER_KEYID));
    target.probe.sender.padding_length = TW_PROBE_PADDING_EQUAL;
    target.passphrase = (const uint8_t *)LOOPBACK_PEER_PASSPHRASE;
    target.passphrase_size = strlen(LOOPBACK_PEER_PASSPHRASE);
    return target;
}

static void secured_target(struct fixture *f, unsigned number, uint32_t mode,
                           const char *passphrase)
{
    struct tw_engine_target target = secured_target_for(f, number, mode);
    uint8_t copy[32];
    target.passphrase = copy;
    target.passphrase_size = strlen(passphrase);
    memcpy(copy, passphrase, target.passphrase_size);
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
    memset(copy, 'x', sizeof copy); /* the engine has one of its own */
}

static void targets_are_measured_in_secured_modes(void **state)
{
    (void)state;
    static const uint32_t modes[] = {TW_MODE_MIXED, TW_MODE_AUTHENTICATED, TW_MODE_ENCRYPTED};
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        secured_target(f, i, modes[i], LOOPBACK_PEER_PASSPHRASE);
    run(f);
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        wait_for(f, &f->news[i].good, 3);
        assert_int_equal(last(f, i).mode, modes[i]);
    }
    assert_false(atomic_load(&derive_on_engine));
    finish(f);
}

/* One salt, one secret, one derivation: for both targets and for every connection. */
static void a_key_is_derived_once_for_all_that_share_it(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    atomic_store(&derivations, 0);
    secured_target(f, 0, TW_MODE_ENCRYPTED, LOOPBACK_PEER_PASSPHRASE);
    secured_target(f, 1, TW_MODE_MIXED, LOOPBACK_PEER_PASSPHRASE);
    run(f);
    wait_for(f, &f->news[0].good, 1);
    wait_for(f, &f->news[1].good, 1);
    assert_int_equal(atomic_load(&derivations), 1);
    stop(f);
    memset(f->news, 0, sizeof f->news);
    run(f); /* connects anew */
    wait_for(f, &f->news[0].good, 1);
    wait_for(f, &f->news[1].good, 1);
    assert_int_equal(atomic_load(&derivations), 1);
    finish(f);
}

static void a_server_with_a_new_salt_gets_a_new_key(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    const uint16_t port = f->peer.control.port;
    secured_target(f, 0, TW_MODE_ENCRYPTED, LOOPBACK_PEER_PASSPHRASE);
    run(f);
    wait_for(f, &f->news[0].good, 1);
    loopback_peer_stop(&f->peer);
    wait_for(f, &f->news[0].states[TW_MEASUREMENT_UNREACHABLE], 1);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", port));
    wait_for_more(f, &f->news[0].good, 1);
    finish(f);
}

/* Twice as many connections want a key as can be derived, and the next of each target has another
 * salt. A key for one that was given up would be lost labour: then no target would ever be
 * measured. */
static void more_keys_than_can_be_derived_come_one_after_the_other(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    atomic_store(&f->peer.new_salts, true);
    atomic_store(&derive_ms, 200);
    for (unsigned i = 0; i < TARGETS; i++) {
        struct tw_engine_target target = secured_target_for(f, i, TW_MODE_ENCRYPTED);
        target.probe.interval_ns = 600 * MS; /* half of it for the set-up */
        assert_int_equal(tw_engine_add(f->engine, &target), 0);
    }
    run(f);
    for (unsigned i = 0; i < TARGETS; i++)
        wait_for(f, &f->news[i].states[TW_MEASUREMENT_OK], 1);
    atomic_store(&derive_ms, 0);
    finish(f);
}

/* It takes longer than an interval leaves for the set-up. */
static void a_slow_key_is_used_in_the_next_interval(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    atomic_store(&f->peer.new_salts, true);
    atomic_store(&derive_ms, 250);
    secured_target(f, 0, TW_MODE_ENCRYPTED, LOOPBACK_PEER_PASSPHRASE);
    run(f);
    wait_for(f, &f->news[0].states[TW_MEASUREMENT_OK], 2);
    assert_true(f->news[0].states[TW_MEASUREMENT_KEY] >= 1);
    atomic_store(&derive_ms, 0);
    finish(f);
}

static void a_wrong_secret_is_a_key_problem(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    secured_target(f, 0, TW_MODE_ENCRYPTED, "wrong");
    add(f, 1, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].states[TW_MEASUREMENT_KEY], 2);
    wait_for(f, &f->news[1].good, 1);
    const struct tw_measurement m = last(f, 0);
    assert_true(m.trouble.valid);
    assert_int_equal(m.trouble.failure, TW_CLIENT_KEY_REFUSED);
    assert_int_equal(f->news[0].count, f->news[0].states[TW_MEASUREMENT_KEY]);
    assert_int_equal(m.counters.sent, 0);
    finish(f);
}

/* Each of the two that cannot be stopped has its share of the second that finish() grants. */
static void a_name_and_a_key_that_hang_delay_the_end_together_no_longer(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    atomic_store(&hanging, 0);
    add(f, 0, "hang");
    secured_target(f, 1, TW_MODE_ENCRYPTED, "hang");
    run(f);
    wait_for_peer(&hanging, 2);
    finish(f);
    for (unsigned i = atomic_load(&hanging); i > 0; i--)
        sem_post(&let_go);
}

/* The end is held against a second by finish(). */
static void a_key_that_takes_long_delays_neither_the_others_nor_the_end(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    atomic_store(&hanging, 0);
    secured_target(f, 0, TW_MODE_ENCRYPTED, "hang");
    secured_target(f, 1, TW_MODE_ENCRYPTED, LOOPBACK_PEER_PASSPHRASE);
    run(f);
    wait_for_peer(&hanging, 1);
    wait_for(f, &f->news[1].good, 3);
    wait_for(f, &f->news[0].count, 2);
    assert_int_equal(f->news[0].count, f->news[0].states[TW_MEASUREMENT_KEY]);
    finish(f);
    for (unsigned i = atomic_load(&hanging); i > 0; i--)
        sem_post(&let_go);
}

static void target_is_measured_over_ipv6(void **state)
{
    (void)state;
    measure("::1");
}

/* Kernel stamps show at the latest when stamping has been on for a while. */
static void replies_are_stamped_by_the_kernel(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    add(f, 0, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].good, 2);
    assert_int_equal(last(f, 0).summary.receive_source, TW_SOURCE_KERNEL);
    finish(f);
}

/* Steps while packets are under way cost their delays, and nothing else: see is_consistent. */
static void stepped_clock_costs_neither_packets_nor_intervals(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    stepped = &f->engine->clock;
    for (unsigned i = 0; i < TARGETS; i++)
        add(f, i, "127.0.0.1");
    run(f);
    for (unsigned i = 0; i < TARGETS; i++) {
        wait_for(f, &f->news[i].states[TW_MEASUREMENT_OK], 6);
        wait_for(f, &f->news[i].stepped, 1);
    }
    finish(f);
    stepped = NULL;
}

/* A packet had just left whose reply may have come during the suspend. */
static void interval_of_a_suspended_host_is_left_out(void **state)
{
    (void)state;
    for (unsigned continuous = 0; continuous < 2; continuous++) {
        struct fixture *f = begin(false);
        assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
        suspended = &f->engine->clock;
        struct tw_engine_target target = target_for(f, 0, "127.0.0.1");
        target.probe.continuous = continuous != 0;
        if (target.probe.continuous)
            target.probe.packet_interval_ns = target.probe.interval_ns / COUNT;
        assert_int_equal(tw_engine_add(f->engine, &target), 0);
        run(f);
        wait_for(f, &f->news[0].good, 6);
        wait_for_more(f, &f->news[0].good, 2);
        stop(f);
        assert_null(suspended);
        assert_int_equal(f->engine->clock.test_suspended_ns, STEP_NS);
        const int64_t told_ns = f->news[0].last.begun.ns - f->news[0].first.ns;
        assert_true(told_ns / (400 * MS) + 1 > f->news[0].count); /* one was left out */
        discard(f);
    }
}

static void stopped_engine_says_so_to_all_targets(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    for (unsigned i = 0; i < TARGETS; i++)
        add(f, i, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].good, 2);
    const tw_mono before = tw_clock_mono();
    atomic_store(&stop_ms, 700); /* longer than any interval */
    wait_for_more(f, &f->news[0].good, 3);
    stop(f);
    assert_int_equal(atomic_load(&stop_ms), 0);
    for (unsigned i = 0; i < TARGETS; i++)
        assert_true(f->engine->targets[i]->probe.awake.ns >= before.ns + 700 * MS);
    discard(f);
}

static void target_may_be_a_name(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    struct tw_engine_target target = target_for(f, 0, "here");
    target.family = 4;
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
    run(f);
    wait_for(f, &f->news[0].good, 1);
    finish(f);
}

/* A continuous session has packets under way when it gives way to the next one: from the old host
 * too replies are looked for. */
static void replies_under_way_when_the_name_moves_are_known(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "0.0.0.0", 0));
    struct tw_engine_target target = target_for(f, 0, "moves");
    target.probe.continuous = true;
    target.probe.packet_interval_ns = target.probe.interval_ns / COUNT;
    target.probe.resolve_ns = 100 * MS;
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
    atomic_store(&f->peer.hold_ms, 60);
    atomic_store(&moves, 0);
    run(f);
    wait_for(f, &f->news[0].states[TW_MEASUREMENT_OK], 2);
    const unsigned sessions = atomic_load(&f->peer.sessions);
    wait_for_peer(&f->peer.sessions, sessions + 8);
    stop(f);
    assert_int_equal(tw_engine_counters(f->engine).unknown, 0);
    discard(f);
}

static void killed_server_is_unreachable_until_it_is_back(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    const uint16_t port = f->peer.control.port;
    add(f, 0, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].good, 2);
    const uint16_t own_port = last(f, 0).local.port;

    loopback_peer_stop(&f->peer);
    wait_for_more(f, &f->news[0].states[TW_MEASUREMENT_UNREACHABLE], 2);
    const struct tw_measurement m = last(f, 0);
    assert_int_equal(m.state, TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(m.summary.received, 0);
    assert_false(m.session);
    assert_int_equal(m.trouble.error, ECONNREFUSED);

    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", port));
    wait_for_more(f, &f->news[0].good, 2);
    assert_int_equal(last(f, 0).local.port, own_port); /* for life */
    finish(f);
}

/* The reflector falls silent in the middle of a session: what was sent and not answered is lost. */
static void packets_under_way_when_the_server_dies_are_lost(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    add(f, 0, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].good, 1);
    uint64_t lost = 0;
    for (int i = 0; i < 20 && lost == 0; i++) {
        wait_for_peer(&f->peer.reflected, atomic_load(&f->peer.reflected) + 1);
        const uint16_t port = f->peer.control.port;
        loopback_peer_stop(&f->peer);
        wait_for_more(f, &f->news[0].count, 2);
        lost = last(f, 0).counters.lost;
        assert_true(loopback_peer_start(&f->peer, "127.0.0.1", port));
        wait_for_more(f, &f->news[0].good, 1);
    }
    assert_true(lost > 0);
    finish(f);
}

static void unknown_name_does_not_harm_the_others(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    add(f, 0, "nowhere");
    add(f, 1, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].states[TW_MEASUREMENT_NAME], 3);
    wait_for(f, &f->news[1].good, 3);
    const struct tw_measurement m = last(f, 0);
    assert_int_equal(m.state, TW_MEASUREMENT_NAME);
    assert_int_equal(m.trouble.error, EAI_NONAME);
    assert_int_equal(m.counters.sent, 0);
    finish(f);
}

static void hanging_name_delays_neither_the_others_nor_the_end(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    add(f, 0, "hang");
    add(f, 1, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[1].good, 3);
    wait_for(f, &f->news[0].states[TW_MEASUREMENT_NAME], 2);
    assert_true(atomic_load(&hanging) > 0);
    finish(f); /* holds stop to a second */
    sem_post(&let_go);
}

static void targets_with_one_reflector_have_ports_of_their_own(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    for (unsigned i = 0; i < 3; i++)
        add(f, i, "127.0.0.1");
    run(f);
    for (unsigned i = 0; i < 3; i++)
        wait_for(f, &f->news[i].good, 2);
    const uint16_t a = last(f, 0).local.port;
    const uint16_t b = last(f, 1).local.port;
    const uint16_t c = last(f, 2).local.port;
    assert_true(a != b && b != c && a != c);
    finish(f);
}

static void targets_with_different_reflectors_share_a_port(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "0.0.0.0", 0));
    for (unsigned i = 0; i < 3; i++)
        add(f, i, hosts[i]);
    run(f);
    for (unsigned i = 0; i < 3; i++)
        wait_for(f, &f->news[i].good, 2);
    assert_int_equal(last(f, 0).local.port, last(f, 1).local.port);
    assert_int_equal(last(f, 1).local.port, last(f, 2).local.port);
    finish(f);
}

static void packets_leave_from_the_wanted_address_and_port(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    /* A port that is free a moment before. */
    struct tw_udp probe;
    struct tw_udp_options options = {.bind = {.family = 4, .octets = {127, 0, 0, 5}}};
    assert_int_equal(tw_udp_open(&probe, &options), 0);
    const struct tw_address source = probe.local;
    tw_udp_close(&probe);
    struct tw_engine_target target = target_for(f, 0, "127.0.0.1");
    target.source = source;
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
    run(f);
    wait_for(f, &f->news[0].good, 2);
    const struct tw_measurement m = last(f, 0);
    assert_true(tw_address_equal(&m.local, &source));
    assert_int_equal(atomic_load(&f->peer.from), UINT64_C(0x7f000005) << 16 | source.port);
    finish(f);
}

static void session_under_way_is_stopped_at_the_end(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    struct tw_engine_target target = target_for(f, 0, "127.0.0.1");
    target.probe.interval_ns = 2000 * MS;
    target.probe.packet_interval_ns = 300 * MS;
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
    run(f);
    wait_for_peer(&f->peer.reflected, 1);
    assert_int_equal(atomic_load(&f->peer.stops), 0);
    stop(f);
    wait_for_peer(&f->peer.stops, 1);
    assert_int_equal(f->news[0].count, 0);
    loopback_peer_stop(&f->peer);
    tw_engine_free(f->engine);
    free(f);
}

static void datagrams_from_strangers_are_counted_and_ignored(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    add(f, 0, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].good, 1);
    const struct tw_measurement m = last(f, 0);

    struct tw_udp stranger;
    const struct tw_udp_options options = {.bind = {.family = 4, .octets = {127, 0, 0, 66}}};
    assert_int_equal(tw_udp_open(&stranger, &options), 0);
    struct tw_udp_batch *batch = tw_udp_batch_new();
    assert_non_null(batch);
    for (unsigned i = 0; i < 10; i++) {
        struct tw_datagram *datagram = tw_udp_batch_at(batch, i);
        memset(datagram->data, 0, 41);
        datagram->length = 41;
        datagram->remote = m.local;
    }
    assert_int_equal(tw_udp_send(&stranger, batch, 10), 10);
    for (int i = 0; i < PATIENCE_S * 1000 && tw_engine_counters(f->engine).unknown < 10; i++)
        usleep(1000);
    assert_int_equal(tw_engine_counters(f->engine).unknown, 10);
    wait_for_more(f, &f->news[0].good, 2);
    tw_udp_batch_free(batch);
    tw_udp_close(&stranger);
    finish(f);
}

/* All is right with them but the address that they were sent to: what has been bound to any address
 * hears of all. */
static void replies_to_another_address_of_ours_are_no_replies(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    add(f, 0, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].good, 1);
    assert_int_equal(tw_engine_counters(f->engine).unknown, 0);
    atomic_store(&f->peer.astray, true);
    wait_for_more(f, &f->news[0].states[TW_MEASUREMENT_SILENT], 1);
    assert_int_equal(last(f, 0).summary.received, 0);
    assert_true(tw_engine_counters(f->engine).unknown >= COUNT);
    atomic_store(&f->peer.astray, false);
    wait_for_more(f, &f->news[0].good, 1);
    finish(f);
}

/* A packet that the kernel does not take was never sent: it is not lost, and others still go. */
static void packets_that_the_kernel_does_not_take_are_not_counted_as_sent(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "0.0.0.0", 0));
    add(f, 0, "127.0.0.1");
    add(f, 1, "127.0.0.2");
    atomic_store(&refuse, true);
    run(f);
    wait_for(f, &f->news[0].states[TW_MEASUREMENT_OK], 4);
    wait_for(f, &f->news[1].states[TW_MEASUREMENT_OK], 4);
    assert_true(tw_engine_counters(f->engine).send_failures > 0);
    atomic_store(&refuse, false);
    wait_for_more(f, &f->news[0].good, 2);
    wait_for_more(f, &f->news[1].good, 2);
    stop(f);
    const uint64_t sent = last(f, 0).counters.sent + last(f, 1).counters.sent;
    const uint64_t lost = last(f, 0).counters.lost + last(f, 1).counters.lost;
    /* What the reflector saw is what was counted, but for the last interval, which told nothing. */
    assert_true(atomic_load(&f->peer.reflected) >= sent - lost);
    assert_true(atomic_load(&f->peer.reflected) <= sent + 2 * COUNT);
    for (unsigned i = 0; i < 2; i++)
        assert_false(f->news[i].broken);
    loopback_peer_stop(&f->peer);
    tw_engine_free(f->engine);
    free(f);
}

/* What this host itself does not let out costs hardly more than if it did. */
static void packets_that_this_host_forbids_are_not_tried_again_and_again(void **state)
{
    (void)state;
    static const struct {
        int error;
        unsigned attempts;
    } cases[] = {{EPERM, 1}, {ENODEV, 1}, {EINVAL, 1}, {ENETUNREACH, 2}, {EACCES, 2}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture *f = begin(false);
        assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
        add(f, 0, "127.0.0.1");
        atomic_store(&forbidden_calls, 0);
        atomic_store(&forbidden, cases[i].error);
        run(f);
        wait_for(f, &f->news[0].states[TW_MEASUREMENT_UNREACHABLE], 1);
        assert_int_equal(last(f, 0).summary.sent, 0);
        stop(f);
        atomic_store(&forbidden, 0);
        const uint64_t failures = tw_engine_counters(f->engine).send_failures;
        assert_true(failures >= COUNT);
        assert_int_equal(atomic_load(&forbidden_calls), cases[i].attempts * failures);
        discard(f);
    }
}

static int64_t processor_ns(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (int64_t)t.tv_sec * TW_NS_PER_S + t.tv_nsec;
}

/* No descriptor for the connection: that is tried again, but not all the time. */
/* The kernel fails a send for what ICMP said of another target's packet. A whole burst of that is
 * neither a failure of this packet nor a reflector that warms up. */
static void fail_for_others(atomic_bool *how)
{
    struct fixture *f = begin(false);
    assert_true(loopback_peer_start(&f->peer, "127.0.0.1", 0));
    add(f, 0, "127.0.0.1");
    atomic_store(how, true);
    run(f);
    wait_for(f, &f->news[0].good, 2);
    assert_int_equal(last(f, 0).quirks, 0);
    assert_int_equal(tw_engine_counters(f->engine).send_failures, 0);
    atomic_store(how, false);
    finish(f);
}

static void refusals_of_others_cost_nothing(void **state)
{
    (void)state;
    fail_for_others(&refusals);
}

static void others_that_are_unreachable_cost_nothing(void **state)
{
    (void)state;
    fail_for_others(&unreachables);
}

static void want_of_descriptors_does_not_cost_a_processor(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    f->peer.control.port = 9; /* nobody is asked */
    add(f, 0, "127.0.0.1");
    add(f, 1, "::1");
    run(f);
    wait_for(f, &f->news[0].count, 1);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const int64_t processor = processor_ns();
    const tw_mono begun = tw_clock_mono();
    wait_for_more(f, &f->news[0].count, 4);
    const int64_t used_ns = processor_ns() - processor;
    const int64_t passed_ns = tw_clock_mono().ns - begun.ns;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    const struct tw_measurement m = last(f, 0);
    assert_int_equal(m.state, TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(m.trouble.error, EMFILE);
    assert_true(used_ns < passed_ns / 5);
    finish(f);
}

/* How many descriptors select() could name. */
static unsigned low_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    unsigned n = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.' && strtol(entry->d_name, NULL, 10) < 1024)
            n++;
    closedir(directory);
    return n;
}

static void guest_in_a_foreign_process_keeps_out_of_the_way_of_select(void **state)
{
    (void)state;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    if (old.rlim_max < 2048)
        skip();
    struct rlimit high = old;
    high.rlim_cur = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &high), 0);
    struct loopback_peer peer;
    assert_true(loopback_peer_start(&peer, "127.0.0.1", 0));
    const unsigned before = low_descriptors();
    struct fixture *f = begin(true);
    f->peer = peer; /* only for its port */
    add(f, 0, "127.0.0.1");
    run(f);
    wait_for(f, &f->news[0].good, 1);
    assert_int_equal(low_descriptors(), before);
    f->peer.inside = NULL;
    finish(f);
    loopback_peer_stop(&peer);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void stop_before_the_run_ends_it_at_once(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    f->peer.control.port = 9;
    add(f, 0, "127.0.0.1");
    tw_engine_stop(f->engine);
    assert_int_equal(tw_engine_run(f->engine), 0);
    assert_int_equal(f->news[0].count, 0);
    tw_engine_free(f->engine);
    tw_engine_free(NULL);
    free(f);
}

static void engine_without_targets_waits_for_its_stop(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    const int64_t processor = processor_ns();
    run(f);
    usleep(200000);
    assert_true(processor_ns() - processor < 100 * MS);
    finish(f);
}

static void target_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct fixture *f = begin(false);
    struct tw_engine_target target = target_for(f, 0, "127.0.0.1");
    target.probe.interval_ns = 300 * MS; /* five times 10 ms, then 250 ms */
    assert_int_equal(tw_engine_add(f->engine, &target), -EINVAL);
    target = target_for(f, 0, "");
    assert_int_equal(tw_engine_add(f->engine, &target), -EINVAL);
    target = target_for(f, 0, NULL);
    assert_int_equal(tw_engine_add(f->engine, &target), -EINVAL);
    target = target_for(f, 0, "127.0.0.1");
    target.family = 5;
    assert_int_equal(tw_engine_add(f->engine, &target), -EINVAL);
    target.family = 6;
    target.source = (struct tw_address){.family = 4, .octets = {127, 0, 0, 1}};
    assert_int_equal(tw_engine_add(f->engine, &target), -EINVAL);
    target = target_for(f, 0, "127.0.0.1");
    target.probe.sender.padding_length = 65507 - 13;
    assert_int_equal(tw_engine_add(f->engine, &target), -EINVAL);
    target.probe.sender.padding_length = UINT32_MAX - 1;
    assert_int_equal(tw_engine_add(f->engine, &target), -EINVAL);
    target.probe.sender.padding_length = TW_PROBE_PADDING_EQUAL;
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
    target.probe.client.mode = TW_MODE_MIXED; /* and no secret */
    assert_int_equal(tw_engine_add(f->engine, &target), -EINVAL);
    target.probe.client.mode = TW_MODE_UNAUTHENTICATED;
    target.probe.sender.padding_length = 65507 - 14;
    assert_int_equal(tw_engine_add(f->engine, &target), 0);
    tw_engine_free(f->engine);
    free(f);
}

int main(void)
{
    sem_init(&let_go, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_is_measured_interval_after_interval),
        cmocka_unit_test(continuous_session_is_kept_from_interval_to_interval),
        cmocka_unit_test(target_is_measured_over_ipv6),
        cmocka_unit_test(targets_are_measured_in_secured_modes),
        cmocka_unit_test(a_key_is_derived_once_for_all_that_share_it),
        cmocka_unit_test(a_server_with_a_new_salt_gets_a_new_key),
        cmocka_unit_test(more_keys_than_can_be_derived_come_one_after_the_other),
        cmocka_unit_test(a_slow_key_is_used_in_the_next_interval),
        cmocka_unit_test(a_wrong_secret_is_a_key_problem),
        cmocka_unit_test(a_key_that_takes_long_delays_neither_the_others_nor_the_end),
        cmocka_unit_test(a_name_and_a_key_that_hang_delay_the_end_together_no_longer),
        cmocka_unit_test(replies_are_stamped_by_the_kernel),
        cmocka_unit_test(stepped_clock_costs_neither_packets_nor_intervals),
        cmocka_unit_test(interval_of_a_suspended_host_is_left_out),
        cmocka_unit_test(stopped_engine_says_so_to_all_targets),
        cmocka_unit_test(target_may_be_a_name),
        cmocka_unit_test(replies_under_way_when_the_name_moves_are_known),
        cmocka_unit_test(killed_server_is_unreachable_until_it_is_back),
        cmocka_unit_test(packets_under_way_when_the_server_dies_are_lost),
        cmocka_unit_test(unknown_name_does_not_harm_the_others),
        cmocka_unit_test(hanging_name_delays_neither_the_others_nor_the_end),
        cmocka_unit_test(targets_with_one_reflector_have_ports_of_their_own),
        cmocka_unit_test(targets_with_different_reflectors_share_a_port),
        cmocka_unit_test(packets_leave_from_the_wanted_address_and_port),
        cmocka_unit_test(session_under_way_is_stopped_at_the_end),
        cmocka_unit_test(datagrams_from_strangers_are_counted_and_ignored),
        cmocka_unit_test(packets_that_the_kernel_does_not_take_are_not_counted_as_sent),
        cmocka_unit_test(packets_that_this_host_forbids_are_not_tried_again_and_again),
        cmocka_unit_test(refusals_of_others_cost_nothing),
        cmocka_unit_test(others_that_are_unreachable_cost_nothing),
        cmocka_unit_test(replies_to_another_address_of_ours_are_no_replies),
        cmocka_unit_test(want_of_descriptors_does_not_cost_a_processor),
        cmocka_unit_test(guest_in_a_foreign_process_keeps_out_of_the_way_of_select),
        cmocka_unit_test(stop_before_the_run_ends_it_at_once),
        cmocka_unit_test(engine_without_targets_waits_for_its_stop),
        cmocka_unit_test(target_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
