/* The control connection of a probe: opening it, what comes of what is said on it, losing it.
 *
 * For probe.c, which decides when there is to be one. Both work on struct tw_probe; the first part
 * below is here, the second is probe.c's for this file: when the next step is taken, and how the
 * test begins. What the driver calls about the connection (probe.h) is here too. */
#ifndef TW_LIB_PROBE_CONTROL_H
#define TW_LIB_PROBE_CONTROL_H

#include "lib/probe.h"

/* Asks for a connection to the address whose turn it is; there is one, and the link is down. */
void tw_probe_control_connect(struct tw_probe *probe, tw_mono now);

/* Lets go of the connection, if there is one. */
void tw_probe_control_hang_up(struct tw_probe *probe);

/* A connection that could not be made, or broke before a session ran on it. */
void tw_probe_control_lost(struct tw_probe *probe, tw_mono now);

/* Serves whatever the control machine has to say. */
void tw_probe_control_serve(struct tw_probe *probe, tw_mono now);

/* Set-up that goes on whether there is an interval or not: the server has greeted, so that only the
 * key, or the answer to it, is missing. */
bool tw_probe_control_is_setting_up(const struct tw_probe *probe);

/* Takes the next step towards a started session, if its time has come and is not over. */
void tw_probe_advance(struct tw_probe *probe, tw_mono now);

/* The next attempt comes after a delay that grows with each failure in a row. */
void tw_probe_retry_later(struct tw_probe *probe, tw_mono now);

/* Asks for the target's addresses. */
void tw_probe_resolve(struct tw_probe *probe);

/* The session was started: packets leave from now on. */
void tw_probe_begin_test(struct tw_probe *probe, tw_mono now);

#endif
