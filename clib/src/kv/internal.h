/* internal.h - the records behind kv.h, shared by the files of this folder (and read by their test).
 *
 * A page is in one of three states, told by two numbers:
 *
 *      refs == 0, n_ids == 0    free      on the stack kv->free
 *      refs == 0, n_ids  > 0    cached    held by the tree alone; in the eviction queue
 *      refs  > 0                used      refs block tables hold it, and the tree too when n_ids > 0
 *
 * The tree node of a page lives in the page's own record, so the tree needs no memory of its own and a node is named by
 * its page number.  An open sequence holds every node on its path, so whatever hangs below a cached page is cached too.
 * A sequence lets its pages go deepest first; with the line before, a child always stands before its parent in the
 * eviction queue.  So the oldest page of the queue is always a leaf, and evicting it takes no search. */
#ifndef LT_KV_INTERNAL_H
#define LT_KV_INTERNAL_H

#include <stdbool.h>

#include "kv/kv.h"

enum { LT_NO_PAGE = -1, LT_PENDING = -2 };

typedef struct {
    uint64_t scope;
    uint64_t hash;        /* of (scope, parent, ids), full nodes only */
    int32_t parent;       /* LT_NO_PAGE: first page of a history */
    int32_t child;        /* head of the list of children */
    int32_t next, prev;   /* siblings */
    int32_t chain;        /* next of the same hash bucket, full nodes only */
    int32_t older, newer; /* eviction queue */
    int32_t refs;         /* block tables that hold this page */
    int32_t n_ids;        /* 0: not in the tree; LT_PAGE: full; between: a leaf, part full */
    int32_t checkpoint;   /* of the state behind a full page of the tree; LT_NO_CHECKPOINT */
    int32_t ids[LT_PAGE];
} lt_kv_page;

typedef struct {
    uint64_t scope;
    int32_t *table;
    int32_t n_pages;
    int32_t n_published; /* head of the table that is a path of the tree */
    int32_t n_computed;  /* as of the last publish: ids[0..n_computed) are in the pages; 0 before the first */
    const int32_t *ids;  /* the owner's */
    bool open;
    bool altered;        /* some cells are no longer what the ids alone give: no more pages enter the tree */
} lt_kv_seq;

typedef struct {
    int32_t page;  /* whose; LT_NO_PAGE: free; LT_PENDING: taken, and not given to a page yet */
    bool reused;   /* a sequence has begun from it */
    int64_t stamp; /* of its last use: the smallest is the oldest */
} lt_kv_checkpoint;

struct lt_kv {
    lt_kv_page *pages;
    int32_t *free;    /* stack of n_free page numbers */
    int32_t *buckets; /* full nodes by hash */
    int32_t *tops;    /* first pages of histories, by scope: heads of sibling lists that several scopes may share */
    lt_kv_seq *seqs;
    int32_t *tables; /* n_seqs block tables of max_pages */
    int32_t *tally;  /* n_pages counters for lt_kv_check */
    lt_kv_checkpoint *checkpoints;
    int64_t clock;   /* of stamps */
    int32_t n_checkpoints;
    uint32_t bucket_mask;
    int32_t n_pages, n_seqs, max_pages;
    int32_t n_free, n_cached;
    int32_t oldest, newest; /* eviction queue */
};

/* pages.c: free stack, references, eviction queue. */
int32_t lt_kv_take(lt_kv *kv);             /* a page with one reference, evicting when none is free; LT_NO_PAGE */
void lt_kv_hold(lt_kv *kv, int32_t page);  /* one more reference */
void lt_kv_drop(lt_kv *kv, int32_t page);  /* one less; the last one leaves it cached (newest) or free */
void lt_kv_touch(lt_kv *kv, int32_t page); /* a cached page becomes the newest */
void lt_kv_evict(lt_kv *kv, int32_t page); /* a cached leaf becomes free */

/* checkpoints.c */
void lt_kv_lose_checkpoint(lt_kv *kv, int32_t page); /* it has none any more */
void lt_kv_use_checkpoint(lt_kv *kv, int32_t page);  /* a sequence begins from it */

/* tree.c.  A place in the tree is (scope, parent page). */
typedef struct {
    uint64_t scope;
    int32_t parent;
} lt_kv_place;
int32_t lt_tree_find(const lt_kv *kv, lt_kv_place at, const int32_t *ids); /* the full page with these LT_PAGE ids; LT_NO_PAGE */
/* The child that shares the longest head with ids[0..n), n <= LT_PAGE; *n_shared of them.  LT_NO_PAGE when none shares any. */
int32_t lt_tree_closest(const lt_kv *kv, lt_kv_place at, const int32_t *ids, int32_t n, int32_t *n_shared);
void lt_tree_insert(lt_kv *kv, lt_kv_place at, int32_t page, const int32_t *ids, int32_t n);
void lt_tree_remove(lt_kv *kv, int32_t page);           /* a leaf */
int32_t lt_tree_first(const lt_kv *kv, lt_kv_place at); /* head of a sibling list; filter it by scope */

#endif
