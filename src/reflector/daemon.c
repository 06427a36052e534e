/* Start, reload and end of the daemon; see daemon.h.
 *
 * The order of the start matters: everything that needs privileges is opened, then the user is
 * changed, then the threads begin, then connections are accepted, then we are ready. Signals are
 * obeyed from the change of the user on: to derive the first keys can take a while. */
#include "reflector/daemon.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "lib/keys.h"
#include "lib/sys/clock.h"
#include "lib/sys/random.h"
#include "lib/sys/socket.h"
#include "reflector/connection.h"
#include "reflector/error.h"
#include "reflector/inherit.h"
#include "reflector/keystore.h"
#include "reflector/listener.h"
#include "reflector/log.h"
#include "reflector/plane.h"
#include "reflector/poller.h"
#include "reflector/sessions.h"
#include "reflector/signals.h"
#include "reflector/status.h"

/* Bound of set-up and of a message under way (conformance C.15). */
#define STALL_NS (60 * TW_NS_PER_S)

enum {
    CLOCK_CHECK_S = 30,
    KEYS_TELL_MS = 5000, /* how often systemd is asked for more time while keys are derived */
};

struct daemon {
    const struct twd_options *options;
    struct twd_config *config;
    GMainLoop *loop;
    struct twd_poller *poller;
    struct twd_signals signals;
    struct twd_listeners *listeners;
    struct twd_plane *plane;
    struct twd_clients clients;
    struct twd_keystore *keys;
    struct twd_service service;
    struct twd_status status;
    struct twd_status_socket *status_socket;
    struct tw_clock clock;
    bool clock_was_synchronized;
    bool ready;         /* the start is over */
    bool ending;        /* SIGTERM or SIGINT came */
    bool reload_wanted; /* SIGHUP came before we were ready */
    guint sources[2];   /* of the main loop, 0: none */
};

/* What the configuration in force means for connections and sessions from now on. */
static void configure(struct daemon *daemon)
{
    const struct twd_config *config = daemon->config;
    daemon->service.config = config;
    daemon->service.server.modes = config->modes | config->features;
    daemon->service.server.count = config->kdf_iterations;
    daemon->service.server.servwait_ns = config->servwait_ns;
    daemon->service.server.max_payload = config->max_packet_size;
    daemon->service.server.max_timeout_ns = config->max_timeout_ns;
    daemon->service.server.strict_stop = config->strict_stop;
    daemon->clock.error_floor_ns = config->clock_error_floor_ns;
    twd_sessions_configure(daemon->service.sessions, config);
}

static void make_service(struct daemon *daemon)
{
    tw_clock_init(&daemon->clock, daemon->config->clock_error_floor_ns);
    twd_clients_init(&daemon->clients);
    struct twd_service *service = &daemon->service;
    service->poller = daemon->poller;
    service->clients = &daemon->clients;
    service->sessions = twd_sessions_new(daemon->plane, &daemon->clients, &twd_connection_calls);
    g_queue_init(&service->connections);
    tw_random_init(&service->random);
    service->server = (struct tw_server_config){
        .stall_ns = STALL_NS,
        .start_time = tw_ntp_from_wall(tw_clock_read(&daemon->clock).wall),
    };
    daemon->status = (struct twd_status){
        .service = service,
        .plane = daemon->plane,
        .clock = &daemon->clock,
        .since = tw_clock_mono(),
    };
    configure(daemon);
}

/* The daemon can do without: a missing directory must not stop measurements. */
static void open_status_socket(struct daemon *daemon)
{
    const char *path = daemon->config->status_socket;
    if (path[0] == '\0')
        return;
    g_autoptr(GError) fault = NULL;
    daemon->status_socket = twd_status_socket_new(path, daemon->poller, &daemon->status, &fault);
    if (daemon->status_socket == NULL)
        twd_log(TWD_LOG_WARNING, NULL, "%s; going on without", fault->message);
    else
        twd_status_socket_give(daemon->status_socket, daemon->config->user);
}

static bool open_sockets(struct daemon *daemon, GError **error)
{
    g_autoptr(GArray) tcp = g_array_new(FALSE, FALSE, sizeof(int));
    g_autoptr(GArray) udp = g_array_new(FALSE, FALSE, sizeof(int));
    if (!twd_inherit_sockets(tcp, udp, error))
        return false;
    daemon->listeners = twd_listeners_new(daemon->config, tcp, error);
    if (daemon->listeners == NULL)
        return false;
    daemon->plane = twd_plane_new(daemon->config, udp, daemon->poller, error);
    return daemon->plane != NULL;
}

/* Takes over the secrets. */
static bool load_keys(struct daemon *daemon, struct tw_secrets *secrets, GError **error)
{
    const struct twd_config *config = daemon->config;
    if (tw_keys_needed(config->modes))
        return twd_keystore_load(daemon->keys, secrets, config->kdf_iterations, error);
    twd_keystore_unload(daemon->keys);
    tw_secrets_free(secrets);
    return true;
}

static void warn_of_count(const struct twd_config *config)
{
    if (tw_keys_needed(config->modes) && config->kdf_iterations > TW_KEYS_COUNT_DEFAULT)
        twd_log(TWD_LOG_WARNING, NULL, "kdf_iterations: clients may refuse more than %d",
                TW_KEYS_COUNT_DEFAULT);
}

static bool make_keys(struct daemon *daemon, GError **error)
{
    struct tw_secrets secrets;
    if (!twd_keystore_read(daemon->config, &secrets, error))
        return false;
    warn_of_count(daemon->config);
    daemon->keys = twd_keystore_new(daemon->poller, TWD_KEYSTORE_RENEW_NS, error);
    if (daemon->keys == NULL)
        tw_secrets_free(&secrets);
    if (daemon->keys == NULL || !load_keys(daemon, &secrets, error))
        return false;
    daemon->service.keys = daemon->keys;
    return true;
}

static gboolean tell_of_keys(gpointer user)
{
    (void)user;
    sd_notifyf(0, "STATUS=deriving keys\nEXTEND_TIMEOUT_USEC=%d", 10 * KEYS_TELL_MS * 1000);
    return G_SOURCE_CONTINUE;
}

/* No salt is offered before the keys for it are there. Signals and questions for the status are
 * answered meanwhile. */
static void await_keys(struct daemon *daemon)
{
    if (!tw_keys_needed(daemon->config->modes))
        return;
    const guint teller = g_timeout_add(KEYS_TELL_MS, tell_of_keys, NULL);
    while (!daemon->ending && !twd_keystore_is_ready(daemon->keys))
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(teller);
}

static void stop(struct daemon *daemon)
{
    twd_signals_end(&daemon->signals);
    for (size_t i = 0; i < G_N_ELEMENTS(daemon->sources); i++)
        if (daemon->sources[i] != 0)
            g_source_remove(daemon->sources[i]);
    if (daemon->listeners != NULL)
        twd_listeners_free(daemon->listeners);
    if (daemon->service.sessions != NULL)
        twd_connection_close_all(&daemon->service);
    twd_status_socket_free(daemon->status_socket);
    if (daemon->plane != NULL)
        twd_plane_free(daemon->plane);
    if (daemon->service.sessions != NULL) {
        twd_sessions_free(daemon->service.sessions);
        twd_clients_free(&daemon->clients);
    }
    if (daemon->keys != NULL)
        twd_keystore_free(daemon->keys);
    if (daemon->poller != NULL)
        twd_poller_free(daemon->poller);
    twd_config_free(daemon->config);
    g_main_loop_unref(daemon->loop);
}

static void tell_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, tw_clock_mono().ns / TW_NS_PER_US);
}

static struct twd_config *read_anew(struct daemon *daemon, struct tw_secrets *secrets,
                                    GError **error)
{
    struct twd_config *fresh = twd_options_load(daemon->options, error);
    if (fresh == NULL || twd_keystore_read(fresh, secrets, error))
        return fresh;
    twd_config_free(fresh);
    return NULL;
}

static void put_in_force(struct daemon *daemon, struct twd_config *fresh,
                         struct tw_secrets *secrets)
{
    g_autofree char *fixed = twd_config_keep_fixed(fresh, daemon->config);
    if (fixed != NULL)
        twd_log(TWD_LOG_WARNING, NULL, "reload: a change of %s needs a restart", fixed);
    warn_of_count(fresh);
    struct twd_config *old = daemon->config;
    daemon->config = fresh;
    configure(daemon);
    twd_plane_tune(daemon->plane, fresh->clock_error_floor_ns);
    twd_config_free(old);
    g_autoptr(GError) fault = NULL;
    if (!load_keys(daemon, secrets, &fault))
        twd_log(TWD_LOG_ERROR, NULL, "%s; new secrets are not known yet", fault->message);
    twd_log(TWD_LOG_INFO, NULL, "configuration reloaded");
}

/* All or nothing: a file with a fault, be it that of the secrets, changes nothing. */
static void reload(struct daemon *daemon)
{
    tell_reloading();
    struct tw_secrets secrets;
    g_autoptr(GError) fault = NULL;
    struct twd_config *fresh = read_anew(daemon, &secrets, &fault);
    if (fresh != NULL)
        put_in_force(daemon, fresh, &secrets);
    else
        twd_log(TWD_LOG_ERROR, NULL, "reload refused, the configuration stays as it was: %s",
                fault->message);
    sd_notify(0, "READY=1");
}

static void take_signal(void *user, int number)
{
    struct daemon *daemon = user;
    if (number != SIGHUP) {
        sd_notify(0, "STOPPING=1");
        daemon->ending = true;
        g_main_loop_quit(daemon->loop);
    } else if (daemon->ready) {
        reload(daemon);
    } else {
        daemon->reload_wanted = true;
    }
}

/* The main loop turns, or this were not called; the workers are asked. */
static gboolean take_watchdog_tick(gpointer user)
{
    struct daemon *daemon = user;
    if (twd_plane_check(daemon->plane))
        sd_notify(0, "WATCHDOG=1");
    return G_SOURCE_CONTINUE;
}

static void log_clock(struct daemon *daemon, bool synchronized)
{
    daemon->clock_was_synchronized = synchronized;
    if (synchronized)
        twd_log(TWD_LOG_INFO, NULL, "the clock is synchronised");
    else
        twd_log(TWD_LOG_WARNING, NULL,
                "the clock is not synchronised: one-way delays cannot be trusted, round trips can");
}

static gboolean take_clock_tick(gpointer user)
{
    struct daemon *daemon = user;
    (void)tw_clock_read(&daemon->clock);
    if (daemon->clock.quality.synchronized != daemon->clock_was_synchronized)
        log_clock(daemon, daemon->clock.quality.synchronized);
    return G_SOURCE_CONTINUE;
}

static void begin_ticking(struct daemon *daemon)
{
    daemon->sources[0] = g_timeout_add_seconds(CLOCK_CHECK_S, take_clock_tick, daemon);
    uint64_t watchdog_us = 0;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
        daemon->sources[1] =
            g_timeout_add((guint)MAX(watchdog_us / 3000, 1), take_watchdog_tick, daemon);
}

/* Everything that a session needs; with `ending` no more than there is. */
static bool start(struct daemon *daemon, GError **error)
{
    twd_signals_hold(); /* a reload that is asked for from now on ends nothing */
    twd_inherit_raise_limits();
    daemon->poller = twd_poller_new(error);
    daemon->signals = (struct twd_signals){.came = take_signal, .user = daemon};
    if (daemon->poller == NULL || !twd_signals_begin(&daemon->signals, daemon->poller, error) ||
        !open_sockets(daemon, error))
        return false;
    make_service(daemon);
    open_status_socket(daemon);
    if (!twd_inherit_become(daemon->config->user, error))
        return false;
    if (!make_keys(daemon, error))
        return false;
    await_keys(daemon);
    return daemon->ending ||
           (twd_plane_start(daemon->plane, twd_sessions_report, daemon->service.sessions, error) &&
            twd_listeners_start(daemon->listeners, &daemon->service, error));
}

/* One line for scripts: the first address of each kind, a wildcard as [::] or 0.0.0.0. */
static void tell_ready(const struct daemon *daemon)
{
    char control[TW_ADDRESS_TEXT];
    char test[TW_ADDRESS_TEXT];
    const struct tw_address control_address = twd_listeners_address(daemon->listeners);
    const struct tw_address test_address = twd_plane_address(daemon->plane);
    printf("ready control=%s test=%s\n", tw_address_format(&control_address, true, control),
           tw_address_format(&test_address, true, test));
    fflush(stdout);
    sd_notifyf(0, "READY=1\nSTATUS=control %s, test %s", control, test);
}

static void serve(struct daemon *daemon)
{
    begin_ticking(daemon);
    log_clock(daemon, daemon->clock.quality.synchronized);
    tell_ready(daemon);
    daemon->ready = true;
    if (daemon->reload_wanted)
        reload(daemon);
    g_main_loop_run(daemon->loop);
}

int twd_daemon_run(const struct twd_options *options, struct twd_config *config, GError **error)
{
    struct daemon daemon = {.options = options, .config = config};
    daemon.loop = g_main_loop_new(NULL, FALSE);
    signal(SIGPIPE, SIG_IGN);
    if (!start(&daemon, error)) {
        stop(&daemon);
        return (*error)->code;
    }
    if (!daemon.ending)
        serve(&daemon);
    stop(&daemon);
    twd_log(TWD_LOG_INFO, NULL, "stopped");
    return TWD_EXIT_OK;
}
