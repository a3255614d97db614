/* test_remap.c - cells that change their position: the backend's move against float64 at every level, and what the engine refuses. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "check.h"
#include "core/memory.h"
#include "cpu/internal.h"
#include "kernel_levels.h"
#include "kv_cells.h"
#include "tiny_model.h"

/* ---- the backend's move ---- */

enum { N_LAYERS = 2, N_HEADS = 3, N_PAGES = 5, N_CELLS = N_PAGES * 64 };
static const double MAGNITUDE = 1.25;

typedef struct {
    int k_type, v_type, k_dim, v_dim, n_rot, from, to, n;
    bool adjacent;
    int32_t position[N_CELLS], turn[N_CELLS];
    float key[N_CELLS][N_LAYERS * N_HEADS][80], value[N_CELLS][N_LAYERS * N_HEADS][80]; /* keys unturned */
} move_case;

static const int32_t pages[N_PAGES] = {3, 0, 4, 1, 2}, rope_of_layer[N_LAYERS] = {1, 0};
static float frequency[2][40];

static void make_case(move_case *c)
{
    c->k_type = (int)(draw() % LT_KV_TYPES), c->v_type = (int)(draw() % LT_KV_TYPES);
    c->k_dim = 2 + (int)(draw() % 79), c->v_dim = 1 + (int)(draw() % 80);
    c->n_rot = draw() % 2 ? c->k_dim & ~1 : 2 * (1 + (int)(draw() % (uint32_t)(c->k_dim / 2)));
    c->adjacent = draw() % 2;
    c->to = (int)(draw() % 150);
    c->from = draw() % 2 ? c->to : c->to + 1 + (int)(draw() % 150);
    c->n = (int)(draw() % (uint32_t)(N_CELLS - c->from)) + 1;
    for (int t = 0; t < N_CELLS; t++) {
        c->position[t] = t - (int)(draw() % (uint32_t)(t + 1)) / 2;
        c->turn[t] = c->from > c->to ? c->to - c->from : -(int)(draw() % (uint32_t)(c->position[t] + 1));
        for (int lane = 0; lane < N_LAYERS * N_HEADS; lane++)
            for (int i = 0; i < 80; i++)
                c->key[t][lane][i] = draw_float(), c->value[t][lane][i] = draw_float();
    }
    for (int r = 0; r < 2; r++)
        for (int i = 0; i < 40; i++)
            frequency[r][i] = (float)pow(r ? 100 : 10000, -2.0 * i / 80);
}

static double turned(const move_case *c, int t, int lane, int i, int position)
{
    const float *x = c->key[t][lane];
    if (i >= c->n_rot)
        return (double)x[i];
    const int half = c->n_rot / 2, pair = c->adjacent ? i / 2 : i % half;
    const bool low = c->adjacent ? i % 2 == 0 : i < half;
    const double angle = position * (double)frequency[rope_of_layer[lane / N_HEADS]][pair], sine = sin(angle) * MAGNITUDE;
    const int other = c->adjacent ? i ^ 1 : low ? i + half : i - half;
    return (double)x[i] * cos(angle) * MAGNITUDE + (low ? -sine : sine) * (double)x[other];
}

static cpu_backend *make_backend(const move_case *c, lt_pool *pool, lt_place *place, const lt_kernels *k, int32_t max_rows)
{
    lt_backend *be = NULL;
    CHECK(lt_cpu_backend(&be, pool, place, max_rows) == LT_OK, "%s", lt_last_error());
    lt_layer_shape layers[N_LAYERS];
    for (int i = 0; i < N_LAYERS; i++)
        layers[i] = (lt_layer_shape){.n_head = N_HEADS, .n_head_kv = N_HEADS, .k_dim = c->k_dim, .v_dim = c->v_dim};
    const lt_kv_shape shape = {.layers = layers,
                               .n_layers = N_LAYERS,
                               .n_pages = N_PAGES,
                               .max_pages = N_PAGES,
                               .page_tokens = 64,
                               .k_type = c->k_type,
                               .v_type = c->v_type};
    lt_rope ropes[2];
    for (int r = 0; r < 2; r++)
        ropes[r] = (lt_rope){c->n_rot, c->adjacent, (float)MAGNITUDE, frequency[r]};
    CHECK(be->ops->ready(be, &shape, ropes, 2) == LT_OK, "%s", lt_last_error());
    cpu_of(be)->k = k;
    return cpu_of(be);
}

static void write_cells(cpu_backend *be, const move_case *c)
{
    memset(be->kv_data, 0, (size_t)be->memory.kv_bytes);
    for (int t = 0; t < N_CELLS; t++)
        for (int lane = 0; lane < N_LAYERS * N_HEADS; lane++) {
            const int layer = lane / N_HEADS, head = lane % N_HEADS;
            float key[80];
            for (int i = 0; i < c->k_dim; i++)
                key[i] = (float)turned(c, t, lane, i, c->position[t]);
            lt_write_key(be->k, c->k_type, lt_cpu_k_page(be, pages[t / 64], layer, head), t % 64, key, c->k_dim);
            lt_write_value(be->k, c->v_type, lt_cpu_v_page(be, pages[t / 64], layer, head), t % 64, c->value[t][lane], c->v_dim);
        }
}

/* Where they went, cells hold what was written at the old cell, turned: within the rounding of two writings.  Others are as before. */
static void check_cells(const cpu_backend *be, const move_case *c, const uint8_t *before)
{
    static const double step[LT_KV_TYPES] = {2e-6, 1e-3, 8e-3, 1.0 / LT_I16_MAX, 1.0 / 63};
    const uint8_t *now = be->kv_data;
    for (int t = 0; t < N_CELLS; t++)
        for (int lane = 0; lane < N_LAYERS * N_HEADS; lane++) {
            const bool moved = t >= c->to && t < c->to + c->n;
            const int source = moved ? t - c->to + c->from : t, at = moved ? c->position[source] + c->turn[source - c->from] : 0;
            const size_t new_page = (size_t)(lt_cpu_k_page(be, pages[t / 64], lane / N_HEADS, lane % N_HEADS) - now);
            const size_t old_page = (size_t)(lt_cpu_k_page(be, pages[source / 64], lane / N_HEADS, lane % N_HEADS) - now);
            double largest = 0;
            for (int i = 0; i < c->k_dim; i++)
                largest = fmax(largest, fabs(moved ? turned(c, source, lane, i, at) : 1));
            for (int i = 0; i < c->k_dim; i++) {
                const double key = key_cell(c->k_type, now + new_page, c->k_dim, t % 64, i);
                const double expect = moved ? turned(c, source, lane, i, at) : key_cell(c->k_type, before + old_page, c->k_dim, t % 64, i);
                CHECK(fabs(key - expect) <= (moved ? 3 * largest * step[c->k_type] : 0), "type %d cell %d dim %d: %g, expected %g",
                      c->k_type, t, i, key, expect);
            }
            for (int i = 0; i < c->v_dim; i++)
                CHECK(value_cell(c->v_type, now + new_page + be->layers[0].k_page_bytes, c->v_dim, t % 64, i) ==
                          value_cell(c->v_type, before + old_page + be->layers[0].k_page_bytes, c->v_dim, source % 64, i),
                      "type %d cell %d: value %d is another", c->v_type, t, i);
        }
}

static uint8_t *move_with(const move_case *c, const lt_kernels *k, int32_t n_threads, int32_t max_rows)
{
    lt_pool *pool = NULL;
    lt_place place = {0};
    CHECK(lt_pool_create(&pool, n_threads) == LT_OK, "%s", lt_last_error());
    cpu_backend *be = make_backend(c, pool, &place, k, max_rows);
    write_cells(be, c);
    const size_t n = (size_t)be->memory.kv_bytes;
    uint8_t *before = lt_alloc(n, 1), *after = lt_alloc(n, 1);
    memcpy(before, be->kv_data, n);
    const lt_move move = {pages, c->from, c->to, c->n, n_threads, c->turn, rope_of_layer};
    be->base.ops->move(&be->base, &move);
    memcpy(after, be->kv_data, n);
    if (n_threads == 1)
        check_cells(be, c, before);
    lt_free(before);
    lt_place_forget(&place);
    be->base.ops->destroy(&be->base);
    lt_pool_destroy(pool);
    return after;
}

static void test_move(void)
{
    static move_case c;
    const lt_kernels *k[LEVELS];
    const int n_levels = levels(k);
    for (int round = 0; round < 40; round++) {
        make_case(&c);
        uint8_t *expect = move_with(&c, k[0], 1, 512);
        const size_t page = ((lt_k_codes_bytes(c.k_type, c.k_dim) + lt_kv_scales_bytes(c.k_type, c.k_dim) + 63) & ~(size_t)63) +
                            ((lt_v_codes_bytes(c.v_type, c.v_dim) + lt_kv_scales_bytes(c.v_type, c.v_dim) + 63) & ~(size_t)63);
        for (int l = 0; l < n_levels; l++) {
            uint8_t *got = move_with(&c, k[l], 2 + round % 2, round % 3 ? 7 : 100);
            CHECK(!memcmp(got, expect, page * N_PAGES * N_LAYERS * N_HEADS), "%s, types %d %d: other bits than ref's on one thread",
                  k[l]->name, c.k_type, c.v_type);
            lt_free(got);
        }
        lt_free(expect);
    }
}

/* ---- the engine's calls ---- */

static lt_engine *open_tiny(int32_t group_n, int32_t group_w)
{
    lt_engine *e = NULL;
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_ctx = 256, o.n_seqs = 3, o.n_batch = 128, o.n_threads = 2, o.n_threads_batch = 2, o.group_n = group_n, o.group_w = group_w;
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_OK, "%s", lt_last_error());
    return e;
}

static int32_t open_seq(lt_engine *e, int32_t n, float temperature)
{
    int32_t prompt[256], seq = -1, n_cached;
    lt_sampling s;
    lt_sampling_init(&s);
    s.temperature = temperature, s.top_k = 0, s.top_p = 1, s.min_p = 0, s.repeat_last_n = 0;
    s.flags = LT_SAMPLE_IGNORE_EOS;
    for (int32_t i = 0; i < n; i++)
        prompt[i] = 3 + i % 250;
    CHECK(lt_seq_open(e, prompt, n, 0, &s, &seq, &n_cached) == LT_OK, "%s", lt_last_error());
    return seq;
}

static int step(lt_engine *e, int32_t seq, int32_t advance, int32_t *token)
{
    lt_result r = {0};
    const int rc = lt_step(e, &(lt_row){.seq = seq, .advance = advance}, 1, &r);
    if (token && rc == LT_OK)
        *token = r.out->token;
    return rc;
}

static void test_wrong_calls(void)
{
    lt_engine *e = open_tiny(1, 0);
    const int32_t seq = open_seq(e, 100, 0);
    int32_t room = -1;
    CHECK(lt_seq_shift(e, seq, 0, 1) == LT_E_ARG, "nothing has been computed");
    CHECK(step(e, seq, 90, NULL) == LT_OK, "%s", lt_last_error());
    static const int32_t wrong[][2] = {{-1, 5}, {90, 1}, {INT32_MAX, 1}, {0, 0}, {0, -1}, {0, 91}, {89, 2}, {5, INT32_MAX}, {INT32_MIN, 3}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(lt_seq_shift(e, seq, wrong[i][0], wrong[i][1]) == LT_E_ARG, "shift %d %d was done", wrong[i][0], wrong[i][1]);
    static const int32_t none[] = {-1, 1, 3, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        CHECK(lt_seq_shift(e, none[i], 0, 1) == LT_E_ARG && lt_seq_room(e, none[i], &room) == LT_E_ARG, "sequence %d", none[i]);
    CHECK(lt_seq_shift(NULL, 0, 0, 1) == LT_E_ARG && lt_seq_room(NULL, 0, &room) == LT_E_ARG && lt_seq_room(e, seq, NULL) == LT_E_ARG,
          "NULL");
    CHECK(lt_seq_room(e, seq, &room) == LT_OK && room == 166, "room for %d", room);
    CHECK(lt_seq_shift(e, seq, 0, 90) == LT_OK, "%s", lt_last_error());
    CHECK(lt_seq_room(e, seq, &room) == LT_OK && room == 256, "room for %d", room);
    CHECK(step(e, seq, 10, NULL) == LT_OK, "the rest of the history: %s", lt_last_error());
    lt_engine_close(e);
}

/* Four pages: two that two sequences share, one more for each.  Who shifts would need copies of both. */
static void test_no_page_left(void)
{
    lt_engine *e = open_tiny(1, 0);
    lt_engine_stats before, after;
    const int32_t first = open_seq(e, 130, 0);
    CHECK(step(e, first, 128, NULL) == LT_OK && step(e, first, 2, NULL) == LT_OK, "%s", lt_last_error());
    const int32_t second = open_seq(e, 140, 0);
    CHECK(step(e, second, 10, NULL) == LT_OK, "%s", lt_last_error());
    lt_engine_read_stats(e, &before);
    CHECK(before.pages_used == 4, "%d pages", before.pages_used);
    CHECK(lt_seq_shift(e, second, 10, 20) == LT_E_KV_FULL, "%s", lt_last_error());
    lt_engine_read_stats(e, &after);
    CHECK(!memcmp(&before, &after, sizeof before), "a refused shift changed the engine");
    CHECK(lt_seq_close(e, first, 0) == LT_OK && lt_seq_shift(e, second, 10, 20) == LT_OK, "%s", lt_last_error());
    CHECK(step(e, second, 1, NULL) == LT_OK, "%s", lt_last_error());
    lt_engine_close(e);
}

static void test_no_allocation(void)
{
    lt_engine *e = open_tiny(1, 0), *extended = open_tiny(4, 64);
    const int32_t seq = open_seq(e, 250, 0), grouped = open_seq(extended, 250, 0);
    const int64_t before = lt_alloc_count();
    CHECK(step(e, seq, 128, NULL) == LT_OK && step(e, seq, 122, NULL) == LT_OK, "%s", lt_last_error());
    for (int i = 0; i < 300; i++) {
        if (i % 100 == 5)
            CHECK(lt_seq_shift(e, seq, 3, 101) == LT_OK, "%s", lt_last_error());
        CHECK(step(e, seq, 1, NULL) == LT_OK, "%s", lt_last_error());
    }
    for (int i = 0; i < 250; i += 25)
        for (int32_t left = 25, room; left; left -= room) {
            lt_seq_room(extended, grouped, &room);
            room = room < left ? room : left;
            CHECK(step(extended, grouped, room, NULL) == LT_OK, "%s", lt_last_error());
        }
    CHECK(lt_alloc_count() == before, "%d allocations", (int)(lt_alloc_count() - before));
    CHECK(lt_seq_shift(extended, grouped, 0, 1) == LT_E_UNSUPPORTED, "a shift with self-extend");
    CHECK(step(extended, grouped, 65, NULL) == LT_E_ARG, "across the end of a window");
    lt_engine_close(e);
    lt_engine_close(extended);
}

/* So hot that the draw alone chooses: where positions come a second time, other tokens must. */
static void test_draws_do_not_repeat(void)
{
    enum { N = 60 };
    lt_engine *e = open_tiny(1, 0);
    const int32_t seq = open_seq(e, 100, 1e6f);
    int32_t token[2][N], n_same = 0;
    CHECK(step(e, seq, 100, &token[0][0]) == LT_OK, "%s", lt_last_error());
    for (int round = 0; round < 2; round++) {
        for (int i = !round; i < N; i++)
            CHECK(step(e, seq, 1, &token[round][i]) == LT_OK, "%s", lt_last_error());
        CHECK(lt_seq_shift(e, seq, 20, N) == LT_OK, "%s", lt_last_error());
    }
    for (int i = 0; i < N; i++)
        n_same += token[0][i] == token[1][i];
    CHECK(n_same < 5, "%d of %d tokens are the same", n_same, N);
    lt_engine_close(e);
}

static void test_poisoned(void)
{
    const tiny_change c = {.key = "blk.1.ffn_down.weight", .scale = 0x7e00}; /* NaN */
    lt_engine *e = NULL;
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_ctx = 256, o.n_threads = o.n_threads_batch = 1;
    CHECK(lt_engine_open(&e, tiny_model(&c), &o) == LT_OK, "%s", lt_last_error());
    const int32_t seq = open_seq(e, 70, 0);
    CHECK(step(e, seq, 70, NULL) == LT_OK && lt_seq_shift(e, seq, 0, 10) == LT_E_ARG, "a poisoned sequence was shifted");
    lt_engine_close(e);
}

/* A page whose tokens go beyond the first window was never read from an engine: its history could not go on. */
static void test_no_page_beyond_the_window(void)
{
    lt_engine *e = open_tiny(4, 32);
    lt_engine_info info;
    CHECK(lt_engine_describe(e, &info) == LT_OK, "%s", lt_last_error());
    uint8_t *page = lt_alloc_zero(1, (size_t)info.page_bytes);
    const int32_t fits = open_seq(e, 32, 0), longer = open_seq(e, 33, 0);
    CHECK(page && lt_seq_write_page(e, longer, 0, page, (size_t)info.page_bytes) == LT_E_FORMAT, "33 tokens in a window of 32");
    CHECK(page && lt_seq_write_page(e, fits, 0, page, (size_t)info.page_bytes) == LT_OK, "%s", lt_last_error());
    lt_free(page);
    lt_engine_close(e);
}

int main(void)
{
    test_move();
    test_wrong_calls();
    test_no_page_left();
    test_no_allocation();
    test_draws_do_not_repeat();
    test_poisoned();
    test_no_page_beyond_the_window();
    return check_report("remap");
}
