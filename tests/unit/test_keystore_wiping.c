/* The daemon's keys: that passphrases are gone from the process's memory, all of it, once nobody
 * needs them. They are made here of random octets, and known only as a pattern that is not what is
 * looked for. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sys/random.h"
#include "reflector/keystore.h"
#include "reflector/log.h"

enum {
    COUNT = 1024,
    PASSPHRASE = 32,
    MASK = 0x5a,
    PIECE = 65536,
    REGION_MAX = 32 * 1024 * 1024, /* larger ones are a sanitizer's */
};

struct fixture {
    struct twd_poller *poller;
    struct twd_keystore *store;
    uint8_t masked[PASSPHRASE];
};

static int make(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    twd_log_set_level(TWD_LOG_ERROR);
    fixture->poller = twd_poller_new(NULL);
    fixture->store = twd_keystore_new(fixture->poller, TWD_KEYSTORE_RENEW_NS, NULL);
    struct tw_random random;
    tw_random_init(&random);
    tw_random_fill(&random, fixture->masked, PASSPHRASE);
    *state = fixture;
    return fixture->store == NULL ? -1 : 0;
}

static int destroy(void **state)
{
    struct fixture *fixture = *state;
    twd_keystore_free(fixture->store);
    twd_poller_free(fixture->poller);
    free(fixture);
    return 0;
}

static void load(struct fixture *fixture)
{
    struct tw_secrets secrets = {.count = 1};
    secrets.all = calloc(1, sizeof(*secrets.all));
    assert_non_null(secrets.all);
    assert_true(tw_secrets_keyid("alice", secrets.all->keyid));
    secrets.all->size = PASSPHRASE;
    secrets.all->passphrase = malloc(PASSPHRASE);
    assert_non_null(secrets.all->passphrase);
    for (size_t i = 0; i < PASSPHRASE; i++)
        secrets.all->passphrase[i] = fixture->masked[i] ^ MASK;
    assert_true(twd_keystore_load(fixture->store, &secrets, COUNT, NULL));
}

static bool is_passphrase(const struct fixture *fixture, const uint8_t *at)
{
    for (size_t i = 0; i < PASSPHRASE; i++)
        if ((at[i] ^ fixture->masked[i]) != MASK)
            return false;
    return true;
}

/* What is found is spoilt: the copy, too, is memory of this process. */
static unsigned count_in_copy(const struct fixture *fixture, uint8_t *copy, size_t n)
{
    unsigned found = 0;
    uint8_t *at = copy;
    while (n - (size_t)(at - copy) >= PASSPHRASE &&
           (at = memchr(at, fixture->masked[0] ^ MASK, n - (size_t)(at - copy) - PASSPHRASE + 1)) !=
               NULL) {
        if (is_passphrase(fixture, at)) {
            found++;
            *at ^= 1;
        }
        at++;
    }
    return found;
}

/* Piece by piece, of which the next begins where a passphrase cut in two would. */
static unsigned count_in(const struct fixture *fixture, int memory, uint64_t from, uint64_t to)
{
    static uint8_t copy[PIECE];
    unsigned found = 0;
    for (uint64_t at = from; at < to; at += PIECE - PASSPHRASE + 1) {
        const ssize_t n = pread(memory, copy, MIN(to - at, (uint64_t)PIECE), (off_t)at);
        if (n > 0)
            found += count_in_copy(fixture, copy, (size_t)n);
    }
    return found;
}

/* How often the passphrase is in what this process can write. */
static unsigned count_everywhere(const struct fixture *fixture)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    assert_non_null(maps);
    assert_true(memory >= 0);
    char line[512];
    unsigned found = 0;
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long long from;
        unsigned long long to;
        char may[5];
        if (sscanf(line, "%llx-%llx %4s", &from, &to, may) == 3 && may[1] == 'w' &&
            to - from <= REGION_MAX)
            found += count_in(fixture, memory, from, to);
    }
    close(memory);
    fclose(maps);
    return found;
}

static void turn_for(gint64 ms)
{
    const gint64 end = g_get_monotonic_time() + ms * 1000;
    while (g_get_monotonic_time() < end)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
}

static void wait_ready(struct fixture *fixture)
{
    while (!twd_keystore_is_ready(fixture->store))
        g_main_context_iteration(NULL, TRUE);
}

static void passphrases_are_gone_when_there_are_no_secured_modes_any_more(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 5; i++) {
        load(fixture);
        wait_ready(fixture);
        assert_int_equal(count_everywhere(fixture), 1); /* for the next salt; and it can be found */
        twd_keystore_unload(fixture->store);
        turn_for(20);
        assert_int_equal(count_everywhere(fixture), 0);
    }
}

static void passphrases_of_work_that_was_broken_off_are_gone_when_it_ends(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 5; i++) {
        load(fixture);
        twd_keystore_unload(fixture->store);
        turn_for(100);
        assert_int_equal(count_everywhere(fixture), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            passphrases_are_gone_when_there_are_no_secured_modes_any_more, make, destroy),
        cmocka_unit_test_setup_teardown(
            passphrases_of_work_that_was_broken_off_are_gone_when_it_ends, make, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
