/* Derives keys from secrets on threads of its own: PBKDF2 takes some 17 ms for the 32,768
 * iterations that servers ask for, and the engine's thread has packets to send. */
#ifndef TW_SYS_DERIVER_H
#define TW_SYS_DERIVER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/probe.h"

struct tw_deriver_answer {
    uint64_t tag;              /* as asked */
    struct tw_probe_salt salt; /* likewise */
    uint8_t key[TW_AES_KEY_SIZE];
};

struct tw_deriver;

/* NULL with errno set when the thread cannot be started. */
struct tw_deriver *tw_deriver_new(void);

/* Stops within one second, however many iterations are still to be done: a thread that is at it is
 * left behind, and ends by itself. */
void tw_deriver_free(struct tw_deriver *deriver);

/* The passphrase is copied, and the copy wiped. Answers come in any order; 0, or -ENOMEM. */
int tw_deriver_ask(struct tw_deriver *deriver, uint64_t tag, const uint8_t *passphrase, size_t size,
                   const struct tw_probe_salt *salt);

/* Readable when an answer is waiting. */
int tw_deriver_descriptor(const struct tw_deriver *deriver);

/* Takes one answer, which the caller wipes; 0 when there is none, else 1. Clears the descriptor's
 * readiness with the last. */
int tw_deriver_take(struct tw_deriver *deriver, struct tw_deriver_answer *answer);

#endif
