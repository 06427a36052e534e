/* The contract is in process.h. */
#include "twamp-config.h"

#include "bench/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/time.h"

enum { PATH_SIZE = 320 };

/* The number behind "key:" in such a file of /proc; 0 when it is not there (a thread that ended).
 */
static uint64_t read_number(const char *path, const char *key)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    uint64_t number = 0;
    char line[256];
    const size_t n = strlen(key);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ':')
            number = strtoull(line + n + 1, NULL, 10);
    (void)fclose(file);
    return number;
}

static bool read_switches(pid_t pid, uint64_t *sum)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return false;
    *sum = 0;
    for (const struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        if (task->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, task->d_name);
        *sum += read_number(path, "voluntary_ctxt_switches");
    }
    closedir(tasks);
    return true;
}

bool bench_process_read(pid_t pid, struct bench_process *process)
{
    clockid_t clock;
    struct timespec cpu;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &cpu) != 0 ||
        !read_switches(pid, &process->voluntary_switches)) {
        fprintf(stderr, "process %d cannot be read\n", (int)pid);
        return false;
    }
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    process->rss_kb = read_number(path, "VmRSS");
    process->cpu_ns = (int64_t)cpu.tv_sec * TW_NS_PER_S + cpu.tv_nsec;
    return true;
}
