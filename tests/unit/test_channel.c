/* lib/channel.h: messages cut at every octet, the limits of both buffers, and a long random
 * exchange whose octets must come out as they went in. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <string.h>

#include "lib/channel.h"
#include "lib/crypto.h"
#include "lib/server.h"

/* Of one channel at a time. */
static uint8_t input[TW_SERVER_IN], output[TW_SERVER_OUT];
static const struct tw_channel_memory memory = {
    .in = input, .out = output, .in_size = sizeof input, .out_size = sizeof output};

/* Feeds at most n octets, as a driver would; returns how many the channel took. */
static size_t feed(struct tw_channel *channel, const uint8_t *octets, size_t n)
{
    size_t room;
    uint8_t *in = tw_channel_input(channel, &room);
    const size_t taken = n < room ? n : room;
    memcpy(in, octets, taken);
    tw_channel_received(channel, taken);
    return taken;
}

/* Takes at most n octets of output; returns how many there were. */
static size_t drain(struct tw_channel *channel, uint8_t *octets, size_t n)
{
    size_t left;
    const uint8_t *out = tw_channel_output(channel, &left);
    const size_t taken = n < left ? n : left;
    memcpy(octets, out, taken);
    tw_channel_sent(channel, taken);
    return taken;
}

static size_t waiting(const struct tw_channel *channel)
{
    size_t n;
    (void)tw_channel_output(channel, &n);
    return n;
}

/* Queues n octets of that value. */
static void queue(struct tw_channel *channel, int octet, size_t n)
{
    memset(tw_channel_place(channel, n), octet, n);
    tw_channel_queue(channel, n);
}

static size_t input_room(struct tw_channel *channel)
{
    size_t n;
    (void)tw_channel_input(channel, &n);
    return n;
}

static void new_channel_waits_and_has_nothing_to_say(void **state)
{
    (void)state;
    struct tw_channel channel;
    memset(&channel, 0xff, sizeof channel);
    tw_channel_init(&channel, &memory, TW_GREETING_SIZE);
    assert_int_equal(input_room(&channel), TW_GREETING_SIZE);
    assert_false(tw_channel_complete(&channel));
    assert_int_equal(waiting(&channel), 0);
    assert_true(tw_channel_has_room(&channel, TW_SERVER_OUT));
    assert_false(tw_channel_has_room(&channel, TW_SERVER_OUT + 1));
    assert_false(tw_channel_has_room(&channel, SIZE_MAX));
}

static void message_cut_at_any_octet_is_put_together(void **state)
{
    (void)state;
    uint8_t request[TW_REQUEST_SIZE];
    tw_put_request(request, &(struct tw_request){.ipvn = 6, .padding_length = 0x01020304});
    for (size_t cut = 0; cut <= sizeof request; cut++) {
        struct tw_channel channel;
        tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
        const size_t pieces[] = {cut, sizeof request};
        size_t at = 0;
        for (size_t i = 0; i < 2; i++) {
            while (at < pieces[i]) {
                at += feed(&channel, request + at, pieces[i] - at);
                if (!tw_channel_complete(&channel))
                    continue;
                assert_true(at == TW_COMMAND_HEAD_SIZE || at == sizeof request);
                if (at == TW_COMMAND_HEAD_SIZE)
                    tw_channel_expect(&channel, tw_command_size(input));
            }
        }
        assert_true(tw_channel_complete(&channel));
        assert_int_equal(input_room(&channel), 0);
        assert_memory_equal(input, request, sizeof request);
    }
}

static void octets_of_the_next_message_are_not_taken_early(void **state)
{
    (void)state;
    uint8_t two[TW_START_SESSIONS_SIZE + TW_STOP_SESSIONS_SIZE];
    tw_put_start_sessions(two);
    tw_put_stop_sessions(two + TW_START_SESSIONS_SIZE, &(struct tw_stop_sessions){.sessions = 1});

    struct tw_channel channel;
    tw_channel_init(&channel, &memory, TW_START_SESSIONS_SIZE);
    const size_t first = feed(&channel, two, sizeof two);
    assert_int_equal(first, TW_START_SESSIONS_SIZE);
    assert_true(tw_channel_complete(&channel));
    assert_int_equal(input[0], TW_COMMAND_START_SESSIONS);
    assert_int_equal(feed(&channel, two + first, sizeof two - first), 0);

    tw_channel_next(&channel, TW_STOP_SESSIONS_SIZE);
    assert_false(tw_channel_complete(&channel));
    assert_int_equal(feed(&channel, two + first, sizeof two - first), TW_STOP_SESSIONS_SIZE);
    assert_true(tw_channel_complete(&channel));
    assert_int_equal(input[0], TW_COMMAND_STOP_SESSIONS);
}

static void largest_message_fits(void **state)
{
    (void)state;
    uint8_t message[TW_SERVER_IN];
    memset(message, 0x5a, sizeof message);
    memset(message, 0, TW_COMMAND_HEAD_SIZE);
    message[0] = TW_COMMAND_STOP_N_SESSIONS;
    message[15] = TW_SIDS_MAX;
    struct tw_channel channel;
    tw_channel_init(&channel, &memory, TW_COMMAND_HEAD_SIZE);
    assert_int_equal(feed(&channel, message, sizeof message), TW_COMMAND_HEAD_SIZE);
    assert_int_equal(tw_command_size(input), TW_SERVER_IN);
    tw_channel_expect(&channel, TW_SERVER_IN);
    assert_int_equal(feed(&channel, message + TW_COMMAND_HEAD_SIZE, sizeof message),
                     TW_SERVER_IN - TW_COMMAND_HEAD_SIZE);
    assert_true(tw_channel_complete(&channel));
    assert_memory_equal(input, message, sizeof message);
}

static void message_of_no_octets_is_complete(void **state)
{
    (void)state;
    struct tw_channel channel;
    tw_channel_init(&channel, &memory, 0);
    assert_true(tw_channel_complete(&channel));
    assert_int_equal(input_room(&channel), 0);
}

static void answers_leave_in_the_order_they_were_queued(void **state)
{
    (void)state;
    struct tw_channel channel;
    tw_channel_init(&channel, &memory, 1);
    queue(&channel, 'a', 48);
    queue(&channel, 'b', 32);
    assert_int_equal(waiting(&channel), 80);
    uint8_t taken[80];
    for (size_t i = 0; i < sizeof taken; i++)
        assert_int_equal(drain(&channel, taken + i, 1), 1);
    for (size_t i = 0; i < sizeof taken; i++)
        assert_int_equal(taken[i], i < 48 ? 'a' : 'b');
    assert_int_equal(waiting(&channel), 0);
}

static void answers_not_yet_sent_take_room(void **state)
{
    (void)state;
    struct tw_channel channel;
    tw_channel_init(&channel, &memory, 1);
    queue(&channel, 'a', TW_SERVER_OUT - 32);
    assert_true(tw_channel_has_room(&channel, 32));
    assert_false(tw_channel_has_room(&channel, 33));
    queue(&channel, 'b', 32);
    assert_true(tw_channel_has_room(&channel, 0));
    assert_false(tw_channel_has_room(&channel, 1));

    /* What has left makes room at once, although the rest still waits. */
    uint8_t taken[TW_SERVER_OUT];
    assert_int_equal(drain(&channel, taken, 100), 100);
    assert_true(tw_channel_has_room(&channel, 100));
    assert_false(tw_channel_has_room(&channel, 101));
    queue(&channel, 'c', 100);
    assert_int_equal(drain(&channel, taken, sizeof taken), TW_SERVER_OUT);
    for (size_t i = 0; i < TW_SERVER_OUT; i++)
        assert_int_equal(taken[i], i < TW_SERVER_OUT - 132   ? 'a'
                                   : i < TW_SERVER_OUT - 100 ? 'b'
                                                             : 'c');
    assert_true(tw_channel_has_room(&channel, TW_SERVER_OUT));
}

/* Both directions carry a counted stream through messages, cuts and writes of random sizes. */
static void octets_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct tw_random random;
    const uint8_t seed[TW_RANDOM_SEED_SIZE] = "channel";
    tw_random_seed(&random, seed);
    struct tw_channel channel;
    tw_channel_init(&channel, &memory, 1);
    uint8_t queued = 0;
    uint8_t drained = 0;
    uint8_t fed = 0;
    uint8_t read = 0;
    for (int step = 0; step < 20000; step++) {
        const size_t n = tw_random_below(&random, TW_SERVER_OUT + 1);
        if (tw_channel_has_room(&channel, n)) {
            uint8_t *out = tw_channel_place(&channel, n);
            for (size_t i = 0; i < n; i++)
                out[i] = queued++;
            tw_channel_queue(&channel, n);
        }
        uint8_t octets[TW_SERVER_OUT];
        const size_t taken = drain(&channel, octets, tw_random_below(&random, 300));
        for (size_t i = 0; i < taken; i++)
            assert_int_equal(octets[i], drained++);

        const size_t arrived = tw_random_below(&random, 300);
        for (size_t i = 0; i < arrived; i++)
            octets[i] = (uint8_t)(fed + i);
        fed = (uint8_t)(fed + feed(&channel, octets, arrived));
        if (tw_channel_complete(&channel)) {
            const size_t next = 1 + tw_random_below(&random, TW_SERVER_IN);
            for (size_t i = 0; i < channel.have; i++)
                assert_int_equal(input[i], read++);
            tw_channel_next(&channel, next);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_channel_waits_and_has_nothing_to_say),
        cmocka_unit_test(message_cut_at_any_octet_is_put_together),
        cmocka_unit_test(octets_of_the_next_message_are_not_taken_early),
        cmocka_unit_test(largest_message_fits),
        cmocka_unit_test(message_of_no_octets_is_complete),
        cmocka_unit_test(answers_leave_in_the_order_they_were_queued),
        cmocka_unit_test(answers_not_yet_sent_take_room),
        cmocka_unit_test(octets_come_out_as_they_went_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
