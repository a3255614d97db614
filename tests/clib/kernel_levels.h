/* kernel_levels.h - the kernel tables of this machine, and reproducible numbers to feed them. */
#ifndef KERNEL_LEVELS_H
#define KERNEL_LEVELS_H

#include "core/cpuid.h"
#include "cpu/kernels.h"

static uint64_t state = 1;
static inline uint32_t draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}
static inline float draw_float(void) /* about normal, now and then large or zero */
{
    float x = 0;
    for (int i = 0; i < 6; i++)
        x += (float)draw() / 2147483648.0f - 0.5f;
    const uint32_t kind = draw() % 64;
    return kind == 0 ? 0.0f : kind == 1 ? x * 100.0f : x;
}

enum { LEVELS = 4 };

static inline int levels(const lt_kernels **out)
{
    int n = 0;
    out[n++] = &lt_kernels_ref;
#if defined(__x86_64__)
    const int level = lt_cpu_level();
    if (level >= LT_CPU_AVX2)
        out[n++] = &lt_kernels_avx2;
    if (level >= LT_CPU_AVX512VNNI)
        out[n++] = &lt_kernels_avx512vnni;
    if (level >= LT_CPU_AVX512BF16)
        out[n++] = &lt_kernels_avx512bf16;
#elif defined(__aarch64__)
    if (lt_cpu_level() >= LT_CPU_NEON)
        out[n++] = &lt_kernels_neon;
#endif
    return n;
}

#endif
