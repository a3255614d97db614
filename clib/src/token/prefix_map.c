/* prefix_map.c - the tree of keyed pieces, filled once. */
#include "token/prefix_map.h"

#include <inttypes.h>

#include "core/memory.h"
#include "token/vocab_data.h"

static void insert(lt_prefix_map *m, const uint8_t *text, uint32_t n, int32_t id, uint32_t *n_nodes)
{
    uint32_t node = 0;
    lt_prefix_slot *slot = NULL;
    for (uint32_t i = 0; i < n; i++) {
        slot = lt_prefix_edge(m, node, text[i]);
        if (!slot->child)
            *slot = (lt_prefix_slot){.edge = (uint64_t)node << 8 | text[i], .child = ++*n_nodes, .id = -1};
        node = slot->child;
    }
    if (slot)
        slot->id = id;
}

int lt_prefixes_build(lt_vocab *v)
{
    uint64_t n_edges = 0, n_slots = 16;
    uint32_t n, n_nodes = 0;
    for (int32_t id = 0; id < v->info.n_tokens; id++) {
        lt_piece(v, id, &n);
        n_edges += v->marks[id] & LT_MARK_KEYED ? n : 0;
    }
    while (n_slots < n_edges + n_edges / 2)
        n_slots *= 2;
    if (n_slots > UINT32_MAX)
        return lt_fail(LT_E_LIMIT, "the vocabulary has %" PRIu64 " bytes of tokens, too many for one of its kind", n_edges);
    v->prefixes.slots = lt_alloc_zero(n_slots, sizeof *v->prefixes.slots);
    if (!v->prefixes.slots)
        return lt_fail(LT_E_NOMEM, "no memory for a vocabulary of %d tokens", v->info.n_tokens);
    v->prefixes.mask = (uint32_t)(n_slots - 1);
    for (int32_t id = 0; id < v->info.n_tokens; id++) {
        const uint8_t *text = lt_piece(v, id, &n);
        if (v->marks[id] & LT_MARK_KEYED)
            insert(&v->prefixes, text, n, id, &n_nodes);
    }
    return LT_OK;
}
