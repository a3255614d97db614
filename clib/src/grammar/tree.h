/* tree.h - a grammar as it is written: rules over a tree of expressions.  The parser makes it, the compiler uses it up.
 *
 * Children hang on their parent last first (last, then prev of each), since a sequence is compiled from its end. */
#ifndef LT_GRAMMAR_TREE_H
#define LT_GRAMMAR_TREE_H

#include <stdbool.h>

#include "core/list.h"
#include "core/status.h"

enum {
    LT_GRAMMAR_MAX_BYTES = 1 << 20,
    LT_GRAMMAR_MAX_DEPTH = 256,      /* parentheses within parentheses */
    LT_GRAMMAR_MAX_MARKS = 4,        /* repetition marks behind one another */
    LT_GRAMMAR_MAX_RULES = 1 << 16,
    LT_GRAMMAR_MAX_COUNT = 1 << 30,  /* m and n of {m,n} */
    LT_GRAMMAR_MAX_TOKEN_NAME = 256, /* bytes of <...> */
};
enum { LT_ENDLESS = UINT32_MAX }; /* n of {m,} */
enum { LT_LAST_RUNE = 0x10FFFF };

enum {
    LT_TREE_TEXT = 1, /* runes[a .. a + n) */
    LT_TREE_CLASS,    /* any one of ranges[a .. a + n), sorted and apart, neither U+0000 nor surrogates among them */
    LT_TREE_REF,      /* rule a; n: where the name stands */
    LT_TREE_TOKEN,    /* token a, or with n any token with text but a */
    LT_TREE_SEQ,      /* children one behind the other */
    LT_TREE_ALT,      /* one of the children */
    LT_TREE_REPEAT    /* its one child, a to n times */
};

typedef struct {
    uint32_t kind, a, n;
    uint32_t last, prev; /* last child, sibling in front; 0: none */
} lt_tree_node;

typedef struct {
    uint32_t name, n_name; /* bytes of the text */
    uint32_t used_at;      /* where it is first spoken of */
    uint32_t body;         /* 0: not defined */
} lt_tree_rule;

typedef struct {
    uint32_t low, high; /* code points, both included */
} lt_rune_range;

typedef struct {
    const lt_vocab *vocab; /* for names of tokens */
    const char *text;
    uint32_t n_text;
    LT_LIST(lt_tree_node) nodes; /* number 0 is no node */
    LT_LIST(uint32_t) runes;
    LT_LIST(lt_rune_range) ranges;
    LT_LIST(lt_tree_rule) rules;
    uint32_t *slots; /* name -> rule + 1 */
    uint32_t n_slots;
} lt_tree;

/* Every rule that is spoken of is defined then. */
int lt_tree_parse(lt_tree *t, const lt_vocab *v, const char *text, size_t n_text);
void lt_tree_free(lt_tree *t);

/* LT_E_FORMAT: "grammar, line 3, column 7: ..." for the byte `at`. */
int lt_tree_fail(const lt_tree *t, uint32_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4), cold));
int lt_tree_no_memory(void);

/* names.c: the number of the rule, made when it is new. */
int lt_tree_rule_named(lt_tree *t, uint32_t name, uint32_t n_name, uint32_t *rule);
int64_t lt_tree_find_rule(const lt_tree *t, const char *name, size_t n_name); /* -1: none */

/* ---- for the parser's files ---------------------------------------------------------------------------------------- */

typedef struct {
    lt_tree *tree;
    uint32_t at;    /* next byte of the text */
    uint32_t depth; /* open parentheses */
} lt_tree_cursor;

static inline int lt_tree_peek(const lt_tree_cursor *c) /* -1 at the end */
{
    return c->at < c->tree->n_text ? (uint8_t)c->tree->text[c->at] : -1;
}

/* characters.c: what stands between quotes, between brackets, and `.`; the cursor is on the first of them. */
int lt_tree_parse_text(lt_tree_cursor *c, lt_tree_node *out);
int lt_tree_parse_class(lt_tree_cursor *c, lt_tree_node *out);
int lt_tree_any_rune(lt_tree *t, lt_tree_node *out);

/* names.c: <name>, <[number]>, either with ! before it. */
int lt_tree_parse_token(lt_tree_cursor *c, lt_tree_node *out);

#endif
