/* A probe's sessions; the contract is in probe_session.h. */
#include "lib/probe_session.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/probe_window.h"

/* After a stall of the driver so many packets leave at once; the rest is paced again, so that the
 * path never sees a burst. */
enum { TW_PROBE_BURST = 3 };

/* Within this time of the start a reflector may refuse packets because it is not ready yet. */
static const int64_t TW_PROBE_WARM_UP_NS = TW_NS_PER_S;

/* Server octets take the first two of the octets to be reflected (RFC 6038 section 5.1.2). */
enum { SERVER_OCTETS_SIZE = 2 };

static uint32_t padding_length(const struct tw_probe *probe)
{
    const uint32_t wanted = probe->config->sender.padding_length;
    return wanted == TW_PROBE_PADDING_EQUAL ? tw_test_default_padding(probe->client.mode) : wanted;
}

/* As much padding as can come back in a reply that is as long as its packet; less than the whole
 * (RFC 6038 sections 4.2 and 5.2). */
static uint16_t reflect_length(const struct tw_probe *probe)
{
    const uint32_t modes = probe->client.mode;
    const uint32_t padding = padding_length(probe);
    const uint32_t around = tw_test_default_padding(modes); /* what a reply has no place for */
    if ((modes & TW_MODE_REFLECT_OCTETS) == 0 || padding <= around)
        return 0;
    uint32_t length = padding - around;
    if (length == padding)
        length--;
    return length > UINT16_MAX ? UINT16_MAX : (uint16_t)length;
}

void tw_probe_session_request(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_config *config = probe->config;
    struct tw_request request = {
        .ipvn = probe->peer.family,
        .sender_port = probe->local.port,
        .receiver_port = config->receiver_port != 0 ? config->receiver_port : probe->local.port,
        .padding_length = padding_length(probe),
        .timeout = tw_interval_from_ns(config->timeout_ns),
        .type_p = tw_type_p_from_dscp(config->dscp),
        .reflect_length = reflect_length(probe),
    };
    /* Addresses stay zero: the connection's own, which survives address translation. */
    if ((probe->client.mode & TW_MODE_REFLECT_OCTETS) != 0) {
        uint8_t tag[sizeof(uint16_t)]; /* tells the answer to this request from any other */
        tw_random_fill(probe->random, tag, sizeof tag);
        request.reflect_octets = tw_get16(tag);
    }
    enum tw_result result = tw_client_request(&probe->client, &request, now);
    assert(result == TW_OK);
    (void)result;
}

void tw_probe_session_accepted(struct tw_probe *probe, const struct tw_accept_session *answer,
                               tw_mono now)
{
    probe->remote = probe->peer;
    probe->remote.port = answer->port;
    probe->accepted = *answer;
    enum tw_result result = tw_client_start(&probe->client, now);
    assert(result == TW_OK);
    (void)result;
}

/* NULL in modes that leave test packets as they are. */
static struct tw_protection *protect(struct tw_probe *probe)
{
    struct tw_probe_secrets *secrets = probe->storage.secrets;
    if (secrets == NULL)
        return NULL;
    struct tw_protection *protection = &secrets->protections[probe->current];
    struct tw_keys keys;
    explicit_bzero(protection, sizeof *protection);
    if (!tw_client_session_keys(&probe->client, probe->accepted.sid, &keys))
        return NULL;
    tw_protection_init(protection, probe->client.mode, &keys);
    explicit_bzero(&keys, sizeof keys);
    return protection;
}

/* A sender of which nothing has left has no replies to wait for: it begins again. */
static void next_sender(struct tw_probe *probe)
{
    if (probe->sender_live[probe->current] && probe->senders[probe->current].next_sequence == 0)
        return;
    probe->current ^= 1;
    probe->sessions++;
}

void tw_probe_session_begin(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_storage *storage = &probe->storage;
    next_sender(probe);
    struct tw_sender_config sender = probe->config->sender;
    sender.modes = probe->client.mode;
    sender.padding_length = padding_length(probe);
    sender.protection = protect(probe);
    sender.reflect_length = reflect_length(probe);
    sender.server_octets =
        sender.reflect_length >= SERVER_OCTETS_SIZE ? probe->accepted.server_octets : 0;
    tw_sender_init(&probe->senders[probe->current], &sender, storage->slots[probe->current],
                   storage->slot_count, probe->random);
    probe->sender_live[probe->current] = true;
    probe->remotes[probe->current] = probe->remote;
    probe->started = now;
    probe->answered = false;
    probe->strayed = false;
    probe->newest = probe->reflector_newest = UINT32_MAX;
    probe->recent = probe->reflector_recent = UINT8_MAX;
}

bool tw_probe_session_runs(const struct tw_probe *probe)
{
    return probe->link == TW_PROBE_UP && probe->client.step == TW_CLIENT_STEP_TEST;
}

/* For how long packets left and none of them was answered, at their pace: a driver that was stopped
 * asked for nothing. */
static int64_t unanswered_ns(const struct tw_probe *probe)
{
    const struct tw_sender *sender = &probe->senders[probe->current];
    const uint32_t packets = sender->next_sequence - 1 - probe->newest;
    return (int64_t)packets * probe->config->packet_interval_ns;
}

/* After so long a session is not carried on. Bursts of loss may last for half an interval, and
 * replies may take as long as they are waited for. */
static int64_t patience_ns(const struct tw_probe_config *config)
{
    const int64_t half_ns = config->interval_ns / 2;
    const int64_t longest_ns = half_ns > config->sender.wait_ns ? half_ns : config->sender.wait_ns;
    return longest_ns + config->packet_interval_ns;
}

bool tw_probe_session_is_silent(const struct tw_probe *probe, tw_mono begun, tw_mono now)
{
    const struct tw_probe_config *config = probe->config;
    const bool whole = tw_mono_reached(probe->started, begun);
    const tw_mono since = whole ? begun : probe->started;
    const tw_mono patience =
        tw_mono_after(since, config->sender.wait_ns + config->packet_interval_ns);
    const tw_mono trusted = {now.ns - TW_PROBE_SILENCE_NS};
    const bool heard = probe->answered && !tw_mono_reached(probe->heard, since) &&
                       !tw_mono_reached(probe->heard, trusted) &&
                       unanswered_ns(probe) <= patience_ns(config);
    return !heard && (whole || tw_mono_reached(patience, now));
}

/* Packets leave in the middle of their parts of the interval; the first one is that of the part in
 * which `from` is. */
static tw_mono first_departure(const struct tw_probe *probe, tw_mono from)
{
    const int64_t part_ns = probe->config->packet_interval_ns;
    const int64_t first = (from.ns - probe->begun.ns) / part_ns;
    return tw_mono_after(probe->begun, first * part_ns + part_ns / 2);
}

void tw_probe_session_join(struct tw_probe *probe, tw_mono from)
{
    const bool continuous = probe->config->continuous;
    const struct tw_probe_window *window = tw_probe_window_now(probe);
    if (continuous &&
        (!window->open || window->numbers > 0 || tw_mono_reached(probe->send_by, from))) {
        probe->phase = TW_PROBE_WAIT; /* the next interval has it */
        return;
    }
    probe->phase = TW_PROBE_TEST;
    probe->next_send = continuous ? first_departure(probe, from) : from;
    tw_probe_window_attach(probe);
}

bool tw_probe_session_lost(struct tw_probe *probe)
{
    if (probe->phase != TW_PROBE_TEST)
        return false;
    if (tw_probe_window_now(probe)->numbers > 0) {
        probe->phase = TW_PROBE_DRAIN;
        return false;
    }
    tw_probe_window_detach(probe);
    probe->phase = TW_PROBE_SET_UP;
    return true;
}

void tw_probe_session_drain(struct tw_probe *probe, tw_mono last_departure)
{
    probe->phase = TW_PROBE_DRAIN;
    if (!probe->config->continuous)
        tw_probe_window_now(probe)->due =
            tw_mono_after(last_departure, probe->config->sender.wait_ns);
}

void tw_probe_session_stop(struct tw_probe *probe, tw_mono now)
{
    if (probe->link != TW_PROBE_UP || probe->client.step != TW_CLIENT_STEP_TEST)
        return;
    enum tw_result result = tw_client_stop(&probe->client, TW_ACCEPT_OK, now);
    assert(result == TW_OK);
    (void)result;
}

void tw_probe_session_forget(struct tw_probe *probe)
{
    struct tw_probe_secrets *secrets = probe->storage.secrets;
    if (secrets != NULL)
        explicit_bzero(secrets->protections, sizeof secrets->protections);
    memset(probe->sender_live, 0, sizeof probe->sender_live);
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

/* When the packet behind the one that has just left is due. */
static void pace(struct tw_probe *probe, tw_mono now)
{
    const int64_t spacing_ns = probe->config->packet_interval_ns;
    probe->next_send = tw_mono_after(probe->next_send, spacing_ns);
    /* One has left and one is due at this very moment; the others are what may be overdue. */
    const tw_mono oldest = {now.ns - (TW_PROBE_BURST - 2) * spacing_ns};
    if (probe->next_send.ns >= oldest.ns)
        return;
    if (probe->config->continuous)
        probe->next_send.ns +=
            (oldest.ns - probe->next_send.ns + spacing_ns - 1) / spacing_ns * spacing_ns;
    else
        probe->next_send = oldest;
}

/* Two packets of a continuous session, at least, are lost that followed one another: perhaps the
 * target is somewhere else by now. Should the session turn out to be dead when its interval ends,
 * the answer is there. */
static void doubt_name(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_config *config = probe->config;
    if (!config->continuous || probe->looked_again ||
        unanswered_ns(probe) <= config->sender.wait_ns + 2 * config->packet_interval_ns)
        return;
    probe->looked_again = true;
    if (!probe->resolving)
        probe->refresh_at = now;
}

struct tw_probe_packet tw_probe_stamp(struct tw_probe *probe, uint8_t *out,
                                      const struct tw_reading *now)
{
    struct tw_sender *sender = &probe->senders[probe->current];
    struct tw_probe_window *window = tw_probe_window_now(probe);
    const struct tw_probe_packet packet = {probe->sessions, sender->next_sequence};
    tw_sender_stamp(sender, out, now);
    window->numbers++;
    window->sent++;
    probe->failures = 0;
    doubt_name(probe, now->mono);
    pace(probe, now->mono);
    const bool last = probe->config->continuous ? tw_mono_reached(probe->send_by, probe->next_send)
                                                : window->sent == probe->config->count;
    if (last)
        tw_probe_session_drain(probe, now->mono);
    return packet;
}

bool tw_probe_departed(struct tw_probe *probe, struct tw_probe_packet packet, tw_wall t1,
                       enum tw_source source)
{
    const uint32_t ago = probe->sessions - packet.session;
    const unsigned which = probe->current ^ ago;
    return ago <= 1 && probe->sender_live[which] &&
           tw_sender_departed(&probe->senders[which], packet.sequence, t1, source);
}

void tw_probe_unsend(struct tw_probe *probe, int error, tw_mono now)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    assert(window->open && window->numbers > 0);
    tw_sender_unsend(&probe->senders[probe->current]);
    window->send_error = error;
    window->numbers--;
    window->sent--;
    if (probe->config->continuous)
        return; /* that time has passed */
    window->due = TW_NEVER;
    probe->phase = TW_PROBE_TEST;
    probe->next_send = tw_mono_after(now, probe->config->packet_interval_ns);
}

/* Before the first reply packets are refused in the order in which they left. */
void tw_probe_refused(struct tw_probe *probe, tw_mono now)
{
    struct tw_sender *sender = &probe->senders[probe->current];
    const struct tw_probe_packet oldest = {probe->sessions, sender->next_lost};
    struct tw_probe_window *window = tw_probe_window_find(probe, oldest);
    const tw_mono warm = tw_mono_after(probe->started, TW_PROBE_WARM_UP_NS);
    if (window == NULL || !window->open || tw_mono_reached(warm, now) || probe->answered ||
        !tw_sender_withdraw(sender))
        return;
    window->measurement.quirks |= TW_QUIRK_WARM_UP;
    window->send_error = ECONNREFUSED;
    tw_stats_skip(&window->stats);
    window->sent--;
    if (probe->config->continuous)
        return;
    if (probe->phase == TW_PROBE_DRAIN && !tw_mono_reached(now, probe->next_send))
        probe->next_send = now; /* one more is to leave, and not several at once */
    window->due = TW_NEVER;
    probe->phase = TW_PROBE_TEST;
}

bool tw_probe_expects(const struct tw_probe *probe, const struct tw_address *remote)
{
    return tw_address_equal(remote, &probe->remote) ||
           tw_address_equal(remote, &probe->remotes[0]) ||
           tw_address_equal(remote, &probe->remotes[1]);
}

/* A reply may have waited for a driver that slept, while the reflector ended the session. */
static tw_mono arrived_at(const struct tw_arrival *arrival)
{
    const int64_t waited_ns = arrival->read.wall.ns - arrival->at.ns;
    return (tw_mono){arrival->read.mono.ns - (waited_ns > 0 ? waited_ns : 0)};
}

bool tw_probe_receive(struct tw_probe *probe, const uint8_t *in, size_t n,
                      const struct tw_arrival *arrival, struct tw_sample *sample)
{
    enum tw_sender_verdict newest = TW_SENDER_SAMPLE; /* of the newest session: none */
    for (unsigned i = 0; i < 2; i++) {
        unsigned which = probe->current ^ i;
        if (!probe->sender_live[which])
            continue;
        enum tw_sender_verdict verdict =
            tw_sender_receive(&probe->senders[which], in, n, arrival, sample);
        if (newest == TW_SENDER_SAMPLE)
            newest = verdict;
        if (verdict != TW_SENDER_SAMPLE)
            continue;
        if (i == 0)
            probe->heard = arrived_at(arrival);
        tw_probe_window_add(probe, probe->sessions - i, sample);
        return true;
    }
    tw_probe_window_reject(probe, newest);
    return false;
}
