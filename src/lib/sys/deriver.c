/* Secrets to keys without delaying anybody, for the engine; the contract is in deriver.h.
 *
 * Two threads: this is work for a processor, and the others belong to whoever else runs on the
 * host; of these two as well, if they want them: thousands of keys at the start must not make
 * packets leave late. Remembers nothing; see target_key.h. */
#include "lib/sys/deriver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys/pool.h"

enum { THREADS = 2, NICENESS = 10 };

struct job {
    struct tw_pool_job base;
    struct tw_deriver_answer answer;
    size_t size;
    uint8_t passphrase[];
};

struct tw_deriver {
    struct tw_pool *pool;
};

static void work(struct tw_pool_job *base)
{
    struct job *job = (struct job *)base;
    const struct tw_probe_salt *salt = &job->answer.salt;
    tw_derive_key(job->passphrase, job->size, salt->salt, salt->count, job->answer.key);
}

static void discard(struct tw_pool_job *base)
{
    struct job *job = (struct job *)base;
    explicit_bzero(job, sizeof *job + job->size);
    free(job);
}

struct tw_deriver *tw_deriver_new(void)
{
    static const struct tw_pool_config config = {.name = "twamp-keys",
                                                 .threads = THREADS,
                                                 .idle_threads = THREADS,
                                                 .niceness = NICENESS,
                                                 .work = work,
                                                 .discard = discard};
    struct tw_deriver *deriver = malloc(sizeof *deriver);
    if (deriver == NULL)
        return NULL;
    deriver->pool = tw_pool_new(&config);
    if (deriver->pool != NULL)
        return deriver;
    const int error = errno;
    free(deriver);
    errno = error;
    return NULL;
}

void tw_deriver_free(struct tw_deriver *deriver)
{
    if (deriver == NULL)
        return;
    tw_pool_free(deriver->pool);
    free(deriver);
}

int tw_deriver_ask(struct tw_deriver *deriver, uint64_t tag, const uint8_t *passphrase, size_t size,
                   const struct tw_probe_salt *salt)
{
    struct job *job = calloc(1, sizeof *job + size);
    if (job == NULL)
        return -ENOMEM;
    memcpy(job->passphrase, passphrase, size);
    job->size = size;
    job->answer.tag = tag;
    job->answer.salt = *salt;
    tw_pool_ask(deriver->pool, &job->base);
    return 0;
}

int tw_deriver_descriptor(const struct tw_deriver *deriver)
{
    return tw_pool_descriptor(deriver->pool);
}

int tw_deriver_take(struct tw_deriver *deriver, struct tw_deriver_answer *answer)
{
    struct job *job = (struct job *)tw_pool_take(deriver->pool);
    if (job == NULL)
        return 0;
    *answer = job->answer;
    discard(&job->base);
    return 1;
}
