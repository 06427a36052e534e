/* lib/wire.h: every message against the offset tables of the RFCs, field by field, at every length
 * that is too short, and the sizes that the modes decide. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/wire.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

enum { LARGEST = TW_SETUP_RESPONSE_SIZE };

union message {
    struct tw_greeting greeting;
    struct tw_setup_response setup_response;
    struct tw_server_start server_start;
    struct tw_request request;
    struct tw_accept_session accept_session;
    struct tw_stop_sessions stop_sessions;
    uint8_t start_ack;
    struct tw_test_packet test_packet;
    struct tw_test_reply test_reply;
};

/* All messages under one signature, for what holds for each of them. */
struct codec {
    enum tw_result (*get)(const uint8_t *in, size_t n, uint32_t modes, union message *m);
    void (*put)(uint8_t *out, uint32_t modes, const union message *m);
    size_t size;
    size_t least; /* the shortest that is read, where it is not the size */
    uint32_t modes;
    struct {
        uint8_t from, count;
    } fields[13]; /* all other octets are MBZ, but for the command number */
    uint8_t command;
};

#define CONTROL_CODEC(name)                                                                        \
    static enum tw_result get_##name(const uint8_t *in, size_t n, uint32_t modes,                  \
                                     union message *m)                                             \
    {                                                                                              \
        (void)modes;                                                                               \
        return tw_get_##name(in, n, &m->name);                                                     \
    }                                                                                              \
    static void put_##name(uint8_t *out, uint32_t modes, const union message *m)                   \
    {                                                                                              \
        (void)modes;                                                                               \
        tw_put_##name(out, &m->name);                                                              \
    }

#define TEST_CODEC(name)                                                                           \
    static enum tw_result get_##name(const uint8_t *in, size_t n, uint32_t modes,                  \
                                     union message *m)                                             \
    {                                                                                              \
        return tw_get_##name(in, n, modes, &m->name);                                              \
    }                                                                                              \
    static void put_##name(uint8_t *out, uint32_t modes, const union message *m)                   \
    {                                                                                              \
        tw_put_##name(out, modes, &m->name);                                                       \
    }

CONTROL_CODEC(greeting)
CONTROL_CODEC(setup_response)
CONTROL_CODEC(server_start)
CONTROL_CODEC(request)
CONTROL_CODEC(accept_session)
CONTROL_CODEC(stop_sessions)
TEST_CODEC(test_packet)
TEST_CODEC(test_reply)

static enum tw_result get_start_ack(const uint8_t *in, size_t n, uint32_t modes, union message *m)
{
    (void)modes;
    return tw_get_start_ack(in, n, &m->start_ack);
}

static void put_start_ack(uint8_t *out, uint32_t modes, const union message *m)
{
    (void)modes;
    tw_put_start_ack(out, m->start_ack);
}

#define CODEC(name) .get = get_##name, .put = put_##name

static const struct codec codecs[] = {
    {CODEC(greeting), .size = 64, .fields = {{12, 4}, {16, 16}, {32, 16}, {48, 4}}},
    {CODEC(setup_response), .size = 164, .fields = {{0, 4}, {4, 80}, {84, 64}, {148, 16}}},
    {CODEC(server_start), .size = 48, .fields = {{15, 1}, {16, 16}, {32, 8}}},
    {CODEC(request), .size = 112,
     .fields = {{1, 3},
                {4, 8},
                {12, 4},
                {16, 16},
                {32, 16},
                {48, 16},
                {64, 4},
                {68, 8},
                {76, 8},
                {84, 4},
                {88, 2},
                {90, 2}},
     .command = 5},
    {CODEC(accept_session), .size = 48, .fields = {{0, 1}, {2, 2}, {4, 16}, {20, 2}, {22, 2}}},
    {CODEC(start_ack), .size = 32, .fields = {{0, 1}}},
    {CODEC(stop_sessions), .size = 32, .fields = {{1, 1}, {4, 4}}, .command = 3},
    {CODEC(test_packet), .modes = TW_MODE_UNAUTHENTICATED, .size = 14,
     .fields = {{0, 4}, {4, 8}, {12, 2}}},
    {CODEC(test_packet), .modes = TW_MODE_MIXED | TW_MODE_SYMMETRICAL, .size = 14,
     .fields = {{0, 4}, {4, 8}, {12, 2}}},
    {CODEC(test_packet), .modes = TW_MODE_AUTHENTICATED, .size = 48,
     .fields = {{0, 4}, {16, 8}, {24, 2}}},
    {CODEC(test_packet), .modes = TW_MODE_ENCRYPTED | TW_MODE_DSCP_ECN, .size = 48,
     .fields = {{0, 4}, {16, 8}, {24, 2}}},
    {CODEC(test_reply), .modes = TW_MODE_UNAUTHENTICATED, .size = 41, .least = 38,
     .fields = {{0, 4}, {4, 8}, {12, 2}, {16, 8}, {24, 4}, {28, 8}, {36, 2}, {40, 1}}},
    {CODEC(test_reply), .modes = TW_MODE_MIXED | TW_MODE_DSCP_ECN, .size = 44, .least = 38,
     .fields = {{0, 4}, {4, 8}, {12, 2}, {16, 8}, {24, 4}, {28, 8}, {36, 2}, {40, 1}, {41, 1}}},
    {CODEC(test_reply), .modes = TW_MODE_AUTHENTICATED, .size = 112,
     .fields = {{0, 4}, {16, 8}, {24, 2}, {32, 8}, {48, 4}, {64, 8}, {72, 2}, {80, 1}}},
    {CODEC(test_reply), .modes = TW_MODE_ENCRYPTED | TW_MODE_DSCP_ECN, .size = 112,
     .fields = {{0, 4}, {16, 8}, {24, 2}, {32, 8}, {48, 4}, {64, 8}, {72, 2}, {80, 1}, {81, 1}}},
};

static const struct codec *const codecs_end = codecs + ARRAY_SIZE(codecs);

/* Of `octets`, what the offset table says a message keeps. */
static void keep_fields(const struct codec *c, const uint8_t *octets, uint8_t *out)
{
    memset(out, 0, c->size);
    for (size_t f = 0; f < ARRAY_SIZE(c->fields); f++)
        memcpy(out + c->fields[f].from, octets + c->fields[f].from, c->fields[f].count);
    if (c->command != 0) {
        out[0] = c->command;
        if (c->command == TW_COMMAND_REQUEST_TW_SESSION)
            out[1] &= 0x0f;
    }
}

/* n zero octets after a first one, and none behind them, for the sanitizers to see. */
static uint8_t *exactly(size_t n)
{
    uint8_t *memory = calloc(n + 1, 1);
    assert_non_null(memory);
    return memory;
}

static void message_too_short_is_refused_and_nothing_written(void **state)
{
    (void)state;
    for (const struct codec *c = codecs; c < codecs_end; c++) {
        const size_t least = c->least != 0 ? c->least : c->size;
        for (size_t n = 0; n < least; n++) {
            uint8_t *in = exactly(n);
            union message before;
            union message after;
            memset(&before, 0xa5, sizeof before);
            memset(&after, 0xa5, sizeof after);
            assert_int_equal(c->get(in + 1, n, c->modes, &after), TW_ERR_SHORT);
            assert_memory_equal(&after, &before, sizeof after);
            free(in);
        }
        for (size_t n = least; n <= c->size; n++) {
            uint8_t *in = exactly(n);
            union message m;
            assert_int_equal(c->get(in + 1, n, c->modes, &m), TW_OK);
            free(in);
        }
    }
}

/* Octet i has the value i + 1, so that fields that change places are seen; then all bits are
 * set. */
static void exactly_the_fields_of_the_tables_are_kept(void **state)
{
    (void)state;
    for (const struct codec *c = codecs; c < codecs_end; c++) {
        for (int all_ones = 0; all_ones < 2; all_ones++) {
            uint8_t in[LARGEST];
            uint8_t expected[LARGEST];
            uint8_t out[LARGEST];
            for (size_t i = 0; i < sizeof in; i++)
                in[i] = all_ones ? 0xff : (uint8_t)(i + 1);
            keep_fields(c, in, expected);
            union message m;
            assert_int_equal(c->get(in, c->size, c->modes, &m), TW_OK);
            c->put(out, c->modes, &m);
            assert_memory_equal(out, expected, c->size);
        }
    }
}

static void every_octet_is_written_and_none_beyond(void **state)
{
    (void)state;
    for (const struct codec *c = codecs; c < codecs_end; c++) {
        uint8_t in[LARGEST] = {0};
        union message m;
        assert_int_equal(c->get(in, c->size, c->modes, &m), TW_OK);
        uint8_t zeros[LARGEST + 1];
        uint8_t ones[LARGEST + 1];
        memset(zeros, 0, sizeof zeros);
        memset(ones, 0xff, sizeof ones);
        c->put(zeros, c->modes, &m);
        c->put(ones, c->modes, &m);
        assert_memory_equal(zeros, ones, c->size);
        assert_int_equal(zeros[c->size], 0);
        assert_int_equal(ones[c->size], 0xff);
    }
}

static void octets_after_the_message_are_not_looked_at(void **state)
{
    (void)state;
    for (const struct codec *c = codecs; c < codecs_end; c++) {
        uint8_t in[LARGEST + 64] = {0};
        memset(in + c->size, 0xff, sizeof in - c->size);
        union message m;
        uint8_t out[LARGEST];
        assert_int_equal(c->get(in, sizeof in, c->modes, &m), TW_OK);
        c->put(out, c->modes, &m);
        in[0] = c->command;
        assert_memory_equal(out, in, c->size);
    }
}

static void reply_that_ends_before_sender_ttl_has_no_ttl(void **state)
{
    (void)state;
    uint8_t octets[44];
    memset(octets, 0xff, sizeof octets);
    octets[40] = 63;
    for (size_t n = 38; n <= sizeof octets; n++) {
        struct tw_test_reply reply;
        const uint32_t modes = TW_MODE_UNAUTHENTICATED | TW_MODE_DSCP_ECN;
        assert_int_equal(tw_get_test_reply(octets, n, modes, &reply), TW_OK);
        assert_int_equal(reply.sender_stamp.error, 0xffff);
        assert_int_equal(reply.sender_ttl_known, n >= 41);
        assert_int_equal(reply.sender_ttl, n >= 41 ? 63 : 0);
        assert_int_equal(reply.sender_dscp_ecn, n >= 42 ? 0xff : 0);
        assert_int_equal(reply.sender_dscp_ecn_known, n >= 42);
    }
}

static void octet_41_is_padding_unless_dscp_was_agreed(void **state)
{
    (void)state;
    uint8_t octets[44];
    struct tw_test_reply reply;
    memset(octets, 0xff, sizeof octets);
    assert_int_equal(tw_get_test_reply(octets, 44, TW_MODE_UNAUTHENTICATED, &reply), TW_OK);
    assert_int_equal(reply.sender_dscp_ecn, 0);
    assert_false(reply.sender_dscp_ecn_known);
    tw_put_test_reply(octets, TW_MODE_UNAUTHENTICATED, &reply);
    assert_int_equal(octets[41], 0xff);
}

static void stamp_is_written_alone(void **state)
{
    (void)state;
    static const struct {
        uint32_t modes;
        size_t at;
    } places[] = {{TW_MODE_UNAUTHENTICATED, 4},
                  {TW_MODE_MIXED, 4},
                  {TW_MODE_AUTHENTICATED, 16},
                  {TW_MODE_ENCRYPTED, 16}};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        uint8_t out[112];
        uint8_t expected[112];
        memset(out, 0x77, sizeof out);
        memset(expected, 0x77, sizeof expected);
        for (uint8_t octet = 0; octet < 10; octet++)
            expected[places[i].at + octet] = octet;
        const struct tw_stamp stamp = {UINT64_C(0x0001020304050607), 0x0809};
        tw_put_test_stamp(out, places[i].modes, stamp);
        assert_memory_equal(out, expected, sizeof out);
    }
}

static void receive_timestamp_is_read_alone(void **state)
{
    (void)state;
    uint8_t in[40];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)i;
    assert_int_equal(tw_get_test_receive(in, TW_MODE_MIXED), UINT64_C(0x1011121314151617));
    assert_int_equal(tw_get_test_receive(in, TW_MODE_UNAUTHENTICATED | TW_MODE_DSCP_ECN),
                     UINT64_C(0x1011121314151617));
    assert_int_equal(tw_get_test_receive(in, TW_MODE_AUTHENTICATED), UINT64_C(0x2021222324252627));
    assert_int_equal(tw_get_test_receive(in, TW_MODE_ENCRYPTED), UINT64_C(0x2021222324252627));
}

static void ipv4_address_is_four_octets_and_the_rest_ignored(void **state)
{
    (void)state;
    uint8_t octets[TW_REQUEST_SIZE];
    struct tw_request request;
    static const uint8_t address[16] = {0xff, 0xff, 0xff, 0xff};
    memset(octets, 0xff, sizeof octets);
    octets[1] = 0xf4; /* the high nibble is MBZ */
    assert_int_equal(tw_get_request(octets, sizeof octets, &request), TW_OK);
    assert_int_equal(request.ipvn, 4);
    assert_memory_equal(request.sender_address, address, 16);
    assert_memory_equal(request.receiver_address, address, 16);

    memset(request.sender_address, 0xff, 16);
    memset(request.receiver_address, 0xff, 16);
    tw_put_request(octets, &request);
    assert_memory_equal(octets + 16, address, 16);
    assert_memory_equal(octets + 32, address, 16);

    request.ipvn = 6;
    tw_put_request(octets, &request);
    assert_memory_equal(octets + 16, request.sender_address, 16);
    assert_memory_equal(octets + 32, request.receiver_address, 16);
}

static void length_of_a_command_is_known_from_its_first_block(void **state)
{
    (void)state;
    for (unsigned command = 0; command < 256; command++) {
        uint8_t head[TW_COMMAND_HEAD_SIZE] = {(uint8_t)command};
        size_t expected = 0;
        if (command == 2 || command == 3)
            expected = 32;
        if (command == 5)
            expected = 112;
        assert_int_equal(tw_command_size(head), expected);
    }
    static const struct {
        uint32_t sids;
        size_t size;
    } lists[] = {{0, 0},   {1, 48},         {2, 64},         {50, 832},      {128, 2080},
                 {129, 0}, {0x10000001, 0}, {0x80000000, 0}, {UINT32_MAX, 0}};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        uint8_t head[TW_COMMAND_HEAD_SIZE] = {0};
        tw_put32(head + 12, lists[i].sids);
        head[0] = TW_COMMAND_START_N_SESSIONS;
        assert_int_equal(tw_command_size(head), lists[i].size);
        head[0] = TW_COMMAND_STOP_N_SESSIONS;
        assert_int_equal(tw_command_size(head), lists[i].size);
        head[0] = TW_COMMAND_START_SESSIONS; /* these octets are MBZ */
        assert_int_equal(tw_command_size(head), 32);
    }
}

static void type_p_is_six_bits_of_dscp_under_two_zero_bits(void **state)
{
    (void)state;
    assert_int_equal(tw_type_p_from_dscp(46), 0x2e000000);
    for (uint8_t dscp = 0; dscp < 64; dscp++) {
        assert_int_equal(tw_type_p_to_dscp(tw_type_p_from_dscp(dscp)), dscp);
        assert_int_equal(tw_type_p_to_dscp(tw_type_p_from_dscp(dscp) | 0x00ffffff), dscp);
    }
    assert_int_equal(tw_type_p_from_dscp(0xff), 0x3f000000);
    assert_int_equal(tw_type_p_to_dscp(0x40000000), -1);
    assert_int_equal(tw_type_p_to_dscp(0x80000000), -1);
    assert_int_equal(tw_type_p_to_dscp(UINT32_MAX), -1);
}

static void sizes_follow_the_modes(void **state)
{
    (void)state;
    static const struct {
        uint32_t modes;
        uint16_t sender, reflector, mbz, ttl;
        bool secured;
        uint32_t padding;
        size_t size; /* of a sender packet with 100 octets of padding */
    } rows[] = {
        {TW_MODE_UNAUTHENTICATED, 14, 41, 0, 40, false, 27, 114},
        {TW_MODE_MIXED, 14, 41, 0, 40, false, 27, 114},
        {TW_MODE_AUTHENTICATED, 48, 112, 0, 80, true, 64, 148},
        {TW_MODE_ENCRYPTED, 48, 112, 0, 80, true, 64, 148},
        {TW_MODE_UNAUTHENTICATED | TW_MODE_DSCP_ECN, 14, 44, 0, 40, false, 30, 114},
        {TW_MODE_MIXED | TW_MODE_DSCP_ECN, 14, 44, 0, 40, false, 30, 114},
        {TW_MODE_AUTHENTICATED | TW_MODE_DSCP_ECN, 48, 112, 0, 80, true, 64, 148},
        {TW_MODE_UNAUTHENTICATED | TW_MODE_SYMMETRICAL, 14, 41, 27, 40, false, 0, 141},
        {TW_MODE_MIXED | TW_MODE_SYMMETRICAL, 14, 41, 27, 40, false, 0, 141},
        {TW_MODE_AUTHENTICATED | TW_MODE_SYMMETRICAL, 48, 112, 64, 80, true, 0, 212},
        {TW_MODE_ENCRYPTED | TW_MODE_SYMMETRICAL | TW_MODE_DSCP_ECN, 48, 112, 64, 80, true, 0, 212},
        {TW_MODE_UNAUTHENTICATED | TW_MODE_SYMMETRICAL | TW_MODE_DSCP_ECN, 14, 44, 28, 40, false, 2,
         142},
        {TW_MODE_UNAUTHENTICATED | TW_MODE_REFLECT_OCTETS | TW_MODE_SESSION_CONTROL | TW_MODE_PTP,
         14, 41, 0, 40, false, 27, 114},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct tw_test_layout layout = tw_test_layout(rows[i].modes);
        assert_int_equal(layout.sender_header, rows[i].sender);
        assert_int_equal(layout.reflector_header, rows[i].reflector);
        assert_int_equal(layout.sender_mbz, rows[i].mbz);
        assert_int_equal(layout.sender_ttl, rows[i].ttl);
        assert_int_equal(layout.secured, rows[i].secured);
        assert_int_equal(tw_test_default_padding(rows[i].modes), rows[i].padding);
        assert_int_equal(tw_test_sender_size(rows[i].modes, 100), rows[i].size);
        /* The default makes both directions equally long. */
        assert_int_equal(tw_test_sender_size(rows[i].modes, rows[i].padding), rows[i].reflector);
        assert_true(tw_test_sender_size(rows[i].modes, UINT32_MAX) >= UINT32_MAX);
    }
}

/* D of RFC 6038 (27), with its erratum (64), and the 28 of RFC 7750 section 2.2.2. */
static void truncation_follows_the_modes(void **state)
{
    (void)state;
    static const struct {
        uint32_t mode, features, cut;
    } rows[] = {
        {TW_MODE_UNAUTHENTICATED, 0, 27},
        {TW_MODE_MIXED, TW_MODE_REFLECT_OCTETS | TW_MODE_PTP, 27},
        {TW_MODE_AUTHENTICATED, 0, 64},
        {TW_MODE_ENCRYPTED, TW_MODE_SESSION_CONTROL, 64},
        {TW_MODE_UNAUTHENTICATED, TW_MODE_DSCP_ECN, 28},
        {TW_MODE_MIXED, TW_MODE_DSCP_ECN, 28},
        {TW_MODE_AUTHENTICATED, TW_MODE_DSCP_ECN, 64},
        {TW_MODE_ENCRYPTED, TW_MODE_DSCP_ECN, 64},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const uint32_t modes = rows[i].mode | rows[i].features;
        assert_int_equal(tw_test_truncation(modes), rows[i].cut);
        assert_int_equal(tw_test_truncation(modes | TW_MODE_SYMMETRICAL), 0);
    }
}

static void every_accept_value_has_words(void **state)
{
    (void)state;
    for (unsigned accept = 0; accept < 256; accept++) {
        const char *text = tw_accept_text((uint8_t)accept);
        assert_non_null(text);
        assert_true(text[0] != '\0');
        for (unsigned known = 0; known <= TW_ACCEPT_TEMPORARY_LIMIT && known < accept; known++)
            assert_string_not_equal(text, tw_accept_text((uint8_t)known));
    }
    assert_string_equal(tw_accept_text(77), tw_accept_text(255));
}

static void every_result_has_words(void **state)
{
    (void)state;
    assert_string_equal(tw_result_text(TW_OK), "ok");
    assert_string_equal(tw_result_text(TW_ERR_SHORT), "fewer octets than the format needs");
    assert_string_equal(tw_result_text(TW_ERR_STATE), "not possible in this state");
    assert_string_equal(tw_result_text((enum tw_result)(TW_ERR_STATE + 1)), "unknown result");
}

static void integers_are_big_endian(void **state)
{
    (void)state;
    static const uint8_t octets[] = {0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8};
    assert_int_equal(tw_get16(octets), 0xf1f2);
    assert_int_equal(tw_get32(octets), 0xf1f2f3f4);
    assert_int_equal(tw_get64(octets), UINT64_C(0xf1f2f3f4f5f6f7f8));
    uint8_t out[8] = {0};
    tw_put16(out, 0xf1f2);
    assert_memory_equal(out, octets, 2);
    tw_put32(out, 0xf1f2f3f4);
    assert_memory_equal(out, octets, 4);
    tw_put64(out, UINT64_C(0xf1f2f3f4f5f6f7f8));
    assert_memory_equal(out, octets, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_too_short_is_refused_and_nothing_written),
        cmocka_unit_test(exactly_the_fields_of_the_tables_are_kept),
        cmocka_unit_test(every_octet_is_written_and_none_beyond),
        cmocka_unit_test(octets_after_the_message_are_not_looked_at),
        cmocka_unit_test(reply_that_ends_before_sender_ttl_has_no_ttl),
        cmocka_unit_test(octet_41_is_padding_unless_dscp_was_agreed),
        cmocka_unit_test(stamp_is_written_alone),
        cmocka_unit_test(receive_timestamp_is_read_alone),
        cmocka_unit_test(ipv4_address_is_four_octets_and_the_rest_ignored),
        cmocka_unit_test(length_of_a_command_is_known_from_its_first_block),
        cmocka_unit_test(type_p_is_six_bits_of_dscp_under_two_zero_bits),
        cmocka_unit_test(sizes_follow_the_modes),
        cmocka_unit_test(truncation_follows_the_modes),
        cmocka_unit_test(every_accept_value_has_words),
        cmocka_unit_test(every_result_has_words),
        cmocka_unit_test(integers_are_big_endian),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
