/* TCP listeners; see listener.h. */
#include "twamp-config.h" /* accept4 */

#include "reflector/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "lib/sys/socket.h"
#include "reflector/error.h"
#include "reflector/value.h"

/* How long nothing is accepted when the process or the system has no descriptor left: the clients
 * wait in the kernel's queue, and the loop does not spin. */
#define PAUSE_NS TW_NS_PER_S

enum {
    ACCEPTS_PER_TURN = 64,
    BACKLOG = 4096, /* or what the kernel allows: after a failure all clients come at once, and one
                       that finds no place is heard a minute later, if at all */
    PORT_ATTEMPTS = 20,
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 20,
    KEEPALIVE_PROBES = 4,
    GIVE_UP_S = KEEPALIVE_IDLE_S + KEEPALIVE_PROBES * KEEPALIVE_INTERVAL_S,
    DSCP_MASK = 0xfc,
};

struct listener {
    struct twd_listeners *all;
    struct twd_watch watch;
    struct twd_timer pause;
    struct tw_address local;
    char device[IF_NAMESIZE];
    bool caught_up; /* with the connections from before it had its options: a passed one, or one
                       that waited while keys were derived */
};

struct twd_listeners {
    GPtrArray *listeners; /* struct listener */
    struct twd_service *service;
    struct twd_log_limit log;
};

static void add_listener(struct twd_listeners *listeners, int fd, const char *device)
{
    struct listener *listener = g_new0(struct listener, 1);
    listener->all = listeners;
    listener->watch.fd = fd;
    (void)tw_socket_local(fd, &listener->local);
    g_strlcpy(listener->device, device, sizeof(listener->device));
    g_ptr_array_add(listeners->listeners, listener);
}

static void free_listener(gpointer data)
{
    struct listener *listener = data;
    if (listener->all->service != NULL) {
        struct twd_poller *poller = listener->all->service->poller;
        twd_poller_remove(poller, &listener->watch);
        twd_poller_arm(poller, &listener->pause, TW_NEVER);
    }
    close(listener->watch.fd);
    g_free(listener);
}

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

static int bind_and_listen(int fd, const struct twd_listen *listen_at, uint16_t port)
{
    const char *device = listen_at->device;
    if (device[0] != '\0' &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) != 0)
        return -errno;
    int result = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (result == 0 && listen_at->address.family == 6)
        result = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (result != 0)
        return result;
    struct tw_address address = listen_at->address;
    address.port = port;
    struct sockaddr_storage sockaddr;
    const socklen_t length = tw_sockaddr_from_address(&address, &sockaddr);
    if (bind(fd, (const struct sockaddr *)&sockaddr, length) != 0 || listen(fd, BACKLOG) != 0)
        return -errno;
    return 0;
}

/* Port 0 becomes the port that the first socket got. */
static int open_listener(struct twd_listeners *listeners, const struct twd_listen *listen_at,
                         uint16_t *port)
{
    const int fd = socket(listen_at->address.family == 4 ? AF_INET : AF_INET6,
                          SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int result = bind_and_listen(fd, listen_at, *port);
    if (result != 0) {
        close(fd);
        return result;
    }
    add_listener(listeners, fd, listen_at->device);
    const struct listener *added =
        g_ptr_array_index(listeners->listeners, listeners->listeners->len - 1);
    *port = added->local.port;
    return 0;
}

static const struct twd_listen wildcards[] = {
    {.address = {.family = 6}},
    {.address = {.family = 4}},
};

static int open_all(struct twd_listeners *listeners, const struct twd_config *config,
                    const struct twd_listen **culprit)
{
    const GArray *list = config->listen;
    const bool all = list->len == 0;
    const guint count = all ? G_N_ELEMENTS(wildcards) : list->len;
    uint16_t port = config->control_port;
    int result = 0;
    for (guint i = 0; i < count; i++) {
        *culprit = all ? &wildcards[i] : &g_array_index(list, const struct twd_listen, i);
        result = open_listener(listeners, *culprit, &port);
        /* A host may lack one of the families. */
        const bool missing = all && (result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL);
        if (result != 0 && !missing)
            return result;
    }
    return listeners->listeners->len > 0 ? 0 : result;
}

/* With port 0 the first address picks a port, which may be taken at the others: then again. */
static bool open_configured(struct twd_listeners *listeners, const struct twd_config *config,
                            GError **error)
{
    const struct twd_listen *culprit = NULL;
    int result = 0;
    for (int attempt = 0; attempt < PORT_ATTEMPTS; attempt++) {
        g_ptr_array_set_size(listeners->listeners, 0);
        result = open_all(listeners, config, &culprit);
        if (result == 0)
            return true;
        if (config->control_port != 0 || result != -EADDRINUSE)
            break;
    }
    g_autoptr(GString) name = g_string_new(NULL);
    twd_value_print_listen(culprit, name);
    return twd_fail(error, TWD_EXIT_FAILURE, "control port %u (TCP) at %s: %s%s",
                    config->control_port, name->str, g_strerror(-result),
                    result == -EACCES ? "; ports below 1024 need CAP_NET_BIND_SERVICE" : "");
}

static bool adopt_passed(struct twd_listeners *listeners, const GArray *passed, GError **error)
{
    for (guint i = 0; i < passed->len; i++) {
        const int fd = g_array_index(passed, int, i);
        const int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
            return twd_fail(error, TWD_EXIT_FAILURE, "passed TCP socket: %s", g_strerror(errno));
        add_listener(listeners, fd, "");
    }
    return true;
}

struct twd_listeners *twd_listeners_new(const struct twd_config *config, const GArray *passed,
                                        GError **error)
{
    struct twd_listeners *listeners = g_new0(struct twd_listeners, 1);
    listeners->listeners = g_ptr_array_new_with_free_func(free_listener);
    const bool good = passed->len > 0 ? adopt_passed(listeners, passed, error)
                                      : open_configured(listeners, config, error);
    if (good)
        return listeners;
    twd_listeners_free(listeners);
    return NULL;
}

static void resume(struct twd_timer *timer, tw_mono now)
{
    (void)now;
    struct listener *listener = timer->owner;
    twd_poller_change(listener->all->service->poller, &listener->watch, EPOLLIN);
}

static void pause_accepting(struct listener *listener, int fault)
{
    struct twd_poller *poller = listener->all->service->poller;
    twd_log_limited(&listener->all->log, TWD_LOG_WARNING, NULL,
                    "no connections are accepted for a second: %s", g_strerror(fault));
    twd_poller_change(poller, &listener->watch, 0);
    twd_poller_arm(poller, &listener->pause, tw_mono_after(tw_clock_mono(), PAUSE_NS));
}

/* The DSCP of the client's SYN goes on all our packets (RFC 5357 section 3.1). The kernel kept the
 * SYN's headers for us. */
static void mirror_dscp(int fd)
{
    uint8_t syn[256];
    socklen_t length = sizeof(syn);
    if (getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, syn, &length) != 0 || length < 2)
        return;
    const bool ip4 = syn[0] >> 4 == 4;
    const unsigned octet = ip4 ? syn[1] : (((unsigned)syn[0] & 0x0f) << 4 | (unsigned)syn[1] >> 4);
    const int tos = (int)(octet & DSCP_MASK);
    if (tos == 0)
        return;
    if (ip4)
        (void)setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
    else
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

/* For connections, which inherit all of it from the listening socket. Answers go out at once, and a
 * client that has vanished without a word is noticed even while a test runs and SERVWAIT does not
 * count: after the same time whether it owes us an acknowledgment, for which TCP alone would wait a
 * quarter of an hour without any keepalive, or not. */
static void set_tcp_options(int fd)
{
    static const struct {
        int level, option, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, GIVE_UP_S * 1000},
        {IPPROTO_TCP, TCP_SAVE_SYN, 1}, /* see mirror_dscp() */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
        (void)set_int(fd, options[i].level, options[i].option, options[i].value);
}

static void take_connections(struct twd_watch *watch, uint32_t events)
{
    (void)events;
    struct listener *listener = watch->owner;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sockaddr;
        socklen_t length = sizeof(sockaddr);
        const int fd =
            accept4(watch->fd, (struct sockaddr *)&sockaddr, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            const struct tw_address peer =
                tw_address_from_sockaddr((const struct sockaddr *)&sockaddr, length);
            if (!listener->caught_up)
                set_tcp_options(fd);
            mirror_dscp(fd);
            twd_connection_take(listener->all->service, fd, &peer, listener->device);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            listener->caught_up = true;
            return;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(listener, errno);
            return;
        }
        /* Else an error of that one connection, which is gone from the queue. */
    }
}

bool twd_listeners_start(struct twd_listeners *listeners, struct twd_service *service,
                         GError **error)
{
    listeners->service = service;
    for (guint i = 0; i < listeners->listeners->len; i++) {
        struct listener *listener = g_ptr_array_index(listeners->listeners, i);
        listener->watch.ready = take_connections;
        listener->watch.owner = listener;
        listener->pause = (struct twd_timer){.expire = resume, .owner = listener};
        set_tcp_options(listener->watch.fd);
        const int result = twd_poller_add(service->poller, &listener->watch, EPOLLIN);
        if (result != 0)
            return twd_fail(error, TWD_EXIT_FAILURE, "epoll: %s", g_strerror(-result));
    }
    return true;
}

void twd_listeners_free(struct twd_listeners *listeners)
{
    g_ptr_array_unref(listeners->listeners);
    g_free(listeners);
}

struct tw_address twd_listeners_address(const struct twd_listeners *listeners)
{
    return ((const struct listener *)g_ptr_array_index(listeners->listeners, 0))->local;
}
