/* The control connection of a probe: opening it, what comes of what is said on it, losing it.
 *
 * For probe.c, which decides when there is to be one. Both work on struct tw_probe; the first part
 * below is here, the second is probe.c's for this file: when the next step is taken, and how the
 * test begins. What the driver calls about the connection (probe.h) is here too. */
#ifndef TW_LIB_PROBE_CONTROL_H
#define TW_LIB_PROBE_CONTROL_H

#include "lib/probe.h"

/* Nothing is known of the server yet. */
void tw_probe_control_init(struct tw_probe *probe);

/* Asks for a connection to the address whose turn it is; there is one, and the link is down. */
void tw_probe_control_connect(struct tw_probe *probe, tw_mono now);

/* Lets go of the connection, if there is one. */
void tw_probe_control_hang_up(struct tw_probe *probe);

/* A connection that could not be made, or broke. */
void tw_probe_control_lost(struct tw_probe *probe, tw_mono now);

/* Serves whatever the control machine has to say. */
void tw_probe_control_serve(struct tw_probe *probe, tw_mono now);

/* Set-up that goes on whether there is an interval or not: the server has greeted, so that only the
 * key, or the answer to it, is missing. */
bool tw_probe_control_is_setting_up(const struct tw_probe *probe);

/* Whether there is one on which nothing happens, or one whose server is to answer something. */
bool tw_probe_control_is_idle(const struct tw_probe *probe);
bool tw_probe_control_is_asked(const struct tw_probe *probe);

/* Whether the server may have ended the connection by then if nothing is said on it. */
bool tw_probe_control_idles_too_long(const struct tw_probe *probe, tw_mono until);

/* The connection, or its session, was made anew for that reason, before the server had ended it. */
void tw_probe_control_renewed(struct tw_probe *probe);

/* Takes the next step towards a started session, if its time has come and is not over. */
void tw_probe_advance(struct tw_probe *probe, tw_mono now);

/* The next attempt comes after a delay that grows with each failure in a row. */
void tw_probe_retry_later(struct tw_probe *probe, tw_mono now);

/* Asks for the target's addresses. */
void tw_probe_resolve(struct tw_probe *probe);

/* The session was started: packets may leave from now on. */
void tw_probe_begin_test(struct tw_probe *probe, tw_mono now);

#endif
