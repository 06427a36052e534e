/* The Server machine with Individual Session Control (RFC 5938): which sessions start and stop, how
 * that is acknowledged, and what time it is. */
#include "server_rig.h"

enum { INDIVIDUAL = TW_MODE_UNAUTHENTICATED | TW_MODE_SESSION_CONTROL };

/* Set up, with sessions accepted but not started. */
static void individual_rig(struct rig *rig, unsigned sessions)
{
    struct stream in = {.n = 0};
    rig_prepare(rig);
    rig->config.modes = ALL_MODES;
    rig_set_up_mode(rig, INDIVIDUAL);
    for (unsigned i = 0; i < sessions; i++) {
        in.n = 0;
        add_request(&in);
        deliver_all(rig, &in);
    }
    assert_int_equal(rig->server.accepted, sessions);
    forget(rig);
}

/* Start-N-Sessions (7) or Stop-N-Sessions (9) for these sessions, counted from 0; others than the
 * rig's are unknown to it. */
static uint8_t *add_sids(struct stream *in, unsigned number, const unsigned *sessions, size_t n)
{
    uint8_t *command = stream_add(in, 32 + 16 * n);
    command[0] = (uint8_t)number;
    tw_put32(command + 12, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        fill_sid(command + 16 + 16 * i, (uint16_t)(RIG_FIRST_PORT + sessions[i]));
    return command;
}

#define SIDS(...)                                                                                  \
    (const unsigned[]){__VA_ARGS__}, sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned)

static void send_sids(struct rig *rig, unsigned number, const unsigned *sessions, size_t n)
{
    struct stream in = {.n = 0};
    add_sids(&in, number, sessions, n);
    forget(rig);
    deliver_all(rig, &in);
}

/* The next acknowledgment in the output, octet for octet; returns where it ends. */
static size_t assert_ack(const struct rig *rig, size_t at, unsigned number, unsigned accept,
                         const unsigned *sessions, size_t n)
{
    struct stream expected = {.n = 0};
    add_sids(&expected, number, sessions, n)[1] = (uint8_t)accept;
    assert_true(at + expected.n <= rig->out.n);
    assert_memory_equal(rig->out.octets + at, expected.octets, expected.n);
    return at + expected.n;
}

static void assert_only_ack(const struct rig *rig, unsigned number, unsigned accept,
                            const unsigned *sessions, size_t n)
{
    assert_int_equal(assert_ack(rig, 0, number, accept, sessions, n), rig->out.n);
}

static void assert_asked(const struct rig *rig, enum tw_server_event_type type,
                         const unsigned *sessions, size_t n)
{
    struct stream expected = {.n = 0};
    add_sids(&expected, 7, sessions, n);
    assert_int_equal(rig->events[0].type, type);
    assert_int_equal(rig->events[0].sids.count, n);
    assert_int_equal(rig->sids.n, 16 * n);
    assert_memory_equal(rig->sids.octets, expected.octets + 16, 16 * n);
}

static void sessions_start_and_stop_by_name(void **state)
{
    (void)state;
    struct rig rig;
    individual_rig(&rig, 4);
    send_sids(&rig, 7, SIDS(2, 0));
    assert_int_equal(rig.event_count, 1);
    assert_asked(&rig, TW_SERVER_START_N, SIDS(2, 0));
    assert_only_ack(&rig, 8, 0, SIDS(2, 0));
    assert_int_equal(rig.server.accepted, 2);
    assert_int_equal(rig.server.started, 2);
    assert_true(rig.server.running);

    send_sids(&rig, 9, SIDS(0));
    assert_int_equal(rig.event_count, 1);
    assert_asked(&rig, TW_SERVER_STOP_N, SIDS(0));
    assert_only_ack(&rig, 10, 0, SIDS(0));
    assert_int_equal(rig.server.started, 1);

    send_sids(&rig, 7, SIDS(3, 1));
    assert_only_ack(&rig, 8, 0, SIDS(3, 1));
    send_sids(&rig, 9, SIDS(1, 2, 3));
    assert_only_ack(&rig, 10, 0, SIDS(1, 2, 3));
    assert_int_equal(rig.server.started, 0);
    assert_int_equal(rig.server.accepted, 0);
    assert_false(rig.server.running);
    assert_int_equal(rig.server.state, TW_SERVER_STATE_IDLE);
    assert_still_serves(&rig);
}

static void assert_sid_rejected(const struct rig *rig, unsigned command)
{
    assert_int_equal(rig->event_count, 2);
    assert_int_equal(rig->events[1].type, TW_SERVER_REJECT);
    assert_int_equal(rig->events[1].reject.reason, TW_SERVER_REJECT_SID);
    assert_int_equal(rig->events[1].reject.command, command);
    assert_int_equal(rig->events[1].reject.accept, 3);
}

/* Unknown, running already, stopped already: each is refused alone (conformance E-22). */
static void sids_in_a_wrong_state_are_refused_and_the_others_served(void **state)
{
    (void)state;
    struct rig rig;
    individual_rig(&rig, 3);
    send_sids(&rig, 7, SIDS(9, 1, 77, 0));
    assert_sid_rejected(&rig, 7);
    size_t at = assert_ack(&rig, 0, 8, 0, SIDS(1, 0));
    at = assert_ack(&rig, at, 8, 3, SIDS(9, 77));
    assert_int_equal(at, rig.out.n);

    send_sids(&rig, 7, SIDS(0, 2));
    assert_sid_rejected(&rig, 7);
    at = assert_ack(&rig, 0, 8, 0, SIDS(2));
    assert_int_equal(assert_ack(&rig, at, 8, 3, SIDS(0)), rig.out.n);
    assert_int_equal(rig.server.started, 3);

    send_sids(&rig, 9, SIDS(1));
    send_sids(&rig, 9, SIDS(1, 55));
    assert_sid_rejected(&rig, 9);
    assert_only_ack(&rig, 10, 3, SIDS(1, 55));
    send_sids(&rig, 7, SIDS(1)); /* a stopped session does not start again */
    assert_only_ack(&rig, 8, 3, SIDS(1));
    assert_int_equal(rig.server.started, 2);
    assert_int_equal(rig.server.accepted, 0);
    assert_int_equal(rig.server.state, TW_SERVER_STATE_TESTING);
}

static void sid_named_twice_is_asked_about_and_acknowledged_once(void **state)
{
    (void)state;
    struct rig rig;
    individual_rig(&rig, 3);
    send_sids(&rig, 7, SIDS(1, 1, 0, 1, 9, 0, 9, 2, 2));
    assert_asked(&rig, TW_SERVER_START_N, SIDS(1, 0, 9, 2));
    const size_t at = assert_ack(&rig, 0, 8, 0, SIDS(1, 0, 2));
    assert_int_equal(assert_ack(&rig, at, 8, 3, SIDS(9)), rig.out.n);
    send_sids(&rig, 9, SIDS(0, 0));
    assert_only_ack(&rig, 10, 0, SIDS(0));
    assert_int_equal(rig.server.started, 2);
}

static void acknowledgments_are_grouped_by_accept(void **state)
{
    (void)state;
    static const uint8_t accepts[] = {5, 0, 3, 5, 1, 2, 4, 0, 3};
    struct rig rig;
    struct stream in = {.n = 0};
    individual_rig(&rig, 9);
    rig.silent = true;
    add_sids(&in, 7, SIDS(0, 1, 2, 3, 4, 5, 6, 7, 8));
    deliver_all(&rig, &in);
    assert_int_equal(room_of(&rig), 0);
    assert_true(tw_mono_is_never(tw_server_deadline(&rig.server)));
    assert_int_equal(tw_server_answer_sids(&rig.server, accepts, rig.now), TW_OK);
    assert_int_equal(tw_server_answer_sids(&rig.server, accepts, rig.now), TW_ERR_STATE);
    settle(&rig);
    size_t at = assert_ack(&rig, 0, 8, 0, SIDS(1, 7));
    at = assert_ack(&rig, at, 8, 1, SIDS(4));
    at = assert_ack(&rig, at, 8, 2, SIDS(5));
    at = assert_ack(&rig, at, 8, 3, SIDS(2, 8));
    at = assert_ack(&rig, at, 8, 4, SIDS(6));
    at = assert_ack(&rig, at, 8, 5, SIDS(0, 3));
    assert_int_equal(at, rig.out.n);
    assert_int_equal(rig.event_count, 2); /* one REJECT for them all */
    assert_int_equal(rig.events[1].reject.accept, 1);
    assert_int_equal(rig.server.started, 2);
    assert_int_equal(rig.server.accepted, 7);
}

/* The longest command, whose SIDs get every Accept value there is, is still answered whole. */
static void longest_answer_fits(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    unsigned sessions[128];
    uint8_t accepts[128];
    bool seen[128] = {false};
    for (unsigned i = 0; i < 128; i++) {
        sessions[i] = i;
        accepts[i] = (uint8_t)(i % 6);
    }
    individual_rig(&rig, 128);
    rig.silent = true;
    add_sids(&in, 7, sessions, 128);
    deliver_all(&rig, &in);
    assert_int_equal(tw_server_answer_sids(&rig.server, accepts, rig.now), TW_OK);
    settle(&rig);
    assert_int_equal(rig.out.n, 6 * 32 + 128 * 16);
    for (size_t at = 0; at < rig.out.n;) {
        const uint8_t *ack = rig.out.octets + at;
        const uint32_t n = tw_get32(ack + 12);
        assert_int_equal(ack[0], 8);
        assert_zero(ack + 2, 10);
        for (uint32_t i = 0; i < n; i++) {
            const unsigned session = tw_get16(ack + 16 + 16 * (size_t)i) - RIG_FIRST_PORT;
            assert_true(session < 128 && !seen[session]);
            assert_int_equal(accepts[session], ack[1]);
            seen[session] = true;
        }
        at += 32 + 16 * (size_t)n;
        assert_zero(rig.out.octets + at - 16, 16);
    }
}

static void numbers_of_sids_out_of_bounds_close(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 129, 130, 65536, UINT32_C(0x10000001), UINT32_MAX};
    for (unsigned number = 7; number <= 9; number += 2) {
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
            struct rig rig;
            struct stream in = {.n = 0};
            individual_rig(&rig, 1);
            uint8_t *command = stream_add(&in, 16);
            command[0] = (uint8_t)number;
            tw_put32(command + 12, counts[i]);
            deliver_all(&rig, &in);
            assert_only_closed(&rig, TW_SERVER_CLOSE_UNKNOWN_COMMAND);
            assert_int_equal(rig.out.n, 0);
        }
    }
}

static void pipelined_starts_are_acknowledged_each(void **state)
{
    (void)state;
    static const size_t chunks[] = {1, 7, 16, 47, SIZE_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
        struct rig rig;
        struct stream in = {.n = 0};
        individual_rig(&rig, 6);
        for (unsigned session = 0; session < 5; session++)
            add_sids(&in, 7, SIDS(4 - session));
        add_sids(&in, 9, SIDS(3, 5));
        assert_int_equal(deliver(&rig, in.octets, in.n, chunks[i]), in.n);
        size_t at = 0;
        for (unsigned session = 0; session < 5; session++)
            at = assert_ack(&rig, at, 8, 0, SIDS(4 - session));
        at = assert_ack(&rig, at, 10, 0, SIDS(3));
        assert_int_equal(assert_ack(&rig, at, 10, 3, SIDS(5)), rig.out.n);
        assert_int_equal(rig.server.started, 4);
        assert_int_equal(rig.server.accepted, 1);
    }
}

static void sessions_may_be_asked_for_while_others_run(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    individual_rig(&rig, 1);
    send_sids(&rig, 7, SIDS(0));
    assert_still_serves(&rig);
    assert_int_equal(rig.server.state, TW_SERVER_STATE_TESTING);
    forget(&rig);
    uint8_t *request = add_request(&in);
    request[2] = 1;
    deliver_all(&rig, &in);
    assert_rejected(&rig, TW_SERVER_REJECT_ROLE, 5);
    send_sids(&rig, 7, SIDS(1));
    assert_only_ack(&rig, 8, 0, SIDS(1));
    assert_int_equal(rig.server.started, 2);
}

/* RFC 5938 section 3.1, conformance E-21. */
static void commands_for_all_sessions_are_refused_and_the_connection_kept(void **state)
{
    (void)state;
    struct rig rig;
    individual_rig(&rig, 2);
    for (unsigned running = 0; running < 2; running++) {
        for (unsigned number = 2; number <= 3; number++) {
            struct stream in = {.n = 0};
            forget(&rig);
            add_command(&in, number);
            deliver_all(&rig, &in);
            assert_rejected(&rig, TW_SERVER_REJECT_COMMAND, number);
            assert_int_equal(rig.event_count, 1);
            assert_int_equal(rig.server.started, running);
            assert_int_equal(rig.server.accepted, 2 - running);
        }
        send_sids(&rig, 7, SIDS(running));
        assert_only_ack(&rig, 8, 0, SIDS(running));
    }
}

static void assert_servwait(const struct rig *rig, bool runs)
{
    const tw_mono deadline = tw_server_deadline(&rig->server);
    if (runs)
        assert_int_equal(deadline.ns, rig->now.ns + SERVWAIT);
    else
        assert_true(tw_mono_is_never(deadline));
}

static void servwait_rests_while_any_session_runs(void **state)
{
    (void)state;
    struct rig rig;
    individual_rig(&rig, 3);
    assert_servwait(&rig, true);
    send_sids(&rig, 7, SIDS(9)); /* nothing started */
    assert_servwait(&rig, true);
    static const struct {
        unsigned number, session;
        bool runs;
    } steps[] = {{7, 0, false}, {7, 1, false}, {9, 0, false}, {7, 2, false},
                 {9, 0, false}, {9, 2, false}, {9, 1, true},  {7, 1, true}};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        rig.now.ns += 2 * SERVWAIT;
        if (i > 0 && !steps[i - 1].runs)
            tw_server_expire(&rig.server, rig.now); /* which is not due */
        send_sids(&rig, steps[i].number, SIDS(steps[i].session));
        assert_servwait(&rig, steps[i].runs);
    }
}

static void servwait_runs_when_refwait_has_ended_what_was_left(void **state)
{
    (void)state;
    struct rig rig;
    individual_rig(&rig, 3);
    send_sids(&rig, 7, SIDS(0, 1));
    rig.sessions[0] = RIG_STOPPED; /* by REFWAIT; the other goes on */
    rig.now.ns += 2 * SERVWAIT;
    send_sids(&rig, 9, SIDS(0, 1));
    const size_t at = assert_ack(&rig, 0, 10, 0, SIDS(1));
    assert_int_equal(assert_ack(&rig, at, 10, 3, SIDS(0)), rig.out.n);
    tw_server_sessions_ended(&rig.server, rig.now); /* the driver knows that none is left */
    assert_servwait(&rig, true);
    send_sids(&rig, 7, SIDS(2));
    assert_servwait(&rig, false);
    tw_server_sessions_ended(&rig.server, rig.now);
    assert_servwait(&rig, true);
}

/* Whatever one message may be answered with has room before the message is read. */
static void client_that_reads_nothing_is_read_from_once(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    individual_rig(&rig, 2);
    rig.deaf = true;
    add_sids(&in, 7, SIDS(0));
    add_sids(&in, 7, SIDS(1));
    assert_int_equal(deliver(&rig, in.octets, in.n, SIZE_MAX), 48);
    assert_int_equal(room_of(&rig), 0);
    for (size_t i = 0; i < 48; i++) {
        assert_int_equal(room_of(&rig), 0);
        tw_server_sent(&rig.server, 1, rig.now);
    }
    assert_int_equal(room_of(&rig), 16);
    rig.deaf = false;
    assert_int_equal(deliver(&rig, in.octets + 48, 48, SIZE_MAX), 48);
    assert_int_equal(rig.server.started, 2);
}

static void no_part_of_a_command_with_sids_is_acted_upon(void **state)
{
    (void)state;
    struct rig rig;
    struct stream in = {.n = 0};
    individual_rig(&rig, 2);
    add_sids(&in, 7, SIDS(0, 1));
    for (size_t n = 1; n < in.n; n++) {
        struct rig copy = rig;
        rig_moved(&copy);
        assert_int_equal(deliver(&copy, in.octets, n, SIZE_MAX), n);
        assert_int_equal(copy.event_count + copy.out.n, 0);
        copy.now.ns += STALL;
        tw_server_expire(&copy.server, copy.now);
        settle(&copy);
        assert_only_closed(&copy, TW_SERVER_CLOSE_STALLED);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* What one random command must be acknowledged with, session by session. */
static void assert_random_acks(const struct rig *rig, unsigned number, const unsigned *expected)
{
    unsigned seen[32] = {0};
    for (size_t at = 0; at < rig->out.n;) {
        const uint8_t *ack = rig->out.octets + at;
        const uint32_t n = tw_get32(ack + 12);
        assert_int_equal(ack[0], number + 1);
        for (uint32_t i = 0; i < n; i++) {
            const unsigned session = tw_get16(ack + 16 + 16 * (size_t)i) - RIG_FIRST_PORT;
            assert_true(session < 32);
            assert_int_equal(seen[session]++, 0);
            assert_int_equal(expected[session], ack[1] + 1u);
        }
        at += 32 + 16 * (size_t)n;
    }
    for (unsigned session = 0; session < 32; session++)
        assert_int_equal(seen[session], expected[session] != 0);
}

/* Random sessions, some of them nobody's or named twice, started and stopped in any order. */
static void random_commands_are_acknowledged_by_the_states_of_their_sessions(void **state)
{
    (void)state;
    uint64_t random = 5938;
    print_message("# seed %llu\n", (unsigned long long)random);
    for (unsigned connection = 0; connection < 200; connection++) {
        enum rig_session model[32] = {RIG_NONE};
        struct rig rig;
        individual_rig(&rig, 24);
        for (unsigned i = 0; i < 24; i++)
            model[i] = RIG_ACCEPTED;
        unsigned started = 0;
        for (unsigned step = 0; step < 40; step++) {
            struct stream in = {.n = 0};
            const unsigned number = next_random(&random) % 2 == 0 ? 7 : 9;
            const enum rig_session before = number == 7 ? RIG_ACCEPTED : RIG_STARTED;
            const size_t n = 1 + next_random(&random) % 6;
            unsigned sessions[6];
            unsigned expected[32] = {0}; /* Accept + 1 */
            for (size_t i = 0; i < n; i++) {
                const unsigned session = (unsigned)(next_random(&random) % 32);
                sessions[i] = session;
                if (expected[session] != 0)
                    continue;
                const bool good = model[session] == before;
                expected[session] = good ? 1 : 4;
                if (good) {
                    model[session] = number == 7 ? RIG_STARTED : RIG_STOPPED;
                    started = number == 7 ? started + 1 : started - 1;
                }
            }
            forget(&rig);
            add_sids(&in, number, sessions, n);
            assert_int_equal(deliver(&rig, in.octets, in.n, 1 + next_random(&random) % 64), in.n);
            assert_random_acks(&rig, number, expected);
            assert_int_equal(rig.server.started, started);
            assert_int_equal(rig.server.running, started > 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_start_and_stop_by_name),
        cmocka_unit_test(sids_in_a_wrong_state_are_refused_and_the_others_served),
        cmocka_unit_test(sid_named_twice_is_asked_about_and_acknowledged_once),
        cmocka_unit_test(acknowledgments_are_grouped_by_accept),
        cmocka_unit_test(longest_answer_fits),
        cmocka_unit_test(numbers_of_sids_out_of_bounds_close),
        cmocka_unit_test(pipelined_starts_are_acknowledged_each),
        cmocka_unit_test(sessions_may_be_asked_for_while_others_run),
        cmocka_unit_test(commands_for_all_sessions_are_refused_and_the_connection_kept),
        cmocka_unit_test(servwait_rests_while_any_session_runs),
        cmocka_unit_test(servwait_runs_when_refwait_has_ended_what_was_left),
        cmocka_unit_test(client_that_reads_nothing_is_read_from_once),
        cmocka_unit_test(no_part_of_a_command_with_sids_is_acted_upon),
        cmocka_unit_test(random_commands_are_acknowledged_by_the_states_of_their_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
