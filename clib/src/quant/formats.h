/* formats.h - the dequantisers behind the traits table and the spreads behind lt_levels; private to quant/.
 *
 * A dequantiser takes whole blocks from any address and writes n_values floats; a spread takes one block. */
#ifndef LT_FORMATS_H
#define LT_FORMATS_H

#include "quant/quant.h"

void lt_dequantize_f32(const void *src, float *dst, int64_t n_values);
void lt_dequantize_f16(const void *src, float *dst, int64_t n_values);
void lt_dequantize_bf16(const void *src, float *dst, int64_t n_values);

void lt_dequantize_q4_0(const void *src, float *dst, int64_t n_values);
void lt_dequantize_q4_1(const void *src, float *dst, int64_t n_values);
void lt_dequantize_q5_0(const void *src, float *dst, int64_t n_values);
void lt_dequantize_q5_1(const void *src, float *dst, int64_t n_values);
void lt_dequantize_q8_0(const void *src, float *dst, int64_t n_values);

void lt_dequantize_q2_k(const void *src, float *dst, int64_t n_values);
void lt_dequantize_q3_k(const void *src, float *dst, int64_t n_values);
void lt_dequantize_q4_k(const void *src, float *dst, int64_t n_values);
void lt_dequantize_q5_k(const void *src, float *dst, int64_t n_values);
void lt_dequantize_q6_k(const void *src, float *dst, int64_t n_values);

/* levels.c: all made of the spreads below */
void lt_dequantize_iq2_xxs(const void *src, float *dst, int64_t n_values);
void lt_dequantize_iq2_xs(const void *src, float *dst, int64_t n_values);
void lt_dequantize_iq2_s(const void *src, float *dst, int64_t n_values);
void lt_dequantize_iq3_xxs(const void *src, float *dst, int64_t n_values);
void lt_dequantize_iq3_s(const void *src, float *dst, int64_t n_values);
void lt_dequantize_iq1_s(const void *src, float *dst, int64_t n_values);
void lt_dequantize_iq1_m(const void *src, float *dst, int64_t n_values);
void lt_dequantize_iq4_nl(const void *src, float *dst, int64_t n_values);
void lt_dequantize_iq4_xs(const void *src, float *dst, int64_t n_values);
void lt_dequantize_tq1_0(const void *src, float *dst, int64_t n_values);
void lt_dequantize_tq2_0(const void *src, float *dst, int64_t n_values);
void lt_dequantize_mxfp4(const void *src, float *dst, int64_t n_values);

/* iq1.c iq2.c iq3.c iq4.c ternary.c */
void lt_spread_iq2_xxs(const void *block, lt_spread *s);
void lt_spread_iq2_xs(const void *block, lt_spread *s);
void lt_spread_iq2_s(const void *block, lt_spread *s);
void lt_spread_iq3_xxs(const void *block, lt_spread *s);
void lt_spread_iq3_s(const void *block, lt_spread *s);
void lt_spread_iq1_s(const void *block, lt_spread *s);
void lt_spread_iq1_m(const void *block, lt_spread *s);
void lt_spread_iq4_nl(const void *block, lt_spread *s);
void lt_spread_iq4_xs(const void *block, lt_spread *s);
void lt_spread_tq1_0(const void *block, lt_spread *s);
void lt_spread_tq2_0(const void *block, lt_spread *s);
void lt_spread_mxfp4(const void *block, lt_spread *s);

#endif
