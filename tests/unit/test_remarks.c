/* collectd-plugin/remarks.h: settings that are allowed and lose packets with many a reflector are
 * named once, whatever the number of targets. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdio.h>

#include "collectd-plugin/remarks.h"
#include "lib/time.h"

enum { MOST = 4 };

struct world {
    struct tw_settings settings[MOST];
    struct tw_target all[MOST];
    struct tw_targets targets;
};

static struct tw_settings *add(struct world *world, const char *instance, uint32_t session,
                               uint32_t count, int64_t interval_s)
{
    const size_t i = world->targets.count++;
    assert_true(i < MOST);
    struct tw_settings *settings = &world->settings[i];
    tw_settings_init(settings);
    settings->session = session;
    settings->count = count;
    settings->interval_ns = interval_s * TW_NS_PER_S;
    world->all[i] = (struct tw_target){.settings = settings};
    snprintf(world->all[i].instance, TW_INSTANCE_SIZE, "%s", instance);
    world->targets.targets = world->all;
    return settings;
}

static void nothing_is_said_of_what_lasts(void **state)
{
    (void)state;
    struct world world = {.targets = {.count = 0}};
    char text[TW_REMARK_TEXT];
    for (unsigned i = 0; i < TW_REMARKS; i++)
        assert_false(tw_remarks_make(&world.targets, (enum tw_remark)i, text));
    add(&world, "minutes", TW_SESSION_CONTINUOUS, 60, 3600);
    add(&world, "least", TW_SESSION_CONTINUOUS, 1, 75);
    add(&world, "bursts", TW_SESSION_INTERVAL, 2, 3600)->packet_interval_ns = 299 * TW_NS_PER_S;
    add(&world, "one", TW_SESSION_INTERVAL, 1, 7200)->packet_interval_ns = 3600 * TW_NS_PER_S;
    for (unsigned i = 0; i < TW_REMARKS; i++)
        assert_false(tw_remarks_make(&world.targets, (enum tw_remark)i, text));
}

static void sparse_packets_are_named_with_what_would_do(void **state)
{
    (void)state;
    struct world world = {.targets = {.count = 0}};
    char text[TW_REMARK_TEXT];
    add(&world, "fine", TW_SESSION_CONTINUOUS, 10, 10);
    add(&world, "fra-ams", TW_SESSION_CONTINUOUS, 1, 700);
    assert_true(tw_remarks_make(&world.targets, TW_REMARK_SPARSE, text));
    assert_string_equal(
        text, "target \"fra-ams\": Session \"continuous\" needs a packet every 75 s, which "
              "Count 1 in Interval 700 s is not: each interval has a session of "
              "its own instead; Count 10 would do");
    add(&world, "fra-lon", TW_SESSION_CONTINUOUS, 10, 86400);
    add(&world, "fra-par", TW_SESSION_CONTINUOUS, 1, 76);
    assert_true(tw_remarks_make(&world.targets, TW_REMARK_SPARSE, text));
    assert_memory_equal(text, "target \"fra-ams\" and 2 more: ", 29);
    assert_false(tw_remarks_make(&world.targets, TW_REMARK_DISTANT, text));
}

static void distant_packets_of_one_session_are_named(void **state)
{
    (void)state;
    struct world world = {.targets = {.count = 0}};
    char text[TW_REMARK_TEXT];
    add(&world, "fra-ams", TW_SESSION_INTERVAL, 3, 3600)->packet_interval_ns = 400 * TW_NS_PER_S;
    assert_true(tw_remarks_make(&world.targets, TW_REMARK_DISTANT, text));
    assert_string_equal(
        text, "target \"fra-ams\": reflectors may end a session in which nothing comes for "
              "300 s: with PacketInterval 400 s all packets but the first are "
              "lost then");
    assert_false(tw_remarks_make(&world.targets, TW_REMARK_SPARSE, text));
}

static void little_time_to_set_a_session_up_is_named_with_what_would_do(void **state)
{
    (void)state;
    struct world world = {.targets = {.count = 0}};
    char text[TW_REMARK_TEXT];
    add(&world, "enough", TW_SESSION_INTERVAL, 79, 10); /* 7.9 s + 2 s */
    add(&world, "always", TW_SESSION_CONTINUOUS, 10, 10)->timeout_ns = 9990 * TW_NS_PER_MS;
    assert_false(tw_remarks_make(&world.targets, TW_REMARK_TIGHT, text));
    add(&world, "fra-ams", TW_SESSION_INTERVAL, 100, 10)->packet_interval_ns = 79500 * TW_NS_PER_US;
    assert_true(tw_remarks_make(&world.targets, TW_REMARK_TIGHT, text));
    assert_string_equal(
        text, "target \"fra-ams\": Count 100 x PacketInterval 0.0795 s + Timeout 2 s leave 0.05 s "
              "of Interval 10 s to set the session up, which may be too little: make Interval "
              "longer, or Count at most 99");
    world.targets.targets = &world.all[3];
    world.targets.count = 1;
    world.settings[3] = world.settings[2];
    world.settings[3].count = 1;
    world.settings[3].packet_interval_ns = 7990 * TW_NS_PER_MS;
    world.all[3] = (struct tw_target){.settings = &world.settings[3], .instance = "one"};
    assert_true(tw_remarks_make(&world.targets, TW_REMARK_TIGHT, text));
    assert_string_equal(
        text, "target \"one\": Count 1 x PacketInterval 7.99 s + Timeout 2 s leave 0.01 s of "
              "Interval 10 s to set the session up, which may be too little: make Interval "
              "longer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_said_of_what_lasts),
        cmocka_unit_test(sparse_packets_are_named_with_what_would_do),
        cmocka_unit_test(distant_packets_of_one_session_are_named),
        cmocka_unit_test(little_time_to_set_a_session_up_is_named_with_what_would_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
