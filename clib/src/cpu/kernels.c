/* kernels.c - which table this process uses. */
#include "cpu/kernels.h"

#include "core/cpuid.h"

const lt_kernels *lt_kernels_get(void)
{
#if defined(__x86_64__)
    static const lt_kernels *const tables[] = {&lt_kernels_ref, &lt_kernels_avx2, &lt_kernels_avx512vnni, &lt_kernels_avx512bf16};
#elif defined(__aarch64__)
    static const lt_kernels *const tables[] = {&lt_kernels_ref, &lt_kernels_neon};
#else
    static const lt_kernels *const tables[] = {&lt_kernels_ref};
#endif
    return tables[lt_cpu_level()];
}

const char *lt_cpu_name(void)
{
    return lt_kernels_get()->name;
}
