/* The Control-Client machine and the question for a key: which Count it accepts, when it may be
 * answered, what a refusal of Server-Start then means, and that no weaker mode takes its place. */
#include "secured_server.h"

static const uint32_t modes_with_keys[] = {2, 4, 8};

static void key_is_asked_for_with_salt_and_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes_with_keys); i++) {
        struct secured_rig it;
        struct stream in = {.n = 0};
        uint8_t salt[16];
        octets_from_hex(VECTOR_SALT, salt, sizeof(salt));
        begin_secured(&it, modes_with_keys[i]);
        add_vector_greeting(&in, 0xf);
        deliver_all(&it.rig, &in);
        assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_KEY);
        assert_int_equal(only_event(&it.rig)->key.count, VECTOR_COUNT);
        assert_memory_equal(only_event(&it.rig)->key.salt, salt, sizeof(salt));
        assert_int_equal(it.rig.out.n, 0);
        assert_int_equal(it.rig.client.step, TW_CLIENT_STEP_KEY);
    }
}

static void assert_count(uint32_t mode, uint32_t max_count, uint32_t count, bool good)
{
    struct secured_rig it;
    struct stream in = {.n = 0};
    begin_secured(&it, mode);
    it.rig.config.max_count = max_count;
    tw_put32(add_vector_greeting(&in, 0xf) + 48, count);
    deliver_all(&it.rig, &in);
    assert_int_equal(it.rig.out.n, 0);
    if (good)
        assert_int_equal(only_event(&it.rig)->type, TW_CLIENT_KEY);
    else
        assert_failed(&it.rig, TW_CLIENT_COUNT, TW_CLIENT_STEP_GREETING, 0);
}

static void count_is_a_power_of_two_within_the_limits(void **state)
{
    (void)state;
    static const uint32_t good[] = {1024, 2048, 4096, 8192, 16384, 32768};
    static const uint32_t bad[] = {0,
                                   1,
                                   2,
                                   512,
                                   1000,
                                   1023,
                                   1025,
                                   2047,
                                   3072,
                                   10000,
                                   32767,
                                   32769,
                                   49152,
                                   65536,
                                   1u << 20,
                                   1u << 30,
                                   1u << 31,
                                   UINT32_MAX,
                                   UINT32_MAX - 1023};
    for (size_t i = 0; i < ARRAY_SIZE(modes_with_keys); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(good); j++)
            assert_count(modes_with_keys[i], 0, good[j], true);
        for (size_t j = 0; j < ARRAY_SIZE(bad); j++)
            assert_count(modes_with_keys[i], 0, bad[j], false);
    }
}

static void largest_count_is_the_driver_s_choice(void **state)
{
    (void)state;
    assert_count(4, 2048, 2048, true);
    assert_count(4, 2048, 4096, false);
    assert_count(4, 4095, 4096, false);
    assert_count(4, 1u << 20, 1u << 20, true);
    assert_count(4, 1u << 20, 1u << 21, false);
    assert_count(4, UINT32_MAX, 1u << 31, true);
    assert_count(4, 1000, 1024, false);
}

/* A limit that any stripped greeting would get round is none (RFC 4656 section 6.7). */
static void weaker_mode_never_takes_the_place_of_the_wanted_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes_with_keys); i++) {
        struct secured_rig it;
        struct stream in = {.n = 0};
        begin_secured(&it, modes_with_keys[i]);
        add_vector_greeting(&in, 0x3ff & ~modes_with_keys[i]);
        deliver_all(&it.rig, &in);
        assert_int_equal(it.rig.out.n, 0);
        assert_failed(&it.rig, TW_CLIENT_MODE_MISSING, TW_CLIENT_STEP_GREETING, 0);
    }
}

static void key_can_be_answered_once_and_after_the_question_only(void **state)
{
    (void)state;
    static const uint8_t derived[16] = {1};
    struct secured_rig it;
    struct tw_client *client = &it.rig.client;
    struct stream in = {.n = 0};
    size_t room;
    begin_secured(&it, 4);
    assert_int_equal(tw_client_answer_key(client, derived, &it.random, it.rig.now), TW_ERR_STATE);
    add_vector_greeting(&in, 0xf);
    memcpy(tw_client_input(client, &room), in.octets, 64);
    tw_client_received(client, 64, it.rig.now);
    /* not heard yet */
    assert_int_equal(tw_client_answer_key(client, derived, &it.random, it.rig.now), TW_ERR_STATE);
    settle(&it.rig);
    assert_int_equal(tw_client_answer_key(client, derived, &it.random, it.rig.now), TW_OK);
    assert_int_equal(tw_client_answer_key(client, derived, &it.random, it.rig.now), TW_ERR_STATE);
    settle(&it.rig);
    assert_int_equal(it.rig.out.n, 164);

    rig_set_up(&it.rig); /* where no key was asked for */
    assert_int_equal(tw_client_answer_key(client, derived, &it.random, it.rig.now), TW_ERR_STATE);
}

static void deriving_a_key_may_take_its_time_and_the_server_may_not(void **state)
{
    (void)state;
    struct secured_rig it;
    secured_key(&it, 4);
    assert_true(tw_mono_is_never(tw_client_deadline(&it.rig.client)));
    it.rig.now.ns += 1000 * STEP;
    tw_client_expire(&it.rig.client, it.rig.now);
    answer_key(&it);
    assert_int_equal(it.rig.event_count, 0);
    assert_int_equal(tw_client_deadline(&it.rig.client).ns, it.rig.now.ns + STEP);
    it.rig.now.ns += STEP;
    tw_client_expire(&it.rig.client, it.rig.now);
    assert_failed(&it.rig, TW_CLIENT_TIMED_OUT, TW_CLIENT_STEP_SET_UP, 0);
}

static void server_that_leaves_or_talks_during_derivation_is_noticed(void **state)
{
    (void)state;
    struct secured_rig it;
    struct stream in = {.n = 0};
    secured_key(&it, 4);
    tw_client_end(&it.rig.client);
    assert_failed(&it.rig, TW_CLIENT_ENDED, TW_CLIENT_STEP_KEY, 0);

    secured_key(&it, 4);
    add_server_start(&in, 0);
    deliver_all(&it.rig, &in);
    assert_failed(&it.rig, TW_CLIENT_UNEXPECTED, TW_CLIENT_STEP_KEY, 0);

    secured_key(&it, 4); /* begun before the response: it cannot be the answer to it */
    assert_int_equal(deliver(&it.rig, in.octets, 1, 1), 1);
    answer_key(&it);
    it.rig.event_count = 0;
    deliver(&it.rig, in.octets + 1, in.n - 1, SIZE_MAX);
    assert_int_equal(only_event(&it.rig)->failed.failure, TW_CLIENT_UNEXPECTED);
}

static void every_accept_of_server_start_in_modes_with_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes_with_keys); i++) {
        for (unsigned accept = 1; accept < 256; accept++) {
            struct secured_rig it;
            struct stream in = {.n = 0};
            secured_set_up_sent(&it, modes_with_keys[i]);
            add_server_start(&in, accept);
            deliver_all(&it.rig, &in);
            const bool failure = accept == 1 || accept > 5;
            assert_failed(&it.rig, failure ? TW_CLIENT_KEY_REFUSED : TW_CLIENT_REFUSED,
                          TW_CLIENT_STEP_SET_UP, (uint8_t)accept);
        }
    }
}

static void keyid_is_sent_whole(void **state)
{
    (void)state;
    struct secured_rig it;
    struct stream in = {.n = 0};
    begin_secured(&it, 2);
    memset(it.rig.config.keyid, 'k', 80);
    add_vector_greeting(&in, 0xf);
    deliver_all(&it.rig, &in);
    answer_key(&it);
    assert_memory_equal(it.rig.out.octets + 4, it.rig.config.keyid, 80);
}

/* RFC 4656 section 3.1: full entropy, and a Client-IV never twice under one key. */
static void session_keys_and_iv_are_new_on_every_connection(void **state)
{
    (void)state;
    enum { CONNECTIONS = 200 };
    static uint8_t responses[CONNECTIONS][80];
    static const uint8_t seed[TW_RANDOM_SEED_SIZE] = {9};
    struct tw_random random;
    tw_random_seed(&random, seed);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct secured_rig it;
        secured_key(&it, 4);
        it.random = random;
        answer_key(&it);
        random = it.random;
        memcpy(responses[i], it.rig.out.octets + 84, 80);
        for (size_t j = 0; j < i; j++)
            for (size_t block = 1; block < 5; block++) /* the first is the challenge, as always */
                assert_memory_not_equal(responses[i] + 16 * block, responses[j] + 16 * block, 16);
    }
}

/* What is sent and not zero where it must be, and bits that nobody knows, are noted. */
static void quirks_of_a_server_are_noted(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_begin(&rig);
    memset(add_greeting(&in, 1), 0x55, 12); /* unused: no MBZ */
    add_server_start(&in, 0);
    deliver_all(&rig, &in);
    assert_int_equal(rig.client.quirks, 0);

    static const size_t mbz[] = {52, 63, 64 + 0, 64 + 14, 64 + 40, 64 + 47};
    for (size_t i = 0; i < ARRAY_SIZE(mbz); i++) {
        struct stream odd = in;
        odd.octets[mbz[i]] = 1;
        rig_begin(&rig);
        deliver_all(&rig, &odd);
        assert_int_equal(rig.client.quirks, TW_QUIRK_MBZ);
    }
    rig_begin(&rig);
    tw_put32(in.octets + 12, UINT32_C(0x80000401));
    deliver_all(&rig, &in);
    assert_int_equal(rig.client.quirks, TW_QUIRK_UNKNOWN_MODES);
}

/* Octet `at` of an Accept-Session is set, on a connection with these features. */
static uint32_t quirks_of_accept_session(uint32_t features, unsigned accept, uint16_t port,
                                         size_t at, uint8_t value)
{
    struct rig rig;
    struct tw_request request;
    struct stream in = {.n = 0};
    rig_begin(&rig);
    rig.config.features = features;
    add_greeting(&in, 1 | features);
    add_server_start(&in, 0);
    deliver_all(&rig, &in);
    make_request(&request);
    request.reflect_octets = 0x0102;
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_OK);
    in.n = 0;
    uint8_t *answer = add_accept_session(&in, accept, port);
    if (features != 0 && accept == 0)
        tw_put16(answer + 20, 0x0102);
    answer[at] = value;
    deliver_all(&rig, &in);
    return rig.client.quirks;
}

static void quirks_of_an_accept_session_are_noted(void **state)
{
    (void)state;
    assert_int_equal(quirks_of_accept_session(0, 0, 7, 0, 0), 0);
    assert_int_equal(quirks_of_accept_session(0, 5, 0, 0, 5), 0);
    assert_int_equal(quirks_of_accept_session(0, 0, 0, 0, 0), TW_QUIRK_PORT_ZERO);
    assert_int_equal(quirks_of_accept_session(0, 4, 7, 0, 4), TW_QUIRK_PORT_REFUSED);
    static const size_t mbz[] = {1, 20, 23, 24, 31, 32, 47};
    for (size_t i = 0; i < ARRAY_SIZE(mbz); i++)
        assert_int_equal(quirks_of_accept_session(0, 0, 7, mbz[i], 1), TW_QUIRK_MBZ);
    assert_int_equal(quirks_of_accept_session(0x20, 0, 7, 0, 0), 0);
    assert_int_equal(quirks_of_accept_session(0x20, 0, 7, 22, 9), 0); /* Server octets */
    assert_int_equal(quirks_of_accept_session(0x20, 0, 7, 24, 9), TW_QUIRK_MBZ);
    assert_int_equal(quirks_of_accept_session(0x20, 0, 7, 20, 0xff), TW_QUIRK_REFLECTED_OCTETS);
    assert_int_equal(quirks_of_accept_session(0x20, 5, 0, 0, 5), 0);
}

static void quirks_of_a_start_ack_are_noted(void **state)
{
    (void)state;
    for (size_t at = 1; at < 32; at++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_start(&rig);
        add_start_ack(&in, 0);
        in.octets[at] = 1;
        deliver_all(&rig, &in);
        assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
        assert_int_equal(rig.client.quirks, TW_QUIRK_MBZ);
    }
    struct rig rig;
    struct stream in = {.n = 0};
    rig_test(&rig);
    assert_int_equal(rig.client.quirks, 0);
    add_stop(&in, 1);
    deliver_all(&rig, &in);
    assert_int_equal(rig.client.quirks, TW_QUIRK_SERVER_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_is_asked_for_with_salt_and_count),
        cmocka_unit_test(count_is_a_power_of_two_within_the_limits),
        cmocka_unit_test(largest_count_is_the_driver_s_choice),
        cmocka_unit_test(weaker_mode_never_takes_the_place_of_the_wanted_one),
        cmocka_unit_test(key_can_be_answered_once_and_after_the_question_only),
        cmocka_unit_test(deriving_a_key_may_take_its_time_and_the_server_may_not),
        cmocka_unit_test(server_that_leaves_or_talks_during_derivation_is_noticed),
        cmocka_unit_test(every_accept_of_server_start_in_modes_with_keys),
        cmocka_unit_test(keyid_is_sent_whole),
        cmocka_unit_test(session_keys_and_iv_are_new_on_every_connection),
        cmocka_unit_test(quirks_of_a_server_are_noted),
        cmocka_unit_test(quirks_of_an_accept_session_are_noted),
        cmocka_unit_test(quirks_of_a_start_ack_are_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
