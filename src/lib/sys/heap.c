/* A binary heap with its smallest item first; the contract is in heap.h. */
#include "lib/sys/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

void tw_heap_init(struct tw_heap *heap)
{
    *heap = (struct tw_heap){.items = NULL};
}

void tw_heap_free(struct tw_heap *heap)
{
    free(heap->items);
    tw_heap_init(heap);
}

int tw_heap_reserve(struct tw_heap *heap, size_t count)
{
    if (count <= heap->capacity)
        return 0;
    size_t capacity = heap->capacity == 0 ? 16 : heap->capacity;
    while (capacity < count && capacity < SIZE_MAX / 4 / sizeof(struct tw_heap_item *))
        capacity *= 2;
    if (capacity < count)
        return -ENOMEM;
    struct tw_heap_item **items =
        realloc(heap->items, (capacity + 1) * sizeof(struct tw_heap_item *));
    if (items == NULL)
        return -ENOMEM;
    heap->items = items;
    heap->capacity = capacity;
    return 0;
}

static void put(struct tw_heap *heap, struct tw_heap_item *item, size_t place)
{
    heap->items[place] = item;
    item->place = place;
}

/* Lets the item, whose place is free, sink or rise from there to where it belongs. */
static void settle(struct tw_heap *heap, struct tw_heap_item *item, size_t place)
{
    while (place > 1 && item->at.ns < heap->items[place / 2]->at.ns) {
        put(heap, heap->items[place / 2], place);
        place /= 2;
    }
    for (;;) {
        size_t child = 2 * place;
        if (child > heap->count)
            break;
        if (child < heap->count && heap->items[child + 1]->at.ns < heap->items[child]->at.ns)
            child++;
        if (item->at.ns <= heap->items[child]->at.ns)
            break;
        put(heap, heap->items[child], place);
        place = child;
    }
    put(heap, item, place);
}

void tw_heap_set(struct tw_heap *heap, struct tw_heap_item *item, tw_mono at)
{
    item->at = at;
    if (item->place == 0) {
        assert(heap->count < heap->capacity);
        item->place = ++heap->count;
    }
    settle(heap, item, item->place);
}

void tw_heap_remove(struct tw_heap *heap, struct tw_heap_item *item)
{
    const size_t place = item->place;
    if (place == 0)
        return;
    item->place = 0;
    struct tw_heap_item *last = heap->items[heap->count--];
    if (last != item)
        settle(heap, last, place);
}

struct tw_heap_item *tw_heap_first(const struct tw_heap *heap)
{
    return heap->count == 0 ? NULL : heap->items[1];
}
