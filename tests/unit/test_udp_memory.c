/* Receive buffers of test sockets on loopback: their size, and what the kernel counts when they are
 * full. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/sys/socket.h"
#include "lib/sys/udp.h"

enum { SENT = 64, MIB = 1024 * 1024 };

static struct tw_udp open_with(int receive_buffer)
{
    struct tw_udp udp;
    struct tw_udp_options options = {.receive_buffer = receive_buffer};
    assert_true(tw_address_parse("127.0.0.1", &options.bind));
    assert_int_equal(tw_udp_open(&udp, &options), 0);
    return udp;
}

static void send_large(const struct tw_udp *to, int count)
{
    static const uint8_t large[1000];
    struct sockaddr_storage name;
    const socklen_t length = tw_sockaddr_from_address(&to->local, &name);
    for (int i = 0; i < count; i++)
        assert_int_equal(
            sendto(to->fd, large, sizeof large, 0, (const struct sockaddr *)&name, length),
            sizeof large);
}

static int receive_all(const struct tw_udp *udp)
{
    uint8_t octets[2000];
    int received = 0;
    while (recv(udp->fd, octets, sizeof octets, MSG_DONTWAIT) > 0)
        received++;
    return received;
}

static uint32_t drops_of(const struct tw_udp *udp)
{
    uint32_t drops = 0;
    assert_int_equal(tw_udp_drops(udp->fd, &drops), 0);
    return drops;
}

static void drops_are_known_when_nothing_comes_any_more(void **state)
{
    (void)state;
    struct tw_udp udp = open_with(4096);
    assert_int_equal(drops_of(&udp), 0);
    send_large(&udp, SENT);
    const uint32_t first = drops_of(&udp);
    assert_true(first > 0);
    assert_int_equal(first + (uint32_t)receive_all(&udp), SENT);
    send_large(&udp, SENT);
    const uint32_t second = drops_of(&udp);
    assert_int_equal(second - first + (uint32_t)receive_all(&udp), SENT);
    tw_udp_close(&udp);
}

static void buffer_is_told_as_it_was_asked_for(void **state)
{
    (void)state;
    struct tw_udp udp = open_with(32768);
    assert_int_equal(tw_udp_buffer(udp.fd), 32768);
    tw_udp_close(&udp);
}

static void buffer_is_raised_and_never_made_smaller(void **state)
{
    (void)state;
    struct tw_udp udp = open_with(65536);
    tw_udp_raise_buffer(udp.fd, 32768);
    assert_int_equal(tw_udp_buffer(udp.fd), 65536);
    tw_udp_raise_buffer(udp.fd, 131072);
    assert_int_equal(tw_udp_buffer(udp.fd), 131072);
    tw_udp_close(&udp);
}

/* The thread's own, as far as it has it. */
static void use_net_admin(bool use)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{.effective = 0}};
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    const uint32_t bit = UINT32_C(1) << CAP_NET_ADMIN;
    data[0].effective =
        use ? data[0].effective | (data[0].permitted & bit) : data[0].effective & ~bit;
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

/* As systemd gives a socket with ReceiveBuffer= to a daemon that may not do the same. */
static void buffer_beyond_the_systems_limit_is_kept(void **state)
{
    (void)state;
    struct tw_udp udp = open_with(64 * MIB); /* without privileges that is the limit itself */
    const int before = tw_udp_buffer(udp.fd);
    use_net_admin(false);
    tw_udp_raise_buffer(udp.fd, 128 * MIB);
    use_net_admin(true);
    assert_true(before > 0);
    assert_int_equal(tw_udp_buffer(udp.fd), before);
    tw_udp_close(&udp);
}

static void closed_descriptor_is_an_error(void **state)
{
    (void)state;
    uint32_t drops = 0;
    assert_int_equal(tw_udp_drops(-1, &drops), -EBADF);
    assert_int_equal(tw_udp_buffer(-1), -EBADF);
    tw_udp_raise_buffer(-1, 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_are_known_when_nothing_comes_any_more),
        cmocka_unit_test(buffer_is_told_as_it_was_asked_for),
        cmocka_unit_test(buffer_is_raised_and_never_made_smaller),
        cmocka_unit_test(buffer_beyond_the_systems_limit_is_kept),
        cmocka_unit_test(closed_descriptor_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
