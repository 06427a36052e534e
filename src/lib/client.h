/* The Control-Client of TWAMP-Control: one control connection as a state machine (RFC 5357
 * section 3).
 *
 * The driver connects TCP and calls init; from then on octets and time go in, octets, events and
 * one deadline come out. Every wait has a limit, so that a silent server ends as an event. The
 * machine serves one question at a time: a request or a start is answered by an event before the
 * next may be asked. After TW_CLIENT_FAILED the driver closes the connection and the machine is
 * done. */
#ifndef TW_LIB_CLIENT_H
#define TW_LIB_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/channel.h"
#include "lib/client_sessions.h"
#include "lib/crypto.h"
#include "lib/keys.h"
#include "lib/quirk.h"
#include "lib/time.h"
#include "lib/wire.h"

struct tw_client_config {
    uint32_t mode;     /* the security bit wanted; never another one (RFC 4656 section 6.7) */
    uint32_t features; /* feature bits used if offered */
    int64_t step_ns;   /* longest wait for each answer of the server; > 0 */
    uint8_t keyid[TW_KEYID_SIZE]; /* UTF-8, zero padded; in modes with keys */
    uint32_t max_count; /* most PBKDF2 iterations done for a server; 0: TW_KEYS_COUNT_DEFAULT */
};

/* Where in the protocol something happened. */
#define TW_CLIENT_STEPS(X)                                                                         \
    X(TW_CLIENT_STEP_GREETING, "greeting")                                                         \
    X(TW_CLIENT_STEP_KEY, "key") /* waits for its own driver, without a limit */                   \
    X(TW_CLIENT_STEP_SET_UP, "set-up")                                                             \
    X(TW_CLIENT_STEP_IDLE, "idle")                                                                 \
    X(TW_CLIENT_STEP_REQUEST, "request")                                                           \
    X(TW_CLIENT_STEP_START, "start")                                                               \
    X(TW_CLIENT_STEP_TEST, "test")                                                                 \
    X(TW_CLIENT_STEP_STOP, "stop") /* RFC 5938 only: waits for Stop-N-Ack */                       \
    X(TW_CLIENT_STEP_CLOSED, "closed")

enum tw_client_step {
#define TW_CLIENT_STEP_ENUM(name, text) name,
    TW_CLIENT_STEPS(TW_CLIENT_STEP_ENUM)
#undef TW_CLIENT_STEP_ENUM
};

const char *tw_client_step_name(enum tw_client_step step);

#define TW_CLIENT_FAILURES(X)                                                                      \
    X(TW_CLIENT_TIMED_OUT, "no answer in time")                                                    \
    X(TW_CLIENT_ENDED, "the server closed the connection")                                         \
    X(TW_CLIENT_MODES_ZERO, "the server refuses service (Modes 0)")                                \
    X(TW_CLIENT_MODE_MISSING, "the server does not offer the wanted mode")                         \
    X(TW_CLIENT_REFUSED, "the server refused")                                                     \
    X(TW_CLIENT_COUNT, "the server wants an unacceptable number of PBKDF2 iterations")             \
    X(TW_CLIENT_KEY_REFUSED, "the server refused KeyID or secret")                                 \
    X(TW_CLIENT_HMAC, "the server's answer is not authentic")                                      \
    X(TW_CLIENT_UNEXPECTED, "the server sent what nobody asked for")

enum tw_client_failure {
#define TW_CLIENT_FAILURE_ENUM(name, text) name,
    TW_CLIENT_FAILURES(TW_CLIENT_FAILURE_ENUM)
#undef TW_CLIENT_FAILURE_ENUM
};

const char *tw_client_failure_text(enum tw_client_failure failure);

enum tw_client_event_type {
    TW_CLIENT_KEY,     /* derive a key from the secret: answer with tw_client_answer_key */
    TW_CLIENT_READY,   /* set up: requests are possible */
    TW_CLIENT_SESSION, /* answer to a request, whatever its Accept */
    TW_CLIENT_STARTED, /* Start-Ack with Accept 0: test packets may leave */
    TW_CLIENT_STOPPED, /* RFC 5938: all Stop-N-Acks are here */
    TW_CLIENT_FAILED,  /* close the connection */
};

struct tw_client_event {
    enum tw_client_event_type type;
    union {
        struct {
            const uint8_t *salt; /* TW_SALT_SIZE octets; valid until answered */
            uint32_t count;
        } key;
        struct {
            uint32_t offered;    /* Modes of the greeting */
            uint32_t mode;       /* what was chosen */
            uint64_t start_time; /* of the server, NTP: changes when it was restarted */
        } ready;
        struct tw_accept_session session; /* accept as received, any not 0 is a refusal; port
                                             filled in: 0 with a refusal and never else */
        struct {
            uint32_t refused; /* of the sessions asked to start or stop; not all of those to start,
                                 or it were a failure */
            uint8_t accept;   /* of the first of these */
        } acked;              /* STARTED, STOPPED; without RFC 5938 nothing is refused */
        struct {
            enum tw_client_failure failure;
            enum tw_client_step step;
            uint8_t accept; /* with TW_CLIENT_REFUSED and TW_CLIENT_KEY_REFUSED, as received */
        } failed;
    };
};

/* Octets of the longest messages, that name all sessions; nothing is asked while another question
 * waits to be sent, and before it only a Stop-Sessions may. */
enum {
    TW_CLIENT_IN = 2 * TW_COMMAND_HEAD_SIZE + TW_CLIENT_SESSIONS_MAX * TW_SID_SIZE,
    TW_CLIENT_OUT = TW_CLIENT_IN,
};

/* Must not be moved once it is used. */
struct tw_client {
    struct tw_channel channel;
    uint8_t in[TW_CLIENT_IN]; /* this and the next are the channel's */
    uint8_t out[TW_CLIENT_OUT];
    const struct tw_client_config *config; /* outlives the machine */
    enum tw_client_step step;
    uint32_t offered, mode;
    struct tw_client_sessions sessions; /* those accepted, not stopped */
    uint16_t requested_port;            /* receiver port of the open request */
    uint16_t requested_octets;          /* its Octets to be reflected (RFC 6038) */
    struct tw_greeting greeting;
    uint8_t client_iv[TW_IV_SIZE];
    struct tw_keys keys; /* of the connection, in modes that have them */
    uint32_t quirks;     /* enum tw_quirk, shown by this server so far */
    bool unasked; /* the message under way began before the question: it cannot be the answer */
    tw_mono deadline;
    struct tw_client_event event;
    bool event_pending;
};

/* `ciphers` outlive the machine, which wipes them; NULL in modes without keys. */
void tw_client_init(struct tw_client *client, const struct tw_client_config *config,
                    struct tw_channel_ciphers *ciphers, tw_mono now);

/* As for tw_server: room 0 = do not read now. While idle, testing or waiting for a key the room is
 * never 0, so that the end of the connection is seen; what a server says then is skipped if it is
 * an authentic OWAMP-like Stop-Sessions and fatal otherwise. */
uint8_t *tw_client_input(struct tw_client *client, size_t *room);
void tw_client_received(struct tw_client *client, size_t n, tw_mono now);

/* The server closed or reset the connection: becomes TW_CLIENT_FAILED, unless already closed. */
void tw_client_end(struct tw_client *client);

const uint8_t *tw_client_output(const struct tw_client *client, size_t *n);
void tw_client_sent(struct tw_client *client, size_t n, tw_mono now);

/* TW_NEVER if none. */
tw_mono tw_client_deadline(const struct tw_client *client);
void tw_client_expire(struct tw_client *client, tw_mono now);

/* False when there is none. TW_CLIENT_FAILED replaces an event that has not been taken. */
bool tw_client_next_event(struct tw_client *client, struct tw_client_event *event);

/* Answers TW_CLIENT_KEY with the key derived from the secret (tw_derive_key). `random` gives the
 * session keys and Client-IV. TW_ERR_STATE when nothing was asked. */
TW_MUST_CHECK enum tw_result tw_client_answer_key(struct tw_client *client,
                                                  const uint8_t derived[TW_AES_KEY_SIZE],
                                                  struct tw_random *random, tw_mono now);

/* The keys of a session with that SID, for tw_protection_init. False when the mode chosen does not
 * protect test packets; `keys` is then not written. */
bool tw_client_session_keys(const struct tw_client *client, const uint8_t sid[TW_SID_SIZE],
                            struct tw_keys *keys);

/* Forgets all keys; for the driver when it is done with the machine. */
void tw_client_wipe(struct tw_client *client);

/* Ask for a session: when idle only (with RFC 5938 also while testing), all events are taken and
 * there are less than TW_CLIENT_SESSIONS_MAX, else TW_ERR_STATE. Fields that TWAMP
 * fixes (Conf-*, slots, packets, SID; the two of RFC 6038 unless it was chosen) are sent as zero
 * whatever `request` holds. With receiver_port 0 the server chooses: if it then names none,
 * that is TW_CLIENT_UNEXPECTED. */
TW_MUST_CHECK enum tw_result tw_client_request(struct tw_client *client,
                                               const struct tw_request *request, tw_mono now);

/* Start all accepted sessions that are not started: when idle (with RFC 5938 also while testing),
 * all events are taken and there is such a session, else TW_ERR_STATE. */
TW_MUST_CHECK enum tw_result tw_client_start(struct tw_client *client, tw_mono now);

/* Stop all started sessions: when testing and, with RFC 5938, nothing else is awaited and all
 * events are taken, else TW_ERR_STATE. `accept` not 0: the results are invalid (RFC 5938 has no
 * place for it). Idle again at once, since the server does not answer; with RFC 5938 STOPPED
 * follows. */
TW_MUST_CHECK enum tw_result tw_client_stop(struct tw_client *client, enum tw_accept accept,
                                            tw_mono now);

/* The same for the one session with that SID; only where RFC 5938 was chosen, else TW_ERR_STATE, as
 * for a session in the wrong state. */
TW_MUST_CHECK enum tw_result tw_client_start_one(struct tw_client *client,
                                                 const uint8_t sid[TW_SID_SIZE], tw_mono now);
TW_MUST_CHECK enum tw_result tw_client_stop_one(struct tw_client *client,
                                                const uint8_t sid[TW_SID_SIZE], tw_mono now);

#endif
