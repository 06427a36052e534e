/* A few threads that do what would delay the engine: look up names, derive keys.
 *
 * A job is done by a function that can neither be given a deadline nor be stopped. So what the
 * threads touch belongs to whoever lets go of it last: the pool, or a thread that comes back from
 * its work long after the pool has gone. Threads are started when there is more to do than threads
 * that wait, so that jobs that hang do not hold up the others, and end when there is less. Jobs
 * that are known to take long have a share of the threads, and what is left when no others wait.
 *
 * All calls on the owner's thread. */
#ifndef TW_SYS_POOL_H
#define TW_SYS_POOL_H

/* First member of a job; a question that becomes its own answer: once asked, nothing can fail for
 * want of memory. */
struct tw_pool_job {
    struct tw_pool_job *next; /* the pool's */
};

enum { TW_POOL_THREADS_MAX = 64 };

struct tw_pool_config {
    const char *name;                         /* of the threads; at most 15 characters, static */
    unsigned threads;                         /* at most */
    unsigned slow_threads;                    /* of them, at most, at jobs asked for as slow */
    unsigned idle_threads;                    /* more than these do not wait for jobs, but end */
    int niceness;                             /* of the threads, added to the process's own */
    void (*work)(struct tw_pool_job *job);    /* on one of the threads */
    void (*discard)(struct tw_pool_job *job); /* frees a job nobody waits for; on any thread */
};

struct tw_pool;

/* NULL with errno set when not one thread can be started. */
struct tw_pool *tw_pool_new(const struct tw_pool_config *config);

/* Stops within half a second whatever the threads do: one that does not come back is left behind,
 * with memory of its own, and ends by itself. Open jobs are discarded. */
void tw_pool_free(struct tw_pool *pool);

/* Hands over a job to be worked on; it comes back by take. First come, first served. */
void tw_pool_ask(struct tw_pool *pool, struct tw_pool_job *job);

/* The same for a job that is known to take long: it comes after all others, and with no more of its
 * kind at a time than slow_threads, which must not be 0. */
void tw_pool_ask_slow(struct tw_pool *pool, struct tw_pool_job *job);

/* Hands over a job that needs no work; it comes back by take all the same. */
void tw_pool_answer(struct tw_pool *pool, struct tw_pool_job *job);

/* Readable when an answer is waiting. */
int tw_pool_descriptor(const struct tw_pool *pool);

/* An answer, the caller's from here on; NULL when there is none. Answers come in any order. Clears
 * the descriptor's readiness with the last. */
struct tw_pool_job *tw_pool_take(struct tw_pool *pool);

#endif
