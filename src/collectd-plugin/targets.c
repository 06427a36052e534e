/* Blocks and defaults become targets; see targets.h. Every check that needs more than one option is
 * here, and the wording of all messages. */
#include "collectd-plugin/targets.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectd-plugin/addresses.h"
#include "collectd-plugin/names.h"
#include "lib/keys.h"
#include "lib/probe.h"
#include "lib/sys/secrets.h"
#include "lib/time.h"

enum { LINE = 768 }; /* collectd cuts its log lines at 1024 */

void tw_targets_init(struct tw_targets *targets)
{
    *targets = (struct tw_targets){0};
    tw_settings_init(&targets->defaults);
}

void tw_targets_free(struct tw_targets *targets)
{
    for (size_t i = 0; i < targets->block_count; i++)
        free(targets->blocks[i].name);
    for (size_t i = 0; i < targets->message_count; i++)
        free(targets->messages[i]);
    tw_secret_files_free(&targets->secret_files);
    free(targets->blocks);
    free(targets->targets);
    free(targets->messages);
    tw_targets_init(targets);
}

/* Room for one more; NULL keeps what there was. */
static void *grow(struct tw_targets *targets, void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    const size_t more = *room == 0 ? 8 : 2 * *room;
    void *grown = realloc(array, more * size);
    if (grown == NULL)
        targets->no_memory = true;
    else
        *room = more;
    return grown;
}

/* `block` NULL: the plugin level. */
static void complain(struct tw_targets *targets, struct tw_target_block *block, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

static void complain(struct tw_targets *targets, struct tw_target_block *block, const char *format,
                     ...)
{
    const struct tw_option_value name = {.kind = TW_VALUE_STRING,
                                         .string = block == NULL ? NULL : block->name};
    char text[TW_OPTION_TEXT] = "", line[LINE];
    if (name.string != NULL)
        tw_option_format(&name, 1, text);
    int used;
    if (block == NULL)
        used = snprintf(line, sizeof line, "<Plugin twamp>: ");
    else if (block->shortcut)
        used = snprintf(line, sizeof line, "<Plugin twamp>: Host %s: ", text);
    else
        used = snprintf(line, sizeof line, "<Target%s%s>: ", text[0] == '\0' ? "" : " ", text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + used, sizeof line - (size_t)used, format, arguments);
    va_end(arguments);
    for (char *c = line; *c != '\0'; c++) { /* names of options can have any */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }

    if (block != NULL)
        block->errors++;
    char **messages = grow(targets, targets->messages, targets->message_count,
                           &targets->message_room, sizeof *messages);
    if (messages == NULL)
        return;
    targets->messages = messages;
    char *copy = strdup(line);
    if (copy == NULL)
        targets->no_memory = true;
    else
        targets->messages[targets->message_count++] = copy;
}

static struct tw_target_block *add_block(struct tw_targets *targets, const char *name)
{
    struct tw_target_block *blocks =
        grow(targets, targets->blocks, targets->block_count, &targets->block_room, sizeof *blocks);
    if (blocks == NULL)
        return NULL;
    targets->blocks = blocks;
    struct tw_target_block *block = &blocks[targets->block_count];
    *block = (struct tw_target_block){0};
    tw_settings_init(&block->settings);
    if (name != NULL) {
        block->name = strdup(name);
        if (block->name == NULL) {
            targets->no_memory = true;
            return NULL;
        }
    }
    targets->block_count++;
    return block;
}

static struct tw_target_block *current(struct tw_targets *targets)
{
    return targets->block_count == 0 ? NULL : &targets->blocks[targets->block_count - 1];
}

static void set_option(struct tw_targets *targets, struct tw_target_block *block, const char *name,
                       const struct tw_option_value *values, size_t count)
{
    const enum tw_option option = tw_option_find(name);
    if (option == TW_OPTION_END) {
        complain(targets, block, "unknown option \"%.64s\": did you mean \"%s\"?", name,
                 tw_option_nearest(name, block == NULL));
        return;
    }
    struct tw_settings *settings = block == NULL ? &targets->defaults : &block->settings;
    char why[TW_OPTION_TEXT];
    if (tw_option_set(settings, option, values, count, why))
        return;
    char text[TW_OPTION_TEXT];
    complain(targets, block, "%s%s%s: %s", tw_option_name(option), count == 0 ? "" : " ",
             tw_option_format(values, count, text), why);
}

static void add_shortcut(struct tw_targets *targets, const struct tw_option_value *value)
{
    const char *name = value->kind == TW_VALUE_STRING ? value->string : NULL;
    struct tw_target_block *block = add_block(targets, name);
    if (block == NULL)
        return;
    char why[TW_OPTION_TEXT];
    if (!tw_option_set(&block->settings, TW_OPTION_HOST, value, 1, why)) {
        char text[TW_OPTION_TEXT];
        block->errors++;
        complain(targets, NULL, "Host %s: %s", tw_option_format(value, 1, text), why);
    }
    block->shortcut = true;
}

void tw_targets_default(struct tw_targets *targets, const char *option,
                        const struct tw_option_value *values, size_t count)
{
    if (tw_option_find(option) != TW_OPTION_HOST) {
        set_option(targets, NULL, option, values, count);
        return;
    }
    if (count == 0)
        complain(targets, NULL, "Host: a value is missing");
    for (size_t i = 0; i < count; i++)
        add_shortcut(targets, &values[i]);
}

void tw_targets_begin(struct tw_targets *targets, const struct tw_option_value *values,
                      size_t count)
{
    const bool named = count == 1 && values[0].kind == TW_VALUE_STRING;
    struct tw_target_block *block = add_block(targets, named ? values[0].string : NULL);
    if (block != NULL && !named)
        complain(targets, block, "needs one name in quotes: <Target \"fra-ams\">");
}

void tw_targets_option(struct tw_targets *targets, const char *option,
                       const struct tw_option_value *values, size_t count)
{
    struct tw_target_block *block = current(targets);
    if (block == NULL)
        return; /* begin() found no memory */
    const enum tw_option known = tw_option_find(option);
    if (known != TW_OPTION_END && (block->settings.given & UINT32_C(1) << known) != 0) {
        complain(targets, block, "option \"%s\" is given twice, once is enough",
                 tw_option_name(known));
        return;
    }
    set_option(targets, block, option, values, count);
}

void tw_targets_misplaced(struct tw_targets *targets, const char *name, bool in_target)
{
    struct tw_target_block *block = in_target ? current(targets) : NULL;
    if (tw_option_find(name) != TW_OPTION_END)
        complain(targets, block, "\"%.64s\" is an option, not a block", name);
    else
        complain(targets, block, "unknown block <%.64s>: did you mean \"%s\"?", name,
                 tw_option_nearest(name, !in_target));
}

static double seconds(int64_t ns)
{
    return (double)ns / (double)TW_NS_PER_S;
}

/* A whole session must fit: else the next interval would begin while packets are still under way.
 */
static bool check_session(struct tw_targets *targets, struct tw_target_block *block)
{
    const struct tw_settings *s = &block->settings;
    const int64_t sending_ns = s->count * s->packet_interval_ns;
    if (sending_ns + s->timeout_ns < s->interval_ns)
        return true;

    char advice[96];
    const int64_t room_ns = s->interval_ns - s->timeout_ns - 1;
    const int64_t most = room_ns < 0 ? 0 : room_ns / s->packet_interval_ns;
    if (most > 0)
        snprintf(advice, sizeof advice, "at most Count %lld fits", (long long)most);
    else
        snprintf(advice, sizeof advice, "no Count fits, make Interval longer");
    complain(targets, block,
             "Count %u x PacketInterval %g s + Timeout %g s = %g s must be below Interval %g s: %s",
             s->count, seconds(s->packet_interval_ns), seconds(s->timeout_ns),
             seconds(sending_ns + s->timeout_ns), seconds(s->interval_ns), advice);
    return false;
}

/* Packets of two intervals are under way at a time, never of three. And no more leave in a second
 * than PacketInterval would allow. */
static bool check_continuous(struct tw_targets *targets, struct tw_target_block *block)
{
    const struct tw_settings *s = &block->settings;
    if (s->timeout_ns >= s->interval_ns) {
        complain(targets, block,
                 "Timeout %g s must be below Interval %g s with Session \"continuous\"",
                 seconds(s->timeout_ns), seconds(s->interval_ns));
        return false;
    }
    const int64_t most = s->interval_ns / TW_NS_PER_MS;
    if (s->count <= most)
        return true;
    complain(targets, block,
             "Count %u in Interval %g s is less than 0.001 s from packet to packet with Session "
             "\"continuous\": at most Count %lld",
             s->count, seconds(s->interval_ns), (long long)most);
    return false;
}

/* Packets of a continuous session have the distance that Count and Interval make: whoever names
 * another for this very target would wait for it in vain. One for all targets is for those that
 * have a session in each interval. */
static bool check_fit(struct tw_targets *targets, struct tw_target_block *block, uint32_t own)
{
    const struct tw_settings *s = &block->settings;
    if (s->session != TW_SESSION_CONTINUOUS)
        return check_session(targets, block);
    if ((own & UINT32_C(1) << TW_OPTION_PACKET_INTERVAL) == 0)
        return check_continuous(targets, block);
    complain(targets, block,
             "PacketInterval is of no use with Session \"continuous\", which spreads Count %u "
             "packets over Interval %g s: leave it out, or set Session \"interval\"",
             s->count, seconds(s->interval_ns));
    return false;
}

static bool check_name(struct tw_targets *targets, struct tw_target_block *block)
{
    const char *name = block->name;
    if (name[0] == '\0') {
        complain(targets, block, "the name is empty");
        return false;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            complain(targets, block, "the name must not contain control characters");
            return false;
        }
    }
    if (tw_secrets_is_utf8(name))
        return true;
    /* A page for Prometheus with such a name in it is refused as a whole. */
    complain(targets, block, "the name must be UTF-8: save the file in that encoding");
    return false;
}

static bool check_addresses(struct tw_targets *targets, struct tw_target_block *block)
{
    char why[TW_OPTION_TEXT];
    if (tw_addresses_check(&block->settings, why))
        return true;
    complain(targets, block, "%s", why);
    return false;
}

static bool check_source_ports(struct tw_targets *targets, struct tw_target_block *block)
{
    const struct tw_settings *s = &block->settings;
    const uint32_t last =
        s->class_count == 0 ? s->source_port : s->source_port + s->class_count - 1;
    if (s->source_port == 0 || last <= UINT16_MAX)
        return true;
    complain(targets, block,
             "SourcePort %u: each of the %u classes needs a port, %u is the highest possible",
             s->source_port, s->class_count, UINT16_MAX + 1 - s->class_count);
    return false;
}

static bool is_given(const struct tw_settings *settings, enum tw_option option)
{
    return (settings->given & UINT32_C(1) << option) != 0;
}

/* Whether any target has a mode that needs a secret. */
static bool any_secured(const struct tw_targets *targets)
{
    if (tw_keys_needed(targets->defaults.mode))
        return true;
    for (size_t i = 0; i < targets->block_count; i++) {
        const struct tw_settings *s = &targets->blocks[i].settings;
        if (is_given(s, TW_OPTION_MODE) && tw_keys_needed(s->mode))
            return true;
    }
    return false;
}

/* A key that would not be used was meant to be: whoever names one and no Mode would be measured in
 * the clear without knowing. But one from the plugin level may be for other targets. */
static bool check_no_secret(struct tw_targets *targets, struct tw_target_block *block, uint32_t own)
{
    const uint32_t keyid = UINT32_C(1) << TW_OPTION_KEY_ID;
    const uint32_t file = UINT32_C(1) << TW_OPTION_SECRET_FILE;
    const uint32_t given = block->settings.given;
    if (is_given(&block->settings, TW_OPTION_MODE) || (given & (keyid | file)) == 0 ||
        ((own & (keyid | file)) == 0 && any_secured(targets)))
        return true;
    complain(targets, block,
             "%s is of no use without Mode: add Mode \"encrypted\", \"authenticated\" or \"mixed\"",
             tw_option_name((given & keyid) != 0 ? TW_OPTION_KEY_ID : TW_OPTION_SECRET_FILE));
    return false;
}

/* Finds the secret of a mode that needs one. `own`: what the block itself was given. */
static bool check_secret(struct tw_targets *targets, struct tw_target_block *block, uint32_t own)
{
    const struct tw_settings *s = &block->settings;
    if (!tw_keys_needed(s->mode))
        return check_no_secret(targets, block, own);
    char mode[TW_MODES_TEXT];
    tw_modes_format(s->mode, mode);
    const bool keyid = s->keyid[0] != '\0', file = s->secret_file[0] != '\0';
    if (!keyid || !file) {
        const char *missing = keyid ? "SecretFile" : file ? "KeyID" : "KeyID and SecretFile";
        complain(targets, block,
                 "Mode \"%s\" needs %s: the name of a secret that the server has too, and the file "
                 "with lines of names and secrets",
                 mode, missing);
        return false;
    }
    char why[TW_SECRET_FILES_WHY];
    block->secret = tw_secret_files_find(&targets->secret_files, s->secret_file, s->keyid, why);
    if (block->secret == NULL)
        complain(targets, block, "%s", why);
    return block->secret != NULL;
}

/* The largest datagram; the option's own limit knows of no mode. */
static bool check_padding(struct tw_targets *targets, struct tw_target_block *block)
{
    const struct tw_settings *s = &block->settings;
    if (s->padding == TW_PROBE_PADDING_EQUAL)
        return true;
    const size_t size = tw_test_sender_size(s->mode | s->features, s->padding);
    if (size <= TW_UDP_PAYLOAD_MAX)
        return true;
    char mode[TW_MODES_TEXT];
    complain(targets, block, "Padding %u: at most %zu in Mode \"%s\" with these Features",
             s->padding, s->padding - (size - TW_UDP_PAYLOAD_MAX), tw_modes_format(s->mode, mode));
    return false;
}

/* Bad values that came down from the plugin level and are used; they were named there. */
static void check_inherited(struct tw_targets *targets, struct tw_target_block *block, uint32_t own)
{
    const bool continuous = block->settings.session == TW_SESSION_CONTINUOUS;
    for (unsigned i = 0; i < TW_OPTION_END; i++) {
        const uint32_t bit = UINT32_C(1) << i;
        if (i == TW_OPTION_PACKET_INTERVAL && continuous)
            continue;
        if ((block->settings.bad & bit) != 0 && (own & bit) == 0)
            complain(targets, block, "skipped, \"%s\" of <Plugin twamp> is bad and not set here",
                     tw_option_name((enum tw_option)i));
    }
}

/* collectd's own interval, which may be anything, within the bounds of the option. */
static void use_interval_of_collectd(struct tw_targets *targets, struct tw_target_block *block,
                                     int64_t interval_ns)
{
    const struct tw_option_value value = {.kind = TW_VALUE_NUMBER,
                                          .number = (double)interval_ns / (double)TW_NS_PER_S};
    char why[TW_OPTION_TEXT];
    if (!tw_option_set(&block->settings, TW_OPTION_INTERVAL, &value, 1, why))
        complain(targets, block, "Interval %g of collectd: %s, and is not set here", value.number,
                 why);
}

static bool check_block(struct tw_targets *targets, struct tw_target_block *block,
                        int64_t interval_ns)
{
    const uint32_t own = block->settings.given;
    tw_settings_inherit(&block->settings, &targets->defaults);
    check_inherited(targets, block, own);
    if (!is_given(&block->settings, TW_OPTION_INTERVAL))
        use_interval_of_collectd(targets, block, interval_ns);
    if ((own & UINT32_C(1) << TW_OPTION_HOST) == 0)
        complain(targets, block, "option \"Host\" is missing");
    return block->errors == 0 && check_name(targets, block) && check_addresses(targets, block) &&
           check_source_ports(targets, block) && check_padding(targets, block) &&
           check_fit(targets, block, own) && check_secret(targets, block, own);
}

/* False when the name is too long. Slashes become '_' here, as collectd would do later, so that
 * equal names are found. */
static bool name_instance(const struct tw_target_block *block, bool classes, uint8_t class,
                          char instance[TW_INSTANCE_SIZE])
{
    char text[TW_CLASS_TEXT];
    const int n = snprintf(instance, TW_INSTANCE_SIZE, "%s%s%s", block->name, classes ? "-" : "",
                           classes ? tw_class_format(class, text) : "");
    for (char *c = instance; *c != '\0'; c++) {
        if (*c == '/')
            *c = '_';
    }
    return n >= 0 && n < TW_INSTANCE_SIZE;
}

/* The one that has the source port already; NULL: none. */
static const struct tw_target *find_port(const struct tw_targets *targets,
                                         const struct tw_target *wants)
{
    for (size_t i = 0; wants->source_port != 0 && i < targets->count; i++) {
        const struct tw_target *has = &targets->targets[i];
        if (has->source_port == wants->source_port &&
            tw_addresses_collide(has->settings, wants->settings))
            return has;
    }
    return NULL;
}

/* All classes of a block or none. */
static void add_targets(struct tw_targets *targets, struct tw_target_block *block,
                        struct tw_names *names)
{
    const struct tw_settings *s = &block->settings;
    const uint32_t classes = s->class_count == 0 ? 1 : s->class_count;
    struct tw_target *added = &targets->targets[targets->count];
    for (uint32_t i = 0; i < classes; i++) {
        const uint8_t class = s->class_count == 0 ? 0 : s->classes[i];
        added[i] = (struct tw_target){
            .settings = s,
            .secret = block->secret,
            .source_port = s->source_port == 0 ? 0 : (uint16_t)(s->source_port + i),
            .dscp = tw_class_dscp(class),
        };
        if (!name_instance(block, classes > 1, class, added[i].instance)) {
            complain(targets, block, "the name is too long: with its class at most %d characters",
                     TW_INSTANCE_SIZE - 1);
            return;
        }
        if (*tw_names_find(names, added[i].instance) != NULL) {
            complain(targets, block,
                     "another target is already called \"%s\": both would write the same series, "
                     "rename one",
                     added[i].instance);
            return;
        }
        const struct tw_target *other = find_port(targets, &added[i]);
        if (other != NULL) {
            complain(targets, block,
                     "SourcePort %u is that of target \"%s\" too, and they cannot share it: give "
                     "each a port of its own",
                     added[i].source_port, other->instance);
            return;
        }
    }
    for (uint32_t i = 0; i < classes; i++)
        *tw_names_find(names, added[i].instance) = added[i].instance;
    targets->count += classes;
}

void tw_targets_finish(struct tw_targets *targets, int64_t interval_ns)
{
    size_t most = 0;
    for (size_t i = 0; i < targets->block_count; i++) {
        struct tw_target_block *block = &targets->blocks[i];
        if (check_block(targets, block, interval_ns))
            most += block->settings.class_count == 0 ? 1 : block->settings.class_count;
    }
    struct tw_names names = {0};
    targets->targets = calloc(most == 0 ? 1 : most, sizeof *targets->targets);
    if (targets->targets == NULL || !tw_names_init(&names, most)) {
        targets->no_memory = true;
        return;
    }
    for (size_t i = 0; i < targets->block_count; i++) {
        if (targets->blocks[i].errors == 0)
            add_targets(targets, &targets->blocks[i], &names);
        targets->skipped += targets->blocks[i].errors != 0;
    }
    tw_names_free(&names);
}

void tw_targets_forget_secrets(struct tw_targets *targets)
{
    for (size_t i = 0; i < targets->block_count; i++)
        targets->blocks[i].secret = NULL;
    for (size_t i = 0; i < targets->count; i++)
        targets->targets[i].secret = NULL;
    tw_secret_files_free(&targets->secret_files);
}
