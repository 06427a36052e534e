/* The Control-Client's half of the cryptography of TWAMP-Control for tests, from RFC 4656 sections
 * 3.1, 3.2 and 3.4 and RFC 5357 section 3.2 on nettle's primitives, without lib/crypto, lib/keys or
 * lib/channel; and a connection whose octets were computed with other libraries. */
#ifndef TW_TESTS_UNIT_SECURED_CLIENT_H
#define TW_TESTS_UNIT_SECURED_CLIENT_H

#include <nettle/aes.h>
#include <nettle/hmac.h>
#include <nettle/pbkdf2.h>

#include "control.h"

/* One connection: passphrase, what each end draws, and every octet after the greeting. IPv4, ports
 * 20000 to 20001, 192.0.2.10 to 192.0.2.1, padding 64, Timeout 2 s, EF. */
#define VECTOR_SECRET        "twamp-kat-secret"
#define VECTOR_COUNT         1024
#define VECTOR_SALT          "000102030405060708090a0b0c0d0e0f"
#define VECTOR_CHALLENGE     "101112131415161718191a1b1c1d1e1f"
#define VECTOR_AES_KEY       "202122232425262728292a2b2c2d2e2f"
#define VECTOR_HMAC_KEY      "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f"
#define VECTOR_CLIENT_IV     "505152535455565758595a5b5c5d5e5f"
#define VECTOR_SERVER_IV     "606162636465666768696a6b6c6d6e6f"
#define VECTOR_DERIVED       "27034f31cc8456307be63a03585ed40a"
#define VECTOR_START_TIME    UINT64_C(0xe9a1b2c000000000)
#define VECTOR_SID           "c0000201e9a1b2c380000000deadbeef"
#define VECTOR_SESSION_AES   "65c60e044a27ffa90736c934230c6ece"
#define VECTOR_SESSION_HMAC  "0d81d62efe912b9f5a28b326dd2d5aa9e8f51fe920b56da1a8cae38ae8fef4a7"
#define VECTOR_RECEIVER_PORT 20001
#define VECTOR_TOKEN                                                                               \
    "bc1d0e7268786eaafd3298bf06cf4ee5886a6636d1d484fb3ee617d1a17b627f"                             \
    "bc55306c64c47056062592a6df9e481c29dc7db142bc5caf4a4f9b7da69649f1"
#define VECTOR_REQUEST                                                                             \
    "9424581769f53fa30acc683297f459cbe5627538cdd73d46b0f8a7648f26a06c"                             \
    "eb68c62987465a81c81013c56326a3ad488c70bbc73550e1eb99a323254f7f46"                             \
    "48598abdad8d3a1f16033c5eb3ef2b5a4f9a773ce3ddf85da2ef8ab906e99051"                             \
    "cb9a339199891793fb66c968fb4bf812"
#define VECTOR_START    "7267f175f955cef96987644bedde0a496cee958cd52a5be8bbf47b128981edbb"
#define VECTOR_STOP     "ee8d133224e8f314d3ecc3df68dafdf4b4c995447b16b91520fbfae8328f25c8"
#define VECTOR_COMMANDS VECTOR_REQUEST VECTOR_START VECTOR_STOP
#define VECTOR_SERVER_START                                                                        \
    "00000000000000000000000000000000" VECTOR_SERVER_IV "3c839fcf724744a3265b9f22e5b998b1"
#define VECTOR_ACCEPT_SESSION                                                                      \
    "a78b0d36cf77ef83a3e8b4f219f8875387b4992d34771a230ea1ad8dadf5ab2d"                             \
    "2a4bf0cfa333930952b7832d14e94e1d"
#define VECTOR_START_ACK "180a5ab53fa2b76e29823e78d9c05ca29d67a47af69618df11435fe565ea2447"
#define VECTOR_ANSWERS   VECTOR_SERVER_START VECTOR_ACCEPT_SESSION VECTOR_START_ACK

#define SECURED_KEYID "616c696365" /* alice */

/* Keys are those of the vectors, unless a test changes them before secured_set_up(). */
struct secured_client {
    uint8_t derived[16], aes_key[16], hmac_key[32], client_iv[16];
    uint8_t send_chain[16], receive_chain[16];
    struct hmac_sha1_ctx send_mac, receive_mac;
};

static inline void secured_init(struct secured_client *client)
{
    memset(client, 0, sizeof(*client));
    octets_from_hex(VECTOR_DERIVED, client->derived, 16);
    octets_from_hex(VECTOR_AES_KEY, client->aes_key, 16);
    octets_from_hex(VECTOR_HMAC_KEY, client->hmac_key, 32);
    octets_from_hex(VECTOR_CLIENT_IV, client->client_iv, 16);
}

static inline void cbc_encrypt_octets(const uint8_t key[16], uint8_t chain[16], uint8_t *octets,
                                      size_t n)
{
    struct aes128_ctx aes;
    aes128_set_encrypt_key(&aes, key);
    for (size_t at = 0; at < n; at += 16) {
        for (size_t i = 0; i < 16; i++)
            octets[at + i] ^= chain[i];
        aes128_encrypt(&aes, 16, octets + at, octets + at);
        memcpy(chain, octets + at, 16);
    }
}

static inline void cbc_decrypt_octets(const uint8_t key[16], uint8_t chain[16], uint8_t *octets,
                                      size_t n)
{
    struct aes128_ctx aes;
    aes128_set_decrypt_key(&aes, key);
    for (size_t at = 0; at < n; at += 16) {
        uint8_t next[16];
        memcpy(next, octets + at, 16);
        aes128_decrypt(&aes, 16, octets + at, octets + at);
        for (size_t i = 0; i < 16; i++)
            octets[at + i] ^= chain[i];
        memcpy(chain, next, 16);
    }
}

/* The Set-Up-Response to a greeting's challenge, with the KeyID "alice". */
static inline uint8_t *secured_set_up(struct secured_client *client, struct stream *stream,
                                      uint32_t mode, const uint8_t challenge[16])
{
    uint8_t zero[16] = {0};
    uint8_t *response = stream_add(stream, 164);
    tw_put32(response, mode);
    octets_from_hex(SECURED_KEYID, response + 4, 80);
    memcpy(response + 84, challenge, 16);
    memcpy(response + 100, client->aes_key, 16);
    memcpy(response + 116, client->hmac_key, 32);
    cbc_encrypt_octets(client->derived, zero, response + 84, 64);
    memcpy(response + 148, client->client_iv, 16);
    memcpy(client->send_chain, client->client_iv, 16);
    hmac_sha1_set_key(&client->send_mac, 32, client->hmac_key);
    hmac_sha1_set_key(&client->receive_mac, 32, client->hmac_key);
    return response;
}

/* Takes Server-Start, and with it the beginning of what the server sends. */
static inline void secured_server_start(struct secured_client *client, uint8_t start[48])
{
    memcpy(client->receive_chain, start + 16, 16);
    cbc_decrypt_octets(client->aes_key, client->receive_chain, start + 32, 16);
    hmac_sha1_update(&client->receive_mac, 16, start + 32);
}

/* One message, its HMAC field the last 16 octets, signed and enciphered at the stream's end. */
static inline void secured_send(struct secured_client *client, struct stream *stream,
                                const uint8_t *message, size_t n)
{
    uint8_t *out = stream_add(stream, n);
    memcpy(out, message, n - 16);
    hmac_sha1_update(&client->send_mac, n - 16, message);
    hmac_sha1_digest(&client->send_mac, 16, out + n - 16);
    cbc_encrypt_octets(client->aes_key, client->send_chain, out, n);
}

/* Deciphers a message in place; its HMAC must be right, and is then set to zero so that the message
 * looks as in the clear. */
static inline void secured_receive(struct secured_client *client, uint8_t *message, size_t n)
{
    uint8_t expected[16];
    cbc_decrypt_octets(client->aes_key, client->receive_chain, message, n);
    hmac_sha1_update(&client->receive_mac, n - 16, message);
    hmac_sha1_digest(&client->receive_mac, 16, expected);
    assert_memory_equal(message + n - 16, expected, 16);
    memset(message + n - 16, 0, 16);
}

/* Octets of the command that begins here. */
static inline size_t command_length(const uint8_t *command)
{
    switch (command[0]) {
    case 5:
        return 112;
    case 7:
    case 9:
        return 32 + 16 * (size_t)tw_get32(command + 12);
    default:
        return 32;
    }
}

/* All commands of a clear stream, as secured_send() has them. */
static inline void secured_send_all(struct secured_client *client, struct stream *stream,
                                    const struct stream *clear)
{
    for (size_t at = 0; at < clear->n;) {
        const size_t n = command_length(clear->octets + at);
        secured_send(client, stream, clear->octets + at, n);
        at += n;
    }
}

#endif
