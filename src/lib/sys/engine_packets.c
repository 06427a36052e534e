/* The engine's test packets: out as close to their stamps as can be, in to the target they belong
 * to, when they left and what ICMP says of them. When a packet is due, and what a reply means, is
 * the probe's.
 *
 * T1 is first the time at which the program wrote it, which may be long before the packet leaves
 * when the machine is busy. The kernel's own stamp comes afterwards, through the socket's error
 * queue: mostly before the call that sends has returned, so it is looked for there, and else before
 * the replies are looked at that came meanwhile. A packet whose stamp never comes keeps the
 * program's, and its sample says so.
 *
 * Better than the kernel's are stamps of an interface itself. They come beside the kernel's, never
 * alone, and what they are turned into is used only where it fits that. */
#include "lib/sys/engine_loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/* Bounds of one turn of the loop: a flood must not keep the deadlines waiting. */
enum {
    DRAIN_BATCHES = 32,            /* of one test socket, each round */
    NOTICE_BATCHES = 16,           /* of its error queue, each time it is looked at */
    SEND_ATTEMPTS = 16,            /* at a packet: each ICMP error of any target may fail one */
    REFUSALS = 4 * TW_UDP_NOTICES, /* of a call */
};

/* Targets whose reflectors refused a packet, one entry for each packet. What does not fit is
 * forgotten: so many at a time are a flood, and the queue must be emptied, since replies share its
 * memory. */
struct refusals {
    struct tw_target *targets[REFUSALS];
    unsigned n;
    unsigned errors; /* of all kinds that ICMP told, refusals or not */
};

/* A stamped packet on its way to the kernel. */
struct outgoing {
    struct tw_target *target;
    struct tw_probe_packet packet;
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
    struct tw_sample sample;
    if (tw_probe_receive(&target->probe, datagram->data, datagram->length, &datagram->arrival,
                         &sample) &&
        engine->config.on_sample != NULL)
        engine->config.on_sample(engine->config.user, target->user, &sample);
    tw_engine_touch(engine, target);
}

/* What lies between the kernel's stamp of a packet and the interface's: a queue in the interface,
 * or what a busy machine takes to turn to it. More than that is a clock that was stepped or taken
 * for another. */
#define NIC_APART_NS (10 * TW_NS_PER_MS)

/* Whether the kernel and an interface may have stamped the same packet, one after the other. */
static bool is_soon_after(tw_wall first, tw_wall second)
{
    const int64_t passed_ns = second.ns - first.ns;
    return passed_ns >= -TW_NIC_ERROR_NS && passed_ns <= NIC_APART_NS;
}

/* A better T4, if the interface stamped the reply and its clock is known. Such an interface is
 * worth asking about departures, too. */
static void note_nic_arrival(struct tw_engine *engine, struct tw_test_socket *socket,
                             struct tw_datagram *datagram)
{
    struct tw_arrival *arrival = &datagram->arrival;
    if (datagram->nic_ns == 0 || arrival->source != TW_SOURCE_KERNEL)
        return;
    tw_wall at;
    if (!tw_nic_clocks_wall(&engine->nics, datagram->nic, datagram->nic_ns, &arrival->read, &at) ||
        !is_soon_after(at, arrival->at))
        return;
    arrival->at = at;
    arrival->source = TW_SOURCE_HARDWARE;
    if (socket->udp.departures && !socket->by_nic) {
        socket->by_nic = true;
        tw_departures_lose(&socket->departures, arrival->read.mono); /* asks anew */
    }
}

/* A better T1 than the kernel's. One that does not fit says nothing of the numbers. */
static void note_nic_departure(struct tw_engine *engine, const struct tw_test_socket *socket,
                               const struct tw_udp_notice *notice)
{
    const struct tw_reading now = tw_clock_read(&engine->clock);
    struct tw_departure departure;
    tw_wall at;
    if (tw_departures_recall(&socket->departures, notice->id, &departure) &&
        tw_nic_clocks_wall(&engine->nics, notice->nic, notice->nic_ns, &now, &at) &&
        is_soon_after(departure.left, at))
        (void)tw_probe_departed(&engine->targets[departure.target]->probe, departure.packet, at,
                                TW_SOURCE_HARDWARE);
}

/* What ICMP says. */
static void note_error(const struct tw_engine *engine, const struct tw_test_socket *socket,
                       const struct tw_udp_notice *notice, struct refusals *refusals)
{
    struct tw_test_member *member = tw_test_sockets_find(&engine->sockets, socket, &notice->remote);
    struct tw_target *target = member == NULL ? NULL : tw_target_of_member(member);
    refusals->errors++;
    if (notice->error == ECONNREFUSED && target != NULL && refusals->n < REFUSALS &&
        tw_address_equal(&notice->remote, &target->probe.remote))
        refusals->targets[refusals->n++] = target;
}

/* A better T1. False if it cannot be that. */
static bool note_departure(struct tw_engine *engine, struct tw_test_socket *socket,
                           const struct tw_udp_notice *notice)
{
    struct tw_departure departure;
    return !tw_departures_find(&socket->departures, notice->id, notice->at, &departure) ||
           tw_probe_departed(&engine->targets[departure.target]->probe, departure.packet,
                             notice->at, TW_SOURCE_KERNEL);
}

/* A number that was not given says that the others with it may be of other packets too: better no
 * stamp than a wrong one. But while the numbers are lost, it is of a packet that is not remembered.
 */
static void note_departures(struct tw_engine *engine, struct tw_test_socket *socket,
                            const struct tw_udp_notice *notices, int n, tw_mono now)
{
    uint64_t wrong = 0;
    for (int i = 0; i < n; i++)
        if (notices[i].kind == TW_UDP_DEPARTURE && socket->departures.known &&
            !tw_departures_given(&socket->departures, notices[i].id))
            wrong++;
    for (int i = 0; i < n && wrong == 0; i++)
        if (notices[i].kind == TW_UDP_DEPARTURE && !note_departure(engine, socket, &notices[i]))
            wrong++;
    if (wrong == 0)
        return;
    add_to(&engine->wrong_stamps, wrong);
    tw_departures_doubt(&socket->departures, now);
}

/* Empties the error queue, as far as a turn allows. Nothing is done yet about refusals, for the
 * caller may hold packets that are stamped and not sent. */
static void take_notices(struct tw_engine *engine, struct tw_test_socket *socket, tw_mono now,
                         struct refusals *refusals)
{
    int n = TW_UDP_NOTICES;
    for (int i = 0; i < NOTICE_BATCHES && n == TW_UDP_NOTICES; i++) {
        struct tw_udp_notice notices[TW_UDP_NOTICES];
        n = tw_udp_take_notices(&socket->udp, &engine->clock, notices);
        note_departures(engine, socket, notices, n, now);
        for (int j = 0; j < n; j++)
            if (notices[j].kind == TW_UDP_NIC_DEPARTURE)
                note_nic_departure(engine, socket, &notices[j]);
            else if (notices[j].kind == TW_UDP_ERROR)
                note_error(engine, socket, &notices[j], refusals);
    }
    /* Only now: a number that is still in the queue would be taken for a new one. */
    if (n >= 0 && n < TW_UDP_NOTICES && socket->udp.departures &&
        tw_departures_may_begin(&socket->departures, now) &&
        tw_udp_report_departures(&socket->udp, socket->by_nic) == 0)
        tw_departures_begin(&socket->departures);
}

static void settle(struct tw_engine *engine, const struct refusals *refusals, tw_mono now)
{
    for (unsigned i = 0; i < refusals->n; i++) {
        tw_probe_refused(&refusals->targets[i]->probe, now);
        tw_engine_touch(engine, refusals->targets[i]);
    }
}

/* Replies are read before the notices and looked at after them: so every stamp that was there when
 * a reply came is known to it. */
static void drain(struct tw_engine *engine, struct tw_test_socket *socket, bool noticed,
                  tw_mono now)
{
    for (int i = 0; i < DRAIN_BATCHES; i++) {
        const uint64_t drops = socket->udp.kernel_drops;
        const int n = tw_udp_receive(&socket->udp, engine->in, &engine->clock);
        if (noticed || n < 0 || tw_departures_awaits(&socket->departures)) {
            struct refusals refusals;
            refusals.n = refusals.errors = 0;
            take_notices(engine, socket, now, &refusals);
            settle(engine, &refusals, now);
            noticed = false;
        }
        if (n < 0)
            continue; /* an ICMP error came first: what has arrived is still there */
        add_to(&engine->kernel_drops, socket->udp.kernel_drops - drops);
        for (int j = 0; j < n; j++) {
            struct tw_datagram *datagram = tw_udp_batch_at(engine->in, (unsigned)j);
            note_nic_arrival(engine, socket, datagram);
            deliver(engine, socket, datagram);
        }
        if (n < TW_UDP_BATCH)
            return;
    }
}

void tw_engine_take_datagrams(struct tw_engine *engine, const struct epoll_event *event,
                              tw_mono now)
{
    struct tw_test_socket *socket = engine->sockets.sockets[event->data.u64 & TW_TAG_NUMBER];
    drain(engine, socket, (event->events & EPOLLERR) != 0, now);
}

/* Takes members from the socket's queue, one packet of each. */
static unsigned prepare_batch(struct tw_engine *engine, struct tw_test_socket *socket, tw_mono now,
                              struct outgoing packets[TW_UDP_BATCH])
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
        packets[n++].target = target;
    }
    return n;
}

/* How often a packet is worth handing over to the kernel that does not take it. `told`: ICMP errors
 * came meanwhile, and a send to anybody fails once for each. A firewall of our own, an interface
 * that has gone or a route that is missing say the same each time. */
static unsigned attempts_for(int error, bool told)
{
    switch (error) {
    case ECONNREFUSED: /* nobody else says that */
        return SEND_ATTEMPTS;
    case EACCES: /* what ICMP can say besides, and the kernel too */
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EMSGSIZE:
    case ENETUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTO:
        return told ? SEND_ATTEMPTS : 2; /* it may have told just before */
    default:
        return 1;
    }
}

/* The packets are stamped. One that the kernel does not take for its own reasons costs nobody else;
 * when there is no room at all, the rest was never sent. */
static void send_batch(struct tw_engine *engine, struct tw_test_socket *socket,
                       const struct outgoing packets[TW_UDP_BATCH], unsigned n, tw_mono now)
{
    struct refusals refusals;
    refusals.n = refusals.errors = 0;
    if (socket->udp.departures && !socket->departures.known)
        take_notices(engine, socket, now, &refusals); /* may be all that numbers wait for */
    unsigned first = 0;
    unsigned attempts = 0;
    while (first < n) {
        const int sent = tw_udp_send_from(&socket->udp, engine->out, first, n - first);
        for (int i = 0; i < sent && first < n; i++, first++)
            tw_departures_remember(&socket->departures, (uint32_t)packets[first].target->index,
                                   packets[first].packet);
        if (first < n) /* whether one that failed has used a number, nobody knows */
            tw_departures_lose(&socket->departures, now);
        const unsigned errors = refusals.errors;
        if (socket->udp.departures || sent < 0)
            take_notices(engine, socket, now, &refusals);
        if (sent > 0) {
            attempts = 0;
            continue;
        }
        const bool full = sent == -EAGAIN || sent == -ENOBUFS || sent == -ENOMEM;
        if (!full && ++attempts < attempts_for(-sent, refusals.errors != errors))
            continue;
        attempts = 0;
        const unsigned failed = full ? n - first : 1;
        /* A refusal never is of the packet that could not leave for it. */
        const int error = sent == -ECONNREFUSED ? EAGAIN : -sent;
        for (unsigned i = first; i < first + failed; i++)
            tw_probe_unsend(&packets[i].target->probe, error, now);
        add_to(&engine->send_failures, failed);
        first += failed;
    }
    settle(engine, &refusals, now);
}

void tw_engine_send_due(struct tw_engine *engine, struct tw_test_socket *socket)
{
    while (socket->due != NULL) {
        const struct tw_reading now = tw_clock_read(&engine->clock);
        struct outgoing packets[TW_UDP_BATCH];
        const unsigned n = prepare_batch(engine, socket, now.mono, packets);
        for (unsigned i = 0; i < n; i++) {
            const struct tw_reading departure = tw_clock_departure(&engine->clock, &now);
            packets[i].packet = tw_probe_stamp(&packets[i].target->probe,
                                               tw_udp_batch_at(engine->out, i)->data, &departure);
        }
        send_batch(engine, socket, packets, n, now.mono);
        for (unsigned i = 0; i < n; i++) {
            struct tw_target *target = packets[i].target;
            /* One that was refused meanwhile has its turn with the others: here it could hold the
             * thread for as long as a reflector warms up. */
            if (!target->touched && tw_probe_send_due(&target->probe, now.mono))
                tw_test_socket_push_due(&target->member);
            else
                tw_engine_set_deadline(engine, target, now.mono);
        }
    }
}
