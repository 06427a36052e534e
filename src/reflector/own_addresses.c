/* Addresses of this host; see own_addresses.h. */
#include "reflector/own_addresses.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/sys/socket.h"

bool twd_own_is_loopback4(const struct tw_address *address)
{
    return address->family == 4 && address->octets[0] == 127;
}

struct tw_address twd_own_ip4(void)
{
    struct tw_address found = {.family = 0};
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0)
        return found;
    for (const struct ifaddrs *at = list; at != NULL && found.family == 0; at = at->ifa_next) {
        if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_INET ||
            (at->ifa_flags & IFF_LOOPBACK) != 0)
            continue;
        found = tw_address_from_sockaddr(at->ifa_addr, sizeof(struct sockaddr_in));
    }
    freeifaddrs(list);
    return found;
}

bool twd_own_has(const struct tw_address *address)
{
    if (twd_own_is_loopback4(address))
        return true;
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0)
        return false;
    bool own = false;
    for (const struct ifaddrs *at = list; at != NULL && !own; at = at->ifa_next) {
        if (at->ifa_addr == NULL)
            continue;
        const bool ip4 = at->ifa_addr->sa_family == AF_INET;
        const struct tw_address other = tw_address_from_sockaddr(
            at->ifa_addr, ip4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        own = tw_address_same_host(&other, address);
    }
    freeifaddrs(list);
    return own;
}
