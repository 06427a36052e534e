/* The earliest of many deadlines: a binary heap of items that their owners embed, for the engine.
 *
 * An item knows its own place, so that moving a deadline costs no search. The heap allocates only
 * in reserve. Not for use by several threads. */
#ifndef TW_SYS_HEAP_H
#define TW_SYS_HEAP_H

#include <stddef.h>

#include "lib/time.h"

struct tw_heap_item {
    tw_mono at;
    size_t place; /* from 1; 0: not in the heap */
};

struct tw_heap {
    struct tw_heap_item **items; /* items[0] is not used */
    size_t count, capacity;
};

void tw_heap_init(struct tw_heap *heap);
void tw_heap_free(struct tw_heap *heap);

/* Makes room for `count` items in all: 0 or -ENOMEM. */
int tw_heap_reserve(struct tw_heap *heap, size_t count);

/* Puts the item in, or moves it to its new time. There must be room. */
void tw_heap_set(struct tw_heap *heap, struct tw_heap_item *item, tw_mono at);
void tw_heap_remove(struct tw_heap *heap, struct tw_heap_item *item);

/* NULL when the heap is empty. */
struct tw_heap_item *tw_heap_first(const struct tw_heap *heap);

#endif
