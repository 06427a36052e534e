/* lib/reflector.h in authenticated and encrypted mode: what is answered, with which octets, and
 * what a packet that is not authentic changes. Which bits are protected is shown in
 * test_protection.c; the packets come from protection_rig.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "protection_rig.h"
#include "reflector_rig.h"

enum { PADDING = 100 };

struct secured {
    struct session session;
    struct tw_protection protection;
};

static void start_secured(struct secured *s, uint32_t modes, struct tw_reflector_config config)
{
    protect(&s->protection, modes);
    config.modes = modes;
    config.protection = &s->protection;
    config.tai_utc_s = 37;
    start_session(&s->session, config);
    s->session.reflector.sequence = VECTOR_REFLECTOR_SEQUENCE;
}

static struct tw_arrival vector_arrival(void)
{
    return (struct tw_arrival){
        .at = {VECTOR_WALL_NS + 500 * TW_NS_PER_MS},
        .source = TW_SOURCE_KERNEL,
        .ttl = VECTOR_TTL,
        .tos = VECTOR_TOS,
    };
}

/* Puts the vector, followed by recognisable padding, into packet_room. */
static void put_vector(const char *hex)
{
    assert_int_equal(octets_from_hex(hex, packet_room, sizeof(packet_room)), SECURED_PACKET);
    for (size_t i = 0; i < PADDING; i++)
        packet_room[SECURED_PACKET + i] = (uint8_t)(i + 1);
}

static enum tw_reflector_verdict offer_vector(struct secured *s, size_t padding)
{
    const struct tw_arrival arrival = vector_arrival();
    return offer(&s->session, SECURED_PACKET + padding, &arrival);
}

static void stamp_vector(struct secured *s)
{
    const struct tw_reading now = {
        .wall = {VECTOR_WALL_NS + 750 * TW_NS_PER_MS},
        .error = VECTOR_REFLECTOR_ERROR,
    };
    tw_reflector_stamp(&s->session.reflector, reply_room, &now);
}

static void assert_reply(const char *hex)
{
    uint8_t expected[SECURED_REPLY];
    assert_int_equal(octets_from_hex(hex, expected, sizeof(expected)), SECURED_REPLY);
    assert_memory_equal(reply_room, expected, sizeof(expected));
}

static void replies_equal_the_independent_vectors(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        const struct {
            uint32_t features;
            const char *packet, *reply;
        } cases[] = {
            {0, v->packet, v->reply},
            {TW_MODE_DSCP_ECN, v->packet, v->reply_dscp_ecn},
            {TW_MODE_DSCP_ECN | TW_MODE_PTP, v->packet_ptp, v->reply_dscp_ecn_ptp},
            {TW_MODE_SYMMETRICAL | TW_MODE_REFLECT_OCTETS, v->packet, v->reply},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            struct secured s;
            start_secured(&s, v->modes | cases[i].features, (struct tw_reflector_config){0});
            put_vector(cases[i].packet);
            assert_int_equal(offer_vector(&s, 0), TW_REFLECT);
            stamp_vector(&s);
            assert_int_equal(s.session.len, SECURED_REPLY);
            assert_reply(cases[i].reply);
            assert_int_equal(reply_room[SECURED_REPLY], GUARD);
        }
    }
}

static void padding_is_neither_enciphered_nor_signed(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        struct secured s;
        start_secured(&s, v->modes, (struct tw_reflector_config){0});
        put_vector(v->packet);
        assert_int_equal(offer_vector(&s, PADDING), TW_REFLECT);
        stamp_vector(&s);
        assert_int_equal(s.session.len, SECURED_PACKET + PADDING);
        assert_reply(v->reply);
        for (size_t i = SECURED_REPLY; i < s.session.len; i++)
            assert_int_equal(reply_room[i], i - SECURED_REPLY + 1);
    }
}

static void packet_of_any_length_from_48_octets_is_answered(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        struct secured s;
        start_secured(&s, v->modes, (struct tw_reflector_config){0});
        put_vector(v->packet);
        const struct tw_arrival arrival = vector_arrival();
        for (size_t n = 0; n < SECURED_PACKET; n++)
            assert_int_equal(offer(&s.session, n, &arrival), TW_IGNORE_SHORT);
        for (size_t n = SECURED_PACKET; n <= SECURED_PACKET + PADDING; n++) {
            assert_int_equal(offer(&s.session, n, &arrival), TW_REFLECT);
            assert_int_equal(s.session.len, n < SECURED_REPLY ? SECURED_REPLY : n);
        }
    }
}

/* The walk over all octets: authenticated mode protects the first block and its HMAC, and reflects
 * an altered T1 or Error Estimate as it came; encrypted mode protects the whole header. */
static void altered_packet_is_answered_where_nothing_protects_it(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        struct secured s;
        start_secured(&s, v->modes, (struct tw_reflector_config){0});
        uint32_t answered = 0;
        for (size_t at = 0; at < SECURED_PACKET + PADDING; at++) {
            for (unsigned flip = 1; flip < 256; flip = flip * 2 + 1) {
                put_vector(v->packet);
                packet_room[at] ^= (uint8_t)flip;
                const bool covered =
                    at < SECURED_PACKET && (v->modes == TW_MODE_ENCRYPTED || at < 16 || at >= 32);
                assert_int_equal(offer_vector(&s, PADDING), covered ? TW_IGNORE_HMAC : TW_REFLECT);
                if (covered) {
                    assert_int_equal(reply_room[0], GUARD);
                    continue;
                }
                stamp_vector(&s);
                answered++;
                /* T1 and Error Estimate at 16 come back at 64; the rest of their block is MBZ. */
                if (at >= 16 && at < 26)
                    assert_memory_equal(reply_room + 64, packet_room + 16, 10);
            }
        }
        /* Numbers go to replies alone. */
        assert_int_equal(s.session.reflector.sequence, VECTOR_REFLECTOR_SEQUENCE + answered);
        assert_int_equal(s.session.reflector.received, answered);
    }
}

static void packet_that_is_not_authentic_takes_no_number(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        static const size_t places[] = {0, 15, 32, 47};
        struct secured s;
        start_secured(&s, v->modes, (struct tw_reflector_config){0});
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
            put_vector(v->packet);
            packet_room[places[i]] ^= 1;
            assert_int_equal(offer_vector(&s, 0), TW_IGNORE_HMAC);
        }
        put_vector(v->packet);
        assert_int_equal(offer_vector(&s, 0), TW_REFLECT);
        stamp_vector(&s);
        assert_reply(v->reply);
    }
}

static void copies_are_all_answered(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        struct secured s;
        start_secured(&s, v->modes, (struct tw_reflector_config){0});
        put_vector(v->packet);
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(offer_vector(&s, 0), TW_REFLECT);
            stamp_vector(&s);
        }
        assert_int_equal(s.session.reflector.reflected, 3);
    }
}

static void packets_that_are_not_authentic_do_not_keep_a_session_alive(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        struct secured s;
        start_secured(&s, v->modes,
                      (struct tw_reflector_config){.refwait_ns = 10 * TW_NS_PER_S, .max_rate = 2});
        put_vector(v->packet);
        struct tw_arrival arrival = vector_arrival();
        arrival.read.mono.ns = TW_NS_PER_S;
        assert_int_equal(offer(&s.session, SECURED_PACKET, &arrival), TW_REFLECT);
        packet_room[0] ^= 1;
        for (int64_t ns = TW_NS_PER_S; ns < 11 * TW_NS_PER_S; ns += TW_NS_PER_S / 4) {
            arrival.read.mono.ns = ns;
            assert_int_equal(offer(&s.session, SECURED_PACKET, &arrival), TW_IGNORE_HMAC);
        }
        arrival.read.mono.ns = 11 * TW_NS_PER_S;
        packet_room[0] ^= 1;
        assert_int_equal(offer(&s.session, SECURED_PACKET, &arrival), TW_IGNORE_STOPPED);
    }
}

static void packets_that_are_not_authentic_use_up_no_rate(void **state)
{
    (void)state;
    struct secured s;
    start_secured(&s, TW_MODE_ENCRYPTED, (struct tw_reflector_config){.max_rate = 1});
    put_vector(all_vectors_end[-1].packet);
    packet_room[20] ^= 1;
    for (int i = 0; i < 100; i++)
        assert_int_equal(offer_vector(&s, 0), TW_IGNORE_HMAC);
    packet_room[20] ^= 1;
    assert_int_equal(offer_vector(&s, 0), TW_REFLECT);
    assert_int_equal(offer_vector(&s, 0), TW_IGNORE_RATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_equal_the_independent_vectors),
        cmocka_unit_test(padding_is_neither_enciphered_nor_signed),
        cmocka_unit_test(packet_of_any_length_from_48_octets_is_answered),
        cmocka_unit_test(altered_packet_is_answered_where_nothing_protects_it),
        cmocka_unit_test(packet_that_is_not_authentic_takes_no_number),
        cmocka_unit_test(copies_are_all_answered),
        cmocka_unit_test(packets_that_are_not_authentic_do_not_keep_a_session_alive),
        cmocka_unit_test(packets_that_are_not_authentic_use_up_no_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
