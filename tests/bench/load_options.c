/* The contract is in load_options.h. */
#include "twamp-config.h"

#include "bench/load_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "bench/arguments.h"
#include "lib/time.h"
#include "lib/wire.h"

enum {
    LEAST_BURSTING = 16, /* smallest window that has room for bursts */
    RUN = 4,             /* more would spare the server the search for the next session's memory */
};

static const char usage[] =
    "usage: load [--floor | --unknown] [OPTION...] ADDRESS:PORT\n"
    "  --mode M               unauthenticated, mixed, authenticated or encrypted\n"
    "  --keyid K --secret-file F\n"
    "  --connections C        control connections (1)\n"
    "  --sessions N           test sessions, or flows, in all (1)\n"
    "  --sender ADDRESS:PORT  of the first session; the others have the addresses that follow\n"
    "  --payload OCTETS       of UDP, in a packet (as many as a reply's header has)\n"
    "  --window W             at most W packets without reply at any time\n"
    "  --rate PPS             packets per second\n"
    "  --one-by-one           each packet leaves by itself, and sessions take turns after each "
    "one;\n"
    "                         otherwise, where a window has room for it, after every four\n"
    "  --seconds S            how long it is measured (5)\n"
    "  --warm-up S            before that (0.5)\n"
    "  --pid PID              of the server: what it costs\n";

static const struct option long_options[] = {
    {"floor", no_argument, NULL, 'f'},
    {"unknown", no_argument, NULL, 'u'},
    {"mode", required_argument, NULL, 'm'},
    {"keyid", required_argument, NULL, 'k'},
    {"secret-file", required_argument, NULL, 's'},
    {"connections", required_argument, NULL, 'c'},
    {"sessions", required_argument, NULL, 'n'},
    {"sender", required_argument, NULL, 'a'},
    {"payload", required_argument, NULL, 'p'},
    {"window", required_argument, NULL, 'w'},
    {"rate", required_argument, NULL, 'r'},
    {"one-by-one", no_argument, NULL, 'o'},
    {"seconds", required_argument, NULL, 't'},
    {"warm-up", required_argument, NULL, 'b'},
    {"pid", required_argument, NULL, 'i'},
    {NULL, 0, NULL, 0},
};

static bool take(struct bench_load_options *options, int option, const char *value)
{
    uint64_t number = 0;
    unsigned count;
    switch (option) {
    case 'f':
        options->kind = BENCH_LOAD_FLOOR;
        return true;
    case 'u':
        options->kind = BENCH_LOAD_UNKNOWN;
        return true;
    case 'm':
        return bench_read_mode(value, &options->mode, &options->mode_name);
    case 'k':
        options->keyid = value;
        return true;
    case 's':
        return bench_read_secret(value, options->secret, sizeof options->secret);
    case 'c':
        return bench_read_unsigned(value, 65536, &options->connections);
    case 'n':
        return bench_read_unsigned(value, 65536, &options->sessions);
    case 'a':
        return bench_read_address(value, &options->sender);
    case 'p':
        if (!bench_read_unsigned(value, TW_UDP_PAYLOAD_MAX, &count))
            return false;
        options->payload = count;
        return true;
    case 'w':
        return bench_read_unsigned(value, 65536, &options->window);
    case 'r':
        return bench_read_number(value, 1, 10000000, &options->rate);
    case 'o':
        options->in_bursts = false;
        return true;
    case 't':
        return bench_read_seconds(value, &options->duration_ns);
    case 'b':
        return bench_read_seconds(value, &options->warm_up_ns);
    case 'i':
        if (!bench_read_number(value, 1, INT32_MAX, &number))
            return false;
        options->pid = (pid_t)number;
        return true;
    default:
        return false; /* getopt has said why */
    }
}

/* What belongs together. */
static bool are_complete(const struct bench_load_options *options)
{
    const bool secured = options->mode != TW_MODE_UNAUTHENTICATED;
    if (options->window > 0 && options->rate > 0)
        return bench_wrong("either or", "--window, --rate");
    if (options->kind != BENCH_LOAD_UNKNOWN && options->window == 0 && options->rate == 0)
        return bench_wrong("one is needed", "--window, --rate");
    if (options->kind == BENCH_LOAD_UNKNOWN && options->window > 0)
        return bench_wrong("nothing comes back with --unknown", "--window");
    if (options->kind != BENCH_LOAD_SESSIONS && secured)
        return bench_wrong("needs sessions", options->mode_name);
    if (secured && (options->keyid == NULL || options->secret[0] == '\0'))
        return bench_wrong("needs --keyid and --secret-file", options->mode_name);
    if (options->sessions > 1 && options->sender.family == 0)
        return bench_wrong("needs --sender", "--sessions");
    if (options->sender.family != 0 && options->sender.family != options->server.family)
        return bench_wrong("not of the server's family", "--sender");
    if (options->duration_ns == 0)
        return bench_wrong("too short", "--seconds");
    return true;
}

bool bench_load_options_read(struct bench_load_options *options, int argc, char **argv)
{
    *options = (struct bench_load_options){
        .connections = 1,
        .sessions = 1,
        .in_bursts = true,
        .duration_ns = 5 * TW_NS_PER_S,
        .warm_up_ns = TW_NS_PER_S / 2,
    };
    (void)bench_read_mode("unauthenticated", &options->mode, &options->mode_name);
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (!take(options, option, optarg)) {
            fputs(usage, stderr);
            return false;
        }
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return false;
    }
    if (!bench_read_address(argv[optind], &options->server) || !are_complete(options))
        return false;
    if (options->rate > 0 || (options->window > 0 && options->window < LEAST_BURSTING))
        options->in_bursts = false; /* packets are to be apart */
    options->run = options->in_bursts && options->sessions > 1 ? RUN : 1;
    if (options->payload == 0)
        options->payload = tw_test_layout(options->mode).reflector_header;
    return true;
}
