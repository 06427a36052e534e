/* Reads the file of shared secrets; the contract is in secrets.h.
 *
 * Read with plain system calls into one buffer, because what stdio keeps behind cannot be wiped. A
 * message never repeats anything of a line: in a file with its columns swapped the "KeyID" is the
 * secret. */
#include "lib/sys/secrets.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1024 * 1024 }; /* octets; a thousand keys have 100 KiB */

struct reader {
    struct tw_secrets *secrets;
    const char *path;
    char *why;
    unsigned line;
    unsigned *lines; /* of each secret */
    size_t room;     /* in both arrays */
};

/* A line of text, not ended. */
struct text {
    const uint8_t *at;
    size_t size;
};

static int __attribute__((format(printf, 3, 4)))
refuse(const struct reader *reader, int error, const char *format, ...)
{
    int n;
    if (reader->line > 0)
        n = snprintf(reader->why, TW_SECRETS_WHY, "%.150s:%u: ", reader->path, reader->line);
    else
        n = snprintf(reader->why, TW_SECRETS_WHY, "%.150s: ", reader->path);
    if (n < 0 || n >= TW_SECRETS_WHY)
        return error;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reader->why + n, TW_SECRETS_WHY - (size_t)n, format, arguments);
    va_end(arguments);
    return error;
}

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t';
}

static struct text stripped(struct text text)
{
    while (text.size > 0 && is_blank(text.at[0])) {
        text.at++;
        text.size--;
    }
    while (text.size > 0 && is_blank(text.at[text.size - 1]))
        text.size--;
    return text;
}

/* The length of the UTF-8 character at the beginning (RFC 3629 section 4), 0 if there is none. */
static size_t character_size(struct text text)
{
    const uint8_t first = text.at[0];
    if (first < 0x80)
        return 1;
    const size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || text.size < size)
        return 0;
    uint8_t low = 0x80, high = 0xbf;
    if (first == 0xe0)
        low = 0xa0; /* shorter forms exist */
    if (first == 0xed)
        high = 0x9f; /* surrogates */
    if (first == 0xf0)
        low = 0x90;
    if (first == 0xf4)
        high = 0x8f; /* beyond Unicode */
    if (text.at[1] < low || text.at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (text.at[i] < 0x80 || text.at[i] > 0xbf)
            return 0;
    return size;
}

static bool is_utf8(struct text text)
{
    while (text.size > 0) {
        const size_t size = character_size(text);
        if (size == 0)
            return false;
        text.at += size;
        text.size -= size;
    }
    return true;
}

bool tw_secrets_is_utf8(const char *text)
{
    return is_utf8((struct text){(const uint8_t *)text, strlen(text)});
}

static bool to_keyid(struct text text, uint8_t keyid[TW_KEYID_SIZE])
{
    if (text.size == 0 || text.size > TW_KEYID_SIZE || !is_utf8(text))
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] <= ' ' || text.at[i] == 0x7f)
            return false;
    memset(keyid, 0, TW_KEYID_SIZE);
    memcpy(keyid, text.at, text.size);
    return true;
}

bool tw_secrets_keyid(const char *text, uint8_t keyid[TW_KEYID_SIZE])
{
    return to_keyid((struct text){(const uint8_t *)text, strlen(text)}, keyid);
}

static int check_passphrase(const struct reader *reader, struct text passphrase)
{
    if (passphrase.size == 0)
        return refuse(reader, -EINVAL, "there is no secret; write a KeyID, a space and the secret");
    if (passphrase.size > TW_SECRETS_PASSPHRASE_MAX)
        return refuse(reader, -EINVAL, "the secret has %zu characters; give at most %d",
                      passphrase.size, TW_SECRETS_PASSPHRASE_MAX);
    for (size_t i = 0; i < passphrase.size; i++)
        if (passphrase.at[i] < 0x20 || passphrase.at[i] > 0x7e)
            return refuse(reader, -EINVAL,
                          "the secret has something else than printable ASCII characters");
    return 0;
}

static int make_room(struct reader *reader)
{
    struct tw_secrets *secrets = reader->secrets;
    if (secrets->count < reader->room)
        return 0;
    const size_t room = reader->room == 0 ? 16 : 2 * reader->room;
    struct tw_secret *all = realloc(secrets->all, room * sizeof *all); /* nothing secret in it */
    if (all != NULL)
        secrets->all = all;
    unsigned *lines = all == NULL ? NULL : realloc(reader->lines, room * sizeof *lines);
    if (lines == NULL)
        return refuse(reader, -ENOMEM, "no memory");
    reader->lines = lines;
    reader->room = room;
    return 0;
}

static int add(struct reader *reader, const uint8_t keyid[TW_KEYID_SIZE], struct text passphrase)
{
    struct tw_secrets *secrets = reader->secrets;
    const struct tw_secret *first = tw_secrets_find(secrets, keyid);
    assert(passphrase.size > 0);
    assert(first == NULL || reader->lines != NULL);
    if (first != NULL)
        return refuse(reader, -EINVAL,
                      "the KeyID is given a second time, after line %u; remove one of them",
                      reader->lines[first - secrets->all]);
    const int error = make_room(reader);
    if (error != 0)
        return error;
    uint8_t *copy = malloc(passphrase.size);
    if (copy == NULL)
        return refuse(reader, -ENOMEM, "no memory");
    memcpy(copy, passphrase.at, passphrase.size);
    struct tw_secret *secret = &secrets->all[secrets->count];
    memcpy(secret->keyid, keyid, TW_KEYID_SIZE);
    secret->passphrase = copy;
    secret->size = passphrase.size;
    reader->lines[secrets->count++] = reader->line;
    return 0;
}

static int take_line(struct reader *reader, struct text line)
{
    if (line.size > 0 && line.at[line.size - 1] == '\r')
        line.size--;
    line = stripped(line);
    if (line.size == 0 || line.at[0] == '#')
        return 0;
    struct text name = {line.at, 0};
    while (name.size < line.size && !is_blank(line.at[name.size]))
        name.size++;
    uint8_t keyid[TW_KEYID_SIZE];
    if (!to_keyid(name, keyid))
        return refuse(reader, -EINVAL, "the KeyID is not 1 to %d octets of UTF-8 text",
                      TW_KEYID_SIZE);
    const struct text passphrase =
        stripped((struct text){line.at + name.size, line.size - name.size});
    const int error = check_passphrase(reader, passphrase);
    return error != 0 ? error : add(reader, keyid, passphrase);
}

static int take_all(struct reader *reader, struct text text)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf}; /* byte order mark of some editors */
    if (text.size >= sizeof mark && memcmp(text.at, mark, sizeof mark) == 0) {
        text.at += sizeof mark;
        text.size -= sizeof mark;
    }
    while (text.size > 0) {
        const uint8_t *end = memchr(text.at, '\n', text.size);
        const size_t size = end == NULL ? text.size : (size_t)(end - text.at);
        reader->line++;
        const int error = take_line(reader, (struct text){text.at, size});
        if (error != 0)
            return error;
        const size_t taken = end == NULL ? size : size + 1;
        text.at += taken;
        text.size -= taken;
    }
    return 0;
}

/* Judges the file that is open, not a name that may have come to mean another one. */
static int check_file(const struct reader *reader, int fd, size_t *size)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return refuse(reader, -errno, "%s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return refuse(reader, -EINVAL, "not a regular file");
    if ((status.st_mode & (S_IROTH | S_IWOTH)) != 0)
        return refuse(reader, -EACCES,
                      "every user of this host may read or write it; chmod o-rwx the file");
    if (status.st_size > FILE_MAX)
        return refuse(reader, -EFBIG, "larger than %d octets", FILE_MAX);
    *size = (size_t)status.st_size;
    return 0;
}

/* How much could be read of `size`, or -errno. */
static ssize_t read_all(int fd, uint8_t *out, size_t size)
{
    size_t have = 0;
    while (have < size) {
        const ssize_t n = read(fd, out + have, size - have);
        if (n == 0)
            break;
        if (n > 0)
            have += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return (ssize_t)have;
}

static int take_file(struct reader *reader, int fd)
{
    size_t size = 0;
    int error = check_file(reader, fd, &size);
    if (error != 0 || size == 0)
        return error;
    uint8_t *octets = malloc(size);
    if (octets == NULL)
        return refuse(reader, -ENOMEM, "no memory");
    const ssize_t n = read_all(fd, octets, size);
    if (n < 0)
        error = refuse(reader, (int)n, "%s", strerror((int)-n));
    else
        error = take_all(reader, (struct text){octets, (size_t)n});
    explicit_bzero(octets, size);
    free(octets);
    return error;
}

int tw_secrets_load(struct tw_secrets *secrets, const char *path, char why[TW_SECRETS_WHY])
{
    *secrets = (struct tw_secrets){NULL, 0};
    struct reader reader = {.secrets = secrets, .path = path, .why = why};
    why[0] = '\0';
    /* O_NONBLOCK: a FIFO under that name must be refused, not waited for. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return refuse(&reader, -errno, "%s", strerror(errno));
    const int error = take_file(&reader, fd);
    close(fd);
    free(reader.lines);
    if (error != 0)
        tw_secrets_free(secrets);
    return error;
}

const struct tw_secret *tw_secrets_find(const struct tw_secrets *secrets,
                                        const uint8_t keyid[TW_KEYID_SIZE])
{
    for (size_t i = 0; i < secrets->count; i++)
        if (memcmp(secrets->all[i].keyid, keyid, TW_KEYID_SIZE) == 0)
            return &secrets->all[i];
    return NULL;
}

void tw_secrets_free(struct tw_secrets *secrets)
{
    for (size_t i = 0; i < secrets->count; i++) {
        explicit_bzero(secrets->all[i].passphrase, secrets->all[i].size);
        free(secrets->all[i].passphrase);
    }
    free(secrets->all);
    *secrets = (struct tw_secrets){NULL, 0};
}
