/* One target, measured interval after interval; the contract is in probe.h. */
#include "lib/probe.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/probe_control.h"
#include "lib/probe_session.h"

/* A first retry comes after this share of an interval; each further failure doubles the delay, up
 * to a whole interval. */
enum { TW_PROBE_RETRY_SHARE = 16 };

/* A driver that comes so much too late was not merely delayed: the machine was suspended or
 * stopped. */
static const int64_t TW_PROBE_ASLEEP_NS = 100 * TW_NS_PER_MS;

/* From the first packet until the last one counts as lost. */
static int64_t session_ns(const struct tw_probe_config *config)
{
    return (int64_t)config->count * config->packet_interval_ns + config->sender.wait_ns;
}

bool tw_probe_fits(const struct tw_probe_config *config)
{
    if (config->count == 0 || config->packet_interval_ns <= 0 || config->sender.wait_ns < 0)
        return false;
    if (config->sender.wait_ns >= config->interval_ns ||
        config->packet_interval_ns > config->interval_ns / (int64_t)config->count)
        return false; /* and neither side can overflow below */
    return (int64_t)config->count * config->packet_interval_ns <
           config->interval_ns - config->sender.wait_ns;
}

uint32_t tw_probe_slots(const struct tw_probe_config *config)
{
    uint32_t slots = 1;
    while (slots < config->count && slots < UINT32_C(1) << 31)
        slots *= 2;
    return slots;
}

void tw_probe_init(struct tw_probe *probe, const struct tw_probe_config *config,
                   const struct tw_probe_storage *storage, struct tw_random *random, tw_mono now)
{
    assert(tw_probe_fits(config));
    assert(storage->slot_count >= config->count);
    memset(probe, 0, sizeof *probe);
    probe->config = config;
    probe->random = random;
    probe->storage = *storage;
    probe->phase = TW_PROBE_WAIT;
    probe->next_interval = tw_mono_after(now, config->phase_ns);
    probe->link = TW_PROBE_DOWN;
    probe->connect_by = TW_NEVER;
    probe->retry_at = TW_NEVER;
    probe->refresh_at = now; /* so that the first interval finds an address */
}

void tw_probe_resolve(struct tw_probe *probe)
{
    probe->resolving = true;
    probe->want_resolve = true;
    probe->refresh_at = TW_NEVER;
}

/* Doubles with every failure in a row, never exceeds one interval, and is cut by up to a quarter,
 * so that targets that failed together spread. */
static int64_t retry_delay_ns(struct tw_probe *probe)
{
    int64_t delay = probe->config->interval_ns / TW_PROBE_RETRY_SHARE + 1;
    for (uint32_t i = 0; i < probe->failures && delay < probe->config->interval_ns; i++)
        delay *= 2;
    if (delay > probe->config->interval_ns)
        delay = probe->config->interval_ns;
    const uint32_t steps = UINT32_C(1) << 16;
    return delay - delay / 4 / steps * tw_random_below(probe->random, steps + 1);
}

void tw_probe_retry_later(struct tw_probe *probe, tw_mono now)
{
    probe->retry_at = tw_mono_after(now, retry_delay_ns(probe));
    probe->failures++;
}

void tw_probe_advance(struct tw_probe *probe, tw_mono now)
{
    if (probe->phase != TW_PROBE_SET_UP || !tw_mono_reached(probe->retry_at, now) ||
        tw_mono_reached(probe->set_up_by, now))
        return;
    if (probe->link == TW_PROBE_UP && probe->hosts.renewed)
        tw_probe_control_hang_up(probe);
    if (probe->link == TW_PROBE_UP) {
        if (probe->client.step != TW_CLIENT_STEP_IDLE)
            return;
        probe->retry_at = TW_NEVER;
        tw_probe_session_request(probe, now);
        return;
    }
    if (probe->link == TW_PROBE_CONNECTING)
        return;
    if (probe->hosts.count == 0) {
        if (!probe->resolving)
            tw_probe_resolve(probe);
        return; /* resolved() comes back here */
    }
    probe->retry_at = TW_NEVER;
    tw_probe_control_connect(probe, now);
}

static void begin_interval(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_config *config = probe->config;
    int64_t behind = (now.ns - probe->next_interval.ns) / config->interval_ns;
    probe->begun = tw_mono_after(probe->next_interval, behind * config->interval_ns);
    probe->next_interval = tw_mono_after(probe->begun, config->interval_ns);
    probe->set_up_by = tw_mono_after(probe->begun, config->interval_ns - session_ns(config));
    probe->send_by = tw_mono_after(probe->begun, config->interval_ns - config->sender.wait_ns);
    if (tw_mono_reached(probe->set_up_by, now) &&
        tw_mono_reached(tw_mono_after(probe->begun, TW_PROBE_ASLEEP_NS), now))
        return; /* whatever were told of this interval would not be the target's */
    probe->phase = TW_PROBE_SET_UP;
    probe->sent = 0;
    probe->send_error = 0;
    probe->retry_at = now; /* once in each interval at once, however long the delays have grown */
    /* (one that has not answered our set-up yet is no better than a new one) */
    probe->reused = probe->link == TW_PROBE_UP && probe->client.step != TW_CLIENT_STEP_SET_UP;
    probe->looked_again = false;
    memset(&probe->measurement, 0, sizeof probe->measurement);
    probe->measurement.begun = probe->begun;
    /* What it is called if nothing at all happens until set_up_by. */
    tw_measurement_fail(&probe->measurement,
                        probe->hosts.count == 0 ? TW_MEASUREMENT_NAME : TW_MEASUREMENT_UNREACHABLE,
                        0);
    tw_probe_advance(probe, now);
}

void tw_probe_begin_test(struct tw_probe *probe, tw_mono now)
{
    probe->phase = TW_PROBE_TEST;
    probe->failures = 0;
    tw_probe_session_begin(probe, now);
    probe->next_send = now;
    tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_SILENT,
                        0); /* unless something answers */
}

/* The interval's result is final since `due`. */
static void finish(struct tw_probe *probe, tw_mono due, const struct tw_reading *now)
{
    struct tw_measurement *m = &probe->measurement;
    if (m->session) {
        tw_stats_finish(&probe->stats, probe->sent, probe->storage.scratch, &m->summary);
        tw_probe_session_note_reflector(probe);
        if ((m->quirks & TW_QUIRK_PTP_UTC) != 0)
            m->summary.one_way_valid = false; /* whatever error its clock claims */
        tw_probe_session_stop(probe, now->mono);
        if (m->summary.received + m->summary.late > 0)
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_OK, 0);
        else if (probe->sent == 0)
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_UNREACHABLE,
                                probe->send_error); /* the kernel took none */
    } else {
        tw_summary_none(&m->summary);
    }
    if (probe->link == TW_PROBE_UP)
        tw_probe_session_note_server(probe);
    tw_measurement_count(&probe->counters, &m->summary);
    m->counters = probe->counters;
    m->time.ns = now->wall.ns - (now->mono.ns - due.ns);
    probe->phase = TW_PROBE_WAIT;
    probe->retry_at = TW_NEVER;
    probe->want_result = true;
}

/* set_up_by has passed without a session. An attempt that is cut short by that says only something
 * if nothing failed before it. */
static void give_up(struct tw_probe *probe, const struct tw_reading *now)
{
    bool known = tw_measurement_has_cause(&probe->measurement);
    bool asked = probe->link == TW_PROBE_UP && probe->client.step != TW_CLIENT_STEP_IDLE;
    bool waits = asked || probe->link == TW_PROBE_CONNECTING;
    if (waits) {
        if (asked && (!known || tw_mono_reached(tw_client_deadline(&probe->client), now->mono)))
            tw_measurement_fail_control(&probe->measurement, TW_CLIENT_TIMED_OUT,
                                        probe->client.step, 0);
        if (!asked && (!known || tw_mono_reached(probe->connect_by, now->mono)))
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_UNREACHABLE, ETIMEDOUT);
    }
    if (waits && !tw_probe_control_is_setting_up(probe)) {
        /* Or an address that swallows everything would keep the others from ever being tried. */
        if (!probe->reused)
            (void)tw_hosts_next(&probe->hosts);
        /* What it might still answer belongs to no interval. */
        tw_probe_control_hang_up(probe);
    }
    finish(probe, probe->set_up_by, now);
}

bool tw_probe_next_event(struct tw_probe *probe, struct tw_probe_event *event)
{
    memset(event, 0, sizeof *event);
    if (probe->parting && probe->link != TW_PROBE_UP)
        tw_client_wipe(&probe->client);
    probe->parting = false;
    /* In this order a driver never has two connections of one probe. */
    if (probe->want_disconnect) {
        probe->want_disconnect = false;
        probe->parting = probe->last_words;
        event->type = TW_PROBE_DISCONNECT;
        return true;
    }
    if (probe->want_resolve) {
        probe->want_resolve = false;
        event->type = TW_PROBE_RESOLVE;
        return true;
    }
    if (probe->want_connect) {
        probe->want_connect = false;
        event->type = TW_PROBE_CONNECT;
        event->address = probe->peer;
        return true;
    }
    if (probe->want_key) {
        probe->want_key = false;
        event->type = TW_PROBE_KEY;
        event->key = probe->salt;
        return true;
    }
    if (probe->want_result) {
        probe->want_result = false;
        event->type = TW_PROBE_RESULT;
        event->measurement = &probe->measurement;
        return true;
    }
    return false;
}

void tw_probe_resolved(struct tw_probe *probe, const struct tw_address *addresses, size_t n,
                       int error, tw_mono now)
{
    if (!probe->resolving)
        return;
    probe->resolving = false;
    if (n > 0) {
        bool in_use = probe->link != TW_PROBE_DOWN;
        bool moved = !tw_hosts_take(&probe->hosts, addresses, n, &probe->peer, in_use);
        if (moved && probe->link == TW_PROBE_DOWN && probe->phase == TW_PROBE_SET_UP)
            probe->retry_at = now; /* what failed elsewhere is no reason to wait */
        probe->refresh_at = tw_mono_after(now, probe->config->resolve_ns);
        bool in_time = probe->phase == TW_PROBE_SET_UP && !tw_mono_reached(probe->set_up_by, now);
        if (in_time && probe->measurement.state == TW_MEASUREMENT_NAME)
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_UNREACHABLE, 0);
        tw_probe_advance(probe, now);
        return;
    }
    if (probe->hosts.count > 0) {
        /* The old addresses are better than none. */
        probe->refresh_at = tw_mono_after(now, probe->config->interval_ns);
        return;
    }
    if (probe->phase == TW_PROBE_SET_UP) {
        tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_NAME, error);
        tw_probe_retry_later(probe, now);
    }
}

/* Whether time alone leads to the next attempt, and not an answer that is waited for. */
static bool can_retry(const struct tw_probe *probe)
{
    switch (probe->link) {
    case TW_PROBE_DOWN:
        return probe->hosts.count > 0 || !probe->resolving;
    case TW_PROBE_CONNECTING:
        return false;
    case TW_PROBE_UP:
        return probe->client.step == TW_CLIENT_STEP_IDLE;
    }
    return false;
}

tw_mono tw_probe_deadline(const struct tw_probe *probe)
{
    tw_mono first = tw_mono_earlier(probe->next_interval, probe->refresh_at);
    first = tw_mono_earlier(first, probe->connect_by);
    if (probe->link == TW_PROBE_UP)
        first = tw_mono_earlier(first, tw_client_deadline(&probe->client));
    switch (probe->phase) {
    case TW_PROBE_WAIT:
        break;
    case TW_PROBE_SET_UP:
        first = tw_mono_earlier(first, probe->set_up_by);
        if (can_retry(probe))
            first = tw_mono_earlier(first, probe->retry_at);
        break;
    case TW_PROBE_TEST:
        first = tw_mono_earlier(first, tw_mono_earlier(probe->next_send, probe->send_by));
        break;
    case TW_PROBE_DRAIN:
        first = tw_mono_earlier(first, probe->drain_by);
        break;
    }
    return first;
}

void tw_probe_expire(struct tw_probe *probe, const struct tw_reading *now)
{
    /* First, so that nothing is begun anew for an interval that is over. */
    if (probe->phase == TW_PROBE_SET_UP && tw_mono_reached(probe->set_up_by, now->mono))
        give_up(probe, now);
    if (probe->link == TW_PROBE_UP) {
        tw_client_expire(&probe->client, now->mono);
        tw_probe_control_serve(probe, now->mono);
    }
    if (tw_mono_reached(probe->connect_by, now->mono)) {
        tw_probe_control_hang_up(probe);
        if (probe->phase == TW_PROBE_SET_UP)
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_UNREACHABLE, ETIMEDOUT);
        tw_probe_control_lost(probe, now->mono);
    }
    if (tw_mono_reached(probe->refresh_at, now->mono))
        tw_probe_resolve(probe);
    if (probe->phase == TW_PROBE_TEST && tw_mono_reached(probe->send_by, now->mono))
        tw_probe_session_drain(probe, probe->send_by);
    if (probe->phase == TW_PROBE_DRAIN && tw_mono_reached(probe->drain_by, now->mono))
        finish(probe, probe->drain_by, now);
    /* A result that was not taken yet must not be overwritten: the driver comes again. */
    if (probe->phase == TW_PROBE_WAIT && !probe->want_result &&
        tw_mono_reached(probe->next_interval, now->mono))
        begin_interval(probe, now->mono);
    tw_probe_advance(probe, now->mono);
}

void tw_probe_close(struct tw_probe *probe, tw_mono now)
{
    tw_probe_session_stop(probe, now);
    tw_probe_control_hang_up(probe);
    tw_probe_session_forget(probe);
    probe->phase = TW_PROBE_WAIT;
    probe->next_interval = TW_NEVER;
    probe->refresh_at = TW_NEVER;
    probe->retry_at = TW_NEVER;
    probe->resolving = false; /* a late answer is none */
    probe->want_resolve = false;
    probe->want_connect = false;
    probe->want_result = false;
}
