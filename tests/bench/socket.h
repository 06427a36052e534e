/* The socket that all flows of `load` share: whole batches of packets in one system call each way.
 *
 * All that the kernel wants to be told of a packet is written once, but for its header, where it
 * goes and where it comes from. Of what arrives only the beginning of knowing is done here: which
 * flow it is of, and when the kernel got it. */
#ifndef BENCH_SOCKET_H
#define BENCH_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/packets.h"

enum {
    BENCH_SOCKET_BATCH = 32, /* datagrams in one system call */
    BENCH_SOCKET_NO_FLOW = -1,
};

struct bench_socket;

/* Every local address of a flow must have the same family and port, and the last 16 bits of no
 * other. NULL with one line on stderr. `packets` stay the caller's.
 *
 * `in_bursts`: packets of one flow that follow each other leave as one, which the kernel cuts up
 * when it has reached the other socket (UDP_SEGMENT). That costs us half of what sending them one
 * by one does, and the other side the same; but who looks at packets on the way sees one large one.
 * Where the kernel cannot do it with these packets they leave one by one. */
struct bench_socket *bench_socket_open(const struct bench_packets *packets, bool in_bursts);
void bench_socket_close(struct bench_socket *bench_socket);

/* Whether packets leave so. */
bool bench_socket_is_bursting(const struct bench_socket *bench_socket);

/* Sends n packets from that number on, at most BENCH_SOCKET_BATCH. Returns how many the kernel
 * took, which may be none, or -1 with one line on stderr; *at_ns is the wall clock just before. */
int bench_socket_send(struct bench_socket *bench_socket, uint64_t number, unsigned n,
                      int64_t *at_ns);

/* Takes what has come, at most BENCH_SOCKET_BATCH datagrams, and does not wait for it. Returns how
 * many, or -1 with one line on stderr. */
int bench_socket_receive(struct bench_socket *bench_socket);

struct bench_datagram {
    const uint8_t *octets; /* at least packets->reply_size can be read, whatever the length */
    size_t length;         /* as it was, or just more than reply_size */
    int64_t at_ns;         /* wall clock, by the kernel */
    int32_t flow; /* NO_FLOW when it is not from where, or not to where, one of them goes */
};

/* The i-th of those; once only. */
struct bench_datagram bench_socket_take(struct bench_socket *bench_socket, unsigned i);

/* Datagrams that came and found no room: what is measured is worth nothing. */
uint32_t bench_socket_drops(const struct bench_socket *bench_socket);

#endif
