/* matmul_tmpl.h - panels times activation rows, written once over simd.h and specialised per form by constant folding.
 *
 * Few columns (decode, also batched): each unit is unpacked into registers and meets up to 8 columns at once.
 * Many columns (prefill): a pair of panels is unpacked into the thread's scratch (L1/L2), then a register
 * tile of 2 panels x 4 columns runs over it: per unit 16 weight loads and 32 broadcasts feed 64 dot-product instructions. */
typedef struct { /* one unit of one panel, unpacked */
    vb w[8];
    vf dw[2], mw[2];
} unit;

/* dw and mw of sub-block s (within the superblock) */
INLINE void load_scales(lt_form form, const uint8_t *super, int s, vf *dw, vf *mw)
{
    vf d = vf_load_f16(super);
    if (!FORM_IS_K(form)) {
        *dw = d;
        if (FORM_HAS_MIN(form))
            *mw = vf_load_f16(super + 32);
        return;
    }
    const uint8_t *scales = super + (FORM_HAS_MIN(form) ? 64 : 32) + s * FORM_SCALE_BYTES(form);
    if (!FORM_HAS_MIN(form)) {
        *dw = vf_mul(d, vf_load_i8(scales));
        return;
    }
    vf minus_dmin = vf_sub(vf_set1(0.0f), vf_load_f16(super + 32));
    if (form == LT_FORM_Q2_K) {
        *dw = vf_mul(d, vf_load_low4(scales));
        *mw = vf_mul(minus_dmin, vf_load_high4(scales));
    } else {
        *dw = vf_mul(d, vf_load_u8(scales));
        *mw = vf_mul(minus_dmin, vf_load_u8(scales + 16));
    }
}

INLINE void load_codes(lt_form form, const uint8_t *p, vb w[8])
{
    if (FORM_HAS_8(form)) {
        UNROLL for (int j = 0; j < 8; j++) w[j] = vb_load(p + 64 * j);
        return;
    }
    if (FORM_HAS_4(form)) {
        UNROLL for (int j = 0; j < 4; j++)
        {
            vb n = vb_load(p + 64 * j);
            w[j] = vb_low4(n);
            w[j + 4] = vb_high4(n);
        }
        p += 256;
    }
    if (FORM_HAS_2(form)) {
        vb t[2] = {vb_load(p), vb_load(p + 64)};
        UNROLL for (int j = 0; j < 8; j++) w[j] = FORM_HAS_4(form) ? vb_add_bits2(w[j], t[j / 4], j % 4) : vb_bits2(t[j / 4], j % 4);
        p += 128;
    }
    if (FORM_HAS_1(form)) {
        UNROLL for (int j = 0; j < 8; j++) w[j] = vb_add_bit(w[j], p + 8 * j, FORM_HAS_4(form) ? 16 : 4);
    }
}

INLINE void load_unit(lt_form form, const uint8_t *super, int u, unit *out)
{
    for (int s = 0; s < FORM_SUBS(form); s++) load_scales(form, super, u * FORM_SUBS(form) + s, &out->dw[s], &out->mw[s]);
    load_codes(form, super + FORM_HEAD_BYTES(form) + u * FORM_UNIT_BYTES(form), out->w);
}

INLINE int32_t load4(const int8_t *p)
{
    int32_t x;
    memcpy(&x, p, 4);
    return x;
}

/* The canonical accumulation of one unit into one column: see panel.h. */
INLINE vf accumulate(int subs, int wide, int has_min, int offset, vf acc, const vb w[8], const vf dw[2], const vf mw[2],
                     const lt_q8_row *x, int64_t b)
{
    const int8_t *q = x->q + b * LT_UNIT;
    vf dx = vf_set1(x->d[b]);
    UNROLL for (int s = 0; s < subs; s++)
    {
        int32_t sum = subs == 1 ? x->sum32[b] : x->sum16[2 * b + s];
        vi dot = wide ? vi_dot_wide_start(sum) : vi_set1(offset ? -offset * sum : 0);
        UNROLL for (int j = s * 8 / subs; j < (s + 1) * 8 / subs; j++) dot = wide ? vi_dot_wide(dot, w[j], load4(q + 4 * j))
                                                                                   : vi_dot(dot, w[j], load4(q + 4 * j));
        acc = vf_fma(vf_from_vi(dot), vf_mul(dw[s], dx), acc);
        if (has_min)
            acc = vf_fma(mw[s], vf_set1(subs == 1 ? x->dsum32[b] : x->dsum16[2 * b + s]), acc);
    }
    return acc;
}

INLINE size_t panel_size(lt_form form, int64_t n_in)
{
    return (size_t)(n_in / FORM_SUPER_K(form)) * FORM_SUPER_BYTES(form);
}

INLINE void store_output(const lt_matmul_job *job, int64_t panel, int64_t column, vf acc)
{
    if (job->bias)
        acc = vf_add(acc, vf_load(job->bias + panel * 16));
    vf_store(job->y + column * job->y_stride + panel * 16, acc);
}

/* One panel, C columns (1..8), unpacked in registers. */
INLINE void direct(lt_form form, const int C, const lt_matmul_job *job, int64_t panel, int64_t column)
{
    const uint8_t *super = job->panels + (size_t)panel * panel_size(form, job->n_in);
    lt_q8_row x[8];
    vf acc[8];
    UNROLL for (int c = 0; c < C; c++)
    {
        x[c] = lt_q8_at(job->x, job->n_in, column + c);
        acc[c] = vf_set1(0.0f);
    }
    for (int64_t b = 0; b < job->n_in / LT_UNIT; super += FORM_SUPER_BYTES(form))
        for (int u = 0; u < FORM_UNITS(form); u++, b++) {
            unit t;
            simd_prefetch(super + 2048 + u * FORM_UNIT_BYTES(form));
            simd_prefetch(super + 2048 + 64 + u * FORM_UNIT_BYTES(form));
            load_unit(form, super, u, &t);
            UNROLL for (int c = 0; c < C; c++) acc[c] =
                accumulate(FORM_SUBS(form), FORM_HAS_8(form), FORM_HAS_MIN(form), FORM_OFFSET(form), acc[c], t.w, t.dw, t.mw, &x[c], b);
        }
    UNROLL for (int c = 0; c < C; c++) store_output(job, panel, column + c, acc[c]);
}

/* DIRECT_COLUMNS (simd.h): how many accumulators the registers hold beside an unpacked unit. */
INLINE void direct_columns(lt_form form, const lt_matmul_job *job, int64_t panel)
{
    int64_t c = 0;
    for (; c + DIRECT_COLUMNS <= job->n_columns; c += DIRECT_COLUMNS)
        direct(form, DIRECT_COLUMNS, job, panel, c);
    if (DIRECT_COLUMNS > 4 && c + 4 <= job->n_columns) {
        direct(form, 4, job, panel, c);
        c += 4;
    }
    switch (job->n_columns - c) {
    case 3: direct(form, 3, job, panel, c); break;
    case 2: direct(form, 2, job, panel, c); break;
    case 1: direct(form, 1, job, panel, c); break;
    default: break;
    }
}

/* One panel of a pair into the scratch (panel.h). */
INLINE void unpack(lt_form form, const uint8_t *panel, int64_t n_units, uint8_t *scratch, int which)
{
    for (int64_t b = 0; b < n_units; panel += FORM_SUPER_BYTES(form))
        for (int u = 0; u < FORM_UNITS(form); u++, b++, scratch += LT_UNIT_SCRATCH) {
            unit t;
            load_unit(form, panel, u, &t);
            UNROLL for (int j = 0; j < 8; j++) vb_store(scratch + which * 512 + 64 * j, t.w[j]);
            float *dw = (float *)(scratch + LT_UNIT_CODES) + which * 32;
            float *mw = (float *)(scratch + LT_UNIT_CODES + LT_UNIT_SCALES) + which * 32;
            for (int s = 0; s < FORM_SUBS(form); s++)
            {
                vf_store(dw + 16 * s, t.dw[s]);
                if (FORM_HAS_MIN(form))
                    vf_store(mw + 16 * s, t.mw[s]);
            }
        }
}

/* P panels (1, 2) x C columns (1..4) over the scratch. */
INLINE void tile(const int P, const int C, int subs, int wide, int has_min, int offset, const lt_matmul_job *job, int64_t panel,
                 int64_t column)
{
    lt_q8_row x[4];
    vf acc[2][4];
    UNROLL for (int c = 0; c < C; c++)
    {
        x[c] = lt_q8_at(job->x, job->n_in, column + c);
        UNROLL for (int p = 0; p < P; p++) acc[p][c] = vf_set1(0.0f);
    }
    const uint8_t *t = job->scratch;
    for (int64_t b = 0; b < job->n_in / LT_UNIT; b++, t += LT_UNIT_SCRATCH) {
        const float *dw = (const float *)(t + LT_UNIT_CODES), *mw = (const float *)(t + LT_UNIT_CODES + LT_UNIT_SCALES);
        UNROLL for (int s = 0; s < subs; s++)
        {
            vi dot[2][4];
            UNROLL for (int c = 0; c < C; c++)
            {
                int32_t sum = subs == 1 ? x[c].sum32[b] : x[c].sum16[2 * b + s];
                vi start = wide ? vi_dot_wide_start(sum) : vi_set1(offset ? -offset * sum : 0);
                UNROLL for (int p = 0; p < P; p++) dot[p][c] = start;
            }
            UNROLL for (int j = s * 8 / subs; j < (s + 1) * 8 / subs; j++)
            {
                vb w[2];
                UNROLL for (int p = 0; p < P; p++) w[p] = vb_load(t + p * 512 + 64 * j);
                UNROLL for (int c = 0; c < C; c++)
                {
                    int32_t x4 = load4(x[c].q + b * LT_UNIT + 4 * j);
                    UNROLL for (int p = 0; p < P; p++) dot[p][c] = wide ? vi_dot_wide(dot[p][c], w[p], x4) : vi_dot(dot[p][c], w[p], x4);
                }
            }
            UNROLL for (int c = 0; c < C; c++)
            {
                vf dx = vf_set1(x[c].d[b]);
                UNROLL for (int p = 0; p < P; p++) acc[p][c] =
                    vf_fma(vf_from_vi(dot[p][c]), vf_mul(vf_load(dw + p * 32 + s * 16), dx), acc[p][c]);
                if (has_min) {
                    vf sx = vf_set1(subs == 1 ? x[c].dsum32[b] : x[c].dsum16[2 * b + s]);
                    UNROLL for (int p = 0; p < P; p++) acc[p][c] = vf_fma(vf_load(mw + p * 32 + s * 16), sx, acc[p][c]);
                }
            }
        }
    }
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++) store_output(job, panel + p, column + c, acc[p][c]);
}

/* All columns against the unpacked pair (or last single panel). */
INLINE void tile_columns(const int P, int subs, int wide, int has_min, int offset, const lt_matmul_job *job, int64_t panel)
{
    int64_t c = 0;
    for (; c + 4 <= job->n_columns; c += 4)
        tile(P, 4, subs, wide, has_min, offset, job, panel, c);
    if (c + 2 <= job->n_columns) {
        tile(P, 2, subs, wide, has_min, offset, job, panel, c);
        c += 2;
    }
    if (c < job->n_columns)
        tile(P, 1, subs, wide, has_min, offset, job, panel, c);
}

INLINE void matmul_quantised(lt_form form, const lt_matmul_job *job)
{
    if (job->n_columns <= LT_FEW_COLUMNS) {
        for (int64_t p = 0; p < job->n_panels; p++)
            direct_columns(form, job, p);
        return;
    }
    const size_t panel_bytes = panel_size(form, job->n_in);
    const int64_t n_units = job->n_in / LT_UNIT;
    for (int64_t p = 0; p < job->n_panels; p += 2) {
        unpack(form, job->panels + (size_t)p * panel_bytes, n_units, job->scratch, 0);
        if (p + 1 < job->n_panels) {
            unpack(form, job->panels + (size_t)(p + 1) * panel_bytes, n_units, job->scratch, 1);
            tile_columns(2, FORM_SUBS(form), FORM_HAS_8(form), FORM_HAS_MIN(form), FORM_OFFSET(form), job, p);
        } else {
            tile_columns(1, FORM_SUBS(form), FORM_HAS_8(form), FORM_HAS_MIN(form), FORM_OFFSET(form), job, p);
        }
    }
}

INLINE vf load_float16(lt_form form, const uint8_t *p)
{
    return form == LT_FORM_F32 ? vf_load((const float *)p) : form == LT_FORM_F16 ? vf_load_f16(p) : vf_load_bf16(p);
}

/* One panel, C columns, float weights: four partial sums by k mod 4. */
INLINE void float_panel(lt_form form, const int C, const lt_matmul_job *job, int64_t panel, int64_t column)
{
    const size_t step = 16 * FORM_FLOAT_BYTES(form);
    const uint8_t *w = job->panels + (size_t)panel * (size_t)job->n_in * step;
    const float *x = (const float *)job->x + column * job->x_stride;
    vf acc[4][4];
    UNROLL for (int i = 0; i < 4; i++) UNROLL for (int c = 0; c < C; c++) acc[i][c] = vf_set1(0.0f);
    int64_t k = 0;
    for (; k + 4 <= job->n_in; k += 4)
        UNROLL for (int i = 0; i < 4; i++)
        {
            vf wk = load_float16(form, w + (size_t)(k + i) * step);
            UNROLL for (int c = 0; c < C; c++) acc[i][c] = vf_fma(wk, vf_set1(x[c * job->x_stride + k + i]), acc[i][c]);
        }
    UNROLL for (int i = 0; i < 3; i++)
        if (k + i < job->n_in) {
            vf wk = load_float16(form, w + (size_t)(k + i) * step);
            UNROLL for (int c = 0; c < C; c++) acc[i][c] = vf_fma(wk, vf_set1(x[c * job->x_stride + k + i]), acc[i][c]);
        }
    UNROLL for (int c = 0; c < C; c++)
        store_output(job, panel, column + c, vf_add(vf_add(acc[0][c], acc[1][c]), vf_add(acc[2][c], acc[3][c])));
}

INLINE void matmul_float(lt_form form, const lt_matmul_job *job)
{
    for (int64_t p = 0; p < job->n_panels; p++) {
        int64_t c = 0;
        for (; c + 4 <= job->n_columns; c += 4)
            float_panel(form, 4, job, p, c);
        for (; c < job->n_columns; c++)
            float_panel(form, 1, job, p, c);
    }
}

#define QUANTISED(lower, FORM) \
    static void matmul_##lower(const lt_matmul_job *job) { matmul_quantised(FORM, job); }
#define FLOATING(lower, FORM) \
    static void matmul_##lower(const lt_matmul_job *job) { matmul_float(FORM, job); }
FLOATING(f32, LT_FORM_F32)
FLOATING(f16, LT_FORM_F16)
FLOATING(bf16, LT_FORM_BF16)
QUANTISED(q4_0, LT_FORM_Q4_0)
QUANTISED(q4_1, LT_FORM_Q4_1)
QUANTISED(q5_0, LT_FORM_Q5_0)
QUANTISED(q5_1, LT_FORM_Q5_1)
QUANTISED(q8_0, LT_FORM_Q8_0)
QUANTISED(q2_k, LT_FORM_Q2_K)
QUANTISED(q3_k, LT_FORM_Q3_K)
QUANTISED(q4_k, LT_FORM_Q4_K)
QUANTISED(q5_k, LT_FORM_Q5_K)
QUANTISED(q6_k, LT_FORM_Q6_K)
