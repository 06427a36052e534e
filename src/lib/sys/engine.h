/* Runs many probes on one thread: names, keys, control connections, test packets, deadlines.
 *
 * The driver of lib/probe.h in the real world, shared by the collectd plugin and the command-line
 * client. One epoll descriptor, one timer, one heap of deadlines; the control connections are
 * non-blocking; test packets of many targets share UDP sockets, so that thousands of targets fit in
 * few descriptors: two targets with the same reflector address never share one, and a target keeps
 * its port for life so that equal-cost paths do not flip.
 *
 * Threads: new, add and free on the owner's thread while nothing runs; run on the engine's thread;
 * stop from anywhere. The callbacks are called on the engine's thread and must not block. */
#ifndef TW_SYS_ENGINE_H
#define TW_SYS_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/probe.h"

struct tw_engine;

struct tw_engine_config {
    void (*on_measurement)(void *user, void *target_user, const struct tw_measurement *measurement);
    /* Every reply as it is taken, copies and late ones too; NULL: nobody looks at single packets.
     */
    void (*on_sample)(void *user, void *target_user, const struct tw_sample *sample);
    void *user;
    bool raise_descriptors; /* a guest in a foreign process: see tw_descriptor_raise */
};

struct tw_engine_target {
    const char *host;             /* name or literal; copied */
    int family;                   /* 4, 6, 0 = any */
    struct tw_address source;     /* family 0: any; the port, if not 0, is the test packets' */
    const char *source_zone;      /* interface of a link-local source, by name: the number is asked
                                     for at each connection; NULL: source.scope; copied */
    const char *device;           /* NULL: any; copied */
    const uint8_t *passphrase;    /* of probe.client.keyid; NULL: none. Copied, and wiped by free */
    size_t passphrase_size;       /* octets */
    struct tw_probe_config probe; /* phase_ns is set by the engine: a hash of the host, spread over
                                     the interval; tai_utc_s too: what the kernel knows */
    void *user;                   /* given back with every measurement */
};

/* NULL with errno set on failure. */
struct tw_engine *tw_engine_new(const struct tw_engine_config *config);
void tw_engine_free(struct tw_engine *engine);

/* 0, or -errno: -EINVAL when the session does not fit its interval or its mode wants a secret and
 * there is none, -ENOMEM. */
int tw_engine_add(struct tw_engine *engine, const struct tw_engine_target *target);

/* Returns after tw_engine_stop: 0, or -errno when epoll or the timer fails. Sessions under way are
 * stopped with a Stop-Sessions as far as that does not block. */
int tw_engine_run(struct tw_engine *engine);
void tw_engine_stop(struct tw_engine *engine);

/* For the log and for tests: what the test sockets counted, since the start. */
struct tw_engine_counters {
    uint64_t kernel_drops;  /* datagrams the kernel dropped for want of buffer */
    uint64_t unknown;       /* datagrams from nobody that is measured */
    uint64_t send_failures; /* packets the kernel did not take; not counted as sent */
    uint64_t wrong_stamps;  /* transmit timestamps that fit no packet still remembered; not used */
};
struct tw_engine_counters tw_engine_counters(const struct tw_engine *engine);

#endif
