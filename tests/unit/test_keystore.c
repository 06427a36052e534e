/* The daemon's keys: what a look-up finds before, while and after secrets change, for connections
 * that hold the old salt and the new. Derived keys are held against PBKDF2 from GLib's HMAC. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <glib/gstdio.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reflector/error.h"
#include "reflector/keystore.h"
#include "reflector/log.h"

enum { COUNT = 1024, SLOW_COUNT = 1024 * 1024 };

struct fixture {
    struct twd_poller *poller;
    struct twd_keystore *store;
};

static int threads_left = INT_MAX; /* that the system lets be created */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *argument), void *argument);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *argument), void *argument);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *argument), void *argument)
{
    if (threads_left <= 0)
        return EAGAIN;
    threads_left--;
    return __real_pthread_create(thread, attributes, run, argument);
}

static int make_renewed(void **state, int64_t renew_ns)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    twd_log_set_level(TWD_LOG_ERROR);
    fixture->poller = twd_poller_new(NULL);
    fixture->store = twd_keystore_new(fixture->poller, renew_ns, NULL);
    *state = fixture;
    return fixture->store == NULL ? -1 : 0;
}

static int make(void **state)
{
    return make_renewed(state, TWD_KEYSTORE_RENEW_NS);
}

static int make_hasty(void **state)
{
    return make_renewed(state, 20 * TW_NS_PER_MS);
}

static int destroy(void **state)
{
    struct fixture *fixture = *state;
    twd_keystore_free(fixture->store);
    twd_poller_free(fixture->poller);
    free(fixture);
    return 0;
}

/* From words: a KeyID, its secret, another KeyID, its secret ... */
static struct tw_secrets secrets_of(const char *const *words)
{
    struct tw_secrets secrets = {.count = 0};
    for (; words[2 * secrets.count] != NULL; secrets.count++) {
    }
    secrets.all = calloc(secrets.count + 1, sizeof(*secrets.all));
    assert_non_null(secrets.all);
    for (size_t i = 0; i < secrets.count; i++) {
        const char *passphrase = words[2 * i + 1];
        struct tw_secret *secret = &secrets.all[i];
        assert_true(tw_secrets_keyid(words[2 * i], secret->keyid));
        secret->size = strlen(passphrase);
        secret->passphrase = malloc(secret->size);
        assert_non_null(secret->passphrase);
        memcpy(secret->passphrase, passphrase, secret->size);
    }
    return secrets;
}

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void load(struct fixture *fixture, const char *const *words, uint32_t count)
{
    struct tw_secrets secrets = secrets_of(words);
    GError *error = NULL;
    if (!twd_keystore_load(fixture->store, &secrets, count, &error))
        fail_msg("%s", error->message);
    assert_int_equal(secrets.count, 0); /* taken over */
}

static void wait_ready(struct fixture *fixture)
{
    while (!twd_keystore_is_ready(fixture->store))
        g_main_context_iteration(NULL, TRUE);
}

/* Turns the main loop until a set with another salt is offered; releases `old`. */
static struct twd_keyset *next_set(struct fixture *fixture, struct twd_keyset *old)
{
    for (;;) {
        struct twd_keyset *set = twd_keystore_hold(fixture->store);
        if (memcmp(twd_keyset_salt(set), twd_keyset_salt(old), TW_SALT_SIZE) != 0) {
            twd_keyset_release(old);
            return set;
        }
        twd_keyset_release(set);
        g_main_context_iteration(NULL, TRUE);
    }
}

static bool find(const struct twd_keyset *set, const char *keyid, uint8_t key[TW_AES_KEY_SIZE])
{
    uint8_t octets[TW_KEYID_SIZE];
    assert_true(tw_secrets_keyid(keyid, octets));
    return twd_keyset_find(set, octets, key);
}

static void mac(const char *passphrase, const uint8_t *in, gsize n, uint8_t out[20])
{
    GHmac *hmac =
        g_hmac_new(G_CHECKSUM_SHA1, (const guchar *)passphrase, (gsize)strlen(passphrase));
    gsize size = 20;
    g_hmac_update(hmac, in, (gssize)n);
    g_hmac_get_digest(hmac, out, &size);
    g_hmac_unref(hmac);
}

/* RFC 2898 section 5.2, of whose first block an AES key takes 16 octets. */
static void assert_key_of(const struct twd_keyset *set, const char *passphrase,
                          const uint8_t key[TW_AES_KEY_SIZE])
{
    uint8_t block[TW_SALT_SIZE + 4] = {[TW_SALT_SIZE + 3] = 1};
    uint8_t u[20];
    uint8_t sum[20];
    memcpy(block, twd_keyset_salt(set), TW_SALT_SIZE);
    mac(passphrase, block, sizeof(block), u);
    memcpy(sum, u, sizeof(sum));
    for (uint32_t i = 1; i < twd_keyset_count(set); i++) {
        mac(passphrase, u, sizeof(u), u);
        for (size_t j = 0; j < sizeof(u); j++)
            sum[j] ^= u[j];
    }
    assert_memory_equal(sum, key, TW_AES_KEY_SIZE);
}

static void keys_are_those_of_the_salt_that_is_offered(void **state)
{
    struct fixture *fixture = *state;
    assert_false(twd_keystore_is_ready(fixture->store));
    assert_null(twd_keystore_hold(fixture->store));
    load(fixture, WORDS("alice", "secret of alice", "bob", "b", "carol", "third"), 2 * COUNT);
    wait_ready(fixture);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    assert_int_equal(twd_keyset_count(set), 2 * COUNT);
    uint8_t key[TW_AES_KEY_SIZE];
    assert_true(find(set, "alice", key));
    assert_key_of(set, "secret of alice", key);
    assert_true(find(set, "bob", key));
    assert_key_of(set, "b", key);
    assert_true(find(set, "carol", key));
    assert_key_of(set, "third", key);
    twd_keyset_release(set);
}

static void an_unknown_keyid_gets_a_key_that_nobody_has(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, WORDS("alice", "a", "bob", "b"), COUNT);
    wait_ready(fixture);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    uint8_t dummy[TW_AES_KEY_SIZE];
    uint8_t key[TW_AES_KEY_SIZE];
    static const uint8_t zero[TW_AES_KEY_SIZE];
    assert_false(find(set, "mallory", dummy));
    assert_memory_not_equal(dummy, zero, sizeof(dummy));
    assert_false(find(set, "alic", key)); /* always the same one */
    assert_memory_equal(key, dummy, sizeof(key));
    assert_false(find(set, "alice2", key));
    assert_memory_equal(key, dummy, sizeof(key));
    uint8_t nothing[TW_KEYID_SIZE] = {0};
    assert_false(twd_keyset_find(set, nothing, key));
    assert_memory_equal(key, dummy, sizeof(key));
    assert_true(find(set, "alice", key));
    assert_memory_not_equal(key, dummy, sizeof(key));
    assert_true(find(set, "bob", key));
    assert_memory_not_equal(key, dummy, sizeof(key));
    twd_keyset_release(set);
}

static void a_file_without_secrets_knows_nobody(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, (const char *const[]){NULL}, COUNT);
    wait_ready(fixture);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    uint8_t key[TW_AES_KEY_SIZE];
    assert_false(find(set, "alice", key));
    twd_keyset_release(set);
}

static void many_keys_are_derived_by_several_threads_each_once(void **state)
{
    enum { KEYIDS = 100 };
    struct fixture *fixture = *state;
    char names[KEYIDS][16];
    const char *words[2 * KEYIDS + 1] = {NULL};
    for (size_t i = 0; i < KEYIDS; i++) {
        g_snprintf(names[i], sizeof(names[i]), "key-%zu", i);
        words[2 * i] = words[2 * i + 1] = names[i];
    }
    load(fixture, words, COUNT);
    wait_ready(fixture);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    for (size_t i = 0; i < KEYIDS; i += 9) {
        uint8_t key[TW_AES_KEY_SIZE];
        assert_true(find(set, names[i], key));
        assert_key_of(set, names[i], key);
    }
    twd_keyset_release(set);
}

static void what_is_gone_or_changed_is_refused_from_the_reload_on(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, WORDS("alice", "a", "bob", "b", "carol", "c"), COUNT);
    wait_ready(fixture);
    struct twd_keyset *old = twd_keystore_hold(fixture->store);
    uint8_t key[TW_AES_KEY_SIZE];
    uint8_t dummy[TW_AES_KEY_SIZE];
    assert_false(find(old, "nobody", dummy));

    load(fixture, WORDS("alice", "a", "bob", "another", "dave", "d"), COUNT);
    struct twd_keyset *during = twd_keystore_hold(fixture->store);
    assert_ptr_equal(during, old); /* serves until the new one is ready */
    twd_keyset_release(during);
    assert_true(find(old, "alice", key));
    assert_key_of(old, "a", key);
    assert_false(find(old, "bob", key));
    assert_memory_equal(key, dummy, sizeof(key));
    assert_false(find(old, "carol", key));
    assert_memory_equal(key, dummy, sizeof(key));
    assert_false(find(old, "dave", key));

    struct twd_keyset *before = twd_keystore_hold(fixture->store); /* a slow client's */
    struct twd_keyset *set = next_set(fixture, old);
    assert_true(find(set, "alice", key));
    assert_key_of(set, "a", key);
    assert_true(find(set, "bob", key));
    assert_key_of(set, "another", key);
    assert_true(find(set, "dave", key));
    assert_key_of(set, "d", key);
    assert_false(find(set, "carol", key));

    load(fixture, WORDS("bob", "another"), COUNT); /* reaches the oldest salt too */
    assert_false(find(before, "alice", key));
    assert_false(find(set, "alice", key));
    assert_true(find(set, "bob", key));
    assert_false(find(before, "bob", key)); /* what was refused once stays so */
    twd_keyset_release(before);
    twd_keyset_release(set);
}

static void a_reload_without_a_change_keeps_the_salt(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, WORDS("alice", "a", "bob", "b"), COUNT);
    load(fixture, WORDS("alice", "a", "bob", "b"), COUNT); /* while the first is on its way */
    wait_ready(fixture);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    load(fixture, WORDS("bob", "b", "alice", "a"), COUNT);
    for (int i = 0; i < 20; i++) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
    struct twd_keyset *same = twd_keystore_hold(fixture->store);
    assert_ptr_equal(same, set);
    twd_keyset_release(same);

    load(fixture, WORDS("bob", "b", "alice", "a"), 2 * COUNT);
    set = next_set(fixture, set);
    assert_int_equal(twd_keyset_count(set), 2 * COUNT);
    twd_keyset_release(set);
}

static void the_last_of_quick_reloads_counts(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, WORDS("alice", "a"), COUNT);
    wait_ready(fixture);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    for (int i = 0; i < 20; i++)
        load(fixture, WORDS("alice", i % 2 == 0 ? "x" : "y"), COUNT);
    set = next_set(fixture, set);
    uint8_t key[TW_AES_KEY_SIZE];
    assert_true(find(set, "alice", key));
    assert_key_of(set, "y", key);
    twd_keyset_release(set);
}

static void a_salt_is_renewed_in_time(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, WORDS("alice", "a"), COUNT);
    wait_ready(fixture);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    for (int i = 0; i < 3; i++) {
        set = next_set(fixture, set);
        uint8_t key[TW_AES_KEY_SIZE];
        assert_true(find(set, "alice", key));
        assert_key_of(set, "a", key);
    }
    twd_keyset_release(set);
}

static void without_secured_modes_nothing_is_known_any_more(void **state)
{
    struct fixture *fixture = *state;
    twd_keystore_unload(fixture->store);
    assert_false(twd_keystore_is_ready(fixture->store));
    load(fixture, WORDS("alice", "a"), COUNT);
    wait_ready(fixture);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    load(fixture, WORDS("alice", "b"), COUNT); /* one is on its way meanwhile */
    twd_keystore_unload(fixture->store);
    assert_null(twd_keystore_hold(fixture->store));
    uint8_t key[TW_AES_KEY_SIZE];
    assert_false(find(set, "alice", key));
    twd_keyset_release(set);
    load(fixture, WORDS("alice", "a"), COUNT);
    wait_ready(fixture);
    set = twd_keystore_hold(fixture->store);
    assert_true(find(set, "alice", key));
    twd_keyset_release(set);
}

static void one_thread_does_the_work_of_all(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 50; i++) {
        threads_left = 1;
        load(fixture, WORDS("alice", "a", "bob", i % 2 == 0 ? "b" : "c"), COUNT);
        threads_left = INT_MAX;
        if (i % 5 == 0)
            wait_ready(fixture);
    }
    struct twd_keyset *set = NULL;
    uint8_t key[TW_AES_KEY_SIZE];
    do {
        if (set != NULL)
            twd_keyset_release(set);
        g_main_context_iteration(NULL, TRUE);
        set = twd_keystore_hold(fixture->store);
    } while (!find(set, "bob", key));
    assert_key_of(set, "c", key);
    assert_true(find(set, "alice", key));
    assert_key_of(set, "a", key);
    twd_keyset_release(set);
}

static void without_threads_what_was_known_serves_less_what_is_gone(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, WORDS("alice", "a", "bob", "b"), COUNT);
    wait_ready(fixture);
    threads_left = 0;
    struct tw_secrets secrets = secrets_of(WORDS("alice", "a", "carol", "c"));
    GError *error = NULL;
    assert_false(twd_keystore_load(fixture->store, &secrets, COUNT, &error));
    threads_left = INT_MAX;
    assert_int_equal(error->code, TWD_EXIT_FAILURE);
    g_clear_error(&error);
    struct twd_keyset *set = twd_keystore_hold(fixture->store);
    uint8_t key[TW_AES_KEY_SIZE];
    assert_true(find(set, "alice", key));
    assert_key_of(set, "a", key);
    assert_false(find(set, "bob", key));
    assert_false(find(set, "carol", key));

    load(fixture, WORDS("alice", "a", "carol", "c"), COUNT); /* the administrator tries again */
    const gint64 begun_us = g_get_monotonic_time();
    set = next_set(fixture, set);
    assert_in_range(g_get_monotonic_time() - begun_us, 0, 10 * G_USEC_PER_SEC); /* at once */
    assert_true(find(set, "carol", key));
    assert_key_of(set, "c", key);
    twd_keyset_release(set);
}

/* The first has reported, and its report still waits when the second reports in its turn. */
static void an_end_may_come_before_the_reports_are_read(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, WORDS("alice", "a"), COUNT);
    g_usleep(G_USEC_PER_SEC / 5);
    load(fixture, WORDS("alice", "b"), SLOW_COUNT);
    twd_keystore_free(fixture->store);
    fixture->store = twd_keystore_new(fixture->poller, TWD_KEYSTORE_RENEW_NS, NULL);
    assert_non_null(fixture->store);
}

/* The end of the daemon waits for the keys at hand, not for all. */
static void an_end_amid_the_work_is_quick(void **state)
{
    struct fixture *fixture = *state;
    const char *words[2 * 200 + 1] = {NULL};
    char names[200][16];
    for (size_t i = 0; i < 200; i++) {
        g_snprintf(names[i], sizeof(names[i]), "key-%zu", i);
        words[2 * i] = words[2 * i + 1] = names[i];
    }
    load(fixture, words, SLOW_COUNT);
    const gint64 begun_us = g_get_monotonic_time();
    twd_keystore_free(fixture->store);
    assert_in_range(g_get_monotonic_time() - begun_us, 0, 20 * G_USEC_PER_SEC);
    fixture->store = twd_keystore_new(fixture->poller, TWD_KEYSTORE_RENEW_NS, NULL);
    assert_non_null(fixture->store);
}

static void faults_of_the_file_are_told_with_their_line(void **state)
{
    (void)state;
    char *path = g_strdup("/tmp/twamp-secrets-XXXXXX");
    const int fd = g_mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0600), 0);
    static const char text[] = "alice secret-one\nbob\n";
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);

    struct twd_config *config = twd_config_new();
    struct tw_secrets secrets;
    assert_true(twd_keystore_read(config, &secrets, NULL)); /* no file */
    assert_int_equal(secrets.count, 0);

    g_free(config->secrets_file);
    config->secrets_file = g_strdup(path);
    GError *error = NULL;
    assert_false(twd_keystore_read(config, &secrets, &error));
    assert_int_equal(error->code, TWD_EXIT_CONFIG);
    char *begin = g_strdup_printf("%s:2: ", path);
    assert_true(g_str_has_prefix(error->message, begin));
    assert_null(strstr(error->message, "secret-one"));
    g_clear_error(&error);
    g_free(begin);

    assert_int_equal(ftruncate(fd, sizeof("alice secret-one")), 0);
    assert_true(twd_keystore_read(config, &secrets, NULL));
    assert_int_equal(secrets.count, 1);
    tw_secrets_free(&secrets);

    assert_int_equal(fchmod(fd, 0644), 0);
    assert_false(twd_keystore_read(config, &secrets, &error));
    assert_int_equal(error->code, TWD_EXIT_CONFIG);
    assert_true(g_str_has_prefix(error->message, path));
    g_clear_error(&error);
    twd_config_free(config);
    close(fd);
    g_unlink(path);
    g_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_are_those_of_the_salt_that_is_offered, make, destroy),
        cmocka_unit_test_setup_teardown(an_unknown_keyid_gets_a_key_that_nobody_has, make, destroy),
        cmocka_unit_test_setup_teardown(a_file_without_secrets_knows_nobody, make, destroy),
        cmocka_unit_test_setup_teardown(many_keys_are_derived_by_several_threads_each_once, make,
                                        destroy),
        cmocka_unit_test_setup_teardown(what_is_gone_or_changed_is_refused_from_the_reload_on, make,
                                        destroy),
        cmocka_unit_test_setup_teardown(a_reload_without_a_change_keeps_the_salt, make, destroy),
        cmocka_unit_test_setup_teardown(the_last_of_quick_reloads_counts, make, destroy),
        cmocka_unit_test_setup_teardown(a_salt_is_renewed_in_time, make_hasty, destroy),
        cmocka_unit_test_setup_teardown(without_secured_modes_nothing_is_known_any_more, make,
                                        destroy),
        cmocka_unit_test_setup_teardown(one_thread_does_the_work_of_all, make, destroy),
        cmocka_unit_test_setup_teardown(without_threads_what_was_known_serves_less_what_is_gone,
                                        make, destroy),
        cmocka_unit_test_setup_teardown(an_end_may_come_before_the_reports_are_read, make, destroy),
        cmocka_unit_test_setup_teardown(an_end_amid_the_work_is_quick, make, destroy),
        cmocka_unit_test(faults_of_the_file_are_told_with_their_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
