/* Likeness of names; see suggestion.h. */
#include "collectd-plugin/suggestion.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static unsigned lowest(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edit distance with swapped neighbours as one edit (optimal string alignment), case ignored. What
 * is longer than any name is compared by its beginning. */
static unsigned distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    unsigned cost[LONGEST + 1][LONGEST + 1];
    const size_t m = strnlen(a, LONGEST), n = strnlen(b, LONGEST);
    for (unsigned i = 0; i <= m; i++) {
        for (unsigned j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            const int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            cost[i][j] =
                lowest(lowest(cost[i - 1][j], cost[i][j - 1]) + 1, cost[i - 1][j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]))
                cost[i][j] = lowest(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[m][n];
}

unsigned tw_suggestion_unlikeness(const char *typed, const char *name)
{
    enum { BEGINNING = 2 };
    const size_t length = strlen(typed);
    const unsigned d = distance(typed, name);
    return length > 1 && strncasecmp(typed, name, length) == 0 ? lowest(d, BEGINNING) : d;
}
