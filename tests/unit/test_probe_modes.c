/* A probe in other modes than the plain one: the question for a key and its answers, what is asked
 * of the server for each mode and padding, and the fingerprint that a target leaves. */
#include "probe_rig.h"

#include <errno.h>

static const uint8_t derived[16] = "a derived secret";

static struct tw_probe_config plan_with(uint32_t mode)
{
    struct tw_probe_config config = rig_plan();
    config.client.mode = mode & TW_MODE_SECURITY;
    config.client.features = mode & TW_MODE_FEATURES;
    config.sender.padding_length = TW_PROBE_PADDING_EQUAL;
    return config;
}

static void greet(struct rig *rig, uint32_t modes, uint8_t salt)
{
    struct stream in = {.n = 0};
    memset(add_greeting(&in, modes) + 32, salt, 16);
    say(rig, &in);
}

/* The key is being derived. */
static struct tw_probe_salt rig_deriving(struct rig *rig)
{
    const struct tw_probe_config config = plan_with(TW_MODE_ENCRYPTED);
    rig_connected_with(rig, &config);
    greet(rig, 0xf, 0x11);
    return take(rig, TW_PROBE_KEY).key;
}

static void give_key(struct rig *rig, const struct tw_probe_salt *salt)
{
    tw_probe_key(&rig->probe, salt, derived, rig->now.mono);
    write_output(rig);
}

static void key_is_asked_for_once_with_salt_and_count(void **state)
{
    (void)state;
    struct rig rig;
    const struct tw_probe_salt salt = rig_deriving(&rig);
    uint8_t expected[16];
    memset(expected, 0x11, sizeof expected);
    assert_memory_equal(salt.salt, expected, sizeof expected);
    assert_int_equal(salt.count, 2048);
    assert_quiet(&rig);
    assert_int_equal(rig.out.n, 0);
    give_key(&rig, &salt);
    assert_int_equal(rig.out.n, 164);
    assert_int_equal(tw_get32(rig.out.octets), TW_MODE_ENCRYPTED);
    assert_quiet(&rig);
    give_key(&rig, &salt); /* once more changes nothing */
    assert_int_equal(rig.out.n, 164);
}

static void foreign_key_is_not_looked_at(void **state)
{
    (void)state;
    struct rig rig;
    const struct tw_probe_salt salt = rig_deriving(&rig);
    struct tw_probe_salt other = salt;
    other.salt[15] ^= 1;
    give_key(&rig, &other);
    other = salt;
    other.count = 4096;
    give_key(&rig, &other);
    assert_int_equal(rig.out.n, 0);
    assert_int_equal(rig.probe.client.step, TW_CLIENT_STEP_KEY);
    give_key(&rig, &salt);
    assert_int_equal(rig.out.n, 164);
}

static void key_before_the_question_is_none(void **state)
{
    (void)state;
    struct rig rig;
    const struct tw_probe_config config = plan_with(TW_MODE_AUTHENTICATED);
    struct tw_probe_salt salt = {.count = 2048};
    memset(salt.salt, 0x11, sizeof salt.salt);
    rig_begin_with(&rig, &config, 1);
    give_key(&rig, &salt);
    rig_connected_with(&rig, &config);
    give_key(&rig, &salt);
    greet(&rig, 0xf, 0x11);
    give_key(&rig, &salt); /* the event is not taken yet */
    assert_int_equal(rig.out.n, 0);
    take(&rig, TW_PROBE_KEY);
    give_key(&rig, &salt);
    assert_int_equal(rig.out.n, 164);
}

static void key_for_a_connection_that_is_gone_is_none(void **state)
{
    (void)state;
    struct rig rig;
    const struct tw_probe_salt salt = rig_deriving(&rig);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    give_key(&rig, &salt);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 1);
    wait_for(&rig, TW_PROBE_CONNECT);
    accept_connection(&rig);
    greet(&rig, 0xf, 0x22); /* restarted, with another salt */
    const struct tw_probe_salt new_salt = take(&rig, TW_PROBE_KEY).key;
    assert_int_equal(new_salt.salt[0], 0x22);
    give_key(&rig, &salt);
    assert_int_equal(rig.out.n, 0);
    give_key(&rig, &new_salt);
    assert_int_equal(rig.out.n, 164);
}

static void question_dies_with_its_connection(void **state)
{
    (void)state;
    struct rig rig;
    const struct tw_probe_config config = plan_with(TW_MODE_MIXED);
    rig_connected_with(&rig, &config);
    greet(&rig, 0xf, 0x11);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    struct tw_probe_event event;
    while (tw_probe_next_event(&rig.probe, &event))
        assert_int_not_equal(event.type, TW_PROBE_KEY);
}

static void key_that_never_comes_is_told_as_key(void **state)
{
    (void)state;
    struct rig rig;
    rig_deriving(&rig);
    for (int i = 0; i < 3; i++) {
        const struct tw_measurement m = wait_for_result(&rig);
        assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 7600 * MS + i * 10 * S);
        assert_int_equal(m.state, TW_MEASUREMENT_KEY);
        assert_int_equal(m.trouble.step, TW_CLIENT_STEP_KEY);
    }
}

/* A key that takes longer than an interval leaves is not asked for anew with each of them. */
static void late_key_serves_the_next_interval(void **state)
{
    (void)state;
    struct rig rig;
    const struct tw_probe_salt salt = rig_deriving(&rig);
    assert_int_equal(wait_for_result(&rig).state, TW_MEASUREMENT_KEY);
    rig_set_time(&rig, RIG_FIRST_NS + 9000 * MS);
    assert_true(tw_probe_waits_for_key(&rig.probe, &salt));
    give_key(&rig, &salt);
    assert_int_equal(rig.out.n, 164);
    assert_false(tw_probe_waits_for_key(&rig.probe, &salt));
    struct stream in = {.n = 0};
    add_server_start(&in, 0);
    say(&rig, &in);
    assert_int_equal(rig.out.n, 164); /* no session outside of an interval */
    assert_quiet_until(&rig, RIG_FIRST_NS + 9999 * MS);
    rig_set_time(&rig, RIG_FIRST_NS + 10 * S);
    rig_expire(&rig);
    write_output(&rig);
    assert_int_equal(rig.out.n, 164 + 112);
}

/* The address it has is no better than one that does not even greet. */
static void server_that_never_answers_the_key_loses_its_turn(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_probe_config config = plan_with(TW_MODE_ENCRYPTED);
    config.client.step_ns = 9 * S; /* longer than the set-up may take */
    rig_begin_with(&rig, &config, 1);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 2);
    wait_for(&rig, TW_PROBE_CONNECT);
    accept_connection(&rig);
    greet(&rig, 0xf, 0x11);
    const struct tw_probe_salt salt = take(&rig, TW_PROBE_KEY).key;
    give_key(&rig, &salt);
    assert_int_equal(wait_for_result(&rig).trouble.step, TW_CLIENT_STEP_SET_UP);
    wait_for(&rig, TW_PROBE_DISCONNECT);
    assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 9 * S);
    assert_int_equal(wait_for(&rig, TW_PROBE_CONNECT).address.octets[3], 2);
}

/* The same where its time is over in the next interval only. */
static void server_that_is_silent_for_long_loses_its_turn_too(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_probe_config config = plan_with(TW_MODE_UNAUTHENTICATED);
    config.client.step_ns = 12 * S;
    rig_begin_with(&rig, &config, 1);
    wait_for(&rig, TW_PROBE_RESOLVE);
    answer_name(&rig, 2);
    wait_for(&rig, TW_PROBE_CONNECT);
    accept_connection(&rig);
    greet(&rig, 0xf, 0x11);
    assert_int_equal(wait_for_result(&rig).state, TW_MEASUREMENT_SILENT);
    wait_for(&rig, TW_PROBE_DISCONNECT);
    assert_int_equal(rig.now.mono.ns, RIG_FIRST_NS + 12 * S);
    assert_int_equal(wait_for(&rig, TW_PROBE_CONNECT).address.octets[3], 2);
}

/* Servers end connections that are not set up in time, ours because its key took too long. */
static void connection_that_ended_while_its_key_was_derived_is_replaced_at_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_deriving(&rig);
    wait_for_result(&rig);
    assert_quiet_until(&rig, RIG_FIRST_NS + 10 * S + 500 * MS);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    take(&rig, TW_PROBE_CONNECT);
}

static void state_says_key_for_all_that_a_key_can_do_wrong(void **state)
{
    (void)state;
    struct tw_measurement m;
    static const enum tw_client_failure failures[] = {TW_CLIENT_COUNT, TW_CLIENT_KEY_REFUSED,
                                                      TW_CLIENT_HMAC};
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        memset(&m, 0, sizeof m);
        tw_measurement_fail_control(&m, failures[i], TW_CLIENT_STEP_REQUEST, 0);
        assert_int_equal(m.state, TW_MEASUREMENT_KEY);
        assert_int_equal(m.trouble.failure, failures[i]);
    }
    tw_measurement_fail_control(&m, TW_CLIENT_ENDED, TW_CLIENT_STEP_KEY, 0);
    assert_int_equal(m.state, TW_MEASUREMENT_REFUSED);
    tw_measurement_fail_control(&m, TW_CLIENT_MODE_MISSING, TW_CLIENT_STEP_GREETING, 0);
    assert_int_equal(m.state, TW_MEASUREMENT_REFUSED);
}

static bool holds(const void *memory, size_t n, const uint8_t *octets, size_t length)
{
    const uint8_t *at = memory;
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(at + i, octets, length) == 0)
            return true;
    return false;
}

static void keys_are_forgotten_with_the_connection(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        struct rig rig;
        struct tw_keys keys;
        const struct tw_probe_salt salt = rig_deriving(&rig);
        give_key(&rig, &salt);
        keys = rig.probe.client.keys;
        assert_true(holds(&rig.probe, sizeof rig.probe, keys.aes, sizeof keys.aes));
        if (way == 0) {
            tw_probe_disconnected(&rig.probe, rig.now.mono);
        } else if (way == 1) {
            tw_probe_close(&rig.probe, rig.now.mono);
            take(&rig, TW_PROBE_DISCONNECT);
            write_output(&rig); /* until then there may be last words */
            assert_quiet(&rig);
        } else {
            wait_for(&rig, TW_PROBE_DISCONNECT); /* the server never answers */
            write_output(&rig);
            struct tw_probe_event event;
            (void)tw_probe_next_event(&rig.probe, &event);
        }
        assert_false(holds(&rig.probe, sizeof rig.probe, keys.aes, sizeof keys.aes));
        assert_false(holds(&rig.probe, sizeof rig.probe, keys.hmac, sizeof keys.hmac));
    }
}

static void greet_with(struct rig *rig, uint32_t features)
{
    struct stream in = {.n = 0};
    add_greeting(&in, 1 | features);
    add_server_start(&in, 0);
    say(rig, &in);
}

/* The request that a clear server with these modes gets. */
static const uint8_t *request_for(struct rig *rig, uint32_t features, uint32_t padding)
{
    struct tw_probe_config config = plan_with(TW_MODE_UNAUTHENTICATED | features);
    config.sender.padding_length = padding;
    rig_connected_with(rig, &config);
    greet_with(rig, features);
    assert_int_equal(rig->out.n, 164 + 112);
    return rig->out.octets + 164;
}

static void padding_that_makes_both_ways_equal_depends_on_the_mode(void **state)
{
    (void)state;
    static const struct {
        uint32_t features, padding;
    } cases[] = {{0, 27}, {0x10, 27}, {0x20, 27}, {0x40, 0}, {0x100, 30}, {0x140, 2}, {0x200, 27}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rig rig;
        const uint8_t *request = request_for(&rig, cases[i].features, TW_PROBE_PADDING_EQUAL);
        assert_int_equal(tw_get32(request + 64), cases[i].padding);
        request = request_for(&rig, cases[i].features, 77);
        assert_int_equal(tw_get32(request + 64), 77);
    }
}

/* RFC 6038 section 4.2: PL > R, and without Symmetrical Size PL >= D + R. */
static void as_much_padding_as_possible_is_to_be_reflected(void **state)
{
    (void)state;
    static const struct {
        uint32_t features, padding, reflected;
    } cases[] = {
        {0x20, 0, 0},     {0x20, 26, 0},        {0x20, 27, 0},        {0x20, 28, 1},
        {0x20, 127, 100}, {0x20, 65507, 65480}, {0x20, 70000, 65535}, {0x60, 0, 0},
        {0x60, 1, 0},     {0x60, 2, 1},         {0x60, 100, 99},      {0x120, 30, 0},
        {0x120, 31, 1},   {0x120, 130, 100},    {0x160, 2, 0},        {0x160, 3, 1},
        {0x160, 100, 98},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rig rig;
        const uint8_t *request = request_for(&rig, cases[i].features, cases[i].padding);
        assert_int_equal(tw_get16(request + 90), cases[i].reflected);
    }
    struct rig rig;
    assert_zero(request_for(&rig, 0x340, 100) + 88, 4); /* not negotiated */
}

static void octets_to_be_reflected_tell_requests_apart(void **state)
{
    (void)state;
    struct rig rig;
    uint16_t last = tw_get16(request_for(&rig, 0x20, 100) + 88);
    unsigned same = 0;
    say_accept_session(&rig, 5);
    for (unsigned i = 0; i < 20; i++) {
        rig.out.n = 0;
        while (rig.probe.link != TW_PROBE_UP || rig.probe.client.step != TW_CLIENT_STEP_REQUEST) {
            struct tw_probe_event event;
            assert_true(next_within(&rig, INT64_MAX - 1, &event));
            if (event.type == TW_PROBE_RESOLVE)
                answer_name(&rig, 1);
            if (event.type == TW_PROBE_CONNECT) { /* after a refusal on one that is older */
                accept_connection(&rig);
                greet_with(&rig, 0x20);
            }
        }
        write_output(&rig);
        const uint16_t tag = tw_get16(rig.out.octets + rig.out.n - 112 + 88);
        same += tag == last;
        last = tag;
        say_accept_session(&rig, 5);
    }
    assert_true(same < 3);
}

static void octets_of_the_server_are_carried_where_there_is_room(void **state)
{
    (void)state;
    static const struct {
        uint32_t padding;
        uint16_t carried;
    } cases[] = {{27, 0}, {28, 0}, {29, 0xabcd}, {100, 0xabcd}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rig rig;
        struct stream in = {.n = 0};
        (void)request_for(&rig, 0x20, cases[i].padding);
        tw_put16(add_accept_session(&in, 0, 50000) + 22, 0xabcd);
        say(&rig, &in);
        say_start_ack(&rig, 0);
        const struct tw_sender_config *sender = &rig.probe.senders[rig.probe.current].config;
        assert_int_equal(sender->server_octets, cases[i].carried);
        assert_int_equal(sender->reflect_length, cases[i].padding - 27);
        assert_int_equal(sender->padding_length, cases[i].padding);
        assert_null(sender->protection);
        send_packet(&rig);
        if (cases[i].carried != 0)
            assert_int_equal(tw_get16(rig.packet + 14), 0xabcd);
    }
}

static void individual_control_waits_for_its_acknowledgments(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    (void)request_for(&rig, 0x10, 27);
    rig.out.n = 0;
    say_accept_session(&rig, 0);
    assert_int_equal(rig.out.n, 48);
    assert_int_equal(rig.out.octets[0], 7);
    uint8_t *ack = stream_add(&in, 48);
    memcpy(ack, rig.out.octets, 32);
    ack[0] = 8;
    say(&rig, &in);
    assert_int_equal(rig.probe.phase, TW_PROBE_TEST);
    send_session(&rig);
    rig.out.n = 0;
    assert_int_equal(wait_for_result(&rig).summary.sent, 4);
    write_output(&rig);
    assert_int_equal(rig.out.n, 48);
    assert_int_equal(rig.out.octets[0], 9);
    rig.probe.client.deadline = TW_NEVER; /* a server that is very slow, but within what it may */
    rig_set_time(&rig, RIG_FIRST_NS + 12 * S);
    rig_expire(&rig); /* the next interval has begun */
    assert_int_equal(rig.probe.client.step, TW_CLIENT_STEP_STOP);
    ack[0] = 10;
    ack[1] = 3; /* and does not even want to stop it */
    rig.out.n = 0;
    say(&rig, &in);
    assert_int_equal(rig.out.n, 112);
    assert_int_equal(rig.out.octets[0], 5);
    assert_int_equal(rig_window(&rig)->measurement.quirks, 0);
}

static void quirks_of_server_and_reflector_are_in_the_measurement(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_requested(&rig);
    add_accept_session(&in, 0, 0)[30] = 1;
    say(&rig, &in);
    say_start_ack(&rig, 0);
    while (rig.probe.phase == TW_PROBE_TEST) {
        send_all_due(&rig);
        rig_set_time(&rig, rig.now.mono.ns + 1 * MS);
        reflect_packet(&rig); /* hops away, with a Sender TTL of 255, T2 = T3, and T1 for both */
        rig_set_time(&rig, rig.now.mono.ns + 99 * MS);
    }
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.state, TW_MEASUREMENT_OK);
    assert_int_equal(m.quirks & (TW_QUIRK_MBZ | TW_QUIRK_PORT_ZERO | TW_QUIRK_TTL_UNSET |
                                 TW_QUIRK_SAME_TIMES | TW_QUIRK_WARM_UP),
                     TW_QUIRK_MBZ | TW_QUIRK_PORT_ZERO | TW_QUIRK_TTL_UNSET | TW_QUIRK_SAME_TIMES);
    write_output(&rig);
    rig_expire(&rig);
}

static void what_a_server_says_during_the_test_is_told_with_it(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_testing(&rig);
    send_session(&rig);
    add_stop(&in, 1);
    say(&rig, &in);
    assert_int_equal(wait_for_result(&rig).quirks, TW_QUIRK_SERVER_STOP);
}

static void quirks_of_a_server_that_refuses_are_told_too(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_requested(&rig);
    add_accept_session(&in, 5, 99);
    say(&rig, &in);
    tw_probe_disconnected(&rig.probe, rig.now.mono);
    struct tw_probe_event event;
    do {
        assert_true(next_within(&rig, RIG_FIRST_NS + 10 * S, &event));
        if (event.type == TW_PROBE_CONNECT)
            tw_probe_connect_failed(&rig.probe, ECONNREFUSED, rig.now.mono);
        if (event.type == TW_PROBE_RESOLVE)
            answer_name(&rig, 1);
    } while (event.type != TW_PROBE_RESULT);
    assert_int_equal(event.measurement->quirks, TW_QUIRK_PORT_REFUSED);
}

static void refused_packets_of_the_first_second_are_warm_up_and_no_loss(void **state)
{
    (void)state;
    static const int64_t after_ns[] = {0, 999 * MS, 1000 * MS};
    for (size_t i = 0; i < ARRAY_SIZE(after_ns); i++) {
        struct rig rig;
        rig_testing(&rig);
        rig_set_time(&rig, rig.now.mono.ns + after_ns[i]);
        send_packet(&rig);
        tw_probe_refused(&rig.probe, rig.now.mono);
        if (after_ns[i] == 0)
            assert_false(tw_probe_send_due(&rig.probe, rig.now.mono));
        while (rig.probe.phase == TW_PROBE_TEST) {
            if (!tw_probe_send_due(&rig.probe, rig.now.mono))
                rig_set_time(&rig, tw_probe_deadline(&rig.probe).ns);
            send_packet(&rig);
            reflect_packet(&rig);
        }
        const struct tw_measurement m = wait_for_result(&rig);
        const bool warm_up = after_ns[i] < 1000 * MS;
        assert_int_equal(m.summary.sent, 4);
        assert_int_equal(m.summary.received, warm_up ? 4 : 3);
        assert_int_equal(m.summary.lost, warm_up ? 0 : 1);
        assert_int_equal(m.quirks & TW_QUIRK_WARM_UP, warm_up ? TW_QUIRK_WARM_UP : 0);
    }
}

/* ... which come a round trip after their packets: others are under way by then. */
static void refusals_are_of_the_oldest_packets(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t reply[41];
    uint8_t packets[8][RIG_PACKET];
    unsigned sent = 0;
    unsigned reflected = 0;
    rig_testing(&rig);
    const int64_t began = rig.now.mono.ns;
    for (int64_t at = 0; at < 1000 * MS; at += 50 * MS) {
        if (at > 0)
            rig_set_time(&rig, began + at);
        /* a round trip of 250 ms; what leaves from 200 ms on is reflected */
        if (at == 250 * MS || at == 350 * MS)
            tw_probe_refused(&rig.probe, rig.now.mono);
        if (at >= 450 * MS && at % (100 * MS) != 0 && reflected + 2 < sent) {
            make_reply(packets[reflected + 2], reflected, reply);
            const struct tw_arrival arrival = arrival_now(&rig);
            struct tw_sample sample;
            tw_probe_receive(&rig.probe, reply, sizeof reply, &arrival, &sample);
            reflected++;
        }
        if (tw_probe_send_due(&rig.probe, rig.now.mono)) {
            assert_in_range(sent, 0, ARRAY_SIZE(packets) - 1);
            send_packet(&rig);
            memcpy(packets[sent], rig.packet, RIG_PACKET);
            assert_int_equal(tw_get32(rig.packet), sent);
            sent++;
        }
    }
    assert_int_equal(sent, 6);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.summary.sent, 4);
    assert_int_equal(m.summary.received, 4);
    assert_int_equal(m.summary.lost_forward + m.summary.lost_reverse, 0);
    assert_false(m.summary.direction_clamped || m.summary.direction_doubtful);
    assert_int_equal(m.quirks & TW_QUIRK_WARM_UP, TW_QUIRK_WARM_UP);
}

static void refusal_after_any_reply_changes_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_starting(&rig);
    rig.config.sender.wait_ns = 50 * MS;
    say_start_ack(&rig, 0);
    send_packet(&rig);
    rig_set_time(&rig, rig.now.mono.ns + 60 * MS);
    reflect_packet(&rig); /* too late */
    tw_probe_refused(&rig.probe, rig.now.mono);
    send_session(&rig);
    const struct tw_measurement m = wait_for_result(&rig);
    assert_int_equal(m.summary.sent, 4);
    assert_int_equal(m.summary.late, 1);
    assert_int_equal(m.quirks & TW_QUIRK_WARM_UP, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_is_asked_for_once_with_salt_and_count),
        cmocka_unit_test(foreign_key_is_not_looked_at),
        cmocka_unit_test(key_before_the_question_is_none),
        cmocka_unit_test(key_for_a_connection_that_is_gone_is_none),
        cmocka_unit_test(question_dies_with_its_connection),
        cmocka_unit_test(key_that_never_comes_is_told_as_key),
        cmocka_unit_test(late_key_serves_the_next_interval),
        cmocka_unit_test(server_that_never_answers_the_key_loses_its_turn),
        cmocka_unit_test(server_that_is_silent_for_long_loses_its_turn_too),
        cmocka_unit_test(connection_that_ended_while_its_key_was_derived_is_replaced_at_once),
        cmocka_unit_test(state_says_key_for_all_that_a_key_can_do_wrong),
        cmocka_unit_test(keys_are_forgotten_with_the_connection),
        cmocka_unit_test(padding_that_makes_both_ways_equal_depends_on_the_mode),
        cmocka_unit_test(as_much_padding_as_possible_is_to_be_reflected),
        cmocka_unit_test(octets_to_be_reflected_tell_requests_apart),
        cmocka_unit_test(octets_of_the_server_are_carried_where_there_is_room),
        cmocka_unit_test(individual_control_waits_for_its_acknowledgments),
        cmocka_unit_test(quirks_of_server_and_reflector_are_in_the_measurement),
        cmocka_unit_test(what_a_server_says_during_the_test_is_told_with_it),
        cmocka_unit_test(quirks_of_a_server_that_refuses_are_told_too),
        cmocka_unit_test(refused_packets_of_the_first_second_are_warm_up_and_no_loss),
        cmocka_unit_test(refusals_are_of_the_oldest_packets),
        cmocka_unit_test(refusal_after_any_reply_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
