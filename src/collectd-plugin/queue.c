/* A ring behind a mutex; see queue.h. */
#include "collectd-plugin/queue.h"

#include <errno.h>
#include <stdlib.h>

int tw_queue_init(struct tw_queue *queue, size_t room)
{
    *queue = (struct tw_queue){.room = room};
    queue->entries = calloc(room, sizeof *queue->entries);
    if (queue->entries == NULL)
        return -ENOMEM;
    const int status = pthread_mutex_init(&queue->lock, NULL);
    if (status != 0) {
        free(queue->entries);
        queue->entries = NULL;
    }
    return -status;
}

void tw_queue_free(struct tw_queue *queue)
{
    if (queue->entries == NULL)
        return;
    pthread_mutex_destroy(&queue->lock);
    free(queue->entries);
    *queue = (struct tw_queue){0};
}

void tw_queue_put(struct tw_queue *queue, void *user, const struct tw_measurement *measurement)
{
    pthread_mutex_lock(&queue->lock);
    if (queue->count == queue->room) {
        queue->first = (queue->first + 1) % queue->room;
        queue->count--;
        queue->dropped++;
    }
    struct tw_queue_entry *entry = &queue->entries[(queue->first + queue->count) % queue->room];
    entry->user = user;
    entry->measurement = *measurement;
    queue->count++;
    pthread_mutex_unlock(&queue->lock);
}

bool tw_queue_take(struct tw_queue *queue, struct tw_queue_entry *entry)
{
    pthread_mutex_lock(&queue->lock);
    const bool taken = queue->count > 0;
    if (taken) {
        *entry = queue->entries[queue->first];
        queue->first = (queue->first + 1) % queue->room;
        if (--queue->count == 0)
            queue->first = 0;
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

size_t tw_queue_waiting(struct tw_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const size_t waiting = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return waiting;
}

uint64_t tw_queue_dropped(struct tw_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const uint64_t dropped = queue->dropped;
    pthread_mutex_unlock(&queue->lock);
    return dropped;
}
