/* The codec of TWAMP-Control: where each field of each message lies, and nothing else.
 *
 * For the Server and the Control-Client machine. It judges no value and applies no cryptography;
 * HMAC fields are written as zero, which is what the unauthenticated mode sends. Offsets are octets
 * from the start of the message; what lies between two named fields must be zero (MBZ). The packets
 * of TWAMP-Test are in wire_packet.c. */
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

/* All commands: the number of the command; Start-N, Stop-N and their acknowledgments (RFC 5938
 * sections 3.2 to 3.5): Accept, and the number of their SIDs, which follow from 16 on. */
enum {
    COMMAND_NUMBER = 0,
    COMMAND_ACCEPT = 1,
    COMMAND_SIDS = 12,
};

/* Request-TW-Session (RFC 5357 section 3.5); octets 88 to 91 are MBZ but for RFC 6038. */
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

size_t tw_sids_size(uint32_t count)
{
    return TW_COMMAND_HEAD_SIZE + (size_t)count * TW_SID_SIZE + TW_HMAC_SIZE;
}

void tw_put_sids(uint8_t *out, const struct tw_sids_head *head, const uint8_t *sids)
{
    const size_t size = (size_t)head->count * TW_SID_SIZE;
    memset(out, 0, TW_COMMAND_HEAD_SIZE);
    out[COMMAND_NUMBER] = head->command;
    out[COMMAND_ACCEPT] = head->accept;
    tw_put32(out + COMMAND_SIDS, head->count);
    memcpy(out + TW_COMMAND_HEAD_SIZE, sids, size);
    memset(out + TW_COMMAND_HEAD_SIZE + size, 0, TW_HMAC_SIZE);
}

struct tw_sids_head tw_get_sids_head(const uint8_t in[TW_COMMAND_HEAD_SIZE])
{
    return (struct tw_sids_head){
        .command = in[COMMAND_NUMBER],
        .accept = in[COMMAND_ACCEPT],
        .count = tw_get32(in + COMMAND_SIDS),
    };
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
        return tw_sids_size(sids);
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
