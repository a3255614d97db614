/* grammar.c - grammars and states from beginning to end: opened, asked, copied, closed.  The one file that locks. */
#include "grammar/grammar.h"

#include <string.h>

#include "core/memory.h"

/* ---- states --------------------------------------------------------------------------------------------------------- */

int lt_gstate_create(lt_gstate **out, lt_grammar *g, uint32_t state)
{
    lt_gstate *s = lt_alloc(1, sizeof *s);
    if (!s)
        return lt_tree_no_memory();
    *s = (lt_gstate){.g = g, .state = state, .next = g->states};
    if (g->states)
        g->states->prev = s;
    g->states = s;
    *out = s;
    return LT_OK;
}

static void drop_state(lt_gstate *s)
{
    if (!s)
        return;
    if (s->next)
        s->next->prev = s->prev;
    if (s->prev)
        s->prev->next = s->next;
    else
        s->g->states = s->next;
    lt_free(s);
}

/* ---- open and close ------------------------------------------------------------------------------------------------- */

static void destroy(lt_grammar *g)
{
    while (g->states)
        drop_state(g->states);
    lt_program_free(&g->program);
    lt_pool_close(&g->pool);
    lt_closure_free(&g->closure);
    lt_free(g->ways.at);
    lt_free(g->move.at);
    lt_free(g->triggers.at);
    lt_free(g->walk_states);
    lt_free(g->walk_ids.at);
    lt_free(g->walk_words);
    pthread_mutex_destroy(&g->lock);
    lt_vocab_close((lt_vocab *)g->vocab); /* gives up the hold */
    lt_free(g);
}

static int find_root(lt_grammar *g, const lt_tree *t, const char *name)
{
    int64_t rule = lt_tree_find_rule(t, name, strlen(name));
    if (rule < 0)
        return lt_fail(LT_E_FORMAT, "grammar: there is no rule \"%.64s\", with which it begins", name);
    g->program.root = (uint32_t)rule;
    return LT_OK;
}

static int compile(lt_grammar *g, const char *text, size_t n_bytes, const lt_grammar_opts *o)
{
    lt_tree tree = {0};
    int rc = lt_tree_parse(&tree, g->vocab, text, n_bytes);
    if (rc == LT_OK)
        rc = find_root(g, &tree, o->root ? o->root : "root");
    if (rc == LT_OK)
        rc = lt_program_compile(&g->program, &tree);
    if (rc == LT_OK)
        rc = lt_program_check(&g->program, &tree);
    lt_tree_free(&tree);
    LT_TRY(rc);
    g->start = g->program.rules.at[g->program.root].entry;
    LT_TRY(lt_triggers_compile(g, o));
    lt_program_class_bytes(&g->program);
    return LT_OK;
}

static int allocate(lt_grammar *g)
{
    LT_TRY(lt_vocab_trie(g->vocab, &g->trie));
    g->walk_states = lt_alloc((size_t)g->trie->max_depth + 1, sizeof *g->walk_states);
    g->walk_words = lt_alloc(((size_t)g->trie->n_tokens + 31) / 32, sizeof *g->walk_words);
    return g->walk_states && g->walk_words ? lt_pool_open(&g->pool) : lt_tree_no_memory();
}

static int state_of(lt_grammar *g, uint32_t position, uint32_t *state)
{
    lt_closure_begin(g);
    LT_TRY(lt_closure_add(g, position, 0));
    LT_TRY(lt_closure_end(g, state));
    if (*state == LT_STATE_DEAD)
        return lt_fail(LT_E_FORMAT, "grammar: it describes no text");
    return *state == LT_STATE_OVER ? lt_grammar_over() : LT_OK;
}

/* The states behind the triggers, and the one that every sequence begins with: the last to be created. */
static int find_first_states(lt_grammar *g, const lt_grammar_opts *o)
{
    uint32_t state = LT_STATE_DEAD;
    lt_gstate *first = NULL;
    LT_TRY(state_of(g, g->program.rules.at[g->program.root].entry, &state));
    LT_TRY(lt_triggers_settle(g, o, state));
    LT_TRY(state_of(g, g->start, &state));
    LT_TRY(lt_gstate_create(&first, g, state));
    g->first = first;
    return LT_OK;
}

static int check_opts(const lt_grammar_opts *o)
{
    if (o->struct_size != sizeof *o)
        return lt_fail(LT_E_ARG, "lt_grammar_opts has %u bytes, this library's %zu", (unsigned)o->struct_size, sizeof *o);
    if (o->flags & ~(uint32_t)LT_GRAMMAR_AFTER_TRIGGER)
        return lt_fail(LT_E_ARG, "lt_grammar_opts: flags are %#x, limit 0x1", (unsigned)o->flags);
    return LT_OK;
}

int lt_grammar_open(lt_grammar **out, const lt_vocab *v, const char *text, size_t n_bytes, const lt_grammar_opts *opts)
{
    static const lt_grammar_opts defaults = {.struct_size = sizeof defaults};
    const lt_grammar_opts *o = opts ? opts : &defaults;
    if (!out || !v || (!text && n_bytes))
        return lt_fail(LT_E_ARG, "lt_grammar_open needs a vocabulary, a text and a place for the result");
    LT_TRY(check_opts(o));
    lt_grammar *g = lt_alloc_zero(1, sizeof *g);
    if (!g)
        return lt_tree_no_memory();
    lt_vocab_hold(v);
    g->vocab = v;
    g->n_holders = 1;
    g->collect_at = LT_POOL_BYTES;
    pthread_mutex_init(&g->lock, NULL);
    int rc = allocate(g);
    if (rc == LT_OK)
        rc = compile(g, text, n_bytes, o);
    if (rc == LT_OK)
        rc = find_first_states(g, o);
    if (rc == LT_OK)
        *out = g;
    else
        destroy(g);
    return rc;
}

/* One holder less; the last one takes the grammar along. */
static void let_go(lt_grammar *g, lt_gstate *s)
{
    pthread_mutex_lock(&g->lock);
    drop_state(s);
    bool last = --g->n_holders == 0;
    pthread_mutex_unlock(&g->lock);
    if (last)
        destroy(g);
}

void lt_grammar_close(lt_grammar *g)
{
    if (g)
        let_go(g, NULL);
}

void lt_gstate_close(lt_gstate *s)
{
    if (s)
        let_go(s->g, s);
}

static int hold_state(lt_gstate **out, const lt_gstate *like)
{
    lt_grammar *g = like->g;
    pthread_mutex_lock(&g->lock);
    int rc = lt_gstate_create(out, g, like->state);
    g->n_holders += rc == LT_OK;
    pthread_mutex_unlock(&g->lock);
    return rc;
}

int lt_gstate_open(lt_gstate **out, lt_grammar *g)
{
    return out && g ? hold_state(out, g->first) : lt_fail(LT_E_ARG, "lt_gstate_open needs a grammar and a place for the result");
}

int lt_gstate_fork(lt_gstate **out, const lt_gstate *s)
{
    return out && s ? hold_state(out, s) : lt_fail(LT_E_ARG, "lt_gstate_fork needs a state and a place for the result");
}

/* ---- questions ------------------------------------------------------------------------------------------------------ */

int lt_gstate_copy(lt_gstate *to, const lt_gstate *from)
{
    if (!to || !from || to->g != from->g)
        return lt_fail(LT_E_ARG, "lt_gstate_copy needs two states of one grammar");
    pthread_mutex_lock(&to->g->lock); /* another thread may be renumbering states */
    to->state = from->state;
    pthread_mutex_unlock(&to->g->lock);
    return LT_OK;
}

static int advance(lt_gstate *s, int32_t token)
{
    uint32_t to = LT_STATE_DEAD;
    LT_TRY(lt_grammar_collect(s->g));
    LT_TRY(lt_state_take(s->g, s->state, token, &to));
    if (to == LT_STATE_OVER)
        return lt_grammar_over();
    if (to == LT_STATE_DEAD)
        return 0;
    s->state = to;
    return 1;
}

int lt_gstate_advance(lt_gstate *s, int32_t token)
{
    if (!s)
        return lt_fail(LT_E_ARG, "lt_gstate_advance needs a state");
    if (token < 0 || token >= s->g->trie->n_tokens)
        return lt_fail(LT_E_ARG, "token %d is out of range, the vocabulary has %d", (int)token, (int)s->g->trie->n_tokens);
    pthread_mutex_lock(&s->g->lock);
    int rc = advance(s, token);
    pthread_mutex_unlock(&s->g->lock);
    return rc;
}

static int mask(lt_gstate *s, uint32_t *words, size_t n_words, int32_t *n_allowed)
{
    const lt_kept_mask *kept = NULL;
    size_t n_own = ((size_t)s->g->trie->n_tokens + 31) / 32;
    LT_TRY(lt_grammar_collect(s->g));
    LT_TRY(lt_state_mask(s->g, s->state, &kept));
    memcpy(words, kept->words, n_own * sizeof *words);
    memset(words + n_own, 0, (n_words - n_own) * sizeof *words);
    *n_allowed = (int32_t)kept->n_allowed;
    return LT_OK;
}

int lt_gstate_mask(lt_gstate *s, uint32_t *words, int32_t n_words, int32_t *n_allowed)
{
    if (!s || !words || !n_allowed)
        return lt_fail(LT_E_ARG, "lt_gstate_mask needs a state and places for the results");
    if (n_words < 0 || (int64_t)n_words * 32 < s->g->trie->n_tokens)
        return lt_fail(LT_E_ARG, "a mask of %d words is too short for %d tokens", (int)n_words, (int)s->g->trie->n_tokens);
    pthread_mutex_lock(&s->g->lock);
    int rc = mask(s, words, (size_t)n_words, n_allowed);
    pthread_mutex_unlock(&s->g->lock);
    return rc;
}

int32_t lt_gstate_flags(const lt_gstate *s)
{
    if (!s)
        return lt_fail(LT_E_ARG, "lt_gstate_flags needs a state");
    pthread_mutex_lock(&s->g->lock);
    uint8_t flags = s->g->pool.states.at[s->state].flags;
    pthread_mutex_unlock(&s->g->lock);
    return (flags & LT_STATE_COMPLETE ? LT_GSTATE_COMPLETE : 0) | (flags & LT_STATE_WAITS ? LT_GSTATE_WAITING : 0);
}

/* The one byte that may follow: 1; 0 when it is not one. */
static int only_byte(lt_grammar *g, uint32_t state, uint8_t *byte, uint32_t *to)
{
    uint32_t n_alive = 0;
    if (g->pool.states.at[state].flags)
        return 0;
    LT_TRY(lt_state_expand(g, state));
    for (uint32_t class = 0; class < g->program.n_classes && n_alive < 2; class++) {
        uint32_t first = g->program.byte_of[class], end = class + 1 < g->program.n_classes ? g->program.byte_of[class + 1] : 256;
        uint32_t next = lt_edge_of(g, state, (uint8_t)first);
        if (next == LT_STATE_DEAD)
            continue;
        n_alive += next == LT_STATE_OVER ? 2 : end - first;
        *byte = (uint8_t)first;
        *to = next;
    }
    return n_alive == 1;
}

static int forced(lt_gstate *s, char *out, size_t cap, size_t *n)
{
    uint8_t byte = 0;
    size_t n_out = 0;
    int only = 1;
    LT_TRY(lt_grammar_collect(s->g));
    uint32_t state = s->state;
    while (n_out < cap && (only = only_byte(s->g, state, &byte, &state)) == 1)
        out[n_out++] = (char)byte;
    LT_TRY(only);
    *n = n_out;
    return LT_OK;
}

int lt_gstate_forced(lt_gstate *s, char *out, size_t cap, size_t *n)
{
    if (!s || !n || (!out && cap))
        return lt_fail(LT_E_ARG, "lt_gstate_forced needs a state and places for the results");
    pthread_mutex_lock(&s->g->lock);
    int rc = forced(s, out, cap, n);
    pthread_mutex_unlock(&s->g->lock);
    return rc;
}
