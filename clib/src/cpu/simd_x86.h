/* simd_x86.h - what AVX2 and AVX-512 VNNI spell alike. */
#ifndef LT_SIMD_X86_H
#define LT_SIMD_X86_H

#include <immintrin.h>

#include "cpu/simd.h"

/* An instruction of ours: GCC takes a function that does nothing but __builtin_prefetch for one without effect, and drops its calls. */
static inline void simd_prefetch(const void *p) { __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)p)); }
static inline void simd_prefetch_l2(const void *p) { __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)p)); }
static inline void simd_prefetch_write(const void *p) { __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p)); }

typedef const int8_t *vx;
static inline vx vx_load(const int8_t *p) { return p; }

/* What is left of sixteen lanes when their halves have met. */
static inline float sum_of_8(__m256 e)
{
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
static inline float largest_of_8(__m256 e)
{
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* Of four vectors, and of each 128 bits of theirs, one number: a vector whose quarters hold the four's. */
#define FOLD_2(mm, bits, op, a, b) op(mm##_unpacklo_##bits(a, b), mm##_unpackhi_##bits(a, b))
#define FOLD_4(mm, op, v) FOLD_2(mm, epi64, op, FOLD_2(mm, epi32, op, (v)[0], (v)[1]), FOLD_2(mm, epi32, op, (v)[2], (v)[3]))

#endif
