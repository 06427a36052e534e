/* The codec of TWAMP-Control and TWAMP-Test: where each field of each message lies, and nothing
 * else.
 *
 * For the Server, Control-Client, Session-Sender and Session-Reflector machines. It judges no value
 * and applies no cryptography; HMAC fields are written as zero, which is what the unauthenticated
 * mode sends. Offsets are octets from the start of the message; what lies between two named fields
 * must be zero (MBZ). */
#include "lib/wire.h"

#include <string.h>

#include "lib/bytes.h"

/* Server-Greeting (RFC 4656 section 3.1). */
enum {
    GREETING_MODES = 12,
    GREETING_CHALLENGE = 16,
    GREETING_SALT = 32,
    GREETING_COUNT = 48,
    GREETING_MBZ = 52, /* 12 octets */
};
_Static_assert(GREETING_MBZ + 12 == TW_GREETING_SIZE, "Server-Greeting");

/* Set-Up-Response (RFC 4656 section 3.1). */
enum {
    SETUP_MODE = 0,
    SETUP_KEYID = 4,
    SETUP_TOKEN = 84,
    SETUP_CLIENT_IV = 148,
};
_Static_assert(SETUP_KEYID + TW_KEYID_SIZE == SETUP_TOKEN, "KeyID");
_Static_assert(SETUP_TOKEN + TW_TOKEN_SIZE == SETUP_CLIENT_IV, "Token");
_Static_assert(SETUP_CLIENT_IV + TW_IV_SIZE == TW_SETUP_RESPONSE_SIZE, "Set-Up-Response");

/* Server-Start (RFC 4656 section 3.1); it has no HMAC field. */
enum {
    START_ACCEPT = 15,
    START_SERVER_IV = 16,
    START_START_TIME = 32,
    START_MBZ = 40, /* 8 octets */
};
_Static_assert(START_MBZ + 8 == TW_SERVER_START_SIZE, "Server-Start");

/* All commands: the number of the command; Start-N and Stop-N: the number of their SIDs. */
enum {
    COMMAND_NUMBER = 0,
    COMMAND_SIDS = 12,
};

/* Request-TW-Session (RFC 5357 section 3.5); the last but one pair of octets since RFC 6038. */
enum {
    REQUEST_IPVN = 1, /* low nibble */
    REQUEST_CONF_SENDER = 2,
    REQUEST_CONF_RECEIVER = 3,
    REQUEST_SCHEDULE_SLOTS = 4,
    REQUEST_PACKETS = 8,
    REQUEST_SENDER_PORT = 12,
    REQUEST_RECEIVER_PORT = 14,
    REQUEST_SENDER_ADDRESS = 16,
    REQUEST_RECEIVER_ADDRESS = 32,
    REQUEST_SID = 48,
    REQUEST_PADDING_LENGTH = 64,
    REQUEST_START_TIME = 68,
    REQUEST_TIMEOUT = 76,
    REQUEST_TYPE_P = 84,
    REQUEST_REFLECT_OCTETS = 88,
    REQUEST_REFLECT_LENGTH = 90,
    REQUEST_HMAC = 96,
};
_Static_assert(REQUEST_HMAC + TW_HMAC_SIZE == TW_REQUEST_SIZE, "Request-TW-Session");

/* Accept-Session (RFC 5357 section 3.5, RFC 6038 section 4.2). */
enum {
    ACCEPT_ACCEPT = 0,
    ACCEPT_PORT = 2,
    ACCEPT_SID = 4,
    ACCEPT_REFLECTED_OCTETS = 20,
    ACCEPT_SERVER_OCTETS = 22,
    ACCEPT_HMAC = 32,
};
_Static_assert(ACCEPT_HMAC + TW_HMAC_SIZE == TW_ACCEPT_SESSION_SIZE, "Accept-Session");

/* Start-Sessions and Start-Ack (RFC 4656 section 3.7). */
enum {
    START_ACK_ACCEPT = 0,
    START_SESSIONS_HMAC = 16,
};
_Static_assert(START_SESSIONS_HMAC + TW_HMAC_SIZE == TW_START_SESSIONS_SIZE, "Start-Sessions");
_Static_assert(START_SESSIONS_HMAC + TW_HMAC_SIZE == TW_START_ACK_SIZE, "Start-Ack");

/* Stop-Sessions (RFC 5357 section 3.8). */
enum {
    STOP_ACCEPT = 1,
    STOP_SESSIONS = 4,
    STOP_HMAC = 16,
};
_Static_assert(STOP_HMAC + TW_HMAC_SIZE == TW_STOP_SESSIONS_SIZE, "Stop-Sessions");

const char *tw_accept_text(uint8_t accept)
{
    switch (accept) {
    case TW_ACCEPT_OK:
        return "accepted";
    case TW_ACCEPT_FAILURE:
        return "failure, reason unspecified";
    case TW_ACCEPT_INTERNAL_ERROR:
        return "internal error";
    case TW_ACCEPT_UNSUPPORTED:
        return "some aspect of the request is not supported";
    case TW_ACCEPT_PERMANENT_LIMIT:
        return "permanent resource limitation";
    case TW_ACCEPT_TEMPORARY_LIMIT:
        return "temporary resource limitation";
    default:
        return "failure, unknown reason";
    }
}

void tw_put_greeting(uint8_t *out, const struct tw_greeting *message)
{
    memset(out, 0, TW_GREETING_SIZE);
    tw_put32(out + GREETING_MODES, message->modes);
    memcpy(out + GREETING_CHALLENGE, message->challenge, sizeof message->challenge);
    memcpy(out + GREETING_SALT, message->salt, sizeof message->salt);
    tw_put32(out + GREETING_COUNT, message->count);
}

enum tw_result tw_get_greeting(const uint8_t *in, size_t n, struct tw_greeting *message)
{
    if (n < TW_GREETING_SIZE)
        return TW_ERR_SHORT;
    message->modes = tw_get32(in + GREETING_MODES);
    memcpy(message->challenge, in + GREETING_CHALLENGE, sizeof message->challenge);
    memcpy(message->salt, in + GREETING_SALT, sizeof message->salt);
    message->count = tw_get32(in + GREETING_COUNT);
    return TW_OK;
}

void tw_put_setup_response(uint8_t *out, const struct tw_setup_response *message)
{
    tw_put32(out + SETUP_MODE, message->mode);
    memcpy(out + SETUP_KEYID, message->keyid, sizeof message->keyid);
    memcpy(out + SETUP_TOKEN, message->token, sizeof message->token);
    memcpy(out + SETUP_CLIENT_IV, message->client_iv, sizeof message->client_iv);
}

enum tw_result tw_get_setup_response(const uint8_t *in, size_t n, struct tw_setup_response *message)
{
    if (n < TW_SETUP_RESPONSE_SIZE)
        return TW_ERR_SHORT;
    message->mode = tw_get32(in + SETUP_MODE);
    memcpy(message->keyid, in + SETUP_KEYID, sizeof message->keyid);
    memcpy(message->token, in + SETUP_TOKEN, sizeof message->token);
    memcpy(message->client_iv, in + SETUP_CLIENT_IV, sizeof message->client_iv);
    return TW_OK;
}

void tw_put_server_start(uint8_t *out, const struct tw_server_start *message)
{
    memset(out, 0, TW_SERVER_START_SIZE);
    out[START_ACCEPT] = message->accept;
    memcpy(out + START_SERVER_IV, message->server_iv, sizeof message->server_iv);
    tw_put64(out + START_START_TIME, message->start_time);
}

enum tw_result tw_get_server_start(const uint8_t *in, size_t n, struct tw_server_start *message)
{
    if (n < TW_SERVER_START_SIZE)
        return TW_ERR_SHORT;
    message->accept = in[START_ACCEPT];
    memcpy(message->server_iv, in + START_SERVER_IV, sizeof message->server_iv);
    message->start_time = tw_get64(in + START_START_TIME);
    return TW_OK;
}

/* Of the 16 octets of an address field an IPv4 address takes four, the others are MBZ. */
static size_t address_size(uint8_t ipvn)
{
    return ipvn == 4 ? 4 : 16;
}

void tw_put_request(uint8_t *out, const struct tw_request *message)
{
    const size_t address = address_size(message->ipvn);
    memset(out, 0, TW_REQUEST_SIZE);
    out[COMMAND_NUMBER] = TW_COMMAND_REQUEST_TW_SESSION;
    out[REQUEST_IPVN] = message->ipvn & 0x0f;
    out[REQUEST_CONF_SENDER] = message->conf_sender;
    out[REQUEST_CONF_RECEIVER] = message->conf_receiver;
    tw_put32(out + REQUEST_SCHEDULE_SLOTS, message->schedule_slots);
    tw_put32(out + REQUEST_PACKETS, message->packets);
    tw_put16(out + REQUEST_SENDER_PORT, message->sender_port);
    tw_put16(out + REQUEST_RECEIVER_PORT, message->receiver_port);
    memcpy(out + REQUEST_SENDER_ADDRESS, message->sender_address, address);
    memcpy(out + REQUEST_RECEIVER_ADDRESS, message->receiver_address, address);
    memcpy(out + REQUEST_SID, message->sid, sizeof message->sid);
    tw_put32(out + REQUEST_PADDING_LENGTH, message->padding_length);
    tw_put64(out + REQUEST_START_TIME, message->start_time);
    tw_put64(out + REQUEST_TIMEOUT, message->timeout);
    tw_put32(out + REQUEST_TYPE_P, message->type_p);
    tw_put16(out + REQUEST_REFLECT_OCTETS, message->reflect_octets);
    tw_put16(out + REQUEST_REFLECT_LENGTH, message->reflect_length);
}

enum tw_result tw_get_request(const uint8_t *in, size_t n, struct tw_request *message)
{
    if (n < TW_REQUEST_SIZE)
        return TW_ERR_SHORT;
    memset(message, 0, sizeof *message);
    message->ipvn = in[REQUEST_IPVN] & 0x0f;
    const size_t address = address_size(message->ipvn);
    message->conf_sender = in[REQUEST_CONF_SENDER];
    message->conf_receiver = in[REQUEST_CONF_RECEIVER];
    message->schedule_slots = tw_get32(in + REQUEST_SCHEDULE_SLOTS);
    message->packets = tw_get32(in + REQUEST_PACKETS);
    message->sender_port = tw_get16(in + REQUEST_SENDER_PORT);
    message->receiver_port = tw_get16(in + REQUEST_RECEIVER_PORT);
    memcpy(message->sender_address, in + REQUEST_SENDER_ADDRESS, address);
    memcpy(message->receiver_address, in + REQUEST_RECEIVER_ADDRESS, address);
    memcpy(message->sid, in + REQUEST_SID, sizeof message->sid);
    message->padding_length = tw_get32(in + REQUEST_PADDING_LENGTH);
    message->start_time = tw_get64(in + REQUEST_START_TIME);
    message->timeout = tw_get64(in + REQUEST_TIMEOUT);
    message->type_p = tw_get32(in + REQUEST_TYPE_P);
    message->reflect_octets = tw_get16(in + REQUEST_REFLECT_OCTETS);
    message->reflect_length = tw_get16(in + REQUEST_REFLECT_LENGTH);
    return TW_OK;
}

void tw_put_accept_session(uint8_t *out, const struct tw_accept_session *message)
{
    memset(out, 0, TW_ACCEPT_SESSION_SIZE);
    out[ACCEPT_ACCEPT] = message->accept;
    tw_put16(out + ACCEPT_PORT, message->port);
    memcpy(out + ACCEPT_SID, message->sid, sizeof message->sid);
    tw_put16(out + ACCEPT_REFLECTED_OCTETS, message->reflected_octets);
    tw_put16(out + ACCEPT_SERVER_OCTETS, message->server_octets);
}

enum tw_result tw_get_accept_session(const uint8_t *in, size_t n, struct tw_accept_session *message)
{
    if (n < TW_ACCEPT_SESSION_SIZE)
        return TW_ERR_SHORT;
    message->accept = in[ACCEPT_ACCEPT];
    message->port = tw_get16(in + ACCEPT_PORT);
    memcpy(message->sid, in + ACCEPT_SID, sizeof message->sid);
    message->reflected_octets = tw_get16(in + ACCEPT_REFLECTED_OCTETS);
    message->server_octets = tw_get16(in + ACCEPT_SERVER_OCTETS);
    return TW_OK;
}

void tw_put_start_sessions(uint8_t *out)
{
    memset(out, 0, TW_START_SESSIONS_SIZE);
    out[COMMAND_NUMBER] = TW_COMMAND_START_SESSIONS;
}

void tw_put_start_ack(uint8_t *out, uint8_t accept)
{
    memset(out, 0, TW_START_ACK_SIZE);
    out[START_ACK_ACCEPT] = accept;
}

enum tw_result tw_get_start_ack(const uint8_t *in, size_t n, uint8_t *accept)
{
    if (n < TW_START_ACK_SIZE)
        return TW_ERR_SHORT;
    *accept = in[START_ACK_ACCEPT];
    return TW_OK;
}

void tw_put_stop_sessions(uint8_t *out, const struct tw_stop_sessions *message)
{
    memset(out, 0, TW_STOP_SESSIONS_SIZE);
    out[COMMAND_NUMBER] = TW_COMMAND_STOP_SESSIONS;
    out[STOP_ACCEPT] = message->accept;
    tw_put32(out + STOP_SESSIONS, message->sessions);
}

enum tw_result tw_get_stop_sessions(const uint8_t *in, size_t n, struct tw_stop_sessions *message)
{
    if (n < TW_STOP_SESSIONS_SIZE)
        return TW_ERR_SHORT;
    message->accept = in[STOP_ACCEPT];
    message->sessions = tw_get32(in + STOP_SESSIONS);
    return TW_OK;
}

size_t tw_command_size(const uint8_t head[TW_COMMAND_HEAD_SIZE])
{
    switch (head[COMMAND_NUMBER]) {
    case TW_COMMAND_START_SESSIONS:
        return TW_START_SESSIONS_SIZE;
    case TW_COMMAND_STOP_SESSIONS:
        return TW_STOP_SESSIONS_SIZE;
    case TW_COMMAND_REQUEST_TW_SESSION:
        return TW_REQUEST_SIZE;
    case TW_COMMAND_START_N_SESSIONS:
    case TW_COMMAND_STOP_N_SESSIONS: {
        const uint32_t sids = tw_get32(head + COMMAND_SIDS);
        if (sids == 0 || sids > TW_SIDS_MAX)
            return 0;
        return TW_COMMAND_HEAD_SIZE + (size_t)sids * TW_SID_SIZE + TW_HMAC_SIZE;
    }
    default:
        return 0;
    }
}

uint32_t tw_type_p_from_dscp(uint8_t dscp)
{
    return (uint32_t)(dscp & 0x3fu) << 24;
}

/* The low 24 bits are not looked at: DSCP is all that this program takes from a Type-P. */
int tw_type_p_to_dscp(uint32_t type_p)
{
    const uint32_t first = type_p >> 24;
    return first > 0x3f ? -1 : (int)first;
}

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
    CLEAR_DSCP_ECN_HEADER = 44, /* S-DSCP-ECN and two MBZ octets */
    SECURED_SENDER_HMAC = 32,
    SECURED_SENDER_HEADER = 48,
    SECURED_REFLECTOR_HMAC = 96,
    SECURED_REFLECTOR_HEADER = 112,
    /* RFC 7750 figure 4 has one octet more than RFC 6038, although its reply has three more. */
    CLEAR_DSCP_ECN_SENDER_MBZ = 28,
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
    if (symmetrical && dscp_ecn && !layout.secured)
        layout.sender_mbz = CLEAR_DSCP_ECN_SENDER_MBZ;
    else if (symmetrical)
        layout.sender_mbz = (uint16_t)(layout.reflector_header - layout.sender_header);
    return layout;
}

uint32_t tw_test_default_padding(uint32_t modes)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    return (uint32_t)(layout.reflector_header - layout.sender_header - layout.sender_mbz);
}

size_t tw_test_sender_size(uint32_t modes, uint32_t padding_length)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    const size_t header = (size_t)layout.sender_header + layout.sender_mbz;
    return padding_length > SIZE_MAX - header ? SIZE_MAX : header + padding_length;
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
    if ((modes & TW_MODE_DSCP_ECN) != 0 && n > at->sender_dscp_ecn)
        reply->sender_dscp_ecn = in[at->sender_dscp_ecn];
    return TW_OK;
}
