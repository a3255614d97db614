/* spm.c - SentencePiece BPE: the whole fragment is one word to be merged by score.
 *
 * Merging a whole book as one word would be slow, so it is cut first where that cannot be seen: between two bytes that no
 * token of the vocabulary has side by side, no token can ever span.  In ordinary text that is before nearly every space. */
#include <string.h>

#include "token/encoding.h"

static inline bool joined(const lt_vocab *v, uint8_t a, uint8_t b)
{
    uint32_t pair = (uint32_t)a << 8 | b;
    return v->joins[pair >> 3] >> (pair & 7) & 1;
}

/* Writes the fragment as merging sees it: U+2581 and space are one, and words start with it. */
static size_t write_spaced(const lt_vocab *v, const uint8_t *text, size_t n, bool after_special, uint8_t *out)
{
    size_t n_out = 0;
    if (v->info.add_space_prefix && after_special)
        out[n_out++] = ' ';
    for (size_t i = 0; i < n; i++) {
        if (text[i] == 0xE2 && n - i >= 3 && text[i + 1] == 0x96 && text[i + 2] == 0x81) {
            out[n_out++] = ' ';
            i += 2;
        } else {
            out[n_out++] = text[i];
        }
    }
    return n_out;
}

int lt_spm_encode(lt_encoding *e, const uint8_t *text, size_t n, bool after_special)
{
    LT_TRY(lt_scratch_reserve(&e->spaced, n + 1, 1));
    const uint8_t *spaced = e->spaced.items;
    n = write_spaced(e->v, text, n, after_special, e->spaced.items);
    size_t from = 0;
    for (size_t to = 1; to <= n; to++) {
        bool inside = to < n && ((spaced[to] & 0xC0) == 0x80 || joined(e->v, spaced[to - 1], spaced[to]));
        if (inside)
            continue;
        LT_TRY(lt_encode_piece(e, spaced + from, (uint32_t)(to - from)));
        from = to;
    }
    return LT_OK;
}
