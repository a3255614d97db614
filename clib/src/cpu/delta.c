/* delta.c - the gated delta rule: first what rows have by themselves, then an item is a span, a head and sixteen of its values. */
#include "cpu/states.h"

#include <math.h>
#include <string.h>

typedef struct {
    cpu_backend *be;
    const lt_delta *op;
    int32_t n_blocks; /* of a head's values */
} delta_call;

static int32_t place_of(const lt_delta *op, int32_t head)
{
    return head / op->run * op->step + head % op->run;
}

static void delta_row(void *context, int32_t row, int32_t worker)
{
    const delta_call *c = context;
    const lt_delta *op = c->op;
    const lt_kernels *kernels = c->be->k;
    float *q = lt_slice_row(op->q, row), *k = lt_slice_row(op->k, row);
    for (int32_t h = 0; h < op->n_head_k; h++) {
        kernels->unit_length(q + h * op->k_dim, op->k_dim, 1.0f / sqrtf((float)op->k_dim), op->eps);
        kernels->unit_length(k + h * op->k_dim, op->k_dim, 1.0f, op->eps);
    }
    for (int32_t h = 0; h < op->n_head; h += op->run) {
        float *beta = lt_slice_row(op->beta, row) + place_of(op, h);
        kernels->act(LT_SIGMOID, beta, beta, NULL, op->run);
        kernels->decay(lt_slice_row(op->alpha, row) + place_of(op, h), op->dt_bias->vector + h, op->a->vector + h, op->run);
    }
}

static void delta_item(void *context, int32_t item, int32_t worker)
{
    const delta_call *c = context;
    const lt_delta *op = c->op;
    const int32_t block = item % c->n_blocks, head = item / c->n_blocks % op->n_head;
    const int32_t k_head = op->tiled ? head % op->n_head_k : head / (op->n_head / op->n_head_k);
    const int32_t left = op->v_dim - block * 16;
    const int64_t n = (int64_t)op->k_dim * 16, at = op->state_at + (head * c->n_blocks + block) * n;
    lt_stretch s = {.span = &c->be->batch->spans[item / c->n_blocks / op->n_head]};
    lt_delta_job job = {
        .state = lt_cpu_state(c->be, s.span->state, op->layer) + at, .k_dim = op->k_dim, .n_columns = left < 16 ? left : 16};
    while (lt_next_stretch(&s)) {
        job.n_rows = s.n;
        job.q = lt_strip_of(lt_slice_from(op->q, k_head * op->k_dim), &s);
        job.k = lt_strip_of(lt_slice_from(op->k, k_head * op->k_dim), &s);
        job.v = lt_strip_of(lt_slice_from(op->v, head * op->v_dim + block * 16), &s);
        job.y = lt_strip_of(lt_slice_from(op->y, head * op->v_dim + block * 16), &s);
        job.beta = lt_strip_of(lt_slice_from(op->beta, place_of(op, head)), &s);
        job.decay = lt_strip_of(lt_slice_from(op->alpha, place_of(op, head)), &s);
        c->be->k->delta(&job);
        if (s.slot >= 0)
            memcpy(lt_cpu_state(c->be, s.slot, op->layer) + at, job.state, (size_t)n * sizeof *job.state);
    }
}

void lt_cpu_delta(lt_backend *base, const lt_delta *op)
{
    delta_call c = {cpu_of(base), op, (op->v_dim + 15) / 16};
    const lt_batch *batch = c.be->batch;
    lt_cpu_each_row(c.be, delta_row, &c, batch->n_rows);
    lt_pool_run(c.be->pool, batch->n_threads, delta_item, &c, batch->n_spans * op->n_head * c.n_blocks);
}
