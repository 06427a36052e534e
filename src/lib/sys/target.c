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

static bool allocate_storage(const struct tw_probe_config *config, struct tw_probe_storage *storage)
{
    const unsigned windows = tw_probe_windows(config);
    const uint32_t slots = tw_probe_slots(config);
    const uint32_t packets = tw_probe_packets(config);
    storage->slot_count = slots;
    storage->packet_count = packets;
    storage->windows = calloc(windows, sizeof *storage->windows);
    bool there = storage->windows != NULL;
    for (unsigned i = 0; i < 2; i++) {
        storage->slots[i] = calloc(slots, sizeof *storage->slots[i]);
        there = there && storage->slots[i] != NULL;
    }
    for (unsigned i = 0; i < windows; i++) {
        storage->packets[i] = calloc(packets, sizeof *storage->packets[i]);
        there = there && storage->packets[i] != NULL;
    }
    return there;
}

static bool allocate(const struct tw_engine_target *spec, struct tw_target *target)
{
    const bool secured = tw_keys_needed(spec->probe.client.mode);
    if (secured)
        target->storage.secrets = calloc(1, sizeof *target->storage.secrets);
    return allocate_storage(&spec->probe, &target->storage) &&
           (!secured || target->storage.secrets != NULL) && copy_text(spec->host, &target->host) &&
           copy_text(spec->device, &target->device) &&
           copy_text(spec->source_zone, &target->source_zone) &&
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
    struct tw_probe_secrets *secrets = target->storage.secrets;
    if (secrets != NULL)
        explicit_bzero(secrets, sizeof *secrets);
    free(secrets);
    for (unsigned i = 0; i < 2; i++) {
        free(target->storage.slots[i]);
        free(target->storage.packets[i]);
    }
    free(target->storage.windows);
    free(target->host);
    free(target->device);
    free(target->source_zone);
    tw_target_key_free(&target->key);
    explicit_bzero(target, sizeof *target); /* the probe had keys */
    free(target);
}
