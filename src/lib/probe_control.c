/* A probe's control connection; the contract is in probe_control.h. */
#include "lib/probe_control.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/probe_session.h"
#include "lib/probe_window.h"

/* Shorter than this, a server that hangs up was not tired of waiting. */
static const int64_t TW_PROBE_IDLE_LEAST_NS = TW_NS_PER_S;

/* SERVWAIT and REFWAIT, unless a server's administrator wishes otherwise (RFC 5357 sections 3.1 and
 * 4.2). */
static const int64_t TW_PROBE_IDLE_NS = 900 * TW_NS_PER_S;

/* After so many renewals in time a learnt limit is doubted, and twice as many whenever the doubt
 * was wrong. */
enum { TW_PROBE_RENEWALS = 16, TW_PROBE_RENEWALS_MOST = 16384 };

void tw_probe_control_hang_up(struct tw_probe *probe)
{
    if (probe->link == TW_PROBE_DOWN)
        return;
    /* A connection that the driver has not begun to open needs no closing. */
    if (probe->link == TW_PROBE_CONNECTING && probe->want_connect) {
        probe->want_connect = false;
    } else {
        probe->want_disconnect = true;
        probe->last_words = probe->link == TW_PROBE_UP;
    }
    probe->link = TW_PROBE_DOWN;
    probe->connect_by = TW_NEVER;
    probe->reused = false;
    probe->want_key = false;
}

static void forget_limit(struct tw_probe *probe)
{
    probe->idle_limit_ns = TW_PROBE_IDLE_NS;
    probe->idle_ended_ns = 0;
    probe->renewals = 0;
    probe->renewals_enough = TW_PROBE_RENEWALS;
    probe->retried = false;
}

void tw_probe_control_init(struct tw_probe *probe)
{
    forget_limit(probe);
}

void tw_probe_control_connect(struct tw_probe *probe, tw_mono now)
{
    const struct tw_address before = probe->peer;
    probe->peer = tw_hosts_try(&probe->hosts);
    probe->peer.port = probe->config->control_port;
    if (!tw_address_equal(&probe->peer, &before))
        forget_limit(probe); /* another server */
    probe->link = TW_PROBE_CONNECTING;
    probe->connect_by = tw_mono_after(now, probe->config->connect_ns);
    probe->want_connect = true;
}

bool tw_probe_control_is_setting_up(const struct tw_probe *probe)
{
    return probe->link == TW_PROBE_UP && (probe->client.step == TW_CLIENT_STEP_KEY ||
                                          probe->client.step == TW_CLIENT_STEP_SET_UP);
}

bool tw_probe_control_is_idle(const struct tw_probe *probe)
{
    return probe->link == TW_PROBE_UP && probe->client.step == TW_CLIENT_STEP_IDLE;
}

bool tw_probe_control_is_asked(const struct tw_probe *probe)
{
    const enum tw_client_step step = probe->client.step;
    return probe->link == TW_PROBE_UP &&
           (step == TW_CLIENT_STEP_GREETING || step == TW_CLIENT_STEP_SET_UP ||
            step == TW_CLIENT_STEP_REQUEST || step == TW_CLIENT_STEP_START);
}

bool tw_probe_control_idles_too_long(const struct tw_probe *probe, tw_mono until)
{
    return until.ns - probe->talked.ns >= probe->idle_limit_ns / 4 * 3;
}

/* The server has ended a connection on which nothing was awaited. Once that may have any reason; a
 * second time after as long a silence it is its habit. */
static void learn_limit(struct tw_probe *probe, int64_t idle_ns)
{
    if (idle_ns < TW_PROBE_IDLE_LEAST_NS)
        return;
    const int64_t apart_ns = idle_ns - probe->idle_ended_ns;
    const int64_t same_ns = idle_ns / 16;
    const bool again = apart_ns >= -same_ns && apart_ns <= same_ns;
    if (again && idle_ns < probe->idle_limit_ns) {
        if (probe->retried && probe->renewals_enough < TW_PROBE_RENEWALS_MOST)
            probe->renewals_enough *= 2;
        probe->retried = false;
        probe->idle_limit_ns = idle_ns;
    }
    probe->idle_ended_ns = idle_ns;
    probe->renewals = 0;
}

void tw_probe_control_renewed(struct tw_probe *probe)
{
    if (probe->idle_limit_ns >= TW_PROBE_IDLE_NS || ++probe->renewals < probe->renewals_enough)
        return;
    probe->renewals = 0;
    probe->retried = true;
    probe->idle_limit_ns *= 2;
    if (probe->idle_limit_ns > TW_PROBE_IDLE_NS)
        probe->idle_limit_ns = TW_PROBE_IDLE_NS;
}

/* A server that was restarted since ended its connections for that reason. */
static void note_start(struct tw_probe *probe, uint64_t start_time)
{
    if (start_time != probe->server_started && probe->server_started != 0)
        forget_limit(probe);
    probe->server_started = start_time;
}

void tw_probe_control_lost(struct tw_probe *probe, tw_mono now)
{
    tw_probe_control_hang_up(probe);
    if (probe->config->continuous && tw_probe_session_lost(probe)) {
        const bool worked = probe->failures == 0;
        tw_probe_retry_later(probe, now);
        if (worked)
            probe->retry_at = now; /* until now */
        tw_probe_advance(probe, now);
        return;
    }
    if (probe->phase != TW_PROBE_SET_UP)
        return;
    if (tw_hosts_next(&probe->hosts)) {
        probe->retry_at = now;
    } else {
        tw_probe_retry_later(probe, now);
        if (!probe->resolving && !probe->looked_again)
            tw_probe_resolve(probe); /* perhaps the name has moved */
        probe->looked_again = true;
    }
    tw_probe_advance(probe, now);
}

static void control_failed(struct tw_probe *probe, const struct tw_client_event *event, tw_mono now)
{
    enum tw_client_failure failure = event->failed.failure;
    const enum tw_client_step step = event->failed.step;
    if (failure == TW_CLIENT_ENDED && (step == TW_CLIENT_STEP_IDLE || step == TW_CLIENT_STEP_TEST))
        learn_limit(probe, now.ns - probe->talked.ns);
    bool stale = probe->reused && (failure == TW_CLIENT_ENDED || failure == TW_CLIENT_TIMED_OUT);
    if (probe->phase == TW_PROBE_SET_UP && stale) {
        if (failure == TW_CLIENT_ENDED && step == TW_CLIENT_STEP_REQUEST)
            learn_limit(probe, probe->idled_ns); /* its end and our question met on the way */
        /* An idle connection may have died unseen (server restarted, firewall forgot it): that is
         * no fault of the target as it is now. */
        tw_probe_control_hang_up(probe);
        probe->retry_at = now;
        tw_probe_advance(probe, now);
        return;
    }
    /* Who hangs up after a refusal adds nothing to it; nor may a server not tire of a client that
     * sleeps. */
    const bool excused = tw_probe_window_is_excused(probe, tw_probe_window_now(probe));
    if (failure != TW_CLIENT_ENDED || (step != TW_CLIENT_STEP_IDLE && !excused))
        tw_probe_window_fail_control(probe, failure, step, event->failed.accept);
    /* Set-up that outlived its interval; nobody else moves on to the next address. */
    if (probe->phase == TW_PROBE_WAIT && step < TW_CLIENT_STEP_IDLE)
        (void)tw_hosts_next(&probe->hosts);
    tw_probe_control_lost(probe, now);
}

static void session_answered(struct tw_probe *probe, const struct tw_accept_session *answer,
                             tw_mono now)
{
    /* Some servers count what was on a connection for as long as that lasts; one that refuses on a
     * new one, too, has other reasons. */
    const bool blamed = probe->reused && !probe->refused_anew;
    /* It lives; but what was said before a sleep may have been said long ago. */
    if (tw_probe_window_now(probe)->slept_ns == 0)
        probe->reused = false;
    if (answer->accept == TW_ACCEPT_OK) {
        probe->refused_anew = false;
        tw_probe_session_accepted(probe, answer, now);
        return;
    }
    tw_probe_window_fail_control(probe, TW_CLIENT_REFUSED, TW_CLIENT_STEP_REQUEST, answer->accept);
    probe->refused_anew = !blamed;
    if (blamed) {
        tw_probe_control_hang_up(probe);
        probe->retry_at = now;
        tw_probe_advance(probe, now);
        return;
    }
    tw_probe_retry_later(probe, now);
}

void tw_probe_control_serve(struct tw_probe *probe, tw_mono now)
{
    struct tw_client_event event;
    while (probe->link == TW_PROBE_UP && tw_client_next_event(&probe->client, &event)) {
        tw_probe_window_note_server(probe);
        switch (event.type) {
        case TW_CLIENT_KEY:
            memcpy(probe->salt.salt, event.key.salt, sizeof probe->salt.salt);
            probe->salt.count = event.key.count;
            probe->want_key = true;
            break;
        case TW_CLIENT_READY:
            note_start(probe, event.ready.start_time);
            probe->retry_at = now;
            tw_probe_advance(probe, now);
            break;
        case TW_CLIENT_SESSION:
            session_answered(probe, &event.session, now);
            break;
        case TW_CLIENT_STARTED:
            tw_probe_begin_test(probe, now);
            break;
        case TW_CLIENT_STOPPED: /* what it did not stop ends by itself */
            tw_probe_advance(probe, now);
            break;
        case TW_CLIENT_FAILED:
            control_failed(probe, &event, now);
            break;
        }
    }
}

/* Not while the driver has yet to hear of it: its answer is to a connection given up meanwhile. */
static bool is_connecting(const struct tw_probe *probe)
{
    return probe->link == TW_PROBE_CONNECTING && !probe->want_connect;
}

void tw_probe_connected(struct tw_probe *probe, const struct tw_address *local, tw_mono now)
{
    if (!is_connecting(probe))
        return;
    probe->link = TW_PROBE_UP;
    probe->connect_by = TW_NEVER;
    probe->local = *local;
    probe->talked = now;
    struct tw_probe_secrets *secrets = probe->storage.secrets;
    tw_client_init(&probe->client, &probe->config->client,
                   secrets == NULL ? NULL : &secrets->control, now);
}

void tw_probe_connect_failed(struct tw_probe *probe, int error, tw_mono now)
{
    probe->want_disconnect = false; /* the driver has closed what it had */
    if (!is_connecting(probe))
        return;
    probe->link = TW_PROBE_DOWN;
    probe->connect_by = TW_NEVER;
    if (probe->phase == TW_PROBE_SET_UP)
        tw_probe_window_fail(probe, TW_MEASUREMENT_UNREACHABLE, error);
    tw_probe_control_lost(probe, now);
}

bool tw_probe_waits_for_key(const struct tw_probe *probe, const struct tw_probe_salt *salt)
{
    const bool asked =
        probe->link == TW_PROBE_UP && !probe->want_key && probe->client.step == TW_CLIENT_STEP_KEY;
    return asked && salt->count == probe->salt.count &&
           memcmp(salt->salt, probe->salt.salt, sizeof salt->salt) == 0;
}

void tw_probe_key(struct tw_probe *probe, const struct tw_probe_salt *salt,
                  const uint8_t derived[TW_AES_KEY_SIZE], tw_mono now)
{
    if (!tw_probe_waits_for_key(probe, salt))
        return;
    enum tw_result result = tw_client_answer_key(&probe->client, derived, probe->random, now);
    assert(result == TW_OK);
    (void)result;
}

uint8_t *tw_probe_input(struct tw_probe *probe, size_t *room)
{
    if (probe->link == TW_PROBE_UP)
        return tw_client_input(&probe->client, room);
    *room = 0;
    return NULL;
}

void tw_probe_received(struct tw_probe *probe, size_t n, tw_mono now)
{
    if (probe->link != TW_PROBE_UP)
        return;
    probe->talked = now;
    tw_client_received(&probe->client, n, now);
    tw_probe_control_serve(probe, now);
}

const uint8_t *tw_probe_output(const struct tw_probe *probe, size_t *n)
{
    /* While a connection is being given up its last words may still leave. */
    if (probe->link == TW_PROBE_UP || probe->parting)
        return tw_client_output(&probe->client, n);
    *n = 0;
    return NULL;
}

void tw_probe_sent(struct tw_probe *probe, size_t n, tw_mono now)
{
    probe->talked = now;
    tw_client_sent(&probe->client, n, now);
    tw_probe_control_serve(probe, now);
}

void tw_probe_disconnected(struct tw_probe *probe, tw_mono now)
{
    if (probe->link == TW_PROBE_UP) {
        tw_client_end(&probe->client);
        tw_probe_control_serve(probe, now);
    } else {
        tw_client_wipe(&probe->client);
    }
    probe->want_disconnect = false; /* the driver has closed it */
}
