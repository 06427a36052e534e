/* lib/protection.h: which octets of a test packet are enciphered and signed, against packets that
 * were made with another library and against captures of perfSONAR's twping and twampd. What the
 * two ends do with a packet that is not authentic: test_sender_secured.c, test_reflector_secured.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <string.h>

#include "protection_rig.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* With timestamps of the reflector that are no whole nanoseconds: T2 e9a1b2c440010000, T3
 * e9a1b2c440018000. */
static const struct {
    uint32_t modes;
    const char *packet, *reply;
} tables[] = {
    {TW_MODE_AUTHENTICATED,
     "74fb50c8f7801917350ac28fe9f14c16e9a1b2c4400000008f84000000000000"
     "d4b6b6ba48b7b55daee4692265375c49",
     "9ed7086380bbf17278d3f02734bf21d2e9a1b2c4400180008e80000000000000"
     "e9a1b2c440010000000000000000000000000007000000000000000000000000"
     "e9a1b2c4400000008f840000000000003f000000000000000000000000000000"
     "013a346f98ad10acf1646d7b9a7b0a1f"},
    {TW_MODE_ENCRYPTED,
     "74fb50c8f7801917350ac28fe9f14c167b223e97fbb73f4cef26d2001f06056c"
     "61b5b4484b0a71173e068e283172790a",
     "9ed7086380bbf17278d3f02734bf21d2eb18841a35ac12b0749e1a58768082c1"
     "eea6968c01e05d5be0a84719cd8662f1d3b31c4b06de507e23155a1beef30329"
     "0b8a1e395d53c65f20b056b6848f4587b319a0b6df6c2630f15689920d787a91"
     "357c25cc6b1a430f12f4258fd43d16f7"},
};

static const struct tw_test_packet clear_packet = {
    .sequence = VECTOR_SEQUENCE,
    .stamp = {UINT64_C(0xe9a1b2c440000000), VECTOR_ERROR},
};

static const struct tw_test_reply clear_reply = {
    .sequence = VECTOR_REFLECTOR_SEQUENCE,
    .stamp = {UINT64_C(0xe9a1b2c440018000), VECTOR_REFLECTOR_ERROR},
    .receive = UINT64_C(0xe9a1b2c440010000),
    .sender_sequence = VECTOR_SEQUENCE,
    .sender_stamp = {UINT64_C(0xe9a1b2c440000000), VECTOR_ERROR},
    .sender_ttl = VECTOR_TTL,
};

static void assert_octets(const uint8_t *octets, const char *hex)
{
    uint8_t expected[TW_PROTECTION_HEADER_MAX];
    const size_t n = octets_from_hex(hex, expected, sizeof(expected));
    assert_memory_equal(octets, expected, n);
}

static void sealed_packets_equal_the_independent_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        const uint32_t modes = tables[i].modes;
        struct tw_protection protection;
        protect(&protection, modes);
        /* More than once: no packet is chained to the one before. */
        for (int again = 0; again < 3; again++) {
            uint8_t octets[SECURED_REPLY];
            tw_put_test_packet(octets, modes, &(struct tw_test_packet){.sequence = 7});
            tw_protection_seal_before_stamp(&protection, octets);
            tw_put_test_stamp(octets, modes, clear_packet.stamp);
            tw_protection_seal_after_stamp(&protection, octets);
            assert_octets(octets, tables[i].packet);
            tw_put_test_reply(octets, modes, &clear_reply);
            tw_protection_seal_reply(&protection, octets);
            assert_octets(octets, tables[i].reply);
        }
    }
}

static void independent_vectors_are_opened(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        const uint32_t modes = tables[i].modes;
        struct tw_protection protection;
        protect(&protection, modes);
        uint8_t octets[SECURED_REPLY];
        uint8_t clear[TW_PROTECTION_HEADER_MAX];
        uint8_t expected[SECURED_REPLY];
        size_t n = octets_from_hex(tables[i].packet, octets, sizeof(octets));
        assert_true(tw_protection_open_packet(&protection, octets, clear));
        tw_put_test_packet(expected, modes, &clear_packet);
        assert_memory_equal(clear, expected, 32);
        assert_memory_equal(clear + 32, octets + 32, n - 32);

        n = octets_from_hex(tables[i].reply, octets, sizeof(octets));
        assert_true(tw_protection_open_reply(&protection, octets, clear));
        tw_put_test_reply(expected, modes, &clear_reply);
        assert_memory_equal(clear, expected, 96);
        assert_memory_equal(clear + 96, octets + 96, n - 96);
    }
}

/* Every bit, not every octet. */
static void exactly_the_covered_bits_are_protected(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        struct tw_protection protection;
        protect(&protection, tables[i].modes);
        uint8_t packet[SECURED_PACKET], reply[SECURED_REPLY];
        uint8_t clear[TW_PROTECTION_HEADER_MAX];
        octets_from_hex(tables[i].packet, packet, sizeof(packet));
        octets_from_hex(tables[i].reply, reply, sizeof(reply));
        const bool encrypted = tables[i].modes == TW_MODE_ENCRYPTED;
        for (size_t bit = 0; bit < 8 * sizeof(reply); bit++) {
            const size_t at = bit / 8;
            const uint8_t flip = (uint8_t)(1u << bit % 8);
            if (at < sizeof(packet)) {
                packet[at] ^= flip;
                assert_int_equal(tw_protection_open_packet(&protection, packet, clear),
                                 !encrypted && at >= 16 && at < 32);
                packet[at] ^= flip;
            }
            reply[at] ^= flip;
            assert_int_equal(tw_protection_open_reply(&protection, reply, clear),
                             !encrypted && at >= 16 && at < 96);
            reply[at] ^= flip;
        }
        /* None of all these left a trace. */
        assert_true(tw_protection_open_packet(&protection, packet, clear));
        assert_true(tw_protection_open_reply(&protection, reply, clear));
    }
}

static void packet_of_another_session_is_not_authentic(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        struct tw_keys keys;
        keys_from_hex("65c60e044a27ffa90736c934230c6ece",
                      "0d81d62efe912b9f5a28b326dd2d5aa9e8f51fe920b56da1a8cae38ae8fef4a6", &keys);
        struct tw_protection protection;
        tw_protection_init(&protection, tables[i].modes, &keys);
        uint8_t octets[SECURED_REPLY];
        uint8_t clear[TW_PROTECTION_HEADER_MAX];
        octets_from_hex(tables[i].packet, octets, sizeof(octets));
        assert_false(tw_protection_open_packet(&protection, octets, clear));
        octets_from_hex(tables[i].reply, octets, sizeof(octets));
        assert_false(tw_protection_open_reply(&protection, octets, clear));
    }
}

static void without_protection_nothing_is_touched(void **state)
{
    (void)state;
    uint8_t octets[SECURED_REPLY], clear[TW_PROTECTION_HEADER_MAX], same[SECURED_REPLY];
    memset(octets, 0x5a, sizeof(octets));
    memset(clear, 0x5a, sizeof(clear));
    memset(same, 0x5a, sizeof(same));
    tw_protection_seal_before_stamp(NULL, octets);
    tw_protection_seal_after_stamp(NULL, octets);
    tw_protection_seal_reply(NULL, octets);
    assert_true(tw_protection_open_packet(NULL, octets, clear));
    assert_true(tw_protection_open_reply(NULL, octets, clear));
    assert_memory_equal(octets, same, sizeof(same));
    assert_memory_equal(clear, same, sizeof(same));
}

/* Headers of the first and the last exchange of perfsonar-authenticated.pcap and -encrypted.pcap.
 * The sessions' keys were computed from the captured control streams. */
static void perfsonar_packets_are_opened_and_made_again(void **state)
{
    (void)state;
    static const struct {
        uint32_t modes;
        const char *aes, *hmac;
        struct {
            uint32_t sequence;
            uint64_t t1;
            const char *packet, *reply;
        } exchanges[2];
    } captures[] = {
        {TW_MODE_AUTHENTICATED,
         "ee784e292f0c2092baed25f6422a6354",
         "fdb6aa59eb3bc3ccccc3c6e108183001e1f46a2d50232f7930f87010d99d013c",
         {{0, UINT64_C(0xeeae405ed16b228d),
           "14b45376e8080db9fc2afdb77b5cdefeeeae405ed16b228d0001000000000000"
           "9f521f572ac238aa764943763c1100b7",
           "14b45376e8080db9fc2afdb77b5cdefeeeae405ed17646ae0001000000000000"
           "eeae405ed1744f5d000000000000000000000000000000000000000000000000"
           "eeae405ed16b228d0001000000000000ff000000000000000000000000000000"
           "9f521f572ac238aa764943763c1100b7"},
          {4, UINT64_C(0xeeae405ef5f18c9f),
           "f8267b460270bb964ddf20add62195ebeeae405ef5f18c9f0001000000000000"
           "0ac72779c8ce3bcb258d49208cb2e39f",
           "f8267b460270bb964ddf20add62195ebeeae405ef5f761cb0001000000000000"
           "eeae405ef5f687b1000000000000000000000004000000000000000000000000"
           "eeae405ef5f18c9f0001000000000000ff000000000000000000000000000000"
           "0ac72779c8ce3bcb258d49208cb2e39f"}}},
        {TW_MODE_ENCRYPTED,
         "ee2950bfda228dc62d7c8e9a0d57f644",
         "51758c8b150bf621f5d448a0343343797a0ac6c61699618936483e06c3e0fd06",
         {{0, UINT64_C(0xeeae406a84ae642b),
           "6b74426e2ee39065f216cc9259f9920f3485d453e7621495e931398290fd2f34"
           "1e7b361891a85835fd9aef7e66bd12c2",
           "6b74426e2ee39065f216cc9259f9920fe9a12f11a28d84d91214b6984d7dbb81"
           "eaf36886028cd0404b384090c317c45cc2de16be0769533fb4e5fd6229c720ba"
           "d21f3e52d3c3ddfce3a88dc72e127f6057d7f94eb3b734eb0882ddfcc6cf3da4"
           "cdf51253e22131149271bf5e59c5f66e"},
          {4, UINT64_C(0xeeae406ac49a34ca),
           "fa01d84c2c2d9269d990ba6c5edc0b981f0cd4b00ecb32918b1c2115f302413d"
           "d64abb0ee6c35356a0fdf8f0a6ff16b9",
           "fa01d84c2c2d9269d990ba6c5edc0b98bab21c2396f3c31050620128abcd31d7"
           "dc565f706d8154118e6c265798dbf117331775bfa3ea32ccc15f52373963c818"
           "c94a4bea768365009e8bdc75496ac8b9d6e469268a487771d0018f9aa84d0422"
           "67a62ebc974c6192ae113e48d1b38a5c"}}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(captures); i++) {
        const uint32_t modes = captures[i].modes;
        struct tw_keys keys;
        struct tw_protection protection;
        keys_from_hex(captures[i].aes, captures[i].hmac, &keys);
        tw_protection_init(&protection, modes, &keys);
        for (size_t k = 0; k < 2; k++) {
            uint8_t octets[SECURED_REPLY], again[SECURED_REPLY], clear[TW_PROTECTION_HEADER_MAX];
            struct tw_test_packet packet;
            size_t n = octets_from_hex(captures[i].exchanges[k].packet, octets, sizeof(octets));
            assert_int_equal(n, SECURED_PACKET);
            assert_true(tw_protection_open_packet(&protection, octets, clear));
            assert_int_equal(tw_get_test_packet(clear, n, modes, &packet), TW_OK);
            assert_int_equal(packet.sequence, captures[i].exchanges[k].sequence);
            assert_int_equal(packet.stamp.bits, captures[i].exchanges[k].t1);
            assert_int_equal(packet.stamp.error, 1);
            tw_put_test_packet(again, modes, &packet);
            tw_protection_seal_before_stamp(&protection, again);
            tw_put_test_stamp(again, modes, packet.stamp);
            tw_protection_seal_after_stamp(&protection, again);
            assert_memory_equal(again, octets, n);

            struct tw_test_reply reply;
            n = octets_from_hex(captures[i].exchanges[k].reply, octets, sizeof(octets));
            assert_int_equal(n, SECURED_REPLY);
            assert_true(tw_protection_open_reply(&protection, octets, clear));
            assert_int_equal(tw_get_test_reply(clear, n, modes, &reply), TW_OK);
            assert_int_equal(reply.sender_sequence, captures[i].exchanges[k].sequence);
            assert_int_equal(reply.sender_stamp.bits, captures[i].exchanges[k].t1);
            assert_int_equal(reply.sender_ttl, 255);
            tw_put_test_reply(again, modes, &reply);
            tw_protection_seal_reply(&protection, again);
            assert_memory_equal(again, octets, n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_packets_equal_the_independent_vectors),
        cmocka_unit_test(independent_vectors_are_opened),
        cmocka_unit_test(exactly_the_covered_bits_are_protected),
        cmocka_unit_test(packet_of_another_session_is_not_authentic),
        cmocka_unit_test(without_protection_nothing_is_touched),
        cmocka_unit_test(perfsonar_packets_are_opened_and_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
