/* decoder.c - the forward pass, top to bottom.  What differs between architectures is in the layers that the file has filled. */
#include "models/model.h"

#include "core/memory.h"
#include "models/rope.h"

/* The file's per-frequency divisors, when it has them: float32 [n_rot/2]. */
static int rope_factors(const lt_model *m, const lt_gguf *g, const char *name, uint8_t *buffer, const float **out)
{
    const lt_tensor *t = lt_gguf_find_tensor(g, name);
    const int32_t n = m->h.rope[LT_ROPE_FULL].n_rot / 2;
    const uint8_t *bytes;
    *out = NULL;
    if (!t)
        return LT_OK;
    if (t->type != 0 || t->ne[0] != (uint64_t)n || t->n_dims != 1)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s must be F32 [%d]", lt_gguf_path(g), name, n);
    const int error = lt_gguf_read(g, t, 0, t->n_bytes, buffer, &bytes);
    if (error)
        return lt_gguf_fail_read(g, t, error);
    *out = (const float *)(const void *)bytes;
    for (int32_t i = 0; i < n; i++)
        if (!((*out)[i] > 1e-6f && (*out)[i] <= 1e30f)) /* beyond 1e29: a pair that does not turn */
            return lt_fail(LT_E_FORMAT, "%s: tensor %s: element %d is %g", lt_gguf_path(g), name, i, (double)(*out)[i]);
    return LT_OK;
}

lt_kv_shape lt_model_kv_shape(const lt_model *m, lt_layer_shape *shapes, int32_t k_type, int32_t v_type)
{
    for (int32_t i = 0; i < m->h.n_layer; i++)
        shapes[i] = m->layers[i].shape;
    return (lt_kv_shape){
        .layers = shapes, .n_layers = m->h.n_layer, .k_type = k_type, .v_type = v_type, .n_experts_used = m->h.router.n_used};
}

int lt_model_ready(lt_model *m, const lt_gguf *g, const lt_kv_shape *shape, int32_t n_ctx)
{
    const lt_hparams *h = &m->h;
    const float *factors;
    const bool beyond = (float)n_ctx > h->original_ctx;
    _Alignas(LT_READ_ALIGN) uint8_t buffer[LT_MAX_HEAD_DIM / 2 * sizeof(float) + LT_READ_SLACK];
    float frequency[LT_ROPE_KINDS][LT_MAX_HEAD_DIM / 2];
    lt_rope ropes[LT_ROPE_KINDS];
    LT_TRY(rope_factors(m, g,
                        h->scaling != LT_SCALING_LONG ? "rope_freqs.weight"
                        : beyond                      ? "rope_factors_long.weight"
                                                      : "rope_factors_short.weight",
                        buffer, &factors));
    for (int i = 0; i < LT_ROPE_KINDS; i++)
        ropes[i] = (lt_rope){
            .n_rot = h->rope[i].n_rot,
            .adjacent = m->traits->is & LT_ROPE_ADJACENT,
            .magnitude = lt_rope_frequencies(h, &h->rope[i], factors, frequency[i]),
            .frequency = frequency[i],
        };
    const int32_t n = m->traits->is & LT_ROPE_NONE ? 0 : m->has_windows && m->traits->is & LT_WINDOW_ROPE ? 2 : 1;
    return m->be->ops->ready(m->be, shape, ropes, n);
}

static lt_product product(const lt_weight *w, const lt_weight *bias, lt_buffer *y)
{
    return (lt_product){.w = w, .bias = bias, .y = y};
}

/* With a latent: q, k, v as attention takes them, and what the heads make of the values. */
static void attend_latent(lt_model *m, const lt_layer *y, const lt_input *in)
{
    const lt_ops *op = m->be->ops;
    const int64_t k_dim = y->shape.k_dim, n_rot = k_dim - y->shape.v_dim;
    const lt_product k = product(y->k, y->k_bias, m->k), v = product(y->v, y->v_bias, m->v);
    const lt_product q = {.w = y->q, .y = m->heads, .y_apart = m->h.latent.k_dim - n_rot};
    const lt_product q_rope = {.w = y->q_rope, .y = m->q, .y_apart = k_dim};
    if (y->q_a) {
        op->matmul(m->be, in, (lt_product[]){product(y->q_a, NULL, m->q_latent), k, v}, 3);
        op->matmul(m->be, &(lt_input){.x = m->q_latent, .norm = y->q_a_norm}, (lt_product[]){q, q_rope}, 2);
    } else {
        op->matmul(m->be, in, (lt_product[]){q, q_rope, k, v}, 4);
    }
    op->matmul(m->be, &(lt_input){.x = m->heads}, &(lt_product){.w = y->k_b, .y = m->q, .y_first = n_rot, .y_apart = k_dim}, 1);
    op->attend(m->be, &y->attention, m->q, m->k, m->v, m->attended);
    op->matmul(m->be, &(lt_input){.x = m->attended}, &(lt_product){.w = y->v_b, .y = m->heads, .y_apart = y->v_head}, 1);
    op->matmul(m->be, &(lt_input){.x = m->heads}, (lt_product[]){product(y->o, y->o_bias, m->branch[0])}, 1);
}

static void attend(lt_model *m, const lt_layer *y, const lt_input *in)
{
    if (y->k_b) {
        attend_latent(m, y, in);
        return;
    }
    const lt_ops *op = m->be->ops;
    const lt_product out[] = {product(y->q, y->q_bias, m->q), product(y->k, y->k_bias, m->k), product(y->v, y->v_bias, m->v),
                              product(y->attn_gate, NULL, m->attn_gate)};
    op->matmul(m->be, in, out, y->attn_gate ? 4 : 3);
    op->attend(m->be, &y->attention, m->q, m->k, m->v, m->attended);
    const lt_input given =
        y->attn_gate ? (lt_input){.x = m->attn_gate, .act = LT_SIGMOID, .up = m->attended} : (lt_input){.x = m->attended};
    op->matmul(m->be, &given, (lt_product[]){product(y->o, y->o_bias, m->branch[0])}, 1);
}

/* An MLP; or a mixture of experts and, beside it, the expert that every row goes to. */
static void feed_forward(lt_model *m, const lt_layer *y, const lt_input *in)
{
    const lt_ops *op = m->be->ops;
    lt_product out[4];
    int32_t n = 0;
    if (y->router)
        out[n++] = product(y->router, y->router_bias, m->routes);
    if (y->shared_gate)
        out[n++] = product(y->shared_gate, NULL, m->shared_gate);
    if (y->gate)
        out[n++] = product(y->gate, y->gate_bias, m->gate);
    if (y->up)
        out[n++] = product(y->up, y->up_bias, m->up);
    op->matmul(m->be, in, out, n);
    if (y->router) {
        lt_experts experts = y->experts;
        experts.in = (lt_input){.x = in->x, .norm = in->norm};
        experts.logits = m->routes;
        experts.y = m->branch[1];
        op->experts(m->be, &experts);
    }
    if (!y->up)
        return;
    const lt_input mid = {.x = y->gate ? m->gate : m->up,
                          .act = m->traits->act ? m->traits->act : LT_SILU,
                          .up = y->gate ? m->up : NULL,
                          .row_gate = y->shared_gate ? m->shared_gate : NULL};
    op->matmul(m->be, &mid, (lt_product[]){product(y->down, y->down_bias, m->branch[y->router ? 2 : 1])}, 1);
}

/* What is left to be added to x grows by y. */
static void leave(const lt_model *m, lt_input *rest, lt_buffer *y, lt_norm norm)
{
    int32_t n = 0;
    while (rest->add[n].y)
        n++;
    rest->add[n] = (lt_addend){y, norm, m->h.residual_scale};
}

/* Attention, a recurrent layer or both take what is left of the layer before, and leave what they give. */
static lt_input mix(lt_model *m, const lt_layer *y, lt_input in)
{
    if (!y->q && !y->mixer)
        return in;
    in.norm = y->attn_norm;
    if (y->q) {
        attend(m, y, &in);
        in = (lt_input){.x = m->x, .norm = y->attn_norm};
    }
    if (y->mixer)
        lt_mixer_forward(m->be, y->mixer, &in, m->branch[y->q ? 2 : 0]);
    lt_input rest = {.x = m->x};
    leave(m, &rest, m->branch[0], y->post_attn_norm);
    if (y->q && y->mixer)
        leave(m, &rest, m->branch[2], y->post_attn_norm);
    return rest;
}

static lt_input feed(lt_model *m, const lt_layer *y, lt_input in)
{
    lt_input rest = {.x = m->x};
    if (!y->down && !y->router)
        return in;
    if (y->parallel) {
        rest = in;
        in = (lt_input){.x = m->x};
    }
    in.norm = y->ffn_norm;
    feed_forward(m, y, &in);
    leave(m, &rest, m->branch[1], y->post_ffn_norm);
    if (y->router && y->up)
        leave(m, &rest, m->branch[2], (lt_norm){.kind = LT_NORM_NONE});
    return rest;
}

void lt_model_forward(lt_model *m, const lt_batch *batch)
{
    const lt_ops *op = m->be->ops;
    lt_input rest = {.x = m->x};
    op->begin(m->be, batch);
    op->embed(m->be, m->x, &m->embedding);
    for (const lt_layer *y = m->layers; y < m->layers + m->h.n_layer; y++) {
        rest = feed(m, y, mix(m, y, rest));
        rest.x_scale = y->out_scale;
    }
    m->rest = rest;
}

void lt_model_move(lt_model *m, lt_move move)
{
    int32_t rope[LT_MAX_LAYERS];
    for (int32_t i = 0; i < m->h.n_layer; i++)
        rope[i] = m->layers[i].attention.rope;
    move.rope = rope;
    m->be->ops->move(m->be, &move);
}

void lt_model_logits(lt_model *m, const int32_t *rows, int32_t n_rows)
{
    lt_input in = m->rest;
    in.norm = m->output_norm;
    in.scale = m->h.logit_scale != 1.0f ? m->h.logit_scale : 0.0f;
    in.rows = rows;
    in.n_rows = n_rows;
    m->be->ops->matmul(m->be, &in, &(lt_product){.w = m->output, .bias = m->output_bias, .y = m->logits, .cap = m->h.logit_cap}, 1);
}
