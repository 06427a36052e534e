/* A configuration as a whole: made, set, checked, printed, compared; see config.h. What each key
 * takes is config_keys.c, reading a file is file.c. */
#include "reflector/config.h"

#include <string.h>

#include "lib/keys.h"
#include "reflector/config_keys.h"
#include "reflector/error.h"

/* For guessing which key was meant. */
enum { PREFIX_LETTERS = 3, PREFIX_DISTANCE = 2 };

static void *field_of(struct twd_config *config, const struct twd_key *key)
{
    return (char *)config + key->offset;
}

static const void *field_in(const struct twd_config *config, const struct twd_key *key)
{
    return (const char *)config + key->offset;
}

struct twd_config *twd_config_new(void)
{
    struct twd_config *config = g_new0(struct twd_config, 1);
    config->listen = g_array_new(FALSE, FALSE, sizeof(struct twd_listen));
    config->allow = g_array_new(FALSE, FALSE, sizeof(struct twd_prefix));
    config->deny = g_array_new(FALSE, FALSE, sizeof(struct twd_prefix));
    for (size_t i = 0; i < TWD_CONFIG_KEYS; i++) {
        const bool good = twd_keys[i].parse(&twd_keys[i], twd_keys[i].fallback,
                                            field_of(config, &twd_keys[i]), NULL);
        g_assert(good);
    }
    return config;
}

void twd_config_free(struct twd_config *config)
{
    if (config == NULL)
        return;
    g_array_unref(config->listen);
    g_array_unref(config->allow);
    g_array_unref(config->deny);
    g_free(config->secrets_file);
    g_free(config->user);
    g_free(config->status_socket);
    g_free(config);
}

int twd_config_find(const char *key)
{
    for (size_t i = 0; i < TWD_CONFIG_KEYS; i++)
        if (strcmp(twd_keys[i].name, key) == 0)
            return (int)i;
    return -1;
}

const char *twd_config_key_name(int key)
{
    return twd_keys[key].name;
}

/* Levenshtein's distance; both words end at the limit, which no key reaches. */
static unsigned edit_distance(const char *a, const char *b)
{
    enum { LIMIT_LETTERS = 48 };
    unsigned row[LIMIT_LETTERS + 1];
    const size_t width = MIN(strlen(b), (size_t)LIMIT_LETTERS);
    for (size_t j = 0; j <= width; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; i < LIMIT_LETTERS && a[i] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < width; j++) {
            const gchar letter = g_ascii_tolower(a[i]);
            const unsigned changed =
                diagonal + (letter == b[j] || (letter == '-' && b[j] == '_') ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = MIN(changed, MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[width];
}

/* A word that only lacks its end is nearer than its length tells. */
const char *twd_config_nearest(const char *word)
{
    const char *nearest = twd_keys[0].name;
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < TWD_CONFIG_KEYS; i++) {
        unsigned distance = edit_distance(word, twd_keys[i].name);
        if (strlen(word) >= PREFIX_LETTERS && g_str_has_prefix(twd_keys[i].name, word))
            distance = MIN(distance, PREFIX_DISTANCE);
        if (distance < least) {
            least = distance;
            nearest = twd_keys[i].name;
        }
    }
    return nearest;
}

bool twd_config_is_list(int key)
{
    return twd_keys[key].list;
}

bool twd_config_is_whole(int key, const char *text)
{
    return twd_keys[key].list && strcmp(text, twd_keys[key].fallback) == 0;
}

bool twd_config_set(struct twd_config *config, int key, const char *text, GError **error)
{
    return twd_keys[key].parse(&twd_keys[key], text, field_of(config, &twd_keys[key]), error);
}

bool twd_config_check(const struct twd_config *config, int *key, GError **error)
{
    if (tw_keys_needed(config->modes) && config->secrets_file[0] == '\0') {
        *key = twd_config_find("modes");
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "all but unauthenticated need shared secrets; give secrets_file too, such "
                        "as " SYSCONFDIR "/twamp/secrets");
    }
    if (config->nat && config->test_port_range.first == 0) {
        *key = twd_config_find("nat");
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"yes\" needs a port for every session; give test_port_range too, such "
                        "as 20000-20999");
    }
    return true;
}

static void print_key(const struct twd_config *config, const struct twd_key *key, GString *out)
{
    if (!key->list)
        g_string_append_printf(out, "%s = ", key->name);
    key->print(key, field_in(config, key), out);
    if (!key->list)
        g_string_append_c(out, '\n');
}

char *twd_config_print(const struct twd_config *config)
{
    GString *out = g_string_new(NULL);
    for (size_t i = 0; i < TWD_CONFIG_KEYS; i++)
        print_key(config, &twd_keys[i], out);
    return g_string_free(out, FALSE);
}

static bool is_in(const GArray *prefixes, const struct tw_address *peer)
{
    for (guint i = 0; i < prefixes->len; i++) {
        const struct twd_prefix *prefix = &g_array_index(prefixes, struct twd_prefix, i);
        if (tw_address_in_prefix(peer, &prefix->address, prefix->bits))
            return true;
    }
    return false;
}

bool twd_config_admits(const struct twd_config *config, const struct tw_address *peer)
{
    if (is_in(config->deny, peer))
        return false;
    return config->allow->len == 0 || is_in(config->allow, peer);
}

char *twd_config_keep_fixed(struct twd_config *fresh, const struct twd_config *running)
{
    g_autoptr(GString) changed = g_string_new(NULL);
    for (size_t i = 0; i < TWD_CONFIG_KEYS; i++) {
        if (!twd_keys[i].fixed)
            continue;
        g_autoptr(GString) old = g_string_new(NULL);
        g_autoptr(GString) new = g_string_new(NULL);
        print_key(running, &twd_keys[i], old);
        print_key(fresh, &twd_keys[i], new);
        if (!g_string_equal(old, new))
            g_string_append_printf(changed, "%s%s", changed->len == 0 ? "" : ", ",
                                   twd_keys[i].name);
    }
    fresh->control_port = running->control_port;
    fresh->test_port = running->test_port;
    fresh->workers = running->workers;
    fresh->receive_buffer = running->receive_buffer;
    g_array_set_size(fresh->listen, 0);
    if (running->listen->len > 0)
        g_array_append_vals(fresh->listen, running->listen->data, running->listen->len);
    twd_key_set_text(&fresh->user, running->user);
    twd_key_set_text(&fresh->status_socket, running->status_socket);
    return changed->len == 0 ? NULL : g_string_free(g_steal_pointer(&changed), FALSE);
}
