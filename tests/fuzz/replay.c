/* Runs a fuzz target over its corpus once, as a test: what a fuzzer once reached stays reached, on
 * every compiler and machine. Prints TAP, one case for the corpus. */
#include <dirent.h>
#include <errno.h>

#include "fuzz/fuzz.h"

enum { LARGEST = 1 << 20 };

static uint8_t content[LARGEST];

static size_t read_all(const char *path)
{
    FILE *file = fopen(path, "rb");
    FUZZ_CHECK(file != NULL);
    const size_t n = fread(content, 1, sizeof content, file);
    FUZZ_CHECK(ferror(file) == 0 && fclose(file) == 0);
    return n;
}

/* In memory of its own size, so that reading past the end shows under the address sanitizer. */
static void run(const char *path)
{
    const size_t n = read_all(path);
    uint8_t *data = malloc(n + (n == 0));
    FUZZ_CHECK(data != NULL);
    memcpy(data, content, n);
    fprintf(stderr, "%s\n", path);
    (void)LLVMFuzzerTestOneInput(data, n);
    free(data);
}

int main(void)
{
    const char *source = getenv("TWAMP_SOURCE");
    char directory[1024];
    snprintf(directory, sizeof directory, "%s/tests/fuzz/corpus/%s", source != NULL ? source : ".",
             fuzz_name);
    DIR *corpus = opendir(directory);
    if (corpus == NULL) {
        printf("not ok 1 - the corpus %s can be read: %s\n1..1\n", directory, strerror(errno));
        return 1;
    }
    unsigned inputs = 0;
    for (const struct dirent *entry = readdir(corpus); entry != NULL; entry = readdir(corpus)) {
        char path[2048];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        run(path);
        inputs++;
    }
    closedir(corpus);
    const char *verdict = inputs > 0 ? "ok" : "not ok";
    printf("%s 1 - %s: %u inputs of the corpus do no harm\n1..1\n", verdict, fuzz_name, inputs);
    return inputs > 0 ? 0 : 1;
}
