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

/* The first time in a walk: the state is expanded, and what stays is known. */
static int meet(lt_grammar *g, uint32_t state, uint64_t *cost)
{
    LT_TRY(lt_state_expand(g, state));
    LT_TRY(lt_state_find_stays(g, state));
    lt_state *s = &g->pool.states.at[state];
    s->walk = g->pool.walk;
    *cost += s->cost;
    return *cost > LT_MAX_MASK_COST ? lt_grammar_over() : LT_OK;
}

static inline int come_to(lt_grammar *g, uint32_t state, uint64_t *cost)
{
    return g->pool.states.at[state].walk == g->pool.walk ? LT_OK : meet(g, state, cost);
}

/* Bytes that occur below the node, but for those of characters after which all is as before. */
static inline uint64_t strange_below(const lt_grammar *g, const lt_state *s, uint32_t node, bool high)
{
    const uint64_t *below = g->trie->below[node];
    return (below[0] & ~s->stays[0]) | (below[1] & ~s->stays[1]) | (high ? below[2] & ~s->stays[2] : 0);
}

/* Whatever piece goes on from the node is read from the state that the node leads to. */
static inline bool reads_subtree(const lt_grammar *g, uint32_t state, uint32_t node)
{
    const lt_state *s = &g->pool.states.at[state];
    int characters = LT_TRIE_UTF8 | LT_TRIE_WHOLE, flags = g->trie->nodes[node].flags;
    if (!(flags & LT_TRIE_HIGH) || s->high_stays)
        return !strange_below(g, s, node, false);
    return (flags & characters) == characters && !strange_below(g, s, node, true);
}

/* The node begins a character, and whatever piece goes that way is read from the state before it. */
static inline bool reads_characters(const lt_grammar *g, uint32_t state, uint32_t node)
{
    const lt_trie_node *n = &g->trie->nodes[node];
    const lt_state *s = &g->pool.states.at[state];
    return n->byte >= 0xC0 && n->flags & LT_TRIE_UTF8 && s->stays[2] >> (n->byte & 63) & 1 && !strange_below(g, s, node, true);
}

/* The tokens ids[from .. to) of the tree; walks come to them in ascending order. */
static int allow_ids(lt_grammar *g, uint32_t from, uint32_t to)
{
    lt_id_range *last = g->walk_ids.n ? &g->walk_ids.at[g->walk_ids.n - 1] : NULL;
    if (last && last->to == from) {
        last->to = to;
        return LT_OK;
    }
    if (!LT_ROOM(&g->walk_ids, 1))
        return lt_tree_no_memory();
    g->walk_ids.at[g->walk_ids.n++] = (lt_id_range){from, to};
    return LT_OK;
}

static int walk(lt_grammar *g, uint32_t state)
{
    const lt_trie_node *nodes = g->trie->nodes;
    uint64_t cost = 0;
    uint32_t i = 1;
    g->pool.walk++;
    g->walk_ids.n = 0;
    g->walk_states[0] = state;
    LT_TRY(come_to(g, state, &cost));
    while (i < g->trie->n_nodes) {
        const lt_trie_node *node = &nodes[i];
        uint32_t from = g->walk_states[node->depth - 1], to = lt_edge_of(g, from, node->byte), next = node->end;
        if (to == LT_STATE_OVER && node->depth == 1)
            return lt_grammar_over();
        if (to < LT_STATE_OVER && node->end > i + 1 && !reads_characters(g, from, i)) {
            LT_TRY(come_to(g, to, &cost));
            g->walk_states[node->depth] = to;
            next = reads_subtree(g, to, i) ? node->end : i + 1;
        }
        if (to < LT_STATE_OVER)
            LT_TRY(allow_ids(g, node->first, nodes[next].first));
        i = next;
    }
    return LT_OK;
}

/* Sets the bits of the ids that were allowed, or where those are most, clears the others. */
static void write_words(lt_grammar *g)
{
    const lt_piece_trie *t = g->trie;
    uint32_t n_allowed = 0, at = 0;
    for (uint32_t i = 0; i < g->walk_ids.n; i++)
        n_allowed += g->walk_ids.at[i].to - g->walk_ids.at[i].from;
    bool most = n_allowed > t->n_ids / 2;
    for (uint32_t i = 0; i < n_words(g); i++)
        g->walk_words[i] = most ? t->has_text[i] : 0;
    for (uint32_t i = 0; i <= g->walk_ids.n; i++) {
        lt_id_range range = i < g->walk_ids.n ? g->walk_ids.at[i] : (lt_id_range){t->n_ids, t->n_ids};
        for (uint32_t k = at; most && k < range.from; k++)
            g->walk_words[t->ids[k] / 32] &= ~(1u << (t->ids[k] % 32));
        for (uint32_t k = range.from; !most && k < range.to; k++)
            allow(g->walk_words, t->ids[k]);
        at = range.to;
    }
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
    LT_TRY(walk(g, state));
    write_words(g);
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
