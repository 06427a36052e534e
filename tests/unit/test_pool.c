/* lib/sys/pool.h: what becomes of jobs when the pool ends while its threads do not come back. What
 * threads do for names and for keys is in test_resolver.c and test_deriver.c. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <dirent.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "lib/sys/pool.h"
#include "lib/time.h"

enum { JOBS = 6, THREADS = 2, PATIENCE_MS = 10000 };

static sem_t begun, let_go;
static atomic_int discarded;

static void hang(struct tw_pool_job *job)
{
    (void)job;
    sem_post(&begun);
    while (sem_wait(&let_go) != 0)
        ;
}

static void discard(struct tw_pool_job *job)
{
    (void)job;
    atomic_fetch_add(&discarded, 1);
}

/* Jobs may have secrets in them: they are not left to a thread that may never come back. */
static void open_jobs_do_not_outlive_the_pool(void **state)
{
    (void)state;
    static const struct tw_pool_config config = {.name = "test",
                                                 .threads = THREADS,
                                                 .idle_threads = THREADS,
                                                 .work = hang,
                                                 .discard = discard};
    static struct tw_pool_job jobs[JOBS], ready;
    struct tw_pool *pool = tw_pool_new(&config);
    assert_non_null(pool);
    for (int i = 0; i < JOBS; i++)
        tw_pool_ask(pool, &jobs[i]);
    tw_pool_answer(pool, &ready);
    for (int i = 0; i < THREADS; i++)
        while (sem_wait(&begun) != 0)
            ;
    const tw_mono before = tw_clock_mono();
    tw_pool_free(pool);
    assert_true(tw_clock_mono().ns - before.ns < TW_NS_PER_S / 2);
    assert_int_equal(atomic_load(&discarded), JOBS - THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        sem_post(&let_go);
    for (int i = 0; i < PATIENCE_MS && atomic_load(&discarded) <= JOBS; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&discarded), JOBS + 1);
}

static void answers_are_announced_until_the_last_is_taken(void **state)
{
    (void)state;
    static const struct tw_pool_config config = {
        .name = "test", .threads = 1, .idle_threads = 1, .work = hang, .discard = discard};
    struct tw_pool_job first, second;
    struct tw_pool *pool = tw_pool_new(&config);
    assert_non_null(pool);
    struct pollfd ready = {.fd = tw_pool_descriptor(pool), .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 0), 0);
    tw_pool_answer(pool, &first);
    tw_pool_answer(pool, &second);
    assert_ptr_equal(tw_pool_take(pool), &first);
    assert_int_equal(poll(&ready, 1, 0), 1);
    assert_ptr_equal(tw_pool_take(pool), &second);
    assert_int_equal(poll(&ready, 1, 0), 0);
    assert_null(tw_pool_take(pool));
    tw_pool_free(pool);
    tw_pool_free(NULL);
}

static int count_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    int n = -2; /* the directory and its parent */
    while (readdir(tasks) != NULL)
        n++;
    closedir(tasks);
    return n;
}

/* And come again when they are needed. */
static void threads_end_when_there_is_nothing_to_do(void **state)
{
    (void)state;
    enum { MANY = 20, KEPT = 3 };
    static const struct tw_pool_config config = {
        .name = "test", .threads = MANY, .idle_threads = KEPT, .work = hang, .discard = discard};
    static struct tw_pool_job jobs[MANY];
    const int others = count_threads();
    struct tw_pool *pool = tw_pool_new(&config);
    assert_non_null(pool);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++)
            tw_pool_ask(pool, &jobs[i]);
        for (int i = 0; i < MANY; i++)
            while (sem_wait(&begun) != 0)
                ;
        assert_int_equal(count_threads(), others + MANY);
        for (int i = 0; i < MANY; i++)
            sem_post(&let_go);
        for (int i = 0; i < PATIENCE_MS && count_threads() > others + KEPT; i++)
            usleep(1000);
        usleep(10000);
        assert_int_equal(count_threads(), others + KEPT);
        for (int i = 0; i < MANY; i++)
            assert_non_null(tw_pool_take(pool));
    }
    tw_pool_free(pool);
    assert_int_equal(count_threads(), others);
}

int main(void)
{
    sem_init(&begun, 0, 0);
    sem_init(&let_go, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_jobs_do_not_outlive_the_pool),
        cmocka_unit_test(threads_end_when_there_is_nothing_to_do),
        cmocka_unit_test(answers_are_announced_until_the_last_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
