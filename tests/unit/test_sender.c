/* lib/sender.h: what a Session-Sender sends, and which datagrams it takes for replies. Packets are
 * read at the offsets of RFC 5357 section 4.1.2, not with lib/wire.h. What is lost:
 * test_sender_loss.c; what the times of a reply say: test_sender_times.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "hex.h"
#include "sender_rig.h"

static void packet_has_the_octets_of_the_rfc(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 3, .zero_padding = true});
    memset(s.packet, GUARD, sizeof(s.packet));
    s.sender.next_sequence = 7;
    send_at(&s, 250 * MS);
    uint8_t expected[17];
    const size_t n = octets_from_hex("00000007"
                                     "e8fe6f8080000000"
                                     "8f84"
                                     "000000",
                                     expected, sizeof(expected));
    assert_int_equal(s.len, n);
    assert_memory_equal(s.packet, expected, n);
    assert_int_equal(s.packet[n], GUARD);
}

static void sequence_starts_at_zero_and_wraps(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    for (uint32_t i = 0; i < 3; i++) {
        send_at(&s, 0);
        assert_int_equal(tw_get32(s.packet), i);
    }
    open_session(&s, (struct tw_sender_config){0});
    s.sender.next_sequence = s.sender.next_lost = UINT32_MAX;
    send_at(&s, 0);
    assert_int_equal(tw_get32(s.packet), UINT32_MAX);
    send_at(&s, 1);
    assert_int_equal(tw_get32(s.packet), 0);
    send_at(&s, 2);
    assert_answered(&s, 0, MS, 0);
    assert_lost(&s, UINT32_MAX, WAIT_NS);
    assert_int_equal(deadline_ns(&s), WAIT_NS + 2);
    assert_lost(&s, 1, WAIT_NS + 2);
    assert_int_equal(s.sender.unanswered, 0);
}

static void packet_is_its_header_and_the_padding_asked_for(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 1, 7, 8, 9, 27, 64, 1472 - 14};
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        struct session s;
        open_session(&s, (struct tw_sender_config){.padding_length = lengths[i]});
        memset(s.packet, GUARD, sizeof(s.packet));
        send_at(&s, 0);
        assert_int_equal(s.len, 14 + lengths[i]);
        assert_int_equal(s.packet[s.len], GUARD);
    }
}

static void packet_that_does_not_fit_is_not_made(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27});
    s.packet[0] = GUARD;
    for (size_t cap = 0; cap < HEADER; cap++)
        assert_int_equal(tw_sender_prepare(&s.sender, s.packet, cap, &s.len), TW_ERR_SPACE);
    assert_int_equal(s.packet[0], GUARD);
    assert_int_equal(tw_sender_prepare(&s.sender, s.packet, HEADER, &s.len), TW_OK);
    open_session(&s, (struct tw_sender_config){.padding_length = UINT32_MAX});
    assert_int_equal(tw_sender_prepare(&s.sender, s.packet, ROOM, &s.len), TW_ERR_SPACE);
}

static void padding_is_zero_when_asked_for(void **state)
{
    (void)state;
    static const uint8_t zero[1000];
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 1000, .zero_padding = true});
    memset(s.packet, GUARD, sizeof(s.packet));
    send_at(&s, 0);
    assert_memory_equal(s.packet + SENDER_HEADER, zero, 1000);
}

/* Set bits among n octets. */
static unsigned count_bits(const uint8_t *octets, size_t n)
{
    unsigned bits = 0;
    for (size_t i = 0; i < n; i++)
        bits += (unsigned)__builtin_popcount(octets[i]);
    return bits;
}

static void padding_is_pseudo_random(void **state)
{
    (void)state;
    struct session s, other;
    open_session(&s, (struct tw_sender_config){.padding_length = 1000});
    open_session(&other, (struct tw_sender_config){.padding_length = 1000});
    seed_random(&other.random, 2);
    tw_sender_init(&other.sender, &s.sender.config, other.slots, SLOTS, &other.random);
    uint8_t first[1000];
    send_at(&s, 0);
    memcpy(first, s.packet + SENDER_HEADER, 1000);
    send_at(&s, 0);
    send_at(&other, 0);
    /* 8000 fair bits: 4000 ones, standard deviation 45. The same of what differs. */
    assert_in_range(count_bits(first, 1000), 3700, 4300);
    uint8_t difference[2][1000];
    for (size_t i = 0; i < 1000; i++) {
        difference[0][i] = first[i] ^ s.packet[SENDER_HEADER + i];
        difference[1][i] = first[i] ^ other.packet[SENDER_HEADER + i];
    }
    assert_in_range(count_bits(difference[0], 1000), 3700, 4300);
    assert_in_range(count_bits(difference[1], 1000), 3700, 4300);
}

static void packet_shows_nothing_of_the_memory_it_is_written_to(void **state)
{
    (void)state;
    struct session a, b;
    open_session(&a, (struct tw_sender_config){.padding_length = 333});
    open_session(&b, (struct tw_sender_config){.padding_length = 333});
    memset(a.packet, 0x00, sizeof(a.packet));
    memset(b.packet, 0xff, sizeof(b.packet));
    send_at(&a, 0);
    send_at(&b, 0);
    assert_memory_equal(a.packet, b.packet, a.len);
}

static void error_estimate_says_ntp(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    assert_int_equal(tw_sender_prepare(&s.sender, s.packet, ROOM, &s.len), TW_OK);
    const struct tw_reading now = {.wall = {WALL_NS}, .error = 0xcf84};
    tw_sender_stamp(&s.sender, s.packet, &now);
    assert_int_equal(tw_get16(s.packet + 12), 0x8f84);
}

static void full_window_stops_sending_until_the_oldest_is_settled(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    for (uint32_t i = 0; i < SLOTS; i++)
        send_at(&s, i);
    assert_int_equal(tw_sender_prepare(&s.sender, s.packet, ROOM, &s.len), TW_ERR_STATE);
    assert_answered(&s, 1, MS, 0);
    assert_int_equal(tw_sender_prepare(&s.sender, s.packet, ROOM, &s.len), TW_ERR_STATE);
    assert_answered(&s, 0, MS, 0);
    send_at(&s, MS);
    assert_int_equal(tw_get32(s.packet), SLOTS);
    send_at(&s, MS);
    assert_int_equal(tw_sender_prepare(&s.sender, s.packet, ROOM, &s.len), TW_ERR_STATE);
    assert_answered(&s, 2, WAIT_NS + 3, TW_SAMPLE_LATE);
    assert_int_equal(tw_sender_prepare(&s.sender, s.packet, ROOM, &s.len), TW_ERR_STATE);
    assert_lost(&s, 2, WAIT_NS + 3);
    send_at(&s, WAIT_NS + 3);
    assert_int_equal(tw_get32(s.packet), SLOTS + 2);
    assert_int_equal(s.sender.unanswered, SLOTS);
}

static void packet_that_was_prepared_in_vain_costs_nothing(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    for (int i = 0; i < 2 * SLOTS; i++)
        assert_int_equal(tw_sender_prepare(&s.sender, s.packet, ROOM, &s.len), TW_OK);
    send_at(&s, 0);
    assert_int_equal(tw_get32(s.packet), 0);
    assert_int_equal(s.sender.unanswered, 1);
}

static void packet_the_kernel_did_not_take_was_never_sent(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27});
    send_at(&s, 0);
    tw_sender_unsend(&s.sender);
    assert_true(tw_mono_is_never(tw_sender_deadline(&s.sender)));
    assert_none_lost(&s, INT64_MAX - 1);
    assert_int_equal(s.sender.unanswered, 0);
    assert_int_equal(answer_at(&s, 0, MS, MS), TW_SENDER_FOREIGN);
    send_at(&s, 7);
    assert_int_equal(tw_get32(s.packet), 0);
    assert_int_equal(deadline_ns(&s), WAIT_NS + 7);
    assert_answered(&s, 0, MS, 0);
}

static void oldest_packet_that_never_arrived_is_forgotten(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27});
    assert_false(tw_sender_withdraw(&s.sender));
    for (int i = 0; i < SLOTS; i++)
        send_at(&s, i);
    assert_true(tw_sender_withdraw(&s.sender));
    assert_int_equal(s.sender.unanswered, SLOTS - 1);
    assert_int_equal(deadline_ns(&s), WAIT_NS + 1);
    assert_int_equal(answer_at(&s, 0, MS, MS), TW_SENDER_FOREIGN);
    send_at(&s, 2 * MS); /* has its slot, but not its number */
    assert_int_equal(tw_get32(s.packet), SLOTS);
    assert_answered(&s, 1, 3 * MS, 0);
}

static void packet_whose_reply_came_too_late_did_arrive(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27});
    send_at(&s, 0);
    assert_answered(&s, 0, WAIT_NS + 1, TW_SAMPLE_LATE);
    assert_false(tw_sender_withdraw(&s.sender));
}

static void batch_cut_short_is_unsent_from_its_end(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    s.sender.next_sequence = s.sender.next_lost = UINT32_MAX - 1;
    for (int i = 0; i < 4; i++)
        send_at(&s, i);
    for (int i = 0; i < 3; i++)
        tw_sender_unsend(&s.sender);
    assert_int_equal(s.sender.unanswered, 1);
    assert_int_equal(deadline_ns(&s), WAIT_NS);
    send_at(&s, 100);
    assert_int_equal(tw_get32(s.packet), UINT32_MAX);
    assert_lost(&s, UINT32_MAX - 1, WAIT_NS);
    assert_lost(&s, UINT32_MAX, WAIT_NS + 100);
    assert_none_lost(&s, INT64_MAX - 1);
}

static void reply_of_any_length_from_38_octets_is_used(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 60; n++) {
        struct session s;
        open_session(&s, (struct tw_sender_config){0});
        send_at(&s, 0);
        uint8_t reply[60] = {0};
        put_reply(&s, (struct reply){.t2 = WALL_NTP, .t3 = WALL_NTP, .error = 1, .ttl = 77}, reply);
        const enum tw_sender_verdict verdict = receive_at(&s, reply, n, MS);
        assert_int_equal(verdict, n < 38 ? TW_SENDER_BAD_LENGTH : TW_SENDER_SAMPLE);
        assert_int_equal(s.sender.bad_length, n < 38);
        assert_int_equal(s.sender.short_replies, n >= 38 && n < 41);
        assert_int_equal(s.sender.unanswered, n < 38);
        if (n >= 38)
            assert_int_equal(s.sample.sender_ttl, n < 41 ? -1 : 77);
    }
}

static void reply_to_what_was_never_sent_is_foreign(void **state)
{
    (void)state;
    static const uint32_t sequences[] = {2, 3, SLOTS, SLOTS + 1, UINT32_MAX};
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    send_at(&s, 0);
    for (size_t i = 0; i < ARRAY_SIZE(sequences); i++)
        assert_int_equal(answer_at(&s, sequences[i], MS, MS), TW_SENDER_FOREIGN);
    assert_int_equal(s.sender.foreign, ARRAY_SIZE(sequences));
    assert_int_equal(s.sender.unanswered, 2);
    assert_int_equal(deadline_ns(&s), WAIT_NS);
}

static void reply_with_another_t1_is_foreign(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint8_t reply[HEADER];
        put_reply(&s, (struct reply){.t2 = WALL_NTP, .t3 = WALL_NTP}, reply);
        tw_put64(reply + 28, tw_get64(reply + 28) ^ UINT64_C(1) << bit);
        assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_FOREIGN);
    }
    assert_int_equal(s.sender.foreign, 64);
    assert_int_equal(s.sender.unanswered, 1);
    assert_answered(&s, 0, MS, 0);
}

static void reply_to_a_packet_that_is_forgotten_is_foreign(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    uint8_t reply[HEADER];
    put_reply(&s, (struct reply){.t2 = WALL_NTP, .t3 = WALL_NTP}, reply);
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_answered(&s, i, MS, 0);
        send_at(&s, 0); /* the same T1 for all */
    }
    assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_FOREIGN);
}

static void sequence_copied_by_the_reflector_does_not_matter(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    for (uint32_t i = 0; i < 3; i++)
        send_at(&s, i);
    uint8_t reply[HEADER];
    put_reply(&s, (struct reply){.sequence = 2, .t2 = WALL_NTP, .t3 = WALL_NTP}, reply);
    assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.sequence, 2);
    assert_int_equal(s.sample.reflector_sequence, 2);
}

static void no_octets_are_undefined(void **state)
{
    (void)state;
    uint64_t random = 1;
    struct session s;
    open_session(&s, (struct tw_sender_config){.tai_utc_s = 37});
    send_at(&s, 0);
    for (int i = 0; i < 20000; i++) {
        uint8_t reply[HEADER];
        for (size_t k = 0; k < HEADER; k++)
            reply[k] = (uint8_t)next_random(&random);
        memcpy(reply + 24, s.packet, SENDER_HEADER);
        assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_SAMPLE);
        assert_int_equal(s.sample.forward_ns + s.sample.reverse_ns, s.sample.rtt_ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packet_has_the_octets_of_the_rfc),
        cmocka_unit_test(sequence_starts_at_zero_and_wraps),
        cmocka_unit_test(packet_is_its_header_and_the_padding_asked_for),
        cmocka_unit_test(packet_that_does_not_fit_is_not_made),
        cmocka_unit_test(padding_is_zero_when_asked_for),
        cmocka_unit_test(padding_is_pseudo_random),
        cmocka_unit_test(packet_shows_nothing_of_the_memory_it_is_written_to),
        cmocka_unit_test(error_estimate_says_ntp),
        cmocka_unit_test(full_window_stops_sending_until_the_oldest_is_settled),
        cmocka_unit_test(packet_that_was_prepared_in_vain_costs_nothing),
        cmocka_unit_test(packet_the_kernel_did_not_take_was_never_sent),
        cmocka_unit_test(oldest_packet_that_never_arrived_is_forgotten),
        cmocka_unit_test(packet_whose_reply_came_too_late_did_arrive),
        cmocka_unit_test(batch_cut_short_is_unsent_from_its_end),
        cmocka_unit_test(reply_of_any_length_from_38_octets_is_used),
        cmocka_unit_test(reply_to_what_was_never_sent_is_foreign),
        cmocka_unit_test(reply_with_another_t1_is_foreign),
        cmocka_unit_test(reply_to_a_packet_that_is_forgotten_is_foreign),
        cmocka_unit_test(sequence_copied_by_the_reflector_does_not_matter),
        cmocka_unit_test(no_octets_are_undefined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
