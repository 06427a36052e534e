/* The session of one interval of a probe: what is asked of the server, what the Session-Sender then
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

/* It was started: sender and statistics begin anew. */
void tw_probe_session_begin(struct tw_probe *probe, tw_mono now);

/* The last packet left at that time: no other follows, and it is waited for as long as it may
 * take. */
void tw_probe_session_drain(struct tw_probe *probe, tw_mono last_departure);

/* Stops it, if it runs on a connection that is still there. */
void tw_probe_session_stop(struct tw_probe *probe, tw_mono now);

/* Adds what server and reflector have shown to the measurement's quirks. */
void tw_probe_session_note_server(struct tw_probe *probe);
void tw_probe_session_note_reflector(struct tw_probe *probe);

/* Wipes the keys of both senders, which must not be used any more. */
void tw_probe_session_forget(struct tw_probe *probe);

#endif
