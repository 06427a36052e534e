/* Tokens and per-session keys; the contract is in keys.h. Pure arithmetic on keys: it keeps none.
 */
#include "lib/keys.h"

#include <string.h>

_Static_assert(TW_CHALLENGE_SIZE + TW_AES_KEY_SIZE + TW_MAC_KEY_SIZE == TW_TOKEN_SIZE, "Token");
_Static_assert((int)TW_SID_SIZE == TW_AES_KEY_SIZE, "a SID serves as an AES key");

bool tw_keys_count_is_valid(uint32_t count)
{
    return count >= TW_KEYS_COUNT_MIN && (count & (count - 1)) == 0;
}

bool tw_keys_needed(uint32_t modes)
{
    return (modes & (TW_MODE_AUTHENTICATED | TW_MODE_ENCRYPTED | TW_MODE_MIXED)) != 0;
}

void tw_keys_draw(struct tw_keys *keys, struct tw_random *random)
{
    tw_random_fill(random, keys->aes, sizeof keys->aes);
    tw_random_fill(random, keys->hmac, sizeof keys->hmac);
}

void tw_keys_seal_token(const struct tw_keys *keys, const uint8_t derived[TW_AES_KEY_SIZE],
                        const uint8_t challenge[TW_CHALLENGE_SIZE], uint8_t token[TW_TOKEN_SIZE])
{
    uint8_t chain[TW_AES_BLOCK_SIZE] = {0};
    struct tw_cipher cipher;
    memcpy(token, challenge, TW_CHALLENGE_SIZE);
    memcpy(token + TW_CHALLENGE_SIZE, keys->aes, sizeof keys->aes);
    memcpy(token + TW_CHALLENGE_SIZE + sizeof keys->aes, keys->hmac, sizeof keys->hmac);
    tw_cipher_init_encrypt(&cipher, derived);
    tw_cipher_cbc_encrypt(&cipher, chain, token, token, TW_TOKEN_SIZE);
    explicit_bzero(&cipher, sizeof cipher);
}

bool tw_keys_open_token(struct tw_keys *keys, const uint8_t derived[TW_AES_KEY_SIZE],
                        const uint8_t challenge[TW_CHALLENGE_SIZE],
                        const uint8_t token[TW_TOKEN_SIZE])
{
    uint8_t chain[TW_AES_BLOCK_SIZE] = {0};
    uint8_t clear[TW_TOKEN_SIZE];
    struct tw_cipher cipher;
    tw_cipher_init_decrypt(&cipher, derived);
    tw_cipher_cbc_decrypt(&cipher, chain, clear, token, TW_TOKEN_SIZE);
    explicit_bzero(&cipher, sizeof cipher);
    const bool good = tw_equal_secret(clear, challenge, TW_CHALLENGE_SIZE);
    memcpy(keys->aes, clear + TW_CHALLENGE_SIZE, sizeof keys->aes);
    memcpy(keys->hmac, clear + TW_CHALLENGE_SIZE + sizeof keys->aes, sizeof keys->hmac);
    explicit_bzero(clear, sizeof clear);
    if (!good)
        explicit_bzero(keys, sizeof *keys);
    return good;
}

/* The SID is the AES key and the session keys are what it enciphers; always in this direction, at
 * both ends. */
void tw_keys_for_session(const struct tw_keys *control, const uint8_t sid[TW_SID_SIZE],
                         struct tw_keys *session)
{
    struct tw_cipher cipher;
    tw_cipher_init_encrypt(&cipher, sid);
    uint8_t chain[TW_AES_BLOCK_SIZE] = {0}; /* CBC of one block with IV 0 is ECB */
    tw_cipher_cbc_encrypt(&cipher, chain, session->aes, control->aes, sizeof session->aes);
    memset(chain, 0, sizeof chain);
    tw_cipher_cbc_encrypt(&cipher, chain, session->hmac, control->hmac, sizeof session->hmac);
    explicit_bzero(chain, sizeof chain); /* the last block is half of a key */
    explicit_bzero(&cipher, sizeof cipher);
}
