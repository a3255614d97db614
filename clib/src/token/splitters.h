/* splitters.h - what the splitter files share. */
#ifndef LT_SPLITTERS_H
#define LT_SPLITTERS_H

#include "token/pretokens.h"

/* End of a match that starts at `at`, or `at`: none.  Must be O(length of its match). */
typedef uint32_t (*lt_matcher)(const lt_rune *r, uint32_t at, uint32_t end);

/* The splitter of a pattern that leaves gaps: a match at `at`, or all that stands before the next match. */
static inline uint32_t lt_split_by(lt_matcher match, const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t e = match(r, at, end);
    if (e > at)
        return e;
    do
        at++;
    while (at < end && match(r, at, end) == at);
    return at;
}

uint32_t lt_split_number_runs(const lt_rune *r, uint32_t at, uint32_t end); /* \p{N}+ */

#endif
