/* panel.h - how a weight matrix lies in memory once loaded, and how an activation row lies beside it.
 *
 * A matrix [n_out, n_in] becomes ceil(n_out/16) panels of 16 rows.  A panel is a run of superblocks along k (n_in), in the
 * order in which the kernel reads them.  Quantised forms keep the file's codes and scales, only transposed, so a panel has
 * nearly the file's bytes.  Codes come in units of 32 k; eight vectors w[0..7] of 64 bytes make a unit:
 *
 *      w[j], byte 4*r + i  =  code of row r at k = 4*j + i            (what one dot-product instruction eats)
 *
 * A unit is stored as planes, in this order:
 *      8 bit   512 bytes: w[0..7]
 *      4 bit   256 bytes: n[0..3], w[j] = low nibbles of n[j], w[j+4] = high nibbles
 *      2 bit   128 bytes: t[0..1], w[j] = bits 2*(j%4) of t[j/4]      (added as bits 4.. where a 4-bit plane comes first)
 *      1 bit    64 bytes: eight 64-bit masks, one per w[j]            (adds 16 after 4 bits, 4 after 2 bits)
 *
 * Superblock of the simple forms (32 k):   f16 d[16] | f16 m[16] if any | unit
 * Superblock of the K forms (256 k):       f16 d[16] | f16 dmin[16] if any | per sub-block: scale byte [16] | ... | 8 units
 * Float forms: values [k][16] in their own type.
 *
 * Value of a code q in sub-block s:  dw * (q - offset) + mw,  dw = d * scale[s],  mw = m  or  -(dmin * min[s]).
 *
 * The one summation order (batch invariance): per output, units ascending; within a unit an exact int32 dot product per
 * sub-block, then acc = fma(float(dot), dw*dx, acc), then, where the form has mins, acc = fma(mw, dx*sum(x), acc).
 * Float forms: four partial sums by k mod 4, each fma in ascending k, then (p0+p1)+(p2+p3). */
#ifndef LT_PANEL_H
#define LT_PANEL_H

#include "core/status.h"

enum { LT_PANEL_ROWS = 16, LT_UNIT = 32, LT_FEW_COLUMNS = 24 /* up to here panels are not unpacked to scratch */ };
/* A panel pair unpacked, per unit: codes of both (1024 bytes), then dw and mw [2 panels][2 sub-blocks][16 floats]. */
enum { LT_UNIT_CODES = 1024, LT_UNIT_SCALES = 4 * 64, LT_UNIT_SCRATCH = LT_UNIT_CODES + 2 * LT_UNIT_SCALES };

typedef enum {
    LT_FORM_F32, LT_FORM_F16, LT_FORM_BF16,
    LT_FORM_Q4_0, LT_FORM_Q4_1, LT_FORM_Q5_0, LT_FORM_Q5_1, LT_FORM_Q8_0,
    LT_FORM_Q2_K, LT_FORM_Q3_K, LT_FORM_Q4_K, LT_FORM_Q5_K, LT_FORM_Q6_K,
    LT_FORM_COUNT
} lt_form;

/* Traits, as constant expressions of the form so that the kernels fold them away. */
#define FORM_IS_FLOAT(f) ((f) <= LT_FORM_BF16)
#define FORM_IS_K(f) ((f) >= LT_FORM_Q2_K)
#define FORM_HAS_8(f) ((f) == LT_FORM_Q8_0)
#define FORM_HAS_4(f) (!FORM_HAS_8(f) && (f) != LT_FORM_Q2_K && (f) != LT_FORM_Q3_K)
#define FORM_HAS_2(f) ((f) == LT_FORM_Q2_K || (f) == LT_FORM_Q3_K || (f) == LT_FORM_Q6_K)
#define FORM_HAS_1(f) ((f) == LT_FORM_Q5_0 || (f) == LT_FORM_Q5_1 || (f) == LT_FORM_Q3_K || (f) == LT_FORM_Q5_K)
#define FORM_HAS_MIN(f) \
    ((f) == LT_FORM_Q4_1 || (f) == LT_FORM_Q5_1 || (f) == LT_FORM_Q2_K || (f) == LT_FORM_Q4_K || (f) == LT_FORM_Q5_K)
#define FORM_OFFSET(f) \
    ((f) == LT_FORM_Q4_0 ? 8 : (f) == LT_FORM_Q5_0 ? 16 : (f) == LT_FORM_Q3_K ? 4 : (f) == LT_FORM_Q6_K ? 32 : 0)
#define FORM_SUBS(f) ((f) == LT_FORM_Q2_K || (f) == LT_FORM_Q3_K || (f) == LT_FORM_Q6_K ? 2 : 1) /* sub-blocks in a unit */
#define FORM_UNITS(f) (FORM_IS_K(f) ? 8 : 1)                                                     /* units in a superblock */
#define FORM_UNIT_BYTES(f) (FORM_HAS_8(f) * 512 + FORM_HAS_4(f) * 256 + FORM_HAS_2(f) * 128 + FORM_HAS_1(f) * 64)
/* Bytes of scales per sub-block of the K forms: Q2_K keeps scale and min in one byte. */
#define FORM_SCALE_BYTES(f) ((f) == LT_FORM_Q4_K || (f) == LT_FORM_Q5_K ? 32 : 16)
#define FORM_HEAD_BYTES(f) \
    (32 + 32 * FORM_HAS_MIN(f) + (FORM_IS_K(f) ? FORM_UNITS(f) * FORM_SUBS(f) * FORM_SCALE_BYTES(f) : 0))
#define FORM_SUPER_BYTES(f) (FORM_HEAD_BYTES(f) + FORM_UNITS(f) * FORM_UNIT_BYTES(f))
#define FORM_SUPER_K(f) (FORM_UNITS(f) * LT_UNIT)
#define FORM_FLOAT_BYTES(f) ((f) == LT_FORM_F32 ? 4 : 2)

int lt_form_of(int32_t ggml_type);                           /* lt_form, -1 when the type has none */
size_t lt_panel_bytes(lt_form form, int64_t n_in);           /* bytes of one panel */
/* Packs rows [16*panel, ..) of the file's matrix at src (row_bytes a row); rows at or beyond n_out become zero. */
void lt_pack_panel(lt_form form, const uint8_t *src, size_t row_bytes, int64_t n_in, int64_t n_out, int64_t panel, uint8_t *dst);
void lt_unpack_row(lt_form form, const uint8_t *panels, int64_t n_in, int64_t row, float *dst); /* row as float[n_in] */

/* One activation row, quantised: 8 bits with a float scale per 32 k, and the sums that offsets and mins need.
 *      int8 q[k] | float d[k/32] | int32 sum32[k/32] | int32 sum16[k/16] | float dsum32[k/32] | float dsum16[k/16] */
typedef struct {
    const int8_t *q;
    const float *d, *dsum32, *dsum16;
    const int32_t *sum32, *sum16;
} lt_q8_row;

static inline size_t lt_q8_bytes(int64_t n_in) /* a multiple of 64: rows stay aligned */
{
    size_t units = ((size_t)n_in + LT_UNIT - 1) / LT_UNIT;
    return (units * (LT_UNIT + 4 + 4 + 8 + 4 + 8) + 63) & ~(size_t)63;
}
static inline lt_q8_row lt_q8_at(const void *rows, int64_t n_in, int64_t row)
{
    const char *p = (const char *)rows + lt_q8_bytes(n_in) * (size_t)row;
    int64_t units = n_in / LT_UNIT;
    lt_q8_row r;
    r.q = (const int8_t *)p;
    r.d = (const float *)(p + n_in);
    r.sum32 = (const int32_t *)(r.d + units);
    r.sum16 = r.sum32 + units;
    r.dsum32 = (const float *)(r.sum16 + 2 * units);
    r.dsum16 = r.dsum32 + units;
    return r;
}

#endif
