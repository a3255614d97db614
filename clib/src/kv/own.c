/* own.c - before computed cells may change, their pages must be the sequence's alone and out of the prefix tree. */
#include "kv/internal.h"

/* Everything below a page leaves the tree, leaves first; all of it must be cached. */
static void evict_below(lt_kv *kv, int32_t root)
{
    int32_t page = root;
    for (;;) {
        while (kv->pages[page].child != LT_NO_PAGE)
            page = kv->pages[page].child;
        if (page == root)
            return;
        const int32_t parent = kv->pages[page].parent;
        lt_kv_evict(kv, page);
        page = parent;
    }
}

/* An open sequence holds every page of its path, so below one that only we hold there is nothing but ours and cached pages. */
static void leave_tree(lt_kv *kv, int32_t page)
{
    evict_below(kv, page);
    lt_tree_remove(kv, page);
}

static lt_kv_copy replace_page(lt_kv *kv, int32_t *entry)
{
    const lt_kv_copy copy = {*entry, lt_kv_take(kv), LT_PAGE};
    lt_kv_drop(kv, copy.src);
    *entry = copy.dst;
    return copy;
}

static int32_t count_shared(const lt_kv *kv, const lt_kv_seq *s, int32_t first)
{
    int32_t n = 0;
    for (int32_t i = first; i < s->n_published; i++)
        n += kv->pages[s->table[i]].refs > 1;
    return n;
}

int lt_kv_own(lt_kv *kv, int32_t seq, int32_t first, lt_kv_copy *copies, int32_t *n_copies)
{
    if (seq < 0 || seq >= kv->n_seqs || !kv->seqs[seq].open || first < 0)
        return lt_fail(LT_E_ARG, "sequence %d, page %d: must be an open sequence and a page of it", seq, first);
    lt_kv_seq *s = &kv->seqs[seq];
    const int32_t n_shared = count_shared(kv, s, first);
    if (n_shared > kv->n_free + kv->n_cached)
        return lt_fail(LT_E_KV_FULL, "%d more KV pages are needed, %d are left", n_shared, kv->n_free + kv->n_cached);
    *n_copies = 0;
    for (int32_t i = s->n_published - 1; i >= first; i--) /* deepest first: a page leaves the tree as a leaf */
        if (kv->pages[s->table[i]].refs == 1)
            leave_tree(kv, s->table[i]);
        else
            copies[(*n_copies)++] = replace_page(kv, &s->table[i]);
    s->n_published = s->n_published < first ? s->n_published : first;
    s->altered = true;
    s->n_computed = 0; /* nothing of its own pages may be copied either */
    return LT_OK;
}

void lt_kv_trim(lt_kv *kv, int32_t seq, int32_t n_tokens)
{
    if (seq < 0 || seq >= kv->n_seqs || n_tokens < 0)
        return;
    lt_kv_seq *s = &kv->seqs[seq]; /* closed: it has no pages */
    while (s->n_pages > (n_tokens + LT_PAGE - 1) / LT_PAGE)
        lt_kv_drop(kv, s->table[--s->n_pages]);
    s->n_published = s->n_published < s->n_pages ? s->n_published : s->n_pages;
    s->n_computed = s->n_computed < n_tokens ? s->n_computed : n_tokens;
}

bool lt_kv_is_altered(const lt_kv *kv, int32_t seq)
{
    return seq >= 0 && seq < kv->n_seqs && kv->seqs[seq].altered;
}
