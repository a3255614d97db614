/* tree.c - the prefix tree: pages by the exact ids that led to them.
 *
 * Full pages are found by hash whatever the number of siblings; the one partial match at the end of a lookup walks the
 * siblings and stops at the first differing id of each. */
#include "kv/internal.h"

#include <string.h>

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static uint64_t hash_full(lt_kv_place at, const int32_t *ids)
{
    uint64_t h = mix(mix(0, at.scope), (uint32_t)at.parent);
    for (int i = 0; i < LT_PAGE; i += 2)
        h = mix(h, (uint64_t)(uint32_t)ids[i] << 32 | (uint32_t)ids[i + 1]);
    return h;
}

static int32_t *head_of(const lt_kv *kv, lt_kv_place at)
{
    return at.parent == LT_NO_PAGE ? &kv->tops[mix(0, at.scope) & kv->bucket_mask] : &kv->pages[at.parent].child;
}

int32_t lt_tree_first(const lt_kv *kv, lt_kv_place at)
{
    return *head_of(kv, at);
}

int32_t lt_tree_find(const lt_kv *kv, lt_kv_place at, const int32_t *ids)
{
    uint64_t hash = hash_full(at, ids);
    for (int32_t i = kv->buckets[hash & kv->bucket_mask]; i != LT_NO_PAGE; i = kv->pages[i].chain) {
        const lt_kv_page *p = &kv->pages[i];
        if (p->hash == hash && p->scope == at.scope && p->parent == at.parent && !memcmp(p->ids, ids, sizeof p->ids))
            return i;
    }
    return LT_NO_PAGE;
}

int32_t lt_tree_closest(const lt_kv *kv, lt_kv_place at, const int32_t *ids, int32_t n, int32_t *n_shared)
{
    int32_t best = LT_NO_PAGE, best_len = 0;
    for (int32_t i = lt_tree_first(kv, at); i != LT_NO_PAGE && best_len < n; i = kv->pages[i].next) {
        const lt_kv_page *p = &kv->pages[i];
        int32_t len = 0, max = n < p->n_ids ? n : p->n_ids;
        while (len < max && p->ids[len] == ids[len])
            len++;
        if (len > best_len && p->scope == at.scope) {
            best = i;
            best_len = len;
        }
    }
    *n_shared = best_len;
    return best;
}

void lt_tree_insert(lt_kv *kv, lt_kv_place at, int32_t page, const int32_t *ids, int32_t n)
{
    lt_kv_page *p = &kv->pages[page];
    int32_t *head = head_of(kv, at);
    p->scope = at.scope;
    p->parent = at.parent;
    p->child = p->prev = LT_NO_PAGE;
    p->next = *head;
    p->n_ids = n;
    memcpy(p->ids, ids, (size_t)n * sizeof *ids);
    if (*head != LT_NO_PAGE)
        kv->pages[*head].prev = page;
    *head = page;
    if (n == LT_PAGE) {
        p->hash = hash_full(at, ids);
        p->chain = kv->buckets[p->hash & kv->bucket_mask];
        kv->buckets[p->hash & kv->bucket_mask] = page;
    }
}

static void leave_bucket(lt_kv *kv, int32_t page)
{
    int32_t *link = &kv->buckets[kv->pages[page].hash & kv->bucket_mask];
    while (*link != page)
        link = &kv->pages[*link].chain;
    *link = kv->pages[page].chain;
}

void lt_tree_remove(lt_kv *kv, int32_t page)
{
    lt_kv_page *p = &kv->pages[page];
    if (p->prev == LT_NO_PAGE)
        *head_of(kv, (lt_kv_place){p->scope, p->parent}) = p->next;
    else
        kv->pages[p->prev].next = p->next;
    if (p->next != LT_NO_PAGE)
        kv->pages[p->next].prev = p->prev;
    if (p->n_ids == LT_PAGE)
        leave_bucket(kv, page);
    p->n_ids = 0;
    lt_kv_lose_checkpoint(kv, page);
}
