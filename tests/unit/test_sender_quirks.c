/* lib/sender.h: which departures from the standard it notes, and that replies with them are
 * measured all the same. Padding that does not come back: test_sender_padding.c; Sender TTL that is
 * never filled in: test_observation.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/quirk.h"
#include "sender_rig.h"

#define DSCP TW_MODE_DSCP_ECN

/* 1700000000.25 s UTC as PTP counts it, and as a clock that knows no TAI does. */
#define WALL_PTP     UINT64_C(0x6553f1250ee6b280)
#define WALL_PTP_UTC UINT64_C(0x6553f1000ee6b280)
#define QUARTER_PTP  UINT64_C(0x0ee6b280)

/* A reply like those of most reflectors. */
static const struct reply usual = {
    .t2 = WALL_NTP + 0x40000000,
    .t3 = WALL_NTP + 0x80000000,
    .error = ERROR_1_MS,
    .ttl = 250,
};

/* The next packet and such a reply, 0.75 s later. */
static void exchange(struct session *s, struct reply reply)
{
    uint8_t octets[HEADER];
    send_at(s, 0);
    put_reply(s, reply, octets);
    assert_int_equal(receive_at(s, octets, HEADER, 750 * MS), TW_SENDER_SAMPLE);
}

static uint32_t quirks_of(struct tw_sender_config config, struct reply reply)
{
    struct session s;
    if (config.padding_length == 0)
        config.padding_length = 27;
    open_session(&s, config);
    exchange(&s, reply);
    return s.sender.quirks;
}

static void usual_reply_shows_none(void **state)
{
    (void)state;
    assert_int_equal(quirks_of((struct tw_sender_config){0}, usual), 0);
}

static void sizes_without_a_reason_are_noted(void **state)
{
    (void)state;
    enum { SHORT = TW_QUIRK_SHORT_REPLY, UNEQUAL = TW_QUIRK_UNEQUAL_SIZE };
    static const struct {
        uint32_t modes, padding_length;
        size_t reply;
        uint32_t quirks;
    } rows[] = {
        {0, 27, 41, 0},
        {0, 27, 40, SHORT}, /* all there is to say: 38 to 40 is what that header takes */
        {0, 27, 38, SHORT},
        {0, 27, 42, UNEQUAL},
        {0, 27, 142, UNEQUAL},
        {0, 0, 41, 0}, /* the packet has 14 */
        {0, 0, 38, SHORT},
        {0, 0, 42, UNEQUAL},
        {0, 0, 128, UNEQUAL},
        {0, 28, 42, 0},
        {0, 28, 41, UNEQUAL},
        {0, 28, 38, SHORT | UNEQUAL},
        {0, 100, 114, 0},
        {0, 100, 113, UNEQUAL},
        {0, 100, 115, UNEQUAL},
        {0, 100, 41, UNEQUAL},
        {TW_MODE_SYMMETRICAL, 59, 100, 0},
        {TW_MODE_SYMMETRICAL, 59, 99, UNEQUAL},
        {DSCP, 30, 44, 0},
        {DSCP, 30, 42, UNEQUAL},
        {DSCP, 30, 45, UNEQUAL},
        {DSCP, 28, 42, 0}, /* RFC 7750 either way */
        {DSCP, 28, 44, 0},
        {DSCP, 28, 43, 0},
        {DSCP, 0, 41, 0}, /* S-DSCP-ECN unknown */
        {DSCP, 0, 42, 0},
        {DSCP, 0, 44, 0},
        {DSCP, 0, 45, UNEQUAL},
        {DSCP | TW_MODE_SYMMETRICAL, 2, 44, 0},
        {DSCP | TW_MODE_SYMMETRICAL, 60, 102, 0},
        {DSCP | TW_MODE_SYMMETRICAL, 60, 100, UNEQUAL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct session s;
        uint8_t reply[200] = {0};
        open_session(&s, (struct tw_sender_config){
                             .modes = TW_MODE_UNAUTHENTICATED | rows[i].modes,
                             .padding_length = rows[i].padding_length,
                         });
        send_at(&s, 0);
        put_reply(&s, usual, reply);
        reply[41] = 0xb9;
        assert_int_equal(receive_at(&s, reply, rows[i].reply, 750 * MS), TW_SENDER_SAMPLE);
        assert_int_equal(s.sender.quirks, rows[i].quirks);
        assert_int_equal(s.sender.short_replies, rows[i].reply < 41);
        assert_int_equal(s.sample.rtt_ns, 500 * MS);
        const bool told = (rows[i].modes & DSCP) != 0 && rows[i].reply > 41;
        assert_int_equal(s.sample.sender_tos, told ? 0xb9 : -1);
    }
}

static void timestamps_that_are_always_the_same_are_noted_from_the_third_on(void **state)
{
    (void)state;
    struct reply same = usual;
    same.t2 = same.t3;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27});
    exchange(&s, same);
    exchange(&s, same);
    assert_int_equal(s.sender.quirks, 0);
    exchange(&s, same);
    assert_int_equal(s.sender.quirks, TW_QUIRK_SAME_TIMES);
    for (int i = 0; i < 300; i++)
        exchange(&s, same);
    assert_int_equal(s.sender.quirks, TW_QUIRK_SAME_TIMES);
    /* One that differs, and it is not "always". */
    exchange(&s, usual);
    assert_int_equal(s.sender.quirks, 0);
    for (int i = 0; i < 300; i++)
        exchange(&s, same);
    assert_int_equal(s.sender.quirks, 0);
}

static void timestamps_that_differed_once_are_not_always_the_same(void **state)
{
    (void)state;
    struct reply same = usual;
    same.t2 = same.t3;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27});
    exchange(&s, usual);
    for (int i = 0; i < 5; i++)
        exchange(&s, same);
    assert_int_equal(s.sender.quirks, 0);
}

static void missing_receive_timestamp_says_nothing_of_both(void **state)
{
    (void)state;
    struct reply zero = usual;
    zero.t2 = zero.t3 = 0;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27});
    for (int i = 0; i < 5; i++)
        exchange(&s, zero);
    assert_int_equal(s.sender.quirks, TW_QUIRK_ZERO_RECEIVE | TW_QUIRK_ZERO_TRANSMIT);
    assert_int_equal(s.sender.zero_receive, 5);
    assert_int_equal(s.sender.zero_transmit, 5);
}

/* In the months around the end of the NTP era zero is near the present time, and plainly so of the
 * other format. */
static void zero_is_no_time_in_any_format(void **state)
{
    (void)state;
    static const struct {
        uint64_t t2, t3;
        uint32_t quirks;
    } rows[] = {
        {0, 0, TW_QUIRK_ZERO_RECEIVE | TW_QUIRK_ZERO_TRANSMIT},
        {1, 0, TW_QUIRK_ZERO_TRANSMIT | TW_QUIRK_PTP_UNASKED},
        {0, 1, TW_QUIRK_ZERO_RECEIVE | TW_QUIRK_PTP_UNASKED},
    };
    const int64_t era_ns = INT64_C(2085978496) * TW_NS_PER_S;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct session s;
        open_session(&s, (struct tw_sender_config){.padding_length = 27, .tai_utc_s = 37});
        s.wall_ns = era_ns - 100 * MS;
        const uint64_t known = tw_ptp_from_wall((tw_wall){era_ns}, 37);
        exchange(&s, (struct reply){
                         .t2 = rows[i].t2 != 0 ? known : 0,
                         .t3 = rows[i].t3 != 0 ? known : 0,
                         .error = 0x4001,
                     });
        const bool both = rows[i].t2 + rows[i].t3 == 0;
        assert_int_equal(s.sender.quirks, rows[i].quirks);
        assert_int_equal(s.sample.rtt_ns, 750 * MS);
        assert_int_equal(s.sample.forward_ns + s.sample.reverse_ns, 750 * MS);
        if (!both)
            assert_int_equal(s.sample.forward_ns, 100 * MS);
    }
}

static void multiplier_zero_is_noted(void **state)
{
    (void)state;
    struct reply zero = usual;
    zero.error = 0x8f00;
    assert_int_equal(quirks_of((struct tw_sender_config){0}, zero), TW_QUIRK_ZERO_ERROR);
}

static void quirks_stay(void **state)
{
    (void)state;
    struct reply zero = usual;
    zero.error = 0x8f00;
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27});
    exchange(&s, zero);
    exchange(&s, usual);
    assert_int_equal(s.sender.quirks, TW_QUIRK_ZERO_ERROR);
}

static void datagrams_that_are_no_replies_of_ours_show_none(void **state)
{
    (void)state;
    struct session s;
    uint8_t reply[HEADER];
    open_session(&s, (struct tw_sender_config){.padding_length = 100});
    send_at(&s, 0);
    put_reply(&s, (struct reply){0}, reply);
    reply[30] ^= 1;
    assert_int_equal(receive_at(&s, reply, HEADER, MS), TW_SENDER_FOREIGN);
    assert_int_equal(receive_at(&s, reply, 37, MS), TW_SENDER_BAD_LENGTH);
    assert_int_equal(s.sender.quirks, 0);
}

static void z_bit_is_believed_unless_the_other_format_is_plain(void **state)
{
    (void)state;
    static const struct {
        uint32_t modes;
        uint64_t t2;
        uint64_t quarter;
        uint16_t error;
        uint32_t quirks;
    } rows[] = {
        /* what it says */
        {0, WALL_NTP, 0x40000000, 0x0001, 0},
        {0, WALL_PTP, QUARTER_PTP, 0x4001, TW_QUIRK_PTP_UNASKED},
        {TW_MODE_PTP, WALL_PTP, QUARTER_PTP, 0x4001, 0},
        {TW_MODE_PTP, WALL_NTP, 0x40000000, 0x0001, 0},
        /* not what it says, as when the sender's is copied */
        {0, WALL_NTP, 0x40000000, 0x4001, TW_QUIRK_Z_BIT},
        {TW_MODE_PTP, WALL_NTP, 0x40000000, 0x4001, TW_QUIRK_Z_BIT},
        {0, WALL_PTP, QUARTER_PTP, 0x0001, TW_QUIRK_Z_BIT},
        {TW_MODE_PTP, WALL_PTP, QUARTER_PTP, 0x0001, TW_QUIRK_Z_BIT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct session s;
        open_session(&s, (struct tw_sender_config){
                             .modes = TW_MODE_UNAUTHENTICATED | rows[i].modes,
                             .padding_length = 27,
                             .tai_utc_s = 37,
                         });
        exchange(&s, (struct reply){
                         .t2 = rows[i].t2 + rows[i].quarter,
                         .t3 = rows[i].t2 + 2 * rows[i].quarter,
                         .error = rows[i].error,
                     });
        assert_int_equal(s.sender.quirks, rows[i].quirks);
        assert_int_equal(s.sender.wrong_format, rows[i].quirks == TW_QUIRK_Z_BIT);
        assert_int_equal(s.sample.forward_ns, 250 * MS);
        assert_int_equal(s.sample.processing_ns, 250 * MS);
        assert_int_equal(s.sample.reverse_ns, 250 * MS);
        assert_int_equal(s.sample.flags, 0);
    }
}

/* A clock that was never set is not read in the other format: NTP seconds since 1900 and PTP
 * seconds since 1970, ten of each. */
static void clock_that_was_never_set_is_read_as_it_says(void **state)
{
    (void)state;
    struct reply reply = usual;
    reply.t2 = UINT64_C(10) << 32;
    reply.t3 = reply.t2 + QUARTER_PTP;
    reply.error = 0x0001;
    assert_int_equal(quirks_of((struct tw_sender_config){.tai_utc_s = 37}, reply), 0);
    reply.error = 0x4001;
    assert_int_equal(quirks_of((struct tw_sender_config){.tai_utc_s = 37}, reply),
                     TW_QUIRK_PTP_UNASKED);
}

/* Seconds since 1970 before a fraction of NTP, as of a reflector that forgot the years from 1900:
 * decades off, but no PTP, in which no second has more than 999999999 of its parts. Known from the
 * first timestamp that has, so that a round trip is right whatever the next ones look like. */
static void ntp_that_counts_from_1970_is_not_taken_for_ptp(void **state)
{
    (void)state;
    static const uint32_t fractions[][2] = {
        {0x40000000, 0x80000000}, /* both too large */
        {0x20000000, 0x60000000}, /* T3 alone, then none */
        {0x10000000, 0x20000000},
    };
    struct session s;
    open_session(&s, (struct tw_sender_config){.padding_length = 27, .tai_utc_s = 37});
    for (size_t i = 0; i < ARRAY_SIZE(fractions); i++) {
        const uint64_t second = WALL_PTP_UTC >> 32 << 32;
        exchange(&s, (struct reply){
                         .t2 = second | fractions[i][0],
                         .t3 = second | fractions[i][1],
                         .error = 0x0001,
                     });
        const int64_t processing_ns =
            (int64_t)(((uint64_t)(fractions[i][1] - fractions[i][0]) * 1000000000) >> 32);
        assert_int_equal(s.sample.processing_ns, processing_ns);
        assert_int_equal(s.sample.rtt_ns, s.sample.rtt_total_ns - processing_ns);
    }
    assert_int_equal(s.sender.quirks, 0);
    assert_int_equal(s.sender.wrong_format, 0);
}

static void ptp_that_counts_from_utc_is_noted_and_not_corrected(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){
                         .modes = TW_MODE_UNAUTHENTICATED | TW_MODE_PTP,
                         .padding_length = 27,
                         .tai_utc_s = 37,
                     });
    exchange(&s, (struct reply){
                     .t2 = WALL_PTP_UTC + QUARTER_PTP,
                     .t3 = WALL_PTP_UTC + 2 * QUARTER_PTP,
                     .error = 0xc001,
                 });
    assert_int_equal(s.sender.quirks, TW_QUIRK_PTP_UTC);
    assert_int_equal(s.sample.forward_ns, 250 * MS - 37 * TW_NS_PER_S);
    assert_int_equal(s.sample.reverse_ns, 250 * MS + 37 * TW_NS_PER_S);
    assert_int_equal(s.sample.rtt_ns, 500 * MS);
    assert_int_equal(s.sample.flags, 0);
}

static void other_offsets_are_not_taken_for_utc(void **state)
{
    (void)state;
    static const struct {
        int tai_utc_s;
        int64_t offset_ns; /* of the reflector's clock, after reading by TAI */
        bool utc;
    } rows[] = {
        {37, -37 * TW_NS_PER_S, true},
        {37, -37 * TW_NS_PER_S + 740 * MS, true},
        {37, -37 * TW_NS_PER_S + 760 * MS, false}, /* forward is off by more than a second */
        {37, -37 * TW_NS_PER_S - 740 * MS, true},
        {37, -37 * TW_NS_PER_S - 760 * MS, false}, /* reverse is */
        {37, 37 * TW_NS_PER_S, false},
        {37, 0, false},
        {37, -36 * TW_NS_PER_S, false},
        {36, -36 * TW_NS_PER_S, true},
        {0, 0, false}, /* PTP is UTC: nothing to be told apart */
        {1, 0, false},
        {1, -1 * TW_NS_PER_S, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const int64_t t2_ns = WALL_NS + 250 * MS + rows[i].offset_ns;
        const struct reply reply = {
            .t2 = tw_ptp_from_wall((tw_wall){t2_ns}, rows[i].tai_utc_s),
            .t3 = tw_ptp_from_wall((tw_wall){t2_ns + 250 * MS}, rows[i].tai_utc_s),
            .error = 0xc001,
        };
        const uint32_t quirks = quirks_of(
            (struct tw_sender_config){
                .modes = TW_MODE_UNAUTHENTICATED | TW_MODE_PTP,
                .tai_utc_s = rows[i].tai_utc_s,
            },
            reply);
        assert_int_equal(quirks, rows[i].utc ? TW_QUIRK_PTP_UTC : 0);
    }
}

static void ntp_clock_that_is_37_s_late_is_just_late(void **state)
{
    (void)state;
    struct reply late = usual;
    late.t2 -= UINT64_C(37) << 32;
    late.t3 -= UINT64_C(37) << 32;
    assert_int_equal(quirks_of((struct tw_sender_config){.tai_utc_s = 37}, late), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_reply_shows_none),
        cmocka_unit_test(sizes_without_a_reason_are_noted),
        cmocka_unit_test(timestamps_that_are_always_the_same_are_noted_from_the_third_on),
        cmocka_unit_test(timestamps_that_differed_once_are_not_always_the_same),
        cmocka_unit_test(missing_receive_timestamp_says_nothing_of_both),
        cmocka_unit_test(zero_is_no_time_in_any_format),
        cmocka_unit_test(multiplier_zero_is_noted),
        cmocka_unit_test(quirks_stay),
        cmocka_unit_test(datagrams_that_are_no_replies_of_ours_show_none),
        cmocka_unit_test(z_bit_is_believed_unless_the_other_format_is_plain),
        cmocka_unit_test(clock_that_was_never_set_is_read_as_it_says),
        cmocka_unit_test(ntp_that_counts_from_1970_is_not_taken_for_ptp),
        cmocka_unit_test(ptp_that_counts_from_utc_is_noted_and_not_corrected),
        cmocka_unit_test(other_offsets_are_not_taken_for_utc),
        cmocka_unit_test(ntp_clock_that_is_37_s_late_is_just_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
