/* simd.h - what each level's vocabulary of sixteen lanes (simd_ref.h says what its words mean) is written with.
 *
 * Beside the operations, a level's header names its kernels, LT_KERNEL(name), and says how much its registers hold:
 *      DIRECT_COLUMNS   columns that meet an unpacked unit at once (matmul_tmpl.h)
 *      FEW_COLUMNS      with more, panels are unpacked into memory first: the passes over them would cost more than that
 *      TILE_COLUMNS     columns that meet TILE_PANELS unpacked panels at once (tile_tmpl.h)
 *      FLOAT_COLUMNS    columns with two sums each (float_tmpl.h)
 *      SCALE_STEPS      multiples of dw that vf_scaled chooses from: 1 or 4
 *      ATTEND_SUMS      vectors of sums of a tile of queries (attend_tmpl.h) */
#ifndef LT_SIMD_COMMON_H
#define LT_SIMD_COMMON_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "cpu/panel.h"
#include "quant/quant.h"

#if defined(__FAST_MATH__) || (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16)
#error "each operation on floats must be rounded once, to a float: build without -ffast-math, and for 32-bit x86 with -mfpmath=sse"
#endif

#ifndef __has_feature /* Clang's, which knows no __SANITIZE_ADDRESS__ */
#define __has_feature(x) 0
#endif
/* Specialised and instrumented, a level would compile for minutes. */
#if defined(LT_UNSPECIALISED) || defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define INLINE static inline
#define UNROLL
#else
#define INLINE static inline __attribute__((always_inline)) /* forms and tile sizes fold to constants */
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define NOINLINE __attribute__((noinline))

#endif
