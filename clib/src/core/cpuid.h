/* cpuid.h - what this processor and its operating system can run, lowered by LT_CPU_MASK for tests. */
#ifndef LT_CPUID_H
#define LT_CPUID_H

/* Of each architecture, from plain C upwards. */
enum { LT_CPU_REF = 0, LT_CPU_AVX2 = 1, LT_CPU_AVX512VNNI = 2, LT_CPU_AVX512BF16 = 3 };
enum { LT_CPU_NEON = 1 };

/* The highest level available.  LT_CPU_MASK, a level's name (ref, avx2, avx512vnni, avx512bf16; ref, neon), lowers it, never raises it. */
int lt_cpu_level(void);

/* LT_E_ARG when LT_CPU_MASK is no level's name. */
int lt_check_cpu_mask(void);

#endif
