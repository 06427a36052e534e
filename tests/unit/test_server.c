/* The Server machine against scripted clients: greeting, set-up, and every command in every state,
 * with every value that the machine judges. */
#include "server_rig.h"

static void server_speaks_first(void **state)
{
    (void)state;
    struct rig rig;
    rig_prepare(&rig);
    rig_begin(&rig);
    settle(&rig);
    assert_int_equal(rig.out.n, 64);
    const uint8_t *greeting = rig.out.octets;
    assert_zero(greeting, 12);
    assert_int_equal(tw_get32(greeting + 12), 1);
    assert_memory_equal(greeting + 32, rig.config.salt, 16);
    assert_int_equal(tw_get32(greeting + 48), 2048);
    assert_zero(greeting + 52, 12);
    assert_int_equal(rig.event_count, 0);
    assert_int_equal(room_of(&rig), 164);
}

static void challenge_is_new_on_every_connection(void **state)
{
    (void)state;
    struct rig rig;
    rig_prepare(&rig);
    for (size_t i = 0; i < 100; i++) {
        rig_begin(&rig);
        settle(&rig);
    }
    for (size_t i = 0; i < 100; i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(rig.out.octets + 64 * i + 16, rig.out.octets + 64 * j + 16, 16);
}

static void modes_zero_closes_when_the_greeting_is_taken(void **state)
{
    (void)state;
    struct rig rig;
    struct tw_server_event event;
    rig_prepare(&rig);
    rig.config.modes = 0;
    rig_begin(&rig);
    for (size_t i = 0; i < 64; i++) {
        size_t n;
        const uint8_t *out = tw_server_output(&rig.server, &n);
        assert_int_equal(n, 64 - i);
        if (i >= 12 && i < 16)
            assert_int_equal(*out, 0);
        assert_int_equal(room_of(&rig), 0);
        assert_false(tw_server_next_event(&rig.server, &event));
        tw_server_sent(&rig.server, 1, rig.now);
    }
    settle(&rig);
    assert_only_closed(&rig, TW_SERVER_CLOSE_REFUSED);
}

static void set_up_is_answered_with_the_start_time(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_prepare(&rig);
    rig_begin(&rig);
    settle(&rig);
    rig.out.n = 0;
    add_set_up(&in, 1);
    memset(in.octets + 4, 0xff, 160); /* KeyID, Token and Client-IV are unused */
    deliver_all(&rig, &in);
    assert_int_equal(rig.out.n, 48);
    assert_zero(rig.out.octets, 32);
    assert_int_equal(tw_get64(rig.out.octets + 32), START_TIME);
    assert_zero(rig.out.octets + 40, 8);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_SET_UP);
    assert_int_equal(only_event(&rig)->mode, 1);
}

static void mode_zero_is_the_client_quitting(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_prepare(&rig);
    rig_begin(&rig);
    add_set_up(&in, 0);
    deliver_all(&rig, &in);
    assert_int_equal(rig.out.n, 64); /* no Server-Start */
    assert_only_closed(&rig, TW_SERVER_CLOSE_CLIENT_QUIT);
}

static void assert_mode(uint32_t mode, bool served)
{
    struct rig rig;
    struct stream in = {.n = 0};
    rig_prepare(&rig);
    rig_begin(&rig);
    add_set_up(&in, mode);
    deliver_all(&rig, &in);
    assert_int_equal(rig.out.n, 64 + 48);
    const uint8_t *start = rig.out.octets + 64;
    assert_int_equal(start[15], served ? 0 : 3);
    if (served) {
        assert_int_equal(only_event(&rig)->type, TW_SERVER_SET_UP);
        assert_int_equal(only_event(&rig)->mode, 1);
        assert_still_serves(&rig);
    } else {
        assert_zero(start, 15);
        assert_zero(start + 16, 32);
        assert_only_closed(&rig, TW_SERVER_CLOSE_MODE);
    }
}

static void only_offered_modes_are_served(void **state)
{
    (void)state;
    for (uint32_t mode = 1; mode < 16; mode++)
        assert_mode(mode, mode == 1);
    for (unsigned bit = 4; bit < 32; bit++) {
        const bool unassigned = bit >= 10;
        assert_mode(UINT32_C(1) << bit | 1, unassigned);
        assert_mode(UINT32_C(1) << bit, false);
    }
    assert_mode(UINT32_C(0xfffffc01), true);
    assert_mode(UINT32_C(0xffffffff), false);
}

static void request_is_asked_about_and_answered(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    uint8_t *octets = add_request(&in);
    octets[1] = 6;
    for (size_t i = 16; i < 48; i++)
        octets[i] = (uint8_t)i;
    deliver_all(&rig, &in);
    const struct tw_server_event *event = only_event(&rig);
    assert_int_equal(event->type, TW_SERVER_REQUEST);
    assert_int_equal(event->request.ipvn, 6);
    assert_int_equal(event->request.sender_port, 9001);
    assert_int_equal(event->request.receiver_port, 9002);
    assert_memory_equal(event->request.sender_address, octets + 16, 16);
    assert_memory_equal(event->request.receiver_address, octets + 32, 16);
    assert_int_equal(event->request.padding_length, 27);
    assert_int_equal(tw_interval_to_ns(event->request.timeout), 2 * TW_NS_PER_S);
    assert_int_equal(tw_type_p_to_dscp(event->request.type_p), 46);

    uint8_t sid[TW_SID_SIZE];
    fill_sid(sid, 30001);
    assert_int_equal(rig.out.n, 48);
    assert_zero(rig.out.octets, 2);
    assert_int_equal(tw_get16(rig.out.octets + 2), 30001);
    assert_memory_equal(rig.out.octets + 4, sid, 16);
    assert_zero(rig.out.octets + 20, 28);
}

static void refusal_of_the_driver_names_no_port(void **state)
{
    (void)state;
    for (int accept = 1; accept <= 5; accept++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_idle(&rig);
        rig.accept = (enum tw_accept)accept;
        add_request(&in);
        deliver_all(&rig, &in);
        assert_int_equal(rig.out.n, 48);
        assert_int_equal(rig.out.octets[0], accept);
        assert_zero(rig.out.octets + 1, 47);
        assert_int_equal(rig.server.accepted, 0);
        rig.accept = TW_ACCEPT_OK;
        assert_still_serves(&rig);
    }
}

/* A request with one octet changed. */
static void assert_request(size_t offset, uint8_t value, int reason)
{
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    uint8_t *request = add_request(&in);
    request[offset] = value;
    deliver_all(&rig, &in);
    if (reason >= 0)
        assert_rejected(&rig, (enum tw_server_reject_reason)reason, 5);
    else
        assert_int_equal(only_event(&rig)->type, TW_SERVER_REQUEST);
    assert_still_serves(&rig);
}

enum { NO_FAULT = -1 };

static void requests_with_faults_are_rejected_and_the_connection_kept(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 256; value++) {
        const uint8_t octet = (uint8_t)value;
        const bool ip = (value & 15) == 4 || (value & 15) == 6; /* the high bits are MBZ */
        assert_request(1, octet, ip ? NO_FAULT : TW_SERVER_REJECT_IPVN);
        assert_request(2, octet, value == 0 ? NO_FAULT : TW_SERVER_REJECT_ROLE);
        assert_request(3, octet, value == 0 ? NO_FAULT : TW_SERVER_REJECT_ROLE);
        assert_request(64, octet, value == 0 ? NO_FAULT : TW_SERVER_REJECT_PADDING);
        assert_request(65, octet, value == 0 ? NO_FAULT : TW_SERVER_REJECT_PADDING);
        assert_request(79, octet, value <= 60 ? NO_FAULT : TW_SERVER_REJECT_TIMEOUT);
        assert_request(84, octet, value < 64 ? NO_FAULT : TW_SERVER_REJECT_TYPE_P);
        assert_request(87, octet, NO_FAULT);
    }
}

static void sender_port_zero_is_rejected_and_receiver_port_zero_is_not(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    tw_put16(add_request(&in) + 14, 0);
    deliver_all(&rig, &in);
    assert_int_equal(only_event(&rig)->type, TW_SERVER_REQUEST);
    forget(&rig);
    in.n = 0;
    tw_put16(add_request(&in) + 12, 0);
    deliver_all(&rig, &in);
    assert_rejected(&rig, TW_SERVER_REJECT_SENDER_PORT, 5);
}

static void assert_padding(uint32_t max_payload, uint32_t padding, bool served)
{
    struct rig rig;
    struct stream in = {.n = 0};
    rig_prepare(&rig);
    rig.config.max_payload = max_payload;
    rig_set_up(&rig);
    tw_put32(add_request(&in) + 64, padding);
    deliver_all(&rig, &in);
    if (served)
        assert_int_equal(only_event(&rig)->type, TW_SERVER_REQUEST);
    else
        assert_rejected(&rig, TW_SERVER_REJECT_PADDING, 5);
}

static void padding_is_limited_by_the_size_of_the_packet(void **state)
{
    (void)state;
    assert_padding(9000, 0, true);
    assert_padding(9000, 9000 - 14, true);
    assert_padding(9000, 9000 - 13, false);
    assert_padding(0, 65507 - 14, true);
    assert_padding(0, 65507 - 13, false);
    assert_padding(UINT32_MAX, 65507 - 14, true);
    assert_padding(UINT32_MAX, 65507 - 13, false);
    assert_padding(UINT32_MAX, UINT32_MAX - 13, false);
    assert_padding(UINT32_MAX, UINT32_MAX, false);
}

static void assert_timeout(int64_t max_ns, uint64_t timeout, bool served)
{
    struct rig rig;
    struct stream in = {.n = 0};
    rig_prepare(&rig);
    rig.config.max_timeout_ns = max_ns;
    rig_set_up(&rig);
    tw_put64(add_request(&in) + 76, timeout);
    deliver_all(&rig, &in);
    if (served)
        assert_int_equal(only_event(&rig)->type, TW_SERVER_REQUEST);
    else
        assert_rejected(&rig, TW_SERVER_REJECT_TIMEOUT, 5);
}

static void timeout_is_limited_as_configured(void **state)
{
    (void)state;
    assert_timeout(TW_NS_PER_S, 0, true);
    assert_timeout(TW_NS_PER_S, UINT64_C(1) << 32, true);
    assert_timeout(TW_NS_PER_S, (UINT64_C(1) << 32) + 5, false); /* 5 * 2^-32 s is over 1 ns */
    assert_timeout(TW_NS_PER_S, UINT64_MAX, false);
    assert_timeout(0, UINT64_MAX, true);
}

static void fields_that_twamp_does_not_use_are_ignored(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_idle(&rig);
    uint8_t *request = add_request(&in);
    tw_put32(request + 8, 77);      /* Number of Packets */
    memset(request + 48, 0xff, 16); /* SID */
    memset(request + 85, 0xff, 27); /* Type-P's rest, MBZ, HMAC */
    uint8_t *start = in.octets + in.n;
    add_start(&in);
    memset(start + 1, 0xff, 31);
    uint8_t *stop = add_stop(&in, 1);
    memset(stop + 2, 0xff, 2);
    memset(stop + 8, 0xff, 24);
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 3);
    assert_int_equal(rig.events[0].type, TW_SERVER_REQUEST);
    assert_int_equal(rig.events[1].type, TW_SERVER_START);
    assert_int_equal(rig.events[2].type, TW_SERVER_STOP);
    assert_int_equal(rig.out.n, 48 + 32);
    assert_zero(rig.out.octets + 20, 60); /* nothing of it comes back */
}

static void assert_slots_close(const struct rig *rig)
{
    for (size_t offset = 4; offset < 8; offset++) {
        struct rig copy = *rig;
        rig_moved(&copy);
        struct stream in = {.n = 0};
        uint8_t *request = add_request(&in);
        request[offset] = 1;
        request[2] = 1; /* another fault does not save it */
        deliver_all(&copy, &in);
        assert_rejected(&copy, TW_SERVER_REJECT_SLOTS, 5);
        assert_int_equal(copy.event_count, 2);
        assert_int_equal(copy.events[1].type, TW_SERVER_CLOSE);
        assert_int_equal(copy.events[1].close, TW_SERVER_CLOSE_SCHEDULE_SLOTS);
    }
}

static void schedule_slots_are_rejected_and_close(void **state)
{
    (void)state;
    struct rig rig;
    rig_idle(&rig);
    assert_slots_close(&rig);
    rig_testing(&rig, 1);
    assert_slots_close(&rig);
}

/* Of unknown length: answered after 16 octets, then the end. */
static void assert_unknown(struct rig *rig, unsigned number)
{
    struct stream in = {.n = 0};
    add_command(&in, number);
    assert_int_equal(deliver(rig, in.octets, in.n, SIZE_MAX), 16);
    assert_rejected(rig, TW_SERVER_REJECT_COMMAND, number);
    assert_int_equal(rig->event_count, 2);
    assert_int_equal(rig->events[1].type, TW_SERVER_CLOSE);
    assert_int_equal(rig->events[1].close, TW_SERVER_CLOSE_UNKNOWN_COMMAND);
}

static bool length_is_known(unsigned number)
{
    return number == 2 || number == 3 || number == 5 || number == 7 || number == 9;
}

static void every_command_number_while_idle(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 256; number++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_idle(&rig);
        if (!length_is_known(number)) {
            assert_unknown(&rig, number);
            continue;
        }
        add_command(&in, number);
        deliver_all(&rig, &in);
        if (number == 5)
            assert_rejected(&rig, TW_SERVER_REJECT_IPVN, 5);
        else if (number == 7 || number == 9)
            assert_rejected(&rig, TW_SERVER_REJECT_COMMAND, number);
        else
            assert_int_equal(rig.out.n, number == 2 ? 32 : 0);
        assert_still_serves(&rig);
    }
}

static void every_command_number_before_start(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 256; number++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_idle(&rig);
        assert_still_serves(&rig);
        forget(&rig);
        if (!length_is_known(number)) {
            assert_unknown(&rig, number);
            continue;
        }
        add_command(&in, number);
        deliver_all(&rig, &in);
        assert_int_equal(rig.server.state,
                         number == 2 ? TW_SERVER_STATE_TESTING : TW_SERVER_STATE_IDLE);
        assert_int_equal(rig.server.accepted, number == 2 ? 0 : 1);
    }
}

static void every_command_number_while_testing(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 256; number++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_testing(&rig, 1);
        if (!length_is_known(number)) {
            assert_unknown(&rig, number);
            continue;
        }
        add_command(&in, number);
        deliver_all(&rig, &in);
        if (number != 3) {
            assert_rejected(&rig, TW_SERVER_REJECT_COMMAND, number);
            assert_int_equal(rig.event_count, 1);
            assert_int_equal(rig.server.state, TW_SERVER_STATE_TESTING);
            forget(&rig);
            in.n = 0;
            add_stop(&in, 1);
            deliver_all(&rig, &in);
        }
        assert_int_equal(only_event(&rig)->type, TW_SERVER_STOP);
        assert_int_equal(rig.out.n, 0);
    }
}

/* Without RFC 5938 its commands are only passed over, as far as their length can be believed. */
static void individual_session_control_is_passed_over(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 2, 127, 128, 129, UINT32_C(0x10000001), UINT32_MAX};
    for (unsigned number = 7; number <= 9; number += 2) {
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
            struct rig rig;
            struct stream in = {.n = 0};
            const bool believed = counts[i] >= 1 && counts[i] <= 128;
            rig_idle(&rig);
            uint8_t *command = stream_add(&in, believed ? 32 + 16 * counts[i] : 16);
            command[0] = (uint8_t)number;
            tw_put32(command + 12, counts[i]);
            deliver_all(&rig, &in);
            assert_rejected(&rig, TW_SERVER_REJECT_COMMAND, number);
            if (believed)
                assert_still_serves(&rig);
            else
                assert_int_equal(rig.server.state, TW_SERVER_STATE_CLOSED);
        }
    }
}

static void reasons_have_names(void **state)
{
    (void)state;
    assert_string_equal(tw_server_close_reason_name(TW_SERVER_CLOSE_REFUSED), "refused");
    assert_string_equal(tw_server_close_reason_name(TW_SERVER_CLOSE_STOP_COUNT), "stop-count");
    assert_string_equal(tw_server_reject_reason_name(TW_SERVER_REJECT_COMMAND), "command");
    assert_string_equal(tw_server_reject_reason_name(TW_SERVER_REJECT_NO_SESSION), "no-session");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_speaks_first),
        cmocka_unit_test(challenge_is_new_on_every_connection),
        cmocka_unit_test(modes_zero_closes_when_the_greeting_is_taken),
        cmocka_unit_test(set_up_is_answered_with_the_start_time),
        cmocka_unit_test(mode_zero_is_the_client_quitting),
        cmocka_unit_test(only_offered_modes_are_served),
        cmocka_unit_test(request_is_asked_about_and_answered),
        cmocka_unit_test(refusal_of_the_driver_names_no_port),
        cmocka_unit_test(requests_with_faults_are_rejected_and_the_connection_kept),
        cmocka_unit_test(sender_port_zero_is_rejected_and_receiver_port_zero_is_not),
        cmocka_unit_test(padding_is_limited_by_the_size_of_the_packet),
        cmocka_unit_test(timeout_is_limited_as_configured),
        cmocka_unit_test(fields_that_twamp_does_not_use_are_ignored),
        cmocka_unit_test(schedule_slots_are_rejected_and_close),
        cmocka_unit_test(every_command_number_while_idle),
        cmocka_unit_test(every_command_number_before_start),
        cmocka_unit_test(every_command_number_while_testing),
        cmocka_unit_test(individual_session_control_is_passed_over),
        cmocka_unit_test(reasons_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
