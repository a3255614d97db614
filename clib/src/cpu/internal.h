/* internal.h - the CPU backend's state, shared by its files. */
#ifndef LT_CPU_INTERNAL_H
#define LT_CPU_INTERNAL_H

#include "backend.h"
#include "core/memory.h"
#include "core/pool.h"
#include "cpu/kernels.h"

enum { LT_MAX_QUERIES = 64 }; /* (row, head) pairs in one attention item, unless one row alone has more */
enum { LT_ITEMS_APART = 2 };  /* items per thread, below which attention is split into runs of keys */
enum { LT_SERIAL_ROWS = 2 };  /* row-wise work on so few rows is done before another thread is awake */
enum { LT_BLOCK_PAGES = 8 };  /* of the KV pool: enough for runs of memory that are read fast, few enough that a short context touches little */

struct lt_weight {
    uint8_t *panels;
    float *vector;           /* padded with zeros to a multiple of 16 */
    size_t panel_bytes;
    int64_t n_in, n_out;     /* of each of its matrices */
    int32_t n_matrices;      /* one behind the other, each of whole panels */
    int32_t n_pieces;        /* of an input row; n_matrices or 1 */
    lt_form form;
    uint8_t levels[16];
    struct lt_weight *next;
};

struct lt_buffer {
    float *data;
    int64_t stride; /* width rounded up to 16 */
    struct lt_buffer *next;
};

typedef struct { /* one attention item's rows */
    const lt_span *span;
    int32_t first, n; /* rows within the span */
} row_group;

typedef struct { /* groups of one row whose sequences begin with the same pages: those are read once for all; else one group */
    int32_t first, n, n_shared; /* groups, pages */
} group_cluster;

typedef struct { /* per thread */
    lt_tile_scratch *tile;
    float *row;            /* prologue: one input row */
    float *q, *q_scale, *slope, *out, *state, *run_out, *run_state; /* attention */
    int16_t *q16;
    int32_t *position;
} worker_scratch;

typedef struct { /* an expert and the pairs that are its columns */
    int32_t expert, first, n;
} lt_columns;

typedef struct { /* pairs of a row and one of its experts (experts.c) */
    int32_t max_pairs;
    int32_t *chosen; float *weight; /* by row and rank */
    int32_t *place;                 /* of these, where they stand when sorted by expert */
    int32_t *expert;                /* by place */
    lt_columns *active;             /* experts that have pairs */
    uint8_t *x[LT_X_KINDS];
    int64_t stride;                 /* of the rows below, by place */
    float *gate, *up;
} lt_pairs;

typedef struct { /* a layer's part of the cache */
    lt_layer_shape shape;
    int32_t heads_per_kv;
    size_t k_page_bytes, v_page_bytes, v_stride; /* of one head's page */
    size_t first;                                /* bytes of a page in the layers before */
} kv_layer;

typedef struct panel_arena { /* panels of many weights, one behind the other: small matrices share huge pages */
    struct panel_arena *next;
    uint8_t *bytes;
    size_t size, used;
} panel_arena;

typedef struct {
    lt_backend base;
    const lt_kernels *k;
    lt_pool *pool;
    lt_place *place;
    lt_weight *weights;
    panel_arena *arena;
    lt_buffer *buffers;
    uint8_t *slabs;        /* while loading a file that is read: [threads][slab_bytes] */
    size_t slab_bytes;
    lt_kv_shape kv;         /* but for its layers */
    kv_layer *layers;
    uint8_t *kv_data;
    float *states;          /* [n_states][state_stride]; a layer's begin at state_at */
    int64_t *state_at, state_stride;
    int32_t max_heads, max_k_dim;
    size_t max_v_stride, max_run_sums; /* of a layer; run sums: of one kv head and run */
    lt_rope *ropes;
    float *rope_tables;    /* [rope][row][cos n_rot/2 | sin n_rot/2] */
    int32_t n_ropes, max_rot, max_rows;
    int64_t max_in, max_in_stack;               /* stack: of experts */
    int64_t max_x[LT_X_KINDS], max_x_stack[LT_X_KINDS]; /* blocks of a row */
    uint8_t *x[LT_X_KINDS]; /* a product's inputs (panel.h), max_rows of them */
    lt_pairs pairs;
    worker_scratch *scratch;
    row_group *groups;
    group_cluster *clusters;
    float *run_sums;       /* attention of few rows: [row][kv head][run][query heads of it][2 + v_stride] */
    int32_t max_runs;
    const lt_batch *batch;
    lt_memory memory;
} cpu_backend;

static inline cpu_backend *cpu_of(lt_backend *be)
{
    return (cpu_backend *)be;
}

static inline int out_of_memory(const char *what, size_t bytes)
{
    return lt_fail(LT_E_NOMEM, "no memory for %s: %zu bytes", what, bytes);
}

/* The cells of one page, layer and kv head.  Pages of a block that follow each other do so in memory too, head by head. */
static inline uint8_t *lt_cpu_k_page(const cpu_backend *be, int32_t page, int32_t layer, int32_t head)
{
    const kv_layer *l = &be->layers[layer];
    const int32_t within = page % LT_BLOCK_PAGES, first = page - within, left = be->kv.n_pages - first;
    const size_t n = (size_t)(left < LT_BLOCK_PAGES ? left : LT_BLOCK_PAGES), bytes = l->k_page_bytes + l->v_page_bytes;
    return be->kv_data + (size_t)first * (size_t)be->memory.page_bytes + (l->first + (size_t)head * bytes) * n + (size_t)within * bytes;
}
static inline uint8_t *lt_cpu_v_page(const cpu_backend *be, int32_t page, int32_t layer, int32_t head)
{
    return lt_cpu_k_page(be, page, layer, head) + be->layers[layer].k_page_bytes;
}

/* Runs `work` on items 0..n_rows-1, each a row. */
static inline void lt_cpu_each_row(cpu_backend *be, lt_work work, void *context, int32_t n_rows)
{
    lt_pool_run(be->pool, n_rows <= LT_SERIAL_ROWS ? 1 : be->batch->n_threads, work, context, n_rows);
}

static inline int64_t lt_panels_of(const lt_weight *w) /* of one matrix */
{
    return (w->n_out + LT_PANEL_ROWS - 1) / LT_PANEL_ROWS;
}

/* y = norm(x); y may be x. */
static inline void lt_cpu_norm(const lt_kernels *k, const lt_norm *norm, float *y, const float *x, int64_t n)
{
    const float *weight = norm->weight ? norm->weight->vector : NULL;
    if (norm->kind == LT_NORM_RMS)
        k->rms_norm(y, x, weight, n, norm->eps);
    else
        k->layer_norm(y, x, weight, norm->bias ? norm->bias->vector : NULL, n, norm->eps);
}

/* The row of a prologue's input, as the next operation takes it: x itself or made in tmp. */
const float *lt_cpu_input_row(const lt_kernels *k, const lt_input *in, int64_t n, int32_t row, float *tmp);

/* x[n] as a row of that kind (panel.h), one of n_rows, to its first block. */
void lt_cpu_put_row(const lt_kernels *k, lt_x_kind kind, const float *x, int64_t n, uint8_t *row, int64_t n_rows);

void *lt_cpu_scratch(cpu_backend *be, size_t n_items, size_t item_bytes); /* not zeroed, counted */
/* Room for every row's experts, n_used of each, or for as many rows at a time as fit a bound. */
int lt_cpu_pairs_create(cpu_backend *be, int32_t n_used);
void lt_cpu_pairs_destroy(lt_pairs *p);
void lt_cpu_experts(lt_backend *be, const lt_experts *e);
/* The experts of a row, [n_used] each.  Weights are NaN when a logit is not finite. */
void lt_cpu_route(const lt_kernels *k, const lt_router *r, const float *logits, int32_t *chosen, float *weight);

int lt_cpu_weight(lt_backend *be, lt_weight **out, const lt_gguf *file, const lt_weight_source *source);
int lt_cpu_vector(lt_backend *be, lt_weight **out, const float *values, int64_t n);
/* Room for so many bytes of the file for each thread, unless it is mapped. */
int lt_cpu_slabs_create(cpu_backend *be, const lt_tensor *t, size_t bytes);
void lt_cpu_slabs_destroy(cpu_backend *be);
int lt_cpu_pack_turned(cpu_backend *be, const lt_weight *w, const lt_gguf *file, const lt_weight_source *source);
void lt_cpu_embed(lt_backend *be, lt_buffer *y, const lt_embedding *e);
void lt_cpu_matmul(lt_backend *be, const lt_input *in, const lt_product *out, int32_t n_out);
void lt_cpu_attend(lt_backend *be, const lt_attention *a, lt_buffer *q, lt_buffer *k, lt_buffer *v, lt_buffer *out);
void lt_cpu_begin(lt_backend *be, const lt_batch *batch);
void lt_cpu_copy_page(lt_backend *be, int32_t src, int32_t dst);
void lt_cpu_move(lt_backend *be, const lt_move *move);

/* Row `row` of the table of rope r: the angles of a position, sine and cosine times magnitude; and a head turned by them. */
void lt_cpu_fill_table(const cpu_backend *be, int32_t r, int32_t row, int32_t position, float magnitude);
void lt_cpu_turn(const cpu_backend *be, int32_t r, int32_t row, float *head);
void lt_cpu_read_page(lt_backend *be, int32_t page, int32_t n_tokens, void *out);
int lt_cpu_write_page(lt_backend *be, int32_t page, int32_t n_tokens, const void *in);

int32_t lt_cpu_runs(int32_t n_pages); /* of keys, at most */
void lt_write_key(const lt_kernels *k, int32_t type, uint8_t *page, int32_t slot, const float *x, int32_t k_dim);
void lt_write_value(const lt_kernels *k, int32_t type, uint8_t *page, int32_t slot, const float *x, int32_t v_dim);

#endif
