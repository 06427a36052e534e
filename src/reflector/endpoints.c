/* Where a test runs; see endpoints.h. */
#include "reflector/endpoints.h"

#include <string.h>

#include "reflector/own_addresses.h"

static bool is_link_local(const struct tw_address *address)
{
    return address->family == 6 && address->octets[0] == 0xfe &&
           (address->octets[1] & 0xc0) == 0x80;
}

/* The address in a request; all zero, or one without the interface it needs, means the control
 * connection's. */
static struct tw_address take_address(const uint8_t octets[16], uint8_t ipvn,
                                      const struct tw_address *of_connection)
{
    struct tw_address address = {.family = ipvn};
    memcpy(address.octets, octets, ipvn == 4 ? 4 : 16);
    if (tw_address_is_unspecified(&address))
        address = *of_connection;
    else if (is_link_local(&address))
        address.scope = of_connection->scope;
    return address;
}

bool twd_endpoints_find(const struct twd_config *config, const struct tw_request *request,
                        const struct tw_address *peer, const struct tw_address *own,
                        struct twd_endpoints *endpoints, enum twd_refusal *refusal)
{
    endpoints->remote = take_address(request->sender_address, request->ipvn, peer);
    endpoints->local = take_address(request->receiver_address, request->ipvn, own);
    endpoints->remote.port = request->sender_port;
    if (config->nat) { /* to be learnt */
        endpoints->remote = *peer;
        endpoints->remote.port = 0;
    }
    if (endpoints->remote.family != request->ipvn || endpoints->local.family != request->ipvn) {
        *refusal = TWD_REFUSE_FAMILY;
        return false;
    }
    if (!config->third_party && !tw_address_same_host(&endpoints->remote, peer)) {
        *refusal = TWD_REFUSE_SENDER_ADDRESS;
        return false;
    }
    if (!tw_address_same_host(&endpoints->local, own) && !twd_own_has(&endpoints->local)) {
        *refusal = TWD_REFUSE_RECEIVER_ADDRESS;
        return false;
    }
    return true;
}
