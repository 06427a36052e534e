/* The peer of loopback_peer.h. */
#include "twamp-config.h"

#include "loopback_peer.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/keys.h"
#include "lib/protection.h"
#include "lib/reflector.h"
#include "lib/server.h"
#include "lib/sys/clock.h"
#include "lib/sys/random.h"
#include "lib/sys/socket.h"
#include "lib/sys/udp.h"

enum { CONNECTIONS = 16, TICK_MS = 20 };

struct connection {
    int fd; /* -1: this place is free */
    struct tw_server server;
    uint8_t derived[TW_AES_KEY_SIZE]; /* from the passphrase and the salt */
    bool has_session;
    struct tw_address sender; /* of test packets */
    struct tw_protection protection;
    struct tw_reflector reflector;
};

struct loopback_peer_inside {
    int listener, stop;
    struct tw_udp udp;
    struct tw_clock clock;
    struct tw_random random;
    struct tw_udp_batch *in, *out;
    struct tw_server_config config;   /* with the newest salt */
    uint8_t derived[TW_AES_KEY_SIZE]; /* from that */
    struct connection connections[CONNECTIONS];
};

static void change_salt(struct loopback_peer_inside *inside)
{
    tw_random_fill(&inside->random, inside->config.salt, sizeof inside->config.salt);
    tw_derive_key((const uint8_t *)LOOPBACK_PEER_PASSPHRASE, strlen(LOOPBACK_PEER_PASSPHRASE),
                  inside->config.salt, inside->config.count, inside->derived);
}

static void answer_key(struct connection *connection, const uint8_t keyid[TW_KEYID_SIZE],
                       tw_mono now)
{
    static const uint8_t known[TW_KEYID_SIZE] = LOOPBACK_PEER_KEYID;
    if (tw_server_answer_key(&connection->server, connection->derived,
                             memcmp(keyid, known, sizeof known) == 0, now) != TW_OK)
        abort();
}

/* NULL in modes without. */
static struct tw_protection *protect(struct connection *connection, const uint8_t sid[TW_SID_SIZE])
{
    struct tw_keys keys;
    if (!tw_server_session_keys(&connection->server, sid, &keys))
        return NULL;
    tw_protection_init(&connection->protection, connection->server.mode, &keys);
    return &connection->protection;
}

static void answer_request(struct loopback_peer *peer, struct connection *connection,
                           const struct tw_request *request, tw_mono now)
{
    struct loopback_peer_inside *inside = peer->inside;
    uint8_t sid[TW_SID_SIZE];
    tw_random_fill(&inside->random, sid, sizeof sid);
    atomic_fetch_add(&peer->sessions, 1);
    if (tw_socket_peer(connection->fd, &connection->sender) != 0)
        return;
    connection->sender.port = request->sender_port;
    const struct tw_reflector_config config = {
        .modes = connection->server.mode,
        .padding = TW_PADDING_REUSE,
        .timeout_ns = tw_interval_to_ns(request->timeout),
        .padding_length = request->padding_length,
        .protection = protect(connection, sid),
    };
    tw_reflector_init(&connection->reflector, &config);
    connection->has_session = true;
    if (tw_server_answer_session(&connection->server, TW_ACCEPT_OK, inside->udp.local.port, sid,
                                 now) != TW_OK)
        abort();
}

static void hang_up(struct connection *connection)
{
    close(connection->fd);
    connection->fd = -1;
    connection->has_session = false;
}

static void serve_events(struct loopback_peer *peer, struct connection *connection, tw_mono now)
{
    struct tw_server_event event;
    while (connection->fd >= 0 && tw_server_next_event(&connection->server, &event)) {
        switch (event.type) {
        case TW_SERVER_KEY:
            answer_key(connection, event.keyid, now);
            break;
        case TW_SERVER_REQUEST:
            answer_request(peer, connection, &event.request, now);
            break;
        case TW_SERVER_START:
            tw_reflector_start(&connection->reflector, now);
            if (tw_server_answer_start(&connection->server, TW_ACCEPT_OK, now) != TW_OK)
                abort();
            break;
        case TW_SERVER_STOP:
            if (event.stop.accept == TW_ACCEPT_OK)
                atomic_fetch_add(&peer->stops, 1);
            tw_reflector_stop(&connection->reflector, now);
            break;
        case TW_SERVER_CLOSE:
            hang_up(connection);
            break;
        case TW_SERVER_SET_UP:
        case TW_SERVER_REJECT:
            break;
        case TW_SERVER_START_N:
        case TW_SERVER_STOP_N:
            abort(); /* not offered */
        }
    }
}

static void write_out(struct connection *connection, tw_mono now)
{
    size_t n;
    const uint8_t *octets;
    while (connection->fd >= 0 && (octets = tw_server_output(&connection->server, &n), n > 0)) {
        const ssize_t sent = send(connection->fd, octets, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            hang_up(connection);
            return;
        }
        tw_server_sent(&connection->server, (size_t)sent, now);
    }
}

static void serve_connection(struct loopback_peer *peer, struct connection *connection,
                             bool readable, tw_mono now)
{
    if (tw_mono_reached(tw_server_deadline(&connection->server), now))
        tw_server_expire(&connection->server, now);
    size_t room;
    uint8_t *at = tw_server_input(&connection->server, &room);
    if (readable && room > 0) {
        const ssize_t n = recv(connection->fd, at, room, MSG_DONTWAIT);
        if (n <= 0) {
            hang_up(connection);
            return;
        }
        tw_server_received(&connection->server, (size_t)n, now);
    }
    serve_events(peer, connection, now);
    write_out(connection, now);
    serve_events(peer, connection, now);
}

static void accept_connection(struct loopback_peer *peer, tw_mono now)
{
    struct loopback_peer_inside *inside = peer->inside;
    const int fd = tw_descriptor_raise(accept(inside->listener, NULL, NULL));
    if (fd < 0)
        return;
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &inside->connections[i];
        if (connection->fd >= 0)
            continue;
        connection->fd = fd;
        connection->has_session = false;
        if (atomic_load(&peer->new_salts))
            change_salt(inside);
        memcpy(connection->derived, inside->derived, sizeof connection->derived);
        tw_server_init(&connection->server, &inside->config, &inside->random, now);
        write_out(connection, now);
        return;
    }
    close(fd);
}

static void reflect(struct loopback_peer *peer, struct tw_datagram *in)
{
    struct loopback_peer_inside *inside = peer->inside;
    struct tw_datagram *out = tw_udp_batch_at(inside->out, 0);
    atomic_store(&peer->dscp, in->arrival.tos < 0 ? 99 : (unsigned)in->arrival.tos >> 2);
    atomic_store(&peer->from, (uint64_t)tw_get32(in->remote.octets) << 16 | in->remote.port);
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &inside->connections[i];
        if (!connection->has_session || !tw_address_equal(&connection->sender, &in->remote) ||
            tw_reflector_prepare(&connection->reflector, in->data, in->length, &in->arrival,
                                 &inside->random, out->data, TW_UDP_BUFFER,
                                 &out->length) != TW_REFLECT)
            continue;
        out->remote = in->remote;
        if (atomic_load(&peer->astray))
            out->remote.octets[3] = 66;
        out->local = in->local;
        out->interface = 0;
        out->tos = 0;
        usleep(1000 * atomic_load(&peer->hold_ms));
        const struct tw_reading now = tw_clock_read(&inside->clock);
        tw_reflector_stamp(&connection->reflector, out->data, &now);
        if (tw_udp_send(&inside->udp, inside->out, 1) == 1)
            atomic_fetch_add(&peer->reflected, 1);
        return;
    }
}

static void *run(void *argument)
{
    struct loopback_peer *peer = argument;
    struct loopback_peer_inside *inside = peer->inside;
    for (;;) {
        struct pollfd fds[CONNECTIONS + 3] = {
            {.fd = inside->stop, .events = POLLIN},
            {.fd = inside->listener, .events = POLLIN},
            {.fd = inside->udp.fd, .events = POLLIN},
        };
        for (int i = 0; i < CONNECTIONS; i++)
            fds[3 + i] = (struct pollfd){.fd = inside->connections[i].fd, .events = POLLIN};
        (void)poll(fds, CONNECTIONS + 3, TICK_MS);
        if ((fds[0].revents & POLLIN) != 0)
            return NULL;
        inside->clock.test_offset_ns = atomic_load(&peer->clock_offset_ns);
        const int n = tw_udp_receive(&inside->udp, inside->in, &inside->clock);
        for (int i = 0; i < n; i++)
            reflect(peer, tw_udp_batch_at(inside->in, (unsigned)i));
        const tw_mono now = tw_clock_mono();
        for (int i = 0; i < CONNECTIONS; i++)
            if (inside->connections[i].fd >= 0 && fds[3 + i].fd >= 0)
                serve_connection(peer, &inside->connections[i], fds[3 + i].revents != 0, now);
        if ((fds[1].revents & POLLIN) != 0)
            accept_connection(peer, now);
    }
}

static int listen_at(const struct tw_address *address)
{
    struct sockaddr_storage sockaddr;
    const socklen_t length = tw_sockaddr_from_address(address, &sockaddr);
    const int fd = socket(sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (const struct sockaddr *)&sockaddr, length) == 0 && listen(fd, 16) == 0)
        return fd;
    close(fd);
    return -1;
}

bool loopback_peer_start(struct loopback_peer *peer, const char *host, uint16_t port)
{
    return loopback_peer_start_at(peer, host, port, 0);
}

bool loopback_peer_start_at(struct loopback_peer *peer, const char *host, uint16_t port,
                            uint16_t test_port)
{
    memset(peer, 0, sizeof *peer);
    if (!tw_address_parse(host, &peer->control))
        abort();
    peer->control.port = port;
    struct loopback_peer_inside *inside = calloc(1, sizeof *inside);
    if (inside == NULL)
        abort();
    inside->listener = listen_at(&peer->control);
    if (inside->listener < 0) {
        free(inside);
        return false;
    }
    const struct tw_udp_options options = {
        .bind = {.family = peer->control.family, .port = test_port},
    };
    inside->stop = eventfd(0, EFD_CLOEXEC);
    inside->in = tw_udp_batch_new();
    inside->out = tw_udp_batch_new();
    if (inside->stop < 0 || inside->in == NULL || inside->out == NULL ||
        tw_udp_open(&inside->udp, &options) != 0 ||
        tw_socket_local(inside->listener, &peer->control) != 0)
        abort();
    inside->config = (struct tw_server_config){
        .modes = TW_MODE_SECURITY,
        .count = 1024,
        .servwait_ns = INT64_C(900) * TW_NS_PER_S,
        .stall_ns = INT64_C(60) * TW_NS_PER_S,
        .max_payload = 9000,
    };
    for (int i = 0; i < CONNECTIONS; i++)
        inside->connections[i].fd = -1;
    tw_clock_init(&inside->clock, 0);
    tw_random_init(&inside->random);
    change_salt(inside);
    peer->inside = inside;
    if (pthread_create(&peer->thread, NULL, run, peer) != 0)
        abort();
    return true;
}

void loopback_peer_stop(struct loopback_peer *peer)
{
    struct loopback_peer_inside *inside = peer->inside;
    if (inside == NULL)
        return;
    (void)eventfd_write(inside->stop, 1);
    pthread_join(peer->thread, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        if (inside->connections[i].fd >= 0)
            close(inside->connections[i].fd);
    close(inside->listener);
    close(inside->stop);
    tw_udp_close(&inside->udp);
    tw_udp_batch_free(inside->in);
    tw_udp_batch_free(inside->out);
    free(inside);
    peer->inside = NULL;
}
