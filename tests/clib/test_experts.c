/* test_experts.c - a mixture of experts: close to a plain statement in float64 for every kind of router, and the same bits for a row
 * whatever other rows are in the step, on any number of threads, at any level, in one part or in many. */
#include <math.h>
#include <string.h>

#include "backend_rig.h"

enum { MAX_EXPERT = 12, MAX_EMBD = 96, MAX_FF = 288, MAX_ROWS = 64 };

typedef struct {
    int32_t n_embd, n_ff, n_rows;
    lt_router router;
    lt_act act;
    bool gated;
    stack gate, up, down;
    float gate_bias[MAX_EXPERT * MAX_FF], up_bias[MAX_EXPERT * MAX_FF], down_bias[MAX_EXPERT * MAX_EMBD];
    bool has_bias, has_choice_bias;
    float choice_bias[MAX_EXPERT];
    float x[MAX_ROWS][MAX_EMBD], logits[MAX_ROWS][MAX_EXPERT];
} mixture;

/* ---- a mixture to test ---- */

static void make_mixture(mixture *m, int32_t kind)
{
    static const lt_act acts[] = {LT_SILU, LT_GELU, LT_RELU2, LT_SWIGLU_OAI};
    memset(m, 0, sizeof *m);
    m->n_embd = 32 * (1 + (int32_t)(draw() % 3));
    m->n_ff = 32 * (1 + (int32_t)(draw() % 9));
    m->n_rows = 1 + (int32_t)(draw() % MAX_ROWS);
    m->act = acts[draw() % 4];
    m->gated = m->act == LT_SWIGLU_OAI || draw() % 4;
    m->has_bias = draw() % 2;
    m->has_choice_bias = kind != 4 && draw() % 2;
    lt_router *r = &m->router;
    r->scores = kind < 3 ? 1 + kind : LT_ROUTE_SOFTMAX_NEAR;
    r->weigh_input = kind == 3;
    r->n_expert = r->weigh_input ? 5 : 12;
    if (r->weigh_input)
        r->scores = LT_ROUTE_SIGMOID;
    else if (kind != 4 && draw() % 2)
        r->n_groups = 4, r->n_groups_used = 2;
    r->n_used = 1 + (int32_t)(draw() % (r->weigh_input ? 2 : 4));
    r->normalise = !r->weigh_input && draw() % 2;
    r->scale = draw() % 2 ? 1.0f : 2.5f;
    static const int32_t types[] = {LT_F32, LT_F32, LT_Q8_0, LT_MXFP4};
    const int32_t type = types[draw() % 4], down = draw() % 4 ? type : LT_F32;
    fill_stack(&m->gate, draw() % 4 ? type : LT_F32, r->n_expert, m->n_embd, m->n_ff);
    fill_stack(&m->up, type, r->n_expert, m->n_embd, m->n_ff);
    fill_stack(&m->down, down, r->n_expert, m->n_ff, m->n_embd);
    fill(m->gate_bias, r->n_expert * m->n_ff, 1.0f);
    fill(m->up_bias, r->n_expert * m->n_ff, 1.0f);
    fill(m->down_bias, r->n_expert * m->n_embd, 1.0f);
    fill(m->choice_bias, r->n_expert, 0.2f);
    const bool crowds = draw() % 3 == 0; /* all rows want one expert, which has more columns than are few */
    for (int32_t i = 0; i < m->n_rows; i++) {
        fill(m->x[i], m->n_embd, 4.0f);
        fill(m->logits[i], r->n_expert, kind == 4 ? 0.5f : 6.0f);
        m->logits[i][3] += crowds ? 6.0f : 0.0f;
    }
}

/* ---- the plain statement ---- */

/* A group stays when fewer than n_groups_used are better. */
static void leave_groups_out(const lt_router *r, const double *score, bool *allowed)
{
    double group[MAX_EXPERT];
    if (r->n_groups <= 1)
        return;
    const int size = r->n_expert / r->n_groups;
    for (int g = 0; g < r->n_groups; g++) {
        double first = -INFINITY, second = -INFINITY;
        for (int i = g * size; i < (g + 1) * size; i++) {
            second = fmax(second, fmin(first, score[i]));
            first = fmax(first, score[i]);
        }
        group[g] = first + second;
    }
    for (int i = 0; i < r->n_expert; i++) {
        int better = 0;
        for (int g = 0; g < r->n_groups; g++)
            better += group[g] > group[i / size];
        allowed[i] = better < r->n_groups_used;
    }
}

/* Softmax of the best that is left among those near it; what is larger has been chosen before. */
static double plain_near(const mixture *m, int row, int best)
{
    const double top = (double)m->logits[row][best];
    double near = 0;
    for (int i = 0; i < m->router.n_expert; i++) {
        const double logit = (double)m->logits[row][i];
        if (logit <= top && top - logit <= (double)0.02f * fmax(fabs(logit), top))
            near += exp(logit - top);
    }
    return 1 / near;
}

static void plain_choice(const mixture *m, int row, int32_t *chosen, double *weight)
{
    const lt_router *r = &m->router;
    double value[MAX_EXPERT], score[MAX_EXPERT], sum = 0, chosen_sum = 0;
    bool allowed[MAX_EXPERT];
    for (int i = 0; i < r->n_expert; i++)
        sum += exp((double)m->logits[row][i]);
    for (int i = 0; i < r->n_expert; i++) {
        const double logit = (double)m->logits[row][i];
        value[i] = r->scores == LT_ROUTE_SOFTMAX ? exp(logit) / sum : r->scores == LT_ROUTE_SIGMOID ? 1 / (1 + exp(-logit)) : logit;
        score[i] = (r->weigh_input ? logit : value[i]) + (m->has_choice_bias ? (double)m->choice_bias[i] : 0);
        allowed[i] = true;
    }
    leave_groups_out(r, score, allowed);
    for (int rank = 0; rank < r->n_used; rank++) {
        int best = -1;
        for (int i = 0; i < r->n_expert; i++)
            if (allowed[i] && (best < 0 || score[i] > score[best]))
                best = i;
        allowed[best] = false;
        chosen[rank] = best;
        weight[rank] = r->scores == LT_ROUTE_SOFTMAX_NEAR     ? plain_near(m, row, best)
                       : r->scores == LT_ROUTE_SOFTMAX_CHOSEN ? exp(value[best])
                                                              : value[best];
        chosen_sum += weight[rank];
    }
    for (int rank = 0; rank < r->n_used; rank++) {
        if (r->scores == LT_ROUTE_SOFTMAX_CHOSEN || r->normalise)
            weight[rank] /= fmax(chosen_sum, 6.1e-5);
        weight[rank] *= (double)r->scale;
    }
}

static double plain_dot(const stack *s, int expert, int64_t row, const double *x, const float *bias)
{
    double sum = bias ? (double)bias[expert * s->n_out + row] : 0;
    for (int64_t i = 0; i < s->n_in; i++)
        sum += (double)s->w[(expert * s->n_out + row) * s->n_in + i] * x[i];
    return sum;
}

static double plain_act(lt_act act, double g)
{
    switch (act) {
    case LT_SILU:
        return g / (1 + exp(-g));
    case LT_GELU:
        return 0.5 * g * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g)));
    default:
        return g > 0 ? g * g : 0;
    }
}

static void plain_row(const mixture *m, int row, double *y)
{
    int32_t chosen[MAX_EXPERT];
    double weight[MAX_EXPERT], x[MAX_EMBD], mid[MAX_FF];
    plain_choice(m, row, chosen, weight);
    memset(y, 0, (size_t)m->n_embd * sizeof *y);
    for (int rank = 0; rank < m->router.n_used; rank++) {
        const int e = chosen[rank];
        for (int i = 0; i < m->n_embd; i++)
            x[i] = (double)m->x[row][i] * (m->router.weigh_input ? weight[rank] : 1);
        for (int i = 0; i < m->n_ff; i++) {
            const double up = plain_dot(&m->up, e, i, x, m->has_bias ? m->up_bias : NULL);
            const double gate = m->gated ? plain_dot(&m->gate, e, i, x, m->has_bias ? m->gate_bias : NULL) : up;
            if (m->act == LT_SWIGLU_OAI)
                mid[i] = fmin(gate, 7) / (1 + exp(-1.702 * fmin(gate, 7))) * (fmax(fmin(up, 7), -7) + 1);
            else
                mid[i] = plain_act(m->act, gate) * (m->gated ? up : 1);
        }
        for (int i = 0; i < m->n_embd; i++)
            y[i] += plain_dot(&m->down, e, i, mid, m->has_bias ? m->down_bias : NULL) * (m->router.weigh_input ? 1 : weight[rank]);
    }
}

/* ---- the engine's ---- */

typedef struct {
    rig rig;
    lt_buffer *x, *logits, *y;
    lt_experts experts;
} engine;

static void engine_create(engine *g, const mixture *m, int32_t n_threads, const lt_kernels *k)
{
    const int32_t n = m->router.n_expert;
    *g = (engine){0};
    rig_create(&g->rig, n_threads, MAX_ROWS, k);
    lt_experts *e = &g->experts;
    *e = (lt_experts){.router = m->router, .act = m->act};
    e->up = rig_matrices(&g->rig, &m->up, n, LT_USE_EXPERTS);
    e->down = rig_matrices(&g->rig, &m->down, n, LT_USE_EXPERTS);
    if (m->gated)
        e->gate = rig_matrices(&g->rig, &m->gate, n, LT_USE_EXPERTS);
    if (m->has_bias) {
        e->up_bias = rig_vector(&g->rig, m->up_bias, n * m->n_ff);
        e->gate_bias = rig_vector(&g->rig, m->gate_bias, n * m->n_ff);
        e->down_bias = rig_vector(&g->rig, m->down_bias, n * m->n_embd);
    }
    if (m->has_choice_bias)
        e->router.bias = rig_vector(&g->rig, m->choice_bias, n);
    e->in.x = g->x = rig_buffer(&g->rig, m->n_embd);
    e->logits = g->logits = rig_buffer(&g->rig, n);
    e->y = g->y = rig_buffer(&g->rig, m->n_embd);
    rig_ready(&g->rig, m->router.n_used);
}

/* Rows [first, first + n) alone; y [n][n_embd]. */
static void run(engine *g, const mixture *m, int32_t first, int32_t n, float *y)
{
    for (int32_t i = 0; i < n; i++) {
        memcpy(g->x->data + i * g->x->stride, m->x[first + i], (size_t)m->n_embd * sizeof *y);
        memcpy(g->logits->data + i * g->logits->stride, m->logits[first + i], (size_t)m->router.n_expert * sizeof *y);
    }
    rig_begin(&g->rig, n);
    g->rig.be->ops->experts(g->rig.be, &g->experts);
    for (int32_t i = 0; i < n; i++)
        memcpy(y + i * m->n_embd, g->rig.be->ops->read(g->rig.be, g->y, i), (size_t)m->n_embd * sizeof *y);
}

static void check_values(const mixture *m, const float *y, int kind)
{
    double error = 0, size = 0;
    for (int row = 0; row < m->n_rows; row++) {
        double expected[MAX_EMBD];
        plain_row(m, row, expected);
        for (int i = 0; i < m->n_embd; i++) {
            error += pow((double)y[row * m->n_embd + i] - expected[i], 2);
            size += pow(expected[i], 2);
        }
    }
    const bool floats = m->up.type == LT_F32 && m->down.type == LT_F32 && (!m->gated || m->gate.type == LT_F32);
    CHECK(sqrt(error / size) < (floats ? 1e-6 : 2e-2), "router %d, act %d, gated %d, used %d, groups %d: relative error %g", kind,
          (int)m->act, m->gated, m->router.n_used, m->router.n_groups, sqrt(error / size));
}

static void test_mixture(int kind)
{
    static mixture m;
    static float all[MAX_ROWS * MAX_EMBD], some[MAX_ROWS * MAX_EMBD];
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    make_mixture(&m, kind);
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        engine g;
        engine_create(&g, &m, n_threads, k[n_threads % n_levels]);
        run(&g, &m, 0, m.n_rows, n_threads == 1 ? all : some);
        CHECK(n_threads == 1 || !memcmp(all, some, (size_t)(m.n_rows * m.n_embd) * sizeof *all), "%d threads", n_threads);
        for (int32_t first = 0, n; first < m.n_rows; first += n) { /* companies of all sizes */
            n = 1 + (int32_t)(draw() % (uint32_t)(m.n_rows - first));
            run(&g, &m, first, n, some);
            CHECK(!memcmp(all + first * m.n_embd, some, (size_t)(n * m.n_embd) * sizeof *all), "rows %d..%d of %d", first, first + n,
                  m.n_rows);
        }
        cpu_of(g.rig.be)->pairs.max_pairs = 2 * m.router.n_used + 1;
        run(&g, &m, 0, m.n_rows, some);
        CHECK(!memcmp(all, some, (size_t)(m.n_rows * m.n_embd) * sizeof *all), "in parts of two rows");
        rig_destroy(&g.rig);
    }
    check_values(&m, all, kind);
}

/* Equal scores: the lower index.  A logit that is not finite shows in every output. */
static void test_choice(void)
{
    const lt_router r = {.scores = LT_ROUTE_SOFTMAX, .n_expert = 6, .n_used = 3, .scale = 1.0f};
    float logits[6] = {1, 2, 0, 2, 1, 2}, weight[3];
    int32_t chosen[3];
    lt_cpu_route(&lt_kernels_ref, &r, logits, chosen, weight);
    CHECK(chosen[0] == 1 && chosen[1] == 3 && chosen[2] == 5, "%d %d %d", chosen[0], chosen[1], chosen[2]);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++)
        for (int kind = LT_ROUTE_SOFTMAX; kind <= LT_ROUTE_SOFTMAX_NEAR; kind++) {
            lt_router any = r;
            any.scores = kind;
            logits[4] = bad[i];
            lt_cpu_route(&lt_kernels_ref, &any, logits, chosen, weight);
            for (int j = 0; j < 3; j++)
                CHECK(isnan(weight[j]) && chosen[j] >= 0 && chosen[j] < 6, "%g: expert %d with weight %g", (double)bad[i], chosen[j],
                      (double)weight[j]);
        }
}

/* Each allocation fails once: an error, nothing leaked (the sanitizers see to that). */
static void test_no_memory(void)
{
    static stack s;
    static const float frequency = 1.0f;
    const lt_kernels *k[LEVELS];
    levels(k);
    fill_stack(&s, LT_Q8_0, 4, 32, 32);
    const lt_layer_shape layer = {.n_head = 1, .n_head_kv = 1, .k_dim = 16, .v_dim = 16};
    const lt_kv_shape shape = {.layers = &layer, .n_layers = 1, .page_tokens = 64, .n_pages = 1, .max_pages = 1, .n_experts_used = 2};
    int rc = LT_E_NOMEM, n_failed_allocations = 0;
    for (int64_t at = 1; rc == LT_E_NOMEM; at++) {
        rig r;
        rig_create(&r, 1, MAX_ROWS, k[0]);
        rig_matrices(&r, &s, 4, LT_USE_EXPERTS);
        lt_fail_alloc_at(at);
        rc = r.be->ops->ready(r.be, &shape, &(lt_rope){.n_rot = 2, .magnitude = 1, .frequency = &frequency}, 1);
        lt_fail_alloc_at(0);
        CHECK(rc == LT_OK || rc == LT_E_NOMEM, "allocation %d: code %d (%s)", (int)at, rc, lt_last_error());
        n_failed_allocations += rc == LT_E_NOMEM;
        rig_destroy(&r);
    }
    CHECK(n_failed_allocations > 20, "%d allocations", n_failed_allocations);
}

int main(void)
{
    for (int i = 0; i < 60; i++)
        test_mixture(i % 5);
    test_choice();
    test_no_memory();
    return check_report("test_experts");
}
