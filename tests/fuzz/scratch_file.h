/* A file that exists in memory only, for decoders that read files. */
#ifndef TW_TESTS_FUZZ_SCRATCH_FILE_H
#define TW_TESTS_FUZZ_SCRATCH_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

enum { SCRATCH_PATH = 40 };

/* The descriptor; the path is valid until it is closed. Readable by the owner alone. */
static inline int scratch_file(const uint8_t *content, size_t n, char path[SCRATCH_PATH])
{
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
    FUZZ_CHECK(write(fd, content, n) == (ssize_t)n);
    snprintf(path, SCRATCH_PATH, "/proc/self/fd/%d", fd);
    return fd;
}

#endif
