/* Signals by a descriptor; see signals.h. */
#include "reflector/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "reflector/error.h"

static sigset_t ours(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

void twd_signals_hold(void)
{
    const sigset_t set = ours();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void take_signals(struct twd_watch *watch, uint32_t events)
{
    (void)events;
    const struct twd_signals *signals = watch->owner;
    struct signalfd_siginfo info;
    while (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        signals->came(signals->user, (int)info.ssi_signo);
}

bool twd_signals_begin(struct twd_signals *signals, struct twd_poller *poller, GError **error)
{
    const sigset_t set = ours();
    const int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return twd_fail(error, TWD_EXIT_FAILURE, "signalfd: %s", g_strerror(errno));
    signals->watch = (struct twd_watch){.ready = take_signals, .owner = signals, .fd = fd};
    const int result = twd_poller_add(poller, &signals->watch, EPOLLIN);
    if (result != 0) {
        close(fd);
        return twd_fail(error, TWD_EXIT_FAILURE, "epoll: %s", g_strerror(-result));
    }
    signals->poller = poller;
    return true;
}

void twd_signals_end(struct twd_signals *signals)
{
    if (signals->poller == NULL)
        return;
    twd_poller_remove(signals->poller, &signals->watch);
    close(signals->watch.fd);
    signals->poller = NULL;
}
