/* experts.c - a mixture of experts: each expert's rows side by side as its columns, the panels of all experts from one counter.
 *
 * A pair is a row and one of its experts.  Pairs are sorted by expert, then by row, so an expert's columns are neighbours:
 *
 *      route each row | sort | quantise inputs into pairs | gate, up | act, quantise | down | weighted sum of each row's pairs
 *
 * Which rows share an expert changes how many columns a kernel gets at once, and so nothing in the bits.  A step with more pairs
 * than there is room for goes in parts, by rows. */
#include "cpu/internal.h"

#include <string.h>

enum { ITEMS_PER_THREAD = 8, ROOM_BYTES = 64 << 20 };

typedef struct {
    cpu_backend *be;
    const lt_experts *e;
    int32_t first_row, n_rows, n_pairs, n_active;
} experts_call;

/* ---- which pairs ---- */

static void route_row(void *context, int32_t item, int32_t worker)
{
    (void)worker;
    const experts_call *c = context;
    const lt_pairs *p = &c->be->pairs;
    const lt_router *r = &c->e->router;
    const float *logits = c->e->logits->data + (int64_t)(c->first_row + item) * c->e->logits->stride;
    lt_cpu_route(c->be->k, r, logits, p->chosen + item * r->n_used, p->weight + item * r->n_used);
}

static void sort_pairs(experts_call *c)
{
    const lt_pairs *p = &c->be->pairs;
    int32_t next[LT_MAX_EXPERTS] = {0}, place = 0;
    for (int32_t i = 0; i < c->n_pairs; i++)
        next[p->chosen[i]]++;
    c->n_active = 0;
    for (int32_t e = 0; e < c->e->router.n_expert; e++) {
        const int32_t n = next[e];
        next[e] = place;
        if (n)
            p->active[c->n_active++] = (lt_columns){.expert = e, .first = place, .n = n};
        place += n;
    }
    for (int32_t i = 0; i < c->n_pairs; i++) {
        p->place[i] = next[p->chosen[i]]++;
        p->expert[p->place[i]] = p->chosen[i];
    }
}

/* ---- by rows and pairs ---- */

/* x becomes the input of the pair there, as the forms of these stacks want it. */
static void put_input(const experts_call *c, const lt_weight *a, const lt_weight *b, int32_t place, const float *x)
{
    const lt_pairs *p = &c->be->pairs;
    const lt_x_kind first = FORM_X(a->form), second = b ? FORM_X(b->form) : first;
    lt_cpu_put_row(c->be->k, first, x, a->n_in, p->x[first] + (int64_t)place * LT_X_BLOCK_BYTES, c->n_pairs);
    if (second != first)
        lt_cpu_put_row(c->be->k, second, x, a->n_in, p->x[second] + (int64_t)place * LT_X_BLOCK_BYTES, c->n_pairs);
}

static void input_row(void *context, int32_t item, int32_t worker)
{
    const experts_call *c = context;
    const lt_experts *e = c->e;
    const lt_pairs *p = &c->be->pairs;
    const int64_t n_in = e->up->n_in;
    const float *x = lt_cpu_input_row(c->be->k, &e->in, n_in, c->first_row + item, c->be->scratch[worker].row);
    for (int32_t i = item * e->router.n_used; i < (item + 1) * e->router.n_used; i++) {
        const int32_t place = p->place[i];
        float *weighed = p->up + place * p->stride; /* free until the products are there */
        for (int64_t j = 0; e->router.weigh_input && j < n_in; j++)
            weighed[j] = x[j] * p->weight[i];
        put_input(c, e->up, e->gate, place, e->router.weigh_input ? weighed : x);
    }
}

static void add_bias(const experts_call *c, float *y, const lt_weight *bias, int32_t expert, int64_t n)
{
    if (bias)
        c->be->k->add(y, bias->vector + expert * n, 1.0f, n);
}

static void act_pair(void *context, int32_t place, int32_t worker)
{
    (void)worker;
    const experts_call *c = context;
    const lt_experts *e = c->e;
    const lt_pairs *p = &c->be->pairs;
    const int64_t n = e->up->n_out;
    float *gate = p->gate + place * p->stride, *up = p->up + place * p->stride;
    add_bias(c, up, e->up_bias, p->expert[place], n);
    if (e->gate)
        add_bias(c, gate, e->gate_bias, p->expert[place], n);
    c->be->k->act(e->act, up, e->gate ? gate : up, e->gate ? up : NULL, n);
    put_input(c, e->down, NULL, place, up);
}

/* In order of rank. */
static void sum_row(void *context, int32_t item, int32_t worker)
{
    (void)worker;
    const experts_call *c = context;
    const lt_experts *e = c->e;
    const lt_pairs *p = &c->be->pairs;
    const int64_t n = e->down->n_out;
    float *y = e->y->data + (int64_t)(c->first_row + item) * e->y->stride;
    memset(y, 0, (size_t)n * sizeof *y);
    for (int32_t i = item * e->router.n_used; i < (item + 1) * e->router.n_used; i++) {
        float *out = p->gate + p->place[i] * p->stride;
        const float weight = e->router.weigh_input ? 1.0f : p->weight[i];
        add_bias(c, out, e->down_bias, p->chosen[i], n);
        c->be->k->add(y, out, weight, n);
    }
}

/* ---- the products ---- */

typedef struct { /* one or two stacks times every pair's input */
    const experts_call *c;
    const lt_weight *w[2];
    float *y[2];
    int32_t n_items[2]; /* of one expert */
    int32_t chunk;      /* panels in an item */
} stacks_call;

static void stack_item(void *context, int32_t item, int32_t worker)
{
    const stacks_call *s = context;
    cpu_backend *be = s->c->be;
    const lt_pairs *p = &be->pairs;
    const int32_t each = s->n_items[0] + s->n_items[1];
    const lt_columns columns = p->active[item / each];
    const int32_t which = item % each >= s->n_items[0], first = (item % each - which * s->n_items[0]) * s->chunk;
    const lt_weight *w = s->w[which];
    const int32_t n_panels = (int32_t)lt_panels_of(w), left = n_panels - first;
    lt_matmul_job job = {
        .panels = w->panels + (size_t)(columns.expert * n_panels + first) * w->panel_bytes,
        .levels = w->levels,
        .x = p->x[FORM_X(w->form)] + (int64_t)columns.first * LT_X_BLOCK_BYTES,
        .y = s->y[which] + columns.first * p->stride + (int64_t)first * LT_PANEL_ROWS,
        .scratch = be->scratch[worker].tile,
        .n_in = w->n_in,
        .x_stride = (int64_t)s->c->n_pairs * LT_BLOCK_UNITS,
        .y_stride = p->stride,
        .n_panels = left < s->chunk ? left : s->chunk,
        .n_columns = columns.n,
    };
    be->k->matmul[w->form](&job);
}

/* An even number of panels, if there are many columns: those are worked in pairs. */
static int32_t chunk_size(const experts_call *c, int64_t n_panels)
{
    const int64_t chunk = n_panels / ((int64_t)c->be->batch->n_threads * ITEMS_PER_THREAD);
    if (c->n_pairs > c->be->k->few_columns)
        return chunk > 2 ? (int32_t)(chunk + 1) & ~1 : 2;
    return chunk > 1 ? (int32_t)chunk : 1;
}

static void multiply(experts_call *c, const lt_weight *a, float *ya, const lt_weight *b, float *yb)
{
    stacks_call s = {.c = c, .w = {a, b}, .y = {ya, yb}};
    const int64_t n_panels[2] = {lt_panels_of(a), b ? lt_panels_of(b) : 0};
    s.chunk = chunk_size(c, c->n_active * (n_panels[0] + n_panels[1]));
    for (int i = 0; i < 2; i++)
        s.n_items[i] = (int32_t)((n_panels[i] + s.chunk - 1) / s.chunk);
    lt_pool_run(c->be->pool, c->be->batch->n_threads, stack_item, &s, c->n_active * (s.n_items[0] + s.n_items[1]));
}

static void some_rows(experts_call *c)
{
    cpu_backend *be = c->be;
    const lt_experts *e = c->e;
    lt_cpu_each_row(be, route_row, c, c->n_rows);
    sort_pairs(c);
    lt_cpu_each_row(be, input_row, c, c->n_rows);
    multiply(c, e->up, be->pairs.up, e->gate, be->pairs.gate);
    lt_cpu_each_row(be, act_pair, c, c->n_pairs);
    multiply(c, e->down, be->pairs.gate, NULL, NULL);
    lt_cpu_each_row(be, sum_row, c, c->n_rows);
}

void lt_cpu_experts(lt_backend *base, const lt_experts *e)
{
    cpu_backend *be = cpu_of(base);
    const int32_t n_rows = be->batch->n_rows, rows = be->pairs.max_pairs / e->router.n_used;
    for (int32_t first = 0; first < n_rows; first += rows) {
        experts_call c = {.be = be, .e = e, .first_row = first, .n_rows = n_rows - first < rows ? n_rows - first : rows};
        c.n_pairs = c.n_rows * e->router.n_used;
        some_rows(&c);
    }
}

/* ---- room ---- */

int lt_cpu_pairs_create(cpu_backend *be, int32_t n_used)
{
    lt_pairs *p = &be->pairs;
    const size_t width = (size_t)(be->max_in_stack + 15) & ~(size_t)15;
    size_t x_bytes = 0;
    for (int kind = 0; kind < LT_X_KINDS; kind++)
        x_bytes += (size_t)be->max_x_stack[kind] * LT_X_BLOCK_BYTES;
    const size_t row_bytes = width * sizeof *p->gate, pair_bytes = x_bytes + 2 * row_bytes;
    const size_t wanted = (size_t)be->max_rows * (size_t)n_used, room = ROOM_BYTES / pair_bytes;
    const size_t n = wanted<room ? wanted : room>(size_t) n_used ? room : (size_t)n_used;
    p->max_pairs = (int32_t)n;
    p->stride = (int64_t)width;
    p->chosen = lt_cpu_scratch(be, n, sizeof *p->chosen);
    p->place = lt_cpu_scratch(be, n, sizeof *p->place);
    p->expert = lt_cpu_scratch(be, n, sizeof *p->expert);
    p->weight = lt_cpu_scratch(be, n, sizeof *p->weight);
    p->active = lt_cpu_scratch(be, LT_MAX_EXPERTS, sizeof *p->active);
    bool complete = true;
    for (int kind = 0; kind < LT_X_KINDS; kind++)
        if (be->max_x_stack[kind]) {
            p->x[kind] = lt_cpu_scratch(be, n, (size_t)be->max_x_stack[kind] * LT_X_BLOCK_BYTES);
            complete = complete && p->x[kind];
        }
    p->gate = lt_cpu_scratch(be, n, row_bytes);
    p->up = lt_cpu_scratch(be, n, row_bytes);
    complete = complete && p->chosen && p->place && p->expert && p->weight && p->active && p->gate && p->up;
    return complete ? LT_OK : out_of_memory("the inputs of experts", n * pair_bytes);
}

void lt_cpu_pairs_destroy(lt_pairs *p)
{
    void *parts[] = {p->chosen, p->place, p->expert, p->weight, p->active, p->gate, p->up, p->x[LT_X_Q8], p->x[LT_X_F32], p->x[LT_X_BF16]};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lt_free(parts[i]);
}
