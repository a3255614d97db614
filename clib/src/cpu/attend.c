/* attend.c - the attention operation: rope and KV append by rows, then (group of rows, kv head) items over pages.
 *
 *      page p:  [layer][kv head]  K [k_dim][64]  V [64][v_stride]
 */
#include "cpu/internal.h"

#include <math.h>
#include <string.h>

typedef struct {
    cpu_backend *be;
    const lt_attention *a;
    lt_buffer *q, *k, *v, *out;
    int32_t heads_per_kv, n_groups;
} attend_call;

static uint8_t *k_page(const cpu_backend *be, int32_t page, int32_t layer, int32_t head)
{
    return be->kv_data + (size_t)page * be->page_bytes +
           ((size_t)layer * (size_t)be->kv.n_head_kv + (size_t)head) * (be->k_page_bytes + be->v_page_bytes);
}
static uint8_t *v_page(const cpu_backend *be, int32_t page, int32_t layer, int32_t head)
{
    return k_page(be, page, layer, head) + be->k_page_bytes;
}

void lt_cpu_copy_page(lt_backend *base, int32_t src, int32_t dst)
{
    cpu_backend *be = cpu_of(base);
    memcpy(be->kv_data + (size_t)dst * be->page_bytes, be->kv_data + (size_t)src * be->page_bytes, be->page_bytes);
}

static float *rope_table(const cpu_backend *be, int32_t rope, int32_t row)
{
    return be->rope_tables + ((int64_t)rope * be->max_rows + row) * be->max_rot;
}

static void rope_row(void *context, int32_t row, int32_t worker)
{
    cpu_backend *be = context;
    (void)worker;
    for (int32_t r = 0; r < be->n_ropes; r++) {
        const lt_rope *rope = &be->ropes[r];
        float *cosine = rope_table(be, r, row), *sine = cosine + rope->n_rot / 2;
        for (int32_t i = 0; i < rope->n_rot / 2; i++) {
            double angle = (double)be->batch->position[row] * (double)rope->frequency[i];
            cosine[i] = (float)cos(angle) * rope->magnitude;
            sine[i] = (float)sin(angle) * rope->magnitude;
        }
    }
}

void lt_cpu_begin(lt_backend *base, const lt_batch *batch)
{
    cpu_backend *be = cpu_of(base);
    be->batch = batch;
    lt_cpu_each_row(be, rope_row, be, batch->n_rows);
}

/* Norm and rotation of every head of one projected row. */
static void turn_heads(attend_call *c, int32_t row, float *x, int32_t n_heads, const lt_weight *norm)
{
    const cpu_backend *be = c->be;
    const int64_t dim = be->kv.k_dim;
    for (int32_t h = 0; h < n_heads; h++) {
        float *head = x + h * dim;
        if (norm)
            be->k->rms_norm(head, head, norm->vector, dim, c->a->eps);
        if (c->a->rope >= 0) {
            const lt_rope *rope = &be->ropes[c->a->rope];
            const float *cosine = rope_table(be, c->a->rope, row);
            be->k->rope(head, cosine, cosine + rope->n_rot / 2, rope->n_rot, rope->adjacent);
        }
    }
}

/* One row's keys go down a column of each K page (transposed), its values along a row of each V page. */
static void append_kv(attend_call *c, int32_t page, int32_t slot, const float *k, const float *v)
{
    const cpu_backend *be = c->be;
    const int32_t k_dim = be->kv.k_dim, v_dim = be->kv.v_dim, page_tokens = be->kv.page_tokens;
    uint16_t half[LT_MAX_HEAD_DIM];
    for (int32_t h = 0; h < be->kv.n_head_kv; h++, k += k_dim, v += v_dim) {
        uint8_t *kp = k_page(be, page, c->a->layer, h), *vp = v_page(be, page, c->a->layer, h);
        if (be->kv.type == LT_KV_F32) {
            for (int32_t i = 0; i < k_dim; i++)
                ((float *)kp)[i * page_tokens + slot] = k[i];
            memcpy((float *)vp + (size_t)slot * be->v_stride, v, (size_t)v_dim * sizeof *v);
            continue;
        }
        be->k->to_half(half, k, k_dim);
        for (int32_t i = 0; i < k_dim; i++)
            ((uint16_t *)kp)[i * page_tokens + slot] = half[i];
        be->k->to_half((uint16_t *)vp + (size_t)slot * be->v_stride, v, v_dim);
    }
}

static void append_row(void *context, int32_t row, int32_t worker)
{
    attend_call *c = context;
    cpu_backend *be = c->be;
    (void)worker;
    const lt_span *span = be->batch->spans;
    while (row >= span->first_row + span->n_rows)
        span++;
    float *q = c->q->data + row * c->q->stride, *k = c->k->data + row * c->k->stride;
    turn_heads(c, row, q, c->a->n_head, c->a->q_norm);
    turn_heads(c, row, k, be->kv.n_head_kv, c->a->k_norm);
    for (int64_t i = 0; i < (int64_t)c->a->n_head * be->kv.k_dim; i++)
        q[i] *= c->a->scale;
    const int32_t position = be->batch->position[row];
    append_kv(c, span->pages[position / be->kv.page_tokens], position % be->kv.page_tokens, k, c->v->data + row * c->v->stride);
}

/* Copies the group's queries of one kv head together: row-major by (row, head in the kv head's group). */
static void gather_queries(const attend_call *c, const row_group *g, int32_t head, worker_scratch *s)
{
    const cpu_backend *be = c->be;
    const size_t bytes = (size_t)c->heads_per_kv * (size_t)be->kv.k_dim * sizeof(float);
    for (int32_t r = 0; r < g->n; r++) {
        const int64_t row = g->span->first_row + g->first + r;
        memcpy((char *)s->q + (size_t)r * bytes, c->q->data + row * c->q->stride + (int64_t)head * c->heads_per_kv * be->kv.k_dim, bytes);
        for (int32_t h = 0; h < c->heads_per_kv; h++)
            s->position[r * c->heads_per_kv + h] = g->span->first_position + g->first + r;
    }
}

static void scatter_outputs(const attend_call *c, const row_group *g, int32_t head, const worker_scratch *s)
{
    const cpu_backend *be = c->be;
    const int32_t dim = be->kv.v_dim;
    for (int32_t r = 0; r < g->n; r++) {
        float *out = c->out->data + (int64_t)(g->span->first_row + g->first + r) * c->out->stride + (int64_t)head * c->heads_per_kv * dim;
        for (int32_t h = 0; h < c->heads_per_kv; h++)
            memcpy(out + (int64_t)h * dim, s->out + (size_t)(r * c->heads_per_kv + h) * be->v_stride, (size_t)dim * sizeof *out);
    }
}

static void attend_item(void *context, int32_t item, int32_t worker)
{
    attend_call *c = context;
    cpu_backend *be = c->be;
    worker_scratch *s = &be->scratch[worker];
    const int32_t head = item % be->kv.n_head_kv;
    const row_group *g = &be->groups[c->n_groups - 1 - item / be->kv.n_head_kv]; /* the longest first */
    const int32_t first = g->span->first_position + g->first, last = first + g->n - 1, page_tokens = be->kv.page_tokens;
    const int32_t window = c->a->window;
    const int32_t first_page = window > 0 && first >= window ? (first - window + 1) / page_tokens : 0;
    const int32_t n_pages = last / page_tokens + 1 - first_page;
    for (int32_t i = 0; i < n_pages; i++) {
        s->k_pages[i] = k_page(be, g->span->pages[first_page + i], c->a->layer, head);
        s->v_pages[i] = v_page(be, g->span->pages[first_page + i], c->a->layer, head);
    }
    gather_queries(c, g, head, s);
    lt_attend_job job = {
        .k_pages = s->k_pages,
        .v_pages = s->v_pages,
        .first_page = first_page,
        .n_pages = n_pages,
        .q = s->q,
        .position = s->position,
        .window = window,
        .n_queries = g->n * c->heads_per_kv,
        .head_dim = be->kv.k_dim,
        .v_stride = (int32_t)be->v_stride,
        .out = s->out,
        .scores = s->scores,
        .state = s->state,
    };
    be->k->attend[be->kv.type == LT_KV_F16](&job);
    scatter_outputs(c, g, head, s);
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

void lt_cpu_attend(lt_backend *base, const lt_attention *a, lt_buffer *q, lt_buffer *k, lt_buffer *v, lt_buffer *out)
{
    cpu_backend *be = cpu_of(base);
    attend_call c = {.be = be, .a = a, .q = q, .k = k, .v = v, .out = out, .heads_per_kv = a->n_head / be->kv.n_head_kv};
    lt_cpu_each_row(be, append_row, &c, be->batch->n_rows);
    const int32_t rows_per_group = c.heads_per_kv < LT_MAX_QUERIES ? LT_MAX_QUERIES / c.heads_per_kv : 1;
    c.n_groups = group_rows(be, rows_per_group);
    lt_pool_run(be->pool, be->batch->n_threads, attend_item, &c, c.n_groups * be->kv.n_head_kv);
}
