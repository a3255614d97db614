/* characters.c - the characters of a grammar's text: escapes, "literals", [classes].
 *
 * U+0000 and surrogates are never part of generated text.  A class may name them, which is common, and does not match them. */
#include <stdlib.h>
#include <string.h>

#include "grammar/tree.h"

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_hex(lt_tree_cursor *c, int n_digits, uint32_t *rune)
{
    uint32_t from = c->at - 2, value = 0;
    for (int i = 0; i < n_digits; i++, c->at++) {
        int digit = hex_value(lt_tree_peek(c));
        if (digit < 0)
            return lt_tree_fail(c->tree, c->at, "expected a hexadecimal digit, %d of them after \\%c", n_digits, c->tree->text[from + 1]);
        value = value << 4 | (uint32_t)digit;
    }
    if (value > LT_LAST_RUNE)
        return lt_tree_fail(c->tree, from, "U+%X is beyond the last character, U+10FFFF", (unsigned)value);
    *rune = value;
    return LT_OK;
}

static int parse_escape(lt_tree_cursor *c, uint32_t *rune)
{
    static const char names[] = "trn\\\"[]", means[] = "\t\r\n\\\"[]";
    c->at++;
    int letter = lt_tree_peek(c);
    if (letter < 0)
        return lt_tree_fail(c->tree, c->at, "expected an escape after \\, the grammar ends here");
    c->at++;
    if (letter == 'x' || letter == 'u' || letter == 'U')
        return parse_hex(c, letter == 'x' ? 2 : letter == 'u' ? 4 : 8, rune);
    const char *found = letter ? strchr(names, letter) : NULL;
    if (!found)
        return lt_tree_fail(c->tree, c->at - 2, "unknown escape; there are \\x \\u \\U \\t \\r \\n \\\\ \\\" \\[ \\]");
    *rune = (uint8_t)means[found - names];
    return LT_OK;
}

/* One character of UTF-8; its bytes must be the shortest form. */
static int parse_utf8(lt_tree_cursor *c, uint32_t *rune)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t from = c->at, lead = (uint32_t)lt_tree_peek(c);
    uint32_t n = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF8 ? 4 : 0;
    uint32_t value = n == 1 ? lead : lead & (0x7Fu >> n);
    c->at++;
    for (uint32_t i = 1; i < n; i++, c->at++) {
        int next = lt_tree_peek(c);
        if (next < 0x80 || next > 0xBF)
            n = 0;
        else
            value = value << 6 | ((uint32_t)next & 0x3F);
    }
    if (n == 0 || value < least[n] || value > LT_LAST_RUNE || (value >= 0xD800 && value <= 0xDFFF))
        return lt_tree_fail(c->tree, from, "the text is not UTF-8");
    *rune = value;
    return LT_OK;
}

static int parse_rune(lt_tree_cursor *c, uint32_t *rune)
{
    return lt_tree_peek(c) == '\\' ? parse_escape(c, rune) : parse_utf8(c, rune);
}

int lt_tree_parse_text(lt_tree_cursor *c, lt_tree_node *out)
{
    lt_tree *t = c->tree;
    uint32_t opened = c->at++;
    *out = (lt_tree_node){.kind = LT_TREE_TEXT, .a = t->runes.n};
    while (lt_tree_peek(c) != '"') {
        uint32_t from = c->at, rune = 0;
        if (lt_tree_peek(c) < 0)
            return lt_tree_fail(t, opened, "expected a closing \" for this one, the grammar ends before it");
        LT_TRY(parse_rune(c, &rune));
        if (rune == 0 || (rune >= 0xD800 && rune <= 0xDFFF))
            return lt_tree_fail(t, from, "U+%04X cannot be part of a text%s", (unsigned)rune,
                                rune ? "; write \\U and eight digits for a pair" : "");
        if (!LT_ROOM(&t->runes, 1))
            return lt_tree_no_memory();
        t->runes.at[t->runes.n++] = rune;
    }
    c->at++;
    out->n = t->runes.n - out->a;
    return LT_OK;
}

/* ---- classes -------------------------------------------------------------------------------------------------------- */

static int by_low(const void *a, const void *b)
{
    const lt_rune_range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

/* Sorted and apart: how many are left. */
static uint32_t merge_ranges(lt_rune_range *r, uint32_t n)
{
    uint32_t n_out = 0;
    qsort(r, n, sizeof *r, by_low);
    for (uint32_t i = 0; i < n; i++) {
        if (n_out && r[i].low <= r[n_out - 1].high + 1)
            r[n_out - 1].high = r[n_out - 1].high > r[i].high ? r[n_out - 1].high : r[i].high;
        else
            r[n_out++] = r[i];
    }
    return n_out;
}

/* The gaps between n ranges, up to the last character: at most n + 1, written over them. */
static uint32_t complement(lt_rune_range *r, uint32_t n)
{
    uint32_t n_out = 0, next = 0;
    for (uint32_t i = 0; i < n; i++) {
        lt_rune_range range = r[i];
        if (range.low > next)
            r[n_out++] = (lt_rune_range){next, range.low - 1};
        next = range.high + 1;
    }
    if (next <= LT_LAST_RUNE)
        r[n_out++] = (lt_rune_range){next, LT_LAST_RUNE};
    return n_out;
}

/* Takes U+0000 and the surrogates out: complement, add them, complement again. */
static int finish_class(lt_tree *t, lt_tree_node *node, bool negated)
{
    static const lt_rune_range never[] = {{0, 0}, {0xD800, 0xDFFF}};
    if (!LT_ROOM(&t->ranges, 5))
        return lt_tree_no_memory();
    lt_rune_range *r = t->ranges.at + node->a;
    uint32_t n = merge_ranges(r, t->ranges.n - node->a);
    if (!negated)
        n = complement(r, n);
    memcpy(r + n, never, sizeof never);
    n = complement(r, merge_ranges(r, n + 2));
    node->n = n;
    t->ranges.n = node->a + n;
    return LT_OK;
}

static int parse_range(lt_tree_cursor *c)
{
    lt_tree *t = c->tree;
    lt_rune_range range = {0, 0};
    uint32_t from = c->at;
    LT_TRY(parse_rune(c, &range.low));
    range.high = range.low;
    bool last = c->at + 1 >= t->n_text || t->text[c->at + 1] == ']';
    if (lt_tree_peek(c) == '-' && !last) {
        c->at++;
        LT_TRY(parse_rune(c, &range.high));
    }
    if (range.low > range.high)
        return lt_tree_fail(t, from, "the range begins behind its end");
    if (!LT_ROOM(&t->ranges, 1))
        return lt_tree_no_memory();
    t->ranges.at[t->ranges.n++] = range;
    return LT_OK;
}

int lt_tree_parse_class(lt_tree_cursor *c, lt_tree_node *out)
{
    uint32_t opened = c->at++;
    bool negated = lt_tree_peek(c) == '^';
    c->at += negated;
    *out = (lt_tree_node){.kind = LT_TREE_CLASS, .a = c->tree->ranges.n};
    while (lt_tree_peek(c) != ']') {
        if (lt_tree_peek(c) < 0)
            return lt_tree_fail(c->tree, opened, "expected a closing ] for this [, the grammar ends before it");
        LT_TRY(parse_range(c));
    }
    c->at++;
    LT_TRY(finish_class(c->tree, out, negated));
    return out->n ? LT_OK : lt_tree_fail(c->tree, opened, "no character can match this class");
}

int lt_tree_any_rune(lt_tree *t, lt_tree_node *out)
{
    *out = (lt_tree_node){.kind = LT_TREE_CLASS, .a = t->ranges.n};
    return finish_class(t, out, true);
}
