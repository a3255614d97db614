/* attend.c - the attention operation: rope and KV append by rows, then (group of rows, kv head) items over pages.
 *
 *      pool:  [block][layer][kv head][page of the block]  K | V        (kvpage.h)
 *
 * A block has LT_BLOCK_PAGES pages, the last one perhaps fewer.  So the system gives memory as tokens come, a block at a time. */
#include "cpu/internal.h"

#include <math.h>
#include <string.h>

typedef struct {
    cpu_backend *be;
    const lt_attention *a;
    const kv_layer *l;
    lt_buffer *q, *k, *v, *out;
    int32_t heads_per_kv, n_groups, n_clusters;
} attend_call;

static float *rope_table(const cpu_backend *be, int32_t rope, int32_t row)
{
    return be->rope_tables + ((int64_t)rope * be->max_rows + row) * be->max_rot;
}

void lt_cpu_fill_table(const cpu_backend *be, int32_t r, int32_t row, int32_t position, float magnitude)
{
    const lt_rope *rope = &be->ropes[r];
    float *cosine = rope_table(be, r, row), *sine = cosine + rope->n_rot / 2;
    for (int32_t i = 0; i < rope->n_rot / 2; i++) {
        double angle = (double)position * (double)rope->frequency[i];
        cosine[i] = (float)cos(angle) * magnitude;
        sine[i] = (float)sin(angle) * magnitude;
    }
}

static void rope_row(void *context, int32_t row, int32_t worker)
{
    cpu_backend *be = context;
    (void)worker;
    for (int32_t r = 0; r < be->n_ropes; r++)
        lt_cpu_fill_table(be, r, row, be->batch->position[row], be->ropes[r].magnitude);
}

void lt_cpu_turn(const cpu_backend *be, int32_t r, int32_t row, float *head)
{
    const lt_rope *rope = &be->ropes[r];
    const float *cosine = rope_table(be, r, row);
    be->k->rope(head, cosine, cosine + rope->n_rot / 2, rope->n_rot, rope->adjacent);
}

void lt_cpu_begin(lt_backend *base, const lt_batch *batch)
{
    cpu_backend *be = cpu_of(base);
    be->batch = batch;
    lt_cpu_each_row(be, rope_row, be, batch->n_rows);
}

static void norm_heads(const lt_kernels *k, const lt_head_norm *n, float *x, int32_t n_heads, int32_t dim)
{
    if (n->scope == LT_ALL_HEADS) {
        lt_cpu_norm(k, &n->norm, x, x, (int64_t)n_heads * dim);
        return;
    }
    for (int32_t h = 0; h < n_heads; h++, x += dim)
        if (n->scope == LT_EACH_HEAD)
            lt_cpu_norm(k, &n->norm, x, x, dim);
        else
            k->layer_norm(x, x, n->norm.weight->vector + (int64_t)h * dim, NULL, dim, n->norm.eps); /* the only kind that there is */
}

/* Norm and rotation of every head of one projected row. */
static void turn_heads(const attend_call *c, int32_t row, float *x, int32_t n_heads, const lt_head_norm *norm)
{
    const cpu_backend *be = c->be;
    const int32_t dim = c->l->shape.k_dim;
    if (norm->norm.kind && !norm->late)
        norm_heads(be->k, norm, x, n_heads, dim);
    for (int32_t h = 0; c->a->rope >= 0 && h < n_heads; h++)
        lt_cpu_turn(be, c->a->rope, row, x + (int64_t)h * dim);
    if (norm->norm.kind && norm->late)
        norm_heads(be->k, norm, x, n_heads, dim);
}

/* What q is multiplied by, where its row's position may count. */
static float query_scale(const lt_attention *a, int32_t position)
{
    if (a->heat <= 0.0f)
        return a->scale;
    return a->scale * (float)(1.0 + (double)a->heat * log(floor((double)(position + a->heat_offset) / a->heat_floor) + 1.0));
}

static void append_row(void *context, int32_t row, int32_t worker)
{
    attend_call *c = context;
    cpu_backend *be = c->be;
    const lt_layer_shape *shape = &c->l->shape;
    const int64_t q_width = (int64_t)shape->n_head * shape->k_dim, k_width = (int64_t)shape->n_head_kv * shape->k_dim,
                  v_width = (int64_t)shape->n_head_kv * shape->v_dim;
    (void)worker;
    const lt_span *span = be->batch->spans;
    while (row >= span->first_row + span->n_rows)
        span++;
    float *q = c->q->data + row * c->q->stride, *k = c->k->data + row * c->k->stride, *v = c->v->data + row * c->v->stride;
    if (c->a->clamp > 0.0f) {
        be->k->clamp(q, c->a->clamp, q_width);
        be->k->clamp(k, c->a->clamp, k_width);
        be->k->clamp(v, c->a->clamp, v_width);
    }
    turn_heads(c, row, q, shape->n_head, &c->a->q_norm);
    turn_heads(c, row, k, shape->n_head_kv, &c->a->k_norm);
    if (c->a->v_norm.norm.kind)
        norm_heads(be->k, &c->a->v_norm, v, shape->n_head_kv, shape->v_dim);
    for (int32_t h = 0; c->a->latent && h < shape->n_head_kv; h++)
        memcpy(k + (h + 1) * shape->k_dim - shape->v_dim, v + h * shape->v_dim, (size_t)shape->v_dim * sizeof *k);
    be->k->scale(q, query_scale(c->a, be->batch->position[row]), q_width);
    const int32_t cell = span->first_position + row - span->first_row;
    const int32_t page = span->pages[cell / LT_PAGE_KEYS], slot = cell % LT_PAGE_KEYS;
    for (int32_t h = 0; h < shape->n_head_kv; h++) {
        lt_write_key(be->k, be->kv.k_type, lt_cpu_k_page(be, page, c->a->layer, h), slot, k + h * shape->k_dim, shape->k_dim);
        lt_write_value(be->k, be->kv.v_type, lt_cpu_v_page(be, page, c->a->layer, h), slot, v + h * shape->v_dim, shape->v_dim);
    }
}

/* ---- attention ----
 *
 * Keys are gone through in runs of RUN_PAGES pages.  A query's sums of each run are merged in ascending order, always, so that
 * the runs of a step with few rows can be computed by different threads. */
enum { RUN_PAGES = 16 };

/* Copies the group's queries of one kv head behind the n that are there, row-major by (row, head in the kv head's group); as integers
 * for such keys. */
static int32_t gather_queries(const attend_call *c, const row_group *g, int32_t head, worker_scratch *s, int32_t n)
{
    const cpu_backend *be = c->be;
    const int32_t dim = c->l->shape.k_dim, even = (dim + 1) & ~1, n_scales = (dim + LT_Q_GROUP - 1) / LT_Q_GROUP;
    for (int32_t r = 0; r < g->n; r++)
        for (int32_t h = 0; h < c->heads_per_kv; h++, n++) {
            const int64_t row = g->span->first_row + g->first + r;
            const float *q = c->q->data + row * c->q->stride + (int64_t)(head * c->heads_per_kv + h) * dim;
            if (c->a->slopes)
                s->slope[n] = c->a->slopes->vector[head * c->heads_per_kv + h];
            s->position[n] = g->span->first_position + g->first + r;
            if (!lt_kv_types[be->kv.k_type].group) {
                memcpy(s->q + (size_t)n * (size_t)dim, q, (size_t)dim * sizeof *q);
                continue;
            }
            int16_t *code = s->q16 + (size_t)n * (size_t)even;
            code[even - 1] = 0;
            for (int32_t i = 0; i < n_scales; i++)
                s->q_scale[n * n_scales + i] =
                    be->k->encode(q + i * LT_Q_GROUP, dim - i * LT_Q_GROUP < LT_Q_GROUP ? dim - i * LT_Q_GROUP : LT_Q_GROUP, LT_Q_MAX,
                                  code + i * LT_Q_GROUP);
        }
    return n;
}

static int32_t first_page_of(const attend_call *c, const row_group *g)
{
    const int32_t first = g->span->first_position + g->first, window = c->a->window;
    if (!window || first < window)
        return 0;
    return (c->a->chunked ? first / window * window : first - window + 1) / LT_PAGE_KEYS;
}
static int32_t last_page_of(const row_group *g)
{
    return (g->span->first_position + g->first + g->n - 1) / LT_PAGE_KEYS;
}

typedef struct { /* some of the gathered queries and where their sums are */
    int32_t first, n;
    float *out, *state; /* of the first gathered query */
    bool resume;
} query_set;

/* Pages [first, end) of the group's sequence, at most a run of them. */
static void attend_pages(const attend_call *c, const row_group *g, int32_t head, int32_t first, int32_t end, const worker_scratch *s,
                         query_set set)
{
    cpu_backend *be = c->be;
    const int32_t dim = c->l->shape.k_dim, even = (dim + 1) & ~1, n_scales = (dim + LT_Q_GROUP - 1) / LT_Q_GROUP;
    const uint8_t *k_pages[RUN_PAGES], *v_pages[RUN_PAGES];
    for (int32_t i = 0; i < end - first; i++) {
        k_pages[i] = lt_cpu_k_page(be, g->span->pages[first + i], c->a->layer, head);
        v_pages[i] = lt_cpu_v_page(be, g->span->pages[first + i], c->a->layer, head);
    }
    be->k->attend(&(lt_attend_job){
        .k_pages = k_pages,
        .v_pages = v_pages,
        .first_page = first,
        .n_pages = end - first,
        .k_type = be->kv.k_type,
        .v_type = be->kv.v_type,
        .n_queries = set.n,
        .k_dim = dim,
        .v_stride = (int32_t)c->l->v_stride,
        .resume = set.resume,
        .window = c->a->window,
        .chunked = c->a->chunked,
        .cap = c->a->cap,
        .slope = c->a->slopes ? s->slope + set.first : NULL,
        .position = s->position + set.first,
        .q = s->q + (size_t)set.first * (size_t)dim,
        .q16 = s->q16 + (size_t)set.first * (size_t)even,
        .q_scale = s->q_scale + (size_t)set.first * (size_t)n_scales,
        .out = set.out + (size_t)set.first * c->l->v_stride,
        .state = set.state + 2 * set.first,
    });
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}
static int32_t most(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* Divides by the sum of the weights, into the row's output. */
static void store_outputs(const attend_call *c, const row_group *g, int32_t head, float *out, float *state)
{
    const size_t v_stride = c->l->v_stride;
    const int32_t dim = c->l->shape.v_dim;
    for (int32_t i = 0; i < g->n * c->heads_per_kv; i++) {
        const int64_t row = g->span->first_row + g->first + i / c->heads_per_kv;
        const int32_t query_head = head * c->heads_per_kv + i % c->heads_per_kv;
        float *y = c->out->data + row * c->out->stride + (int64_t)query_head * dim, *x = out + (size_t)i * v_stride;
        if (c->a->sinks)
            c->be->k->merge(state + 2 * i, x, (float[2]){c->a->sinks->vector[query_head], 1.0f}, NULL, (int64_t)v_stride);
        const float inverse = 1.0f / state[2 * i + 1];
        for (int32_t j = 0; j < dim; j++)
            y[j] = x[j] * inverse;
    }
}

static void merge_run(const attend_call *c, int32_t n, float *to_state, float *to, const float *state, const float *out)
{
    const size_t stride = c->l->v_stride;
    for (int32_t i = 0; i < n; i++)
        c->be->k->merge(to_state + 2 * i, to + (size_t)i * stride, state + 2 * i, out + (size_t)i * stride, (int64_t)stride);
}

/* One run of the cluster's pages: those that all share with all queries, the others group by group. */
static void run_of_cluster(const attend_call *c, const group_cluster *cluster, int32_t head, int32_t run, worker_scratch *s, query_set all)
{
    const row_group *g = &c->be->groups[cluster->first];
    const int32_t first = run * RUN_PAGES, end = first + RUN_PAGES, shared = least(end, cluster->n_shared);
    if (shared > first)
        attend_pages(c, g, head, first, shared, s, all);
    query_set own = {.out = all.out, .state = all.state, .resume = shared > first};
    for (const row_group *stop = g + cluster->n; g < stop; g++, own.first += own.n) {
        const int32_t from = most(most(first, cluster->n_shared), first_page_of(c, g)), to = least(end, last_page_of(g) + 1);
        own.n = g->n * c->heads_per_kv;
        if (from < to)
            attend_pages(c, g, head, from, to, s, own);
    }
}

/* Sums of one more run join the others', of those groups that reach so far. */
static void merge_cluster(const attend_call *c, const group_cluster *cluster, int32_t run, worker_scratch *s)
{
    const row_group *g = &c->be->groups[cluster->first];
    int32_t first = 0;
    for (const row_group *stop = g + cluster->n; g < stop; g++) {
        const int32_t n = g->n * c->heads_per_kv;
        const size_t at = (size_t)first * c->l->v_stride;
        if (last_page_of(g) / RUN_PAGES >= run)
            merge_run(c, n, s->state + 2 * first, s->out + at, s->run_state + 2 * first, s->run_out + at);
        first += n;
    }
}

/* One thread goes through all runs of a cluster. */
static void attend_item(void *context, int32_t item, int32_t worker)
{
    attend_call *c = context;
    worker_scratch *s = &c->be->scratch[worker];
    const int32_t head = item % c->l->shape.n_head_kv;
    const group_cluster *cluster = &c->be->clusters[c->n_clusters - 1 - item / c->l->shape.n_head_kv]; /* the longest first */
    const row_group *groups = &c->be->groups[cluster->first];
    const int32_t first = first_page_of(c, groups) / RUN_PAGES;
    int32_t n = 0, last = 0;
    for (int32_t i = 0; i < cluster->n; i++) {
        n = gather_queries(c, &groups[i], head, s, n);
        last = most(last, last_page_of(&groups[i]) / RUN_PAGES);
    }
    run_of_cluster(c, cluster, head, first, s, (query_set){0, n, s->out, s->state, false});
    for (int32_t run = first + 1; run <= last; run++) {
        run_of_cluster(c, cluster, head, run, s, (query_set){0, n, s->run_out, s->run_state, false});
        merge_cluster(c, cluster, run, s);
    }
    for (int32_t i = 0, q = 0; i < cluster->n; q += groups[i++].n * c->heads_per_kv)
        store_outputs(c, &groups[i], head, s->out + (size_t)q * c->l->v_stride, s->state + 2 * q);
}

/* ---- steps of few rows: each run is an item ---- */

static float *run_sums(const attend_call *c, const row_group *g, int32_t head, int32_t run) /* [heads_per_kv][2 + v_stride] */
{
    const cpu_backend *be = c->be;
    const size_t lane = (size_t)(g - be->groups) * (size_t)c->l->shape.n_head_kv + (size_t)head;
    return be->run_sums + (lane * (size_t)be->max_runs + (size_t)run) * (size_t)c->heads_per_kv * (2 + c->l->v_stride);
}

static void run_of_row(void *context, int32_t item, int32_t worker)
{
    attend_call *c = context;
    worker_scratch *s = &c->be->scratch[worker];
    const int32_t n_heads = c->l->shape.n_head_kv, run = item / (n_heads * c->n_groups), head = item % n_heads;
    const row_group *g = &c->be->groups[item / n_heads % c->n_groups];
    if (run < first_page_of(c, g) / RUN_PAGES || run > last_page_of(g) / RUN_PAGES)
        return;
    float *state = run_sums(c, g, head, run);
    const query_set all = {0, gather_queries(c, g, head, s, 0), state + 2 * c->heads_per_kv, state, false};
    attend_pages(c, g, head, most(run * RUN_PAGES, first_page_of(c, g)), least((run + 1) * RUN_PAGES, last_page_of(g) + 1), s, all);
}

static void merge_runs(void *context, int32_t item, int32_t worker)
{
    attend_call *c = context;
    const int32_t n_heads = c->l->shape.n_head_kv, head = item % n_heads, n = c->heads_per_kv;
    const row_group *g = &c->be->groups[item / n_heads];
    const int32_t first = first_page_of(c, g) / RUN_PAGES;
    float *total = run_sums(c, g, head, first);
    (void)worker;
    for (int32_t run = first + 1; run <= last_page_of(g) / RUN_PAGES; run++) {
        const float *sums = run_sums(c, g, head, run);
        merge_run(c, n, total, total + 2 * n, sums, sums + 2 * n);
    }
    store_outputs(c, g, head, total + 2 * n, total);
}

static int32_t group_rows(cpu_backend *be, int32_t rows_per_group)
{
    int32_t n = 0;
    for (int32_t i = 0; i < be->batch->n_spans; i++) {
        const lt_span *span = &be->batch->spans[i];
        for (int32_t first = 0; first < span->n_rows; first += rows_per_group) {
            int32_t left = span->n_rows - first;
            be->groups[n++] = (row_group){span, first, left < rows_per_group ? left : rows_per_group};
        }
    }
    return n;
}

/* Full pages that two rows' sequences begin with and that both see whole. */
static int32_t shared_pages(const row_group *a, const row_group *b)
{
    const int32_t n = least(last_page_of(a), last_page_of(b));
    int32_t i = 0;
    while (i < n && a->span->pages[i] == b->span->pages[i])
        i++;
    return i;
}

/* Neighbouring rows that share some pages form a cluster, as long as enough items for all threads are left. */
static int32_t cluster_groups(const attend_call *c)
{
    enum { LEAST_SHARED = 4 }; /* pages */
    cpu_backend *be = c->be;
    const int32_t share = c->n_groups * c->l->shape.n_head_kv / (2 * be->batch->n_threads);
    /* A row's window begins where another's does not: alone in its cluster, it leaves no run before its window to be merged. */
    const int32_t most_groups = c->a->window > 0 ? 1 : least(share, LT_MAX_QUERIES / c->heads_per_kv);
    int32_t n = 0;
    for (int32_t i = 0; i < c->n_groups; i++) {
        const row_group *g = &be->groups[i];
        group_cluster *last = n ? &be->clusters[n - 1] : NULL;
        const bool joins = last && g->n == 1 && g[-1].n == 1 && last->n < most_groups;
        const int32_t common = joins ? shared_pages(&be->groups[last->first], g) : 0;
        if (common < LEAST_SHARED) {
            be->clusters[n++] = (group_cluster){i, 1, 0};
            continue;
        }
        last->n_shared = last->n == 1 ? common : least(common, last->n_shared);
        last->n++;
    }
    return n;
}

/* Runs that the longest row of the step has, when every row is a group of its own and there are too few for all threads. */
static int32_t runs_apart(const attend_call *c)
{
    const cpu_backend *be = c->be;
    int32_t n_runs = 1;
    if (c->n_groups * c->l->shape.n_head_kv >= LT_ITEMS_APART * be->batch->n_threads || c->n_groups != be->batch->n_rows)
        return 1;
    for (int32_t i = 0; i < c->n_groups; i++) {
        const int32_t n = last_page_of(&be->groups[i]) / RUN_PAGES + 1;
        n_runs = n > n_runs ? n : n_runs;
    }
    return n_runs;
}

int32_t lt_cpu_runs(int32_t n_pages)
{
    return (n_pages + RUN_PAGES - 1) / RUN_PAGES;
}

void lt_cpu_attend(lt_backend *base, const lt_attention *a, lt_buffer *q, lt_buffer *k, lt_buffer *v, lt_buffer *out)
{
    cpu_backend *be = cpu_of(base);
    const kv_layer *l = &be->layers[a->layer];
    attend_call c = {.be = be, .a = a, .l = l, .q = q, .k = k, .v = v, .out = out, .heads_per_kv = l->heads_per_kv};
    lt_cpu_each_row(be, append_row, &c, be->batch->n_rows);
    const int32_t rows_per_group = c.heads_per_kv < LT_MAX_QUERIES ? LT_MAX_QUERIES / c.heads_per_kv : 1;
    c.n_groups = group_rows(be, rows_per_group);
    const int32_t n_items = c.n_groups * l->shape.n_head_kv, n_runs = runs_apart(&c);
    if (n_runs == 1) {
        c.n_clusters = cluster_groups(&c);
        lt_pool_run(be->pool, be->batch->n_threads, attend_item, &c, c.n_clusters * l->shape.n_head_kv);
        return;
    }
    lt_pool_run(be->pool, be->batch->n_threads, run_of_row, &c, n_items * n_runs);
    lt_pool_run(be->pool, be->batch->n_threads, merge_runs, &c, n_items);
}
