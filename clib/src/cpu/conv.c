/* conv.c - the convolution operation: an item is a span and sixteen channels. */
#include "cpu/states.h"

#include <string.h>

typedef struct {
    cpu_backend *be;
    const lt_conv *op;
    int32_t n_blocks;
} conv_call;

static void conv_item(void *context, int32_t item, int32_t worker)
{
    const conv_call *c = context;
    const lt_conv *op = c->op;
    const int32_t first = item % c->n_blocks * 16, left = op->n_channels - first, n = left < 16 ? left : 16;
    lt_stretch s = {.span = &c->be->batch->spans[item / c->n_blocks]};
    const int64_t at = op->state_at + first;
    float *state = lt_cpu_state(c->be, s.span->state, op->layer) + at;
    while (lt_next_stretch(&s)) {
        c->be->k->conv(&(lt_conv_job){
            .w = op->w->vector + (int64_t)first * op->n_taps,
            .bias = op->bias ? op->bias->vector + first : NULL,
            .state = state,
            .state_stride = op->n_channels,
            .n_rows = s.n,
            .n_taps = op->n_taps,
            .n_channels = n,
            .silu = op->silu,
            .x = lt_strip_of(lt_slice_from(op->x, first), &s),
            .before = lt_strip_of(lt_slice_from(op->before, first), &s),
            .after = lt_strip_of(lt_slice_from(op->after, first), &s),
            .y = lt_strip_of(lt_slice_from(op->y, first), &s),
        });
        for (int32_t t = 0; s.slot >= 0 && t < op->n_taps - 1; t++)
            memcpy(lt_cpu_state(c->be, s.slot, op->layer) + at + (int64_t)t * op->n_channels, state + (int64_t)t * op->n_channels,
                   (size_t)n * sizeof *state);
    }
}

void lt_cpu_conv(lt_backend *base, const lt_conv *op)
{
    conv_call c = {cpu_of(base), op, (op->n_channels + 15) / 16};
    const lt_batch *batch = c.be->batch;
    lt_pool_run(c.be->pool, batch->n_threads, conv_item, &c, batch->n_spans * c.n_blocks);
}
