/* Host, SourceAddress, AddressFamily and Device held against each other; see addresses.h. */
#include "collectd-plugin/addresses.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/sys/socket.h"

static const char *family_name(unsigned family)
{
    return family == 4 ? "IPv4" : "IPv6";
}

/* 0: any, or that of a name. */
static unsigned wanted_family(const struct tw_settings *s)
{
    return s->family != 0 ? s->family : s->source.family;
}

/* Addresses that exclude each other would only show as a name that cannot be resolved. */
static bool check_families(const struct tw_settings *s, unsigned host, char why[TW_OPTION_TEXT])
{
    const unsigned source = s->source.family, wanted = wanted_family(s);
    if (source != 0 && source != wanted)
        snprintf(why, TW_OPTION_TEXT,
                 "SourceAddress is an %s address, but AddressFamily is \"ipv%u\"",
                 family_name(source), wanted);
    else if (host != 0 && wanted != 0 && host != wanted)
        snprintf(why, TW_OPTION_TEXT, "Host \"%.64s\" is an %s address, but %s asks for %s",
                 s->host, family_name(host), s->family != 0 ? "AddressFamily" : "SourceAddress",
                 family_name(wanted));
    else
        return true;
    return false;
}

/* The port at the end of "name:862", "192.0.2.1:862" or "[2001:db8::1]:862", "" if there is none
 * behind the colon or the bracket; NULL: this is something else. What is before it is put into
 * `host`, without brackets. */
static const char *split_port(const char *text, char host[TW_OPTION_TEXT])
{
    const bool brackets = text[0] == '[';
    const char *begin = brackets ? text + 1 : text;
    const char *end = strchr(begin, brackets ? ']' : ':');
    if (end == NULL || end == begin)
        return NULL;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    const char *port = brackets ? end + 1 : end;
    if (port[0] == '\0')
        return port;
    return port[0] == ':' && strspn(port + 1, "0123456789") == strlen(port + 1) ? port + 1 : NULL;
}

/* A zone is looked at when it is used: interfaces may come later than collectd. */
static bool has_zone(const char *text)
{
    struct tw_address address;
    char zone[TW_ZONE_SIZE];
    return tw_address_parse_zone(text, &address, zone) && zone[0] != '\0';
}

/* A text that is no address may be a name, but these have no colons. */
static bool check_text(const struct tw_settings *s, char why[TW_OPTION_TEXT])
{
    if (strpbrk(s->host, ":[]") == NULL || has_zone(s->host))
        return true;
    char host[TW_OPTION_TEXT];
    const char *port = split_port(s->host, host);
    if (port == NULL)
        snprintf(why, TW_OPTION_TEXT, "Host \"%.64s\" is neither a name nor an address", s->host);
    else if (port[0] == '\0')
        snprintf(why, TW_OPTION_TEXT, "Host \"%.64s\": write \"%.64s\"", s->host, host);
    else
        snprintf(why, TW_OPTION_TEXT, "Host \"%.64s\": write Host \"%.64s\" and Port %.5s", s->host,
                 host, port);
    return false;
}

/* Without its interface a link-local address says nothing. */
static bool check_zone(const struct tw_settings *s, const char *option,
                       const struct tw_address *address, char why[TW_OPTION_TEXT])
{
    if (!tw_address_needs_zone(address) || s->device[0] != '\0')
        return true;
    char text[TW_ADDRESS_TEXT];
    tw_address_format(address, false, text);
    snprintf(why, TW_OPTION_TEXT,
             "%s \"%s\" is a link-local address: write it with its interface, such as "
             "\"%s%%eth0\", or set Device",
             option, text, text);
    return false;
}

bool tw_addresses_check(const struct tw_settings *settings, char why[TW_OPTION_TEXT])
{
    struct tw_address host;
    const bool literal = tw_address_parse(settings->host, &host);
    if (!check_families(settings, host.family, why) ||
        (settings->source_zone[0] == '\0' &&
         !check_zone(settings, "SourceAddress", &settings->source, why)))
        return false;
    if (!literal)
        return check_text(settings, why);
    if (!tw_address_is_unspecified(&host))
        return check_zone(settings, "Host", &host, why);
    snprintf(why, TW_OPTION_TEXT,
             "Host \"%.64s\" is the address of no server: write the server's own, or \"%s\" for "
             "one on this host",
             settings->host, host.family == 4 ? "127.0.0.1" : "::1");
    return false;
}

/* 0: not known before the name is resolved. */
static unsigned family_of(const struct tw_settings *s)
{
    struct tw_address host;
    (void)tw_address_parse(s->host, &host);
    return host.family != 0 ? host.family : wanted_family(s);
}

bool tw_addresses_collide(const struct tw_settings *a, const struct tw_settings *b)
{
    const bool any_a = tw_address_is_unspecified(&a->source);
    const bool any_b = tw_address_is_unspecified(&b->source);
    const bool same_source =
        any_a || any_b ? any_a && any_b : tw_address_same_host(&a->source, &b->source);
    const bool same_device = strcmp(a->device, b->device) == 0;
    const bool same_host = strcasecmp(a->host, b->host) == 0;
    const bool same_socket = same_source && same_device;
    if (same_socket && !same_host)
        return false; /* before all that takes time: thousands of targets may share a port */
    if (!same_source && !any_a && !any_b)
        return false;
    if (!same_device && a->device[0] != '\0' && b->device[0] != '\0')
        return false;
    /* Different sockets collide on this host already, if they are of one family. */
    const unsigned family = family_of(a);
    return family == family_of(b) && (same_host || family != 0);
}
