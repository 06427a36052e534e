/* What a Control-Client makes of the server's messages: which may come now, and what follows (RFC
 * 5357 section 3, RFC 5938 section 3).
 *
 * For client.c, whose other half this is: it moves the state of struct tw_client. It asks no
 * question of its own, but answers the greeting. */
#ifndef TW_LIB_CLIENT_ANSWERS_H
#define TW_LIB_CLIENT_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/client.h"

/* The octets that the channel asked for are here: acts on them, or asks for more. */
void tw_client_take(struct tw_client *client, tw_mono now);

/* Ends as TW_CLIENT_FAILED. */
void tw_client_fail(struct tw_client *client, enum tw_client_failure failure, uint8_t accept);

/* A question was queued that the server has to answer within the limit. */
void tw_client_wait(struct tw_client *client, enum tw_client_step step, tw_mono now);

/* Queues the Set-Up-Response. */
void tw_client_respond(struct tw_client *client, const struct tw_setup_response *response,
                       tw_mono now);

/* Whether RFC 5938 was chosen. */
bool tw_client_has_session_control(const struct tw_client *client);

/* Wipes keys and the stream. */
void tw_client_forget(struct tw_client *client);

#endif
