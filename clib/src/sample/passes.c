/* passes.c - passes in vectors that every machine has, and the choice between these and wider ones. */
#include "core/cpuid.h"
#include "sample/passes_tmpl.h"

static const lt_passes narrow = {block_max, scan, exp_sum, exp_moment};

const lt_passes *lt_choose_passes(void)
{
#if defined(__x86_64__)
    if (lt_cpu_level() >= LT_CPU_AVX512VNNI)
        return &lt_passes_avx512vnni;
    if (lt_cpu_level() >= LT_CPU_AVX2)
        return &lt_passes_avx2;
#endif
    return &narrow;
}
