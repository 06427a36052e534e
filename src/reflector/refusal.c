/* The table of refusals; see refusal.h. */
#include "reflector/refusal.h"

static const struct {
    const char *name;
    const char *text;
    enum tw_accept accept;
} refusals[] = {
#define TWD_REFUSAL_ROW(constant, code, answer, words)                                             \
    [constant] = {.name = (code), .text = (words), .accept = (answer)},
    TWD_REFUSALS(TWD_REFUSAL_ROW)
#undef TWD_REFUSAL_ROW
};

const char *twd_refusal_name(enum twd_refusal refusal)
{
    return refusals[refusal].name;
}

const char *twd_refusal_text(enum twd_refusal refusal)
{
    return refusals[refusal].text;
}

enum tw_accept twd_refusal_accept(enum twd_refusal refusal)
{
    return refusals[refusal].accept;
}
