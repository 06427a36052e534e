/* The Control-Client machine of TWAMP-Control: greeting, set-up, then one question at a time (see
 * client.h).
 *
 * Only unauthenticated service so far. What the other modes add has its place: a secured mode
 * checks Count and makes the Token in take_greeting(), and its channel decrypts and verifies what
 * take_answer() then sees; RFC 5938 adds its commands beside start and stop, and its
 * acknowledgments in take_answer(). Whether a server's refusal is final is the driver's business.
 */
#include "lib/client.h"

#include <assert.h>
#include <string.h>

#include "lib/bytes.h"

/* Feature bits that change nothing here but fields of the request, or only test packets. */
#define CLIENT_FEATURES                                                                            \
    (TW_MODE_REFLECT_OCTETS | TW_MODE_SYMMETRICAL | TW_MODE_DSCP_ECN | TW_MODE_PTP)

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

static struct tw_client_event *emit(struct tw_client *client, enum tw_client_event_type type)
{
    memset(&client->event, 0, sizeof(client->event));
    client->event.type = type;
    client->event_pending = true;
    return &client->event;
}

static bool output_is_empty(const struct tw_client *client)
{
    size_t n;
    tw_channel_output(&client->channel, &n);
    return n == 0;
}

/* An event not yet taken is replaced: without the connection it is worth nothing. */
static void fail(struct tw_client *client, enum tw_client_failure failure, uint8_t accept)
{
    struct tw_client_event *event = emit(client, TW_CLIENT_FAILED);
    event->failed.failure = failure;
    event->failed.step = client->step;
    event->failed.accept = accept;
    client->step = TW_CLIENT_STEP_CLOSED;
    client->deadline = TW_NEVER;
    tw_channel_init(&client->channel, 0);
}

static void wait_for_answer(struct tw_client *client, enum tw_client_step step, tw_mono now)
{
    client->step = step;
    client->deadline = tw_mono_after(now, client->config->step_ns);
}

static void rest(struct tw_client *client, enum tw_client_step step)
{
    client->step = step;
    client->deadline = TW_NEVER;
}

static void take_greeting(struct tw_client *client, tw_mono now)
{
    struct tw_greeting greeting;
    const enum tw_result result =
        tw_get_greeting(client->channel.in, client->channel.have, &greeting);
    assert(result == TW_OK);
    (void)result;

    client->offered = greeting.modes;
    if (greeting.modes == 0) {
        fail(client, TW_CLIENT_MODES_ZERO, 0);
        return;
    }
    if ((greeting.modes & client->config->mode) == 0) {
        fail(client, TW_CLIENT_MODE_MISSING, 0);
        return;
    }
    client->mode = client->config->mode | (client->config->features & greeting.modes);
    const struct tw_setup_response response = {.mode = client->mode};
    tw_put_setup_response(tw_channel_queue(&client->channel, TW_SETUP_RESPONSE_SIZE), &response);
    wait_for_answer(client, TW_CLIENT_STEP_SET_UP, now);
    tw_channel_next(&client->channel, TW_SERVER_START_SIZE);
}

static void take_server_start(struct tw_client *client)
{
    struct tw_server_start start;
    const enum tw_result result =
        tw_get_server_start(client->channel.in, client->channel.have, &start);
    assert(result == TW_OK);
    (void)result;

    if (client->unasked) {
        fail(client, TW_CLIENT_UNEXPECTED, 0);
        return;
    }
    if (start.accept != TW_ACCEPT_OK) {
        fail(client, TW_CLIENT_REFUSED, start.accept);
        return;
    }
    rest(client, TW_CLIENT_STEP_IDLE);
    tw_channel_next(&client->channel, TW_COMMAND_HEAD_SIZE);
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

/* What follows decides: the HMAC field of an Accept-Session is zero, the beginning of the
 * Accept-Session after a Stop-Sessions is not. */
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

static void take_accept_session(struct tw_client *client, const uint8_t *in)
{
    struct tw_accept_session answer;
    const enum tw_result result = tw_get_accept_session(in, TW_ACCEPT_SESSION_SIZE, &answer);
    assert(result == TW_OK);
    (void)result;

    if (answer.accept == TW_ACCEPT_OK) {
        if (answer.port == 0)
            answer.port = client->requested_port;
        if (answer.port == 0) { /* the server was to choose: there is nowhere to send to */
            fail(client, TW_CLIENT_UNEXPECTED, 0);
            return;
        }
        client->accepted++;
    } else {
        answer.port = 0;
    }
    if ((client->mode & TW_MODE_REFLECT_OCTETS) == 0)
        answer.reflected_octets = answer.server_octets = 0;
    rest(client, TW_CLIENT_STEP_IDLE);
    tw_channel_next(&client->channel, TW_COMMAND_HEAD_SIZE);
    emit(client, TW_CLIENT_SESSION)->session = answer;
}

static void take_start_ack(struct tw_client *client)
{
    uint8_t accept;
    const enum tw_result result =
        tw_get_start_ack(client->channel.in, client->channel.have, &accept);
    assert(result == TW_OK);
    (void)result;

    if (accept != TW_ACCEPT_OK) {
        fail(client, TW_CLIENT_REFUSED, accept);
        return;
    }
    client->started = client->accepted;
    client->accepted = 0;
    rest(client, TW_CLIENT_STEP_TEST);
    tw_channel_next(&client->channel, TW_COMMAND_HEAD_SIZE);
    emit(client, TW_CLIENT_STARTED);
}

/* Asks for the rest of the message when less than n octets of it are here. */
static bool is_here(struct tw_client *client, size_t n)
{
    if (client->channel.have >= n)
        return true;
    tw_channel_expect(&client->channel, n);
    return false;
}

static void take_unasked(struct tw_client *client)
{
    if (client->channel.in[0] != TW_COMMAND_STOP_SESSIONS)
        fail(client, TW_CLIENT_UNEXPECTED, 0);
    else if (is_here(client, TW_STOP_SESSIONS_SIZE))
        tw_channel_next(&client->channel, TW_COMMAND_HEAD_SIZE);
}

/* Acts on what is in the channel, or asks for more of it. */
static void take_answer(struct tw_client *client)
{
    const uint8_t *in = client->channel.in;
    if (client->unasked) {
        take_unasked(client);
    } else if (client->step == TW_CLIENT_STEP_REQUEST) {
        if (!is_here(client, TW_ACCEPT_SESSION_SIZE))
            return;
        if (!stop_precedes_accept_session(in))
            take_accept_session(client, in);
        else if (is_here(client, TW_STOP_SESSIONS_SIZE + TW_ACCEPT_SESSION_SIZE))
            take_accept_session(client, in + TW_STOP_SESSIONS_SIZE);
    } else {
        assert(client->step == TW_CLIENT_STEP_START);
        if (!is_here(client, TW_START_ACK_SIZE))
            return;
        if (stop_precedes_start_ack(in))
            tw_channel_next(&client->channel, TW_COMMAND_HEAD_SIZE);
        else
            take_start_ack(client);
    }
}

void tw_client_init(struct tw_client *client, const struct tw_client_config *config, tw_mono now)
{
    assert(config->mode == TW_MODE_UNAUTHENTICATED);
    assert((config->features & ~CLIENT_FEATURES) == 0);
    assert(config->step_ns > 0);

    memset(client, 0, sizeof(*client));
    client->config = config;
    tw_channel_init(&client->channel, TW_GREETING_SIZE);
    wait_for_answer(client, TW_CLIENT_STEP_GREETING, now);
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
        return output_is_empty(client);
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
    if (client->step == TW_CLIENT_STEP_GREETING)
        take_greeting(client, now);
    else if (client->step == TW_CLIENT_STEP_SET_UP)
        take_server_start(client);
    else
        take_answer(client);
}

void tw_client_end(struct tw_client *client)
{
    if (client->step != TW_CLIENT_STEP_CLOSED)
        fail(client, TW_CLIENT_ENDED, 0);
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
        fail(client, TW_CLIENT_TIMED_OUT, 0);
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

enum tw_result tw_client_request(struct tw_client *client, const struct tw_request *request,
                                 tw_mono now)
{
    if (client->step != TW_CLIENT_STEP_IDLE || client->event_pending)
        return TW_ERR_STATE;
    struct tw_request message = *request;
    fix_fields(&message, client->mode);
    tw_put_request(tw_channel_queue(&client->channel, TW_REQUEST_SIZE), &message);
    client->requested_port = message.receiver_port;
    wait_for_answer(client, TW_CLIENT_STEP_REQUEST, now);
    return TW_OK;
}

enum tw_result tw_client_start(struct tw_client *client, tw_mono now)
{
    if (client->step != TW_CLIENT_STEP_IDLE || client->event_pending || client->accepted == 0)
        return TW_ERR_STATE;
    tw_put_start_sessions(tw_channel_queue(&client->channel, TW_START_SESSIONS_SIZE));
    wait_for_answer(client, TW_CLIENT_STEP_START, now);
    return TW_OK;
}

/* Besides this message at most a request can be waiting to be sent, since every other one has been
 * answered: the channel has room. */
enum tw_result tw_client_stop(struct tw_client *client, enum tw_accept accept, tw_mono now)
{
    (void)now; /* nothing is awaited */
    if (client->step != TW_CLIENT_STEP_TEST)
        return TW_ERR_STATE;
    const struct tw_stop_sessions message = {
        .accept = (uint8_t)accept,
        .sessions = client->started,
    };
    tw_put_stop_sessions(tw_channel_queue(&client->channel, TW_STOP_SESSIONS_SIZE), &message);
    client->started = 0;
    rest(client, TW_CLIENT_STEP_IDLE);
    return TW_OK;
}
