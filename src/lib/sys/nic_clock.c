/* Interfaces' clocks by ethtool and PTP's ioctls; the contract is in nic_clock.h. */
#include "twamp-config.h" /* GNU extensions: if_indextoname beside linux/if.h's users */

#include "lib/sys/nic_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/net_tstamp.h>
#include <linux/ptp_clock.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "lib/sys/socket.h"

#define PERIOD_NS (250 * TW_NS_PER_MS)

/* An administrator may switch stamping on, or a descriptor may have been missing. */
#define LOOK_AGAIN_NS (60 * TW_NS_PER_S)

enum { READS = 5 }; /* at a time; the one that was least disturbed counts */

void tw_nic_clocks_init(struct tw_nic_clocks *clocks, bool raise)
{
    *clocks = (struct tw_nic_clocks){.due = TW_NEVER, .raise = raise};
}

void tw_nic_clocks_free(struct tw_nic_clocks *clocks)
{
    for (unsigned i = 0; i < clocks->count; i++)
        if (clocks->clocks[i].fd >= 0)
            close(clocks->clocks[i].fd);
    tw_nic_clocks_init(clocks, clocks->raise);
}

static bool ask(int fd, const char *name, unsigned long what, void *answer)
{
    struct ifreq request = {.ifr_data = answer};
    memcpy(request.ifr_name, name, IF_NAMESIZE);
    return ioctl(fd, what, &request) == 0;
}

/* The number of the clock that stamps everything that passes the interface; -1 none. */
static int clock_of(unsigned interface)
{
    char name[IF_NAMESIZE] = "";
    if (if_indextoname(interface, name) == NULL)
        return -1;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct ethtool_ts_info info = {.cmd = ETHTOOL_GET_TS_INFO};
    struct hwtstamp_config config = {.flags = 0};
    const bool known = ask(fd, name, SIOCETHTOOL, &info) && ask(fd, name, SIOCGHWTSTAMP, &config);
    close(fd);
    if (!known || config.tx_type != HWTSTAMP_TX_ON || config.rx_filter != HWTSTAMP_FILTER_ALL)
        return -1;
    return info.phc_index;
}

static int open_clock(unsigned interface, bool raise)
{
    const int number = clock_of(interface);
    if (number < 0)
        return -1;
    char path[32];
    snprintf(path, sizeof path, "/dev/ptp%d", number);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    return raise ? tw_descriptor_raise(fd) : fd;
}

static int64_t ns_of(const struct ptp_clock_time *t)
{
    return (int64_t)t->sec * TW_NS_PER_S + (int64_t)t->nsec;
}

/* The kernel reads the interface's clock beside the wall clock only. If that is stepped before it
 * is compared with the monotonic one, the reading contradicts its neighbours and counts for
 * nothing. */
static bool read_clock(int fd, struct tw_nic_reading *best)
{
    struct ptp_sys_offset_extended offsets = {.n_samples = READS};
    if (ioctl(fd, PTP_SYS_OFFSET_EXTENDED, &offsets) != 0)
        return false;
    int64_t apart_ns;
    const int64_t offset_ns = tw_clock_offset(&apart_ns);
    *best = (struct tw_nic_reading){.width_ns = INT64_MAX};
    for (unsigned i = 0; i < READS; i++) {
        const int64_t before_ns = ns_of(&offsets.ts[i][0]);
        const int64_t width_ns = ns_of(&offsets.ts[i][2]) - before_ns;
        if (width_ns < 0 || width_ns + apart_ns >= best->width_ns)
            continue;
        *best = (struct tw_nic_reading){
            .nic_ns = ns_of(&offsets.ts[i][1]),
            .mono_ns = before_ns + width_ns / 2 - offset_ns,
            .width_ns = width_ns + apart_ns,
        };
    }
    return true;
}

/* A clock that cannot be read any more has gone with its interface, or never could. */
static void follow(struct tw_nic_clock *clock)
{
    struct tw_nic_reading reading;
    if (read_clock(clock->fd, &reading)) {
        tw_nic_relation_add(&clock->relation, &reading);
        return;
    }
    close(clock->fd);
    clock->fd = -1;
}

tw_mono tw_nic_clocks_deadline(const struct tw_nic_clocks *clocks)
{
    return clocks->due;
}

void tw_nic_clocks_follow(struct tw_nic_clocks *clocks, tw_mono now)
{
    if (!tw_mono_reached(clocks->due, now))
        return;
    clocks->due = TW_NEVER;
    for (unsigned i = 0; i < clocks->count; i++) {
        struct tw_nic_clock *clock = &clocks->clocks[i];
        if (clock->fd >= 0)
            follow(clock);
        if (clock->fd >= 0)
            clocks->due = tw_mono_after(now, PERIOD_NS);
    }
}

/* NULL when there are too many. */
static struct tw_nic_clock *place_of(struct tw_nic_clocks *clocks, unsigned interface)
{
    for (unsigned i = 0; i < clocks->count; i++)
        if (clocks->clocks[i].interface == interface)
            return &clocks->clocks[i];
    if (clocks->count == TW_NIC_CLOCKS)
        return NULL;
    struct tw_nic_clock *clock = &clocks->clocks[clocks->count++];
    *clock = (struct tw_nic_clock){.interface = interface, .fd = -1, .look_at = {INT64_MIN}};
    return clock;
}

static void look(struct tw_nic_clocks *clocks, struct tw_nic_clock *clock, tw_mono now)
{
    if (!tw_mono_reached(clock->look_at, now))
        return;
    *clock = (struct tw_nic_clock){
        .interface = clock->interface,
        .fd = open_clock(clock->interface, clocks->raise),
        .look_at = tw_mono_after(now, LOOK_AGAIN_NS),
    };
    if (clock->fd >= 0)
        clocks->due = now;
}

bool tw_nic_clocks_wall(struct tw_nic_clocks *clocks, unsigned interface, int64_t nic_ns,
                        const struct tw_reading *now, tw_wall *wall)
{
    struct tw_nic_clock *clock = place_of(clocks, interface);
    if (clock != NULL && clock->fd < 0)
        look(clocks, clock, now->mono);
    tw_mono mono;
    if (clock == NULL || !tw_nic_relation_mono(&clock->relation, nic_ns, &mono))
        return false;
    wall->ns = mono.ns + (now->wall.ns - now->mono.ns);
    return true;
}
