/* From what the configuration says to the list of targets that can be measured.
 *
 * Takes blocks and options in the order of the file (several <Plugin twamp> blocks add up), and at
 * the end applies the defaults of the plugin level to every target, whatever the order was, makes
 * one target of each DSCP class and refuses what cannot work. An error costs its own target alone.
 * A plugin-level option with a bad value costs the targets that would have used it: measuring them
 * with another mode, source or class than was asked for would be worse than not measuring them.
 *
 * Knows nothing of collectd; whoever owns it logs the messages. One thread. */
#ifndef TW_PLUGIN_TARGETS_H
#define TW_PLUGIN_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collectd-plugin/options.h"
#include "collectd-plugin/secret_files.h"

/* collectd's DATA_MAX_NAME_LEN: longer names would be cut silently and could become equal. */
enum { TW_INSTANCE_SIZE = 128 };

/* One series set: a target, or one DSCP class of it. */
struct tw_target {
    const struct tw_settings *settings; /* interval_ns filled in; owned by the block */
    const struct tw_secret *secret;     /* NULL: none is needed, or they were forgotten */
    char instance[TW_INSTANCE_SIZE];    /* plugin_instance; unique */
    uint16_t source_port;               /* 0: any */
    uint8_t dscp;
};

/* A <Target> block, or a Host of the plugin level. */
struct tw_target_block {
    char *name; /* NULL: none was given */
    bool shortcut;
    unsigned errors;
    struct tw_settings settings;
    const struct tw_secret *secret; /* NULL: the mode needs none */
};

struct tw_targets {
    struct tw_settings defaults;
    struct tw_secret_files secret_files;
    struct tw_target_block *blocks;
    size_t block_count, block_room;
    struct tw_target *targets; /* after finish */
    size_t count;
    unsigned skipped; /* blocks that gave no target */
    char **messages;  /* errors, one line each, in order */
    size_t message_count, message_room;
    bool no_memory; /* something could not be kept */
};

void tw_targets_init(struct tw_targets *targets);
void tw_targets_free(struct tw_targets *targets);

/* An option of the plugin level. Host is the short form of a target. */
void tw_targets_default(struct tw_targets *targets, const char *option,
                        const struct tw_option_value *values, size_t count);

/* <Target "name">; the options that follow belong to it until the next begin. */
void tw_targets_begin(struct tw_targets *targets, const struct tw_option_value *values,
                      size_t count);
void tw_targets_option(struct tw_targets *targets, const char *option,
                       const struct tw_option_value *values, size_t count);

/* `name` was a block where an option belongs; `in_target`: inside the current target. */
void tw_targets_misplaced(struct tw_targets *targets, const char *name, bool in_target);

/* Once, after everything was read; reads the files of secrets. `interval_ns`: of targets that name
 * none. */
void tw_targets_finish(struct tw_targets *targets, int64_t interval_ns);

/* Wipes all secrets, when whoever needs them has a copy. */
void tw_targets_forget_secrets(struct tw_targets *targets);

#endif
