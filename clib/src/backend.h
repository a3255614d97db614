/* backend.h - the operations a decoder is made of, on opaque weights and buffers.  Backends know no model.
 *
 * A plain decoder layer is five calls:
 *      matmul(norm(x += previous down))  -> q, k, v
 *      attend(q, k, v)                   -> a           rope, KV append, paged attention
 *      matmul(a)                         -> o
 *      matmul(norm(x += o))              -> gate, up
 *      matmul(act(gate) * up)            -> down
 * The element-wise work (residual adds, norms, gate) is the matmul's prologue, so that a backend can fuse it with quantising
 * its input.  Every output element is computed in one fixed order whatever else is in the step (batch invariance). */
#ifndef LT_BACKEND_H
#define LT_BACKEND_H

#include <stdbool.h>

#include "core/place.h"
#include "core/pool.h"
#include "gguf/gguf.h"
#include "recurrent_ops.h"

typedef struct lt_backend lt_backend;
typedef struct lt_weight lt_weight; /* a matrix [n_out, n_in] or a float vector [n_in] */
typedef struct lt_buffer lt_buffer; /* float32 [max_rows][width] */

typedef enum {
    LT_USE_VECTOR, /* norm weights, biases: float32 */
    LT_USE_MATRIX, /* left side of matmul, rows looked up by token id */
    LT_USE_PIECES, /* several matrices, left sides of a matmul whose input rows have a piece for each */
    LT_USE_TURNED_PIECES, /* likewise; the file has columns where the matrices have rows, and n_in and n_out are as in the file */
    LT_USE_EXPERTS /* several matrices, of lt_experts */
} lt_weight_use;

/* Where a weight lies in the file: n_matrices matrices [n_out, n_in] one behind the other in a tensor, each the rows first .. first +
 * n_out - 1 of `rows_apart` that the tensor has for it; or a vector: n_in floats from `first` on.  So a fused tensor is several weights.
 * joined: the matrices' rows are those of one matrix; n_out must be a multiple of 16. */
typedef struct {
    const lt_tensor *tensor;
    const lt_tensor *const *each; /* a tensor for each matrix instead, all alike; NULL: all are in the one */
    lt_weight_use use;
    bool joined;
    int32_t n_matrices;
    int64_t n_in, n_out, first, rows_apart;
} lt_weight_source;

/* Rotary embedding of one kind of layer: angle of pair i at position p is p * frequency[i]. */
typedef struct {
    int32_t n_rot;            /* dimensions that turn, even */
    bool adjacent;            /* pairs (2i, 2i+1); otherwise (i, i + n_rot/2) */
    float magnitude;          /* multiplies sine and cosine (yarn) */
    const float *frequency;   /* [n_rot/2]; copied */
} lt_rope;

enum { LT_MAX_HEAD_DIM = 1024 };

typedef struct {
    int32_t n_head, n_head_kv; /* n_head: query heads, a multiple of n_head_kv; 0, 0: a layer without attention */
    int32_t k_dim, v_dim;      /* of one head, at most LT_MAX_HEAD_DIM */
    int64_t n_state;           /* floats of recurrent state that a sequence has here; 0: none */
} lt_layer_shape;

typedef struct {
    const lt_layer_shape *layers; /* [n_layers]; copied */
    int32_t n_layers, page_tokens;
    int32_t n_pages, max_pages; /* of the pool; of one sequence at the most */
    int32_t n_states;           /* recurrent states kept: one for each sequence and each checkpoint */
    int32_t k_type, v_type;     /* LT_KV_* */
    int32_t n_experts_used;     /* of a row, at most; 0: no experts */
} lt_kv_shape;

/* Consecutive rows of the step that belong to one sequence. */
typedef struct {
    int32_t first_row, n_rows;
    int32_t first_position;   /* its rows' cells begin here; a row sees the cells up to its own */
    const int32_t *pages;     /* block table */
    int32_t state;            /* slot of its sequence's recurrent state; -1 in models without */
    int32_t n_saves;
    lt_save saves[LT_MAX_SAVES]; /* ascending */
} lt_span;

typedef struct {
    int32_t n_rows, n_spans, n_threads;
    const int32_t *token, *position; /* [n_rows]; position: what rope turns by, the cell's number or less */
    const lt_span *spans;
} lt_batch;

typedef struct {
    enum { LT_NORM_NONE, LT_NORM_RMS, LT_NORM_LAYER } kind; /* x / rms(x); (x - mean) / deviation */
    float eps;
    const lt_weight *weight, *bias; /* times weight, plus bias; NULL: ones, zeros */
} lt_norm;

typedef enum {
    LT_ACT_NONE,
    LT_SILU,
    LT_GELU,       /* tanh form */
    LT_GELU_ERF,
    LT_RELU,
    LT_RELU2,      /* relu(x)^2 */
    LT_SIGMOID,
    LT_SWIGLU_OAI, /* g * sigmoid(1.702 g) * (u + 1), g = min(gate, 7), u = up within -7..7 */
    LT_ACTS
} lt_act;

enum { LT_MAX_ADDENDS = 3 };
typedef struct {
    lt_buffer *y;
    lt_norm norm;
    float scale; /* 0: one */
} lt_addend;

/* The prologue: what the rows of a matmul's input are. */
typedef struct {
    lt_buffer *x;
    lt_addend add[LT_MAX_ADDENDS];              /* x += scale * norm(y) first, in this order, up to the first without y (x changes) */
    const lt_weight *x_scale;                   /* then x *= its one element (x changes); NULL: no */
    lt_norm norm;                               /* input is norm(x) ... */
    float scale;                                /* ... times this; 0: one */
    lt_act act;
    lt_buffer *up;                              /* input is act(x) * up; NULL: act(x) */
    lt_buffer *row_gate;                        /* times sigmoid of the row's one element; NULL: no */
    const int32_t *rows; int32_t n_rows;        /* NULL: all rows of the step; otherwise these, packed */
} lt_input;

typedef struct {
    const lt_weight *w, *bias; /* bias NULL: none */
    lt_buffer *y;
    float cap;                 /* y = cap * tanh(y / cap); 0: none */
    int64_t y_first, y_apart;  /* outputs stand from y_first on; those of several matrices y_apart from each other (all: multiples of 16) */
} lt_product;

typedef struct {
    const lt_weight *tokens;
    const lt_weight *positions; /* rows to add, by position; NULL: none */
    float scale;                /* of the token's row */
    lt_norm norm;               /* of the sum */
} lt_embedding;

typedef struct { /* of the heads of q, k or v */
    lt_norm norm;
    enum {
        LT_EACH_HEAD, /* a head by itself, one weight for all */
        LT_OWN_WEIGHT, /* a head by itself, each with a weight of its own */
        LT_ALL_HEADS  /* all as one vector */
    } scope;
    bool late;        /* after rope */
} lt_head_norm;

typedef struct {
    int32_t layer;
    int32_t window;                  /* 0: all positions */
    bool chunked;                    /* windows lie side by side, a query sees its own only; otherwise they slide */
    int32_t rope;                    /* which lt_rope; -1: none */
    float scale;                     /* multiplies q after the norms and rope ... */
    float heat; int32_t heat_floor;  /* ... and, when heat > 0, so does 1 + heat * ln(1 + floor((position + heat_offset) / heat_floor)) */
    int32_t heat_offset;
    float clamp;                     /* q, k, v within -clamp..clamp as they come; 0: as they are */
    float cap;                       /* scores = cap * tanh(scores / cap); 0: none */
    lt_head_norm q_norm, k_norm, v_norm;
    bool latent;                     /* v is also what keys end with: k has only their first k_dim - v_dim values, which rotate */
    const lt_weight *sinks;          /* a score for each head that takes part in the softmax and has no value; NULL: none */
    const lt_weight *slopes;         /* score -= slope of the head * distance (ALiBi); NULL: none */
} lt_attention;

enum { LT_MAX_EXPERTS = 1024 };
typedef struct { /* which experts a row goes to, best first, of equals the lower one, and their weights */
    enum { 
        LT_ROUTE_SOFTMAX = 1,    /* of all logits */
        LT_ROUTE_SIGMOID,        /* of each */
        LT_ROUTE_SOFTMAX_CHOSEN, /* of those chosen */
        LT_ROUTE_SOFTMAX_NEAR    /* of the best that is left and those within 2 % of it, one choice after another (SparseMixer) */
    } scores;
    int32_t n_expert, n_used;
    int32_t n_groups, n_groups_used; /* only the experts of the best groups can be chosen; n_groups <= 1: of all */
    const lt_weight *bias;           /* added to scores, for choosing only; NULL: none */
    bool normalise;                  /* weights of the chosen sum to one ... */
    float scale;                     /* ... times this */
    bool weigh_input;                /* chosen by logits; the weight multiplies the expert's input, not its output */
} lt_router;

typedef struct {
    lt_input in;                       /* of all rows; nothing to add */
    lt_buffer *logits;                 /* the router's, [n_expert] */
    lt_router router;
    const lt_weight *gate, *up, *down; /* n_expert matrices each; gate NULL: act(up), not act(gate) * up */
    const lt_weight *gate_bias, *up_bias, *down_bias; /* vectors [n_expert * n_out]; NULL: none */
    lt_act act;
    lt_buffer *y;                      /* weighted sum of the chosen experts' outputs */
} lt_experts;

/* Cells of one sequence that change their position, in all layers and heads: what is in cell from + i of the block table goes to
 * cell to + i, the key turned by turn[i] more positions (to <= from: in ascending order nothing is overwritten unread). */
typedef struct {
    const int32_t *pages;  /* block table */
    int32_t from, to, n;
    int32_t n_threads;
    const int32_t *turn;   /* [n] */
    const int32_t *rope;   /* [n_layers]: which lt_rope, -1: none */
} lt_move;

typedef struct {
    int64_t weight_bytes, kv_bytes, scratch_bytes, state_bytes;
    int64_t page_bytes; /* of the KV pool's pages, each with all layers */
} lt_memory;

typedef struct {
    void (*destroy)(lt_backend *be);
    int (*weight)(lt_backend *be, lt_weight **out, const lt_gguf *file, const lt_weight_source *source); /* keeps nothing of the file */
    int (*vector)(lt_backend *be, lt_weight **out, const float *values, int64_t n);                      /* copied */
    int (*buffer)(lt_backend *be, lt_buffer **out, int32_t max_rows, int64_t width);
    int (*page_bytes)(lt_backend *be, const lt_kv_shape *shape, int64_t *out); /* of one page, all layers; n_pages does not matter */
    int (*ready)(lt_backend *be, const lt_kv_shape *shape, const lt_rope *ropes, int32_t n_ropes); /* once, after all weights: KV pool, scratch */
    void (*copy_page)(lt_backend *be, int32_t src, int32_t dst);
    void (*move)(lt_backend *be, const lt_move *move);                      /* between steps */
    void (*clear_state)(lt_backend *be, int32_t slot);                      /* all layers' recurrent states in a slot */
    void (*copy_state)(lt_backend *be, int32_t src, int32_t dst);
    void (*read_page)(lt_backend *be, int32_t page, int32_t n_tokens, void *out);       /* page_bytes; zeros where no token is */
    int (*write_page)(lt_backend *be, int32_t page, int32_t n_tokens, const void *in);  /* LT_E_FORMAT and no change: values that are never written */
    void (*begin)(lt_backend *be, const lt_batch *batch);                   /* the step's rows; stays valid through the step */
    void (*embed)(lt_backend *be, lt_buffer *y, const lt_embedding *e);
    void (*matmul)(lt_backend *be, const lt_input *in, const lt_product *out, int32_t n_out);
    void (*attend)(lt_backend *be, const lt_attention *a, lt_buffer *q, lt_buffer *k, lt_buffer *v, lt_buffer *out);
    void (*conv)(lt_backend *be, const lt_conv *op);                        /* these four: recurrent_ops.h */
    void (*scan)(lt_backend *be, const lt_scan *op);
    void (*delta)(lt_backend *be, const lt_delta *op);
    void (*gate)(lt_backend *be, const lt_gate *op);
    void (*experts)(lt_backend *be, const lt_experts *e);
    const float *(*read)(lt_backend *be, lt_buffer *b, int32_t row);        /* valid until the next matmul into b */
    lt_memory (*memory)(const lt_backend *be);
} lt_ops;

struct lt_backend {
    const lt_ops *ops;
};

/* Pool and place stay the caller's; the pool must outlive the backend, the place be forgotten before it is destroyed. */
int lt_cpu_backend(lt_backend **out, lt_pool *pool, lt_place *place, int32_t max_rows);

#endif
