/* The keys of a secured connection: how the client hands them to the server in the Token, and how
 * each test session gets its own from its SID (RFC 4656 sections 3.1 and 4.1.2, RFC 5357 section
 * 4.1.2).
 *
 * The secret that both ends share is turned into a key by tw_derive_key (crypto.h), which is the
 * driver's business because it takes long; that key protects the Token and nothing else. */
#ifndef TW_LIB_KEYS_H
#define TW_LIB_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/wire.h"

/* A pair as the protocol uses it, for a control connection (AES and HMAC Session-keys) or for one
 * test session (KT_aes, KT_hmac). Its owner wipes it. */
struct tw_keys {
    uint8_t aes[TW_AES_KEY_SIZE];
    uint8_t hmac[TW_MAC_KEY_SIZE];
};

/* What the PBKDF2 Count of a greeting must be: a power of two, at least this (RFC 4656 section
 * 3.1). What is too much is the client's choice; peers accept up to the default. */
enum { TW_KEYS_COUNT_MIN = 1024, TW_KEYS_COUNT_DEFAULT = 32768 };

bool tw_keys_count_is_valid(uint32_t count);

/* Whether the modes of a connection include keys: every security mode but unauthenticated. */
bool tw_keys_needed(uint32_t modes);

/* New session keys, independent of one another. */
void tw_keys_draw(struct tw_keys *keys, struct tw_random *random);

/* The Token: the challenge and both session keys under the key derived from the secret. */
void tw_keys_seal_token(const struct tw_keys *keys, const uint8_t derived[TW_AES_KEY_SIZE],
                        const uint8_t challenge[TW_CHALLENGE_SIZE], uint8_t token[TW_TOKEN_SIZE]);

/* False when the token does not hold this challenge; the keys are then wiped. The time it takes
 * does not tell how much of the challenge was right. */
bool tw_keys_open_token(struct tw_keys *keys, const uint8_t derived[TW_AES_KEY_SIZE],
                        const uint8_t challenge[TW_CHALLENGE_SIZE],
                        const uint8_t token[TW_TOKEN_SIZE]);

/* The keys of the test session with that SID, from those of its control connection. */
void tw_keys_for_session(const struct tw_keys *control, const uint8_t sid[TW_SID_SIZE],
                         struct tw_keys *session);

#endif
