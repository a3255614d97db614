/* model.h - a decoder on a backend: hyper-parameters, weights, one forward pass. */
#ifndef LT_MODEL_H
#define LT_MODEL_H

#include "backend.h"

/* What an architecture is, as far as it differs from the plain pre-norm decoder with gated MLP. */
typedef struct {
    const char *arch;        /* general.architecture */
    bool rope_adjacent;      /* rotary pairs (2i, 2i+1); otherwise halves */
    bool qkv_bias;           /* q, k, v have biases (optional elsewhere) */
    bool qk_norm;            /* RMS norm of each q and k head before rope */
    bool post_norms;         /* norm after attention and after the MLP, before their residual adds */
    bool scale_embedding;    /* embeddings times sqrt(n_embd) */
    bool gelu;               /* MLP gate: gelu (tanh) instead of silu */
    int32_t window_period;   /* of so many layers the last sees everything, the others a window; 0: no windows */
    float window_rope_base;  /* rope base of the window layers, unscaled */
} lt_traits;

const lt_traits *lt_traits_find(const char *arch, uint64_t len); /* NULL: not served */

enum { LT_MAX_LAYERS = 1024 };

typedef struct {
    int32_t n_layer, n_embd, n_ff, n_head, n_head_kv, k_dim, v_dim, n_rot, n_ctx_train, n_vocab, window;
    float eps, attention_scale;
    float rope_base, window_rope_base;
    float rope_factor;       /* positions are divided by it (linear, yarn); 1: none */
    bool yarn;
    float yarn_original_ctx, yarn_attention_factor, yarn_ext_factor, yarn_beta_fast, yarn_beta_slow;
} lt_hparams;

/* Reads and range-checks; every error names file, key, value and limit. */
int lt_hparams_read(lt_hparams *h, const lt_gguf *g, const lt_traits *t, int32_t n_vocab);

typedef struct {
    const lt_weight *attn_norm, *q, *k, *v, *o, *q_bias, *k_bias, *v_bias, *o_bias, *q_norm, *k_norm, *post_attn_norm;
    const lt_weight *ffn_norm, *gate, *up, *down, *gate_bias, *up_bias, *down_bias, *post_ffn_norm;
} lt_layer;

typedef struct {
    const lt_traits *traits;
    lt_hparams h;
    lt_backend *be;          /* the model's own */
    lt_weight *embedding, *output_norm, *output;
    lt_layer *layers;
    lt_buffer *x, *q, *k, *v, *attended, *branch, *gate, *up, *logits;
    int64_t n_params;
    int32_t max_outputs;     /* rows of logits at a time */
    int32_t n_tensors_unused;
} lt_model;

/* Loads all weights into be (which stays the caller's).  *progress (may be NULL) goes towards 1000; negative cancels. */
int lt_model_load(lt_model *m, const lt_gguf *g, int32_t n_vocab, lt_backend *be, int32_t max_rows, int32_t max_outputs, int32_t *progress);
void lt_model_unload(lt_model *m);

lt_kv_shape lt_model_kv_shape(const lt_model *m, int32_t k_type, int32_t v_type); /* but for pages */
/* Sets up KV pool and rope tables; after load. */
int lt_model_ready(lt_model *m, const lt_gguf *g, const lt_kv_shape *shape);

/* One pass over the step's rows: appends their keys and values, leaves the hidden states for lt_model_logits. */
void lt_model_forward(lt_model *m, const lt_batch *batch);
/* Cells that change their position; move.rope is filled in here. */
void lt_model_move(lt_model *m, lt_move move);
/* Logits of up to max_outputs rows of the pass, each row at most once a pass; read with ops->read(m->logits, i). */
void lt_model_logits(lt_model *m, const int32_t *rows, int32_t n_rows);

#endif
