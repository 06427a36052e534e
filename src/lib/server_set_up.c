/* How a connection is set up, in each security mode; see server_set_up.h.
 *
 * The key of a KeyID is asked from the driver, which derives it, so that no secret and no slow
 * derivation comes here. Test packets are protected elsewhere, with tw_server_session_keys. */
#include "lib/server_set_up.h"

#include <assert.h>
#include <string.h>

#include "lib/fingerprint.h"
#include "lib/server_state.h"

void tw_server_set_up_greet(struct tw_server *server, struct tw_random *random)
{
    const struct tw_server_config *config = server->config;
    struct tw_greeting greeting = {.modes = config->modes, .count = config->count};
    tw_random_fill(random, server->challenge, sizeof server->challenge);
    tw_random_fill(random, server->server_iv, sizeof server->server_iv);
    memcpy(greeting.challenge, server->challenge, sizeof greeting.challenge);
    memcpy(greeting.salt, config->salt, sizeof greeting.salt);
    tw_put_greeting(tw_channel_place(&server->channel, TW_GREETING_SIZE), &greeting);
    tw_channel_queue(&server->channel, TW_GREETING_SIZE);
}

/* Clear in every mode, and the end (RFC 4656 section 3.1). */
static void refuse(struct tw_server *server, enum tw_accept accept,
                   enum tw_server_close_reason reason, tw_mono now)
{
    const struct tw_server_start message = {.accept = (uint8_t)accept};
    tw_put_server_start(tw_channel_place(&server->channel, TW_SERVER_START_SIZE), &message);
    tw_channel_queue(&server->channel, TW_SERVER_START_SIZE);
    tw_server_state_close(server, reason, now);
}

/* Server-Start with Accept 0, and commands from here on. */
static void begin_service(struct tw_server *server)
{
    const bool secured = tw_keys_needed(server->response.mode);
    struct tw_server_start message = {
        .accept = TW_ACCEPT_OK,
        .start_time = server->config->start_time,
    };
    if (secured) {
        memcpy(message.server_iv, server->server_iv, sizeof message.server_iv);
        tw_channel_secure(&server->channel, &server->keys, server->response.client_iv,
                          server->server_iv);
    }
    tw_put_server_start(tw_channel_place(&server->channel, TW_SERVER_START_SIZE), &message);
    if (secured)
        tw_channel_queue_server_start(&server->channel);
    else
        tw_channel_queue(&server->channel, TW_SERVER_START_SIZE);
    server->mode = server->response.mode;
    if (!tw_test_layout(server->mode).secured) /* no session needs them; the channel has its own */
        explicit_bzero(&server->keys, sizeof server->keys);
    tw_server_state_serve(server);
    tw_server_state_emit(server, TW_SERVER_SET_UP)->mode = server->mode;
    tw_channel_next(&server->channel, TW_COMMAND_HEAD_SIZE);
}

/* Exactly one security bit, and no known bit that was not offered: bits that change formats must
 * not be misunderstood. Bits of the future are ignored (RFC 4656 section 3.1). */
static bool mode_is_served(uint32_t mode, uint32_t offered)
{
    const uint32_t security = mode & TW_MODE_SECURITY;
    const bool one_security_bit = security != 0 && (security & (security - 1)) == 0;
    return one_security_bit && (mode & ~offered) == 0;
}

void tw_server_set_up_take(struct tw_server *server, tw_mono now)
{
    struct tw_setup_response *response = &server->response;
    const enum tw_result result = tw_get_setup_response(server->in, server->channel.have, response);
    assert(result == TW_OK);
    (void)result;

    if (response->mode == 0) {
        tw_server_state_close(server, TW_SERVER_CLOSE_CLIENT_QUIT, now);
        return;
    }
    server->quirks |= tw_fingerprint_mode(response->mode);
    response->mode &= TW_MODE_SECURITY | TW_MODE_FEATURES;
    if (!mode_is_served(response->mode, server->config->modes)) {
        refuse(server, TW_ACCEPT_UNSUPPORTED, TW_SERVER_CLOSE_MODE, now);
        return;
    }
    if (tw_keys_needed(response->mode))
        tw_server_state_ask(server, TW_SERVER_KEY)->keyid = response->keyid;
    else
        begin_service(server);
}

/* An unknown KeyID goes the way of a wrong secret, step by step (RFC 4656 section 6). */
enum tw_result tw_server_answer_key(struct tw_server *server,
                                    const uint8_t derived[TW_AES_KEY_SIZE], bool known, tw_mono now)
{
    if (!tw_server_state_asked(server, TW_SERVER_KEY))
        return TW_ERR_STATE;
    const bool opened =
        tw_keys_open_token(&server->keys, derived, server->challenge, server->response.token);
    server->last = now;
    if (opened && known) {
        begin_service(server);
    } else {
        explicit_bzero(&server->keys, sizeof server->keys);
        refuse(server, TW_ACCEPT_FAILURE, TW_SERVER_CLOSE_KEY, now);
    }
    explicit_bzero(&server->response, sizeof server->response);
    return TW_OK;
}

bool tw_server_session_keys(const struct tw_server *server, const uint8_t sid[TW_SID_SIZE],
                            struct tw_keys *keys)
{
    if (!tw_test_layout(server->mode).secured)
        return false;
    tw_keys_for_session(&server->keys, sid, keys);
    return true;
}
