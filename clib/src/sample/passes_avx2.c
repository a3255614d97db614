/* passes_avx2.c - passes in vectors of eight. */
#define LT_WIDTH 8
#include "sample/passes_tmpl.h"

const lt_passes lt_passes_avx2 = {block_max, scan, exp_sum, exp_moment};
