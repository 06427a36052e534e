/* What the Server machine notes of clients that depart from the standard and are served all the
 * same. */
#include "secured_client.h"
#include "server_rig.h"

static void rig_with_features(struct rig *rig, uint32_t features)
{
    rig_prepare(rig);
    rig->config.modes = ALL_MODES;
    rig_set_up_mode(rig, TW_MODE_UNAUTHENTICATED | features);
}

/* The quirks that the rig shows after a request with one bit set in octets that are usually 0. */
static uint32_t quirks_of_request(const struct rig *rig, uint8_t ipvn, size_t offset, uint8_t bit)
{
    struct rig copy = *rig;
    rig_moved(&copy);
    struct stream in = {.n = 0};
    uint8_t *request = add_request(&in);
    request[1] = ipvn;
    request[offset] ^= bit;
    deliver_all(&copy, &in);
    assert_int_equal(only_event(&copy)->type, TW_SERVER_REQUEST);
    return copy.server.quirks;
}

/* Fields that a client may fill as it likes, and that the machine does not judge. */
static bool is_free(uint8_t ipvn, size_t offset)
{
    return (offset >= 12 && offset < 20) || (offset >= 32 && offset < 36) ||
           (ipvn == 6 && offset >= 16 && offset < 48) || (offset >= 68 && offset < 84);
}

static uint32_t expected_quirks(uint8_t ipvn, size_t offset)
{
    if (is_free(ipvn, offset))
        return 0;
    if (offset >= 8 && offset < 12)
        return TW_QUIRK_REQUEST_PACKETS;
    if (offset >= 48 && offset < 64)
        return TW_QUIRK_REQUEST_SID;
    if (offset >= 85 && offset < 88)
        return TW_QUIRK_TYPE_P_TOS;
    return TW_QUIRK_MBZ;
}

static void every_octet_of_a_request_is_looked_at(void **state)
{
    (void)state;
    struct rig rig;
    rig_with_features(&rig, 0);
    rig.config.max_timeout_ns = 0;
    for (uint8_t ipvn = 4; ipvn <= 6; ipvn += 2) {
        assert_int_equal(quirks_of_request(&rig, ipvn, 4, 0), 0);
        assert_int_equal(quirks_of_request(&rig, ipvn, 1, 0x10), TW_QUIRK_MBZ);
        assert_int_equal(quirks_of_request(&rig, ipvn, 1, 0x80), TW_QUIRK_MBZ);
        for (size_t offset = 8; offset < 112; offset++) {
            if (offset >= 64 && offset < 68) /* the Padding Length */
                continue;
            if (offset == 84) /* the DSCP */
                continue;
            for (unsigned bit = 1; bit < 256; bit <<= 1)
                assert_int_equal(quirks_of_request(&rig, ipvn, offset, (uint8_t)bit),
                                 expected_quirks(ipvn, offset));
        }
    }
}

static void octets_to_reflect_are_no_quirk_when_chosen(void **state)
{
    (void)state;
    for (size_t offset = 88; offset < 96; offset++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_with_features(&rig, TW_MODE_REFLECT_OCTETS);
        uint8_t *request = add_request(&in);
        tw_put32(request + 64, 1000);
        request[offset] = 1;
        deliver_all(&rig, &in);
        assert_int_equal(rig.event_count, 1);
        assert_int_equal(rig.server.quirks, offset < 92 ? 0 : TW_QUIRK_MBZ);
    }
}

/* Start-Sessions and Stop-Sessions, each octet that must be zero. */
static void every_octet_of_a_command_is_looked_at(void **state)
{
    (void)state;
    for (unsigned number = 2; number <= 3; number++) {
        for (size_t offset = 1; offset < 32; offset++) {
            const bool is_field = number == 3 && (offset == 1 || (offset >= 4 && offset < 8));
            struct rig rig;
            struct stream in = {.n = 0};
            if (is_field)
                continue;
            rig_testing(&rig, 1);
            if (number == 2)
                add_start(&in);
            else
                add_stop(&in, 1);
            in.octets[offset] = 0x40;
            deliver_all(&rig, &in);
            assert_int_equal(rig.event_count, 1);
            assert_int_equal(rig.server.quirks, TW_QUIRK_MBZ);
        }
    }
}

static void every_octet_around_sids_is_looked_at(void **state)
{
    (void)state;
    for (unsigned number = 7; number <= 9; number += 2) {
        for (size_t offset = 1; offset < 64; offset++) {
            if (offset >= 12 && offset < 16) /* their number */
                continue;
            struct rig rig;
            struct stream in = {.n = 0};
            rig_with_features(&rig, TW_MODE_SESSION_CONTROL);
            uint8_t *command = stream_add(&in, 64);
            command[0] = (uint8_t)number;
            command[15] = 2;
            command[offset] = 0x40;
            deliver_all(&rig, &in);
            const bool is_sid = offset >= 16 && offset < 48;
            assert_int_equal(rig.server.quirks, is_sid ? 0 : TW_QUIRK_MBZ);
        }
    }
}

static void stopping_no_session_and_meaning_all_is_a_quirk(void **state)
{
    (void)state;
    for (unsigned strict = 0; strict < 2; strict++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_idle(&rig);
        add_stop(&in, 0); /* of none, which is exact */
        deliver_all(&rig, &in);
        assert_int_equal(rig.server.quirks, 0);
        request_and_start(&rig, 1);
        rig.config.strict_stop = strict == 1;
        deliver_all(&rig, &in);
        assert_int_equal(rig.server.quirks, strict == 1 ? 0 : TW_QUIRK_ZERO_STOP);
    }
}

static void unknown_mode_bits_are_a_quirk(void **state)
{
    (void)state;
    for (unsigned bit = 4; bit < 32; bit++) {
        struct rig rig;
        struct stream in = {.n = 0};
        rig_prepare(&rig);
        rig.config.modes = ALL_MODES;
        rig_begin(&rig);
        add_set_up(&in, UINT32_C(1) << bit | 1);
        deliver_all(&rig, &in);
        assert_int_equal(rig.server.quirks, bit < 10 ? 0 : TW_QUIRK_UNKNOWN_MODES);
    }
}

static void quirks_add_up_and_nothing_is_refused_for_them(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_prepare(&rig);
    rig_begin(&rig);
    add_set_up(&in, UINT32_C(0x80000001));
    uint8_t *request = add_request(&in);
    request[11] = 1;
    request[60] = 1;
    request[87] = 0xb8;
    request[93] = 1;
    add_start(&in);
    add_stop(&in, 0);
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 4);
    assert_int_equal(rig.server.quirks, TW_QUIRK_UNKNOWN_MODES | TW_QUIRK_REQUEST_PACKETS |
                                            TW_QUIRK_REQUEST_SID | TW_QUIRK_TYPE_P_TOS |
                                            TW_QUIRK_MBZ | TW_QUIRK_ZERO_STOP);
}

static void captured_client_has_no_quirks(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    rig_prepare(&rig);
    rig_begin(&rig);
    stream_add_hex(&in, PERFSONAR_CLIENT);
    deliver_all(&rig, &in);
    assert_int_equal(rig.event_count, 4);
    assert_int_equal(rig.server.quirks, 0);
}

/* The HMAC is no quirk where there is a key for one. */
static void secured_client_is_looked_at_deciphered(void **state)
{
    (void)state;
    for (unsigned odd = 0; odd < 2; odd++) {
        struct rig rig;
        struct secured_client client;
        struct stream in = {.n = 0};
        struct stream clear = {.n = 0};
        secured_init(&client);
        rig_prepare(&rig);
        rig.config.modes = ALL_MODES;
        memcpy(rig.derived, client.derived, 16);
        rig_begin(&rig);
        settle(&rig);
        secured_set_up(&client, &in, TW_MODE_MIXED, rig.out.octets + 16);
        uint8_t *request = add_request(&clear);
        request[48 + 15] = (uint8_t)odd;
        request[95] = (uint8_t)odd;
        add_start(&clear);
        add_stop(&clear, 1);
        secured_send_all(&client, &in, &clear);
        deliver_all(&rig, &in);
        assert_int_equal(rig.event_count, 5);
        assert_int_equal(rig.server.quirks, odd == 0 ? 0 : TW_QUIRK_REQUEST_SID | TW_QUIRK_MBZ);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_octet_of_a_request_is_looked_at),
        cmocka_unit_test(octets_to_reflect_are_no_quirk_when_chosen),
        cmocka_unit_test(every_octet_of_a_command_is_looked_at),
        cmocka_unit_test(every_octet_around_sids_is_looked_at),
        cmocka_unit_test(stopping_no_session_and_meaning_all_is_a_quirk),
        cmocka_unit_test(unknown_mode_bits_are_a_quirk),
        cmocka_unit_test(quirks_add_up_and_nothing_is_refused_for_them),
        cmocka_unit_test(captured_client_has_no_quirks),
        cmocka_unit_test(secured_client_is_looked_at_deciphered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
