/* For the unit tests: octets written in hexadecimal, as captures and test vectors come. */
#ifndef TW_TESTS_UNIT_HEX_H
#define TW_TESTS_UNIT_HEX_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline unsigned hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c < 'a' || c > 'f')
        abort();
    return (unsigned)(c - 'a') + 10;
}

/* The number of octets; more than `cap`, or what is not hexadecimal, is an error of the test. */
static inline size_t octets_from_hex(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = 0;
    for (; hex[2 * n] != '\0'; n++) {
        if (n == cap)
            abort();
        out[n] = (uint8_t)(hex_digit(hex[2 * n]) << 4 | hex_digit(hex[2 * n + 1]));
    }
    return n;
}

#endif
