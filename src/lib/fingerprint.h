/* What the commands of a Control-Client show of its maker: departures from the standard that the
 * Server lives with (quirk.h).
 *
 * For the Server machine, which collects them. It judges nothing: a command with quirks is served
 * like one without. */
#ifndef TW_LIB_FINGERPRINT_H
#define TW_LIB_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

/* The set of enum tw_quirk that a Mode field shows. */
uint32_t tw_fingerprint_mode(uint32_t mode);

/* The set of enum tw_quirk that a command shows: `size` octets, deciphered and authentic, where
 * size is tw_command_size(). `modes` are those of the connection; they say which octets must be
 * zero. */
uint32_t tw_fingerprint_command(const uint8_t *command, size_t size, uint32_t modes);

#endif
