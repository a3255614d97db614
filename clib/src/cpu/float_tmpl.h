/* float_tmpl.h - float panels times float rows: four partial sums by k mod 4 for each output (panel.h). */
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

#define FLOATING(lower, FORM) \
    static void matmul_##lower(const lt_matmul_job *job) { matmul_float(FORM, job); }
FLOATING(f32, LT_FORM_F32)
FLOATING(f16, LT_FORM_F16)
FLOATING(bf16, LT_FORM_BF16)
