/* load_recurrent.c - the weights of a recurrent layer, by the names of its kind. */
#include "core/memory.h"
#include "models/loader.h"

static int load_product(lt_loader *l, int32_t layer, const char *name, int64_t n_in, int64_t n_out, lt_buffer *y, lt_product *out)
{
    out->y = y;
    return lt_load_part(l, layer, name, n_in, lt_all_rows(n_out), OPTIONAL, &out->w, &out->bias);
}

static int load_vector(lt_loader *l, lt_part_name name, bool required, int64_t n, const lt_weight **out)
{
    lt_weight *w = NULL;
    LT_TRY(lt_load_floats(l, name.text, required, 0, n, n, &w));
    *out = w;
    return LT_OK;
}

static int load_conv(lt_loader *l, int32_t layer, const char *name, lt_conv *conv)
{
    LT_TRY(load_vector(l, lt_part(layer, name, "weight"), REQUIRED, (int64_t)conv->n_taps * conv->n_channels, &conv->w));
    return load_vector(l, lt_part(layer, name, "bias"), OPTIONAL, conv->n_channels, &conv->bias);
}

/* dt, B and C may be normed, with weights or without. */
static int load_low_norms(lt_loader *l, int32_t layer, lt_mixer *x)
{
    static const char *const names[3] = {"ssm_dt_norm", "ssm_b_norm", "ssm_c_norm"};
    for (int i = 0; i < 3; i++) {
        lt_gate *norm = &x->low_norms[i];
        LT_TRY(load_vector(l, lt_part(layer, names[i], "weight"), OPTIONAL, norm->n, &norm->norm));
        if (!norm->norm && !l->m->h.mix.norms_dt_b_c)
            norm->n = 0;
    }
    return LT_OK;
}

static int load_mamba(lt_loader *l, int32_t i, lt_mixer *x)
{
    const lt_mix_numbers *n = &l->m->h.mix;
    const int64_t low = n->n_head + 2 * (int64_t)n->n_state;
    LT_TRY(load_conv(l, i, "ssm_conv1d", &x->conv));
    LT_TRY(load_product(l, i, "ssm_x", n->n_inner, low, l->m->mix.low, &x->low));
    LT_TRY(load_product(l, i, "ssm_dt", n->n_head, n->n_inner, l->m->mix.steps, &x->dt));
    LT_TRY(load_low_norms(l, i, x));
    LT_TRY(load_vector(l, lt_part(i, "ssm_a", ""), REQUIRED, (int64_t)n->n_inner * n->n_state, &x->scan.a));
    return load_vector(l, lt_part(i, "ssm_d", ""), REQUIRED, n->n_inner, &x->scan.d);
}

static int load_mamba2(lt_loader *l, int32_t i, lt_mixer *x)
{
    const lt_mix_numbers *n = &l->m->h.mix;
    LT_TRY(load_conv(l, i, "ssm_conv1d", &x->conv));
    LT_TRY(load_vector(l, lt_part(i, "ssm_dt", "bias"), REQUIRED, n->n_head, &x->scan.dt_bias));
    LT_TRY(load_vector(l, lt_part(i, "ssm_a", ""), REQUIRED, n->n_head, &x->scan.a));
    LT_TRY(load_vector(l, lt_part(i, "ssm_d", ""), REQUIRED, n->n_head, &x->scan.d));
    LT_TRY(load_vector(l, lt_part(i, "ssm_norm", "weight"), OPTIONAL, n->n_inner, &x->gate.norm));
    if (!x->gate.norm)
        return LT_OK;
    x->gate.order = LT_GATE_THEN_NORM;
    x->gate.group = x->gate.norm_step = n->n_inner / n->n_group;
    return LT_OK;
}

/* beta and alpha by themselves, or the v heads' of each k head together: its betas, then its alphas. */
static int load_beta_alpha(lt_loader *l, int32_t i, lt_mixer *x)
{
    const int64_t n_embd = l->m->h.n_embd;
    const lt_mix_buffers *b = &l->m->mix;
    lt_delta *d = &x->delta;
    d->beta = d->alpha = (lt_slice){b->steps, 0};
    if (lt_find_part(l, i, "ssm_ba")) {
        d->run = d->n_head / d->n_head_k;
        d->step = 2 * d->run;
        d->alpha.at = d->run;
        return load_product(l, i, "ssm_ba", n_embd, 2 * (int64_t)d->n_head, b->steps, &x->in[x->n_in++]);
    }
    d->run = d->step = d->n_head;
    d->alpha.buffer = b->low;
    LT_TRY(load_product(l, i, "ssm_beta", n_embd, d->n_head, b->steps, &x->in[x->n_in++]));
    return load_product(l, i, "ssm_alpha", n_embd, d->n_head, b->low, &x->in[x->n_in++]);
}

static int load_delta(lt_loader *l, int32_t i, lt_mixer *x)
{
    const lt_mix_numbers *n = &l->m->h.mix;
    lt_delta *d = &x->delta;
    d->tiled = l->m->traits->mixes & LT_MIX_TILED;
    LT_TRY(load_product(l, i, "attn_gate", l->m->h.n_embd, n->n_inner, l->m->mix.z, &x->in[x->n_in++]));
    LT_TRY(load_beta_alpha(l, i, x));
    LT_TRY(load_conv(l, i, "ssm_conv1d", &x->conv));
    LT_TRY(load_vector(l, lt_part(i, "ssm_dt", "bias"), REQUIRED, n->n_head, &d->dt_bias));
    LT_TRY(load_vector(l, lt_part(i, "ssm_a", ""), REQUIRED, n->n_head, &d->a));
    x->gate.order = LT_NORM_THEN_GATE;
    x->gate.group = d->v_dim;
    return load_vector(l, lt_part(i, "ssm_norm", "weight"), REQUIRED, d->v_dim, &x->gate.norm);
}

int lt_load_mixer(lt_loader *l, int32_t i, lt_layer *y)
{
    static const char *const in[] = {"", "shortconv.in_proj", "ssm_in", "ssm_in", "attn_qkv"};
    static const char *const out[] = {"", "shortconv.out_proj", "ssm_out", "ssm_out", "ssm_out"};
    const lt_model *m = l->m;
    const lt_mix_kind kind = m->traits->mixer;
    lt_mixer *x = lt_alloc_zero(1, sizeof *x);
    if (!x)
        return lt_fail(LT_E_NOMEM, "no memory for layer %d", i);
    y->mixer = x;
    lt_mixer_fill(x, kind, &m->h.mix, &m->mix, i, m->h.eps);
    LT_TRY(load_product(l, i, in[kind], m->h.n_embd, lt_mix_in_width(kind, &m->h.mix), m->mix.in, &x->in[x->n_in++]));
    LT_TRY(load_product(l, i, out[kind], m->h.mix.n_inner, m->h.n_embd, NULL, &x->out));
    switch (kind) {
    case LT_MIX_MAMBA:
        return load_mamba(l, i, x);
    case LT_MIX_MAMBA2:
        return load_mamba2(l, i, x);
    case LT_MIX_DELTA:
        return load_delta(l, i, x);
    default:
        return load_conv(l, i, "shortconv.conv", &x->conv);
    }
}
