/* prefix_map.c - the tree of keyed pieces, filled once.
 *
 * The table grows with the edges, of which there are far fewer than bytes in the pieces: where it stays small, it stays in
 * the processor's caches. */
#include "token/prefix_map.h"

#include <inttypes.h>

#include "core/memory.h"
#include "token/vocab_data.h"

/* Room for n slots, a power of two; what was there is put in again. */
static int resize(lt_prefix_map *m, uint32_t n)
{
    lt_prefix_map larger = {.slots = lt_alloc_zero(n, sizeof *larger.slots), .mask = n - 1};
    if (!larger.slots)
        return lt_fail(LT_E_NOMEM, "no memory for a vocabulary of %" PRIu32 " beginnings", m->n_edges);
    for (uint32_t i = 0; m->slots && i <= m->mask; i++)
        if (m->slots[i].child)
            *lt_prefix_edge(&larger, (uint32_t)(m->slots[i].edge >> 8), (uint8_t)m->slots[i].edge) = m->slots[i];
    lt_free(m->slots);
    m->slots = larger.slots;
    m->mask = larger.mask;
    return LT_OK;
}

static int insert(lt_prefix_map *m, const uint8_t *text, uint32_t n, int32_t id)
{
    uint32_t node = 0;
    lt_prefix_slot *slot = NULL;
    for (uint32_t i = 0; i < n; i++) {
        slot = lt_prefix_edge(m, node, text[i]);
        if (!slot->child) {
            if (m->n_edges > m->mask / 3 * 2) {
                LT_TRY(resize(m, 2 * (m->mask + 1)));
                slot = lt_prefix_edge(m, node, text[i]);
            }
            *slot = (lt_prefix_slot){.edge = (uint64_t)node << 8 | text[i], .child = ++m->n_edges, .id = -1};
        }
        node = slot->child;
    }
    if (slot)
        slot->id = id;
    return LT_OK;
}

int lt_prefixes_build(lt_vocab *v)
{
    enum { FIRST_SIZE = 1 << 10, MAX_EDGES = 1 << 28 };
    LT_TRY(resize(&v->prefixes, FIRST_SIZE));
    for (int32_t id = 0; id < v->info.n_tokens; id++) {
        uint32_t n;
        const uint8_t *text = lt_piece(v, id, &n);
        if (v->prefixes.n_edges > MAX_EDGES)
            return lt_fail(LT_E_LIMIT, "the tokens of the vocabulary have more than %d beginnings", MAX_EDGES);
        if (v->marks[id] & LT_MARK_KEYED)
            LT_TRY(insert(&v->prefixes, text, n, id));
    }
    return LT_OK;
}
