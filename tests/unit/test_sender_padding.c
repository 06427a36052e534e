/* lib/sender.h: what follows the header of a packet, and whether what was to be reflected came back
 * (RFC 6038, RFC 7750). Layouts are read at the offsets of the RFCs; replies are put together here,
 * those of secured modes by our own reflector. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/quirk.h"
#include "lib/reflector.h"
#include "protection_rig.h"
#include "sender_rig.h"

#define REFLECT     TW_MODE_REFLECT_OCTETS
#define SYMMETRICAL TW_MODE_SYMMETRICAL
#define DSCP        TW_MODE_DSCP_ECN

/* What an octet of many packets was. */
enum { ALWAYS_ZERO = 'z', RANDOM = 'r', SERVER_HIGH = 'S', SERVER_LOW = 's' };

static void packets_are_laid_out_as_the_tables_say(void **state)
{
    (void)state;
    static const struct {
        uint32_t modes, padding_length;
        uint16_t reflect_length, server_octets;
        size_t header, zero; /* header octets, then so many that must be zero */
        const char *padding; /* its first octets; the others are random */
    } rows[] = {
        {TW_MODE_UNAUTHENTICATED, 27, 0, 0, 14, 0, "rrrr"},
        {TW_MODE_MIXED | SYMMETRICAL, 8, 0, 0, 14, 27, "rrrr"},
        {TW_MODE_UNAUTHENTICATED | SYMMETRICAL, 0, 0, 0, 14, 27, ""},
        {TW_MODE_AUTHENTICATED, 64, 0, 0, 48, 0, "rrrr"},
        {TW_MODE_AUTHENTICATED | SYMMETRICAL, 8, 0, 0, 48, 64, "rrrr"},
        {TW_MODE_ENCRYPTED | SYMMETRICAL | DSCP, 8, 0, 0, 48, 64, "rrrr"},
        {TW_MODE_UNAUTHENTICATED | DSCP, 30, 0, 0, 14, 0, "rrrr"},
        /* 28 octets, and two more that no one reflects */
        {TW_MODE_UNAUTHENTICATED | SYMMETRICAL | DSCP, 8, 0, 0, 14, 28, "zzrr"},
        {TW_MODE_MIXED | SYMMETRICAL | DSCP, 2, 0, 0, 14, 28, "zz"},
        {TW_MODE_MIXED | SYMMETRICAL | DSCP, 1, 0, 0, 14, 28, "z"},
        {TW_MODE_MIXED | SYMMETRICAL | DSCP, 0, 0, 0, 14, 28, ""},
        {TW_MODE_UNAUTHENTICATED | SYMMETRICAL | DSCP | REFLECT, 8, 0, 0, 14, 28, "zzrr"},
        {TW_MODE_UNAUTHENTICATED | SYMMETRICAL | DSCP | REFLECT, 8, 1, 0, 14, 28, "rzrr"},
        {TW_MODE_UNAUTHENTICATED | SYMMETRICAL | DSCP | REFLECT, 8, 2, 0, 14, 28, "rrrr"},
        {TW_MODE_UNAUTHENTICATED | SYMMETRICAL | DSCP | REFLECT, 8, 2, 0xa5c3, 14, 28, "Ssrr"},
        /* not agreed on: neither R nor Server octets mean anything */
        {TW_MODE_UNAUTHENTICATED | SYMMETRICAL | DSCP, 8, 2, 0xa5c3, 14, 28, "zzrr"},
        {TW_MODE_UNAUTHENTICATED, 40, 8, 0xa5c3, 14, 0, "rrrr"},
        {TW_MODE_UNAUTHENTICATED | REFLECT, 40, 8, 0xa5c3, 14, 0, "Ssrr"},
        {TW_MODE_UNAUTHENTICATED | REFLECT, 40, 8, 0, 14, 0, "rrrr"},
        {TW_MODE_UNAUTHENTICATED | REFLECT, 40, 1, 0xa5c3, 14, 0, "rrrr"},
        {TW_MODE_UNAUTHENTICATED | REFLECT, 1, 2, 0xa5c3, 14, 0, "r"},
        {TW_MODE_UNAUTHENTICATED | REFLECT | SYMMETRICAL, 40, 8, 0xa5c3, 14, 27, "Ssrr"},
        {TW_MODE_ENCRYPTED | REFLECT, 80, 8, 0xa5c3, 48, 0, "Ssrr"},
        {TW_MODE_ENCRYPTED | REFLECT | SYMMETRICAL, 80, 8, 0xa5c3, 48, 64, "Ssrr"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct session s;
        struct tw_protection protection;
        struct tw_sender_config config = {
            .modes = rows[i].modes,
            .padding_length = rows[i].padding_length,
            .reflect_length = rows[i].reflect_length,
            .server_octets = rows[i].server_octets,
        };
        if ((config.modes & (TW_MODE_AUTHENTICATED | TW_MODE_ENCRYPTED)) != 0) {
            protect(&protection, config.modes);
            config.protection = &protection;
        }
        uint8_t seen[ROOM] = {0};
        for (int packet = 0; packet < 64; packet++) {
            open_session(&s, config);
            seed_random(&s.random, (uint8_t)packet);
            tw_sender_init(&s.sender, &s.sender.config, s.slots, SLOTS, &s.random);
            memset(s.packet, GUARD, sizeof(s.packet));
            send_at(&s, 0);
            assert_int_equal(s.len, rows[i].header + rows[i].zero + rows[i].padding_length);
            assert_int_equal(s.packet[s.len], GUARD);
            for (size_t at = 0; at < s.len; at++)
                seen[at] |= s.packet[at];
        }
        const size_t padding = rows[i].header + rows[i].zero;
        for (size_t at = rows[i].header; at < padding; at++)
            assert_int_equal(seen[at], 0);
        const size_t known = strlen(rows[i].padding);
        for (size_t at = 0; at < rows[i].padding_length; at++) {
            const char kind = at < known ? rows[i].padding[at] : (char)RANDOM;
            const uint8_t octet = seen[padding + at];
            if (kind == RANDOM)
                assert_int_equal(octet, 0xff); /* of 64 random octets */
            if (kind == ALWAYS_ZERO)
                assert_int_equal(octet, 0);
            if (kind == SERVER_HIGH)
                assert_int_equal(octet, 0xa5);
            if (kind == SERVER_LOW)
                assert_int_equal(octet, 0xc3);
        }
    }
}

static void padding_of_zeros_begins_with_the_server_octets(void **state)
{
    (void)state;
    static const uint8_t expected[27] = {0xa5, 0xc3};
    struct session s;
    open_session(&s, (struct tw_sender_config){
                         .modes = TW_MODE_UNAUTHENTICATED | REFLECT,
                         .padding_length = 27,
                         .zero_padding = true,
                         .reflect_length = 2,
                         .server_octets = 0xa5c3,
                     });
    memset(s.packet, GUARD, sizeof(s.packet));
    send_at(&s, 0);
    assert_memory_equal(s.packet + SENDER_HEADER, expected, sizeof(expected));
}

/* A session that has R octets of padding to come back. */
struct reflected {
    uint32_t modes, padding_length;
    uint16_t reflect_length;
    size_t from, to; /* of padding in packets and in replies */
};

static void open_reflected(struct session *s, const struct reflected *agreed)
{
    open_session(s, (struct tw_sender_config){
                        .modes = TW_MODE_UNAUTHENTICATED | agreed->modes,
                        .padding_length = agreed->padding_length,
                        .reflect_length = agreed->reflect_length,
                        .server_octets = 0xa5c3,
                    });
}

/* As long as the packet, with its padding but for the end. */
static void put_reflected(const struct session *s, const struct reflected *agreed, uint8_t *reply)
{
    memset(reply, 0, s->len);
    put_reply(s, (struct reply){.t2 = WALL_NTP, .t3 = WALL_NTP + 1, .error = 1, .ttl = 9}, reply);
    if (s->len > agreed->to)
        memcpy(reply + agreed->to, s->packet + agreed->from, s->len - agreed->to);
}

static const struct reflected kinds[] = {
    {REFLECT, 37, 10, 14, 41},
    {REFLECT, 27 + 700, 700, 14, 41},
    {REFLECT | SYMMETRICAL, 11, 10, 41, 41},
    {REFLECT | SYMMETRICAL, 1000, 100, 41, 41},
    {REFLECT | DSCP, 40, 10, 14, 44},
    {REFLECT | DSCP, 38, 10, 14, 42},
    {REFLECT | DSCP, 39, 10, 14, 42},
    {REFLECT | DSCP, 40, 10, 14, 42}, /* by the other reading of RFC 7750 */
    {REFLECT | DSCP | SYMMETRICAL, 12, 10, 42, 44},
    {REFLECT | DSCP | SYMMETRICAL, 12, 10, 42, 42},
};

static void padding_that_came_back_is_no_quirk(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct session s;
        open_reflected(&s, &kinds[i]);
        for (uint32_t sequence = 0; sequence < 3; sequence++) {
            uint8_t reply[ROOM];
            send_at(&s, 0);
            put_reflected(&s, &kinds[i], reply);
            /* What was not to be reflected may be anything. */
            for (size_t at = kinds[i].to + kinds[i].reflect_length; at < s.len; at++)
                reply[at] ^= 0xff;
            assert_int_equal(receive_at(&s, reply, s.len, MS), TW_SENDER_SAMPLE);
        }
        assert_int_equal(s.sender.not_reflected, 0);
        assert_int_equal(s.sender.quirks, 0);
    }
}

static void every_octet_that_did_not_come_back_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (size_t at = 0; at < kinds[i].reflect_length; at++) {
            struct session s;
            uint8_t reply[ROOM];
            open_reflected(&s, &kinds[i]);
            send_at(&s, 0);
            put_reflected(&s, &kinds[i], reply);
            reply[kinds[i].to + at] ^= 1;
            assert_int_equal(receive_at(&s, reply, s.len, MS), TW_SENDER_SAMPLE);
            assert_int_equal(s.sender.not_reflected, 1);
            assert_int_equal(s.sender.quirks, TW_QUIRK_NOT_REFLECTED);
            assert_int_equal(s.sample.flags, 0);
        }
    }
}

static void padding_of_another_packet_did_not_come_back(void **state)
{
    (void)state;
    struct session s;
    uint8_t first[ROOM], second[ROOM];
    open_reflected(&s, &kinds[0]);
    send_at(&s, 0);
    put_reflected(&s, &kinds[0], first);
    send_at(&s, 0);
    put_reflected(&s, &kinds[0], second);
    memcpy(second + 41, first + 41, s.len - 41);
    assert_int_equal(receive_at(&s, second, s.len, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sender.not_reflected, 1);
}

static void reply_that_is_too_short_for_the_octets_has_not_reflected_them(void **state)
{
    (void)state;
    for (size_t n = 38; n <= 60; n++) {
        struct session s;
        uint8_t reply[ROOM];
        open_reflected(&s, &(struct reflected){REFLECT, 46, 10, 14, 41});
        send_at(&s, 0);
        put_reflected(&s, &(struct reflected){.from = 14, .to = 41}, reply);
        assert_int_equal(receive_at(&s, reply, n, MS), TW_SENDER_SAMPLE);
        assert_int_equal(s.sender.not_reflected, n < 51);
    }
}

static void octets_for_which_the_reply_has_no_room_are_not_missed(void **state)
{
    (void)state;
    /* Of PL = R + 17 only 16 fit the reply that is as long as its packet. */
    struct session s;
    uint8_t reply[ROOM];
    open_reflected(&s, &(struct reflected){REFLECT, 43, 26, 14, 41});
    send_at(&s, 0);
    put_reflected(&s, &(struct reflected){.from = 14, .to = 41}, reply);
    assert_int_equal(receive_at(&s, reply, s.len, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sender.not_reflected, 0);
    reply[41 + 15] ^= 1;
    assert_int_equal(receive_at(&s, reply, s.len, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sender.not_reflected, 1);
}

static void padding_is_not_missed_unless_that_was_agreed(void **state)
{
    (void)state;
    struct session s;
    uint8_t reply[ROOM] = {0};
    open_reflected(&s, &(struct reflected){0, 40, 10, 14, 41});
    send_at(&s, 0);
    put_reply(&s, (struct reply){.t2 = WALL_NTP, .t3 = WALL_NTP + 1, .error = 1}, reply);
    assert_int_equal(receive_at(&s, reply, s.len, MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sender.not_reflected, 0);
    assert_int_equal(s.sender.quirks, 0);
}

/* Sender and reflector of ours, in every mode, whatever the reflector pads with. */
static void our_reflector_brings_everything_back(void **state)
{
    (void)state;
    static const uint32_t security[] = {TW_MODE_UNAUTHENTICATED, TW_MODE_MIXED,
                                        TW_MODE_AUTHENTICATED, TW_MODE_ENCRYPTED};
    static const uint32_t features[] = {REFLECT, REFLECT | SYMMETRICAL, REFLECT | DSCP,
                                        REFLECT | SYMMETRICAL | DSCP};
    static const uint16_t lengths[] = {0, 1, 2, 8, 63, 64, 65, 900};
    for (size_t i = 0; i < ARRAY_SIZE(security) * ARRAY_SIZE(features) * ARRAY_SIZE(lengths) * 3;
         i++) {
        const uint32_t modes = security[i % 4] | features[i / 4 % 4];
        const uint16_t reflect_length = lengths[i / 16 % 8];
        const bool clear = (modes & (TW_MODE_UNAUTHENTICATED | TW_MODE_MIXED)) != 0;
        const uint32_t least = (modes & SYMMETRICAL) == 0 ? (clear ? 28 : 64) : 2;
        struct tw_protection at_sender, at_reflector;
        struct session s;
        struct tw_reflector reflector;
        if (!clear) {
            protect(&at_sender, modes);
            protect(&at_reflector, modes);
        }
        open_session(&s, (struct tw_sender_config){
                             .modes = modes,
                             .padding_length = least + reflect_length,
                             .reflect_length = reflect_length,
                             .server_octets = 0xa5c3,
                             .protection = clear ? NULL : &at_sender,
                         });
        const struct tw_reflector_config config = {
            .modes = modes,
            .padding = (enum tw_padding)(i / 128),
            .padding_length = least + reflect_length,
            .reflect_length = reflect_length,
            .protection = clear ? NULL : &at_reflector,
        };
        tw_reflector_init(&reflector, &config);
        tw_reflector_start(&reflector, (tw_mono){0});
        for (uint32_t sequence = 0; sequence < 2; sequence++) {
            uint8_t reply[ROOM];
            size_t len;
            send_at(&s, 0);
            const struct tw_arrival arrival = {.at = {WALL_NS}, .ttl = 255, .tos = 0x28};
            assert_int_equal(tw_reflector_prepare(&reflector, s.packet, s.len, &arrival, &s.random,
                                                  reply, sizeof(reply), &len),
                             TW_REFLECT);
            const struct tw_reading now = {.wall = {WALL_NS + 1000}, .error = 1};
            tw_reflector_stamp(&reflector, reply, &now);
            assert_int_equal(len, s.len);
            assert_int_equal(receive_at(&s, reply, len, MS), TW_SENDER_SAMPLE);
            assert_int_equal(s.sample.sender_tos, (modes & DSCP) != 0 ? 0x28 : -1);
        }
        assert_int_equal(s.sender.not_reflected, 0);
        assert_int_equal(s.sender.quirks, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_are_laid_out_as_the_tables_say),
        cmocka_unit_test(padding_of_zeros_begins_with_the_server_octets),
        cmocka_unit_test(padding_that_came_back_is_no_quirk),
        cmocka_unit_test(every_octet_that_did_not_come_back_is_noticed),
        cmocka_unit_test(padding_of_another_packet_did_not_come_back),
        cmocka_unit_test(reply_that_is_too_short_for_the_octets_has_not_reflected_them),
        cmocka_unit_test(octets_for_which_the_reply_has_no_room_are_not_missed),
        cmocka_unit_test(padding_is_not_missed_unless_that_was_agreed),
        cmocka_unit_test(our_reflector_brings_everything_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
