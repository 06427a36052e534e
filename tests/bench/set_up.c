/* Measures how fast a TWAMP server sets up control connections and sessions, or holds many of them
 * open while others measure what they cost. For tests/bench/run, and by hand.
 *
 * Prints one line of JSON at its end; a fault is one line on stderr and exit status 1. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/sessions.h"
#include "lib/sys/socket.h"

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
    unsigned long total; /* 0: to hold */
    bool hold;
    long pid; /* 0: none */
    char secret[512];
};

static bool take_number(const char *text, unsigned long max, unsigned long *number)
{
    char *end;
    *number = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && *number > 0 && *number <= max;
}

/* "192.0.2.1:862" or "[2001:db8::1]:862". */
static bool take_address(const char *text, struct tw_address *address)
{
    char host[TW_ADDRESS_TEXT];
    const char *colon = strrchr(text, ':');
    unsigned long port;
    if (colon == NULL || (size_t)(colon - text) >= sizeof(host) ||
        !take_number(colon + 1, UINT16_MAX, &port))
        return false;
    const bool bracketed = text[0] == '[' && colon[-1] == ']';
    const size_t length = (size_t)(colon - text) - (bracketed ? 2 : 0);
    memcpy(host, text + (bracketed ? 1 : 0), length);
    host[length] = '\0';
    if (!tw_address_parse(host, address))
        return false;
    address->port = (uint16_t)port;
    return true;
}

static bool take_mode(const char *text, uint32_t *mode)
{
    static const struct {
        const char *name;
        uint32_t mode;
    } modes[] = {
        {"unauthenticated", TW_MODE_UNAUTHENTICATED},
        {"authenticated", TW_MODE_AUTHENTICATED},
        {"encrypted", TW_MODE_ENCRYPTED},
        {"mixed", TW_MODE_MIXED},
    };
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(text, modes[i].name) != 0)
            continue;
        *mode = modes[i].mode;
        return true;
    }
    return false;
}

static bool take_secret(const char *path, struct order *order)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    const bool good = fgets(order->secret, sizeof(order->secret), file) != NULL;
    fclose(file);
    order->secret[strcspn(order->secret, "\n")] = '\0';
    order->plan.secret = order->secret;
    return good;
}

static bool take_option(int option, const char *text, struct order *order)
{
    unsigned long number = 0;
    bool good = true;
    switch (option) {
    case 't':
        return take_number(text, UINT32_MAX, &order->total);
    case 'h':
        order->hold = true;
        return true;
    case 'c':
        good = take_number(text, 1000000, &number);
        order->plan.connections = (unsigned)number;
        return good;
    case 's':
        good = take_number(text, 1000000, &number);
        order->plan.sessions = (unsigned)number;
        return good;
    case 'p':
        good = take_number(text, INT32_MAX, &number);
        order->pid = (long)number;
        return good;
    case 'a':
        return take_address(text, &order->plan.sender);
    case 'm':
        return take_mode(text, &order->plan.mode);
    case 'k':
        order->plan.keyid = text;
        return true;
    case 'f':
        return take_secret(text, order);
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
    if (optind != argc - 1 || !take_address(argv[optind], &plan->server) ||
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

/* Of all threads of a process; 0: this one. */
static double cpu_s(long pid)
{
    clockid_t clock;
    struct timespec at;
    if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &at) != 0)
        return -1;
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static int measure_rate(const struct order *order)
{
    struct bench_rate rate;
    const double before = cpu_s(order->pid);
    const double own_before = cpu_s(0);
    if (!bench_sessions_rate(&order->plan, order->total, &rate))
        return EXIT_FAILURE;
    const double elapsed = (double)rate.elapsed_ns / 1e9;
    const double done = (double)rate.done;
    printf("{\"done\": %.0f, \"elapsed_s\": %.6f, \"per_s\": %.1f, "
           "\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f}, \"own_cpu_us_each\": %.2f",
           done, elapsed, done / elapsed, (double)rate.latency_p50_ns / 1e3,
           (double)rate.latency_p99_ns / 1e3, (cpu_s(0) - own_before) / done * 1e6);
    if (order->pid != 0)
        printf(", \"cpu_us_each\": %.2f", (cpu_s(order->pid) - before) / done * 1e6);
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
