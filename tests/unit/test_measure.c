/* collectd-plugin/measure.h: every published value of a good and of a dead interval, and what the
 * engine is told. The expected numbers are written out here from the promises to users. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "collectd-plugin/measure.h"
#include "lib/probe.h"
#include "lib/time.h"
#include "lib/wire.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define MS(x)         ((x)*1e6)

struct expected {
    unsigned group;
    const char *series; /* type-type_instance */
    double value;       /* ms, percent, number; NAN unknown */
};

/* 200 packets, 190 answered in time; the reflector's clock is 3 ms behind. */
static struct tw_measurement good(void)
{
    struct tw_measurement m = {
        .time = {INT64_C(1700000000) * TW_NS_PER_S},
        .state = TW_MEASUREMENT_OK,
        .session = true,
        .counters =
            {.sent = 1200, .received = 1180, .lost = 20, .duplicate = 3, .reordered = 4, .late = 5},
    };
    m.summary = (struct tw_summary){
        .sent = 200,
        .received = 190,
        .lost = 10,
        .direction_known = true,
        .lost_forward = 5,
        .lost_reverse = 3,
        .lost_undecided = 2,
        .duplicates = 1,
        .reflector_counts = true,
        .rtt = {.n = 190,
                .min = MS(10),
                .mean = MS(12.5),
                .max = MS(40),
                .stddev = MS(1.25),
                .p50 = MS(12),
                .p95 = MS(30),
                .p99 = MS(39)},
        .rtt_total = {.n = 190, .min = MS(10.5), .mean = MS(13), .max = MS(41)},
        .forward = {.n = 190, .min = MS(2), .mean = MS(4.5), .max = MS(30)},
        .reverse = {.n = 190, .min = MS(-1), .mean = MS(8), .max = MS(10)},
        .processing = {.n = 190, .min = MS(0.1), .mean = MS(0.5), .max = MS(1)},
        .rtt_variation = {.pairs = 180, .jitter = MS(0.75), .pdv_p95 = MS(20)},
        .forward_variation = {.pairs = 180, .jitter = MS(0.5), .pdv_p95 = MS(15)},
        .reverse_variation = {.pairs = 180, .jitter = MS(0.25), .pdv_p95 = MS(5)},
        .hops_forward = 7,
        .hops_reverse = 9,
        .dscp_forward = 46,
        .dscp_reverse = 0,
        .clock_error = MS(2.5),
        .one_way_valid = true,
        .any_sample = true,
    };
    return m;
}

static const struct expected good_values[] = {
    {TW_VALUES_RTT, "latency-rtt-min", 10},
    {TW_VALUES_RTT, "latency-rtt-average", 12.5},
    {TW_VALUES_RTT, "latency-rtt-max", 40},
    {TW_VALUES_RTT, "latency-rtt-stddev", 1.25},
    {TW_VALUES_RTT, "latency-rtt-p50", 12},
    {TW_VALUES_RTT, "latency-rtt-p95", 30},
    {TW_VALUES_RTT, "latency-rtt-p99", 39},
    {TW_VALUES_RTT, "latency-rtt-total-average", 13},
    {TW_VALUES_RTT, "latency-processing", 0.5},
    {TW_VALUES_ONEWAY, "delay-forward-min", 2},
    {TW_VALUES_ONEWAY, "delay-forward-average", 4.5},
    {TW_VALUES_ONEWAY, "delay-forward-max", 30},
    {TW_VALUES_ONEWAY, "delay-reverse-min", -1},
    {TW_VALUES_ONEWAY, "delay-reverse-average", 8},
    {TW_VALUES_ONEWAY, "delay-reverse-max", 10},
    {TW_VALUES_ONEWAY, "latency-clock-error", 2.5},
    {TW_VALUES_ONEWAY, "gauge-one-way-valid", 1},
    {TW_VALUES_JITTER, "latency-jitter-rtt", 0.75},
    {TW_VALUES_JITTER, "latency-jitter-forward", 0.5},
    {TW_VALUES_JITTER, "latency-jitter-reverse", 0.25},
    {TW_VALUES_JITTER, "latency-pdv-forward-p95", 15},
    {TW_VALUES_JITTER, "latency-pdv-reverse-p95", 5},
    {TW_VALUES_LOSS, "percent-loss", 5},
    {TW_VALUES_LOSS, "percent-loss-forward", 2.5},
    {TW_VALUES_LOSS, "percent-loss-reverse", 1.5},
    {TW_VALUES_LOSS, "percent-loss-undecided", 1},
    {TW_VALUES_LOSS, "packets-sent", 1200},
    {TW_VALUES_LOSS, "packets-received", 1180},
    {TW_VALUES_LOSS, "packets-lost", 20},
    {TW_VALUES_LOSS, "packets-duplicate", 3},
    {TW_VALUES_LOSS, "packets-reordered", 4},
    {TW_VALUES_LOSS, "packets-late", 5},
    {TW_VALUES_PATH, "count-hops-forward", 7},
    {TW_VALUES_PATH, "count-hops-reverse", 9},
    {TW_VALUES_PATH, "gauge-dscp-forward", 46},
    {TW_VALUES_PATH, "gauge-dscp-reverse", 0},
    {TW_VALUES_PATH, "gauge-reachable", 1},
    {TW_VALUES_PATH, "gauge-state", 0},
};

/* The value of a series; fails the test if there is not exactly one. */
static const struct tw_measure_value *find(const struct tw_measure_value *values, size_t count,
                                           const char *series)
{
    const struct tw_measure_value *found = NULL;
    char name[64];
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s-%s", values[i].type, values[i].type_instance);
        if (strcmp(name, series) != 0)
            continue;
        assert_null(found);
        found = &values[i];
    }
    if (found == NULL)
        fail_msg("no %s", series);
    return found;
}

static double value_of(const struct tw_measurement *m, const char *series)
{
    struct tw_measure_value values[TW_MEASURE_VALUES];
    const size_t count = tw_measure_values(m, TW_VALUES_ALL, values);
    assert_int_equal(count, TW_MEASURE_VALUES);
    const struct tw_measure_value *value = find(values, count, series);
    return value->derive ? (double)value->total : value->gauge;
}

static void is(const struct tw_measurement *m, const char *series, double expected)
{
    const double value = value_of(m, series);
    if (isnan(expected) ? !isnan(value) : !(fabs(value - expected) < 1e-9))
        fail_msg("%s is %g, not %g", series, value, expected);
}

static void a_good_interval_has_every_value(void **state)
{
    (void)state;
    const struct tw_measurement m = good();
    assert_int_equal(LENGTH(good_values), TW_MEASURE_VALUES);
    for (size_t i = 0; i < LENGTH(good_values); i++)
        is(&m, good_values[i].series, good_values[i].value);
}

static void packets_are_cumulative_and_the_rest_is_not(void **state)
{
    (void)state;
    const struct tw_measurement m = good();
    struct tw_measure_value values[TW_MEASURE_VALUES];
    const size_t count = tw_measure_values(&m, TW_VALUES_ALL, values);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(values[i].derive, strcmp(values[i].type, "packets") == 0);
}

static void a_group_holds_its_own_values_and_no_others(void **state)
{
    (void)state;
    const struct tw_measurement m = good();
    struct tw_measure_value values[TW_MEASURE_VALUES];
    for (unsigned groups = 0; groups <= TW_VALUES_ALL; groups++) {
        size_t wanted = 0;
        const size_t count = tw_measure_values(&m, groups, values);
        for (size_t i = 0; i < LENGTH(good_values); i++) {
            if ((good_values[i].group & groups) == 0)
                continue;
            wanted++;
            (void)find(values, count, good_values[i].series);
        }
        assert_int_equal(count, wanted);
    }
}

/* Only types without a lower bound may be negative: collectd drops what is out of bounds. */
static void negative_delays_have_a_type_that_keeps_them(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    m.summary.forward.mean = MS(-5000);
    m.summary.reverse.max = MS(-0.001);
    is(&m, "delay-forward-average", -5000);
    is(&m, "delay-reverse-max", -0.001);
}

static void percentiles_need_samples(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    m.summary.rtt.n = 19;
    is(&m, "latency-rtt-p95", NAN);
    is(&m, "latency-rtt-p99", NAN);
    is(&m, "latency-rtt-p50", 12);
    m.summary.rtt.n = 20;
    is(&m, "latency-rtt-p95", 30);
    m.summary.rtt.n = 99;
    is(&m, "latency-rtt-p99", NAN);
    m.summary.rtt.n = 100;
    is(&m, "latency-rtt-p99", 39);
}

static void directions_add_up_to_the_loss(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    struct tw_summary *s = &m.summary;
    for (uint32_t sent = 1; sent <= 60; sent++) {
        for (uint32_t lost = 0; lost < sent; lost++) {
            s->sent = sent;
            s->lost = lost;
            s->received = sent - lost;
            s->lost_forward = lost / 2;
            s->lost_reverse = lost / 3;
            s->lost_undecided = lost - s->lost_forward - s->lost_reverse;
            const double loss = value_of(&m, "percent-loss");
            const double sum = value_of(&m, "percent-loss-forward") +
                               value_of(&m, "percent-loss-reverse") +
                               value_of(&m, "percent-loss-undecided");
            assert_true(fabs(sum - loss) < 1e-9);
            assert_true(fabs(loss - 100.0 * lost / sent) < 1e-9);
        }
    }
}

static void unknown_directions_are_not_zero(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    m.summary.direction_known = false;
    m.summary.lost_forward = m.summary.lost_reverse = m.summary.lost_undecided = 0;
    is(&m, "percent-loss", 5);
    is(&m, "percent-loss-forward", NAN);
    is(&m, "percent-loss-reverse", NAN);
    is(&m, "percent-loss-undecided", NAN);
}

static void directions_by_numbers_that_contradict_one_another_are_unknown(void **state)
{
    (void)state;
    static const bool clamped[] = {true, false};
    for (size_t i = 0; i < LENGTH(clamped); i++) {
        struct tw_measurement m = good();
        m.summary.direction_clamped = clamped[i];
        m.summary.direction_doubtful = !clamped[i];
        is(&m, "percent-loss", 5);
        is(&m, "percent-loss-forward", NAN);
        is(&m, "percent-loss-reverse", NAN);
        is(&m, "percent-loss-undecided", NAN);
        m.summary.lost = m.summary.lost_undecided;
        m.summary.received = m.summary.sent - m.summary.lost;
        m.summary.lost_forward = m.summary.lost_reverse = 0;
        is(&m, "percent-loss-forward", 0); /* there is nothing to be split */
        is(&m, "percent-loss-reverse", 0);
    }
}

/* They show that the reflector counts, as others do. */
static void late_replies_alone_tell_directions(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    m.summary.received = 0;
    m.summary.lost = 200;
    m.summary.late = 100;
    m.summary.lost_forward = 60;
    m.summary.lost_reverse = 30;
    m.summary.lost_undecided = 110;
    is(&m, "percent-loss", 100);
    is(&m, "percent-loss-forward", 30);
    is(&m, "percent-loss-reverse", 15);
    is(&m, "percent-loss-undecided", 55);
}

/* What a dead interval looks like, whatever the reason. */
static void looks_dead(const struct tw_measurement *m, enum tw_measurement_state probe_state)
{
    for (size_t i = 0; i < LENGTH(good_values); i++) {
        const char *series = good_values[i].series;
        if (strcmp(series, "percent-loss") == 0)
            is(m, series, 100);
        else if (strcmp(series, "gauge-reachable") == 0)
            is(m, series, 0);
        else if (strcmp(series, "gauge-state") == 0)
            is(m, series, (double)probe_state);
        else if (strncmp(series, "packets-", 8) != 0)
            is(m, series, NAN);
    }
}

static void an_interval_without_a_session_is_published(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    m.session = false;
    tw_summary_none(&m.summary);
    const enum tw_measurement_state states[] = {TW_MEASUREMENT_UNREACHABLE, TW_MEASUREMENT_REFUSED,
                                                TW_MEASUREMENT_SILENT, TW_MEASUREMENT_KEY,
                                                TW_MEASUREMENT_NAME};
    for (size_t i = 0; i < LENGTH(states); i++) {
        m.state = states[i];
        looks_dead(&m, states[i]);
        is(&m, "gauge-state", (double)(i + 1));
    }
    is(&m, "packets-sent", 1200);
    is(&m, "packets-lost", 20);
}

static void an_interval_without_answers_is_published(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    m.state = TW_MEASUREMENT_SILENT;
    tw_summary_none(&m.summary);
    m.summary.sent = m.summary.lost = m.summary.lost_undecided = 7;
    m.summary.direction_known = true;
    looks_dead(&m, TW_MEASUREMENT_SILENT);
}

static void clocks_that_disagree_are_not_valid(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    m.summary.one_way_valid = false;
    is(&m, "gauge-one-way-valid", 0);
    m.summary.any_sample = false;
    is(&m, "gauge-one-way-valid", NAN);
}

/* What printf makes of a NaN with a sign is no number for Prometheus. */
static void what_is_unknown_has_no_sign(void **state)
{
    (void)state;
    struct tw_measurement m = good();
    m.summary.rtt.mean = m.summary.hops_forward = m.summary.clock_error = copysign(NAN, -1);
    struct tw_measure_value values[TW_MEASURE_VALUES];
    const size_t count = tw_measure_values(&m, TW_VALUES_ALL, values);
    const char *unknown[] = {"latency-rtt-average", "count-hops-forward", "latency-clock-error"};
    for (size_t i = 0; i < LENGTH(unknown); i++) {
        const double value = find(values, count, unknown[i])->gauge;
        assert_true(isnan(value) && !signbit(value));
    }
}

/* A target made of a host and one more option. */
static void configure(struct tw_targets *targets, const char *option, struct tw_option_value value,
                      struct tw_engine_target *out)
{
    const struct tw_option_value name = {.kind = TW_VALUE_STRING, .string = "fra"};
    const struct tw_option_value host = {.kind = TW_VALUE_STRING, .string = "ams1.example.net"};
    tw_targets_init(targets);
    tw_targets_begin(targets, &name, 1);
    tw_targets_option(targets, "Host", &host, 1);
    if (option != NULL)
        tw_targets_option(targets, option, &value, 1);
    tw_targets_finish(targets, 10 * TW_NS_PER_S);
    assert_int_equal(targets->count, 1);
    tw_measure_configure(&targets->targets[0], out);
}

static struct tw_option_value text(const char *string)
{
    return (struct tw_option_value){.kind = TW_VALUE_STRING, .string = string};
}

static struct tw_option_value number(double value)
{
    return (struct tw_option_value){.kind = TW_VALUE_NUMBER, .number = value};
}

static void the_engine_gets_the_defaults(void **state)
{
    (void)state;
    struct tw_targets targets;
    struct tw_engine_target t;
    configure(&targets, NULL, number(0), &t);
    assert_string_equal(t.host, "ams1.example.net");
    assert_int_equal(t.family, 0);
    assert_int_equal(t.source.family, 0);
    assert_int_equal(t.source.port, 0);
    assert_null(t.device);
    assert_int_equal(t.probe.interval_ns, 10000000000);
    assert_int_equal(t.probe.count, 10);
    assert_int_equal(t.probe.packet_interval_ns, 100000000);
    assert_int_equal(t.probe.timeout_ns, 2000000000);
    assert_int_equal(t.probe.sender.wait_ns, 2000000000);
    assert_int_equal(t.probe.sender.padding_length, TW_PROBE_PADDING_EQUAL);
    assert_false(t.probe.sender.zero_padding);
    assert_int_equal(t.probe.control_port, 862);
    assert_in_range(t.probe.receiver_port, 18760, 19960);
    assert_int_equal(t.probe.dscp, 0);
    assert_true(t.probe.stateful);
    assert_int_equal(t.probe.client.mode, TW_MODE_UNAUTHENTICATED);
    assert_int_equal(t.probe.client.features, TW_MODE_DSCP_ECN);
    assert_null(t.passphrase);
    assert_in_range(t.probe.client.step_ns, TW_NS_PER_S, 5 * TW_NS_PER_S);
    assert_in_range(t.probe.connect_ns, TW_NS_PER_S, 5 * TW_NS_PER_S);
    assert_int_equal(t.probe.resolve_ns, 300000000000); /* five minutes */
    assert_true(tw_probe_fits(&t.probe));
    tw_targets_free(&targets);
}

static void the_engine_gets_every_option(void **state)
{
    (void)state;
    struct tw_targets targets;
    struct tw_engine_target t;
    configure(&targets, "Port", number(8620), &t);
    assert_int_equal(t.probe.control_port, 8620);
    tw_targets_free(&targets);
    configure(&targets, "Timeout", number(0.25), &t);
    assert_int_equal(t.probe.sender.wait_ns, 250000000);
    assert_int_equal(t.probe.timeout_ns, 1000000000); /* the request's, in whole seconds */
    tw_targets_free(&targets);
    configure(&targets, "DSCP", text("EF"), &t);
    assert_int_equal(t.probe.dscp, 46);
    tw_targets_free(&targets);
    configure(&targets, "Features", text("symmetrical"), &t);
    assert_int_equal(t.probe.client.features, TW_MODE_SYMMETRICAL);
    tw_targets_free(&targets);
    configure(&targets, "Padding", number(0), &t);
    assert_int_equal(t.probe.sender.padding_length, 0);
    tw_targets_free(&targets);
    configure(&targets, "AddressFamily", text("ipv6"), &t);
    assert_int_equal(t.family, 6);
    tw_targets_free(&targets);
    configure(&targets, "SourceAddress", text("192.0.2.9"), &t);
    assert_int_equal(t.source.family, 4);
    assert_int_equal(t.family, 4);
    assert_null(t.source_zone);
    tw_targets_free(&targets);
    configure(&targets, "SourceAddress", text("fe80::9%wg0"), &t);
    assert_int_equal(t.family, 6);
    assert_string_equal(t.source_zone, "wg0");
    tw_targets_free(&targets);
    configure(&targets, "SourcePort", number(20001), &t);
    assert_int_equal(t.source.port, 20001);
    assert_int_equal(t.source.family, 0);
    tw_targets_free(&targets);
    configure(&targets, "Device", text("vrf-mgmt"), &t);
    assert_string_equal(t.device, "vrf-mgmt");
    tw_targets_free(&targets);
    configure(&targets, "Interval", number(60), &t);
    assert_int_equal(t.probe.interval_ns, 60000000000);
    tw_targets_free(&targets);
    configure(&targets, "Stateful", (struct tw_option_value){.kind = TW_VALUE_BOOLEAN}, &t);
    assert_false(t.probe.stateful);
    tw_targets_free(&targets);
}

static void packets_of_a_continuous_session_fill_the_interval(void **state)
{
    (void)state;
    struct tw_targets targets;
    struct tw_engine_target t;
    configure(&targets, NULL, number(0), &t);
    assert_false(t.probe.continuous);
    tw_targets_free(&targets);
    configure(&targets, "Session", text("continuous"), &t);
    assert_true(t.probe.continuous);
    assert_int_equal(t.probe.count, 10);
    assert_int_equal(t.probe.packet_interval_ns, TW_NS_PER_S);
    assert_int_equal(t.probe.sender.wait_ns, 2000000000);
    tw_targets_free(&targets);
}

/* For a packet each quarter of an hour no reflector keeps a session. */
static void sparse_packets_have_a_session_in_each_interval(void **state)
{
    (void)state;
    struct tw_settings settings;
    tw_settings_init(&settings);
    strcpy(settings.host, "192.0.2.1");
    settings.session = TW_SESSION_CONTINUOUS;
    settings.count = 4;
    settings.interval_ns = 3600 * TW_NS_PER_S;
    const struct tw_target target = {.settings = &settings, .instance = "fra"};
    struct tw_engine_target t;
    tw_measure_configure(&target, &t);
    assert_false(t.probe.continuous);
    assert_int_equal(t.probe.count, 4);
    assert_int_equal(t.probe.interval_ns, 3600 * TW_NS_PER_S);
    assert_int_equal(t.probe.packet_interval_ns, 75 * TW_NS_PER_S);
    assert_true(tw_probe_fits(&t.probe));
}

/* Two attempts in what the packets leave of the interval; a continuous session may begin anywhere
 * in it. */
static void a_step_that_hangs_leaves_time_for_another(void **state)
{
    (void)state;
    static const struct {
        uint32_t session, count;
        int64_t interval_ms, step_ms;
    } cases[] = {
        {TW_SESSION_INTERVAL, 10, 10000, 3500},    {TW_SESSION_INTERVAL, 70, 10000, 1000},
        {TW_SESSION_INTERVAL, 10, 60000, 5000},    {TW_SESSION_CONTINUOUS, 10, 10000, 5000},
        {TW_SESSION_CONTINUOUS, 9000, 9000, 4500}, {TW_SESSION_CONTINUOUS, 10, 1500, 1000},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct tw_settings settings;
        tw_settings_init(&settings);
        strcpy(settings.host, "192.0.2.1");
        settings.session = cases[i].session;
        settings.count = cases[i].count;
        settings.interval_ns = cases[i].interval_ms * TW_NS_PER_MS;
        const struct tw_target target = {.settings = &settings, .instance = "fra"};
        struct tw_engine_target t;
        tw_measure_configure(&target, &t);
        assert_int_equal(t.probe.connect_ns, cases[i].step_ms * TW_NS_PER_MS);
        assert_int_equal(t.probe.client.step_ns, cases[i].step_ms * TW_NS_PER_MS);
    }
}

static void the_engine_gets_mode_keyid_and_secret(void **state)
{
    (void)state;
    struct tw_settings settings;
    tw_settings_init(&settings);
    strcpy(settings.host, "192.0.2.1");
    settings.interval_ns = 10 * TW_NS_PER_S;
    settings.mode = TW_MODE_MIXED;
    uint8_t passphrase[] = {'x', 'y'};
    const struct tw_secret secret = {.keyid = {'n', 'o', 'c'}, .passphrase = passphrase, .size = 2};
    const struct tw_target target = {.settings = &settings, .secret = &secret, .instance = "fra"};
    struct tw_engine_target t;
    tw_measure_configure(&target, &t);
    assert_int_equal(t.probe.client.mode, TW_MODE_MIXED);
    assert_memory_equal(t.probe.client.keyid, secret.keyid, TW_KEYID_SIZE);
    assert_ptr_equal(t.passphrase, passphrase);
    assert_int_equal(t.passphrase_size, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_interval_has_every_value),
        cmocka_unit_test(packets_are_cumulative_and_the_rest_is_not),
        cmocka_unit_test(a_group_holds_its_own_values_and_no_others),
        cmocka_unit_test(negative_delays_have_a_type_that_keeps_them),
        cmocka_unit_test(percentiles_need_samples),
        cmocka_unit_test(directions_add_up_to_the_loss),
        cmocka_unit_test(unknown_directions_are_not_zero),
        cmocka_unit_test(directions_by_numbers_that_contradict_one_another_are_unknown),
        cmocka_unit_test(late_replies_alone_tell_directions),
        cmocka_unit_test(an_interval_without_a_session_is_published),
        cmocka_unit_test(an_interval_without_answers_is_published),
        cmocka_unit_test(clocks_that_disagree_are_not_valid),
        cmocka_unit_test(what_is_unknown_has_no_sign),
        cmocka_unit_test(the_engine_gets_the_defaults),
        cmocka_unit_test(the_engine_gets_every_option),
        cmocka_unit_test(packets_of_a_continuous_session_fill_the_interval),
        cmocka_unit_test(sparse_packets_have_a_session_in_each_interval),
        cmocka_unit_test(a_step_that_hangs_leaves_time_for_another),
        cmocka_unit_test(the_engine_gets_mode_keyid_and_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
