/* kernels_neon.c - the kernel templates at this level. */
#include "cpu/kernels.h"
#include "cpu/simd_neon.h"

#define LT_ISA_NAME "neon"
#include "cpu/unit_tmpl.h"
#include "cpu/matmul_tmpl.h"
#include "cpu/tile_tmpl.h"
#include "cpu/float_tmpl.h"
#include "cpu/rows_tmpl.h"
#include "cpu/recur_tmpl.h"
#include "cpu/attend_tmpl.h"
#include "cpu/table_tmpl.h"
