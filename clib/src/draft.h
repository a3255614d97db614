/* draft.h - guesses at what comes next, from what came after the same ids before.  They cost a search; a wrong one changes nothing. */
#ifndef LT_DRAFT_H
#define LT_DRAFT_H

#include <stdint.h>

/* Writes up to max ids behind history[0..n), which has room for them, as they stood behind the last ids of it at another
 * place of it: where the longest run of ids agrees, and of such places the latest.  Returns how many. */
int32_t lt_draft(int32_t *history, int32_t n, int32_t max);

#endif
