/* memory.h - the only allocator of the library: checked products, and failure on demand for the tests.
 *
 * Every allocation returns NULL on failure (the caller turns that into LT_E_NOMEM) and is released with lt_free.
 * After lt_fail_alloc_at(n), which only tests call, the n-th
 * allocation from then on fails (once). */
#ifndef LT_MEMORY_H
#define LT_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *lt_alloc(size_t n_items, size_t item_bytes);            /* uninitialised; 64-byte aligned, in huge pages when large; NULL on overflow */
void *lt_alloc_pages(size_t n_items, size_t item_bytes, size_t *n_bytes); /* as lt_alloc, but whole pages, shared with nobody: *n_bytes of them */
void *lt_alloc_zero(size_t n_items, size_t item_bytes);       /* zeroed; from 1 MiB on lazily, by the system, and 16-byte aligned */
void *lt_resize(void *p, size_t n_items, size_t item_bytes);  /* realloc; not aligned beyond malloc's; p from lt_resize or NULL only */
void lt_free(void *p);
void lt_fail_alloc_at(int64_t n);                             /* 1: the next one; 0: never */
int64_t lt_alloc_count(void);                                 /* allocations so far, for the tests' sweep */

/* a*b and a+b into *out; 0 on success, -1 on overflow */
static inline int lt_mul_size(size_t a, size_t b, size_t *out)
{
    return __builtin_mul_overflow(a, b, out) ? -1 : 0;
}
static inline int lt_add_size(size_t a, size_t b, size_t *out)
{
    return __builtin_add_overflow(a, b, out) ? -1 : 0;
}

#endif
