/* The engine's test packets: out as close to their stamps as can be, in to the target they belong
 * to, and what ICMP says of them. When a packet is due, and what a reply means, is the probe's. */
#include "lib/sys/engine_loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/* Bounds of one turn of the loop: a flood must not keep the deadlines waiting. */
enum {
    DRAIN_BATCHES = 32, /* of one test socket, each round */
    ERRORS = 256,       /* likewise */
    SEND_ATTEMPTS = 16, /* at a packet: each ICMP error of any target fails one */
};

static void add_to(_Atomic uint64_t *counter, uint64_t n)
{
    if (n != 0)
        atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void deliver(struct tw_engine *engine, const struct tw_test_socket *socket,
                    const struct tw_datagram *datagram)
{
    struct tw_test_member *member =
        tw_test_sockets_find(&engine->sockets, socket, &datagram->remote);
    struct tw_target *target = member == NULL ? NULL : tw_target_of_member(member);
    if (target == NULL || !tw_probe_expects(&target->probe, &datagram->remote) ||
        !tw_address_same_host(&datagram->local, &target->probe.local)) {
        add_to(&engine->unknown, 1);
        return;
    }
    tw_probe_receive(&target->probe, datagram->data, datagram->length, &datagram->arrival);
    tw_engine_touch(engine, target);
}

/* What ICMP says. */
static void take_errors(struct tw_engine *engine, const struct tw_test_socket *socket, tw_mono now)
{
    struct tw_udp_error error;
    for (int i = 0; i < ERRORS && tw_udp_take_error(&socket->udp, &error); i++) {
        struct tw_test_member *member =
            tw_test_sockets_find(&engine->sockets, socket, &error.remote);
        struct tw_target *target = member == NULL ? NULL : tw_target_of_member(member);
        if (error.error != ECONNREFUSED || target == NULL ||
            !tw_address_equal(&error.remote, &target->probe.remote))
            continue;
        tw_probe_refused(&target->probe, now);
        tw_engine_touch(engine, target);
    }
}

static void drain(struct tw_engine *engine, struct tw_test_socket *socket)
{
    for (int i = 0; i < DRAIN_BATCHES; i++) {
        const uint64_t drops = socket->udp.kernel_drops;
        const int n = tw_udp_receive(&socket->udp, engine->in, &engine->clock);
        if (n < 0)
            continue; /* an ICMP error came first: what has arrived is still there */
        add_to(&engine->kernel_drops, socket->udp.kernel_drops - drops);
        for (int j = 0; j < n; j++)
            deliver(engine, socket, tw_udp_batch_at(engine->in, (unsigned)j));
        if (n < TW_UDP_BATCH)
            return;
    }
}

void tw_engine_take_datagrams(struct tw_engine *engine, const struct epoll_event *event,
                              tw_mono now)
{
    struct tw_test_socket *socket = engine->sockets.sockets[event->data.u64 & TW_TAG_NUMBER];
    if ((event->events & EPOLLERR) != 0)
        take_errors(engine, socket, now);
    drain(engine, socket);
}

/* Takes members from the socket's queue, one packet of each. */
static unsigned prepare_batch(struct tw_engine *engine, struct tw_test_socket *socket, tw_mono now,
                              struct tw_target *targets[TW_UDP_BATCH])
{
    unsigned n = 0;
    while (n < TW_UDP_BATCH && socket->due != NULL) {
        struct tw_target *target = tw_target_of_member(tw_test_socket_pop_due(socket));
        struct tw_datagram *datagram = tw_udp_batch_at(engine->out, n);
        if (tw_probe_prepare(&target->probe, datagram->data, TW_UDP_BUFFER, &datagram->length) !=
            TW_OK) {
            tw_engine_set_deadline(engine, target, now);
            continue;
        }
        datagram->remote = target->probe.remote;
        datagram->local = target->probe.local;
        datagram->interface = 0;
        datagram->tos = (uint8_t)(target->config.dscp << 2);
        targets[n++] = target;
    }
    return n;
}

/* The packets are stamped. One that the kernel does not take for its own reasons costs nobody else;
 * when there is no room at all, the rest was never sent. */
static void send_batch(struct tw_engine *engine, struct tw_test_socket *socket,
                       struct tw_target *targets[TW_UDP_BATCH], unsigned n, tw_mono now)
{
    unsigned first = 0;
    unsigned attempts = 0;
    while (first < n) {
        const int sent = tw_udp_send_from(&socket->udp, engine->out, first, n - first);
        if (sent > 0) {
            first += (unsigned)sent;
            attempts = 0;
            continue;
        }
        const bool full = sent == -EAGAIN || sent == -ENOBUFS || sent == -ENOMEM;
        if (!full && ++attempts < SEND_ATTEMPTS)
            continue;
        attempts = 0;
        const unsigned failed = full ? n - first : 1;
        /* A refusal never is of the packet that could not leave for it. */
        const int error = sent == -ECONNREFUSED ? EAGAIN : -sent;
        for (unsigned i = first; i < first + failed; i++)
            tw_probe_unsend(&targets[i]->probe, error, now);
        add_to(&engine->send_failures, failed);
        first += failed;
    }
}

void tw_engine_send_due(struct tw_engine *engine, struct tw_test_socket *socket)
{
    while (socket->due != NULL) {
        const struct tw_reading now = tw_clock_read(&engine->clock);
        struct tw_target *targets[TW_UDP_BATCH];
        const unsigned n = prepare_batch(engine, socket, now.mono, targets);
        for (unsigned i = 0; i < n; i++) {
            const struct tw_reading departure = tw_clock_departure(&engine->clock, &now);
            tw_probe_stamp(&targets[i]->probe, tw_udp_batch_at(engine->out, i)->data, &departure);
        }
        send_batch(engine, socket, targets, n, now.mono);
        for (unsigned i = 0; i < n; i++)
            if (tw_probe_send_due(&targets[i]->probe, now.mono))
                tw_test_socket_push_due(&targets[i]->member);
            else
                tw_engine_set_deadline(engine, targets[i], now.mono);
    }
}
