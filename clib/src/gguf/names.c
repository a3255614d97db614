/* names.c - open addressing, linear probing, at most half full. */
#include "gguf/names.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"

#define PRIME (((uint64_t)1 << 61) - 1)

int lt_names_init(lt_names *t, uint32_t max_names, const void *owner, lt_bytes (*name_of)(const void *, uint32_t))
{
    uint64_t n_slots = 8;
    while (n_slots < 2 * (uint64_t)max_names)
        n_slots *= 2;
    *t = (lt_names){.mask = n_slots - 1, .owner = owner, .name_of = name_of};
    if (getentropy(t->secret, sizeof t->secret))
        return lt_fail(LT_E_IO, "the system gives no random numbers: %s", strerror(errno));
    t->secret[0] %= PRIME;
    t->slots = lt_alloc_zero((size_t)n_slots, sizeof *t->slots);
    if (!t->slots)
        return lt_fail(LT_E_NOMEM, "no memory for a table of %u names", (unsigned)max_names);
    return LT_OK;
}

void lt_names_free(lt_names *t)
{
    lt_free(t->slots);
    t->slots = NULL;
}

/* a * b modulo 2^61 - 1, for a, b < 2^61; below 2^61 + 8 */
static uint64_t mul_mod(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return ((uint64_t)product & PRIME) + (uint64_t)(product >> 61);
}

/* The name's bytes as a polynomial in a secret point modulo a prime (Carter and Wegman 1979): two names of n bytes collide
 * with probability n / 2^63; the multiplication by an odd secret spreads the value over the high bits. */
static uint64_t hash(const lt_names *t, lt_bytes name)
{
    uint64_t h = name.len, i = 0;
    for (; i + 4 <= name.len; i += 4)
        h = mul_mod((h + lt_le32(name.bytes + i)) % PRIME, t->secret[0]);
    for (; i < name.len; i++)
        h = mul_mod((h + name.bytes[i]) % PRIME, t->secret[0]);
    return (h % PRIME * (t->secret[1] | 1)) >> 32;
}

static bool equal(lt_bytes a, lt_bytes b)
{
    return a.len == b.len && !memcmp(a.bytes, b.bytes, (size_t)a.len);
}

/* The slot that holds this name, or the empty one where it belongs. */
static uint32_t *slot_of(const lt_names *t, lt_bytes name)
{
    uint64_t s = hash(t, name) & t->mask;
    while (t->slots[s] && !equal(t->name_of(t->owner, t->slots[s] - 1), name))
        s = (s + 1) & t->mask;
    return &t->slots[s];
}

int64_t lt_names_find(const lt_names *t, lt_bytes name)
{
    return (int64_t)*slot_of(t, name) - 1;
}

bool lt_names_add(lt_names *t, uint32_t i)
{
    uint32_t *slot = slot_of(t, t->name_of(t->owner, i));
    if (*slot)
        return false;
    *slot = i + 1;
    return true;
}
