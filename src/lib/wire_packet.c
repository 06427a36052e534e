/* The codec of TWAMP-Test: where each field of a sender packet and of a reply lies in each mode,
 * how long both are and where their padding begins. The contract is in wire.h.
 *
 * For the Session-Sender and the Session-Reflector, and for whoever must know sizes beforehand. It
 * judges no value, touches no padding and applies no cryptography. Offsets are octets from the
 * start of the UDP payload; what lies between two named fields must be zero (MBZ). */
#include "lib/wire.h"

#include <string.h>

#include "lib/bytes.h"

/* Where the fields of test packets lie (RFC 5357 sections 4.1.2 and 4.2.1). A sender packet is a
 * reply's beginning, up to and with the Error Estimate; the Sequence Number is at 0 in both. */
struct test_fields {
    uint8_t stamp;
    uint8_t error;
    uint8_t receive;
    uint8_t sender_sequence;
    uint8_t sender_stamp;
    uint8_t sender_error;
    uint8_t sender_ttl;
    uint8_t sender_dscp_ecn; /* RFC 7750; otherwise padding (unauthenticated) or MBZ (secured) */
};

/* Unauthenticated and mixed mode: MBZ are 14..15, 38..39 and, with S-DSCP-ECN, 42..43. */
static const struct test_fields clear_fields = {
    .stamp = 4,
    .error = 12,
    .receive = 16,
    .sender_sequence = 24,
    .sender_stamp = 28,
    .sender_error = 36,
    .sender_ttl = 40,
    .sender_dscp_ecn = 41,
};

/* Authenticated and encrypted mode: blocks of 16 octets, each begun by a field and filled up with
 * MBZ; the HMAC follows at 32 in a sender packet and at 96 in a reply. */
static const struct test_fields secured_fields = {
    .stamp = 16,
    .error = 24,
    .receive = 32,
    .sender_sequence = 48,
    .sender_stamp = 64,
    .sender_error = 72,
    .sender_ttl = 80,
    .sender_dscp_ecn = 81,
};

enum {
    CLEAR_SENDER_HEADER = 14,
    CLEAR_REFLECTOR_HEADER = 41,
    CLEAR_DSCP_ECN_HEADER = 44,       /* S-DSCP-ECN and two MBZ octets */
    CLEAR_DSCP_ECN_SHORT_HEADER = 42, /* as RFC 7750 section 2.2.2 counts it */
    SECURED_SENDER_HMAC = 32,
    SECURED_SENDER_HEADER = 48,
    SECURED_REFLECTOR_HMAC = 96,
    SECURED_REFLECTOR_HEADER = 112,
};
_Static_assert(SECURED_SENDER_HMAC + TW_HMAC_SIZE == SECURED_SENDER_HEADER, "sender packet");
_Static_assert(SECURED_REFLECTOR_HMAC + TW_HMAC_SIZE == SECURED_REFLECTOR_HEADER, "reply");

static bool is_secured(uint32_t modes)
{
    return (modes & (TW_MODE_AUTHENTICATED | TW_MODE_ENCRYPTED)) != 0;
}

static const struct test_fields *test_fields(uint32_t modes)
{
    return is_secured(modes) ? &secured_fields : &clear_fields;
}

/* Hr by its other reading, where RFC 7750 has two. */
static size_t least_reflector_header(const struct tw_test_layout *layout)
{
    const size_t header = layout->reflector_header;
    return header == CLEAR_DSCP_ECN_HEADER ? CLEAR_DSCP_ECN_SHORT_HEADER : header;
}

struct tw_test_layout tw_test_layout(uint32_t modes)
{
    const bool symmetrical = (modes & TW_MODE_SYMMETRICAL) != 0;
    const bool dscp_ecn = (modes & TW_MODE_DSCP_ECN) != 0;
    struct tw_test_layout layout = {
        .sender_ttl = test_fields(modes)->sender_ttl,
        .secured = is_secured(modes),
    };
    if (layout.secured) {
        layout.sender_header = SECURED_SENDER_HEADER;
        layout.reflector_header = SECURED_REFLECTOR_HEADER;
    } else {
        layout.sender_header = CLEAR_SENDER_HEADER;
        layout.reflector_header = dscp_ecn ? CLEAR_DSCP_ECN_HEADER : CLEAR_REFLECTOR_HEADER;
    }
    if (symmetrical) /* 28 octets in figure 4 of RFC 7750, although its reply has a header of 44 */
        layout.sender_mbz = (uint16_t)(least_reflector_header(&layout) - layout.sender_header);
    return layout;
}

static size_t before_padding(const struct tw_test_layout *layout)
{
    return (size_t)layout->sender_header + layout->sender_mbz;
}

uint32_t tw_test_default_padding(uint32_t modes)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    return (uint32_t)(layout.reflector_header - before_padding(&layout));
}

uint32_t tw_test_truncation(uint32_t modes)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    return (uint32_t)(least_reflector_header(&layout) - before_padding(&layout));
}

size_t tw_test_sender_size(uint32_t modes, uint32_t padding_length)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    const size_t header = before_padding(&layout);
    return padding_length > SIZE_MAX - header ? SIZE_MAX : header + padding_length;
}

size_t tw_test_reply_size(uint32_t modes, size_t n)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    return n < least_reflector_header(&layout) ? layout.reflector_header : n;
}

size_t tw_test_reply_padding(uint32_t modes, uint32_t padding_length, uint16_t reflect_length)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    const size_t least = least_reflector_header(&layout);
    if ((modes & TW_MODE_REFLECT_OCTETS) == 0)
        return layout.reflector_header;
    const size_t size = tw_test_sender_size(modes, padding_length);
    const bool short_one_alone =
        size >= least + reflect_length && size < (size_t)layout.reflector_header + reflect_length;
    return short_one_alone ? least : layout.reflector_header;
}

static struct tw_stamp get_stamp(const uint8_t *bits, const uint8_t *error)
{
    return (struct tw_stamp){.bits = tw_get64(bits), .error = tw_get16(error)};
}

void tw_put_test_stamp(uint8_t *out, uint32_t modes, struct tw_stamp stamp)
{
    const struct test_fields *at = test_fields(modes);
    tw_put64(out + at->stamp, stamp.bits);
    tw_put16(out + at->error, stamp.error);
}

uint64_t tw_get_test_receive(const uint8_t *reply, uint32_t modes)
{
    return tw_get64(reply + test_fields(modes)->receive);
}

void tw_put_test_packet(uint8_t *out, uint32_t modes, const struct tw_test_packet *packet)
{
    memset(out, 0, tw_test_layout(modes).sender_header);
    tw_put32(out, packet->sequence);
    tw_put_test_stamp(out, modes, packet->stamp);
}

enum tw_result tw_get_test_packet(const uint8_t *in, size_t n, uint32_t modes,
                                  struct tw_test_packet *packet)
{
    if (n < tw_test_layout(modes).sender_header)
        return TW_ERR_SHORT;
    const struct test_fields *at = test_fields(modes);
    packet->sequence = tw_get32(in);
    packet->stamp = get_stamp(in + at->stamp, in + at->error);
    return TW_OK;
}

void tw_put_test_reply(uint8_t *out, uint32_t modes, const struct tw_test_reply *reply)
{
    const struct test_fields *at = test_fields(modes);
    memset(out, 0, tw_test_layout(modes).reflector_header);
    tw_put32(out, reply->sequence);
    tw_put_test_stamp(out, modes, reply->stamp);
    tw_put64(out + at->receive, reply->receive);
    tw_put32(out + at->sender_sequence, reply->sender_sequence);
    tw_put64(out + at->sender_stamp, reply->sender_stamp.bits);
    tw_put16(out + at->sender_error, reply->sender_stamp.error);
    out[at->sender_ttl] = reply->sender_ttl;
    if ((modes & TW_MODE_DSCP_ECN) != 0)
        out[at->sender_dscp_ecn] = reply->sender_dscp_ecn;
}

enum tw_result tw_get_test_reply(const uint8_t *in, size_t n, uint32_t modes,
                                 struct tw_test_reply *reply)
{
    const size_t least = is_secured(modes) ? SECURED_REFLECTOR_HEADER : TW_TEST_REPLY_MIN;
    if (n < least)
        return TW_ERR_SHORT;
    const struct test_fields *at = test_fields(modes);
    *reply = (struct tw_test_reply){
        .sequence = tw_get32(in),
        .stamp = get_stamp(in + at->stamp, in + at->error),
        .receive = tw_get64(in + at->receive),
        .sender_sequence = tw_get32(in + at->sender_sequence),
        .sender_stamp = get_stamp(in + at->sender_stamp, in + at->sender_error),
    };
    if (n > at->sender_ttl) {
        reply->sender_ttl = in[at->sender_ttl];
        reply->sender_ttl_known = true;
    }
    if ((modes & TW_MODE_DSCP_ECN) != 0 && n > at->sender_dscp_ecn) {
        reply->sender_dscp_ecn = in[at->sender_dscp_ecn];
        reply->sender_dscp_ecn_known = true;
    }
    return TW_OK;
}
