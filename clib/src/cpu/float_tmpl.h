/* float_tmpl.h - float panels times float rows (panel.h: steps, blocks, and their order).
 *
 * A block of a panel meets all columns, as many at once as there are registers for two sums of each: FLOAT_COLUMNS (simd.h).
 * It stays in L1 meanwhile, as floats if it is of halves and there are many columns.  Then come the next panel's, so that the
 * columns' blocks are read from L2. */
enum { BLOCK_STEPS = LT_X_BLOCK_BYTES / 4, FLOAT_AHEAD = 4096 /* bytes */, MANY_PANELS = 8, MANY_COLUMNS = 2 * LT_TILE_SUMS / MANY_PANELS };
enum { LONG_RUNS = 24 /* columns at the most: then reading one panel after the other is fastest */ };

typedef struct { /* constants */
    lt_form form;
    int native; /* pairs of BF16 by the instruction for them */
} float_kind;

typedef struct { /* one step of 16 rows */
    vf one;
    vb pair;
} float_step;

INLINE float_step load_step(float_kind k, const uint8_t *w)
{
    float_step s;
    switch (k.form) {
    case LT_FORM_BF16: s.pair = vb_load(w); break;
    case LT_FORM_F16: s.one = vf_load_f16(w); break;
    default: s.one = vf_held(vf_load((const float *)w)); break;
    }
    return s;
}

INLINE vf add_step(float_kind k, vf acc, const float_step *w, const uint8_t *x)
{
    if (k.form != LT_FORM_BF16)
        return vf_fma(w->one, vf_set1(*(const float *)x), acc);
#ifdef LT_BF16_NATIVE
    if (k.native)
        return vf_dot_bf16_native_at(acc, w->pair, x);
#endif
    return vf_dot_bf16_at(acc, w->pair, x);
}

/* n steps of one panel, a block or the rest of one, times C columns; adds to sums [C][16]. */
INLINE void float_columns(float_kind k, const int C, const uint8_t *w, const uint8_t *ahead, const uint8_t *x, int n, float *sums)
{
    const int size = FORM_STEP_BYTES(k.form);
    vf acc[2][FLOAT_COLUMNS];
    UNROLL for (int i = 0; i < 2; i++) UNROLL for (int c = 0; c < C; c++) acc[i][c] = vf_set1(0.0f);
    int s = 0;
    for (; s + 2 <= n; s += 2)
        UNROLL for (int i = 0; i < 2; i++)
        {
            const float_step t = load_step(k, w + (s + i) * size);
            if (C >= 8)
                simd_prefetch_l2(ahead + (s + i) * size);
            UNROLL for (int c = 0; c < C; c++) acc[i][c] = add_step(k, acc[i][c], &t, x + c * LT_X_BLOCK_BYTES + 4 * (s + i));
        }
    if (s < n) {
        const float_step t = load_step(k, w + s * size);
        UNROLL for (int c = 0; c < C; c++) acc[0][c] = add_step(k, acc[0][c], &t, x + c * LT_X_BLOCK_BYTES + 4 * s);
    }
    UNROLL for (int c = 0; c < C; c++)
        vf_store(sums + 16 * c, vf_add(vf_load(sums + 16 * c), vf_add(acc[0][c], acc[1][c])));
}

/* n steps of one panel times all columns.  What memory is asked for meanwhile: NULL for the columns' next ones. */
INLINE void float_block(float_kind k, const uint8_t *w, const uint8_t *ahead, const uint8_t *x, int n, float *sums, int n_columns)
{
#define COLUMNS_AT_ONCE(C) \
    for (; (C) <= FLOAT_COLUMNS && n_columns >= (C); n_columns -= (C), x += (C) * LT_X_BLOCK_BYTES, sums += 16 * (C)) \
        float_columns(k, C, w, ahead ? ahead : x + (C) * LT_X_BLOCK_BYTES, x, n, sums);
    COLUMNS_AT_ONCE(12)
    COLUMNS_AT_ONCE(8)
    COLUMNS_AT_ONCE(6)
    COLUMNS_AT_ONCE(4)
    COLUMNS_AT_ONCE(3)
    COLUMNS_AT_ONCE(2)
    COLUMNS_AT_ONCE(1)
#undef COLUMNS_AT_ONCE
}

static void float_block_f32(const uint8_t *w, const uint8_t *ahead, const uint8_t *x, int n, float *sums, int n_columns)
{
    float_block((float_kind){LT_FORM_F32, 0}, w, ahead, x, n, sums, n_columns);
}

/* The same, by way of floats if it is worth it. */
INLINE void float_panel(float_kind k, const lt_matmul_job *job, const uint8_t *w, const uint8_t *ahead, const uint8_t *x, int n,
                        float *sums, int n_columns)
{
    float *floats = (float *)job->scratch->codes;
    if (k.form == LT_FORM_BF16 || (k.form == LT_FORM_F16 && n_columns <= FLOAT_COLUMNS)) {
        float_block(k, w, ahead, x, n, sums, n_columns);
        return;
    }
    for (int i = 0; k.form == LT_FORM_F16 && i < n; i++)
        vf_store(floats + 16 * i, vf_load_f16(w + i * FORM_STEP_BYTES(LT_FORM_F16)));
    float_block_f32(k.form == LT_FORM_F16 ? (const uint8_t *)floats : w, ahead, x, n, sums, n_columns);
}

/* n_panels panels times columns [first, first + n_columns): block by block, so that those of the columns are read once. */
INLINE void float_panels(float_kind k, const lt_matmul_job *job, int64_t panel, int n_panels, int64_t first, int n_columns)
{
    const int64_t size = FORM_STEP_BYTES(k.form), n_steps = (job->n_in + FORM_STEP_K(k.form) - 1) / FORM_STEP_K(k.form);
    const uint8_t *w = job->panels + panel * n_steps * size, *x = (const uint8_t *)job->x + first * LT_X_BLOCK_BYTES;
    float *sums = job->scratch->sums[0];
    memset(sums, 0, (size_t)(n_panels * n_columns) * 16 * sizeof *sums);
    for (int64_t s = 0; s < n_steps; s += BLOCK_STEPS, w += BLOCK_STEPS * size, x += job->x_stride * 64)
        for (int p = 0; p < n_panels; p++) {
            const int n = n_steps - s < BLOCK_STEPS ? (int)(n_steps - s) : BLOCK_STEPS;
            const uint8_t *panel_w = w + p * n_steps * size, *ahead = p == 0 && n_columns > MANY_COLUMNS / 2 ? NULL : panel_w + FLOAT_AHEAD;
            float_panel(k, job, panel_w, ahead, x, n, sums + p * n_columns * 16, n_columns);
        }
    for (int p = 0; p < n_panels; p++)
        for (int c = 0; c < n_columns; c++)
            store_output(job, panel + p, first + c, vf_load(sums + (p * n_columns + c) * 16));
}

INLINE void matmul_float(float_kind k, const lt_matmul_job *job)
{
    const int at_once = job->n_columns <= LONG_RUNS ? 1 : MANY_PANELS;
    for (int64_t c = 0; c < job->n_columns; c += MANY_COLUMNS)
        for (int32_t p = 0; p < job->n_panels; p += at_once)
            float_panels(k, job, p, job->n_panels - p < at_once ? job->n_panels - p : at_once, c,
                         job->n_columns - c < MANY_COLUMNS ? (int)(job->n_columns - c) : MANY_COLUMNS);
}

#define FLOATING(lower, ...) \
    static void matmul_##lower(const lt_matmul_job *job) { matmul_float((float_kind)__VA_ARGS__, job); }
FLOATING(f32, {LT_FORM_F32, 0})
FLOATING(f16, {LT_FORM_F16, 0})
FLOATING(bf16, {LT_FORM_BF16, 0})
#ifdef LT_BF16_NATIVE
FLOATING(bf16_native, {LT_FORM_BF16, 1})
#endif
