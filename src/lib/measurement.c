/* Names states and notes failures; the contract is in measurement.h. */
#include "lib/measurement.h"

const char *tw_measurement_state_name(enum tw_measurement_state state)
{
    switch (state) {
#define TW_MEASUREMENT_NAME_CASE(name, value, text)                                                \
    case name:                                                                                     \
        return text;
        TW_MEASUREMENT_STATES(TW_MEASUREMENT_NAME_CASE)
#undef TW_MEASUREMENT_NAME_CASE
    }
    return "unknown";
}

void tw_measurement_fail(struct tw_measurement *measurement, enum tw_measurement_state state,
                         int error)
{
    measurement->state = state;
    measurement->trouble.valid = false;
    measurement->trouble.error = error;
}

static enum tw_measurement_state state_of_failure(enum tw_client_failure failure,
                                                  enum tw_client_step step)
{
    const bool key_fails =
        failure == TW_CLIENT_KEY_REFUSED || failure == TW_CLIENT_HMAC || failure == TW_CLIENT_COUNT;
    const bool not_derived = failure == TW_CLIENT_TIMED_OUT && step == TW_CLIENT_STEP_KEY;
    if (key_fails || not_derived)
        return TW_MEASUREMENT_KEY;
    if (failure == TW_CLIENT_TIMED_OUT)
        return TW_MEASUREMENT_SILENT;
    /* Who breaks off in the middle of a test did not refuse it: it is gone. */
    if (failure == TW_CLIENT_ENDED && step == TW_CLIENT_STEP_TEST)
        return TW_MEASUREMENT_UNREACHABLE;
    return TW_MEASUREMENT_REFUSED;
}

void tw_measurement_fail_control(struct tw_measurement *measurement, enum tw_client_failure failure,
                                 enum tw_client_step step, uint8_t accept)
{
    measurement->state = state_of_failure(failure, step);
    measurement->trouble.valid = true;
    measurement->trouble.failure = failure;
    measurement->trouble.step = step;
    measurement->trouble.accept = accept;
    measurement->trouble.error = 0;
}

bool tw_measurement_has_cause(const struct tw_measurement *measurement)
{
    return measurement->trouble.valid || measurement->trouble.error != 0;
}

void tw_measurement_count(struct tw_measurement_counters *counters,
                          const struct tw_summary *summary)
{
    counters->sent += summary->sent;
    counters->received += summary->received;
    counters->lost += summary->lost;
    counters->duplicate += summary->duplicates;
    counters->reordered += summary->reordered;
    counters->late += summary->late;
}
