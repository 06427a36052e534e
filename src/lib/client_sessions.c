/* The table of a Control-Client's sessions; the contract is in client_sessions.h. */
#include "lib/client_sessions.h"

#include <assert.h>
#include <string.h>

enum { FREE, ACCEPTED, STARTING, STARTED, STOPPING };

_Static_assert((int)TW_CLIENT_SESSIONS_MAX <= (int)TW_SIDS_MAX, "one message names them all");

/* TW_CLIENT_SESSIONS_MAX when there is none. */
static unsigned index_of(const struct tw_client_sessions *sessions, const uint8_t *sid)
{
    unsigned i = 0;
    while (i < TW_CLIENT_SESSIONS_MAX &&
           (sessions->of[i].state == FREE || memcmp(sessions->of[i].sid, sid, TW_SID_SIZE) != 0))
        i++;
    return i;
}

static unsigned free_place(const struct tw_client_sessions *sessions)
{
    unsigned i = 0;
    while (i < TW_CLIENT_SESSIONS_MAX && sessions->of[i].state != FREE)
        i++;
    return i;
}

bool tw_client_sessions_full(const struct tw_client_sessions *sessions)
{
    return free_place(sessions) == TW_CLIENT_SESSIONS_MAX;
}

bool tw_client_sessions_has(const struct tw_client_sessions *sessions,
                            const uint8_t sid[TW_SID_SIZE])
{
    return index_of(sessions, sid) < TW_CLIENT_SESSIONS_MAX;
}

void tw_client_sessions_add(struct tw_client_sessions *sessions, const uint8_t sid[TW_SID_SIZE])
{
    const unsigned place = free_place(sessions);
    assert(place < TW_CLIENT_SESSIONS_MAX);
    sessions->of[place].state = ACCEPTED;
    memcpy(sessions->of[place].sid, sid, TW_SID_SIZE);
    sessions->accepted++;
}

static void move_all(struct tw_client_sessions *sessions, uint8_t from, uint8_t to)
{
    for (unsigned i = 0; i < TW_CLIENT_SESSIONS_MAX; i++)
        if (sessions->of[i].state == from)
            sessions->of[i].state = to;
}

void tw_client_sessions_start(struct tw_client_sessions *sessions)
{
    move_all(sessions, ACCEPTED, STARTED);
    sessions->started += sessions->accepted;
    sessions->accepted = 0;
}

void tw_client_sessions_stop(struct tw_client_sessions *sessions)
{
    move_all(sessions, STARTED, FREE);
    sessions->started = 0;
}

static uint32_t ask(struct tw_client_sessions *sessions, uint8_t from, uint8_t to,
                    const uint8_t *sid, uint8_t *sids)
{
    assert(sessions->open == 0);
    uint32_t count = 0;
    for (unsigned i = 0; i < TW_CLIENT_SESSIONS_MAX; i++) {
        struct tw_client_session *session = &sessions->of[i];
        if (session->state != from || (sid != NULL && memcmp(session->sid, sid, TW_SID_SIZE) != 0))
            continue;
        session->state = to;
        memcpy(sids + (size_t)count * TW_SID_SIZE, session->sid, TW_SID_SIZE);
        count++;
    }
    if (count == 0)
        return 0;
    sessions->asked = sessions->open = count;
    sessions->refused = 0;
    sessions->refused_accept = 0;
    return count;
}

uint32_t tw_client_sessions_ask_start(struct tw_client_sessions *sessions, const uint8_t *sid,
                                      uint8_t *sids)
{
    return ask(sessions, ACCEPTED, STARTING, sid, sids);
}

uint32_t tw_client_sessions_ask_stop(struct tw_client_sessions *sessions, const uint8_t *sid,
                                     uint8_t *sids)
{
    return ask(sessions, STARTED, STOPPING, sid, sids);
}

static bool acknowledge_one(struct tw_client_sessions *sessions, uint8_t accept, const uint8_t *sid)
{
    const unsigned place = index_of(sessions, sid);
    if (place == TW_CLIENT_SESSIONS_MAX)
        return false;
    struct tw_client_session *session = &sessions->of[place];
    if (session->state == STARTING && accept == TW_ACCEPT_OK) {
        session->state = STARTED;
        sessions->accepted--;
        sessions->started++;
    } else if (session->state == STARTING) {
        session->state = ACCEPTED;
    } else if (session->state == STOPPING) {
        session->state = FREE;
        sessions->started--;
    } else {
        return false;
    }
    sessions->open--;
    if (accept == TW_ACCEPT_OK)
        return true;
    if (sessions->refused++ == 0)
        sessions->refused_accept = accept;
    return true;
}

bool tw_client_sessions_acknowledge(struct tw_client_sessions *sessions, uint8_t accept,
                                    const uint8_t *sids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!acknowledge_one(sessions, accept, sids + (size_t)i * TW_SID_SIZE))
            return false;
    return true;
}
