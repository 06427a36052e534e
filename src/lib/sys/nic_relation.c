/* The arithmetic of two clocks; see nic_relation.h. */
#include "lib/sys/nic_relation.h"

/* The line goes through two readings that lie so far apart: nearer, their own errors tilt it;
 * further, it is no longer straight. */
static const int64_t SPAN_LEAST_NS = 500 * TW_NS_PER_MS;
static const int64_t SPAN_MOST_NS = 4 * TW_NS_PER_S;

/* Oscillators and what steers them differ by less; more is a step. */
static const int64_t RATE_MOST_PPM = 500;

enum { AGREED_LEAST = 3 };

/* The line begins anew. */
static void restart(struct tw_nic_relation *relation, const struct tw_nic_reading *reading)
{
    *relation = (struct tw_nic_relation){
        .before = *reading, .middle = *reading, .newest = *reading, .agreed = 1};
}

static int64_t span_ns(const struct tw_nic_relation *relation)
{
    return relation->newest.nic_ns - relation->before.nic_ns;
}

static int64_t magnitude(int64_t ns)
{
    return ns < 0 ? -ns : ns;
}

/* By how much the monotonic clock gained on the other between two readings. */
static int64_t gain_ns(const struct tw_nic_reading *from, const struct tw_nic_reading *to)
{
    return (to->mono_ns - from->mono_ns) - (to->nic_ns - from->nic_ns);
}

static bool is_plausible(const struct tw_nic_reading *from, const struct tw_nic_reading *to)
{
    const int64_t passed_ns = to->nic_ns - from->nic_ns;
    if (passed_ns <= 0)
        return false;
    const int64_t most_ns = passed_ns / 1000000 * RATE_MOST_PPM + TW_NIC_ERROR_NS;
    return magnitude(gain_ns(from, to)) <= most_ns;
}

/* The line at an instant that is `age_ns` from the newest reading, and how far it may be off. */
static int64_t mono_at(const struct tw_nic_relation *relation, int64_t age_ns)
{
    const double rate =
        (double)gain_ns(&relation->before, &relation->newest) / (double)span_ns(relation);
    return relation->newest.mono_ns + age_ns + (int64_t)(rate * (double)age_ns);
}

static int64_t error_at(const struct tw_nic_relation *relation, int64_t age_ns)
{
    const double tilt = (double)(relation->before.width_ns + relation->newest.width_ns) / 2.0 /
                        (double)span_ns(relation);
    return relation->newest.width_ns / 2 + (int64_t)(tilt * (double)magnitude(age_ns));
}

static bool is_line(const struct tw_nic_relation *relation)
{
    return span_ns(relation) >= SPAN_LEAST_NS;
}

void tw_nic_relation_add(struct tw_nic_relation *relation, const struct tw_nic_reading *reading)
{
    if (reading->width_ns < 0 || reading->width_ns > TW_NIC_ERROR_NS)
        return; /* interrupted: says nothing */
    const int64_t age_ns = reading->nic_ns - relation->newest.nic_ns;
    if (relation->agreed == 0 || age_ns > SPAN_MOST_NS ||
        !is_plausible(&relation->newest, reading)) {
        restart(relation, reading);
        return;
    }
    if (is_line(relation)) {
        const int64_t off_ns = magnitude(reading->mono_ns - mono_at(relation, age_ns));
        if (off_ns > error_at(relation, age_ns) + reading->width_ns / 2 + TW_NIC_ERROR_NS / 2) {
            restart(relation, reading);
            return;
        }
    }
    if (reading->nic_ns - relation->middle.nic_ns > SPAN_MOST_NS / 2) {
        relation->before = relation->middle;
        relation->middle = relation->newest;
    }
    relation->newest = *reading;
    relation->agreed++;
}

bool tw_nic_relation_mono(const struct tw_nic_relation *relation, int64_t nic_ns, tw_mono *mono)
{
    if (relation->agreed < AGREED_LEAST || !is_line(relation))
        return false;
    const int64_t newest_ns = relation->newest.nic_ns;
    if (nic_ns < newest_ns - TW_NIC_FRESH_NS || nic_ns > newest_ns + TW_NIC_FRESH_NS)
        return false;
    const int64_t age_ns = nic_ns - newest_ns;
    mono->ns = mono_at(relation, age_ns);
    return error_at(relation, age_ns) <= TW_NIC_ERROR_NS;
}
