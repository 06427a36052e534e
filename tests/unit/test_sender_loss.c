/* lib/sender.h: which packets a Session-Sender calls lost, and which replies late or duplicates. At
 * the end random sessions are held against the plainest possible model of the same rules. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "sender_rig.h"

static void copies_of_a_reply_are_flagged(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    assert_answered(&s, 0, MS, 0);
    assert_answered(&s, 0, 2 * MS, TW_SAMPLE_DUPLICATE);
    assert_answered(&s, 0, WAIT_NS, TW_SAMPLE_DUPLICATE);
    assert_answered(&s, 0, WAIT_NS + 1, TW_SAMPLE_DUPLICATE | TW_SAMPLE_LATE);
    assert_int_equal(s.sender.unanswered, 0);
    assert_none_lost(&s, INT64_MAX - 1);
}

static void lost_packet_is_reported_once(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    assert_true(tw_mono_is_never(tw_sender_deadline(&s.sender)));
    assert_none_lost(&s, INT64_MAX - 1);
    send_at(&s, 0);
    send_at(&s, 10);
    send_at(&s, 20);
    assert_int_equal(deadline_ns(&s), WAIT_NS);
    assert_none_lost(&s, WAIT_NS - 1);
    assert_lost(&s, 0, WAIT_NS);
    assert_none_lost(&s, WAIT_NS);
    assert_answered(&s, 1, WAIT_NS, 0);
    assert_int_equal(deadline_ns(&s), WAIT_NS + 20);
    assert_none_lost(&s, WAIT_NS + 19);
    assert_lost(&s, 2, WAIT_NS + 100);
    assert_none_lost(&s, INT64_MAX - 1);
    assert_true(tw_mono_is_never(tw_sender_deadline(&s.sender)));
}

static void reply_after_the_loss_was_reported_is_late(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    assert_lost(&s, 0, WAIT_NS);
    /* Even one that came in time: what was said stays said. */
    assert_int_equal(answer_at(&s, 0, WAIT_NS - 1, WAIT_NS + 1), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, TW_SAMPLE_LATE);
    assert_answered(&s, 0, WAIT_NS + 2, TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE);
    assert_none_lost(&s, INT64_MAX - 1);
    assert_int_equal(s.sender.unanswered, 0);
}

static void packet_with_a_late_reply_is_still_reported_lost(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    assert_answered(&s, 0, WAIT_NS + 1, TW_SAMPLE_LATE);
    assert_answered(&s, 0, WAIT_NS + 1, TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE);
    assert_int_equal(s.sender.unanswered, 1);
    assert_lost(&s, 0, WAIT_NS + 1);
    assert_none_lost(&s, INT64_MAX - 1);
    assert_answered(&s, 0, WAIT_NS + 2, TW_SAMPLE_LATE | TW_SAMPLE_DUPLICATE);
}

static void reply_that_came_in_time_but_was_read_late_is_not_late(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    assert_int_equal(answer_at(&s, 0, WAIT_NS, WAIT_NS + 500 * MS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, 0);
    assert_int_equal(s.sample.rtt_total_ns, WAIT_NS);
    assert_none_lost(&s, WAIT_NS + 500 * MS);
}

static void arrival_after_its_reading_counts_from_the_reading(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){0});
    send_at(&s, 0);
    assert_int_equal(answer_at(&s, 0, WAIT_NS + 5, WAIT_NS), TW_SENDER_SAMPLE);
    assert_int_equal(s.sample.flags, 0);
}

static void wait_without_end_never_loses(void **state)
{
    (void)state;
    struct session s;
    open_session(&s, (struct tw_sender_config){.wait_ns = INT64_MAX});
    send_at(&s, 5);
    assert_true(tw_mono_is_never(tw_sender_deadline(&s.sender)));
    assert_none_lost(&s, INT64_MAX - 1);
    assert_answered(&s, 0, 3600 * TW_NS_PER_S, 0);
}

/* What the sender promises, in the plainest form: one record for every packet ever sent. */
struct record {
    int64_t sent_ns;
    bool answered, late, lost;
};

struct model {
    struct record *records; /* of sequence first + i */
    uint32_t first, count;
    uint32_t unanswered;
};

static bool is_settled(const struct record *record)
{
    return record->answered || record->lost;
}

static void model_send(struct model *model, struct session *s, int64_t now)
{
    const bool full = model->count >= SLOTS && !is_settled(&model->records[model->count - SLOTS]);
    if (full) {
        assert_int_equal(tw_sender_prepare(&s->sender, s->packet, ROOM, &s->len), TW_ERR_STATE);
        return;
    }
    send_at(s, now);
    assert_int_equal(tw_get32(s->packet), model->first + model->count);
    model->records[model->count++] = (struct record){.sent_ns = now};
    model->unanswered++;
}

static void model_answer(struct model *model, struct session *s, uint32_t i, int64_t now,
                         int64_t read_ns)
{
    struct record *record = &model->records[i];
    const bool in_time = now <= record->sent_ns + WAIT_NS;
    const bool first = !record->answered && !record->late;
    unsigned flags = first ? 0 : TW_SAMPLE_DUPLICATE;
    if (!in_time || record->lost || record->late)
        flags |= TW_SAMPLE_LATE;
    assert_int_equal(answer_at(s, model->first + i, now, read_ns), TW_SENDER_SAMPLE);
    assert_int_equal(s->sample.flags, flags);
    if (first && flags == 0) {
        record->answered = true;
        model->unanswered--;
    } else if (first) {
        record->late = true;
    }
}

static void model_lose(struct model *model, struct session *s, int64_t now)
{
    for (uint32_t i = 0; i < model->count; i++) {
        struct record *record = &model->records[i];
        if (is_settled(record) || record->sent_ns + WAIT_NS > now)
            continue;
        assert_lost(s, model->first + i, now);
        record->lost = true;
        model->unanswered--;
    }
    assert_none_lost(s, now);
}

static void model_check(const struct model *model, const struct session *s)
{
    assert_int_equal(s->sender.unanswered, model->unanswered);
    for (uint32_t i = 0; i < model->count; i++) {
        if (is_settled(&model->records[i]))
            continue;
        assert_int_equal(deadline_ns(s), model->records[i].sent_ns + WAIT_NS);
        return;
    }
    assert_true(tw_mono_is_never(tw_sender_deadline(&s->sender)));
}

/* Something happens: a packet leaves, or is not taken by the kernel at first; a packet that the
 * sender still remembers is answered, maybe not for the first time; or the lost ones are asked for.
 */
static void model_step(struct model *model, struct session *s, int64_t now, uint64_t *random)
{
    const uint64_t what = next_random(random) % 8;
    if (what < 3 || model->count == 0) {
        model_send(model, s, now);
    } else if (what < 6) {
        const uint32_t remembered = model->count < SLOTS ? model->count : SLOTS;
        const uint32_t i = model->count - 1 - (uint32_t)(next_random(random) % remembered);
        const int64_t came = now - (int64_t)(next_random(random) % (WAIT_NS / 4));
        const int64_t sent = model->records[i].sent_ns;
        model_answer(model, s, i, came > sent ? came : sent, now);
    } else if (what == 6) {
        model_lose(model, s, now);
    } else if (model->count < SLOTS || is_settled(&model->records[model->count - SLOTS])) {
        send_at(s, now);
        tw_sender_unsend(&s->sender);
        /* The packet that had the slot before is forgotten: the next one takes it at once. */
        model_send(model, s, now);
    }
}

static void random_sessions_agree_with_a_plain_model(void **state)
{
    (void)state;
    enum { PACKETS = 400 };
    struct record records[PACKETS];
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint64_t random = seed;
        struct model model = {.records = records, .first = UINT32_MAX - PACKETS / 2};
        struct session s;
        open_session(&s, (struct tw_sender_config){0});
        s.sender.next_sequence = s.sender.next_lost = model.first;
        int64_t now = 0;
        while (model.count < PACKETS) {
            now += (int64_t)(next_random(&random) % (WAIT_NS / 4));
            model_step(&model, &s, now, &random);
            model_check(&model, &s);
        }
        model_lose(&model, &s, INT64_MAX - 1);
        assert_int_equal(s.sender.unanswered, 0);
        assert_int_equal(s.sender.foreign, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_of_a_reply_are_flagged),
        cmocka_unit_test(lost_packet_is_reported_once),
        cmocka_unit_test(reply_after_the_loss_was_reported_is_late),
        cmocka_unit_test(packet_with_a_late_reply_is_still_reported_lost),
        cmocka_unit_test(reply_that_came_in_time_but_was_read_late_is_not_late),
        cmocka_unit_test(arrival_after_its_reading_counts_from_the_reading),
        cmocka_unit_test(wait_without_end_never_loses),
        cmocka_unit_test(random_sessions_agree_with_a_plain_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
