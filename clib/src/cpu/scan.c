/* scan.c - the selective scan of Mamba 1 and 2: an item is a span and sixteen channels, of one head or of sixteen. */
#include "cpu/states.h"

#include <string.h>

typedef struct {
    cpu_backend *be;
    const lt_scan *op;
    int32_t blocks_per_head; /* 0: heads of one channel, sixteen in a block */
    int32_t n_blocks;        /* of a span */
} scan_call;

static void dt_row(void *context, int32_t row, int32_t worker)
{
    const scan_call *c = context;
    const lt_scan *op = c->op;
    c->be->k->softplus(lt_slice_row(op->dt, row), op->dt_bias ? op->dt_bias->vector : NULL, op->n_head);
}

static int32_t at_most_16(int32_t n)
{
    return n < 16 ? n : 16;
}

static void scan_item(void *context, int32_t item, int32_t worker)
{
    const scan_call *c = context;
    const lt_scan *op = c->op;
    const int32_t block = item % c->n_blocks, per_head = c->blocks_per_head;
    const int32_t head = per_head ? block / per_head : block * 16, within = per_head ? block % per_head * 16 : 0;
    const int32_t channel = head * op->head_dim + within, group = head / (op->n_head / op->n_group);
    const int64_t n = (int64_t)op->n_state * 16, at = op->state_at + block * n;
    lt_stretch s = {.span = &c->be->batch->spans[item / c->n_blocks]};
    lt_scan_job job = {.a = op->a->vector + (int64_t)head * (per_head ? 1 : op->n_state),
                       .d = op->d->vector + head,
                       .state = lt_cpu_state(c->be, s.span->state, op->layer) + at,
                       .n_channels = at_most_16(per_head ? op->head_dim - within : op->n_head - head),
                       .n_state = op->n_state,
                       .each_head = !per_head};
    while (lt_next_stretch(&s)) {
        job.n_rows = s.n;
        job.x = lt_strip_of(lt_slice_from(op->x, channel), &s);
        job.y = lt_strip_of(lt_slice_from(op->y, channel), &s);
        job.b = lt_strip_of(lt_slice_from(op->b, group * op->n_state), &s);
        job.c = lt_strip_of(lt_slice_from(op->c, group * op->n_state), &s);
        job.dt = lt_strip_of(lt_slice_from(op->dt, head), &s);
        c->be->k->scan(&job);
        if (s.slot >= 0)
            memcpy(lt_cpu_state(c->be, s.slot, op->layer) + at, job.state, (size_t)n * sizeof *job.state);
    }
}

void lt_cpu_scan(lt_backend *base, const lt_scan *op)
{
    scan_call c = {cpu_of(base), op, op->a_per_state ? 0 : (op->head_dim + 15) / 16, 0};
    c.n_blocks = lt_scan_blocks(op->a_per_state, op->n_head, op->head_dim);
    const lt_batch *batch = c.be->batch;
    lt_cpu_each_row(c.be, dt_row, &c, batch->n_rows);
    lt_pool_run(c.be->pool, batch->n_threads, scan_item, &c, batch->n_spans * c.n_blocks);
}
