/* tile_tmpl.h - panels times many activation rows (prefill), and the functions of all quantised forms.
 *
 * Eight units of two panels are unpacked into the thread's scratch, 9 to 16 KiB that stay in the first cache while all columns
 * pass by, TILE_COLUMNS at a time.  A block of activations meets LT_TILE_PANELS panels before the next one is fetched; the sums
 * wait in the scratch meanwhile. */
typedef struct { /* what the loops have to know of a form */
    int subs, offset;
    int unit_min;  /* each unit has a min */
    int min_pairs; /* pairs of integer mins of a block */
} dot_kind;

INLINE dot_kind dot_kind_of(lt_form form)
{
    const int folded = lt_forms[form].codes == CODES_FOLDED;
    return (dot_kind){folded ? 1 : lt_forms[form].subs, folded && lt_forms[form].offset ? LT_WIDE : lt_forms[form].offset,
                      lt_forms[form].min == MIN_HALF, FORM_MIN_PAIRS(form)};
}

INLINE vi dot_step(dot_kind k, vi dot, vb w, vx x, const int f)
{
    return k.offset == LT_WIDE ? vi_dot_wide(dot, w, x, f) : vi_dot(dot, w, x, f);
}

/* ---- unpacked: a pair of panels, eight units ---- */

/* A unit:  codes [2][512] | dw [sub][2][SCALE_STEPS][16] | its min [2][16].  Behind the eight: m [2][16] | pairs of mins [..][2][64] */
enum { CODE_BYTES = 2 * 512 };
_Static_assert(LT_BLOCK_UNITS * (CODE_BYTES + 4 * SCALE_STEPS * 64) <= LT_TILE_CODES, "units of two sub-blocks");
_Static_assert(LT_BLOCK_UNITS * (CODE_BYTES + 2 * SCALE_STEPS * 64 + 128) + 2 * 64 * (1 + LT_BLOCK_UNITS) <= LT_TILE_CODES, "units with mins");

INLINE int scale_at(int s, int panel) { return CODE_BYTES + (2 * s + panel) * SCALE_STEPS * 64; }
INLINE int min_at(dot_kind k, int panel) { return scale_at(k.subs, 0) + panel * 64; }
INLINE int tile_unit_bytes(dot_kind k) { return min_at(k, k.unit_min ? 2 : 0); }
INLINE int block_min_at(dot_kind k, int panel) { return LT_BLOCK_UNITS * tile_unit_bytes(k) + panel * 64; }
INLINE int min_pair_at(dot_kind k, int i, int panel) { return block_min_at(k, 2 * (i + 1) + panel); }

/* Codes times their scales.  Q3_K: (q - 4) * scale goes from -4 * 31 to 4 * 32, one too far for a signed byte, so its negative is
 * taken, and that of dw. */
INLINE void fold(lt_form form, unit *t, const uint8_t *super, int within)
{
    const int offset = lt_forms[form].offset;
    UNROLL for (int s = 0; s < 2; s++)
    {
        vb scale = vb_load_rows(scales_of(form, super, 2 * within + s));
        if (lt_forms[form].scale == SCALE_LOW4)
            scale = vb_low4(scale);
        UNROLL for (int j = 4 * s; j < 4 * s + 4; j++)
        {
            if (offset)
                t->w[j] = vb_wide(vb_add(vb_mul(vb_sub(vb_set1((uint8_t)offset), t->w[j]), scale), vb_set1(LT_WIDE)));
            else
                t->w[j] = vb_mul(t->w[j], scale);
        }
    }
    if (offset)
        t->dw[0] = vf_sub(vf_set1(0.0f), t->dw[0]);
}

/* Units [b, b + n) of a panel, as the first or second of the pair. */
INLINE void unpack(lt_form form, const lt_matmul_job *job, int64_t panel, int64_t b, int n, int which, uint8_t *dst)
{
    const dot_kind k = dot_kind_of(form);
    const int per_super = lt_forms[form].units;
    const uint8_t *super = job->panels + (size_t)panel * panel_size(form, job->n_in) + (size_t)(b / per_super) * FORM_SUPER_BYTES(form);
    if (k.min_pairs) {
        vf_store((float *)(dst + block_min_at(k, which)), load_m(form, super));
        UNROLL for (int i = 0; i < k.min_pairs; i++) vp_store(dst + min_pair_at(k, i, which), load_min_pair(form, super, i));
    }
    for (int u = 0; u < n; u++, dst += tile_unit_bytes(k)) {
        const int within = u % per_super;
        unit t;
        load_unit(form, job->levels, super, within, &t);
        if (lt_forms[form].codes == CODES_FOLDED)
            fold(form, &t, super, within);
        UNROLL for (int j = 0; j < 8; j++) vb_store(dst + which * 512 + 64 * j, t.w[j]);
        for (int s = 0; s < k.subs; s++)
            UNROLL for (int i = 0; i < SCALE_STEPS; i++)
                vf_store((float *)(dst + scale_at(s, which)) + 16 * i, vf_mul(t.dw[s], vf_set1(1.0f + 0.25f * (float)i)));
        if (k.unit_min)
            vf_store((float *)(dst + min_at(k, which)), t.mw);
        if (within == per_super - 1)
            super += FORM_SUPER_BYTES(form);
    }
}

/* ---- P panels, from `first` of the pair on, x C columns ---- */

enum { P = TILE_PANELS };

typedef struct { /* a block of a pair of panels */
    const lt_matmul_job *job;
    int64_t panel, column; /* the first ones */
    int n_panels, n_columns, n_units;
    bool first, last;    /* of all blocks: sums start at zero, and end as outputs */
    const lt_q8_unit *x; /* of the first column */
    float *sums;         /* [n_columns][2][16] */
    const uint8_t *next; /* what is unpacked after this: of one panel so many bytes, of the other so far away */
    int64_t next_bytes, next_apart;
} tile_block;

INLINE void tile_units(dot_kind k, const int C, const int first, const uint8_t *t, int n, const lt_q8_unit *x, vf acc[P][TILE_COLUMNS])
{
    for (int u = 0; u < n; u++, x++, t += tile_unit_bytes(k))
        UNROLL for (int s = 0; s < k.subs; s++)
        {
            vi dot[P][TILE_COLUMNS];
            UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++) dot[p][c] = dot_start(k.subs, k.offset, x + c * LT_BLOCK_UNITS, s);
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
                    if (k.unit_min)
                        acc[p][c] = vf_fma(vf_load((const float *)(t + min_at(k, first + p))), vf_set1(xc->dsum), acc[p][c]);
                }
            }
        }
}

INLINE void tile_mins(dot_kind k, const int C, const int first, const uint8_t *t, const lt_q8_unit *x, vf acc[P][TILE_COLUMNS])
{
    vi sum[P][TILE_COLUMNS];
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++) sum[p][c] = vi_set1(0);
    for (int i = 0; i < k.min_pairs; i++)
        UNROLL for (int p = 0; p < P; p++)
        {
            const vp pair = vp_load_i16(t + min_pair_at(k, i, first + p));
            UNROLL for (int c = 0; c < C; c++) sum[p][c] = vi_dot_pairs(sum[p][c], pair, sum_pair(k.min_pairs, x + c * LT_BLOCK_UNITS, i));
        }
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++)
        acc[p][c] = add_mins(acc[p][c], sum[p][c], vf_load((const float *)(t + block_min_at(k, first + p))), x + c * LT_BLOCK_UNITS);
}

INLINE void tile(dot_kind k, const int C, const int first, const tile_block *b, int column)
{
    const uint8_t *t = b->job->scratch->codes;
    const lt_q8_unit *x = b->x + column * LT_BLOCK_UNITS;
    float *sums = b->sums + 32 * column + 16 * first;
    vf acc[P][TILE_COLUMNS];
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++) acc[p][c] = b->first ? vf_set1(0.0f) : vf_load(sums + (2 * c + p) * 16);
    tile_units(k, C, first, t, b->n_units, x, acc);
    if (k.min_pairs)
        tile_mins(k, C, first, t, x, acc);
    if (!b->last) {
        UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++) vf_store(sums + (2 * c + p) * 16, acc[p][c]);
        return;
    }
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int p = 0; p < P; p++)
        if (first + p < b->n_panels)
            store_output(b->job, b->panel + first + p, b->column + column + c, acc[p][c]);
}

INLINE void both_panels(dot_kind k, const int C, const tile_block *b, int column)
{
    UNROLL for (int first = 0; first < 2; first += P) tile(k, C, first, b, column);
}

/* ---- all columns ---- */

enum { BURST = 12 /* cache lines of each panel */, OUTPUTS_AHEAD = 4 * TILE_COLUMNS /* columns */ };

/* Memory is asked for what follows while the columns pass: a share of the weights that are unpacked next, and the outputs. */
INLINE void prefetch_next(const tile_block *b, int column)
{
    const int64_t from = (int64_t)column / TILE_COLUMNS * BURST * 64;
    for (int64_t i = from; i < from + BURST * 64 && i < b->next_bytes; i += 64) {
        simd_prefetch(b->next + i);
        simd_prefetch(b->next + b->next_apart + i);
    }
    if (!b->last)
        return;
    const float *y = b->job->y + (b->column + column + OUTPUTS_AHEAD) * b->job->y_stride + b->panel * 16;
    UNROLL for (int c = 0; c < TILE_COLUMNS; c++, y += b->job->y_stride)
    {
        simd_prefetch_write(y);
        simd_prefetch_write(y + 16);
    }
}

INLINE void tile_columns(dot_kind k, const tile_block *b)
{
    int c = 0;
    for (; c + TILE_COLUMNS <= b->n_columns; c += TILE_COLUMNS) {
        prefetch_next(b, c);
        both_panels(k, TILE_COLUMNS, b, c);
    }
    if (TILE_COLUMNS > 4 && c + 4 <= b->n_columns) {
        both_panels(k, 4, b, c);
        c += 4;
    }
    if (TILE_COLUMNS > 2 && c + 2 <= b->n_columns) {
        both_panels(k, 2, b, c);
        c += 2;
    }
    if (c < b->n_columns)
        both_panels(k, 1, b, c);
}

/* The loops over columns are the same for all forms of a kind: seven functions, not one for each form. */
typedef void tile_loop(const tile_block *b, int offset);
#define TILE_LOOP(name, ...) \
    static void name(const tile_block *b, int offset) \
    { \
        (void)offset; \
        tile_columns((dot_kind)__VA_ARGS__, b); \
    }
TILE_LOOP(tiles_1, {1, offset, 0, 0})
TILE_LOOP(tiles_1_wide, {1, LT_WIDE, 0, 0})
TILE_LOOP(tiles_1_min, {1, 0, 1, 0})
TILE_LOOP(tiles_1_mins4, {1, 0, 0, 4})
TILE_LOOP(tiles_1_mins8, {1, 0, 0, 8})
TILE_LOOP(tiles_2, {2, offset, 0, 0})
TILE_LOOP(tiles_2_wide, {2, LT_WIDE, 0, 0})

INLINE tile_loop *tile_loop_of(dot_kind k)
{
    if (k.subs == 2)
        return k.offset == LT_WIDE ? tiles_2_wide : tiles_2;
    if (k.unit_min || k.min_pairs)
        return k.unit_min ? tiles_1_min : k.min_pairs == 4 ? tiles_1_mins4 : tiles_1_mins8;
    return k.offset == LT_WIDE ? tiles_1_wide : tiles_1;
}

/* Panels [panel, panel + n_panels), at most LT_TILE_PANELS, times columns [column, column + n), at most LT_TILE_SUMS.  An odd last
 * panel stands beside itself. */
INLINE void panels_by_blocks(lt_form form, const lt_matmul_job *job, int64_t panel, int n_panels, int64_t column, int n)
{
    const dot_kind k = dot_kind_of(form);
    const int64_t n_units = job->n_in / LT_UNIT, n_blocks = lt_x_blocks(LT_X_Q8, job->n_in);
    const int64_t size = (int64_t)panel_size(form, job->n_in), block_bytes = (int64_t)FORM_SUPER_BYTES(form) * (LT_BLOCK_UNITS / lt_forms[form].units);
    const lt_q8_unit *x = (const lt_q8_unit *)job->x + column * LT_BLOCK_UNITS;
    for (int64_t i = 0; i < n_blocks; i++, x += job->x_stride)
        for (int p = 0; p < n_panels; p += 2) {
            const int64_t u = i * LT_BLOCK_UNITS;
            const bool last_pair = p + 2 >= n_panels, last_block = i + 1 == n_blocks;
            const int64_t next_panel = panel + (!last_pair ? p + 2 : !last_block ? 0 : n_panels);
            const int64_t next_block = !last_pair ? i : !last_block ? i + 1 : 0;
            const tile_block b = {
                .job = job, .panel = panel + p, .column = column, .x = x,
                .n_panels = n_panels - p < 2 ? 1 : 2, .n_columns = n,
                .n_units = n_units - u < LT_BLOCK_UNITS ? (int)(n_units - u) : LT_BLOCK_UNITS,
                .first = i == 0, .last = last_block,
                .sums = job->scratch->sums[p / 2],
                .next = job->panels + next_panel * size + next_block * block_bytes,
                .next_bytes = block_bytes, .next_apart = size,
            };
            for (int j = 0; j < 2; j++)
                unpack(form, job, b.panel + j % b.n_panels, u, b.n_units, j, job->scratch->codes);
            tile_loop_of(k)(&b, k.offset);
        }
}

INLINE void matmul_quantised(lt_form form, const lt_matmul_job *job)
{
    if (job->n_columns <= FEW_COLUMNS) {
        for (int64_t p = 0; p < job->n_panels; p++)
            direct_columns(form, job, p);
        return;
    }
    for (int32_t p = 0; p < job->n_panels; p += LT_TILE_PANELS)
        for (int32_t c = 0; c < job->n_columns; c += LT_TILE_SUMS) {
            const int32_t panels = job->n_panels - p, columns = job->n_columns - c;
            panels_by_blocks(form, job, p, panels < LT_TILE_PANELS ? panels : LT_TILE_PANELS, c, columns < LT_TILE_SUMS ? columns : LT_TILE_SUMS);
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
