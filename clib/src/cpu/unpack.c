/* unpack.c - one row of a packed matrix back to floats: the embedding lookup.  The same bits as the file's dequantiser gives,
 * and no need of the file, which may change or vanish once it has been loaded. */
#include "cpu/panel.h"

#include <string.h>

#include "quant/quant.h"

static float half_at(const uint8_t *halves, int row)
{
    uint16_t h;
    memcpy(&h, halves + 2 * row, sizeof h);
    return lt_half_to_float(h);
}

/* Scale and min of sub-block s for one row; layout in panel.h. */
static void row_scales(lt_form form, const uint8_t *super, int s, int row, float *dw, float *mw)
{
    const float d = half_at(super, row), m = FORM_HAS_MIN(form) ? half_at(super + 32, row) : 0.0f;
    *dw = d;
    *mw = m;
    if (!FORM_IS_K(form))
        return;
    const uint8_t *scales = super + (FORM_HAS_MIN(form) ? 64 : 32) + s * FORM_SCALE_BYTES(form);
    if (form == LT_FORM_Q2_K) {
        *dw = d * (float)(scales[row] & 15);
        *mw = -(m * (float)(scales[row] >> 4));
    } else if (FORM_HAS_MIN(form)) {
        *dw = d * (float)scales[row];
        *mw = -(m * (float)scales[16 + row]);
    } else {
        *dw = d * (float)(int8_t)scales[row];
    }
}

static int row_code(lt_form form, const uint8_t *unit, int row, int k)
{
    const int j = k / 4, byte = 4 * row + k % 4;
    int code = 0;
    if (FORM_HAS_8(form))
        return (int)unit[64 * j + byte] - 128;
    if (FORM_HAS_4(form)) {
        code = unit[64 * (j % 4) + byte] >> (j / 4 * 4) & 15;
        unit += 256;
    }
    if (FORM_HAS_2(form)) {
        code |= (unit[64 * (j / 4) + byte] >> (2 * (j % 4)) & 3) << (FORM_HAS_4(form) ? 4 : 0);
        unit += 128;
    }
    if (FORM_HAS_1(form) && unit[8 * j + byte / 8] >> (byte % 8) & 1)
        code += FORM_HAS_4(form) ? 16 : 4;
    return code - FORM_OFFSET(form);
}

static void unpack_super(lt_form form, const uint8_t *super, int row, float *dst)
{
    for (int u = 0; u < FORM_UNITS(form); u++) {
        const uint8_t *unit = super + FORM_HEAD_BYTES(form) + u * FORM_UNIT_BYTES(form);
        for (int s = 0; s < FORM_SUBS(form); s++) {
            float dw, mw;
            row_scales(form, super, u * FORM_SUBS(form) + s, row, &dw, &mw);
            for (int k = s * LT_UNIT / FORM_SUBS(form); k < (s + 1) * LT_UNIT / FORM_SUBS(form); k++) {
                const float product = dw * (float)row_code(form, unit, row, k);
                *dst++ = FORM_HAS_MIN(form) ? product + mw : product;
            }
        }
    }
}

static void unpack_floats(lt_form form, const uint8_t *panel, int64_t n_in, int row, float *dst)
{
    for (int64_t k = 0; k < n_in; k++) {
        const uint8_t *p = panel + (size_t)(k * LT_PANEL_ROWS + row) * FORM_FLOAT_BYTES(form);
        uint16_t h;
        memcpy(&h, p, sizeof h);
        if (form == LT_FORM_F32)
            memcpy(&dst[k], p, sizeof dst[k]);
        else
            dst[k] = form == LT_FORM_F16 ? lt_half_to_float(h) : lt_bf16_to_float(h);
    }
}

void lt_unpack_row(lt_form form, const uint8_t *panels, int64_t n_in, int64_t row, float *dst)
{
    const int r = (int)(row % LT_PANEL_ROWS);
    panels += lt_panel_bytes(form, n_in) * (size_t)(row / LT_PANEL_ROWS);
    if (FORM_IS_FLOAT(form)) {
        unpack_floats(form, panels, n_in, r, dst);
        return;
    }
    for (int64_t k = 0; k < n_in; k += FORM_SUPER_K(form), panels += FORM_SUPER_BYTES(form))
        unpack_super(form, panels, r, dst + k);
}
