/* The Server machine of TWAMP-Control: takes one command at a time from the channel, judges what
 * message and state decide, and asks the driver for the rest (see server.h).
 *
 * Only unauthenticated service so far. What the other modes add has its place: a secured mode asks
 * for the key of the KeyID in take_set_up(), before Server-Start, and has its channel decrypt and
 * verify what take_command() then sees; a feature joins SERVED_MODES and the function that takes
 * the message it changes. Addresses, ports and sessions are the driver's. */
#include "lib/server.h"

#include <assert.h>
#include <string.h>

/* Mode bits that this machine can serve; the driver must not offer others. */
#define SERVED_MODES TW_MODE_UNAUTHENTICATED

/* Room for the longest answer to one message: without it none is read. */
enum { ANSWER_MAX = TW_ACCEPT_SESSION_SIZE };
_Static_assert(TW_SERVER_START_SIZE <= TW_ACCEPT_SESSION_SIZE &&
                   TW_START_ACK_SIZE <= TW_ACCEPT_SESSION_SIZE,
               "an answer is longer than the room kept for it");

const char *tw_server_close_reason_name(enum tw_server_close_reason reason)
{
    switch (reason) {
#define TW_SERVER_NAME_CASE(name, text)                                                            \
    case name:                                                                                     \
        return text;
        TW_SERVER_CLOSE_REASONS(TW_SERVER_NAME_CASE)
    }
    return "unknown";
}

const char *tw_server_reject_reason_name(enum tw_server_reject_reason reason)
{
    switch (reason) {
        TW_SERVER_REJECT_REASONS(TW_SERVER_NAME_CASE)
#undef TW_SERVER_NAME_CASE
    }
    return "unknown";
}

/* Limit of set-up and of a message under way: never above SERVWAIT (RFC 4656 section 3). */
static tw_mono stall_deadline(const struct tw_server *server, tw_mono now)
{
    int64_t limit_ns = server->config->stall_ns;
    if (server->config->servwait_ns != 0 && server->config->servwait_ns < limit_ns)
        limit_ns = server->config->servwait_ns;
    return tw_mono_after(now, limit_ns);
}

static struct tw_server_event *emit(struct tw_server *server, enum tw_server_event_type type)
{
    assert(!server->event_pending);
    memset(&server->event, 0, sizeof(server->event));
    server->event.type = type;
    server->event_pending = true;
    return &server->event;
}

static void ask(struct tw_server *server, enum tw_server_event_type question)
{
    server->state = TW_SERVER_STATE_ASKED;
    server->question = question;
}

/* Between questions the number of sessions alone tells the state. */
static void serve_on(struct tw_server *server)
{
    server->state = server->started == 0 ? TW_SERVER_STATE_IDLE : TW_SERVER_STATE_TESTING;
}

static void begin_close(struct tw_server *server, enum tw_server_close_reason reason, tw_mono now)
{
    server->state = TW_SERVER_STATE_CLOSING;
    server->close_reason = reason;
    server->message = stall_deadline(server, now); /* a peer that reads nothing must not hold us */
}

static void queue_accept_session(struct tw_server *server, const struct tw_accept_session *message)
{
    tw_put_accept_session(tw_channel_queue(&server->channel, TW_ACCEPT_SESSION_SIZE), message);
}

static void queue_start_ack(struct tw_server *server, enum tw_accept accept)
{
    tw_put_start_ack(tw_channel_queue(&server->channel, TW_START_ACK_SIZE), (uint8_t)accept);
}

static void emit_reject(struct tw_server *server, enum tw_server_reject_reason reason,
                        enum tw_accept accept)
{
    struct tw_server_event *event = emit(server, TW_SERVER_REJECT);
    event->reject.reason = reason;
    event->reject.command = server->channel.in[0];
    event->reject.accept = (uint8_t)accept;
}

/* RFC 5357 section 3.5: an Accept-Session says no to whatever command. */
static void reject(struct tw_server *server, enum tw_server_reject_reason reason)
{
    queue_accept_session(server,
                         &(const struct tw_accept_session){.accept = TW_ACCEPT_UNSUPPORTED});
    emit_reject(server, reason, TW_ACCEPT_UNSUPPORTED);
}

static void queue_server_start(struct tw_server *server, enum tw_accept accept)
{
    const struct tw_server_start message = {
        .accept = (uint8_t)accept,
        .start_time = accept == TW_ACCEPT_OK ? server->config->start_time : 0,
    };
    tw_put_server_start(tw_channel_queue(&server->channel, TW_SERVER_START_SIZE), &message);
}

/* Exactly one security bit, and no known bit that was not offered: bits that change formats must
 * not be misunderstood. Bits of the future are ignored (RFC 4656 section 3.1). */
static bool mode_is_served(uint32_t mode, uint32_t offered)
{
    const uint32_t security = mode & TW_MODE_SECURITY;
    const bool one_security_bit = security != 0 && (security & (security - 1)) == 0;
    return one_security_bit && (mode & ~offered) == 0;
}

static void take_set_up(struct tw_server *server, tw_mono now)
{
    struct tw_setup_response response;
    const enum tw_result result =
        tw_get_setup_response(server->channel.in, server->channel.have, &response);
    assert(result == TW_OK);
    (void)result;

    if (response.mode == 0) {
        begin_close(server, TW_SERVER_CLOSE_CLIENT_QUIT, now);
        return;
    }
    const uint32_t mode = response.mode & (TW_MODE_SECURITY | TW_MODE_FEATURES);
    if (!mode_is_served(mode, server->config->modes)) {
        queue_server_start(server, TW_ACCEPT_UNSUPPORTED);
        begin_close(server, TW_SERVER_CLOSE_MODE, now);
        return;
    }
    server->mode = mode;
    queue_server_start(server, TW_ACCEPT_OK);
    serve_on(server);
    emit(server, TW_SERVER_SET_UP)->mode = mode;
    tw_channel_next(&server->channel, TW_COMMAND_HEAD_SIZE);
}

static bool packets_too_large(const struct tw_server *server, uint32_t padding_length)
{
    if (padding_length > TW_UDP_PAYLOAD_MAX)
        return true; /* and the sum below cannot overflow */
    const size_t size = tw_test_sender_size(server->mode, padding_length);
    const uint32_t limit = server->config->max_payload;
    return size > TW_UDP_PAYLOAD_MAX || (limit != 0 && size > limit);
}

static bool timeout_too_large(const struct tw_server *server, uint64_t timeout)
{
    return server->config->max_timeout_ns != 0 &&
           tw_interval_to_ns(timeout) > server->config->max_timeout_ns;
}

/* Whether the request asks for something that no session of this server can be, and what; in the
 * order of the fields (RFC 5357 section 3.5). */
static bool find_fault(const struct tw_server *server, const struct tw_request *request,
                       enum tw_server_reject_reason *reason)
{
    const struct {
        bool found;
        enum tw_server_reject_reason reason;
    } faults[] = {
        {request->ipvn != 4 && request->ipvn != 6, TW_SERVER_REJECT_IPVN},
        {request->conf_sender != 0 || request->conf_receiver != 0, TW_SERVER_REJECT_ROLE},
        {request->sender_port == 0, TW_SERVER_REJECT_SENDER_PORT},
        {packets_too_large(server, request->padding_length), TW_SERVER_REJECT_PADDING},
        {timeout_too_large(server, request->timeout), TW_SERVER_REJECT_TIMEOUT},
        {tw_type_p_to_dscp(request->type_p) < 0, TW_SERVER_REJECT_TYPE_P},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (faults[i].found) {
            *reason = faults[i].reason;
            return true;
        }
    }
    return false;
}

static void take_request(struct tw_server *server, tw_mono now)
{
    const enum tw_result result =
        tw_get_request(server->channel.in, server->channel.have, &server->request);
    assert(result == TW_OK);
    (void)result;

    /* Slot descriptions may follow, which TWAMP does not know: the next command cannot be found. */
    if (server->request.schedule_slots != 0) {
        reject(server, TW_SERVER_REJECT_SLOTS);
        begin_close(server, TW_SERVER_CLOSE_SCHEDULE_SLOTS, now);
        return;
    }
    if (server->state == TW_SERVER_STATE_TESTING) {
        reject(server, TW_SERVER_REJECT_COMMAND);
        return;
    }
    enum tw_server_reject_reason reason;
    if (find_fault(server, &server->request, &reason)) {
        reject(server, reason);
        return;
    }
    emit(server, TW_SERVER_REQUEST)->request = server->request;
    ask(server, TW_SERVER_REQUEST);
}

static void take_start(struct tw_server *server)
{
    if (server->state == TW_SERVER_STATE_TESTING) {
        reject(server, TW_SERVER_REJECT_COMMAND);
        return;
    }
    if (server->accepted == 0) {
        queue_start_ack(server, TW_ACCEPT_FAILURE);
        emit_reject(server, TW_SERVER_REJECT_NO_SESSION, TW_ACCEPT_FAILURE);
        return;
    }
    emit(server, TW_SERVER_START);
    ask(server, TW_SERVER_START);
}

/* RFC 5357 section 3.8: the number must be that of the sessions started, those that REFWAIT ended
 * included, since the client cannot know of it. Some clients always say 0. The number 0 while
 * nothing is started is exact and changes nothing, so it is no event. */
static void take_stop(struct tw_server *server, tw_mono now)
{
    struct tw_stop_sessions stop;
    const enum tw_result result =
        tw_get_stop_sessions(server->channel.in, server->channel.have, &stop);
    assert(result == TW_OK);
    (void)result;

    const bool exact = stop.sessions == server->started;
    const bool tolerated = stop.sessions == 0 && !server->config->strict_stop;
    if (!exact && !tolerated) {
        begin_close(server, TW_SERVER_CLOSE_STOP_COUNT, now);
        return;
    }
    if (server->started == 0)
        return;
    server->started = 0;
    server->running = false;
    serve_on(server);
    struct tw_server_event *event = emit(server, TW_SERVER_STOP);
    event->stop.accept = stop.accept;
    event->stop.zero_count = !exact;
}

/* Acts on the command that is in the channel, or asks for the rest of it. */
static void take_command(struct tw_server *server, tw_mono now)
{
    const size_t size = tw_command_size(server->channel.in);
    if (size == 0) {
        reject(server, TW_SERVER_REJECT_COMMAND);
        begin_close(server, TW_SERVER_CLOSE_UNKNOWN_COMMAND, now);
        return;
    }
    if (server->channel.have < size) {
        tw_channel_expect(&server->channel, size);
        return;
    }
    switch (server->channel.in[0]) {
    case TW_COMMAND_REQUEST_TW_SESSION:
        take_request(server, now);
        break;
    case TW_COMMAND_START_SESSIONS:
        take_start(server);
        break;
    case TW_COMMAND_STOP_SESSIONS:
        take_stop(server, now);
        break;
    default: /* its length is known, so that the connection goes on: RFC 5938 not negotiated */
        reject(server, TW_SERVER_REJECT_COMMAND);
        break;
    }
    tw_channel_next(&server->channel, TW_COMMAND_HEAD_SIZE);
}

void tw_server_init(struct tw_server *server, const struct tw_server_config *config,
                    struct tw_random *random, tw_mono now)
{
    assert((config->modes & ~SERVED_MODES) == 0);
    assert(config->stall_ns > 0 && config->servwait_ns >= 0 && config->max_timeout_ns >= 0);

    memset(server, 0, sizeof(*server));
    server->config = config;
    server->state = TW_SERVER_STATE_GREETING;
    server->last = now;
    server->message = stall_deadline(server, now);
    tw_channel_init(&server->channel, TW_SETUP_RESPONSE_SIZE);

    struct tw_greeting greeting = {.modes = config->modes, .count = config->count};
    tw_random_fill(random, greeting.challenge, sizeof(greeting.challenge));
    memcpy(greeting.salt, config->salt, sizeof(greeting.salt));
    tw_put_greeting(tw_channel_queue(&server->channel, TW_GREETING_SIZE), &greeting);
    if (config->modes == 0)
        begin_close(server, TW_SERVER_CLOSE_REFUSED, now);
}

/* An event must be taken before the next message can make another one. */
static bool is_reading(const struct tw_server *server)
{
    const bool served = server->state == TW_SERVER_STATE_GREETING ||
                        server->state == TW_SERVER_STATE_IDLE ||
                        server->state == TW_SERVER_STATE_TESTING;
    return served && !server->event_pending && tw_channel_has_room(&server->channel, ANSWER_MAX);
}

uint8_t *tw_server_input(struct tw_server *server, size_t *room)
{
    uint8_t *place = tw_channel_input(&server->channel, room);
    if (!is_reading(server))
        *room = 0;
    return place;
}

void tw_server_received(struct tw_server *server, size_t n, tw_mono now)
{
    if (n == 0)
        return;
    assert(is_reading(server));
    if (server->state != TW_SERVER_STATE_GREETING && server->channel.have == 0)
        server->message = stall_deadline(server, now);
    server->last = now;
    tw_channel_received(&server->channel, n);
    if (!tw_channel_complete(&server->channel))
        return;
    if (server->state == TW_SERVER_STATE_GREETING)
        take_set_up(server, now);
    else
        take_command(server, now);
}

const uint8_t *tw_server_output(const struct tw_server *server, size_t *n)
{
    return tw_channel_output(&server->channel, n);
}

void tw_server_sent(struct tw_server *server, size_t n, tw_mono now)
{
    (void)now; /* SERVWAIT knows what the client sends, not what it is sent */
    tw_channel_sent(&server->channel, n);
}

tw_mono tw_server_deadline(const struct tw_server *server)
{
    switch (server->state) {
    case TW_SERVER_STATE_GREETING:
    case TW_SERVER_STATE_CLOSING:
        return server->message;
    case TW_SERVER_STATE_IDLE:
    case TW_SERVER_STATE_TESTING:
        if (server->channel.have != 0)
            return server->message;
        if (server->running || server->config->servwait_ns == 0)
            return TW_NEVER;
        return tw_mono_after(server->last, server->config->servwait_ns);
    case TW_SERVER_STATE_ASKED: /* the client is not to blame for the driver's time */
    case TW_SERVER_STATE_CLOSED:
        break;
    }
    return TW_NEVER;
}

static void drop_output(struct tw_server *server)
{
    size_t n;
    tw_channel_output(&server->channel, &n);
    tw_channel_sent(&server->channel, n);
}

void tw_server_expire(struct tw_server *server, tw_mono now)
{
    const tw_mono deadline = tw_server_deadline(server);
    if (tw_mono_is_never(deadline) || !tw_mono_reached(deadline, now))
        return;
    if (server->state != TW_SERVER_STATE_CLOSING) {
        const bool waiting_idle =
            server->state != TW_SERVER_STATE_GREETING && server->channel.have == 0;
        begin_close(server, waiting_idle ? TW_SERVER_CLOSE_SERVWAIT : TW_SERVER_CLOSE_STALLED, now);
    }
    drop_output(server); /* what the client has not read in all that time it will not read */
}

bool tw_server_next_event(struct tw_server *server, struct tw_server_event *event)
{
    if (server->event_pending) {
        *event = server->event;
        server->event_pending = false;
        return true;
    }
    size_t queued;
    tw_channel_output(&server->channel, &queued);
    if (server->state != TW_SERVER_STATE_CLOSING || queued != 0)
        return false;
    server->state = TW_SERVER_STATE_CLOSED;
    *event = (struct tw_server_event){.type = TW_SERVER_CLOSE, .close = server->close_reason};
    return true;
}

/* Asked, and the driver has seen the question. */
static bool is_asked(const struct tw_server *server, enum tw_server_event_type question)
{
    return server->state == TW_SERVER_STATE_ASKED && server->question == question &&
           !server->event_pending;
}

enum tw_result tw_server_answer_session(struct tw_server *server, enum tw_accept accept,
                                        uint16_t port, const uint8_t sid[TW_SID_SIZE], tw_mono now)
{
    if (!is_asked(server, TW_SERVER_REQUEST))
        return TW_ERR_STATE;
    struct tw_accept_session message = {.accept = (uint8_t)accept};
    if (accept == TW_ACCEPT_OK) {
        assert(port != 0);
        message.port = port;
        memcpy(message.sid, sid, sizeof(message.sid));
        server->accepted++;
    }
    queue_accept_session(server, &message);
    server->last = now;
    serve_on(server);
    return TW_OK;
}

enum tw_result tw_server_answer_start(struct tw_server *server, enum tw_accept accept, tw_mono now)
{
    if (!is_asked(server, TW_SERVER_START))
        return TW_ERR_STATE;
    if (accept == TW_ACCEPT_OK) {
        server->started += server->accepted;
        server->accepted = 0;
        server->running = true;
    }
    queue_start_ack(server, accept);
    server->last = now;
    serve_on(server);
    return TW_OK;
}

void tw_server_sessions_ended(struct tw_server *server, tw_mono now)
{
    if (!server->running)
        return;
    server->running = false;
    server->last = now;
}
