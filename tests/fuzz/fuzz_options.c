/* The plugin's configuration, any options with any values in any order: every target that comes out
 * can be measured, and whatever was refused has a message. */
#include "fuzz/fuzz.h"

#include "collectd-plugin/targets.h"

const char fuzz_name[] = "options";

enum { VALUES = 4, TEXT = 64, STEPS = 64 };

struct words {
    struct tw_option_value values[VALUES];
    char text[VALUES][TEXT];
    size_t count;
};

static void read_values(struct fuzz_input *input, struct words *words)
{
    memset(words, 0, sizeof *words);
    words->count = fuzz_octet(input) % (VALUES + 1);
    for (size_t i = 0; i < words->count; i++) {
        struct tw_option_value *value = &words->values[i];
        const uint8_t kind = fuzz_octet(input) % 8;
        if (kind == 0) {
            value->kind = TW_VALUE_BOOLEAN;
            value->boolean = (fuzz_octet(input) & 1) != 0;
        } else if (kind < 4) {
            value->kind = TW_VALUE_NUMBER;
            const uint64_t bits = fuzz_number(input, 8);
            if (kind == 1)
                memcpy(&value->number, &bits, sizeof bits);
            else
                value->number = (double)(bits % 100000) / (kind == 2 ? 1 : 100);
        } else {
            value->kind = TW_VALUE_STRING;
            fuzz_fill(input, (uint8_t *)words->text[i], fuzz_octet(input) % TEXT);
            value->string = words->text[i];
        }
    }
}

static void read_name(struct fuzz_input *input, char name[TEXT])
{
    const uint8_t pick = fuzz_octet(input);
    memset(name, 0, TEXT);
    if (pick < TW_OPTION_END)
        snprintf(name, TEXT, "%s", tw_option_name((enum tw_option)pick));
    else
        fuzz_fill(input, (uint8_t *)name, pick % TEXT);
}

static void step(struct fuzz_input *input, struct tw_targets *targets)
{
    struct words words;
    char name[TEXT];
    const uint8_t what = fuzz_octet(input) % 8;
    read_name(input, name);
    read_values(input, &words);
    if (what == 0)
        tw_targets_misplaced(targets, name, targets->block_count > 0);
    else if (what < 3)
        tw_targets_begin(targets, words.values, words.count);
    else if (what < 5 || targets->block_count == 0)
        tw_targets_default(targets, name, words.values, words.count);
    else
        tw_targets_option(targets, name, words.values, words.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct tw_targets targets;
    tw_targets_init(&targets);
    for (unsigned i = 0; i < STEPS && input.left > 0; i++)
        step(&input, &targets);
    tw_targets_finish(&targets, (int64_t)10 * 1000 * 1000 * 1000);
    FUZZ_CHECK(targets.skipped == 0 || targets.message_count > 0);
    for (size_t i = 0; i < targets.message_count; i++)
        FUZZ_CHECK(targets.messages[i][0] != '\0' && strchr(targets.messages[i], '\n') == NULL);
    for (size_t i = 0; i < targets.count; i++) {
        const struct tw_settings *settings = targets.targets[i].settings;
        FUZZ_CHECK(targets.targets[i].instance[0] != '\0' && settings->host[0] != '\0');
        FUZZ_CHECK((int64_t)settings->count * settings->packet_interval_ns + settings->timeout_ns <
                   settings->interval_ns);
    }
    tw_targets_free(&targets);
    return 0;
}
