/* A target's secret and the key last derived from it.
 *
 * Servers keep their salt for many connections, so a target that remembers the last one has nothing
 * to derive when it connects again; and what one target has had derived serves all that share its
 * secret. Used by the engine's thread. */
#ifndef TW_SYS_TARGET_KEY_H
#define TW_SYS_TARGET_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/probe.h"

/* All zero: no secret. */
struct tw_target_key {
    uint8_t *passphrase; /* NULL: none */
    size_t size;         /* of it, in octets */
    bool known;          /* `derived` is from `salt` */
    struct tw_probe_salt salt;
    uint8_t derived[TW_AES_KEY_SIZE];
    bool waiting; /* for the key from `wanted` */
    struct tw_probe_salt wanted;
    uint64_t turn; /* grows with each question */
};

/* Copies the secret. 0 or -ENOMEM. */
int tw_target_key_init(struct tw_target_key *key, const uint8_t *passphrase, size_t size);

/* Wipes. */
void tw_target_key_free(struct tw_target_key *key);

/* Whether the key for this salt is already there, in `derived`. */
bool tw_target_key_is_known(const struct tw_target_key *key, const struct tw_probe_salt *salt);

/* Whether the same secret and salt make the same key of both. */
bool tw_target_key_shares(const struct tw_target_key *a, const struct tw_target_key *b);

/* Whether it waits for the key from this salt. */
bool tw_target_key_waits(const struct tw_target_key *key, const struct tw_probe_salt *salt);

/* Waits for the key from this salt, and for no other any more. */
void tw_target_key_want(struct tw_target_key *key, const struct tw_probe_salt *salt, uint64_t turn);

/* Remembers the key derived from this salt, in place of another. */
void tw_target_key_learn(struct tw_target_key *key, const struct tw_probe_salt *salt,
                         const uint8_t derived[TW_AES_KEY_SIZE]);

#endif
