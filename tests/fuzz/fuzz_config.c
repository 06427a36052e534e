/* twamp-server.conf with any content: it is refused with one line that says why, or taken; and what
 * is printed of it reads as the same configuration. */
#include "twamp-config.h" /* for memfd_create */

#include "fuzz/fuzz.h"

#include "fuzz/scratch_file.h"
#include "reflector/file.h"

const char fuzz_name[] = "config";

static struct twd_config *load(const uint8_t *content, size_t n, GError **error)
{
    char path[SCRATCH_PATH];
    const int fd = scratch_file(content, n, path);
    struct twd_config *config = twd_file_load(path, true, error);
    close(fd);
    return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    GError *error = NULL;
    struct twd_config *config = load(data, size, &error);
    if (config == NULL) {
        FUZZ_CHECK(error != NULL && strchr(error->message, '\n') == NULL);
        g_error_free(error);
        return 0;
    }
    FUZZ_CHECK(error == NULL);
    char *printed = twd_config_print(config);
    struct twd_config *again = load((const uint8_t *)printed, strlen(printed), &error);
    if (again == NULL)
        fprintf(stderr, "%s\n%s\n", printed, error->message);
    FUZZ_CHECK(again != NULL);
    char *printed_again = twd_config_print(again);
    FUZZ_CHECK(strcmp(printed, printed_again) == 0);
    g_free(printed_again);
    g_free(printed);
    twd_config_free(again);
    twd_config_free(config);
    return 0;
}
