/* matmul_tmpl.h - panels times few activation rows, written once over simd.h and specialised per form by constant folding.
 *
 * Each unit is unpacked into registers and meets up to DIRECT_COLUMNS columns at once (decode, also batched). */

INLINE vi dot_start(int subs, int offset, const lt_q8_unit *x, int s)
{
    const int32_t sum = subs == 1 ? x->sum16[0] + x->sum16[1] : x->sum16[s];
    return offset == LT_WIDE ? vi_dot_wide_start(sum) : vi_set1(-offset * sum);
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

/* Sums of the activations that pair i of the mins is multiplied with; x: first unit of the block. */
INLINE int32_t sum_pair(int n_pairs, const lt_q8_unit *x, int i)
{
    int32_t pair;
    memcpy(&pair, n_pairs == LT_BLOCK_UNITS ? x[i].halves : x[2 * i].pair, sizeof pair);
    return pair;
}

INLINE vf add_mins(vf acc, vi sum, vf m, const lt_q8_unit *x)
{
    return vf_fma(vf_from_vi(sum), vf_mul(vf_sub(vf_set1(0.0f), m), vf_set1(x->sum_step)), acc);
}

enum { PREFETCH = 3072 }; /* bytes ahead */

/* The part of a superblock that is one unit's: each unit's work asks memory for as much of what comes later, which the processor
 * would not do by itself as far ahead as that work takes. */
INLINE void prefetch_share(lt_form form, const uint8_t *super, int within)
{
    const int share = FORM_SUPER_BYTES(form) / lt_forms[form].units;
    UNROLL for (int i = 0; i < share; i += 64) simd_prefetch(super + PREFETCH + within * share + i);
}

INLINE vf sub_dot(lt_form form, const unit *t, const lt_q8_unit *x, int s)
{
    const int subs = lt_forms[form].subs, offset = lt_forms[form].offset;
    vi dot = dot_start(subs, offset, x, s);
    UNROLL for (int j = s * 8 / subs; j < (s + 1) * 8 / subs; j++)
    {
        const vx half = vx_load(x->q + j / 4 * 16);
        dot = offset == LT_WIDE ? vi_dot_wide_once(dot, t->w[j], half, j % 4) : vi_dot_once(dot, t->w[j], half, j % 4);
    }
    return vf_from_vi(dot);
}

/* The canonical accumulation of one unit into one column: see panel.h.  Folding codes pays for many columns only (tile_tmpl.h); here
 * each half's dot product is multiplied with its scale, which floats hold exactly, and so their sum. */
INLINE vf accumulate(lt_form form, vf acc, const unit *t, const lt_q8_unit *x)
{
    if (lt_forms[form].codes == CODES_FOLDED) {
        const vf dot = vf_fma(sub_dot(form, t, x, 1), t->scale[1], vf_mul(sub_dot(form, t, x, 0), t->scale[0]));
        acc = vf_fma(dot, vf_mul(t->dw[0], vf_set1(x->d)), acc);
    }
    else
        UNROLL for (int s = 0; s < lt_forms[form].subs; s++)
            acc = vf_fma(sub_dot(form, t, x, s), vf_mul(t->dw[s], vf_set1(x->d)), acc);
    return lt_forms[form].min == MIN_HALF ? vf_fma(t->mw, vf_set1(x->dsum), acc) : acc;
}

/* The mins of a whole superblock into C columns. */
INLINE void accumulate_mins(lt_form form, const int C, vf *acc, const uint8_t *super, const lt_q8_unit *x)
{
    vi sum[DIRECT_COLUMNS];
    UNROLL for (int c = 0; c < C; c++) sum[c] = vi_set1(0);
    for (int i = 0; i < FORM_MIN_PAIRS(form); i++) {
        const vp pair = load_min_pair(form, super, i);
        UNROLL for (int c = 0; c < C; c++) sum[c] = vi_dot_pairs(sum[c], pair, sum_pair(FORM_MIN_PAIRS(form), x + c * LT_BLOCK_UNITS, i));
    }
    UNROLL for (int c = 0; c < C; c++) acc[c] = add_mins(acc[c], sum[c], load_m(form, super), x + c * LT_BLOCK_UNITS);
}

/* One panel, C columns, unpacked in registers. */
INLINE void direct(lt_form form, const int C, const lt_matmul_job *job, int64_t panel, int64_t column)
{
    const int64_t n_units = job->n_in / LT_UNIT;
    const uint8_t *super = job->panels + (size_t)panel * panel_size(form, job->n_in);
    const lt_q8_unit *x = (const lt_q8_unit *)job->x + column * LT_BLOCK_UNITS;
    vf acc[DIRECT_COLUMNS];
    UNROLL for (int c = 0; c < C; c++) acc[c] = vf_set1(0.0f);
    for (int64_t b = 0; b < n_units; x += job->x_stride)
        for (int u = 0; u < LT_BLOCK_UNITS && b < n_units; u++, b++) {
            const int within = u % lt_forms[form].units;
            unit t;
            prefetch_share(form, super, within);
            load_unit(form, job->levels, super, within, &t);
            UNROLL for (int c = 0; c < C; c++) acc[c] = accumulate(form, acc[c], &t, x + c * LT_BLOCK_UNITS + u);
            if (within == lt_forms[form].units - 1) {
                if (FORM_MIN_PAIRS(form))
                    accumulate_mins(form, C, acc, super, x);
                super += FORM_SUPER_BYTES(form);
            }
        }
    UNROLL for (int c = 0; c < C; c++) store_output(job, panel, column + c, acc[c]);
}

/* As few passes as the registers allow, since every pass unpacks all weights again, with about as many columns in each. */
_Static_assert((int)DIRECT_COLUMNS <= 16, "direct_columns has a case for each number");
INLINE void direct_columns(lt_form form, const lt_matmul_job *job, int64_t panel)
{
    int64_t column = 0;
    for (int64_t passes = (job->n_columns + DIRECT_COLUMNS - 1) / DIRECT_COLUMNS; passes > 0; passes--) {
        const int64_t n = (job->n_columns - column + passes - 1) / passes;
#define DIRECT(C) \
    case C: \
        if (C <= DIRECT_COLUMNS) \
            direct(form, C, job, panel, column); \
        break;
        switch (n) {
            DIRECT(1) DIRECT(2) DIRECT(3) DIRECT(4) DIRECT(5) DIRECT(6) DIRECT(7) DIRECT(8)
            DIRECT(9) DIRECT(10) DIRECT(11) DIRECT(12) DIRECT(13) DIRECT(14) DIRECT(15) DIRECT(16)
        default: break;
        }
#undef DIRECT
        column += n;
    }
}
