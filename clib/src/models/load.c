/* load.c - every tensor of the decoder by name, its shape checked against the hyper-parameters, handed to the backend. */
#include "models/loader.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

/* The weight's size says what it is for: one head, each head, or all as one. */
static int load_head_norm(lt_loader *l, int32_t layer, const char *part, int32_t n_heads, int32_t dim, lt_head_norm *out)
{
    const uint32_t is = l->m->traits->is;
    const lt_part_name weight = lt_part(layer, part, "weight"), bias = lt_part(layer, part, "bias");
    const lt_tensor *t = lt_gguf_find_tensor(l->g, weight.text);
    const bool each = t && n_heads > 1 && t->ne[0] == (uint64_t)dim && t->ne[1] == (uint64_t)n_heads,
               all = t && !each && t->ne[0] != (uint64_t)dim;
    if (is & LT_QK_NORM_BARE) {
        if (l->m->layers[layer].attention.rope < 0 || l->m->h.router.n_expert >= 128) /* Maverick has none at all */
            return LT_OK;
        *out = (lt_head_norm){.norm = {.kind = LT_NORM_RMS, .eps = l->m->h.eps}, .late = true};
        return LT_OK;
    }
    if (!(is & LT_QK_NORM))
        return LT_OK;
    LT_TRY(lt_load_named_norm(l, weight.text, bias.text, !(is & (LT_LAYER_NORM | LT_QK_NORM_OPTIONAL)),
                              all || each ? (int64_t)n_heads * dim : dim, &out->norm));
    out->scope = all ? LT_ALL_HEADS : each ? LT_OWN_WEIGHT : LT_EACH_HEAD;
    out->late = is & LT_QK_NORM_LATE;
    return LT_OK;
}

/* Rows of q and of its gate, head by head. */
static int load_gated_q(lt_loader *l, int32_t i, lt_layer *y)
{
    const lt_layer_shape *s = &y->shape;
    lt_weight_source source = {.use = LT_USE_MATRIX,
                               .joined = true,
                               .n_matrices = s->n_head,
                               .n_in = l->m->h.n_embd,
                               .n_out = s->k_dim,
                               .rows_apart = 2 * (int64_t)s->k_dim};
    lt_weight *q = NULL, *gate = NULL;
    if (s->k_dim % 16 || s->k_dim != s->v_dim)
        return lt_fail(LT_E_UNSUPPORTED, "%s: layer %d: gated heads of %d and %d, must be equal and a multiple of 16", lt_gguf_path(l->g),
                       i, s->k_dim, s->v_dim);
    LT_TRY(lt_load_source(l, lt_part(i, "attn_q", "weight").text, REQUIRED, source, &q));
    source.first = s->k_dim;
    LT_TRY(lt_load_source(l, lt_part(i, "attn_q", "weight").text, REQUIRED, source, &gate));
    y->q = q;
    y->attn_gate = gate;
    return LT_OK;
}

static int load_qkv(lt_loader *l, int32_t i, lt_layer *y)
{
    const lt_layer_shape *s = &y->shape;
    const int64_t n_embd = l->m->h.n_embd, q = (int64_t)s->n_head * s->k_dim, k = (int64_t)s->n_head_kv * s->k_dim,
                  v = (int64_t)s->n_head_kv * s->v_dim, all = q + k + v;
    const bool bias = l->m->traits->is & LT_QKV_BIAS, fused = lt_find_part(l, i, "attn_qkv");
    if (l->m->traits->mixer == LT_MIX_DELTA)
        LT_TRY(load_gated_q(l, i, y));
    else
        LT_TRY(lt_load_part(l, i, fused ? "attn_qkv" : "attn_q", n_embd, fused ? (lt_rows){0, q, all} : lt_all_rows(q), bias, &y->q,
                            &y->q_bias));
    LT_TRY(
        lt_load_part(l, i, fused ? "attn_qkv" : "attn_k", n_embd, fused ? (lt_rows){q, k, all} : lt_all_rows(k), bias, &y->k, &y->k_bias));
    return lt_load_part(l, i, fused ? "attn_qkv" : "attn_v", n_embd, fused ? (lt_rows){q + k, v, all} : lt_all_rows(v), bias, &y->v,
                        &y->v_bias);
}

static int load_attention(lt_loader *l, int32_t i, lt_layer *y)
{
    const lt_layer_shape *s = &y->shape;
    const lt_traits *t = l->m->traits;
    if (l->m->h.latent.n_kv)
        return lt_load_latent(l, i, y);
    LT_TRY(load_qkv(l, i, y));
    LT_TRY(lt_load_part(l, i, "attn_output", (int64_t)s->n_head * s->v_dim, lt_all_rows(l->m->h.n_embd), OPTIONAL, &y->o, &y->o_bias));
    LT_TRY(load_head_norm(l, i, "attn_q_norm", s->n_head, s->k_dim, &y->attention.q_norm));
    LT_TRY(load_head_norm(l, i, "attn_k_norm", s->n_head_kv, s->k_dim, &y->attention.k_norm));
    lt_weight *sinks = NULL;
    LT_TRY(lt_load_floats(l, lt_part(i, "attn_sinks", "weight").text, OPTIONAL, 0, s->n_head, s->n_head, &sinks));
    y->attention.sinks = sinks;
    if (t->is & LT_V_NORM)
        y->attention.v_norm = (lt_head_norm){.norm = {.kind = LT_NORM_RMS, .eps = l->m->h.eps}};
    return t->is & LT_POST_NORM ? lt_load_norm(l, i, "post_attention_norm", REQUIRED, &y->post_attn_norm) : LT_OK;
}

/* The MLP's norm; in a parallel block that has one only, attention's. */
static int load_ffn_norm(lt_loader *l, int32_t i, lt_layer *y)
{
    const uint32_t is = l->m->traits->is;
    const char *name = is & LT_FFN_NORM_LATE_NAME ? "post_attention_norm" : l->m->traits->mixes & LT_MIX_OR_MLP ? "attn_norm" : "ffn_norm";
    const lt_part_name bare = lt_part(i, name, ""); /* how files of Falcon H1 call it */
    lt_keys keys = {.g = l->g, .arch = l->m->traits->arch};
    y->parallel = is & LT_PARALLEL && !lt_find_part(l, i, name);
    if (is & LT_PARALLEL)
        LT_TRY(lt_key_flag(&keys, "use_parallel_residual", &y->parallel));
    if (lt_gguf_find_tensor(l->g, bare.text))
        return lt_load_named_norm(l, bare.text, bare.text, REQUIRED, l->m->h.n_embd, &y->ffn_norm);
    if (!y->parallel || lt_find_part(l, i, name))
        return lt_load_norm(l, i, name, !(is & LT_NO_PRE_NORM), &y->ffn_norm);
    if (lt_find_part(l, i, "attn_norm_2"))
        return lt_load_norm(l, i, "attn_norm", REQUIRED, &y->ffn_norm);
    y->ffn_norm = y->attn_norm;
    return LT_OK;
}

static int load_mlp(lt_loader *l, int32_t i, lt_layer *y)
{
    const int64_t n_embd = l->m->h.n_embd, n_ff = y->n_ff;
    const lt_tensor *gate_up = lt_find_part(l, i, "ffn_gate") ? NULL : lt_find_part(l, i, "ffn_up");
    const bool gated = !(l->m->traits->is & LT_UNGATED), fused = gated && gate_up && gate_up->ne[1] == 2 * (uint64_t)n_ff;
    if (gated)
        LT_TRY(lt_load_part(l, i, fused ? "ffn_up" : "ffn_gate", n_embd, fused ? (lt_rows){0, n_ff, 2 * n_ff} : lt_all_rows(n_ff), OPTIONAL,
                            &y->gate, &y->gate_bias));
    LT_TRY(
        lt_load_part(l, i, "ffn_up", n_embd, fused ? (lt_rows){n_ff, n_ff, 2 * n_ff} : lt_all_rows(n_ff), OPTIONAL, &y->up, &y->up_bias));
    return lt_load_part(l, i, "ffn_down", n_ff, lt_all_rows(n_embd), OPTIONAL, &y->down, &y->down_bias);
}

/* Attention, a recurrent layer, or both, behind one norm. */
static int load_mixing(lt_loader *l, int32_t i, lt_layer *y)
{
    const char *norm = lt_find_part(l, i, "attn_norm_2") ? "attn_norm_2" : "attn_norm";
    if (!y->shape.n_head && !y->is_recurrent)
        return LT_OK;
    LT_TRY(lt_load_norm(l, i, norm, !(l->m->traits->is & LT_NO_PRE_NORM), &y->attn_norm));
    if (y->shape.n_head)
        LT_TRY(load_attention(l, i, y));
    return y->is_recurrent ? lt_load_mixer(l, i, y) : LT_OK;
}

static int load_layer(lt_loader *l, int32_t i)
{
    lt_layer *y = &l->m->layers[i];
    lt_weight *scale = NULL;
    LT_TRY(load_mixing(l, i, y));
    if (y->n_ff) {
        LT_TRY(load_ffn_norm(l, i, y));
        LT_TRY(lt_has_experts(l, i) ? lt_load_experts(l, i, y) : load_mlp(l, i, y));
    }
    if (l->m->traits->is & LT_POST_NORM)
        LT_TRY(lt_load_norm(l, i, "post_ffw_norm", REQUIRED, &y->post_ffn_norm));
    LT_TRY(lt_load_floats(l, lt_part(i, "layer_output_scale", "weight").text, OPTIONAL, 0, 1, 1, &scale));
    y->out_scale = scale;
    return LT_OK;
}

/* A price for distance that grows from head to head (Press et al. 2022, "Train Short, Test Long"). */
static int create_slopes(lt_model *m, lt_layer *y)
{
    float slope[1024];
    lt_weight *w;
    const int32_t n_head = y->shape.n_head;
    int32_t power = 1;
    while (power * 2 <= n_head)
        power *= 2;
    for (int32_t h = 0; h < n_head; h++)
        slope[h] = exp2f(-m->h.alibi_max_bias / (float)power * (h < power ? (float)(h + 1) : (float)(h - power) + 0.5f));
    LT_TRY(m->be->ops->vector(m->be, &w, slope, n_head));
    y->attention.slopes = w;
    return LT_OK;
}

/* ---- what is before and after the layers ---- */

static int load_embedding(lt_loader *l)
{
    lt_model *m = l->m;
    const int64_t n_embd = m->h.n_embd;
    lt_weight *tokens = NULL, *positions = NULL;
    LT_TRY(lt_load_matrix(l, "token_embd.weight", REQUIRED, n_embd, lt_all_rows(m->h.n_vocab), &tokens));
    if (m->traits->positions == LT_LEARNED_POSITIONS)
        LT_TRY(lt_load_matrix(l, "position_embd.weight", REQUIRED, n_embd, lt_all_rows(m->h.n_ctx_train), &positions));
    m->embedding = (lt_embedding){.tokens = tokens, .positions = positions, .scale = m->h.embedding_scale};
    if (m->traits->is & LT_EMBEDDING_NORM)
        LT_TRY(lt_load_named_norm(l, "token_embd_norm.weight", "token_embd_norm.bias", REQUIRED, n_embd, &m->embedding.norm));
    return LT_OK;
}

static int load_output(lt_loader *l)
{
    lt_model *m = l->m;
    const int64_t n_embd = m->h.n_embd, n_vocab = m->h.n_vocab;
    const char *norm = m->traits->mixer == LT_MIX_CONV ? "token_embd_norm.weight" : "output_norm.weight";
    LT_TRY(lt_load_named_norm(l, norm, "output_norm.bias", REQUIRED, n_embd, &m->output_norm));
    LT_TRY(lt_load_matrix(l, "output.weight", OPTIONAL, n_embd, lt_all_rows(n_vocab), &m->output));
    LT_TRY(lt_load_floats(l, "output.bias", OPTIONAL, 0, n_vocab, n_vocab, &m->output_bias));
    if (!m->output)
        m->output = (lt_weight *)(uintptr_t)m->embedding.tokens;
    return LT_OK;
}

/* Divisors of rotary frequencies, read by lt_model_ready: one set, or two between which the context in use decides. */
static int use_rope_factors(lt_loader *l)
{
    static const char *const names[] = {"rope_factors_long.weight", "rope_factors_short.weight", "rope_freqs.weight"};
    const bool two = l->m->h.scaling == LT_SCALING_LONG;
    for (int i = two ? 0 : 2; i < (two ? 2 : 3) && lt_rotates(l->m->traits); i++) {
        const lt_tensor *t = lt_gguf_find_tensor(l->g, names[i]);
        if (t)
            l->used[l->n_used++] = t;
        else if (two)
            return lt_fail(LT_E_FORMAT, "%s: tensor %s is missing", lt_gguf_path(l->g), names[i]);
    }
    return LT_OK;
}

static int check_experts(const lt_loader *l)
{
    const lt_hparams *h = &l->m->h;
    int32_t i = 0;
    while (i < h->n_layer && !l->m->layers[i].router)
        i++;
    return i < h->n_layer || !h->router.n_expert
               ? LT_OK
               : lt_fail(LT_E_FORMAT, "%s: %s.expert_count is %d, but no layer has the tensor ffn_gate_inp", lt_gguf_path(l->g),
                         l->m->traits->arch, h->router.n_expert);
}

static int load_tensors(lt_loader *l)
{
    LT_TRY(load_embedding(l));
    LT_TRY(load_output(l));
    LT_TRY(use_rope_factors(l));
    for (int32_t i = 0; i < l->m->h.n_layer; i++)
        LT_TRY(load_layer(l, i));
    LT_TRY(check_experts(l));
    for (int32_t i = 0; l->m->traits->positions == LT_ALIBI && i < l->m->h.n_layer; i++)
        LT_TRY(create_slopes(l->m, &l->m->layers[i]));
    return LT_OK;
}

/* Heads beside the language model's (classification, embedding, the layers that predict further tokens) change nothing of what is
 * served. */
static bool is_other_head(const lt_loader *l, const char *name)
{
    const lt_hparams *h = &l->m->h;
    int layer = -1;
    if (!strncmp(name, "cls", 3) || !strncmp(name, "dense_", 6))
        return true;
    return sscanf(name, "blk.%d.", &layer) == 1 && layer >= h->n_layer && layer < h->n_layer + h->n_further;
}

/* A decoder that skips a tensor of its model (a bias, a scale, one more norm) answers, and answers wrongly. */
static int refuse_unread(const lt_loader *l)
{
    for (int64_t i = 0; i < l->n_total && l->n_used < l->n_total; i++) {
        lt_tensor_info t;
        LT_TRY(lt_gguf_tensor(l->g, i, &t));
        if (!is_other_head(l, t.name) && !lt_is_used(l, lt_gguf_find_tensor(l->g, t.name)))
            return lt_fail(LT_E_UNSUPPORTED, "%s: tensor %s is in the file, but not in the %s decoder that this build has",
                           lt_gguf_path(l->g), t.name, l->m->traits->arch);
    }
    return LT_OK;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int create_buffers(lt_model *m, int32_t max_rows)
{
    const lt_hparams *h = &m->h;
    int64_t q = 0, k = 0, v = 0, attended = 0, ff = 0, heads = 0;
    for (int32_t i = 0; i < h->n_layer; i++) {
        const lt_layer_shape *s = &m->layers[i].shape;
        q = larger(q, (int64_t)s->n_head * s->k_dim);
        k = larger(k, (int64_t)s->n_head_kv * s->k_dim);
        v = larger(v, (int64_t)s->n_head_kv * s->v_dim);
        attended = larger(attended, (int64_t)s->n_head * s->v_dim);
        ff = larger(ff, m->layers[i].n_ff);
        heads = larger(heads, (int64_t)s->n_head * larger(m->layers[i].v_head, h->latent.k_dim));
    }
    const int32_t n_expert = h->router.n_expert;
    const struct {
        lt_buffer **out;
        int64_t width; /* 0: not needed */
    } wanted[] = {
        {&m->x, h->n_embd},
        {&m->branch[0], h->n_embd},
        {&m->branch[1], h->n_embd},
        {&m->branch[2], n_expert || m->traits->mixes & LT_MIX_BESIDE ? h->n_embd : 0},
        {&m->routes, n_expert},
        {&m->shared_gate, n_expert ? 1 : 0},
        {&m->q_latent, h->latent.n_q},
        {&m->heads, h->latent.n_kv ? heads : 0},
        {&m->q, q},
        {&m->k, k},
        {&m->v, v},
        {&m->attended, attended},
        {&m->attn_gate, m->traits->mixer == LT_MIX_DELTA ? attended : 0},
        {&m->gate, ff},
        {&m->up, ff},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (wanted[i].width)
            LT_TRY(m->be->ops->buffer(m->be, wanted[i].out, max_rows, wanted[i].width));
    return m->be->ops->buffer(m->be, &m->logits, m->max_outputs, h->n_vocab);
}

static int find_traits(lt_model *m, const lt_gguf *g, int32_t n_vocab)
{
    const char *name;
    uint64_t len;
    char arch[64] = "";
    int32_t n_layer = 0;
    LT_TRY(lt_gguf_get_str(g, "general.architecture", true, &name, &len));
    memcpy(arch, name, len < sizeof arch ? len : 0);
    lt_keys keys = {.g = g, .arch = arch};
    LT_TRY(lt_key_count(&keys, "block_count", false, 1, LT_MAX_LAYERS, &n_layer));
    m->traits = lt_traits_find(arch, n_layer, n_vocab);
    if (!m->traits)
        return lt_fail(LT_E_UNSUPPORTED, "%s: architecture %.*s is not served", lt_gguf_path(g), (int)(len > 64 ? 64 : len), name);
    return LT_OK;
}

int lt_model_load(lt_model *m, const lt_gguf *g, int32_t n_vocab, lt_backend *be, int32_t max_rows, int32_t max_outputs, int32_t *progress)
{
    *m = (lt_model){.be = be, .max_outputs = max_outputs};
    lt_loader l = {.m = m, .g = g, .progress = progress, .n_total = lt_gguf_n_tensors(g)};
    LT_TRY(find_traits(m, g, n_vocab));
    LT_TRY(lt_hparams_read(&m->h, g, m->traits, n_vocab));
    m->layers = lt_alloc_zero((size_t)m->h.n_layer, sizeof *m->layers);
    if (!m->layers)
        return lt_fail(LT_E_NOMEM, "no memory for %d layers", m->h.n_layer);
    LT_TRY(lt_layers_read(m, g));
    l.used = lt_alloc((size_t)l.n_total, sizeof *l.used);
    if (!l.used)
        return lt_fail(LT_E_NOMEM, "no memory for a list of %" PRId64 " tensors", l.n_total);
    int rc = lt_mix_buffers_create(&m->mix, be, m->traits->mixer, &m->h.mix, max_rows);
    if (rc == LT_OK)
        rc = load_tensors(&l);
    if (rc == LT_OK)
        rc = refuse_unread(&l);
    lt_free(l.used);
    LT_TRY(rc);
    m->n_tensors_unused = (int32_t)(l.n_total - l.n_used);
    return create_buffers(m, max_rows);
}

void lt_model_unload(lt_model *m)
{
    for (int32_t i = 0; m->layers && i < m->h.n_layer; i++)
        lt_free(m->layers[i].mixer);
    lt_free(m->layers);
    m->layers = NULL;
}
