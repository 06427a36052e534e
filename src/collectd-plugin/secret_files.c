/* Remembers files of secrets; see secret_files.h. A thousand targets with one file read it once,
 * and are told of its mistakes in the same words. */
#include "collectd-plugin/secret_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tw_secret_file *find_file(const struct tw_secret_files *files, const char *path)
{
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->all[i].path, path) == 0)
            return &files->all[i];
    return NULL;
}

/* NULL: no memory. */
static struct tw_secret_file *add_file(struct tw_secret_files *files, const char *path)
{
    if (files->count == files->room) {
        const size_t room = files->room == 0 ? 4 : 2 * files->room;
        struct tw_secret_file *all = realloc(files->all, room * sizeof *all);
        if (all == NULL)
            return NULL;
        files->all = all;
        files->room = room;
    }
    struct tw_secret_file *file = &files->all[files->count];
    *file = (struct tw_secret_file){.path = strdup(path)};
    if (file->path == NULL)
        return NULL;
    files->count++;
    char why[TW_SECRETS_WHY];
    if (tw_secrets_load(&file->secrets, path, why) == 0)
        return file;
    file->why = strdup(why);
    return file->why == NULL ? NULL : file; /* else it is an empty file from here on */
}

const struct tw_secret *tw_secret_files_find(struct tw_secret_files *files, const char *path,
                                             const char *keyid, char why[TW_SECRET_FILES_WHY])
{
    uint8_t wire[TW_KEYID_SIZE];
    if (!tw_secrets_keyid(keyid, wire)) {
        snprintf(why, TW_SECRET_FILES_WHY, "KeyID must be 1 to %d octets of UTF-8", TW_KEYID_SIZE);
        return NULL;
    }
    const struct tw_secret_file *file = find_file(files, path);
    if (file == NULL)
        file = add_file(files, path);
    if (file == NULL) {
        snprintf(why, TW_SECRET_FILES_WHY, "SecretFile \"%.256s\": no memory", path);
        return NULL;
    }
    if (file->why != NULL) {
        snprintf(why, TW_SECRET_FILES_WHY, "SecretFile %s", file->why);
        return NULL;
    }
    const struct tw_secret *secret = tw_secrets_find(&file->secrets, wire);
    if (secret == NULL)
        snprintf(why, TW_SECRET_FILES_WHY,
                 "KeyID \"%s\" is not in SecretFile \"%.256s\": add a line with it and its secret, "
                 "the same as on the server",
                 keyid, path);
    return secret;
}

void tw_secret_files_free(struct tw_secret_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        tw_secrets_free(&files->all[i].secrets);
        free(files->all[i].path);
        free(files->all[i].why);
    }
    free(files->all);
    *files = (struct tw_secret_files){NULL, 0, 0};
}
