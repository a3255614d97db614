/* matmul.c - the matmul operation: prologue by rows, then panels of all products from one counter. */
#include "cpu/internal.h"

#include <string.h>

enum { ITEMS_PER_THREAD = 8 };

typedef struct {
    cpu_backend *be;
    const lt_input *in;
    const lt_product *out;
    int32_t n_out, n_rows, n_pieces;
    bool wants[LT_X_KINDS];
    int64_t n_in;  /* of a piece */
    int32_t chunk; /* panels in an item */
} matmul_call;

static const float *row_of(const lt_buffer *b, int32_t row)
{
    return b->data + (int64_t)row * b->stride;
}

/* x += what is to be added. */
static void add_up(const lt_kernels *k, const lt_input *in, float *x, int64_t n, int32_t row, float *tmp)
{
    for (int i = 0; i < LT_MAX_ADDENDS && in->add[i].y; i++) {
        const lt_addend *a = &in->add[i];
        const float *y = row_of(a->y, row);
        if (a->norm.kind) {
            lt_cpu_norm(k, &a->norm, tmp, y, n);
            y = tmp;
        }
        k->add(x, y, a->scale != 0.0f ? a->scale : 1.0f, n);
    }
    if (in->x_scale)
        k->scale(x, in->x_scale->vector[0], n);
}

const float *lt_cpu_input_row(const lt_kernels *k, const lt_input *in, int64_t n, int32_t row, float *tmp)
{
    float *x = in->x->data + (int64_t)row * in->x->stride;
    add_up(k, in, x, n, row, tmp);
    if (in->norm.kind)
        lt_cpu_norm(k, &in->norm, tmp, x, n);
    else if (in->act)
        k->act(in->act, tmp, x, in->up ? row_of(in->up, row) : NULL, n);
    else if (in->scale != 0.0f || in->row_gate)
        memcpy(tmp, x, (size_t)n * sizeof *x);
    else
        return x;
    float gate = 1.0f;
    if (in->row_gate)
        k->act(LT_SIGMOID, &gate, row_of(in->row_gate, row), NULL, 1);
    if (in->scale != 0.0f || in->row_gate)
        k->scale(tmp, in->scale != 0.0f ? in->scale * gate : gate, n);
    return tmp;
}

void lt_cpu_put_row(const lt_kernels *k, lt_x_kind kind, const float *x, int64_t n, uint8_t *row, int64_t n_rows)
{
    enum { FLOATS = LT_X_BLOCK_BYTES / sizeof *x };
    const int64_t stride = n_rows * LT_X_BLOCK_BYTES;
    if (kind == LT_X_Q8)
        k->quantize(x, n, (lt_q8_unit *)(void *)row, n_rows * LT_BLOCK_UNITS);
    else if (kind == LT_X_BF16)
        k->to_bf16(x, n, row, stride);
    else
        for (int64_t i = 0; i < n; i += FLOATS, row += stride)
            memcpy(row, x + i, (size_t)(n - i < FLOATS ? n - i : FLOATS) * sizeof *x);
}

/* First block of the first row of a piece. */
static uint8_t *piece_of(const matmul_call *c, lt_x_kind kind, int32_t piece)
{
    return c->be->x[kind] + piece * lt_x_blocks(kind, c->n_in) * c->n_rows * LT_X_BLOCK_BYTES;
}

static void prologue_row(void *context, int32_t item, int32_t worker)
{
    matmul_call *c = context;
    cpu_backend *be = c->be;
    const float *row =
        lt_cpu_input_row(be->k, c->in, c->n_in * c->n_pieces, c->in->rows ? c->in->rows[item] : item, be->scratch[worker].row);
    for (int kind = 0; kind < LT_X_KINDS; kind++)
        for (int32_t p = 0; c->wants[kind] && p < c->n_pieces; p++)
            lt_cpu_put_row(be->k, kind, row + p * c->n_in, c->n_in, piece_of(c, kind, p) + item * LT_X_BLOCK_BYTES, c->n_rows);
}

static int32_t items_of(const matmul_call *c, const lt_weight *w) /* of one matrix */
{
    return (int32_t)((lt_panels_of(w) + c->chunk - 1) / c->chunk);
}

static void panel_item(void *context, int32_t item, int32_t worker)
{
    matmul_call *c = context;
    cpu_backend *be = c->be;
    const lt_product *p = c->out;
    for (int32_t n; item >= (n = items_of(c, p->w) * p->w->n_matrices); p++)
        item -= n;
    const lt_weight *w = p->w;
    const int32_t matrix = item / items_of(c, w), piece = c->n_pieces > 1 ? matrix : 0;
    const int64_t first = (int64_t)(item % items_of(c, w)) * c->chunk, left = lt_panels_of(w) - first;
    lt_matmul_job job = {
        .panels = w->panels + (size_t)(matrix * lt_panels_of(w) + first) * w->panel_bytes,
        .x = piece_of(c, FORM_X(w->form), piece),
        .bias = p->bias ? p->bias->vector + matrix * w->n_out + first * LT_PANEL_ROWS : NULL,
        .y = p->y->data + p->y_first + matrix * p->y_apart + first * LT_PANEL_ROWS,
        .scratch = be->scratch[worker].tile,
        .levels = w->levels,
        .n_in = c->n_in,
        .x_stride = (int64_t)c->n_rows * LT_BLOCK_UNITS,
        .y_stride = p->y->stride,
        .n_panels = (int32_t)(left < c->chunk ? left : c->chunk),
        .n_columns = c->n_rows,
    };
    be->k->matmul[w->form](&job);
    const int64_t n_rows = w->n_out - first * LT_PANEL_ROWS, here = (int64_t)job.n_panels * LT_PANEL_ROWS;
    for (int32_t i = 0; p->cap > 0.0f && i < job.n_columns; i++)
        be->k->cap(job.y + i * job.y_stride, p->cap, n_rows < here ? n_rows : here);
}

/* Few columns: half as many items, since long runs of memory are read faster.  Many columns: an even number of panels, which
 * are worked in pairs, and more items, so that nobody waits long for the last. */
static int32_t chunk_size(const matmul_call *c, int64_t n_panels, int32_t n_threads)
{
    const bool few = c->n_rows <= c->be->k->few_columns;
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
    c.n_pieces = out[0].w->n_pieces;
    int64_t n_panels = 0;
    for (int32_t i = 0; i < n_out; i++) {
        n_panels += lt_panels_of(out[i].w) * out[i].w->n_matrices;
        c.wants[FORM_X(out[i].w->form)] = true;
    }
    lt_cpu_each_row(be, prologue_row, &c, c.n_rows);
    c.chunk = chunk_size(&c, n_panels, be->batch->n_threads);
    int32_t n_items = 0;
    for (int32_t i = 0; i < n_out; i++)
        n_items += items_of(&c, out[i].w) * out[i].w->n_matrices;
    lt_pool_run(be->pool, be->batch->n_threads, panel_item, &c, n_items);
}
