/* The Server machine and the Modes field: which selections it serves, and what the features of RFC
 * 6038 and RFC 7750 change of a request and its answer. */
#include "secured_client.h"
#include "server_rig.h"

/* The number of bits that are set. */
static unsigned ones(uint32_t bits)
{
    unsigned n = 0;
    for (; bits != 0; bits &= bits - 1)
        n++;
    return n;
}

static void assert_selection(uint32_t offered, uint32_t chosen)
{
    struct rig rig;
    struct stream in = {.n = 0};
    struct secured_client client;
    const uint32_t known = chosen & 0x3ff;
    const bool served = ones(known & 15) == 1 && (known & ~offered) == 0;
    secured_init(&client);
    rig_prepare(&rig);
    memcpy(rig.derived, client.derived, 16);
    rig.config.modes = offered;
    rig_begin(&rig);
    settle(&rig);
    assert_int_equal(tw_get32(rig.out.octets + 12), offered);
    secured_set_up(&client, &in, chosen, rig.out.octets + 16);
    forget(&rig);
    deliver_all(&rig, &in);
    assert_int_equal(rig.out.n, 48);
    if (!served) {
        assert_only_closed(&rig, TW_SERVER_CLOSE_MODE);
        assert_zero(rig.out.octets, 15);
        assert_int_equal(rig.out.octets[15], 3);
        assert_zero(rig.out.octets + 16, 32);
        return;
    }
    const bool secured = (known & 1) == 0;
    assert_int_equal(rig.event_count, secured ? 2 : 1);
    assert_int_equal(rig.events[0].type, secured ? TW_SERVER_KEY : TW_SERVER_SET_UP);
    assert_int_equal(rig.events[rig.event_count - 1].type, TW_SERVER_SET_UP);
    assert_int_equal(rig.events[rig.event_count - 1].mode, known);
    assert_int_equal(rig.out.octets[15], 0);
    if (!secured)
        assert_zero(rig.out.octets + 16, 16);
    assert_int_equal(tw_get64(rig.out.octets + 32) == START_TIME, !secured);
}

static void what_was_offered_is_served_and_nothing_else(void **state)
{
    (void)state;
    static const uint32_t offers[] = {1, 2, 4, 8, 15, 0x31, 0x7e, 0x17f, 0x201, ALL_MODES};
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++)
        for (uint32_t chosen = 1; chosen < 0x400; chosen++)
            assert_selection(offers[i], chosen);
}

static void bits_of_the_future_are_ignored(void **state)
{
    (void)state;
    for (unsigned bit = 10; bit < 32; bit++) {
        assert_selection(ALL_MODES, UINT32_C(1) << bit | 1);
        assert_selection(ALL_MODES, UINT32_C(1) << bit | 0x34);
        assert_selection(ALL_MODES, UINT32_C(1) << bit);
    }
}

/* A connection of these modes without its cryptography: the machine is told that it is set up. */
static void rig_with_modes(struct rig *rig, uint32_t modes)
{
    rig_prepare(rig);
    rig->config.modes = ALL_MODES;
    rig->config.max_payload = 0;
    rig_set_up_mode(rig, (modes & TW_MODE_FEATURES) | TW_MODE_UNAUTHENTICATED);
    rig->server.mode = modes;
}

static uint8_t *add_reflect_request(struct stream *in, uint32_t padding, uint16_t reflected)
{
    uint8_t *request = add_request(in);
    tw_put32(request + 64, padding);
    request[88] = 0xa5;
    request[89] = 0x3c;
    tw_put16(request + 90, reflected);
    return request;
}

/* Whether a request is served; either way the answer has the octets to be reflected. */
static bool serves_reflecting(uint32_t modes, uint32_t padding, uint16_t reflected)
{
    struct rig rig;
    struct stream in = {.n = 0};
    rig_with_modes(&rig, modes | TW_MODE_REFLECT_OCTETS);
    add_reflect_request(&in, padding, reflected);
    deliver_all(&rig, &in);
    assert_int_equal(rig.out.n, 48);
    assert_int_equal(tw_get16(rig.out.octets + 20), 0xa53c);
    assert_zero(rig.out.octets + 22, 26); /* Server octets among them */
    const struct tw_server_event *event = only_event(&rig);
    if (event->type == TW_SERVER_REQUEST) {
        assert_int_equal(rig.out.octets[0], 0);
        assert_int_equal(event->request.reflect_octets, 0xa53c);
        assert_int_equal(event->request.reflect_length, reflected);
        return true;
    }
    assert_int_equal(event->type, TW_SERVER_REJECT);
    assert_int_equal(event->reject.reason, TW_SERVER_REJECT_REFLECT);
    assert_int_equal(rig.out.octets[0], 3);
    assert_zero(rig.out.octets + 1, 19);
    return false;
}

/* RFC 6038 section 4.2: D octets are cut off a packet to make its reply as long. */
static void padding_must_outlast_truncation(void **state)
{
    (void)state;
    static const struct {
        uint32_t modes, cut;
    } cases[] = {{1, 27},     {8, 27},     {2, 64},     {4, 64},    {0x101, 28},
                 {0x108, 28}, {0x102, 64}, {0x104, 64}, {0x211, 27}};
    static const uint16_t reflected[] = {0, 1, 2, 3, 100, 65000 - 64};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(reflected); j++) {
            const uint32_t least = cases[i].cut + reflected[j];
            assert_false(serves_reflecting(cases[i].modes, 0, reflected[j]));
            assert_false(serves_reflecting(cases[i].modes, reflected[j], reflected[j]));
            assert_false(serves_reflecting(cases[i].modes, least - 1, reflected[j]));
            assert_true(serves_reflecting(cases[i].modes, least, reflected[j]));
            assert_true(serves_reflecting(cases[i].modes, least + 1, reflected[j]));
        }
    }
}

static void symmetrical_padding_must_be_longer_than_what_is_reflected(void **state)
{
    (void)state;
    static const uint32_t modes[] = {0x41, 0x42, 0x44, 0x48, 0x141, 0x142};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        assert_true(serves_reflecting(modes[i], 0, 0));
        assert_false(serves_reflecting(modes[i], 0, 1));
        assert_false(serves_reflecting(modes[i], 40, 40));
        assert_true(serves_reflecting(modes[i], 41, 40));
        assert_false(serves_reflecting(modes[i], 40, UINT16_MAX));
    }
}

static void octets_to_reflect_come_back_with_every_refusal(void **state)
{
    (void)state;
    for (unsigned fault = 0; fault < 3; fault++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_with_modes(&rig, TW_MODE_UNAUTHENTICATED | TW_MODE_REFLECT_OCTETS);
        uint8_t *request = add_reflect_request(&in, 64, 2);
        if (fault == 0)
            rig.accept = TW_ACCEPT_TEMPORARY_LIMIT; /* the driver's */
        else if (fault == 1)
            request[1] = 5; /* IP of no known version */
        else
            request[7] = 1; /* a schedule slot, which ends the connection */
        deliver_all(&rig, &in);
        assert_int_equal(rig.out.n, 48);
        assert_int_equal(rig.out.octets[0], fault == 0 ? 5 : 3);
        assert_zero(rig.out.octets + 1, 19);
        assert_int_equal(tw_get16(rig.out.octets + 20), 0xa53c);
        assert_zero(rig.out.octets + 22, 26);
    }
    struct rig rig;
    struct stream in = {.n = 0};
    rig_with_modes(&rig, TW_MODE_UNAUTHENTICATED | TW_MODE_REFLECT_OCTETS);
    add_reflect_request(&in, 64, 2);
    add_start(&in);
    add_reflect_request(&in, 64, 2); /* not now */
    add_start(&in);                  /* an Accept-Session, but not for a request */
    deliver_all(&rig, &in);
    assert_int_equal(rig.out.n, 48 + 32 + 48 + 48);
    assert_int_equal(rig.out.octets[80], 3);
    assert_int_equal(tw_get16(rig.out.octets + 80 + 20), 0xa53c);
    assert_int_equal(rig.out.octets[128], 3);
    assert_zero(rig.out.octets + 128 + 1, 47);
}

static void octets_to_reflect_mean_nothing_unless_chosen(void **state)
{
    (void)state;
    static const uint32_t modes[] = {1, 2, 0x41, 0x44, 0x358};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_with_modes(&rig, modes[i]);
        add_reflect_request(&in, 0, UINT16_MAX);
        add_reflect_request(&in, 0, UINT16_MAX)[1] = 9;
        deliver_all(&rig, &in);
        assert_int_equal(rig.events[0].type, TW_SERVER_REQUEST);
        assert_int_equal(rig.events[0].request.reflect_octets, 0);
        assert_int_equal(rig.events[0].request.reflect_length, 0);
        assert_int_equal(rig.events[1].type, TW_SERVER_REJECT);
        assert_int_equal(rig.out.n, 96);
        assert_zero(rig.out.octets + 20, 28);
        assert_zero(rig.out.octets + 48 + 1, 47);
    }
}

static void assert_largest_padding(uint32_t modes, uint32_t header)
{
    for (uint32_t over = 0; over < 2; over++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_with_modes(&rig, modes);
        rig.config.max_payload = 2000;
        tw_put32(add_request(&in) + 64, 2000 - header + over);
        deliver_all(&rig, &in);
        if (over == 0)
            assert_int_equal(only_event(&rig)->type, TW_SERVER_REQUEST);
        else
            assert_rejected(&rig, TW_SERVER_REJECT_PADDING, 5);
    }
}

/* What comes before the padding of a sender packet, by RFC 5357, RFC 6038 and RFC 7750. */
static void size_of_packets_is_that_of_the_modes(void **state)
{
    (void)state;
    assert_largest_padding(TW_MODE_UNAUTHENTICATED, 14);
    assert_largest_padding(TW_MODE_AUTHENTICATED, 48);
    assert_largest_padding(TW_MODE_ENCRYPTED, 48);
    assert_largest_padding(TW_MODE_MIXED, 14);
    assert_largest_padding(TW_MODE_UNAUTHENTICATED | TW_MODE_DSCP_ECN, 14);
    assert_largest_padding(TW_MODE_UNAUTHENTICATED | TW_MODE_SYMMETRICAL, 41);
    assert_largest_padding(TW_MODE_MIXED | TW_MODE_SYMMETRICAL, 41);
    assert_largest_padding(TW_MODE_ENCRYPTED | TW_MODE_SYMMETRICAL, 112);
    assert_largest_padding(TW_MODE_UNAUTHENTICATED | TW_MODE_SYMMETRICAL | TW_MODE_DSCP_ECN, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_offered_is_served_and_nothing_else),
        cmocka_unit_test(bits_of_the_future_are_ignored),
        cmocka_unit_test(padding_must_outlast_truncation),
        cmocka_unit_test(symmetrical_padding_must_be_longer_than_what_is_reflected),
        cmocka_unit_test(octets_to_reflect_come_back_with_every_refusal),
        cmocka_unit_test(octets_to_reflect_mean_nothing_unless_chosen),
        cmocka_unit_test(size_of_packets_is_that_of_the_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
