/* pool.c - keeps frames and states once each: two hash tables over lists that only grow. */
#include "grammar/pool.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

int lt_pool_open(lt_pool *pool)
{
    *pool = (lt_pool){.n_frame_slots = 256, .n_state_slots = 256};
    pool->frame_slots = lt_alloc_zero(256, sizeof *pool->frame_slots);
    pool->state_slots = lt_alloc_zero(256, sizeof *pool->state_slots);
    if (!pool->frame_slots || !pool->state_slots || !LT_ROOM(&pool->frames, 1))
        return lt_tree_no_memory();
    pool->frames.at[pool->frames.n++] = (lt_frame){0};
    return LT_OK;
}

void lt_pool_close(lt_pool *pool)
{
    for (uint32_t i = 0; i < pool->masks.n; i++)
        lt_free(pool->masks.at[i].words);
    lt_free(pool->masks.at);
    lt_free(pool->frames.at);
    lt_free(pool->states.at);
    lt_free(pool->threads.at);
    lt_free(pool->edges.at);
    lt_free(pool->frame_slots);
    lt_free(pool->state_slots);
    *pool = (lt_pool){0};
}

size_t lt_pool_bytes(const lt_pool *pool)
{
    size_t slots = (size_t)pool->n_frame_slots + pool->n_state_slots;
    return pool->frames.n * sizeof(lt_frame) + pool->states.n * sizeof(lt_state) + pool->threads.n * sizeof(lt_thread) +
           (pool->edges.n + slots) * sizeof(uint32_t);
}

static uint32_t mix(uint32_t h, uint32_t value)
{
    uint64_t m = (h ^ (uint64_t)value * 0x9E3779B97F4A7C15u) * 0xD1B54A32D192ED03u;
    return (uint32_t)(m >> 32);
}

/* ---- frames --------------------------------------------------------------------------------------------------------- */

static bool same_frame(const lt_frame *a, const lt_frame *b)
{
    return a->at == b->at && a->round == b->round && a->below == b->below;
}

static uint32_t *frame_slot(const lt_pool *pool, const lt_frame *f)
{
    uint32_t last = pool->n_frame_slots - 1;
    for (uint32_t i = f->hash & last;; i = (i + 1) & last)
        if (!pool->frame_slots[i] || same_frame(&pool->frames.at[pool->frame_slots[i] - 1], f))
            return &pool->frame_slots[i];
}

static int more_slots(uint32_t **slots, uint32_t *n_slots)
{
    uint32_t *larger = lt_alloc_zero(2 * (size_t)*n_slots, sizeof *larger);
    if (!larger)
        return lt_tree_no_memory();
    lt_free(*slots);
    *slots = larger;
    *n_slots *= 2;
    return LT_OK;
}

/* The round that no token can tell from this one. */
static uint32_t round_stand_in(const lt_loop *loop, uint32_t round, uint64_t reach)
{
    if (loop->may_be_empty)
        return round;
    if (round + reach < loop->min)
        return 1;
    bool far = loop->max == LT_ENDLESS || round + reach < loop->max;
    return round >= loop->min && far ? (loop->min ? loop->min : 1) : round;
}

static int add_frame(lt_pool *pool, lt_frame f, uint32_t *out)
{
    if (2 * (pool->frames.n + 1) > pool->n_frame_slots) {
        LT_TRY(more_slots(&pool->frame_slots, &pool->n_frame_slots));
        for (uint32_t i = 1; i < pool->frames.n; i++)
            *frame_slot(pool, &pool->frames.at[i]) = i + 1;
    }
    if (!LT_ROOM(&pool->frames, 1))
        return lt_tree_no_memory();
    f.depth = pool->frames.at[f.below].depth + 1;
    *out = pool->frames.n;
    pool->frames.at[pool->frames.n++] = f;
    *frame_slot(pool, &f) = *out + 1;
    return LT_OK;
}

int lt_pool_frame(lt_pool *pool, const lt_program *p, uint32_t reach, lt_frame wanted, uint32_t *out)
{
    wanted.hash = mix(mix(mix(1, wanted.at), wanted.round), wanted.below);
    uint32_t found = *frame_slot(pool, &wanted), below = pool->frames.at[wanted.below].stand_in;
    if (found) {
        *out = found - 1;
        return LT_OK;
    }
    uint32_t round = wanted.round ? round_stand_in(&p->loops.at[wanted.at], wanted.round, reach) : 0, stand_in = 0;
    bool own = round == wanted.round && below == wanted.below;
    if (!own) /* once only: a stand-in is its own */
        LT_TRY(lt_pool_frame(pool, p, reach, (lt_frame){.at = wanted.at, .round = round, .below = below}, &stand_in));
    LT_TRY(add_frame(pool, wanted, out));
    pool->frames.at[*out].stand_in = own ? *out : stand_in;
    return LT_OK;
}

/* ---- states --------------------------------------------------------------------------------------------------------- */

static int by_position(const void *a, const void *b)
{
    const lt_thread *x = a, *y = b;
    return x->at != y->at ? (x->at < y->at ? -1 : 1) : (x->stack > y->stack) - (x->stack < y->stack);
}

void lt_threads_sort(lt_thread *threads, uint32_t n)
{
    if (n > 1)
        qsort(threads, n, sizeof *threads, by_position);
}

static uint32_t *state_slot(const lt_pool *pool, uint32_t hash, const lt_thread *threads, uint32_t n, uint8_t flags)
{
    uint32_t last = pool->n_state_slots - 1;
    for (uint32_t i = hash & last;; i = (i + 1) & last) {
        uint32_t *slot = &pool->state_slots[i];
        if (!*slot)
            return slot;
        const lt_state *s = &pool->states.at[*slot - 1];
        if (s->hash == hash && s->n_threads == n && s->flags == flags &&
            (n == 0 || memcmp(pool->threads.at + s->threads, threads, n * sizeof *threads) == 0))
            return slot;
    }
}

static int add_state(lt_pool *pool, uint32_t hash, const lt_thread *threads, uint32_t n, uint8_t flags, uint32_t *out)
{
    if (2 * (pool->states.n + 1) > pool->n_state_slots) {
        LT_TRY(more_slots(&pool->state_slots, &pool->n_state_slots));
        for (uint32_t i = 0; i < pool->states.n; i++) {
            const lt_state *s = &pool->states.at[i];
            *state_slot(pool, s->hash, pool->threads.at + s->threads, s->n_threads, s->flags) = i + 1;
        }
    }
    if (!LT_ROOM(&pool->states, 1) || !LT_ROOM(&pool->threads, n))
        return lt_tree_no_memory();
    lt_state s = {.hash = hash, .threads = pool->threads.n, .n_threads = n, .flags = flags};
    s.edges = s.stand_in = s.mask = LT_NONE;
    if (n)
        memcpy(pool->threads.at + s.threads, threads, n * sizeof *threads);
    pool->threads.n += n;
    *out = pool->states.n;
    pool->states.at[pool->states.n++] = s;
    *state_slot(pool, hash, threads, n, flags) = *out + 1;
    return LT_OK;
}

int lt_pool_state(lt_pool *pool, const lt_thread *threads, uint32_t n, uint8_t flags, uint32_t *out)
{
    uint32_t hash = mix(7, flags);
    for (uint32_t i = 0; i < n; i++)
        hash = mix(mix(hash, threads[i].at), threads[i].stack);
    uint32_t found = *state_slot(pool, hash, threads, n, flags);
    if (!found)
        return add_state(pool, hash, threads, n, flags, out);
    *out = found - 1;
    return LT_OK;
}
