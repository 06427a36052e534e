/* The Control-Client machine against a captured server of another implementation, in every security
 * mode: given the keys that the captured client drew, and asked for what that one asked for, it
 * must say what that one said, octet for octet (tests/vectors/README). */
#include "secured_server.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/protection.h"

enum { MESSAGES = 32, MESSAGE = 256 };

struct message {
    bool control, client;
    size_t n;
    uint8_t octets[MESSAGE];
};

struct capture {
    struct message messages[MESSAGES];
    size_t count;
};

static void read_capture(const char *name, struct capture *capture)
{
    const char *source = getenv("TWAMP_SOURCE");
    char path[512];
    char plane[16];
    char sender[16];
    static char hex[2 * MESSAGE + 1];
    (void)snprintf(path, sizeof path, "%s/tests/vectors/perfsonar-%s.txt",
                   source != NULL ? source : ".", name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s cannot be read: set TWAMP_SOURCE", path);
    memset(capture, 0, sizeof *capture);
    while (file != NULL && fscanf(file, "%15s %15s %512s", plane, sender, hex) == 3) {
        assert_true(capture->count < MESSAGES);
        struct message *message = &capture->messages[capture->count++];
        message->control = strcmp(plane, "control") == 0;
        message->client = strcmp(sender, "client") == 0;
        message->n = octets_from_hex(hex, message->octets, sizeof message->octets);
    }
    (void)fclose(file);
    assert_int_equal(capture->count, 18); /* 8 of control, 5 packets, 5 replies */
}

/* Control message i of the capture. */
static const struct message *control_message(const struct capture *capture, unsigned i)
{
    size_t at = 0;
    while (at < capture->count && !(capture->messages[at].control && i-- == 0))
        at++;
    assert_true(at < capture->count);
    return &capture->messages[at];
}

/* What the captured client drew: the keys in its Token and its Client-IV. */
static void open_token(const struct capture *capture, const uint8_t derived[16], uint8_t drawn[64])
{
    const struct message *response = control_message(capture, 1);
    uint8_t token[64];
    uint8_t zero[16] = {0};
    memcpy(token, response->octets + 84, sizeof token);
    cbc_decrypt_octets(derived, zero, token, sizeof token);
    assert_memory_equal(token, control_message(capture, 0)->octets + 16, 16);
    memcpy(drawn, token + 16, 48);
    memcpy(drawn + 48, response->octets + 148, 16);
}

static struct tw_request request_of(const struct capture *capture, const uint8_t *drawn)
{
    uint8_t octets[112];
    uint8_t chain[16];
    memcpy(octets, control_message(capture, 3)->octets, sizeof octets);
    if (drawn != NULL) {
        memcpy(chain, drawn + 48, sizeof chain);
        cbc_decrypt_octets(drawn, chain, octets, sizeof octets);
    }
    assert_int_equal(octets[0], 5);
    struct tw_request request = {
        .ipvn = octets[1],
        .sender_port = tw_get16(octets + 12),
        .receiver_port = tw_get16(octets + 14),
        .padding_length = tw_get32(octets + 64),
        .start_time = tw_get64(octets + 68),
        .timeout = tw_get64(octets + 76),
        .type_p = tw_get32(octets + 84),
    };
    memcpy(request.sender_address, octets + 16, 16);
    memcpy(request.receiver_address, octets + 32, 16);
    assert_int_equal(request.padding_length, 64);
    assert_int_equal(request.type_p, UINT32_C(46) << 24);
    return request;
}

static void hear(struct rig *rig, const struct capture *capture, unsigned i)
{
    const struct message *message = control_message(capture, i);
    assert_false(message->client);
    rig->event_count = 0;
    assert_int_equal(deliver(rig, message->octets, message->n, SIZE_MAX), message->n);
}

/* All that came out since the last time is control message i. */
static void assert_said(struct rig *rig, const struct capture *capture, unsigned i)
{
    const struct message *message = control_message(capture, i);
    settle(rig);
    assert_true(message->client);
    assert_int_equal(rig->out.n, message->n);
    assert_memory_equal(rig->out.octets, message->octets, message->n);
    rig->out.n = 0;
}

/* The captured test packets and replies are authentic with the session's keys. */
static void assert_opens_test_packets(const struct tw_client *client, const uint8_t sid[16],
                                      const struct capture *capture)
{
    struct tw_keys keys;
    struct tw_protection protection;
    if (!tw_client_session_keys(client, sid, &keys)) {
        assert_false(tw_test_layout(client->mode).secured);
        return;
    }
    tw_protection_init(&protection, client->mode, &keys);
    uint32_t numbers = 0;
    for (size_t i = 0; i < capture->count; i++) {
        const struct message *message = &capture->messages[i];
        uint8_t clear[TW_PROTECTION_HEADER_MAX];
        if (message->control)
            continue;
        if (message->client)
            assert_true(tw_protection_open_packet(&protection, message->octets, clear));
        else
            assert_true(tw_protection_open_reply(&protection, message->octets, clear));
        numbers += tw_get32(clear);
    }
    assert_int_equal(numbers, 2 * (0 + 1 + 2 + 3 + 4));
}

static void replay(const char *name, uint32_t mode)
{
    struct capture capture;
    struct rig rig;
    uint8_t drawn[64];
    const bool has_keys = mode != TW_MODE_UNAUTHENTICATED;
    read_capture(name, &capture);
    rig_begin(&rig);
    rig.config.mode = mode;
    memcpy(rig.config.keyid, vector_keyid, sizeof vector_keyid);
    hear(&rig, &capture, 0);
    if (has_keys) {
        uint8_t derived[16];
        struct tw_random random = {.used = 0};
        assert_int_equal(only_event(&rig)->type, TW_CLIENT_KEY);
        tw_derive_key((const uint8_t *)"alice", 5, only_event(&rig)->key.salt,
                      only_event(&rig)->key.count, derived);
        open_token(&capture, derived, drawn);
        memcpy(random.block, drawn, sizeof drawn);
        assert_int_equal(tw_client_answer_key(&rig.client, derived, &random, rig.now), TW_OK);
    }
    assert_said(&rig, &capture, 1);
    hear(&rig, &capture, 2);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_READY);
    const struct tw_request request = request_of(&capture, has_keys ? drawn : NULL);
    assert_int_equal(tw_client_request(&rig.client, &request, rig.now), TW_OK);
    assert_said(&rig, &capture, 3);
    hear(&rig, &capture, 4);
    const struct tw_client_event session = *only_event(&rig);
    assert_int_equal(session.type, TW_CLIENT_SESSION);
    assert_int_equal(session.session.accept, 0);
    ask_start(&rig);
    assert_said(&rig, &capture, 5);
    hear(&rig, &capture, 6);
    assert_int_equal(only_event(&rig)->type, TW_CLIENT_STARTED);
    assert_opens_test_packets(&rig.client, session.session.sid, &capture);
    assert_int_equal(tw_client_stop(&rig.client, TW_ACCEPT_OK, rig.now), TW_OK);
    assert_said(&rig, &capture, 7);
    assert_int_equal(rig.client.quirks, 0);
}

static void captured_unauthenticated_run_is_repeated(void **state)
{
    (void)state;
    replay("open", TW_MODE_UNAUTHENTICATED);
}

static void captured_authenticated_run_is_repeated(void **state)
{
    (void)state;
    replay("authenticated", TW_MODE_AUTHENTICATED);
}

static void captured_encrypted_run_is_repeated(void **state)
{
    (void)state;
    replay("encrypted", TW_MODE_ENCRYPTED);
}

static void captured_mixed_run_is_repeated(void **state)
{
    (void)state;
    replay("mixed", TW_MODE_MIXED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_unauthenticated_run_is_repeated),
        cmocka_unit_test(captured_authenticated_run_is_repeated),
        cmocka_unit_test(captured_encrypted_run_is_repeated),
        cmocka_unit_test(captured_mixed_run_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
