/* Values on the command lines of the bench programs. Each function is false with one line on stderr
 * that says what is wrong with the value. */
#ifndef BENCH_ARGUMENTS_H
#define BENCH_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"

bool bench_read_number(const char *text, uint64_t least, uint64_t most, uint64_t *number);

/* At least 1. */
bool bench_read_unsigned(const char *text, unsigned most, unsigned *number);

/* 0 to 86400, decimals allowed. */
bool bench_read_seconds(const char *text, int64_t *ns);

/* "192.0.2.1:862", "[2001:db8::1]:862". */
bool bench_read_address(const char *text, struct tw_address *address);

/* The address that follows by i; the same port. */
struct tw_address bench_address_after(struct tw_address address, unsigned i);

/* The security bit of a mode by its name, and that name as a constant. */
bool bench_read_mode(const char *text, uint32_t *mode, const char **name);

/* The first line of a file. */
bool bench_read_secret(const char *path, char *secret, size_t size);

/* For the caller's own values. */
bool bench_wrong(const char *what, const char *value);

#endif
