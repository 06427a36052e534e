/* Threads that do what cannot be stopped; the contract is in pool.h.
 *
 * Knows nothing of what is done. */
#include "twamp-config.h" /* GNU extensions: pthread_setname_np */

#include "lib/sys/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys/socket.h"
#include "lib/time.h"

/* How long tw_pool_free waits for threads that are at work: its user may have several pools. */
#define PATIENCE_NS (TW_NS_PER_S / 4)

struct queue {
    struct tw_pool_job *first;
    struct tw_pool_job **end;
};

struct worker {
    struct shared *shared;
    pthread_t id; /* the pool's own */
    bool used;    /* the pool's own: there is such a thread, or was and is to be joined */
    bool done;    /* touches `shared` no more */
};

/* Owned by the pool and all threads together and guarded by `lock`, but for what never changes. */
struct shared {
    struct tw_pool_config config;
    pthread_mutex_t lock;
    pthread_cond_t work; /* there is a question, or the end has come */
    pthread_cond_t done; /* a worker is done */
    struct queue questions, slow_questions, answers;
    unsigned waiting, slow_waiting; /* questions not taken yet */
    unsigned slow_running;          /* workers at slow ones */
    unsigned running;               /* workers */
    unsigned idle;                  /* of them, those that have no question */
    unsigned owners;
    bool stop;
    int ready; /* eventfd; closed by the pool, and not to be written to after stop */
    struct worker workers[TW_POOL_THREADS_MAX];
};

struct tw_pool {
    struct shared *shared;
    int ready;
};

static void push(struct queue *queue, struct tw_pool_job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct tw_pool_job *pop(struct queue *queue)
{
    struct tw_pool_job *job = queue->first;
    if (job == NULL)
        return NULL;
    queue->first = job->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    return job;
}

static void discard(struct shared *shared, struct queue *queue)
{
    struct tw_pool_job *job;
    while ((job = pop(queue)) != NULL)
        shared->config.discard(job);
}

/* With the lock held, which it gives back: one owner less. */
static void release(struct shared *shared)
{
    const bool last = --shared->owners == 0;
    pthread_mutex_unlock(&shared->lock);
    if (!last)
        return;
    pthread_cond_destroy(&shared->work);
    pthread_cond_destroy(&shared->done);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

/* With the lock held. */
static void give_answer(struct shared *shared, struct tw_pool_job *job)
{
    push(&shared->answers, job);
    (void)eventfd_write(shared->ready, 1);
}

/* On Linux each thread has a niceness of its own. */
static void be_nice(int niceness)
{
    if (niceness == 0)
        return;
    errno = 0;
    const int now = getpriority(PRIO_PROCESS, 0);
    if (errno == 0)
        (void)setpriority(PRIO_PROCESS, 0, now + niceness); /* else at the usual one */
}

/* With the lock held: how many questions a worker would find. */
static unsigned count_open(const struct shared *shared)
{
    const unsigned room = shared->config.slow_threads - shared->slow_running;
    return shared->waiting + (shared->slow_waiting < room ? shared->slow_waiting : room);
}

/* With the lock held; NULL: there is nothing to do. */
static struct tw_pool_job *take_question(struct shared *shared, bool *slow)
{
    *slow = shared->waiting == 0;
    if (count_open(shared) == 0)
        return NULL;
    shared->idle--;
    if (*slow) {
        shared->slow_waiting--;
        shared->slow_running++;
        return pop(&shared->slow_questions);
    }
    shared->waiting--;
    return pop(&shared->questions);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    be_nice(shared->config.niceness);
    pthread_mutex_lock(&shared->lock);
    while (!shared->stop) {
        bool slow;
        struct tw_pool_job *job = take_question(shared, &slow);
        if (job == NULL) {
            if (shared->idle > shared->config.idle_threads)
                break;
            pthread_cond_wait(&shared->work, &shared->lock);
            continue;
        }
        pthread_mutex_unlock(&shared->lock);
        shared->config.work(job);
        pthread_mutex_lock(&shared->lock);
        shared->idle++;
        shared->slow_running -= slow;
        if (shared->stop)
            shared->config.discard(job);
        else
            give_answer(shared, job);
    }
    shared->idle--;
    shared->running--;
    worker->done = true;
    pthread_cond_signal(&shared->done);
    release(shared);
    return NULL;
}

/* A place for one more worker, of which there are fewer than places; one that has ended leaves its
 * own. */
static struct worker *find_place(struct shared *shared)
{
    struct worker *worker = shared->workers;
    for (;; worker++) {
        if (!worker->used)
            return worker;
        pthread_mutex_lock(&shared->lock);
        const bool done = worker->done;
        pthread_mutex_unlock(&shared->lock);
        if (done) {
            pthread_join(worker->id, NULL);
            worker->used = worker->done = false;
            return worker;
        }
    }
}

/* One more worker, deaf to all signals: they are for the program's own threads. 0 or an errno. */
static int start_worker(struct tw_pool *pool)
{
    struct shared *shared = pool->shared;
    struct worker *worker = find_place(shared);
    worker->shared = shared;
    pthread_mutex_lock(&shared->lock);
    shared->owners++;
    shared->running++;
    shared->idle++;
    pthread_mutex_unlock(&shared->lock);

    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int error = pthread_create(&worker->id, NULL, work, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0) {
        pthread_mutex_lock(&shared->lock);
        shared->owners--; /* never the last: there is the pool */
        shared->running--;
        shared->idle--;
        pthread_mutex_unlock(&shared->lock);
        return error;
    }
    (void)pthread_setname_np(worker->id, shared->config.name);
    worker->used = true;
    return 0;
}

static struct shared *new_shared(const struct tw_pool_config *config, int ready)
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
    shared->config = *config;
    shared->questions.end = &shared->questions.first;
    shared->slow_questions.end = &shared->slow_questions.first;
    shared->answers.end = &shared->answers.first;
    shared->owners = 1;
    shared->ready = ready;
    return shared;
}

struct tw_pool *tw_pool_new(const struct tw_pool_config *config)
{
    assert(config->threads > 0 && config->threads <= TW_POOL_THREADS_MAX);
    assert(config->idle_threads > 0); /* or the first would end at once */
    int error = ENOMEM;
    struct tw_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        goto no_pool;
    pool->ready = tw_descriptor_raise(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (pool->ready < 0) {
        error = errno;
        goto no_descriptor;
    }
    pool->shared = new_shared(config, pool->ready);
    if (pool->shared == NULL)
        goto no_shared;
    error = start_worker(pool);
    if (error == 0)
        return pool;
    pthread_mutex_lock(&pool->shared->lock);
    release(pool->shared);
no_shared:
    close(pool->ready);
no_descriptor:
    free(pool);
no_pool:
    errno = error;
    return NULL;
}

void tw_pool_free(struct tw_pool *pool)
{
    if (pool == NULL)
        return;
    struct shared *shared = pool->shared;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PATIENCE_NS;
    until.tv_sec += until.tv_nsec / TW_NS_PER_S;
    until.tv_nsec %= TW_NS_PER_S;

    pthread_mutex_lock(&shared->lock);
    shared->stop = true;
    /* Not left to whoever lets go last, and may never do so: there may be secrets in them. */
    discard(shared, &shared->questions);
    discard(shared, &shared->slow_questions);
    discard(shared, &shared->answers);
    pthread_cond_broadcast(&shared->work);
    int result = 0;
    while (shared->running > 0 && result == 0)
        result = pthread_cond_timedwait(&shared->done, &shared->lock, &until);
    bool done[TW_POOL_THREADS_MAX] = {false};
    for (unsigned i = 0; i < TW_POOL_THREADS_MAX; i++)
        done[i] = shared->workers[i].done;
    pthread_mutex_unlock(&shared->lock);

    for (unsigned i = 0; i < TW_POOL_THREADS_MAX; i++)
        if (done[i])
            pthread_join(shared->workers[i].id, NULL);
        else if (shared->workers[i].used)
            pthread_detach(shared->workers[i].id);
    pthread_mutex_lock(&shared->lock);
    release(shared);
    close(pool->ready);
    free(pool);
}

/* A worker for each question that one would find. */
static void grow(struct tw_pool *pool)
{
    struct shared *shared = pool->shared;
    pthread_mutex_lock(&shared->lock);
    const bool more = count_open(shared) > shared->idle && shared->running < shared->config.threads;
    pthread_mutex_unlock(&shared->lock);
    if (more)
        (void)start_worker(pool); /* those that run will come to it, only later */
}

static void ask(struct tw_pool *pool, struct queue *queue, unsigned *waiting,
                struct tw_pool_job *job)
{
    struct shared *shared = pool->shared;
    pthread_mutex_lock(&shared->lock);
    push(queue, job);
    ++*waiting;
    pthread_cond_signal(&shared->work);
    pthread_mutex_unlock(&shared->lock);
    grow(pool);
}

void tw_pool_ask(struct tw_pool *pool, struct tw_pool_job *job)
{
    ask(pool, &pool->shared->questions, &pool->shared->waiting, job);
}

void tw_pool_ask_slow(struct tw_pool *pool, struct tw_pool_job *job)
{
    assert(pool->shared->config.slow_threads > 0);
    ask(pool, &pool->shared->slow_questions, &pool->shared->slow_waiting, job);
}

void tw_pool_answer(struct tw_pool *pool, struct tw_pool_job *job)
{
    struct shared *shared = pool->shared;
    pthread_mutex_lock(&shared->lock);
    give_answer(shared, job);
    pthread_mutex_unlock(&shared->lock);
}

int tw_pool_descriptor(const struct tw_pool *pool)
{
    return pool->ready;
}

struct tw_pool_job *tw_pool_take(struct tw_pool *pool)
{
    struct shared *shared = pool->shared;
    pthread_mutex_lock(&shared->lock);
    struct tw_pool_job *job = pop(&shared->answers);
    if (shared->answers.first == NULL) {
        eventfd_t count;
        (void)eventfd_read(shared->ready, &count);
    }
    pthread_mutex_unlock(&shared->lock);
    /* Whoever gave the answer may have taken another question than was waiting for it. */
    grow(pool);
    return job;
}
