/* recur.h - the hot loops of recurrent layers: jobs of the kernels in recur_tmpl.h. */
#ifndef LT_CPU_RECUR_H
#define LT_CPU_RECUR_H

#include <stdint.h>

#include "recurrent_ops.h"

typedef struct { /* consecutive rows of a buffer, from some column on */
    float *p;    /* NULL: none */
    int64_t stride;
} lt_strip;

typedef struct { /* n_channels of at most 16 */
    const float *w, *bias; /* [n_channels][n_taps]; bias NULL: none */
    float *state;          /* [n_taps - 1][state_stride] */
    int64_t state_stride;
    int32_t n_rows, n_taps, n_channels, silu;
    lt_strip x, before, after, y;
} lt_conv_job;

typedef struct { /* n_channels of at most 16, of one head or of as many heads */
    const float *a, *d;   /* one of each; each_head: [n_channels][n_state], [n_channels] */
    float *state;         /* [n_state][16] */
    int32_t n_rows, n_channels, n_state, each_head;
    lt_strip x, b, c, dt, y;
} lt_scan_job;

typedef struct { /* n_columns of at most 16 of a head's values */
    float *state; /* [k_dim][16] */
    int32_t n_rows, k_dim, n_columns;
    lt_strip q, k, v, beta, decay, y;
} lt_delta_job;

#endif
