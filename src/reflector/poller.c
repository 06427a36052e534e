/* One epoll descriptor and one heap of deadlines as a GSource; see poller.h. */
#include "reflector/poller.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "reflector/error.h"
#include "reflector/mailbox.h"

enum { BATCH = 64 };

struct twd_poller {
    GSource source; /* first: GLib allocates the whole */
    int epoll;
    struct twd_timers timers;
    struct epoll_event found[BATCH]; /* being called; data.ptr NULL: removed meanwhile */
    int count, next;
};

/* The context sleeps until then; the deadline counts from the same clock as GLib's, in us. */
static void set_alarm(struct twd_poller *poller)
{
    const tw_mono next = twd_timers_next(&poller->timers);
    const gint64 at_us = tw_mono_is_never(next) ? -1 : (next.ns + 999) / 1000;
    g_source_set_ready_time(&poller->source, at_us);
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer user)
{
    (void)callback;
    (void)user;
    struct twd_poller *poller = (struct twd_poller *)source;
    twd_mailbox_hold(); /* for the workers: all orders of this turn at once */
    poller->count = epoll_wait(poller->epoll, poller->found, BATCH, 0);
    for (poller->next = 0; poller->next < poller->count;) {
        const struct epoll_event *event = &poller->found[poller->next++];
        struct twd_watch *watch = event->data.ptr;
        if (watch != NULL)
            watch->ready(watch, event->events);
    }
    poller->count = poller->next = 0;
    twd_timers_run(&poller->timers, tw_clock_mono());
    twd_mailbox_let_go();
    set_alarm(poller);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs functions = {.dispatch = dispatch};

struct twd_poller *twd_poller_new(GError **error)
{
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) {
        twd_fail(error, TWD_EXIT_FAILURE, "epoll: %s", g_strerror(errno));
        return NULL;
    }
    struct twd_poller *poller =
        (struct twd_poller *)g_source_new(&functions, sizeof(struct twd_poller));
    poller->epoll = epoll;
    poller->count = poller->next = 0;
    twd_timers_init(&poller->timers);
    g_source_add_unix_fd(&poller->source, epoll, G_IO_IN);
    g_source_set_ready_time(&poller->source, -1);
    g_source_attach(&poller->source, NULL);
    return poller;
}

void twd_poller_free(struct twd_poller *poller)
{
    g_source_destroy(&poller->source);
    twd_timers_free(&poller->timers);
    close(poller->epoll);
    g_source_unref(&poller->source);
}

int twd_poller_add(struct twd_poller *poller, struct twd_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = watch}};
    watch->events = events;
    return epoll_ctl(poller->epoll, EPOLL_CTL_ADD, watch->fd, &event) == 0 ? 0 : -errno;
}

void twd_poller_change(struct twd_poller *poller, struct twd_watch *watch, uint32_t events)
{
    if (watch->events == events)
        return;
    struct epoll_event event = {.events = events, .data = {.ptr = watch}};
    watch->events = events;
    const int result = epoll_ctl(poller->epoll, EPOLL_CTL_MOD, watch->fd, &event);
    g_assert(result == 0);
}

void twd_poller_remove(struct twd_poller *poller, struct twd_watch *watch)
{
    epoll_ctl(poller->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = poller->next; i < poller->count; i++)
        if (poller->found[i].data.ptr == watch)
            poller->found[i].data.ptr = NULL;
}

void twd_poller_arm(struct twd_poller *poller, struct twd_timer *timer, tw_mono at)
{
    twd_timers_arm(&poller->timers, timer, at);
    set_alarm(poller);
}
