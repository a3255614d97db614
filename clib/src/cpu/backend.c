/* backend.c - the CPU backend's memory: weights as panels, buffers, the KV pool, scratch; and the embedding lookup. */
#include "cpu/internal.h"

#include <string.h>

#include "quant/quant.h"

enum { ARENA_BYTES = 32 << 20, SLAB_BYTES = 256 << 10, ITEMS_PER_THREAD = 4 };

static int out_of_memory(const char *what, size_t bytes)
{
    return lt_fail(LT_E_NOMEM, "no memory for %s: %zu bytes", what, bytes);
}

/* Scratch is not zeroed (what is read was written in the same step) and counted. */
static void *scratch_alloc(cpu_backend *be, size_t n_items, size_t item_bytes)
{
    void *p = lt_place_alloc(be->place, n_items, item_bytes);
    if (p)
        be->memory.scratch_bytes += (int64_t)(n_items * item_bytes);
    return p;
}

/* ---- weights ---- */

/* Room for so many bytes of the file for each thread, unless it is mapped. */
static int slabs_create(cpu_backend *be, const lt_tensor *t, size_t bytes)
{
    if (t->data || bytes + LT_READ_SLACK <= be->slab_bytes)
        return LT_OK;
    size_t total;
    lt_free(be->slabs);
    be->slab_bytes = (bytes + LT_READ_SLACK + LT_READ_ALIGN - 1) / LT_READ_ALIGN * LT_READ_ALIGN;
    be->slabs = lt_alloc_pages((size_t)lt_pool_size(be->pool), be->slab_bytes, &total);
    if (be->slabs)
        return LT_OK;
    const size_t wanted = be->slab_bytes;
    be->slab_bytes = 0;
    return out_of_memory("reading the file", wanted);
}

static void slabs_destroy(cpu_backend *be)
{
    lt_free(be->slabs);
    be->slabs = NULL;
    be->slab_bytes = 0;
}

typedef struct {
    cpu_backend *be;
    const lt_gguf *file;
    const lt_tensor *t;
    lt_weight *w;
    size_t row_bytes;
    int32_t panels_per_item;
    _Atomic int error;
} pack_call;

static void pack_item(void *context, int32_t item, int32_t worker)
{
    pack_call *c = context;
    const lt_weight *w = c->w;
    const int64_t first = (int64_t)item * c->panels_per_item, left = w->n_out - first * LT_PANEL_ROWS;
    const int64_t n_rows = left < c->panels_per_item * LT_PANEL_ROWS ? left : c->panels_per_item * LT_PANEL_ROWS;
    const uint8_t *src;
    const int error = lt_gguf_read(c->file, c->t, (size_t)(first * LT_PANEL_ROWS) * c->row_bytes, (size_t)n_rows * c->row_bytes,
                                   c->be->slabs + (size_t)worker * c->be->slab_bytes, &src);
    if (error) {
        c->error = error;
        return;
    }
    for (int64_t p = 0; p * LT_PANEL_ROWS < n_rows; p++)
        lt_pack_panel(c->t->type, src, c->row_bytes, w->n_in, n_rows, p, w->panels + (size_t)(first + p) * w->panel_bytes);
}

/* Items large enough to be read in one call, small enough that every thread has some. */
static int32_t panels_per_item(const cpu_backend *be, int64_t n_panels, size_t row_bytes)
{
    const int64_t share = n_panels / (ITEMS_PER_THREAD * lt_pool_size(be->pool)),
                  room = (int64_t)(SLAB_BYTES / (row_bytes * LT_PANEL_ROWS));
    const int64_t n = share < room ? share : room;
    return n > 1 ? (int32_t)n : 1;
}

/* Room for panels, 64-byte aligned, until the backend goes; NULL without memory. */
static uint8_t *take_panels(cpu_backend *be, size_t bytes)
{
    bytes = (bytes + 63) & ~(size_t)63;
    panel_arena *a = be->arena;
    if (!a || a->size - a->used < bytes) {
        a = lt_alloc_zero(1, sizeof *a);
        if (!a)
            return NULL;
        a->next = be->arena;
        be->arena = a;
        a->size = bytes > ARENA_BYTES ? bytes : ARENA_BYTES;
        a->bytes = lt_place_alloc(be->place, a->size, 1);
        if (!a->bytes) {
            a->size = 0;
            return NULL;
        }
    }
    a->used += bytes;
    return a->bytes + a->used - bytes;
}

static int pack_matrix(cpu_backend *be, lt_weight *w, const lt_gguf *file, const lt_tensor *t)
{
    const int64_t n_panels = (w->n_out + LT_PANEL_ROWS - 1) / LT_PANEL_ROWS;
    w->panel_bytes = lt_panel_bytes(w->form, w->n_in);
    lt_form_levels(t->type, w->levels);
    w->panels = take_panels(be, (size_t)n_panels * w->panel_bytes);
    if (!w->panels)
        return out_of_memory(t->name, (size_t)n_panels * w->panel_bytes);
    pack_call c = {.be = be, .file = file, .t = t, .w = w, .row_bytes = t->n_bytes / (size_t)w->n_out};
    c.panels_per_item = panels_per_item(be, n_panels, c.row_bytes);
    LT_TRY(slabs_create(be, t, (size_t)c.panels_per_item * LT_PANEL_ROWS * c.row_bytes));
    lt_pool_run(be->pool, lt_pool_size(be->pool), pack_item, &c, (int32_t)((n_panels + c.panels_per_item - 1) / c.panels_per_item));
    if (c.error)
        return lt_gguf_fail_read(file, t, c.error);
    be->memory.weight_bytes += (int64_t)((size_t)n_panels * w->panel_bytes);
    int64_t *widest = FORM_IS_FLOAT(w->form) ? &be->max_in_float : &be->max_in_quantised;
    *widest = w->n_in > *widest ? w->n_in : *widest;
    return LT_OK;
}

static int copy_vector(cpu_backend *be, lt_weight *w, const lt_gguf *file, const lt_tensor *t)
{
    const int64_t padded = (w->n_in + 15) & ~(int64_t)15;
    w->vector = lt_place_alloc(be->place, (size_t)padded, sizeof *w->vector);
    if (!w->vector)
        return out_of_memory(t->name, (size_t)padded * sizeof *w->vector);
    memset(w->vector + w->n_in, 0, (size_t)(padded - w->n_in) * sizeof *w->vector);
    LT_TRY(slabs_create(be, t, t->n_bytes));
    const uint8_t *src;
    const int error = lt_gguf_read(file, t, 0, t->n_bytes, be->slabs, &src);
    if (error)
        return lt_gguf_fail_read(file, t, error);
    lt_quant_find(t->type)->dequantize(src, w->vector, w->n_in);
    be->memory.weight_bytes += padded * (int64_t)sizeof *w->vector;
    return LT_OK;
}

static int cpu_weight(lt_backend *base, lt_weight **out, const lt_gguf *file, const lt_tensor *t, lt_weight_use use)
{
    cpu_backend *be = cpu_of(base);
    const int form = lt_form_of(t->type);
    if (form < 0)
        return lt_fail(LT_E_UNSUPPORTED, "%s: tensor %s has type %s, which this build cannot compute with", lt_gguf_path(file), t->name,
                       lt_type_name(t->type));
    lt_weight *w = lt_alloc_zero(1, sizeof *w);
    if (!w)
        return out_of_memory(t->name, sizeof *w);
    *w = (lt_weight){.n_in = (int64_t)t->ne[0], .n_out = (int64_t)t->ne[1], .form = (lt_form)form, .next = be->weights};
    be->weights = w;
    be->max_in = w->n_in > be->max_in ? w->n_in : be->max_in;
    LT_TRY(use == LT_USE_VECTOR ? copy_vector(be, w, file, t) : pack_matrix(be, w, file, t));
    lt_gguf_release(file, t);
    *out = w;
    return LT_OK;
}

typedef struct {
    cpu_backend *be;
    lt_buffer *y;
    const lt_weight *w;
    float scale;
} embed_call;

static void embed_row(void *context, int32_t row, int32_t worker)
{
    const embed_call *c = context;
    (void)worker;
    float *y = c->y->data + row * c->y->stride;
    lt_unpack_row(c->w->form, c->w->levels, c->w->panels, c->w->n_in, c->be->batch->token[row], y);
    if (c->scale != 1.0f)
        for (int64_t i = 0; i < c->w->n_in; i++)
            y[i] *= c->scale;
}

static void cpu_embed(lt_backend *base, lt_buffer *y, const lt_weight *w, float scale)
{
    cpu_backend *be = cpu_of(base);
    embed_call c = {be, y, w, scale};
    lt_cpu_each_row(be, embed_row, &c, be->batch->n_rows);
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
    b->data = scratch_alloc(be, (size_t)max_rows, (size_t)b->stride * sizeof *b->data);
    if (!b->data)
        return out_of_memory("activations", (size_t)max_rows * (size_t)b->stride * sizeof *b->data);
    *out = b;
    return LT_OK;
}

static size_t round_64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* Not zeroed: pages hold what they held until their cells are written, and no kernel lets an unwritten cell count. */
static int cache_create(cpu_backend *be, const lt_kv_shape *shape)
{
    be->kv = *shape;
    be->v_stride = (size_t)lt_v_stride(shape->v_dim);
    be->k_page_bytes = round_64(lt_k_codes_bytes(shape->k_type, shape->k_dim) + lt_kv_scales_bytes(shape->k_type, shape->k_dim));
    be->v_page_bytes = round_64(lt_v_codes_bytes(shape->v_type, shape->v_dim) + lt_kv_scales_bytes(shape->v_type, shape->v_dim));
    size_t page_bytes, total;
    if (lt_mul_size((be->k_page_bytes + be->v_page_bytes) * (size_t)shape->n_head_kv, (size_t)shape->n_layers, &page_bytes) ||
        lt_mul_size(page_bytes, (size_t)shape->n_pages, &total))
        return lt_fail(LT_E_NOMEM, "a KV cache of %d pages does not fit into memory", shape->n_pages);
    be->kv_data = lt_place_alloc(be->place, (size_t)shape->n_pages, page_bytes);
    if (!be->kv_data)
        return out_of_memory("the KV cache (a smaller context helps)", total);
    be->memory.kv_bytes = (int64_t)total;
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
    be->rope_tables = scratch_alloc(be, rows, row_bytes);
    return be->rope_tables ? LT_OK : out_of_memory("rope tables", rows * row_bytes);
}

static int worker_create(cpu_backend *be, worker_scratch *s)
{
    const size_t queries = (size_t)(be->kv.n_head > LT_MAX_QUERIES ? be->kv.n_head : LT_MAX_QUERIES);
    s->tile = scratch_alloc(be, 1, sizeof *s->tile);
    s->row = scratch_alloc(be, (size_t)be->max_in + 16, sizeof *s->row);
    s->q = scratch_alloc(be, queries * (size_t)be->kv.k_dim, sizeof *s->q);
    s->out = scratch_alloc(be, queries * be->v_stride, sizeof *s->out);
    s->state = scratch_alloc(be, queries * 2, sizeof *s->state);
    s->run_out = scratch_alloc(be, queries * be->v_stride, sizeof *s->run_out);
    s->run_state = scratch_alloc(be, queries * 2, sizeof *s->run_state);
    s->q16 = scratch_alloc(be, queries * ((size_t)be->kv.k_dim + 1), sizeof *s->q16);
    s->q_scale = scratch_alloc(be, queries * (((size_t)be->kv.k_dim + LT_Q_GROUP - 1) / LT_Q_GROUP), sizeof *s->q_scale);
    s->position = scratch_alloc(be, queries, sizeof *s->position);
    const bool complete =
        s->tile && s->row && s->q && s->out && s->state && s->run_out && s->run_state && s->q16 && s->q_scale && s->position;
    return complete ? LT_OK : lt_fail(LT_E_NOMEM, "no memory for the scratch of %d threads", lt_pool_size(be->pool));
}

static int cpu_ready(lt_backend *base, const lt_kv_shape *shape, const lt_rope *ropes, int32_t n_ropes)
{
    cpu_backend *be = cpu_of(base);
    slabs_destroy(be);
    for (const panel_arena *a = be->arena; a; a = a->next)
        lt_place_trim(be->place, a->bytes, a->used);
    LT_TRY(cache_create(be, shape));
    LT_TRY(ropes_create(be, ropes, n_ropes));
    const size_t rows = (size_t)be->max_rows, q8_bytes = (size_t)lt_q8_units(be->max_in_quantised) * sizeof *be->q8;
    const size_t f32_bytes = (size_t)be->max_in_float * sizeof *be->f32;
    be->q8 = scratch_alloc(be, rows, q8_bytes);
    be->f32 = scratch_alloc(be, rows, f32_bytes);
    be->groups = scratch_alloc(be, rows, sizeof *be->groups);
    be->max_runs = lt_cpu_runs(shape->n_pages);
    const size_t lanes = (size_t)(LT_ITEMS_APART * lt_pool_size(be->pool)), heads = (size_t)(shape->n_head / shape->n_head_kv);
    be->run_sums = scratch_alloc(be, lanes * (size_t)be->max_runs, heads * (2 + be->v_stride) * sizeof *be->run_sums);
    be->scratch = lt_alloc_zero((size_t)lt_pool_size(be->pool), sizeof *be->scratch);
    if (!be->q8 || !be->f32 || !be->groups || !be->run_sums || !be->scratch)
        return out_of_memory("a step's inputs", rows * (q8_bytes + f32_bytes));
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
    void *parts[] = {s->tile, s->row, s->q, s->out, s->state, s->run_out, s->run_state, s->q16, s->q_scale, s->position};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lt_free(parts[i]);
}

static void cpu_destroy(lt_backend *base)
{
    cpu_backend *be = cpu_of(base);
    slabs_destroy(be);
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
    for (int32_t i = 0; i < be->n_ropes; i++)
        lt_free((void *)(uintptr_t)be->ropes[i].frequency);
    void *parts[] = {be->scratch, be->run_sums, be->groups, be->f32, be->q8, be->rope_tables, be->ropes, be->kv_data, be};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lt_free(parts[i]);
}

int lt_cpu_backend(lt_backend **out, lt_pool *pool, lt_place *place, int32_t max_rows)
{
    static const lt_ops ops = {
        .destroy = cpu_destroy,
        .weight = cpu_weight,
        .buffer = cpu_buffer,
        .ready = cpu_ready,
        .copy_page = lt_cpu_copy_page,
        .begin = lt_cpu_begin,
        .embed = cpu_embed,
        .matmul = lt_cpu_matmul,
        .attend = lt_cpu_attend,
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
