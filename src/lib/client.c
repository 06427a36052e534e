/* The Control-Client machine of TWAMP-Control: its life, its deadlines, and the questions it asks
 * (see client.h).
 *
 * What the server says is judged in client_answers, ciphers and HMACs are the channel's, which
 * sessions there are is kept in client_sessions. Whether a server's refusal is final is the
 * driver's business. */
#include "lib/client.h"

#include <assert.h>
#include <string.h>

#include "lib/client_answers.h"

/* Feature bits that can be wished for; all but the first change only fields of the request, or test
 * packets. */
#define CLIENT_FEATURES                                                                            \
    (TW_MODE_SESSION_CONTROL | TW_MODE_REFLECT_OCTETS | TW_MODE_SYMMETRICAL | TW_MODE_DSCP_ECN |   \
     TW_MODE_PTP)

const char *tw_client_step_name(enum tw_client_step step)
{
    switch (step) {
#define TW_CLIENT_NAME_CASE(name, text)                                                            \
    case name:                                                                                     \
        return text;
        TW_CLIENT_STEPS(TW_CLIENT_NAME_CASE)
    }
    return "unknown";
}

const char *tw_client_failure_text(enum tw_client_failure failure)
{
    switch (failure) {
        TW_CLIENT_FAILURES(TW_CLIENT_NAME_CASE)
#undef TW_CLIENT_NAME_CASE
    }
    return "unknown";
}

static bool output_is_empty(const struct tw_client *client)
{
    size_t n;
    tw_channel_output(&client->channel, &n);
    return n == 0;
}

void tw_client_init(struct tw_client *client, const struct tw_client_config *config,
                    struct tw_channel_ciphers *ciphers, tw_mono now)
{
    assert(ciphers != NULL || !tw_keys_needed(config->mode));
    assert((config->mode & ~TW_MODE_SECURITY) == 0 && config->mode != 0 &&
           (config->mode & (config->mode - 1)) == 0);
    assert((config->features & ~CLIENT_FEATURES) == 0);
    assert(config->step_ns > 0);

    memset(client, 0, sizeof(*client));
    client->config = config;
    const struct tw_channel_memory memory = {
        .in = client->in,
        .out = client->out,
        .in_size = sizeof client->in,
        .out_size = sizeof client->out,
        .ciphers = ciphers,
    };
    tw_channel_init(&client->channel, &memory, TW_GREETING_SIZE);
    tw_client_wait(client, TW_CLIENT_STEP_GREETING, now);
}

uint8_t *tw_client_input(struct tw_client *client, size_t *room)
{
    return tw_channel_input(&client->channel, room);
}

/* Whether what the server says now can be an answer: it has been asked, and can have read all of
 * the question. The greeting needs none. */
static bool awaits_answer(const struct tw_client *client)
{
    switch (client->step) {
    case TW_CLIENT_STEP_GREETING:
        return true;
    case TW_CLIENT_STEP_SET_UP:
    case TW_CLIENT_STEP_REQUEST:
    case TW_CLIENT_STEP_START:
    case TW_CLIENT_STEP_STOP:
        return output_is_empty(client);
    case TW_CLIENT_STEP_KEY:
    case TW_CLIENT_STEP_IDLE:
    case TW_CLIENT_STEP_TEST:
    case TW_CLIENT_STEP_CLOSED:
        break;
    }
    return false;
}

void tw_client_received(struct tw_client *client, size_t n, tw_mono now)
{
    if (n == 0)
        return;
    if (client->channel.have == 0)
        client->unasked = !awaits_answer(client);
    tw_channel_received(&client->channel, n);
    if (!tw_channel_complete(&client->channel))
        return;
    tw_client_take(client, now);
}

void tw_client_end(struct tw_client *client)
{
    if (client->step != TW_CLIENT_STEP_CLOSED)
        tw_client_fail(client, TW_CLIENT_ENDED, 0);
}

const uint8_t *tw_client_output(const struct tw_client *client, size_t *n)
{
    return tw_channel_output(&client->channel, n);
}

void tw_client_sent(struct tw_client *client, size_t n, tw_mono now)
{
    (void)now; /* the time for an answer runs from the question */
    tw_channel_sent(&client->channel, n);
}

tw_mono tw_client_deadline(const struct tw_client *client)
{
    return client->deadline;
}

void tw_client_expire(struct tw_client *client, tw_mono now)
{
    if (!tw_mono_is_never(client->deadline) && tw_mono_reached(client->deadline, now))
        tw_client_fail(client, TW_CLIENT_TIMED_OUT, 0);
}

bool tw_client_next_event(struct tw_client *client, struct tw_client_event *event)
{
    if (!client->event_pending)
        return false;
    *event = client->event;
    client->event_pending = false;
    return true;
}

/* What TWAMP leaves no choice about, and MBZ (RFC 5357 section 3.5, RFC 6038 section 4.2). */
static void fix_fields(struct tw_request *request, uint32_t mode)
{
    request->conf_sender = 0;
    request->conf_receiver = 0;
    request->schedule_slots = 0;
    request->packets = 0;
    memset(request->sid, 0, sizeof(request->sid));
    if ((mode & TW_MODE_REFLECT_OCTETS) == 0)
        request->reflect_octets = request->reflect_length = 0;
}

enum tw_result tw_client_answer_key(struct tw_client *client,
                                    const uint8_t derived[TW_AES_KEY_SIZE],
                                    struct tw_random *random, tw_mono now)
{
    if (client->step != TW_CLIENT_STEP_KEY || client->event_pending)
        return TW_ERR_STATE;
    struct tw_setup_response response = {.mode = client->mode};
    memcpy(response.keyid, client->config->keyid, sizeof response.keyid);
    tw_keys_draw(&client->keys, random);
    tw_random_fill(random, client->client_iv, sizeof client->client_iv);
    tw_keys_seal_token(&client->keys, derived, client->greeting.challenge, response.token);
    memcpy(response.client_iv, client->client_iv, sizeof response.client_iv);
    tw_client_respond(client, &response, now);
    return TW_OK;
}

bool tw_client_session_keys(const struct tw_client *client, const uint8_t sid[TW_SID_SIZE],
                            struct tw_keys *keys)
{
    if (!client->channel.secured || !tw_test_layout(client->mode).secured)
        return false;
    tw_keys_for_session(&client->keys, sid, keys);
    return true;
}

void tw_client_wipe(struct tw_client *client)
{
    tw_client_forget(client);
    client->step = TW_CLIENT_STEP_CLOSED;
    client->deadline = TW_NEVER;
    client->event_pending = false;
}

/* Whether a session may be asked for or started now: with RFC 5938 also beside others that run. */
static bool may_ask(const struct tw_client *client)
{
    const bool ready =
        client->step == TW_CLIENT_STEP_IDLE ||
        (client->step == TW_CLIENT_STEP_TEST && tw_client_has_session_control(client));
    return ready && !client->event_pending;
}

enum tw_result tw_client_request(struct tw_client *client, const struct tw_request *request,
                                 tw_mono now)
{
    if (!may_ask(client) || tw_client_sessions_full(&client->sessions))
        return TW_ERR_STATE;
    struct tw_request message = *request;
    fix_fields(&message, client->mode);
    tw_put_request(tw_channel_place(&client->channel, TW_REQUEST_SIZE), &message);
    tw_channel_queue(&client->channel, TW_REQUEST_SIZE);
    client->requested_port = message.receiver_port;
    client->requested_octets = message.reflect_octets;
    tw_client_wait(client, TW_CLIENT_STEP_REQUEST, now);
    return TW_OK;
}

static void send_sids(struct tw_client *client, uint8_t command, const uint8_t *sids,
                      uint32_t count)
{
    const struct tw_sids_head head = {.command = command, .count = count};
    const size_t size = tw_sids_size(count);
    tw_put_sids(tw_channel_place(&client->channel, size), &head, sids);
    tw_channel_queue(&client->channel, size);
}

/* `sid` NULL: all. */
static enum tw_result start_sids(struct tw_client *client, const uint8_t *sid, tw_mono now)
{
    uint8_t sids[TW_CLIENT_SESSIONS_MAX * TW_SID_SIZE];
    const uint32_t count = tw_client_sessions_ask_start(&client->sessions, sid, sids);
    if (count == 0)
        return TW_ERR_STATE;
    send_sids(client, TW_COMMAND_START_N_SESSIONS, sids, count);
    tw_client_wait(client, TW_CLIENT_STEP_START, now);
    return TW_OK;
}

static enum tw_result stop_sids(struct tw_client *client, const uint8_t *sid, tw_mono now)
{
    uint8_t sids[TW_CLIENT_SESSIONS_MAX * TW_SID_SIZE];
    if (client->event_pending)
        return TW_ERR_STATE;
    const uint32_t count = tw_client_sessions_ask_stop(&client->sessions, sid, sids);
    if (count == 0)
        return TW_ERR_STATE;
    send_sids(client, TW_COMMAND_STOP_N_SESSIONS, sids, count);
    tw_client_wait(client, TW_CLIENT_STEP_STOP, now);
    return TW_OK;
}

enum tw_result tw_client_start(struct tw_client *client, tw_mono now)
{
    if (!may_ask(client) || client->sessions.accepted == 0)
        return TW_ERR_STATE;
    if (tw_client_has_session_control(client))
        return start_sids(client, NULL, now);
    tw_put_start_sessions(tw_channel_place(&client->channel, TW_START_SESSIONS_SIZE));
    tw_channel_queue(&client->channel, TW_START_SESSIONS_SIZE);
    tw_client_wait(client, TW_CLIENT_STEP_START, now);
    return TW_OK;
}

/* Besides this message at most a request can be waiting to be sent, since every other one has been
 * answered: the channel has room. */
enum tw_result tw_client_stop(struct tw_client *client, enum tw_accept accept, tw_mono now)
{
    if (client->step != TW_CLIENT_STEP_TEST)
        return TW_ERR_STATE;
    if (tw_client_has_session_control(client))
        return stop_sids(client, NULL, now);
    const struct tw_stop_sessions message = {
        .accept = (uint8_t)accept,
        .sessions = client->sessions.started,
    };
    tw_put_stop_sessions(tw_channel_place(&client->channel, TW_STOP_SESSIONS_SIZE), &message);
    tw_channel_queue(&client->channel, TW_STOP_SESSIONS_SIZE);
    tw_client_sessions_stop(&client->sessions);
    client->step = TW_CLIENT_STEP_IDLE; /* amid a message of the server, perhaps */
    return TW_OK;
}

enum tw_result tw_client_start_one(struct tw_client *client, const uint8_t sid[TW_SID_SIZE],
                                   tw_mono now)
{
    if (!may_ask(client) || !tw_client_has_session_control(client))
        return TW_ERR_STATE;
    return start_sids(client, sid, now);
}

enum tw_result tw_client_stop_one(struct tw_client *client, const uint8_t sid[TW_SID_SIZE],
                                  tw_mono now)
{
    if (client->step != TW_CLIENT_STEP_TEST || !tw_client_has_session_control(client))
        return TW_ERR_STATE;
    return stop_sids(client, sid, now);
}
