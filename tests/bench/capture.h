/* The test packets that pass an interface, with the kernel's stamps: of one that comes in when it
 * came from the wire, of one that goes out when it was handed to the driver, behind every queue.
 *
 * A ring shared with the kernel (AF_PACKET), behind a filter in the kernel, so that looking costs
 * the machine little. Unauthenticated test packets: nothing is deciphered. */
#ifndef BENCH_CAPTURE_H
#define BENCH_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/time.h"

/* What passes: datagrams that come in to the port and those that go out from it, or at the sender's
 * end the other way round; no fragments, and none behind IPv6 extension headers. */
struct bench_filter {
    uint16_t port;          /* the reflector's */
    bool at_sender;         /* else at the reflector's end */
    uint32_t every;         /* a power of two: only requests whose Sequence Number, and replies
                               whose Sender Sequence Number it divides */
    struct tw_address peer; /* only from and to addresses that begin with as many bits as this one;
                               family 0: all */
    unsigned peer_bits;
};

struct bench_packet {
    const uint8_t *ip; /* from the IP header on */
    size_t length;     /* at least of the IP and UDP headers */
    size_t payload;    /* offset of the UDP payload */
    bool reply;
    struct tw_address source, destination;
    tw_wall at;
};

struct bench_capture {
    int fd;
    uint8_t *ring;
    unsigned next; /* block */
    bool at_sender;
};

/* 0, or -errno and nothing to be closed. Begins at once. */
int bench_capture_open(struct bench_capture *capture, const char *interface,
                       const struct bench_filter *filter);
void bench_capture_close(struct bench_capture *capture);

/* Hands over all packets that the kernel has let go of; they come 50 ms late, and in order. */
void bench_capture_read(struct bench_capture *capture,
                        void (*take)(void *context, const struct bench_packet *packet),
                        void *context);

/* Packets that did not fit into the ring since the last call. */
uint32_t bench_capture_drops(const struct bench_capture *capture);

#endif
