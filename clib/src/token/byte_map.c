/* byte_map.c - GPT-2 vocabularies write every byte as a printable character; this is the way back.
 *
 * Bytes 33-126, 161-172 and 174-255 stand for themselves as code points; the other 68, in ascending order, are U+0100 on. */
#include "token/vocab_data.h"

/* Byte that the code point stands for, -1: none. */
static int byte_of(uint32_t c)
{
    if ((c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255))
        return (int)c;
    if (c < 256 || c > 323)
        return -1;
    uint32_t k = c - 256; /* 0..32 -> 0..32, 33..66 -> 127..160, 67 -> 173 */
    return (int)(k < 33 ? k : k < 67 ? k + 94 : 173);
}

bool lt_byte_map_decode(const uint8_t *text, size_t n, uint8_t *out, size_t *n_out)
{
    size_t n_bytes = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        unsigned step = lt_utf8_decode(text + i, n - i, &c);
        int b = step ? byte_of(c) : -1;
        if (b < 0)
            return false;
        out[n_bytes++] = (uint8_t)b;
        i += step;
    }
    *n_out = n_bytes;
    return true;
}
