/* collectd-plugin/module.c between a collectd and an engine that are the test's own: what collectd
 * is asked for and told, when, and what becomes of its process. Real ones are in tests/net. */
#include <collectd.h>

#include <plugin.h>
#include <utils/common/common.h>

#include <setjmp.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/resource.h>

#include "collectd-plugin/measure.h"
#include "collectd-plugin/targets.h"
#include "lib/sys/engine.h"

#define NOW_NS       (INT64_C(1700000007) * TW_NS_PER_S) /* by collectd's clock */
#define FINAL_NS     (INT64_C(1700000005) * TW_NS_PER_S) /* when a result was */
#define COLLECTD_NS  (10 * TW_NS_PER_S)
#define TARGET_NS    (60 * TW_NS_PER_S)
#define PROMISED_NS  TW_NS_PER_S /* results wait no longer */
#define BEYOND_ROUND (220 * TW_NS_PER_MS)

void module_register(void); /* collectd looks it up by name */
void __wrap_tw_targets_forget_secrets(struct tw_targets *targets);
void __real_tw_targets_forget_secrets(struct tw_targets *targets);

/* collectd */

char *hostname_g;

static struct {
    int (*config)(oconfig_item_t *);
    plugin_init_cb init;
    plugin_read_cb read;
    plugin_shutdown_cb shutdown;
    cdtime_t read_interval;
    unsigned values, notifications, drop_warnings, buffer_warnings;
    value_list_t value; /* the last one */
    notification_t notification;
    char log[512];        /* the last line */
    int64_t dispatch_ns;  /* how long the next value keeps its thread */
    unsigned forgotten;   /* how often secrets were */
    bool secret_was_used; /* before that */
} daemon_side;

static struct {
    struct tw_engine_config config;
    void *target; /* the first one */
    unsigned added;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool running, stopped; /* under the lock, as is what follows */
    sigset_t blocked;
    struct tw_engine_counters counters; /* set between the rounds, on one thread with them */
} engine_side = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int plugin_register_complex_config(const char *type, int (*callback)(oconfig_item_t *))
{
    assert_string_equal(type, "twamp");
    daemon_side.config = callback;
    return 0;
}

int plugin_register_init(const char *name, plugin_init_cb callback)
{
    assert_string_equal(name, "twamp");
    daemon_side.init = callback;
    return 0;
}

int plugin_register_complex_read(const char *group, const char *name, plugin_read_cb callback,
                                 cdtime_t interval, user_data_t const *user_data)
{
    (void)group;
    (void)user_data;
    assert_string_equal(name, "twamp");
    daemon_side.read = callback;
    daemon_side.read_interval = interval;
    return 0;
}

int plugin_register_shutdown(const char *name, plugin_shutdown_cb callback)
{
    assert_string_equal(name, "twamp");
    daemon_side.shutdown = callback;
    return 0;
}

int plugin_dispatch_values(value_list_t const *list)
{
    daemon_side.values++;
    daemon_side.value = *list;
    if (daemon_side.dispatch_ns > 0)
        usleep((useconds_t)(daemon_side.dispatch_ns / TW_NS_PER_US));
    daemon_side.dispatch_ns = 0;
    return 0;
}

int plugin_dispatch_notification(const notification_t *notification)
{
    daemon_side.notifications++;
    daemon_side.notification = *notification;
    return 0;
}

void daemon_log(int level, const char *format, ...)
{
    (void)level;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(daemon_side.log, sizeof daemon_side.log, format, arguments);
    va_end(arguments);
    if (strstr(daemon_side.log, "results were dropped") != NULL)
        daemon_side.drop_warnings++;
    if (strstr(daemon_side.log, "receive buffers") != NULL)
        daemon_side.buffer_warnings++;
}

cdtime_t cdtime(void)
{
    return NS_TO_CDTIME_T((uint64_t)NOW_NS);
}

cdtime_t plugin_get_interval(void)
{
    return NS_TO_CDTIME_T((uint64_t)COLLECTD_NS);
}

int plugin_thread_create(pthread_t *thread, void *(*routine)(void *), void *argument,
                         char const *name)
{
    (void)name;
    return pthread_create(thread, NULL, routine, argument);
}

char *sstrncpy(char *to, const char *from, size_t size)
{
    snprintf(to, size, "%s", from);
    return to;
}

char *sstrerror(int number, char *text, size_t size)
{
    snprintf(text, size, "error %d", number);
    return text;
}

/* As collectd has it: the time is left out. */
int notification_init(notification_t *n, int severity, const char *message, const char *host,
                      const char *plugin, const char *plugin_instance, const char *type,
                      const char *type_instance)
{
    memset(n, 0, sizeof *n);
    n->severity = severity;
    sstrncpy(n->message, message, sizeof n->message);
    sstrncpy(n->host, host, sizeof n->host);
    sstrncpy(n->plugin, plugin, sizeof n->plugin);
    sstrncpy(n->plugin_instance, plugin_instance, sizeof n->plugin_instance);
    sstrncpy(n->type, type, sizeof n->type);
    sstrncpy(n->type_instance, type_instance, sizeof n->type_instance);
    return 0;
}

/* The engine: its thread sleeps until it is to stop, and what it would measure the tests say. */

struct tw_engine *tw_engine_new(const struct tw_engine_config *config)
{
    engine_side.config = *config;
    engine_side.added = 0;
    engine_side.running = engine_side.stopped = false;
    engine_side.counters = (struct tw_engine_counters){.kernel_drops = 0};
    return (struct tw_engine *)&engine_side;
}

struct tw_engine_counters tw_engine_counters(const struct tw_engine *engine)
{
    (void)engine;
    return engine_side.counters;
}

void tw_engine_free(struct tw_engine *engine)
{
    (void)engine;
}

int tw_engine_add(struct tw_engine *engine, const struct tw_engine_target *target)
{
    (void)engine;
    if (engine_side.added++ == 0)
        engine_side.target = target->user;
    if (target->passphrase_size == 7 && memcmp(target->passphrase, "hunter2", 7) == 0)
        daemon_side.secret_was_used = daemon_side.forgotten == 0;
    return 0;
}

int tw_engine_run(struct tw_engine *engine)
{
    (void)engine;
    pthread_mutex_lock(&engine_side.lock);
    pthread_sigmask(SIG_BLOCK, NULL, &engine_side.blocked);
    engine_side.running = true;
    pthread_cond_broadcast(&engine_side.changed);
    while (!engine_side.stopped)
        pthread_cond_wait(&engine_side.changed, &engine_side.lock);
    pthread_mutex_unlock(&engine_side.lock);
    return 0;
}

void tw_engine_stop(struct tw_engine *engine)
{
    (void)engine;
    pthread_mutex_lock(&engine_side.lock);
    engine_side.stopped = true;
    pthread_cond_broadcast(&engine_side.changed);
    pthread_mutex_unlock(&engine_side.lock);
}

void __wrap_tw_targets_forget_secrets(struct tw_targets *targets)
{
    daemon_side.forgotten++;
    __real_tw_targets_forget_secrets(targets);
}

/* From the configuration to the end */

enum { OPTIONS_MAX = 4 };

struct option {
    const char *name, *text; /* text NULL: the number */
    double number;
};

/* Configures one target with these options, beside its Host and Interval, and starts it. */
static void start_with(const struct option *options, size_t count)
{
    static char host[] = "router.example";
    hostname_g = host;
    memset(&daemon_side, 0, sizeof daemon_side);
    oconfig_value_t values[OPTIONS_MAX];
    oconfig_item_t items[OPTIONS_MAX];
    assert_true(count <= OPTIONS_MAX);
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < count; i++) {
        values[i].type = options[i].text != NULL ? OCONFIG_TYPE_STRING : OCONFIG_TYPE_NUMBER;
        if (options[i].text != NULL)
            values[i].value.string = strdup(options[i].text);
        else
            values[i].value.number = options[i].number;
        items[i] =
            (oconfig_item_t){.key = strdup(options[i].name), .values = &values[i], .values_num = 1};
    }
    oconfig_value_t name = {.type = OCONFIG_TYPE_STRING, .value.string = strdup("fra")};
    oconfig_item_t target = {.key = strdup("Target"),
                             .values = &name,
                             .values_num = 1,
                             .children = items,
                             .children_num = (int)count};
    oconfig_item_t block = {.children = &target, .children_num = 1};
    module_register();
    assert_int_equal(daemon_side.config(&block), 0);
    for (size_t i = 0; i < count; i++) {
        if (options[i].text != NULL)
            free(values[i].value.string);
        free(items[i].key);
    }
    free(name.value.string);
    free(target.key);
    assert_int_equal(daemon_side.init(), 0);
    assert_int_equal(engine_side.added, 1);
    assert_non_null(daemon_side.read);
}

static void start(void)
{
    static const struct option options[] = {{"Host", "192.0.2.1", 0},
                                            {"Interval", NULL, (double)TARGET_NS / TW_NS_PER_S}};
    start_with(options, 2);
}

static void end(void)
{
    assert_int_equal(daemon_side.shutdown(), 0);
}

/* One interval's result, as the engine's thread would give it. */
static void measured(enum tw_measurement_state state)
{
    struct tw_measurement m = {.time = {FINAL_NS}, .state = state};
    tw_summary_none(&m.summary);
    if (state == TW_MEASUREMENT_OK) {
        m.session = true;
        m.summary.sent = m.summary.received = 10;
    }
    engine_side.config.on_measurement(engine_side.config.user, engine_side.target, &m);
}

static void read_round(void)
{
    assert_int_equal(daemon_side.read(NULL), 0);
}

/* Tests */

static void results_are_asked_for_oftener_than_collectd_reads(void **state)
{
    (void)state;
    start();
    assert_in_range(CDTIME_T_TO_NS(daemon_side.read_interval), 1, PROMISED_NS);
    end();
}

static void values_have_the_time_at_which_they_were_final_and_the_targets_interval(void **state)
{
    (void)state;
    start();
    measured(TW_MEASUREMENT_OK);
    read_round();
    assert_int_equal(daemon_side.values, TW_MEASURE_VALUES);
    assert_int_equal(daemon_side.value.time, NS_TO_CDTIME_T((uint64_t)FINAL_NS));
    assert_int_equal(daemon_side.value.interval, NS_TO_CDTIME_T((uint64_t)TARGET_NS));
    assert_string_equal(daemon_side.value.plugin, "twamp");
    assert_string_equal(daemon_side.value.plugin_instance, "fra");
    end();
}

static void is_notified(unsigned count, int severity)
{
    const notification_t *n = &daemon_side.notification;
    assert_int_equal(daemon_side.notifications, count);
    assert_int_equal(n->severity, severity);
    assert_int_equal(n->time, NS_TO_CDTIME_T((uint64_t)NOW_NS));
    assert_string_equal(n->host, hostname_g);
    assert_string_equal(n->plugin, "twamp");
    assert_string_equal(n->plugin_instance, "fra");
    assert_string_equal(n->message, daemon_side.log);
}

static void failure_and_recovery_are_one_notification_each_with_a_time(void **state)
{
    (void)state;
    start();
    measured(TW_MEASUREMENT_OK);
    read_round();
    assert_int_equal(daemon_side.notifications, 0); /* nothing has changed */
    for (unsigned i = 0; i < 3; i++)
        measured(TW_MEASUREMENT_SILENT);
    read_round();
    is_notified(1, NOTIF_FAILURE);
    for (unsigned i = 0; i < 3; i++)
        measured(TW_MEASUREMENT_OK);
    read_round();
    is_notified(2, NOTIF_OKAY);
    end();
}

static void open_files_are_as_many_as_targets_need_and_no_fewer_than_before(void **state)
{
    (void)state;
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlim_t wanted = 4096 + 2;
    const struct rlimit low = {before.rlim_max < 256 ? before.rlim_max : 256, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    start();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_int_equal(now.rlim_cur, wanted < now.rlim_max ? wanted : now.rlim_max);
    assert_int_equal(now.rlim_max, before.rlim_max);
    end();
    const struct rlimit high = {before.rlim_max, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &high), 0);
    start();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    if (high.rlim_cur >= wanted)
        assert_int_equal(now.rlim_cur, high.rlim_cur);
    end();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void signals_are_left_to_collectds_own_threads(void **state)
{
    (void)state;
    start();
    pthread_mutex_lock(&engine_side.lock);
    while (!engine_side.running)
        pthread_cond_wait(&engine_side.changed, &engine_side.lock);
    const sigset_t blocked = engine_side.blocked;
    pthread_mutex_unlock(&engine_side.lock);
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM};
    sigset_t own;
    pthread_sigmask(SIG_BLOCK, NULL, &own);
    for (size_t i = 0; i < STATIC_ARRAY_SIZE(signals); i++) {
        assert_true(sigismember(&blocked, signals[i]));
        assert_false(sigismember(&own, signals[i])); /* of the thread that has started it */
    }
    end();
}

static void secrets_are_forgotten_once_the_engine_has_them(void **state)
{
    (void)state;
    char path[] = "/tmp/twamp-module-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, "noc hunter2\n", 12), 12);
    close(file);
    const struct option options[] = {{"Host", "192.0.2.1", 0},
                                     {"Mode", "encrypted", 0},
                                     {"KeyID", "noc", 0},
                                     {"SecretFile", path, 0}};
    start_with(options, 4);
    unlink(path);
    assert_true(daemon_side.secret_was_used);
    assert_int_equal(daemon_side.forgotten, 1);
    end();
}

/* The queue has room for 256 results and two of each target. */
static void overflow(void)
{
    for (unsigned i = 0; i < 256 + 2 + 10; i++)
        measured(TW_MEASUREMENT_OK);
}

static void dropped_results_are_told_once_each_time_it_begins(void **state)
{
    (void)state;
    start();
    read_round();
    assert_int_equal(daemon_side.drop_warnings, 0);
    for (unsigned time = 1; time <= 2; time++) {
        for (unsigned round = 0; round < 4; round++) {
            if (round % 2 == 0) /* and in between some only wait */
                overflow();
            daemon_side.dispatch_ns = BEYOND_ROUND; /* so that they do in the next round */
            read_round();
            assert_int_equal(daemon_side.drop_warnings, time);
        }
        do { /* until all are taken, and one more */
            daemon_side.values = 0;
            read_round();
        } while (daemon_side.values > 0);
        assert_int_equal(daemon_side.drop_warnings, time);
    }
    end();
}

static void
replies_without_room_in_this_host_are_told_and_no_line_follows_while_it_lasts(void **state)
{
    (void)state;
    start();
    read_round();
    assert_int_equal(daemon_side.buffer_warnings, 0);
    engine_side.counters.kernel_drops = 7;
    read_round();
    assert_int_equal(daemon_side.buffer_warnings, 1);
    assert_non_null(strstr(daemon_side.log, "7 replies"));
    for (unsigned round = 0; round < 10; round++) {
        engine_side.counters.kernel_drops++;
        read_round();
    }
    assert_int_equal(daemon_side.buffer_warnings, 1);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_asked_for_oftener_than_collectd_reads),
        cmocka_unit_test(values_have_the_time_at_which_they_were_final_and_the_targets_interval),
        cmocka_unit_test(failure_and_recovery_are_one_notification_each_with_a_time),
        cmocka_unit_test(open_files_are_as_many_as_targets_need_and_no_fewer_than_before),
        cmocka_unit_test(signals_are_left_to_collectds_own_threads),
        cmocka_unit_test(secrets_are_forgotten_once_the_engine_has_them),
        cmocka_unit_test(dropped_results_are_told_once_each_time_it_begins),
        cmocka_unit_test(
            replies_without_room_in_this_host_are_told_and_no_line_follows_while_it_lasts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
