/* The names of quirks; see quirk.h. */
#include "lib/quirk.h"

const char *tw_quirk_name(unsigned bit)
{
    switch (bit) {
#define TW_QUIRK_CASE(name, number, text)                                                          \
    case number:                                                                                   \
        return text;
        TW_QUIRKS(TW_QUIRK_CASE)
#undef TW_QUIRK_CASE
    default:
        return "unknown";
    }
}
