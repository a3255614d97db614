/* memory.c - aligned allocation with injected failure. */
#include "core/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

static _Atomic int64_t n_allocs, fail_at;

void lt_fail_alloc_at(int64_t n)
{
    atomic_store(&fail_at, n > 0 ? atomic_load(&n_allocs) + n : 0);
}

int64_t lt_alloc_count(void)
{
    return atomic_load(&n_allocs);
}

/* Counts one allocation; true when this is the one that must fail. */
static int refused(size_t n_items, size_t item_bytes, size_t *bytes)
{
    int64_t i = atomic_fetch_add(&n_allocs, 1) + 1;
    if (i == atomic_load_explicit(&fail_at, memory_order_relaxed))
        return 1;
    if (lt_mul_size(n_items, item_bytes, bytes) || *bytes > PTRDIFF_MAX - HUGE_PAGE)
        return 1;
    if (*bytes == 0)
        *bytes = 1;
    return 0;
}

static void *allocate(size_t alignment, size_t bytes)
{
    void *p = NULL;
    const int huge = bytes >= (size_t)2 * HUGE_PAGE;
    if (posix_memalign(&p, huge ? HUGE_PAGE : alignment, bytes))
        return NULL;
    if (huge)
        madvise(p, bytes, MADV_HUGEPAGE); /* a wish: weights are read end to end at every step */
    return p;
}

void *lt_alloc(size_t n_items, size_t item_bytes)
{
    size_t bytes;
    if (refused(n_items, item_bytes, &bytes))
        return NULL;
    return allocate(64, bytes);
}

void *lt_alloc_pages(size_t n_items, size_t item_bytes, size_t *n_bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes;
    if (refused(n_items, item_bytes, &bytes))
        return NULL;
    *n_bytes = (bytes + page - 1) / page * page;
    return allocate(page, *n_bytes);
}

void *lt_alloc_zero(size_t n_items, size_t item_bytes)
{
    size_t bytes;
    if (refused(n_items, item_bytes, &bytes))
        return NULL;
    if (bytes < (size_t)1 << 20) {
        void *p = NULL;
        if (posix_memalign(&p, 64, bytes))
            return NULL;
        return memset(p, 0, bytes);
    }
    return calloc(1, bytes); /* large: fresh zero pages, touched on first use */
}

void *lt_resize(void *p, size_t n_items, size_t item_bytes)
{
    size_t bytes;
    return refused(n_items, item_bytes, &bytes) ? NULL : realloc(p, bytes);
}

void lt_free(void *p)
{
    free(p);
}
