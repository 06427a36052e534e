/* The result of one interval: what was measured, the target's state, and what went wrong.
 *
 * Made by the probe (probe.h), carried unchanged to whoever publishes it. Plain data with no memory
 * of its own: a copy is complete. */
#ifndef TW_LIB_MEASUREMENT_H
#define TW_LIB_MEASUREMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/client.h"
#include "lib/quirk.h"
#include "lib/stats.h"
#include "lib/time.h"

/* The target's state at the end of an interval; the numbers are published (gauge-state). */
#define TW_MEASUREMENT_STATES(X)                                                                   \
    X(TW_MEASUREMENT_OK, 0, "ok")                   /* test packets were answered */               \
    X(TW_MEASUREMENT_UNREACHABLE, 1, "unreachable") /* no control connection */                    \
    X(TW_MEASUREMENT_REFUSED, 2, "refused")         /* the server said no */                       \
    X(TW_MEASUREMENT_SILENT, 3, "silent") /* no answer to control messages, or none of use to      \
                                             test packets */                                       \
    X(TW_MEASUREMENT_KEY, 4, "key")       /* no key that both ends have */                         \
    X(TW_MEASUREMENT_NAME, 5, "name")     /* the name cannot be resolved */

enum tw_measurement_state {
#define TW_MEASUREMENT_ENUM(name, value, text) name = value,
    TW_MEASUREMENT_STATES(TW_MEASUREMENT_ENUM)
#undef TW_MEASUREMENT_ENUM
};

const char *tw_measurement_state_name(enum tw_measurement_state state);

/* Sums since init: the published DERIVE values. */
struct tw_measurement_counters {
    uint64_t sent, received, lost, duplicate, reordered, late;
};

/* Datagrams that came instead of replies; none of them touches a value. */
struct tw_measurement_rejected {
    uint32_t too_short;     /* for a reply */
    uint32_t foreign;       /* without Sender Sequence Number and T1 of a packet of ours */
    uint32_t not_authentic; /* the HMAC does not verify */
};

/* The result of one interval. */
struct tw_measurement {
    tw_wall time;  /* when the result became final, however late the driver noticed */
    tw_mono begun; /* when the interval began */
    enum tw_measurement_state state;
    bool session;                            /* a session was started: packets left */
    struct tw_summary summary;               /* tw_summary_none() without a session */
    struct tw_measurement_counters counters; /* this interval included */
    struct tw_address remote; /* reflector's test address, family 0 without a session */
    struct tw_address local;  /* the sender's, likewise */
    struct tw_measurement_rejected rejected; /* while packets of this interval were under way */
    uint32_t quirks;  /* enum tw_quirk, what the target showed in this interval */
    uint32_t mode;    /* of the control connection, 0 without a session */
    uint32_t offered; /* Modes of the server's greeting, 0: none came in this interval */
    /* the last thing that went wrong, while the state is not ok */
    struct {
        bool valid; /* the next fields mean something: the control machine failed */
        enum tw_client_failure failure;
        enum tw_client_step step;
        uint8_t accept;
        int error; /* errno of connect or of sending, or EAI_* of the look-up when the state is
                      NAME; 0 none */
    } trouble;
};

/* What went wrong, in place of what was noted before. `error` is an errno, or EAI_* with state
 * NAME. */
void tw_measurement_fail(struct tw_measurement *measurement, enum tw_measurement_state state,
                         int error);

/* The same where the control machine failed; the state follows from that. */
void tw_measurement_fail_control(struct tw_measurement *measurement, enum tw_client_failure failure,
                                 enum tw_client_step step, uint8_t accept);

/* Whether a failure has been noted with its cause. */
bool tw_measurement_has_cause(const struct tw_measurement *measurement);

/* Adds what the interval counted to the sums. */
void tw_measurement_count(struct tw_measurement_counters *counters,
                          const struct tw_summary *summary);

#endif
