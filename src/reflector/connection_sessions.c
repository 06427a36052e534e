/* The sessions of a control connection: what the client asks for goes to the registry and the
 * roster, and what became of it goes back as the answer; see connection_state.h. Who may have a
 * session is sessions.c's. */
#include "reflector/connection_state.h"

#include <string.h>

#include "lib/sys/clock.h"
#include "lib/sys/socket.h"

static void log_session(struct twd_connection *connection, const struct twd_session *session,
                        const struct tw_request *request)
{
    char remote[TW_ADDRESS_TEXT];
    char local[TW_ADDRESS_TEXT];
    twd_log(TWD_LOG_DEBUG, TWD_LOG_ABOUT(connection->peer_text, session->sid_text, 0),
            "accepted: %s to %s, DSCP %d, padding %u",
            tw_address_format(&session->flow.key.remote, true, remote),
            tw_address_format(&session->flow.key.local, true, local),
            tw_type_p_to_dscp(request->type_p), (unsigned)request->padding_length);
}

/* When a session is made the answer follows from its worker, see session_ready(). */
void twd_connection_request(struct twd_connection *connection, const struct tw_request *request)
{
    struct twd_service *service = connection->service;
    struct twd_asker asker = {
        .peer = connection->peer,
        .local = connection->local,
        .mode = connection->server.mode,
        .keyid = connection->keyid,
        .server = &connection->server,
        .client = connection->client,
        .owner = connection,
        .number = connection->number,
    };
    memcpy(asker.device, connection->device, sizeof(asker.device));
    enum twd_refusal refusal = TWD_REFUSAL_COUNT;
    struct twd_session *session =
        twd_sessions_request(service->sessions, request, &asker, &refusal);
    if (session != NULL) {
        twd_roster_add(&connection->roster, session);
        log_session(connection, session, request);
        return;
    }
    const enum tw_accept accept = twd_refusal_accept(refusal);
    service->refused[refusal]++;
    twd_log_limited(&service->session_log, TWD_LOG_INFO,
                    TWD_LOG_ABOUT(connection->peer_text, NULL, (int)accept),
                    "session refused (%s): %s", twd_refusal_name(refusal),
                    twd_refusal_text(refusal));
    static const uint8_t no_sid[TW_SID_SIZE];
    const enum tw_result result =
        tw_server_answer_session(&connection->server, accept, 0, no_sid, tw_clock_mono());
    g_assert(result == TW_OK);
}

/* SERVWAIT counts again when no session runs that a packet could come for (RFC 5357 section 3.1,
 * RFC 5938 section 3.6). */
static void tell_running(struct twd_connection *connection)
{
    if (connection->roster.running == 0)
        tw_server_sessions_ended(&connection->server, tw_clock_mono());
}

static void answer_sids(struct twd_connection *connection)
{
    const enum tw_result result =
        tw_server_answer_sids(&connection->server, connection->accepts, tw_clock_mono());
    g_assert(result == TW_OK);
    tell_running(connection);
}

static void answer_start(struct twd_connection *connection, enum tw_accept accept)
{
    const enum tw_result result =
        tw_server_answer_start(&connection->server, accept, tw_clock_mono());
    g_assert(result == TW_OK);
    tell_running(connection);
}

/* The answer follows when all reflect, see session_started(); there may be none any more, since the
 * client has asked for them on another connection. */
void twd_connection_start(struct twd_connection *connection)
{
    twd_roster_start_all(&connection->roster);
    if (connection->roster.starting == 0)
        answer_start(connection, TW_ACCEPT_FAILURE);
}

/* Those that can be; the answer follows when all of them reflect, see session_started(). */
void twd_connection_start_n(struct twd_connection *connection, const struct tw_server_event *event)
{
    for (uint32_t i = 0; i < event->sids.count; i++)
        connection->accepts[i] = (uint8_t)twd_roster_start(
            &connection->roster, event->sids.at + (size_t)i * TW_SID_SIZE);
    if (connection->roster.starting == 0)
        answer_sids(connection);
}

void twd_connection_stop_n(struct twd_connection *connection, const struct tw_server_event *event)
{
    for (uint32_t i = 0; i < event->sids.count; i++)
        connection->accepts[i] =
            (uint8_t)twd_roster_stop(&connection->roster, event->sids.at + (size_t)i * TW_SID_SIZE);
    answer_sids(connection);
}

void twd_connection_stop(struct twd_connection *connection, const struct tw_server_event *event)
{
    if (event->stop.zero_count)
        connection->service->zero_stops++;
    if (event->stop.accept != TW_ACCEPT_OK)
        twd_log_limited(&connection->service->session_log, TWD_LOG_INFO,
                        TWD_LOG_ABOUT(connection->peer_text, NULL, event->stop.accept),
                        "the client holds its results invalid: %s",
                        tw_accept_text(event->stop.accept));
    twd_roster_part(&connection->roster, TWD_PARTING_STOP);
}

static void session_ready(void *owner, struct twd_session *session)
{
    struct twd_connection *connection = owner;
    const enum tw_result result = tw_server_answer_session(
        &connection->server, TW_ACCEPT_OK, session->port, session->sid, tw_clock_mono());
    g_assert(result == TW_OK);
    twd_connection_settle(connection);
}

static void session_started(void *owner, struct twd_session *session)
{
    (void)session;
    struct twd_connection *connection = owner;
    if (!twd_roster_started(&connection->roster))
        return;
    if (connection->server.question == TW_SERVER_START_N)
        answer_sids(connection);
    else
        answer_start(connection, TW_ACCEPT_OK);
    twd_connection_settle(connection);
}

/* Without our doing: see sessions.h. */
static void session_ended(void *owner, struct twd_session *session)
{
    struct twd_connection *connection = owner;
    twd_roster_ended(&connection->roster, session);
    tell_running(connection);
    twd_connection_rearm(connection);
}

static tw_mono last_heard(void *owner)
{
    return ((const struct twd_connection *)owner)->heard;
}

const struct twd_sessions_calls twd_connection_calls = {
    .ready = session_ready,
    .started = session_started,
    .ended = session_ended,
    .heard = last_heard,
};
