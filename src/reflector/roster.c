/* Sessions by SID; see roster.h. */
#include "reflector/roster.h"

#include <stdatomic.h>
#include <string.h>

#include "lib/bytes.h"

/* SIDs kept of sessions that ended by REFWAIT: a client that never stops any must not fill the
 * memory. The oldest make way. */
enum { EXPIRED_MAX = 256 };

/* SIDs are our own, with random octets at their end. */
static guint hash_sid(gconstpointer sid)
{
    return tw_get32((const uint8_t *)sid + TW_SID_SIZE - 4);
}

static gboolean equal_sids(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, TW_SID_SIZE) == 0;
}

static void forget_all_expired(struct twd_roster *roster)
{
    if (roster->expired != NULL)
        g_byte_array_unref(roster->expired);
    roster->expired = NULL;
}

void twd_roster_init(struct twd_roster *roster, struct twd_sessions *sessions)
{
    *roster = (struct twd_roster){.sessions = sessions};
    g_queue_init(&roster->all);
    roster->by_sid = g_hash_table_new(hash_sid, equal_sids);
}

void twd_roster_free(struct twd_roster *roster)
{
    g_assert(roster->all.length == 0);
    g_hash_table_unref(roster->by_sid);
    forget_all_expired(roster);
}

void twd_roster_add(struct twd_roster *roster, struct twd_session *session)
{
    session->link = (GList){.data = session};
    g_queue_push_tail_link(&roster->all, &session->link);
    g_hash_table_insert(roster->by_sid, session->sid, session);
}

static void remove_session(struct twd_roster *roster, struct twd_session *session)
{
    g_queue_unlink(&roster->all, &session->link);
    g_hash_table_remove(roster->by_sid, session->sid);
}

void twd_roster_part(struct twd_roster *roster, enum twd_parting parting)
{
    GList *link;
    while ((link = g_queue_peek_head_link(&roster->all)) != NULL) {
        struct twd_session *session = link->data;
        remove_session(roster, session);
        if (parting == TWD_PARTING_STOP)
            twd_sessions_stop(roster->sessions, session);
        else
            twd_sessions_end(roster->sessions, session);
    }
    roster->starting = roster->running = 0;
    forget_all_expired(roster);
}

static void start(struct twd_roster *roster, struct twd_session *session)
{
    roster->starting++;
    twd_sessions_start(roster->sessions, session);
}

void twd_roster_start_all(struct twd_roster *roster)
{
    for (const GList *link = roster->all.head; link != NULL; link = link->next) {
        struct twd_session *session = link->data;
        if (session->state == TWD_SESSION_ACCEPTED)
            start(roster, session);
    }
}

enum tw_accept twd_roster_start(struct twd_roster *roster, const uint8_t sid[TW_SID_SIZE])
{
    struct twd_session *session = g_hash_table_lookup(roster->by_sid, sid);
    if (session == NULL || session->state != TWD_SESSION_ACCEPTED)
        return TW_ACCEPT_UNSUPPORTED;
    start(roster, session);
    return TW_ACCEPT_OK;
}

static void remember_expired(struct twd_roster *roster, const uint8_t sid[TW_SID_SIZE])
{
    if (roster->expired == NULL)
        roster->expired = g_byte_array_new();
    if (roster->expired->len >= EXPIRED_MAX * TW_SID_SIZE)
        g_byte_array_remove_range(roster->expired, 0, TW_SID_SIZE);
    g_byte_array_append(roster->expired, sid, TW_SID_SIZE);
}

static bool forget_expired(struct twd_roster *roster, const uint8_t sid[TW_SID_SIZE])
{
    GByteArray *expired = roster->expired;
    for (guint at = 0; expired != NULL && at < expired->len; at += TW_SID_SIZE) {
        if (equal_sids(expired->data + at, sid)) {
            g_byte_array_remove_range(expired, at, TW_SID_SIZE);
            return true;
        }
    }
    return false;
}

enum tw_accept twd_roster_stop(struct twd_roster *roster, const uint8_t sid[TW_SID_SIZE])
{
    struct twd_session *session = g_hash_table_lookup(roster->by_sid, sid);
    if (session == NULL)
        return forget_expired(roster, sid) ? TW_ACCEPT_OK : TW_ACCEPT_UNSUPPORTED;
    if (session->state != TWD_SESSION_STARTED)
        return TW_ACCEPT_UNSUPPORTED;
    remove_session(roster, session);
    roster->running--;
    twd_sessions_stop(roster->sessions, session);
    return TW_ACCEPT_OK;
}

bool twd_roster_started(struct twd_roster *roster)
{
    roster->running++;
    return --roster->starting == 0;
}

void twd_roster_ended(struct twd_roster *roster, struct twd_session *session)
{
    remove_session(roster, session);
    if (!session->was_started)
        return;
    remember_expired(roster, session->sid);
    roster->running--;
}

tw_mono twd_roster_heard(const struct twd_roster *roster)
{
    tw_mono last = {.ns = INT64_MIN};
    for (const GList *link = roster->all.head; link != NULL; link = link->next) {
        const struct twd_session *session = link->data;
        const int64_t ns = atomic_load_explicit(&session->flow.heard_ns, memory_order_relaxed);
        last.ns = MAX(last.ns, ns);
    }
    return last;
}
