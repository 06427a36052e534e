/* Shares UDP sockets among targets; the contract is in test_sockets.h. */
#include "lib/sys/test_sockets.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/sys/socket.h"

enum {
    MEMBERS_MAX = 64,             /* of a socket whose port is ours to choose */
    RECEIVE_BUFFER = 1024 * 1024, /* octets; many members may be answered at one moment */
};

/* What a member asks for. */
struct wanted {
    const struct tw_address *bind;
    const char *device; /* NULL: any */
    unsigned interface; /* its number now; 0 without a device */
};

void tw_test_sockets_init(struct tw_test_sockets *pool, int epoll, uint64_t tag, uint32_t seed,
                          bool raise)
{
    *pool = (struct tw_test_sockets){
        .epoll = epoll,
        .tag = tag,
        .seed = seed,
        .raise = raise,
        .stamping = tw_udp_keep_stamping(),
    };
    if (raise)
        pool->stamping = tw_descriptor_raise(pool->stamping);
}

static void close_socket(struct tw_test_sockets *pool, struct tw_test_socket *socket)
{
    pool->sockets[socket->index] = NULL;
    tw_udp_close(&socket->udp); /* leaves epoll by itself */
    free(socket);
}

void tw_test_sockets_free(struct tw_test_sockets *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        if (pool->sockets[i] != NULL)
            close_socket(pool, pool->sockets[i]);
    free(pool->sockets);
    if (pool->stamping >= 0)
        close(pool->stamping);
    *pool = (struct tw_test_sockets){.stamping = -1};
}

static struct tw_address host_of(const struct tw_address *address)
{
    struct tw_address host = *address;
    host.port = 0;
    return host;
}

static size_t bucket_of(const struct tw_test_sockets *pool, const struct tw_address *host)
{
    return tw_address_hash(host, pool->seed) % TW_TEST_BUCKETS;
}

static struct tw_test_member *find_host(const struct tw_test_sockets *pool,
                                        const struct tw_test_socket *socket,
                                        const struct tw_address *host)
{
    struct tw_test_member *member = socket->buckets[bucket_of(pool, host)];
    while (member != NULL && !tw_address_equal(&member->host, host))
        member = member->next;
    return member;
}

struct tw_test_member *tw_test_sockets_find(const struct tw_test_sockets *pool,
                                            const struct tw_test_socket *socket,
                                            const struct tw_address *remote)
{
    const struct tw_address host = host_of(remote);
    struct tw_test_member *member = find_host(pool, socket, &host);
    if (member != NULL)
        return member;
    member = socket->former[bucket_of(pool, &host)];
    while (member != NULL && !tw_address_equal(&member->former, &host))
        member = member->next_former;
    return member;
}

static void link_member(struct tw_test_sockets *pool, struct tw_test_socket *socket,
                        struct tw_test_member *member, const struct tw_address *host,
                        const struct tw_address *former)
{
    struct tw_test_member **bucket = &socket->buckets[bucket_of(pool, host)];
    member->host = *host;
    member->socket = socket;
    member->next = *bucket;
    *bucket = member;
    socket->members++;
    member->former = *former;
    if (former->family == 0)
        return;
    bucket = &socket->former[bucket_of(pool, former)];
    member->next_former = *bucket;
    *bucket = member;
}

static void unlink_former(struct tw_test_sockets *pool, struct tw_test_member *member)
{
    if (member->former.family == 0)
        return;
    struct tw_test_member **link = &member->socket->former[bucket_of(pool, &member->former)];
    while (*link != member)
        link = &(*link)->next_former;
    *link = member->next_former;
    member->next_former = NULL;
    member->former = (struct tw_address){.family = 0};
}

/* The socket stays, even without members. */
static void unlink_member(struct tw_test_sockets *pool, struct tw_test_member *member)
{
    struct tw_test_socket *socket = member->socket;
    assert(!member->is_due);
    unlink_former(pool, member);
    struct tw_test_member **link = &socket->buckets[bucket_of(pool, &member->host)];
    while (*link != member)
        link = &(*link)->next;
    *link = member->next;
    member->next = NULL;
    member->socket = NULL;
    socket->members--;
}

static bool same_device(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

static bool serves(const struct tw_test_socket *socket, const struct wanted *wanted)
{
    return tw_address_equal(&socket->bind, wanted->bind) &&
           same_device(socket->device, wanted->device) && socket->interface == wanted->interface;
}

/* A socket of these properties whose members do not include the host; NULL if there is none. */
static struct tw_test_socket *find_socket(const struct tw_test_sockets *pool,
                                          const struct wanted *wanted,
                                          const struct tw_address *host)
{
    for (size_t i = 0; i < pool->count; i++) {
        struct tw_test_socket *socket = pool->sockets[i];
        if (socket != NULL && serves(socket, wanted) &&
            (socket->members < MEMBERS_MAX || wanted->bind->port != 0) &&
            find_host(pool, socket, host) == NULL)
            return socket;
    }
    return NULL;
}

/* An unused place; false: no memory. */
static bool find_place(struct tw_test_sockets *pool, size_t *place)
{
    for (size_t i = 0; i < pool->count; i++)
        if (pool->sockets[i] == NULL) {
            *place = i;
            return true;
        }
    struct tw_test_socket **sockets =
        realloc(pool->sockets, (pool->count + 1) * sizeof(struct tw_test_socket *));
    if (sockets == NULL)
        return false;
    pool->sockets = sockets;
    *place = pool->count++;
    sockets[*place] = NULL;
    return true;
}

static int open_socket(struct tw_test_sockets *pool, const struct wanted *wanted,
                       struct tw_test_socket **out)
{
    size_t place;
    struct tw_test_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL || !find_place(pool, &place)) {
        free(socket);
        return -ENOMEM;
    }
    const struct tw_udp_options options = {
        .bind = *wanted->bind,
        .device = wanted->device,
        .raise = pool->raise,
        .receive_buffer = RECEIVE_BUFFER,
    };
    int error = tw_udp_open(&socket->udp, &options);
    if (error == 0)
        (void)tw_udp_report_errors(&socket->udp); /* without them a refused packet is a lost one */
    if (error == 0 && tw_udp_report_departures(&socket->udp, false) == 0)
        tw_departures_begin(&socket->departures); /* else T1 is the program's */
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = pool->tag + place};
    if (error == 0 && epoll_ctl(pool->epoll, EPOLL_CTL_ADD, socket->udp.fd, &event) != 0)
        error = -errno;
    if (error != 0) {
        tw_udp_close(&socket->udp);
        free(socket);
        return error;
    }
    socket->bind = *wanted->bind;
    socket->device = wanted->device;
    socket->interface = wanted->interface;
    socket->index = place;
    socket->due_end = &socket->due;
    pool->sockets[place] = socket;
    *out = socket;
    return 0;
}

int tw_test_sockets_join(struct tw_test_sockets *pool, struct tw_test_member *member,
                         const struct tw_address *bind, const char *device,
                         const struct tw_address *host)
{
    struct wanted wanted = {.bind = bind, .device = device};
    int error = 0;
    if (device != NULL && (wanted.interface = if_nametoindex(device)) == 0)
        error = -errno;
    const struct tw_address remote = host_of(host);
    struct tw_address former = {.family = 0};
    struct tw_test_socket *old = member->socket;
    struct tw_test_socket *socket = NULL;
    if (old != NULL) {
        former = tw_address_equal(&member->host, &remote) ? member->former : member->host;
        unlink_member(pool, member);
        if (serves(old, &wanted) && find_host(pool, old, &remote) == NULL)
            socket = old;
        else
            former.family = 0;
    }
    if (error == 0 && socket == NULL)
        socket = find_socket(pool, &wanted, &remote);
    if (error == 0 && socket == NULL)
        error = open_socket(pool, &wanted, &socket);
    if (error == 0)
        link_member(pool, socket, member, &remote, &former);
    if (old != NULL && old->members == 0)
        close_socket(pool, old);
    return error;
}

void tw_test_socket_push_due(struct tw_test_member *member)
{
    struct tw_test_socket *socket = member->socket;
    if (member->is_due)
        return;
    member->is_due = true;
    member->next_due = NULL;
    *socket->due_end = member;
    socket->due_end = &member->next_due;
}

struct tw_test_member *tw_test_socket_pop_due(struct tw_test_socket *socket)
{
    struct tw_test_member *member = socket->due;
    if (member == NULL)
        return NULL;
    socket->due = member->next_due;
    if (socket->due == NULL)
        socket->due_end = &socket->due;
    member->is_due = false;
    return member;
}
