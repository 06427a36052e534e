/* The stream of test packets that `load` makes, on one thread and one processor: as many as a
 * window allows or a rate demands.
 *
 * It must be a lot cheaper than the server that it is to keep busy. So it looks at a reply only as
 * far as it takes to know its packet; the rest is bench_tally_judge's, later. And it never sleeps,
 * so that waking it up is no part of what a reply costs the server. */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/packets.h"
#include "bench/socket.h"
#include "bench/tally.h"
#include "lib/time.h"

/* A packet without reply is given up after that, so that a window does not starve. */
#define BENCH_TRAFFIC_PATIENCE_NS (200 * TW_NS_PER_MS)

/* Since bench_traffic_count_from_here(). */
struct bench_traffic_counts {
    uint64_t sent;
    uint64_t arrived; /* replies, also to packets that were sent before */
    uint64_t lost;    /* of the packets sent: given up, and no reply came later either */
    uint64_t late;    /* replies to what had been given up */
    uint64_t skipped; /* packets that the rate demanded when there was no time to send them */
    uint64_t refused; /* times that the kernel took no packet */
    int64_t idle_ns;  /* spent waiting for the server: if it is nothing, we are what is measured */
};

struct bench_traffic {
    const struct bench_packets *packets;
    struct bench_socket *socket;
    struct bench_tally *tally;
    uint32_t window; /* packets without reply at any time; 0: no limit */
    uint64_t rate;   /* packets per second; 0: as the window allows, or as fast as can be */

    struct bench_departure *departures; /* by slot (bench_packets_slot) */
    uint64_t next;                      /* number of the next packet */
    uint64_t oldest;                    /* before it no packet is under way */
    uint64_t first;                     /* number of the first packet that counts */
    uint32_t under_way;
    uint32_t burst; /* so many packets of the window must be free before any is sent */
    struct bench_traffic_counts counts;
};

/* False with one line on stderr. What is pointed to stays the caller's. */
bool bench_traffic_init(struct bench_traffic *traffic, const struct bench_packets *packets,
                        struct bench_socket *socket, struct bench_tally *tally, uint32_t window,
                        uint64_t rate);
void bench_traffic_free(struct bench_traffic *traffic);

void bench_traffic_count_from_here(struct bench_traffic *traffic);

/* Sends and receives for so long, or with `sends` false receives only. False with one line on
 * stderr when the socket fails; earlier, and true, when there is no more room for replies. */
bool bench_traffic_run(struct bench_traffic *traffic, int64_t duration_ns, bool sends);

#endif
