/* pages.c - the life of a page: free, used, cached, evicted.  All constant time. */
#include "kv/internal.h"

static void join_queue(lt_kv *kv, int32_t page)
{
    lt_kv_page *p = &kv->pages[page];
    p->older = kv->newest;
    p->newer = LT_NO_PAGE;
    if (kv->newest == LT_NO_PAGE)
        kv->oldest = page;
    else
        kv->pages[kv->newest].newer = page;
    kv->newest = page;
    kv->n_cached++;
}

static void leave_queue(lt_kv *kv, int32_t page)
{
    const lt_kv_page *p = &kv->pages[page];
    if (p->older == LT_NO_PAGE)
        kv->oldest = p->newer;
    else
        kv->pages[p->older].newer = p->newer;
    if (p->newer == LT_NO_PAGE)
        kv->newest = p->older;
    else
        kv->pages[p->newer].older = p->older;
    kv->n_cached--;
}

void lt_kv_evict(lt_kv *kv, int32_t page)
{
    leave_queue(kv, page);
    lt_tree_remove(kv, page);
    kv->free[kv->n_free++] = page;
}

int32_t lt_kv_take(lt_kv *kv)
{
    if (!kv->n_free && kv->oldest != LT_NO_PAGE)
        lt_kv_evict(kv, kv->oldest);
    if (!kv->n_free)
        return LT_NO_PAGE;
    int32_t page = kv->free[--kv->n_free];
    kv->pages[page].refs = 1;
    return page;
}

void lt_kv_hold(lt_kv *kv, int32_t page)
{
    if (kv->pages[page].refs++ == 0)
        leave_queue(kv, page);
}

void lt_kv_drop(lt_kv *kv, int32_t page)
{
    lt_kv_page *p = &kv->pages[page];
    if (--p->refs > 0)
        return;
    if (p->n_ids)
        join_queue(kv, page);
    else
        kv->free[kv->n_free++] = page;
}

void lt_kv_touch(lt_kv *kv, int32_t page)
{
    lt_kv_hold(kv, page);
    lt_kv_drop(kv, page);
}
