/* The contract is in tally.h. */
#include "twamp-config.h"

#include "bench/tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/wire.h"

/* Rounding of timestamps, and a clock that is slewed between readings. */
#define CLOCK_SLACK_NS TW_NS_PER_MS

enum { ERROR_MULTIPLIER = 0xff };

_Static_assert(BENCH_FAULT_COUNT <= 16, "bits of bench_reply.faults");

const char *bench_fault_name(enum bench_fault fault)
{
    static const char *const names[] = {
#define BENCH_FAULT_NAME(name, text) [name] = (text),
        BENCH_FAULTS(BENCH_FAULT_NAME)
#undef BENCH_FAULT_NAME
    };
    return names[fault];
}

bool bench_tally_init(struct bench_tally *tally, size_t size, uint64_t room)
{
    *tally = (struct bench_tally){.kept = size < BENCH_REPLY_KEPT ? size : BENCH_REPLY_KEPT};
    const size_t unit = _Alignof(struct bench_reply);
    tally->entry = (sizeof(struct bench_reply) + tally->kept + unit - 1) / unit * unit;
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page = sysconf(_SC_PAGESIZE);
    const uint64_t most = (uint64_t)pages * (uint64_t)page / 4 / tally->entry;
    tally->room = room < most ? room : most;
    void *replies = MAP_FAILED;
    if (pages > 0 && page > 0 && tally->room > 0)
        replies = mmap(NULL, tally->room * tally->entry, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (replies == MAP_FAILED) {
        fputs("no memory for replies\n", stderr);
        return false;
    }
    tally->replies = replies;
    return true;
}

void bench_tally_free(struct bench_tally *tally)
{
    if (tally->replies != NULL)
        munmap(tally->replies, tally->room * tally->entry);
    tally->replies = NULL;
}

static unsigned bit(bool is_wrong, enum bench_fault fault)
{
    return is_wrong ? 1U << fault : 0;
}

/* Written anew from its fields, a header is the same but for what must be zero. */
static bool mbz_is_zero(const struct tw_test_reply *reply, uint32_t modes, const uint8_t *clear)
{
    const struct tw_test_layout layout = tw_test_layout(modes);
    const size_t hmac = layout.secured ? TW_HMAC_SIZE : 0;
    uint8_t again[TW_PROTECTION_HEADER_MAX];
    tw_put_test_reply(again, modes, reply);
    return memcmp(again, clear, layout.reflector_header - hmac) == 0;
}

/* One machine, one clock: it is known when the packet was there. */
static bool stamps_are_right(const struct tw_test_reply *reply, const struct bench_reply *entry)
{
    const tw_wall near = {entry->arrived_ns};
    const struct tw_stamp receive = {.bits = reply->receive, .error = reply->stamp.error};
    const int64_t t2 = tw_wall_from_stamp(receive, near, 0).ns;
    const int64_t t3 = tw_wall_from_stamp(reply->stamp, near, 0).ns;
    if ((reply->stamp.error & ERROR_MULTIPLIER) == 0 || t2 > t3)
        return false;
    /* PTP time is ahead by an offset that only the server knows. */
    return (reply->stamp.error & TW_ERROR_PTP) != 0 ||
           (entry->sent_ns - CLOCK_SLACK_NS <= t2 && t3 <= entry->arrived_ns + CLOCK_SLACK_NS);
}

static unsigned judge_mirrored(const struct bench_tally *tally, const struct bench_packets *packets,
                               const struct bench_reply *entry)
{
    uint8_t header[TW_PROTECTION_HEADER_MAX];
    bench_packets_write(packets, entry->number, header);
    const size_t n = packets->header;
    return bit(memcmp(entry->octets, header, n) != 0 ||
                   !bench_packets_padding_is_right(packets, entry->octets + n, n, tally->kept),
               BENCH_FAULT_OCTETS);
}

/* What of a reply hangs together with its packet. */
static unsigned judge_copies(const struct bench_packets *packets, const struct bench_reply *entry,
                             const struct tw_test_reply *reply)
{
    const struct tw_test_packet sent = bench_packets_header(packets, entry->number);
    return bit(reply->sender_sequence != sent.sequence, BENCH_FAULT_SENDER_SEQUENCE) |
           bit(reply->sender_stamp.bits != sent.stamp.bits ||
                   reply->sender_stamp.error != sent.stamp.error,
               BENCH_FAULT_SENDER_STAMP) |
           bit(!stamps_are_right(reply, entry), BENCH_FAULT_REFLECTOR_STAMP);
}

/* `next` is the Sequence Number that is due in this flow. A duplicate may be a copy of a reply or
 * another one, which has a number of its own. */
static unsigned judge_sequence(const struct bench_reply *entry, uint32_t sequence, uint32_t *next)
{
    const bool is_duplicate = (entry->faults & 1U << BENCH_FAULT_DUPLICATE) != 0;
    const bool is_due = sequence == *next;
    if (is_due || !is_duplicate)
        *next = sequence + 1;
    return bit(!is_due && !is_duplicate, BENCH_FAULT_REFLECTOR_SEQUENCE);
}

static unsigned judge_reply(const struct bench_tally *tally, const struct bench_packets *packets,
                            const struct bench_reply *entry, uint32_t *next)
{
    struct tw_protection *protection = packets->flows[entry->flow].protection;
    uint8_t opened[TW_PROTECTION_HEADER_MAX];
    const uint8_t *clear = protection != NULL ? opened : entry->octets;
    struct tw_test_reply reply;
    if (!tw_protection_open_reply(protection, entry->octets, opened) ||
        tw_get_test_reply(clear, packets->reply_header, packets->modes, &reply) != TW_OK) {
        ++*next; /* it was numbered all the same */
        return 1U << BENCH_FAULT_HMAC;
    }
    const size_t n = packets->reply_header;
    unsigned faults =
        bit(reply.sender_ttl != 255, BENCH_FAULT_SENDER_TTL) |
        bit(!mbz_is_zero(&reply, packets->modes, clear), BENCH_FAULT_MBZ) |
        bit(!bench_packets_padding_is_right(packets, entry->octets + n, n, tally->kept),
            BENCH_FAULT_PADDING) |
        judge_sequence(entry, reply.sequence, next);
    if ((entry->faults & 1U << BENCH_FAULT_UNASKED) == 0)
        faults |= judge_copies(packets, entry, &reply);
    return faults;
}

bool bench_tally_judge(const struct bench_tally *tally, const struct bench_packets *packets,
                       uint64_t counts[BENCH_FAULT_COUNT])
{
    memset(counts, 0, BENCH_FAULT_COUNT * sizeof *counts);
    uint32_t *next = calloc(packets->count, sizeof *next);
    if (next == NULL) {
        fputs("no memory for judging replies\n", stderr);
        return false;
    }
    const unsigned unreadable = 1U << BENCH_FAULT_STRANGER | 1U << BENCH_FAULT_LENGTH;
    const unsigned unknown = unreadable | 1U << BENCH_FAULT_UNASKED;
    for (uint64_t i = 0; i < tally->count; i++) {
        const struct bench_reply *entry = bench_tally_at(tally, i);
        unsigned faults = entry->faults;
        if (packets->mirrored && (faults & unknown) == 0)
            faults |= judge_mirrored(tally, packets, entry);
        else if (!packets->mirrored && (faults & unreadable) == 0)
            faults |= judge_reply(tally, packets, entry, &next[entry->flow]);
        else if ((faults & 1U << BENCH_FAULT_STRANGER) == 0)
            next[entry->flow]++;
        for (unsigned fault = 0; fault < BENCH_FAULT_COUNT; fault++)
            counts[fault] += faults >> fault & 1;
    }
    free(next);
    return true;
}
