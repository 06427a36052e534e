/* Measures how fast a TWAMP server sets up control connections and sessions, or holds many of them
 * open while others measure what they cost. For tests/bench/run, and by hand.
 *
 * Prints one line of JSON at its end; a fault is one line on stderr and exit status 1. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/arguments.h"
#include "bench/process.h"
#include "bench/sessions.h"

static const char usage[] =
    "usage: set_up (--total N | --hold) --connections C [--sessions N] [--sender ADDRESS:PORT]\n"
    "              [--mode unauthenticated|authenticated|encrypted|mixed --keyid ID\n"
    "              --secret-file FILE] [--pid SERVER] ADDRESS:PORT\n"
    "\n"
    "--total  so many times: connect, one session, start, stop, close; C at any time\n"
    "--hold   C connections with N sessions in all; prints `held` and waits for the end of stdin\n"
    "The first line of FILE is the secret. The server needs third_party = yes unless the sender's\n"
    "address is its own, and no limits.\n";

struct order {
    struct bench_plan plan;
    uint64_t total; /* 0: to hold */
    bool hold;
    pid_t pid; /* 0: none */
    char secret[512];
};

static bool take_option(int option, const char *text, struct order *order)
{
    const char *name;
    uint64_t number = 0;
    switch (option) {
    case 't':
        return bench_read_number(text, 1, UINT32_MAX, &order->total);
    case 'h':
        order->hold = true;
        return true;
    case 'c':
        return bench_read_unsigned(text, 1000000, &order->plan.connections);
    case 's':
        return bench_read_unsigned(text, 1000000, &order->plan.sessions);
    case 'p':
        if (!bench_read_number(text, 1, INT32_MAX, &number))
            return false;
        order->pid = (pid_t)number;
        return true;
    case 'a':
        return bench_read_address(text, &order->plan.sender);
    case 'm':
        return bench_read_mode(text, &order->plan.mode, &name);
    case 'k':
        order->plan.keyid = text;
        return true;
    case 'f':
        order->plan.secret = order->secret;
        return bench_read_secret(text, order->secret, sizeof order->secret);
    default:
        return false;
    }
}

static bool take_options(int argc, char **argv, struct order *order)
{
    static const struct option options[] = {
        {"total", required_argument, NULL, 't'},
        {"hold", no_argument, NULL, 'h'},
        {"connections", required_argument, NULL, 'c'},
        {"sessions", required_argument, NULL, 's'},
        {"sender", required_argument, NULL, 'a'},
        {"mode", required_argument, NULL, 'm'},
        {"keyid", required_argument, NULL, 'k'},
        {"secret-file", required_argument, NULL, 'f'},
        {"pid", required_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!take_option(option, optarg, order))
            return false;
    }
    struct bench_plan *plan = &order->plan;
    if (optind != argc - 1 || !bench_read_address(argv[optind], &plan->server) ||
        plan->connections == 0 || order->hold == (order->total != 0))
        return false;
    if (plan->sessions == 0)
        plan->sessions = plan->connections;
    if (plan->sender.family == 0) {
        plan->sender = plan->server;
        plan->sender.port = 20000;
    }
    return true;
}

static int measure_rate(const struct order *order)
{
    struct bench_rate rate;
    struct bench_process own[2], server[2];
    const pid_t pid = order->pid != 0 ? order->pid : getpid();
    if (!bench_process_read(getpid(), &own[0]) || !bench_process_read(pid, &server[0]) ||
        !bench_sessions_rate(&order->plan, order->total, &rate) ||
        !bench_process_read(getpid(), &own[1]) || !bench_process_read(pid, &server[1]))
        return EXIT_FAILURE;
    const double elapsed = (double)rate.elapsed_ns / 1e9;
    const double done = (double)rate.done;
    printf("{\"done\": %.0f, \"elapsed_s\": %.6f, \"per_s\": %.1f, "
           "\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f}, \"own_cpu_us_each\": %.2f",
           done, elapsed, done / elapsed, (double)rate.latency_p50_ns / 1e3,
           (double)rate.latency_p99_ns / 1e3, (double)(own[1].cpu_ns - own[0].cpu_ns) / done / 1e3);
    if (order->pid != 0)
        printf(", \"cpu_us_each\": %.2f",
               (double)(server[1].cpu_ns - server[0].cpu_ns) / done / 1e3);
    printf("}\n");
    return EXIT_SUCCESS;
}

static int hold(const struct order *order)
{
    struct bench_sessions *sessions = bench_sessions_open(&order->plan);
    if (sessions == NULL)
        return EXIT_FAILURE;
    printf("held\n");
    fflush(stdout);
    char rest[64];
    while (read(STDIN_FILENO, rest, sizeof(rest)) > 0)
        continue;
    printf("{\"connections\": %u, \"sessions\": %u}\n", order->plan.connections,
           bench_sessions_count(sessions));
    bench_sessions_close(sessions);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct order order = {.plan = {.mode = TW_MODE_UNAUTHENTICATED}};
    if (!take_options(argc, argv, &order)) {
        fputs(usage, stderr);
        return 2;
    }
    order.plan.padding = tw_test_default_padding(order.plan.mode);
    /* What lingered after its Stop-Sessions would be in the way of what is measured. */
    order.plan.timeout_ns = 0;
    return order.hold ? hold(&order) : measure_rate(&order);
}
