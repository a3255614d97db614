/* simd_neon.h - the sixteen-lane vocabulary of simd_ref.h with NEON: four 128-bit registers each; byte products by SDOT. */
#ifndef LT_SIMD_H
#define LT_SIMD_H

#include <arm_neon.h>

#include "cpu/simd.h"

#define LT_KERNEL(name) name##_neon
enum { DIRECT_COLUMNS = 4, FEW_COLUMNS = 24, TILE_COLUMNS = 4, TILE_PANELS = 1, FLOAT_COLUMNS = 3, SCALE_STEPS = 1, ATTEND_SUMS = 4 };

typedef struct { float32x4_t a, b, c, d; } vf;
typedef struct { int32x4_t a, b, c, d; } vi;
typedef struct { uint8x16_t a, b, c, d; } vb;

/* f of each quarter */
#define MAP1(type, f, x) ((type){f((x).a), f((x).b), f((x).c), f((x).d)})
#define MAP2(type, f, x, y) ((type){f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)})
#define MAP3(type, f, x, y, z) ((type){f((x).a, (y).a, (z).a), f((x).b, (y).b, (z).b), f((x).c, (y).c, (z).c), f((x).d, (y).d, (z).d)})

static inline vf vf_set1(float x) { const float32x4_t q = vdupq_n_f32(x); return (vf){q, q, q, q}; }
static inline vi vi_set1(int32_t x) { const int32x4_t q = vdupq_n_s32(x); return (vi){q, q, q, q}; }
static inline vb vb_set1(uint8_t x) { const uint8x16_t q = vdupq_n_u8(x); return (vb){q, q, q, q}; }

static inline vf vf_load(const float *p) { return (vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}; }
static inline void vf_store(float *p, vf x)
{
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
}
static inline vf vf_held(vf x) { return x; }
static inline vf vf_add(vf x, vf y) { return MAP2(vf, vaddq_f32, x, y); }
static inline vf vf_sub(vf x, vf y) { return MAP2(vf, vsubq_f32, x, y); }
static inline vf vf_mul(vf x, vf y) { return MAP2(vf, vmulq_f32, x, y); }
static inline vf vf_div(vf x, vf y) { return MAP2(vf, vdivq_f32, x, y); }
static inline float32x4_t larger(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); } /* FMAX would give NaN */
static inline vf vf_max(vf x, vf y) { return MAP2(vf, larger, x, y); }
static inline int32x4_t magnitude(float32x4_t x) { return vreinterpretq_s32_f32(vabsq_f32(x)); }
static inline vi vi_magnitude(vf x) { return MAP1(vi, magnitude, x); }
static inline vi vi_add(vi x, vi y) { return MAP2(vi, vaddq_s32, x, y); }
static inline vf vf_of_bits(vi x) { return MAP1(vf, vreinterpretq_f32_s32, x); }
static inline vi vi_max(vi x, vi y) { return MAP2(vi, vmaxq_s32, x, y); }
static inline vf vf_fma(vf x, vf y, vf z) { return MAP3(vf, vfmaq_f32, z, x, y); }
static inline float32x4_t zero_where(float32x4_t x, uint32x4_t mask)
{
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), mask));
}
static inline vf vf_zero_below(vf x, vf y, float limit)
{
    const vf l = vf_set1(limit);
    const struct { uint32x4_t a, b, c, d; } below = {vcltq_f32(y.a, l.a), vcltq_f32(y.b, l.b), vcltq_f32(y.c, l.c), vcltq_f32(y.d, l.d)};
    return MAP2(vf, zero_where, x, below);
}
static inline vf vf_from_vi(vi x) { return MAP1(vf, vcvtq_f32_s32, x); }
static inline int32x4_t rounded(float32x4_t x) /* the instruction saturates, and makes 0 of NaN */
{
    return vbslq_s32(vcaltq_f32(x, vdupq_n_f32(2147483648.0f)), vcvtnq_s32_f32(x), vdupq_n_s32(INT32_MIN));
}
static inline vi vi_round(vf x) { return MAP1(vi, rounded, x); }
static inline float32x4_t times_power2(float32x4_t x, int32x4_t n)
{
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), vshlq_n_s32(n, 23)));
}
static inline vf vf_times_power2(vf x, vi n) { return MAP2(vf, times_power2, x, n); }

static inline vf vf_load_f16(const void *p)
{
    const float16x8_t lo = vreinterpretq_f16_u16(vld1q_u16(p)), hi = vreinterpretq_f16_u16(vld1q_u16((const uint16_t *)p + 8));
    return (vf){vcvt_f32_f16(vget_low_f16(lo)), vcvt_high_f32_f16(lo), vcvt_f32_f16(vget_low_f16(hi)), vcvt_high_f32_f16(hi)};
}
static inline void vf_store_f16(void *p, vf x)
{
    vst1q_u16(p, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.a), x.b)));
    vst1q_u16((uint16_t *)p + 8, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.c), x.d)));
}
static inline vf vf_load_bf16(const void *p)
{
    const uint16x8_t lo = vld1q_u16(p), hi = vld1q_u16((const uint16_t *)p + 8);
    return (vf){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(lo), 16)), vreinterpretq_f32_u32(vshll_high_n_u16(lo, 16)),
                vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(hi), 16)), vreinterpretq_f32_u32(vshll_high_n_u16(hi, 16))};
}
static inline uint16x4_t bf16_of(float32x4_t x)
{
    const uint32x4_t u = vreinterpretq_u32_f32(x), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd), quiet = vorrq_u32(u, vdupq_n_u32(64 << 16));
    const uint32x4_t bits = vbslq_u32(vceqq_f32(x, x), rounded, quiet);
    return vshrn_n_u32(vbicq_u32(bits, vcaltq_f32(x, vdupq_n_f32(0x1p-55f))), 16);
}
static inline void vf_store_bf16(void *p, vf x)
{
    vst1q_u16(p, vcombine_u16(bf16_of(x.a), bf16_of(x.b)));
    vst1q_u16((uint16_t *)p + 8, vcombine_u16(bf16_of(x.c), bf16_of(x.d)));
}
static inline vf vf_from_bytes(uint8x16_t x)
{
    const uint16x8_t lo = vmovl_u8(vget_low_u8(x)), hi = vmovl_high_u8(x);
    return (vf){vcvtq_f32_u32(vmovl_u16(vget_low_u16(lo))), vcvtq_f32_u32(vmovl_high_u16(lo)), vcvtq_f32_u32(vmovl_u16(vget_low_u16(hi))),
                vcvtq_f32_u32(vmovl_high_u16(hi))};
}
static inline vf vf_load_u8(const void *p) { return vf_from_bytes(vld1q_u8(p)); }
static inline vf vf_load_i8(const void *p)
{
    const int8x16_t x = vld1q_s8(p);
    const int16x8_t lo = vmovl_s8(vget_low_s8(x)), hi = vmovl_high_s8(x);
    return (vf){vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), vcvtq_f32_s32(vmovl_high_s16(lo)), vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))),
                vcvtq_f32_s32(vmovl_high_s16(hi))};
}
static inline vf vf_load_low4(const void *p) { return vf_from_bytes(vandq_u8(vld1q_u8(p), vdupq_n_u8(15))); }
static inline int16x8_t low_halves(int32x4_t x, int32x4_t y) { return vmovn_high_s32(vmovn_s32(x), y); }
static inline void vi_store_i8(int8_t *p, vi x)
{
    vst1q_s8(p, vmovn_high_s16(vmovn_s16(low_halves(x.a, x.b)), low_halves(x.c, x.d)));
}
static inline float32x4_t mul_unless_zero(float32x4_t x, float32x4_t y) { return zero_where(vmulq_f32(x, y), vceqzq_f32(x)); }
static inline vf vf_mul_unless_zero(vf x, vf y) { return MAP2(vf, mul_unless_zero, x, y); }
static inline void vi_store_i16(int16_t *p, vi x)
{
    vst1q_s16(p, low_halves(x.a, x.b));
    vst1q_s16(p + 8, low_halves(x.c, x.d));
}

/* Sixteen pairs, the first of each apart from the second, so that products need no adding across. */
typedef struct { int16x8_t lo[2], hi[2]; } vp;
static inline vp vp_load_i16(const void *p)
{
    const int16_t *m = p;
    const int16x8_t x[4] = {vld1q_s16(m), vld1q_s16(m + 8), vld1q_s16(m + 16), vld1q_s16(m + 24)};
    return (vp){{vuzp1q_s16(x[0], x[1]), vuzp2q_s16(x[0], x[1])}, {vuzp1q_s16(x[2], x[3]), vuzp2q_s16(x[2], x[3])}};
}
static inline vp vp_load_i8(const void *p)
{
    const int8x16_t x = vld1q_s8(p), y = vld1q_s8((const int8_t *)p + 16), first = vuzp1q_s8(x, y), second = vuzp2q_s8(x, y);
    return (vp){{vmovl_s8(vget_low_s8(first)), vmovl_s8(vget_low_s8(second))}, {vmovl_high_s8(first), vmovl_high_s8(second)}};
}
static inline int16x8_t words(uint8x8_t x) { return vreinterpretq_s16_u16(vmovl_u8(x)); }
static inline vp vp_pair(uint8x16_t x, uint8x16_t y)
{
    return (vp){{words(vget_low_u8(x)), words(vget_low_u8(y))}, {words(vget_high_u8(x)), words(vget_high_u8(y))}};
}
static inline vp vp_pair_u8(const void *a, const void *b) { return vp_pair(vld1q_u8(a), vld1q_u8(b)); }
static inline vp vp_pair_high4(const void *a, const void *b) { return vp_pair(vshrq_n_u8(vld1q_u8(a), 4), vshrq_n_u8(vld1q_u8(b), 4)); }
static inline void vp_store(void *p, vp m)
{
    int16_t *w = p;
    vst1q_s16(w, vzip1q_s16(m.lo[0], m.lo[1]));
    vst1q_s16(w + 8, vzip2q_s16(m.lo[0], m.lo[1]));
    vst1q_s16(w + 16, vzip1q_s16(m.hi[0], m.hi[1]));
    vst1q_s16(w + 24, vzip2q_s16(m.hi[0], m.hi[1]));
}
static inline vi vi_dot_pairs(vi acc, vp m, int32_t x2)
{
    const int16x4_t x = vreinterpret_s16_s32(vdup_n_s32(x2));
    acc.a = vmlal_lane_s16(acc.a, vget_low_s16(m.lo[0]), x, 0);
    acc.b = vmlal_high_lane_s16(acc.b, m.lo[0], x, 0);
    acc.c = vmlal_lane_s16(acc.c, vget_low_s16(m.hi[0]), x, 0);
    acc.d = vmlal_high_lane_s16(acc.d, m.hi[0], x, 0);
    acc.a = vmlal_lane_s16(acc.a, vget_low_s16(m.lo[1]), x, 1);
    acc.b = vmlal_high_lane_s16(acc.b, m.lo[1], x, 1);
    acc.c = vmlal_lane_s16(acc.c, vget_low_s16(m.hi[1]), x, 1);
    acc.d = vmlal_high_lane_s16(acc.d, m.hi[1], x, 1);
    return acc;
}

static inline float vf_sum(vf x)
{
    const float32x4_t q = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    const float32x2_t two = vadd_f32(vget_low_f32(q), vget_high_f32(q));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
static inline float vf_largest(vf x)
{
    const float32x4_t q = larger(larger(x.a, x.c), larger(x.b, x.d)), two = larger(q, vextq_f32(q, q, 2));
    return vgetq_lane_f32(larger(two, vextq_f32(two, two, 1)), 0);
}
static inline int32_t vi_largest(vi x) { return vmaxvq_s32(vmaxq_s32(vmaxq_s32(x.a, x.c), vmaxq_s32(x.b, x.d))); }

#define FOLD_4(of_pairs, within, v) of_pairs(of_pairs(within((v)[0]), within((v)[1])), of_pairs(within((v)[2]), within((v)[3])))
static inline int32x4_t sum_of_quarters(vi x) { return vaddq_s32(vaddq_s32(x.a, x.b), vaddq_s32(x.c, x.d)); }
static inline int32x4_t largest_of_quarters(vi x) { return vmaxq_s32(vmaxq_s32(x.a, x.b), vmaxq_s32(x.c, x.d)); }
static inline vi vi_sum_of_each(const vi v[8])
{
    const int32x4_t first = FOLD_4(vpaddq_s32, sum_of_quarters, v), second = FOLD_4(vpaddq_s32, sum_of_quarters, v + 4);
    return (vi){first, second, first, second};
}
static inline vi vi_largest_of_each(const vi v[8])
{
    const int32x4_t first = FOLD_4(vpmaxq_s32, largest_of_quarters, v), second = FOLD_4(vpmaxq_s32, largest_of_quarters, v + 4);
    return (vi){first, second, first, second};
}

static inline vb vb_load(const void *p)
{
    const uint8_t *b = p;
    return (vb){vld1q_u8(b), vld1q_u8(b + 16), vld1q_u8(b + 32), vld1q_u8(b + 48)};
}
static inline void vb_store(void *p, vb x)
{
    uint8_t *b = p;
    vst1q_u8(b, x.a);
    vst1q_u8(b + 16, x.b);
    vst1q_u8(b + 32, x.c);
    vst1q_u8(b + 48, x.d);
}
static inline vb vb_load_rows(const void *p)
{
    const uint8x16_t x = vld1q_u8(p), lo = vzip1q_u8(x, x), hi = vzip2q_u8(x, x);
    return (vb){vzip1q_u8(lo, lo), vzip2q_u8(lo, lo), vzip1q_u8(hi, hi), vzip2q_u8(hi, hi)};
}
static inline vb vb_add(vb x, vb y) { return MAP2(vb, vaddq_u8, x, y); }
static inline vb vb_sub(vb x, vb y) { return MAP2(vb, vsubq_u8, x, y); }
static inline vb vb_mul(vb x, vb y) { return MAP2(vb, vmulq_u8, x, y); }
static inline vb vb_low4(vb x) { return MAP2(vb, vandq_u8, x, vb_set1(15)); }
static inline uint8x16_t high4(uint8x16_t x) { return vshrq_n_u8(x, 4); }
static inline vb vb_high4(vb x) { return MAP1(vb, high4, x); }
INLINE uint8x16_t shifted(uint8x16_t x, const int left) /* operators: their shifts become numbers in instructions */
{
    const uint8x16_t n = vdupq_n_u8((uint8_t)(left < 0 ? -left : left));
    return left < 0 ? x >> n : x << n;
}
INLINE vb vb_shifted(vb x, const int left)
{
    return (vb){shifted(x.a, left), shifted(x.b, left), shifted(x.c, left), shifted(x.d, left)};
}
INLINE vb vb_bits2(vb x, const int pair)
{
    const vb y = vb_shifted(x, -2 * pair), mask = vb_set1(3);
    return MAP2(vb, vandq_u8, y, mask);
}
INLINE vb vb_add_bits2(vb x, vb y, const int pair)
{
    const vb s = vb_shifted(y, 4 - 2 * pair), mask = vb_set1(0x30);
    return MAP3(vb, vbslq_u8, mask, s, x);
}
static inline vb vb_add_bit(vb x, const void *mask64, int value) /* a bit that no code has yet */
{
    static const uint8_t place[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t m = vcombine_u8(vld1_u8(mask64), vdup_n_u8(0)), at = vld1q_u8(place), b = vld1q_u8(bit), two = vdupq_n_u8(2);
    const vb index = {at, vaddq_u8(at, two), vaddq_u8(at, vaddq_u8(two, two)), vaddq_u8(at, vdupq_n_u8(6))};
    const vb set = {vtstq_u8(vqtbl1q_u8(m, index.a), b), vtstq_u8(vqtbl1q_u8(m, index.b), b), vtstq_u8(vqtbl1q_u8(m, index.c), b),
                    vtstq_u8(vqtbl1q_u8(m, index.d), b)};
    return MAP3(vb, vbslq_u8, vb_set1((uint8_t)value), set, x);
}

/* Wide codes are w + 128; the highest bit turned over, they are w, which SDOT takes as it is. */
static inline uint8x16_t less_128(uint8x16_t x) { return veorq_u8(x, vdupq_n_u8(128)); }
static inline vb vb_wide(vb x) { return MAP1(vb, less_128, x); }
static inline vb vb_lookup(vb x, const uint8_t table[16])
{
    const uint8x16_t t = less_128(vld1q_u8(table));
    return (vb){vqtbl1q_u8(t, x.a), vqtbl1q_u8(t, x.b), vqtbl1q_u8(t, x.c), vqtbl1q_u8(t, x.d)};
}

typedef int8x16_t vx;
static inline vx vx_load(const int8_t *p) { return vld1q_s8(p); }
INLINE int32x4_t dot_lane(int32x4_t acc, uint8x16_t w, vx x, const int i) /* a number in the instruction */
{
    const int8x16_t s = vreinterpretq_s8_u8(w);
    switch (i) {
    case 0: return vdotq_laneq_s32(acc, s, x, 0);
    case 1: return vdotq_laneq_s32(acc, s, x, 1);
    case 2: return vdotq_laneq_s32(acc, s, x, 2);
    default: return vdotq_laneq_s32(acc, s, x, 3);
    }
}
INLINE vi vi_dot(vi acc, vb w, vx x, const int i)
{
    return (vi){dot_lane(acc.a, w.a, x, i), dot_lane(acc.b, w.b, x, i), dot_lane(acc.c, w.c, x, i), dot_lane(acc.d, w.d, x, i)};
}
INLINE vi vi_dot_wide(vi acc, vb w, vx x, const int i) { return vi_dot(acc, w, x, i); }

static inline float32x4_t bf16_odd(uint8x16_t pairs)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u8(pairs), vdupq_n_u32(0xffff0000)));
}
static inline float32x4_t bf16_even(uint8x16_t pairs) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u8(pairs), 16)); }
static inline float32x4_t dot_bf16(float32x4_t acc, uint8x16_t w, uint8x16_t x)
{
    return vfmaq_f32(vfmaq_f32(acc, bf16_odd(w), bf16_odd(x)), bf16_even(w), bf16_even(x));
}
static inline vf vf_dot_bf16_at(vf acc, vb w, const void *x)
{
    const uint8x16_t pair = vreinterpretq_u8_s32(vdupq_n_s32(four_at(x)));
    return (vf){dot_bf16(acc.a, w.a, pair), dot_bf16(acc.b, w.b, pair), dot_bf16(acc.c, w.c, pair), dot_bf16(acc.d, w.d, pair)};
}

/* Written as instructions: see simd_x86.h. */
static inline void simd_prefetch(const void *p) { __asm__ volatile("prfm pldl1keep, %0" : : "Q"(*(const char *)p)); }
static inline void simd_prefetch_l2(const void *p) { __asm__ volatile("prfm pldl2keep, %0" : : "Q"(*(const char *)p)); }
static inline void simd_prefetch_write(const void *p) { __asm__ volatile("prfm pstl1keep, %0" : : "Q"(*(const char *)p)); }

#include "cpu/simd_usual.h"

#endif
