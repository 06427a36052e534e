/* lib/sender.h and lib/reflector.h with PTP timestamps (RFC 8186): who writes which format, and
 * that each timestamp is read by the Z bit of its own Error Estimate. A quarter second after
 * 1700000000 UTC is e8fe6f80 40000000 in NTP, and 6553f125 0ee6b280 in PTP, which counts from TAI.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/quirk.h"
#include "lib/reflector.h"
#include "protection_rig.h"
#include "sender_rig.h"

#define WALL_PTP UINT64_C(0x6553f1250ee6b280)

enum { TAI_UTC_S = 37 };

static void start_reflector(struct tw_reflector *reflector, uint32_t modes, int tai_utc_s,
                            struct tw_protection *protection)
{
    const struct tw_reflector_config config = {
        .modes = modes,
        .tai_utc_s = tai_utc_s,
        .protection = protection,
    };
    tw_reflector_init(reflector, &config);
    tw_reflector_start(reflector, (tw_mono){0});
}

/* The reply to the packet in s->packet; both instants are after WALL_NS. */
static size_t reflect(struct session *s, struct tw_reflector *reflector, int64_t t2_ns,
                      int64_t t3_ns, uint8_t *reply)
{
    size_t len;
    const struct tw_arrival arrival = {
        .at = {WALL_NS + t2_ns}, .read = {.mono = {t2_ns}}, .ttl = 250, .tos = -1};
    assert_int_equal(
        tw_reflector_prepare(reflector, s->packet, s->len, &arrival, &s->random, reply, ROOM, &len),
        TW_REFLECT);
    const struct tw_reading now = {.wall = {WALL_NS + t3_ns}, .error = ERROR_1_MS};
    tw_reflector_stamp(reflector, reply, &now);
    return len;
}

static void formats_are_those_agreed_on(void **state)
{
    (void)state;
    struct session s;
    struct tw_reflector reflector;
    uint8_t reply[ROOM];
    const uint32_t modes = TW_MODE_UNAUTHENTICATED | TW_MODE_PTP;
    open_session(&s, (struct tw_sender_config){
                         .modes = modes, .padding_length = 27, .tai_utc_s = TAI_UTC_S});
    send_at(&s, 0);
    assert_int_equal(tw_get64(s.packet + 4), WALL_PTP);
    assert_int_equal(tw_get16(s.packet + 12), ERROR_1_MS | 0x4000);

    start_reflector(&reflector, modes, TAI_UTC_S, NULL);
    reflect(&s, &reflector, 0, 500 * MS, reply);
    assert_int_equal(tw_get64(reply + 16), WALL_PTP);
    assert_int_equal(tw_get64(reply + 4), WALL_PTP + 500000000);
    assert_int_equal(tw_get16(reply + 12), ERROR_1_MS | 0x4000);
    assert_int_equal(tw_get64(reply + 28), WALL_PTP);
    assert_int_equal(tw_get16(reply + 36), ERROR_1_MS | 0x4000);

    /* Not agreed on by the reflector: NTP, whatever the sender's Z says. */
    start_reflector(&reflector, TW_MODE_UNAUTHENTICATED, TAI_UTC_S, NULL);
    reflect(&s, &reflector, 0, 500 * MS, reply);
    assert_int_equal(tw_get64(reply + 16), WALL_NTP);
    assert_int_equal(tw_get64(reply + 4), WALL_NTP + 0x80000000);
    assert_int_equal(tw_get16(reply + 12), ERROR_1_MS);
    assert_int_equal(tw_get16(reply + 36), ERROR_1_MS | 0x4000);
}

static void departure_is_never_before_arrival(void **state)
{
    (void)state;
    /* 6553f126 begins 750 ms after WALL_NS: the second changes, and with it the nanoseconds drop.
     */
    static const struct {
        int64_t t2_ns, t3_ns, expected_ns;
    } rows[] = {
        {0, -1, 0},
        {0, 1, 1},
        {0, 0, 0},
        {749999999, 750000000, 750000000},
        {750000000, 749999999, 750000000},
        {750000000, -3600 * TW_NS_PER_S, 750000000},
        {0, 3600 * TW_NS_PER_S, 3600 * TW_NS_PER_S},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct session s;
        struct tw_reflector reflector;
        uint8_t reply[ROOM];
        const uint32_t modes = TW_MODE_UNAUTHENTICATED | TW_MODE_PTP;
        open_session(&s, (struct tw_sender_config){.modes = modes, .tai_utc_s = TAI_UTC_S});
        send_at(&s, 0);
        start_reflector(&reflector, modes, TAI_UTC_S, NULL);
        reflect(&s, &reflector, rows[i].t2_ns, rows[i].t3_ns, reply);
        const uint64_t whole = (uint64_t)(rows[i].expected_ns + 250 * MS) / 1000000000;
        const uint64_t rest = (uint64_t)(rows[i].expected_ns + 250 * MS) % 1000000000;
        assert_int_equal(tw_get64(reply + 4), (UINT64_C(0x6553f125) + whole) << 32 | rest);
    }
}

static void sessions_of_any_mixture_measure_the_same(void **state)
{
    (void)state;
    static const uint32_t security[] = {TW_MODE_UNAUTHENTICATED, TW_MODE_AUTHENTICATED,
                                        TW_MODE_ENCRYPTED};
    uint64_t random = 5;
    for (unsigned i = 0; i < 3 * 2 * 2; i++) {
        const uint32_t modes = security[i % 3];
        const uint32_t at_sender = i / 3 % 2 != 0 ? TW_MODE_PTP : 0;
        const uint32_t at_reflector = i / 6 != 0 ? TW_MODE_PTP : 0;
        struct tw_protection protection, *secured = NULL;
        if (modes != TW_MODE_UNAUTHENTICATED) {
            protect(&protection, modes);
            secured = &protection;
        }
        struct session s;
        struct tw_reflector reflector;
        open_session(&s, (struct tw_sender_config){
                             .modes = modes | at_sender,
                             .padding_length = 64,
                             .tai_utc_s = TAI_UTC_S,
                             .protection = secured,
                         });
        start_reflector(&reflector, modes | at_reflector, TAI_UTC_S, secured);
        for (int packet = 0; packet < 200; packet++) {
            const int64_t offset_ns = -123456789; /* reflector's clock minus ours */
            const int64_t sent_ns = packet * 100 * MS + (int64_t)(next_random(&random) % 1000);
            const int64_t forward_ns = (int64_t)(next_random(&random) % 900000000);
            const int64_t processing_ns = (int64_t)(next_random(&random) % 100000);
            const int64_t reverse_ns = (int64_t)(next_random(&random) % 900000000);
            uint8_t reply[ROOM];
            send_at(&s, sent_ns);
            const int64_t t2_ns = sent_ns + forward_ns + offset_ns;
            const size_t len = reflect(&s, &reflector, t2_ns, t2_ns + processing_ns, reply);
            assert_int_equal(
                receive_at(&s, reply, len, sent_ns + forward_ns + processing_ns + reverse_ns),
                TW_SENDER_SAMPLE);
            assert_int_equal(s.sample.forward_ns, forward_ns + offset_ns);
            assert_int_equal(s.sample.processing_ns, processing_ns);
            assert_int_equal(s.sample.reverse_ns, reverse_ns - offset_ns);
            assert_int_equal(s.sample.rtt_ns, forward_ns + reverse_ns);
            assert_int_equal(s.sample.error_ns, 2 * 1007081);
            assert_true(s.sample.local_synchronized && s.sample.remote_synchronized);
            assert_int_equal(s.sample.flags, 0);
        }
        assert_int_equal(s.sender.quirks,
                         at_reflector != 0 && at_sender == 0 ? TW_QUIRK_PTP_UNASKED : 0);
        assert_int_equal(s.sender.wrong_format, 0);
    }
}

/* NTP's seconds begin anew in 2036, those of truncated PTP in 2106: T1, T2, T3 and T4 may lie on
 * either side. T2 itself is never the era's first instant: all zero, it says that there is none. */
static void era_of_either_format_may_end_anywhere_on_the_way(void **state)
{
    (void)state;
    static const int64_t ends_s[] = {INT64_C(2085978496), INT64_C(4294967296) - TAI_UTC_S};
    static const int64_t sent_before_ns[] = {-1,       0,        1,        399 * MS,
                                             401 * MS, 699 * MS, 701 * MS, 1200 * MS};
    for (unsigned i = 0; i < 2 * 2 * 2 * ARRAY_SIZE(sent_before_ns); i++) {
        const int64_t end_ns = ends_s[i % 2] * TW_NS_PER_S - WALL_NS;
        const uint32_t at_sender = i / 2 % 2 != 0 ? TW_MODE_PTP : 0;
        const uint32_t at_reflector = i / 4 % 2 != 0 ? TW_MODE_PTP : 0;
        const int64_t sent_ns = end_ns - sent_before_ns[i / 8];
        struct session s;
        struct tw_reflector reflector;
        uint8_t reply[ROOM];
        open_session(&s, (struct tw_sender_config){.modes = TW_MODE_UNAUTHENTICATED | at_sender,
                                                   .padding_length = 27,
                                                   .tai_utc_s = TAI_UTC_S});
        start_reflector(&reflector, TW_MODE_UNAUTHENTICATED | at_reflector, TAI_UTC_S, NULL);
        send_at(&s, sent_ns);
        const size_t len = reflect(&s, &reflector, sent_ns + 400 * MS, sent_ns + 700 * MS, reply);
        assert_int_equal(receive_at(&s, reply, len, sent_ns + 1200 * MS), TW_SENDER_SAMPLE);
        assert_int_equal(s.sample.forward_ns, 400 * MS);
        assert_int_equal(s.sample.processing_ns, 300 * MS);
        assert_int_equal(s.sample.reverse_ns, 500 * MS);
        assert_int_equal(s.sender.wrong_format, 0);
    }
}

static void reflector_that_knows_no_tai_is_found_out(void **state)
{
    (void)state;
    struct session s;
    struct tw_reflector reflector;
    uint8_t reply[ROOM];
    const uint32_t modes = TW_MODE_UNAUTHENTICATED | TW_MODE_PTP;
    open_session(&s, (struct tw_sender_config){
                         .modes = modes, .padding_length = 27, .tai_utc_s = TAI_UTC_S});
    start_reflector(&reflector, modes, 0, NULL);
    send_at(&s, 0);
    const size_t len = reflect(&s, &reflector, 10 * MS, 11 * MS, reply);
    assert_int_equal(receive_at(&s, reply, len, 20 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.rtt_ns, 19 * MS);
    assert_int_equal(s.sender.quirks, TW_QUIRK_PTP_UTC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_those_agreed_on),
        cmocka_unit_test(departure_is_never_before_arrival),
        cmocka_unit_test(sessions_of_any_mixture_measure_the_same),
        cmocka_unit_test(era_of_either_format_may_end_anywhere_on_the_way),
        cmocka_unit_test(reflector_that_knows_no_tai_is_found_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
