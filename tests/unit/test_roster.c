/* The sessions of one connection by their SID: which may be started and stopped when (RFC 5938,
 * conformance E-22), with a real test plane behind. */
#include "sessions_rig.h"

#include <stdatomic.h>

#include "reflector/roster.h"

enum { EXPIRED_KEPT = 256 };

static const uint8_t nobody[TW_SID_SIZE] = {1, 2, 3};

/* A roster with `count` accepted sessions; their sender ports begin at `port`. */
static void fill(struct fixture *fixture, struct twd_roster *roster, unsigned count, uint16_t port,
                 struct twd_session **sessions)
{
    const unsigned ready = fixture->ready;
    for (unsigned i = 0; i < count; i++) {
        sessions[i] = ask(fixture, (uint16_t)(port + i));
        assert_non_null(sessions[i]);
        twd_roster_add(roster, sessions[i]);
    }
    wait_for(&fixture->ready, ready + count);
}

static void sessions_start_and_stop_one_by_one(void **state)
{
    struct fixture *fixture = *state;
    struct twd_roster roster;
    struct twd_session *sessions[3];
    twd_roster_init(&roster, fixture->sessions);
    fill(fixture, &roster, 3, 1000, sessions);
    uint8_t first[TW_SID_SIZE];
    memcpy(first, sessions[0]->sid, sizeof(first));

    assert_int_equal(twd_roster_start(&roster, nobody), TW_ACCEPT_UNSUPPORTED);
    assert_int_equal(twd_roster_stop(&roster, nobody), TW_ACCEPT_UNSUPPORTED);
    assert_int_equal(twd_roster_stop(&roster, first), TW_ACCEPT_UNSUPPORTED); /* not started */
    assert_int_equal(roster.starting, 0);

    assert_int_equal(twd_roster_start(&roster, first), TW_ACCEPT_OK);
    assert_int_equal(twd_roster_start(&roster, sessions[2]->sid), TW_ACCEPT_OK);
    assert_int_equal(twd_roster_start(&roster, first), TW_ACCEPT_UNSUPPORTED); /* already */
    assert_int_equal(roster.starting, 2);
    wait_for(&fixture->started, 2);
    assert_false(twd_roster_started(&roster)); /* what the rig's call stands for */
    assert_true(twd_roster_started(&roster));
    assert_int_equal(roster.running, 2);
    assert_int_equal(twd_roster_start(&roster, first), TW_ACCEPT_UNSUPPORTED);

    assert_int_equal(twd_roster_stop(&roster, first), TW_ACCEPT_OK);
    assert_int_equal(roster.running, 1);
    assert_int_equal(twd_roster_stop(&roster, first), TW_ACCEPT_UNSUPPORTED);
    assert_int_equal(twd_roster_start(&roster, first), TW_ACCEPT_UNSUPPORTED);
    const struct twd_sessions_counts counts = twd_sessions_count(fixture->sessions);
    assert_int_equal(counts.active, 2);
    assert_int_equal(counts.lingering, 1);

    twd_roster_part(&roster, TWD_PARTING_END);
    assert_int_equal(roster.running, 0);
    twd_roster_free(&roster);
}

static void all_that_are_accepted_start_together(void **state)
{
    struct fixture *fixture = *state;
    struct twd_roster roster;
    struct twd_session *sessions[3];
    twd_roster_init(&roster, fixture->sessions);
    fill(fixture, &roster, 1, 1000, sessions);
    twd_roster_start_all(&roster);
    wait_for(&fixture->started, 1);
    assert_true(twd_roster_started(&roster));
    fill(fixture, &roster, 2, 2000, sessions + 1);
    twd_roster_start_all(&roster);
    assert_int_equal(roster.starting, 2); /* the first one runs already */
    wait_for(&fixture->started, 3);
    assert_false(twd_roster_started(&roster));
    assert_true(twd_roster_started(&roster));
    twd_roster_part(&roster, TWD_PARTING_STOP);
    assert_int_equal(twd_sessions_count(fixture->sessions).lingering, 3);
    twd_roster_free(&roster);
}

static void a_roster_was_heard_when_the_last_of_its_sessions_was(void **state)
{
    struct fixture *fixture = *state;
    struct twd_roster roster;
    struct twd_session *sessions[3];
    const tw_mono begun = tw_clock_mono();
    twd_roster_init(&roster, fixture->sessions);
    assert_true(twd_roster_heard(&roster).ns < begun.ns - 1000 * TW_NS_PER_S); /* none */
    fill(fixture, &roster, 3, 1000, sessions);
    const int64_t made = twd_roster_heard(&roster).ns;
    assert_true(made >= begun.ns && made <= tw_clock_mono().ns);
    for (unsigned last = 0; last < 3; last++) {
        for (unsigned i = 0; i < 3; i++)
            atomic_store(&sessions[i]->flow.heard_ns, begun.ns + (i == last ? 2 : 1));
        assert_int_equal(twd_roster_heard(&roster).ns, begun.ns + 2);
    }
    twd_roster_part(&roster, TWD_PARTING_END);
    assert_true(twd_roster_heard(&roster).ns < begun.ns - 1000 * TW_NS_PER_S);
    twd_roster_free(&roster);
}

static void what_refwait_ended_can_be_stopped_once(void **state)
{
    struct fixture *fixture = *state;
    fixture->config->session_timeout_ns = 5 * TW_NS_PER_MS;
    struct twd_roster roster;
    struct twd_session *session;
    twd_roster_init(&roster, fixture->sessions);
    uint8_t sids[EXPIRED_KEPT + 1][TW_SID_SIZE];
    for (unsigned i = 0; i <= EXPIRED_KEPT; i++) {
        fill(fixture, &roster, 1, (uint16_t)(1000 + i), &session);
        memcpy(sids[i], session->sid, TW_SID_SIZE);
        assert_int_equal(twd_roster_start(&roster, session->sid), TW_ACCEPT_OK);
        wait_for(&fixture->started, i + 1);
        assert_true(twd_roster_started(&roster));
        twd_roster_ended(&roster, session); /* as the rig's call, which comes now, stands for */
        wait_for(&fixture->ended, i + 1);
        assert_int_equal(roster.running, 0);
    }
    assert_int_equal(twd_roster_start(&roster, sids[1]), TW_ACCEPT_UNSUPPORTED);
    assert_int_equal(twd_roster_stop(&roster, sids[EXPIRED_KEPT]), TW_ACCEPT_OK);
    assert_int_equal(twd_roster_stop(&roster, sids[EXPIRED_KEPT]), TW_ACCEPT_UNSUPPORTED);
    assert_int_equal(twd_roster_stop(&roster, sids[1]), TW_ACCEPT_OK);
    assert_int_equal(twd_roster_stop(&roster, sids[0]), TW_ACCEPT_UNSUPPORTED); /* the oldest */
    twd_roster_part(&roster, TWD_PARTING_STOP);
    assert_int_equal(twd_roster_stop(&roster, sids[2]), TW_ACCEPT_UNSUPPORTED);
    twd_roster_free(&roster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sessions_start_and_stop_one_by_one, make, destroy),
        cmocka_unit_test_setup_teardown(all_that_are_accepted_start_together, make, destroy),
        cmocka_unit_test_setup_teardown(a_roster_was_heard_when_the_last_of_its_sessions_was, make,
                                        destroy),
        cmocka_unit_test_setup_teardown(what_refwait_ended_can_be_stopped_once, make, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
