/* Names in use; see names.h. */
#include "collectd-plugin/names.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool tw_names_init(struct tw_names *names, size_t count)
{
    size_t cells = 16;
    while (cells < 2 * count)
        cells *= 2;
    names->cells = calloc(cells, sizeof *names->cells);
    names->mask = cells - 1;
    return names->cells != NULL;
}

void tw_names_free(struct tw_names *names)
{
    free(names->cells);
    names->cells = NULL;
}

const char **tw_names_find(const struct tw_names *names, const char *name)
{
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a */
    for (const char *c = name; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT32_C(16777619);
    size_t i = hash & names->mask;
    while (names->cells[i] != NULL && strcmp(names->cells[i], name) != 0)
        i = (i + 1) & names->mask;
    return &names->cells[i];
}
