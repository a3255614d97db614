/* decode.c - from ids back to bytes.
 *
 * What a token shows: normal, user-defined and byte tokens their piece; control, unknown and unused ones nothing, or their
 * text when specials are asked for.  A model that puts a space before the first word (add_space_prefix, WPM) takes it away
 * again: one leading space of the first token that shows anything, unless a special token is shown before it. */
#include <inttypes.h>
#include <string.h>

#include "token/vocab_data.h"

static bool is_silent(const lt_vocab *v, int32_t id)
{
    return v->type[id] == LT_TYPE_CONTROL || v->type[id] == LT_TYPE_UNKNOWN || v->type[id] == LT_TYPE_UNUSED;
}

const char *lt_vocab_piece(const lt_vocab *v, int32_t id, uint32_t *n_bytes)
{
    const uint8_t *piece = lt_piece(v, id, n_bytes);
    if (is_silent(v, id))
        *n_bytes = 0;
    return (const char *)piece;
}

/* Bytes that the ids show, given to `out` when it is not NULL. */
static size_t show(const lt_vocab *v, const int32_t *ids, size_t n, bool special, char *out)
{
    bool drop_space = v->info.add_space_prefix || v->info.kind == LT_KIND_WPM;
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t n_bytes;
        const char *piece = special ? (const char *)lt_piece(v, ids[i], &n_bytes) : lt_vocab_piece(v, ids[i], &n_bytes);
        if (n_bytes == 0)
            continue;
        if (drop_space && *piece == ' ') {
            piece++;
            n_bytes--;
        }
        drop_space = false;
        if (out)
            memcpy(out + n_out, piece, n_bytes);
        n_out += n_bytes;
    }
    return n_out;
}

int lt_detokenize(const lt_vocab *v, const int32_t *ids, size_t n, uint32_t flags, char *out, size_t cap, size_t *need)
{
    if (!v || !need || (!ids && n) || (!out && cap))
        return lt_fail(LT_E_ARG, "lt_detokenize needs a vocabulary, ids and a place for the result");
    if (flags & ~(uint32_t)LT_DETOK_SPECIAL)
        return lt_fail(LT_E_ARG, "lt_detokenize: flags are %#" PRIx32 ", limit 0x1", flags);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= v->info.n_tokens)
            return lt_fail(LT_E_ARG, "token number %zu is %" PRId32 ", the vocabulary has %" PRId32 " tokens", i, ids[i], v->info.n_tokens);
    *need = show(v, ids, n, flags & LT_DETOK_SPECIAL, NULL);
    if (cap < *need)
        return lt_fail(LT_E_CAP, "the text has %zu bytes, the buffer holds %zu", *need, cap);
    if (*need)
        show(v, ids, n, flags & LT_DETOK_SPECIAL, out);
    return LT_OK;
}

int lt_vocab_pieces(const lt_vocab *v, char *out, size_t cap, uint32_t *sizes, size_t *need)
{
    if (!v || !need || !sizes || (!out && cap))
        return lt_fail(LT_E_ARG, "lt_vocab_pieces needs a vocabulary and places for the result");
    *need = 0;
    for (int32_t id = 0; id < v->info.n_tokens; id++) {
        const char *piece = lt_vocab_piece(v, id, &sizes[id]);
        if (sizes[id] && *need + sizes[id] <= cap)
            memcpy(out + *need, piece, sizes[id]);
        *need += sizes[id];
    }
    return cap < *need ? lt_fail(LT_E_CAP, "the pieces have %zu bytes, the buffer holds %zu", *need, cap) : LT_OK;
}
