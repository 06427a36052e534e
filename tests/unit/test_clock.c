/* lib/sys/clock.h against the C library's own calls. Nothing sets the clock: steps come from
 * test_offset_ns, and a kernel that forbids adjtimex from a filter on a child process. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys/clock.h"

static int64_t now_ns(clockid_t id)
{
    struct timespec t;
    assert_int_equal(clock_gettime(id, &t), 0);
    return (int64_t)t.tv_sec * TW_NS_PER_S + t.tv_nsec;
}

static void reading_lies_between_reads_of_both_clocks(void **state)
{
    (void)state;
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    const int64_t mono = now_ns(CLOCK_MONOTONIC);
    const int64_t wall = now_ns(CLOCK_REALTIME);
    const struct tw_reading reading = tw_clock_read(&clock);
    assert_true(reading.mono.ns >= mono);
    assert_true(reading.wall.ns >= wall);
    assert_true(reading.wall.ns <= now_ns(CLOCK_REALTIME));
    assert_true(reading.mono.ns <= now_ns(CLOCK_MONOTONIC));
    assert_int_equal(reading.error, clock.error);
    assert_true(tw_clock_mono().ns >= reading.mono.ns);
}

/* The difference of the two clocks tells a clock step from a slow machine. */
static void difference_of_the_clocks_is_steady(void **state)
{
    (void)state;
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    int64_t least = INT64_MAX;
    int64_t most = INT64_MIN;
    for (int i = 0; i < 1000; i++) {
        const struct tw_reading reading = tw_clock_read(&clock);
        const int64_t difference = reading.wall.ns - reading.mono.ns;
        least = difference < least ? difference : least;
        most = difference > most ? difference : most;
    }
    assert_true(most - least < TW_NS_PER_MS);
}

static void quality_is_the_kernels(void **state)
{
    (void)state;
    struct timex kernel = {.modes = 0};
    if (adjtimex(&kernel) < 0)
        skip();
    struct tw_clock clock;
    tw_clock_init(&clock, 1);
    const bool synchronized =
        (kernel.status & STA_UNSYNC) == 0 && kernel.maxerror * TW_NS_PER_US < 16 * TW_NS_PER_S;
    assert_int_equal(clock.quality.synchronized, synchronized);
    assert_true(clock.quality.error_ns >= kernel.maxerror * TW_NS_PER_US);
    assert_int_equal(clock.quality.tai_utc_s, kernel.tai != 0 ? kernel.tai : 37);
    assert_int_equal(tw_error_synchronized(clock.error), synchronized);
    assert_true(tw_error_ns(clock.error) >= clock.quality.error_ns);
}

static void error_claimed_is_never_below_the_floor(void **state)
{
    (void)state;
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    assert_true(clock.quality.error_ns >= TW_NS_PER_MS);
    tw_clock_init(&clock, INT64_C(100) * TW_NS_PER_S);
    assert_int_equal(clock.quality.error_ns, INT64_C(100) * TW_NS_PER_S);
    assert_true(tw_error_ns(clock.error) >= INT64_C(100) * TW_NS_PER_S);
}

static void quality_is_looked_at_again_when_its_time_has_come(void **state)
{
    (void)state;
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    const uint16_t error = clock.error;
    assert_true(clock.refresh_at.ns > now_ns(CLOCK_MONOTONIC) - TW_NS_PER_S);
    clock.error = 0;
    clock.refresh_at = TW_NEVER;
    assert_int_equal(tw_clock_read(&clock).error, 0);
    clock.refresh_at = tw_clock_mono();
    /* The kernel's maxerror grows by 500 ppm between the looks: only S and the scale are compared.
     */
    assert_true((tw_clock_read(&clock).error & 0x8000) == (error & 0x8000));
    assert_true(clock.error != 0);
    assert_true(clock.refresh_at.ns > now_ns(CLOCK_MONOTONIC));
}

static void test_offset_moves_only_the_wall_clock(void **state)
{
    (void)state;
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    const int64_t offset = INT64_C(-3600) * TW_NS_PER_S;
    clock.test_offset_ns = offset;
    const int64_t wall = now_ns(CLOCK_REALTIME);
    const struct tw_reading reading = tw_clock_read(&clock);
    assert_true(reading.wall.ns >= wall + offset);
    assert_true(reading.wall.ns <= now_ns(CLOCK_REALTIME) + offset);
    assert_true(reading.mono.ns <= now_ns(CLOCK_MONOTONIC));
    const struct tw_reading departure = tw_clock_departure(&clock, &reading);
    assert_true(departure.wall.ns >= reading.wall.ns);
    assert_true(departure.wall.ns <= now_ns(CLOCK_REALTIME) + offset);
}

static void suspend_is_told_once(void **state)
{
    (void)state;
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    assert_false(tw_clock_was_suspended(&clock));
    clock.test_suspended_ns = 50 * TW_NS_PER_MS;
    assert_false(tw_clock_was_suspended(&clock));
    clock.test_suspended_ns = 200 * TW_NS_PER_MS;
    assert_true(tw_clock_was_suspended(&clock));
    assert_false(tw_clock_was_suspended(&clock));
    clock.test_suspended_ns += INT64_C(7200) * TW_NS_PER_S;
    assert_true(tw_clock_was_suspended(&clock));
    assert_false(tw_clock_was_suspended(&clock));
}

static void departure_moves_both_clocks_along(void **state)
{
    (void)state;
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    const struct tw_reading reading = tw_clock_read(&clock);
    const int64_t wall = now_ns(CLOCK_REALTIME);
    const struct tw_reading departure = tw_clock_departure(&clock, &reading);
    assert_true(departure.wall.ns >= wall);
    assert_true(departure.wall.ns <= now_ns(CLOCK_REALTIME));
    assert_true(departure.mono.ns >= reading.mono.ns);
    assert_true(departure.mono.ns <= now_ns(CLOCK_MONOTONIC) + TW_NS_PER_MS);
    assert_int_equal(departure.error, reading.error);
}

/* A step between preparing and leaving must show in wall - mono, and never turn the monotonic clock
 * back. */
static void departure_after_a_clock_step_shows_the_step(void **state)
{
    (void)state;
    static const int64_t steps[] = {INT64_C(-5) * TW_NS_PER_S, INT64_C(5) * TW_NS_PER_S};
    for (size_t i = 0; i < 2; i++) {
        struct tw_clock clock;
        tw_clock_init(&clock, 0);
        const struct tw_reading reading = tw_clock_read(&clock);
        clock.test_offset_ns = steps[i];
        const struct tw_reading departure = tw_clock_departure(&clock, &reading);
        assert_true(departure.mono.ns >= reading.mono.ns);
        assert_true(departure.mono.ns <= now_ns(CLOCK_MONOTONIC));
        const int64_t moved =
            departure.wall.ns - departure.mono.ns - reading.wall.ns + reading.mono.ns - steps[i];
        assert_in_range(moved + TW_NS_PER_S / 2, 0, TW_NS_PER_S);
    }
}

/* In a child: the filter cannot be taken off again. Exit status 0 = as promised, 1 = not, 77 = the
 * kernel has no filters. */
static void forbid_adjtimex_and_look(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_adjtimex, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_adjtime, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        _exit(77);
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    const struct tw_reading reading = tw_clock_read(&clock);
    const bool honest = !clock.quality.synchronized && !tw_error_synchronized(reading.error) &&
                        clock.quality.error_ns == INT64_C(16) * TW_NS_PER_S &&
                        clock.quality.tai_utc_s == 37;
    _exit(honest ? 0 : 1);
}

static void clock_that_may_not_be_asked_counts_as_not_synchronised(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        forbid_adjtimex_and_look();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_lies_between_reads_of_both_clocks),
        cmocka_unit_test(difference_of_the_clocks_is_steady),
        cmocka_unit_test(quality_is_the_kernels),
        cmocka_unit_test(error_claimed_is_never_below_the_floor),
        cmocka_unit_test(quality_is_looked_at_again_when_its_time_has_come),
        cmocka_unit_test(test_offset_moves_only_the_wall_clock),
        cmocka_unit_test(suspend_is_told_once),
        cmocka_unit_test(departure_moves_both_clocks_along),
        cmocka_unit_test(departure_after_a_clock_step_shows_the_step),
        cmocka_unit_test(clock_that_may_not_be_asked_counts_as_not_synchronised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
