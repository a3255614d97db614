/* piece_map.c - from the bytes of a piece to its token: one hash table over the keyed tokens. */
#include <string.h>

#include "core/memory.h"
#include "token/vocab_data.h"

/* Multiply and fold, eight bytes at a time: a piece of the usual 2-8 bytes costs two multiplications. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide p = (wide)(a ^ 0x9E3779B97F4A7C15u) * (b ^ 0xD1B54A32D192ED03u);
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t hash_of(const uint8_t *text, size_t n)
{
    uint64_t h = n, word;
    for (; n > 8; text += 8, n -= 8) {
        memcpy(&word, text, 8);
        h = mix(h, word);
    }
    word = 0;
    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)text[i] << (8 * i);
    return mix(h, word);
}

/* The slot that holds the piece with hash h, or the free one where it belongs. */
static lt_piece_slot *slot_of(const lt_vocab *v, const uint8_t *text, size_t n, uint64_t h)
{
    for (uint32_t i = (uint32_t)h & v->pieces.mask;; i = (i + 1) & v->pieces.mask) {
        lt_piece_slot *slot = &v->pieces.slots[i];
        if (slot->id < 0)
            return slot;
        if (slot->tag != (uint32_t)(h >> 32))
            continue;
        uint32_t n_bytes;
        const uint8_t *piece = lt_piece(v, slot->id, &n_bytes);
        if (n_bytes == n && memcmp(piece, text, n) == 0)
            return slot;
    }
}

int32_t lt_pieces_find(const lt_vocab *v, const uint8_t *text, size_t n)
{
    return n > v->pieces.max_bytes ? -1 : slot_of(v, text, n, hash_of(text, n))->id;
}

static void note_joins(lt_vocab *v, const uint8_t *text, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        uint32_t pair = (uint32_t)text[i - 1] << 8 | text[i];
        v->joins[pair >> 3] |= (uint8_t)(1u << (pair & 7));
    }
}

int lt_pieces_build(lt_vocab *v)
{
    uint32_t n_slots = 16;
    while (n_slots < 2u * (uint32_t)v->info.n_tokens)
        n_slots *= 2;
    v->pieces.slots = lt_alloc(n_slots, sizeof *v->pieces.slots);
    if (!v->pieces.slots)
        return lt_fail(LT_E_NOMEM, "no memory for a vocabulary of %d tokens", v->info.n_tokens);
    memset(v->pieces.slots, 0xFF, n_slots * sizeof *v->pieces.slots);
    v->pieces.mask = n_slots - 1;
    for (int32_t id = 0; id < v->info.n_tokens; id++) {
        uint32_t n;
        const uint8_t *text = lt_piece(v, id, &n);
        if (n == 0 || !(v->marks[id] & LT_MARK_KEYED))
            continue;
        uint64_t h = hash_of(text, n);
        *slot_of(v, text, n, h) = (lt_piece_slot){.tag = (uint32_t)(h >> 32), .id = id};
        if (n > v->pieces.max_bytes)
            v->pieces.max_bytes = n;
        note_joins(v, text, n);
    }
    return LT_OK;
}
