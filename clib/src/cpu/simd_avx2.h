/* simd_avx2.h - the sixteen-lane vocabulary of simd_ref.h with AVX2, FMA and F16C: a pair of 256-bit registers each. */
#ifndef LT_SIMD_H
#define LT_SIMD_H

#include "cpu/simd_x86.h"

#define LT_KERNEL(name) name##_avx2
enum { DIRECT_COLUMNS = 4, FEW_COLUMNS = 24, TILE_COLUMNS = 2, TILE_PANELS = 2, FLOAT_COLUMNS = 3, SCALE_STEPS = 1, ATTEND_SUMS = 16 };

typedef struct { __m256 lo, hi; } vf;
typedef struct { __m256i lo, hi; } vi;
typedef struct { __m256i lo, hi; } vb;

#define BOTH(f, a, b) ((vf){f((a).lo, (b).lo), f((a).hi, (b).hi)})

static inline vf vf_set1(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline vf vf_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline vf vf_held(vf a)
{
    __asm__("" : "+x"(a.lo), "+x"(a.hi));
    return a;
}
static inline void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a.lo); _mm256_storeu_ps(p + 8, a.hi); }
static inline vf vf_add(vf a, vf b) { return BOTH(_mm256_add_ps, a, b); }
static inline vf vf_sub(vf a, vf b) { return BOTH(_mm256_sub_ps, a, b); }
static inline vf vf_mul(vf a, vf b) { return BOTH(_mm256_mul_ps, a, b); }
static inline vf vf_div(vf a, vf b) { return BOTH(_mm256_div_ps, a, b); }
static inline vf vf_max(vf a, vf b) { return BOTH(_mm256_max_ps, a, b); }
static inline vi vi_magnitude(vf a)
{
    __m256i m = _mm256_set1_epi32(0x7fffffff);
    return (vi){_mm256_and_si256(_mm256_castps_si256(a.lo), m), _mm256_and_si256(_mm256_castps_si256(a.hi), m)};
}
static inline vi vi_add(vi a, vi b) { return (vi){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
static inline vf vf_of_bits(vi a) { return (vf){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
static inline vi vi_max(vi a, vi b) { return (vi){_mm256_max_epi32(a.lo, b.lo), _mm256_max_epi32(a.hi, b.hi)}; }
static inline vf vf_fma(vf a, vf b, vf c) { return (vf){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
static inline vf vf_zero_below(vf a, vf x, float limit)
{
    __m256 l = _mm256_set1_ps(limit);
    return (vf){_mm256_andnot_ps(_mm256_cmp_ps(x.lo, l, _CMP_LT_OQ), a.lo), _mm256_andnot_ps(_mm256_cmp_ps(x.hi, l, _CMP_LT_OQ), a.hi)};
}
static inline vf vf_from_vi(vi a) { return (vf){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
static inline vi vi_round(vf a) { return (vi){_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
static inline vi vi_set1(int32_t x) { return (vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
static inline vf vf_times_power2(vf a, vi n)
{
    return (vf){_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.lo), _mm256_slli_epi32(n.lo, 23))),
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.hi), _mm256_slli_epi32(n.hi, 23)))};
}

static inline vf vf_load_f16(const void *p)
{
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128(p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + 1))};
}
static inline void vf_store_f16(void *p, vf a)
{
    _mm_storeu_si128(p, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)p + 1, _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}
static inline __m256 bf16x8(const __m128i *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
static inline vf vf_load_bf16(const void *p) { return (vf){bf16x8(p), bf16x8((const __m128i *)p + 1)}; }
static inline __m256i to_bf16x8(__m256 a) /* in the low halves */
{
    const __m256i u = _mm256_castps_si256(a), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(64 << 16));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    const __m256 magnitude = _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)));
    const __m256i tiny = _mm256_castps_si256(_mm256_cmp_ps(magnitude, _mm256_set1_ps(0x1p-55f), _CMP_LT_OQ));
    return _mm256_srli_epi32(_mm256_andnot_si256(tiny, _mm256_blendv_epi8(rounded, quiet, nan)), 16);
}
static inline void vf_store_bf16(void *p, vf a)
{
    _mm256_storeu_si256(p, _mm256_permute4x64_epi64(_mm256_packus_epi32(to_bf16x8(a.lo), to_bf16x8(a.hi)), 0xd8));
}
static inline vf vf_from_bytes(__m128i b)
{
    return (vf){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8)))};
}
static inline vf vf_load_u8(const void *p) { return vf_from_bytes(_mm_loadu_si128(p)); }
static inline vf vf_load_i8(const void *p)
{
    __m128i b = _mm_loadu_si128(p);
    return (vf){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8)))};
}
static inline vf vf_load_low4(const void *p) { return vf_from_bytes(_mm_and_si128(_mm_loadu_si128(p), _mm_set1_epi8(15))); }
static inline void vi_store_i8(int8_t *p, vi a)
{
    __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}
static inline __m256 mul_unless_zero(__m256 a, __m256 b)
{
    return _mm256_and_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ), _mm256_mul_ps(a, b));
}
static inline vf vf_mul_unless_zero(vf a, vf b) { return BOTH(mul_unless_zero, a, b); }
static inline void vi_store_i16(int16_t *p, vi a)
{
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8));
}

typedef struct { __m256i lo, hi; } vp;
static inline vp vp_load_i16(const void *p) { return (vp){_mm256_loadu_si256(p), _mm256_loadu_si256((const __m256i *)p + 1)}; }
static inline vp vp_load_i8(const void *p)
{
    return (vp){_mm256_cvtepi8_epi16(_mm_loadu_si128(p)), _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p + 1))};
}
static inline __m256i pair_words(__m128i a, __m128i b)
{
    return _mm256_or_si256(_mm256_cvtepu8_epi32(a), _mm256_slli_epi32(_mm256_cvtepu8_epi32(b), 16));
}
static inline vp vp_pair_u8(const void *a, const void *b)
{
    const __m128i p = _mm_loadu_si128(a), q = _mm_loadu_si128(b);
    return (vp){pair_words(p, q), pair_words(_mm_srli_si128(p, 8), _mm_srli_si128(q, 8))};
}
static inline vp vp_pair_high4(const void *a, const void *b)
{
    const vp p = vp_pair_u8(a, b);
    const __m256i m = _mm256_set1_epi32(0xf000f);
    return (vp){_mm256_and_si256(_mm256_srli_epi32(p.lo, 4), m), _mm256_and_si256(_mm256_srli_epi32(p.hi, 4), m)};
}
static inline void vp_store(void *p, vp a) { _mm256_storeu_si256(p, a.lo); _mm256_storeu_si256((__m256i *)p + 1, a.hi); }
static inline vi vi_dot_pairs(vi acc, vp a, int32_t x2)
{
    const __m256i x = _mm256_set1_epi32(x2);
    return (vi){_mm256_add_epi32(acc.lo, _mm256_madd_epi16(a.lo, x)), _mm256_add_epi32(acc.hi, _mm256_madd_epi16(a.hi, x))};
}

static inline float vf_sum(vf a) { return sum_of_8(_mm256_add_ps(a.lo, a.hi)); }
static inline float vf_largest(vf a) { return largest_of_8(_mm256_max_ps(a.lo, a.hi)); }
static inline int32_t vi_largest(vi a)
{
    __m256i e = _mm256_max_epi32(a.lo, a.hi);
    __m128i q = _mm_max_epi32(_mm256_castsi256_si128(e), _mm256_extracti128_si256(e, 1));
    q = _mm_max_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}

#define FOLD_8(op, v) \
    __m256i x[8]; \
    UNROLL for (int i = 0; i < 8; i++) x[i] = op((v)[i].lo, (v)[i].hi); \
    const __m256i first = FOLD_4(_mm256, op, x), second = FOLD_4(_mm256, op, x + 4); \
    const __m256i all = op(_mm256_permute2x128_si256(first, second, 0x20), _mm256_permute2x128_si256(first, second, 0x31)); \
    return (vi){all, all}
static inline vi vi_sum_of_each(const vi v[8]) { FOLD_8(_mm256_add_epi32, v); }
static inline vi vi_largest_of_each(const vi v[8]) { FOLD_8(_mm256_max_epi32, v); }

static inline vb vb_load(const void *p) { return (vb){_mm256_loadu_si256(p), _mm256_loadu_si256((const __m256i *)p + 1)}; }
static inline void vb_store(void *p, vb a) { _mm256_storeu_si256(p, a.lo); _mm256_storeu_si256((__m256i *)p + 1, a.hi); }
static inline vb vb_load_rows(const void *p)
{
    const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
    const __m256i lo = _mm256_setr_epi32(0, 0x01010101, 0x02020202, 0x03030303, 0x04040404, 0x05050505, 0x06060606, 0x07070707);
    return (vb){_mm256_shuffle_epi8(t, lo), _mm256_shuffle_epi8(t, _mm256_add_epi8(lo, _mm256_set1_epi8(8)))};
}
static inline vb vb_set1(uint8_t x) { return (vb){_mm256_set1_epi8((char)x), _mm256_set1_epi8((char)x)}; }
static inline vb vb_add(vb a, vb b) { return (vb){_mm256_add_epi8(a.lo, b.lo), _mm256_add_epi8(a.hi, b.hi)}; }
static inline vb vb_sub(vb a, vb b) { return (vb){_mm256_sub_epi8(a.lo, b.lo), _mm256_sub_epi8(a.hi, b.hi)}; }
static inline __m256i mul_bytes(__m256i a, __m256i b)
{
    const __m256i odd = _mm256_set1_epi16((short)0xff00);
    return _mm256_or_si256(_mm256_andnot_si256(odd, _mm256_mullo_epi16(a, b)),
                           _mm256_mullo_epi16(_mm256_srli_epi16(a, 8), _mm256_and_si256(odd, b)));
}
static inline vb vb_mul(vb a, vb b) { return (vb){mul_bytes(a.lo, b.lo), mul_bytes(a.hi, b.hi)}; }
static inline vb vb_mask(vb a, int m)
{
    __m256i v = _mm256_set1_epi8((char)m);
    return (vb){_mm256_and_si256(a.lo, v), _mm256_and_si256(a.hi, v)};
}
static inline vb vb_shift_right(vb a, int n) { return (vb){_mm256_srli_epi16(a.lo, n), _mm256_srli_epi16(a.hi, n)}; }
static inline vb vb_low4(vb a) { return vb_mask(a, 15); }
static inline vb vb_high4(vb a) { return vb_mask(vb_shift_right(a, 4), 15); }
static inline vb vb_bits2(vb a, int pair) { return vb_mask(vb_shift_right(a, 2 * pair), 3); }
static inline vb vb_add_bits2(vb a, vb b, int pair)
{
    vb h = vb_bits2(b, pair);
    return (vb){_mm256_or_si256(a.lo, _mm256_slli_epi16(h.lo, 4)), _mm256_or_si256(a.hi, _mm256_slli_epi16(h.hi, 4))};
}
static inline __m256i spread_bits(uint32_t bits, int value) /* byte i: value where bit i is set */
{
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
    __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit), _mm256_set1_epi8((char)value));
}
static inline vb vb_add_bit(vb a, const void *mask64, int value)
{
    uint32_t m[2];
    memcpy(m, mask64, 8);
    return (vb){_mm256_add_epi8(a.lo, spread_bits(m[0], value)), _mm256_add_epi8(a.hi, spread_bits(m[1], value))};
}
static inline vb vb_wide(vb a) { return a; }
static inline vb vb_lookup(vb a, const uint8_t table[16])
{
    const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    return (vb){_mm256_shuffle_epi8(t, a.lo), _mm256_shuffle_epi8(t, a.hi)};
}

static inline __m256i dot_u8(__m256i acc, __m256i u, __m256i x) /* pairs stay below 2^15: u <= 128, |x| <= 127 */
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, x), _mm256_set1_epi16(1)));
}
static inline vi vi_dot(vi acc, vb u, vx p, int f)
{
    __m256i x = _mm256_set1_epi32(four_at(p + 4 * f));
    return (vi){dot_u8(acc.lo, u.lo, x), dot_u8(acc.hi, u.hi, x)};
}
static inline __m256i dot_s8(__m256i acc, __m256i u, __m256i x) /* |w| as the unsigned side, its sign moved to x */
{
    __m256i w = _mm256_xor_si256(u, _mm256_set1_epi8((char)0x80));
    return dot_u8(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
static inline vi vi_dot_wide(vi acc, vb u, vx p, int f)
{
    __m256i x = _mm256_set1_epi32(four_at(p + 4 * f));
    return (vi){dot_s8(acc.lo, u.lo, x), dot_s8(acc.hi, u.hi, x)};
}
static inline __m256 bf16_odd(__m256i pairs) { return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000))); }
static inline __m256 bf16_even(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
static inline __m256 dot_bf16(__m256 acc, __m256i w, __m256i x)
{
    return _mm256_fmadd_ps(bf16_even(w), bf16_even(x), _mm256_fmadd_ps(bf16_odd(w), bf16_odd(x), acc));
}
static inline vf vf_dot_bf16_at(vf acc, vb w, const void *x)
{
    const __m256i pair = _mm256_set1_epi32(four_at(x));
    return (vf){dot_bf16(acc.lo, w.lo, pair), dot_bf16(acc.hi, w.hi, pair)};
}

#include "cpu/simd_usual.h"

#endif
