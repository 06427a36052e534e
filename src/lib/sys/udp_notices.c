/* What the kernel tells of datagrams that were sent: what ICMP says of them, and when they left;
 * declared in udp.h.
 *
 * Both come through the socket's error queue and only to whoever asks. A socket that hears of ICMP
 * pays with a failed send to anybody, one that hears of departures with a second message for each
 * datagram. */
#include "twamp-config.h" /* GNU extensions: recvmmsg */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/errqueue.h> /* wants struct timespec */
#include <linux/net_tstamp.h>

#include "lib/sys/socket.h"
#include "lib/sys/udp.h"

/* Of the largest: what ICMPv6 says, with destination, Hop Limit and Traffic Class; the addresses of
 * those who said it are in it too. */
enum { CONTROL_SIZE = 256 };

/* Room for one system call. */
struct room {
    struct mmsghdr messages[TW_UDP_NOTICES];
    struct sockaddr_in6 names[TW_UDP_NOTICES]; /* or sockaddr_in */
    union {
        struct cmsghdr alignment;
        uint8_t octets[CONTROL_SIZE];
    } controls[TW_UDP_NOTICES];
};

int tw_udp_report_errors(const struct tw_udp *udp)
{
    const bool ip4 = udp->local.family == 4;
    const int on = 1;
    const int result = setsockopt(udp->fd, ip4 ? IPPROTO_IP : IPPROTO_IPV6,
                                  ip4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof on);
    return result == 0 ? 0 : -errno;
}

static int set_stamping(int fd, int flags)
{
    return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags) == 0 ? 0 : -errno;
}

/* The kernel counts from zero whenever OPT_ID is switched on. The stamps of what arrives are never
 * off. */
int tw_udp_report_departures(struct tw_udp *udp, bool by_nic)
{
    const int arrivals = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    const int departures = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID;
    const int bare = SOF_TIMESTAMPING_OPT_TSONLY; /* without the datagram's own octets */
    /* Which interface it was is known since Linux 4.13. */
    const int nic =
        SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE | SOF_TIMESTAMPING_OPT_PKTINFO;
    /* With both stamps (since 4.14), and where it left, which is not told of bare ones. */
    const int nic_departures =
        SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_OPT_TX_SWHW | SOF_TIMESTAMPING_OPT_CMSG;
    int error = set_stamping(udp->fd, arrivals);
    if (error == 0)
        error =
            set_stamping(udp->fd, arrivals | departures | nic | (by_nic ? nic_departures : bare));
    if (error != 0)
        error = set_stamping(udp->fd, arrivals | departures | bare);
    udp->departures = error == 0;
    return error;
}

/* The kernel's word, in the control message that every entry of the queue has. */
static void take_word(const struct cmsghdr *header, struct tw_udp_notice *notice)
{
    struct sock_extended_err word;
    if (header->cmsg_len < CMSG_LEN(sizeof word))
        return;
    memcpy(&word, CMSG_DATA(header), sizeof word);
    if (word.ee_origin == SO_EE_ORIGIN_ICMP || word.ee_origin == SO_EE_ORIGIN_ICMP6) {
        notice->kind = TW_UDP_ERROR;
        notice->error = (int)word.ee_errno;
    } else if (word.ee_origin == SO_EE_ORIGIN_TIMESTAMPING && word.ee_info == SCM_TSTAMP_SND) {
        notice->kind = TW_UDP_DEPARTURE;
        notice->id = word.ee_data;
    }
}

static void take_stamp(const struct cmsghdr *header, const struct tw_clock *clock,
                       struct tw_udp_notice *notice)
{
    struct scm_timestamping stamps;
    if (header->cmsg_len < CMSG_LEN(sizeof stamps))
        return;
    memcpy(&stamps, CMSG_DATA(header), sizeof stamps);
    notice->nic_ns = tw_clock_ns(&stamps.ts[2]);
    if (stamps.ts[0].tv_sec != 0)
        notice->at.ns = tw_clock_ns(&stamps.ts[0]) + clock->test_offset_ns;
}

static void take_interface4(const struct cmsghdr *header, struct tw_udp_notice *notice)
{
    struct in_pktinfo info;
    if (header->cmsg_len < CMSG_LEN(sizeof info))
        return;
    memcpy(&info, CMSG_DATA(header), sizeof info);
    notice->nic = (unsigned)info.ipi_ifindex;
}

static void take_interface6(const struct cmsghdr *header, struct tw_udp_notice *notice)
{
    struct in6_pktinfo info;
    if (header->cmsg_len < CMSG_LEN(sizeof info))
        return;
    memcpy(&info, CMSG_DATA(header), sizeof info);
    notice->nic = info.ipi6_ifindex;
}

/* Which clock a departure was stamped by; OTHER when it left and nobody knows when. */
static enum tw_udp_notice_kind kind_of_departure(const struct tw_udp_notice *notice)
{
    if (notice->at.ns != 0)
        return TW_UDP_DEPARTURE;
    return notice->nic_ns != 0 && notice->nic != 0 ? TW_UDP_NIC_DEPARTURE : TW_UDP_OTHER;
}

static void describe(struct msghdr *message, const struct tw_clock *clock,
                     struct tw_udp_notice *notice)
{
    *notice = (struct tw_udp_notice){.kind = TW_UDP_OTHER};
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        const int level = header->cmsg_level;
        const int type = header->cmsg_type;
        if ((level == IPPROTO_IP && type == IP_RECVERR) ||
            (level == IPPROTO_IPV6 && type == IPV6_RECVERR))
            take_word(header, notice);
        else if (level == SOL_SOCKET && type == SO_TIMESTAMPING)
            take_stamp(header, clock, notice);
        else if (level == IPPROTO_IP && type == IP_PKTINFO)
            take_interface4(header, notice);
        else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO)
            take_interface6(header, notice);
    }
    if (notice->kind == TW_UDP_ERROR)
        notice->remote = tw_address_from_sockaddr((const struct sockaddr *)message->msg_name,
                                                  message->msg_namelen);
    else if (notice->kind == TW_UDP_DEPARTURE)
        notice->kind = kind_of_departure(notice);
}

int tw_udp_take_notices(const struct tw_udp *udp, const struct tw_clock *clock,
                        struct tw_udp_notice notices[TW_UDP_NOTICES])
{
    struct room room;
    for (unsigned i = 0; i < TW_UDP_NOTICES; i++)
        room.messages[i].msg_hdr = (struct msghdr){
            .msg_name = &room.names[i],
            .msg_namelen = sizeof room.names[i],
            .msg_control = room.controls[i].octets,
            .msg_controllen = sizeof room.controls[i].octets,
        };
    int n;
    do {
        n = recvmmsg(udp->fd, room.messages, TW_UDP_NOTICES, MSG_ERRQUEUE | MSG_DONTWAIT, NULL);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    for (int i = 0; i < n; i++)
        describe(&room.messages[i].msg_hdr, clock, &notices[i]);
    return n;
}
