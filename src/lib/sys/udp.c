/* UDP sockets of the test path, for the engine and the daemon's workers; the contract is in udp.h.
 *
 * Knows nothing of TWAMP: it moves datagrams and tells what the kernel knows of them. The error
 * queue stays off unless its user asks (udp_notices.c): on a socket shared by many peers it fails
 * the next send to one of them for the sake of another. */
#include "twamp-config.h" /* GNU extensions: recvmmsg, in6_pktinfo */

#include "lib/sys/udp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys/socket.h"

/* A stamp that is older than this was not taken by the wall clock (the kernel uses the same field
 * for departure times on the monotonic clock). */
#define OLDEST_STAMP_NS (INT64_C(3600) * TW_NS_PER_S)

/* Room for every control message that is asked for below, in and out. */
enum { CONTROL_SIZE = 256 };

union control {
    struct cmsghdr align;
    uint8_t octets[CONTROL_SIZE];
};

_Static_assert(CONTROL_SIZE >=
                   CMSG_SPACE(sizeof(struct scm_timestamping)) + CMSG_SPACE(sizeof(uint32_t)) +
                       CMSG_SPACE(sizeof(struct scm_ts_pktinfo)) +
                       CMSG_SPACE(sizeof(struct in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int)),
               "control messages would be cut off");

/* Buffers that lay a power of two apart would all have their headers in the same few lines of the
 * processor's caches. */
enum { CACHE_OFFSET = 192 };

struct tw_udp_batch {
    struct tw_datagram datagrams[TW_UDP_BATCH];
    struct mmsghdr messages[TW_UDP_BATCH];
    unsigned used; /* of them, the first, are not ready to receive */
    struct iovec vectors[TW_UDP_BATCH];
    struct sockaddr_storage names[TW_UDP_BATCH];
    union control controls[TW_UDP_BATCH];
    uint8_t data[TW_UDP_BATCH][TW_UDP_BUFFER + CACHE_OFFSET];
};

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

/* SO_TIMESTAMPING rather than SO_TIMESTAMPNS: for a datagram that came before stamping had begun
 * the latter makes up a stamp at the time of reading, which nobody can tell from a true one; here
 * there is simply none. */
static int ask_stamps(int fd)
{
    return set_int(fd, SOL_SOCKET, SO_TIMESTAMPING,
                   SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE);
}

/* TTL, TOS and addresses of what arrives, 255 hops for what leaves.
 *
 * IPv4 packets leave without DF. The kernel's default would set it and learn the path's MTU from
 * ICMP: the first large packets across a narrow link would be lost, by our own doing, and anybody's
 * forged ICMP could change how the others leave. IPv6 knows no fragmentation on the way, and its
 * default cuts at the MTU learnt, which is all that can be done. */
static int prepare_family(int fd, uint8_t family)
{
    static const struct {
        uint8_t family;
        int level, option, value;
    } options[] = {
        {4, IPPROTO_IP, IP_RECVTTL, 1},
        {4, IPPROTO_IP, IP_RECVTOS, 1},
        {4, IPPROTO_IP, IP_PKTINFO, 1},
        {4, IPPROTO_IP, IP_TTL, 255},
        {4, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT},
        {6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
        {6, IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
        {6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
        {6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (options[i].family != family)
            continue;
        const int error = set_int(fd, options[i].level, options[i].option, options[i].value);
        if (error != 0)
            return error;
    }
    return 0;
}

static int prepare(int fd, uint8_t family)
{
    int error = prepare_family(fd, family);
    if (error == 0)
        error = set_int(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (error == 0)
        (void)ask_stamps(fd); /* without them the time of reading is used, and said so */
    return error;
}

static int open_and_bind(int fd, const struct tw_udp_options *options)
{
    const char *device = options->device;
    if (device != NULL &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) != 0)
        return -errno;
    int error = 0;
    if (options->bind.family == 6)
        error = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (error == 0 && options->reuse_port)
        error = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (error == 0)
        error = prepare(fd, options->bind.family);
    if (error != 0)
        return error;
    /* Above the system's limit only with CAP_NET_ADMIN; else as much as the limit allows. */
    if (options->receive_buffer > 0 &&
        set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, options->receive_buffer) != 0)
        (void)set_int(fd, SOL_SOCKET, SO_RCVBUF, options->receive_buffer);
    struct sockaddr_storage sockaddr;
    const socklen_t length = tw_sockaddr_from_address(&options->bind, &sockaddr);
    return bind(fd, (const struct sockaddr *)&sockaddr, length) == 0 ? 0 : -errno;
}

int tw_udp_open(struct tw_udp *udp, const struct tw_udp_options *options)
{
    *udp = (struct tw_udp){.fd = -1};
    if (options->bind.family == 0)
        return -EAFNOSUPPORT;
    int fd = socket(options->bind.family == 4 ? AF_INET : AF_INET6,
                    SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (options->raise)
        fd = tw_descriptor_raise(fd);
    if (fd < 0)
        return -errno;
    int error = open_and_bind(fd, options);
    if (error == 0)
        error = tw_socket_local(fd, &udp->local);
    if (error != 0) {
        close(fd);
        return error;
    }
    udp->fd = fd;
    return 0;
}

static int get_int(int fd, int level, int option)
{
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, option, &value, &length) == 0 ? value : -1;
}

int tw_udp_adopt(struct tw_udp *udp, int fd)
{
    *udp = (struct tw_udp){.fd = -1};
    if (get_int(fd, SOL_SOCKET, SO_TYPE) != SOCK_DGRAM)
        return -EINVAL;
    const int domain = get_int(fd, SOL_SOCKET, SO_DOMAIN);
    if (domain != AF_INET && domain != AF_INET6)
        return -EAFNOSUPPORT;
    if (get_int(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_UDP)
        return -EINVAL;
    if (domain == AF_INET6 && get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY) != 1)
        return -EAFNOSUPPORT;
    struct tw_address local;
    int error = tw_socket_local(fd, &local);
    if (error == 0 && local.port == 0)
        error = -EINVAL;
    if (error == 0)
        error = prepare(fd, local.family);
    if (error != 0)
        return error;
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return -errno;
    udp->fd = fd;
    udp->local = local;
    return 0;
}

void tw_udp_close(struct tw_udp *udp)
{
    if (udp->fd >= 0)
        close(udp->fd);
    udp->fd = -1;
}

int tw_udp_keep_stamping(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int error = ask_stamps(fd);
    if (error == 0)
        return fd;
    close(fd);
    return error;
}

struct tw_udp_batch *tw_udp_batch_new(void)
{
    /* Two megabytes, most of them never touched: mapped, they become resident only where used. */
    struct tw_udp_batch *batch = mmap(NULL, sizeof *batch, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (batch == MAP_FAILED)
        return NULL;
    for (unsigned i = 0; i < TW_UDP_BATCH; i++)
        batch->datagrams[i].data = batch->data[i];
    batch->used = TW_UDP_BATCH;
    return batch;
}

void tw_udp_batch_free(struct tw_udp_batch *batch)
{
    if (batch != NULL)
        munmap(batch, sizeof *batch);
}

struct tw_datagram *tw_udp_batch_at(struct tw_udp_batch *batch, unsigned i)
{
    return &batch->datagrams[i];
}

/* Copies a control message's value; false when the kernel sent fewer octets. */
static bool take(const struct cmsghdr *header, void *out, size_t size)
{
    if (header->cmsg_len < CMSG_LEN(size))
        return false;
    memcpy(out, CMSG_DATA(header), size);
    return true;
}

static void take_stamp(struct tw_udp *udp, const struct cmsghdr *header,
                       const struct tw_clock *clock, struct tw_datagram *datagram)
{
    struct scm_timestamping stamps;
    if (!take(header, &stamps, sizeof stamps))
        return;
    datagram->nic_ns = tw_clock_ns(&stamps.ts[2]);
    struct tw_arrival *arrival = &datagram->arrival;
    const int64_t at_ns = tw_clock_ns(&stamps.ts[0]) + clock->test_offset_ns;
    const int64_t age_ns = arrival->read.wall.ns - at_ns;
    if (age_ns < 0 || age_ns > OLDEST_STAMP_NS)
        return;
    arrival->at.ns = at_ns;
    arrival->source = TW_SOURCE_KERNEL;
    udp->stamped = true;
}

/* On a bond or a VLAN the one below, not the one that it came in by. */
static void take_nic(const struct cmsghdr *header, struct tw_datagram *datagram)
{
    struct scm_ts_pktinfo info;
    if (take(header, &info, sizeof info))
        datagram->nic = info.if_index;
}

static void take_drops(struct tw_udp *udp, const struct cmsghdr *header)
{
    uint32_t drops;
    if (!take(header, &drops, sizeof drops))
        return;
    const uint32_t more = drops - udp->last_drops;
    if (more > INT32_MAX) /* queued at an adopted socket before what was lost there last */
        return;
    udp->kernel_drops += more;
    udp->last_drops = drops;
}

static void take_local4(const struct cmsghdr *header, struct tw_datagram *datagram)
{
    struct in_pktinfo info;
    if (!take(header, &info, sizeof info))
        return;
    memset(datagram->local.octets, 0, sizeof datagram->local.octets);
    memcpy(datagram->local.octets, &info.ipi_addr, sizeof info.ipi_addr);
    datagram->interface = (unsigned)info.ipi_ifindex;
}

static void take_local6(const struct cmsghdr *header, struct tw_datagram *datagram)
{
    struct in6_pktinfo info;
    if (!take(header, &info, sizeof info))
        return;
    memcpy(datagram->local.octets, &info.ipi6_addr, sizeof info.ipi6_addr);
    datagram->interface = info.ipi6_ifindex;
    datagram->local.scope =
        IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? (uint32_t)info.ipi6_ifindex : 0;
}

static int16_t take_octet(const struct cmsghdr *header)
{
    uint8_t octet;
    return take(header, &octet, sizeof octet) ? octet : -1;
}

static int16_t take_octet_of_int(const struct cmsghdr *header)
{
    int value;
    return take(header, &value, sizeof value) ? (int16_t)(value & 0xff) : -1;
}

static void take_control4(const struct cmsghdr *header, struct tw_datagram *datagram)
{
    if (header->cmsg_type == IP_PKTINFO)
        take_local4(header, datagram);
    else if (header->cmsg_type == IP_TTL)
        datagram->arrival.ttl = take_octet_of_int(header);
    else if (header->cmsg_type == IP_TOS)
        datagram->arrival.tos = take_octet(header); /* one octet, unlike all the others */
}

static void take_control6(const struct cmsghdr *header, struct tw_datagram *datagram)
{
    if (header->cmsg_type == IPV6_PKTINFO)
        take_local6(header, datagram);
    else if (header->cmsg_type == IPV6_HOPLIMIT)
        datagram->arrival.ttl = take_octet_of_int(header);
    else if (header->cmsg_type == IPV6_TCLASS)
        datagram->arrival.tos = take_octet_of_int(header);
}

static void take_control(struct tw_udp *udp, const struct cmsghdr *header,
                         const struct tw_clock *clock, struct tw_datagram *datagram)
{
    if (header->cmsg_level == IPPROTO_IP)
        take_control4(header, datagram);
    else if (header->cmsg_level == IPPROTO_IPV6)
        take_control6(header, datagram);
    else if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_TIMESTAMPING)
        take_stamp(udp, header, clock, datagram);
    else if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_RXQ_OVFL)
        take_drops(udp, header);
    else if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_TIMESTAMPING_PKTINFO)
        take_nic(header, datagram);
}

/* All but data, from the kernel's headers of message number i. */
static void describe(struct tw_udp *udp, struct tw_udp_batch *batch, unsigned i,
                     const struct tw_reading *read, const struct tw_clock *clock)
{
    struct msghdr *message = &batch->messages[i].msg_hdr;
    struct tw_datagram *datagram = &batch->datagrams[i];
    datagram->length = batch->messages[i].msg_len;
    datagram->remote =
        tw_address_from_sockaddr((const struct sockaddr *)&batch->names[i], message->msg_namelen);
    datagram->local = udp->local;
    datagram->interface = 0;
    datagram->tos = 0;
    datagram->nic_ns = 0;
    datagram->nic = 0;
    datagram->arrival = (struct tw_arrival){
        .at = read->wall,
        .source = TW_SOURCE_USER,
        .read = *read,
        .ttl = -1,
        .tos = -1,
    };
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header))
        take_control(udp, header, clock, datagram);
    if (datagram->nic == 0)
        datagram->nic = datagram->interface;
}

static struct msghdr *reset(struct tw_udp_batch *batch, unsigned i, size_t length)
{
    batch->vectors[i] = (struct iovec){.iov_base = batch->data[i], .iov_len = length};
    batch->messages[i].msg_hdr = (struct msghdr){
        .msg_name = &batch->names[i],
        .msg_namelen = sizeof batch->names[i],
        .msg_iov = &batch->vectors[i],
        .msg_iovlen = 1,
        .msg_control = batch->controls[i].octets,
        .msg_controllen = sizeof batch->controls[i].octets,
    };
    return &batch->messages[i].msg_hdr;
}

int tw_udp_receive(struct tw_udp *udp, struct tw_udp_batch *batch, struct tw_clock *clock)
{
    for (unsigned i = 0; i < batch->used; i++)
        reset(batch, i, TW_UDP_BUFFER);
    batch->used = 0;
    int n;
    do {
        n = recvmmsg(udp->fd, batch->messages, TW_UDP_BATCH, MSG_DONTWAIT, NULL);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    batch->used = (unsigned)n;
    const struct tw_reading read = tw_clock_read(clock);
    for (unsigned i = 0; i < (unsigned)n; i++)
        describe(udp, batch, i, &read, clock);
    return n;
}

/* Appends one control message; the batch's buffer has room for all that prepare_send() writes.
 * Inline, so that with sizes known it becomes a few stores. */
static inline __attribute__((always_inline)) void put(struct msghdr *message, int level, int type,
                                                      const void *value, size_t size)
{
    struct cmsghdr header = {
        .cmsg_level = level,
        .cmsg_type = type,
        .cmsg_len = CMSG_LEN(size),
    };
    uint8_t *out = (uint8_t *)message->msg_control + message->msg_controllen;
    memset(out, 0, CMSG_SPACE(size));
    memcpy(out, &header, sizeof header);
    memcpy(out + CMSG_LEN(0), value, size);
    message->msg_controllen += CMSG_SPACE(size);
}

static void put_source(struct msghdr *message, uint8_t family, const struct tw_datagram *datagram)
{
    const struct tw_address *local = &datagram->local;
    const unsigned interface =
        datagram->interface != 0 || local->family == 0 ? datagram->interface : local->scope;
    if (local->family == 0 && interface == 0)
        return;
    if (family == 4) {
        struct in_pktinfo info = {.ipi_ifindex = (int)interface};
        memcpy(&info.ipi_spec_dst, local->octets, sizeof info.ipi_spec_dst);
        put(message, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
        return;
    }
    struct in6_pktinfo info = {.ipi6_ifindex = interface};
    memcpy(&info.ipi6_addr, local->octets, sizeof info.ipi6_addr);
    put(message, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
}

static void prepare_send(const struct tw_udp *udp, struct tw_udp_batch *batch, unsigned i)
{
    const struct tw_datagram *datagram = &batch->datagrams[i];
    struct msghdr *message = reset(batch, i, datagram->length);
    message->msg_namelen = tw_sockaddr_from_address(&datagram->remote, &batch->names[i]);
    message->msg_controllen = 0;
    put_source(message, udp->local.family, datagram);
    const int tos = datagram->tos;
    if (udp->local.family == 4)
        put(message, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
    else
        put(message, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof tos);
}

int tw_udp_send_from(struct tw_udp *udp, struct tw_udp_batch *batch, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++)
        prepare_send(udp, batch, i);
    if (batch->used < first + n)
        batch->used = first + n;
    int sent;
    do {
        sent = sendmmsg(udp->fd, batch->messages + first, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

int tw_udp_send(struct tw_udp *udp, struct tw_udp_batch *batch, unsigned n)
{
    return tw_udp_send_from(udp, batch, 0, n);
}
