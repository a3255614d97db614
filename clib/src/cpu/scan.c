/* scan.c - the selective scan of Mamba 1 and 2: an item is a span and as many heads as have sixteen channels, or one. */
#include "cpu/states.h"

#include <string.h>

enum { CHANNELS = 16 };

typedef struct {
    cpu_backend *be;
    const lt_scan *op;
    int32_t n_heads, n_blocks; /* heads of an item, items of a span */
} scan_call;

static void dt_row(void *context, int32_t row, int32_t worker)
{
    const scan_call *c = context;
    const lt_scan *op = c->op;
    c->be->k->softplus(lt_slice_row(op->dt, row), op->dt_bias ? op->dt_bias->vector : NULL, op->n_head);
}

static void scan_head(const scan_call *c, int32_t head, const lt_stretch *s, float *state)
{
    const lt_scan *op = c->op;
    const int32_t group = head / (op->n_head / op->n_group);
    lt_strip x = lt_strip_of(op->x, s), b = lt_strip_of(op->b, s), dt = lt_strip_of(op->dt, s);
    lt_strip y = lt_strip_of(op->y, s), out_of = lt_strip_of(op->c, s);
    x.p += head * op->head_dim;
    y.p += head * op->head_dim;
    b.p += group * op->n_state;
    out_of.p += group * op->n_state;
    dt.p += head;
    c->be->k->scan(&(lt_scan_job){.a = op->a->vector + (int64_t)head * (op->a_per_state ? op->n_state : 1),
                                  .d = op->d->vector[head],
                                  .state = state,
                                  .n_rows = s->n,
                                  .head_dim = op->head_dim,
                                  .n_state = op->n_state,
                                  .a_per_state = op->a_per_state,
                                  .x = x,
                                  .b = b,
                                  .c = out_of,
                                  .dt = dt,
                                  .y = y});
}

static void scan_item(void *context, int32_t item, int32_t worker)
{
    const scan_call *c = context;
    const lt_scan *op = c->op;
    const lt_span *span = &c->be->batch->spans[item / c->n_blocks];
    const int32_t first = item % c->n_blocks * c->n_heads, last = first + c->n_heads < op->n_head ? first + c->n_heads : op->n_head;
    const int64_t n = (int64_t)op->head_dim * op->n_state;
    for (int32_t head = first; head < last; head++) {
        const int64_t at = op->state_at + head * n;
        float *state = lt_cpu_state(c->be, span->state, op->layer) + at;
        for (lt_stretch s = {.span = span}; lt_next_stretch(&s);) {
            scan_head(c, head, &s, state);
            if (s.slot >= 0)
                memcpy(lt_cpu_state(c->be, s.slot, op->layer) + at, state, (size_t)n * sizeof *state);
        }
    }
}

void lt_cpu_scan(lt_backend *base, const lt_scan *op)
{
    const int32_t n_heads = op->head_dim < CHANNELS ? CHANNELS / op->head_dim : 1;
    scan_call c = {cpu_of(base), op, n_heads, (op->n_head + n_heads - 1) / n_heads};
    const lt_batch *batch = c.be->batch;
    lt_cpu_each_row(c.be, dt_row, &c, batch->n_rows);
    lt_pool_run(c.be->pool, batch->n_threads, scan_item, &c, batch->n_spans * c.n_blocks);
}
