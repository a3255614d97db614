/* latent.c - attention with a latent (DeepSeek's MLA): heads share one key and one value, which are a narrow vector c.
 *
 * As trained, head h has keys k_b[h] * c and values v_b[h] * c of its own.  Here k_b moves to the query and v_b to the output, which
 * is the same: a query [rope | k_b[h]^T * q] meets keys [rope | c], values are c.  The cache then holds one head, not all. */
#include "models/loader.h"

#include <inttypes.h>
#include <math.h>

static int check_width(const lt_keys *k, const char *what, int64_t n)
{
    return n > 0 && n % 16 == 0
               ? LT_OK
               : lt_fail(LT_E_UNSUPPORTED, "%s: %s: %s is %" PRId64 ", must be a multiple of 16", lt_gguf_path(k->g), k->arch, what, n);
}

int lt_latent_read(lt_hparams *h, lt_keys *k)
{
    lt_latent *a = &h->latent;
    const int32_t n_rot = h->rope[LT_ROPE_FULL].n_rot;
    LT_TRY(lt_key_count(k, "attention.kv_lora_rank", false, 0, LT_MAX_HEAD_DIM, &a->n_kv));
    if (!a->n_kv)
        return LT_OK;
    LT_TRY(lt_key_count(k, "attention.q_lora_rank", false, 0, 1 << 17, &a->n_q));
    LT_TRY(lt_key_count(k, lt_keys_have(k, "attention.key_length_mla") ? "attention.key_length_mla" : "attention.key_length", true, 1,
                        LT_MAX_HEAD_DIM, &a->k_dim));
    if (a->n_kv + n_rot > LT_MAX_HEAD_DIM)
        return lt_fail(LT_E_UNSUPPORTED, "%s: %s: keys of %d + %d dimensions, limit %d", lt_gguf_path(k->g), k->arch, a->n_kv, n_rot,
                       LT_MAX_HEAD_DIM);
    LT_TRY(check_width(k, "attention.kv_lora_rank", a->n_kv));
    LT_TRY(check_width(k, "rope.dimension_count", n_rot));
    LT_TRY(check_width(k, "what of a key does not rotate", a->k_dim - n_rot));
    a->scale = 1.0f / sqrtf((float)a->k_dim);
    if (h->scaling != LT_SCALING_YARN || h->yarn_log_multiplier == 0.0f)
        return LT_OK;
    /* The file has a tenth of the multiplier.  What rotation would multiply both sides of a score by, the scale does. */
    const float growth = h->attention_factor * (1.0f + h->yarn_log_multiplier * logf(h->rope_factor));
    a->scale *= growth * growth;
    h->yarn_log_multiplier = 1.0f;
    return LT_OK;
}

void lt_latent_shape(const lt_hparams *h, lt_layer *y)
{
    y->shape.n_head_kv = 1;
    y->shape.k_dim = h->rope[LT_ROPE_FULL].n_rot + h->latent.n_kv;
    y->shape.v_dim = h->latent.n_kv;
    y->attention.latent = true;
    y->attention.scale = h->latent.scale;
}

/* n_head matrices [n_out, n_in]: rows from `first` on of `apart` that the tensor has for each head. */
static int load_heads(lt_loader *l, int32_t layer, const char *part, lt_weight_use use, int64_t n_in, int64_t n_out, int64_t first,
                      int64_t apart, const lt_weight **out)
{
    lt_weight *w = NULL;
    const lt_weight_source s = {
        .use = use, .n_matrices = l->m->layers[layer].shape.n_head, .n_in = n_in, .n_out = n_out, .first = first, .rows_apart = apart};
    LT_TRY(lt_load_source(l, lt_part(layer, part, "weight").text, REQUIRED, s, &w));
    *out = w;
    return LT_OK;
}

static int load_queries(lt_loader *l, int32_t i, lt_layer *y)
{
    const lt_latent *a = &l->m->h.latent;
    const int64_t n_rot = l->m->h.rope[LT_ROPE_FULL].n_rot, rest = a->k_dim - n_rot, n_in = a->n_q ? a->n_q : l->m->h.n_embd;
    const char *part = a->n_q ? "attn_q_b" : "attn_q";
    const lt_weight *no_bias = NULL;
    if (a->n_q) {
        LT_TRY(lt_load_part(l, i, "attn_q_a", l->m->h.n_embd, lt_all_rows(a->n_q), OPTIONAL, &y->q_a, &no_bias));
        LT_TRY(lt_load_named_norm(l, lt_part(i, "attn_q_a_norm", "weight").text, lt_part(i, "attn_q_a_norm", "bias").text, REQUIRED, a->n_q,
                                  &y->q_a_norm));
    }
    LT_TRY(load_heads(l, i, part, LT_USE_MATRIX, n_in, rest, 0, a->k_dim, &y->q));
    return load_heads(l, i, part, LT_USE_MATRIX, n_in, n_rot, rest, a->k_dim, &y->q_rope);
}

/* Files of before April 2025 have k_b and v_b in one, each head's rows of k_b first. */
static int load_absorbed(lt_loader *l, int32_t i, lt_layer *y)
{
    const lt_latent *a = &l->m->h.latent;
    const int64_t rest = a->k_dim - l->m->h.rope[LT_ROPE_FULL].n_rot, n_kv = a->n_kv, v = y->v_head;
    if (!lt_find_part(l, i, "attn_kv_b")) {
        LT_TRY(load_heads(l, i, "attn_k_b", LT_USE_PIECES, rest, n_kv, 0, n_kv, &y->k_b));
        return load_heads(l, i, "attn_v_b", LT_USE_PIECES, n_kv, v, 0, v, &y->v_b);
    }
    LT_TRY(load_heads(l, i, "attn_kv_b", LT_USE_TURNED_PIECES, n_kv, rest, 0, rest + v, &y->k_b));
    return load_heads(l, i, "attn_kv_b", LT_USE_PIECES, n_kv, v, rest, rest + v, &y->v_b);
}

int lt_load_latent(lt_loader *l, int32_t i, lt_layer *y)
{
    const lt_hparams *h = &l->m->h;
    const lt_keys keys = {.g = l->g, .arch = l->m->traits->arch};
    const int64_t n_kv = h->latent.n_kv, n_rot = h->rope[LT_ROPE_FULL].n_rot, n_head = y->shape.n_head;
    const lt_tensor *o = lt_find_part(l, i, "attn_output");
    y->v_head = o ? (int32_t)(o->ne[0] / (uint64_t)n_head) : 16; /* checked below; without it loading fails anyway */
    LT_TRY(check_width(&keys, "a head's part of attn_output", y->v_head));
    LT_TRY(load_queries(l, i, y));
    LT_TRY(lt_load_part(l, i, "attn_kv_a_mqa", h->n_embd, (lt_rows){0, n_kv, n_kv + n_rot}, OPTIONAL, &y->v, &y->v_bias));
    LT_TRY(lt_load_part(l, i, "attn_kv_a_mqa", h->n_embd, (lt_rows){n_kv, n_rot, n_kv + n_rot}, OPTIONAL, &y->k, &y->k_bias));
    LT_TRY(lt_load_named_norm(l, lt_part(i, "attn_kv_a_norm", "weight").text, lt_part(i, "attn_kv_a_norm", "bias").text, REQUIRED, n_kv,
                              &y->attention.v_norm.norm));
    LT_TRY(load_absorbed(l, i, y));
    return lt_load_part(l, i, "attn_output", n_head * y->v_head, lt_all_rows(h->n_embd), OPTIONAL, &y->o, &y->o_bias);
}
