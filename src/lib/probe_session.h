/* The sessions of a probe: what is asked of the server, what the Session-Sender then
 * works with, and its packets (of which the driver's side is in probe.h).
 *
 * For probe.c and probe_control.c, which decide when each of these happens; this moves the fields
 * of struct tw_probe that belong to the session and knows nothing of intervals and connections. */
#ifndef TW_LIB_PROBE_SESSION_H
#define TW_LIB_PROBE_SESSION_H

#include "lib/probe.h"

/* Sends the request; the client is idle. */
void tw_probe_session_request(struct tw_probe *probe, tw_mono now);

/* The server accepted it: keeps what it says and sends the start. */
void tw_probe_session_accepted(struct tw_probe *probe, const struct tw_accept_session *answer,
                               tw_mono now);

/* It was started: a sender begins anew. */
void tw_probe_session_begin(struct tw_probe *probe, tw_mono now);

/* Whether it was started, and its connection is there. */
bool tw_probe_session_runs(const struct tw_probe *probe);

/* A session that was silent for so long may be none any more for its reflector: another one is
 * asked for, which costs no packets. */
#define TW_PROBE_SILENCE_NS (TW_PROBE_REFWAIT_NS / 4 * 3)

/* Whether the session, which runs, was not answered since the interval began that ends now, or not
 * lately enough. */
bool tw_probe_session_is_silent(const struct tw_probe *probe, tw_mono begun, tw_mono now);

/* It sends this interval's packets, of which there was no chance to send any before `from`; a
 * continuous one that comes too late for them waits for the next interval. */
void tw_probe_session_join(struct tw_probe *probe, tw_mono from);

/* A continuous session has ended with its connection. True when another one is to be set up at
 * once: no packet has left in this interval. */
bool tw_probe_session_lost(struct tw_probe *probe);

/* No more of this interval's packets leave; the last one left, at the latest, at that time. */
void tw_probe_session_drain(struct tw_probe *probe, tw_mono last_departure);

/* Stops it, if it runs on a connection that is still there. */
void tw_probe_session_stop(struct tw_probe *probe, tw_mono now);

/* Wipes the keys of both senders, which must not be used any more. */
void tw_probe_session_forget(struct tw_probe *probe);

#endif
