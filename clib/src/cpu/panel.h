/* panel.h - how a weight matrix lies in memory once loaded.
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
 * In forms of levels (quant.h) the code is a number in a table of 16.  Grids are resolved when a file is packed, since looking
 * them up for every token would cost more than the bytes that they save: with scales, IQ1 and IQ2 take 3.4 or 3.6 bits a weight
 * here, IQ3 takes 4.4.
 *
 * Superblock:   d[16] | m[16] if any | for each sub-block: scale byte [16], min byte [16] as far as there are any | 1 or 8 units
 *
 * Value of a code q in sub-block s:  dw * (q - offset) + mw,  dw = d * scale[s],  mw = m  or  -(m * min[s]).
 *
 * The one summation order (batch invariance): per output, units ascending; within a unit an exact int32 dot product per
 * sub-block, then acc = fma(float(dot), dw*dx, acc), then, where each unit has a min of its own, acc = fma(mw, dx*sum(x), acc).
 * Every multiplication beside the dot products costs as much as one of them, so two kinds of forms have fewer:
 *      folded codes   (q - offset) * scale[s] fits into a byte and takes the code's place: one exact dot product of a unit, dw = d
 *      integer mins   once for a block of eight units, an exact sum over sub-blocks of min[s] * sum[s], where the sums of x are in
 *                     steps of one size (lt_q8_unit); then acc = fma(float(sum), mw*step, acc) with mw = -m
 *
 * Float forms have neither superblocks nor units.  F32, F16: 16 rows at k = 0, at k = 1, ..  A step is one k, and an fma.
 * BF16: pairs of k, row by row, as the instruction for them wants it.  A step is one pair: an fma of the odd k, then one of the
 * even.  Activations are rounded to BF16 as well.  Of weights and activations, what is smaller than 2^-55 counts as zero: so
 * products and sums are multiples of 2^-124, never denormal, and it does not matter that the instruction flushes those.
 * Their order: of each 128 steps, the even and the odd are summed apart, both from zero in ascending order; then
 * sum = sum + (even + odd). */
#ifndef LT_PANEL_H
#define LT_PANEL_H

#include <stdbool.h>
#include <string.h>

#include "core/status.h"

enum { LT_PANEL_ROWS = 16, LT_UNIT = 32, LT_BLOCK_UNITS = 8, LT_BLOCK = LT_UNIT * LT_BLOCK_UNITS };

typedef enum {
    LT_FORM_F32, LT_FORM_F16, LT_FORM_BF16,
    LT_FORM_Q4_0, LT_FORM_Q4_1, LT_FORM_Q5_0, LT_FORM_Q5_1, LT_FORM_Q8_0, LT_FORM_IQ4_NL, LT_FORM_MXFP4,
    LT_FORM_Q2_K, LT_FORM_Q3_K, LT_FORM_Q4_K, LT_FORM_Q5_K, LT_FORM_Q6_K,
    LT_FORM_LEVELS_4, LT_FORM_LEVELS_3, LT_FORM_LEVELS_3_HALF, /* bits of a code; a scale for 32, or for each half of them */
    LT_FORM_TERNARY,
    LT_FORM_COUNT
} lt_form;

typedef struct {
    uint8_t planes; /* PLANE_* */
    uint8_t units;  /* in a superblock */
    uint8_t subs;   /* sub-blocks in a unit */
    uint8_t offset; /* LT_WIDE: codes are signed weights + 128 */
    enum { CODES_PLAIN, CODES_LEVELS, CODES_FOLDED } codes; /* LEVELS: numbers of levels; the kernel computes with level + 128 */
    enum { D_HALF, D_BF16, D_FLOAT } d;
    enum { SCALE_NONE, SCALE_I8, SCALE_U8, SCALE_LOW4 } scale;
    enum { MIN_NONE, MIN_HALF, MIN_U8, MIN_HIGH4 } min; /* MIN_HIGH4: in the scale's byte */
} lt_form_traits;

enum { PLANE_8 = 8, PLANE_4 = 4, PLANE_2 = 2, PLANE_1 = 1, LT_WIDE = 128 };

/* Constant, so that the kernels fold it away; float forms are rows of zeros. */
static const lt_form_traits lt_forms[LT_FORM_COUNT] = {
    [LT_FORM_Q4_0] = {PLANE_4, 1, 1, 8, CODES_PLAIN, D_HALF, SCALE_NONE, MIN_NONE},
    [LT_FORM_Q4_1] = {PLANE_4, 1, 1, 0, CODES_PLAIN, D_HALF, SCALE_NONE, MIN_HALF},
    [LT_FORM_Q5_0] = {PLANE_4 | PLANE_1, 1, 1, 16, CODES_PLAIN, D_HALF, SCALE_NONE, MIN_NONE},
    [LT_FORM_Q5_1] = {PLANE_4 | PLANE_1, 1, 1, 0, CODES_PLAIN, D_HALF, SCALE_NONE, MIN_HALF},
    [LT_FORM_Q8_0] = {PLANE_8, 1, 1, LT_WIDE, CODES_PLAIN, D_HALF, SCALE_NONE, MIN_NONE},
    [LT_FORM_IQ4_NL] = {PLANE_4, 1, 1, LT_WIDE, CODES_LEVELS, D_HALF, SCALE_NONE, MIN_NONE},
    [LT_FORM_MXFP4] = {PLANE_4, 1, 1, LT_WIDE, CODES_LEVELS, D_BF16, SCALE_NONE, MIN_NONE},
    [LT_FORM_Q2_K] = {PLANE_2, 8, 2, 0, CODES_FOLDED, D_HALF, SCALE_LOW4, MIN_HIGH4},
    [LT_FORM_Q3_K] = {PLANE_2 | PLANE_1, 8, 2, 4, CODES_FOLDED, D_HALF, SCALE_I8, MIN_NONE},
    [LT_FORM_Q4_K] = {PLANE_4, 8, 1, 0, CODES_PLAIN, D_HALF, SCALE_U8, MIN_U8},
    [LT_FORM_Q5_K] = {PLANE_4 | PLANE_1, 8, 1, 0, CODES_PLAIN, D_HALF, SCALE_U8, MIN_U8},
    [LT_FORM_Q6_K] = {PLANE_4 | PLANE_2, 8, 2, 32, CODES_PLAIN, D_HALF, SCALE_I8, MIN_NONE},
    [LT_FORM_LEVELS_4] = {PLANE_4, 8, 1, LT_WIDE, CODES_LEVELS, D_FLOAT, SCALE_I8, MIN_NONE},
    [LT_FORM_LEVELS_3] = {PLANE_2 | PLANE_1, 8, 1, LT_WIDE, CODES_LEVELS, D_FLOAT, SCALE_I8, MIN_NONE},
    [LT_FORM_LEVELS_3_HALF] = {PLANE_2 | PLANE_1, 8, 2, LT_WIDE, CODES_LEVELS, D_FLOAT, SCALE_I8, MIN_NONE},
    [LT_FORM_TERNARY] = {PLANE_2, 8, 1, 1, CODES_PLAIN, D_HALF, SCALE_NONE, MIN_NONE},
};

/* Sub-blocks with integer mins, two by two; 0 for other forms. */
#define FORM_MIN_PAIRS(f) (lt_forms[f].min == MIN_U8 || lt_forms[f].min == MIN_HIGH4 ? lt_forms[f].units * lt_forms[f].subs / 2 : 0)
#define FORM_IS_FLOAT(f) ((f) <= LT_FORM_BF16)
#define FORM_STEP_BYTES(f) ((f) == LT_FORM_F16 ? 32 : 64) /* of a float form's panel: 16 rows at one k, or at two (BF16) */
#define FORM_STEP_K(f) ((f) == LT_FORM_BF16 ? 2 : 1)
#define FORM_HAS(f, plane) ((lt_forms[f].planes & (plane)) != 0)
#define FORM_D_BYTES(f) (lt_forms[f].d == D_FLOAT ? 64 : 32)
#define FORM_UNIT_BYTES(f) (lt_forms[f].planes * 64) /* a plane of b bits has 64 * b bytes */
#define FORM_SCALES_AT(f) (FORM_D_BYTES(f) + (lt_forms[f].min != MIN_NONE ? 32 : 0))
#define FORM_SCALE_BYTES(f) ((lt_forms[f].scale != SCALE_NONE ? 16 : 0) + (lt_forms[f].min == MIN_U8 ? 16 : 0)) /* of a sub-block */
#define FORM_UNITS_AT(f) (FORM_SCALES_AT(f) + lt_forms[f].units * lt_forms[f].subs * FORM_SCALE_BYTES(f))
#define FORM_SUPER_BYTES(f) (FORM_UNITS_AT(f) + lt_forms[f].units * FORM_UNIT_BYTES(f))
#define FORM_SUPER_K(f) (lt_forms[f].units * LT_UNIT)

int lt_form_of(int32_t ggml_type);                           /* lt_form, -1 when the type has none */
void lt_form_levels(int32_t ggml_type, uint8_t levels[16]);  /* level + 128 of each code; zeros where codes are not levels */
size_t lt_panel_bytes(lt_form form, int64_t n_in);           /* bytes of one panel */
/* Packs rows [16*panel, ..) of the file's matrix at src (row_bytes a row); rows at or beyond n_out become zero. */
void lt_pack_panel(int32_t ggml_type, const uint8_t *src, size_t row_bytes, int64_t n_in, int64_t n_out, int64_t panel, uint8_t *dst);
/* Row as float[n_in], the bits that the file's dequantiser gives. */
void lt_unpack_row(lt_form form, const uint8_t levels[16], const uint8_t *panels, int64_t n_in, int64_t row, float *dst);

/* 32 values of an activation row, quantised to 8 bits: one cache line.
 *
 * The scale is rounded up to three significant bits, d = (1 + step/4) * 2^exponent.  That costs about a tenth of a bit, and it
 * lets a kernel take dw * d from four prepared multiples of dw and a shift of the exponent, off the ports that multiply. */
typedef struct {
    int8_t q[LT_UNIT];
    float d;        /* 0 for a unit of (nearly) zeros; infinite or NaN when a value is: every output then says so */
    float exponent; /* -infinity for d = 0 */
    int32_t step;   /* 0..3 */
    int16_t sum16[2]; /* of q in each half */
    float dsum;       /* d * sum(q) */
    float sum_step;   /* a power of two (or 0), one for the whole block; what follows is in such steps, rounded: at most 2^14 */
    int16_t halves[2]; /* d * sum16 */
    int16_t pair[2];   /* dsum of this unit and of the next, in every other unit */
} lt_q8_unit;

static inline int32_t four_at(const void *q) /* what one dot-product instruction takes */
{
    int32_t x4;
    memcpy(&x4, q, 4);
    return x4;
}

/* What a form is multiplied with: units, floats, or BF16.  Rows lie side by side, a block of 512 bytes of each at a time, which
 * is how many columns are multiplied:
 *      [blocks of a row][n_rows][512 bytes]
 * A block has the 256 values of eight units, 128 floats, or 256 BF16: 128 steps either way. */
typedef enum { LT_X_Q8, LT_X_F32, LT_X_BF16, LT_X_KINDS } lt_x_kind;
enum { LT_X_BLOCK_BYTES = 512, LT_BF16_LEAST = (127 - 55) << 7 /* 2^-55 */ };

#define FORM_X(f) ((f) == LT_FORM_BF16 ? LT_X_BF16 : FORM_IS_FLOAT(f) ? LT_X_F32 : LT_X_Q8)

static inline int64_t lt_x_blocks(lt_x_kind kind, int64_t n_in) /* of one row */
{
    const int64_t values = kind == LT_X_F32 ? LT_X_BLOCK_BYTES / 4 : LT_BLOCK;
    return (n_in + values - 1) / values;
}
static inline int64_t lt_q8_units(int64_t n_in) /* of one row */
{
    return lt_x_blocks(LT_X_Q8, n_in) * LT_BLOCK_UNITS;
}

#endif
