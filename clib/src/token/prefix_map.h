/* prefix_map.h - which tokens does a text begin with?  The tree of all keyed pieces, its edges in one hash table. */
#ifndef LT_PREFIX_MAP_H
#define LT_PREFIX_MAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t edge;  /* node << 8 | byte */
    uint32_t child; /* the node it leads to; 0: free */
    int32_t id;     /* of the token that ends there, -1: none */
} lt_prefix_slot;

typedef struct {
    lt_prefix_slot *slots;
    uint32_t mask, n_edges;
} lt_prefix_map;

/* The edge from a node (0: the root) by a byte; a free slot when there is none. */
static inline lt_prefix_slot *lt_prefix_edge(const lt_prefix_map *m, uint32_t node, uint8_t byte)
{
    uint64_t edge = (uint64_t)node << 8 | byte;
    for (uint32_t i = (uint32_t)(edge * 0x9E3779B97F4A7C15u >> 32) & m->mask;; i = (i + 1) & m->mask)
        if (m->slots[i].edge == edge || m->slots[i].child == 0)
            return &m->slots[i];
}

#endif
