/* The contract is in arguments.h. */
#include "twamp-config.h"

#include "bench/arguments.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys/socket.h"
#include "lib/time.h"
#include "lib/wire.h"

bool bench_wrong(const char *what, const char *value)
{
    fprintf(stderr, "%s: '%s'\n", what, value);
    return false;
}

bool bench_read_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    char *rest;
    errno = 0;
    *number = strtoull(text, &rest, 10);
    return (errno == 0 && rest != text && *rest == '\0' && text[0] != '-' && *number >= least &&
            *number <= most) ||
           bench_wrong("not a number in its range", text);
}

bool bench_read_unsigned(const char *text, unsigned most, unsigned *number)
{
    uint64_t wide;
    if (!bench_read_number(text, 1, most, &wide))
        return false;
    *number = (unsigned)wide;
    return true;
}

bool bench_read_seconds(const char *text, int64_t *ns)
{
    char *rest;
    const double seconds = strtod(text, &rest);
    if (rest == text || *rest != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 86400)
        return bench_wrong("not a time in seconds", text);
    *ns = (int64_t)(seconds * (double)TW_NS_PER_S);
    return true;
}

bool bench_read_address(const char *text, struct tw_address *address)
{
    char host[TW_ADDRESS_TEXT];
    const char *colon = strrchr(text, ':');
    const bool in_brackets = text[0] == '[' && colon != NULL && colon > text && colon[-1] == ']';
    const char *from = in_brackets ? text + 1 : text;
    uint64_t port;
    if (colon == NULL || (size_t)(colon - from) >= sizeof host)
        return bench_wrong("not ADDRESS:PORT", text);
    const size_t n = (size_t)(colon - from) - (in_brackets ? 1 : 0);
    memcpy(host, from, n);
    host[n] = '\0';
    if (!tw_address_parse(host, address) || (address->family == 6) != in_brackets)
        return bench_wrong("not ADDRESS:PORT", text);
    if (!bench_read_number(colon + 1, 1, UINT16_MAX, &port))
        return false;
    address->port = (uint16_t)port;
    return true;
}

struct tw_address bench_address_after(struct tw_address address, unsigned i)
{
    for (unsigned at = address.family == 4 ? 4 : 16; at > 0 && i > 0; at--) {
        i += address.octets[at - 1];
        address.octets[at - 1] = (uint8_t)i;
        i >>= 8;
    }
    return address;
}

bool bench_read_mode(const char *text, uint32_t *mode, const char **name)
{
    static const struct {
        const char *name;
        uint32_t mode;
    } modes[] = {
        {"unauthenticated", TW_MODE_UNAUTHENTICATED},
        {"mixed", TW_MODE_MIXED},
        {"authenticated", TW_MODE_AUTHENTICATED},
        {"encrypted", TW_MODE_ENCRYPTED},
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, text) == 0) {
            *mode = modes[i].mode;
            *name = modes[i].name;
            return true;
        }
    }
    return bench_wrong("no such mode", text);
}

bool bench_read_secret(const char *path, char *secret, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return bench_wrong(strerror(errno), path);
    const bool done = fgets(secret, (int)size, file) != NULL;
    (void)fclose(file);
    secret[strcspn(secret, "\r\n")] = '\0';
    return (done && secret[0] != '\0') || bench_wrong("no secret in it", path);
}
