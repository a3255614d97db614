/* states.c - the states of recurrent layers: [slot][layer][n_state] floats. */
#include "cpu/states.h"

#include <string.h>

int lt_cpu_states_create(cpu_backend *be, const lt_kv_shape *shape)
{
    be->state_at = lt_alloc((size_t)shape->n_layers, sizeof *be->state_at);
    if (!be->state_at)
        return out_of_memory("the layers' states", (size_t)shape->n_layers * sizeof *be->state_at);
    for (int32_t i = 0; i < shape->n_layers; i++) {
        be->state_at[i] = be->state_stride;
        be->state_stride += (shape->layers[i].n_state + 15) & ~(int64_t)15;
    }
    size_t bytes;
    if (!be->state_stride)
        return LT_OK;
    if (lt_mul_size((size_t)be->state_stride * sizeof *be->states, (size_t)shape->n_states, &bytes))
        return lt_fail(LT_E_NOMEM, "%d states of recurrent layers do not fit into memory", shape->n_states);
    be->states = lt_place_alloc(be->place, (size_t)shape->n_states, (size_t)be->state_stride * sizeof *be->states);
    if (!be->states)
        return out_of_memory("the states of recurrent layers (fewer sequences help)", bytes);
    be->memory.state_bytes = (int64_t)bytes;
    return LT_OK;
}

void lt_cpu_clear_state(lt_backend *base, int32_t slot)
{
    cpu_backend *be = cpu_of(base);
    memset(be->states + (int64_t)slot * be->state_stride, 0, (size_t)be->state_stride * sizeof *be->states);
}

void lt_cpu_copy_state(lt_backend *base, int32_t src, int32_t dst)
{
    cpu_backend *be = cpu_of(base);
    memcpy(be->states + (int64_t)dst * be->state_stride, be->states + (int64_t)src * be->state_stride,
           (size_t)be->state_stride * sizeof *be->states);
}
