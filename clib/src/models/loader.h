/* loader.h - tensors by name, their shapes checked, handed to the backend: what load.c and the loaders of parts are made of. */
#ifndef LT_LOADER_H
#define LT_LOADER_H

#include "models/model.h"

typedef struct {
    lt_model *m;
    const lt_gguf *g;
    int32_t *progress;
    const lt_tensor **used; /* [n_total] */
    int64_t n_used, n_total;
} lt_loader;

enum { OPTIONAL = 0, REQUIRED = 1 }; /* absent and optional: *out stays as it is */

typedef struct { /* of a matrix in the file: all of its rows, or a run of them */
    int64_t first, n, n_all;
} lt_rows;

static inline lt_rows lt_all_rows(int64_t n)
{
    return (lt_rows){0, n, n};
}

typedef struct {
    char text[64];
} lt_part_name;
lt_part_name lt_part(int32_t layer, const char *part, const char *kind); /* "blk.LAYER.PART.KIND"; KIND may be "" */
const lt_tensor *lt_find_part(const lt_loader *l, int32_t layer, const char *part); /* its weight; NULL when absent */
bool lt_is_used(const lt_loader *l, const lt_tensor *t);

/* Whether the tensor is one that s may take; NULL: it is missing. */
int lt_check_source(const lt_loader *l, const char *name, lt_weight_source s, const lt_tensor *t);
/* s says all but the tensor. */
int lt_load_source(lt_loader *l, const char *name, bool required, lt_weight_source s, lt_weight **out);
int lt_load_matrix(lt_loader *l, const char *name, bool required, int64_t n_in, lt_rows r, lt_weight **out);
/* n floats from `first` on of a tensor of n_all, whatever its shape. */
int lt_load_floats(lt_loader *l, const char *name, bool required, int64_t first, int64_t n, int64_t n_all, lt_weight **out);
/* Rows of a part's weight and of its bias, which may be absent unless bias_required. */
int lt_load_part(lt_loader *l, int32_t layer, const char *part, int64_t n_in, lt_rows r, bool bias_required, const lt_weight **w,
                 const lt_weight **bias);
int lt_load_named_norm(lt_loader *l, const char *weight, const char *bias, bool required, int64_t n, lt_norm *out);
int lt_load_norm(lt_loader *l, int32_t layer, const char *part, bool required, lt_norm *out); /* of x */

/* load_recurrent.c */
int lt_load_mixer(lt_loader *l, int32_t layer, lt_layer *y);

/* experts.c: the mixture in place of an MLP, where the file has one, and what stands beside it. */
bool lt_has_experts(const lt_loader *l, int32_t layer);
int lt_load_experts(lt_loader *l, int32_t layer, lt_layer *y);

/* latent.c: attention but for its norms of x. */
int lt_load_latent(lt_loader *l, int32_t layer, lt_layer *y);

#endif
