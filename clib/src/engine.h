/* engine.h - the engine's state: a model, its KV pages, its open sequences. */
#ifndef LT_ENGINE_H
#define LT_ENGINE_H

#include "core/numa.h"
#include "core/place.h"
#include "kv/kv.h"
#include "models/model.h"
#include "sample/sample.h"
#include "token/vocab.h"

enum { LT_MAX_SEQS = 257, LT_MAX_BATCH = 8192, LT_MAX_THREADS = 256, LT_MAX_CTX = 1 << 26, LT_MAX_PAGES = 1 << 28, LT_OUTPUT_ROWS = 16 };
enum { LT_MAX_CHECKPOINTS = 1024 };
enum { LT_KV_DEFAULT = LT_KV_I16 }; /* KV_TYPE_DEFAULT of llamatw/settings.py says the same */

typedef struct {
    int32_t *history;        /* [n_ctx + 1]: prompt, then generated */
    int32_t n_total, n_computed;
    int32_t n_grouped;       /* self-extend: tokens in the windows whose positions have been divided; else 0 */
    uint64_t scope;
    lt_sampling sampling;    /* its lists are in sampling_lists */
    void *sampling_lists;
    float state[2];          /* of its samplers, behind the last token */
    lt_utf8_stream text;
    bool open, poisoned;     /* poisoned: nothing could be sampled from its logits; what it has not shared yet stays unshared */
    bool in_step;
    int32_t n_drafted;       /* in this step; they stand behind the history */
    int32_t fork, prompt_end, rolling; /* recurrent layers: tokens behind which a checkpoint is wanted, 0: none (checkpoint.c) */
} lt_seq;

typedef struct { /* one row of the pass whose logits are wanted */
    int32_t row;             /* in the pass */
    int32_t span;            /* whose */
    int32_t n_known;         /* ids before the token that is sampled from it, guesses among them; -1: none is sampled */
    float *copy_to;          /* NULL or where the caller wants the logits */
    lt_choice *score;        /* NULL or where the token that follows stands, for lt_score */
    lt_sampled sampled;
} lt_wanted;

struct lt_engine {
    lt_gguf *file;
    lt_vocab *vocab;
    lt_pool *pool;
    lt_numa numa;
    lt_place place;          /* of what the backend allocates */
    lt_backend *be;
    lt_model model;
    lt_kv *kv;
    lt_engine_opts opts;
    int32_t n_ctx, n_pages, n_samplers;
    int32_t n_checkpoints;   /* 0: no layer is recurrent */
    int64_t state_bytes;     /* of a sequence's recurrent layers */
    lt_sampler **samplers;   /* one per thread */
    int32_t *eog, n_eog;
    lt_seq *seqs;
    /* one step's arrays, sized at open */
    int32_t *token, *position, *rows;
    lt_span *spans;
    lt_kv_need *needs;
    lt_wanted *wanted;
    lt_out *outs;
    lt_probs *probs;         /* [n_batch], as wanted */
    lt_choice *scores;       /* [n_batch][1 + LT_MAX_PROBS] at most */
    char *text;
    size_t text_per_row;
    int64_t n_steps, tokens_computed, tokens_cached, step_ns, model_ns;
    /* of cells that change their position (remap.c), sized at open */
    int32_t *turns;          /* [n_ctx] */
    lt_kv_copy *copies;      /* [n_pages] */
};

/* remap.c */
int lt_check_group(const lt_engine_opts *o);
int lt_refuse_group(const lt_engine *e);   /* self-extend, for models that it makes nothing of */
bool lt_can_shift(const lt_engine *e);     /* no recurrent layers, keys can be turned */
int32_t lt_window_left(const lt_engine *e, const lt_seq *q); /* tokens that a row may go until the self-extend window is full */
/* Divides the positions of full windows of those sequences that are to go on.  LT_E_KV_FULL: some may be done, which shows nowhere. */
int lt_regroup_rows(lt_engine *e, const lt_row *rows, int32_t n_rows);
/* How far the position of its next tokens lags behind their number. */
static inline int32_t lt_lag(const lt_engine *e, const lt_seq *q)
{
    return q->n_grouped - q->n_grouped / e->opts.group_n;
}

/* checkpoint.c: nothing happens in models without recurrent layers. */
void lt_wish_checkpoints(lt_engine *e, lt_seq *q, const int32_t *prompt, int32_t n); /* q is about to open with this prompt */
void lt_begin_state(lt_engine *e, int32_t seq, int32_t n_cached);
void lt_plan_saves(lt_engine *e, int32_t seq, lt_span *span);
void lt_keep_saves(lt_engine *e, int32_t seq, const lt_span *span); /* the step ran, and what may be published is */
int lt_refuse_recurrent(const lt_engine *e, const char *what);      /* what: the beginning of the sentence */

#endif
