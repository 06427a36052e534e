/* The contract is in measure_options.h. */
#include "twamp-config.h"

#include "bench/measure_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "bench/arguments.h"
#include "lib/sys/secrets.h"
#include "lib/sys/socket.h"
#include "lib/time.h"
#include "lib/wire.h"

static const char usage[] =
    "usage: measure [OPTION...] HOST...\n"
    "  --targets N            the address HOST and those that follow it, N in all\n"
    "  --intervals K          so many results of each target, then it ends; 0: at SIGTERM (1)\n"
    "  --interval S           (10)\n"
    "  --count N              packets of a session (10)\n"
    "  --packet-interval S    (0.1)\n"
    "  --wait S               how long a reply may take (1)\n"
    "  --port P               of control (862)\n"
    "  --receiver-port P      that is asked for; 0: the sender's own (0)\n"
    "  --source ADDRESS       of test packets and control\n"
    "  --dscp D               (0)\n"
    "  --stateful             the reflector counts its own replies\n"
    "  --mode M               unauthenticated, mixed, authenticated or encrypted\n"
    "  --keyid K --secret-file F\n"
    "  --samples FILE         every reply goes there\n"
    "  --measurements FILE    every result goes there\n";

enum { MOST_PACKETS = 1 << 20, MOST_TARGETS = 100000 };

static const struct option long_options[] = {
    {"targets", required_argument, NULL, 'n'},
    {"intervals", required_argument, NULL, 'e'},
    {"interval", required_argument, NULL, 'i'},
    {"count", required_argument, NULL, 'c'},
    {"packet-interval", required_argument, NULL, 'g'},
    {"wait", required_argument, NULL, 'w'},
    {"port", required_argument, NULL, 'p'},
    {"receiver-port", required_argument, NULL, 'r'},
    {"source", required_argument, NULL, 'a'},
    {"dscp", required_argument, NULL, 'd'},
    {"stateful", no_argument, NULL, 't'},
    {"mode", required_argument, NULL, 'm'},
    {"keyid", required_argument, NULL, 'k'},
    {"secret-file", required_argument, NULL, 's'},
    {"samples", required_argument, NULL, 'o'},
    {"measurements", required_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

static bool read_limited(const char *text, uint64_t most, uint64_t *number)
{
    return bench_read_number(text, 0, most, number);
}

static bool read_port(const char *text, uint64_t least, uint16_t *port)
{
    uint64_t number = 0;
    const bool good = bench_read_number(text, least, UINT16_MAX, &number);
    *port = (uint16_t)number;
    return good;
}

/* What is about the sessions. */
static bool take_session_option(struct bench_measure_options *options, int option,
                                const char *value)
{
    struct tw_probe_config *probe = &options->target.probe;
    uint64_t number = 0;
    const char *name;
    switch (option) {
    case 'i':
        return bench_read_seconds(value, &probe->interval_ns);
    case 'c':
        return bench_read_unsigned(value, MOST_PACKETS, &probe->count);
    case 'g':
        return bench_read_seconds(value, &probe->packet_interval_ns);
    case 'w':
        return bench_read_seconds(value, &probe->sender.wait_ns);
    case 'p':
        return read_port(value, 1, &probe->control_port);
    case 'r':
        return read_port(value, 0, &probe->receiver_port);
    case 'd':
        if (!read_limited(value, 63, &number))
            return false;
        probe->dscp = (uint8_t)number;
        return true;
    case 't':
        probe->stateful = true;
        return true;
    case 'm':
        return bench_read_mode(value, &probe->client.mode, &name);
    case 'k':
        return tw_secrets_keyid(value, probe->client.keyid) || bench_wrong("no KeyID", value);
    default:
        return false; /* getopt has said why */
    }
}

static bool take(struct bench_measure_options *options, int option, const char *value)
{
    uint64_t number = 0;
    switch (option) {
    case 'n':
        return bench_read_unsigned(value, MOST_TARGETS, &options->targets);
    case 'e':
        if (!read_limited(value, UINT32_MAX, &number))
            return false;
        options->intervals = (unsigned)number;
        return true;
    case 'a':
        return tw_address_parse(value, &options->target.source) ||
               bench_wrong("not an address", value);
    case 's':
        return bench_read_secret(value, options->secret, sizeof options->secret);
    case 'o':
        options->samples = value;
        return true;
    case 'j':
        options->measurements = value;
        return true;
    default:
        return take_session_option(options, option, value);
    }
}

/* What belongs together; and what follows. */
static bool complete(struct bench_measure_options *options)
{
    struct tw_engine_target *target = &options->target;
    const bool secured = target->probe.client.mode != TW_MODE_UNAUTHENTICATED;
    const bool has_keyid = target->probe.client.keyid[0] != 0;
    if (secured && (!has_keyid || options->secret[0] == '\0'))
        return bench_wrong("needs --keyid and --secret-file", "--mode");
    if (options->targets == 0)
        options->targets = options->host_count;
    else if (options->host_count != 1 || !tw_address_parse(options->hosts[0], &options->first))
        return bench_wrong("needs one address", "--targets");
    if (secured) {
        target->passphrase = (const uint8_t *)options->secret;
        target->passphrase_size = strlen(options->secret);
    }
    target->family = target->source.family;
    /* Reflectors that know whole seconds only must not read 0. */
    const int64_t wait_ns = target->probe.sender.wait_ns;
    target->probe.timeout_ns = (wait_ns / TW_NS_PER_S + 1) * TW_NS_PER_S;
    return true;
}

bool bench_measure_options_read(struct bench_measure_options *options, int argc, char **argv)
{
    *options = (struct bench_measure_options){
        .intervals = 1,
        .target.probe =
            {
                .interval_ns = 10 * TW_NS_PER_S,
                .count = 10,
                .packet_interval_ns = TW_NS_PER_S / 10,
                .connect_ns = 2 * TW_NS_PER_S,
                .resolve_ns = 300 * TW_NS_PER_S,
                .control_port = 862,
                .client = {.mode = TW_MODE_UNAUTHENTICATED, .step_ns = 2 * TW_NS_PER_S},
                .sender = {.padding_length = TW_PROBE_PADDING_EQUAL, .wait_ns = TW_NS_PER_S},
            },
    };
    bool good = true;
    int option;
    while (good && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        good = take(options, option, optarg);
    if (!good || optind == argc) {
        fputs(usage, stderr);
        return false;
    }
    options->hosts = argv + optind;
    options->host_count = (unsigned)(argc - optind);
    return complete(options);
}
