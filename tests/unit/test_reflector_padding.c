/* lib/reflector.h: how long replies are and what follows their header, for every length of packet
 * and every combination of what moves or reflects padding (RFC 5357 section 4.2.1, RFC 6038, RFC
 * 7750). What is expected is computed here octet by octet, from the tables of the RFCs and not with
 * lib/wire.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "protection_rig.h"
#include "reflector_rig.h"

enum { LONGEST = 200 };

#define REFLECT     TW_MODE_REFLECT_OCTETS
#define SYMMETRICAL TW_MODE_SYMMETRICAL
#define DSCP        TW_MODE_DSCP_ECN

struct agreed {
    uint32_t modes;
    enum tw_padding padding;
    uint32_t padding_length;
    uint16_t reflect_length;
};

static bool has(const struct agreed *agreed, uint32_t modes)
{
    return (agreed->modes & modes) == modes;
}

static bool is_secured(const struct agreed *agreed)
{
    return (agreed->modes & (TW_MODE_AUTHENTICATED | TW_MODE_ENCRYPTED)) != 0;
}

static size_t sender_header(const struct agreed *agreed)
{
    return is_secured(agreed) ? 48 : 14;
}

static size_t expected_length(const struct agreed *agreed, size_t n)
{
    if (is_secured(agreed))
        return n < 112 ? 112 : n;
    if (!has(agreed, DSCP))
        return n < 41 ? 41 : n;
    if (n == 42 || n == 43)
        return n;
    return n < 44 ? 44 : n;
}

/* Where padding begins in the packet and in its reply. RFC 7750 can be read as a header of 42
 * octets or of 44; the shorter one is meant where behind the longer one R octets would not all come
 * back. */
static void expected_places(const struct agreed *agreed, size_t *from, size_t *to)
{
    const bool clear_dscp = has(agreed, DSCP) && !is_secured(agreed);
    *to = is_secured(agreed) ? 112 : clear_dscp ? 44 : 41;
    *from = sender_header(agreed);
    if (has(agreed, SYMMETRICAL))
        *from = clear_dscp ? 42 : *to;
    const size_t cut = 42 - *from;
    if (clear_dscp && has(agreed, REFLECT) &&
        (agreed->padding_length == cut + agreed->reflect_length ||
         agreed->padding_length == cut + 1 + agreed->reflect_length))
        *to = 42;
}

/* The padding of the reply, drawing from `random` what is random. */
static void expect_padding(const struct agreed *agreed, size_t n, struct tw_random *random,
                           uint8_t *reply, size_t len)
{
    size_t from, to;
    expected_places(agreed, &from, &to);
    const size_t reflected = has(agreed, REFLECT) ? agreed->reflect_length : 0;
    for (size_t i = to; i < len; i++) {
        const size_t number = i - to;
        if (from + number < n && (agreed->padding == TW_PADDING_REUSE || number < reflected))
            reply[i] = packet_room[from + number];
        else if (agreed->padding == TW_PADDING_RANDOM)
            tw_random_fill(random, &reply[i], 1);
        else
            reply[i] = 0;
    }
}

/* Packets of all lengths in a session of that kind. */
static void check_all_lengths(const struct agreed *agreed)
{
    struct session s;
    struct tw_protection protection;
    struct tw_reflector_config config = {
        .modes = agreed->modes,
        .padding = agreed->padding,
        .padding_length = agreed->padding_length,
        .reflect_length = agreed->reflect_length,
    };
    if (is_secured(agreed)) {
        protect(&protection, agreed->modes);
        config.protection = &protection;
    }
    start_session(&s, config);
    struct tw_random random;
    seed_random(&random, 1);
    put_packet(LONGEST, 0, WALL_NTP, ERROR_1_MS);
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++)
        if ((v->modes & agreed->modes) != 0)
            octets_from_hex(v->packet, packet_room, SECURED_PACKET);
    const struct tw_arrival arrival = arrival_at(0);
    for (size_t n = sender_header(agreed); n <= LONGEST; n++) {
        uint8_t reply[LONGEST + 1], expected[LONGEST];
        size_t len = 0;
        memset(reply, GUARD, sizeof(reply));
        assert_int_equal(tw_reflector_prepare(&s.reflector, packet_room, n, &arrival, &s.random,
                                              reply, sizeof(reply), &len),
                         TW_REFLECT);
        assert_int_equal(len, expected_length(agreed, n));
        assert_int_equal(reply[len], GUARD);
        memcpy(expected, reply, len);
        if (has(agreed, DSCP) && !is_secured(agreed))
            memset(expected + 42, 0, len - 42);
        expect_padding(agreed, n, &random, expected, len);
        assert_memory_equal(reply, expected, len);
        stamp_at(&s, reply, 0);
        assert_memory_equal(reply + (is_secured(agreed) ? 112 : 41),
                            expected + (is_secured(agreed) ? 112 : 41),
                            len - (is_secured(agreed) ? 112 : 41));
        assert_int_equal(reply[len], GUARD);
    }
}

static void every_length_of_every_kind_of_session_is_as_the_tables_say(void **state)
{
    (void)state;
    static const uint32_t security[] = {TW_MODE_UNAUTHENTICATED, TW_MODE_MIXED,
                                        TW_MODE_AUTHENTICATED, TW_MODE_ENCRYPTED};
    static const uint32_t features[] = {
        0,    REFLECT,        SYMMETRICAL,        REFLECT | SYMMETRICAL,
        DSCP, REFLECT | DSCP, SYMMETRICAL | DSCP, REFLECT | SYMMETRICAL | DSCP,
    };
    static const struct {
        uint32_t padding_length;
        uint16_t reflect_length;
    } sizes[] = {{0, 0},  {27, 0},   {28, 0},   {30, 0},    {64, 0},  {31, 2},
                 {8, 7},  {9, 7},    {36, 8},   {37, 8},    {38, 8},  {39, 8},
                 {72, 8}, {130, 99}, {128, 99}, {129, 100}, {100, 1}, {180, UINT16_MAX}};
    static const enum tw_padding paddings[] = {TW_PADDING_REUSE, TW_PADDING_RANDOM,
                                               TW_PADDING_ZERO};
    for (size_t i = 0; i < ARRAY_SIZE(security); i++)
        for (size_t k = 0; k < ARRAY_SIZE(features); k++)
            for (size_t l = 0; l < ARRAY_SIZE(sizes); l++)
                for (size_t m = 0; m < ARRAY_SIZE(paddings); m++) {
                    const struct agreed agreed = {
                        .modes = security[i] | features[k],
                        .padding = paddings[m],
                        .padding_length = sizes[l].padding_length,
                        .reflect_length = sizes[l].reflect_length,
                    };
                    check_all_lengths(&agreed);
                }
}

/* One row of it by hand, so that table and model are not wrong together. */
static void padding_that_starts_at_42_and_44_is_as_written_down(void **state)
{
    (void)state;
    static const struct {
        uint32_t modes, padding_length;
        size_t n, len;
        const char *tail; /* of the reply, from octet 41; the packet has its offset everywhere */
    } rows[] = {
        /* symmetrical: from 42 to 44, the last two octets dropped */
        {DSCP | SYMMETRICAL | REFLECT, 5, 47, 47, "b900002a2b2c"},
        {DSCP | SYMMETRICAL | REFLECT, 4, 46, 46, "b900002a2b"},
        {DSCP | SYMMETRICAL, 5, 47, 47, "b900002a2b2c"},
        {DSCP | SYMMETRICAL, 1, 43, 43, "b900"},
        {DSCP | SYMMETRICAL, 0, 42, 42, "b9"},
        /* behind 44 octets the last of R = 2 would not come back */
        {DSCP | SYMMETRICAL | REFLECT, 3, 45, 45, "b92a2b2c"},
        /* 28 + R and 29 + R with R = 2 */
        {DSCP | REFLECT, 30, 44, 44, "b90e0f"},
        {DSCP | REFLECT, 31, 45, 45, "b90e0f10"},
        {DSCP | REFLECT, 32, 46, 46, "b900000e0f"},
        {DSCP, 30, 44, 44, "b90000"},
        {DSCP, 29, 43, 43, "b900"},
        {DSCP, 27, 41, 44, "b90000"},
        {0, 30, 44, 44, "0e0f10"},
        {SYMMETRICAL, 3, 44, 44, "292a2b"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct session s;
        start_session(&s, (struct tw_reflector_config){
                              .modes = TW_MODE_UNAUTHENTICATED | rows[i].modes,
                              .padding_length = rows[i].padding_length,
                              .reflect_length = (rows[i].modes & REFLECT) != 0 ? 2 : 0,
                          });
        for (size_t k = 0; k < rows[i].n; k++)
            packet_room[k] = (uint8_t)k;
        struct tw_arrival arrival = arrival_at(0);
        arrival.tos = 0xb9;
        assert_int_equal(offer(&s, rows[i].n, &arrival), TW_REFLECT);
        assert_int_equal(s.len, rows[i].len);
        uint8_t tail[8];
        assert_int_equal(octets_from_hex(rows[i].tail, tail, sizeof(tail)), rows[i].len - 41);
        assert_memory_equal(reply_room + 41, tail, rows[i].len - 41);
        assert_int_equal(reply_room[rows[i].len], GUARD);
    }
}

static void received_tos_octet_comes_back_whole(void **state)
{
    (void)state;
    for (int tos = -1; tos < 256; tos++) {
        struct session s;
        start_session(&s, (struct tw_reflector_config){.modes = TW_MODE_MIXED | DSCP});
        put_packet(44, 0, WALL_NTP, ERROR_1_MS);
        struct tw_arrival arrival = arrival_at(0);
        arrival.tos = (int16_t)tos;
        assert_int_equal(offer(&s, 44, &arrival), TW_REFLECT);
        assert_int_equal(reply_room[41], tos < 0 ? 0 : tos);
    }
}

static void strict_session_ignores_an_error_estimate_of_multiplier_0(void **state)
{
    (void)state;
    static const uint16_t errors[] = {0x0000, 0x8f00, 0xff00, 0x0001};
    for (int strict = 0; strict < 2; strict++) {
        struct session s;
        start_session(&s, (struct tw_reflector_config){.strict = strict != 0, .refwait_ns = 100});
        for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
            const bool odd = (errors[i] & 0xff) == 0;
            put_packet(HEADER, 0, WALL_NTP, errors[i]);
            const struct tw_arrival arrival = arrival_at((int64_t)i);
            assert_int_equal(offer(&s, HEADER, &arrival),
                             strict != 0 && odd ? TW_IGNORE_ERROR_ESTIMATE : TW_REFLECT);
        }
        assert_int_equal(s.reflector.zero_error, 3);
        assert_int_equal(s.reflector.received, strict != 0 ? 1 : 4);
    }
    assert_string_equal(tw_reflector_verdict_name(TW_IGNORE_ERROR_ESTIMATE), "error-estimate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_of_every_kind_of_session_is_as_the_tables_say),
        cmocka_unit_test(padding_that_starts_at_42_and_44_is_as_written_down),
        cmocka_unit_test(received_tos_octet_comes_back_whole),
        cmocka_unit_test(strict_session_ignores_an_error_estimate_of_multiplier_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
