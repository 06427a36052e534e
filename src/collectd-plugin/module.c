/* twamp.so: everything that touches collectd's interface, and nothing else.
 *
 * collectd forks between configuration and init, so the configuration is only read and nothing is
 * started before init. One thread runs the engine; it puts results into a queue and never waits for
 * collectd. The read callback takes them out and dispatches, a few of them at a time; it never
 * blocks and never fails, since collectd would suspend it for up to a day. Nothing here makes
 * collectd stop: whoever else it serves is not to suffer from a mistake in our part of the
 * configuration.
 *
 * twamp-config.h is not included: collectd's own configuration header defines the same names. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_timedjoin_np; NOLINT(bugprone-reserved-identifier) */
#endif

#include <collectd.h>

#include <plugin.h>
#include <utils/common/common.h>

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "collectd-plugin/measure.h"
#include "collectd-plugin/news.h"
#include "collectd-plugin/queue.h"
#include "collectd-plugin/remarks.h"
#include "collectd-plugin/targets.h"
#include "lib/sys/clock.h"
#include "lib/sys/engine.h"

/* Results wait no longer than a round, and a round keeps collectd's thread little longer than its
 * share. With 5,000 targets every 10 s a round takes some milliseconds. But where collectd takes
 * its time over each value, or over a notification, and results pile up, the thread is kept for
 * most of the time: to lose results would be worse. */
#define ROUND_NS         (250 * TW_NS_PER_MS)
#define ROUND_SHARE_NS   (25 * TW_NS_PER_MS)
#define BACKLOG_SHARE_NS (200 * TW_NS_PER_MS)
enum { BACKLOG_PART = 4 }; /* of the queue's room: more is a backlog */

/* Until replies that find no room are news again. */
#define ROOMLESS_NS (INT64_C(300) * TW_NS_PER_S)

/* One target as the engine's user. `news` belongs to the read callback. */
struct watch {
    const struct tw_target *target;
    struct tw_news news;
};

/* collectd hands nothing to the config, init and shutdown callbacks, so this cannot be elsewhere.
 * Written before the engine's thread starts and after it has ended, but for the queue. */
static struct {
    struct tw_targets targets;
    struct watch *watches;
    struct tw_engine *engine;
    struct tw_queue queue;
    pthread_t thread;
    bool running;
    uint64_t dropped;  /* results known to be lost; of the read callback */
    bool dropping;     /* that was logged, and some have waited ever since */
    uint64_t roomless; /* replies known to have found no room; of the read callback, too */
    bool roomless_said;
    tw_mono roomless_until; /* it is not over before */
} plugin;

/* Configuration: only translated, see targets.h. */

static struct tw_option_value *translate_values(const oconfig_item_t *item)
{
    const size_t count = item->values_num > 0 ? (size_t)item->values_num : 0;
    struct tw_option_value *values = calloc(count + 1, sizeof *values);
    if (values == NULL) {
        plugin.targets.no_memory = true;
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const oconfig_value_t *from = &item->values[i];
        if (from->type == OCONFIG_TYPE_NUMBER)
            values[i] =
                (struct tw_option_value){.kind = TW_VALUE_NUMBER, .number = from->value.number};
        else if (from->type == OCONFIG_TYPE_BOOLEAN)
            values[i] = (struct tw_option_value){.kind = TW_VALUE_BOOLEAN,
                                                 .boolean = from->value.boolean != 0};
        else
            values[i] =
                (struct tw_option_value){.kind = TW_VALUE_STRING, .string = from->value.string};
    }
    return values;
}

typedef void take_fn(struct tw_targets *, const char *, const struct tw_option_value *, size_t);

static void read_option(const oconfig_item_t *item, bool in_target)
{
    if (item->children_num > 0) {
        tw_targets_misplaced(&plugin.targets, item->key, in_target);
        return;
    }
    struct tw_option_value *values = translate_values(item);
    if (values == NULL)
        return;
    take_fn *take = in_target ? tw_targets_option : tw_targets_default;
    take(&plugin.targets, item->key, values, (size_t)item->values_num);
    free(values);
}

static void read_target(const oconfig_item_t *item)
{
    struct tw_option_value *values = translate_values(item);
    if (values == NULL)
        return;
    tw_targets_begin(&plugin.targets, values, (size_t)item->values_num);
    free(values);
    for (int i = 0; i < item->children_num; i++)
        read_option(&item->children[i], true);
}

/* Once per <Plugin twamp> block. Any other result than 0 would end collectd. */
static int twamp_config(oconfig_item_t *block)
{
    for (int i = 0; i < block->children_num; i++) {
        const oconfig_item_t *item = &block->children[i];
        if (strcasecmp(item->key, "Target") == 0)
            read_target(item);
        else
            read_option(item, false);
    }
    return 0;
}

/* Results to collectd */

static void dispatch(const struct watch *watch, const struct tw_measurement *measurement)
{
    value_list_t list = VALUE_LIST_INIT;
    value_t value;
    list.values = &value;
    list.values_len = 1;
    list.time = NS_TO_CDTIME_T((uint64_t)measurement->time.ns);
    list.interval = NS_TO_CDTIME_T((uint64_t)watch->target->settings->interval_ns);
    sstrncpy(list.plugin, "twamp", sizeof list.plugin);
    sstrncpy(list.plugin_instance, watch->target->instance, sizeof list.plugin_instance);

    struct tw_measure_value values[TW_MEASURE_VALUES];
    const size_t count = tw_measure_values(measurement, watch->target->settings->groups, values);
    for (size_t i = 0; i < count; i++) {
        if (values[i].derive)
            value.derive = values[i].total;
        else
            value.gauge = values[i].gauge;
        sstrncpy(list.type, values[i].type, sizeof list.type);
        sstrncpy(list.type_instance, values[i].type_instance, sizeof list.type_instance);
        plugin_dispatch_values(&list);
    }
}

static void notify(const struct watch *watch, int severity, const char *text)
{
    notification_t notification;
    notification_init(&notification, severity, text, hostname_g, "twamp", watch->target->instance,
                      "gauge", "state");
    notification.time = cdtime(); /* init clears it, and without a time the network drops it */
    plugin_dispatch_notification(&notification); /* fails when nobody listens */
}

static void report(struct watch *watch, const struct tw_measurement *measurement)
{
    char text[TW_NEWS_TEXT];
    switch (tw_news_state(&watch->news, watch->target, measurement, text)) {
    case TW_NEWS_NONE:
        break;
    case TW_NEWS_FIRST:
        P_INFO("%s", text);
        break;
    case TW_NEWS_OKAY:
        P_NOTICE("%s", text);
        notify(watch, NOTIF_OKAY, text);
        break;
    case TW_NEWS_FAILURE:
        P_WARNING("%s", text);
        notify(watch, NOTIF_FAILURE, text);
        break;
    }
    if (tw_news_copied_numbers(&watch->news, watch->target, measurement, text))
        P_WARNING("%s", text);
    if (tw_news_quirks(&watch->news, watch->target, measurement, text))
        P_NOTICE("%s", text);
}

/* Said once each time it begins; it is over when nothing waits any more. */
static void report_dropped(void)
{
    const uint64_t dropped = tw_queue_dropped(&plugin.queue);
    if (dropped != plugin.dropped && !plugin.dropping) {
        P_WARNING("%" PRIu64 " results were dropped, the oldest ones: collectd's read threads are "
                  "busy, or whatever takes its values or notifications is too slow",
                  dropped - plugin.dropped);
        plugin.dropping = true;
    }
    if (dropped == plugin.dropped && tw_queue_waiting(&plugin.queue) == 0)
        plugin.dropping = false;
    plugin.dropped = dropped;
}

/* They count as lost, but the path has lost nothing: who sees the loss must be able to know. Said
 * each time it begins; it is over when there was none for some time. */
static void report_roomless(tw_mono now)
{
    const uint64_t roomless = tw_engine_counters(plugin.engine).kernel_drops;
    if (plugin.roomless_said && tw_mono_reached(plugin.roomless_until, now))
        plugin.roomless_said = false;
    if (roomless == plugin.roomless)
        return;
    if (!plugin.roomless_said)
        P_WARNING("%" PRIu64 " replies found no room in this host's receive buffers and count as "
                  "lost: it is too busy, or net.core.rmem_max is too small",
                  roomless - plugin.roomless);
    plugin.roomless = roomless;
    plugin.roomless_said = true;
    plugin.roomless_until = tw_mono_after(now, ROOMLESS_NS);
}

/* Never two at a time: collectd runs one callback on one thread. */
static int twamp_read(user_data_t *unused)
{
    (void)unused;
    const bool backlog = tw_queue_waiting(&plugin.queue) > plugin.queue.room / BACKLOG_PART;
    const int64_t share_ns = backlog ? BACKLOG_SHARE_NS : ROUND_SHARE_NS;
    const tw_mono begun = tw_clock_mono();
    const tw_mono until = tw_mono_after(begun, share_ns);
    struct tw_queue_entry entry;
    while (!tw_mono_reached(until, tw_clock_mono()) && tw_queue_take(&plugin.queue, &entry)) {
        const struct watch *watch = entry.user;
        report(entry.user, &entry.measurement);
        if (tw_news_doubts_directions(&watch->news))
            entry.measurement.summary.direction_known = false;
        dispatch(watch, &entry.measurement);
    }
    report_dropped();
    report_roomless(begun);
    return 0;
}

/* The engine's thread */

static void on_measurement(void *user, void *target_user, const struct tw_measurement *measurement)
{
    tw_queue_put(user, target_user, measurement);
}

static void *run_engine(void *engine)
{
    const int status = tw_engine_run(engine);
    if (status < 0)
        P_ERROR("the engine has stopped, nothing is measured until collectd is started again: %s",
                STRERROR(-status));
    return NULL;
}

/* Start and end */

/* A connection takes one descriptor per target, a test socket another one at worst (most are
 * shared), and all of them live above 1024. Not simply the hard limit: where that is a thousand
 * million, the exec plugin closes as many numbers before every program it starts. */
static void raise_descriptor_limit(size_t targets)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    const rlim_t wanted = 4096 + 2 * (rlim_t)targets;
    const rlim_t before = limit.rlim_cur;
    if (before >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = before;
    /* of a lower limit collectd itself needs a part */
    const rlim_t room = limit.rlim_cur > 1024 ? limit.rlim_cur - 1024 : limit.rlim_cur / 2;
    if (room < 16 + 2 * (rlim_t)targets)
        P_WARNING("only %llu open files are allowed, which may be too few for %zu targets: raise "
                  "the limit (systemd: LimitNOFILE=%llu)",
                  (unsigned long long)limit.rlim_cur, targets, (unsigned long long)wanted);
}

/* Gives the engine what it takes of the targets; says of the others why not. */
static size_t add_targets(struct watch *watches)
{
    size_t added = 0;
    for (size_t i = 0; i < plugin.targets.count; i++) {
        struct watch *watch = &watches[i];
        watch->target = &plugin.targets.targets[i];
        struct tw_engine_target target;
        tw_measure_configure(watch->target, &target);
        target.user = watch;
        const int status = tw_engine_add(plugin.engine, &target);
        if (status < 0)
            P_ERROR("target \"%s\" is not measured: %s", watch->target->instance,
                    STRERROR(-status));
        else
            added++;
    }
    return added;
}

static void release(void)
{
    if (plugin.engine != NULL)
        tw_engine_free(plugin.engine);
    plugin.engine = NULL;
    free(plugin.watches);
    plugin.watches = NULL;
    tw_queue_free(&plugin.queue);
}

/* Allocates everything; false when that fails or nothing is left to do: what there is, release()
 * frees. */
static bool prepare(void)
{
    /* each target leaves one result an interval: nothing is lost while collectd's threads are
     * busy with others for no longer than two */
    const int status = tw_queue_init(&plugin.queue, 256 + 2 * plugin.targets.count);
    plugin.watches = calloc(plugin.targets.count, sizeof *plugin.watches);
    if (status < 0 || plugin.watches == NULL) {
        P_ERROR("nothing is measured: %s", STRERROR(ENOMEM));
        return false;
    }
    const struct tw_engine_config config = {
        .on_measurement = on_measurement, .user = &plugin.queue, .raise_descriptors = true};
    plugin.engine = tw_engine_new(&config);
    if (plugin.engine == NULL) {
        P_ERROR("nothing is measured: %s", STRERRNO);
        return false;
    }
    return add_targets(plugin.watches) > 0;
}

static bool launch(void)
{
    const int status = plugin_thread_create(&plugin.thread, run_engine, plugin.engine, "twamp#0");
    if (status != 0)
        P_ERROR("nothing is measured: cannot start a thread: %s", STRERROR(status));
    return status == 0;
}

/* Signals are collectd's business: threads inherit the mask, the resolver's as well. */
static void start(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    plugin.running = prepare() && launch();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!plugin.running)
        release();
}

/* Always 0: any other result would be collectd's exit status, though it runs on. What cannot be
 * measured is said in the log. */
static int twamp_init(void)
{
    tw_targets_finish(&plugin.targets, (int64_t)CDTIME_T_TO_NS(plugin_get_interval()));
    for (size_t i = 0; i < plugin.targets.message_count; i++)
        P_ERROR("%s", plugin.targets.messages[i]);
    if (plugin.targets.no_memory)
        P_ERROR("not enough memory for the whole configuration");
    char remark[TW_REMARK_TEXT];
    for (unsigned i = 0; i < TW_REMARKS; i++) {
        if (tw_remarks_make(&plugin.targets, (enum tw_remark)i, remark))
            P_WARNING("%s", remark);
    }
    P_INFO("targets configured: %zu, skipped because of errors: %u", plugin.targets.count,
           plugin.targets.skipped);
    if (plugin.targets.count == 0) {
        P_WARNING("nothing is measured: <Plugin twamp> has no usable Host or <Target>");
    } else {
        raise_descriptor_limit(plugin.targets.count);
        start();
    }
    tw_targets_forget_secrets(&plugin.targets); /* the engine has copies of what it needs */
    if (plugin.running)
        plugin_register_complex_read(NULL, "twamp", twamp_read, NS_TO_CDTIME_T(ROUND_NS), NULL);
    return 0;
}

/* False when the thread has not ended in time: then nothing of it may be freed. */
static bool stop(void)
{
    if (!plugin.running)
        return true;
    tw_engine_stop(plugin.engine);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 3;
    const int status = pthread_timedjoin_np(plugin.thread, NULL, &limit);
    if (status != 0)
        P_ERROR("the engine's thread does not end: %s", STRERROR(status));
    plugin.running = false;
    return status == 0;
}

/* The read callback has run for the last time. */
static int twamp_shutdown(void)
{
    if (!stop())
        return 0;
    release();
    tw_targets_free(&plugin.targets);
    return 0;
}

void module_register(void)
{
    tw_targets_init(&plugin.targets);
    plugin_register_complex_config("twamp", twamp_config);
    plugin_register_init("twamp", twamp_init);
    plugin_register_shutdown("twamp", twamp_shutdown);
}
