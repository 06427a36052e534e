/* collectd-plugin/news.h: what is said of a target, once and in words. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "collectd-plugin/news.h"
#include "lib/time.h"

static struct tw_settings settings;
static struct tw_target target;

static int set_up(void **state)
{
    (void)state;
    tw_settings_init(&settings);
    strcpy(settings.host, "ams1.example.net");
    target = (struct tw_target){.settings = &settings, .instance = "fra-ams"};
    return 0;
}

static struct tw_measurement result(enum tw_measurement_state state, int64_t begun_s)
{
    struct tw_measurement m = {
        .state = state,
        .session = state == TW_MEASUREMENT_OK,
        .begun = {begun_s * TW_NS_PER_S},
        .remote = {.octets = {192, 0, 2, 1}, .port = 863, .family = 4},
        .local = {.octets = {192, 0, 2, 9}, .port = 20001, .family = 4},
    };
    m.summary.sent = state == TW_MEASUREMENT_OK ? 10 : 0;
    m.summary.received = m.summary.sent;
    return m;
}

/* What is said when the first result is `m`. */
static void first_is(const struct tw_measurement *m, enum tw_news_kind kind, const char *text)
{
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT] = "";
    assert_int_equal(tw_news_state(&news, &target, m, said), kind);
    assert_string_equal(said, text);
}

static void the_first_good_result_names_both_addresses(void **state)
{
    (void)state;
    const struct tw_measurement m = result(TW_MEASUREMENT_OK, 0);
    first_is(&m, TW_NEWS_FIRST,
             "target \"fra-ams\" is ok: replies from 192.0.2.1:863 to 192.0.2.9:20001");
}

static void a_failure_says_what_failed(void **state)
{
    (void)state;
    struct tw_measurement m = result(TW_MEASUREMENT_UNREACHABLE, 0);
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: no control connection to \"ams1.example.net\" TCP "
             "port 862 in time");
    m.trouble.error = ECONNREFUSED;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: cannot connect to \"ams1.example.net\" TCP port "
             "862: Connection refused");

    m = result(TW_MEASUREMENT_REFUSED, 0);
    m.trouble.valid = true;
    m.trouble.failure = TW_CLIENT_REFUSED;
    m.trouble.step = TW_CLIENT_STEP_REQUEST;
    m.trouble.accept = 5;
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT];
    assert_int_equal(tw_news_state(&news, &target, &m, said), TW_NEWS_FAILURE);
    assert_non_null(strstr(said, "is refused: the server refused at step request: Accept 5, "));
    m.trouble.failure = TW_CLIENT_MODES_ZERO;
    m.trouble.step = TW_CLIENT_STEP_GREETING;
    first_is(
        &m, TW_NEWS_FAILURE,
        "target \"fra-ams\" is refused: the server refuses service (Modes 0) at step greeting");

    m = result(TW_MEASUREMENT_SILENT, 0);
    m.trouble.valid = true;
    m.trouble.failure = TW_CLIENT_TIMED_OUT;
    m.trouble.step = TW_CLIENT_STEP_START;
    first_is(&m, TW_NEWS_FAILURE, "target \"fra-ams\" is silent: no answer in time at step start");
    m.trouble.valid = false;
    m.session = true;
    m.summary.sent = 10;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is silent: no reply to 10 test packets to 192.0.2.1:863");
    m = result(TW_MEASUREMENT_UNREACHABLE, 0);
    m.session = true;
    m.trouble.error = EPERM;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: no test packet could be sent to 192.0.2.1:863: "
             "Operation not permitted");

    m = result(TW_MEASUREMENT_NAME, 0);
    m.trouble.error = EAI_NONAME;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unresolved: cannot resolve \"ams1.example.net\": Name or "
             "service not "
             "known");
    m.trouble.error = 0;
    first_is(
        &m, TW_NEWS_FAILURE,
        "target \"fra-ams\" is unresolved: cannot resolve \"ams1.example.net\": no answer in time");
}

/* Something is there: other steps help than where nothing comes back. */
static void replies_that_cannot_be_used_are_no_silence(void **state)
{
    (void)state;
    static const struct {
        uint32_t mode;
        struct tw_measurement_rejected rejected;
        const char *said;
    } rows[] = {
        {TW_MODE_ENCRYPTED,
         {.not_authentic = 12, .foreign = 1, .too_short = 1},
         "14 replies to 10 test packets came from 192.0.2.1:863 but none could be used: HMAC does "
         "not verify - the reflector makes other keys, or packets are changed on the way; Mode "
         "\"mixed\" does without"},
        {TW_MODE_UNAUTHENTICATED,
         {.foreign = 1},
         "1 reply to 10 test packets came from 192.0.2.1:863 but none could be used: they do not "
         "repeat number and timestamp of our packets - is a TWAMP reflector at that port?"},
        {TW_MODE_UNAUTHENTICATED,
         {.too_short = 2, .foreign = 1},
         "3 replies to 10 test packets came from 192.0.2.1:863 but none could be used: they have "
         "less than 38 octets - is a TWAMP reflector at that port, or does it want more Padding?"},
        {TW_MODE_AUTHENTICATED,
         {.too_short = 2},
         "2 replies to 10 test packets came from 192.0.2.1:863 but none could be used: they have "
         "less than 112 octets - is a TWAMP reflector at that port, or does it want more "
         "Padding?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tw_measurement m = result(TW_MEASUREMENT_SILENT, 0);
        m.session = true;
        m.summary.sent = 10;
        m.rejected = rows[i].rejected;
        settings.mode = rows[i].mode;
        char said[TW_NEWS_TEXT];
        snprintf(said, sizeof said, "target \"fra-ams\" is silent: %s", rows[i].said);
        first_is(&m, TW_NEWS_FAILURE, said);
    }
}

static struct tw_measurement control_failure(enum tw_measurement_state state,
                                             enum tw_client_failure failure,
                                             enum tw_client_step step, uint8_t accept)
{
    struct tw_measurement m = result(state, 0);
    m.trouble.valid = true;
    m.trouble.failure = failure;
    m.trouble.step = step;
    m.trouble.accept = accept;
    return m;
}

static void a_key_that_does_not_fit_is_named_and_its_secret_is_not(void **state)
{
    (void)state;
    strcpy(settings.keyid, "noc");
    settings.mode = TW_MODE_ENCRYPTED;
    struct tw_measurement m =
        control_failure(TW_MEASUREMENT_KEY, TW_CLIENT_KEY_REFUSED, TW_CLIENT_STEP_SET_UP, 1);
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is without a common key: the server refused KeyID \"noc\" or its "
             "secret (Accept 1): both must be the same here and on the server");
    m = control_failure(TW_MEASUREMENT_KEY, TW_CLIENT_TIMED_OUT, TW_CLIENT_STEP_KEY, 0);
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is without a common key: the key of KeyID \"noc\" could not be "
             "derived in time: this host is busy, perhaps with the keys of other targets");
    m = control_failure(TW_MEASUREMENT_KEY, TW_CLIENT_HMAC, TW_CLIENT_STEP_SET_UP, 0);
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is without a common key: the server's answer is not authentic at "
             "step set-up: it has another secret for KeyID \"noc\", or somebody changes what it "
             "says");
    m = control_failure(TW_MEASUREMENT_KEY, TW_CLIENT_COUNT, TW_CLIENT_STEP_GREETING, 0);
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT];
    assert_int_equal(tw_news_state(&news, &target, &m, said), TW_NEWS_FAILURE);
    assert_non_null(strstr(said, "PBKDF2 iterations: done are powers of two from 1024 to 32768"));
}

/* Some servers hang up on a key they do not know. */
static void who_hangs_up_on_a_key_may_not_know_it(void **state)
{
    (void)state;
    struct tw_measurement m =
        control_failure(TW_MEASUREMENT_REFUSED, TW_CLIENT_ENDED, TW_CLIENT_STEP_SET_UP, 0);
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is refused: the server closed the connection at step set-up");
    settings.mode = TW_MODE_MIXED;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is refused: the server closed the connection at step set-up: "
             "perhaps it does not know our KeyID and secret");
}

/* Never a weaker mode in its place; so it must be clear what there is. */
static void a_mode_that_is_not_offered_is_named_with_those_that_are(void **state)
{
    (void)state;
    settings.mode = TW_MODE_ENCRYPTED;
    struct tw_measurement m =
        control_failure(TW_MEASUREMENT_REFUSED, TW_CLIENT_MODE_MISSING, TW_CLIENT_STEP_GREETING, 0);
    m.offered = TW_MODE_UNAUTHENTICATED | TW_MODE_MIXED | TW_MODE_DSCP_ECN;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is refused: the server does not offer Mode \"encrypted\", it "
             "offers: unauthenticated, mixed, dscp; another mode is never used instead");
}

static void a_quirk_is_told_once_with_all_that_are_known(void **state)
{
    (void)state;
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT] = "";
    struct tw_measurement m = result(TW_MEASUREMENT_OK, 0);
    assert_false(tw_news_quirks(&news, &target, &m, said));
    m.quirks = TW_QUIRK_SHORT_REPLY;
    assert_true(tw_news_quirks(&news, &target, &m, said));
    assert_string_equal(said, "target \"fra-ams\": reflector quirks: short-reply (no Sender TTL: "
                              "forward hops are unknown)");
    assert_false(tw_news_quirks(&news, &target, &m, said));
    m.quirks = 0;
    assert_false(tw_news_quirks(&news, &target, &m, said));
    m.quirks = TW_QUIRK_ZERO_ERROR;
    assert_true(tw_news_quirks(&news, &target, &m, said));
    assert_string_equal(said, "target \"fra-ams\": reflector quirks: short-reply (no Sender TTL: "
                              "forward hops are unknown), zero-error-estimate (the error of its "
                              "clock is unknown: one-way delays are not valid)");
    m.quirks = TW_QUIRK_SHORT_REPLY | TW_QUIRK_ZERO_ERROR;
    assert_false(tw_news_quirks(&news, &target, &m, said));
}

static void all_quirks_at_once_fill_a_line_and_no_more(void **state)
{
    (void)state;
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT + 8];
    memset(said, 'x', sizeof said);
    memset(target.instance, 'i', TW_INSTANCE_SIZE - 1);
    struct tw_measurement m = result(TW_MEASUREMENT_OK, 0);
    m.quirks = UINT32_MAX;
    assert_true(tw_news_quirks(&news, &target, &m, said));
    assert_in_range(strlen(said), 500, TW_NEWS_TEXT - 1);
    assert_memory_equal(said + TW_NEWS_TEXT, "xxxxxxxx", 8);
}

static void what_this_host_lacks_is_not_blamed_on_the_server(void **state)
{
    (void)state;
    struct tw_measurement m = result(TW_MEASUREMENT_UNREACHABLE, 0);
    settings.source =
        (struct tw_address){.octets = {192, 0, 2, 9}, .family = 4}; /* and is not ours */
    target.source_port = 20001;
    strcpy(settings.device, "vrf-mgmt");
    m.trouble.error = EADDRNOTAVAIL;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: cannot use SourceAddress \"192.0.2.9\": Cannot "
             "assign requested address");
    settings.source = (struct tw_address){.octets = {0xfe, 0x80, [15] = 9}, .family = 6};
    strcpy(settings.source_zone, "wg0");
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: cannot use SourceAddress \"fe80::9%wg0\": Cannot "
             "assign requested address");
    m.trouble.error = EADDRINUSE;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: cannot use SourcePort 20001: Address already in "
             "use");
    m.trouble.error = EACCES;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: cannot use SourcePort 20001: Permission denied");
    m.trouble.error = ENODEV;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: cannot use Device \"vrf-mgmt\": No such device");
    m.trouble.error = ECONNREFUSED;
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: cannot connect to \"ams1.example.net\" TCP port "
             "862: Connection refused");

    settings.source = (struct tw_address){.family = 0};
    settings.source_zone[0] = '\0';
    target.source_port = 0;
    settings.device[0] = '\0';
    m.trouble.error = EADDRNOTAVAIL; /* no free port */
    first_is(&m, TW_NEWS_FAILURE,
             "target \"fra-ams\" is unreachable: cannot connect to \"ams1.example.net\" TCP port "
             "862: Cannot assign requested address");
}

static void a_change_is_said_once_with_its_span(void **state)
{
    (void)state;
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT];
    const struct {
        enum tw_measurement_state state;
        int64_t begun_s;
        enum tw_news_kind kind;
        const char *start;
    } course[] = {
        {TW_MEASUREMENT_OK, 100, TW_NEWS_FIRST, "target \"fra-ams\" is ok: "},
        {TW_MEASUREMENT_OK, 110, TW_NEWS_NONE, ""},
        {TW_MEASUREMENT_SILENT, 142, TW_NEWS_FAILURE,
         "target \"fra-ams\" is silent (was ok for 42 s): "},
        {TW_MEASUREMENT_SILENT, 200, TW_NEWS_NONE, ""},
        {TW_MEASUREMENT_UNREACHABLE, 342, TW_NEWS_FAILURE,
         "target \"fra-ams\" is unreachable (was silent for 3 min 20 s): "},
        {TW_MEASUREMENT_OK, 7842, TW_NEWS_OKAY,
         "target \"fra-ams\" is ok (was unreachable for 2 h 5 min): replies"},
        {TW_MEASUREMENT_OK, 7852, TW_NEWS_NONE, ""},
        {TW_MEASUREMENT_NAME, 7842 + 273600, TW_NEWS_FAILURE,
         "target \"fra-ams\" is unresolved (was ok for 3 d 4 h): cannot resolve"},
    };
    for (size_t i = 0; i < sizeof course / sizeof course[0]; i++) {
        const struct tw_measurement m = result(course[i].state, course[i].begun_s);
        said[0] = '\0';
        assert_int_equal(tw_news_state(&news, &target, &m, said), course[i].kind);
        assert_memory_equal(said, course[i].start, strlen(course[i].start));
    }
}

static void the_longest_names_fit_or_are_cut(void **state)
{
    (void)state;
    memset(settings.host, 'h', sizeof settings.host - 1);
    memset(target.instance, 'i', sizeof target.instance - 1);
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT];
    struct tw_measurement m = result(TW_MEASUREMENT_NAME, 0);
    m.trouble.error = EAI_NONAME;
    (void)tw_news_state(&news, &target, &m, said);
    assert_true(strlen(said) < TW_NEWS_TEXT);
    assert_non_null(strstr(said, "Name or service not known"));
}

/* `lost` is (forward, reverse, undecided). */
static struct tw_measurement lossy(uint32_t forward, uint32_t reverse, uint32_t undecided)
{
    struct tw_measurement m = result(TW_MEASUREMENT_OK, 0);
    m.summary.direction_known = true;
    m.summary.lost_forward = forward;
    m.summary.lost_reverse = reverse;
    m.summary.lost_undecided = undecided;
    m.summary.lost = forward + reverse + undecided;
    return m;
}

static void copied_numbers_are_named_once_after_three_losses(void **state)
{
    (void)state;
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT] = "";
    const struct tw_measurement none = lossy(0, 0, 0), tail = lossy(0, 0, 3), gap = lossy(0, 1, 0);
    assert_false(tw_news_copied_numbers(&news, &target, &gap, said));
    assert_false(tw_news_copied_numbers(&news, &target, &none, said));
    assert_false(tw_news_copied_numbers(&news, &target, &gap, said));
    assert_false(tw_news_copied_numbers(&news, &target, &tail, said));
    assert_string_equal(said, "");
    assert_true(tw_news_copied_numbers(&news, &target, &gap, said));
    assert_non_null(strstr(said, "target \"fra-ams\": loss in three intervals"));
    assert_non_null(strstr(said, "Stateful false"));
    for (int i = 0; i < 10; i++)
        assert_false(tw_news_copied_numbers(&news, &target, &gap, said));
}

static void directions_are_doubted_from_the_warning_to_the_first_number_of_its_own(void **state)
{
    (void)state;
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT];
    const struct tw_measurement none = lossy(0, 0, 0), gap = lossy(0, 1, 0);
    struct tw_measurement proof = lossy(1, 0, 0);
    proof.summary.reflector_counts = true;
    for (int i = 0; i < 3; i++) {
        assert_false(tw_news_doubts_directions(&news));
        (void)tw_news_copied_numbers(&news, &target, &gap, said);
    }
    assert_true(tw_news_doubts_directions(&news));
    (void)tw_news_copied_numbers(&news, &target, &none, said);
    assert_true(tw_news_doubts_directions(&news));
    (void)tw_news_copied_numbers(&news, &target, &proof, said);
    assert_false(tw_news_doubts_directions(&news));
    for (int i = 0; i < 10; i++) {
        assert_false(tw_news_copied_numbers(&news, &target, &gap, said));
        assert_false(tw_news_doubts_directions(&news));
    }
}

static void a_reflector_that_counts_is_never_suspected(void **state)
{
    (void)state;
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT];
    const struct tw_measurement gap = lossy(0, 1, 0);
    struct tw_measurement proof = lossy(1, 0, 0);
    proof.summary.reflector_counts = true;
    assert_false(tw_news_copied_numbers(&news, &target, &gap, said));
    assert_false(tw_news_copied_numbers(&news, &target, &gap, said));
    assert_false(tw_news_copied_numbers(&news, &target, &proof, said));
    for (int i = 0; i < 10; i++)
        assert_false(tw_news_copied_numbers(&news, &target, &gap, said));
}

static void nothing_is_suspected_where_directions_are_not_published(void **state)
{
    (void)state;
    struct tw_news news = {0};
    char said[TW_NEWS_TEXT];
    struct tw_measurement gap = lossy(0, 0, 0);
    gap.summary.direction_known = false;
    gap.summary.lost = 3;
    for (int i = 0; i < 10; i++)
        assert_false(tw_news_copied_numbers(&news, &target, &gap, said));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_good_result_names_both_addresses, set_up),
        cmocka_unit_test_setup(a_failure_says_what_failed, set_up),
        cmocka_unit_test_setup(replies_that_cannot_be_used_are_no_silence, set_up),
        cmocka_unit_test_setup(a_key_that_does_not_fit_is_named_and_its_secret_is_not, set_up),
        cmocka_unit_test_setup(a_mode_that_is_not_offered_is_named_with_those_that_are, set_up),
        cmocka_unit_test_setup(who_hangs_up_on_a_key_may_not_know_it, set_up),
        cmocka_unit_test_setup(a_quirk_is_told_once_with_all_that_are_known, set_up),
        cmocka_unit_test_setup(all_quirks_at_once_fill_a_line_and_no_more, set_up),
        cmocka_unit_test_setup(what_this_host_lacks_is_not_blamed_on_the_server, set_up),
        cmocka_unit_test_setup(a_change_is_said_once_with_its_span, set_up),
        cmocka_unit_test_setup(the_longest_names_fit_or_are_cut, set_up),
        cmocka_unit_test_setup(copied_numbers_are_named_once_after_three_losses, set_up),
        cmocka_unit_test_setup(
            directions_are_doubted_from_the_warning_to_the_first_number_of_its_own, set_up),
        cmocka_unit_test_setup(a_reflector_that_counts_is_never_suspected, set_up),
        cmocka_unit_test_setup(nothing_is_suspected_where_directions_are_not_published, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
