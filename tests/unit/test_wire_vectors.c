/* lib/wire.h against octets that other programs wrote: a capture of perfSONAR's twping and twampd,
 * and test vectors computed with independent libraries. What is understood must also be repeated
 * octet for octet. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <string.h>

#include "hex.h"
#include "lib/wire.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

enum { LARGEST = TW_SETUP_RESPONSE_SIZE };

/* Decodes octets written in hexadecimal, encodes them again and expects the same ones. */
#define UNDERSTAND(type, size, hex, message)                                                       \
    do {                                                                                           \
        uint8_t octets_[LARGEST];                                                                  \
        uint8_t again_[LARGEST];                                                                   \
        const size_t n_ = octets_from_hex(hex, octets_, sizeof octets_);                           \
        assert_int_equal(n_, size);                                                                \
        assert_int_equal(tw_get_##type(octets_, n_, message), TW_OK);                              \
        tw_put_##type(again_, message);                                                            \
        assert_memory_equal(again_, octets_, size);                                                \
    } while (0)

static void assert_octets(const uint8_t *octets, const char *hex)
{
    uint8_t expected[LARGEST];
    const size_t n = octets_from_hex(hex, expected, sizeof expected);
    assert_memory_equal(octets, expected, n);
}

/* The control connection of perfsonar-open.pcap; the Set-Up-Response is that of
 * perfsonar-authenticated.pcap, where it has content. */
static void captured_set_up_is_understood_and_repeated(void **state)
{
    (void)state;
    struct tw_greeting greeting;
    UNDERSTAND(greeting, 64,
               "0000000000000000000000000000000f1f2624d2f0fe8c2346a7a2cb34722e7a"
               "4e4f8973ab97bf180a092408a5f7c7e900000800000000000000000000000000",
               &greeting);
    assert_int_equal(greeting.modes, TW_MODE_SECURITY);
    assert_octets(greeting.challenge, "1f2624d2f0fe8c2346a7a2cb34722e7a");
    assert_octets(greeting.salt, "4e4f8973ab97bf180a092408a5f7c7e9");
    assert_int_equal(greeting.count, 2048);

    struct tw_setup_response response;
    UNDERSTAND(setup_response, 164,
               "00000002616c69636500000000000000000000000000000000000000000000000000000000000000"
               "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
               "00000000e620bc2104709e3159d200e5f0f9ebce7ce92273a07ba748e364da398ce5533d82f8c058"
               "872afa3728b7102ee67e729a77e6ad4bd52cede6923f6ef24b8d5397002eb63273313c908f1e7f07"
               "cd896262",
               &response);
    assert_int_equal(response.mode, TW_MODE_AUTHENTICATED);
    assert_string_equal((const char *)response.keyid, "alice");
    assert_octets(response.token, "e620bc2104709e3159d200e5f0f9ebce");
    assert_octets(response.client_iv, "002eb63273313c908f1e7f07cd896262");

    struct tw_server_start start;
    UNDERSTAND(server_start, 48,
               "0000000000000000000000000000000000000000000000000000000000000000"
               "eeae404e56d45e910000000000000000",
               &start);
    assert_int_equal(start.accept, TW_ACCEPT_OK);
    assert_int_equal(start.start_time, UINT64_C(0xeeae404e56d45e91));
}

static void captured_session_is_understood_and_repeated(void **state)
{
    (void)state;
    struct tw_request request;
    UNDERSTAND(request, 112,
               "05040000000000000000000024c924c97f0000010000000000000000000000007f00000100000000"
               "00000000000000000000000000000000000000000000000000000040eeae4052d8477ff200000001"
               "000000002e000000000000000000000000000000000000000000000000000000",
               &request);
    assert_int_equal(request.ipvn, 4);
    assert_int_equal(request.sender_port, 9417);
    assert_int_equal(request.receiver_port, 9417);
    assert_octets(request.sender_address, "7f000001000000000000000000000000");
    assert_octets(request.receiver_address, "7f000001000000000000000000000000");
    assert_int_equal(request.padding_length, 64);
    assert_int_equal(request.start_time, UINT64_C(0xeeae4052d8477ff2));
    assert_int_equal(tw_interval_to_ns(request.timeout), TW_NS_PER_S);
    assert_int_equal(tw_type_p_to_dscp(request.type_p), 46);

    struct tw_accept_session accept;
    UNDERSTAND(accept_session, 48,
               "000049617f000001eeae4051d836006db42b2d47000000000000000000000000"
               "00000000000000000000000000000000",
               &accept);
    assert_int_equal(accept.accept, TW_ACCEPT_OK);
    assert_int_equal(accept.port, 18785);
    assert_octets(accept.sid, "7f000001eeae4051d836006db42b2d47");

    uint8_t octets[32];
    tw_put_start_sessions(octets);
    assert_octets(octets, "0200000000000000000000000000000000000000000000000000000000000000");
    tw_put_start_ack(octets, TW_ACCEPT_OK);
    assert_octets(octets, "0000000000000000000000000000000000000000000000000000000000000000");

    struct tw_stop_sessions stop;
    UNDERSTAND(stop_sessions, 32,
               "0300000000000001000000000000000000000000000000000000000000000000", &stop);
    assert_int_equal(stop.accept, TW_ACCEPT_OK);
    assert_int_equal(stop.sessions, 1);
}

/* The five sender packets and replies of perfsonar-open.pcap, whole datagrams. The reflector lost
 * none, so its Sequence Numbers are the sender's; both programs wrote Error Estimate 0001. */
static void captured_test_packets_are_understood_and_repeated(void **state)
{
    (void)state;
    static const struct {
        const char *packet;
        const char *reply;
    } pairs[] = {
        {"00000000eeae4052f7aa582d0001b2b911487b9b2bde86102a07239d58a8f0b669f4be6bf56e2b66"
         "5a36825c8d9b685c7602d50245b6355ca481c9501983c9a75d8e17ada0b4e5b09fc23f7d4851",
         "00000000eeae4052f7b384fd00010000eeae4052f7b1e18e00000000eeae4052f7aa582d00010000"
         "ffb2b911487b9b2bde86102a07239d58a8f0b669f4be6bf56e2b665a36825c8d9b685c7602d5"},
        {"00000001eeae4052fd5b68050001ef5e0edb518d4c8a4feb13da7b54b1247c053a336806a298365a"
         "9864937aef06161a5eac2f8cdaa4198fca003c5cc658ac6fc68e613f690b1aa3423193fe79ab",
         "00000001eeae4052fd5d91ab00010000eeae4052fd5d4e8f00000001eeae4052fd5b680500010000"
         "ffef5e0edb518d4c8a4feb13da7b54b1247c053a336806a298365a9864937aef06161a5eac2f"},
        {"00000002eeae40530366d7a5000101ad874f0292c18f80be73194425a47fc19a93e83013caecbb1c"
         "518238fc116fade431e55edc760ced7b20a5e1b8429e4edd8a35a28478d0513e144e2ea3d9fa",
         "00000002eeae40530367c28600010000eeae40530367b1c000000002eeae40530366d7a500010000"
         "ff01ad874f0292c18f80be73194425a47fc19a93e83013caecbb1c518238fc116fade431e55e"},
        {"00000003eeae4053078769ec000137e8fdec85ef6b6376269307df5940b91ebcc76ae5e89b95cb49"
         "afc72b1c452f1524a12dd9eb23d3a5f860b51cd1074c20becfa743278a09de95f0ac2e2c8cb2",
         "00000003eeae40530788227800010000eeae4053078811b100000003eeae4053078769ec00010000"
         "ff37e8fdec85ef6b6376269307df5940b91ebcc76ae5e89b95cb49afc72b1c452f1524a12dd9"},
        {"00000004eeae4053092fc26500017b877f9535c0dca565fc02d9943bc95ef7c6b4236754c775e8f9"
         "3a1bcf4a4d24c559529d5b4fe673b3ba268d547525f1322c7fa1133ffc73dd5f3613b2af399b",
         "00000004eeae405309306a2b00010000eeae40530930489d00000004eeae4053092fc26500010000"
         "ff7b877f9535c0dca565fc02d9943bc95ef7c6b4236754c775e8f93a1bcf4a4d24c559529d5b"},
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        uint8_t octets[78];
        uint8_t again[41];
        struct tw_test_packet packet;
        assert_int_equal(octets_from_hex(pairs[i].packet, octets, sizeof octets), 78);
        assert_int_equal(tw_get_test_packet(octets, 78, TW_MODE_UNAUTHENTICATED, &packet), TW_OK);
        assert_int_equal(packet.sequence, i);
        assert_int_equal(packet.stamp.error, 1);
        tw_put_test_packet(again, TW_MODE_UNAUTHENTICATED, &packet);
        assert_memory_equal(again, octets, 14);

        struct tw_test_reply reply;
        assert_int_equal(octets_from_hex(pairs[i].reply, octets, sizeof octets), 78);
        assert_int_equal(tw_get_test_reply(octets, 78, TW_MODE_UNAUTHENTICATED, &reply), TW_OK);
        assert_int_equal(reply.sequence, i);
        assert_int_equal(reply.sender_sequence, i);
        assert_int_equal(reply.sender_stamp.bits, packet.stamp.bits);
        assert_int_equal(reply.sender_stamp.error, 1);
        assert_int_equal(reply.stamp.error, 1);
        assert_int_equal(reply.sender_ttl, 255);
        assert_true(reply.sender_ttl_known);
        /* One host, one clock: T1 < T2 < T3, all within a millisecond. */
        assert_true(packet.stamp.bits < reply.receive && reply.receive < reply.stamp.bits);
        assert_true(tw_interval_to_ns(reply.stamp.bits - packet.stamp.bits) < TW_NS_PER_MS);
        tw_put_test_reply(again, TW_MODE_UNAUTHENTICATED, &reply);
        assert_memory_equal(again, octets, 41);
    }
}

/* Independent vectors: messages with their HMAC, which this codec leaves zero. */
static void control_messages_equal_the_independent_vectors(void **state)
{
    (void)state;
    uint8_t out[TW_REQUEST_SIZE];
    tw_put_request(out, &(struct tw_request){
                            .ipvn = 4,
                            .sender_port = 20000,
                            .receiver_port = 20001,
                            .sender_address = {192, 0, 2, 10},
                            .receiver_address = {192, 0, 2, 1},
                            .padding_length = 64,
                            .timeout = tw_interval_from_ns(2 * TW_NS_PER_S),
                            .type_p = tw_type_p_from_dscp(46),
                        });
    assert_octets(
        out,
        "0504000000000000000000004e204e21c000020a000000000000000000000000c0000201000000000000"
        "0000000000000000000000000000000000000000000000000040000000000000000000000002000000002e"
        "0000000000000000000000"
        "00000000000000000000000000000000");

    struct tw_accept_session accept = {.accept = TW_ACCEPT_OK, .port = 20001};
    octets_from_hex("c0000201e9a1b2c380000000deadbeef", accept.sid, sizeof accept.sid);
    tw_put_accept_session(out, &accept);
    assert_octets(out, "00004e21c0000201e9a1b2c380000000deadbeef000000000000000000000000"
                       "00000000000000000000000000000000");

    tw_put_stop_sessions(out, &(struct tw_stop_sessions){.sessions = 1});
    assert_octets(out, "0300000000000001000000000000000000000000000000000000000000000000");

    struct tw_server_start start = {.start_time = UINT64_C(0xe9a1b2c000000000)};
    memset(start.server_iv, 0x66, sizeof start.server_iv);
    tw_put_server_start(out, &start);
    assert_octets(out, "0000000000000000000000000000000066666666666666666666666666666666"
                       "e9a1b2c0000000000000000000000000");
}

static void test_packets_equal_the_independent_vectors(void **state)
{
    (void)state;
    uint8_t out[112];
    const struct tw_stamp t1 = {UINT64_C(0xe9a1b2c440000000), 0x8f84};
    const struct tw_test_packet packet = {.sequence = 7, .stamp = t1};
    const struct tw_test_reply reply = {
        .sequence = 3,
        .stamp = {UINT64_C(0xe9a1b2c440018000), 0x8e80},
        .receive = UINT64_C(0xe9a1b2c440010000),
        .sender_sequence = 7,
        .sender_stamp = t1,
        .sender_ttl = 63,
        .sender_dscp_ecn = 0xb9,
    };
    static const uint32_t secured[] = {TW_MODE_AUTHENTICATED, TW_MODE_ENCRYPTED};
    for (size_t i = 0; i < ARRAY_SIZE(secured); i++) {
        tw_put_test_packet(out, secured[i], &packet);
        assert_octets(out, "00000007000000000000000000000000e9a1b2c4400000008f84000000000000"
                           "00000000000000000000000000000000");
        tw_put_test_reply(out, secured[i], &reply);
        assert_octets(out, "00000003000000000000000000000000e9a1b2c4400180008e80000000000000"
                           "e9a1b2c440010000000000000000000000000007000000000000000000000000"
                           "e9a1b2c4400000008f840000000000003f000000000000000000000000000000"
                           "00000000000000000000000000000000");
    }
    /* S-DSCP-ECN takes octet 81, or 41, and nothing else changes. */
    tw_put_test_reply(out, TW_MODE_ENCRYPTED | TW_MODE_DSCP_ECN, &reply);
    assert_octets(out + 80, "3fb9000000000000000000000000000000000000000000000000000000000000");
    tw_put_test_reply(out, TW_MODE_MIXED | TW_MODE_DSCP_ECN, &reply);
    assert_octets(out, "00000003e9a1b2c4400180008e800000e9a1b2c44001000000000007e9a1b2c440000000"
                       "8f8400003fb90000");
}

/* The clear part of a packet and a reply of perfsonar-authenticated.pcap: block 1 is encrypted. */
static void captured_authenticated_packets_have_the_secured_layout(void **state)
{
    (void)state;
    uint8_t octets[112];
    struct tw_test_packet packet;
    struct tw_test_reply reply;
    size_t n = octets_from_hex("f91492ecfa76870e56a62f95a6079e33eeae405edca70d1f0001000000000000"
                               "eb3881e20eab4a0f3994dd9d0fb70e28",
                               octets, sizeof octets);
    assert_int_equal(tw_get_test_packet(octets, n, TW_MODE_AUTHENTICATED, &packet), TW_OK);
    assert_int_equal(packet.stamp.bits, UINT64_C(0xeeae405edca70d1f));
    assert_int_equal(packet.stamp.error, 1);

    n = octets_from_hex("f91492ecfa76870e56a62f95a6079e33eeae405edcad03d90001000000000000"
                        "eeae405edcac29bf000000000000000000000001000000000000000000000000"
                        "eeae405edca70d1f0001000000000000ff000000000000000000000000000000"
                        "eb3881e20eab4a0f3994dd9d0fb70e28",
                        octets, sizeof octets);
    assert_int_equal(tw_get_test_reply(octets, n, TW_MODE_AUTHENTICATED, &reply), TW_OK);
    assert_int_equal(reply.stamp.bits, UINT64_C(0xeeae405edcad03d9));
    assert_int_equal(reply.receive, UINT64_C(0xeeae405edcac29bf));
    assert_int_equal(reply.sender_sequence, 1);
    assert_int_equal(reply.sender_stamp.bits, packet.stamp.bits);
    assert_int_equal(reply.sender_ttl, 255);
    assert_true(reply.sender_ttl_known);
    uint8_t again[112];
    tw_put_test_reply(again, TW_MODE_AUTHENTICATED, &reply);
    assert_memory_equal(again + 16, octets + 16, 96 - 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_set_up_is_understood_and_repeated),
        cmocka_unit_test(captured_session_is_understood_and_repeated),
        cmocka_unit_test(captured_test_packets_are_understood_and_repeated),
        cmocka_unit_test(control_messages_equal_the_independent_vectors),
        cmocka_unit_test(test_packets_equal_the_independent_vectors),
        cmocka_unit_test(captured_authenticated_packets_have_the_secured_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
