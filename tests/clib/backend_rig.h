/* backend_rig.h - a CPU backend with weights of its own making, for tests of single operations. */
#ifndef BACKEND_RIG_H
#define BACKEND_RIG_H

#include <math.h>
#include <string.h>

#include "check.h"
#include "cpu/internal.h"
#include "gguf/reader.h"
#include "kernel_levels.h"
#include "quant/quant.h"

enum { MAX_STACK = 12 * 96 * 288 };

typedef struct { /* matrices as in a file, and the values that they stand for */
    int64_t n_in, n_out;
    int32_t type;
    _Alignas(64) uint8_t bytes[MAX_STACK * 4];
    float w[MAX_STACK];
} stack;

static inline void fill(float *x, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = ((float)draw() / 2147483648.0f - 0.5f) * scale;
}

static inline void fill_stack(stack *s, int32_t type, int32_t n_matrices, int64_t n_in, int64_t n_out)
{
    const int64_t n = n_matrices * n_in * n_out;
    *s = (stack){.n_in = n_in, .n_out = n_out, .type = type};
    if (type == LT_F32) {
        fill((float *)(void *)s->bytes, n, 4.0f / sqrtf((float)n_in));
    } else { /* any bytes are codes; scales of about 2^-10 and 2^-5 */
        const size_t block = (size_t)lt_quant_find(type)->block_bytes;
        for (size_t i = 0; i < (size_t)(n / 32) * block; i++)
            s->bytes[i] = (uint8_t)draw();
        for (size_t i = 0; i < (size_t)(n / 32) * block; i += block)
            if (type == LT_Q8_0)
                s->bytes[i + 1] = 0x10 | (s->bytes[i + 1] & 3);
            else
                s->bytes[i] = 122;
    }
    lt_quant_find(type)->dequantize(s->bytes, s->w, n);
}

typedef struct {
    lt_pool *pool;
    lt_place place;
    lt_backend *be;
    int32_t max_rows, token[64];
    lt_span span;
    lt_batch batch;
} rig;

static inline void rig_create(rig *r, int32_t n_threads, int32_t max_rows, const lt_kernels *k)
{
    *r = (rig){.max_rows = max_rows};
    CHECK(lt_pool_create(&r->pool, n_threads) == LT_OK && lt_cpu_backend(&r->be, r->pool, &r->place, max_rows) == LT_OK, "%s", lt_last_error());
    cpu_of(r->be)->k = k;
}

static inline lt_weight *rig_matrices(rig *r, const stack *s, int32_t n, lt_weight_use use)
{
    static const lt_gguf file = {.load = LT_LOAD_READ}; /* not mapped: nothing to let go of */
    const lt_quant_traits *q = lt_quant_find(s->type);
    const uint64_t n_values = (uint64_t)(s->n_in * s->n_out * n);
    const lt_tensor t = {.name = "matrices", .n_bytes = n_values / (uint64_t)q->block_values * (uint64_t)q->block_bytes, .data = s->bytes, .type = s->type};
    const lt_weight_source source = {.tensor = &t, .use = use, .n_matrices = n, .n_in = s->n_in, .n_out = s->n_out, .rows_apart = s->n_out};
    lt_weight *w = NULL;
    CHECK(r->be->ops->weight(r->be, &w, &file, &source) == LT_OK, "%s", lt_last_error());
    return w;
}

static inline lt_weight *rig_vector(rig *r, const float *v, int32_t n)
{
    lt_weight *w = NULL;
    CHECK(r->be->ops->vector(r->be, &w, v, n) == LT_OK, "%s", lt_last_error());
    return w;
}

static inline lt_buffer *rig_buffer(rig *r, int64_t width)
{
    lt_buffer *b = NULL;
    CHECK(r->be->ops->buffer(r->be, &b, r->max_rows, width) == LT_OK, "%s", lt_last_error());
    return b;
}

static inline void rig_ready(rig *r, int32_t n_experts_used)
{
    static const float frequency = 1.0f;
    const lt_layer_shape layer = {.n_head = 1, .n_head_kv = 1, .k_dim = 16, .v_dim = 16};
    const lt_kv_shape shape = {
        .layers = &layer, .n_layers = 1, .page_tokens = 64, .n_pages = 1, .max_pages = 1, .n_experts_used = n_experts_used};
    const lt_rope rope = {.n_rot = 2, .magnitude = 1, .frequency = &frequency};
    CHECK(r->be->ops->ready(r->be, &shape, &rope, 1) == LT_OK, "%s", lt_last_error());
}

/* A step of n rows. */
static inline void rig_begin(rig *r, int32_t n)
{
    r->span = (lt_span){.n_rows = n};
    r->batch = (lt_batch){
        .n_rows = n, .n_spans = 1, .n_threads = lt_pool_size(r->pool), .token = r->token, .position = r->token, .spans = &r->span};
    r->be->ops->begin(r->be, &r->batch);
}

static inline void rig_destroy(rig *r)
{
    lt_place_forget(&r->place);
    r->be->ops->destroy(r->be);
    lt_pool_destroy(r->pool);
}

#endif
