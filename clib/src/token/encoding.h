/* encoding.h - one call of lt_tokenize: its growing list of ids and its scratch, for the files of this folder only.
 *
 *      text -> fragments (special tokens cut out) -> pieces (pretokeniser, words, or safe cuts) -> tokens by rules of their kind -> ids */
#ifndef LT_ENCODING_H
#define LT_ENCODING_H

#include "token/vocab_data.h"

/* An array that only grows. */
typedef struct {
    void *items;
    size_t cap;
} lt_scratch;
int lt_scratch_reserve(lt_scratch *s, size_t n, size_t item_bytes); /* contents are kept */

typedef struct lt_piece_cache lt_piece_cache;

typedef struct {
    const lt_vocab *v;
    int32_t *ids;
    size_t n_ids;
    lt_scratch ids_memory, runes, spaced, ids_at, next, prev, heap;
    lt_piece_cache *cache; /* NULL: the text is too short to repay one */
} lt_encoding;

int lt_encoding_push(lt_encoding *e, int32_t id);

/* bpe.c, spm.c, wpm.c, ugm.c, rwkv.c: the ids of a fragment without special tokens. */
int lt_bpe_encode(lt_encoding *e, const uint8_t *text, size_t n);
int lt_spm_encode(lt_encoding *e, const uint8_t *text, size_t n, bool after_special);
int lt_wpm_encode(lt_encoding *e, const uint8_t *text, size_t n);
int lt_ugm_encode(lt_encoding *e, const uint8_t *text, size_t n);
int lt_rwkv_encode(lt_encoding *e, const uint8_t *text, size_t n);

/* spm.c */
int lt_write_spaced(lt_encoding *e, const uint8_t **text, size_t *n, bool space_first); /* U+2581 as space, into e->spaced */
/* Piece by piece, cut where no token can span, and perhaps only before spaces. */
int lt_encode_cut(lt_encoding *e, const uint8_t *text, size_t n, bool at_spaces);

/* merge.c, wpm.c, ugm.c: the ids of one piece, n >= 1. */
int lt_merge_piece(lt_encoding *e, const uint8_t *text, uint32_t n);
int lt_wpm_word(lt_encoding *e, const uint8_t *text, uint32_t n);
int lt_ugm_piece(lt_encoding *e, const uint8_t *text, uint32_t n);

/* piece_cache.c: what encoding made of recent short pieces. */
enum { LT_CACHED_IDS = 6 };
int lt_piece_cache_create(lt_piece_cache **out);
int lt_encode_piece(lt_encoding *e, const uint8_t *text, uint32_t n); /* one of those three, by way of the cache */

/* fragments.c */
typedef struct {
    const uint8_t *text; /* id -1: text to encode */
    size_t n;
    int32_t id;
} lt_fragment;

/* Cuts the special tokens out of a text.  Where they overlap, the longer wins wherever it stands, then the earlier: as if
 * each text, longest first, were searched for in what the longer ones have left. */
typedef struct {
    const lt_vocab *v;
    const uint8_t *text;
    size_t n, at;       /* all before `at` has been given out */
    bool any;           /* control and unknown tokens too, not only user-defined ones */
    bool strip;         /* white space at `at` is to be dropped */
    size_t special_at;  /* next special token; n: none left */
    uint32_t special_n; /* its bytes, 0: not looked for yet */
    int32_t special_id;
    size_t knot_from, knot_to; /* overlapping matches that have been sorted out: text[from..to) */
    lt_scratch matches, taken, starts;
} lt_fragments;

void lt_fragments_start(lt_fragments *f, const lt_vocab *v, const uint8_t *text, size_t n, bool any);
int lt_fragments_next(lt_fragments *f, lt_fragment *out); /* 1: *out is the next one; 0: no more; negative: LT_E_NOMEM */
void lt_fragments_end(lt_fragments *f);

#endif
