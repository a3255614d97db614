/* split_k.c - the negative control of the invariance test: an engine whose many-column matmul sums each output in two halves
 * of k, as a kernel that splits k over threads would.  Linked with --wrap=lt_kernels_get into a library of its own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/kernels.h"

const lt_kernels *__real_lt_kernels_get(void);
const lt_kernels *__wrap_lt_kernels_get(void);

static lt_kernels table;

/* A copy of the activation rows with one half of each row's scales and sums made zero. */
static void *half_of(const lt_matmul_job *job, int which)
{
    const int64_t units = job->n_in / LT_UNIT, n_blocks = lt_q8_units(job->n_in) / LT_BLOCK_UNITS;
    const size_t bytes = (size_t)(n_blocks * job->x_stride) * sizeof(lt_q8_unit);
    lt_q8_unit *rows = aligned_alloc(64, bytes);
    memcpy(rows, job->x, bytes);
    for (int32_t c = 0; c < job->n_columns; c++)
        for (int64_t u = which ? 0 : units / 2; u < (which ? units / 2 : units); u++) {
            lt_q8_unit *x = rows + u / LT_BLOCK_UNITS * job->x_stride + c * LT_BLOCK_UNITS + u % LT_BLOCK_UNITS;
            x->d = x->dsum = x->sum_step = 0;
            x->exponent = -INFINITY;
        }
    return rows;
}

static void split_q4_1(const lt_matmul_job *job)
{
    void (*whole)(const lt_matmul_job *) = __real_lt_kernels_get()->matmul[LT_FORM_Q4_1];
    if (job->n_columns == 1) {
        whole(job);
        return;
    }
    lt_matmul_job low = *job, high = *job;
    float *y = malloc((size_t)job->n_columns * (size_t)job->y_stride * sizeof *y);
    low.x = half_of(job, 0);
    high.x = half_of(job, 1);
    high.y = y;
    whole(&low);
    whole(&high);
    for (int32_t c = 0; c < job->n_columns; c++)
        for (int32_t r = 0; r < job->n_panels * LT_PANEL_ROWS; r++)
            job->y[c * job->y_stride + r] += y[c * job->y_stride + r];
    free((void *)(uintptr_t)low.x);
    free((void *)(uintptr_t)high.x);
    free(y);
}

const lt_kernels *__wrap_lt_kernels_get(void)
{
    table = *__real_lt_kernels_get();
    table.matmul[LT_FORM_Q4_1] = split_q4_1;
    return &table;
}
