/* The server's messages, step by step; see client_answers.h.
 *
 * On a secured stream nothing that a message says is acted on before its HMAC was found right. */
#include "lib/client_answers.h"

#include <assert.h>
#include <string.h>

/* Octets of the greeting that mean nothing, not even zero (RFC 4656 section 3.1). */
enum { GREETING_UNUSED = 12 };

/* First Accept value of Server-Start without a meaning: such are treated as 1 (section 3.3). */
enum { UNKNOWN_ACCEPT = TW_ACCEPT_TEMPORARY_LIMIT + 1 };

static struct tw_client_event *emit(struct tw_client *client, enum tw_client_event_type type)
{
    memset(&client->event, 0, sizeof(client->event));
    client->event.type = type;
    client->event_pending = true;
    return &client->event;
}

bool tw_client_has_session_control(const struct tw_client *client)
{
    return (client->mode & TW_MODE_SESSION_CONTROL) != 0;
}

void tw_client_forget(struct tw_client *client)
{
    tw_channel_wipe(&client->channel);
    explicit_bzero(&client->keys, sizeof client->keys);
}

/* An event not yet taken is replaced: without the connection it is worth nothing. */
void tw_client_fail(struct tw_client *client, enum tw_client_failure failure, uint8_t accept)
{
    struct tw_client_event *event = emit(client, TW_CLIENT_FAILED);
    event->failed.failure = failure;
    event->failed.step = client->step;
    event->failed.accept = accept;
    client->step = TW_CLIENT_STEP_CLOSED;
    client->deadline = TW_NEVER;
    tw_client_forget(client);
}

/* What is said makes no sense here. If it cannot even be verified, it need not be the server's. */
static void fail_unverified(struct tw_client *client)
{
    tw_client_fail(client, client->channel.secured ? TW_CLIENT_HMAC : TW_CLIENT_UNEXPECTED, 0);
}

static bool is_authentic(struct tw_client *client)
{
    if (tw_channel_verify(&client->channel))
        return true;
    tw_client_fail(client, TW_CLIENT_HMAC, 0);
    return false;
}

void tw_client_wait(struct tw_client *client, enum tw_client_step step, tw_mono now)
{
    client->step = step;
    client->deadline = tw_mono_after(now, client->config->step_ns);
}

/* No answer is awaited. */
static void rest(struct tw_client *client)
{
    client->step = client->sessions.started > 0 ? TW_CLIENT_STEP_TEST : TW_CLIENT_STEP_IDLE;
    client->deadline = TW_NEVER;
    tw_channel_next(&client->channel, TW_COMMAND_HEAD_SIZE);
}

/* `expected` is what a message with this meaning looks like that has zero where it must. */
static void note_mbz(struct tw_client *client, const uint8_t *in, const uint8_t *expected, size_t n)
{
    if (memcmp(in, expected, n) != 0)
        client->quirks |= TW_QUIRK_MBZ;
}

/* The HMAC field is zero too where there is no key. */
static size_t without_hmac(const struct tw_client *client, size_t size)
{
    return client->channel.secured ? size - TW_HMAC_SIZE : size;
}

static bool judge_greeting(struct tw_client *client)
{
    const struct tw_client_config *config = client->config;
    const struct tw_greeting *greeting = &client->greeting;
    const uint32_t max_count = config->max_count != 0 ? config->max_count : TW_KEYS_COUNT_DEFAULT;
    if (greeting->modes == 0)
        tw_client_fail(client, TW_CLIENT_MODES_ZERO, 0);
    else if ((greeting->modes & config->mode) == 0)
        tw_client_fail(client, TW_CLIENT_MODE_MISSING, 0);
    else if (tw_keys_needed(config->mode) &&
             (!tw_keys_count_is_valid(greeting->count) || greeting->count > max_count))
        tw_client_fail(client, TW_CLIENT_COUNT, 0);
    else
        return true;
    return false;
}

static void take_greeting(struct tw_client *client, tw_mono now)
{
    struct tw_greeting *greeting = &client->greeting;
    const uint8_t *in = client->in;
    const enum tw_result result = tw_get_greeting(in, client->channel.have, greeting);
    assert(result == TW_OK);
    (void)result;

    uint8_t expected[TW_GREETING_SIZE];
    tw_put_greeting(expected, greeting);
    note_mbz(client, in + GREETING_UNUSED, expected + GREETING_UNUSED,
             TW_GREETING_SIZE - GREETING_UNUSED);
    if ((greeting->modes & ~(TW_MODE_SECURITY | TW_MODE_FEATURES)) != 0)
        client->quirks |= TW_QUIRK_UNKNOWN_MODES;
    client->offered = greeting->modes;
    if (!judge_greeting(client))
        return;
    client->mode = client->config->mode | (client->config->features & greeting->modes);
    tw_channel_next(&client->channel, TW_SERVER_START_SIZE);
    if (!tw_keys_needed(client->mode)) {
        const struct tw_setup_response response = {.mode = client->mode};
        tw_client_respond(client, &response, now);
        return;
    }
    client->step = TW_CLIENT_STEP_KEY;
    client->deadline = TW_NEVER;
    struct tw_client_event *event = emit(client, TW_CLIENT_KEY);
    event->key.salt = greeting->salt;
    event->key.count = greeting->count;
}

static void refused_by_server_start(struct tw_client *client, uint8_t accept)
{
    const bool means_failure = accept == TW_ACCEPT_FAILURE || accept >= UNKNOWN_ACCEPT;
    const bool by_key = tw_keys_needed(client->mode) && means_failure;
    tw_client_fail(client, by_key ? TW_CLIENT_KEY_REFUSED : TW_CLIENT_REFUSED, accept);
}

/* The server took the Token: it has the keys, and both directions are secured from here on. */
static void secure(struct tw_client *client, const struct tw_server_start *start)
{
    if (!tw_keys_needed(client->mode))
        return;
    tw_channel_secure(&client->channel, &client->keys, start->server_iv, client->client_iv);
    tw_channel_open_server_start(&client->channel);
}

static struct tw_server_start get_server_start(const struct tw_client *client)
{
    struct tw_server_start start;
    const enum tw_result result = tw_get_server_start(client->in, client->channel.have, &start);
    assert(result == TW_OK);
    (void)result;
    return start;
}

static void take_server_start(struct tw_client *client)
{
    struct tw_server_start start = get_server_start(client);
    if (client->unasked) {
        tw_client_fail(client, TW_CLIENT_UNEXPECTED, 0);
        return;
    }
    if (start.accept != TW_ACCEPT_OK) {
        refused_by_server_start(client, start.accept);
        return;
    }
    secure(client, &start);
    start = get_server_start(client); /* its last block is clear now */
    uint8_t expected[TW_SERVER_START_SIZE];
    tw_put_server_start(expected, &start);
    note_mbz(client, client->in, expected, sizeof expected);
    rest(client);
    struct tw_client_event *event = emit(client, TW_CLIENT_READY);
    event->ready.offered = client->offered;
    event->ready.mode = client->mode;
    event->ready.start_time = start.start_time;
}

static bool all_zero(const uint8_t *in, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= in[i];
    return any == 0;
}

/* Where an Accept-Session may begin: Accept, MBZ, Port, SID. Nothing but zeros is none, since an
 * accepted session has a port or an identifier. */
static bool may_begin_accept_session(const uint8_t in[TW_COMMAND_HEAD_SIZE])
{
    const bool accepted = in[0] == TW_ACCEPT_OK;
    const bool rest_is_zero = all_zero(in + 1, TW_COMMAND_HEAD_SIZE - 1);
    return in[1] == 0 && accepted != rest_is_zero;
}

/* Servers made from OWAMP may send a Stop-Sessions of their own, even while an answer is awaited;
 * its number 3 is also an Accept value that every answer may begin with. */
static bool may_be_stop(const uint8_t in[TW_COMMAND_HEAD_SIZE])
{
    return in[0] == TW_COMMAND_STOP_SESSIONS && all_zero(in + 2, 2) && all_zero(in + 8, 8);
}

/* What follows decides: the HMAC field of an Accept-Session is zero without keys, the beginning of
 * the Accept-Session after a Stop-Sessions is not. */
static bool stop_precedes_accept_session(const uint8_t in[TW_ACCEPT_SESSION_SIZE])
{
    return may_be_stop(in) && may_begin_accept_session(in + TW_STOP_SESSIONS_SIZE);
}

/* Nothing need follow a Start-Ack, so only a Stop-Sessions that says more than zero in its Accept
 * or Number of Sessions is known from a Start-Ack with Accept 3. */
static bool stop_precedes_start_ack(const uint8_t in[TW_START_ACK_SIZE])
{
    return may_be_stop(in) && !all_zero(in + 1, 7);
}

static void note_accept_session(struct tw_client *client, const uint8_t *in,
                                const struct tw_accept_session *answer)
{
    const bool accepted = answer->accept == TW_ACCEPT_OK;
    const bool reflects = (client->mode & TW_MODE_REFLECT_OCTETS) != 0;
    struct tw_accept_session known = *answer;
    if (!reflects)
        known.reflected_octets = known.server_octets = 0;
    uint8_t expected[TW_ACCEPT_SESSION_SIZE];
    tw_put_accept_session(expected, &known);
    note_mbz(client, in, expected, without_hmac(client, sizeof expected));
    if (accepted && answer->port == 0)
        client->quirks |= TW_QUIRK_PORT_ZERO;
    if (!accepted && answer->port != 0)
        client->quirks |= TW_QUIRK_PORT_REFUSED;
    if (accepted && reflects && answer->reflected_octets != client->requested_octets)
        client->quirks |= TW_QUIRK_REFLECTED_OCTETS;
}

static void take_accept_session(struct tw_client *client, const uint8_t *in)
{
    struct tw_accept_session answer;
    const enum tw_result result = tw_get_accept_session(in, TW_ACCEPT_SESSION_SIZE, &answer);
    assert(result == TW_OK);
    (void)result;

    /* With RFC 5938 these two are no Accept values, but an acknowledgment that nobody waits for. */
    if (tw_client_has_session_control(client) &&
        (answer.accept == TW_COMMAND_START_N_ACK || answer.accept == TW_COMMAND_STOP_N_ACK)) {
        tw_client_fail(client, TW_CLIENT_UNEXPECTED, 0);
        return;
    }
    note_accept_session(client, in, &answer);
    if (answer.accept == TW_ACCEPT_OK) {
        if (answer.port == 0)
            answer.port = client->requested_port;
        const bool nowhere = answer.port == 0; /* the server was to choose */
        const bool ambiguous = tw_client_has_session_control(client) &&
                               tw_client_sessions_has(&client->sessions, answer.sid);
        if (nowhere || ambiguous) {
            tw_client_fail(client, TW_CLIENT_UNEXPECTED, 0);
            return;
        }
        tw_client_sessions_add(&client->sessions, answer.sid);
    } else {
        answer.port = 0;
    }
    if ((client->mode & TW_MODE_REFLECT_OCTETS) == 0)
        answer.reflected_octets = answer.server_octets = 0;
    rest(client);
    emit(client, TW_CLIENT_SESSION)->session = answer;
}

/* Asks for the rest of the message when less than n octets of it are here. */
static bool is_here(struct tw_client *client, size_t n)
{
    if (client->channel.have >= n)
        return true;
    tw_channel_expect(&client->channel, n);
    return false;
}

/* A Stop-Sessions of the server, authentic: it changes nothing (conformance with OWAMP). */
static void skip_stop(struct tw_client *client)
{
    client->quirks |= TW_QUIRK_SERVER_STOP;
    tw_channel_next(&client->channel, TW_COMMAND_HEAD_SIZE);
}

static void take_unasked(struct tw_client *client)
{
    if (client->in[0] != TW_COMMAND_STOP_SESSIONS)
        fail_unverified(client);
    else if (is_here(client, TW_STOP_SESSIONS_SIZE) && is_authentic(client))
        skip_stop(client);
}

/* With keys the HMAC tells where a message ends. */
static void take_secured_answer_to_request(struct tw_client *client)
{
    const uint8_t *in = client->in;
    if (client->channel.have < TW_ACCEPT_SESSION_SIZE && may_be_stop(in)) {
        if (!is_here(client, TW_STOP_SESSIONS_SIZE))
            return;
        if (tw_channel_ends_here(&client->channel)) {
            skip_stop(client);
            return;
        }
    }
    if (is_here(client, TW_ACCEPT_SESSION_SIZE) && is_authentic(client))
        take_accept_session(client, in);
}

static void take_clear_answer_to_request(struct tw_client *client)
{
    const uint8_t *in = client->in;
    if (!is_here(client, TW_ACCEPT_SESSION_SIZE))
        return;
    if (!stop_precedes_accept_session(in)) {
        take_accept_session(client, in);
    } else if (is_here(client, TW_STOP_SESSIONS_SIZE + TW_ACCEPT_SESSION_SIZE)) {
        client->quirks |= TW_QUIRK_SERVER_STOP;
        take_accept_session(client, in + TW_STOP_SESSIONS_SIZE);
    }
}

static void take_start_ack(struct tw_client *client)
{
    const uint8_t *in = client->in;
    uint8_t accept;
    if (!is_here(client, TW_START_ACK_SIZE) || !is_authentic(client))
        return;
    if (stop_precedes_start_ack(in)) {
        skip_stop(client);
        return;
    }
    const enum tw_result result = tw_get_start_ack(in, client->channel.have, &accept);
    assert(result == TW_OK);
    (void)result;

    uint8_t expected[TW_START_ACK_SIZE];
    tw_put_start_ack(expected, accept);
    note_mbz(client, in, expected, without_hmac(client, sizeof expected));
    if (accept != TW_ACCEPT_OK) {
        tw_client_fail(client, TW_CLIENT_REFUSED, accept);
        return;
    }
    tw_client_sessions_start(&client->sessions);
    rest(client);
    emit(client, TW_CLIENT_STARTED);
}

static void all_acknowledged(struct tw_client *client)
{
    const struct tw_client_sessions *sessions = &client->sessions;
    const bool starting = client->step == TW_CLIENT_STEP_START;
    if (starting && sessions->refused == sessions->asked) {
        tw_client_fail(client, TW_CLIENT_REFUSED, sessions->refused_accept);
        return;
    }
    rest(client);
    struct tw_client_event *event = emit(client, starting ? TW_CLIENT_STARTED : TW_CLIENT_STOPPED);
    event->acked.refused = sessions->refused;
    event->acked.accept = sessions->refused_accept;
}

/* A Start-N-Ack or Stop-N-Ack, for all of the SIDs or for some (RFC 5938 sections 3.3 and 3.5). */
static void take_sids_ack(struct tw_client *client)
{
    const uint8_t *in = client->in;
    const struct tw_sids_head head = tw_get_sids_head(in);
    const uint8_t expected_command =
        client->step == TW_CLIENT_STEP_START ? TW_COMMAND_START_N_ACK : TW_COMMAND_STOP_N_ACK;
    if (head.count == 0 || head.count > TW_CLIENT_SESSIONS_MAX) {
        fail_unverified(client);
        return;
    }
    if (!is_here(client, tw_sids_size(head.count)) || !is_authentic(client))
        return;
    uint8_t expected[TW_CLIENT_IN];
    tw_put_sids(expected, &head, in + TW_COMMAND_HEAD_SIZE);
    note_mbz(client, in, expected, without_hmac(client, tw_sids_size(head.count)));
    if (head.command != expected_command ||
        !tw_client_sessions_acknowledge(&client->sessions, head.accept, in + TW_COMMAND_HEAD_SIZE,
                                        head.count)) {
        tw_client_fail(client, TW_CLIENT_UNEXPECTED, 0);
        return;
    }
    if (client->sessions.open > 0)
        tw_channel_next(&client->channel, TW_COMMAND_HEAD_SIZE);
    else
        all_acknowledged(client);
}

/* Its first octet tells a reply's kind: what is no acknowledgment is an Accept-Session, by which a
 * server refuses a command that it does not know (RFC 5357 section 3.5, RFC 5938 section 3.7). */
static void take_answer_to_sids(struct tw_client *client)
{
    const uint8_t *in = client->in;
    if (in[0] == TW_COMMAND_START_N_ACK || in[0] == TW_COMMAND_STOP_N_ACK) {
        take_sids_ack(client);
    } else if (stop_precedes_start_ack(in)) {
        if (is_here(client, TW_STOP_SESSIONS_SIZE) && is_authentic(client))
            skip_stop(client);
    } else if (is_here(client, TW_ACCEPT_SESSION_SIZE) && is_authentic(client)) {
        const uint8_t accept = in[0];
        tw_client_fail(client, accept == TW_ACCEPT_OK ? TW_CLIENT_UNEXPECTED : TW_CLIENT_REFUSED,
                       accept);
    }
}

/* Acts on what is in the channel, or asks for more of it. */
static void take_answer(struct tw_client *client)
{
    if (client->unasked) {
        take_unasked(client);
    } else if (client->step == TW_CLIENT_STEP_REQUEST) {
        if (client->channel.secured)
            take_secured_answer_to_request(client);
        else
            take_clear_answer_to_request(client);
    } else {
        assert(client->step == TW_CLIENT_STEP_START || client->step == TW_CLIENT_STEP_STOP);
        if (tw_client_has_session_control(client))
            take_answer_to_sids(client);
        else
            take_start_ack(client);
    }
}

void tw_client_respond(struct tw_client *client, const struct tw_setup_response *response,
                       tw_mono now)
{
    tw_put_setup_response(tw_channel_place(&client->channel, TW_SETUP_RESPONSE_SIZE), response);
    tw_channel_queue(&client->channel, TW_SETUP_RESPONSE_SIZE);
    tw_client_wait(client, TW_CLIENT_STEP_SET_UP, now);
}

void tw_client_take(struct tw_client *client, tw_mono now)
{
    switch (client->step) {
    case TW_CLIENT_STEP_GREETING:
        take_greeting(client, now);
        break;
    case TW_CLIENT_STEP_KEY:
    case TW_CLIENT_STEP_SET_UP:
        take_server_start(client);
        break;
    default:
        take_answer(client);
        break;
    }
}
