/* Comparing and hashing addresses, for access lists, session tables and the engine.
 *
 * Writing addresses as text and turning them into sockaddrs needs the system and is not done here.
 */
#include "lib/address.h"

#include <string.h>

#include "lib/bytes.h"

bool tw_address_same_host(const struct tw_address *a, const struct tw_address *b)
{
    return a->family == b->family && a->scope == b->scope &&
           memcmp(a->octets, b->octets, sizeof a->octets) == 0;
}

bool tw_address_equal(const struct tw_address *a, const struct tw_address *b)
{
    return a->port == b->port && tw_address_same_host(a, b);
}

bool tw_address_is_unspecified(const struct tw_address *a)
{
    static const uint8_t zero[sizeof a->octets];
    return a->family == 0 || memcmp(a->octets, zero, sizeof zero) == 0;
}

bool tw_address_in_prefix(const struct tw_address *a, const struct tw_address *prefix,
                          unsigned bits)
{
    if (a->family != prefix->family || a->family == 0)
        return false;
    const unsigned width = 8 * sizeof a->octets;
    if (bits > width)
        bits = width;
    const unsigned whole = bits / 8;
    if (memcmp(a->octets, prefix->octets, whole) != 0)
        return false;
    const unsigned rest = bits % 8;
    if (rest == 0)
        return true;
    return (a->octets[whole] ^ prefix->octets[whole]) >> (8 - rest) == 0;
}

static inline uint32_t rotate(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

/* One SipRound of HalfSipHash (Aumasson, Bernstein). Inline, so that its state stays in registers:
 * every test packet is hashed. */
static inline __attribute__((always_inline)) void mix(uint32_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 5) ^ v[0];
    v[0] = rotate(v[0], 16);
    v[2] += v[3];
    v[3] = rotate(v[3], 8) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 7) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 13) ^ v[2];
    v[2] = rotate(v[2], 16);
}

/* HalfSipHash-1-3, the variant made for hash tables; the second key word is the seed's complement,
 * for want of another. The input has a fixed length, so its length is not hashed. */
uint32_t tw_address_hash(const struct tw_address *a, uint32_t seed)
{
    const uint32_t words[] = {
        tw_get32(a->octets),
        tw_get32(a->octets + 4),
        tw_get32(a->octets + 8),
        tw_get32(a->octets + 12),
        a->scope,
        (uint32_t)a->family << 16 | a->port,
    };
    uint32_t v[4] = {seed, ~seed, UINT32_C(0x6c796765) ^ seed, UINT32_C(0x74656462) ^ ~seed};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        v[3] ^= words[i];
        mix(v);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++)
        mix(v);
    return v[1] ^ v[3];
}
