/* A continuous session as its driver sees it: when packets leave, what a late, sleeping or refusing
 * driver does to its windows, and numbers that wrap. What it measures is in
 * sim/test_continuous.c. */
#include "probe_rig.h"

#include <errno.h>

/* Ten packets, each in the middle of a second, lost after 2 s, every 10 s. */
static struct tw_probe_config continuous_plan(void)
{
    struct tw_probe_config config = rig_plan();
    config.continuous = true;
    config.count = 10;
    config.packet_interval_ns = 1 * S;
    return config;
}

static void begin_continuous(struct rig *rig)
{
    const struct tw_probe_config config = continuous_plan();
    rig_requested_with(rig, &config);
}

static void rig_running(struct rig *rig)
{
    begin_continuous(rig);
    finish_set_up(rig);
}

/* Time passes, packets leave and are answered at once unless they are not to be; the last result on
 * the way is kept. Returns how many came. */
static unsigned run_until(struct rig *rig, int64_t until_ns, bool answered,
                          struct tw_measurement *last)
{
    unsigned n = 0;
    for (;;) {
        while (tw_probe_send_due(&rig->probe, rig->now.mono)) {
            send_packet(rig);
            if (answered)
                reflect_packet(rig);
        }
        write_output(rig);
        struct tw_probe_event event;
        while (tw_probe_next_event(&rig->probe, &event)) {
            assert_true(event.type == TW_PROBE_RESULT || event.type == TW_PROBE_RESOLVE);
            if (event.type == TW_PROBE_RESOLVE)
                continue;
            n++;
            if (last != NULL)
                *last = *event.measurement;
        }
        const int64_t deadline_ns = tw_probe_deadline(&rig->probe).ns;
        if (deadline_ns > until_ns)
            break;
        if (deadline_ns > rig->now.mono.ns)
            rig_set_time(rig, deadline_ns);
        rig_expire(rig);
    }
    rig_set_time(rig, until_ns);
    return n;
}

static int64_t begin_of(int64_t number)
{
    return RIG_FIRST_NS + number * 10 * S;
}

static void packets_fill_the_interval_and_may_be_waited_for_in_the_next(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    assert_true(tw_probe_fits(&config));
    config.sender.wait_ns = 10 * S - 1;
    assert_true(tw_probe_fits(&config));
    config.sender.wait_ns = 10 * S;
    assert_false(tw_probe_fits(&config));
    config.sender.wait_ns = 0;
    assert_true(tw_probe_fits(&config));
    config.packet_interval_ns++;
    assert_false(tw_probe_fits(&config));
    config.packet_interval_ns = 0;
    assert_false(tw_probe_fits(&config));
    config = continuous_plan();
    config.count = 0;
    assert_false(tw_probe_fits(&config));
    config = continuous_plan();
    config.interval_ns = INT64_MAX;
    config.count = UINT32_MAX;
    config.packet_interval_ns = INT64_MAX / UINT32_MAX;
    config.sender.wait_ns = INT64_MAX - 1;
    assert_true(tw_probe_fits(&config)); /* without overflow */
    config = continuous_plan();
    config.count = 1;
    config.interval_ns = config.packet_interval_ns = 75 * S; /* 300 s is three lost packets */
    assert_true(tw_probe_fits(&config));
    config.interval_ns = ++config.packet_interval_ns;
    assert_false(tw_probe_fits(&config));
}

static void sparse_packets_are_gathered(void **state)
{
    (void)state;
    static const struct {
        uint32_t count;
        int64_t interval_s, wait_s, distance_s; /* 0: continuous */
    } cases[] = {
        {1, 75, 2, 0},       {1, 76, 60, 12},      {1, 700, 2, 75},    {2, 700, 60, 75},
        {48, 3600, 60, 0},   {47, 3600, 60, 56},   {10, 3600, 60, 75}, {1, 86400, 60, 75},
        {1152, 86400, 2, 0}, {1151, 86400, 2, 56},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tw_probe_config config = continuous_plan();
        config.count = cases[i].count;
        config.interval_ns = cases[i].interval_s * S;
        config.packet_interval_ns = config.interval_ns / config.count;
        config.sender.wait_ns = cases[i].wait_s * S;
        const bool gathered = cases[i].distance_s != 0;
        assert_int_equal(tw_probe_gather(&config), gathered);
        assert_int_equal(config.continuous, !gathered);
        if (gathered)
            assert_int_equal(config.packet_interval_ns / S, cases[i].distance_s);
        assert_int_equal(config.count, cases[i].count);
        assert_true(tw_probe_fits(&config));
        assert_false(tw_probe_gather(&config));
    }
}

static void packets_of_two_intervals_are_remembered(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    assert_int_equal(tw_probe_slots(&config), 32);
    assert_int_equal(tw_probe_packets(&config), 16);
    assert_int_equal(tw_probe_windows(&config), 2);
    config.count = 16;
    assert_int_equal(tw_probe_slots(&config), 32);
    config.continuous = false;
    assert_int_equal(tw_probe_slots(&config), 16);
    assert_int_equal(tw_probe_packets(&config), 16);
    assert_int_equal(tw_probe_windows(&config), 1);
}

static void session_that_starts_late_sends_the_rest_of_the_interval(void **state)
{
    (void)state;
    struct rig rig;
    begin_continuous(&rig);
    rig.probe.client.deadline = TW_NEVER;
    rig_set_time(&rig, RIG_FIRST_NS + 3700 * MS);
    finish_set_up(&rig);
    assert_int_equal(send_all_due(&rig), 1); /* whose part of the interval this is */
    assert_int_equal(tw_probe_deadline(&rig.probe).ns, RIG_FIRST_NS + 4500 * MS);
    struct tw_measurement m;
    assert_int_equal(run_until(&rig, begin_of(1) + 2 * S, true, &m), 1);
    assert_int_equal(m.summary.sent, 7);
    assert_int_equal(m.summary.received, 6);
}

static void session_that_starts_too_late_for_any_packet_waits_for_the_next_interval(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    config.packet_interval_ns = 900 * MS; /* the last tenth of the interval stays empty */
    struct rig rig;
    rig_requested_with(&rig, &config);
    say_accept_session(&rig, 0);
    rig.probe.client.deadline = TW_NEVER;
    rig_set_time(&rig, RIG_FIRST_NS + 9500 * MS);
    say_start_ack(&rig, 0);
    assert_int_equal(rig.probe.phase, TW_PROBE_WAIT);
    struct tw_measurement m;
    assert_int_equal(run_until(&rig, begin_of(1) + 2 * S, true, &m), 1);
    assert_false(m.session);
    assert_int_equal(m.state, TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(run_until(&rig, begin_of(2) + 2 * S, true, &m), 1);
    assert_int_equal(m.summary.received, 10);
    assert_int_equal(count_commands(&rig, 2), 1); /* one start */
}

static void stall_sends_three_at_most_and_keeps_the_pace(void **state)
{
    (void)state;
    for (int64_t stall_ns = 0; stall_ns < 8 * S; stall_ns += 100 * MS) {
        struct rig rig;
        rig_running(&rig);
        run_until(&rig, RIG_FIRST_NS + 1600 * MS, true, NULL);
        rig_set_time(&rig, rig.now.mono.ns + stall_ns);
        assert_true(send_all_due(&rig) <= 3);
        if (rig.probe.phase == TW_PROBE_TEST)
            assert_int_equal((tw_probe_deadline(&rig.probe).ns - RIG_FIRST_NS) % S, 500 * MS);
        struct tw_measurement m;
        assert_int_equal(run_until(&rig, begin_of(1) + 2 * S, true, &m), 1);
        assert_true(m.summary.sent <= 10);
        if (stall_ns <= 2 * S)
            assert_int_equal(m.summary.sent, 10); /* a short delay is made up for in full */
        assert_int_equal(run_until(&rig, begin_of(2) + 2 * S, true, &m), 1);
        assert_int_equal(m.summary.sent, 10);
        assert_int_equal(m.summary.received, 10);
    }
}

static void driver_that_slept_leaves_intervals_out_and_keeps_the_session(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(1) + 4600 * MS, true, NULL); /* five packets of interval 1 */
    const uint32_t next = rig.probe.senders[rig.probe.current].next_sequence;
    rig_set_time(&rig, begin_of(4) + 5200 * MS);
    assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
    rig_expire(&rig);
    struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_int_equal(m.begun.ns, begin_of(1));
    assert_int_equal(m.time.ns, rig_wall((tw_mono){begin_of(2) + 2 * S}).ns);
    assert_int_equal(m.summary.sent, 5);
    assert_int_equal(m.summary.received, 5);
    rig_expire(&rig);
    send_packet(&rig);
    assert_int_equal(tw_get32(rig.packet), next);
    assert_int_equal(send_all_due(&rig), 1);
    assert_int_equal(run_until(&rig, begin_of(5) + 2 * S, true, &m), 1);
    assert_int_equal(m.begun.ns, begin_of(4)); /* 2 and 3 are nobody's */
    assert_int_equal(m.summary.sent, 7);       /* two late ones, and five in their time */
    assert_int_equal(m.summary.received, 5);
    assert_int_equal(m.counters.sent, 10 + 5 + 7);
    assert_int_equal(count_commands(&rig, 2), 1);
}

/* The reply was there all the time; what it is of is not the present interval. */
static void reply_that_is_read_after_a_sleep_counts_for_its_packet(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(0) + 9600 * MS, true, NULL);
    run_until(&rig, begin_of(1) + 400 * MS, false, NULL);
    rig_set_time(&rig, begin_of(1) + 500 * MS);
    send_packet(&rig);
    rig_set_time(&rig, begin_of(3) + 5 * S);
    uint8_t reply[41];
    make_reply(rig.packet, 10, reply);
    struct tw_arrival arrival = arrival_now(&rig);
    arrival.at = rig_wall((tw_mono){begin_of(1) + 600 * MS});
    struct tw_sample sample;
    assert_true(tw_probe_receive(&rig.probe, reply, sizeof reply, &arrival, &sample));
    struct tw_measurement m;
    rig_expire(&rig);
    (void)take(&rig, TW_PROBE_RESULT);
    rig_expire(&rig);
    m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_int_equal(m.begun.ns, begin_of(1));
    assert_int_equal(m.summary.sent, 1);
    assert_int_equal(m.summary.received, 1);
    assert_int_equal(m.counters.late, 0);
}

static void result_stays_as_it_is_until_it_is_taken(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(1) + 1 * S, true, NULL);
    for (unsigned i = 0; i < 20; i++) { /* nobody takes it for two intervals */
        rig_set_time(&rig, begin_of(1) + 2 * S + (int64_t)i * S);
        rig_expire(&rig);
        if (tw_probe_send_due(&rig.probe, rig.now.mono)) {
            send_packet(&rig);
            reflect_packet(&rig);
        }
    }
    struct tw_probe_event event;
    assert_true(tw_probe_next_event(&rig.probe, &event));
    assert_int_equal(event.measurement->begun.ns, begin_of(0));
    assert_int_equal(event.measurement->summary.received, 10);
    struct tw_measurement m;
    assert_int_equal(run_until(&rig, begin_of(4) + 2 * S, true, &m), 2); /* 1 and 3 */
    assert_int_equal(m.begun.ns, begin_of(3));
    assert_int_equal(m.summary.received, 10);
    assert_int_equal(m.counters.sent, m.counters.received);
}

static void packet_the_kernel_did_not_take_was_never_sent(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(0) + 9400 * MS, true, NULL);
    rig_set_time(&rig, begin_of(0) + 9500 * MS);
    send_packet(&rig); /* the last one */
    const uint32_t number = tw_get32(rig.packet);
    tw_probe_unsend(&rig.probe, ENOBUFS, rig.now.mono);
    assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
    struct tw_measurement m;
    rig_set_time(&rig, begin_of(1));
    rig_expire(&rig);
    rig_set_time(&rig, begin_of(1) + 500 * MS);
    send_packet(&rig);
    assert_int_equal(tw_get32(rig.packet), number); /* no gap in the numbers */
    reflect_packet(&rig);
    assert_int_equal(run_until(&rig, begin_of(1) + 2 * S, true, &m), 1);
    assert_int_equal(m.summary.sent, 9);
    assert_int_equal(m.summary.received, 9);
    assert_int_equal(run_until(&rig, begin_of(2) + 2 * S, true, &m), 1);
    assert_int_equal(m.summary.received, 10);
    assert_int_equal(m.counters.lost, 0);
}

static void kernel_that_never_takes_a_packet_has_the_session_set_up_anew(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    while (rig.now.mono.ns < begin_of(1)) {
        while (tw_probe_send_due(&rig.probe, rig.now.mono)) {
            send_packet(&rig);
            tw_probe_unsend(&rig.probe, ENETUNREACH, rig.now.mono);
        }
        rig_set_time(&rig, tw_probe_deadline(&rig.probe).ns);
        rig_expire(&rig);
    }
    write_output(&rig);
    assert_int_equal(count_commands(&rig, 3), 1);
    finish_set_up(&rig);
    struct tw_measurement m;
    assert_int_equal(run_until(&rig, begin_of(1) + 2 * S, true, &m), 1);
    assert_int_equal(m.state, TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(m.trouble.error, ENETUNREACH);
    assert_int_equal(m.summary.sent, 0);
    assert_int_equal(run_until(&rig, begin_of(2) + 2 * S, true, &m), 1);
    assert_int_equal(m.summary.received, 10);
}

static void transmit_timestamp_finds_its_packet_behind_the_cut(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(0) + 9400 * MS, true, NULL);
    rig_set_time(&rig, begin_of(0) + 9500 * MS);
    send_packet(&rig);
    const tw_wall at = {rig.now.wall.ns + 5};
    rig_set_time(&rig, begin_of(1));
    rig_expire(&rig);
    const struct tw_probe_packet last = {1, 9};
    assert_true(tw_probe_departed(&rig.probe, last, at, TW_SOURCE_KERNEL));
    reflect_packet(&rig);
    assert_int_equal(rig_window(&rig)->stats.observation.any, 0);
    const struct tw_probe_window *before = &rig.windows[rig.probe.window ^ 1];
    assert_int_equal(before->stats.received, 10);
}

/* An answer to a packet from whoever numbers it so, at this time. */
static void answer(struct rig *rig, const uint8_t *packet, uint32_t number)
{
    uint8_t reply[41];
    make_reply(packet, number, reply);
    const struct tw_arrival arrival = arrival_now(rig);
    struct tw_sample sample;
    assert_true(tw_probe_receive(&rig->probe, reply, sizeof reply, &arrival, &sample));
}

/* Packet 8 has no answer. Where 9 reached the reflector before it, and its reply was lost, the
 * number of 10 alone tells that nothing is missing on the way there. */
static void number_left_out_behind_the_cut_makes_the_direction_doubtful(void **state)
{
    (void)state;
    static const bool overtaken[] = {false, true};
    for (size_t i = 0; i < ARRAY_SIZE(overtaken); i++) {
        struct rig rig;
        rig_running(&rig);
        run_until(&rig, begin_of(0) + 8 * S, true, NULL);
        run_until(&rig, begin_of(0) + 9 * S, false, NULL);
        run_until(&rig, begin_of(1), false, NULL);
        assert_int_equal(tw_get32(rig.packet), 9);
        answer(&rig, rig.packet, 8);
        run_until(&rig, begin_of(1) + 600 * MS, false, NULL);
        assert_int_equal(tw_get32(rig.packet), 10);
        answer(&rig, rig.packet, overtaken[i] ? 10 : 9);
        struct tw_measurement m;
        assert_int_equal(run_until(&rig, begin_of(1) + 2 * S, false, &m), 1);
        assert_int_equal(m.begun.ns, begin_of(0));
        assert_int_equal(m.summary.received, 9);
        assert_int_equal(m.summary.direction_doubtful, overtaken[i]);
        if (!overtaken[i])
            assert_int_equal(m.summary.lost_forward, 1);
    }
}

/* A packet of the session before uses up the first number of a session that has not sent any; then
 * the first of its own does not reach the reflector, and its numbers are as if that had. */
static void session_that_reflected_a_stray_has_no_directions(void **state)
{
    (void)state;
    static const bool strays[] = {false, true};
    for (size_t i = 0; i < ARRAY_SIZE(strays); i++) {
        struct tw_probe_config config = continuous_plan();
        config.packet_interval_ns = 900 * MS; /* the last tenth of the interval stays empty */
        struct rig rig;
        rig_requested_with(&rig, &config);
        finish_set_up(&rig);
        run_until(&rig, begin_of(0) + 9100 * MS, true, NULL);
        tw_probe_disconnected(&rig.probe, rig.now.mono);
        rig_set_time(&rig, begin_of(1));
        rig_expire(&rig);
        take(&rig, TW_PROBE_CONNECT);
        accept_connection(&rig);
        say_greeting(&rig);
        say_accept_session(&rig, 0);
        rig.probe.client.deadline = TW_NEVER;
        struct tw_measurement m;
        assert_int_equal(run_until(&rig, begin_of(1) + 9500 * MS, true, &m), 1);
        uint8_t old[RIG_PACKET];
        memcpy(old, rig.packet, sizeof old);
        say_start_ack(&rig, 0);
        assert_int_equal(rig.probe.phase, TW_PROBE_WAIT);
        const uint32_t before = strays[i] ? 1 : 0;
        if (strays[i])
            answer(&rig, old, 0);
        assert_int_equal(run_until(&rig, begin_of(2) + 400 * MS, true, NULL), 0);
        for (uint32_t s = 0; s < 10; s++) {
            rig_set_time(&rig, begin_of(2) + 450 * MS + (int64_t)s * 900 * MS);
            send_packet(&rig);
            assert_int_equal(tw_get32(rig.packet), s);
            if (s > 0)
                answer(&rig, rig.packet, before + s - 1);
        }
        assert_int_equal(run_until(&rig, begin_of(3) + 2 * S, false, &m), 2);
        assert_int_equal(m.begun.ns, begin_of(2));
        assert_int_equal(m.summary.received, 9);
        assert_int_equal(m.summary.direction_doubtful, strays[i]);
        if (!strays[i])
            assert_int_equal(m.summary.lost_forward, 1);
    }
}

/* Refusals come within the first second, and what they are of may have been cut off. */
static void refusal_takes_its_packet_out_of_its_window(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    config.count = 50;
    config.packet_interval_ns = 200 * MS;
    struct rig rig;
    rig_requested_with(&rig, &config);
    rig.probe.client.deadline = TW_NEVER;
    rig_set_time(&rig, begin_of(0) + 9400 * MS);
    finish_set_up(&rig);
    run_until(&rig, begin_of(1) + 50 * MS, false, NULL); /* at 9.5, 9.7 and 9.9 s */
    tw_probe_refused(&rig.probe, rig.now.mono);
    reflect_packet(&rig);
    tw_probe_refused(&rig.probe, rig.now.mono); /* no more, now that it answers */
    struct tw_measurement m;
    assert_int_equal(run_until(&rig, begin_of(1) + 2 * S, true, &m), 1);
    assert_int_equal(m.summary.sent, 2);
    assert_int_equal(m.summary.received, 1);
    assert_true((m.quirks & TW_QUIRK_WARM_UP) != 0);
    assert_int_equal(run_until(&rig, begin_of(2) + 2 * S, true, &m), 1);
    assert_int_equal(m.summary.received, 50);
    assert_int_equal(m.counters.sent, 52);
}

/* A late reply to the last packet before the cut tells where the count stands, but the next packet,
 * which was refused, is out of it all the same. */
static void refused_packet_behind_the_cut_stays_out_of_the_direction(void **state)
{
    (void)state;
    struct tw_probe_config config = continuous_plan();
    config.count = 50;
    config.packet_interval_ns = 200 * MS;
    config.sender.wait_ns = 50 * MS;
    struct rig rig;
    rig_requested_with(&rig, &config);
    rig.probe.client.deadline = TW_NEVER;
    rig_set_time(&rig, begin_of(0) + 9850 * MS);
    finish_set_up(&rig);
    run_until(&rig, begin_of(0) + 9950 * MS, false, NULL);
    uint8_t last[RIG_PACKET];
    memcpy(last, rig.packet, sizeof last);
    run_until(&rig, begin_of(1) + 150 * MS, false, NULL);
    tw_probe_refused(&rig.probe, rig.now.mono);
    assert_int_equal(rig_window(&rig)->stats.base, 1);
    memcpy(rig.packet, last, sizeof last);
    reflect_packet(&rig);
    assert_true(rig.probe.answered);
    struct tw_measurement m;
    run_until(&rig, begin_of(1) + 400 * MS, true, NULL);
    assert_int_equal(rig_window(&rig)->stats.base, 1);
    assert_int_equal(run_until(&rig, begin_of(2) + 50 * MS, true, &m), 1);
    assert_int_equal(m.summary.sent, 49);
    assert_int_equal(m.summary.received, 49);
    assert_false(m.summary.direction_clamped || m.summary.direction_doubtful);
}

static void sequence_numbers_may_wrap(void **state)
{
    (void)state;
    for (uint32_t left = 0; left < 25; left++) {
        struct rig rig;
        rig_running(&rig);
        /* As if so many had left before; the reflector counts the same. */
        struct tw_sender *sender = &rig.probe.senders[rig.probe.current];
        sender->next_sequence = sender->next_lost = 0u - left;
        rig_window(&rig)->first_sequence = sender->next_sequence;
        rig_window(&rig)->stats.config.first_sequence = sender->next_sequence;
        rig_window(&rig)->stats.config.first_reflector_sequence = sender->next_sequence;
        rig_window(&rig)->stats.reflector_first = sender->next_sequence;
        for (int64_t i = 0; i < 4; i++) {
            struct tw_measurement m;
            /* One of each interval stays without an answer. */
            run_until(&rig, begin_of(i) + 4 * S, true, NULL);
            run_until(&rig, begin_of(i) + 5 * S, false, NULL);
            assert_int_equal(run_until(&rig, begin_of(i + 1) + 2 * S, true, &m), 1);
            assert_int_equal(m.begun.ns, begin_of(i));
            assert_int_equal(m.summary.sent, 10);
            assert_int_equal(m.summary.received, 9);
            assert_int_equal(m.summary.lost_reverse, 1);
            assert_int_equal(m.summary.reordered, 0);
            assert_int_equal(m.summary.rtt_variation.pairs, 7);
            assert_false(m.summary.direction_clamped || m.summary.direction_doubtful);
        }
    }
}

static void session_that_ends_before_a_packet_is_set_up_again_at_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(1) + 100 * MS, true, NULL);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    assert_int_equal(take(&rig, TW_PROBE_CONNECT).address.port, 862);
    accept_connection(&rig);
    say_greeting(&rig);
    finish_set_up(&rig);
    struct tw_measurement m;
    assert_int_equal(run_until(&rig, begin_of(2) + 2 * S, true, &m), 2);
    assert_int_equal(m.state, TW_MEASUREMENT_OK);
    assert_int_equal(m.summary.received, 10);
}

static void retry_delay_doubles_while_sessions_end_before_a_packet(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    int64_t longest_ns = 0;
    for (unsigned i = 0; i < 4; i++) {
        tw_probe_disconnected(&rig.probe, rig.now.mono);
        const int64_t delay_ns =
            rig.probe.link == TW_PROBE_DOWN ? rig.probe.retry_at.ns - rig.now.mono.ns : 0;
        assert_true(delay_ns <= longest_ns && delay_ns >= longest_ns / 4 * 3 - 4);
        assert_int_equal(rig.probe.failures, i + 1);
        longest_ns = (10 * S / 16 + 1) << (i + 1);
        wait_for(&rig, TW_PROBE_CONNECT);
        accept_connection(&rig);
        say_greeting(&rig);
        finish_set_up(&rig);
    }
}

/* Sessions of which no packet left take nothing from one whose replies are waited for. */
static void sessions_that_end_before_a_packet_cost_no_reply_of_the_one_before(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(0) + 9400 * MS, true, NULL);
    rig_set_time(&rig, begin_of(0) + 9500 * MS);
    send_packet(&rig);
    rig_set_time(&rig, begin_of(1));
    rig_expire(&rig);
    for (unsigned i = 0; i < 2; i++) {
        rig_set_time(&rig, rig.now.mono.ns + 100 * MS);
        tw_probe_disconnected(&rig.probe, rig.now.mono);
        wait_for(&rig, TW_PROBE_CONNECT);
        accept_connection(&rig);
        say_greeting(&rig);
        finish_set_up(&rig);
    }
    reflect_packet(&rig);
    struct tw_measurement m;
    assert_int_equal(run_until(&rig, begin_of(1) + 2 * S, true, &m), 1);
    assert_int_equal(m.begun.ns, begin_of(0));
    assert_int_equal(m.summary.received, 10);
    assert_int_equal(m.counters.late, 0);
}

static void session_that_ends_amid_its_packets_is_set_up_in_the_next_interval(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(1) + 2700 * MS, true, NULL);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    reflect_packet(&rig); /* a copy of the last reply: its sender is still there */
    struct tw_measurement m;
    assert_quiet(&rig);
    rig_set_time(&rig, begin_of(2));
    rig_expire(&rig);
    take(&rig, TW_PROBE_CONNECT);
    accept_connection(&rig);
    say_greeting(&rig);
    finish_set_up(&rig);
    assert_int_equal(run_until(&rig, begin_of(2) + 2 * S, true, &m), 1);
    assert_int_equal(m.begun.ns, begin_of(1));
    assert_int_equal(m.state, TW_MEASUREMENT_OK);
    assert_int_equal(m.summary.sent, 3);
    assert_int_equal(m.summary.received, 3);
    assert_int_equal(m.summary.duplicates, 1);
    assert_int_equal(run_until(&rig, begin_of(3) + 2 * S, true, &m), 1);
    assert_int_equal(m.summary.received, 10);
}

static void close_ends_both_windows(void **state)
{
    (void)state;
    struct rig rig;
    rig_running(&rig);
    run_until(&rig, begin_of(1) + 700 * MS, true, NULL);
    tw_probe_close(&rig.probe, rig.now.mono);
    take(&rig, TW_PROBE_DISCONNECT);
    write_output(&rig);
    assert_quiet(&rig);
    assert_true(tw_mono_is_never(tw_probe_deadline(&rig.probe)));
    rig_set_time(&rig, begin_of(5));
    rig_expire(&rig);
    assert_quiet(&rig);
    assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_fill_the_interval_and_may_be_waited_for_in_the_next),
        cmocka_unit_test(sparse_packets_are_gathered),
        cmocka_unit_test(packets_of_two_intervals_are_remembered),
        cmocka_unit_test(session_that_starts_late_sends_the_rest_of_the_interval),
        cmocka_unit_test(session_that_starts_too_late_for_any_packet_waits_for_the_next_interval),
        cmocka_unit_test(stall_sends_three_at_most_and_keeps_the_pace),
        cmocka_unit_test(driver_that_slept_leaves_intervals_out_and_keeps_the_session),
        cmocka_unit_test(reply_that_is_read_after_a_sleep_counts_for_its_packet),
        cmocka_unit_test(result_stays_as_it_is_until_it_is_taken),
        cmocka_unit_test(packet_the_kernel_did_not_take_was_never_sent),
        cmocka_unit_test(kernel_that_never_takes_a_packet_has_the_session_set_up_anew),
        cmocka_unit_test(transmit_timestamp_finds_its_packet_behind_the_cut),
        cmocka_unit_test(number_left_out_behind_the_cut_makes_the_direction_doubtful),
        cmocka_unit_test(session_that_reflected_a_stray_has_no_directions),
        cmocka_unit_test(refusal_takes_its_packet_out_of_its_window),
        cmocka_unit_test(refused_packet_behind_the_cut_stays_out_of_the_direction),
        cmocka_unit_test(sequence_numbers_may_wrap),
        cmocka_unit_test(session_that_ends_before_a_packet_is_set_up_again_at_once),
        cmocka_unit_test(retry_delay_doubles_while_sessions_end_before_a_packet),
        cmocka_unit_test(sessions_that_end_before_a_packet_cost_no_reply_of_the_one_before),
        cmocka_unit_test(session_that_ends_amid_its_packets_is_set_up_in_the_next_interval),
        cmocka_unit_test(close_ends_both_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
