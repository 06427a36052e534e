/* The Server of TWAMP-Control: one control connection as a state machine (RFC 5357 section 3).
 *
 * Octets and time go in; octets, events and one deadline come out. The machine judges everything
 * that the message and its own state decide; what depends on the daemon (addresses, ports, limits,
 * starting the reflectors) it asks for as an event, and reads nothing more from the connection
 * until the answer is given. It keeps no session, only their number: the driver owns sessions and
 * tells when the last started one has ended by REFWAIT.
 *
 * Use: init, then for ever { write output(); read into input() if room; received(); take
 * all next_event(); arm deadline(); expire() when it has passed }. After TW_SERVER_CLOSE the driver
 * closes the connection; its sessions, if any were started, stop as tw_reflector_stop says, but end
 * at once if the reason is TW_SERVER_CLOSE_STOP_COUNT. When TCP ends by itself the driver does the
 * same and needs to tell nobody. */
#ifndef TW_LIB_SERVER_H
#define TW_LIB_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/channel.h"
#include "lib/crypto.h"
#include "lib/keys.h"
#include "lib/quirk.h"
#include "lib/time.h"
#include "lib/wire.h"

struct tw_server_config {
    uint32_t modes; /* offered, security and features; 0 refuses service: greeting with Modes 0,
                       then close */
    uint32_t count; /* PBKDF2 iterations offered */
    uint8_t salt[TW_SALT_SIZE]; /* with the keys of all KeyIDs already derived for it */
    uint64_t start_time;        /* NTP; when this daemon started, the same for all connections */
    int64_t servwait_ns;        /* SERVWAIT; idle limit while no session runs. 0 = no limit */
    int64_t stall_ns;           /* from greeting to response, and inside a message; > 0 */
    uint32_t max_payload;   /* octets of UDP payload; a request for larger packets gets Accept 3;
                               0 = no limit but UDP's */
    int64_t max_timeout_ns; /* a larger Timeout gets Accept 3; 0 = no limit */
    bool strict_stop;       /* a wrong count in Stop-Sessions always closes, 0 as well */
};

/* Why the machine ends the connection; the names are reason codes in the daemon's status. In a
 * secured mode a command whose length cannot be known, or that has a number of SIDs out of bounds,
 * is authentic only if it is one of the shortest, of 32 octets. */
#define TW_SERVER_CLOSE_REASONS(X)                                                                 \
    X(TW_SERVER_CLOSE_REFUSED, "refused")         /* configured: Modes 0 was sent */               \
    X(TW_SERVER_CLOSE_SERVWAIT, "servwait")       /* idle for too long */                          \
    X(TW_SERVER_CLOSE_STALLED, "stalled")         /* set-up or a message never completed */        \
    X(TW_SERVER_CLOSE_CLIENT_QUIT, "client-quit") /* Mode 0 in Set-Up-Response */                  \
    X(TW_SERVER_CLOSE_MODE, "mode")               /* a mode that was not offered */                \
    X(TW_SERVER_CLOSE_KEY, "key")                 /* unknown KeyID or wrong secret */              \
    X(TW_SERVER_CLOSE_HMAC, "hmac")               /* a command that is not authentic */            \
    X(TW_SERVER_CLOSE_UNKNOWN_COMMAND, "unknown-command") /* of unknown length */                  \
    X(TW_SERVER_CLOSE_SCHEDULE_SLOTS, "schedule-slots")   /* request announces slots */            \
    X(TW_SERVER_CLOSE_STOP_COUNT, "stop-count")           /* Stop-Sessions with a wrong number */

enum tw_server_close_reason {
#define TW_SERVER_CLOSE_ENUM(name, text) name,
    TW_SERVER_CLOSE_REASONS(TW_SERVER_CLOSE_ENUM)
#undef TW_SERVER_CLOSE_ENUM
};

const char *tw_server_close_reason_name(enum tw_server_close_reason reason);

/* Why the machine itself answered a command with an Accept other than 0. */
#define TW_SERVER_REJECT_REASONS(X)                                                                \
    X(TW_SERVER_REJECT_COMMAND, "command") /* not legal now, or not negotiated */                  \
    X(TW_SERVER_REJECT_ROLE, "role")       /* Conf-Sender or Conf-Receiver not 0 */                \
    X(TW_SERVER_REJECT_IPVN, "ipvn")                                                               \
    X(TW_SERVER_REJECT_SENDER_PORT, "sender-port") /* 0 */                                         \
    X(TW_SERVER_REJECT_PADDING, "padding")         /* packets too large */                         \
    X(TW_SERVER_REJECT_TIMEOUT, "timeout")         /* larger than configured */                    \
    X(TW_SERVER_REJECT_TYPE_P, "type-p")           /* not a DSCP */                                \
    X(TW_SERVER_REJECT_REFLECT, "reflect-octets")  /* padding too short for them (RFC 6038) */     \
    X(TW_SERVER_REJECT_SID, "sid") /* of a Start-N or Stop-N: not a session in the right state */  \
    X(TW_SERVER_REJECT_SLOTS, "schedule-slots")                                                    \
    X(TW_SERVER_REJECT_NO_SESSION, "no-session") /* Start-Sessions without an accepted session */

enum tw_server_reject_reason {
#define TW_SERVER_REJECT_ENUM(name, text) name,
    TW_SERVER_REJECT_REASONS(TW_SERVER_REJECT_ENUM)
#undef TW_SERVER_REJECT_ENUM
};

const char *tw_server_reject_reason_name(enum tw_server_reject_reason reason);

enum tw_server_event_type {
    TW_SERVER_KEY,     /* the client names a KeyID: answer with tw_server_answer_key */
    TW_SERVER_SET_UP,  /* the client chose `mode`; service begins */
    TW_SERVER_REQUEST, /* a session is asked for: answer with tw_server_answer_session */
    TW_SERVER_START,   /* start all accepted sessions, then tw_server_answer_start */
    TW_SERVER_STOP,    /* stop all started sessions; no answer */
    TW_SERVER_START_N, /* RFC 5938: start these, then tw_server_answer_sids */
    TW_SERVER_STOP_N,  /* RFC 5938: stop these, then tw_server_answer_sids */
    TW_SERVER_REJECT,  /* for log and count: the machine answered by itself, or some SIDs were
                          refused */
    TW_SERVER_CLOSE,   /* close the connection now: all output has been taken */
};

struct tw_server_event {
    enum tw_server_event_type type;
    union {
        const uint8_t *keyid;      /* KEY: TW_KEYID_SIZE octets; valid until answered */
        uint32_t mode;             /* SET_UP */
        struct tw_request request; /* REQUEST */
        struct {
            const uint8_t *at; /* START_N, STOP_N: `count` SIDs of TW_SID_SIZE octets, none twice;
                                  valid until answered */
            uint32_t count;    /* 1 to TW_SIDS_MAX */
        } sids;
        struct {
            uint8_t accept;  /* as the client sent it: not 0 = it holds the results invalid */
            bool zero_count; /* count 0 tolerated, see strict_stop */
        } stop;
        struct {
            enum tw_server_reject_reason reason;
            uint8_t command;
            uint8_t accept; /* as answered; of several the smallest */
        } reject;
        enum tw_server_close_reason close;
    };
};

enum tw_server_state {
    TW_SERVER_STATE_GREETING, /* waits for Set-Up-Response */
    TW_SERVER_STATE_IDLE,     /* set up, no test runs */
    TW_SERVER_STATE_ASKED,    /* waits for the driver's answer */
    TW_SERVER_STATE_TESTING,  /* between Start-Sessions and Stop-Sessions */
    TW_SERVER_STATE_CLOSING,  /* last output is being taken */
    TW_SERVER_STATE_CLOSED,
};

enum {
    TW_SERVER_IN = 2 * TW_COMMAND_HEAD_SIZE + TW_SIDS_MAX * TW_SID_SIZE,
    /* every SID of the longest command acknowledged in messages of its own for each Accept value */
    TW_SERVER_OUT = 2 * TW_COMMAND_HEAD_SIZE * 6 + TW_SIDS_MAX * TW_SID_SIZE,
};

/* Must not be moved once it is used. */
struct tw_server {
    struct tw_channel channel;
    uint8_t in[TW_SERVER_IN]; /* this and the next two are the channel's */
    uint8_t out[TW_SERVER_OUT];
    struct tw_channel_ciphers ciphers;
    const struct tw_server_config *config; /* outlives the machine */
    enum tw_server_state state;
    enum tw_server_event_type question; /* in ASKED */
    enum tw_server_close_reason close_reason;
    uint32_t mode;     /* chosen by the client: one security bit and features; 0 until set up */
    uint32_t accepted; /* sessions accepted since the last Start-Sessions */
    uint32_t started;  /* sessions started and not stopped, REFWAIT or not */
    bool running;      /* a started session still reflects: SERVWAIT is suspended */
    tw_mono last;      /* last octet received, or the moment the idle time began */
    tw_mono message;   /* when the current message must be complete */
    struct tw_server_event event;
    bool event_pending;
    struct tw_request request; /* the one being asked about */
    uint32_t sids;             /* in START_N and STOP_N: SIDs asked about, in `in` */
    uint8_t challenge[TW_CHALLENGE_SIZE];
    uint8_t server_iv[TW_IV_SIZE];
    struct tw_setup_response response; /* while the key is asked for */
    struct tw_keys keys;               /* of the connection, in modes that have them */
    uint32_t quirks;                   /* enum tw_quirk, shown by this client so far */
};

/* Queues the greeting. `random` gives challenge and Server-IV and is used here only. */
void tw_server_init(struct tw_server *server, const struct tw_server_config *config,
                    struct tw_random *random, tw_mono now);

/* Read at most *room octets to the returned place; room 0 = do not read now. */
uint8_t *tw_server_input(struct tw_server *server, size_t *room);
void tw_server_received(struct tw_server *server, size_t n, tw_mono now);

const uint8_t *tw_server_output(const struct tw_server *server, size_t *n);
void tw_server_sent(struct tw_server *server, size_t n, tw_mono now);

/* TW_NEVER if none. */
tw_mono tw_server_deadline(const struct tw_server *server);
void tw_server_expire(struct tw_server *server, tw_mono now);

/* Events in order; false when there is none. A question (KEY, REQUEST, START, START_N, STOP_N) is
 * the last until it is answered. */
bool tw_server_next_event(struct tw_server *server, struct tw_server_event *event);

/* Answers TW_SERVER_KEY with the key derived (tw_derive_key) from the KeyID's secret and this
 * connection's salt. `known` false: there is no such KeyID and `derived` is a dummy's, so that the
 * work and the answer are those of a wrong secret (RFC 4656 section 6). TW_ERR_STATE when nothing
 * was asked. */
TW_MUST_CHECK enum tw_result tw_server_answer_key(struct tw_server *server,
                                                  const uint8_t derived[TW_AES_KEY_SIZE],
                                                  bool known, tw_mono now);

/* The keys of a session with that SID, for tw_protection_init. False when the mode chosen does not
 * protect test packets; `keys` is then not written. */
bool tw_server_session_keys(const struct tw_server *server, const uint8_t sid[TW_SID_SIZE],
                            struct tw_keys *keys);

/* Answers TW_SERVER_REQUEST. With accept 0, `port` is the reflector's real port, which must already
 * receive, and `sid` the session's identifier; otherwise port and sid are not looked at and zero is
 * sent. TW_ERR_STATE when nothing was asked. */
TW_MUST_CHECK enum tw_result tw_server_answer_session(struct tw_server *server,
                                                      enum tw_accept accept, uint16_t port,
                                                      const uint8_t sid[TW_SID_SIZE], tw_mono now);

/* Answers TW_SERVER_START; with accept 0 every accepted session must already reflect, with any
 * other none is left: they count no more. */
TW_MUST_CHECK enum tw_result tw_server_answer_start(struct tw_server *server, enum tw_accept accept,
                                                    tw_mono now);

/* Answers TW_SERVER_START_N or STOP_N: an Accept value for each SID, in the order of the event; 0:
 * it reflects now, or it is stopped. TW_ACCEPT_UNSUPPORTED for one that is unknown or in the wrong
 * state. */
TW_MUST_CHECK enum tw_result tw_server_answer_sids(struct tw_server *server, const uint8_t *accepts,
                                                   tw_mono now);

/* Forgets all keys and octets and is then closed without another word; for the driver when it is
 * done with the machine. */
void tw_server_wipe(struct tw_server *server);

/* No started session reflects any more, the last one having ended by REFWAIT, or by Stop-N after
 * REFWAIT had ended the others: SERVWAIT runs again (RFC 5357 section 3.1, RFC 5938 section 3.6).
 */
void tw_server_sessions_ended(struct tw_server *server, tw_mono now);

#endif
