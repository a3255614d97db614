/* recurrent.h - layers whose past is a state: short convolutions, Mamba 1 and 2, the gated delta net.
 *
 *      LT_MIX_CONV     in -> [b | c | x];  y = c * conv(b * x)
 *      LT_MIX_MAMBA    in -> [x | z];  conv(x) -> [dt | B | C];  dt -> a step for each channel;  y = scan(x) * silu(z)
 *      LT_MIX_MAMBA2   in -> [z | x | B | C | dt];  conv(x B C);  y = norm(scan(x) * silu(z))
 *      LT_MIX_DELTA    in -> [q | k | v], z, beta, alpha;  conv(q k v);  y = norm(delta(q, k, v)) * silu(z)
 *
 * Everything but the products is filled in when the layer is loaded, so that a forward pass only goes through it. */
#ifndef LT_RECURRENT_H
#define LT_RECURRENT_H

#include "backend.h"
#include "models/keys.h"

typedef enum { LT_MIX_NONE, LT_MIX_CONV, LT_MIX_MAMBA, LT_MIX_MAMBA2, LT_MIX_DELTA } lt_mix_kind;

typedef struct { /* of all layers of a model */
    int32_t n_taps, n_inner, n_state, n_group;
    int32_t n_head;          /* mamba: the rank of dt */
    bool norms_dt_b_c;       /* dt, B and C are normed, without weights */
} lt_mix_numbers;

int lt_mix_numbers_read(lt_mix_numbers *n, lt_keys *k, lt_mix_kind kind, int32_t n_embd);

/* Columns of what the first product gives; of the convolution; floats of a layer's state. */
int64_t lt_mix_in_width(lt_mix_kind kind, const lt_mix_numbers *n);
int32_t lt_mix_channels(lt_mix_kind kind, const lt_mix_numbers *n);
int64_t lt_mix_state(lt_mix_kind kind, const lt_mix_numbers *n);

typedef struct { /* shared by all layers */
    lt_buffer *in, *z;
    lt_buffer *low, *steps;          /* mamba: dt | B | C, dt of channels; delta: alpha, beta, or both in steps */
} lt_mix_buffers;

int lt_mix_buffers_create(lt_mix_buffers *b, lt_backend *be, lt_mix_kind kind, const lt_mix_numbers *n, int32_t max_rows);

typedef struct {
    lt_product in[4], low, dt, out; /* y of out is set by the caller */
    int32_t n_in;
    lt_conv conv;
    lt_gate low_norms[3], gate;     /* n 0: none */
    lt_scan scan;                   /* n_head 0: none */
    lt_delta delta;
} lt_mixer;

/* Everything but weights. */
void lt_mixer_fill(lt_mixer *x, lt_mix_kind kind, const lt_mix_numbers *n, const lt_mix_buffers *b, int32_t layer, float eps);

/* y = what the layer gives for the rows that in describes. */
void lt_mixer_forward(lt_backend *be, const lt_mixer *x, const lt_input *in, lt_buffer *y);

#endif
