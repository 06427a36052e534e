/* One target's control connection: moves octets between a non-blocking TCP socket in an epoll set
 * and the probe that makes sense of them. For the engine, on its thread. */
#ifndef TW_SYS_CONTROL_H
#define TW_SYS_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/probe.h"
#include "lib/sys/socket.h"

struct tw_control {
    int fd; /* -1: no connection */
    bool connecting;
    int epoll;
    uint64_t tag;      /* epoll data */
    uint32_t interest; /* epoll events asked for */
};

void tw_control_init(struct tw_control *control, int epoll, uint64_t tag);

/* Begins to connect; the next event tells that the result is there. 0 or -errno. */
int tw_control_open(struct tw_control *control, const struct tw_address *remote,
                    const struct tw_tcp_options *options);

/* The result: 0 connected, and the caller tells the probe; or -errno, and the connection is
 * closed. */
int tw_control_finish(struct tw_control *control);
void tw_control_close(struct tw_control *control);

/* Epoll events of a connection that is up. When it breaks, it is closed and the probe is told. */
void tw_control_event(struct tw_control *control, struct tw_probe *probe, uint32_t events,
                      tw_mono now);

/* Writes what the probe has queued, as far as that does not block. When the connection breaks, it
 * is closed and the probe is told. */
void tw_control_flush(struct tw_control *control, struct tw_probe *probe, tw_mono now);

/* The probe's DISCONNECT: its last words, as far as they do not block, then closes. */
void tw_control_part(struct tw_control *control, struct tw_probe *probe, tw_mono now);

/* Waits for what the probe now has use for. To be called when nothing else happens to it. */
void tw_control_wait(struct tw_control *control, struct tw_probe *probe);

#endif
