/* test_attend.c - attention at every level of this machine: bit-equal to plain C, plain C within a bound of float64, and blind to
 * what lies beyond a query's keys. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "kernel_levels.h"
#include "quant/quant.h"

enum { MAX_KEYS = 320, MAX_DIM = 80, MAX_QUERIES = 9 };

typedef struct {
    int dim, n_keys, n_queries, window, f16;
    float k[MAX_KEYS][MAX_DIM], v[MAX_KEYS][MAX_DIM], q[MAX_QUERIES][MAX_DIM];
    int32_t position[MAX_QUERIES];
    uint16_t k16[MAX_KEYS / 64][MAX_DIM * 64], v16[MAX_KEYS / 64][64 * MAX_DIM];
    float k32[MAX_KEYS / 64][MAX_DIM * 64], v32[MAX_KEYS / 64][64 * MAX_DIM];
} attention;

static void make_attention(attention *a)
{
    a->dim = 16 * (1 + (int)(draw() % 5));
    a->n_keys = 1 + (int)(draw() % MAX_KEYS);
    a->n_queries = 1 + (int)(draw() % MAX_QUERIES);
    a->window = draw() % 2 ? 0 : 1 + (int)(draw() % 200);
    a->f16 = draw() % 2;
    memset(a->k16, 0xff, sizeof a->k16); /* cells that were never written hold NaN: no result may show it */
    memset(a->v16, 0xff, sizeof a->v16);
    memset(a->k32, 0xff, sizeof a->k32);
    memset(a->v32, 0xff, sizeof a->v32);
    for (int t = 0; t < a->n_keys; t++)
        for (int i = 0; i < a->dim; i++) {
            const uint16_t hk = lt_float_to_half(draw_float()), hv = lt_float_to_half(draw_float());
            a->k16[t / 64][i * 64 + t % 64] = hk;
            a->v16[t / 64][t % 64 * a->dim + i] = hv;
            a->k[t][i] = a->k32[t / 64][i * 64 + t % 64] = lt_half_to_float(hk);
            a->v[t][i] = a->v32[t / 64][t % 64 * a->dim + i] = lt_half_to_float(hv);
        }
    for (int c = 0; c < a->n_queries; c++) {
        a->position[c] = c == 0 ? a->n_keys - 1 : (int)(draw() % (uint32_t)a->n_keys);
        for (int i = 0; i < a->dim; i++)
            a->q[c][i] = draw_float();
    }
}

/* queries [first, first + n), out [n][dim] */
static void run_attention(const lt_kernels *k, const attention *a, int first, int n, float *out)
{
    const void *kp[MAX_KEYS / 64], *vp[MAX_KEYS / 64];
    float q[MAX_QUERIES * MAX_DIM], scores[MAX_QUERIES * 64], run[MAX_QUERIES * 2];
    int32_t last = 0, least = INT32_MAX;
    for (int c = 0; c < n; c++) {
        memcpy(q + c * a->dim, a->q[first + c], (size_t)a->dim * sizeof(float));
        last = a->position[first + c] > last ? a->position[first + c] : last;
        least = a->position[first + c] < least ? a->position[first + c] : least;
    }
    const int first_page = a->window && least >= a->window ? (least - a->window + 1) / 64 : 0, n_pages = last / 64 + 1 - first_page;
    for (int p = 0; p < n_pages; p++) {
        kp[p] = a->f16 ? (const void *)a->k16[first_page + p] : a->k32[first_page + p];
        vp[p] = a->f16 ? (const void *)a->v16[first_page + p] : a->v32[first_page + p];
    }
    lt_attend_job job = {.k_pages = kp,
                         .v_pages = vp,
                         .first_page = first_page,
                         .n_pages = n_pages,
                         .q = q,
                         .position = a->position + first,
                         .window = a->window,
                         .n_queries = n,
                         .head_dim = a->dim,
                         .v_stride = a->dim,
                         .out = out,
                         .scores = scores,
                         .state = run};
    k->attend[a->f16](&job);
}

static void check_attention(const attention *a, const float *out)
{
    for (int c = 0; c < a->n_queries; c++) {
        double sum = 0, expect[MAX_DIM] = {0}, size[MAX_DIM] = {0}, top = -1e300, score[MAX_KEYS], largest = 0;
        const int last = a->position[c], first = a->window && last >= a->window ? last - a->window + 1 : 0;
        for (int t = first; t <= last; t++) {
            double magnitude = 0;
            score[t] = 0;
            for (int i = 0; i < a->dim; i++) {
                score[t] += (double)a->q[c][i] * (double)a->k[t][i];
                magnitude += fabs((double)a->q[c][i] * (double)a->k[t][i]);
            }
            top = score[t] > top ? score[t] : top;
            largest = magnitude > largest ? magnitude : largest;
        }
        for (int t = first; t <= last; t++) {
            const double w = exp(score[t] - top);
            sum += w;
            for (int i = 0; i < a->dim; i++) {
                expect[i] += w * (double)a->v[t][i];
                size[i] += w * fabs((double)a->v[t][i]);
            }
        }
        /* a rounding error e in a score changes its weight by a factor 1 + e: up to 80 of them, and the sums' own */
        const double relative = 16 * 6e-8 * largest + 1e-5;
        for (int i = 0; i < a->dim; i++)
            CHECK(fabs((double)out[c * a->dim + i] - expect[i] / sum) <= relative * size[i] / sum + 1e-7,
                  "attention query %d dim %d: %g, float64 %g", c, i, (double)out[c * a->dim + i], expect[i] / sum);
    }
}

static void test_attention(void)
{
    static attention a;
    const lt_kernels *k[3];
    const int n_levels = levels(k);
    float ref[MAX_QUERIES * MAX_DIM], out[MAX_QUERIES * MAX_DIM];
    for (int round = 0; round < 150; round++) {
        make_attention(&a);
        const size_t bytes = (size_t)(a.n_queries * a.dim) * sizeof(float);
        run_attention(k[0], &a, 0, a.n_queries, ref);
        check_attention(&a, ref);
        for (int l = 0; l < n_levels; l++) {
            run_attention(k[l], &a, 0, a.n_queries, out);
            CHECK(!memcmp(out, ref, bytes), "%s attention differs from ref", k[l]->name);
            for (int c = 0; c < a.n_queries; c++)
                run_attention(k[l], &a, c, 1, out + c * a.dim);
            CHECK(!memcmp(out, ref, bytes), "%s: a query alone differs from %d together", k[l]->name, a.n_queries);
        }
    }
}

/* Makes every value that query c does not see not a number, and the key if asked. */
static void poison_unseen(attention *a, int c, int keys_too)
{
    const int last = a->position[c], first = a->window && last >= a->window ? last - a->window + 1 : 0;
    for (int t = 0; t < a->n_keys; t++)
        for (int i = 0; (t < first || t > last) && i < a->dim; i++) {
            a->v16[t / 64][t % 64 * a->dim + i] = 0x7e00;
            a->v32[t / 64][t % 64 * a->dim + i] = NAN;
            if (keys_too) {
                a->k16[t / 64][i * 64 + t % 64] = 0x7e00;
                a->k32[t / 64][i * 64 + t % 64] = NAN;
            }
        }
}

/* NaN in a later token, or in one that has left the window, must not reach a query; NaN in the keys that it sees must. */
static void test_attention_poison(void)
{
    static attention a, bad;
    const lt_kernels *k[3];
    const int n_levels = levels(k);
    float ref[MAX_QUERIES * MAX_DIM], out[MAX_QUERIES * MAX_DIM];
    for (int round = 0; round < 100; round++) {
        make_attention(&a);
        run_attention(k[0], &a, 0, a.n_queries, ref);
        for (int l = 0; l < n_levels; l++) {
            const int c = (int)(draw() % (uint32_t)a.n_queries);
            bad = a;
            poison_unseen(&bad, c, (int)(draw() % 2));
            run_attention(k[l], &bad, 0, a.n_queries, out);
            CHECK(!memcmp(out + c * a.dim, ref + c * a.dim, (size_t)a.dim * sizeof(float)), "%s: a key out of sight changed a query",
                  k[l]->name);
            bad = a;
            for (int t = 0; t < a.n_keys; t++)
                for (int i = 0; i < a.dim; i++)
                    bad.k16[t / 64][i * 64 + t % 64] = 0x7e00, bad.k32[t / 64][i * 64 + t % 64] = NAN;
            run_attention(k[l], &bad, 0, a.n_queries, out);
            CHECK(isnan(out[c * a.dim]), "%s: keys that are not numbers gave %g", k[l]->name, (double)out[c * a.dim]);
        }
    }
}

int main(void)
{
    test_attention();
    test_attention_poison();
    return check_report("attention");
}
