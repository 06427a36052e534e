/* twamp-server: the command line decides whether the daemon runs or only something is shown. */
#include "twamp-config.h"

#include <locale.h>
#include <stdio.h>

#include "reflector/daemon.h"
#include "reflector/error.h"
#include "reflector/keystore.h"
#include "reflector/log.h"
#include "reflector/options.h"
#include "reflector/status.h"

/* With a look at the secrets too: a file that would stop the daemon is found before it does. */
static int show_config(const struct twd_config *config, GError **error)
{
    struct tw_secrets secrets;
    if (!twd_keystore_read(config, &secrets, error))
        return TWD_EXIT_CONFIG;
    tw_secrets_free(&secrets);
    g_autofree char *text = twd_config_print(config);
    fputs(text, stdout);
    return TWD_EXIT_OK;
}

/* A default file that may not be read by who asks must not keep him from asking. */
static int show_status(const struct twd_options *options, GError **error)
{
    g_autofree char *path = g_strdup(options->status_socket);
    if (path == NULL) {
        struct twd_config *config = twd_options_load(options, options->file == NULL ? NULL : error);
        if (config == NULL && options->file != NULL)
            return TWD_EXIT_CONFIG;
        if (config == NULL)
            config = twd_config_new();
        path = g_strdup(config->status_socket);
        twd_config_free(config);
    }
    g_autofree char *text = twd_status_ask(path, error);
    if (text == NULL)
        return TWD_EXIT_FAILURE;
    fputs(text, stdout);
    return TWD_EXIT_OK;
}

static int run(const struct twd_options *options, GError **error)
{
    if (options->version) {
        puts("twamp-server " PACKAGE_VERSION);
        return TWD_EXIT_OK;
    }
    if (options->status)
        return show_status(options, error);
    struct twd_config *config = twd_options_load(options, error);
    if (config == NULL)
        return TWD_EXIT_CONFIG;
    if (options->test) {
        const int status = show_config(config, error);
        twd_config_free(config);
        return status;
    }
    return twd_daemon_run(options, config, error);
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    GError *error = NULL;
    struct twd_options *options = twd_options_parse(argc, argv, &error);
    if (options == NULL) {
        fprintf(stderr, "twamp-server: %s; see twamp-server --help\n", error->message);
        g_error_free(error);
        return TWD_EXIT_USAGE;
    }
    if (!options->test && !options->status)
        twd_log_open();
    twd_log_set_level(options->level);
    const int status = run(options, &error);
    if (error != NULL)
        twd_log(TWD_LOG_ERROR, NULL, "%s", error->message);
    g_clear_error(&error);
    twd_options_free(options);
    return status;
}
