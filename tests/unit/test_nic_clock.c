/* Which interfaces' clocks are used and how they are read, with the kernel's answers made up: there
 * is no real clock here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/net_tstamp.h>
#include <linux/ptp_clock.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/sys/nic_clock.h"

#define MS TW_NS_PER_MS
#define S  TW_NS_PER_S

/* The one interface, number 7, its clock and ours. */
static struct {
    int phc_index; /* -1 none */
    int tx_type, rx_filter;
    bool forbidden;  /* /dev/ptp3 */
    bool gone;       /* cannot be read */
    int64_t nic_ns;  /* what its clock shows */
    int64_t mono_ns; /* and the monotonic one, and how far the wall clock is ahead of that */
    int64_t offset_ns;
    int64_t step_ns; /* the wall clock is stepped once by that, while the clocks are compared */
    unsigned names, opened, reads;
} nic;

char *__wrap_if_indextoname(unsigned index, char *name);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int64_t __wrap_tw_clock_offset(int64_t *apart_ns);

char *__wrap_if_indextoname(unsigned index, char *name)
{
    nic.names++;
    return index == 7 ? memcpy(name, "eth7", sizeof "eth7") : NULL;
}

int __wrap_open(const char *path, int flags, ...)
{
    if (strcmp(path, "/dev/ptp3") != 0)
        return __real_open(path, flags, 0);
    errno = EACCES;
    if (nic.forbidden)
        return -1;
    nic.opened++;
    return __real_open("/dev/null", flags, 0);
}

static struct ptp_clock_time clock_time(int64_t ns)
{
    return (struct ptp_clock_time){.sec = ns / S, .nsec = (unsigned)(ns % S)};
}

/* The third of the reads is the narrowest, and the only right one. */
static int read_offsets(struct ptp_sys_offset_extended *offsets)
{
    static const int64_t widths[] = {9000, 3000, 600, 3000, 9000};
    errno = ENODEV;
    if (nic.gone)
        return -1;
    nic.reads++;
    const int64_t wall_ns = nic.mono_ns + nic.offset_ns;
    for (unsigned i = 0; i < offsets->n_samples; i++) {
        const int64_t width = widths[i % 5];
        offsets->ts[i][0] = clock_time(wall_ns - width / 2);
        offsets->ts[i][1] = clock_time(nic.nic_ns + (width > 600 ? 4000 : 0));
        offsets->ts[i][2] = clock_time(wall_ns + width / 2);
    }
    return 0;
}

int64_t __wrap_tw_clock_offset(int64_t *apart_ns)
{
    *apart_ns = 50;
    nic.offset_ns += nic.step_ns;
    nic.step_ns = 0;
    return nic.offset_ns;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    assert_true(fd >= 0);
    if (request == PTP_SYS_OFFSET_EXTENDED)
        return read_offsets(argument);
    const struct ifreq *interface = argument;
    assert_string_equal(interface->ifr_name, "eth7");
    if (request == SIOCETHTOOL) {
        struct ethtool_ts_info *info = (void *)interface->ifr_data;
        assert_int_equal(info->cmd, ETHTOOL_GET_TS_INFO);
        info->phc_index = nic.phc_index;
        return 0;
    }
    assert_int_equal(request, SIOCGHWTSTAMP);
    struct hwtstamp_config *config = (void *)interface->ifr_data;
    config->tx_type = nic.tx_type;
    config->rx_filter = nic.rx_filter;
    return 0;
}

static struct tw_reading now(void)
{
    return (struct tw_reading){.mono = {nic.mono_ns}, .wall = {nic.mono_ns + nic.offset_ns}};
}

static void install(struct tw_nic_clocks *clocks)
{
    memset(&nic, 0, sizeof nic);
    nic.phc_index = 3;
    nic.tx_type = HWTSTAMP_TX_ON;
    nic.rx_filter = HWTSTAMP_FILTER_ALL;
    nic.nic_ns = 10 * S;
    nic.mono_ns = INT64_C(86400) * S;
    nic.offset_ns = INT64_C(1700000000) * S;
    tw_nic_clocks_init(clocks, false);
}

static bool converts(struct tw_nic_clocks *clocks, unsigned interface, int64_t nic_ns,
                     tw_wall *wall)
{
    const struct tw_reading reading = now();
    return tw_nic_clocks_wall(clocks, interface, nic_ns, &reading, wall);
}

/* A packet that passes now. */
static bool knows(struct tw_nic_clocks *clocks)
{
    tw_wall wall;
    return converts(clocks, 7, nic.nic_ns, &wall);
}

static void assert_right(struct tw_nic_clocks *clocks)
{
    tw_wall wall = {0};
    assert_true(converts(clocks, 7, nic.nic_ns, &wall));
    assert_int_equal(wall.ns, now().wall.ns);
}

static void pass(int64_t ns)
{
    nic.mono_ns += ns;
    nic.nic_ns += ns;
}

static void run(struct tw_nic_clocks *clocks, int64_t ns)
{
    for (; ns > 0; ns -= 10 * MS) {
        if (tw_mono_reached(tw_nic_clocks_deadline(clocks), now().mono))
            tw_nic_clocks_follow(clocks, now().mono);
        pass(10 * MS);
    }
}

static void interface_that_stamps_everything_is_followed(void **state)
{
    (void)state;
    struct tw_nic_clocks clocks;
    install(&clocks);
    assert_true(tw_mono_is_never(tw_nic_clocks_deadline(&clocks)));
    assert_false(knows(&clocks));
    run(&clocks, 2 * S);
    assert_int_equal(nic.reads, 8);
    assert_right(&clocks);
    assert_int_equal(nic.names, 1);
    assert_int_equal(nic.opened, 1);
    /* nobody followed for long: what is known is too old */
    pass(2 * S);
    assert_false(knows(&clocks));
    const int fd = clocks.clocks[0].fd;
    tw_nic_clocks_free(&clocks);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_true(tw_mono_is_never(tw_nic_clocks_deadline(&clocks)));
}

static const int64_t steps[] = {S, -S, 50 * MS, -50 * MS, 5 * MS, -5 * MS, 3600 * S, -3600 * S};
enum { STEPS = sizeof steps / sizeof steps[0] };

/* Before the next reading, and after it. */
static void step_of_the_wall_clock_is_followed_at_once(void **state)
{
    (void)state;
    struct tw_nic_clocks clocks;
    install(&clocks);
    (void)knows(&clocks);
    run(&clocks, 2 * S);
    for (size_t i = 0; i < STEPS; i++) {
        nic.offset_ns += steps[i];
        for (int j = 0; j < 100; j++) {
            assert_right(&clocks);
            run(&clocks, 10 * MS);
        }
    }
    tw_nic_clocks_free(&clocks);
}

/* Then, and only then, a reading is wrong. */
static void step_of_the_wall_clock_while_it_is_read_makes_nothing_wrong(void **state)
{
    (void)state;
    struct tw_nic_clocks clocks;
    install(&clocks);
    (void)knows(&clocks);
    for (size_t i = 0; i < STEPS; i++) {
        run(&clocks, 2 * S);
        assert_right(&clocks);
        nic.step_ns = steps[i];
        run(&clocks, 250 * MS);
        assert_int_equal(nic.step_ns, 0);
        assert_false(knows(&clocks));
        for (int j = 0; j < 100; j++) {
            if (knows(&clocks))
                assert_right(&clocks);
            run(&clocks, 10 * MS);
        }
    }
    tw_nic_clocks_free(&clocks);
}

static void interface_without_a_clock_of_use_is_asked_once_a_minute(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct tw_nic_clocks clocks;
        tw_wall wall;
        install(&clocks);
        nic.phc_index = i == 0 ? -1 : 3;
        nic.tx_type = i == 1 ? HWTSTAMP_TX_OFF : HWTSTAMP_TX_ON;
        nic.rx_filter = i == 2 ? HWTSTAMP_FILTER_PTP_V2_EVENT : HWTSTAMP_FILTER_ALL;
        nic.forbidden = i == 3;
        const unsigned interface = i == 4 ? 8 : 7;
        for (unsigned j = 0; j < 3 * 60; j++) {
            assert_false(converts(&clocks, interface, 1, &wall));
            assert_int_equal(nic.names, 1 + j / 60);
            pass(S);
        }
        assert_int_equal(nic.opened, 0);
        assert_true(tw_mono_is_never(tw_nic_clocks_deadline(&clocks)));
        tw_nic_clocks_free(&clocks);
    }
}

static void clock_that_goes_is_let_go_and_found_when_it_is_back(void **state)
{
    (void)state;
    struct tw_nic_clocks clocks;
    install(&clocks);
    (void)knows(&clocks);
    run(&clocks, 2 * S);
    const int fd = clocks.clocks[0].fd;
    nic.gone = true;
    run(&clocks, 2 * S);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_true(tw_mono_is_never(tw_nic_clocks_deadline(&clocks)));
    assert_false(knows(&clocks));
    nic.gone = false;
    nic.nic_ns = 0;
    run(&clocks, 56 * S);
    assert_false(knows(&clocks));
    assert_int_equal(nic.names, 2);
    run(&clocks, 2 * S);
    assert_right(&clocks);
    tw_nic_clocks_free(&clocks);
}

static void interfaces_beyond_the_bound_have_no_clock(void **state)
{
    (void)state;
    struct tw_nic_clocks clocks;
    tw_wall wall;
    install(&clocks);
    for (unsigned i = 0; i < 3 * TW_NIC_CLOCKS; i++)
        assert_false(converts(&clocks, 100 + i, 1, &wall));
    assert_int_equal(clocks.count, TW_NIC_CLOCKS);
    assert_int_equal(nic.names, TW_NIC_CLOCKS);
    tw_nic_clocks_free(&clocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interface_that_stamps_everything_is_followed),
        cmocka_unit_test(step_of_the_wall_clock_is_followed_at_once),
        cmocka_unit_test(step_of_the_wall_clock_while_it_is_read_makes_nothing_wrong),
        cmocka_unit_test(interface_without_a_clock_of_use_is_asked_once_a_minute),
        cmocka_unit_test(clock_that_goes_is_let_go_and_found_when_it_is_back),
        cmocka_unit_test(interfaces_beyond_the_bound_have_no_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
