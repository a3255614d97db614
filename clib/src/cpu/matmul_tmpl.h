/* matmul_tmpl.h - panels times activation rows, written once over simd.h and specialised per form by constant folding.
 *
 * Few columns (decode, also batched): each unit is unpacked into registers and meets up to 8 columns at once.
 * Many columns (prefill): eight units of two panels are unpacked into the thread's scratch, 10 to 18 KiB that stay in L1 while
 * all columns pass by, TILE_COLUMNS at a time.  The sums wait in the scratch meanwhile, 128 bytes a column. */
typedef struct {    /* what the loops have to know of a form */
    int subs, offset;
    int has_min;
} dot_kind;

INLINE dot_kind dot_kind_of(lt_form form)
{
    return (dot_kind){lt_forms[form].subs, lt_forms[form].offset, lt_forms[form].min != MIN_NONE};
}

INLINE vi dot_start(dot_kind k, const lt_q8_unit *x, int s)
{
    const int32_t sum = k.subs == 1 ? x->sum16[0] + x->sum16[1] : x->sum16[s];
    return k.offset == LT_WIDE ? vi_dot_wide_start(sum) : vi_set1(-k.offset * sum);
}

INLINE vi dot_step(dot_kind k, vi dot, vb w, vx x, const int f)
{
    return k.offset == LT_WIDE ? vi_dot_wide(dot, w, x, f) : vi_dot(dot, w, x, f);
}

INLINE vi dot_step_once(dot_kind k, vi dot, vb w, vx x, const int f)
{
    return k.offset == LT_WIDE ? vi_dot_wide_once(dot, w, x, f) : vi_dot_once(dot, w, x, f);
}

INLINE vf add_min(dot_kind k, vf acc, vf mw, const lt_q8_unit *x, int s)
{
    return vf_fma(mw, vf_set1(k.subs == 1 ? x->dsum : x->dsum16[s]), acc);
}

INLINE void store_output(const lt_matmul_job *job, int64_t panel, int64_t column, vf acc)
{
    if (job->bias)
        acc = vf_add(acc, vf_load(job->bias + panel * 16));
    vf_store(job->y + column * job->y_stride + panel * 16, acc);
}

INLINE size_t panel_size(lt_form form, int64_t n_in)
{
    return (size_t)(n_in / FORM_SUPER_K(form)) * FORM_SUPER_BYTES(form);
}

/* Superblock of unit b of a panel. */
INLINE const uint8_t *super_of(lt_form form, const uint8_t *panel, int64_t b)
{
    return panel + (size_t)(b / lt_forms[form].units) * FORM_SUPER_BYTES(form);
}

/* ---- few columns ---- */

enum { PREFETCH = 3072 }; /* bytes ahead */

/* The part of a superblock that is one unit's: each unit's work asks memory for as much of what comes later, which the processor
 * would not do by itself as far ahead as that work takes. */
INLINE void prefetch_share(lt_form form, const uint8_t *super, int within)
{
    const int share = FORM_SUPER_BYTES(form) / lt_forms[form].units;
    UNROLL for (int i = 0; i < share; i += 64) simd_prefetch(super + PREFETCH + within * share + i);
}

/* The canonical accumulation of one unit into one column: see panel.h. */
INLINE vf accumulate(dot_kind k, vf acc, const unit *t, const lt_q8_unit *x)
{
    UNROLL for (int s = 0; s < k.subs; s++)
    {
        vi dot = dot_start(k, x, s);
        UNROLL for (int h = s * 2 / k.subs; h < (s + 1) * 2 / k.subs; h++)
        {
            const vx half = vx_load(x->q + 16 * h);
            UNROLL for (int f = 0; f < 4; f++) dot = dot_step_once(k, dot, t->w[4 * h + f], half, f);
        }
        acc = vf_fma(vf_from_vi(dot), vf_mul(t->dw[s], vf_set1(x->d)), acc);
        if (k.has_min)
            acc = add_min(k, acc, t->mw[s], x, s);
    }
    return acc;
}

/* One panel, C columns (1..8), unpacked in registers. */
INLINE void direct(lt_form form, const int C, const lt_matmul_job *job, int64_t panel, int64_t column)
{
    const dot_kind k = dot_kind_of(form);
    const int64_t n_units = job->n_in / LT_UNIT;
    const uint8_t *super = job->panels + (size_t)panel * panel_size(form, job->n_in);
    const lt_q8_unit *x = (const lt_q8_unit *)job->x + column * LT_BLOCK_UNITS;
    vf acc[8];
    UNROLL for (int c = 0; c < C; c++) acc[c] = vf_set1(0.0f);
    for (int64_t b = 0; b < n_units; x += job->x_stride)
        for (int u = 0; u < LT_BLOCK_UNITS && b < n_units; u++, b++) {
            const int within = u % lt_forms[form].units;
            unit t;
            prefetch_share(form, super, within);
            load_unit(form, job->levels, super, within, &t);
            UNROLL for (int c = 0; c < C; c++) acc[c] = accumulate(k, acc[c], &t, x + c * LT_BLOCK_UNITS + u);
            if (within == lt_forms[form].units - 1)
                super += FORM_SUPER_BYTES(form);
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

/* ---- many columns ---- */

/* An unpacked unit of a pair of panels:  codes [2][512] | dw [sub][2][SCALE_STEPS][16] | mw [sub][2][16] */
enum { CODE_BYTES = 2 * 512, BURST = 24 /* cache lines */ };

INLINE int scale_at(int s, int panel) { return CODE_BYTES + (2 * s + panel) * SCALE_STEPS * 64; }
INLINE int min_at(dot_kind k, int s, int panel) { return scale_at(k.subs, 0) + (2 * s + panel) * 64; }
INLINE int tile_unit_bytes(dot_kind k) { return min_at(k, k.has_min ? k.subs : 0, 0); }

/* Units [b, b + n) of a panel, as the first or second of the pair. */
INLINE void unpack(lt_form form, const lt_matmul_job *job, int64_t panel, int64_t b, int n, int which, uint8_t *dst)
{
    const dot_kind k = dot_kind_of(form);
    const uint8_t *super = super_of(form, job->panels + (size_t)panel * panel_size(form, job->n_in), b);
    for (int u = 0; u < n; u++, dst += tile_unit_bytes(k)) {
        const int within = u % lt_forms[form].units;
        unit t;
        load_unit(form, job->levels, super, within, &t);
        UNROLL for (int j = 0; j < 8; j++) vb_store(dst + which * 512 + 64 * j, t.w[j]);
        for (int s = 0; s < k.subs; s++) {
            UNROLL for (int i = 0; i < SCALE_STEPS; i++)
                vf_store((float *)(dst + scale_at(s, which)) + 16 * i, vf_mul(t.dw[s], vf_set1(1.0f + 0.25f * (float)i)));
            if (k.has_min)
                vf_store((float *)(dst + min_at(k, s, which)), t.mw[s]);
        }
        if (within == lt_forms[form].units - 1)
            super += FORM_SUPER_BYTES(form);
    }
}

/* TILE_PANELS panels of the pair, from `first` on, x C columns over n unpacked units; adds to sums [C][2][16]. */
INLINE void tile(dot_kind k, const int C, const int first, const uint8_t *t, int n, const lt_q8_unit *x, float *sums)
{
    enum { P = TILE_PANELS };
    vf acc[P][TILE_COLUMNS];
    sums += 16 * first;
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++) acc[p][c] = vf_load(sums + (2 * c + p) * 16);
    for (int u = 0; u < n; u++, x++, t += tile_unit_bytes(k))
        UNROLL for (int s = 0; s < k.subs; s++)
        {
            vi dot[P][TILE_COLUMNS];
            UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++) dot[p][c] = dot_start(k, x + c * LT_BLOCK_UNITS, s);
            UNROLL for (int j = s * 8 / k.subs; j < (s + 1) * 8 / k.subs; j++)
            {
                vb w[P];
                UNROLL for (int p = 0; p < P; p++) w[p] = vb_load(t + (first + p) * 512 + 64 * j);
                UNROLL for (int c = 0; c < C; c++)
                {
                    const vx half = vx_load(x[c * LT_BLOCK_UNITS].q + j / 4 * 16);
                    UNROLL for (int p = 0; p < P; p++) dot[p][c] = dot_step(k, dot[p][c], w[p], half, j % 4);
                }
            }
            UNROLL for (int c = 0; c < C; c++)
            {
                const lt_q8_unit *xc = x + c * LT_BLOCK_UNITS;
                UNROLL for (int p = 0; p < P; p++)
                {
                    acc[p][c] = vf_fma(vf_from_vi(dot[p][c]), vf_scaled((const float *)(t + scale_at(s, first + p)), xc), acc[p][c]);
                    if (k.has_min)
                        acc[p][c] = add_min(k, acc[p][c], vf_load((const float *)(t + min_at(k, s, first + p))), xc, s);
                }
            }
        }
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++) vf_store(sums + (2 * c + p) * 16, acc[p][c]);
}

/* A pair of panels x C columns. */
INLINE void tiles(dot_kind k, const int C, const uint8_t *t, int n, const lt_q8_unit *x, float *sums)
{
    UNROLL for (int p = 0; p < 2; p += TILE_PANELS) tile(k, C, p, t, n, x, sums);
}

/* What the next pair of panels has at these units: asked for between tiles, no more at a time than a core can wait for. */
typedef struct {
    const uint8_t *at; /* of the first panel */
    int64_t left;      /* bytes */
    size_t apart;      /* of the two panels */
} tile_ahead;

INLINE void prefetch_ahead(tile_ahead *a)
{
    for (int i = 0; i < BURST / 2 && a->left > 0; i++, a->at += 64, a->left -= 64) {
        simd_prefetch(a->at);
        simd_prefetch(a->at + a->apart);
    }
}

/* n_columns columns against n unpacked units. */
INLINE void tile_columns(dot_kind k, const uint8_t *t, int n, const lt_q8_unit *x, float *sums, int n_columns, tile_ahead ahead)
{
    int c = 0;
    for (; c + TILE_COLUMNS <= n_columns; c += TILE_COLUMNS) {
        prefetch_ahead(&ahead);
        tiles(k, TILE_COLUMNS, t, n, x + c * LT_BLOCK_UNITS, sums + 32 * c);
    }
    if (TILE_COLUMNS > 4 && c + 4 <= n_columns) {
        tiles(k, 4, t, n, x + c * LT_BLOCK_UNITS, sums + 32 * c);
        c += 4;
    }
    if (TILE_COLUMNS > 2 && c + 2 <= n_columns) {
        tiles(k, 2, t, n, x + c * LT_BLOCK_UNITS, sums + 32 * c);
        c += 2;
    }
    if (c < n_columns)
        tiles(k, 1, t, n, x + c * LT_BLOCK_UNITS, sums + 32 * c);
}

/* The loops over columns are the same for all forms of a kind: six functions, not one for each form. */
typedef void tile_loop(const uint8_t *t, int n, const lt_q8_unit *x, float *sums, int n_columns, int offset, tile_ahead ahead);
#define TILE_LOOP(name, ...) \
    static void name(const uint8_t *t, int n, const lt_q8_unit *x, float *sums, int n_columns, int offset, tile_ahead ahead) \
    { \
        tile_columns((dot_kind)__VA_ARGS__, t, n, x, sums, n_columns, ahead); \
    }
TILE_LOOP(tiles_1, {1, offset, 0})
TILE_LOOP(tiles_1_min, {1, offset, 1})
TILE_LOOP(tiles_1_wide, {1, LT_WIDE, 0})
TILE_LOOP(tiles_2, {2, offset, 0})
TILE_LOOP(tiles_2_min, {2, offset, 1})
TILE_LOOP(tiles_2_wide, {2, LT_WIDE, 0})

INLINE tile_loop *tile_loop_of(dot_kind k)
{
    if (k.offset == LT_WIDE)
        return k.subs == 1 ? tiles_1_wide : tiles_2_wide;
    return k.subs == 1 ? (k.has_min ? tiles_1_min : tiles_1) : (k.has_min ? tiles_2_min : tiles_2);
}

/* A pair of panels (or the last one, with whatever the scratch holds beside it) times columns [first, first + n). */
INLINE void pair_of_panels(lt_form form, const lt_matmul_job *job, int64_t panel, int64_t first, int n)
{
    const dot_kind k = dot_kind_of(form);
    const int64_t n_units = job->n_in / LT_UNIT;
    const int n_panels = panel + 1 < job->n_panels ? 2 : 1;
    const size_t size = panel_size(form, job->n_in);
    uint8_t *codes = (uint8_t *)job->scratch->codes;
    float *sums = job->scratch->sums;
    const lt_q8_unit *x = (const lt_q8_unit *)job->x + first * LT_BLOCK_UNITS;
    memset(sums, 0, (size_t)n * 32 * sizeof *sums);
    for (int64_t b = 0; b < n_units; b += LT_BLOCK_UNITS, x += job->x_stride) {
        const int units = n_units - b < LT_BLOCK_UNITS ? (int)(n_units - b) : LT_BLOCK_UNITS;
        for (int p = 0; p < n_panels; p++)
            unpack(form, job, panel + p, b, units, p, codes);
        tile_ahead ahead = {super_of(form, job->panels + (size_t)(panel + 2) * size, b), (int64_t)size * units / n_units, size};
        tile_loop_of(k)(codes, units, x, sums, n, k.offset, ahead);
    }
    for (int c = 0; c < n; c++)
        for (int p = 0; p < n_panels; p++)
            store_output(job, panel + p, first + c, vf_load(sums + (2 * c + p) * 16));
}

INLINE void matmul_quantised(lt_form form, const lt_matmul_job *job)
{
    if (job->n_columns <= LT_FEW_COLUMNS) {
        for (int64_t p = 0; p < job->n_panels; p++)
            direct_columns(form, job, p);
        return;
    }
    for (int64_t p = 0; p < job->n_panels; p += 2)
        for (int64_t c = 0; c < job->n_columns; c += LT_TILE_SUMS) {
            const int64_t left = job->n_columns - c;
            pair_of_panels(form, job, p, c, left < LT_TILE_SUMS ? (int)left : LT_TILE_SUMS);
        }
}

#define QUANTISED(lower, FORM) \
    static void matmul_##lower(const lt_matmul_job *job) { matmul_quantised(FORM, job); }
QUANTISED(q4_0, LT_FORM_Q4_0)
QUANTISED(q4_1, LT_FORM_Q4_1)
QUANTISED(q5_0, LT_FORM_Q5_0)
QUANTISED(q5_1, LT_FORM_Q5_1)
QUANTISED(q8_0, LT_FORM_Q8_0)
QUANTISED(iq4_nl, LT_FORM_IQ4_NL)
QUANTISED(mxfp4, LT_FORM_MXFP4)
QUANTISED(q2_k, LT_FORM_Q2_K)
QUANTISED(q3_k, LT_FORM_Q3_K)
QUANTISED(q4_k, LT_FORM_Q4_K)
QUANTISED(q5_k, LT_FORM_Q5_K)
QUANTISED(q6_k, LT_FORM_Q6_K)
QUANTISED(levels_4, LT_FORM_LEVELS_4)
QUANTISED(levels_3, LT_FORM_LEVELS_3)
QUANTISED(levels_3_half, LT_FORM_LEVELS_3_HALF)
QUANTISED(ternary, LT_FORM_TERNARY)
