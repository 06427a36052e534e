/* The Session-Reflector under any packets: in every mode, where the harness seals what it sends
 * with the session's keys unless the script wants otherwise.
 *
 * Held: replies have the length that the standard gives them, are authentic, count up by one and
 * copy what they must; what is not answered uses no number. */
#include "fuzz/fuzz.h"

#include "lib/keys.h"
#include "lib/reflector.h"

const char fuzz_name[] = "reflector";

enum { PACKET = 2048, STEPS = 300 };

struct world {
    struct fuzz_input input;
    struct tw_reflector reflector;
    struct tw_protection protection, peer;
    bool secured;
    uint32_t modes;
    struct tw_test_layout layout;
    struct tw_random random;
    tw_mono now;
    tw_wall wall;
    uint32_t expected; /* number of the next reply */
};

static void begin(struct world *world)
{
    static const uint8_t seed[TW_RANDOM_SEED_SIZE] = {3};
    struct tw_keys keys;
    const uint32_t security = UINT32_C(1) << fuzz_octet(&world->input) % 4;
    const uint32_t features = (uint32_t)fuzz_number(&world->input, 2) & TW_MODE_FEATURES;
    tw_random_seed(&world->random, seed);
    tw_keys_draw(&keys, &world->random);
    world->modes = security | features;
    world->layout = tw_test_layout(world->modes);
    world->secured = world->layout.secured;
    if (world->secured) {
        tw_protection_init(&world->protection, world->modes, &keys);
        tw_protection_init(&world->peer, world->modes, &keys);
    }
    struct tw_reflector_config config = {
        .modes = world->modes,
        .padding = (enum tw_padding)(fuzz_octet(&world->input) % 3),
        .refwait_ns = 300 * TW_NS_PER_S,
        .timeout_ns = fuzz_duration_ns(&world->input),
        .max_rate = fuzz_octet(&world->input),
        .tai_utc_s = 37,
        .padding_length = (uint32_t)fuzz_number(&world->input, 2) % 1400,
        .protection = world->secured ? &world->protection : NULL,
    };
    if ((features & TW_MODE_REFLECT_OCTETS) != 0 && config.padding_length > 0)
        config.reflect_length = (uint16_t)(fuzz_number(&world->input, 2) % config.padding_length);
    world->now = (tw_mono){TW_NS_PER_S};
    world->wall = (tw_wall){INT64_C(1700000000) * TW_NS_PER_S};
    tw_reflector_init(&world->reflector, &config);
}

static size_t make_packet(struct world *world, uint8_t *packet)
{
    const size_t n = (size_t)fuzz_number(&world->input, 2) % PACKET;
    const uint8_t how = fuzz_octet(&world->input) % 4;
    uint8_t seed = fuzz_octet(&world->input);
    for (size_t i = 0; i < n; i++)
        packet[i] = (uint8_t)(seed += 29);
    if (n < world->layout.sender_header)
        return n;
    const struct tw_test_packet header = {
        .sequence = (uint32_t)fuzz_number(&world->input, 4),
        .stamp = {fuzz_number(&world->input, 8), (uint16_t)fuzz_number(&world->input, 2)},
    };
    tw_put_test_packet(packet, world->modes, &header);
    struct tw_protection *peer = world->secured && how != 0 ? &world->peer : NULL;
    tw_protection_seal_before_stamp(peer, packet);
    tw_put_test_stamp(packet, world->modes, header.stamp);
    tw_protection_seal_after_stamp(peer, packet);
    if (how == 1)
        fuzz_spoil(&world->input, packet, n);
    return n;
}

static void check_reply(struct world *world, const uint8_t *packet, size_t n, uint8_t *reply,
                        size_t len)
{
    uint8_t clear[TW_PROTECTION_HEADER_MAX];
    struct tw_test_reply header;
    const uint8_t *from = reply;
    FUZZ_CHECK(len >= n && (len == n || len <= world->layout.reflector_header));
    if (world->secured) {
        FUZZ_CHECK(tw_protection_open_reply(&world->peer, reply, clear));
        from = clear;
    }
    const enum tw_result result =
        tw_get_test_reply(from, len < 112 ? len : 112, world->modes, &header);
    FUZZ_CHECK(result == TW_OK);
    FUZZ_CHECK(header.sequence == world->expected++);
    FUZZ_CHECK(((header.stamp.error & TW_ERROR_PTP) != 0) == ((world->modes & TW_MODE_PTP) != 0));
    if (!world->secured) {
        struct tw_test_packet sent;
        FUZZ_CHECK(tw_get_test_packet(packet, n, world->modes, &sent) == TW_OK);
        FUZZ_CHECK(header.sender_sequence == sent.sequence &&
                   header.sender_stamp.bits == sent.stamp.bits &&
                   header.sender_stamp.error == sent.stamp.error);
    }
}

static void send_packet(struct world *world)
{
    uint8_t packet[PACKET];
    uint8_t reply[PACKET + TW_PROTECTION_HEADER_MAX];
    size_t len = 0;
    const size_t n = make_packet(world, packet);
    const struct tw_arrival arrival = {
        .at = world->wall,
        .source = TW_SOURCE_KERNEL,
        .read = {.mono = world->now, .wall = world->wall, .error = 0x8f84},
        .ttl = (int16_t)((int)fuzz_octet(&world->input) - 1),
        .tos = (int16_t)((int)fuzz_octet(&world->input) - 1),
    };
    /* In memory of its own, so that every octet read beyond it shows. */
    uint8_t *exact = malloc(n + (n == 0));
    FUZZ_CHECK(exact != NULL);
    memcpy(exact, packet, n);
    const enum tw_reflector_verdict verdict = tw_reflector_prepare(
        &world->reflector, exact, n, &arrival, &world->random, reply, sizeof reply, &len);
    free(exact);
    if (verdict != TW_REFLECT)
        return;
    const struct tw_reading departure = {
        .mono = world->now,
        .wall = {world->wall.ns + (int64_t)fuzz_octet(&world->input) - 8},
        .error = 0x8f84,
    };
    tw_reflector_stamp(&world->reflector, reply, &departure);
    check_reply(world, packet, n, reply, len);
}

static void step(struct world *world)
{
    switch (fuzz_octet(&world->input) % 8) {
    case 0:
        if (world->reflector.state == TW_REFLECTOR_ACCEPTED)
            tw_reflector_start(&world->reflector, world->now);
        break;
    case 1:
        if (fuzz_octet(&world->input) % 8 == 0)
            tw_reflector_stop(&world->reflector, world->now);
        break;
    case 2: {
        const int64_t passed_ns = fuzz_duration_ns(&world->input);
        world->now = tw_mono_after(world->now, passed_ns);
        world->wall.ns += passed_ns;
        tw_reflector_expire(&world->reflector, world->now);
        break;
    }
    default:
        send_packet(world);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    memset(&world, 0, sizeof world);
    world.input = (struct fuzz_input){data, size};
    begin(&world);
    for (unsigned i = 0; i < STEPS && world.input.left > 0; i++)
        step(&world);
    return 0;
}
