/* pretokens.h - cutting text into the pieces that merges may not cross, without a regular-expression engine.
 *
 * The published pretokenisers are lists of patterns: each cuts every piece that the one before left, and what lies between
 * two matches is a piece too.  Here a pattern is a splitter, a hand-written scanner that never looks at a rune more than a
 * fixed number of times, so the work is linear in the text whatever the text is. */
#ifndef LT_PRETOKENS_H
#define LT_PRETOKENS_H

#include "token/runes.h"

/* End of the piece that starts at `at` (at < result <= end).  Sees nothing outside [at, end). */
typedef uint32_t (*lt_splitter)(const lt_rune *r, uint32_t at, uint32_t end);

enum { LT_MAX_SPLITTERS = 6 };
enum { LT_PRE_WHOLE = 1 /* a piece that is a token is not merged up from bytes */, LT_PRE_BOS = 2 /* BOS is added by default */ };

typedef struct {
    const char *name; /* tokenizer.ggml.pre */
    uint32_t flags;
    const lt_splitter *splitters;
    int32_t n_splitters;
} lt_pretokenizer;

const lt_pretokenizer *lt_pretokenizer_find(const char *name, size_t n); /* NULL: unknown */

/* Walks the pieces of r[0..n) in order. */
typedef struct {
    const lt_pretokenizer *pre;
    const lt_rune *r;
    int32_t depth; /* splitter whose range is being cut; -1: done */
    uint32_t at[LT_MAX_SPLITTERS], end[LT_MAX_SPLITTERS];
} lt_piece_walk;

void lt_piece_walk_start(lt_piece_walk *w, const lt_pretokenizer *pre, const lt_rune *r, uint32_t n);
bool lt_piece_walk_next(lt_piece_walk *w, uint32_t *from, uint32_t *to);

/* splitters.c */
extern const lt_splitter lt_split_llama3[1], lt_split_qwen2[1], lt_split_gpt2[1], lt_split_starcoder[2], lt_split_falcon[3],
    lt_split_default[4];
/* deepseek.c */
extern const lt_splitter lt_split_deepseek_llm[6];

#endif
