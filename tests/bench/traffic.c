/* The contract is in traffic.h. */
#include "twamp-config.h"

#include "bench/traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/sys/clock.h"

enum {
    BATCH = BENCH_SOCKET_BATCH,
    PAUSES = 4, /* for each packet of a burst: a tenth of a microsecond, or less */
};
#define MOST_BEHIND_NS TW_NS_PER_MS /* of a rate: a longer burst would drown the server */

enum state { IDLE, UNDER_WAY, ANSWERED, GIVEN_UP };

/* Of the last packet that had that slot. */
struct bench_departure {
    int64_t at_ns; /* wall clock */
    enum state state;
};

bool bench_traffic_init(struct bench_traffic *traffic, const struct bench_packets *packets,
                        struct bench_socket *socket, struct bench_tally *tally, uint32_t window,
                        uint64_t rate)
{
    const uint32_t quarter = window / 4 > 0 ? window / 4 : 1;
    *traffic = (struct bench_traffic){
        .packets = packets,
        .socket = socket,
        .tally = tally,
        .window = window,
        .rate = rate,
        .burst = quarter < BATCH ? quarter : BATCH,
        .departures = calloc(packets->lap, sizeof *traffic->departures),
    };
    if (traffic->departures == NULL)
        fputs("no memory for traffic\n", stderr);
    return traffic->departures != NULL;
}

void bench_traffic_free(struct bench_traffic *traffic)
{
    free(traffic->departures);
    traffic->departures = NULL;
}

void bench_traffic_count_from_here(struct bench_traffic *traffic)
{
    traffic->counts = (struct bench_traffic_counts){0};
    traffic->first = traffic->next;
}

/* Of the packets with that slot it is the last one that was sent. */
static bool number_of_slot(const struct bench_traffic *traffic, uint32_t slot, uint64_t *number)
{
    const uint32_t lap = traffic->packets->lap;
    const uint64_t begin = traffic->next - traffic->next % lap;
    *number = begin + slot;
    if (*number < traffic->next)
        return true;
    *number -= lap;
    return begin >= lap;
}

/* The packet that this reply is for is under way no more. Returns the faults of that. */
static unsigned settle(struct bench_traffic *traffic, const struct bench_datagram *datagram,
                       struct bench_reply *reply)
{
    const struct bench_packets *packets = traffic->packets;
    uint32_t sequence;
    if (!bench_packets_sequence(packets, reply->flow, datagram->octets, datagram->length,
                                &sequence))
        return 1U << BENCH_FAULT_LENGTH;
    const uint32_t slot = bench_packets_slot(packets, reply->flow, sequence);
    if (!number_of_slot(traffic, slot, &reply->number))
        return 1U << BENCH_FAULT_UNASKED;
    struct bench_departure *departure = &traffic->departures[slot];
    const enum state before = departure->state;
    reply->sent_ns = departure->at_ns;
    departure->state = ANSWERED;
    if (before == ANSWERED)
        return 1U << BENCH_FAULT_DUPLICATE;
    traffic->counts.arrived++;
    if (before == UNDER_WAY) {
        traffic->under_way--;
    } else if (reply->number >= traffic->first) {
        traffic->counts.late++;
        traffic->counts.lost--;
    }
    return 0;
}

/* False when there is no more room. */
static bool take_reply(struct bench_traffic *traffic, unsigned i)
{
    const struct bench_packets *packets = traffic->packets;
    const size_t kept = traffic->tally->kept;
    const struct bench_datagram datagram = bench_socket_take(traffic->socket, i);
    struct bench_reply *reply = bench_tally_next(traffic->tally);
    if (reply == NULL)
        return false;
    unsigned faults = 1U << BENCH_FAULT_STRANGER;
    reply->arrived_ns = datagram.at_ns;
    reply->flow = (uint32_t)datagram.flow;
    memcpy(reply->octets, datagram.octets, kept);
    if (datagram.flow != BENCH_SOCKET_NO_FLOW)
        faults = settle(traffic, &datagram, reply);
    if (datagram.length != packets->reply_size)
        faults |= 1U << BENCH_FAULT_LENGTH;
    else if (!bench_packets_padding_is_right(packets, datagram.octets + kept, kept,
                                             datagram.length))
        faults |= 1U << BENCH_FAULT_PADDING;
    reply->faults = (uint16_t)faults;
    return true;
}

static void give_up_old(struct bench_traffic *traffic)
{
    const uint32_t lap = traffic->packets->lap;
    int64_t now_ns = 0;
    for (; traffic->oldest < traffic->next; traffic->oldest++) {
        struct bench_departure *departure = &traffic->departures[traffic->oldest % lap];
        if (departure->state != UNDER_WAY)
            continue;
        if (now_ns == 0) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            now_ns = (int64_t)now.tv_sec * TW_NS_PER_S + now.tv_nsec;
        }
        if (now_ns - departure->at_ns < BENCH_TRAFFIC_PATIENCE_NS)
            return;
        departure->state = GIVEN_UP;
        traffic->under_way--;
        if (traffic->oldest >= traffic->first)
            traffic->counts.lost++;
    }
}

/* How many packets left, or -1. */
static int send_some(struct bench_traffic *traffic, unsigned n)
{
    const uint32_t lap = traffic->packets->lap;
    if (n == 0 || traffic->next + n - traffic->oldest > lap) /* a slot is one packet's at a time */
        return 0;
    int64_t at_ns;
    const int sent = bench_socket_send(traffic->socket, traffic->next, n, &at_ns);
    if (sent < 0)
        return -1;
    for (unsigned i = 0; i < (unsigned)sent; i++) {
        struct bench_departure *departure = &traffic->departures[traffic->next++ % lap];
        departure->at_ns = at_ns;
        departure->state = UNDER_WAY;
    }
    traffic->under_way += (uint32_t)sent;
    traffic->counts.sent += (unsigned)sent;
    traffic->counts.refused += sent == 0;
    return sent;
}

/* Packets that are due by the clock. */
struct pace {
    int64_t began_ns;
    uint64_t done; /* since then: sent or skipped */
};

static unsigned due_by_rate(struct bench_traffic *traffic, struct pace *pace, int64_t now_ns)
{
    const double elapsed_s = (double)(now_ns - pace->began_ns) / (double)TW_NS_PER_S;
    const uint64_t due = (uint64_t)(elapsed_s * (double)traffic->rate) + 1;
    const uint64_t most = traffic->rate / (TW_NS_PER_S / MOST_BEHIND_NS) + 1;
    if (due - pace->done > most) {
        traffic->counts.skipped += due - pace->done - most;
        pace->done = due - most;
    }
    return due - pace->done < BATCH ? (unsigned)(due - pace->done) : BATCH;
}

static unsigned due_now(struct bench_traffic *traffic, struct pace *pace, int64_t now_ns)
{
    if (traffic->rate > 0)
        return due_by_rate(traffic, pace, now_ns);
    if (traffic->window == 0)
        return BATCH;
    const uint32_t free = traffic->window - traffic->under_way;
    if (free < traffic->burst)
        return 0;
    return free < BATCH ? free : BATCH;
}

/* Whoever looks for replies all the time slows down the kernel's putting them there, and gets them
 * one by one; where several are waited for there is time. */
static void wait_a_little(struct bench_traffic *traffic)
{
    const int64_t before_ns = tw_clock_mono().ns;
    for (unsigned i = 0; i < PAUSES * traffic->burst; i++) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }
    traffic->counts.idle_ns += tw_clock_mono().ns - before_ns;
}

bool bench_traffic_run(struct bench_traffic *traffic, int64_t duration_ns, bool sends)
{
    struct pace pace = {.began_ns = tw_clock_mono().ns};
    for (int64_t now_ns = pace.began_ns; now_ns - pace.began_ns < duration_ns;
         now_ns = tw_clock_mono().ns) {
        const int received = bench_socket_receive(traffic->socket);
        if (received < 0)
            return false;
        for (unsigned i = 0; i < (unsigned)received; i++)
            if (!take_reply(traffic, i))
                return true;
        give_up_old(traffic);
        const int sent = send_some(traffic, sends ? due_now(traffic, &pace, now_ns) : 0);
        if (sent < 0)
            return false;
        pace.done += (unsigned)sent;
        if (sent == 0 && received < BATCH)
            wait_a_little(traffic);
    }
    return true;
}
