/* The table of options and the checks behind it; see options.h.
 *
 * Numbers are taken strictly: collectd's own helper turns 0.05 into 0 and accepts what overflows.
 */
#include "collectd-plugin/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "collectd-plugin/suggestion.h"
#include "lib/probe.h"
#include "lib/sys/socket.h"
#include "lib/time.h"

enum kind {
    KIND_WHOLE,   /* uint32_t */
    KIND_SECONDS, /* int64_t ns */
    KIND_TRUTH,   /* bool */
    KIND_TEXT,    /* char[], size with the NUL */
    KIND_PATH,    /* the same, of a file */
    KIND_CHOICE,  /* uint32_t: one choice's value */
    KIND_SET,     /* uint32_t: several choices' values together */
    KIND_ADDRESS, /* source and source_zone */
    KIND_CLASSES, /* classes and class_count */
    KIND_UNBUILT,
};

struct choice {
    const char *name; /* NULL ends a list */
    uint32_t value;
    bool built;
};

struct row {
    const char *name;
    enum kind kind;
    size_t offset, size; /* of the field in tw_settings */
    double min, max;
    const struct choice *choices;
};

static const struct choice sessions[] = {
    {"interval", TW_SESSION_INTERVAL, true}, {"continuous", TW_SESSION_CONTINUOUS, true}, {0}};

static const struct choice protocols[] = {
    {"twamp", 0, true}, {"stamp", 1, false}, {"light", 2, false}, {"auto", 3, false}, {0}};

static const struct choice modes[] = {{"unauthenticated", TW_MODE_UNAUTHENTICATED, true},
                                      {"mixed", TW_MODE_MIXED, true},
                                      {"authenticated", TW_MODE_AUTHENTICATED, true},
                                      {"encrypted", TW_MODE_ENCRYPTED, true},
                                      {0}};

/* RFC 5938, 6038, 7750, 8186. */
static const struct choice features[] = {{"session-control", TW_MODE_SESSION_CONTROL, true},
                                         {"reflect-octets", TW_MODE_REFLECT_OCTETS, true},
                                         {"symmetrical", TW_MODE_SYMMETRICAL, true},
                                         {"dscp", TW_MODE_DSCP_ECN, true},
                                         {"ptp", TW_MODE_PTP, true},
                                         {"none", 0, true},
                                         {0}};

static const struct choice families[] = {
    {"any", 0, true}, {"ipv4", 4, true}, {"ipv6", 6, true}, {0}};

static const struct choice groups[] = {
    {"rtt", TW_VALUES_RTT, true},       {"oneway", TW_VALUES_ONEWAY, true},
    {"jitter", TW_VALUES_JITTER, true}, {"loss", TW_VALUES_LOSS, true},
    {"path", TW_VALUES_PATH, true},     {0}};

/* RFC 2474, 2597, 3246. */
static const struct choice classes[] = {{"CS0", 0, true},   {"CS1", 8, true},
                                        {"CS2", 16, true},  {"CS3", 24, true},
                                        {"CS4", 32, true},  {"CS5", 40, true},
                                        {"CS6", 48, true},  {"CS7", 56, true},
                                        {"AF11", 10, true}, {"AF12", 12, true},
                                        {"AF13", 14, true}, {"AF21", 18, true},
                                        {"AF22", 20, true}, {"AF23", 22, true},
                                        {"AF31", 26, true}, {"AF32", 28, true},
                                        {"AF33", 30, true}, {"AF41", 34, true},
                                        {"AF42", 36, true}, {"AF43", 38, true},
                                        {"EF", 46, true},   {0}};

#define FIELD(f) offsetof(struct tw_settings, f), sizeof(((struct tw_settings *)NULL)->f)

/* Count: a thousand packets a second over ten seconds; memory and sorting time stay small. Padding:
 * the largest UDP datagram over IPv4. Interval: RRD files and Graphite know whole seconds only. */
static const struct row rows[TW_OPTION_END] = {
    [TW_OPTION_HOST] = {"Host", KIND_TEXT, FIELD(host), 0, 0, NULL},
    [TW_OPTION_PORT] = {"Port", KIND_WHOLE, FIELD(port), 1, 65535, NULL},
    [TW_OPTION_COUNT] = {"Count", KIND_WHOLE, FIELD(count), 1, 10000, NULL},
    [TW_OPTION_PACKET_INTERVAL] = {"PacketInterval", KIND_SECONDS, FIELD(packet_interval_ns), 0.001,
                                   3600, NULL},
    [TW_OPTION_TIMEOUT] = {"Timeout", KIND_SECONDS, FIELD(timeout_ns), 0.01, 60, NULL},
    [TW_OPTION_SESSION] = {"Session", KIND_CHOICE, FIELD(session), 0, 0, sessions},
    [TW_OPTION_PROTOCOL] = {"Protocol", KIND_CHOICE, FIELD(protocol), 0, 0, protocols},
    [TW_OPTION_MODE] = {"Mode", KIND_CHOICE, FIELD(mode), 0, 0, modes},
    [TW_OPTION_STATEFUL] = {"Stateful", KIND_TRUTH, FIELD(stateful), 0, 0, NULL},
    [TW_OPTION_DSCP] = {"DSCP", KIND_CLASSES, FIELD(classes), 0, 63, classes},
    [TW_OPTION_PADDING] = {"Padding", KIND_WHOLE, FIELD(padding), 0, TW_UDP_PAYLOAD_MAX - 14, NULL},
    [TW_OPTION_ADDRESS_FAMILY] = {"AddressFamily", KIND_CHOICE, FIELD(family), 0, 0, families},
    [TW_OPTION_SOURCE_ADDRESS] = {"SourceAddress", KIND_ADDRESS, FIELD(source), 0, 0, NULL},
    [TW_OPTION_SOURCE_PORT] = {"SourcePort", KIND_WHOLE, FIELD(source_port), 1, 65535, NULL},
    [TW_OPTION_DEVICE] = {"Device", KIND_TEXT, FIELD(device), 0, 0, NULL},
    [TW_OPTION_INTERVAL] = {"Interval", KIND_SECONDS, FIELD(interval_ns), 1, 86400, NULL},
    [TW_OPTION_VALUES] = {"Values", KIND_SET, FIELD(groups), 0, 0, groups},
    [TW_OPTION_KEY_ID] = {"KeyID", KIND_TEXT, FIELD(keyid), 0, 0, NULL},
    [TW_OPTION_SECRET_FILE] = {"SecretFile", KIND_PATH, FIELD(secret_file), 0, 0, NULL},
    [TW_OPTION_FEATURES] = {"Features", KIND_SET, FIELD(features), 0, 0, features},
    [TW_OPTION_SSID] = {"SSID", KIND_UNBUILT, 0, 0, 0, 0, NULL},
    [TW_OPTION_STAMP_KEY_FILE] = {"StampKeyFile", KIND_UNBUILT, 0, 0, 0, 0, NULL},
    [TW_OPTION_TLV] = {"Tlv", KIND_UNBUILT, 0, 0, 0, 0, NULL},
};

void tw_settings_init(struct tw_settings *settings)
{
    *settings = (struct tw_settings){
        .packet_interval_ns = 100 * TW_NS_PER_MS,
        .timeout_ns = 2 * TW_NS_PER_S,
        .port = 862,
        .count = 10,
        .padding = TW_PROBE_PADDING_EQUAL,
        .groups = TW_VALUES_ALL,
        .mode = TW_MODE_UNAUTHENTICATED,
        .features = TW_MODE_DSCP_ECN,
        .stateful = true,
    };
}

void tw_settings_inherit(struct tw_settings *own, const struct tw_settings *defaults)
{
    for (unsigned i = 0; i < TW_OPTION_END; i++) {
        const struct row *row = &rows[i];
        const uint32_t bit = UINT32_C(1) << i;
        if ((own->given & bit) != 0)
            continue;
        own->given |= defaults->given & bit;
        own->bad |= defaults->bad & bit;
        memcpy((char *)own + row->offset, (const char *)defaults + row->offset, row->size);
        if (row->kind == KIND_CLASSES)
            own->class_count = defaults->class_count;
        if (row->kind == KIND_ADDRESS)
            memcpy(own->source_zone, defaults->source_zone, sizeof own->source_zone);
    }
}

enum tw_option tw_option_find(const char *name)
{
    unsigned i = 0;
    while (i < TW_OPTION_END && strcasecmp(name, rows[i].name) != 0)
        i++;
    return (enum tw_option)i;
}

const char *tw_option_name(enum tw_option option)
{
    return rows[option].name;
}

const char *tw_option_nearest(const char *name, bool blocks)
{
    const char *nearest = "Target";
    unsigned least = blocks ? tw_suggestion_unlikeness(name, nearest) : UINT32_MAX;
    for (unsigned i = 0; i < TW_OPTION_END; i++) {
        const unsigned d = tw_suggestion_unlikeness(name, rows[i].name);
        if (d < least) {
            least = d;
            nearest = rows[i].name;
        }
    }
    return nearest;
}

static const struct choice *find_choice(const struct choice *list, const char *name)
{
    while (list->name != NULL && strcasecmp(name, list->name) != 0)
        list++;
    return list->name == NULL ? NULL : list;
}

static const char *nearest_choice(const struct choice *list, const char *name)
{
    const char *nearest = list->name;
    unsigned least = UINT32_MAX;
    for (; list->name != NULL; list++) {
        const unsigned d = tw_suggestion_unlikeness(name, list->name);
        if (d < least) {
            least = d;
            nearest = list->name;
        }
    }
    return nearest;
}

/* A number, or a string that is wholly one. */
static bool read_number(const struct tw_option_value *value, double *number)
{
    *number = value->number;
    if (value->kind == TW_VALUE_STRING) {
        /* strtod would also take blanks, "inf" and "nan" */
        if (strchr("+-.0123456789", value->string[0]) == NULL)
            return false;
        char *end;
        *number = strtod(value->string, &end);
        if (end == value->string || *end != '\0')
            return false;
    }
    return value->kind != TW_VALUE_BOOLEAN && isfinite(*number);
}

static bool set_whole(void *field, const struct row *row, const struct tw_option_value *value,
                      char why[TW_OPTION_TEXT])
{
    double number;
    if (!read_number(value, &number) || !(number >= row->min) || !(number <= row->max) ||
        number != floor(number)) {
        snprintf(why, TW_OPTION_TEXT, "must be a whole number from %.0f to %.0f", row->min,
                 row->max);
        return false;
    }
    *(uint32_t *)field = (uint32_t)number;
    return true;
}

static bool set_seconds(void *field, const struct row *row, const struct tw_option_value *value,
                        char why[TW_OPTION_TEXT])
{
    double number;
    if (!read_number(value, &number) || !(number >= row->min) || !(number <= row->max)) {
        snprintf(why, TW_OPTION_TEXT, "must be a number of seconds from %g to %g", row->min,
                 row->max);
        return false;
    }
    *(int64_t *)field = llround(number * (double)TW_NS_PER_S);
    return true;
}

static bool set_truth(void *field, const struct tw_option_value *value, char why[TW_OPTION_TEXT])
{
    static const struct choice truths[] = {{"true", 1, true},
                                           {"yes", 1, true},
                                           {"on", 1, true},
                                           {"false", 0, true},
                                           {"no", 0, true},
                                           {"off", 0, true},
                                           {0}};
    const struct choice *found =
        value->kind == TW_VALUE_STRING ? find_choice(truths, value->string) : NULL;
    if (value->kind != TW_VALUE_BOOLEAN && found == NULL) {
        snprintf(why, TW_OPTION_TEXT, "must be true or false");
        return false;
    }
    *(bool *)field = found != NULL ? found->value == 1 : value->boolean;
    return true;
}

/* Names of hosts, devices and keys: never empty, no blanks, no control characters. Those of files
 * may have blanks, and must not depend on the directory that collectd happens to be in. */
static bool set_text(void *field, const struct row *row, const struct tw_option_value *value,
                     char why[TW_OPTION_TEXT])
{
    const bool path = row->kind == KIND_PATH;
    if (value->kind != TW_VALUE_STRING || value->string[0] == '\0') {
        snprintf(why, TW_OPTION_TEXT, "must be a name in quotes");
        return false;
    }
    if (path && value->string[0] != '/') {
        snprintf(why, TW_OPTION_TEXT, "must be the whole path of a file, beginning with /");
        return false;
    }
    const size_t length = strlen(value->string);
    if (length >= row->size) {
        snprintf(why, TW_OPTION_TEXT, "is too long: %zu characters, at most %zu", length,
                 row->size - 1);
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)value->string[i];
        if (c < ' ' || c == 0x7f || (c == ' ' && !path)) {
            snprintf(why, TW_OPTION_TEXT, "must not contain %scontrol characters",
                     path ? "" : "blanks or ");
            return false;
        }
    }
    memcpy(field, value->string, length + 1);
    return true;
}

/* With the interface by name: it may come later, or be made anew and have another number then. */
static bool set_source(struct tw_settings *settings, const struct tw_option_value *value,
                       char why[TW_OPTION_TEXT])
{
    _Static_assert(sizeof settings->source_zone == TW_ZONE_SIZE, "an interface's name fits");
    struct tw_address address;
    char zone[TW_ZONE_SIZE];
    if (value->kind != TW_VALUE_STRING || !tw_address_parse_zone(value->string, &address, zone)) {
        snprintf(why, TW_OPTION_TEXT, "must be an IPv4 or IPv6 address in quotes");
        return false;
    }
    settings->source = address;
    memcpy(settings->source_zone, zone, sizeof zone);
    return true;
}

static const char *first_built(const struct choice *list)
{
    while (!list->built)
        list++;
    return list->name;
}

static const struct choice *choose(const struct choice *list, const struct tw_option_value *value,
                                   char why[TW_OPTION_TEXT])
{
    if (value->kind != TW_VALUE_STRING) {
        snprintf(why, TW_OPTION_TEXT, "must be a name, such as \"%s\"", list->name);
        return NULL;
    }
    const struct choice *choice = find_choice(list, value->string);
    if (choice == NULL) {
        snprintf(why, TW_OPTION_TEXT, "unknown value, did you mean \"%s\"?",
                 nearest_choice(list, value->string));
        return NULL;
    }
    if (!choice->built) {
        snprintf(why, TW_OPTION_TEXT,
                 "not supported by this version: it is not built yet, use \"%s\"",
                 first_built(list));
        return NULL;
    }
    return choice;
}

static bool set_choices(void *field, const struct row *row, const struct tw_option_value *values,
                        size_t count, char why[TW_OPTION_TEXT])
{
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const struct choice *choice = choose(row->choices, &values[i], why);
        if (choice == NULL)
            return false;
        if (row->kind == KIND_SET && choice->value == 0 && count > 1) {
            snprintf(why, TW_OPTION_TEXT, "\"%s\" stands alone", choice->name);
            return false;
        }
        sum |= choice->value;
    }
    *(uint32_t *)field = sum;
    return true;
}

/* One code point, by name or number. */
static bool read_class(const struct row *row, const struct tw_option_value *value, uint8_t *class,
                       char why[TW_OPTION_TEXT])
{
    double number;
    if (read_number(value, &number)) {
        if (!(number >= row->min) || !(number <= row->max) || number != floor(number)) {
            snprintf(
                why, TW_OPTION_TEXT,
                "must be a name (EF, AF11 to AF43, CS0 to CS7) or a whole number from 0 to 63");
            return false;
        }
        *class = (uint8_t)number | TW_CLASS_NUMBER;
        return true;
    }
    const struct choice *choice = choose(row->choices, value, why);
    if (choice == NULL)
        return false;
    *class = (uint8_t)choice->value;
    return true;
}

static bool set_classes(struct tw_settings *settings, const struct row *row,
                        const struct tw_option_value *values, size_t count,
                        char why[TW_OPTION_TEXT])
{
    uint8_t read[TW_CLASSES_MAX] = {0};
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t class;
        if (!read_class(row, &values[i], &class, why))
            return false;
        const uint64_t bit = UINT64_C(1) << tw_class_dscp(class);
        if ((seen & bit) != 0) {
            snprintf(why, TW_OPTION_TEXT, "class %u is named twice, once is enough",
                     tw_class_dscp(class));
            return false;
        }
        seen |= bit;
        read[i] = class; /* no more than 64 are distinct */
    }
    memcpy(settings->classes, read, count);
    settings->class_count = (uint32_t)count;
    return true;
}

static bool set_field(struct tw_settings *settings, const struct row *row,
                      const struct tw_option_value *values, size_t count, char why[TW_OPTION_TEXT])
{
    void *field = (char *)settings + row->offset;
    switch (row->kind) {
    case KIND_WHOLE:
        return set_whole(field, row, values, why);
    case KIND_SECONDS:
        return set_seconds(field, row, values, why);
    case KIND_TRUTH:
        return set_truth(field, values, why);
    case KIND_TEXT:
    case KIND_PATH:
        return set_text(field, row, values, why);
    case KIND_ADDRESS:
        return set_source(settings, values, why);
    case KIND_CHOICE:
    case KIND_SET:
        return set_choices(field, row, values, count, why);
    case KIND_CLASSES:
        return set_classes(settings, row, values, count, why);
    case KIND_UNBUILT:
        break;
    }
    snprintf(why, TW_OPTION_TEXT, "option is not supported by this version: it is not built yet");
    return false;
}

bool tw_option_set(struct tw_settings *settings, enum tw_option option,
                   const struct tw_option_value *values, size_t count, char why[TW_OPTION_TEXT])
{
    const struct row *row = &rows[option];
    const bool several = row->kind == KIND_SET || row->kind == KIND_CLASSES;
    const uint32_t bit = UINT32_C(1) << option;
    settings->given |= bit;
    bool good = false;
    if (count == 0 && row->kind != KIND_UNBUILT)
        snprintf(why, TW_OPTION_TEXT, "a value is missing");
    else if (count > 1 && !several && row->kind != KIND_UNBUILT)
        snprintf(why, TW_OPTION_TEXT, "takes one value");
    else
        good = set_field(settings, row, values, count, why);
    /* a default may be given again, and then the last one counts */
    settings->bad = good ? settings->bad & ~bit : settings->bad | bit;
    return good;
}

char *tw_option_format(const struct tw_option_value *values, size_t count,
                       char text[TW_OPTION_TEXT])
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && used < TW_OPTION_TEXT; i++) {
        const struct tw_option_value *value = &values[i];
        const char *space = i == 0 ? "" : " ";
        int n;
        if (value->kind == TW_VALUE_NUMBER)
            n = snprintf(text + used, TW_OPTION_TEXT - used, "%s%.10g", space, value->number);
        else if (value->kind == TW_VALUE_BOOLEAN)
            n = snprintf(text + used, TW_OPTION_TEXT - used, "%s%s", space,
                         value->boolean ? "true" : "false");
        else
            n = snprintf(text + used, TW_OPTION_TEXT - used, "%s\"%.64s\"", space, value->string);
        used += n > 0 ? (size_t)n : 0;
    }
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    return text;
}

static size_t append_names(const struct choice *list, uint32_t bits, char text[TW_MODES_TEXT],
                           size_t used)
{
    for (; list->name != NULL; list++) {
        if ((list->value & bits) == 0)
            continue;
        const int n =
            snprintf(text + used, TW_MODES_TEXT - used, "%s%s", used == 0 ? "" : ", ", list->name);
        used += n > 0 ? (size_t)n : 0;
        if (used >= TW_MODES_TEXT)
            return TW_MODES_TEXT - 1;
    }
    return used;
}

char *tw_modes_format(uint32_t modes_field, char text[TW_MODES_TEXT])
{
    text[0] = '\0';
    const size_t used = append_names(modes, modes_field, text, 0);
    if (append_names(features, modes_field, text, used) == 0)
        snprintf(text, TW_MODES_TEXT, "none");
    return text;
}

char *tw_class_format(uint8_t class, char text[TW_CLASS_TEXT])
{
    const struct choice *choice = classes;
    while (choice->name != NULL && choice->value != class)
        choice++;
    if (choice->name != NULL)
        snprintf(text, TW_CLASS_TEXT, "%s", choice->name);
    else
        snprintf(text, TW_CLASS_TEXT, "%u", tw_class_dscp(class));
    return text;
}
