/* collectd-plugin/queue.h: results wait in order, the oldest gives way, and room that is not needed
 * is not touched. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <pthread.h>

#include "collectd-plugin/queue.h"

static struct tw_measurement result(int64_t begun)
{
    return (struct tw_measurement){.begun = {begun}};
}

static void put(struct tw_queue *queue, void *user, int64_t begun)
{
    const struct tw_measurement m = result(begun);
    tw_queue_put(queue, user, &m);
}

static void results_wait_in_order_and_the_oldest_gives_way(void **state)
{
    (void)state;
    struct tw_queue queue;
    struct tw_queue_entry entry;
    int user[5];
    assert_int_equal(tw_queue_init(&queue, 3), 0);
    assert_false(tw_queue_take(&queue, &entry));
    for (int i = 0; i < 5; i++)
        put(&queue, &user[i], i);
    assert_int_equal(tw_queue_dropped(&queue), 2);
    assert_int_equal(tw_queue_waiting(&queue), 3);
    for (int i = 2; i < 5; i++) {
        assert_true(tw_queue_take(&queue, &entry));
        assert_ptr_equal(entry.user, &user[i]);
        assert_int_equal(entry.measurement.begun.ns, i);
    }
    assert_false(tw_queue_take(&queue, &entry));
    assert_int_equal(tw_queue_waiting(&queue), 0);
    assert_int_equal(tw_queue_dropped(&queue), 2);
    tw_queue_free(&queue);
}

/* The model is a list of numbers that grows at one end and is cut at the other. */
static void any_order_of_putting_and_taking_keeps_the_newest(void **state)
{
    (void)state;
    struct tw_queue queue;
    struct tw_queue_entry entry;
    int64_t put_so_far = 0, taken_so_far = 0, dropped = 0;
    enum { ROOM = 7 };
    assert_int_equal(tw_queue_init(&queue, ROOM), 0);
    for (unsigned step = 0; step < 5000; step++) {
        for (unsigned n = step * 7 % 5; n > 0; n--)
            put(&queue, &queue, put_so_far++);
        if (put_so_far - taken_so_far > ROOM) {
            dropped += put_so_far - taken_so_far - ROOM;
            taken_so_far = put_so_far - ROOM;
        }
        for (unsigned n = step * 11 % 4 + step % 97 / 90; n > 0 && taken_so_far < put_so_far; n--) {
            assert_true(tw_queue_take(&queue, &entry));
            assert_int_equal(entry.measurement.begun.ns, taken_so_far++);
        }
        assert_int_equal(tw_queue_dropped(&queue), dropped);
    }
    assert_true(dropped > 0);
    tw_queue_free(&queue);
}

static void room_that_was_never_needed_is_not_touched(void **state)
{
    (void)state;
    struct tw_queue queue;
    struct tw_queue_entry entry;
    assert_int_equal(tw_queue_init(&queue, 100), 0);
    for (int round = 0; round < 1000; round++) {
        put(&queue, &queue, round);
        put(&queue, &queue, round);
        assert_true(tw_queue_take(&queue, &entry));
        assert_true(tw_queue_take(&queue, &entry));
    }
    for (size_t i = 2; i < queue.room; i++)
        assert_null(queue.entries[i].user);
    tw_queue_free(&queue);
}

enum { RESULTS = 20000 };

static void *put_all(void *queue)
{
    for (int i = 0; i < RESULTS; i++)
        put(queue, queue, i);
    return NULL;
}

static void one_thread_may_put_while_another_takes(void **state)
{
    (void)state;
    struct tw_queue queue;
    struct tw_queue_entry entry;
    pthread_t thread;
    assert_int_equal(tw_queue_init(&queue, RESULTS), 0);
    assert_int_equal(pthread_create(&thread, NULL, put_all, &queue), 0);
    for (int taken = 0; taken < RESULTS;) {
        if (!tw_queue_take(&queue, &entry))
            continue;
        assert_int_equal(entry.measurement.begun.ns, taken);
        taken++;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(tw_queue_take(&queue, &entry));
    assert_int_equal(tw_queue_dropped(&queue), 0);
    tw_queue_free(&queue);
}

static void what_is_not_there_can_be_freed(void **state)
{
    (void)state;
    struct tw_queue queue = {.room = 0};
    tw_queue_free(&queue);
    assert_int_equal(tw_queue_init(&queue, 1), 0);
    tw_queue_free(&queue);
    tw_queue_free(&queue);
    assert_null(queue.entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_wait_in_order_and_the_oldest_gives_way),
        cmocka_unit_test(any_order_of_putting_and_taking_keeps_the_newest),
        cmocka_unit_test(room_that_was_never_needed_is_not_touched),
        cmocka_unit_test(one_thread_may_put_while_another_takes),
        cmocka_unit_test(what_is_not_there_can_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
