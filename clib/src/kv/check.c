/* check.c - lt_kv_check: every invariant of internal.h, recomputed from scratch.
 *
 * Each step counts in kv->tally what the records claim, so a page listed twice or not at all is seen. */
#include "kv/internal.h"

#include <string.h>

#define EXPECT(cond, ...)                                                                                                                  \
    do {                                                                                                                                   \
        if (!(cond))                                                                                                                       \
            return lt_fail(LT_E_ARG, __VA_ARGS__);                                                                                         \
    } while (0)

static bool is_page(const lt_kv *kv, int32_t page)
{
    return page >= 0 && page < kv->n_pages;
}

static void clear_tally(const lt_kv *kv)
{
    memset(kv->tally, 0, (size_t)kv->n_pages * sizeof *kv->tally);
}

static int check_free(const lt_kv *kv)
{
    clear_tally(kv);
    for (int32_t i = 0; i < kv->n_free; i++) {
        int32_t page = kv->free[i];
        EXPECT(is_page(kv, page), "free list holds page %d of %d", page, kv->n_pages);
        EXPECT(!kv->tally[page]++, "page %d is free twice", page);
        EXPECT(!kv->pages[page].refs && !kv->pages[page].n_ids, "page %d is free and in use", page);
    }
    return LT_OK;
}

/* Every page of the queue: cached, once, linked both ways, older than its parent. */
static int check_queue(const lt_kv *kv)
{
    int32_t n = 0, before = LT_NO_PAGE;
    clear_tally(kv);
    for (int32_t i = kv->oldest; i != LT_NO_PAGE; before = i, i = kv->pages[i].newer) {
        EXPECT(is_page(kv, i) && n++ < kv->n_cached, "eviction queue is longer than its count %d", kv->n_cached);
        const lt_kv_page *p = &kv->pages[i];
        EXPECT(p->older == before, "page %d is linked wrongly in the eviction queue", i);
        EXPECT(!p->refs && p->n_ids, "page %d is in the eviction queue and not cached", i);
        EXPECT(p->parent == LT_NO_PAGE || (is_page(kv, p->parent) && !kv->tally[p->parent]), "page %d would be evicted before its child %d",
               p->parent, i);
        kv->tally[i] = 1;
    }
    EXPECT(kv->newest == before && n == kv->n_cached, "eviction queue has %d pages, its count is %d", n, kv->n_cached);
    return LT_OK;
}

/* The open sequences: which tree path they stand on, and the references they hold. */
static int check_sequence(const lt_kv *kv, int32_t seq)
{
    const lt_kv_seq *s = &kv->seqs[seq];
    EXPECT(s->open || !s->n_pages, "sequence %d is closed and holds pages", seq);
    EXPECT(s->n_published >= 0 && s->n_published <= s->n_pages && s->n_pages <= kv->max_pages, "sequence %d: %d of %d pages published", seq,
           s->n_published, s->n_pages);
    for (int32_t i = 0; i < s->n_pages; i++) {
        EXPECT(is_page(kv, s->table[i]), "sequence %d: entry %d is page %d", seq, i, s->table[i]);
        const lt_kv_page *p = &kv->pages[s->table[i]];
        kv->tally[s->table[i]]++;
        if (i >= s->n_published)
            EXPECT(!p->n_ids && p->refs == 1, "sequence %d: its own page %d is shared", seq, s->table[i]);
        else
            EXPECT(p->n_ids == LT_PAGE && p->scope == s->scope && p->parent == (i ? s->table[i - 1] : LT_NO_PAGE),
                   "sequence %d: page %d is not on its path", seq, s->table[i]);
    }
    return LT_OK;
}

static int check_references(const lt_kv *kv)
{
    int32_t n_cached = 0, n_free = 0;
    clear_tally(kv);
    for (int32_t i = 0; i < kv->n_seqs; i++)
        LT_TRY(check_sequence(kv, i));
    for (int32_t i = 0; i < kv->n_pages; i++) {
        const lt_kv_page *p = &kv->pages[i];
        EXPECT(p->refs == kv->tally[i], "page %d: %d references, %d block tables", i, p->refs, kv->tally[i]);
        n_cached += !p->refs && p->n_ids;
        n_free += !p->refs && !p->n_ids;
    }
    EXPECT(n_cached == kv->n_cached && n_free == kv->n_free, "%d cached and %d free pages, counted as %d and %d", n_cached, n_free,
           kv->n_cached, kv->n_free);
    return LT_OK;
}

static bool is_head(const lt_kv_page *a, const lt_kv_page *b)
{
    return a->n_ids <= b->n_ids && !memcmp(a->ids, b->ids, (size_t)a->n_ids * sizeof *a->ids);
}

static int check_siblings(const lt_kv *kv, lt_kv_place at, int32_t page)
{
    const lt_kv_page *p = &kv->pages[page];
    int32_t n_seen = 0, steps = 0;
    for (int32_t i = lt_tree_first(kv, at); i != LT_NO_PAGE; i = kv->pages[i].next) {
        EXPECT(is_page(kv, i) && steps++ < kv->n_pages, "the siblings of page %d form a ring", page);
        const lt_kv_page *q = &kv->pages[i];
        EXPECT(q->prev == LT_NO_PAGE || (is_page(kv, q->prev) && kv->pages[q->prev].next == i),
               "page %d is linked wrongly among its siblings", i);
        EXPECT(q->n_ids && q->parent == at.parent, "page %d is listed under the wrong parent %d", i, at.parent);
        EXPECT(i == page || q->scope != p->scope || !is_head(p, q), "page %d repeats the head of its sibling %d", page, i);
        n_seen += i == page;
    }
    EXPECT(n_seen == 1, "page %d is %d times among its siblings", page, n_seen);
    return LT_OK;
}

static int check_node(const lt_kv *kv, int32_t page)
{
    const lt_kv_page *p = &kv->pages[page];
    lt_kv_place at = {p->scope, p->parent};
    EXPECT(p->n_ids > 0 && p->n_ids <= LT_PAGE, "page %d holds %d ids", page, p->n_ids);
    EXPECT(p->n_ids == LT_PAGE || p->child == LT_NO_PAGE, "page %d is part full and has a child", page);
    EXPECT(p->n_ids < LT_PAGE || lt_tree_find(kv, at, p->ids) == page, "page %d is not found by its ids", page);
    if (p->parent != LT_NO_PAGE) {
        EXPECT(is_page(kv, p->parent), "page %d has parent %d of %d", page, p->parent, kv->n_pages);
        const lt_kv_page *parent = &kv->pages[p->parent];
        EXPECT(parent->n_ids == LT_PAGE && parent->scope == p->scope, "page %d hangs below page %d, which is not a full page of its scope",
               page, p->parent);
        EXPECT(!p->refs || parent->refs >= p->refs, "page %d is held by more sequences than its parent", page);
    }
    return check_siblings(kv, at, page);
}

/* Checkpoints and full pages of the tree name each other. */
static int check_checkpoints(const lt_kv *kv)
{
    for (int32_t i = 0; i < kv->n_checkpoints; i++) {
        const int32_t page = kv->checkpoints[i].page;
        EXPECT(page == LT_NO_PAGE || page == LT_PENDING || is_page(kv, page), "checkpoint %d is of page %d", i, page);
        EXPECT(page < 0 || kv->pages[page].checkpoint == i, "page %d has checkpoint %d, not %d", page, kv->pages[page].checkpoint, i);
    }
    for (int32_t i = 0; i < kv->n_pages; i++) {
        const lt_kv_page *p = &kv->pages[i];
        if (p->checkpoint == LT_NO_CHECKPOINT)
            continue;
        EXPECT(p->checkpoint >= 0 && p->checkpoint < kv->n_checkpoints && kv->checkpoints[p->checkpoint].page == i,
               "page %d has checkpoint %d, which is another's", i, p->checkpoint);
        EXPECT(p->n_ids == LT_PAGE, "page %d has a checkpoint and %d ids", i, p->n_ids);
    }
    return LT_OK;
}

int lt_kv_check(const lt_kv *kv)
{
    LT_TRY(check_free(kv));
    LT_TRY(check_queue(kv));
    LT_TRY(check_references(kv));
    LT_TRY(check_checkpoints(kv));
    for (int32_t i = 0; i < kv->n_pages; i++)
        if (kv->pages[i].n_ids)
            LT_TRY(check_node(kv, i));
    return LT_OK;
}
