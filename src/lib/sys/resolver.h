/* Looks up names on threads of its own, so that a name server that is slow or silent delays nobody
 * but the names it is asked for.
 *
 * All calls on the owner's thread. */
#ifndef TW_SYS_RESOLVER_H
#define TW_SYS_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"

enum { TW_RESOLVER_ADDRESSES = 4 };

struct tw_resolver_answer {
    uint64_t tag;                                       /* as asked */
    size_t count;                                       /* 0: see error */
    int error;                                          /* EAI_* */
    struct tw_address addresses[TW_RESOLVER_ADDRESSES]; /* port 0 */
};

struct tw_resolver;

/* NULL with errno set when the thread cannot be started. */
struct tw_resolver *tw_resolver_new(void);

/* Stops within one second whatever the C library is doing: a thread that hangs in a look-up is left
 * behind, with memory of its own, and ends by itself. */
void tw_resolver_free(struct tw_resolver *resolver);

/* `family` 4, 6 or 0 = any. `host` is copied. A name that is being looked up already is not asked
 * for once more: each that asked has the answer. Answers come in any order; 0, or -ENOMEM. */
int tw_resolver_ask(struct tw_resolver *resolver, uint64_t tag, const char *host, int family);

/* Readable when an answer is waiting. */
int tw_resolver_descriptor(const struct tw_resolver *resolver);

/* Takes one answer; 0 when there is none, else 1. Clears the descriptor's readiness with the last.
 */
int tw_resolver_take(struct tw_resolver *resolver, struct tw_resolver_answer *answer);

#endif
