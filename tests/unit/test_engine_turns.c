/* How often the engine turns: lib/sys/engine_loop.c with nothing to do, and never let to wait for
 * it.
 *
 * Two functions are the test's own (--wrap). Waiting ends at once, as by a signal, as if something
 * had come up that moment; and the clock that each turn begins with is noted. So the time between
 * two turns is what the engine takes of its own accord, plus what other work on the machine takes:
 * it may be longer at any time, and is never shorter by chance. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/epoll.h>

#include "lib/sys/clock.h"
#include "lib/sys/engine.h"

/* What an engine with many targets keeps between the beginnings of two turns, and how many are
 * many. */
#define APART_NS (500 * TW_NS_PER_US)
enum { MANY = 256 };

static struct tw_engine *engine;
static tw_mono last;
static int64_t shortest_ns; /* between two turns */
static unsigned turns, limit;

struct tw_reading __real_tw_clock_read(struct tw_clock *clock);
struct tw_reading __wrap_tw_clock_read(struct tw_clock *clock);
int __real_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms);

/* No packet is sent here, so that only turns begin with it. */
struct tw_reading __wrap_tw_clock_read(struct tw_clock *clock)
{
    const struct tw_reading now = __real_tw_clock_read(clock);
    if (turns++ > 0 && now.mono.ns - last.ns < shortest_ns)
        shortest_ns = now.mono.ns - last.ns;
    last = now.mono;
    if (turns >= limit || shortest_ns < APART_NS)
        tw_engine_stop(engine);
    return now;
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    if (timeout_ms == 0)
        return __real_epoll_wait(epoll, events, count, timeout_ms);
    errno = EINTR;
    return -1;
}

static void ignore(void *user, void *target_user, const struct tw_measurement *measurement)
{
    (void)user;
    (void)target_user;
    (void)measurement;
}

/* Turns that often, or until two turns were closer than APART_NS; the shortest time between two. */
static int64_t turn(unsigned targets, unsigned at_most)
{
    const struct tw_engine_config config = {.on_measurement = ignore};
    const struct tw_engine_target target = {
        .host = "nowhere.invalid",
        .probe =
            {
                .interval_ns = 86400 * TW_NS_PER_S,
                .count = 1,
                .packet_interval_ns = TW_NS_PER_S,
                .timeout_ns = TW_NS_PER_S,
                .connect_ns = TW_NS_PER_S,
                .resolve_ns = 86400 * TW_NS_PER_S,
                .control_port = 862,
                .client = {.mode = TW_MODE_UNAUTHENTICATED, .step_ns = TW_NS_PER_S},
                .sender = {.padding_length = 27, .wait_ns = TW_NS_PER_S, .tai_utc_s = 37},
            },
    };
    engine = tw_engine_new(&config);
    assert_non_null(engine);
    for (unsigned i = 0; i < targets; i++)
        assert_int_equal(tw_engine_add(engine, &target), 0);
    turns = 0;
    limit = at_most;
    shortest_ns = INT64_MAX;
    assert_int_equal(tw_engine_run(engine), 0);
    tw_engine_free(engine);
    return shortest_ns;
}

static void turns_of_an_engine_with_many_targets_are_apart(void **state)
{
    (void)state;
    const int64_t shortest = turn(MANY, 200);
    assert_true(turns >= 200);
    assert_true(shortest >= APART_NS);
}

static void an_engine_with_few_targets_turns_at_once(void **state)
{
    (void)state;
    assert_true(turn(MANY - 1, 10000) < APART_NS);
    assert_true(turn(1, 10000) < APART_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_of_an_engine_with_many_targets_are_apart),
        cmocka_unit_test(an_engine_with_few_targets_turns_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
