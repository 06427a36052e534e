/* Every decoder of the wire on any octets of any length: what it takes it gives back, encoded
 * again, octet for octet but for what must be zero; what is too short it refuses. */
#include "fuzz/fuzz.h"

#include "lib/wire.h"

const char fuzz_name[] = "wire";

enum { LONGEST = 256 };

/* Decodes, encodes, decodes and encodes again: both times the same octets. */
#define CHECK_MESSAGE(name, size)                                                                  \
    static void check_##name(const uint8_t *in, size_t n)                                          \
    {                                                                                              \
        struct tw_##name first;                                                                    \
        struct tw_##name second;                                                                   \
        uint8_t out[LONGEST];                                                                      \
        uint8_t again[LONGEST];                                                                    \
        memset(out, 0xff, sizeof out);                                                             \
        memset(again, 0xff, sizeof again);                                                         \
        const enum tw_result result = tw_get_##name(in, n, &first);                                \
        FUZZ_CHECK(result == (n < (size) ? TW_ERR_SHORT : TW_OK));                                 \
        if (result != TW_OK)                                                                       \
            return;                                                                                \
        tw_put_##name(out, &first);                                                                \
        for (size_t i = (size); i < sizeof out; i++)                                               \
            FUZZ_CHECK(out[i] == 0xff);                                                            \
        FUZZ_CHECK(tw_get_##name(out, (size), &second) == TW_OK);                                  \
        tw_put_##name(again, &second);                                                             \
        FUZZ_CHECK(memcmp(out, again, sizeof out) == 0);                                           \
    }

CHECK_MESSAGE(greeting, TW_GREETING_SIZE)
CHECK_MESSAGE(setup_response, TW_SETUP_RESPONSE_SIZE)
CHECK_MESSAGE(server_start, TW_SERVER_START_SIZE)
CHECK_MESSAGE(request, TW_REQUEST_SIZE)
CHECK_MESSAGE(accept_session, TW_ACCEPT_SESSION_SIZE)
CHECK_MESSAGE(stop_sessions, TW_STOP_SESSIONS_SIZE)

static void check_command(const uint8_t *in, size_t n)
{
    if (n < TW_COMMAND_HEAD_SIZE)
        return;
    const size_t size = tw_command_size(in);
    FUZZ_CHECK(size == 0 || (size % 16 == 0 && size >= TW_START_SESSIONS_SIZE &&
                             size <= tw_sids_size(TW_SIDS_MAX)));
    const struct tw_sids_head head = tw_get_sids_head(in);
    if (head.count > 8 || n < tw_sids_size(head.count))
        return;
    uint8_t out[LONGEST];
    tw_put_sids(out, &head, in + TW_COMMAND_HEAD_SIZE);
    FUZZ_CHECK(memcmp(out + TW_COMMAND_HEAD_SIZE, in + TW_COMMAND_HEAD_SIZE,
                      (size_t)head.count * TW_SID_SIZE) == 0);
    FUZZ_CHECK(tw_get_sids_head(out).count == head.count);
}

static void check_test_packets(const uint8_t *in, size_t n, uint32_t modes)
{
    struct tw_test_packet packet;
    struct tw_test_reply reply;
    uint8_t out[LONGEST];
    const struct tw_test_layout layout = tw_test_layout(modes);
    FUZZ_CHECK((tw_get_test_packet(in, n, modes, &packet) == TW_OK) == (n >= layout.sender_header));
    if (n >= layout.sender_header) {
        struct tw_test_packet again;
        tw_put_test_packet(out, modes, &packet);
        FUZZ_CHECK(tw_get_test_packet(out, layout.sender_header, modes, &again) == TW_OK);
        FUZZ_CHECK(packet.sequence == again.sequence && packet.stamp.bits == again.stamp.bits &&
                   packet.stamp.error == again.stamp.error);
    }
    if (tw_get_test_reply(in, n, modes, &reply) == TW_OK) {
        struct tw_test_reply again;
        tw_put_test_reply(out, modes, &reply);
        FUZZ_CHECK(tw_get_test_reply(out, layout.reflector_header, modes, &again) == TW_OK);
        FUZZ_CHECK(reply.sequence == again.sequence && reply.receive == again.receive &&
                   reply.sender_stamp.bits == again.sender_stamp.bits &&
                   reply.sender_sequence == again.sender_sequence &&
                   reply.sender_ttl == again.sender_ttl);
    } else {
        FUZZ_CHECK(n < layout.reflector_header);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const uint32_t modes = (UINT32_C(1) << data[0] % 4) | ((uint32_t)data[1] << 4 & 0x3f0);
    const size_t n = size - 2;
    /* Memory of its own size, so that every octet read beyond it shows. */
    uint8_t *in = malloc(n + (n == 0));
    FUZZ_CHECK(in != NULL);
    memcpy(in, data + 2, n);
    check_greeting(in, n);
    check_setup_response(in, n);
    check_server_start(in, n);
    check_request(in, n);
    check_accept_session(in, n);
    check_stop_sessions(in, n);
    check_command(in, n);
    check_test_packets(in, n, modes);
    free(in);
    return 0;
}
