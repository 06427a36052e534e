/* Which names of series sets are in use: two of one name would write the same series.
 *
 * A table of pointers to names that somebody else owns; it grows no more once it is made, and
 * nothing is ever taken out. One thread. */
#ifndef TW_PLUGIN_NAMES_H
#define TW_PLUGIN_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Open addressing, at least twice as many cells as names. */
struct tw_names {
    const char **cells;
    size_t mask;
};

/* Room for `count` names; false when there is no memory for it. */
bool tw_names_init(struct tw_names *names, size_t count);
void tw_names_free(struct tw_names *names);

/* Where `name` is, or where a pointer to it belongs: NULL then. */
const char **tw_names_find(const struct tw_names *names, const char *name);

#endif
