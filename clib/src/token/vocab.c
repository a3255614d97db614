/* vocab.c - an lt_vocab from beginning to end: opened from metadata, asked, closed.
 *
 * Everything is checked here once; afterwards the vocabulary is immutable and the encoder needs no checks of its tables. */
#include "token/vocab.h"

#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "token/vocab_data.h"

typedef struct {
    const char *name; /* tokenizer.ggml.model */
    int32_t kind;
    const char *pre; /* the pretokeniser that it implies, when the file names none */
} model;

static const model models[] = {
    {"llama", LT_KIND_SPM, NULL},
    {"gpt2", LT_KIND_BPE, "default"},
    {"gemma4", LT_KIND_BPE, "gemma4"},
    {"hybriddna", LT_KIND_BPE, "default"},
    {"whitespace", LT_KIND_BPE, "whitespace"},
    {"bert", LT_KIND_WPM, NULL},
    {"t5", LT_KIND_UGM, NULL},
    {"rwkv", LT_KIND_RWKV, NULL},
};

static int find_kind(lt_vocab *v, const lt_gguf *g, const model **found)
{
    const char *name = NULL;
    uint64_t n = 0;
    LT_TRY(lt_gguf_get_str(g, "tokenizer.ggml.model", true, &name, &n));
    *found = NULL;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (strlen(models[i].name) == n && memcmp(models[i].name, name, n) == 0)
            *found = &models[i];
    if (!*found)
        return lt_fail(LT_E_UNSUPPORTED,
                       "%s: key tokenizer.ggml.model is \"%.*s\"; this build reads llama, gpt2, gemma4, bert, t5 and rwkv", lt_gguf_path(g),
                       (int)(n < 64 ? n : 64), name);
    v->info.kind = (*found)->kind;
    return LT_OK;
}

/* And what follows from it and the kind: how the file spells its tokens. */
static int find_pretokenizer(lt_vocab *v, const lt_gguf *g, const char *name)
{
    v->spaced = v->info.kind != LT_KIND_BPE && v->info.kind != LT_KIND_RWKV;
    v->by_chars = v->info.kind == LT_KIND_SPM;
    if (v->info.kind != LT_KIND_BPE)
        return LT_OK;
    uint64_t n = strlen(name);
    LT_TRY(lt_gguf_get_str(g, "tokenizer.ggml.pre", false, &name, &n));
    v->pre = lt_pretokenizer_find(name, n);
    if (!v->pre)
        return lt_fail(LT_E_UNSUPPORTED, "%s: key tokenizer.ggml.pre is \"%.*s\", a pretokenizer this build does not have", lt_gguf_path(g),
                       (int)(n < 64 ? n : 64), name);
    v->spaced = v->pre->flags & LT_PRE_SPACED;
    v->by_chars = v->pre->flags & LT_PRE_CHARS;
    return LT_OK;
}

/* A token for every byte, or an unknown token in their stead: otherwise there would be text without tokens. */
static int find_bytes(lt_vocab *v, const lt_gguf *g)
{
    int32_t n_missing = 0;
    for (int b = 0; b < 256; b++) {
        uint8_t byte = (uint8_t)b;
        if (v->byte_id[b] < 0)
            v->byte_id[b] = lt_pieces_find(v, &byte, 1);
        n_missing += v->byte_id[b] < 0;
    }
    bool bytes_only = v->info.kind == LT_KIND_BPE && !v->by_chars;
    if (n_missing == 256 && bytes_only)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.tokens has no token for a single byte", lt_gguf_path(g));
    if (n_missing > 0 && !bytes_only && v->info.unk < 0)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.tokens has no token for %" PRId32 " of the 256 bytes and no unknown token",
                       lt_gguf_path(g), n_missing);
    return LT_OK;
}

/* What WPM and UGM do with a text first. */
static int load_normalizer(lt_vocab *v, const lt_gguf *g)
{
    enum { GGUF_U8 = 0 };
    const void *blob = NULL;
    uint64_t n = 0;
    if (v->info.kind == LT_KIND_WPM) {
        v->lower = true;
        LT_TRY(lt_gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", false, &v->lower));
        v->unaccent = v->lower;
        return lt_gguf_get_bool(g, "tokenizer.ggml.normalizer.strip_accents", false, &v->unaccent);
    }
    if (v->info.kind != LT_KIND_UGM)
        return LT_OK;
    LT_TRY(lt_gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", false, &v->collapse_spaces));
    LT_TRY(lt_gguf_get_bool(g, "tokenizer.ggml.treat_whitespace_as_suffix", false, &v->space_suffix));
    LT_TRY(lt_gguf_get_array(g, "tokenizer.ggml.precompiled_charsmap", false, GGUF_U8, &blob, &n));
    memset(v->charsmap.plain, true, sizeof v->charsmap.plain);
    return blob ? lt_charsmap_load(&v->charsmap, lt_gguf_path(g), blob, n) : LT_OK;
}

static int load(lt_vocab *v, const lt_gguf *g)
{
    const model *m;
    LT_TRY(find_kind(v, g, &m));
    LT_TRY(find_pretokenizer(v, g, m->pre));
    LT_TRY(load_normalizer(v, g));
    LT_TRY(lt_tokens_load(v, g));
    LT_TRY(lt_pieces_build(v));
    LT_TRY(find_bytes(v, g));
    if (v->info.kind == LT_KIND_BPE && !v->priority)
        LT_TRY(lt_merges_build(v, g));
    if (v->info.kind >= LT_KIND_WPM)
        LT_TRY(lt_prefixes_build(v));
    return lt_specials_build(v);
}

int lt_vocab_open(lt_vocab **out, const lt_gguf *g)
{
    if (!out || !g)
        return lt_fail(LT_E_ARG, "lt_vocab_open needs a file and a place for the result");
    lt_vocab *v = lt_alloc_zero(1, sizeof *v);
    if (!v)
        return lt_fail(LT_E_NOMEM, "no memory for a vocabulary");
    memset(v->byte_id, 0xFF, sizeof v->byte_id);
    atomic_store(&v->n_holders, 1);
    pthread_mutex_init(&v->trie_lock, NULL);
    int rc = load(v, g);
    if (rc < 0) {
        lt_vocab_close(v);
        return rc;
    }
    *out = v;
    return LT_OK;
}

void lt_vocab_close(lt_vocab *v)
{
    if (!v || atomic_fetch_sub(&v->n_holders, 1) > 1)
        return;
    lt_piece_trie_free(atomic_load(&v->trie));
    pthread_mutex_destroy(&v->trie_lock);
    lt_free(v->text);
    lt_free(v->text_at);
    lt_free(v->type);
    lt_free(v->marks);
    lt_free(v->priority);
    lt_free(v->prefixes.slots);
    lt_free(v->score);
    lt_charsmap_free(&v->charsmap);
    lt_free(v->pieces.slots);
    lt_free(v->merges.slots);
    lt_free(v->specials.nodes);
    lt_free(v);
}

void lt_vocab_hold(const lt_vocab *v)
{
    atomic_fetch_add(&((lt_vocab *)v)->n_holders, 1);
}

int lt_vocab_trie(const lt_vocab *v, const lt_piece_trie **out)
{
    lt_vocab *open = (lt_vocab *)v; /* all but this and the count stays as it was opened */
    lt_piece_trie *trie = atomic_load(&open->trie);
    int rc = LT_OK;
    if (!trie) {
        pthread_mutex_lock(&open->trie_lock);
        trie = atomic_load(&open->trie);
        if (!trie && (rc = lt_piece_trie_create(&trie, v)) == LT_OK)
            atomic_store(&open->trie, trie);
        pthread_mutex_unlock(&open->trie_lock);
    }
    if (rc == LT_OK)
        *out = trie;
    return rc;
}

int lt_vocab_describe(const lt_vocab *v, lt_vocab_info *out)
{
    if (!v || !out)
        return lt_fail(LT_E_ARG, "lt_vocab_describe needs a vocabulary and a place for the result");
    *out = v->info;
    return LT_OK;
}

int32_t lt_vocab_size(const lt_vocab *v)
{
    return v->info.n_tokens;
}

int32_t lt_token_is_eog(const lt_vocab *v, int32_t id)
{
    if (!v || id < 0 || id >= v->info.n_tokens)
        return -1;
    return (v->marks[id] & LT_MARK_EOG) != 0;
}
