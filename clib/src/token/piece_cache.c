/* piece_cache.c - text repeats its words: what encoding made of recent short pieces, for the length of one call.
 *
 * Direct mapped: a piece has one place, the latest to claim it stays. */
#include <string.h>

#include "core/memory.h"
#include "token/encoding.h"

enum { N_PLACES = 8192, MAX_PIECE = 16 };

typedef struct {
    uint64_t text[2]; /* zero-padded */
    uint8_t n;        /* bytes; 0: free */
    uint8_t n_ids;
    int32_t ids[LT_CACHED_IDS];
} place;

struct lt_piece_cache {
    place places[N_PLACES];
};

int lt_piece_cache_create(lt_piece_cache **out)
{
    *out = lt_alloc_zero(1, sizeof **out);
    return *out ? LT_OK : lt_fail(LT_E_NOMEM, "no memory to tokenize the text");
}

static place *place_of(lt_piece_cache *c, const uint64_t text[2])
{
    uint64_t h = (text[0] ^ text[1] * 0xD1B54A32D192ED03u) * 0x9E3779B97F4A7C15u;
    return &c->places[h >> 51];
}

static int encode_anew(lt_encoding *e, const uint8_t *text, uint32_t n)
{
    switch (e->v->info.kind) {
    case LT_KIND_WPM:
        return lt_wpm_word(e, text, n);
    case LT_KIND_UGM:
        return lt_ugm_piece(e, text, n);
    default:
        return lt_merge_piece(e, text, n);
    }
}

int lt_encode_piece(lt_encoding *e, const uint8_t *text, uint32_t n)
{
    if (!e->cache || n > MAX_PIECE)
        return encode_anew(e, text, n);
    uint64_t key[2] = {0, 0};
    memcpy(key, text, n);
    place *p = place_of(e->cache, key);
    if (p->n == n && p->text[0] == key[0] && p->text[1] == key[1]) {
        for (uint32_t i = 0; i < p->n_ids; i++)
            LT_TRY(lt_encoding_push(e, p->ids[i]));
        return LT_OK;
    }
    size_t before = e->n_ids;
    LT_TRY(encode_anew(e, text, n));
    size_t n_ids = e->n_ids - before;
    if (n_ids > LT_CACHED_IDS)
        return LT_OK;
    *p = (place){.text = {key[0], key[1]}, .n = (uint8_t)n, .n_ids = (uint8_t)n_ids};
    memcpy(p->ids, e->ids + before, n_ids * sizeof *p->ids);
    return LT_OK;
}
