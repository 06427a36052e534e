/* lib/sys/deriver.h and what a target remembers of its answers: keys against vectors that Python's
 * hashlib made, and an end that does not wait for iterations. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <dirent.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/sys/clock.h"
#include "lib/sys/deriver.h"
#include "lib/sys/target_key.h"
#include "lib/time.h"

static const uint8_t secret[] = "twamp-kat-secret";
enum { SECRET_SIZE = sizeof secret - 1 };

static struct tw_probe_salt salt_with(uint32_t count)
{
    struct tw_probe_salt salt = {.count = count};
    for (unsigned i = 0; i < sizeof salt.salt; i++)
        salt.salt[i] = (uint8_t)i;
    return salt;
}

/* hashlib.pbkdf2_hmac('sha1', b'twamp-kat-secret', bytes(range(16)), COUNT, 16) */
static const uint8_t key_1024[16] = {0x27, 0x03, 0x4f, 0x31, 0xcc, 0x84, 0x56, 0x30,
                                     0x7b, 0xe6, 0x3a, 0x03, 0x58, 0x5e, 0xd4, 0x0a};
static const uint8_t key_32768[16] = {0x62, 0xf9, 0xb3, 0x4b, 0x82, 0x41, 0x30, 0x8d,
                                      0x21, 0x8a, 0xf3, 0x05, 0x44, 0x0d, 0x20, 0x40};

static struct tw_deriver_answer next_answer(struct tw_deriver *deriver)
{
    struct tw_deriver_answer answer;
    struct pollfd ready = {.fd = tw_deriver_descriptor(deriver), .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 20000), 1);
    assert_int_equal(tw_deriver_take(deriver, &answer), 1);
    return answer;
}

static void a_key_comes_with_what_it_was_derived_for(void **state)
{
    (void)state;
    struct tw_deriver *deriver = tw_deriver_new();
    assert_non_null(deriver);
    const struct tw_probe_salt few = salt_with(1024), many = salt_with(32768);
    struct tw_deriver_answer answer;
    assert_int_equal(tw_deriver_take(deriver, &answer), 0);
    assert_int_equal(tw_deriver_ask(deriver, 7, secret, SECRET_SIZE, &few), 0);
    assert_int_equal(tw_deriver_ask(deriver, 8, secret, SECRET_SIZE, &many), 0);
    unsigned seen = 0;
    for (int i = 0; i < 2; i++) {
        answer = next_answer(deriver);
        assert_true(answer.tag == 7 || answer.tag == 8);
        const bool first = answer.tag == 7;
        seen |= first ? 1u : 2u;
        assert_int_equal(answer.salt.count, first ? 1024 : 32768);
        assert_memory_equal(answer.salt.salt, few.salt, sizeof few.salt);
        assert_memory_equal(answer.key, first ? key_1024 : key_32768, sizeof answer.key);
    }
    assert_int_equal(seen, 3);
    struct pollfd ready = {.fd = tw_deriver_descriptor(deriver), .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 0), 0);
    tw_deriver_free(deriver);
}

/* Of this process's threads with that name. */
static int least_niceness(const char *name, unsigned *threads)
{
    int least = 20;
    *threads = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        char path[64], comm[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%.16s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue; /* . and .. */
        if (fgets(comm, sizeof comm, file) != NULL && strncmp(comm, name, strlen(name)) == 0) {
            const int its = getpriority(PRIO_PROCESS, (id_t)strtoul(task->d_name, NULL, 10));
            least = its < least ? its : least;
            ++*threads;
        }
        fclose(file);
    }
    closedir(tasks);
    return least;
}

/* 2^31 iterations take a quarter of an hour. */
static void the_end_does_not_wait_for_a_server_that_wants_years(void **state)
{
    (void)state;
    struct tw_deriver *deriver = tw_deriver_new();
    assert_non_null(deriver);
    const struct tw_probe_salt endless = salt_with(UINT32_C(1) << 31);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(tw_deriver_ask(deriver, i, secret, SECRET_SIZE, &endless), 0);
    (void)poll(NULL, 0, 50);
    unsigned threads;
    assert_int_equal(least_niceness("twamp-keys", &threads), getpriority(PRIO_PROCESS, 0) + 10);
    assert_int_equal(threads, 2);
    const tw_mono before = tw_clock_mono();
    tw_deriver_free(deriver);
    assert_true(tw_clock_mono().ns - before.ns < TW_NS_PER_S);
}

static void nothing_is_freed_twice_or_never(void **state)
{
    (void)state;
    tw_deriver_free(NULL);
    struct tw_deriver *deriver = tw_deriver_new();
    assert_non_null(deriver);
    const struct tw_probe_salt few = salt_with(1024);
    for (uint64_t i = 0; i < 100; i++) /* some answered, some not, nothing taken */
        assert_int_equal(tw_deriver_ask(deriver, i, secret, SECRET_SIZE, &few), 0);
    tw_deriver_free(deriver);
}

static void a_target_remembers_the_last_key_only(void **state)
{
    (void)state;
    const struct tw_probe_salt few = salt_with(1024), many = salt_with(32768);
    struct tw_target_key key;
    assert_int_equal(tw_target_key_init(&key, secret, SECRET_SIZE), 0);
    assert_ptr_not_equal(key.passphrase, secret);
    assert_false(tw_target_key_is_known(&key, &few));
    tw_target_key_want(&key, &few, 1);
    assert_true(tw_target_key_waits(&key, &few));
    assert_false(tw_target_key_waits(&key, &many));
    tw_target_key_learn(&key, &few, key_1024);
    assert_true(tw_target_key_is_known(&key, &few));
    assert_false(tw_target_key_waits(&key, &few));
    assert_false(tw_target_key_is_known(&key, &many));
    /* what comes late, for a salt of the past, does not end the wait for another */
    tw_target_key_want(&key, &many, 2);
    tw_target_key_learn(&key, &few, key_1024);
    assert_true(tw_target_key_waits(&key, &many));
    tw_target_key_learn(&key, &many, key_32768);
    assert_true(tw_target_key_is_known(&key, &many));
    assert_false(tw_target_key_is_known(&key, &few));
    assert_memory_equal(key.derived, key_32768, sizeof key.derived);
    tw_target_key_free(&key);
}

static void another_salt_octet_is_another_salt(void **state)
{
    (void)state;
    const struct tw_probe_salt salt = salt_with(1024);
    struct tw_target_key key;
    assert_int_equal(tw_target_key_init(&key, secret, SECRET_SIZE), 0);
    tw_target_key_learn(&key, &salt, key_1024);
    for (size_t i = 0; i < sizeof salt.salt; i++) {
        struct tw_probe_salt other = salt;
        other.salt[i] ^= 1;
        assert_false(tw_target_key_is_known(&key, &other));
    }
    tw_target_key_free(&key);
}

static void equal_secrets_share_and_no_secrets_do_not(void **state)
{
    (void)state;
    struct tw_target_key a, b, none;
    assert_int_equal(tw_target_key_init(&a, secret, SECRET_SIZE), 0);
    assert_int_equal(tw_target_key_init(&b, secret, SECRET_SIZE), 0);
    assert_int_equal(tw_target_key_init(&none, NULL, 0), 0);
    assert_true(tw_target_key_shares(&a, &b));
    assert_false(tw_target_key_shares(&a, &none));
    assert_false(tw_target_key_shares(&none, &none));
    b.passphrase[0] ^= 1;
    assert_false(tw_target_key_shares(&a, &b));
    tw_target_key_free(&b);
    assert_int_equal(tw_target_key_init(&b, secret, SECRET_SIZE - 1), 0);
    assert_false(tw_target_key_shares(&a, &b));
    tw_target_key_free(&a);
    tw_target_key_free(&b);
    tw_target_key_free(&none);
}

static void nothing_is_left_of_a_key_that_was_freed(void **state)
{
    (void)state;
    const struct tw_probe_salt salt = salt_with(1024);
    struct tw_target_key key;
    assert_int_equal(tw_target_key_init(&key, secret, SECRET_SIZE), 0);
    tw_target_key_learn(&key, &salt, key_1024);
    tw_target_key_free(&key);
    static const struct tw_target_key zero;
    assert_memory_equal(&key, &zero, sizeof key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_comes_with_what_it_was_derived_for),
        cmocka_unit_test(nothing_is_freed_twice_or_never),
        cmocka_unit_test(a_target_remembers_the_last_key_only),
        cmocka_unit_test(another_salt_octet_is_another_salt),
        cmocka_unit_test(equal_secrets_share_and_no_secrets_do_not),
        cmocka_unit_test(nothing_is_left_of_a_key_that_was_freed),
        /* the last, since its threads run on until the program ends */
        cmocka_unit_test(the_end_does_not_wait_for_a_server_that_wants_years),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
