/* Names to addresses without delaying anybody, for the engine; the contract is in resolver.h.
 *
 * getaddrinfo() can neither be given a deadline nor be stopped, so it runs on the threads of a pool
 * (pool.h). A name whose name server is silent holds a thread for as long as the C library is
 * patient, mostly ten seconds, and is asked for again in each interval. So there are more threads
 * than a few names can hold, started when all others are busy, and a name whose last look-up took
 * long comes after all others and never has more than half of the threads, until it is answered
 * quickly again. What is left is a start with more silent names than threads: each has to be waited
 * for once, until it is known.
 *
 * Remembers no answers: its user decides how long one is good for. */
#include "twamp-config.h" /* GNU extensions: EAI_ADDRFAMILY */

#include "lib/sys/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/sys/clock.h"
#include "lib/sys/pool.h"
#include "lib/sys/socket.h"
#include "lib/time.h"

enum {
    THREADS = 64,
    SLOW_THREADS = THREADS / 2,
    IDLE_THREADS = 4,
};

/* Longer than a name server that answers takes, shorter than the shortest time to give one up. */
#define SLOW_NS (500 * TW_NS_PER_MS)

/* A question; the pool's while it is looked up. */
struct job {
    struct tw_pool_job base;
    struct tw_resolver_answer answer;
    struct name *name; /* NULL: is answered already. Not for the threads: it may go before them */
    struct job *next;  /* in name.followers */
    bool slow;         /* how the look-up was */
    int family;
    char host[];
};

/* One that is being looked up, or was slow the last time. */
struct name {
    struct job *followers; /* asked for the same while it was being looked up */
    bool open;
    bool slow;
    int family;
    char host[];
};

struct tw_resolver {
    struct tw_pool *pool;
    void *names; /* of struct name, see tsearch() */
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
    const tw_mono begun = tw_clock_mono();
    look_up(job->host, job->family, &job->answer);
    job->slow = tw_clock_mono().ns - begun.ns >= SLOW_NS;
}

static void discard(struct tw_pool_job *base)
{
    free(base);
}

static int compare_names(const void *a, const void *b)
{
    const struct name *one = a, *other = b;
    if (one->family != other->family)
        return one->family < other->family ? -1 : 1;
    return strcmp(one->host, other->host);
}

/* The one that is there, or a new one; NULL: no memory. */
static struct name *find_name(struct tw_resolver *resolver, const char *host, int family)
{
    const size_t size = strlen(host) + 1;
    struct name *name = calloc(1, sizeof *name + size);
    if (name == NULL)
        return NULL;
    memcpy(name->host, host, size);
    name->family = family;
    struct name *const *found = tsearch(name, &resolver->names, compare_names);
    struct name *there = found == NULL ? NULL : *found;
    if (there != name)
        free(name);
    return there;
}

static struct job *pop_follower(struct name *name)
{
    struct job *job = name->followers;
    if (job != NULL)
        name->followers = job->next;
    return job;
}

static void free_name(void *item)
{
    struct name *name = item;
    struct job *job;
    while ((job = pop_follower(name)) != NULL)
        free(job);
    free(name);
}

/* All who asked for the same have the same answer. */
static void settle(struct tw_resolver *resolver, const struct job *answered)
{
    struct name *name = answered->name;
    struct job *job;
    while ((job = pop_follower(name)) != NULL) {
        const uint64_t tag = job->answer.tag;
        job->answer = answered->answer;
        job->answer.tag = tag;
        job->name = NULL;
        tw_pool_answer(resolver->pool, &job->base);
    }
    name->open = false;
    name->slow = answered->slow;
    if (name->slow)
        return;
    tdelete(name, &resolver->names, compare_names);
    free(name);
}

struct tw_resolver *tw_resolver_new(void)
{
    static const struct tw_pool_config config = {
        .name = "twamp-resolver",
        .threads = THREADS,
        .slow_threads = SLOW_THREADS,
        .idle_threads = IDLE_THREADS,
        .work = work,
        .discard = discard,
    };
    struct tw_resolver *resolver = calloc(1, sizeof *resolver);
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
    tdestroy(resolver->names, free_name);
    tw_pool_free(resolver->pool);
    free(resolver);
}

static int ask_name(struct tw_resolver *resolver, struct job *job)
{
    struct name *name = find_name(resolver, job->host, job->family);
    if (name == NULL) {
        free(job);
        return -ENOMEM;
    }
    job->name = name;
    if (name->open) {
        job->next = name->followers;
        name->followers = job;
        return 0;
    }
    name->open = true;
    if (name->slow)
        tw_pool_ask_slow(resolver->pool, &job->base);
    else
        tw_pool_ask(resolver->pool, &job->base);
    return 0;
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
    if (!tw_address_parse(host, &literal))
        return ask_name(resolver, job);
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
    if (job->name != NULL)
        settle(resolver, job);
    free(job);
    return 1;
}
