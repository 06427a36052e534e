/* Who is served: judges each connection that comes, against the address lists and the limits, and
 * closes what its client seems to have lost when there is no room otherwise; see connection.h. What
 * is said on a connection is connection.c's. */
#include "reflector/connection.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "reflector/connection_state.h"

/* Without a command and a test packet for so long a connection makes way: longer than one that is
 * used every ten seconds, which is usual, is ever quiet, and short enough that a client which comes
 * again after its path was cut need not wait. */
#define UNUSED_NS (15 * TW_NS_PER_S)

static bool is_refused(const struct twd_service *service, const struct tw_address *peer,
                       const struct twd_client *client, enum twd_refusal *refusal)
{
    const struct twd_config *config = service->config;
    if (!twd_config_admits(config, peer))
        *refusal = TWD_REFUSE_DENIED;
    else if ((config->modes & TW_MODE_UNAUTHENTICATED) == 0 &&
             !twd_keystore_is_ready(service->keys))
        *refusal = TWD_REFUSE_KEYS;
    else if (config->max_connections != 0 && service->connections.length >= config->max_connections)
        *refusal = TWD_REFUSE_CONNECTIONS;
    else if (config->max_connections_per_client != 0 &&
             client->connections.length >= config->max_connections_per_client)
        *refusal = TWD_REFUSE_CLIENT_CONNECTIONS;
    else
        return false;
    return true;
}

/* A greeting with Modes 0; it always fits into a new socket's buffer. */
static void refuse(struct twd_service *service, int fd, const struct tw_address *peer,
                   enum twd_refusal refusal)
{
    service->refused[refusal]++;
    char text[TW_ADDRESS_TEXT];
    twd_log_limited(&service->connection_log, TWD_LOG_INFO,
                    TWD_LOG_ABOUT(tw_address_format(peer, true, text), NULL, -1),
                    "connection refused (%s): %s", twd_refusal_name(refusal),
                    twd_refusal_text(refusal));
    struct tw_server_config config = service->server;
    config.modes = 0;
    struct tw_server server;
    size_t n;
    tw_server_init(&server, &config, &service->random, tw_clock_mono());
    const uint8_t *greeting = tw_server_output(&server, &n);
    (void)send(fd, greeting, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    close(fd);
}

/* When the client last said anything, by a command or by a test packet. */
static tw_mono last_sign(const struct twd_connection *connection)
{
    const tw_mono packet = twd_roster_heard(&connection->roster);
    return packet.ns > connection->heard.ns ? packet : connection->heard;
}

/* Ends the client's own connection that has been unused longest; false when all are in use.
 *
 * After its path was cut a client comes again while its old connections are open here: their end
 * was lost, and before TCP repeats it or the kernel finds out, minutes may pass. Nothing proves
 * that a connection is one of them. But whoever comes from the same address, which TCP has proven,
 * and through the same interface, needs the room more than a connection that nobody uses; one that
 * is alive after all can come again, as after SERVWAIT. */
static bool make_room(struct twd_service *service, const struct twd_client *client,
                      const char *device, enum twd_refusal refusal)
{
    struct twd_connection *unused = NULL;
    for (const GList *link = client->connections.head; link != NULL; link = link->next) {
        struct twd_connection *connection = link->data;
        if (strcmp(connection->device, device) == 0 &&
            (unused == NULL || last_sign(connection).ns < last_sign(unused).ns))
            unused = connection;
    }
    if (unused == NULL ||
        !tw_mono_reached(tw_mono_after(last_sign(unused), UNUSED_NS), tw_clock_mono()))
        return false;
    service->made_way++;
    twd_log_limited(&service->connection_log, TWD_LOG_INFO,
                    TWD_LOG_ABOUT(unused->peer_text, NULL, -1),
                    "connection closed: unused, and its client has come again while %s",
                    twd_refusal_text(refusal));
    twd_connection_lose(unused, "made way");
    return true;
}

void twd_connection_take(struct twd_service *service, int fd, const struct tw_address *peer,
                         const char *device)
{
    struct twd_client *client = twd_clients_hold(service->clients, peer);
    enum twd_refusal refusal = TWD_REFUSAL_COUNT;
    bool refused = is_refused(service, peer, client, &refusal);
    while (refused &&
           (refusal == TWD_REFUSE_CONNECTIONS || refusal == TWD_REFUSE_CLIENT_CONNECTIONS) &&
           make_room(service, client, device, refusal))
        refused = is_refused(service, peer, client, &refusal);
    if (!refused) {
        twd_connection_serve(service, fd, peer, client, device);
        return;
    }
    refuse(service, fd, peer, refusal);
    twd_clients_release(service->clients, client);
}
