/* test_pieces.c - several matrices in one product: each of a piece of the input row, or all of the whole row, their outputs apart from
 * each other; close to float64, the same bits on any number of threads and in any company. */
#include "backend_rig.h"

enum { MAX_ROWS = 24, N = 5, MAX_WIDTH = N * 128 };

static void check_close(const stack *s, bool pieces, float x[][MAX_WIDTH], int32_t n_rows, const float *y, int64_t width, int64_t first, int64_t apart)
{
    double error = 0, size = 0;
    for (int32_t row = 0; row < n_rows; row++)
        for (int64_t m = 0; m < N; m++)
            for (int64_t o = 0; o < s->n_out; o++) {
                double sum = 0;
                for (int64_t i = 0; i < s->n_in; i++)
                    sum += (double)s->w[(m * s->n_out + o) * s->n_in + i] * (double)x[row][(pieces ? m * s->n_in : 0) + i];
                error += pow((double)y[row * width + first + m * apart + o] - sum, 2);
                size += pow(sum, 2);
            }
    CHECK(sqrt(error / size) < (s->type == LT_F32 ? 1e-6 : 1e-2), "type %d, pieces %d: relative error %g", s->type, pieces, sqrt(error / size));
}

static void test(int32_t type, bool pieces, int64_t n_in, int64_t n_out)
{
    static stack s;
    static float x[MAX_ROWS][MAX_WIDTH], all[MAX_ROWS * 2 * MAX_WIDTH], some[MAX_ROWS * 2 * MAX_WIDTH];
    const int64_t first = 16, apart = n_out + 32, width = first + N * apart, n_x = pieces ? N * n_in : n_in;
    const lt_kernels *k[3];
    const int n_levels = levels(k);
    fill_stack(&s, type, N, n_in, n_out);
    for (int32_t i = 0; i < MAX_ROWS; i++)
        fill(x[i], n_x, 2.0f);
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        rig r;
        rig_create(&r, n_threads, MAX_ROWS, k[n_threads % n_levels]);
        const lt_product product = {
            .w = rig_matrices(&r, &s, N, pieces ? LT_USE_PIECES : LT_USE_MATRIX), .y = rig_buffer(&r, width), .y_first = first, .y_apart = apart};
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
                memcpy((n_threads == 1 ? all : some) + (from + i) * width, product.y->data + i * product.y->stride, (size_t)width * sizeof *all);
        }
        CHECK(n_threads == 1 || !memcmp(all, some, (size_t)(MAX_ROWS * width) * sizeof *all), "type %d, pieces %d, %d threads", type, pieces, n_threads);
        for (int64_t i = 0; i < width; i++)
            CHECK(i >= first && (i - first) % apart < n_out ? true : all[i] == 0.0f, "output %d is between the matrices'", (int)i);
        rig_destroy(&r);
    }
    check_close(&s, pieces, x, MAX_ROWS, all, width, first, apart);
}

int main(void)
{
    static const int32_t types[] = {LT_F32, LT_Q8_0, LT_MXFP4};
    for (int i = 0; i < 3; i++)
        for (int pieces = 0; pieces < 2; pieces++) {
            test(types[i], pieces, 32, 48);
            test(types[i], pieces, 96, 16);
            test(types[i], pieces, 128, 64);
        }
    return check_report("test_pieces");
}
