/* The Session-Sender of one test session: numbers and stamps packets, matches replies, decides what
 * is lost.
 *
 * For the probe, the command-line client and the simulator. A ring of slots remembers the packets
 * that may still be answered; it computes no statistics and knows neither schedule nor socket.
 * Where something lies in a packet is asked of wire.h, what is enciphered and signed is
 * protection.h's. */
#include "lib/sender.h"

#include <assert.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/quirk.h"

/* How far below zero a round trip may come out without being called impossible: the timestamps of
 * two hosts with clocks that run at different speeds, each read within about this much. */
#define RESOLUTION_NS TW_NS_PER_US

/* A reflector's timestamp is read against its Z bit only if that brings it this close to our own
 * clock. NTP and PTP readings of the same bits are decades apart: never are both that close. */
#define PLAUSIBLE_NS (INT64_C(366) * 86400 * TW_NS_PER_S)

#define ERROR_MULTIPLIER 0x00ffu

/* So many replies with T2 = T3, and none without, are no chance. */
enum { SAME_TIMES_LEAST = 3 };

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
    assert(tw_test_layout(config->modes).secured == (config->protection != NULL));
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

/* Cheap pseudo-random octets, the same for the same numbers: what matters is that they are no
 * memory of ours and cannot be compressed (RFC 4656 section 4.1.2), not that nobody can guess them.
 * Each 64-bit word is a counter scrambled by two rounds of multiplication (splitmix64); `word` is
 * the number of the first. */
static void fill_pseudo_random(uint64_t seed, size_t word, uint8_t *out, size_t n)
{
    uint64_t counter = seed + word * UINT64_C(0x9e3779b97f4a7c15);
    while (n > 0) {
        counter += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t mixed = counter;
        mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
        mixed ^= mixed >> 31;
        const size_t part = n < sizeof(mixed) ? n : sizeof(mixed);
        memcpy(out, &mixed, part);
        out += part;
        n -= part;
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Octets of each packet that are to come back (RFC 6038). */
static size_t reflected_octets(const struct tw_sender *sender)
{
    if ((sender->config.modes & TW_MODE_REFLECT_OCTETS) == 0)
        return 0;
    return smaller(sender->config.reflect_length, sender->config.padding_length);
}

/* The n octets of Packet Padding from `at` on, a multiple of eight: made from the packet's number
 * alone, so that they can be made again when its reply comes. */
static void make_padding(const struct tw_sender *sender, uint32_t sequence, size_t at, uint8_t *out,
                         size_t n)
{
    /* An odd factor spreads the packets' counters far apart: padding must not repeat either. */
    const uint64_t spread = sequence * UINT64_C(0xd1342543de82ef95);
    if (sender->config.zero_padding)
        memset(out, 0, n);
    else
        fill_pseudo_random(sender->padding_seed ^ spread, at / sizeof(uint64_t), out, n);
    if (at > 0)
        return;
    /* RFC 7750 lets symmetrical padding begin within the reply's header; by RFC 6038 it would be
     * zero up to the header's end, and so it is, unless it has to come back. */
    const struct tw_test_layout layout = tw_test_layout(sender->config.modes);
    const size_t header = (size_t)layout.sender_header + layout.sender_mbz;
    const size_t reflected = reflected_octets(sender);
    if (layout.sender_mbz > 0)
        for (size_t i = reflected; header + i < layout.reflector_header && i < n; i++)
            out[i] = 0;
    if (sender->config.server_octets != 0 && reflected >= 2)
        tw_put16(out, sender->config.server_octets);
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
    const size_t padding = size - sender->config.padding_length;
    memset(out + layout.sender_header, 0, layout.sender_mbz);
    make_padding(sender, packet.sequence, 0, out + padding, sender->config.padding_length);
    tw_protection_seal_before_stamp(sender->config.protection, out);
    sender->prepared = true;
    *len = size;
    return TW_OK;
}

void tw_sender_stamp(struct tw_sender *sender, uint8_t *out, const struct tw_reading *now)
{
    assert(sender->prepared);
    const bool ptp = (sender->config.modes & TW_MODE_PTP) != 0;
    const struct tw_stamp stamp =
        tw_stamp_from_wall(now->wall, now->error, ptp, sender->config.tai_utc_s);
    tw_put_test_stamp(out, sender->config.modes, stamp);
    tw_protection_seal_after_stamp(sender->config.protection, out);
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

bool tw_sender_departed(struct tw_sender *sender, uint32_t sequence, tw_wall t1,
                        enum tw_source source)
{
    struct tw_sender_slot *slot = find(sender, sequence);
    if (slot == NULL)
        return false;
    const int64_t stamped_ns = slot->sent.ns + slot->offset_ns;
    if (t1.ns < stamped_ns || t1.ns - stamped_ns > sender->config.wait_ns)
        return false;
    slot->t1 = t1;
    slot->source = (uint8_t)source;
    return true;
}

/* Keeps next_lost at the oldest packet that is not settled. */
static void skip_settled(struct tw_sender *sender)
{
    while (sender->next_lost != sender->next_sequence &&
           is_settled(slot_of(sender, sender->next_lost)))
        sender->next_lost++;
}

bool tw_sender_withdraw(struct tw_sender *sender)
{
    struct tw_sender_slot *slot = slot_of(sender, sender->next_lost);
    if (sender->next_lost == sender->next_sequence || slot->state != SLOT_SENT)
        return false;
    slot->state = SLOT_FREE;
    sender->unanswered--;
    skip_settled(sender);
    return true;
}

/* The instant of arrival on the clock of the deadlines. A wall clock set back between arrival and
 * reading would put it into the future: then the time of reading is the best that is known. */
static tw_mono arrived_at(const struct tw_arrival *arrival)
{
    const int64_t ago_ns = arrival->read.wall.ns - arrival->at.ns;
    return (tw_mono){ago_ns > 0 ? arrival->read.mono.ns - ago_ns : arrival->read.mono.ns};
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

static void note(struct tw_sender *sender, enum tw_quirk quirk)
{
    sender->quirks |= (uint32_t)quirk;
}

/* PTP counts nanoseconds below its seconds, NTP fills 32 bits. */
static bool may_be_ptp(uint64_t bits)
{
    return (uint32_t)bits < (uint32_t)TW_NS_PER_S;
}

/* The Error Estimate by which T2 and T3 are to be read. Some reflectors copy the sender's Z bit or
 * set it for no reason, and write another format all the same: the epoch tells. But NTP timestamps
 * of a reflector that counts from 1970 are no PTP, although they have its epoch. */
static uint16_t format_of(struct tw_sender *sender, const struct tw_test_reply *reply, tw_wall near)
{
    const int tai_utc_s = sender->config.tai_utc_s;
    /* zero is no time, and in 2036 an NTP era begins with it */
    const uint64_t bits = reply->stamp.bits != 0 ? reply->stamp.bits : reply->receive;
    const struct tw_stamp stamp = {bits, reply->stamp.error};
    const struct tw_stamp other = {stamp.bits, stamp.error ^ TW_ERROR_PTP};
    if (bits == 0)
        return stamp.error;
    if (!may_be_ptp(stamp.bits) || !may_be_ptp(reply->receive))
        sender->never_ptp = true;
    const bool possible = (other.error & TW_ERROR_PTP) == 0 || !sender->never_ptp;
    if (possible && distance_ns(tw_wall_from_stamp(other, near, tai_utc_s), near) <= PLAUSIBLE_NS) {
        sender->wrong_format++;
        note(sender, TW_QUIRK_Z_BIT);
        return other.error;
    }
    if ((stamp.error & TW_ERROR_PTP) != 0 && (sender->config.modes & TW_MODE_PTP) == 0)
        note(sender, TW_QUIRK_PTP_UNASKED);
    return stamp.error;
}

/* T2 and T3. Each is near the next one in time, so that an NTP era may end anywhere between. One
 * that is zero is not known, and the other one stands for it: T4 - T1 is known all the same. True
 * if they are in PTP format. */
static bool read_remote_times(struct tw_sender *sender, const struct tw_test_reply *reply,
                              struct tw_sample *sample)
{
    const int tai_utc_s = sender->config.tai_utc_s;
    const uint64_t t2 = reply->receive;
    const uint64_t t3 = reply->stamp.bits;
    struct tw_stamp stamp = {t3 != 0 ? t3 : t2, format_of(sender, reply, sample->t4)};
    sample->t3 = tw_wall_from_stamp(stamp, sample->t4, tai_utc_s);
    if (t3 == 0) {
        sender->zero_transmit++;
        note(sender, TW_QUIRK_ZERO_TRANSMIT);
        sample->flags |= TW_SAMPLE_NO_TRANSMIT;
    }
    if (t2 == 0) {
        sender->zero_receive++;
        note(sender, TW_QUIRK_ZERO_RECEIVE);
        sample->flags |= TW_SAMPLE_NO_RECEIVE;
        sample->t2 = sample->t3;
    } else {
        stamp.bits = t2;
        sample->t2 = tw_wall_from_stamp(stamp, sample->t3, tai_utc_s);
    }
    return (stamp.error & TW_ERROR_PTP) != 0;
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

/* Whether a delay is that, to within a second. */
static bool is_about(int64_t delay_ns, int64_t expected_ns)
{
    return delay_ns > expected_ns - TW_NS_PER_S && delay_ns < expected_ns + TW_NS_PER_S;
}

/* Whether PTP timestamps of this reply count from UTC instead of TAI: sender.h says what is known
 * of that. */
static bool counts_from_utc(const struct tw_sample *sample, int tai_utc_s)
{
    const int64_t offset_ns = tai_utc_s * TW_NS_PER_S;
    return offset_ns != 0 && is_about(sample->forward_ns, -offset_ns) &&
           is_about(sample->reverse_ns, offset_ns);
}

static void compare_remote_times(struct tw_sender *sender, const struct tw_test_reply *reply)
{
    if (reply->receive == 0 || reply->stamp.bits == 0)
        return;
    if (reply->receive != reply->stamp.bits) {
        sender->times_differ = true;
        sender->quirks &= ~(uint32_t)TW_QUIRK_SAME_TIMES;
        return;
    }
    if (sender->same_times < SAME_TIMES_LEAST)
        sender->same_times++;
    if (sender->same_times == SAME_TIMES_LEAST && !sender->times_differ)
        note(sender, TW_QUIRK_SAME_TIMES);
}

/* Whether a reply of n octets is what such a packet gets: as long as the packet, or longer because
 * of its header; or, once more as long as the packet, but for a Sender TTL that is left out. */
static bool has_usual_size(const struct tw_test_layout *layout, size_t packet, size_t n)
{
    if (n < packet)
        return n <= layout->sender_ttl && packet <= layout->reflector_header;
    return n == packet || n <= layout->reflector_header;
}

/* Whether the first octets of the packet's padding are at `at` of its reply: as many as are to be
 * reflected and as such a reply has room for. */
static bool came_back(const struct tw_sender *sender, uint32_t sequence, const uint8_t *in,
                      size_t n, size_t at)
{
    const uint32_t modes = sender->config.modes;
    const size_t packet = tw_test_sender_size(modes, sender->config.padding_length);
    const size_t size = tw_test_reply_size(modes, packet);
    const size_t most = smaller(size > at ? size - at : 0, reflected_octets(sender));
    if (n < at + most)
        return false;
    for (size_t done = 0; done < most;) {
        uint8_t expected[64];
        make_padding(sender, sequence, done, expected, sizeof(expected));
        const size_t part = smaller(most - done, sizeof(expected));
        if (memcmp(in + at + done, expected, part) != 0)
            return false;
        done += part;
    }
    return true;
}

/* RFC 7750 can be read in two ways, and there are reflectors for both: padding behind 44 octets, or
 * behind 42. */
static bool padding_came_back(const struct tw_sender *sender, uint32_t sequence, const uint8_t *in,
                              size_t n)
{
    const uint32_t modes = sender->config.modes;
    const struct tw_test_layout layout = tw_test_layout(modes);
    const size_t at = layout.reflector_header;
    const size_t other =
        (size_t)layout.sender_header + layout.sender_mbz + tw_test_truncation(modes);
    return came_back(sender, sequence, in, n, at) ||
           (other != at && came_back(sender, sequence, in, n, other));
}

/* What the octets of a reply of ours tell of its reflector. */
static void judge_reply(struct tw_sender *sender, const struct tw_test_reply *reply,
                        const uint8_t *in, size_t n)
{
    const struct tw_test_layout layout = tw_test_layout(sender->config.modes);
    const size_t packet = tw_test_sender_size(sender->config.modes, sender->config.padding_length);
    if (!has_usual_size(&layout, packet, n))
        note(sender, TW_QUIRK_UNEQUAL_SIZE);
    if (!reply->sender_ttl_known) {
        sender->short_replies++;
        note(sender, TW_QUIRK_SHORT_REPLY);
    }
    if ((reply->stamp.error & ERROR_MULTIPLIER) == 0) {
        sender->zero_error++;
        note(sender, TW_QUIRK_ZERO_ERROR);
    }
    if (reflected_octets(sender) > 0 && !padding_came_back(sender, reply->sender_sequence, in, n)) {
        sender->not_reflected++;
        note(sender, TW_QUIRK_NOT_REFLECTED);
    }
    compare_remote_times(sender, reply);
}

static void fill_sample(struct tw_sender *sender, const struct tw_sender_slot *slot,
                        const struct tw_test_reply *reply, const struct tw_arrival *arrival,
                        unsigned flags, struct tw_sample *sample)
{
    *sample = (struct tw_sample){
        .sequence = reply->sender_sequence,
        .reflector_sequence = reply->sequence,
        .t1 = slot->t1,
        .t4 = arrival->at,
        .read = arrival->read.wall,
        .error_ns = error_bound_ns(slot->error, reply->stamp.error),
        .clock_offset_ns = slot->offset_ns,
        .local_synchronized = tw_error_synchronized(slot->error),
        .remote_synchronized = tw_error_synchronized(reply->stamp.error),
        .transmit_source = (enum tw_source)slot->source,
        .receive_source = arrival->source,
        .sender_ttl = (int16_t)(reply->sender_ttl_known ? reply->sender_ttl : -1),
        .ttl = arrival->ttl,
        .sender_tos = (int16_t)(reply->sender_dscp_ecn_known ? reply->sender_dscp_ecn : -1),
        .tos = arrival->tos,
        .flags = flags,
    };
    const bool ptp = read_remote_times(sender, reply, sample);
    const int64_t offset_ns = arrival->read.wall.ns - arrival->read.mono.ns;
    tw_sample_compute(sample, RESOLUTION_NS, offset_ns - slot->offset_ns);
    if ((sample->flags & TW_SAMPLE_CONTRADICTORY) != 0)
        note(sender, TW_QUIRK_CONTRADICTORY);
    if (ptp && counts_from_utc(sample, sender->config.tai_utc_s))
        note(sender, TW_QUIRK_PTP_UTC);
}

/* TW_SENDER_SAMPLE if this is an authentic reply, of whomever. */
static enum tw_sender_verdict read_reply(struct tw_sender *sender, const uint8_t *in, size_t n,
                                         struct tw_test_reply *reply)
{
    const uint32_t modes = sender->config.modes;
    struct tw_protection *protection = sender->config.protection;
    uint8_t clear[TW_PROTECTION_HEADER_MAX];
    if (protection != NULL && n < sizeof(clear))
        return TW_SENDER_BAD_LENGTH;
    if (!tw_protection_open_reply(protection, in, clear))
        return TW_SENDER_BAD_HMAC;
    if (tw_get_test_reply(protection == NULL ? in : clear, n, modes, reply) != TW_OK)
        return TW_SENDER_BAD_LENGTH;
    return TW_SENDER_SAMPLE;
}

enum tw_sender_verdict tw_sender_receive(struct tw_sender *sender, const uint8_t *in, size_t n,
                                         const struct tw_arrival *arrival, struct tw_sample *sample)
{
    struct tw_test_reply reply;
    const enum tw_sender_verdict verdict = read_reply(sender, in, n, &reply);
    if (verdict == TW_SENDER_BAD_LENGTH)
        sender->bad_length++;
    if (verdict == TW_SENDER_BAD_HMAC)
        sender->bad_hmac++;
    if (verdict != TW_SENDER_SAMPLE)
        return verdict;
    struct tw_sender_slot *slot = find(sender, reply.sender_sequence);
    if (slot == NULL || slot->t1_bits != reply.sender_stamp.bits) {
        sender->foreign++;
        return TW_SENDER_FOREIGN;
    }
    judge_reply(sender, &reply, in, n);
    const unsigned flags = take_reply(sender, slot, arrived_at(arrival));
    fill_sample(sender, slot, &reply, arrival, flags, sample);
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
