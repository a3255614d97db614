/* formats.h - the dequantisers behind the traits table; private to quant/.
 *
 * Each takes whole blocks from any address and writes n_values floats. */
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

#endif
