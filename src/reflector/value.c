/* Texts of configuration values; see value.h. Nothing here knows a key. */
#include "reflector/value.h"

#include <inttypes.h>
#include <string.h>

#include "lib/sys/socket.h"
#include "lib/time.h"
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
