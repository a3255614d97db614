/* test_recur.c - the loops of recurrent layers at every level of this machine: bit-equal to plain C, also when the rows come in two
 * pieces, and within a bound of float64. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "kernel_levels.h"

enum { MAX_ROWS = 40, MAX_WIDTH = 96, MAX_STATE = 96 * 96 };

static float small(void)
{
    return 0.25f * draw_float();
}

static void fill(float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = small();
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static void check_close(const char *what, const float *x, const double *expected, int n)
{
    double worst = 0;
    for (int i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)x[i] - expected[i]) / (1 + fabs(expected[i])));
    CHECK(worst < 2e-5, "%s: off by %g", what, worst);
}

/* ---- functions of one row ---- */

static void check_rowwise(const lt_kernels *k)
{
    float x[MAX_WIDTH], bias[MAX_WIDTH], a[MAX_WIDTH], y[4][MAX_WIDTH];
    double soft[MAX_WIDTH], sigmoid[MAX_WIDTH], decay[MAX_WIDTH], unit[MAX_WIDTH], squares = 0;
    const int n = 1 + (int)(draw() % MAX_WIDTH);
    for (int i = 0; i < n; i++) {
        x[i] = draw_float() * (i % 3 ? 1.0f : 20.0f), bias[i] = small(), a[i] = -fabsf(small());
        const double biased = (double)(x[i] + bias[i]);
        soft[i] = fmax(biased, 0) + log1p(exp(-fabs(biased)));
        sigmoid[i] = 1 / (1 + exp(-(double)x[i]));
        decay[i] = exp((double)a[i] * soft[i]);
        squares += (double)x[i] * (double)x[i];
    }
    for (int i = 0; i < n; i++)
        unit[i] = (double)x[i] * 0.5 / sqrt(squares + 1e-6);
    for (int i = 0; i < 4; i++)
        memcpy(y[i], x, sizeof x);
    k->softplus(y[0], bias, n);
    k->act(LT_SIGMOID, y[1], y[1], NULL, n);
    k->decay(y[2], bias, a, n);
    k->unit_length(y[3], n, 0.5f, 1e-6f);
    check_close("softplus", y[0], soft, n);
    check_close("sigmoid", y[1], sigmoid, n);
    check_close("decay", y[2], decay, n);
    check_close("unit length", y[3], unit, n);
    float bad[3] = {NAN, -200.0f, 200.0f};
    k->softplus(bad, NULL, 3);
    CHECK(isnan(bad[0]) && bad[1] == 0.0f && bad[2] == 200.0f, "%g %g %g", (double)bad[0], (double)bad[1], (double)bad[2]);
}

/* ---- one job at all levels, whole and in two pieces ---- */

typedef struct {
    int n_rows, cut, n_state;
    float in[6][MAX_ROWS][MAX_WIDTH], state[MAX_STATE], w[MAX_WIDTH * 16], bias[MAX_WIDTH];
} recurrence;

typedef struct {
    float y[MAX_ROWS][MAX_WIDTH], state[MAX_STATE];
} outcome;

typedef void (*run_rows)(const lt_kernels *k, const recurrence *r, int first, int n, outcome *o);

static lt_strip at(const void *base, int row)
{
    return (lt_strip){(float *)(uintptr_t)base + row * MAX_WIDTH, MAX_WIDTH};
}

static void make(recurrence *r)
{
    r->n_rows = 1 + (int)(draw() % MAX_ROWS);
    r->cut = (int)(draw() % (uint32_t)r->n_rows);
    fill(r->in[0][0], 6 * MAX_ROWS * MAX_WIDTH);
    fill(r->state, MAX_STATE);
    fill(r->w, MAX_WIDTH * 16);
    fill(r->bias, MAX_WIDTH);
}

static void check_levels(const char *what, const recurrence *r, run_rows run, outcome *plain)
{
    static outcome o;
    const lt_kernels *table[LEVELS];
    const int n = levels(table);
    memset(plain, 0, sizeof *plain);
    memcpy(plain->state, r->state, sizeof plain->state);
    run(table[0], r, 0, r->n_rows, plain);
    for (int i = 0; i < n; i++) {
        memset(&o, 0, sizeof o);
        memcpy(o.state, r->state, sizeof o.state);
        run(table[i], r, 0, r->cut, &o);
        run(table[i], r, r->cut, r->n_rows - r->cut, &o);
        CHECK(!memcmp(&o, plain, sizeof o), "%s: %s, %d rows cut at %d", what, table[i]->name, r->n_rows, r->cut);
    }
}

/* ---- convolution ---- */

static int n_taps, n_channels, is_silu, is_gated;

static void run_conv(const lt_kernels *k, const recurrence *r, int first, int n, outcome *o)
{
    k->conv(&(lt_conv_job){.w = r->w,
                           .bias = is_silu ? r->bias : NULL,
                           .state = o->state,
                           .state_stride = MAX_WIDTH,
                           .n_rows = n,
                           .n_taps = n_taps,
                           .n_channels = n_channels,
                           .silu = is_silu,
                           .x = at(r->in[0], first),
                           .before = is_gated ? at(r->in[1], first) : (lt_strip){0},
                           .after = is_gated ? at(r->in[2], first) : (lt_strip){0},
                           .y = at(o->y, first)});
}

static void check_conv(void)
{
    static recurrence r;
    static outcome o;
    make(&r);
    n_taps = 1 + (int)(draw() % LT_MAX_TAPS), n_channels = 1 + (int)(draw() % 16), is_silu = draw() % 2, is_gated = draw() % 2;
    check_levels("conv", &r, run_conv, &o);
    for (int t = 0; t < r.n_rows; t++) {
        double y[16];
        for (int c = 0; c < n_channels; c++) {
            y[c] = is_silu ? (double)r.bias[c] : 0;
            for (int i = 0; i < n_taps; i++) {
                const int from = t - n_taps + 1 + i;
                const double gate = is_gated && from >= 0 ? (double)r.in[1][from][c] : 1;
                y[c] += (double)r.w[c * n_taps + i] * gate *
                        (double)(from >= 0 ? r.in[0][from][c] : r.state[(n_taps - 1 + from) * MAX_WIDTH + c]);
            }
            y[c] = (is_silu ? silu(y[c]) : y[c]) * (is_gated ? (double)r.in[2][t][c] : 1);
        }
        check_close("conv", o.y[t], y, n_channels);
    }
}

/* ---- scan ---- */

static int n_state, each_head;

static void run_scan(const lt_kernels *k, const recurrence *r, int first, int n, outcome *o)
{
    k->scan(&(lt_scan_job){.a = r->w,
                           .d = r->bias,
                           .state = o->state,
                           .n_rows = n,
                           .n_channels = n_channels,
                           .n_state = n_state,
                           .each_head = each_head,
                           .x = at(r->in[0], first),
                           .b = at(r->in[1], first),
                           .c = at(r->in[2], first),
                           .dt = at(r->in[3], first),
                           .y = at(o->y, first)});
}

static void check_scan(void)
{
    static recurrence r;
    static outcome o;
    static double h[MAX_STATE];
    make(&r);
    n_channels = 1 + (int)(draw() % 16), n_state = draw() % 2 ? 16 : 1 + (int)(draw() % 80), each_head = draw() % 2;
    for (float *dt = r.in[3][0]; dt < r.in[4][0]; dt++)
        *dt = fabsf(*dt);
    for (int i = 0; i < 16 * n_state; i++)
        r.w[i] = -fabsf(r.w[i]);
    check_levels("scan", &r, run_scan, &o);
    for (int i = 0; i < n_state * 16; i++)
        h[i] = (double)r.state[i];
    for (int t = 0; t < r.n_rows; t++) {
        double y[16];
        for (int c = 0; c < n_channels; c++) {
            const double dt = (double)r.in[3][t][each_head ? c : 0], x = (double)r.in[0][t][c];
            y[c] = (double)r.bias[each_head ? c : 0] * x;
            for (int i = 0; i < n_state; i++) {
                double *s = &h[i * 16 + c];
                *s = *s * exp(dt * (double)r.w[each_head ? c * n_state + i : 0]) + dt * x * (double)r.in[1][t][i];
                y[c] += *s * (double)r.in[2][t][i];
            }
        }
        check_close("scan", o.y[t], y, n_channels);
    }
}

/* ---- delta rule ---- */

static int k_dim, n_columns;

static void run_delta(const lt_kernels *k, const recurrence *r, int first, int n, outcome *o)
{
    k->delta(&(lt_delta_job){.state = o->state,
                             .n_rows = n,
                             .k_dim = k_dim,
                             .n_columns = n_columns,
                             .q = at(r->in[0], first),
                             .k = at(r->in[1], first),
                             .v = at(r->in[2], first),
                             .beta = at(r->in[3], first),
                             .decay = at(r->in[4], first),
                             .y = at(o->y, first)});
}

static void check_delta(void)
{
    static recurrence r;
    static outcome o;
    static double s[MAX_WIDTH][16];
    make(&r);
    k_dim = 1 + (int)(draw() % MAX_WIDTH), n_columns = 1 + (int)(draw() % 16);
    for (int t = 0; t < r.n_rows; t++) {
        lt_kernels_ref.unit_length(r.in[1][t], k_dim, 1.0f, 1e-6f);
        r.in[3][t][0] = (float)(draw() % 1000) / 1000.0f, r.in[4][t][0] = (float)(draw() % 1000) / 1000.0f;
    }
    check_levels("delta", &r, run_delta, &o);
    for (int i = 0; i < k_dim * 16; i++)
        s[i / 16][i % 16] = (double)r.state[i];
    for (int t = 0; t < r.n_rows; t++) {
        double y[16] = {0};
        for (int c = 0; c < n_columns; c++) {
            double held = 0;
            for (int i = 0; i < k_dim; i++)
                held += (s[i][c] *= (double)r.in[4][t][0]) * (double)r.in[1][t][i];
            const double d = ((double)r.in[2][t][c] - held) * (double)r.in[3][t][0];
            for (int i = 0; i < k_dim; i++)
                y[c] += (s[i][c] += (double)r.in[1][t][i] * d) * (double)r.in[0][t][i];
        }
        check_close("delta", o.y[t], y, n_columns);
    }
}

int main(void)
{
    const lt_kernels *table[LEVELS];
    const int n = levels(table);
    for (int i = 0; i < 100; i++)
        check_rowwise(table[i % n]);
    for (int i = 0; i < 60; i++) {
        check_conv();
        check_scan();
        check_delta();
    }
    return check_report("recur");
}
