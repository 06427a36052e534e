/* SIDs for the sessions of this daemon: unique among all hosts and for all time, as far as their
 * clocks go forward (RFC 4656 section 3.5, conformance SRV-35). Main thread only. */
#ifndef TWD_SIDS_H
#define TWD_SIDS_H

#include <stdint.h>

#include "lib/address.h"
#include "lib/sys/random.h"
#include "lib/wire.h"

/* In hexadecimal, with the end. */
enum { TWD_SID_TEXT = 2 * TW_SID_SIZE + 1 };

struct twd_sids {
    struct tw_random random;
    struct tw_address own_ip4; /* of the host; family 0: none but loopback */
    uint64_t last_time;        /* in the last one, NTP */
};

void twd_sids_init(struct twd_sids *sids, tw_wall now);

/* The next one; `local` is the address that the control connection came to. */
void twd_sids_make(struct twd_sids *sids, const struct tw_address *local, tw_wall now,
                   uint8_t sid[TW_SID_SIZE]);

void twd_sids_print(const uint8_t sid[TW_SID_SIZE], char text[TWD_SID_TEXT]);

#endif
