/* lib/sender.h: what a Session-Sender reads out of a reply: four timestamps in whatever format and
 * era, the quirks of real reflectors, errors and clock steps. One reply was captured from
 * perfSONAR's twampd; at the end our own reflector answers over a path with known delays. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "hex.h"
#include "lib/quirk.h"
#include "lib/reflector.h"
#include "sender_rig.h"

static void reply_becomes_a_sample(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    send_at(&s, 250 * MS);
    uint8_t reply[HEADER];
    /* The reflector is a second ahead: T2 at 0.5 s, T3 at 0.75 s of our time, T4 at 1 s. */
    put_reply(&s,
              (struct reply){
                  .sequence = 9,
                  .t2 = UINT64_C(0xe8fe6f81c0000000),
                  .t3 = UINT64_C(0xe8fe6f8200000000),
                  .error = 0x9880, /* synchronised, 0.5 s */
                  .ttl = 251,
              },
              reply);
    assert_int_equal(receive_late(&s, reply, HEADER, 1000 * MS, 1001 * MS), TW_SENDER_SAMPLE);
    const struct tw_sample *sample = &s.sample;
    assert_int_equal(sample->sequence, 1);
    assert_int_equal(sample->reflector_sequence, 9);
    assert_int_equal(sample->t1.ns, WALL_NS + 250 * MS);
    assert_int_equal(sample->t2.ns, WALL_NS + 1500 * MS);
    assert_int_equal(sample->t3.ns, WALL_NS + 1750 * MS);
    assert_int_equal(sample->t4.ns, WALL_NS + 1000 * MS);
    assert_int_equal(sample->read.ns, WALL_NS + 1001 * MS);
    assert_int_equal(sample->rtt_ns, 500 * MS);
    assert_int_equal(sample->rtt_total_ns, 750 * MS);
    assert_int_equal(sample->forward_ns, 1250 * MS);
    assert_int_equal(sample->reverse_ns, -750 * MS);
    assert_int_equal(sample->processing_ns, 250 * MS);
    /* 0x84 * 2^(15 - 32) s is 1007081 ns, rounded up. */
    assert_int_equal(sample->error_ns, 500 * MS + 1007081);
    assert_true(sample->local_synchronized);
    assert_true(sample->remote_synchronized);
    assert_int_equal(sample->transmit_source, TW_SOURCE_USER);
    assert_int_equal(sample->receive_source, TW_SOURCE_KERNEL);
    assert_int_equal(sample->sender_ttl, 251);
    assert_int_equal(sample->ttl, 250);
    assert_int_equal(sample->sender_tos, -1);
    assert_int_equal(sample->tos, 0xb8);
    assert_int_equal(sample->flags, 0);
    assert_int_equal(s.sender.unanswered, 1);
}

static void perfsonar_reply_is_understood(void **state)
{
    (void)state;
    uint8_t reply[78];
    const size_t n = octets_from_hex(
        "00000000eeae4052f7b384fd00010000eeae4052f7b1e18e00000000eeae4052f7aa582d00010000ffb2b91148"
        "7b9b2bde86102a07239d58a8f0b669f4be6bf56e2b665a36825c8d9b685c7602d5",
        reply, sizeof(reply));
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 64});
    const int64_t t1_ns = INT64_C(1795408338967443000);
    s.wall_ns = t1_ns;
    send_at(&s, 0);
    /* perfSONAR cuts the fraction where we round it. */
    s.slots[0].t1_bits = tw_get64(reply + 28);
    assert_int_equal(receive_at(&s, reply, n, INT64_C(1795408338967588071) - t1_ns),
                     TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.rtt_ns, 120071);
    assert_int_equal(s.sample.rtt_total_ns, 145071);
    assert_int_equal(s.sample.forward_ns, 115000);
    assert_int_equal(s.sample.reverse_ns, 5071);
    assert_int_equal(s.sample.processing_ns, 25000);
    assert_int_equal(s.sample.sender_ttl, 255);
    assert_false(s.sample.remote_synchronized);
    assert_int_equal(s.sample.flags, 0);
}

static bool depart(struct session *s, uint32_t sequence, int64_t at_ns, enum tw_source source)
{
    return tw_sender_departed(&s->sender, sequence, (tw_wall){WALL_NS + at_ns}, source);
}

static void transmit_timestamp_of_the_kernel_replaces_ours(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    assert_true(depart(&s, 0, 50, TW_SOURCE_KERNEL));
    assert_true(depart(&s, 0, 70, TW_SOURCE_HARDWARE));
    assert_false(depart(&s, 1, 90, TW_SOURCE_KERNEL));
    assert_false(depart(&s, SLOTS, 90, TW_SOURCE_KERNEL));
    assert_answered(&s, 0, MS, 0);
    assert_int_equal(s.sample.t1.ns, WALL_NS + 70);
    assert_int_equal(s.sample.rtt_total_ns, MS - 70);
    assert_int_equal(s.sample.transmit_source, TW_SOURCE_HARDWARE);
    /* The next packet starts from its own reading again. */
    send_at(&s, 2 * MS);
    assert_answered(&s, 1, 3 * MS, 0);
    assert_int_equal(s.sample.t1.ns, WALL_NS + 2 * MS);
    assert_int_equal(s.sample.transmit_source, TW_SOURCE_USER);
}

static void transmit_timestamp_of_another_packet_is_refused(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.wait_ns = 100 * MS});
    send_at(&s, 0);
    assert_false(depart(&s, 0, -1, TW_SOURCE_KERNEL));
    assert_false(depart(&s, 0, 100 * MS + 1, TW_SOURCE_KERNEL));
    assert_answered(&s, 0, MS, 0);
    assert_int_equal(s.sample.t1.ns, WALL_NS);
    assert_int_equal(s.sample.transmit_source, TW_SOURCE_USER);
    send_at(&s, MS);
    assert_true(depart(&s, 1, 101 * MS, TW_SOURCE_KERNEL));
    assert_true(depart(&s, 1, MS, TW_SOURCE_KERNEL)); /* held against our own stamp */
}

static void clock_step_during_the_round_trip_is_an_anomaly(void **state)
{
    (void)state;
    static const struct {
        int64_t step_ns;
        unsigned flags;
    } cases[] = {
        {0, 0},
        {MS, 0},
        {-MS, 0},
        {MS + 1, TW_SAMPLE_ANOMALY},
        {-MS - 1, TW_SAMPLE_ANOMALY},
        {3600 * TW_NS_PER_S, TW_SAMPLE_ANOMALY},
        {-3600 * TW_NS_PER_S, TW_SAMPLE_ANOMALY},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct session s;
        open_session(&s, (struct tw_sender_config){0});
        send_at(&s, 0);
        s.wall_ns += cases[i].step_ns;
        assert_answered(&s, 0, 100 * MS, cases[i].flags);
        assert_int_equal(s.sample.rtt_total_ns, 100 * MS + cases[i].step_ns);
        assert_int_equal(s.sender.unanswered, 0);
        const int64_t offset_ns = s.sample.clock_offset_ns;
        /* A packet sent after the step is measured again, and shows it. */
        send_at(&s, 200 * MS);
        assert_answered(&s, 1, 300 * MS, 0);
        assert_int_equal(s.sample.clock_offset_ns - offset_ns, cases[i].step_ns);
    }
}

static void negative_one_way_delays_are_kept(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    /* The reflector is ten seconds behind; 10 ms there, 10 ms back. */
    put_reply(&s,
              (struct reply){.t2 = tw_ntp_from_wall((tw_wall){WALL_NS - 10000 * MS + 10 * MS}),
                             .t3 = tw_ntp_from_wall((tw_wall){WALL_NS - 10000 * MS + 11 * MS}),
                             .error = 0x0001},
              reply);
    assert_int_equal(receive_at(&s, reply, HEADER, 21 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.forward_ns, -9990 * MS);
    assert_int_equal(s.sample.reverse_ns, 10010 * MS);
    assert_int_equal(s.sample.rtt_ns, 20 * MS);
    assert_int_equal(s.sample.flags, 0);
    assert_false(s.sample.remote_synchronized);
}

static void impossible_delays_are_flagged_and_still_answer(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    uint8_t reply[HEADER];
    send_at(&s, 0);
    /* A microsecond is no more than the resolution of two clocks. */
    put_reply(&s, (struct reply){.t2 = WALL_NTP + 4294, .t3 = WALL_NTP, .error = 1}, reply);
    assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, 0);
    assert_int_equal(s.sender.quirks, 0);
    send_at(&s, 0);
    put_reply(&s, (struct reply){.t2 = WALL_NTP + 4300, .t3 = WALL_NTP, .error = 1}, reply);
    assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, TW_SAMPLE_CONTRADICTORY);
    assert_int_equal(s.sample.rtt_total_ns, MS);
    assert_int_equal(s.sender.quirks, TW_QUIRK_CONTRADICTORY);
    /* A second of processing within a round trip of a millisecond. */
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    put_reply(&s, (struct reply){.t2 = WALL_NTP, .t3 = WALL_NTP + (UINT64_C(1) << 32), .error = 1},
              reply);
    assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, TW_SAMPLE_CONTRADICTORY);
    assert_int_equal(s.sample.rtt_ns, -999 * MS);
    assert_int_equal(s.sample.rtt_total_ns, MS);
    assert_int_equal(s.sender.quirks, TW_QUIRK_CONTRADICTORY);
    assert_int_equal(s.sender.unanswered, 0);
}

static void ntp_era_may_end_anywhere_on_the_way(void **state)
{
    (void)state;
    /* T1..T4 a quarter second apart; era 1 begins before the n-th of them. */
    for (int64_t n = 0; n <= 4; n++) {
        struct session s;
        open_session(&s, (struct tw_sender_config){0});
        s.wall_ns = INT64_C(2085978496) * TW_NS_PER_S - n * 250 * MS;
        send_at(&s, 0);
        const uint64_t t1 = 0 - (uint64_t)n * 0x40000000;
        assert_int_equal(tw_get64(s.packet + 4), t1);
        uint8_t reply[HEADER];
        put_reply(&s, (struct reply){.t2 = t1 + 0x40000000, .t3 = t1 + 0x80000000}, reply);
        /* T2 or T3 is 0 on the wire when the era begins with it, as if there were none: see the
         * tests of zero timestamps. A reflector meets that instant once in 136 years. */
        if (n == 1)
            tw_put64(reply + 16, 1);
        if (n == 2)
            tw_put64(reply + 4, 1);
        assert_int_equal(receive_at(&s, reply, HEADER, 750 * MS), TW_SENDER_SAMPLE);
        assert_int_equal(s.sample.forward_ns, 250 * MS);
        assert_int_equal(s.sample.processing_ns, 250 * MS);
        assert_int_equal(s.sample.reverse_ns, 250 * MS);
        assert_int_equal(s.sample.flags, 0);
    }
}

/* T3 says nothing, but that the reply came back does. */
static void zero_departure_timestamp_leaves_the_round_trip(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    put_reply(&s, (struct reply){.t2 = WALL_NTP + 0x40000000, .t3 = 0, .error = 1}, reply);
    assert_int_equal(receive_at(&s, reply, HEADER, 1000 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, TW_SAMPLE_NO_TRANSMIT);
    assert_int_equal(s.sample.t3.ns, WALL_NS + 250 * MS);
    assert_int_equal(s.sample.forward_ns, 250 * MS);
    assert_int_equal(s.sample.rtt_ns, 1000 * MS);
    assert_int_equal(s.sample.processing_ns, 0);
    assert_int_equal(s.sender.zero_transmit, 1);
    assert_int_equal(s.sender.zero_receive, 0);

    send_at(&s, 0);
    put_reply(&s, (struct reply){.t2 = 0, .t3 = 0, .error = 1}, reply);
    assert_int_equal(receive_at(&s, reply, HEADER, 1000 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, TW_SAMPLE_NO_TRANSMIT | TW_SAMPLE_NO_RECEIVE);
    assert_int_equal(s.sample.rtt_ns, 1000 * MS);
    assert_int_equal(s.sample.rtt_total_ns, 1000 * MS);
    assert_int_equal(s.sample.processing_ns, 0);
}

static void zero_receive_timestamp_is_taken_as_the_departure(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    put_reply(&s, (struct reply){.t2 = 0, .t3 = WALL_NTP + 0x40000000, .error = 1}, reply);
    assert_int_equal(receive_at(&s, reply, HEADER, 1000 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, TW_SAMPLE_NO_RECEIVE);
    assert_int_equal(s.sample.t2.ns, WALL_NS + 250 * MS);
    assert_int_equal(s.sample.rtt_ns, 1000 * MS);
    assert_int_equal(s.sample.processing_ns, 0);
    assert_int_equal(s.sender.zero_receive, 1);
}

static void equal_reflector_timestamps_are_a_processing_of_zero(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    assert_answered(&s, 0, MS, 0);
    assert_int_equal(s.sample.processing_ns, 0);
    assert_int_equal(s.sample.rtt_ns, MS);
    assert_int_equal(s.sample.flags, 0);
    assert_int_equal(s.sender.zero_receive, 0);
}

static void multiplier_zero_leaves_the_error_unknown(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    put_reply(&s, (struct reply){.t2 = WALL_NTP, .t3 = WALL_NTP, .error = 0x8f00}, reply);
    assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.error_ns, -1);
    assert_true(s.sample.remote_synchronized);
    assert_int_equal(s.sample.flags, 0);
    assert_int_equal(s.sender.zero_error, 1);
}

static void largest_error_saturates(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    put_reply(&s, (struct reply){.t2 = WALL_NTP, .t3 = WALL_NTP, .error = 0x3fff}, reply);
    assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.error_ns, INT64_MAX);
}

static void ptp_timestamps_are_read_by_the_z_bit(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.tai_utc_s = 37});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    /* 1700000000.25 s UTC, and half a second later, on the TAI scale. */
    put_reply(&s,
              (struct reply){.t2 = UINT64_C(0x6553f1250ee6b280),
                             .t3 = UINT64_C(0x6553f1252cb41780),
                             .error = 0xc001},
              reply);
    assert_int_equal(receive_at(&s, reply, HEADER, 750 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.t2.ns, WALL_NS);
    assert_int_equal(s.sample.t3.ns, WALL_NS + 500 * MS);
    assert_int_equal(s.sample.forward_ns, 0);
    assert_int_equal(s.sample.reverse_ns, 250 * MS);
    assert_int_equal(s.sample.rtt_ns, 250 * MS);
    assert_int_equal(s.sample.flags, 0);
    assert_true(s.sample.remote_synchronized);
    assert_int_equal(s.sender.wrong_format, 0);
}

static void z_bit_on_ntp_timestamps_is_seen_through(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.tai_utc_s = 37});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    put_reply(
        &s,
        (struct reply){.t2 = WALL_NTP + 0x40000000, .t3 = WALL_NTP + 0x80000000, .error = 0xc001},
        reply);
    assert_int_equal(receive_at(&s, reply, HEADER, 750 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.forward_ns, 250 * MS);
    assert_int_equal(s.sample.processing_ns, 250 * MS);
    assert_int_equal(s.sample.flags, 0);
    assert_int_equal(s.sender.wrong_format, 1);
}

static void ptp_clock_that_starts_in_1970_is_not_taken_for_ntp(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.tai_utc_s = 0});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    /* 100 s after power on: as NTP that would be 2036, which is nearer. */
    put_reply(&s,
              (struct reply){.t2 = UINT64_C(0x0000006400000000),
                             .t3 = UINT64_C(0x000000641dcd6500),
                             .error = 0x4001},
              reply);
    assert_int_equal(receive_at(&s, reply, HEADER, 750 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.t2.ns, 100 * TW_NS_PER_S);
    assert_int_equal(s.sample.processing_ns, 500 * MS);
    assert_int_equal(s.sample.rtt_ns, 250 * MS);
    assert_int_equal(s.sender.wrong_format, 0);
}

/* One packet to our reflector and back over a path whose delays are known. */
struct path {
    int64_t offset_ns; /* reflector's wall clock minus ours */
    int64_t forward_ns, processing_ns, reverse_ns;
};

static void round_trip(struct session *s, struct tw_reflector *reflector, int64_t ns,
                       const struct path *path)
{
    uint8_t reply[ROOM];
    size_t len;
    send_at(s, ns);
    const int64_t t2_ns = ns + path->forward_ns;
    const int64_t t3_ns = t2_ns + path->processing_ns;
    const struct tw_arrival arrival = {
        .at = {s->wall_ns + path->offset_ns + t2_ns},
        .read = {.mono = {t2_ns}},
        .ttl = 247,
        .tos = -1,
    };
    assert_int_equal(tw_reflector_prepare(reflector, s->packet, s->len, &arrival, &s->random, reply,
                                          sizeof(reply), &len),
                     TW_REFLECT);
    const struct tw_reading departure = {
        .mono = {t3_ns},
        .wall = {s->wall_ns + path->offset_ns + t3_ns},
        .error = ERROR_1_MS,
    };
    tw_reflector_stamp(reflector, reply, &departure);
    assert_int_equal(len, s->len);
    assert_int_equal(receive_at(s, reply, len, t3_ns + path->reverse_ns), TW_SENDER_SAMPLE);
}

static void delays_through_our_reflector_are_exact_to_the_nanosecond(void **state)
{
    (void)state;
    static const int64_t offsets[] = {
        0, 1, -1, 999999999, INT64_C(-37123456789), INT64_C(400000000) * TW_NS_PER_S + 1,
    };
    uint64_t random = 7;
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        struct session s;
        open_session(&s, (struct tw_sender_config){.padding_length = 27});
        struct tw_reflector reflector;
        const struct tw_reflector_config config = {.modes = TW_MODE_UNAUTHENTICATED};
        tw_reflector_init(&reflector, &config);
        tw_reflector_start(&reflector, (tw_mono){0});
        int64_t ns = 0;
        for (uint32_t sequence = 0; sequence < 1000; sequence++) {
            const struct path path = {
                .offset_ns = offsets[i],
                .forward_ns = (int64_t)(next_random(&random) % 900000000),
                .processing_ns = (int64_t)(next_random(&random) % 100000),
                .reverse_ns = (int64_t)(next_random(&random) % 900000000),
            };
            round_trip(&s, &reflector, ns, &path);
            assert_int_equal(s.sample.sequence, sequence);
            assert_int_equal(s.sample.reflector_sequence, sequence);
            assert_int_equal(s.sample.forward_ns, path.forward_ns + path.offset_ns);
            assert_int_equal(s.sample.processing_ns, path.processing_ns);
            assert_int_equal(s.sample.reverse_ns, path.reverse_ns - path.offset_ns);
            assert_int_equal(s.sample.rtt_ns, path.forward_ns + path.reverse_ns);
            assert_int_equal(s.sample.sender_ttl, 247);
            assert_int_equal(s.sample.error_ns, 2 * 1007081);
            assert_int_equal(s.sample.flags, 0);
            ns += 1 + (int64_t)(next_random(&random) % 100000000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reply_becomes_a_sample),
        cmocka_unit_test(perfsonar_reply_is_understood),
        cmocka_unit_test(transmit_timestamp_of_the_kernel_replaces_ours),
        cmocka_unit_test(transmit_timestamp_of_another_packet_is_refused),
        cmocka_unit_test(clock_step_during_the_round_trip_is_an_anomaly),
        cmocka_unit_test(negative_one_way_delays_are_kept),
        cmocka_unit_test(impossible_delays_are_flagged_and_still_answer),
        cmocka_unit_test(ntp_era_may_end_anywhere_on_the_way),
        cmocka_unit_test(zero_departure_timestamp_leaves_the_round_trip),
        cmocka_unit_test(zero_receive_timestamp_is_taken_as_the_departure),
        cmocka_unit_test(equal_reflector_timestamps_are_a_processing_of_zero),
        cmocka_unit_test(multiplier_zero_leaves_the_error_unknown),
        cmocka_unit_test(largest_error_saturates),
        cmocka_unit_test(ptp_timestamps_are_read_by_the_z_bit),
        cmocka_unit_test(z_bit_on_ntp_timestamps_is_seen_through),
        cmocka_unit_test(ptp_clock_that_starts_in_1970_is_not_taken_for_ntp),
        cmocka_unit_test(delays_through_our_reflector_are_exact_to_the_nanosecond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
