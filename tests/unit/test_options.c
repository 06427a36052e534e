/* collectd-plugin/options.h: what each option takes, what it refuses, and which name it suggests.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "collectd-plugin/options.h"
#include "lib/probe.h"
#include "lib/wire.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static struct tw_option_value string(const char *text)
{
    return (struct tw_option_value){.kind = TW_VALUE_STRING, .string = text};
}

static struct tw_option_value number(double value)
{
    return (struct tw_option_value){.kind = TW_VALUE_NUMBER, .number = value};
}

static struct tw_option_value boolean(bool value)
{
    return (struct tw_option_value){.kind = TW_VALUE_BOOLEAN, .boolean = value};
}

/* Sets one option of fresh settings. */
static bool set_several(struct tw_settings *settings, const char *name,
                        const struct tw_option_value *values, size_t count,
                        char why[TW_OPTION_TEXT])
{
    const enum tw_option option = tw_option_find(name);
    assert_int_not_equal(option, TW_OPTION_END);
    tw_settings_init(settings);
    why[0] = '\0';
    const bool good = tw_option_set(settings, option, values, count, why);
    const uint32_t bit = UINT32_C(1) << option;
    assert_int_equal(settings->given, bit);
    assert_int_equal(settings->bad, good ? 0 : bit);
    assert_int_equal(why[0] == '\0', good);
    return good;
}

static void takes(struct tw_settings *settings, const char *name, struct tw_option_value value)
{
    char why[TW_OPTION_TEXT];
    assert_true(set_several(settings, name, &value, 1, why));
}

/* Refused, the reason holds `reason`, and nothing but the marks has changed. */
static void refuses(const char *name, struct tw_option_value value, const char *reason)
{
    struct tw_settings settings, fresh;
    char why[TW_OPTION_TEXT];
    assert_false(set_several(&settings, name, &value, 1, why));
    if (strstr(why, reason) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", name, why, reason);
    tw_settings_init(&fresh);
    settings.given = settings.bad = 0;
    assert_memory_equal(&settings, &fresh, sizeof fresh);
}

static void defaults_are_those_of_the_documentation(void **state)
{
    (void)state;
    struct tw_settings settings;
    tw_settings_init(&settings);
    assert_int_equal(settings.port, 862);
    assert_int_equal(settings.count, 10);
    assert_int_equal(settings.packet_interval_ns, 100000000);
    assert_int_equal(settings.timeout_ns, 2000000000);
    assert_int_equal(settings.padding, TW_PROBE_PADDING_EQUAL);
    assert_int_equal(settings.mode, TW_MODE_UNAUTHENTICATED);
    assert_int_equal(settings.features, TW_MODE_DSCP_ECN);
    assert_int_equal(settings.session, TW_SESSION_INTERVAL);
    assert_string_equal(settings.keyid, "");
    assert_string_equal(settings.secret_file, "");
    assert_int_equal(settings.groups, TW_VALUES_ALL);
    assert_int_equal(settings.interval_ns, 0);
    assert_int_equal(settings.class_count, 0);
    assert_int_equal(settings.family, 0);
    assert_int_equal(settings.source.family, 0);
    assert_int_equal(settings.source_port, 0);
    assert_string_equal(settings.device, "");
    assert_true(settings.stateful);
}

static void whole_numbers_are_taken_strictly(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "Count", number(1));
    assert_int_equal(settings.count, 1);
    takes(&settings, "Count", number(10000));
    assert_int_equal(settings.count, 10000);
    takes(&settings, "count", string("20"));
    assert_int_equal(settings.count, 20);
    const char *range = "must be a whole number from 1 to 10000";
    const struct tw_option_value bad[] = {
        number(0),    number(-1),    number(0.05),  number(10001),  number(1e300),
        number(NAN),  number(1.5),   boolean(true), string(""),     string("ten"),
        string("1x"), string(" 1"),  string("1 "),  string("inf"),  string("nan"),
        string("-1"), string("1.5"), string("+"),   string("1e99"), string("--1"),
    };
    for (size_t i = 0; i < LENGTH(bad); i++)
        refuses("Count", bad[i], range);

    takes(&settings, "Port", number(65535));
    assert_int_equal(settings.port, 65535);
    refuses("Port", number(0), "from 1 to 65535");
    refuses("Port", number(65536), "from 1 to 65535");
    refuses("Port", string("twamp-control"), "from 1 to 65535");
    takes(&settings, "SourcePort", string("20001"));
    assert_int_equal(settings.source_port, 20001);
    refuses("SourcePort", number(0), "from 1 to 65535");
    takes(&settings, "Padding", number(0));
    assert_int_equal(settings.padding, 0);
    takes(&settings, "Padding", number(65493));
    assert_int_equal(settings.padding, 65493);
    refuses("Padding", number(65494), "from 0 to 65493");
    refuses("Padding", number(-1), "from 0 to 65493");
}

static void seconds_keep_their_fraction(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "PacketInterval", number(0.05));
    assert_int_equal(settings.packet_interval_ns, 50000000);
    takes(&settings, "PacketInterval", number(0.001));
    assert_int_equal(settings.packet_interval_ns, 1000000);
    refuses("PacketInterval", number(0.0009), "seconds from 0.001 to 3600");
    refuses("PacketInterval", number(0), "seconds from 0.001 to 3600");
    refuses("PacketInterval", number(NAN), "seconds from 0.001 to 3600");
    refuses("PacketInterval", string("100ms"), "seconds from 0.001 to 3600");
    takes(&settings, "Timeout", string("0.5"));
    assert_int_equal(settings.timeout_ns, 500000000);
    refuses("Timeout", number(-2), "seconds from 0.01 to 60");
    refuses("Timeout", number(61), "seconds from 0.01 to 60");
    takes(&settings, "Interval", number(2.5));
    assert_int_equal(settings.interval_ns, 2500000000);
    refuses("Interval", number(0.5), "seconds from 1 to 86400");
    refuses("Interval", number(100000), "seconds from 1 to 86400");
}

static void truth_is_a_boolean_or_its_name(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "Stateful", boolean(false));
    assert_false(settings.stateful);
    takes(&settings, "Stateful", boolean(true));
    assert_true(settings.stateful);
    takes(&settings, "Stateful", string("No"));
    assert_false(settings.stateful);
    refuses("Stateful", string("maybe"), "true or false");
    refuses("Stateful", number(1), "true or false");
}

static void names_are_bounded_and_printable(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "Host", string("ams1.example.net"));
    assert_string_equal(settings.host, "ams1.example.net");
    char name[257];
    memset(name, 'a', sizeof name);
    name[256] = '\0';
    refuses("Host", string(name), "too long: 256 characters, at most 255");
    name[255] = '\0';
    takes(&settings, "Host", string(name));
    assert_string_equal(settings.host, name);
    refuses("Host", string(""), "name in quotes");
    refuses("Host", number(1), "name in quotes");
    refuses("Host", string("a b"), "blanks");
    refuses("Host", string("a\n"), "control characters");
    takes(&settings, "Device", string("vrf-management1"));
    assert_string_equal(settings.device, "vrf-management1");
    refuses("Device", string("vrf-management12"), "at most 15");
}

static void only_what_is_built_can_be_chosen(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "Protocol", string("TWAMP"));
    refuses("Protocol", string("stamp"), "not supported by this version");
    refuses("Protocol", string("light"), "not supported by this version");
    refuses("Protocol", string("auto"), "use \"twamp\"");
    const char *unbuilt[] = {"SSID", "StampKeyFile", "Tlv"};
    for (size_t i = 0; i < LENGTH(unbuilt); i++) {
        refuses(unbuilt[i], string("x"), "not supported by this version");
        refuses(unbuilt[i], number(7), "not supported by this version");
    }
}

static void a_session_is_of_an_interval_or_continuous(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "Session", string("interval"));
    assert_int_equal(settings.session, TW_SESSION_INTERVAL);
    takes(&settings, "session", string("Continuous"));
    assert_int_equal(settings.session, TW_SESSION_CONTINUOUS);
    refuses("Session", string("continous"), "did you mean \"continuous\"?");
    refuses("Session", boolean(true), "must be a name, such as \"interval\"");
}

/* RFC 5357 section 3.1, RFC 5618 for mixed. */
static void a_mode_is_one_bit_and_features_are_several(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "Mode", string("unauthenticated"));
    assert_int_equal(settings.mode, 1);
    takes(&settings, "Mode", string("authenticated"));
    assert_int_equal(settings.mode, 2);
    takes(&settings, "Mode", string("Encrypted"));
    assert_int_equal(settings.mode, 4);
    takes(&settings, "Mode", string("mixed"));
    assert_int_equal(settings.mode, 8);
    refuses("Mode", string("open"), "unknown value");

    takes(&settings, "Features", string("dscp"));
    assert_int_equal(settings.features, 0x100);
    takes(&settings, "Features", string("none"));
    assert_int_equal(settings.features, 0);
    const struct tw_option_value all[] = {string("session-control"), string("reflect-octets"),
                                          string("symmetrical"), string("dscp"), string("ptp")};
    char why[TW_OPTION_TEXT];
    assert_true(set_several(&settings, "Features", all, LENGTH(all), why));
    assert_int_equal(settings.features, 0x370);
    const struct tw_option_value both[] = {string("dscp"), string("none")};
    assert_false(set_several(&settings, "Features", both, 2, why));
    assert_string_equal(why, "\"none\" stands alone");
    refuses("Features", string("symetrical"), "did you mean \"symmetrical\"?");
    refuses("Features", number(5938), "must be a name");
}

/* RFC 4656 section 3.1: 80 octets. */
static void a_keyid_fits_its_field(void **state)
{
    (void)state;
    struct tw_settings settings;
    char name[82];
    memset(name, 'k', sizeof name);
    name[80] = '\0';
    takes(&settings, "KeyID", string(name));
    assert_string_equal(settings.keyid, name);
    name[80] = 'k';
    name[81] = '\0';
    refuses("KeyID", string(name), "is too long: 81 characters, at most 80");
    refuses("KeyID", string("noc 1"), "blanks");
    refuses("KeyID", string("noc\r"), "control characters");
    refuses("KeyID", string(""), "name in quotes");
    refuses("KeyID", number(7), "name in quotes");
}

static void a_file_is_named_with_its_whole_path(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "SecretFile", string("/etc/my keys/twamp"));
    assert_string_equal(settings.secret_file, "/etc/my keys/twamp");
    refuses("SecretFile", string("secrets"), "the whole path of a file");
    refuses("SecretFile", string("/etc/twamp\n"), "must not contain control characters");
    refuses("SecretFile", string(""), "name in quotes");
}

static void modes_of_a_greeting_have_names(void **state)
{
    (void)state;
    char text[TW_MODES_TEXT];
    assert_string_equal(tw_modes_format(TW_MODE_ENCRYPTED, text), "encrypted");
    assert_string_equal(tw_modes_format(0x10b, text),
                        "unauthenticated, mixed, authenticated, dscp");
    assert_string_equal(tw_modes_format(0, text), "none");
    assert_string_equal(tw_modes_format(0x80000000, text), "none");
    assert_string_equal(tw_modes_format(UINT32_MAX, text),
                        "unauthenticated, mixed, authenticated, encrypted, session-control, "
                        "reflect-octets, symmetrical, dscp, ptp");
}

static void a_wrong_choice_names_the_nearest(void **state)
{
    (void)state;
    refuses("Session", string("intervall"), "did you mean \"interval\"?");
    refuses("Session", string("continous"), "did you mean \"continuous\"?");
    refuses("Protocol", string("tawmp"), "did you mean \"twamp\"?");
    refuses("Mode", string("unauth"), "did you mean \"unauthenticated\"?");
    refuses("Mode", string("encryptd"), "did you mean \"encrypted\"?");
    refuses("AddressFamily", string("ip6"), "did you mean \"ipv6\"?");
    refuses("Values", string("los"), "did you mean \"loss\"?");
    refuses("Values", string("one-way"), "did you mean \"oneway\"?");
    refuses("DSCP", string("EFF"), "did you mean \"EF\"?");
    refuses("DSCP", string("AF1"), "did you mean \"AF11\"?");
    refuses("Mode", number(1), "must be a name");
}

static void families_and_addresses_are_recognised(void **state)
{
    (void)state;
    struct tw_settings settings;
    takes(&settings, "AddressFamily", string("ipv6"));
    assert_int_equal(settings.family, 6);
    takes(&settings, "AddressFamily", string("IPv4"));
    assert_int_equal(settings.family, 4);
    takes(&settings, "AddressFamily", string("any"));
    assert_int_equal(settings.family, 0);
    takes(&settings, "SourceAddress", string("192.0.2.9"));
    const uint8_t octets[] = {192, 0, 2, 9};
    assert_int_equal(settings.source.family, 4);
    assert_memory_equal(settings.source.octets, octets, sizeof octets);
    takes(&settings, "SourceAddress", string("2001:db8::9"));
    assert_int_equal(settings.source.family, 6);
    assert_string_equal(settings.source_zone, "");
    takes(&settings, "SourceAddress", string("fe80::9%no-such-one"));
    assert_int_equal(settings.source.family, 6);
    assert_int_equal(settings.source.scope, 0);
    assert_string_equal(settings.source_zone, "no-such-one");
    refuses("SourceAddress", string("2001:db8::9%lo"), "IPv4 or IPv6 address");
    refuses("SourceAddress", string("eth0"), "IPv4 or IPv6 address");
    refuses("SourceAddress", string("192.0.2.9:20001"), "IPv4 or IPv6 address");
    refuses("SourceAddress", number(192), "IPv4 or IPv6 address");
}

/* The code points of RFC 2474, 2597 and 3246. */
static void classes_have_names_and_numbers(void **state)
{
    (void)state;
    const struct {
        const char *name;
        uint8_t dscp;
    } known[] = {
        {"CS0", 0},   {"CS1", 8},   {"AF11", 10}, {"AF12", 12}, {"AF13", 14}, {"CS2", 16},
        {"AF21", 18}, {"AF22", 20}, {"AF23", 22}, {"CS3", 24},  {"AF31", 26}, {"AF32", 28},
        {"AF33", 30}, {"CS4", 32},  {"AF41", 34}, {"AF42", 36}, {"AF43", 38}, {"CS5", 40},
        {"EF", 46},   {"CS6", 48},  {"CS7", 56},
    };
    struct tw_settings settings;
    char text[TW_CLASS_TEXT];
    for (size_t i = 0; i < LENGTH(known); i++) {
        takes(&settings, "DSCP", string(known[i].name));
        assert_int_equal(settings.class_count, 1);
        assert_int_equal(tw_class_dscp(settings.classes[0]), known[i].dscp);
        assert_string_equal(tw_class_format(settings.classes[0], text), known[i].name);
    }
    takes(&settings, "dscp", string("ef"));
    assert_string_equal(tw_class_format(settings.classes[0], text), "EF");
    takes(&settings, "DSCP", number(46));
    assert_int_equal(tw_class_dscp(settings.classes[0]), 46);
    assert_string_equal(tw_class_format(settings.classes[0], text), "46");
    takes(&settings, "DSCP", string("63"));
    assert_int_equal(tw_class_dscp(settings.classes[0]), 63);
    refuses("DSCP", number(64), "from 0 to 63");
    refuses("DSCP", number(-1), "from 0 to 63");
    refuses("DSCP", number(4.5), "from 0 to 63");
    refuses("DSCP", string("64"), "from 0 to 63");
    refuses("DSCP", boolean(true), "must be a name");
}

static void several_classes_are_kept_in_order(void **state)
{
    (void)state;
    struct tw_settings settings;
    char why[TW_OPTION_TEXT];
    const struct tw_option_value good[] = {string("EF"), string("AF31"), number(0)};
    assert_true(set_several(&settings, "DSCP", good, 3, why));
    assert_int_equal(settings.class_count, 3);
    assert_int_equal(tw_class_dscp(settings.classes[0]), 46);
    assert_int_equal(tw_class_dscp(settings.classes[1]), 26);
    assert_int_equal(tw_class_dscp(settings.classes[2]), 0);

    const struct tw_option_value twice[] = {string("EF"), number(46)};
    assert_false(set_several(&settings, "DSCP", twice, 2, why));
    assert_non_null(strstr(why, "class 46 is named twice"));
    assert_int_equal(settings.class_count, 0);

    struct tw_option_value all[65];
    for (unsigned i = 0; i < 65; i++)
        all[i] = number(i % 64);
    assert_true(set_several(&settings, "DSCP", all, 64, why));
    assert_int_equal(settings.class_count, 64);
    assert_false(set_several(&settings, "DSCP", all, 65, why));
}

static void groups_add_up(void **state)
{
    (void)state;
    struct tw_settings settings;
    char why[TW_OPTION_TEXT];
    const struct tw_option_value some[] = {string("rtt"), string("Loss")};
    assert_true(set_several(&settings, "Values", some, 2, why));
    assert_int_equal(settings.groups, TW_VALUES_RTT | TW_VALUES_LOSS);
    const struct tw_option_value every[] = {string("rtt"), string("oneway"), string("jitter"),
                                            string("loss"), string("path")};
    assert_true(set_several(&settings, "Values", every, 5, why));
    assert_int_equal(settings.groups, TW_VALUES_ALL);
    const struct tw_option_value bad[] = {string("rtt"), string("pth")};
    assert_false(set_several(&settings, "Values", bad, 2, why));
    assert_non_null(strstr(why, "did you mean \"path\"?"));
    assert_int_equal(settings.groups, TW_VALUES_ALL);
}

static void one_value_is_one_value(void **state)
{
    (void)state;
    struct tw_settings settings;
    char why[TW_OPTION_TEXT];
    const struct tw_option_value two[] = {number(1), number(2)};
    assert_false(set_several(&settings, "Count", two, 2, why));
    assert_string_equal(why, "takes one value");
    assert_false(set_several(&settings, "Values", two, 0, why));
    assert_string_equal(why, "a value is missing");
    assert_false(set_several(&settings, "DSCP", two, 0, why));
    assert_false(set_several(&settings, "Stateful", two, 0, why));
}

static void a_wrong_name_suggests_the_nearest(void **state)
{
    (void)state;
    assert_string_equal(tw_option_nearest("Prot", false), "Port");
    assert_string_equal(tw_option_nearest("host_", false), "Host");
    assert_string_equal(tw_option_nearest("Cuont", false), "Count");
    assert_string_equal(tw_option_nearest("PacketsInterval", false), "PacketInterval");
    assert_string_equal(tw_option_nearest("Protokol", false), "Protocol");
    assert_string_equal(tw_option_nearest("Address", false), "AddressFamily");
    assert_string_equal(tw_option_nearest("source", false), "SourceAddress");
    assert_string_equal(tw_option_nearest("AdressFamily", false), "AddressFamily");
    assert_string_equal(tw_option_nearest("Targets", true), "Target");
    assert_string_not_equal(tw_option_nearest("Targets", false), "Target");
    assert_non_null(tw_option_nearest("", false));
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_non_null(tw_option_nearest(longer, true));
    assert_int_equal(tw_option_find("Prot"), TW_OPTION_END);
    assert_int_equal(tw_option_find("PORT"), TW_OPTION_PORT);
}

static void what_is_not_given_is_inherited(void **state)
{
    (void)state;
    struct tw_settings own, defaults;
    char why[TW_OPTION_TEXT];
    const struct tw_option_value ten = number(10), five = number(5), bad = string("x"),
                                 source = string("fe80::9%wg0"),
                                 classes[] = {string("EF"), string("CS1")};
    tw_settings_init(&own);
    tw_settings_init(&defaults);
    assert_true(tw_option_set(&own, TW_OPTION_COUNT, &five, 1, why));
    assert_true(tw_option_set(&defaults, TW_OPTION_COUNT, &ten, 1, why));
    assert_true(tw_option_set(&defaults, TW_OPTION_DSCP, classes, 2, why));
    assert_true(tw_option_set(&defaults, TW_OPTION_INTERVAL, &ten, 1, why));
    assert_true(tw_option_set(&defaults, TW_OPTION_SOURCE_ADDRESS, &source, 1, why));
    assert_false(tw_option_set(&defaults, TW_OPTION_MODE, &bad, 1, why));
    tw_settings_inherit(&own, &defaults);
    assert_int_equal(own.count, 5);
    assert_int_equal(own.class_count, 2);
    assert_int_equal(tw_class_dscp(own.classes[1]), 8);
    assert_int_equal(own.interval_ns, 10000000000);
    assert_int_equal(own.source.family, 6);
    assert_string_equal(own.source_zone, "wg0");
    assert_int_equal(own.bad, UINT32_C(1) << TW_OPTION_MODE);
}

static void values_are_shown_as_written(void **state)
{
    (void)state;
    char text[TW_OPTION_TEXT];
    const struct tw_option_value values[] = {number(10), string("EF"), boolean(true), number(0.05)};
    assert_string_equal(tw_option_format(values, 4, text), "10 \"EF\" true 0.05");
    assert_string_equal(tw_option_format(values, 0, text), "");
    const struct tw_option_value evil = string("a\n\x1b[31m");
    assert_string_equal(tw_option_format(&evil, 1, text), "\"a??[31m\"");
    struct tw_option_value many[100];
    for (size_t i = 0; i < LENGTH(many); i++)
        many[i] = string("abcdefghijklmnopqrstuvwxyz");
    assert_int_equal(strlen(tw_option_format(many, LENGTH(many), text)), TW_OPTION_TEXT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_documentation),
        cmocka_unit_test(whole_numbers_are_taken_strictly),
        cmocka_unit_test(seconds_keep_their_fraction),
        cmocka_unit_test(truth_is_a_boolean_or_its_name),
        cmocka_unit_test(names_are_bounded_and_printable),
        cmocka_unit_test(only_what_is_built_can_be_chosen),
        cmocka_unit_test(a_session_is_of_an_interval_or_continuous),
        cmocka_unit_test(a_mode_is_one_bit_and_features_are_several),
        cmocka_unit_test(a_keyid_fits_its_field),
        cmocka_unit_test(a_file_is_named_with_its_whole_path),
        cmocka_unit_test(modes_of_a_greeting_have_names),
        cmocka_unit_test(a_wrong_choice_names_the_nearest),
        cmocka_unit_test(families_and_addresses_are_recognised),
        cmocka_unit_test(classes_have_names_and_numbers),
        cmocka_unit_test(several_classes_are_kept_in_order),
        cmocka_unit_test(groups_add_up),
        cmocka_unit_test(one_value_is_one_value),
        cmocka_unit_test(a_wrong_name_suggests_the_nearest),
        cmocka_unit_test(what_is_not_given_is_inherited),
        cmocka_unit_test(values_are_shown_as_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
