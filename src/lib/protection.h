/* Protects TWAMP-Test packets of one session in authenticated and encrypted mode, and opens them
 * (RFC 4656 section 4.1.2, RFC 5357 section 4.2.1).
 *
 * For the Session-Sender and the Session-Reflector. Works on the headers alone, in the layout of
 * wire.h: the HMAC is made over the clear octets, then the first octets are enciphered; each packet
 * is a stream of its own, with IV 0. In unauthenticated and mixed mode there is nothing to protect:
 * the session has no struct tw_protection, and every function takes NULL, does nothing and says
 * yes.
 *
 * Authenticated mode protects the first block only: the Sequence Number. All timestamps and, in a
 * reply, the copy of the sender's number are clear and can be altered on the way. Neither mode
 * protects against replays: copies are measured, not dropped. */
#ifndef TW_LIB_PROTECTION_H
#define TW_LIB_PROTECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/crypto.h"
#include "lib/keys.h"
#include "lib/wire.h"

/* Largest protected header: Hr of the secured modes. */
enum { TW_PROTECTION_HEADER_MAX = 112 };

/* Key schedules, computed once for a session (RFC 5357 section 4.2.1). */
struct tw_protection {
    bool encrypted; /* the whole header but the HMAC, else its first block */
    struct tw_cipher encrypt, decrypt;
    struct tw_mac mac;
};

/* `modes` must be those of a secured layout; `keys` are the session's own (tw_keys_for_session) and
 * are not kept. Wiping the result is the owner's duty. */
void tw_protection_init(struct tw_protection *protection, uint32_t modes,
                        const struct tw_keys *keys);

/* A sender packet in two steps around its stamp: what can be done before the clock is read is done
 * before. `packet` has Hs octets at least, its number written before the first step and its stamp
 * before the second. */
void tw_protection_seal_before_stamp(struct tw_protection *protection, uint8_t *packet);
void tw_protection_seal_after_stamp(struct tw_protection *protection, uint8_t *packet);

/* A reply, of Hr octets at least, complete. */
void tw_protection_seal_reply(struct tw_protection *protection, uint8_t *reply);

/* Copies the header of a packet (Hs octets) or reply (Hr octets) into `clear`, deciphered; false
 * when its HMAC is wrong. `in` has that many octets. With NULL nothing is copied and the
 * caller reads `in`. */
bool tw_protection_open_packet(struct tw_protection *protection, const uint8_t *in,
                               uint8_t clear[TW_PROTECTION_HEADER_MAX]);
bool tw_protection_open_reply(struct tw_protection *protection, const uint8_t *in,
                              uint8_t clear[TW_PROTECTION_HEADER_MAX]);

#endif
