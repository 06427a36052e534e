/* What a bench program notes while it measures and prints when it has done that: entries of one
 * size, one behind the other.
 *
 * Address space for as many as there may be is reserved once, and becomes memory where it is
 * written: noting something costs no system call, and no look at what was noted before. One
 * thread's. */
#ifndef BENCH_NOTES_H
#define BENCH_NOTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_notes {
    size_t size; /* of an entry */
    uint64_t room, count;
    uint64_t refused; /* for want of room */
    uint8_t *entries; /* NULL: nobody wants to know */
};

/* Room for so many, or for what fits into half of the machine's memory. False with one line on
 * stderr. Zeroed notes that were never opened take nothing, and may be closed. */
bool bench_notes_open(struct bench_notes *notes, size_t size, uint64_t room);
void bench_notes_close(struct bench_notes *notes);

/* The next entry, to be filled; NULL when there is no room for it. */
static inline void *bench_notes_next(struct bench_notes *notes)
{
    if (notes->count == notes->room) {
        notes->refused++;
        return NULL;
    }
    return notes->entries + notes->size * notes->count++;
}

static inline const void *bench_notes_at(const struct bench_notes *notes, uint64_t i)
{
    return notes->entries + notes->size * i;
}

#endif
