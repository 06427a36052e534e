/* A table of client addresses; see clients.h. */
#include "reflector/clients.h"

#include "lib/sys/random.h"

static guint hash_client(gconstpointer client)
{
    return ((const struct twd_client *)client)->hash;
}

static gboolean is_same_client(gconstpointer a, gconstpointer b)
{
    return tw_address_equal(&((const struct twd_client *)a)->address,
                            &((const struct twd_client *)b)->address);
}

void twd_clients_init(struct twd_clients *clients)
{
    struct tw_random random;
    tw_random_init(&random);
    tw_random_fill(&random, (uint8_t *)&clients->secret, sizeof(clients->secret));
    clients->table = g_hash_table_new_full(hash_client, is_same_client, g_free, NULL);
}

void twd_clients_free(struct twd_clients *clients)
{
    g_hash_table_unref(clients->table);
}

struct twd_client *twd_clients_hold(struct twd_clients *clients, const struct tw_address *address)
{
    struct twd_client wanted = {.address = *address};
    wanted.address.port = 0;
    wanted.hash = tw_address_hash(&wanted.address, clients->secret);
    struct twd_client *client = g_hash_table_lookup(clients->table, &wanted);
    if (client == NULL) {
        client = g_new(struct twd_client, 1);
        *client = wanted;
        g_queue_init(&client->connections);
        for (int i = 0; i < TWD_CLASSES; i++)
            g_queue_init(&client->lingering[i]);
        g_hash_table_add(clients->table, client);
    }
    client->users++;
    return client;
}

void twd_clients_release(struct twd_clients *clients, struct twd_client *client)
{
    if (--client->users == 0)
        g_hash_table_remove(clients->table, client);
}
