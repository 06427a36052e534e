/* When a target's intervals begin: targets are spread over the interval, always in the same way on
 * one host and in another way on every other. The host's name is the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/sys/target.h"

enum { TARGETS = 1000, PARTS = 50 };

static const int64_t INTERVAL_NS = 10 * TW_NS_PER_S;

static const char *host_name;

int __wrap_gethostname(char *name, size_t size);

int __wrap_gethostname(char *name, size_t size)
{
    (void)snprintf(name, size, "%s", host_name);
    return 0;
}

/* Of TARGETS targets; all of one host, as classes of one reflector are, or each of its own. */
static void get_phases(const char *name, bool one_host, int64_t *phases)
{
    host_name = name;
    for (size_t i = 0; i < TARGETS; i++) {
        char host[32] = "192.0.2.1";
        if (!one_host)
            (void)snprintf(host, sizeof host, "198.18.%u.%u", (unsigned)i / 250, (unsigned)i % 250);
        const struct tw_engine_target spec = {
            .host = host,
            .probe = {.interval_ns = INTERVAL_NS,
                      .count = 10,
                      .packet_interval_ns = 100 * TW_NS_PER_MS,
                      .client = {.mode = TW_MODE_UNAUTHENTICATED},
                      .sender = {.padding_length = 27, .wait_ns = 2 * TW_NS_PER_S}},
        };
        struct tw_target *target;
        assert_int_equal(tw_target_new(&spec, i, &target), 0);
        phases[i] = target->config.phase_ns;
        assert_true(phases[i] >= 0 && phases[i] < INTERVAL_NS);
        tw_target_free(target);
    }
}

/* Chi squared of 50 parts has 49 degrees of freedom: of what is evenly distributed 1 in 1,000
 * exceeds 86, and clusters exceed it by far. */
static void assert_even(const int64_t *phases)
{
    unsigned in[PARTS] = {0};
    for (size_t i = 0; i < TARGETS; i++)
        in[phases[i] / (INTERVAL_NS / PARTS)]++;
    const double expected = (double)TARGETS / PARTS;
    double sum = 0;
    for (size_t i = 0; i < PARTS; i++)
        sum += pow(in[i] - expected, 2) / expected;
    if (sum > 86)
        fail_msg("chi squared of the phases is %.1f", sum);
}

static void targets_are_spread_evenly_over_the_interval(void **state)
{
    (void)state;
    int64_t phases[TARGETS];
    for (unsigned one_host = 0; one_host < 2; one_host++) {
        get_phases("probe-1", one_host, phases);
        assert_even(phases);
    }
}

static void phases_are_the_same_after_a_restart(void **state)
{
    (void)state;
    int64_t first[TARGETS];
    int64_t second[TARGETS];
    get_phases("probe-1", false, first);
    get_phases("probe-1", false, second);
    assert_memory_equal(first, second, sizeof first);
}

/* Else a fleet that is restarted at one moment would meet at each reflector. */
static void phases_differ_between_hosts(void **state)
{
    (void)state;
    int64_t first[TARGETS];
    int64_t second[TARGETS];
    get_phases("probe-1", false, first);
    get_phases("probe-2", false, second);
    for (size_t i = 0; i < TARGETS; i++) /* how far the second one's are behind */
        first[i] = (second[i] - first[i] + INTERVAL_NS) % INTERVAL_NS;
    assert_even(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_spread_evenly_over_the_interval),
        cmocka_unit_test(phases_are_the_same_after_a_restart),
        cmocka_unit_test(phases_differ_between_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
