/* Keeps a target's secret and its last key; the contract is in target_key.h. */
#include "lib/sys/target_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tw_target_key_init(struct tw_target_key *key, const uint8_t *passphrase, size_t size)
{
    *key = (struct tw_target_key){.passphrase = NULL};
    if (passphrase == NULL)
        return 0;
    key->passphrase = malloc(size > 0 ? size : 1);
    if (key->passphrase == NULL)
        return -ENOMEM;
    memcpy(key->passphrase, passphrase, size);
    key->size = size;
    return 0;
}

void tw_target_key_free(struct tw_target_key *key)
{
    if (key->passphrase != NULL)
        explicit_bzero(key->passphrase, key->size);
    free(key->passphrase);
    explicit_bzero(key, sizeof *key);
}

static bool same_salt(const struct tw_probe_salt *a, const struct tw_probe_salt *b)
{
    return a->count == b->count && memcmp(a->salt, b->salt, sizeof a->salt) == 0;
}

bool tw_target_key_is_known(const struct tw_target_key *key, const struct tw_probe_salt *salt)
{
    return key->known && same_salt(&key->salt, salt);
}

/* Both secrets are the operator's own, so there is nobody who could learn from the time it takes.
 */
bool tw_target_key_shares(const struct tw_target_key *a, const struct tw_target_key *b)
{
    return a->passphrase != NULL && b->passphrase != NULL && a->size == b->size &&
           memcmp(a->passphrase, b->passphrase, a->size) == 0;
}

bool tw_target_key_waits(const struct tw_target_key *key, const struct tw_probe_salt *salt)
{
    return key->waiting && same_salt(&key->wanted, salt);
}

void tw_target_key_want(struct tw_target_key *key, const struct tw_probe_salt *salt, uint64_t turn)
{
    key->waiting = true;
    key->turn = turn;
    key->wanted = *salt;
}

void tw_target_key_learn(struct tw_target_key *key, const struct tw_probe_salt *salt,
                         const uint8_t derived[TW_AES_KEY_SIZE])
{
    key->known = true;
    key->salt = *salt;
    memcpy(key->derived, derived, sizeof key->derived);
    if (tw_target_key_waits(key, salt))
        key->waiting = false;
}
