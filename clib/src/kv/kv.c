/* kv.c - the operations of kv.h on sequences and their block tables. */
#include "kv/internal.h"

#include <string.h>

#include "core/memory.h"

static bool is_open(const lt_kv *kv, int32_t seq)
{
    return seq >= 0 && seq < kv->n_seqs && kv->seqs[seq].open;
}

static int32_t pages_for(int32_t n_tokens)
{
    return n_tokens / LT_PAGE + (n_tokens % LT_PAGE != 0);
}

/* Where page `index` of this sequence belongs in the tree. */
static lt_kv_place place_of(const lt_kv_seq *s, int32_t index)
{
    return (lt_kv_place){s->scope, index ? s->table[index - 1] : LT_NO_PAGE};
}

/* ---- life ---- */

static uint32_t bucket_count(int32_t n_pages)
{
    uint32_t n = 16;
    while (n < (uint32_t)n_pages * 2)
        n *= 2;
    return n;
}

static int take_memory(lt_kv *kv)
{
    size_t n_pages = (size_t)kv->n_pages, n_seqs = (size_t)kv->n_seqs, n_buckets = (size_t)kv->bucket_mask + 1, n_entries;
    if (lt_mul_size(n_seqs, (size_t)kv->max_pages, &n_entries))
        return -1;
    kv->pages = lt_alloc_zero(n_pages, sizeof *kv->pages);
    kv->free = lt_alloc(n_pages, sizeof *kv->free);
    kv->buckets = lt_alloc(n_buckets, sizeof *kv->buckets);
    kv->tops = lt_alloc(n_buckets, sizeof *kv->tops);
    kv->seqs = lt_alloc_zero(n_seqs, sizeof *kv->seqs);
    kv->tables = lt_alloc(n_entries, sizeof *kv->tables);
    kv->tally = lt_alloc(n_pages, sizeof *kv->tally);
    kv->checkpoints = lt_alloc_zero((size_t)kv->n_checkpoints + 1, sizeof *kv->checkpoints);
    const bool complete = kv->pages && kv->free && kv->buckets && kv->tops && kv->seqs && kv->tables && kv->tally;
    return complete && kv->checkpoints ? 0 : -1;
}

static void make_empty(lt_kv *kv)
{
    for (uint32_t i = 0; i <= kv->bucket_mask; i++)
        kv->buckets[i] = kv->tops[i] = LT_NO_PAGE;
    for (int32_t i = kv->n_pages - 1; i >= 0; i--) {
        kv->free[kv->n_free++] = i;
        kv->pages[i].checkpoint = LT_NO_CHECKPOINT;
    }
    for (int32_t i = 0; i < kv->n_checkpoints; i++)
        kv->checkpoints[i].page = LT_NO_PAGE;
    for (int32_t i = 0; i < kv->n_seqs; i++)
        kv->seqs[i].table = kv->tables + (size_t)i * (size_t)kv->max_pages;
    kv->oldest = kv->newest = LT_NO_PAGE;
}

int lt_kv_create(lt_kv **out, int32_t n_pages, int32_t n_seqs, int32_t max_tokens, int32_t n_checkpoints)
{
    if (n_pages < 1 || n_pages > 1 << 28 || n_seqs < 1 || max_tokens < 1 || n_checkpoints < 0)
        return lt_fail(LT_E_ARG, "KV cache of %d pages, %d sequences, %d tokens: each must be positive, pages at most 2^28", n_pages,
                       n_seqs, max_tokens);
    lt_kv *kv = lt_alloc_zero(1, sizeof *kv);
    if (!kv)
        return lt_fail(LT_E_NOMEM, "no memory for the KV page table");
    kv->n_pages = n_pages;
    kv->n_seqs = n_seqs;
    kv->max_pages = pages_for(max_tokens);
    kv->n_checkpoints = n_checkpoints;
    kv->bucket_mask = bucket_count(n_pages) - 1;
    if (take_memory(kv)) {
        lt_kv_destroy(kv);
        return lt_fail(LT_E_NOMEM, "no memory for the KV page table (%d pages, %d sequences)", n_pages, n_seqs);
    }
    make_empty(kv);
    *out = kv;
    return LT_OK;
}

void lt_kv_destroy(lt_kv *kv)
{
    if (!kv)
        return;
    lt_free(kv->pages);
    lt_free(kv->free);
    lt_free(kv->buckets);
    lt_free(kv->tops);
    lt_free(kv->seqs);
    lt_free(kv->tables);
    lt_free(kv->tally);
    lt_free(kv->checkpoints);
    lt_free(kv);
}

/* ---- open: take what the tree has ---- */

static void take_full_pages(lt_kv *kv, lt_kv_seq *s, const int32_t *ids, int32_t max_cached)
{
    const int32_t n = lt_kv_depth(kv, s->scope, ids, max_cached, kv->n_checkpoints > 0) / LT_PAGE;
    for (; s->n_pages < n; s->n_pages++) {
        s->table[s->n_pages] = lt_tree_find(kv, place_of(s, s->n_pages), ids + s->n_pages * LT_PAGE);
        lt_kv_hold(kv, s->table[s->n_pages]);
    }
    s->n_published = n;
    if (kv->n_checkpoints && n)
        lt_kv_use_checkpoint(kv, s->table[n - 1]);
}

/* Of another sequence that is at the same place, its page there, which it has not published yet. */
static int32_t unpublished_page(const lt_kv_seq *s, const lt_kv_seq *other)
{
    const int32_t index = s->n_pages;
    const bool same_path = other->n_published == index && (!index || other->table[index - 1] == s->table[index - 1]);
    return other->open && other->scope == s->scope && same_path && other->n_pages > index ? other->table[index] : LT_NO_PAGE;
}

/* As lt_tree_closest, among the pages that open sequences are filling. */
static int32_t closest_unpublished(const lt_kv *kv, const lt_kv_seq *s, const int32_t *ids, int32_t n, int32_t *n_shared)
{
    int32_t best = LT_NO_PAGE, start = s->n_pages * LT_PAGE;
    *n_shared = 0;
    for (const lt_kv_seq *other = kv->seqs; other < kv->seqs + kv->n_seqs; other++) {
        const int32_t page = other == s ? LT_NO_PAGE : unpublished_page(s, other);
        int32_t len = 0, max = page == LT_NO_PAGE ? 0 : other->n_computed - start;
        while (len < n && len < max && other->ids[start + len] == ids[len])
            len++;
        if (len > *n_shared) {
            best = page;
            *n_shared = len;
        }
    }
    return best;
}

/* The matching head of one more page, into a page of our own; the source is held so that making room cannot evict it. */
static lt_kv_copy take_head(lt_kv *kv, lt_kv_seq *s, const int32_t *ids, int32_t max_cached)
{
    lt_kv_copy none = {LT_NO_PAGE, LT_NO_PAGE, 0};
    int32_t start = s->n_pages * LT_PAGE, left = max_cached - start, n, n_filling;
    left = left < LT_PAGE ? left : LT_PAGE;
    int32_t src = lt_tree_closest(kv, place_of(s, s->n_pages), ids + start, left, &n);
    int32_t filling = closest_unpublished(kv, s, ids + start, left, &n_filling);
    if (n_filling > n) {
        src = filling;
        n = n_filling;
    }
    if (src == LT_NO_PAGE)
        return none;
    lt_kv_hold(kv, src);
    int32_t dst = lt_kv_take(kv);
    lt_kv_drop(kv, src);
    if (dst == LT_NO_PAGE)
        return none;
    s->table[s->n_pages++] = dst;
    return (lt_kv_copy){src, dst, n};
}

int lt_kv_open(lt_kv *kv, int32_t seq, uint64_t scope, const int32_t *ids, int32_t max_cached, int32_t *n_cached, lt_kv_copy *copy)
{
    if (seq < 0 || seq >= kv->n_seqs || kv->seqs[seq].open)
        return lt_fail(LT_E_ARG, "sequence %d: must be 0..%d and not open", seq, kv->n_seqs - 1);
    if (max_cached < 0 || pages_for(max_cached) > kv->max_pages)
        return lt_fail(LT_E_LIMIT, "sequence %d: %d tokens, a sequence holds at most %d pages of %d", seq, max_cached, kv->max_pages,
                       LT_PAGE);
    lt_kv_seq *s = &kv->seqs[seq];
    s->open = true;
    s->scope = scope;
    s->n_pages = s->n_computed = 0;
    take_full_pages(kv, s, ids, max_cached);
    *copy = kv->n_checkpoints ? (lt_kv_copy){0} : take_head(kv, s, ids, max_cached);
    *n_cached = s->n_published * LT_PAGE + copy->n_tokens;
    return LT_OK;
}

/* ---- reserve ---- */

static int count_missing(const lt_kv *kv, const lt_kv_need *needs, int32_t n, int64_t *n_missing)
{
    *n_missing = 0;
    for (int32_t i = 0; i < n; i++) {
        if (!is_open(kv, needs[i].seq))
            return lt_fail(LT_E_ARG, "sequence %d is not open", needs[i].seq);
        int32_t want = pages_for(needs[i].n_tokens), have = kv->seqs[needs[i].seq].n_pages;
        if (needs[i].n_tokens < 0 || want > kv->max_pages)
            return lt_fail(LT_E_LIMIT, "sequence %d: %d tokens, a sequence holds 0 to %d pages of %d", needs[i].seq, needs[i].n_tokens,
                           kv->max_pages, LT_PAGE);
        *n_missing += want > have ? want - have : 0;
    }
    return LT_OK;
}

int lt_kv_reserve(lt_kv *kv, const lt_kv_need *needs, int32_t n)
{
    int64_t n_missing;
    LT_TRY(count_missing(kv, needs, n, &n_missing));
    if (n_missing > kv->n_free + kv->n_cached)
        return lt_fail(LT_E_KV_FULL, "%d more KV pages are needed, %d are left", (int)n_missing, kv->n_free + kv->n_cached);
    for (int32_t i = 0; i < n; i++) {
        lt_kv_seq *s = &kv->seqs[needs[i].seq];
        while (s->n_pages < pages_for(needs[i].n_tokens))
            s->table[s->n_pages++] = lt_kv_take(kv);
    }
    return LT_OK;
}

/* ---- publish and close: give to the tree ---- */

/* A part-full leaf whose ids are the head of a new sibling's is of no more use. */
static void evict_head(lt_kv *kv, lt_kv_place at, const int32_t *ids, int32_t n)
{
    for (int32_t i = lt_tree_first(kv, at); i != LT_NO_PAGE; i = kv->pages[i].next) {
        const lt_kv_page *p = &kv->pages[i];
        int32_t len = 0;
        while (len < p->n_ids && len < n && p->ids[len] == ids[len])
            len++;
        if (len == p->n_ids && p->scope == at.scope) {
            lt_kv_evict(kv, i);
            return; /* siblings are never heads of each other, so there is no second one */
        }
    }
}

static void publish_page(lt_kv *kv, lt_kv_seq *s, const int32_t *ids)
{
    int32_t index = s->n_published++;
    lt_kv_place at = place_of(s, index);
    ids += index * LT_PAGE;
    int32_t twin = lt_tree_find(kv, at, ids);
    if (twin == LT_NO_PAGE) {
        evict_head(kv, at, ids, LT_PAGE);
        lt_tree_insert(kv, at, s->table[index], ids, LT_PAGE);
        return;
    }
    lt_kv_hold(kv, twin);
    lt_kv_drop(kv, s->table[index]);
    s->table[index] = twin;
}

static void publish_full(lt_kv *kv, lt_kv_seq *s, const int32_t *ids, int32_t n_computed)
{
    while (s->n_published < s->n_pages && s->n_published < n_computed / LT_PAGE)
        publish_page(kv, s, ids);
}

void lt_kv_publish(lt_kv *kv, int32_t seq, const int32_t *ids, int32_t n_computed)
{
    if (!is_open(kv, seq) || kv->seqs[seq].altered)
        return;
    lt_kv_seq *s = &kv->seqs[seq];
    publish_full(kv, s, ids, n_computed);
    s->ids = ids;
    s->n_computed = n_computed;
}

/* The ids after the last full page: kept unless a sibling already begins with them. */
static void publish_tail(lt_kv *kv, lt_kv_seq *s, const int32_t *ids, int32_t n_computed)
{
    int32_t index = s->n_published, n = n_computed - index * LT_PAGE, n_shared;
    if (n <= 0 || index >= s->n_pages)
        return;
    lt_kv_place at = place_of(s, index);
    ids += index * LT_PAGE;
    int32_t closest = lt_tree_closest(kv, at, ids, n, &n_shared);
    if (n_shared == n) {
        if (!kv->pages[closest].refs)
            lt_kv_touch(kv, closest);
        return;
    }
    evict_head(kv, at, ids, n);
    lt_tree_insert(kv, at, s->table[index], ids, n);
}

void lt_kv_close(lt_kv *kv, int32_t seq, const int32_t *ids, int32_t n_computed, int keep)
{
    if (!is_open(kv, seq))
        return;
    lt_kv_seq *s = &kv->seqs[seq];
    if (keep && !s->altered) {
        publish_full(kv, s, ids, n_computed);
        if (!kv->n_checkpoints) /* nobody could begin within a page */
            publish_tail(kv, s, ids, n_computed);
    }
    while (s->n_pages) /* deepest first: internal.h says why */
        lt_kv_drop(kv, s->table[--s->n_pages]);
    s->open = s->altered = false;
    s->n_published = 0;
}

/* ---- looking ---- */

int32_t lt_kv_follow(const lt_kv *kv, int32_t seq, int32_t *ids, int32_t n, int32_t max)
{
    if (!is_open(kv, seq))
        return 0;
    const lt_kv_seq *s = &kv->seqs[seq];
    int32_t *start = ids + s->n_published * LT_PAGE, n_here = n - s->n_published * LT_PAGE, n_shared;
    if (n_here >= LT_PAGE)
        return 0;
    const int32_t page = lt_tree_closest(kv, place_of(s, s->n_published), start, n_here, &n_shared);
    if (page == LT_NO_PAGE || n_shared < n_here)
        return 0;
    const int32_t left = kv->pages[page].n_ids - n_here, n_ids = left < max ? left : max;
    memcpy(ids + n, kv->pages[page].ids + n_here, (size_t)n_ids * sizeof *ids);
    return n_ids;
}

const int32_t *lt_kv_table(const lt_kv *kv, int32_t seq, int32_t *n_pages)
{
    bool open = is_open(kv, seq);
    *n_pages = open ? kv->seqs[seq].n_pages : 0;
    return open ? kv->seqs[seq].table : NULL;
}

lt_kv_count lt_kv_counts(const lt_kv *kv)
{
    return (lt_kv_count){kv->n_free, kv->n_cached, kv->n_pages - kv->n_free - kv->n_cached};
}

/* ---- forget ---- */

static bool is_idle_leaf(const lt_kv *kv, int32_t page)
{
    return page != LT_NO_PAGE && !kv->pages[page].refs && kv->pages[page].child == LT_NO_PAGE;
}

/* Leaves that begin with these ids: this history's own, and those of longer runs of it. */
static void forget_tail(lt_kv *kv, lt_kv_place at, const int32_t *ids, int32_t n)
{
    int32_t n_shared, page = lt_tree_closest(kv, at, ids, n, &n_shared);
    while (n_shared == n && is_idle_leaf(kv, page)) {
        lt_kv_evict(kv, page);
        page = lt_tree_closest(kv, at, ids, n, &n_shared);
    }
}

void lt_kv_forget(lt_kv *kv, uint64_t scope, const int32_t *ids, int32_t n, int32_t n_keep)
{
    lt_kv_place at = {scope, LT_NO_PAGE};
    int32_t end = 0, page = LT_NO_PAGE;
    while (n - end >= LT_PAGE && (page = lt_tree_find(kv, at, ids + end)) != LT_NO_PAGE) {
        at.parent = page;
        end += LT_PAGE;
    }
    if (n > n_keep && n > end && n - end < LT_PAGE)
        forget_tail(kv, at, ids + end, n - end);
    for (page = at.parent; end > n_keep && is_idle_leaf(kv, page); end -= LT_PAGE) {
        const int32_t parent = kv->pages[page].parent;
        lt_kv_evict(kv, page);
        page = parent;
    }
}
