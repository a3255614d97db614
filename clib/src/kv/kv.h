/* kv.h - who owns which page of the KV cache.  Bookkeeping only: it knows token ids and page numbers, never a tensor.
 *
 * A page holds the keys and values of LT_PAGE consecutive positions of one history.  An open sequence has a block table of
 * pages; a page is shared when several tables or the prefix tree hold it (reference counts).  The prefix tree is keyed by
 * exact token ids under a scope (users, adapters, images differ in scope); a node is one page and the 1..LT_PAGE ids in it.
 *
 *      scope 0 -- [64 ids: page 3] -- [64 ids: page 7] -- [20 ids: page 9]      leaf, part full
 *                                  \- [64 ids: page 4]                          a running sequence may hold 3 and 4 too
 *
 * Full pages enter the tree as soon as they are computed (lt_kv_publish), also while their owner runs; the part-full last
 * page enters when its sequence closes with keep.  A request takes full pages by reference and the matching head of one
 * more page, be it of the tree or one that a running sequence is filling, by copy.  Pages that only the tree holds are evicted leaf
 * first, least recently used first.  What others may take never changes: a sequence whose cells are to change takes its pages out
 * first (lt_kv_own).
 *
 * Recurrent layers have a state instead of keys and values, and a sequence needs the one behind exactly the tokens that it takes.  Such
 * states are kept beside some full pages, as numbered checkpoints; a request takes the pages up to the last one that has one, and no
 * head of another page.  A checkpoint goes with its page, or when a new one is wanted and it is the oldest. */
#ifndef LT_KV_H
#define LT_KV_H

#include <stdbool.h>

#include "core/status.h"

enum { LT_PAGE = 64, LT_NO_CHECKPOINT = -1 };

typedef struct lt_kv lt_kv;

typedef struct {
    int32_t src, dst;   /* page numbers; n_tokens == 0: nothing to copy */
    int32_t n_tokens;   /* positions 0..n_tokens-1 of src go to dst */
} lt_kv_copy;

typedef struct {
    int32_t seq;
    int32_t n_tokens;   /* positions the block table must cover */
} lt_kv_need;

typedef struct {
    int32_t n_free, n_cached, n_used; /* n_cached: held by the tree alone; sums to n_pages */
} lt_kv_count;

/* All memory is taken here.  n_checkpoints 0: a model without recurrent layers. */
int lt_kv_create(lt_kv **out, int32_t n_pages, int32_t n_seqs, int32_t max_tokens, int32_t n_checkpoints);
void lt_kv_destroy(lt_kv *kv);

/* seq 0..n_seqs-1, not open.  Takes the longest prefix of ids[0..max_cached) under scope; fills the head of the block table.
 * *copy is a page copy that the caller must carry out before the next call.  Never fails for lack of pages: then it takes less. */
int lt_kv_open(lt_kv *kv, int32_t seq, uint64_t scope, const int32_t *ids, int32_t max_cached, int32_t *n_cached, lt_kv_copy *copy);

/* How many of ids the tree has on full pages under scope; with_checkpoint: up to a checkpoint. */
int32_t lt_kv_depth(const lt_kv *kv, uint64_t scope, const int32_t *ids, int32_t n, bool with_checkpoint);

/* A checkpoint that may be written, a free one or the oldest, which its page loses; LT_NO_CHECKPOINT: all are pending. */
int32_t lt_kv_take_checkpoint(lt_kv *kv);
/* It has been written, as the state of seq behind n_tokens: it becomes that page's, or free if the tree lacks the page or has one there. */
void lt_kv_keep_checkpoint(lt_kv *kv, int32_t seq, int32_t n_tokens, int32_t checkpoint);
/* That of the page of seq which ends with n_tokens; LT_NO_CHECKPOINT. */
int32_t lt_kv_checkpoint_at(const lt_kv *kv, int32_t seq, int32_t n_tokens);
/* The one there goes, unless somebody has begun from it. */
void lt_kv_drop_checkpoint(lt_kv *kv, int32_t seq, int32_t n_tokens);

/* Makes every block table cover n_tokens, evicting cached pages as needed; LT_E_KV_FULL and nothing changed when there are not enough. */
int lt_kv_reserve(lt_kv *kv, const lt_kv_need *needs, int32_t n);

/* ids[0..n_computed) of seq are in their pages now: full ones become visible to others.  A page that the tree already has
 * under the same ids replaces ours (bits are equal: batch invariance), which is freed.  The part-full page after them can be
 * copied by those who agree with it, so ids must stay where they are, unchanged, until the sequence is closed. */
void lt_kv_publish(lt_kv *kv, int32_t seq, const int32_t *ids, int32_t n_computed);

/* Ends seq.  keep: its computed ids, the part-full page too, stay in the tree; otherwise only what it has published stays. */
void lt_kv_close(lt_kv *kv, int32_t seq, const int32_t *ids, int32_t n_computed, int keep);

/* Writes up to max ids behind ids[0..n), all that seq has, as another history has them on the same page; returns how many. */
int32_t lt_kv_follow(const lt_kv *kv, int32_t seq, int32_t *ids, int32_t n, int32_t max);

/* From page `first` of its table on, the pages of seq become its own alone and leave the tree, with what only the tree holds below
 * them; from then on nothing more of seq is seen by others.  A page that others hold is replaced by a fresh one: copies, of room for
 * the whole table, are what the caller must carry out before the next call.  LT_E_KV_FULL and nothing changed when pages are short. */
int lt_kv_own(lt_kv *kv, int32_t seq, int32_t first, lt_kv_copy *copies, int32_t *n_copies);

bool lt_kv_is_altered(const lt_kv *kv, int32_t seq); /* lt_kv_own has been called since it was opened */

/* Gives back the pages of seq beyond n_tokens positions. */
void lt_kv_trim(lt_kv *kv, int32_t seq, int32_t n_tokens);

/* Evicts the end of the path that ids lead to under scope: pages that no sequence holds, with nothing below them and an id beyond
 * the first n_keep.  The ids after the last full page may be the head of a longer leaf. */
void lt_kv_forget(lt_kv *kv, uint64_t scope, const int32_t *ids, int32_t n, int32_t n_keep);

const int32_t *lt_kv_table(const lt_kv *kv, int32_t seq, int32_t *n_pages); /* block table, valid until the next call */
lt_kv_count lt_kv_counts(const lt_kv *kv);
int lt_kv_check(const lt_kv *kv); /* integrity: counts, references, tree; LT_OK or LT_E_ARG with the reason; for tests and idle moments */

#endif
