/* recurrent_ops.h - the operations of recurrent layers, beside those of backend.h.
 *
 * A layer's state is a row of floats for each sequence, kept in the slot that the sequence's span names.  Rows of a span go through it one
 * after the other in one order, whatever chunk they came in; channels and heads are worked apart.  So a state, too, is the same bits
 * whatever else is in the step.
 *
 *      conv     y[t] = silu(bias + sum of w[i] * x[t - n_taps + 1 + i])                       state: the last n_taps - 1 inputs
 *      scan     dt = softplus(dt + bias);  H = H * exp(dt * a) + dt * x * B;  y = C.H + d * x state: H, n_state floats a channel
 *      delta    S = S * decay;  S += k (x) (v - S'k) * beta;  y = S'q                          state: S, k_dim floats a column of v
 *      gate     y = norm(x) * silu(z), or norm(x * silu(z)), in groups                         no state
 */
#ifndef LT_RECURRENT_OPS_H
#define LT_RECURRENT_OPS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lt_weight lt_weight;
typedef struct lt_buffer lt_buffer;

enum { LT_MAX_TAPS = 16, LT_MAX_SAVES = 3, LT_MAX_SCAN_STATE = 256 /* with a_per_state */ };

/* Columns of a buffer, from `at` on. */
typedef struct {
    lt_buffer *buffer; /* NULL: none */
    int64_t at;
} lt_slice;

/* A copy of a span's state, all layers, as it is behind its first n_rows rows. */
typedef struct {
    int32_t n_rows, slot;
} lt_save;

/* Causal, each channel by itself; y may be x or `before`. */
typedef struct {
    int32_t layer, n_taps, n_channels;
    int64_t state_at;              /* in the layer's state; [n_taps - 1][n_channels], oldest first */
    const lt_weight *w, *bias;     /* [n_channels][n_taps]; bias NULL: none */
    bool silu;
    lt_slice x, before, after, y;   /* x is multiplied by before, the result by after, where given */
} lt_conv;

/* Channels in heads of head_dim; B and C are shared by the heads of a group, which follow each other.  y may be x. */
typedef struct {
    int32_t layer, n_head, head_dim, n_state, n_group;
    int64_t state_at;              /* [block of 16 channels][n_state][16]; a block is of one head, or with a_per_state of 16 */
    bool a_per_state;              /* a: [n_head][n_state], and head_dim is 1; else [n_head] */
    const lt_weight *a, *d, *dt_bias; /* d, dt_bias: [n_head]; dt_bias NULL: none */
    lt_slice x, b, c, dt, y;        /* dt, [n_head], is overwritten */
} lt_scan;

/* q and k, [n_head_k][k_dim], get length 1 (q: 1/sqrt(k_dim)) and stay so in their buffer; y may be v.  beta = sigmoid(beta),
 * decay = exp(a * softplus(alpha + dt_bias)): head h's lie at h / run * step + h % run, and are overwritten. */
typedef struct {
    int32_t layer, n_head, n_head_k, k_dim, v_dim;
    int64_t state_at;              /* [n_head][v_dim / 16, rounded up][k_dim][16] */
    bool tiled;                    /* v head h goes with k head h % n_head_k; else with h / (n_head / n_head_k) */
    int32_t run, step;
    float eps;
    const lt_weight *a, *dt_bias;  /* [n_head] */
    lt_slice q, k, v, beta, alpha, y;
} lt_delta;

/* n columns in groups, each normalised by itself; y may be x or z. */
typedef struct {
    int32_t n, group;
    enum { LT_GATE_ONLY, LT_GATE_THEN_NORM, LT_NORM_THEN_GATE } order;
    const lt_weight *norm;         /* RMS; NULL: ones; group i's begin at i * norm_step */
    int32_t norm_step;
    float eps;
    lt_slice x, z, y;               /* z NULL: no gate */
} lt_gate;

static inline int32_t lt_scan_blocks(bool a_per_state, int32_t n_head, int32_t head_dim)
{
    return a_per_state ? (n_head + 15) / 16 : n_head * ((head_dim + 15) / 16);
}

static inline int64_t lt_delta_state(int32_t n_head, int32_t k_dim, int32_t v_dim)
{
    return (int64_t)n_head * ((v_dim + 15) / 16) * 16 * k_dim;
}

#endif
