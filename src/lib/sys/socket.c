/* Addresses to and from the kernel and from text, and non-blocking TCP, for the engine, the daemon
 * and the client. Nothing here waits. */
#include "lib/sys/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FIRST_RAISED = 1024 }; /* FD_SETSIZE: select() can name what is below */

socklen_t tw_sockaddr_from_address(const struct tw_address *address, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (address->family == 4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address->port)};
        memcpy(&in.sin_addr, address->octets, sizeof in.sin_addr);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(address->port),
        .sin6_scope_id = address->scope,
    };
    memcpy(&in6.sin6_addr, address->octets, sizeof in6.sin6_addr);
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}

static bool is_link_local(const uint8_t octets[16])
{
    return octets[0] == 0xfe && (octets[1] & 0xc0) == 0x80;
}

static struct tw_address from_in6(const struct in6_addr *in6, uint32_t scope)
{
    struct tw_address address = {.family = 6};
    memcpy(address.octets, in6, sizeof address.octets);
    if (IN6_IS_ADDR_V4MAPPED(in6)) {
        memset(address.octets, 0, sizeof address.octets);
        memcpy(address.octets, (const uint8_t *)in6 + 12, 4);
        address.family = 4;
    } else if (is_link_local(address.octets)) {
        address.scope = scope;
    }
    return address;
}

struct tw_address tw_address_from_sockaddr(const struct sockaddr *sockaddr, socklen_t length)
{
    struct tw_address address = {.family = 0};
    sa_family_t family;
    if (length < sizeof family)
        return address;
    memcpy(&family, sockaddr, sizeof family); /* first in every sockaddr */
    if (family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, sockaddr, sizeof in);
        memcpy(address.octets, &in.sin_addr, sizeof in.sin_addr);
        address.port = ntohs(in.sin_port);
        address.family = 4;
    } else if (family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sockaddr, sizeof in6);
        address = from_in6(&in6.sin6_addr, in6.sin6_scope_id);
        address.port = ntohs(in6.sin6_port);
    }
    return address;
}

char *tw_address_format(const struct tw_address *address, bool with_port,
                        char text[TW_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN];
    char zone[IF_NAMESIZE] = "";
    const int family = address->family == 4 ? AF_INET : AF_INET6;
    if (address->family == 0 || inet_ntop(family, address->octets, host, sizeof host) == NULL) {
        snprintf(text, TW_ADDRESS_TEXT, "none");
        return text;
    }
    /* An interface that has gone is told by its number. */
    if (address->scope != 0 && if_indextoname(address->scope, zone) == NULL)
        snprintf(zone, sizeof zone, "%u", (unsigned)address->scope);
    const char *percent = zone[0] == '\0' ? "" : "%";
    if (!with_port)
        snprintf(text, TW_ADDRESS_TEXT, "%s%s%s", host, percent, zone);
    else if (address->family == 4)
        snprintf(text, TW_ADDRESS_TEXT, "%s:%u", host, (unsigned)address->port);
    else
        snprintf(text, TW_ADDRESS_TEXT, "[%s%s%s]:%u", host, percent, zone,
                 (unsigned)address->port);
    return text;
}

uint32_t tw_zone_index(const char *zone)
{
    const uint32_t index = if_nametoindex(zone);
    if (index != 0)
        return index;
    uint32_t number = 0;
    for (const char *p = zone; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || number > INT32_MAX / 10)
            return 0;
        number = number * 10 + (uint32_t)(*p - '0');
    }
    return number <= INT32_MAX ? number : 0;
}

/* On any other than a link-local address an interface says nothing, and somebody thought that it
 * did. */
static bool take_zone(const struct in6_addr *in6, const char *text, char zone[TW_ZONE_SIZE])
{
    const size_t length = strlen(text);
    if (!is_link_local(in6->s6_addr) || length == 0 || length >= TW_ZONE_SIZE)
        return false;
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '/')
            return false;
    memcpy(zone, text, length + 1);
    return true;
}

bool tw_address_parse_zone(const char *text, struct tw_address *address, char zone[TW_ZONE_SIZE])
{
    *address = (struct tw_address){.family = 0};
    zone[0] = '\0';
    uint8_t in4[4];
    if (inet_pton(AF_INET, text, in4) == 1) {
        memcpy(address->octets, in4, sizeof in4);
        address->family = 4;
        return true;
    }
    const char *percent = strchr(text, '%');
    const size_t length = percent == NULL ? strlen(text) : (size_t)(percent - text);
    char host[INET6_ADDRSTRLEN];
    if (length >= sizeof host)
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    struct in6_addr in6;
    if (inet_pton(AF_INET6, host, &in6) != 1)
        return false;
    if (percent != NULL && !take_zone(&in6, percent + 1, zone))
        return false;
    *address = from_in6(&in6, 0);
    return true;
}

bool tw_address_parse(const char *text, struct tw_address *address)
{
    char zone[TW_ZONE_SIZE];
    if (!tw_address_parse_zone(text, address, zone))
        return false;
    if (zone[0] == '\0')
        return true;
    address->scope = tw_zone_index(zone);
    if (address->scope != 0)
        return true;
    *address = (struct tw_address){.family = 0};
    return false;
}

bool tw_address_needs_zone(const struct tw_address *address)
{
    return address->family == 6 && address->scope == 0 && is_link_local(address->octets);
}

void tw_address_add_zone(struct tw_address *address, const char *device)
{
    if (device != NULL && tw_address_needs_zone(address))
        address->scope = if_nametoindex(device);
}

/* Whether a descriptor is in the lower three quarters of what the limit allows: the kernel always
 * gives the lowest. */
static bool leaves_some(int fd)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           (rlim_t)fd < limit.rlim_cur - limit.rlim_cur / 4;
}

int tw_descriptor_raise(int fd)
{
    if (fd < 0 || fd >= FIRST_RAISED)
        return fd;
    const int raised = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_RAISED);
    if (raised < 0 && errno == EINVAL && leaves_some(fd))
        return fd;
    close(fd);
    if (raised < 0)
        errno = EMFILE;
    return raised;
}

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

static int bind_source(int fd, const struct tw_address *source)
{
    /* Without a fixed port the port is chosen at connect, when the peer is known: then one port
     * serves several peers, and thousands of connections do not use up all of them. Old kernels
     * do not know the option and choose now. */
    const int error = source->port == 0 ? set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                                        : set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (error != 0 && source->port != 0)
        return error;
    struct sockaddr_storage sockaddr;
    const socklen_t length = tw_sockaddr_from_address(source, &sockaddr);
    return bind(fd, (const struct sockaddr *)&sockaddr, length) == 0 ? 0 : -errno;
}

static int prepare_tcp(int fd, const struct tw_address *remote,
                       const struct tw_tcp_options *options)
{
    const char *device = options->device;
    if (device != NULL &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) != 0)
        return -errno;
    /* The messages are small and each waits for an answer: Nagle would only delay. */
    int error = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (error == 0 && options->dscp != 0)
        error = remote->family == 4 ? set_int(fd, IPPROTO_IP, IP_TOS, options->dscp << 2)
                                    : set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, options->dscp << 2);
    if (error == 0 && options->source.family != 0)
        error = bind_source(fd, &options->source);
    return error;
}

int tw_tcp_connect(const struct tw_address *remote, const struct tw_tcp_options *options)
{
    if (remote->family == 0 ||
        (options->source.family != 0 && options->source.family != remote->family))
        return -EAFNOSUPPORT;
    int fd = socket(remote->family == 4 ? AF_INET : AF_INET6,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (options->raise)
        fd = tw_descriptor_raise(fd);
    if (fd < 0)
        return -errno;
    int error = prepare_tcp(fd, remote, options);
    if (error == 0) {
        struct sockaddr_storage sockaddr;
        const socklen_t length = tw_sockaddr_from_address(remote, &sockaddr);
        /* EINTR too leaves the connect under way. */
        if (connect(fd, (const struct sockaddr *)&sockaddr, length) != 0 && errno != EINPROGRESS &&
            errno != EINTR)
            error = -errno;
    }
    if (error != 0) {
        close(fd);
        return error;
    }
    return fd;
}

int tw_tcp_connected(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        return -errno;
    if (error != 0)
        return -error;
    struct tw_address local;
    struct tw_address peer;
    int result = tw_socket_peer(fd, &peer);
    if (result == 0)
        result = tw_socket_local(fd, &local);
    /* A connect to a port of our own range where nobody listens may meet itself. */
    if (result == 0 && tw_address_equal(&local, &peer))
        result = -ECONNREFUSED;
    return result;
}

int tw_socket_local(int fd, struct tw_address *local)
{
    struct sockaddr_storage sockaddr;
    socklen_t length = sizeof sockaddr;
    if (getsockname(fd, (struct sockaddr *)&sockaddr, &length) != 0)
        return -errno;
    *local = tw_address_from_sockaddr((const struct sockaddr *)&sockaddr, length);
    return 0;
}

int tw_socket_peer(int fd, struct tw_address *peer)
{
    struct sockaddr_storage sockaddr;
    socklen_t length = sizeof sockaddr;
    if (getpeername(fd, (struct sockaddr *)&sockaddr, &length) != 0)
        return -errno;
    *peer = tw_address_from_sockaddr((const struct sockaddr *)&sockaddr, length);
    return 0;
}
