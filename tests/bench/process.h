/* What a process has cost so far: the server that is measured, or the program that measures. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct bench_process {
    int64_t cpu_ns;              /* of all its threads, in user and in kernel mode */
    uint64_t voluntary_switches; /* of those threads that are still there */
    uint64_t rss_kb;
};

/* False with one line on stderr. What the kernel does in interrupts counts as the process's that
 * they interrupt, unless the kernel keeps accounts of it (CONFIG_IRQ_TIME_ACCOUNTING). */
bool bench_process_read(pid_t pid, struct bench_process *process);

#endif
