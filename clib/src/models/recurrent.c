/* recurrent.c - the numbers of recurrent layers, and their part of the forward pass. */
#include "models/recurrent.h"

static int check_multiple(const lt_keys *k, const char *what, int32_t n, int32_t of)
{
    return n % of == 0 ? LT_OK
                       : lt_fail(LT_E_FORMAT, "%s: %s.ssm: %s: %d is not a multiple of %d", lt_gguf_path(k->g), k->arch, what, n, of);
}

int lt_mix_numbers_read(lt_mix_numbers *n, lt_keys *k, lt_mix_kind kind, int32_t n_embd)
{
    *n = (lt_mix_numbers){.n_group = 1, .n_head = 1, .n_inner = n_embd};
    if (kind == LT_MIX_NONE)
        return LT_OK;
    if (kind == LT_MIX_CONV)
        return lt_key_count(k, "shortconv.l_cache", true, 2, LT_MAX_TAPS, &n->n_taps);
    LT_TRY(lt_key_count(k, "ssm.conv_kernel", true, 2, LT_MAX_TAPS, &n->n_taps));
    LT_TRY(lt_key_count(k, "ssm.inner_size", true, 1, 1 << 17, &n->n_inner));
    LT_TRY(lt_key_count(k, "ssm.state_size", true, 1, kind == LT_MIX_MAMBA ? LT_MAX_SCAN_STATE : 1 << 12, &n->n_state));
    LT_TRY(lt_key_count(k, "ssm.time_step_rank", true, 1, 1 << 14, &n->n_head));
    if (kind == LT_MIX_MAMBA)
        return lt_key_flag(k, "ssm.dt_b_c_rms", &n->norms_dt_b_c);
    LT_TRY(lt_key_count(k, "ssm.group_count", true, 1, 1 << 12, &n->n_group));
    LT_TRY(check_multiple(k, "inner_size by time_step_rank", n->n_inner, n->n_head));
    LT_TRY(check_multiple(k, "inner_size by group_count", n->n_inner, n->n_group));
    return check_multiple(k, "time_step_rank by group_count", n->n_head, n->n_group);
}

int32_t lt_mix_channels(lt_mix_kind kind, const lt_mix_numbers *n)
{
    const int32_t shared = 2 * n->n_group * n->n_state; /* B and C, or q and k */
    return kind == LT_MIX_MAMBA2 || kind == LT_MIX_DELTA ? n->n_inner + shared : n->n_inner;
}

int64_t lt_mix_in_width(lt_mix_kind kind, const lt_mix_numbers *n)
{
    switch (kind) {
    case LT_MIX_CONV:
        return 3 * (int64_t)n->n_inner;
    case LT_MIX_MAMBA:
        return 2 * (int64_t)n->n_inner;
    case LT_MIX_MAMBA2:
        return (int64_t)n->n_inner + lt_mix_channels(kind, n) + n->n_head;
    default:
        return lt_mix_channels(kind, n);
    }
}

int64_t lt_mix_state(lt_mix_kind kind, const lt_mix_numbers *n)
{
    const int64_t taps = (int64_t)(n->n_taps - 1) * lt_mix_channels(kind, n);
    switch (kind) {
    case LT_MIX_MAMBA:
        return taps + lt_scan_blocks(true, n->n_inner, 1) * 16 * (int64_t)n->n_state;
    case LT_MIX_MAMBA2:
        return taps + lt_scan_blocks(false, n->n_head, n->n_inner / n->n_head) * 16 * (int64_t)n->n_state;
    case LT_MIX_DELTA:
        return taps + lt_delta_state(n->n_head, n->n_state, n->n_inner / n->n_head);
    default:
        return taps;
    }
}

int lt_mix_buffers_create(lt_mix_buffers *b, lt_backend *be, lt_mix_kind kind, const lt_mix_numbers *n, int32_t max_rows)
{
    if (kind == LT_MIX_NONE)
        return LT_OK;
    LT_TRY(be->ops->buffer(be, &b->in, max_rows, lt_mix_in_width(kind, n)));
    if (kind == LT_MIX_DELTA) {
        LT_TRY(be->ops->buffer(be, &b->z, max_rows, n->n_inner));
        LT_TRY(be->ops->buffer(be, &b->low, max_rows, n->n_head));
        return be->ops->buffer(be, &b->steps, max_rows, 2 * (int64_t)n->n_head);
    }
    if (kind != LT_MIX_MAMBA)
        return LT_OK;
    LT_TRY(be->ops->buffer(be, &b->low, max_rows, n->n_head + 2 * (int64_t)n->n_state));
    return be->ops->buffer(be, &b->steps, max_rows, n->n_inner);
}

static lt_slice part(lt_buffer *buffer, int64_t at)
{
    return (lt_slice){buffer, at};
}

static void fill_mamba(lt_mixer *x, const lt_mix_numbers *n, const lt_mix_buffers *b)
{
    const int32_t rank = n->n_head;
    const struct {
        int32_t at, n;
    } low[3] = {{0, rank}, {rank, n->n_state}, {rank + n->n_state, n->n_state}};
    x->conv.x = x->conv.y = x->scan.x = x->scan.y = x->gate.x = x->gate.y = part(b->in, 0);
    x->gate.z = part(b->in, n->n_inner);
    x->low.y = b->low;
    x->dt.y = b->steps;
    for (int i = 0; i < 3; i++) {
        x->low_norms[i].n = x->low_norms[i].group = low[i].n;
        x->low_norms[i].x = x->low_norms[i].y = part(b->low, low[i].at);
    }
    x->scan.a_per_state = true;
    x->scan.n_head = n->n_inner;
    x->scan.head_dim = x->scan.n_group = 1;
    x->scan.b = part(b->low, rank);
    x->scan.c = part(b->low, rank + n->n_state);
    x->scan.dt = part(b->steps, 0);
}

static void fill_mamba2(lt_mixer *x, const lt_mix_numbers *n, const lt_mix_buffers *b)
{
    const int64_t inner = n->n_inner, shared = (int64_t)n->n_group * n->n_state;
    x->conv.x = x->conv.y = x->scan.x = x->scan.y = x->gate.x = part(b->in, inner);
    x->gate.z = x->gate.y = part(b->in, 0);
    x->scan.n_head = n->n_head;
    x->scan.head_dim = n->n_inner / n->n_head;
    x->scan.n_group = n->n_group;
    x->scan.b = part(b->in, 2 * inner);
    x->scan.c = part(b->in, 2 * inner + shared);
    x->scan.dt = part(b->in, 2 * inner + 2 * shared);
}

static void fill_delta(lt_mixer *x, const lt_mix_numbers *n, const lt_mix_buffers *b, float eps)
{
    const int64_t shared = (int64_t)n->n_group * n->n_state;
    x->conv.x = x->conv.y = part(b->in, 0);
    x->delta = (lt_delta){.layer = x->conv.layer,
                          .n_head = n->n_head,
                          .n_head_k = n->n_group,
                          .k_dim = n->n_state,
                          .v_dim = n->n_inner / n->n_head,
                          .state_at = x->scan.state_at,
                          .eps = eps,
                          .q = part(b->in, 0),
                          .k = part(b->in, shared),
                          .v = part(b->in, 2 * shared),
                          .y = part(b->in, 2 * shared)};
    x->gate.x = x->delta.y;
    x->gate.z = x->gate.y = part(b->z, 0);
}

void lt_mixer_fill(lt_mixer *x, lt_mix_kind kind, const lt_mix_numbers *n, const lt_mix_buffers *b, int32_t layer, float eps)
{
    *x = (lt_mixer){.conv = {.layer = layer, .n_taps = n->n_taps, .n_channels = lt_mix_channels(kind, n), .silu = kind != LT_MIX_CONV}};
    x->scan = (lt_scan){.layer = layer, .n_state = n->n_state, .state_at = (int64_t)(n->n_taps - 1) * x->conv.n_channels};
    x->gate = (lt_gate){.n = n->n_inner, .group = n->n_inner, .eps = eps};
    for (int i = 0; i < 3; i++)
        x->low_norms[i] = (lt_gate){.order = LT_NORM_THEN_GATE, .eps = eps};
    if (kind == LT_MIX_MAMBA)
        fill_mamba(x, n, b);
    else if (kind == LT_MIX_MAMBA2)
        fill_mamba2(x, n, b);
    else if (kind == LT_MIX_DELTA)
        fill_delta(x, n, b, eps);
    else {
        x->gate.n = 0;
        x->conv.before = x->conv.y = part(b->in, 0);
        x->conv.after = part(b->in, n->n_inner);
        x->conv.x = part(b->in, 2 * (int64_t)n->n_inner);
    }
}

void lt_mixer_forward(lt_backend *be, const lt_mixer *x, const lt_input *in, lt_buffer *y)
{
    const lt_ops *op = be->ops;
    lt_product out = x->out;
    out.y = y;
    op->matmul(be, in, x->in, x->n_in);
    op->conv(be, &x->conv);
    if (x->low.w) {
        op->matmul(be, &(lt_input){.x = x->conv.y.buffer}, &x->low, 1);
        for (int i = 0; i < 3; i++)
            if (x->low_norms[i].n)
                op->gate(be, &x->low_norms[i]);
        op->matmul(be, &(lt_input){.x = x->low.y}, &x->dt, 1);
    }
    if (x->scan.n_head)
        op->scan(be, &x->scan);
    if (x->delta.n_head)
        op->delta(be, &x->delta);
    if (x->gate.n)
        op->gate(be, &x->gate);
    op->matmul(be, &(lt_input){.x = x->gate.n ? x->gate.y.buffer : x->conv.y.buffer}, &out, 1);
}
