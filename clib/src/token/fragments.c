/* fragments.c - cutting special tokens out of a text, in time linear in the text.
 *
 * Matches that overlap nothing, which is nearly all, are taken as they come.  Overlapping ones form a knot, a stretch of text
 * that is sorted out as a whole: by length, longest first, and from left to right; a match that runs into one already taken
 * gives way to the next shorter text that starts where it does.  (Newline runs of 1 to 31 as 31 tokens make such knots.) */
#include <string.h>

#include "core/memory.h"
#include "token/encoding.h"

typedef struct {
    uint32_t at, n; /* relative to the knot */
} match;

void lt_fragments_start(lt_fragments *f, const lt_vocab *v, const uint8_t *text, size_t n, bool any)
{
    *f = (lt_fragments){.v = v, .text = text, .n = n, .any = any};
}

void lt_fragments_end(lt_fragments *f)
{
    lt_free(f->matches.items);
    lt_free(f->taken.items);
    lt_free(f->starts.items);
}

/* Longest special text at `at` that ends by `end`; 0: none. */
static uint32_t longest_at(const lt_fragments *f, size_t at, size_t end, int32_t *id)
{
    if (!f->v->specials.begins[f->any][f->text[at]])
        return 0;
    return lt_special_at(&f->v->specials, f->any, f->text + at, end - at, id);
}

static inline bool get_bit(const uint8_t *bits, size_t i)
{
    return bits[i >> 3] >> (i & 7) & 1;
}

static inline void set_bit(uint8_t *bits, size_t i)
{
    bits[i >> 3] |= (uint8_t)(1u << (i & 7));
}

/* First taken byte of [at, end), or end. */
static uint32_t first_taken(const uint8_t *taken, uint32_t at, uint32_t end)
{
    while (at < end && !get_bit(taken, at))
        at++;
    return at;
}

/* One round: takes what it can of the matches of n bytes, shortens or drops those in the way, keeps the shorter ones.
 * Returns the greatest length among those kept. */
static uint32_t take_round(lt_fragments *f, uint32_t n, match *matches, size_t *n_matches)
{
    uint8_t *taken = f->taken.items, *starts = f->starts.items;
    uint32_t longest = 0;
    size_t n_kept = 0;
    for (size_t i = 0; i < *n_matches; i++) {
        match m = matches[i];
        int32_t id;
        uint32_t limit = m.n < n ? m.at + m.n : first_taken(taken, m.at, m.at + m.n);
        if (m.n == n && limit == m.at + n) {
            set_bit(starts, m.at);
            for (uint32_t b = m.at; b < limit; b++)
                set_bit(taken, b);
            continue;
        }
        if (m.n == n)
            m.n = limit > m.at ? longest_at(f, f->knot_from + m.at, f->knot_from + limit, &id) : 0;
        if (m.n == 0)
            continue;
        matches[n_kept++] = m;
        longest = m.n > longest ? m.n : longest;
    }
    *n_matches = n_kept;
    return longest;
}

/* Sorts out text[from..to): afterwards `starts` marks the first byte of each token there, `taken` all of their bytes. */
static int untie(lt_fragments *f, size_t from, size_t to)
{
    size_t n = to - from, n_matches = 0;
    uint32_t longest = 0;
    int32_t id;
    LT_TRY(lt_scratch_reserve(&f->matches, n, sizeof(match)));
    LT_TRY(lt_scratch_reserve(&f->taken, n / 8 + 1, 1));
    LT_TRY(lt_scratch_reserve(&f->starts, n / 8 + 1, 1));
    memset(f->taken.items, 0, n / 8 + 1);
    memset(f->starts.items, 0, n / 8 + 1);
    f->knot_from = from;
    f->knot_to = to;
    match *matches = f->matches.items;
    for (size_t at = 0; at < n; at++) {
        uint32_t n_bytes = longest_at(f, from + at, to, &id);
        if (n_bytes)
            matches[n_matches++] = (match){(uint32_t)at, n_bytes};
        longest = n_bytes > longest ? n_bytes : longest;
    }
    while (n_matches > 0)
        longest = take_round(f, longest, matches, &n_matches);
    return LT_OK;
}

/* The next token of the knot at or after `at`, from its marks; false: none is left there. */
static bool next_in_knot(lt_fragments *f, size_t at)
{
    const uint8_t *taken = f->taken.items, *starts = f->starts.items;
    size_t n = f->knot_to - f->knot_from, first = at - f->knot_from;
    while (first < n && !get_bit(starts, first))
        first++;
    if (first == n)
        return false;
    size_t end = first + 1;
    while (end < n && get_bit(taken, end) && !get_bit(starts, end))
        end++;
    f->special_at = f->knot_from + first;
    f->special_n = longest_at(f, f->special_at, f->knot_from + end, &f->special_id);
    return true;
}

/* Where matches that overlap the one at `at`, and each other, come to an end; *tied: there are any. */
static size_t end_of_knot(const lt_fragments *f, size_t at, uint32_t n, bool *tied)
{
    size_t end = at + n;
    int32_t id;
    *tied = false;
    for (size_t i = at + 1; i < end; i++) {
        uint32_t n_bytes = longest_at(f, i, f->n, &id);
        *tied = *tied || n_bytes;
        if (i + n_bytes > end)
            end = i + n_bytes;
    }
    return end;
}

/* Fills special_at, special_n and special_id. */
static int find_special(lt_fragments *f)
{
    if (f->at < f->knot_to && next_in_knot(f, f->at))
        return LT_OK;
    size_t at = f->at < f->knot_to ? f->knot_to : f->at;
    uint32_t n = 0;
    while (at < f->n && (n = longest_at(f, at, f->n, &f->special_id)) == 0)
        at++;
    f->special_at = at;
    f->special_n = n;
    if (at == f->n)
        return LT_OK;
    bool tied;
    size_t end = end_of_knot(f, at, n, &tied);
    if (!tied)
        return LT_OK;
    LT_TRY(untie(f, at, end));
    next_in_knot(f, at);
    return LT_OK;
}

static bool is_ascii_space(uint8_t b)
{
    return b == ' ' || (b >= '\t' && b <= '\r');
}

static int give_special(lt_fragments *f, lt_fragment *out)
{
    *out = (lt_fragment){.text = f->text + f->at, .n = f->special_n, .id = f->special_id};
    f->at += f->special_n;
    f->special_n = 0;
    f->strip = f->v->marks[f->special_id] & LT_MARK_STRIP;
    return 1;
}

int lt_fragments_next(lt_fragments *f, lt_fragment *out)
{
    if (f->special_n && f->at == f->special_at)
        return give_special(f, out);
    if (f->at == f->n)
        return 0;
    LT_TRY(find_special(f));
    while (f->strip && f->at < f->special_at && is_ascii_space(f->text[f->at]))
        f->at++;
    f->strip = false;
    if (f->at == f->special_at)
        return f->special_n ? give_special(f, out) : 0;
    size_t end = f->special_at;
    while (f->special_n && f->v->marks[f->special_id] & LT_MARK_STRIP_BEFORE && end > f->at && is_ascii_space(f->text[end - 1]))
        end--;
    *out = (lt_fragment){.text = f->text + f->at, .n = end - f->at, .id = -1};
    f->at = f->special_at;
    return end > (size_t)(out->text - f->text) ? 1 : give_special(f, out);
}
