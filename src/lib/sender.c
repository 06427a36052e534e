/* The Session-Sender of one test session: numbers and stamps packets, matches replies, decides what
 * is lost.
 *
 * For the probe, the command-line client and the simulator. A ring of slots remembers the packets
 * that may still be answered; it computes no statistics and knows neither schedule nor socket. So
 * far the clear layout of unauthenticated and mixed mode; every position comes from
 * tw_test_layout(). */
#include "lib/sender.h"

#include <assert.h>
#include <string.h>

/* How far below zero a round trip may come out without being called impossible: the timestamps of
 * two hosts with clocks that run at different speeds, each read within about this much. */
#define RESOLUTION_NS TW_NS_PER_US

/* A reflector's timestamp is taken as NTP against its Z bit only if that brings it this close to
 * our own clock. NTP and PTP readings of the same bits are decades apart. */
#define PLAUSIBLE_NS (INT64_C(366) * 86400 * TW_NS_PER_S)

#define ERROR_MULTIPLIER 0x00ffu

/* What became of the packet in a slot. A packet is settled once it is answered in time or reported
 * lost; only then may its slot be used again. */
enum slot_state {
    SLOT_FREE,      /* nothing was sent from here */
    SLOT_SENT,      /* no reply yet */
    SLOT_OVERDUE,   /* a reply came too late; its loss is still to be reported */
    SLOT_ANSWERED,  /* in time */
    SLOT_LOST,      /* reported */
    SLOT_LOST_LATE, /* reported, and a reply came too late, before or after that */
};

static bool is_settled(const struct tw_sender_slot *slot)
{
    return slot->state != SLOT_SENT && slot->state != SLOT_OVERDUE;
}

static struct tw_sender_slot *slot_of(const struct tw_sender *sender, uint32_t sequence)
{
    return &sender->slots[sequence & sender->mask];
}

/* The slot of a packet that was sent and is still remembered, or NULL. */
static struct tw_sender_slot *find(const struct tw_sender *sender, uint32_t sequence)
{
    struct tw_sender_slot *slot = slot_of(sender, sequence);
    if (slot->state == SLOT_FREE || slot->sequence != sequence)
        return NULL;
    return slot;
}

static tw_mono lost_at(const struct tw_sender *sender, const struct tw_sender_slot *slot)
{
    return tw_mono_after(slot->sent, sender->config.wait_ns);
}

void tw_sender_init(struct tw_sender *sender, const struct tw_sender_config *config,
                    struct tw_sender_slot *slots, uint32_t count, struct tw_random *random)
{
    assert(count > 0 && (count & (count - 1)) == 0);
    assert(!tw_test_layout(config->modes).secured);
    assert(config->wait_ns >= 0);
    *sender = (struct tw_sender){
        .config = *config,
        .slots = slots,
        .mask = count - 1,
    };
    memset(slots, 0, count * sizeof(*slots));
    uint8_t seed[sizeof(sender->padding_seed)];
    tw_random_fill(random, seed, sizeof(seed));
    memcpy(&sender->padding_seed, seed, sizeof(seed));
}

/* Cheap pseudo-random octets, the same for the same number: what matters is that they are no memory
 * of ours and cannot be compressed (RFC 4656 section 4.1.2), not that nobody can guess them. Each
 * 64-bit word is a counter scrambled by two rounds of multiplication (splitmix64). */
static void fill_pseudo_random(uint64_t seed, uint8_t *out, size_t n)
{
    while (n > 0) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t word = seed;
        word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
        word ^= word >> 31;
        const size_t part = n < sizeof(word) ? n : sizeof(word);
        memcpy(out, &word, part);
        out += part;
        n -= part;
    }
}

/* All octets after the header: those that a symmetrical layout wants zero, then Packet Padding. */
static void write_padding(const struct tw_sender *sender, const struct tw_test_layout *layout,
                          uint8_t *out, size_t len)
{
    const size_t from = (size_t)layout->sender_header + layout->sender_mbz;
    memset(out + layout->sender_header, 0, layout->sender_mbz);
    if (sender->config.zero_padding) {
        memset(out + from, 0, len - from);
        return;
    }
    /* An odd factor spreads the packets' counters far apart: padding must not repeat either. */
    const uint64_t spread = sender->next_sequence * UINT64_C(0xd1342543de82ef95);
    fill_pseudo_random(sender->padding_seed ^ spread, out + from, len - from);
}

enum tw_result tw_sender_prepare(struct tw_sender *sender, uint8_t *out, size_t cap, size_t *len)
{
    const uint32_t modes = sender->config.modes;
    const size_t size = tw_test_sender_size(modes, sender->config.padding_length);
    if (size > cap)
        return TW_ERR_SPACE;
    if (!is_settled(slot_of(sender, sender->next_sequence)))
        return TW_ERR_STATE;
    const struct tw_test_layout layout = tw_test_layout(modes);
    const struct tw_test_packet packet = {.sequence = sender->next_sequence};
    tw_put_test_packet(out, modes, &packet);
    write_padding(sender, &layout, out, size);
    sender->prepared = true;
    *len = size;
    return TW_OK;
}

void tw_sender_stamp(struct tw_sender *sender, uint8_t *out, const struct tw_reading *now)
{
    assert(sender->prepared);
    const struct tw_stamp stamp = {
        .bits = tw_ntp_from_wall(now->wall),
        .error = (uint16_t)(now->error & ~TW_ERROR_PTP),
    };
    tw_put_test_stamp(out, sender->config.modes, stamp);
    *slot_of(sender, sender->next_sequence) = (struct tw_sender_slot){
        .t1_bits = stamp.bits,
        .t1 = now->wall,
        .sent = now->mono,
        .offset_ns = now->wall.ns - now->mono.ns,
        .sequence = sender->next_sequence,
        .error = stamp.error,
        .state = SLOT_SENT,
        .source = TW_SOURCE_USER,
    };
    sender->prepared = false;
    sender->next_sequence++;
    sender->unanswered++;
}

void tw_sender_unsend(struct tw_sender *sender)
{
    const uint32_t sequence = sender->next_sequence - 1;
    struct tw_sender_slot *slot = slot_of(sender, sequence);
    assert(slot->state == SLOT_SENT && slot->sequence == sequence);
    slot->state = SLOT_FREE;
    sender->prepared = false;
    sender->next_sequence = sequence;
    sender->unanswered--;
}

void tw_sender_departed(struct tw_sender *sender, uint32_t sequence, tw_wall t1,
                        enum tw_source source)
{
    struct tw_sender_slot *slot = find(sender, sequence);
    if (slot == NULL)
        return;
    slot->t1 = t1;
    slot->source = (uint8_t)source;
}

/* The instant of arrival on the clock of the deadlines. A wall clock set back between arrival and
 * reading would put it into the future: then the time of reading is the best that is known. */
static tw_mono arrived_at(const struct tw_arrival *arrival)
{
    const int64_t ago_ns = arrival->read.wall.ns - arrival->at.ns;
    return (tw_mono){ago_ns > 0 ? arrival->read.mono.ns - ago_ns : arrival->read.mono.ns};
}

/* Keeps next_lost at the oldest packet that is not settled. */
static void skip_settled(struct tw_sender *sender)
{
    while (sender->next_lost != sender->next_sequence &&
           is_settled(slot_of(sender, sender->next_lost)))
        sender->next_lost++;
}

/* Moves the slot on for a reply; returns the sample's flags for it. */
static unsigned take_reply(struct tw_sender *sender, struct tw_sender_slot *slot, tw_mono arrived)
{
    const bool in_time = arrived.ns <= lost_at(sender, slot).ns;
    switch ((enum slot_state)slot->state) {
    case SLOT_SENT:
        if (!in_time) {
            slot->state = SLOT_OVERDUE;
            return TW_SAMPLE_LATE;
        }
        slot->state = SLOT_ANSWERED;
        sender->unanswered--;
        skip_settled(sender);
        return 0;
    case SLOT_LOST:
        slot->state = SLOT_LOST_LATE;
        return TW_SAMPLE_LATE;
    case SLOT_OVERDUE:
    case SLOT_LOST_LATE:
        return TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE;
    case SLOT_ANSWERED:
        return in_time ? TW_SAMPLE_DUPLICATE : TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE;
    case SLOT_FREE:
        break;
    }
    assert(false);
    return 0;
}

static int64_t distance_ns(tw_wall a, tw_wall b)
{
    return a.ns < b.ns ? b.ns - a.ns : a.ns - b.ns;
}

/* The Error Estimate by which T2 and T3 are to be read. Some reflectors copy the sender's Z bit or
 * set it for no reason, and write NTP all the same: the epoch tells. */
static uint16_t format_of(struct tw_sender *sender, struct tw_stamp stamp, tw_wall near)
{
    if ((stamp.error & TW_ERROR_PTP) == 0)
        return stamp.error;
    const tw_wall ptp = tw_wall_from_ptp(stamp.bits, near, sender->config.tai_utc_s);
    const int64_t as_ntp_ns = distance_ns(tw_wall_from_ntp(stamp.bits, near), near);
    if (as_ntp_ns >= distance_ns(ptp, near) || as_ntp_ns > PLAUSIBLE_NS)
        return stamp.error;
    sender->wrong_format++;
    return (uint16_t)(stamp.error & ~TW_ERROR_PTP);
}

/* T2 and T3. Each is near the next one in time, so that an NTP era may end anywhere between. */
static void read_remote_times(struct tw_sender *sender, const struct tw_test_reply *reply,
                              struct tw_sample *sample)
{
    const int tai_utc_s = sender->config.tai_utc_s;
    struct tw_stamp stamp = reply->stamp;
    stamp.error = format_of(sender, stamp, sample->t4);
    sample->t3 = tw_wall_from_stamp(stamp, sample->t4, tai_utc_s);
    if (reply->receive == 0) {
        sender->zero_receive++;
        sample->flags |= TW_SAMPLE_NO_RECEIVE;
        sample->t2 = sample->t3;
        return;
    }
    stamp.bits = reply->receive;
    sample->t2 = tw_wall_from_stamp(stamp, sample->t3, tai_utc_s);
}

/* Bound of a one-way delay by both ends' Error Estimates; -1 when one of them is unknown. */
static int64_t error_bound_ns(uint16_t local, uint16_t remote)
{
    const int64_t a = tw_error_ns(local);
    const int64_t b = tw_error_ns(remote);
    if (a < 0 || b < 0)
        return -1;
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static bool has_dscp_ecn(const struct tw_sender *sender, size_t n)
{
    const size_t ttl_at = tw_test_layout(sender->config.modes).sender_ttl;
    return (sender->config.modes & TW_MODE_DSCP_ECN) != 0 && n > ttl_at + 1;
}

static void fill_sample(struct tw_sender *sender, const struct tw_sender_slot *slot,
                        const struct tw_test_reply *reply, size_t n,
                        const struct tw_arrival *arrival, unsigned flags, struct tw_sample *sample)
{
    *sample = (struct tw_sample){
        .sequence = reply->sender_sequence,
        .reflector_sequence = reply->sequence,
        .t1 = slot->t1,
        .t4 = arrival->at,
        .error_ns = error_bound_ns(slot->error, reply->stamp.error),
        .local_synchronized = tw_error_synchronized(slot->error),
        .remote_synchronized = tw_error_synchronized(reply->stamp.error),
        .transmit_source = (enum tw_source)slot->source,
        .receive_source = arrival->source,
        .sender_ttl = -1,
        .ttl = arrival->ttl,
        .sender_tos = -1,
        .tos = arrival->tos,
        .flags = flags,
    };
    if (reply->sender_ttl_known)
        sample->sender_ttl = reply->sender_ttl;
    else
        sender->short_replies++;
    if (has_dscp_ecn(sender, n))
        sample->sender_tos = reply->sender_dscp_ecn;
    if ((reply->stamp.error & ERROR_MULTIPLIER) == 0)
        sender->zero_error++;
    read_remote_times(sender, reply, sample);
    const int64_t offset_ns = arrival->read.wall.ns - arrival->read.mono.ns;
    tw_sample_compute(sample, RESOLUTION_NS, offset_ns - slot->offset_ns);
}

enum tw_sender_verdict tw_sender_receive(struct tw_sender *sender, const uint8_t *in, size_t n,
                                         const struct tw_arrival *arrival, struct tw_sample *sample)
{
    struct tw_test_reply reply;
    if (tw_get_test_reply(in, n, sender->config.modes, &reply) != TW_OK) {
        sender->bad_length++;
        return TW_SENDER_BAD_LENGTH;
    }
    struct tw_sender_slot *slot = find(sender, reply.sender_sequence);
    if (slot == NULL || slot->t1_bits != reply.sender_stamp.bits) {
        sender->foreign++;
        return TW_SENDER_FOREIGN;
    }
    const unsigned flags = take_reply(sender, slot, arrived_at(arrival));
    fill_sample(sender, slot, &reply, n, arrival, flags, sample);
    return TW_SENDER_SAMPLE;
}

bool tw_sender_next_lost(struct tw_sender *sender, tw_mono now, uint32_t *sequence)
{
    if (!tw_mono_reached(tw_sender_deadline(sender), now))
        return false;
    struct tw_sender_slot *slot = slot_of(sender, sender->next_lost);
    slot->state = slot->state == SLOT_OVERDUE ? SLOT_LOST_LATE : SLOT_LOST;
    *sequence = slot->sequence;
    sender->unanswered--;
    skip_settled(sender);
    return true;
}

tw_mono tw_sender_deadline(const struct tw_sender *sender)
{
    if (sender->unanswered == 0)
        return TW_NEVER;
    return lost_at(sender, slot_of(sender, sender->next_lost));
}
