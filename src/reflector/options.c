/* Command line; see options.h. GLib parses it. */
#include "reflector/options.h"

#include <string.h>

#include "reflector/error.h"
#include "reflector/file.h"
#include "reflector/value.h"

/* SYSCONFDIR comes from configure's --sysconfdir. */
#define DEFAULT_FILE SYSCONFDIR "/twamp/twamp-server.conf"

/* Of a port; nobody means this number. */
#define NOT_GIVEN G_MININT

/* Where GLib puts what it reads. */
struct raw {
    char *file, *level;
    char **bind;
    int control_port, test_port;
    gboolean test, version, status;
    char *status_socket;
};

static gboolean take_status(const char *name, const char *value, gpointer data, GError **error)
{
    (void)name;
    (void)error;
    struct raw *raw = data;
    raw->status = TRUE;
    g_free(raw->status_socket);
    raw->status_socket = g_strdup(value);
    return TRUE;
}

static bool read_line(int argc, char **argv, struct raw *raw, GError **error)
{
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &raw->file, "read FILE instead of " DEFAULT_FILE,
         "FILE"},
        {"test-config", 't', 0, G_OPTION_ARG_NONE, &raw->test,
         "print the configuration in force and exit", NULL},
        {"control-port", 'p', 0, G_OPTION_ARG_INT, &raw->control_port,
         "TCP port for TWAMP-Control, 0 for any free one", "PORT"},
        {"test-port", 0, 0, G_OPTION_ARG_INT, &raw->test_port,
         "UDP port for TWAMP-Test, 0 for any free one", "PORT"},
        {"bind", 'b', 0, G_OPTION_ARG_STRING_ARRAY, &raw->bind,
         "listen at ADDRESS only (repeatable)", "ADDRESS"},
        {"log-level", 'l', 0, G_OPTION_ARG_STRING, &raw->level, "error, warning, info or debug",
         "LEVEL"},
        {"status", 0, G_OPTION_FLAG_OPTIONAL_ARG, G_OPTION_ARG_CALLBACK, (void *)take_status,
         "print the status of the running daemon as JSON", "SOCKET"},
        {"version", 'V', 0, G_OPTION_ARG_NONE, &raw->version, "print the version", NULL},
        {.long_name = NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- TWAMP server and reflector");
    GOptionGroup *group = g_option_group_new("twamp-server", "", "", raw, NULL);
    g_option_group_add_entries(group, entries);
    g_option_context_set_main_group(context, group);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return false;
    if (argc > 1)
        return twd_fail(error, TWD_EXIT_USAGE, "\"%s\" is not expected", argv[1]);
    return true;
}

static bool take_port(const char *option, int port, int *out, GError **error)
{
    *out = -1;
    if (port == NOT_GIVEN)
        return true;
    if (port < 0 || port > UINT16_MAX)
        return twd_fail(error, TWD_EXIT_USAGE, "%s: %d is not a port; give 0 to 65535", option,
                        port);
    *out = port;
    return true;
}

static bool take(struct twd_options *options, struct raw *raw, GError **error)
{
    options->file = g_steal_pointer(&raw->file);
    options->status_socket = g_steal_pointer(&raw->status_socket);
    options->test = raw->test;
    options->status = raw->status;
    options->version = raw->version;
    options->level = TWD_LOG_INFO;
    if (raw->level != NULL && !twd_log_level_from_name(raw->level, &options->level))
        return twd_fail(error, TWD_EXIT_USAGE,
                        "--log-level: \"%s\" is not a level; give error, warning, info or debug",
                        raw->level);
    for (char **address = raw->bind; address != NULL && *address != NULL; address++) {
        struct twd_listen listen;
        if (!twd_value_listen(*address, &listen, error)) {
            g_prefix_error(error, "--bind: ");
            return false;
        }
        g_array_append_val(options->listen, listen);
    }
    return take_port("--control-port", raw->control_port, &options->control_port, error) &&
           take_port("--test-port", raw->test_port, &options->test_port, error);
}

struct twd_options *twd_options_parse(int argc, char **argv, GError **error)
{
    struct twd_options *options = g_new0(struct twd_options, 1);
    options->listen = g_array_new(FALSE, FALSE, sizeof(struct twd_listen));
    struct raw raw = {.control_port = NOT_GIVEN, .test_port = NOT_GIVEN};
    const bool good = read_line(argc, argv, &raw, error) && take(options, &raw, error);
    g_free(raw.file);
    g_free(raw.level);
    g_strfreev(raw.bind);
    g_free(raw.status_socket);
    if (good)
        return options;
    twd_options_free(options);
    return NULL;
}

void twd_options_free(struct twd_options *options)
{
    g_free(options->file);
    g_free(options->status_socket);
    g_array_unref(options->listen);
    g_free(options);
}

struct twd_config *twd_options_load(const struct twd_options *options, GError **error)
{
    const bool named = options->file != NULL;
    struct twd_config *config = twd_file_load(named ? options->file : DEFAULT_FILE, named, error);
    if (config == NULL)
        return NULL;
    if (options->control_port >= 0)
        config->control_port = (uint16_t)options->control_port;
    if (options->test_port >= 0)
        config->test_port = (uint16_t)options->test_port;
    if (options->listen->len > 0) {
        g_array_set_size(config->listen, 0);
        g_array_append_vals(config->listen, options->listen->data, options->listen->len);
    }
    return config;
}
