/* The keys of twamp-server.conf in one table: type, limits, default. Reading a file is file.c. */
#include "reflector/config.h"

#include <pwd.h>
#include <string.h>
#include <sys/un.h>

#include "lib/time.h"
#include "lib/wire.h"
#include "reflector/error.h"
#include "reflector/value.h"

#define YEAR_NS (INT64_C(366) * 86400 * TW_NS_PER_S)

/* The smallest packets that a session can have: a reply without padding. */
enum { MIN_PACKET_SIZE = 41, MAX_WORKERS = 256, PREFIX_LETTERS = 3, PREFIX_DISTANCE = 2 };

struct key {
    const char *name;
    bool (*parse)(const struct key *key, const char *text, void *field, GError **error);
    void (*print)(const struct key *key, const void *field, GString *out);
    size_t offset;
    const char *fallback;
    int64_t min, max; /* of a number or a duration */
    int64_t bare_ns;  /* what 1 means without a unit */
    bool fixed;       /* a change needs a restart */
    bool list;        /* prints its own `key = value` lines; `fallback` stands for the empty list */
};

static bool parse_port(const struct key *key, const char *text, void *field, GError **error)
{
    (void)key;
    uint64_t port;
    if (!twd_value_number(text, 0, UINT16_MAX, &port, NULL))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a port; give 1 to 65535, or 0 for any free one", text);
    *(uint16_t *)field = (uint16_t)port;
    return true;
}

static void print_port(const struct key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append_printf(out, "%u", *(const uint16_t *)field);
}

/* A limit: 0 for none, else min to max. */
static bool parse_limit(const struct key *key, const char *text, void *field, GError **error)
{
    uint64_t limit;
    if (!twd_value_number(text, 0, (uint64_t)key->max, &limit, NULL) ||
        (limit != 0 && limit < (uint64_t)key->min))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a limit; give a number from %" G_GINT64_FORMAT
                        " to %" G_GINT64_FORMAT ", or 0 for no limit",
                        text, key->min, key->max);
    *(unsigned *)field = (unsigned)limit;
    return true;
}

static void print_limit(const struct key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append_printf(out, "%u", *(const unsigned *)field);
}

static bool parse_duration(const struct key *key, const char *text, void *field, GError **error)
{
    return twd_value_duration(text, key->bare_ns, key->min, key->max, field, error);
}

static void print_duration(const struct key *key, const void *field, GString *out)
{
    (void)key;
    twd_value_print_duration(*(const int64_t *)field, out);
}

static bool parse_boolean(const struct key *key, const char *text, void *field, GError **error)
{
    (void)key;
    return twd_value_boolean(text, field, error);
}

static void print_boolean(const struct key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append(out, *(const bool *)field ? "yes" : "no");
}

static bool parse_workers(const struct key *key, const char *text, void *field, GError **error)
{
    (void)key;
    uint64_t workers = 0;
    if (strcmp(text, "auto") != 0 && !twd_value_number(text, 1, MAX_WORKERS, &workers, NULL))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a number of threads; give auto, or 1 to %d", text,
                        MAX_WORKERS);
    *(unsigned *)field = (unsigned)workers;
    return true;
}

static void print_workers(const struct key *key, const void *field, GString *out)
{
    if (*(const unsigned *)field == 0)
        g_string_append(out, "auto");
    else
        print_limit(key, field, out);
}

static const char *const paddings[] = {
    [TW_PADDING_REUSE] = "reuse",
    [TW_PADDING_RANDOM] = "random",
    [TW_PADDING_ZERO] = "zero",
};

static bool parse_padding(const struct key *key, const char *text, void *field, GError **error)
{
    (void)key;
    for (size_t i = 0; i < G_N_ELEMENTS(paddings); i++) {
        if (strcmp(text, paddings[i]) == 0) {
            *(enum tw_padding *)field = (enum tw_padding)i;
            return true;
        }
    }
    return twd_fail(error, TWD_EXIT_CONFIG,
                    "\"%s\" is not a kind of padding; give reuse, random or zero", text);
}

static void print_padding(const struct key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append(out, paddings[*(const enum tw_padding *)field]);
}

static bool parse_modes(const struct key *key, const char *text, void *field, GError **error)
{
    (void)key;
    static const char *const secured[] = {"mixed", "authenticated", "encrypted", NULL};
    g_auto(GStrv) names = g_strsplit(text, ",", -1);
    for (char **name = names; *name != NULL; name++) {
        g_strstrip(*name);
        if (strcmp(*name, "unauthenticated") == 0)
            continue;
        if (g_strv_contains(secured, *name))
            return twd_fail(error, TWD_EXIT_CONFIG,
                            "\"%s\" is a secured mode, which this version does not have; give "
                            "unauthenticated",
                            *name);
        return twd_fail(error, TWD_EXIT_CONFIG, "\"%s\" is not a mode; give unauthenticated",
                        *name);
    }
    if (names[0] == NULL)
        return twd_fail(error, TWD_EXIT_CONFIG, "\"\" names no mode; give unauthenticated");
    *(uint32_t *)field = TW_MODE_UNAUTHENTICATED;
    return true;
}

static void print_modes(const struct key *key, const void *field, GString *out)
{
    (void)key;
    (void)field;
    g_string_append(out, "unauthenticated");
}

static void set_text(char **field, const char *text)
{
    g_free(*field);
    *field = g_strdup(text);
}

static bool parse_user(const struct key *key, const char *text, void *field, GError **error)
{
    (void)key;
    if (text[0] != '\0' && getpwnam(text) == NULL)
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a user of this host; create it or give another", text);
    set_text(field, text);
    return true;
}

static bool parse_path(const struct key *key, const char *text, void *field, GError **error)
{
    (void)key;
    if (text[0] != '\0' && text[0] != '/')
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not an absolute path; begin it with /, or leave it empty for "
                        "none",
                        text);
    const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    if (strlen(text) > most)
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is too long for a socket; give at most %zu characters", text, most);
    set_text(field, text);
    return true;
}

static void print_user(const struct key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append(out, *(char *const *)field);
}

static void print_path(const struct key *key, const void *field, GString *out)
{
    print_user(key, field, out);
}

/* Calls `item` for every part between commas. */
static bool parse_list(const struct key *key, const char *text,
                       bool (*item)(const char *text, GArray *out, GError **error), void *field,
                       GError **error)
{
    GArray *list = *(GArray **)field;
    if (strcmp(text, key->fallback) == 0)
        return true;
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    if (parts[0] == NULL)
        return twd_fail(error, TWD_EXIT_CONFIG, "\"\" is empty; give %s or a list", key->fallback);
    for (char **part = parts; *part != NULL; part++) {
        g_strstrip(*part);
        if (strcmp(*part, key->fallback) == 0)
            return twd_fail(error, TWD_EXIT_CONFIG,
                            "\"%s\" stands beside other values; give it alone or not at all",
                            *part);
        if (!item(*part, list, error))
            return false;
    }
    return true;
}

static void print_empty_list(const struct key *key, GString *out)
{
    g_string_append_printf(out, "%s = %s\n", key->name, key->fallback);
}

static bool add_listen(const char *text, GArray *out, GError **error)
{
    struct twd_listen listen;
    if (!twd_value_listen(text, &listen, error))
        return false;
    g_array_append_val(out, listen);
    return true;
}

static bool parse_listen(const struct key *key, const char *text, void *field, GError **error)
{
    return parse_list(key, text, add_listen, field, error);
}

static void print_listen(const struct key *key, const void *field, GString *out)
{
    const GArray *list = *(GArray *const *)field;
    if (list->len == 0)
        print_empty_list(key, out);
    for (guint i = 0; i < list->len; i++) {
        g_string_append_printf(out, "%s = ", key->name);
        twd_value_print_listen(&g_array_index(list, struct twd_listen, i), out);
        g_string_append_c(out, '\n');
    }
}

static bool add_prefix(const char *text, GArray *out, GError **error)
{
    struct twd_prefix prefix;
    if (!twd_value_prefix(text, &prefix, error))
        return false;
    g_array_append_val(out, prefix);
    return true;
}

static bool parse_prefixes(const struct key *key, const char *text, void *field, GError **error)
{
    return parse_list(key, text, add_prefix, field, error);
}

static void print_prefixes(const struct key *key, const void *field, GString *out)
{
    const GArray *list = *(GArray *const *)field;
    if (list->len == 0)
        print_empty_list(key, out);
    for (guint i = 0; i < list->len; i++) {
        g_string_append_printf(out, "%s = ", key->name);
        twd_value_print_prefix(&g_array_index(list, struct twd_prefix, i), out);
        g_string_append_c(out, '\n');
    }
}

/* A key whose texts are of the kind that parse_KIND and print_KIND know. */
#define KEY(key_name, kind, member, preset, ...)                                                   \
    {                                                                                              \
        .name = #key_name, .parse = parse_##kind, .print = print_##kind,                           \
        .offset = offsetof(struct twd_config, member), .fallback = (preset), __VA_ARGS__           \
    }
#define LIMIT(key_name, preset) KEY(key_name, limit, key_name, preset, .min = 1, .max = 10000000)
#define DURATION(key_name, preset, bare, least, most)                                              \
    KEY(key_name, duration, key_name##_ns, preset, .bare_ns = (bare), .min = (least), .max = (most))

static const struct key keys[] = {
    KEY(control_port, port, control_port, "862", .fixed = true),
    KEY(test_port, port, test_port, "863", .fixed = true),
    KEY(listen, listen, listen, "all", .fixed = true, .list = true),
    LIMIT(max_sessions, "100"),
    LIMIT(max_sessions_per_client, "50"),
    LIMIT(max_connections, "200"),
    LIMIT(max_connections_per_client, "20"),
    DURATION(session_timeout, "5", 60 * TW_NS_PER_S, TW_NS_PER_MS, YEAR_NS),
    DURATION(servwait, "900s", TW_NS_PER_S, 0, YEAR_NS),
    LIMIT(max_packet_rate, "5000"),
    KEY(max_packet_size, limit, max_packet_size, "9000", .min = MIN_PACKET_SIZE,
        .max = TW_UDP_PAYLOAD_MAX),
    DURATION(max_timeout, "60s", TW_NS_PER_S, 0, YEAR_NS),
    KEY(modes, modes, modes, "unauthenticated", .fixed = false),
    KEY(allow, prefixes, allow, "any", .list = true),
    KEY(deny, prefixes, deny, "none", .list = true),
    KEY(third_party, boolean, third_party, "no", .fixed = false),
    KEY(strict_stop, boolean, strict_stop, "no", .fixed = false),
    KEY(padding, padding, padding, "reuse", .fixed = false),
    KEY(workers, workers, workers, "auto", .fixed = true),
    KEY(user, user, user, "", .fixed = true),
    KEY(status_socket, path, status_socket, "/run/twamp-server/status", .fixed = true),
    DURATION(clock_error_floor, "1ms", TW_NS_PER_MS, 1, 3600 * TW_NS_PER_S),
};
G_STATIC_ASSERT(G_N_ELEMENTS(keys) == TWD_CONFIG_KEYS);

static void *field_of(struct twd_config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

static const void *field_in(const struct twd_config *config, const struct key *key)
{
    return (const char *)config + key->offset;
}

struct twd_config *twd_config_new(void)
{
    struct twd_config *config = g_new0(struct twd_config, 1);
    config->listen = g_array_new(FALSE, FALSE, sizeof(struct twd_listen));
    config->allow = g_array_new(FALSE, FALSE, sizeof(struct twd_prefix));
    config->deny = g_array_new(FALSE, FALSE, sizeof(struct twd_prefix));
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        const bool good =
            keys[i].parse(&keys[i], keys[i].fallback, field_of(config, &keys[i]), NULL);
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
    g_free(config->user);
    g_free(config->status_socket);
    g_free(config);
}

int twd_config_find(const char *key)
{
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        if (strcmp(keys[i].name, key) == 0)
            return (int)i;
    return -1;
}

const char *twd_config_key_name(int key)
{
    return keys[key].name;
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
    const char *nearest = keys[0].name;
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        unsigned distance = edit_distance(word, keys[i].name);
        if (strlen(word) >= PREFIX_LETTERS && g_str_has_prefix(keys[i].name, word))
            distance = MIN(distance, PREFIX_DISTANCE);
        if (distance < least) {
            least = distance;
            nearest = keys[i].name;
        }
    }
    return nearest;
}

bool twd_config_is_list(int key)
{
    return keys[key].list;
}

bool twd_config_is_whole(int key, const char *text)
{
    return keys[key].list && strcmp(text, keys[key].fallback) == 0;
}

bool twd_config_set(struct twd_config *config, int key, const char *text, GError **error)
{
    return keys[key].parse(&keys[key], text, field_of(config, &keys[key]), error);
}

static void print_key(const struct twd_config *config, const struct key *key, GString *out)
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
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        print_key(config, &keys[i], out);
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
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (!keys[i].fixed)
            continue;
        g_autoptr(GString) old = g_string_new(NULL);
        g_autoptr(GString) new = g_string_new(NULL);
        print_key(running, &keys[i], old);
        print_key(fresh, &keys[i], new);
        if (!g_string_equal(old, new))
            g_string_append_printf(changed, "%s%s", changed->len == 0 ? "" : ", ", keys[i].name);
    }
    fresh->control_port = running->control_port;
    fresh->test_port = running->test_port;
    fresh->workers = running->workers;
    g_array_set_size(fresh->listen, 0);
    if (running->listen->len > 0)
        g_array_append_vals(fresh->listen, running->listen->data, running->listen->len);
    set_text(&fresh->user, running->user);
    set_text(&fresh->status_socket, running->status_socket);
    return changed->len == 0 ? NULL : g_string_free(g_steal_pointer(&changed), FALSE);
}
