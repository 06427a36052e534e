/* A locked list and an eventfd; see mailbox.h. */
#include "reflector/mailbox.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What this thread holds back. */
static _Thread_local struct {
    bool active;
    struct twd_mailbox *first;
} hold;

int twd_mailbox_init(struct twd_mailbox *mailbox)
{
    *mailbox = (struct twd_mailbox){.end = &mailbox->first};
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

/* Cannot block: the reader clears it before it empties the list, so it never nears its limit. */
static void wake_reader(const struct twd_mailbox *mailbox)
{
    const uint64_t one = 1;
    if (write(mailbox->descriptor, &one, sizeof(one)) < 0)
        return;
}

void twd_mailbox_post(struct twd_mailbox *mailbox, struct twd_message *message)
{
    message->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    /* The reader was woken for the first of those that wait, or will be. */
    const bool wake = mailbox->first == NULL && !mailbox->held_back;
    mailbox->held_back = mailbox->held_back || (wake && hold.active);
    *mailbox->end = message;
    mailbox->end = &message->next;
    pthread_mutex_unlock(&mailbox->lock);
    if (!wake)
        return;
    if (hold.active) {
        mailbox->next_held = hold.first;
        hold.first = mailbox;
    } else {
        wake_reader(mailbox);
    }
}

void twd_mailbox_hold(void)
{
    hold.active = true;
}

void twd_mailbox_let_go(void)
{
    hold.active = false;
    while (hold.first != NULL) {
        struct twd_mailbox *mailbox = hold.first;
        hold.first = mailbox->next_held;
        pthread_mutex_lock(&mailbox->lock);
        mailbox->held_back = false;
        const bool wake = mailbox->first != NULL;
        pthread_mutex_unlock(&mailbox->lock);
        if (wake)
            wake_reader(mailbox);
    }
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
