/* lib/stats.h against the definitions: random sessions on a simulated path, every figure compared
 * with one computed here the slow way, straight from the text of the RFCs, over all pairs of
 * replies. */
#include "stats_path.h"

enum { SESSIONS = 600 };

/* The definitions. `first`, `in_time` and `measured` say what each reply counts for. */

static bool first[MOST_REPLIES], in_time[MOST_REPLIES], measured[MOST_REPLIES];

/* Our wall clock less our monotonic clock at the T1 of the first one with a delay. */
static int64_t first_offset_ns;

/* T2 and T3 contradict one another wherever there is a delay. */
static bool contradictory;

static void classify(void)
{
    const unsigned wrong = TW_SAMPLE_ANOMALY | TW_SAMPLE_CONTRADICTORY;
    contradictory = true;
    for (size_t i = 0; i < reply_count; i++) {
        first[i] = true;
        for (size_t j = 0; j < i; j++)
            first[i] = first[i] && replies[j].sequence != replies[i].sequence;
        in_time[i] = first[i] && (replies[i].flags & TW_SAMPLE_LATE) == 0;
        if (in_time[i] && (replies[i].flags & wrong) == 0)
            contradictory = false;
    }
    bool any = false;
    for (size_t i = 0; i < reply_count; i++) {
        const unsigned out = contradictory ? TW_SAMPLE_ANOMALY : wrong;
        measured[i] = in_time[i] && (replies[i].flags & out) == 0;
        if (measured[i] && !any)
            first_offset_ns = replies[i].clock_offset_ns;
        any = any || measured[i];
    }
}

static int64_t delay_of(size_t i, unsigned kind)
{
    const int64_t delays[] = {
        contradictory ? replies[i].rtt_total_ns : replies[i].rtt_ns,
        replies[i].forward_ns + (replies[i].clock_offset_ns - first_offset_ns),
        replies[i].reverse_ns - (replies[i].clock_offset_ns - first_offset_ns) +
            (contradictory ? replies[i].processing_ns : 0),
        replies[i].rtt_total_ns,
        replies[i].processing_ns,
    };
    return delays[kind];
}

/* The least value that at least percent % of all are not above. */
static double percentile(unsigned kind, unsigned percent)
{
    double least = (double)NAN;
    size_t n = 0;
    for (size_t i = 0; i < reply_count; i++)
        n += measured[i];
    for (size_t i = 0; i < reply_count; i++) {
        size_t not_above = 0;
        for (size_t j = 0; j < reply_count; j++)
            not_above += measured[j] && delay_of(j, kind) <= delay_of(i, kind);
        bool enough = measured[i] && 100 * not_above >= percent * n;
        if (enough && !(least <= (double)delay_of(i, kind)))
            least = (double)delay_of(i, kind);
    }
    return least;
}

static void check_delay(const struct tw_delay *delay, unsigned kind)
{
    uint32_t n = 0;
    long double sum = 0;
    double min = (double)NAN;
    double max = (double)NAN;
    for (size_t i = 0; i < reply_count; i++) {
        if (!measured[i])
            continue;
        double value = (double)delay_of(i, kind);
        n++;
        sum += (long double)value;
        min = fmin(min, value);
        max = fmax(max, value);
    }
    long double squares = 0;
    for (size_t i = 0; i < reply_count && n > 0; i++) {
        long double apart = (long double)delay_of(i, kind) - sum / n;
        squares += measured[i] ? apart * apart : 0;
    }
    assert_int_equal(delay->n, n);
    check_close(delay->min, min);
    check_close(delay->max, max);
    check_close(delay->mean, n > 0 ? (double)(sum / n) : (double)NAN);
    check_close(delay->stddev, n > 1 ? (double)sqrtl(squares / (n - 1)) : (double)NAN);
    check_close(delay->p50, percentile(kind, 50));
    check_close(delay->p95, percentile(kind, 95));
    check_close(delay->p99, percentile(kind, 99));
}

/* IPDV (RFC 3393, 5481): delay less that of the packet sent just before. */
static void check_variation(const struct tw_variation *variation, const struct tw_delay *delay,
                            unsigned kind)
{
    uint32_t pairs = 0;
    double sum = 0;
    for (size_t i = 0; i < reply_count; i++) {
        for (size_t j = 0; j < reply_count; j++) {
            if (!measured[i] || !measured[j] || replies[j].sequence != replies[i].sequence - 1)
                continue;
            pairs++;
            sum += fabs((double)(delay_of(i, kind) - delay_of(j, kind)));
        }
    }
    assert_int_equal(variation->pairs, pairs);
    check_close(variation->jitter, pairs > 0 ? sum / pairs : (double)NAN);
    check_close(variation->pdv_p95, percentile(kind, 95) - delay->min);
}

static bool reflector_counts(void)
{
    for (size_t i = 0; i < reply_count; i++)
        if (replies[i].sequence != replies[i].reflector_sequence)
            return true;
    return false;
}

static bool same_packet(size_t i, size_t j)
{
    return replies[i].sequence == replies[j].sequence;
}

static bool same_number(size_t i, size_t j)
{
    return replies[i].reflector_sequence == replies[j].reflector_sequence;
}

static void check_loss(const struct path *path, const struct tw_summary *summary)
{
    int64_t received = 0;
    int64_t late = 0;
    int64_t distinct_s = 0;
    int64_t q = 0;
    int64_t f = 0;
    int64_t s_max = -1;
    int64_t r_max = -1;
    for (size_t i = 0; i < reply_count; i++) {
        bool new_number = true;
        bool new_pair = true;
        for (size_t j = 0; j < i; j++) {
            new_number = new_number && !same_number(i, j);
            new_pair = new_pair && !(same_packet(i, j) && same_number(i, j));
        }
        received += in_time[i];
        late += first[i] && !in_time[i];
        distinct_s += first[i];
        q += new_number;
        f += new_pair && !first[i];
        int64_t s = (uint32_t)(replies[i].sequence - path->first_sequence);
        int64_t r = (uint32_t)(replies[i].reflector_sequence - path->first_reflector_sequence);
        s_max = s > s_max ? s : s_max;
        r_max = r > r_max ? r : r_max;
    }
    int64_t lost = path->sent - received;
    assert_int_equal(summary->sent, path->sent);
    assert_int_equal(summary->received, received);
    assert_int_equal(summary->lost, lost);
    assert_int_equal(summary->late, late);

    bool known = reply_count > 0 && (path->stateful || reflector_counts());
    assert_int_equal(summary->direction_known, known);
    int64_t reflected_count = r_max + 1;
    int64_t reverse = reflected_count - q;
    int64_t forward = s_max + 1 + f - reflected_count;
    int64_t tail = path->sent - (s_max + 1);
    int64_t missing = s_max + 1 - distinct_s;
    if (known)
        assert_int_equal(forward + reverse, missing);
    assert_int_equal(lost, missing + tail + late);
    assert_int_equal(summary->direction_clamped, known && forward < 0);
    if (forward < 0) {
        forward = 0;
        reverse = missing;
    }
    assert_int_equal(summary->lost_forward, known ? forward : 0);
    assert_int_equal(summary->lost_reverse, known ? reverse : 0);
    assert_int_equal(summary->lost_undecided, known ? tail + late : 0);
}

/* A copy is one of the reverse path if an earlier reply to the same packet is the same. */
static void check_duplicates(const struct path *path, const struct tw_summary *summary)
{
    bool counts = path->stateful || reflector_counts();
    uint32_t all = 0;
    uint32_t reverse = 0;
    uint32_t replicated = 0;
    for (size_t i = 0; i < reply_count; i++) {
        uint32_t in_time_copies = 0;
        for (size_t j = 0; j < reply_count; j++)
            in_time_copies += same_packet(i, j) && (replies[j].flags & TW_SAMPLE_LATE) == 0;
        replicated += in_time[i] && in_time_copies > 1;
        if (first[i] || (replies[i].flags & TW_SAMPLE_LATE) != 0)
            continue;
        bool repeated = false;
        for (size_t j = 0; j < i; j++) {
            bool same_stamps =
                replies[i].t2.ns == replies[j].t2.ns && replies[i].t3.ns == replies[j].t3.ns;
            repeated =
                repeated || (same_packet(i, j) && (counts ? same_number(i, j) : same_stamps));
        }
        all++;
        reverse += repeated;
    }
    assert_int_equal(summary->duplicates, all);
    assert_int_equal(summary->duplicates_reverse, reverse);
    assert_int_equal(summary->duplicates_forward, all - reverse);
    assert_int_equal(summary->replicated, replicated);
}

/* RFC 4737: reordered if a packet with a higher number came earlier. */
static void check_order(const struct path *path, const struct tw_summary *summary)
{
    bool counts = path->stateful || reflector_counts();
    uint32_t round_trip = 0;
    uint32_t forward = 0;
    uint32_t reverse = 0;
    bool any = false;
    for (size_t i = 0; i < reply_count; i++) {
        bool reordered[3] = {false};
        any = any || in_time[i];
        for (size_t j = 0; j < reply_count; j++) {
            if (!in_time[i] || !in_time[j])
                continue;
            bool s_higher = (int32_t)(replies[j].sequence - replies[i].sequence) > 0;
            bool r_higher =
                (int32_t)(replies[j].reflector_sequence - replies[i].reflector_sequence) > 0;
            bool reflected_earlier =
                counts ? !r_higher && !same_number(i, j) : replies[j].t2.ns < replies[i].t2.ns;
            reordered[0] = reordered[0] || (s_higher && j < i);
            reordered[1] = reordered[1] || (s_higher && reflected_earlier);
            reordered[2] = reordered[2] || (r_higher && j < i);
        }
        round_trip += reordered[0];
        forward += reordered[1];
        reverse += reordered[2];
    }
    assert_int_equal(summary->reordered, round_trip);
    assert_int_equal(summary->reordered_direction_known, any && counts);
    assert_int_equal(summary->reordered_reverse, counts ? reverse : 0);
    if (counts || summary->reordered_forward_known)
        assert_int_equal(summary->reordered_forward, forward);
}

static void check_rest(const struct tw_summary *summary)
{
    uint32_t anomalies = 0;
    uint32_t missed = 0;
    bool stepped = false;
    size_t least = MOST_REPLIES;
    for (size_t i = 0; i < reply_count; i++) {
        const bool impossible = (replies[i].flags & TW_SAMPLE_CONTRADICTORY) != 0;
        missed += in_time[i] && (replies[i].flags & TW_SAMPLE_ANOMALY) != 0;
        anomalies += in_time[i] && (impossible || !measured[i]);
        if (!measured[i])
            continue;
        stepped = stepped || replies[i].clock_offset_ns != first_offset_ns;
        if (!impossible && (least == MOST_REPLIES || replies[i].rtt_ns < replies[least].rtt_ns))
            least = i;
    }
    assert_int_equal(summary->clock_anomalies, anomalies);
    assert_int_equal(summary->clock_stepped, stepped || missed > 0);
    assert_int_equal(summary->reflector_counts, reflector_counts());
    check_close(summary->offset_estimate,
                least == MOST_REPLIES
                    ? (double)NAN
                    : (double)(2 * delay_of(least, 1) - replies[least].rtt_ns) / 2);
}

static void random_sessions_have_the_figures_of_the_definitions(void **state)
{
    (void)state;
    uint32_t split = 0;
    uint32_t clamped = 0;
    uint32_t impossible = 0;
    uint32_t partly = 0;
    uint32_t stepped = 0;
    for (int session = 0; session < SESSIONS; session++) {
        struct path path = random_path();
        run_path(&path);
        classify();
        struct tw_summary summary = summarise(&path, 256);
        check_loss(&path, &summary);
        check_duplicates(&path, &summary);
        check_order(&path, &summary);
        check_delay(&summary.rtt, 0);
        check_delay(&summary.forward, 1);
        check_delay(&summary.reverse, 2);
        check_delay(&summary.rtt_total, 3);
        if (contradictory)
            assert_true(summary.processing.n == 0 && isnan(summary.processing.mean));
        else
            check_delay(&summary.processing, 4);
        check_variation(&summary.rtt_variation, &summary.rtt, 0);
        check_variation(&summary.forward_variation, &summary.forward, 1);
        check_variation(&summary.reverse_variation, &summary.reverse, 2);
        check_rest(&summary);
        impossible += contradictory && summary.rtt.n > 0;
        partly += !contradictory && summary.clock_anomalies > 0;
        stepped += summary.clock_stepped && summary.rtt.n > 0;
        split += summary.lost_forward > 0 && summary.lost_reverse > 0;
        clamped += summary.direction_clamped;
    }
    /* the paths are such that all this happens */
    assert_true(split > SESSIONS / 20 && clamped > 0);
    assert_true(impossible > 0 && partly > SESSIONS / 20 && stepped > SESSIONS / 20);
}

/* What became of each packet is known here: without duplicates and reordering the split is
 * right, not only what the formula says. */
static void split_is_the_truth_on_an_orderly_path(void **state)
{
    (void)state;
    for (int session = 0; session < 100; session++) {
        struct path path = random_path();
        path.counts = path.stateful = true;
        path.duplication_forward = path.duplication_reverse = path.late = 0;
        path.spread_ns = 300 * US;
        run_path(&path);
        struct tw_summary summary = summarise(&path, 256);
        if (reply_count == 0)
            continue;
        uint32_t last = replies[reply_count - 1].sequence - path.first_sequence;
        uint32_t arrived = 0;
        while (visits[arrived].position != last)
            arrived++;
        assert_int_equal(summary.lost_forward, last - arrived);
        assert_int_equal(summary.lost_reverse, arrived + 1 - reply_count);
        assert_int_equal(summary.lost_undecided, path.sent - 1 - last);
    }
}

int main(void)
{
    seed_randomly();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sessions_have_the_figures_of_the_definitions),
        cmocka_unit_test(split_is_the_truth_on_an_orderly_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
