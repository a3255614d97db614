/* cpuid.h - what this processor and its operating system can run, lowered by LT_CPU_MASK for tests. */
#ifndef LT_CPUID_H
#define LT_CPUID_H

enum { LT_CPU_REF = 0, LT_CPU_AVX2 = 1, LT_CPU_AVX512VNNI = 2, LT_CPU_AVX512BF16 = 3 };

/* The highest level available.  LT_CPU_MASK=ref|avx2|avx512vnni|avx512bf16 in the environment lowers it (never raises it). */
int lt_cpu_level(void);

#endif
