/* ugm.c - SentencePiece's unigram model: of all ways to cut a text into tokens the one with the greatest sum of scores.
 *
 * The fragment is normalised first, then cut before spaces that no token spans (see spm.c): the best way through the whole is
 * the best way through each word, and words repeat.  Ways of the same score are told apart by the rounding of sums, which
 * begin at zero with each word.  A character that is no token by itself may be passed over at a price; a run of
 * such characters is one unknown token, or all of their bytes where the vocabulary has tokens for these. */
#include <math.h>

#include "token/encoding.h"

/* ---- normalising -------------------------------------------------------------------------------------------------- */

typedef struct {
    lt_encoding *e;
    size_t n;
    bool begun, space; /* something has been written; a space is to come before more is */
} normal_text;

static int put(normal_text *t, const uint8_t *bytes, size_t n)
{
    LT_TRY(lt_scratch_reserve(&t->e->spaced, t->n + n + 2, 1)); /* two: the space before, and the one at the very end */
    uint8_t *out = t->e->spaced.items;
    if (t->space || (!t->begun && t->e->v->info.add_space_prefix && !t->e->v->space_suffix))
        out[t->n++] = ' ';
    for (size_t i = 0; i < n; i++)
        out[t->n++] = bytes[i];
    t->begun = true;
    t->space = false;
    return LT_OK;
}

static int put_byte(normal_text *t, uint8_t byte)
{
    if (byte != ' ' || !t->e->v->collapse_spaces)
        return put(t, &byte, 1);
    t->space = t->begun;
    return LT_OK;
}

/* Bytes at the start of the text that stay as they are and need no look by itself. */
static size_t plain_run(const lt_charsmap *m, const uint8_t *text, size_t n)
{
    size_t i = 0;
    while (i < n && text[i] < 0x80 && text[i] != ' ' && m->plain[text[i]] && (i + 1 == n || text[i + 1] < 0x80))
        i++;
    return i;
}

/* One character, or several that the map takes together; returns the bytes read, or a negative code. */
static int64_t put_character(normal_text *t, const uint8_t *text, size_t n)
{
    const uint8_t *mapped = NULL;
    const lt_charsmap *m = &t->e->v->charsmap;
    size_t n_mapped = 0, n_bytes = plain_run(m, text, n);
    uint32_t c;
    if (n_bytes) {
        LT_TRY(put(t, text, n_bytes));
        return (int64_t)n_bytes;
    }
    n_bytes = lt_charsmap_find(m, text, n, &mapped, &n_mapped);
    for (size_t i = 0; n_bytes && i < n_mapped; i++)
        LT_TRY(put_byte(t, mapped[i]));
    if (n_bytes)
        return (int64_t)n_bytes;
    if (*text == ' ')
        LT_TRY(put_byte(t, ' '));
    else if (*text < 0x80)
        LT_TRY(put(t, text, 1));
    else if ((n_bytes = lt_utf8_decode(text, n, &c)) == 0)
        LT_TRY(put(t, (const uint8_t *)"\xEF\xBF\xBD", 3));
    else if (c == 0x2581)
        LT_TRY(put(t, (const uint8_t *)" ", 1));
    else
        LT_TRY(put(t, text, n_bytes));
    return n_bytes ? (int64_t)n_bytes : 1;
}

/* One unknown token for several in a row. */
static void fuse_unknown(lt_encoding *e, size_t from)
{
    size_t n = from;
    for (size_t i = from; i < e->n_ids; i++)
        if (i == from || e->ids[i] != e->v->info.unk || e->ids[i - 1] != e->v->info.unk)
            e->ids[n++] = e->ids[i];
    e->n_ids = n;
}

int lt_ugm_encode(lt_encoding *e, const uint8_t *text, size_t n)
{
    normal_text t = {.e = e};
    for (size_t i = 0; i < n;) {
        int64_t read = put_character(&t, text + i, n - i);
        if (read < 0)
            return (int)read;
        i += (size_t)read;
    }
    uint8_t *spaced = e->spaced.items;
    if (t.begun && e->v->info.add_space_prefix && e->v->space_suffix)
        spaced[t.n++] = ' ';
    size_t before = e->n_ids;
    LT_TRY(lt_encode_cut(e, spaced, t.n, true));
    fuse_unknown(e, before);
    return LT_OK;
}

/* ---- the best way ------------------------------------------------------------------------------------------------- */

/* best[i]: the greatest score of text[0..i); the token that leads there starts at from[i] and is id[i], -1: unknown. */
typedef struct {
    double *best;
    uint32_t *from;
    int32_t *id;
} ways;

static void offer(ways *w, uint32_t from, uint32_t to, int32_t id, double score)
{
    if (score <= w->best[to])
        return;
    w->best[to] = score;
    w->from[to] = from;
    w->id[to] = id;
}

static uint32_t character_bytes(const uint8_t *text, uint32_t n)
{
    uint32_t c;
    unsigned n_bytes = lt_utf8_decode(text, n, &c);
    return n_bytes ? n_bytes : 1;
}

static void look_ahead(const lt_vocab *v, ways *w, const uint8_t *text, uint32_t at, uint32_t n, uint32_t next)
{
    uint32_t node = 0;
    bool alone = false;
    for (uint32_t i = at; i < n; i++) {
        const lt_prefix_slot *edge = lt_prefix_edge(&v->prefixes, node, text[i]);
        if (!edge->child)
            break;
        node = edge->child;
        if (edge->id < 0)
            continue;
        alone = alone || i + 1 == next;
        offer(w, at, i + 1, edge->id, w->best[at] + (double)v->score[edge->id]);
    }
    if (!alone)
        offer(w, at, next, -1, w->best[at] + v->unknown_score);
}

static int push_unknown(lt_encoding *e, const uint8_t *text, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (e->v->byte_id[text[i]] < 0)
            return lt_encoding_push(e, e->v->info.unk);
    for (uint32_t i = 0; i < n; i++)
        LT_TRY(lt_encoding_push(e, e->v->byte_id[text[i]]));
    return LT_OK;
}

/* `ends` has room for the ends of all tokens. */
static int push_best(lt_encoding *e, const ways *w, const uint8_t *text, uint32_t n, uint32_t *ends)
{
    uint32_t n_ends = 0;
    for (uint32_t at = n; at > 0; at = w->from[at])
        ends[n_ends++] = at;
    while (n_ends > 0) {
        uint32_t end = ends[--n_ends], from = w->from[end];
        LT_TRY(w->id[end] >= 0 ? lt_encoding_push(e, w->id[end]) : push_unknown(e, text + from, end - from));
    }
    return LT_OK;
}

int lt_ugm_piece(lt_encoding *e, const uint8_t *text, uint32_t n)
{
    LT_TRY(lt_scratch_reserve(&e->heap, (size_t)n + 1, sizeof(double)));
    LT_TRY(lt_scratch_reserve(&e->prev, (size_t)n + 1, sizeof(uint32_t)));
    LT_TRY(lt_scratch_reserve(&e->next, (size_t)n + 1, sizeof(uint32_t)));
    LT_TRY(lt_scratch_reserve(&e->ids_at, (size_t)n + 1, sizeof(int32_t)));
    ways w = {.best = e->heap.items, .from = e->prev.items, .id = e->ids_at.items};
    w.best[0] = 0.0;
    for (uint32_t i = 1; i <= n; i++)
        w.best[i] = -INFINITY;
    for (uint32_t at = 0, next; at < n; at = next) {
        next = at + character_bytes(text + at, n - at);
        look_ahead(e->v, &w, text, at, n, next);
    }
    return push_best(e, &w, text, n, e->next.items);
}
