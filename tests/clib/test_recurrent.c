/* test_recurrent.c - the operations of recurrent layers on sequences: the same bits and states in any company, in any chunks, on any
 * number of threads; copies of states where they are wanted; and within a bound of float64. */
#include "backend_rig.h"
#include "cpu/states.h"

enum { N_SEQS = 3, N_TOKENS = 24, N_SLOTS = 8, WIDTH = 288, LAYER = 1, STATE = 9000 };
enum { HEADS = 4, K_HEADS = 2, K_DIM = 20, V_DIM = 24, TAPS = 4 }; /* dimensions that end within sixteen lanes */
enum { Q = 0, K = Q + K_HEADS * K_DIM, V = K + K_HEADS * K_DIM, QKV = V + HEADS * V_DIM, STEPS = QKV };

typedef struct {
    float w[WIDTH * TAPS], bias[WIDTH], a[WIDTH * 8], d[WIDTH], norm[WIDTH], x[N_SEQS][N_TOKENS][WIDTH];
} sample;

typedef struct {
    rig rig;
    lt_buffer *x, *z;
    lt_conv conv;
    lt_scan scan;
    lt_delta delta;
    lt_gate gate;
    int kind; /* of the operations after the convolution: 0 scan of channels, with a value of a for each state; 1 of heads; 2, 3 delta */
} bench;

static lt_slice at(lt_buffer *b, int64_t column)
{
    return (lt_slice){b, column};
}

static void fill_ops(bench *b, const sample *s)
{
    rig *r = &b->rig;
    const lt_weight *a = rig_vector(r, s->a, WIDTH * 8), *bias = rig_vector(r, s->bias, WIDTH);
    b->conv = (lt_conv){.layer = LAYER,
                        .n_taps = TAPS,
                        .n_channels = QKV,
                        .w = rig_vector(r, s->w, WIDTH * TAPS),
                        .bias = bias,
                        .silu = true,
                        .x = at(b->x, 0),
                        .y = at(b->x, 0)};
    const int64_t state_at = (TAPS - 1) * QKV;
    b->scan = (lt_scan){.layer = LAYER,
                        .n_head = b->kind ? HEADS : HEADS * V_DIM,
                        .head_dim = b->kind ? V_DIM : 1,
                        .n_state = K_DIM,
                        .n_group = b->kind ? K_HEADS : 1,
                        .state_at = state_at,
                        .a_per_state = b->kind == 0,
                        .a = a,
                        .d = rig_vector(r, s->d, WIDTH),
                        .dt_bias = bias,
                        .x = at(b->x, V),
                        .b = at(b->x, Q),
                        .c = at(b->x, K),
                        .dt = at(b->x, STEPS),
                        .y = at(b->x, V)};
    b->delta = (lt_delta){.layer = LAYER,
                          .n_head = HEADS,
                          .n_head_k = K_HEADS,
                          .k_dim = K_DIM,
                          .v_dim = V_DIM,
                          .state_at = state_at,
                          .tiled = b->kind == 3,
                          .run = b->kind == 3 ? HEADS : 2,
                          .step = 4,
                          .eps = 1e-6f,
                          .a = a,
                          .dt_bias = bias,
                          .q = at(b->x, Q),
                          .k = at(b->x, K),
                          .v = at(b->x, V),
                          .y = at(b->x, V),
                          .beta = at(b->x, STEPS),
                          .alpha = at(b->x, STEPS + (b->kind == 3 ? HEADS : 2))};
    b->gate = (lt_gate){.n = HEADS * V_DIM,
                        .group = V_DIM,
                        .order = b->kind % 2 ? LT_GATE_THEN_NORM : LT_NORM_THEN_GATE,
                        .norm = rig_vector(r, s->norm, WIDTH),
                        .norm_step = b->kind % 2 ? V_DIM : 0,
                        .eps = 1e-5f,
                        .x = at(b->x, V),
                        .z = at(b->z, 0),
                        .y = at(b->z, 0)};
}

static void bench_create(bench *b, const sample *s, int kind, int32_t n_threads, const lt_kernels *k)
{
    const lt_layer_shape layers[] = {{.n_state = 5}, {.n_state = STATE}};
    const lt_kv_shape shape = {.layers = layers, .n_layers = 2, .page_tokens = 64, .n_pages = 1, .max_pages = 1, .n_states = N_SLOTS};
    b->kind = kind;
    rig_create(&b->rig, n_threads, N_SEQS * N_TOKENS, k);
    b->x = rig_buffer(&b->rig, WIDTH);
    b->z = rig_buffer(&b->rig, WIDTH);
    fill_ops(b, s);
    CHECK(b->rig.be->ops->ready(b->rig.be, &shape, NULL, 0) == LT_OK, "%s", lt_last_error());
}

/* A step of the spans; the rows' outputs go to y[sequence][token]. */
static void step(bench *b, const sample *s, lt_span *spans, const int *seq, int n, float y[N_SEQS][N_TOKENS][WIDTH])
{
    const lt_ops *op = b->rig.be->ops;
    int32_t n_rows = 0;
    for (int i = 0; i < n; i++) {
        spans[i].first_row = n_rows;
        for (int32_t t = 0; t < spans[i].n_rows; t++, n_rows++) {
            memcpy(b->x->data + n_rows * b->x->stride, s->x[seq[i]][spans[i].first_position + t], sizeof s->x[0][0]);
            memcpy(b->z->data + n_rows * b->z->stride, s->x[seq[i]][spans[i].first_position + t] + 8, (WIDTH - 8) * sizeof(float));
        }
    }
    b->rig.batch = (lt_batch){.n_rows = n_rows, .n_spans = n, .n_threads = lt_pool_size(b->rig.pool), .spans = spans};
    op->begin(b->rig.be, &b->rig.batch);
    op->conv(b->rig.be, &b->conv);
    if (b->kind < 2)
        op->scan(b->rig.be, &b->scan);
    else
        op->delta(b->rig.be, &b->delta);
    op->gate(b->rig.be, &b->gate);
    for (int i = 0; i < n; i++)
        for (int32_t t = 0; t < spans[i].n_rows; t++)
            memcpy(y[seq[i]][spans[i].first_position + t], op->read(b->rig.be, b->z, spans[i].first_row + t),
                   HEADS * V_DIM * sizeof(float));
}

/* ---- the plain statement, of one sequence ---- */

static double soft(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static void plain_conv(const sample *s, int seq, int t, double *y)
{
    for (int c = 0; c < QKV; c++) {
        y[c] = (double)s->bias[c];
        for (int i = 0; i < TAPS; i++)
            y[c] += t - TAPS + 1 + i < 0 ? 0 : (double)s->w[c * TAPS + i] * (double)s->x[seq][t - TAPS + 1 + i][c];
        y[c] /= 1 + exp(-y[c]);
    }
}

static void plain_scan(const sample *s, const float *x, const double *in, int per_state, double h[HEADS * V_DIM][K_DIM], double *y)
{
    for (int c = 0; c < HEADS * V_DIM; c++) {
        const int head = per_state ? c : c / V_DIM, group = per_state ? 0 : head / (HEADS / K_HEADS);
        const double dt = soft((double)(x[STEPS + head] + s->bias[head]));
        y[c] = (double)s->d[head] * in[V + c];
        for (int i = 0; i < K_DIM; i++) {
            const double a = (double)s->a[per_state ? head * K_DIM + i : head];
            h[c][i] = h[c][i] * exp(dt * a) + dt * in[V + c] * in[Q + group * K_DIM + i];
            y[c] += h[c][i] * in[K + group * K_DIM + i];
        }
    }
}

static void plain_delta(const sample *s, const float *x, const double *in, int tiled, double h[HEADS * V_DIM][K_DIM], double *y)
{
    for (int c = 0; c < HEADS * V_DIM; c++) {
        const int head = c / V_DIM, k_head = tiled ? head % K_HEADS : head / (HEADS / K_HEADS),
                  place = tiled ? head : head / 2 * 4 + head % 2;
        const double *q = in + Q + k_head * K_DIM, *k = in + K + k_head * K_DIM;
        const double beta = 1 / (1 + exp(-(double)x[STEPS + place])), alpha = (double)x[STEPS + place + (tiled ? HEADS : 2)];
        const double kept = exp((double)s->a[head] * soft(alpha + (double)s->bias[head]));
        double qq = 1e-6, kk = 1e-6, held = 0;
        for (int i = 0; i < K_DIM; i++)
            qq += q[i] * q[i], kk += k[i] * k[i];
        for (int i = 0; i < K_DIM; i++)
            held += (h[c][i] *= kept) * k[i] / sqrt(kk);
        y[c] = 0;
        for (int i = 0; i < K_DIM; i++)
            y[c] += (h[c][i] += k[i] / sqrt(kk) * (in[V + c] - held) * beta) * q[i] / sqrt(qq * K_DIM);
    }
}

static void plain_gate(const sample *s, const float *x, int kind, double *y)
{
    for (int g = 0; g < HEADS; g++) {
        double squares = 0, *part = y + g * V_DIM;
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i < V_DIM; i++) {
                const double z = (double)x[8 + g * V_DIM + i], gate = z / (1 + exp(-z));
                if (pass == 0 && kind % 2)
                    part[i] *= gate;
                if (pass == 0)
                    squares += part[i] * part[i];
                else
                    part[i] *= (double)s->norm[kind % 2 ? g * V_DIM + i : i] / sqrt(squares / V_DIM + 1e-5) * (kind % 2 ? 1 : gate);
            }
    }
}

static void check_values(const sample *s, int kind, float y[N_SEQS][N_TOKENS][WIDTH])
{
    double worst = 0;
    for (int seq = 0; seq < N_SEQS; seq++) {
        double h[HEADS * V_DIM][K_DIM] = {0};
        for (int t = 0; t < N_TOKENS; t++) {
            double in[QKV], out[HEADS * V_DIM];
            plain_conv(s, seq, t, in);
            if (kind < 2)
                plain_scan(s, s->x[seq][t], in, kind == 0, h, out);
            else
                plain_delta(s, s->x[seq][t], in, kind == 3, h, out);
            plain_gate(s, s->x[seq][t], kind, out);
            for (int i = 0; i < HEADS * V_DIM; i++)
                worst = fmax(worst, fabs((double)y[seq][t][i] - out[i]) / (1 + fabs(out[i])));
        }
    }
    CHECK(worst < 1e-4, "kind %d: off by %g", kind, worst);
}

/* ---- company, chunks, threads, copies ---- */

static void all_at_once(bench *b, const sample *s, float y[N_SEQS][N_TOKENS][WIDTH])
{
    lt_span spans[N_SEQS];
    int seq[N_SEQS];
    for (int i = 0; i < N_SEQS; i++) {
        b->rig.be->ops->clear_state(b->rig.be, i);
        spans[i] = (lt_span){.n_rows = N_TOKENS, .state = i};
        seq[i] = i;
    }
    step(b, s, spans, seq, N_SEQS, y);
}

/* Each sequence in chunks of its own, beside others or not, in slots of their own. */
static void in_chunks(bench *b, const sample *s, float y[N_SEQS][N_TOKENS][WIDTH])
{
    int32_t done[N_SEQS] = {0};
    for (int i = 0; i < N_SEQS; i++)
        b->rig.be->ops->clear_state(b->rig.be, 4 + i);
    while (done[0] + done[1] + done[2] < N_SEQS * N_TOKENS) {
        lt_span spans[N_SEQS];
        int seq[N_SEQS], n = 0;
        for (int i = N_SEQS - 1; i >= 0; i--) {
            const int32_t left = N_TOKENS - done[i], rows = left ? 1 + (int32_t)(draw() % (uint32_t)left) : 0;
            if (!rows || draw() % 3 == 0)
                continue;
            spans[n] = (lt_span){.n_rows = rows, .first_position = done[i], .state = 4 + i};
            seq[n++] = i;
            done[i] += rows;
        }
        if (n)
            step(b, s, spans, seq, n, y);
    }
}

/* Copies made on the way are what a sequence that goes on from there would have had. */
static void from_copies(bench *b, const sample *s, float expected[N_SEQS][N_TOKENS][WIDTH])
{
    static float y[N_SEQS][N_TOKENS][WIDTH];
    const lt_ops *op = b->rig.be->ops;
    op->clear_state(b->rig.be, 0);
    lt_span span = {.n_rows = N_TOKENS, .state = 0, .n_saves = 3, .saves = {{5, 3}, {6, 7}, {N_TOKENS, 2}}};
    step(b, s, &span, (int[]){0}, 1, y);
    CHECK(!memcmp(y[0], expected[0], sizeof y[0]), "copies change what is computed");
    CHECK(!memcmp(lt_cpu_state(cpu_of(b->rig.be), 0, 1), lt_cpu_state(cpu_of(b->rig.be), 2, 1), STATE * sizeof(float)), "the last state");
    for (int i = 0; i < 2; i++) {
        const int32_t from = span.saves[i].n_rows;
        op->copy_state(b->rig.be, span.saves[i].slot, 1);
        memset(y, 0, sizeof y);
        step(b, s, &(lt_span){.n_rows = N_TOKENS - from, .first_position = from, .state = 1}, (int[]){0}, 1, y);
        CHECK(!memcmp(y[0][from], expected[0][from], (size_t)(N_TOKENS - from) * sizeof y[0][0]), "from the copy behind %d", from);
    }
}

static void test_kind(int kind)
{
    static sample s;
    static float expected[N_SEQS][N_TOKENS][WIDTH], y[N_SEQS][N_TOKENS][WIDTH];
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    fill(s.w, WIDTH * TAPS, 1.0f);
    fill(s.bias, WIDTH, 0.5f);
    fill(s.d, WIDTH, 1.0f);
    fill(s.norm, WIDTH, 2.0f);
    fill(s.x[0][0], N_SEQS * N_TOKENS * WIDTH, 4.0f);
    for (int i = 0; i < WIDTH * 8; i++)
        s.a[i] = -(float)(1 + draw() % 100) / 50.0f;
    memset(expected, 0, sizeof expected);
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        bench b;
        bench_create(&b, &s, kind, n_threads, k[n_threads % n_levels]);
        memset(y, 0, sizeof y);
        all_at_once(&b, &s, n_threads == 1 ? expected : y);
        CHECK(n_threads == 1 || !memcmp(y, expected, sizeof y), "kind %d: %d threads", kind, n_threads);
        for (int i = 0; i < 4; i++) {
            memset(y, 0, sizeof y);
            in_chunks(&b, &s, y);
            CHECK(!memcmp(y, expected, sizeof y), "kind %d: in chunks", kind);
        }
        from_copies(&b, &s, expected);
        rig_destroy(&b.rig);
    }
    check_values(&s, kind, expected);
}

int main(void)
{
    for (int kind = 0; kind < 4; kind++)
        test_kind(kind);
    return check_report("recurrent");
}
