/* test_pieces.c - several matrices in one product: each of a piece of the input row, or all of the whole row, their outputs apart from
 * each other; some with columns where the file has rows; close to float64, the same bits on any number of threads and in any company. */
#include "backend_rig.h"

enum { MAX_ROWS = 24, N = 5, MAX_WIDTH = N * 128 };

/* Weight of input i and output o of matrix m. */
static double weight_at(const stack *s, lt_weight_use use, int64_t m, int64_t o, int64_t i)
{
    return (double)s->w[m * s->n_in * s->n_out + (use == LT_USE_TURNED_PIECES ? i * s->n_in + o : o * s->n_in + i)];
}

static void check_close(const stack *s, lt_weight_use use, int64_t n_in, int64_t n_out, float x[][MAX_WIDTH], int32_t n_rows,
                        const float *y, int64_t width, int64_t first, int64_t apart)
{
    double error = 0, size = 0;
    for (int32_t row = 0; row < n_rows; row++)
        for (int64_t m = 0; m < N; m++)
            for (int64_t o = 0; o < n_out; o++) {
                double sum = 0;
                for (int64_t i = 0; i < n_in; i++)
                    sum += weight_at(s, use, m, o, i) * (double)x[row][(use == LT_USE_MATRIX ? 0 : m * n_in) + i];
                error += pow((double)y[row * width + first + m * apart + o] - sum, 2);
                size += pow(sum, 2);
            }
    CHECK(sqrt(error / size) < (s->type == LT_F32 || use == LT_USE_TURNED_PIECES ? 1e-6 : 1e-2), "type %d, use %d: relative error %g",
          s->type, (int)use, sqrt(error / size));
}

static void test(int32_t type, lt_weight_use use, int64_t n_in, int64_t n_out)
{
    static stack s;
    static float x[MAX_ROWS][MAX_WIDTH], all[MAX_ROWS * 2 * MAX_WIDTH], some[MAX_ROWS * 2 * MAX_WIDTH];
    const int64_t first = 16, apart = n_out + 32, width = first + N * apart, n_x = use == LT_USE_MATRIX ? n_in : N * n_in;
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    const bool turned = use == LT_USE_TURNED_PIECES;
    fill_stack(&s, type, N, turned ? n_out : n_in, turned ? n_in : n_out);
    for (int32_t i = 0; i < MAX_ROWS; i++)
        fill(x[i], n_x, 2.0f);
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        rig r;
        rig_create(&r, n_threads, MAX_ROWS, k[n_threads % n_levels]);
        const lt_product product = {.w = rig_matrices(&r, &s, N, use), .y = rig_buffer(&r, width), .y_first = first, .y_apart = apart};
        const lt_input in = {.x = rig_buffer(&r, n_x)};
        rig_ready(&r, 0);
        memset(product.y->data, 0, (size_t)(MAX_ROWS * product.y->stride) * sizeof *all);
        for (int32_t from = 0, n; from < MAX_ROWS; from += n) {
            n = n_threads == 1 ? MAX_ROWS : 1 + (int32_t)(draw() % (uint32_t)(MAX_ROWS - from));
            for (int32_t i = 0; i < n; i++)
                memcpy(in.x->data + i * in.x->stride, x[from + i], (size_t)n_x * sizeof *all);
            rig_begin(&r, n);
            r.be->ops->matmul(r.be, &in, &product, 1);
            for (int32_t i = 0; i < n; i++)
                memcpy((n_threads == 1 ? all : some) + (from + i) * width, product.y->data + i * product.y->stride,
                       (size_t)width * sizeof *all);
        }
        CHECK(n_threads == 1 || !memcmp(all, some, (size_t)(MAX_ROWS * width) * sizeof *all), "type %d, use %d, %d threads", type, (int)use,
              n_threads);
        for (int64_t i = 0; i < width; i++)
            CHECK(i >= first && (i - first) % apart < n_out ? true : all[i] == 0.0f, "output %d is between the matrices'", (int)i);
        rig_destroy(&r);
    }
    check_close(&s, use, n_in, n_out, x, MAX_ROWS, all, width, first, apart);
}

int main(void)
{
    static const int32_t types[] = {LT_F32, LT_Q8_0, LT_MXFP4};
    for (int i = 0; i < 3; i++) {
        for (lt_weight_use use = LT_USE_MATRIX; use <= LT_USE_PIECES; use++) {
            test(types[i], use, 32, 48);
            test(types[i], use, 96, 16);
            test(types[i], use, 128, 64);
        }
        test(types[i], LT_USE_TURNED_PIECES, 48, 32);
        test(types[i], LT_USE_TURNED_PIECES, 16, 96);
        test(types[i], LT_USE_TURNED_PIECES, 128, 64);
    }
    return check_report("test_pieces");
}
