/* pack.c - from the file's rows of blocks to panels (layout: panel.h).  Runs once per weight, at load.
 *
 * Each format is first spread out (codes one a byte, scales one a byte) and then laid into planes by one routine. */
#include "cpu/panel.h"

#include <string.h>

#include "quant/quant.h"

typedef struct {   /* one file block, or 32 values of a simple format */
    uint16_t d, m; /* halves as in the file; m: the min, or dmin */
    uint8_t scale[16], min[16];
    uint8_t code[256];
} spread;

int lt_form_of(int32_t type)
{
    static const int8_t forms[] = {
        [LT_F32] = LT_FORM_F32 + 1,   [LT_F16] = LT_FORM_F16 + 1,   [LT_BF16] = LT_FORM_BF16 + 1, [LT_Q4_0] = LT_FORM_Q4_0 + 1,
        [LT_Q4_1] = LT_FORM_Q4_1 + 1, [LT_Q5_0] = LT_FORM_Q5_0 + 1, [LT_Q5_1] = LT_FORM_Q5_1 + 1, [LT_Q8_0] = LT_FORM_Q8_0 + 1,
        [LT_Q2_K] = LT_FORM_Q2_K + 1, [LT_Q3_K] = LT_FORM_Q3_K + 1, [LT_Q4_K] = LT_FORM_Q4_K + 1, [LT_Q5_K] = LT_FORM_Q5_K + 1,
        [LT_Q6_K] = LT_FORM_Q6_K + 1,
    };
    return type >= 0 && type < (int32_t)sizeof forms ? forms[type] - 1 : -1;
}

size_t lt_panel_bytes(lt_form form, int64_t n_in)
{
    if (FORM_IS_FLOAT(form))
        return (size_t)n_in * LT_PANEL_ROWS * FORM_FLOAT_BYTES(form);
    return (size_t)(n_in / FORM_SUPER_K(form)) * (size_t)FORM_SUPER_BYTES(form);
}

/* ---- spreading one block of each format ---- */

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}

static void spread_nibbles(const uint8_t *qs, uint8_t *code) /* 16 bytes: low nibbles first, then high */
{
    for (int i = 0; i < 16; i++) {
        code[i] = qs[i] & 15;
        code[i + 16] = qs[i] >> 4;
    }
}
static void spread_fifth_bits(uint32_t high, uint8_t *code)
{
    for (int i = 0; i < 32; i++)
        code[i] |= (uint8_t)((high >> i & 1) << 4);
}

static void spread_q4_0(const void *block, spread *s)
{
    const lt_block_q4_0 *b = block;
    s->d = b->d;
    spread_nibbles(b->qs, s->code);
}
static void spread_q4_1(const void *block, spread *s)
{
    const lt_block_q4_1 *b = block;
    s->d = b->d, s->m = b->m;
    spread_nibbles(b->qs, s->code);
}
static void spread_q5_0(const void *block, spread *s)
{
    const lt_block_q5_0 *b = block;
    s->d = b->d;
    spread_nibbles(b->qs, s->code);
    spread_fifth_bits(load_u32(b->qh), s->code);
}
static void spread_q5_1(const void *block, spread *s)
{
    const lt_block_q5_1 *b = block;
    s->d = b->d, s->m = b->m;
    spread_nibbles(b->qs, s->code);
    spread_fifth_bits(load_u32(b->qh), s->code);
}
static void spread_q8_0(const void *block, spread *s)
{
    const lt_block_q8_0 *b = block;
    s->d = b->d;
    for (int i = 0; i < 32; i++)
        s->code[i] = (uint8_t)b->qs[i] ^ 0x80; /* w + 128 */
}

static void spread_q2_k(const void *block, spread *s)
{
    const lt_block_q2_k *b = block;
    s->d = b->d, s->m = b->dmin;
    memcpy(s->scale, b->scales, 16); /* scale | min << 4, kept as one byte */
    for (int i = 0; i < 256; i++)
        s->code[i] = b->qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}
static void spread_q3_k(const void *block, spread *s)
{
    const lt_block_q3_k *b = block;
    s->d = b->d;
    for (int i = 0; i < 16; i++) { /* 6 bits: four in the first eight bytes, two in the last four */
        int low = i < 8 ? b->scales[i] & 15 : b->scales[i - 8] >> 4, high = b->scales[8 + i % 4] >> (2 * (i / 4)) & 3;
        s->scale[i] = (uint8_t)(int8_t)((low | high << 4) - 32);
    }
    for (int i = 0; i < 256; i++) {
        int low = b->qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3, high = b->hmask[i % 32] >> (i / 32) & 1;
        s->code[i] = (uint8_t)(low | high << 2);
    }
}
/* Q4_K, Q5_K: eight scales and mins of 6 bits in 12 bytes */
static void spread_k_scales(const uint8_t *p, spread *s)
{
    for (int i = 0; i < 4; i++) {
        s->scale[i] = p[i] & 63;
        s->min[i] = p[i + 4] & 63;
        s->scale[i + 4] = (uint8_t)((p[i + 8] & 15) | (p[i] >> 6) << 4);
        s->min[i + 4] = (uint8_t)((p[i + 8] >> 4) | (p[i + 4] >> 6) << 4);
    }
}
static void spread_q4_k(const void *block, spread *s)
{
    const lt_block_q4_k *b = block;
    s->d = b->d, s->m = b->dmin;
    spread_k_scales(b->scales, s);
    for (int i = 0; i < 256; i++)
        s->code[i] = b->qs[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
}
static void spread_q5_k(const void *block, spread *s)
{
    const lt_block_q5_k *b = block;
    s->d = b->d, s->m = b->dmin;
    spread_k_scales(b->scales, s);
    for (int i = 0; i < 256; i++)
        s->code[i] = (uint8_t)((b->qs[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15) | (b->qh[i % 32] >> (i / 32) & 1) << 4);
}
static void spread_q6_k(const void *block, spread *s)
{
    const lt_block_q6_k *b = block;
    s->d = b->d;
    memcpy(s->scale, b->scales, 16);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, j = i % 128;
        int low = b->ql[half * 64 + j % 64] >> (j / 64 * 4) & 15, high = b->qh[half * 32 + j % 32] >> (j / 32 * 2) & 3;
        s->code[i] = (uint8_t)(low | high << 4);
    }
}

static void (*const spreaders[LT_FORM_COUNT])(const void *, spread *) = {
    [LT_FORM_Q4_0] = spread_q4_0, [LT_FORM_Q4_1] = spread_q4_1, [LT_FORM_Q5_0] = spread_q5_0, [LT_FORM_Q5_1] = spread_q5_1,
    [LT_FORM_Q8_0] = spread_q8_0, [LT_FORM_Q2_K] = spread_q2_k, [LT_FORM_Q3_K] = spread_q3_k, [LT_FORM_Q4_K] = spread_q4_k,
    [LT_FORM_Q5_K] = spread_q5_k, [LT_FORM_Q6_K] = spread_q6_k,
};

/* ---- laying sixteen spread rows into planes ---- */

/* unit: codes[16][32] -> planes */
static void pack_unit(lt_form form, const uint8_t *const rows[LT_PANEL_ROWS], uint8_t *dst)
{
    uint8_t w[8][64];
    for (int r = 0; r < LT_PANEL_ROWS; r++)
        for (int k = 0; k < LT_UNIT; k++)
            w[k / 4][4 * r + k % 4] = rows[r][k];
    if (FORM_HAS_8(form)) {
        memcpy(dst, w, 512);
        return;
    }
    const int shift = FORM_HAS_4(form) ? 4 : 0; /* where the 2-bit plane stands in the code */
    if (FORM_HAS_4(form)) {
        for (int j = 0; j < 4; j++)
            for (int i = 0; i < 64; i++)
                dst[64 * j + i] = (uint8_t)((w[j][i] & 15) | (w[j + 4][i] & 15) << 4);
        dst += 256;
    }
    if (FORM_HAS_2(form)) {
        memset(dst, 0, 128);
        for (int j = 0; j < 8; j++)
            for (int i = 0; i < 64; i++)
                dst[64 * (j / 4) + i] |= (uint8_t)((w[j][i] >> shift & 3) << (2 * (j % 4)));
        dst += 128;
    }
    if (FORM_HAS_1(form)) {
        memset(dst, 0, 64);
        for (int j = 0; j < 8; j++)
            for (int i = 0; i < 64; i++)
                dst[8 * j + i / 8] |= (uint8_t)((w[j][i] >> (FORM_HAS_4(form) ? 4 : 2) & 1) << (i % 8));
    }
}

static void pack_super(lt_form form, const spread rows[LT_PANEL_ROWS], uint8_t *dst)
{
    uint8_t *head = dst;
    for (int r = 0; r < LT_PANEL_ROWS; r++) {
        memcpy(head + 2 * r, &rows[r].d, 2);
        if (FORM_HAS_MIN(form))
            memcpy(head + 32 + 2 * r, &rows[r].m, 2);
    }
    head += FORM_HAS_MIN(form) ? 64 : 32;
    if (FORM_IS_K(form))
        for (int s = 0; s < FORM_UNITS(form) * FORM_SUBS(form); s++, head += FORM_SCALE_BYTES(form))
            for (int r = 0; r < LT_PANEL_ROWS; r++) {
                head[r] = rows[r].scale[s];
                if (FORM_SCALE_BYTES(form) == 32)
                    head[16 + r] = rows[r].min[s];
            }
    for (int u = 0; u < FORM_UNITS(form); u++) {
        const uint8_t *codes[LT_PANEL_ROWS];
        for (int r = 0; r < LT_PANEL_ROWS; r++)
            codes[r] = rows[r].code + u * LT_UNIT;
        pack_unit(form, codes, head + u * FORM_UNIT_BYTES(form));
    }
}

static void pack_float(lt_form form, const uint8_t *src, size_t row_bytes, int64_t n_in, int64_t n_rows, uint8_t *dst)
{
    const size_t size = FORM_FLOAT_BYTES(form);
    for (int64_t k = 0; k < n_in; k++)
        for (int64_t r = 0; r < LT_PANEL_ROWS; r++, dst += size) {
            if (r < n_rows)
                memcpy(dst, src + (size_t)r * row_bytes + (size_t)k * size, size);
            else
                memset(dst, 0, size);
        }
}

void lt_pack_panel(lt_form form, const uint8_t *src, size_t row_bytes, int64_t n_in, int64_t n_out, int64_t panel, uint8_t *dst)
{
    const int64_t first = panel * LT_PANEL_ROWS;
    const int64_t n_rows = n_out - first < LT_PANEL_ROWS ? n_out - first : LT_PANEL_ROWS;
    src += (size_t)first * row_bytes;
    if (FORM_IS_FLOAT(form)) {
        pack_float(form, src, row_bytes, n_in, n_rows, dst);
        return;
    }
    const size_t n_supers = (size_t)(n_in / FORM_SUPER_K(form)), block_bytes = row_bytes / n_supers;
    spread rows[LT_PANEL_ROWS];
    memset(rows, 0, sizeof rows); /* rows beyond n_out: scale 0 */
    for (size_t b = 0; b < n_supers; b++, dst += FORM_SUPER_BYTES(form)) {
        for (int64_t r = 0; r < n_rows; r++)
            spreaders[form](src + (size_t)r * row_bytes + b * block_bytes, &rows[r]);
        pack_super(form, rows, dst);
    }
}
