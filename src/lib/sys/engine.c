/* Makes and ends engines; the contract is in engine.h, the work in engine_loop.c. */
#include "lib/sys/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys/engine_loop.h"
#include "lib/sys/socket.h"

static int register_event(struct tw_engine *engine, int fd, uint64_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    return epoll_ctl(engine->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int raised(const struct tw_engine *engine, int fd)
{
    return engine->config.raise_descriptors ? tw_descriptor_raise(fd) : fd;
}

/* What a run needs of the kernel; the threads for names and keys too, since the owner may fork
 * between new and run. */
static int open_all(struct tw_engine *engine)
{
    engine->epoll = raised(engine, epoll_create1(EPOLL_CLOEXEC));
    if (engine->epoll < 0)
        return -errno;
    engine->timer = raised(engine, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (engine->timer < 0)
        return -errno;
    engine->resolver = tw_resolver_new();
    if (engine->resolver == NULL)
        return -errno;
    engine->deriver = tw_deriver_new();
    if (engine->deriver == NULL)
        return -errno;
    engine->armed = TW_NOT_ARMED;
    int error = register_event(engine, engine->timer, TW_TAG_TIMER);
    if (error == 0)
        error = register_event(engine, engine->stop, TW_TAG_STOP);
    if (error == 0)
        error = register_event(engine, tw_resolver_descriptor(engine->resolver), TW_TAG_RESOLVER);
    if (error == 0)
        error = register_event(engine, tw_deriver_descriptor(engine->deriver), TW_TAG_DERIVER);
    return error;
}

static void close_all(struct tw_engine *engine)
{
    tw_resolver_free(engine->resolver);
    engine->resolver = NULL;
    tw_deriver_free(engine->deriver);
    engine->deriver = NULL;
    if (engine->timer >= 0)
        close(engine->timer);
    if (engine->epoll >= 0)
        close(engine->epoll);
    engine->timer = -1;
    engine->epoll = -1;
    eventfd_t stops;
    (void)eventfd_read(engine->stop, &stops);
}

int tw_engine_run(struct tw_engine *engine)
{
    int error = open_all(engine);
    if (error == 0)
        error = tw_engine_loop(engine);
    close_all(engine);
    return error;
}

void tw_engine_stop(struct tw_engine *engine)
{
    (void)eventfd_write(engine->stop, 1);
}

struct tw_engine *tw_engine_new(const struct tw_engine_config *config)
{
    struct tw_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return NULL;
    engine->config = *config;
    engine->epoll = -1;
    engine->timer = -1;
    tw_heap_init(&engine->heap);
    engine->stop = raised(engine, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const int error = engine->stop < 0 ? errno : ENOMEM;
    engine->in = tw_udp_batch_new();
    engine->out = tw_udp_batch_new();
    if (engine->stop >= 0 && engine->in != NULL && engine->out != NULL)
        return engine;
    tw_engine_free(engine);
    errno = error;
    return NULL;
}

void tw_engine_free(struct tw_engine *engine)
{
    if (engine == NULL)
        return;
    for (size_t i = 0; i < engine->count; i++)
        tw_target_free(engine->targets[i]);
    free(engine->targets);
    free(engine->scratch);
    tw_heap_free(&engine->heap);
    tw_udp_batch_free(engine->in);
    tw_udp_batch_free(engine->out);
    if (engine->stop >= 0)
        close(engine->stop);
    free(engine);
}

/* Room for one more target, whose statistics need `slots` values of scratch. */
static int reserve(struct tw_engine *engine, uint32_t slots)
{
    if (engine->count == engine->capacity) {
        const size_t capacity = engine->capacity == 0 ? 16 : 2 * engine->capacity;
        struct tw_target **targets =
            realloc(engine->targets, capacity * sizeof(struct tw_target *));
        if (targets == NULL)
            return -ENOMEM;
        engine->targets = targets;
        engine->capacity = capacity;
    }
    if (slots > engine->scratch_count) {
        int64_t *scratch = realloc(engine->scratch, slots * sizeof *scratch);
        if (scratch == NULL)
            return -ENOMEM;
        engine->scratch = scratch;
        engine->scratch_count = slots;
    }
    return tw_heap_reserve(&engine->heap, engine->count + 1);
}

int tw_engine_add(struct tw_engine *engine, const struct tw_engine_target *spec)
{
    struct tw_target *target;
    int error = tw_target_new(spec, engine->count, &target);
    if (error != 0)
        return error;
    error = reserve(engine, target->storage.slot_count);
    if (error != 0) {
        tw_target_free(target);
        return error;
    }
    engine->targets[engine->count++] = target;
    return 0;
}

struct tw_engine_counters tw_engine_counters(const struct tw_engine *engine)
{
    return (struct tw_engine_counters){
        .kernel_drops = atomic_load_explicit(&engine->kernel_drops, memory_order_relaxed),
        .unknown = atomic_load_explicit(&engine->unknown, memory_order_relaxed),
        .send_failures = atomic_load_explicit(&engine->send_failures, memory_order_relaxed),
        .wrong_stamps = atomic_load_explicit(&engine->wrong_stamps, memory_order_relaxed),
    };
}
