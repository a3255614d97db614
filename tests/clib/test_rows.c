/* test_rows.c - what happens to one activation row, at every level of this machine: bit-equal to plain C, and plain C within a bound
 * of float64: norms, activations, quantisation. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "kernel_levels.h"
#include "quant/quant.h"

/* Rounded to nearest, ties to even; what is no number stays none, and what is tiny becomes zero; the same at all levels. */
static void test_to_bf16(void)
{
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    const float x[] = {0.0f,       -0.0f,     1.0f,      1.00390625f, 1.01171875f, -1.00390626f, 3.3e38f, INFINITY,  -INFINITY,
                       0x1.fp-56f, -0x1p-55f, 0x1p-130f, NAN,         -NAN,        65504.0f,     1e-10f,  0.333333f, 2.5f};
    enum { N = sizeof x / sizeof *x };
    uint16_t ref[32];
    for (int l = 0; l < n_levels; l++) {
        uint16_t y[32];
        k[l]->to_bf16(x, N, (uint8_t *)(l ? y : ref), LT_X_BLOCK_BYTES);
        CHECK(!memcmp(l ? y : ref, ref, sizeof ref), "%s: to_bf16 differs from ref", k[l]->name);
    }
    for (int i = 0; i < 32; i++) {
        const float g = lt_bf16_to_float(ref[i]), e = i >= N || fabsf(x[i]) < 0x1p-55f ? 0.0f : x[i];
        CHECK(e != e ? g != g : isinf(e) ? g == e : fabsf(g - e) <= fabsf(e) * 0x1p-8f, "%g in BF16 is %g", (double)e, (double)g);
    }
    CHECK(ref[3] == 0x3f80 && ref[4] == 0x3f82, "ties go to even: %x %x", ref[3], ref[4]);
}

enum { ROW = 352 };
enum { NORM_RMS = 1, NORM_LAYER, ADD, SCALE, CLAMP, CAP, ACT, ROW_OPERATIONS = ACT + 2 * LT_ACTS };

/* On out, which holds u: operations from ACT on are the activations, with and without a second factor. */
static void row_operation(const lt_kernels *k, int op, float *out, const float *x, const float *u, const float *w, int64_t n)
{
    switch (op) {
    case NORM_RMS:
        k->rms_norm(out, x, w, n, 1e-5f);
        break;
    case NORM_LAYER:
        k->layer_norm(out, x, w, u, n, 1e-5f);
        break;
    case ADD:
        k->add(out, x, 0.75f, n);
        break;
    case SCALE:
        k->scale(out, 3.7f, n);
        break;
    case CLAMP:
        k->clamp(out, 0.5f, n);
        break;
    case CAP:
        k->cap(out, 0.8f, n);
        break;
    default:
        if (op >= ACT)
            k->act((op - ACT) / 2, out, x, (op - ACT) % 2 ? u : NULL, n);
    }
}

static double act_expected(lt_act act, double g)
{
    switch (act) {
    case LT_SILU:
        return g / (1 + exp(-g));
    case LT_GELU:
        return 0.5 * g * (1 + tanh(0.7978845608028654 * (g + 0.044715 * g * g * g)));
    case LT_GELU_ERF:
        return 0.5 * g * (1 + erf(g / sqrt(2)));
    case LT_RELU:
        return fmax(g, 0);
    case LT_RELU2:
        return fmax(g, 0) * fmax(g, 0);
    case LT_SIGMOID:
        return 1 / (1 + exp(-g));
    case LT_SWIGLU_OAI:
        return fmin(g, 7) / (1 + exp(-1.702 * fmin(g, 7)));
    default:
        return g;
    }
}

static double row_expected(int op, double g, double u, double w, double rms, double mean, double deviation)
{
    switch (op) {
    case NORM_RMS:
        return g * rms * w;
    case NORM_LAYER:
        return (g - mean) * deviation * w + u;
    case ADD:
        return u + 0.75 * g;
    case SCALE:
        return u * (double)3.7f;
    case CLAMP:
        return fmax(-0.5, fmin(0.5, u));
    case CAP:
        return (double)0.8f * tanh(u / (double)0.8f);
    }
    const lt_act act = (lt_act)((op - ACT) / 2);
    const double other = act == LT_SWIGLU_OAI ? fmax(-7, fmin(7, u)) + 1 : u;
    return act_expected(act, g) * ((op - ACT) % 2 ? other : 1);
}

static void check_rows(const float *x, const float *u, const float *w, int64_t n, float ref[ROW_OPERATIONS][ROW])
{
    double squares = 0, sum = 0, around = 0;
    for (int64_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i], sum += (double)x[i];
    for (int64_t i = 0; i < n; i++)
        around += pow((double)x[i] - sum / (double)n, 2);
    const double rms = 1 / sqrt(squares / (double)n + 1e-5), deviation = 1 / sqrt(around / (double)n + 1e-5);
    for (int op = NORM_RMS; op < ROW_OPERATIONS; op++)
        for (int64_t i = 0; i < n; i++) {
            const double g = (double)x[i], expect = row_expected(op, g, (double)u[i], (double)w[i], rms, sum / (double)n, deviation);
            const double size = (1 + fabs(g)) * (1 + fabs(deviation)) * (1 + fabs((double)u[i]));
            CHECK(fabs((double)ref[op][i] - expect) <= 3e-6 * fabs(expect) + 2e-6 * size, "row operation %d: x %g gives %g, float64 %g", op,
                  g, (double)ref[op][i], expect);
        }
}

static void test_rows(void)
{
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    for (int round = 0; round < 50; round++) {
        const int64_t n = round % 3 == 0 ? ROW : 1 + draw() % ROW;
        static float x[ROW], u[ROW], w[ROW], ref[ROW_OPERATIONS][ROW], y[ROW];
        for (int i = 0; i < ROW; i++)
            x[i] = draw_float() * (round % 5 == 4 ? 30.0f : 1.0f), u[i] = draw_float(), w[i] = draw_float();
        for (int l = 0; l < n_levels; l++) {
            for (int op = NORM_RMS; op < ROW_OPERATIONS; op++) {
                float *out = l ? y : ref[op];
                memcpy(out, u, sizeof u);
                row_operation(k[l], op, out, x, u, w, n);
                CHECK(!memcmp(out, ref[op], sizeof y), "%s row operation %d of %d differs from ref", k[l]->name, op, (int)n);
            }
        }
        check_rows(x, u, w, n, ref);
    }
}

/* Integer sums of a unit, and of the next one where it holds those of two: the scaled sums to half a step. */
static void check_steps(const lt_q8_unit *u, const lt_q8_unit *next, int unit)
{
    const double step = (double)u->sum_step;
    const int32_t sum[2] = {u->sum16[0], u->sum16[1]};
    if (!isfinite(u->sum_step)) {
        CHECK(!u->halves[0] && !u->halves[1] && !u->pair[0] && !u->pair[1], "unit %d has sums in infinite steps", unit);
        return;
    }
    for (int h = 0; h < 2; h++)
        CHECK(abs(u->halves[h]) <= 1 << 14 && fabs(u->halves[h] * step - (double)u->d * sum[h]) <= 0.5 * step + 1e-29, "half %d of unit %d",
              h, unit);
    for (int i = 0; next && i < 2; i++)
        CHECK(abs(u->pair[i]) <= 1 << 14 && fabs(u->pair[i] * step - (double)u[i].dsum) <= 0.5 * step + 2e-29, "pair %d of unit %d", i,
              unit);
}

static void test_quantize(void)
{
    enum { N = 320, STRIDE = 3 * LT_BLOCK_UNITS }; /* the row is one of three */
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    static lt_q8_unit ref[2 * STRIDE], y[2 * STRIDE];
    for (int round = 0; round < 200; round++) {
        float x[N];
        for (int i = 0; i < N; i++)
            x[i] = round == 0 ? 0.0f : round == 1 ? 1e-38f : round == 2 ? (i % 2 ? 3e38f : -3e38f) : round == 3 ? 1e38f : draw_float();
        for (int l = 0; l < n_levels; l++) {
            memset(l ? y : ref, 0, sizeof y);
            k[l]->quantize(x, N, l ? y : ref, STRIDE);
            CHECK(!l || !memcmp(y, ref, sizeof y), "%s quantize differs from ref in round %d", k[l]->name, round);
        }
        for (int b = 0; b < N / 32; b++) {
            const lt_q8_unit *u = ref + b / 8 * STRIDE + b % 8;
            float largest = 0;
            int sum[2] = {0, 0};
            for (int i = 0; i < 32; i++) {
                const double value = (double)x[32 * b + i];
                CHECK(u->q[i] >= -127, "code %d", u->q[i]);
                CHECK(fabs((double)u->d * u->q[i] - value) <= 0.5001 * (double)u->d + 2e-33, "round %d value %g is %g", round, value,
                      (double)u->d * u->q[i]);
                sum[i / 16] += u->q[i];
                largest = fmaxf(largest, fabsf(x[32 * b + i]));
            }
            CHECK(u->d == 0 || u->d <= largest / 127 * 1.2501f, "scale %g for %g", (double)u->d, (double)largest);
            CHECK(u->d == ldexpf(1.0f + 0.25f * (float)u->step, u->d > 0 ? (int)u->exponent : -999), "scale %g is not its parts",
                  (double)u->d);
            CHECK(u->sum16[0] == sum[0] && u->sum16[1] == sum[1], "sums of unit %d", b);
            CHECK(u->dsum == u->d * (float)(sum[0] + sum[1]), "scaled sum of unit %d", b);
            check_steps(u, b % 2 ? NULL : u + 1, b);
        }
    }
}

/* One value that is not a finite number must reach the outputs of its row at every level, wherever it stands, in a whole block or
 * the units behind; its unit has zeros for codes and sums, and no other unit changes, but for the size of the block's steps. */
static void test_quantize_not_finite(void)
{
    enum { N = LT_BLOCK + 2 * LT_UNIT };
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    static lt_q8_unit clean[2 * LT_BLOCK_UNITS], y[2 * LT_BLOCK_UNITS];
    const lt_q8_unit none = {0};
    float row[N];
    for (int i = 0; i < N; i++)
        row[i] = draw_float();
    k[0]->quantize(row, N, clean, LT_BLOCK_UNITS);
    for (int l = 0; l < n_levels; l++)
        for (int i = 0; i < N; i++) {
            float x[N];
            memcpy(x, row, sizeof x);
            x[i] = i % 2 ? NAN : INFINITY;
            if (i % 4 == 1) /* all bits set, which adding to would turn into a number */
                memset(&x[i], 0xff, sizeof x[i]);
            x[i ^ 16] = i % 3 ? x[i] : -x[i]; /* in the other half of the unit too: their sums must not overflow */
            k[l]->quantize(x, N, y, LT_BLOCK_UNITS);
            const int bad = i / LT_UNIT;
            CHECK(!isfinite(y[bad].d) && !isfinite(y[bad].exponent), "%s: %g at %d was quantised away", k[l]->name, (double)x[i], i);
            CHECK(!memcmp(y[bad].q, none.q, sizeof none.q) && !y[bad].sum16[0] && !y[bad].sum16[1] && y[bad].dsum == 0.0f,
                  "%s: codes or sums beside %g at %d", k[l]->name, (double)x[i], i);
            for (int u = 0; u < N / LT_UNIT; u++)
                CHECK(u == bad || !memcmp(&y[u], &clean[u], offsetof(lt_q8_unit, sum_step)), "%s: unit %d changed with %d", k[l]->name, u,
                      i);
        }
}

/* Row operations on a row with one value that is not a number, or with squares beyond float32. */
static void test_rows_not_finite(void)
{
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    for (int l = 0; l < n_levels; l++)
        for (int i = 0; i < 33; i++) {
            float x[33] = {0}, ones[33], y[33];
            for (int j = 0; j < 33; j++)
                ones[j] = 1.0f;
            x[i] = NAN;
            k[l]->rms_norm(y, x, NULL, 33, 1e-5f);
            CHECK(isnan(y[0]) && isnan(y[32]), "%s: rms_norm hides NaN at %d", k[l]->name, i);
            k[l]->layer_norm(y, x, NULL, NULL, 33, 1e-5f);
            CHECK(isnan(y[0]) && isnan(y[32]), "%s: layer_norm hides NaN at %d", k[l]->name, i);
            for (int act = LT_ACT_NONE; act < LT_ACTS; act++) {
                k[l]->act(act, y, x, ones, 33);
                CHECK(isnan(y[i]), "%s: activation %d hides NaN at %d", k[l]->name, act, i);
                k[l]->act(act, y, ones, x, 33);
                CHECK(isnan(y[i]), "%s: activation %d hides NaN of its second factor at %d", k[l]->name, act, i);
            }
            memcpy(y, x, sizeof y);
            k[l]->clamp(y, 1.0f, 33);
            CHECK(isnan(y[i]), "%s: clamp hides NaN at %d", k[l]->name, i);
            memcpy(y, x, sizeof y);
            k[l]->cap(y, 1.0f, 33);
            CHECK(isnan(y[i]), "%s: cap hides NaN at %d", k[l]->name, i);
            x[i] = 1e25f;
            k[l]->rms_norm(y, x, NULL, 33, 1e-5f);
            CHECK(isnan(y[i]), "%s: rms_norm of squares beyond float32 is %g", k[l]->name, (double)y[i]);
        }
}

int main(void)
{
    test_rows();
    test_rows_not_finite();
    test_quantize();
    test_quantize_not_finite();
    test_to_bf16();
    return check_report("rows");
}
