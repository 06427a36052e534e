/* lib/sender.h in authenticated and encrypted mode: which octets leave, and which replies count.
 * Which bits are protected is shown in test_protection.c; packets and replies come from
 * protection_rig.h. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "protection_rig.h"
#include "sender_rig.h"

enum { PADDING = 64 };

struct secured {
    struct session session;
    struct tw_protection protection;
};

static void open_secured(struct secured *s, uint32_t modes)
{
    protect(&s->protection, modes);
    open_session(&s->session, (struct tw_sender_config){
                                  .modes = modes,
                                  .padding_length = PADDING,
                                  .protection = &s->protection,
                                  .tai_utc_s = 37,
                              });
    s->session.wall_ns = VECTOR_WALL_NS;
    s->session.sender.next_sequence = s->session.sender.next_lost = VECTOR_SEQUENCE;
}

/* Sends the packet of the vectors. */
static void send_vector(struct secured *s)
{
    memset(s->session.packet, GUARD, sizeof(s->session.packet));
    send_at(&s->session, 250 * MS);
}

/* The reply of the vectors, with padding that is not looked at; it comes after a second. */
static size_t put_vector(const char *hex, uint8_t *reply)
{
    const size_t n = octets_from_hex(hex, reply, SECURED_REPLY);
    assert_int_equal(n, SECURED_REPLY);
    return n;
}

static void packets_equal_the_independent_vectors(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        const struct {
            uint32_t features;
            const char *packet;
            size_t len;
        } cases[] = {
            {0, v->packet, SECURED_PACKET + PADDING},
            {TW_MODE_PTP, v->packet_ptp, SECURED_PACKET + PADDING},
            {TW_MODE_SYMMETRICAL | TW_MODE_DSCP_ECN, v->packet, SECURED_REPLY + PADDING},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            struct secured s;
            open_secured(&s, v->modes | cases[i].features);
            send_vector(&s);
            uint8_t expected[SECURED_PACKET];
            octets_from_hex(cases[i].packet, expected, sizeof(expected));
            assert_int_equal(s.session.len, cases[i].len);
            assert_memory_equal(s.session.packet, expected, sizeof(expected));
            assert_int_equal(s.session.packet[s.session.len], GUARD);
        }
    }
}

static void packet_prepared_again_is_sealed_once(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        struct secured s;
        open_secured(&s, v->modes);
        for (int i = 0; i < 2; i++)
            assert_int_equal(tw_sender_prepare(&s.session.sender, s.session.packet,
                                               sizeof(s.session.packet), &s.session.len),
                             TW_OK);
        send_vector(&s);
        tw_sender_unsend(&s.session.sender);
        send_vector(&s);
        uint8_t expected[SECURED_PACKET];
        octets_from_hex(v->packet, expected, sizeof(expected));
        assert_memory_equal(s.session.packet, expected, sizeof(expected));
    }
}

static void replies_of_the_independent_vectors_become_samples(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        const struct {
            uint32_t features;
            const char *reply;
            int16_t sender_tos;
        } cases[] = {
            {0, v->reply, -1},
            {TW_MODE_DSCP_ECN, v->reply_dscp_ecn, VECTOR_TOS},
            {TW_MODE_DSCP_ECN | TW_MODE_PTP, v->reply_dscp_ecn_ptp, VECTOR_TOS},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            struct secured s;
            uint8_t reply[SECURED_REPLY];
            open_secured(&s, v->modes | cases[i].features);
            send_vector(&s);
            const size_t n = put_vector(cases[i].reply, reply);
            assert_int_equal(receive_at(&s.session, reply, n, 1000 * MS), TW_SENDER_SAMPLE);
            const struct tw_sample *sample = &s.session.sample;
            assert_int_equal(sample->sequence, VECTOR_SEQUENCE);
            assert_int_equal(sample->reflector_sequence, VECTOR_REFLECTOR_SEQUENCE);
            assert_int_equal(sample->forward_ns, 250 * MS);
            assert_int_equal(sample->processing_ns, 250 * MS);
            assert_int_equal(sample->reverse_ns, 250 * MS);
            assert_int_equal(sample->rtt_ns, 500 * MS);
            assert_int_equal(sample->sender_ttl, VECTOR_TTL);
            assert_int_equal(sample->sender_tos, cases[i].sender_tos);
            assert_int_equal(sample->flags, 0);
            assert_int_equal(s.session.sender.quirks, 0);
            assert_int_equal(s.session.sender.unanswered, 0);
            /* There is no protection against replays: a copy is a copy. */
            assert_int_equal(receive_at(&s.session, reply, n, 1001 * MS), TW_SENDER_SAMPLE);
            assert_int_equal(sample->flags, TW_SAMPLE_DUPLICATE);
        }
    }
}

static void reply_shorter_than_its_header_is_counted(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        struct secured s;
        uint8_t reply[SECURED_REPLY];
        open_secured(&s, v->modes);
        send_vector(&s);
        put_vector(v->reply, reply);
        for (size_t n = 0; n < SECURED_REPLY; n++)
            assert_int_equal(receive_at(&s.session, reply, n, MS), TW_SENDER_BAD_LENGTH);
        assert_int_equal(s.session.sender.bad_length, SECURED_REPLY);
        assert_int_equal(s.session.sender.unanswered, 1);
    }
}

/* The walk over all octets. Of what authenticated mode leaves clear, the copies of our number (48)
 * and of T1 (64) tell whose reply it is. */
static void altered_reply_never_counts_where_it_is_protected(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        uint64_t bad_hmac = 0;
        for (size_t at = 0; at < SECURED_REPLY; at++) {
            struct secured s;
            uint8_t reply[SECURED_REPLY];
            open_secured(&s, v->modes);
            send_vector(&s);
            put_vector(v->reply, reply);
            reply[at] ^= 0x80;
            const bool covered = v->modes == TW_MODE_ENCRYPTED || at < 16 || at >= 96;
            const bool names_packet = (at >= 48 && at < 52) || (at >= 64 && at < 72);
            const enum tw_sender_verdict verdict =
                receive_at(&s.session, reply, SECURED_REPLY, 1000 * MS);
            assert_int_equal(verdict, covered        ? TW_SENDER_BAD_HMAC
                                      : names_packet ? TW_SENDER_FOREIGN
                                                     : TW_SENDER_SAMPLE);
            assert_int_equal(s.session.sender.bad_hmac, covered);
            assert_int_equal(s.session.sender.foreign, !covered && names_packet);
            assert_int_equal(s.session.sender.unanswered, verdict != TW_SENDER_SAMPLE);
            if (verdict == TW_SENDER_SAMPLE)
                continue;
            bad_hmac += covered;
            reply[at] ^= 0x80;
            assert_int_equal(receive_at(&s.session, reply, SECURED_REPLY, 1000 * MS),
                             TW_SENDER_SAMPLE);
            assert_int_equal(s.session.sample.flags, 0);
        }
        assert_int_equal(bad_hmac, v->modes == TW_MODE_ENCRYPTED ? 112 : 32);
    }
}

static void reply_in_the_clear_is_not_authentic(void **state)
{
    (void)state;
    for (const struct vectors *v = all_vectors; v < all_vectors_end; v++) {
        struct secured s;
        uint8_t reply[SECURED_REPLY] = {0};
        open_secured(&s, v->modes);
        send_vector(&s);
        tw_put32(reply + 48, VECTOR_SEQUENCE);
        tw_put64(reply + 64, UINT64_C(0xe9a1b2c440000000));
        assert_int_equal(receive_at(&s.session, reply, SECURED_REPLY, MS), TW_SENDER_BAD_HMAC);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_equal_the_independent_vectors),
        cmocka_unit_test(packet_prepared_again_is_sealed_once),
        cmocka_unit_test(replies_of_the_independent_vectors_become_samples),
        cmocka_unit_test(reply_shorter_than_its_header_is_counted),
        cmocka_unit_test(altered_reply_never_counts_where_it_is_protected),
        cmocka_unit_test(reply_in_the_clear_is_not_authentic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
