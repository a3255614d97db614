/* model.h - a decoder on a backend: hyper-parameters, weights, one forward pass. */
#ifndef LT_MODEL_H
#define LT_MODEL_H

#include "backend.h"
#include "models/keys.h"
#include "models/recurrent.h"

/* What an architecture is, as far as it differs from the plain decoder: RMS norm before attention and MLP, rotary embedding of
 * halves, gated MLP.  Fused q|k|v or gate|up, biases, tied embeddings and scales are as the file has them. */
enum {
    LT_ROPE_ADJACENT = 1 << 0,    /* rotary pairs (2i, 2i+1); otherwise (i, i + n/2) */
    LT_LAYER_NORM = 1 << 1,       /* layer norm everywhere, biases optional */
    LT_BARE_NORM = 1 << 2,        /* norms have no weights */
    LT_EMBEDDING_NORM = 1 << 3,   /* the embedding is normed */
    LT_NO_PRE_NORM = 1 << 4,      /* attention and MLP see x as it is */
    LT_POST_NORM = 1 << 5,        /* their outputs are normed before they are added */
    LT_FFN_NORM_LATE_NAME = 1 << 6, /* the MLP's norm is called post_attention_norm in the file */
    LT_PARALLEL = 1 << 7,         /* attention and MLP see the same x; one norm unless the file has two */
    LT_QKV_BIAS = 1 << 8,         /* q, k, v have biases (optional elsewhere) */
    LT_QK_NORM = 1 << 9,          /* norm of q and k, of each head or of all as the weight's size says */
    LT_QK_NORM_LATE = 1 << 10,    /* ... after the rotation */
    LT_QK_NORM_BARE = 1 << 11,    /* ... of each head, without weights, after the rotation */
    LT_V_NORM = 1 << 12,          /* norm of each head of v, without weights */
    LT_UNGATED = 1 << 13,         /* MLP: act(up) */
    LT_EMBEDDING_SQRT = 1 << 14,  /* embeddings times sqrt(n_embd) unless the file says otherwise */
    LT_LOGITS_DIVIDED = 1 << 15,  /* logit_scale divides; otherwise it multiplies */
    LT_WINDOW_CHUNKS = 1 << 16,   /* windows lie side by side; otherwise they slide */
    LT_WINDOW_ROPE = 1 << 17,     /* window layers rotate by a base of their own, unscaled */
    LT_WINDOW_OPTIONAL = 1 << 18, /* no layer has a window when the file gives no width, or 0 */
    LT_HALF_FF = 1 << 19,         /* the file's feed_forward_length counts gate and up */
    LT_UNSCALED = 1 << 20,        /* attention scale 1 */
    LT_MINICPM_SCALES = 1 << 21,  /* scales that older files do not carry */
    LT_LLAMA4_HEAT = 1 << 22,     /* likewise: queries of layers that do not rotate grow with their position */
    LT_QK_NORM_OPTIONAL = 1 << 23,
    LT_ROUTE_NORMALISED = 1 << 24, /* weights of a row's experts sum to one unless the file says otherwise */
    LT_WEIGH_INPUT = 1 << 25      /* see lt_router */
};

/* Which layers are recurrent: those without attention heads, or: */
enum {
    LT_MIX_BESIDE = 1 << 0,       /* all, beside their attention */
    LT_MIX_OR_MLP = 1 << 1,       /* those without heads and MLP: a layer is one thing, behind attn_norm */
    LT_MIX_TILED = 1 << 2,        /* not which, but: v heads go round the k heads; otherwise those of a k head follow each other */
    LT_MIX_ROPE_BY_FILE = 1 << 3  /* attention rotates unless rope.scaling.finetuned is false */
};
enum { LT_MAX_LAYERS = 1024, LT_ALL_LAYERS = LT_MAX_LAYERS + 1 };

/* How a model knows one position from another.  The first three: a rotation of queries and keys. */
typedef enum {
    LT_ROTATES,              /* in every layer */
    LT_ROTATES_WINDOWS,      /* where some layers have windows, in those only */
    LT_ROTATES_3_OF_4,       /* not in every fourth layer */
    LT_NO_POSITIONS,         /* not at all */
    LT_ALIBI,                /* a price for distance */
    LT_LEARNED_POSITIONS     /* a row for each position is added to the embedding */
} lt_positions;

typedef struct {
    const char *arch;        /* general.architecture */
    uint32_t is;             /* the above, or-ed */
    lt_positions positions;
    lt_act act;              /* of the MLP; LT_ACT_NONE: silu */
    int32_t window_period;   /* of so many layers the last sees everything, the others a window; 0: no windows; LT_ALL_LAYERS: no last */
    int32_t window;          /* their width when the file gives none; 0: it must */
    float window_rope_base;  /* 0: as the others' */
    lt_mix_kind mixer;       /* of recurrent layers; LT_MIX_NONE: there are none */
    uint32_t mixes;          /* LT_MIX_BESIDE .. */
    int32_t route;           /* scores of lt_router when the file does not say; 0: LT_ROUTE_SOFTMAX */
    int32_t n_layer, n_vocab; /* the row is for models of so many layers and tokens only, which is all that tells them apart; 0: any */
} lt_traits;

static inline bool lt_rotates(const lt_traits *t)
{
    return t->positions <= LT_ROTATES_3_OF_4;
}

const lt_traits *lt_traits_find(const char *arch, int32_t n_layer, int32_t n_vocab); /* NULL: not served */

/* Rotary embedding of one kind of layer. */
typedef struct {
    int32_t n_rot;
    float base;
    bool scaled;             /* by factor, factors of the file, yarn; otherwise plain */
} lt_rope_kind;
enum { LT_ROPE_FULL, LT_ROPE_WINDOW, LT_ROPE_KINDS };

typedef struct { /* attention with a latent (latent.c); n_kv 0: with keys and values of its own */
    int32_t n_kv, n_q; /* widths of the latent, and of the one that queries come from; n_q 0: from x */
    int32_t k_dim;     /* of a head as trained */
    float scale;
} lt_latent;

typedef struct {
    int32_t n_layer, n_embd, n_ctx_train, n_vocab;
    int32_t n_further;       /* layers behind those, which predict further tokens: not served */
    float eps;
    float embedding_scale, residual_scale, logit_scale; /* multiply; 1: none */
    float logit_cap, attention_cap, attention_clamp;    /* 0: none */
    float alibi_max_bias;
    lt_rope_kind rope[LT_ROPE_KINDS];
    bool no_rope;
    float rope_factor;       /* positions are divided by it (linear, yarn); 1: none */
    enum { LT_SCALING_LINEAR, LT_SCALING_YARN, LT_SCALING_LONG } scaling; /* long: two sets of divisors, by the context in use */
    float original_ctx, attention_factor;
    float yarn_ext_factor, yarn_beta_fast, yarn_beta_slow, yarn_log_multiplier;
    float heat; int32_t heat_floor, heat_offset; /* see lt_attention; heat 0: none */
    lt_router router;        /* of all mixtures; n_expert 0: none */
    lt_mix_numbers mix;      /* of recurrent layers */
    lt_latent latent;
} lt_hparams;

int lt_router_read(lt_router *r, lt_keys *k, const lt_traits *t);
int lt_latent_read(lt_hparams *h, lt_keys *k);

/* Reads and range-checks; every error names file, key, value and limit. */
int lt_hparams_read(lt_hparams *h, const lt_gguf *g, const lt_traits *t, int32_t n_vocab);

typedef struct {
    lt_layer_shape shape;
    int32_t n_ff;
    lt_attention attention;  /* its numbers, norms of heads */
    lt_norm attn_norm, post_attn_norm, ffn_norm, post_ffn_norm;
    const lt_weight *q, *k, *v, *o, *q_bias, *k_bias, *v_bias, *o_bias;
    const lt_weight *attn_gate; /* what attention gives times sigmoid of this; NULL: one */
    bool is_recurrent;
    lt_mixer *mixer;         /* of recurrent layers: instead of attention or beside it */
    const lt_weight *q_a, *q_rope, *k_b, *v_b; /* of attention with a latent: q is what does not rotate, k what does, v the latent */
    lt_norm q_a_norm;
    int32_t v_head;
    const lt_weight *gate, *up, *down, *gate_bias, *up_bias, *down_bias;
    const lt_weight *router, *router_bias; /* of a mixture of experts in place of the MLP, which then is the one that every row goes to ... */
    const lt_weight *shared_gate;          /* ... times sigmoid of this; NULL: one */
    lt_experts experts;      /* but for buffers */
    const lt_weight *out_scale; /* x times it after the layer; NULL: none */
    bool parallel;
} lt_layer;

typedef struct {
    const lt_traits *traits;
    lt_hparams h;
    lt_backend *be;          /* the model's own */
    lt_embedding embedding;
    lt_norm output_norm;
    lt_weight *output, *output_bias;
    lt_layer *layers;
    lt_buffer *x, *q, *k, *v, *attn_gate, *attended, *gate, *up, *logits;
    lt_buffer *branch[3];    /* what attention, MLP (or experts) and what is beside them (recurrent layer, shared expert) give */
    lt_mix_buffers mix;
    lt_input rest;           /* what the last layer has left to be added to x */
    lt_buffer *routes, *shared_gate; /* of models with experts */
    lt_buffer *q_latent, *heads;     /* of models with a latent; heads: what of q does not rotate, then the heads' values */
    int64_t n_params;
    int32_t max_outputs;     /* rows of logits at a time */
    int32_t n_tensors_unused;
    bool has_windows;
} lt_model;

/* Numbers of every layer: shapes, windows, which rotation. */
int lt_layers_read(lt_model *m, const lt_gguf *g);
void lt_latent_shape(const lt_hparams *h, lt_layer *y);

/* Loads all weights into be (which stays the caller's).  *progress (may be NULL) goes towards 1000; negative cancels. */
int lt_model_load(lt_model *m, const lt_gguf *g, int32_t n_vocab, lt_backend *be, int32_t max_rows, int32_t max_outputs, int32_t *progress);
void lt_model_unload(lt_model *m);

/* The cache's shape but for pages; shapes has room for all layers and is what it points to. */
lt_kv_shape lt_model_kv_shape(const lt_model *m, lt_layer_shape *shapes, int32_t k_type, int32_t v_type);
/* Sets up KV pool and rope tables for contexts of up to n_ctx; after load. */
int lt_model_ready(lt_model *m, const lt_gguf *g, const lt_kv_shape *shape, int32_t n_ctx);

/* One pass over the step's rows: appends their keys and values, leaves the hidden states for lt_model_logits. */
void lt_model_forward(lt_model *m, const lt_batch *batch);
/* Cells that change their position; move.rope is filled in here. */
void lt_model_move(lt_model *m, lt_move move);
/* Logits of up to max_outputs rows of the pass, each row at most once a pass; read with ops->read(m->logits, i). */
void lt_model_logits(lt_model *m, const int32_t *rows, int32_t n_rows);

#endif
