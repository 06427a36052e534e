/* The octets of a control connection; the contract is in control.h. */
#include "lib/sys/control.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads in one go: a peer that never stops talking must not stop the others. */
enum { READS = 16 };

void tw_control_init(struct tw_control *control, int epoll, uint64_t tag)
{
    *control = (struct tw_control){.fd = -1, .epoll = epoll, .tag = tag};
}

int tw_control_open(struct tw_control *control, const struct tw_address *remote,
                    const struct tw_tcp_options *options)
{
    const int fd = tw_tcp_connect(remote, options);
    if (fd < 0)
        return fd;
    struct epoll_event event = {.events = EPOLLOUT, .data.u64 = control->tag};
    if (epoll_ctl(control->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        const int error = -errno;
        close(fd);
        return error;
    }
    control->fd = fd;
    control->connecting = true;
    control->interest = EPOLLOUT;
    return 0;
}

int tw_control_finish(struct tw_control *control)
{
    const int error = tw_tcp_connected(control->fd);
    if (error != 0)
        tw_control_close(control);
    control->connecting = false;
    return error;
}

void tw_control_close(struct tw_control *control)
{
    if (control->fd >= 0)
        close(control->fd); /* leaves epoll by itself */
    control->fd = -1;
    control->connecting = false;
}

static void lose(struct tw_control *control, struct tw_probe *probe, tw_mono now)
{
    tw_control_close(control);
    tw_probe_disconnected(probe, now);
}

static void read_all(struct tw_control *control, struct tw_probe *probe, tw_mono now)
{
    for (int i = 0; i < READS; i++) {
        size_t room;
        uint8_t *at = tw_probe_input(probe, &room);
        if (room == 0)
            return;
        const ssize_t n = recv(control->fd, at, room, MSG_DONTWAIT);
        if (n > 0) {
            tw_probe_received(probe, (size_t)n, now);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) {
            lose(control, probe, now);
            return;
        } else if (errno != EINTR) {
            return;
        }
    }
}

/* False when the connection is broken. */
static bool write_all(struct tw_control *control, struct tw_probe *probe, tw_mono now)
{
    for (;;) {
        size_t length;
        const uint8_t *octets = tw_probe_output(probe, &length);
        if (length == 0)
            return true;
        const ssize_t n = send(control->fd, octets, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            tw_probe_sent(probe, (size_t)n, now);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return true;
        else if (errno != EINTR)
            return false;
    }
}

void tw_control_flush(struct tw_control *control, struct tw_probe *probe, tw_mono now)
{
    if (control->fd < 0 || control->connecting || write_all(control, probe, now))
        return;
    /* What the peer said before it went may tell why. */
    read_all(control, probe, now);
    if (control->fd >= 0)
        lose(control, probe, now);
}

void tw_control_event(struct tw_control *control, struct tw_probe *probe, uint32_t events,
                      tw_mono now)
{
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        read_all(control, probe, now);
    if ((events & EPOLLOUT) != 0)
        tw_control_flush(control, probe, now);
    /* Both are reported whether asked for or not: without reading they would come for ever. */
    if (control->fd >= 0 && (events & (EPOLLERR | EPOLLHUP)) != 0)
        lose(control, probe, now);
}

void tw_control_part(struct tw_control *control, struct tw_probe *probe, tw_mono now)
{
    if (control->fd >= 0 && !control->connecting)
        (void)write_all(control, probe, now);
    tw_control_close(control);
}

void tw_control_wait(struct tw_control *control, struct tw_probe *probe)
{
    if (control->fd < 0 || control->connecting)
        return;
    size_t room;
    size_t queued;
    (void)tw_probe_input(probe, &room);
    (void)tw_probe_output(probe, &queued);
    uint32_t interest = 0;
    if (room > 0)
        interest |= EPOLLIN;
    if (queued > 0)
        interest |= EPOLLOUT;
    if (interest == control->interest)
        return;
    struct epoll_event event = {.events = interest, .data.u64 = control->tag};
    if (epoll_ctl(control->epoll, EPOLL_CTL_MOD, control->fd, &event) == 0)
        control->interest = interest;
}
