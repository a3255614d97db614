/* tokens.c - the token list of a file: texts, types and scores into the tables of vocab_data.h.
 *
 * Refused: a list of fewer than 2 or more than 2^24 tokens, a text longer than 4096 bytes, arrays of types or scores of
 * another length, types outside 0-6, byte tokens that are not <0xXX>, scores that are not numbers.  Repaired: type 0
 * (undefined) is normal; a missing type list means all normal; texts that stand twice are encoded as the last token. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "token/vocab_data.h"

#define TOKENS_KEY "tokenizer.ggml.tokens"

typedef struct {
    const char *path;
    const void *types; /* i32, unaligned; NULL: all normal */
    uint32_t n_bytes;  /* used of the arena */
    int32_t role_ids[LT_N_ROLES];
} loader;

/* Counts the list and its bytes; makes room for both. */
static int make_room(lt_vocab *v, const loader *l, lt_gguf_strings it)
{
    uint64_t n_tokens = it.left, n_bytes = 0, n;
    const char *text;
    if (n_tokens < 2 || n_tokens > LT_MAX_TOKENS)
        return lt_fail(LT_E_FORMAT, "%s: key " TOKENS_KEY " has %" PRIu64 " tokens, limit 2 to %d", l->path, n_tokens, LT_MAX_TOKENS);
    for (uint64_t id = 0; lt_gguf_next_string(&it, &text, &n); id++) {
        if (n > LT_MAX_TOKEN_BYTES)
            return lt_fail(LT_E_FORMAT, "%s: key " TOKENS_KEY ": token %" PRIu64 " has %" PRIu64 " bytes, limit %d", l->path, id, n,
                           LT_MAX_TOKEN_BYTES);
        n_bytes += n;
    }
    if (n_bytes >= UINT32_MAX)
        return lt_fail(LT_E_FORMAT, "%s: key " TOKENS_KEY " has %" PRIu64 " bytes, limit %" PRIu32, l->path, n_bytes, UINT32_MAX);
    v->info.n_tokens = (int32_t)n_tokens;
    v->text = lt_alloc(n_bytes, 1);
    v->text_at = lt_alloc(n_tokens + 1, sizeof *v->text_at);
    v->type = lt_alloc(n_tokens, 1);
    v->marks = lt_alloc_zero(n_tokens, 1);
    if (!v->text || !v->text_at || !v->type || !v->marks)
        return lt_fail(LT_E_NOMEM, "%s: no memory for %" PRIu64 " tokens", l->path, n_tokens);
    v->text_at[0] = 0;
    return LT_OK;
}

static int load_types(const lt_vocab *v, loader *l, const lt_gguf *g)
{
    enum { GGUF_I32 = 5 };
    uint64_t n = 0;
    LT_TRY(lt_gguf_get_array(g, "tokenizer.ggml.token_type", false, GGUF_I32, &l->types, &n));
    if (l->types && n != (uint64_t)v->info.n_tokens)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.token_type has %" PRIu64 " items, " TOKENS_KEY " has %d", l->path, n,
                       v->info.n_tokens);
    return LT_OK;
}

/* The type of a token: by its known text, else by the file. */
static int find_type(loader *l, int32_t id, const char *text, uint64_t n, int *type)
{
    int32_t stored = LT_TYPE_NORMAL;
    if (l->types)
        memcpy(&stored, (const char *)l->types + (size_t)id * sizeof stored, sizeof stored);
    if (stored < 0 || stored > LT_TYPE_BYTE)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.token_type: token %" PRId32 " has type %" PRId32 ", limit 0 to %d", l->path, id,
                       stored, LT_TYPE_BYTE);
    if (stored)
        *type = stored;
    int role = lt_role_find(text, n, stored);
    if (role >= 0) {
        l->role_ids[role] = id;
        *type = lt_role_type(role);
    }
    return LT_OK;
}

/* Writes the piece of a normal, unused or user-defined token; true when merging may find it. */
static bool put_piece(const lt_vocab *v, int type, uint8_t *out, const char *text, size_t n, size_t *n_out)
{
    if (v->spaced)
        return lt_copy_spaced(out, text, n, n_out) && (v->info.kind != LT_KIND_BPE || type != LT_TYPE_USER);
    if (v->info.kind == LT_KIND_RWKV) {
        *n_out = lt_copy_unescaped(out, text, n);
        return true;
    }
    if (type != LT_TYPE_USER && !v->by_chars && lt_byte_map_decode((const uint8_t *)text, n, out, n_out))
        return true;
    memcpy(out, text, n);
    *n_out = n;
    return v->by_chars && type != LT_TYPE_USER;
}

static int put_byte_token(lt_vocab *v, const loader *l, int32_t id, uint8_t *out, const char *text, uint64_t n)
{
    int byte = lt_parse_byte(text, n);
    if (byte < 0)
        return lt_fail(LT_E_FORMAT, "%s: key " TOKENS_KEY ": byte token %" PRId32 " is \"%.*s\", not <0x00> to <0xFF>", l->path, id,
                       (int)(n < 32 ? n : 32), text);
    *out = (uint8_t)byte;
    v->byte_id[byte] = id;
    return LT_OK;
}

static int put_token(lt_vocab *v, loader *l, int32_t id, const char *text, uint64_t n)
{
    int type = LT_TYPE_NORMAL;
    LT_TRY(find_type(l, id, text, n, &type));
    uint8_t *out = (uint8_t *)v->text + l->n_bytes;
    size_t n_piece = n;
    if (type == LT_TYPE_BYTE) {
        LT_TRY(put_byte_token(v, l, id, out, text, n));
        n_piece = 1;
    } else if (type == LT_TYPE_CONTROL || type == LT_TYPE_UNKNOWN) {
        memcpy(out, text, n);
    } else if (put_piece(v, type, out, text, n, &n_piece)) {
        v->marks[id] |= LT_MARK_KEYED;
        if (v->info.kind >= LT_KIND_WPM && n_piece > LT_MAX_PREFIX_BYTES)
            return lt_fail(LT_E_FORMAT, "%s: key " TOKENS_KEY ": token %" PRId32 " has %zu bytes, limit %d for such a vocabulary", l->path,
                           id, n_piece, LT_MAX_PREFIX_BYTES);
    }
    v->type[id] = (uint8_t)type;
    l->n_bytes += (uint32_t)n_piece;
    v->text_at[id + 1] = l->n_bytes;
    return LT_OK;
}

static float score_at(const void *scores, int32_t id)
{
    float score;
    memcpy(&score, (const char *)scores + (size_t)id * sizeof score, sizeof score);
    return score;
}

/* The order of scores, highest first, as unsigned integers, lowest first; -0 and 0 are equal. */
static uint32_t priority_of(float score)
{
    uint32_t bits;
    score += 0.0f;
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : 0x7FFFFFFFu - bits;
}

/* The checked scores (float, unaligned) of all tokens. */
static int read_scores(const lt_vocab *v, const loader *l, const lt_gguf *g, const void **scores)
{
    enum { GGUF_F32 = 6 };
    uint64_t n = 0, n_tokens = (uint64_t)v->info.n_tokens;
    LT_TRY(lt_gguf_get_array(g, "tokenizer.ggml.scores", true, GGUF_F32, scores, &n));
    if (n != n_tokens)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.scores has %" PRIu64 " items, " TOKENS_KEY " has %" PRIu64, l->path, n,
                       n_tokens);
    for (uint64_t id = 0; id < n_tokens; id++)
        if (isnan(score_at(*scores, (int32_t)id)))
            return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.scores: token %" PRIu64 " has a score that is not a number", l->path, id);
    return LT_OK;
}

static int load_priorities(lt_vocab *v, const loader *l, const lt_gguf *g)
{
    const void *scores = NULL;
    if (v->info.kind == LT_KIND_SPM)
        LT_TRY(read_scores(v, l, g, &scores));
    v->priority = lt_alloc((size_t)v->info.n_tokens, sizeof *v->priority);
    if (!v->priority)
        return lt_fail(LT_E_NOMEM, "%s: no memory for %d priorities", l->path, v->info.n_tokens);
    for (int32_t id = 0; id < v->info.n_tokens; id++)
        v->priority[id] = scores ? priority_of(score_at(scores, id)) : (uint32_t)id;
    return LT_OK;
}

/* A user-defined token costs nothing; a character without token costs ten more than the worst of the others. */
static int load_scores(lt_vocab *v, const loader *l, const lt_gguf *g)
{
    const void *scores = NULL;
    LT_TRY(read_scores(v, l, g, &scores));
    v->score = lt_alloc((size_t)v->info.n_tokens, sizeof *v->score);
    if (!v->score)
        return lt_fail(LT_E_NOMEM, "%s: no memory for %d scores", l->path, v->info.n_tokens);
    float worst = 0.0f;
    for (int32_t id = 0; id < v->info.n_tokens; id++) {
        float score = score_at(scores, id);
        v->score[id] = v->type[id] == LT_TYPE_USER ? 0.0f : score;
        if (!isfinite(score))
            return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.scores: token %" PRId32 " has an infinite score", l->path, id);
        if (v->type[id] == LT_TYPE_NORMAL && score < worst)
            worst = score;
    }
    v->unknown_score = (double)worst - 10.0;
    return LT_OK;
}

int lt_tokens_load(lt_vocab *v, const lt_gguf *g)
{
    loader l = {.path = lt_gguf_path(g)};
    memset(l.role_ids, 0xFF, sizeof l.role_ids);
    lt_gguf_strings it;
    LT_TRY(lt_gguf_get_strings(g, TOKENS_KEY, true, &it));
    LT_TRY(make_room(v, &l, it));
    LT_TRY(load_types(v, &l, g));
    const char *text;
    uint64_t n;
    for (int32_t id = 0; lt_gguf_next_string(&it, &text, &n); id++)
        LT_TRY(put_token(v, &l, id, text, n));
    if (v->info.kind == LT_KIND_SPM || (v->pre && v->pre->flags & LT_PRE_RANKED && !lt_gguf_has(g, "tokenizer.ggml.merges")))
        LT_TRY(load_priorities(v, &l, g));
    else if (v->info.kind == LT_KIND_UGM)
        LT_TRY(load_scores(v, &l, g));
    return lt_roles_load(v, g, l.role_ids);
}
