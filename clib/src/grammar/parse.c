/* parse.c - from the text of a grammar (GBNF) to its tree.
 *
 *      rule      name ::= choice, then the end of the line
 *      choice    sequence | sequence ...            a line may end after ::= and |, and anywhere within parentheses
 *      sequence  item item ...                      may be empty
 *      item      "text" [class] . name ( choice ) <token> !<token>, then * + ? {m} {m,} {,n} {m,n}
 *
 * Blanks and # comments separate.  A rule defined again is replaced.  Recursion is as deep as parentheses, which are counted. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "grammar/tree.h"

static int parse_choice(lt_tree_cursor *c, uint32_t *node);

int lt_tree_no_memory(void)
{
    return lt_fail(LT_E_NOMEM, "no memory for a grammar");
}

int lt_tree_fail(const lt_tree *t, uint32_t at, const char *fmt, ...)
{
    char what[400];
    uint32_t line = 1, column = 1;
    for (uint32_t i = 0; i < at && i < t->n_text; i++) {
        uint8_t b = (uint8_t)t->text[i];
        bool new_line = b == '\n' || (b == '\r' && (i + 1 >= t->n_text || t->text[i + 1] != '\n'));
        line += new_line;
        column = new_line ? 1 : column + ((b & 0xC0) != 0x80);
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return lt_fail(LT_E_FORMAT, "grammar, line %u, column %u: %s", (unsigned)line, (unsigned)column, what);
}

static void skip_blanks(lt_tree_cursor *c, bool lines)
{
    for (int b; (b = lt_tree_peek(c)) == ' ' || b == '\t' || b == '#' || (lines && (b == '\n' || b == '\r'));) {
        c->at++;
        while (b == '#' && lt_tree_peek(c) >= 0 && lt_tree_peek(c) != '\n' && lt_tree_peek(c) != '\r')
            c->at++;
    }
}

static bool in_name(int b)
{
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '-' || b == '_';
}

static int parse_name(lt_tree_cursor *c, uint32_t *rule)
{
    uint32_t from = c->at;
    while (in_name(lt_tree_peek(c)))
        c->at++;
    return lt_tree_rule_named(c->tree, from, c->at - from, rule);
}

static int add_node(lt_tree *t, const lt_tree_node *node, uint32_t *out)
{
    if (!LT_ROOM(&t->nodes, 1))
        return lt_tree_no_memory();
    *out = t->nodes.n;
    t->nodes.at[t->nodes.n++] = *node;
    return LT_OK;
}

/* ---- repetition ----------------------------------------------------------------------------------------------------- */

static int parse_count(lt_tree_cursor *c, uint32_t *count)
{
    uint32_t from = c->at;
    uint64_t value = 0;
    for (; lt_tree_peek(c) >= '0' && lt_tree_peek(c) <= '9'; c->at++)
        value = value <= LT_GRAMMAR_MAX_COUNT ? 10 * value + (uint64_t)(lt_tree_peek(c) - '0') : value;
    if (from == c->at)
        return lt_tree_fail(c->tree, from, "expected a number of repetitions");
    if (value > LT_GRAMMAR_MAX_COUNT)
        return lt_tree_fail(c->tree, from, "more than %d repetitions", LT_GRAMMAR_MAX_COUNT);
    *count = (uint32_t)value;
    skip_blanks(c, true);
    return LT_OK;
}

static int parse_braces(lt_tree_cursor *c, uint32_t *min, uint32_t *max)
{
    uint32_t opened = c->at++;
    skip_blanks(c, true);
    bool from_zero = lt_tree_peek(c) == ',';
    if (!from_zero)
        LT_TRY(parse_count(c, min));
    *max = *min;
    if (lt_tree_peek(c) == ',') {
        c->at++;
        skip_blanks(c, true);
        *max = LT_ENDLESS;
        if (from_zero || lt_tree_peek(c) != '}')
            LT_TRY(parse_count(c, max));
    }
    if (lt_tree_peek(c) != '}')
        return lt_tree_fail(c->tree, c->at, "expected } to close the number of repetitions");
    c->at++;
    return *min <= *max ? LT_OK : lt_tree_fail(c->tree, opened, "at least %u repetitions, but at most %u", (unsigned)*min, (unsigned)*max);
}

/* The mark at the cursor: 1, 0 when there is none. */
static int parse_mark(lt_tree_cursor *c, uint32_t *min, uint32_t *max)
{
    int mark = lt_tree_peek(c);
    *min = mark == '+';
    *max = mark == '?' ? 1 : LT_ENDLESS;
    if (mark == '{') {
        LT_TRY(parse_braces(c, min, max));
        return 1;
    }
    bool is_mark = mark == '*' || mark == '+' || mark == '?';
    c->at += is_mark;
    return is_mark;
}

static int parse_marks(lt_tree_cursor *c, uint32_t *node)
{
    for (int n = 0;; n++) {
        uint32_t at = c->at, min = 0, max = 0;
        skip_blanks(c, c->depth > 0);
        int found = parse_mark(c, &min, &max);
        if (found <= 0)
            return found;
        if (n == LT_GRAMMAR_MAX_MARKS)
            return lt_tree_fail(c->tree, at, "more than %d repetition marks behind one another", LT_GRAMMAR_MAX_MARKS);
        if (min != 1 || max != 1)
            LT_TRY(add_node(c->tree, &(lt_tree_node){.kind = LT_TREE_REPEAT, .a = min, .n = max, .last = *node}, node));
    }
}

/* ---- items, sequences, choices ---------------------------------------------------------------------------------------- */

static int parse_group(lt_tree_cursor *c, uint32_t *node)
{
    uint32_t opened = c->at++;
    if (++c->depth > LT_GRAMMAR_MAX_DEPTH)
        return lt_tree_fail(c->tree, opened, "more than %d parentheses within one another", LT_GRAMMAR_MAX_DEPTH);
    skip_blanks(c, true);
    LT_TRY(parse_choice(c, node));
    if (lt_tree_peek(c) != ')')
        return lt_tree_fail(c->tree, c->at, "expected an item, | or the ) of an open parenthesis");
    c->at++;
    c->depth--;
    return LT_OK;
}

static int parse_reference(lt_tree_cursor *c, lt_tree_node *out)
{
    *out = (lt_tree_node){.kind = LT_TREE_REF, .n = c->at};
    return parse_name(c, &out->a);
}

static bool begins_item(int b)
{
    return b == '"' || b == '[' || b == '(' || b == '.' || b == '<' || b == '!' || in_name(b);
}

static int parse_item(lt_tree_cursor *c, uint32_t *node)
{
    lt_tree_node item = {0};
    int b = lt_tree_peek(c), rc;
    if (b == '(') {
        LT_TRY(parse_group(c, node));
        return parse_marks(c, node);
    }
    if (b == '.') {
        c->at++;
        rc = lt_tree_any_rune(c->tree, &item);
    } else {
        rc = b == '"'               ? lt_tree_parse_text(c, &item)
             : b == '['             ? lt_tree_parse_class(c, &item)
             : b == '<' || b == '!' ? lt_tree_parse_token(c, &item)
                                    : parse_reference(c, &item);
    }
    LT_TRY(rc);
    LT_TRY(add_node(c->tree, &item, node));
    return parse_marks(c, node);
}

static int parse_sequence(lt_tree_cursor *c, uint32_t *node)
{
    uint32_t n = 0, last = 0;
    for (; begins_item(lt_tree_peek(c)); n++) {
        uint32_t item = 0;
        LT_TRY(parse_item(c, &item));
        c->tree->nodes.at[item].prev = last;
        last = item;
        skip_blanks(c, c->depth > 0);
    }
    int b = lt_tree_peek(c);
    if (n == 0 && (b == '*' || b == '+' || b == '?' || b == '{'))
        return lt_tree_fail(c->tree, c->at, "there is nothing before this %c that it could repeat", b);
    *node = last;
    return n == 1 ? LT_OK : add_node(c->tree, &(lt_tree_node){.kind = LT_TREE_SEQ, .last = last}, node);
}

static int parse_choice(lt_tree_cursor *c, uint32_t *node)
{
    uint32_t last = 0;
    LT_TRY(parse_sequence(c, node));
    for (last = *node; lt_tree_peek(c) == '|'; last = *node) {
        c->at++;
        skip_blanks(c, true);
        LT_TRY(parse_sequence(c, node));
        c->tree->nodes.at[*node].prev = last;
    }
    return c->tree->nodes.at[last].prev ? add_node(c->tree, &(lt_tree_node){.kind = LT_TREE_ALT, .last = last}, node) : LT_OK;
}

/* ---- rules ---------------------------------------------------------------------------------------------------------- */

static int parse_rule(lt_tree_cursor *c)
{
    lt_tree *t = c->tree;
    uint32_t rule = 0, body = 0;
    if (!in_name(lt_tree_peek(c)))
        return lt_tree_fail(t, c->at, "expected the name of a rule");
    LT_TRY(parse_name(c, &rule));
    skip_blanks(c, false);
    if (t->n_text - c->at < 3 || memcmp(t->text + c->at, "::=", 3) != 0)
        return lt_tree_fail(t, c->at, "expected ::= after the name of a rule");
    c->at += 3;
    skip_blanks(c, true);
    LT_TRY(parse_choice(c, &body));
    int b = lt_tree_peek(c);
    if (b >= 0 && b != '\n' && b != '\r')
        return lt_tree_fail(t, c->at, "expected an item, | or the end of the line");
    skip_blanks(c, true);
    t->rules.at[rule].body = body;
    return LT_OK;
}

static int parse_rules(lt_tree *t)
{
    lt_tree_cursor c = {.tree = t};
    LT_TRY(add_node(t, &(lt_tree_node){0}, &(uint32_t){0}));
    skip_blanks(&c, true);
    if (lt_tree_peek(&c) < 0)
        return lt_tree_fail(t, c.at, "expected a rule, the grammar is empty");
    while (lt_tree_peek(&c) >= 0)
        LT_TRY(parse_rule(&c));
    for (uint32_t i = 0; i < t->rules.n; i++) {
        const lt_tree_rule *rule = &t->rules.at[i];
        int shown = rule->n_name < 64 ? (int)rule->n_name : 64;
        if (!rule->body)
            return lt_tree_fail(t, rule->used_at, "there is no rule \"%.*s\"", shown, t->text + rule->name);
    }
    return LT_OK;
}

int lt_tree_parse(lt_tree *t, const lt_vocab *v, const char *text, size_t n_text)
{
    *t = (lt_tree){.vocab = v, .text = text, .n_text = (uint32_t)n_text};
    if (n_text > LT_GRAMMAR_MAX_BYTES)
        return lt_fail(LT_E_LIMIT, "the grammar has %zu bytes, limit %d", n_text, LT_GRAMMAR_MAX_BYTES);
    return parse_rules(t);
}

void lt_tree_free(lt_tree *t)
{
    lt_free(t->nodes.at);
    lt_free(t->runes.at);
    lt_free(t->ranges.at);
    lt_free(t->rules.at);
    lt_free(t->slots);
}
