/* How each kind of value is read and printed, and the table of the keys; see config_keys.h. Whether
 * values go together is config.c's. */
#include "reflector/config_keys.h"

#include <pwd.h>
#include <string.h>
#include <sys/un.h>

#include "lib/keys.h"
#include "lib/time.h"
#include "lib/wire.h"
#include "reflector/error.h"
#include "reflector/value.h"

#define YEAR_NS (INT64_C(366) * 86400 * TW_NS_PER_S)

/* Of PBKDF2: a key then takes most of a second, which is what a stop may have to wait for. */
enum { ITERATIONS_MAX = 1024 * 1024 };

enum {
    MIN_PACKET_SIZE =
        41, /* the smallest packets that a session can have: a reply without padding */
    MAX_WORKERS = 256,
    TAI_OFFSET_MAX = 3600,          /* seconds: it grows by one in some years */
    RECEIVE_BUFFER_MIN = 64 * 1024, /* room for one of the largest packets */
    RECEIVE_BUFFER_MAX = 64 * 1024 * 1024,
};

static bool parse_port(const struct twd_key *key, const char *text, void *field, GError **error)
{
    (void)key;
    uint64_t port;
    if (!twd_value_number(text, 0, UINT16_MAX, &port, NULL))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a port; give 1 to 65535, or 0 for any free one", text);
    *(uint16_t *)field = (uint16_t)port;
    return true;
}

static void print_port(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append_printf(out, "%u", *(const uint16_t *)field);
}

static bool parse_port_range(const struct twd_key *key, const char *text, void *field,
                             GError **error)
{
    (void)key;
    return twd_value_port_range(text, field, error);
}

static void print_port_range(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    twd_value_print_port_range(field, out);
}

/* A limit: 0 for none, else min to max. */
static bool parse_limit(const struct twd_key *key, const char *text, void *field, GError **error)
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

static void print_limit(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append_printf(out, "%u", *(const unsigned *)field);
}

static bool parse_duration(const struct twd_key *key, const char *text, void *field, GError **error)
{
    return twd_value_duration(text, key->bare_ns, key->min, key->max, field, error);
}

static void print_duration(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    twd_value_print_duration(*(const int64_t *)field, out);
}

static bool parse_size(const struct twd_key *key, const char *text, void *field, GError **error)
{
    uint64_t octets;
    if (!twd_value_size(text, (uint64_t)key->min, (uint64_t)key->max, &octets, error))
        return false;
    *(unsigned *)field = (unsigned)octets;
    return true;
}

static void print_size(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    twd_value_print_size(*(const unsigned *)field, out);
}

static bool parse_boolean(const struct twd_key *key, const char *text, void *field, GError **error)
{
    (void)key;
    return twd_value_boolean(text, field, error);
}

static void print_boolean(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append(out, *(const bool *)field ? "yes" : "no");
}

static bool parse_workers(const struct twd_key *key, const char *text, void *field, GError **error)
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

static void print_workers(const struct twd_key *key, const void *field, GString *out)
{
    if (*(const unsigned *)field == 0)
        g_string_append(out, "auto");
    else
        print_limit(key, field, out);
}

static bool parse_tai(const struct twd_key *key, const char *text, void *field, GError **error)
{
    (void)key;
    uint64_t seconds;
    if (strcmp(text, "auto") == 0) {
        *(int *)field = TWD_TAI_AUTO;
        return true;
    }
    if (!twd_value_number(text, 0, TAI_OFFSET_MAX, &seconds, NULL))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a number of seconds; give auto, or 0 to %d such as 37", text,
                        TAI_OFFSET_MAX);
    *(int *)field = (int)seconds;
    return true;
}

static void print_tai(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    const int seconds = *(const int *)field;
    if (seconds == TWD_TAI_AUTO)
        g_string_append(out, "auto");
    else
        g_string_append_printf(out, "%d", seconds);
}

static const char *const paddings[] = {
    [TW_PADDING_REUSE] = "reuse",
    [TW_PADDING_RANDOM] = "random",
    [TW_PADDING_ZERO] = "zero",
};

static bool parse_padding(const struct twd_key *key, const char *text, void *field, GError **error)
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

static void print_padding(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append(out, paddings[*(const enum tw_padding *)field]);
}

static bool parse_modes(const struct twd_key *key, const char *text, void *field, GError **error)
{
    (void)key;
    return twd_value_modes(text, field, error);
}

static void print_modes(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    twd_value_print_modes(*(const uint32_t *)field, out);
}

static bool parse_features(const struct twd_key *key, const char *text, void *field, GError **error)
{
    (void)key;
    return twd_value_features(text, field, error);
}

static void print_features(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    twd_value_print_features(*(const uint32_t *)field, out);
}

static bool parse_iterations(const struct twd_key *key, const char *text, void *field,
                             GError **error)
{
    uint64_t count;
    if (!twd_value_number(text, 0, (uint64_t)key->max, &count, NULL) ||
        !tw_keys_count_is_valid((uint32_t)count))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a PBKDF2 count; give a power of two from %d to %d", text,
                        TW_KEYS_COUNT_MIN, ITERATIONS_MAX);
    *(uint32_t *)field = (uint32_t)count;
    return true;
}

static void print_iterations(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append_printf(out, "%u", (unsigned)*(const uint32_t *)field);
}

void twd_key_set_text(char **field, const char *text)
{
    g_free(*field);
    *field = g_strdup(text);
}

static bool parse_user(const struct twd_key *key, const char *text, void *field, GError **error)
{
    (void)key;
    if (text[0] != '\0' && getpwnam(text) == NULL)
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a user of this host; create it or give another", text);
    twd_key_set_text(field, text);
    return true;
}

static bool parse_file(const struct twd_key *key, const char *text, void *field, GError **error)
{
    (void)key;
    if (text[0] != '\0' && text[0] != '/')
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not an absolute path; begin it with /, or leave it empty for "
                        "none",
                        text);
    twd_key_set_text(field, text);
    return true;
}

static bool parse_path(const struct twd_key *key, const char *text, void *field, GError **error)
{
    const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    if (strlen(text) > most)
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is too long for a socket; give at most %zu characters", text, most);
    return parse_file(key, text, field, error);
}

static void print_user(const struct twd_key *key, const void *field, GString *out)
{
    (void)key;
    g_string_append(out, *(char *const *)field);
}

static void print_path(const struct twd_key *key, const void *field, GString *out)
{
    print_user(key, field, out);
}

static void print_file(const struct twd_key *key, const void *field, GString *out)
{
    print_user(key, field, out);
}

/* Calls `item` for every part between commas. */
static bool parse_list(const struct twd_key *key, const char *text,
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

static void print_empty_list(const struct twd_key *key, GString *out)
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

static bool parse_listen(const struct twd_key *key, const char *text, void *field, GError **error)
{
    return parse_list(key, text, add_listen, field, error);
}

static void print_listen(const struct twd_key *key, const void *field, GString *out)
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

static bool parse_prefixes(const struct twd_key *key, const char *text, void *field, GError **error)
{
    return parse_list(key, text, add_prefix, field, error);
}

static void print_prefixes(const struct twd_key *key, const void *field, GString *out)
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

const struct twd_key twd_keys[TWD_CONFIG_KEYS] = {
    KEY(control_port, port, control_port, "862", .fixed = true),
    KEY(test_port, port, test_port, "863", .fixed = true),
    KEY(test_port_range, port_range, test_port_range, "", .fixed = false),
    KEY(listen, listen, listen, "all", .fixed = true, .list = true),
    LIMIT(max_sessions, "100"),
    LIMIT(max_sessions_authenticated, "1000"),
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
    KEY(features, features, features, "all", .fixed = false),
    KEY(secrets_file, file, secrets_file, "", .fixed = false),
    KEY(kdf_iterations, iterations, kdf_iterations, "32768", .max = ITERATIONS_MAX),
    KEY(allow, prefixes, allow, "any", .list = true),
    KEY(deny, prefixes, deny, "none", .list = true),
    KEY(third_party, boolean, third_party, "no", .fixed = false),
    KEY(nat, boolean, nat, "no", .fixed = false),
    KEY(strict_stop, boolean, strict_stop, "no", .fixed = false),
    KEY(strict_error_estimate, boolean, strict_error_estimate, "no", .fixed = false),
    KEY(padding, padding, padding, "reuse", .fixed = false),
    KEY(workers, workers, workers, "auto", .fixed = true),
    KEY(receive_buffer, size, receive_buffer, "4M", .min = RECEIVE_BUFFER_MIN,
        .max = RECEIVE_BUFFER_MAX, .fixed = true),
    KEY(user, user, user, "", .fixed = true),
    KEY(status_socket, path, status_socket, "/run/twamp-server/status", .fixed = true),
    DURATION(clock_error_floor, "1ms", TW_NS_PER_MS, 1, 3600 * TW_NS_PER_S),
    KEY(tai_offset, tai, tai_offset_s, "auto", .fixed = false),
};
