/* SIDs; see sids.h. */
#include "reflector/sids.h"

#include <glib.h>
#include <string.h>

#include "lib/bytes.h"
#include "reflector/own_addresses.h"

void twd_sids_init(struct twd_sids *sids, tw_wall now)
{
    tw_random_init(&sids->random);
    sids->own_ip4 = twd_own_ip4();
    sids->last_time = tw_ntp_from_wall(now);
}

/* Own IPv4 address, NTP time, four random octets. A loopback address would make the SID less unique
 * than it is meant to be. */
void twd_sids_make(struct twd_sids *sids, const struct tw_address *local, tw_wall now,
                   uint8_t sid[TW_SID_SIZE])
{
    const bool local_fits =
        local->family == 4 && (!twd_own_is_loopback4(local) || sids->own_ip4.family == 0);
    const struct tw_address *own = local_fits ? local : &sids->own_ip4;
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    memcpy(sid, own->family == 4 ? own->octets : loopback, 4);

    uint64_t time = tw_ntp_from_wall(now);
    if (time - sids->last_time - 1 > INT64_MAX) /* not later, modulo 2^64 */
        time = sids->last_time + 1;
    sids->last_time = time;
    tw_put64(sid + 4, time);
    tw_random_fill(&sids->random, sid + 12, 4);
}

void twd_sids_print(const uint8_t sid[TW_SID_SIZE], char text[TWD_SID_TEXT])
{
    for (size_t i = 0; i < TW_SID_SIZE; i++)
        g_snprintf(text + 2 * i, 3, "%02x", sid[i]);
}
