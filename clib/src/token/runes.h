/* runes.h - text as code points with their Unicode classes, and the strict UTF-8 decoder behind it.
 *
 * A rune is one 32-bit word, so that a pretokeniser reads class and identity in one load:
 *
 *      31     21 | 20        0
 *      class     | code point
 *
 * Invalid UTF-8 is kept, not replaced: every byte that starts no valid character is one rune of its own, of no class, with
 * a code point above Unicode (LT_RUNE_RAW + byte).  Byte-level vocabularies therefore give any bytes back unchanged. */
#ifndef LT_RUNES_H
#define LT_RUNES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t lt_rune;

enum { /* class bits, before the shift: general categories and the White_Space property */
       LT_RUNE_L = 1,
       LT_RUNE_M = 2,
       LT_RUNE_N = 4,
       LT_RUNE_P = 8,
       LT_RUNE_S = 16,
       LT_RUNE_SPACE = 32,
       LT_RUNE_UPPER = 64 /* Lu Lt */,
       LT_RUNE_LOWER = 128 /* Ll */,
       LT_RUNE_DIGIT = 256 /* Nd */,
       LT_RUNE_ACCENT = 512 /* Mn */,
       LT_RUNE_CONTROL = 1024 /* Cc Cf Co */
};
enum { LT_RUNE_SHIFT = 21, LT_RUNE_RAW = 0x110000 };

/* The rune of a code point up to U+10FFFF. */
lt_rune lt_rune_of(uint32_t code_point);

/* Length 1..4 of the valid character at p and its code point; 0 when none starts here or the n bytes (>= 1) cut it short. */
unsigned lt_utf8_decode(const uint8_t *p, size_t n, uint32_t *code_point);

/* Writes the 1..4 bytes of a code point up to U+10FFFF; returns how many. */
unsigned lt_utf8_encode(uint32_t code_point, uint8_t *out);

/* Writes at most n runes for n bytes; returns how many. */
size_t lt_runes_decode(const uint8_t *text, size_t n, lt_rune *out);

static inline uint32_t lt_rune_code(lt_rune r)
{
    return r & 0x1FFFFF;
}
static inline bool lt_rune_is(lt_rune r, uint32_t classes)
{
    return (r & (classes << LT_RUNE_SHIFT)) != 0;
}
static inline unsigned lt_rune_bytes(lt_rune r)
{
    uint32_t c = lt_rune_code(r);
    return c >= LT_RUNE_RAW ? 1u : 1u + (c >= 0x80) + (c >= 0x800) + (c >= 0x10000);
}

#endif
