/* gate.c - norm and gate of what a recurrent layer gives, row by row. */
#include "cpu/states.h"

typedef struct {
    cpu_backend *be;
    const lt_gate *op;
} gate_call;

static void gate_row(void *context, int32_t row, int32_t worker)
{
    const gate_call *c = context;
    const lt_gate *op = c->op;
    const lt_kernels *k = c->be->k;
    for (int32_t i = 0; i < op->n; i += op->group) {
        const float *weight = op->norm ? op->norm->vector + i / op->group * op->norm_step : NULL;
        const float *x = lt_slice_row(op->x, row) + i, *z = op->z.buffer ? lt_slice_row(op->z, row) + i : NULL;
        float *y = lt_slice_row(op->y, row) + i, *normed = c->be->scratch[worker].row;
        if (op->order == LT_NORM_THEN_GATE) {
            k->rms_norm(z ? normed : y, x, weight, op->group, op->eps);
            x = z ? normed : y;
        }
        if (z)
            k->act(LT_SILU, y, z, x, op->group);
        if (op->order == LT_GATE_THEN_NORM)
            k->rms_norm(y, y, weight, op->group, op->eps);
    }
}

void lt_cpu_gate(lt_backend *base, const lt_gate *op)
{
    gate_call c = {cpu_of(base), op};
    lt_cpu_each_row(c.be, gate_row, &c, c.be->batch->n_rows);
}
