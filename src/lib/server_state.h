/* The moves of the Server machine from state to state, for its parts: server.c (commands),
 * server_set_up.c and server_sids.c. Drivers use server.h alone. */
#ifndef TW_LIB_SERVER_STATE_H
#define TW_LIB_SERVER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/server.h"

/* When set-up, or a message that begins now, must be complete: never above SERVWAIT (RFC 4656
 * section 3). */
tw_mono tw_server_state_stall(const struct tw_server *server, tw_mono now);

/* A new event, zero but for its type; the one before must have been taken. */
struct tw_server_event *tw_server_state_emit(struct tw_server *server,
                                             enum tw_server_event_type type);

/* The REJECT event for the command in the channel. */
void tw_server_state_emit_reject(struct tw_server *server, enum tw_server_reject_reason reason,
                                 enum tw_accept accept);

/* Emits a question and waits for its answer. */
struct tw_server_event *tw_server_state_ask(struct tw_server *server,
                                            enum tw_server_event_type question);

/* That was asked, and the driver has seen it. */
bool tw_server_state_asked(const struct tw_server *server, enum tw_server_event_type question);

/* Waits for commands, after a question or without one. */
void tw_server_state_serve(struct tw_server *server);

/* An answer to the driver's question is queued: the client's time runs again. */
void tw_server_state_resume(struct tw_server *server, tw_mono now);

/* Nothing more is read; CLOSE follows when the output is taken, or the client has had time enough
 * for it. */
void tw_server_state_close(struct tw_server *server, enum tw_server_close_reason reason,
                           tw_mono now);

/* Whether the client chose a mode bit. */
bool tw_server_state_has(const struct tw_server *server, uint32_t mode);

#endif
