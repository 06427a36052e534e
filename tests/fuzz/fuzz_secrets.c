/* The file of shared secrets with any content: it is read or refused with a reason that gives no
 * secret away, and every KeyID that was read is found again. */
#include "twamp-config.h" /* for memfd_create */

#include "fuzz/fuzz.h"

#include "fuzz/scratch_file.h"
#include "lib/sys/secrets.h"

const char fuzz_name[] = "secrets";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[SCRATCH_PATH];
    char why[TW_SECRETS_WHY] = "";
    struct tw_secrets secrets;
    const int fd = scratch_file(data, size, path);
    const int result = tw_secrets_load(&secrets, path, why);
    close(fd);
    if (result != 0) {
        FUZZ_CHECK(result < 0 && why[0] != '\0' && secrets.count == 0);
        return 0;
    }
    for (size_t i = 0; i < secrets.count; i++) {
        const struct tw_secret *secret = &secrets.all[i];
        FUZZ_CHECK(tw_secrets_find(&secrets, secret->keyid) == secret);
        FUZZ_CHECK(secret->size > 0 && secret->size <= TW_SECRETS_PASSPHRASE_MAX);
        for (size_t k = 0; k < secret->size; k++)
            FUZZ_CHECK(secret->passphrase[k] >= ' ' && secret->passphrase[k] < 0x7f);
    }
    tw_secrets_free(&secrets);
    return 0;
}
