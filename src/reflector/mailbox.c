/* A locked list and an eventfd; see mailbox.h. */
#include "reflector/mailbox.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int twd_mailbox_init(struct twd_mailbox *mailbox)
{
    mailbox->first = NULL;
    mailbox->end = &mailbox->first;
    mailbox->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mailbox->descriptor < 0)
        return -errno;
    pthread_mutex_init(&mailbox->lock, NULL);
    return 0;
}

void twd_mailbox_free(struct twd_mailbox *mailbox)
{
    close(mailbox->descriptor);
    pthread_mutex_destroy(&mailbox->lock);
}

void twd_mailbox_post(struct twd_mailbox *mailbox, struct twd_message *message)
{
    message->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    const int was_empty = mailbox->first == NULL;
    *mailbox->end = message;
    mailbox->end = &message->next;
    pthread_mutex_unlock(&mailbox->lock);
    if (!was_empty)
        return;
    /* Cannot block: the reader clears it before it empties the list, so it never nears its limit.
     */
    const uint64_t one = 1;
    if (write(mailbox->descriptor, &one, sizeof(one)) < 0)
        return;
}

bool twd_mailbox_is_empty(struct twd_mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    const bool empty = mailbox->first == NULL;
    pthread_mutex_unlock(&mailbox->lock);
    return empty;
}

struct twd_message *twd_mailbox_take(struct twd_mailbox *mailbox)
{
    uint64_t count;
    if (read(mailbox->descriptor, &count, sizeof(count)) < 0)
        count = 0; /* woken for nothing; the list tells */
    pthread_mutex_lock(&mailbox->lock);
    struct twd_message *first = mailbox->first;
    mailbox->first = NULL;
    mailbox->end = &mailbox->first;
    pthread_mutex_unlock(&mailbox->lock);
    return first;
}
