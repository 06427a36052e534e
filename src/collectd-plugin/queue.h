/* Finished results on their way from the engine's thread to the thread that publishes.
 *
 * Bounded, allocated once: when nobody takes results for long, the oldest are dropped and counted.
 * One that has run empty begins anew at its first place, so that room for bad times that was never
 * used takes no memory: the kernel gives pages when they are written to.
 * Both sides hold the lock for a copy and nothing else. */
#ifndef TW_PLUGIN_QUEUE_H
#define TW_PLUGIN_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/probe.h"

struct tw_queue_entry {
    void *user; /* of the target */
    struct tw_measurement measurement;
};

struct tw_queue {
    pthread_mutex_t lock; /* guards all that follows */
    struct tw_queue_entry *entries;
    size_t room, first, count;
    uint64_t dropped; /* since the start */
};

/* 0, or -errno; `room` must not be 0. Free does nothing to a queue that is all zero or could not be
 * made. */
int tw_queue_init(struct tw_queue *queue, size_t room);
void tw_queue_free(struct tw_queue *queue);

void tw_queue_put(struct tw_queue *queue, void *user, const struct tw_measurement *measurement);

/* The oldest entry; false when there is none. */
bool tw_queue_take(struct tw_queue *queue, struct tw_queue_entry *entry);

/* How many entries wait. */
size_t tw_queue_waiting(struct tw_queue *queue);

uint64_t tw_queue_dropped(struct tw_queue *queue);

#endif
