/* What an interface at either end of a path carries, test packet by test packet: the truth that
 * samples are held against. For tests/bench/run and the net tests.
 *
 * usage: sniff INTERFACE PORT FILE [--at-sender]
 *
 * PORT is the reflector's. Prints `ready` when it looks; at SIGTERM, and a moment for what the
 * kernel still holds, it writes FILE and prints one line of JSON. A line of FILE is a packet, in
 * the order they passed, with a space between its fields; the first line names them. Instants are
 * nanoseconds since 1970: `at` is the kernel's (see capture.h), `t1` to `t3` what the packet says,
 * 0 where it says nothing. Unauthenticated test packets with NTP timestamps, since it has no
 * keys. */
#include "twamp-config.h"

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
#include "bench/notes.h"
#include "lib/sys/clock.h"
#include "lib/sys/socket.h"
#include "lib/wire.h"

enum {
    EXIT_USAGE = 2,
    MOST = 1 << 23,
    ROUND_MS = 20,
};

/* How long the kernel may hold a packet back, with room for a busy machine. */
#define HELD_NS (INT64_C(200) * TW_NS_PER_MS)

struct note {
    struct tw_address source, destination;
    tw_wall at, t1, t2, t3;
    uint32_t sequence;           /* the packet's own */
    uint32_t reflected_sequence; /* of the packet that it replies to */
    bool reply;
};

struct run {
    struct bench_capture capture;
    struct bench_notes notes;
    uint64_t bad; /* packets that are none of TWAMP-Test */
};

/* False if it is no test packet. */
static bool read_packet(const struct bench_packet *packet, struct note *note)
{
    const uint8_t *payload = packet->ip + packet->payload;
    const size_t length = packet->length - packet->payload;
    struct tw_test_packet sent;
    struct tw_test_reply reply;
    if (packet->reply) {
        if (tw_get_test_reply(payload, length, TW_MODE_UNAUTHENTICATED, &reply) != TW_OK)
            return false;
        note->sequence = reply.sequence;
        note->reflected_sequence = reply.sender_sequence;
        note->t1 = tw_wall_from_ntp(reply.sender_stamp.bits, packet->at);
        if (reply.receive != 0)
            note->t2 = tw_wall_from_ntp(reply.receive, packet->at);
        note->t3 = tw_wall_from_ntp(reply.stamp.bits, packet->at);
        return true;
    }
    if (tw_get_test_packet(payload, length, TW_MODE_UNAUTHENTICATED, &sent) != TW_OK)
        return false;
    note->sequence = sent.sequence;
    note->t1 = tw_wall_from_ntp(sent.stamp.bits, packet->at);
    return true;
}

static void take(void *context, const struct bench_packet *packet)
{
    struct run *run = context;
    struct note note = {
        .source = packet->source,
        .destination = packet->destination,
        .at = packet->at,
        .reply = packet->reply,
    };
    if (!read_packet(packet, &note)) {
        run->bad++;
        return;
    }
    struct note *place = bench_notes_next(&run->notes);
    if (place != NULL)
        *place = note;
}

static volatile sig_atomic_t told_to_end;

static void end(int number)
{
    (void)number;
    told_to_end = 1;
}

/* A signal that comes just before poll() is heeded a round later. */
static void look(struct run *run)
{
    struct pollfd readable = {.fd = run->capture.fd, .events = POLLIN};
    tw_mono until = TW_NEVER;
    while (!tw_mono_reached(until, tw_clock_mono())) {
        (void)poll(&readable, 1, ROUND_MS);
        bench_capture_read(&run->capture, take, run);
        if (told_to_end != 0 && tw_mono_is_never(until))
            until = tw_mono_after(tw_clock_mono(), HELD_NS);
    }
}

static bool write_notes(const struct bench_notes *notes, const char *path)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return bench_wrong(strerror(errno), path);
    fputs("kind source destination sequence reflected_sequence at t1 t2 t3\n", file);
    for (uint64_t i = 0; i < notes->count; i++) {
        const struct note *note = bench_notes_at(notes, i);
        char source[TW_ADDRESS_TEXT], destination[TW_ADDRESS_TEXT];
        fprintf(file,
                "%s %s %s %" PRIu32 " %" PRIu32 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64
                "\n",
                note->reply ? "reply" : "request", tw_address_format(&note->source, true, source),
                tw_address_format(&note->destination, true, destination), note->sequence,
                note->reflected_sequence, note->at.ns, note->t1.ns, note->t2.ns, note->t3.ns);
    }
    const bool good = ferror(file) == 0;
    return (fclose(file) == 0 && good) || bench_wrong("not written", path);
}

struct options {
    const char *interface, *path;
    struct bench_filter filter;
};

static bool parse(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"at-sender", no_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.filter = {.every = 1}};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option != 's')
            return false;
        options->filter.at_sender = true;
    }
    uint64_t port = 0;
    if (argc - optind != 3 || !bench_read_number(argv[optind + 1], 1, UINT16_MAX, &port))
        return false;
    options->interface = argv[optind];
    options->filter.port = (uint16_t)port;
    options->path = argv[optind + 2];
    return true;
}

static bool sniff(struct run *run, const struct options *options)
{
    if (!bench_notes_open(&run->notes, sizeof(struct note), MOST))
        return false;
    const int error = bench_capture_open(&run->capture, options->interface, &options->filter);
    if (error != 0)
        return bench_wrong(strerror(-error), options->interface);
    printf("ready\n");
    (void)fflush(stdout);
    look(run);
    const uint32_t drops = bench_capture_drops(&run->capture);
    bench_capture_close(&run->capture);
    printf("{\"packets\": %" PRIu64 ", \"bad\": %" PRIu64 ", \"dropped\": %" PRIu64 "}\n",
           run->notes.count, run->bad, drops + run->notes.refused);
    return write_notes(&run->notes, options->path);
}

int main(int argc, char **argv)
{
    struct options options;
    if (!parse(&options, argc, argv)) {
        (void)fputs("usage: sniff INTERFACE PORT FILE [--at-sender]\n", stderr);
        return EXIT_USAGE;
    }
    const struct sigaction action = {.sa_handler = end};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    static struct run run;
    const bool good = sniff(&run, &options);
    bench_notes_close(&run.notes);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
