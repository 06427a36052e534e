/* twamp-server.conf, line by line.
 *
 * inih reads `key = value`; but as distributions build it, it cuts a line of 200 characters or more
 * into two without a word, takes an indented line for the continuation of the one before, knows
 * only `;` after a value, and tells a handler no line number. So it is given its lines by a reader
 * that counts them, strips blanks and comments, and refuses what inih would misread. */
#include "reflector/file.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reflector/error.h"

struct reader {
    FILE *file;
    const char *path;
    char *text; /* getline's */
    size_t room;
    unsigned line;
    GError *error; /* the first; nothing is read after it */
    struct twd_config *config;
    unsigned seen[TWD_CONFIG_KEYS]; /* line that first gave the key; 0: none yet */
    bool whole[TWD_CONFIG_KEYS];    /* that line gave "all", "any" or "none" */
};

static void G_GNUC_PRINTF(2, 3) refuse(struct reader *reader, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    twd_fail(&reader->error, TWD_EXIT_CONFIG, "%s:%u: %s", reader->path, reader->line, text);
}

/* Cuts off a comment: `#` or `;` at the start of the line or after a blank. */
static void cut_comment(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        if ((*at == '#' || *at == ';') && (at == text || g_ascii_isspace(at[-1]))) {
            *at = '\0';
            return;
        }
    }
}

/* What inih would take in another way than it was meant, or not at all. */
static bool is_clear(struct reader *reader, const char *text, size_t room)
{
    if (strlen(text) + 2 > room) { /* newline and end */
        refuse(reader,
               "the line has %zu characters, more than the %zu that can be read; give lists on "
               "several lines with the same key",
               strlen(text), room - 2);
        return false;
    }
    if (text[0] == '\0')
        return true;
    if (text[0] == '[') {
        if (text[strlen(text) - 1] == ']')
            return true;
        refuse(reader, "a section header without its ]; leave it out, no section is needed");
        return false;
    }
    const size_t name = strcspn(text, "=:");
    if (text[name] == '=' && name > 0)
        return true;
    refuse(reader, "\"%s\" is not understood; write key = value", text);
    return false;
}

/* What ini_parse_stream calls in the place of fgets. */
static char *read_line(char *out, int room, void *stream)
{
    struct reader *reader = stream;
    if (reader->error != NULL)
        return NULL;
    errno = 0;
    const ssize_t n = getline(&reader->text, &reader->room, reader->file);
    if (n < 0) {
        if (ferror(reader->file))
            twd_fail(&reader->error, TWD_EXIT_CONFIG, "%s: %s; give a readable file", reader->path,
                     g_strerror(errno));
        return NULL;
    }
    reader->line++;
    if (strlen(reader->text) != (size_t)n || !g_utf8_validate(reader->text, n, NULL)) {
        refuse(reader, "the line is not text; remove what is not UTF-8");
        return NULL;
    }
    char *text = reader->text;
    if (reader->line == 1 && g_str_has_prefix(text, "\xef\xbb\xbf"))
        text += 3; /* byte order mark */
    cut_comment(text);
    text = g_strstrip(text);
    if (!is_clear(reader, text, (size_t)room))
        return NULL;
    g_snprintf(out, (gulong)room, "%s\n", text);
    return out;
}

/* A key is given once; a list may be continued, but not beside a word for a whole list. */
static bool is_first(struct reader *reader, int key, const char *value)
{
    const bool whole = twd_config_is_whole(key, value);
    if (reader->seen[key] == 0) {
        reader->seen[key] = reader->line;
        reader->whole[key] = whole;
        return true;
    }
    if (twd_config_is_list(key) && !whole && !reader->whole[key])
        return true;
    refuse(reader, "%s: given a second time, after line %u; remove one of them",
           twd_config_key_name(key), reader->seen[key]);
    return false;
}

static int take_value(void *user, const char *section, const char *name, const char *value)
{
    (void)section;
    struct reader *reader = user;
    if (reader->error != NULL)
        return 0;
    const int key = twd_config_find(name);
    if (key < 0) {
        refuse(reader, "%s: unknown key; the nearest known key is %s", name,
               twd_config_nearest(name));
        return 0;
    }
    if (!is_first(reader, key, value))
        return 0;
    g_autoptr(GError) fault = NULL;
    if (twd_config_set(reader->config, key, value, &fault))
        return 1;
    refuse(reader, "%s: %s", name, fault->message);
    return 0;
}

/* What each line alone cannot show. */
static void check_whole(struct reader *reader)
{
    int key = 0;
    g_autoptr(GError) fault = NULL;
    if (twd_config_check(reader->config, &key, &fault))
        return;
    reader->line = reader->seen[key];
    refuse(reader, "%s: %s", twd_config_key_name(key), fault->message);
}

struct twd_config *twd_file_load(const char *path, bool must_exist, GError **error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT && !must_exist)
        return twd_config_new();
    if (file == NULL) {
        twd_fail(error, TWD_EXIT_CONFIG, "%s: %s; give a readable file", path, g_strerror(errno));
        return NULL;
    }
    struct reader reader = {.file = file, .path = path, .config = twd_config_new()};
    const int result = ini_parse_stream(read_line, &reader, take_value, &reader);
    fclose(file);
    free(reader.text);
    if (reader.error == NULL && result != 0)
        twd_fail(&reader.error, TWD_EXIT_CONFIG, "%s:%d: not understood; write key = value", path,
                 result);
    if (reader.error == NULL)
        check_whole(&reader);
    if (reader.error == NULL)
        return reader.config;
    twd_config_free(reader.config);
    g_propagate_error(error, reader.error);
    return NULL;
}
