/* Sealing and opening of test packets; the contract is in protection.h. */
#include "lib/protection.h"

#include <assert.h>
#include <string.h>

/* Of a secured header: what the HMAC covers in encrypted mode, which is all that lies before it. */
enum {
    PACKET_CLEAR = 32,
    REPLY_CLEAR = 96,
    PACKET_HEADER = PACKET_CLEAR + TW_HMAC_SIZE,
    REPLY_HEADER = REPLY_CLEAR + TW_HMAC_SIZE,
};
_Static_assert((int)REPLY_HEADER == TW_PROTECTION_HEADER_MAX, "reply");

void tw_protection_init(struct tw_protection *protection, uint32_t modes,
                        const struct tw_keys *keys)
{
    assert(tw_test_layout(modes).secured);
    protection->encrypted = (modes & TW_MODE_ENCRYPTED) != 0;
    tw_cipher_init_encrypt(&protection->encrypt, keys->aes);
    tw_cipher_init_decrypt(&protection->decrypt, keys->aes);
    tw_mac_init(&protection->mac, keys->hmac);
}

/* How many of the octets before the HMAC are covered and enciphered. */
static size_t covered(const struct tw_protection *protection, size_t before_hmac)
{
    return protection->encrypted ? before_hmac : TW_AES_BLOCK_SIZE;
}

static void seal(struct tw_protection *protection, uint8_t *header, size_t before_hmac)
{
    const size_t n = covered(protection, before_hmac);
    uint8_t chain[TW_AES_BLOCK_SIZE] = {0};
    tw_mac_update(&protection->mac, header, n);
    tw_mac_finish(&protection->mac, header + before_hmac);
    tw_cipher_cbc_encrypt(&protection->encrypt, chain, header, header, n);
}

static bool open_header(struct tw_protection *protection, const uint8_t *in, size_t before_hmac,
                        uint8_t *clear)
{
    if (protection == NULL)
        return true;
    const size_t n = covered(protection, before_hmac);
    uint8_t chain[TW_AES_BLOCK_SIZE] = {0};
    uint8_t expected[TW_MAC_SIZE];
    tw_cipher_cbc_decrypt(&protection->decrypt, chain, clear, in, n);
    memcpy(clear + n, in + n, before_hmac + TW_HMAC_SIZE - n);
    tw_mac_update(&protection->mac, clear, n);
    tw_mac_finish(&protection->mac, expected);
    return tw_equal_secret(expected, in + before_hmac, TW_HMAC_SIZE);
}

void tw_protection_seal_before_stamp(struct tw_protection *protection, uint8_t *packet)
{
    if (protection != NULL && !protection->encrypted)
        seal(protection, packet, PACKET_CLEAR);
}

void tw_protection_seal_after_stamp(struct tw_protection *protection, uint8_t *packet)
{
    if (protection != NULL && protection->encrypted)
        seal(protection, packet, PACKET_CLEAR);
}

void tw_protection_seal_reply(struct tw_protection *protection, uint8_t *reply)
{
    if (protection != NULL)
        seal(protection, reply, REPLY_CLEAR);
}

bool tw_protection_open_packet(struct tw_protection *protection, const uint8_t *in,
                               uint8_t clear[TW_PROTECTION_HEADER_MAX])
{
    return open_header(protection, in, PACKET_CLEAR, clear);
}

bool tw_protection_open_reply(struct tw_protection *protection, const uint8_t *in,
                              uint8_t clear[TW_PROTECTION_HEADER_MAX])
{
    return open_header(protection, in, REPLY_CLEAR, clear);
}
