/* A queue between threads whose reader waits with epoll. Any thread posts, one takes; messages come
 * out in the order in which each thread posted them. */
#ifndef TWD_MAILBOX_H
#define TWD_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

/* Embedded in what is sent, which belongs to the mailbox until it is taken. */
struct twd_message {
    struct twd_message *next;
};

struct twd_mailbox {
    pthread_mutex_t lock; /* held for a few instructions only */
    struct twd_message *first, **end;
    int descriptor;                /* eventfd: readable while messages wait, but see hold() */
    bool held_back;                /* some thread will make it readable */
    struct twd_mailbox *next_held; /* that thread's */
};

/* 0 or -errno. */
int twd_mailbox_init(struct twd_mailbox *mailbox);

/* What was not taken is its owner's again. */
void twd_mailbox_free(struct twd_mailbox *mailbox);

void twd_mailbox_post(struct twd_mailbox *mailbox, struct twd_message *message);

/* Between the two, what the calling thread posts wakes nobody: at the end each reader is woken
 * once, if messages still wait. A thread that answers many at a time calls them around that,
 * since waking is what costs most. A reader that looks finds the messages at once all the same. No
 * thread waits for another in between. */
void twd_mailbox_hold(void);
void twd_mailbox_let_go(void);

/* What a thread had posted before the caller heard of it is seen. Cheap enough to ask often. */
bool twd_mailbox_is_empty(struct twd_mailbox *mailbox);

/* All that wait, in order, linked by `next`; NULL when there are none. */
struct twd_message *twd_mailbox_take(struct twd_mailbox *mailbox);

#endif
