/* Test ports opened at run time; see ports.h. */
#include "reflector/ports.h"

#include <errno.h>
#include <string.h>

#include "lib/sys/socket.h"

/* For one session, should others on this host have most of the range. */
enum { MOST_BINDS = 256 };

static guint hash_bound(gconstpointer bound)
{
    return ((const struct twd_listen *)bound)->address.port; /* the addresses are few */
}

static gboolean is_same_bound(gconstpointer a, gconstpointer b)
{
    const struct twd_listen *one = a;
    const struct twd_listen *other = b;
    return tw_address_equal(&one->address, &other->address) &&
           strcmp(one->device, other->device) == 0;
}

static void close_port(gpointer data)
{
    struct twd_port *port = data;
    tw_udp_close(&port->udp);
    g_free(port);
}

void twd_ports_init(struct twd_ports *ports, int receive_buffer, uint32_t first_turn)
{
    ports->table = g_hash_table_new_full(hash_bound, is_same_bound, NULL, close_port);
    ports->drops = g_hash_table_new(NULL, NULL);
    ports->receive_buffer = receive_buffer;
    ports->next = first_turn;
}

void twd_ports_free(struct twd_ports *ports)
{
    g_hash_table_unref(ports->table);
    g_hash_table_unref(ports->drops);
}

static int open_port(struct twd_ports *ports, const struct twd_listen *bound,
                     struct twd_worker *worker, struct twd_port **out)
{
    const struct tw_udp_options options = {
        .bind = bound->address,
        .device = bound->device[0] == '\0' ? NULL : bound->device,
        .receive_buffer = ports->receive_buffer,
    };
    struct twd_port *port = g_new0(struct twd_port, 1);
    int result = tw_udp_open(&port->udp, &options);
    if (result == 0)
        result = twd_worker_watch(worker, &port->udp);
    if (result != 0) {
        close_port(port);
        return result;
    }
    port->bound = *bound;
    port->worker = worker;
    g_hash_table_insert(ports->table, &port->bound, port);
    *out = port;
    return 0;
}

/* 0 or -errno: -EADDRINUSE when other sessions, or others on this host, have it. */
static int take_one(struct twd_ports *ports, const struct twd_listen *bound, bool share, bool alone,
                    struct twd_worker *worker, struct twd_port **out)
{
    struct twd_port *port = g_hash_table_lookup(ports->table, bound);
    int result = 0;
    if (port == NULL)
        result = open_port(ports, bound, worker, &port);
    else if (port->users == 0)
        result = twd_worker_watch(port->worker, &port->udp);
    else if (!share || port->alone)
        result = -EADDRINUSE;
    if (result != 0)
        return result;
    if (port->users++ == 0)
        port->alone = alone;
    *out = port;
    return 0;
}

static void log_fault(struct twd_ports *ports, const struct twd_listen *bound, int result)
{
    char text[TW_ADDRESS_TEXT];
    twd_log_limited(&ports->log, TWD_LOG_WARNING, NULL, "test port %s: %s",
                    tw_address_format(&bound->address, true, text), g_strerror(-result));
}

static bool is_in(const struct twd_port_range *range, uint16_t port)
{
    return port != 0 && port >= range->first && port <= range->last;
}

struct twd_port *twd_ports_take(struct twd_ports *ports, const struct twd_listen *at,
                                const struct twd_port_range *range, uint16_t wanted, bool alone,
                                struct twd_worker *worker)
{
    struct twd_listen bound = *at;
    struct twd_port *port = NULL;
    int result = -EADDRINUSE;
    if (is_in(range, wanted)) {
        bound.address.port = wanted;
        result = take_one(ports, &bound, !alone, alone, worker, &port);
    }
    const uint32_t count = range->first == 0 ? 0 : (uint32_t)range->last - range->first + 1;
    unsigned binds = 0;
    for (uint32_t i = 0; i < count && result == -EADDRINUSE && binds < MOST_BINDS; i++) {
        bound.address.port = (uint16_t)(range->first + ports->next++ % count);
        if (!g_hash_table_contains(ports->table, &bound))
            binds++;
        result = take_one(ports, &bound, false, alone, worker, &port);
    }
    if (result != 0 && result != -EADDRINUSE)
        log_fault(ports, &bound, result);
    return port;
}

void twd_ports_release(struct twd_port *port)
{
    if (--port->users > 0)
        return;
    port->parting++;
    twd_worker_unwatch(port->worker, &port->udp);
}

static uint32_t closed_drops(const struct twd_ports *ports, const struct twd_worker *worker)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(ports->drops, worker));
}

int twd_ports_drops(const struct twd_ports *ports, const struct twd_worker *worker, uint32_t *drops)
{
    *drops += closed_drops(ports, worker);
    GHashTableIter all;
    g_hash_table_iter_init(&all, ports->table);
    for (gpointer value; g_hash_table_iter_next(&all, NULL, &value);) {
        const struct twd_port *port = value;
        uint32_t more = 0;
        const int result = port->worker == worker ? tw_udp_drops(port->udp.fd, &more) : 0;
        if (result != 0)
            return result;
        *drops += more;
    }
    return 0;
}

/* With the socket goes what the kernel has counted there. */
static void remember_drops(struct twd_ports *ports, struct twd_port *port)
{
    uint32_t drops = 0;
    if (tw_udp_drops(port->udp.fd, &drops) == 0 && drops != 0)
        g_hash_table_insert(ports->drops, port->worker,
                            GUINT_TO_POINTER(closed_drops(ports, port->worker) + drops));
}

void twd_ports_forgotten(struct twd_ports *ports, struct tw_udp *udp)
{
    struct twd_port *port = (struct twd_port *)udp;
    if (--port->parting > 0 || port->users > 0)
        return;
    remember_drops(ports, port);
    g_hash_table_remove(ports->table, &port->bound);
}
