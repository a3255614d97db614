/* layers.c - what each layer is: its shape, what its queries see, how they rotate. */
#include "models/model.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

typedef struct { /* numbers of every layer as the file has them */
    int32_t n_head[LT_MAX_LAYERS], n_head_kv[LT_MAX_LAYERS], n_ff[LT_MAX_LAYERS], windowed[LT_MAX_LAYERS], recurrent[LT_MAX_LAYERS];
    int32_t window;
    int32_t k_dim[LT_ROPE_KINDS], v_dim[LT_ROPE_KINDS]; /* of full and of window layers */
} layer_numbers;

static int read_dims(lt_keys *k, const lt_hparams *h, layer_numbers *n)
{
    int32_t heads = 0;
    for (int32_t i = 0; i < h->n_layer && !heads; i++)
        heads = n->n_head[i];
    if (!heads) /* no attention at all */
        return LT_OK;
    n->k_dim[0] = h->n_embd / heads;
    if (h->n_embd % heads && !lt_keys_have(k, "attention.key_length"))
        return lt_fail(LT_E_FORMAT, "%s: %s.embedding_length %d is not a multiple of head_count %d and key_length is absent",
                       lt_gguf_path(k->g), k->arch, h->n_embd, heads);
    LT_TRY(lt_key_count(k, "attention.key_length", false, 1, LT_MAX_HEAD_DIM, &n->k_dim[0]));
    n->v_dim[0] = n->k_dim[0];
    LT_TRY(lt_key_count(k, "attention.value_length", false, 1, LT_MAX_HEAD_DIM, &n->v_dim[0]));
    n->k_dim[1] = n->k_dim[0];
    n->v_dim[1] = n->v_dim[0];
    LT_TRY(lt_key_count(k, "attention.key_length_swa", false, 1, LT_MAX_HEAD_DIM, &n->k_dim[1]));
    return lt_key_count(k, "attention.value_length_swa", false, 1, LT_MAX_HEAD_DIM, &n->v_dim[1]);
}

static int read_windows(lt_keys *k, const lt_hparams *h, const lt_traits *t, layer_numbers *n)
{
    int32_t period = t->window_period;
    if (!period)
        return LT_OK;
    n->window = t->window;
    LT_TRY(lt_key_count(k, "attention.sliding_window", !t->window && !(t->is & LT_WINDOW_OPTIONAL), t->is & LT_WINDOW_OPTIONAL ? 0 : 1,
                        INT32_MAX, &n->window));
    if (!n->window)
        return LT_OK;
    uint32_t one;
    if (lt_keys_have(k, "attention.sliding_window_pattern") && lt_gguf_get_u32(k->g, k->key, true, &one) < 0)
        return lt_key_flags(k, "attention.sliding_window_pattern", n->windowed, h->n_layer);
    LT_TRY(lt_key_count(k, "attention.sliding_window_pattern", false, 1, LT_MAX_LAYERS, &period));
    for (int32_t i = 0; i < h->n_layer; i++)
        n->windowed[i] = (i + 1) % period != 0;
    return LT_OK;
}

/* Layers without heads; some files say so by flags or by how many layers there are from one with attention to the next. */
static int read_recurrent(lt_keys *k, const lt_hparams *h, const lt_traits *t, layer_numbers *n)
{
    int32_t period = 0;
    if (t->mixer == LT_MIX_NONE)
        return LT_OK;
    if (lt_keys_have(k, "attention.recurrent_layers"))
        LT_TRY(lt_key_flags(k, "attention.recurrent_layers", n->recurrent, h->n_layer));
    else
        LT_TRY(lt_key_count(k, "full_attention_interval", false, 1, LT_MAX_LAYERS, &period));
    for (int32_t i = 0; i < h->n_layer; i++) {
        if (n->recurrent[i] || (period && (i + 1) % period))
            n->n_head_kv[i] = 0;
        if (!n->n_head_kv[i])
            n->n_head[i] = 0;
        n->recurrent[i] = t->mixes & LT_MIX_BESIDE || (!n->n_head[i] && !(t->mixes & LT_MIX_OR_MLP && n->n_ff[i]));
    }
    return LT_OK;
}

static int read_numbers(lt_keys *k, const lt_hparams *h, const lt_traits *t, layer_numbers *n)
{
    LT_TRY(lt_key_counts(k, "attention.head_count", true, 0, 1024, n->n_head, h->n_layer));
    memcpy(n->n_head_kv, n->n_head, sizeof n->n_head);
    LT_TRY(lt_key_counts(k, "attention.head_count_kv", false, 0, 1024, n->n_head_kv, h->n_layer));
    LT_TRY(lt_key_counts(k, "feed_forward_length", true, 0, 1 << 20, n->n_ff, h->n_layer));
    LT_TRY(read_recurrent(k, h, t, n));
    LT_TRY(read_dims(k, h, n));
    return read_windows(k, h, t, n);
}

/* Which rotation a layer has, LT_ROPE_FULL or LT_ROPE_WINDOW; -1: none. */
static int32_t rope_of(const lt_model *m, int32_t layer, bool windowed)
{
    const uint32_t is = m->traits->is;
    if (is & LT_ROPE_NONE || m->h.no_rope || (is & LT_ROPE_3_OF_4 && (layer + 1) % 4 == 0) ||
        (is & LT_ROPE_WINDOWS && m->has_windows && !windowed))
        return -1;
    return windowed && is & LT_WINDOW_ROPE ? LT_ROPE_WINDOW : LT_ROPE_FULL;
}

/* Gemma 2 27B and Gemma 3 27B divide by the root of another number (query_pre_attn_scalar), which the file does not carry. */
static float default_scale(const lt_model *m, const lt_layer_shape *s)
{
    const bool is_27b =
        (m->h.n_layer == 46 && !strcmp(m->traits->arch, "gemma2")) || (m->h.n_layer == 62 && !strcmp(m->traits->arch, "gemma3"));
    if (m->traits->is & LT_UNSCALED)
        return 1.0f;
    return 1.0f / sqrtf(is_27b ? (float)m->h.n_embd / (float)s->n_head : (float)s->k_dim);
}

static int check_heads(const lt_keys *k, const lt_model *m, int32_t layer)
{
    const lt_layer *y = &m->layers[layer];
    const lt_layer_shape *s = &y->shape;
    if (m->traits->mixer && !s->n_head)
        return LT_OK;
    if (!s->n_head || !s->n_head_kv || s->n_head % s->n_head_kv)
        return lt_fail(LT_E_FORMAT, "%s: layer %d: %s.attention.head_count %d is not a multiple of head_count_kv %d", lt_gguf_path(k->g),
                       layer, k->arch, s->n_head, s->n_head_kv);
    if (y->attention.rope >= 0 && m->h.rope[y->attention.rope].n_rot > s->k_dim)
        return lt_fail(LT_E_FORMAT, "%s: layer %d: %s.rope.dimension_count is %d, a head has %d", lt_gguf_path(k->g), layer, k->arch,
                       m->h.rope[y->attention.rope].n_rot, s->k_dim);
    if (!y->n_ff && !m->traits->mixer)
        return lt_fail(LT_E_FORMAT, "%s: layer %d: %s.feed_forward_length is 0", lt_gguf_path(k->g), layer, k->arch);
    return LT_OK;
}

static int fill_layer(lt_keys *k, lt_model *m, const layer_numbers *n, int32_t i)
{
    lt_layer *y = &m->layers[i];
    const lt_hparams *h = &m->h;
    const int32_t windowed = n->windowed[i];
    y->shape =
        (lt_layer_shape){.n_head = n->n_head[i], .n_head_kv = n->n_head_kv[i], .k_dim = n->k_dim[windowed], .v_dim = n->v_dim[windowed]};
    y->is_recurrent = n->recurrent[i];
    if (y->is_recurrent)
        y->shape.n_state = lt_mix_state(m->traits->mixer, &h->mix);
    y->n_ff = m->traits->is & LT_HALF_FF ? n->n_ff[i] / 2 : n->n_ff[i];
    y->attention = (lt_attention){.layer = i,
                                  .window = windowed ? n->window : 0,
                                  .chunked = m->traits->is & LT_WINDOW_CHUNKS,
                                  .rope = rope_of(m, i, windowed),
                                  .scale = default_scale(m, &y->shape),
                                  .heat = m->traits->is & LT_LLAMA4_HEAT && rope_of(m, i, windowed) >= 0 ? 0.0f : h->heat,
                                  .heat_floor = h->heat_floor,
                                  .heat_offset = h->heat_offset,
                                  .clamp = h->attention_clamp,
                                  .cap = h->attention_cap};
    if (h->latent.n_kv)
        lt_latent_shape(h, y);
    LT_TRY(lt_key_number(k, "attention.scale", false, 1e-6, 1e3, &y->attention.scale));
    return check_heads(k, m, i);
}

/* Rotations are of whole heads unless the file says otherwise. */
static void fill_rotations(lt_model *m, const layer_numbers *n)
{
    for (int i = 0; i < LT_ROPE_KINDS; i++)
        if (!m->h.rope[i].n_rot)
            m->h.rope[i].n_rot = n->k_dim[i] & ~1;
}

int lt_layers_read(lt_model *m, const lt_gguf *g)
{
    lt_keys k = {.g = g, .arch = m->traits->arch};
    layer_numbers *n = lt_alloc_zero(1, sizeof *n);
    if (!n)
        return lt_fail(LT_E_NOMEM, "no memory for the numbers of layers");
    int rc = read_numbers(&k, &m->h, m->traits, n);
    if (rc == LT_OK)
        fill_rotations(m, n);
    for (int32_t i = 0; rc == LT_OK && i < m->h.n_layer; i++)
        m->has_windows |= n->windowed[i] != 0;
    for (int32_t i = 0; rc == LT_OK && i < m->h.n_layer; i++)
        rc = fill_layer(&k, m, n, i);
    lt_free(n);
    return rc;
}
