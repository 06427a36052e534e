/* A probe's sessions; the contract is in probe_session.h. */
#include "lib/probe_session.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/bytes.h"

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
    probe->remote_before = probe->remote;
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
    struct tw_protection *protection = &probe->protections[probe->current];
    struct tw_keys keys;
    explicit_bzero(protection, sizeof *protection);
    if (!tw_client_session_keys(&probe->client, probe->accepted.sid, &keys))
        return NULL;
    tw_protection_init(protection, probe->client.mode, &keys);
    explicit_bzero(&keys, sizeof keys);
    return protection;
}

void tw_probe_session_begin(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_storage *storage = &probe->storage;
    probe->current ^= 1;
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
    struct tw_stats_config stats = {
        .stateful = probe->config->stateful,
        .packets = storage->packets,
        .capacity = storage->slot_count,
    };
    tw_stats_init(&probe->stats, &stats);
    probe->started = now;
    probe->measurement.session = true;
    probe->measurement.remote = probe->remote;
    probe->measurement.local = probe->local;
    probe->measurement.mode = probe->client.mode;
}

void tw_probe_session_drain(struct tw_probe *probe, tw_mono last_departure)
{
    probe->phase = TW_PROBE_DRAIN;
    probe->drain_by = tw_mono_after(last_departure, probe->config->sender.wait_ns);
}

void tw_probe_session_stop(struct tw_probe *probe, tw_mono now)
{
    if (probe->link != TW_PROBE_UP || probe->client.step != TW_CLIENT_STEP_TEST)
        return;
    enum tw_result result = tw_client_stop(&probe->client, TW_ACCEPT_OK, now);
    assert(result == TW_OK);
    (void)result;
}

void tw_probe_session_note_server(struct tw_probe *probe)
{
    if (probe->phase == TW_PROBE_WAIT)
        return;
    probe->measurement.quirks |= probe->client.quirks;
    probe->measurement.offered = probe->client.offered;
}

void tw_probe_session_note_reflector(struct tw_probe *probe)
{
    probe->measurement.quirks |= probe->senders[probe->current].quirks;
    if (tw_observation_ttl_unset(&probe->stats.observation))
        probe->measurement.quirks |= TW_QUIRK_TTL_UNSET;
}

void tw_probe_session_forget(struct tw_probe *probe)
{
    explicit_bzero(probe->protections, sizeof probe->protections);
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
        tw_probe_session_drain(probe, now->mono);
}

void tw_probe_unsend(struct tw_probe *probe, int error, tw_mono now)
{
    probe->send_error = error;
    tw_sender_unsend(&probe->senders[probe->current]);
    probe->sent--;
    probe->phase = TW_PROBE_TEST;
    probe->next_send = tw_mono_after(now, probe->config->packet_interval_ns);
}

/* Before the first reply packets are refused in the order in which they left. */
void tw_probe_refused(struct tw_probe *probe, tw_mono now)
{
    const bool running = probe->phase == TW_PROBE_TEST || probe->phase == TW_PROBE_DRAIN;
    const tw_mono warm = tw_mono_after(probe->started, TW_PROBE_WARM_UP_NS);
    if (!running || tw_mono_reached(warm, now) || probe->stats.observation.any ||
        !tw_sender_withdraw(&probe->senders[probe->current]))
        return;
    probe->measurement.quirks |= TW_QUIRK_WARM_UP;
    probe->send_error = ECONNREFUSED;
    tw_stats_skip(&probe->stats);
    probe->sent--;
    if (probe->phase == TW_PROBE_DRAIN && !tw_mono_reached(now, probe->next_send))
        probe->next_send = now; /* one more is to leave, and not several at once */
    probe->phase = TW_PROBE_TEST;
}

bool tw_probe_expects(const struct tw_probe *probe, const struct tw_address *remote)
{
    return tw_address_equal(remote, &probe->remote) ||
           tw_address_equal(remote, &probe->remote_before);
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
