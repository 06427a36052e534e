/* What all fuzz targets share: the input as a script that is read octet by octet, and a check that
 * ends the program in every build.
 *
 * A target is one file with LLVMFuzzerTestOneInput. Built with --enable-fuzzing it is a libFuzzer
 * program; otherwise replay.c runs it over its corpus, tests/fuzz/corpus/NAME, as a test. */
#ifndef TW_TESTS_FUZZ_H
#define TW_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names the corpus. */
extern const char fuzz_name[];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The rest of the script; past its end everything is zero. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

static inline uint8_t fuzz_octet(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

static inline uint32_t fuzz_below(struct fuzz_input *input, uint32_t bound)
{
    return fuzz_octet(input) % bound;
}

static inline uint64_t fuzz_number(struct fuzz_input *input, unsigned octets)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < octets; i++)
        number = number << 8 | fuzz_octet(input);
    return number;
}

/* From nothing to days, every order of magnitude as likely. */
static inline int64_t fuzz_duration_ns(struct fuzz_input *input)
{
    const unsigned shift = fuzz_octet(input) % 48;
    return (int64_t)fuzz_octet(input) << shift;
}

static inline void fuzz_fill(struct fuzz_input *input, uint8_t *out, size_t n)
{
    const size_t here = n < input->left ? n : input->left;
    if (here > 0)
        memcpy(out, input->at, here);
    memset(out + here, 0, n - here);
    input->at += here;
    input->left -= here;
}

/* Writes over some octets of a message: how many, and each one's place and value. */
static inline void fuzz_spoil(struct fuzz_input *input, uint8_t *out, size_t n)
{
    for (unsigned changes = fuzz_octet(input) % 8; changes > 0 && n > 0; changes--) {
        const size_t place = (size_t)fuzz_number(input, 2) % n;
        out[place] = fuzz_octet(input);
    }
}

#endif
