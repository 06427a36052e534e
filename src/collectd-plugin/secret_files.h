/* The files of secrets that targets name, each read once while the configuration is checked.
 *
 * Owned by whoever puts targets together, until the engine has copied what it needs: secrets do not
 * stay in memory twice. */
#ifndef TW_PLUGIN_SECRET_FILES_H
#define TW_PLUGIN_SECRET_FILES_H

#include <stddef.h>

#include "lib/sys/secrets.h"

struct tw_secret_file {
    char *path;
    char *why; /* it cannot be used; NULL: it can */
    struct tw_secrets secrets;
};

/* All zero: none. */
struct tw_secret_files {
    struct tw_secret_file *all;
    size_t count, room;
};

enum { TW_SECRET_FILES_WHY = 640 };

/* The secret of that KeyID in that file, valid until free; NULL with a reason in `why` that names
 * file and KeyID but nothing of a secret. */
const struct tw_secret *tw_secret_files_find(struct tw_secret_files *files, const char *path,
                                             const char *keyid, char why[TW_SECRET_FILES_WHY]);

/* Wipes. */
void tw_secret_files_free(struct tw_secret_files *files);

#endif
