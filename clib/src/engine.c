/* engine.c - opening a model, and its sequences. */
#define _GNU_SOURCE /* sched_getcpu */
#include "engine.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "core/cpuid.h"
#include "core/floats.h"
#include "core/memory.h"
#include "core/topology.h"

static int check_count(const char *name, int32_t value, int32_t low, int32_t high)
{
    return value >= low && value <= high ? LT_OK : lt_fail(LT_E_ARG, "%s is %d, must be %d..%d", name, value, low, high);
}

static int check_opts(const lt_engine_opts *o)
{
    if (!o || o->struct_size != sizeof *o)
        return lt_fail(LT_E_ARG, "lt_engine_opts: struct_size is %u, must be %zu", o ? o->struct_size : 0, sizeof *o);
    if (o->flags & ~(uint32_t)LT_OPEN_MLOCK)
        return lt_fail(LT_E_ARG, "lt_engine_opts: flags is %u, of which not all are known", o->flags);
    LT_TRY(check_count("k_type", o->k_type, LT_KV_F32, LT_KV_Q8_0));
    LT_TRY(check_count("v_type", o->v_type, LT_KV_F32, LT_KV_Q8_0));
    LT_TRY(check_count("load", o->load, LT_LOAD_MMAP, LT_LOAD_DIRECT));
    LT_TRY(check_count("numa", o->numa, LT_NUMA_NONE, LT_NUMA_NUMACTL));
    LT_TRY(check_count("n_ctx", o->n_ctx, 0, LT_MAX_CTX));
    LT_TRY(check_count("n_seqs", o->n_seqs, 1, LT_MAX_SEQS));
    LT_TRY(check_count("n_batch", o->n_batch, 1, LT_MAX_BATCH));
    LT_TRY(check_count("n_threads", o->n_threads, 0, LT_MAX_THREADS));
    LT_TRY(check_count("n_threads_batch", o->n_threads_batch, 0, LT_MAX_THREADS));
    LT_TRY(check_count("n_full", o->n_full, 1, o->n_seqs));
    if (o->cache_bytes < 0)
        return lt_fail(LT_E_ARG, "cache_bytes is %lld, must not be negative", (long long)o->cache_bytes);
    return lt_check_group(o);
}

static int no_memory(const char *what)
{
    return lt_fail(LT_E_NOMEM, "no memory for %s", what);
}

/* The ids that end generation, and the longest piece: what a step may have to write. */
static int read_vocab(lt_engine *e)
{
    const int32_t n = lt_vocab_size(e->vocab);
    uint32_t longest = 1;
    e->eog = lt_alloc((size_t)n, sizeof *e->eog);
    if (!e->eog)
        return no_memory("the end-of-generation list");
    for (int32_t id = 0; id < n; id++) {
        uint32_t bytes;
        lt_vocab_piece(e->vocab, id, &bytes);
        longest = bytes > longest ? bytes : longest;
        if (lt_token_is_eog(e->vocab, id) == 1)
            e->eog[e->n_eog++] = id;
    }
    e->text_per_row = 3 * ((size_t)longest + 4);
    return LT_OK;
}

static const char *piece_of(const void *vocab, int32_t id, uint32_t *n_bytes)
{
    return lt_vocab_piece(vocab, id, n_bytes);
}

static int create_samplers(lt_engine *e)
{
    lt_vocab_info info;
    LT_TRY(lt_vocab_describe(e->vocab, &info));
    const lt_lexicon lexicon = {.n_vocab = e->model.h.n_vocab,
                                .eog = e->eog,
                                .n_eog = e->n_eog,
                                .eot = info.eot >= 0 ? info.eot : info.eos,
                                .vocab = e->vocab,
                                .piece = piece_of};
    e->samplers = lt_alloc_zero((size_t)lt_pool_size(e->pool), sizeof(lt_sampler *));
    if (!e->samplers)
        return no_memory("samplers");
    for (; e->n_samplers < lt_pool_size(e->pool); e->n_samplers++)
        LT_TRY(lt_sampler_create(&e->samplers[e->n_samplers], &lexicon, e->n_ctx + 1));
    return LT_OK;
}

static int create_seqs(lt_engine *e)
{
    const size_t n = (size_t)e->opts.n_seqs;
    e->seqs = lt_alloc_zero(n, sizeof *e->seqs);
    if (!e->seqs)
        return no_memory("sequences");
    for (size_t i = 0; i < n; i++) {
        e->seqs[i].history = lt_alloc((size_t)e->n_ctx + 1, sizeof(int32_t));
        if (!e->seqs[i].history)
            return no_memory("token histories");
    }
    return LT_OK;
}

static int create_step_arrays(lt_engine *e)
{
    const size_t rows = (size_t)e->opts.n_batch, seqs = (size_t)e->opts.n_seqs;
    e->token = lt_alloc(rows, sizeof *e->token);
    e->position = lt_alloc(rows, sizeof *e->position);
    e->rows = lt_alloc(rows, sizeof *e->rows);
    e->wanted = lt_alloc(rows, sizeof *e->wanted);
    e->spans = lt_alloc(seqs, sizeof *e->spans);
    e->needs = lt_alloc(seqs, sizeof *e->needs);
    e->outs = lt_alloc(rows, sizeof *e->outs); /* no more answers than tokens */
    e->text = lt_alloc(rows, e->text_per_row);
    e->probs = lt_alloc(rows, sizeof *e->probs);                        /* pages that the system gives when first asked for */
    e->scores = lt_alloc(rows, (1 + LT_MAX_PROBS) * sizeof *e->scores); /* so are these */
    e->turns = lt_alloc((size_t)e->n_ctx, sizeof *e->turns);
    e->copies = lt_alloc((size_t)e->n_pages, sizeof *e->copies);
    const bool complete = e->token && e->position && e->rows && e->wanted && e->spans && e->needs && e->outs && e->text && e->turns;
    return complete && e->copies && e->probs && e->scores ? LT_OK : no_memory("a step's arrays");
}

static int32_t thread_count(const lt_bits *cpus)
{
    const int32_t n = lt_default_threads("", cpus);
    return n < LT_MAX_THREADS ? n : LT_MAX_THREADS;
}

int32_t lt_thread_count(void)
{
    lt_bits cpus;
    lt_cpus_allowed(&cpus);
    return thread_count(&cpus);
}

static void choose_threads(lt_engine_opts *o, const lt_bits *cpus)
{
    if (!o->n_threads)
        o->n_threads = thread_count(cpus);
    if (!o->n_threads_batch)
        o->n_threads_batch = o->n_threads;
}

/* Threads and place for memory, which depend on each other: an isolated engine has as many threads as its node has cores. */
static int create_pool(lt_engine *e)
{
    lt_engine_opts *o = &e->opts;
    lt_bits cpus;
    lt_cpus_allowed(&cpus);
    lt_numa_read("", &cpus, &e->numa);
    const lt_numa_plan plan = lt_numa_decide(&e->numa, o->numa, sched_getcpu());
    choose_threads(o, plan.n_groups == 1 ? plan.cpus : &cpus);
    e->place = (lt_place){.lock = o->flags & LT_OPEN_MLOCK, .policy = plan.policy, .nodes = plan.nodes};
    LT_TRY(lt_pool_create(&e->pool, o->n_threads > o->n_threads_batch ? o->n_threads : o->n_threads_batch));
    return plan.n_groups ? lt_pool_bind(e->pool, plan.cpus, plan.n_groups) : LT_OK;
}

/* With recurrent layers, two checkpoints for each sequence, and as many more as fit into half of cache_bytes. */
static int64_t size_states(lt_engine *e, lt_kv_shape *shape)
{
    for (int32_t i = 0; i < shape->n_layers; i++)
        e->state_bytes += shape->layers[i].n_state * (int64_t)sizeof(float);
    if (!e->state_bytes)
        return e->opts.cache_bytes;
    const int64_t wanted = 2 * (int64_t)e->opts.n_seqs + e->opts.cache_bytes / 2 / e->state_bytes;
    e->n_checkpoints = (int32_t)(wanted < LT_MAX_CHECKPOINTS ? wanted : LT_MAX_CHECKPOINTS);
    shape->n_states = e->opts.n_seqs + e->n_checkpoints;
    return e->opts.cache_bytes / 2;
}

/* Pages for n_full full contexts, and as many more as fit into cache_bytes. */
static int create_cache(lt_engine *e)
{
    lt_layer_shape shapes[LT_MAX_LAYERS];
    lt_kv_shape shape = lt_model_kv_shape(&e->model, shapes, e->opts.k_type, e->opts.v_type);
    int64_t page_bytes;
    const int64_t cache_bytes = size_states(e, &shape);
    LT_TRY(lt_refuse_group(e));
    LT_TRY(e->be->ops->page_bytes(e->be, &shape, &page_bytes));
    shape.page_tokens = LT_PAGE;
    shape.max_pages = (e->n_ctx + LT_PAGE - 1) / LT_PAGE;
    const int64_t spare = page_bytes ? cache_bytes / page_bytes : shape.max_pages; /* no attention: pages are names for ids */
    const int64_t wanted = (int64_t)shape.max_pages * e->opts.n_full + spare;
    e->n_pages = shape.n_pages = (int32_t)(wanted < LT_MAX_PAGES ? wanted : LT_MAX_PAGES);
    LT_TRY(lt_kv_create(&e->kv, e->n_pages, e->opts.n_seqs, e->n_ctx, e->n_checkpoints));
    return lt_model_ready(&e->model, e->file, &shape, e->n_ctx);
}

static int open_engine(lt_engine *e, const char *path)
{
    const lt_engine_opts *o = &e->opts;
    LT_TRY(lt_gguf_open_for(&e->file, path, o->load));
    LT_TRY(lt_gguf_override(e->file, o->overrides, o->n_overrides));
    LT_TRY(lt_vocab_open(&e->vocab, e->file));
    LT_TRY(read_vocab(e));
    LT_TRY(create_pool(e));
    LT_TRY(lt_cpu_backend(&e->be, e->pool, &e->place, o->n_batch));
    const int32_t max_outputs = o->n_seqs > LT_OUTPUT_ROWS ? o->n_seqs : LT_OUTPUT_ROWS;
    LT_TRY(lt_model_load(&e->model, e->file, lt_vocab_size(e->vocab), e->be, o->n_batch, max_outputs, o->progress));
    LT_TRY(lt_gguf_check_overrides(e->file));
    e->n_ctx = o->n_ctx ? o->n_ctx : e->model.h.n_ctx_train;
    LT_TRY(check_count("the model's context_length", e->n_ctx, 1, LT_MAX_CTX));
    if (e->model.embedding.positions && e->n_ctx > e->model.h.n_ctx_train)
        return lt_fail(LT_E_UNSUPPORTED, "n_ctx is %d, but this %s model has learned %d positions", e->n_ctx, e->model.traits->arch,
                       e->model.h.n_ctx_train);
    LT_TRY(create_cache(e));
    LT_TRY(create_seqs(e));
    LT_TRY(create_samplers(e));
    LT_TRY(create_step_arrays(e));
    LT_TRY(lt_place_lock(&e->place));
    lt_gguf_close(e->file); /* everything has been copied: the file may change, shrink or vanish from now on */
    e->file = NULL;
    e->opts.overrides = NULL; /* the caller's */
    return LT_OK;
}

int lt_engine_open(lt_engine **out, const char *path, const lt_engine_opts *opts)
{
    if (!out || !path)
        return lt_fail(LT_E_ARG, "lt_engine_open: out and path must not be NULL");
    LT_TRY(check_opts(opts));
    LT_TRY(lt_check_cpu_mask());
    lt_engine *e = lt_alloc_zero(1, sizeof *e);
    if (!e)
        return no_memory("the engine");
    e->opts = *opts;
    const fenv_t before = lt_usual_floats();
    int rc = open_engine(e, path);
    lt_restore_floats(before);
    if (rc < 0) {
        rc = lt_place_fail(&e->place, rc);
        lt_engine_close(e);
        return rc;
    }
    if (opts->progress)
        __atomic_store_n(opts->progress, 1000, __ATOMIC_RELAXED);
    *out = e;
    return LT_OK;
}

void lt_engine_close(lt_engine *e)
{
    if (!e)
        return;
    lt_model_unload(&e->model);
    lt_place_forget(&e->place);
    if (e->be)
        e->be->ops->destroy(e->be);
    lt_pool_destroy(e->pool);
    lt_kv_destroy(e->kv);
    for (int32_t i = 0; i < e->n_samplers; i++)
        lt_sampler_destroy(e->samplers[i]);
    for (int32_t i = 0; e->seqs && i < e->opts.n_seqs; i++) {
        lt_free(e->seqs[i].history);
        lt_free(e->seqs[i].sampling_lists);
    }
    lt_vocab_close(e->vocab);
    lt_gguf_close(e->file);
    void *parts[] = {e->samplers, e->eog,  e->seqs, e->token, e->position, e->rows,  e->wanted, e->spans,
                     e->needs,    e->outs, e->text, e->turns, e->copies,   e->probs, e->scores, e};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lt_free(parts[i]);
}

const lt_vocab *lt_engine_vocab(const lt_engine *e)
{
    return e ? e->vocab : NULL;
}

int lt_engine_describe(const lt_engine *e, lt_engine_info *out)
{
    if (!e || !out)
        return lt_fail(LT_E_ARG, "lt_engine_describe: engine and out must not be NULL");
    const lt_hparams *h = &e->model.h;
    const lt_memory m = e->be->ops->memory(e->be);
    *out = (lt_engine_info){
        .n_params = e->model.n_params,
        .weight_bytes = m.weight_bytes,
        .kv_bytes = m.kv_bytes + m.state_bytes,
        .scratch_bytes = m.scratch_bytes,
        .page_bytes = m.page_bytes,
        .state_bytes = e->state_bytes,
        .n_ctx = e->n_ctx,
        .n_ctx_train = h->n_ctx_train,
        .n_vocab = h->n_vocab,
        .n_embd = h->n_embd,
        .n_layer = h->n_layer,
        .n_seqs = e->opts.n_seqs,
        .n_batch = e->opts.n_batch,
        .n_pages = e->n_pages,
        .page_tokens = LT_PAGE,
        .n_nodes = e->numa.n_nodes,
        .n_threads = e->opts.n_threads,
        .n_threads_batch = e->opts.n_threads_batch,
        .n_tensors_unused = e->model.n_tensors_unused,
        .can_shift = lt_can_shift(e),
    };
    for (int32_t i = 0; i < h->n_layer; i++) {
        const lt_layer_shape *s = &e->model.layers[i].shape;
        out->n_head = s->n_head > out->n_head ? s->n_head : out->n_head;
        out->n_head_kv = s->n_head_kv > out->n_head_kv ? s->n_head_kv : out->n_head_kv;
    }
    snprintf(out->arch, sizeof out->arch, "%s", e->model.traits->arch);
    return LT_OK;
}

int lt_engine_read_stats(const lt_engine *e, lt_engine_stats *out)
{
    if (!e || !out)
        return lt_fail(LT_E_ARG, "lt_engine_read_stats: engine and out must not be NULL");
    const lt_kv_count c = lt_kv_counts(e->kv);
    *out = (lt_engine_stats){
        .n_steps = e->n_steps,
        .tokens_computed = e->tokens_computed,
        .tokens_cached = e->tokens_cached,
        .step_ns = e->step_ns,
        .model_ns = e->model_ns,
        .pages_free = c.n_free,
        .pages_cached = c.n_cached,
        .pages_used = c.n_used,
    };
    for (int32_t i = 0; i < e->opts.n_seqs; i++)
        out->seqs_open += e->seqs[i].open;
    return LT_OK;
}

/* ---- sequences ---- */

static int check_prompt(const lt_engine *e, const int32_t *prompt, int32_t n)
{
    if (!prompt || n < 1)
        return lt_fail(LT_E_ARG, "the prompt is empty");
    if (n > e->n_ctx)
        return lt_fail(LT_E_LIMIT, "the prompt has %d tokens, the context holds %d", n, e->n_ctx);
    for (int32_t i = 0; i < n; i++)
        if (prompt[i] < 0 || prompt[i] >= e->model.h.n_vocab)
            return lt_fail(LT_E_ARG, "prompt token %d is %d, must be 0..%d", i, prompt[i], e->model.h.n_vocab - 1);
    return LT_OK;
}

static int take_prefix(lt_engine *e, int32_t seq, uint64_t scope, const int32_t *ids, int32_t max_cached, int32_t *n_cached)
{
    lt_kv_copy copy = {0};
    LT_TRY(lt_kv_open(e->kv, seq, scope, ids, max_cached, n_cached, &copy));
    if (copy.n_tokens)
        e->be->ops->copy_page(e->be, copy.src, copy.dst);
    lt_begin_state(e, seq, *n_cached);
    return LT_OK;
}

int lt_seq_open(lt_engine *e, const int32_t *prompt, int32_t n, uint64_t scope, const lt_sampling *s, int32_t *seq, int32_t *n_cached)
{
    if (!e || !s || !seq || !n_cached || s->struct_size != sizeof *s)
        return lt_fail(LT_E_ARG, "lt_seq_open: NULL argument or wrong lt_sampling.struct_size");
    LT_TRY(check_prompt(e, prompt, n));
    int32_t id = 0;
    while (id < e->opts.n_seqs && e->seqs[id].open)
        id++;
    if (id == e->opts.n_seqs)
        return lt_fail(LT_E_LIMIT, "%d sequences are open, which is all there are", id);
    lt_seq opened = {.history = e->seqs[id].history, .n_total = n, .scope = scope, .open = true}, *q = &e->seqs[id];
    LT_TRY(lt_sampling_copy(&opened.sampling, &opened.sampling_lists, s, e->model.h.n_vocab));
    lt_sampling_start(s, opened.state);
    lt_wish_checkpoints(e, &opened, prompt, n);
    int32_t cached = 0;
    const int rc = take_prefix(e, id, scope, prompt, s->flags & LT_SAMPLE_NO_CACHE ? 0 : n - 1, &cached);
    if (rc < 0) {
        lt_free(opened.sampling_lists);
        return rc;
    }
    opened.n_computed = cached;
    *q = opened;
    memcpy(q->history, prompt, (size_t)n * sizeof *prompt);
    e->tokens_cached += cached;
    *seq = id;
    *n_cached = cached;
    return LT_OK;
}

int lt_seq_adopt(lt_engine *e, int32_t seq, int32_t *n_computed)
{
    if (!e || !n_computed || seq < 0 || seq >= e->opts.n_seqs || !e->seqs[seq].open)
        return lt_fail(LT_E_ARG, "lt_seq_adopt: NULL argument or sequence %d is not open", seq);
    lt_seq *q = &e->seqs[seq];
    if (q->sampling.flags & LT_SAMPLE_NO_CACHE || q->poisoned)
        return lt_fail(LT_E_ARG, "sequence %d must not take anything from the cache", seq);
    const bool gains = !e->n_checkpoints || lt_kv_depth(e->kv, q->scope, q->history, q->n_total - 1, true) > q->n_computed;
    if (lt_kv_is_altered(e->kv, seq) || !gains) { /* nobody else has what it has, or more */
        *n_computed = q->n_computed;
        return LT_OK;
    }
    lt_kv_close(e->kv, seq, q->history, q->n_computed, true);
    const int32_t before = q->n_computed;
    LT_TRY(take_prefix(e, seq, q->scope, q->history, q->n_total - 1, &q->n_computed));
    q->rolling = 0;
    e->tokens_cached += q->n_computed > before ? q->n_computed - before : 0;
    *n_computed = q->n_computed;
    return LT_OK;
}

int lt_seq_close(lt_engine *e, int32_t seq, int32_t keep)
{
    if (!e || seq < 0 || seq >= e->opts.n_seqs || !e->seqs[seq].open)
        return lt_fail(LT_E_ARG, "sequence %d is not open", seq);
    lt_seq *q = &e->seqs[seq];
    lt_kv_close(e->kv, seq, q->history, q->n_computed, keep && !q->poisoned);
    lt_free(q->sampling_lists);
    q->sampling_lists = NULL;
    q->open = false;
    return LT_OK;
}
