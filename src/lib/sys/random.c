/* The one place where randomness enters the program; everything else draws from the generator
 * seeded here. */
#include "lib/sys/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void tw_random_init(struct tw_random *random)
{
    uint8_t seed[TW_RANDOM_SEED_SIZE];
    size_t have = 0;
    while (have < sizeof seed) {
        const ssize_t n = getrandom(seed + have, sizeof seed - have, 0);
        if (n > 0)
            have += (size_t)n;
        else if (n == 0 || errno != EINTR)
            abort();
    }
    tw_random_seed(random, seed);
    explicit_bzero(seed, sizeof seed);
}
