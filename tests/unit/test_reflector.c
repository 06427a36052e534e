/* lib/reflector.h: with which octets a Session-Reflector answers. Replies are read at the offsets
 * of RFC 5357 section 4.2.1, not with lib/wire.h; two exchanges were captured between perfSONAR's
 * twping and twampd. When it answers at all: test_reflector_session.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "hex.h"
#include "reflector_rig.h"

static void verdicts_have_reason_codes(void **state)
{
    (void)state;
    assert_string_equal(tw_reflector_verdict_name(TW_REFLECT), "reflected");
    assert_string_equal(tw_reflector_verdict_name(TW_IGNORE_SHORT), "short");
    assert_string_equal(tw_reflector_verdict_name(TW_IGNORE_HMAC), "hmac");
    assert_string_equal(tw_reflector_verdict_name(TW_IGNORE_NOT_STARTED), "not-started");
    assert_string_equal(tw_reflector_verdict_name(TW_IGNORE_STOPPED), "stopped");
    assert_string_equal(tw_reflector_verdict_name(TW_IGNORE_RATE), "rate");
    assert_string_equal(tw_reflector_verdict_name(TW_IGNORE_NO_ROOM), "no-room");
}

static void packet_gets_the_reply_of_the_rfc(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    s.reflector.sequence = 3;
    const size_t n = octets_from_hex("00000007" /* Sequence Number */
                                     "e9a1b2c440000000"
                                     "8f84"
                                     "000102030405060708090a0b0c0d0e0f101112131415161718191a",
                                     packet_room, sizeof(packet_room));
    struct tw_arrival arrival = arrival_at(0);
    arrival.ttl = 63;
    arrival.tos = 0xb8;
    assert_int_equal(offer(&s, n, &arrival), TW_REFLECT);
    stamp_at(&s, reply_room, INT64_C(250000000));

    uint8_t expected[HEADER];
    const size_t len = octets_from_hex("00000003"
                                       "e8fe6f8080000000" /* T3 */
                                       "8f84"
                                       "0000"             /* MBZ */
                                       "e8fe6f8040000000" /* T2 */
                                       "00000007"
                                       "e9a1b2c440000000" /* T1 */
                                       "8f84"
                                       "0000" /* MBZ */
                                       "3f",  /* Sender TTL */
                                       expected, sizeof(expected));
    assert_int_equal(s.len, len);
    assert_memory_equal(reply_room, expected, len);
    assert_int_equal(reply_room[len], GUARD);
}

/* The two timestamps of the reflector are no whole nanoseconds there: less than one apart. */
static void assert_same_instant(const uint8_t *at, const uint8_t *expected_at)
{
    const uint64_t apart = tw_get64(at) - tw_get64(expected_at) + 4;
    assert_in_range(apart, 0, 8);
}

static int64_t from_ntp(uint64_t bits)
{
    return tw_wall_from_ntp(bits, (tw_wall){INT64_C(1795408338000000000)}).ns;
}

static void perfsonar_packets_get_the_replies_of_perfsonar(void **state)
{
    (void)state;
    /* Loopback, port 9417 to 18785, padding 64: the first two packets and their replies. */
    static const char *const exchanges[][2] = {
        {"00000000eeae4052f7aa582d0001b2b911487b9b2bde86102a07239d58a8f0b669f4be6bf56e2b665a36825c8"
         "d"
         "9b685c7602d50245b6355ca481c9501983c9a75d8e17ada0b4e5b09fc23f7d4851",
         "00000000eeae4052f7b384fd00010000eeae4052f7b1e18e00000000eeae4052f7aa582d00010000ffb2b9114"
         "8"
         "7b9b2bde86102a07239d58a8f0b669f4be6bf56e2b665a36825c8d9b685c7602d5"},
        {"00000001eeae4052fd5b68050001ef5e0edb518d4c8a4feb13da7b54b1247c053a336806a298365a9864937ae"
         "f"
         "06161a5eac2f8cdaa4198fca003c5cc658ac6fc68e613f690b1aa3423193fe79ab",
         "00000001eeae4052fd5d91ab00010000eeae4052fd5d4e8f00000001eeae4052fd5b680500010000ffef5e0ed"
         "b"
         "518d4c8a4feb13da7b54b1247c053a336806a298365a9864937aef06161a5eac2f"},
    };
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    for (size_t i = 0; i < ARRAY_SIZE(exchanges); i++) {
        uint8_t expected[78];
        const size_t n = octets_from_hex(exchanges[i][0], packet_room, sizeof(packet_room));
        assert_int_equal(octets_from_hex(exchanges[i][1], expected, sizeof(expected)), n);
        struct tw_arrival arrival = arrival_at(0);
        arrival.at.ns = from_ntp(tw_get64(expected + 16));
        arrival.ttl = 255;
        assert_int_equal(offer(&s, n, &arrival), TW_REFLECT);
        const struct tw_reading now = {.wall = {from_ntp(tw_get64(expected + 4))}, .error = 1};
        tw_reflector_stamp(&s.reflector, reply_room, &now);

        assert_int_equal(s.len, n);
        assert_same_instant(reply_room + 4, expected + 4);
        assert_same_instant(reply_room + 16, expected + 16);
        memcpy(reply_room + 4, expected + 4, 8);
        memcpy(reply_room + 16, expected + 16, 8);
        assert_memory_equal(reply_room, expected, n);
    }
}

static void reply_is_as_long_as_the_packet_but_never_shorter_than_its_header(void **state)
{
    (void)state;
    static const size_t lengths[] = {14, 15, 40, 41, 42, 100, 1472, TW_UDP_PAYLOAD_MAX};
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        const size_t n = lengths[i];
        const struct tw_arrival arrival = arrival_at(0);
        put_packet(n, 0, WALL_NTP, ERROR_1_MS);
        assert_int_equal(offer(&s, n, &arrival), TW_REFLECT);
        assert_int_equal(s.len, n < HEADER ? HEADER : n);
        /* Padding begins at 41 with the sender's at 14: its last 27 octets are gone. */
        if (n > HEADER)
            assert_memory_equal(reply_room + HEADER, packet_room + SENDER_HEADER, n - HEADER);
        assert_int_equal(reply_room[s.len], GUARD);
    }
}

static void packet_shorter_than_its_header_is_ignored(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    const struct tw_arrival arrival = arrival_at(0);
    put_packet(SENDER_HEADER, 0, WALL_NTP, ERROR_1_MS);
    for (size_t n = 0; n < SENDER_HEADER; n++) {
        assert_int_equal(offer(&s, n, &arrival), TW_IGNORE_SHORT);
        assert_int_equal(reply_room[0], GUARD);
    }
    assert_int_equal(s.reflector.received, 0);
    assert_int_equal(exchange(&s, 0), TW_REFLECT);
    assert_int_equal(reply_sequence(), 0);
}

static void must_be_zero_octets_are_zero(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    memset(packet_room, 0xff, 100);
    const struct tw_arrival arrival = arrival_at(0);
    assert_int_equal(offer(&s, 100, &arrival), TW_REFLECT);
    stamp_at(&s, reply_room, 0);
    assert_int_equal(tw_get16(reply_room + 14), 0);
    assert_int_equal(tw_get16(reply_room + 38), 0);
}

static void padding_of_our_own_is_random(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.padding = TW_PADDING_RANDOM});
    struct tw_random same;
    seed_random(&same, 1);
    uint8_t drawn[1000 - HEADER];
    const struct tw_arrival arrival = arrival_at(0);
    put_packet(1000, 0, WALL_NTP, ERROR_1_MS);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(offer(&s, 1000, &arrival), TW_REFLECT);
        tw_random_fill(&same, drawn, sizeof(drawn));
        assert_int_equal(s.len, 1000);
        assert_memory_equal(reply_room + HEADER, drawn, sizeof(drawn));
        assert_int_equal(reply_room[1000], GUARD);
    }
}

static void padding_of_our_own_can_be_zero(void **state)
{
    (void)state;
    static const uint8_t zero[1000 - HEADER];
    struct session s;
    start_session(&s, (struct tw_reflector_config){.padding = TW_PADDING_ZERO});
    const struct tw_arrival arrival = arrival_at(0);
    put_packet(1000, 0, WALL_NTP, ERROR_1_MS);
    assert_int_equal(offer(&s, 1000, &arrival), TW_REFLECT);
    assert_int_equal(s.len, 1000);
    assert_memory_equal(reply_room + HEADER, zero, sizeof(zero));
    assert_int_equal(reply_room[1000], GUARD);
}

static void mixed_mode_has_the_unauthenticated_layout(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.modes = TW_MODE_MIXED});
    const struct tw_arrival arrival = arrival_at(0);
    put_packet(SENDER_HEADER, 77, WALL_NTP, ERROR_1_MS);
    assert_int_equal(offer(&s, SENDER_HEADER, &arrival), TW_REFLECT);
    assert_int_equal(s.len, HEADER);
    assert_int_equal(tw_get32(reply_room + 24), 77);
}

static void sender_ttl_is_the_received_one_or_255(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    put_packet(HEADER, 0, WALL_NTP, ERROR_1_MS);
    for (int ttl = -1; ttl <= 255; ttl++) {
        struct tw_arrival arrival = arrival_at(0);
        arrival.ttl = (int16_t)ttl;
        assert_int_equal(offer(&s, HEADER, &arrival), TW_REFLECT);
        assert_int_equal(reply_room[40], ttl < 0 ? 255 : ttl);
    }
}

static void sender_fields_are_echoed_bit_for_bit(void **state)
{
    (void)state;
    static const struct {
        uint32_t sequence;
        uint64_t t1;
        uint16_t error;
    } packets[] = {
        {0, 0, 0},
        {UINT32_MAX, UINT64_MAX, UINT16_MAX},
        {9, UINT64_C(0x0000000100000000), 0x8000}, /* 2036, or 1900 */
        {5, UINT64_C(0xffffffff00000001), 0x0001}, /* the end of the era */
        {4, UINT64_C(0x6553f1250ee6b280), 0x4001}, /* PTP: Z set */
        {3, UINT64_C(0x0123456789abcdef), 0xbfff},
    };
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
        const struct tw_arrival arrival = arrival_at(0);
        put_packet(HEADER, packets[i].sequence, packets[i].t1, packets[i].error);
        assert_int_equal(offer(&s, HEADER, &arrival), TW_REFLECT);
        stamp_at(&s, reply_room, 0);
        assert_int_equal(reply_sequence(), i);
        assert_int_equal(tw_get32(reply_room + 24), packets[i].sequence);
        assert_int_equal(tw_get64(reply_room + 28), packets[i].t1);
        assert_int_equal(tw_get16(reply_room + 36), packets[i].error);
        assert_int_equal(tw_get16(reply_room + 12), ERROR_1_MS);
    }
    assert_int_equal(s.reflector.zero_error, 2);
}

static void replies_are_counted_from_zero_whatever_arrives(void **state)
{
    (void)state;
    static const uint32_t sent[] = {0, 5, 9, 9, 9, 2};
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    for (uint32_t i = 0; i < ARRAY_SIZE(sent); i++) {
        const struct tw_arrival arrival = arrival_at(0);
        put_packet(HEADER, sent[i], WALL_NTP, ERROR_1_MS);
        assert_int_equal(offer(&s, HEADER, &arrival), TW_REFLECT);
        stamp_at(&s, reply_room, 0);
        assert_int_equal(reply_sequence(), i);
        assert_int_equal(tw_get32(reply_room + 24), sent[i]);
    }
    assert_int_equal(s.reflector.received, ARRAY_SIZE(sent));
    assert_int_equal(s.reflector.reflected, ARRAY_SIZE(sent));
}

static void reply_counter_wraps(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    s.reflector.sequence = UINT32_MAX;
    assert_int_equal(exchange(&s, 0), TW_REFLECT);
    assert_int_equal(reply_sequence(), UINT32_MAX);
    assert_int_equal(exchange(&s, 0), TW_REFLECT);
    assert_int_equal(reply_sequence(), 0);
}

static void batch_is_numbered_and_stamped_as_it_leaves(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    uint8_t replies[3][HEADER];
    put_packet(HEADER, 0, WALL_NTP, ERROR_1_MS);
    for (size_t i = 0; i < 3; i++) {
        const struct tw_arrival arrival = arrival_at(0);
        assert_int_equal(offer(&s, HEADER, &arrival), TW_REFLECT);
        memcpy(replies[i], reply_room, HEADER);
    }
    for (size_t i = 0; i < 3; i++)
        stamp_at(&s, replies[i], (int64_t)(i + 1) * 250000000);
    /* A quarter second is 40000000 of the fraction. */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tw_get32(replies[i]), i);
        assert_int_equal(tw_get64(replies[i] + 4), WALL_NTP + (i + 1) * 0x40000000);
        assert_int_equal(tw_get64(replies[i] + 16), WALL_NTP);
    }
}

static void departure_is_never_before_arrival(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    put_packet(HEADER, 0, WALL_NTP, ERROR_1_MS);
    const struct tw_arrival arrival = arrival_at(0);
    assert_int_equal(offer(&s, HEADER, &arrival), TW_REFLECT);
    stamp_at(&s, reply_room, -1);
    assert_int_equal(tw_get64(reply_room + 4), WALL_NTP);
    assert_int_equal(offer(&s, HEADER, &arrival), TW_REFLECT);
    stamp_at(&s, reply_room, 250000000);
    assert_int_equal(tw_get64(reply_room + 4), WALL_NTP + 0x40000000);
}

static void departure_may_lie_in_the_next_ntp_era(void **state)
{
    (void)state;
    const int64_t era_1_ns = INT64_C(2085978496) * TW_NS_PER_S;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    put_packet(HEADER, 0, WALL_NTP, ERROR_1_MS);
    struct tw_arrival arrival = arrival_at(0);
    arrival.at.ns = era_1_ns - TW_NS_PER_S / 2;
    assert_int_equal(offer(&s, HEADER, &arrival), TW_REFLECT);
    const struct tw_reading now = {.wall = {era_1_ns + TW_NS_PER_S / 4}, .error = ERROR_1_MS};
    tw_reflector_stamp(&s.reflector, reply_room, &now);
    assert_int_equal(tw_get64(reply_room + 16), UINT64_C(0xffffffff80000000));
    assert_int_equal(tw_get64(reply_room + 4), UINT64_C(0x0000000040000000));
}

static void error_estimate_says_ntp(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){0});
    const struct tw_arrival arrival = arrival_at(0);
    put_packet(HEADER, 0, WALL_NTP, 0xffff);
    assert_int_equal(offer(&s, HEADER, &arrival), TW_REFLECT);
    const struct tw_reading now = {.wall = {WALL_NS}, .error = 0xcf84};
    tw_reflector_stamp(&s.reflector, reply_room, &now);
    assert_int_equal(tw_get16(reply_room + 12), 0x8f84);
}

static void reply_that_does_not_fit_is_not_made(void **state)
{
    (void)state;
    struct session s;
    start_session(&s, (struct tw_reflector_config){.max_rate = 1});
    uint8_t packet[SENDER_HEADER] = {0};
    uint8_t out[HEADER];
    memset(out, GUARD, sizeof(out));
    size_t len = 12345;
    const struct tw_arrival arrival = arrival_at(0);
    for (size_t cap = 0; cap < HEADER; cap++)
        assert_int_equal(tw_reflector_prepare(&s.reflector, packet, sizeof(packet), &arrival,
                                              &s.random, out, cap, &len),
                         TW_IGNORE_NO_ROOM);
    assert_int_equal(len, 12345);
    assert_int_equal(out[0], GUARD);
    assert_int_equal(tw_reflector_prepare(&s.reflector, packet, sizeof(packet), &arrival, &s.random,
                                          out, HEADER, &len),
                     TW_REFLECT);
    assert_int_equal(len, HEADER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_have_reason_codes),
        cmocka_unit_test(packet_gets_the_reply_of_the_rfc),
        cmocka_unit_test(perfsonar_packets_get_the_replies_of_perfsonar),
        cmocka_unit_test(reply_is_as_long_as_the_packet_but_never_shorter_than_its_header),
        cmocka_unit_test(packet_shorter_than_its_header_is_ignored),
        cmocka_unit_test(must_be_zero_octets_are_zero),
        cmocka_unit_test(padding_of_our_own_is_random),
        cmocka_unit_test(padding_of_our_own_can_be_zero),
        cmocka_unit_test(mixed_mode_has_the_unauthenticated_layout),
        cmocka_unit_test(sender_ttl_is_the_received_one_or_255),
        cmocka_unit_test(sender_fields_are_echoed_bit_for_bit),
        cmocka_unit_test(replies_are_counted_from_zero_whatever_arrives),
        cmocka_unit_test(reply_counter_wraps),
        cmocka_unit_test(batch_is_numbered_and_stamped_as_it_leaves),
        cmocka_unit_test(departure_is_never_before_arrival),
        cmocka_unit_test(departure_may_lie_in_the_next_ntp_era),
        cmocka_unit_test(error_estimate_says_ntp),
        cmocka_unit_test(reply_that_does_not_fit_is_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
