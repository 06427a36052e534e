/* A secured session whose keys are known, and packets of it that were made without this project's
 * code, with Python's cryptography library.
 *
 * All have Sender Sequence Number 7, T1 a quarter second after second e9a1b2c4, Error Estimates
 * 8f84 and 8e80, reflector's Sequence Number 3, T2 half and T3 three quarters of a second after it,
 * Sender TTL 63. PTP timestamps count from TAI, 37 s ahead of UTC. */
#ifndef TW_TESTS_UNIT_PROTECTION_RIG_H
#define TW_TESTS_UNIT_PROTECTION_RIG_H

#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "hex.h"
#include "lib/protection.h"

#define VECTOR_WALL_NS INT64_C(1710699588000000000) /* second e9a1b2c4 */

enum {
    VECTOR_SEQUENCE = 7,
    VECTOR_REFLECTOR_SEQUENCE = 3,
    VECTOR_ERROR = 0x8f84,
    VECTOR_REFLECTOR_ERROR = 0x8e80,
    VECTOR_TTL = 63,
    VECTOR_TOS = 0xb9, /* where there is one */
    SECURED_PACKET = 48,
    SECURED_REPLY = 112,
};

struct vectors {
    uint32_t modes;
    const char *packet, *packet_ptp;
    const char *reply, *reply_dscp_ecn, *reply_dscp_ecn_ptp;
};

static const struct vectors all_vectors[] = {
    {
        .modes = TW_MODE_AUTHENTICATED,
        .packet = "74fb50c8f7801917350ac28fe9f14c16e9a1b2c4400000008f84000000000000"
                  "d4b6b6ba48b7b55daee4692265375c49",
        .packet_ptp = "74fb50c8f7801917350ac28fe9f14c1665f734690ee6b280cf84000000000000"
                      "d4b6b6ba48b7b55daee4692265375c49",
        .reply = "9ed7086380bbf17278d3f02734bf21d2e9a1b2c4c00000008e80000000000000"
                 "e9a1b2c480000000000000000000000000000007000000000000000000000000"
                 "e9a1b2c4400000008f840000000000003f000000000000000000000000000000"
                 "013a346f98ad10acf1646d7b9a7b0a1f",
        .reply_dscp_ecn = "9ed7086380bbf17278d3f02734bf21d2e9a1b2c4c00000008e80000000000000"
                          "e9a1b2c480000000000000000000000000000007000000000000000000000000"
                          "e9a1b2c4400000008f840000000000003fb90000000000000000000000000000"
                          "013a346f98ad10acf1646d7b9a7b0a1f",
        .reply_dscp_ecn_ptp = "9ed7086380bbf17278d3f02734bf21d265f734692cb41780ce80000000000000"
                              "65f734691dcd6500000000000000000000000007000000000000000000000000"
                              "65f734690ee6b280cf840000000000003fb90000000000000000000000000000"
                              "013a346f98ad10acf1646d7b9a7b0a1f",
    },
    {
        .modes = TW_MODE_ENCRYPTED,
        .packet = "74fb50c8f7801917350ac28fe9f14c167b223e97fbb73f4cef26d2001f06056c"
                  "61b5b4484b0a71173e068e283172790a",
        .packet_ptp = "74fb50c8f7801917350ac28fe9f14c161e76cbd2536852c358b3615eb67056c2"
                      "5864e04a3ee71a908de8ed61799f00b8",
        .reply = "9ed7086380bbf17278d3f02734bf21d2385646e803cb64e9e639f07e853b70de"
                 "25ec9a2d4b51a4670c61608bb9f4674b2483c1d506f2853f3aaabf6b35a4b63e"
                 "04a80a06f1f519a8b014e286d4691ba8adc74814928345386d561d79b2787146"
                 "4bc8fdabd07cb52ab94321bdb8d39062",
        .reply_dscp_ecn = "9ed7086380bbf17278d3f02734bf21d2385646e803cb64e9e639f07e853b70de"
                          "25ec9a2d4b51a4670c61608bb9f4674b2483c1d506f2853f3aaabf6b35a4b63e"
                          "04a80a06f1f519a8b014e286d4691ba87662e7a1eaf0c63f1e812a1bc4b63386"
                          "c7ea6ab527de3407fb9f6980bbac87b7",
        .reply_dscp_ecn_ptp = "9ed7086380bbf17278d3f02734bf21d267a8c2103b8678003c0c212108fd886c"
                              "dc15c2802990afd01cdfc28aab726dfa1d6dd87b6668d1a780ef710196b1ef31"
                              "5bfc1ef0ca29dbb00ef35dea8cf6451e3ae707bb1bdac0dfa44e327104afba68"
                              "7cc3927ad6346e4b21e85b72afa3811c",
    },
};

static const struct vectors *const all_vectors_end =
    all_vectors + sizeof(all_vectors) / sizeof(all_vectors[0]);

static inline void keys_from_hex(const char *aes, const char *hmac, struct tw_keys *keys)
{
    assert_int_equal(octets_from_hex(aes, keys->aes, sizeof(keys->aes)), sizeof(keys->aes));
    assert_int_equal(octets_from_hex(hmac, keys->hmac, sizeof(keys->hmac)), sizeof(keys->hmac));
}

/* The session's keys: of SID c0000201e9a1b2c380000000deadbeef, from AES Session-key 20..2f and HMAC
 * Session-key 30..4f. */
static inline void protect(struct tw_protection *protection, uint32_t modes)
{
    struct tw_keys keys;
    keys_from_hex("65c60e044a27ffa90736c934230c6ece",
                  "0d81d62efe912b9f5a28b326dd2d5aa9e8f51fe920b56da1a8cae38ae8fef4a7", &keys);
    tw_protection_init(protection, modes, &keys);
}

#endif
