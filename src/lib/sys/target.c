/* Makes targets; the contract is in target.h. */
#include "lib/sys/target.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/keys.h"

struct tw_target *tw_target_of_deadline(struct tw_heap_item *item)
{
    return (struct tw_target *)((char *)item - offsetof(struct tw_target, deadline));
}

struct tw_target *tw_target_of_member(struct tw_test_member *member)
{
    return (struct tw_target *)((char *)member - offsetof(struct tw_target, member));
}

static bool makes_sense(const struct tw_engine_target *spec)
{
    const struct tw_probe_config *probe = &spec->probe;
    const bool host = spec->host != NULL && spec->host[0] != '\0';
    const bool family = spec->family == 0 || spec->family == 4 || spec->family == 6;
    const bool source =
        spec->source.family == 0 || spec->family == 0 || spec->source.family == spec->family;
    /* The padding alone first: the sum below must not overflow where size_t has 32 bits. */
    const uint32_t padding = probe->sender.padding_length;
    const bool size = padding == TW_PROBE_PADDING_EQUAL ||
                      (padding <= TW_UDP_PAYLOAD_MAX &&
                       tw_test_sender_size(probe->client.mode | probe->client.features, padding) <=
                           TW_UDP_PAYLOAD_MAX);
    const bool secret = spec->passphrase != NULL || !tw_keys_needed(probe->client.mode);
    return host && family && source && size && secret && tw_probe_fits(probe);
}

/* FNV-1a. */
static uint64_t hash(uint64_t sum, const void *octets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ ((const uint8_t *)octets)[i]) * UINT64_C(0x100000001b3);
    return sum;
}

/* The same after every restart, but different on every host that measures, or a fleet that is
 * restarted at one moment would meet at each reflector at one moment. */
static int64_t phase_ns(const struct tw_engine_target *spec, size_t index)
{
    char own[HOST_NAME_MAX + 1] = "";
    (void)gethostname(own, sizeof own - 1);
    const uint64_t number = index;
    uint64_t sum = hash(UINT64_C(0xcbf29ce484222325), own, strlen(own));
    sum = hash(sum, spec->host, strlen(spec->host));
    sum = hash(sum, &number, sizeof number);
    return (int64_t)(sum % (uint64_t)spec->probe.interval_ns);
}

static bool copy_text(const char *text, char **out)
{
    *out = text == NULL ? NULL : strdup(text);
    return text == NULL || *out != NULL;
}

static bool allocate(const struct tw_engine_target *spec, struct tw_target *target)
{
    struct tw_probe_storage *storage = &target->storage;
    const uint32_t n = tw_probe_slots(&spec->probe);
    storage->slot_count = n;
    storage->slots[0] = calloc(n, sizeof *storage->slots[0]);
    storage->slots[1] = calloc(n, sizeof *storage->slots[1]);
    storage->packets = calloc(n, sizeof *storage->packets);
    return storage->slots[0] != NULL && storage->slots[1] != NULL && storage->packets != NULL &&
           copy_text(spec->host, &target->host) && copy_text(spec->device, &target->device) &&
           tw_target_key_init(&target->key, spec->passphrase, spec->passphrase_size) == 0;
}

int tw_target_new(const struct tw_engine_target *spec, size_t index, struct tw_target **out)
{
    if (!makes_sense(spec))
        return -EINVAL;
    struct tw_target *target = calloc(1, sizeof *target);
    if (target == NULL)
        return -ENOMEM;
    if (!allocate(spec, target)) {
        tw_target_free(target);
        return -ENOMEM;
    }
    target->index = index;
    target->source = spec->source;
    target->family = spec->source.family != 0 ? spec->source.family : spec->family;
    target->user = spec->user;
    target->config = spec->probe;
    target->config.phase_ns = phase_ns(spec, index);
    *out = target;
    return 0;
}

void tw_target_free(struct tw_target *target)
{
    free(target->storage.slots[0]);
    free(target->storage.slots[1]);
    free(target->storage.packets);
    free(target->host);
    free(target->device);
    tw_target_key_free(&target->key);
    explicit_bzero(target, sizeof *target); /* the probe had session keys */
    free(target);
}
