/* draft.c - prompt lookup: answers often repeat their prompt (edits, summaries, code) or themselves.
 *
 * Saxena, "Prompt lookup decoding" (2023).  One pass over the history, some microseconds for 16k ids; no index to keep. */
#include "draft.h"

enum { KEY = 3 /* ids that must agree */, LONGEST = 32 /* agreement that is looked at */, REACH = 1 << 14 /* ids searched */ };

/* How many ids before a and before b agree, at most LONGEST and `limit`. */
static int32_t agreement(const int32_t *a, const int32_t *b, int32_t limit)
{
    int32_t n = 0;
    while (n < LONGEST && n < limit && a[-1 - n] == b[-1 - n])
        n++;
    return n;
}

int32_t lt_draft(int32_t *history, int32_t n, int32_t max)
{
    int32_t best = 0, best_length = KEY - 1;
    for (int32_t i = n - 1; i >= KEY && i > n - REACH && best_length < LONGEST; i--) {
        if (history[i - 1] != history[n - 1])
            continue;
        const int32_t length = agreement(history + i, history + n, i);
        if (length > best_length) {
            best = i;
            best_length = length;
        }
    }
    if (!best)
        return 0;
    for (int32_t i = 0; i < max; i++) /* a short period goes on with what was just written */
        history[n + i] = history[best + i];
    return max;
}
