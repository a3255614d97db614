/* loader.c - one tensor after another, each with its shape checked and remembered as used. */
#include "models/loader.h"

#include <inttypes.h>
#include <stdio.h>

static int report_progress(lt_loader *l)
{
    if (!l->progress)
        return LT_OK;
    int32_t seen = __atomic_load_n(l->progress, __ATOMIC_RELAXED);
    const int32_t now = (int32_t)(l->n_used * 1000 / (l->n_total + 1));
    if (seen < 0 || !__atomic_compare_exchange_n(l->progress, &seen, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return lt_fail(LT_E_IO, "%s: loading was cancelled", lt_gguf_path(l->g));
    return LT_OK;
}

bool lt_is_used(const lt_loader *l, const lt_tensor *t)
{
    int64_t i = l->n_used;
    while (i > 0 && l->used[i - 1] != t)
        i--;
    return i > 0;
}

static int find_tensor(const lt_loader *l, const char *name, bool required, const lt_tensor **out)
{
    *out = lt_gguf_find_tensor(l->g, name);
    return *out || !required ? LT_OK : lt_fail(LT_E_FORMAT, "%s: tensor %s is missing", lt_gguf_path(l->g), name);
}

/* The matrices of a tensor of two dimensions lie one below the other. */
static int check_shape(const lt_loader *l, const lt_weight_source *s, const lt_tensor *t)
{
    const uint64_t rows = (uint64_t)s->rows_apart, matrices = s->each ? 1 : (uint64_t)s->n_matrices;
    const bool fits = (t->ne[1] == rows && t->ne[2] == matrices) || (t->ne[1] == rows * matrices && t->ne[2] == 1);
    if (t->ne[0] == (uint64_t)s->n_in && fits && t->ne[3] == 1)
        return LT_OK;
    return lt_fail(LT_E_FORMAT,
                   "%s: tensor %s is [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "], must be [%" PRId64 ", %" PRIu64 ", %" PRIu64 "]",
                   lt_gguf_path(l->g), t->name, t->ne[0], t->ne[1], t->ne[2], t->ne[3], s->n_in, rows, matrices);
}

static int load(lt_loader *l, const lt_weight_source *s, lt_weight **out)
{
    LT_TRY(report_progress(l));
    LT_TRY(l->m->be->ops->weight(l->m->be, out, l->g, s));
    l->m->n_params += s->n_in * s->n_out * s->n_matrices;
    for (int32_t i = 0; i < (s->each ? s->n_matrices : 1); i++) {
        const lt_tensor *t = s->each ? s->each[i] : s->tensor;
        if (!lt_is_used(l, t))
            l->used[l->n_used++] = t;
    }
    return LT_OK;
}

int lt_load_floats(lt_loader *l, const char *name, bool required, int64_t first, int64_t n, int64_t n_all, lt_weight **out)
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
    return load(
        l, &(lt_weight_source){.tensor = t, .use = LT_USE_VECTOR, .n_matrices = 1, .n_in = n, .n_out = 1, .first = first, .rows_apart = 1},
        out);
}

int lt_check_source(const lt_loader *l, const char *name, lt_weight_source s, const lt_tensor *t)
{
    return t ? check_shape(l, &s, t) : lt_fail(LT_E_FORMAT, "%s: tensor %s is missing", lt_gguf_path(l->g), name);
}

int lt_load_source(lt_loader *l, const char *name, bool required, lt_weight_source s, lt_weight **out)
{
    LT_TRY(find_tensor(l, name, required, &s.tensor));
    if (!s.tensor)
        return LT_OK;
    LT_TRY(check_shape(l, &s, s.tensor));
    return load(l, &s, out);
}

int lt_load_matrix(lt_loader *l, const char *name, bool required, int64_t n_in, lt_rows r, lt_weight **out)
{
    const lt_weight_source s = {.use = LT_USE_MATRIX, .n_matrices = 1, .n_in = n_in, .n_out = r.n, .first = r.first, .rows_apart = r.n_all};
    return lt_load_source(l, name, required, s, out);
}

/* ---- parts of a layer ---- */

lt_part_name lt_part(int32_t layer, const char *part, const char *kind)
{
    lt_part_name name;
    snprintf(name.text, sizeof name.text, "blk.%d.%s%s%s", layer, part, *kind ? "." : "", kind);
    return name;
}

const lt_tensor *lt_find_part(const lt_loader *l, int32_t layer, const char *part)
{
    return lt_gguf_find_tensor(l->g, lt_part(layer, part, "weight").text);
}

int lt_load_part(lt_loader *l, int32_t layer, const char *part, int64_t n_in, lt_rows r, bool bias_required, const lt_weight **w,
                 const lt_weight **bias)
{
    lt_weight *loaded = NULL, *loaded_bias = NULL;
    LT_TRY(lt_load_matrix(l, lt_part(layer, part, "weight").text, REQUIRED, n_in, r, &loaded));
    LT_TRY(lt_load_floats(l, lt_part(layer, part, "bias").text, bias_required, r.first, r.n, r.n_all, &loaded_bias));
    *w = loaded;
    *bias = loaded_bias;
    return LT_OK;
}

int lt_load_named_norm(lt_loader *l, const char *weight, const char *bias, bool required, int64_t n, lt_norm *out)
{
    const uint32_t is = l->m->traits->is;
    const bool layer_norm = is & LT_LAYER_NORM, bare = is & LT_BARE_NORM;
    lt_weight *w = NULL, *b = NULL;
    if (!bare)
        LT_TRY(lt_load_floats(l, weight, required, 0, n, n, &w));
    if (layer_norm && w)
        LT_TRY(lt_load_floats(l, bias, OPTIONAL, 0, n, n, &b));
    if (w || bare)
        *out = (lt_norm){.kind = layer_norm ? LT_NORM_LAYER : LT_NORM_RMS, .eps = l->m->h.eps, .weight = w, .bias = b};
    return LT_OK;
}

int lt_load_norm(lt_loader *l, int32_t layer, const char *part, bool required, lt_norm *out)
{
    return lt_load_named_norm(l, lt_part(layer, part, "weight").text, lt_part(layer, part, "bias").text, required, l->m->h.n_embd, out);
}
