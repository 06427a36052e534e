/* The Session-Reflector of one test session: when to answer, what the reply holds, its numbers.
 *
 * For the daemon's workers and the simulator, which find the session, move the datagrams and choose
 * the DSCP. So far the clear layout of unauthenticated and mixed mode; every position comes from
 * tw_test_layout(), so that a feature which only moves padding needs nothing here. */
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
    assert(!tw_test_layout(config->modes).secured);
    assert(config->refwait_ns >= 0 && config->timeout_ns >= 0);
    *reflector = (struct tw_reflector){
        .config = *config,
        .state = TW_REFLECTOR_ACCEPTED,
    };
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

/* As long as the sender's packet, but never shorter than the reply's header. */
static size_t reply_length(const struct tw_test_layout *layout, size_t n)
{
    return n > layout->reflector_header ? n : layout->reflector_header;
}

/* Octets after the reply's header, of which there are none unless the sender's packet is longer
 * than that header. Its padding begins no later than ours, so there is enough of it to be re-used;
 * what does not fit are its highest octets. */
static void write_padding(const struct tw_reflector *reflector, const struct tw_test_layout *layout,
                          const uint8_t *in, struct tw_random *random, uint8_t *out, size_t len)
{
    const size_t from = (size_t)layout->sender_header + layout->sender_mbz;
    assert(from <= layout->reflector_header);
    uint8_t *padding = out + layout->reflector_header;
    const size_t n = len - layout->reflector_header;
    switch (reflector->config.padding) {
    case TW_PADDING_REUSE:
        if (n > 0)
            memcpy(padding, in + from, n);
        return;
    case TW_PADDING_RANDOM:
        tw_random_fill(random, padding, n);
        return;
    case TW_PADDING_ZERO:
        memset(padding, 0, n);
        return;
    }
}

static void write_header(const struct tw_reflector *reflector, const struct tw_test_packet *packet,
                         const struct tw_arrival *arrival, uint8_t *out)
{
    const struct tw_test_reply reply = {
        .receive = tw_ntp_from_wall(arrival->at),
        .sender_sequence = packet->sequence,
        .sender_stamp = packet->stamp,
        .sender_ttl = (uint8_t)(arrival->ttl < 0 ? TTL_UNKNOWN : (unsigned)arrival->ttl),
        .sender_dscp_ecn = (uint8_t)(arrival->tos < 0 ? 0u : (unsigned)arrival->tos),
    };
    tw_put_test_reply(out, reflector->config.modes, &reply);
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
    if (tw_get_test_packet(in, n, reflector->config.modes, &packet) != TW_OK)
        return TW_IGNORE_SHORT;

    /* A valid packet from here on, whether or not it is answered. */
    reflector->received++;
    reflector->last = now;
    if ((packet.stamp.error & ERROR_MULTIPLIER) == 0)
        reflector->zero_error++;

    const struct tw_test_layout layout = tw_test_layout(reflector->config.modes);
    const size_t len = reply_length(&layout, n);
    if (len > cap)
        return TW_IGNORE_NO_ROOM;
    if (!within_rate(reflector, now))
        return TW_IGNORE_RATE;

    write_header(reflector, &packet, arrival, out);
    write_padding(reflector, &layout, in, random, out, len);
    *out_len = len;
    return TW_REFLECT;
}

void tw_reflector_stamp(struct tw_reflector *reflector, uint8_t *out, const struct tw_reading *now)
{
    const uint32_t modes = reflector->config.modes;
    struct tw_test_reply reply;
    const enum tw_result prepared =
        tw_get_test_reply(out, tw_test_layout(modes).reflector_header, modes, &reply);
    assert(prepared == TW_OK);
    (void)prepared;

    struct tw_stamp departure = {
        .bits = tw_ntp_from_wall(now->wall),
        .error = (uint16_t)(now->error & ~TW_ERROR_PTP),
    };
    /* Timestamps are modular: what is "before" is read from the sign of the difference, so that the
     * end of an NTP era between T2 and T3 does no harm. */
    if (departure.bits - reply.receive > INT64_MAX)
        departure.bits = reply.receive;
    tw_put32(out, reflector->sequence);
    tw_put_test_stamp(out, modes, departure);
    reflector->sequence++;
    reflector->reflected++;
}
