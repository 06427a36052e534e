/* Names to addresses without delaying anybody, for the engine; the contract is in resolver.h.
 *
 * getaddrinfo() can neither be given a deadline nor be stopped, so it runs on the threads of a pool
 * (pool.h): a few, so that one dead name server does not hold up the others' names.
 *
 * Remembers no answers: its user decides how long one is good for. */
#include "twamp-config.h" /* GNU extensions: EAI_ADDRFAMILY */

#include "lib/sys/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/sys/pool.h"
#include "lib/sys/socket.h"

enum { THREADS = 4 };

struct job {
    struct tw_pool_job base;
    struct tw_resolver_answer answer;
    int family;
    char host[];
};

struct tw_resolver {
    struct tw_pool *pool;
};

static bool contains(const struct tw_resolver_answer *answer, const struct tw_address *address)
{
    for (size_t i = 0; i < answer->count; i++)
        if (tw_address_same_host(&answer->addresses[i], address))
            return true;
    return false;
}

static bool has_family(const struct tw_resolver_answer *answer, uint8_t family)
{
    for (size_t i = 0; i < answer->count; i++)
        if (answer->addresses[i].family == family)
            return true;
    return false;
}

/* Takes one address, in the system's order of preference. When there is no more room the last place
 * goes to the first address of a family that is not there yet: without it a name with many
 * addresses of a broken family would have no other. */
static void add_address(struct tw_resolver_answer *answer, int family, struct tw_address address)
{
    address.port = 0;
    /* A sinkhole's 0.0.0.0 would measure this very host. */
    if (address.family == 0 || tw_address_is_unspecified(&address) ||
        (family != 0 && address.family != family) || contains(answer, &address))
        return;
    if (answer->count < TW_RESOLVER_ADDRESSES)
        answer->addresses[answer->count++] = address;
    else if (!has_family(answer, address.family))
        answer->addresses[TW_RESOLVER_ADDRESSES - 1] = address;
}

/* Without AI_ADDRCONFIG, which does not count loopback as an address and so makes localhost unknown
 * on a host without a network; addresses that the host cannot reach come last in getaddrinfo's
 * order all the same. */
static void look_up(const char *host, int family, struct tw_resolver_answer *answer)
{
    const struct addrinfo hints = {
        .ai_family = family == 4   ? AF_INET
                     : family == 6 ? AF_INET6
                                   : AF_UNSPEC,
        .ai_socktype = SOCK_DGRAM, /* any one, or each address comes once for each type */
    };
    struct addrinfo *list = NULL;
    answer->error = getaddrinfo(host, NULL, &hints, &list);
    if (answer->error != 0)
        return;
    for (const struct addrinfo *item = list; item != NULL; item = item->ai_next)
        add_address(answer, family, tw_address_from_sockaddr(item->ai_addr, item->ai_addrlen));
    freeaddrinfo(list);
    if (answer->count == 0)
        answer->error = EAI_NONAME;
}

static void work(struct tw_pool_job *base)
{
    struct job *job = (struct job *)base;
    look_up(job->host, job->family, &job->answer);
}

static void discard(struct tw_pool_job *base)
{
    free(base);
}

struct tw_resolver *tw_resolver_new(void)
{
    static const struct tw_pool_config config = {
        .name = "twamp-resolver", .threads = THREADS, .work = work, .discard = discard};
    struct tw_resolver *resolver = malloc(sizeof *resolver);
    if (resolver == NULL)
        return NULL;
    resolver->pool = tw_pool_new(&config);
    if (resolver->pool != NULL)
        return resolver;
    const int error = errno;
    free(resolver);
    errno = error;
    return NULL;
}

void tw_resolver_free(struct tw_resolver *resolver)
{
    if (resolver == NULL)
        return;
    tw_pool_free(resolver->pool);
    free(resolver);
}

int tw_resolver_ask(struct tw_resolver *resolver, uint64_t tag, const char *host, int family)
{
    const size_t size = strlen(host) + 1;
    struct job *job = calloc(1, sizeof *job + size);
    if (job == NULL)
        return -ENOMEM;
    memcpy(job->host, host, size);
    job->answer.tag = tag;
    job->family = family;

    struct tw_address literal;
    if (!tw_address_parse(host, &literal)) {
        tw_pool_ask(resolver->pool, &job->base);
        return 0;
    }
    /* A literal waits for nobody's name server. */
    add_address(&job->answer, family, literal);
    if (job->answer.count == 0)
        job->answer.error = EAI_ADDRFAMILY;
    tw_pool_answer(resolver->pool, &job->base);
    return 0;
}

int tw_resolver_descriptor(const struct tw_resolver *resolver)
{
    return tw_pool_descriptor(resolver->pool);
}

int tw_resolver_take(struct tw_resolver *resolver, struct tw_resolver_answer *answer)
{
    struct job *job = (struct job *)tw_pool_take(resolver->pool);
    if (job == NULL)
        return 0;
    *answer = job->answer;
    free(job);
    return 1;
}
