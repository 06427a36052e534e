/* Cryptographic primitives behind plain functions: the only file of the core that knows nettle.
 *
 * AES-128 and HMAC-SHA1 as OWAMP and TWAMP use them (RFC 4656 sections 3.1, 3.2 and 6.10), PBKDF2
 * for shared secrets, and a deterministic random generator for challenges, keys, SIDs and padding.
 * What is enciphered and authenticated with which key is said in keys.h, channel.h and
 * protection.h. */
#ifndef TW_LIB_CRYPTO_H
#define TW_LIB_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nettle/aes.h>
#include <nettle/chacha.h>
#include <nettle/hmac.h>

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

enum {
    TW_AES_KEY_SIZE = 16,
    TW_AES_BLOCK_SIZE = 16,
    TW_MAC_KEY_SIZE = 32,
    TW_MAC_SIZE = 16,
};

/* AES-128 with an expanded key, for one direction. */
struct tw_cipher {
    struct aes128_ctx aes;
};

void tw_cipher_init_encrypt(struct tw_cipher *cipher, const uint8_t key[TW_AES_KEY_SIZE]);
void tw_cipher_init_decrypt(struct tw_cipher *cipher, const uint8_t key[TW_AES_KEY_SIZE]);

/* CBC over n octets, a multiple of the block size; `chain` is the block before (at first the IV)
 * and becomes the last block of ciphertext. `out` may be `in`. */
void tw_cipher_cbc_encrypt(const struct tw_cipher *cipher, uint8_t chain[TW_AES_BLOCK_SIZE],
                           uint8_t *out, const uint8_t *in, size_t n);
void tw_cipher_cbc_decrypt(const struct tw_cipher *cipher, uint8_t chain[TW_AES_BLOCK_SIZE],
                           uint8_t *out, const uint8_t *in, size_t n);

/* HMAC-SHA1 with a 32-octet key, cut to its first 16 octets (RFC 4656 section 3.2). */
struct tw_mac {
    struct hmac_sha1_ctx hmac;
};

void tw_mac_init(struct tw_mac *mac, const uint8_t key[TW_MAC_KEY_SIZE]);
void tw_mac_update(struct tw_mac *mac, const uint8_t *in, size_t n);

/* The MAC of all that came since the last call; the next one starts empty. */
void tw_mac_finish(struct tw_mac *mac, uint8_t out[TW_MAC_SIZE]);

/* Whether n octets are equal, in a time that says nothing of where they differ. */
bool tw_equal_secret(const uint8_t *a, const uint8_t *b, size_t n);

/* PBKDF2 with HMAC-SHA1 and a 16-octet salt, to an AES key (RFC 4656 section 3.1): takes
 * milliseconds per ten thousand iterations, so never on a thread that has deadlines. */
void tw_derive_key(const uint8_t *passphrase, size_t n, const uint8_t salt[16], uint32_t count,
                   uint8_t key[TW_AES_KEY_SIZE]);

#endif
