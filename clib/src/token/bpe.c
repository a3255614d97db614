/* bpe.c - BPE: the pretokeniser cuts the fragment, the bytes (or characters) of each piece are merged. */
#include "token/encoding.h"

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
        uint32_t taken_whole = *text == '\n' ? LT_PRE_WHOLE | LT_PRE_LINES : LT_PRE_WHOLE;
        int32_t whole = v->pre->flags & taken_whole ? lt_pieces_find(v, text, n_bytes) : -1;
        LT_TRY(whole >= 0 ? lt_encoding_push(e, whole) : lt_encode_piece(e, text, n_bytes));
        text += n_bytes;
    }
    return LT_OK;
}
