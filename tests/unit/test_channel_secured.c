/* lib/channel.h on secured streams: the known-answer vectors of a whole control connection, of
 * which two independent libraries made the same octets, in both directions; and what a channel says
 * to octets that were altered, left out or sent again. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <string.h>

#include "lib/channel.h"
#include "unit/hex.h"

/* Of one channel at a time. */
static uint8_t input[TW_REQUEST_SIZE], output[4 * TW_REQUEST_SIZE];
static struct tw_channel_ciphers ciphers;
static const struct tw_channel_memory memory = {.in = input,
                                                .out = output,
                                                .in_size = sizeof input,
                                                .out_size = sizeof output,
                                                .ciphers = &ciphers};

struct vector {
    const char *plain, *cipher;
};

/* Client to server, in this order. */
static const struct vector commands[] = {
    {"0504000000000000000000004e204e21c000020a000000000000000000000000c0000201000000000000000000000"
     "000"
     "0000000000000000000000000000000000000040000000000000000000000002000000002e0000000000000000000"
     "000"
     "7c3b2a78383e546d00cd6b38d1b68606",
     "9424581769f53fa30acc683297f459cbe5627538cdd73d46b0f8a7648f26a06ceb68c62987465a81c81013c56326a"
     "3ad"
     "488c70bbc73550e1eb99a323254f7f4648598abdad8d3a1f16033c5eb3ef2b5a4f9a773ce3ddf85da2ef8ab906e99"
     "051"
     "cb9a339199891793fb66c968fb4bf812"},
    {"02000000000000000000000000000000281fc9a23939a4f730fbf9f8541361a8",
     "7267f175f955cef96987644bedde0a496cee958cd52a5be8bbf47b128981edbb"},
    {"0300000000000001000000000000000019a285399efbb807140ca65a26e37ad7",
     "ee8d133224e8f314d3ecc3df68dafdf4b4c995447b16b91520fbfae8328f25c8"},
};

/* Server to client, after the last block of Server-Start. */
static const char start_plain[] = "e9a1b2c0000000000000000000000000";
static const char start_cipher[] = "3c839fcf724744a3265b9f22e5b998b1";
static const struct vector answers[] = {
    {"00004e21c0000201e9a1b2c380000000deadbeef000000000000000000000000"
     "4e30d463ed5ee19a3797c935cbec6489",
     "a78b0d36cf77ef83a3e8b4f219f8875387b4992d34771a230ea1ad8dadf5ab2d"
     "2a4bf0cfa333930952b7832d14e94e1d"},
    {"00000000000000000000000000000000b4989964058c1e70848246c27e95aca2",
     "180a5ab53fa2b76e29823e78d9c05ca29d67a47af69618df11435fe565ea2447"},
};

enum {
    COMMANDS = sizeof commands / sizeof commands[0],
    ANSWERS = sizeof answers / sizeof answers[0],
    LONGEST = TW_REQUEST_SIZE,
};

static void count_from(uint8_t *out, size_t n, unsigned first)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(first + i);
}

enum side { CLIENT, SERVER };

/* Both IVs are the vectors': 50..5f of the client, 60..6f of the server. */
static void secure(struct tw_channel *channel, enum side side)
{
    struct tw_keys keys;
    uint8_t client_iv[16];
    uint8_t server_iv[16];
    count_from(keys.aes, sizeof keys.aes, 0x20);
    count_from(keys.hmac, sizeof keys.hmac, 0x30);
    count_from(client_iv, sizeof client_iv, 0x50);
    count_from(server_iv, sizeof server_iv, 0x60);
    if (side == SERVER)
        tw_channel_secure(channel, &keys, client_iv, server_iv);
    else
        tw_channel_secure(channel, &keys, server_iv, client_iv);
}

static void put_message(struct tw_channel *channel, const char *plain)
{
    uint8_t message[LONGEST];
    const size_t n = octets_from_hex(plain, message, sizeof message);
    uint8_t *place = tw_channel_place(channel, n);
    memcpy(place, message, n - TW_HMAC_SIZE);
    memset(place + n - TW_HMAC_SIZE, 0, TW_HMAC_SIZE);
    tw_channel_queue(channel, n);
}

static void assert_output(struct tw_channel *channel, const char *cipher)
{
    uint8_t expected[LONGEST];
    const size_t n = octets_from_hex(cipher, expected, sizeof expected);
    size_t queued;
    const uint8_t *out = tw_channel_output(channel, &queued);
    assert_int_equal(queued, n);
    assert_memory_equal(out, expected, n);
    tw_channel_sent(channel, n);
}

/* Feeds n octets, `piece` at a time, as one message. */
static void feed(struct tw_channel *channel, const uint8_t *octets, size_t n, size_t piece)
{
    tw_channel_expect(channel, n);
    for (size_t at = 0; at < n; at += piece) {
        size_t room;
        uint8_t *in = tw_channel_input(channel, &room);
        assert_int_equal(room, n - at);
        const size_t part = n - at < piece ? n - at : piece;
        memcpy(in, octets + at, part);
        tw_channel_received(channel, part);
    }
    assert_true(tw_channel_complete(channel));
}

static void take_message(struct tw_channel *channel, const struct vector *vector, size_t piece)
{
    uint8_t plain[LONGEST];
    uint8_t cipher[LONGEST];
    const size_t n = octets_from_hex(vector->plain, plain, sizeof plain);
    octets_from_hex(vector->cipher, cipher, sizeof cipher);
    feed(channel, cipher, n, piece);
    assert_memory_equal(input, plain, n);
    assert_true(tw_channel_verify(channel));
    tw_channel_next(channel, TW_COMMAND_HEAD_SIZE);
}

static void commands_leave_as_in_the_known_answers(void **state)
{
    (void)state;
    struct tw_channel channel;
    tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
    secure(&channel, CLIENT);
    for (size_t i = 0; i < COMMANDS; i++) {
        put_message(&channel, commands[i].plain);
        assert_output(&channel, commands[i].cipher);
    }
}

static void commands_of_any_cut_are_understood(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= LONGEST; piece++) {
        struct tw_channel channel;
        tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
        secure(&channel, SERVER);
        for (size_t i = 0; i < COMMANDS; i++)
            take_message(&channel, &commands[i], piece);
    }
}

static void queue_server_start(struct tw_channel *channel)
{
    uint8_t *place = tw_channel_place(channel, TW_SERVER_START_SIZE);
    struct tw_server_start start = {.start_time = UINT64_C(0xe9a1b2c000000000)};
    count_from(start.server_iv, sizeof start.server_iv, 0x60);
    tw_put_server_start(place, &start);
    secure(channel, SERVER);
    tw_channel_queue_server_start(channel);
}

static void answers_leave_as_in_the_known_answers(void **state)
{
    (void)state;
    struct tw_channel channel;
    tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
    queue_server_start(&channel);
    size_t n;
    const uint8_t *out = tw_channel_output(&channel, &n);
    uint8_t block[16];
    octets_from_hex(start_cipher, block, sizeof block);
    assert_int_equal(n, TW_SERVER_START_SIZE);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(out[i], 0);
    assert_int_equal(out[16], 0x60);
    assert_memory_equal(out + 32, block, sizeof block);
    tw_channel_sent(&channel, n);
    for (size_t i = 0; i < ANSWERS; i++) {
        put_message(&channel, answers[i].plain);
        assert_output(&channel, answers[i].cipher);
    }
}

/* A client that has read Server-Start up to the given last block. */
static void client_with_server_start(struct tw_channel *channel, const uint8_t block[16])
{
    uint8_t start[TW_SERVER_START_SIZE] = {0};
    count_from(start + 16, 16, 0x60);
    memcpy(start + 32, block, 16);
    tw_channel_init(channel, &memory, TW_SERVER_START_SIZE);
    feed(channel, start, sizeof start, sizeof start);
    secure(channel, CLIENT);
    tw_channel_open_server_start(channel);
}

static void answers_of_any_cut_are_understood(void **state)
{
    (void)state;
    uint8_t cipher[16];
    uint8_t plain[16];
    octets_from_hex(start_cipher, cipher, sizeof cipher);
    octets_from_hex(start_plain, plain, sizeof plain);
    for (size_t piece = 1; piece <= TW_ACCEPT_SESSION_SIZE; piece++) {
        struct tw_channel channel;
        client_with_server_start(&channel, cipher);
        assert_memory_equal(input + 32, plain, sizeof plain);
        tw_channel_next(&channel, TW_COMMAND_HEAD_SIZE);
        for (size_t i = 0; i < ANSWERS; i++)
            take_message(&channel, &answers[i], piece);
    }
}

/* The first HMAC covers the Start-Time: altered there, it shows with the next message. */
static void altered_server_start_is_seen_with_the_first_answer(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 128; bit++) {
        struct tw_channel channel;
        uint8_t block[16];
        uint8_t answer[TW_ACCEPT_SESSION_SIZE];
        octets_from_hex(start_cipher, block, sizeof block);
        octets_from_hex(answers[0].cipher, answer, sizeof answer);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        client_with_server_start(&channel, block);
        tw_channel_next(&channel, TW_COMMAND_HEAD_SIZE);
        feed(&channel, answer, sizeof answer, sizeof answer);
        assert_false(tw_channel_verify(&channel));
    }
}

/* The vectors' Accept-Session with an HMAC that leaves Server-Start out, as one reading of the
 * standard had it. */
static void hmac_without_server_start_is_wrong(void **state)
{
    (void)state;
    static const char wrong[] = "c3aa6ac0b246cc8db4705b967c8325c0";
    struct tw_channel channel;
    struct tw_keys keys;
    struct tw_cipher cipher;
    uint8_t chain[16];
    uint8_t answer[TW_ACCEPT_SESSION_SIZE];
    octets_from_hex(start_cipher, chain, sizeof chain);
    client_with_server_start(&channel, chain);
    tw_channel_next(&channel, TW_COMMAND_HEAD_SIZE);
    octets_from_hex(answers[0].plain, answer, sizeof answer);
    octets_from_hex(wrong, answer + 32, 16);
    count_from(keys.aes, sizeof keys.aes, 0x20);
    tw_cipher_init_encrypt(&cipher, keys.aes);
    tw_cipher_cbc_encrypt(&cipher, chain, answer, answer, sizeof answer);
    feed(&channel, answer, sizeof answer, sizeof answer);
    assert_false(tw_channel_verify(&channel));
}

static void every_altered_bit_of_a_command_is_seen(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 8 * TW_REQUEST_SIZE; bit++) {
        struct tw_channel channel;
        uint8_t request[TW_REQUEST_SIZE];
        tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
        secure(&channel, SERVER);
        octets_from_hex(commands[0].cipher, request, sizeof request);
        request[bit / 8] ^= (uint8_t)(1u << bit % 8);
        feed(&channel, request, sizeof request, sizeof request);
        assert_false(tw_channel_verify(&channel));
    }
}

static void command_left_out_or_sent_again_is_seen(void **state)
{
    (void)state;
    uint8_t start[TW_START_SESSIONS_SIZE];
    struct tw_channel channel;
    octets_from_hex(commands[1].cipher, start, sizeof start);
    tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
    secure(&channel, SERVER);
    feed(&channel, start, sizeof start, sizeof start);
    assert_false(tw_channel_verify(&channel));

    tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
    secure(&channel, SERVER);
    take_message(&channel, &commands[0], LONGEST);
    take_message(&channel, &commands[1], LONGEST);
    feed(&channel, start, sizeof start, sizeof start);
    assert_false(tw_channel_verify(&channel));
}

/* Nothing is verified on a stream that is not secured: HMAC fields are MBZ there. */
static void clear_stream_leaves_hmac_fields_alone(void **state)
{
    (void)state;
    struct tw_channel channel;
    uint8_t start[TW_START_SESSIONS_SIZE];
    octets_from_hex(commands[1].plain, start, sizeof start);
    tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
    feed(&channel, start, sizeof start, 1);
    assert_true(tw_channel_verify(&channel));
    assert_memory_equal(input, start, sizeof start);
    put_message(&channel, commands[1].plain);
    assert_output(&channel, "0200000000000000000000000000000000000000000000000000000000000000");
}

static void wiped_channel_holds_nothing(void **state)
{
    (void)state;
    static const uint8_t zero[sizeof ciphers > sizeof output ? sizeof ciphers : sizeof output];
    struct tw_channel channel;
    tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
    secure(&channel, SERVER);
    take_message(&channel, &commands[0], LONGEST);
    put_message(&channel, answers[0].plain);
    tw_channel_wipe(&channel);
    assert_memory_equal(input, zero, sizeof input);
    assert_memory_equal(output, zero, sizeof output);
    assert_memory_equal(&ciphers, zero, sizeof ciphers);
    assert_false(channel.secured);
    size_t n;
    tw_channel_output(&channel, &n);
    assert_int_equal(n, 0);
    tw_channel_input(&channel, &n);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_leave_as_in_the_known_answers),
        cmocka_unit_test(commands_of_any_cut_are_understood),
        cmocka_unit_test(answers_leave_as_in_the_known_answers),
        cmocka_unit_test(answers_of_any_cut_are_understood),
        cmocka_unit_test(altered_server_start_is_seen_with_the_first_answer),
        cmocka_unit_test(hmac_without_server_start_is_wrong),
        cmocka_unit_test(every_altered_bit_of_a_command_is_seen),
        cmocka_unit_test(command_left_out_or_sent_again_is_seen),
        cmocka_unit_test(clear_stream_leaves_hmac_fields_alone),
        cmocka_unit_test(wiped_channel_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
