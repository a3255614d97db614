/* states.h - how the operations of recurrent layers walk a step's spans and their states. */
#ifndef LT_CPU_STATES_H
#define LT_CPU_STATES_H

#include "cpu/internal.h"

int lt_cpu_states_create(cpu_backend *be, const lt_kv_shape *shape);
void lt_cpu_clear_state(lt_backend *be, int32_t slot);
void lt_cpu_copy_state(lt_backend *be, int32_t src, int32_t dst);
void lt_cpu_conv(lt_backend *be, const lt_conv *op);
void lt_cpu_scan(lt_backend *be, const lt_scan *op);
void lt_cpu_delta(lt_backend *be, const lt_delta *op);
void lt_cpu_gate(lt_backend *be, const lt_gate *op);

static inline float *lt_cpu_state(const cpu_backend *be, int32_t slot, int32_t layer)
{
    return be->states + (int64_t)slot * be->state_stride + be->state_at[layer];
}

/* Rows of a span up to where a copy of its state is wanted, or to its end; starts with n 0. */
typedef struct {
    const lt_span *span;
    int32_t first, n;
    int32_t slot; /* of the copy; -1: none */
    int32_t i_save;
} lt_stretch;

static inline bool lt_next_stretch(lt_stretch *s)
{
    s->first += s->n;
    if (s->first == s->span->n_rows)
        return false;
    const lt_save *save = s->i_save < s->span->n_saves ? &s->span->saves[s->i_save++] : NULL;
    s->n = (save ? save->n_rows : s->span->n_rows) - s->first;
    s->slot = save ? save->slot : -1;
    return true;
}

static inline lt_strip lt_strip_of(lt_slice part, const lt_stretch *s)
{
    if (!part.buffer)
        return (lt_strip){0};
    const int64_t row = s->span->first_row + s->first;
    return (lt_strip){part.buffer->data + row * part.buffer->stride + part.at, part.buffer->stride};
}

static inline lt_slice lt_slice_from(lt_slice part, int32_t column)
{
    part.at += column;
    return part;
}

static inline float *lt_slice_row(lt_slice part, int32_t row)
{
    return part.buffer->data + row * part.buffer->stride + part.at;
}

#endif
