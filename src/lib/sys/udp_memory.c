/* The receive buffers of test sockets: how large they are, and what found no room; declared in
 * udp.h. */
#include "twamp-config.h" /* GNU extensions */

#include "lib/sys/udp.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is set is doubled, and the double is what is read. */
enum { KERNEL_FACTOR = 2 };

static int set_buffer(int fd, int option, int octets)
{
    return setsockopt(fd, SOL_SOCKET, option, &octets, sizeof octets) == 0 ? 0 : -errno;
}

int tw_udp_buffer(int fd)
{
    int octets = 0;
    socklen_t length = sizeof octets;
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, &length) != 0)
        return -errno;
    return octets / KERNEL_FACTOR;
}

/* What a socket gets that asks for so much without privileges: tried on another one, since net.core
 * may not be readable, and the first would be made smaller where it has more than is allowed. */
static int allowed_buffer(int octets)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int allowed = set_buffer(fd, SO_RCVBUF, octets);
    if (allowed == 0)
        allowed = tw_udp_buffer(fd);
    close(fd);
    return allowed;
}

void tw_udp_raise_buffer(int fd, int octets)
{
    const int before = tw_udp_buffer(fd);
    if (before < 0 || before >= octets || set_buffer(fd, SO_RCVBUFFORCE, octets) == 0)
        return;
    if (allowed_buffer(octets) > before)
        (void)set_buffer(fd, SO_RCVBUF, octets);
}

int tw_udp_drops(int fd, uint32_t *drops)
{
    uint32_t values[SK_MEMINFO_VARS];
    socklen_t length = sizeof values;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &length) != 0)
        return -errno;
    if (length <= SK_MEMINFO_DROPS * sizeof values[0])
        return -ENOPROTOOPT;
    *drops = values[SK_MEMINFO_DROPS];
    return 0;
}
