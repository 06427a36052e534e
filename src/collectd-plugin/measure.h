/* Between the plugin's configuration, the engine and the published values, without collectd: what
 * an engine target looks like, and which values one interval's result becomes.
 *
 * The table of published values is in measure.c; it is a promise to users (types of collectd's own
 * types.db, times in milliseconds). */
#ifndef TW_PLUGIN_MEASURE_H
#define TW_PLUGIN_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collectd-plugin/targets.h"
#include "lib/probe.h"
#include "lib/sys/engine.h"

/* Fills `out` but for its user. Strings and the secret belong to `target`, which outlives the call.
 */
void tw_measure_configure(const struct tw_target *target, struct tw_engine_target *out);

/* One value to dispatch: its series is type-type_instance. */
struct tw_measure_value {
    const char *type, *type_instance; /* static */
    bool derive;                      /* `total` counts, else `gauge` */
    int64_t total;                    /* sum since start: DERIVE */
    double gauge;                     /* NaN: not known in this interval */
};

/* As many as there are in all groups. */
enum { TW_MEASURE_VALUES = 38 };

/* The values of `groups` (TW_VALUES_*), in a fixed order. The same series come for every result,
 * also for an interval without answers or without a session. Returns how many were written. */
size_t tw_measure_values(const struct tw_measurement *measurement, unsigned groups,
                         struct tw_measure_value out[TW_MEASURE_VALUES]);

#endif
