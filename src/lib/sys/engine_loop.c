/* The engine's thread: one turn after the other.
 *
 * What is hard about a target is in the probe. Here is only what needs the kernel: waiting, names
 * and connections; test packets are in engine_packets.c, keys in engine_keys.c. Each turn takes
 * everything that has arrived before it lets any deadline pass, so that a reply that waits in a
 * socket is never declared lost. */
#include "lib/sys/engine_loop.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "lib/bytes.h"
#include "lib/sys/random.h"
#include "lib/sys/socket.h"

/* Bounds of one turn of the loop: a flood must not keep the deadlines waiting. */
enum {
    EVENTS = 128, /* taken at a time */
    EVENT_ROUNDS = 16,
};

/* To wake up is what costs most where many targets have little to do at a time. So an engine with
 * many of them begins its turns no closer together than this, and serves in one what has come up
 * since the last. Packets leave later by that much at most, and replies have their times from the
 * kernel; an engine with few targets is rarely so busy, and would gain nothing. */
#define TURN_NS (500 * TW_NS_PER_US)
enum { MANY_TARGETS = 256 };

/* A probe whose deadline stays in the past although it was served must not cost a processor. */
#define STUCK_NS TW_NS_PER_MS

void tw_engine_touch(struct tw_engine *engine, struct tw_target *target)
{
    if (target->touched)
        return;
    target->touched = true;
    target->next_touched = engine->touched;
    engine->touched = target;
}

void tw_engine_set_deadline(struct tw_engine *engine, struct tw_target *target, tw_mono now)
{
    tw_mono deadline = tw_probe_deadline(&target->probe);
    if (target->expired && tw_mono_reached(deadline, now))
        deadline = tw_mono_after(now, STUCK_NS);
    target->expired = false;
    tw_heap_set(&engine->heap, &target->deadline, deadline);
}

/* The source as it is now: an interface that was made anew has another number. -EADDRNOTAVAIL while
 * the one that was named is not there, as with any address of such an interface. */
static int find_source(const struct tw_target *target, struct tw_address *source)
{
    *source = target->source;
    if (target->source_zone == NULL) {
        tw_address_add_zone(source, target->device);
        return 0;
    }
    source->scope = tw_zone_index(target->source_zone);
    return source->scope != 0 ? 0 : -EADDRNOTAVAIL;
}

static void begin_connect(struct tw_engine *engine, struct tw_target *target,
                          const struct tw_address *remote, tw_mono now)
{
    struct tw_tcp_options options = {
        .device = target->device,
        .raise = engine->config.raise_descriptors,
    };
    int error = 0;
    if (!tw_address_is_unspecified(&target->source)) {
        error = find_source(target, &options.source);
        options.source.port = 0; /* a fixed port is the test packets' */
    }
    if (error == 0)
        error = tw_control_open(&target->control, remote, &options);
    if (error != 0)
        tw_probe_connect_failed(&target->probe, -error, now);
}

/* TCP is open, so that the remote host is known and with it the UDP socket. */
static int join_socket(struct tw_engine *engine, struct tw_target *target, struct tw_address *local)
{
    struct tw_address peer;
    int error = tw_socket_local(target->control.fd, local);
    if (error == 0)
        error = tw_socket_peer(target->control.fd, &peer);
    if (error != 0)
        return error;
    struct tw_address bind = {.family = peer.family};
    if (!tw_address_is_unspecified(&target->source))
        error = find_source(target, &bind);
    if (error != 0)
        return error;
    bind.port = target->source.port;
    error = tw_test_sockets_join(&engine->sockets, &target->member, &bind, target->device, &peer);
    if (error == 0)
        local->port = target->member.socket->udp.local.port;
    return error;
}

static void finish_connect(struct tw_engine *engine, struct tw_target *target, tw_mono now)
{
    struct tw_address local;
    int error = tw_control_finish(&target->control);
    if (error == 0)
        error = join_socket(engine, target, &local);
    if (error == 0) {
        tw_probe_connected(&target->probe, &local, now);
        return;
    }
    tw_control_close(&target->control);
    tw_probe_connect_failed(&target->probe, -error, now);
}

static void resolve(struct tw_engine *engine, struct tw_target *target, tw_mono now)
{
    if (tw_resolver_ask(engine->resolver, target->index, target->host, target->family) != 0)
        tw_probe_resolved(&target->probe, NULL, 0, EAI_MEMORY, now);
}

static void serve_events(struct tw_engine *engine, struct tw_target *target, tw_mono now)
{
    struct tw_probe_event event;
    tw_control_flush(&target->control, &target->probe, now);
    while (tw_probe_next_event(&target->probe, &event)) {
        switch (event.type) {
        case TW_PROBE_RESOLVE:
            resolve(engine, target, now);
            break;
        case TW_PROBE_CONNECT:
            begin_connect(engine, target, &event.address, now);
            break;
        case TW_PROBE_KEY:
            tw_engine_want_key(engine, target, &event.key, now);
            break;
        case TW_PROBE_DISCONNECT:
            tw_control_part(&target->control, &target->probe, now);
            break;
        case TW_PROBE_RESULT:
            engine->config.on_measurement(engine->config.user, target->user, event.measurement);
            break;
        }
    }
    tw_control_wait(&target->control, &target->probe);
}

/* Everything that follows from what happened in this turn; packets that are due are queued. */
static void serve_touched(struct tw_engine *engine, tw_mono now)
{
    while (engine->touched != NULL) {
        struct tw_target *target = engine->touched;
        engine->touched = target->next_touched;
        target->touched = false;
        serve_events(engine, target, now);
        if (target->member.socket != NULL && tw_probe_send_due(&target->probe, now))
            tw_test_socket_push_due(&target->member);
        else
            tw_engine_set_deadline(engine, target, now);
    }
}

static void take_answers(struct tw_engine *engine, tw_mono now)
{
    struct tw_resolver_answer answer;
    while (tw_resolver_take(engine->resolver, &answer) != 0) {
        struct tw_target *target = engine->targets[answer.tag];
        for (size_t i = 0; i < answer.count; i++) /* as the kernel tells them of replies */
            tw_address_add_zone(&answer.addresses[i], target->device);
        tw_probe_resolved(&target->probe, answer.addresses, answer.count, answer.error, now);
        tw_engine_touch(engine, target);
    }
}

static void take_control_event(struct tw_engine *engine, const struct epoll_event *event,
                               tw_mono now)
{
    struct tw_target *target = engine->targets[event->data.u64 & TW_TAG_NUMBER];
    if (target->control.connecting)
        finish_connect(engine, target, now);
    else if (target->control.fd >= 0)
        tw_control_event(&target->control, &target->probe, event->events, now);
    tw_engine_touch(engine, target);
}

/* Test sockets first: what makes a target change its socket comes with the others. False when the
 * end has come. */
static bool take_round(struct tw_engine *engine, const struct epoll_event *events, int n,
                       tw_mono now)
{
    bool go_on = true;
    for (int i = 0; i < n; i++)
        if ((events[i].data.u64 & TW_TAG_KIND) == TW_TAG_SOCKET)
            tw_engine_take_datagrams(engine, &events[i], now);
    for (int i = 0; i < n; i++) {
        switch (events[i].data.u64 & TW_TAG_KIND) {
        case TW_TAG_TARGET:
            take_control_event(engine, &events[i], now);
            break;
        case TW_TAG_RESOLVER:
            take_answers(engine, now);
            break;
        case TW_TAG_DERIVER:
            tw_engine_take_keys(engine, now);
            break;
        case TW_TAG_TIMER:
            engine->armed = TW_NOT_ARMED; /* and stays ready until it is set again */
            break;
        case TW_TAG_STOP:
            go_on = false;
            break;
        }
    }
    return go_on;
}

/* Takes all that is ready at this moment. False when the end has come. */
static bool take_events(struct tw_engine *engine, tw_mono now)
{
    struct epoll_event events[EVENTS];
    bool go_on = true;
    for (int round = 0; round < EVENT_ROUNDS; round++) {
        const int n = epoll_wait(engine->epoll, events, EVENTS, 0);
        if (!take_round(engine, events, n, now))
            go_on = false;
        if (n < EVENTS)
            break;
    }
    return go_on;
}

static void expire(struct tw_engine *engine, const struct tw_reading *now)
{
    struct tw_heap_item *first;
    while ((first = tw_heap_first(&engine->heap)) != NULL &&
           tw_mono_reached(first->at, now->mono)) {
        struct tw_target *target = tw_target_of_deadline(first);
        tw_heap_remove(&engine->heap, first); /* comes back when it has been served */
        tw_probe_expire(&target->probe, now);
        target->expired = true;
        tw_engine_touch(engine, target);
    }
}

static void rest(const struct tw_engine *engine, tw_mono last_turn)
{
    if (engine->count < MANY_TARGETS)
        return;
    const int64_t ns = tw_mono_after(last_turn, TURN_NS).ns;
    const struct timespec until = {.tv_sec = (time_t)(ns / TW_NS_PER_S),
                                   .tv_nsec = (long)(ns % TW_NS_PER_S)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static int set_timer(struct tw_engine *engine, tw_mono at)
{
    if (at.ns == engine->armed.ns)
        return 0;
    const int64_t ns = at.ns > 0 ? at.ns : 1; /* zero would switch the timer off */
    struct itimerspec when = {.it_value = {0}};
    if (!tw_mono_is_never(at)) {
        when.it_value.tv_sec = (time_t)(ns / TW_NS_PER_S);
        when.it_value.tv_nsec = (long)(ns % TW_NS_PER_S);
    }
    if (timerfd_settime(engine->timer, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        return -errno;
    engine->armed = at;
    return 0;
}

/* Until there is something to do, which sending may have brought already. 0 or -errno. */
static int wait(struct tw_engine *engine)
{
    const struct tw_heap_item *first = tw_heap_first(&engine->heap);
    const tw_mono clocks = tw_nic_clocks_deadline(&engine->nics);
    const tw_mono at = first == NULL ? clocks : tw_mono_earlier(first->at, clocks);
    if (engine->touched != NULL || tw_mono_reached(at, tw_clock_mono()))
        return 0;
    const int error = set_timer(engine, at);
    if (error != 0)
        return error;
    struct epoll_event any; /* taken after the clock was read, see take_events() */
    return epoll_wait(engine->epoll, &any, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

/* A leap second, or a daemon that has just learnt of them all. */
static void follow_tai(struct tw_engine *engine)
{
    if (engine->tai_utc_s == engine->clock.quality.tai_utc_s)
        return;
    engine->tai_utc_s = engine->clock.quality.tai_utc_s;
    for (size_t i = 0; i < engine->count; i++)
        engine->targets[i]->config.sender.tai_utc_s = engine->tai_utc_s;
}

/* Before anything is taken that came meanwhile. */
static void notice_sleep(struct tw_engine *engine, tw_mono now)
{
    const struct tw_heap_item *first = tw_heap_first(&engine->heap);
    const bool stopped = first != NULL && now.ns - first->at.ns >= TW_PROBE_ASLEEP_NS;
    const bool suspended = tw_clock_was_suspended(&engine->clock);
    if (!stopped && !suspended)
        return;
    for (size_t i = 0; i < engine->count; i++) {
        struct tw_target *target = engine->targets[i];
        if (stopped)
            tw_probe_slept(&target->probe, TW_PROBE_STOPPED, now);
        if (!suspended)
            continue;
        tw_probe_slept(&target->probe, TW_PROBE_SUSPENDED, now);
        tw_engine_touch(engine, target);
    }
    serve_touched(engine, now); /* what came on connections that are given up is not read */
}

static int loop(struct tw_engine *engine)
{
    for (;;) {
        const int error = wait(engine);
        if (error != 0)
            return error;
        /* What is ready is taken after the clock was read. So nothing that arrived before `now` is
         * still in a socket when deadlines are held against `now`. */
        const struct tw_reading now = tw_clock_read(&engine->clock);
        follow_tai(engine);
        notice_sleep(engine, now.mono);
        tw_nic_clocks_follow(&engine->nics, now.mono);
        if (!take_events(engine, now.mono))
            return 0;
        expire(engine, &now);
        serve_touched(engine, now.mono);
        tw_engine_ask_keys(engine);
        for (size_t i = 0; i < engine->sockets.count; i++)
            if (engine->sockets.sockets[i] != NULL)
                tw_engine_send_due(engine, engine->sockets.sockets[i]);
        rest(engine, now.mono);
    }
}

static void begin(struct tw_engine *engine)
{
    tw_clock_init(&engine->clock, 0);
    engine->tai_utc_s = engine->clock.quality.tai_utc_s;
    tw_random_init(&engine->random);
    engine->keys = (struct tw_engine_keys){.wanted = false};
    uint8_t seed[sizeof(uint32_t)];
    tw_random_fill(&engine->random, seed, sizeof seed);
    tw_test_sockets_init(&engine->sockets, engine->epoll, TW_TAG_SOCKET, tw_get32(seed),
                         engine->config.raise_descriptors);
    tw_nic_clocks_init(&engine->nics, engine->config.raise_descriptors);
    const tw_mono now = tw_clock_mono();
    for (size_t i = 0; i < engine->count; i++) {
        struct tw_target *target = engine->targets[i];
        target->storage.scratch = engine->scratch;
        target->member = (struct tw_test_member){.socket = NULL};
        target->key.waiting = false; /* for an answer of an earlier run */
        target->config.sender.tai_utc_s = engine->tai_utc_s;
        tw_control_init(&target->control, engine->epoll, TW_TAG_TARGET | i);
        tw_probe_init(&target->probe, &target->config, &target->storage, &engine->random, now);
        tw_engine_set_deadline(engine, target, now);
    }
}

/* Says goodbye on all connections, as far as that does not block. */
static void end(struct tw_engine *engine)
{
    const tw_mono now = tw_clock_mono();
    for (size_t i = 0; i < engine->count; i++) {
        struct tw_target *target = engine->targets[i];
        tw_probe_close(&target->probe, now);
        serve_events(engine, target, now);
        tw_control_close(&target->control);
        tw_heap_remove(&engine->heap, &target->deadline);
        target->touched = false;
    }
    engine->touched = NULL;
    tw_test_sockets_free(&engine->sockets);
    tw_nic_clocks_free(&engine->nics);
}

int tw_engine_loop(struct tw_engine *engine)
{
    begin(engine);
    const int error = loop(engine);
    end(engine);
    return error;
}
