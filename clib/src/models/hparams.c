/* hparams.c - the model's numbers from its metadata, each within a stated range, so that no later product can overflow. */
#include "models/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const lt_gguf *g;
    const char *arch;
    char key[128];
} reader;

static const char *key_of(reader *r, const char *name)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, name);
    return r->key;
}

static int read_count(reader *r, const char *name, bool required, int32_t low, int32_t high, int32_t *out)
{
    uint32_t v = (uint32_t)*out;
    LT_TRY(lt_gguf_get_u32(r->g, key_of(r, name), required, &v));
    if (v < (uint32_t)low || v > (uint32_t)high)
        return lt_fail(LT_E_FORMAT, "%s: %s is %" PRIu32 ", must be %" PRId32 "..%" PRId32, lt_gguf_path(r->g), r->key, v, low, high);
    *out = (int32_t)v;
    return LT_OK;
}

static int read_number(reader *r, const char *name, bool required, double low, double high, float *out)
{
    LT_TRY(lt_gguf_get_f32(r->g, key_of(r, name), required, out));
    if (!(*out >= low && *out <= high)) /* NaN fails too */
        return lt_fail(LT_E_FORMAT, "%s: %s is %g, must be %g..%g", lt_gguf_path(r->g), r->key, (double)*out, low, high);
    return LT_OK;
}

static int read_scaling(reader *r, lt_hparams *h)
{
    const char *type = "none";
    uint64_t len = 4;
    float legacy = 1.0f;
    LT_TRY(read_number(r, "rope.scale_linear", false, 1e-3, 1e6, &legacy));
    h->rope_factor = legacy;
    LT_TRY(lt_gguf_get_str(r->g, key_of(r, "rope.scaling.type"), false, &type, &len));
    const bool linear = len == 6 && !memcmp(type, "linear", 6);
    h->yarn = len == 4 && !memcmp(type, "yarn", 4);
    if (!linear && !h->yarn) {
        if (len == 4 && !memcmp(type, "none", 4))
            return LT_OK;
        return lt_fail(LT_E_UNSUPPORTED, "%s: %s is %.*s; served: none, linear, yarn", lt_gguf_path(r->g), r->key,
                       (int)(len > 40 ? 40 : len), type);
    }
    LT_TRY(read_number(r, "rope.scaling.factor", false, 1e-3, 1e6, &h->rope_factor));
    if (!h->yarn)
        return LT_OK;
    h->yarn_original_ctx = (float)h->n_ctx_train;
    h->yarn_attention_factor = h->yarn_ext_factor = h->yarn_beta_slow = 1.0f;
    h->yarn_beta_fast = 32.0f;
    int32_t original = h->n_ctx_train;
    LT_TRY(read_count(r, "rope.scaling.original_context_length", false, 1, INT32_MAX, &original));
    h->yarn_original_ctx = (float)original;
    LT_TRY(read_number(r, "rope.scaling.attn_factor", false, 1e-3, 1e3, &h->yarn_attention_factor));
    LT_TRY(read_number(r, "rope.scaling.yarn_ext_factor", false, 0, 1, &h->yarn_ext_factor));
    LT_TRY(read_number(r, "rope.scaling.yarn_beta_fast", false, 1e-3, 1e4, &h->yarn_beta_fast));
    return read_number(r, "rope.scaling.yarn_beta_slow", false, 1e-3, 1e4, &h->yarn_beta_slow);
}

static int read_heads(reader *r, lt_hparams *h)
{
    LT_TRY(read_count(r, "attention.head_count", true, 1, 1024, &h->n_head));
    h->n_head_kv = h->n_head;
    LT_TRY(read_count(r, "attention.head_count_kv", false, 1, h->n_head, &h->n_head_kv));
    if (h->n_head % h->n_head_kv)
        return lt_fail(LT_E_FORMAT, "%s: %s.attention.head_count %d is not a multiple of head_count_kv %d", lt_gguf_path(r->g), r->arch,
                       h->n_head, h->n_head_kv);
    h->k_dim = h->n_embd / h->n_head;
    if (h->n_embd % h->n_head && !lt_gguf_has(r->g, key_of(r, "attention.key_length")))
        return lt_fail(LT_E_FORMAT, "%s: %s.embedding_length %d is not a multiple of head_count %d and key_length is absent",
                       lt_gguf_path(r->g), r->arch, h->n_embd, h->n_head);
    LT_TRY(read_count(r, "attention.key_length", false, 1, LT_MAX_HEAD_DIM, &h->k_dim));
    h->v_dim = h->k_dim;
    LT_TRY(read_count(r, "attention.value_length", false, 1, LT_MAX_HEAD_DIM, &h->v_dim));
    h->n_rot = h->k_dim;
    LT_TRY(read_count(r, "rope.dimension_count", false, 2, h->k_dim, &h->n_rot));
    if (h->n_rot % 2)
        return lt_fail(LT_E_FORMAT, "%s: %s.rope.dimension_count is %d, must be even", lt_gguf_path(r->g), r->arch, h->n_rot);
    return LT_OK;
}

static int read_rope_and_window(reader *r, lt_hparams *h, const lt_traits *t)
{
    h->rope_base = 10000.0f;
    LT_TRY(read_number(r, "rope.freq_base", false, 1.0, 1e12, &h->rope_base));
    LT_TRY(read_scaling(r, h));
    if (!t->window_period)
        return LT_OK;
    h->window_rope_base = t->window_rope_base;
    LT_TRY(read_number(r, "rope.freq_base_swa", false, 1.0, 1e12, &h->window_rope_base));
    return read_count(r, "attention.sliding_window", true, 1, INT32_MAX, &h->window);
}

/* What is in the file but not in this decoder must be refused, not skipped. */
static int refuse_unserved(reader *r)
{
    uint32_t experts = 0;
    LT_TRY(lt_gguf_get_u32(r->g, key_of(r, "expert_count"), false, &experts));
    if (experts)
        return lt_fail(LT_E_UNSUPPORTED, "%s: %s is %" PRIu32 ": mixtures of experts are not served yet", lt_gguf_path(r->g), r->key,
                       experts);
    static const char *const caps[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        float cap = 0;
        LT_TRY(lt_gguf_get_f32(r->g, key_of(r, caps[i]), false, &cap));
        if (cap != 0)
            return lt_fail(LT_E_UNSUPPORTED, "%s: %s is %g: soft caps are not served yet", lt_gguf_path(r->g), r->key, (double)cap);
    }
    return LT_OK;
}

static int read_attention_scale(reader *r, lt_hparams *h, const lt_traits *t)
{
    h->attention_scale = 1.0f / sqrtf((float)h->k_dim);
    if (t->window_period && h->n_layer == 62) /* Gemma 3 27B: its query_pre_attn_scalar, which the file does not carry */
        h->attention_scale = 1.0f / sqrtf((float)h->n_embd / (float)h->n_head);
    return read_number(r, "attention.scale", false, 1e-6, 1e3, &h->attention_scale);
}

int lt_hparams_read(lt_hparams *h, const lt_gguf *g, const lt_traits *t, int32_t n_vocab)
{
    reader r = {.g = g, .arch = t->arch};
    *h = (lt_hparams){.n_vocab = n_vocab};
    LT_TRY(refuse_unserved(&r));
    LT_TRY(read_count(&r, "block_count", true, 1, LT_MAX_LAYERS, &h->n_layer));
    LT_TRY(read_count(&r, "embedding_length", true, 1, 1 << 17, &h->n_embd));
    LT_TRY(read_count(&r, "feed_forward_length", true, 1, 1 << 20, &h->n_ff));
    LT_TRY(read_count(&r, "context_length", true, 1, 1 << 28, &h->n_ctx_train));
    LT_TRY(read_heads(&r, h));
    LT_TRY(read_number(&r, "attention.layer_norm_rms_epsilon", true, 1e-12, 0.1, &h->eps));
    LT_TRY(read_rope_and_window(&r, h, t));
    int32_t vocab_size = n_vocab;
    LT_TRY(read_count(&r, "vocab_size", false, n_vocab, n_vocab, &vocab_size));
    return read_attention_scale(&r, h, t);
}
