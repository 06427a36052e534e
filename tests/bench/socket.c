/* The contract is in socket.h. */
#include "twamp-config.h"

#include "bench/socket.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/sys/socket.h"

enum {
    BATCH = BENCH_SOCKET_BATCH,
    NO_FLOW = BENCH_SOCKET_NO_FLOW,
    CONTROL = 128,
    BUFFER = 64 << 20,   /* octets: the kernel counts 768 for the smallest packet */
    LONGER = 64,         /* room behind a right reply, to see that one is longer */
    TAILS = 1 << 16,     /* last 16 bits of an address */
    BURST_OCTETS = 65000 /* in one system call, of all packets */
};

/* Of a flow, as the kernel wants it. */
struct lane {
    struct sockaddr_in6 remote; /* or a sockaddr_in */
    socklen_t remote_length;
    uint8_t source[sizeof(struct in6_addr)];
};

struct control {
    _Alignas(struct cmsghdr) uint8_t octets[CONTROL];
};

struct direction {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_in6 names[BATCH]; /* of what comes in */
    struct control controls[BATCH];
    uint8_t *data; /* without gaps: packets that leave as one follow each other */
};

struct bench_socket {
    const struct bench_packets *packets;
    int fd;
    bool ip4;
    size_t address_size; /* octets of an address */
    size_t source_at;    /* where the source is in the control messages of what goes out */
    struct lane *lanes;
    int32_t *flow_by_tail; /* TAILS of them */
    struct direction in, out;
    bool in_bursts;
    unsigned carried[BATCH]; /* packets in each message of `out` */
};

static bool complain(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return false;
}

static bool set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* Addresses may belong to no interface (AnyIP), which IPv6 wants to be told. Only root can have
 * buffers above the system's limit. */
static bool prepare(int fd, bool ip4)
{
    if (!set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER) ||
        !set(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER))
        return complain("buffers of the socket, which are root's to have");
    const bool done = set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) &&
                      (ip4 ? set(fd, IPPROTO_IP, IP_TTL, 255) && set(fd, IPPROTO_IP, IP_PKTINFO, 1)
                           : set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255) &&
                                 set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
                                 set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
                                 set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1));
    return done || complain("options of the socket");
}

static bool open_and_bind(struct bench_socket *bench_socket)
{
    struct tw_address local = bench_socket->packets->flows[0].local;
    if (bench_socket->packets->count > 1) /* control messages say which */
        memset(local.octets, 0, sizeof local.octets);
    bench_socket->fd = socket(bench_socket->ip4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bench_socket->fd < 0)
        return complain("socket");
    struct sockaddr_storage name;
    const socklen_t length = tw_sockaddr_from_address(&local, &name);
    return prepare(bench_socket->fd, bench_socket->ip4) &&
           (bind(bench_socket->fd, (const struct sockaddr *)&name, length) == 0 ||
            complain("bind"));
}

static uint16_t tail_of(const uint8_t *address, size_t size)
{
    return tw_get16(address + size - 2);
}

static bool make_lanes(struct bench_socket *bench_socket)
{
    const struct bench_packets *packets = bench_socket->packets;
    const struct tw_address *first = &packets->flows[0].local;
    for (unsigned i = 0; i < TAILS; i++)
        bench_socket->flow_by_tail[i] = NO_FLOW;
    for (unsigned i = 0; i < packets->count; i++) {
        const struct bench_flow *flow = &packets->flows[i];
        struct lane *lane = &bench_socket->lanes[i];
        struct sockaddr_storage remote;
        lane->remote_length = tw_sockaddr_from_address(&flow->remote, &remote);
        memcpy(&lane->remote, &remote, sizeof lane->remote);
        memcpy(lane->source, flow->local.octets, sizeof lane->source);
        int32_t *at =
            &bench_socket->flow_by_tail[tail_of(lane->source, bench_socket->address_size)];
        if (*at != NO_FLOW || flow->local.port != first->port ||
            flow->local.family != first->family) {
            fputs("the sessions' sender addresses must differ in their last 16 bits, and must not "
                  "in their ports\n",
                  stderr);
            return false;
        }
        *at = (int32_t)i;
    }
    return true;
}

static bool make_direction(struct direction *direction, size_t size)
{
    direction->data = calloc(BATCH, size);
    if (direction->data == NULL)
        return false;
    for (unsigned i = 0; i < BATCH; i++) {
        direction->vectors[i] =
            (struct iovec){.iov_base = direction->data + i * size, .iov_len = size};
        direction->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &direction->names[i],
            .msg_namelen = sizeof direction->names[i],
            .msg_iov = &direction->vectors[i],
            .msg_iovlen = 1,
            .msg_control = direction->controls[i].octets,
            .msg_controllen = CONTROL,
        };
    }
    return true;
}

/* Appends a control message of zeros and returns where its value is. */
static uint8_t *put_control(struct msghdr *message, int level, int type, size_t size)
{
    const struct cmsghdr header = {
        .cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(size)};
    uint8_t *at = (uint8_t *)message->msg_control + message->msg_controllen;
    memcpy(at, &header, sizeof header);
    message->msg_controllen += CMSG_SPACE(size);
    return at + CMSG_LEN(0);
}

/* Again when it turns out that there can be no bursts. */
static void prepare_messages(struct bench_socket *bench_socket)
{
    const struct bench_packets *packets = bench_socket->packets;
    const uint16_t size = (uint16_t)packets->size;
    for (unsigned i = 0; i < BATCH; i++) {
        struct msghdr *message = &bench_socket->out.messages[i].msg_hdr;
        message->msg_controllen = 0;
        if (bench_socket->ip4)
            put_control(message, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo));
        else
            put_control(message, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo));
        if (bench_socket->in_bursts)
            memcpy(put_control(message, SOL_UDP, UDP_SEGMENT, sizeof size), &size, sizeof size);
        memcpy(bench_socket->out.data + i * packets->size, packets->padded, packets->size);
    }
}

static bool make_memory(struct bench_socket *bench_socket)
{
    const struct bench_packets *packets = bench_socket->packets;
    bench_socket->lanes = calloc(packets->count, sizeof *bench_socket->lanes);
    bench_socket->flow_by_tail = calloc(TAILS, sizeof *bench_socket->flow_by_tail);
    if (bench_socket->lanes != NULL && bench_socket->flow_by_tail != NULL &&
        make_direction(&bench_socket->in, packets->reply_size + LONGER) &&
        make_direction(&bench_socket->out, packets->size))
        return true;
    fputs("no memory for the socket\n", stderr);
    return false;
}

struct bench_socket *bench_socket_open(const struct bench_packets *packets, bool in_bursts)
{
    struct bench_socket *bench_socket = calloc(1, sizeof *bench_socket);
    if (bench_socket == NULL) {
        fputs("no memory for the socket\n", stderr);
        return NULL;
    }
    bench_socket->packets = packets;
    bench_socket->fd = -1;
    bench_socket->ip4 = packets->flows[0].local.family == 4;
    bench_socket->address_size = bench_socket->ip4 ? 4 : 16;
    if (!make_memory(bench_socket) || !make_lanes(bench_socket) || !open_and_bind(bench_socket)) {
        bench_socket_close(bench_socket);
        return NULL;
    }
    bench_socket->source_at =
        CMSG_LEN(0) + (bench_socket->ip4 ? offsetof(struct in_pktinfo, ipi_spec_dst) : 0);
    bench_socket->in_bursts = in_bursts;
    prepare_messages(bench_socket);
    return bench_socket;
}

void bench_socket_close(struct bench_socket *bench_socket)
{
    if (bench_socket->fd >= 0)
        close(bench_socket->fd);
    free(bench_socket->lanes);
    free(bench_socket->flow_by_tail);
    free(bench_socket->in.data);
    free(bench_socket->out.data);
    free(bench_socket);
}

bool bench_socket_is_bursting(const struct bench_socket *bench_socket)
{
    return bench_socket->in_bursts;
}

uint32_t bench_socket_drops(const struct bench_socket *bench_socket)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof memory;
    if (getsockopt(bench_socket->fd, SOL_SOCKET, SO_MEMINFO, memory, &size) != 0)
        return 0;
    return memory[SK_MEMINFO_DROPS];
}

/* Message i is to carry packets of one flow, n of them at most: from that number on, which are in
 * this place of the data. Returns how many it does carry. */
static unsigned fill_message(struct bench_socket *bench_socket, unsigned i, unsigned place,
                             uint64_t number, unsigned n)
{
    const struct bench_packets *packets = bench_socket->packets;
    const size_t most = bench_socket->in_bursts ? BURST_OCTETS / packets->size : 1;
    const unsigned flow = bench_packets_flow(packets, number);
    struct lane *lane = &bench_socket->lanes[flow];
    struct msghdr *message = &bench_socket->out.messages[i].msg_hdr;
    unsigned carried = 0;
    message->msg_iov->iov_base = bench_socket->out.data + place * packets->size;
    do {
        bench_packets_write(packets, number + carried,
                            bench_socket->out.data + (place + carried) * packets->size);
        carried++;
    } while (carried < n && carried < most &&
             bench_packets_flow(packets, number + carried) == flow);
    message->msg_iov->iov_len = carried * packets->size;
    message->msg_name = &lane->remote;
    message->msg_namelen = lane->remote_length;
    memcpy((uint8_t *)message->msg_control + bench_socket->source_at, lane->source,
           bench_socket->address_size);
    bench_socket->carried[i] = carried;
    return carried;
}

static int64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * TW_NS_PER_S + now.tv_nsec;
}

/* ECONNREFUSED is ICMP's, of a packet before. */
static bool is_passing(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == EINTR ||
           error == ECONNREFUSED;
}

int bench_socket_send(struct bench_socket *bench_socket, uint64_t number, unsigned n,
                      int64_t *at_ns)
{
    unsigned messages = 0;
    for (unsigned place = 0; place < n; messages++)
        place += fill_message(bench_socket, messages, place, number + place, n - place);
    *at_ns = wall_ns();
    const int left = sendmmsg(bench_socket->fd, bench_socket->out.messages, messages, MSG_DONTWAIT);
    int sent = 0;
    for (int i = 0; i < left; i++)
        sent += (int)bench_socket->carried[i];
    if (left >= 0 || is_passing(errno))
        return sent;
    if (!bench_socket->in_bursts) {
        (void)complain("sendmmsg");
        return -1;
    }
    bench_socket->in_bursts = false; /* not every path can, or not with packets of that size */
    prepare_messages(bench_socket);
    return 0;
}

int bench_socket_receive(struct bench_socket *bench_socket)
{
    const int n = recvmmsg(bench_socket->fd, bench_socket->in.messages, BATCH, MSG_DONTWAIT, NULL);
    if (n >= 0)
        return n;
    if (is_passing(errno))
        return 0;
    (void)complain("recvmmsg");
    return -1;
}

static void read_control(const struct bench_socket *bench_socket, struct msghdr *message,
                         struct bench_datagram *datagram)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        const uint8_t *value = CMSG_DATA(header);
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec at;
            memcpy(&at, value, sizeof at);
            datagram->at_ns = (int64_t)at.tv_sec * TW_NS_PER_S + at.tv_nsec;
        } else if ((header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) ||
                   (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO)) {
            const size_t size = bench_socket->address_size;
            value += bench_socket->ip4 ? offsetof(struct in_pktinfo, ipi_addr) : 0;
            datagram->flow = bench_socket->flow_by_tail[tail_of(value, size)];
            if (datagram->flow != NO_FLOW &&
                memcmp(bench_socket->lanes[datagram->flow].source, value, size) != 0)
                datagram->flow = NO_FLOW;
        }
    }
}

struct bench_datagram bench_socket_take(struct bench_socket *bench_socket, unsigned i)
{
    struct msghdr *message = &bench_socket->in.messages[i].msg_hdr;
    struct bench_datagram datagram = {
        .octets = message->msg_iov->iov_base,
        .length = bench_socket->in.messages[i].msg_len,
        .flow = NO_FLOW,
    };
    read_control(bench_socket, message, &datagram);
    if (datagram.flow != NO_FLOW) {
        const struct lane *lane = &bench_socket->lanes[datagram.flow];
        if (message->msg_namelen != lane->remote_length ||
            memcmp(message->msg_name, &lane->remote, lane->remote_length) != 0)
            datagram.flow = NO_FLOW;
    }
    message->msg_namelen = sizeof bench_socket->in.names[i];
    message->msg_controllen = CONTROL;
    return datagram;
}
