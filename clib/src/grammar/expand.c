/* expand.c - where bytes lead from a state: found for all classes of bytes at once, when first asked for, and kept. */
#include <string.h>

#include "core/memory.h"
#include "grammar/grammar.h"

static const lt_edge *edge_for(const lt_program *p, const lt_position *pos, uint8_t byte)
{
    uint32_t low = 0, high = pos->n;
    const lt_edge *edges = p->edges.at + pos->a;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (edges[mid].high < byte)
            low = mid + 1;
        else
            high = mid;
    }
    return low < pos->n && edges[low].low <= byte ? &edges[low] : NULL;
}

/* Appends to g->ways where the byte leads each thread of the state. */
static int find_ways(lt_grammar *g, const lt_state *s, uint8_t byte)
{
    if (!LT_ROOM(&g->ways, s->n_threads))
        return lt_tree_no_memory();
    for (uint32_t i = 0; i < s->n_threads; i++) {
        lt_thread thread = g->pool.threads.at[s->threads + i];
        const lt_position *pos = &g->program.at.at[thread.at];
        const lt_edge *edge = pos->kind == LT_AT_READ ? edge_for(&g->program, pos, byte) : NULL;
        if (edge)
            g->ways.at[g->ways.n++] = (lt_thread){edge->to, thread.stack};
    }
    return LT_OK;
}

/* What is counted must not depend on the order of threads, so a closure that was broken off counts as a fixed number. */
static int close_ways(lt_grammar *g, uint32_t from, uint32_t *state, uint32_t *cost)
{
    lt_closure_begin(g);
    for (uint32_t i = from; i < g->ways.n; i++)
        LT_TRY(lt_closure_add(g, g->ways.at[i].at, g->ways.at[i].stack));
    LT_TRY(lt_closure_end(g, state));
    *cost += g->closure.over ? LT_BROKEN_OFF_COST : g->closure.n_steps;
    return LT_OK;
}

/* An earlier class of the same state that leads the same ways: LT_NONE, or its number. */
static uint32_t same_ways(const lt_grammar *g, const uint32_t *from, uint32_t class)
{
    size_t n = g->ways.n - from[class];
    for (uint32_t c = class; c-- > 0;)
        if (from[c + 1] - from[c] == n && memcmp(g->ways.at + from[c], g->ways.at + from[class], n * sizeof *g->ways.at) == 0)
            return c;
    return LT_NONE;
}

static int expand(lt_grammar *g, uint32_t state, uint32_t edges, uint32_t *cost)
{
    const lt_state s = g->pool.states.at[state];
    uint32_t from[257] = {0};
    g->ways.n = 0;
    for (uint32_t class = 0; class < g->program.n_classes; class++) {
        uint32_t to = LT_STATE_DEAD;
        LT_TRY(find_ways(g, &s, g->program.byte_of[class]));
        from[class + 1] = g->ways.n;
        if (g->ways.n > from[class]) {
            uint32_t same = same_ways(g, from, class);
            if (same == LT_NONE)
                LT_TRY(close_ways(g, from[class], &to, cost));
            else
                to = g->pool.edges.at[edges + same];
        }
        g->pool.edges.at[edges + class] = to;
    }
    return LT_OK;
}

int lt_state_expand(lt_grammar *g, uint32_t state)
{
    lt_pool *pool = &g->pool;
    uint32_t edges = pool->edges.n, cost = pool->states.at[state].n_threads;
    if (pool->states.at[state].edges != LT_NONE)
        return LT_OK;
    if (!LT_ROOM(&pool->edges, g->program.n_classes))
        return lt_tree_no_memory();
    LT_TRY(expand(g, state, edges, &cost));
    pool->edges.n += g->program.n_classes;
    pool->states.at[state].edges = edges;
    pool->states.at[state].cost = cost;
    return LT_OK;
}

int lt_state_read(lt_grammar *g, uint32_t state, const uint8_t *bytes, uint32_t n, uint32_t *out)
{
    for (uint32_t i = 0; i < n && state < LT_STATE_OVER; i++) {
        LT_TRY(lt_state_expand(g, state));
        state = lt_edge_of(g, state, bytes[i]);
    }
    *out = state;
    return LT_OK;
}

int lt_state_stand_in(lt_grammar *g, uint32_t state, uint32_t *out)
{
    const lt_state s = g->pool.states.at[state];
    uint32_t n = 0;
    bool own = true;
    if ((*out = s.stand_in) != LT_NONE)
        return LT_OK;
    g->move.n = 0;
    if (!LT_ROOM(&g->move, s.n_threads))
        return lt_tree_no_memory();
    for (uint32_t i = 0; i < s.n_threads; i++) {
        lt_thread thread = g->pool.threads.at[s.threads + i];
        uint32_t stack = g->pool.frames.at[thread.stack].stand_in;
        own = own && stack == thread.stack;
        g->move.at[i] = (lt_thread){thread.at, stack};
    }
    lt_threads_sort(g->move.at, own ? 0 : s.n_threads);
    for (uint32_t i = 0; i < s.n_threads; i++)
        if (n == 0 || memcmp(&g->move.at[n - 1], &g->move.at[i], sizeof *g->move.at) != 0)
            g->move.at[n++] = g->move.at[i];
    *out = state;
    if (!own)
        LT_TRY(lt_pool_state(&g->pool, g->move.at, n, s.flags, out));
    g->pool.states.at[state].stand_in = g->pool.states.at[*out].stand_in = *out;
    return LT_OK;
}
