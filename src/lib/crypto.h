/* Cryptographic primitives behind plain functions: the only file of the core that knows nettle.
 *
 * So far a deterministic random generator for challenges, SIDs and padding. The ciphers and MACs of
 * the secured modes belong here too. */
#ifndef TW_LIB_CRYPTO_H
#define TW_LIB_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include <nettle/chacha.h>

enum { TW_RANDOM_SEED_SIZE = 32 };

/* A ChaCha20 key stream that replaces its own key with every block (fast key erasure), so that a
 * later look at the memory does not tell what was drawn before. The core may not ask the kernel, so
 * its driver seeds it from there; a simulation seeds it with a number and repeats exactly. Owned by
 * one thread. */
struct tw_random {
    struct chacha_ctx chacha;
    uint8_t block[CHACHA_BLOCK_SIZE];
    size_t used; /* octets of block already given out, or used up by the new key */
};

/* The seed is not kept; wiping it is the caller's duty. */
void tw_random_seed(struct tw_random *random, const uint8_t seed[TW_RANDOM_SEED_SIZE]);

void tw_random_fill(struct tw_random *random, uint8_t *out, size_t n);

/* Uniform in [0, bound); bound must not be 0. */
uint32_t tw_random_below(struct tw_random *random, uint32_t bound);

#endif
