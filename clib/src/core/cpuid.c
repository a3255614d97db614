/* cpuid.c - feature detection; the compiler's builtins also ask the system about the wide registers (XCR0). */
#include "core/cpuid.h"

#include <stdlib.h>
#include <string.h>

static int hardware_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma"))
        return __builtin_cpu_supports("avx512bf16") ? LT_CPU_AVX512BF16 : LT_CPU_AVX512VNNI;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        return LT_CPU_AVX2;
#endif
    return LT_CPU_REF;
}

int lt_cpu_level(void)
{
    static const char *const names[] = {"ref", "avx2", "avx512vnni", "avx512bf16"};
    int level = hardware_level();
    const char *mask = getenv("LT_CPU_MASK");
    for (int i = 0; mask && i < level; i++)
        if (!strcmp(mask, names[i]))
            return i;
    return level;
}
