/* Names to addresses without delaying anybody, for the engine; the contract is in resolver.h.
 *
 * getaddrinfo() can neither be given a deadline nor be stopped. So it runs on threads of its own,
 * and what they touch belongs to whoever lets go of it last: the resolver, or a thread that comes
 * back from a dead name server long after the resolver has gone. A few threads, started when there
 * is more to do than threads that wait, so that one dead name server does not hold up the others'
 * names.
 *
 * Remembers no answers: its user decides how long one is good for. */
#include "twamp-config.h" /* GNU extensions: pthread_setname_np */

#include "lib/sys/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys/socket.h"
#include "lib/time.h"

enum { THREADS = 4 };

/* How long tw_resolver_free waits for threads that are looking something up. */
#define PATIENCE_NS (TW_NS_PER_S / 2)

/* A question that becomes its own answer: once asked, nothing can fail for want of memory. */
struct job {
    struct job *next;
    struct tw_resolver_answer answer;
    int family;
    char host[];
};

struct queue {
    struct job *first;
    struct job **end;
};

struct worker {
    struct shared *shared;
    pthread_t id; /* the resolver's own */
    bool done;    /* touches `shared` no more */
};

/* Owned by the resolver and all threads together and guarded by `lock`. */
struct shared {
    pthread_mutex_t lock;
    pthread_cond_t work; /* there is a question, or the end has come */
    pthread_cond_t done; /* a worker is done */
    struct queue questions, answers;
    unsigned waiting; /* questions not taken yet */
    unsigned idle;    /* workers that wait for questions */
    unsigned owners;
    bool stop;
    int ready; /* eventfd; closed by the resolver, and not to be written to after stop */
    struct worker workers[THREADS];
};

struct tw_resolver {
    struct shared *shared;
    unsigned started; /* workers */
    int ready;
};

static void push(struct queue *queue, struct job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct job *pop(struct queue *queue)
{
    struct job *job = queue->first;
    if (job == NULL)
        return NULL;
    queue->first = job->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    return job;
}

static void discard(struct queue *queue)
{
    struct job *job;
    while ((job = pop(queue)) != NULL)
        free(job);
}

/* With the lock held, which it gives back: one owner less. */
static void release(struct shared *shared)
{
    const bool last = --shared->owners == 0;
    pthread_mutex_unlock(&shared->lock);
    if (!last)
        return;
    discard(&shared->questions);
    discard(&shared->answers);
    pthread_cond_destroy(&shared->work);
    pthread_cond_destroy(&shared->done);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

/* With the lock held. */
static void give_answer(struct shared *shared, struct job *job)
{
    push(&shared->answers, job);
    (void)eventfd_write(shared->ready, 1);
}

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

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    pthread_mutex_lock(&shared->lock);
    while (!shared->stop) {
        struct job *job = pop(&shared->questions);
        if (job == NULL) {
            shared->idle++;
            pthread_cond_wait(&shared->work, &shared->lock);
            shared->idle--;
            continue;
        }
        shared->waiting--;
        pthread_mutex_unlock(&shared->lock);
        look_up(job->host, job->family, &job->answer);
        pthread_mutex_lock(&shared->lock);
        if (shared->stop)
            free(job);
        else
            give_answer(shared, job);
    }
    worker->done = true;
    pthread_cond_signal(&shared->done);
    release(shared);
    return NULL;
}

/* One more worker, deaf to all signals: they are for the program's own threads. 0 or an errno. */
static int start_worker(struct tw_resolver *resolver)
{
    struct shared *shared = resolver->shared;
    struct worker *worker = &shared->workers[resolver->started];
    worker->shared = shared;
    pthread_mutex_lock(&shared->lock);
    shared->owners++;
    pthread_mutex_unlock(&shared->lock);

    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int error = pthread_create(&worker->id, NULL, work, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0) {
        pthread_mutex_lock(&shared->lock);
        shared->owners--; /* never the last: there is the resolver */
        pthread_mutex_unlock(&shared->lock);
        return error;
    }
    (void)pthread_setname_np(worker->id, "twamp-resolver");
    resolver->started++;
    return 0;
}

static struct shared *new_shared(int ready)
{
    struct shared *shared = calloc(1, sizeof *shared);
    if (shared == NULL)
        return NULL;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&shared->lock, NULL);
    pthread_cond_init(&shared->work, NULL);
    pthread_cond_init(&shared->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    shared->questions.end = &shared->questions.first;
    shared->answers.end = &shared->answers.first;
    shared->owners = 1;
    shared->ready = ready;
    return shared;
}

struct tw_resolver *tw_resolver_new(void)
{
    int error = ENOMEM;
    struct tw_resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL)
        goto no_resolver;
    resolver->ready = tw_descriptor_raise(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (resolver->ready < 0) {
        error = errno;
        goto no_descriptor;
    }
    resolver->shared = new_shared(resolver->ready);
    if (resolver->shared == NULL)
        goto no_shared;
    error = start_worker(resolver);
    if (error == 0)
        return resolver;
    pthread_mutex_lock(&resolver->shared->lock);
    release(resolver->shared);
no_shared:
    close(resolver->ready);
no_descriptor:
    free(resolver);
no_resolver:
    errno = error;
    return NULL;
}

static bool all_done(const struct tw_resolver *resolver)
{
    for (unsigned i = 0; i < resolver->started; i++)
        if (!resolver->shared->workers[i].done)
            return false;
    return true;
}

void tw_resolver_free(struct tw_resolver *resolver)
{
    if (resolver == NULL)
        return;
    struct shared *shared = resolver->shared;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PATIENCE_NS;
    until.tv_sec += until.tv_nsec / TW_NS_PER_S;
    until.tv_nsec %= TW_NS_PER_S;

    pthread_mutex_lock(&shared->lock);
    shared->stop = true;
    pthread_cond_broadcast(&shared->work);
    int result = 0;
    while (!all_done(resolver) && result == 0)
        result = pthread_cond_timedwait(&shared->done, &shared->lock, &until);
    bool done[THREADS] = {false};
    for (unsigned i = 0; i < resolver->started; i++)
        done[i] = shared->workers[i].done;
    pthread_mutex_unlock(&shared->lock);

    for (unsigned i = 0; i < resolver->started; i++)
        if (done[i])
            pthread_join(shared->workers[i].id, NULL);
        else
            pthread_detach(shared->workers[i].id);
    pthread_mutex_lock(&shared->lock);
    release(shared);
    close(resolver->ready);
    free(resolver);
}

int tw_resolver_ask(struct tw_resolver *resolver, uint64_t tag, const char *host, int family)
{
    struct shared *shared = resolver->shared;
    const size_t size = strlen(host) + 1;
    struct job *job = calloc(1, sizeof *job + size);
    if (job == NULL)
        return -ENOMEM;
    memcpy(job->host, host, size);
    job->answer.tag = tag;
    job->family = family;

    /* A literal waits for nobody's name server. */
    struct tw_address literal;
    if (tw_address_parse(host, &literal)) {
        add_address(&job->answer, family, literal);
        if (job->answer.count == 0)
            job->answer.error = EAI_ADDRFAMILY;
        pthread_mutex_lock(&shared->lock);
        give_answer(shared, job);
        pthread_mutex_unlock(&shared->lock);
        return 0;
    }

    pthread_mutex_lock(&shared->lock);
    push(&shared->questions, job);
    shared->waiting++;
    const bool more = shared->waiting > shared->idle && resolver->started < THREADS;
    pthread_cond_signal(&shared->work);
    pthread_mutex_unlock(&shared->lock);
    if (more)
        (void)start_worker(resolver); /* those that run will come to it, only later */
    return 0;
}

int tw_resolver_descriptor(const struct tw_resolver *resolver)
{
    return resolver->ready;
}

int tw_resolver_take(struct tw_resolver *resolver, struct tw_resolver_answer *answer)
{
    struct shared *shared = resolver->shared;
    pthread_mutex_lock(&shared->lock);
    struct job *job = pop(&shared->answers);
    if (shared->answers.first == NULL) {
        eventfd_t count;
        (void)eventfd_read(shared->ready, &count);
    }
    pthread_mutex_unlock(&shared->lock);
    if (job == NULL)
        return 0;
    *answer = job->answer;
    free(job);
    return 1;
}
