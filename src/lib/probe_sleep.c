/* What a probe makes of a time in which its driver did not run (tw_probe_slept in probe.h): which
 * connections and sessions are not trusted any more, and what cannot be known of the windows that
 * are open. What becomes of an interval that is excused is decided when it ends, in probe.c. */
#include "lib/probe_control.h"
#include "lib/probe_session.h"
#include "lib/probe_window.h"

/* For how long a reflector, or a server that ends even connections under a session, may be taken
 * to have waited for us. */
static int64_t trusted_ns(const struct tw_probe *probe)
{
    const int64_t control_ns = probe->idle_limit_ns / 4 * 3;
    return control_ns < TW_PROBE_SILENCE_NS ? control_ns : TW_PROBE_SILENCE_NS;
}

/* What is left of this interval sends no packets; when none has left yet, another session does. */
static void leave_session(struct tw_probe *probe, tw_mono now)
{
    if (!probe->config->continuous) {
        tw_probe_session_drain(probe, tw_mono_earlier(now, probe->send_by));
        return;
    }
    if (!tw_probe_session_lost(probe))
        return;
    tw_probe_session_stop(probe, now);
    probe->retry_at = now;
}

static void stopped(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_config *config = probe->config;
    struct tw_probe_window *window = tw_probe_window_now(probe);
    const int64_t late_ns = now.ns - tw_probe_deadline(probe).ns;
    if (late_ns < TW_PROBE_ASLEEP_NS)
        return;
    probe->awake = now;
    if (!window->open)
        return;
    const tw_mono last_chance = config->continuous ? probe->send_by : probe->set_up_by;
    const int64_t left_ns = config->interval_ns - window->slept_ns;
    const bool all = late_ns > left_ns || tw_mono_reached(last_chance, now);
    window->slept_ns += all ? left_ns : late_ns;
    if (probe->phase == TW_PROBE_SET_UP && probe->link != TW_PROBE_DOWN) {
        probe->reused = true; /* the server may have tired of waiting for us */
        if (late_ns >= trusted_ns(probe)) {
            tw_probe_control_hang_up(probe); /* it may have started, and ended, a session since */
            probe->retry_at = now;
        }
    }
    /* Nor may a session last for ever in which nothing is sent. */
    if (probe->phase == TW_PROBE_TEST && now.ns - probe->next_send.ns >= trusted_ns(probe))
        leave_session(probe, now);
}

/* Whatever was sent before the suspend is not waited for. A sender of which nothing has left keeps
 * its place, see tw_probe_session_begin. */
static void forget_senders(struct tw_probe *probe)
{
    for (unsigned i = 0; i < 2; i++)
        if (probe->senders[i].next_sequence != 0)
            probe->sender_live[i] = false;
}

/* A reply that came while the host did not run is not the path's loss. */
static void leave_out_unanswered(struct tw_probe *probe)
{
    for (unsigned i = 0; i < tw_probe_windows(probe->config); i++) {
        struct tw_probe_window *window = &probe->storage.windows[i];
        if (!window->open)
            continue;
        window->suspended = true;
        if (window->sent > window->stats.received + window->stats.late)
            window->open = false;
    }
}

/* This interval goes on with what can still be done for it. */
static void resume(struct tw_probe *probe, tw_mono now)
{
    const struct tw_probe_window *window = tw_probe_window_now(probe);
    const bool sends = probe->phase == TW_PROBE_TEST;
    if (!window->open) {
        if (sends || probe->phase == TW_PROBE_DRAIN)
            probe->phase = TW_PROBE_WAIT;
        return;
    }
    if (sends && window->numbers > 0) {
        tw_probe_session_drain(probe, tw_mono_earlier(now, probe->send_by));
        return;
    }
    if (sends) {
        tw_probe_window_detach(probe);
        probe->phase = TW_PROBE_SET_UP;
    }
    if (probe->phase == TW_PROBE_SET_UP)
        probe->retry_at = now;
}

static void suspended(struct tw_probe *probe, tw_mono now)
{
    probe->failures = 0;
    tw_probe_control_hang_up(probe);
    leave_out_unanswered(probe);
    forget_senders(probe);
    resume(probe, now);
}

void tw_probe_slept(struct tw_probe *probe, enum tw_probe_sleep sleep, tw_mono now)
{
    switch (sleep) {
    case TW_PROBE_STOPPED:
        stopped(probe, now);
        break;
    case TW_PROBE_SUSPENDED:
        suspended(probe, now);
        break;
    }
}
