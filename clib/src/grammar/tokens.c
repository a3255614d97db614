/* tokens.c - one token on: by its bytes, by its name, or as a trigger.
 *
 * A token without text leads nowhere but where the grammar names it; one that ends generation may come where the text is
 * complete, and leaves the state as it is. */
#include "grammar/grammar.h"

int lt_grammar_over(void)
{
    return lt_fail(LT_E_LIMIT, "the grammar can be read in too many ways here: more than %d at once, %d deep, or too costly to follow",
                   LT_MAX_THREADS, LT_MAX_STACK);
}

static int32_t trigger_of(const lt_grammar *g, int32_t token)
{
    for (uint32_t i = 0; i < g->triggers.n; i++)
        if (g->triggers.at[i].token == token)
            return (int32_t)i;
    return -1;
}

static bool has_text(const lt_grammar *g, int32_t token)
{
    return g->trie->has_text[token / 32] >> (token % 32) & 1;
}

static bool is_named(const lt_grammar *g, const lt_position *pos, int32_t token)
{
    bool same = (int32_t)pos->a == token;
    return pos->kind == LT_AT_TOKEN && (pos->flag ? !same && has_text(g, token) : same);
}

/* The state after the token's bytes, joined with those behind threads that name it. */
static int join_named(lt_grammar *g, const lt_state *s, int32_t token, uint32_t read, uint32_t *out)
{
    lt_closure_begin(g);
    if (read < LT_STATE_OVER)
        LT_TRY(lt_closure_add_state(g, read));
    for (uint32_t i = 0; i < s->n_threads; i++) {
        lt_thread thread = g->pool.threads.at[s->threads + i];
        const lt_position *pos = &g->program.at.at[thread.at];
        if (is_named(g, pos, token))
            LT_TRY(lt_closure_add(g, pos->b, thread.stack));
    }
    return lt_closure_end(g, out);
}

static int take_text(lt_grammar *g, uint32_t state, int32_t token, uint32_t *out)
{
    uint32_t n_bytes, read = LT_STATE_DEAD;
    const lt_state s = g->pool.states.at[state];
    const uint8_t *bytes = (const uint8_t *)lt_vocab_piece(g->vocab, token, &n_bytes);
    if (n_bytes)
        LT_TRY(lt_state_read(g, state, bytes, n_bytes, &read));
    *out = read;
    return s.flags & LT_STATE_TOKENS && read != LT_STATE_OVER ? join_named(g, &s, token, read, out) : LT_OK;
}

int lt_state_take(lt_grammar *g, uint32_t state, int32_t token, uint32_t *out)
{
    const lt_state *s = &g->pool.states.at[state];
    if (lt_token_is_eog(g->vocab, token) == 1) {
        *out = s->flags & LT_STATE_COMPLETE ? state : LT_STATE_DEAD;
        return LT_OK;
    }
    if (!(s->flags & LT_STATE_WAITS))
        return take_text(g, state, token, out);
    int32_t trigger = trigger_of(g, token);
    *out = trigger >= 0 ? g->triggers.at[trigger].start->state : state;
    return trigger >= 0 || !has_text(g, token) ? LT_OK : take_text(g, state, token, out);
}
