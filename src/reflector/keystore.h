/* The keys of all KeyIDs, derived before anybody asks for them.
 *
 * PBKDF2 takes milliseconds, and a client that chooses nothing but a KeyID can ask for it as often
 * as it connects. So one salt serves all connections of an hour (conformance SRV-4), and threads of
 * low priority derive the keys of all KeyIDs for the next salt before that is offered; what is left
 * for a connection is a look-up, which costs the same whether the KeyID is known or not.
 *
 * A connection holds the set of the salt that it offered, however many came after it. When the
 * secrets are loaded anew the keys of KeyIDs that are gone, or have another secret, are refused at
 * once in all sets; new ones are known when the new set is ready, and until then the old one
 * serves. Passphrases and keys are wiped when they are let go of, and appear in no message. Main
 * thread only, but for its own threads. */
#ifndef TWD_KEYSTORE_H
#define TWD_KEYSTORE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/sys/secrets.h"
#include "lib/time.h"
#include "lib/wire.h"
#include "reflector/config.h"
#include "reflector/poller.h"

/* How long a salt is offered before the keys for the next one are begun: in the hour there is time
 * left to derive them beside a full load. */
#define TWD_KEYSTORE_RENEW_NS (INT64_C(45) * 60 * TW_NS_PER_S)

struct twd_keystore;
struct twd_keyset;

/* The secrets file that the configuration names, or none; tw_secrets_free is the caller's duty.
 * Warns when there are secured modes and nobody can use them. False with an error that names file
 * and line. */
bool twd_keystore_read(const struct twd_config *config, struct tw_secrets *secrets, GError **error);

/* NULL with an error. A set is renewed `renew_ns` after it became ready. */
struct twd_keystore *twd_keystore_new(struct twd_poller *poller, int64_t renew_ns, GError **error);

/* Every set must have been released; waits for a key that is being derived. */
void twd_keystore_free(struct twd_keystore *store);

/* Takes over the secrets, and offers `count` iterations from the set on that is being derived from
 * here on. Does nothing when neither has changed. On false no thread could be started: the keys of
 * before serve, less those that are refused, and it is tried again. */
bool twd_keystore_load(struct twd_keystore *store, struct tw_secrets *secrets, uint32_t count,
                       GError **error);

/* There are no secured modes (any more): all keys are refused. */
void twd_keystore_unload(struct twd_keystore *store);

/* Whether there is a set to be held. */
bool twd_keystore_is_ready(const struct twd_keystore *store);

/* The set for a new connection, to be released; NULL when none is ready. */
struct twd_keyset *twd_keystore_hold(struct twd_keystore *store);
void twd_keyset_release(struct twd_keyset *set);

/* What the greeting says: salt of TW_SALT_SIZE octets, and Count. */
const uint8_t *twd_keyset_salt(const struct twd_keyset *set);
uint32_t twd_keyset_count(const struct twd_keyset *set);

/* The key of that KeyID; false, and a dummy's key, when it is not known (any more). Wiping `key` is
 * the caller's duty. */
bool twd_keyset_find(const struct twd_keyset *set, const uint8_t keyid[TW_KEYID_SIZE],
                     uint8_t key[TW_AES_KEY_SIZE]);

#endif
