/* kernels_avx512vnni.c - the kernel templates at this level. */
#include "cpu/kernels.h"
#include "cpu/simd_avx512vnni.h"

#define LT_ISA_NAME "avx512vnni"
#include "cpu/unit_tmpl.h"
#include "cpu/matmul_tmpl.h"
#include "cpu/tile_tmpl.h"
#include "cpu/float_tmpl.h"
#include "cpu/rows_tmpl.h"
#include "cpu/recur_tmpl.h"
#include "cpu/attend_tmpl.h"
#include "cpu/table_tmpl.h"

/* The same with the instruction for pairs of BF16, where the processor has it. */
#undef LT_ISA_NAME
#undef LT_KERNEL
#define LT_ISA_NAME     "avx512bf16"
#define LT_KERNEL(name) name##_avx512bf16
#define matmul_bf16     matmul_bf16_native
#include "cpu/table_tmpl.h"
