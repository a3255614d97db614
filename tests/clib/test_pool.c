/* test_pool.c - every item once, whatever the number of threads and items; jobs back to back and after idle. */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "core/memory.h"
#include "core/pool.h"

enum { MAX_ITEMS = 1000 };

static _Atomic int32_t runs[MAX_ITEMS];
static _Atomic int32_t highest_worker;

static void count(void *context, int32_t item, int32_t worker)
{
    atomic_fetch_add((_Atomic int32_t *)context + item, 1);
    if (worker > atomic_load(&highest_worker))
        atomic_store(&highest_worker, worker);
}

static void run_jobs(int32_t n_threads)
{
    lt_pool *pool;
    CHECK(lt_pool_create(&pool, n_threads) == LT_OK, "%s", lt_last_error());
    for (int job = 0; job < 3000; job++) {
        const int32_t n = job % 7 == 0 ? 0 : 1 + job * 37 % (job % 5 ? 20 : MAX_ITEMS), use = 1 + job % n_threads;
        memset((void *)runs, 0, sizeof runs);
        atomic_store(&highest_worker, 0);
        lt_pool_run(pool, use, count, (void *)runs, n);
        int wrong = 0;
        for (int32_t i = 0; i < MAX_ITEMS; i++)
            wrong += atomic_load(&runs[i]) != (i < n);
        CHECK(!wrong, "%d threads, job of %d: %d items not run exactly once", n_threads, n, wrong);
        CHECK(atomic_load(&highest_worker) < use, "worker %d took part, %d threads were asked for", atomic_load(&highest_worker), use);
        if (job % 500 == 0)
            usleep(2000); /* long enough for the workers to sleep */
    }
    lt_pool_destroy(pool);
}

static void fail_allocations(void)
{
    for (int64_t n = 1; n < 100; n++) {
        lt_pool *pool = NULL;
        lt_fail_alloc_at(n);
        const int rc = lt_pool_create(&pool, 3);
        lt_fail_alloc_at(0);
        if (rc == LT_OK) {
            lt_pool_destroy(pool);
            CHECK(n > 3, "only %d allocations could fail", (int)n);
            return;
        }
        CHECK(rc == LT_E_NOMEM && !pool, "code %d", rc);
    }
}

int main(void)
{
    for (int32_t n = 1; n <= 5; n++)
        run_jobs(n);
    fail_allocations();
    return check_report("pool");
}
