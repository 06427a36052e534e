/* One target, measured interval after interval; the contract is in probe.h. */
#include "lib/probe.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/probe_control.h"
#include "lib/probe_session.h"
#include "lib/probe_window.h"

/* A first retry comes after this share of an interval; each further failure doubles the delay, up
 * to a whole interval. */
enum { TW_PROBE_RETRY_SHARE = 16 };

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
    if (config->continuous)
        return config->packet_interval_ns <= TW_PROBE_DISTANCE_NS;
    return (int64_t)config->count * config->packet_interval_ns <
           config->interval_ns - config->sender.wait_ns;
}

bool tw_probe_gather(struct tw_probe_config *config)
{
    if (!config->continuous || config->packet_interval_ns <= TW_PROBE_DISTANCE_NS)
        return false;
    /* a quarter is left for the set-up */
    const int64_t even_ns =
        (config->interval_ns - config->sender.wait_ns) / 4 * 3 / (int64_t)config->count;
    config->continuous = false;
    config->packet_interval_ns = even_ns < TW_PROBE_DISTANCE_NS ? even_ns : TW_PROBE_DISTANCE_NS;
    return true;
}

uint32_t tw_probe_packets(const struct tw_probe_config *config)
{
    uint32_t packets = 1;
    while (packets < config->count && packets < UINT32_C(1) << 31)
        packets *= 2;
    return packets;
}

uint32_t tw_probe_slots(const struct tw_probe_config *config)
{
    const uint32_t packets = tw_probe_packets(config);
    /* While an interval's packets are waited for those of the next one leave. */
    return config->continuous && packets < UINT32_C(1) << 31 ? 2 * packets : packets;
}

unsigned tw_probe_windows(const struct tw_probe_config *config)
{
    return config->continuous ? 2 : 1;
}

void tw_probe_init(struct tw_probe *probe, const struct tw_probe_config *config,
                   const struct tw_probe_storage *storage, struct tw_random *random, tw_mono now)
{
    assert(tw_probe_fits(config));
    assert(storage->slot_count >= tw_probe_slots(config));
    assert(storage->packet_count >= config->count);
    assert(storage->secrets != NULL || !tw_keys_needed(config->client.mode));
    memset(probe, 0, sizeof *probe);
    probe->config = config;
    probe->random = random;
    probe->storage = *storage;
    memset(storage->windows, 0, tw_probe_windows(config) * sizeof *storage->windows);
    probe->phase = TW_PROBE_WAIT;
    probe->next_interval = tw_mono_after(now, config->phase_ns);
    probe->link = TW_PROBE_DOWN;
    probe->connect_by = TW_NEVER;
    probe->retry_at = TW_NEVER;
    probe->refresh_at = now; /* so that the first interval finds an address */
    tw_probe_control_init(probe);
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
        probe->idled_ns = now.ns - probe->talked.ns;
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

/* What became of a session that was worked for until now. An attempt that is cut short by that says
 * only something if nothing failed before it. True if something was waited for. */
static bool note_unfinished(struct tw_probe *probe, tw_mono now)
{
    const bool known = tw_measurement_has_cause(&tw_probe_window_now(probe)->measurement);
    const bool asked = probe->link == TW_PROBE_UP && probe->client.step != TW_CLIENT_STEP_IDLE;
    const bool connecting = probe->link == TW_PROBE_CONNECTING;
    if (tw_probe_window_is_excused(probe, tw_probe_window_now(probe)))
        return asked || connecting;
    if (asked && (!known || tw_mono_reached(tw_client_deadline(&probe->client), now)))
        tw_probe_window_fail_control(probe, TW_CLIENT_TIMED_OUT, probe->client.step, 0);
    if (connecting && (!known || tw_mono_reached(probe->connect_by, now)))
        tw_probe_window_fail(probe, TW_MEASUREMENT_UNREACHABLE, ETIMEDOUT);
    return asked || connecting;
}

/* The continuous session's window that is open, if there is one, drains. */
static void cut_window(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_config *config = probe->config;
    const struct tw_probe_window *window = tw_probe_window_now(probe);
    if (!window->open)
        return;
    if (probe->phase == TW_PROBE_SET_UP)
        note_unfinished(probe, now);
    if (probe->link == TW_PROBE_UP)
        tw_probe_window_note_server(probe);
    const tw_mono end = tw_mono_after(window->measurement.begun, config->interval_ns);
    tw_probe_window_cut(probe, tw_mono_after(end, config->sender.wait_ns));
}

static void set_times(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_config *config = probe->config;
    const int64_t packets_ns = (int64_t)config->count * config->packet_interval_ns;
    const int64_t behind = (now.ns - probe->next_interval.ns) / config->interval_ns;
    probe->begun = tw_mono_after(probe->next_interval, behind * config->interval_ns);
    probe->next_interval = tw_mono_after(probe->begun, config->interval_ns);
    if (config->continuous) {
        probe->set_up_by = TW_NEVER;
        probe->send_by = tw_mono_after(probe->begun, packets_ns);
    } else {
        probe->set_up_by = tw_mono_after(probe->begun, config->interval_ns - session_ns(config));
        probe->send_by = tw_mono_after(probe->begun, config->interval_ns - config->sender.wait_ns);
    }
}

/* Towards a session, with what there is of a connection. */
static void begin_set_up(struct tw_probe *probe, tw_mono now)
{
    probe->phase = TW_PROBE_SET_UP;
    probe->retry_at = now; /* once in each interval at once, however long the delays have grown */
    /* (one that has not answered what it was asked yet is no better than a new one) */
    if (probe->link == TW_PROBE_UP && !tw_probe_control_is_asked(probe))
        probe->reused = true;
    tw_probe_advance(probe, now);
}

static void begin_interval(struct tw_probe *probe, tw_mono now)
{
    const bool continuous = probe->config->continuous;
    const tw_mono before = probe->begun;
    if (continuous)
        cut_window(probe, now);
    set_times(probe, now);
    probe->looked_again = false;
    if (tw_mono_reached(continuous ? probe->send_by : probe->set_up_by, now) &&
        tw_mono_reached(tw_mono_after(probe->begun, TW_PROBE_ASLEEP_NS), now)) {
        probe->phase = TW_PROBE_WAIT;
        return; /* whatever were told of this interval would not be the target's */
    }
    tw_probe_window_open(probe);
    /* What it is called if nothing at all happens until set_up_by. */
    tw_probe_window_fail(
        probe, probe->hosts.count == 0 ? TW_MEASUREMENT_NAME : TW_MEASUREMENT_UNREACHABLE, 0);
    if (continuous && tw_probe_session_runs(probe)) {
        if (!probe->hosts.renewed && !tw_probe_session_is_silent(probe, before, now) &&
            !tw_probe_control_idles_too_long(probe, probe->next_interval)) {
            tw_probe_session_join(probe, probe->begun);
            return;
        }
        if (tw_probe_control_idles_too_long(probe, probe->next_interval))
            tw_probe_control_renewed(probe);
        tw_probe_session_stop(probe, now);
    } else if (tw_probe_control_is_idle(probe) && tw_probe_control_idles_too_long(probe, now)) {
        tw_probe_control_renewed(probe);
        tw_probe_control_hang_up(probe); /* the server may be about to */
    }
    begin_set_up(probe, now);
}

void tw_probe_begin_test(struct tw_probe *probe, tw_mono now)
{
    tw_probe_session_begin(probe, now); /* (it has not worked before a packet has left) */
    tw_probe_session_join(probe, now);
}

/* The window's result is final since it was due. */
static void finish(struct tw_probe *probe, struct tw_probe_window *window,
                   const struct tw_reading *now)
{
    if (!probe->config->continuous) {
        if (probe->link == TW_PROBE_UP)
            tw_probe_window_note_server(probe);
        tw_probe_session_stop(probe, now->mono);
        probe->phase = TW_PROBE_WAIT;
        probe->retry_at = TW_NEVER;
    }
    if (tw_probe_window_is_excused(probe, window))
        window->open = false;
    else
        tw_probe_window_finish(probe, window, now);
}

/* set_up_by has passed without a session. */
static void give_up(struct tw_probe *probe, const struct tw_reading *now)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    if (note_unfinished(probe, now->mono) && !tw_probe_control_is_setting_up(probe)) {
        /* Or an address that swallows everything would keep the others from ever being tried. */
        if (!probe->reused)
            (void)tw_hosts_next(&probe->hosts);
        /* What it might still answer belongs to no interval. */
        tw_probe_control_hang_up(probe);
    }
    window->due = probe->set_up_by;
    finish(probe, window, now);
}

/* A result that was not taken yet must not be overwritten: the driver comes again. */
static void finish_due(struct tw_probe *probe, const struct tw_reading *now)
{
    struct tw_probe_window *window = tw_probe_window_next(probe);
    if (window != NULL && !probe->want_result && tw_mono_reached(window->due, now->mono))
        finish(probe, window, now);
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
        event->measurement = &probe->storage.windows[probe->told].measurement;
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
        if (probe->phase == TW_PROBE_SET_UP && probe->hosts.renewed && probe->reused)
            tw_probe_control_hang_up(probe); /* it may be dead, and is not waited for */
        if (moved && probe->link == TW_PROBE_DOWN && probe->phase == TW_PROBE_SET_UP)
            probe->retry_at = now; /* what failed elsewhere is no reason to wait */
        probe->refresh_at = tw_mono_after(now, probe->config->resolve_ns);
        bool in_time = probe->phase == TW_PROBE_SET_UP && !tw_mono_reached(probe->set_up_by, now);
        if (in_time && tw_probe_window_now(probe)->measurement.state == TW_MEASUREMENT_NAME)
            tw_probe_window_fail(probe, TW_MEASUREMENT_UNREACHABLE, 0);
        tw_probe_advance(probe, now);
        return;
    }
    if (probe->hosts.count > 0) {
        /* The old addresses are better than none. */
        probe->refresh_at = tw_mono_after(now, probe->config->interval_ns);
        return;
    }
    if (probe->phase == TW_PROBE_SET_UP) {
        tw_probe_window_fail(probe, TW_MEASUREMENT_NAME, error);
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
        break;
    }
    const struct tw_probe_window *due = tw_probe_window_next(probe);
    return due == NULL ? first : tw_mono_earlier(first, due->due);
}

/* Not while a result that was not taken yet would be overwritten: the driver comes again. */
static bool may_begin(const struct tw_probe *probe)
{
    return !probe->want_result && (probe->config->continuous || probe->phase == TW_PROBE_WAIT);
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
            tw_probe_window_fail(probe, TW_MEASUREMENT_UNREACHABLE, ETIMEDOUT);
        tw_probe_control_lost(probe, now->mono);
    }
    if (tw_mono_reached(probe->refresh_at, now->mono))
        tw_probe_resolve(probe);
    if (probe->phase == TW_PROBE_TEST && tw_mono_reached(probe->send_by, now->mono))
        tw_probe_session_drain(probe, probe->send_by);
    finish_due(probe, now);
    if (may_begin(probe) && tw_mono_reached(probe->next_interval, now->mono)) {
        begin_interval(probe, now->mono);
        finish_due(probe, now); /* after a sleep */
    }
    tw_probe_advance(probe, now->mono);
}

void tw_probe_close(struct tw_probe *probe, tw_mono now)
{
    tw_probe_session_stop(probe, now);
    tw_probe_control_hang_up(probe);
    tw_probe_session_forget(probe);
    for (unsigned i = 0; i < tw_probe_windows(probe->config); i++)
        probe->storage.windows[i].open = false;
    probe->phase = TW_PROBE_WAIT;
    probe->next_interval = TW_NEVER;
    probe->refresh_at = TW_NEVER;
    probe->retry_at = TW_NEVER;
    probe->resolving = false; /* a late answer is none */
    probe->want_resolve = false;
    probe->want_connect = false;
    probe->want_result = false;
}
