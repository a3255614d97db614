/* checkpoints.c - which pages of the tree have a state of the recurrent layers beside them.  They are few, so all are looked at. */
#include "kv/internal.h"

int32_t lt_kv_depth(const lt_kv *kv, uint64_t scope, const int32_t *ids, int32_t n, bool with_checkpoint)
{
    lt_kv_place at = {scope, LT_NO_PAGE};
    int32_t depth = 0;
    for (int32_t end = LT_PAGE; end <= n; end += LT_PAGE) {
        at.parent = lt_tree_find(kv, at, ids + end - LT_PAGE);
        if (at.parent == LT_NO_PAGE)
            break;
        if (!with_checkpoint || kv->pages[at.parent].checkpoint != LT_NO_CHECKPOINT)
            depth = end;
    }
    return depth;
}

void lt_kv_lose_checkpoint(lt_kv *kv, int32_t page)
{
    lt_kv_page *p = &kv->pages[page];
    if (p->checkpoint == LT_NO_CHECKPOINT)
        return;
    kv->checkpoints[p->checkpoint].page = LT_NO_PAGE;
    p->checkpoint = LT_NO_CHECKPOINT;
}

void lt_kv_use_checkpoint(lt_kv *kv, int32_t page)
{
    lt_kv_checkpoint *c = &kv->checkpoints[kv->pages[page].checkpoint];
    c->reused = true;
    c->stamp = kv->clock++;
}

int32_t lt_kv_take_checkpoint(lt_kv *kv)
{
    int32_t best = LT_NO_CHECKPOINT;
    for (int32_t i = 0; i < kv->n_checkpoints; i++) {
        const lt_kv_checkpoint *c = &kv->checkpoints[i];
        if (c->page == LT_NO_PAGE) {
            best = i;
            break;
        }
        if (c->page != LT_PENDING && (best == LT_NO_CHECKPOINT || c->stamp < kv->checkpoints[best].stamp))
            best = i;
    }
    if (best == LT_NO_CHECKPOINT)
        return best;
    if (kv->checkpoints[best].page != LT_NO_PAGE)
        lt_kv_lose_checkpoint(kv, kv->checkpoints[best].page);
    kv->checkpoints[best] = (lt_kv_checkpoint){.page = LT_PENDING};
    return best;
}

/* The page of the tree that ends with n_tokens of seq. */
static int32_t page_at(const lt_kv *kv, int32_t seq, int32_t n_tokens)
{
    const lt_kv_seq *s = &kv->seqs[seq];
    const int32_t index = n_tokens / LT_PAGE - 1;
    return seq >= 0 && seq < kv->n_seqs && s->open && index >= 0 && index < s->n_published ? s->table[index] : LT_NO_PAGE;
}

void lt_kv_keep_checkpoint(lt_kv *kv, int32_t seq, int32_t n_tokens, int32_t checkpoint)
{
    const int32_t page = page_at(kv, seq, n_tokens);
    lt_kv_checkpoint *c = &kv->checkpoints[checkpoint];
    if (page == LT_NO_PAGE || kv->pages[page].checkpoint != LT_NO_CHECKPOINT) {
        c->page = LT_NO_PAGE;
        return;
    }
    kv->pages[page].checkpoint = checkpoint;
    c->page = page;
    c->stamp = kv->clock++;
}

int32_t lt_kv_checkpoint_at(const lt_kv *kv, int32_t seq, int32_t n_tokens)
{
    const int32_t page = page_at(kv, seq, n_tokens);
    return page == LT_NO_PAGE ? LT_NO_CHECKPOINT : kv->pages[page].checkpoint;
}

void lt_kv_drop_checkpoint(lt_kv *kv, int32_t seq, int32_t n_tokens)
{
    const int32_t checkpoint = lt_kv_checkpoint_at(kv, seq, n_tokens);
    if (checkpoint != LT_NO_CHECKPOINT && !kv->checkpoints[checkpoint].reused)
        lt_kv_lose_checkpoint(kv, kv->checkpoints[checkpoint].page);
}
