/* place.c - remembered allocations: their nodes, and locking them. */
#define _GNU_SOURCE
#include "core/place.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/memory.h"

struct lt_block {
    lt_block *next;
    void *start;
    size_t n_bytes;
};

static bool set_policy(lt_place *p, const lt_block *b)
{
    if (p->policy && syscall(SYS_mbind, b->start, b->n_bytes, p->policy, p->nodes.words, LT_MAX_BITS, 0))
        p->error = errno;
    return !p->error;
}

void *lt_place_alloc(lt_place *p, size_t n_items, size_t item_bytes)
{
    if (!p->lock && !p->policy)
        return lt_alloc(n_items, item_bytes);
    lt_block *b = lt_alloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->start = lt_alloc_pages(n_items, item_bytes, &b->n_bytes);
    if (!b->start || !set_policy(p, b)) {
        lt_free(b->start);
        lt_free(b);
        return NULL;
    }
    b->next = p->blocks;
    p->blocks = b;
    p->n_bytes += b->n_bytes;
    return b->start;
}

int lt_place_fail(const lt_place *p, int code)
{
    return p->error ? lt_fail(LT_E_IO, "numa: the system does not place memory on nodes (mbind): %s", strerror(p->error)) : code;
}

void lt_place_trim(lt_place *p, const void *start, size_t n_bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded = (n_bytes + page - 1) / page * page;
    for (lt_block *b = p->blocks; b; b = b->next)
        if (b->start == start && rounded < b->n_bytes) {
            p->n_bytes -= b->n_bytes - rounded;
            b->n_bytes = rounded;
        }
}

static int fail_lock(const lt_place *p, int error)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur < p->n_bytes)
        return lt_fail(LT_E_IO,
                       "mlock: weights, KV cache and scratch need %zu bytes of locked memory, but RLIMIT_MEMLOCK (ulimit -l) is %" PRIuMAX
                       " bytes: raise it, or do without mlock",
                       p->n_bytes, (uintmax_t)limit.rlim_cur);
    return lt_fail(LT_E_IO, "mlock: the system does not lock %zu bytes into memory: %s", p->n_bytes, strerror(error));
}

int lt_place_lock(lt_place *p)
{
    if (!p->lock)
        return LT_OK;
    p->locked = true;
    for (const lt_block *b = p->blocks; b; b = b->next)
        if (mlock(b->start, b->n_bytes))
            return fail_lock(p, errno);
    return LT_OK;
}

void lt_place_forget(lt_place *p)
{
    for (lt_block *b = p->blocks, *next; b; b = next) {
        next = b->next;
        if (p->locked)
            munlock(b->start, b->n_bytes);
        lt_free(b);
    }
    *p = (lt_place){0};
}
