/* Clocks, wires and the event list of the two-host world; see sim_world.h. */
#include "sim/sim_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct tw_reading sim_net_read(const struct sim_clock *clock, int64_t boot_ns, int64_t at)
{
    int64_t drift = (int64_t)((double)at * clock->drift);
    return (struct tw_reading){
        .mono = {boot_ns + at},
        .wall = {clock->epoch_ns + at + drift + clock->offset_ns},
        .error = tw_error_encode(clock->error_ns, clock->synchronized),
    };
}

int64_t sim_net_client_boot_ns(const struct sim *sim)
{
    return CLIENT_BOOT_NS - sim->suspended_ns;
}

struct tw_reading sim_net_client_now(const struct sim *sim)
{
    return sim_net_read(&sim->client_clock, sim_net_client_boot_ns(sim), sim->now);
}

struct tw_reading sim_net_server_now(const struct sim *sim)
{
    return sim_net_read(&sim->server_clock, SERVER_BOOT_NS, sim->now);
}

static double uniform(struct sim *sim)
{
    return (double)tw_random_below(&sim->random, UINT32_C(1) << 30) / (double)(1 << 30);
}

struct event *sim_net_add(struct sim *sim, int64_t at, enum event_type type, unsigned connection,
                          const uint8_t *data, size_t n)
{
    struct event *event = calloc(1, sizeof *event + n);
    assert(event != NULL);
    event->at = at;
    event->type = type;
    event->connection = connection;
    event->n = n;
    if (n > 0)
        memcpy(event->data, data, n);
    struct event **place = &sim->events;
    while (*place != NULL && (*place)->at <= at)
        place = &(*place)->next;
    event->next = *place;
    *place = event;
    return event;
}

struct event *sim_net_tcp(struct sim *sim, enum event_type type, unsigned connection,
                          const uint8_t *data, size_t n)
{
    bool to_server = type == TO_SERVER || type == FIN_SERVER || type == SYN;
    int64_t *last = &sim->tcp_last[to_server];
    int64_t at = sim->now + (to_server ? sim->forward.delay_ns : sim->reverse.delay_ns);
    if (type == TO_CLIENT)
        at += sim->server.control_ns;
    if (at < *last)
        at = *last;
    size_t piece = sim->cut == 0 ? n : sim->cut;
    size_t done = 0;
    struct event *event;
    do {
        size_t part = n - done < piece ? n - done : piece;
        event = sim_net_add(sim, at, type, connection, data == NULL ? NULL : data + done, part);
        done += part;
        at++;
    } while (done < n);
    *last = at;
    return event;
}

static struct sim_fate decide(struct sim *sim, struct sim_link *link)
{
    uint64_t n = link->n++;
    struct sim_fate fate = {.copies = 1};
    if (link->fate != NULL)
        fate = link->fate(link->user, n);
    else if (uniform(sim) < link->loss)
        fate.copies = 0;
    else if (uniform(sim) < link->duplication)
        fate.copies = 2;
    if (link->down)
        fate.copies = 0;
    link->lost += fate.copies == 0;
    link->doubled += fate.copies > 1 ? fate.copies - 1 : 0;
    return fate;
}

void sim_net_udp(struct sim *sim, struct sim_link *link, enum event_type type, int64_t leaves,
                 const uint8_t *data, size_t n, uint8_t tos)
{
    struct sim_fate fate = decide(sim, link);
    for (unsigned i = 0; i < fate.copies; i++) {
        int64_t at = leaves + link->delay_ns + fate.extra_ns + (int64_t)i;
        if (link->jitter_ns > 0)
            at += (int64_t)(uniform(sim) * (double)link->jitter_ns);
        struct event *event = sim_net_add(sim, at, type, 0, data, n);
        event->port = sim->server.reply_port;
        event->ttl = (uint8_t)(255 - link->hops);
        event->tos = tos;
    }
}
