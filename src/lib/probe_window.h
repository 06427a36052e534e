/* The windows of a probe: an interval's packets, from its begin until its result is final, and
 * which of them a sample is for.
 *
 * For the other parts of the probe. A probe of interval sessions has one window; with a continuous
 * session the window before may be draining while the next one is filled. Who sends, and when a
 * window begins and ends, is decided elsewhere. */
#ifndef TW_LIB_PROBE_WINDOW_H
#define TW_LIB_PROBE_WINDOW_H

#include "lib/probe.h"

/* This interval's; also when it is no longer, or not yet, open. */
struct tw_probe_window *tw_probe_window_now(const struct tw_probe *probe);

/* What went wrong in this interval, if it is told at all: as tw_measurement_fail and
 * tw_measurement_fail_control. */
void tw_probe_window_fail(struct tw_probe *probe, enum tw_measurement_state state, int error);
void tw_probe_window_fail_control(struct tw_probe *probe, enum tw_client_failure failure,
                                  enum tw_client_step step, uint8_t accept);

/* The interval that probe->begun says begins. The window is not open. */
void tw_probe_window_open(struct tw_probe *probe);

/* From now on it has the packets of the newest session; none has left in it. */
void tw_probe_window_attach(struct tw_probe *probe);

/* That session is gone before a packet of it has left in this window: another one may be attached.
 */
void tw_probe_window_detach(struct tw_probe *probe);

/* Its interval is over: its result is final at `due`, and the other window is this interval's. */
void tw_probe_window_cut(struct tw_probe *probe, tw_mono due);

/* Adds what the server has shown to this interval's quirks. */
void tw_probe_window_note_server(struct tw_probe *probe);

/* Which window has that packet; NULL when its result was told too long ago. */
struct tw_probe_window *tw_probe_window_find(const struct tw_probe *probe,
                                             struct tw_probe_packet packet);

/* A sample of a sender of ours, by the probe's count of its sessions. */
void tw_probe_window_add(struct tw_probe *probe, uint32_t session, const struct tw_sample *sample);

/* A datagram from the reflector that was no reply of use to any session of ours: counted where it
 * is likely to be from. */
void tw_probe_window_reject(struct tw_probe *probe, enum tw_sender_verdict verdict);

/* The window that is open and due first, or NULL. */
struct tw_probe_window *tw_probe_window_next(const struct tw_probe *probe);

/* Whether nothing was sent in it because the driver slept: what was not done is then not told of
 * the target, nor is the window's result. */
bool tw_probe_window_is_excused(const struct tw_probe *probe, const struct tw_probe_window *window);

/* The window's result is final since it was due: makes it and closes the window. */
void tw_probe_window_finish(struct tw_probe *probe, struct tw_probe_window *window,
                            const struct tw_reading *now);

#endif
