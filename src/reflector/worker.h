/* One thread of the test plane: test sockets, the sessions whose packets come in by them, batches.
 *
 * A worker alone touches its sessions' reflectors, finds them by the packet's 4-tuple, and tells
 * the main thread what became of an order by a report. In steady state it allocates nothing, locks
 * nothing and logs nothing: it counts. */
#ifndef TWD_WORKER_H
#define TWD_WORKER_H

#include <glib.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/reflector.h"
#include "lib/sys/udp.h"
#include "reflector/mailbox.h"
#include "reflector/timers.h"

/* Why a datagram got no answer, beyond the verdicts of lib/reflector.h; the names are reason codes
 * in the daemon's status. */
#define TWD_WORKER_DROPS(X)                                                                        \
    X(TWD_DROP_UNKNOWN_SENDER, "unknown-sender") /* no session has this 4-tuple */                 \
    X(TWD_DROP_SEND_FAILED, "send-failed")       /* the kernel did not take the reply */

enum twd_worker_drop {
#define TWD_WORKER_DROP_ENUM(name, text) name,
    TWD_WORKER_DROPS(TWD_WORKER_DROP_ENUM)
#undef TWD_WORKER_DROP_ENUM
        TWD_DROP_COUNT
};

const char *twd_worker_drop_name(enum twd_worker_drop drop);

/* What a worker counted, since the start. received = reflected + all verdicts + all drops, once no
 * packet is in its hands. */
struct twd_counts {
    uint64_t received, reflected;
    uint64_t bytes; /* octets of UDP payload of the replies */
    uint64_t kernel_drops;
    uint64_t sessions;                             /* that packets find now */
    uint64_t verdicts[TW_REFLECTOR_VERDICT_COUNT]; /* TW_REFLECT stays 0 */
    uint64_t drops[TWD_DROP_COUNT];
};

/* A session as its worker sees it. The main thread makes it and fills it before it is added, and
 * has it back when its release was reported; in between it reads nothing but `key` and `heard_ns`.
 */
struct twd_flow_key {
    uint32_t hash;
    struct tw_address remote;
    struct tw_address local; /* as packets are addressed to, with the test port */
};

/* Computes the hash, with a secret so that no peer can choose collisions. */
void twd_flow_key_init(struct twd_flow_key *key, const struct tw_address *remote,
                       const struct tw_address *local, uint32_t secret);
guint twd_flow_key_hash(gconstpointer key);
gboolean twd_flow_key_equal(gconstpointer a, gconstpointer b);

enum twd_order {
    TWD_ORDER_ADD,     /* reported: packets find it now */
    TWD_ORDER_START,   /* reported: it reflects now */
    TWD_ORDER_STOP,    /* reflects for its Timeout, then reports its end */
    TWD_ORDER_REMOVE,  /* reports its end at once */
    TWD_ORDER_ENDED,   /* a report only: by stop, removal or REFWAIT; comes once */
    TWD_ORDER_RELEASE, /* after its end; reported: the flow is the main thread's again */
    TWD_ORDER_FORGET,  /* no flow; reported: the worker has let go of a socket, see unwatch */
    TWD_ORDER_TUNE,    /* no flow: `error_floor_ns` is new */
    TWD_ORDER_PING,    /* no flow: reported, so that a hanging worker is noticed */
    TWD_ORDER_QUIT,    /* no flow: the thread ends, without a report */
};

struct twd_flow;

/* Order and, on its way back, report. */
struct twd_letter {
    struct twd_message message; /* first */
    enum twd_order order;
    struct twd_flow *flow;
    struct tw_udp *socket; /* to forget */
    int64_t error_floor_ns;
};

/* With remote port 0 in its key a flow has a local port to itself and learns the sender's: the
 * first packet that it reflects, from any port of the remote address, sets it for good. */
struct twd_flow {
    struct twd_flow_key key;
    struct twd_flow_key match; /* what packets find it by: `key`, with the port once learnt */
    struct tw_reflector reflector;
    uint8_t tos;              /* of the replies */
    _Atomic int64_t heard_ns; /* as tw_mono: made, started, or the last packet that it answered */
    struct twd_timer timer;
    struct twd_letter ended; /* so that the end can be reported without memory */
    bool gone;               /* its end was reported */
};

struct twd_worker;

/* Takes over the sockets; reports go to `reports`. NULL with an error; the sockets are then closed.
 */
struct twd_worker *twd_worker_new(struct tw_udp *sockets, unsigned count, uint32_t secret,
                                  int64_t error_floor_ns, struct twd_mailbox *reports,
                                  GError **error);
bool twd_worker_start(struct twd_worker *worker, GError **error);

/* Ends the thread if it was started. Flows that were not released are the caller's. */
void twd_worker_free(struct twd_worker *worker);

/* `flow` may be NULL where the order needs none. */
void twd_worker_order(struct twd_worker *worker, enum twd_order order, struct twd_flow *flow);
void twd_worker_tune(struct twd_worker *worker, int64_t error_floor_ns);

/* Has the running worker serve one more socket, which stays the caller's but must not be touched
 * until the worker has let go of it. 0 or -errno. */
int twd_worker_watch(struct twd_worker *worker, struct tw_udp *udp);

/* No packet of the socket is taken any more once TWD_ORDER_FORGET is reported, which happens for
 * each call. In between the socket may be watched again. */
void twd_worker_unwatch(struct twd_worker *worker, struct tw_udp *udp);

/* Adds what this worker counted; from any thread. */
void twd_worker_count(const struct twd_worker *worker, struct twd_counts *sum);

#endif
