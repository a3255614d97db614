/* load.c - every tensor of the decoder by name, its shape checked against the hyper-parameters, handed to the backend. */
#include "models/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

typedef struct {
    lt_model *m;
    const lt_gguf *g;
    int32_t *progress;
    const lt_tensor **used; /* [n_total] */
    int64_t n_used, n_total;
} loader;

static int report_progress(loader *l)
{
    if (!l->progress)
        return LT_OK;
    int32_t seen = __atomic_load_n(l->progress, __ATOMIC_RELAXED);
    const int32_t now = (int32_t)(l->n_used * 1000 / (l->n_total + 1));
    if (seen < 0 || !__atomic_compare_exchange_n(l->progress, &seen, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return lt_fail(LT_E_IO, "%s: loading was cancelled", lt_gguf_path(l->g));
    return LT_OK;
}

static bool is_used(const loader *l, const lt_tensor *t)
{
    int64_t i = l->n_used;
    while (i > 0 && l->used[i - 1] != t)
        i--;
    return i > 0;
}

enum { OPTIONAL = 0, REQUIRED = 1 };

static int find_tensor(const loader *l, const char *name, bool required, const lt_tensor **out)
{
    *out = lt_gguf_find_tensor(l->g, name);
    return *out || !required ? LT_OK : lt_fail(LT_E_FORMAT, "%s: tensor %s is missing", lt_gguf_path(l->g), name);
}

static int check_shape(const loader *l, const lt_weight_source *s)
{
    const lt_tensor *t = s->tensor;
    const uint64_t matrices = (uint64_t)s->n_matrices;
    if (t->ne[0] == (uint64_t)s->n_in && t->ne[1] == (uint64_t)s->rows_apart && t->ne[2] == matrices && t->ne[3] == 1)
        return LT_OK;
    return lt_fail(LT_E_FORMAT,
                   "%s: tensor %s is [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "], must be [%" PRId64 ", %" PRId64 ", %" PRIu64 "]",
                   lt_gguf_path(l->g), t->name, t->ne[0], t->ne[1], t->ne[2], t->ne[3], s->n_in, s->rows_apart, matrices);
}

static int load_source(loader *l, const lt_weight_source *s, lt_weight **out)
{
    LT_TRY(report_progress(l));
    LT_TRY(l->m->be->ops->weight(l->m->be, out, l->g, s));
    l->m->n_params += s->n_in * s->n_out * s->n_matrices;
    if (!is_used(l, s->tensor))
        l->used[l->n_used++] = s->tensor;
    return LT_OK;
}

/* n floats from `first` on of a tensor of n_all, whatever its shape.  Absent and not required: *out stays NULL. */
static int load_floats(loader *l, const char *name, bool required, int64_t first, int64_t n, int64_t n_all, lt_weight **out)
{
    const lt_tensor *t;
    LT_TRY(find_tensor(l, name, required, &t));
    if (!t)
        return LT_OK;
    const uint64_t n_in_file = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; /* the reader has bounded it */
    if (n_in_file != (uint64_t)n_all)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s has %" PRIu64 " elements, must have %" PRId64, lt_gguf_path(l->g), name, n_in_file,
                       n_all);
    if (t->type != 0)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s has type %s, must be F32", lt_gguf_path(l->g), name, lt_type_name(t->type));
    return load_source(
        l, &(lt_weight_source){.tensor = t, .use = LT_USE_VECTOR, .n_matrices = 1, .n_in = n, .n_out = 1, .first = first, .rows_apart = 1},
        out);
}

typedef struct { /* of a matrix in the file: all of its rows, or a run of them */
    int64_t first, n, n_all;
} rows;

static rows all_rows(int64_t n)
{
    return (rows){0, n, n};
}

static int load_matrix(loader *l, const char *name, bool required, int64_t n_in, rows r, lt_weight **out)
{
    lt_weight_source s = {.use = LT_USE_MATRIX, .n_matrices = 1, .n_in = n_in, .n_out = r.n, .first = r.first, .rows_apart = r.n_all};
    LT_TRY(find_tensor(l, name, required, &s.tensor));
    if (!s.tensor)
        return LT_OK;
    LT_TRY(check_shape(l, &s));
    return load_source(l, &s, out);
}

/* ---- parts of a layer ---- */

typedef struct {
    char text[64];
} part_name;

static part_name part_of(int32_t layer, const char *part, const char *kind)
{
    part_name name;
    snprintf(name.text, sizeof name.text, "blk.%d.%s.%s", layer, part, kind);
    return name;
}

static bool has_part(const loader *l, int32_t layer, const char *part)
{
    return lt_gguf_find_tensor(l->g, part_of(layer, part, "weight").text) != NULL;
}

/* Rows of a part's weight and of its bias, which may be absent unless bias_required. */
static int load_part(loader *l, int32_t layer, const char *part, int64_t n_in, rows r, bool bias_required, const lt_weight **w,
                     const lt_weight **bias)
{
    lt_weight *loaded = NULL, *loaded_bias = NULL;
    LT_TRY(load_matrix(l, part_of(layer, part, "weight").text, REQUIRED, n_in, r, &loaded));
    LT_TRY(load_floats(l, part_of(layer, part, "bias").text, bias_required, r.first, r.n, r.n_all, &loaded_bias));
    *w = loaded;
    *bias = loaded_bias;
    return LT_OK;
}

static int load_named_norm(loader *l, const char *weight, const char *bias, bool required, int64_t n, lt_norm *out)
{
    const uint32_t is = l->m->traits->is;
    const bool layer_norm = is & LT_LAYER_NORM, bare = is & LT_BARE_NORM;
    lt_weight *w = NULL, *b = NULL;
    if (!bare)
        LT_TRY(load_floats(l, weight, required, 0, n, n, &w));
    if (layer_norm && w)
        LT_TRY(load_floats(l, bias, OPTIONAL, 0, n, n, &b));
    if (w || bare)
        *out = (lt_norm){.kind = layer_norm ? LT_NORM_LAYER : LT_NORM_RMS, .eps = l->m->h.eps, .weight = w, .bias = b};
    return LT_OK;
}

static int load_norm(loader *l, int32_t layer, const char *part, bool required, lt_norm *out)
{
    return load_named_norm(l, part_of(layer, part, "weight").text, part_of(layer, part, "bias").text, required, l->m->h.n_embd, out);
}

/* The weight's size says what it is for: one head, each head, or all as one. */
static int load_head_norm(loader *l, int32_t layer, const char *part, int32_t n_heads, int32_t dim, lt_head_norm *out)
{
    const uint32_t is = l->m->traits->is;
    const part_name weight = part_of(layer, part, "weight"), bias = part_of(layer, part, "bias");
    const lt_tensor *t = lt_gguf_find_tensor(l->g, weight.text);
    const bool each = t && n_heads > 1 && t->ne[0] == (uint64_t)dim && t->ne[1] == (uint64_t)n_heads,
               all = t && !each && t->ne[0] != (uint64_t)dim;
    if (is & LT_QK_NORM_BARE) {
        *out = (lt_head_norm){.norm = {.kind = LT_NORM_RMS, .eps = l->m->h.eps}, .late = true};
        return LT_OK;
    }
    if (!(is & LT_QK_NORM))
        return LT_OK;
    LT_TRY(load_named_norm(l, weight.text, bias.text, !(is & LT_LAYER_NORM), all || each ? (int64_t)n_heads * dim : dim, &out->norm));
    out->scope = all ? LT_ALL_HEADS : each ? LT_OWN_WEIGHT : LT_EACH_HEAD;
    out->late = is & LT_QK_NORM_LATE;
    return LT_OK;
}

static int load_qkv(loader *l, int32_t i, lt_layer *y)
{
    const lt_layer_shape *s = &y->shape;
    const int64_t n_embd = l->m->h.n_embd, q = (int64_t)s->n_head * s->k_dim, k = (int64_t)s->n_head_kv * s->k_dim,
                  v = (int64_t)s->n_head_kv * s->v_dim, all = q + k + v;
    const bool bias = l->m->traits->is & LT_QKV_BIAS, fused = has_part(l, i, "attn_qkv");
    LT_TRY(load_part(l, i, fused ? "attn_qkv" : "attn_q", n_embd, fused ? (rows){0, q, all} : all_rows(q), bias, &y->q, &y->q_bias));
    LT_TRY(load_part(l, i, fused ? "attn_qkv" : "attn_k", n_embd, fused ? (rows){q, k, all} : all_rows(k), bias, &y->k, &y->k_bias));
    return load_part(l, i, fused ? "attn_qkv" : "attn_v", n_embd, fused ? (rows){q + k, v, all} : all_rows(v), bias, &y->v, &y->v_bias);
}

static int load_attention(loader *l, int32_t i, lt_layer *y)
{
    const lt_layer_shape *s = &y->shape;
    const lt_traits *t = l->m->traits;
    LT_TRY(load_norm(l, i, has_part(l, i, "attn_norm_2") ? "attn_norm_2" : "attn_norm", !(t->is & LT_NO_PRE_NORM), &y->attn_norm));
    LT_TRY(load_qkv(l, i, y));
    LT_TRY(load_part(l, i, "attn_output", (int64_t)s->n_head * s->v_dim, all_rows(l->m->h.n_embd), OPTIONAL, &y->o, &y->o_bias));
    LT_TRY(load_head_norm(l, i, "attn_q_norm", s->n_head, s->k_dim, &y->attention.q_norm));
    LT_TRY(load_head_norm(l, i, "attn_k_norm", s->n_head_kv, s->k_dim, &y->attention.k_norm));
    if (t->is & LT_V_NORM)
        y->attention.v_norm = (lt_head_norm){.norm = {.kind = LT_NORM_RMS, .eps = l->m->h.eps}};
    return t->is & LT_POST_NORM ? load_norm(l, i, "post_attention_norm", REQUIRED, &y->post_attn_norm) : LT_OK;
}

/* The MLP's norm; in a parallel block that has one only, attention's. */
static int load_ffn_norm(loader *l, int32_t i, lt_layer *y)
{
    const uint32_t is = l->m->traits->is;
    const char *name = is & LT_FFN_NORM_LATE_NAME ? "post_attention_norm" : "ffn_norm";
    lt_keys keys = {.g = l->g, .arch = l->m->traits->arch};
    y->parallel = is & LT_PARALLEL && !has_part(l, i, name);
    if (is & LT_PARALLEL)
        LT_TRY(lt_key_flag(&keys, "use_parallel_residual", &y->parallel));
    if (!y->parallel || has_part(l, i, name))
        return load_norm(l, i, name, !(is & LT_NO_PRE_NORM), &y->ffn_norm);
    if (has_part(l, i, "attn_norm_2"))
        return load_norm(l, i, "attn_norm", REQUIRED, &y->ffn_norm);
    y->ffn_norm = y->attn_norm;
    return LT_OK;
}

static int load_mlp(loader *l, int32_t i, lt_layer *y)
{
    const int64_t n_embd = l->m->h.n_embd, n_ff = y->n_ff;
    const lt_tensor *gate_up = has_part(l, i, "ffn_gate") ? NULL : lt_gguf_find_tensor(l->g, part_of(i, "ffn_up", "weight").text);
    const bool gated = !(l->m->traits->is & LT_UNGATED), fused = gated && gate_up && gate_up->ne[1] == 2 * (uint64_t)n_ff;
    LT_TRY(load_ffn_norm(l, i, y));
    if (gated)
        LT_TRY(load_part(l, i, fused ? "ffn_up" : "ffn_gate", n_embd, fused ? (rows){0, n_ff, 2 * n_ff} : all_rows(n_ff), OPTIONAL,
                         &y->gate, &y->gate_bias));
    LT_TRY(load_part(l, i, "ffn_up", n_embd, fused ? (rows){n_ff, n_ff, 2 * n_ff} : all_rows(n_ff), OPTIONAL, &y->up, &y->up_bias));
    LT_TRY(load_part(l, i, "ffn_down", n_ff, all_rows(n_embd), OPTIONAL, &y->down, &y->down_bias));
    return l->m->traits->is & LT_POST_NORM ? load_norm(l, i, "post_ffw_norm", REQUIRED, &y->post_ffn_norm) : LT_OK;
}

static int load_layer(loader *l, int32_t i)
{
    lt_layer *y = &l->m->layers[i];
    lt_weight *scale = NULL;
    LT_TRY(load_attention(l, i, y));
    LT_TRY(load_mlp(l, i, y));
    LT_TRY(load_floats(l, part_of(i, "layer_output_scale", "weight").text, OPTIONAL, 0, 1, 1, &scale));
    y->out_scale = scale;
    return LT_OK;
}

/* A price for distance that grows from head to head (Press et al. 2022, "Train Short, Test Long"). */
static int create_slopes(lt_model *m)
{
    float slope[1024];
    lt_weight *w;
    const int32_t n_head = m->layers[0].shape.n_head;
    int32_t power = 1;
    while (power * 2 <= n_head)
        power *= 2;
    for (int32_t h = 0; h < n_head; h++)
        slope[h] = exp2f(-m->h.alibi_max_bias / (float)power * (h < power ? (float)(h + 1) : (float)(h - power) + 0.5f));
    LT_TRY(m->be->ops->vector(m->be, &w, slope, n_head));
    for (int32_t i = 0; i < m->h.n_layer; i++)
        m->layers[i].attention.slopes = w;
    return LT_OK;
}

/* ---- what is before and after the layers ---- */

static int load_embedding(loader *l)
{
    lt_model *m = l->m;
    const int64_t n_embd = m->h.n_embd;
    lt_weight *tokens = NULL, *positions = NULL;
    LT_TRY(load_matrix(l, "token_embd.weight", REQUIRED, n_embd, all_rows(m->h.n_vocab), &tokens));
    if (m->traits->is & LT_POSITIONS)
        LT_TRY(load_matrix(l, "position_embd.weight", REQUIRED, n_embd, all_rows(m->h.n_ctx_train), &positions));
    m->embedding = (lt_embedding){.tokens = tokens, .positions = positions, .scale = m->h.embedding_scale};
    if (m->traits->is & LT_EMBEDDING_NORM)
        LT_TRY(load_named_norm(l, "token_embd_norm.weight", "token_embd_norm.bias", REQUIRED, n_embd, &m->embedding.norm));
    return LT_OK;
}

static int load_output(loader *l)
{
    lt_model *m = l->m;
    const int64_t n_embd = m->h.n_embd, n_vocab = m->h.n_vocab;
    LT_TRY(load_named_norm(l, "output_norm.weight", "output_norm.bias", REQUIRED, n_embd, &m->output_norm));
    LT_TRY(load_matrix(l, "output.weight", OPTIONAL, n_embd, all_rows(n_vocab), &m->output));
    LT_TRY(load_floats(l, "output.bias", OPTIONAL, 0, n_vocab, n_vocab, &m->output_bias));
    if (!m->output)
        m->output = (lt_weight *)(uintptr_t)m->embedding.tokens;
    return LT_OK;
}

/* Divisors of rotary frequencies, read by lt_model_ready. */
static void use_rope_factors(loader *l)
{
    static const char *const names[] = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const lt_tensor *t = lt_gguf_find_tensor(l->g, names[i]);
        if (t)
            l->used[l->n_used++] = t;
    }
}

static int load_tensors(loader *l)
{
    LT_TRY(load_embedding(l));
    LT_TRY(load_output(l));
    use_rope_factors(l);
    for (int32_t i = 0; i < l->m->h.n_layer; i++)
        LT_TRY(load_layer(l, i));
    return l->m->traits->is & LT_ALIBI ? create_slopes(l->m) : LT_OK;
}

/* Heads beside the language model's (classification, embedding) change nothing of what is served. */
static bool is_other_head(const char *name)
{
    return !strncmp(name, "cls", 3) || !strncmp(name, "dense_", 6);
}

/* A decoder that skips a tensor of its model (a bias, a scale, one more norm) answers, and answers wrongly. */
static int refuse_unread(const loader *l)
{
    for (int64_t i = 0; i < l->n_total && l->n_used < l->n_total; i++) {
        lt_tensor_info t;
        LT_TRY(lt_gguf_tensor(l->g, i, &t));
        if (!is_other_head(t.name) && !is_used(l, lt_gguf_find_tensor(l->g, t.name)))
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
    int64_t q = 0, k = 0, v = 0, attended = 0, ff = 0;
    for (int32_t i = 0; i < h->n_layer; i++) {
        const lt_layer_shape *s = &m->layers[i].shape;
        q = larger(q, (int64_t)s->n_head * s->k_dim);
        k = larger(k, (int64_t)s->n_head_kv * s->k_dim);
        v = larger(v, (int64_t)s->n_head_kv * s->v_dim);
        attended = larger(attended, (int64_t)s->n_head * s->v_dim);
        ff = larger(ff, m->layers[i].n_ff);
    }
    const struct {
        lt_buffer **out;
        int64_t width;
    } wanted[] = {
        {&m->x, h->n_embd},
        {&m->branch[0], h->n_embd},
        {&m->branch[1], h->n_embd},
        {&m->q, q},
        {&m->k, k},
        {&m->v, v},
        {&m->attended, attended},
        {&m->gate, ff},
        {&m->up, ff},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        LT_TRY(m->be->ops->buffer(m->be, wanted[i].out, max_rows, wanted[i].width));
    return m->be->ops->buffer(m->be, &m->logits, m->max_outputs, h->n_vocab);
}

static int find_traits(lt_model *m, const lt_gguf *g)
{
    const char *name;
    uint64_t len;
    char arch[64] = "";
    int32_t n_layer = 0;
    LT_TRY(lt_gguf_get_str(g, "general.architecture", true, &name, &len));
    memcpy(arch, name, len < sizeof arch ? len : 0);
    lt_keys keys = {.g = g, .arch = arch};
    LT_TRY(lt_key_count(&keys, "block_count", false, 1, LT_MAX_LAYERS, &n_layer));
    m->traits = lt_traits_find(arch, n_layer);
    if (!m->traits)
        return lt_fail(LT_E_UNSUPPORTED, "%s: architecture %.*s is not served", lt_gguf_path(g), (int)(len > 64 ? 64 : len), name);
    return LT_OK;
}

int lt_model_load(lt_model *m, const lt_gguf *g, int32_t n_vocab, lt_backend *be, int32_t max_rows, int32_t max_outputs, int32_t *progress)
{
    *m = (lt_model){.be = be, .max_outputs = max_outputs};
    loader l = {.m = m, .g = g, .progress = progress, .n_total = lt_gguf_n_tensors(g)};
    LT_TRY(find_traits(m, g));
    LT_TRY(lt_hparams_read(&m->h, g, m->traits, n_vocab));
    m->layers = lt_alloc_zero((size_t)m->h.n_layer, sizeof *m->layers);
    if (!m->layers)
        return lt_fail(LT_E_NOMEM, "no memory for %d layers", m->h.n_layer);
    LT_TRY(lt_layers_read(m, g));
    l.used = lt_alloc((size_t)l.n_total, sizeof *l.used);
    if (!l.used)
        return lt_fail(LT_E_NOMEM, "no memory for a list of %" PRId64 " tensors", l.n_total);
    int rc = load_tensors(&l);
    if (rc == LT_OK)
        rc = refuse_unread(&l);
    lt_free(l.used);
    LT_TRY(rc);
    m->n_tensors_unused = (int32_t)(l.n_total - l.n_used);
    return create_buffers(m, max_rows);
}

void lt_model_unload(lt_model *m)
{
    lt_free(m->layers);
    m->layers = NULL;
}
