/* test_matmul.c - products of every form at every level of this machine: bit-equal to plain C, and plain C within a bound of float64.
 *
 * Shapes are adversarial: one unit, odd panel counts, every column count around the tile sizes; contents: random, all codes at
 * their extremes, zero scales, tiny and huge values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cpu/internal.h"
#include "kernel_levels.h"
#include "quant/quant.h"

static const int types[] = {LT_F32,     LT_F16,   LT_BF16,   LT_Q4_0,   LT_Q4_1,  LT_Q5_0,  LT_Q5_1,    LT_Q8_0,   LT_Q2_K,
                            LT_Q3_K,    LT_Q4_K,  LT_Q5_K,   LT_Q6_K,   LT_IQ1_S, LT_IQ1_M, LT_IQ2_XXS, LT_IQ2_XS, LT_IQ2_S,
                            LT_IQ3_XXS, LT_IQ3_S, LT_IQ4_NL, LT_IQ4_XS, LT_TQ1_0, LT_TQ2_0, LT_MXFP4};

/* What a fixture is filled with.  EXTREMES: bytes of no bits or of all, the largest halves, activations whose codes are all 127 or
 * -127.  TINY: denormal halves, and scales of activations just above what counts as zero.  OVERFLOWING: what its name says. */
enum { ANY, ALL_BITS, ZERO_SCALES, EXTREMES, TINY, OVERFLOWING, CONTENTS };

static float draw_half(int content)
{
    const float x = draw_float() * 0.02f;
    switch (content) {
    case ZERO_SCALES:
        return 0.0f;
    case EXTREMES:
    case OVERFLOWING:
        return x < 0 ? -65504.0f : 65504.0f;
    case TINY:
        return (x < 0 ? -0x1p-24f : 0x1p-24f) * (float)(1 + draw() % 3);
    default:
        return x;
    }
}

static float draw_activation(int content)
{
    const float x = draw_float();
    switch (content) {
    case EXTREMES:
        return x < 0 ? -127.0f : 127.0f;
    case TINY:
        return x * 1e-33f;
    case OVERFLOWING:
        return x < 0 ? -3e38f : 3e38f;
    default:
        return x;
    }
}

/* Where the halves of a block stand: they must be finite numbers, everything else may be any bits. */
static void set_halves(int type, uint8_t *block, int content)
{
    static const struct {
        int type, offset, count;
    } halves[] = {
        {LT_Q4_0, 0, 1},  {LT_Q4_1, 0, 2},    {LT_Q5_0, 0, 1},   {LT_Q5_1, 0, 2},   {LT_Q8_0, 0, 1},
        {LT_Q2_K, 80, 2}, {LT_Q3_K, 108, 1},  {LT_Q4_K, 0, 2},   {LT_Q5_K, 0, 2},   {LT_Q6_K, 208, 1},
        {LT_IQ1_S, 0, 1}, {LT_IQ2_XXS, 0, 1}, {LT_IQ2_XS, 0, 1}, {LT_IQ2_S, 0, 1},  {LT_IQ3_XXS, 0, 1},
        {LT_IQ3_S, 0, 1}, {LT_IQ4_NL, 0, 1},  {LT_IQ4_XS, 0, 1}, {LT_TQ1_0, 52, 1}, {LT_TQ2_0, 64, 1},
    };
    if (type == LT_MXFP4)
        block[0] = content == ZERO_SCALES ? 0 : content == EXTREMES ? 200 : (uint8_t)(118 + draw() % 8); /* a power of two */
    if (type == LT_IQ1_M) { /* a half in the top bits of four words */
        const uint16_t h = lt_float_to_half(draw_half(content));
        for (int i = 0; i < 4; i++)
            block[48 + 2 * i + 1] = (uint8_t)((block[48 + 2 * i + 1] & 15) | (h >> (4 * i) & 15) << 4);
    }
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++)
        for (int j = 0; halves[i].type == type && j < halves[i].count; j++) {
            const uint16_t h = lt_float_to_half(draw_half(content));
            memcpy(block + halves[i].offset + 2 * j, &h, 2);
        }
}

static void fill_weights(int type, uint8_t *w, int64_t n_out, int64_t n_in, int content)
{
    const lt_quant_traits *t = lt_quant_find(type);
    const int64_t n_blocks = n_out * n_in / t->block_values;
    for (int64_t b = 0; b < n_blocks; b++) {
        uint8_t *block = w + b * t->block_bytes;
        for (int i = 0; i < t->block_bytes; i++)
            block[i] = content == ALL_BITS ? 0xff : content == EXTREMES ? (uint8_t)(draw() % 2 * 0xff) : (uint8_t)draw();
        set_halves(type, block, content);
        float x = draw_float();
        if (type == LT_F32)
            memcpy(block, &x, 4);
        if (type == LT_F16 || type == LT_BF16) {
            uint32_t bits;
            memcpy(&bits, &x, 4);
            uint16_t h = type == LT_F16 ? lt_float_to_half(x) : (uint16_t)(bits >> 16);
            memcpy(block, &h, 2);
        }
    }
}

typedef struct {
    int type;
    int64_t n_in, n_out, n_panels, y_stride;
    int n_columns;
    uint8_t *panels, levels[16];
    uint8_t *blocks; /* of x, as the form is multiplied with them */
    lt_tile_scratch *scratch;
    float *x, *w, *bias;
    float *mins; /* of forms with integer mins: the part of w that they are; NULL */
} fixture;

static fixture make_fixture(int type, int64_t n_in, int64_t n_out, int n_columns, int content)
{
    const lt_quant_traits *t = lt_quant_find(type);
    const lt_form form = (lt_form)lt_form_of(type);
    fixture f = {.type = type, .n_in = n_in, .n_out = n_out, .n_panels = (n_out + 15) / 16, .n_columns = n_columns};
    f.y_stride = f.n_panels * 16;
    const size_t row_bytes = (size_t)(n_in / t->block_values * t->block_bytes), panel_bytes = lt_panel_bytes(form, n_in);
    uint8_t *file = malloc(row_bytes * (size_t)n_out);
    fill_weights(type, file, n_out, n_in, content);
    f.w = malloc((size_t)(n_out * n_in) * sizeof(float));
    t->dequantize(file, f.w, n_out * n_in);
    if (!FORM_IS_FLOAT(form) && FORM_MIN_PAIRS(form)) {
        uint8_t *no_codes = malloc(row_bytes * (size_t)n_out);
        memcpy(no_codes, file, row_bytes * (size_t)n_out);
        for (size_t b = 0; b < row_bytes * (size_t)n_out; b += (size_t)t->block_bytes)
            memset(no_codes + b + (type == LT_Q2_K ? 80 : 0), 0, 2); /* d */
        f.mins = malloc((size_t)(n_out * n_in) * sizeof(float));
        t->dequantize(no_codes, f.mins, n_out * n_in);
        free(no_codes);
    }
    f.panels = malloc(panel_bytes * (size_t)f.n_panels);
    for (int64_t p = 0; p < f.n_panels; p++)
        lt_pack_panel(type, file, row_bytes, n_in, n_out, p, f.panels + (size_t)p * panel_bytes);
    lt_form_levels(type, f.levels);
    free(file);
    f.x = malloc((size_t)(n_columns * n_in) * sizeof(float));
    for (int64_t i = 0; i < n_columns * n_in; i++)
        f.x[i] = draw_activation(content);
    f.blocks = aligned_alloc(64, (size_t)(lt_x_blocks(FORM_X(form), n_in) * n_columns * LT_X_BLOCK_BYTES));
    for (int c = 0; c < n_columns; c++)
        lt_cpu_put_row(&lt_kernels_ref, FORM_X(form), f.x + c * n_in, n_in, f.blocks + c * LT_X_BLOCK_BYTES, n_columns);
    f.scratch = aligned_alloc(64, sizeof *f.scratch);
    memset(f.scratch, 0x7f, sizeof *f.scratch); /* another form may leave anything there */
    f.bias = malloc((size_t)f.y_stride * sizeof(float));
    for (int64_t i = 0; i < f.y_stride; i++)
        f.bias[i] = draw_float();
    return f;
}

static void free_fixture(fixture *f)
{
    void *parts[] = {f->panels, f->blocks, f->scratch, f->x, f->w, f->bias, f->mins};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        free(parts[i]);
}

/* columns [first, first + n) of the fixture */
static void run_matmul(const lt_kernels *k, const fixture *f, int first, int n, float *y)
{
    const lt_form form = (lt_form)lt_form_of(f->type);
    lt_matmul_job job = {
        .panels = f->panels,
        .bias = f->bias,
        .y = y,
        .scratch = f->scratch,
        .n_in = f->n_in,
        .levels = f->levels,
        .x_stride = f->n_columns * LT_BLOCK_UNITS,
        .y_stride = f->y_stride,
        .n_panels = (int32_t)f->n_panels,
        .n_columns = n,
        .x = f->blocks + first * LT_X_BLOCK_BYTES,
    };
    k->matmul[form](&job);
}

static const uint8_t *block_at(const fixture *f, int column, int64_t k) /* of 256 values */
{
    return f->blocks + (k / LT_BLOCK * f->n_columns + column) * LT_X_BLOCK_BYTES;
}

static const lt_q8_unit *unit_at(const fixture *f, int column, int64_t k)
{
    return (const lt_q8_unit *)(const void *)block_at(f, column, k) + k % LT_BLOCK / LT_UNIT;
}

/* The activation value that the kernel sees. */
static double activation(const fixture *f, int column, int64_t k)
{
    const lt_x_kind kind = FORM_X((lt_form)lt_form_of(f->type));
    if (kind == LT_X_F32)
        return (double)f->x[column * f->n_in + k];
    if (kind == LT_X_BF16) {
        uint16_t h;
        memcpy(&h, block_at(f, column, k) + 2 * (k % LT_BLOCK), sizeof h);
        return (double)lt_bf16_to_float(h);
    }
    const lt_q8_unit *u = unit_at(f, column, k);
    return (double)u->d * u->q[k % LT_UNIT];
}

/* The sum of the activations of a sub-block, the one that begins at k, as integer mins see it. */
static double sub_block_sum(const fixture *f, int column, int64_t k)
{
    const lt_q8_unit *u = unit_at(f, column, k);
    const int64_t unit = k / LT_UNIT;
    if (lt_forms[lt_form_of(f->type)].subs == 2)
        return (double)u->sum_step * u->halves[k % LT_UNIT / 16];
    return (double)u->sum_step * unit_at(f, column, k - unit % 2 * LT_UNIT)->pair[unit % 2];
}

static void check_against_float64(const fixture *f, const float *y)
{
    for (int c = 0; c < f->n_columns; c += f->n_columns > 100 ? 37 : 1) /* of many a few, which takes long enough */
        for (int64_t r = 0; r < f->n_out; r++) {
            double sum = (double)f->bias[r], size = fabs(sum);
            for (int64_t k = 0; k < f->n_in; k++) {
                const double w = (double)f->w[r * f->n_in + k], min = f->mins ? (double)f->mins[r * f->n_in + k] : 0;
                const bool begins = f->mins && k % (LT_UNIT / lt_forms[lt_form_of(f->type)].subs) == 0;
                sum += (w - min) * activation(f, c, k) + (begins ? min * sub_block_sum(f, c, k) : 0);
                size += fabs(w * activation(f, c, k));
            }
            /* float32 sums of products that nearly cancel: the bound is on the sum of magnitudes; mins and codes of K forms
             * are summed apart, so their own magnitudes count too (factor 16) */
            const double error = fabs((double)y[c * f->y_stride + r] - sum), bound = 16 * 6e-8 * sqrt((double)f->n_in) * size + 1e-6;
            CHECK(error <= bound, "type %d n_in %d row %d column %d: %g, float64 %g, bound %g", f->type, (int)f->n_in, (int)r, c,
                  (double)y[c * f->y_stride + r], sum, bound);
        }
}

/* Bit by bit, but for NaN, of which there are many. */
static bool are_same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] == a[i] || b[i] == b[i] ? memcmp(&a[i], &b[i], sizeof *a) != 0 : false)
            return false;
    return true;
}

static void test_matmul(int type, int64_t n_in, int64_t n_out, int n_columns, int content)
{
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    fixture f = make_fixture(type, n_in, n_out, n_columns, content);
    const size_t n = (size_t)(f.y_stride * n_columns);
    float *ref = malloc(n * sizeof *ref), *y = malloc(n * sizeof *y);
    run_matmul(k[0], &f, 0, n_columns, ref);
    if (content < TINY) /* beyond, sums are denormal or infinite, and the order of sums tells */
        check_against_float64(&f, ref);
    for (int l = 0; l < n_levels; l++) {
        memset(y, 0x55, n * sizeof *y);
        run_matmul(k[l], &f, 0, n_columns, y);
        CHECK(are_same(y, ref, n), "%s type %d n_in %d n_out %d columns %d content %d differs from ref", k[l]->name, type, (int)n_in,
              (int)n_out, n_columns, content);
        for (int c = 0; c < n_columns; c++) /* one column alone: the same bits */
            run_matmul(k[l], &f, c, 1, y + c * f.y_stride);
        CHECK(are_same(y, ref, n), "%s type %d n_in %d: a column alone differs from %d together", k[l]->name, type, (int)n_in, n_columns);
    }
    free(ref);
    free(y);
    free_fixture(&f);
}

/* Rows come back from the panels as the dequantiser gives them from the file. */
static void test_unpack(void)
{
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const int64_t n_in = 3 * (lt_quant_find(types[t])->block_values == 1 ? 11 : lt_quant_find(types[t])->block_values), n_out = 35;
        fixture f = make_fixture(types[t], n_in, n_out, 1, 0);
        float *row = malloc((size_t)n_in * sizeof *row);
        for (int64_t r = 0; r < n_out; r++) {
            lt_unpack_row((lt_form)lt_form_of(types[t]), f.levels, f.panels, n_in, r, row);
            CHECK(!memcmp(row, f.w + r * n_in, (size_t)n_in * sizeof *row), "type %d row %d", types[t], (int)r);
        }
        free(row);
        free_fixture(&f);
    }
}

/* More columns than this are many at every level. */
static int most_few(void)
{
    const lt_kernels *k[LEVELS];
    int most = 0;
    for (int n = levels(k), l = 0; l < n; l++)
        most = k[l]->few_columns > most ? k[l]->few_columns : most;
    return most;
}

static void test_all_matmuls(void)
{
    static const int columns[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const int block = lt_quant_find(types[t])->block_values;
        const int64_t depths[] = {block == 1 ? 5 : block, block == 1 ? 34 : 2 * block, block == 256 ? 768 : 96};
        for (size_t d = 0; d < 3; d++)
            for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
                test_matmul(types[t], depths[d], (int64_t[]){16, 35, 80}[(d + c) % 3], columns[c], 0);
        for (int content = ALL_BITS; content < CONTENTS; content++) {
            test_matmul(types[t], block == 256 ? 512 : 64, 33, 6, content);
            test_matmul(types[t], block == 256 ? 512 : 64, 33, 3, content);
            test_matmul(types[t], block == 256 ? 512 : 288, 33, most_few() + 3, content);
        }
    }
}

/* Quantised forms: more panels than meet a block of activations, more columns than have sums, an odd last panel, half a block. */
static void test_wide_quantised(void)
{
    const struct {
        int n_panels, n_columns;
    } shapes[] = {{1, most_few()}, {1, most_few() + 1}, {7, most_few() + 4}, {9, most_few() + 5}, {17, most_few() + 2}, {3, 513}};
    for (size_t t = 3; t < sizeof types / sizeof *types; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            test_matmul(types[t], lt_quant_find(types[t])->block_values == 256 ? 512 : 416, shapes[i].n_panels * 16 - 5,
                        shapes[i].n_columns, i % 2 ? EXTREMES : ANY);
}

/* Float forms: columns and panels beyond what is worked at once, k beyond one block, and ends of every kind. */
static void test_wide_floats(void)
{
    static const struct {
        int64_t n_in, n_out;
        int n_columns;
    } shapes[] = {{127, 16, 12}, {128, 144, 13}, {129, 33, 26}, {257, 16, 1}, {300, 272, 70}, {515, 160, 131}};
    for (size_t t = 0; t < 3; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            test_matmul(types[t], shapes[i].n_in, shapes[i].n_out, shapes[i].n_columns, 0);
}

/* BF16: what is smaller than 2^-55 counts as zero, on both sides, so that sums are never denormal and all levels agree. */
static void test_bf16_extremes(void)
{
    enum { N_IN = 256, COLUMNS = 3 };
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    for (int round = 0; round < 20; round++) {
        uint16_t file[LT_PANEL_ROWS][N_IN];
        float x[N_IN];
        for (int i = 0; i < N_IN; i++) {
            for (int r = 0; r < LT_PANEL_ROWS; r++) /* about 2^-55 in one half of the rounds, any finite bits in the other */
                file[r][i] = (uint16_t)(round % 2 ? (draw() & 0x80ff) | (71 + draw() % 4) << 7 : draw() % 0x7f80 | (draw() & 1) << 15);
            x[i] = ldexpf(draw_float(), round % 2 ? -55 : (int)(draw() % 240) - 130);
        }
        fixture f = {.type = LT_BF16, .n_in = N_IN, .n_out = 16, .n_panels = 1, .y_stride = 16, .n_columns = COLUMNS};
        uint8_t panel[N_IN * LT_PANEL_ROWS * 2];
        static lt_tile_scratch scratch;
        float bias[16] = {0}, ref[COLUMNS * 16], y[COLUMNS * 16];
        lt_pack_panel(LT_BF16, (const uint8_t *)file, sizeof file[0], N_IN, LT_PANEL_ROWS, 0, panel);
        f.panels = panel, f.scratch = &scratch, f.bias = bias;
        for (int l = 0; l < n_levels; l++) {
            _Alignas(64) uint8_t blocks[COLUMNS * LT_X_BLOCK_BYTES];
            for (int c = 0; c < COLUMNS; c++)
                lt_cpu_put_row(k[l], LT_X_BF16, x, N_IN, blocks + c * LT_X_BLOCK_BYTES, COLUMNS);
            f.blocks = blocks;
            run_matmul(k[l], &f, 0, COLUMNS, l ? y : ref);
            for (int i = 0; i < COLUMNS * 16; i++) {
                const float got = l ? y[i] : ref[i];
                CHECK(got != got ? ref[i] != ref[i] : !memcmp(&got, &ref[i], sizeof got), "%s round %d: %a, ref %a", k[l]->name, round,
                      (double)got, (double)ref[i]);
                CHECK(fpclassify(got) != FP_SUBNORMAL, "%s round %d: %a is denormal", k[l]->name, round, (double)got);
            }
        }
    }
}
int main(void)
{
    test_all_matmuls();
    test_wide_quantised();
    test_wide_floats();
    test_bf16_extremes();
    test_unpack();
    return check_report("matmul");
}
