/* hparams.c - the model's numbers from its metadata. */
#include "models/model.h"

#include <math.h>
#include <string.h>

static bool is(const char *text, uint64_t len, const char *word)
{
    return strlen(word) == len && !memcmp(text, word, len);
}

static int read_scaling(lt_keys *k, lt_hparams *h)
{
    const char *type = "none";
    uint64_t len = 4;
    h->rope_factor = h->attention_factor = h->yarn_ext_factor = h->yarn_beta_slow = 1.0f;
    h->yarn_beta_fast = 32.0f;
    LT_TRY(lt_key_number(k, "rope.scale_linear", false, 1e-3, 1e6, &h->rope_factor));
    if (lt_keys_have(k, "rope.scaling.type"))
        LT_TRY(lt_gguf_get_str(k->g, k->key, false, &type, &len));
    if (is(type, len, "longrope") || lt_gguf_find_tensor(k->g, "rope_factors_long.weight"))
        h->scaling = LT_SCALING_LONG; /* files of Phi 3 have the divisors only */
    else if (is(type, len, "none"))
        return LT_OK;
    else if (is(type, len, "yarn"))
        h->scaling = LT_SCALING_YARN;
    else if (!is(type, len, "linear"))
        return lt_fail(LT_E_UNSUPPORTED, "%s: %s is %.*s; served: none, linear, yarn, longrope", lt_gguf_path(k->g), k->key,
                       (int)(len > 40 ? 40 : len), type);
    int32_t original = h->n_ctx_train;
    LT_TRY(lt_key_count(k, "rope.scaling.original_context_length", false, 1, INT32_MAX, &original));
    h->original_ctx = (float)original;
    LT_TRY(lt_key_number(k, "rope.scaling.attn_factor", false, 1e-3, 1e3, &h->attention_factor));
    if (h->scaling == LT_SCALING_LONG)
        return LT_OK;
    LT_TRY(lt_key_number(k, "rope.scaling.factor", false, 1e-3, 1e6, &h->rope_factor));
    LT_TRY(lt_key_number(k, "rope.scaling.yarn_ext_factor", false, 0, 1, &h->yarn_ext_factor));
    LT_TRY(lt_key_number(k, "rope.scaling.yarn_beta_fast", false, 1e-3, 1e4, &h->yarn_beta_fast));
    LT_TRY(lt_key_number(k, "rope.scaling.yarn_log_multiplier", false, 0, 1e3, &h->yarn_log_multiplier));
    return lt_key_number(k, "rope.scaling.yarn_beta_slow", false, 1e-3, 1e4, &h->yarn_beta_slow);
}

static int read_ropes(lt_keys *k, lt_hparams *h, const lt_traits *t)
{
    lt_rope_kind *full = &h->rope[LT_ROPE_FULL], *window = &h->rope[LT_ROPE_WINDOW];
    bool rotates = true;
    if (t->mixes & LT_MIX_ROPE_BY_FILE)
        LT_TRY(lt_key_flag(k, "rope.scaling.finetuned", &rotates));
    h->no_rope = !rotates;
    LT_TRY(read_scaling(k, h));
    *full = (lt_rope_kind){.base = 10000.0f, .scaled = true};
    LT_TRY(lt_key_number(k, "rope.freq_base", false, 1.0, 1e12, &full->base));
    LT_TRY(lt_key_count(k, "rope.dimension_count", false, 2, LT_MAX_HEAD_DIM, &full->n_rot));
    if (full->n_rot % 2)
        return lt_fail(LT_E_FORMAT, "%s: %s is %d, must be even", lt_gguf_path(k->g), k->key, full->n_rot);
    *window = (lt_rope_kind){.n_rot = full->n_rot, .base = t->window_rope_base > 0 ? t->window_rope_base : full->base};
    LT_TRY(lt_key_number(k, "rope.freq_base_swa", false, 1.0, 1e12, &window->base));
    LT_TRY(lt_key_count(k, "rope.dimension_count_swa", false, 2, LT_MAX_HEAD_DIM, &window->n_rot));
    return window->n_rot % 2 ? lt_fail(LT_E_FORMAT, "%s: %s is %d, must be even", lt_gguf_path(k->g), k->key, window->n_rot) : LT_OK;
}

static int read_scales(lt_keys *k, lt_hparams *h, const lt_traits *t)
{
    h->embedding_scale = t->is & LT_EMBEDDING_SQRT ? sqrtf((float)h->n_embd) : 1.0f;
    h->residual_scale = h->logit_scale = 1.0f;
    if (t->is & LT_MINICPM_SCALES) {
        h->embedding_scale = 12.0f;
        h->residual_scale = 1.4f / sqrtf((float)h->n_layer);
        h->logit_scale = (float)h->n_embd / 256.0f;
    }
    LT_TRY(lt_key_number(k, "embedding_scale", false, 1e-6, 1e6, &h->embedding_scale));
    LT_TRY(lt_key_number(k, "residual_scale", false, 1e-6, 1e6, &h->residual_scale));
    LT_TRY(lt_key_number(k, "logit_scale", false, 1e-6, 1e6, &h->logit_scale));
    if (t->is & LT_LOGITS_DIVIDED)
        h->logit_scale = 1.0f / h->logit_scale;
    LT_TRY(lt_key_number(k, "final_logit_softcapping", false, 0, 1e6, &h->logit_cap));
    LT_TRY(lt_key_number(k, "attn_logit_softcapping", false, 0, 1e6, &h->attention_cap));
    LT_TRY(lt_key_number(k, "attention.clamp_kqv", false, 0, 1e6, &h->attention_clamp));
    h->alibi_max_bias = 8.0f;
    LT_TRY(lt_key_number(k, "attention.max_alibi_bias", false, 0, 1e3, &h->alibi_max_bias));
    h->heat_floor = (int32_t)h->original_ctx > 0 ? (int32_t)h->original_ctx : h->n_ctx_train;
    if (t->is & LT_LLAMA4_HEAT)
        h->heat = 0.1f, h->heat_floor = 8192, h->heat_offset = 1;
    return lt_key_number(k, "attention.temperature_scale", false, 0, 1e3, &h->heat);
}

static int read_eps(lt_keys *k, lt_hparams *h, const lt_traits *t)
{
    static const char *const names[2] = {"attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"};
    const int first = t->is & LT_LAYER_NORM ? 1 : 0, own = lt_keys_have(k, names[first]) || !lt_keys_have(k, names[1 - first]);
    return lt_key_number(k, names[own ? first : 1 - first], true, 1e-12, 0.1, &h->eps);
}

/* Keys that say of a decoder what no row does. */
static int refuse_keys(lt_keys *k)
{
    static const char *const counts[] = {"attention.shared_kv_layers", "embedding_length_per_layer_input"};
    int32_t none = 0;
    bool causal = true;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        LT_TRY(lt_key_count(k, counts[i], false, 0, 0, &none));
    LT_TRY(lt_key_flag(k, "attention.causal", &causal));
    return causal ? LT_OK : lt_fail(LT_E_UNSUPPORTED, "%s: %s is false: such a model writes no text", lt_gguf_path(k->g), k->key);
}

int lt_hparams_read(lt_hparams *h, const lt_gguf *g, const lt_traits *t, int32_t n_vocab)
{
    lt_keys k = {.g = g, .arch = t->arch};
    *h = (lt_hparams){.n_vocab = n_vocab};
    LT_TRY(lt_key_count(&k, "block_count", true, 1, LT_MAX_LAYERS, &h->n_layer));
    LT_TRY(lt_key_count(&k, "nextn_predict_layers", false, 0, h->n_layer - 1, &h->n_further));
    h->n_layer -= h->n_further;
    LT_TRY(lt_key_count(&k, "embedding_length", true, 1, 1 << 17, &h->n_embd));
    LT_TRY(lt_key_count(&k, "context_length", true, 1, 1 << 28, &h->n_ctx_train));
    int32_t vocab_size = n_vocab;
    LT_TRY(lt_key_count(&k, "vocab_size", false, n_vocab, n_vocab, &vocab_size));
    LT_TRY(refuse_keys(&k));
    LT_TRY(read_eps(&k, h, t));
    LT_TRY(read_ropes(&k, h, t));
    LT_TRY(lt_router_read(&h->router, &k, t));
    LT_TRY(lt_mix_numbers_read(&h->mix, &k, t->mixer, h->n_embd));
    LT_TRY(lt_latent_read(h, &k));
    return read_scales(&k, h, t);
}
