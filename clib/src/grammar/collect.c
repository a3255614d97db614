/* collect.c - keeps a pool small: once it is large, the states that are open move to a new one, everything else goes.
 *
 * Nothing that can be asked of a state depends on what its pool holds, so when this happens makes no difference. */
#include "core/memory.h"
#include "grammar/grammar.h"

typedef struct {
    lt_grammar *g;
    lt_pool fresh;
    uint32_t *frame_at;      /* [old frames] number in the fresh pool + 1; 0: not moved */
    LT_LIST(uint32_t) chain; /* frames that wait for those below them */
} mover;

static int move_stack(mover *m, uint32_t stack, uint32_t *out)
{
    const lt_pool *old = &m->g->pool;
    m->chain.n = 0;
    for (uint32_t f = stack; !m->frame_at[f]; f = old->frames.at[f].below) {
        if (!LT_ROOM(&m->chain, 1))
            return lt_tree_no_memory();
        m->chain.at[m->chain.n++] = f;
    }
    while (m->chain.n) {
        uint32_t f = m->chain.at[--m->chain.n], moved = 0;
        lt_frame frame = old->frames.at[f];
        frame.below = m->frame_at[frame.below] - 1;
        LT_TRY(lt_pool_frame(&m->fresh, &m->g->program, m->g->trie->max_depth, frame, &moved));
        m->frame_at[f] = moved + 1;
    }
    *out = m->frame_at[stack] - 1;
    return LT_OK;
}

static int move_state(mover *m, uint32_t state, uint32_t *out)
{
    lt_grammar *g = m->g;
    const lt_state *s = &g->pool.states.at[state];
    g->move.n = 0;
    if (!LT_ROOM(&g->move, s->n_threads))
        return lt_tree_no_memory();
    for (uint32_t i = 0; i < s->n_threads; i++) {
        lt_thread thread = g->pool.threads.at[s->threads + i];
        LT_TRY(move_stack(m, thread.stack, &thread.stack));
        g->move.at[g->move.n++] = thread;
    }
    lt_threads_sort(g->move.at, g->move.n);
    return lt_pool_state(&m->fresh, g->move.at, g->move.n, s->flags, out);
}

/* The new numbers of all open states, in the order of their list. */
static int move_all(mover *m, uint32_t *moved)
{
    uint32_t i = 0;
    for (const lt_gstate *s = m->g->states; s; s = s->next)
        LT_TRY(move_state(m, s->state, &moved[i++]));
    return LT_OK;
}

static int collect(mover *m, uint32_t *moved)
{
    uint32_t i = 0;
    LT_TRY(lt_pool_open(&m->fresh));
    m->frame_at[0] = 1;
    LT_TRY(move_all(m, moved));
    for (lt_gstate *s = m->g->states; s; s = s->next)
        s->state = moved[i++];
    lt_pool old = m->g->pool;
    m->g->pool = m->fresh;
    m->fresh = old;
    return LT_OK;
}

int lt_grammar_collect(lt_grammar *g)
{
    size_t n_open = 0;
    if (lt_pool_bytes(&g->pool) < g->collect_at)
        return LT_OK;
    for (const lt_gstate *s = g->states; s; s = s->next)
        n_open++;
    mover m = {.g = g, .frame_at = lt_alloc_zero(g->pool.frames.n, sizeof *m.frame_at)};
    uint32_t *moved = lt_alloc(n_open, sizeof *moved);
    int rc = m.frame_at && moved ? collect(&m, moved) : lt_tree_no_memory();
    lt_pool_close(&m.fresh);
    lt_free(m.chain.at);
    lt_free(m.frame_at);
    lt_free(moved);
    size_t left = 2 * lt_pool_bytes(&g->pool);
    g->collect_at = left > LT_POOL_BYTES ? left : LT_POOL_BYTES;
    return rc;
}
