/* compile.c - from the tree of a grammar to its positions: every part is compiled for what follows it, from the end on. */
#include <string.h>

#include "core/memory.h"
#include "grammar/program.h"

/* A choice in the making lies on top of these; the choices around it lie below. */
typedef struct {
    lt_program *p;
    const lt_tree *t;
    LT_LIST(uint32_t) entries;
    LT_LIST(lt_word) words;
} compiler;

static int compile(compiler *c, uint32_t node, uint32_t next, uint32_t *out);

/* ---- building blocks ------------------------------------------------------------------------------------------------ */

int lt_program_add(lt_program *p, lt_position position, uint32_t *out)
{
    if (p->at.n == LT_PROGRAM_MAX_POSITIONS)
        return lt_fail(LT_E_LIMIT, "the grammar is too large: more than %d positions", LT_PROGRAM_MAX_POSITIONS);
    if (!LT_ROOM(&p->at, 1))
        return lt_tree_no_memory();
    *out = p->at.n;
    p->at.at[p->at.n++] = position;
    return LT_OK;
}

int lt_program_add_read(lt_program *p, const lt_edge *edges, uint32_t n, uint32_t *out)
{
    lt_position read = {.kind = LT_AT_READ, .a = p->edges.n, .n = (uint16_t)n};
    if (n > LT_PROGRAM_MAX_EDGES - p->edges.n)
        return lt_fail(LT_E_LIMIT, "the grammar is too large: more than %d edges", LT_PROGRAM_MAX_EDGES);
    if (!LT_ROOM(&p->edges, n))
        return lt_tree_no_memory();
    memcpy(p->edges.at + p->edges.n, edges, n * sizeof *edges);
    p->edges.n += n;
    return lt_program_add(p, read, out);
}

int lt_program_add_fork(lt_program *p, const uint32_t *to, uint32_t n, uint32_t *out)
{
    lt_position fork = {.kind = LT_AT_FORK, .a = p->links.n, .b = n};
    if (n == 1) {
        *out = *to;
        return LT_OK;
    }
    if (!LT_ROOM(&p->links, n))
        return lt_tree_no_memory();
    memcpy(p->links.at + p->links.n, to, n * sizeof *to);
    p->links.n += n;
    return lt_program_add(p, fork, out);
}

/* ---- texts ---------------------------------------------------------------------------------------------------------- */

static int compile_text(compiler *c, const lt_tree_node *node, uint32_t next, uint32_t *out)
{
    *out = next;
    for (uint32_t i = node->n; i-- > 0;) {
        uint8_t bytes[4];
        for (uint32_t k = lt_rune_to_utf8(c->t->runes.at[node->a + i], bytes); k-- > 0;)
            LT_TRY(lt_program_add_read(c->p, &(lt_edge){bytes[k], bytes[k], *out}, 1, out));
    }
    return LT_OK;
}

/* ---- choices -------------------------------------------------------------------------------------------------------- */

/* The text that an alternative begins with: NULL when it begins otherwise. */
static const lt_tree_node *first_text(const lt_tree *t, uint32_t node)
{
    if (t->nodes.at[node].kind == LT_TREE_SEQ) {
        node = t->nodes.at[node].last;
        while (t->nodes.at[node].prev)
            node = t->nodes.at[node].prev;
    }
    const lt_tree_node *first = &t->nodes.at[node];
    return first->kind == LT_TREE_TEXT && first->n ? first : NULL;
}

/* Children of a sequence, without `but`. */
static int compile_children(compiler *c, uint32_t last, const lt_tree_node *but, uint32_t next, uint32_t *out)
{
    *out = next;
    for (uint32_t i = last; i; i = c->t->nodes.at[i].prev)
        if (&c->t->nodes.at[i] != but)
            LT_TRY(compile(c, i, *out, out));
    return LT_OK;
}

static int push_word(compiler *c, uint32_t node, const lt_tree_node *text, uint32_t next)
{
    uint8_t *bytes = lt_alloc(4, text->n);
    uint32_t n = 0, rest = next, last = c->t->nodes.at[node].kind == LT_TREE_SEQ ? c->t->nodes.at[node].last : 0;
    int rc = bytes ? compile_children(c, last, text, next, &rest) : lt_tree_no_memory();
    if (rc == LT_OK && !LT_ROOM(&c->words, 1))
        rc = lt_tree_no_memory();
    if (rc < 0) {
        lt_free(bytes);
        return rc;
    }
    for (uint32_t i = 0; i < text->n; i++)
        n += lt_rune_to_utf8(c->t->runes.at[text->a + i], bytes + n);
    c->words.at[c->words.n++] = (lt_word){.text = bytes, .n = n, .rest = rest};
    return LT_OK;
}

static int push_entry(compiler *c, uint32_t entry)
{
    if (!LT_ROOM(&c->entries, 1))
        return lt_tree_no_memory();
    c->entries.at[c->entries.n++] = entry;
    return LT_OK;
}

static void drop_words(compiler *c, uint32_t n_left)
{
    while (c->words.n > n_left)
        lt_free((void *)c->words.at[--c->words.n].text);
}

static int compile_alternatives(compiler *c, uint32_t last, uint32_t next, uint32_t first_word)
{
    uint32_t entry = 0;
    for (uint32_t i = last; i; i = c->t->nodes.at[i].prev) {
        const lt_tree_node *text = first_text(c->t, i);
        if (text) {
            LT_TRY(push_word(c, i, text, next));
        } else {
            LT_TRY(compile(c, i, next, &entry));
            LT_TRY(push_entry(c, entry));
        }
    }
    if (c->words.n == first_word)
        return LT_OK;
    LT_TRY(lt_program_add_words(c->p, c->words.at + first_word, c->words.n - first_word, &entry));
    return push_entry(c, entry);
}

static int compile_choice(compiler *c, const lt_tree_node *node, uint32_t next, uint32_t *out)
{
    uint32_t first_entry = c->entries.n, first_word = c->words.n;
    int rc = compile_alternatives(c, node->last, next, first_word);
    if (rc == LT_OK)
        rc = lt_program_add_fork(c->p, c->entries.at + first_entry, c->entries.n - first_entry, out);
    c->entries.n = first_entry;
    drop_words(c, first_word);
    return rc;
}

/* ---- repetition ----------------------------------------------------------------------------------------------------- */

/* x* and x+: a fork that the body comes back to. */
static int compile_endless(compiler *c, const lt_tree_node *node, uint32_t next, uint32_t *out)
{
    uint32_t fork = 0, body = 0;
    LT_TRY(lt_program_add_fork(c->p, (uint32_t[]){next, next}, 2, &fork));
    LT_TRY(compile(c, node->last, fork, &body));
    c->p->links.at[c->p->at.at[fork].a] = body;
    *out = node->a ? body : fork;
    return LT_OK;
}

static int compile_counted(compiler *c, const lt_tree_node *node, uint32_t next, uint32_t *out)
{
    lt_program *p = c->p;
    uint32_t loop = p->loops.n, again = 0, body = 0;
    if (!LT_ROOM(&p->loops, 1))
        return lt_tree_no_memory();
    p->loops.n++;
    LT_TRY(lt_program_add(p, (lt_position){.kind = LT_AT_AGAIN, .a = loop}, &again));
    LT_TRY(compile(c, node->last, again, &body));
    p->loops.at[loop] = (lt_loop){.min = node->a, .max = node->n, .body = body, .next = next, .again = again};
    return lt_program_add(p, (lt_position){.kind = LT_AT_LOOP, .a = loop}, out);
}

static int compile_repeat(compiler *c, const lt_tree_node *node, uint32_t next, uint32_t *out)
{
    if (node->n == 0) {
        *out = next;
        return LT_OK;
    }
    if (node->n == LT_ENDLESS && node->a <= 1)
        return compile_endless(c, node, next, out);
    if (node->a > 0 || node->n > 1)
        return compile_counted(c, node, next, out);
    uint32_t ways[2] = {0, next};
    LT_TRY(compile(c, node->last, next, &ways[0]));
    return lt_program_add_fork(c->p, ways, 2, out);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

/* As deep as the tree, which is bounded by the limits on parentheses and marks. */
static int compile(compiler *c, uint32_t node, uint32_t next, uint32_t *out)
{
    const lt_tree_node *n = &c->t->nodes.at[node];
    switch (n->kind) {
    case LT_TREE_TEXT:
        return compile_text(c, n, next, out);
    case LT_TREE_CLASS:
        return lt_program_add_class(c->p, c->t->ranges.at + n->a, n->n, next, out);
    case LT_TREE_REF:
        return lt_program_add(c->p, (lt_position){.kind = LT_AT_CALL, .a = n->a, .b = next}, out);
    case LT_TREE_TOKEN:
        return lt_program_add(c->p, (lt_position){.kind = LT_AT_TOKEN, .a = n->a, .b = next, .flag = n->n != 0}, out);
    case LT_TREE_SEQ:
        return compile_children(c, n->last, NULL, next, out);
    case LT_TREE_ALT:
        return compile_choice(c, n, next, out);
    default:
        return compile_repeat(c, n, next, out);
    }
}

static int compile_rules(compiler *c)
{
    lt_program *p = c->p;
    uint32_t at = 0;
    LT_TRY(lt_program_add(p, (lt_position){.kind = LT_AT_RETURN}, &at));
    if (!LT_ROOM(&p->rules, c->t->rules.n))
        return lt_tree_no_memory();
    p->rules.n = c->t->rules.n;
    memset(p->rules.at, 0, p->rules.n * sizeof *p->rules.at);
    for (uint32_t i = 0; i < p->rules.n; i++)
        LT_TRY(compile(c, c->t->rules.at[i].body, LT_RETURN, &p->rules.at[i].entry));
    return LT_OK;
}

int lt_program_compile(lt_program *p, const lt_tree *t)
{
    compiler c = {.p = p, .t = t};
    int rc = compile_rules(&c);
    drop_words(&c, 0);
    lt_free(c.words.at);
    lt_free(c.entries.at);
    return rc;
}

void lt_program_class_bytes(lt_program *p)
{
    uint8_t cut[257] = {1};
    for (uint32_t i = 0; i < p->edges.n; i++)
        cut[p->edges.at[i].low] = cut[p->edges.at[i].high + 1] = 1;
    p->n_classes = 0;
    for (int b = 0; b < 256; b++) {
        if (cut[b])
            p->byte_of[p->n_classes++] = (uint8_t)b;
        p->class_of[b] = (uint8_t)(p->n_classes - 1);
    }
}

void lt_program_free(lt_program *p)
{
    lt_free(p->at.at);
    lt_free(p->edges.at);
    lt_free(p->links.at);
    lt_free(p->loops.at);
    lt_free(p->rules.at);
}
