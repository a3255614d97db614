/* turned.c - matrices whose columns are rows of the file: taken apart to floats, turned, packed as floats. */
#include "cpu/internal.h"

#include <errno.h>

#include "quant/quant.h"

typedef struct {
    cpu_backend *be;
    const lt_gguf *file;
    const lt_weight_source *source;
    const lt_weight *w;
    size_t matrix_bytes, row_bytes; /* in the file */
    _Atomic int error;
} turn_call;

/* floats [n_in][n_out], turned 16 rows of [n_in] at a time. */
static void pack_turned(const lt_weight *w, const float *floats, float *turned, uint8_t *panels)
{
    for (int64_t p = 0; p < lt_panels_of(w); p++) {
        const int64_t first = p * LT_PANEL_ROWS, n = w->n_out - first < LT_PANEL_ROWS ? w->n_out - first : LT_PANEL_ROWS;
        for (int64_t r = 0; r < n; r++)
            for (int64_t i = 0; i < w->n_in; i++)
                turned[r * w->n_in + i] = floats[i * w->n_out + first + r];
        lt_pack_panel(LT_F32, (const uint8_t *)turned, (size_t)w->n_in * sizeof *turned, w->n_in, n, 0,
                      panels + (size_t)p * w->panel_bytes);
    }
}

static void turn_item(void *context, int32_t matrix, int32_t worker)
{
    turn_call *c = context;
    const lt_weight *w = c->w;
    const lt_tensor *t = c->source->tensor;
    const uint64_t first = (uint64_t)(matrix * c->source->rows_apart + c->source->first) * c->row_bytes;
    const uint8_t *src;
    float *floats = lt_alloc((size_t)(w->n_in * w->n_out + LT_PANEL_ROWS * w->n_in), sizeof *floats);
    const int error =
        floats ? lt_gguf_read(c->file, t, first, c->matrix_bytes, c->be->slabs + (size_t)worker * c->be->slab_bytes, &src) : ENOMEM;
    if (error) {
        c->error = error;
    } else {
        lt_quant_find(t->type)->dequantize(src, floats, w->n_in * w->n_out);
        pack_turned(w, floats, floats + w->n_in * w->n_out, w->panels + (size_t)(matrix * lt_panels_of(w)) * w->panel_bytes);
    }
    lt_free(floats);
}

int lt_cpu_pack_turned(cpu_backend *be, const lt_weight *w, const lt_gguf *file, const lt_weight_source *source)
{
    const lt_tensor *t = source->tensor;
    turn_call c = {
        .be = be, .file = file, .source = source, .w = w, .row_bytes = t->n_bytes / (size_t)(source->rows_apart * source->n_matrices)};
    c.matrix_bytes = c.row_bytes * (size_t)source->n_out;
    LT_TRY(lt_cpu_slabs_create(be, t, c.matrix_bytes));
    lt_pool_run(be->pool, lt_pool_size(be->pool), turn_item, &c, w->n_matrices);
    return c.error ? lt_gguf_fail_read(file, t, c.error) : LT_OK;
}
