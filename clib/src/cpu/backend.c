/* backend.c - the CPU backend's memory beside the weights: buffers, the KV pool, scratch. */
#include "cpu/states.h"

#include <string.h>

/* Scratch is not zeroed (what is read was written in the same step) and counted. */
void *lt_cpu_scratch(cpu_backend *be, size_t n_items, size_t item_bytes)
{
    void *p = lt_place_alloc(be->place, n_items, item_bytes);
    if (p)
        be->memory.scratch_bytes += (int64_t)(n_items * item_bytes);
    return p;
}

/* ---- buffers and scratch ---- */

static int cpu_buffer(lt_backend *base, lt_buffer **out, int32_t max_rows, int64_t width)
{
    cpu_backend *be = cpu_of(base);
    lt_buffer *b = lt_alloc_zero(1, sizeof *b);
    if (!b)
        return out_of_memory("a buffer", sizeof *b);
    b->next = be->buffers;
    be->buffers = b;
    b->stride = (width + 15) & ~(int64_t)15;
    b->data = lt_cpu_scratch(be, (size_t)max_rows, (size_t)b->stride * sizeof *b->data);
    if (!b->data)
        return out_of_memory("activations", (size_t)max_rows * (size_t)b->stride * sizeof *b->data);
    *out = b;
    return LT_OK;
}

static size_t round_64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static kv_layer layer_of(const lt_kv_shape *shape, int32_t layer)
{
    kv_layer l = {.shape = shape->layers[layer]};
    if (!l.shape.n_head_kv)
        return l;
    l.heads_per_kv = l.shape.n_head / l.shape.n_head_kv;
    l.v_stride = (size_t)lt_v_stride(l.shape.v_dim);
    l.k_page_bytes = round_64(lt_k_codes_bytes(shape->k_type, l.shape.k_dim) + lt_kv_scales_bytes(shape->k_type, l.shape.k_dim));
    l.v_page_bytes = round_64(lt_v_codes_bytes(shape->v_type, l.shape.v_dim) + lt_kv_scales_bytes(shape->v_type, l.shape.v_dim));
    return l;
}

/* At most 1024 layers of 1024 heads of 1024 dimensions: no overflow. */
static int cpu_page_bytes(lt_backend *be, const lt_kv_shape *shape, int64_t *out)
{
    (void)be;
    *out = 0;
    for (int32_t i = 0; i < shape->n_layers; i++) {
        const kv_layer l = layer_of(shape, i);
        *out += (int64_t)(l.k_page_bytes + l.v_page_bytes) * l.shape.n_head_kv;
    }
    return LT_OK;
}

static int layers_create(cpu_backend *be, const lt_kv_shape *shape)
{
    be->layers = lt_alloc_zero((size_t)shape->n_layers, sizeof *be->layers);
    if (!be->layers)
        return out_of_memory("the cache's layers", (size_t)shape->n_layers * sizeof *be->layers);
    size_t first = 0;
    for (int32_t i = 0; i < shape->n_layers; i++) {
        kv_layer *l = &be->layers[i];
        *l = layer_of(shape, i);
        l->first = first;
        first += (l->k_page_bytes + l->v_page_bytes) * (size_t)l->shape.n_head_kv;
        const int32_t heads = l->shape.n_head, k_dim = l->shape.k_dim;
        be->max_heads = heads > be->max_heads ? heads : be->max_heads;
        be->max_k_dim = k_dim > be->max_k_dim ? k_dim : be->max_k_dim;
        be->max_v_stride = l->v_stride > be->max_v_stride ? l->v_stride : be->max_v_stride;
        const size_t sums = (size_t)l->heads_per_kv * (2 + l->v_stride);
        be->max_run_sums = sums > be->max_run_sums ? sums : be->max_run_sums;
    }
    return LT_OK;
}

/* Not zeroed: pages hold what they held until their cells are written, and no kernel lets an unwritten cell count. */
static int cache_create(cpu_backend *be, const lt_kv_shape *shape)
{
    be->kv = *shape;
    be->kv.layers = NULL; /* the caller's */
    LT_TRY(layers_create(be, shape));
    int64_t page_bytes;
    size_t total;
    LT_TRY(cpu_page_bytes(&be->base, shape, &page_bytes));
    if (lt_mul_size((size_t)page_bytes, (size_t)shape->n_pages, &total))
        return lt_fail(LT_E_NOMEM, "a KV cache of %d pages does not fit into memory", shape->n_pages);
    if (total)
        be->kv_data = lt_place_alloc(be->place, (size_t)shape->n_pages, (size_t)page_bytes);
    if (total && !be->kv_data)
        return out_of_memory("the KV cache (a smaller context helps)", total);
    be->memory.kv_bytes = (int64_t)total;
    be->memory.page_bytes = page_bytes;
    return LT_OK;
}

static int ropes_create(cpu_backend *be, const lt_rope *ropes, int32_t n)
{
    be->ropes = lt_alloc_zero((size_t)n, sizeof *be->ropes);
    if (!be->ropes)
        return out_of_memory("rotary embeddings", (size_t)n * sizeof *be->ropes);
    for (int32_t i = 0; i < n; i++) {
        float *frequency = lt_alloc((size_t)ropes[i].n_rot / 2, sizeof *frequency);
        if (!frequency)
            return out_of_memory("rotary frequencies", (size_t)ropes[i].n_rot / 2 * sizeof *frequency);
        memcpy(frequency, ropes[i].frequency, (size_t)ropes[i].n_rot / 2 * sizeof *frequency);
        be->ropes[i] = ropes[i];
        be->ropes[i].frequency = frequency;
        be->n_ropes = i + 1;
        be->max_rot = ropes[i].n_rot > be->max_rot ? ropes[i].n_rot : be->max_rot;
    }
    const size_t rows = (size_t)n * (size_t)be->max_rows, row_bytes = (size_t)be->max_rot * sizeof(float);
    be->rope_tables = lt_cpu_scratch(be, rows, row_bytes);
    return be->rope_tables ? LT_OK : out_of_memory("rope tables", rows * row_bytes);
}

static int worker_create(cpu_backend *be, worker_scratch *s)
{
    const size_t queries = (size_t)(be->max_heads > LT_MAX_QUERIES ? be->max_heads : LT_MAX_QUERIES);
    const size_t k_dim = (size_t)be->max_k_dim, v_stride = be->max_v_stride;
    s->tile = lt_cpu_scratch(be, 1, sizeof *s->tile);
    s->row = lt_cpu_scratch(be, (size_t)be->max_in + 16, sizeof *s->row);
    s->q = lt_cpu_scratch(be, queries * (k_dim + 1), sizeof *s->q);
    s->slope = lt_cpu_scratch(be, queries, sizeof *s->slope);
    s->out = lt_cpu_scratch(be, queries * (v_stride + 1), sizeof *s->out);
    s->state = lt_cpu_scratch(be, queries * 2, sizeof *s->state);
    s->run_out = lt_cpu_scratch(be, queries * (v_stride + 1), sizeof *s->run_out);
    s->run_state = lt_cpu_scratch(be, queries * 2, sizeof *s->run_state);
    s->q16 = lt_cpu_scratch(be, queries * (k_dim + 1), sizeof *s->q16);
    s->q_scale = lt_cpu_scratch(be, queries * (k_dim / LT_Q_GROUP + 1), sizeof *s->q_scale);
    s->position = lt_cpu_scratch(be, queries, sizeof *s->position);
    const bool complete =
        s->tile && s->row && s->q && s->slope && s->out && s->state && s->run_out && s->run_state && s->q16 && s->q_scale && s->position;
    return complete ? LT_OK : lt_fail(LT_E_NOMEM, "no memory for the scratch of %d threads", lt_pool_size(be->pool));
}

static int inputs_create(cpu_backend *be)
{
    for (int kind = 0; kind < LT_X_KINDS; kind++) {
        const size_t row_bytes = (size_t)be->max_x[kind] * LT_X_BLOCK_BYTES;
        if (row_bytes)
            be->x[kind] = lt_cpu_scratch(be, (size_t)be->max_rows, row_bytes);
        if (row_bytes && !be->x[kind])
            return out_of_memory("a step's inputs", (size_t)be->max_rows * row_bytes);
    }
    return LT_OK;
}

static int cpu_ready(lt_backend *base, const lt_kv_shape *shape, const lt_rope *ropes, int32_t n_ropes)
{
    cpu_backend *be = cpu_of(base);
    lt_cpu_slabs_destroy(be);
    for (const panel_arena *a = be->arena; a; a = a->next)
        lt_place_trim(be->place, a->bytes, a->used);
    LT_TRY(cache_create(be, shape));
    LT_TRY(lt_cpu_states_create(be, shape));
    LT_TRY(ropes_create(be, ropes, n_ropes));
    LT_TRY(inputs_create(be));
    const size_t rows = (size_t)be->max_rows;
    be->groups = lt_cpu_scratch(be, rows, sizeof *be->groups);
    be->clusters = lt_cpu_scratch(be, rows, sizeof *be->clusters);
    be->max_runs = lt_cpu_runs(shape->max_pages);
    const size_t lanes = (size_t)(LT_ITEMS_APART * lt_pool_size(be->pool));
    be->run_sums = lt_cpu_scratch(be, lanes * (size_t)be->max_runs, (be->max_run_sums + 1) * sizeof *be->run_sums);
    be->scratch = lt_alloc_zero((size_t)lt_pool_size(be->pool), sizeof *be->scratch);
    if (!be->groups || !be->clusters || !be->run_sums || !be->scratch)
        return out_of_memory("attention's sums", lanes * (size_t)be->max_runs * (be->max_run_sums + 1) * sizeof *be->run_sums);
    if (shape->n_experts_used)
        LT_TRY(lt_cpu_pairs_create(be, shape->n_experts_used));
    for (int32_t i = 0; i < lt_pool_size(be->pool); i++)
        LT_TRY(worker_create(be, &be->scratch[i]));
    return LT_OK;
}

static const float *cpu_read(lt_backend *be, lt_buffer *b, int32_t row)
{
    (void)be;
    return b->data + (int64_t)row * b->stride;
}

static lt_memory cpu_memory(const lt_backend *be)
{
    return ((const cpu_backend *)be)->memory;
}

static void worker_destroy(worker_scratch *s)
{
    void *parts[] = {s->tile, s->row, s->q, s->slope, s->out, s->state, s->run_out, s->run_state, s->q16, s->q_scale, s->position};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lt_free(parts[i]);
}

static void cpu_destroy(lt_backend *base)
{
    cpu_backend *be = cpu_of(base);
    lt_cpu_slabs_destroy(be);
    for (lt_weight *w = be->weights, *next; w; w = next) {
        next = w->next;
        lt_free(w->vector);
        lt_free(w);
    }
    for (panel_arena *a = be->arena, *next; a; a = next) {
        next = a->next;
        lt_free(a->bytes);
        lt_free(a);
    }
    for (lt_buffer *b = be->buffers, *next; b; b = next) {
        next = b->next;
        lt_free(b->data);
        lt_free(b);
    }
    for (int32_t i = 0; be->scratch && i < lt_pool_size(be->pool); i++)
        worker_destroy(&be->scratch[i]);
    lt_cpu_pairs_destroy(&be->pairs);
    for (int32_t i = 0; i < be->n_ropes; i++)
        lt_free((void *)(uintptr_t)be->ropes[i].frequency);
    void *parts[] = {be->scratch,     be->run_sums, be->clusters, be->groups,  be->x[LT_X_Q8], be->x[LT_X_F32], be->x[LT_X_BF16],
                     be->rope_tables, be->ropes,    be->layers,   be->kv_data, be->states,     be->state_at,    be};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lt_free(parts[i]);
}

int lt_cpu_backend(lt_backend **out, lt_pool *pool, lt_place *place, int32_t max_rows)
{
    static const lt_ops ops = {
        .destroy = cpu_destroy,
        .weight = lt_cpu_weight,
        .vector = lt_cpu_vector,
        .buffer = cpu_buffer,
        .page_bytes = cpu_page_bytes,
        .ready = cpu_ready,
        .copy_page = lt_cpu_copy_page,
        .move = lt_cpu_move,
        .clear_state = lt_cpu_clear_state,
        .copy_state = lt_cpu_copy_state,
        .read_page = lt_cpu_read_page,
        .write_page = lt_cpu_write_page,
        .begin = lt_cpu_begin,
        .embed = lt_cpu_embed,
        .matmul = lt_cpu_matmul,
        .attend = lt_cpu_attend,
        .conv = lt_cpu_conv,
        .scan = lt_cpu_scan,
        .delta = lt_cpu_delta,
        .gate = lt_cpu_gate,
        .experts = lt_cpu_experts,
        .read = cpu_read,
        .memory = cpu_memory,
    };
    cpu_backend *be = lt_alloc_zero(1, sizeof *be);
    if (!be)
        return out_of_memory("the CPU backend", sizeof *be);
    be->base.ops = &ops;
    be->k = lt_kernels_get();
    be->pool = pool;
    be->place = place;
    be->max_rows = max_rows;
    *out = &be->base;
    return LT_OK;
}
