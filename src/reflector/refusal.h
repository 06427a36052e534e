/* Why the daemon, not the protocol machine, refused a connection or a session. The names are reason
 * codes in the status, beside those of lib/server.h. */
#ifndef TWD_REFUSAL_H
#define TWD_REFUSAL_H

#include "lib/wire.h"

/* name, reason code, what the peer is told (connections: Modes 0), text for the log */
#define TWD_REFUSALS(X)                                                                            \
    X(TWD_REFUSE_DENIED, "denied", TW_ACCEPT_OK, "not admitted by allow and deny")                 \
    X(TWD_REFUSE_CONNECTIONS, "max-connections", TW_ACCEPT_OK, "max_connections are open")         \
    X(TWD_REFUSE_CLIENT_CONNECTIONS, "max-connections-per-client", TW_ACCEPT_OK,                   \
      "max_connections_per_client of this client are open")                                        \
    X(TWD_REFUSE_KEYS, "keys-not-ready", TW_ACCEPT_OK,                                             \
      "the keys of the modes just configured are still being derived")                             \
    X(TWD_REFUSE_SESSIONS, "max-sessions", TW_ACCEPT_TEMPORARY_LIMIT, "max_sessions exist")        \
    X(TWD_REFUSE_SESSIONS_AUTHENTICATED, "max-sessions-authenticated", TW_ACCEPT_TEMPORARY_LIMIT,  \
      "max_sessions_authenticated exist")                                                          \
    X(TWD_REFUSE_CLIENT_SESSIONS, "max-sessions-per-client", TW_ACCEPT_TEMPORARY_LIMIT,            \
      "max_sessions_per_client of this client exist")                                              \
    X(TWD_REFUSE_FAMILY, "address-family", TW_ACCEPT_UNSUPPORTED,                                  \
      "IPVN does not fit the addresses")                                                           \
    X(TWD_REFUSE_SENDER_ADDRESS, "sender-address", TW_ACCEPT_UNSUPPORTED,                          \
      "Sender Address is not the control peer's; see third_party")                                 \
    X(TWD_REFUSE_RECEIVER_ADDRESS, "receiver-address", TW_ACCEPT_UNSUPPORTED,                      \
      "Receiver Address is not one that tests are received at")                                    \
    X(TWD_REFUSE_PORTS, "test-port-range", TW_ACCEPT_TEMPORARY_LIMIT,                              \
      "no port of test_port_range is free")                                                        \
    X(TWD_REFUSE_DUPLICATE, "duplicate", TW_ACCEPT_TEMPORARY_LIMIT,                                \
      "another session has the same addresses and ports")

enum twd_refusal {
#define TWD_REFUSAL_ENUM(name, code, accept, text) name,
    TWD_REFUSALS(TWD_REFUSAL_ENUM)
#undef TWD_REFUSAL_ENUM
        TWD_REFUSAL_COUNT
};

const char *twd_refusal_name(enum twd_refusal refusal);
const char *twd_refusal_text(enum twd_refusal refusal);

/* For Accept-Session; meaningless for connections. */
enum tw_accept twd_refusal_accept(enum twd_refusal refusal);

#endif
