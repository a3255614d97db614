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

static inline void unit_sums(lt_q8_unit *x)
{
    const __m256i biased = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)x->q), _mm256_set1_epi8((char)0x80));
    const __m256i sums = _mm256_sad_epu8(biased, _mm256_setzero_si256()); /* of eight bytes, each 128 too large */
    const __m256i halves = _mm256_sub_epi64(_mm256_add_epi64(sums, _mm256_bsrli_epi128(sums, 8)), _mm256_set1_epi64x(16 * 128));
    x->sum16[0] = (int16_t)_mm256_extract_epi16(halves, 0);
    x->sum16[1] = (int16_t)_mm256_extract_epi16(halves, 8);
}

#endif
