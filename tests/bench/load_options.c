/* The contract is in load_options.h. */
#include "twamp-config.h"

#include "bench/load_options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys/socket.h"
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

static bool wrong(const char *what, const char *value)
{
    fprintf(stderr, "load: %s: '%s'\n", what, value);
    return false;
}

static bool read_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    char *rest;
    errno = 0;
    *number = strtoull(text, &rest, 10);
    return (errno == 0 && rest != text && *rest == '\0' && text[0] != '-' && *number >= least &&
            *number <= most) ||
           wrong("not a number in its range", text);
}

static bool read_unsigned(const char *text, unsigned most, unsigned *number)
{
    uint64_t wide;
    if (!read_number(text, 1, most, &wide))
        return false;
    *number = (unsigned)wide;
    return true;
}

static bool read_seconds(const char *text, int64_t *ns)
{
    char *rest;
    const double seconds = strtod(text, &rest);
    if (rest == text || *rest != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 86400)
        return wrong("not a time in seconds", text);
    *ns = (int64_t)(seconds * (double)TW_NS_PER_S);
    return true;
}

/* "ADDRESS:PORT", "[ADDRESS]:PORT". */
static bool read_address(const char *text, struct tw_address *address)
{
    char host[TW_ADDRESS_TEXT];
    const char *colon = strrchr(text, ':');
    const bool in_brackets = text[0] == '[' && colon != NULL && colon > text && colon[-1] == ']';
    const char *from = in_brackets ? text + 1 : text;
    uint64_t port;
    if (colon == NULL || (size_t)(colon - from) >= sizeof host)
        return wrong("not ADDRESS:PORT", text);
    const size_t n = (size_t)(colon - from) - (in_brackets ? 1 : 0);
    memcpy(host, from, n);
    host[n] = '\0';
    if (!tw_address_parse(host, address) || (address->family == 6) != in_brackets)
        return wrong("not ADDRESS:PORT", text);
    if (!read_number(colon + 1, 1, UINT16_MAX, &port))
        return false;
    address->port = (uint16_t)port;
    return true;
}

static bool read_mode(const char *text, struct bench_load_options *options)
{
    static const struct {
        const char *name;
        uint32_t mode;
    } modes[] = {
        {"unauthenticated", TW_MODE_UNAUTHENTICATED},
        {"mixed", TW_MODE_MIXED},
        {"authenticated", TW_MODE_AUTHENTICATED},
        {"encrypted", TW_MODE_ENCRYPTED},
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, text) == 0) {
            options->mode = modes[i].mode;
            options->mode_name = modes[i].name;
            return true;
        }
    }
    return wrong("no such mode", text);
}

/* The first line of it. */
static bool read_secret(const char *path, struct bench_load_options *options)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return wrong(strerror(errno), path);
    const bool done = fgets(options->secret, sizeof options->secret, file) != NULL;
    (void)fclose(file);
    options->secret[strcspn(options->secret, "\r\n")] = '\0';
    return (done && options->secret[0] != '\0') || wrong("no secret in it", path);
}

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
        return read_mode(value, options);
    case 'k':
        options->keyid = value;
        return true;
    case 's':
        return read_secret(value, options);
    case 'c':
        return read_unsigned(value, 65536, &options->connections);
    case 'n':
        return read_unsigned(value, 65536, &options->sessions);
    case 'a':
        return read_address(value, &options->sender);
    case 'p':
        if (!read_unsigned(value, TW_UDP_PAYLOAD_MAX, &count))
            return false;
        options->payload = count;
        return true;
    case 'w':
        return read_unsigned(value, 65536, &options->window);
    case 'r':
        return read_number(value, 1, 10000000, &options->rate);
    case 'o':
        options->in_bursts = false;
        return true;
    case 't':
        return read_seconds(value, &options->duration_ns);
    case 'b':
        return read_seconds(value, &options->warm_up_ns);
    case 'i':
        if (!read_number(value, 1, INT32_MAX, &number))
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
        return wrong("either or", "--window, --rate");
    if (options->kind != BENCH_LOAD_UNKNOWN && options->window == 0 && options->rate == 0)
        return wrong("one is needed", "--window, --rate");
    if (options->kind == BENCH_LOAD_UNKNOWN && options->window > 0)
        return wrong("nothing comes back with --unknown", "--window");
    if (options->kind != BENCH_LOAD_SESSIONS && secured)
        return wrong("needs sessions", options->mode_name);
    if (secured && (options->keyid == NULL || options->secret[0] == '\0'))
        return wrong("needs --keyid and --secret-file", options->mode_name);
    if (options->sessions > 1 && options->sender.family == 0)
        return wrong("needs --sender", "--sessions");
    if (options->sender.family != 0 && options->sender.family != options->server.family)
        return wrong("not of the server's family", "--sender");
    if (options->duration_ns == 0)
        return wrong("too short", "--seconds");
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
    (void)read_mode("unauthenticated", options);
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
    if (!read_address(argv[optind], &options->server) || !are_complete(options))
        return false;
    if (options->rate > 0 || (options->window > 0 && options->window < LEAST_BURSTING))
        options->in_bursts = false; /* packets are to be apart */
    options->run = options->in_bursts && options->sessions > 1 ? RUN : 1;
    if (options->payload == 0)
        options->payload = tw_test_layout(options->mode).reflector_header;
    return true;
}
