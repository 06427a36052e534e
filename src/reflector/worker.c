/* The loop of a test-plane thread; see worker.h.
 *
 * Packets come in batches, replies leave a few at a time. Each is stamped just before the kernel
 * takes its group, so that T3 is early by no more than what the kernel needs for a few packets. A
 * group of 32 would make the last one's T3 early by 30 us, or 120 us where the kernel delivers on
 * the spot; a group of one costs 5 % more for each packet, one of four 1 %. */
#include "reflector/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/sys/random.h"
#include "reflector/error.h"

enum {
    PACKETS_PER_TURN = 4 * TW_UDP_BATCH, /* of one socket, before the others have theirs */
    REPLIES_PER_CALL = 4,
    EVENTS = 16,
};

/* Places in struct twd_worker's `waits`. */
enum { ORDER_WAIT, OPENED_WAIT, SOCKET_WAITS };

/* Written by the worker alone, so plain loads and stores suffice: readers only must not see half a
 * number. */
struct counts {
    _Atomic uint64_t received, reflected, bytes, kernel_drops, sessions;
    _Atomic uint64_t verdicts[TW_REFLECTOR_VERDICT_COUNT];
    _Atomic uint64_t drops[TWD_DROP_COUNT];
};

struct twd_worker {
    struct tw_udp *sockets;
    unsigned count;
    uint32_t secret;
    struct pollfd *waits; /* for orders, opened ports, and each of the sockets, in this order */
    int opened;           /* epoll descriptor of the ports that come and go */
    struct twd_mailbox orders;
    struct twd_mailbox *reports;
    struct twd_message *forgetting; /* orders whose sockets may still be at hand */
    GHashTable *flows;              /* by &flow->match, which is in the flow */
    unsigned learning;              /* of them, without the sender's port yet */
    struct tw_address local;        /* that a packet came to; of family 0 before the first */
    uint32_t local_hash;            /* for the keys of flows */
    struct twd_timers timers;
    struct tw_clock clock;
    struct tw_random random;
    struct tw_udp_batch *in, *out;
    struct twd_flow *answered[REPLIES_PER_CALL]; /* whose replies are in `out` */
    unsigned replies;                            /* in `out`, not sent yet */
    bool quit;
    bool started;
    pthread_t thread;
    struct counts counts __attribute__((aligned(128))); /* not on a line with what others write */
};

const char *twd_worker_drop_name(enum twd_worker_drop drop)
{
    switch (drop) {
#define TWD_WORKER_DROP_CASE(name, text)                                                           \
    case name:                                                                                     \
        return text;
        TWD_WORKER_DROPS(TWD_WORKER_DROP_CASE)
#undef TWD_WORKER_DROP_CASE
    case TWD_DROP_COUNT:
        break;
    }
    return "unknown";
}

static void set_key(struct twd_flow_key *key, const struct tw_address *remote,
                    const struct tw_address *local, uint32_t local_hash, uint32_t secret)
{
    key->remote = *remote;
    key->local = *local;
    key->hash = tw_address_hash(remote, secret) ^ local_hash;
}

void twd_flow_key_init(struct twd_flow_key *key, const struct tw_address *remote,
                       const struct tw_address *local, uint32_t secret)
{
    set_key(key, remote, local, tw_address_hash(local, ~secret), secret);
}

guint twd_flow_key_hash(gconstpointer key)
{
    return ((const struct twd_flow_key *)key)->hash;
}

gboolean twd_flow_key_equal(gconstpointer a, gconstpointer b)
{
    const struct twd_flow_key *one = a;
    const struct twd_flow_key *other = b;
    return tw_address_equal(&one->remote, &other->remote) &&
           tw_address_equal(&one->local, &other->local);
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* For the main thread, which asks seldom: a plain store for each packet. */
static void note_heard(struct twd_flow *flow)
{
    atomic_store_explicit(&flow->heard_ns, flow->reflector.last.ns, memory_order_relaxed);
}

static bool is_learning(const struct twd_flow *flow)
{
    return flow->match.remote.port == 0;
}

static void count_sessions(struct twd_worker *worker)
{
    atomic_store_explicit(&worker->counts.sessions, g_hash_table_size(worker->flows),
                          memory_order_relaxed);
}

/* From here on no packet finds the flow; it waits for its release. */
static void end_flow(struct twd_worker *worker, struct twd_flow *flow)
{
    if (flow->gone)
        return;
    flow->gone = true;
    g_hash_table_remove(worker->flows, &flow->match);
    count_sessions(worker);
    if (is_learning(flow))
        worker->learning--;
    twd_timers_disarm(&worker->timers, &flow->timer);
    flow->ended = (struct twd_letter){.order = TWD_ORDER_ENDED, .flow = flow};
    twd_mailbox_post(worker->reports, &flow->ended.message);
}

static void settle_flow(struct twd_worker *worker, struct twd_flow *flow)
{
    if (flow->reflector.state == TW_REFLECTOR_ENDED)
        end_flow(worker, flow);
    else
        twd_timers_arm(&worker->timers, &flow->timer, tw_reflector_deadline(&flow->reflector));
}

/* REFWAIT moves on with every packet, the timer does not: when it fires it is set anew. */
static void expire_flow(struct twd_timer *timer, tw_mono now)
{
    struct twd_worker *worker = timer->owner;
    struct twd_flow *flow =
        (struct twd_flow *)(void *)((char *)timer - offsetof(struct twd_flow, timer));
    tw_reflector_expire(&flow->reflector, now);
    settle_flow(worker, flow);
}

static void add_flow(struct twd_worker *worker, struct twd_flow *flow)
{
    flow->gone = false;
    flow->timer = (struct twd_timer){.expire = expire_flow, .owner = worker};
    flow->match = flow->key;
    const gboolean fresh = g_hash_table_insert(worker->flows, &flow->match, flow);
    g_assert(fresh); /* the main thread keeps 4-tuples apart */
    count_sessions(worker);
    if (is_learning(flow))
        worker->learning++;
}

static void report(struct twd_worker *worker, struct twd_letter *letter)
{
    twd_mailbox_post(worker->reports, &letter->message);
}

/* An order may cross the report of the flow's end on its way: then it has nothing to do. */
static void obey(struct twd_worker *worker, struct twd_letter *letter)
{
    struct twd_flow *flow = letter->flow;
    switch (letter->order) {
    case TWD_ORDER_ADD:
        add_flow(worker, flow);
        report(worker, letter);
        return;
    case TWD_ORDER_START:
        if (!flow->gone) {
            tw_reflector_start(&flow->reflector, tw_clock_mono());
            note_heard(flow);
            settle_flow(worker, flow);
        }
        report(worker, letter);
        return;
    case TWD_ORDER_STOP:
        if (!flow->gone) {
            tw_reflector_stop(&flow->reflector, tw_clock_mono());
            settle_flow(worker, flow);
        }
        break;
    case TWD_ORDER_REMOVE:
        end_flow(worker, flow);
        break;
    case TWD_ORDER_RELEASE:
    case TWD_ORDER_PING:
        report(worker, letter);
        return;
    case TWD_ORDER_FORGET:
        letter->message.next = worker->forgetting;
        worker->forgetting = &letter->message;
        return;
    case TWD_ORDER_TUNE:
        worker->clock.error_floor_ns = letter->error_floor_ns;
        break;
    case TWD_ORDER_QUIT:
        worker->quit = true;
        break;
    case TWD_ORDER_ENDED:
        g_assert_not_reached();
    }
    g_free(letter);
}

static void take_orders(struct twd_worker *worker)
{
    struct twd_message *next;
    for (struct twd_message *message = twd_mailbox_take(&worker->orders); message != NULL;
         message = next) {
        next = message->next;
        obey(worker, (struct twd_letter *)message);
    }
}

/* Of a packet's own address, which most often is that of the packet before. */
static uint32_t hash_local(struct twd_worker *worker, const struct tw_address *local)
{
    if (!tw_address_equal(local, &worker->local)) {
        worker->local = *local;
        worker->local_hash = tw_address_hash(local, ~worker->secret);
    }
    return worker->local_hash;
}

static struct twd_flow *find_flow(struct twd_worker *worker, const struct tw_datagram *in)
{
    if (in->remote.port == 0) /* nobody can be answered there */
        return NULL;
    struct twd_flow_key key;
    set_key(&key, &in->remote, &in->local, hash_local(worker, &in->local), worker->secret);
    struct twd_flow *flow = g_hash_table_lookup(worker->flows, &key);
    if (flow != NULL || worker->learning == 0)
        return flow;
    struct tw_address host = in->remote;
    host.port = 0;
    twd_flow_key_init(&key, &host, &in->local, worker->secret);
    return g_hash_table_lookup(worker->flows, &key);
}

static void learn(struct twd_worker *worker, struct twd_flow *flow, const struct tw_address *remote)
{
    g_hash_table_remove(worker->flows, &flow->match);
    twd_flow_key_init(&flow->match, remote, &flow->key.local, worker->secret);
    g_hash_table_insert(worker->flows, &flow->match, flow);
    worker->learning--;
}

/* Writes the reply but for its stamp; NULL when there is to be none, which is counted. */
static struct twd_flow *prepare_reply(struct twd_worker *worker, const struct tw_datagram *in,
                                      struct tw_datagram *out)
{
    struct twd_flow *flow = find_flow(worker, in);
    if (flow == NULL) {
        add(&worker->counts.drops[TWD_DROP_UNKNOWN_SENDER], 1);
        return NULL;
    }
    const enum tw_reflector_verdict verdict =
        tw_reflector_prepare(&flow->reflector, in->data, in->length, &in->arrival, &worker->random,
                             out->data, TW_UDP_PAYLOAD_MAX, &out->length);
    if (verdict != TW_REFLECT) {
        add(&worker->counts.verdicts[verdict], 1);
        return NULL;
    }
    note_heard(flow);
    if (is_learning(flow)) /* only now: what is not answered is not to be trusted either */
        learn(worker, flow, &in->remote);
    out->remote = in->remote;
    out->local = in->local; /* REF-8: from the address that the packet was sent to */
    out->interface = in->local.scope != 0 ? in->interface : 0;
    out->tos = flow->tos;
    return flow;
}

static void stamp_replies(struct twd_worker *worker)
{
    const struct tw_reading *read = &tw_udp_batch_at(worker->in, 0)->arrival.read; /* of them all */
    for (unsigned i = 0; i < worker->replies; i++) {
        const struct tw_reading departure = tw_clock_departure(&worker->clock, read);
        tw_reflector_stamp(&worker->answered[i]->reflector, tw_udp_batch_at(worker->out, i)->data,
                           &departure);
    }
}

static void count_sent(struct twd_worker *worker, unsigned first, unsigned n)
{
    uint64_t bytes = 0;
    for (unsigned i = first; i < first + n; i++)
        bytes += tw_udp_batch_at(worker->out, i)->length;
    add(&worker->counts.bytes, bytes);
    add(&worker->counts.reflected, n);
}

/* What the kernel does not take is lost on the way back; the others leave all the same. */
static void send_replies(struct twd_worker *worker, struct tw_udp *udp)
{
    stamp_replies(worker);
    const unsigned n = worker->replies;
    worker->replies = 0;
    for (unsigned first = 0; first < n;) {
        const int sent = tw_udp_send_from(udp, worker->out, first, n - first);
        if (sent > 0) {
            count_sent(worker, first, (unsigned)sent);
            first += (unsigned)sent;
        } else {
            add(&worker->counts.drops[TWD_DROP_SEND_FAILED], 1);
            first++;
        }
    }
}

/* The replies to one batch, in groups. */
static void reflect(struct twd_worker *worker, struct tw_udp *udp, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct tw_datagram *in = tw_udp_batch_at(worker->in, i);
        struct twd_flow *flow =
            prepare_reply(worker, in, tw_udp_batch_at(worker->out, worker->replies));
        if (flow == NULL)
            continue;
        worker->answered[worker->replies++] = flow;
        if (worker->replies == REPLIES_PER_CALL)
            send_replies(worker, udp);
    }
    if (worker->replies > 0)
        send_replies(worker, udp);
}

/* Orders that were given before a packet was sent are obeyed before it is answered: whoever was
 * told that a session is over finds it so. To find the socket empty costs less than to wait for it
 * when it is not: often a packet has come meanwhile. */
static void serve(struct twd_worker *worker, struct tw_udp *udp)
{
    for (int taken = 0; taken < PACKETS_PER_TURN;) {
        const uint64_t drops_before = udp->kernel_drops;
        const int n = tw_udp_receive(udp, worker->in, &worker->clock);
        if (n <= 0) /* an error of the socket was cleared by asking */
            return;
        taken += n;
        if (!twd_mailbox_is_empty(&worker->orders))
            take_orders(worker);
        add(&worker->counts.kernel_drops, udp->kernel_drops - drops_before);
        add(&worker->counts.received, (unsigned)n);
        reflect(worker, udp, (unsigned)n);
    }
}

/* Of the ports that were opened for sessions. */
static void serve_opened(struct twd_worker *worker)
{
    struct epoll_event events[EVENTS];
    const int n = epoll_wait(worker->opened, events, EVENTS, 0);
    for (int i = 0; i < n; i++)
        serve(worker, events[i].data.ptr);
}

/* Milliseconds until the earliest deadline, rounded up so that it has come; -1: none. */
static int wait_ms(const struct twd_worker *worker)
{
    const tw_mono next = twd_timers_next(&worker->timers);
    if (tw_mono_is_never(next))
        return -1;
    const int64_t left_ns = next.ns - tw_clock_mono().ns;
    if (left_ns <= 0)
        return 0;
    return (int)MIN(left_ns / TW_NS_PER_MS + 1, INT64_C(3600000));
}

/* Behind the sockets that were ready: nothing of those to be forgotten is at hand any more. */
static void forget_sockets(struct twd_worker *worker)
{
    struct twd_message *next;
    for (struct twd_message *message = worker->forgetting; message != NULL; message = next) {
        next = message->next;
        report(worker, (struct twd_letter *)message);
    }
    worker->forgetting = NULL;
}

/* The sockets that are always there are waited for with poll(): an epoll set would be told of every
 * packet that comes and of every reply that has left, also while nobody waits, which costs 4 % of a
 * reply. They are few; the ports that are opened for sessions may be many, and are in such a set.
 */
static void *run(void *argument)
{
    struct twd_worker *worker = argument;
    while (!worker->quit) {
        if (poll(worker->waits, SOCKET_WAITS + worker->count, wait_ms(worker)) > 0) {
            if (worker->waits[ORDER_WAIT].revents != 0)
                take_orders(worker);
            for (unsigned i = 0; i < worker->count; i++)
                if (worker->waits[SOCKET_WAITS + i].revents != 0)
                    serve(worker, &worker->sockets[i]);
            if (worker->waits[OPENED_WAIT].revents != 0)
                serve_opened(worker);
        }
        forget_sockets(worker);
        if (worker->timers.heap->len > 0)
            twd_timers_run(&worker->timers, tw_clock_mono());
    }
    return NULL;
}

static int prepare_waiting(struct twd_worker *worker)
{
    const int fault = twd_mailbox_init(&worker->orders);
    if (fault != 0) {
        worker->orders.descriptor = -1;
        return fault;
    }
    worker->opened = epoll_create1(EPOLL_CLOEXEC);
    if (worker->opened < 0)
        return -errno;
    worker->waits = g_new0(struct pollfd, SOCKET_WAITS + worker->count);
    worker->waits[ORDER_WAIT].fd = worker->orders.descriptor;
    worker->waits[OPENED_WAIT].fd = worker->opened;
    for (unsigned i = 0; i < worker->count; i++)
        worker->waits[SOCKET_WAITS + i].fd = worker->sockets[i].fd;
    for (unsigned i = 0; i < SOCKET_WAITS + worker->count; i++)
        worker->waits[i].events = POLLIN;
    return 0;
}

struct twd_worker *twd_worker_new(struct tw_udp *sockets, unsigned count, uint32_t secret,
                                  int64_t error_floor_ns, struct twd_mailbox *reports,
                                  GError **error)
{
    struct twd_worker *worker = aligned_alloc(_Alignof(struct twd_worker), sizeof(*worker));
    if (worker == NULL)
        g_abort(); /* as GLib does */
    memset(worker, 0, sizeof(*worker));
    worker->sockets = sockets;
    worker->count = count;
    worker->secret = secret;
    worker->reports = reports;
    worker->opened = -1;
    worker->flows = g_hash_table_new(twd_flow_key_hash, twd_flow_key_equal);
    twd_timers_init(&worker->timers);
    tw_clock_init(&worker->clock, error_floor_ns);
    tw_random_init(&worker->random);
    worker->in = tw_udp_batch_new();
    worker->out = tw_udp_batch_new();
    const int result =
        worker->in != NULL && worker->out != NULL ? prepare_waiting(worker) : -ENOMEM;
    if (result == 0)
        return worker;
    twd_fail(error, TWD_EXIT_FAILURE, "worker: %s", g_strerror(-result));
    twd_worker_free(worker);
    return NULL;
}

bool twd_worker_start(struct twd_worker *worker, GError **error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    const int result = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        return twd_fail(error, TWD_EXIT_FAILURE, "worker thread: %s", g_strerror(result));
    worker->started = true;
    return true;
}

void twd_worker_free(struct twd_worker *worker)
{
    if (worker->started) {
        twd_worker_order(worker, TWD_ORDER_QUIT, NULL);
        pthread_join(worker->thread, NULL);
    }
    if (worker->orders.descriptor > 0) {
        struct twd_message *next;
        for (struct twd_message *left = twd_mailbox_take(&worker->orders); left != NULL;
             left = next) {
            next = left->next;
            g_free(left);
        }
        twd_mailbox_free(&worker->orders);
    }
    for (unsigned i = 0; i < worker->count; i++)
        tw_udp_close(&worker->sockets[i]);
    g_free(worker->sockets);
    g_free(worker->waits);
    if (worker->opened >= 0)
        close(worker->opened);
    tw_udp_batch_free(worker->in);
    tw_udp_batch_free(worker->out);
    twd_timers_free(&worker->timers);
    g_hash_table_unref(worker->flows);
    free(worker);
}

static void send_order(struct twd_worker *worker, struct twd_letter order)
{
    struct twd_letter *letter = g_new(struct twd_letter, 1);
    *letter = order;
    twd_mailbox_post(&worker->orders, &letter->message);
}

void twd_worker_order(struct twd_worker *worker, enum twd_order order, struct twd_flow *flow)
{
    send_order(worker, (struct twd_letter){.order = order, .flow = flow});
}

/* The kernel keeps the threads apart here; the worker has a socket at hand only from a wait until
 * what was ready then has been served. */
int twd_worker_watch(struct twd_worker *worker, struct tw_udp *udp)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = udp}};
    return epoll_ctl(worker->opened, EPOLL_CTL_ADD, udp->fd, &event) == 0 ? 0 : -errno;
}

void twd_worker_unwatch(struct twd_worker *worker, struct tw_udp *udp)
{
    (void)epoll_ctl(worker->opened, EPOLL_CTL_DEL, udp->fd, NULL);
    send_order(worker, (struct twd_letter){.order = TWD_ORDER_FORGET, .socket = udp});
}

void twd_worker_tune(struct twd_worker *worker, int64_t error_floor_ns)
{
    send_order(worker,
               (struct twd_letter){.order = TWD_ORDER_TUNE, .error_floor_ns = error_floor_ns});
}

void twd_worker_count(const struct twd_worker *worker, struct twd_counts *sum)
{
    const struct counts *counts = &worker->counts;
    sum->received += get(&counts->received);
    sum->reflected += get(&counts->reflected);
    sum->bytes += get(&counts->bytes);
    sum->kernel_drops += get(&counts->kernel_drops);
    sum->sessions += get(&counts->sessions);
    for (int i = 0; i < TW_REFLECTOR_VERDICT_COUNT; i++)
        sum->verdicts[i] += get(&counts->verdicts[i]);
    for (int i = 0; i < TWD_DROP_COUNT; i++)
        sum->drops[i] += get(&counts->drops[i]);
}
