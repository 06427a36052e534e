/* Individual Session Control: which SIDs a command names and how each was answered; see
 * server_sids.h. Whose they are and in what state is the driver's knowledge. */
#include "lib/server_sids.h"

#include <assert.h>
#include <string.h>

#include "lib/server_state.h"

enum { ACCEPT_VALUES = TW_ACCEPT_TEMPORARY_LIMIT + 1 };
_Static_assert(ACCEPT_VALUES *(TW_COMMAND_HEAD_SIZE + TW_HMAC_SIZE) + TW_SIDS_MAX * TW_SID_SIZE <=
                   TW_SERVER_OUT,
               "the acknowledgments of one message do not fit into the channel");

static uint8_t *sid_at(uint8_t *sids, uint32_t i)
{
    return sids + (size_t)i * TW_SID_SIZE;
}

/* Moves the SIDs together so that each stands there once, in the order they came; how many. */
static uint32_t keep_first_of_each(uint8_t *sids, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t same = 0;
        while (same < kept && memcmp(sid_at(sids, same), sid_at(sids, i), TW_SID_SIZE) != 0)
            same++;
        if (same == kept)
            memmove(sid_at(sids, kept++), sid_at(sids, i), TW_SID_SIZE);
    }
    return kept;
}

void tw_server_sids_take(struct tw_server *server)
{
    const struct tw_sids_head head = tw_get_sids_head(server->in);
    uint8_t *sids = server->in + TW_COMMAND_HEAD_SIZE;
    server->sids = keep_first_of_each(sids, head.count);
    const bool start = head.command == TW_COMMAND_START_N_SESSIONS;
    struct tw_server_event *event =
        tw_server_state_ask(server, start ? TW_SERVER_START_N : TW_SERVER_STOP_N);
    event->sids.at = sids;
    event->sids.count = server->sids;
}

/* Queues an acknowledgment for the SIDs that were answered with `accept`; how many there were. */
static uint32_t acknowledge(struct tw_server *server, const uint8_t *accepts, uint8_t accept)
{
    uint8_t sids[TW_SIDS_MAX * TW_SID_SIZE];
    struct tw_sids_head head = {
        .command =
            server->question == TW_SERVER_START_N ? TW_COMMAND_START_N_ACK : TW_COMMAND_STOP_N_ACK,
        .accept = accept,
    };
    for (uint32_t i = 0; i < server->sids; i++)
        if (accepts[i] == accept)
            memcpy(sid_at(sids, head.count++), sid_at(server->in + TW_COMMAND_HEAD_SIZE, i),
                   TW_SID_SIZE);
    if (head.count == 0)
        return 0;
    const size_t size = tw_sids_size(head.count);
    tw_put_sids(tw_channel_place(&server->channel, size), &head, sids);
    tw_channel_queue(&server->channel, size);
    return head.count;
}

/* RFC 5938 section 3.6: SERVWAIT rests while any session runs. */
static void count(struct tw_server *server, uint32_t done)
{
    if (server->question == TW_SERVER_START_N) {
        assert(done <= server->accepted);
        server->accepted -= done;
        server->started += done;
        server->running = server->running || done > 0;
    } else {
        assert(done <= server->started);
        server->started -= done;
        server->running = server->running && server->started > 0;
    }
}

enum tw_result tw_server_answer_sids(struct tw_server *server, const uint8_t *accepts, tw_mono now)
{
    if (!tw_server_state_asked(server, TW_SERVER_START_N) &&
        !tw_server_state_asked(server, TW_SERVER_STOP_N))
        return TW_ERR_STATE;
    uint32_t answered = acknowledge(server, accepts, TW_ACCEPT_OK);
    count(server, answered);
    for (unsigned accept = TW_ACCEPT_OK + 1; accept < ACCEPT_VALUES; accept++) {
        const uint32_t refused = acknowledge(server, accepts, (uint8_t)accept);
        if (refused > 0 && !server->event_pending)
            tw_server_state_emit_reject(server, TW_SERVER_REJECT_SID, (enum tw_accept)accept);
        answered += refused;
    }
    assert(answered == server->sids);
    tw_channel_next(&server->channel, TW_COMMAND_HEAD_SIZE);
    tw_server_state_resume(server, now);
    return TW_OK;
}
