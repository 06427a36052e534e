/* A probe's windows; the contract is in probe_window.h. */
#include "lib/probe_window.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

/* The last packets before a cut that must be answered, a bit each, for the reflector's count at the
 * cut to be known. More than this overtake a packet only on paths that reorder without bounds. */
enum { AROUND_CUT = 4, BEFORE_CUT = (1 << AROUND_CUT) - 1 };

struct tw_probe_window *tw_probe_window_now(const struct tw_probe *probe)
{
    return &probe->storage.windows[probe->window];
}

void tw_probe_window_fail(struct tw_probe *probe, enum tw_measurement_state state, int error)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    if (window->open)
        tw_measurement_fail(&window->measurement, state, error);
}

void tw_probe_window_fail_control(struct tw_probe *probe, enum tw_client_failure failure,
                                  enum tw_client_step step, uint8_t accept)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    if (window->open)
        tw_measurement_fail_control(&window->measurement, failure, step, accept);
}

void tw_probe_window_open(struct tw_probe *probe)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    assert(!window->open);
    memset(window, 0, sizeof *window);
    window->open = true;
    window->due = TW_NEVER;
    window->measurement.begun = probe->begun;
    if (probe->awake.ns > probe->begun.ns)
        window->slept_ns = probe->awake.ns - probe->begun.ns;
}

static void begin_stats(struct tw_probe *probe, struct tw_probe_window *window,
                        bool base_from_first, uint32_t first_reflector_sequence)
{
    const struct tw_stats_config config = {
        .stateful = probe->config->stateful,
        .first_sequence = window->first_sequence,
        .first_reflector_sequence = first_reflector_sequence,
        .base_from_first = base_from_first,
        .packets = probe->storage.packets[window - probe->storage.windows],
        .capacity = probe->storage.packet_count,
        .clock = &probe->clock,
    };
    tw_stats_init(&window->stats, &config);
}

void tw_probe_window_attach(struct tw_probe *probe)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    assert(window->open && window->numbers == 0);
    window->session = probe->sessions;
    window->first_sequence = probe->senders[probe->current].next_sequence;
    window->follows = window->first_sequence != 0;
    /* Where the reflector's count stands is perhaps known when the first reply comes. */
    begin_stats(probe, window, window->follows, 0);
    if (probe->strayed && !window->follows)
        tw_stats_doubt(&window->stats);
    window->measurement.session = true;
    window->measurement.remote = probe->remotes[probe->current];
    window->measurement.local = probe->local;
    window->measurement.mode = probe->client.mode;
    /* unless something answers */
    tw_measurement_fail(&window->measurement, TW_MEASUREMENT_SILENT, 0);
}

void tw_probe_window_detach(struct tw_probe *probe)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    assert(window->open && window->numbers == 0);
    window->session = 0;
    window->measurement.session = false;
    memset(&window->measurement.remote, 0, sizeof window->measurement.remote);
    memset(&window->measurement.local, 0, sizeof window->measurement.local);
    window->measurement.mode = 0;
}

void tw_probe_window_cut(struct tw_probe *probe, tw_mono due)
{
    tw_probe_window_now(probe)->due = due;
    probe->window ^= 1;
    assert(!tw_probe_window_now(probe)->open);
}

void tw_probe_window_note_server(struct tw_probe *probe)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    if (!window->open)
        return;
    window->measurement.quirks |= probe->client.quirks;
    window->measurement.offered = probe->client.offered;
}

struct tw_probe_window *tw_probe_window_find(const struct tw_probe *probe,
                                             struct tw_probe_packet packet)
{
    for (unsigned i = 0; i < tw_probe_windows(probe->config); i++) {
        struct tw_probe_window *window = &probe->storage.windows[i];
        if (window->session == packet.session &&
            packet.sequence - window->first_sequence < window->numbers)
            return window;
    }
    return NULL;
}

/* The reflector's number of the window's first packet follows on those before when the last packets
 * before it were answered, with the last numbers; else packets, or replies, may be missing in
 * between, or some may have been overtaken by this window's. */
static void find_base(struct tw_probe *probe, struct tw_probe_window *window)
{
    /* (a base that stands is behind packets that were withdrawn) */
    const bool first = window->follows && !window->stats.observation.any && window->stats.base == 0;
    if (first && probe->answered && window->session == probe->sessions &&
        probe->newest == window->first_sequence - 1 &&
        (probe->recent & probe->reflector_recent & BEFORE_CUT) == BEFORE_CUT)
        begin_stats(probe, window, false, probe->reflector_newest + 1);
}

static void note_number(uint32_t number, bool first, uint32_t *newest, uint8_t *recent)
{
    const uint32_t ahead = number - *newest;
    const uint32_t behind = *newest - number;
    if (first || (int32_t)ahead > 0) {
        *recent = (uint8_t)(ahead < CHAR_BIT ? (unsigned)*recent << ahead | 1u : 1u);
        *newest = number;
    } else if (behind < CHAR_BIT) {
        *recent = (uint8_t)(*recent | 1u << behind);
    }
}

static void note_numbers(struct tw_probe *probe, const struct tw_sample *sample)
{
    const bool first = !probe->answered;
    note_number(sample->sequence, first, &probe->newest, &probe->recent);
    note_number(sample->reflector_sequence, first, &probe->reflector_newest,
                &probe->reflector_recent);
    probe->answered = true;
}

static void note_range(struct tw_probe_window *window, uint32_t number)
{
    if (!window->numbered || (int32_t)(number - window->lowest) < 0)
        window->lowest = number;
    if (!window->numbered || (int32_t)(number - window->highest) > 0)
        window->highest = number;
    window->numbered = true;
}

/* Whether the first packets behind a window have numbers as if more had reached the reflector than
 * were sent since the last packet that was answered: one before that was overtaken by it. */
static bool leaves_gap(const struct tw_probe_window *window, const struct tw_sample *sample)
{
    const uint32_t end = window->first_sequence + window->numbers;
    const uint32_t last = window->first_sequence + (uint32_t)window->stats.last;
    const uint32_t numbers = sample->reflector_sequence - window->highest;
    return sample->sequence - end < AROUND_CUT && numbers > sample->sequence - last;
}

/* Packets that overtook one another across a cut have numbers that are among the other window's:
 * each of the two then seems to have lost or gained one. That is known also of a packet whose
 * window (`own`) is told or forgotten already. */
static void note_overtaking(struct tw_probe *probe, uint32_t session,
                            const struct tw_sample *sample, struct tw_probe_window *own)
{
    const uint32_t number = sample->reflector_sequence;
    if (own != NULL)
        note_range(own, number);
    for (unsigned i = 0; i < tw_probe_windows(probe->config); i++) {
        struct tw_probe_window *other = &probe->storage.windows[i];
        if (other == own || !other->numbered || other->session != session)
            continue;
        const bool before = (int32_t)(sample->sequence - other->first_sequence) < 0;
        const bool among = before ? (int32_t)(number - other->lowest) >= 0
                                  : (int32_t)(number - other->highest) <= 0;
        if (!before && !among && leaves_gap(other, sample))
            tw_stats_doubt(&other->stats);
        if (!among)
            continue;
        tw_stats_doubt(&other->stats);
        if (own != NULL)
            tw_stats_doubt(&own->stats);
    }
}

/* On the same addresses and ports a packet of the session before that arrives after its successor
 * has begun is reflected by that, and uses up one of its numbers, which are few as yet. A reply of
 * the session before itself may have such a number only if that was short. */
static void note_stray(struct tw_probe *probe, const struct tw_sample *sample,
                       struct tw_probe_window *own)
{
    const struct tw_sender *sender = &probe->senders[probe->current];
    if (sample->reflector_sequence >= sender->next_sequence + probe->config->count)
        return;
    probe->strayed = true;
    if (own != NULL)
        tw_stats_doubt(&own->stats);
    for (unsigned i = 0; i < tw_probe_windows(probe->config); i++) {
        struct tw_probe_window *window = &probe->storage.windows[i];
        if (window->session == probe->sessions && !window->follows)
            tw_stats_doubt(&window->stats);
    }
}

void tw_probe_window_add(struct tw_probe *probe, uint32_t session, const struct tw_sample *sample)
{
    const struct tw_probe_packet packet = {session, sample->sequence};
    struct tw_probe_window *window = tw_probe_window_find(probe, packet);
    if (window != NULL && window->open) {
        find_base(probe, window);
        tw_stats_add(&window->stats, sample);
    } else if ((sample->flags & TW_SAMPLE_DUPLICATE) == 0) {
        probe->counters.late++; /* its interval has been told already */
    }
    tw_reflector_clock_add(&probe->clock, sample);
    note_overtaking(probe, session, sample, window);
    if (session == probe->sessions)
        note_numbers(probe, sample);
    else
        note_stray(probe, sample, window);
}

/* Behind a cut nothing has left in the new window yet: then it came for the one before. */
static struct tw_probe_window *window_under_way(struct tw_probe *probe)
{
    struct tw_probe_window *window = tw_probe_window_now(probe);
    if (window->numbers == 0 && tw_probe_windows(probe->config) > 1)
        window = &probe->storage.windows[probe->window ^ 1];
    return window->open && window->numbers > 0 ? window : NULL;
}

void tw_probe_window_reject(struct tw_probe *probe, enum tw_sender_verdict verdict)
{
    struct tw_probe_window *window = window_under_way(probe);
    if (window == NULL)
        return;
    struct tw_measurement_rejected *rejected = &window->measurement.rejected;
    if (verdict == TW_SENDER_BAD_LENGTH)
        rejected->too_short++;
    if (verdict == TW_SENDER_FOREIGN)
        rejected->foreign++;
    if (verdict == TW_SENDER_BAD_HMAC)
        rejected->not_authentic++;
}

struct tw_probe_window *tw_probe_window_next(const struct tw_probe *probe)
{
    struct tw_probe_window *next = NULL;
    for (unsigned i = 0; i < tw_probe_windows(probe->config); i++) {
        struct tw_probe_window *window = &probe->storage.windows[i];
        if (window->open && (next == NULL || window->due.ns < next->due.ns))
            next = window;
    }
    return next;
}

bool tw_probe_window_is_excused(const struct tw_probe *probe, const struct tw_probe_window *window)
{
    if (window->sent > 0)
        return false;
    if (window->suspended)
        return true; /* its network may take a while to come back */
    const struct tw_probe_config *config = probe->config;
    const int64_t packets_ns = (int64_t)config->count * config->packet_interval_ns;
    const int64_t set_up_ns = config->continuous
                                  ? config->interval_ns
                                  : config->interval_ns - packets_ns - config->sender.wait_ns;
    return window->slept_ns > set_up_ns / 2 && window->send_error == 0 &&
           !tw_measurement_has_cause(&window->measurement);
}

static void note_reflector(struct tw_measurement *m, const struct tw_stats *stats, uint32_t quirks)
{
    m->quirks |= quirks;
    if (tw_observation_ttl_unset(&stats->observation))
        m->quirks |= TW_QUIRK_TTL_UNSET;
    if (tw_observation_clock_stands(&stats->observation))
        m->quirks |= TW_QUIRK_CONSTANT_TIMES;
    if ((m->quirks & TW_QUIRK_PTP_UTC) != 0)
        m->summary.one_way_valid = false; /* whatever error its clock claims */
}

static void finish_session(struct tw_probe *probe, struct tw_probe_window *window)
{
    struct tw_measurement *m = &window->measurement;
    struct tw_sender *sender =
        &probe->senders[probe->current ^ ((probe->sessions - window->session) & 1)];
    tw_stats_finish(&window->stats, window->sent, probe->storage.scratch, &m->summary);
    note_reflector(m, &window->stats, sender->quirks);
    if (m->summary.received + m->summary.late > 0)
        tw_measurement_fail(m, TW_MEASUREMENT_OK, 0);
    else if (window->sent == 0)
        tw_measurement_fail(m, TW_MEASUREMENT_UNREACHABLE,
                            window->send_error); /* the kernel took none */
    /* Frees the places of all that were due with it, for packets to come. */
    uint32_t sequence;
    while (tw_sender_next_lost(sender, window->due, &sequence))
        ;
}

void tw_probe_window_finish(struct tw_probe *probe, struct tw_probe_window *window,
                            const struct tw_reading *now)
{
    struct tw_measurement *m = &window->measurement;
    assert(window->open && !probe->want_result);
    if (m->session)
        finish_session(probe, window);
    else
        tw_summary_none(&m->summary);
    tw_measurement_count(&probe->counters, &m->summary);
    m->counters = probe->counters;
    m->time.ns = now->wall.ns - (now->mono.ns - window->due.ns);
    window->open = false;
    probe->told = (uint8_t)(window - probe->storage.windows);
    probe->want_result = true;
}
