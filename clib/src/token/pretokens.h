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
enum {
    LT_PRE_WHOLE = 1,      /* a piece that is a token is not merged up */
    LT_PRE_BOS = 2,        /* BOS is added by default */
    LT_PRE_SEP = 4,        /* and the separator behind the text */
    LT_PRE_CHARS = 8,      /* symbols are characters instead of bytes, as in SPM; what has no token comes out as byte tokens */
    LT_PRE_SPACED = 16,    /* the vocabulary spells a space as U+2581; with LT_PRE_CHARS */
    LT_PRE_RANKED = 32,    /* without a list of merges, any two neighbours that are a token together merge, lowest id first */
    LT_PRE_LINES = 64,     /* a run of newlines that is a token is not merged up */
    LT_PRE_SURE_BOS = 128, /* BOS is added whatever the file says: some files are wrong */
    LT_PRE_NO_SPACES = 256 /* pieces of white space are dropped */
};

typedef struct {
    const char *names; /* tokenizer.ggml.pre: each of these words */
    uint32_t flags;
    const lt_splitter *splitters;
    int32_t n_splitters;
} lt_pretokenizer;

bool lt_is_one_of(const char *words, const char *name, size_t n); /* words: with one space between them */
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
extern const lt_splitter lt_pre_llama3[1], lt_pre_qwen2[1], lt_pre_qwen35[1], lt_pre_seed_coder[1], lt_pre_exaone_moe[1],
    lt_pre_ufakzeka[1], lt_pre_jais2[2], lt_pre_minicpm5[2], lt_pre_laguna[2], lt_pre_gpt2[1], lt_pre_starcoder[2],
    lt_pre_falcon[3], lt_pre_default[4];
/* cased.c */
extern const lt_splitter lt_pre_tekken[1], lt_pre_gpt4o[1], lt_pre_kimi[1];
/* digits.c */
extern const lt_splitter lt_pre_superbpe[3], lt_pre_tiny_aya[3], lt_pre_afmoe[4];
/* deepseek.c, deepseek3.c */
extern const lt_splitter lt_pre_deepseek_llm[6], lt_pre_deepseek3[3], lt_pre_deepseek_coder[5], lt_pre_spark[3];
/* ranges.c */
extern const lt_splitter lt_pre_lines[1], lt_pre_whitespace[1], lt_pre_youtu[2], lt_pre_bloom[1], lt_pre_viking[2],
    lt_pre_chameleon[6];

#endif
