/* merge_map.c - the merges of a BPE vocabulary: which two neighbours become which token, and which pair goes first.
 *
 * A merge whose left, right or joined text is no token is left out: nothing could come of it.  Of two merges of the same
 * pair the first counts. */
#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "token/vocab_data.h"

static inline uint32_t slot_number(const lt_merge_map *m, int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32 ^ h >> 17) & m->mask;
}

const lt_merge_slot *lt_merges_find(const lt_merge_map *m, int32_t left, int32_t right)
{
    for (uint32_t i = slot_number(m, left, right);; i = (i + 1) & m->mask) {
        const lt_merge_slot *slot = &m->slots[i];
        if (slot->left == left && slot->right == right)
            return slot;
        if (slot->left < 0)
            return NULL;
    }
}

static void insert(lt_merge_map *m, lt_merge_slot merge)
{
    uint32_t i = slot_number(m, merge.left, merge.right);
    for (; m->slots[i].left >= 0; i = (i + 1) & m->mask)
        if (m->slots[i].left == merge.left && m->slots[i].right == merge.right)
            return;
    m->slots[i] = merge;
}

static int create(lt_merge_map *m, uint64_t n_merges)
{
    uint32_t n_slots = 16;
    while (n_slots < n_merges + n_merges / 2)
        n_slots *= 2;
    m->slots = lt_alloc(n_slots, sizeof *m->slots);
    if (!m->slots)
        return lt_fail(LT_E_NOMEM, "no memory for %" PRIu64 " merges", n_merges);
    memset(m->slots, 0xFF, n_slots * sizeof *m->slots);
    m->mask = n_slots - 1;
    return LT_OK;
}

static bool put_side(const lt_vocab *v, const char *text, size_t n, uint8_t *out, size_t *n_out)
{
    if (!v->by_chars)
        return lt_byte_map_decode((const uint8_t *)text, n, out, n_out);
    if (v->spaced)
        return lt_copy_spaced(out, text, n, n_out);
    memcpy(out, text, n);
    *n_out = n;
    return true;
}

/* "left right" as tokens are spelled, one space between them. */
static void add(lt_vocab *v, const char *text, uint64_t n, uint32_t rank)
{
    uint8_t joined[2 * LT_MAX_TOKEN_BYTES];
    const char *space = n > 2 ? memchr(text + 1, ' ', n - 1) : NULL;
    if (!space || n > sizeof joined)
        return;
    size_t n_text = (size_t)(space - text), n_left, n_right;
    if (!put_side(v, text, n_text, joined, &n_left) || !put_side(v, space + 1, n - n_text - 1, joined + n_left, &n_right))
        return;
    lt_merge_slot merge = {.left = lt_pieces_find(v, joined, n_left),
                           .right = lt_pieces_find(v, joined + n_left, n_right),
                           .rank = rank,
                           .id = lt_pieces_find(v, joined, n_left + n_right)};
    if (merge.left >= 0 && merge.right >= 0 && merge.id >= 0)
        insert(&v->merges, merge);
}

int lt_merges_build(lt_vocab *v, const lt_gguf *g)
{
    lt_gguf_strings it;
    LT_TRY(lt_gguf_get_strings(g, "tokenizer.ggml.merges", true, &it));
    if (it.left > LT_MAX_MERGES)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.merges has %" PRIu64 " merges, limit %d", lt_gguf_path(g), it.left,
                       LT_MAX_MERGES);
    LT_TRY(create(&v->merges, it.left));
    const char *text;
    uint64_t n;
    for (uint32_t rank = 0; lt_gguf_next_string(&it, &text, &n); rank++)
        add(v, text, n, rank);
    return LT_OK;
}
