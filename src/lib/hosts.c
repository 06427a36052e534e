/* Whose turn it is among the addresses of a name; the contract is in hosts.h. */
#include "lib/hosts.h"

#include <assert.h>

struct tw_address tw_hosts_try(struct tw_hosts *hosts)
{
    assert(hosts->turn < hosts->count);
    hosts->renewed = false;
    return hosts->addresses[hosts->turn];
}

bool tw_hosts_next(struct tw_hosts *hosts)
{
    if (hosts->renewed) {
        hosts->renewed = false;
        return true;
    }
    bool more = (unsigned)hosts->turn + 1 < hosts->count;
    hosts->turn = more ? (uint8_t)(hosts->turn + 1) : 0;
    return more;
}

bool tw_hosts_take(struct tw_hosts *hosts, const struct tw_address *addresses, size_t n,
                   const struct tw_address *tried, bool in_use)
{
    assert(n > 0);
    hosts->count = (uint8_t)(n < TW_HOSTS_MAX ? n : TW_HOSTS_MAX);
    for (size_t i = 0; i < hosts->count; i++)
        hosts->addresses[i] = addresses[i];
    hosts->turn = 0;
    size_t place = 0;
    while (place < n && !tw_address_same_host(&addresses[place], tried))
        place++;
    hosts->renewed = in_use && place == n;
    if (in_use && place < n) {
        const size_t last = TW_HOSTS_MAX - 1;
        hosts->turn = (uint8_t)(place < last ? place : last);
        hosts->addresses[hosts->turn] = addresses[place];
    }
    return place < n;
}
