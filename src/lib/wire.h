/* Every message of TWAMP-Control and every packet of TWAMP-Test: the fields, the offsets, put and
 * get.
 *
 * Nothing here knows a state or a key. Put functions write every octet of the message, MBZ fields
 * as zero; get functions check the length alone, ignore MBZ and leave judging values to the
 * machines. Cryptography is applied to these octets by channel.h and protection.h.
 *
 * Glossary (the RFCs' terms, used everywhere in this project):
 *
 *   Control-Client, Server     the ends of the TCP control connection (RFC 5357 section 1.2)
 *   Session-Sender, -Reflector the ends of a test session over UDP
 *   SID                        session identifier, 16 octets, made by the Server
 *   T1, T2                     departure from the sender, arrival at the reflector
 *   T3, T4                     departure from the reflector, arrival at the sender
 *   forward, reverse           from sender to reflector, from reflector to sender
 *   SERVWAIT, REFWAIT          idle limit of a control connection, of a session
 *   Type-P                     what kind of packet: here, its DSCP
 *   PL, R                      Padding Length; so much of it is to be reflected (RFC 6038)
 *   Hs, Hr, D                  size of the sender's header, of the reflector's; Hr - Hs */
#ifndef TW_LIB_WIRE_H
#define TW_LIB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/result.h"
#include "lib/time.h"

/* Modes field of Server-Greeting and Set-Up-Response (RFC 5357, 5618, 5938, 6038, 7717, 7750,
 * 8186). */
#define TW_MODE_UNAUTHENTICATED UINT32_C(0x001)
#define TW_MODE_AUTHENTICATED   UINT32_C(0x002)
#define TW_MODE_ENCRYPTED       UINT32_C(0x004)
#define TW_MODE_MIXED           UINT32_C(0x008)
#define TW_MODE_SESSION_CONTROL UINT32_C(0x010)
#define TW_MODE_REFLECT_OCTETS  UINT32_C(0x020)
#define TW_MODE_SYMMETRICAL     UINT32_C(0x040)
#define TW_MODE_IKEV2           UINT32_C(0x080)
#define TW_MODE_DSCP_ECN        UINT32_C(0x100)
#define TW_MODE_PTP             UINT32_C(0x200)
#define TW_MODE_SECURITY        UINT32_C(0x00f) /* exactly one of these is chosen */
#define TW_MODE_FEATURES        UINT32_C(0x3f0)

/* Accept values (RFC 4656 section 3.3). Any other is treated as TW_ACCEPT_FAILURE. */
enum tw_accept {
    TW_ACCEPT_OK = 0,
    TW_ACCEPT_FAILURE = 1,
    TW_ACCEPT_INTERNAL_ERROR = 2,
    TW_ACCEPT_UNSUPPORTED = 3,
    TW_ACCEPT_PERMANENT_LIMIT = 4,
    TW_ACCEPT_TEMPORARY_LIMIT = 5,
};

/* In words, for people; never NULL. Takes the octet as received. */
const char *tw_accept_text(uint8_t accept);

/* First octet of a command (RFC 5357 section 8.3, RFC 5938). */
enum tw_command {
    TW_COMMAND_START_SESSIONS = 2,
    TW_COMMAND_STOP_SESSIONS = 3,
    TW_COMMAND_REQUEST_TW_SESSION = 5,
    TW_COMMAND_START_N_SESSIONS = 7,
    TW_COMMAND_START_N_ACK = 8,
    TW_COMMAND_STOP_N_SESSIONS = 9,
    TW_COMMAND_STOP_N_ACK = 10,
};

enum {
    TW_GREETING_SIZE = 64,
    TW_SETUP_RESPONSE_SIZE = 164,
    TW_SERVER_START_SIZE = 48,
    TW_REQUEST_SIZE = 112,
    TW_ACCEPT_SESSION_SIZE = 48,
    TW_START_SESSIONS_SIZE = 32,
    TW_START_ACK_SIZE = 32,
    TW_STOP_SESSIONS_SIZE = 32,
    TW_COMMAND_HEAD_SIZE = 16, /* type and length of any command are known after these octets */
    TW_SID_SIZE = 16,
    TW_KEYID_SIZE = 80,
    TW_TOKEN_SIZE = 64,
    TW_IV_SIZE = 16,
    TW_CHALLENGE_SIZE = 16,
    TW_SALT_SIZE = 16,
    TW_HMAC_SIZE = 16,
    TW_SIDS_MAX = 128, /* most SIDs taken in one Start-N or Stop-N message */
    TW_UDP_PAYLOAD_MAX = 65507,
};

struct tw_greeting {
    uint32_t modes; /* 0: the server refuses service */
    uint8_t challenge[TW_CHALLENGE_SIZE];
    uint8_t salt[TW_SALT_SIZE];
    uint32_t count; /* PBKDF2 iterations */
};

struct tw_setup_response {
    uint32_t mode; /* 0: the client quits */
    uint8_t keyid[TW_KEYID_SIZE];
    uint8_t token[TW_TOKEN_SIZE];
    uint8_t client_iv[TW_IV_SIZE];
};

struct tw_server_start {
    uint8_t accept;
    uint8_t server_iv[TW_IV_SIZE];
    uint64_t start_time; /* NTP; 0 when accept is not 0 */
};

struct tw_request {
    uint8_t ipvn; /* 4 or 6 */
    uint8_t conf_sender;
    uint8_t conf_receiver;
    uint32_t schedule_slots;
    uint32_t packets;
    uint16_t sender_port;
    uint16_t receiver_port;
    uint8_t sender_address[16]; /* IPv4 in the first four octets; all zero: the connection's */
    uint8_t receiver_address[16];
    uint8_t sid[TW_SID_SIZE];
    uint32_t padding_length;
    uint64_t start_time;
    uint64_t timeout; /* 32.32 s, see tw_interval_to_ns */
    uint32_t type_p;  /* DSCP in the low six bits of the first octet, see tw_type_p_from_dscp */
    uint16_t reflect_octets;
    uint16_t reflect_length;
};

struct tw_accept_session {
    uint8_t accept;
    uint16_t port; /* 0 when accept is not 0 */
    uint8_t sid[TW_SID_SIZE];
    uint16_t reflected_octets;
    uint16_t server_octets;
};

struct tw_stop_sessions {
    uint8_t accept;
    uint32_t sessions;
};

/* Start-N-Sessions, Start-N-Ack, Stop-N-Sessions and Stop-N-Ack (RFC 5938): this head, then `count`
 * SIDs, then the HMAC. */
struct tw_sids_head {
    uint8_t command; /* enum tw_command */
    uint8_t accept;  /* of an acknowledgment, else MBZ */
    uint32_t count;
};

/* Octets of such a message; count <= TW_SIDS_MAX. */
size_t tw_sids_size(uint32_t count);

/* `out` has the size of the message. */
void tw_put_greeting(uint8_t *out, const struct tw_greeting *message);
void tw_put_setup_response(uint8_t *out, const struct tw_setup_response *message);
void tw_put_server_start(uint8_t *out, const struct tw_server_start *message);
void tw_put_request(uint8_t *out, const struct tw_request *message);
void tw_put_accept_session(uint8_t *out, const struct tw_accept_session *message);
void tw_put_start_sessions(uint8_t *out);
void tw_put_start_ack(uint8_t *out, uint8_t accept);
void tw_put_stop_sessions(uint8_t *out, const struct tw_stop_sessions *message);
void tw_put_sids(uint8_t *out, const struct tw_sids_head *head, const uint8_t *sids);

/* TW_ERR_SHORT when n is less than the message's size, and nothing is written. */
TW_MUST_CHECK enum tw_result tw_get_greeting(const uint8_t *in, size_t n, struct tw_greeting *);
TW_MUST_CHECK enum tw_result tw_get_setup_response(const uint8_t *in, size_t n,
                                                   struct tw_setup_response *);
TW_MUST_CHECK enum tw_result tw_get_server_start(const uint8_t *in, size_t n,
                                                 struct tw_server_start *);
TW_MUST_CHECK enum tw_result tw_get_request(const uint8_t *in, size_t n, struct tw_request *);
TW_MUST_CHECK enum tw_result tw_get_accept_session(const uint8_t *in, size_t n,
                                                   struct tw_accept_session *);
TW_MUST_CHECK enum tw_result tw_get_start_ack(const uint8_t *in, size_t n, uint8_t *accept);
TW_MUST_CHECK enum tw_result tw_get_stop_sessions(const uint8_t *in, size_t n,
                                                  struct tw_stop_sessions *);

/* The first TW_COMMAND_HEAD_SIZE octets of such a message; the SIDs follow them. Count is as
 * received: bound it before use. */
struct tw_sids_head tw_get_sids_head(const uint8_t in[TW_COMMAND_HEAD_SIZE]);

/* Octets of the command that begins with these TW_COMMAND_HEAD_SIZE octets, its HMAC included; 0
 * when the length cannot be known or exceeds TW_SIDS_MAX SIDs, so that the stream is lost. */
size_t tw_command_size(const uint8_t head[TW_COMMAND_HEAD_SIZE]);

/* Type-P Descriptor (RFC 5357 section 3.5): 00, six bits of DSCP, 24 zero bits. */
uint32_t tw_type_p_from_dscp(uint8_t dscp);

/* -1 when the two top bits say that it is not a DSCP. */
int tw_type_p_to_dscp(uint32_t type_p);

/* Sizes of TWAMP-Test packets for the modes of a connection (security bit and features). */
struct tw_test_layout {
    uint16_t sender_header;    /* Hs: 14 or 48 */
    uint16_t reflector_header; /* Hr: 41, 44 or 112 */
    uint16_t sender_mbz;       /* zero octets between sender header and padding (RFC 6038) */
    uint16_t sender_ttl;       /* offset of Sender TTL in a reply */
    bool secured;              /* authenticated or encrypted layout */
};

struct tw_test_layout tw_test_layout(uint32_t modes);

/* Padding that makes both directions equally long: 27, 30 or 64; less with Symmetrical Size. */
uint32_t tw_test_default_padding(uint32_t modes);

/* Octets of a sender packet's padding for which a reply that is as long has no room (RFC 6038
 * section 4.2): D, by the shorter of the two headers that RFC 7750 can mean; 27, 28 or 64. 0 with
 * Symmetrical Size, where they are no padding. */
uint32_t tw_test_truncation(uint32_t modes);

/* Octets of UDP payload of a sender packet with PL octets of padding. */
size_t tw_test_sender_size(uint32_t modes, uint32_t padding_length);

/* Octets of the reply to a sender packet of n octets: as many, but never less than Hr. Of RFC 7750,
 * which counts its header in two ways, both are met: 42 and 43 octets are answered with as many. */
size_t tw_test_reply_size(uint32_t modes, size_t n);

/* Where Packet Padding begins in the replies of a session whose request asked for PL octets of
 * padding, R of them to be reflected (TW_MODE_REFLECT_OCTETS): at Hr. Where RFC 7750 leaves room
 * for all R octets only behind a header of 42 octets (PL is 28 + R or 29 + R, with Symmetrical Size
 * R or R + 1), that one is meant. */
size_t tw_test_reply_padding(uint32_t modes, uint32_t padding_length, uint16_t reflect_length);

/* The header of a sender packet, unauthenticated or secured layout (RFC 5357 section 4.1.2). */
struct tw_test_packet {
    uint32_t sequence;
    struct tw_stamp stamp; /* T1 */
};

/* The header of a reply (RFC 5357 section 4.2.1). */
struct tw_test_reply {
    uint32_t sequence;
    struct tw_stamp stamp; /* T3; its error covers T2 as well */
    uint64_t receive;      /* T2, in the format that stamp.error tells */
    uint32_t sender_sequence;
    struct tw_stamp sender_stamp; /* copies, bit for bit */
    uint8_t sender_ttl;
    bool sender_ttl_known;      /* false in a 38-octet reply, which some routers send */
    uint8_t sender_dscp_ecn;    /* RFC 7750 */
    bool sender_dscp_ecn_known; /* the modes have it and the reply is long enough */
};

/* Octets that every reply must have to be used. What follows them, Sender TTL and the MBZ before
 * it, some routers leave out. */
enum { TW_TEST_REPLY_MIN = 38 };

/* Clear headers; padding is not touched. `out` has room for the header (Hs, Hr). */
void tw_put_test_packet(uint8_t *out, uint32_t modes, const struct tw_test_packet *);
void tw_put_test_reply(uint8_t *out, uint32_t modes, const struct tw_test_reply *);

/* Only the stamp, in place: written as late as possible. */
void tw_put_test_stamp(uint8_t *out, uint32_t modes, struct tw_stamp stamp);

/* Only T2 of a clear reply, which has a whole header. */
uint64_t tw_get_test_receive(const uint8_t *reply, uint32_t modes);

TW_MUST_CHECK enum tw_result tw_get_test_packet(const uint8_t *in, size_t n, uint32_t modes,
                                                struct tw_test_packet *);
TW_MUST_CHECK enum tw_result tw_get_test_reply(const uint8_t *in, size_t n, uint32_t modes,
                                               struct tw_test_reply *);

#endif
