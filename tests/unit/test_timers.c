/* The heap of deadlines: order, moving, disarming, and that a run ends. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdlib.h>

#include "reflector/timers.h"

enum { COUNT = 500 };

struct fixture {
    struct twd_timers timers;
    struct twd_timer timer[COUNT];
    int64_t called[4 * COUNT]; /* deadlines in the order in which they were called */
    unsigned calls;
};

static void note(struct twd_timer *timer, tw_mono now)
{
    struct fixture *fixture = timer->owner;
    assert_true(timer->at.ns <= now.ns);
    assert_int_equal(timer->place, 0);
    fixture->called[fixture->calls++] = timer->at.ns;
}

static void rearm_in_the_past(struct twd_timer *timer, tw_mono now)
{
    struct fixture *fixture = timer->owner;
    fixture->calls++;
    twd_timers_arm(&fixture->timers, timer, (tw_mono){now.ns - 1});
}

static int make(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    twd_timers_init(&fixture->timers);
    for (size_t i = 0; i < COUNT; i++)
        fixture->timer[i] = (struct twd_timer){.expire = note, .owner = fixture};
    *state = fixture;
    return 0;
}

static int destroy(void **state)
{
    struct fixture *fixture = *state;
    twd_timers_free(&fixture->timers);
    free(fixture);
    return 0;
}

/* Numbers that repeat from run to run. */
static int64_t next_number(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 12;
}

static void timers_are_called_in_order(void **state)
{
    struct fixture *fixture = *state;
    uint32_t seed = 1;
    for (size_t i = 0; i < COUNT; i++)
        twd_timers_arm(&fixture->timers, &fixture->timer[i], (tw_mono){next_number(&seed)});
    for (size_t i = 0; i < COUNT; i += 2) /* moved, either way */
        twd_timers_arm(&fixture->timers, &fixture->timer[i], (tw_mono){next_number(&seed)});
    for (size_t i = 0; i < COUNT; i += 5)
        twd_timers_disarm(&fixture->timers, &fixture->timer[i]);
    for (size_t i = 0; i < COUNT; i += 10) /* harmless twice */
        twd_timers_arm(&fixture->timers, &fixture->timer[i], TW_NEVER);
    twd_timers_run(&fixture->timers, (tw_mono){INT64_MAX - 1});
    assert_int_equal(fixture->calls, COUNT - COUNT / 5);
    for (unsigned i = 1; i < fixture->calls; i++)
        assert_true(fixture->called[i - 1] <= fixture->called[i]);
    assert_true(tw_mono_is_never(twd_timers_next(&fixture->timers)));
}

static void only_what_is_due_is_called(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 10; i++)
        twd_timers_arm(&fixture->timers, &fixture->timer[i], (tw_mono){(int64_t)(10 * i)});
    twd_timers_run(&fixture->timers, (tw_mono){39});
    assert_int_equal(fixture->calls, 4);
    assert_int_equal(twd_timers_next(&fixture->timers).ns, 40);
    twd_timers_run(&fixture->timers, (tw_mono){40});
    assert_int_equal(fixture->calls, 5);
    twd_timers_run(&fixture->timers, (tw_mono){40});
    assert_int_equal(fixture->calls, 5);
}

static void a_timer_that_arms_itself_for_the_past_does_not_hold_up_the_run(void **state)
{
    struct fixture *fixture = *state;
    fixture->timer[0].expire = rearm_in_the_past;
    twd_timers_arm(&fixture->timers, &fixture->timer[0], (tw_mono){5});
    twd_timers_run(&fixture->timers, (tw_mono){10});
    assert_int_equal(fixture->calls, 1);
    assert_int_equal(twd_timers_next(&fixture->timers).ns, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_are_called_in_order, make, destroy),
        cmocka_unit_test_setup_teardown(only_what_is_due_is_called, make, destroy),
        cmocka_unit_test_setup_teardown(
            a_timer_that_arms_itself_for_the_past_does_not_hold_up_the_run, make, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
