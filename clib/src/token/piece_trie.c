/* piece_trie.c - builds the tree of pieces: sort, lay out in preorder, then one pass back for what lies below each node. */
#include "token/piece_trie.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "token/vocab_data.h"

typedef struct {
    const uint8_t *text;
    uint32_t n;
    int32_t id;
} piece;

static int by_bytes(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    if (order)
        return order;
    return x->n != y->n ? (x->n < y->n ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

static uint32_t common_bytes(const piece *a, const piece *b)
{
    uint32_t n = 0;
    while (n < a->n && n < b->n && a->text[n] == b->text[n])
        n++;
    return n;
}

/* Sorted pieces of all tokens with text; fills has_text and eog on the way. */
static uint32_t sort_pieces(lt_piece_trie *t, const lt_vocab *v, piece *pieces)
{
    uint32_t n = 0;
    for (int32_t id = 0; id < t->n_tokens; id++) {
        piece *p = &pieces[n];
        p->text = (const uint8_t *)lt_vocab_piece(v, id, &p->n);
        p->id = id;
        if (lt_token_is_eog(v, id) == 1) {
            t->eog[t->n_eog++] = id;
        } else if (p->n) {
            t->has_text[id / 32] |= 1u << (id % 32);
            n++;
        }
    }
    qsort(pieces, n, sizeof *pieces, by_bytes);
    return n;
}

static size_t count_nodes(const piece *pieces, uint32_t n)
{
    size_t n_nodes = 1;
    for (uint32_t i = 0; i < n; i++)
        n_nodes += pieces[i].n - (i ? common_bytes(&pieces[i - 1], &pieces[i]) : 0);
    return n_nodes;
}

/* The nodes that the piece shares with nothing before it; open[d] is the node at depth d on the way to it. */
static void add_piece(lt_piece_trie *t, const piece *p, uint32_t shared, uint32_t *open, uint32_t depth_before)
{
    for (uint32_t d = shared + 1; d <= depth_before; d++)
        t->nodes[open[d]].end = t->n_nodes;
    for (uint32_t d = shared; d < p->n; d++) {
        open[d + 1] = t->n_nodes;
        t->nodes[t->n_nodes++] = (lt_trie_node){.first = t->n_ids, .depth = (uint16_t)(d + 1), .byte = p->text[d]};
    }
    t->ids[t->n_ids++] = p->id;
}

static void lay_out(lt_piece_trie *t, const piece *pieces, uint32_t n)
{
    uint32_t open[LT_MAX_TOKEN_BYTES + 1] = {0}, depth = 0;
    t->nodes[t->n_nodes++] = (lt_trie_node){0};
    for (uint32_t i = 0; i < n; i++) {
        add_piece(t, &pieces[i], i ? common_bytes(&pieces[i - 1], &pieces[i]) : 0, open, depth);
        depth = pieces[i].n;
        t->max_depth = depth > t->max_depth ? depth : t->max_depth;
    }
    for (uint32_t d = 0; d <= depth; d++)
        t->nodes[open[d]].end = t->n_nodes;
    t->nodes[t->n_nodes] = (lt_trie_node){.end = t->n_nodes, .first = t->n_ids};
}

/* ---- UTF-8 along the way -------------------------------------------------------------------------------------------- */

/* WHOLE: between characters; MORE1..3: that many any-continuation bytes to come; the others: what E0, ED, F0, F4 allow next. */
enum { WHOLE, MORE1, MORE2, MORE3, AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4, BROKEN };

static int after_lead(uint8_t b)
{
    if (b < 0x80)
        return WHOLE;
    if (b < 0xC2 || b > 0xF4)
        return BROKEN;
    if (b < 0xE0)
        return MORE1;
    if (b < 0xF0)
        return b == 0xE0 ? AFTER_E0 : b == 0xED ? AFTER_ED : MORE2;
    return b == 0xF0 ? AFTER_F0 : b == 0xF4 ? AFTER_F4 : MORE3;
}

static int after_byte(int state, uint8_t b)
{
    static const uint8_t low[] = {0, 0x80, 0x80, 0x80, 0xA0, 0x80, 0x90, 0x80}, high[] = {0, 0xBF, 0xBF, 0xBF, 0xBF, 0x9F, 0xBF, 0x8F};
    static const uint8_t next[] = {0, WHOLE, MORE1, MORE2, MORE1, MORE1, MORE2, MORE2};
    if (state == BROKEN)
        return BROKEN;
    if (state == WHOLE)
        return after_lead(b);
    return b >= low[state] && b <= high[state] ? next[state] : BROKEN;
}

/* flags first hold the UTF-8 state on the way to each node. */
static void mark_ways(lt_piece_trie *t)
{
    uint8_t state[LT_MAX_TOKEN_BYTES + 1] = {WHOLE};
    for (uint32_t i = 1; i < t->n_nodes; i++) {
        lt_trie_node *node = &t->nodes[i];
        node->flags = state[node->depth] = (uint8_t)after_byte(state[node->depth - 1], node->byte);
    }
}

typedef struct {
    uint64_t bytes[3];
    uint8_t high, broken;
} summary;

/* Backwards: below[d] sums up the nodes of depth d that have been met since their parent's right neighbour. */
static void sum_up(lt_piece_trie *t)
{
    static const summary nothing;
    summary below[LT_MAX_TOKEN_BYTES + 2] = {{{0}, 0, 0}};
    for (uint32_t i = t->n_nodes; i-- > 0;) {
        lt_trie_node *node = &t->nodes[i];
        summary mine = below[node->depth + 1], *all = &below[node->depth];
        below[node->depth + 1] = nothing;
        memcpy(t->below[i], mine.bytes, sizeof mine.bytes);
        for (int w = 0; w < 3; w++)
            all->bytes[w] |= mine.bytes[w];
        if (node->byte < 0x80 || node->byte >= 0xC0)
            all->bytes[node->byte < 0x80 ? node->byte >> 6 : 2] |= 1ull << (node->byte & 63);
        all->high |= mine.high | (node->byte >= 0x80);
        all->broken |= mine.broken | (node->flags == BROKEN);
        bool utf8 = node->flags != BROKEN && !mine.broken, whole = node->flags == WHOLE;
        node->flags = (uint8_t)((mine.high ? LT_TRIE_HIGH : 0) | (utf8 ? LT_TRIE_UTF8 : 0) | (whole ? LT_TRIE_WHOLE : 0));
    }
}

static int allocate(lt_piece_trie *t, size_t n_nodes, uint32_t n_ids)
{
    t->nodes = lt_alloc(n_nodes + 1, sizeof *t->nodes);
    t->below = lt_alloc(n_nodes, sizeof *t->below);
    t->ids = lt_alloc(n_ids, sizeof *t->ids);
    return t->nodes && t->below && t->ids ? LT_OK : lt_fail(LT_E_NOMEM, "no memory for the tree of a vocabulary's pieces");
}

static int build(lt_piece_trie *t, const lt_vocab *v, piece *pieces)
{
    uint32_t n = sort_pieces(t, v, pieces);
    size_t n_nodes = count_nodes(pieces, n);
    if (n_nodes >= UINT32_MAX)
        return lt_fail(LT_E_LIMIT, "the vocabulary's pieces have too many bytes for grammars");
    LT_TRY(allocate(t, n_nodes, n));
    lay_out(t, pieces, n);
    mark_ways(t);
    sum_up(t);
    return LT_OK;
}

int lt_piece_trie_create(lt_piece_trie **out, const lt_vocab *v)
{
    int32_t n_tokens = lt_vocab_size(v);
    lt_piece_trie *t = lt_alloc_zero(1, sizeof *t);
    piece *pieces = lt_alloc((size_t)n_tokens, sizeof *pieces);
    if (t) {
        t->n_tokens = n_tokens;
        t->has_text = lt_alloc_zero(((size_t)n_tokens + 31) / 32, sizeof *t->has_text);
        t->eog = lt_alloc((size_t)n_tokens, sizeof *t->eog);
    }
    int rc =
        t && pieces && t->has_text && t->eog ? build(t, v, pieces) : lt_fail(LT_E_NOMEM, "no memory for the tree of a vocabulary's pieces");
    lt_free(pieces);
    if (rc < 0)
        lt_piece_trie_free(t);
    else
        *out = t;
    return rc;
}

void lt_piece_trie_free(lt_piece_trie *t)
{
    if (!t)
        return;
    lt_free(t->nodes);
    lt_free(t->below);
    lt_free(t->ids);
    lt_free(t->has_text);
    lt_free(t->eog);
    lt_free(t);
}
