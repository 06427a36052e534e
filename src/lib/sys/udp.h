/* UDP sockets of the test path: what the kernel can tell of each datagram, in batches.
 *
 * Every received datagram comes with the kernel's receive timestamp, TTL or Hop Limit, TOS or
 * Traffic Class, the local address it was sent to and the count of datagrams that the kernel
 * dropped; every sent one says from which local address and with which TOS it leaves. One system
 * call moves up to TW_UDP_BATCH datagrams; nothing is allocated after open and batch creation.
 *
 * The kernel's stamps are not trusted blindly: the first user of receive timestamping on a host
 * gets none for a short while, and a driver may never deliver any. A stamp that is missing, or
 * after the time of reading, is replaced by the time of reading, and the sample says so. */
#ifndef TW_SYS_UDP_H
#define TW_SYS_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/sys/clock.h"
#include "lib/time.h"

enum {
    TW_UDP_BATCH = 32, /* so that the last stamp of a batch is not old when it leaves */
    TW_UDP_BUFFER = 65536,
};

struct tw_udp_options {
    struct tw_address bind; /* family decides the socket's; unspecified address, port 0 allowed */
    const char *device;     /* SO_BINDTODEVICE; NULL: any */
    bool reuse_port;        /* several sockets on one port, see tw_udp_spread */
    bool raise;             /* tw_descriptor_raise */
    int receive_buffer;     /* octets wanted; 0: the system's default */
};

struct tw_udp {
    int fd;
    struct tw_address local; /* as bound, with the real port */
    uint64_t kernel_drops;   /* SO_RXQ_OVFL, summed */
    uint32_t last_drops;
    bool stamped;    /* the kernel has delivered a receive timestamp on this socket */
    bool departures; /* see tw_udp_report_departures */
};

/* 0 or -errno; IPv6 sockets are IPv6 only. TTL and Hop Limit of what leaves are 255. */
int tw_udp_open(struct tw_udp *udp, const struct tw_udp_options *options);

/* Takes over a bound descriptor (from systemd) and prepares it in the same way. 0 or -errno, and
 * then the descriptor stays the caller's: -EINVAL when it is not a bound UDP socket, -EAFNOSUPPORT
 * when it is neither IPv4 nor IPv6, or serves both at once (BindIPv6Only=ipv6-only is missing). */
int tw_udp_adopt(struct tw_udp *udp, int fd);
void tw_udp_close(struct tw_udp *udp);

/* A descriptor without a port that makes the kernel stamp what arrives for as long as it is open;
 * or -errno. The kernel begins to stamp some time after the first socket asked for it and stops
 * after the last: a program that opens sockets as it needs them keeps one of these from its
 * start. */
int tw_udp_keep_stamping(void);

/* Of the sockets that share one port (opened in this order, all open), the kernel hands a datagram
 * to number tw_udp_spread_index(remote, count): the owner of a session is known from its address. 0
 * or -errno; call on any one of them. */
int tw_udp_spread(const struct tw_udp *udp, unsigned count);
unsigned tw_udp_spread_index(const struct tw_address *remote, unsigned count);

/* One datagram in or out. */
struct tw_datagram {
    uint8_t *data; /* TW_UDP_BUFFER octets, owned by the batch */
    size_t length;
    struct tw_address remote;
    struct tw_address local;   /* in: where it was sent to; out: source, family 0 = any */
    unsigned interface;        /* index it came in by; out: 0 = any */
    struct tw_arrival arrival; /* in only */
    int64_t nic_ns;            /* in only: when it came, by an interface's own clock; 0 none */
    unsigned nic;              /* in only: the index of that interface */
    uint8_t tos;               /* out only: DSCP << 2 | ECN */
};

/* Preallocated memory for one system call; owned by one thread. */
struct tw_udp_batch;
struct tw_udp_batch *tw_udp_batch_new(void); /* NULL: no memory */
void tw_udp_batch_free(struct tw_udp_batch *batch);

/* The i-th of TW_UDP_BATCH datagrams, to read after receive or to fill before send. */
struct tw_datagram *tw_udp_batch_at(struct tw_udp_batch *batch, unsigned i);

/* Datagrams received, 0 if none is waiting, or -errno. Reads the clock once, after the call. */
int tw_udp_receive(struct tw_udp *udp, struct tw_udp_batch *batch, struct tw_clock *clock);

/* Sends the first n. Returns how many the kernel took (they are the first ones), or -errno when it
 * took none. An error that concerns one destination (network unreachable and the like) skips
 * nothing: the caller decides about the first not taken. */
int tw_udp_send(struct tw_udp *udp, struct tw_udp_batch *batch, unsigned n);

/* The same for the n datagrams from number `first` on: how a caller goes on behind one that was not
 * taken. */
int tw_udp_send_from(struct tw_udp *udp, struct tw_udp_batch *batch, unsigned first, unsigned n);

/* Lets the kernel keep what ICMP says of datagrams that were sent. From then on epoll tells of them
 * (EPOLLERR), and a send to anybody fails once with the errno of such an error, and is to be tried
 * again. 0 or -errno. */
int tw_udp_report_errors(const struct tw_udp *udp);

/* Lets the kernel tell when each datagram leaves: how soon after it was sent, and whether at all,
 * is the driver's affair. Datagrams are numbered in the order of sending, beginning with 0 for the
 * first after this call. A send that fails, or takes fewer than it was given, may have used a
 * number or not, as the kernel's version has it: then nobody knows the next, and the call, made
 * again, begins anew with 0. What was sent before keeps its number. 0 or -errno, and then no
 * departure is told; arrivals are stamped all the same.
 *
 * From then on interfaces that stamp by a clock of their own (nic_clock.h) tell of arrivals, and
 * if `by_nic` of departures, too. To be asked for only where it is of use: some can stamp but one
 * departure at a time, and others may need that one; and those notices carry the datagrams, which
 * net.core.tstamp_allow_data may forbid. */
int tw_udp_report_departures(struct tw_udp *udp, bool by_nic);

enum tw_udp_notice_kind {
    TW_UDP_OTHER, /* nothing that anybody asked for */
    TW_UDP_ERROR,
    TW_UDP_DEPARTURE,
    TW_UDP_NIC_DEPARTURE, /* after the other one, by most drivers */
};

/* What the kernel tells of one datagram that was sent. */
struct tw_udp_notice {
    enum tw_udp_notice_kind kind;
    int error;                /* ERROR: errno */
    struct tw_address remote; /* ERROR: where the datagram was sent to */
    uint32_t id;              /* both DEPARTUREs: the datagram's number, modulo 2^32 */
    tw_wall at;               /* DEPARTURE: handed to the device */
    int64_t nic_ns;           /* NIC_DEPARTURE: by the clock of the interface ... */
    unsigned nic;             /* ... with that index, by which it left */
};

enum { TW_UDP_NOTICES = 32 };

/* Takes the oldest, at most TW_UDP_NOTICES. Returns how many; fewer than that says that no more are
 * there. Or -errno. Never waits. */
int tw_udp_take_notices(const struct tw_udp *udp, const struct tw_clock *clock,
                        struct tw_udp_notice notices[TW_UDP_NOTICES]);

/* The receive buffer of a socket, in octets or -errno, as a program asks for it and
 * net.core.rmem_max limits it. The kernel grants twice as much (`ss -m` shows that), because it
 * charges every datagram with all the memory that holds it: 768 octets or more for the smallest. */
int tw_udp_buffer(int fd);

/* Makes the receive buffer that large, or as large as the system allows; never smaller than it is.
 * For sockets that others have opened; tw_udp_open does its own. */
void tw_udp_raise_buffer(int fd, int octets);

/* Datagrams that the kernel threw away at the socket since it was opened, modulo 2^32: its buffer
 * was full, there was no memory, or the checksum was wrong. That is SO_RXQ_OVFL's number, but known
 * without a further datagram to come. 0 or -errno: -ENOPROTOOPT before Linux 4.12. From any thread
 * while the socket is open. */
int tw_udp_drops(int fd, uint32_t *drops);

#endif
