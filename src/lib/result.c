/* Names the results of the core in words, for whoever logs or prints them. */
#include "lib/result.h"

const char *tw_result_text(enum tw_result result)
{
    switch (result) {
#define TW_RESULT_TEXT(name, text)                                                                 \
    case name:                                                                                     \
        return text;
        TW_RESULTS(TW_RESULT_TEXT)
#undef TW_RESULT_TEXT
    }
    return "unknown result";
}
