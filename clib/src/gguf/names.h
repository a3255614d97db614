/* names.h - hash table from name to index, for keys and tensors.
 *
 * The names come from strangers, so the hash is keyed with random numbers: nobody can prepare a file whose names all
 * collide.  The names themselves stay with the owner; the table asks for them through name_of. */
#ifndef LT_NAMES_H
#define LT_NAMES_H

#include <stddef.h>

#include "core/status.h"
#include "gguf/cursor.h"

typedef struct {
    uint32_t *slots; /* index + 1; 0: empty */
    uint64_t mask;
    uint64_t secret[2];
    const void *owner;
    lt_bytes (*name_of)(const void *owner, uint32_t i);
} lt_names;

int lt_names_init(lt_names *t, uint32_t max_names, const void *owner, lt_bytes (*name_of)(const void *, uint32_t));
void lt_names_free(lt_names *t);
int64_t lt_names_find(const lt_names *t, lt_bytes name); /* -1 when absent */
bool lt_names_add(lt_names *t, uint32_t i);             /* false: the name of entry i is already there */

#endif
