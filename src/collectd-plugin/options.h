/* The options of <Plugin twamp> and <Target>: which there are, what each may hold, and what to say
 * when it does not.
 *
 * Knows nothing of collectd, of blocks or of targets: one option with its values goes in, a field
 * of tw_settings is set or the reason why not comes out. Used by targets.c, which puts defaults and
 * blocks together and words the whole message. */
#ifndef TW_PLUGIN_OPTIONS_H
#define TW_PLUGIN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/wire.h"

enum tw_option {
    TW_OPTION_HOST,
    TW_OPTION_PORT,
    TW_OPTION_COUNT,
    TW_OPTION_PACKET_INTERVAL,
    TW_OPTION_TIMEOUT,
    TW_OPTION_SESSION,
    TW_OPTION_PROTOCOL,
    TW_OPTION_MODE,
    TW_OPTION_STATEFUL,
    TW_OPTION_DSCP,
    TW_OPTION_PADDING,
    TW_OPTION_ADDRESS_FAMILY,
    TW_OPTION_SOURCE_ADDRESS,
    TW_OPTION_SOURCE_PORT,
    TW_OPTION_DEVICE,
    TW_OPTION_INTERVAL,
    TW_OPTION_VALUES,
    TW_OPTION_KEY_ID,
    TW_OPTION_SECRET_FILE,
    TW_OPTION_FEATURES,
    /* known, but not built: always an error */
    TW_OPTION_SSID,
    TW_OPTION_STAMP_KEY_FILE,
    TW_OPTION_TLV,
    TW_OPTION_END
};

/* A value as the configuration file had it. */
struct tw_option_value {
    enum { TW_VALUE_STRING, TW_VALUE_NUMBER, TW_VALUE_BOOLEAN } kind;
    const char *string;
    double number;
    bool boolean;
};

/* Option Session. */
enum tw_session_kind {
    TW_SESSION_INTERVAL,   /* a session in each interval, PacketInterval from packet to packet */
    TW_SESSION_CONTINUOUS, /* one for all of them, Count packets spread evenly over each */
};

/* Groups of published values (option Values). */
#define TW_VALUES_RTT    0x01u
#define TW_VALUES_ONEWAY 0x02u
#define TW_VALUES_JITTER 0x04u
#define TW_VALUES_LOSS   0x08u
#define TW_VALUES_PATH   0x10u
#define TW_VALUES_ALL    0x1fu

enum {
    TW_OPTION_TEXT = 256,   /* room for a reason, an option's values, a host name */
    TW_DEVICE_SIZE = 16,    /* IFNAMSIZ */
    TW_CLASSES_MAX = 64,    /* there are no more code points */
    TW_CLASS_NUMBER = 0x80, /* added to a code point that was given as a number */
    TW_CLASS_TEXT = 8,
    TW_MODES_TEXT = 128, /* room for the names of all modes and features */
};

/* Everything a target can be told, checked. What was never given holds the built-in default. */
struct tw_settings {
    uint32_t given, bad; /* bit 1 << enum tw_option: set here; set here and refused */
    char host[TW_OPTION_TEXT];
    char device[TW_DEVICE_SIZE];      /* "": any */
    struct tw_address source;         /* family 0: any; port and scope always 0 */
    char source_zone[TW_DEVICE_SIZE]; /* its interface; "": none named */
    int64_t interval_ns;              /* 0: collectd's */
    int64_t packet_interval_ns;       /* from packet to packet; of no use if continuous */
    int64_t timeout_ns;               /* loss threshold */
    uint32_t port, count;             /* Count in packets */
    uint32_t padding;                 /* octets, or TW_PROBE_PADDING_EQUAL */
    uint32_t source_port;             /* 0: any */
    uint32_t family;                  /* 4, 6, 0 = any */
    uint32_t groups;                  /* TW_VALUES_* */
    uint32_t session;                 /* enum tw_session_kind */
    uint32_t protocol;                /* only one value is built */
    uint32_t mode, features;          /* TW_MODE_*: what is wanted; what is used if offered */
    char keyid[TW_KEYID_SIZE + 1];    /* "": none */
    char secret_file[TW_OPTION_TEXT]; /* "": none */
    uint32_t class_count;             /* 0: best effort, and no class in the instance name */
    uint8_t classes[TW_CLASSES_MAX];  /* code points, maybe with TW_CLASS_NUMBER */
    bool stateful;                    /* the reflector counts its own replies */
};

void tw_settings_init(struct tw_settings *settings);

/* Takes over whatever `own` was not given, good or bad, from `defaults`. */
void tw_settings_inherit(struct tw_settings *own, const struct tw_settings *defaults);

/* Option names are compared without regard to case, as collectd does. TW_OPTION_END: none. */
enum tw_option tw_option_find(const char *name);
const char *tw_option_name(enum tw_option option);

/* The name most like `name`: fewest letters changed, added, left out or swapped, or begins with it.
 * With `blocks` also "Target", which may stand beside options. */
const char *tw_option_nearest(const char *name, bool blocks);

/* Sets the option and marks it given. False, with a reason in `why` ("must be a whole number from 1
 * to 10000"), when the values will not do; the field keeps what it held and is marked bad, until
 * it is set to something good. */
bool tw_option_set(struct tw_settings *settings, enum tw_option option,
                   const struct tw_option_value *values, size_t count, char why[TW_OPTION_TEXT]);

/* The values as the user wrote them, cut to fit and without control characters: `10`, `"EF" 46`.
 * Returns `text`. */
char *tw_option_format(const struct tw_option_value *values, size_t count,
                       char text[TW_OPTION_TEXT]);

/* "EF", "AF31", "CS6", or the number if it was given as one. Returns `text`. */
char *tw_class_format(uint8_t class, char text[TW_CLASS_TEXT]);

/* The names, as the options Mode and Features have them, of the bits of a Modes field: "mixed,
 * encrypted, dscp"; unknown bits are left out, no bit at all is "none". Returns `text`. */
char *tw_modes_format(uint32_t modes, char text[TW_MODES_TEXT]);

static inline uint8_t tw_class_dscp(uint8_t class)
{
    return class & 0x3f;
}

#endif
