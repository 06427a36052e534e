/* What twamp-server.conf may hold: each key's name, type, limits and default, as a table for
 * config.c. */
#ifndef TWD_CONFIG_KEYS_H
#define TWD_CONFIG_KEYS_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reflector/config.h"

struct twd_key {
    const char *name;
    /* On false the error begins with the value. */
    bool (*parse)(const struct twd_key *key, const char *text, void *field, GError **error);
    void (*print)(const struct twd_key *key, const void *field, GString *out);
    size_t offset; /* of the field in struct twd_config */
    const char *fallback;
    int64_t min, max; /* of a number or a duration */
    int64_t bare_ns;  /* what 1 means without a unit */
    bool fixed;       /* a change needs a restart */
    bool list;        /* prints its own `key = value` lines; `fallback` stands for the empty list */
};

/* In the order in which they are printed. */
extern const struct twd_key twd_keys[TWD_CONFIG_KEYS];

/* Replaces a text that is the field's own. */
void twd_key_set_text(char **field, const char *text);

#endif
