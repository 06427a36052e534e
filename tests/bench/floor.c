/* The least that a reflector of this kernel must do: takes datagrams and sends the same octets
 * back.
 *
 * The yardstick of tests/bench: one UDP socket, recvmmsg and sendmmsg in batches of 32, with the
 * ancillary data that a Session-Reflector needs of the kernel. It asks for all of that and reads
 * only what goes out again: the address it was sent to (as source) and TOS. It knows no sessions,
 * no TWAMP and no clock.
 *
 * usage: floor ADDRESS PORT
 * Prints "ready" when bound, and at SIGTERM one line of JSON. */
#include "twamp-config.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/sys/socket.h"

enum {
    BATCH = 32,
    DATAGRAM = 9216, /* octets of the largest one */
    CONTROL = 256,
};

struct control {
    _Alignas(struct cmsghdr) uint8_t octets[CONTROL];
};

/* What is written into the control messages of a reply: the value's place is the same in all. */
struct outgoing {
    struct control control;
    uint8_t *source; /* in_addr or in6_addr */
    uint8_t *tos;    /* int */
};

static uint8_t data[BATCH][DATAGRAM];
static struct sockaddr_in6 names[BATCH];
static struct control controls_in[BATCH];
static struct outgoing outgoing[BATCH];
static struct iovec vectors_in[BATCH], vectors_out[BATCH];
static struct mmsghdr in[BATCH], out[BATCH];
static volatile sig_atomic_t ended;
static int wake = -1; /* an eventfd: a signal just before the wait must end it */

static void end(int signal)
{
    (void)signal;
    const uint64_t one = 1;
    const int before = errno;
    ended = 1;
    if (write(wake, &one, sizeof one) < 0)
        _exit(EXIT_FAILURE);
    errno = before;
}

static int fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    return -1;
}

static bool set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

static bool ask(int fd, bool ip4)
{
    if (!set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) || !set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1))
        return false;
    if (ip4)
        return set(fd, IPPROTO_IP, IP_RECVTTL, 1) && set(fd, IPPROTO_IP, IP_RECVTOS, 1) &&
               set(fd, IPPROTO_IP, IP_PKTINFO, 1) && set(fd, IPPROTO_IP, IP_TTL, 255);
    return set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) &&
           set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
           set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
           set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255) && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
}

static int open_socket(const struct tw_address *address)
{
    const bool ip4 = address->family == 4;
    const int fd = socket(ip4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail("socket");
    struct sockaddr_storage name;
    const socklen_t length = tw_sockaddr_from_address(address, &name);
    if (ask(fd, ip4) && bind(fd, (const struct sockaddr *)&name, length) == 0)
        return fd;
    (void)fail("prepare and bind");
    close(fd);
    return -1;
}

/* Appends one control message of zeros and returns where its value is. */
static uint8_t *reserve(struct msghdr *message, int level, int type, size_t size)
{
    const struct cmsghdr header = {
        .cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(size)};
    uint8_t *at = (uint8_t *)message->msg_control + message->msg_controllen;
    memcpy(at, &header, sizeof header);
    message->msg_controllen += CMSG_SPACE(size);
    return at + CMSG_LEN(0);
}

static void prepare(unsigned i, bool ip4)
{
    vectors_in[i] = (struct iovec){.iov_base = data[i], .iov_len = DATAGRAM};
    vectors_out[i] = vectors_in[i];
    in[i].msg_hdr = (struct msghdr){
        .msg_name = &names[i],
        .msg_namelen = sizeof names[i],
        .msg_iov = &vectors_in[i],
        .msg_iovlen = 1,
        .msg_control = controls_in[i].octets,
        .msg_controllen = CONTROL,
    };
    struct msghdr *reply = &out[i].msg_hdr;
    *reply = in[i].msg_hdr;
    reply->msg_iov = &vectors_out[i];
    reply->msg_control = outgoing[i].control.octets;
    reply->msg_controllen = 0;
    if (ip4) {
        outgoing[i].source = reserve(reply, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo)) +
                             offsetof(struct in_pktinfo, ipi_spec_dst);
        outgoing[i].tos = reserve(reply, IPPROTO_IP, IP_TOS, sizeof(int));
    } else {
        outgoing[i].source = reserve(reply, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo));
        outgoing[i].tos = reserve(reply, IPPROTO_IPV6, IPV6_TCLASS, sizeof(int));
    }
}

/* Of all that the kernel tells, what the reply needs. */
static void take_control(unsigned i)
{
    struct msghdr *message = &in[i].msg_hdr;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        const uint8_t *value = CMSG_DATA(header);
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
            memcpy(outgoing[i].source, value + offsetof(struct in_pktinfo, ipi_addr),
                   sizeof(struct in_addr));
        } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_TOS) {
            const int tos = value[0];
            memcpy(outgoing[i].tos, &tos, sizeof tos);
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
            memcpy(outgoing[i].source, value, sizeof(struct in6_addr));
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_TCLASS) {
            memcpy(outgoing[i].tos, value, sizeof(int));
        }
    }
}

static void turn_round(unsigned i)
{
    struct msghdr *message = &in[i].msg_hdr;
    take_control(i);
    vectors_out[i].iov_len = in[i].msg_len;
    out[i].msg_hdr.msg_namelen = message->msg_namelen;
    message->msg_namelen = sizeof names[i];
    message->msg_controllen = CONTROL;
}

/* One that cannot leave is skipped. */
static unsigned send_all(int fd, unsigned n)
{
    unsigned sent = 0;
    for (unsigned at = 0; at < n;) {
        const int r = sendmmsg(fd, out + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r > 0)
            sent += (unsigned)r;
        at += r > 0 ? (unsigned)r : 1;
    }
    return sent;
}

/* Without a time limit: to set a timer costs more than to move a packet. */
static void run(int fd, int epoll, uint64_t *received, uint64_t *sent)
{
    struct epoll_event event;
    while (!ended) {
        const int n = recvmmsg(fd, in, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0) {
            (void)epoll_wait(epoll, &event, 1, -1);
            continue;
        }
        for (unsigned i = 0; i < (unsigned)n; i++)
            turn_round(i);
        *received += (unsigned)n;
        *sent += send_all(fd, (unsigned)n);
    }
}

/* The descriptor to wait with, for the socket and for signals. */
static int prepare_waiting(int fd)
{
    const struct sigaction action = {.sa_handler = end};
    struct epoll_event event = {.events = EPOLLIN};
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    wake = eventfd(0, EFD_CLOEXEC);
    if (epoll < 0 || wake < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event) != 0 ||
        sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0)
        return fail("prepare waiting");
    return epoll;
}

static uint32_t kernel_drops(int fd)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof memory;
    return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) == 0 ? memory[SK_MEMINFO_DROPS]
                                                                      : 0;
}

int main(int argc, char **argv)
{
    struct tw_address address;
    char *rest = NULL;
    const unsigned long port = argc == 3 ? strtoul(argv[2], &rest, 10) : 0;
    if (argc != 3 || !tw_address_parse(argv[1], &address) || *rest != '\0' || port == 0 ||
        port > UINT16_MAX) {
        fputs("usage: floor ADDRESS PORT\n", stderr);
        return 2;
    }
    address.port = (uint16_t)port;
    const int fd = open_socket(&address);
    const int epoll = fd >= 0 ? prepare_waiting(fd) : -1;
    if (epoll < 0)
        return EXIT_FAILURE;
    for (unsigned i = 0; i < BATCH; i++)
        prepare(i, address.family == 4);
    puts("ready");
    (void)fflush(stdout);
    uint64_t received = 0;
    uint64_t sent = 0;
    run(fd, epoll, &received, &sent);
    printf("{\"program\": \"floor\", \"received\": %llu, \"sent\": %llu, \"kernel_drops\": %u}\n",
           (unsigned long long)received, (unsigned long long)sent, kernel_drops(fd));
    close(fd);
    return EXIT_SUCCESS;
}
