/* States, questions and events of the Server machine; see server_state.h. It knows no message. */
#include "lib/server_state.h"

#include <assert.h>
#include <string.h>

tw_mono tw_server_state_stall(const struct tw_server *server, tw_mono now)
{
    int64_t limit_ns = server->config->stall_ns;
    if (server->config->servwait_ns != 0 && server->config->servwait_ns < limit_ns)
        limit_ns = server->config->servwait_ns;
    return tw_mono_after(now, limit_ns);
}

struct tw_server_event *tw_server_state_emit(struct tw_server *server,
                                             enum tw_server_event_type type)
{
    assert(!server->event_pending);
    memset(&server->event, 0, sizeof server->event);
    server->event.type = type;
    server->event_pending = true;
    return &server->event;
}

void tw_server_state_emit_reject(struct tw_server *server, enum tw_server_reject_reason reason,
                                 enum tw_accept accept)
{
    struct tw_server_event *event = tw_server_state_emit(server, TW_SERVER_REJECT);
    event->reject.reason = reason;
    event->reject.command = server->in[0];
    event->reject.accept = (uint8_t)accept;
}

struct tw_server_event *tw_server_state_ask(struct tw_server *server,
                                            enum tw_server_event_type question)
{
    server->state = TW_SERVER_STATE_ASKED;
    server->question = question;
    return tw_server_state_emit(server, question);
}

bool tw_server_state_asked(const struct tw_server *server, enum tw_server_event_type question)
{
    return server->state == TW_SERVER_STATE_ASKED && server->question == question &&
           !server->event_pending;
}

/* Between questions the number of sessions alone tells the state. */
void tw_server_state_serve(struct tw_server *server)
{
    server->state = server->started == 0 ? TW_SERVER_STATE_IDLE : TW_SERVER_STATE_TESTING;
}

void tw_server_state_resume(struct tw_server *server, tw_mono now)
{
    server->last = now;
    tw_server_state_serve(server);
}

void tw_server_state_close(struct tw_server *server, enum tw_server_close_reason reason,
                           tw_mono now)
{
    server->state = TW_SERVER_STATE_CLOSING;
    server->close_reason = reason;
    /* A peer that reads nothing must not hold us. */
    server->message = tw_server_state_stall(server, now);
}

bool tw_server_state_has(const struct tw_server *server, uint32_t mode)
{
    return (server->mode & mode) != 0;
}
