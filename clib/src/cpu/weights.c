/* weights.c - weights as panels: read or mapped, packed by all threads, kept in arenas; and the embedding lookup. */
#include "cpu/internal.h"

#include <string.h>

#include "quant/quant.h"

enum { ARENA_BYTES = 32 << 20, SLAB_BYTES = 256 << 10, ITEMS_PER_THREAD = 4 };

int lt_cpu_slabs_create(cpu_backend *be, const lt_tensor *t, size_t bytes)
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

void lt_cpu_slabs_destroy(cpu_backend *be)
{
    lt_free(be->slabs);
    be->slabs = NULL;
    be->slab_bytes = 0;
}

typedef struct {
    cpu_backend *be;
    const lt_gguf *file;
    const lt_tensor *t;
    const lt_weight_source *source;
    lt_weight *w;
    size_t row_bytes;
    int32_t panels_per_item, items_per_matrix;
    _Atomic int error;
} pack_call;

static void pack_item(void *context, int32_t item, int32_t worker)
{
    pack_call *c = context;
    const lt_weight *w = c->w;
    const int32_t matrix = item / c->items_per_matrix;
    const lt_tensor *const *each = c->source->each;
    const int64_t first = (int64_t)(item % c->items_per_matrix) * c->panels_per_item, left = w->n_out - first * LT_PANEL_ROWS;
    const int64_t file_row = (each ? 0 : matrix) * c->source->rows_apart + c->source->first + first * LT_PANEL_ROWS;
    uint8_t *panels = w->panels + (size_t)(matrix * lt_panels_of(w) + first) * w->panel_bytes;
    const int64_t n_rows = left < c->panels_per_item * LT_PANEL_ROWS ? left : c->panels_per_item * LT_PANEL_ROWS;
    const uint8_t *src;
    const int error = lt_gguf_read(c->file, each ? each[matrix] : c->t, (size_t)file_row * c->row_bytes, (size_t)n_rows * c->row_bytes,
                                   c->be->slabs + (size_t)worker * c->be->slab_bytes, &src);
    if (error) {
        c->error = error;
        return;
    }
    for (int64_t p = 0; p * LT_PANEL_ROWS < n_rows; p++)
        lt_pack_panel(c->t->type, src, c->row_bytes, w->n_in, n_rows, p, panels + (size_t)p * w->panel_bytes);
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

/* What the scratch must hold of rows that such a weight is multiplied with. */
static void note_widths(cpu_backend *be, const lt_weight *w, lt_weight_use use)
{
    const lt_x_kind kind = FORM_X(w->form);
    const int64_t blocks = w->n_pieces * lt_x_blocks(kind, w->n_in);
    int64_t *widest = use == LT_USE_EXPERTS ? &be->max_x_stack[kind] : &be->max_x[kind];
    *widest = blocks > *widest ? blocks : *widest;
    if (use != LT_USE_EXPERTS)
        return;
    be->max_in_stack = w->n_in > be->max_in_stack ? w->n_in : be->max_in_stack;
    be->max_in_stack = w->n_out > be->max_in_stack ? w->n_out : be->max_in_stack;
}

static int pack_matrix(cpu_backend *be, lt_weight *w, const lt_gguf *file, const lt_weight_source *source)
{
    const lt_tensor *t = source->tensor;
    const int64_t n_panels = lt_panels_of(w) * w->n_matrices;
    w->panel_bytes = lt_panel_bytes(w->form, w->n_in);
    lt_form_levels(t->type, w->levels);
    w->panels = take_panels(be, (size_t)n_panels * w->panel_bytes);
    if (!w->panels)
        return out_of_memory(t->name, (size_t)n_panels * w->panel_bytes);
    be->memory.weight_bytes += (int64_t)((size_t)n_panels * w->panel_bytes);
    note_widths(be, w, source->use);
    if (source->use == LT_USE_TURNED_PIECES)
        return lt_cpu_pack_turned(be, w, file, source);
    const size_t row_bytes = t->n_bytes / (size_t)(source->rows_apart * (source->each ? 1 : source->n_matrices));
    pack_call c = {.be = be, .file = file, .t = t, .source = source, .w = w, .row_bytes = row_bytes};
    c.panels_per_item = panels_per_item(be, n_panels, row_bytes);
    c.items_per_matrix = (int32_t)((lt_panels_of(w) + c.panels_per_item - 1) / c.panels_per_item);
    LT_TRY(lt_cpu_slabs_create(be, t, (size_t)c.panels_per_item * LT_PANEL_ROWS * row_bytes));
    lt_pool_run(be->pool, lt_pool_size(be->pool), pack_item, &c, c.items_per_matrix * w->n_matrices);
    return c.error ? lt_gguf_fail_read(file, t, c.error) : LT_OK;
}

static int vector_create(cpu_backend *be, lt_weight *w, const char *name)
{
    const int64_t padded = (w->n_in + 15) & ~(int64_t)15;
    w->vector = lt_place_alloc(be->place, (size_t)padded, sizeof *w->vector);
    if (!w->vector)
        return out_of_memory(name, (size_t)padded * sizeof *w->vector);
    memset(w->vector + w->n_in, 0, (size_t)(padded - w->n_in) * sizeof *w->vector);
    be->memory.weight_bytes += padded * (int64_t)sizeof *w->vector;
    return LT_OK;
}

static int copy_vector(cpu_backend *be, lt_weight *w, const lt_gguf *file, const lt_weight_source *source)
{
    const lt_tensor *t = source->tensor;
    LT_TRY(vector_create(be, w, t->name));
    LT_TRY(lt_cpu_slabs_create(be, t, t->n_bytes));
    const uint8_t *src;
    const size_t first = (size_t)source->first * sizeof *w->vector, n = (size_t)w->n_in * sizeof *w->vector;
    const int error = lt_gguf_read(file, t, first, n, be->slabs, &src);
    if (error)
        return lt_gguf_fail_read(file, t, error);
    memcpy(w->vector, src, n);
    return LT_OK;
}

static lt_weight *weight_create(cpu_backend *be, lt_weight weight)
{
    lt_weight *w = lt_alloc_zero(1, sizeof *w);
    if (!w)
        return NULL;
    *w = weight;
    w->next = be->weights;
    be->weights = w;
    const int64_t n_in = w->n_in * w->n_pieces;
    be->max_in = n_in > be->max_in ? n_in : be->max_in;
    return w;
}

int lt_cpu_weight(lt_backend *base, lt_weight **out, const lt_gguf *file, const lt_weight_source *source)
{
    cpu_backend *be = cpu_of(base);
    const lt_tensor *t = source->tensor;
    const int form = lt_form_of(t->type);
    if (form < 0)
        return lt_fail(LT_E_UNSUPPORTED, "%s: tensor %s has type %s, which this build cannot compute with", lt_gguf_path(file), t->name,
                       lt_type_name(t->type));
    const bool turned = source->use == LT_USE_TURNED_PIECES, pieces = turned || source->use == LT_USE_PIECES;
    lt_weight *w = weight_create(be, (lt_weight){.n_in = turned ? source->n_out : source->n_in,
                                                 .n_out = turned ? source->n_in : source->n_out,
                                                 .n_matrices = source->n_matrices,
                                                 .n_pieces = pieces ? source->n_matrices : 1,
                                                 .form = turned ? LT_FORM_F32 : (lt_form)form});
    if (!w)
        return out_of_memory(t->name, sizeof *w);
    LT_TRY(source->use == LT_USE_VECTOR ? copy_vector(be, w, file, source) : pack_matrix(be, w, file, source));
    if (source->joined) { /* whole panels: they lie as those of one matrix do */
        w->n_out *= w->n_matrices;
        w->n_matrices = 1;
    }
    for (int32_t i = 0; i < (source->each ? source->n_matrices : 1); i++)
        lt_gguf_release(file, source->each ? source->each[i] : t);
    *out = w;
    return LT_OK;
}

int lt_cpu_vector(lt_backend *base, lt_weight **out, const float *values, int64_t n)
{
    cpu_backend *be = cpu_of(base);
    lt_weight *w = weight_create(be, (lt_weight){.n_in = n, .n_out = 1, .n_matrices = 1, .n_pieces = 1, .form = LT_FORM_F32});
    if (!w)
        return out_of_memory("a vector", sizeof *w);
    LT_TRY(vector_create(be, w, "a vector"));
    memcpy(w->vector, values, (size_t)n * sizeof *values);
    *out = w;
    return LT_OK;
}

typedef struct {
    cpu_backend *be;
    lt_buffer *y;
    const lt_embedding *e;
} embed_call;

static void embed_row(void *context, int32_t row, int32_t worker)
{
    const embed_call *c = context;
    const lt_kernels *k = c->be->k;
    const lt_weight *tokens = c->e->tokens, *positions = c->e->positions;
    const int64_t n = tokens->n_in;
    float *y = c->y->data + row * c->y->stride, *tmp = c->be->scratch[worker].row;
    lt_unpack_row(tokens->form, tokens->levels, tokens->panels, n, c->be->batch->token[row], y);
    if (c->e->scale != 1.0f)
        k->scale(y, c->e->scale, n);
    if (positions) {
        lt_unpack_row(positions->form, positions->levels, positions->panels, n, c->be->batch->position[row], tmp);
        k->add(y, tmp, 1.0f, n);
    }
    if (c->e->norm.kind)
        lt_cpu_norm(k, &c->e->norm, y, y, n);
}

void lt_cpu_embed(lt_backend *base, lt_buffer *y, const lt_embedding *e)
{
    cpu_backend *be = cpu_of(base);
    embed_call c = {be, y, e};
    lt_cpu_each_row(be, embed_row, &c, be->batch->n_rows);
}
