/* test_attend.c - attention at every level of this machine and with every type of keys and values: bit-equal to plain C, plain C
 * within a bound of float64, and blind to what lies beyond a query's keys. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "cpu/internal.h"
#include "kernel_levels.h"
#include "kv_cells.h"

enum { MAX_KEYS = 320, MAX_DIM = 144, MAX_QUERIES = 9, MAX_PAGES = MAX_KEYS / 64, PAGE_BYTES = 64 * MAX_DIM * 4 };

typedef struct {
    int k_dim, v_dim, n_keys, n_queries, window, chunked, sloped, k_type, v_type;
    float cap, slope[MAX_QUERIES];
    float q[MAX_QUERIES][MAX_DIM];
    int32_t position[MAX_QUERIES];
    _Alignas(64) uint8_t k[MAX_PAGES][PAGE_BYTES], v[MAX_PAGES][PAGE_BYTES];
} attention;

static void make_attention(attention *a)
{
    static const int v_dims[] = {16, 20, 48, 64, 80, 100, 128, 144};
    a->k_type = (int)(draw() % LT_KV_TYPES);
    a->v_type = (int)(draw() % LT_KV_TYPES);
    a->k_dim = draw() % 4 ? 16 * (1 + (int)(draw() % 9)) : 1 + (int)(draw() % MAX_DIM);
    a->v_dim = v_dims[draw() % 8];
    a->n_keys = 1 + (int)(draw() % MAX_KEYS);
    a->n_queries = 1 + (int)(draw() % MAX_QUERIES);
    a->window = draw() % 2 ? 0 : 1 + (int)(draw() % 200);
    a->chunked = draw() % 3 == 0;
    a->sloped = draw() % 4 == 0;
    a->cap = draw() % 4 ? 0 : 1 + (float)(draw() % 50);
    const int old = draw() % 2 ? 0xff : 0x7f; /* cells that were never written hold NaN, or large integers: no result may show it */
    memset(a->k, old, sizeof a->k);
    memset(a->v, old, sizeof a->v);
    for (int t = 0; t < a->n_keys; t++) {
        float key[MAX_DIM], value[MAX_DIM];
        for (int i = 0; i < MAX_DIM; i++)
            key[i] = draw_float(), value[i] = draw_float();
        lt_write_key(&lt_kernels_ref, a->k_type, a->k[t / 64], t % 64, key, a->k_dim);
        lt_write_value(&lt_kernels_ref, a->v_type, a->v[t / 64], t % 64, value, a->v_dim);
    }
    const float size = draw() % 3 ? 1.0f : 0.0f; /* 0: all keys weigh the same */
    for (int c = 0; c < a->n_queries; c++) {
        a->slope[c] = fabsf(draw_float()) / 8;
        a->position[c] = c == 0 ? a->n_keys - 1 : (int)(draw() % (uint32_t)a->n_keys);
        for (int i = 0; i < a->k_dim; i++)
            a->q[c][i] = size * draw_float();
    }
}

static int first_seen(const attention *a, int position)
{
    if (!a->window)
        return 0;
    return a->chunked ? position / a->window * a->window : position >= a->window ? position - a->window + 1 : 0;
}

/* ---- what lies in a page ---- */

static double key_at(const attention *a, int t, int i)
{
    return key_cell(a->k_type, a->k[t / 64], a->k_dim, t % 64, i);
}

static double value_scale(const attention *a, int t, int i) /* 0 for floats */
{
    const int group = lt_kv_types[a->v_type].group;
    return group ? scale_cell(a->v_type, a->v[t / 64] + lt_v_codes_bytes(a->v_type, a->v_dim), (size_t)(i / group * 64 + t % 64)) : 0;
}

static double value_at(const attention *a, int t, int i)
{
    return value_cell(a->v_type, a->v[t / 64], a->v_dim, t % 64, i);
}

/* queries [first, first + n), out [n][v_dim] */
static void run_attention(const lt_kernels *k, const attention *a, int first, int n, float *out)
{
    const uint8_t *kp[MAX_PAGES], *vp[MAX_PAGES];
    static float q[MAX_QUERIES * MAX_DIM], scale[MAX_QUERIES * 3], sums[MAX_QUERIES * 2], padded[MAX_QUERIES * MAX_DIM];
    static int16_t q16[MAX_QUERIES * (MAX_DIM + 1)];
    int32_t last = 0, least = INT32_MAX;
    const int even = (a->k_dim + 1) & ~1, n_scales = (a->k_dim + LT_Q_GROUP - 1) / LT_Q_GROUP, v_stride = lt_v_stride(a->v_dim);
    for (int c = 0; c < n; c++) {
        memcpy(q + c * a->k_dim, a->q[first + c], (size_t)a->k_dim * sizeof(float));
        q16[(c + 1) * even - 1] = 0;
        for (int g = 0; g < n_scales; g++)
            scale[c * n_scales + g] =
                k->encode(a->q[first + c] + g * LT_Q_GROUP, a->k_dim - g * LT_Q_GROUP < 64 ? a->k_dim - g * LT_Q_GROUP : 64, LT_Q_MAX,
                          q16 + c * even + g * LT_Q_GROUP);
        last = a->position[first + c] > last ? a->position[first + c] : last;
        least = a->position[first + c] < least ? a->position[first + c] : least;
    }
    const int first_page = first_seen(a, least) / 64, n_pages = last / 64 + 1 - first_page;
    for (int p = 0; p < n_pages; p++)
        kp[p] = a->k[first_page + p], vp[p] = a->v[first_page + p];
    k->attend(&(lt_attend_job){.k_pages = kp,
                               .v_pages = vp,
                               .first_page = first_page,
                               .n_pages = n_pages,
                               .k_type = a->k_type,
                               .v_type = a->v_type,
                               .n_queries = n,
                               .k_dim = a->k_dim,
                               .v_stride = v_stride,
                               .window = a->window,
                               .chunked = a->chunked,
                               .cap = a->cap,
                               .slope = a->sloped ? a->slope + first : NULL,
                               .position = a->position + first,
                               .q = q,
                               .q16 = q16,
                               .q_scale = scale,
                               .out = padded,
                               .state = sums});
    for (int i = 0; i < n * a->v_dim; i++)
        out[i] = padded[i / a->v_dim * v_stride + i % a->v_dim] * (1.0f / sums[2 * (i / a->v_dim) + 1]);
}

/* How far a score may be off because the query is an integer of 12 bits: half a step of each dimension. */
static double query_rounding(const attention *a, int c, int t)
{
    double error = 0;
    for (int g = 0; lt_kv_types[a->k_type].group && g < a->k_dim; g += LT_Q_GROUP) {
        double largest = 0, keys = 0;
        for (int i = g; i < a->k_dim && i < g + LT_Q_GROUP; i++) {
            largest = fmax(largest, fabs((double)a->q[c][i]));
            keys += fabs(key_at(a, t, i));
        }
        error += 0.501 / LT_Q_MAX * largest * keys;
    }
    return error;
}

/* How far output i may be off because a page's weights are integers of 13 bits. */
static double weight_rounding(const attention *a, int first, int last, const double *weight, int i)
{
    double error = 0;
    for (int page = first / 64; lt_kv_types[a->v_type].group && page <= last / 64; page++) {
        double largest = 0, codes = 0;
        for (int t = page * 64; t < page * 64 + 64; t++)
            if (t >= first && t <= last && value_scale(a, t, i) > 0) {
                largest = fmax(largest, weight[t] * value_scale(a, t, i));
                codes += fabs(value_at(a, t, i)) / value_scale(a, t, i);
            }
        error += 0.501 / LT_I16_MAX * largest * codes;
    }
    return error;
}

static void check_query(const attention *a, int c, const float *out)
{
    double sum = 0, top = -1e300, largest = 0, rounding = 0, score[MAX_KEYS];
    const int last = a->position[c], first = first_seen(a, last);
    for (int t = first; t <= last; t++) {
        double magnitude = 0;
        score[t] = 0;
        for (int i = 0; i < a->k_dim; i++) {
            score[t] += (double)a->q[c][i] * key_at(a, t, i);
            magnitude += fabs((double)a->q[c][i] * key_at(a, t, i));
        }
        if (a->cap > 0)
            score[t] = (double)a->cap * tanh(score[t] / (double)a->cap), magnitude += 10 * (double)a->cap;
        if (a->sloped)
            score[t] -= (double)a->slope[c] * (last - t), magnitude += (double)a->slope[c] * (last - t);
        top = fmax(top, score[t]);
        largest = fmax(largest, magnitude);
        rounding = fmax(rounding, query_rounding(a, c, t));
    }
    for (int t = first; t <= last; t++)
        sum += score[t] = exp(score[t] - top);
    /* an error e in a score changes its weight by a factor e^e, and the sum of all likewise */
    const double relative = exp(2 * (16 * 6e-8 * largest + rounding)) - 1 + 1e-5;
    for (int i = 0; i < a->v_dim; i++) {
        double expect = 0, size = 0;
        for (int t = first; t <= last; t++) {
            expect += score[t] * value_at(a, t, i);
            size += score[t] * fabs(value_at(a, t, i));
        }
        const double bound = (relative * size + (1 + relative) * weight_rounding(a, first, last, score, i)) / sum + 1e-7;
        CHECK(fabs((double)out[i] - expect / sum) <= bound, "attention of types %d %d, query %d dim %d: %g, float64 %g, bound %g",
              a->k_type, a->v_type, c, i, (double)out[i], expect / sum, bound);
    }
}

static void test_attention(void)
{
    static attention a;
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    static float ref[MAX_QUERIES * MAX_DIM], out[MAX_QUERIES * MAX_DIM];
    for (int round = 0; round < 400; round++) {
        make_attention(&a);
        const size_t bytes = (size_t)(a.n_queries * a.v_dim) * sizeof(float);
        run_attention(k[0], &a, 0, a.n_queries, ref);
        for (int c = 0; c < a.n_queries; c++)
            check_query(&a, c, ref + c * a.v_dim);
        for (int l = 0; l < n_levels; l++) {
            run_attention(k[l], &a, 0, a.n_queries, out);
            CHECK(!memcmp(out, ref, bytes), "%s attention of types %d %d differs from ref", k[l]->name, a.k_type, a.v_type);
            for (int c = 0; c < a.n_queries; c++)
                run_attention(k[l], &a, c, 1, out + c * a.v_dim);
            CHECK(!memcmp(out, ref, bytes), "%s, types %d %d: a query alone differs from %d together", k[l]->name, a.k_type, a.v_type,
                  a.n_queries);
        }
    }
}

/* Makes token t's value not a number, and its key if asked. */
static void poison(attention *a, int t, int value_too, int key_too)
{
    float bad[MAX_DIM];
    for (int i = 0; i < MAX_DIM; i++)
        bad[i] = i % 3 ? INFINITY : NAN; /* NaN among them: a cap makes infinity a number */
    if (value_too)
        lt_write_value(&lt_kernels_ref, a->v_type, a->v[t / 64], t % 64, bad, a->v_dim);
    if (key_too)
        lt_write_key(&lt_kernels_ref, a->k_type, a->k[t / 64], t % 64, bad, a->k_dim);
}

/* NaN in a later token, or in one that has left the window, must not reach a query; NaN in the keys that it sees must. */
static void test_attention_poison(void)
{
    static attention a, bad;
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    static float ref[MAX_QUERIES * MAX_DIM], out[MAX_QUERIES * MAX_DIM];
    for (int round = 0; round < 200; round++) {
        make_attention(&a);
        run_attention(k[0], &a, 0, a.n_queries, ref);
        for (int l = 0; l < n_levels; l++) {
            const int c = (int)(draw() % (uint32_t)a.n_queries), keys_too = draw() % 2;
            const int last = a.position[c], first = first_seen(&a, last);
            bad = a;
            for (int t = 0; t < a.n_keys; t++)
                if (t < first || t > last)
                    poison(&bad, t, 1, keys_too);
            run_attention(k[l], &bad, 0, a.n_queries, out);
            CHECK(!memcmp(out + c * a.v_dim, ref + c * a.v_dim, (size_t)a.v_dim * sizeof(float)),
                  "%s, types %d %d: a key out of sight changed a query", k[l]->name, a.k_type, a.v_type);
            bad = a;
            for (int t = 0; t < a.n_keys; t++)
                poison(&bad, t, 0, 1);
            run_attention(k[l], &bad, 0, a.n_queries, out);
            CHECK(isnan(out[c * a.v_dim]), "%s, types %d %d: keys that are not numbers gave %g", k[l]->name, a.k_type, a.v_type,
                  (double)out[c * a.v_dim]);
        }
    }
}

/* What is written comes back within half a step of its type, whatever its size. */
static void test_cells(void)
{
    static attention a;
    static const double step[LT_KV_TYPES] = {0, 9.8e-4, 7.9e-3, 1.0 / LT_I16_MAX, 1.01 / 126}; /* of the largest value */
    for (int type = 0; type < LT_KV_TYPES; type++)
        for (int round = 0; round < 50; round++) {
            float x[64], largest = 0;
            const float size = ldexpf(1.0f, round % 18 - 8);
            for (int i = 0; i < 64; i++)
                x[i] = fmaxf(-65504.0f, fminf(draw_float() * size, 65504.0f)); /* half floats end there */
            a.k_type = a.v_type = type, a.k_dim = a.v_dim = 32;
            for (int i = 0; i < 32; i++)
                largest = fmaxf(largest, fabsf(x[i]));
            lt_write_key(&lt_kernels_ref, type, a.k[0], round, x, 32);
            lt_write_value(&lt_kernels_ref, type, a.v[0], round, x, 32);
            for (int i = 0; i < 32; i++) {
                const double bound = (double)largest * step[type] * 0.501 + 4e-8;
                CHECK(fabs(key_at(&a, round, i) - (double)x[i]) <= bound, "type %d: key %g is %g", type, (double)x[i],
                      key_at(&a, round, i));
                CHECK(key_at(&a, round, i) == value_at(&a, round, i), "type %d: key %g, value %g", type, key_at(&a, round, i),
                      value_at(&a, round, i));
            }
        }
}

/* Two halves of the keys, merged, are the whole. */
static void test_merge(void)
{
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    for (int round = 0; round < 100; round++) {
        float to[LEVELS][32], from[32], sums[LEVELS][2], other[2] = {draw_float() * 20, 1 + fabsf(draw_float())}, first[2], x[32];
        first[0] = round % 7 ? draw_float() * 20 : -1e30f, first[1] = round % 7 ? 1 : 0;
        for (int i = 0; i < 32; i++)
            from[i] = round % 3 ? draw_float() : 0, x[i] = round % 7 ? draw_float() : 0;
        for (int l = 0; l < n_levels; l++) {
            memcpy(to[l], x, sizeof x);
            memcpy(sums[l], first, sizeof first);
            k[l]->merge(sums[l], to[l], other, round % 3 ? from : NULL, 32);
            CHECK(!memcmp(to[l], to[0], sizeof x) && !memcmp(sums[l], sums[0], sizeof first), "%s merge differs from ref", k[l]->name);
        }
        const double m = fmax((double)first[0], (double)other[0]), f = exp((double)first[0] - m), g = exp((double)other[0] - m);
        for (int i = 0; i < 32; i++)
            CHECK(fabs((double)to[0][i] - f * (double)x[i] - g * (double)from[i]) < 1e-5, "merge gives %g", (double)to[0][i]);
        CHECK(fabs((double)sums[0][1] - f * (double)first[1] - g * (double)other[1]) < 1e-5, "sum %g", (double)sums[0][1]);
        if (round % 7 == 0)
            CHECK(!memcmp(to[0], from, sizeof from) && !memcmp(sums[0], other, sizeof other), "nothing merged with something is not that");
    }
}

int main(void)
{
    test_attention();
    test_attention_poison();
    test_cells();
    test_merge();
    return check_report("attention");
}
