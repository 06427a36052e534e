/* What test_scenarios.c shows in the clear, in every security mode and with every feature: the
 * numbers are the same to the nanosecond, and what cannot be read or verified is told as what it
 * is. */
#include "sim/scenario.h"

#include <errno.h>

static const uint32_t security[] = {TW_MODE_UNAUTHENTICATED, TW_MODE_AUTHENTICATED,
                                    TW_MODE_ENCRYPTED, TW_MODE_MIXED};
enum { SECURITY = sizeof security / sizeof *security };

/* Every set of features that can be chosen: five bits, spread to their places. */
enum { FEATURE_SETS = 32 };

static uint32_t feature_set(unsigned i)
{
    return (i & 1 ? TW_MODE_SESSION_CONTROL : 0) | (i & 2 ? TW_MODE_REFLECT_OCTETS : 0) |
           (i & 4 ? TW_MODE_SYMMETRICAL : 0) | (i & 8 ? TW_MODE_DSCP_ECN : 0) |
           (i & 16 ? TW_MODE_PTP : 0);
}

static struct tw_probe_config plan_in(uint32_t mode)
{
    struct tw_probe_config config = plan();
    config.client.mode = mode & TW_MODE_SECURITY;
    config.client.features = mode & TW_MODE_FEATURES;
    memcpy(config.client.keyid, SIM_KEYID, sizeof SIM_KEYID);
    config.sender.padding_length = TW_PROBE_PADDING_EQUAL;
    config.sender.tai_utc_s = 37;
    config.dscp = 46;
    return config;
}

static struct sim *world_with(const struct tw_probe_config *config, uint32_t offered)
{
    struct sim *sim = sim_new(config, 1 + offered);
    sim_server(sim)->config.modes = offered;
    sim_server(sim)->turnaround_ns = 50 * TW_NS_PER_US;
    return sim;
}

/* A target that wants `mode` and a server that offers it, and weaker ones. */
static struct sim *world_in(uint32_t mode)
{
    struct tw_probe_config config = plan_in(mode);
    return world_with(&config, TW_MODE_SECURITY | (mode & TW_MODE_FEATURES));
}

static void assert_clean_in(const struct tw_measurement *m, uint32_t mode)
{
    assert_clean(m);
    assert_int_equal(m->mode, mode);
    assert_int_equal(m->quirks, 0);
    assert_true(m->summary.one_way_valid);
    assert_near(m->summary.forward.mean, 1 * MS, WIRE_NS);
    assert_near(m->summary.reverse.mean, 1 * MS, WIRE_NS);
    assert_near(m->summary.hops_forward, 3, 0);
    assert_near(m->summary.hops_reverse, 5, 0);
    assert_near(m->summary.dscp_reverse, 46, 0);
    if ((mode & TW_MODE_DSCP_ECN) != 0)
        assert_near(m->summary.dscp_forward, 46, 0);
    else
        assert_true(isnan(m->summary.dscp_forward));
}

static void every_mode_with_every_feature_measures_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < SECURITY; i++) {
        for (unsigned j = 0; j < FEATURE_SETS; j++) {
            const uint32_t mode = security[i] | feature_set(j);
            struct sim *sim = world_in(mode);
            sim_run(sim, after_interval(2));
            assert_int_equal(results(sim), 3);
            for (size_t n = 0; n < 3; n++)
                assert_clean_in(result(sim, n), mode);
            struct sim_counts counts = sim_counts(sim);
            assert_int_equal(counts.connections, 1);
            assert_int_equal(counts.keys, mode & TW_MODE_UNAUTHENTICATED ? 0 : 1);
            assert_int_equal(counts.stops, 3);
            assert_int_equal(counts.live_sessions, 0);
            assert_int_equal(counts.replies, 30);
            assert_int_equal(counts.bad_packets, 0);
            sim_free(sim);
        }
    }
}

/* Lengths of packets and replies: the same in both directions (RFC 6038). */
static void packets_are_as_long_as_replies(void **state)
{
    (void)state;
    static const uint32_t paddings[] = {TW_PROBE_PADDING_EQUAL, 64, 100, 1000};
    for (size_t i = 0; i < SECURITY; i++) {
        for (unsigned j = 0; j < FEATURE_SETS; j++) {
            for (size_t k = 0; k < sizeof paddings / sizeof *paddings; k++) {
                const uint32_t mode = security[i] | feature_set(j);
                struct tw_probe_config config = plan_in(mode);
                config.sender.padding_length = paddings[k];
                struct sim *sim = world_with(&config, mode);
                sim_run(sim, after_interval(0));
                assert_clean_in(last_result(sim), mode);
                assert_int_equal(sim_counts(sim).packet_size, sim_counts(sim).reply_size);
                if (paddings[k] != TW_PROBE_PADDING_EQUAL)
                    assert_true(sim_counts(sim).packet_size >= 14 + paddings[k]);
                sim_free(sim);
            }
        }
    }
}

/* Both clocks are right and say so; what the reflector's timestamps say is 37 s off all the same.
 */
static void one_way_delays_in_ptp_that_counts_from_utc_are_not_valid(void **state)
{
    (void)state;
    struct sim *sim = world_in(TW_MODE_UNAUTHENTICATED | TW_MODE_PTP);
    sim_server(sim)->ptp_utc = true;
    sim_run(sim, after_interval(0));
    const struct tw_measurement *m = last_result(sim);
    assert_clean(m);
    assert_int_equal(m->quirks, TW_QUIRK_PTP_UTC);
    assert_true(m->summary.local_synchronized && m->summary.remote_synchronized);
    assert_near(m->summary.forward.mean, -36999 * MS, WIRE_NS);
    assert_near(m->summary.reverse.mean, 37001 * MS, WIRE_NS);
    assert_false(m->summary.one_way_valid);
    sim_server(sim)->ptp_utc = false; /* repaired */
    sim_run(sim, after_interval(1));
    assert_clean_in(last_result(sim), TW_MODE_UNAUTHENTICATED | TW_MODE_PTP);
    sim_free(sim);
}

static void features_that_are_not_offered_are_done_without(void **state)
{
    (void)state;
    for (size_t i = 0; i < SECURITY; i++) {
        struct tw_probe_config config = plan_in(security[i] | feature_set(FEATURE_SETS - 1));
        struct sim *sim = world_with(&config, TW_MODE_SECURITY);
        sim_run(sim, after_interval(1));
        assert_clean_in(last_result(sim), security[i]);
        sim_free(sim);
    }
}

static void wanted_mode_that_is_not_offered_is_a_refusal(void **state)
{
    (void)state;
    for (size_t i = 0; i < SECURITY; i++) {
        struct sim *sim = world_in(security[i]);
        sim_server(sim)->config.modes = TW_MODE_SECURITY & ~security[i];
        sim_run(sim, after_interval(0));
        assert_no_session(last_result(sim), TW_MEASUREMENT_REFUSED);
        assert_int_equal(last_result(sim)->trouble.failure, TW_CLIENT_MODE_MISSING);
        assert_int_equal(sim_counts(sim).keys, 0);
        sim_free(sim);
    }
}

static void exact_statistics_survive_encryption(void **state)
{
    (void)state;
    for (size_t i = 0; i < SECURITY; i++) {
        for (unsigned individual = 0; individual < 2; individual++) {
            struct sim *sim = world_in(security[i] | (individual ? TW_MODE_SESSION_CONTROL : 0));
            struct script forward = {
                .lost = LIST(2, 7), .slow = LIST(4), .extra_ns = 150 * MS}; /* behind 5 */
            struct script reverse = {.lost = LIST(0), .doubled = LIST(3)};
            obey(sim_forward(sim), &forward);
            obey(sim_reverse(sim), &reverse);
            sim_server(sim)->turnaround_ns = 300 * TW_NS_PER_US;
            sim_server_clock(sim)->offset_ns = 5 * S;
            sim_run(sim, after_interval(0));
            const struct tw_summary *summary = &last_result(sim)->summary;
            assert_int_equal(summary->sent, 10);
            assert_int_equal(summary->received, 7);
            assert_int_equal(summary->lost, 3);
            assert_int_equal(summary->lost_forward, 2);
            assert_int_equal(summary->lost_reverse, 1);
            assert_int_equal(summary->duplicates, 1);
            assert_int_equal(summary->duplicates_reverse, 1);
            assert_int_equal(summary->reordered, 1);
            assert_int_equal(summary->reordered_forward, 1);
            assert_near(summary->rtt.min, 2 * MS, WIRE_NS);
            assert_near(summary->rtt.max, 152 * MS, WIRE_NS);
            assert_near(summary->processing.mean, 300000, WIRE_NS);
            assert_near(summary->forward.min, (double)(5 * S + 1 * MS), WIRE_NS);
            sim_free(sim);
        }
    }
}

static void wrong_secret_shows_as_key_and_its_correction_too(void **state)
{
    (void)state;
    for (size_t i = 1; i < SECURITY; i++) {
        struct sim *sim = world_in(security[i]);
        sim_server(sim)->secret = "wrong horse";
        sim_run(sim, after_interval(1));
        for (size_t n = 0; n < 2; n++) {
            const struct tw_measurement *m = result(sim, n);
            assert_no_session(m, TW_MEASUREMENT_KEY);
            assert_true(m->trouble.valid);
            assert_int_equal(m->trouble.failure, TW_CLIENT_KEY_REFUSED);
            assert_int_equal(m->trouble.step, TW_CLIENT_STEP_SET_UP);
            assert_int_equal(m->trouble.accept, 1);
        }
        assert_int_equal(sim_counts(sim).last_close_reason, TW_SERVER_CLOSE_KEY);
        sim_server(sim)->secret = SIM_SECRET;
        sim_run(sim, after_interval(2));
        assert_clean_in(last_result(sim), security[i]);
        sim_free(sim);
    }
}

static void unknown_keyid_shows_as_key(void **state)
{
    (void)state;
    struct tw_probe_config config = plan_in(TW_MODE_ENCRYPTED);
    config.client.keyid[0] = 'S';
    struct sim *sim = world_with(&config, TW_MODE_SECURITY);
    sim_run(sim, after_interval(0));
    assert_no_session(last_result(sim), TW_MEASUREMENT_KEY);
    assert_int_equal(last_result(sim)->trouble.failure, TW_CLIENT_KEY_REFUSED);
    sim_free(sim);
}

static void unacceptable_count_shows_as_key_without_any_derivation(void **state)
{
    (void)state;
    static const uint32_t counts[] = {65536, 1u << 17, 1u << 31};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct sim *sim = world_in(TW_MODE_AUTHENTICATED);
        sim_server(sim)->config.count = counts[i];
        sim_run(sim, after_interval(0));
        assert_no_session(last_result(sim), TW_MEASUREMENT_KEY);
        assert_int_equal(last_result(sim)->trouble.failure, TW_CLIENT_COUNT);
        assert_int_equal(sim_counts(sim).keys, 0);
        sim_free(sim);
    }
}

/* Octets of the server on an encrypted connection up to its Start-Ack or Start-N-Ack. */
static uint64_t stream_length(bool individual)
{
    return 64 + 48 + 48 + (individual ? 48 : 32);
}

static void silence_at_every_octet_of_an_encrypted_stream_ends_as_silent(void **state)
{
    (void)state;
    for (unsigned individual = 0; individual < 2; individual++) {
        for (uint64_t octets = 0; octets < stream_length(individual); octets++) {
            const uint32_t mode = TW_MODE_ENCRYPTED | (individual ? TW_MODE_SESSION_CONTROL : 0);
            struct sim *sim = world_in(mode);
            sim_server(sim)->mute = octets == 0;
            sim_server(sim)->mute_after = octets;
            sim_run(sim, after_interval(0));
            assert_no_session(last_result(sim), TW_MEASUREMENT_SILENT);
            sim_server(sim)->mute = false;
            sim_server(sim)->mute_after = 0;
            sim_run(sim, after_interval(1));
            assert_clean_in(last_result(sim), mode);
            sim_free(sim);
        }
    }
}

static void close_at_every_octet_of_an_encrypted_stream_is_survived(void **state)
{
    (void)state;
    for (unsigned individual = 0; individual < 2; individual++) {
        for (uint64_t octets = 1; octets < stream_length(individual); octets++) {
            const uint32_t mode = TW_MODE_ENCRYPTED | (individual ? TW_MODE_SESSION_CONTROL : 0);
            struct sim *sim = world_in(mode);
            sim_server(sim)->close_after = octets;
            sim_run(sim, after_interval(0));
            assert_no_session(last_result(sim), TW_MEASUREMENT_REFUSED);
            assert_int_equal(last_result(sim)->trouble.failure, TW_CLIENT_ENDED);
            sim_server(sim)->close_after = 0;
            sim_run(sim, after_interval(1));
            assert_clean_in(last_result(sim), mode);
            sim_free(sim);
        }
    }
}

/* From the Server-IV on. Before it: what says nothing, Server-Start's Accept, and the greeting. */
static void damage_to_any_octet_of_an_encrypted_stream_shows_as_key(void **state)
{
    (void)state;
    for (unsigned individual = 0; individual < 2; individual++) {
        for (uint64_t octet = 64 + 16; octet < stream_length(individual); octet++) {
            const uint32_t mode = TW_MODE_ENCRYPTED | (individual ? TW_MODE_SESSION_CONTROL : 0);
            struct sim *sim = world_in(mode);
            sim_server(sim)->flip_octet = octet;
            sim_run(sim, after_interval(0));
            assert_no_session(last_result(sim), TW_MEASUREMENT_KEY);
            assert_int_equal(last_result(sim)->trouble.failure, TW_CLIENT_HMAC);
            sim_server(sim)->flip_octet = 0;
            sim_run(sim, after_interval(1));
            assert_clean_in(last_result(sim), mode);
            sim_free(sim);
        }
    }
}

static void tcp_may_cut_an_encrypted_stream_anywhere(void **state)
{
    (void)state;
    for (size_t cut = 1; cut <= 165; cut++) {
        const uint32_t mode = TW_MODE_ENCRYPTED | (cut % 2 != 0 ? TW_MODE_SESSION_CONTROL : 0);
        struct sim *sim = world_in(mode);
        sim_cut_tcp(sim, cut);
        sim_run(sim, after_interval(1));
        assert_clean_in(result(sim, 0), mode);
        assert_clean_in(result(sim, 1), mode);
        sim_free(sim);
    }
}

static void restarted_server_costs_no_interval_in_any_mode(void **state)
{
    (void)state;
    for (size_t i = 0; i < SECURITY; i++) {
        for (unsigned individual = 0; individual < 2; individual++) {
            const uint32_t mode = security[i] | (individual ? TW_MODE_SESSION_CONTROL : 0);
            struct sim *sim = world_in(mode);
            sim_run(sim, 8 * S);
            sim_kill_server(sim);
            sim_server(sim)->config.salt[3] ^= 1;
            sim_start_server(sim);
            sim_run(sim, after_interval(2));
            for (size_t n = 0; n < 3; n++)
                assert_clean_in(result(sim, n), mode);
            assert_int_equal(sim_counts(sim).connections, 2);
            sim_free(sim);
        }
    }
}

static void server_that_dies_in_mid_session_loses_the_rest_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < SECURITY; i++) {
        struct sim *sim = world_in(security[i] | TW_MODE_SESSION_CONTROL);
        sim_run(sim, 1 * S + 450 * MS);
        sim_kill_server(sim);
        sim_run(sim, after_interval(1));
        const struct tw_measurement *m = result(sim, 0);
        assert_int_equal(m->state, TW_MEASUREMENT_OK);
        assert_int_equal(m->summary.sent, 10);
        assert_int_equal(m->summary.received, 5);
        assert_no_session(result(sim, 1), TW_MEASUREMENT_UNREACHABLE);
        sim_free(sim);
    }
}

static void late_reply_to_the_session_before_is_authentic_and_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < SECURITY; i++) {
        struct sim *sim = world_in(security[i]);
        struct script reverse = {.slow = LIST(5), .extra_ns = 10 * S}; /* amid the next packets */
        obey(sim_reverse(sim), &reverse);
        sim_run(sim, after_interval(1));
        assert_int_equal(result(sim, 0)->summary.lost, 1);
        assert_clean_in(result(sim, 1), security[i]);
        assert_int_equal(result(sim, 1)->counters.late, 1);
        sim_free(sim);
    }
}

static void every_refusal_of_a_start_n_is_told_and_recovered_from(void **state)
{
    (void)state;
    static const uint8_t accepts[] = {1, 2, 3, 4, 5};
    for (size_t i = 0; i < sizeof accepts; i++) {
        const uint32_t mode = TW_MODE_ENCRYPTED | TW_MODE_SESSION_CONTROL;
        struct sim *sim = world_in(mode);
        sim_server(sim)->start_accept = accepts[i];
        sim_run(sim, after_interval(0));
        const struct tw_measurement *m = last_result(sim);
        assert_no_session(m, TW_MEASUREMENT_REFUSED);
        assert_int_equal(m->trouble.failure, TW_CLIENT_REFUSED);
        assert_int_equal(m->trouble.step, TW_CLIENT_STEP_START);
        assert_int_equal(m->trouble.accept, accepts[i]);
        sim_server(sim)->start_accept = 0;
        sim_run(sim, after_interval(1));
        assert_clean_in(last_result(sim), mode);
        sim_free(sim);
    }
}

static void refused_stop_n_is_no_error_of_the_interval(void **state)
{
    (void)state;
    const uint32_t mode = TW_MODE_UNAUTHENTICATED | TW_MODE_SESSION_CONTROL;
    struct sim *sim = world_in(mode);
    sim_server(sim)->stop_accept = TW_ACCEPT_UNSUPPORTED;
    sim_run(sim, after_interval(24)); /* more than a connection has room for */
    for (size_t n = 0; n <= 24; n++)
        assert_clean_in(result(sim, n), mode);
    assert_int_equal(sim_counts(sim).connections, 1);
    sim_free(sim);
}

/* The Stop-N-Ack never comes; that shows in no interval. */
static void unanswered_stop_n_costs_no_interval(void **state)
{
    (void)state;
    const uint32_t mode = TW_MODE_ENCRYPTED | TW_MODE_SESSION_CONTROL;
    struct sim *sim = world_in(mode);
    sim_server(sim)->mute_after = stream_length(true);
    sim_run(sim, after_interval(3));
    for (size_t n = 0; n <= 3; n++)
        assert_clean_in(result(sim, n), mode);
    assert_int_equal(sim_counts(sim).connections, 4);
    sim_free(sim);
}

/* It comes when the next interval has begun. */
static void next_request_waits_for_the_stop_n_ack(void **state)
{
    (void)state;
    enum { INTERVALS = 4 };
    const uint32_t mode = TW_MODE_ENCRYPTED | TW_MODE_SESSION_CONTROL;
    struct tw_probe_config config = plan_in(mode);
    config.interval_ns = 3500 * MS; /* of which the session takes 3 s */
    struct sim *sim = world_with(&config, mode);
    for (unsigned i = 0; i < INTERVALS; i++) {
        const int64_t begin = 1 * S + config.interval_ns * i;
        sim_run(sim, begin + 2900 * MS);
        assert_int_equal(results(sim), i);
        sim_reverse(sim)->delay_ns = 650 * MS;
        sim_run(sim, begin + config.interval_ns + 50 * MS);
        assert_int_equal(sim_counts(sim).sessions, i + 1);
        assert_clean_in(last_result(sim), mode);
        sim_reverse(sim)->delay_ns = 1 * MS;
    }
    sim_run(sim, 1 * S + config.interval_ns * INTERVALS + 450 * MS);
    assert_int_equal(sim_counts(sim).sessions, INTERVALS + 1);
    assert_int_equal(sim_counts(sim).connections, 1);
    sim_free(sim);
}

static void reflected_octets_come_back_with_those_of_the_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < SECURITY; i++) {
        for (unsigned symmetrical = 0; symmetrical < 2; symmetrical++) {
            const uint32_t mode =
                security[i] | TW_MODE_REFLECT_OCTETS | (symmetrical ? TW_MODE_SYMMETRICAL : 0);
            struct tw_probe_config config = plan_in(mode);
            config.sender.padding_length = 200;
            struct sim *sim = world_with(&config, mode);
            sim_run(sim, after_interval(0));
            assert_clean_in(last_result(sim), mode);
            const unsigned around = mode & 6 ? 64 : 27; /* RFC 6038 section 5.2.1 with errata */
            assert_int_equal(sim_counts(sim).reflect_length, symmetrical ? 199 : 200 - around);
            sim_free(sim);
        }
    }
}

/* Random paths and modes: whatever is lost, doubled and delayed, the counts agree with what the
 * links did. */
static void random_paths_are_counted_right_in_all_modes(void **state)
{
    (void)state;
    enum { RUNS = 256 };
    const uint64_t base = seed_or(20260701);
    for (unsigned run = 0; run < RUNS; run++) {
        const uint32_t mode = security[run % SECURITY] | feature_set(run / SECURITY % FEATURE_SETS);
        struct tw_probe_config config = plan_in(mode);
        config.count = 40;
        config.packet_interval_ns = 20 * MS;
        struct sim *sim = sim_new(&config, base + run);
        sim_server(sim)->config.modes = mode;
        sim_server(sim)->turnaround_ns = 50 * TW_NS_PER_US;
        sim_cut_tcp(sim, run % 7 * 11);
        impair(sim, run);
        sim_run(sim, after_interval(1));
        const struct tw_measurement_counters *counters = &last_result(sim)->counters;
        assert_int_equal(last_result(sim)->mode, mode);
        assert_int_equal(counters->sent, 80);
        assert_int_equal(counters->received + counters->lost, 80);
        assert_int_equal(counters->late, 0);
        assert_int_equal(counters->received + counters->duplicate, arrived(sim));
        assert_int_equal(sim_counts(sim).bad_packets, 0);
        assert_int_equal(last_result(sim)->quirks, 0);
        sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode_with_every_feature_measures_the_same),
        cmocka_unit_test(packets_are_as_long_as_replies),
        cmocka_unit_test(one_way_delays_in_ptp_that_counts_from_utc_are_not_valid),
        cmocka_unit_test(features_that_are_not_offered_are_done_without),
        cmocka_unit_test(wanted_mode_that_is_not_offered_is_a_refusal),
        cmocka_unit_test(exact_statistics_survive_encryption),
        cmocka_unit_test(wrong_secret_shows_as_key_and_its_correction_too),
        cmocka_unit_test(unknown_keyid_shows_as_key),
        cmocka_unit_test(unacceptable_count_shows_as_key_without_any_derivation),
        cmocka_unit_test(silence_at_every_octet_of_an_encrypted_stream_ends_as_silent),
        cmocka_unit_test(close_at_every_octet_of_an_encrypted_stream_is_survived),
        cmocka_unit_test(damage_to_any_octet_of_an_encrypted_stream_shows_as_key),
        cmocka_unit_test(tcp_may_cut_an_encrypted_stream_anywhere),
        cmocka_unit_test(restarted_server_costs_no_interval_in_any_mode),
        cmocka_unit_test(server_that_dies_in_mid_session_loses_the_rest_only),
        cmocka_unit_test(late_reply_to_the_session_before_is_authentic_and_late),
        cmocka_unit_test(every_refusal_of_a_start_n_is_told_and_recovered_from),
        cmocka_unit_test(refused_stop_n_is_no_error_of_the_interval),
        cmocka_unit_test(unanswered_stop_n_costs_no_interval),
        cmocka_unit_test(next_request_waits_for_the_stop_n_ack),
        cmocka_unit_test(reflected_octets_come_back_with_those_of_the_server),
        cmocka_unit_test(random_paths_are_counted_right_in_all_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
