/* One target, measured interval after interval; the contract is in probe.h. */
#include "lib/probe.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* A first retry comes after this share of an interval; each further failure doubles the delay, up
 * to a whole interval. */
enum { TW_PROBE_RETRY_SHARE = 16 };

/* After a stall of the driver so many packets leave at once; the rest is paced again, so that the
 * path never sees a burst. */
enum { TW_PROBE_BURST = 3 };

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

static void resolve(struct tw_probe *probe)
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

static void retry_later(struct tw_probe *probe, tw_mono now)
{
    probe->retry_at = tw_mono_after(now, retry_delay_ns(probe));
    probe->failures++;
}

/* Lets go of the connection, if there is one. */
static void hang_up(struct tw_probe *probe)
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
}

static void connect_next(struct tw_probe *probe, tw_mono now)
{
    probe->peer = tw_hosts_try(&probe->hosts);
    probe->peer.port = probe->config->control_port;
    probe->link = TW_PROBE_CONNECTING;
    probe->connect_by = tw_mono_after(now, probe->config->connect_ns);
    probe->want_connect = true;
}

static void ask_for_session(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_config *config = probe->config;
    struct tw_request request = {
        .ipvn = probe->peer.family,
        .sender_port = probe->local.port,
        .receiver_port = config->receiver_port != 0 ? config->receiver_port : probe->local.port,
        .padding_length = config->sender.padding_length,
        .timeout = tw_interval_from_ns(config->timeout_ns),
        .type_p = tw_type_p_from_dscp(config->dscp),
    };
    /* Addresses stay zero: the connection's own, which survives address translation. */
    enum tw_result result = tw_client_request(&probe->client, &request, now);
    assert(result == TW_OK);
    (void)result;
}

/* Takes the next step towards a started session, if its time has come and is not over. */
static void advance(struct tw_probe *probe, tw_mono now)
{
    if (probe->phase != TW_PROBE_SET_UP || !tw_mono_reached(probe->retry_at, now) ||
        tw_mono_reached(probe->set_up_by, now))
        return;
    if (probe->link == TW_PROBE_UP && probe->hosts.renewed)
        hang_up(probe);
    if (probe->link == TW_PROBE_UP) {
        if (probe->client.step != TW_CLIENT_STEP_IDLE)
            return;
        probe->retry_at = TW_NEVER;
        ask_for_session(probe, now);
        return;
    }
    if (probe->link == TW_PROBE_CONNECTING)
        return;
    if (probe->hosts.count == 0) {
        if (!probe->resolving)
            resolve(probe);
        return; /* resolved() comes back here */
    }
    probe->retry_at = TW_NEVER;
    connect_next(probe, now);
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
    probe->reused = probe->link == TW_PROBE_UP;
    probe->looked_again = false;
    memset(&probe->measurement, 0, sizeof probe->measurement);
    probe->measurement.begun = probe->begun;
    /* What it is called if nothing at all happens until set_up_by. */
    tw_measurement_fail(&probe->measurement,
                        probe->hosts.count == 0 ? TW_MEASUREMENT_NAME : TW_MEASUREMENT_UNREACHABLE,
                        0);
    advance(probe, now);
}

static void begin_test(struct tw_probe *probe, tw_mono now)
{
    probe->phase = TW_PROBE_TEST;
    probe->failures = 0;
    probe->current ^= 1;
    struct tw_sender_config sender = probe->config->sender;
    sender.modes = probe->client.mode;
    tw_sender_init(&probe->senders[probe->current], &sender, probe->storage.slots[probe->current],
                   probe->storage.slot_count, probe->random);
    probe->sender_live[probe->current] = true;
    struct tw_stats_config stats = {
        .stateful = probe->config->stateful,
        .packets = probe->storage.packets,
        .capacity = probe->storage.slot_count,
    };
    tw_stats_init(&probe->stats, &stats);
    probe->next_send = now;
    tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_SILENT,
                        0); /* unless something answers */
    probe->measurement.session = true;
    probe->measurement.remote = probe->remote;
    probe->measurement.local = probe->local;
    probe->measurement.mode = probe->client.mode;
}

static void begin_drain(struct tw_probe *probe, tw_mono last_departure)
{
    probe->phase = TW_PROBE_DRAIN;
    probe->drain_by = tw_mono_after(last_departure, probe->config->sender.wait_ns);
}

/* The interval's result is final. */
static void finish(struct tw_probe *probe, const struct tw_reading *now)
{
    struct tw_measurement *m = &probe->measurement;
    if (m->session) {
        tw_stats_finish(&probe->stats, probe->sent, probe->storage.scratch, &m->summary);
        if (probe->link == TW_PROBE_UP && probe->client.step == TW_CLIENT_STEP_TEST) {
            enum tw_result result = tw_client_stop(&probe->client, TW_ACCEPT_OK, now->mono);
            assert(result == TW_OK);
            (void)result;
        }
        if (m->summary.received + m->summary.late > 0)
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_OK, 0);
        else if (probe->sent == 0)
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_UNREACHABLE,
                                probe->send_error); /* the kernel took none */
    } else {
        tw_summary_none(&m->summary);
    }
    tw_measurement_count(&probe->counters, &m->summary);
    m->counters = probe->counters;
    m->time = now->wall;
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
    if (asked || probe->link == TW_PROBE_CONNECTING) {
        if (asked && (!known || tw_mono_reached(tw_client_deadline(&probe->client), now->mono)))
            tw_measurement_fail_control(&probe->measurement, TW_CLIENT_TIMED_OUT,
                                        probe->client.step, 0);
        if (!asked && (!known || tw_mono_reached(probe->connect_by, now->mono)))
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_UNREACHABLE, ETIMEDOUT);
        /* Or an address that swallows everything would keep the others from ever being tried. */
        if (!probe->reused)
            (void)tw_hosts_next(&probe->hosts);
        /* What it might still answer belongs to no interval. */
        hang_up(probe);
    }
    finish(probe, now);
}

/* A connection that could not be made, or broke before a session ran on it. */
static void connection_lost(struct tw_probe *probe, tw_mono now)
{
    hang_up(probe);
    if (probe->phase != TW_PROBE_SET_UP)
        return;
    if (tw_hosts_next(&probe->hosts)) {
        probe->retry_at = now;
    } else {
        retry_later(probe, now);
        if (!probe->resolving && !probe->looked_again)
            resolve(probe); /* perhaps the name has moved */
        probe->looked_again = true;
    }
    advance(probe, now);
}

static void control_failed(struct tw_probe *probe, const struct tw_client_event *event, tw_mono now)
{
    enum tw_client_failure failure = event->failed.failure;
    bool stale = probe->reused && (failure == TW_CLIENT_ENDED || failure == TW_CLIENT_TIMED_OUT);
    if (probe->phase == TW_PROBE_SET_UP && stale) {
        /* An idle connection may have died unseen (server restarted, firewall forgot it): that is
         * no fault of the target as it is now. */
        hang_up(probe);
        probe->retry_at = now;
        advance(probe, now);
        return;
    }
    /* Who hangs up after a refusal adds nothing to it. */
    bool after_refusal = failure == TW_CLIENT_ENDED && event->failed.step == TW_CLIENT_STEP_IDLE;
    if (probe->phase != TW_PROBE_WAIT && !after_refusal)
        tw_measurement_fail_control(&probe->measurement, failure, event->failed.step,
                                    event->failed.accept);
    connection_lost(probe, now);
}

static void session_answered(struct tw_probe *probe, const struct tw_accept_session *answer,
                             tw_mono now)
{
    probe->reused = false; /* it lives */
    if (answer->accept != TW_ACCEPT_OK) {
        tw_measurement_fail_control(&probe->measurement, TW_CLIENT_REFUSED, TW_CLIENT_STEP_REQUEST,
                                    answer->accept);
        retry_later(probe, now);
        return;
    }
    probe->remote = probe->peer;
    probe->remote.port = answer->port;
    enum tw_result result = tw_client_start(&probe->client, now);
    assert(result == TW_OK);
    (void)result;
}

/* Serves whatever the control machine has to say. */
static void serve_client(struct tw_probe *probe, tw_mono now)
{
    struct tw_client_event event;
    while (probe->link == TW_PROBE_UP && tw_client_next_event(&probe->client, &event)) {
        switch (event.type) {
        case TW_CLIENT_READY:
            probe->retry_at = now;
            advance(probe, now);
            break;
        case TW_CLIENT_SESSION:
            session_answered(probe, &event.session, now);
            break;
        case TW_CLIENT_STARTED:
            begin_test(probe, now);
            break;
        case TW_CLIENT_FAILED:
            control_failed(probe, &event, now);
            break;
        }
    }
}

bool tw_probe_next_event(struct tw_probe *probe, struct tw_probe_event *event)
{
    memset(event, 0, sizeof *event);
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
        advance(probe, now);
        return;
    }
    if (probe->hosts.count > 0) {
        /* The old addresses are better than none. */
        probe->refresh_at = tw_mono_after(now, probe->config->interval_ns);
        return;
    }
    if (probe->phase == TW_PROBE_SET_UP) {
        tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_NAME, error);
        retry_later(probe, now);
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
    connection_lost(probe, now);
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
    serve_client(probe, now);
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
    serve_client(probe, now);
}

void tw_probe_disconnected(struct tw_probe *probe, tw_mono now)
{
    if (probe->link == TW_PROBE_UP) {
        tw_client_end(&probe->client);
        serve_client(probe, now);
    }
    probe->want_disconnect = false; /* the driver has closed it */
}

bool tw_probe_send_due(const struct tw_probe *probe, tw_mono now)
{
    return probe->phase == TW_PROBE_TEST && tw_mono_reached(probe->next_send, now) &&
           !tw_mono_reached(probe->send_by, now);
}

enum tw_result tw_probe_prepare(struct tw_probe *probe, uint8_t *out, size_t cap, size_t *len)
{
    if (probe->phase != TW_PROBE_TEST)
        return TW_ERR_STATE;
    return tw_sender_prepare(&probe->senders[probe->current], out, cap, len);
}

void tw_probe_stamp(struct tw_probe *probe, uint8_t *out, const struct tw_reading *now)
{
    tw_sender_stamp(&probe->senders[probe->current], out, now);
    probe->sent++;
    probe->next_send = tw_mono_after(probe->next_send, probe->config->packet_interval_ns);
    /* One has left and one is due at this very moment; the others are what may be overdue. */
    tw_mono oldest = {now->mono.ns - (TW_PROBE_BURST - 2) * probe->config->packet_interval_ns};
    if (probe->next_send.ns < oldest.ns)
        probe->next_send = oldest;
    if (probe->sent == probe->config->count)
        begin_drain(probe, now->mono);
}

void tw_probe_unsend(struct tw_probe *probe, int error, tw_mono now)
{
    probe->send_error = error;
    tw_sender_unsend(&probe->senders[probe->current]);
    probe->sent--;
    probe->phase = TW_PROBE_TEST;
    probe->next_send = tw_mono_after(now, probe->config->packet_interval_ns);
}

void tw_probe_receive(struct tw_probe *probe, const uint8_t *in, size_t n,
                      const struct tw_arrival *arrival)
{
    bool active = probe->phase == TW_PROBE_TEST || probe->phase == TW_PROBE_DRAIN;
    for (unsigned i = 0; i < 2; i++) {
        unsigned which = probe->current ^ i;
        if (!probe->sender_live[which])
            continue;
        struct tw_sample sample;
        enum tw_sender_verdict verdict =
            tw_sender_receive(&probe->senders[which], in, n, arrival, &sample);
        if (verdict != TW_SENDER_SAMPLE)
            continue;
        if (i == 0 && active)
            tw_stats_add(&probe->stats, &sample);
        else if ((sample.flags & TW_SAMPLE_DUPLICATE) == 0)
            probe->counters.late++; /* its interval has been told already */
        return;
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
        serve_client(probe, now->mono);
    }
    if (tw_mono_reached(probe->connect_by, now->mono)) {
        hang_up(probe);
        if (probe->phase == TW_PROBE_SET_UP)
            tw_measurement_fail(&probe->measurement, TW_MEASUREMENT_UNREACHABLE, ETIMEDOUT);
        connection_lost(probe, now->mono);
    }
    if (tw_mono_reached(probe->refresh_at, now->mono))
        resolve(probe);
    if (probe->phase == TW_PROBE_TEST && tw_mono_reached(probe->send_by, now->mono))
        begin_drain(probe, probe->send_by);
    if (probe->phase == TW_PROBE_DRAIN && tw_mono_reached(probe->drain_by, now->mono))
        finish(probe, now);
    /* A result that was not taken yet must not be overwritten: the driver comes again. */
    if (probe->phase == TW_PROBE_WAIT && !probe->want_result &&
        tw_mono_reached(probe->next_interval, now->mono))
        begin_interval(probe, now->mono);
    advance(probe, now->mono);
}

void tw_probe_close(struct tw_probe *probe, tw_mono now)
{
    if (probe->link == TW_PROBE_UP && probe->client.step == TW_CLIENT_STEP_TEST) {
        enum tw_result result = tw_client_stop(&probe->client, TW_ACCEPT_OK, now);
        assert(result == TW_OK);
        (void)result;
    }
    hang_up(probe);
    probe->phase = TW_PROBE_WAIT;
    probe->next_interval = TW_NEVER;
    probe->refresh_at = TW_NEVER;
    probe->retry_at = TW_NEVER;
    probe->resolving = false; /* a late answer is none */
    probe->want_resolve = false;
    probe->want_connect = false;
    probe->want_result = false;
}
