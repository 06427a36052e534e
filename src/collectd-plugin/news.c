/* Wording of a target's state changes; see news.h. */
#include "collectd-plugin/news.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "lib/address.h"
#include "lib/client.h"
#include "lib/keys.h"
#include "lib/quirk.h"
#include "lib/sys/socket.h"
#include "lib/time.h"
#include "lib/wire.h"

enum { WHY = 400, SPAN = 32 };

/* Two units are enough: "42 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
static void format_span(int64_t ns, char text[SPAN])
{
    const long long s = ns > 0 ? ns / TW_NS_PER_S : 0;
    if (s < 60)
        snprintf(text, SPAN, "%lld s", s);
    else if (s < 3600)
        snprintf(text, SPAN, "%lld min %lld s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, SPAN, "%lld h %lld min", s / 3600, s % 3600 / 60);
    else
        snprintf(text, SPAN, "%lld d %lld h", s / 86400, s % 86400 / 3600);
}

/* The names of the states, but for two that are no adjectives. */
static const char *state_word(enum tw_measurement_state state)
{
    if (state == TW_MEASUREMENT_NAME)
        return "unresolved";
    if (state == TW_MEASUREMENT_KEY)
        return "without a common key";
    return tw_measurement_state_name(state);
}

static void explain_control(const struct tw_settings *s, const struct tw_measurement *m,
                            char why[WHY])
{
    const char *failure = tw_client_failure_text(m->trouble.failure);
    const char *step = tw_client_step_name(m->trouble.step);
    char mode[TW_MODES_TEXT], offered[TW_MODES_TEXT];
    switch (m->trouble.failure) {
    case TW_CLIENT_REFUSED:
        snprintf(why, WHY, "%s at step %s: Accept %u, %s", failure, step, m->trouble.accept,
                 tw_accept_text(m->trouble.accept));
        break;
    case TW_CLIENT_KEY_REFUSED:
        snprintf(why, WHY,
                 "the server refused KeyID \"%s\" or its secret (Accept %u): both must be the same "
                 "here and on the server",
                 s->keyid, m->trouble.accept);
        break;
    case TW_CLIENT_HMAC:
        snprintf(why, WHY,
                 "%s at step %s: it has another secret for KeyID \"%s\", or somebody changes what "
                 "it says",
                 failure, step, s->keyid);
        break;
    case TW_CLIENT_MODE_MISSING:
        snprintf(why, WHY,
                 "the server does not offer Mode \"%s\", it offers: %s; another mode is never used "
                 "instead",
                 tw_modes_format(s->mode, mode), tw_modes_format(m->offered, offered));
        break;
    case TW_CLIENT_COUNT:
        snprintf(why, WHY, "%s: done are powers of two from %d to %d", failure, TW_KEYS_COUNT_MIN,
                 TW_KEYS_COUNT_DEFAULT);
        break;
    case TW_CLIENT_ENDED:
        snprintf(why, WHY, "%s at step %s%s", failure, step,
                 m->trouble.step == TW_CLIENT_STEP_SET_UP && tw_keys_needed(s->mode)
                     ? ": perhaps it does not know our KeyID and secret"
                     : "");
        break;
    case TW_CLIENT_TIMED_OUT:
        if (m->trouble.step == TW_CLIENT_STEP_KEY)
            snprintf(why, WHY,
                     "the key of KeyID \"%s\" could not be derived in time: this host is busy, "
                     "perhaps with the keys of other targets",
                     s->keyid);
        else
            snprintf(why, WHY, "%s at step %s", failure, step);
        break;
    case TW_CLIENT_MODES_ZERO:
    case TW_CLIENT_UNEXPECTED:
        snprintf(why, WHY, "%s at step %s", failure, step);
        break;
    }
}

/* What a connection could not be begun or made with. Options of ours that the host cannot do are
 * named: the server has no part in that. (strerror: constant texts for all that connect and bind
 * know.) */
static void explain_connect(const struct tw_target *target, int error, char why[WHY])
{
    const struct tw_settings *s = target->settings;
    const char *text = strerror(error);
    char source[TW_ADDRESS_TEXT];
    if (error == EADDRNOTAVAIL && !tw_address_is_unspecified(&s->source))
        snprintf(why, WHY, "cannot use SourceAddress \"%s%s%s\": %s",
                 tw_address_format(&s->source, false, source), s->source_zone[0] == '\0' ? "" : "%",
                 s->source_zone, text);
    else if ((error == EADDRINUSE || error == EACCES) && target->source_port != 0)
        snprintf(why, WHY, "cannot use SourcePort %u: %s", target->source_port, text);
    else if (error == ENODEV && s->device[0] != '\0')
        snprintf(why, WHY, "cannot use Device \"%s\": %s", s->device, text);
    else
        snprintf(why, WHY, "cannot connect to \"%.64s\" TCP port %u: %s", s->host, s->port, text);
}

/* Replies that came and were none, by what most of them lacked. */
static void explain_rejected(const struct tw_settings *s, const struct tw_measurement *m,
                             const char *remote, char why[WHY])
{
    const struct tw_measurement_rejected *r = &m->rejected;
    const struct tw_test_layout layout = tw_test_layout(s->mode);
    const unsigned least = layout.secured ? layout.reflector_header : (unsigned)TW_TEST_REPLY_MIN;
    const unsigned long long all = 0ull + r->too_short + r->foreign + r->not_authentic;
    char reason[WHY / 2];
    if (r->not_authentic >= r->foreign && r->not_authentic >= r->too_short)
        snprintf(reason, sizeof reason,
                 "HMAC does not verify - the reflector makes other keys, or packets are changed on "
                 "the way; Mode \"mixed\" does without");
    else if (r->foreign >= r->too_short)
        snprintf(reason, sizeof reason,
                 "they do not repeat number and timestamp of our packets - is a TWAMP reflector at "
                 "that port?");
    else
        snprintf(reason, sizeof reason,
                 "they have less than %u octets - is a TWAMP reflector at that port, or does it "
                 "want more Padding?",
                 least);
    snprintf(why, WHY, "%llu %s to %u test packets came from %s but none could be used: %s", all,
             all == 1 ? "reply" : "replies", m->summary.sent, remote, reason);
}

/* What failed, in words. */
static void explain(const struct tw_target *target, const struct tw_measurement *m, char why[WHY])
{
    const struct tw_settings *s = target->settings;
    char remote[TW_ADDRESS_TEXT];
    tw_address_format(&m->remote, true, remote);
    if (m->state == TW_MEASUREMENT_OK) {
        char local[TW_ADDRESS_TEXT];
        snprintf(why, WHY, "replies from %s to %s", remote,
                 tw_address_format(&m->local, true, local));
    } else if (m->state == TW_MEASUREMENT_NAME)
        snprintf(why, WHY, "cannot resolve \"%.64s\": %s", s->host,
                 m->trouble.error != 0 ? gai_strerror(m->trouble.error) : "no answer in time");
    else if (m->trouble.valid)
        explain_control(s, m, why);
    else if (m->session && m->summary.sent == 0)
        snprintf(why, WHY, "no test packet could be sent to %s: %s", remote,
                 strerror(m->trouble.error));
    else if (m->trouble.error != 0)
        explain_connect(target, m->trouble.error, why);
    else if (!m->session)
        snprintf(why, WHY, "no control connection to \"%.64s\" TCP port %u in time", s->host,
                 s->port);
    else if (m->rejected.too_short + m->rejected.foreign + m->rejected.not_authentic > 0)
        explain_rejected(s, m, remote, why);
    else
        snprintf(why, WHY, "no reply to %u test packets to %s", m->summary.sent, remote);
}

enum tw_news_kind tw_news_state(struct tw_news *news, const struct tw_target *target,
                                const struct tw_measurement *measurement, char text[TW_NEWS_TEXT])
{
    const struct tw_news before = *news;
    if (before.known && before.state == measurement->state)
        return TW_NEWS_NONE;
    news->known = true;
    news->state = measurement->state;
    news->since = measurement->begun;

    char why[WHY];
    explain(target, measurement, why);
    const char *state = state_word(measurement->state);
    if (before.known) {
        char span[SPAN];
        format_span(measurement->begun.ns - before.since.ns, span);
        snprintf(text, TW_NEWS_TEXT, "target \"%s\" is %s (was %s for %s): %s", target->instance,
                 state, state_word(before.state), span, why);
    } else {
        snprintf(text, TW_NEWS_TEXT, "target \"%s\" is %s: %s", target->instance, state, why);
    }
    if (measurement->state != TW_MEASUREMENT_OK)
        return TW_NEWS_FAILURE;
    return before.known ? TW_NEWS_OKAY : TW_NEWS_FIRST;
}

/* So many intervals with loss, and no number of its own in any of them, are no chance. */
enum { GAPS_ENOUGH = 3 };

bool tw_news_doubts_directions(const struct tw_news *news)
{
    return !news->counts && news->gaps >= GAPS_ENOUGH;
}

bool tw_news_copied_numbers(struct tw_news *news, const struct tw_target *target,
                            const struct tw_measurement *measurement, char text[TW_NEWS_TEXT])
{
    const struct tw_summary *s = &measurement->summary;
    if (s->reflector_counts)
        news->counts = true;
    /* packets missing at the end of a session say nothing about numbers */
    const bool gap = s->direction_known && s->lost_forward + s->lost_reverse > 0;
    if (news->counts || !gap || news->gaps >= GAPS_ENOUGH || ++news->gaps < GAPS_ENOUGH)
        return false;
    snprintf(
        text, TW_NEWS_TEXT,
        "target \"%s\": loss in three intervals, and the reflector never used a number of its "
        "own: if it copies the sender's, it wants Stateful false; loss by direction is unknown "
        "until it uses one",
        target->instance);
    return true;
}

/* What a quirk means for the values, in a few words. */
static const char *quirk_meaning(enum tw_quirk quirk)
{
    switch (quirk) {
    case TW_QUIRK_SHORT_REPLY:
        return "no Sender TTL: forward hops are unknown";
    case TW_QUIRK_UNEQUAL_SIZE:
        return "replies are not as long as packets: both directions differ by that";
    case TW_QUIRK_TTL_UNSET:
        return "Sender TTL is not that of our packets: forward hops are unknown";
    case TW_QUIRK_SAME_TIMES:
        return "one time for arrival and departure: its processing counts as path";
    case TW_QUIRK_CONTRADICTORY:
        return "arrival and departure exclude one another: such replies are in no delay";
    case TW_QUIRK_ZERO_RECEIVE:
        return "no arrival time: forward delay is unknown, its processing counts as path";
    case TW_QUIRK_ZERO_TRANSMIT:
        return "no departure time: reverse delay is unknown, its processing counts as path";
    case TW_QUIRK_CONSTANT_TIMES:
        return "its clock stands still: delays by it are unknown, its processing counts as path";
    case TW_QUIRK_ZERO_ERROR:
        return "the error of its clock is unknown: one-way delays are not valid";
    case TW_QUIRK_Z_BIT:
        return "says PTP, but is NTP, and is read as that";
    case TW_QUIRK_PTP_UNASKED:
        return "PTP times, read as that";
    case TW_QUIRK_PTP_UTC:
        return "PTP times that count from UTC: one-way delays are off by 37 s or so, not valid";
    case TW_QUIRK_NOT_REFLECTED:
        return "padding does not come back as agreed";
    case TW_QUIRK_WARM_UP:
        return "first packets refused, not counted as loss";
    case TW_QUIRK_UNKNOWN_MODES:
        return "offers modes that nobody knows, ignored";
    case TW_QUIRK_MBZ:
        return "reserved octets are not zero, ignored";
    case TW_QUIRK_PORT_ZERO:
        return "names no port, the one asked for is used";
    case TW_QUIRK_PORT_REFUSED:
        return "names a port although it refuses";
    case TW_QUIRK_SERVER_STOP:
        return "sends Stop-Sessions, ignored";
    case TW_QUIRK_REFLECTED_OCTETS:
        return "does not repeat what it was asked for";
    case TW_QUIRK_ZERO_STOP:
    case TW_QUIRK_TYPE_P_TOS:
    case TW_QUIRK_REQUEST_SID:
    case TW_QUIRK_REQUEST_PACKETS:
        break; /* of clients */
    }
    return NULL;
}

bool tw_news_quirks(struct tw_news *news, const struct tw_target *target,
                    const struct tw_measurement *measurement, char text[TW_NEWS_TEXT])
{
    if ((measurement->quirks & ~news->quirks) == 0)
        return false;
    news->quirks |= measurement->quirks;
    int used = snprintf(text, TW_NEWS_TEXT, "target \"%s\": reflector quirks: ", target->instance);
    const char *comma = "";
    for (unsigned bit = 0; bit < TW_QUIRK_COUNT && used >= 0 && used < TW_NEWS_TEXT; bit++) {
        const uint32_t quirk = UINT32_C(1) << bit;
        if ((news->quirks & quirk) == 0)
            continue;
        const char *meaning = quirk_meaning((enum tw_quirk)quirk);
        const char *open = meaning == NULL ? "" : " (", *close = meaning == NULL ? "" : ")";
        used += snprintf(text + used, TW_NEWS_TEXT - (size_t)used, "%s%s%s%s%s", comma,
                         tw_quirk_name(bit), open, meaning == NULL ? "" : meaning, close);
        comma = ", ";
    }
    return true;
}
