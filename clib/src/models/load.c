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

/* n_out 0: a vector of n_in.  Absent and not required: *out stays NULL. */
static int load_weight(loader *l, const char *name, bool required, int64_t n_in, int64_t n_out, lt_weight_use use, lt_weight **out)
{
    const lt_tensor *t = lt_gguf_find_tensor(l->g, name);
    if (!t)
        return required ? lt_fail(LT_E_FORMAT, "%s: tensor %s is missing", lt_gguf_path(l->g), name) : LT_OK;
    const uint64_t rows = n_out ? (uint64_t)n_out : 1;
    if (t->ne[0] != (uint64_t)n_in || t->ne[1] != rows || t->ne[2] != 1 || t->ne[3] != 1)
        return lt_fail(LT_E_FORMAT,
                       "%s: tensor %s is [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "], must be [%" PRId64 ", %" PRIu64 "]",
                       lt_gguf_path(l->g), name, t->ne[0], t->ne[1], t->ne[2], t->ne[3], n_in, rows);
    if (use == LT_USE_VECTOR && t->type != 0)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s has type %s, must be F32", lt_gguf_path(l->g), name, lt_type_name(t->type));
    LT_TRY(report_progress(l));
    LT_TRY(l->m->be->ops->weight(l->m->be, out, l->g, t, use));
    l->m->n_params += n_in * (int64_t)rows;
    l->used[l->n_used++] = t;
    return LT_OK;
}

enum { OPTIONAL = 0, REQUIRED = 1 };

static int load_part(loader *l, int32_t layer, const char *part, bool required, int64_t n_in, int64_t n_out, const lt_weight **out)
{
    char name[64];
    lt_weight *w = NULL;
    snprintf(name, sizeof name, "blk.%d.%s", layer, part);
    LT_TRY(load_weight(l, name, required, n_in, n_out, n_out ? LT_USE_MATRIX : LT_USE_VECTOR, &w));
    *out = w;
    return LT_OK;
}

static int load_attention(loader *l, int32_t i, lt_layer *y)
{
    const lt_hparams *h = &l->m->h;
    const lt_traits *t = l->m->traits;
    const int64_t q = (int64_t)h->n_head * h->k_dim, k = (int64_t)h->n_head_kv * h->k_dim, v = (int64_t)h->n_head_kv * h->v_dim;
    const int64_t a = (int64_t)h->n_head * h->v_dim;
    LT_TRY(load_part(l, i, "attn_norm.weight", REQUIRED, h->n_embd, 0, &y->attn_norm));
    LT_TRY(load_part(l, i, "attn_q.weight", REQUIRED, h->n_embd, q, &y->q));
    LT_TRY(load_part(l, i, "attn_k.weight", REQUIRED, h->n_embd, k, &y->k));
    LT_TRY(load_part(l, i, "attn_v.weight", REQUIRED, h->n_embd, v, &y->v));
    LT_TRY(load_part(l, i, "attn_output.weight", REQUIRED, a, h->n_embd, &y->o));
    LT_TRY(load_part(l, i, "attn_q.bias", t->qkv_bias, q, 0, &y->q_bias));
    LT_TRY(load_part(l, i, "attn_k.bias", t->qkv_bias, k, 0, &y->k_bias));
    LT_TRY(load_part(l, i, "attn_v.bias", t->qkv_bias, v, 0, &y->v_bias));
    LT_TRY(load_part(l, i, "attn_output.bias", OPTIONAL, h->n_embd, 0, &y->o_bias));
    if (t->qk_norm) {
        LT_TRY(load_part(l, i, "attn_q_norm.weight", REQUIRED, h->k_dim, 0, &y->q_norm));
        LT_TRY(load_part(l, i, "attn_k_norm.weight", REQUIRED, h->k_dim, 0, &y->k_norm));
    }
    return t->post_norms ? load_part(l, i, "post_attention_norm.weight", REQUIRED, h->n_embd, 0, &y->post_attn_norm) : LT_OK;
}

static int load_mlp(loader *l, int32_t i, lt_layer *y)
{
    const lt_hparams *h = &l->m->h;
    LT_TRY(load_part(l, i, "ffn_norm.weight", REQUIRED, h->n_embd, 0, &y->ffn_norm));
    LT_TRY(load_part(l, i, "ffn_gate.weight", REQUIRED, h->n_embd, h->n_ff, &y->gate));
    LT_TRY(load_part(l, i, "ffn_up.weight", REQUIRED, h->n_embd, h->n_ff, &y->up));
    LT_TRY(load_part(l, i, "ffn_down.weight", REQUIRED, h->n_ff, h->n_embd, &y->down));
    LT_TRY(load_part(l, i, "ffn_gate.bias", OPTIONAL, h->n_ff, 0, &y->gate_bias));
    LT_TRY(load_part(l, i, "ffn_up.bias", OPTIONAL, h->n_ff, 0, &y->up_bias));
    LT_TRY(load_part(l, i, "ffn_down.bias", OPTIONAL, h->n_embd, 0, &y->down_bias));
    return l->m->traits->post_norms ? load_part(l, i, "post_ffw_norm.weight", REQUIRED, h->n_embd, 0, &y->post_ffn_norm) : LT_OK;
}

static int load_ends(loader *l)
{
    lt_model *m = l->m;
    const lt_hparams *h = &m->h;
    const bool tied = !lt_gguf_find_tensor(l->g, "output.weight");
    LT_TRY(load_weight(l, "token_embd.weight", REQUIRED, h->n_embd, h->n_vocab, LT_USE_MATRIX, &m->embedding));
    LT_TRY(load_weight(l, "output_norm.weight", REQUIRED, h->n_embd, 0, LT_USE_VECTOR, &m->output_norm));
    if (tied)
        m->output = m->embedding;
    else
        LT_TRY(load_weight(l, "output.weight", REQUIRED, h->n_embd, h->n_vocab, LT_USE_MATRIX, &m->output));
    const lt_tensor *factors = lt_gguf_find_tensor(l->g, "rope_freqs.weight");
    if (factors)
        l->used[l->n_used++] = factors; /* read by lt_model_ready */
    return LT_OK;
}

static int load_tensors(loader *l)
{
    LT_TRY(load_ends(l));
    for (int32_t i = 0; i < l->m->h.n_layer; i++) {
        LT_TRY(load_attention(l, i, &l->m->layers[i]));
        LT_TRY(load_mlp(l, i, &l->m->layers[i]));
    }
    return LT_OK;
}

static bool is_used(const loader *l, const lt_tensor *t)
{
    int64_t i = 0;
    while (i < l->n_used && l->used[i] != t)
        i++;
    return i < l->n_used;
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

static int create_buffers(lt_model *m, int32_t max_rows)
{
    const lt_hparams *h = &m->h;
    const struct {
        lt_buffer **out;
        int64_t width;
    } wanted[] = {
        {&m->x, h->n_embd},
        {&m->branch, h->n_embd},
        {&m->q, (int64_t)h->n_head * h->k_dim},
        {&m->k, (int64_t)h->n_head_kv * h->k_dim},
        {&m->v, (int64_t)h->n_head_kv * h->v_dim},
        {&m->attended, (int64_t)h->n_head * h->v_dim},
        {&m->gate, h->n_ff},
        {&m->up, h->n_ff},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        LT_TRY(m->be->ops->buffer(m->be, wanted[i].out, max_rows, wanted[i].width));
    return m->be->ops->buffer(m->be, &m->logits, m->max_outputs, h->n_vocab);
}

static int find_traits(lt_model *m, const lt_gguf *g)
{
    const char *arch;
    uint64_t len;
    LT_TRY(lt_gguf_get_str(g, "general.architecture", true, &arch, &len));
    m->traits = lt_traits_find(arch, len);
    if (!m->traits)
        return lt_fail(LT_E_UNSUPPORTED, "%s: architecture %.*s is not served", lt_gguf_path(g), (int)(len > 64 ? 64 : len), arch);
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
