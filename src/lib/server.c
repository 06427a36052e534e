/* The Server machine of TWAMP-Control: takes one command at a time from the channel, judges what
 * message and state decide, and asks the driver for the rest (see server.h).
 *
 * In the secured modes it has the channel decipher and verify: of a command that is not authentic
 * only the length is used. Set-up is in server_set_up.c, the sense of a request is judged in
 * server_request.c, RFC 5938 is in server_sids.c, and the moves they share in server_state.c.
 * Addresses, ports, sessions and secrets are the driver's. */
#include "lib/server.h"

#include <assert.h>
#include <string.h>

#include "lib/fingerprint.h"
#include "lib/server_request.h"
#include "lib/server_set_up.h"
#include "lib/server_sids.h"
#include "lib/server_state.h"

/* Mode bits that this machine can serve; the driver must not offer others. */
#define SERVED_MODES (TW_MODE_SECURITY | (TW_MODE_FEATURES & ~TW_MODE_IKEV2))

enum { SHORTEST_COMMAND = TW_COMMAND_HEAD_SIZE + TW_HMAC_SIZE };

/* Longest answer to any message but Start-N and Stop-N; theirs may fill the whole channel. */
enum { SINGLE_ANSWER_MAX = TW_ACCEPT_SESSION_SIZE };
_Static_assert((int)TW_SERVER_START_SIZE <= (int)SINGLE_ANSWER_MAX &&
                   (int)TW_START_ACK_SIZE <= (int)SINGLE_ANSWER_MAX,
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

static void queue_accept_session(struct tw_server *server, const struct tw_accept_session *message)
{
    tw_put_accept_session(tw_channel_place(&server->channel, TW_ACCEPT_SESSION_SIZE), message);
    tw_channel_queue(&server->channel, TW_ACCEPT_SESSION_SIZE);
}

static void queue_start_ack(struct tw_server *server, enum tw_accept accept)
{
    tw_put_start_ack(tw_channel_place(&server->channel, TW_START_ACK_SIZE), (uint8_t)accept);
    tw_channel_queue(&server->channel, TW_START_ACK_SIZE);
}

/* RFC 5357 section 3.5: an Accept-Session says no to whatever command. */
static void reject(struct tw_server *server, enum tw_server_reject_reason reason)
{
    struct tw_accept_session message = {.accept = TW_ACCEPT_UNSUPPORTED};
    if (server->in[0] == TW_COMMAND_REQUEST_TW_SESSION)
        message.reflected_octets = server->request.reflect_octets;
    queue_accept_session(server, &message);
    tw_server_state_emit_reject(server, reason, TW_ACCEPT_UNSUPPORTED);
}

static void take_request(struct tw_server *server, tw_mono now)
{
    struct tw_request *request = &server->request;
    const enum tw_result result = tw_get_request(server->in, server->channel.have, request);
    assert(result == TW_OK);
    (void)result;

    if (!tw_server_state_has(server, TW_MODE_REFLECT_OCTETS))
        request->reflect_octets = request->reflect_length = 0; /* MBZ, RFC 6038 section 4.2 */
    /* Slot descriptions may follow, which TWAMP does not know: the next command cannot be found. */
    if (request->schedule_slots != 0) {
        reject(server, TW_SERVER_REJECT_SLOTS);
        tw_server_state_close(server, TW_SERVER_CLOSE_SCHEDULE_SLOTS, now);
        return;
    }
    /* RFC 5938 is there to add sessions to a running test. */
    if (server->state == TW_SERVER_STATE_TESTING &&
        !tw_server_state_has(server, TW_MODE_SESSION_CONTROL)) {
        reject(server, TW_SERVER_REJECT_COMMAND);
        return;
    }
    enum tw_server_reject_reason reason;
    if (tw_server_request_find_fault(request, server->mode, server->config, &reason)) {
        reject(server, reason);
        return;
    }
    tw_server_state_ask(server, TW_SERVER_REQUEST)->request = *request;
}

static void take_start(struct tw_server *server)
{
    if (server->state == TW_SERVER_STATE_TESTING) {
        reject(server, TW_SERVER_REJECT_COMMAND);
        return;
    }
    if (server->accepted == 0) {
        queue_start_ack(server, TW_ACCEPT_FAILURE);
        tw_server_state_emit_reject(server, TW_SERVER_REJECT_NO_SESSION, TW_ACCEPT_FAILURE);
        return;
    }
    tw_server_state_ask(server, TW_SERVER_START);
}

/* RFC 5357 section 3.8: the number must be that of the sessions started, those that REFWAIT ended
 * included, since the client cannot know of it. Some clients always say 0. The number 0 while
 * nothing is started is exact and changes nothing, so it is no event. */
static void take_stop(struct tw_server *server, tw_mono now)
{
    struct tw_stop_sessions stop;
    const enum tw_result result = tw_get_stop_sessions(server->in, server->channel.have, &stop);
    assert(result == TW_OK);
    (void)result;

    const bool exact = stop.sessions == server->started;
    const bool tolerated = stop.sessions == 0 && !server->config->strict_stop;
    if (!exact && !tolerated) {
        tw_server_state_close(server, TW_SERVER_CLOSE_STOP_COUNT, now);
        return;
    }
    if (server->started == 0)
        return;
    server->started = 0;
    server->running = false;
    tw_server_state_serve(server);
    struct tw_server_event *event = tw_server_state_emit(server, TW_SERVER_STOP);
    event->stop.accept = stop.accept;
    event->stop.zero_count = !exact;
    if (!exact)
        server->quirks |= TW_QUIRK_ZERO_STOP;
}

/* Where such a command ends nobody can tell, and so the connection cannot go on. In a secured mode
 * its HMAC cannot be found either, unless it ends where that of the shortest command does; what is
 * not authentic is not answered (RFC 4656 section 6.10). No acknowledgment of RFC 5938 tells of a
 * number of SIDs out of bounds. */
static void take_endless(struct tw_server *server, tw_mono now)
{
    if (server->channel.secured && server->channel.have < SHORTEST_COMMAND) {
        tw_channel_expect(&server->channel, SHORTEST_COMMAND);
        return;
    }
    if (!tw_channel_verify(&server->channel)) {
        tw_server_state_close(server, TW_SERVER_CLOSE_HMAC, now);
        return;
    }
    const uint8_t command = server->in[0];
    const bool has_sids =
        command == TW_COMMAND_START_N_SESSIONS || command == TW_COMMAND_STOP_N_SESSIONS;
    if (!has_sids || !tw_server_state_has(server, TW_MODE_SESSION_CONTROL))
        reject(server, TW_SERVER_REJECT_COMMAND);
    tw_server_state_close(server, TW_SERVER_CLOSE_UNKNOWN_COMMAND, now);
}

/* Acts on a whole command; its length is known, so that the connection goes on even when the
 * command is not legal in the modes chosen. False: it stays in the channel until it is answered. */
static bool obey(struct tw_server *server, tw_mono now)
{
    const bool individual = tw_server_state_has(server, TW_MODE_SESSION_CONTROL);
    const uint8_t command = server->in[0];
    if (command == TW_COMMAND_REQUEST_TW_SESSION) {
        take_request(server, now);
    } else if (individual &&
               (command == TW_COMMAND_START_N_SESSIONS || command == TW_COMMAND_STOP_N_SESSIONS)) {
        tw_server_sids_take(server);
        return false;
    } else if (!individual && command == TW_COMMAND_START_SESSIONS) {
        take_start(server);
    } else if (!individual && command == TW_COMMAND_STOP_SESSIONS) {
        take_stop(server, now);
    } else {
        reject(server, TW_SERVER_REJECT_COMMAND);
    }
    return true;
}

/* Acts on the command that is in the channel, or asks for the rest of it. */
static void take_command(struct tw_server *server, tw_mono now)
{
    const size_t size = tw_command_size(server->in);
    if (size == 0) {
        take_endless(server, now);
        return;
    }
    if (server->channel.have < size) {
        tw_channel_expect(&server->channel, size);
        return;
    }
    if (!tw_channel_verify(&server->channel)) {
        tw_server_state_close(server, TW_SERVER_CLOSE_HMAC, now);
        return;
    }
    server->quirks |= tw_fingerprint_command(server->in, size, server->mode);
    if (obey(server, now))
        tw_channel_next(&server->channel, TW_COMMAND_HEAD_SIZE);
}

void tw_server_init(struct tw_server *server, const struct tw_server_config *config,
                    struct tw_random *random, tw_mono now)
{
    assert((config->modes & ~SERVED_MODES) == 0);
    assert(!tw_keys_needed(config->modes) || tw_keys_count_is_valid(config->count));
    assert(config->stall_ns > 0 && config->servwait_ns >= 0 && config->max_timeout_ns >= 0);

    memset(server, 0, sizeof(*server));
    server->config = config;
    server->state = TW_SERVER_STATE_GREETING;
    server->last = now;
    server->message = tw_server_state_stall(server, now);
    const struct tw_channel_memory memory = {
        .in = server->in,
        .out = server->out,
        .in_size = sizeof server->in,
        .out_size = sizeof server->out,
        .ciphers = &server->ciphers,
    };
    tw_channel_init(&server->channel, &memory, TW_SETUP_RESPONSE_SIZE);

    tw_server_set_up_greet(server, random);
    if (config->modes == 0)
        tw_server_state_close(server, TW_SERVER_CLOSE_REFUSED, now);
}

/* Room for whatever answer the message may need: without it none is read. */
static size_t answer_max(const struct tw_server *server)
{
    return tw_server_state_has(server, TW_MODE_SESSION_CONTROL) ? TW_SERVER_OUT : SINGLE_ANSWER_MAX;
}

/* An event must be taken before the next message can make another one. */
static bool is_reading(const struct tw_server *server)
{
    const bool served = server->state == TW_SERVER_STATE_GREETING ||
                        server->state == TW_SERVER_STATE_IDLE ||
                        server->state == TW_SERVER_STATE_TESTING;
    return served && !server->event_pending &&
           tw_channel_has_room(&server->channel, answer_max(server));
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
        server->message = tw_server_state_stall(server, now);
    server->last = now;
    tw_channel_received(&server->channel, n);
    if (!tw_channel_complete(&server->channel))
        return;
    if (server->state == TW_SERVER_STATE_GREETING)
        tw_server_set_up_take(server, now);
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
        tw_server_state_close(
            server, waiting_idle ? TW_SERVER_CLOSE_SERVWAIT : TW_SERVER_CLOSE_STALLED, now);
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

enum tw_result tw_server_answer_session(struct tw_server *server, enum tw_accept accept,
                                        uint16_t port, const uint8_t sid[TW_SID_SIZE], tw_mono now)
{
    if (!tw_server_state_asked(server, TW_SERVER_REQUEST))
        return TW_ERR_STATE;
    struct tw_accept_session message = {
        .accept = (uint8_t)accept,
        .reflected_octets = server->request.reflect_octets,
    };
    if (accept == TW_ACCEPT_OK) {
        assert(port != 0);
        message.port = port;
        memcpy(message.sid, sid, sizeof message.sid);
        server->accepted++;
    }
    queue_accept_session(server, &message);
    tw_server_state_resume(server, now);
    return TW_OK;
}

enum tw_result tw_server_answer_start(struct tw_server *server, enum tw_accept accept, tw_mono now)
{
    if (!tw_server_state_asked(server, TW_SERVER_START))
        return TW_ERR_STATE;
    if (accept == TW_ACCEPT_OK) {
        server->started += server->accepted;
        server->running = true;
    }
    server->accepted = 0;
    queue_start_ack(server, accept);
    tw_server_state_resume(server, now);
    return TW_OK;
}

void tw_server_wipe(struct tw_server *server)
{
    tw_channel_wipe(&server->channel);
    explicit_bzero(&server->keys, sizeof server->keys);
    explicit_bzero(&server->response, sizeof server->response);
    server->event_pending = false;
    server->state = TW_SERVER_STATE_CLOSED;
}

void tw_server_sessions_ended(struct tw_server *server, tw_mono now)
{
    if (!server->running)
        return;
    server->running = false;
    server->last = now;
}
