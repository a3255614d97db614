/* simd_x86.h - what AVX2 and AVX-512 VNNI spell alike. */
#ifndef LT_SIMD_X86_H
#define LT_SIMD_X86_H

#include <immintrin.h>

#include "cpu/panel.h"

/* An instruction of ours: GCC takes a function that does nothing but __builtin_prefetch for one without effect, and drops its calls. */
static inline void simd_prefetch(const void *p) { __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)p)); }
static inline void simd_prefetch_l2(const void *p) { __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)p)); }

static inline void simd_prefetch_write(const void *p) { __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p)); }
typedef const int8_t *vx;
static inline vx vx_load(const int8_t *p) { return p; }

/* Of four vectors, and of each 128 bits of theirs, one number: a vector whose quarters hold the four's. */
#define FOLD_2(mm, bits, op, a, b) op(mm##_unpacklo_##bits(a, b), mm##_unpackhi_##bits(a, b))
#define FOLD_4(mm, op, v) FOLD_2(mm, epi64, op, FOLD_2(mm, epi32, op, (v)[0], (v)[1]), FOLD_2(mm, epi32, op, (v)[2], (v)[3]))

#endif
