/* What a probe measures: when packets leave, when a result is final, what becomes of intervals in
 * which the driver slept. How it gets to a session is in test_probe.c. */
#include "probe_rig.h"

#include <errno.h>
#include <math.h>

static void request_says_what_is_configured(void **state)
{
    (void)state;
    struct rig rig;
    rig_connected(&rig);
    rig.config.dscp = 46;
    say_greeting(&rig);
    const uint8_t *request = rig.out.octets + 164;
    assert_int_equal(rig.out.n, 164 + 112);
    assert_int_equal(request[0], 5);
    assert_int_equal(request[1], 4);
    assert_int_equal(tw_get16(request + 12), 40000);
    assert_int_equal(tw_get16(request + 14), 40000); /* asked for as the own one, as perfSONAR */
    assert_zero(request + 16, 32);                   /* the connection's own addresses */
    assert_int_equal(tw_get32(request + 64), 27);
    assert_int_equal(tw_get32(request + 76), 2);
    assert_int_equal(tw_get32(request + 84), UINT32_C(46) << 24);

    rig_connected(&rig);
    rig.config.receiver_port = 18761;
    say_greeting(&rig);
    assert_int_equal(tw_get16(rig.out.octets + 164 + 14), 18761);
}

static void answered_session_is_told_once_and_stopped_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    for (unsigned i = 0; i < 4; i++) {
        rig_set_time(&rig, RIG_FIRST_NS + i * 100 * MS);
        send_packet(&rig);
        assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
        rig_set_time(&rig, rig.now.mono.ns + 10 * MS);
        reflect_packet(&rig);
    }
    assert_quiet_until(&rig, RIG_FIRST_NS + 2300 * MS - 1);
    assert_int_equal(count_commands(&rig, 3), 0);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 2300 * MS);
    assert_int_equal(m.time.ns, rig.now.wall.ns);
    assert_int_equal(m.begun.ns, RIG_FIRST_NS);
    assert_int_equal(m.state, TW_MEASUREMENT_OK);
    assert_true(m.session);
    assert_false(m.trouble.valid);
    assert_int_equal(m.trouble.error, 0);
    assert_int_equal(m.summary.sent, 4);
    assert_int_equal(m.summary.received, 4);
    assert_int_equal(m.counters.sent, 4);
    assert_int_equal(m.counters.received, 4);
    assert_true(fabs(m.summary.rtt.mean - 10.0 * MS) < 2);
    assert_int_equal(m.mode, 1);
    assert_int_equal(m.remote.octets[3], 1);
    assert_int_equal(m.remote.port, 50000);
    assert_int_equal(m.local.port, 40000);
    write_output(&rig);
    assert_int_equal(count_commands(&rig, 3), 1);
    assert_quiet_until(&rig, RIG_FIRST_NS + 10 * S - 1);
    write_output(&rig);
    assert_int_equal(count_commands(&rig, 3), 1);
}

static void result_stays_as_it_is_until_it_is_taken(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 5 * S);
    rig_expire(&rig);
    /* Not taken for three intervals; the probe does not go on over it. */
    for (unsigned i = 1; i <= 3; i++) {
        rig_set_time(&rig, RIG_FIRST_NS + i * 10 * S);
        rig_expire(&rig);
        tw_probe_disconnected(&rig.probe, rig.now.mono);
    }
    const struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_int_equal(m.begun.ns, RIG_FIRST_NS);
    assert_int_equal(m.time.ns, rig.now.wall.ns - 30 * S + 2300 * MS);
    assert_int_equal(m.state, TW_MEASUREMENT_SILENT);
    assert_int_equal(m.summary.lost, 4);
    rig_expire(&rig);
    take(&rig, TW_PROBE_CONNECT);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 1);
    rig_set_time(&rig, RIG_FIRST_NS + 37600 * MS);
    rig_expire(&rig);
    assert_int_equal(take(&rig, TW_PROBE_RESULT).measurement->begun.ns, RIG_FIRST_NS + 30 * S);
}

static void driver_that_slept_for_many_intervals_goes_on_with_the_present_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    wait_for_result(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 123456 * 10 * S + 5 * S);
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT); /* no server has waited for so long */
    take(&rig, TW_PROBE_RESOLVE);
    take(&rig, TW_PROBE_CONNECT);
    assert_quiet(&rig);
    accept_connection(&rig);
    say_greeting(&rig);
    assert_int_equal(rig.probe.client.step, TW_CLIENT_STEP_REQUEST);
    finish_set_up(&rig);
    send_session(&rig);
    assert_int_equal(wait_for_result(&rig).begun.ns, RIG_FIRST_NS + 123456 * 10 * S);
    assert_quiet_until(&rig, RIG_FIRST_NS + 123457 * 10 * S - 1);
}

/* Else it would come with nearly the time of the next result: no round robin database takes two
 * values of one second. */
static void result_of_a_driver_that_slept_has_the_time_at_which_it_was_due(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    const int64_t due_ns = tw_probe_deadline(&rig.probe).ns;
    rig_set_time(&rig, RIG_FIRST_NS + 47600 * MS);
    assert_int_equal(wait_for_result(&rig).time.ns, INT64_C(1700000000) * S + due_ns);

    rig_begin(&rig);
    wait_for(&rig, TW_PROBE_RESOLVE);
    assert_quiet_until(&rig, RIG_FIRST_NS);
    rig_set_time(&rig, RIG_FIRST_NS + 17 * S);
    const struct tw_measurement failed = wait_for_result(&rig);
    assert_int_equal(failed.state, TW_MEASUREMENT_NAME);
    assert_int_equal(failed.time.ns, INT64_C(1700000000) * S + RIG_FIRST_NS + 7600 * MS);
    assert_int_equal(wait_for_result(&rig).time.ns - failed.time.ns, 10 * S);
}

/* The target cannot help it: no result, and above all no lost connection. */
static void interval_that_is_met_too_late_for_a_session_is_left_out(void **state)
{
    (void)state;
    static const int64_t late_ns[] = {7600 * MS, 9 * S, 10 * S - 1, 47600 * MS};
    for (size_t i = 0; i < ARRAY_SIZE(late_ns); i++) {
        struct rig rig;
        rig_testing(&rig);
        rig.probe.refresh_at = TW_NEVER;
        send_session(&rig);
        wait_for_result(&rig);
        rig_set_time(&rig, RIG_FIRST_NS + 10 * S + late_ns[i]);
        rig_expire(&rig);
        assert_quiet(&rig);
        assert_int_equal(rig.probe.client.step, TW_CLIENT_STEP_IDLE);
        const int64_t next = RIG_FIRST_NS + 20 * S + late_ns[i] / (10 * S) * 10 * S;
        assert_int_equal(tw_probe_deadline(&rig.probe).ns, next);
        rig_set_time(&rig, next);
        rig_expire(&rig);
        finish_set_up(&rig);
        send_session(&rig);
        assert_int_equal(wait_for_result(&rig).begun.ns, next);
    }
}

/* Where the session nearly fills the interval, a timer that is a little late must not silence the
 * target for ever: that there is no session is told as always. */
static void little_time_for_set_up_is_no_reason_to_leave_an_interval_out(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_probe_config config = rig_plan();
    config.interval_ns = 4 * 100 * MS + 2 * S + 1 * MS;
    rig_begin_with(&rig, &config, 1);
    rig_expire(&rig);
    take(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 1);
    for (int64_t i = 0; i < 3; i++) {
        rig_set_time(&rig, RIG_FIRST_NS + i * config.interval_ns + 5 * MS);
        rig_expire(&rig);
        const struct tw_measurement m = wait_for_result(&rig);
        assert_int_equal(m.begun.ns, RIG_FIRST_NS + i * config.interval_ns);
        assert_false(m.session);
    }
}

static void interval_that_is_met_just_in_time_is_measured(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    wait_for_result(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 17600 * MS - 1);
    rig_expire(&rig);
    finish_set_up(&rig);
    send_session(&rig);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.summary.sent, 4);
    assert_true(rig.now.mono.ns < RIG_FIRST_NS + 20 * S);
}

static void stall_is_made_up_for_by_three_packets_at_once_at_most(void **state)
{
    (void)state;
    struct tw_probe_config config = rig_plan();
    config.count = 40;
    struct rig rig;
    rig_requested_with(&rig, &config);
    finish_set_up(&rig);
    assert_int_equal(send_all_due(&rig), 1);
    rig_set_time(&rig, RIG_FIRST_NS + 250 * MS); /* a short delay is made up for in full */
    assert_int_equal(send_all_due(&rig), 2);
    rig_set_time(&rig, RIG_FIRST_NS + 300 * MS);
    assert_int_equal(send_all_due(&rig), 1);
    rig_set_time(&rig, RIG_FIRST_NS + 2000 * MS);
    assert_int_equal(send_all_due(&rig), 3);
    for (unsigned i = 1; i < 34; i++) {
        assert_int_equal(tw_probe_deadline(&rig.probe).ns, rig.now.mono.ns + 100 * MS);
        rig_set_time(&rig, rig.now.mono.ns + 100 * MS);
        assert_int_equal(send_all_due(&rig), 1);
    }
    assert_int_equal(rig.probe.phase, TW_PROBE_DRAIN);
    assert_int_equal(wait_for_result(&rig).summary.sent, 40);
}

static void no_packet_leaves_when_its_loss_could_not_be_told_in_its_interval(void **state)
{
    (void)state;
    struct rig rig;
    rig_requested(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 7 * S);
    rig.probe.client.deadline = TW_NEVER; /* a server that is slow, but within what it may */
    finish_set_up(&rig);
    send_packet(&rig);
    reflect_packet(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 8 * S - 1);
    assert_true(tw_probe_send_due(&rig.probe, rig.now.mono));
    send_packet(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 8 * S);
    assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
    assert_quiet_until(&rig, RIG_FIRST_NS + 10 * S - 1);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 10 * S);
    assert_int_equal(m.summary.sent, 2);
    assert_int_equal(m.summary.received, 1);
    assert_int_equal(m.summary.lost, 1);
    assert_int_equal(m.counters.sent, 2);
    write_output(&rig);
    rig_expire(&rig); /* and the next interval begins in time */
    assert_int_equal(rig.probe.begun.ns, RIG_FIRST_NS + 10 * S);
    assert_int_equal(rig.probe.client.step, TW_CLIENT_STEP_REQUEST);
}

static void session_that_starts_too_late_for_any_packet_ends_in_its_interval(void **state)
{
    (void)state;
    struct rig rig;
    rig_starting(&rig);
    /* The driver slept; the answer was there, and comes before the deadlines. */
    rig_set_time(&rig, RIG_FIRST_NS + 12 * S);
    say_start_ack(&rig, 0);
    assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
    rig_expire(&rig);
    const struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_int_equal(m.begun.ns, RIG_FIRST_NS);
    assert_int_equal(m.summary.sent, 0);
    assert_int_equal(m.summary.lost, 0);
    write_output(&rig);
    assert_int_equal(count_commands(&rig, 3), 1);
    rig_expire(&rig);
    assert_int_equal(rig.probe.begun.ns, RIG_FIRST_NS + 10 * S);
    finish_set_up(&rig);
}

/* Stopped for longer than is left for a session: an answer that was not heard is not missed. */
static void set_up_that_the_driver_slept_through_is_not_told(void **state)
{
    (void)state;
    static void (*const steps[])(struct rig *) = {rig_connecting, rig_connected, rig_requested,
                                                  rig_starting};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        for (unsigned told = 0; told < 2; told++) {
            struct rig rig;
            steps[i](&rig);
            rig_set_time(&rig, RIG_FIRST_NS + 7600 * MS);
            if (told == 0)
                tw_probe_slept(&rig.probe, TW_PROBE_STOPPED, rig.now.mono);
            rig_expire(&rig);
            struct tw_probe_event event;
            bool result = false;
            while (tw_probe_next_event(&rig.probe, &event))
                result = result || event.type == TW_PROBE_RESULT;
            assert_int_equal(result, told != 0);
            assert_int_equal(rig.probe.phase, TW_PROBE_WAIT);
            assert_int_equal(tw_probe_deadline(&rig.probe).ns, RIG_FIRST_NS + 10 * S);
        }
    }
}

/* What failed before the stop did so without it. */
static void failure_before_a_stop_is_told(void **state)
{
    (void)state;
    struct rig rig;
    rig_connecting(&rig);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    rig_set_time(&rig, RIG_FIRST_NS + 9 * S);
    tw_probe_slept(&rig.probe, TW_PROBE_STOPPED, rig.now.mono);
    rig_expire(&rig);
    take(&rig, TW_PROBE_RESOLVE);
    const struct tw_measurement m = *take(&rig, TW_PROBE_RESULT).measurement;
    assert_int_equal(m.state, TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(m.trouble.error, ECONNREFUSED);
}

static void packets_that_left_before_a_stop_are_told(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_packet(&rig);
    rig_set_time(&rig, rig.now.mono.ns + 10 * MS);
    struct tw_arrival arrival = arrival_now(&rig);
    rig_set_time(&rig, rig.now.mono.ns + 9 * S);
    arrival.read = rig.now;
    tw_probe_slept(&rig.probe, TW_PROBE_STOPPED, rig.now.mono);
    uint8_t reply[41];
    struct tw_sample sample;
    make_reply(rig.packet, 0, reply);
    assert_true(tw_probe_receive(&rig.probe, reply, sizeof reply, &arrival, &sample));
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.state, TW_MEASUREMENT_OK);
    assert_int_equal(m.summary.sent, 1);
    assert_int_equal(m.summary.received, 1);
}

static void suspend_leaves_out_what_is_not_answered(void **state)
{
    (void)state;
    for (unsigned answered = 0; answered < 3; answered++) {
        struct rig rig;
        rig_testing(&rig);
        rig.probe.refresh_at = TW_NEVER;
        for (unsigned i = 0; i < 2; i++) {
            send_packet(&rig);
            rig_set_time(&rig, rig.now.mono.ns + 10 * MS);
            if (i < answered)
                reflect_packet(&rig);
            rig_set_time(&rig, rig.now.mono.ns + 90 * MS);
        }
        tw_probe_slept(&rig.probe, TW_PROBE_SUSPENDED, rig.now.mono);
        take(&rig, TW_PROBE_DISCONNECT);
        assert_quiet(&rig);
        assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
        reflect_packet(&rig); /* perhaps it waited; nobody knows since when */
        if (answered == 2) {
            const struct tw_measurement m = wait_for_result(&rig);
            assert_int_equal(m.state, TW_MEASUREMENT_OK);
            assert_int_equal(m.summary.sent, 2);
            assert_int_equal(m.summary.received, 2);
        }
        wait_for(&rig, TW_PROBE_CONNECT);
        assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 10 * S);
        accept_connection(&rig);
        say_greeting(&rig);
        finish_set_up(&rig);
        assert_int_equal(rig.probe.counters.lost, 0);
        assert_int_equal(rig.probe.counters.late, 0);
        assert_int_equal(rig.probe.counters.sent, answered == 2 ? 2 : 0);
    }
}

static void set_up_begins_anew_after_a_suspend(void **state)
{
    (void)state;
    struct rig rig;
    rig_starting(&rig);
    rig.probe.refresh_at = TW_NEVER;
    tw_probe_slept(&rig.probe, TW_PROBE_SUSPENDED, rig.now.mono);
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    take(&rig, TW_PROBE_CONNECT);
    accept_connection(&rig);
    say_greeting(&rig);
    finish_set_up(&rig);
    send_session(&rig);
    assert_int_equal(wait_for_result(&rig).begun.ns, RIG_FIRST_NS);

    rig_starting(&rig); /* and when its network does not come back in time */
    rig.probe.refresh_at = TW_NEVER;
    tw_probe_slept(&rig.probe, TW_PROBE_SUSPENDED, rig.now.mono);
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    take(&rig, TW_PROBE_CONNECT);
    rig_set_time(&rig, RIG_FIRST_NS + 7 * S);
    tw_probe_connect_failed(&rig.probe, ENETUNREACH, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    assert_quiet_until(&rig, RIG_FIRST_NS + 10 * S - 1);
}

/* However long the target could not be reached before: its network comes back in a moment. */
static void delays_between_attempts_begin_anew_after_a_suspend(void **state)
{
    (void)state;
    struct rig rig;
    rig_starting(&rig);
    rig.probe.refresh_at = TW_NEVER;
    rig.probe.failures = 20;
    tw_probe_slept(&rig.probe, TW_PROBE_SUSPENDED, rig.now.mono);
    rig_expire(&rig);
    take(&rig, TW_PROBE_DISCONNECT);
    take(&rig, TW_PROBE_CONNECT);
    tw_probe_connect_failed(&rig.probe, ENETUNREACH, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    wait_for(&rig, TW_PROBE_CONNECT);
    assert_true(rig.now.mono.ns <= RIG_FIRST_NS + 10 * S / 16 + 1);
}

/* And after a session that sent something. */
static void delays_between_attempts_begin_anew_with_a_packet(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    rig.probe.failures = 20;
    send_session(&rig);
    wait_for_result(&rig);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    wait_for(&rig, TW_PROBE_CONNECT);
    tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
    take(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 1);
    const int64_t failed_ns = rig.now.mono.ns;
    wait_for(&rig, TW_PROBE_CONNECT);
    assert_true(rig.now.mono.ns - failed_ns <= 10 * S / 16 + 1);
}

static void packet_the_kernel_did_not_take_was_never_sent(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    for (unsigned i = 0; i < 4; i++) {
        send_packet(&rig);
        assert_int_equal(tw_get32(rig.packet), i);
        tw_probe_unsend(&rig.probe, EPERM, rig.now.mono);
        assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
        assert_int_equal(rig.probe.phase, TW_PROBE_TEST); /* also after the last one */
        rig_set_time(&rig, rig.now.mono.ns + 100 * MS);
        send_packet(&rig);
        assert_int_equal(tw_get32(rig.packet), i); /* no gap in the numbers */
        reflect_packet(&rig);
        if (i < 3)
            rig_set_time(&rig, rig.now.mono.ns + 100 * MS);
    }
    assert_int_equal(rig.probe.phase, TW_PROBE_DRAIN);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.state, TW_MEASUREMENT_OK);
    assert_int_equal(m.summary.sent, 4);
    assert_int_equal(m.summary.received, 4);
}

static void kernel_that_never_takes_a_packet_is_tried_at_the_packets_pace(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    unsigned tries = 0;
    while (rig.probe.phase == TW_PROBE_TEST) {
        if (tw_probe_send_due(&rig.probe, rig.now.mono)) {
            send_packet(&rig);
            tw_probe_unsend(&rig.probe, EPERM, rig.now.mono);
            tries++;
        }
        assert_true(tw_probe_deadline(&rig.probe).ns > rig.now.mono.ns);
        rig_set_time(&rig, tw_probe_deadline(&rig.probe).ns);
        rig_expire(&rig);
    }
    assert_int_equal(tries, 80); /* 8 s of one every 100 ms */
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.state, TW_MEASUREMENT_UNREACHABLE);
    assert_true(m.session);
    assert_false(m.trouble.valid);
    assert_int_equal(m.trouble.error, EPERM);
    assert_int_equal(m.summary.sent, 0);
    assert_int_equal(m.summary.lost, 0);
    assert_int_equal(m.counters.sent, 0);
    assert_true(isnan(m.summary.rtt.mean));
}

static void refused_packet_is_not_tried_at_once_again_after_a_stall(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 2 * S);
    send_packet(&rig);
    tw_probe_unsend(&rig.probe, EPERM, rig.now.mono);
    assert_int_equal(tw_probe_deadline(&rig.probe).ns, rig.now.mono.ns + 100 * MS);
    assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
}

static void late_reply_moves_the_counter_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_session(&rig);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.counters.late, 0);
    assert_int_equal(m.counters.lost, 4);
    for (unsigned copies = 0; copies < 3; copies++)
        reflect_packet(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
    rig_expire(&rig);
    reflect_packet(&rig); /* the next interval has begun, its session not */
    uint8_t old[RIG_PACKET];
    memcpy(old, rig.packet, sizeof old);
    finish_set_up(&rig);
    send_session(&rig);
    memcpy(rig.packet, old, sizeof old);
    reflect_packet(&rig); /* of the old session, in the new one */
    const struct tw_measurement next = wait_for_result(&rig);
    assert_int_equal(next.counters.late, 1);
    assert_int_equal(next.summary.late, 0);
    assert_int_equal(next.summary.received, 0);
    assert_int_equal(next.state, TW_MEASUREMENT_SILENT);
    assert_int_equal(next.counters.lost, 8);
}

static void transmit_timestamp_finds_its_packet_in_this_session_or_the_one_before(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    const struct tw_probe_packet first = {1, 0};
    send_packet(&rig);
    tw_wall at = {rig.now.wall.ns + 5};
    assert_false(
        tw_probe_departed(&rig.probe, (struct tw_probe_packet){0, 0}, at, TW_SOURCE_KERNEL));
    assert_false(
        tw_probe_departed(&rig.probe, (struct tw_probe_packet){2, 0}, at, TW_SOURCE_KERNEL));
    assert_false(
        tw_probe_departed(&rig.probe, (struct tw_probe_packet){1, 1}, at, TW_SOURCE_KERNEL));
    assert_true(tw_probe_departed(&rig.probe, first, at, TW_SOURCE_KERNEL));
    reflect_packet(&rig);
    assert_int_equal(rig_window(&rig)->stats.observation.transmit_source, TW_SOURCE_KERNEL);

    send_session(&rig);
    (void)wait_for_result(&rig);
    rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
    rig_expire(&rig);
    finish_set_up(&rig);
    send_packet(&rig);
    at.ns = rig.now.wall.ns + 5;
    assert_true(
        tw_probe_departed(&rig.probe, (struct tw_probe_packet){2, 0}, at, TW_SOURCE_KERNEL));
    at.ns = rig.now.wall.ns - 10 * S + 5;
    assert_true(tw_probe_departed(&rig.probe, first, at, TW_SOURCE_KERNEL));
    tw_probe_close(&rig.probe, rig.now.mono);
    assert_false(tw_probe_departed(&rig.probe, first, at, TW_SOURCE_KERNEL));
}

static void garbage_changes_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    send_packet(&rig);
    for (size_t n = 0; n < RIG_PACKET; n++) {
        uint8_t garbage[RIG_PACKET];
        tw_random_fill(&rig.random, garbage, sizeof garbage);
        const struct tw_arrival arrival = arrival_now(&rig);
        struct tw_sample sample;
        tw_probe_receive(&rig.probe, garbage, n, &arrival, &sample);
    }
    for (size_t n = 0; n < 38; n++) { /* too short for a reply (conformance SND-11) */
        uint8_t reply[41];
        make_reply(rig.packet, 0, reply);
        const struct tw_arrival arrival = arrival_now(&rig);
        struct tw_sample sample;
        tw_probe_receive(&rig.probe, reply, n, &arrival, &sample);
    }
    send_session(&rig);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.summary.received, 0);
    assert_int_equal(m.summary.late, 0);
    assert_int_equal(m.state, TW_MEASUREMENT_SILENT);
    assert_int_equal(m.rejected.too_short, 38 + 38);
    assert_int_equal(m.rejected.foreign, RIG_PACKET - 38);
    assert_int_equal(m.rejected.not_authentic, 0);
}

/* The reply of a session before is none of this one, and no stranger's. */
static void what_came_instead_of_replies_is_counted_by_interval(void **state)
{
    (void)state;
    struct rig rig;
    rig_testing(&rig);
    uint8_t reply[41];
    make_reply(rig.packet, 0, reply);
    const struct tw_arrival before = arrival_now(&rig);
    struct tw_sample sample;
    assert_false(tw_probe_receive(&rig.probe, reply, sizeof reply, &before, &sample));
    send_packet(&rig);
    make_reply(rig.packet, 0, reply);
    send_session(&rig);
    reply[30] ^= 1; /* in T1 */
    struct tw_arrival arrival = arrival_now(&rig);
    assert_false(tw_probe_receive(&rig.probe, reply, sizeof reply, &arrival, &sample));
    struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.rejected.foreign, 1); /* before a packet had left nothing was answered */

    rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
    rig_expire(&rig);
    finish_set_up(&rig);
    send_packet(&rig);
    reply[30] ^= 1;
    arrival = arrival_now(&rig);
    assert_true(tw_probe_receive(&rig.probe, reply, sizeof reply, &arrival, &sample));
    send_session(&rig);
    m = wait_for_result(&rig);
    assert_int_equal(m.rejected.foreign, 0);
}

static void reply_before_the_first_session_is_ignored(void **state)
{
    (void)state;
    struct rig rig;
    rig_starting(&rig);
    reflect_packet(&rig);
    assert_int_equal(rig.probe.counters.late, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_says_what_is_configured),
        cmocka_unit_test(answered_session_is_told_once_and_stopped_once),
        cmocka_unit_test(result_stays_as_it_is_until_it_is_taken),
        cmocka_unit_test(driver_that_slept_for_many_intervals_goes_on_with_the_present_one),
        cmocka_unit_test(result_of_a_driver_that_slept_has_the_time_at_which_it_was_due),
        cmocka_unit_test(interval_that_is_met_too_late_for_a_session_is_left_out),
        cmocka_unit_test(little_time_for_set_up_is_no_reason_to_leave_an_interval_out),
        cmocka_unit_test(interval_that_is_met_just_in_time_is_measured),
        cmocka_unit_test(stall_is_made_up_for_by_three_packets_at_once_at_most),
        cmocka_unit_test(no_packet_leaves_when_its_loss_could_not_be_told_in_its_interval),
        cmocka_unit_test(session_that_starts_too_late_for_any_packet_ends_in_its_interval),
        cmocka_unit_test(set_up_that_the_driver_slept_through_is_not_told),
        cmocka_unit_test(failure_before_a_stop_is_told),
        cmocka_unit_test(packets_that_left_before_a_stop_are_told),
        cmocka_unit_test(suspend_leaves_out_what_is_not_answered),
        cmocka_unit_test(set_up_begins_anew_after_a_suspend),
        cmocka_unit_test(delays_between_attempts_begin_anew_after_a_suspend),
        cmocka_unit_test(delays_between_attempts_begin_anew_with_a_packet),
        cmocka_unit_test(packet_the_kernel_did_not_take_was_never_sent),
        cmocka_unit_test(kernel_that_never_takes_a_packet_is_tried_at_the_packets_pace),
        cmocka_unit_test(refused_packet_is_not_tried_at_once_again_after_a_stall),
        cmocka_unit_test(late_reply_moves_the_counter_once),
        cmocka_unit_test(transmit_timestamp_finds_its_packet_in_this_session_or_the_one_before),
        cmocka_unit_test(garbage_changes_nothing),
        cmocka_unit_test(what_came_instead_of_replies_is_counted_by_interval),
        cmocka_unit_test(reply_before_the_first_session_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
