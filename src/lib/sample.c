/* What follows from the four timestamps of one reply.
 *
 * For the Session-Sender, which calls this once for every reply. Nothing is clamped or dropped
 * here: what is impossible is only marked, so that the packet still counts as received. */
#include "lib/sample.h"

#include <assert.h>

/* Modulo 2^64: a peer may send any timestamps, and they must not overflow anything. */
static int64_t difference(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

void tw_sample_compute(struct tw_sample *sample, int64_t resolution_ns, int64_t step_ns)
{
    assert(resolution_ns >= 0);
    sample->rtt_total_ns = difference(sample->t4.ns, sample->t1.ns);
    sample->forward_ns = difference(sample->t2.ns, sample->t1.ns);
    sample->reverse_ns = difference(sample->t4.ns, sample->t3.ns);
    sample->processing_ns = difference(sample->t3.ns, sample->t2.ns);
    sample->rtt_ns = difference(sample->rtt_total_ns, sample->processing_ns);

    const bool stepped = step_ns > TW_CLOCK_STEP_NS || step_ns < -TW_CLOCK_STEP_NS;
    const bool backward = sample->rtt_total_ns < -resolution_ns;
    const bool reflected_before_received = sample->processing_ns < -resolution_ns;
    const bool reflected_after_arrival = sample->rtt_ns < -resolution_ns;

    sample->flags &= ~(TW_SAMPLE_ANOMALY | TW_SAMPLE_CONTRADICTORY);
    if (stepped || backward)
        sample->flags |= TW_SAMPLE_ANOMALY;
    else if (reflected_before_received || reflected_after_arrival)
        sample->flags |= TW_SAMPLE_CONTRADICTORY;
}
