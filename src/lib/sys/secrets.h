/* The file of shared secrets: lines `keyid<whitespace>passphrase`, for the daemon and for every
 * Control-Client.
 *
 * Empty lines and lines that begin with # are skipped. A KeyID has 1 to 80 octets of UTF-8 without
 * whitespace; the passphrase is the rest of the line, without whitespace at its ends, 1 or more
 * printable ASCII characters (RFC 5357 section 3.1: NVT-ASCII without control characters), CR LF
 * as line ends are understood. A KeyID may stand there once. The file must be a regular one, not
 * readable or writable by others.
 *
 * Passphrases live in memory that is wiped when it is freed, and appear in no message. */
#ifndef TW_SYS_SECRETS_H
#define TW_SYS_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/wire.h"

struct tw_secret {
    uint8_t keyid[TW_KEYID_SIZE]; /* zero padded, as on the wire */
    uint8_t *passphrase;          /* without an end */
    size_t size;                  /* of it, in octets */
};

struct tw_secrets {
    struct tw_secret *all; /* in the order of the file */
    size_t count;
};

enum {
    TW_SECRETS_WHY = 256,
    TW_SECRETS_PASSPHRASE_MAX = 1024, /* octets */
};

/* 0; or -errno with a line in `why` that says what is wrong ("FILE:LINE: ..." where it is a line,
 * -EINVAL; -EACCES when others may read the file), and `secrets` is empty. An empty file is no
 * error. */
int tw_secrets_load(struct tw_secrets *secrets, const char *path, char why[TW_SECRETS_WHY]);

/* NULL if there is none. */
const struct tw_secret *tw_secrets_find(const struct tw_secrets *secrets,
                                        const uint8_t keyid[TW_KEYID_SIZE]);

/* The KeyID `text` in wire form; false when it is none (empty, too long, whitespace, not UTF-8). */
bool tw_secrets_keyid(const char *text, uint8_t keyid[TW_KEYID_SIZE]);

/* Whether a text is UTF-8 (RFC 3629). */
bool tw_secrets_is_utf8(const char *text);

/* Wipes. An empty one may be freed. */
void tw_secrets_free(struct tw_secrets *secrets);

#endif
