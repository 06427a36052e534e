/* The Session-Reflector of one test session: when to answer, what the reply holds, its numbers.
 *
 * For the daemon's workers and the simulator, which find the session, move the datagrams and choose
 * the DSCP. Where something lies in a packet is asked of wire.h, what is enciphered and signed is
 * protection.h's. */
#include "lib/reflector.h"

#include <assert.h>
#include <string.h>

#include "lib/bytes.h"

/* What one packet costs in the token bucket; its credit grows by max_rate every nanosecond. */
#define PACKET_CREDIT UINT64_C(1000000000)

/* "MUST be set to 255" when it cannot be had (RFC 5357 section 4.2.1). */
#define TTL_UNKNOWN 255u

#define ERROR_MULTIPLIER 0x00ffu

const char *tw_reflector_verdict_name(enum tw_reflector_verdict verdict)
{
    switch (verdict) {
#define TW_REFLECTOR_VERDICT_CASE(name, text)                                                      \
    case name:                                                                                     \
        return text;
        TW_REFLECTOR_VERDICTS(TW_REFLECTOR_VERDICT_CASE)
#undef TW_REFLECTOR_VERDICT_CASE
    case TW_REFLECTOR_VERDICT_COUNT:
        break;
    }
    return "unknown";
}

void tw_reflector_init(struct tw_reflector *reflector, const struct tw_reflector_config *config)
{
    const struct tw_test_layout layout = tw_test_layout(config->modes);
    assert(layout.secured == (config->protection != NULL));
    assert(config->refwait_ns >= 0 && config->timeout_ns >= 0);
    *reflector = (struct tw_reflector){
        .config = *config,
        .layout = layout,
        .state = TW_REFLECTOR_ACCEPTED,
    };
    if ((config->modes & TW_MODE_REFLECT_OCTETS) == 0)
        reflector->config.reflect_length = 0;
    reflector->padding_at = (uint16_t)tw_test_reply_padding(config->modes, config->padding_length,
                                                            config->reflect_length);
}

void tw_reflector_start(struct tw_reflector *reflector, tw_mono now)
{
    assert(reflector->state == TW_REFLECTOR_ACCEPTED);
    reflector->state = TW_REFLECTOR_STARTED;
    reflector->last = now;
    reflector->rate_at = now;
    reflector->rate_credit = reflector->config.max_rate * PACKET_CREDIT;
}

void tw_reflector_stop(struct tw_reflector *reflector, tw_mono now)
{
    tw_reflector_expire(reflector, now); /* REFWAIT may have ended it by itself */
    if (reflector->state == TW_REFLECTOR_ACCEPTED) {
        reflector->state = TW_REFLECTOR_ENDED;
        return;
    }
    if (reflector->state != TW_REFLECTOR_STARTED)
        return;
    reflector->state = TW_REFLECTOR_STOPPING;
    reflector->stop_at = tw_mono_after(now, reflector->config.timeout_ns);
    tw_reflector_expire(reflector, now);
}

tw_mono tw_reflector_deadline(const struct tw_reflector *reflector)
{
    switch (reflector->state) {
    case TW_REFLECTOR_STARTED:
        if (reflector->config.refwait_ns == 0)
            return TW_NEVER;
        return tw_mono_after(reflector->last, reflector->config.refwait_ns);
    case TW_REFLECTOR_STOPPING:
        return reflector->stop_at;
    case TW_REFLECTOR_ACCEPTED:
    case TW_REFLECTOR_ENDED:
        break;
    }
    return TW_NEVER;
}

void tw_reflector_expire(struct tw_reflector *reflector, tw_mono now)
{
    if (tw_mono_reached(tw_reflector_deadline(reflector), now))
        reflector->state = TW_REFLECTOR_ENDED;
}

/* Takes one packet out of the token bucket, unless it is empty. Whole numbers only, so that the
 * rate is exact whatever max_rate is; max_rate * 2 s fits 64 bits. */
static bool within_rate(struct tw_reflector *reflector, tw_mono now)
{
    const uint64_t rate = reflector->config.max_rate;
    if (rate == 0)
        return true;
    const uint64_t full = rate * PACKET_CREDIT;
    if (now.ns > reflector->rate_at.ns) {
        const int64_t elapsed_ns = now.ns - reflector->rate_at.ns;
        if (elapsed_ns >= TW_NS_PER_S)
            reflector->rate_credit = full;
        else
            reflector->rate_credit += (uint64_t)elapsed_ns * rate;
        if (reflector->rate_credit > full)
            reflector->rate_credit = full;
        reflector->rate_at = now;
    }
    if (reflector->rate_credit < PACKET_CREDIT)
        return false;
    reflector->rate_credit -= PACKET_CREDIT;
    return true;
}

/* Whether the packet is one that counts, and what its header says. */
static enum tw_reflector_verdict read_packet(struct tw_reflector *reflector, const uint8_t *in,
                                             size_t n, struct tw_test_packet *packet)
{
    const uint32_t modes = reflector->config.modes;
    struct tw_protection *protection = reflector->config.protection;
    if (n < reflector->layout.sender_header)
        return TW_IGNORE_SHORT;
    uint8_t clear[TW_PROTECTION_HEADER_MAX];
    if (!tw_protection_open_packet(protection, in, clear))
        return TW_IGNORE_HMAC;
    if (tw_get_test_packet(protection == NULL ? in : clear, n, modes, packet) != TW_OK)
        return TW_IGNORE_SHORT;
    if ((packet->stamp.error & ERROR_MULTIPLIER) == 0) {
        reflector->zero_error++;
        if (reflector->config.strict)
            return TW_IGNORE_ERROR_ESTIMATE;
    }
    return TW_REFLECT;
}

static struct tw_stamp stamp_of(const struct tw_reflector *reflector, tw_wall t, uint16_t error)
{
    const bool ptp = (reflector->config.modes & TW_MODE_PTP) != 0;
    return tw_stamp_from_wall(t, error, ptp, reflector->config.tai_utc_s);
}

/* By way of a header of full size: the reply may be shorter than that (RFC 7750). */
static void write_header(const struct tw_reflector *reflector, const struct tw_test_packet *packet,
                         const struct tw_arrival *arrival, uint8_t *out, size_t len)
{
    const struct tw_test_reply reply = {
        .receive = stamp_of(reflector, arrival->at, 0).bits,
        .sender_sequence = packet->sequence,
        .sender_stamp = packet->stamp,
        .sender_ttl = (uint8_t)(arrival->ttl < 0 ? TTL_UNKNOWN : (unsigned)arrival->ttl),
        .sender_dscp_ecn = (uint8_t)(arrival->tos < 0 ? 0u : (unsigned)arrival->tos),
    };
    const size_t size = reflector->layout.reflector_header;
    uint8_t header[TW_PROTECTION_HEADER_MAX];
    tw_put_test_reply(header, reflector->config.modes, &reply);
    memcpy(out, header, size < len ? size : len);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many octets of the sender's padding, of which there are `there`, come back in `room`. What
 * does not fit are its highest octets (RFC 5357 section 4.2.1). */
static size_t reused_padding(const struct tw_reflector *reflector, size_t there, size_t room)
{
    const size_t most = smaller(there, room);
    if (reflector->config.padding == TW_PADDING_REUSE)
        return most;
    return smaller(most, reflector->config.reflect_length);
}

/* Every octet after the header, so that nothing of our memory leaves with the reply. */
static void write_padding(const struct tw_reflector *reflector, const uint8_t *in, size_t n,
                          struct tw_random *random, uint8_t *out, size_t len)
{
    const size_t from = (size_t)reflector->layout.sender_header + reflector->layout.sender_mbz;
    if (len <= reflector->padding_at)
        return;
    uint8_t *padding = out + reflector->padding_at;
    const size_t room = len - reflector->padding_at;
    const size_t reused = reused_padding(reflector, n > from ? n - from : 0, room);
    if (reused > 0)
        memcpy(padding, in + from, reused);
    if (reflector->config.padding == TW_PADDING_RANDOM)
        tw_random_fill(random, padding + reused, room - reused);
    else
        memset(padding + reused, 0, room - reused);
}

enum tw_reflector_verdict tw_reflector_prepare(struct tw_reflector *reflector, const uint8_t *in,
                                               size_t n, const struct tw_arrival *arrival,
                                               struct tw_random *random, uint8_t *out, size_t cap,
                                               size_t *out_len)
{
    const tw_mono now = arrival->read.mono;
    tw_reflector_expire(reflector, now);
    if (reflector->state == TW_REFLECTOR_ACCEPTED)
        return TW_IGNORE_NOT_STARTED;
    if (reflector->state == TW_REFLECTOR_ENDED)
        return TW_IGNORE_STOPPED;

    struct tw_test_packet packet;
    const enum tw_reflector_verdict verdict = read_packet(reflector, in, n, &packet);
    if (verdict != TW_REFLECT)
        return verdict;

    /* A valid packet from here on, whether or not it is answered. */
    reflector->received++;
    reflector->last = now;

    const size_t len = tw_test_reply_size(reflector->config.modes, n);
    if (len > cap)
        return TW_IGNORE_NO_ROOM;
    if (!within_rate(reflector, now))
        return TW_IGNORE_RATE;

    write_header(reflector, &packet, arrival, out, len);
    write_padding(reflector, in, n, random, out, len);
    *out_len = len;
    return TW_REFLECT;
}

void tw_reflector_stamp(struct tw_reflector *reflector, uint8_t *out, const struct tw_reading *now)
{
    const uint32_t modes = reflector->config.modes;
    const uint64_t receive = tw_get_test_receive(out, modes);
    struct tw_stamp departure = stamp_of(reflector, now->wall, now->error);
    /* Timestamps of either format are modular: what is "before" is read from the sign of the
     * difference, so that the end of an NTP era between T2 and T3 does no harm. */
    if (departure.bits - receive > INT64_MAX)
        departure.bits = receive;
    tw_put32(out, reflector->sequence);
    tw_put_test_stamp(out, modes, departure);
    tw_protection_seal_reply(reflector->config.protection, out);
    reflector->sequence++;
    reflector->reflected++;
}
