/* kernels.h - the hot loops as one table per ISA level, filled from plain C upwards.
 *
 * Kernels take pointers and sizes: no tensors, allocation or threads.  All levels give the same bits. */
#ifndef LT_KERNELS_H
#define LT_KERNELS_H

#include "backend.h"
#include "cpu/kvpage.h"
#include "cpu/panel.h"
#include "cpu/recur.h"

enum { LT_TILE_PANELS = 8, LT_TILE_SUMS = 512 /* columns */, LT_TILE_CODES = 16384 }; /* worked together when there are more than few columns */

typedef struct { /* of a thread, for matmul of many columns */
    _Alignas(64) uint8_t codes[LT_TILE_CODES]; /* eight units of two panels, unpacked */
    _Alignas(64) float sums[LT_TILE_PANELS / 2][LT_TILE_SUMS * 2 * LT_PANEL_ROWS];
} lt_tile_scratch;

/* n_panels panels times n_columns activation rows. */
typedef struct {
    const uint8_t *panels;
    const uint8_t *levels;    /* [16], of the forms that have them */
    const void *x;            /* first block of the first column (panel.h) */
    const float *bias;        /* NULL or [n_panels*16] */
    float *y;                 /* y[column*y_stride + row], rows of the first panel on */
    lt_tile_scratch *scratch;
    int64_t n_in, y_stride;
    int64_t x_stride;         /* from a block to the column's next, in units of 64 bytes */
    int32_t n_panels, n_columns;
} lt_matmul_job;

/* Attention of n_queries (row, head) pairs that share one kv head, over pages (kvpage.h) in ascending order. */
typedef struct {
    const uint8_t *const *k_pages, *const *v_pages; /* [n_pages], from the page first_page * 64 positions on */
    int32_t first_page, n_pages;
    int32_t k_type, v_type;  /* LT_KV_* */
    int32_t n_queries, k_dim, v_stride;
    bool resume;             /* out and state hold what came of the pages before these */
    int32_t window;          /* a query sees keys <= position and, when window > 0, > position - window ... */
    bool chunked;            /* ... or those of its own window of many that lie side by side */
    float cap;               /* of scores, as lt_attention has it; 0: none */
    const float *slope;      /* [n_queries], score -= slope * distance; NULL: none */
    const int32_t *position; /* [n_queries] */
    const float *q;          /* float keys: [n_queries][k_dim], already scaled */
    const int16_t *q16;      /* integer keys: [n_queries][k_dim, even], at most LT_Q_MAX ... */
    const float *q_scale;    /* ... times [n_queries][k_dim / LT_Q_GROUP, rounded up] */
    float *out;              /* [n_queries][v_stride] */
    float *state;            /* [n_queries][2]: maximum, sum */
} lt_attend_job;

typedef struct {
    const char *name;
    int32_t few_columns; /* so many, and panels are unpacked in registers */
    void (*matmul[LT_FORM_COUNT])(const lt_matmul_job *job);
    void (*attend)(const lt_attend_job *job); /* out: weighted values, not yet divided by the sum */
    void (*merge)(float *to_state, float *to, const float *from_state, const float *from, int64_t v_stride); /* two runs of keys of a query; from NULL: zeros */
    float (*encode)(const float *x, int64_t n, int32_t limit, int16_t *code); /* n <= 64; the scale */
    void (*quantize)(const float *x, int64_t n, lt_q8_unit *x8, int64_t stride); /* to blocks `stride` units apart */
    void (*to_bf16)(const float *x, int64_t n, uint8_t *blocks, int64_t stride); /* to blocks `stride` bytes apart; zeros up to the next 16 */
    void (*rms_norm)(float *y, const float *x, const float *weight, int64_t n, float eps); /* y may be x; weight NULL: ones */
    void (*layer_norm)(float *y, const float *x, const float *weight, const float *bias, int64_t n, float eps); /* NULL: ones, zeros */
    void (*add)(float *y, const float *x, float scale, int64_t n);                         /* y += scale * x */
    void (*scale)(float *y, float scale, int64_t n);
    void (*clamp)(float *y, float limit, int64_t n);                                       /* within -limit..limit */
    void (*cap)(float *y, float cap, int64_t n);                                           /* cap * tanh(y / cap) */
    void (*act)(int act, float *y, const float *x, const float *up, int64_t n);            /* lt_act: act(x) * up; up NULL: act(x) */
    void (*softmax)(float *x, int64_t n);
    void (*rope)(float *x, const float *cosine, const float *sine, int64_t n_rot, int adjacent); /* [n_rot/2] each */
    void (*to_half)(uint16_t *y, const float *x, int64_t n);
    void (*softplus)(float *x, const float *bias, int64_t n);                              /* bias NULL: none */
    void (*decay)(float *x, const float *bias, const float *a, int64_t n);                 /* e^(a * softplus(x + bias)) */
    void (*unit_length)(float *x, int64_t n, float scale, float eps);                      /* x * scale / |x| */
    void (*conv)(const lt_conv_job *job);
    void (*scan)(const lt_scan_job *job);
    void (*delta)(const lt_delta_job *job);
} lt_kernels;

const lt_kernels *lt_kernels_get(void); /* the table of lt_cpu_level() */

extern const lt_kernels lt_kernels_ref;
#if defined(__x86_64__)
extern const lt_kernels lt_kernels_avx2, lt_kernels_avx512vnni, lt_kernels_avx512bf16;
#elif defined(__aarch64__)
extern const lt_kernels lt_kernels_neon;
#endif

#endif
