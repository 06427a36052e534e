/* The Server machine from its greeting to Server-Start: modes, KeyID and keys (RFC 4656 section
 * 3.1). Part of the machine; drivers use server.h alone, where tw_server_answer_key and
 * tw_server_session_keys are declared. */
#ifndef TW_LIB_SERVER_SET_UP_H
#define TW_LIB_SERVER_SET_UP_H

#include "lib/server.h"

/* Queues the greeting; `random` gives challenge and Server-IV. */
void tw_server_set_up_greet(struct tw_server *server, struct tw_random *random);

/* Acts on the Set-Up-Response that is complete in the channel. */
void tw_server_set_up_take(struct tw_server *server, tw_mono now);

#endif
