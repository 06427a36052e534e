/* What goes through the two buffers of a control connection and the ciphers of its two directions,
 * for the Server and the Control-Client machine.
 *
 * It does not know what a message means nor how long it is: the machines say so, message part by
 * message part. */
#include "lib/channel.h"

#include <assert.h>
#include <string.h>

static size_t pending(const struct tw_channel *channel)
{
    return (size_t)(channel->queued - channel->sent);
}

void tw_channel_init(struct tw_channel *channel, const struct tw_channel_memory *memory,
                     size_t need)
{
    memset(channel, 0, sizeof *channel);
    channel->memory = *memory;
    tw_channel_next(channel, need);
}

uint8_t *tw_channel_input(struct tw_channel *channel, size_t *room)
{
    *room = (size_t)(channel->need - channel->have);
    return channel->memory.in + channel->have;
}

/* Deciphers all blocks that have come whole. */
static void decipher(struct tw_channel *channel)
{
    struct tw_channel_stream *stream = &channel->memory.ciphers->receive;
    const size_t blocks = (size_t)(channel->have - channel->clear) / TW_AES_BLOCK_SIZE;
    const size_t n = blocks * TW_AES_BLOCK_SIZE;
    uint8_t *from = channel->memory.in + channel->clear;
    tw_cipher_cbc_decrypt(&stream->cipher, stream->chain, from, from, n);
    channel->clear = (uint16_t)(channel->clear + n);
}

void tw_channel_received(struct tw_channel *channel, size_t n)
{
    assert(n <= (size_t)(channel->need - channel->have));
    channel->have = (uint16_t)(channel->have + n);
    if (channel->secured)
        decipher(channel);
}

bool tw_channel_complete(const struct tw_channel *channel)
{
    return channel->have == channel->need;
}

void tw_channel_expect(struct tw_channel *channel, size_t need)
{
    assert(need >= channel->have && need <= channel->memory.in_size);
    channel->need = (uint16_t)need;
}

void tw_channel_next(struct tw_channel *channel, size_t need)
{
    channel->have = 0;
    channel->clear = 0;
    tw_channel_expect(channel, need);
}

bool tw_channel_verify(struct tw_channel *channel)
{
    if (!channel->secured)
        return true;
    assert(tw_channel_complete(channel) && channel->clear == channel->have &&
           channel->have >= TW_HMAC_SIZE);
    const size_t covered = (size_t)channel->have - TW_HMAC_SIZE;
    uint8_t expected[TW_MAC_SIZE];
    tw_mac_update(&channel->memory.ciphers->receive.mac, channel->memory.in, covered);
    tw_mac_finish(&channel->memory.ciphers->receive.mac, expected);
    return tw_equal_secret(expected, channel->memory.in + covered, TW_HMAC_SIZE);
}

bool tw_channel_ends_here(struct tw_channel *channel)
{
    assert(channel->secured);
    struct tw_mac before = channel->memory.ciphers->receive.mac;
    const bool ends = tw_channel_verify(channel);
    if (!ends)
        channel->memory.ciphers->receive.mac = before;
    explicit_bzero(&before, sizeof before);
    return ends;
}

bool tw_channel_has_room(const struct tw_channel *channel, size_t n)
{
    return n <= channel->memory.out_size - pending(channel);
}

uint8_t *tw_channel_place(struct tw_channel *channel, size_t n)
{
    assert(tw_channel_has_room(channel, n));
    if (n > (size_t)(channel->memory.out_size - channel->queued)) {
        memmove(channel->memory.out, channel->memory.out + channel->sent, pending(channel));
        channel->queued = (uint16_t)pending(channel);
        channel->sent = 0;
    }
    return channel->memory.out + channel->queued;
}

static void encipher(struct tw_channel_stream *stream, uint8_t *octets, size_t n)
{
    tw_cipher_cbc_encrypt(&stream->cipher, stream->chain, octets, octets, n);
}

void tw_channel_queue(struct tw_channel *channel, size_t n)
{
    uint8_t *message = channel->memory.out + channel->queued;
    if (channel->secured) {
        assert(n % TW_AES_BLOCK_SIZE == 0 && n >= TW_HMAC_SIZE);
        tw_mac_update(&channel->memory.ciphers->send.mac, message, n - TW_HMAC_SIZE);
        tw_mac_finish(&channel->memory.ciphers->send.mac, message + n - TW_HMAC_SIZE);
        encipher(&channel->memory.ciphers->send, message, n);
    }
    channel->queued = (uint16_t)(channel->queued + n);
}

void tw_channel_secure(struct tw_channel *channel, const struct tw_keys *keys,
                       const uint8_t receive_iv[TW_IV_SIZE], const uint8_t send_iv[TW_IV_SIZE])
{
    assert(channel->memory.ciphers != NULL);
    channel->secured = true;
    struct tw_channel_stream *receive = &channel->memory.ciphers->receive;
    struct tw_channel_stream *send = &channel->memory.ciphers->send;
    tw_cipher_init_decrypt(&receive->cipher, keys->aes);
    tw_cipher_init_encrypt(&send->cipher, keys->aes);
    tw_mac_init(&receive->mac, keys->hmac);
    tw_mac_init(&send->mac, keys->hmac);
    memcpy(receive->chain, receive_iv, TW_IV_SIZE);
    memcpy(send->chain, send_iv, TW_IV_SIZE);
}

/* Octets of Server-Start before the block that is enciphered. */
enum { SERVER_START_CLEAR = TW_SERVER_START_SIZE - TW_AES_BLOCK_SIZE };

void tw_channel_queue_server_start(struct tw_channel *channel)
{
    assert(channel->secured);
    uint8_t *block = channel->memory.out + channel->queued + SERVER_START_CLEAR;
    tw_mac_update(&channel->memory.ciphers->send.mac, block, TW_AES_BLOCK_SIZE);
    encipher(&channel->memory.ciphers->send, block, TW_AES_BLOCK_SIZE);
    channel->queued = (uint16_t)(channel->queued + TW_SERVER_START_SIZE);
}

void tw_channel_open_server_start(struct tw_channel *channel)
{
    assert(channel->secured && channel->have == TW_SERVER_START_SIZE);
    channel->clear = SERVER_START_CLEAR;
    decipher(channel);
    tw_mac_update(&channel->memory.ciphers->receive.mac, channel->memory.in + SERVER_START_CLEAR,
                  TW_AES_BLOCK_SIZE);
}

void tw_channel_wipe(struct tw_channel *channel)
{
    const struct tw_channel_memory memory = channel->memory;
    if (memory.in != NULL)
        explicit_bzero(memory.in, memory.in_size);
    if (memory.out != NULL)
        explicit_bzero(memory.out, memory.out_size);
    if (memory.ciphers != NULL)
        explicit_bzero(memory.ciphers, sizeof *memory.ciphers);
    explicit_bzero(channel, sizeof *channel);
    channel->memory = memory;
}

const uint8_t *tw_channel_output(const struct tw_channel *channel, size_t *n)
{
    *n = pending(channel);
    return channel->memory.out + channel->sent;
}

void tw_channel_sent(struct tw_channel *channel, size_t n)
{
    assert(n <= pending(channel));
    channel->sent = (uint16_t)(channel->sent + n);
    if (channel->sent == channel->queued)
        channel->sent = channel->queued = 0;
}
