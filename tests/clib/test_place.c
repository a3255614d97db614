/* test_place.c - allocations with and without a wish: aligned, counted, locked as the system says, unlocked again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "core/memory.h"
#include "core/place.h"

/* Kilobytes, -1: not said.  The sanitizers make mlock do nothing. */
static long locked_kb(void)
{
    char line[256];
    long kb = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmLck:", 6))
            kb = atol(line + 6);
    if (f)
        fclose(f);
    return kb;
}

#if defined(__SANITIZE_ADDRESS__)
enum { LOCKS = 0 };
#else
enum { LOCKS = 1 };
#endif

static void test_without_a_wish(void)
{
    lt_place p = {0};
    void *a = lt_place_alloc(&p, 10, 10);
    CHECK(a && !p.blocks && p.n_bytes == 0, "remembered without need");
    CHECK(lt_place_lock(&p) == LT_OK && !p.locked, "locked without a wish");
    lt_place_forget(&p);
    lt_free(a);
}

static void test_lock(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), sizes[] = {1, page, page + 1, 10 * page};
    const long before = locked_kb();
    lt_place p = {.lock = true};
    void *blocks[4];
    for (int i = 0; i < 4; i++) {
        blocks[i] = lt_place_alloc(&p, sizes[i], 1);
        CHECK(blocks[i] && (uintptr_t)blocks[i] % page == 0, "block %d is not at a page's start", i);
        memset(blocks[i], 1, sizes[i]);
    }
    CHECK(p.n_bytes == 14 * page, "%zu bytes", p.n_bytes);
    lt_place_trim(&p, blocks[3], 2 * page + 1);
    lt_place_trim(&p, blocks[1], 5 * page);
    CHECK(p.n_bytes == 7 * page, "%zu bytes after trimming", p.n_bytes);
    if (lt_place_lock(&p) == LT_OK)
        CHECK(!LOCKS || locked_kb() - before == (long)(7 * page / 1024), "%ld kB locked", locked_kb() - before);
    lt_place_forget(&p);
    CHECK(locked_kb() == before && !p.blocks && !p.n_bytes, "%ld kB stayed locked", locked_kb() - before);
    for (int i = 0; i < 4; i++)
        lt_free(blocks[i]);
}

static void test_failing(void)
{
    lt_place p = {.lock = true};
    for (int n = 1; n <= 2; n++) {
        lt_fail_alloc_at(n);
        CHECK(!lt_place_alloc(&p, 100, 100) && !p.blocks && !p.n_bytes, "allocation %d", n);
        lt_fail_alloc_at(0);
    }
    CHECK(!lt_place_alloc(&p, SIZE_MAX / 2, 3) && !lt_place_alloc(&p, PTRDIFF_MAX, 1), "more than there is");
    lt_place_forget(&p);
}

int main(void)
{
    test_without_a_wish();
    test_lock();
    test_failing();
    return check_report("place");
}
