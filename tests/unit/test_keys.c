/* lib/keys.h and the ciphers of lib/crypto.h, held against the tables of NIST SP 800-38A,
 * values computed with another library (Python's hashlib and hmac), and known-answer vectors of the
 * whole TWAMP key schedule that two independent libraries agree on. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <string.h>

#include "lib/keys.h"
#include "unit/hex.h"

static void count_from(uint8_t *out, size_t n, unsigned first)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(first + i);
}

static void assert_hex(const uint8_t *octets, size_t n, const char *hex)
{
    uint8_t expected[256];
    assert_int_equal(octets_from_hex(hex, expected, sizeof expected), n);
    assert_memory_equal(octets, expected, n);
}

/* SP 800-38A F.2.1: four blocks. */
static const char nist_key[] = "2b7e151628aed2a6abf7158809cf4f3c";
static const char nist_plain[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                                 "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
static const char nist_cipher[] =
    "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
    "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7";

static void cbc_in_any_pieces_is_that_of_the_standard(void **state)
{
    (void)state;
    uint8_t key[16];
    uint8_t plain[64];
    octets_from_hex(nist_key, key, sizeof key);
    octets_from_hex(nist_plain, plain, sizeof plain);
    for (size_t cut = 0; cut <= sizeof plain; cut += 16) {
        struct tw_cipher encrypt;
        struct tw_cipher decrypt;
        uint8_t chain[16];
        uint8_t work[64];
        tw_cipher_init_encrypt(&encrypt, key);
        count_from(chain, sizeof chain, 0);
        tw_cipher_cbc_encrypt(&encrypt, chain, work, plain, cut);
        tw_cipher_cbc_encrypt(&encrypt, chain, work + cut, plain + cut, sizeof plain - cut);
        assert_hex(work, sizeof work, nist_cipher);
        assert_memory_equal(chain, work + 48, 16);

        tw_cipher_init_decrypt(&decrypt, key);
        count_from(chain, sizeof chain, 0);
        tw_cipher_cbc_decrypt(&decrypt, chain, work, work, cut); /* in place */
        tw_cipher_cbc_decrypt(&decrypt, chain, work + cut, work + cut, sizeof work - cut);
        assert_memory_equal(work, plain, sizeof plain);
    }
}

static void mac_is_hmac_sha1_cut_to_16_octets_and_starts_anew(void **state)
{
    (void)state;
    uint8_t key[32];
    uint8_t message[200];
    uint8_t out[16];
    struct tw_mac mac;
    count_from(key, sizeof key, 0x30);
    count_from(message, sizeof message, 0);
    tw_mac_init(&mac, key);
    for (size_t cut = 0; cut <= sizeof message; cut++) {
        tw_mac_update(&mac, message, cut);
        tw_mac_update(&mac, message + cut, sizeof message - cut);
        tw_mac_finish(&mac, out);
        assert_hex(out, sizeof out, "1160597ef213dcd096dfbb48d4c5c7e6");
    }
    tw_mac_finish(&mac, out);
    assert_hex(out, sizeof out, "e9c84fca7c5af283906b72c8c5db45e0");
    tw_mac_update(&mac, (const uint8_t *)"abc", 3);
    tw_mac_finish(&mac, out);
    assert_hex(out, sizeof out, "d92ff53197d4b7cc9aac00fe90d065d6");
}

static void comparison_sees_every_single_bit(void **state)
{
    (void)state;
    uint8_t a[16];
    uint8_t b[16];
    count_from(a, sizeof a, 7);
    memcpy(b, a, sizeof b);
    assert_true(tw_equal_secret(a, b, sizeof a));
    for (unsigned bit = 0; bit < 8 * sizeof b; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(tw_equal_secret(a, b, sizeof a));
        b[bit / 8] = a[bit / 8];
    }
    assert_true(tw_equal_secret(a, b, 0));
}

static void derived_key_depends_on_secret_salt_and_count(void **state)
{
    (void)state;
    uint8_t salt[16];
    uint8_t key[16];
    uint8_t long_secret[100];
    count_from(salt, sizeof salt, 0);
    tw_derive_key((const uint8_t *)"twamp-kat-secret", 16, salt, 1024, key);
    assert_hex(key, sizeof key, "27034f31cc8456307be63a03585ed40a");
    tw_derive_key((const uint8_t *)"alice", 5, salt, 2048, key);
    assert_hex(key, sizeof key, "a6275234201101bf6a8151858f9fac10");
    memset(salt, 0xff, sizeof salt);
    memset(long_secret, 'x', sizeof long_secret);
    tw_derive_key(long_secret, sizeof long_secret, salt, 1024, key);
    assert_hex(key, sizeof key, "29ba9112137e5e02ac6267a7f02a0912");
}

static struct tw_keys control_keys(void)
{
    struct tw_keys keys = {0};
    count_from(keys.aes, sizeof keys.aes, 0x20);
    count_from(keys.hmac, sizeof keys.hmac, 0x30);
    return keys;
}

static const char derived_hex[] = "27034f31cc8456307be63a03585ed40a";
static const char token_hex[] = "bc1d0e7268786eaafd3298bf06cf4ee5886a6636d1d484fb3ee617d1a17b627f"
                                "bc55306c64c47056062592a6df9e481c29dc7db142bc5caf4a4f9b7da69649f1";

static void token_is_the_known_answer_and_opens_again(void **state)
{
    (void)state;
    const struct tw_keys keys = control_keys();
    uint8_t derived[16];
    uint8_t challenge[16];
    uint8_t token[64];
    octets_from_hex(derived_hex, derived, sizeof derived);
    count_from(challenge, sizeof challenge, 0x10);
    tw_keys_seal_token(&keys, derived, challenge, token);
    assert_hex(token, sizeof token, token_hex);
    struct tw_keys opened;
    assert_true(tw_keys_open_token(&opened, derived, challenge, token));
    assert_memory_equal(&opened, &keys, sizeof keys);
}

static void token_for_another_challenge_or_key_gives_no_keys(void **state)
{
    (void)state;
    static const struct tw_keys wiped;
    uint8_t derived[16];
    uint8_t challenge[16];
    uint8_t token[64];
    octets_from_hex(derived_hex, derived, sizeof derived);
    octets_from_hex(token_hex, token, sizeof token);
    count_from(challenge, sizeof challenge, 0x10);
    for (unsigned bit = 0; bit < 128; bit++) {
        struct tw_keys opened = control_keys();
        challenge[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(tw_keys_open_token(&opened, derived, challenge, token));
        assert_memory_equal(&opened, &wiped, sizeof wiped);
        challenge[bit / 8] ^= (uint8_t)(1u << bit % 8);

        opened = control_keys();
        derived[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(tw_keys_open_token(&opened, derived, challenge, token));
        assert_memory_equal(&opened, &wiped, sizeof wiped);
        derived[bit / 8] ^= (uint8_t)(1u << bit % 8);

        /* The first block holds the challenge; the keys have no protection of their own. */
        opened = control_keys();
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(tw_keys_open_token(&opened, derived, challenge, token));
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void session_keys_follow_from_the_sid(void **state)
{
    (void)state;
    const struct tw_keys control = control_keys();
    struct tw_keys session;
    uint8_t sid[16];
    octets_from_hex("c0000201e9a1b2c380000000deadbeef", sid, sizeof sid);
    tw_keys_for_session(&control, sid, &session);
    assert_hex(session.aes, sizeof session.aes, "65c60e044a27ffa90736c934230c6ece");
    assert_hex(session.hmac, sizeof session.hmac,
               "0d81d62efe912b9f5a28b326dd2d5aa9e8f51fe920b56da1a8cae38ae8fef4a7");
}

static void drawn_keys_are_fresh_and_unrelated(void **state)
{
    (void)state;
    uint8_t seed[TW_RANDOM_SEED_SIZE] = {1};
    struct tw_random random;
    struct tw_keys keys[2];
    tw_random_seed(&random, seed);
    tw_keys_draw(&keys[0], &random);
    tw_keys_draw(&keys[1], &random);
    assert_memory_not_equal(keys[0].aes, keys[1].aes, 16);
    assert_memory_not_equal(keys[0].hmac, keys[1].hmac, 32);
    assert_memory_not_equal(keys[0].aes, keys[0].hmac, 16);
    assert_memory_not_equal(keys[0].aes, keys[0].hmac + 16, 16);
}

static void count_is_a_power_of_two_from_1024(void **state)
{
    (void)state;
    static const uint32_t good[] = {1024, 2048, 32768, 65536, UINT32_C(1) << 31};
    static const uint32_t bad[] = {0, 1, 512, 1000, 1023, 1025, 3072, 32767, UINT32_MAX};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(tw_keys_count_is_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tw_keys_count_is_valid(bad[i]));
}

static void every_mode_but_the_open_one_needs_keys(void **state)
{
    (void)state;
    assert_false(tw_keys_needed(TW_MODE_UNAUTHENTICATED | TW_MODE_FEATURES));
    assert_true(tw_keys_needed(TW_MODE_AUTHENTICATED));
    assert_true(tw_keys_needed(TW_MODE_ENCRYPTED | TW_MODE_SYMMETRICAL));
    assert_true(tw_keys_needed(TW_MODE_MIXED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cbc_in_any_pieces_is_that_of_the_standard),
        cmocka_unit_test(mac_is_hmac_sha1_cut_to_16_octets_and_starts_anew),
        cmocka_unit_test(comparison_sees_every_single_bit),
        cmocka_unit_test(derived_key_depends_on_secret_salt_and_count),
        cmocka_unit_test(token_is_the_known_answer_and_opens_again),
        cmocka_unit_test(token_for_another_challenge_or_key_gives_no_keys),
        cmocka_unit_test(session_keys_follow_from_the_sid),
        cmocka_unit_test(drawn_keys_are_fresh_and_unrelated),
        cmocka_unit_test(count_is_a_power_of_two_from_1024),
        cmocka_unit_test(every_mode_but_the_open_one_needs_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
