/* Seeds the core's random generator from the kernel. */
#ifndef TW_SYS_RANDOM_H
#define TW_SYS_RANDOM_H

#include "lib/crypto.h"

/* Blocks until the kernel's generator is initialised (early boot); aborts if there is none, since
 * nothing can be kept secret then. */
void tw_random_init(struct tw_random *random);

#endif
