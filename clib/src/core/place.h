/* place.h - where the big allocations of an engine live: wherever the system puts them, on certain nodes, locked into memory.
 *
 * An engine allocates its weights, KV pool and scratch through one lt_place.  With a wish each allocation has pages of its own
 * and is remembered, so that all can be locked at once and the sum be named if the system refuses; without one it is lt_alloc.
 * A policy is set before anything touches the pages.
 *
 *      lt_place_alloc ... lt_place_lock      lt_place_forget   lt_free ...
 *      opening                               closing */
#ifndef LT_PLACE_H
#define LT_PLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"
#include "core/topology.h"

typedef struct lt_block lt_block;

typedef enum { LT_POLICY_NONE = 0, LT_POLICY_PREFERRED = 1, LT_POLICY_INTERLEAVE = 3 } lt_policy; /* as mbind(2) numbers them */

typedef struct {
    bool lock;        /* the wish of lt_place_lock: set before the first allocation */
    lt_policy policy; /* likewise */
    lt_bits nodes;    /* of the policy */
    bool locked;
    int error;        /* errno of a refused policy */
    lt_block *blocks;
    size_t n_bytes;   /* of all blocks, in whole pages */
} lt_place;

void *lt_place_alloc(lt_place *p, size_t n_items, size_t item_bytes); /* as lt_alloc, and freed with lt_free */
int lt_place_fail(const lt_place *p, int code); /* code, or LT_E_IO if allocations failed because the system refused the policy */
void lt_place_trim(lt_place *p, const void *start, size_t n_bytes); /* of the block that starts there, only so much came to be used */
int lt_place_lock(lt_place *p);     /* keeps all blocks in physical memory from now on, if that is wished; LT_E_IO when the system refuses */
void lt_place_forget(lt_place *p);  /* unlocks; before the blocks are freed by whoever asked for them */

#endif
