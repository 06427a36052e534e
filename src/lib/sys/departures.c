/* Numbers of packets under way; the contract is in departures.h. */
#include "lib/sys/departures.h"

#include <string.h>

#define DOUBT_NS TW_NS_PER_S

/* Drivers stamp within milliseconds, or never. */
#define OUTSTANDING_NS TW_NS_PER_S

void tw_departures_begin(struct tw_departures *departures)
{
    memset(departures->places, 0, sizeof departures->places);
    departures->next = 0;
    departures->awaited = 0;
    departures->strays = 0;
    departures->known = true;
}

static struct tw_departure *place_of(struct tw_departures *departures, uint32_t number)
{
    return &departures->places[number % TW_DEPARTURES];
}

void tw_departures_remember(struct tw_departures *departures, uint32_t target,
                            struct tw_probe_packet packet)
{
    if (!departures->known) {
        departures->strays++;
        return;
    }
    struct tw_departure *place = place_of(departures, departures->next++);
    if (!place->awaited)
        departures->awaited++;
    *place = (struct tw_departure){.packet = packet, .target = target, .awaited = true};
}

void tw_departures_lose(struct tw_departures *departures, tw_mono now)
{
    if (departures->known)
        departures->lost_at = now;
    departures->known = false;
}

bool tw_departures_awaits(const struct tw_departures *departures)
{
    return departures->awaited > 0 || departures->strays > 0;
}

bool tw_departures_may_begin(const struct tw_departures *departures, tw_mono now)
{
    return !departures->known &&
           (!tw_departures_awaits(departures) || now.ns - departures->lost_at.ns >= OUTSTANDING_NS);
}

/* How long ago: 1 is the newest; 0 and more than INT32_MAX are still to come. */
static uint32_t ago_of(const struct tw_departures *departures, uint32_t number)
{
    return departures->next - number;
}

bool tw_departures_given(const struct tw_departures *departures, uint32_t number)
{
    const uint32_t ago = ago_of(departures, number);
    return ago > 0 && ago <= INT32_MAX;
}

bool tw_departures_find(struct tw_departures *departures, uint32_t number, tw_wall left,
                        struct tw_departure *departure)
{
    const uint32_t ago = ago_of(departures, number);
    struct tw_departure *place = place_of(departures, number);
    if (ago == 0 || ago > TW_DEPARTURES || !place->awaited) {
        if (!departures->known && departures->strays > 0)
            departures->strays--;
        return false;
    }
    place->awaited = false;
    place->left = left;
    *departure = *place;
    departures->awaited--;
    return true;
}

bool tw_departures_recall(const struct tw_departures *departures, uint32_t number,
                          struct tw_departure *departure)
{
    const uint32_t ago = ago_of(departures, number);
    *departure = departures->places[number % TW_DEPARTURES];
    return ago > 0 && ago <= TW_DEPARTURES && !departure->awaited;
}

void tw_departures_doubt(struct tw_departures *departures, tw_mono now)
{
    if (!departures->known || now.ns - departures->doubted.ns < DOUBT_NS)
        return;
    departures->doubted = now;
    tw_departures_lose(departures, now);
}
