/* Whose packet a transmit timestamp is of.
 *
 * The kernel numbers what leaves through a socket, and tells the number with the stamp
 * (tw_udp_report_departures). Here it is remembered which packet got which number, for the newest
 * TW_DEPARTURES of them: a driver that has not stamped those does so too late. A number is found
 * once, so that a second stamp of it says nothing.
 *
 * One for each socket; belongs to the thread that sends. */
#ifndef TW_SYS_DEPARTURES_H
#define TW_SYS_DEPARTURES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/probe.h"
#include "lib/time.h"

enum { TW_DEPARTURES = 256 }; /* divides 2^32: numbers wrap */

struct tw_departure {
    struct tw_probe_packet packet;
    tw_wall left;    /* by the first stamp, if that was found */
    uint32_t target; /* the engine's number, which is never another's */
    bool awaited;
};

/* All zero: nothing is known of the numbers, and nothing remembered. */
struct tw_departures {
    struct tw_departure places[TW_DEPARTURES];
    uint32_t next;    /* number of the next packet */
    uint32_t awaited; /* places with a packet whose stamp has not come */
    uint32_t strays;  /* packets that left since the numbers were lost, and are not stamped yet */
    bool known;       /* `next` is the kernel's too */
    tw_mono lost_at;  /* if not */
    tw_mono doubted;  /* see tw_departures_doubt */
};

/* The next packet has number 0. Forgets all others. */
void tw_departures_begin(struct tw_departures *departures);

/* The kernel took a packet: to be called for each, in their order. */
void tw_departures_remember(struct tw_departures *departures, uint32_t target,
                            struct tw_probe_packet packet);

/* A send failed: from here on no number is known, and nothing remembered, until the next begin. The
 * packets before it still have theirs. */
void tw_departures_lose(struct tw_departures *departures, tw_mono now);

/* Whether a stamp may still come of a packet that has left. */
bool tw_departures_awaits(const struct tw_departures *departures);

/* Whether numbers that are lost may begin anew: none of those before is under way any more, or it
 * has not come for so long that it never will. A stamp with an old number would else be taken for
 * one of another packet. */
bool tw_departures_may_begin(const struct tw_departures *departures, tw_mono now);

/* Whether a packet has had that number since the beginning. */
bool tw_departures_given(const struct tw_departures *departures, uint32_t number);

/* The packet with that number, which is not awaited any more then: it left at `left`. False when it
 * was not given, was found before or is too old. */
bool tw_departures_find(struct tw_departures *departures, uint32_t number, tw_wall left,
                        struct tw_departure *departure);

/* The packet with that number, which was found before: for a second stamp of it, by another clock.
 * False when it was not, or is too old. */
bool tw_departures_recall(const struct tw_departures *departures, uint32_t number,
                          struct tw_departure *departure);

/* A stamp cannot be of the packet with its number: the same as lose, but at most once a second. A
 * driver that is slow to stamp goes on with the old numbers for a while after a new beginning, and
 * those are no reason for another. */
void tw_departures_doubt(struct tw_departures *departures, tw_mono now);

#endif
