/* The engine of the plugin without collectd: measures targets, and says of each reply and of each
 * interval what the engine said. For tests/bench/run and the net tests, which hold that against
 * captures of what passed, and against what it cost.
 *
 * The engine runs on this program's only thread of its own. While it does, nothing is printed:
 * what is wanted (--samples, --measurements) is noted, and goes to its file at the end, that is
 * after K results of each target or at SIGTERM. What a target says beyond its K results is left
 * out. The last thing is one line of JSON on stdout; a fault is one line on stderr and exit
 * status 1. The formats are in measure_notes.h. */
#include "twamp-config.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/arguments.h"
#include "bench/measure_notes.h"
#include "bench/measure_options.h"
#include "bench/process.h"
#include "lib/sys/clock.h"
#include "lib/sys/engine.h"
#include "lib/sys/socket.h"

enum { EXIT_USAGE = 2 };

struct run;

struct target {
    struct run *run;
    uint32_t number;
    uint32_t results;
};

struct run {
    struct bench_measure_options options;
    struct tw_engine *engine;
    struct target *targets;
    unsigned done; /* targets with all their results */
    struct bench_notes samples, measurements;
    struct bench_measure_sums sums;
};

/* For the signal handler: tw_engine_stop is a write to a descriptor. */
static struct tw_engine *running;

static void end(int number)
{
    const int error = errno;
    (void)number;
    tw_engine_stop(running);
    errno = error;
}

static bool is_done(const struct target *target)
{
    const unsigned wanted = target->run->options.intervals;
    return wanted != 0 && target->results >= wanted;
}

static void take_sample(void *user, void *target_user, const struct tw_sample *sample)
{
    struct run *run = user;
    const struct target *target = target_user;
    if (is_done(target))
        return;
    run->sums.samples++;
    if (run->samples.entries != NULL)
        bench_measure_note_sample(&run->samples, target->number, sample);
}

static void take_measurement(void *user, void *target_user,
                             const struct tw_measurement *measurement)
{
    struct run *run = user;
    struct target *target = target_user;
    if (is_done(target))
        return;
    bench_measure_add(&run->sums, measurement);
    if (run->measurements.entries != NULL)
        bench_measure_note(&run->measurements, target->number, measurement);
    target->results++;
    if (is_done(target) && ++run->done == run->options.targets)
        tw_engine_stop(run->engine);
}

static bool add_targets(struct run *run)
{
    run->targets = calloc(run->options.targets, sizeof *run->targets);
    if (run->targets == NULL)
        return bench_wrong(strerror(errno), "targets");
    for (unsigned i = 0; i < run->options.targets; i++) {
        char text[TW_ADDRESS_TEXT];
        struct tw_engine_target target = run->options.target;
        run->targets[i] = (struct target){.run = run, .number = i};
        target.user = &run->targets[i];
        if (run->options.first.family == 0) {
            target.host = run->options.hosts[i];
        } else {
            const struct tw_address address = bench_address_after(run->options.first, i);
            target.host = tw_address_format(&address, false, text);
        }
        const int error = tw_engine_add(run->engine, &target);
        if (error != 0)
            return bench_wrong(strerror(-error), target.host);
    }
    return true;
}

static bool open_run(struct run *run)
{
    const struct tw_engine_config config = {
        .on_measurement = take_measurement,
        .on_sample = take_sample,
        .user = run,
    };
    run->engine = tw_engine_new(&config);
    if (run->engine == NULL)
        return bench_wrong(strerror(errno), "engine");
    return add_targets(run) &&
           (run->options.samples == NULL || bench_measure_open_samples(&run->samples)) &&
           (run->options.measurements == NULL || bench_measure_open(&run->measurements));
}

static void close_run(struct run *run)
{
    tw_engine_free(run->engine);
    free(run->targets);
    bench_notes_close(&run->samples);
    bench_notes_close(&run->measurements);
}

static int64_t own_cpu_ns(void)
{
    struct timespec cpu = {.tv_sec = 0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return cpu.tv_sec * TW_NS_PER_S + cpu.tv_nsec;
}

/* How it was, besides what was measured; the engine is still there. */
static void print_end(const struct run *run, const struct bench_process *before, int64_t elapsed_ns,
                      int64_t cpu_ns)
{
    struct bench_process after;
    const struct tw_engine_counters counters = tw_engine_counters(run->engine);
    if (!bench_process_read(getpid(), &after))
        after = *before;
    printf(
        "{\"targets\": %u, \"elapsed_s\": %.6f, \"engine_cpu_s\": %.6f, \"process_cpu_s\": %.6f, "
        "\"rss_kb_before\": %" PRIu64 ", \"rss_kb\": %" PRIu64 ", \"kernel_drops\": %" PRIu64
        ", \"unknown\": %" PRIu64 ", \"send_failures\": %" PRIu64 ", \"not_noted\": %" PRIu64 ", ",
        run->options.targets, (double)elapsed_ns / 1e9, (double)cpu_ns / 1e9,
        (double)(after.cpu_ns - before->cpu_ns) / 1e9, before->rss_kb, after.rss_kb,
        counters.kernel_drops, counters.unknown, counters.send_failures,
        run->samples.refused + run->measurements.refused);
    bench_measure_print_sums(&run->sums);
    printf("}\n");
}

static bool measure(struct run *run)
{
    struct bench_process before;
    if (!bench_process_read(getpid(), &before) || !open_run(run))
        return false;
    running = run->engine;
    const struct sigaction action = {.sa_handler = end};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);

    const tw_mono begun = tw_clock_mono();
    const int64_t cpu_ns = own_cpu_ns();
    const int error = tw_engine_run(run->engine);
    if (error != 0)
        return bench_wrong(strerror(-error), "engine");
    print_end(run, &before, tw_clock_mono().ns - begun.ns, own_cpu_ns() - cpu_ns);
    return (run->options.samples == NULL ||
            bench_measure_write_samples(&run->samples, run->options.samples)) &&
           (run->options.measurements == NULL ||
            bench_measure_write(&run->measurements, run->options.measurements));
}

int main(int argc, char **argv)
{
    static struct run run;
    if (!bench_measure_options_read(&run.options, argc, argv))
        return EXIT_USAGE;
    const bool good = measure(&run);
    close_run(&run);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
