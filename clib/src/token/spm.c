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

int lt_write_spaced(lt_encoding *e, const uint8_t **text, size_t *n, bool space_first)
{
    LT_TRY(lt_scratch_reserve(&e->spaced, *n + 1, 1));
    uint8_t *out = e->spaced.items;
    size_t n_out = 0;
    if (space_first)
        out[n_out++] = ' ';
    lt_copy_spaced(out + n_out, (const char *)*text, *n, n);
    *text = out;
    *n += n_out;
    return LT_OK;
}

/* May a piece begin with that byte? */
static inline bool begins(uint8_t byte, bool at_spaces)
{
    return at_spaces ? byte == ' ' : (byte & 0xC0) != 0x80;
}

int lt_encode_cut(lt_encoding *e, const uint8_t *text, size_t n, bool at_spaces)
{
    size_t from = 0;
    for (size_t to = 1; to <= n; to++) {
        if (to < n && (!begins(text[to], at_spaces) || joined(e->v, text[to - 1], text[to])))
            continue;
        LT_TRY(lt_encode_piece(e, text + from, (uint32_t)(to - from)));
        from = to;
    }
    return LT_OK;
}

int lt_spm_encode(lt_encoding *e, const uint8_t *text, size_t n, bool after_special)
{
    LT_TRY(lt_write_spaced(e, &text, &n, e->v->info.add_space_prefix && after_special));
    return lt_encode_cut(e, text, n, false);
}
