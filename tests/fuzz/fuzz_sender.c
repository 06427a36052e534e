/* The Session-Sender and the statistics under any replies: in every mode, where the harness seals
 * what it sends back with the session's keys unless the script wants otherwise.
 *
 * Held: only packets that were sent give samples, the delays of a sample agree with one another,
 * and the summary of the session adds up. */
#include "fuzz/fuzz.h"

#include <math.h>

#include "lib/keys.h"
#include "lib/sender.h"
#include "lib/stats.h"

const char fuzz_name[] = "sender";

enum { SLOTS = 64, PACKET = 2048, STEPS = 400 };

struct world {
    struct fuzz_input input;
    struct tw_sender sender;
    struct tw_sender_slot slots[SLOTS];
    struct tw_stats stats;
    struct tw_stats_packet window[SLOTS];
    struct tw_protection protection, peer;
    bool secured;
    uint32_t modes;
    struct tw_test_layout layout;
    tw_mono now;
    tw_wall wall;
    uint32_t sent;
    uint32_t reflected;
    uint64_t t1_bits[SLOTS];
    uint64_t samples, lost;
    uint32_t withdrawn;
};

static void begin(struct world *world)
{
    static const uint8_t seed[TW_RANDOM_SEED_SIZE] = {4};
    struct tw_random random;
    struct tw_keys keys;
    const uint32_t security = UINT32_C(1) << fuzz_octet(&world->input) % 4;
    tw_random_seed(&random, seed);
    tw_keys_draw(&keys, &random);
    world->modes = security | ((uint32_t)fuzz_number(&world->input, 2) & TW_MODE_FEATURES);
    world->layout = tw_test_layout(world->modes);
    world->secured = world->layout.secured;
    if (world->secured) {
        tw_protection_init(&world->protection, world->modes, &keys);
        tw_protection_init(&world->peer, world->modes, &keys);
    }
    struct tw_sender_config config = {
        .modes = world->modes,
        .padding_length = (uint32_t)fuzz_number(&world->input, 2) % 1400,
        .zero_padding = (fuzz_octet(&world->input) & 1) != 0,
        .wait_ns = fuzz_duration_ns(&world->input),
        .tai_utc_s = 37,
        .protection = world->secured ? &world->protection : NULL,
    };
    if ((world->modes & TW_MODE_REFLECT_OCTETS) != 0 && config.padding_length > 3) {
        config.reflect_length =
            (uint16_t)(2 + fuzz_octet(&world->input) % (config.padding_length - 2));
        config.server_octets = (uint16_t)fuzz_number(&world->input, 2);
    }
    world->now = (tw_mono){TW_NS_PER_S};
    world->wall = (tw_wall){INT64_C(1700000000) * TW_NS_PER_S};
    tw_sender_init(&world->sender, &config, world->slots, SLOTS, &random);
    const struct tw_stats_config stats = {
        .stateful = (fuzz_octet(&world->input) & 1) != 0,
        .packets = world->window,
        .capacity = SLOTS,
    };
    tw_stats_init(&world->stats, &stats);
}

static struct tw_reading reading(const struct world *world)
{
    return (struct tw_reading){.mono = world->now, .wall = world->wall, .error = 0x8f84};
}

static void send_packet(struct world *world)
{
    uint8_t packet[PACKET];
    size_t len = 0;
    if (tw_sender_prepare(&world->sender, packet, sizeof packet, &len) != TW_OK)
        return;
    FUZZ_CHECK(len == tw_test_sender_size(world->modes, world->sender.config.padding_length));
    const struct tw_reading now = reading(world);
    tw_sender_stamp(&world->sender, packet, &now);
    if (fuzz_octet(&world->input) % 16 == 0) {
        tw_sender_unsend(&world->sender);
        return;
    }
    uint8_t clear[TW_PROTECTION_HEADER_MAX];
    struct tw_test_packet header;
    if (world->secured)
        FUZZ_CHECK(tw_protection_open_packet(&world->peer, packet, clear));
    const enum tw_result result = tw_get_test_packet(
        world->secured ? clear : packet, world->layout.sender_header, world->modes, &header);
    FUZZ_CHECK(result == TW_OK && header.sequence == world->sent);
    world->t1_bits[world->sent % SLOTS] = header.stamp.bits;
    world->sent++;
}

static size_t make_reply(struct world *world, uint8_t *reply)
{
    const uint8_t how = fuzz_octet(&world->input) % 4;
    size_t n = (size_t)fuzz_number(&world->input, 2) % PACKET;
    if (how >= 2)
        n = world->layout.reflector_header + n % 64;
    const uint32_t sequence =
        world->sent - fuzz_octet(&world->input) % SLOTS - (fuzz_octet(&world->input) & 1);
    const bool ptp = (fuzz_octet(&world->input) & 1) != 0;
    const tw_wall t2 = {world->wall.ns - fuzz_duration_ns(&world->input)};
    const tw_wall t3 = {t2.ns + fuzz_duration_ns(&world->input)};
    const struct tw_test_reply header = {
        .sequence = (fuzz_octet(&world->input) & 1) != 0 ? world->reflected++ : sequence,
        .stamp = {ptp ? tw_ptp_from_wall(t3, 37) : tw_ntp_from_wall(t3),
                  (uint16_t)((fuzz_octet(&world->input) & 0x80u) << 8 | (ptp ? TW_ERROR_PTP : 0u) |
                             fuzz_octet(&world->input))},
        .receive = ptp ? tw_ptp_from_wall(t2, 37) : tw_ntp_from_wall(t2),
        .sender_sequence = sequence,
        .sender_stamp = {world->t1_bits[sequence % SLOTS], 0x8f84},
        .sender_ttl = fuzz_octet(&world->input),
        .sender_dscp_ecn = fuzz_octet(&world->input),
    };
    memset(reply, 0, PACKET);
    tw_put_test_reply(reply, world->modes, &header);
    if (how == 1)
        fuzz_spoil(&world->input, reply, n);
    if (world->secured && how != 0)
        tw_protection_seal_reply(&world->peer, reply);
    if (how == 2)
        fuzz_spoil(&world->input, reply, n);
    return n;
}

static void receive_reply(struct world *world)
{
    uint8_t reply[PACKET];
    const size_t n = make_reply(world, reply);
    const struct tw_arrival arrival = {
        .at = {world->wall.ns - (int64_t)(fuzz_octet(&world->input) % 4)},
        .source = TW_SOURCE_KERNEL,
        .read = reading(world),
        .ttl = (int16_t)((int)fuzz_octet(&world->input) - 1),
        .tos = (int16_t)((int)fuzz_octet(&world->input) - 1),
    };
    uint8_t *exact = malloc(n + (n == 0));
    FUZZ_CHECK(exact != NULL);
    memcpy(exact, reply, n);
    struct tw_sample sample;
    const enum tw_sender_verdict verdict =
        tw_sender_receive(&world->sender, exact, n, &arrival, &sample);
    free(exact);
    if (verdict != TW_SENDER_SAMPLE)
        return;
    FUZZ_CHECK(sample.sequence < world->sent);
    const uint64_t both = (uint64_t)sample.forward_ns + (uint64_t)sample.reverse_ns;
    const uint64_t total = (uint64_t)sample.rtt_ns + (uint64_t)sample.processing_ns;
    FUZZ_CHECK(both == (uint64_t)sample.rtt_ns && total == (uint64_t)sample.rtt_total_ns);
    world->samples++;
    tw_stats_add(&world->stats, &sample);
}

/* A refusal while the reflector warms up. */
static void withdraw(struct world *world)
{
    if (world->stats.observation.any || world->lost > 0 || !tw_sender_withdraw(&world->sender))
        return; /* what is withdrawn comes before all the rest */
    tw_stats_skip(&world->stats);
    world->withdrawn++;
}

static void lose(struct world *world)
{
    uint32_t sequence;
    while (tw_sender_next_lost(&world->sender, world->now, &sequence)) {
        FUZZ_CHECK(sequence < world->sent);
        world->lost++;
    }
}

static void step(struct world *world)
{
    switch (fuzz_octet(&world->input) % 8) {
    case 0: {
        const int64_t passed_ns = fuzz_duration_ns(&world->input) % (TW_NS_PER_S * 4000);
        world->now = tw_mono_after(world->now, passed_ns);
        world->wall.ns += passed_ns;
        break;
    }
    case 1:
        lose(world);
        break;
    case 2:
        world->wall.ns += (int64_t)fuzz_octet(&world->input) * TW_NS_PER_MS; /* a step */
        break;
    case 3:
    case 4:
        send_packet(world);
        break;
    case 5:
        withdraw(world);
        break;
    default:
        receive_reply(world);
        break;
    }
}

static void end(struct world *world)
{
    static int64_t scratch[SLOTS];
    struct tw_summary summary;
    const uint32_t sent = world->sent - world->withdrawn;
    tw_stats_finish(&world->stats, sent, scratch, &summary);
    FUZZ_CHECK(summary.sent == sent);
    FUZZ_CHECK(summary.received + summary.lost == summary.sent);
    if (summary.direction_known)
        FUZZ_CHECK(summary.lost_forward + summary.lost_reverse + summary.lost_undecided ==
                   summary.lost);
    FUZZ_CHECK(world->samples > 0 || summary.received == 0);
    FUZZ_CHECK(summary.rtt.n == 0 ||
               (summary.rtt.min <= summary.rtt.max && summary.rtt.mean >= summary.rtt.min - 1 &&
                summary.rtt.mean <= summary.rtt.max + 1));
    FUZZ_CHECK(summary.rtt.n > 0 || isnan(summary.rtt.mean));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    memset(&world, 0, sizeof world);
    world.input = (struct fuzz_input){data, size};
    begin(&world);
    for (unsigned i = 0; i < STEPS && world.input.left > 0; i++)
        step(&world);
    end(&world);
    return 0;
}
