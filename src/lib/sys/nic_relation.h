/* How the clock of a network interface runs against our monotonic clock.
 *
 * An interface that stamps packets by itself does so by a clock of its own, which may run freely or
 * be steered by anybody. Its stamps mean something to us only while it is known what our clock
 * showed at the same instants; that is learnt from readings of both, and believed only as long as
 * each new reading is what the ones before had promised. The monotonic clock, because the wall
 * clock may be stepped between two readings. No system call here: nic_clock.h takes the readings.
 */
#ifndef TW_SYS_NIC_RELATION_H
#define TW_SYS_NIC_RELATION_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/time.h"

/* Both clocks, read together. */
struct tw_nic_reading {
    int64_t nic_ns;
    int64_t mono_ns;  /* in the middle between two reads of the monotonic clock ... */
    int64_t width_ns; /* ... that lay so far apart */
};

/* All zero at the start. */
struct tw_nic_relation {
    struct tw_nic_reading before, newest; /* the line that is believed goes through these two */
    struct tw_nic_reading middle;         /* the next `before` */
    unsigned agreed;                      /* readings in a row that did not contradict */
};

/* Takes one more reading; they should come several times a second, since nobody says when either
 * clock is steered. One that contradicts the line makes it void. */
void tw_nic_relation_add(struct tw_nic_relation *relation, const struct tw_nic_reading *reading);

/* What the monotonic clock showed when the interface's clock showed `nic_ns`. False when that is
 * not known to within TW_NIC_ERROR_NS: too few readings that agree, too inexact ones, or the newest
 * is more than TW_NIC_FRESH_NS away. */
bool tw_nic_relation_mono(const struct tw_nic_relation *relation, int64_t nic_ns, tw_mono *mono);

#define TW_NIC_ERROR_NS INT64_C(5000)
#define TW_NIC_FRESH_NS INT64_C(1000000000)

#endif
