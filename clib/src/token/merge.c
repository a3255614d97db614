/* merge.c - the heart of both BPE and SPM: neighbours merge, best pair first, leftmost of equals, until none is left.
 *
 * Symbols are bytes (most BPE) or characters (SPM) at first.  A pair's priority is the rank of its merge (BPE) or the score
 * of the token they would be (SPM).  Short pieces, nearly all there are, look for the best pair by going through a small
 * array.  Long ones keep a heap of pairs, so that a "word" of a million characters costs n log n. */
#include <string.h>

#include "token/encoding.h"

enum { SHORT_PIECE = 40 /* bytes */ };
#define NO_MERGE UINT32_MAX
#define NOTHING  UINT32_MAX

typedef struct {
    uint32_t priority; /* NO_MERGE: they do not merge */
    int32_t id;        /* of the token they become */
} pair;

/* text[0..n) is what the two stand for together. */
static inline pair pair_of(const lt_vocab *v, int32_t left, int32_t right, const uint8_t *text, uint32_t n)
{
    if (v->priority) {
        int32_t id = lt_pieces_find(v, text, n);
        return id < 0 ? (pair){NO_MERGE, -1} : (pair){v->priority[id], id};
    }
    const lt_merge_slot *merge = left < 0 || right < 0 ? NULL : lt_merges_find(&v->merges, left, right);
    return merge ? (pair){merge->rank, merge->id} : (pair){NO_MERGE, -1};
}

/* Bytes and token (-1: none) of the symbol that the text starts with. */
static inline uint32_t first_symbol(const lt_vocab *v, const uint8_t *text, uint32_t n, int32_t *id)
{
    uint32_t code_point, n_bytes = 1;
    if (!v->by_chars) {
        *id = v->byte_id[*text];
        return 1;
    }
    if (*text >= 0x80) {
        n_bytes = lt_utf8_decode(text, n, &code_point);
        n_bytes += n_bytes == 0;
    }
    *id = lt_pieces_find(v, text, n_bytes);
    return n_bytes;
}

/* A symbol that is no token comes out as its bytes.  One of those without a token: the unknown token stands for a
 * whole character; a byte (of a crippled vocabulary, or one that never occurs in UTF-8) is dropped. */
static int push_symbol(lt_encoding *e, const uint8_t *text, uint32_t n, int32_t id)
{
    if (id >= 0)
        return lt_encoding_push(e, id);
    for (uint32_t i = 0; i < n; i++)
        if (e->v->byte_id[text[i]] < 0)
            return e->v->by_chars ? lt_encoding_push(e, e->v->info.unk) : LT_OK;
    for (uint32_t i = 0; i < n; i++)
        LT_TRY(lt_encoding_push(e, e->v->byte_id[text[i]]));
    return LT_OK;
}

/* ---- short pieces ------------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t at; /* where its text starts; it ends where the next symbol starts */
    int32_t id;
    pair next; /* what it and its right neighbour make */
} symbol;

static uint32_t list_symbols(const lt_vocab *v, const uint8_t *text, uint32_t n, symbol *s)
{
    uint32_t n_symbols = 0, at = 0;
    while (at < n) {
        s[n_symbols].at = at;
        at += first_symbol(v, text + at, n - at, &s[n_symbols++].id);
    }
    s[n_symbols].at = n;
    return n_symbols;
}

static void look_right(const lt_vocab *v, const uint8_t *text, symbol *s, uint32_t i, uint32_t n_symbols)
{
    s[i].next = i + 1 < n_symbols ? pair_of(v, s[i].id, s[i + 1].id, text + s[i].at, s[i + 2].at - s[i].at) : (pair){NO_MERGE, -1};
}

static int merge_short(lt_encoding *e, const uint8_t *text, uint32_t n)
{
    symbol s[SHORT_PIECE + 1];
    uint32_t n_symbols = list_symbols(e->v, text, n, s);
    for (uint32_t i = 0; i < n_symbols; i++)
        look_right(e->v, text, s, i, n_symbols);
    for (;;) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n_symbols; i++)
            if (s[i].next.priority < s[best].next.priority)
                best = i;
        if (s[best].next.priority == NO_MERGE)
            break;
        s[best].id = s[best].next.id;
        memmove(s + best + 1, s + best + 2, (n_symbols - best - 1) * sizeof *s); /* the end mark moves too */
        n_symbols--;
        look_right(e->v, text, s, best, n_symbols);
        if (best > 0)
            look_right(e->v, text, s, best - 1, n_symbols);
    }
    for (uint32_t i = 0; i < n_symbols; i++)
        LT_TRY(push_symbol(e, text + s[i].at, s[i + 1].at - s[i].at, s[i].id));
    return LT_OK;
}

/* ---- long pieces -------------------------------------------------------------------------------------------------- */

/* Symbols are named by where they start: id, next and prev are indexed by byte.  A heap entry is priority << 32 | left
 * symbol; it is stale, and ignored, when that pair has another priority by now. */
typedef struct {
    const lt_vocab *v;
    const uint8_t *text;
    uint32_t n, n_heap;
    int32_t *id;
    uint32_t *next, *prev; /* next is n, prev is NOTHING at the ends; next is 0 for a symbol that is no more */
    uint64_t *heap;        /* four children to a node: half the depth, one cache line to look at */
} long_piece;

static pair pair_at(const long_piece *p, uint32_t left)
{
    uint32_t right = p->next[left];
    if (right == 0 || right == p->n)
        return (pair){NO_MERGE, -1};
    return pair_of(p->v, p->id[left], p->id[right], p->text + left, p->next[right] - left);
}

static void sink(long_piece *p, uint32_t i, uint64_t entry)
{
    for (;;) {
        uint64_t child = 4 * (uint64_t)i + 1;
        if (child >= p->n_heap)
            break;
        uint32_t least = (uint32_t)child, last = (uint32_t)(child + 3 < p->n_heap ? child + 3 : p->n_heap - 1);
        for (uint32_t c = least + 1; c <= last; c++)
            if (p->heap[c] < p->heap[least])
                least = c;
        if (p->heap[least] >= entry)
            break;
        p->heap[i] = p->heap[least];
        i = least;
    }
    p->heap[i] = entry;
}

static void push_pair(long_piece *p, uint32_t left)
{
    uint32_t priority = pair_at(p, left).priority, i = p->n_heap;
    if (priority == NO_MERGE)
        return;
    uint64_t entry = (uint64_t)priority << 32 | left;
    p->n_heap++;
    for (; i > 0 && p->heap[(i - 1) / 4] > entry; i = (i - 1) / 4)
        p->heap[i] = p->heap[(i - 1) / 4];
    p->heap[i] = entry;
}

static uint64_t pop_pair(long_piece *p)
{
    uint64_t top = p->heap[0];
    if (--p->n_heap > 0)
        sink(p, 0, p->heap[p->n_heap]);
    return top;
}

static void link_symbols(long_piece *p)
{
    uint32_t prev = NOTHING;
    for (uint32_t at = 0; at < p->n; at = p->next[at]) {
        p->next[at] = at + first_symbol(p->v, p->text + at, p->n - at, &p->id[at]);
        p->prev[at] = prev;
        prev = at;
    }
}

static void heap_all_pairs(long_piece *p)
{
    for (uint32_t at = 0; at < p->n; at = p->next[at]) {
        uint32_t priority = pair_at(p, at).priority;
        if (priority != NO_MERGE)
            p->heap[p->n_heap++] = (uint64_t)priority << 32 | at;
    }
    for (uint32_t i = p->n_heap / 4 + 1; i-- > 0;)
        if (i < p->n_heap)
            sink(p, i, p->heap[i]);
}

static void merge_at(long_piece *p, uint32_t left, int32_t id)
{
    uint32_t right = p->next[left], after = p->next[right];
    p->id[left] = id;
    p->next[left] = after;
    p->next[right] = 0;
    if (after < p->n)
        p->prev[after] = left;
    push_pair(p, left);
    if (p->prev[left] != NOTHING)
        push_pair(p, p->prev[left]);
}

/* Every merge removes an entry and a symbol and adds two entries, so the heap never holds more than twice the symbols. */
static int merge_long(lt_encoding *e, const uint8_t *text, uint32_t n)
{
    LT_TRY(lt_scratch_reserve(&e->ids_at, n, sizeof(int32_t)));
    LT_TRY(lt_scratch_reserve(&e->next, n, sizeof(uint32_t)));
    LT_TRY(lt_scratch_reserve(&e->prev, n, sizeof(uint32_t)));
    LT_TRY(lt_scratch_reserve(&e->heap, 2 * (size_t)n, sizeof(uint64_t)));
    long_piece p = {
        .v = e->v, .text = text, .n = n, .id = e->ids_at.items, .next = e->next.items, .prev = e->prev.items, .heap = e->heap.items};
    link_symbols(&p);
    heap_all_pairs(&p);
    while (p.n_heap > 0) {
        uint64_t entry = pop_pair(&p);
        pair now = pair_at(&p, (uint32_t)entry);
        if (now.priority == entry >> 32 && now.priority != NO_MERGE)
            merge_at(&p, (uint32_t)entry, now.id);
    }
    for (uint32_t at = 0; at < n; at = p.next[at])
        LT_TRY(push_symbol(e, text + at, p.next[at] - at, p.id[at]));
    return LT_OK;
}

int lt_merge_piece(lt_encoding *e, const uint8_t *text, uint32_t n)
{
    return n <= SHORT_PIECE ? merge_short(e, text, n) : merge_long(e, text, n);
}
