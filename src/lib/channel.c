/* The two buffers of a control connection, for the Server and the Control-Client machine.
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

void tw_channel_init(struct tw_channel *channel, size_t need)
{
    memset(channel, 0, sizeof *channel);
    tw_channel_next(channel, need);
}

uint8_t *tw_channel_input(struct tw_channel *channel, size_t *room)
{
    *room = (size_t)(channel->need - channel->have);
    return channel->in + channel->have;
}

void tw_channel_received(struct tw_channel *channel, size_t n)
{
    assert(n <= (size_t)(channel->need - channel->have));
    channel->have = (uint16_t)(channel->have + n);
}

bool tw_channel_complete(const struct tw_channel *channel)
{
    return channel->have == channel->need;
}

void tw_channel_expect(struct tw_channel *channel, size_t need)
{
    assert(need >= channel->have && need <= TW_CHANNEL_IN);
    channel->need = (uint16_t)need;
}

void tw_channel_next(struct tw_channel *channel, size_t need)
{
    channel->have = 0;
    tw_channel_expect(channel, need);
}

bool tw_channel_has_room(const struct tw_channel *channel, size_t n)
{
    return n <= TW_CHANNEL_OUT - pending(channel);
}

uint8_t *tw_channel_queue(struct tw_channel *channel, size_t n)
{
    assert(tw_channel_has_room(channel, n));
    if (n > (size_t)(TW_CHANNEL_OUT - channel->queued)) {
        memmove(channel->out, channel->out + channel->sent, pending(channel));
        channel->queued = (uint16_t)pending(channel);
        channel->sent = 0;
    }
    uint8_t *message = channel->out + channel->queued;
    channel->queued = (uint16_t)(channel->queued + n);
    return message;
}

const uint8_t *tw_channel_output(const struct tw_channel *channel, size_t *n)
{
    *n = pending(channel);
    return channel->out + channel->sent;
}

void tw_channel_sent(struct tw_channel *channel, size_t n)
{
    assert(n <= pending(channel));
    channel->sent = (uint16_t)(channel->sent + n);
    if (channel->sent == channel->queued)
        channel->sent = channel->queued = 0;
}
