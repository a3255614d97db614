/* backend.h - the eight operations a decoder is made of, on opaque weights and buffers.  Backends know no model.
 *
 * A decoder layer is five calls:
 *      matmul(norm(x += previous down))  -> q, k, v
 *      attend(q, k, v)                   -> a           rope, KV append, paged attention
 *      matmul(a)                         -> o
 *      matmul(norm(x += o))              -> gate, up
 *      matmul(act(gate) * up)            -> down
 * The element-wise work (residual add, norms, gate) is the matmul's prologue, so that a backend can fuse it with quantising
 * its input.  Every output element is computed in one fixed order whatever else is in the step (batch invariance). */
#ifndef LT_BACKEND_H
#define LT_BACKEND_H

#include <stdbool.h>

#include "core/place.h"
#include "core/pool.h"
#include "gguf/gguf.h"

typedef struct lt_backend lt_backend;
typedef struct lt_weight lt_weight; /* a matrix [n_out, n_in] or a float vector [n_in] */
typedef struct lt_buffer lt_buffer; /* float32 [max_rows][width] */

typedef enum {
    LT_USE_VECTOR, /* norm weights, biases: float32 */
    LT_USE_MATRIX  /* left side of matmul, rows looked up by token id */
} lt_weight_use;

/* Rotary embedding of one kind of layer: angle of pair i at position p is p * frequency[i]. */
typedef struct {
    int32_t n_rot;            /* dimensions that turn, even */
    bool adjacent;            /* pairs (2i, 2i+1); otherwise (i, i + n_rot/2) */
    float magnitude;          /* multiplies sine and cosine (yarn) */
    const float *frequency;   /* [n_rot/2]; copied */
} lt_rope;

enum { LT_MAX_HEAD_DIM = 1024 };

typedef struct {
    int32_t n_layers, page_tokens;
    int32_t n_pages, max_pages; /* of the pool; of one sequence at the most */
    int32_t n_head, n_head_kv; /* n_head: query heads, a multiple of n_head_kv */
    int32_t k_dim, v_dim;      /* of one head, at most LT_MAX_HEAD_DIM */
    int32_t k_type, v_type;    /* LT_KV_* */
} lt_kv_shape;

/* Consecutive rows of the step that belong to one sequence. */
typedef struct {
    int32_t first_row, n_rows;
    int32_t first_position;   /* its rows' cells begin here; a row sees the cells up to its own */
    const int32_t *pages;     /* block table */
} lt_span;

typedef struct {
    int32_t n_rows, n_spans, n_threads;
    const int32_t *token, *position; /* [n_rows]; position: what rope turns by, the cell's number or less */
    const lt_span *spans;
} lt_batch;

/* The prologue: what the rows of a matmul's input are. */
typedef struct {
    lt_buffer *x;
    lt_buffer *add;                             /* x += add first (x changes) ... */
    const lt_weight *add_norm;                  /* ... of norm(add) when given (post-norm models) */
    const lt_weight *norm;                      /* input is norm(x) */
    lt_buffer *up;                              /* input is gate(x) * up */
    enum { LT_GATE_NONE, LT_SILU, LT_GELU } gate;
    float eps;
    const int32_t *rows; int32_t n_rows;        /* NULL: all rows of the step; otherwise these, packed */
} lt_input;

typedef struct {
    const lt_weight *w, *bias; /* bias NULL: none */
    lt_buffer *y;
} lt_product;

typedef struct {
    int32_t layer, n_head, window; /* window 0: all positions */
    int32_t rope;                  /* which lt_rope */
    float scale, eps;              /* scale multiplies q after the norms and rope */
    const lt_weight *q_norm, *k_norm; /* per head, NULL: none */
} lt_attention;

/* Cells of one sequence that change their position, in all layers and heads: what is in cell from + i of the block table goes to
 * cell to + i, the key turned by turn[i] more positions (to <= from: in ascending order nothing is overwritten unread). */
typedef struct {
    const int32_t *pages;  /* block table */
    int32_t from, to, n;
    int32_t n_threads;
    const int32_t *turn;   /* [n] */
    const int32_t *rope;   /* [n_layers]: which lt_rope */
} lt_move;

typedef struct {
    int64_t weight_bytes, kv_bytes, scratch_bytes;
    int64_t page_bytes; /* of the KV pool's pages, each with all layers */
} lt_memory;

typedef struct {
    void (*destroy)(lt_backend *be);
    int (*weight)(lt_backend *be, lt_weight **out, const lt_gguf *file, const lt_tensor *t, lt_weight_use use); /* keeps nothing of the file */
    int (*buffer)(lt_backend *be, lt_buffer **out, int32_t max_rows, int64_t width);
    int (*page_bytes)(lt_backend *be, const lt_kv_shape *shape, int64_t *out); /* of one page, all layers; n_pages does not matter */
    int (*ready)(lt_backend *be, const lt_kv_shape *shape, const lt_rope *ropes, int32_t n_ropes); /* once, after all weights: KV pool, scratch */
    void (*copy_page)(lt_backend *be, int32_t src, int32_t dst);
    void (*move)(lt_backend *be, const lt_move *move);                      /* between steps */
    void (*read_page)(lt_backend *be, int32_t page, int32_t n_tokens, void *out);       /* page_bytes; zeros where no token is */
    int (*write_page)(lt_backend *be, int32_t page, int32_t n_tokens, const void *in);  /* LT_E_FORMAT and no change: values that are never written */
    void (*begin)(lt_backend *be, const lt_batch *batch);                   /* the step's rows; stays valid through the step */
    void (*embed)(lt_backend *be, lt_buffer *y, const lt_weight *w, float scale);
    void (*matmul)(lt_backend *be, const lt_input *in, const lt_product *out, int32_t n_out);
    void (*attend)(lt_backend *be, const lt_attention *a, lt_buffer *q, lt_buffer *k, lt_buffer *v, lt_buffer *out);
    const float *(*read)(lt_backend *be, lt_buffer *b, int32_t row);        /* valid until the next matmul into b */
    lt_memory (*memory)(const lt_backend *be);
} lt_ops;

struct lt_backend {
    const lt_ops *ops;
};

/* Pool and place stay the caller's; the pool must outlive the backend, the place be forgotten before it is destroyed. */
int lt_cpu_backend(lt_backend **out, lt_pool *pool, lt_place *place, int32_t max_rows);

#endif
