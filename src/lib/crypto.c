/* The random generator of the core, on nettle's ChaCha20.
 *
 * It asks nobody for entropy: the driver seeds it, with the kernel's octets in a program and with a
 * number in a simulation. */
#include "lib/crypto.h"

#include <assert.h>
#include <string.h>

#include "lib/bytes.h"

_Static_assert(TW_RANDOM_SEED_SIZE == CHACHA_KEY_SIZE, "the seed is the first key");

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
