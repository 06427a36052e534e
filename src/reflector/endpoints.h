/* The two ends of a test session, from its request and the control connection that the request came
 * on (RFC 5357 section 3.5, RFC 4656 section 6.2; conformance SRV-26 to 28). Which port is the
 * reflector's is sessions.c's to say. */
#ifndef TWD_ENDPOINTS_H
#define TWD_ENDPOINTS_H

#include <stdbool.h>

#include "lib/address.h"
#include "lib/wire.h"
#include "reflector/config.h"
#include "reflector/refusal.h"

struct twd_endpoints {
    struct tw_address remote; /* the Session-Sender; port 0 behind NAT: to be learnt */
    struct tw_address local;  /* the Session-Reflector; its port means nothing */
};

/* `peer` and `own` are the two ends of the connection. False with the reason when the request is
 * for addresses that it may not name. */
bool twd_endpoints_find(const struct twd_config *config, const struct tw_request *request,
                        const struct tw_address *peer, const struct tw_address *own,
                        struct twd_endpoints *endpoints, enum twd_refusal *refusal);

#endif
