/* pack.c - from the file's rows of blocks to panels (layout: panel.h).  Runs once per weight, at load. */
#include "cpu/spread.h"

#include <string.h>

size_t lt_panel_bytes(lt_form form, int64_t n_in)
{
    if (FORM_IS_FLOAT(form))
        return (size_t)((n_in + FORM_STEP_K(form) - 1) / FORM_STEP_K(form)) * FORM_STEP_BYTES(form);
    return (size_t)(n_in / FORM_SUPER_K(form)) * (size_t)FORM_SUPER_BYTES(form);
}

/* Four codes of a row are one word: w[j][r] holds k = 4*j .. of row r. */
typedef uint32_t word_unit[8][LT_PANEL_ROWS];

static void pack_nibbles(word_unit w, uint8_t *dst)
{
    uint32_t plane[4][LT_PANEL_ROWS];
    for (int j = 0; j < 4; j++)
        for (int r = 0; r < LT_PANEL_ROWS; r++)
            plane[j][r] = (w[j][r] & 0x0f0f0f0f) | (w[j + 4][r] & 0x0f0f0f0f) << 4;
    memcpy(dst, plane, sizeof plane);
}

static void pack_bits2(word_unit w, int shift, uint8_t *dst)
{
    uint32_t plane[2][LT_PANEL_ROWS] = {{0}};
    for (int j = 0; j < 8; j++)
        for (int r = 0; r < LT_PANEL_ROWS; r++)
            plane[j / 4][r] |= (w[j][r] >> shift & 0x03030303) << (2 * (j % 4));
    memcpy(dst, plane, sizeof plane);
}

static void pack_bits1(word_unit w, int shift, uint8_t *dst)
{
    for (int j = 0; j < 8; j++) {
        uint64_t mask = 0;
        for (int r = 0; r < LT_PANEL_ROWS; r++) /* the product brings the four bits together at the top */
            mask |= (uint64_t)((w[j][r] >> shift & 0x01010101) * 0x10204080u >> 28) << (4 * r);
        memcpy(dst + 8 * j, &mask, 8);
    }
}

static void pack_unit(lt_form form, const lt_codes rows[LT_PANEL_ROWS], int u, uint8_t *dst)
{
    word_unit w;
    for (int r = 0; r < LT_PANEL_ROWS; r++)
        for (int j = 0; j < 8; j++)
            memcpy(&w[j][r], rows[r].code + u * LT_UNIT + 4 * j, 4);
    if (FORM_HAS(form, PLANE_8)) {
        memcpy(dst, w, sizeof w);
        return;
    }
    int shift = 0; /* where the next plane stands in the code */
    if (FORM_HAS(form, PLANE_4)) {
        pack_nibbles(w, dst);
        shift += 4, dst += 256;
    }
    if (FORM_HAS(form, PLANE_2)) {
        pack_bits2(w, shift, dst);
        shift += 2, dst += 128;
    }
    if (FORM_HAS(form, PLANE_1))
        pack_bits1(w, shift, dst);
}

static void pack_scales(lt_form form, const lt_codes rows[LT_PANEL_ROWS], uint8_t *dst)
{
    const lt_form_traits *f = &lt_forms[form];
    for (int r = 0; r < LT_PANEL_ROWS; r++) {
        if (f->d == D_FLOAT)
            memcpy(dst + 4 * r, &rows[r].d, 4);
        else
            memcpy(dst + 2 * r, &rows[r].d16, 2);
        if (f->min != MIN_NONE)
            memcpy(dst + FORM_D_BYTES(form) + 2 * r, &rows[r].m16, 2);
    }
    dst += FORM_SCALES_AT(form);
    for (int s = 0; FORM_SCALE_BYTES(form) && s < f->units * f->subs; s++, dst += FORM_SCALE_BYTES(form))
        for (int r = 0; r < LT_PANEL_ROWS; r++) {
            dst[r] = rows[r].scale[s];
            if (f->min == MIN_U8)
                dst[16 + r] = rows[r].min[s];
        }
}

#define PACK_FLOATS(name, type)                                                                                                            \
    static void name(const uint8_t *src, size_t row_bytes, int64_t n_in, int64_t n_rows, type *dst)                                        \
    {                                                                                                                                      \
        for (int64_t r = 0; r < LT_PANEL_ROWS; r++)                                                                                        \
            for (int64_t k = 0; k < n_in; k++) {                                                                                           \
                type x = 0;                                                                                                                \
                if (r < n_rows)                                                                                                            \
                    memcpy(&x, src + (size_t)r * row_bytes + (size_t)k * sizeof x, sizeof x);                                              \
                dst[k * LT_PANEL_ROWS + r] = x;                                                                                            \
            }                                                                                                                              \
    }
PACK_FLOATS(pack_16, uint16_t)
PACK_FLOATS(pack_32, uint32_t)

/* Pairs of k: an odd one at the end has a zero beside it. */
static void pack_bf16(const uint8_t *src, size_t row_bytes, int64_t n_in, int64_t n_rows, uint16_t *dst)
{
    for (int64_t r = 0; r < LT_PANEL_ROWS; r++)
        for (int64_t k = 0; k < n_in + n_in % 2; k++) {
            uint16_t x = 0;
            if (r < n_rows && k < n_in)
                memcpy(&x, src + (size_t)r * row_bytes + (size_t)k * sizeof x, sizeof x);
            if ((x & 0x7fff) < LT_BF16_LEAST)
                x &= 0x8000;
            dst[k / 2 * 2 * LT_PANEL_ROWS + 2 * r + k % 2] = x;
        }
}

static void pack_float(lt_form form, const uint8_t *src, size_t row_bytes, int64_t n_in, int64_t n_rows, uint8_t *dst)
{
    enum { STRIP = 256 }; /* k at a time: 16 KiB of the panel are filled before the next are touched */
    const size_t size = form == LT_FORM_F32 ? 4 : 2;
    for (int64_t k = 0; k < n_in; k += STRIP, src += STRIP * size, dst += STRIP * LT_PANEL_ROWS * size) {
        const int64_t n = n_in - k < STRIP ? n_in - k : STRIP;
        if (form == LT_FORM_F32)
            pack_32(src, row_bytes, n, n_rows, (uint32_t *)dst);
        else if (form == LT_FORM_BF16)
            pack_bf16(src, row_bytes, n, n_rows, (uint16_t *)dst);
        else
            pack_16(src, row_bytes, n, n_rows, (uint16_t *)dst);
    }
}

void lt_pack_panel(int32_t type, const uint8_t *src, size_t row_bytes, int64_t n_in, int64_t n_out, int64_t panel, uint8_t *dst)
{
    const lt_form form = (lt_form)lt_form_of(type);
    const int64_t first = panel * LT_PANEL_ROWS;
    const int64_t n_rows = n_out - first < LT_PANEL_ROWS ? n_out - first : LT_PANEL_ROWS;
    src += (size_t)first * row_bytes;
    if (FORM_IS_FLOAT(form)) {
        pack_float(form, src, row_bytes, n_in, n_rows, dst);
        return;
    }
    const size_t n_supers = (size_t)(n_in / FORM_SUPER_K(form)), block_bytes = row_bytes / n_supers;
    lt_spreader *const spread = lt_spreader_of(type);
    lt_codes rows[LT_PANEL_ROWS];
    memset(rows, 0, sizeof rows); /* rows beyond n_out: scale 0 */
    for (size_t b = 0; b < n_supers; b++, dst += FORM_SUPER_BYTES(form)) {
        for (int64_t r = 0; r < n_rows; r++)
            spread(src + (size_t)r * row_bytes + b * block_bytes, &rows[r]);
        pack_scales(form, rows, dst);
        for (int u = 0; u < lt_forms[form].units; u++)
            pack_unit(form, rows, u, dst + FORM_UNITS_AT(form) + u * FORM_UNIT_BYTES(form));
    }
}
