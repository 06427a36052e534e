/* Sends test packets to a reflector as fast as it answers, or at a rate; says what came back,
 * whether all of that was right, and what it cost the reflector.
 *
 * For tests/bench/run. Its parts: load_options (the command line), sessions (TWAMP-Control),
 * packets (what is sent), traffic (the hot loop), tally (what came back), process (what the server
 * costs).
 *
 * usage: see load_options.c. Prints one line of JSON. Exit status 1: a reply was wrong, none came,
 * or it could not be measured; 2: the command line is wrong. Packets that were lost are no failure.
 */
#include "twamp-config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/arguments.h"
#include "bench/load_options.h"
#include "bench/packets.h"
#include "bench/process.h"
#include "bench/sessions.h"
#include "bench/tally.h"
#include "bench/traffic.h"
#include "lib/histogram.h"
#include "lib/sys/clock.h"
#include "lib/sys/socket.h"

/* After the last packet: longer than one is waited for, so that every packet's fate is known. */
#define LINGER_NS (BENCH_TRAFFIC_PATIENCE_NS + 50 * TW_NS_PER_MS)

/* More than a machine of today can send in a second through one socket. */
#define FASTEST UINT64_C(2000000)

struct run {
    struct bench_load_options options;
    struct bench_sessions *sessions; /* NULL: none were asked for */
    struct bench_flow *flows;
    struct bench_packets packets;
    struct bench_tally tally;
    struct bench_socket *socket;
    struct bench_traffic traffic;
};

struct result {
    struct bench_traffic_counts counts;
    uint64_t arrived; /* within the time measured, as is what follows */
    int64_t elapsed_ns, idle_ns;
    struct bench_process before, after;
    uint64_t wrong[BENCH_FAULT_COUNT];
    struct tw_histogram rtt;
    int64_t rtt_max_ns;
};

/* The address that packets to the server leave from, and a port that is free. */
static bool find_sender(const struct tw_address *server, struct tw_address *sender)
{
    struct sockaddr_storage name;
    const socklen_t length = tw_sockaddr_from_address(server, &name);
    const int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool found = fd >= 0 && connect(fd, (const struct sockaddr *)&name, length) == 0 &&
                       tw_socket_local(fd, sender) == 0;
    if (!found)
        fprintf(stderr, "no way to the server: %s\n", strerror(errno));
    if (fd >= 0)
        close(fd);
    return found;
}

static bool open_sessions(struct run *run, uint32_t *modes)
{
    const struct bench_load_options *options = &run->options;
    const struct bench_plan plan = {
        .server = options->server,
        .mode = options->mode,
        .keyid = options->keyid,
        .secret = options->secret,
        .connections = options->connections,
        .sessions = options->sessions,
        .padding = (uint32_t)(options->payload - tw_test_layout(options->mode).sender_header),
        .sender = options->sender,
        .timeout_ns = TW_NS_PER_S,
    };
    run->sessions = bench_sessions_open(&plan);
    if (run->sessions == NULL)
        return false;
    for (unsigned i = 0; i < options->sessions; i++) {
        struct bench_session *session = bench_sessions_at(run->sessions, i);
        run->flows[i] = (struct bench_flow){
            .local = session->local,
            .remote = session->remote,
            .protection = session->is_protected ? &session->protection : NULL,
        };
        *modes = session->modes;
    }
    return true;
}

static bool open_run(struct run *run)
{
    struct bench_load_options *options = &run->options;
    uint32_t modes = options->mode;
    if (options->payload < tw_test_layout(modes).sender_header) {
        fputs("--payload is less than a packet's header\n", stderr);
        return false;
    }
    run->flows = calloc(options->sessions, sizeof *run->flows);
    if (run->flows == NULL)
        return false;
    if (options->sender.family == 0 && !find_sender(&options->server, &options->sender))
        return false;
    if (options->kind == BENCH_LOAD_SESSIONS && !open_sessions(run, &modes))
        return false;
    for (unsigned i = 0; options->kind != BENCH_LOAD_SESSIONS && i < options->sessions; i++)
        run->flows[i] = (struct bench_flow){.local = bench_address_after(options->sender, i),
                                            .remote = options->server};
    const uint64_t rate = options->rate > 0 ? options->rate : FASTEST;
    const uint64_t seconds =
        (uint64_t)(options->duration_ns + options->warm_up_ns) / TW_NS_PER_S + 2;
    if (!bench_packets_init(&run->packets, modes, options->payload, run->flows, options->sessions,
                            options->run, options->kind == BENCH_LOAD_FLOOR) ||
        !bench_tally_init(&run->tally, run->packets.reply_size, rate * seconds))
        return false;
    run->socket = bench_socket_open(&run->packets, options->in_bursts);
    return run->socket != NULL && bench_traffic_init(&run->traffic, &run->packets, run->socket,
                                                     &run->tally, options->window, options->rate);
}

static void close_run(struct run *run)
{
    if (run->sessions != NULL)
        bench_sessions_close(run->sessions);
    bench_traffic_free(&run->traffic);
    if (run->socket != NULL)
        bench_socket_close(run->socket);
    bench_packets_free(&run->packets);
    bench_tally_free(&run->tally);
    free(run->flows);
}

static bool read_process(const struct run *run, struct bench_process *process)
{
    return run->options.pid == 0 || bench_process_read(run->options.pid, process);
}

static bool measure(struct run *run, struct result *result)
{
    struct bench_traffic *traffic = &run->traffic;
    if (!bench_traffic_run(traffic, run->options.warm_up_ns, true))
        return false;
    bench_traffic_count_from_here(traffic);
    if (!read_process(run, &result->before))
        return false;
    const tw_mono began = tw_clock_mono();
    if (!bench_traffic_run(traffic, run->options.duration_ns, true))
        return false;
    result->elapsed_ns = tw_clock_mono().ns - began.ns;
    result->arrived = traffic->counts.arrived;
    result->idle_ns = traffic->counts.idle_ns;
    if (!read_process(run, &result->after) || !bench_traffic_run(traffic, LINGER_NS, false))
        return false;
    result->counts = traffic->counts;
    if (run->tally.count == run->tally.room)
        fputs("ended early: no more room for replies\n", stderr);
    const uint32_t drops = bench_socket_drops(run->socket);
    if (drops > 0)
        fprintf(stderr, "%" PRIu32 " replies found no room in our own socket\n", drops);
    return drops == 0;
}

static bool judge(const struct run *run, struct result *result)
{
    const unsigned unknown = 1U << BENCH_FAULT_STRANGER | 1U << BENCH_FAULT_LENGTH |
                             1U << BENCH_FAULT_UNASKED | 1U << BENCH_FAULT_DUPLICATE;
    const uint64_t first = run->traffic.first;
    tw_histogram_init(&result->rtt);
    for (uint64_t i = 0; i < run->tally.count; i++) {
        const struct bench_reply *reply = bench_tally_at(&run->tally, i);
        const int64_t rtt_ns = reply->arrived_ns - reply->sent_ns;
        if ((reply->faults & unknown) != 0 || reply->number < first || rtt_ns < 0)
            continue;
        tw_histogram_add(&result->rtt, (uint64_t)rtt_ns);
        if (rtt_ns > result->rtt_max_ns)
            result->rtt_max_ns = rtt_ns;
    }
    return bench_tally_judge(&run->tally, &run->packets, result->wrong);
}

static double us(uint64_t ns)
{
    return (double)ns / (double)TW_NS_PER_US;
}

static double per(int64_t ns, uint64_t n)
{
    return n > 0 ? (double)ns / (double)n : 0;
}

static uint64_t print_wrong(const uint64_t counts[BENCH_FAULT_COUNT])
{
    uint64_t sum = 0;
    printf("\"wrong\": {");
    for (unsigned fault = 0; fault < BENCH_FAULT_COUNT; fault++) {
        printf("%s\"%s\": %" PRIu64, fault > 0 ? ", " : "", bench_fault_name(fault), counts[fault]);
        sum += counts[fault];
    }
    printf("}, ");
    return sum;
}

static void print_process(const struct result *result)
{
    const int64_t cpu_ns = result->after.cpu_ns - result->before.cpu_ns;
    printf("\"cpu_s\": %.6f, \"cpu_share\": %.4f, \"cpu_ns_per_reply\": %.1f, "
           "\"cpu_ns_per_sent\": %.1f, \"rss_kb\": %" PRIu64 ", \"voluntary_switches\": %" PRIu64
           ", ",
           (double)cpu_ns / (double)TW_NS_PER_S, (double)cpu_ns / (double)result->elapsed_ns,
           per(cpu_ns, result->arrived), per(cpu_ns, result->counts.sent), result->after.rss_kb,
           result->after.voluntary_switches - result->before.voluntary_switches);
}

/* Whether all is well. */
static bool print(const struct run *run, const struct result *result)
{
    static const char *const kinds[] = {
        [BENCH_LOAD_SESSIONS] = "sessions",
        [BENCH_LOAD_FLOOR] = "floor",
        [BENCH_LOAD_UNKNOWN] = "unknown",
    };
    const struct bench_load_options *options = &run->options;
    const struct bench_traffic_counts *counts = &result->counts;
    const bool is_unknown = options->kind == BENCH_LOAD_UNKNOWN;
    printf("{\"program\": \"load\", \"kind\": \"%s\", \"mode\": \"%s\", \"sessions\": %u, "
           "\"payload\": %zu, \"window\": %" PRIu32 ", \"rate\": %" PRIu64 ", \"in_bursts\": %s, ",
           kinds[options->kind], options->mode_name, options->sessions, options->payload,
           options->window, options->rate,
           bench_socket_is_bursting(run->socket) ? "true" : "false");
    printf("\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"lost\": %" PRIu64
           ", \"late\": %" PRIu64 ", \"skipped\": %" PRIu64 ", \"refused\": %" PRIu64 ", ",
           counts->sent, counts->sent - counts->lost, counts->lost, counts->late, counts->skipped,
           counts->refused);
    const uint64_t wrong = print_wrong(result->wrong);
    if (options->pid != 0)
        print_process(result);
    printf("\"elapsed_s\": %.6f, \"own_idle_share\": %.4f, \"replies_per_s\": %.1f, \"stamps\": "
           "\"user\", "
           "\"rtt_us\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}}\n",
           (double)result->elapsed_ns / (double)TW_NS_PER_S,
           (double)result->idle_ns / (double)result->elapsed_ns,
           per((int64_t)result->arrived * TW_NS_PER_S, (uint64_t)result->elapsed_ns),
           us(tw_histogram_percentile(&result->rtt, 50)),
           us(tw_histogram_percentile(&result->rtt, 99)), us((uint64_t)result->rtt_max_ns));
    if (is_unknown && run->tally.count > 0)
        fputs("a packet of no session was answered\n", stderr);
    if (!is_unknown && result->rtt.total == 0)
        fputs("no reply came\n", stderr);
    if (wrong > 0)
        fputs("replies are wrong\n", stderr);
    return wrong == 0 && (is_unknown ? run->tally.count == 0 : result->rtt.total > 0);
}

int main(int argc, char **argv)
{
    static struct run run;
    static struct result result;
    if (!bench_load_options_read(&run.options, argc, argv))
        return 2;
    const bool done =
        open_run(&run) && measure(&run, &result) && judge(&run, &result) && print(&run, &result);
    close_run(&run);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
