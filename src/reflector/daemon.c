/* Start, reload and end of the daemon; see daemon.h.
 *
 * The order of the start matters: everything that needs privileges is opened, then the user is
 * changed, then the threads begin, then connections are accepted, then we are ready. */
#include "reflector/daemon.h"

#include <glib-unix.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "lib/sys/clock.h"
#include "lib/sys/random.h"
#include "lib/sys/socket.h"
#include "reflector/connection.h"
#include "reflector/error.h"
#include "reflector/inherit.h"
#include "reflector/listener.h"
#include "reflector/log.h"
#include "reflector/plane.h"
#include "reflector/poller.h"
#include "reflector/sessions.h"
#include "reflector/status.h"

/* Bound of set-up and of a message under way (conformance C.15). */
#define STALL_NS (60 * TW_NS_PER_S)

enum {
    KDF_ITERATIONS = 32768, /* the greeting has the field in every mode */
    CLOCK_CHECK_S = 30,
};

struct daemon {
    const struct twd_options *options;
    struct twd_config *config;
    GMainLoop *loop;
    struct twd_poller *poller;
    struct twd_listeners *listeners;
    struct twd_plane *plane;
    struct twd_clients clients;
    struct twd_service service;
    struct twd_status status;
    struct twd_status_socket *status_socket;
    struct tw_clock clock;
    bool clock_was_synchronized;
    guint sources[5]; /* of the main loop, 0: none */
};

/* What the configuration in force means for connections and sessions from now on. */
static void configure(struct daemon *daemon)
{
    const struct twd_config *config = daemon->config;
    daemon->service.config = config;
    daemon->service.server.modes = config->modes;
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
        .count = KDF_ITERATIONS,
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

static bool start(struct daemon *daemon, GError **error)
{
    twd_inherit_raise_limits();
    daemon->poller = twd_poller_new(error);
    if (daemon->poller == NULL || !open_sockets(daemon, error))
        return false;
    make_service(daemon);
    open_status_socket(daemon);
    return twd_inherit_become(daemon->config->user, error) &&
           twd_plane_start(daemon->plane, twd_sessions_report, daemon->service.sessions, error) &&
           twd_listeners_start(daemon->listeners, &daemon->service, error);
}

/* A second SIGTERM must not cut this short with an exit status of its own. */
static void stop(struct daemon *daemon)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
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
    if (daemon->poller != NULL)
        twd_poller_free(daemon->poller);
    twd_config_free(daemon->config);
    g_main_loop_unref(daemon->loop);
}

static gboolean take_end_signal(gpointer user)
{
    struct daemon *daemon = user;
    sd_notify(0, "STOPPING=1");
    g_main_loop_quit(daemon->loop);
    return G_SOURCE_CONTINUE;
}

static void tell_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, tw_clock_mono().ns / TW_NS_PER_US);
}

/* All or nothing: a file with a fault changes nothing. */
static gboolean take_reload_signal(gpointer user)
{
    struct daemon *daemon = user;
    tell_reloading();
    g_autoptr(GError) fault = NULL;
    struct twd_config *fresh = twd_options_load(daemon->options, &fault);
    if (fresh == NULL) {
        twd_log(TWD_LOG_ERROR, NULL, "reload refused, the configuration stays as it was: %s",
                fault->message);
        sd_notify(0, "READY=1");
        return G_SOURCE_CONTINUE;
    }
    g_autofree char *fixed = twd_config_keep_fixed(fresh, daemon->config);
    if (fixed != NULL)
        twd_log(TWD_LOG_WARNING, NULL, "reload: a change of %s needs a restart", fixed);
    struct twd_config *old = daemon->config;
    daemon->config = fresh;
    configure(daemon);
    twd_plane_tune(daemon->plane, fresh->clock_error_floor_ns);
    twd_config_free(old);
    twd_log(TWD_LOG_INFO, NULL, "configuration reloaded");
    sd_notify(0, "READY=1");
    return G_SOURCE_CONTINUE;
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

static void add_sources(struct daemon *daemon)
{
    guint *source = daemon->sources;
    *source++ = g_unix_signal_add(SIGTERM, take_end_signal, daemon);
    *source++ = g_unix_signal_add(SIGINT, take_end_signal, daemon);
    *source++ = g_unix_signal_add(SIGHUP, take_reload_signal, daemon);
    *source++ = g_timeout_add_seconds(CLOCK_CHECK_S, take_clock_tick, daemon);
    uint64_t watchdog_us = 0;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
        *source = g_timeout_add((guint)MAX(watchdog_us / 3000, 1), take_watchdog_tick, daemon);
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

int twd_daemon_run(const struct twd_options *options, struct twd_config *config, GError **error)
{
    struct daemon daemon = {.options = options, .config = config};
    daemon.loop = g_main_loop_new(NULL, FALSE);
    signal(SIGPIPE, SIG_IGN);
    if (!start(&daemon, error)) {
        stop(&daemon);
        return (*error)->code;
    }
    add_sources(&daemon);
    log_clock(&daemon, daemon.clock.quality.synchronized);
    tell_ready(&daemon);
    g_main_loop_run(daemon.loop);
    stop(&daemon);
    twd_log(TWD_LOG_INFO, NULL, "stopped");
    return TWD_EXIT_OK;
}
