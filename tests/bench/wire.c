/* What an interface at the reflector's end carries: how long after a request its reply leaves, and
 * how long after T3. For tests/bench/run, which asks what the reflector itself cannot know.
 *
 * usage: wire INTERFACE PORT --seconds S [--every N] [--peer ADDRESS[/BITS]]
 *
 * PORT is the reflector's; --every and --peer pass only a part of the packets, see bench_filter in
 * capture.h. Requests and replies are paired by addresses, ports and (Sender) Sequence Number.
 * Prints `ready` when it looks, and one line of JSON at the end: after S seconds, or at SIGTERM,
 * and a while for late replies. Unauthenticated test packets only, since it has no keys. */
#include "twamp-config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/arguments.h"
#include "bench/capture.h"
#include "lib/histogram.h"
#include "lib/sys/clock.h"
#include "lib/wire.h"

#define LATE_NS (INT64_C(200) * TW_NS_PER_MS) /* how long a last reply is waited for */

enum {
    EXIT_USAGE = 2,
    SETS = 1 << 14,
    SET_SIZE = 8,
    VALUES_MAX = 1 << 22,
};

struct request {
    struct tw_address remote, local;
    uint32_t sequence;
    bool waits; /* for its reply */
    tw_wall came;
};

struct series {
    size_t count;
    int64_t values_ns[VALUES_MAX]; /* what comes after is left out */
};

struct findings {
    struct request table[SETS][SET_SIZE]; /* sets by hash */
    uint64_t requests, replies, unanswered;
    uint64_t strange;   /* replies to nothing that was seen */
    uint64_t forgotten; /* requests for which there was no room, among the unanswered */
    struct series reply_delay, departure;
    tw_wall until; /* what comes later is not looked at, but for replies to what came before */
};

static void add(struct series *series, int64_t value_ns)
{
    if (series->count < VALUES_MAX)
        series->values_ns[series->count++] = value_ns;
}

static bool same_packet(const struct request *a, const struct request *b)
{
    return a->sequence == b->sequence && tw_address_equal(&a->remote, &b->remote) &&
           tw_address_equal(&a->local, &b->local);
}

static struct request *set_of(struct findings *findings, const struct request *wanted)
{
    const uint32_t spread = UINT32_C(0x9e3779b1); /* consecutive numbers fall far apart */
    return findings->table[tw_address_hash(&wanted->remote, wanted->sequence * spread) % SETS];
}

/* A request of which another copy comes is not waited for any longer, nor the oldest one where
 * there is no room. */
static void note_request(struct findings *findings, const struct request *request)
{
    struct request *set = set_of(findings, request);
    struct request *place = &set[0];
    for (unsigned i = 0; i < SET_SIZE; i++) {
        if (!set[i].waits || same_packet(&set[i], request)) {
            place = &set[i];
            break;
        }
        if (set[i].came.ns < place->came.ns)
            place = &set[i];
    }
    if (place->waits && !same_packet(place, request))
        findings->forgotten++;
    *place = *request;
    findings->requests++;
    findings->unanswered++;
}

static void note_reply(struct findings *findings, const struct request *wanted, tw_wall left,
                       struct tw_stamp t3)
{
    struct request *set = set_of(findings, wanted);
    for (unsigned i = 0; i < SET_SIZE; i++) {
        if (!set[i].waits || !same_packet(&set[i], wanted))
            continue;
        set[i].waits = false;
        findings->replies++;
        findings->unanswered--;
        add(&findings->reply_delay, left.ns - set[i].came.ns);
        add(&findings->departure, left.ns - tw_wall_from_ntp(t3.bits, left).ns);
        return;
    }
    if (left.ns <= findings->until.ns) {
        findings->replies++;
        findings->strange++;
    }
}

static void take(void *context, const struct bench_packet *packet)
{
    struct findings *findings = context;
    const uint8_t *payload = packet->ip + packet->payload;
    const size_t length = packet->length - packet->payload;
    struct request request = {
        .remote = packet->reply ? packet->destination : packet->source,
        .local = packet->reply ? packet->source : packet->destination,
        .waits = true,
        .came = packet->at,
    };
    struct tw_test_packet sent;
    struct tw_test_reply reply;
    if (packet->reply) {
        if (tw_get_test_reply(payload, length, TW_MODE_UNAUTHENTICATED, &reply) != TW_OK)
            return;
        request.sequence = reply.sender_sequence;
        note_reply(findings, &request, packet->at, reply.stamp);
    } else if (packet->at.ns <= findings->until.ns &&
               tw_get_test_packet(payload, length, TW_MODE_UNAUTHENTICATED, &sent) == TW_OK) {
        request.sequence = sent.sequence;
        note_request(findings, &request);
    }
}

static volatile sig_atomic_t told_to_end;

static void end(int number)
{
    (void)number;
    told_to_end = 1;
}

/* Until then, or a signal where it is heeded; one that comes just before poll() is heeded a round
 * later. */
static void look(struct findings *findings, struct bench_capture *capture, tw_mono until,
                 bool heeds)
{
    enum { ROUND_MS = 20 };
    struct pollfd readable = {.fd = capture->fd, .events = POLLIN};
    while (!tw_mono_reached(until, tw_clock_mono()) && !(heeds && told_to_end != 0)) {
        (void)poll(&readable, 1, ROUND_MS);
        bench_capture_read(capture, take, findings);
    }
}

static int compare(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static double percentile_us(const struct series *series, double percent)
{
    const uint64_t rank = tw_histogram_rank(percent, series->count);
    return (double)series->values_ns[rank - 1] / (double)TW_NS_PER_US;
}

static void print_series(const char *name, struct series *series)
{
    if (series->count == 0) {
        printf(", \"%s\": null", name);
        return;
    }
    qsort(series->values_ns, series->count, sizeof series->values_ns[0], compare);
    printf(", \"%s\": {\"min\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}", name,
           (double)series->values_ns[0] / (double)TW_NS_PER_US, percentile_us(series, 50),
           percentile_us(series, 99), percentile_us(series, 100));
}

static void print(struct findings *findings, uint32_t drops)
{
    printf("{\"requests\": %" PRIu64 ", \"replies\": %" PRIu64 ", \"unanswered\": %" PRIu64
           ", \"strange\": %" PRIu64 ", \"forgotten\": %" PRIu64 ", \"dropped\": %" PRIu32,
           findings->requests, findings->replies, findings->unanswered, findings->strange,
           findings->forgotten, drops);
    print_series("reply_delay_us", &findings->reply_delay);
    print_series("stamp_to_departure_us", &findings->departure);
    printf("}\n");
}

static void capture_and_print(struct findings *findings, struct bench_capture *capture,
                              int64_t duration_ns)
{
    struct tw_clock clock;
    tw_clock_init(&clock, 0);
    findings->until.ns = INT64_MAX;
    printf("ready\n");
    (void)fflush(stdout);
    look(findings, capture, tw_mono_after(tw_clock_mono(), duration_ns), true);
    findings->until = tw_clock_read(&clock).wall;
    look(findings, capture, tw_mono_after(tw_clock_mono(), LATE_NS), false);
    print(findings, bench_capture_drops(capture));
}

struct options {
    const char *interface;
    struct bench_filter filter;
    int64_t duration_ns;
};

static bool parse_every(const char *text, uint32_t *every)
{
    uint64_t value;
    if (!bench_read_number(text, 1, UINT64_C(1) << 31, &value) || (value & (value - 1)) != 0)
        return false;
    *every = (uint32_t)value;
    return true;
}

static bool parse_peer(const char *text, struct bench_filter *filter)
{
    char address[INET6_ADDRSTRLEN];
    const size_t length = strcspn(text, "/");
    if (length >= sizeof address)
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    const bool ip6 = strchr(address, ':') != NULL;
    filter->peer = (struct tw_address){.family = ip6 ? 6 : 4};
    uint64_t bits = ip6 ? 128 : 32;
    if (inet_pton(ip6 ? AF_INET6 : AF_INET, address, filter->peer.octets) != 1 ||
        (text[length] == '/' && !bench_read_number(text + length + 1, 0, bits, &bits)))
        return false;
    filter->peer_bits = (unsigned)bits;
    return true;
}

static bool parse(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"seconds", required_argument, NULL, 's'},
        {"every", required_argument, NULL, 'e'},
        {"peer", required_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.filter = {.every = 1}};
    bool good = true;
    int option;
    while (good && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 's':
            good = bench_read_seconds(optarg, &options->duration_ns);
            break;
        case 'e':
            good = parse_every(optarg, &options->filter.every);
            break;
        case 'p':
            good = parse_peer(optarg, &options->filter);
            break;
        default:
            good = false;
        }
    }
    uint64_t port = 0;
    if (!good || argc - optind != 2 || options->duration_ns == 0 ||
        !bench_read_number(argv[optind + 1], 1, UINT16_MAX, &port))
        return false;
    options->interface = argv[optind];
    options->filter.port = (uint16_t)port;
    return true;
}

int main(int argc, char **argv)
{
    struct options options;
    if (!parse(&options, argc, argv)) {
        (void)fputs("usage: wire INTERFACE PORT --seconds S [--every N, a power of two] "
                    "[--peer ADDRESS[/BITS]]\n",
                    stderr);
        return EXIT_USAGE;
    }
    const struct sigaction action = {.sa_handler = end};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);

    static struct findings findings;
    struct bench_capture capture;
    const int error = bench_capture_open(&capture, options.interface, &options.filter);
    if (error != 0) {
        (void)fprintf(stderr, "wire: cannot look at %s: %s\n", options.interface, strerror(-error));
        return EXIT_FAILURE;
    }
    capture_and_print(&findings, &capture, options.duration_ns);
    bench_capture_close(&capture);
    return EXIT_SUCCESS;
}
