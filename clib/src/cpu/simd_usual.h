/* simd_usual.h - operations that AVX-512 VNNI does in a way of its own; at the other levels they come down to simpler ones. */
#ifndef LT_SIMD_USUAL_H
#define LT_SIMD_USUAL_H

/* dw * x->d.  table: dw times 1, 1.25, .. as far as SCALE_STEPS, 16 floats each. */
static inline vf vf_scaled(const float *table, const lt_q8_unit *x) { return vf_mul(vf_load(table), vf_set1(x->d)); }

/* What sums of vi_dot_wide start from.  sum_x: of x over all that they will be multiplied with. */
static inline vi vi_dot_wide_start(int32_t sum_x) { (void)sum_x; return vi_set1(0); }

/* vi_dot and vi_dot_wide where x is used once, so that it may stay in memory. */
INLINE vi vi_dot_once(vi acc, vb u, vx x, const int f) { return vi_dot(acc, u, x, f); }
INLINE vi vi_dot_wide_once(vi acc, vb u, vx x, const int f) { return vi_dot_wide(acc, u, x, f); }

#endif
