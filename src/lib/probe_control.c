/* A probe's control connection; the contract is in probe_control.h. */
#include "lib/probe_control.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/probe_session.h"

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

void tw_probe_control_connect(struct tw_probe *probe, tw_mono now)
{
    probe->peer = tw_hosts_try(&probe->hosts);
    probe->peer.port = probe->config->control_port;
    probe->link = TW_PROBE_CONNECTING;
    probe->connect_by = tw_mono_after(now, probe->config->connect_ns);
    probe->want_connect = true;
}

bool tw_probe_control_is_setting_up(const struct tw_probe *probe)
{
    return probe->link == TW_PROBE_UP && (probe->client.step == TW_CLIENT_STEP_KEY ||
                                          probe->client.step == TW_CLIENT_STEP_SET_UP);
}

void tw_probe_control_lost(struct tw_probe *probe, tw_mono now)
{
    tw_probe_control_hang_up(probe);
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
    bool stale = probe->reused && (failure == TW_CLIENT_ENDED || failure == TW_CLIENT_TIMED_OUT);
    if (probe->phase == TW_PROBE_SET_UP && stale) {
        /* An idle connection may have died unseen (server restarted, firewall forgot it): that is
         * no fault of the target as it is now. */
        tw_probe_control_hang_up(probe);
        probe->retry_at = now;
        tw_probe_advance(probe, now);
        return;
    }
    /* Who hangs up after a refusal adds nothing to it. */
    bool after_refusal = failure == TW_CLIENT_ENDED && event->failed.step == TW_CLIENT_STEP_IDLE;
    if (probe->phase != TW_PROBE_WAIT && !after_refusal)
        tw_measurement_fail_control(&probe->measurement, failure, event->failed.step,
                                    event->failed.accept);
    /* Set-up that outlived its interval; nobody else moves on to the next address. */
    if (probe->phase == TW_PROBE_WAIT && event->failed.step < TW_CLIENT_STEP_IDLE)
        (void)tw_hosts_next(&probe->hosts);
    tw_probe_control_lost(probe, now);
}

static void session_answered(struct tw_probe *probe, const struct tw_accept_session *answer,
                             tw_mono now)
{
    probe->reused = false; /* it lives */
    if (answer->accept != TW_ACCEPT_OK) {
        tw_measurement_fail_control(&probe->measurement, TW_CLIENT_REFUSED, TW_CLIENT_STEP_REQUEST,
                                    answer->accept);
        tw_probe_retry_later(probe, now);
        return;
    }
    tw_probe_session_accepted(probe, answer, now);
}

void tw_probe_control_serve(struct tw_probe *probe, tw_mono now)
{
    struct tw_client_event event;
    while (probe->link == TW_PROBE_UP && tw_client_next_event(&probe->client, &event)) {
        tw_probe_session_note_server(probe);
        switch (event.type) {
        case TW_CLIENT_KEY:
            memcpy(probe->salt.salt, event.key.salt, sizeof probe->salt.salt);
            probe->salt.count = event.key.count;
            probe->want_key = true;
            break;
        case TW_CLIENT_READY:
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
    tw_client_init(&probe->client, &probe->config->client, now);
}

void tw_probe_connect_failed(struct tw_probe *probe, int error, tw_mono now)
{
    probe->want_disconnect = false; /* the driver has closed what it had */
    if (!is_connecting(probe))
        return;
    probe->link = TW_PROBE_DOWN;
    probe->connect_by = TW_NEVER;
    if (probe->phase == TW_PROBE_SET_UP)
        tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_UNREACHABLE, error);
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
