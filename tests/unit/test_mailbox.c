/* The mailbox: order, when its reader is woken, and that no message is lost between threads. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "reflector/mailbox.h"

enum { POSTERS = 3, EACH = 20000, PATIENCE_MS = 10000 };

struct note {
    struct twd_message message; /* first */
    int poster, number;
};

static bool is_woken_within(const struct twd_mailbox *mailbox, int ms)
{
    struct pollfd fd = {.fd = mailbox->descriptor, .events = POLLIN};
    return poll(&fd, 1, ms) == 1;
}

static bool is_woken(const struct twd_mailbox *mailbox)
{
    return is_woken_within(mailbox, 0);
}

static int make(void **state)
{
    struct twd_mailbox *boxes = calloc(2, sizeof(*boxes));
    if (boxes == NULL || twd_mailbox_init(&boxes[0]) != 0 || twd_mailbox_init(&boxes[1]) != 0)
        return -1;
    *state = boxes;
    return 0;
}

static int destroy(void **state)
{
    struct twd_mailbox *boxes = *state;
    twd_mailbox_free(&boxes[0]);
    twd_mailbox_free(&boxes[1]);
    free(boxes);
    return 0;
}

static void messages_come_in_order_and_wake_their_reader(void **state)
{
    struct twd_mailbox *box = *state;
    struct twd_message first;
    struct twd_message second;
    assert_true(twd_mailbox_is_empty(box));
    assert_false(is_woken(box));
    twd_mailbox_post(box, &first);
    twd_mailbox_post(box, &second);
    assert_true(is_woken(box));
    assert_false(twd_mailbox_is_empty(box));
    assert_ptr_equal(twd_mailbox_take(box), &first);
    assert_ptr_equal(first.next, &second);
    assert_null(second.next);
    assert_false(is_woken(box));
    assert_null(twd_mailbox_take(box));
}

static void reader_is_woken_when_the_poster_lets_go(void **state)
{
    struct twd_mailbox *boxes = *state;
    struct twd_message one;
    struct twd_message two;
    struct twd_message other;
    twd_mailbox_hold();
    twd_mailbox_post(&boxes[0], &one);
    twd_mailbox_post(&boxes[1], &other);
    twd_mailbox_post(&boxes[0], &two);
    assert_false(is_woken(&boxes[0]));
    assert_false(is_woken(&boxes[1]));
    twd_mailbox_let_go();
    assert_true(is_woken(&boxes[0]));
    assert_true(is_woken(&boxes[1]));
    assert_ptr_equal(twd_mailbox_take(&boxes[0]), &one);
    assert_ptr_equal(one.next, &two);
    assert_ptr_equal(twd_mailbox_take(&boxes[1]), &other);
}

static void reader_that_looks_finds_what_is_held_back(void **state)
{
    struct twd_mailbox *box = *state;
    struct twd_message message;
    struct twd_message later;
    twd_mailbox_hold();
    twd_mailbox_post(box, &message);
    assert_false(twd_mailbox_is_empty(box));
    assert_ptr_equal(twd_mailbox_take(box), &message);
    twd_mailbox_let_go();
    assert_false(is_woken(box)); /* for nothing */

    twd_mailbox_hold();
    twd_mailbox_post(box, &message);
    assert_ptr_equal(twd_mailbox_take(box), &message);
    twd_mailbox_post(box, &later);
    assert_false(is_woken(box));
    twd_mailbox_let_go();
    assert_true(is_woken(box));
    assert_ptr_equal(twd_mailbox_take(box), &later);
}

static void after_letting_go_messages_wake_at_once(void **state)
{
    struct twd_mailbox *box = *state;
    struct twd_message message;
    twd_mailbox_hold();
    twd_mailbox_let_go();
    twd_mailbox_let_go(); /* what is not held can be let go */
    twd_mailbox_post(box, &message);
    assert_true(is_woken(box));
    twd_mailbox_take(box);
}

static void *post_one(void *box)
{
    static struct twd_message message;
    twd_mailbox_post(box, &message);
    return NULL;
}

static void one_thread_holds_back_nothing_of_another(void **state)
{
    struct twd_mailbox *boxes = *state;
    struct twd_message message;
    pthread_t thread;
    twd_mailbox_hold();
    twd_mailbox_post(&boxes[0], &message);
    assert_int_equal(pthread_create(&thread, NULL, post_one, &boxes[1]), 0);
    pthread_join(thread, NULL);
    assert_true(is_woken(&boxes[1]));
    assert_false(is_woken(&boxes[0]));
    twd_mailbox_let_go();
    assert_true(is_woken(&boxes[0]));
    twd_mailbox_take(&boxes[0]);
    twd_mailbox_take(&boxes[1]);
}

struct poster {
    struct twd_mailbox *box;
    struct note *notes;
    int hold; /* every so many messages; 0: never */
    pthread_t thread;
};

static void *post_all(void *argument)
{
    const struct poster *poster = argument;
    for (int i = 0; i < EACH; i++) {
        if (poster->hold > 0 && i % poster->hold == 0)
            twd_mailbox_hold();
        twd_mailbox_post(poster->box, &poster->notes[i].message);
        if (poster->hold > 0 && (i + 1) % poster->hold == 0)
            twd_mailbox_let_go();
    }
    twd_mailbox_let_go();
    return NULL;
}

/* Each poster's in its order; how many. */
static int check_order(const struct twd_message *message, int *next)
{
    int count = 0;
    for (; message != NULL; message = message->next) {
        const struct note *note = (const struct note *)(const void *)message;
        assert_int_equal(note->number, next[note->poster]++);
        count++;
    }
    return count;
}

static void no_message_is_lost_between_threads(void **state)
{
    struct twd_mailbox *box = *state;
    struct note *notes = calloc(POSTERS * EACH, sizeof(*notes));
    struct poster posters[POSTERS];
    int next[POSTERS] = {0};
    assert_non_null(notes);
    for (int i = 0; i < POSTERS * EACH; i++)
        notes[i] = (struct note){.poster = i / EACH, .number = i % EACH};
    for (int i = 0; i < POSTERS; i++) {
        static const int holds[POSTERS] = {0, 7, 64};
        posters[i] = (struct poster){.box = box, .notes = notes + i * EACH, .hold = holds[i]};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    for (int left = POSTERS * EACH; left > 0;) {
        assert_true(is_woken_within(box, PATIENCE_MS));
        left -= check_order(twd_mailbox_take(box), next);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    free(notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_come_in_order_and_wake_their_reader, make,
                                        destroy),
        cmocka_unit_test_setup_teardown(reader_is_woken_when_the_poster_lets_go, make, destroy),
        cmocka_unit_test_setup_teardown(reader_that_looks_finds_what_is_held_back, make, destroy),
        cmocka_unit_test_setup_teardown(after_letting_go_messages_wake_at_once, make, destroy),
        cmocka_unit_test_setup_teardown(one_thread_holds_back_nothing_of_another, make, destroy),
        cmocka_unit_test_setup_teardown(no_message_is_lost_between_threads, make, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
