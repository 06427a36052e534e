/* Descriptors, limits and identity of the process; see inherit.h. */
#include "reflector/inherit.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "reflector/error.h"

bool twd_inherit_sockets(GArray *tcp, GArray *udp, GError **error)
{
    const int count = sd_listen_fds(1);
    if (count < 0)
        return twd_fail(error, TWD_EXIT_FAILURE, "passed sockets: %s", g_strerror(-count));
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++) {
        if (sd_is_socket_inet(fd, AF_UNSPEC, SOCK_STREAM, 1, 0) > 0)
            g_array_append_val(tcp, fd);
        else if (sd_is_socket_inet(fd, AF_UNSPEC, SOCK_DGRAM, -1, 0) > 0)
            g_array_append_val(udp, fd);
        else
            return twd_fail(error, TWD_EXIT_FAILURE,
                            "passed descriptor %d is neither a listening TCP socket nor a UDP "
                            "socket; correct the socket unit",
                            fd);
    }
    return true;
}

void twd_inherit_raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* else with what we have */
}

bool twd_inherit_become(const char *user, GError **error)
{
    if (user[0] == '\0')
        return true;
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL)
        return twd_fail(error, TWD_EXIT_CONFIG, "user: \"%s\" is not a user of this host", user);
    if (entry->pw_uid == geteuid())
        return true;
    if (geteuid() != 0)
        return twd_fail(error, TWD_EXIT_CONFIG,
                        "user: only root can become \"%s\"; start as root or leave the key empty",
                        user);
    const uid_t uid = entry->pw_uid;
    const gid_t gid = entry->pw_gid;
    if (initgroups(user, gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
        return twd_fail(error, TWD_EXIT_FAILURE, "user: cannot become \"%s\": %s", user,
                        g_strerror(errno));
    return true;
}
