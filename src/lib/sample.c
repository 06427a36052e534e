/* What follows from the four timestamps of one reply.
 *
 * For the Session-Sender, which calls this once for every reply. Nothing is clamped or dropped
 * here: an impossible delay is only marked, so that the packet still counts as received. */
#include "lib/sample.h"

#include <assert.h>

/* Less than this is a clock being slewed, more is a step. */
static const int64_t STEP_LIMIT_NS = TW_NS_PER_MS;

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

    bool reflected_before_received = sample->processing_ns < 0;
    /* with T3 >= T2 this covers T4 - T1 too, which is never less */
    bool negative_round_trip = sample->rtt_ns < -resolution_ns;
    bool clock_stepped = step_ns > STEP_LIMIT_NS || step_ns < -STEP_LIMIT_NS;

    sample->flags &= ~TW_SAMPLE_ANOMALY;
    if (reflected_before_received || negative_round_trip || clock_stepped)
        sample->flags |= TW_SAMPLE_ANOMALY;
}
