/* twamp-server.conf: every key, every kind of fault with its file, line and advice, and that what
 * -t prints is the same configuration. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sys/socket.h"
#include "reflector/config.h"
#include "reflector/error.h"
#include "reflector/file.h"
#include "reflector/value.h"

#define MS INT64_C(1000000)
#define S  (1000 * MS)

static char *path; /* of the one file that all cases write anew */

static int make_path(void **state)
{
    (void)state;
    path = g_strdup("/tmp/twamp-server-XXXXXX.conf");
    const int fd = g_mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    g_unlink(path);
    g_free(path);
    return 0;
}

static struct twd_config *load_octets(const char *text, size_t n, GError **error)
{
    assert_true(g_file_set_contents(path, text, (gssize)n, NULL));
    return twd_file_load(path, true, error);
}

static struct twd_config *load(const char *text)
{
    GError *error = NULL;
    struct twd_config *config = load_octets(text, strlen(text), &error);
    if (config == NULL)
        fail_msg("%s", error->message);
    return config;
}

/* The whole text must be refused with "PATH:LINE: MESSAGE". */
static void assert_refused(const char *text, unsigned line, const char *message)
{
    GError *error = NULL;
    assert_null(load_octets(text, strlen(text), &error));
    assert_non_null(error);
    assert_int_equal(error->code, TWD_EXIT_CONFIG);
    char *wanted = g_strdup_printf("%s:%u: %s", path, line, message);
    assert_string_equal(error->message, wanted);
    g_free(wanted);
    g_error_free(error);
}

static void assert_same(const struct twd_config *a, const struct twd_config *b)
{
    char *one = twd_config_print(a);
    char *other = twd_config_print(b);
    assert_string_equal(one, other);
    g_free(one);
    g_free(other);
}

static void an_empty_file_means_the_documented_defaults(void **state)
{
    (void)state;
    struct twd_config *config = load("");
    assert_int_equal(config->control_port, 862);
    assert_int_equal(config->test_port, 863);
    assert_int_equal(config->test_port_range.first, 0);
    assert_int_equal(config->max_sessions, 100);
    assert_int_equal(config->max_sessions_authenticated, 1000);
    assert_int_equal(config->max_sessions_per_client, 50);
    assert_int_equal(config->max_connections, 200);
    assert_int_equal(config->max_connections_per_client, 20);
    assert_int_equal(config->session_timeout_ns, 300 * S);
    assert_int_equal(config->servwait_ns, 900 * S);
    assert_int_equal(config->max_packet_rate, 5000);
    assert_int_equal(config->max_packet_size, 9000);
    assert_int_equal(config->max_timeout_ns, 60 * S);
    assert_int_equal(config->modes, 1);
    assert_int_equal(config->features, 16 + 32 + 64 + 256 + 512);
    assert_string_equal(config->secrets_file, "");
    assert_int_equal(config->kdf_iterations, 32768);
    assert_int_equal(config->padding, TW_PADDING_REUSE);
    assert_int_equal(config->workers, 0);
    assert_int_equal(config->receive_buffer, 4 * 1024 * 1024);
    assert_int_equal(config->clock_error_floor_ns, MS);
    assert_int_equal(config->tai_offset_s, TWD_TAI_AUTO);
    assert_false(config->third_party);
    assert_false(config->nat);
    assert_false(config->strict_stop);
    assert_false(config->strict_error_estimate);
    assert_int_equal(config->listen->len, 0);
    assert_int_equal(config->allow->len, 0);
    assert_int_equal(config->deny->len, 0);
    assert_string_equal(config->user, "");
    assert_string_equal(config->status_socket, "/run/twamp-server/status");
    twd_config_free(config);
}

static void every_key_is_read(void **state)
{
    (void)state;
    struct twd_config *config = load("control_port = 8620\n"
                                     "test_port=0\n"
                                     "test_port_range = 20000-20999\n"
                                     "max_sessions = 7\n"
                                     "max_sessions_authenticated = 9\n"
                                     "max_sessions_per_client = 6\n"
                                     "max_connections = 0\n"
                                     "max_connections_per_client = 4\n"
                                     "session_timeout = 2\n"
                                     "servwait = 30\n"
                                     "max_packet_rate = 0\n"
                                     "max_packet_size = 1472\n"
                                     "max_timeout = 1500ms\n"
                                     "modes = encrypted, unauthenticated\n"
                                     "features = dscp, session-control\n"
                                     "secrets_file = /etc/twamp/secrets\n"
                                     "kdf_iterations = 4096\n"
                                     "padding = zero\n"
                                     "workers = 3\n"
                                     "receive_buffer = 300K\n"
                                     "clock_error_floor = 250us\n"
                                     "third_party = yes\n"
                                     "nat = yes\n"
                                     "tai_offset = 38\n"
                                     "strict_stop = yes\n"
                                     "strict_error_estimate = yes\n"
                                     "listen = 192.0.2.1%vrf-blue, ::1\n"
                                     "allow = 192.0.2.0/24, 2001:db8::/32\n"
                                     "deny = 192.0.2.66\n"
                                     "user = root\n"
                                     "status_socket = /tmp/status\n");
    assert_int_equal(config->control_port, 8620);
    assert_int_equal(config->test_port, 0);
    assert_int_equal(config->test_port_range.first, 20000);
    assert_int_equal(config->test_port_range.last, 20999);
    assert_int_equal(config->max_sessions, 7);
    assert_int_equal(config->max_sessions_authenticated, 9);
    assert_int_equal(config->max_sessions_per_client, 6);
    assert_int_equal(config->max_connections, 0);
    assert_int_equal(config->max_connections_per_client, 4);
    assert_int_equal(config->session_timeout_ns, 120 * S);
    assert_int_equal(config->servwait_ns, 30 * S);
    assert_int_equal(config->max_packet_rate, 0);
    assert_int_equal(config->max_packet_size, 1472);
    assert_int_equal(config->max_timeout_ns, 1500 * MS);
    assert_int_equal(config->modes, 5);
    assert_int_equal(config->features, 256 + 16);
    assert_string_equal(config->secrets_file, "/etc/twamp/secrets");
    assert_int_equal(config->kdf_iterations, 4096);
    assert_int_equal(config->padding, TW_PADDING_ZERO);
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->receive_buffer, 300 * 1024);
    assert_int_equal(config->clock_error_floor_ns, MS / 4);
    assert_true(config->third_party);
    assert_true(config->nat);
    assert_true(config->strict_stop);
    assert_true(config->strict_error_estimate);
    assert_int_equal(config->tai_offset_s, 38);
    assert_int_equal(config->listen->len, 2);
    const struct twd_listen *listen = &g_array_index(config->listen, struct twd_listen, 0);
    assert_int_equal(listen->address.family, 4);
    assert_memory_equal(listen->address.octets, "\xc0\x00\x02\x01", 4);
    assert_string_equal(listen->device, "vrf-blue");
    assert_int_equal(config->allow->len, 2);
    assert_int_equal(g_array_index(config->allow, struct twd_prefix, 1).bits, 32);
    assert_int_equal(g_array_index(config->deny, struct twd_prefix, 0).bits, 32);
    assert_string_equal(config->user, "root");
    assert_string_equal(config->status_socket, "/tmp/status");

    /* What is printed is the same configuration, with every key in it. */
    char *text = twd_config_print(config);
    for (int key = 0; key < TWD_CONFIG_KEYS; key++) {
        char *begin = g_strdup_printf("%s = ", twd_config_key_name(key));
        assert_non_null(strstr(text, begin));
        g_free(begin);
    }
    struct twd_config *again = load(text);
    assert_same(config, again);
    g_free(text);
    twd_config_free(again);
    twd_config_free(config);
}

/* RFC 4656 section 3.1, RFC 5618, and what RFC 5938, 6038, 7750 and 8186 add: A.6 of the registry.
 */
static void words_are_the_bits_of_the_registry(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        uint32_t bit;
        bool security;
    } cases[] = {
        {"unauthenticated", 1, true}, {"authenticated", 2, true},     {"encrypted", 4, true},
        {"mixed", 8, true},           {"session-control", 16, false}, {"reflect-octets", 32, false},
        {"symmetrical", 64, false},   {"dscp", 256, false},           {"ptp", 512, false},
        {"none", 0, false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *text = g_strdup_printf("secrets_file = /s\n%s = %s\n",
                                     cases[i].security ? "modes" : "features", cases[i].word);
        struct twd_config *config = load(text);
        assert_int_equal(cases[i].security ? config->modes : config->features, cases[i].bit);
        char *printed = twd_config_print(config);
        assert_non_null(strstr(printed, strchr(text, '\n')));
        g_free(printed);
        twd_config_free(config);
        g_free(text);
    }
}

static void printed_defaults_are_the_defaults(void **state)
{
    (void)state;
    struct twd_config *config = twd_config_new();
    char *text = twd_config_print(config);
    struct twd_config *again = load(text);
    assert_same(config, again);
    g_free(text);
    twd_config_free(again);
    twd_config_free(config);
}

/* contrib/twamp-server.conf shows every key with its default, commented out. */
static void the_example_file_shows_the_defaults(void **state)
{
    (void)state;
    const char *source = g_getenv("TWAMP_SOURCE");
    char *file = g_build_filename(source == NULL ? "." : source, "contrib/twamp-server.conf", NULL);
    char *text = NULL;
    if (!g_file_get_contents(file, &text, NULL, NULL))
        fail_msg("no %s", file);
    struct twd_config *defaults = twd_config_new();
    struct twd_config *shown = load(text);
    assert_same(defaults, shown);
    twd_config_free(shown);

    GString *keys = g_string_new(NULL);
    unsigned count = 0;
    char **lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        if ((*line)[0] != '#' || (*line)[1] == ' ' || strchr(*line, '=') == NULL)
            continue;
        g_string_append_printf(keys, "%s\n", *line + 1);
        count++;
    }
    assert_int_equal(count, TWD_CONFIG_KEYS);
    shown = load(keys->str);
    assert_same(defaults, shown);
    twd_config_free(shown);
    twd_config_free(defaults);
    g_string_free(keys, TRUE);
    g_strfreev(lines);
    g_free(text);
    g_free(file);
}

static void bad_values_are_refused_with_advice(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"control_port = 65536",
         "control_port: \"65536\" is not a port; give 1 to 65535, or 0 for any free one"},
        {"test_port = -1",
         "test_port: \"-1\" is not a port; give 1 to 65535, or 0 for any free one"},
        {"test_port =", "test_port: \"\" is not a port; give 1 to 65535, or 0 for any free one"},
        {"test_port = 0x10",
         "test_port: \"0x10\" is not a port; give 1 to 65535, or 0 for any free one"},
        {"test_port_range = 20000",
         "test_port_range: \"20000\" is not a range of ports; give the first and the last, such "
         "as 20000-20999, or leave it empty for none"},
        {"test_port_range = 2-1",
         "test_port_range: \"2-1\" is not a range of ports; give the first and the last, such as "
         "20000-20999, or leave it empty for none"},
        {"test_port_range = 0-9",
         "test_port_range: \"0-9\" is not a range of ports; give the first and the last, such as "
         "20000-20999, or leave it empty for none"},
        {"test_port_range = 65535-65536",
         "test_port_range: \"65535-65536\" is not a range of ports; give the first and the last, "
         "such as 20000-20999, or leave it empty for none"},
        {"test_port_range = 1-2-3",
         "test_port_range: \"1-2-3\" is not a range of ports; give the first and the last, such "
         "as 20000-20999, or leave it empty for none"},
        {"test_port_range = -9",
         "test_port_range: \"-9\" is not a range of ports; give the first and the last, such as "
         "20000-20999, or leave it empty for none"},
        {"max_sessions_authenticated = -1",
         "max_sessions_authenticated: \"-1\" is not a limit; give a number from 1 to 10000000, or "
         "0 for no limit"},
        {"nat = maybe", "nat: \"maybe\" is neither yes nor no; give one of them"},
        {"max_sessions = many",
         "max_sessions: \"many\" is not a limit; give a number from 1 to 10000000, or 0 for no "
         "limit"},
        {"max_sessions_per_client = 1.5",
         "max_sessions_per_client: \"1.5\" is not a limit; give a number from 1 to 10000000, or 0 "
         "for no limit"},
        {"max_connections = 10000001",
         "max_connections: \"10000001\" is not a limit; give a number from 1 to 10000000, or 0 "
         "for no limit"},
        {"max_connections_per_client = 1 2",
         "max_connections_per_client: \"1 2\" is not a limit; give a number from 1 to 10000000, "
         "or 0 for no limit"},
        {"max_packet_rate = 5k",
         "max_packet_rate: \"5k\" is not a limit; give a number from 1 to 10000000, or 0 for no "
         "limit"},
        {"max_packet_size = 40",
         "max_packet_size: \"40\" is not a limit; give a number from 41 to 65507, or 0 for no "
         "limit"},
        {"max_packet_size = 65508",
         "max_packet_size: \"65508\" is not a limit; give a number from 41 to 65507, or 0 for no "
         "limit"},
        {"session_timeout = 0", "session_timeout: \"0\" is out of range; give 1ms to 31622400s"},
        {"session_timeout = 5 minutes",
         "session_timeout: \"5 minutes\" is not a time; give a number with us, ms, s, m or h, "
         "from 1ms to 31622400s"},
        {"servwait = -1", "servwait: \"-1\" is not a time; give a number with us, ms, s, m or h, "
                          "from 0s to 31622400s"},
        {"servwait = 99999999999999999999s",
         "servwait: \"99999999999999999999s\" is not a time; give a number with us, ms, s, m or "
         "h, from 0s to 31622400s"},
        {"max_timeout = 1.s",
         "max_timeout: \"1.s\" is not a time; give a number with us, ms, s, m or h, from 0s to "
         "31622400s"},
        {"max_timeout = 1.2.3s",
         "max_timeout: \"1.2.3s\" is not a time; give a number with us, ms, s, m or h, from 0s to "
         "31622400s"},
        {"clock_error_floor = 2h", "clock_error_floor: \"2h\" is out of range; give 0.001us to "
                                   "3600s"},
        {"modes = open",
         "modes: \"open\" is not a mode; give unauthenticated, mixed, authenticated, encrypted, or "
         "several of them with commas between"},
        {"modes = encrypted,",
         "modes: \"\" is not a mode; give unauthenticated, mixed, authenticated, encrypted, or "
         "several of them with commas between"},
        {"modes =",
         "modes: \"\" is not a mode; give unauthenticated, mixed, authenticated, encrypted, or "
         "several of them with commas between"},
        {"modes = authenticated, encrypted",
         "modes: all but unauthenticated need shared secrets; give secrets_file too, such "
         "as " SYSCONFDIR "/twamp/secrets"},
        {"features = session-control, all",
         "features: \"all\" is not a feature; give all, none, or some of session-control, "
         "reflect-octets, symmetrical, dscp and ptp with commas between"},
        {"features =",
         "features: \"\" is not a feature; give all, none, or some of session-control, "
         "reflect-octets, symmetrical, dscp and ptp with commas between"},
        {"secrets_file = twamp/secrets",
         "secrets_file: \"twamp/secrets\" is not an absolute path; begin it with /, or leave it "
         "empty for none"},
        {"kdf_iterations = 512",
         "kdf_iterations: \"512\" is not a PBKDF2 count; give a power of two from 1024 to "
         "1048576"},
        {"kdf_iterations = 3000",
         "kdf_iterations: \"3000\" is not a PBKDF2 count; give a power of two from 1024 to "
         "1048576"},
        {"kdf_iterations = 2097152",
         "kdf_iterations: \"2097152\" is not a PBKDF2 count; give a power of two from 1024 to "
         "1048576"},
        {"kdf_iterations = 0",
         "kdf_iterations: \"0\" is not a PBKDF2 count; give a power of two from 1024 to "
         "1048576"},
        {"padding = none",
         "padding: \"none\" is not a kind of padding; give reuse, random or zero"},
        {"workers = 0", "workers: \"0\" is not a number of threads; give auto, or 1 to 256"},
        {"workers = 257", "workers: \"257\" is not a number of threads; give auto, or 1 to 256"},
        {"receive_buffer = 0",
         "receive_buffer: \"0\" is not a size; give octets, or a number with K "
         "or M, from 64K to 64M"},
        {"receive_buffer = 65535", "receive_buffer: \"65535\" is not a size; give octets, or a "
                                   "number with K or M, from 64K to 64M"},
        {"receive_buffer = 65M", "receive_buffer: \"65M\" is not a size; give octets, or a number "
                                 "with K or M, from 64K to 64M"},
        {"receive_buffer = 4MB", "receive_buffer: \"4MB\" is not a size; give octets, or a number "
                                 "with K or M, from 64K to 64M"},
        {"third_party = true", "third_party: \"true\" is neither yes nor no; give one of them"},
        {"strict_stop = 1", "strict_stop: \"1\" is neither yes nor no; give one of them"},
        {"strict_error_estimate = true",
         "strict_error_estimate: \"true\" is neither yes nor no; give one of them"},
        {"tai_offset = 37s", "tai_offset: \"37s\" is not a number of seconds; give auto, or 0 to "
                             "3600 such as 37"},
        {"tai_offset = -1", "tai_offset: \"-1\" is not a number of seconds; give auto, or 0 to "
                            "3600 such as 37"},
        {"tai_offset =", "tai_offset: \"\" is not a number of seconds; give auto, or 0 to 3600 "
                         "such as 37"},
        {"tai_offset = 3601", "tai_offset: \"3601\" is not a number of seconds; give auto, or 0 "
                              "to 3600 such as 37"},
        {"listen = eth0", "listen: \"eth0\" is not an address; give an IPv4 or IPv6 address, "
                          "%interface may follow"},
        {"listen = 192.0.2.1,",
         "listen: \"\" is not an address; give an IPv4 or IPv6 address, %interface may follow"},
        {"listen = 192.0.2.1%", "listen: \"192.0.2.1%\" names no interface after %; give one"},
        {"listen = 192.0.2.1%a-name-that-is-too-long",
         "listen: \"192.0.2.1%a-name-that-is-too-long\" names no interface after %; give one"},
        {"listen = fe80::1",
         "listen: \"fe80::1\" is link-local; give its interface too, as fe80::1%eth0"},
        {"listen = fe80::1%nowhere0",
         "listen: \"fe80::1%nowhere0\" names an interface that is not here; give one of this "
         "host"},
        {"listen = all, ::1",
         "listen: \"all\" stands beside other values; give it alone or not at all"},
        {"allow = 192.0.2.0/33",
         "allow: \"192.0.2.0/33\" has no good length after the slash; give 0 to 32"},
        {"allow = 2001:db8::/129",
         "allow: \"2001:db8::/129\" has no good length after the slash; give 0 to 128"},
        {"allow = 192.0.2.0/",
         "allow: \"192.0.2.0/\" has no good length after the slash; give 0 to 32"},
        {"allow =", "allow: \"\" is empty; give any or a list"},
        {"deny = host.example.net",
         "deny: \"host.example.net\" is not an address; give a prefix such as 192.0.2.0/24 or "
         "2001:db8::/32"},
        {"deny = fe80::1%lo/64",
         "deny: \"fe80::1%lo/64\" is not an address; give a prefix such as 192.0.2.0/24 or "
         "2001:db8::/32"},
        {"user = no-such-user-here",
         "user: \"no-such-user-here\" is not a user of this host; create it or give another"},
        {"status_socket = run/status",
         "status_socket: \"run/status\" is not an absolute path; begin it with /, or leave it "
         "empty for none"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *text = g_strdup_printf("# a comment\n\n%s\nmax_sessions = 1\n", cases[i].text);
        assert_refused(text, 3, cases[i].message);
        g_free(text);
    }
    char *deep = g_strnfill(120, 'x');
    char *text = g_strdup_printf("status_socket = /%s\n", deep);
    char *message = g_strdup_printf(
        "status_socket: \"/%s\" is too long for a socket; give at most 107 characters", deep);
    assert_refused(text, 1, message);
    g_free(message);
    g_free(text);
    g_free(deep);
}

static void unknown_keys_are_refused_with_the_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"max_sesions", "max_sessions"}, {"MAX-SESSIONS", "max_sessions"},
        {"controlport", "control_port"}, {"test_ports", "test_port"},
        {"timeout", "max_timeout"},      {"denny", "deny"},
        {"status", "status_socket"},     {"worker", "workers"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *text = g_strdup_printf("\n%s = 1\n", cases[i].word);
        char *message = g_strdup_printf("%s: unknown key; the nearest known key is %s",
                                        cases[i].word, cases[i].nearest);
        assert_refused(text, 2, message);
        g_free(message);
        g_free(text);
    }
    /* Keys of later versions are as unknown as any other. */
    static const char *const later[] = {"light", "stamp_keys_file", "stamp_ssids"};
    for (size_t i = 0; i < G_N_ELEMENTS(later); i++) {
        GError *error = NULL;
        char *text = g_strdup_printf("%s = 1\n", later[i]);
        assert_null(load_octets(text, strlen(text), &error));
        assert_non_null(strstr(error->message, "unknown key"));
        g_error_free(error);
        g_free(text);
    }
    char *endless = g_strnfill(150, 'y');
    assert_non_null(twd_config_nearest(endless));
    g_free(endless);
}

/* The line is that of the key that cannot stand alone, wherever the other one would be. */
static void nat_needs_ports_to_give_out(void **state)
{
    (void)state;
    static const char complaint[] =
        "nat: \"yes\" needs a port for every session; give test_port_range too, such as "
        "20000-20999";
    assert_refused("\nnat = yes\nmax_sessions = 1\n", 2, complaint);
    assert_refused("test_port_range =\nworkers = 1\nnat = yes\n", 3, complaint);
    struct twd_config *config = load("nat = yes\ntest_port_range = 65535-65535\n");
    assert_true(config->nat);
    assert_int_equal(config->test_port_range.first, config->test_port_range.last);
    twd_config_free(config);
}

static void lists_go_on_over_lines_and_other_keys_do_not(void **state)
{
    (void)state;
    struct twd_config *config = load("allow = 192.0.2.0/25\n"
                                     "deny = 192.0.2.1\n"
                                     "allow = 192.0.2.128/25, ::1\n"
                                     "listen = 127.0.0.1\n"
                                     "listen = [::1]\n");
    assert_int_equal(config->allow->len, 3);
    assert_int_equal(config->deny->len, 1);
    assert_int_equal(config->listen->len, 2);
    twd_config_free(config);
    assert_refused("max_sessions = 1\n\nmax_sessions = 1\n", 3,
                   "max_sessions: given a second time, after line 1; remove one of them");
    assert_refused("allow = any\nallow = ::1\n", 2,
                   "allow: given a second time, after line 1; remove one of them");
    assert_refused("\ndeny = ::1\ndeny = none\n", 3,
                   "deny: given a second time, after line 2; remove one of them");
    assert_refused("listen = all\nlisten = all\n", 2,
                   "listen: given a second time, after line 1; remove one of them");
}

static void lines_are_taken_as_they_are_meant(void **state)
{
    (void)state;
    struct twd_config *config = load("\xef\xbb\xbf# byte order mark, and a section\r\n"
                                     "[server]\r\n"
                                     "max_sessions = 1\t# a comment behind a blank\r\n"
                                     "   max_connections = 2   ; of the other kind\n"
                                     "\tmax_packet_rate=3\n"
                                     ";workers = 9\n"
                                     "#workers = 9\n"
                                     "status_socket = /run/a#b\n"
                                     "max_sessions_per_client = 4"); /* no newline */
    assert_int_equal(config->max_sessions, 1);
    assert_int_equal(config->max_connections, 2);
    assert_int_equal(config->max_packet_rate, 3);
    assert_int_equal(config->workers, 0);
    assert_string_equal(config->status_socket, "/run/a#b");
    assert_int_equal(config->max_sessions_per_client, 4);
    twd_config_free(config);
}

static void lines_that_inih_would_misread_are_refused(void **state)
{
    (void)state;
    assert_refused("max_sessions 5\n", 1,
                   "\"max_sessions 5\" is not understood; write key = value");
    assert_refused("\nmax_sessions: 5\n", 2,
                   "\"max_sessions: 5\" is not understood; write key = value");
    assert_refused("= 5\n", 1, "\"= 5\" is not understood; write key = value");
    assert_refused("[server\n", 1,
                   "a section header without its ]; leave it out, no section is needed");
    assert_refused("max_sessions = 1\n  2\n", 2, "\"2\" is not understood; write key = value");

    static const char nul[] = "max_sessions = 1\0 = 2\n";
    GError *error = NULL;
    assert_null(load_octets(nul, sizeof(nul) - 1, &error));
    assert_non_null(strstr(error->message, ":1: the line is not text"));
    g_clear_error(&error);
    assert_null(load_octets("user = \xff\n", 9, &error));
    assert_non_null(strstr(error->message, ":1: the line is not text"));
    g_clear_error(&error);
}

/* inih as Debian builds it takes 200 octets for a line, its end included. */
static void a_line_is_read_whole_or_refused(void **state)
{
    (void)state;
    for (unsigned length = 20; length < 420; length++) {
        GString *text = g_string_new("allow = ::1");
        while (text->len < length)
            g_string_append(text, text->len + 5 <= length ? ",::1" : " ");
        g_string_append(text, "\nmax_sessions = 77\n");
        unsigned wanted = 0;
        for (const char *at = text->str; (at = strstr(at, "::1")) != NULL; at++)
            wanted++;
        GError *error = NULL;
        struct twd_config *config = load_octets(text->str, text->len, &error);
        if (config != NULL) {
            assert_int_equal(config->allow->len, wanted);
            assert_int_equal(config->max_sessions, 77);
            twd_config_free(config);
        } else {
            assert_true(length > 195);
            assert_non_null(strstr(error->message, ":1: the line has "));
            assert_non_null(strstr(error->message, "give lists on several lines"));
            g_error_free(error);
        }
        g_string_free(text, TRUE);
    }
}

static void a_comment_may_be_longer_than_a_line(void **state)
{
    (void)state;
    char *comment = g_strnfill(5000, '-');
    char *text = g_strdup_printf("# %s\nmax_sessions = 5 # %s\n", comment, comment);
    struct twd_config *config = load(text);
    assert_int_equal(config->max_sessions, 5);
    twd_config_free(config);
    g_free(text);
    g_free(comment);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    GError *error = NULL;
    assert_null(twd_file_load("/nonexistent/twamp.conf", true, &error));
    assert_int_equal(error->code, TWD_EXIT_CONFIG);
    assert_string_equal(error->message,
                        "/nonexistent/twamp.conf: No such file or directory; give a readable file");
    g_clear_error(&error);
    struct twd_config *config = twd_file_load("/nonexistent/twamp.conf", false, &error);
    assert_non_null(config);
    twd_config_free(config);
    assert_null(twd_file_load("/", false, &error));
    assert_string_equal(error->message, "/: Is a directory; give a readable file");
    g_clear_error(&error);
}

static void durations_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"0", 0},
        {"1", S},
        {"1.1", 1100 * MS},
        {"0.000000001s", 1},
        {"0.0000000019s", 1},
        {"250us", MS / 4},
        {"1.5ms", 3 * MS / 2},
        {"10 s", 10 * S},
        {"2m", 120 * S},
        {"2min", 120 * S},
        {"1.25h", 4500 * S},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        int64_t ns = -1;
        assert_true(twd_value_duration(cases[i].text, S, 0, INT64_MAX, &ns, NULL));
        assert_int_equal(ns, cases[i].ns);
        GString *text = g_string_new(NULL);
        twd_value_print_duration(ns, text);
        int64_t again = -1;
        assert_true(twd_value_duration(text->str, S, 0, INT64_MAX, &again, NULL));
        assert_int_equal(again, ns);
        g_string_free(text, TRUE);
    }
    static const char *const bad[] = {"", "s", ".5s", "1 2", "1,5s", "1e3", "+1", " 1s", "1S"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        int64_t ns;
        assert_false(twd_value_duration(bad[i], S, 0, INT64_MAX, &ns, NULL));
    }
}

static void sizes_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed;
        uint64_t octets;
    } cases[] = {
        {"1", "1", 1},
        {"1023", "1023", 1023},
        {"1024", "1K", 1024},
        {"3K", "3K", 3072},
        {"3 K", "3K", 3072},
        {"1025K", "1025K", 1025 * 1024},
        {"2048K", "2M", 2097152},
        {"16M", "16M", 16777216},
        {"16777216", "16M", 16777216},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t octets = 0;
        assert_true(twd_value_size(cases[i].text, 1, 16777216, &octets, NULL));
        assert_int_equal(octets, cases[i].octets);
        GString *text = g_string_new(NULL);
        twd_value_print_size(octets, text);
        assert_string_equal(text->str, cases[i].printed);
        g_string_free(text, TRUE);
    }
    static const char *const bad[] = {"",
                                      "0",
                                      "K",
                                      "17M",
                                      "16385K",
                                      "16777217",
                                      "1k",
                                      "1KiB",
                                      "1.5M",
                                      "18446744073709551616",
                                      "18014398509481984K",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "0x10"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint64_t octets;
        assert_false(twd_value_size(bad[i], 1, 16777216, &octets, NULL));
    }
}

static bool admits(const struct twd_config *config, const char *text)
{
    struct tw_address address;
    assert_true(tw_address_parse(text, &address));
    return twd_config_admits(config, &address);
}

static void deny_wins_over_allow(void **state)
{
    (void)state;
    struct twd_config *config = load("");
    assert_true(admits(config, "192.0.2.1"));
    assert_true(admits(config, "2001:db8::1"));
    twd_config_free(config);
    config = load("allow = 192.0.2.0/24, 2001:db8::/32\ndeny = 192.0.2.64/26, 2001:db8:1::/48\n");
    assert_true(admits(config, "192.0.2.63"));
    assert_false(admits(config, "192.0.2.64"));
    assert_false(admits(config, "192.0.3.1"));
    assert_true(admits(config, "2001:db8::1"));
    assert_false(admits(config, "2001:db8:1::1"));
    assert_false(admits(config, "::1"));
    twd_config_free(config);
    config = load("deny = 0.0.0.0/0\n");
    assert_false(admits(config, "192.0.2.1"));
    assert_true(admits(config, "::1"));
    twd_config_free(config);
}

static void a_reload_keeps_what_needs_a_restart(void **state)
{
    (void)state;
    struct twd_config *running = load("listen = ::1\nworkers = 2\nmax_sessions = 5\n");
    struct twd_config *fresh =
        load("control_port = 1\ntest_port = 2\nlisten = 127.0.0.1\n"
             "workers = 3\nreceive_buffer = 1M\nuser = root\nstatus_socket =\n"
             "max_sessions = 6\n");
    char *changed = twd_config_keep_fixed(fresh, running);
    assert_string_equal(changed, "control_port, test_port, listen, workers, receive_buffer, user, "
                                 "status_socket");
    g_free(changed);
    assert_int_equal(fresh->max_sessions, 6);
    assert_null(twd_config_keep_fixed(fresh, running));
    fresh->max_sessions = 5;
    assert_same(fresh, running);
    twd_config_free(fresh);
    twd_config_free(running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_means_the_documented_defaults),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(words_are_the_bits_of_the_registry),
        cmocka_unit_test(printed_defaults_are_the_defaults),
        cmocka_unit_test(the_example_file_shows_the_defaults),
        cmocka_unit_test(bad_values_are_refused_with_advice),
        cmocka_unit_test(unknown_keys_are_refused_with_the_nearest),
        cmocka_unit_test(nat_needs_ports_to_give_out),
        cmocka_unit_test(lists_go_on_over_lines_and_other_keys_do_not),
        cmocka_unit_test(lines_are_taken_as_they_are_meant),
        cmocka_unit_test(lines_that_inih_would_misread_are_refused),
        cmocka_unit_test(a_line_is_read_whole_or_refused),
        cmocka_unit_test(a_comment_may_be_longer_than_a_line),
        cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
        cmocka_unit_test(durations_are_exact),
        cmocka_unit_test(sizes_are_exact),
        cmocka_unit_test(deny_wins_over_allow),
        cmocka_unit_test(a_reload_keeps_what_needs_a_restart),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
