/* The clocks of network interfaces that stamp packets themselves: finds them, and reads them beside
 * our clocks often enough for their stamps to be converted (nic_relation.h).
 *
 * Nothing is switched on: an interface whose administrator has it stamp every packet
 * (HWTSTAMP_TX_ON, HWTSTAMP_FILTER_ALL) is used, and only if its clock can be read (/dev/ptp*,
 * usually root's alone; PTP_SYS_OFFSET_EXTENDED, Linux 5.0 and a driver that has it). Everywhere
 * else there are the kernel's stamps. Not verified with a real interface.
 *
 * Owned by one thread. */
#ifndef TW_SYS_NIC_CLOCK_H
#define TW_SYS_NIC_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/sys/nic_relation.h"
#include "lib/time.h"

enum { TW_NIC_CLOCKS = 8 }; /* interfaces that are looked at; of more, stamps are the kernel's */

struct tw_nic_clock {
    unsigned interface;
    int fd;          /* -1: has no clock that can be used */
    tw_mono look_at; /* again, if not */
    struct tw_nic_relation relation;
};

struct tw_nic_clocks {
    struct tw_nic_clock clocks[TW_NIC_CLOCKS];
    unsigned count;
    tw_mono due; /* TW_NEVER while there is nothing to read */
    bool raise;
};

/* `raise`: see tw_descriptor_raise. */
void tw_nic_clocks_init(struct tw_nic_clocks *clocks, bool raise);
void tw_nic_clocks_free(struct tw_nic_clocks *clocks);

/* When follow() is due: four times a second once a clock is in use, else TW_NEVER. */
tw_mono tw_nic_clocks_deadline(const struct tw_nic_clocks *clocks);

/* Reads all clocks in use, if it is time: some tens of microseconds for each. */
void tw_nic_clocks_follow(struct tw_nic_clocks *clocks, tw_mono now);

/* What the wall clock, as it is in `now`, showed when the interface with that index stamped
 * `nic_ns`; see tw_nic_relation_mono. False at first: the first stamp of an interface makes it
 * known, and one without a clock is looked at again after a minute. */
bool tw_nic_clocks_wall(struct tw_nic_clocks *clocks, unsigned interface, int64_t nic_ns,
                        const struct tw_reading *now, tw_wall *wall);

#endif
