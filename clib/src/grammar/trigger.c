/* trigger.c - a grammar that waits: everything is allowed until a word has been read, or a token has come.
 *
 * The words are searched for by an automaton of their beginnings (Aho and Corasick), which becomes READ positions in front of
 * the program.  Where a word is complete they lead to a START, which stands for the state that the grammar is in by then. */
#include <string.h>

#include "core/memory.h"
#include "grammar/grammar.h"

enum { MAX_WORDS = 64, MAX_WORD_BYTES = 1024, MAX_ALL_BYTES = 8192, MAX_TOKENS = 64 };

typedef struct {
    uint16_t (*next)[256];  /* [n_nodes] node by byte; first those of the words alone, 0: none */
    uint16_t *fail, *queue; /* the longest other beginning that the node ends with */
    int32_t *word;          /* the longest word that is complete here; -1: none */
    uint32_t n_nodes;
} searcher;

static void add_word(searcher *s, const char *text, int32_t number)
{
    uint32_t node = 0;
    for (const uint8_t *b = (const uint8_t *)text; *b; b++) {
        if (!s->next[node][*b])
            s->next[node][*b] = (uint16_t)s->n_nodes++;
        node = s->next[node][*b];
    }
    if (s->word[node] < 0)
        s->word[node] = number;
}

/* Completes next: by breadth, so that all shorter beginnings are complete before. */
static void link_beginnings(searcher *s)
{
    uint32_t n_queue = 0;
    s->queue[n_queue++] = 0;
    for (uint32_t i = 0; i < n_queue; i++) {
        uint32_t node = s->queue[i];
        for (int b = 0; b < 256; b++) {
            uint16_t child = s->next[node][b], other = node ? s->next[s->fail[node]][b] : 0;
            if (child) {
                s->fail[child] = other;
                s->word[child] = s->word[child] >= 0 ? s->word[child] : s->word[other];
                s->queue[n_queue++] = child;
            } else {
                s->next[node][b] = other;
            }
        }
    }
}

/* READ positions for all nodes, the root's first; starts + i is the START of word i. */
static int add_positions(lt_program *p, const searcher *s, uint32_t starts)
{
    uint32_t first = p->at.n, at = 0;
    for (uint32_t node = 0; node < s->n_nodes; node++) {
        lt_edge edges[256];
        uint32_t n = 0;
        for (int b = 0; b < 256; b++) {
            uint32_t child = s->next[node][b], to = s->word[child] >= 0 ? starts + (uint32_t)s->word[child] : first + child;
            if (n && edges[n - 1].to == to)
                edges[n - 1].high = (uint8_t)b;
            else
                edges[n++] = (lt_edge){(uint8_t)b, (uint8_t)b, to};
        }
        LT_TRY(lt_program_add_read(p, edges, n, &at));
        p->at.at[at].flag = 1;
    }
    return LT_OK;
}

static int compile_words(lt_grammar *g, const lt_grammar_opts *o, size_t n_bytes, uint32_t starts)
{
    size_t n = n_bytes + 1;
    searcher s = {.n_nodes = 1};
    s.next = lt_alloc_zero(n, sizeof *s.next);
    s.fail = lt_alloc_zero(n, sizeof *s.fail);
    s.queue = lt_alloc(n, sizeof *s.queue);
    s.word = lt_alloc(n, sizeof *s.word);
    int rc = s.next && s.fail && s.queue && s.word ? LT_OK : lt_tree_no_memory();
    if (rc == LT_OK) {
        memset(s.word, 0xFF, n * sizeof *s.word);
        for (uint32_t i = 0; i < o->n_words; i++)
            add_word(&s, o->words[i], (int32_t)i);
        link_beginnings(&s);
        g->start = g->program.at.n;
        rc = add_positions(&g->program, &s, starts);
    }
    lt_free(s.next);
    lt_free(s.fail);
    lt_free(s.queue);
    lt_free(s.word);
    return rc;
}

static int check_words(const lt_grammar_opts *o, size_t *n_bytes)
{
    if (o->n_words > MAX_WORDS || o->n_tokens > MAX_TOKENS)
        return lt_fail(LT_E_LIMIT, "a grammar waits for at most %d words and %d tokens", MAX_WORDS, MAX_TOKENS);
    if ((o->n_words && !o->words) || (o->n_tokens && !o->tokens))
        return lt_fail(LT_E_ARG, "lt_grammar_open: triggers are NULL");
    for (uint32_t i = 0; i < o->n_words; i++) {
        size_t n = o->words[i] ? strnlen(o->words[i], MAX_WORD_BYTES + 1) : 0;
        if (n == 0 || n > MAX_WORD_BYTES)
            return lt_fail(LT_E_ARG, "trigger word %u must have 1..%d bytes", (unsigned)i, MAX_WORD_BYTES);
        *n_bytes += n;
    }
    return *n_bytes <= MAX_ALL_BYTES ? LT_OK : lt_fail(LT_E_LIMIT, "the trigger words have %zu bytes, limit %d", *n_bytes, MAX_ALL_BYTES);
}

static int check_tokens(const lt_grammar *g, const lt_grammar_opts *o)
{
    for (uint32_t i = 0; i < o->n_tokens; i++) {
        int32_t eog = lt_token_is_eog(g->vocab, o->tokens[i]);
        if (eog)
            return lt_fail(LT_E_ARG, "trigger token %d %s", (int)o->tokens[i], eog < 0 ? "is out of range" : "ends generation");
    }
    return LT_OK;
}

int lt_triggers_compile(lt_grammar *g, const lt_grammar_opts *o)
{
    size_t n_bytes = 0, n = 0;
    uint32_t starts = g->program.at.n, at = 0;
    LT_TRY(check_words(o, &n_bytes));
    LT_TRY(check_tokens(g, o));
    n = (size_t)o->n_words + o->n_tokens;
    if (n == 0)
        return LT_OK;
    if (!LT_ROOM(&g->triggers, n))
        return lt_tree_no_memory();
    for (uint32_t i = 0; i < n; i++) {
        LT_TRY(lt_program_add(&g->program, (lt_position){.kind = LT_AT_START, .a = i}, &at));
        g->triggers.at[g->triggers.n++] = (lt_trigger){.token = i < o->n_words ? -1 : o->tokens[i - o->n_words]};
    }
    return compile_words(g, o, n_bytes, starts);
}

/* The state behind trigger i: of the text with the trigger in it, or of no text yet. */
static int find_start(lt_grammar *g, const lt_grammar_opts *o, uint32_t i, uint32_t root, uint32_t *state)
{
    *state = root;
    if (o->flags & LT_GRAMMAR_AFTER_TRIGGER)
        return LT_OK;
    if (i >= o->n_words)
        return lt_state_take(g, root, g->triggers.at[i].token, state);
    return lt_state_read(g, root, (const uint8_t *)o->words[i], (uint32_t)strlen(o->words[i]), state);
}

int lt_triggers_settle(lt_grammar *g, const lt_grammar_opts *o, uint32_t root)
{
    for (uint32_t i = 0; i < g->triggers.n; i++) {
        uint32_t state = LT_STATE_DEAD;
        LT_TRY(find_start(g, o, i, root, &state));
        if (state == LT_STATE_OVER)
            return lt_grammar_over();
        if (state == LT_STATE_DEAD)
            return lt_fail(LT_E_FORMAT, "grammar: no text that it describes begins with trigger %s %u", i < o->n_words ? "word" : "token",
                           (unsigned)(i < o->n_words ? i : i - o->n_words));
        LT_TRY(lt_gstate_create(&g->triggers.at[i].start, g, state));
    }
    return LT_OK;
}
