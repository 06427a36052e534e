/* The status object; see status.h. Its socket is status_socket.c. */
#include "twamp-config.h"

#include "reflector/status.h"

#include <jansson.h>
#include <stdlib.h>

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX));
}

static void set(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, number(value));
}

/* Every reason is there from the start, so that a reader need not know the list. "refused" counts
 * nothing of its own: its connections stand under the reason they were refused for. The close for
 * schedule slots follows the rejection of the same name. */
static json_t *print_refused(const struct twd_service *service)
{
    json_t *refused = json_object();
    for (int i = 0; i < TWD_REFUSAL_COUNT; i++)
        set(refused, twd_refusal_name((enum twd_refusal)i), service->refused[i]);
    for (int i = 0; i < TWD_REJECT_COUNT; i++)
        set(refused, tw_server_reject_reason_name((enum tw_server_reject_reason)i),
            service->rejected[i]);
    for (int i = 0; i < TWD_CLOSE_COUNT; i++)
        if (i != TW_SERVER_CLOSE_REFUSED && i != TW_SERVER_CLOSE_SCHEDULE_SLOTS)
            set(refused, tw_server_close_reason_name((enum tw_server_close_reason)i),
                service->closed[i]);
    set(refused, "stop-count-zero", service->zero_stops);
    set(refused, "made-way", service->made_way);
    return refused;
}

/* What a client can show; the other quirks are those of servers and reflectors. */
#define CLIENT_QUIRKS                                                                              \
    (TW_QUIRK_UNKNOWN_MODES | TW_QUIRK_MBZ | TW_QUIRK_ZERO_STOP | TW_QUIRK_TYPE_P_TOS |            \
     TW_QUIRK_REQUEST_SID | TW_QUIRK_REQUEST_PACKETS)

static json_t *print_quirks(const struct twd_service *service)
{
    json_t *quirks = json_object();
    for (unsigned bit = 0; bit < TW_QUIRK_COUNT; bit++)
        if ((CLIENT_QUIRKS & 1 << bit) != 0)
            set(quirks, tw_quirk_name(bit), service->quirks[bit]);
    return quirks;
}

static json_t *print_control(const struct twd_service *service)
{
    json_t *control = json_object();
    set(control, "connections", service->connections.length);
    set(control, "accepted", service->accepted);
    json_object_set_new(control, "refused", print_refused(service));
    json_object_set_new(control, "quirks", print_quirks(service));
    return control;
}

static json_t *print_sessions(const struct twd_service *service)
{
    const struct twd_sessions_counts counts = twd_sessions_count(service->sessions);
    json_t *sessions = json_object();
    set(sessions, "active", counts.active);
    set(sessions, "started", counts.started);
    set(sessions, "ended", counts.ended);
    return sessions;
}

static json_t *print_dropped(const struct twd_counts *counts)
{
    json_t *dropped = json_object();
    for (int i = 0; i < TW_REFLECTOR_VERDICT_COUNT; i++)
        if (i != TW_REFLECT)
            set(dropped, tw_reflector_verdict_name((enum tw_reflector_verdict)i),
                counts->verdicts[i]);
    for (int i = 0; i < TWD_DROP_COUNT; i++)
        set(dropped, twd_worker_drop_name((enum twd_worker_drop)i), counts->drops[i]);
    return dropped;
}

static json_t *print_test(const struct twd_counts *counts)
{
    json_t *test = json_object();
    set(test, "received", counts->received);
    set(test, "reflected", counts->reflected);
    json_object_set_new(test, "dropped", print_dropped(counts));
    set(test, "bytes", counts->bytes);
    set(test, "kernel_drops", counts->kernel_drops);
    return test;
}

static json_t *print_clock(struct tw_clock *clock)
{
    (void)tw_clock_read(clock); /* looks at the quality again */
    json_t *object = json_object();
    json_object_set_new(object, "synchronized", json_boolean(clock->quality.synchronized));
    json_object_set_new(object, "error_ms", json_real((double)clock->quality.error_ns / 1e6));
    return object;
}

static json_t *print_worker(const struct twd_counts *counts, unsigned receive_buffer)
{
    json_t *worker = json_object();
    set(worker, "sessions", counts->sessions);
    set(worker, "received", counts->received);
    set(worker, "reflected", counts->reflected);
    json_object_set_new(worker, "dropped", print_dropped(counts));
    set(worker, "kernel_drops", counts->kernel_drops);
    set(worker, "receive_buffer", receive_buffer);
    return worker;
}

static void add_counts(struct twd_counts *sum, const struct twd_counts *more)
{
    sum->received += more->received;
    sum->reflected += more->reflected;
    sum->bytes += more->bytes;
    sum->kernel_drops += more->kernel_drops;
    for (int i = 0; i < TW_REFLECTOR_VERDICT_COUNT; i++)
        sum->verdicts[i] += more->verdicts[i];
    for (int i = 0; i < TWD_DROP_COUNT; i++)
        sum->drops[i] += more->drops[i];
}

char *twd_status_print(const struct twd_status *status)
{
    json_t *workers = json_array();
    struct twd_counts sum = {.received = 0};
    for (unsigned i = 0; i < twd_plane_workers(status->plane); i++) {
        const struct twd_counts counts = twd_plane_count(status->plane, i);
        add_counts(&sum, &counts);
        json_array_append_new(workers,
                              print_worker(&counts, twd_plane_receive_buffer(status->plane, i)));
    }
    const int64_t uptime_ns = tw_clock_mono().ns - status->since.ns;

    json_t *object = json_object();
    set(object, "schema", 1);
    json_object_set_new(object, "version", json_string(PACKAGE_VERSION));
    set(object, "uptime_s", (uint64_t)(uptime_ns / TW_NS_PER_S));
    json_object_set_new(object, "control", print_control(status->service));
    json_object_set_new(object, "sessions", print_sessions(status->service));
    json_object_set_new(object, "test", print_test(&sum));
    json_object_set_new(object, "clock", print_clock(status->clock));
    json_object_set_new(object, "workers", workers);
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    char *line = g_strdup_printf("%s\n", text);
    free(text);
    return line;
}
