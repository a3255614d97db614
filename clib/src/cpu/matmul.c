/* matmul.c - the matmul operation: prologue by rows, then panels of all products from one counter. */
#include "cpu/internal.h"

#include <string.h>

enum { ITEMS_PER_THREAD = 8 };

typedef struct {
    cpu_backend *be;
    const lt_input *in;
    const lt_product *out;
    int32_t n_out, n_rows;
    bool wants_q8, wants_f32;
    int64_t n_in, f32_stride;
    int32_t chunk; /* panels in an item */
} matmul_call;

/* x += add, and where the row's input stands. */
static const float *input_row(matmul_call *c, int32_t row, float *tmp)
{
    const lt_input *in = c->in;
    const lt_kernels *k = c->be->k;
    const int64_t n = c->n_in;
    float *x = in->x->data + (int64_t)row * in->x->stride;
    if (in->add) {
        const float *add = in->add->data + (int64_t)row * in->add->stride;
        if (in->add_norm) {
            k->rms_norm(tmp, add, in->add_norm->vector, n, in->eps);
            add = tmp;
        }
        k->add(x, add, n);
    }
    if (in->norm) {
        k->rms_norm(tmp, x, in->norm->vector, n, in->eps);
        return tmp;
    }
    if (in->gate) {
        const float *up = in->up->data + (int64_t)row * in->up->stride;
        (in->gate == LT_SILU ? k->silu_mul : k->gelu_mul)(tmp, x, up, n);
        return tmp;
    }
    return x;
}

static void prologue_row(void *context, int32_t item, int32_t worker)
{
    matmul_call *c = context;
    cpu_backend *be = c->be;
    const float *row = input_row(c, c->in->rows ? c->in->rows[item] : item, be->scratch[worker].row);
    if (c->wants_q8)
        be->k->quantize(row, c->n_in, be->q8 + item * LT_BLOCK_UNITS, (int64_t)c->n_rows * LT_BLOCK_UNITS);
    if (c->wants_f32)
        memcpy(be->f32 + c->f32_stride * item, row, (size_t)c->n_in * sizeof *row);
}

static int64_t panels_of(const lt_weight *w)
{
    return (w->n_out + LT_PANEL_ROWS - 1) / LT_PANEL_ROWS;
}

static int32_t items_of(const matmul_call *c, const lt_weight *w)
{
    return (int32_t)((panels_of(w) + c->chunk - 1) / c->chunk);
}

static void panel_item(void *context, int32_t item, int32_t worker)
{
    matmul_call *c = context;
    cpu_backend *be = c->be;
    const lt_product *p = c->out;
    for (int32_t n; item >= (n = items_of(c, p->w)); p++)
        item -= n;
    const lt_weight *w = p->w;
    const int64_t first = (int64_t)item * c->chunk, left = panels_of(w) - first;
    const bool is_float = FORM_IS_FLOAT(w->form);
    lt_matmul_job job = {
        .panels = w->panels + (size_t)first * w->panel_bytes,
        .x = is_float ? (const void *)be->f32 : be->q8,
        .bias = p->bias ? p->bias->vector + first * LT_PANEL_ROWS : NULL,
        .y = p->y->data + first * LT_PANEL_ROWS,
        .scratch = be->scratch[worker].tile,
        .levels = w->levels,
        .n_in = c->n_in,
        .x_stride = is_float ? c->f32_stride : (int64_t)c->n_rows * LT_BLOCK_UNITS,
        .y_stride = p->y->stride,
        .n_panels = (int32_t)(left < c->chunk ? left : c->chunk),
        .n_columns = c->n_rows,
    };
    be->k->matmul[w->form](&job);
}

/* Few columns: half as many items, since long runs of memory are read faster.  Many columns: an even number of panels, which
 * are worked in pairs, and more items, so that nobody waits long for the last. */
static int32_t chunk_size(const matmul_call *c, int64_t n_panels, int32_t n_threads)
{
    const bool few = c->n_rows <= LT_FEW_COLUMNS;
    int64_t chunk = n_panels / ((int64_t)n_threads * (few ? ITEMS_PER_THREAD / 2 : ITEMS_PER_THREAD));
    if (!few)
        chunk = (chunk + 1) & ~(int64_t)1;
    const int32_t least = few ? 1 : 2;
    return chunk > least ? (int32_t)chunk : least;
}

void lt_cpu_matmul(lt_backend *base, const lt_input *in, const lt_product *out, int32_t n_out)
{
    cpu_backend *be = cpu_of(base);
    matmul_call c = {.be = be, .in = in, .out = out, .n_out = n_out, .n_in = out[0].w->n_in};
    c.n_rows = in->rows ? in->n_rows : be->batch->n_rows;
    c.f32_stride = c.n_in;
    int64_t n_panels = 0;
    for (int32_t i = 0; i < n_out; i++) {
        n_panels += panels_of(out[i].w);
        *(FORM_IS_FLOAT(out[i].w->form) ? &c.wants_f32 : &c.wants_q8) = true;
    }
    lt_cpu_each_row(be, prologue_row, &c, c.n_rows);
    c.chunk = chunk_size(&c, n_panels, be->batch->n_threads);
    int32_t n_items = 0;
    for (int32_t i = 0; i < n_out; i++)
        n_items += items_of(&c, out[i].w);
    lt_pool_run(be->pool, be->batch->n_threads, panel_item, &c, n_items);
}
