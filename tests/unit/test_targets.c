/* collectd-plugin/targets.h: defaults and blocks, classes, names, and what does not fit together;
 * one bad target never costs another. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collectd-plugin/targets.h"
#include "lib/time.h"

static struct tw_option_value string(const char *text)
{
    return (struct tw_option_value){.kind = TW_VALUE_STRING, .string = text};
}

static struct tw_option_value number(double value)
{
    return (struct tw_option_value){.kind = TW_VALUE_NUMBER, .number = value};
}

static int set_up(void **state)
{
    static struct tw_targets targets;
    tw_targets_init(&targets);
    *state = &targets;
    return 0;
}

static int tear_down(void **state)
{
    tw_targets_free(*state);
    return 0;
}

static void begin(struct tw_targets *targets, const char *name)
{
    const struct tw_option_value value = string(name);
    tw_targets_begin(targets, &value, 1);
}

static void say(struct tw_targets *targets, const char *option, const char *text)
{
    const struct tw_option_value value = string(text);
    tw_targets_option(targets, option, &value, 1);
}

static void say_number(struct tw_targets *targets, const char *option, double value)
{
    const struct tw_option_value v = number(value);
    tw_targets_option(targets, option, &v, 1);
}

static void set_default(struct tw_targets *targets, const char *option,
                        struct tw_option_value value)
{
    tw_targets_default(targets, option, &value, 1);
}

static void finish(struct tw_targets *targets)
{
    tw_targets_finish(targets, 10 * TW_NS_PER_S);
    assert_false(targets->no_memory);
}

/* There is exactly this message, word for word. */
static void only_message(const struct tw_targets *targets, const char *text)
{
    assert_int_equal(targets->message_count, 1);
    assert_string_equal(targets->messages[0], text);
}

static void a_target_gets_defaults_whatever_the_order(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Count", number(20));
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Port", 8620);
    set_default(targets, "Timeout", number(1));
    set_default(targets, "Port", number(1000));
    finish(targets);
    assert_int_equal(targets->message_count, 0);
    assert_int_equal(targets->count, 1);
    const struct tw_target *target = &targets->targets[0];
    assert_string_equal(target->instance, "fra");
    assert_string_equal(target->settings->host, "192.0.2.1");
    assert_int_equal(target->settings->count, 20);
    assert_int_equal(target->settings->timeout_ns, TW_NS_PER_S);
    assert_int_equal(target->settings->port, 8620);
    assert_int_equal(target->settings->interval_ns, 10 * TW_NS_PER_S);
    assert_int_equal(target->dscp, 0);
    assert_int_equal(target->source_port, 0);
}

static void a_host_of_the_plugin_level_is_a_target_named_by_its_address(void **state)
{
    struct tw_targets *targets = *state;
    const struct tw_option_value hosts[] = {string("192.0.2.1"), string("2001:db8::1")};
    tw_targets_default(targets, "Host", hosts, 2);
    set_default(targets, "host", string("192.0.2.3"));
    set_default(targets, "Count", number(5));
    finish(targets);
    assert_int_equal(targets->message_count, 0);
    assert_int_equal(targets->count, 3);
    assert_string_equal(targets->targets[1].instance, "2001:db8::1");
    assert_string_equal(targets->targets[2].settings->host, "192.0.2.3");
    assert_int_equal(targets->targets[2].settings->count, 5);
}

static void an_unknown_option_costs_its_target_alone(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Prot", 862);
    begin(targets, "ams");
    say(targets, "Host", "192.0.2.2");
    finish(targets);
    only_message(targets, "<Target \"fra\">: unknown option \"Prot\": did you mean \"Port\"?");
    assert_int_equal(targets->count, 1);
    assert_int_equal(targets->skipped, 1);
    assert_string_equal(targets->targets[0].instance, "ams");
}

static void an_unknown_default_costs_nobody(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Taget", string("fra"));
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    finish(targets);
    only_message(targets, "<Plugin twamp>: unknown option \"Taget\": did you mean \"Target\"?");
    assert_int_equal(targets->count, 1);
}

static void a_message_is_one_line_whatever_an_option_is_called(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Po\nrt\x1b", "1");
    finish(targets);
    only_message(targets, "<Target \"fra\">: unknown option \"Po?rt?\": did you mean \"Port\"?");
}

static void a_bad_value_names_block_option_value_and_what_is_valid(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Count", 0);
    finish(targets);
    only_message(targets, "<Target \"fra\">: Count 0: must be a whole number from 1 to 10000");
    assert_int_equal(targets->count, 0);
}

static void what_is_not_built_is_refused(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "a");
    say(targets, "Host", "192.0.2.1");
    say(targets, "StampKeyFile", "/etc/keys");
    begin(targets, "b");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Protocol", "stamp");
    finish(targets);
    assert_int_equal(targets->count, 0);
    assert_int_equal(targets->message_count, 2);
    assert_string_equal(targets->messages[0],
                        "<Target \"a\">: StampKeyFile \"/etc/keys\": option is not supported "
                        "by this version: it is not built yet");
    assert_string_equal(targets->messages[1],
                        "<Target \"b\">: Protocol \"stamp\": not supported by this version: it "
                        "is not built yet, use \"twamp\"");
}

/* Measured in the clear although "encrypted" was asked for: never. */
static void a_bad_default_costs_those_who_would_use_it(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Mode", string("encripted"));
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "ams");
    say(targets, "Host", "192.0.2.2");
    say(targets, "Mode", "unauthenticated");
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_string_equal(targets->targets[0].instance, "ams");
    assert_int_equal(targets->message_count, 2);
    assert_string_equal(targets->messages[0],
                        "<Plugin twamp>: Mode \"encripted\": unknown value, did you mean "
                        "\"encrypted\"?");
    assert_string_equal(
        targets->messages[1],
        "<Target \"fra\">: skipped, \"Mode\" of <Plugin twamp> is bad and not set here");
}

/* A file of secrets that lives as long as a test; `mode` as for chmod. */
static char secret_path[32];

static void write_secrets(const char *text, mode_t mode)
{
    snprintf(secret_path, sizeof secret_path, "/tmp/twamp-targets-XXXXXX");
    const int fd = mkstemp(secret_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void one_secured(struct tw_targets *targets, const char *mode, const char *keyid)
{
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Mode", mode);
    if (keyid != NULL)
        say(targets, "KeyID", keyid);
    say(targets, "SecretFile", secret_path);
    finish(targets);
    assert_int_equal(unlink(secret_path), 0);
}

static void a_secured_target_has_the_secret_of_its_keyid(void **state)
{
    struct tw_targets *targets = *state;
    write_secrets("lab other\r\nnoc twamp-kat-secret\r\n", 0640);
    one_secured(targets, "encrypted", "noc");
    assert_int_equal(targets->message_count, 0);
    assert_int_equal(targets->count, 1);
    const struct tw_secret *secret = targets->targets[0].secret;
    assert_non_null(secret);
    assert_int_equal(secret->size, 16);
    assert_memory_equal(secret->passphrase, "twamp-kat-secret", 16);
    tw_targets_forget_secrets(targets);
    assert_null(targets->targets[0].secret);
}

static void keys_may_be_defaults_and_modes_may_differ(void **state)
{
    struct tw_targets *targets = *state;
    write_secrets("noc one\nlab two\n", 0600);
    set_default(targets, "KeyID", string("noc"));
    set_default(targets, "SecretFile", string(secret_path));
    begin(targets, "clear");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "a");
    say(targets, "Host", "192.0.2.2");
    say(targets, "Mode", "mixed");
    begin(targets, "b");
    say(targets, "Host", "192.0.2.3");
    say(targets, "Mode", "authenticated");
    say(targets, "KeyID", "lab");
    finish(targets);
    assert_int_equal(unlink(secret_path), 0);
    assert_int_equal(targets->message_count, 0);
    assert_int_equal(targets->count, 3);
    assert_null(targets->targets[0].secret);
    assert_memory_equal(targets->targets[1].secret->passphrase, "one", 3);
    assert_memory_equal(targets->targets[2].secret->passphrase, "two", 3);
}

static void keys_that_no_target_uses_were_meant_to_be_used(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "KeyID", string("noc"));
    set_default(targets, "SecretFile", string("/nonexistent"));
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "ams");
    say(targets, "Host", "192.0.2.2");
    say(targets, "Mode", "unauthenticated");
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_string_equal(targets->targets[0].instance, "ams");
    assert_int_equal(targets->message_count, 1);
    assert_string_equal(targets->messages[0],
                        "<Target \"fra\">: KeyID is of no use without Mode: add Mode "
                        "\"encrypted\", \"authenticated\" or \"mixed\"");
}

static void a_secret_file_alone_makes_no_mode(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say(targets, "SecretFile", "/nonexistent");
    finish(targets);
    assert_int_equal(targets->count, 0);
    assert_int_equal(targets->message_count, 1);
    assert_non_null(strstr(targets->messages[0], "SecretFile is of no use without Mode: "));
}

static void a_secured_mode_says_what_it_needs(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Mode", "encrypted");
    begin(targets, "ams");
    say(targets, "Host", "192.0.2.2");
    say(targets, "Mode", "mixed");
    say(targets, "KeyID", "noc");
    begin(targets, "par");
    say(targets, "Host", "192.0.2.3");
    say(targets, "KeyID", "noc");
    finish(targets);
    assert_int_equal(targets->count, 0);
    assert_int_equal(targets->message_count, 3);
    assert_string_equal(targets->messages[0],
                        "<Target \"fra\">: Mode \"encrypted\" needs KeyID and SecretFile: the name "
                        "of a secret that the server has too, and the file with lines of names "
                        "and secrets");
    assert_non_null(strstr(targets->messages[1], "Mode \"mixed\" needs SecretFile: "));
    assert_string_equal(targets->messages[2],
                        "<Target \"par\">: KeyID is of no use without Mode: add Mode "
                        "\"encrypted\", \"authenticated\" or \"mixed\"");
}

static void a_keyid_that_is_not_in_the_file_is_named_with_it(void **state)
{
    struct tw_targets *targets = *state;
    write_secrets("lab hunter2\n", 0640);
    one_secured(targets, "encrypted", "noc");
    assert_int_equal(targets->count, 0);
    char text[256];
    snprintf(text, sizeof text,
             "<Target \"fra\">: KeyID \"noc\" is not in SecretFile \"%s\": add a line with it and "
             "its secret, the same as on the server",
             secret_path);
    only_message(targets, text);
}

static void a_file_for_everybody_is_refused(void **state)
{
    struct tw_targets *targets = *state;
    write_secrets("noc hunter2\n", 0644);
    one_secured(targets, "encrypted", "noc");
    assert_int_equal(targets->count, 0);
    assert_int_equal(targets->message_count, 1);
    assert_non_null(strstr(targets->messages[0], secret_path));
    assert_non_null(strstr(targets->messages[0], "chmod o-rwx"));
    assert_null(strstr(targets->messages[0], "hunter2"));
}

static void a_file_that_makes_no_sense_names_its_line(void **state)
{
    struct tw_targets *targets = *state;
    write_secrets("noc one\nhunter2\n", 0600);
    one_secured(targets, "encrypted", "noc");
    assert_int_equal(targets->count, 0);
    assert_int_equal(targets->message_count, 1);
    char text[64];
    snprintf(text, sizeof text, "SecretFile %s:2: ", secret_path);
    assert_non_null(strstr(targets->messages[0], text));
    assert_null(strstr(targets->messages[0], "hunter2"));
}

static void padding_must_fit_beside_the_header_of_the_mode(void **state)
{
    struct tw_targets *targets = *state;
    write_secrets("noc one\n", 0600);
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Mode", "encrypted");
    say(targets, "KeyID", "noc");
    say(targets, "SecretFile", secret_path);
    say_number(targets, "Padding", 65493);
    begin(targets, "ams");
    say(targets, "Host", "192.0.2.2");
    say_number(targets, "Padding", 65493);
    finish(targets);
    assert_int_equal(unlink(secret_path), 0);
    only_message(targets,
                 "<Target \"fra\">: Padding 65493: at most 65459 in Mode \"encrypted\" with "
                 "these Features");
    assert_int_equal(targets->count, 1);
}

static void of_several_defaults_the_last_counts(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Count", number(5));
    set_default(targets, "Count", number(0.5));
    set_default(targets, "Count", number(7));
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    finish(targets);
    only_message(targets, "<Plugin twamp>: Count 0.5: must be a whole number from 1 to 10000");
    assert_int_equal(targets->count, 1);
    assert_int_equal(targets->targets[0].settings->count, 7);
}

/* collectd takes any, and hands it on to targets that name none. */
static void an_interval_of_collectd_has_the_same_bounds(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Count", number(1));
    set_default(targets, "PacketInterval", number(0.01));
    set_default(targets, "Timeout", number(0.1));
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "ams");
    say(targets, "Host", "192.0.2.2");
    say_number(targets, "Interval", 1);
    tw_targets_finish(targets, TW_NS_PER_S / 2 - 1); /* how collectd's time format says 0.5 */
    assert_int_equal(targets->count, 1);
    assert_string_equal(targets->targets[0].instance, "ams");
    only_message(targets, "<Target \"fra\">: Interval 0.5 of collectd: must be a number of seconds "
                          "from 1 to 86400, and is not set here");
}

static void an_interval_of_collectd_may_be_endless(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    tw_targets_finish(targets, INT64_MAX);
    assert_int_equal(targets->count, 0);
    assert_int_equal(targets->message_count, 1);
    assert_non_null(strstr(targets->messages[0], " from 1 to 86400, and is not set here"));
}

static void a_session_must_fit_into_its_interval(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "long");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Count", 80); /* 8 s + 2 s is not below 10 s */
    begin(targets, "fits");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Count", 79);
    begin(targets, "slow");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "PacketInterval", 20);
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_string_equal(targets->targets[0].instance, "fits");
    assert_int_equal(targets->message_count, 2);
    assert_string_equal(targets->messages[0],
                        "<Target \"long\">: Count 80 x PacketInterval 0.1 s + Timeout 2 s = 10 s "
                        "must be below Interval 10 s: at most Count 79 fits");
    assert_string_equal(targets->messages[1],
                        "<Target \"slow\">: Count 10 x PacketInterval 20 s + Timeout 2 s = 202 s "
                        "must be below Interval 10 s: no Count fits, make Interval longer");
}

/* Packets leave all the time, so only the wait for the last one must end before the next interval
 * does. */
static void a_continuous_session_has_the_whole_interval(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Session", string("continuous"));
    set_default(targets, "Count", number(1000)); /* x 0.1 s would be 100 s */
    begin(targets, "fits");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Timeout", 9.999);
    begin(targets, "waits");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Timeout", 10);
    begin(targets, "apart");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Session", "interval");
    say_number(targets, "Count", 10);
    finish(targets);
    assert_int_equal(targets->count, 2);
    assert_string_equal(targets->targets[0].instance, "fits");
    assert_int_equal(targets->targets[0].settings->session, TW_SESSION_CONTINUOUS);
    assert_string_equal(targets->targets[1].instance, "apart");
    assert_int_equal(targets->targets[1].settings->session, TW_SESSION_INTERVAL);
    only_message(targets, "<Target \"waits\">: Timeout 10 s must be below Interval 10 s with "
                          "Session \"continuous\"");
}

static void packets_of_a_continuous_session_have_a_least_distance(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Session", string("continuous"));
    set_default(targets, "Timeout", number(0.5));
    set_default(targets, "Interval", number(2.5));
    begin(targets, "most");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Count", 2500);
    begin(targets, "more");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Count", 2501);
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_string_equal(targets->targets[0].instance, "most");
    only_message(targets,
                 "<Target \"more\">: Count 2501 in Interval 2.5 s is less than 0.001 s from "
                 "packet to packet with Session \"continuous\": at most Count 2500");
}

/* At the target it was meant for just that; as a default it is for others, and then not even a bad
 * one costs anything. */
static void a_packet_interval_is_of_no_use_in_a_continuous_session(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "PacketInterval", number(5));
    begin(targets, "default");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Session", "continuous");
    begin(targets, "own");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Session", "continuous");
    say_number(targets, "PacketInterval", 1);
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_string_equal(targets->targets[0].instance, "default");
    only_message(targets,
                 "<Target \"own\">: PacketInterval is of no use with Session "
                 "\"continuous\", which spreads Count 10 packets over Interval 10 s: leave "
                 "it out, or set Session \"interval\"");
    tw_targets_free(targets);

    set_default(targets, "PacketInterval", number(-1));
    set_default(targets, "Session", string("continuous"));
    begin(targets, "continuous");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "interval");
    say(targets, "Host", "192.0.2.1");
    say(targets, "Session", "interval");
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_string_equal(targets->targets[0].instance, "continuous");
    assert_int_equal(targets->message_count, 2);
    assert_non_null(strstr(targets->messages[1], "<Target \"interval\">: skipped"));
}

static void names_must_differ(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "fra/1");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "fra_1");
    say(targets, "Host", "192.0.2.2");
    begin(targets, "FRA_1");
    say(targets, "Host", "192.0.2.3");
    finish(targets);
    only_message(targets,
                 "<Target \"fra_1\">: another target is already called \"fra_1\": both would "
                 "write the same series, rename one");
    assert_int_equal(targets->count, 2);
    assert_string_equal(targets->targets[0].instance, "fra_1");
    assert_string_equal(targets->targets[0].settings->host, "192.0.2.1");
    assert_string_equal(targets->targets[1].instance, "FRA_1");
}

static void several_classes_are_several_targets(void **state)
{
    struct tw_targets *targets = *state;
    const struct tw_option_value classes[] = {string("ef"), string("AF31"), number(0)};
    begin(targets, "fra-ams");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "SourcePort", 20001);
    tw_targets_option(targets, "DSCP", classes, 3);
    begin(targets, "one");
    say(targets, "Host", "192.0.2.1");
    say(targets, "DSCP", "EF");
    finish(targets);
    assert_int_equal(targets->count, 4);
    assert_string_equal(targets->targets[0].instance, "fra-ams-EF");
    assert_int_equal(targets->targets[0].dscp, 46);
    assert_int_equal(targets->targets[0].source_port, 20001);
    assert_string_equal(targets->targets[1].instance, "fra-ams-AF31");
    assert_int_equal(targets->targets[1].dscp, 26);
    assert_int_equal(targets->targets[1].source_port, 20002);
    assert_string_equal(targets->targets[2].instance, "fra-ams-0");
    assert_string_equal(targets->targets[3].instance, "one");
    assert_int_equal(targets->targets[3].dscp, 46);
}

static void a_class_may_not_take_the_name_of_another_target(void **state)
{
    struct tw_targets *targets = *state;
    const struct tw_option_value classes[] = {string("CS1"), string("EF")};
    begin(targets, "fra-EF");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    tw_targets_option(targets, "DSCP", classes, 2);
    begin(targets, "fra-CS1"); /* free: the block before was refused as a whole */
    say(targets, "Host", "192.0.2.1");
    finish(targets);
    assert_int_equal(targets->message_count, 1);
    assert_non_null(strstr(targets->messages[0], "already called \"fra-EF\""));
    assert_int_equal(targets->count, 2);
    assert_string_equal(targets->targets[1].instance, "fra-CS1");
}

static void names_are_never_cut(void **state)
{
    struct tw_targets *targets = *state;
    char name[129];
    memset(name, 'n', sizeof name);
    name[128] = '\0';
    begin(targets, name);
    say(targets, "Host", "192.0.2.1");
    name[127] = '\0';
    begin(targets, name);
    say(targets, "Host", "192.0.2.1");
    name[125] = '\0'; /* room for no class */
    const struct tw_option_value classes[] = {string("CS1"), string("EF")};
    begin(targets, name);
    say(targets, "Host", "192.0.2.1");
    tw_targets_option(targets, "DSCP", classes, 2);
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_int_equal(strlen(targets->targets[0].instance), 127);
    assert_int_equal(targets->message_count, 2);
    assert_non_null(strstr(targets->messages[0], "at most 127 characters"));
    assert_non_null(strstr(targets->messages[1], "at most 127 characters"));
}

/* Or all that Prometheus is given at a time would be refused for it. */
static void a_name_is_utf8(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "M\303\274nchen");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "M\374nchen");
    say(targets, "Host", "192.0.2.1");
    set_default(targets, "Host", string("m\374nchen.example.net"));
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_int_equal(targets->message_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_non_null(strstr(targets->messages[i],
                               ": the name must be UTF-8: save the file in that encoding"));
    }
}

static void a_target_needs_a_name_and_a_host(void **state)
{
    struct tw_targets *targets = *state;
    const struct tw_option_value five = number(5);
    tw_targets_begin(targets, NULL, 0);
    say(targets, "Host", "192.0.2.1");
    tw_targets_begin(targets, &five, 1);
    say(targets, "Host", "192.0.2.1");
    begin(targets, "");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "a\nb");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "lost");
    finish(targets);
    assert_int_equal(targets->count, 0);
    assert_int_equal(targets->skipped, 5);
    assert_int_equal(targets->message_count, 5);
    assert_string_equal(targets->messages[0],
                        "<Target>: needs one name in quotes: <Target \"fra-ams\">");
    assert_string_equal(targets->messages[1],
                        "<Target>: needs one name in quotes: <Target \"fra-ams\">");
    assert_non_null(strstr(targets->messages[2], "the name is empty"));
    assert_string_equal(targets->messages[3],
                        "<Target \"a?b\">: the name must not contain control characters");
    assert_string_equal(targets->messages[4], "<Target \"lost\">: option \"Host\" is missing");
}

static void a_bad_shortcut_costs_itself(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Host", string("a b"));
    set_default(targets, "Host", number(1));
    tw_targets_default(targets, "Host", NULL, 0);
    set_default(targets, "Host", string("192.0.2.1"));
    set_default(targets, "Host", string("192.0.2.1"));
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_int_equal(targets->message_count, 4);
    assert_string_equal(targets->messages[0],
                        "<Plugin twamp>: Host \"a b\": must not contain blanks "
                        "or control characters");
    assert_string_equal(targets->messages[1], "<Plugin twamp>: Host 1: must be a name in quotes");
    assert_string_equal(targets->messages[2], "<Plugin twamp>: Host: a value is missing");
    assert_non_null(strstr(targets->messages[3],
                           "<Plugin twamp>: Host \"192.0.2.1\": another target is already called"));
}

static void an_option_is_given_once(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say(targets, "host", "192.0.2.2");
    finish(targets);
    only_message(targets, "<Target \"fra\">: option \"Host\" is given twice, once is enough");
    assert_int_equal(targets->count, 0);
}

static void families_must_agree(void **state)
{
    struct tw_targets *targets = *state;
    begin(targets, "a");
    say(targets, "Host", "2001:db8::1");
    say(targets, "AddressFamily", "ipv4");
    begin(targets, "b");
    say(targets, "Host", "name.example.net");
    say(targets, "AddressFamily", "ipv6");
    say(targets, "SourceAddress", "192.0.2.9");
    begin(targets, "c");
    say(targets, "Host", "2001:db8::1");
    say(targets, "SourceAddress", "192.0.2.9");
    begin(targets, "d");
    say(targets, "Host", "2001:db8::1");
    say(targets, "AddressFamily", "ipv6");
    say(targets, "SourceAddress", "2001:db8::9");
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_string_equal(targets->targets[0].instance, "d");
    assert_int_equal(targets->message_count, 3);
    assert_string_equal(targets->messages[0], "<Target \"a\">: Host \"2001:db8::1\" is an IPv6 "
                                              "address, but AddressFamily asks for IPv4");
    assert_string_equal(
        targets->messages[1],
        "<Target \"b\">: SourceAddress is an IPv4 address, but AddressFamily is \"ipv6\"");
    assert_string_equal(targets->messages[2], "<Target \"c\">: Host \"2001:db8::1\" is an IPv6 "
                                              "address, but SourceAddress asks for IPv4");
}

static void classes_need_ports_of_their_own(void **state)
{
    struct tw_targets *targets = *state;
    const struct tw_option_value classes[] = {string("CS1"), string("EF")};
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "SourcePort", 65535);
    tw_targets_option(targets, "DSCP", classes, 2);
    finish(targets);
    only_message(targets, "<Target \"fra\">: SourcePort 65535: each of the 2 classes needs a port, "
                          "65534 is the highest possible");
}

static void blocks_belong_where_they_belong(void **state)
{
    struct tw_targets *targets = *state;
    tw_targets_misplaced(targets, "Targte", false);
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    tw_targets_misplaced(targets, "Port", true);
    begin(targets, "ams");
    say(targets, "Host", "192.0.2.1");
    finish(targets);
    assert_int_equal(targets->count, 1);
    assert_int_equal(targets->message_count, 2);
    assert_string_equal(targets->messages[0],
                        "<Plugin twamp>: unknown block <Targte>: did you mean \"Target\"?");
    assert_string_equal(targets->messages[1],
                        "<Target \"fra\">: \"Port\" is an option, not a block");
}

static void a_source_port_is_of_one_target_of_a_server(void **state)
{
    struct tw_targets *targets = *state;
    const struct tw_option_value classes[] = {string("CS1"), string("EF")};
    begin(targets, "fra");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "SourcePort", 5000);
    tw_targets_option(targets, "DSCP", classes, 2);
    begin(targets, "ams"); /* another server: they share a socket */
    say(targets, "Host", "192.0.2.2");
    say_number(targets, "SourcePort", 5001);
    begin(targets, "fra-2");
    say(targets, "Host", "192.0.2.1");
    say_number(targets, "Port", 8620);
    say_number(targets, "SourcePort", 5001);
    begin(targets, "any");
    say(targets, "Host", "192.0.2.1");
    begin(targets, "any-2");
    say(targets, "Host", "192.0.2.1");
    finish(targets);
    assert_int_equal(targets->count, 5);
    only_message(targets,
                 "<Target \"fra-2\">: SourcePort 5001 is that of target \"fra-EF\" too, and "
                 "they cannot share it: give each a port of its own");
}

static void a_host_that_can_be_no_server_is_told(void **state)
{
    struct tw_targets *targets = *state;
    set_default(targets, "Host", string("192.0.2.1:862"));
    finish(targets);
    only_message(targets,
                 "<Plugin twamp>: Host \"192.0.2.1:862\": Host \"192.0.2.1:862\": write Host "
                 "\"192.0.2.1\" and Port 862");
    assert_int_equal(targets->count, 0);
}

static void many_targets_keep_apart(void **state)
{
    enum { MANY = 3000 };
    struct tw_targets *targets = *state;
    char name[16];
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            snprintf(name, sizeof name, "t%u", i);
            begin(targets, name);
            say(targets, "Host", "192.0.2.1");
        }
    }
    finish(targets);
    assert_int_equal(targets->count, MANY);
    assert_int_equal(targets->skipped, MANY);
    assert_int_equal(targets->message_count, MANY);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_target_gets_defaults_whatever_the_order),
        CASE(a_host_of_the_plugin_level_is_a_target_named_by_its_address),
        CASE(an_unknown_option_costs_its_target_alone),
        CASE(an_unknown_default_costs_nobody),
        CASE(a_message_is_one_line_whatever_an_option_is_called),
        CASE(a_bad_value_names_block_option_value_and_what_is_valid),
        CASE(what_is_not_built_is_refused),
        CASE(a_bad_default_costs_those_who_would_use_it),
        CASE(a_secured_target_has_the_secret_of_its_keyid),
        CASE(keys_may_be_defaults_and_modes_may_differ),
        CASE(keys_that_no_target_uses_were_meant_to_be_used),
        CASE(a_secret_file_alone_makes_no_mode),
        CASE(a_secured_mode_says_what_it_needs),
        CASE(a_keyid_that_is_not_in_the_file_is_named_with_it),
        CASE(a_file_for_everybody_is_refused),
        CASE(a_file_that_makes_no_sense_names_its_line),
        CASE(padding_must_fit_beside_the_header_of_the_mode),
        CASE(of_several_defaults_the_last_counts),
        CASE(an_interval_of_collectd_has_the_same_bounds),
        CASE(an_interval_of_collectd_may_be_endless),
        CASE(a_session_must_fit_into_its_interval),
        CASE(a_continuous_session_has_the_whole_interval),
        CASE(packets_of_a_continuous_session_have_a_least_distance),
        CASE(a_packet_interval_is_of_no_use_in_a_continuous_session),
        CASE(names_must_differ),
        CASE(several_classes_are_several_targets),
        CASE(a_class_may_not_take_the_name_of_another_target),
        CASE(names_are_never_cut),
        CASE(a_name_is_utf8),
        CASE(a_target_needs_a_name_and_a_host),
        CASE(a_bad_shortcut_costs_itself),
        CASE(an_option_is_given_once),
        CASE(families_must_agree),
        CASE(classes_need_ports_of_their_own),
        CASE(blocks_belong_where_they_belong),
        CASE(a_source_port_is_of_one_target_of_a_server),
        CASE(a_host_that_can_be_no_server_is_told),
        CASE(many_targets_keep_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
