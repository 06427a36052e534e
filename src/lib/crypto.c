/* The primitives of crypto.h on nettle.
 *
 * The random generator asks nobody for entropy: the driver seeds it, with the kernel's octets in a
 * program and with a number in a simulation. */
#include "lib/crypto.h"

#include <assert.h>
#include <string.h>

#include <nettle/cbc.h>
#include <nettle/memops.h>
#include <nettle/pbkdf2.h>

#include "lib/bytes.h"

_Static_assert(TW_RANDOM_SEED_SIZE == CHACHA_KEY_SIZE, "the seed is the first key");
_Static_assert(TW_AES_BLOCK_SIZE == AES_BLOCK_SIZE && TW_AES_KEY_SIZE == AES128_KEY_SIZE, "AES");
_Static_assert(TW_MAC_SIZE <= SHA1_DIGEST_SIZE, "a MAC is cut, not made longer");

/* The first half of each block becomes the next key, the second half is given out. */
static void refill(struct tw_random *random)
{
    static const uint8_t zero[CHACHA_BLOCK_SIZE];
    chacha_crypt(&random->chacha, sizeof random->block, random->block, zero);
    tw_random_seed(random, random->block);
    explicit_bzero(random->block, CHACHA_KEY_SIZE);
    random->used = CHACHA_KEY_SIZE;
}

void tw_random_seed(struct tw_random *random, const uint8_t seed[TW_RANDOM_SEED_SIZE])
{
    static const uint8_t nonce[CHACHA_NONCE_SIZE];
    chacha_set_key(&random->chacha, seed);
    chacha_set_nonce(&random->chacha, nonce);
    random->used = sizeof random->block;
}

void tw_random_fill(struct tw_random *random, uint8_t *out, size_t n)
{
    while (n > 0) {
        assert(random->used <= sizeof random->block);
        if (random->used == sizeof random->block)
            refill(random);
        const size_t left = sizeof random->block - random->used;
        const size_t part = n < left ? n : left;
        uint8_t *from = random->block + random->used;
        memcpy(out, from, part);
        explicit_bzero(from, part);
        random->used += part;
        out += part;
        n -= part;
    }
}

uint32_t tw_random_below(struct tw_random *random, uint32_t bound)
{
    assert(bound != 0);
    /* 2^32 mod bound: so many draws at the low end are one too often for some remainders. */
    const uint32_t surplus = (0 - bound) % bound;
    for (;;) {
        uint8_t octets[4];
        tw_random_fill(random, octets, sizeof octets);
        const uint32_t draw = tw_get32(octets);
        if (draw >= surplus)
            return draw % bound;
    }
}

void tw_cipher_init_encrypt(struct tw_cipher *cipher, const uint8_t key[TW_AES_KEY_SIZE])
{
    aes128_set_encrypt_key(&cipher->aes, key);
}

void tw_cipher_init_decrypt(struct tw_cipher *cipher, const uint8_t key[TW_AES_KEY_SIZE])
{
    aes128_set_decrypt_key(&cipher->aes, key);
}

/* nettle wants its own function type, whose first argument is any context. */
static void encrypt_blocks(const void *aes, size_t n, uint8_t *out, const uint8_t *in)
{
    aes128_encrypt(aes, n, out, in);
}

static void decrypt_blocks(const void *aes, size_t n, uint8_t *out, const uint8_t *in)
{
    aes128_decrypt(aes, n, out, in);
}

void tw_cipher_cbc_encrypt(const struct tw_cipher *cipher, uint8_t chain[TW_AES_BLOCK_SIZE],
                           uint8_t *out, const uint8_t *in, size_t n)
{
    assert(n % TW_AES_BLOCK_SIZE == 0);
    cbc_encrypt(&cipher->aes, encrypt_blocks, TW_AES_BLOCK_SIZE, chain, n, out, in);
}

void tw_cipher_cbc_decrypt(const struct tw_cipher *cipher, uint8_t chain[TW_AES_BLOCK_SIZE],
                           uint8_t *out, const uint8_t *in, size_t n)
{
    assert(n % TW_AES_BLOCK_SIZE == 0);
    cbc_decrypt(&cipher->aes, decrypt_blocks, TW_AES_BLOCK_SIZE, chain, n, out, in);
}

void tw_mac_init(struct tw_mac *mac, const uint8_t key[TW_MAC_KEY_SIZE])
{
    hmac_sha1_set_key(&mac->hmac, TW_MAC_KEY_SIZE, key);
}

void tw_mac_update(struct tw_mac *mac, const uint8_t *in, size_t n)
{
    hmac_sha1_update(&mac->hmac, n, in);
}

void tw_mac_finish(struct tw_mac *mac, uint8_t out[TW_MAC_SIZE])
{
    hmac_sha1_digest(&mac->hmac, TW_MAC_SIZE, out);
}

bool tw_equal_secret(const uint8_t *a, const uint8_t *b, size_t n)
{
    return memeql_sec(a, b, n) != 0;
}

static void update_prf(void *prf, size_t n, const uint8_t *in)
{
    hmac_sha1_update(prf, n, in);
}

static void digest_prf(void *prf, size_t n, uint8_t *out)
{
    hmac_sha1_digest(prf, n, out);
}

/* Not nettle's function for HMAC-SHA1: that leaves a state on the stack with which the key for any
 * salt can be derived. */
void tw_derive_key(const uint8_t *passphrase, size_t n, const uint8_t salt[16], uint32_t count,
                   uint8_t key[TW_AES_KEY_SIZE])
{
    assert(count > 0);
    struct hmac_sha1_ctx prf;
    hmac_sha1_set_key(&prf, n, passphrase);
    pbkdf2(&prf, update_prf, digest_prf, SHA1_DIGEST_SIZE, count, 16, salt, TW_AES_KEY_SIZE, key);
    explicit_bzero(&prf, sizeof prf);
}
