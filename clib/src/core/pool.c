/* pool.c - threads that take items from a ticket.
 *
 *      ticket   generation (32 bits) | next item (32 bits)
 *
 * A worker reads the job's fields and then claims an item by compare-and-swap on the ticket it saw before reading.  The claim
 * succeeds only while that generation still has unclaimed items, so fields torn by a newer job are never used: the fences see
 * to it that who has read one of a newer job finds a newer ticket, also on processors that reorder stores. */
#define _GNU_SOURCE
#include "core/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/floats.h"
#include "core/memory.h"

enum { SPIN_NS = 40000, SPINS_BEFORE_YIELD = 256 }; /* yielding: whoever is waited for may need this core */

struct lt_pool {
    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic int32_t n_done;
    _Alignas(64) _Atomic(lt_work) work;
    _Atomic(void *) context;
    _Atomic int32_t n_items, n_threads_now;
    _Alignas(64) _Atomic uint32_t wake; /* futex word: counts jobs */
    _Atomic int32_t n_sleeping;
    _Atomic int32_t stop;
    int32_t n_threads, n_started;
    pthread_t *threads;
    pid_t caller; /* who bound the threads; 0: nobody has */
    lt_bits caller_cpus;
    struct worker {
        lt_pool *pool;
        int32_t index;
    } *workers;
};

static inline void cpu_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* `yield` takes no time on most of them */
#endif
}

/* Claims and runs items until the job has none left. */
static void run_items(lt_pool *p, int32_t worker)
{
    uint64_t ticket = atomic_load_explicit(&p->ticket, memory_order_acquire);
    for (;;) {
        lt_work work = atomic_load_explicit(&p->work, memory_order_relaxed);
        void *context = atomic_load_explicit(&p->context, memory_order_relaxed);
        int32_t n_items = atomic_load_explicit(&p->n_items, memory_order_relaxed);
        int32_t n_threads = atomic_load_explicit(&p->n_threads_now, memory_order_relaxed);
        uint32_t item = (uint32_t)ticket;
        if (item >= (uint32_t)n_items || worker >= n_threads)
            return;
        atomic_thread_fence(memory_order_acquire); /* the fields have been read before the ticket is compared */
        if (!atomic_compare_exchange_weak_explicit(&p->ticket, &ticket, ticket + 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        work(context, (int32_t)item, worker);
        atomic_fetch_add_explicit(&p->n_done, 1, memory_order_release);
        ticket = atomic_load_explicit(&p->ticket, memory_order_acquire);
    }
}

static void sleep_until_woken(lt_pool *p, uint32_t seen)
{
    atomic_fetch_add(&p->n_sleeping, 1);
    while (atomic_load(&p->wake) == seen && !atomic_load(&p->stop))
        syscall(SYS_futex, &p->wake, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&p->n_sleeping, 1);
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    lt_pool *p = w->pool;
    uint32_t seen = 0;
    lt_usual_floats();
    while (!atomic_load_explicit(&p->stop, memory_order_acquire)) {
        int64_t deadline = lt_now_ns() + SPIN_NS;
        uint32_t wake;
        for (int spins = 0; (wake = atomic_load_explicit(&p->wake, memory_order_acquire)) == seen; spins++) {
            cpu_pause();
            if (spins % SPINS_BEFORE_YIELD != SPINS_BEFORE_YIELD - 1)
                continue;
            if (lt_now_ns() > deadline) {
                sleep_until_woken(p, seen);
                break;
            }
            sched_yield();
        }
        seen = atomic_load_explicit(&p->wake, memory_order_acquire);
        run_items(p, w->index);
    }
    return NULL;
}

void lt_pool_run(lt_pool *p, int32_t n_threads, lt_work work, void *context, int32_t n_items)
{
    if (n_items <= 1 || n_threads <= 1 || p->n_threads == 1) {
        for (int32_t i = 0; i < n_items; i++)
            work(context, i, 0);
        return;
    }
    uint64_t generation = (atomic_load_explicit(&p->ticket, memory_order_relaxed) >> 32) + 1;
    atomic_store_explicit(&p->ticket, generation << 32 | UINT32_MAX, memory_order_relaxed); /* nobody can claim while fields change */
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&p->work, work, memory_order_relaxed);
    atomic_store_explicit(&p->context, context, memory_order_relaxed);
    atomic_store_explicit(&p->n_items, n_items, memory_order_relaxed);
    atomic_store_explicit(&p->n_threads_now, n_threads, memory_order_relaxed);
    atomic_store_explicit(&p->n_done, 0, memory_order_relaxed);
    atomic_store_explicit(&p->ticket, generation << 32, memory_order_release);
    atomic_fetch_add(&p->wake, 1);
    if (atomic_load(&p->n_sleeping))
        syscall(SYS_futex, &p->wake, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    run_items(p, 0);
    for (int spins = 0; atomic_load_explicit(&p->n_done, memory_order_acquire) != n_items; spins++) {
        cpu_pause();
        if (spins > SPINS_BEFORE_YIELD)
            sched_yield();
    }
}

int lt_pool_create(lt_pool **out, int32_t n_threads)
{
    lt_pool *p = lt_alloc_zero(1, sizeof *p);
    if (!p)
        return lt_fail(LT_E_NOMEM, "no memory for the thread pool");
    p->n_threads = n_threads;
    p->threads = lt_alloc_zero((size_t)n_threads, sizeof *p->threads);
    p->workers = lt_alloc_zero((size_t)n_threads, sizeof *p->workers);
    if (!p->threads || !p->workers) {
        lt_pool_destroy(p);
        return lt_fail(LT_E_NOMEM, "no memory for %d threads", n_threads);
    }
    for (int32_t i = 1; i < n_threads; i++) {
        p->workers[i] = (struct worker){p, i};
        if (pthread_create(&p->threads[i], NULL, worker_main, &p->workers[i])) {
            lt_pool_destroy(p);
            return lt_fail(LT_E_NOMEM, "the system refused thread %d of %d", i + 1, n_threads);
        }
        p->n_started = i;
    }
    *out = p;
    return LT_OK;
}

static int set_own_cpus(const lt_bits *cpus)
{
    return syscall(SYS_sched_setaffinity, 0, sizeof *cpus, cpus) ? errno : 0;
}

int lt_pool_bind(lt_pool *p, const lt_bits *groups, int32_t n_groups)
{
    lt_cpus_allowed(&p->caller_cpus);
    p->caller = (pid_t)syscall(SYS_gettid);
    int error = set_own_cpus(&groups[0]);
    for (int32_t i = 1; i <= p->n_started && !error; i++)
        error = pthread_setaffinity_np(p->threads[i], sizeof *groups, (const cpu_set_t *)(const void *)&groups[i % n_groups]);
    return error ? lt_fail(LT_E_IO, "numa: the system does not bind threads to processors: %s", strerror(error)) : LT_OK;
}

void lt_pool_destroy(lt_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, 1);
    atomic_fetch_add(&p->wake, 1);
    syscall(SYS_futex, &p->wake, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    for (int32_t i = 1; i <= p->n_started; i++)
        pthread_join(p->threads[i], NULL);
    if (p->caller && p->caller == (pid_t)syscall(SYS_gettid))
        set_own_cpus(&p->caller_cpus);
    lt_free(p->threads);
    lt_free(p->workers);
    lt_free(p);
}

int32_t lt_pool_size(const lt_pool *p)
{
    return p->n_threads;
}
