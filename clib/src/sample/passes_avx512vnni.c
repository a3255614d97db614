/* passes_avx512vnni.c - passes in vectors of sixteen. */
#define LT_WIDTH 16
#include "sample/passes_tmpl.h"

const lt_passes lt_passes_avx512vnni = {block_max, scan, exp_sum, exp_moment};
