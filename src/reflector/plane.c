/* Test sockets and workers; see plane.h. */
#include "reflector/plane.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/sys/random.h"
#include "lib/sys/socket.h"
#include "reflector/error.h"
#include "reflector/log.h"
#include "reflector/value.h"

enum { PORT_ATTEMPTS = 20 };

struct group {
    struct tw_address local;
    char device[IF_NAMESIZE];
    GArray *workers; /* unsigned: who has the group's i-th socket */
};

/* A shared test socket, which is open for as long as its worker is there. The worker alone receives
 * and sends by it; the kernel may be asked about it here. */
struct shared {
    int fd;
    unsigned worker;
    uint32_t drops_before; /* of a passed socket, which may be older than we are */
};

struct twd_plane {
    GArray *groups;     /* struct group */
    GArray *shared;     /* struct shared */
    GPtrArray *workers; /* struct twd_worker */
    struct twd_ports ports;
    unsigned next_worker; /* who serves the next of them */
    struct twd_mailbox reports;
    struct twd_watch watch;
    struct twd_poller *poller;
    uint32_t secret;
    unsigned unanswered; /* pings */
    twd_plane_report *report;
    void *user;
};

/* One of these for each worker to be. */
static void close_sockets(gpointer array)
{
    GArray *sockets = array;
    for (guint i = 0; i < sockets->len; i++)
        tw_udp_close(&g_array_index(sockets, struct tw_udp, i));
    g_array_unref(sockets);
}

static void give_socket(struct twd_plane *plane, GPtrArray *of_worker, unsigned worker,
                        struct tw_udp udp)
{
    while (of_worker->len <= worker)
        g_ptr_array_add(of_worker, g_array_new(FALSE, FALSE, sizeof(struct tw_udp)));
    g_array_append_val((GArray *)of_worker->pdata[worker], udp);
    const struct shared shared = {.fd = udp.fd, .worker = worker, .drops_before = udp.last_drops};
    g_array_append_val(plane->shared, shared);
}

static struct group *group_of(struct twd_plane *plane, const struct tw_address *local,
                              const char *device)
{
    for (guint i = 0; i < plane->groups->len; i++) {
        struct group *group = &g_array_index(plane->groups, struct group, i);
        if (tw_address_equal(&group->local, local) && strcmp(group->device, device) == 0)
            return group;
    }
    struct group group = {.local = *local};
    g_strlcpy(group.device, device, sizeof(group.device));
    group.workers = g_array_new(FALSE, FALSE, sizeof(unsigned));
    g_array_append_val(plane->groups, group);
    return &g_array_index(plane->groups, struct group, plane->groups->len - 1);
}

static void free_group(gpointer data)
{
    g_array_unref(((struct group *)data)->workers);
}

/* The first socket is bound alone and opened to the others afterwards: so a port that anybody else
 * has is an error. Had it asked to share from the start, the kernel would let it into the group of
 * another daemon of the same user, whose packets go by that daemon's count of workers. */
static int open_to_others(const struct tw_udp *udp)
{
    const int on = 1;
    return setsockopt(udp->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0 ? 0 : -errno;
}

/* All workers' sockets for one address. Port 0 becomes the port that the first socket got. */
static int open_address(struct twd_plane *plane, const struct twd_listen *listen, uint16_t *port,
                        unsigned workers, GPtrArray *of_worker)
{
    struct tw_udp_options options = {
        .bind = listen->address,
        .device = listen->device[0] == '\0' ? NULL : listen->device,
        .receive_buffer = plane->ports.receive_buffer,
    };
    options.bind.port = *port;
    struct tw_udp udp = {.fd = -1};
    for (unsigned i = 0; i < workers; i++) {
        options.reuse_port = i > 0;
        int result = tw_udp_open(&udp, &options);
        if (result != 0)
            return result;
        give_socket(plane, of_worker, i, udp);
        if (i == 0 && workers > 1)
            result = open_to_others(&udp);
        if (result != 0)
            return result;
        *port = options.bind.port = udp.local.port;
        g_array_append_val(group_of(plane, &udp.local, listen->device)->workers, i);
    }
    return workers > 1 ? tw_udp_spread(&udp, workers) : 0;
}

static void forget(struct twd_plane *plane, GPtrArray *of_worker)
{
    g_ptr_array_set_size(of_worker, 0);
    g_array_set_size(plane->groups, 0);
    g_array_set_size(plane->shared, 0);
}

/* -EAFNOSUPPORT and -EADDRNOTAVAIL of the wildcards mean a host without that family. */
static bool is_missing_family(const GArray *listen, int result)
{
    return listen->len == 0 && (result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL);
}

static const struct twd_listen wildcards[] = {
    {.address = {.family = 6}},
    {.address = {.family = 4}},
};

static int open_all(struct twd_plane *plane, const struct twd_config *config, uint16_t port,
                    unsigned workers, GPtrArray *of_worker, const struct twd_listen **culprit)
{
    const GArray *list = config->listen;
    const guint count = list->len == 0 ? G_N_ELEMENTS(wildcards) : list->len;
    int result = 0;
    for (guint i = 0; i < count; i++) {
        *culprit =
            list->len == 0 ? &wildcards[i] : &g_array_index(list, const struct twd_listen, i);
        result = open_address(plane, *culprit, &port, workers, of_worker);
        if (result != 0 && !is_missing_family(list, result))
            return result;
    }
    return of_worker->len > 0 ? 0 : result;
}

/* With port 0 the first address picks a port, which may be taken at the others: then again. */
static bool open_configured(struct twd_plane *plane, const struct twd_config *config,
                            GPtrArray *of_worker, GError **error)
{
    const unsigned workers = config->workers == 0 ? g_get_num_processors() : config->workers;
    const struct twd_listen *culprit = NULL;
    int result = 0;
    for (int attempt = 0; attempt < PORT_ATTEMPTS; attempt++) {
        forget(plane, of_worker);
        result = open_all(plane, config, config->test_port, workers, of_worker, &culprit);
        if (result == 0)
            return true;
        if (config->test_port != 0 || result != -EADDRINUSE)
            break;
    }
    g_autoptr(GString) name = g_string_new(NULL);
    twd_value_print_listen(culprit, name);
    return twd_fail(error, TWD_EXIT_FAILURE, "test port %u (UDP) at %s: %s%s", config->test_port,
                    name->str, g_strerror(-result),
                    result == -EACCES ? "; ports below 1024 need CAP_NET_BIND_SERVICE" : "");
}

/* Its count of drops is the socket's, which systemd keeps over our restarts: what it is now is none
 * of ours. */
static int adopt(struct tw_udp *udp, int fd, int receive_buffer)
{
    uint32_t drops = 0;
    (void)tw_udp_drops(fd, &drops);
    const int result = tw_udp_adopt(udp, fd);
    if (result != 0)
        return result;
    udp->last_drops = drops;
    tw_udp_raise_buffer(fd, receive_buffer);
    return 0;
}

static bool adopt_passed(struct twd_plane *plane, const GArray *passed, GPtrArray *of_worker,
                         GError **error)
{
    for (unsigned i = 0; i < passed->len; i++) {
        struct tw_udp udp;
        const int result = adopt(&udp, g_array_index(passed, int, i), plane->ports.receive_buffer);
        if (result == -EAFNOSUPPORT)
            return twd_fail(error, TWD_EXIT_FAILURE,
                            "passed UDP socket: neither IPv4 nor IPv6-only; write "
                            "BindIPv6Only=ipv6-only in the socket unit");
        if (result != 0)
            return twd_fail(error, TWD_EXIT_FAILURE, "passed UDP socket: %s", g_strerror(-result));
        give_socket(plane, of_worker, i, udp);
        g_array_append_val(group_of(plane, &udp.local, "")->workers, i);
    }
    for (guint i = 0; i < plane->groups->len; i++) {
        const struct group *group = &g_array_index(plane->groups, struct group, i);
        const unsigned first = g_array_index(group->workers, unsigned, 0);
        const struct tw_udp *udp =
            &g_array_index((GArray *)of_worker->pdata[first], struct tw_udp, 0);
        const int result = group->workers->len > 1 ? tw_udp_spread(udp, group->workers->len) : 0;
        if (result != 0)
            return twd_fail(error, TWD_EXIT_FAILURE,
                            "passed UDP sockets of one address cannot share their port: %s; write "
                            "ReusePort=yes in the socket unit",
                            g_strerror(-result));
    }
    return true;
}

static bool make_workers(struct twd_plane *plane, const struct twd_config *config,
                         GPtrArray *of_worker, GError **error)
{
    while (plane->workers->len < of_worker->len) {
        GArray *sockets = of_worker->pdata[plane->workers->len];
        const guint count = sockets->len;
        struct tw_udp *taken = g_new(struct tw_udp, count);
        memcpy(taken, sockets->data, count * sizeof(*taken));
        g_array_set_size(sockets, 0);
        struct twd_worker *worker = twd_worker_new(
            taken, count, plane->secret, config->clock_error_floor_ns, &plane->reports, error);
        if (worker == NULL)
            return false;
        g_ptr_array_add(plane->workers, worker);
    }
    return true;
}

/* Nothing is wrong yet: whether so much is needed, only the load can tell. */
static void tell_of_small_buffers(const struct twd_plane *plane, bool passed)
{
    const int wanted = plane->ports.receive_buffer;
    int smallest = wanted;
    for (unsigned i = 0; i < plane->workers->len; i++)
        smallest = MIN(smallest, (int)twd_plane_receive_buffer(plane, i));
    if (smallest == wanted)
        return;
    g_autoptr(GString) has = g_string_new(NULL);
    g_autoptr(GString) lacks = g_string_new(NULL);
    twd_value_print_size((uint64_t)smallest, has);
    twd_value_print_size((uint64_t)wanted, lacks);
    twd_log(TWD_LOG_INFO, NULL,
            "receive buffers of test packets are %s: the system allows no more of the %s of "
            "receive_buffer, and what finds no room is lost; raise the sysctl net.core.rmem_max%s",
            has->str, lacks->str, passed ? ", or ReceiveBuffer= in the socket unit" : "");
}

struct twd_plane *twd_plane_new(const struct twd_config *config, const GArray *passed,
                                struct twd_poller *poller, GError **error)
{
    struct twd_plane *plane = g_new0(struct twd_plane, 1);
    plane->poller = poller;
    plane->groups = g_array_new(FALSE, FALSE, sizeof(struct group));
    g_array_set_clear_func(plane->groups, free_group);
    plane->shared = g_array_new(FALSE, FALSE, sizeof(struct shared));
    plane->workers = g_ptr_array_new_with_free_func((GDestroyNotify)twd_worker_free);
    twd_ports_init(&plane->ports, (int)config->receive_buffer, g_random_int());
    const int result = twd_mailbox_init(&plane->reports);
    if (result != 0) {
        plane->reports.descriptor = -1;
        twd_fail(error, TWD_EXIT_FAILURE, "eventfd: %s", g_strerror(-result));
        twd_plane_free(plane);
        return NULL;
    }
    struct tw_random random;
    tw_random_init(&random);
    tw_random_fill(&random, (uint8_t *)&plane->secret, sizeof(plane->secret));

    g_autoptr(GPtrArray) of_worker = g_ptr_array_new_with_free_func(close_sockets);
    const bool opened = passed->len > 0 ? adopt_passed(plane, passed, of_worker, error)
                                        : open_configured(plane, config, of_worker, error);
    if (opened && make_workers(plane, config, of_worker, error)) {
        tell_of_small_buffers(plane, passed->len > 0);
        return plane;
    }
    twd_plane_free(plane);
    return NULL;
}

static void take_reports(struct twd_watch *watch, uint32_t events)
{
    (void)events;
    struct twd_plane *plane = watch->owner;
    struct twd_message *next;
    for (struct twd_message *message = twd_mailbox_take(&plane->reports); message != NULL;
         message = next) {
        next = message->next;
        struct twd_letter *letter = (struct twd_letter *)message;
        const enum twd_order order = letter->order;
        struct twd_flow *flow = letter->flow;
        struct tw_udp *socket = letter->socket;
        if (order != TWD_ORDER_ENDED) /* that one is part of its flow */
            g_free(letter);
        if (order == TWD_ORDER_PING)
            plane->unanswered--;
        else if (order == TWD_ORDER_FORGET)
            twd_ports_forgotten(&plane->ports, socket);
        else
            plane->report(plane->user, order, flow);
    }
}

bool twd_plane_start(struct twd_plane *plane, twd_plane_report *report, void *user, GError **error)
{
    plane->report = report;
    plane->user = user;
    plane->watch =
        (struct twd_watch){.ready = take_reports, .owner = plane, .fd = plane->reports.descriptor};
    const int result = twd_poller_add(plane->poller, &plane->watch, EPOLLIN);
    if (result != 0)
        return twd_fail(error, TWD_EXIT_FAILURE, "epoll: %s", g_strerror(-result));
    for (guint i = 0; i < plane->workers->len; i++)
        if (!twd_worker_start(plane->workers->pdata[i], error))
            return false;
    return true;
}

/* The threads have ended, so nothing is posted any more; what is embedded in flows is theirs. */
static void forget_reports(struct twd_plane *plane)
{
    struct twd_message *next;
    for (struct twd_message *message = twd_mailbox_take(&plane->reports); message != NULL;
         message = next) {
        next = message->next;
        if (((struct twd_letter *)message)->order != TWD_ORDER_ENDED)
            g_free(message);
    }
}

void twd_plane_free(struct twd_plane *plane)
{
    g_ptr_array_unref(plane->workers);
    twd_ports_free(&plane->ports);
    if (plane->watch.ready != NULL)
        twd_poller_remove(plane->poller, &plane->watch);
    if (plane->reports.descriptor >= 0) {
        forget_reports(plane);
        twd_mailbox_free(&plane->reports);
    }
    g_array_unref(plane->groups);
    g_array_unref(plane->shared);
    g_free(plane);
}

struct tw_address twd_plane_address(const struct twd_plane *plane)
{
    return g_array_index(plane->groups, struct group, 0).local;
}

/* The kernel gives a datagram to the socket that is bound most closely; so does this. */
uint16_t twd_plane_find(const struct twd_plane *plane, const struct tw_address *local,
                        const char *device, uint16_t wanted, unsigned *found)
{
    int best = -1;
    uint16_t port = 0;
    for (guint i = 0; i < plane->groups->len; i++) {
        const struct group *group = &g_array_index(plane->groups, struct group, i);
        const bool exact = tw_address_same_host(&group->local, local);
        const bool any =
            group->local.family == local->family && tw_address_is_unspecified(&group->local);
        if (!exact && !any)
            continue;
        const int score = (strcmp(group->device, device) == 0 ? 4 : 0) +
                          (group->local.port == wanted ? 2 : 0) + (exact ? 1 : 0);
        if (score <= best)
            continue;
        best = score;
        port = group->local.port;
        *found = i;
    }
    return port;
}

void twd_plane_key(const struct twd_plane *plane, const struct tw_address *remote,
                   const struct tw_address *local, struct twd_flow_key *key)
{
    twd_flow_key_init(key, remote, local, plane->secret);
}

struct twd_worker *twd_plane_owner(const struct twd_plane *plane, unsigned group,
                                   const struct tw_address *remote)
{
    const GArray *workers = g_array_index(plane->groups, struct group, group).workers;
    const unsigned index = tw_udp_spread_index(remote, workers->len);
    return plane->workers->pdata[g_array_index(workers, unsigned, index)];
}

struct twd_port *twd_plane_open(struct twd_plane *plane, unsigned group,
                                const struct twd_port_range *range, uint16_t wanted, bool alone)
{
    const struct group *beside = &g_array_index(plane->groups, struct group, group);
    struct twd_listen at = {.address = beside->local};
    g_strlcpy(at.device, beside->device, sizeof(at.device));
    struct twd_worker *worker = plane->workers->pdata[plane->next_worker++ % plane->workers->len];
    return twd_ports_take(&plane->ports, &at, range, wanted, alone, worker);
}

void twd_plane_close(struct twd_port *port)
{
    twd_ports_release(port);
}

void twd_plane_tune(struct twd_plane *plane, int64_t error_floor_ns)
{
    for (guint i = 0; i < plane->workers->len; i++)
        twd_worker_tune(plane->workers->pdata[i], error_floor_ns);
}

bool twd_plane_check(struct twd_plane *plane)
{
    if (plane->unanswered > 0)
        return false;
    for (guint i = 0; i < plane->workers->len; i++)
        twd_worker_order(plane->workers->pdata[i], TWD_ORDER_PING, NULL);
    plane->unanswered = plane->workers->len;
    return true;
}

unsigned twd_plane_workers(const struct twd_plane *plane)
{
    return plane->workers->len;
}

/* What the kernel threw away at that worker's sockets, modulo 2^32. 0 or -errno. */
static int read_drops(const struct twd_plane *plane, unsigned worker, uint32_t *drops)
{
    *drops = 0;
    for (guint i = 0; i < plane->shared->len; i++) {
        const struct shared *shared = &g_array_index(plane->shared, struct shared, i);
        uint32_t now = shared->drops_before;
        const int result = shared->worker == worker ? tw_udp_drops(shared->fd, &now) : 0;
        if (result != 0)
            return result;
        *drops += now - shared->drops_before;
    }
    return twd_ports_drops(&plane->ports, plane->workers->pdata[worker], drops);
}

/* A worker learns of drops by the next datagram only, which may never come. What it has counted is
 * 64 bits wide, so it says how often the kernel's number has gone round; read first, it is not
 * ahead of that. */
struct twd_counts twd_plane_count(const struct twd_plane *plane, unsigned worker)
{
    struct twd_counts counts = {.received = 0};
    twd_worker_count(plane->workers->pdata[worker], &counts);
    uint32_t drops;
    if (read_drops(plane, worker, &drops) == 0)
        counts.kernel_drops += drops - (uint32_t)counts.kernel_drops;
    return counts;
}

unsigned twd_plane_receive_buffer(const struct twd_plane *plane, unsigned worker)
{
    int smallest = G_MAXINT;
    for (guint i = 0; i < plane->shared->len; i++) {
        const struct shared *shared = &g_array_index(plane->shared, struct shared, i);
        if (shared->worker == worker)
            smallest = MIN(smallest, MAX(tw_udp_buffer(shared->fd), 0));
    }
    return (unsigned)smallest;
}
