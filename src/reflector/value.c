/* Texts of configuration values; see value.h. Nothing here knows a key. */
#include "reflector/value.h"

#include <inttypes.h>
#include <string.h>

#include "lib/sys/socket.h"
#include "lib/time.h"
#include "lib/wire.h"
#include "reflector/error.h"

static const struct {
    const char *name;
    int64_t ns;
} units[] = {
    {"h", 3600 * TW_NS_PER_S}, {"min", 60 * TW_NS_PER_S}, {"m", 60 * TW_NS_PER_S},
    {"s", TW_NS_PER_S},        {"ms", TW_NS_PER_MS},      {"us", TW_NS_PER_US},
};

bool twd_value_number(const char *text, uint64_t min, uint64_t max, uint64_t *out, GError **error)
{
    guint64 value = 0;
    if (g_ascii_string_to_unsigned(text, 10, min, max, &value, NULL)) {
        *out = value;
        return true;
    }
    return twd_fail(error, TWD_EXIT_CONFIG,
                    "\"%s\" is not a number from %" PRIu64 " to %" PRIu64 "; give one", text, min,
                    max);
}

/* Exact, since binary fractions would turn 1.1 s into something else when printed. */
static bool parse_decimal(const char **text, int64_t unit_ns, int64_t *out_ns)
{
    const char *at = *text;
    if (!g_ascii_isdigit(*at))
        return false;
    int64_t whole = 0;
    for (; g_ascii_isdigit(*at); at++) {
        if (whole > INT64_MAX / unit_ns / 20)
            return false;
        whole = whole * 10 + (*at - '0');
    }
    int64_t ns = whole * unit_ns;
    if (*at == '.') {
        at++;
        if (!g_ascii_isdigit(*at))
            return false;
        int64_t place_ns = unit_ns / 10;
        for (; g_ascii_isdigit(*at); at++, place_ns /= 10)
            ns += (*at - '0') * place_ns;
    }
    *text = at;
    *out_ns = ns;
    return true;
}

static bool skip_number(const char **text)
{
    const size_t n = strspn(*text, "0123456789.");
    *text += n;
    return n > 0;
}

bool twd_value_duration(const char *text, int64_t bare_ns, int64_t min_ns, int64_t max_ns,
                        int64_t *out_ns, GError **error)
{
    const char *unit = text;
    bool good = skip_number(&unit);
    while (*unit == ' ')
        unit++;
    int64_t unit_ns = *unit == '\0' ? bare_ns : 0;
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
        if (strcmp(unit, units[i].name) == 0)
            unit_ns = units[i].ns;
    int64_t ns = 0;
    const char *number = text;
    good = good && unit_ns != 0 && parse_decimal(&number, unit_ns, &ns) &&
           (number == unit || *number == ' ');
    if (good && ns >= min_ns && ns <= max_ns) {
        *out_ns = ns;
        return true;
    }
    g_autoptr(GString) range = g_string_new(NULL);
    twd_value_print_duration(min_ns, range);
    g_string_append(range, " to ");
    twd_value_print_duration(max_ns, range);
    if (good)
        return twd_fail(error, TWD_EXIT_CONFIG, "\"%s\" is out of range; give %s", text,
                        range->str);
    return twd_fail(error, TWD_EXIT_CONFIG,
                    "\"%s\" is not a time; give a number with us, ms, s, m or h, from %s", text,
                    range->str);
}

void twd_value_print_duration(int64_t ns, GString *out)
{
    if (ns % TW_NS_PER_S == 0)
        g_string_append_printf(out, "%" PRId64 "s", ns / TW_NS_PER_S);
    else if (ns % TW_NS_PER_MS == 0)
        g_string_append_printf(out, "%" PRId64 "ms", ns / TW_NS_PER_MS);
    else
        g_string_append_printf(out, "%" PRId64 ".%03" PRId64 "us", ns / TW_NS_PER_US,
                               ns % TW_NS_PER_US);
}

enum { KIB = 1024, MIB = 1024 * 1024 };

static bool parse_size(const char *text, uint64_t max, uint64_t *out)
{
    const size_t digits = strspn(text, "0123456789");
    const char *unit = text + digits;
    while (*unit == ' ')
        unit++;
    const unsigned octets = strcmp(unit, "") == 0    ? 1
                            : strcmp(unit, "K") == 0 ? KIB
                            : strcmp(unit, "M") == 0 ? MIB
                                                     : 0;
    g_autofree char *number = g_strndup(text, digits);
    guint64 count;
    if (octets == 0 || !g_ascii_string_to_unsigned(number, 10, 0, max / octets, &count, NULL))
        return false;
    *out = count * octets;
    return true;
}

bool twd_value_size(const char *text, uint64_t min, uint64_t max, uint64_t *out, GError **error)
{
    uint64_t size;
    if (parse_size(text, max, &size) && size >= min) {
        *out = size;
        return true;
    }
    g_autoptr(GString) range = g_string_new(NULL);
    twd_value_print_size(min, range);
    g_string_append(range, " to ");
    twd_value_print_size(max, range);
    return twd_fail(error, TWD_EXIT_CONFIG,
                    "\"%s\" is not a size; give octets, or a number with K or M, from %s", text,
                    range->str);
}

void twd_value_print_size(uint64_t octets, GString *out)
{
    if (octets % MIB == 0)
        g_string_append_printf(out, "%" PRIu64 "M", octets / MIB);
    else if (octets % KIB == 0)
        g_string_append_printf(out, "%" PRIu64 "K", octets / KIB);
    else
        g_string_append_printf(out, "%" PRIu64, octets);
}

bool twd_value_boolean(const char *text, bool *out, GError **error)
{
    const bool yes = strcmp(text, "yes") == 0;
    if (!yes && strcmp(text, "no") != 0)
        return twd_fail(error, TWD_EXIT_CONFIG, "\"%s\" is neither yes nor no; give one of them",
                        text);
    *out = yes;
    return true;
}

static bool is_link_local(const struct tw_address *address)
{
    return address->family == 6 && address->octets[0] == 0xfe &&
           (address->octets[1] & 0xc0) == 0x80;
}

/* "[2001:db8::1]%eth0" or "2001:db8::1%eth0" in two parts; the result is to be freed. */
static char *split_device(const char *text, const char **device)
{
    const char *percent = strchr(text, '%');
    *device = percent == NULL ? NULL : percent + 1;
    char *address = percent == NULL ? g_strdup(text) : g_strndup(text, (gsize)(percent - text));
    const size_t n = strlen(address);
    if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
        memmove(address, address + 1, n - 2);
        address[n - 2] = '\0';
    }
    return address;
}

bool twd_value_listen(const char *text, struct twd_listen *out, GError **error)
{
    const char *device;
    g_autofree char *literal = split_device(text, &device);
    struct twd_listen listen = {.device = ""};
    if (!tw_address_parse(literal, &listen.address))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not an address; give an IPv4 or IPv6 address, %%interface may "
                        "follow",
                        text);
    if (device != NULL && (device[0] == '\0' || strlen(device) >= sizeof(listen.device)))
        return twd_fail(error, TWD_EXIT_CONFIG, "\"%s\" names no interface after %%; give one",
                        text);
    if (is_link_local(&listen.address)) {
        g_autofree char *scoped = g_strdup_printf("%s%%%s", literal, device == NULL ? "" : device);
        if (device == NULL)
            return twd_fail(error, TWD_EXIT_CONFIG,
                            "\"%s\" is link-local; give its interface too, as %s%%eth0", text,
                            literal);
        if (!tw_address_parse(scoped, &listen.address))
            return twd_fail(error, TWD_EXIT_CONFIG,
                            "\"%s\" names an interface that is not here; give one of this host",
                            text);
    } else if (device != NULL) {
        g_strlcpy(listen.device, device, sizeof(listen.device));
    }
    listen.address.port = 0;
    *out = listen;
    return true;
}

void twd_value_print_listen(const struct twd_listen *listen, GString *out)
{
    char text[TW_ADDRESS_TEXT];
    g_string_append(out, tw_address_format(&listen->address, false, text));
    if (listen->device[0] != '\0')
        g_string_append_printf(out, "%%%s", listen->device);
}

bool twd_value_port_range(const char *text, struct twd_port_range *out, GError **error)
{
    if (text[0] == '\0') {
        *out = (struct twd_port_range){.first = 0};
        return true;
    }
    const char *dash = strchr(text, '-');
    g_autofree char *low = dash == NULL ? g_strdup(text) : g_strndup(text, (gsize)(dash - text));
    guint64 first;
    guint64 last;
    const bool good = dash != NULL &&
                      g_ascii_string_to_unsigned(low, 10, 1, UINT16_MAX, &first, NULL) &&
                      g_ascii_string_to_unsigned(dash + 1, 10, first, UINT16_MAX, &last, NULL);
    if (!good)
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not a range of ports; give the first and the last, such as "
                        "20000-20999, or leave it empty for none",
                        text);
    *out = (struct twd_port_range){.first = (uint16_t)first, .last = (uint16_t)last};
    return true;
}

void twd_value_print_port_range(const struct twd_port_range *range, GString *out)
{
    if (range->first != 0)
        g_string_append_printf(out, "%u-%u", range->first, range->last);
}

bool twd_value_prefix(const char *text, struct twd_prefix *out, GError **error)
{
    const char *slash = strchr(text, '/');
    g_autofree char *literal =
        slash == NULL ? g_strdup(text) : g_strndup(text, (gsize)(slash - text));
    struct twd_prefix prefix = {.bits = 0};
    if (strchr(literal, '%') != NULL || !tw_address_parse(literal, &prefix.address))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" is not an address; give a prefix such as 192.0.2.0/24 or "
                        "2001:db8::/32",
                        text);
    const unsigned most = prefix.address.family == 4 ? 32 : 128;
    guint64 bits = most;
    if (slash != NULL && !g_ascii_string_to_unsigned(slash + 1, 10, 0, most, &bits, NULL))
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "\"%s\" has no good length after the slash; give 0 to %u", text, most);
    prefix.bits = (unsigned)bits;
    prefix.address.port = 0;
    *out = prefix;
    return true;
}

void twd_value_print_prefix(const struct twd_prefix *prefix, GString *out)
{
    char text[TW_ADDRESS_TEXT];
    g_string_append_printf(out, "%s/%u", tw_address_format(&prefix->address, false, text),
                           prefix->bits);
}

/* A word that stands for bits of Modes. */
struct word {
    const char *name;
    uint32_t bit;
};

static const struct word security_modes[] = {
    {"unauthenticated", TW_MODE_UNAUTHENTICATED},
    {"mixed", TW_MODE_MIXED},
    {"authenticated", TW_MODE_AUTHENTICATED},
    {"encrypted", TW_MODE_ENCRYPTED},
};

static const struct word feature_words[] = {
    {"session-control", TW_MODE_SESSION_CONTROL},
    {"reflect-octets", TW_MODE_REFLECT_OCTETS},
    {"symmetrical", TW_MODE_SYMMETRICAL},
    {"dscp", TW_MODE_DSCP_ECN},
    {"ptp", TW_MODE_PTP},
};

#define ALL_FEATURES                                                                               \
    (TW_MODE_SESSION_CONTROL | TW_MODE_REFLECT_OCTETS | TW_MODE_SYMMETRICAL | TW_MODE_DSCP_ECN |   \
     TW_MODE_PTP)

/* The bits of a list of words; on false `stranger` is the part that is none, to be freed. */
static bool read_words(const char *text, const struct word *words, size_t count, uint32_t *bits,
                       char **stranger)
{
    g_auto(GStrv) names = g_strsplit(text, ",", -1);
    *bits = 0;
    for (char **name = names; *name != NULL; name++) {
        g_strstrip(*name);
        size_t i = 0;
        while (i < count && strcmp(*name, words[i].name) != 0)
            i++;
        if (i == count) {
            *stranger = g_strdup(*name);
            return false;
        }
        *bits |= words[i].bit;
    }
    if (names[0] != NULL)
        return true;
    *stranger = g_strdup("");
    return false;
}

static void print_words(uint32_t bits, const struct word *words, size_t count, GString *out)
{
    const char *between = "";
    for (size_t i = 0; i < count; i++) {
        if ((bits & words[i].bit) == 0)
            continue;
        g_string_append_printf(out, "%s%s", between, words[i].name);
        between = ", ";
    }
}

bool twd_value_modes(const char *text, uint32_t *out, GError **error)
{
    g_autofree char *stranger = NULL;
    if (read_words(text, security_modes, G_N_ELEMENTS(security_modes), out, &stranger))
        return true;
    return twd_fail(error, TWD_EXIT_CONFIG,
                    "\"%s\" is not a mode; give unauthenticated, mixed, authenticated, encrypted, "
                    "or several of them with commas between",
                    stranger);
}

void twd_value_print_modes(uint32_t modes, GString *out)
{
    print_words(modes, security_modes, G_N_ELEMENTS(security_modes), out);
}

bool twd_value_features(const char *text, uint32_t *out, GError **error)
{
    if (strcmp(text, "all") == 0 || strcmp(text, "none") == 0) {
        *out = text[0] == 'a' ? ALL_FEATURES : 0;
        return true;
    }
    g_autofree char *stranger = NULL;
    if (read_words(text, feature_words, G_N_ELEMENTS(feature_words), out, &stranger))
        return true;
    return twd_fail(error, TWD_EXIT_CONFIG,
                    "\"%s\" is not a feature; give all, none, or some of session-control, "
                    "reflect-octets, symmetrical, dscp and ptp with commas between",
                    stranger);
}

void twd_value_print_features(uint32_t features, GString *out)
{
    if (features == 0 || features == ALL_FEATURES)
        g_string_append(out, features == 0 ? "none" : "all");
    else
        print_words(features, feature_words, G_N_ELEMENTS(feature_words), out);
}
