/* bpe.c - BPE: the pretokeniser cuts the fragment, the bytes (or characters) of each piece are merged. */
#include "token/encoding.h"

/* `first` is the rune that the piece begins with. */
static int encode_piece(lt_encoding *e, const uint8_t *text, uint32_t n, lt_rune first)
{
    uint32_t flags = e->v->pre->flags;
    if (flags & LT_PRE_NO_SPACES && lt_rune_is(first, LT_RUNE_SPACE))
        return LT_OK;
    uint32_t taken_whole = *text == '\n' ? LT_PRE_WHOLE | LT_PRE_LINES : LT_PRE_WHOLE;
    int32_t whole = flags & taken_whole ? lt_pieces_find(e->v, text, n) : -1;
    return whole >= 0 ? lt_encoding_push(e, whole) : lt_encode_piece(e, text, n);
}

int lt_bpe_encode(lt_encoding *e, const uint8_t *text, size_t n)
{
    const lt_vocab *v = e->v;
    if (v->spaced)
        LT_TRY(lt_write_spaced(e, &text, &n, false));
    LT_TRY(lt_scratch_reserve(&e->runes, n, sizeof(lt_rune)));
    const lt_rune *r = e->runes.items;
    lt_piece_walk walk;
    lt_piece_walk_start(&walk, v->pre, r, (uint32_t)lt_runes_decode(text, n, e->runes.items));
    uint32_t from, to;
    while (lt_piece_walk_next(&walk, &from, &to)) {
        uint32_t n_bytes = 0;
        for (uint32_t i = from; i < to; i++)
            n_bytes += lt_rune_bytes(r[i]);
        LT_TRY(encode_piece(e, text, n_bytes, r[from]));
        text += n_bytes;
    }
    return LT_OK;
}
