/* decoder.c - the forward pass, top to bottom.  What differs between architectures is in the traits and the weights. */
#include "models/model.h"

#include <math.h>

#include "core/memory.h"
#include "models/rope.h"

enum { ROPE_FULL = 0, ROPE_WINDOW = 1 };

static bool sees_window(const lt_model *m, int32_t layer)
{
    return m->traits->window_period && (layer + 1) % m->traits->window_period != 0;
}

static int32_t rope_of(const lt_model *m, int32_t layer)
{
    return sees_window(m, layer) ? ROPE_WINDOW : ROPE_FULL;
}

/* The file's per-frequency divisors, when it has them: float32 [n_rot/2]. */
static int rope_factors(const lt_model *m, const lt_gguf *g, uint8_t *buffer, const float **out)
{
    const lt_tensor *t = lt_gguf_find_tensor(g, "rope_freqs.weight");
    const uint8_t *bytes;
    *out = NULL;
    if (!t)
        return LT_OK;
    if (t->type != 0 || t->ne[0] != (uint64_t)m->h.n_rot / 2 || t->n_dims != 1)
        return lt_fail(LT_E_FORMAT, "%s: tensor rope_freqs.weight must be F32 [%d]", lt_gguf_path(g), m->h.n_rot / 2);
    const int error = lt_gguf_read(g, t, 0, t->n_bytes, buffer, &bytes);
    if (error)
        return lt_gguf_fail_read(g, t, error);
    *out = (const float *)(const void *)bytes;
    for (int32_t i = 0; i < m->h.n_rot / 2; i++)
        if (!((*out)[i] > 1e-6f && (*out)[i] < 1e6f))
            return lt_fail(LT_E_FORMAT, "%s: tensor rope_freqs.weight: element %d is %g", lt_gguf_path(g), i, (double)(*out)[i]);
    return LT_OK;
}

lt_kv_shape lt_model_kv_shape(const lt_model *m, int32_t k_type, int32_t v_type)
{
    const lt_hparams *h = &m->h;
    return (lt_kv_shape){.n_layers = h->n_layer,
                         .n_head = h->n_head,
                         .n_head_kv = h->n_head_kv,
                         .k_dim = h->k_dim,
                         .v_dim = h->v_dim,
                         .k_type = k_type,
                         .v_type = v_type};
}

int lt_model_ready(lt_model *m, const lt_gguf *g, const lt_kv_shape *shape)
{
    const lt_hparams *h = &m->h;
    const float *factors;
    _Alignas(LT_READ_ALIGN) uint8_t buffer[LT_MAX_HEAD_DIM / 2 * sizeof(float) + LT_READ_SLACK];
    float frequency[2][LT_MAX_HEAD_DIM / 2];
    lt_rope ropes[2];
    LT_TRY(rope_factors(m, g, buffer, &factors));
    for (int i = 0; i < 2; i++)
        ropes[i] = (lt_rope){
            .n_rot = h->n_rot,
            .adjacent = m->traits->rope_adjacent,
            .magnitude = lt_rope_frequencies(h, i == ROPE_WINDOW, factors, frequency[i]),
            .frequency = frequency[i],
        };
    return m->be->ops->ready(m->be, shape, ropes, m->traits->window_period ? 2 : 1);
}

void lt_model_forward(lt_model *m, const lt_batch *batch)
{
    const lt_ops *op = m->be->ops;
    const float eps = m->h.eps;
    op->begin(m->be, batch);
    op->embed(m->be, m->x, m->embedding, m->traits->scale_embedding ? sqrtf((float)m->h.n_embd) : 1.0f);
    for (int32_t i = 0; i < m->h.n_layer; i++) {
        const lt_layer *y = &m->layers[i], *before = i ? y - 1 : NULL;
        op->matmul(m->be,
                   &(lt_input){.x = m->x,
                               .add = before ? m->branch : NULL,
                               .add_norm = before ? before->post_ffn_norm : NULL,
                               .norm = y->attn_norm,
                               .eps = eps},
                   (lt_product[]){{y->q, y->q_bias, m->q}, {y->k, y->k_bias, m->k}, {y->v, y->v_bias, m->v}}, 3);
        op->attend(m->be,
                   &(lt_attention){.layer = i,
                                   .n_head = m->h.n_head,
                                   .window = sees_window(m, i) ? m->h.window : 0,
                                   .rope = rope_of(m, i),
                                   .scale = m->h.attention_scale,
                                   .eps = eps,
                                   .q_norm = y->q_norm,
                                   .k_norm = y->k_norm},
                   m->q, m->k, m->v, m->attended);
        op->matmul(m->be, &(lt_input){.x = m->attended}, &(lt_product){y->o, y->o_bias, m->branch}, 1);
        op->matmul(m->be, &(lt_input){.x = m->x, .add = m->branch, .add_norm = y->post_attn_norm, .norm = y->ffn_norm, .eps = eps},
                   (lt_product[]){{y->gate, y->gate_bias, m->gate}, {y->up, y->up_bias, m->up}}, 2);
        op->matmul(m->be, &(lt_input){.x = m->gate, .up = m->up, .gate = m->traits->gelu ? LT_GELU : LT_SILU},
                   &(lt_product){y->down, y->down_bias, m->branch}, 1);
    }
}

void lt_model_move(lt_model *m, lt_move move)
{
    int32_t rope[LT_MAX_LAYERS];
    for (int32_t i = 0; i < m->h.n_layer; i++)
        rope[i] = rope_of(m, i);
    move.rope = rope;
    m->be->ops->move(m->be, &move);
}

void lt_model_logits(lt_model *m, const int32_t *rows, int32_t n_rows)
{
    const lt_layer *last = &m->layers[m->h.n_layer - 1];
    m->be->ops->matmul(m->be,
                       &(lt_input){.x = m->x,
                                   .add = m->branch,
                                   .add_norm = last->post_ffn_norm,
                                   .norm = m->output_norm,
                                   .eps = m->h.eps,
                                   .rows = rows,
                                   .n_rows = n_rows},
                       &(lt_product){m->output, NULL, m->logits}, 1);
}
