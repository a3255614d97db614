/* encode.c - lt_tokenize: fragments, special tokens, BOS, EOS and separator. */
#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "token/encoding.h"

enum { MAX_TEXT_BYTES = 1 << 30, CACHE_FROM_BYTES = 4096 };

int lt_scratch_reserve(lt_scratch *s, size_t n, size_t item_bytes)
{
    if (n <= s->cap)
        return LT_OK;
    size_t cap = n < 64 ? 64 : n + n / 2;
    void *items = lt_resize(s->items, cap, item_bytes);
    if (!items)
        return lt_fail(LT_E_NOMEM, "no memory to tokenize the text (%zu items of %zu bytes)", cap, item_bytes);
    s->items = items;
    s->cap = cap;
    return LT_OK;
}

int lt_encoding_push(lt_encoding *e, int32_t id)
{
    if (e->n_ids == e->ids_memory.cap) {
        LT_TRY(lt_scratch_reserve(&e->ids_memory, e->n_ids + 1, sizeof *e->ids));
        e->ids = e->ids_memory.items;
    }
    e->ids[e->n_ids++] = id;
    return LT_OK;
}

static void encoding_end(lt_encoding *e)
{
    lt_free(e->ids_memory.items);
    lt_free(e->runes.items);
    lt_free(e->spaced.items);
    lt_free(e->ids_at.items);
    lt_free(e->next.items);
    lt_free(e->prev.items);
    lt_free(e->heap.items);
    lt_free(e->cache);
}

static int encode_text(lt_encoding *e, const uint8_t *text, size_t n, bool after_special)
{
    switch (e->v->info.kind) {
    case LT_KIND_SPM:
        return lt_spm_encode(e, text, n, after_special);
    case LT_KIND_BPE:
        return lt_bpe_encode(e, text, n);
    case LT_KIND_WPM:
        return lt_wpm_encode(e, text, n);
    case LT_KIND_UGM:
        return lt_ugm_encode(e, text, n);
    default:
        return lt_rwkv_encode(e, text, n);
    }
}

static int encode_fragments(lt_encoding *e, lt_fragments *f)
{
    lt_fragment part;
    bool after_special = true;
    int rc;
    while ((rc = lt_fragments_next(f, &part)) > 0) {
        LT_TRY(part.id >= 0 ? lt_encoding_push(e, part.id) : encode_text(e, part.text, part.n, after_special));
        after_special = part.id >= 0;
    }
    return rc;
}

static int encode(lt_encoding *e, const uint8_t *text, size_t n, uint32_t flags)
{
    const lt_vocab_info *info = &e->v->info;
    if (n >= CACHE_FROM_BYTES)
        LT_TRY(lt_piece_cache_create(&e->cache));
    if (flags & LT_TOK_ADD_SPECIAL && info->add_bos)
        LT_TRY(lt_encoding_push(e, info->bos));
    lt_fragments f;
    lt_fragments_start(&f, e->v, text, n, flags & LT_TOK_PARSE_SPECIAL);
    int rc = encode_fragments(e, &f);
    lt_fragments_end(&f);
    LT_TRY(rc);
    if (flags & LT_TOK_ADD_SPECIAL && info->add_eos)
        LT_TRY(lt_encoding_push(e, info->eos));
    if (flags & LT_TOK_ADD_SPECIAL && info->add_sep)
        LT_TRY(lt_encoding_push(e, info->sep));
    return LT_OK;
}

static int deliver(const lt_encoding *e, int32_t *out, size_t cap, size_t *need)
{
    *need = e->n_ids;
    if (cap < e->n_ids)
        return lt_fail(LT_E_CAP, "the text has %zu tokens, the buffer holds %zu", e->n_ids, cap);
    if (e->n_ids)
        memcpy(out, e->ids, e->n_ids * sizeof *out);
    return LT_OK;
}

int lt_tokenize(const lt_vocab *v, const char *utf8, size_t n_bytes, uint32_t flags, int32_t *out, size_t cap, size_t *need)
{
    if (!v || !need || (!utf8 && n_bytes) || (!out && cap))
        return lt_fail(LT_E_ARG, "lt_tokenize needs a vocabulary, a text and a place for the result");
    if (flags & ~(uint32_t)(LT_TOK_ADD_SPECIAL | LT_TOK_PARSE_SPECIAL))
        return lt_fail(LT_E_ARG, "lt_tokenize: flags are %#" PRIx32 ", limit 0x3", flags);
    if (n_bytes > MAX_TEXT_BYTES)
        return lt_fail(LT_E_LIMIT, "the text has %zu bytes, limit %d", n_bytes, MAX_TEXT_BYTES);
    lt_encoding e = {.v = v};
    int rc = encode(&e, (const uint8_t *)utf8, n_bytes, flags);
    if (rc == LT_OK)
        rc = deliver(&e, out, cap, need);
    encoding_end(&e);
    return rc;
}
