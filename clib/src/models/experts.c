/* experts.c - a layer's mixture of experts: the router, stacks of matrices, the expert that every row goes to. */
#include "models/loader.h"

#include <inttypes.h>
#include <stdio.h>

int lt_router_read(lt_router *r, lt_keys *k, const lt_traits *t)
{
    int32_t scores = t->route ? (int32_t)t->route : LT_ROUTE_SOFTMAX;
    *r = (lt_router){.scale = 1.0f, .normalise = t->is & LT_ROUTE_NORMALISED, .weigh_input = t->is & LT_WEIGH_INPUT};
    LT_TRY(lt_key_count(k, "expert_count", false, 0, LT_MAX_EXPERTS, &r->n_expert));
    if (!r->n_expert)
        return LT_OK;
    LT_TRY(lt_key_count(k, "expert_used_count", true, 1, r->n_expert, &r->n_used));
    LT_TRY(lt_key_flag(k, "expert_weights_norm", &r->normalise));
    LT_TRY(lt_key_number(k, "expert_weights_scale", false, 0, 1e4, &r->scale));
    if (r->scale == 0.0f)
        r->scale = 1.0f;
    LT_TRY(lt_key_count(k, "expert_gating_func", false, LT_ROUTE_SOFTMAX, LT_ROUTE_SOFTMAX_CHOSEN, &scores));
    r->scores = scores;
    LT_TRY(lt_key_count(k, "expert_group_count", false, 0, r->n_expert, &r->n_groups));
    if (r->n_groups <= 1)
        return LT_OK;
    LT_TRY(lt_key_count(k, "expert_group_used_count", true, 1, r->n_groups, &r->n_groups_used));
    if (r->n_expert % r->n_groups || r->n_expert / r->n_groups * r->n_groups_used < r->n_used)
        return lt_fail(LT_E_FORMAT, "%s: %s.expert_group_count is %d: of %d experts, %d can not be chosen from %d groups",
                       lt_gguf_path(k->g), k->arch, r->n_groups, r->n_expert, r->n_used, r->n_groups_used);
    return LT_OK;
}

bool lt_has_experts(const lt_loader *l, int32_t layer)
{
    return l->m->h.router.n_expert && lt_find_part(l, layer, "ffn_gate_inp");
}

/* Files of early 2024 have a tensor for each expert: "ffn_up.3" instead of one "ffn_up_exps". */
static int load_apart(lt_loader *l, int32_t layer, const char *part, lt_weight_source s, lt_weight **out)
{
    const lt_tensor *each[LT_MAX_EXPERTS];
    char name[32];
    s.each = each;
    for (int32_t e = 0; e < s.n_matrices; e++) {
        snprintf(name, sizeof name, "%s.%d", part, e);
        each[e] = lt_find_part(l, layer, name);
        if (each[e] && each[e]->type != each[0]->type)
            return lt_fail(LT_E_UNSUPPORTED, "%s: tensor %s is %s, that of expert 0 is %s", lt_gguf_path(l->g), each[e]->name,
                           lt_type_name(each[e]->type), lt_type_name(each[0]->type));
        LT_TRY(lt_check_source(l, lt_part(layer, name, "weight").text, s, each[e]));
    }
    return lt_load_source(l, each[0]->name, REQUIRED, s, out);
}

/* Rows of every expert's matrix and of its bias. */
static int load_stack(lt_loader *l, int32_t layer, const char *part, int64_t n_in, lt_rows r, const lt_weight **w, const lt_weight **bias)
{
    const int32_t n = l->m->h.router.n_expert;
    const lt_weight_source s = {
        .use = LT_USE_EXPERTS, .n_matrices = n, .n_in = n_in, .n_out = r.n, .first = r.first, .rows_apart = r.n_all};
    lt_weight *loaded = NULL, *loaded_bias = NULL;
    char stack[32];
    snprintf(stack, sizeof stack, "%s_exps", part);
    if (lt_find_part(l, layer, stack))
        LT_TRY(lt_load_source(l, lt_part(layer, stack, "weight").text, REQUIRED, s, &loaded));
    else
        LT_TRY(load_apart(l, layer, part, s, &loaded));
    if (r.n == r.n_all)
        LT_TRY(lt_load_floats(l, lt_part(layer, stack, "bias").text, OPTIONAL, 0, n * r.n, n * r.n, &loaded_bias));
    *w = loaded;
    *bias = loaded_bias;
    return LT_OK;
}

/* How wide an MLP is inside: dimension `dim` of this tensor. */
static int read_width(const lt_loader *l, int32_t layer, const char *part, int dim, int32_t *out)
{
    const lt_tensor *t = lt_find_part(l, layer, part);
    if (t && (t->ne[dim] < 1 || t->ne[dim] > 1 << 20))
        return lt_fail(LT_E_FORMAT, "%s: tensor %s: dimension %d is %" PRIu64 ", must be 1..%d", lt_gguf_path(l->g), t->name, dim,
                       t->ne[dim], 1 << 20);
    *out = t ? (int32_t)t->ne[dim] : 0;
    return LT_OK;
}

/* The expert that every row goes to takes the place of the layer's MLP. */
static int load_shared(lt_loader *l, int32_t layer, lt_layer *y)
{
    const int64_t n_embd = l->m->h.n_embd;
    LT_TRY(read_width(l, layer, "ffn_up_shexp", 1, &y->n_ff));
    if (!y->n_ff)
        return LT_OK;
    if (l->m->traits->is & LT_POST_NORM)
        return lt_fail(LT_E_UNSUPPORTED, "%s: layer %d: a shared expert before a norm is not served", lt_gguf_path(l->g), layer);
    if (!(l->m->traits->is & LT_UNGATED))
        LT_TRY(lt_load_part(l, layer, "ffn_gate_shexp", n_embd, lt_all_rows(y->n_ff), OPTIONAL, &y->gate, &y->gate_bias));
    LT_TRY(lt_load_part(l, layer, "ffn_up_shexp", n_embd, lt_all_rows(y->n_ff), OPTIONAL, &y->up, &y->up_bias));
    LT_TRY(lt_load_part(l, layer, "ffn_down_shexp", y->n_ff, lt_all_rows(n_embd), OPTIONAL, &y->down, &y->down_bias));
    lt_weight *gate = NULL;
    LT_TRY(lt_load_matrix(l, lt_part(layer, "ffn_gate_inp_shexp", "weight").text, OPTIONAL, n_embd, lt_all_rows(1), &gate));
    y->shared_gate = gate;
    return LT_OK;
}

int lt_load_experts(lt_loader *l, int32_t layer, lt_layer *y)
{
    const lt_hparams *h = &l->m->h;
    lt_experts *e = &y->experts;
    lt_weight *bias = NULL;
    int32_t n_ff = 0;
    LT_TRY(read_width(l, layer, lt_find_part(l, layer, "ffn_down_exps") ? "ffn_down_exps" : "ffn_down.0", 0, &n_ff));
    const bool gated = !(l->m->traits->is & LT_UNGATED), fused = lt_find_part(l, layer, "ffn_gate_up_exps");
    e->router = h->router;
    e->act = l->m->traits->act ? l->m->traits->act : LT_SILU;
    LT_TRY(lt_load_part(l, layer, "ffn_gate_inp", h->n_embd, lt_all_rows(h->router.n_expert), OPTIONAL, &y->router, &y->router_bias));
    LT_TRY(lt_load_floats(l, lt_part(layer, "exp_probs_b", "bias").text, OPTIONAL, 0, h->router.n_expert, h->router.n_expert, &bias));
    e->router.bias = bias;
    if (gated)
        LT_TRY(load_stack(l, layer, fused ? "ffn_gate_up" : "ffn_gate", h->n_embd, fused ? (lt_rows){0, n_ff, 2 * n_ff} : lt_all_rows(n_ff),
                          &e->gate, &e->gate_bias));
    LT_TRY(load_stack(l, layer, fused ? "ffn_gate_up" : "ffn_up", h->n_embd, fused ? (lt_rows){n_ff, n_ff, 2 * n_ff} : lt_all_rows(n_ff),
                      &e->up, &e->up_bias));
    LT_TRY(load_stack(l, layer, "ffn_down", n_ff, lt_all_rows(h->n_embd), &e->down, &e->down_bias));
    return load_shared(l, layer, y);
}
