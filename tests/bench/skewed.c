/* A TWAMP server whose clock is wrong: the peer of the unit tests with an offset on all its
 * timestamps, T2 the kernel's as anywhere. For net tests that know by captures what is true.
 *
 * usage: skewed ADDRESS:PORT TEST_PORT ahead|behind SECONDS
 *
 * Prints `ready`, and one line of JSON at its end, which is SIGTERM. */
#include "twamp-config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/arguments.h"
#include "lib/sys/socket.h"
#include "unit/loopback_peer.h"

enum { EXIT_USAGE = 2 };

struct options {
    struct tw_address control;
    uint16_t test_port;
    int64_t offset_ns;
};

static bool parse(struct options *options, int argc, char **argv)
{
    uint64_t port = 0;
    if (argc != 5 || !bench_read_address(argv[1], &options->control) ||
        !bench_read_number(argv[2], 1, UINT16_MAX, &port) ||
        !bench_read_seconds(argv[4], &options->offset_ns))
        return false;
    options->test_port = (uint16_t)port;
    if (strcmp(argv[3], "behind") == 0)
        options->offset_ns = -options->offset_ns;
    else if (strcmp(argv[3], "ahead") != 0)
        return bench_wrong("neither ahead nor behind", argv[3]);
    return true;
}

int main(int argc, char **argv)
{
    struct options options;
    if (!parse(&options, argc, argv)) {
        (void)fputs("usage: skewed ADDRESS:PORT TEST_PORT ahead|behind SECONDS\n", stderr);
        return EXIT_USAGE;
    }
    /* Blocked in the peer's thread, too: it is taken here alone. */
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &ends, NULL);

    static struct loopback_peer peer;
    char host[TW_ADDRESS_TEXT];
    if (!loopback_peer_start_at(&peer, tw_address_format(&options.control, false, host),
                                options.control.port, options.test_port)) {
        (void)bench_wrong("cannot listen", argv[1]);
        return EXIT_FAILURE;
    }
    atomic_store(&peer.clock_offset_ns, options.offset_ns);
    printf("ready\n");
    (void)fflush(stdout);
    int number;
    (void)sigwait(&ends, &number);
    loopback_peer_stop(&peer);
    printf("{\"sessions\": %u, \"reflected\": %u}\n", atomic_load(&peer.sessions),
           atomic_load(&peer.reflected));
    return EXIT_SUCCESS;
}
