/* recur_tmpl.h - recurrent layers, row by row: convolution, selective scan, delta rule.  After rows_tmpl.h.
 *
 * A state is read and written in memory at each row, so it does not matter where a run of rows is cut in two. */

/* ln(1 + e^x) = max(x, 0) + ln(1 + u), u = e^-|x|; ln(1 + u) = 2 atanh(s), s = u / (2 + u) <= 1/3, as its series. */
static inline vf vf_softplus(vf x)
{
    const vf zero = vf_set1(0.0f), minus = vf_sub(zero, x);
    const vf u = vf_exp(vf_sub(zero, vf_max(minus, x)));
    const vf s = vf_div(u, vf_add(vf_set1(2.0f), u)), s2 = vf_mul(s, s);
    vf p = vf_set1(2.0f / 17);
    for (int n = 15; n >= 1; n -= 2)
        p = vf_fma(p, s2, vf_set1(2.0f / (float)n));
    return vf_fma(p, s, vf_max(zero, x)); /* NaN for NaN: vf_max gives its second operand then */
}

static void softplus(float *x, const float *bias, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        vf v = load_part(x + i, n - i);
        store_part(x + i, n - i, vf_softplus(bias ? vf_add(v, load_part(bias + i, n - i)) : v));
    }
}

/* e^(a * softplus(x + bias)) */
static void decay(float *x, const float *bias, const float *a, int64_t n)
{
    softplus(x, bias, n);
    for (int64_t i = 0; i < n; i += 16)
        store_part(x + i, n - i, vf_exp(vf_mul(load_part(x + i, n - i), load_part(a + i, n - i))));
}

/* x * scale / |x| */
static void unit_length(float *x, int64_t n, float scale, float eps)
{
    vf squares = vf_set1(0.0f);
    for (int64_t i = 0; i < n; i += 16) {
        vf v = load_part(x + i, n - i);
        squares = vf_fma(v, v, squares);
    }
    const float sum = vf_sum(squares);
    const vf factor = vf_set1(sum < INFINITY ? scale / sqrtf(sum + eps) : NAN);
    for (int64_t i = 0; i < n; i += 16)
        store_part(x + i, n - i, vf_mul(load_part(x + i, n - i), factor));
}

static void conv(const lt_conv_job *job)
{
    const int32_t n = job->n_channels, last = job->n_taps - 1;
    float tap[16] = {0};
    vf w[LT_MAX_TAPS], before[LT_MAX_TAPS];
    for (int32_t t = 0; t <= last; t++) {
        for (int32_t c = 0; c < n; c++)
            tap[c] = job->w[c * job->n_taps + t];
        w[t] = vf_load(tap);
        if (t < last)
            before[t] = load_part(job->state + t * job->state_stride, n);
    }
    const vf bias = job->bias ? load_part(job->bias, n) : vf_set1(0.0f);
    for (int32_t r = 0; r < job->n_rows; r++) {
        vf x = load_part(job->x.p + r * job->x.stride, n), y = bias;
        if (job->before.p)
            x = vf_mul(x, load_part(job->before.p + r * job->before.stride, n));
        for (int32_t t = 0; t < last; t++)
            y = vf_fma(w[t], before[t], y);
        y = vf_fma(w[last], x, y);
        for (int32_t t = 1; t < last; t++)
            before[t - 1] = before[t];
        if (last)
            before[last - 1] = x;
        if (job->silu)
            y = times_sigmoid(y, y);
        if (job->after.p)
            y = vf_mul(y, load_part(job->after.p + r * job->after.stride, n));
        store_part(job->y.p + r * job->y.stride, n, y);
    }
    for (int32_t t = 0; t < last; t++)
        store_part(job->state + t * job->state_stride, n, before[t]);
}

/* Sums over a state run in four, by i mod 4: one would wait for itself. */
static inline vf four_sums(const vf sum[4])
{
    return vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3]));
}

typedef struct { /* a row, as its channels see it */
    const float *b, *c, *a; /* a: [n_state][16], NULL: one decay for all */
    vf dt, decay, input;
} scan_row;

static inline vf scan_cell(float *h, const scan_row *row, int32_t i, vf sum) /* H = H * decay + input * B; C.H */
{
    const vf decay_i = row->a ? vf_exp(vf_mul(row->dt, vf_load(row->a + i * 16))) : row->decay;
    const vf s = vf_fma(vf_load(h + i * 16), decay_i, vf_mul(row->input, vf_set1(row->b[i])));
    vf_store(h + i * 16, s);
    return vf_fma(s, vf_set1(row->c[i]), sum);
}

static inline vf scan_state(float *h, const scan_row *row, int32_t n)
{
    vf sum[4] = {vf_set1(0.0f), vf_set1(0.0f), vf_set1(0.0f), vf_set1(0.0f)};
    int32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int32_t j = 0; j < 4; j++)
            sum[j] = scan_cell(h, row, i + j, sum[j]);
    for (; i < n; i++)
        sum[i % 4] = scan_cell(h, row, i, sum[i % 4]);
    return four_sums(sum);
}

static void scan(const lt_scan_job *job)
{
    const int32_t n = job->n_channels, each = job->each_head;
    float a[LT_MAX_SCAN_STATE * 16]; /* turned round: of all channels for a state */
    for (int32_t i = 0; each && i < job->n_state; i++)
        for (int32_t c = 0; c < 16; c++)
            a[i * 16 + c] = c < n ? job->a[c * job->n_state + i] : 0.0f;
    const vf d = each ? load_part(job->d, n) : vf_set1(job->d[0]);
    scan_row row = {.a = each ? a : NULL, .decay = vf_set1(0.0f)};
    for (int32_t r = 0; r < job->n_rows; r++) {
        const float *dt = job->dt.p + r * job->dt.stride;
        const vf x = load_part(job->x.p + r * job->x.stride, n);
        row.b = job->b.p + r * job->b.stride;
        row.c = job->c.p + r * job->c.stride;
        row.dt = each ? load_part(dt, n) : vf_set1(dt[0]);
        row.input = vf_mul(row.dt, x);
        if (!each)
            row.decay = vf_exp(vf_mul(row.dt, vf_set1(job->a[0])));
        store_part(job->y.p + r * job->y.stride, n, vf_fma(d, x, scan_state(job->state, &row, job->n_state)));
    }
}

static inline vf forget_cell(float *state, const float *k, vf kept, int32_t i, vf sum)
{
    const vf s = vf_mul(vf_load(state + i * 16), kept);
    vf_store(state + i * 16, s);
    return vf_fma(vf_set1(k[i]), s, sum);
}

static inline vf delta_forget(float *state, const float *k, vf kept, int32_t n) /* S = S * kept; S'k */
{
    vf sum[4] = {vf_set1(0.0f), vf_set1(0.0f), vf_set1(0.0f), vf_set1(0.0f)};
    int32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int32_t j = 0; j < 4; j++)
            sum[j] = forget_cell(state, k, kept, i + j, sum[j]);
    for (; i < n; i++)
        sum[i % 4] = forget_cell(state, k, kept, i, sum[i % 4]);
    return four_sums(sum);
}

static inline vf learn_cell(float *state, const float *k, const float *q, vf d, int32_t i, vf sum)
{
    const vf s = vf_fma(vf_set1(k[i]), d, vf_load(state + i * 16));
    vf_store(state + i * 16, s);
    return vf_fma(vf_set1(q[i]), s, sum);
}

static inline vf delta_learn(float *state, const float *k, const float *q, vf d, int32_t n) /* S += k (x) d; S'q */
{
    vf sum[4] = {vf_set1(0.0f), vf_set1(0.0f), vf_set1(0.0f), vf_set1(0.0f)};
    int32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int32_t j = 0; j < 4; j++)
            sum[j] = learn_cell(state, k, q, d, i + j, sum[j]);
    for (; i < n; i++)
        sum[i % 4] = learn_cell(state, k, q, d, i, sum[i % 4]);
    return four_sums(sum);
}

static void delta(const lt_delta_job *job)
{
    for (int32_t r = 0; r < job->n_rows; r++) {
        const float *k = job->k.p + r * job->k.stride, *q = job->q.p + r * job->q.stride;
        const vf v = load_part(job->v.p + r * job->v.stride, job->n_columns);
        const vf held = delta_forget(job->state, k, vf_set1(job->decay.p[r * job->decay.stride]), job->k_dim);
        const vf d = vf_mul(vf_sub(v, held), vf_set1(job->beta.p[r * job->beta.stride]));
        store_part(job->y.p + r * job->y.stride, job->n_columns, delta_learn(job->state, k, q, d, job->k_dim));
    }
}
