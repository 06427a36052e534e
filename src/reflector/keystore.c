/* Sets of derived keys and the threads that make them; see keystore.h. */
#include "twamp-config.h" /* pthread_tryjoin_np */

#include "reflector/keystore.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "lib/keys.h"
#include "lib/sys/clock.h"
#include "lib/sys/random.h"
#include "reflector/error.h"
#include "reflector/log.h"
#include "reflector/mailbox.h"

/* When no thread could be started. */
#define RETRY_NS (30 * TW_NS_PER_S)

enum {
    THREADS_MAX = 4,
    LOWEST_PRIORITY = 19,
    DUMMY_SIZE = 16, /* octets of the secret that nobody has */
};

/* Secrets, held by the store and by the threads that still read them. */
struct vault {
    struct tw_secrets secrets;
    unsigned users;
};

struct entry {
    uint8_t keyid[TW_KEYID_SIZE];
    uint8_t key[TW_AES_KEY_SIZE];
    bool refused; /* gone or changed since */
};

struct twd_keyset {
    GList link; /* in store->sets */
    struct twd_keystore *store;
    unsigned users;
    uint32_t count;
    uint8_t salt[TW_SALT_SIZE];
    uint8_t dummy[TW_AES_KEY_SIZE];
    size_t size; /* number of entries */
    struct entry *entries;
};

/* A set in the making. */
struct derivation {
    struct twd_message message; /* first; posted by the last thread to end */
    GList link;                 /* in store->derivations */
    struct twd_mailbox *done;
    struct twd_keyset *set;
    struct vault *vault;
    uint8_t dummy[DUMMY_SIZE];
    tw_mono begun;
    bool background;
    bool renewal;  /* of keys that did not change */
    bool reported; /* its message was taken: set, vault and dummy are let go of */
    atomic_bool cancelled;
    atomic_size_t next; /* number of the key to be derived next, the dummy's is the last */
    atomic_uint working;
    pthread_t threads[THREADS_MAX];
    unsigned count; /* of threads that are not joined */
};

struct twd_keystore {
    struct twd_poller *poller;
    struct twd_mailbox mailbox; /* of finished derivations */
    struct twd_watch watch;
    struct twd_timer renewal;
    int64_t renew_ns;
    struct tw_random random;
    struct vault *vault;
    uint32_t count;
    struct twd_keyset *current;
    struct derivation *pending; /* what is to become the current one */
    bool behind;                /* neither has the vault's keys: no thread could be started */
    GQueue derivations;         /* all whose threads may still run */
    GQueue sets;                /* all that are held, or in the making */
};

bool twd_keystore_read(const struct twd_config *config, struct tw_secrets *secrets, GError **error)
{
    *secrets = (struct tw_secrets){.count = 0};
    if (config->secrets_file[0] == '\0')
        return true;
    char why[TW_SECRETS_WHY];
    if (tw_secrets_load(secrets, config->secrets_file, why) != 0)
        return twd_fail(error, TWD_EXIT_CONFIG, "%s", why);
    if (secrets->count == 0 && tw_keys_needed(config->modes))
        twd_log(TWD_LOG_WARNING, NULL,
                "%s has no secret, so that nobody can use the secured modes: add lines with a "
                "KeyID, a space and a passphrase, or take these modes out of modes",
                config->secrets_file);
    return true;
}

static struct vault *new_vault(struct tw_secrets *secrets)
{
    struct vault *vault = g_new0(struct vault, 1);
    vault->users = 1;
    vault->secrets = *secrets;
    *secrets = (struct tw_secrets){.count = 0};
    return vault;
}

static void release_vault(struct vault *vault)
{
    if (--vault->users > 0)
        return;
    tw_secrets_free(&vault->secrets);
    g_free(vault);
}

void twd_keyset_release(struct twd_keyset *set)
{
    if (--set->users > 0)
        return;
    g_queue_unlink(&set->store->sets, &set->link);
    if (set->entries != NULL)
        explicit_bzero(set->entries, set->size * sizeof(*set->entries));
    g_free(set->entries);
    explicit_bzero(set, sizeof(*set));
    g_free(set);
}

static struct twd_keyset *new_set(struct twd_keystore *store, const struct tw_secrets *secrets)
{
    struct twd_keyset *set = g_new0(struct twd_keyset, 1);
    set->users = 1;
    set->store = store;
    set->count = store->count;
    tw_random_fill(&store->random, set->salt, sizeof(set->salt));
    set->size = secrets->count;
    set->entries = g_new0(struct entry, secrets->count);
    for (size_t i = 0; i < secrets->count; i++)
        memcpy(set->entries[i].keyid, secrets->all[i].keyid, TW_KEYID_SIZE);
    set->link.data = set;
    g_queue_push_tail_link(&store->sets, &set->link);
    return set;
}

/* Test packets must not wait for keys. A sandbox that forbids it costs the priority only. */
static void step_back(void)
{
    (void)setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY); /* of this thread alone, on Linux */
}

static void derive_one(struct derivation *derivation, size_t number)
{
    struct twd_keyset *set = derivation->set;
    const struct tw_secrets *secrets = &derivation->vault->secrets;
    if (number < secrets->count)
        tw_derive_key(secrets->all[number].passphrase, secrets->all[number].size, set->salt,
                      set->count, set->entries[number].key);
    else
        tw_derive_key(derivation->dummy, sizeof(derivation->dummy), set->salt, set->count,
                      set->dummy);
}

static void *run(void *argument)
{
    struct derivation *derivation = argument;
    if (derivation->background)
        step_back();
    for (;;) {
        const size_t number = atomic_fetch_add(&derivation->next, 1);
        if (number > derivation->vault->secrets.count || atomic_load(&derivation->cancelled))
            break;
        derive_one(derivation, number);
    }
    if (atomic_fetch_sub(&derivation->working, 1) == 1)
        twd_mailbox_post(derivation->done, &derivation->message);
    return NULL;
}

/* No thread looks at them any more. */
static void let_go(struct derivation *derivation)
{
    twd_keyset_release(derivation->set);
    release_vault(derivation->vault);
    explicit_bzero(derivation->dummy, sizeof(derivation->dummy));
    derivation->reported = true;
}

static void free_derivation(struct twd_keystore *store, struct derivation *derivation)
{
    g_queue_unlink(&store->derivations, &derivation->link);
    if (!derivation->reported)
        let_go(derivation);
    g_free(derivation);
}

/* Frees those whose threads have ended. A thread that has reported may still be on its way out, and
 * with its priority that can take a while: it is not waited for. */
static void sweep(struct twd_keystore *store)
{
    GList *next;
    for (GList *link = store->derivations.head; link != NULL; link = next) {
        struct derivation *derivation = link->data;
        next = link->next;
        if (!derivation->reported)
            continue;
        while (derivation->count > 0 &&
               pthread_tryjoin_np(derivation->threads[derivation->count - 1], NULL) == 0)
            derivation->count--;
        if (derivation->count == 0)
            free_derivation(store, derivation);
    }
}

/* How many of `wanted` threads run; with none there is nobody to report. */
static unsigned start_threads(struct derivation *derivation, unsigned wanted)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    atomic_store(&derivation->working, wanted);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    while (derivation->count < wanted &&
           pthread_create(&derivation->threads[derivation->count], NULL, run, derivation) == 0)
        derivation->count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    const unsigned missing = wanted - derivation->count;
    if (derivation->count > 0 && missing > 0 &&
        atomic_fetch_sub(&derivation->working, missing) == missing)
        twd_mailbox_post(derivation->done, &derivation->message); /* the others were quick */
    return derivation->count;
}

static void cancel_pending(struct twd_keystore *store)
{
    if (store->pending != NULL)
        atomic_store(&store->pending->cancelled, true);
    store->pending = NULL;
}

/* Derives the set that is to follow the current one. Before the first is there, and the main loop
 * turns, there is nobody to be disturbed. */
static bool begin(struct twd_keystore *store, bool renewal, GError **error)
{
    cancel_pending(store);
    sweep(store);
    struct derivation *derivation = g_new0(struct derivation, 1);
    derivation->done = &store->mailbox;
    derivation->set = new_set(store, &store->vault->secrets);
    derivation->vault = store->vault;
    derivation->vault->users++;
    derivation->begun = tw_clock_mono();
    derivation->background = g_main_depth() > 0 || store->current != NULL;
    derivation->renewal = renewal;
    tw_random_fill(&store->random, derivation->dummy, sizeof(derivation->dummy));
    derivation->link.data = derivation;
    g_queue_push_tail_link(&store->derivations, &derivation->link);

    const unsigned jobs = (unsigned)MIN(store->vault->secrets.count + 1, (size_t)THREADS_MAX);
    store->behind = start_threads(derivation, MIN(jobs, g_get_num_processors())) == 0;
    if (!store->behind) {
        store->pending = derivation;
        return true;
    }
    free_derivation(store, derivation);
    twd_poller_arm(store->poller, &store->renewal, tw_mono_after(tw_clock_mono(), RETRY_NS));
    return twd_fail(error, TWD_EXIT_FAILURE, "no thread to derive keys in could be started");
}

static void install(struct twd_keystore *store, struct derivation *derivation)
{
    struct twd_keyset *set = derivation->set;
    const tw_mono now = tw_clock_mono();
    if (store->current != NULL)
        twd_keyset_release(store->current);
    store->current = set;
    set->users++;
    store->pending = NULL;
    twd_poller_arm(store->poller, &store->renewal, tw_mono_after(now, store->renew_ns));
    twd_log(derivation->renewal ? TWD_LOG_DEBUG : TWD_LOG_INFO, NULL,
            "the keys of %zu KeyIDs are ready, after %" G_GINT64_FORMAT " ms", set->size,
            (now.ns - derivation->begun.ns) / TW_NS_PER_MS);
}

static void take_finished(struct twd_keystore *store)
{
    struct twd_message *next;
    for (struct twd_message *message = twd_mailbox_take(&store->mailbox); message != NULL;
         message = next) {
        next = message->next;
        struct derivation *derivation = (struct derivation *)message;
        if (derivation == store->pending)
            install(store, derivation);
        let_go(derivation); /* secrets do not wait for the threads to be gone */
    }
    sweep(store);
}

static void take_readiness(struct twd_watch *watch, uint32_t events)
{
    (void)events;
    take_finished(watch->owner);
}

static void renew(struct twd_timer *timer, tw_mono now)
{
    (void)now;
    g_autoptr(GError) fault = NULL;
    if (!begin(timer->owner, true, &fault))
        twd_log(TWD_LOG_WARNING, NULL, "%s; the salt stays as it is for now", fault->message);
}

struct twd_keystore *twd_keystore_new(struct twd_poller *poller, int64_t renew_ns, GError **error)
{
    struct twd_keystore *store = g_new0(struct twd_keystore, 1);
    store->poller = poller;
    store->renew_ns = renew_ns;
    g_queue_init(&store->derivations);
    g_queue_init(&store->sets);
    tw_random_init(&store->random);
    store->renewal = (struct twd_timer){.expire = renew, .owner = store};
    int result = twd_mailbox_init(&store->mailbox);
    if (result == 0) {
        store->watch = (struct twd_watch){
            .ready = take_readiness, .owner = store, .fd = store->mailbox.descriptor};
        result = twd_poller_add(poller, &store->watch, EPOLLIN);
        if (result != 0)
            twd_mailbox_free(&store->mailbox);
    }
    if (result == 0)
        return store;
    g_free(store);
    twd_fail(error, TWD_EXIT_FAILURE, "keys: %s", g_strerror(-result));
    return NULL;
}

void twd_keystore_free(struct twd_keystore *store)
{
    cancel_pending(store);
    /* All have ended before one is freed: a report that nobody took is a part of the mailbox. */
    for (const GList *link = store->derivations.head; link != NULL; link = link->next) {
        struct derivation *derivation = link->data;
        while (derivation->count > 0)
            pthread_join(derivation->threads[--derivation->count], NULL);
    }
    while (store->derivations.head != NULL)
        free_derivation(store, store->derivations.head->data);
    if (store->current != NULL)
        twd_keyset_release(store->current);
    g_assert(store->sets.length == 0);
    if (store->vault != NULL)
        release_vault(store->vault);
    twd_poller_arm(store->poller, &store->renewal, TW_NEVER);
    twd_poller_remove(store->poller, &store->watch);
    twd_mailbox_free(&store->mailbox);
    explicit_bzero(store, sizeof(*store));
    g_free(store);
}

static guint hash_keyid(gconstpointer keyid)
{
    guint hash = 5381; /* the administrator's own KeyIDs: no enemy chooses collisions */
    const uint8_t *octets = keyid;
    for (size_t i = 0; i < TW_KEYID_SIZE && octets[i] != 0; i++)
        hash = hash * 33 + octets[i];
    return hash;
}

static gboolean equal_keyids(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, TW_KEYID_SIZE) == 0;
}

static bool has_same_secret(const struct tw_secret *a, const struct tw_secret *b)
{
    return a->size == b->size && tw_equal_secret(a->passphrase, b->passphrase, a->size);
}

/* Adds the KeyIDs of `before` that are not in `after` with the same secret. */
static void find_gone(const struct tw_secrets *before, const struct tw_secrets *after,
                      GHashTable *gone)
{
    g_autoptr(GHashTable) kept = g_hash_table_new(hash_keyid, equal_keyids);
    for (size_t i = 0; i < after->count; i++)
        g_hash_table_insert(kept, after->all[i].keyid, &after->all[i]);
    for (size_t i = 0; i < before->count; i++) {
        struct tw_secret *old = &before->all[i];
        const struct tw_secret *now = g_hash_table_lookup(kept, old->keyid);
        if (now == NULL || !has_same_secret(old, now))
            g_hash_table_add(gone, old->keyid);
    }
}

/* In every set, since any connection may still hold any. */
static void refuse_gone(struct twd_keystore *store, GHashTable *gone)
{
    for (const GList *link = store->sets.head; link != NULL; link = link->next) {
        struct twd_keyset *set = link->data;
        for (size_t i = 0; i < set->size; i++)
            if (g_hash_table_contains(gone, set->entries[i].keyid))
                set->entries[i].refused = true;
    }
}

/* Returns whether anything changed. */
static bool change_vault(struct twd_keystore *store, struct tw_secrets *secrets)
{
    struct vault *fresh = new_vault(secrets);
    struct vault *old = store->vault;
    store->vault = fresh;
    if (old == NULL)
        return true;
    g_autoptr(GHashTable) gone = g_hash_table_new(hash_keyid, equal_keyids);
    find_gone(&old->secrets, &fresh->secrets, gone);
    refuse_gone(store, gone);
    const bool changed = g_hash_table_size(gone) > 0 || old->secrets.count != fresh->secrets.count;
    release_vault(old);
    return changed;
}

bool twd_keystore_load(struct twd_keystore *store, struct tw_secrets *secrets, uint32_t count,
                       GError **error)
{
    const bool changed = change_vault(store, secrets);
    const bool on_the_way = !store->behind && (store->current != NULL || store->pending != NULL);
    if (!changed && store->count == count && on_the_way)
        return true;
    store->count = count;
    return begin(store, false, error);
}

void twd_keystore_unload(struct twd_keystore *store)
{
    struct tw_secrets none = {.count = 0};
    change_vault(store, &none);
    cancel_pending(store);
    if (store->current != NULL)
        twd_keyset_release(store->current);
    store->current = NULL;
    twd_poller_arm(store->poller, &store->renewal, TW_NEVER);
}

bool twd_keystore_is_ready(const struct twd_keystore *store)
{
    return store->current != NULL;
}

struct twd_keyset *twd_keystore_hold(struct twd_keystore *store)
{
    if (store->current != NULL)
        store->current->users++;
    return store->current;
}

const uint8_t *twd_keyset_salt(const struct twd_keyset *set)
{
    return set->salt;
}

uint32_t twd_keyset_count(const struct twd_keyset *set)
{
    return set->count;
}

/* 0 when equal. */
static uint64_t difference(const uint8_t a[TW_KEYID_SIZE], const uint8_t b[TW_KEYID_SIZE])
{
    G_STATIC_ASSERT(TW_KEYID_SIZE % sizeof(uint64_t) == 0);
    uint64_t sum = 0;
    for (size_t i = 0; i < TW_KEYID_SIZE; i += sizeof(uint64_t)) {
        uint64_t one;
        uint64_t other;
        memcpy(&one, a + i, sizeof(one));
        memcpy(&other, b + i, sizeof(other));
        sum |= one ^ other;
    }
    return sum;
}

/* Looks at every entry and takes the right one's number without a branch, so that the time tells
 * neither whether the KeyID is there nor where. */
bool twd_keyset_find(const struct twd_keyset *set, const uint8_t keyid[TW_KEYID_SIZE],
                     uint8_t key[TW_AES_KEY_SIZE])
{
    memcpy(key, set->dummy, TW_AES_KEY_SIZE);
    uint8_t known = 0;
    for (size_t i = 0; i < set->size; i++) {
        const struct entry *entry = &set->entries[i];
        const uint64_t different = difference(entry->keyid, keyid) | (uint64_t)entry->refused;
        const uint8_t take = (uint8_t)((different | (0 - different)) >> 63) - 1; /* 0 or 255 */
        for (size_t j = 0; j < TW_AES_KEY_SIZE; j++)
            key[j] = (uint8_t)((key[j] & (uint8_t)~take) | (entry->key[j] & take));
        known |= take;
    }
    return known != 0;
}
