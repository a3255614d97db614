/* mask.c - which tokens may follow a state: walks the tree of pieces and the automaton side by side, once for each state.
 *
 * A token that leads beyond the limits on its way is left out; where any next byte would, there is no mask but an error.
 * The walk's cost is that of expanding the states that it comes through, counted whether or not they had been expanded before:
 * so whether a mask is too expensive depends on the state alone. */
#include <string.h>

#include "core/memory.h"
#include "grammar/grammar.h"

static void allow(uint32_t *words, int32_t id)
{
    words[id / 32] |= 1u << (id % 32);
}

static uint32_t n_words(const lt_grammar *g)
{
    return ((uint32_t)g->trie->n_tokens + 31) / 32;
}

/* ---- the walk ------------------------------------------------------------------------------------------------------- */

static int come_to(lt_grammar *g, uint32_t state, uint64_t *cost)
{
    LT_TRY(lt_state_expand(g, state));
    lt_state *s = &g->pool.states.at[state];
    if (s->walk != g->pool.walk) {
        s->walk = g->pool.walk;
        *cost += s->cost;
    }
    return *cost > LT_MAX_MASK_COST ? lt_grammar_over() : LT_OK;
}

/* 1: whatever piece goes on from the node is read from the state. */
static int reads_subtree(lt_grammar *g, uint32_t state, uint32_t node)
{
    const uint64_t *below = g->trie->below[node];
    uint8_t flags = g->trie->nodes[node].flags;
    LT_TRY(lt_state_find_stays(g, state));
    const lt_state *s = &g->pool.states.at[state];
    if ((below[0] & ~s->stays[0]) | (below[1] & ~s->stays[1]))
        return 0;
    return !(flags & LT_TRIE_HIGH) || s->high_stays || (flags & LT_TRIE_UTF8 && !(below[2] & ~s->stays[2]));
}

static void allow_ids(const lt_grammar *g, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        allow(g->walk_words, g->trie->ids[i]);
}

static int walk(lt_grammar *g, uint32_t state)
{
    const lt_trie_node *nodes = g->trie->nodes;
    uint64_t cost = 0;
    uint32_t i = 1;
    g->pool.walk++;
    g->walk_states[0] = state;
    LT_TRY(come_to(g, state, &cost));
    while (i < g->trie->n_nodes) {
        const lt_trie_node *node = &nodes[i];
        uint32_t to = lt_edge_of(g, g->walk_states[node->depth - 1], node->byte), next = node->end;
        if (to == LT_STATE_OVER && node->depth == 1)
            return lt_grammar_over();
        if (to < LT_STATE_OVER && node->end > i + 1) {
            LT_TRY(come_to(g, to, &cost));
            int all = reads_subtree(g, to, i);
            LT_TRY(all);
            g->walk_states[node->depth] = to;
            next = all ? node->end : i + 1;
        }
        if (to < LT_STATE_OVER)
            allow_ids(g, node->first, nodes[next].first);
        i = next;
    }
    return LT_OK;
}

/* ---- what is not in the tree ------------------------------------------------------------------------------------------ */

static void allow_named(lt_grammar *g, const lt_position *token)
{
    uint32_t *words = g->walk_words;
    if (!token->flag) {
        allow(words, (int32_t)token->a);
        return;
    }
    bool before = words[token->a / 32] >> (token->a % 32) & 1;
    for (uint32_t i = 0; i < n_words(g); i++)
        words[i] |= g->trie->has_text[i];
    if (!before)
        words[token->a / 32] &= ~(1u << (token->a % 32));
}

/* Negated ones first: they take the one token away that another thread may allow. */
static void allow_tokens(lt_grammar *g, const lt_state *s)
{
    for (int negated = 1; negated >= 0; negated--)
        for (uint32_t i = 0; i < s->n_threads; i++) {
            const lt_position *pos = &g->program.at.at[g->pool.threads.at[s->threads + i].at];
            if (pos->kind == LT_AT_TOKEN && pos->flag == negated)
                allow_named(g, pos);
        }
}

/* While a trigger is awaited, tokens without text may come too. */
static void allow_all_silent(lt_grammar *g)
{
    uint32_t n = n_words(g), rest = (uint32_t)g->trie->n_tokens % 32;
    for (uint32_t i = 0; i < n; i++)
        g->walk_words[i] |= ~g->trie->has_text[i];
    if (rest)
        g->walk_words[n - 1] &= (1u << rest) - 1;
    for (uint32_t i = 0; i < g->triggers.n; i++)
        if (g->triggers.at[i].token >= 0)
            allow(g->walk_words, g->triggers.at[i].token);
}

static int compute(lt_grammar *g, uint32_t state)
{
    memset(g->walk_words, 0, n_words(g) * sizeof *g->walk_words);
    LT_TRY(walk(g, state));
    const lt_state *s = &g->pool.states.at[state];
    if (s->flags & LT_STATE_TOKENS)
        allow_tokens(g, s);
    if (s->flags & LT_STATE_WAITS)
        allow_all_silent(g);
    for (uint32_t i = 0; s->flags & LT_STATE_COMPLETE && i < g->trie->n_eog; i++)
        allow(g->walk_words, g->trie->eog[i]);
    return LT_OK;
}

/* ---- masks that are kept ---------------------------------------------------------------------------------------------- */

/* A free place: a new one, or that of the mask that has not been asked for longest. */
static int find_place(lt_grammar *g, lt_kept_mask **out)
{
    lt_pool *pool = &g->pool;
    size_t n_bytes = n_words(g) * sizeof(uint32_t), most = LT_MASKS_BYTES / n_bytes;
    if (pool->masks.n < (most < 8 ? 8 : most)) {
        uint32_t *words = lt_alloc(n_words(g), sizeof *words);
        if (!words || !LT_ROOM(&pool->masks, 1)) {
            lt_free(words);
            return lt_tree_no_memory();
        }
        *out = &pool->masks.at[pool->masks.n++];
        **out = (lt_kept_mask){.words = words, .state = LT_NONE};
        return LT_OK;
    }
    *out = pool->masks.at;
    for (uint32_t i = 1; i < pool->masks.n; i++)
        *out = pool->masks.at[i].used < (*out)->used ? &pool->masks.at[i] : *out;
    pool->states.at[(*out)->state].mask = LT_NONE;
    return LT_OK;
}

int lt_state_mask(lt_grammar *g, uint32_t state, const lt_kept_mask **out)
{
    lt_pool *pool = &g->pool;
    LT_TRY(lt_state_stand_in(g, state, &state));
    if (pool->states.at[state].mask == LT_NONE) {
        lt_kept_mask *place = NULL;
        uint32_t n_allowed = 0;
        LT_TRY(compute(g, state));
        LT_TRY(find_place(g, &place));
        memcpy(place->words, g->walk_words, n_words(g) * sizeof *place->words);
        for (uint32_t i = 0; i < n_words(g); i++)
            n_allowed += (uint32_t)__builtin_popcount(place->words[i]);
        place->state = state;
        place->n_allowed = n_allowed;
        pool->states.at[state].mask = (uint32_t)(place - pool->masks.at);
    }
    lt_kept_mask *kept = &pool->masks.at[pool->states.at[state].mask];
    kept->used = ++pool->clock;
    *out = kept;
    return LT_OK;
}
