/* unpack.c - one row of a packed matrix back to floats: the embedding lookup.  The same bits as the file's dequantiser gives
 * (but for zeros where panel.h has them), and no need of the file, which may change or vanish once it has been loaded. */
#include "cpu/panel.h"

#include <string.h>

#include "quant/quant.h"

static float half_at(const uint8_t *halves, int row)
{
    uint16_t h;
    memcpy(&h, halves + 2 * row, sizeof h);
    return lt_half_to_float(h);
}

static float d_at(lt_form form, const uint8_t *super, int row)
{
    if (lt_forms[form].d == D_HALF)
        return half_at(super, row);
    if (lt_forms[form].d == D_BF16) {
        uint16_t h;
        memcpy(&h, super + 2 * row, sizeof h);
        return lt_bf16_to_float(h);
    }
    float d;
    memcpy(&d, super + 4 * row, sizeof d);
    return d;
}

/* Scale and min of sub-block s for one row; layout in panel.h. */
static void row_scales(lt_form form, const uint8_t *super, int s, int row, float *dw, float *mw)
{
    const uint8_t *scales = super + FORM_SCALES_AT(form) + s * FORM_SCALE_BYTES(form);
    const float m = lt_forms[form].min == MIN_NONE ? 0.0f : half_at(super + FORM_D_BYTES(form), row);
    *dw = d_at(form, super, row);
    switch (lt_forms[form].scale) {
    case SCALE_NONE:
        break;
    case SCALE_I8:
        *dw *= (float)(int8_t)scales[row];
        break;
    case SCALE_U8:
        *dw *= (float)scales[row];
        break;
    case SCALE_LOW4:
        *dw *= (float)(scales[row] & 15);
        break;
    }
    *mw = m;
    switch (lt_forms[form].min) {
    case MIN_NONE:
    case MIN_HALF:
        break;
    case MIN_U8:
        *mw = -(m * (float)scales[16 + row]);
        break;
    case MIN_HIGH4:
        *mw = -(m * (float)(scales[row] >> 4));
        break;
    }
}

static int row_code(lt_form form, const uint8_t levels[16], const uint8_t *unit, int row, int k)
{
    const int j = k / 4, byte = 4 * row + k % 4;
    int code = 0, shift = 0;
    if (FORM_HAS(form, PLANE_8))
        code = unit[64 * j + byte];
    if (FORM_HAS(form, PLANE_4)) {
        code = unit[64 * (j % 4) + byte] >> (j / 4 * 4) & 15;
        shift += 4, unit += 256;
    }
    if (FORM_HAS(form, PLANE_2)) {
        code |= (unit[64 * (j / 4) + byte] >> (2 * (j % 4)) & 3) << shift;
        shift += 2, unit += 128;
    }
    if (FORM_HAS(form, PLANE_1))
        code |= (unit[8 * j + byte / 8] >> (byte % 8) & 1) << shift;
    return (lt_forms[form].codes == CODES_LEVELS ? levels[code] : code) - lt_forms[form].offset;
}

static void unpack_super(lt_form form, const uint8_t levels[16], const uint8_t *super, int row, float *dst)
{
    const int subs = lt_forms[form].subs;
    for (int u = 0; u < lt_forms[form].units; u++) {
        const uint8_t *unit = super + FORM_UNITS_AT(form) + u * FORM_UNIT_BYTES(form);
        for (int s = 0; s < subs; s++) {
            float dw, mw;
            row_scales(form, super, u * subs + s, row, &dw, &mw);
            for (int k = s * LT_UNIT / subs; k < (s + 1) * LT_UNIT / subs; k++) {
                const float product = dw * (float)row_code(form, levels, unit, row, k);
                *dst++ = lt_forms[form].min != MIN_NONE ? product + mw : product;
            }
        }
    }
}

static void unpack_floats(lt_form form, const uint8_t *panel, int64_t n_in, int row, float *dst)
{
    for (int64_t k = 0; k < n_in; k++) {
        const uint8_t *step = panel + (size_t)(k / FORM_STEP_K(form)) * FORM_STEP_BYTES(form);
        uint16_t h;
        if (form == LT_FORM_F32) {
            memcpy(&dst[k], step + 4 * row, sizeof dst[k]);
        } else if (form == LT_FORM_F16) {
            dst[k] = half_at(step, row);
        } else {
            memcpy(&h, step + 4 * row + 2 * (k % 2), sizeof h);
            dst[k] = lt_bf16_to_float(h);
        }
    }
}

void lt_unpack_row(lt_form form, const uint8_t levels[16], const uint8_t *panels, int64_t n_in, int64_t row, float *dst)
{
    const int r = (int)(row % LT_PANEL_ROWS);
    panels += lt_panel_bytes(form, n_in) * (size_t)(row / LT_PANEL_ROWS);
    if (FORM_IS_FLOAT(form)) {
        unpack_floats(form, panels, n_in, r, dst);
        return;
    }
    for (int64_t k = 0; k < n_in; k += FORM_SUPER_K(form), panels += FORM_SUPER_BYTES(form))
        unpack_super(form, levels, panels, r, dst + k);
}
