/* rows_tmpl.h - what happens to one activation row: norm, gate, quantisation.  Sums by 16 lanes, then the one tree. */

/* e^x in float32 to about 2 ulp for x at most 88: 2^n * p(r), |r| <= ln2/2; 0 below -87.3, NaN for NaN (vf_max gives its second
 * operand then).
 * Coefficients: minimax of degree 6 on that interval in the usual Cody-Waite scheme (ln2 in two parts). */
static inline vf vf_exp_small(vf x)
{
    vf clamped = vf_max(vf_set1(-87.3f), x);
    vi n = vi_round(vf_mul(clamped, vf_set1(1.44269504f)));
    vf fn = vf_from_vi(n);
    vf r = vf_fma(fn, vf_set1(-0.693359375f), clamped);
    r = vf_fma(fn, vf_set1(2.12194440e-4f), r);
    vf p = vf_set1(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set1(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set1(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set1(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set1(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set1(5.0000001201e-1f));
    p = vf_add(vf_fma(vf_mul(p, r), r, r), vf_set1(1.0f));
    return vf_zero_below(vf_times_power2(p, n), x, -87.3f);
}

/* Saturated above 88. */
static inline vf vf_exp(vf x)
{
    return vf_exp_small(vf_sub(vf_set1(0.0f), vf_max(vf_set1(-88.0f), vf_sub(vf_set1(0.0f), x))));
}

/* Up to 16 floats; lanes beyond n are zero. */
static inline vf load_part(const float *p, int64_t n)
{
    if (n >= 16)
        return vf_load(p);
    float t[16] = {0};
    for (int64_t i = 0; i < n; i++)
        t[i] = p[i];
    return vf_load(t);
}
static inline void store_part(float *p, int64_t n, vf a)
{
    if (n >= 16) {
        vf_store(p, a);
        return;
    }
    float t[16];
    vf_store(t, a);
    for (int64_t i = 0; i < n; i++)
        p[i] = t[i];
}

/* Squares that overflow make the row NaN, not a plausible zero. */
static void rms_norm(float *y, const float *x, const float *weight, int64_t n, float eps)
{
    vf squares = vf_set1(0.0f);
    for (int64_t i = 0; i < n; i += 16) {
        vf v = load_part(x + i, n - i);
        squares = vf_fma(v, v, squares);
    }
    const float sum = vf_sum(squares);
    vf scale = vf_set1(sum < INFINITY ? 1.0f / sqrtf(sum / (float)n + eps) : NAN);
    for (int64_t i = 0; i < n; i += 16) {
        vf v = vf_mul(load_part(x + i, n - i), scale);
        store_part(y + i, n - i, weight ? vf_mul(v, load_part(weight + i, n - i)) : v);
    }
}

/* Mean and deviation in two passes, as rms_norm sums. */
static void layer_norm(float *y, const float *x, const float *weight, const float *bias, int64_t n, float eps)
{
    vf sum = vf_set1(0.0f), squares = vf_set1(0.0f);
    for (int64_t i = 0; i < n; i += 16)
        sum = vf_add(sum, load_part(x + i, n - i));
    const float mean = vf_sum(sum) / (float)n;
    for (int64_t i = 0; i < n; i += 16) {
        float part[16] = {0};
        store_part(part, n - i, vf_sub(load_part(x + i, n - i), vf_set1(mean))); /* lanes beyond n do not count */
        const vf v = vf_load(part);
        squares = vf_fma(v, v, squares);
    }
    const float total = vf_sum(squares);
    const vf scale = vf_set1(total < INFINITY ? 1.0f / sqrtf(total / (float)n + eps) : NAN);
    for (int64_t i = 0; i < n; i += 16) {
        vf v = vf_mul(vf_sub(load_part(x + i, n - i), vf_set1(mean)), scale);
        if (weight)
            v = vf_mul(v, load_part(weight + i, n - i));
        store_part(y + i, n - i, bias ? vf_add(v, load_part(bias + i, n - i)) : v);
    }
}

static void add_row(float *y, const float *x, float scale, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16)
        store_part(y + i, n - i, vf_fma(load_part(x + i, n - i), vf_set1(scale), load_part(y + i, n - i)));
}

static void scale_row(float *y, float scale, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16)
        store_part(y + i, n - i, vf_mul(load_part(y + i, n - i), vf_set1(scale)));
}

/* Below, what might be NaN is the second operand of vf_max, which is its result then. */
static inline vf vf_negative(vf a)
{
    return vf_sub(vf_set1(0.0f), a);
}
static inline vf at_most(float limit, vf a)
{
    return vf_negative(vf_max(vf_set1(-limit), vf_negative(a)));
}
static inline vf within(float limit, vf a)
{
    return at_most(limit, vf_max(vf_set1(-limit), a));
}

static void clamp_row(float *y, float limit, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16)
        store_part(y + i, n - i, within(limit, load_part(y + i, n - i)));
}

/* cap * tanh(x / cap), tanh(z) = 1 - 2 / (e^(2z) + 1) */
static inline vf soft_cap(vf x, float cap)
{
    const vf e = vf_exp(vf_mul(x, vf_set1(2.0f / cap)));
    return vf_mul(vf_set1(cap), vf_sub(vf_set1(1.0f), vf_div(vf_set1(2.0f), vf_add(e, vf_set1(1.0f)))));
}

static void cap_row(float *y, float cap, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16)
        store_part(y + i, n - i, soft_cap(load_part(y + i, n - i), cap));
}

/* g * sigmoid(s * g'): silu has g' = g; the tanh form of gelu is the same with g' = 2*sqrt(2/pi)*(g + 0.044715 g^3). */
static inline vf times_sigmoid(vf g, vf z)
{
    return vf_div(g, vf_add(vf_set1(1.0f), vf_exp(vf_negative(z))));
}

/* g/2 * (1 + erf(g/sqrt 2)) = g/2 + |g| * (1/2 - h), where 2h is the complement of erf for |g| (Abramowitz and Stegun 7.1.26, 1.5e-7). */
static inline vf gelu_erf(vf g)
{
    const vf size = vf_max(vf_negative(g), g), z = vf_mul(size, vf_set1(0.70710678f));
    const vf t = vf_div(vf_set1(1.0f), vf_fma(z, vf_set1(0.3275911f), vf_set1(1.0f)));
    vf p = vf_set1(1.061405429f);
    p = vf_fma(p, t, vf_set1(-1.453152027f));
    p = vf_fma(p, t, vf_set1(1.421413741f));
    p = vf_fma(p, t, vf_set1(-0.284496736f));
    p = vf_fma(p, t, vf_set1(0.254829592f));
    const vf h = vf_mul(vf_mul(vf_mul(p, t), vf_exp(vf_negative(vf_mul(z, z)))), vf_set1(0.5f));
    return vf_fma(size, vf_sub(vf_set1(0.5f), h), vf_mul(g, vf_set1(0.5f)));
}

INLINE vf act_of(const int act, vf g)
{
    switch (act) {
    case LT_SILU: return times_sigmoid(g, g);
    case LT_GELU: return times_sigmoid(g, vf_mul(g, vf_fma(vf_mul(g, g), vf_set1(1.59576912f * 0.044715f), vf_set1(1.59576912f))));
    case LT_GELU_ERF: return gelu_erf(g);
    case LT_RELU: return vf_max(vf_set1(0.0f), g);
    case LT_RELU2: return vf_mul(vf_max(vf_set1(0.0f), g), vf_max(vf_set1(0.0f), g));
    case LT_SIGMOID: return times_sigmoid(vf_set1(1.0f), g);
    case LT_SWIGLU_OAI: return times_sigmoid(at_most(7.0f, g), vf_mul(at_most(7.0f, g), vf_set1(1.702f)));
    default: return g;
    }
}

INLINE void act_loop(const int act, float *y, const float *x, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        vf v = act_of(act, load_part(x + i, n - i));
        if (up) {
            const vf u = load_part(up + i, n - i);
            v = vf_mul(v, act == LT_SWIGLU_OAI ? vf_add(within(7.0f, u), vf_set1(1.0f)) : u);
        }
        store_part(y + i, n - i, v);
    }
}

static void act_row(int act, float *y, const float *x, const float *up, int64_t n)
{
    switch (act) {
    case LT_SILU: act_loop(LT_SILU, y, x, up, n); break;
    case LT_GELU: act_loop(LT_GELU, y, x, up, n); break;
    case LT_GELU_ERF: act_loop(LT_GELU_ERF, y, x, up, n); break;
    case LT_RELU: act_loop(LT_RELU, y, x, up, n); break;
    case LT_RELU2: act_loop(LT_RELU2, y, x, up, n); break;
    case LT_SIGMOID: act_loop(LT_SIGMOID, y, x, up, n); break;
    case LT_SWIGLU_OAI: act_loop(LT_SWIGLU_OAI, y, x, up, n); break;
    default: act_loop(LT_ACT_NONE, y, x, up, n);
    }
}

static void softmax(float *x, int64_t n)
{
    float largest = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    vf sum = vf_set1(0.0f);
    for (int64_t i = 0; i < n; i += 16) {
        store_part(x + i, n - i, vf_exp(vf_sub(load_part(x + i, n - i), vf_set1(largest))));
        sum = vf_add(sum, load_part(x + i, n - i));
    }
    scale_row(x, 1.0f / vf_sum(sum), n);
}

/* Plain loops: without contraction the compiler's vectors round as the scalars do. */
static void rope(float *x, const float *cosine, const float *sine, int64_t n_rot, int adjacent)
{
    const int64_t half = n_rot / 2;
    if (adjacent) {
        for (int64_t i = 0; i < half; i++) {
            float a = x[2 * i], b = x[2 * i + 1];
            x[2 * i] = a * cosine[i] - b * sine[i];
            x[2 * i + 1] = b * cosine[i] + a * sine[i];
        }
        return;
    }
    float *restrict low = x, *restrict high = x + half;
    for (int64_t i = 0; i < half; i++) {
        float a = low[i], b = high[i];
        low[i] = a * cosine[i] - b * sine[i];
        high[i] = b * cosine[i] + a * sine[i];
    }
}

static void to_half(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        vf_store_f16(y + i, vf_load(x + i));
    if (i < n) {
        uint16_t t[16];
        vf_store_f16(t, load_part(x + i, n - i));
        memcpy(y + i, t, (size_t)(n - i) * sizeof *t);
    }
}

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* What is computed for all units of a block at once: plain loops over the lanes of one vector, without branches, which the compiler
 * is not to unroll before it has made vectors of them.  Arrays of units have lanes to spare. */
#define LANES(i) _Pragma("GCC unroll 1") for (int i = 0; i < 16; i++)

typedef struct {
    float d[16], exponent[16]; /* as in lt_q8_unit */
    int32_t step[16];
    float finite[16];  /* d, or 0 */
    float inverse[16]; /* 1 / d, or 0 */
} unit_scales;

static inline uint32_t mask_if(bool condition) { return 0 - (uint32_t)condition; }
static inline uint32_t choose(uint32_t mask, uint32_t yes, uint32_t no) { return (yes & mask) | (no & ~mask); }

/* From the largest magnitude of each unit, as its bits: d = max|x| / 127, rounded up to three significant bits.  Zero when nearly
 * nothing is there, as 1/d would overflow.  When a value is not finite, d and exponent say so, and codes and sums are to be zero. */
static inline void find_scales(vi magnitude, unit_scales *u)
{
    float largest[16];
    vf_store(largest, vf_of_bits(magnitude)); /* NaN when any value is */
    const uint32_t below = (1u << 21) - 1;
    LANES(i) {
        const float scale = largest[i] / 127.0f, up = float_of((bits_of(scale) + below) & ~below);
        const uint32_t bits = bits_of(up), zero = mask_if(scale < 1e-35f), finite = mask_if(scale < INFINITY), usual = finite & ~zero;
        u->d[i] = float_of(choose(finite, bits, bits_of(scale)) & ~zero);
        u->exponent[i] = float_of(choose(zero, bits_of(-INFINITY), choose(finite, bits_of((float)((int32_t)(bits >> 23) - 127)), bits_of(scale))));
        u->step[i] = (int32_t)(usual & bits >> 21 & 3);
        u->finite[i] = float_of(usual & bits);
        u->inverse[i] = float_of(usual & bits_of(1.0f / up));
    }
}

typedef struct { /* in steps of one size */
    float step;
    int16_t first[16], second[16], unit[16];
} step_sums;

/* d times the sums of each unit's halves, and of the whole unit, in steps of one size, a power of two for which none is above 2^14.
 * What is not finite has sums of 0: its unit's scale says it already.  Sums too large for a float make the step infinite. */
static inline void block_steps(vf first, vf second, vf whole, step_sums *s)
{
    const float largest = 2.0f * float_of((uint32_t)vi_largest(vi_max(vi_magnitude(first), vi_magnitude(second))));
    if (!(largest < INFINITY)) {
        *s = (step_sums){.step = INFINITY};
        return;
    }
    const uint32_t exponent = largest > 1e-30f ? (bits_of(largest) >> 23) - 13 : 0; /* with its bias */
    const vf inverse = vf_set1(exponent ? float_of((254 - exponent) << 23) : 0.0f);
    s->step = float_of(exponent << 23);
    vi_store_i16(s->first, vi_round(vf_mul(first, inverse)));
    vi_store_i16(s->second, vi_round(vf_mul(second, inverse)));
    vi_store_i16(s->unit, vi_round(vf_mul(whole, inverse)));
}

/* n units, side by side.  A value that is not finite makes its unit's scale not finite, and so every output: the step must see it,
 * not a plausible number. */
INLINE void quantize_block(const float *x, const int n, lt_q8_unit *u)
{
    vi size[8], first[8], second[8];
    unit_scales scales;
    for (int i = 0; i < 8; i++)
        size[i] = i < n ? vi_max(vi_magnitude(vf_load(x + i * LT_UNIT)), vi_magnitude(vf_load(x + i * LT_UNIT + 16))) : vi_set1(0);
    find_scales(vi_largest_of_each(size), &scales);
    for (int i = 0; i < 8; i++) {
        first[i] = second[i] = vi_set1(0);
        if (i >= n)
            continue;
        const vf inverse = vf_set1(scales.inverse[i]);
        first[i] = vi_round(vf_mul_unless_zero(inverse, vf_load(x + i * LT_UNIT))); /* codes of NaN would overflow the sums */
        second[i] = vi_round(vf_mul_unless_zero(inverse, vf_load(x + i * LT_UNIT + 16)));
        vi_store_i8(u[i].q, first[i]);
        vi_store_i8(u[i].q + 16, second[i]);
    }
    const vi first_sum = vi_sum_of_each(first), second_sum = vi_sum_of_each(second), sum = vi_add(first_sum, second_sum);
    const vf d = vf_load(scales.finite), dsum = vf_mul(d, vf_from_vi(sum));
    int16_t first_sums[16], second_sums[16];
    float dsums[16];
    step_sums steps;
    vi_store_i16(first_sums, first_sum);
    vi_store_i16(second_sums, second_sum);
    vf_store(dsums, dsum);
    block_steps(vf_mul(d, vf_from_vi(first_sum)), vf_mul(d, vf_from_vi(second_sum)), dsum, &steps);
    for (int i = 0; i < n; i++) {
        u[i].d = scales.d[i];
        u[i].exponent = scales.exponent[i];
        u[i].step = scales.step[i];
        u[i].sum16[0] = first_sums[i];
        u[i].sum16[1] = second_sums[i];
        u[i].dsum = dsums[i];
        u[i].sum_step = steps.step;
        u[i].halves[0] = steps.first[i];
        u[i].halves[1] = steps.second[i];
        memcpy(u[i].pair, steps.unit + (i & ~1), sizeof u[i].pair);
    }
}

/* One row of n values (a multiple of 32) in blocks of eight units; block i at x8 + i * stride. */
static void quantize(const float *x, int64_t n, lt_q8_unit *x8, int64_t stride)
{
    for (; n >= LT_BLOCK; x += LT_BLOCK, n -= LT_BLOCK, x8 += stride) {
        for (int i = 0; i < LT_BLOCK_UNITS && n > LT_BLOCK; i++)
            simd_prefetch_write(x8 + stride + i);
        quantize_block(x, LT_BLOCK_UNITS, x8);
    }
    if (n)
        quantize_block(x, (int)(n / LT_UNIT), x8);
}

static void to_bf16(const float *x, int64_t n, uint8_t *blocks, int64_t stride)
{
    for (int64_t i = 0; i < n; i += 16) {
        float last[16] = {0};
        if (i + 16 > n)
            memcpy(last, x + i, (size_t)(n - i) * sizeof *x);
        vf_store_bf16(blocks + i / LT_BLOCK * stride + 2 * (i % LT_BLOCK), vf_load(i + 16 > n ? last : x + i));
    }
}

/* Up to 64 values as integers of at most `limit`, the scale returned: largest / limit.  Not finite when a value is not. */
static float encode(const float *x, int64_t n, int32_t limit, int16_t *code)
{
    vi largest = vi_set1(0);
    for (int64_t i = 0; i < n; i += 16)
        largest = vi_max(largest, vi_magnitude(load_part(x + i, n - i)));
    const float scale = float_of((uint32_t)vi_largest(largest)) / (float)limit;
    const vf inverse = vf_set1(scale > 1e-35f && scale < INFINITY ? 1.0f / scale : 0.0f);
    for (int64_t i = 0; i < n; i += 16) {
        int16_t t[16] = {0};
        if (scale < INFINITY)
            vi_store_i16(t, vi_round(vf_mul(load_part(x + i, n - i), inverse)));
        memcpy(code + i, t, (size_t)(n - i < 16 ? n - i : 16) * sizeof *t);
    }
    return scale;
}
