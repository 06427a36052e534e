/* The registry of sessions; see sessions.h. */
#include "reflector/sessions.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "lib/sys/clock.h"
#include "reflector/endpoints.h"
#include "reflector/log.h"

/* Without a packet or a command for so long a client may have lost its connection: longer than the
 * packets of nearly all tests are apart, and not longer than clients take to come again. */
#define QUIET_NS (2 * TW_NS_PER_S)

struct twd_sessions {
    struct twd_plane *plane;
    struct twd_clients *clients;
    const struct twd_config *config;
    struct twd_sessions_calls calls;
    GHashTable *by_key; /* all that a packet may find, or will once added */
    GHashTable *all;    /* also those that their worker has not let go of */
    struct twd_sids sids;
    struct tw_clock clock;
    unsigned active[TWD_CLASSES];
    GQueue lingering[TWD_CLASSES]; /* struct twd_session, of all clients, oldest first */
    uint64_t started, ended;
};

static void free_session(gpointer data)
{
    struct twd_session *session = data;
    if (session->protection != NULL)
        explicit_bzero(session->protection, sizeof(*session->protection));
    g_free(session->protection);
    g_free(session->keyid);
    g_free(session);
}

struct twd_sessions *twd_sessions_new(struct twd_plane *plane, struct twd_clients *clients,
                                      const struct twd_sessions_calls *calls)
{
    struct twd_sessions *sessions = g_new0(struct twd_sessions, 1);
    sessions->plane = plane;
    sessions->clients = clients;
    sessions->calls = *calls;
    for (int i = 0; i < TWD_CLASSES; i++)
        g_queue_init(&sessions->lingering[i]);
    sessions->by_key = g_hash_table_new(twd_flow_key_hash, twd_flow_key_equal);
    sessions->all = g_hash_table_new_full(NULL, NULL, free_session, NULL);
    tw_clock_init(&sessions->clock, 0);
    twd_sids_init(&sessions->sids, tw_clock_read(&sessions->clock).wall);
    return sessions;
}

static void forget_lingering(struct twd_client *client)
{
    for (int i = 0; i < TWD_CLASSES; i++)
        g_queue_init(&client->lingering[i]);
}

/* Clients that a session still holds go with their table. */
void twd_sessions_free(struct twd_sessions *sessions)
{
    GHashTableIter iter;
    gpointer session;
    g_hash_table_iter_init(&iter, sessions->all);
    while (g_hash_table_iter_next(&iter, &session, NULL))
        forget_lingering(((struct twd_session *)session)->client);
    g_hash_table_unref(sessions->by_key);
    g_hash_table_unref(sessions->all);
    g_free(sessions);
}

void twd_sessions_configure(struct twd_sessions *sessions, const struct twd_config *config)
{
    sessions->config = config;
}

struct twd_sessions_counts twd_sessions_count(const struct twd_sessions *sessions)
{
    struct twd_sessions_counts counts = {
        .started = sessions->started,
        .ended = sessions->ended,
    };
    for (int i = 0; i < TWD_CLASSES; i++) {
        counts.active += sessions->active[i];
        counts.lingering += sessions->lingering[i].length;
    }
    return counts;
}

static bool is_full(unsigned count, unsigned limit)
{
    return limit != 0 && count >= limit;
}

static enum twd_class class_of(const struct twd_asker *asker)
{
    const uint32_t keyed = TW_MODE_AUTHENTICATED | TW_MODE_ENCRYPTED | TW_MODE_MIXED;
    return (asker->mode & keyed) != 0 ? TWD_CLASS_KEYED : TWD_CLASS_OPEN;
}

static unsigned limit_of(const struct twd_config *config, enum twd_class class)
{
    return class == TWD_CLASS_KEYED ? config->max_sessions_authenticated : config->max_sessions;
}

/* Whether the client seems to have lost the connection that it asked for this session on. When the
 * path was cut neither its Stop-Sessions nor the end of the connection have come, and until TCP
 * repeats them, minutes after the path is whole again, the old session would stand in its way.
 * Nothing proves it: behind NAT two hosts may have one address and, by chance, one port. So
 * address, class, KeyID and device must be the same, and neither packets of the session nor
 * commands on its connection have come for QUIET_NS: what shows life goes on. */
static bool is_left_behind(const struct twd_sessions *sessions, const struct twd_session *session,
                           const struct twd_asker *asker)
{
    const bool settled =
        session->state == TWD_SESSION_ACCEPTED || session->state == TWD_SESSION_STARTED;
    const bool same = session->client == asker->client && session->class == class_of(asker) &&
                      strcmp(session->keyid, asker->keyid) == 0 &&
                      strcmp(session->device, asker->device) == 0;
    if (!settled || !same || session->number >= asker->number)
        return false;
    const tw_mono heard = {
        .ns = atomic_load_explicit(&session->flow.heard_ns, memory_order_relaxed),
    };
    const tw_mono now = tw_clock_mono();
    return tw_mono_reached(tw_mono_after(heard, QUIET_NS), now) &&
           tw_mono_reached(tw_mono_after(sessions->calls.heard(session->owner), QUIET_NS), now);
}

/* Whether a request for this 4-tuple would end an accepted or started session of the same class,
 * which counts no more then. */
static bool replaces_one(const struct twd_sessions *sessions, const struct twd_flow_key *key,
                         const struct twd_asker *asker)
{
    const struct twd_session *other = g_hash_table_lookup(sessions->by_key, key);
    return other != NULL && is_left_behind(sessions, other, asker);
}

/* RFC 4656 section 6.5. A limit is never 0, so none is such that it could never be granted, which
 * Accept 4 would say. */
static bool is_within_limits(const struct twd_sessions *sessions, const struct twd_flow_key *key,
                             const struct twd_asker *asker, enum twd_refusal *refusal)
{
    const struct twd_config *config = sessions->config;
    const enum twd_class class = class_of(asker);
    const unsigned freed = replaces_one(sessions, key, asker) ? 1 : 0;
    if (is_full(asker->client->sessions - freed, config->max_sessions_per_client)) {
        *refusal = TWD_REFUSE_CLIENT_SESSIONS;
        return false;
    }
    if (is_full(sessions->active[class] - freed, limit_of(config, class))) {
        *refusal =
            class == TWD_CLASS_KEYED ? TWD_REFUSE_SESSIONS_AUTHENTICATED : TWD_REFUSE_SESSIONS;
        return false;
    }
    return true;
}

static void log_end(const struct twd_session *session)
{
    if (!session->was_started)
        return;
    twd_log(TWD_LOG_DEBUG, TWD_LOG_ABOUT(NULL, session->sid_text, -1),
            "ended: %" PRIu64 " packets received, %" PRIu64 " reflected",
            session->flow.reflector.received, session->flow.reflector.reflected);
}

/* Takes the session out of what is counted; its worker may still have it. */
static void leave(struct twd_sessions *sessions, struct twd_session *session)
{
    if (session->state == TWD_SESSION_LINGERING) {
        g_queue_unlink(&session->client->lingering[session->class], &session->link);
        g_queue_unlink(&sessions->lingering[session->class], &session->lingering_link);
    } else {
        session->client->sessions--;
        sessions->active[session->class]--;
    }
}

static void finish(struct twd_sessions *sessions, struct twd_session *session)
{
    leave(sessions, session);
    g_hash_table_remove(sessions->by_key, &session->flow.key);
    session->state = TWD_SESSION_ENDED;
    session->owner = NULL;
    if (session->opened != NULL)
        twd_plane_close(session->opened);
    session->opened = NULL;
    if (session->was_started)
        sessions->ended++;
}

void twd_sessions_end(struct twd_sessions *sessions, struct twd_session *session)
{
    finish(sessions, session);
    twd_worker_order(session->worker, TWD_ORDER_REMOVE, &session->flow);
}

/* Makes room among the lingering of a class for what this client stops next: at its own expense if
 * it can, else at that of the session that has lingered longest. Clients without number, each with
 * its one session, must not have one place each. */
static void limit_lingering(struct twd_sessions *sessions, struct twd_client *client,
                            enum twd_class class)
{
    const struct twd_config *config = sessions->config;
    GQueue *own = &client->lingering[class];
    GQueue *all = &sessions->lingering[class];
    const bool full = is_full(own->length, config->max_sessions_per_client) ||
                      is_full(all->length, limit_of(config, class));
    if (full)
        twd_sessions_end(sessions, g_queue_peek_head(own->length > 0 ? own : all));
}

void twd_sessions_stop(struct twd_sessions *sessions, struct twd_session *session)
{
    const bool reflects =
        session->state == TWD_SESSION_STARTING || session->state == TWD_SESSION_STARTED;
    if (!reflects) {
        twd_sessions_end(sessions, session);
        return;
    }
    leave(sessions, session);
    limit_lingering(sessions, session->client, session->class);
    session->state = TWD_SESSION_LINGERING;
    session->owner = NULL;
    session->link = session->lingering_link = (GList){.data = session};
    g_queue_push_tail_link(&session->client->lingering[session->class], &session->link);
    g_queue_push_tail_link(&sessions->lingering[session->class], &session->lingering_link);
    twd_worker_order(session->worker, TWD_ORDER_STOP, &session->flow);
}

/* A client that asks again for the 4-tuple of a session needs no late replies of that one, if it
 * has stopped it or left it behind; any other session with it stands in the way (conformance E-56).
 */
static bool is_free(struct twd_sessions *sessions, const struct twd_flow_key *key,
                    const struct twd_asker *asker)
{
    struct twd_session *other = g_hash_table_lookup(sessions->by_key, key);
    if (other == NULL)
        return true;
    const bool stopped = other->state == TWD_SESSION_LINGERING && other->client == asker->client;
    if (!stopped && !is_left_behind(sessions, other, asker))
        return false;
    void *owner = other->owner;
    twd_sessions_end(sessions, other);
    if (owner != NULL)
        sessions->calls.ended(owner, other);
    return true;
}

/* NULL when the mode protects no test packets. */
static struct tw_protection *make_protection(const struct twd_asker *asker,
                                             const uint8_t sid[TW_SID_SIZE])
{
    struct tw_keys keys;
    if (asker->server == NULL || !tw_server_session_keys(asker->server, sid, &keys))
        return NULL;
    struct tw_protection *protection = g_new(struct tw_protection, 1);
    tw_protection_init(protection, asker->mode, &keys);
    explicit_bzero(&keys, sizeof(keys));
    return protection;
}

static int tai_offset_s(const struct twd_sessions *sessions)
{
    const int wanted = sessions->config->tai_offset_s;
    return wanted == TWD_TAI_AUTO ? sessions->clock.quality.tai_utc_s : wanted;
}

/* The SID comes first: secured modes derive their test keys from it. */
static struct twd_session *make_session(struct twd_sessions *sessions,
                                        const struct tw_request *request,
                                        const struct twd_asker *asker,
                                        const struct twd_flow_key *key)
{
    const struct twd_config *config = sessions->config;
    struct twd_session *session = g_new0(struct twd_session, 1);
    twd_sids_make(&sessions->sids, &asker->local, tw_clock_read(&sessions->clock).wall,
                  session->sid);
    twd_sids_print(session->sid, session->sid_text);
    session->protection = make_protection(asker, session->sid);
    const struct tw_reflector_config reflector = {
        .modes = asker->mode,
        .padding = config->padding,
        .refwait_ns = config->session_timeout_ns,
        .timeout_ns = tw_interval_to_ns(request->timeout),
        .max_rate = config->max_packet_rate,
        .tai_utc_s = tai_offset_s(sessions),
        .strict = config->strict_error_estimate,
        .padding_length = request->padding_length,
        .reflect_length = request->reflect_length,
        .protection = session->protection,
    };
    session->flow.key = *key;
    session->flow.tos = (uint8_t)(tw_type_p_to_dscp(request->type_p) << 2);
    tw_reflector_init(&session->flow.reflector, &reflector);
    session->port = key->local.port;
    session->owner = asker->owner;
    session->number = asker->number;
    session->class = class_of(asker);
    session->keyid = g_strdup(asker->keyid);
    g_strlcpy(session->device, asker->device, sizeof(session->device));
    atomic_init(&session->flow.heard_ns, tw_clock_mono().ns);
    session->client = twd_clients_hold(sessions->clients, &asker->client->address);
    return session;
}

/* Where packets for the session come in. */
struct place {
    struct tw_address local; /* with the port */
    unsigned group;          /* of shared test ports */
    struct twd_port *opened; /* NULL: comes by the group */
};

static struct twd_session *first_with_port(const GQueue *lingering)
{
    for (GList *link = lingering->head; link != NULL; link = link->next)
        if (((struct twd_session *)link->data)->opened != NULL)
            return link->data;
    return NULL;
}

/* Ends a lingering session that has a port of the range: whoever asks for a port needs it more than
 * the late replies of a session that is over. The client's own first, those with keys last. */
static bool give_up_port(struct twd_sessions *sessions, const struct twd_client *client)
{
    struct twd_session *victim = NULL;
    for (unsigned class = 0; class < TWD_CLASSES && victim == NULL; class ++)
        victim = first_with_port(&client->lingering[class]);
    for (unsigned class = 0; class < TWD_CLASSES && victim == NULL; class ++)
        victim = first_with_port(&sessions->lingering[class]);
    if (victim != NULL)
        twd_sessions_end(sessions, victim);
    return victim != NULL;
}

/* Whether the session is to have a port of the range, or of its own behind NAT. */
static bool needs_port(const struct twd_config *config, uint16_t wanted, const struct place *place)
{
    const struct twd_port_range *range = &config->test_port_range;
    const bool in_range = wanted != 0 && wanted >= range->first && wanted <= range->last;
    return config->nat || (in_range && wanted != place->local.port);
}

/* The 4-tuple that the session will have if nobody else has the port it is to have. */
static void expect_key(const struct twd_sessions *sessions, const struct tw_address *remote,
                       uint16_t wanted, const struct place *place, struct twd_flow_key *key)
{
    struct tw_address local = place->local;
    if (!sessions->config->nat && needs_port(sessions->config, wanted, place))
        local.port = wanted;
    twd_plane_key(sessions->plane, remote, &local, key);
}

/* A requested port that is not a shared one is opened if the range has it, and replaced by another
 * of the range if it is busy, else by the shared one (conformance SRV-31). */
static bool find_port(struct twd_sessions *sessions, const struct twd_client *client,
                      uint16_t wanted, struct place *place)
{
    const struct twd_config *config = sessions->config;
    const struct twd_port_range *range = &config->test_port_range;
    if (!needs_port(config, wanted, place))
        return true;
    place->opened = twd_plane_open(sessions->plane, place->group, range, wanted, config->nat);
    if (place->opened == NULL && config->nat && give_up_port(sessions, client))
        place->opened = twd_plane_open(sessions->plane, place->group, range, wanted, true);
    if (place->opened == NULL)
        return !config->nat;
    place->local.port = place->opened->bound.address.port;
    return true;
}

struct twd_session *twd_sessions_request(struct twd_sessions *sessions,
                                         const struct tw_request *request,
                                         const struct twd_asker *asker, enum twd_refusal *refusal)
{
    struct twd_endpoints ends;
    if (!twd_endpoints_find(sessions->config, request, &asker->peer, &asker->local, &ends, refusal))
        return NULL;
    struct place place = {.local = ends.local};
    place.local.port = twd_plane_find(sessions->plane, &place.local, asker->device,
                                      request->receiver_port, &place.group);
    if (place.local.port == 0) {
        *refusal = TWD_REFUSE_RECEIVER_ADDRESS;
        return NULL;
    }
    struct twd_flow_key key;
    expect_key(sessions, &ends.remote, request->receiver_port, &place, &key);
    if (!is_within_limits(sessions, &key, asker, refusal))
        return NULL;
    if (!find_port(sessions, asker->client, request->receiver_port, &place)) {
        *refusal = TWD_REFUSE_PORTS;
        return NULL;
    }
    twd_plane_key(sessions->plane, &ends.remote, &place.local, &key);
    *refusal = TWD_REFUSE_DUPLICATE;
    /* With another port than the one expected it may be that no session ends for it. */
    if (!is_within_limits(sessions, &key, asker, refusal) || !is_free(sessions, &key, asker)) {
        if (place.opened != NULL)
            twd_plane_close(place.opened);
        return NULL;
    }

    struct twd_session *session = make_session(sessions, request, asker, &key);
    session->opened = place.opened;
    session->worker = place.opened != NULL
                          ? place.opened->worker
                          : twd_plane_owner(sessions->plane, place.group, &ends.remote);
    session->client->sessions++;
    sessions->active[session->class]++;
    g_hash_table_add(sessions->by_key, &session->flow.key);
    g_hash_table_add(sessions->all, session);
    twd_worker_order(session->worker, TWD_ORDER_ADD, &session->flow);
    return session;
}

void twd_sessions_start(struct twd_sessions *sessions, struct twd_session *session)
{
    session->state = TWD_SESSION_STARTING;
    session->was_started = true;
    sessions->started++;
    twd_worker_order(session->worker, TWD_ORDER_START, &session->flow);
}

/* The worker's side is over: by our order, or by REFWAIT or Timeout. */
static void take_end(struct twd_sessions *sessions, struct twd_session *session)
{
    if (session->state != TWD_SESSION_ENDED) {
        void *owner = session->owner;
        finish(sessions, session);
        if (owner != NULL)
            sessions->calls.ended(owner, session);
    }
    twd_worker_order(session->worker, TWD_ORDER_RELEASE, &session->flow);
}

void twd_sessions_report(void *user, enum twd_order order, struct twd_flow *flow)
{
    struct twd_sessions *sessions = user;
    struct twd_session *session = (struct twd_session *)flow;
    switch (order) {
    case TWD_ORDER_ADD:
        if (session->state != TWD_SESSION_ADDING)
            return;
        session->state = TWD_SESSION_ACCEPTED;
        sessions->calls.ready(session->owner, session);
        return;
    case TWD_ORDER_START:
        if (session->state != TWD_SESSION_STARTING)
            return;
        session->state = TWD_SESSION_STARTED;
        sessions->calls.started(session->owner, session);
        return;
    case TWD_ORDER_ENDED:
        take_end(sessions, session);
        return;
    case TWD_ORDER_RELEASE:
        log_end(session);
        twd_clients_release(sessions->clients, session->client);
        g_hash_table_remove(sessions->all, session);
        return;
    case TWD_ORDER_STOP:
    case TWD_ORDER_REMOVE:
    case TWD_ORDER_FORGET:
    case TWD_ORDER_TUNE:
    case TWD_ORDER_PING:
    case TWD_ORDER_QUIT:
        break;
    }
    g_assert_not_reached();
}
