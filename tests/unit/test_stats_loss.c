/* lib/stats.h, loss and its direction, duplicates and order: the vectors of the RFCs, losses made
 * by hand, and numbers that contradict each other. */
#include "stats_rig.h"

static void lost_packets_are_split_by_the_reflectors_numbers(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{0, 0}, {1, 1}, {3, 2}, {4, 3}, {6, 5}, {9, 8}};
    begin_stateful();
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(10);
    check_loss(4, 1, 3, 0);
    assert_false(summary.direction_clamped);
}

static void loss_after_the_last_reply_is_undecided(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{0, 0}, {1, 1}, {2, 2}};
    begin_stateful();
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(10);
    check_loss(7, 0, 0, 7);
}

static void forward_duplicate_is_not_taken_for_reverse_loss(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{0, 0}, {0, 1}, {1, 2}, {3, 3}};
    begin_stateful();
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(4);
    check_loss(1, 1, 0, 0);
    assert_int_equal(summary.duplicates, 1);
    assert_int_equal(summary.duplicates_forward, 1);
}

static void late_packet_is_lost_and_undecided(void **state)
{
    (void)state;
    begin_stateful();
    feed_flagged(0, 0, 0);
    feed_flagged(2, 2, 0);
    feed_flagged(1, 1, TW_SAMPLE_LATE);
    finish(3);
    assert_int_equal(summary.late, 1);
    assert_int_equal(summary.received, 2);
    check_loss(1, 0, 0, 1);
    assert_int_equal(summary.reordered, 0);
    assert_int_equal(summary.rtt.n, 2);
    assert_int_equal(summary.rtt_variation.pairs, 0);
}

static void session_of_late_replies_only_has_no_delays(void **state)
{
    (void)state;
    begin_stateful();
    feed_flagged(1, 1, TW_SAMPLE_LATE);
    feed_flagged(1, 1, TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE);
    finish(3);
    check_no_delays(&summary);
    assert_int_equal(summary.late, 1);
    assert_int_equal(summary.duplicates, 0);
    assert_int_equal(summary.received, 0);
    /* of 0 the reply was lost: the reflector had counted one before 1 */
    check_loss(3, 0, 1, 2);
    assert_true(summary.any_sample);
}

/* Delays 100, 110, lost, 90, 500 and 100, 110, lost, 90. Of all sent, with what is lost as infinite
 * (RFC 2681), the 50th percentile of the first were 110 and the median of the second 105. What is
 * given is the nearest rank among those received. */
static void percentiles_leave_lost_packets_out(void **state)
{
    (void)state;
    static const int64_t delays[] = {100, 110, 0, 90, 500};
    static const struct {
        uint32_t sent;
        double p50, p95;
    } cases[] = {{5, 100, 500}, {4, 100, 110}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin_stateful();
        for (uint32_t s = 0; s < cases[i].sent; s++)
            if (delays[s] > 0)
                feed(reply(s, s, delays[s] - 40, 40));
        finish(cases[i].sent);
        check_loss(1, 0, 1, 0);
        assert_int_equal(summary.rtt.n, cases[i].sent - 1);
        assert_true(summary.rtt.p50 == cases[i].p50);
        assert_true(summary.rtt.p95 == cases[i].p95 && summary.rtt.p99 == cases[i].p95);
    }
}

static void direction_is_unknown_while_nothing_shows_that_the_reflector_counts(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{0, 0}, {1, 1}, {3, 3}};
    begin((struct tw_stats_config){.stateful = false});
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(4);
    assert_false(summary.direction_known || summary.reflector_counts);
    assert_int_equal(summary.lost, 1);
    assert_int_equal(summary.lost_forward + summary.lost_reverse + summary.lost_undecided, 0);

    static const uint32_t telling[][2] = {{0, 0}, {1, 1}, {3, 2}};
    begin((struct tw_stats_config){.stateful = false});
    feed_pairs(telling, ARRAY_SIZE(telling));
    finish(4);
    assert_true(summary.reflector_counts);
    check_loss(1, 1, 0, 0);
}

/* The reply to a forward duplicate was itself lost: one reflected more than packets were seen. */
static void contradiction_is_clamped_and_flagged(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{0, 0}, {1, 2}};
    begin_stateful();
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(2);
    check_loss(0, 0, 0, 0);
    assert_true(summary.direction_clamped);
}

/* {packet, number}; the last of `sent` packets was answered. */
struct doubt {
    const char *why;
    uint32_t pairs[4][2];
    uint32_t sent;
    bool doubtful;
};

static void numbers_that_no_counting_reflector_gives_are_doubted(void **state)
{
    (void)state;
    static const struct doubt table[] = {
        {"as it should be", {{0, 0}, {1, 1}, {3, 2}, {4, 3}}, 5, false},
        {"reply lost", {{0, 0}, {1, 1}, {3, 3}, {4, 4}}, 5, false},
        {"overtaken", {{0, 2}, {1, 0}, {2, 1}, {4, 3}}, 5, false},
        {"forward duplicate", {{0, 0}, {0, 1}, {1, 2}, {3, 3}}, 4, false},
        {"counts from 1", {{0, 1}, {1, 2}, {3, 3}, {4, 4}}, 5, true},
        {"counts on from the session before", {{0, 10}, {1, 11}, {3, 12}, {4, 13}}, 5, true},
        {"counts from 2^31", {{0, 1u << 31}, {1, (1u << 31) + 1}, {2, (1u << 31) + 2}}, 3, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        begin_stateful();
        for (size_t j = 0; j < ARRAY_SIZE(table[i].pairs); j++)
            if (j == 0 || table[i].pairs[j][0] + table[i].pairs[j][1] != 0)
                feed_pairs(&table[i].pairs[j], 1);
        finish(table[i].sent);
        if (summary.direction_doubtful != table[i].doubtful)
            fail_msg("%s", table[i].why);
    }
}

static void withdrawn_packets_are_no_part_of_the_split(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{2, 0}, {4, 1}, {5, 3}};
    begin_stateful();
    tw_stats_skip(&stats);
    tw_stats_skip(&stats);
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(5);
    check_loss(2, 0, 1, 1);
    assert_false(summary.direction_clamped);
    assert_false(summary.direction_doubtful);
}

static void nonsense_numbers_never_break_the_sum(void **state)
{
    (void)state;
    static const uint32_t wild[] = {0, UINT32_MAX, 0x80000000u, 0x7fffffffu, 5, 0xfffffff0u, 1};
    uint32_t random = 7;
    for (int round = 0; round < 200; round++) {
        begin((struct tw_stats_config){.stateful = round % 2 == 0,
                                       .base_from_first = round % 3 == 0});
        for (uint32_t i = 0; i < 60; i++) {
            random = random * 1664525u + 1013904223u;
            uint32_t r = (random >> 28) < 8 ? wild[random >> 29] : random >> 20;
            feed_flagged((random >> 8) % 50, (random >> 28) == 7 ? i : r,
                         (random & 0x1000u) != 0 ? TW_SAMPLE_LATE : 0);
        }
        finish(50);
        assert_int_equal(summary.sent, summary.received + summary.lost);
        assert_true(summary.late <= summary.lost);
        assert_int_equal(summary.duplicates,
                         summary.duplicates_forward + summary.duplicates_reverse);
        assert_int_equal((uint64_t)summary.lost_forward + summary.lost_reverse +
                             summary.lost_undecided,
                         summary.direction_known ? summary.lost : 0);
    }
}

static void more_answers_than_packets_never_make_loss_negative(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{0, 0}, {1, 1}, {5, 2}};
    begin_stateful();
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(2);
    check_loss(0, 0, 0, 0);
}

static void first_reply_is_the_base_when_the_counter_is_unknown(void **state)
{
    (void)state;
    /* 0 and 1 unanswered; 3 lost forward, the reply to 5 lost */
    static const uint32_t pairs[][2] = {{2, 900}, {4, 901}, {6, 903}};
    begin((struct tw_stats_config){.base_from_first = true});
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(8);
    check_loss(5, 1, 1, 3);

    /* 1 overtook 0 on the way out: 0 has a number above the base */
    static const uint32_t overtaken[][2] = {{1, 900}, {0, 901}, {3, 902}};
    begin((struct tw_stats_config){.base_from_first = true});
    feed_pairs(overtaken, ARRAY_SIZE(overtaken));
    finish(4);
    check_loss(1, 1, 0, 0);
    assert_false(summary.direction_clamped);

    /* 1 overtook 0 on the way back: 0 and its number are both before the base */
    static const uint32_t late_reply[][2] = {{1, 901}, {0, 900}, {3, 902}};
    begin((struct tw_stats_config){.base_from_first = true});
    feed_pairs(late_reply, ARRAY_SIZE(late_reply));
    finish(4);
    check_loss(1, 1, 0, 0);
    assert_false(summary.direction_clamped);

    /* 1 overtook 0 on the way out, and was overtaken on the way back: its number is before the
     * base, it is not */
    static const uint32_t both[][2] = {{0, 901}, {1, 900}, {2, 902}};
    begin((struct tw_stats_config){.base_from_first = true});
    feed_pairs(both, ARRAY_SIZE(both));
    finish(3);
    check_loss(0, 0, 0, 0);
    assert_false(summary.direction_clamped);
}

static void part_of_a_session_starts_at_its_own_numbers(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {
        {0xfffffffeu, 0xfffffffcu}, {0xfffffffeu, 0xfffffffdu}, {0, 0xfffffffeu}, {2, 0}};
    begin((struct tw_stats_config){
        .stateful = true, .first_sequence = 0xfffffffdu, .first_reflector_sequence = 0xfffffffbu});
    feed_flagged(0xfffffffcu, 0xfffffffau, 0); /* of the part before */
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(7);
    /* fffffffd, ffffffff, 1 and 3 are missing; the reflector counted fffffffb and ffffffff too */
    assert_int_equal(summary.received, 3);
    check_loss(4, 1, 2, 1);
    assert_int_equal(summary.reordered + summary.reordered_forward + summary.reordered_reverse, 0);
}

/* RFC 5560: 1,1,2,2,3,3,4,4 is 100 % and 100 %; 1,1,1,2,3,3,3,4 is 100 % and 50 %; all tripled is
 * 200 % and 100 %. */
static void duplication_of_rfc_5560_is_reproduced(void **state)
{
    (void)state;
    static const struct {
        uint32_t arrivals[12];
        size_t n;
        uint32_t duplicates, replicated;
    } vectors[] = {
        {{1, 1, 2, 2, 3, 3, 4, 4}, 8, 4, 4},
        {{1, 1, 1, 2, 3, 3, 3, 4}, 8, 4, 2},
        {{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4}, 12, 8, 4},
    };
    for (size_t v = 0; v < ARRAY_SIZE(vectors); v++) {
        begin_stateful();
        for (size_t i = 0; i < vectors[v].n; i++)
            feed_flagged(vectors[v].arrivals[i] - 1, vectors[v].arrivals[i] - 1, 0);
        finish(4);
        assert_int_equal(summary.received, 4);
        assert_int_equal(summary.duplicates, vectors[v].duplicates);
        assert_int_equal(summary.duplicates_reverse, vectors[v].duplicates);
        assert_int_equal(summary.replicated, vectors[v].replicated);
        assert_int_equal(summary.lost, 0);
        assert_int_equal(summary.rtt.n, 4);
        assert_int_equal(summary.reordered, 0);
    }
}

static void duplicates_have_the_direction_of_their_numbers(void **state)
{
    (void)state;
    /* 0 doubled on the way out, its first reply on the way back, then 1 tripled out and its last
     * reply doubled */
    static const uint32_t pairs[][2] = {{0, 0}, {0, 1}, {0, 0}, {1, 2}, {1, 3}, {1, 4}, {1, 4}};
    begin_stateful();
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(2);
    assert_int_equal(summary.duplicates, 5);
    assert_int_equal(summary.duplicates_forward, 3);
    assert_int_equal(summary.duplicates_reverse, 2);
    assert_int_equal(summary.replicated, 2);
    check_loss(0, 0, 0, 0);
    assert_false(summary.direction_clamped);
}

static void duplicates_are_told_apart_by_number_when_the_clock_is_coarse(void **state)
{
    (void)state;
    begin_stateful();
    feed_flagged(0, 0, 0);
    feed_flagged(0, 1, 0); /* all with the same T2 and T3 */
    feed_flagged(0, 1, 0);
    finish(1);
    assert_int_equal(summary.duplicates_forward, 1);
    assert_int_equal(summary.duplicates_reverse, 1);
}

static void duplicates_without_numbers_have_the_direction_of_t2_and_t3(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = false});
    feed(reply(0, 0, 5 * MS, 5 * MS));
    feed(reply(0, 0, 5 * MS, 6 * MS));     /* same T2 and T3: doubled on the way back */
    feed(reply(0, 0, 5 * MS + 1, 7 * MS)); /* another T2: doubled on the way out */
    struct tw_sample sample = reply(0, 0, 5 * MS + 1, 8 * MS);
    feed(sample); /* a copy of the second reply */
    sample.t3.ns++;
    feed(sample); /* same T2, another T3 */
    finish(1);
    assert_int_equal(summary.duplicates, 4);
    assert_int_equal(summary.duplicates_forward, 2);
    assert_int_equal(summary.duplicates_reverse, 2);
}

static void copy_after_the_threshold_is_no_duplicate(void **state)
{
    (void)state;
    begin_stateful();
    feed_flagged(0, 0, 0);
    feed_flagged(0, 0, TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE);
    feed_flagged(1, 1, TW_SAMPLE_LATE);
    feed_flagged(1, 2, TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE);
    feed_flagged(1, 2, TW_SAMPLE_DUPLICATE); /* no sender says so: the packet is lost already */
    feed_flagged(3, 3, 0);
    finish(4);
    assert_int_equal(summary.duplicates, 0);
    assert_int_equal(summary.late, 1);
    /* but its number counts: the forward duplicate of 1 explains 3's number, so 2 went missing
     * before the reflector */
    check_loss(2, 1, 0, 1);
}

/* RFC 4737: of 1,2,3,5,6,7,4,8 only 4 is reordered. */
static void reordering_of_rfc_4737_is_reproduced(void **state)
{
    (void)state;
    static const uint32_t arrivals[] = {1, 2, 3, 5, 6, 7, 4, 8};
    for (int way = 0; way < 2; way++) {
        begin_stateful();
        for (uint32_t i = 0; i < 8; i++) {
            uint32_t s = arrivals[i] - 1;
            feed_flagged(s, way == 0 ? i : s, 0);
        }
        finish(8);
        assert_int_equal(summary.reordered, 1);
        assert_true(summary.reordered_direction_known && summary.reordered_forward_known);
        assert_int_equal(summary.reordered_forward, way == 0);
        assert_int_equal(summary.reordered_reverse, way == 1);
    }
}

static void reordering_both_ways_may_cancel_out(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {{0, 1}, {1, 0}, {2, 2}};
    begin_stateful();
    feed_pairs(pairs, ARRAY_SIZE(pairs));
    finish(3);
    assert_int_equal(summary.reordered, 0);
    assert_int_equal(summary.reordered_forward, 1);
    assert_int_equal(summary.reordered_reverse, 1);
}

static void first_reply_is_in_order_whatever_its_number(void **state)
{
    (void)state;
    begin_stateful();
    feed_flagged(0, UINT32_MAX - 5, 0);
    feed_flagged(1, UINT32_MAX - 4, 0);
    finish(2);
    assert_int_equal(summary.reordered_reverse, 0);
}

static void forward_reordering_without_numbers_is_told_by_t2(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = false});
    feed(reply(0, 0, 2 * MS + 5, 5 * MS)); /* after packet 1 reached the reflector */
    feed(reply(1, 1, MS, 5 * MS));
    feed(reply(2, 2, MS, 5 * MS));
    finish(3);
    assert_true(summary.reordered_forward_known);
    assert_false(summary.reordered_direction_known);
    assert_int_equal(summary.reordered_forward, 1);

    begin((struct tw_stats_config){.stateful = false});
    feed(reply(0, 0, 2 * MS, 5 * MS)); /* at the same time as packet 1 */
    feed(reply(1, 1, MS, 5 * MS));
    finish(2);
    assert_false(summary.reordered_forward_known);
}

/* Sequence Numbers run through twice and more: 2^33 packets, of which every 2^30th is answered. */
static void counts_do_not_wrap_with_the_sequence_numbers(void **state)
{
    (void)state;
    begin((struct tw_stats_config){.stateful = true, .capacity = 8, .histograms = histograms});
    const uint64_t step = UINT64_C(1) << 30;
    uint64_t s = 0;
    for (; s <= UINT64_C(1) << 33; s += step)
        feed(reply((uint32_t)s, (uint32_t)s, 5 * MS, 5 * MS));
    assert_int_equal(stats.last, UINT64_C(1) << 33);
    assert_int_equal(stats.reflector_last, UINT64_C(1) << 33);
    uint64_t sent = s - step + 1;
    finish(sent);
    assert_int_equal(summary.received, 9);
    assert_int_equal(summary.duplicates + summary.reordered + summary.late, 0);
    assert_int_equal(summary.sent, UINT32_MAX);
    check_loss(UINT32_MAX, 0, UINT32_MAX, 0);
    assert_int_equal(summary.rtt.n, 9);
    assert_int_equal(summary.rtt_variation.pairs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_packets_are_split_by_the_reflectors_numbers),
        cmocka_unit_test(loss_after_the_last_reply_is_undecided),
        cmocka_unit_test(forward_duplicate_is_not_taken_for_reverse_loss),
        cmocka_unit_test(late_packet_is_lost_and_undecided),
        cmocka_unit_test(session_of_late_replies_only_has_no_delays),
        cmocka_unit_test(percentiles_leave_lost_packets_out),
        cmocka_unit_test(direction_is_unknown_while_nothing_shows_that_the_reflector_counts),
        cmocka_unit_test(contradiction_is_clamped_and_flagged),
        cmocka_unit_test(numbers_that_no_counting_reflector_gives_are_doubted),
        cmocka_unit_test(withdrawn_packets_are_no_part_of_the_split),
        cmocka_unit_test(nonsense_numbers_never_break_the_sum),
        cmocka_unit_test(more_answers_than_packets_never_make_loss_negative),
        cmocka_unit_test(first_reply_is_the_base_when_the_counter_is_unknown),
        cmocka_unit_test(part_of_a_session_starts_at_its_own_numbers),
        cmocka_unit_test(duplication_of_rfc_5560_is_reproduced),
        cmocka_unit_test(duplicates_have_the_direction_of_their_numbers),
        cmocka_unit_test(duplicates_are_told_apart_by_number_when_the_clock_is_coarse),
        cmocka_unit_test(duplicates_without_numbers_have_the_direction_of_t2_and_t3),
        cmocka_unit_test(copy_after_the_threshold_is_no_duplicate),
        cmocka_unit_test(reordering_of_rfc_4737_is_reproduced),
        cmocka_unit_test(reordering_both_ways_may_cancel_out),
        cmocka_unit_test(first_reply_is_in_order_whatever_its_number),
        cmocka_unit_test(forward_reordering_without_numbers_is_told_by_t2),
        cmocka_unit_test(counts_do_not_wrap_with_the_sequence_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
