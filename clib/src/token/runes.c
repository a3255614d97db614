/* runes.c - strict UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF) to classed code points. */
#include "token/runes.h"

#include "token/unicode_tables.h"

static bool is_tail(uint8_t b)
{
    return (b & 0xC0) == 0x80;
}

unsigned lt_utf8_decode(const uint8_t *p, size_t n, uint32_t *code_point)
{
    uint32_t a = p[0];
    if (a < 0x80) {
        *code_point = a;
        return 1;
    }
    if (a < 0xC2 || a > 0xF4 || n < 2 || !is_tail(p[1]))
        return 0;
    if (a < 0xE0) {
        *code_point = (a & 0x1F) << 6 | (p[1] & 0x3F);
        return 2;
    }
    if (n < 3 || !is_tail(p[2]))
        return 0;
    if (a < 0xF0) {
        uint32_t c = (a & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
        *code_point = c;
        return c < 0x800 || (c >= 0xD800 && c <= 0xDFFF) ? 0 : 3;
    }
    if (n < 4 || !is_tail(p[3]))
        return 0;
    uint32_t c = (a & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 | (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
    *code_point = c;
    return c < 0x10000 || c > 0x10FFFF ? 0 : 4;
}

unsigned lt_utf8_encode(uint32_t c, uint8_t *out)
{
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    unsigned n = 1u + (c >= 0x80) + (c >= 0x800) + (c >= 0x10000);
    for (unsigned i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3F));
    out[0] = (uint8_t)(lead[n] | c);
    return n;
}

lt_rune lt_rune_of(uint32_t c)
{
    return c | (lt_rune)lt_unicode_class[lt_unicode_block[c >> 8] * 256u + (c & 255)] << LT_RUNE_SHIFT;
}

size_t lt_runes_decode(const uint8_t *text, size_t n, lt_rune *out)
{
    size_t n_runes = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        unsigned n_bytes = lt_utf8_decode(text + i, n - i, &c);
        out[n_runes++] = n_bytes ? lt_rune_of(c) : text[i] + (lt_rune)LT_RUNE_RAW;
        i += n_bytes ? n_bytes : 1;
    }
    return n_runes;
}
