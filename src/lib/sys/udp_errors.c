/* What ICMP says of datagrams that were sent; declared in udp.h.
 *
 * Only for a socket whose user asks: it lets the kernel fail the next send to anybody for the sake
 * of the one that an error came from. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/errqueue.h> /* wants struct timespec */

#include "lib/sys/socket.h"
#include "lib/sys/udp.h"

int tw_udp_report_errors(const struct tw_udp *udp)
{
    const bool ip4 = udp->local.family == 4;
    const int on = 1;
    const int result = setsockopt(udp->fd, ip4 ? IPPROTO_IP : IPPROTO_IPV6,
                                  ip4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof on);
    return result == 0 ? 0 : -errno;
}

/* The errno in one control message; 0 if it is of something else than ICMP. */
static int error_of(const struct cmsghdr *header)
{
    const bool ours = (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_RECVERR) ||
                      (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_RECVERR);
    struct sock_extended_err error;
    if (!ours || header->cmsg_len < CMSG_LEN(sizeof error))
        return 0;
    memcpy(&error, CMSG_DATA(header), sizeof error);
    const bool icmp = error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6;
    return icmp ? (int)error.ee_errno : 0;
}

bool tw_udp_take_error(const struct tw_udp *udp, struct tw_udp_error *error)
{
    struct sockaddr_storage name;
    union {
        struct cmsghdr alignment;
        uint8_t octets[512];
    } control;
    struct msghdr message = {
        .msg_name = &name,
        .msg_namelen = sizeof name,
        .msg_control = control.octets,
        .msg_controllen = sizeof control.octets,
    };
    *error = (struct tw_udp_error){.error = 0};
    if (recvmsg(udp->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return false;
    error->remote = tw_address_from_sockaddr((const struct sockaddr *)&name, message.msg_namelen);
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL && error->error == 0;
         header = CMSG_NXTHDR(&message, header))
        error->error = error_of(header);
    return true;
}
