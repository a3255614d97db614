/* vocab.c - an lt_vocab from beginning to end: opened from metadata, asked, closed.
 *
 * Everything is checked here once; afterwards the vocabulary is immutable and the encoder needs no checks of its tables. */
#include "token/vocab.h"

#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "token/vocab_data.h"

static int find_kind(lt_vocab *v, const lt_gguf *g)
{
    const char *model = NULL;
    uint64_t n = 0;
    LT_TRY(lt_gguf_get_str(g, "tokenizer.ggml.model", true, &model, &n));
    if (n == 5 && memcmp(model, "llama", 5) == 0)
        v->info.kind = LT_KIND_SPM;
    else if (n == 4 && memcmp(model, "gpt2", 4) == 0)
        v->info.kind = LT_KIND_BPE;
    else
        return lt_fail(LT_E_UNSUPPORTED, "%s: key tokenizer.ggml.model is \"%.*s\"; this build reads \"llama\" (SPM) and \"gpt2\" (BPE)",
                       lt_gguf_path(g), (int)(n < 64 ? n : 64), model);
    return LT_OK;
}

static int find_pretokenizer(lt_vocab *v, const lt_gguf *g)
{
    const char *name = "default";
    uint64_t n = strlen(name);
    if (v->info.kind != LT_KIND_BPE)
        return LT_OK;
    LT_TRY(lt_gguf_get_str(g, "tokenizer.ggml.pre", false, &name, &n));
    v->pre = lt_pretokenizer_find(name, n);
    if (!v->pre)
        return lt_fail(LT_E_UNSUPPORTED, "%s: key tokenizer.ggml.pre is \"%.*s\", a pretokenizer this build does not have", lt_gguf_path(g),
                       (int)(n < 64 ? n : 64), name);
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
    if (n_missing == 256 && v->info.kind == LT_KIND_BPE)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.tokens has no token for a single byte", lt_gguf_path(g));
    if (n_missing > 0 && v->info.kind == LT_KIND_SPM && v->info.unk < 0)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.tokens has no token for %" PRId32 " of the 256 bytes and no unknown token",
                       lt_gguf_path(g), n_missing);
    return LT_OK;
}

static int load(lt_vocab *v, const lt_gguf *g)
{
    LT_TRY(find_kind(v, g));
    LT_TRY(find_pretokenizer(v, g));
    LT_TRY(lt_tokens_load(v, g));
    LT_TRY(lt_pieces_build(v));
    LT_TRY(find_bytes(v, g));
    if (v->info.kind == LT_KIND_BPE)
        LT_TRY(lt_merges_build(v, g));
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
