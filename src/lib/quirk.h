/* Departures from the standard that a peer shows and that are lived with: its fingerprint.
 *
 * Each is a bit in a set, and has a name that logs, status and reports use. A quirk is never an
 * error: what cannot be lived with ends in a failure or a verdict of its own. */
#ifndef TW_LIB_QUIRK_H
#define TW_LIB_QUIRK_H

#include <stdint.h>

#define TW_QUIRKS(X)                                                                               \
    /* test packets of a reflector */                                                              \
    X(TW_QUIRK_SHORT_REPLY, 0, "short-reply")   /* no Sender TTL: 38 to 40 octets */               \
    X(TW_QUIRK_UNEQUAL_SIZE, 1, "unequal-size") /* longer or shorter than its packet for no        \
                                                   reason */                                       \
    X(TW_QUIRK_TTL_UNSET, 2, "ttl-unset") /* Sender TTL 255 over a routed path, or foreign */      \
    X(TW_QUIRK_SAME_TIMES, 3, "identical-timestamps") /* T2 is T3 in every reply */                \
    X(TW_QUIRK_ZERO_RECEIVE, 4, "zero-receive-timestamp")                                          \
    X(TW_QUIRK_ZERO_ERROR, 5, "zero-error-estimate") /* Multiplier 0 */                            \
    X(TW_QUIRK_Z_BIT, 6, "z-bit")                    /* plainly wrong, either way */               \
    X(TW_QUIRK_PTP_UNASKED, 7, "ptp-unasked")        /* PTP although it was not negotiated */      \
    X(TW_QUIRK_PTP_UTC, 8, "ptp-utc") /* PTP stamps that count from UTC, about 37 s off */         \
    X(TW_QUIRK_NOT_REFLECTED, 9, "padding-not-reflected") /* although agreed on (RFC 6038) */      \
    X(TW_QUIRK_WARM_UP, 10, "warm-up") /* first packets after Start-Ack refused (ICMP) */          \
    /* control messages of a server */                                                             \
    X(TW_QUIRK_UNKNOWN_MODES, 11, "unknown-modes")                                                 \
    X(TW_QUIRK_MBZ, 12, "mbz-not-zero")                                                            \
    X(TW_QUIRK_PORT_ZERO, 13, "accept-without-port")                                               \
    X(TW_QUIRK_PORT_REFUSED, 14, "port-in-refusal")                                                \
    X(TW_QUIRK_SERVER_STOP, 15, "stop-from-server")      /* as OWAMP has it */                     \
    X(TW_QUIRK_REFLECTED_OCTETS, 16, "reflected-octets") /* not those asked for (RFC 6038) */      \
    /* control messages of a client; it shares the MBZ and modes of above */                       \
    X(TW_QUIRK_ZERO_STOP, 17, "zero-stop")   /* stops 0 sessions and means all */                  \
    X(TW_QUIRK_TYPE_P_TOS, 18, "type-p-tos") /* something in the 24 bits that must be zero */      \
    X(TW_QUIRK_REQUEST_SID, 19, "sid-in-request")                                                  \
    X(TW_QUIRK_REQUEST_PACKETS, 20, "packets-in-request")                                          \
    /* again of a reflector: T3 before T2, or further behind it than the reply's arrival here is   \
       behind the packet's departure */                                                            \
    X(TW_QUIRK_CONTRADICTORY, 21, "contradictory-timestamps")                                      \
    X(TW_QUIRK_ZERO_TRANSMIT, 22, "zero-timestamp")       /* T3 */                                 \
    X(TW_QUIRK_CONSTANT_TIMES, 23, "constant-timestamps") /* T2 or T3 stands still */

enum tw_quirk {
#define TW_QUIRK_ENUM(name, bit, text) name = 1 << (bit),
    TW_QUIRKS(TW_QUIRK_ENUM)
#undef TW_QUIRK_ENUM
};

/* How many there are; bits 0 to TW_QUIRK_COUNT - 1. */
#define TW_QUIRK_ONE_MORE(name, bit, text) +1
enum { TW_QUIRK_COUNT = 0 TW_QUIRKS(TW_QUIRK_ONE_MORE) };
#undef TW_QUIRK_ONE_MORE

/* Name of the quirk with that bit number; never NULL. */
const char *tw_quirk_name(unsigned bit);

#endif
