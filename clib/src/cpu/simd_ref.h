/* simd_ref.h - the sixteen-lane vocabulary in plain C: the meaning of every operation the kernels use.
 *
 * vf: 16 floats, vi: 16 int32, vb: 64 bytes (4 consecutive k of 16 rows: byte 4*r+i).  simd_avx2.h, simd_avx512vnni.h and
 * simd_neon.h say the same in intrinsics.  Every operation is exact or correctly rounded, so all give the same bits. */
#ifndef LT_SIMD_H
#define LT_SIMD_H

#define LT_UNSPECIALISED /* speed is not its job */
#include "cpu/simd.h"

#define LT_KERNEL(name) name##_ref
enum { DIRECT_COLUMNS = 8, FEW_COLUMNS = 24, TILE_COLUMNS = 4, TILE_PANELS = 2, FLOAT_COLUMNS = 3, SCALE_STEPS = 1, ATTEND_SUMS = 16 };

typedef struct { float v[16]; } vf;
typedef struct { int32_t v[16]; } vi;
typedef struct { uint8_t v[64]; } vb;

#define EACH(i) for (int i = 0; i < 16; i++)

static inline vf vf_set1(float x) { vf r; EACH(i) r.v[i] = x; return r; }
static inline vf vf_load(const float *p) { vf r; memcpy(&r, p, sizeof r); return r; }
static inline vf vf_held(vf a) { return a; } /* in a register, not read again for each use */
static inline void vf_store(float *p, vf a) { memcpy(p, &a, sizeof a); }
static inline vf vf_add(vf a, vf b) { EACH(i) a.v[i] += b.v[i]; return a; }
static inline vf vf_sub(vf a, vf b) { EACH(i) a.v[i] -= b.v[i]; return a; }
static inline vf vf_mul(vf a, vf b) { EACH(i) a.v[i] *= b.v[i]; return a; }
static inline vf vf_div(vf a, vf b) { EACH(i) a.v[i] /= b.v[i]; return a; }
static inline vf vf_max(vf a, vf b) { EACH(i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; } /* b when unordered */
static inline vi vi_magnitude(vf a) /* the bits of |a|: ordered as numbers, with NaN above everything */
{
    vi r;
    memcpy(&r, &a, sizeof r);
    EACH(i) r.v[i] &= 0x7fffffff;
    return r;
}
static inline vi vi_add(vi a, vi b) { EACH(i) a.v[i] += b.v[i]; return a; }
static inline vf vf_of_bits(vi a) { vf r; memcpy(&r, &a, sizeof r); return r; }
static inline vi vi_max(vi a, vi b) { EACH(i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
static inline vf vf_fma(vf a, vf b, vf c) { EACH(i) c.v[i] = fmaf(a.v[i], b.v[i], c.v[i]); return c; } /* a*b + c, rounded once */
static inline vf vf_zero_below(vf a, vf x, float limit) { EACH(i) a.v[i] = x.v[i] < limit ? 0.0f : a.v[i]; return a; }
static inline vf vf_from_vi(vi a) { vf r; EACH(i) r.v[i] = (float)a.v[i]; return r; }
static inline vi vi_round(vf a) /* nearest even; what does not fit, and NaN, becomes INT32_MIN */
{
    vi r;
    EACH(i) r.v[i] = fabsf(a.v[i]) < 2147483648.0f ? (int32_t)rintf(a.v[i]) : INT32_MIN;
    return r;
}
static inline vi vi_set1(int32_t x) { vi r; EACH(i) r.v[i] = x; return r; }
static inline vf vf_times_power2(vf a, vi n) /* a * 2^n by exponent bits; a and the result are normal */
{
    EACH(i) {
        union { float f; uint32_t u; } x = {a.v[i]};
        x.u += (uint32_t)n.v[i] << 23;
        a.v[i] = x.f;
    }
    return a;
}

static inline vf vf_load_f16(const void *p)
{
    vf r;
    uint16_t h[16];
    memcpy(h, p, sizeof h);
    EACH(i) r.v[i] = lt_half_to_float(h[i]);
    return r;
}
static inline void vf_store_f16(void *p, vf a)
{
    uint16_t h[16];
    EACH(i) h[i] = lt_float_to_half(a.v[i]);
    memcpy(p, h, sizeof h);
}
static inline vf vf_load_bf16(const void *p)
{
    vf r;
    uint16_t h[16];
    memcpy(h, p, sizeof h);
    EACH(i) r.v[i] = lt_bf16_to_float(h[i]);
    return r;
}
static inline void vf_store_bf16(void *p, vf a) /* zero for what is smaller than 2^-55 (panel.h) */
{
    uint16_t h[16];
    EACH(i) h[i] = fabsf(a.v[i]) < 0x1p-55f ? 0 : lt_float_to_bf16(a.v[i]);
    memcpy(p, h, sizeof h);
}
static inline vf vf_load_u8(const void *p) { vf r; EACH(i) r.v[i] = (float)((const uint8_t *)p)[i]; return r; }
static inline vf vf_load_i8(const void *p) { vf r; EACH(i) r.v[i] = (float)((const int8_t *)p)[i]; return r; }
static inline vf vf_load_low4(const void *p) { vf r; EACH(i) r.v[i] = (float)(((const uint8_t *)p)[i] & 15); return r; }
static inline void vi_store_i8(int8_t *p, vi a) { EACH(i) p[i] = (int8_t)a.v[i]; }

static inline float vf_sum(vf a) /* the one reduction tree: halves onto halves */
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            a.v[i] += a.v[i + half];
    return a.v[0];
}
static inline float vf_largest(vf a)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
    return a.v[0];
}
static inline int32_t vi_largest(vi a) { int32_t m = a.v[0]; EACH(i) m = a.v[i] > m ? a.v[i] : m; return m; }
/* Lanes i and i + 8: of v[i]'s lanes. */
static inline vi vi_sum_of_each(const vi v[8])
{
    vi r = {{0}};
    EACH(i) EACH(lane) r.v[i] += v[i % 8].v[lane];
    return r;
}
static inline vi vi_largest_of_each(const vi v[8]) { vi r; EACH(i) r.v[i] = vi_largest(v[i % 8]); return r; }
static inline vf vf_mul_unless_zero(vf a, vf b) { EACH(i) a.v[i] = a.v[i] == 0.0f ? 0.0f : a.v[i] * b.v[i]; return a; } /* 0 where a is */
static inline void vi_store_i16(int16_t *p, vi a) { EACH(i) p[i] = (int16_t)a.v[i]; }

typedef struct { int16_t v[32]; } vp; /* sixteen pairs */
static inline vp vp_load_i16(const void *p) { vp r; memcpy(&r, p, sizeof r); return r; }
static inline vp vp_load_i8(const void *p)
{
    vp r;
    for (int i = 0; i < 32; i++)
        r.v[i] = ((const int8_t *)p)[i];
    return r;
}
static inline vp vp_pair_u8(const void *a, const void *b) /* (a[r], b[r]) */
{
    vp r;
    EACH(i) {
        r.v[2 * i] = ((const uint8_t *)a)[i];
        r.v[2 * i + 1] = ((const uint8_t *)b)[i];
    }
    return r;
}
static inline vp vp_pair_high4(const void *a, const void *b) /* of the high nibbles */
{
    vp r = vp_pair_u8(a, b);
    for (int i = 0; i < 32; i++)
        r.v[i] >>= 4;
    return r;
}
static inline void vp_store(void *p, vp a) { memcpy(p, &a, sizeof a); }
/* acc[r] += a[2r] * x[0] + a[2r+1] * x[1], modulo 2^32: cells that were never written hold anything, and nobody uses what they give. */
static inline vi vi_dot_pairs(vi acc, vp a, int32_t x2)
{
    int16_t x[2];
    memcpy(x, &x2, 4);
    EACH(r) acc.v[r] = (int32_t)((uint32_t)acc.v[r] + (uint32_t)(a.v[2 * r] * x[0]) + (uint32_t)(a.v[2 * r + 1] * x[1]));
    return acc;
}

#define EACH_BYTE(i) for (int i = 0; i < 64; i++)
static inline vb vb_load(const void *p) { vb r; memcpy(&r, p, 64); return r; }
static inline void vb_store(void *p, vb a) { memcpy(p, &a, 64); }
static inline vb vb_load_rows(const void *p) /* byte r four times, for the four k of row r */
{
    vb r;
    EACH_BYTE(i) r.v[i] = ((const uint8_t *)p)[i / 4];
    return r;
}
static inline vb vb_set1(uint8_t x) { vb r; memset(&r, x, sizeof r); return r; }
static inline vb vb_add(vb a, vb b) { EACH_BYTE(i) a.v[i] = (uint8_t)(a.v[i] + b.v[i]); return a; } /* modulo 256, as the next two */
static inline vb vb_sub(vb a, vb b) { EACH_BYTE(i) a.v[i] = (uint8_t)(a.v[i] - b.v[i]); return a; }
static inline vb vb_mul(vb a, vb b) { EACH_BYTE(i) a.v[i] = (uint8_t)(a.v[i] * b.v[i]); return a; }
static inline vb vb_low4(vb a) { EACH_BYTE(i) a.v[i] &= 15; return a; }
static inline vb vb_high4(vb a) { EACH_BYTE(i) a.v[i] >>= 4; return a; }
static inline vb vb_bits2(vb a, int pair) { EACH_BYTE(i) a.v[i] = (uint8_t)(a.v[i] >> (2 * pair) & 3); return a; }
static inline vb vb_add_bits2(vb a, vb b, int pair) { EACH_BYTE(i) a.v[i] |= (uint8_t)((b.v[i] >> (2 * pair) & 3) << 4); return a; }
static inline vb vb_add_bit(vb a, const void *mask64, int value) /* adds value to the bytes whose bit is set */
{
    uint64_t m;
    memcpy(&m, mask64, 8);
    EACH_BYTE(i) a.v[i] = (uint8_t)(a.v[i] + (m >> i & 1 ? value : 0));
    return a;
}
/* From w + 128 to what vi_dot_wide takes; what vb_lookup gives, it takes already. */
static inline vb vb_wide(vb a) { return a; }
static inline vb vb_lookup(vb a, const uint8_t table[16]) { EACH_BYTE(i) a.v[i] = table[a.v[i] & 15]; return a; }

typedef const int8_t *vx; /* sixteen activations, four for each of four products */
static inline vx vx_load(const int8_t *p) { return p; }
/* acc[r] += sum over i of u[4r+i] * x[4f+i]; codes u <= 63 */
static inline vi vi_dot(vi acc, vb u, vx x, int f)
{
    EACH(r)
        for (int i = 0; i < 4; i++)
            acc.v[r] += u.v[4 * r + i] * x[4 * f + i];
    return acc;
}
/* The same for signed weights stored as w + 128; acc starts from vi_dot_wide_start. */
static inline vi vi_dot_wide(vi acc, vb u, vx x, int f)
{
    EACH(r)
        for (int i = 0; i < 4; i++)
            acc.v[r] += ((int)u.v[4 * r + i] - 128) * x[4 * f + i];
    return acc;
}
/* acc[r] += w[2r+1] * x[1], then acc[r] += w[2r] * x[0]: pairs of BF16, none of them denormal, nor what comes out */
static inline vf vf_dot_bf16_at(vf acc, vb w, const void *x)
{
    uint16_t weight[32], pair[2];
    memcpy(weight, &w, sizeof weight);
    memcpy(pair, x, sizeof pair);
    for (int i = 1; i >= 0; i--)
        EACH(r) acc.v[r] = fmaf(lt_bf16_to_float(weight[2 * r + i]), lt_bf16_to_float(pair[i]), acc.v[r]);
    return acc;
}
static inline void simd_prefetch(const void *p) { (void)p; }
static inline void simd_prefetch_l2(const void *p) { (void)p; } /* not into L1 */
static inline void simd_prefetch_write(const void *p) { (void)p; }

#include "cpu/simd_usual.h"

#endif
