/* What a target's probe makes of a path and of a server, in virtual time and with the truth known:
 * each scenario turns the knobs of sim.h and holds the measurements against exact values. */
#include "sim/scenario.h"

#include <errno.h>

static void plain_path_is_measured_exactly(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server(sim)->turnaround_ns = 300 * TW_NS_PER_US;
    sim_forward(sim)->delay_ns = 4 * MS;
    sim_reverse(sim)->delay_ns = 1 * MS;
    sim_run(sim, after_interval(2));
    assert_int_equal(results(sim), 3);
    for (size_t i = 0; i < 3; i++) {
        const struct tw_summary *summary = &result(sim, i)->summary;
        assert_int_equal(result(sim, i)->state, TW_MEASUREMENT_OK);
        assert_int_equal(summary->received, 10);
        assert_near(summary->rtt.min, 5 * MS, WIRE_NS);
        assert_near(summary->rtt.max, 5 * MS, WIRE_NS);
        assert_near(summary->rtt.p50, 5 * MS, WIRE_NS);
        assert_near(summary->rtt_total.mean, 5 * MS + 300000, WIRE_NS);
        assert_near(summary->processing.mean, 300000, WIRE_NS);
        assert_near(summary->forward.mean, 4 * MS, WIRE_NS);
        assert_near(summary->reverse.mean, 1 * MS, WIRE_NS);
        assert_near(summary->rtt_variation.jitter, 0, WIRE_NS);
        assert_near(summary->hops_forward, 3, 0);
        assert_near(summary->hops_reverse, 5, 0);
        assert_true(summary->one_way_valid);
        assert_true(summary->direction_known);
    }
    assert_int_equal(result(sim, 2)->counters.sent, 30);
    assert_int_equal(result(sim, 2)->counters.received, 30);
    struct sim_counts counts = sim_counts(sim);
    assert_int_equal(counts.connections, 1); /* one control connection serves all intervals */
    assert_int_equal(counts.sessions, 3);
    assert_int_equal(counts.stops, 3);
    assert_int_equal(counts.test_packets, 30);
    sim_free(sim);
}

static void result_is_final_when_the_last_packet_counts_as_lost(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    /* Set-up takes four round trips of 2 ms: connect, greeting to Server-Start, request, start. */
    int64_t first_packet = 1 * S + 8 * MS;
    int64_t expected = first_packet + 900 * MS + 2 * S;
    sim_run(sim, expected - 1 * MS);
    assert_int_equal(results(sim), 0);
    sim_run(sim, expected + 1 * MS);
    assert_int_equal(results(sim), 1);
    sim_free(sim);
}

static void one_way_delays_carry_the_clock_offset_and_round_trips_do_not(void **state)
{
    (void)state;
    static const int64_t offsets[] = {1 * S, -1 * S, 37 * S, -86400 * S};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        struct sim *sim = new_world();
        sim_server_clock(sim)->offset_ns = offsets[i];
        sim_run(sim, after_interval(0));
        const struct tw_summary *summary = &last_result(sim)->summary;
        assert_int_equal(summary->received, 10);
        assert_int_equal(summary->clock_anomalies, 0);
        assert_near(summary->rtt.mean, 2 * MS, WIRE_NS);
        assert_near(summary->forward.mean, (double)(1 * MS + offsets[i]), WIRE_NS);
        assert_near(summary->reverse.mean, (double)(1 * MS - offsets[i]), WIRE_NS);
        assert_near(summary->offset_estimate, (double)offsets[i], WIRE_NS);
        sim_free(sim);
    }
}

static void unsynchronised_clock_invalidates_one_way_values_only(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server_clock(sim)->synchronized = false;
    sim_run(sim, after_interval(0));
    const struct tw_summary *summary = &last_result(sim)->summary;
    assert_clean(last_result(sim));
    assert_false(summary->one_way_valid);
    assert_true(summary->local_synchronized);
    assert_false(summary->remote_synchronized);
    assert_near(summary->forward.mean, 1 * MS, WIRE_NS);
    sim_free(sim);
}

static void drifting_clock_hardly_moves_the_round_trip(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_client_clock(sim)->drift = 50e-6;
    sim_run(sim, after_interval(3));
    assert_near(last_result(sim)->summary.rtt.mean, 2 * MS, 2 * MS * 50e-6 + WIRE_NS);
    sim_free(sim);
}

static void era_change_of_2036_goes_unnoticed(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    /* 2036-02-07 06:28:16 UTC is in the middle of the second interval. */
    int64_t epoch = INT64_C(2085978496) * S - 11 * S - 500 * MS;
    sim_client_clock(sim)->epoch_ns = epoch;
    sim_server_clock(sim)->epoch_ns = epoch;
    sim_run(sim, after_interval(2));
    for (size_t i = 0; i < 3; i++) {
        assert_clean(result(sim, i));
        assert_near(result(sim, i)->summary.forward.max, 1 * MS, WIRE_NS);
    }
    sim_free(sim);
}

static void loss_is_told_by_direction(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    struct script forward = {.lost = LIST(2, 7)};
    struct script reverse = {.lost = LIST(0, 3, 4)}; /* replies to 0, 4 and 5 */
    obey(sim_forward(sim), &forward);
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, after_interval(0));
    const struct tw_summary *summary = &last_result(sim)->summary;
    assert_int_equal(summary->sent, 10);
    assert_int_equal(summary->received, 5);
    assert_int_equal(summary->lost, 5);
    assert_true(summary->direction_known);
    assert_int_equal(summary->lost_forward, 2);
    assert_int_equal(summary->lost_reverse, 3);
    assert_int_equal(summary->lost_undecided, 0);
    sim_free(sim);
}

static void loss_after_the_last_reply_stays_undecided(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    struct script forward = {.lost = LIST(8, 9)};
    obey(sim_forward(sim), &forward);
    sim_run(sim, after_interval(0));
    const struct tw_summary *summary = &last_result(sim)->summary;
    assert_int_equal(summary->lost, 2);
    assert_int_equal(summary->lost_forward, 0);
    assert_int_equal(summary->lost_undecided, 2);
    sim_free(sim);
}

static void duplicates_are_told_by_direction_and_change_nothing_else(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    struct script forward = {.doubled = LIST(1, 5)};
    struct script reverse = {.doubled = LIST(0)};
    obey(sim_forward(sim), &forward);
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, after_interval(0));
    const struct tw_summary *summary = &last_result(sim)->summary;
    assert_int_equal(summary->received, 10);
    assert_int_equal(summary->lost, 0);
    assert_int_equal(summary->duplicates, 3);
    assert_int_equal(summary->duplicates_forward, 2);
    assert_int_equal(summary->duplicates_reverse, 1);
    assert_int_equal(last_result(sim)->counters.duplicate, 3);
    sim_free(sim);
}

static void reordering_is_counted(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    struct script forward = {.slow = LIST(3), .extra_ns = 250 * MS}; /* behind 4 and 5 */
    struct script reverse = {.slow = LIST(7), .extra_ns = 150 * MS}; /* behind 8 */
    obey(sim_forward(sim), &forward);
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, after_interval(0));
    const struct tw_summary *summary = &last_result(sim)->summary;
    assert_int_equal(summary->received, 10);
    assert_int_equal(summary->reordered, 2);
    assert_true(summary->reordered_direction_known);
    assert_int_equal(summary->reordered_forward, 1);
    assert_int_equal(summary->reordered_reverse, 1);
    assert_int_equal(summary->lost, 0);
    sim_free(sim);
}

static void late_reply_within_its_interval_is_lost_and_late(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    struct script reverse = {.slow = LIST(0),
                             .extra_ns = 2100 * MS}; /* the result comes at 2.9 s */
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, after_interval(0));
    const struct tw_summary *summary = &last_result(sim)->summary;
    assert_int_equal(summary->received, 9);
    assert_int_equal(summary->lost, 1);
    assert_int_equal(summary->late, 1);
    assert_int_equal(last_result(sim)->counters.late, 1);
    sim_free(sim);
}

static void reply_after_its_result_only_moves_the_late_counter(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    struct script reverse = {.slow = LIST(9), .extra_ns = 4 * S};
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, after_interval(1));
    assert_int_equal(result(sim, 0)->summary.lost, 1);
    assert_int_equal(result(sim, 0)->summary.late, 0);
    assert_int_equal(result(sim, 0)->counters.late, 0);
    assert_clean(result(sim, 1));
    assert_int_equal(result(sim, 1)->summary.late, 0);
    assert_int_equal(result(sim, 1)->counters.late, 1);
    sim_free(sim);
}

static void reply_that_arrives_during_the_next_session_is_not_mistaken(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    struct script reverse = {.slow = LIST(5), .extra_ns = 10 * S}; /* amid the next packets */
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, after_interval(1));
    assert_int_equal(result(sim, 0)->summary.lost, 1);
    assert_clean(result(sim, 1));
    assert_int_equal(result(sim, 1)->counters.late, 1);
    sim_free(sim);
}

static void killed_server_shows_in_the_next_interval_and_so_does_its_return(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, 15 * S);
    assert_clean(result(sim, 0));
    sim_kill_server(sim); /* interval 1 has ended its session; interval 2 begins at 21 s */
    sim_run(sim, after_interval(4));
    for (size_t i = 2; i <= 4; i++)
        assert_no_session(result(sim, i), TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(result(sim, 2)->trouble.error, ECONNREFUSED);
    assert_int_equal(result(sim, 4)->counters.sent, 20); /* only what was really sent */
    sim_start_server(sim);
    sim_run(sim, after_interval(6));
    assert_clean(result(sim, 5));
    assert_clean(result(sim, 6));
    sim_free(sim);
}

static void server_that_dies_in_mid_session_loses_the_rest(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, 1 * S + 450 * MS); /* five packets are out and answered */
    sim_kill_server(sim);
    sim_run(sim, after_interval(1));
    const struct tw_measurement *m = result(sim, 0);
    assert_int_equal(m->state, TW_MEASUREMENT_OK);
    assert_int_equal(m->summary.sent, 10);
    assert_int_equal(m->summary.received, 5);
    assert_int_equal(m->summary.lost_undecided, 5);
    assert_no_session(result(sim, 1), TW_MEASUREMENT_UNREACHABLE);
    sim_free(sim);
}

static void restarted_server_costs_no_interval(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, 8 * S);
    sim_kill_server(sim);
    sim_start_server(sim);
    sim_run(sim, after_interval(2));
    for (size_t i = 0; i < 3; i++)
        assert_clean(result(sim, i));
    assert_int_equal(sim_counts(sim).connections, 2);
    sim_free(sim);
}

static void every_refusal_is_told_and_recovered_from(void **state)
{
    (void)state;
    static const uint8_t accepts[] = {1, 2, 3, 4, 5, 77};
    for (size_t i = 0; i < sizeof accepts; i++) {
        for (unsigned at_start = 0; at_start < 2; at_start++) {
            struct sim *sim = new_world();
            uint8_t *knob =
                at_start ? &sim_server(sim)->start_accept : &sim_server(sim)->session_accept;
            *knob = accepts[i];
            sim_run(sim, after_interval(1));
            for (size_t n = 0; n < 2; n++) {
                const struct tw_measurement *m = result(sim, n);
                assert_no_session(m, TW_MEASUREMENT_REFUSED);
                assert_true(m->trouble.valid);
                assert_int_equal(m->trouble.failure, TW_CLIENT_REFUSED);
                assert_int_equal(m->trouble.accept, accepts[i]);
                assert_int_equal(m->trouble.step,
                                 at_start ? TW_CLIENT_STEP_START : TW_CLIENT_STEP_REQUEST);
            }
            *knob = 0;
            sim_run(sim, after_interval(2));
            assert_clean(result(sim, 2));
            sim_free(sim);
        }
    }
}

static void server_that_offers_no_mode_refuses(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server(sim)->config.modes = 0;
    sim_run(sim, after_interval(0));
    assert_no_session(last_result(sim), TW_MEASUREMENT_REFUSED);
    assert_int_equal(last_result(sim)->trouble.failure, TW_CLIENT_MODES_ZERO);
    sim_server(sim)->config.modes = TW_MODE_UNAUTHENTICATED;
    sim_run(sim, after_interval(1));
    assert_clean(last_result(sim));
    sim_free(sim);
}

static void silence_at_every_octet_of_the_control_stream_ends_as_silent(void **state)
{
    (void)state;
    /* Greeting 64, Server-Start 48, Accept-Session 48, Start-Ack 32: one octet less than all. */
    for (uint64_t octets = 0; octets < 64 + 48 + 48 + 32; octets++) {
        struct sim *sim = new_world();
        sim_server(sim)->mute = octets == 0;
        sim_server(sim)->mute_after = octets;
        sim_run(sim, after_interval(0));
        assert_no_session(last_result(sim), TW_MEASUREMENT_SILENT);
        sim_server(sim)->mute = false;
        sim_server(sim)->mute_after = 0;
        sim_run(sim, after_interval(1));
        assert_clean(last_result(sim));
        sim_free(sim);
    }
}

static void close_at_every_octet_of_the_control_stream_is_survived(void **state)
{
    (void)state;
    for (uint64_t octets = 1; octets < 64 + 48 + 48 + 32; octets++) {
        struct sim *sim = new_world();
        sim_server(sim)->close_after = octets;
        sim_run(sim, after_interval(0));
        assert_no_session(last_result(sim), TW_MEASUREMENT_REFUSED);
        assert_int_equal(last_result(sim)->trouble.failure, TW_CLIENT_ENDED);
        sim_server(sim)->close_after = 0;
        sim_run(sim, after_interval(1));
        assert_clean(last_result(sim));
        sim_free(sim);
    }
}

static void tcp_may_cut_the_stream_anywhere(void **state)
{
    (void)state;
    for (size_t cut = 1; cut <= 165; cut++) {
        struct sim *sim = new_world();
        sim_cut_tcp(sim, cut);
        sim_run(sim, after_interval(1));
        assert_clean(result(sim, 0));
        assert_clean(result(sim, 1));
        sim_free(sim);
    }
}

static void filtered_tcp_is_unreachable_and_filtered_udp_is_silent(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server(sim)->tcp_filtered = true;
    sim_run(sim, after_interval(0));
    assert_no_session(last_result(sim), TW_MEASUREMENT_UNREACHABLE);
    assert_int_equal(last_result(sim)->trouble.error, ETIMEDOUT);
    sim_server(sim)->tcp_filtered = false;
    sim_reverse(sim)->down = true;
    sim_run(sim, after_interval(1));
    const struct tw_measurement *m = last_result(sim);
    assert_int_equal(m->state, TW_MEASUREMENT_SILENT);
    assert_true(m->session);
    assert_int_equal(m->summary.sent, 10);
    assert_int_equal(m->summary.lost, 10);
    assert_false(m->summary.direction_known); /* nothing came back that could tell */
    assert_true(isnan(m->summary.rtt.mean));
    sim_reverse(sim)->down = false;
    sim_run(sim, after_interval(2));
    assert_clean(last_result(sim));
    sim_free(sim);
}

static void firewall_that_forgets_an_idle_connection_costs_no_interval(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, 8 * S);
    sim_server(sim)->tcp_filtered = true; /* the request of interval 1 vanishes */
    sim_run(sim, 12 * S);
    sim_server(sim)->tcp_filtered = false;
    sim_run(sim, after_interval(2));
    for (size_t i = 0; i < 3; i++)
        assert_clean(result(sim, i));
    sim_free(sim);
}

static void server_that_closes_idle_connections_is_measured_all_the_same(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_server(sim)->config.servwait_ns = 4 * S;
    sim_run(sim, after_interval(4));
    for (size_t i = 0; i < 5; i++)
        assert_clean(result(sim, i));
    assert_int_equal(sim_counts(sim).connections, 5);
    assert_int_equal(sim_counts(sim).last_close_reason, TW_SERVER_CLOSE_SERVWAIT);
    sim_free(sim);
}

static void lost_name_service_is_survived(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_set_name(sim, 0);
    sim_run(sim, after_interval(1));
    assert_no_session(result(sim, 0), TW_MEASUREMENT_NAME);
    assert_int_equal(result(sim, 1)->trouble.error, -2);
    sim_set_name(sim, 1);
    sim_run(sim, after_interval(2));
    assert_clean(last_result(sim));
    sim_set_name(sim, 0); /* an address that was known stays in use */
    sim_run(sim, after_interval(12));
    for (size_t i = 2; i <= 12; i++)
        assert_clean(result(sim, i));
    sim_free(sim);
}

static void moved_target_is_followed(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, after_interval(0));
    sim_kill_server(sim);
    sim_start_server(sim);
    sim_move_server(sim, 2);
    sim_set_name(sim, 2);
    sim_run(sim, after_interval(3));
    for (size_t i = 1; i <= 3; i++) {
        assert_clean(result(sim, i)); /* without losing an interval */
        assert_int_equal(result(sim, i)->remote.octets[3], 2);
    }
    sim_free(sim);
}

static void name_that_moves_is_followed_although_the_old_address_answers(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, after_interval(0));
    assert_int_equal(last_result(sim)->remote.octets[3], 1);
    sim_move_server(sim, 2); /* the open connection lives on */
    sim_set_name(sim, 2);
    sim_run(sim, after_interval(8)); /* names are looked up every 60 s */
    assert_int_equal(last_result(sim)->remote.octets[3], 2);
    for (size_t i = 0; i < results(sim); i++)
        assert_clean(result(sim, i));
    sim_free(sim);
}

static void stepped_clock_is_noticed_and_spoils_only_the_samples_it_hits(void **state)
{
    (void)state;
    for (unsigned server = 0; server < 2; server++) {
        struct sim *sim = new_world();
        sim_forward(sim)->delay_ns = 40 * MS;
        sim_reverse(sim)->delay_ns = 40 * MS;
        /* The packet sent at 1.5 s + set-up is under way. */
        sim_run(sim, 1 * S + 4 * 80 * MS + 500 * MS + 20 * MS);
        if (server)
            sim_server_clock(sim)->offset_ns = 3 * S;
        else
            sim_client_clock(sim)->offset_ns = 3 * S;
        sim_run(sim, after_interval(1));
        const struct tw_summary *summary = &result(sim, 0)->summary;
        assert_int_equal(summary->received, 10);
        assert_int_equal(summary->lost, 0);
        /* A step of the reflector's clock between two packets hurts no single sample. */
        assert_int_equal(summary->clock_anomalies, server ? 0 : 1);
        assert_near(summary->rtt.min, 80 * MS, WIRE_NS);
        assert_near(summary->rtt.max, 80 * MS, WIRE_NS);
        assert_near(result(sim, 1)->summary.rtt.mean, 80 * MS, WIRE_NS);
        sim_free(sim);
    }
}

static void reflector_that_copies_numbers_tells_no_direction(void **state)
{
    (void)state;
    struct tw_probe_config config = plan();
    config.stateful = false;
    struct sim *sim = sim_new(&config, 1);
    sim_server(sim)->stateless = true;
    struct script forward = {.lost = LIST(4)};
    obey(sim_forward(sim), &forward);
    sim_run(sim, after_interval(0));
    const struct tw_summary *summary = &last_result(sim)->summary;
    assert_int_equal(summary->lost, 1);
    assert_false(summary->direction_known);
    assert_false(summary->reflector_counts);
    sim_free(sim);
}

static void reflector_that_counts_is_found_out_by_its_numbers(void **state)
{
    (void)state;
    struct tw_probe_config config = plan();
    config.stateful = false;
    struct sim *sim = sim_new(&config, 1);
    struct script forward = {.lost = LIST(4)};
    obey(sim_forward(sim), &forward);
    sim_run(sim, after_interval(0));
    const struct tw_summary *summary = &last_result(sim)->summary;
    assert_true(summary->reflector_counts);
    assert_true(summary->direction_known);
    assert_int_equal(summary->lost_forward, 1);
    sim_free(sim);
}

/* Whether a packet or five are under way when the first refusal comes back. */
static void reflector_that_warms_up_costs_no_loss(void **state)
{
    (void)state;
    static const int64_t delays_ns[] = {1 * MS, 20 * MS, 75 * MS, 130 * MS, 240 * MS};
    for (size_t i = 0; i < sizeof delays_ns / sizeof delays_ns[0]; i++) {
        struct sim *sim = new_world();
        sim_forward(sim)->delay_ns = sim_reverse(sim)->delay_ns = delays_ns[i];
        sim_server(sim)->warm_up_ns = 250 * MS + 2 * delays_ns[i]; /* refuses three packets */
        sim_run(sim, after_interval(2));
        assert_int_equal(results(sim), 3);
        for (size_t r = 0; r < 3; r++) {
            const struct tw_measurement *m = result(sim, r);
            assert_int_equal(m->summary.sent, 10);
            assert_int_equal(m->summary.received, 10);
            assert_true(m->summary.direction_known);
            assert_false(m->summary.direction_clamped || m->summary.direction_doubtful);
            assert_true((m->quirks & TW_QUIRK_WARM_UP) != 0);
        }
        sim_free(sim);
    }
}

static void loss_beside_a_warm_up_keeps_its_direction(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    struct script reverse = {.lost = LIST(4)}; /* three refusals, then replies */
    sim_server(sim)->warm_up_ns = 250 * MS;
    sim_forward(sim)->delay_ns = sim_reverse(sim)->delay_ns = 75 * MS;
    obey(sim_reverse(sim), &reverse);
    sim_run(sim, after_interval(0));
    const struct tw_summary *s = &result(sim, 0)->summary;
    assert_int_equal(s->sent, 10);
    assert_int_equal(s->lost, 1);
    assert_int_equal(s->lost_reverse, 1);
    assert_false(s->direction_doubtful);
    sim_free(sim);
}

static void sessions_end_at_the_server_too(void **state)
{
    (void)state;
    struct sim *sim = new_world();
    sim_run(sim, after_interval(0));
    assert_int_equal(sim_counts(sim).live_sessions, 0);
    sim_run(sim, 11 * S + 500 * MS); /* in the middle of a session, the network splits */
    assert_int_equal(sim_counts(sim).live_sessions, 1);
    sim_server(sim)->refwait_ns = 0;
    sim_free(sim);
}

/* Random paths: whatever is lost, doubled and delayed, the counts agree with what the links did. */
static void random_paths_are_counted_right(void **state)
{
    (void)state;
    enum { RUNS = 200 };
    const uint64_t base = seed_or(20260401);
    for (uint64_t run = 0; run < RUNS; run++) {
        struct tw_probe_config config = plan();
        config.count = 40;
        config.packet_interval_ns = 20 * MS;
        struct sim *sim = sim_new(&config, base + run);
        impair(sim, run);
        sim_run(sim, after_interval(0));
        const struct tw_summary *summary = &last_result(sim)->summary;
        assert_int_equal(summary->sent, 40);
        assert_int_equal(summary->received + summary->lost, 40);
        assert_int_equal(summary->late, 0);
        if (summary->received > 0) {
            assert_true(summary->direction_known);
            assert_int_equal(summary->lost_forward + summary->lost_reverse +
                                 summary->lost_undecided,
                             summary->lost);
        }
        assert_int_equal(summary->received + summary->duplicates, arrived(sim));
        if (run % 3 == 0 && run / 3 % 3 == 0 && run % 4 == 0 && summary->lost_undecided == 0) {
            /* Without duplication and without overtaking on the way there the directions are exact,
             * up to the last reply seen. */
            assert_int_equal(summary->lost_forward, sim_forward(sim)->lost);
            assert_int_equal(summary->lost_reverse, sim_reverse(sim)->lost);
        }
        assert_true(!(summary->rtt.min < 2 * MS - WIRE_NS));
        sim_free(sim);
    }
}

static void a_day_of_intervals_stays_exact(void **state)
{
    (void)state;
    enum { DAY = 8640 };
    struct sim *sim = new_world();
    struct script forward = {.lost = LIST(3, 50000, 86399)};
    obey(sim_forward(sim), &forward);
    sim_run(sim, after_interval(DAY - 1));
    assert_int_equal(results(sim), DAY);
    struct tw_measurement_counters counters = last_result(sim)->counters;
    assert_int_equal(counters.sent, 10 * DAY);
    assert_int_equal(counters.lost, 3);
    assert_int_equal(counters.received, 10 * DAY - 3);
    for (size_t i = 1; i < DAY; i++)
        assert_int_equal(result(sim, i)->begun.ns - result(sim, i - 1)->begun.ns, 10 * S);
    assert_int_equal(sim_counts(sim).live_sessions, 0);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_path_is_measured_exactly),
        cmocka_unit_test(result_is_final_when_the_last_packet_counts_as_lost),
        cmocka_unit_test(one_way_delays_carry_the_clock_offset_and_round_trips_do_not),
        cmocka_unit_test(unsynchronised_clock_invalidates_one_way_values_only),
        cmocka_unit_test(drifting_clock_hardly_moves_the_round_trip),
        cmocka_unit_test(era_change_of_2036_goes_unnoticed),
        cmocka_unit_test(loss_is_told_by_direction),
        cmocka_unit_test(loss_after_the_last_reply_stays_undecided),
        cmocka_unit_test(duplicates_are_told_by_direction_and_change_nothing_else),
        cmocka_unit_test(reordering_is_counted),
        cmocka_unit_test(late_reply_within_its_interval_is_lost_and_late),
        cmocka_unit_test(reply_after_its_result_only_moves_the_late_counter),
        cmocka_unit_test(reply_that_arrives_during_the_next_session_is_not_mistaken),
        cmocka_unit_test(killed_server_shows_in_the_next_interval_and_so_does_its_return),
        cmocka_unit_test(server_that_dies_in_mid_session_loses_the_rest),
        cmocka_unit_test(restarted_server_costs_no_interval),
        cmocka_unit_test(every_refusal_is_told_and_recovered_from),
        cmocka_unit_test(server_that_offers_no_mode_refuses),
        cmocka_unit_test(silence_at_every_octet_of_the_control_stream_ends_as_silent),
        cmocka_unit_test(close_at_every_octet_of_the_control_stream_is_survived),
        cmocka_unit_test(tcp_may_cut_the_stream_anywhere),
        cmocka_unit_test(filtered_tcp_is_unreachable_and_filtered_udp_is_silent),
        cmocka_unit_test(firewall_that_forgets_an_idle_connection_costs_no_interval),
        cmocka_unit_test(server_that_closes_idle_connections_is_measured_all_the_same),
        cmocka_unit_test(lost_name_service_is_survived),
        cmocka_unit_test(moved_target_is_followed),
        cmocka_unit_test(name_that_moves_is_followed_although_the_old_address_answers),
        cmocka_unit_test(stepped_clock_is_noticed_and_spoils_only_the_samples_it_hits),
        cmocka_unit_test(reflector_that_copies_numbers_tells_no_direction),
        cmocka_unit_test(reflector_that_counts_is_found_out_by_its_numbers),
        cmocka_unit_test(reflector_that_warms_up_costs_no_loss),
        cmocka_unit_test(loss_beside_a_warm_up_keeps_its_direction),
        cmocka_unit_test(sessions_end_at_the_server_too),
        cmocka_unit_test(random_paths_are_counted_right),
        cmocka_unit_test(a_day_of_intervals_stays_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
