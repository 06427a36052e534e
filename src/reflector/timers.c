/* A binary heap of deadlines; see timers.h. */
#include "reflector/timers.h"

void twd_timers_init(struct twd_timers *timers)
{
    timers->heap = g_ptr_array_new();
}

void twd_timers_free(struct twd_timers *timers)
{
    g_ptr_array_unref(timers->heap);
    timers->heap = NULL;
}

static struct twd_timer *timer_at(const struct twd_timers *timers, guint place)
{
    return g_ptr_array_index(timers->heap, place - 1);
}

static void put(struct twd_timers *timers, struct twd_timer *timer, guint place)
{
    g_ptr_array_index(timers->heap, place - 1) = timer;
    timer->place = place;
}

/* Moves the timer from its place up to where its parent is not later. */
static void rise(struct twd_timers *timers, struct twd_timer *timer)
{
    guint place = timer->place;
    while (place > 1) {
        struct twd_timer *parent = timer_at(timers, place / 2);
        if (parent->at.ns <= timer->at.ns)
            break;
        put(timers, parent, place);
        place /= 2;
    }
    put(timers, timer, place);
}

/* Moves the timer from its place down to where no child is earlier. */
static void sink(struct twd_timers *timers, struct twd_timer *timer)
{
    const guint count = timers->heap->len;
    guint place = timer->place;
    for (guint child = 2 * place; child <= count; child = 2 * place) {
        if (child < count && timer_at(timers, child + 1)->at.ns < timer_at(timers, child)->at.ns)
            child++;
        struct twd_timer *earlier = timer_at(timers, child);
        if (timer->at.ns <= earlier->at.ns)
            break;
        put(timers, earlier, place);
        place = child;
    }
    put(timers, timer, place);
}

void twd_timers_disarm(struct twd_timers *timers, struct twd_timer *timer)
{
    if (timer->place == 0)
        return;
    const guint place = timer->place;
    const guint last = timers->heap->len;
    struct twd_timer *moved = timer_at(timers, last);
    g_ptr_array_set_size(timers->heap, (gint)last - 1);
    timer->place = 0;
    if (moved == timer)
        return;
    put(timers, moved, place);
    rise(timers, moved);
    sink(timers, moved);
}

void twd_timers_arm(struct twd_timers *timers, struct twd_timer *timer, tw_mono at)
{
    if (tw_mono_is_never(at)) {
        twd_timers_disarm(timers, timer);
        return;
    }
    timer->at = at;
    if (timer->place == 0) {
        g_ptr_array_add(timers->heap, timer);
        timer->place = timers->heap->len;
    }
    rise(timers, timer);
    sink(timers, timer);
}

tw_mono twd_timers_next(const struct twd_timers *timers)
{
    return timers->heap->len == 0 ? TW_NEVER : timer_at(timers, 1)->at;
}

void twd_timers_run(struct twd_timers *timers, tw_mono now)
{
    for (guint left = timers->heap->len; left > 0; left--) {
        if (!tw_mono_reached(twd_timers_next(timers), now))
            return;
        struct twd_timer *timer = timer_at(timers, 1);
        twd_timers_disarm(timers, timer);
        timer->expire(timer, now);
    }
}
