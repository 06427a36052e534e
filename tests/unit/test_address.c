/* lib/address.h: comparing, prefixes at every length, and the spread of the hash. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/address.h"

static const struct tw_address none;

static struct tw_address ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct tw_address){.octets = {a, b, c, d}, .port = 862, .family = 4};
}

/* fe80::1 on interface 2. */
static struct tw_address link_local(void)
{
    return (struct tw_address){
        .octets = {0xfe, 0x80, [15] = 1}, .scope = 2, .port = 862, .family = 6};
}

static void same_host_ignores_the_port_only(void **state)
{
    (void)state;
    const struct tw_address a = link_local();
    struct tw_address b = a;
    assert_true(tw_address_same_host(&a, &b));
    assert_true(tw_address_equal(&a, &b));
    b.port = 863;
    assert_true(tw_address_same_host(&a, &b));
    assert_false(tw_address_equal(&a, &b));
    b = a;
    b.scope = 3;
    assert_false(tw_address_same_host(&a, &b));
    assert_false(tw_address_equal(&a, &b));
    b = a;
    b.octets[15] = 2;
    assert_false(tw_address_same_host(&a, &b));
    assert_false(tw_address_equal(&a, &b));
}

static void families_are_never_equal(void **state)
{
    (void)state;
    const struct tw_address v4 = {.family = 4};
    const struct tw_address v6 = {.family = 6};
    assert_false(tw_address_same_host(&v4, &v6));
    assert_false(tw_address_equal(&v4, &v6));
    assert_false(tw_address_equal(&v4, &none));
    assert_true(tw_address_equal(&none, &none));
}

static void unspecified_addresses_are_recognised(void **state)
{
    (void)state;
    const struct tw_address any4 = ipv4(0, 0, 0, 0);
    const struct tw_address any6 = {.family = 6};
    const struct tw_address loopback6 = {.octets = {[15] = 1}, .family = 6};
    const struct tw_address low4 = ipv4(0, 0, 0, 1);
    assert_true(tw_address_is_unspecified(&none));
    assert_true(tw_address_is_unspecified(&any4));
    assert_true(tw_address_is_unspecified(&any6));
    assert_false(tw_address_is_unspecified(&loopback6));
    assert_false(tw_address_is_unspecified(&low4));
}

static void prefix_of_each_length_ends_at_its_bit(void **state)
{
    (void)state;
    const struct tw_address a = {
        .octets = {0x20, 0x01, 0x0d, 0xb8, 0x55, 0xaa, 0xff, 0, 1, 2, 4, 8, 16, 32, 64, 128},
        .family = 6};
    for (unsigned changed = 0; changed < 128; changed++) {
        struct tw_address b = a;
        b.octets[changed / 8] ^= (uint8_t)(0x80u >> changed % 8);
        for (unsigned bits = 0; bits <= 128; bits++)
            assert_int_equal(tw_address_in_prefix(&a, &b, bits), bits <= changed);
    }
    for (unsigned bits = 0; bits <= 128; bits++)
        assert_true(tw_address_in_prefix(&a, &a, bits));
}

static void prefix_bits_beyond_the_address_are_no_danger(void **state)
{
    (void)state;
    const struct tw_address a = ipv4(192, 0, 2, 1);
    const struct tw_address b = ipv4(192, 0, 2, 2);
    assert_true(tw_address_in_prefix(&a, &b, 30));
    assert_false(tw_address_in_prefix(&a, &b, 31));
    assert_true(tw_address_in_prefix(&a, &a, 33));
    assert_true(tw_address_in_prefix(&a, &a, 4000000000u));
    assert_false(tw_address_in_prefix(&a, &b, 4000000000u));
}

static void prefix_never_matches_another_family_or_none(void **state)
{
    (void)state;
    const struct tw_address any4 = {.family = 4};
    const struct tw_address any6 = {.family = 6};
    assert_false(tw_address_in_prefix(&any4, &any6, 0));
    assert_false(tw_address_in_prefix(&any6, &any4, 0));
    assert_false(tw_address_in_prefix(&none, &none, 0));
}

static void prefix_looks_at_neither_scope_nor_port(void **state)
{
    (void)state;
    const struct tw_address a = link_local();
    struct tw_address b = a;
    b.scope = 3;
    b.port = 1;
    assert_true(tw_address_in_prefix(&a, &b, 128));
    assert_true(tw_address_in_prefix(&a, &b, 200));
}

/* Computed by another implementation of HalfSipHash-1-3, which agrees with the vectors of Linux's
 * lib/test_siphash.c. */
static void hash_has_the_values_of_half_sip_hash(void **state)
{
    (void)state;
    const struct tw_address v4 = ipv4(192, 0, 2, 1);
    const struct tw_address v6 = {
        .octets = {0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6},
        .port = 20000,
        .family = 6};
    const struct tw_address local = link_local();
    assert_int_equal(tw_address_hash(&v4, 0), 0x0291608f);
    assert_int_equal(tw_address_hash(&v4, 0x12345678), 0x74639b6b);
    assert_int_equal(tw_address_hash(&v6, 0x12345678), 0x246fa640);
    assert_int_equal(tw_address_hash(&local, 0xffffffff), 0xcd9686b9);
}

static unsigned bits_set(uint32_t v)
{
    unsigned n = 0;
    for (; v != 0; v &= v - 1)
        n++;
    return n;
}

/* Octet i of the address with its scope, port and family behind it, for flipping single bits. */
static void flip(struct tw_address *a, unsigned bit)
{
    if (bit < 128)
        a->octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
    else if (bit < 160)
        a->scope ^= UINT32_C(1) << (bit - 128);
    else if (bit < 176)
        a->port ^= (uint16_t)(1u << (bit - 160));
    else
        a->family ^= (uint8_t)(1u << (bit - 176));
}

/* A change of any input bit, or of the seed, changes about half of the hash. */
static void every_bit_of_address_and_seed_moves_the_hash(void **state)
{
    (void)state;
    enum { SEEDS = 64 };
    for (unsigned bit = 0; bit < 184 + 32; bit++) {
        unsigned changed = 0;
        for (uint32_t i = 0; i < SEEDS; i++) {
            const uint32_t seed = i * UINT32_C(0x9e3779b1);
            struct tw_address a = link_local();
            const uint32_t before = tw_address_hash(&a, seed);
            uint32_t after_seed = seed;
            if (bit < 184)
                flip(&a, bit);
            else
                after_seed ^= UINT32_C(1) << (bit - 184);
            changed += bits_set(before ^ tw_address_hash(&a, after_seed));
        }
        /* 2048 fair coins: 1024 expected, standard deviation 22.6. */
        assert_in_range(changed, 1024 - 150, 1024 + 150);
    }
}

static void equal_addresses_have_equal_hashes(void **state)
{
    (void)state;
    const struct tw_address a = link_local();
    const struct tw_address b = link_local();
    assert_int_equal(tw_address_hash(&a, 77), tw_address_hash(&b, 77));
}

/* What a peer can choose freely, its ports and neighbouring addresses, fills buckets evenly by the
 * low as by the high bits of the hash. */
static void neighbouring_addresses_spread_over_all_buckets(void **state)
{
    (void)state;
    enum { BUCKETS = 1024, ADDRESSES = 65536, MEAN = ADDRESSES / BUCKETS };
    static unsigned low[BUCKETS];
    static unsigned high[BUCKETS];
    for (int by_port = 0; by_port < 2; by_port++) {
        for (unsigned i = 0; i < BUCKETS; i++)
            low[i] = high[i] = 0;
        for (uint32_t i = 0; i < ADDRESSES; i++) {
            struct tw_address a = ipv4(10, 0, 0, 1);
            if (by_port) {
                a.port = (uint16_t)i;
            } else {
                a.octets[2] = (uint8_t)(i >> 8);
                a.octets[3] = (uint8_t)i;
            }
            const uint32_t hash = tw_address_hash(&a, 12345);
            low[hash % BUCKETS]++;
            high[hash >> 22]++;
        }
        /* Mean 64, standard deviation 8. */
        for (unsigned i = 0; i < BUCKETS; i++) {
            assert_in_range(low[i], MEAN - 48, MEAN + 48);
            assert_in_range(high[i], MEAN - 48, MEAN + 48);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_host_ignores_the_port_only),
        cmocka_unit_test(families_are_never_equal),
        cmocka_unit_test(unspecified_addresses_are_recognised),
        cmocka_unit_test(prefix_of_each_length_ends_at_its_bit),
        cmocka_unit_test(prefix_bits_beyond_the_address_are_no_danger),
        cmocka_unit_test(prefix_never_matches_another_family_or_none),
        cmocka_unit_test(prefix_looks_at_neither_scope_nor_port),
        cmocka_unit_test(hash_has_the_values_of_half_sip_hash),
        cmocka_unit_test(every_bit_of_address_and_seed_moves_the_hash),
        cmocka_unit_test(equal_addresses_have_equal_hashes),
        cmocka_unit_test(neighbouring_addresses_spread_over_all_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
