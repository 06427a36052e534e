/* lib/crypto.h: the random generator against ChaCha20 key streams made by other programs, and what
 * it promises beyond them. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <string.h>

#include "hex.h"
#include "lib/crypto.h"

static struct tw_random seeded(uint8_t number)
{
    uint8_t seed[TW_RANDOM_SEED_SIZE] = {number};
    struct tw_random random;
    memset(&random, 0, sizeof random);
    tw_random_seed(&random, seed);
    return random;
}

/* The block of the zero key is RFC 8439 appendix A.1, test vector 1. Its first half is the key of
 * the second block, and so on: those blocks were made with OpenSSL's chacha20. */
static void output_is_the_second_half_of_each_block(void **state)
{
    (void)state;
    uint8_t expected[96];
    uint8_t drawn[96];
    assert_int_equal(
        octets_from_hex("da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
                        "afbdad2845b93cdbb2fe6463d2fe162adae0f6e676f0494218f5ce0596e79f5c"
                        "835c9677f558611a69389b6ee93b043029b657d23144c775f0d0454bce601267",
                        expected, sizeof expected),
        sizeof expected);
    struct tw_random random = seeded(0);
    tw_random_fill(&random, drawn, sizeof drawn);
    assert_memory_equal(drawn, expected, sizeof expected);
}

static void pieces_of_any_size_make_the_same_stream(void **state)
{
    (void)state;
    uint8_t whole[1000];
    struct tw_random random = seeded(1);
    tw_random_fill(&random, whole, sizeof whole);
    for (size_t piece = 1; piece < 100; piece++) {
        uint8_t pieces[sizeof whole];
        random = seeded(1);
        for (size_t at = 0; at < sizeof pieces; at += piece) {
            const size_t left = sizeof pieces - at;
            tw_random_fill(&random, pieces + at, piece < left ? piece : left);
        }
        assert_memory_equal(pieces, whole, sizeof whole);
    }
}

static void drawing_nothing_changes_nothing(void **state)
{
    (void)state;
    struct tw_random random = seeded(2);
    const struct tw_random before = random;
    tw_random_fill(&random, NULL, 0);
    assert_memory_equal(&random, &before, sizeof random);
}

static void seeds_decide_the_stream(void **state)
{
    (void)state;
    uint8_t a[32];
    uint8_t b[32];
    struct tw_random first = seeded(3);
    struct tw_random second = seeded(4);
    tw_random_fill(&first, a, sizeof a);
    tw_random_fill(&second, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);

    /* A generator in use forgets what it was. */
    uint8_t seed[TW_RANDOM_SEED_SIZE] = {4};
    tw_random_seed(&first, seed);
    tw_random_fill(&first, a, sizeof a);
    assert_memory_equal(a, b, sizeof a);
}

static bool contains(const void *memory, size_t n, const uint8_t *octets, size_t count)
{
    const uint8_t *at = memory;
    for (size_t i = 0; i + count <= n; i++)
        if (memcmp(at + i, octets, count) == 0)
            return true;
    return false;
}

static void memory_does_not_tell_what_was_drawn_nor_the_old_key(void **state)
{
    (void)state;
    uint8_t seed[TW_RANDOM_SEED_SIZE];
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (uint8_t)(i + 1);
    struct tw_random random;
    memset(&random, 0, sizeof random);
    tw_random_seed(&random, seed);
    for (int i = 0; i < 50; i++) {
        uint8_t drawn[13];
        tw_random_fill(&random, drawn, sizeof drawn);
        assert_false(contains(&random, sizeof random, drawn, 4));
        assert_false(contains(&random, sizeof random, seed, 4));
    }
}

static void numbers_stay_below_their_bound(void **state)
{
    (void)state;
    static const uint32_t bounds[] = {
        1, 2, 3, 7, 256, 1000003, UINT32_C(1) << 31, (UINT32_C(1) << 31) + 1, UINT32_MAX};
    struct tw_random random = seeded(5);
    for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++)
        for (int i = 0; i < 1000; i++)
            assert_true(tw_random_below(&random, bounds[b]) < bounds[b]);
}

static void small_numbers_are_equally_frequent(void **state)
{
    (void)state;
    enum { BOUND = 10, DRAWS = 100000 };
    unsigned seen[BOUND] = {0};
    struct tw_random random = seeded(6);
    for (int i = 0; i < DRAWS; i++)
        seen[tw_random_below(&random, BOUND)]++;
    /* Mean 10000, standard deviation 95. */
    for (int i = 0; i < BOUND; i++)
        assert_in_range(seen[i], 10000 - 570, 10000 + 570);
}

/* A remainder alone would give the lowest third of this range half of all draws. */
static void bound_that_does_not_divide_the_range_is_not_biased(void **state)
{
    (void)state;
    enum { DRAWS = 30000 };
    const uint32_t third = UINT32_C(1) << 30;
    unsigned seen[3] = {0};
    struct tw_random random = seeded(7);
    for (int i = 0; i < DRAWS; i++)
        seen[tw_random_below(&random, 3 * third) / third]++;
    /* Mean 10000, standard deviation 82. */
    for (int i = 0; i < 3; i++)
        assert_in_range(seen[i], 10000 - 490, 10000 + 490);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_is_the_second_half_of_each_block),
        cmocka_unit_test(pieces_of_any_size_make_the_same_stream),
        cmocka_unit_test(drawing_nothing_changes_nothing),
        cmocka_unit_test(seeds_decide_the_stream),
        cmocka_unit_test(memory_does_not_tell_what_was_drawn_nor_the_old_key),
        cmocka_unit_test(numbers_stay_below_their_bound),
        cmocka_unit_test(small_numbers_are_equally_frequent),
        cmocka_unit_test(bound_that_does_not_divide_the_range_is_not_biased),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
