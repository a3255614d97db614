/* closure.c - from some positions to all positions that read: follows forks, calls and returns until each way is at a READ or
 * a TOKEN.  What it looks at is counted, the same for the same positions whatever happened before. */
#include "core/memory.h"
#include "grammar/grammar.h"

void lt_closure_begin(lt_grammar *g)
{
    lt_closure *c = &g->closure;
    c->todo.n = c->found.n = c->n_used = c->n_steps = 0;
    c->flags = 0;
    c->over = false;
    if (++c->round == 0) { /* once in 2^32 times: marks of the last time round would count */
        for (uint32_t i = 0; i < c->n_slots; i++)
            c->slots[i].round = 0;
        c->round = 1;
    }
}

void lt_closure_free(lt_closure *c)
{
    lt_free(c->todo.at);
    lt_free(c->found.at);
    lt_free(c->slots);
}

static struct lt_closure_slot *slot_of(const lt_closure *c, lt_thread key)
{
    uint64_t hash = (key.at ^ (uint64_t)key.stack << 32) * 0x9E3779B97F4A7C15u;
    for (uint32_t i = (uint32_t)(hash >> 32) & (c->n_slots - 1);; i = (i + 1) & (c->n_slots - 1)) {
        struct lt_closure_slot *slot = &c->slots[i];
        if (slot->round != c->round || (slot->key.at == key.at && slot->key.stack == key.stack))
            return slot;
    }
}

static int more_slots(lt_closure *c)
{
    lt_closure larger = *c;
    larger.n_slots = c->n_slots ? 2 * c->n_slots : 256;
    larger.slots = lt_alloc_zero(larger.n_slots, sizeof *larger.slots);
    if (!larger.slots)
        return lt_tree_no_memory();
    for (uint32_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].round == c->round)
            *slot_of(&larger, c->slots[i].key) = c->slots[i];
    lt_free(c->slots);
    *c = larger;
    return LT_OK;
}

/* 1: not met before in this closure; 0: met. */
static int meet(lt_closure *c, lt_thread key)
{
    if (2 * (c->n_used + 1) > c->n_slots)
        LT_TRY(more_slots(c));
    struct lt_closure_slot *slot = slot_of(c, key);
    if (slot->round == c->round)
        return 0;
    *slot = (struct lt_closure_slot){key, c->round};
    c->n_used++;
    return 1;
}

int lt_closure_add(lt_grammar *g, uint32_t at, uint32_t stack)
{
    lt_closure *c = &g->closure;
    int fresh = meet(c, (lt_thread){at, stack});
    if (fresh <= 0)
        return fresh;
    if (!LT_ROOM(&c->todo, 1))
        return lt_tree_no_memory();
    c->todo.at[c->todo.n++] = (lt_thread){at, stack};
    return LT_OK;
}

static int keep(lt_closure *c, lt_thread thread)
{
    if (c->found.n == LT_MAX_THREADS) {
        c->over = true;
        return LT_OK;
    }
    if (!LT_ROOM(&c->found, 1))
        return lt_tree_no_memory();
    c->found.at[c->found.n++] = thread;
    return LT_OK;
}

int lt_closure_add_state(lt_grammar *g, uint32_t state)
{
    const lt_state s = g->pool.states.at[state];
    for (uint32_t i = 0; i < s.n_threads; i++) {
        lt_thread thread = g->pool.threads.at[s.threads + i];
        int fresh = meet(&g->closure, thread);
        LT_TRY(fresh);
        if (fresh)
            LT_TRY(keep(&g->closure, thread));
    }
    g->closure.flags |= s.flags;
    return LT_OK;
}

/* On at `at`, with one more frame on the stack. */
static int push(lt_grammar *g, lt_frame frame, uint32_t at)
{
    uint32_t stack = 0;
    if (g->pool.frames.at[frame.below].depth == LT_MAX_STACK) {
        g->closure.over = true;
        return LT_OK;
    }
    LT_TRY(lt_pool_frame(&g->pool, &g->program, g->trie->max_depth, frame, &stack));
    return lt_closure_add(g, at, stack);
}

static int begin_round(lt_grammar *g, uint32_t loop, uint32_t round, uint32_t below)
{
    return push(g, (lt_frame){.at = loop, .round = round, .below = below}, g->program.loops.at[loop].body);
}

static int end_round(lt_grammar *g, uint32_t stack)
{
    lt_frame frame = g->pool.frames.at[stack];
    const lt_loop *loop = &g->program.loops.at[frame.at];
    uint32_t least = loop->min ? loop->min : 1, next = frame.round + 1;
    if (frame.round >= loop->min)
        LT_TRY(lt_closure_add(g, loop->next, frame.below));
    if (loop->max == LT_ENDLESS)
        return begin_round(g, frame.at, next < least ? next : least, frame.below);
    return frame.round < loop->max ? begin_round(g, frame.at, next, frame.below) : LT_OK;
}

static int end_rule(lt_grammar *g, uint32_t stack)
{
    const lt_frame *frame = &g->pool.frames.at[stack];
    if (stack)
        return lt_closure_add(g, frame->at, frame->below);
    g->closure.flags |= LT_STATE_COMPLETE;
    return LT_OK;
}

static int fork_to(lt_grammar *g, const lt_position *fork, uint32_t stack)
{
    for (uint32_t i = 0; i < fork->b; i++)
        LT_TRY(lt_closure_add(g, g->program.links.at[fork->a + i], stack));
    return LT_OK;
}

static int call(lt_grammar *g, const lt_position *pos, uint32_t stack)
{
    uint32_t entry = g->program.rules.at[pos->a].entry;
    if (pos->b == LT_RETURN) /* nothing waits for it but what waits already */
        return lt_closure_add(g, entry, stack);
    return push(g, (lt_frame){.at = pos->b, .below = stack}, entry);
}

static int look_at(lt_grammar *g, lt_thread thread)
{
    const lt_position *pos = &g->program.at.at[thread.at];
    switch (pos->kind) {
    case LT_AT_READ:
        g->closure.flags |= pos->flag ? LT_STATE_WAITS | LT_STATE_COMPLETE : 0;
        return keep(&g->closure, thread);
    case LT_AT_TOKEN:
        g->closure.flags |= LT_STATE_TOKENS;
        return keep(&g->closure, thread);
    case LT_AT_FORK:
        return fork_to(g, pos, thread.stack);
    case LT_AT_CALL:
        return call(g, pos, thread.stack);
    case LT_AT_LOOP:
        if (g->program.loops.at[pos->a].min == 0)
            LT_TRY(lt_closure_add(g, g->program.loops.at[pos->a].next, thread.stack));
        return begin_round(g, pos->a, 1, thread.stack);
    case LT_AT_AGAIN:
        return end_round(g, thread.stack);
    case LT_AT_START:
        return lt_closure_add_state(g, g->triggers.at[pos->a].start->state);
    default:
        return end_rule(g, thread.stack);
    }
}

int lt_closure_end(lt_grammar *g, uint32_t *state)
{
    lt_closure *c = &g->closure;
    while (c->todo.n && !c->over) {
        if (++c->n_steps > LT_MAX_CLOSURE)
            c->over = true;
        LT_TRY(look_at(g, c->todo.at[--c->todo.n]));
    }
    *state = c->over ? LT_STATE_OVER : LT_STATE_DEAD;
    if (c->over || (c->found.n == 0 && !(c->flags & LT_STATE_COMPLETE)))
        return LT_OK;
    lt_threads_sort(c->found.at, c->found.n);
    return lt_pool_state(&g->pool, c->found.at, c->found.n, c->flags, state);
}
