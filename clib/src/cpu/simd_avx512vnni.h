/* simd_avx512vnni.h - the sixteen-lane vocabulary of simd_ref.h, one 512-bit register each; byte products by VNNI. */
#ifndef LT_SIMD_H
#define LT_SIMD_H

#include "cpu/simd_x86.h"

#define LT_KERNEL(name) name##_avx512vnni
enum { DIRECT_COLUMNS = 16, FEW_COLUMNS = 48, TILE_COLUMNS = 6, TILE_PANELS = 2, FLOAT_COLUMNS = 12, SCALE_STEPS = 4, ATTEND_SUMS = 16 };

typedef __m512 vf;
typedef __m512i vi;
typedef __m512i vb;

static inline vf vf_set1(float x) { return _mm512_set1_ps(x); }
static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline vf vf_held(vf a) { return a; }
static inline void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vi vi_magnitude(vf a) { return _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)); }
static inline vf vf_of_bits(vi a) { return _mm512_castsi512_ps(a); }
static inline vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_zero_below(vf a, vf x, float limit)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_NLT_UQ), a);
}
static inline vf vf_from_vi(vi a) { return _mm512_cvtepi32_ps(a); }
static inline vi vi_round(vf a) { return _mm512_cvtps_epi32(a); }
static inline vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
static inline vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vf vf_times_power2(vf a, vi n)
{
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_slli_epi32(n, 23)));
}

static inline vf vf_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
static inline void vf_store_f16(void *p, vf a) { _mm256_storeu_si256(p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT)); }
static inline vf vf_load_bf16(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
static inline void vf_store_bf16(void *p, vf a)
{
    const vi u = _mm512_castps_si512(a), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), vi_set1(1));
    const vi rounded = vi_add(vi_add(u, vi_set1(0x7fff)), odd);
    const vi r = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), u, vi_set1(64 << 16));
    const __mmask16 kept = _mm512_cmp_ps_mask(_mm512_abs_ps(a), _mm512_set1_ps(0x1p-55f), _CMP_NLT_UQ);
    _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(_mm512_maskz_srli_epi32(kept, r, 16)));
}
static inline vf vf_from_bytes(__m128i b) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b)); }
static inline vf vf_load_u8(const void *p) { return vf_from_bytes(_mm_loadu_si128(p)); }
static inline vf vf_load_i8(const void *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p))); }
static inline vf vf_load_low4(const void *p) { return vf_from_bytes(_mm_and_si128(_mm_loadu_si128(p), _mm_set1_epi8(15))); }
static inline void vi_store_i8(int8_t *p, vi a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a)); }
static inline vf vf_mul_unless_zero(vf a, vf b)
{
    return _mm512_maskz_mul_ps(_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ), a, b);
}
static inline void vi_store_i16(int16_t *p, vi a) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(a)); }

typedef __m512i vp;
static inline vp vp_load_i16(const void *p) { return _mm512_loadu_si512(p); }
static inline vp vp_load_i8(const void *p) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p)); }
static inline vp pair_words(__m128i a, __m128i b)
{
    return _mm512_or_si512(_mm512_cvtepu8_epi32(a), _mm512_slli_epi32(_mm512_cvtepu8_epi32(b), 16));
}
static inline vp vp_pair_u8(const void *a, const void *b) { return pair_words(_mm_loadu_si128(a), _mm_loadu_si128(b)); }
static inline vp vp_pair_high4(const void *a, const void *b)
{
    return _mm512_and_si512(_mm512_srli_epi32(vp_pair_u8(a, b), 4), _mm512_set1_epi32(0xf000f));
}
static inline void vp_store(void *p, vp a) { _mm512_storeu_si512(p, a); }
/* Written as instructions: GCC 12 copies the accumulators of the intrinsics around and runs out of registers. */
static inline vi vi_dot_pairs(vi acc, vp a, int32_t x2)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(_mm512_set1_epi32(x2)));
    return acc;
}

static inline float vf_sum(vf a) { return sum_of_8(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1))); }
static inline float vf_largest(vf a) { return largest_of_8(_mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1))); }
static inline int32_t vi_largest(vi a) { return _mm512_reduce_max_epi32(a); }

#define FOLD_8(op, v) \
    const vi first = FOLD_4(_mm512, op, v), second = FOLD_4(_mm512, op, (v) + 4); \
    const vi halves = op(_mm512_shuffle_i32x4(first, second, 0x44), _mm512_shuffle_i32x4(first, second, 0xee)); \
    return op(_mm512_shuffle_i32x4(halves, halves, 0x88), _mm512_shuffle_i32x4(halves, halves, 0xdd))
static inline vi vi_sum_of_each(const vi v[8]) { FOLD_8(_mm512_add_epi32, v); }
static inline vi vi_largest_of_each(const vi v[8]) { FOLD_8(_mm512_max_epi32, v); }

static inline vb vb_load(const void *p) { return _mm512_loadu_si512(p); }
static inline void vb_store(void *p, vb a) { _mm512_storeu_si512(p, a); }
static inline vb vb_load_rows(const void *p)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(p)),
                               _mm512_set_epi32(0x0f0f0f0f, 0x0e0e0e0e, 0x0d0d0d0d, 0x0c0c0c0c, 0x0b0b0b0b, 0x0a0a0a0a, 0x09090909,
                                                0x08080808, 0x07070707, 0x06060606, 0x05050505, 0x04040404, 0x03030303, 0x02020202,
                                                0x01010101, 0));
}
static inline vb vb_set1(uint8_t x) { return _mm512_set1_epi8((char)x); }
static inline vb vb_add(vb a, vb b) { return _mm512_add_epi8(a, b); }
static inline vb vb_sub(vb a, vb b) { return _mm512_sub_epi8(a, b); }
static inline vb vb_mul(vb a, vb b)
{
    const __m512i odd = _mm512_set1_epi16((short)0xff00);
    return _mm512_or_si512(_mm512_andnot_si512(odd, _mm512_mullo_epi16(a, b)),
                           _mm512_mullo_epi16(_mm512_srli_epi16(a, 8), _mm512_and_si512(odd, b)));
}
static inline vb vb_low4(vb a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
static inline vb vb_high4(vb a) { return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15)); }
static inline vb vb_bits2(vb a, int pair) { return _mm512_and_si512(_mm512_srli_epi16(a, (unsigned)(2 * pair)), _mm512_set1_epi8(3)); }
static inline vb vb_add_bits2(vb a, vb b, int pair)
{
    return _mm512_or_si512(a, _mm512_slli_epi16(vb_bits2(b, pair), 4));
}
static inline vb vb_add_bit(vb a, const void *mask64, int value)
{
    uint64_t m;
    memcpy(&m, mask64, 8);
    return _mm512_mask_add_epi8(a, m, a, _mm512_set1_epi8((char)value));
}
static inline vb vb_wide(vb a) { return a; }
static inline vb vb_lookup(vb a, const uint8_t table[16])
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table)), a);
}

/* dw times the step's multiple is exact, and so is the power of two: the bits of dw * x->d, without a multiplication. */
static inline vf vf_scaled(const float *table, const lt_q8_unit *x)
{
    return _mm512_scalef_ps(_mm512_loadu_ps(table + 16 * x->step), _mm512_set1_ps(x->exponent));
}

static inline vi vi_dot(vi acc, vb u, vx x, int f)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(_mm512_set1_epi32(four_at(x + 4 * f))));
    return acc;
}
/* The same with x in memory: one instruction, where vi_dot has two. */
static inline vi vi_dot_once(vi acc, vb u, vx x, int f)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(u), "m"(*(const int8_t(*)[4])(x + 4 * f)));
    return acc;
}
static inline vi vi_dot_wide_once(vi acc, vb u, vx x, int f) { return vi_dot_once(acc, u, x, f); }
static inline vi vi_dot_wide_start(int32_t sum_x) { return _mm512_set1_epi32(-128 * sum_x); }
static inline vi vi_dot_wide(vi acc, vb u, vx x, int f) { return vi_dot(acc, u, x, f); }

static inline vf bf16_odd(vb pairs) { return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000))); }
static inline vf bf16_even(vb pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
static inline vf vf_dot_bf16_at(vf acc, vb w, const void *x)
{
    const vi pair = _mm512_set1_epi32(four_at(x));
    return vf_fma(bf16_even(w), bf16_even(pair), vf_fma(bf16_odd(w), bf16_odd(pair), acc));
}
/* By the instruction, which not every processor of this level has. */
#define LT_BF16_NATIVE
static inline vf vf_dot_bf16_native_at(vf acc, vb w, const void *x)
{
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const int8_t(*)[4])x));
    return acc;
}

#endif
