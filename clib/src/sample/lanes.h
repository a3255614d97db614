/* lanes.h - LT_WIDTH floats at a time in compiler vectors, so that plain C gets the machine's SIMD without being at the mercy
 * of the auto-vectoriser.  Lane-wise operations only: the results are those of scalar code. */
#ifndef LT_SAMPLE_LANES_H
#define LT_SAMPLE_LANES_H

#include <stdint.h>
#include <string.h>

#ifndef LT_WIDTH
#define LT_WIDTH 4
#endif
#ifdef __AVX__
#include <immintrin.h>
#endif

typedef float lt_fv __attribute__((vector_size(4 * LT_WIDTH)));
typedef int32_t lt_iv __attribute__((vector_size(4 * LT_WIDTH)));

static inline lt_fv lt_load(const float *p)
{
    lt_fv v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void lt_store(float *p, lt_fv v)
{
    memcpy(p, &v, sizeof v);
}

static inline lt_fv lt_all(float x)
{
    return (lt_fv){0} + x;
}

static inline lt_fv lt_select(lt_iv mask, lt_fv yes, lt_fv no)
{
    return (lt_fv)(((lt_iv)yes & mask) | ((lt_iv)no & ~mask));
}

/* a > b ? a : b, which is one instruction; compilers make three of the comparison. */
static inline lt_fv lt_max(lt_fv a, lt_fv b)
{
#if LT_WIDTH == 16 && defined(__AVX512F__)
    return (lt_fv)_mm512_max_ps((__m512)a, (__m512)b);
#elif LT_WIDTH == 8 && defined(__AVX__)
    return (lt_fv)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return lt_select(a > b, a, b);
#endif
}

static inline float lt_max_lane(lt_fv v)
{
#if LT_WIDTH == 16 && defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#elif LT_WIDTH == 8 && defined(__AVX__)
    __m128 half = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
#else
    float max = v[0];
    for (int i = 1; i < LT_WIDTH; i++)
        max = v[i] > max ? v[i] : max;
    return max;
#endif
}

#endif
