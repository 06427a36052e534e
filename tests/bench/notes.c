/* The contract is in notes.h. */
#include "twamp-config.h"

#include "bench/notes.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

bool bench_notes_open(struct bench_notes *notes, size_t size, uint64_t room)
{
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page = sysconf(_SC_PAGESIZE);
    const uint64_t most = (uint64_t)pages * (uint64_t)page / 2 / size;
    *notes = (struct bench_notes){.size = size, .room = room < most ? room : most};
    void *entries = MAP_FAILED;
    if (pages > 0 && page > 0 && notes->room > 0)
        entries = mmap(NULL, notes->room * size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (entries == MAP_FAILED) {
        fputs("no memory for notes\n", stderr);
        return false;
    }
    notes->entries = entries;
    return true;
}

void bench_notes_close(struct bench_notes *notes)
{
    if (notes->entries != NULL)
        (void)munmap(notes->entries, notes->room * notes->size);
    *notes = (struct bench_notes){.size = 0};
}
