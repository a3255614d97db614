/* cpuid.c - feature detection; the compiler's builtins also ask the system about the wide registers (XCR0). */
#include "core/cpuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/status.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
static const char *const names[] = {"ref", "avx2", "avx512vnni", "avx512bf16"};

/* Older Clangs' __builtin_cpu_supports knows no "f16c".  Its registers are those of AVX2, which the system is asked about. */
static int has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & bit_F16C;
}

static int hardware_level(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma"))
        return __builtin_cpu_supports("avx512bf16") ? LT_CPU_AVX512BF16 : LT_CPU_AVX512VNNI;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
        return LT_CPU_AVX2;
    return LT_CPU_REF;
}
#elif defined(__aarch64__)
static const char *const names[] = {"ref", "neon"};

/* Without SDOT (before ARMv8.2; Raspberry Pi 4) plain C is left. */
static int hardware_level(void)
{
    const unsigned long has_dot_product = 1ul << 20; /* HWCAP_ASIMDDP, which older headers lack */
    return getauxval(AT_HWCAP) & has_dot_product ? LT_CPU_NEON : LT_CPU_REF;
}
#else
static const char *const names[] = {"ref"};

static int hardware_level(void)
{
    return LT_CPU_REF;
}
#endif

enum { N_LEVELS = sizeof names / sizeof *names };

/* N_LEVELS when it is not set, -1 when it is no level's name. */
static int masked_level(void)
{
    const char *mask = getenv("LT_CPU_MASK");
    if (!mask)
        return N_LEVELS;
    int i = N_LEVELS - 1;
    while (i >= 0 && strcmp(mask, names[i]))
        i--;
    return i;
}

int lt_cpu_level(void)
{
    const int level = hardware_level(), masked = masked_level();
    return masked >= 0 && masked < level ? masked : level;
}

int lt_check_cpu_mask(void)
{
    if (masked_level() >= 0)
        return LT_OK;
    char known[64] = "";
    for (int i = 0; i < N_LEVELS; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", names[i]);
    return lt_fail(LT_E_ARG, "LT_CPU_MASK is \"%.40s\", must be one of %s", getenv("LT_CPU_MASK"), known);
}
