/* What each client, told by its address, has open: for the limits per client. Main thread only. */
#ifndef TWD_CLIENTS_H
#define TWD_CLIENTS_H

#include <glib.h>

#include "lib/address.h"

/* Each with a limit of its own (RFC 4656 section 6.5). */
enum twd_class {
    TWD_CLASS_OPEN,  /* sessions of clients without a key */
    TWD_CLASS_KEYED, /* of those with one */
    TWD_CLASSES
};

struct twd_client {
    struct tw_address address; /* port 0 */
    uint32_t hash;
    unsigned users;                /* who holds it */
    GQueue connections;            /* struct twd_connection, served ones; the oldest first */
    unsigned sessions;             /* accepted or started */
    GQueue lingering[TWD_CLASSES]; /* struct twd_session: stopped, within their Timeout; the oldest
                                      first */
};

struct twd_clients {
    GHashTable *table;
    uint32_t secret;
};

void twd_clients_init(struct twd_clients *clients);
void twd_clients_free(struct twd_clients *clients);

/* The client with that address, new if need be; to be given back. */
struct twd_client *twd_clients_hold(struct twd_clients *clients, const struct tw_address *address);

/* The last one to give it back frees it. */
void twd_clients_release(struct twd_clients *clients, struct twd_client *client);

#endif
