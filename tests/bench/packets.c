/* The contract is in packets.h. */
#include "twamp-config.h"

#include "bench/packets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/bytes.h"
#include "lib/crypto.h"

/* Offsets of RFC 5357 section 4.2.1, where they are needed before a reply is opened. */
enum {
    CLEAR_SENDER_SEQUENCE = 24,
    SECURED_SENDER_SEQUENCE = 48,
};

static uint64_t now_bits(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return tw_ntp_from_wall((tw_wall){(int64_t)now.tv_sec * TW_NS_PER_S + now.tv_nsec});
}

/* Octets of which no two neighbours need be equal: a shifted copy does not look right. */
static void fill_padding(uint8_t *out, size_t n)
{
    static const uint8_t seed[TW_RANDOM_SEED_SIZE] = {1};
    struct tw_random random;
    tw_random_seed(&random, seed);
    tw_random_fill(&random, out, n);
}

struct tw_test_packet bench_packets_header(const struct bench_packets *packets, uint64_t number)
{
    const uint64_t n = packets->sealed != NULL ? number % packets->lap : number;
    const uint64_t turn = n / ((uint64_t)packets->count * packets->run);
    const unsigned scale = n >> 8 & 0x3f;
    const unsigned multiplier = 1 + (unsigned)(n % 255); /* never 0 */
    return (struct tw_test_packet){
        .sequence = (uint32_t)(turn * packets->run + n % packets->run),
        .stamp.bits = packets->first_bits + n,
        .stamp.error = (uint16_t)(TW_ERROR_SYNCHRONIZED | scale << 8 | multiplier),
    };
}

static bool seal_all(struct bench_packets *packets)
{
    uint8_t *sealed = malloc((size_t)packets->lap * packets->header);
    if (sealed == NULL)
        return false;
    packets->sealed = sealed; /* from now on headers are those of a lap */
    for (uint32_t slot = 0; slot < packets->lap; slot++) {
        uint8_t *out = sealed + slot * packets->header;
        const struct tw_test_packet header = bench_packets_header(packets, slot);
        struct tw_protection *protection =
            packets->flows[bench_packets_flow(packets, slot)].protection;
        tw_put_test_packet(out, packets->modes, &header);
        tw_protection_seal_before_stamp(protection, out);
        tw_protection_seal_after_stamp(protection, out);
    }
    return true;
}

bool bench_packets_init(struct bench_packets *packets, uint32_t modes, size_t size,
                        const struct bench_flow *flows, unsigned count, unsigned run, bool mirrored)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    const size_t least = tw_test_sender_size(modes, 0);
    *packets = (struct bench_packets){
        .modes = modes,
        .flows = flows,
        .count = count,
        .run = run,
        .mirrored = mirrored,
        .size = size,
        .header = layout.sender_header,
        .reply_size = mirrored ? size : tw_test_reply_size(modes, size),
        .reply_header = mirrored ? least : layout.reflector_header,
        .lap = BENCH_PACKETS_LAP / (count * run) * (count * run),
        .first_bits = now_bits(),
    };
    if (size < least || size > TW_UDP_PAYLOAD_MAX || packets->reply_size < packets->reply_header) {
        fprintf(stderr, "a packet of %zu octets: %zu to %d are possible\n", size, least,
                TW_UDP_PAYLOAD_MAX);
        return false;
    }
    packets->padded = calloc(1, size);
    if (packets->padded == NULL || (layout.secured && !seal_all(packets))) {
        fputs("no memory for packets\n", stderr);
        bench_packets_free(packets);
        return false;
    }
    fill_padding(packets->padded + least, size - least);
    return true;
}

void bench_packets_free(struct bench_packets *packets)
{
    free(packets->sealed);
    free(packets->padded);
    packets->sealed = NULL;
    packets->padded = NULL;
}

void bench_packets_write(const struct bench_packets *packets, uint64_t number, uint8_t *out)
{
    if (packets->sealed != NULL) {
        memcpy(out, packets->sealed + number % packets->lap * packets->header, packets->header);
        return;
    }
    const struct tw_test_packet header = bench_packets_header(packets, number);
    tw_put_test_packet(out, packets->modes, &header);
}

bool bench_packets_sequence(const struct bench_packets *packets, unsigned flow,
                            const uint8_t *reply, size_t n, uint32_t *sequence)
{
    const bool secured = packets->sealed != NULL;
    const size_t at = packets->mirrored ? 0
                      : secured         ? SECURED_SENDER_SEQUENCE
                                        : CLEAR_SENDER_SEQUENCE;
    if (n < at + sizeof *sequence)
        return false;
    const struct tw_protection *protection = packets->flows[flow].protection;
    if (protection == NULL || !protection->encrypted) {
        *sequence = tw_get32(reply + at);
        return true;
    }
    if (n < at + TW_AES_BLOCK_SIZE)
        return false;
    uint8_t chain[TW_AES_BLOCK_SIZE];
    uint8_t clear[TW_AES_BLOCK_SIZE];
    memcpy(chain, reply + at - sizeof chain, sizeof chain);
    tw_cipher_cbc_decrypt(&protection->decrypt, chain, clear, reply + at, sizeof clear);
    *sequence = tw_get32(clear);
    return true;
}

static bool is_zero(const uint8_t *octets, size_t n)
{
    return n == 0 || (octets[0] == 0 && memcmp(octets, octets + 1, n - 1) == 0);
}

bool bench_packets_padding_is_right(const struct bench_packets *packets, const uint8_t *octets,
                                    size_t from, size_t to)
{
    if (to <= from)
        return true;
    const size_t padding = tw_test_sender_size(packets->modes, 0);
    const size_t skipped = from - packets->reply_header;
    /* A reply that is longer than its packet, for want of padding, is filled up with zeros. */
    const size_t there = packets->size > padding + skipped ? packets->size - padding - skipped : 0;
    const size_t reused = to - from < there ? to - from : there;
    const bool is_reused = memcmp(octets, packets->padded + padding + skipped, reused) == 0 &&
                           is_zero(octets + reused, to - from - reused);
    return is_reused || (!packets->mirrored && is_zero(octets, to - from));
}
